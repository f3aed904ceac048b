"""What a run looks like while it works, for whoever watches it: endpoints, time left, how far judges agree."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from coig_p.annotate.asking.asker import Asker, Seen
from coig_p.annotate.asking.ledger import FAILED, Ledger
from coig_p.annotate.asking.request import Outcome, Request
from coig_p.annotate.concluded import marks
from coig_p.annotate.config import RunConfig
from coig_p.annotate.tap.comparing import count_comparisons
from coig_p.annotate.tap.walking import CHAINED, Counting
from coig_p.annotate.tasks.judge import JUDGE
from coig_p.annotate.tasks.queries import NOT_TRANSLATED_YET
from coig_p.annotate.tasks.structured import probes
from coig_p.annotate.tasks.translate import TRANSLATE, translations

_PACE = 60  # views over which a pace is measured, a second each
_PLANS = 10  # views after which it is counted anew how much there is to do: it goes over all queries


class EndpointView(NamedTuple):
    """An endpoint now: what has become of it, and what is still to come.

    Attributes:
        planned: requests that the run has for it, of which `seen.done` have an outcome; what draws give on average,
            and takes queries that the filter has yet to judge to pass.
        minutes: until it is done at the pace of the last minute; None where nothing was answered in it, or what
            failed is being asked once more.
    """

    seen: Seen
    planned: int
    minutes: float | None


class View(NamedTuple):
    """A run now, `seconds` after it began; `cost` is of this run, in 1/MONEY."""

    seconds: int
    endpoints: list[EndpointView]
    agreement: Agreement
    cost: int

    @property
    def minutes(self) -> float | None:
        """Until the slowest endpoint that is asked is done; None where one does not move, or none is asked."""
        left = [one.minutes for one in self.endpoints if one.seen.left is None]
        known = [minutes for minutes in left if minutes is not None]
        return max(known, default=None) if len(known) == len(left) else None


Watch = Callable[[View], None]
"""Called once a second while a run asks."""


@dataclass
class Agreement:
    """How far judges of one response are apart, from the scores that this run brought, one by one.

    Attributes:
        judges: how many score a response; what has them all is forgotten.
        responses: those with two scores or more; close: those whose scores are at most one point apart.
        spread: the sum over them of the highest score less the lowest.
    """

    judges: int
    responses: int = 0
    close: int = 0
    spread: float = 0.0
    _open: dict[tuple[str, str], tuple[int, float, float]] = field(default_factory=dict)

    def add(self, query_id: str, author: str, score: float) -> None:
        """Another score of a model's response to a query."""
        if self.judges < 2:
            return
        number, low, high = self._open.pop((query_id, author), (0, score, score))
        if number > 1:
            self._count(high - low, -1)
        number, low, high = number + 1, min(low, score), max(high, score)
        if number > 1:
            self._count(high - low, 1)
        if number < self.judges:
            self._open[query_id, author] = number, low, high

    def _count(self, spread: float, sign: int) -> None:
        self.responses += sign
        self.close += sign * (spread <= 1)
        self.spread += sign * spread

    def to_dict(self) -> dict[str, float | int | None]:
        """As JSON has it: `close` and `spread` as shares of the responses."""
        each = {"close": self.close / self.responses, "spread": self.spread / self.responses} if self.responses else {}
        return {"responses": self.responses, "close": each.get("close"), "spread": each.get("spread")}


class Watcher:
    """Makes views of a run, each a second after the last one."""

    def __init__(
        self, config: RunConfig, ledger: Ledger, asker: Asker, stages: tuple[str, ...], limit: int | None = None
    ) -> None:
        self.config, self.ledger, self.asker, self.stages = config, ledger, asker, stages
        self._limit = limit
        self._counting = None if config.tap is None else Counting(config, ledger)
        self._first = asked_first(config, ledger, stages, limit)
        self.agreement = Agreement(config.judging.judges_per_response)
        self._seconds = 0
        self._planned: Counter[str] = Counter()
        self._past: deque[tuple[Counter[str], Counter[str]]] = deque(maxlen=_PACE + 1)
        self._remember()

    def heard(self, request: Request, found: Outcome) -> None:
        """An answer came."""
        if request.kind == JUDGE and found.score is not None and request.author is not None:
            self.agreement.add(request.query_id, request.author, found.score)

    def view(self) -> View:
        """The run as it is now."""
        self._seconds += 1
        done, asked = self._remember()
        if self._seconds % _PLANS == 1:
            self._planned = self._first + planned_of(self.config, self.ledger, self.stages, self._limit, self._counting)
        planned = self._planned
        long_ago, minutes = self._past[0], (len(self._past) - 1) / 60
        endpoints = []
        for one in self.asker.seen():
            # What was done before is only gone over, and what is asked again is not done.
            some = min(done[one.name] - long_ago[0][one.name], asked[one.name] - long_ago[1][one.name])
            total = max(planned[one.name], one.done)
            left = total - one.done
            finished = not left and (one.over or not one.failed)
            time = 0.0 if finished else left * minutes / some if left and some > 0 else None
            endpoints.append(EndpointView(one, total, time))
        return View(self._seconds, endpoints, self.agreement, sum(one.seen.cost for one in endpoints))

    def _remember(self) -> tuple[Counter[str], Counter[str]]:
        # What failed says nothing of a pace.
        now = Counter({one.name: one.done - one.failed for one in self.asker.seen()}), Counter(self.asker.asked)
        self._past.append(now)
        return now


def asked_first(config: RunConfig, ledger: Ledger, stages: tuple[str, ...], limit: int | None = None) -> Counter[str]:
    """How many requests come before those of the queries: which judges have structured output, and translations.

    Args:
        limit: of the first so many rows alone.
    """
    found: Counter[str] = Counter()
    if not {"queries", "judge"}.isdisjoint(stages):
        found.update(request.endpoint.name for request in probes(config, ledger))
    if config.translate is not None and "queries" in stages:
        found[config.translate.endpoint] += sum(1 for _ in translations(config, limit))
    return found


def planned_of(
    config: RunConfig,
    ledger: Ledger,
    stages: tuple[str, ...],
    limit: int | None = None,
    counting: Counting | None = None,
) -> Counter[str]:
    """How many requests stages have for each endpoint, without queries that are through.

    A judge gets its share of the draws. Queries whose translation is still to come count with the others.

    Args:
        limit: of the first so many queries, or subjects, alone.
        counting: what was counted of a TaP run before.
    """
    planned: Counter[str] = Counter()
    through = marks(config).values()
    if config.tap is not None:
        counting = Counting(config, ledger) if counting is None else counting
        for stage in CHAINED:
            planned.update(counting.requests(stage, limit) if stage in stages else {})
        for author in config.generators if "generate" in stages else ():
            planned[author.name] += ledger.count_possible(unless=through)
        planned.update(count_comparisons(config, ledger, through) if "compare" in stages else {})
        return planned
    translating = _translating(config, ledger, limit) if "queries" in stages else 0
    if config.queries.filter is not None and "queries" in stages:
        planned[config.queries.filter] += ledger.count_queries(passed=False, unless=through) + translating
    queries = ledger.count_possible(unless=through) + translating
    drawn: dict[str, float] = {}
    for author in config.generators:
        if "generate" in stages:
            planned[author.name] += queries
        pool = config.pools[author.name]
        for judge in pool if "judge" in stages else ():
            drawn[judge] = drawn.get(judge, 0.0) + queries * config.judging.judges_per_response / len(pool)
    planned.update({name: round(number) for name, number in drawn.items()})
    return planned


def _translating(config: RunConfig, ledger: Ledger, limit: int | None) -> int:
    """How many queries come in once their translations are there; those whose request failed do not."""
    if config.translate is None:
        return 0
    waiting = sum(1 for one in ledger.dropped() if one.reason == NOT_TRANSLATED_YET)
    failed = sum(some.number for some in ledger.requests() if some.kind == TRANSLATE and some.state == FAILED)
    room = waiting if limit is None else limit - ledger.count_queries(passed=False)
    return max(0, min(waiting - failed, room))
