"""A review beside a store: whether the store still says what people were asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from coig_p.errors import DataError
from coig_p.review.drawing import rows_of
from coig_p.review.folder import KEY, KeyRow, Review, prompt_sha256, response_sha256
from coig_p.store.manifest import MANIFEST
from coig_p.store.store import Store


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
        DataError: a query or a response is gone or has another text; names item, query and response.
    """
    asked = [row for row in key if row.query_id]
    rows = rows_of(store, {row.query_id for row in asked})
    again = "The store has changed since the review was drawn: name the store of then, or draw anew: coigp review draw"
    # A store of an older version has no samples: one model may have several answers of one name.
    texts: dict[tuple[str, str, int], set[str]] = {}
    for query_id, found in rows.items():
        for one in found["responses"] or ():
            name = query_id, one["model"] or "", int(one["sample"] or 0)
            texts.setdefault(name, set()).add(response_sha256(one))
    for row in asked:
        where = f"{review.path / KEY} item {row.item}, query {row.query_id!r}"
        if row.query_id not in rows:
            raise DataError(f"{where}: not in {store.path}. {again}")
        if prompt_sha256(rows[row.query_id]) != row.query_sha256:
            raise DataError(f"{where}: its text is another in {store.path}. {again}")
        for side in row.sides:
            said = texts.get((row.query_id, side.model, side.sample))
            named = f"{side.model!r}" + (f", sample {side.sample}" if side.sample else "")
            if said is None:
                raise DataError(f"{where}: no response of {named} in {store.path}. {again}")
            if side.text_sha256 not in said:
                raise DataError(f"{where}: the response of {named} has another text in {store.path}. {again}")
    return Joined(rows, manifest_sha256(store) == review.store["manifest_sha256"])


def manifest_sha256(store: Store) -> str:
    """The hash of a store's manifest.json, by which a review knows the store again."""
    return sha256((store.path / MANIFEST).read_bytes()).hexdigest()
