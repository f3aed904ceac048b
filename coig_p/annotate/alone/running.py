"""Work for one endpoint: asked within limits and a budget, each request once, gone on with where it ended."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coig_p.annotate.alone.endpoint import LoneEndpoint
from coig_p.annotate.alone.said import said_to
from coig_p.annotate.asking.asker import Asker
from coig_p.annotate.asking.client import check_extra
from coig_p.annotate.asking.costs import MONEY, Spent, Tokens, max_tokens
from coig_p.annotate.asking.ledger import LEDGER, Ledger, LedgerWriter
from coig_p.annotate.asking.ledger.schema import UsageTotals
from coig_p.annotate.asking.limits import Budget
from coig_p.annotate.asking.request import Request
from coig_p.annotate.asking.stopping import stopped_by_signals
from coig_p.annotate.watching import Agreement, EndpointView, View, Watch
from coig_p.errors import RemoteError, UsageError

_TOKENS_A_CHARACTER = 0.7  # of Chinese prompts, until the ledger knows better
_ANSWER_TOKENS = 300
_ENOUGH = 20  # answers from which an average is taken
_PACE = 60  # seconds over which a pace is measured
_LOOK = 0.2  # seconds between two looks at whether somebody is gone


@dataclass
class Asked:
    """What asking an endpoint came to.

    Attributes:
        requests: different ones that there are; unsettled: those that have no outcome that stays.
        sent, failed: attempts, and requests that failed, in this run.
        abandoned: requests that were in flight and not waited for.
        left: why the endpoint was left; None where it was not.
        last: the server's last words about a request that it did not answer, in this run.
        stopped: interrupted, budget, time, gone, or None.
        cost: what all runs of the ledger cost so far.
    """

    requests: int = 0
    unsettled: int = 0
    sent: int = 0
    failed: int = 0
    abandoned: int = 0
    left: str | None = None
    last: str | None = None
    stopped: str | None = None
    cost: Spent = field(default_factory=Spent)

    @property
    def exit_code(self) -> int:
        """130 interrupted. Where something is unsettled 1 for money or time that ended it, else 3. Else 0."""
        if self.stopped == "interrupted":
            return 130
        if not self.unsettled:
            return 0
        return 1 if self.stopped else RemoteError.exit_code

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        told = {name: getattr(self, name) for name in ("requests", "unsettled", "sent", "failed", "abandoned")}
        told |= {"left": self.left, "stopped": self.stopped}
        return told | {"cost": self.cost.paid / MONEY, "may_cost": self.cost.may_be_paid / MONEY}


@dataclass(frozen=True)
class Estimate:
    """What is left to ask.

    Attributes:
        requests: different ones that there are; left: those that are to be sent.
        expected, most: what these cost, about and with every answer at its max_tokens and every ask used, in 1/MONEY.
            About: as many asks as their like took so far.
        spent: what all runs of the ledger cost so far, in 1/MONEY.
        paid_again: of those left, how many were answered before in other words than today's.
    """

    requests: int = 0
    left: int = 0
    expected: int = 0
    most: int = 0
    spent: int = 0
    paid_again: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, costs in the currency of the prices."""
        money = {name: getattr(self, name) / MONEY for name in ("expected", "most", "spent")}
        return {"requests": self.requests, "left": self.left, "paid_again": self.paid_again} | money


@dataclass(frozen=True)
class Work:
    """What one endpoint is to be asked.

    Attributes:
        requests: those that can be made of what a ledger has, whatever became of them; None: nothing was asked yet.
        most_invalid: it is asked nothing more once a larger share of its last 100 answers cannot be used.
        later: requests that hold answers which are not there yet, with texts made up in their place, and how many
            of each there will be; for estimates.
        grows: requests come of answers, so that all are gone over again until no more do.
    """

    endpoint: LoneEndpoint
    requests: Callable[[Ledger | None], Iterator[Request]]
    most_invalid: float = 1.0
    later: Callable[[Ledger | None], Iterator[tuple[Request, float]]] = lambda ledger: iter(())
    grows: bool = False

    def different(self, ledger: Ledger | None = None) -> Iterator[Request]:
        """Each request once, though several may be the same one."""
        seen: set[bytes] = set()
        for request in self.requests(ledger):
            key = request.key(0)
            if key not in seen:
                seen.add(key)
                yield request


def estimate(work: Work, folder: Path) -> Estimate:
    """What is left to ask, and what that costs; nothing is asked, and nothing is written.

    Args:
        folder: of the ledger, where there is one.
    """
    if not (folder / LEDGER).exists():
        return _estimate(work, None)
    with Ledger.open(folder) as ledger:
        return _estimate(work, ledger)


def _estimate(work: Work, ledger: Ledger | None) -> Estimate:
    usual = _Usual(work.endpoint, ledger)
    requests = left = again = 0
    expected = most = 0.0
    for request in work.different(ledger):
        requests += 1
        said = None if ledger is None else said_to(ledger, request)
        if said is not None and said.is_settled:
            continue
        left += 1
        cost = usual.cost(request, 0 if said is None else said.before)
        expected += cost
        most += max(cost, work.endpoint.cost(request.most_in_all()))
        again += usual.before.get((request.query_id, request.author), request.recipe) != request.recipe
    more = 0.0
    for request, times in work.later(ledger):
        more += times
        cost = usual.cost(request)
        expected += times * cost
        most += times * max(cost, work.endpoint.cost(request.most_in_all()))
    spent = 0 if ledger is None else ledger.spent().paid
    return Estimate(requests + round(more), left + round(more), round(expected), round(most), spent, again)


class _Usual:
    """What a request costs, by what was asked so far.

    Attributes:
        before: with what its like was made, by what it is about, where it was answered.
    """

    def __init__(self, endpoint: LoneEndpoint, ledger: Ledger | None) -> None:
        self.endpoint = endpoint
        self.before: dict[tuple[str, str | None], str] = {}
        self._used: dict[str, UsageTotals] = {}
        self._invalid: dict[tuple[str, int], float] = {}
        if ledger is not None:
            used = ledger.usage()
            self._used = {one.kind: one for one in used if one.endpoint == endpoint.name and one.number >= _ENOUGH}
            for one in ledger.invalid():
                if one.endpoint == endpoint.name and one.number >= _ENOUGH:
                    self._invalid[one.kind, one.ask] = one.invalid / one.number
            paid = (one for one in ledger.paid() if one.endpoint == endpoint.name)
            self.before = {(one.query_id, one.author): one.recipe for one in paid}

    def cost(self, request: Request, asked: int = 0) -> float:
        """Of asking as often as its like was asked so far, in 1/MONEY; `asked`: how often it was already."""
        return self._once(request) * self._asks(request, asked)

    def _asks(self, request: Request, asked: int) -> float:
        """How often a request is asked: again where the ask before is invalid, as often as asks of that place were.

        Asks of a place of which there are too few are taken to be as those before them; none: one ask.
        """
        expected, goes_on, share = 1.0, 1.0, 0.0
        for ask in range(request.asks - 1):
            share = self._invalid.get((request.kind, ask), share)
            if ask >= asked:
                goes_on *= share
                expected += goes_on
        return expected

    def _once(self, request: Request) -> int:
        used, characters = self._used.get(request.kind), sum(len(one["content"]) for one in request.messages)
        if used is None:
            guess = min(_ANSWER_TOKENS, max_tokens(request.parameters) or _ANSWER_TOKENS)
            return self.endpoint.cost(Tokens(round(characters * _TOKENS_A_CHARACTER), guess))
        prompt = characters * used.prompt_tokens / max(1, used.characters)
        return self.endpoint.cost(Tokens(round(prompt), round(used.completion_tokens / used.number)))


def check_ledger(folder: Path, out: Path | None = None) -> None:
    """Raise UsageError where a ledger cannot be kept in a folder.

    Args:
        out: what is written, which is replaced as a whole.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: the ledger needs a folder. Name another with --ledger")
    if out is not None and (folder.resolve() == out.resolve() or out.resolve() in folder.resolve().parents):
        raise UsageError(
            f"{folder} is inside {out}, which is replaced as a whole: choose a place outside for the ledger"
        )


def ask(
    work: Work,
    folder: Path,
    *,
    max_cost: int | None = None,
    max_seconds: float | None = None,
    say: Callable[[str], None] = lambda line: None,
    watch: Watch | None = None,
    gone: Callable[[], bool] | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> Asked:
    """Ask an endpoint all that its ledger has no outcome of.

    Args:
        folder: of the ledger, which is made where there is none.
        max_cost: in 1/MONEY, over all runs of the ledger; None: no limit.
        max_seconds: after which nothing more is sent.
        say: called with lines for people.
        watch: called once a second with how it is going.
        gone: asked several times a second whether there is nobody any more who could answer; then nothing more is sent.

    Raises:
        UsageError: a key is not set, another run is working on the ledger, or it is of `coigp annotate`.
        DataError: the ledger is damaged or cannot be written.
    """
    if max_cost is not None:
        work.endpoint.check_budget()
    check_extra()
    work.endpoint.secrets()  # before the first request
    with LedgerWriter.open(folder) as ledger:
        if ledger.made_from() is not None:
            raise UsageError(f"{folder} is the folder of a run of coigp annotate: name another one with --ledger")
        ledger.count_in(work.endpoint.currency)
        found = Asked()
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(_ask(work, ledger, found, max_cost, max_seconds, say, watch, gone))
        for request in work.different(ledger):
            found.requests += 1
            found.unsettled += not said_to(ledger, request).is_settled
        found.cost = ledger.spent()
        return found


async def _ask(
    work: Work,
    ledger: LedgerWriter,
    found: Asked,
    most: int | None,
    max_seconds: float | None,
    say: Callable[[str], None],
    watch: Watch | None,
    gone: Callable[[], bool] | None,
) -> None:
    name = work.endpoint.name
    budget = Budget(most, ledger.spent().most)
    asker = Asker({name: work.endpoint}, ledger, budget, say=say, most_invalid=work.most_invalid)
    watching = []
    if watch is not None:
        planned = sum(1 for _ in work.different(ledger))
        watching.append(asyncio.create_task(_watch(asker, planned, watch)))
    if gone is not None:
        watching.append(asyncio.create_task(_stop_where(asker, gone)))
    timer = None
    if max_seconds is not None:
        timer = asyncio.get_running_loop().call_later(max_seconds, asker.stop, "time")
    try:
        with stopped_by_signals(asker):
            before = -1
            while asker.stopped is None and asker.asked.total() > before:
                before = asker.asked.total() if work.grows else 2**62
                await asker.ask_all({name: work.different(ledger)})
    finally:
        if timer is not None:
            timer.cancel()
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)  # a terminal that is gone stops no run
        await asker.close()
        found.abandoned = sum(ledger.recover("abandoned", "stopped").values())
        found.sent, found.failed, found.stopped = asker.asked.total(), (+asker.failed).total(), asker.stopped
        found.left = next((port.gate.left for port in asker.ports.values() if port.gate.left is not None), None)
        found.last = next((port.last for port in asker.ports.values() if port.last is not None), None)


async def _stop_where(asker: Asker, gone: Callable[[], bool]) -> None:
    while not gone():
        await asyncio.sleep(_LOOK)
    asker.stop("gone")


async def _watch(asker: Asker, planned: int, watch: Watch) -> None:
    past: deque[Counter[str]] = deque([Counter()], maxlen=_PACE + 1)
    seconds = 0
    while True:
        await asyncio.sleep(1)
        seconds += 1
        past.append(Counter({one.name: one.done for one in asker.seen()}))
        views = []
        for one in asker.seen():
            some, left = one.done - past[0][one.name], max(planned, one.done) - one.done
            minutes = 0.0 if not left else left * (len(past) - 1) / 60 / some if some > 0 else None
            views.append(EndpointView(one, max(planned, one.done), minutes))
        watch(View(seconds, views, Agreement(1), sum(view.seen.cost for view in views)))
