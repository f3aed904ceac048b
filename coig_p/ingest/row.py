"""A row of a file in the nested shape, or with the reason why it has none."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from coig_p.ingest.fields import FormConfig
from coig_p.ingest.forms import shape
from coig_p.ingest.readers import RawRow
from coig_p.ingest.values import Rejected


class Row(NamedTuple):
    """A row on its way through the checks.

    Attributes:
        value: in the nested shape; `raw` is as the file has it.
        problem: why it could not be read or brought into that shape.
        textual: every value of the file is text.
    """

    file: str
    line: int
    value: Any
    problem: Rejected | None
    raw: Any
    upstream: Callable[[str], str]
    ignored: Collection[str]
    textual: bool


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
    try:
        found = shape(row.value, form, config, textual=row.textual)
    except Rejected as rejected:
        return whole._replace(problem=rejected)
    return whole._replace(value=found.value, upstream=found.upstream, ignored=found.ignored)
