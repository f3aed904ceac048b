"""The words of an experiment's table, in English and Chinese, in the glossary's terms."""

from __future__ import annotations

from collections.abc import Mapping

from coig_p.report.sections import in_language

_WORDS: Mapping[str, tuple[str, str]] = {
    "title": ("Experiment {name}", "实验：{name}"),
    "seeds-are": (
        "Mean over the seeds {seeds}. In brackets 95% intervals: over seeds, of other trainings on these questions "
        "(Student's t); over questions, of other questions for these trainings. Neither holds the other.",
        "为随机种子 {seeds} 的平均。括号内为95%区间：按种子，指同样题目下重新训练（t 分布）；"
        "按题目，指同样的训练换一批题目。两者互不包含。",
    ),
    "one-seed": (
        "One seed, {seeds}: how much another training would differ is not known. In brackets the 95% interval over "
        "questions.",
        "只有一个随机种子 {seeds}：重新训练会差多少，无从得知。括号内为按题目的95%区间。",
    ),
    "difference-is": (
        "Differences are taken question by question, over questions that both have a score of; their intervals are "
        "over questions alone.",
        "差按题目逐一相减，只看双方都有评分的题目；其区间只按题目计算。",
    ),
    "p-is": (
        "p is of coigp align's paired bootstrap, adjusted by Holm for all differences of a test.",
        "p 为 coigp align 的配对自助法所得，已对同一评测集的所有差做 Holm 校正。",
    ),
    "chosen-on": (
        "{tests}: the checkpoint was chosen on this benchmark, so that its numbers are too good.",
        "{tests}：检查点即由该评测集选出，因此分数偏高。",
    ),
    "table": ("Results", "结果"),
    "of-test": ("Results on {test}", "{test} 上的结果"),
    "arm": ("trained on", "训练数据"),
    "mean": ("overall", "总分"),
    "over-seeds": ("over seeds", "按种子"),
    "over-questions": ("over questions", "按题目"),
    "by-seed": ("by seed", "各种子"),
    "against": ("against", "对照"),
    "difference": ("difference", "差"),
    "p": ("p", "p"),
    "invalid": ("invalid", "无效"),
    "unanswered": ("unanswered", "未作答"),
    "missing": ("missing seeds", "缺失的种子"),
    "parts": ("Parts of {test}", "{test} 的各部分"),
    "choices": ("Checkpoints", "检查点"),
    "choice-is": (
        "Chosen on {benchmark}: the highest score; of equal ones the earliest checkpoint, which was trained least.",
        "由 {benchmark} 选出：取最高分；并列时取最早的检查点，即训练最少者。",
    ),
    "cell": ("cell", "单元"),
    "checkpoint": ("checkpoint", "检查点"),
    "scores": ("scores of all", "全部得分"),
    "tied": ("tied", "并列"),
    "failed": ("Failed", "失败"),
    "why": ("why", "原因"),
}


def words(language: str) -> dict[str, str]:
    """All words of a language; UnknownNameError where it is none of LANGUAGES."""
    return in_language(_WORDS, language)
