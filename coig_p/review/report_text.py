"""The report of a review for people, in English and Chinese: sections of words and tables, as Markdown or a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from coig_p.core.markdown import cell
from coig_p.core.markdown import table as markdown_table
from coig_p.report.sections import Section
from coig_p.report.sections import as_page as sections_page
from coig_p.review.accuracy import FEW, RIGHT, Accuracy, Weighted
from coig_p.review.quality import Quality
from coig_p.review.report_words import words
from coig_p.review.reporting import ReviewReport
from coig_p.stats.intervals import draws_needed
from coig_p.stats.reliability import Estimate, Reliability

_MOST_NAMES = 12  # people and judges that a table has a column for
_MOST_QUERIES = 20  # of triples that are listed


def sections(report: ReviewReport, language: str = "en") -> list[Section]:
    """What the report says, in order; what a review has nothing of is left out."""
    w = words(language)
    found = [_head(report, w)]
    if report.criteria:
        found += [_right(report, w), *_margins(report, w), _annotators(report, w)]
    found += [*_agreement(report, w), *_judges(report, w), *_ranked(report, w), _quality(report, w)]
    return found


def as_markdown(report: ReviewReport, language: str = "en") -> str:
    """The report as Markdown."""
    lines: list[str] = []
    for at, section in enumerate(sections(report, language)):
        lines += [f"{'#' if at == 0 else '##'} {cell(section.title)}", ""]
        for line in section.lines:
            lines += [line, ""]  # our own words, numbers and names of annotators, which have no marks in them
        if section.rows:
            lines += [*markdown_table(section.header, section.rows), ""]
    return "\n".join(lines)


def as_page(report: ReviewReport, language: str = "en") -> str:
    """The report as one HTML file without any script."""
    return sections_page(sections(report, language), language)


# ------------------------------------------------------------------------------------------------

_Words = Mapping[str, str]


def _head(report: ReviewReport, w: _Words) -> Section:
    opened = report.all[_main(report)].open if report.criteria else 0
    facts = w["facts"].format(
        form=w[f"form-{report.form}"],
        items=report.items,
        answered=report.answered,
        waiting=report.waiting,
        open=opened,
        people=len(report.annotators),
        overlap=report.overlap,
        rounds=report.rounds,
        skipped=report.skipped,
        comments=report.comments,
    )
    torn = [w["torn"].format(torn=report.torn)] if report.torn else []
    title = w["title"].format(name=report.name, store=report.store)
    return Section(title, (facts, *torn, *(w[note] for note in report.notes)))


def _main(report: ReviewReport) -> str:
    return RIGHT if RIGHT in report.all else report.criteria[0]


def _right(report: ReviewReport, w: _Words) -> Section:
    main = _main(report)
    others = [criterion for criterion in report.criteria if criterion != main]
    header = ("", w["items"], w[main], w["share"], w["interval"], w["open"], w["open-wrong"])
    rows = []
    for name, columns in [*report.domains.items(), (w["all"], report.all)]:
        one = columns[main]
        shares = [percent(columns[other].share) for other in others]
        own = [str(one.n + one.open + one.missing), f"{one.right} / {one.n}", percent(one.share), _interval(one)]
        needed = "–" if one.needed is None else str(one.needed)
        rows.append((name, *own, str(one.open), percent(one.open_wrong), *shares, needed))
    lines = [w["right-is"].format(criteria=w["and"].join(w[one] for one in report.criteria))]
    for kind, mean in report.weighted[main].items():
        what = w[f"by-{kind}"].format(covered=percent(mean.covered))
        # At 0 and 1 the formula gives no error at all, which nobody should read as certainty: the interval tells.
        error = f"; {w['se']} {100 * mean.se:.1f}" if mean.se else ""
        lines.append(f"{what}: {percent(mean.share)} ({_interval(mean)}{error})")
    if not report.weighted[main] and "by" not in report.notes:
        lines.append(w["no-weights"])
    few = dict.fromkeys(name for mean in report.weighted[main].values() for name in mean.pooled)
    if few:
        lines.append(w["pooled"].format(few=FEW, domains=w["and"].join(few)))
    lines.append(w["how-needed"].format(least=draws_needed(1.0)))
    title = w["feasible-title" if report.form == "query" else "right-title"]
    return Section(title, tuple(lines), (*header, *(w[one] for one in others), w["needed"]), tuple(rows))


def _margins(report: ReviewReport, w: _Words) -> Iterator[Section]:
    main = _main(report)
    rows = [(name, *_found(one[main])) for name, one in report.margins.items()]
    if len(rows) > 1:
        yield Section(w["margins-title"], (), (w["margin"], w["items"], w["share"], w["interval"]), tuple(rows))


def _found(one: Accuracy) -> tuple[str, str, str]:
    return str(one.n), percent(one.share), _interval(one)


def _annotators(report: ReviewReport, w: _Words) -> Section:
    main = _main(report)
    others = [criterion for criterion in report.criteria if criterion != main]
    told = [(name, one.shares) for name, one in report.annotators.items()]
    told += [(w["majority"], report.all), (w["mean"], report.mean)]
    rows = tuple(
        (
            name,
            str(one[main].n),
            percent(one[main].share),
            _interval(one[main]),
            *(percent(one[c].share) for c in others),
        )
        for name, one in told
    )
    header = ("", w["answers"], w["share"], w["interval"], *(w[one] for one in others))
    return Section(w["annotators-title"], (w["mean-is"],), header, rows)


def _agreement(report: ReviewReport, w: _Words) -> Iterator[Section]:
    if len(report.annotators) < 2:
        return
    rows = tuple((_part(one.kind, one.name, w), *_numbers(one.found)) for one in report.agreement)
    whole = report.agreement[0].found
    if not whole.units:
        yield Section(w["agreement-title"], (w["no overlap"],))
        return
    lines = [w["agreement-is"]]
    for name, estimate in _estimates(whole):
        if estimate.why is not None:
            lines.append(f"{name}: {w[estimate.why]}")
    yield Section(w["agreement-title"], tuple(lines), ("", w["units"], w["percent"], "alpha", "AC1", "Fleiss"), rows)
    pairs = tuple(
        (f"{pair.one} – {pair.two}", str(pair.units), percent(pair.percent), _number(pair.kappa))
        for pair in whole.pairs
    )
    if pairs:
        yield Section(w["pairs-title"], (), ("", w["units"], w["percent"], w["kappa"]), pairs)


def _judges(report: ReviewReport, w: _Words) -> Iterator[Section]:
    found = report.judges
    if found is None:
        return
    parts = tuple(
        (_part(one.kind, one.name, w), percent(one.people), percent(one.people_judges), percent(one.judges))
        for one in found.parts
    )
    header = ("", w["people-people"], w["people-judges"], w["judges-judges"])
    lines = tuple(
        w["alphas"].format(who=who, alpha=_told(one.alpha), ac1=_told(one.ac1))
        for who, one in ((w["both"], found.both), (w["judges-only"], found.judges))
    )
    yield Section(w["judges-title"], (w["judges-is"], *lines), header, parts)
    names = found.names
    shown = names if len(names) <= _MOST_NAMES else names[: found.people]
    rows = tuple(
        (name, *(percent(cell) for cell in cells[: len(shown)]), percent(average))
        for name, cells, average in zip(names, found.cells, found.averages, strict=True)
    )
    yield Section(w["matrix-title"], (), ("", *shown, w["average"]), rows)


def _ranked(report: ReviewReport, w: _Words) -> Iterator[Section]:
    if not report.ranked:
        return
    relations, kept = (sum(getattr(one, name) for one in report.ranked) for name in ("relations", "kept"))
    share = percent((relations - kept) / relations) if relations else "–"
    line = w["ranked-is"].format(
        queries=len(report.ranked), relations=relations, conflict=share, pairs=sum(one.pairs for one in report.ranked)
    )
    rows = tuple(
        (one.query_id, one.domain, _ranks(one.ranks), f"{one.kept} / {one.relations}")
        for one in report.ranked[:_MOST_QUERIES]
    )
    header = (w["query"], w["domain"], w["ranks"], w["kept"])
    yield Section(w["ranked-title"], (line,), header, rows)


def _ranks(ranks: Sequence[tuple[str, int, int]]) -> str:
    """Models from the best to the worst, those of one rank with = between."""
    levels: dict[int, list[str]] = {}
    for model, sample, rank in ranks:
        levels.setdefault(rank, []).append(f"{model}#{sample}" if sample else model)
    return " > ".join(" = ".join(level) for level in levels.values())


def _quality(report: ReviewReport, w: _Words) -> Section:
    known = [one.quality for one in report.annotators.values()]
    lines = [w["quality-is"]]
    for one in known:
        for flag in one.flags:
            seen = ", ".join(f"{w[name]} {_seen(name, value)}" for name, value in flag.seen.items())
            lines.append(f"{one.annotator}: {w['flag-' + flag.sign]} ({seen})")
    own = report.repeats
    for number, same, key in ((own.own, own.own_same, "repeats"), (own.others, own.others_same, "repeats-others")):
        if number:
            lines.append(w[key].format(number=number, same=same, share=percent(same / number)))
    header = (
        *("", w["answers"], w["skipped"], w["gold"], w["with-others"], w["ties"], w["side"], w["seconds"], w["speed"]),
        *(w["run"], w["flags"]),
    )
    return Section(w["quality-title"], tuple(lines), header, tuple(_quality_row(one, w) for one in known))


def _quality_row(one: Quality, w: _Words) -> tuple[str, ...]:
    gold = f"{one.gold_right} / {one.gold} (≤ {percent(one.gold_most)})" if one.gold else "–"
    return (
        one.annotator,
        f"{one.answered} / {one.given}",
        str(one.skipped),
        gold,
        _share(one.with_others, one.others),
        _share(one.ties, one.answers),
        _share(one.first, one.decided),
        _number(one.seconds, 1),
        _number(one.per_character, 3),
        str(one.run),
        ", ".join(w["flag-" + flag.sign] for flag in one.flags) or "–",
    )


# ------------------------------------------------------------------------------------------------


def percent(value: float | None) -> str:
    """A share for people."""
    return "–" if value is None else f"{100 * value:.1f}%"


def _share(part: int, whole: int) -> str:
    return percent(part / whole) if whole else "–"


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _interval(one: Accuracy | Weighted) -> str:
    return "–" if one.low is None or one.high is None else f"{100 * one.low:.1f} – {100 * one.high:.1f}"


def _told(one: Estimate) -> str:
    between = "" if one.low is None else f" ({one.low:.2f} – {one.high:.2f})"
    return _number(one.value) + between


def _estimates(found: Reliability) -> list[tuple[str, Estimate]]:
    return [("alpha", found.alpha), ("AC1", found.ac1), ("Fleiss", found.fleiss)]


def _numbers(found: Reliability) -> list[str]:
    one = found.percent
    between = "" if one.low is None or one.high is None else f" ({100 * one.low:.1f} – {100 * one.high:.1f})"
    return [str(found.units), percent(one.value) + between, *(_told(estimate) for _, estimate in _estimates(found))]


def _part(kind: str, name: str, w: _Words) -> str:
    return w["all"] if kind == "all" else f"{w[kind]} {name}"


def _seen(name: str, value: float) -> str:
    if name in ("share", "of the others", "first", "at most"):
        return percent(value)
    return f"{value:g}" if float(value).is_integer() else f"{value:.2g}"
