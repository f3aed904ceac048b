"""What a store keeps of an upstream row: the JSON text of a query's `meta`."""

from __future__ import annotations

import json
from typing import Any

from coig_p.errors import DataError


def read_meta(query_id: str, meta: str | None) -> dict[str, Any]:
    """What a query's `meta` holds; nothing where it is null.

    Raises:
        DataError: it is no JSON object; names the query.
    """
    try:
        told = json.loads(meta) if meta is not None else {}
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise DataError(f"query_id {query_id!r}: its meta is no JSON object. Run: coigp check, then coigp clean")
    return told
