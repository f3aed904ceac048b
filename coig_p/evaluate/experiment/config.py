"""What the file of an experiment describes; docs/experiments.md has every setting."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, get_type_hints

from coig_p.annotate.alone.endpoint import LoneEndpoint
from coig_p.errors import UnknownNameError, UsageError
from coig_p.evaluate.align.answering import Answerer, answerer_of
from coig_p.evaluate.experiment.commands import Command
from coig_p.export.write import ExportConfig
from coig_p.pairs.config import PairConfig
from coig_p.pairs.plan import ShardConfig
from coig_p.pairs.splits import SplitConfig

UNTRAINED = "untrained"
VALIDATION, TEST = "validation", "test"
_PARTS = {"pairs": PairConfig, "splits": SplitConfig, "order": ShardConfig}
# Seconds without any answer, all of them errors, after which a server that was started here is left, where another
# one has 15 minutes. It had said that it is ready; nobody else uses it, and nobody will start it again. What passes by
# itself (a moment without memory) is over by then, and what a request waits for, 120 seconds, is waited for once more.
GIVE_UP = 120.0
_FILES = ("calibrate", "exclude", "clusters", "tokenizer")
"""Options of an export that name a file."""


def _options() -> dict[str, Any]:
    """Every option of an export, as coigp export has it, with its type."""
    found: dict[str, Any] = {}
    for part in _PARTS.values():
        hints = get_type_hints(part)
        found |= {one.name: hints[one.name] for one in fields(part)}
    hints = get_type_hints(ExportConfig)
    own = ("split", "conversational", "system", "tokenizer", "max_length", "balance_length", "response_of", "one_per")
    found |= {name: hints[name] for name in own}
    found |= {"domains": tuple[str, ...], "weights": Mapping[str, Any]}
    found |= dict.fromkeys(("calibrate", "exclude"), str)
    del found["format"]
    return found


OPTIONS = _options()


@dataclass(frozen=True)
class ModelEntry:
    """[[models]]: what training begins with.

    Attributes:
        path: what {model} stands for: a folder, from the file's own, or a name that the command understands.
        values: what places of its own stand for in commands, as {learning_rate}.
    """

    name: str
    path: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DatasetEntry:
    """[[datasets]]: a store, here or on the Hub, and options of its export."""

    name: str
    store: str
    options: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PairsEntry:
    """[[pairs]]: one way to make pairs, of every dataset: a threshold, a strategy."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BenchmarkEntry:
    """[[benchmarks]]: a benchmark's file, how its scores add up, and whether it is tested on or chooses the checkpoint.

    Attributes:
        file: of the benchmark, which the user has; from the file's folder.
        weights: how much of the overall each category's mean is; without them every question counts the same.
        references: of MT-Bench-zh, where they are a file of their own; for [answer] with an endpoint.
        values: what places of its own stand for in the commands that answer and judge, as {judge}.
        files: that those commands read for it. What is in them counts.
    """

    name: str
    file: str
    references: str | None = None
    role: str = TEST
    weights: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.role not in (TEST, VALIDATION):
            raise UnknownNameError("role", self.role, (TEST, VALIDATION))


@dataclass(frozen=True)
class Train:
    """[train]: the command that trains.

    Attributes:
        files: that the command reads, from the file's folder: scripts, configs. What is in them counts.
        env: variables that it gets, besides those that no command can do without.
        checkpoints: below {out}, a pattern; all that match are asked the validation benchmark. Without one, all of
            {out} is the model.
        resumes: whether the command goes on where a killed one was, from what that left in {out}.
        hours, price_per_hour: of one training, for the estimate.
    """

    command: Command
    files: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    checkpoints: str | None = None
    resumes: bool = False
    hours: float | None = None
    price_per_hour: float | None = None


@dataclass(frozen=True)
class Serve:
    """[serve]: the command that serves a checkpoint on 127.0.0.1, as an OpenAI-compatible server.

    Attributes:
        wait: seconds until it answers.
        ready: what is asked of it until it does.
        model: what it calls the model, {served} of the command that answers; default: what /v1/models lists first.
    """

    command: Command
    files: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    wait: float = 600.0
    ready: str = "/v1/models"
    model: str | None = None


@dataclass(frozen=True)
class Answer:
    """[answer]: the command that answers {questions} with {checkpoint}, or with what [serve] serves at {url}."""

    command: Command
    files: tuple[str, ...] = ()
    env: tuple[str, ...] = ()


@dataclass(frozen=True)
class AlignAnswer:
    """[answer] with endpoint = "{url}": coigp align asks what [serve] serves, in this process.

    Attributes:
        endpoint: "{url}".
        parameters: sent along; the temperature is the benchmark's, by category.
        asks: how often a turn whose answer is unusable is asked in all.
        official, keep_cut: as options of coigp align answer.
        concurrency: requests in flight.
    """

    endpoint: str
    system: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    asks: int = 2
    official: bool = False
    keep_cut: bool = False
    concurrency: int = 16

    def __post_init__(self) -> None:
        if self.endpoint != "{url}":
            raise UsageError(f'endpoint = {self.endpoint!r}: use "{{url}}", where [serve] serves the checkpoint')
        if not 1 <= self.asks <= 20:
            raise UsageError(f"asks = {self.asks}: use 1 to 20")
        self.answerer("http://127.0.0.1/v1", "model")  # says what cannot be

    def answerer(self, url: str, model: str) -> Answerer:
        """Whom coigp align asks."""
        one = LoneEndpoint(
            name=model,
            model=model,
            base_url=url,
            concurrency=self.concurrency,
            give_up=GIVE_UP,
            system=self.system,
            parameters=self.parameters,
        )
        return answerer_of(one, self.asks, official=self.official)

    def made_of(self) -> dict[str, Any]:
        """What of it decides what is answered."""
        told = {"system": self.system, "parameters": dict(self.parameters), "asks": self.asks}
        return told | {"official": self.official, "keep_cut": self.keep_cut}


@dataclass(frozen=True)
class AlignJudge:
    """[judge] with endpoint = FILE: coigp align judges answers of coigp align, in this process.

    Attributes:
        endpoint: a judge's TOML file, from the file's folder; its places are those of [values] and of benchmarks.
    """

    endpoint: Command

    def path(self, experiment: Experiment, benchmark: BenchmarkEntry) -> Path:
        """The file of the judge of a benchmark."""
        values = {**experiment.values, **{name: str(value) for name, value in benchmark.values.items()}}
        return experiment.beside / Path(self.endpoint.filled(values)[0]).expanduser()


@dataclass(frozen=True)
class JudgeCommand:
    """[judge]: the command that judges {answers} to {questions}.

    It writes {out}/scores.jsonl, or results of coigp align into {out} or a folder of it.

    Attributes:
        price: about what one judging costs, for the estimate.
        range: the lowest and the highest score of scores.jsonl; None: 1 to 10.
    """

    command: Command
    files: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    price: float | None = None
    range: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Experiment:
    """What a file describes. Make one with `reading.load_experiment`.

    Attributes:
        path: the file; other paths are from its folder.
        text: what it says, of which the hash is shown and remembered.
        baseline: an arm that the others are compared with; UNTRAINED: each with its own model before training.
        untrained: whether each model is also asked as it is.
        options: of every export.
    """

    path: Path
    text: str
    name: str
    folder: Path
    seeds: tuple[int, ...]
    untrained: bool
    baseline: str | None
    trainer: str
    options: Mapping[str, Any]
    models: tuple[ModelEntry, ...]
    datasets: tuple[DatasetEntry, ...]
    pairs: tuple[PairsEntry, ...]
    values: Mapping[str, str]
    train: Train
    serve: Serve | None
    answer: Answer | AlignAnswer
    judge: JudgeCommand | AlignJudge
    benchmarks: tuple[BenchmarkEntry, ...]

    @property
    def beside(self) -> Path:
        """The file's folder, in which commands run."""
        return Path(os.path.abspath(self.path)).parent

    @cached_property
    def validation(self) -> BenchmarkEntry | None:
        """What chooses the checkpoint."""
        return next((one for one in self.benchmarks if one.role == VALIDATION), None)

    @cached_property
    def tests(self) -> tuple[BenchmarkEntry, ...]:
        """What the table shows."""
        return tuple(one for one in self.benchmarks if one.role == TEST)

    def commands(self) -> dict[str, tuple[Command, tuple[str, ...]]]:
        """Every command by its table, with the variables that it gets."""
        found = {"train": (self.train.command, self.train.env)}
        if self.serve is not None:
            found["serve"] = (self.serve.command, self.serve.env)
        if isinstance(self.answer, Answer):
            found["answer"] = (self.answer.command, self.answer.env)
        if isinstance(self.judge, JudgeCommand):
            found["judge"] = (self.judge.command, self.judge.env)
        return found

    def export_options(self, dataset: DatasetEntry, pairs: PairsEntry | None, seed: int) -> dict[str, Any]:
        """The options of one export, {seed} filled in: those of [export], of the dataset, of the pairs."""
        both = {**self.options, **dataset.options, **({} if pairs is None else pairs.options)}
        return {name: seed if value == "{seed}" else value for name, value in both.items()}

    def export_config(self, options: Mapping[str, Any]) -> ExportConfig:
        """What these options are for `coig_p.export.write`; raise UsageError where they cannot be right."""
        given = {name: _option(name, value, self.beside) for name, value in options.items()}
        parts = {
            part: kind(**{one.name: given.pop(one.name) for one in fields(kind) if one.name in given})
            for part, kind in _PARTS.items()
        }
        if "weights" in given:
            given["weights"] = {name: float(value) for name, value in given["weights"].items()}
        return ExportConfig(trainer=self.trainer, **parts, **given)


def _option(name: str, value: Any, beside: Path) -> Any:
    if name in _FILES and isinstance(value, str):
        whole = beside / value
        return str(whole) if whole.exists() else value  # else one of the store's, which its export finds
    return tuple(value) if isinstance(value, list) else value
