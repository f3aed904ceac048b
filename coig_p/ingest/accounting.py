"""What an import read, what became of it, and what was wrong: nothing goes without a count."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from coig_p.errors import DataError
from coig_p.schema import UNITS

SHOWN = 20  # problems that a report keeps, and a command prints, in full


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
class ImportReport:
    """What an import read and what became of it. For each unit, read = stored + rejected + merged."""

    counts: dict[str, Counter[str]] = field(default_factory=lambda: {unit: Counter() for unit in UNITS})
    reasons: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)  # the first SHOWN
    ignored_fields: Counter[str] = field(default_factory=Counter)
    forms: dict[str, str] = field(default_factory=dict)  # what each file was taken for

    def accounting(self) -> dict[str, dict[str, int]]:
        """Counts by unit, in plain dicts."""
        names = ("read", "stored", "rejected", "merged")
        return {unit: {name: self.counts[unit][name] for name in names} for unit in UNITS}


class ImportFailed(DataError):
    """Nothing was written.

    Attributes:
        report: the ImportReport, with counts per reason and the first problems.
    """

    def __init__(self, message: str, report: ImportReport) -> None:
        self.report = report
        super().__init__(message)
