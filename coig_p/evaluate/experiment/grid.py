"""The cells of an experiment: every model, dataset, way to make pairs and seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from coig_p.errors import UnknownNameError
from coig_p.evaluate.experiment.config import (
    UNTRAINED,
    BenchmarkEntry,
    DatasetEntry,
    Experiment,
    ModelEntry,
    PairsEntry,
)


@dataclass(frozen=True)
class Arm:
    """One row of the table: what is the same for all seeds.

    Attributes:
        dataset, pairs: what its model is trained on; None of a model as it is.
    """

    name: str
    model: ModelEntry
    dataset: DatasetEntry | None = None
    pairs: PairsEntry | None = None


@dataclass(frozen=True)
class Cell:
    """An arm under one seed. A model as it is has one cell, with the first seed, which only answering reads."""

    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        """For people."""
        return self.arm.name if self.arm.dataset is None else f"{self.arm.name} / seed {self.seed}"


def arms(experiment: Experiment) -> list[Arm]:
    """The rows, in the file's order: each model as it is, where that is asked for, then trained.

    A name tells what differs: of models, datasets and pairs those of which there are several.
    """
    many = {name: len(getattr(experiment, name)) > 1 for name in ("models", "datasets", "pairs")}
    many["datasets"] |= not any(many.values())
    found = []
    for model in experiment.models:
        begin = [model.name] if many["models"] else []
        if experiment.untrained:
            found.append(Arm(" / ".join([*begin, UNTRAINED]), model))
        for dataset in experiment.datasets:
            for pairs in experiment.pairs or (None,):
                parts = begin + [dataset.name] * many["datasets"]
                parts += [pairs.name] if pairs is not None and many["pairs"] else []
                found.append(Arm(" / ".join(parts), model, dataset, pairs))
    return found


def cells(experiment: Experiment) -> list[Cell]:
    """Every cell, an arm's seeds together."""
    return [
        Cell(arm, seed)
        for arm in arms(experiment)
        for seed in (experiment.seeds if arm.dataset is not None else experiment.seeds[:1])
    ]


def baselines(experiment: Experiment) -> dict[str, str]:
    """For each arm that is compared, by name, the arm that it is compared with.

    Raises:
        UnknownNameError: the file's baseline is no arm.
    """
    every, named = arms(experiment), experiment.baseline
    if named is None:
        return {}
    own = {arm.model.name: arm.name for arm in every if arm.dataset is None}
    if named == UNTRAINED and own:
        return {arm.name: own[arm.model.name] for arm in every if arm.dataset is not None}
    names = [arm.name for arm in every]
    if named not in names:
        valid = [UNTRAINED, *names] if own else names
        raise UnknownNameError("baseline", named, valid, experiment.path)
    return {name: named for name in names if name != named}


def model_path(experiment: Experiment, model: ModelEntry) -> str:
    """What {model} stands for: a folder of the user's, whole, or a name as it is."""
    path = experiment.beside / Path(model.path).expanduser()
    return str(path.resolve()) if path.exists() else model.path


def values_of(experiment: Experiment, cell: Cell, benchmark: BenchmarkEntry | None = None) -> dict[str, str]:
    """What the places of a cell's commands stand for that are no paths; of a benchmark those of that, too."""
    arm = cell.arm
    entries = [one for one in (arm.model, arm.dataset, arm.pairs, benchmark) if one is not None]
    own = {name: str(value) for one in entries for name, value in one.values.items()}
    return {**experiment.values, **own, "seed": str(cell.seed)}
