"""The file of an experiment, read strictly: docs/experiments.md has every setting."""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, get_type_hints

from coig_p.annotate.tables import check_keys, load_table, read_table, read_tables, read_value
from coig_p.core.listing import join_names
from coig_p.core.small_files import read_small
from coig_p.errors import UnknownNameError, UsageError
from coig_p.evaluate.experiment.commands import NAME, Command, read_command
from coig_p.export.trainers import TRAINERS
from coig_p.export.write import ExportConfig
from coig_p.pairs.config import PairConfig
from coig_p.pairs.plan import ShardConfig
from coig_p.pairs.splits import SplitConfig

UNTRAINED = "untrained"
VALIDATION, TEST = "validation", "test"
_TABLES = ("experiment", "values", "models", "datasets", "pairs", "export", "train", "serve", "answer", "judge", "benchmarks")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOST_CELLS = 10_000
_PARTS = {"pairs": PairConfig, "splits": SplitConfig, "order": ShardConfig}
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
    """[[benchmarks]]: a benchmark's file, who judges, and whether it is tested on or chooses the checkpoint.

    Attributes:
        file: of the benchmark, which the user has; from the file's folder.
        judge: TOML, as `coigp align judge --judge` reads it; None where [judge] has a command.
        weights: where [judge] has a command, how much of the overall each category's mean is; without them every
            question counts the same.
    """

    name: str
    file: str
    judge: str | None = None
    role: str = TEST
    weights: Mapping[str, Any] = field(default_factory=dict)

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
        model: what it calls the model; default: what /v1/models lists first.
    """

    command: Command
    files: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    wait: float = 600.0
    ready: str = "/v1/models"
    model: str | None = None


@dataclass(frozen=True)
class Answer:
    """[answer]: a command that answers a benchmark itself, or how a served model is asked.

    Attributes:
        command: in place of [serve]: gets {checkpoint} and {questions}, and writes {out}.
        parameters: sent with every question to a served model, beside the benchmark's own temperatures.
    """

    command: Command | None = None
    files: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    official: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class JudgeCommand:
    """[judge]: a command that judges itself: gets {answers} and {questions}, and writes {out}/scores.jsonl."""

    command: Command
    files: tuple[str, ...] = ()
    env: tuple[str, ...] = ()


@dataclass(frozen=True)
class Experiment:
    """What a file describes. Make one with `load_experiment`.

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
    answer: Answer
    judge: JudgeCommand | None
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
        if self.answer.command is not None:
            found["answer"] = (self.answer.command, self.answer.env)
        if self.judge is not None:
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


@dataclass(frozen=True)
class _Head:
    name: str | None = None
    folder: str | None = None
    seeds: tuple[int, ...] = (0,)
    untrained: bool = False
    baseline: str | None = None


def load_experiment(path: str | Path) -> Experiment:
    """Read the file of an experiment.

    Raises:
        UsageError: no such file, not TOML, an unknown key, or a value that cannot be; names the file and the key.
    """
    path = Path(path)
    load_table(path, ". Name the TOML file of an experiment")  # says what is wrong with it
    text = read_small(path)
    try:
        return _experiment(path, text, tomllib.loads(text))  # of the very text whose hash is shown
    except UnknownNameError as error:
        raise UnknownNameError(
            error.kind, error.name, error.valid, f"{path}: {error.within}" if error.within else path
        ) from None
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _experiment(path: Path, text: str, table: dict[str, Any]) -> Experiment:
    check_keys(table, _TABLES, "")
    head = read_table(_Head, table.get("experiment", {}), "experiment")
    models = read_tables(ModelEntry, table, "models")
    datasets = read_tables(DatasetEntry, table, "datasets")
    pairs = read_tables(PairsEntry, table, "pairs")
    benchmarks = read_tables(BenchmarkEntry, table, "benchmarks")
    named = {
        "models": [one.name for one in models],
        "datasets": [one.name for one in datasets],
        "benchmarks": [one.name for one in benchmarks],
    }
    for what, names in named.items():
        if not names:
            raise UsageError(f"no table [[{what}]]: an experiment has one or more")
    for what, names in {**named, "pairs": [one.name for one in pairs]}.items():
        _check_names(names, what)
    _check_seeds(head.seeds)
    values = _values(table.get("values", {}), "values")
    axes = {"models": models, "datasets": datasets, "pairs": pairs}
    own = {what: _own_values(entries, what, values) for what, entries in axes.items()}
    places = _place_names(own, values)
    of_models = own["models"] | values.keys()  # what also a model as it is has
    export = _export(table)
    experiment = Experiment(
        path=path,
        text=text,
        name=head.name or path.stem,
        folder=Path(os.path.abspath(path)).parent / (head.folder or path.stem),
        seeds=head.seeds,
        untrained=head.untrained,
        baseline=head.baseline,
        trainer=export["for"],
        options=_read_options(export["options"], "export.options"),
        models=models,
        datasets=datasets,
        pairs=pairs,
        values=values,
        train=_train(table, places),
        serve=_serve(table, of_models),
        answer=_answer(table, of_models),
        judge=_judge(table, of_models),
        benchmarks=benchmarks,
    )
    _check_benchmarks(experiment)
    _check_options(experiment)
    if len(experiment.seeds) > 1 and "seed" not in experiment.train.command.places():
        raise UsageError("train.command has no {seed}, and experiment.seeds has several: they would all be one run")
    return experiment


def _check_names(names: Sequence[str], what: str) -> None:
    for at, name in enumerate(names):
        where = f"{what}[{at}].name"
        if name in names[:at]:
            raise UsageError(f"{where} = {name!r} stands twice: give each its own")
        if not name.strip() or not name.isprintable() or " / " in name or name != name.strip():
            raise UsageError(f"{where} = {name!r}: use a short text that people read, without ' / '")
        if name == UNTRAINED:
            raise UsageError(f"{where} = {name!r} is what a model before any training is called: use another")


def _check_seeds(seeds: Sequence[int]) -> None:
    if not seeds:
        raise UsageError("experiment.seeds is empty: name one or more, [0, 1, 2]")
    for at, seed in enumerate(seeds):
        if not 0 <= seed < 2**32:
            raise UsageError(f"experiment.seeds[{at}] = {seed}: use 0 to {2**32 - 1:,}, which every tool takes")
        if seed in seeds[:at]:
            raise UsageError(f"experiment.seeds[{at}] = {seed} stands twice: it would count one run as two")


def _values(value: Any, where: str) -> dict[str, str]:
    found = {}
    for name, one in read_value(Mapping[str, Any], value, where).items():
        if not NAME.fullmatch(name):
            raise UsageError(f"{where}.{name}: a place is named with a-z, 0-9 and _")
        if not isinstance(one, (str, int, float)) or isinstance(one, bool):
            raise UsageError(f"{where}.{name} = {one!r}: use text or a number")
        if isinstance(one, float) and not math.isfinite(one):
            raise UsageError(f"{where}.{name} = {one!r}: use a finite number")
        found[name] = str(one)
    return found


def _own_values(entries: Sequence[Any], what: str, common: Mapping[str, str]) -> set[str]:
    """The places that entries of a kind fill; raise UsageError where one lacks what another has."""
    told = [_values(one.values, f"{what}[{at}].values") for at, one in enumerate(entries)]
    names = {name for one in told for name in one}
    for at, one in enumerate(told):
        for name in sorted(names - set(one) - set(common)):
            raise UsageError(f"{what}[{at}].values has no {name}, which another of {what} has: give all of them one")
    return names


def _place_names(own: Mapping[str, set[str]], common: Mapping[str, str]) -> set[str]:
    taken: dict[str, str] = {}
    for what, names in own.items():
        for name in sorted(names):
            if name in taken:
                raise UsageError(f"{what}.values.{name}: {taken[name]} have it, too. Which one counts nobody can see")
            taken[name] = what
    names = {*taken, *common}
    for name in ("data", "out", "seed", "model", "checkpoint", "port", "questions", "answers"):
        if name in names:
            raise UsageError(f"values.{name}: {{{name}}} has a meaning of its own. Use another name")
    return names


def _export(table: Mapping[str, Any]) -> dict[str, Any]:
    export = read_value(Mapping[str, Any], table.get("export", {}), "export")
    check_keys(export, ("for", "options"), "export")
    if "for" not in export:
        raise UsageError(f"export.for is missing: whose form to write, one of {join_names(list(TRAINERS))}")
    if export["for"] not in TRAINERS:
        raise UnknownNameError("export.for", export["for"], TRAINERS)
    return {"for": export["for"], "options": export.get("options", {})}


def _read_options(value: Any, where: str) -> dict[str, Any]:
    table = read_value(Mapping[str, Any], value, where)
    for name, one in table.items():
        if name not in OPTIONS:
            raise UnknownNameError("option", f"{where}.{name}", [f"{where}.{valid}" for valid in OPTIONS])
        if one != "{seed}" or OPTIONS[name] is str:
            read_value(OPTIONS[name], one, f"{where}.{name}")
    return dict(table)


def _option(name: str, value: Any, beside: Path) -> Any:
    if name in _FILES and isinstance(value, str):
        whole = beside / value
        return str(whole) if whole.exists() else value  # else one of the store's, which its export finds
    return tuple(value) if isinstance(value, list) else value


_COMMON = ("seed", "model")


def _settings(table: Mapping[str, Any], name: str, valid: Collection[str]) -> dict[str, Any]:
    found = read_value(Mapping[str, Any], table.get(name, {}), name)
    check_keys(found, tuple(valid), name)
    for at, variable in enumerate(read_value(tuple[str, ...], found.get("env", []), f"{name}.env")):
        if not _VARIABLE.fullmatch(variable):
            raise UsageError(f"{name}.env[{at}] = {variable!r}: name a variable, not its value")
    return dict(found)


def _read(kind: Any, given: Mapping[str, Any], name: str, command: Command | None) -> Any:
    hints = get_type_hints(kind)
    told = {key: read_value(hints[key], value, f"{name}.{key}") for key, value in given.items() if key != "command"}
    return kind(command=command, **told)


def _train(table: Mapping[str, Any], names: Collection[str]) -> Train:
    given = _settings(table, "train", [one.name for one in fields(Train)])
    if "command" not in given:
        raise UsageError('train.command is missing: ["python", "train.py", "--data", "{data}", "--out", "{out}"]')
    allowed = [*_COMMON, "data", "out", *names]
    train: Train = _read(Train, given, "train", read_command(given["command"], "train.command", allowed, ("data", "out")))
    if train.checkpoints is not None:
        parts = PurePosixPath(train.checkpoints)
        if not parts.parts or parts.is_absolute() or ".." in parts.parts:
            raise UsageError(f"train.checkpoints = {train.checkpoints!r}: a pattern below {{out}}, as checkpoint-*")
    for key in ("hours", "price_per_hour"):
        value = getattr(train, key)
        if value is not None and value < 0:
            raise UsageError(f"train.{key} = {value:g}: use 0 or more")
    return train


def _serve(table: Mapping[str, Any], names: Collection[str]) -> Serve | None:
    if "serve" not in table:
        return None
    given = _settings(table, "serve", [one.name for one in fields(Serve)])
    if "command" not in given:
        raise UsageError('serve.command is missing: ["vllm", "serve", "{checkpoint}", "--port", "{port}"]')
    command = read_command(
        given["command"], "serve.command", [*_COMMON, "checkpoint", "port", *names], ("checkpoint", "port")
    )
    serve: Serve = _read(Serve, given, "serve", command)
    if not serve.wait > 0:
        raise UsageError(f"serve.wait = {serve.wait:g}: use seconds above 0")
    if not serve.ready.startswith("/") or not serve.ready.isascii() or not serve.ready.isprintable() or " " in serve.ready:
        raise UsageError(f"serve.ready = {serve.ready!r}: a path of the server, as /v1/models or /health")
    return serve


def _answer(table: Mapping[str, Any], names: Collection[str]) -> Answer:
    given = _settings(table, "answer", [one.name for one in fields(Answer)])
    command = None
    if "command" in given:
        allowed = [*_COMMON, "checkpoint", "questions", "out", *names]
        command = read_command(given["command"], "answer.command", allowed, ("checkpoint", "questions", "out"))
        for key in ("official", "parameters"):
            if key in given:
                raise UsageError(f"answer.{key}: with answer.command that command answers as it likes. Leave one out")
    answer: Answer = _read(Answer, given, "answer", command)
    if command is None and "serve" not in table:
        raise UsageError("nobody answers: write [serve], a command that serves {checkpoint}, or answer.command")
    if command is not None and "serve" in table:
        raise UsageError("[serve] and answer.command both answer: leave one out")
    return answer


def _judge(table: Mapping[str, Any], names: Collection[str]) -> JudgeCommand | None:
    if "judge" not in table:
        return None
    given = _settings(table, "judge", [one.name for one in fields(JudgeCommand)])
    if "command" not in given:
        raise UsageError('judge.command is missing; a judge that is an endpoint stands as judge = "judge.toml" in a benchmark')
    needed = ("answers", "questions", "out")
    command = read_command(given["command"], "judge.command", [*_COMMON, *needed, *names], needed)
    judge: JudgeCommand = _read(JudgeCommand, given, "judge", command)
    return judge


def _check_benchmarks(experiment: Experiment) -> None:
    for at, one in enumerate(experiment.benchmarks):
        if (one.judge is None) == (experiment.judge is None):
            what = "and [judge] both say who judges: leave one out" if one.judge else "is missing, and [judge], too"
            raise UsageError(f"benchmarks[{at}].judge {what}")
        _check_weights(one, f"benchmarks[{at}].weights")
    if not experiment.tests:
        raise UsageError('benchmarks: none has role "test", so that there is no table')
    if sum(one.role == VALIDATION for one in experiment.benchmarks) > 1:
        raise UsageError('benchmarks: two have role "validation", and one of them has to choose')
    if experiment.validation is not None and experiment.train.checkpoints is None:
        raise UsageError(
            "train.checkpoints is missing: a validation benchmark chooses among what matches it, as checkpoint-*"
        )
    told = {(one.file, one.judge): one.name for one in experiment.tests}
    if len(told) < len(experiment.tests):
        raise UsageError("benchmarks: two tests have the same file and the same judge")


def _check_weights(benchmark: BenchmarkEntry, where: str) -> None:
    for name, weight in benchmark.weights.items():
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight <= 1:
            raise UsageError(f"{where}.{name} = {weight!r}: use a number above 0, at most 1")
    if benchmark.weights and benchmark.judge is not None:
        raise UsageError(f"{where}: a benchmark that a judge's file judges has weights of its own. Leave them out")
    if benchmark.weights and abs(math.fsum(benchmark.weights.values()) - 1) > 1e-9:
        raise UsageError(f"{where} add up to {math.fsum(benchmark.weights.values()):g}: they are shares of the overall, 1")


def _check_options(experiment: Experiment) -> None:
    for at, dataset in enumerate(experiment.datasets):
        _read_options(dataset.options, f"datasets[{at}].options")
    for at, pairs in enumerate(experiment.pairs):
        _read_options(pairs.options, f"pairs[{at}].options")
        for dataset in experiment.datasets:
            for name in pairs.options.keys() & dataset.options.keys():
                raise UsageError(
                    f"pairs[{at}].options.{name}: the dataset {dataset.name!r} sets it, too. Which one counts nobody "
                    "can see: leave one out"
                )
    cells = len(experiment.models) * len(experiment.datasets) * max(1, len(experiment.pairs)) * len(experiment.seeds)
    if cells > _MOST_CELLS:
        raise UsageError(f"{cells:,} cells: an experiment has at most {_MOST_CELLS:,}")
    for dataset in experiment.datasets:
        for one in experiment.pairs or (None,):
            where = f"datasets {dataset.name!r}" + ("" if one is None else f", pairs {one.name!r}")
            try:
                experiment.export_config(experiment.export_options(dataset, one, experiment.seeds[0]))
            except UsageError as error:
                raise UsageError(f"{where}: {error}") from None
