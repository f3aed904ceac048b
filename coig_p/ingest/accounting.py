"""What an import read, what became of it, and what was wrong: nothing goes without a count."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from coig_p.errors import DataError
from coig_p.ingest.values import as_number, is_missing
from coig_p.schema import UNITS

SHOWN = 20  # problems that a report keeps, and a command prints, in full
_WIDEST = 1_000_000  # range of scores that is offered
FEW_VALUES = 20  # of a field that may be the domain

KINDS = ("category", "task", "task_type", "type", "subject", "topic", "类别", "类型", "任务", "学科", "领域")
"""Fields that may be what we call the domain."""

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
        values: those of a field in KINDS, FEW_VALUES + 1 at most.
    """

    count: int = 0
    numbers: int = 0
    values: set[str] = field(default_factory=set)

    def add(self, name: str, value: Any) -> None:
        """Count one value."""
        self.count += 1
        text = as_number(value) is not None if isinstance(value, str) else False
        self.numbers += text or isinstance(value, (bool, int, float))
        if name in KINDS and len(self.values) <= FEW_VALUES:
            self.values.add(str(value)[:100])


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
        lowest, highest: of all scores found, also of those out of range; None where there was none.
        score_range, default_threshold: of the store.
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
    lowest: float | None = None
    highest: float | None = None
    score_range: tuple[float, float] | None = None
    default_threshold: float | None = None
    domain_is_given: bool = False  # for all rows; then a row's own kind is unread
    notes: list[str] = field(default_factory=list)

    @property
    def ignored_fields(self) -> dict[str, int]:
        """Unread fields with the number of rows, or responses, that have them."""
        return {name: found.count for name, found in self.unread.items()}

    def accounting(self) -> dict[str, dict[str, int]]:
        """Counts by unit, in plain dicts."""
        names = ("read", "stored", "rejected", "merged")
        return {unit: {name: self.counts[unit][name] for name in names} for unit in UNITS}

    def saw_scores(self, lowest: float, highest: float) -> None:
        """Take note of scores between these."""
        self.lowest = lowest if self.lowest is None else min(self.lowest, lowest)
        self.highest = highest if self.highest is None else max(self.highest, highest)

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
            if high - low > _WIDEST:
                said.append(f"{found}: no scale is so wide, see whether they are scores")
            else:
                said.append(
                    f"{found}: --score-range {low:g} {high:g} takes them all. The default threshold scales with it"
                )
        has_label = self.counts["scores"]["read"] or self.counts["comparisons"]["read"]
        if self.counts["responses"]["stored"] and not has_label:
            likely = [f"{name} ({one.count:,})" for name, one in self.unread.items() if one.numbers == one.count]
            seen = (
                f"fields with numbers that were not read: {', '.join(likely)}" if likely else "no unread field has any"
            )
            one = likely[0].rpartition(" (")[0].removeprefix("responses.") if likely else "FIELD"
            said.append(
                f"no score and no comparison was found, so no pair can be made; {seen}. "
                f"--map score={one} or --score-column JUDGE={one} reads one"
            )
        return said

    def _remarks(self) -> list[str]:
        said = list(self.notes)
        said += [f"{file}: read as {encoding}" for file, encoding in self.encodings.items()]
        if self.missing_scores:
            said.append(f"missing scores: {self.missing_scores:,}; their responses stay, without a score")
        if self.text_scores:
            said.append(f"scores that are numbers written as text: {self.text_scores:,}")
        if self.unread:
            listed = ", ".join(f"{name} ({count:,})" for name, count in _most(self.ignored_fields))
            one = next(iter(_most(self.ignored_fields)))[0].removeprefix("responses.")
            said.append(f"fields that were not read: {listed}. --keep {one} keeps one in meta, --keep all every one")
        for name, found in self.unread.items():
            if self.domain_is_given and 1 <= len(found.values) <= FEW_VALUES:
                listed = ", ".join(sorted(found.values)[:5]) + ", ..." * (len(found.values) > 5)
                said.append(f"{name} holds few values ({listed}): --map domain={name} takes them as domains")
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
    return isinstance(value, dict) and "score" in value and is_missing(value["score"])


def is_missing_comparison(value: Any) -> bool:
    """Whether an entry among comparisons says that there is none."""
    both = ("first_score", "second_score")
    return isinstance(value, dict) and all(name in value and is_missing(value[name]) for name in both)


def fitting_range(lowest: float, highest: float) -> tuple[float, float]:
    """A usual range of scores that holds what was found."""
    fits = [one for one in _RANGES if one[0] <= lowest and highest <= one[1]]
    low = math.floor(lowest)
    return min(fits, key=lambda one: one[1] - one[0]) if fits else (low, max(low + 1, math.ceil(highest)))


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
