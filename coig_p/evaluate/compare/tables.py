"""Stores side by side as tables of texts, for a terminal, Markdown and a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from coig_p.evaluate.compare.annotation import KINDS
from coig_p.evaluate.compare.reasons import reason
from coig_p.evaluate.compare.results import Across, SideBySide, StoreRow
from coig_p.evaluate.compare.words import words
from coig_p.reward.made import LENGTH, MAJORITY
from coig_p.reward.made import Accuracy as HeldOutAccuracy
from coig_p.stats.intervals import Share
from coig_p.stats.lengths import PairLengths

NONE = "–"
_MOST = 4  # languages and rules in a cell
_Words = Mapping[str, str]
_Row = tuple[str, ...]
_Cells = Callable[[StoreRow, _Words], _Row]
_Cell = Callable[[StoreRow, Across | None], str]


@dataclass(frozen=True)
class Section:
    """A heading, a sentence, and a table, whose first column is of stores' names.

    Attributes:
        named: whether the other columns are called by stores' or benchmarks' names, and not by our words.
    """

    title: str
    note: str
    header: _Row
    rows: tuple[_Row, ...]
    named: bool = False


def sections(found: SideBySide, language: str = "en") -> list[Section]:
    """All tables; those without a row or a column are left out.

    Raises:
        UnknownNameError: a language that is none of LANGUAGES.
    """
    w = words(language)
    made = [
        _section(found, w, "sizes", _SIZES, _sizes),
        _section(found, w, "lengths", _lengths_header(found), lambda one, _: _lengths(one, found)),
        _section(found, w, "asked", _ASKED, _asked),
        _section(found, w, "judged", ("kind", "judges", "alpha", "agreement"), _judged),
        _section(found, w, "quality", ("errors", "warnings", "metrics", "rules", "near", "clusters"), _quality),
        _contamination(found, w),
        _matrix(found, w, "overlap", _overlap),
        _section(found, w, "floor", ("trained", "held-out", "length-wins", "majority-wins", "verdict"), _floor)
        if found.config.floor
        else None,
        _matrix(found, w, "across", _tested) if found.config.floor else None,
        Section(w["empty"], "", (w["store"], w["cell"], w["why"]), tuple(_empty(found, w, language))),
    ]
    return [section for section in made if section is not None and section.rows and len(section.header) > 1]


def _section(found: SideBySide, w: _Words, name: str, header: Sequence[str], cells: _Cells) -> Section:
    rows = tuple((one.name, *cells(one, w)) for one in found.stores)
    return Section(w[name], w[f"{name}-note"], (w["store"], *(w[column] for column in header)), rows)


_SIZES = ("samples", "prompts", "queries", "responses", "scores", "comparisons", "threshold")
_ASKED = ("domains", "query-languages", "response-languages", "traditional", "some-traditional", "simplified")


def _sizes(one: StoreRow, w: _Words) -> _Row:
    counts = one.counts
    numbers = (
        *(counts.pairs, one.characters.prompts),
        *(counts.queries, counts.responses, counts.scores, counts.comparisons),
    )
    return (*(f"{number:,}" for number in numbers), one.threshold)


def _lengths_header(found: SideBySide) -> _Row:
    tokens = ("prompt-tokens", "response-tokens") if found.config.tokenizer is not None else ()
    return ("prompt-characters", "response-characters", *tokens, "longer")


def _lengths(one: StoreRow, found: SideBySide) -> _Row:
    measured: list[PairLengths | None] = [one.characters]
    measured += [one.tokens] if found.config.tokenizer is not None else []
    cells = [
        NONE if of is None or length.mean is None else str(length)
        for of in measured
        for length in ((of.prompt_length, of.response_length) if of is not None else ())
    ]
    return (*cells, share_text(one.chosen_longer))


def _asked(one: StoreRow, w: _Words) -> _Row:
    by_domain = {name: counts.queries for name, counts in one.domains.items()}
    scripts = one.scripts
    return (
        _named_numbers(by_domain, len(by_domain)),
        _named_numbers(one.query_languages, _MOST),
        _named_numbers(one.response_languages, _MOST),
        *(f"{number:,}" for number in (scripts.traditional, scripts.some_traditional, scripts.simplified)),
    )


def _named_numbers(numbers: Mapping[str, int], most: int) -> str:
    shown = [f"{name} {number:,}" for name, number in list(numbers.items())[:most]]
    return ", ".join([*shown, *(["…"] if len(numbers) > most else [])]) or NONE


def _judged(one: StoreRow, w: _Words) -> _Row:
    told = []
    for kind in KINDS:
        for person, who in ((True, "people"), (False, "models")):
            given = [part.judgements for part in one.annotation if part.kind == kind and part.person == person]
            if given:
                told.append(f"{w[f'{kind}-kind']}: {sum(given):,} ({w[who]}: {len(given):,})")
    same = [pair.same.share for pair in one.agreement if pair.same.share is not None]
    ends = dict.fromkeys(f"{end:.1%}" for end in (min(same), max(same))) if same else {}
    return (
        "; ".join(told) or NONE,
        f"{one.judges:,}",
        _interval(one.alpha.value, one.alpha.low, one.alpha.high),
        " – ".join(ends) or NONE,
    )


def _quality(one: StoreRow, w: _Words) -> _Row:
    found = one.findings
    most = dict(sorted(found.rules.items(), key=lambda rule: -rule[1]))
    gone = one.duplicates
    share = f" ({gone.duplicates / gone.total:.1%})" if gone.total else ""
    return (
        *(_thousandth(found.per_thousand(number)) for number in (found.errors, found.warnings, found.metrics)),
        _named_numbers(most, _MOST),
        f"{gone.duplicates:,}{share}",
        f"{gone.clusters:,}",
    )


def _thousandth(value: float | None) -> str:
    return NONE if value is None else f"{value:,.1f}"


def _contamination(found: SideBySide, w: _Words) -> Section:
    rows = tuple(
        (
            one.name,
            *(w["held"].format(queries=f"{of.queries:,}", responses=f"{of.responses:,}") for of in one.contamination),
        )
        for one in found.stores
    )
    header = (w["store"], *(of.benchmark for of in found.stores[0].contamination))
    return Section(w["contamination"], w["contamination-note"], header, rows, named=True)


def _matrix(found: SideBySide, w: _Words, name: str, cell: _Cell) -> Section | None:
    if len(found.stores) < 2:
        return None
    names = [one.name for one in found.stores]
    rows = tuple((one.name, *(cell(one, found.between(one.name, other)) for other in names)) for one in found.stores)
    return Section(w[name], w[f"{name}-note"], (w["store"], *names), rows, named=True)


def _overlap(one: StoreRow, beside: Across | None) -> str:
    if beside is None:
        return f"{one.duplicates.duplicates:,}"
    return f"{beside.near:,} ({beside.shared:,})"


def _tested(one: StoreRow, beside: Across | None) -> str:
    if beside is None:
        return _held_out(_inside(one))
    if beside.floor is None or beside.floor.share.value is None:
        return NONE
    share = beside.floor.share
    star = "*" if beside.near or beside.shared else ""
    return _percents(share.value, share.low, share.high) + star


def _inside(one: StoreRow) -> HeldOutAccuracy | None:
    return None if one.floor is None or one.floor.held_out is None else one.floor.held_out.model


def _floor(one: StoreRow, w: _Words) -> _Row:
    if one.floor is None:
        return (NONE,) * 5
    trained, held_out = f"{one.floor.pairs:,}", one.floor.held_out
    if held_out is None:
        return (trained, *(NONE,) * 4)
    beside = (held_out.beside.get(name) for name in (LENGTH, MAJORITY))
    return (trained, _held_out(held_out.model), *map(_held_out, beside), w[held_out.verdict])


def _held_out(of: HeldOutAccuracy | None) -> str:
    return NONE if of is None else _percents(of.accuracy, of.low, of.high)


def _empty(found: SideBySide, w: _Words, language: str) -> Iterator[_Row]:
    called = {name: w[name] for name in ("floor", "held-out", "longer", "alpha", "agreement")} | {"pairs": w["lengths"]}
    for one in found.stores:
        for name, why in one.empty.items():
            yield one.name, called.get(name, name), reason(why, language)
    for beside in found.across:
        if beside.why is not None:
            yield beside.store, f"{w['across']}: {beside.other}", reason(beside.why, language)


def share_text(of: Share) -> str:
    """A share in percent, with its interval where there is one."""
    return _percents(of.share, of.low, of.high)


def _percents(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return NONE
    span = "" if low is None or high is None else f" ({100 * low:.1f}–{100 * high:.1f})"
    return f"{value:.1%}{span}"


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:.2f}" + ("" if low is None or high is None else f" ({low:.2f} – {high:.2f})")
