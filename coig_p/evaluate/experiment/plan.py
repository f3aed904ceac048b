"""What a run would do, and about what it would cost, before anything is done."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from coig_p.annotate.asking.costs import MONEY
from coig_p.errors import CoigPError
from coig_p.evaluate.experiment.asking import JudgeCost, Judgings, judge_ledger
from coig_p.evaluate.experiment.cache import Cache, Made, Step, check_folder
from coig_p.evaluate.experiment.config import VALIDATION, BenchmarkEntry, Experiment, JudgeCommand
from coig_p.evaluate.experiment.grid import Cell, baselines, cells
from coig_p.evaluate.experiment.questions import Reader
from coig_p.evaluate.experiment.running import environment_for, find_program
from coig_p.evaluate.experiment.steps import ANSWER, JUDGE, KINDS, TRAIN, Inputs, export_options, export_step
from coig_p.evaluate.experiment.walking import Checkpoint, Walk, nothing
from coig_p.export.write import resolve_export
from coig_p.store.locate import open_located
from coig_p.store.store import Store


@dataclass(frozen=True)
class Cost:
    """About what is still to be paid.

    Attributes:
        judgings: how many are to be run, at least.
        judging: what they cost, as the file's price says; None where it says none, or where coigp align judges.
        judges: those that coigp align asks: what is left, and what was spent.
        trainings: how many are to be run.
        hours: that they take, by the trainings that were run, or else as the file says; None where neither is.
        training: hours times the file's price; None where either is not known.
        measured: how many trainings that were run the hours are of; 0: they are the file's.
    """

    judgings: int
    judging: float | None
    trainings: int
    hours: float | None
    training: float | None
    judges: tuple[JudgeCost, ...] = ()
    measured: int = 0


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        cells: all of them.
        cached, to_run: steps by kind. What follows from a step that is not there yet counts in to_run, once for each
            benchmark of each cell.
        at_least: whether more may follow: checkpoints are counted once their training is there.
        steps: each step that is known and would be run: its kind, and the cell.
        obstacles: what stands in the way, a line each.
        damaged: what was found in the cache and would be made anew, as far as its sizes tell.
    """

    cells: int
    cached: dict[str, int]
    to_run: dict[str, int]
    at_least: bool
    steps: tuple[tuple[str, str], ...]
    obstacles: tuple[str, ...]
    damaged: tuple[str, ...]
    cost: Cost

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "cells": self.cells,
            "cached": self.cached,
            "to_run": self.to_run,
            "at_least": self.at_least,
            "steps": [{"kind": kind, "cell": cell} for kind, cell in self.steps],
            "obstacles": list(self.obstacles),
            "damaged": list(self.damaged),
            "cost": {
                "judgings": self.cost.judgings,
                "judging": self.cost.judging,
                "trainings": self.cost.trainings,
                "hours": self.cost.hours,
                "training": self.cost.training,
                "measured_trainings": self.cost.measured,
                "judges": [one.to_dict() for one in self.cost.judges],
            },
        }


def plan_experiment(experiment: Experiment) -> Plan:
    """What a run would do now. Nothing is written, nothing is asked of anybody but a Hub that holds a store."""
    obstacles = _obstacles(experiment)
    planner = _Planner(experiment, Inputs(experiment), Reader(experiment), Cache(experiment.folder))
    for cell in cells(experiment):
        try:
            if cell.arm.dataset is not None:
                planner.export(export_step(planner.inputs, cell), cell)
            planner.walk(cell)
        except CoigPError as error:
            if str(error) not in obstacles:
                obstacles.append(str(error))
    cost = planner.cost()
    try:
        cost = replace(cost, judges=tuple(planner.judges()))
    except CoigPError as error:
        if str(error) not in obstacles:
            obstacles.append(str(error))
    obstacles += [one for one in planner.obstacles if one not in obstacles]
    return Plan(
        cells=len(cells(experiment)),
        cached={kind: planner.cached[kind] for kind in KINDS if kind in planner.cached},
        to_run={kind: planner.to_run[kind] for kind in KINDS if kind in planner.to_run},
        at_least=planner.at_least,
        steps=tuple(planner.steps),
        obstacles=tuple(obstacles),
        damaged=tuple(planner.cache.damaged),
        cost=cost,
    )


def _obstacles(experiment: Experiment) -> list[str]:
    found: list[str] = []

    def look(at: Callable[[], object]) -> None:
        try:
            at()
        except CoigPError as error:
            if str(error) not in found:
                found.append(str(error))

    look(lambda: baselines(experiment))
    look(lambda: check_folder(experiment.folder))
    look(Inputs(experiment).check_align)
    for name, (command, env) in experiment.commands().items():
        try:
            find_program(command.words[0], experiment.beside)
            environment_for(env, os.environ)
        except CoigPError as error:
            found.append(f"{name}: {error}")
    return found


@dataclass
class _Planner(Walk):
    experiment: Experiment
    inputs: Inputs
    reader: Reader
    cache: Cache
    cached: dict[str, int] = field(default_factory=dict)
    to_run: dict[str, int] = field(default_factory=dict)
    steps: list[tuple[str, str]] = field(default_factory=list)
    at_least: bool = False
    obstacles: list[str] = field(default_factory=list)
    _opened: dict[str, Store | None] = field(default_factory=dict)
    _resolved: set[str] = field(default_factory=set)
    _seen: set[object] = field(default_factory=set)
    _hours: list[float] = field(default_factory=list)
    _answered: dict[str, list[Path]] = field(default_factory=dict)
    _left: dict[str, int] = field(default_factory=dict)

    def _look(self, step: Step) -> Made | None:
        made = self.cache.find(step)
        if step.key in self._seen:
            return made
        self._seen.add(step.key)
        counts = self.to_run if made is None else self.cached
        counts[step.kind] = counts.get(step.kind, 0) + 1
        if made is None:
            self.steps.append((step.kind, step.cell))
        elif step.kind == TRAIN:
            self._hours.append(made.seconds / 3600)
        return made

    def export(self, step: Step, cell: Cell) -> Made | None:
        made = self._look(step)
        assert cell.arm.dataset is not None
        store = self.inputs.store(cell.arm.dataset.store)
        if made is not None or store.is_remote or step.key in self._resolved:
            return made
        self._resolved.add(step.key)
        if store.root not in self._opened:
            try:
                # As the export does: every file of the manifest, a README too, by its size.
                self._opened[store.root] = open_located(store)
            except CoigPError as error:
                self._opened[store.root] = None
                self.obstacles.append(str(error))
        opened = self._opened[store.root]
        if opened is not None:
            try:
                resolve_export(opened, self.experiment.export_config(export_options(self.experiment, cell)))
            except CoigPError as error:
                self.obstacles.append(f"{self.experiment.path}: step {step.kind} of {step.cell}: {error}")
        return made

    def train(self, step: Step, cell: Cell, data: Path) -> Made | None:
        return self._look(step)

    def answer(self, step: Step, cell: Cell, benchmark: BenchmarkEntry, checkpoint: Checkpoint) -> Made | None:
        return self._look(step)

    def judge(self, step: Step, cell: Cell, benchmark: BenchmarkEntry, answers: Path) -> Made | None:
        before = len(self.steps)
        made = self._look(step)
        if len(self.steps) > before:
            self._answered.setdefault(benchmark.name, []).append(answers)
        return made

    def serving(self, cell: Cell, checkpoint: Checkpoint) -> AbstractContextManager[None]:
        return nothing()

    def later(self, kind: str, cell: Cell, benchmark: BenchmarkEntry | None = None) -> None:
        told = (kind, cell.name, None if benchmark is None else benchmark.name)
        if told in self._seen:
            return
        self._seen.add(told)
        self.to_run[kind] = self.to_run.get(kind, 0) + 1
        if kind == JUDGE and benchmark is not None:
            self._left[benchmark.name] = self._left.get(benchmark.name, 0) + 1
        if kind == ANSWER and benchmark is not None and benchmark.role == VALIDATION:
            self.at_least = True

    def cost(self) -> Cost:
        """About what is still to be paid."""
        judgings, judge = self.to_run.get(JUDGE, 0), self.experiment.judge
        price = judge.price if isinstance(judge, JudgeCommand) else None
        trainings, train = self.to_run.get(TRAIN, 0), self.experiment.train
        one = sum(self._hours) / len(self._hours) if self._hours else train.hours
        hours = None if one is None else one * trainings
        priced = None if hours is None or train.price_per_hour is None else hours * train.price_per_hour
        judging = None if price is None else price * judgings
        return Cost(judgings, judging, trainings, hours, priced, measured=len(self._hours))

    def judges(self) -> Iterator[JudgeCost]:
        """What each judge that coigp align asks is still to be paid."""
        by_judge: dict[tuple[Path, Path | None], list[BenchmarkEntry]] = {}
        for entry in self.experiment.benchmarks:
            judge = self.inputs.judge(entry)
            if judge is not None:
                by_judge.setdefault((judge_ledger(self.cache.folder, judge), judge.prompts), []).append(entry)
        for (ledger, _), entries in by_judge.items():
            judge = self.inputs.judge(entries[0])
            assert judge is not None
            there = [path for entry in entries for path in self._answered.get(entry.name, [])]
            later = [(entry, self._left[entry.name]) for entry in entries if entry.name in self._left]
            asked = [(self.inputs.benchmark(entry), times) for entry, times in later]
            cost, most = Judgings(judge, self.inputs.prompts(judge), ledger, there, asked).cost(), judge.max_cost
            if most is not None and cost.left and cost.spent * MONEY >= most:
                self.obstacles.append(
                    f"{judge.path}: its max_cost, {most / MONEY:g}, is reached: {cost.spent:.4f} was spent. Raise it"
                )
            yield cost
