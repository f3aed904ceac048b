"""What a judge said of one checkpoint's answers: results of coigp align, or the scores.jsonl of a command.

Of results every number is the one that coigp align report has: means, intervals, invalid, paired differences. Where an
arm has several seeds its overall is the mean of theirs, drawn together: the same questions of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from coig_p.errors import DataError
from coig_p.evaluate.align.files import ANSWERS, RESULTS, Kept, read_kept
from coig_p.evaluate.align.reporting import (
    Model,
    Parts,
    check_alike,
    compared,
    drawn_of,
    interval_of,
    mean_of,
    model_of,
    parts_of,
)
from coig_p.evaluate.experiment.config import BenchmarkEntry
from coig_p.evaluate.experiment.scores import SCORES, Expected, Scores, read_scores
from coig_p.evaluate.experiment.spread import Difference, Number, mean_of_seeds, over_questions
from coig_p.evaluate.experiment.spread import difference as difference_of_scores
from coig_p.reward.bench.comparing import holm


@dataclass(frozen=True)
class Aligned:
    """Results of coigp align, read whole.

    Attributes:
        kept: as they lie there.
        model: as coigp align report has it.
    """

    kept: Kept
    model: Model

    @property
    def overall(self) -> float | None:
        """Of AlignBench the mean of Reasoning and Language, of MT-Bench-zh that of its turns."""
        return self.model.overall.mean

    @property
    def parts(self) -> dict[str, float | None]:
        """Reasoning, Language or turns, then categories."""
        one = self.model
        halves = {"reasoning": one.reasoning, "language": one.language}
        found = {name: score.mean for name, score in halves.items() if score is not None}
        found |= {f"turn {turn}": score.mean for turn, score in one.turns.items()}
        return found | {name: score.mean for name, score in one.categories.items()}

    @property
    def scored(self) -> int:
        """Turns with a score."""
        return self.model.overall.n

    @property
    def invalid(self) -> int:
        """Judgements without one."""
        return self.model.overall.invalid

    @property
    def unanswered(self) -> int:
        """Turns without an answer."""
        return self.model.overall.unanswered

    @cached_property
    def sums(self) -> Parts:
        """What its means are made of."""
        return parts_of(self.kept)

    def to_dict(self) -> dict[str, Any]:
        """As coigp align report has it in JSON, and by whom it was judged; the same wherever the folder is."""
        told = self.model.to_dict()
        del told["path"], told["name"]
        return told | {"benchmark": self.kept.benchmark.to_dict(), "judge": dict(self.kept.judge)}


Judged = Aligned | Scores


def read_judged(folder: Path, benchmark: BenchmarkEntry, expected: Expected) -> Judged:
    """What a judge said.

    Args:
        folder: that it wrote: results of coigp align in it or in one folder of it, or scores.jsonl.
        expected: what these scores must be.

    Raises:
        DataError: neither or both, or what is there cannot be; names file, line and field.
    """
    found = folders_of(folder, RESULTS)
    has_scores = (folder / SCORES).exists()
    if len(found) + has_scores > 1:
        names = [str(one) for one in found] + [str(folder / SCORES)] * has_scores
        raise DataError(f"{' and '.join(names)}: which of them counts nobody can see. Write one")
    if not found:
        return read_scores(folder, benchmark, expected)
    if benchmark.weights:
        raise DataError(
            f"{found[0]}: results of coigp align have weights of their own, and benchmarks {benchmark.name!r} has "
            "some, too. Leave those out"
        )
    kept = read_kept(found[0], RESULTS)
    return Aligned(kept, model_of(kept, str(kept.model["name"])))


def answers_in(folder: Path) -> Path:
    """The answers of coigp align in what a step made.

    Raises:
        DataError: there are none, or several.
    """
    found = folders_of(folder, ANSWERS)
    if len(found) != 1:
        what = "no answers" if not found else "several answers"
        raise DataError(f"{folder}: {what} of coigp align, and [judge] endpoint judges those. Give it a command")
    return found[0]


def folders_of(folder: Path, what: str) -> list[Path]:
    """Where answers or results are: the folder, or those in it."""
    places = [folder, *sorted(one for one in folder.iterdir() if one.is_dir())] if folder.is_dir() else []
    return [one for one in places if (one / f"{what}.json").is_file()]


def check_comparable(every: Sequence[Judged], what: str) -> None:
    """Raise DataError where these are of other questions, UsageError where they were judged otherwise."""
    first = every[0]
    for one in every[1:]:
        if isinstance(first, Aligned) and isinstance(one, Aligned):
            check_alike(first.kept, one.kept)
        elif isinstance(first, Scores) and isinstance(one, Scores):
            if one.categories != first.categories or one.weights != first.weights:
                raise DataError(f"{what}: two of its results are of other questions, or other categories")
        else:
            raise DataError(f"{what}: some of its results are of coigp align, and some are {SCORES}")


def questions_of(value: float, every: Sequence[Judged]) -> Number:
    """The mean of seeds' overalls, with its interval over questions."""
    aligned = [one for one in every if isinstance(one, Aligned)]
    if aligned:
        sums = [one.sums for one in aligned]
        return Number(value, *interval_of(sums, "overall", drawn_of(sums[0].strata)))
    scores = [one for one in every if isinstance(one, Scores)]
    means = mean_of_seeds([one.by_question for one in scores])
    return over_questions(value, means, scores[0].categories, scores[0].weights)


def difference_of(every: Sequence[Judged], others: Sequence[Judged]) -> Difference | None:
    """An arm's overall less another's, question by question; None where a category has none that both have."""
    ours, theirs = ([one for one in some if isinstance(one, Aligned)] for some in (every, others))
    if ours and theirs:
        sums = [mean_of([one.sums for one in some]) for some in (ours, theirs)]
        found = compared(sums[0], sums[1], ("", ""))
        if found.difference is None:
            return None
        return Difference(found.difference, found.low, found.high, found.questions, found.p)
    mine, other = ([one for one in some if isinstance(one, Scores)] for some in (every, others))
    means = [mean_of_seeds([one.by_question for one in some]) for some in (mine, other)]
    apart = difference_of_scores(means[0], means[1], mine[0].categories, mine[0].weights)
    if apart is None:
        return None
    return Difference(apart.value, apart.low, apart.high, len(means[0].keys() & means[1].keys()))


def adjusted(found: Mapping[int, Difference]) -> dict[int, Difference]:
    """The differences of one test with their p adjusted by Holm for all of them."""
    told = {at: one for at, one in found.items() if one.p is not None}
    values = holm([one.p for one in told.values() if one.p is not None])
    return {at: replace(one, p_holm=p) for (at, one), p in zip(told.items(), values, strict=True)}
