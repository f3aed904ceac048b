"""Types that a user gives the columns of rows, with features=: checked before any work, then cast as datasets does."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from datasets import Features
from datasets.table import CastError, table_cast

from coig_p.errors import UnknownNameError, UsageError

_SHOWN = 300  # characters of an error that may quote a whole text
_ERRORS = (pa.ArrowException, CastError, TypeError, ValueError)


def check_features(features: Any, columns: pa.Schema, possible: pa.Schema) -> Features:
    """The features that a user gave, of the columns that rows have.

    Args:
        columns: of the rows.
        possible: the same and those that were left out with columns=, for which features may be given, too.

    Returns:
        As given where they are of exactly these columns; else in the order of the columns.

    Raises:
        UsageError: not `datasets.Features`, a column too many or too few, or a type that a column cannot be cast to.
    """
    if not isinstance(features, Features):
        raise UsageError(f"features={features!r}: use datasets.Features({{...}}), a type for each column")
    for name in features:
        if name not in possible.names:
            raise UnknownNameError("column in features", name, possible.names)
    missing = [name for name in columns.names if name not in features]
    if missing:
        raise UsageError(
            f"features= has no {', '.join(missing)}: it gives every column a type. For rows of fewer columns name "
            f"them, too: columns={list(features)!r}"
        )
    found = features if columns.equals(possible) else Features({name: features[name] for name in columns.names})
    cast(columns.empty_table(), found.arrow_schema)
    return found


def cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table with the types and in the order of `schema`, that of a user's features.

    Raises:
        UsageError: a column, or a value in it, cannot be cast.
    """
    try:
        return table_cast(table, schema)
    except _ERRORS as error:
        raise UsageError(f"features=: {_problem(table, schema)}: {str(error)[:_SHOWN]}") from None


def _problem(table: pa.Table, schema: pa.Schema) -> str:
    for field in schema:
        try:
            table_cast(table.select([field.name]), pa.schema([field]))
        except _ERRORS:
            return f"column {field.name} of type {table.schema.field(field.name).type} cannot be cast to {field.type}"
    return "rows cannot be cast"
