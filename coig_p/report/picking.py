"""Which queries of a store to look at: those that one asks for, the first first."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from coig_p.core.arrays import Floats, Index, hash64
from coig_p.errors import UnknownNameError
from coig_p.pairs.agreeing import reward_names
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import find_pairs_of
from coig_p.pairs.labels import Responses
from coig_p.report.one_query import Place
from coig_p.schema import RAW_SCHEMA, SCORE_GRID, without
from coig_p.stats.apart import Apart, most_apart
from coig_p.store.reading import part_of
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import ROWS_PER_GROUP
from coig_p.validation import load_rules
from coig_p.validation.gate import check

_READ = without(RAW_SCHEMA, {"meta", "rationale", "source"})
_NAMED = part_of(RAW_SCHEMA, "query_id", "domain")
_BARE = part_of(RAW_SCHEMA, "query_id")
Advance = Callable[[int], None]
Without = Callable[[str, pa.StringArray], Sequence[int] | Index]


class Picked(NamedTuple):
    """A query, and why it was picked, for people: a line, or several."""

    place: Place
    why: str


def first(store: Store, number: int, domains: Collection[str], advance: Advance) -> list[Picked]:
    """The first queries of the store."""
    found: list[Picked] = []
    for place, _, _ in _rows(store, _BARE, domains, advance):
        if len(found) == number:
            break
        found.append(Picked(place, ""))
    return found


def drawn(
    store: Store,
    number: int,
    domains: Collection[str],
    seed: int,
    advance: Advance,
    without: Without = lambda domain, ids: (),
) -> list[Picked]:
    """Queries drawn by a hash of (seed, query_id), so that neither shards nor order change who is drawn.

    Args:
        without: of a domain and some query_ids, the places of those that are not drawn.
    """
    files = store.data_files()

    def keys() -> Iterator[tuple[int, Place]]:
        for place, batch in _batches(store, _BARE, domains):
            ids = batch.column("query_id")
            left = np.delete(np.arange(len(ids)), np.asarray(without(str(files[place.file].domain), ids), np.int64))
            for at in left.tolist():
                yield hash64(f"{seed} {ids[at].as_py()}"), Place(place.file, place.row + at)
            advance(len(ids))

    return [Picked(place, "") for _, place in heapq.nsmallest(number, keys(), key=lambda one: one[0])]


def disagreeing(
    store: Store, number: int, domains: Collection[str], config: PairConfig, advance: Advance
) -> list[Picked]:
    """Where the pairs are on which two judges disagree most: a query once, however many of the pairs are its."""
    return where_apart(most_apart(store, number, config, domains=domains, advance=advance).of())


def where_apart(apart: Iterable[Apart]) -> list[Picked]:
    """The queries of pairs on which judges disagree, each once."""
    found: dict[Place, list[str]] = {}
    for one in apart:
        found.setdefault(Place(one.file, one.row), []).append(
            f"{one.judge} and {one.other} are {one.apart:g} apart on {one.first + 1}. {one.first_model} and "
            f"{one.second + 1}. {one.second_model}"
        )
    return [Picked(place, "\n".join(why)) for place, why in found.items()]


def near(
    store: Store, number: int, domains: Collection[str], config: PairConfig, margin: float, advance: Advance
) -> list[Picked]:
    """Where a pair's margin is nearest to one; the threshold of `config` is not read."""
    smallest = 0 if config.calibrate is None else 1 / SCORE_GRID
    both = config.orders(store.manifest)
    config = replace(config, threshold=smallest, comparison_threshold=None, both_orders=both)

    def look(responses: Responses, batch: pa.RecordBatch) -> tuple[Floats, Callable[[int], str]]:
        pairs = find_pairs_of(responses, batch, config)
        away = np.full(batch.num_rows, np.nan)
        np.fmin.at(away, pairs.query, np.abs(pairs.margin - margin))

        def why(at: int) -> str:
            own = np.flatnonzero(pairs.query == at)
            closest = own[np.argmin(np.abs(pairs.margin[own] - margin))]
            return f"a pair has margin {pairs.margin[closest]:g}"

        return away, why

    return _best(store, number, domains, look, advance, reward_names(config))


def found_by(store: Store, number: int, domains: Collection[str], rule: str, advance: Advance) -> list[Picked]:
    """Where a rule finds something, in the order of its findings.

    Raises:
        UnknownNameError: there is no such rule.
    """
    rules = load_rules()
    if rule not in rules:
        raise UnknownNameError("rule", rule, rules)
    findings = check(store, rules={rule: rules[rule]}, domains=domains, advance=advance).findings
    wanted: dict[tuple[str, str], str] = {}
    for row in chain.from_iterable(batch.to_pylist() for batch in findings.to_batches(ROWS_PER_GROUP)):
        if len(wanted) == number:
            break
        if row["query_id"] is not None:
            told = f"{rule}: {row['field'] or 'the query'}" + (f": {row['excerpt']}" if row["excerpt"] else "")
            wanted.setdefault((row["domain"], row["query_id"]), told)
    places: dict[tuple[str, str], Place] = {}
    for place, batch, at in _rows(store, _NAMED, domains, lambda queries: None):
        key = batch.column("domain")[at].as_py(), batch.column("query_id")[at].as_py()
        if key in wanted:
            places[key] = place
    return [Picked(places[key], why) for key, why in wanted.items() if key in places]


def _rows(
    store: Store, schema: pa.Schema, domains: Collection[str], advance: Advance
) -> Iterator[tuple[Place, pa.RecordBatch, int]]:
    for place, batch in _batches(store, schema, domains):
        for at in range(batch.num_rows):
            yield Place(place.file, place.row + at), batch, at
        advance(batch.num_rows)


def _batches(
    store: Store, schema: pa.Schema, domains: Collection[str], rewards: Sequence[str] = ()
) -> Iterator[tuple[Place, pa.RecordBatch]]:
    numbers = {file.path: number for number, file in enumerate(store.data_files())}
    for file in store.selected_files(domains):
        row = 0
        for batch in shard_batches(store.path, file, ROWS_PER_GROUP, schema, rewards=rewards):
            yield Place(numbers[file.path], row), batch
            row += batch.num_rows


def _best(
    store: Store,
    number: int,
    domains: Collection[str],
    look: Callable[[Responses, pa.RecordBatch], tuple[Floats, Callable[[int], str]]],
    advance: Advance,
    rewards: Sequence[str] = (),
) -> list[Picked]:
    """The queries with the smallest values, the first of equal ones; those without a value are none."""
    best: list[tuple[float, Picked]] = []
    for place, batch in _batches(store, _READ, domains, rewards):
        value, why = look(Responses.of(batch), batch)
        order = np.argsort(value, kind="stable")[:number]
        own = [
            (float(value[at]), Picked(Place(place.file, place.row + int(at)), why(int(at))))
            for at in order
            if not np.isnan(value[at])
        ]
        best = sorted([*best, *own], key=lambda one: one[0])[:number]
        advance(batch.num_rows)
    return [picked for _, picked in best]
