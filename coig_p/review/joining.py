"""A review beside a store: whether the store still says what people were asked about, and prefers what it preferred.

What people said counts for or against the side that the store preferred when the review was drawn. Of a store that
prefers another one since, or by another margin, the same answers would say something that nobody has counted.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from coig_p.errors import CoigPError, DataError
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import find_pairs_of
from coig_p.pairs.labels import Responses
from coig_p.review.drawing import rows_of
from coig_p.review.folder import KEY, REVIEW, KeyRow, Review, prompt_sha256, response_sha256
from coig_p.review.majority import Response, response_of
from coig_p.review.ranking import HUMAN
from coig_p.schema import PAIRING_SCHEMA
from coig_p.store.manifest import MANIFEST
from coig_p.store.store import Store

_AGAIN = "The store has changed since the review was drawn: name the store of then, or draw anew: coigp review draw"
_CLOSE = 1e-9  # margins are whole multiples of far more than this
Preferred = dict[tuple[str, frozenset[Response]], tuple[Response, float]]
"""Of two responses of a query the one that a store prefers, and the margin."""


@dataclass(frozen=True)
class Joined:
    """The rows of a store that a review asks about.

    Attributes:
        rows: by query_id, as raw rows without scores.
        same_store: the manifest is the one that the review was drawn from. Where it is not, all texts of the review
            are still there: rows were added, or scores changed.
    """

    rows: dict[str, dict[str, Any]]
    same_store: bool


def check_store(review: Review, key: Sequence[KeyRow], store: Store) -> Joined:
    """See that a store holds every text of a review as people saw it. Gold items with texts of their own are in none.

    Raises:
        DataError: a query or a response is gone or has another text, or a query another domain; names item, query and
            response.
    """
    asked = [row for row in key if row.query_id]
    rows = rows_of(store, {row.query_id for row in asked})
    # A store of an older version has no samples: one model may have several answers of one name.
    texts: dict[tuple[str, str, int], set[str]] = {}
    for query_id, found in rows.items():
        for one in found["responses"] or ():
            name = query_id, one["model"] or "", int(one["sample"] or 0)
            texts.setdefault(name, set()).add(response_sha256(one))
    for row in asked:
        where = f"{review.path / KEY} item {row.item}, query {row.query_id!r}"
        if row.query_id not in rows:
            raise DataError(f"{where}: not in {store.path}. {_AGAIN}")
        if rows[row.query_id]["domain"] != row.domain:
            now = rows[row.query_id]["domain"]
            raise DataError(
                f"{where}: asked about in domain {row.domain!r}, it is in {now!r} in {store.path}. {_AGAIN}"
            )
        if prompt_sha256(rows[row.query_id]) != row.query_sha256:
            raise DataError(f"{where}: its text is another in {store.path}. {_AGAIN}")
        for side in row.sides:
            said = texts.get((row.query_id, side.model, side.sample))
            named = f"{side.model!r}" + (f", sample {side.sample}" if side.sample else "")
            if said is None:
                raise DataError(f"{where}: no response of {named} in {store.path}. {_AGAIN}")
            if side.text_sha256 not in said:
                raise DataError(f"{where}: the response of {named} has another text in {store.path}. {_AGAIN}")
    return Joined(rows, manifest_sha256(store) == review.store["manifest_sha256"])


def check_preferred(review: Review, key: Sequence[KeyRow], store: Store) -> None:
    """See that a store prefers what it preferred when the review was drawn, by the same margins.

    All under the review's own pair options, but for those that choose among a query's pairs: a response that came
    later may have another pair chosen, and says nothing of this one. People's own verdicts, which a review may have
    put there since, may be left out.

    Raises:
        DataError: the first item of which the store says something else, with what it said and what it says; or
            review.json does not hold pair options.
        StoreError: the store cannot be read.
    """
    asked = [row for row in key if row.chosen is not None]
    if not asked:
        return
    config = _options_of(review)
    query_ids = {row.query_id for row in asked}
    now = _preferred(store, query_ids, config, by_people=True)
    if all(_is_same(row, now) for row in asked):
        return
    before = _preferred(store, query_ids, config, by_people=False)
    for row in asked:
        if not _is_same(row, now) and not _is_same(row, before):
            where = f"{review.path / KEY} item {row.item}, query {row.query_id!r}"
            chosen, other = _both(row)
            found = now.get((row.query_id, frozenset((chosen, other))))
            said = f"makes no pair of them at threshold {config.threshold:g}"
            if found is not None:
                said = f"prefers {_named(found[0])} by {found[1]:g}"
            raise DataError(
                f"{where}: the store preferred {_named(chosen)} to {_named(other)} by {row.margin:g}, and {store.path} "
                f"{said}: what people said would count for other labels. {_AGAIN}"
            )


def _options_of(review: Review) -> PairConfig:
    told = dict(review.pairs) | {"strategy": "all", "max_pairs_per_query": None}
    told = {name: value for name, value in told.items() if name not in ("agree_with", "min_reward_margin")}
    try:
        if told.get("judges") is not None:
            told["judges"] = tuple(told["judges"])
        config = PairConfig(**told)
        if config.threshold is None:
            raise TypeError("no threshold")
    except (CoigPError, TypeError) as error:
        raise DataError(f"{review.path / REVIEW}: pairs does not hold the pair options of the draw: {error}") from None
    return config


def _preferred(store: Store, query_ids: Collection[str], config: PairConfig, *, by_people: bool) -> Preferred:
    """What the store prefers of every two responses of some queries."""
    wanted = pa.array(sorted(query_ids), pa.string())
    found: Preferred = {}
    for batch in store.batches(schema=PAIRING_SCHEMA):
        batch = batch.filter(pc.is_in(batch.column("query_id"), value_set=wanted))
        if not batch.num_rows:
            continue
        if not by_people:
            batch = _without_people(batch)
        responses = Responses.of(batch)
        pairs = find_pairs_of(responses, batch, config)
        ids = batch.column("query_id").to_pylist()
        names = [
            (one["model"] or "", int(one["sample"] or 0), response_sha256(one))
            for one in batch.column("responses").flatten().to_pylist()
        ]
        for row, chosen, rejected, margin in zip(
            pairs.query.tolist(), pairs.chosen.tolist(), pairs.rejected.tolist(), pairs.margin.tolist(), strict=True
        ):
            found[ids[row], frozenset((names[chosen], names[rejected]))] = names[chosen], margin
    return found


def _without_people(batch: pa.RecordBatch) -> pa.RecordBatch:
    column = batch.column("comparisons")
    kept = [[one for one in row or () if not (one["judge"] or "").startswith(HUMAN)] for row in column.to_pylist()]
    at = batch.schema.get_field_index("comparisons")
    return batch.set_column(at, batch.schema.field(at), pa.array(kept, column.type))


def _is_same(row: KeyRow, preferred: Preferred) -> bool:
    chosen, other = _both(row)
    found = preferred.get((row.query_id, frozenset((chosen, other))))
    return (
        found is not None
        and found[0] == chosen
        and row.margin is not None
        and math.isclose(found[1], row.margin, rel_tol=0, abs_tol=_CLOSE)
    )


def _both(row: KeyRow) -> tuple[Response, Response]:
    """The response that the key calls chosen, and the other."""
    one, other = sorted(row.sides, key=lambda side: side.side != row.chosen)
    return response_of(one), response_of(other)


def _named(response: Response) -> str:
    model, sample, _ = response
    return f"{model!r}" + (f", sample {sample}" if sample else "")


def manifest_sha256(store: Store) -> str:
    """The hash of a store's manifest.json, by which a review knows the store again."""
    return sha256((store.path / MANIFEST).read_bytes()).hexdigest()
