"""The words of a report of a benchmark, in English and Chinese, in the glossary's terms."""

from __future__ import annotations

from collections.abc import Mapping

from coig_p.report.sections import in_language

_WORDS: Mapping[str, tuple[str, str]] = {
    "title": ("Benchmark {name}", "评测集 {name}"),
    "facts": (
        "{items} items, {pairs} pairs. Aggregates: {preset}. Intervals are 95%, over items.",
        "共 {items} 条、{pairs} 个偏好对。汇总方式：{preset}。区间为95%，按条目计算。",
    ),
    "tie-wrong": (
        "Right is a strictly higher reward; equal rewards are ties, and count nothing.",
        "奖励严格更高才算对；奖励相等为平局，不得分。",
    ),
    "tie-half": (
        "Right is a strictly higher reward; equal rewards are ties, and count one half.",
        "奖励严格更高才算对；奖励相等为平局，得半分。",
    ),
    "judge-is": (
        "A judge gets the mean over both orders: right 1, a tie one half, wrong or invalid 0.",
        "评审模型按两种顺序取平均：对得1分，平局得半分，错或无效得0分。",
    ),
    "board": ("Scorers", "评分方"),
    "scorer": ("scorer", "评分方"),
    "kind": ("kind", "种类"),
    "kind-model": ("model", "模型"),
    "kind-server": ("server", "服务"),
    "kind-judge": ("judge", "评审模型"),
    "kind-baseline": ("baseline", "基线"),
    "headline": ("{preset} Overall", "{preset} 总分"),
    "micro": ("all pairs", "全部偏好对"),
    "macro": ("mean of domains", "各领域平均"),
    "exact": ("whole items", "整条全对"),
    "best": ("best of n", "n 个取优"),
    "ties": ("ties", "平局"),
    "invalid": ("invalid", "无效"),
    "missing": ("missing", "缺失"),
    "lowest": ("missing as wrong", "缺失算错"),
    "domains": ("By domain", "各领域"),
    "domain": ("domain", "领域"),
    "pairs": ("pairs", "偏好对"),
    "preset": ("As {preset} counts", "按 {preset} 的算法"),
    "official": (
        "With the faults of the benchmark's own code: {faults}.",
        "含该评测集官方代码的错误：{faults}。",
    ),
    "own": ("The numbers have in them, as its own code has: {faults}.", "与官方代码相同，数中含：{faults}。"),
    "part": ("part", "部分"),
    "fault-missing-wrong": ("what is missing counts as wrong", "缺失算错"),
    "fault-chosen-first": (
        "only the order that shows the better response first counts",
        "只算更优回答先出现的顺序",
    ),
    "fault-invalid-no-vote": ("an invalid verdict is no vote", "无效判定不算一票"),
    "fault-equal-is-exact": ("equal rewards pass exact match", "奖励相等也算整条全对"),
    "fault-no-pairs-exact": ("items without a pair count as exact", "没有偏好对的条目算整条全对"),
    "fault-fixed-weights": (
        "subsets have fixed weights, and math-prm more than twice its size",
        "各子集权重固定，math-prm 的权重是其条数的两倍多",
    ),
    "fault-ties-margin": (
        "a term of .01 can take Ties out of 0 to 1",
        "权重 .01 的一项会使 Ties 超出 0 到 1",
    ),
    "calibration": ("Rewards as probabilities", "把奖励当作概率"),
    "calibration-is": (
        "Of sigma(better - worse). NLL of a guesser is .693, Brier .25; ECE: mean gap of confidence and accuracy. "
        "Equal rewards are right by one half there, whatever they count elsewhere.",
        "按 sigma(更优 - 更差)。乱猜的 NLL 为 .693，Brier 为 .25；ECE 是把握与准确率之差的平均。"
        "这里奖励相等总算对一半，与别处如何计分无关。",
    ),
    "length": ("Length", "长度"),
    "length-is": (
        "At equal length: of a logistic regression on the log of the lengths' ratio. "
        "Slope: change of the log odds per standard deviation of that log.",
        "长度相等时：对长度之比的对数做逻辑回归。斜率：该对数每变一个标准差，对数几率变多少。",
    ),
    "chosen-longer": ("better is longer", "更优的较长"),
    "chosen-shorter": ("better is shorter", "更优的较短"),
    "balanced": ("mean of both", "两者平均"),
    "same": ("equal", "等长"),
    "at-equal": ("at equal length", "长度相等时"),
    "slope": ("slope per SD", "每标准差斜率"),
    "why-separated": ("length alone tells", "仅凭长度即可分开"),
    "why-constant": ("all alike", "全对或全错"),
    "why-alike": ("lengths alike", "长度没有差别"),
    "position": ("Both orders, and four rules", "两种顺序与四种规则"),
    "position-is": (
        "Mean: of the orders. Net: more right than wrong (JudgeBench). Both: right in both. First: asked first.",
        "平均：两种顺序取平均。净胜：对的顺序多于错的（JudgeBench）。都对：两种顺序都对。首次：只看先问的顺序。",
    ),
    "once": (
        "Pairs that {name} saw in one order only: {pairs}. Net, both and whole items leave them out.",
        "{name} 只看过一种顺序的偏好对：{pairs} 个。净胜、都对和整条全对都不计它们。",
    ),
    "verdicts": ("verdicts", "判定"),
    "first-shown": ("first-shown share", "先出现者占比"),
    "both-orders": ("in both orders", "两种顺序"),
    "consistent": ("consistent", "前后一致"),
    "rule-mean": ("mean", "平均"),
    "rule-net": ("net", "净胜"),
    "rule-both": ("both", "都对"),
    "rule-first": ("first", "首次"),
    "compared": ("Compared", "评分方之间"),
    "compared-is": (
        "On pairs that both scored. Difference with a paired bootstrap over items; McNemar: exact, on whole items.",
        "只看双方都评了的偏好对。差用按条目配对的自助法；McNemar 为精确检验，按整条。",
    ),
    "holm": (" p adjusted by Holm for {number} comparisons.", "p 已按 {number} 次比较做 Holm 校正。"),
    "unlike": (
        "No McNemar, and no power, between a judge asked in two orders and a scorer that was not: a judge's whole item "
        "needs both orders; nor where no item is wholly scored by both.",
        "按两种顺序询问的评审模型与其他评分方之间不做 McNemar 检验，也没有功效：前者的整条要求两种顺序都对。"
        "双方没有共同评全的条目时也不做。",
    ),
    "apart": (
        "{one} and {other} scored no pair in common, and are not compared.",
        "{one} 与 {other} 没有共同评过的偏好对，不作比较。",
    ),
    "against": ("against", "对照"),
    "difference": ("difference", "差"),
    "p": ("p", "p"),
    "only": ("only one right", "仅一方对"),
    "mcnemar": ("McNemar p", "McNemar p"),
    "power": ("Power", "功效"),
    "power-is": (
        "The chance that McNemar's test at 5% sees a difference such as the one seen, and items for 80%.",
        "McNemar 检验在5%水平上发现这样大的差的机会，以及达到80%需要的条数。",
    ),
    "items": ("items", "条目"),
    "chance": ("power", "功效"),
    "needed": ("items for 80%", "达到80%需要"),
    "reasons": ("Why rewards or verdicts are missing", "奖励或判定为何缺失"),
    "reason": ("reason", "原因"),
    "plot": ("Accuracy of {name}", "{name} 上的准确率"),
    "plot-axis": ("share of pairs that are right, with 95% interval", "对的偏好对所占比例，附95%区间"),
    "none": ("none", "无"),
}


def words(language: str) -> dict[str, str]:
    """All words of a language; UnknownNameError where it is none of LANGUAGES."""
    return in_language(_WORDS, language)
