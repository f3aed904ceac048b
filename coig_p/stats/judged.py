"""What is summed over a store to examine its judges: exact, in any order, of any size.

Intervals need to know how much queries differ, so sums are kept for blocks of queries, by a hash of the query's id: a
store of few queries has about one a block, a large one many, and what is kept does not grow with it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from coig_p.core.arrays import Index, Ints, Mask, group_starts, hash64
from coig_p.pairs.config import PairConfig
from coig_p.pairs.labels import Responses, response_values
from coig_p.schema import PAIRING_SCHEMA
from coig_p.stats.agreement import judges_of, times
from coig_p.stats.said import PERSON, Opinions
from coig_p.store.fetching import over_shards
from coig_p.store.manifest import StoreFile
from coig_p.store.sharing import workers_for
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import ROWS_PER_GROUP

BLOCKS = 512
ALL = PairConfig(include_self_judged=True)
"""Every score counts: what a judge gives its own answers is what is asked."""


class Sums(NamedTuple):
    """Of responses that the same k judges scored, N rows: each a model in a domain and a block of queries.

    Attributes:
        key: N, ascending: group * BLOCKS + block.
        number: N responses.
        total: (N, k), for each judge the sum of its scores, in units of 1/scale.
        products: (N, k, k), sums of products of two judges' scores, in units of 1/scale**2.
    """

    key: Index
    number: Index
    total: Ints
    products: Ints


@dataclass
class Judged:
    """Sums of a part of a store: an accumulator, exact in any order.

    Attributes:
        groups: (domain, model) -> its number in keys.
        tables: by the judges, in alphabetical order.
        scale: what scores are whole numbers of.
        blocks: how many queries with a score are in each block.
        missing: scores that are not there, by judge; "" for one without a name.
        opinions: of every two responses.
    """

    groups: dict[tuple[str, str], int] = field(default_factory=dict)
    tables: dict[tuple[str, ...], Sums] = field(default_factory=dict)
    scale: int = 1
    blocks: Counter[int] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    opinions: Opinions = field(default_factory=Opinions)

    def add(self, batch: pa.RecordBatch, person: str = PERSON) -> None:
        """Count a batch of raw rows.

        Args:
            person: how the name of a judge begins who is a person.
        """
        responses = Responses.of(batch)
        names = judges_of(responses, None, ALL)
        block = np.array([hash64(str(one)) % BLOCKS for one in batch.column("query_id").to_pylist()], np.int64)
        codes, numbers = np.unique(responses.judge.code[~np.isfinite(responses.score)], return_counts=True)
        for code, number in zip(codes.tolist(), numbers.tolist(), strict=True):
            self.missing[responses.judge.names[code] if code >= 0 else ""] += number
        self.opinions.add(responses, batch, block, person)
        if not names:
            return
        each = [response_values(responses, ALL.of_one_judge(name)) for name in names]
        scale = math.lcm(*(one for _, one, _ in each))
        values = np.stack([times(value, scale // one, 4) for value, one, _ in each], 1)
        seen = np.stack([scored for _, _, scored in each], 1)
        scored = np.unique(responses.query[seen.any(1)])
        self.blocks.update(block[scored].tolist())
        group = self._groups(batch, responses)
        found = Judged(self.groups, _tables(group * BLOCKS + block[responses.query], names, values, seen), scale)
        self._take(found, np.arange(len(self.groups)))

    def merge(self, other: Judged) -> None:
        """Take in what was counted elsewhere."""
        places = np.array([self._number(group) for group in other.groups], np.int64)
        self._take(other, places)
        self.blocks.update(other.blocks)
        self.missing.update(other.missing)
        self.opinions.merge(other.opinions)

    def _number(self, group: tuple[str, str]) -> int:
        return self.groups.setdefault(group, len(self.groups))

    def _groups(self, batch: pa.RecordBatch, responses: Responses) -> Index:
        """R: the number of each response's group."""
        domains = batch.column("domain").to_pylist()
        known = sorted(set(domains))
        names = [*responses.model.names, ""]  # the last for one without a name
        places = np.array([known.index(domain) for domain in domains], np.int64)
        code = np.where(responses.model.code < 0, len(names) - 1, responses.model.code)
        cell = places[responses.query] * len(names) + code
        table = np.zeros(len(known) * len(names), np.int64)
        for one in np.unique(cell).tolist():
            table[one] = self._number((known[one // len(names)], names[one % len(names)]))
        return table[cell]

    def _take(self, other: Judged, places: Index) -> None:
        common = math.lcm(self.scale, other.scale)
        if common != self.scale:
            self.tables = {judges: _scaled(sums, common // self.scale) for judges, sums in self.tables.items()}
            self.scale = common
        for judges, sums in other.tables.items():
            sums = _scaled(sums, common // other.scale)
            sums = sums._replace(key=places[sums.key // BLOCKS] * BLOCKS + sums.key % BLOCKS)
            held = self.tables.get(judges)
            if held is not None:
                sums = Sums(*(np.concatenate(parts) for parts in zip(held, sums, strict=True)))
            self.tables[judges] = _reduced(sums)


def judge_sums(
    store: Store,
    *,
    domains: Collection[str] = (),
    person: str = PERSON,
    added: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    num_proc: int | None = 1,
    advance: Callable[[int], None] = lambda queries: None,
) -> Judged:
    """Sums of a store.

    Args:
        domains: these alone; default all.
        person: how the name of a judge begins who is a person.
        added: comparisons that the store does not hold, by query_id, as those of a review.
        num_proc: processes that share the shards; None for as many as pay (see `coig_p.store.sharing`).
        advance: called with the number of queries read since the last call.

    Raises:
        UnknownNameError: the store has no such domain.
        StoreError: a shard that cannot be read.
    """
    files = store.selected_files(domains)
    found = Judged()
    given = (person, added or {})
    for file, part in over_shards(_of_shard, store.path, given, files, workers_for(files, num_proc)):
        found.merge(part)
        advance(file.rows or 0)
    return found


def _of_shard(root: Path, person: str, added: Mapping[str, Sequence[Mapping[str, Any]]], file: StoreFile) -> Judged:
    found = Judged()
    for batch in shard_batches(root, file, ROWS_PER_GROUP, PAIRING_SCHEMA, threads=False):
        found.add(_with_more(batch, added) if added else batch, person)
    return found


def _with_more(batch: pa.RecordBatch, added: Mapping[str, Sequence[Mapping[str, Any]]]) -> pa.RecordBatch:
    """A batch with more comparisons behind its own."""
    more = [added.get(one, ()) for one in batch.column("query_id").to_pylist()]
    if not any(more):
        return batch
    at = batch.schema.get_field_index("comparisons")
    kind = batch.schema.field(at).type
    names = [one.name for one in kind.value_type]
    own = batch.column(at).to_pylist()
    rows = [
        [*(old or ()), *({name: one[name] for name in names} for one in new)]
        for old, new in zip(own, more, strict=True)
    ]
    return batch.set_column(at, "comparisons", pa.array(rows, kind))


def _tables(key: Index, names: Sequence[str], values: Ints, seen: Mask) -> dict[tuple[str, ...], Sums]:
    at = np.flatnonzero(seen.any(1))
    patterns, pattern = np.unique(seen[at], axis=0, return_inverse=True)
    found = {}
    for which, judged in enumerate(patterns):
        own = at[pattern.reshape(-1) == which]
        scores = values[own][:, judged]
        if int(np.abs(scores).max(initial=0)) ** 2 * len(own) >= 2**62:
            scores = scores.astype(object)  # Python's whole numbers, which have no end
        products = scores[:, :, None] * scores[:, None, :]
        judges = tuple(name for name, one in zip(names, judged.tolist(), strict=True) if one)
        found[judges] = _reduced(Sums(key[own], np.ones(len(own), np.int64), scores, products))
    return found


def _reduced(sums: Sums) -> Sums:
    """Rows of one key added up."""
    order = np.argsort(sums.key, kind="stable")
    key = sums.key[order]
    starts = group_starts(key)
    if len(starts) == len(key):
        return Sums(*(part[order] for part in sums))
    parts = (np.add.reduceat(_safe(part[order], len(key)), starts, axis=0) for part in sums[1:])
    return Sums(key[starts], *parts)


def _safe(values: Ints, terms: int) -> Ints:
    """In Python's whole numbers where a sum of so many could overflow."""
    large = values.dtype != object and int(np.abs(values).max(initial=0)) * terms >= 2**63
    return values.astype(object) if large else values


def _scaled(sums: Sums, factor: int) -> Sums:
    if factor == 1:
        return sums
    return sums._replace(total=_times(sums.total, factor), products=_times(sums.products, factor * factor))


def _times(values: Ints, factor: int) -> Ints:
    return _safe(values, factor) * factor
