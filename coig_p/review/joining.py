"""A review beside the store it was drawn from: its queries found again, and nothing that it showed changed since."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.text import printable
from coig_p.errors import DataError
from coig_p.pairs.config import PairConfig
from coig_p.pairs.labels import Responses, compared_pairs, response_values
from coig_p.review.folder import KeyRow, Review, prompt_sha256, response_sha256
from coig_p.review.items import Response
from coig_p.schema import PAIRING_SCHEMA, RAW_SCHEMA
from coig_p.stats.agreement import judges_of
from coig_p.store.manifest import MANIFEST
from coig_p.store.store import Store
from coig_p.store.writing import sha256_of

HUMAN = "human:"
"""What stands before the name of a person in the name of a judge."""
Unit = tuple[str, Response, Response]
"""A query and two of its responses."""


def is_same_store(review: Review, store: Store) -> bool:
    """Whether a store is, byte for byte, the one that the review was drawn from."""
    return sha256_of(store.path / MANIFEST) == review.store["manifest_sha256"]


def check_texts(store: Store, rows: Iterable[KeyRow]) -> None:
    """Raise DataError where a query or a response that was shown is missing from the store, or has another text."""
    shown: dict[str, list[KeyRow]] = {}
    for row in rows:
        if row.query_id:  # a gold item may bring texts of its own
            shown.setdefault(row.query_id, []).append(row)
    found: set[str] = set()
    for batch in _of_queries(store, {row.domain for own in shown.values() for row in own}, shown, RAW_SCHEMA):
        for raw in batch.to_pylist():
            found.add(raw["query_id"])
            there = {(one["model"], one["sample"]): response_sha256(one) for one in raw["responses"] or ()}
            asked = prompt_sha256(raw)
            for row in shown[raw["query_id"]]:
                if asked != row.query_sha256:
                    raise _stale(store, row, "its query has another text now")
                for side in row.sides:
                    if there.get(side.response) != side.text_sha256:
                        what = "has another text now" if side.response in there else "is no longer there"
                        raise _stale(store, row, f"the response of {side.model}, sample {side.sample}, {what}")
    for query_id, own in shown.items():
        if query_id not in found:
            raise _stale(store, own[0], "the query is no longer there")


def _stale(store: Store, row: KeyRow, what: str) -> DataError:
    where = printable(f"{store.path}: domain {row.domain}, query {row.query_id}, item {row.item}: {what}")
    return DataError(f"{where}. What people said was of the old text: draw anew with coigp review draw")


def judge_verdicts(store: Store, units: Collection[Unit], include_self_judged: bool) -> dict[Unit, dict[str, float]]:
    """What each judge of a store says of two responses: 1 where it prefers the first, 0 the other, .5 neither.

    Scores come before comparisons. People, whose judgements were applied, are none of these judges.
    """
    wanted: dict[str, list[Unit]] = {}
    for unit in units:
        wanted.setdefault(unit[0], []).append(unit)
    config = PairConfig(include_self_judged=include_self_judged)
    found: dict[Unit, dict[str, float]] = {unit: {} for unit in units}
    for batch in _of_queries(store, store.manifest.domains, wanted, PAIRING_SCHEMA):
        responses = Responses.of(batch)
        models, ids = responses.model.names, batch.column("query_id").to_pylist()
        places = {
            (ids[row], models[code], sample): at
            for at, (row, code, sample) in enumerate(
                zip(responses.query.tolist(), responses.model.code.tolist(), responses.sample.tolist(), strict=True)
            )
        }
        pairs = {
            unit: (places[unit[0], *unit[1]], places[unit[0], *unit[2]])
            for query_id in ids
            for unit in wanted[query_id]
            if (unit[0], *unit[1]) in places and (unit[0], *unit[2]) in places
        }
        for judge in judges_of(responses, batch, config):
            if not judge.startswith(HUMAN):
                for unit, verdict in _verdicts(responses, batch, replace(config, judges=(judge,)), pairs):
                    found[unit][judge] = verdict
    return found


def _verdicts(
    responses: Responses, batch: pa.RecordBatch, config: PairConfig, pairs: Mapping[Unit, tuple[int, int]]
) -> Iterator[tuple[Unit, float]]:
    values, _, scored = response_values(responses, config)
    compared = compared_pairs(responses, batch, config)
    sides = zip(compared.low.tolist(), compared.high.tolist(), strict=True)
    margins = dict(zip(sides, (compared.low_value - compared.high_value).tolist(), strict=True))
    for unit, (one, other) in pairs.items():
        if scored[one] and scored[other]:
            yield unit, _sign(int(values[one]) - int(values[other]))
        elif (margin := margins.get((min(one, other), max(one, other)))) is not None:
            yield unit, _sign(margin if one < other else -margin)


def _sign(margin: int) -> float:
    return 0.5 if not margin else float(margin > 0)


def _of_queries(
    store: Store, domains: Iterable[str], query_ids: Collection[str], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """The rows of some queries, of whatever domains the store still has."""
    ids = pa.array(list(query_ids), pa.string())
    for domain in dict.fromkeys(domains):
        if domain in store.manifest.domains:
            for batch in store.batches(domain, schema=schema):
                rows = batch.filter(pc.is_in(batch.column("query_id"), ids))
                if rows.num_rows:
                    yield rows
