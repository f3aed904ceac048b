"""The words of a comparison, in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping

from coig_p.report.sections import in_language

_WORDS: Mapping[str, tuple[str, str]] = {
    "title": ("Stores side by side", "数据仓库对比"),
    "store": ("store", "数据仓库"),
    "place": ("where", "位置"),
    # sizes
    "sizes": ("Sizes", "规模"),
    "sizes-note": (
        "Samples are pairs, prompts the different texts that are asked in them. Every query and response is counted.",
        "样本是偏好对，提示是其中不同的提问文本；问题和回答都计全部。",
    ),
    "samples": ("samples", "样本"),
    "prompts": ("prompts", "提示"),
    "queries": ("queries", "问题"),
    "responses": ("responses", "回答"),
    "scores": ("scores", "评分"),
    "comparisons": ("comparisons", "成对比较"),
    "threshold": ("threshold", "阈值"),
    # lengths
    "lengths": ("Lengths", "长度"),
    "lengths-note": (
        "Of what stands in a pair, each once: mean ± standard deviation. The share is of pairs whose texts differ in "
        "length, with its 95% interval over queries.",
        "只计偏好对中的文本，每个一次：平均值 ± 标准差。占比以长度不同的偏好对为准，附按问题计算的95%区间。",
    ),
    "prompt-characters": ("prompt, characters", "提示（字符）"),
    "response-characters": ("response, characters", "回答（字符）"),
    "prompt-tokens": ("prompt, tokens", "提示（词元）"),
    "response-tokens": ("response, tokens", "回答（词元）"),
    "longer": ("longer one chosen", "更长者更优"),
    # what is asked
    "asked": ("Domains, languages, scripts", "领域、语言、字体"),
    "asked-note": (
        "Queries by domain; queries and responses by language, those that cannot be told as und. Scripts: as the "
        "checks script-traditional and script-some-traditional find them.",
        "问题按领域计，问题和回答按语言计，判断不了的为 und。"
        "字体按检查 script-traditional 和 script-some-traditional 的结果。",
    ),
    "domains": ("domains", "领域"),
    "query-languages": ("queries in", "问题的语言"),
    "response-languages": ("responses in", "回答的语言"),
    "traditional": ("traditional", "繁体"),
    "some-traditional": ("some traditional", "部分繁体"),
    "simplified": ("simplified", "简体"),
    # judges
    "judged": ("Annotation", "标注方式"),
    "judged-note": (
        "Alpha is Krippendorff's, of all judges together. Agreement: of pairs on which two judges prefer one each, the "
        "share on which it is the same; the least and the most of every two judges.",
        "alpha 是全体评审模型的 Krippendorff alpha。"
        "一致：两位都有所偏好的回答对中，偏好相同的比例；各组两位中的最小值和最大值。",
    ),
    "kind": ("kind", "类型"),
    "scores-kind": ("scores", "评分"),
    "labels-kind": ("good or bad", "好坏标签"),
    "verdicts-kind": ("verdicts of two", "两两判定"),
    "scored-comparisons-kind": ("scores of two shown together", "同时展示的两个回答的评分"),
    "people": ("people", "评审员"),
    "models": ("models", "评审模型"),
    "judges": ("judges", "评审模型数"),
    "alpha": ("alpha", "alpha"),
    "agreement": ("agreement", "一致"),
    # quality
    "quality": ("Checks and near-duplicates", "检查与近似重复"),
    "quality-note": (
        "Findings per thousand queries, as coigp check finds them; near-duplicate queries that coigp dedup would drop.",
        "每千个问题的检查结果数（coigp check）；coigp dedup 会去掉的近似重复问题。",
    ),
    "errors": ("errors ‰", "错误 ‰"),
    "warnings": ("warnings ‰", "警告 ‰"),
    "metrics": ("metrics ‰", "指标 ‰"),
    "rules": ("most frequent", "最常见的"),
    "near": ("near-duplicates", "近似重复"),
    "clusters": ("clusters", "组"),
    "contamination": ("Contamination", "评测集污染"),
    "contamination-note": (
        "Queries and responses that hold a prompt or an answer of a benchmark, as coigp contamination finds them.",
        "含有评测集提示或答案的问题和回答（coigp contamination）。",
    ),
    "held": ("queries: {queries}, responses: {responses}", "问题：{queries}，回答：{responses}"),
    # overlap
    "overlap": ("What overlaps with what", "相互重合"),
    "overlap-note": (
        "Of each row's queries, how many are near-duplicates of the column's, and in brackets those asked in the same "
        "words. On the diagonal: near-duplicates inside.",
        "每行的问题中，与该列近似重复的个数，括号内为文字相同的个数。对角线为自身的近似重复。",
    ),
    "overlap-axis": ("% of the row's queries that the column has, too", "行中问题在列中也有的比例（%）"),
    # floor
    "floor": ("How far cheap features get", "简单特征能走多远"),
    "floor-note": (
        "Accuracy of builtin:ngram on queries that it was not trained on, with 95% interval, beside two baselines.",
        "builtin:ngram 在未参加训练的问题上的准确率，附95%区间，以及两个基线。",
    ),
    "trained": ("pairs trained on", "训练用偏好对"),
    "held-out": ("held out", "留出"),
    "length-wins": ("the longer wins", "更长者胜"),
    "majority-wins": ("the model that wins more wins", "常胜模型胜"),
    "verdict": ("signal beyond length", "长度之外的信号"),
    "signal": ("there is", "有"),
    "none": ("not found", "未发现"),
    "inconclusive": ("too few queries to tell", "问题太少，不能判断"),
    "across": ("Trained on one, tested on another", "一处训练，另一处测试"),
    "across-note": (
        "Trained on the row, tested on every pair of the column; on the diagonal held-out queries. A star: the two "
        "share queries or near-duplicates, so the number flatters.",
        "在行上训练，在列的全部偏好对上测试；对角线为留出的问题。星号：两者有相同或近似重复的问题，数字偏高。",
    ),
    "across-axis": ("accuracy in %", "准确率（%）"),
    # cells without a number
    "empty": ("Empty cells, and why", "空格及原因"),
    "cell": ("cell", "格"),
    "why": ("why", "原因"),
}


def words(language: str) -> dict[str, str]:
    """All words of a language; UnknownNameError where it is none of LANGUAGES."""
    return in_language(_WORDS, language)
