"""Read the file of an experiment: every key known, every value checked, every error with its key."""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any, get_type_hints

from coig_p.annotate.tables import check_keys, load_table, read_table, read_tables, read_value
from coig_p.core.listing import join_names
from coig_p.core.small_files import read_small
from coig_p.errors import UnknownNameError, UsageError
from coig_p.evaluate.experiment.commands import NAME, Command, read_command, read_text
from coig_p.evaluate.experiment.config import (
    OPTIONS,
    UNTRAINED,
    VALIDATION,
    AlignAnswer,
    AlignJudge,
    Answer,
    BenchmarkEntry,
    DatasetEntry,
    Experiment,
    JudgeCommand,
    ModelEntry,
    PairsEntry,
    Serve,
    Train,
)
from coig_p.export.trainers import TRAINERS

_TABLES = (
    "experiment",
    "values",
    "models",
    "datasets",
    "pairs",
    "export",
    "train",
    "serve",
    "answer",
    "judge",
    "benchmarks",
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOST_CELLS = 10_000


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
    axes = {"models": models, "datasets": datasets, "pairs": pairs, "benchmarks": benchmarks}
    own = {what: _own_values(entries, what, values) for what, entries in axes.items()}
    places = _place_names(own, values)
    trained = places - own["benchmarks"]
    of_models = own["models"] | values.keys()  # what also a model as it is has
    asked = of_models | own["benchmarks"]
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
        train=_train(table, trained),
        serve=_serve(table, of_models),
        answer=_answer(table, asked),
        judge=_judge(table, asked, values.keys() | own["benchmarks"]),
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
    for name in ("data", "out", "seed", "model", "checkpoint", "port", "questions", "answers", "url", "served"):
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
    train: Train = _read(
        Train, given, "train", read_command(given["command"], "train.command", allowed, ("data", "out"))
    )
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
    if (
        not serve.ready.startswith("/")
        or not serve.ready.isascii()
        or not serve.ready.isprintable()
        or " " in serve.ready
    ):
        raise UsageError(f"serve.ready = {serve.ready!r}: a path of the server, as /v1/models or /health")
    return serve


def _answer(table: Mapping[str, Any], names: Collection[str]) -> Answer | AlignAnswer:
    served = "serve" in table
    if "endpoint" in _both(table, "answer"):
        if not served:
            raise UsageError('answer.endpoint = "{url}" is what [serve] serves, and there is no table [serve]')
        return read_table(AlignAnswer, table["answer"], "answer")
    given = _settings(table, "answer", [one.name for one in fields(Answer)])
    if "command" not in given:
        what = '"--endpoint", "{url}"' if served else '"--model", "{checkpoint}"'
        raise UsageError(
            f'answer.command is missing: ["python", "answer.py", {what}, "--questions", "{{questions}}", '
            '"--out", "{out}"]'
        )
    needed = ("questions", "out", "url" if served else "checkpoint")
    allowed = [*_COMMON, *needed, *(("served",) if served else ()), *names]
    command = read_command(given["command"], "answer.command", allowed, needed)
    answer: Answer = _read(Answer, given, "answer", command)
    return answer


def _both(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = read_value(Mapping[str, Any], table.get(name, {}), name)
    if "endpoint" in found and "command" in found:
        raise UsageError(f"{name} has a command and an endpoint: leave one out")
    return found


def _judge(
    table: Mapping[str, Any], names: Collection[str], of_benchmarks: Collection[str]
) -> JudgeCommand | AlignJudge:
    align = _both(table, "judge")
    if "endpoint" in align:
        check_keys(align, ("endpoint",), "judge")
        return AlignJudge(read_text(align["endpoint"], "judge.endpoint", of_benchmarks))
    given = _settings(table, "judge", [one.name for one in fields(JudgeCommand)])
    if "command" not in given:
        raise UsageError(
            'judge.command is missing: ["python", "judge.py", "--answers", "{answers}", "--questions", "{questions}", '
            '"--out", "{out}"]'
        )
    needed = ("answers", "out")  # answers of coigp align have the questions
    command = read_command(given["command"], "judge.command", [*_COMMON, *needed, "questions", *names], needed)
    judge: JudgeCommand = _read(JudgeCommand, given, "judge", command)
    if judge.price is not None and judge.price < 0:
        raise UsageError(f"judge.price = {judge.price:g}: use 0 or more")
    if judge.range is not None and (len(judge.range) != 2 or not judge.range[0] < judge.range[1]):
        raise UsageError(f"judge.range = {list(judge.range)}: use the lowest and the highest score, as [1, 10]")
    return judge


def _check_benchmarks(experiment: Experiment) -> None:
    for at, one in enumerate(experiment.benchmarks):
        if one.references is not None and not isinstance(experiment.answer, AlignAnswer):
            raise UsageError(f"benchmarks[{at}].references: [answer] has a command, which is told itself. Leave it out")
        if one.weights and isinstance(experiment.judge, AlignJudge):
            raise UsageError(f"benchmarks[{at}].weights: coigp align judges, and has its own. Leave them out")
        _check_weights(one, f"benchmarks[{at}].weights")
    if not experiment.tests:
        raise UsageError('benchmarks: none has role "test", so that there is no table')
    if sum(one.role == VALIDATION for one in experiment.benchmarks) > 1:
        raise UsageError('benchmarks: two have role "validation", and one of them has to choose')
    if experiment.validation is not None and experiment.train.checkpoints is None:
        raise UsageError(
            "train.checkpoints is missing: a validation benchmark chooses among what matches it, as checkpoint-*"
        )


def _check_weights(benchmark: BenchmarkEntry, where: str) -> None:
    for name, weight in benchmark.weights.items():
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight <= 1:
            raise UsageError(f"{where}.{name} = {weight!r}: use a number above 0, at most 1")
    if benchmark.weights and abs(math.fsum(benchmark.weights.values()) - 1) > 1e-9:
        raise UsageError(
            f"{where} add up to {math.fsum(benchmark.weights.values()):g}: they are shares of the overall, 1"
        )


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
