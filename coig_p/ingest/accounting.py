"""What an import read, what became of it, and what was wrong: nothing goes without a count."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from coig_p.core.text import counted, printable
from coig_p.errors import DataError
from coig_p.ingest.domains import FEW_VALUES, KINDS, domain_options, is_kind, kinds_in
from coig_p.ingest.values import as_number, is_no_score, shown
from coig_p.ingest.verdicts import is_verdict
from coig_p.schema import UNITS

SHOWN = 20  # problems that a report keeps, and a command prints, in full
_JUDGES_TOLD = 1_000  # whose scores are told apart
_SCALES_APART = 3  # times as wide: a judge of 0 to 1 and one of 1 to 10 are not on one scale
_WIDEST = 1_000_000  # range of scores that is offered
_RANGES = ((0, 1), (-1, 1), (0, 4), (1, 5), (0, 5), (1, 7), (1, 10), (0, 10), (-3, 3), (0, 100))


class Problem(NamedTuple):
    """What is wrong with one value, and where.

    Attributes:
        field: path inside the row, for instance responses[2].scores[0].score.
        reason: a short fixed name, the same for all problems of a kind.
        unit: what is left out for it: row, response, score or comparison.
    """

    file: str
    line: int
    field: str
    reason: str
    message: str
    unit: str

    def __str__(self) -> str:
        where = f" {self.field}" if self.field else ""
        return f"{self.file}:{self.line}{where}: {self.message} [{self.reason}]"


@dataclass
class Unread:
    """A field that was left unread.

    Attributes:
        count: rows, or responses, that have it filled.
        numbers: how many of its values are numbers or true and false, also as text.
        labels: how many of them say good or bad: true and false, 1, 0 and -1.
        words: how many of them name a side or a tie, as a verdict does.
        inside: of a field that holds objects of numbers, the first of their names.
        values: those of a field in KINDS, FEW_VALUES + 1 at most.
    """

    count: int = 0
    numbers: int = 0
    labels: int = 0
    words: int = 0
    inside: str = ""
    values: set[str] = field(default_factory=set)

    def add(self, name: str, value: Any) -> None:
        """Count one value."""
        self.count += 1
        if isinstance(value, str):
            word = value.strip().lower()
            self.words += is_verdict(word)
            value_of = {"true": 1.0, "false": 0.0}.get(word, as_number(value))
        else:
            value_of = value if isinstance(value, (bool, int, float)) else None
        if isinstance(value, dict) and value and all(type(one) in (int, float) for one in value.values()):
            self.inside = str(next(iter(value)))
        self.numbers += value_of is not None
        self.labels += value_of in (-1, 0, 1)
        if name.rpartition(".")[2] in KINDS and len(self.values) <= FEW_VALUES:
            self.values.add(value if is_kind(value) else "")


@dataclass
class ImportReport:
    """What an import read and what became of it. For each unit, read = stored + rejected + merged.

    A row is a line of a file. It is merged where its query was there before, or where it holds scores of a
    response of another row; a response where the same model said the same before; a comparison where its two
    responses are one.

    Attributes:
        reasons: problems by reason; `problems` are the first SHOWN of them.
        unread: fields that were not read and have no place, by name; those of a response as responses.NAME.
        kept, dropped: fields that --keep kept and --drop left out, with counts.
        differing: kept fields, and source, of which rows that became one had another value: the first stays.
        forms: for each file, how many rows of each form it has.
        encodings: files that were read in another encoding than the one asked for.
        missing_scores: scores that are null or empty; their responses stay.
        text_scores: scores that were text where text is not all there is.
        equal_texts: pairs of a text with itself, which say nothing; the text is one response.
        opposed: comparisons that another of the same judge contradicts.
        rounded: scores and comparisons that were rounded to the grid: where that was asked for, and means in our own
            exports.
        lowest, highest: of all scores found, also of those out of range; None where there was none.
        spans: the same by judge, of those that were looked at one by one, as all are where one is out of range.
        kinds: of rows without a domain, fields that may say it, with what they say.
        compared: lowest and highest of scores that were compared with each other, where nobody gave their range.
        verdicts: comparisons that are no such.
        score_range, default_threshold, comparison_threshold: of the store; the last is None without a comparison.
        notes: what else has to be said, for instance what became of ids.
    """

    counts: dict[str, Counter[str]] = field(default_factory=lambda: {unit: Counter() for unit in UNITS})
    reasons: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    unread: dict[str, Unread] = field(default_factory=dict)
    kept: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    differing: Counter[str] = field(default_factory=Counter)
    forms: dict[str, Counter[str]] = field(default_factory=dict)
    encodings: dict[str, str] = field(default_factory=dict)
    missing_scores: int = 0
    text_scores: int = 0
    opposed: int = 0
    equal_texts: int = 0
    rounded: int = 0
    lowest: float | None = None
    highest: float | None = None
    spans: dict[str, tuple[float, float]] = field(default_factory=dict, compare=False)
    kinds: dict[str, Counter[str]] = field(default_factory=dict, compare=False)
    compared: tuple[float, float] | None = None
    verdicts: int = 0
    score_range: tuple[float, float] | None = None
    default_threshold: float | None = None
    comparison_threshold: float | None = None
    range_is_given: bool = False  # of scores
    domain_is_given: bool = False  # for all rows; then a row's own kind is unread
    tried: Collection[str] = ()  # fields that the user named; what that did not help is not advised again
    notes: list[str] = field(default_factory=list)

    @property
    def ignored_fields(self) -> dict[str, int]:
        """Unread fields with the number of rows, or responses, that have them."""
        return {name: found.count for name, found in self.unread.items()}

    def accounting(self) -> dict[str, dict[str, int]]:
        """Counts by unit, in plain dicts."""
        names = ("read", "stored", "rejected", "merged")
        return {unit: {name: self.counts[unit][name] for name in names} for unit in UNITS}

    def saw_scores(self, lowest: float, highest: float, judge: str | None = None, *, compared: bool = False) -> None:
        """Take note of scores between these, and of whose they are where that is known.

        Args:
            compared: with each other alone, on a range that nobody gave.
        """
        if compared:
            low, high = self.compared or (lowest, highest)
            self.compared = (min(low, lowest), max(high, highest))
            return
        if judge is not None and (judge in self.spans or len(self.spans) < _JUDGES_TOLD):
            low, high = self.spans.get(judge, (lowest, highest))
            self.spans[judge] = (min(low, lowest), max(high, highest))
        self.lowest = lowest if self.lowest is None else min(self.lowest, lowest)
        self.highest = highest if self.highest is None else max(self.highest, highest)

    def lacks_domain(self, row: Any) -> str:
        """What to say of a row without a domain; what it has in its place is noted."""
        perhaps = next(kinds_in(row), None)
        if perhaps is None:
            return "missing: pass --domain NAME for all rows"
        name, said = perhaps
        counts = self.kinds.setdefault(name, Counter())
        if len(counts) <= FEW_VALUES:
            counts[said] += 1
        way = f"{name} says {shown(said)}, which {domain_options(name, [said])} takes as the domain"
        return f"missing, but {way}; or pass --domain NAME for all rows"

    def left_unread(self, name: str, value: Any, short: str) -> None:
        """Take note of a field that was not read; `short` is its name without where it stands."""
        self.unread.setdefault(name, Unread()).add(short, value)

    def advice(self) -> list[str]:
        """What to know and what to do next, a line each; empty where there is nothing to say."""
        return [*self._warnings(), *self._remarks()]

    def _warnings(self) -> list[str]:
        said = []
        if self.reasons["out-of-range"] and self.lowest is not None and self.highest is not None:
            low, high = fitting_range(self.lowest, self.highest)
            found = f"scores were found from {self.lowest:g} to {self.highest:g}"
            apart = _other_scales(self.spans)
            forms = {form for found_in in self.forms.values() for form in found_in}
            if "kto" in forms and len(forms) > 1:
                said.append(f"{found}, and labels are 0 and 1: import the rows with labels apart")
            elif apart:
                said.append(
                    f"{found}, perhaps on different scales ({apart}): import such judges apart, or bring them to one "
                    f"scale; if it is one, pass --score-range {low:g} {high:g}"
                )
            elif high - low > _WIDEST:
                said.append(f"{found}: no scale is so wide, see whether they are scores")
            else:
                said.append(
                    f"{found}: --score-range {low:g} {high:g} takes them all. The default threshold scales with it"
                )
        if self.kinds and self.reasons["missing"]:
            name = max(self.kinds, key=lambda name: sum(self.kinds[name].values()))
            values = self.kinds[name].keys()
            if len(values) <= FEW_VALUES:
                way = f"{domain_options(name, values)} takes them as domains"
                said.append(f"rows name no domain, but {name} holds few values ({_few(values)}): {way}")
        has_label = self.counts["scores"]["read"] or self.counts["comparisons"]["read"]
        if self.counts["responses"]["stored"] and not has_label:
            said.append(f"no score and no comparison was found, so no pair can be made; {self._what_may_be_read()}")
        return said

    def _about_compared(self, lowest: float, highest: float) -> str:
        """What to say of scores that were compared and lie outside the range that stands where nobody gave one."""
        found = f"scores of two sides were found from {lowest:g} to {highest:g}, and were compared as they are"
        others = [one for one in (self.lowest, self.highest) if one is not None]
        low, high = fitting_range(min([lowest, *others]), max([highest, *others]))
        if any("kto" in forms for forms in self.forms.values()) or high - low > _WIDEST:
            return found
        return f"{found}: --score-range {low:g} {high:g} says their range, and the default threshold scales with it"

    def _what_may_be_read(self) -> str:
        """The unread fields that may hold what is missing, with the option that reads one in rows of this form."""
        forms = {form for found in self.forms.values() for form in found}
        columns = {name: one for name, one in self.unread.items() if not name.startswith("responses.")}
        if "pairwise" in forms:
            likely = {
                name: f"--map winner={name} reads it as the verdict"
                for name, one in columns.items()
                if one.count in (one.numbers, one.words)
            }
        elif forms & {"flat", "kto"}:
            likely = {
                name: f"--map label={name} reads it as a label, good or bad"
                if one.labels == one.count
                else f"--map score={name} or --score-column JUDGE={name} reads it"
                for name, one in columns.items()
                if one.numbers == one.count
            }
            likely |= {
                name: f"--score-column {one.inside}={name}.{one.inside} reads one part of it, and so on"
                for name, one in columns.items()
                if one.inside
            }
        else:  # lists of answers
            inside = {name.removeprefix("responses."): one for name, one in self.unread.items() if name not in columns}
            likely = {name: f"--map score={name} reads it" for name, one in inside.items() if one.numbers == one.count}
        likely = {name: way for name, way in likely.items() if name not in self.tried}
        if not likely:
            return "no unread field seems to have any"
        listed = ", ".join(
            f"{name} ({(self.unread.get(name) or self.unread[f'responses.{name}']).count:,})" for name in likely
        )
        return f"fields that were not read and may say it: {listed}. {next(iter(likely.values()))}"

    def _remarks(self) -> list[str]:
        said = list(self.notes)
        if self.compared and self.score_range:
            low, high = self.score_range
            if not low <= self.compared[0] <= self.compared[1] <= high:
                said.append(self._about_compared(*self.compared))
        said += [f"{file}: read as {encoding}" for file, encoding in self.encodings.items()]
        if self.missing_scores:
            said.append(f"missing scores: {self.missing_scores:,}; their responses stay, without these scores")
        if self.text_scores:
            said.append(f"scores that are numbers written as text: {self.text_scores:,}")
        if self.equal_texts:
            said.append(f"pairs of equal texts: {self.equal_texts:,}; each is one response, and nothing is compared")
        if self.opposed:
            said.append(
                f"{counted(self.opposed, 'comparison')} of two answers that the same judge also compared the other way "
                "round: together they give no pair. If they are of several judges or models, name these in the rows, "
                "or the judge of a file with --judge FILE=NAME"
            )
        if self.rounded:
            said.append(f"scores and comparisons rounded to 4 decimals: {self.rounded:,}")
        if self.unread:
            listed = ", ".join(f"{name} ({count:,})" for name, count in _most(self.ignored_fields))
            rest = [name for name, _ in _most(self.ignored_fields) if not name.startswith(("scores.", "comparisons."))]
            one = rest[0].removeprefix("responses.") if rest else ""
            how = f". --keep {one} keeps one in meta, --keep all every one" if rest else ", and have no place"
            said.append(f"fields that were not read: {listed}{how}")
        for name, found in self.unread.items():
            own = not name.startswith(("responses.", "scores.", "comparisons."))
            if self.domain_is_given and own and found.values and all(found.values) and len(found.values) <= FEW_VALUES:
                way = f"{domain_options(name, found.values)} in place of --domain"
                said.append(f"{name} holds few values ({_few(found.values)}): {way} takes them as domains")
        for what, names in (("kept", self.kept), ("dropped", self.dropped)):
            if names:
                said.append(f"fields {what}: {', '.join(f'{name} ({count:,})' for name, count in _most(names))}")
        if self.differing:
            listed = ", ".join(f"{name} ({count:,})" for name, count in _most(self.differing))
            said.append(f"rows that became one had other values for {listed}: the first is kept")
        return said


def units_in(value: Any, keyed: bool) -> dict[str, int]:
    """How many responses, scores and comparisons a row holds, right or wrong; a keyed one holds no response."""
    responses = value.get("responses") if isinstance(value, dict) else None
    comparisons = value.get("comparisons") if isinstance(value, dict) else None
    responses = responses if isinstance(responses, list) else []
    comparisons = comparisons if isinstance(comparisons, list) else []
    return {
        "rows": 0,
        "responses": 0 if keyed else len(responses),
        "scores": sum(map(scores_in, responses)),
        "comparisons": sum(not is_missing_comparison(one) for one in comparisons),
    }


def scores_in(response: Any) -> int:
    """How many scores a response holds, right or wrong."""
    scores = response.get("scores") if isinstance(response, dict) else None
    return sum(not is_missing_score(score) for score in scores) if isinstance(scores, list) else 0


def is_missing_score(value: Any) -> bool:
    """Whether an entry among scores says that there is none."""
    return isinstance(value, dict) and "score" in value and is_no_score(value["score"])


def is_missing_comparison(value: Any) -> bool:
    """Whether an entry among comparisons says that there is none."""
    both = ("first_score", "second_score")
    return isinstance(value, dict) and all(name in value and is_no_score(value[name]) for name in both)


def _other_scales(spans: Mapping[str, tuple[float, float]]) -> str:
    """Judges whose scores fill scales of which one is several times as wide as another; "" where none do."""
    wide = {judge: high - low for judge, (low, high) in ((name, fitting_range(*span)) for name, span in spans.items())}
    if not wide or max(wide.values()) < _SCALES_APART * min(wide.values()):
        return ""
    shown = (min(wide, key=wide.__getitem__), max(wide, key=wide.__getitem__))
    return ", ".join(f"{printable(judge)} {spans[judge][0]:g} to {spans[judge][1]:g}" for judge in shown)


def fitting_range(lowest: float, highest: float) -> tuple[float, float]:
    """A usual range of scores that holds what was found."""
    fits = [one for one in _RANGES if one[0] <= lowest and highest <= one[1]]
    low = math.floor(lowest)
    return min(fits, key=lambda one: one[1] - one[0]) if fits else (low, max(low + 1, math.ceil(highest)))


def _few(values: Collection[str]) -> str:
    """The first of some values."""
    return ", ".join(printable(one[:30]) for one in sorted(values)[:5]) + ", ..." * (len(values) > 5)


def _most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))


class ImportFailed(DataError):
    """Nothing was written.

    Attributes:
        report: the ImportReport, with counts per reason and the first problems.
    """

    def __init__(self, message: str, report: ImportReport) -> None:
        self.report = report
        super().__init__(message)
