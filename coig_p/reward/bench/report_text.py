"""A report of a benchmark for people: tables for a terminal, Markdown, a page, and a plot, in two languages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from coig_p.core.markdown import cell
from coig_p.core.markdown import table as markdown_table
from coig_p.core.svg import Dot, signed
from coig_p.report.figures import accuracy_plot
from coig_p.report.sections import Section
from coig_p.report.sections import as_page as sections_page
from coig_p.reward.bench.metrics import Accuracy, Estimate
from coig_p.reward.bench.outcomes import RULES
from coig_p.reward.bench.presets import OVERALL
from coig_p.reward.bench.report_words import words
from coig_p.reward.bench.reporting import BenchReport, Scored

_MOST_ROWS = 40  # of the plot
_Words = Mapping[str, str]


def sections(report: BenchReport, language: str = "en", *, power: bool = False) -> list[Section]:
    """What the report says, in order; what there is nothing of is left out.

    Args:
        power: also say how likely the differences seen are to be seen again.

    Raises:
        UnknownNameError: a language that is none of LANGUAGES.
    """
    w = words(language)
    found = [_head(report, w), _board(report, w), _domains(report, w), *_preset(report, w)]
    found += [*_calibration(report, w), _length(report, w), *_position(report, w), *_compared(report, w)]
    return [*found, *(_power(report, w) if power else ()), *_reasons(report, w)]


def as_markdown(report: BenchReport, language: str = "en", *, power: bool = False) -> str:
    """The report as Markdown; its first table is a leaderboard."""
    lines: list[str] = []
    for at, section in enumerate(sections(report, language, power=power)):
        lines += [f"{'#' if at == 0 else '##'} {cell(section.title)}", ""]
        for line in section.lines:
            lines += [cell(line), ""]
        if section.rows:
            lines += [*markdown_table(section.header, section.rows), ""]
    return "\n".join(lines)


def as_page(report: BenchReport, language: str = "en", *, power: bool = False) -> str:
    """The report as one HTML file, with its plot and without any script."""
    plot = {words(language)["plot-axis"]: as_plot(report, language)}
    return sections_page(sections(report, language, power=power), language, plot)


def as_plot(report: BenchReport, language: str = "en") -> str:
    """SVG: accuracy of all pairs and of each domain, by scorer."""
    w = words(language)
    parts = [(w["micro"], {one.name: one.micro for one in report.scorers})]
    names = dict.fromkeys(name for one in report.scorers for name in one.domains)
    parts += [(name, {one.name: one.domains[name] for one in report.scorers if name in one.domains}) for name in names]
    if len(parts) == 2:  # one domain is all
        parts = parts[:1]
    rows = [
        Dot(f"{scorer} · {part}", of.share.value, of.share.low, of.share.high)
        for part, every in parts
        for scorer, of in every.items()
        if of.share.value is not None
    ]
    title = w["plot"].format(name=report.bench.name)
    return accuracy_plot(title, rows[:_MOST_ROWS], axis=w["plot-axis"], empty=w["none"])


# ------------------------------------------------------------------------------------------------


def _head(report: BenchReport, w: _Words) -> Section:
    facts = w["facts"].format(items=f"{report.items:,}", pairs=f"{report.pairs:,}", preset=report.bench.preset)
    lines = [facts, w[f"tie-{report.config.tie}"]]
    if any(one.kind == "judge" for one in report.scorers):
        lines.append(w["judge-is"])
    return Section(w["title"].format(name=report.bench.name), tuple(lines))


def _board(report: BenchReport, w: _Words) -> Section:
    """The leaderboard, best first: by the benchmark's own headline where it has one."""
    headline = any(OVERALL in one.aggregates.values for one in report.scorers)
    best = any(one.best_of_n is not None and one.best_of_n.n for one in report.scorers)

    def place(one: Scored) -> tuple[float, str]:
        own = one.aggregates.values.get(OVERALL) if headline else one.micro.share
        return -1.0 if own is None or own.value is None else own.value, one.name

    header = [w["scorer"], w["kind"], *([w["headline"].format(preset=report.bench.preset)] if headline else [])]
    header += [w["micro"], w["macro"], w["exact"], *([w["best"]] if best else [])]
    header += [w[name] for name in ("ties", "invalid", "missing", "lowest")]
    rows = []
    for one in sorted(report.scorers, key=lambda one: (-place(one)[0], one.name)):
        row = [one.name, w[f"kind-{one.kind}"]]
        row += [told(one.aggregates.values.get(OVERALL))] if headline else []
        row += [told(one.micro.share), told(one.macro), told(one.exact), *([told(one.best_of_n)] if best else [])]
        counts = (one.micro.ties, one.micro.invalid, one.micro.missing)
        rows.append((*row, *(f"{count:,}" for count in counts), percent(one.micro.lowest)))
    return Section(w["board"], (), tuple(header), tuple(rows))


def _domains(report: BenchReport, w: _Words) -> Section:
    names = dict.fromkeys(name for one in report.scorers for name in one.domains)
    rows = []
    for name in names:
        every = [one.domains.get(name) for one in report.scorers]
        size = next(one.pairs for one in every if one is not None)
        rows.append((name, f"{size:,}", *(_accuracy(one) for one in every)))
    return Section(w["domains"], (), (w["domain"], w["pairs"], *(one.name for one in report.scorers)), tuple(rows))


def _accuracy(one: Accuracy | None) -> str:
    return "–" if one is None else told(one.share)


def _preset(report: BenchReport, w: _Words) -> Iterator[Section]:
    names = dict.fromkeys(name for one in report.scorers for name in one.aggregates.values)
    if not names:
        return
    faults = dict.fromkeys(fault for one in report.scorers for fault in one.aggregates.faults)
    lines: tuple[str, ...] = ()
    if faults:
        named = "; ".join(w[f"fault-{fault}"] for fault in faults)
        lines = (w["official" if report.config.official else "own"].format(faults=named),)
    rows = tuple((name, *(told(one.aggregates.values.get(name)) for one in report.scorers)) for name in names)
    header = (w["part"], *(one.name for one in report.scorers))
    yield Section(w["preset"].format(preset=report.bench.preset), lines, header, rows)


def _calibration(report: BenchReport, w: _Words) -> Iterator[Section]:
    rows = tuple(
        (one.name, _number(one.calibration.nll), _number(one.calibration.brier), f"{one.calibration.ece:.3f}")
        for one in report.scorers
        if one.calibration is not None
    )
    if rows:
        yield Section(w["calibration"], (w["calibration-is"],), (w["scorer"], "NLL", "Brier", "ECE"), rows)


def _length(report: BenchReport, w: _Words) -> Section:
    rows = []
    for one in report.scorers:
        of = one.length
        equal = w[f"why-{of.why}"] if of.why is not None else told(of.at_equal)
        slope = "–" if of.slope is None else signed(of.slope)
        shares = (told(of.chosen_longer), told(of.chosen_shorter), told(of.balanced))
        rows.append((one.name, *shares, f"{of.same:,}", equal, slope))
    header = ("scorer", "chosen-longer", "chosen-shorter", "balanced", "same", "at-equal", "slope")
    return Section(w["length"], (w["length-is"],), tuple(w[name] for name in header), tuple(rows))


def _position(report: BenchReport, w: _Words) -> Iterator[Section]:
    rows = []
    for one in report.scorers:
        of = one.position
        if of is not None:
            counts = (f"{of.verdicts:,}", f"{of.ties:,}", f"{of.invalid:,}")
            orders = (told(of.first_shown), f"{of.both:,}", told(of.consistent))
            rows.append((one.name, *counts, *orders, *(told(of.rules[rule]) for rule in RULES)))
    if rows:
        header = ["scorer", "verdicts", "ties", "invalid", "first-shown", "both-orders", "consistent"]
        header += [f"rule-{rule}" for rule in RULES]
        once = {one.name: one.position.once for one in report.scorers if one.position is not None and one.position.once}
        lines = (w["position-is"], *(w["once"].format(name=name, pairs=f"{n:,}") for name, n in once.items()))
        yield Section(w["position"], lines, tuple(w[name] for name in header), tuple(rows))


def _compared(report: BenchReport, w: _Words) -> Iterator[Section]:
    if not report.compared and not report.apart:
        return
    rows = tuple(
        (
            *(one.name, one.against, f"{one.pairs:,}"),
            f"{signed(100 * one.difference, 1)} ({signed(100 * one.low, 1)} – {signed(100 * one.high, 1)})",
            _p(one.p_holm),
            "–" if one.mcnemar is None else f"{one.only} / {one.only_against}",
            _p(one.mcnemar_holm),
        )
        for one in report.compared
    )
    header = tuple(w[name] for name in ("scorer", "against", "pairs", "difference", "p", "only", "mcnemar"))
    lines = [w["compared-is"] + (w["holm"].format(number=len(rows)) if len(rows) > 1 else "")] if rows else []
    lines += [w["unlike"]] if any(one.mcnemar is None for one in report.compared) else []
    lines += [w["apart"].format(one=one, other=other) for one, other in report.apart]
    yield Section(w["compared"], tuple(lines), header, rows)


def _power(report: BenchReport, w: _Words) -> Iterator[Section]:
    rows = tuple(
        (
            *(one.name, one.against, f"{one.both + one.only + one.only_against + one.neither:,}"),
            *(percent(one.power), "–" if one.needed is None else f"{one.needed:,}"),
        )
        for one in report.compared
    )
    if rows:
        header = tuple(w[name] for name in ("scorer", "against", "items", "chance", "needed"))
        yield Section(w["power"], (w["power-is"],), header, rows)


def _reasons(report: BenchReport, w: _Words) -> Iterator[Section]:
    rows = tuple((one.name, reason, f"{count:,}") for one in report.scorers for reason, count in one.reasons.items())
    if rows:
        yield Section(w["reasons"], (), (w["scorer"], w["reason"], w["items"]), rows)


# ------------------------------------------------------------------------------------------------


def percent(value: float | None) -> str:
    """A share for people."""
    return "–" if value is None else f"{100 * value:.1f}%"


def told(one: Estimate | None) -> str:
    """A share with its interval."""
    if one is None or one.value is None:
        return "–"
    span = "" if one.low is None or one.high is None else f" ({100 * one.low:.1f}–{100 * one.high:.1f})"
    return f"{percent(one.value)}{span}"


def _number(one: Estimate) -> str:
    if one.value is None:
        return "–"
    span = "" if one.low is None or one.high is None else f" ({one.low:.3f}–{one.high:.3f})"
    return f"{one.value:.3f}{span}"


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if value >= 0.001 else "< .001"
