"""The pool that a benchmark is built from: queries of a store, for people to judge (COIG-P, section 6.1).

One item a query. Which pairs a pool of 5,000 holds decides how many of a small domain can be accepted: drawn by pair,
a domain with few responses a query has few of them. So it is drawn by query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from coig_p.core.arrays import Floats, hash64
from coig_p.errors import UnknownNameError, UsageError
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import Pairs
from coig_p.pairs.labels import Responses
from coig_p.review.drawing import DrawConfig, Order, deal
from coig_p.review.making import Dealer, Made, make_review
from coig_p.review.tasks import Item
from coig_p.reward.bench.form import ROLES
from coig_p.schema import RAW_SCHEMA, without
from coig_p.store.conversations import conversation_masks
from coig_p.store.reading import part_of
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import ROWS_PER_GROUP

FORMS = ("accept", "triple")
WAYS = ("query", "domain", "pair")
POOL, STOP_AFTER, DOUBLE = 5_000, 1_000, 0.1
OPTION = "bench"
"""Where in a review's options it says what it is a pool for."""

_READ = without(
    part_of(RAW_SCHEMA, "query_id", "messages", "tools", "responses"), {"model", "sample", "text", "scores"}
)


@dataclass(frozen=True)
class PoolConfig:
    """What is drawn, and for whom.

    Attributes:
        form: "accept", a pair that people accept or not; "triple", up to five responses that they rank in triples.
        pool: how many queries.
        by: "query", each as likely as any other; "domain", evenly; "pair", the likelier the more pairs it has.
        double: the share of items that a second annotator judges, too.
        stop_after: how many are accepted before no more are asked about.
        domains, split: of the store; all where none is named.
        seed: of every draw.
    """

    form: Literal["accept", "triple"] = "accept"
    pool: int = POOL
    by: Literal["query", "domain", "pair"] = "query"
    double: float = DOUBLE
    stop_after: int = STOP_AFTER
    domains: tuple[str, ...] = ()
    split: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, known in (("form", self.form, FORMS), ("by", self.by, WAYS)):
            if value not in known:
                raise UnknownNameError(name, value, known)
        for name in ("pool", "stop_after"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}={getattr(self, name)}: use a whole number of 1 or more")
        if not 0 <= self.double <= 1:
            raise UsageError(f"double={self.double:g}: use a share from 0 to 1")
        if self.form == "triple" and self.by == "pair":
            raise UsageError("by='pair': of form accept alone, since a triple is no pair. Use query or domain")

    def to_dict(self) -> dict[str, Any]:
        """As review.json has it."""
        return {"pool": self.pool, "by": self.by, "double": self.double, "stop_after": self.stop_after}


@dataclass(frozen=True)
class Pool:
    """A pool that was drawn.

    Attributes:
        made: the review that asks about it.
        unfit: queries that were not drawn, since a benchmark has no form for them: tools, calls, reasoning, or turns
            that do not end with a user's.
        doubled: items that two are asked about.
    """

    made: Made
    unfit: int
    doubled: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return self.made.to_dict() | {"unfit": self.unfit, "doubled": self.doubled}


def make_pool(
    store: Store,
    folder: Path,
    config: PoolConfig,
    annotators: Sequence[str],
    *,
    pairs: PairConfig | None = None,
    gold: Path | None = None,
    overwrite: bool = False,
    advance: Callable[[int], None] = lambda queries: None,
) -> Pool:
    """Draw a pool, and write the review that asks people about it.

    Whole domains go to one annotator each, as many to each as to the others, to within one; items where there are
    fewer domains than annotators.

    Args:
        pairs: which pairs there are, in form accept; of a triple `exclude` alone counts.
        gold: see `coig_p.review.gold`.
        advance: called with the number of queries read since the last call; the store is read twice.

    Raises:
        UsageError: options that cannot be, or nothing to draw.
    """
    if config.double and len(annotators) < 2:
        raise UsageError(f"double={config.double:g}: there is one annotator and nobody else to ask: use 0 (--double 0)")
    given = pairs or PairConfig()
    leave_out = set(_unfit(store, config, advance))
    unfit = len(leave_out)
    if config.form == "triple" and given.exclude is not None:
        leave_out |= set(given.exclude.query_ids)
        given = replace(given, exclude=None)
    evenly = config.by == "domain"
    drawing = DrawConfig(
        form=config.form,
        total=config.pool if evenly else None,
        budget=None if evenly else config.pool,
        domains=config.domains,
        split=config.split,
        seed=config.seed,
    )
    made, _ = make_review(
        store,
        folder,
        drawing,
        annotators,
        pairs=given,
        overlap=1,
        gold=gold,
        order=_by_query(config.seed) if config.form == "accept" and config.by == "query" else None,
        dealer=dealer(annotators, config.seed, config.double),
        leave_out=leave_out,
        overwrite=overwrite,
        options={OPTION: config.to_dict(), "domains": list(config.domains), "split": config.split},
        advance=advance,
    )
    tasks = sum(made.tasks.values()) - sum(made.gold.values())
    return Pool(made, unfit, tasks - made.items)


def _by_query(seed: int) -> Order:
    """An order in which a query is as likely to be first as any other, however many pairs it has."""

    def order(responses: Responses, batch: pa.RecordBatch, pairs: Pairs) -> Sequence[Floats]:
        hashes = [hash64(f"pool {seed} {one}") for one in batch.column("query_id").to_pylist()]
        return [np.array(hashes, np.float64)[pairs.query]]

    return order


def _unfit(store: Store, config: PoolConfig, advance: Callable[[int], None]) -> Iterator[str]:
    """Queries that a benchmark has no form for."""
    for file in store.selected_files(config.domains, config.split):
        if file.conversations == 0:  # an older manifest may not say
            advance(file.rows or 0)
            continue
        for batch in shard_batches(store.path, file, ROWS_PER_GROUP, _READ):
            advance(batch.num_rows)
            conversations, more = conversation_masks(batch)
            for row in np.flatnonzero(conversations).tolist():
                turns = batch.column("messages")[row].as_py() or []
                fits = all(turn["role"] in ROLES for turn in turns) and (not turns or turns[-1]["role"] == "user")
                if more[row] or not fits:
                    yield batch.column("query_id")[row].as_py()


def dealer(annotators: Sequence[str], seed: int, double: float) -> Dealer:
    """Deals whole domains, the largest first, to those who have the fewest, and of these to who has the fewest items.

    Of each domain a share of the items, those with the smallest hash, go to a second annotator, too.
    """

    def dealt(items: Sequence[Item]) -> dict[str, list[Item]]:
        by_domain: dict[str, list[Item]] = {}
        for item in items:
            by_domain.setdefault(item.domain, []).append(item)
        if len(by_domain) < len(annotators):
            given = deal(items, annotators, 1, seed)
        else:
            given = {name: [] for name in annotators}
            domains = dict.fromkeys(annotators, 0)
            for domain, own in sorted(by_domain.items(), key=lambda one: -len(one[1])):
                name = min(
                    annotators,
                    key=lambda one: (domains[one], len(given[one]), hash64(f"deal {seed} {domain} {one}")),
                )
                domains[name] += 1
                given[name] += own
        whose = {item.item: name for name, own in given.items() for item in own}
        again = dict.fromkeys(annotators, 0)
        for own in by_domain.values():
            ranked = sorted(own, key=lambda item: hash64(f"double {seed} {item.item}"))
            for item in ranked[: _share(len(own), double)]:
                others = [name for name in annotators if name != whose[item.item]]
                name = min(others, key=lambda one: (again[one], hash64(f"double {seed} {item.item} {one}")))
                again[name] += 1
                given[name].append(item)
        return given

    return dealt


def _share(number: int, share: float) -> int:
    """A share of a number, rounded half up; at least one of any share at all."""
    return 0 if not share else min(number, max(1, int(number * share + 0.5)))
