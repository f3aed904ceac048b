"""What came to nothing, to be asked once more by the next run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import fields
from typing import NamedTuple

from coig_p.annotate.asking.costs import overbilling
from coig_p.annotate.asking.ledger import FAILED, INVALID, Ledger, LedgerWriter
from coig_p.annotate.asking.request import Request, asks
from coig_p.annotate.config import RunConfig
from coig_p.annotate.estimating import Estimate, estimate
from coig_p.annotate.planned import planned
from coig_p.errors import UnknownNameError


class Retried(NamedTuple):
    """What the next run asks once more.

    Attributes:
        requests: how many, by endpoint, kind and state: failed or invalid.
        before, after: what the next run would have sent, and what it sends now, in all.
    """

    requests: dict[tuple[str, str, str], int]
    before: Estimate
    after: Estimate


def retry(config: RunConfig, ledger: LedgerWriter, states: Collection[str], endpoints: Collection[str] = ()) -> Retried:
    """Have the next run ask once more what failed, or what was invalid at every ask. Nothing is asked here.

    What failed is asked again by every run, but for endpoints that billed more than they may: those only once they
    are told to be here. Of what was invalid the ledger keeps all that it brought and cost, as
    asks below 0. What has a usable answer is never asked again, nor what the run no longer needs; and what was
    told to be asked again twice is asked again once.

    Args:
        states: "failed", "invalid" or both.
        endpoints: of these alone; none: of all.

    Raises:
        UsageError: an input that cannot be used, or an endpoint that the run does not have.
        DataError: bad rows with on_error "fail".
    """
    for name in endpoints:
        if name not in config.by_name:
            raise UnknownNameError("endpoint", name, config.by_name)
    for name in endpoints or config.by_name:
        if FAILED in states and ledger.noted(overbilling(name)):
            ledger.note(overbilling(name), "")
    counts: Counter[tuple[str, str, str]] = Counter()
    keys: list[bytes] = []
    for one in planned(config, ledger):
        name, state = one.request.endpoint.name, one.found.state
        if state not in states or state not in (FAILED, INVALID) or (endpoints and name not in endpoints):
            continue
        counts[name, one.request.kind, state] += 1
        if state == INVALID:
            keys += _keys(ledger, one.request)
    before = _in_all(config, ledger)
    if keys:
        ledger.set_aside(keys)
    return Retried(dict(counts), before, _in_all(config, ledger) if keys else before)


def _keys(ledger: Ledger, request: Request) -> Iterator[bytes]:
    """Of every ask that was made."""
    for ask, asked in asks(ledger, request):
        key = asked.key(ask)
        if ledger.state(key) == INVALID:
            yield key


def _in_all(config: RunConfig, ledger: Ledger) -> Estimate:
    every = estimate(config, ledger).values()
    return Estimate(**{part.name: sum(getattr(one, part.name) for one in every) for part in fields(Estimate)})
