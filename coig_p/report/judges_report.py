"""What `coigp judges` found, for people: tables for a terminal, Markdown and a page, and plots, in two languages."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from coig_p.core.markdown import cell
from coig_p.core.markdown import table as markdown_table
from coig_p.core.svg import MOST_SERIES, Dot, Series, dots, lines, signed
from coig_p.report.sections import in_language
from coig_p.stats.intervals import Mean, Share

if TYPE_CHECKING:
    from coig_p.stats.by_margin import ByMargin
    from coig_p.stats.examined import JudgeExamined, JudgesExamined

PLOTS = ("leniency", "self-preference", "position", "by-margin")
PAGE, DOCUMENT, NUMBERS = "judges.html", "judges.md", "judges.json"
_MOST_PLOTS = 8  # of lines; what they leave out is in the table
FILES = {
    *(PAGE, DOCUMENT, NUMBERS, *(f"{name}.svg" for name in PLOTS)),
    *(f"by-margin-{nth}.svg" for nth in range(2, _MOST_PLOTS + 1)),
}
_FEWEST = 20  # pairs behind a point of a line
_MOST_ROWS = 30

# Each in English and Chinese, in the glossary's terms.
_WORDS: Mapping[str, tuple[str, str]] = {
    "title": ("Judges", "评审模型"),
    "fit": ("Leniency, spread and self-preference", "宽严、展幅与自我偏好"),
    "fit-note": (
        "score = offset + spread × quality + self-preference for its own family. Leniency is the offset minus the "
        "mean of all judges' offsets. With 95% intervals over queries.",
        "评分 = 基准分 + 展幅 × 质量 + 对自家模型的偏好。宽严是基准分与全体评审模型基准分均值之差。"
        "括号内是按问题计算的95%区间。",
    ),
    "refused": ("What these scores cannot tell", "这些评分说明不了什么"),
    "why": ("why", "原因"),
    "collect": ("what to collect", "需要补充什么"),
    "judge": ("judge", "评审模型"),
    "other": ("other judge", "另一评审模型"),
    "family": ("family", "家族"),
    "responses": ("responses", "回答"),
    "own": ("of its family", "其中自家的"),
    "offset": ("offset", "基准分"),
    "leniency": ("leniency", "宽严"),
    "spread": ("spread", "展幅"),
    "self-preference": ("self-preference", "自我偏好"),
    "noise": ("noise", "噪声"),
    "position": ("Position", "位置"),
    "position-note": (
        "Of pairs shown in both orders. Without a liking for a place the first-shown share is 50% and delta is 0.",
        "只看两种顺序都展示过的成对比较。没有位置偏好时，先出现者的比例为50%，delta 为0。",
    ),
    "comparisons": ("comparisons", "成对比较"),
    "both": ("in both orders", "两种顺序"),
    "first": ("first-shown share", "先出现者占比"),
    "delta": ("delta", "delta"),
    "consistent": ("consistent", "前后一致"),
    "agreement": ("Agreement", "一致性"),
    "agreement-note": (
        "On the pairs of responses that both judged; alpha is Krippendorff's with squared differences, tau-b within a "
        "query. Of all judges together alpha is",
        "基于两者都评过的回答；alpha 为 Krippendorff 的 alpha（差的平方），tau-b 在问题内计算。全体的 alpha 为",
    ),
    "same": ("same preference", "偏好相同"),
    "ties": ("ties", "平局"),
    "alpha": ("alpha", "alpha"),
    "tau": ("tau-b", "tau-b"),
    "pairs": ("pairs", "偏好对"),
    "by-margin": ("Do others prefer the same response?", "其他人是否偏好同一个回答？"),
    "by-margin-note": (
        "By the judge's margin, of the pairs on which the others prefer one. Slope: log-odds of agreement for a point.",
        "按该评审模型的分差，只计其他人有所偏好的偏好对。斜率：分差每增加一分，一致的对数几率增加多少。",
    ),
    "against": ("against", "对照"),
    "people": ("people", "评审员"),
    "others": ("other judges", "其他评审模型"),
    "margin": ("margin", "分差"),
    "agrees": ("agree", "一致"),
    "slope": ("slope", "斜率"),
    "invalid": ("Judgements that are missing", "缺失的评分"),
    "missing": ("missing", "缺失"),
    "asked": ("asked for", "应有"),
    "share": ("share", "比例"),
    "not-recorded": ("not recorded", "没有记录"),
    "leniency-axis": ("points above the mean of all judges, with 95% interval", "高于全体均值的分数，附95%区间"),
    "self-axis": ("points for its own family, with 95% interval", "对自家模型多给的分数，附95%区间"),
    "position-axis": ("share of verdicts for the response shown first", "判先出现的回答更优的比例"),
    "threshold": ("margin of the judge, from", "评审模型的分差，自"),
    "none": ("none", "无"),
}


@dataclass(frozen=True)
class Section:
    """A heading, a sentence, and a table."""

    title: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def sections(found: JudgesExamined, language: str = "en") -> list[Section]:
    """All tables; those without a row are left out.

    Raises:
        UnknownNameError: a language that is none of LANGUAGES.
    """
    w = in_language(_WORDS, language)
    made = [
        Section(w["refused"], "", (w["judge"], w["why"], w["collect"]), _refused(found)),
        Section(
            w["fit"],
            w["fit-note"],
            tuple(w[name] for name in ("judge", "family", "responses", "own", *_FITTED)),
            tuple(_fitted(name, one) for name, one in found.judges.items() if one.fit is not None),
        ),
        Section(
            w["position"],
            w["position-note"],
            tuple(w[name] for name in ("judge", "comparisons", "both", "first", "delta", "consistent")),
            tuple(_position(name, one) for name, one in found.judges.items() if one.position is not None),
        ),
        Section(
            w["agreement"],
            f"{w['agreement-note']} {_estimate(found.alpha)}.",
            tuple(w[name] for name in ("judge", "other", "pairs", "same", "ties", "alpha", "tau")),
            tuple(
                (
                    *(one.judge, one.other, f"{one.agrees.n:,}"),
                    *(_share(one.same), _share(one.ties), _estimate(one.alpha), _mean(one.tau)),
                )
                for one in found.agreement
            ),
        ),
        Section(
            w["by-margin"],
            w["by-margin-note"],
            tuple(w[name] for name in ("judge", "against", "margin", "pairs", "agrees", "ties", "slope")),
            tuple(row for one in found.judges.values() for by in one.by_margin for row in _by_margin(by, w)),
        ),
        Section(
            w["invalid"],
            "",
            tuple(w[name] for name in ("judge", "missing", "asked", "share")),
            tuple(_invalid(name, one, w) for name, one in found.judges.items()),
        ),
    ]
    return [section for section in made if section.rows]


def plots(found: JudgesExamined, language: str = "en") -> dict[str, str]:
    """SVG by file name: leniency, self-preference, position and by-margin, those that there is anything to draw of.

    More lines by margin than one plot can tell apart are in further plots: by-margin-2.svg and so on.
    """
    w = in_language(_WORDS, language)
    shown = list(found.judges.items())[:_MOST_ROWS]
    fits = [(name, one.fit) for name, one in shown if one.fit is not None]
    lenient = [Dot(name, fit.leniency.value, fit.leniency.low, fit.leniency.high) for name, fit in fits]
    own = [
        Dot(name, fit.self_preference.value, fit.self_preference.low, fit.self_preference.high)
        for name, fit in fits
        if fit.self_preference is not None
    ]
    first = [
        Dot(name, one.position.first_shown.share, one.position.first_shown.low, one.position.first_shown.high)
        for name, one in shown
        if one.position is not None and one.position.first_shown.share is not None
    ]
    made = {}
    for file, title, axis, rows in (
        ("leniency", w["leniency"], w["leniency-axis"], lenient),
        ("self-preference", w["self-preference"], w["self-axis"], own),
    ):
        if rows:
            reach = max(abs(end) for dot in rows for end in (dot.value, dot.low or 0, dot.high or 0))
            reach = next(step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, reach) if step >= reach)
            made[f"{file}.svg"] = dots(title, rows, low=-reach, high=reach, axis=axis)
    if first:
        made["position.svg"] = dots(w["position"], first, low=0, high=1, percent=True, axis=w["position-axis"])
    drawn = [by for _, one in shown for by in one.by_margin]
    parts = [drawn[at : at + MOST_SERIES] for at in range(0, len(drawn), MOST_SERIES)][:_MOST_PLOTS]
    for nth, part in enumerate(parts, 1):
        x = sorted({one.low for by in part for one in by.bins})
        if len(x) > 1:
            file, title = (
                ("by-margin", w["by-margin"]) if nth == 1 else (f"by-margin-{nth}", f"{w['by-margin']} ({nth})")
            )
            made[f"{file}.svg"] = lines(title, x, [_line(by, x, w) for by in part], axis=w["threshold"])
    return made


def as_markdown(found: JudgesExamined, store: str, language: str = "en") -> str:
    """judges.md."""
    text = [f"# {in_language(_WORDS, language)['title']}: {cell(store)}", ""]
    for section in sections(found, language):
        text += [f"## {section.title}", ""]
        text += [cell(section.note), ""] if section.note else []
        text += [*markdown_table(section.header, section.rows), ""]
    return "\n".join(text)


def judges_page(found: JudgesExamined, store: str, language: str = "en") -> str:
    """judges.html: one file that anyone can open. No script is in it."""
    from coig_p.report.templating import environment

    w = in_language(_WORDS, language)
    return str(
        environment()
        .get_template("judges_report.html.jinja")
        .render(
            w=w,
            lang=language,
            store=store,
            style=(files("coig_p.report.view") / "static" / "view.css").read_text(encoding="utf-8"),
            sections=sections(found, language),
            plots=[
                {
                    "alt": next(w[plot] for plot in PLOTS if name.startswith(plot)),
                    "data": b64encode(svg.encode()).decode(),
                }
                for name, svg in plots(found, language).items()
            ],
        )
    )


_FITTED = ("offset", "leniency", "spread", "self-preference", "noise")


def _refused(found: JudgesExamined) -> tuple[tuple[str, ...], ...]:
    return tuple((", ".join(one.judges), one.why, one.collect) for one in found.refusals)


def _fitted(name: str, one: JudgeExamined) -> tuple[str, ...]:
    fit = one.fit
    if fit is None:
        return ()
    numbers = (fit.offset, fit.leniency, fit.spread, fit.self_preference, fit.noise)
    plus = (False, True, False, True, False)
    told = (
        "–" if of is None else _interval(of.value, of.low, of.high, plus=sign)
        for of, sign in zip(numbers, plus, strict=True)
    )
    return (name, one.family, f"{fit.responses:,}", f"{fit.own:,}", *told)


def _position(name: str, one: JudgeExamined) -> tuple[str, ...]:
    at = one.position
    if at is None:
        return ()
    return (
        *(name, f"{at.comparisons:,}", f"{at.pairs:,}"),
        *(_share(at.first_shown), _mean(at.delta, plus=True), _share(at.consistent)),
    )


def _by_margin(by: ByMargin, w: Mapping[str, str]) -> list[tuple[str, ...]]:
    slope = by.slope
    told = slope.why or "–" if slope.value is None else _interval(slope.value, slope.low, slope.high)
    rows: list[tuple[str, ...]] = []
    for at, part in enumerate(by.bins):
        span = f"{part.low:g}+" if part.high is None else f"{part.low:g}–{part.high:g}"
        who = (by.judge, w[by.against]) if not at else ("", "")
        rows.append((*who, span, f"{part.pairs:,}", _share(part.agrees), f"{part.ties:,}", "" if at else told))
    return rows


def _line(by: ByMargin, x: Sequence[float], w: Mapping[str, str]) -> Series:
    at = {part.low: part.agrees for part in by.bins if part.pairs >= _FEWEST}
    each = [at.get(low, Share(0)) for low in x]
    name = f"{by.judge} / {w[by.against]}"
    return Series(name, [one.share for one in each], [one.low for one in each], [one.high for one in each])


def _invalid(name: str, one: JudgeExamined, w: Mapping[str, str]) -> tuple[str, ...]:
    lost = one.invalid
    if lost is None:
        return (name, w["not-recorded"], "–", "–")
    return (name, f"{lost.missing:,}", f"{lost.asked:,}", "–" if lost.share is None else f"{lost.share:.1%}")


def _share(of: Share) -> str:
    if of.share is None:
        return "–"
    span = "" if of.low is None or of.high is None else f" ({100 * of.low:.1f}–{100 * of.high:.1f})"
    return f"{of.share:.1%}{span}"


def _mean(of: Mean, *, plus: bool = False) -> str:
    return "–" if of.mean is None else _interval(of.mean, of.low, of.high, plus=plus)


def _estimate(of: object) -> str:
    value, low, high = (getattr(of, name) for name in ("value", "low", "high"))
    return "–" if value is None else _interval(value, low, high)


def _interval(value: float, low: float | None, high: float | None, *, plus: bool = False) -> str:
    shown = signed if plus else lambda one: f"{one:.2f}"
    return shown(value) + ("" if low is None or high is None else f" ({shown(low)} – {shown(high)})")
