"""Run an experiment: every step that is not there, one after the other, each once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from coig_p.errors import CoigPError, DataError
from coig_p.evaluate.experiment.asking import Watched, answer_ledger, judge_ledger, write_answers, write_results
from coig_p.evaluate.experiment.cache import Cache, Made, Step, open_cache, tidy
from coig_p.evaluate.experiment.config import AlignAnswer, AlignJudge, BenchmarkEntry, Experiment
from coig_p.evaluate.experiment.grid import Cell, cells, model_path, values_of
from coig_p.evaluate.experiment.questions import Reader
from coig_p.evaluate.experiment.running import (
    Job,
    already_done,
    environment_for,
    find_program,
    fresh,
    run,
    seconds_of,
    wait_for_leftovers,
)
from coig_p.evaluate.experiment.serving import Server, served
from coig_p.evaluate.experiment.steps import ANSWER, Inputs, export_options
from coig_p.evaluate.experiment.walking import Checkpoint, Walk, Walked
from coig_p.export.write import export_store
from coig_p.store.locate import open_located

Say = Callable[[str], None]


@dataclass(frozen=True)
class Ran:
    """What a run came to.

    Attributes:
        walked: the cells that are through, in the file's order.
        failed: by the name of a cell that is not, why.
        made, cached: steps that were run, and that were there, by kind.
        damaged: what was found in the cache and not used.
    """

    walked: tuple[Walked, ...]
    failed: Mapping[str, str]
    made: Mapping[str, int]
    cached: Mapping[str, int]
    damaged: tuple[str, ...]


def run_experiment(
    experiment: Experiment,
    *,
    keep_going: bool = False,
    say: Say = lambda line: None,
    watched: Watched = nullcontext,
) -> Ran:
    """Run what is not there.

    Args:
        keep_going: go on with the other cells where one fails.
        say: told what is done, a line a step.
        watched: shows how it is going while models are asked.

    Raises:
        CoigPError: a step failed; names the file, the step, the cell, and shows the end of its log.
        UsageError: another run works in the folder, or something that the file names is not there.
    """
    inputs = Inputs(experiment)
    check_environment(experiment)
    inputs.check_align()
    with open_cache(experiment.folder) as cache:
        runner = _Runner(experiment, inputs, Reader(experiment), cache, say, watched)
        walked: list[Walked] = []
        failed: dict[str, str] = {}
        for cell in runner.cells() if not keep_going else cells(experiment):
            try:
                found = runner.walk(cell)
            except CoigPError as error:
                if not keep_going:
                    raise
                failed[cell.name] = str(error)
                say(str(error))
                continue
            assert found is not None  # a run makes every step
            walked.append(found)
        if not failed:
            tidy(cache)
        return Ran(tuple(walked), failed, runner.made, runner.cached, tuple(cache.damaged))


def check_environment(experiment: Experiment) -> None:
    """Raise UsageError where a command is not there, or a variable that it gets is not set, before anything is run."""
    for command, env in experiment.commands().values():
        find_program(command.words[0], experiment.beside)
        environment_for(env, os.environ)


_SHOWN = 5  # models of a server


@dataclass
class _Runner(Walk):
    experiment: Experiment
    inputs: Inputs
    reader: Reader
    cache: Cache
    say: Say
    watched: Watched
    made: dict[str, int] = field(default_factory=dict)
    cached: dict[str, int] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)
    _server: Callable[[], Server] | None = None
    _running: list[Server] = field(default_factory=list)  # one at most

    def export(self, step: Step, cell: Cell) -> Made | None:
        def write(work: Path) -> None:
            experiment, dataset = self.experiment, cell.arm.dataset
            assert dataset is not None
            store = open_located(self.inputs.store(dataset.store))
            # From its own folder, so that no path of this machine is in its README.
            with _inside(work):
                config = experiment.export_config(export_options(experiment, cell))
                export_store(store, Path("out"), config, overwrite=True)

        return self._ours(step, write)

    def train(self, step: Step, cell: Cell, data: Path) -> Made | None:
        train = self.experiment.train
        values = {"model": model_path(self.experiment, cell.arm.model), "data": str(data.resolve())}
        return self._command(step, cell, train.command.filled, lambda: values, train.env, resumes=train.resumes)

    def answer(self, step: Step, cell: Cell, benchmark: BenchmarkEntry, checkpoint: Checkpoint) -> Made | None:
        answer = self.experiment.answer
        if isinstance(answer, AlignAnswer):
            server, serve = self._server, self.experiment.serve
            assert serve is not None  # the file's reader says so
            assert server is not None
            ledger = answer_ledger(self.cache.folder, step)
            questions = self.inputs.benchmark(benchmark)
            return self._ours(
                step,
                lambda work: write_answers(
                    work / "out", ledger, questions, answer, serve.model, server, self.say, self.watched
                ),
            )
        values = {
            "model": model_path(self.experiment, cell.arm.model),
            "checkpoint": checkpoint.place,
            "questions": str((self.experiment.beside / benchmark.file).resolve()),
        }

        def places() -> dict[str, str]:
            if self._server is None:
                return values
            one = self._server()
            return {**values, "url": one.url, "served": one.model}

        return self._command(step, cell, answer.command.filled, places, answer.env, benchmark)

    def judge(self, step: Step, cell: Cell, benchmark: BenchmarkEntry, answers: Path) -> Made | None:
        values = {
            "model": model_path(self.experiment, cell.arm.model),
            "answers": str(answers.resolve()),
            "questions": str((self.experiment.beside / benchmark.file).resolve()),
        }
        judge = self.experiment.judge
        if isinstance(judge, AlignJudge):
            who = self.inputs.judge(benchmark)
            assert who is not None
            ledger, prompts = judge_ledger(self.cache.folder, who), self.inputs.prompts(who)
            return self._ours(
                step,
                lambda work: write_results(work / "out", ledger, answers, who, prompts, self.say, self.watched),
            )
        made = self._command(step, cell, judge.command.filled, lambda: values, judge.env, benchmark)
        try:
            self.reader.read(made.folder, benchmark, step.cell)
        except DataError as error:
            self.cache.drop(step)  # or it would be there, and never be right
            raise DataError(f"{self.experiment.path}: step judge of {step.cell}: {error}") from None
        return made

    def later(self, kind: str, cell: Cell, benchmark: BenchmarkEntry | None = None) -> None:
        raise AssertionError("a run makes every step")

    @contextmanager
    def serving(self, cell: Cell, checkpoint: Checkpoint) -> Iterator[None]:
        serve = self.experiment.serve
        if serve is None:
            yield
            return
        values = values_of(self.experiment, cell) | {"model": model_path(self.experiment, cell.arm.model)}
        values["checkpoint"] = checkpoint.place
        name = f"serve-{checkpoint.sha256[:16]}" if "named " not in checkpoint.sha256 else "serve-untrained"
        what = f"{self.experiment.path}: step serve of {cell.name}"
        folder, log = self.cache.folder / "work" / name, self.cache.folder / "logs" / f"{name}.log"
        with ExitStack() as stack:
            running = self._running

            def start() -> Server:
                if not running:
                    wait_for_leftovers(folder)
                    folder.mkdir(exist_ok=True)
                    log.unlink(missing_ok=True)
                    self.say(f"serve {cell.name} {checkpoint.name}".rstrip())
                    found = stack.enter_context(
                        served(
                            serve,
                            lambda port: Job(
                                serve.command.filled({**values, "port": str(port)}),
                                self.experiment.beside,
                                serve.env,
                                folder,
                                log,
                            ),
                            what,
                        )
                    )
                    running.append(found)
                    if found.listed and found.model not in found.listed:  # some servers take any name
                        names = ", ".join(found.listed[:_SHOWN])
                        self.say(f"asked for {found.model}, as serve.model says; at /v1/models the server has {names}")
                return running[0]

            self._server = start
            try:
                yield
            finally:
                self._server = None
                running.clear()

    def _ours(self, step: Step, make: Callable[[Path], None]) -> Made:
        """A step that this package makes itself: begun anew where it was killed; ledgers keep what was paid for."""
        found = self._found(step)
        if found is not None:
            return found
        work = self.cache.work(step)
        fresh(work, resumes=False).rmdir()
        self.say(f"{step.kind} {step.cell}")
        began = time.monotonic()
        try:
            make(work)
        except CoigPError as error:
            raise _located(error, str(self.experiment.path), f"step {step.kind} of {step.cell}") from None
        return self._keep(step, time.monotonic() - began)

    def _command(
        self,
        step: Step,
        cell: Cell,
        filled: Callable[[Mapping[str, str]], tuple[str, ...]],
        paths: Callable[[], Mapping[str, str]],
        env: tuple[str, ...],
        benchmark: BenchmarkEntry | None = None,
        *,
        resumes: bool = False,
    ) -> Made:
        """A step that a command of the file makes."""
        found = self._found(step)
        if found is not None:
            return found
        work, log = self.cache.work(step), self.cache.log(step)
        job = Job((), self.experiment.beside, env, work, log)
        what = f"{self.experiment.path}: step {step.kind} of {step.cell}"
        wait_for_leftovers(work)
        if not already_done(job):
            # Not before: a place may be that of a server, which begins when it is asked for.
            values = {**values_of(self.experiment, cell, benchmark), **paths(), "out": str((work / "out").resolve())}
            job = replace(job, words=filled(values))
            fresh(work, resumes=resumes)
            if not resumes:
                log.unlink(missing_ok=True)
            self.say(f"{step.kind} {step.cell}; its log: {log}")
            try:
                run(job, what)
            except CoigPError as error:
                raise error if (why := self._gone(step)) is None else CoigPError(f"{error}\n{why}") from None
            if (why := self._gone(step)) is not None:
                job.ended.unlink(missing_ok=True)  # or the next run would take over what nobody answered
                raise CoigPError(f"{what}: {job.words[0]} ended well, but what it asked did not: {why}")
        try:
            return self._keep(step, seconds_of(job))
        except DataError as error:
            with suppress(OSError):
                job.ended.unlink()  # or the next run would take the same result over
            raise DataError(f"{what}: {error}") from None

    def _gone(self, step: Step) -> str | None:
        """What to say where the server that a step asks has ended."""
        if step.kind != ANSWER:
            return None
        return next((why for one in self._running if (why := one.ended()) is not None), None)

    def _found(self, step: Step) -> Made | None:
        before = len(self.cache.damaged)
        found = self.cache.take(step)
        for problem in self.cache.damaged[before:]:
            self.say(f"damaged, and made anew: {problem}")
        if found is not None and step.key not in self._seen:
            self.cached[step.kind] = self.cached.get(step.kind, 0) + 1
        self._seen.add(step.key)
        return found

    def _keep(self, step: Step, seconds: float) -> Made:
        made = self.cache.keep(step, seconds)
        self.made[step.kind] = self.made.get(step.kind, 0) + 1
        return made


def _located(error: CoigPError, file: str, what: str) -> CoigPError:
    """The same error, which says where in the experiment it happened, with its exit code; the file once."""
    found = CoigPError(f"{file}: {what}: {str(error).removeprefix(f'{file}: ')}")
    found.exit_code = error.exit_code
    return found


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
