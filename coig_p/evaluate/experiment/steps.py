"""What each step of an experiment is made of: the only place where keys of the cache come from.

A key holds the hashes of what a step reads, the words of its command with the values in them, and of our own steps the
hash of our code that makes their bytes. It does not hold paths, ports, names of cells, or when something was run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coig_p.core.code_hash import MAKES_ROWS, PACKAGE, code_hash
from coig_p.errors import UsageError
from coig_p.evaluate.align.benchmarks import Benchmark, read_benchmark
from coig_p.evaluate.align.kinds import KINDS as BENCHMARKS
from coig_p.evaluate.align.prompting import JudgePrompts, read_prompts
from coig_p.evaluate.experiment.cache import Step
from coig_p.evaluate.experiment.commands import Command
from coig_p.evaluate.experiment.config import OPTIONS, AlignAnswer, AlignJudge, BenchmarkEntry, Experiment
from coig_p.evaluate.experiment.content import hash_of_path, hash_of_store
from coig_p.evaluate.experiment.grid import Cell, model_path, values_of
from coig_p.reward.judging.config import Judge, load_judge
from coig_p.store.locate import Location, locate

EXPORT, TRAIN, ANSWER, JUDGE = "export", "train", "answer", "judge"
KINDS = (EXPORT, TRAIN, ANSWER, JUDGE)
_EXPORTS = (*MAKES_ROWS, "export")
_ALIGNS = ("evaluate/align",)
_PATHS = ("model", "data", "out", "checkpoint", "questions", "answers", "port", "url", "served")
_READ = ("calibrate", "exclude", "clusters", "tokenizer")


@dataclass
class Inputs:
    """What an experiment reads, each hashed once a run."""

    experiment: Experiment
    _hashes: dict[str, str] = field(default_factory=dict)
    _stores: dict[str, Location] = field(default_factory=dict)
    _judges: dict[Path, Judge] = field(default_factory=dict)
    _prompts: dict[Path | None, JudgePrompts] = field(default_factory=dict)
    _benchmarks: dict[str, Benchmark] = field(default_factory=dict)

    def store(self, named: str) -> Location:
        """The store that a dataset names: a folder, from the file's, or a repository.

        Raises:
            StoreError, RemoteError: it is not there, or no store.
        """
        if named not in self._stores:
            here = self.experiment.beside / Path(named).expanduser()
            self._stores[named] = locate(here if here.exists() or named.startswith(".") else named)
        return self._stores[named]

    def of_store(self, named: str) -> str:
        """The hash of a store; see `hash_of_store`."""
        key = f"store {named}"
        if key not in self._hashes:
            self._hashes[key] = hash_of_store(self.store(named))
        return self._hashes[key]

    def of_file(self, named: str) -> str:
        """The hash of a file or folder, from the file's folder; raise UsageError where there is none."""
        path = self.experiment.beside / Path(named).expanduser()
        if str(path) not in self._hashes:
            if not path.exists():
                raise UsageError(f"{path} is not there, and {self.experiment.path} names it")
            self._hashes[str(path)] = hash_of_path(path)
        return self._hashes[str(path)]

    def of_files(self, named: Sequence[str]) -> dict[str, str]:
        """The same of several, by what the file calls them."""
        return {name: self.of_file(name) for name in named}

    def judge(self, benchmark: BenchmarkEntry) -> Judge | None:
        """Who judges a benchmark for coigp align; None where a command judges.

        Raises:
            UsageError: its file is not there, or cannot be.
        """
        if not isinstance(self.experiment.judge, AlignJudge):
            return None
        path = self.experiment.judge.path(self.experiment, benchmark)
        if path not in self._judges:
            self._judges[path] = load_judge(path)
        return self._judges[path]

    def prompts(self, judge: Judge) -> JudgePrompts:
        """What a judge is sent, read once: a step is made of what its key says, whatever changes meanwhile."""
        if judge.prompts not in self._prompts:
            self._prompts[judge.prompts] = read_prompts(judge.prompts)
        return self._prompts[judge.prompts]

    def benchmark(self, entry: BenchmarkEntry) -> Benchmark:
        """A benchmark of coigp align, read whole; raise DataError where its file cannot be."""
        if entry.name not in self._benchmarks:
            beside = self.experiment.beside
            references = None if entry.references is None else beside / entry.references
            self._benchmarks[entry.name] = read_benchmark(beside / entry.file, references)
        return self._benchmarks[entry.name]

    def check_align(self) -> None:
        """Raise where what coigp align needs of any benchmark is not there: its file, its judge, a key."""
        for entry in self.experiment.benchmarks:
            if isinstance(self.experiment.answer, AlignAnswer):
                self.benchmark(entry)
            judge = self.judge(entry)
            if judge is not None:
                judge.endpoint.secrets()
                self.prompts(judge)

    def of_model(self, cell: Cell) -> str:
        """A model's hash where it is a folder; else its name, which is all that is known here."""
        path = model_path(self.experiment, cell.arm.model)
        return self.of_file(path) if Path(path).is_absolute() and Path(path).exists() else f"named {path}"

    def of_option(self, name: str, value: Any) -> Any:
        """An option of an export, where it names a file with what is in that."""
        if name in _READ and isinstance(value, str) and (self.experiment.beside / value).exists():
            return self.of_file(value)
        return value


def export_options(experiment: Experiment, cell: Cell) -> dict[str, Any]:
    """The options of a cell's export."""
    assert cell.arm.dataset is not None
    return experiment.export_options(cell.arm.dataset, cell.arm.pairs, cell.seed)


def export_step(inputs: Inputs, cell: Cell) -> Step:
    """A dataset's pairs in the trainer's form. Cells with the same store and options share it."""
    experiment, dataset = inputs.experiment, cell.arm.dataset
    assert dataset is not None
    options = export_options(experiment, cell)
    made_of = {
        "store": inputs.of_store(dataset.store),
        "for": experiment.trainer,
        "options": {name: inputs.of_option(name, options[name]) for name in OPTIONS if name in options},
        "code": code_hash(PACKAGE, _EXPORTS),
    }
    return Step(EXPORT, made_of, cell.name)


def train_step(inputs: Inputs, cell: Cell, data: str) -> Step:
    """One training.

    Args:
        data: the hash of what a training reads of the export.
    """
    train = inputs.experiment.train
    made_of = {
        "data": data,
        "model": inputs.of_model(cell),
        "command": said(train.command, values_of(inputs.experiment, cell)),
        "files": inputs.of_files(train.files),
        "env": sorted(train.env),
    }
    return Step(TRAIN, made_of, cell.name)


def answer_step(inputs: Inputs, cell: Cell, benchmark: BenchmarkEntry, checkpoint: str) -> Step:
    """A benchmark's questions, answered by one checkpoint.

    Args:
        checkpoint: its hash, or a model's name.
    """
    experiment = inputs.experiment
    values = values_of(experiment, cell, benchmark)
    made_of: dict[str, Any] = {"checkpoint": checkpoint, "questions": inputs.of_file(benchmark.file)}
    if isinstance(experiment.answer, AlignAnswer):
        made_of["align"] = experiment.answer.made_of()
        made_of["references"] = None if benchmark.references is None else inputs.of_file(benchmark.references)
        made_of["code"] = code_hash(PACKAGE, _ALIGNS)
    else:
        made_of["command"] = said(experiment.answer.command, values)
        made_of["files"] = inputs.of_files((*experiment.answer.files, *benchmark.files))
        made_of["env"] = sorted(experiment.answer.env)
    if experiment.serve is not None:
        made_of["served"] = {
            "command": said(experiment.serve.command, values),
            "files": inputs.of_files(experiment.serve.files),
            "env": sorted(experiment.serve.env),
            "model": experiment.serve.model,
        }
    return Step(ANSWER, made_of, f"{cell.name}, {benchmark.name}")


def judge_step(inputs: Inputs, cell: Cell, benchmark: BenchmarkEntry, answers: str) -> Step:
    """What a judge says of answers.

    Args:
        answers: their hash.
    """
    judge, asked = inputs.experiment.judge, inputs.judge(benchmark)
    if isinstance(judge, AlignJudge):
        assert asked is not None
        one = asked.endpoint
        told: dict[str, Any] = {
            "name": one.name,
            "model": one.model,
            "system": one.system,
            "parameters": dict(one.parameters),
        }
        told |= {"asks": asked.asks, "prompts": {kind: inputs.prompts(asked).sha256(kind) for kind in BENCHMARKS}}
        aligned = {"answers": answers, "judge": told, "code": code_hash(PACKAGE, _ALIGNS)}
        return Step(JUDGE, aligned, f"{cell.name}, {benchmark.name}")
    made_of = {
        "answers": answers,
        "questions": inputs.of_file(benchmark.file),
        "command": said(judge.command, values_of(inputs.experiment, cell, benchmark)),
        "files": inputs.of_files((*judge.files, *benchmark.files)),
        "env": sorted(judge.env),
    }
    return Step(JUDGE, made_of, f"{cell.name}, {benchmark.name}")


def said(command: Command, values: Mapping[str, str]) -> dict[str, Any]:
    """A command's words, and what its places stand for that are no paths."""
    return {
        "words": list(command.words),
        "values": {name: values[name] for name in command.places() if name not in _PATHS},
    }
