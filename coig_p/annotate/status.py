"""Where a run stands."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from coig_p.annotate.asking.costs import MONEY, unanswered
from coig_p.annotate.asking.ledger import ANSWERED, BATCHED, FAILED, INVALID, OPEN, Ledger
from coig_p.annotate.asking.message import cut as cut_by
from coig_p.annotate.config import RunConfig
from coig_p.annotate.estimating import PaidAgain
from coig_p.annotate.repaying import is_allowed, kinds_of, paid_again, roughly_paid_again
from coig_p.annotate.stages import count_of, stages_of
from coig_p.annotate.tap.positions import judged
from coig_p.annotate.tap.walking import rounds_of
from coig_p.annotate.tasks.translate import TRANSLATE
from coig_p.annotate.taxonomy.config import COMPARE
from coig_p.errors import CoigPError

_LATELY = 300.0  # seconds over which a rate is measured
_MANY = 20_000  # requests, above which what would be paid again is taken from sums


@dataclass(frozen=True)
class EndpointStatus:
    """What was asked of an endpoint: asked = answered + invalid + failed + in_flight.

    Attributes:
        batched: requests that are out in batch files.
        sent: attempts; unanswered: those that came to nothing, by their outcome.
        cut_off: answers that did not end by themselves; cut: by the reason that the server gave.
        invalid_rate: of the answers; failure_rate: of the attempts.
        per_minute: answers, over the last five minutes.
        cost: of the answers; may_cost: the most that attempts without one may have cost, both in
            the currency of the prices.
    """

    asked: int
    answered: int
    invalid: int
    failed: int
    in_flight: int
    batched: int
    sent: int
    unanswered: dict[str, int]
    cut_off: int
    cut: dict[str, int]
    invalid_rate: float
    failure_rate: float
    per_minute: float
    cost: float
    may_cost: float


@dataclass(frozen=True)
class StageStatus:
    """How far a stage is: its requests, those that have an outcome, and answers by what they were."""

    planned: int
    done: int
    answered: int
    invalid: int


@dataclass(frozen=True)
class Status:
    """Where a run stands: by endpoint, by stage and in all.

    Attributes:
        cost, may_cost, max_cost: in the currency of the prices; max_cost is None without a budget.
        minutes_left: at the pace of the last five minutes; None where there is none.
        paid_again: what the next run would pay again because the run has changed since; `paid_again_exact`: whether
            that was counted request by request, or is the most that it can be, as in a large ledger.
    """

    endpoints: dict[str, EndpointStatus]
    stages: dict[str, StageStatus]
    cost: float
    may_cost: float
    max_cost: float | None
    per_minute: float
    minutes_left: float | None
    paid_again: list[PaidAgain]
    paid_again_exact: bool
    types: dict[str, dict[str, Any]] = field(default_factory=dict)
    judges: dict[str, dict[str, Any]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        again = [one._asdict() | {"cost": one.cost / MONEY} for one in self.paid_again]
        told = asdict(replace(self, paid_again=[])) | {"paid_again": again}
        for name in ("types", "judges"):  # of a TaP run alone
            if not told[name]:
                del told[name]
        return told


def status_of(config: RunConfig, ledger: Ledger) -> Status:
    """Counts, costs and rates of a run, also while it is working. Asks nothing and writes nothing."""
    states: dict[str, Counter[str]] = defaultdict(Counter)
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    cost: Counter[str] = Counter()
    cut: dict[str, Counter[str]] = defaultdict(Counter)
    exhausted: Counter[str] = Counter()
    for some in ledger.requests():
        states[some.endpoint][some.state] += some.number
        kinds[some.kind][some.state] += some.number
        cost[some.endpoint] += some.cost
        if cut_by(some.finish):
            cut[some.endpoint][str(some.finish)] += some.number
        if some.state in (ANSWERED, FAILED) or (some.state == INVALID and some.ask == config.judging.asks - 1):
            exhausted[some.kind] += some.number
    sent: Counter[str] = Counter()
    nothing: dict[str, Counter[str]] = defaultdict(Counter)
    may: Counter[str] = Counter()
    for tried in ledger.attempts():
        sent[tried.endpoint] += tried.number
        if tried.outcome not in ("answered", None):
            nothing[tried.endpoint][tried.outcome] += tried.number
        may[tried.endpoint] += unanswered(tried.outcome, tried.bound)
    lately = {found.endpoint: found for found in ledger.lately(_LATELY)}
    oldest = min((found.first for found in lately.values()), default=None)
    minutes = 1.0 if oldest is None else max(1.0, ledger.now() - oldest) / 60
    endpoints = {}
    for name in dict.fromkeys([*config.by_name, *states]):
        found = states[name]
        endpoints[name] = EndpointStatus(
            asked=sum(found.values()) - found[BATCHED],
            answered=found[ANSWERED],
            invalid=found[INVALID],
            failed=found[FAILED],
            in_flight=found[OPEN],
            batched=found[BATCHED],
            sent=sent[name],
            unanswered=dict(nothing[name]),
            cut_off=cut[name].total(),
            cut=dict(cut[name]),
            invalid_rate=_share(found[INVALID], found[INVALID] + found[ANSWERED]),
            failure_rate=_share(sum(nothing[name].values()), sent[name]),
            per_minute=round((lately[name].number if name in lately else 0) / minutes, 1),
            cost=cost[name] / MONEY,
            may_cost=may[name] / MONEY,
        )
    other = Counter[str]()  # answers that were asked for in other words than the run's
    for one in ledger.recipes():
        now = config.recipes.get((one.kind, one.domain, one.endpoint))
        other[one.kind] += one.number * (one.state == ANSWERED and bool(one.recipe) and one.recipe != now)
    stages = {}
    left = 0
    for stage, own in kinds_of(config).items():
        if stage not in stages_of(config):
            continue
        own = tuple(kind for kind in own if kind != TRANSLATE)
        planned = count_of(config, ledger, stage)
        done = min(planned, max(0, sum(exhausted[kind] - other[kind] for kind in own)))
        answered, invalid = (sum(kinds[kind][state] for kind in own) for state in (ANSWERED, INVALID))
        stages[stage] = StageStatus(planned, done, answered, invalid)
        left += planned - done
    rate = sum(found.number for found in lately.values()) / minutes
    spent = ledger.spent()
    again, exact = _paid_again(config, ledger, sum(kinds[kind].total() for kind in kinds))
    return Status(
        endpoints=endpoints,
        stages=stages,
        cost=spent.paid / MONEY,
        may_cost=spent.may_be_paid / MONEY,
        max_cost=None if config.max_cost is None else config.max_cost / MONEY,
        per_minute=round(rate, 1),
        minutes_left=max(0.1, round(left / rate, 1)) if rate and left else 0.0 if not left else None,
        paid_again=again,
        paid_again_exact=exact,
        types=rounds_of(config, ledger) if config.tap is not None else {},
        judges=judged(config, ledger) if config.tap is not None and kinds[COMPARE] else {},
    )


def _paid_again(config: RunConfig, ledger: Ledger, requests: int) -> tuple[list[PaidAgain], bool]:
    """What would be paid again, and whether that is exact."""
    try:
        if is_allowed(config, ledger):
            return [], True
        if requests > _MANY:
            return roughly_paid_again(config, ledger), False
        return paid_again(config, ledger), True
    except CoigPError:  # the inputs are gone or bad, which the next run says
        return roughly_paid_again(config, ledger), False


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
