"""Which questions a judge's scores must be of: those of the benchmark's file; else the same of every cell.

A benchmark with a command that answers may be any file. Where it is JSON Lines or a JSON list, and every row has an id,
or every row a question_id, those are its questions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from coig_p.core.small_files import read_small
from coig_p.core.strict_json import strict_json
from coig_p.errors import DataError
from coig_p.evaluate.experiment.config import BenchmarkEntry, Experiment, JudgeCommand
from coig_p.evaluate.experiment.judged import Judged, read_judged
from coig_p.evaluate.experiment.scores import SCORES, Expected, Scores, listed

_IDS = ("id", "question_id")
_MOST = 256 << 20  # bytes


@dataclass
class Reader:
    """Reads what judges said of an experiment's answers, all of a benchmark's of the same questions."""

    experiment: Experiment
    _expected: dict[str, Expected] = field(default_factory=dict)
    _first: dict[str, tuple[str, Path, Mapping[str, str]]] = field(default_factory=dict)

    def read(self, folder: Path, benchmark: BenchmarkEntry, cell: str) -> Judged:
        """What a judge said; see `read_judged`.

        Args:
            cell: whose answers they are, for errors.

        Raises:
            DataError: it cannot be, or is not of the benchmark's questions, or of others than another cell's.
        """
        found = read_judged(folder, benchmark, self._of(benchmark))
        if isinstance(found, Scores):
            other, place, categories = self._first.setdefault(benchmark.name, (cell, folder, found.categories))
            _check_same(folder / SCORES, cell, found.categories, place / SCORES, other, categories)
        return found

    def _of(self, benchmark: BenchmarkEntry) -> Expected:
        if benchmark.name not in self._expected:
            judge = self.experiment.judge
            limits = judge.range if isinstance(judge, JudgeCommand) else None
            path = self.experiment.beside / Path(benchmark.file).expanduser()
            self._expected[benchmark.name] = Expected(path, ids_of(path), limits)
        return self._expected[benchmark.name]


def ids_of(path: Path) -> frozenset[str] | None:
    """The ids of a benchmark's questions; None where its file is no list of rows that all have one."""
    try:
        text = read_small(path, _MOST)
        is_list = text.lstrip().startswith("[")
        rows = strict_json(text) if is_list else [strict_json(line) for line in text.split("\n") if line.strip()]
    except (OSError, ValueError, RecursionError):
        return None
    if not rows or not all(isinstance(row, dict) for row in rows):
        return None
    for name in _IDS:
        found = [row.get(name) for row in rows]
        if all(isinstance(one, (str, int)) and not isinstance(one, bool) for one in found):
            return frozenset(str(one) for one in found)
    return None


def _check_same(
    path: Path, cell: str, ours: Mapping[str, str], other_path: Path, other: str, theirs: Mapping[str, str]
) -> None:
    if ours == theirs:
        return
    told = [
        f"{listed(names)} {'is' if len(names) == 1 else 'are'} in {words}"
        for names, words in (
            (theirs.keys() - ours.keys(), "the other alone"),
            (ours.keys() - theirs.keys(), "this one alone"),
            ({name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]}, "two categories"),
        )
        if names
    ]
    raise DataError(
        f"{path}, of {cell}: it is of other questions than {other_path}, of {other}: {'; '.join(told)}. Every question "
        "stands in each, with a score of null where there is none. Mend the command of judge; where it is the other "
        "that is wrong, delete that one's folder"
    )
