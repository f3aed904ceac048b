"""Which response a query is shown with, and which query of a group is shown, in forms of one row a query (TaP).

The responses of one named model rather than each query's best, so that no pair and no score is needed; and of all
queries of one question type a single one, drawn at random: one whose hash of (seed, query_id) is smallest, so that
neither the order of rows nor shards nor other groups change it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Mask, group_starts, hash64
from coig_p.core.text import printable
from coig_p.errors import DataError, UnknownNameError, UsageError
from coig_p.export.trainers.forms import Form
from coig_p.pairs.labels import Responses
from coig_p.pairs.rows import ResponseRows, Rows
from coig_p.pairs.turns import Shape
from coig_p.store.manifest import Manifest
from coig_p.store.meta import read_meta

_SCOPES = {"question_type": ("writer", "code")}
"""Keys that say a thing only together with others, where a query's meta has them."""

_FORMS = "trl-sft, llama-factory-sft, trl-grpo and verl"


def check_single(form: Form, manifest: Manifest, response_of: str | None, one_per: str | None, weighted: bool) -> None:
    """Raise UsageError where an option cannot be right for a form, UnknownNameError for a model that is not there."""
    for option, value in (("response_of (--response-of)", response_of), ("one_per (--one-per)", one_per)):
        if value is not None and form.rows != "sft":
            raise UsageError(
                f"{option} is for forms of one row a query, {_FORMS}: rows of {form.trainer} are others. Leave it out"
            )
    if one_per is not None and weighted:
        raise UsageError("one_per (--one-per) shows one query of a group once: leave out --weights")
    if one_per is not None and not one_per.strip():
        raise UsageError("one_per (--one-per) is blank: name a key of meta, as question_type")
    if response_of is not None and manifest.models and response_of not in manifest.models:
        raise UnknownNameError("model", response_of, manifest.models)


def responses_of(batch: pa.RecordBatch, model: str, shape: Shape) -> Rows:
    """Each query's response of a model, the one of its lowest sample; scored or not."""
    responses = Responses.of(batch)
    own = np.flatnonzero(pc.fill_null(pc.equal(responses.model_column, model), False).to_numpy(zero_copy_only=False))
    own = own[np.lexsort((own, responses.sample[own], responses.query[own]))]
    own = own[group_starts(responses.query[own])]
    found = ResponseRows(responses.query[own], own, np.ones(len(own), dtype=bool), np.full(len(own), np.nan))
    return Rows(batch, responses, found, "sft", shape)


class OnePer:
    """Which rows of a split stay, one for each value of a key of `meta`.

    Memory holds a few numbers for each group, and for each row nothing.
    """

    def __init__(self, key: str, seed: int) -> None:
        self.key, self.seed = key, seed
        self._first: dict[tuple[Any, ...], tuple[tuple[int, str], int, str]] = {}
        self._seen = 0
        self._winners: npt.NDArray[np.uint64] | None = None

    def add(self, rows: Rows) -> npt.NDArray[np.uint64]:
        """Count rows, and mark each with its number.

        Raises:
            DataError: a query whose meta does not have the key as a text, a number or a truth value.
        """
        batch, query = rows.batch, rows.found.query.tolist()
        ids = batch.column("query_id").take(pa.array(rows.found.query)).to_pylist()
        domains = batch.column("domain").take(pa.array(rows.found.query)).to_pylist()
        told = batch.column("meta").take(pa.array(rows.found.query)).to_pylist()
        marks = np.arange(self._seen, self._seen + len(query), dtype=np.uint64)
        self._seen += len(query)
        for mark, name, domain, meta in zip(marks.tolist(), ids, domains, told, strict=True):
            group = group_of(name, meta, self.key)
            drawn = (hash64(f"one per {self.seed} {name}"), name)
            if group not in self._first or drawn < self._first[group][0]:
                self._first[group] = (drawn, mark, domain)
        self._winners = None
        return marks

    def kept(self, marks: npt.NDArray[np.uint64]) -> Mask:
        """Which rows stay, once all of the split were counted."""
        if self._winners is None:
            self._winners = np.array(sorted(mark for _, mark, _ in self._first.values()), np.uint64)
        return np.isin(marks, self._winners)

    def rows(self) -> dict[str, int]:
        """How many stay, by domain."""
        found: dict[str, int] = {}
        for _, _, domain in self._first.values():
            found[domain] = found.get(domain, 0) + 1
        return found

    @property
    def left_out(self) -> int:
        """How many rows had another of their group in their place."""
        return self._seen - len(self._first)


def group_of(query_id: str, meta: str | None, key: str) -> tuple[Any, ...]:
    """The values of `key` and of those that it goes with, in a query's meta.

    Raises:
        DataError: there is no such value.
    """
    told = read_meta(query_id, meta)
    if not isinstance(told.get(key), str | int | float):
        has = ", ".join(printable(str(name)) for name in told) or "nothing"
        raise DataError(
            f"query_id {query_id!r}: its meta has no {key!r} to take one query of each; it has {has}. Name another "
            "key, or leave such queries out (--domain, --exclude)"
        )
    # A JSON text of each, since 1, 1.0 and true are equal in Python.
    keys: Sequence[str] = (key, *_SCOPES.get(key, ()))
    return tuple(json.dumps(told.get(name), sort_keys=True) for name in keys)
