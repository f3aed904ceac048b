"""Through the grid, cell by cell: one way for a run and for a plan, which asks for the same steps and makes none.

    export -> train -> of each checkpoint: answer, judge (validation) -> the best -> answer, judge (tests)

A plan does not know what a step that is still to be made gives, so it counts what follows from it without a key.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from coig_p.core.text import counted
from coig_p.errors import DataError
from coig_p.evaluate.experiment.cache import Made, Step
from coig_p.evaluate.experiment.choosing import Choice, choose, in_order
from coig_p.evaluate.experiment.config import BenchmarkEntry, Experiment
from coig_p.evaluate.experiment.content import hash_of_export
from coig_p.evaluate.experiment.grid import Cell, cells, model_path
from coig_p.evaluate.experiment.judged import Judged
from coig_p.evaluate.experiment.questions import Reader
from coig_p.evaluate.experiment.steps import (
    ANSWER,
    EXPORT,
    JUDGE,
    TRAIN,
    Inputs,
    answer_step,
    export_step,
    judge_step,
    train_step,
)


@dataclass(frozen=True)
class Checkpoint:
    """A model that can be asked.

    Attributes:
        name: below what training wrote, "" for all of it; of a model as it is its path or name.
        place: what {checkpoint} stands for.
        sha256: its hash, or its name.
    """

    name: str
    place: str
    sha256: str


@dataclass(frozen=True)
class Walked:
    """What a cell came to.

    Attributes:
        choice: which checkpoint was tested, and why; None where there was nothing to choose.
        scores: by benchmark, what the judge said of the tested checkpoint.
        steps: the names of its steps, by kind and benchmark.
    """

    cell: Cell
    choice: Choice | None
    scores: Mapping[str, Judged]
    steps: Mapping[str, str]


class Walk(ABC):
    """Steps asked for in their order. What is done about one that is not there, a run and a plan say."""

    experiment: Experiment
    inputs: Inputs
    reader: Reader

    @abstractmethod
    def export(self, step: Step, cell: Cell) -> Made | None:
        """The export of a cell; None where only a plan is made, and it is not there."""

    @abstractmethod
    def train(self, step: Step, cell: Cell, data: Path) -> Made | None:
        """The training of a cell on `data`."""

    @abstractmethod
    def serving(self, cell: Cell, checkpoint: Checkpoint) -> AbstractContextManager[None]:
        """Answers are of this checkpoint while the block runs; served only where one is asked for."""

    @abstractmethod
    def answer(self, step: Step, cell: Cell, benchmark: BenchmarkEntry, checkpoint: Checkpoint) -> Made | None:
        """The answers of a checkpoint."""

    @abstractmethod
    def judge(self, step: Step, cell: Cell, benchmark: BenchmarkEntry, answers: Path) -> Made | None:
        """What a judge says of answers."""

    @abstractmethod
    def later(self, kind: str, cell: Cell, benchmark: BenchmarkEntry | None = None) -> None:
        """A step that follows from one that is not there."""

    def score(self, benchmark: BenchmarkEntry, judged: Path, cell: Cell) -> float:
        """What a checkpoint is chosen by: the overall score on the validation benchmark."""
        found = self.reader.read(judged, benchmark, f"{cell.name}, {benchmark.name}").overall
        if found is None:
            raise DataError(f"{judged}: the judge gave no score that can be used, so no checkpoint can be chosen by it")
        return found

    def cells(self) -> Iterator[Cell]:
        """Every cell; first all exports, which say early what is wrong with a store."""
        every = cells(self.experiment)
        for cell in every:
            if cell.arm.dataset is not None:
                self.export(export_step(self.inputs, cell), cell)
        yield from every

    def walk(self, cell: Cell) -> Walked | None:
        """All steps of a cell; None where a plan met one that is not there."""
        named: dict[str, str] = {}
        if cell.arm.dataset is None:
            path = model_path(self.experiment, cell.arm.model)
            checkpoints = [Checkpoint(cell.arm.model.path, path, self.inputs.of_model(cell))]
        else:
            trained = self._trained(cell, named)
            if trained is None:
                return None
            checkpoints = trained
        choice = None
        if self.experiment.validation is not None and cell.arm.dataset is not None:
            choice = self._choose(cell, self.experiment.validation, checkpoints, named)
            if choice is None:
                self._later(cell, self.experiment.tests)
                return None
            checkpoints = [one for one in checkpoints if one.name == choice.checkpoint]
        judged = self._judged(cell, self.experiment.tests, checkpoints[0], named)
        if judged is None:
            return None
        scores = {
            one.name: self.reader.read(judged[one.name], one, f"{cell.name}, {one.name}")
            for one in self.experiment.tests
        }
        return Walked(cell, choice, scores, named)

    def _trained(self, cell: Cell, named: dict[str, str]) -> list[Checkpoint] | None:
        export = export_step(self.inputs, cell)
        data = self.export(export, cell)
        if data is None:
            self.later(TRAIN, cell)
            self._follow(cell)
            return None
        step = train_step(self.inputs, cell, hash_of_export(data.folder, data.files))
        named |= {EXPORT: export.name, TRAIN: step.name}
        made = self.train(step, cell, data.folder)
        if made is None:
            self._follow(cell)
            return None
        return checkpoints_of(self.experiment, made, f"{self.experiment.path}: step train of {cell.name}")

    def _follow(self, cell: Cell) -> None:
        validation = self.experiment.validation
        self._later(cell, [*([validation] if validation is not None else []), *self.experiment.tests])

    def _later(self, cell: Cell, benchmarks: Sequence[BenchmarkEntry]) -> None:
        for benchmark in benchmarks:
            self.later(ANSWER, cell, benchmark)
            self.later(JUDGE, cell, benchmark)

    def _choose(
        self, cell: Cell, benchmark: BenchmarkEntry, checkpoints: Sequence[Checkpoint], named: dict[str, str]
    ) -> Choice | None:
        scores: dict[str, float] = {}
        whole = True
        for one in checkpoints:
            judged = self._judged(cell, [benchmark], one, named, f" of {one.name}")
            if judged is None:
                whole = False
            else:
                scores[one.name] = self.score(benchmark, judged[benchmark.name], cell)
        return choose(benchmark.name, scores) if whole else None

    def _judged(
        self,
        cell: Cell,
        benchmarks: Sequence[BenchmarkEntry],
        checkpoint: Checkpoint,
        named: dict[str, str],
        whose: str = "",
    ) -> dict[str, Path] | None:
        answers: dict[str, Made | None] = {}
        with self.serving(cell, checkpoint):
            for benchmark in benchmarks:
                step = answer_step(self.inputs, cell, benchmark, checkpoint.sha256)
                named[f"{ANSWER} {benchmark.name}{whose}"] = step.name
                answers[benchmark.name] = self.answer(step, cell, benchmark, checkpoint)
        judged: dict[str, Path] = {}
        for benchmark in benchmarks:
            made = answers[benchmark.name]
            if made is None:
                self.later(JUDGE, cell, benchmark)
                continue
            step = judge_step(self.inputs, cell, benchmark, made.hash_of())
            named[f"{JUDGE} {benchmark.name}{whose}"] = step.name
            said = self.judge(step, cell, benchmark, made.folder)
            if said is not None:
                judged[benchmark.name] = said.folder
        return judged if len(judged) == len(benchmarks) else None


def checkpoints_of(experiment: Experiment, made: Made, what: str) -> list[Checkpoint]:
    """The checkpoints that a training wrote, from the first to the last.

    Raises:
        DataError: none matches the file's pattern, or several do and nothing chooses.
    """
    pattern = experiment.train.checkpoints
    if pattern is None:
        return [Checkpoint("", str(made.folder), made.hash_of())]
    parts = pattern.strip("/").split("/")
    paths = {tuple(name.split("/")[: len(parts)]) for name in made.files}
    names = [
        "/".join(path)
        for path in paths
        if len(path) == len(parts) and all(fnmatchcase(*both) for both in zip(path, parts, strict=True))
    ]
    if not names:
        raise DataError(
            f"{what}: nothing that it wrote matches train.checkpoints = {pattern!r}. It is in {made.folder}"
        )
    if len(names) > 1 and experiment.validation is None:
        raise DataError(
            f"{what}: {counted(len(names), 'checkpoint')} match {pattern!r}, and no benchmark has the role "
            '"validation" to choose one. Name one checkpoint, or such a benchmark'
        )
    return [Checkpoint(name, str(made.folder / name), made.hash_of(name)) for name in in_order(names)]


@contextmanager
def nothing() -> Iterator[None]:
    """Of a plan, which serves nothing."""
    yield
