"""The table of an experiment: a row an arm and test, with both kinds of interval, and differences to the baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from coig_p.evaluate.experiment.choosing import Choice
from coig_p.evaluate.experiment.config import Experiment
from coig_p.evaluate.experiment.grid import arms, baselines
from coig_p.evaluate.experiment.judged import (
    Aligned,
    Judged,
    adjusted,
    check_comparable,
    difference_of,
    questions_of,
)
from coig_p.evaluate.experiment.run import Ran
from coig_p.evaluate.experiment.spread import Difference, Number, over_seeds


@dataclass(frozen=True)
class Row:
    """An arm on a test.

    Attributes:
        by_seed: the overall of each seed; None where nothing could be scored.
        seeds: their mean, with the interval over seeds; None where a seed has none.
        questions: the same mean, with the interval over questions.
        parts: what the overall is made of, means over seeds.
        invalid: judgements without a score, of all seeds; unanswered: what there was no answer to; scored: the rest.
        baseline: the arm that it is compared with; None where there is none.
        difference: to that, question by question.
        missing: seeds that failed, and are in no number of this row.
    """

    arm: str
    test: str
    by_seed: Mapping[int, float | None]
    seeds: Number | None
    questions: Number | None
    parts: Mapping[str, float | None]
    invalid: int
    scored: int
    baseline: str | None = None
    difference: Difference | None = None
    missing: tuple[int, ...] = ()
    unanswered: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "arm": self.arm,
            "test": self.test,
            "by_seed": {str(seed): value for seed, value in self.by_seed.items()},
            "over_seeds": None if self.seeds is None else self.seeds.to_dict(),
            "over_questions": None if self.questions is None else self.questions.to_dict(),
            "parts": dict(self.parts),
            "invalid": self.invalid,
            "unanswered": self.unanswered,
            "scored": self.scored,
            "baseline": self.baseline,
            "difference": None if self.difference is None else self.difference.to_dict(),
            "missing_seeds": list(self.missing),
        }


@dataclass(frozen=True)
class Table:
    """What an experiment came to.

    Attributes:
        tests: their names.
        rows: an arm's tests together, arms in the file's order.
        choices: by cell, which checkpoint was tested.
        steps: by cell, the names of its steps in the folder.
        failed: by cell, why it is in no row.
        chosen_on: tests whose benchmark also chose the checkpoint, so that their numbers are too good.
        aligned: by cell and test, all that coigp align report says of it, where coigp align judged.
    """

    name: str
    seeds: tuple[int, ...]
    tests: tuple[str, ...]
    rows: tuple[Row, ...]
    choices: Mapping[str, Choice]
    steps: Mapping[str, Mapping[str, str]]
    failed: Mapping[str, str]
    chosen_on: tuple[str, ...] = ()
    aligned: Mapping[str, Mapping[str, Aligned]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: the same for the same results, whenever and in how many runs they were made."""
        return {
            "name": self.name,
            "seeds": list(self.seeds),
            "tests": list(self.tests),
            "chosen_on": list(self.chosen_on),
            "rows": [row.to_dict() for row in self.rows],
            "choices": {cell: choice.to_dict() for cell, choice in self.choices.items()},
            "steps": {cell: dict(steps) for cell, steps in self.steps.items()},
            "failed": dict(self.failed),
            "align": {
                cell: {test: one.to_dict() for test, one in found.items()} for cell, found in self.aligned.items()
            },
        }


def make_table(experiment: Experiment, ran: Ran) -> Table:
    """What a run came to, counted.

    Raises:
        DataError: two arms' questions of one test are not the same.
        UsageError: two were judged by different judges.
    """
    of_arm: dict[str, dict[int, Mapping[str, Judged]]] = {}
    for walked in ran.walked:
        of_arm.setdefault(walked.cell.arm.name, {})[walked.cell.seed] = walked.scores
    against = baselines(experiment)
    rows: list[Row] = []
    for arm in arms(experiment):
        found = of_arm.get(arm.name)
        if found is None:
            continue
        wanted = experiment.seeds if arm.dataset is not None else experiment.seeds[:1]
        missing = tuple(seed for seed in wanted if seed not in found)
        for test in experiment.tests:
            scores = {seed: one[test.name] for seed, one in found.items()}
            base = against.get(arm.name)
            other = None if base is None else [one[test.name] for one in of_arm.get(base, {}).values()]
            rows.append(_row(arm.name, test.name, scores, base, other or None, missing))
    for test in experiment.tests:
        apart = {at: row.difference for at, row in enumerate(rows) if row.test == test.name and row.difference}
        for at, one in adjusted(apart).items():
            rows[at] = replace(rows[at], difference=one)
    validation = experiment.validation
    aligned = {
        walked.cell.name: {name: one for name, one in walked.scores.items() if isinstance(one, Aligned)}
        for walked in ran.walked
    }
    return Table(
        name=experiment.name,
        seeds=experiment.seeds,
        tests=tuple(test.name for test in experiment.tests),
        rows=tuple(rows),
        choices={walked.cell.name: walked.choice for walked in ran.walked if walked.choice is not None},
        steps={walked.cell.name: walked.steps for walked in ran.walked},
        failed=ran.failed,
        chosen_on=tuple(
            test.name for test in experiment.tests if validation is not None and test.file == validation.file
        ),
        aligned={name: found for name, found in aligned.items() if found},
    )


def _row(
    arm: str,
    test: str,
    scores: Mapping[int, Judged],
    base: str | None,
    other: Sequence[Judged] | None,
    missing: tuple[int, ...],
) -> Row:
    every = list(scores.values())
    check_comparable([*every, *(other or ())], f"{test} of {arm}")
    told = [one.overall for one in every if one.overall is not None]
    seeds = over_seeds(told) if len(told) == len(every) else None
    return Row(
        arm=arm,
        test=test,
        by_seed={seed: one.overall for seed, one in scores.items()},
        seeds=seeds,
        questions=None if seeds is None else questions_of(seeds.value, every),
        parts={name: _mean([one.parts.get(name) for one in every]) for name in every[0].parts},
        invalid=sum(one.invalid for one in every),
        scored=sum(one.scored for one in every),
        unanswered=sum(one.unanswered for one in every),
        baseline=base,
        difference=None if other is None else difference_of(every, other),
        missing=missing,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    told = [one for one in values if one is not None]
    return math.fsum(told) / len(told) if told and len(told) == len(values) else None
