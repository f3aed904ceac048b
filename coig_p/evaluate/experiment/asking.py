"""Answers and judgements that coigp align makes in this process, each through a ledger in the experiment's folder.

    FOLDER/ledgers/answer-KEY    of one checkpoint, as it is served: another checkpoint may have the same name
    FOLDER/ledgers/judge-KEY     of one judge, as it is asked: equal answers of two cells are judged once

What an endpoint has said is in the ledger before anything is made of it, so that no kill loses what was paid. A key is
of what is asked; it holds no code of ours, so that answers stay where that changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coig_p.annotate.alone.running import Estimate, Work, ask, estimate
from coig_p.annotate.asking.costs import MONEY, Spent
from coig_p.annotate.asking.ledger import LEDGER, Ledger
from coig_p.annotate.asking.request import Request
from coig_p.annotate.watching import Watch
from coig_p.core.text import counted
from coig_p.errors import CoigPError, RemoteError, UsageError
from coig_p.evaluate.align.answering import Asking
from coig_p.evaluate.align.benchmarks import Benchmark
from coig_p.evaluate.align.files import ANSWERS, RESULTS, Kept, Turn, read_kept, write_kept
from coig_p.evaluate.align.judging import Judging
from coig_p.evaluate.align.prompting import JudgePrompts
from coig_p.evaluate.experiment.cache import Step
from coig_p.evaluate.experiment.config import AlignAnswer
from coig_p.evaluate.experiment.content import hash_of
from coig_p.evaluate.experiment.judged import answers_in
from coig_p.evaluate.experiment.serving import Server
from coig_p.reward.judging.config import Judge

LEDGERS = "ledgers"
_NOWHERE = "http://127.0.0.1:1/v1"  # for requests that are only counted
_STANDS_IN = "略" * 400  # for an answer that is not there yet

Say = Callable[[str], None]
Watched = Callable[[], AbstractContextManager[Watch | None]]
"""What shows how the asking goes, while a block runs: see `coig_p.annotate.alone.running.ask`."""


def answer_ledger(folder: Path, step: Step) -> Path:
    """Where it is kept what a checkpoint said, as it is served, to whatever it was asked.

    What is asked is in each request. So a question that is mended, or asked otherwise, is asked again, and no other.
    """
    who = {name: step.made_of[name] for name in ("checkpoint", "served")}
    return folder / LEDGERS / f"answer-{hash_of(who)[:16]}"


def judge_ledger(folder: Path, judge: Judge) -> Path:
    """Where it is kept what a judge said, as it is asked; see `spent_before` of its file's max_cost."""
    one = judge.endpoint
    told = [one.name, one.model, one.system, dict(one.parameters), one.currency]
    return folder / LEDGERS / f"judge-{hash_of(told)[:16]}"


def spent_before(ledger: Path, judge: Judge) -> Spent:
    """What a judge cost in the experiment's other ledgers: those of the same endpoint's name, asked otherwise.

    A judge whose parameters or model are changed has a new ledger, and no new budget.

    Args:
        ledger: of the judge as it is now.

    Raises:
        UsageError: some of it is in another currency, so that it cannot be added up.
        DataError: one of the ledgers is damaged.
    """
    paid, may, one = 0, 0, judge.endpoint
    for folder in sorted(ledger.parent.glob("judge-*")):
        if folder == ledger or not (folder / LEDGER).exists():
            continue
        with Ledger.open(folder) as other:
            if one.name not in {each.endpoint for each in other.requests()}:
                continue
            spent, currency = other.spent(), other.noted("currency")
        if spent.most and None not in (currency, one.currency) and currency != one.currency:
            raise UsageError(
                f"{folder}: judge {one.name} cost {spent.most / MONEY:.4f} {currency} there, and its file now has "
                f"prices in {one.currency}, so that no max_cost can be over both. Give the endpoint another name, or "
                "move that folder away"
            )
        paid, may = paid + spent.paid, may + spent.may_be_paid
    return Spent(paid, may)


def write_answers(
    out: Path,
    ledger: Path,
    benchmark: Benchmark,
    answer: AlignAnswer,
    model: str | None,
    server: Callable[[], Server],
    say: Say,
    watched: Watched = nullcontext,
) -> None:
    """Have a checkpoint answer a benchmark, and write answers of coigp align.

    Args:
        model: what the server will call it, where the file says so: then it is only started where something is left.
        server: starts it.

    Raises:
        CoigPError: something is left unanswered; run again, it goes on.
    """
    url, ended = _NOWHERE, None
    if model is None or estimate(_asking(benchmark, answer, url, model).work(), ledger).left:
        there = server()
        url, model, ended = there.url, model or there.model, there.ended
    asking = _asking(benchmark, answer, url, model)
    if url != _NOWHERE:
        _ask(asking.work(), ledger, None, say, watched, ended)
    header = {"model": asking.answerer.describe(), "options": asking.options()}
    with Ledger.open(ledger) as kept:
        write_kept(out, ANSWERS, benchmark, asking.answers(kept), header, overwrite=False)


def _asking(benchmark: Benchmark, answer: AlignAnswer, url: str, model: str) -> Asking:
    return Asking(benchmark, answer.answerer(url, model), answer.keep_cut, answer.official)


def write_results(
    out: Path,
    ledger: Path,
    answers: Path,
    judge: Judge,
    prompts: JudgePrompts,
    say: Say,
    watched: Watched = nullcontext,
) -> None:
    """Have a judge score what a step answered, and write results of coigp align.

    Raises:
        CoigPError: something is left without a judgement, for money or for the endpoint; run again, it goes on.
    """
    kept = read_kept(answers_in(answers), ANSWERS)
    judging = Judging(kept, judge, prompts)
    again = estimate(judging.work(), ledger).paid_again
    if again:
        say(f"{judge.endpoint.name}: {counted(again, 'request')} paid again: the prompt changed since the answers came")
    before = spent_before(ledger, judge)
    _ask(judging.work(), ledger, None if judge.max_cost is None else judge.max_cost - before.most, say, watched)
    header: dict[str, Any] = {
        "model": dict(kept.model),
        "answers_sha256": kept.sha256,
        "judge": judging.describe(),
        "options": {"asks": judge.asks, "answered": dict(kept.header["options"])},
    }
    with Ledger.open(ledger) as said:
        write_kept(out, RESULTS, kept.benchmark, judging.results(said), header, overwrite=False)


def _ask(
    work: Work,
    ledger: Path,
    max_cost: int | None,
    say: Say,
    watched: Watched,
    ended: Callable[[], str | None] | None = None,
) -> None:
    ledger.parent.mkdir(exist_ok=True)
    gone = None if ended is None else lambda: ended() is not None
    with watched() as watch:
        found = ask(work, ledger, max_cost=max_cost, say=say, watch=watch, gone=gone)
    if found.stopped == "interrupted":
        raise KeyboardInterrupt
    if found.unsettled and ended is not None and (why := ended()) is not None:
        error = CoigPError(f"{why}\n{counted(found.unsettled, 'request')} unanswered; run again to go on")
        error.exit_code = RemoteError.exit_code
        raise error
    if found.unsettled:
        why = (
            "max_cost of its file is reached. Raise it"
            if found.stopped == "budget"
            else str(found.left or found.last or "failed")
        )
        left = f"{work.endpoint.name}: {counted(found.unsettled, 'request')} unanswered: {why.rstrip('.')}"
        error = CoigPError(f"{left}. Run again to go on; answers are kept in {ledger}")
        error.exit_code = found.exit_code
        raise error


@dataclass(frozen=True)
class JudgeCost:
    """What is left to ask of a judge, and what it cost so far, in the currency of its prices.

    Attributes:
        requests: different ones that there are; left: those that are to be sent.
        expected: what these cost, about; most: with every ask used, and every answer at its max_tokens.
        spent: over all runs, however it was asked.
    """

    name: str
    currency: str | None
    requests: int
    left: int
    expected: float
    most: float
    spent: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        told = {name: getattr(self, name) for name in ("name", "currency", "requests", "left")}
        return told | {name: getattr(self, name) for name in ("expected", "most", "spent")}


@dataclass(frozen=True)
class Judgings:
    """What one judge is still to be asked.

    Attributes:
        there: answers that are there; later: benchmarks whose answers are not, each with how often.
    """

    judge: Judge
    prompts: JudgePrompts
    ledger: Path
    there: Sequence[Path]
    later: Sequence[tuple[Benchmark, int]]

    def cost(self) -> JudgeCost:
        """By the ledger's prices and what answers took so far; nothing is asked, and nothing is written."""
        found: Estimate = estimate(Work(self.judge.endpoint, self._there, later=self._later), self.ledger)
        spent = found.spent + spent_before(self.ledger, self.judge).paid
        one, money = self.judge.endpoint, [value / MONEY for value in (found.expected, found.most, spent)]
        return JudgeCost(one.name, one.currency, found.requests, found.left, *money)

    def _there(self, _ledger: Ledger | None) -> Iterator[Request]:
        for path in self.there:
            yield from Judging(read_kept(answers_in(path), ANSWERS), self.judge, self.prompts).work().requests(None)

    def _later(self, _ledger: Ledger | None) -> Iterator[tuple[Request, float]]:
        for benchmark, times in self.later:
            turns = tuple(
                tuple(Turn(one.id, turn, _STANDS_IN) for turn in range(1, len(one.turns) + 1))
                for one in benchmark.questions
            )
            stand_in = Kept(Path(), benchmark, {"model": {"name": "model"}}, turns)
            for request in Judging(stand_in, self.judge, self.prompts).work().requests(None):
                yield request, float(times)
