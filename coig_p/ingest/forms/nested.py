"""A query with its responses and their scores: the shape of a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coig_p.ingest.fields import Fields, Shaped


def nested(row: Fields) -> Shaped:
    """A query with its responses."""
    value = dict(row.row)
    for ours, theirs in row.config.fields.items():
        if theirs in value:
            value[ours] = value.pop(theirs)
            row.names[ours] = theirs
    if isinstance(value.get("responses"), list):
        value["responses"] = [
            _renamed(response, row, f"responses[{at}]", ("text", "model"))
            for at, response in enumerate(value["responses"])
        ]
    known = {"query_id", "domain", "query", "source", "responses", "comparisons"}
    return Shaped(value, dict(sorted(row.names.items(), key=lambda item: -len(item[0]))), value.keys() - known)


def _renamed(entry: Any, row: Fields, path: str, names: Sequence[str]) -> Any:
    """A response or score under our names, where --map says what it calls them."""
    renamed = {ours: row.config.fields[ours] for ours in names if ours in row.config.fields}
    if not isinstance(entry, dict):
        return entry
    entry = dict(entry)
    for ours, theirs in renamed.items():
        if theirs in entry:
            entry[ours] = entry.pop(theirs)
            row.names[f"{path}.{ours}"] = f"{path}.{theirs}"
    if isinstance(entry.get("scores"), list) and "text" in names:
        within = ("judge", "score", "dimension")
        entry["scores"] = [
            _renamed(score, row, f"{path}.scores[{at}]", within) for at, score in enumerate(entry["scores"])
        ]
    return entry
