"""Which queries a page lists: a look at the store as its address says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Mask
from coig_p.core.normalize import comparison_form
from coig_p.core.text import printable
from coig_p.errors import UnknownNameError, UsageError

PAGE = 50
_NAMED = ("domain", "source", "model", "model_too", "judge", "judge_too", "rule")  # names, of which every space counts
ORDERS = {"margin": "margin", "disagreement": "disagreement", "length": "length_difference", "responses": "responses"}


@dataclass(frozen=True)
class Look:
    """What is looked for; everything that is not said looks for all.

    Attributes:
        q: in the comparison form of what was asked, or in a query_id as it stands.
        model_too, judge_too: beside the first, so that both answered, or both judged.
        rule: of a check, that found something in the query.
        margin, disagreement, length, responses: at least this.
        sort: a key of ORDERS, the largest first; "" for the store's order.
        page: counted from 1, of PAGE queries.
    """

    q: str = ""
    domain: str = ""
    source: str = ""
    model: str = ""
    model_too: str = ""
    judge: str = ""
    judge_too: str = ""
    rule: str = ""
    margin: float | None = None
    disagreement: float | None = None
    length: float | None = None
    responses: float | None = None
    sort: str = ""
    page: int = 1

    @classmethod
    def of(cls, address: Mapping[str, str]) -> Look:
        """What an address says.

        Raises:
            UsageError: a bound or a page that is no number, or an order that is none.
        """
        found: dict[str, Any] = {}
        for option in fields(cls):
            value = address.get(option.name, "")
            if option.name not in _NAMED:
                value = value.strip()
            if not value:
                continue
            if option.name in ("margin", "disagreement", "length", "responses"):
                number = _number(value)
                if number is None or not 0 <= number < 10**9:
                    raise UsageError(f"{option.name}={value!r}: use a number of 0 or more")
                found[option.name] = number
            elif option.name == "page":
                number = _number(value)
                if number is None:
                    raise UsageError(f"page={value!r}: use a number")
                found["page"] = max(1, int(min(number, 10**9)))
            elif option.name == "sort" and value not in ORDERS:
                raise UnknownNameError("sort", value, ORDERS)
            else:
                found[option.name] = value
        return cls(**found)


@dataclass(frozen=True)
class Listed:
    """One page of what was found.

    Attributes:
        rows: of QUERIES, at most PAGE.
        total: how many were found.
        pages: how many pages that is, at least 1.
    """

    rows: list[dict[str, Any]]
    total: int
    page: int
    pages: int


def listed(queries: pa.Table, look: Look, findings: pa.Table | None = None) -> Listed:
    """The queries that are looked for, in the order that is asked for.

    Args:
        queries: of QUERIES.
        findings: of a check of this store; None where there is none, and then no rule finds anything.
    """
    places = found_places(queries, look, findings)
    pages = max(1, -(-len(places) // PAGE))
    page = min(look.page, pages)
    rows = queries.take(pa.array(places[(page - 1) * PAGE : page * PAGE])).to_pylist()
    return Listed(rows, len(places), page, pages)


def found_places(queries: pa.Table, look: Look, findings: pa.Table | None = None) -> Any:
    """The places of those rows among all, in order."""
    kept = np.ones(queries.num_rows, bool)
    if look.q:
        kept &= _search(queries, look.q)
    for name, value in (("domain", look.domain), ("source", look.source)):
        if value:
            kept &= _mask(pc.is_in(queries.column(name), _named(queries.column(name), value)))
    both = {"models": (look.model, look.model_too), "judges": (look.judge, look.judge_too)}
    for name, value in ((name, value) for name, values in both.items() for value in values):
        if value:
            kept &= _holding(queries.column(name), _named(pc.list_flatten(queries.column(name)), value))
    if look.rule:
        kept &= _found_by(queries, look.rule, findings)
    least = (
        ("margin", look.margin),
        ("disagreement", look.disagreement),
        ("length_difference", look.length),
        ("responses", look.responses),
    )
    for name, bound in least:
        if bound is not None:
            kept &= _mask(pc.greater_equal(queries.column(name), pa.scalar(bound, pa.float64())))
    places = np.flatnonzero(kept)
    if look.sort:
        value = queries.column(ORDERS[look.sort]).to_numpy(zero_copy_only=False)[places].astype(np.float64)
        places = places[np.argsort(-value, kind="stable")]  # those without a value are NaN, and last
    return places


def _search(queries: pa.Table, text: str) -> Mask:
    found = _mask(pc.match_substring(queries.column("query_id"), text))
    form = comparison_form(text)
    return found | _mask(pc.match_substring(queries.column("form"), form)) if form else found


def _named(names: pa.ChunkedArray, value: str) -> pa.Array:
    """The names that an address means: this one; where there is none, those that a form shows and sends like this."""
    found = pc.unique(names.drop_null()).to_pylist()
    if value not in found:
        shown = value.replace("\r\n", "\n")  # as forms send line breaks
        return pa.array([name for name in found if printable(name) == shown], pa.string())
    return pa.array([value])


def _holding(lists: pa.ChunkedArray, names: pa.Array) -> Mask:
    """Which lists hold one of these names."""
    parts = []
    for chunk in lists.chunks:
        sizes = pc.fill_null(pc.list_value_length(chunk), 0).to_numpy(zero_copy_only=False)
        row = np.repeat(np.arange(len(chunk)), sizes)
        parts.append(np.bincount(row[_mask(pc.is_in(chunk.flatten(), names))], minlength=len(chunk)) > 0)
    return np.concatenate(parts) if parts else np.zeros(0, bool)


def _found_by(queries: pa.Table, rule: str, findings: pa.Table | None) -> Mask:
    if findings is None:
        return np.zeros(queries.num_rows, bool)
    ids = findings.filter(pc.equal(findings.column("rule"), rule)).column("query_id")
    return _mask(pc.is_in(queries.column("query_id"), pc.drop_null(ids).combine_chunks()))


def _mask(found: Any) -> Mask:
    return np.asarray(pc.fill_null(found, False).to_numpy(zero_copy_only=False), bool)


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if np.isfinite(number) else None
