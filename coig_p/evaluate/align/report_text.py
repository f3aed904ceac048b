"""A report of models on a benchmark for people: tables for a terminal, and a page, in two languages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from coig_p.core.svg import Dot, dots, signed
from coig_p.evaluate.align.kinds import ALIGNBENCH, CATEGORIES
from coig_p.evaluate.align.reporting import AlignReport, Model, Score
from coig_p.report.sections import Section, in_language
from coig_p.report.sections import as_page as sections_page

_WORDS: Mapping[str, tuple[str, str]] = {
    "title": ("{kind}: {name}", "{kind}：{name}"),
    "facts": (
        "{questions} questions, scores from 1 to 10. Intervals are 95%, of a bootstrap of questions within category.",
        "共 {questions} 题，分数为 1 到 10。区间为95%，在各类别内对题目做自助法。",
    ),
    "judge": (
        "Judged by {name}, prompts {prompts}, benchmark {sha256}.",
        "评审模型 {name}，提示词 {prompts}，评测集 {sha256}。",
    ),
    "answered": (
        "Answered with other options of coigp align answer, from which a difference may come: {options}.",
        "作答时 coigp align answer 的选项不同，差别可能由此而来：{options}。",
    ),
    "board": ("Models", "模型"),
    "model": ("model", "模型"),
    "overall": ("overall", "总分"),
    "reasoning": ("reasoning", "推理"),
    "language": ("language", "语言"),
    "turn-1": ("first turn", "第一轮"),
    "turn-2": ("second turn", "第二轮"),
    "scored": ("scored", "有分"),
    "invalid": ("invalid", "无效"),
    "unanswered": ("unanswered", "未作答"),
    "bounds": ("at 1 – at 10", "按 1 – 按 10"),
    "board-is": (
        "Invalid: judgements without a score, left out of the means; the last column has them, and what was not "
        "answered, at 1 and at 10.",
        "无效：读不出分数的评审，不计入均值；末列为把它们和未作答的按 1 分与按 10 分计的总分。",
    ),
    "categories": ("By category", "按类别"),
    "category": ("category", "类别"),
    "compared": ("Compared", "模型之间"),
    "compared-is": (
        "Overall, on questions that both have a score of; paired bootstrap. p adjusted by Holm for {number}.",
        "总分之差，只看双方都有分的题；配对自助法。p 已按 {number} 次比较做 Holm 校正。",
    ),
    "against": ("against", "对照"),
    "questions": ("questions", "题数"),
    "difference": ("difference", "差"),
    "p": ("p", "p"),
    "official": ("As its own code counts", "按评测集自己的代码"),
    "official-alignbench": (
        "A judgement in which its code reads nothing is -1, and enters the mean; 70 is 70.",
        "其代码读不出分数的评审记为 -1，并计入均值；70 就是 70。",
    ),
    "official-mt-bench-zh": (
        "The first [[n]], else the first [n]; -1 where there is none, which is left out.",
        "取第一个 [[n]]，没有则取第一个 [n]；都没有记为 -1，不计入。",
    ),
    "minus": ("-1", "-1"),
    "ours": ("overall here", "本报告总分"),
    "reasons": ("Why scores are missing", "分数为何缺失"),
    "reason": ("reason", "原因"),
    "turns": ("turns", "轮数"),
    "plot": ("Overall on {name}", "{name} 上的总分"),
    "plot-axis": ("mean score, with 95% interval", "平均分，附95%区间"),
    "none": ("none", "无"),
}
_NAMES = {"alignbench": "AlignBench", "mt-bench-zh": "MT-Bench-zh"}


def words(language: str) -> dict[str, str]:
    """All words of a language; UnknownNameError where it is none of LANGUAGES."""
    return in_language(_WORDS, language)


def sections(report: AlignReport, language: str = "en") -> list[Section]:
    """What the report says, in order; what there is nothing of is left out."""
    w = words(language)
    return [_head(report, w), _board(report, w), *_categories(report, w, language), *_rest(report, w)]


def as_page(report: AlignReport, language: str = "en") -> str:
    """The report as one HTML file, with its plot and without any script."""
    w = words(language)
    rows = [
        Dot(one.name, one.overall.mean, one.overall.low, one.overall.high)
        for one in report.models
        if one.overall.mean is not None
    ]
    title = w["plot"].format(name=report.benchmark["name"])
    plot = dots(title, rows, low=1, high=10, percent=False, axis=w["plot-axis"], empty=w["none"])
    return sections_page(sections(report, language), language, {w["plot-axis"]: plot})


def _head(report: AlignReport, w: Mapping[str, str]) -> Section:
    told, judge = report.benchmark, report.judge
    lines = [
        w["facts"].format(questions=f"{told['questions']:,}"),
        w["judge"].format(
            name=judge["name"], prompts=str(judge["prompt_sha256"])[:12], sha256=str(told["sha256"])[:12]
        ),
    ]
    if report.answered:
        options = "; ".join(
            f"{option} ({', '.join(f'{name}: {_option(value)}' for name, value in values.items())})"
            for option, values in report.answered.items()
        )
        lines.append(w["answered"].format(options=options))
    return Section(w["title"].format(kind=_NAMES[told["kind"]], name=told["name"]), tuple(lines))


def _option(value: Any) -> str:
    """An option's value; of many values, as temperatures by category, those that there are."""
    if not isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return ", ".join(sorted({json.dumps(one, ensure_ascii=False) for one in value.values()}))


def _parts(model: Model) -> dict[str, Score]:
    if model.reasoning is not None and model.language is not None:
        return {"reasoning": model.reasoning, "language": model.language}
    return {f"turn-{turn}": score for turn, score in model.turns.items()}


def _board(report: AlignReport, w: Mapping[str, str]) -> Section:
    """The leaderboard, best first."""
    best = sorted(report.models, key=lambda one: (-(one.overall.mean or 0), one.name))
    header = ("model", "overall", *_parts(report.models[0]), "scored", "invalid", "unanswered", "bounds")
    rows = tuple(
        (
            *(one.name, told(one.overall), *(told(part) for part in _parts(one).values())),
            *(f"{count:,}" for count in (one.overall.n, one.overall.invalid, one.overall.unanswered)),
            f"{_number(one.overall.at_1)} – {_number(one.overall.at_10)}",
        )
        for one in best
    )
    return Section(w["board"], (w["board-is"],), tuple(w[name] for name in header), rows)


def _categories(report: AlignReport, w: Mapping[str, str], language: str) -> Iterator[Section]:
    is_align = report.benchmark["kind"] == ALIGNBENCH
    rows = tuple(
        (
            CATEGORIES[name].zh if is_align and language == "zh" else name,
            *(told(one.categories[name]) for one in report.models),
        )
        for name in report.models[0].categories
    )
    yield Section(w["categories"], (), (w["category"], *(one.name for one in report.models)), rows)


def _rest(report: AlignReport, w: Mapping[str, str]) -> Iterator[Section]:
    if report.comparisons:
        rows = tuple(
            (one.one, one.other, f"{one.questions:,}", _difference(one.difference, one.low, one.high), _p(one.p_holm))
            for one in report.comparisons
        )
        header = tuple(w[name] for name in ("model", "against", "questions", "difference", "p"))
        yield Section(w["compared"], (w["compared-is"].format(number=len(rows)),), header, rows)
    if any(one.official is not None for one in report.models):
        own_rows: list[tuple[str, ...]] = []
        names = tuple(_parts(report.models[0]))
        for one in report.models:
            if one.official is not None:
                own = one.official
                parts = list(own.turns.values()) or [own.reasoning, own.language]
                values = (_number(value) for value in (own.overall, *parts))
                own_rows.append((one.name, *values, f"{own.minus_ones:,}", _number(one.overall.mean)))
        header = (w["model"], *(w[name] for name in ("overall", *names, "minus", "ours")))
        yield Section(w["official"], (w[f"official-{report.benchmark['kind']}"],), header, tuple(own_rows))
    why = tuple((one.name, reason, f"{count:,}") for one in report.models for reason, count in one.reasons.items())
    if why:
        yield Section(w["reasons"], (), (w["model"], w["reason"], w["turns"]), why)


def told(score: Score) -> str:
    """A mean with its interval."""
    span = "" if score.low is None or score.high is None else f" ({score.low:.2f}–{score.high:.2f})"
    return f"{_number(score.mean)}{span}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _difference(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "–"
    return signed(value) + ("" if low is None or high is None else f" ({signed(low)} – {signed(high)})")


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if value >= 0.001 else "< .001"
