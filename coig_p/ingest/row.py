"""A row of a file in the nested shape, or with the reason why it has none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from coig_p.ingest.fields import ALIASES, FormConfig
from coig_p.ingest.forms import shape
from coig_p.ingest.readers import RawRow
from coig_p.ingest.values import Rejected
from coig_p.store.conversations import CALLS

_WITH_SCHEMAS = frozenset((*ALIASES["tools"], CALLS, "function_call"))
"""Fields whose objects have keys of their own, which a column gives to every row."""


class Row(NamedTuple):
    """A row on its way through the checks.

    Attributes:
        value: in the nested shape; `raw` is as the file has it.
        problem: why it could not be read or brought into that shape.
        textual: every value of the file is text.
        inside, dropped: see `coig_p.ingest.fields.Shaped`.
    """

    file: str
    line: int
    value: Any
    problem: Rejected | None
    raw: Any
    upstream: Callable[[str], str]
    ignored: Collection[str]
    textual: bool
    inside: Mapping[str, Any] = MappingProxyType({})
    dropped: Collection[str] = ()


def shaped(row: RawRow, form: str, config: FormConfig) -> Row:
    """A row of a file in the nested shape, with what says where its values came from."""
    whole = Row(
        file=row.file,
        line=row.line,
        value=row.value,
        problem=None if row.problem is None else Rejected("", *row.problem),
        raw=row.value,
        upstream=lambda field: field,
        ignored=(),
        textual=row.textual,
    )
    if row.problem is not None or not isinstance(row.value, dict):
        return whole
    value = _as_said(row.value, {*_WITH_SCHEMAS, config.fields.get("tools")}) if row.columnar else row.value
    try:
        found = shape(value, form, config, textual=row.textual)
    except Rejected as rejected:
        return whole._replace(problem=rejected)
    return whole._replace(
        value=found.value, upstream=found.upstream, ignored=found.ignored, inside=found.inside, dropped=found.dropped
    )


def _as_said(value: Any, names: Collection[str | None]) -> Any:
    """The same without the null keys inside fields of these names; of all else the nulls stay."""
    if isinstance(value, dict):
        return {name: _without_nulls(one) if name in names else _as_said(one, names) for name, one in value.items()}
    return [_as_said(one, names) for one in value] if isinstance(value, list) else value


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value
