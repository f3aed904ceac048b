"""A query with its responses and their scores: the shape of a store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from coig_p.ingest.fields import UNKNOWN, Fields, Shaped, empty
from coig_p.ingest.prompt import put_query
from coig_p.ingest.turns import answer_fields
from coig_p.ingest.values import Rejected, shown
from coig_p.store.conversations import ANSWER_FIELDS, CALLS

_MORE = ("extra", *ANSWER_FIELDS)
_OF_RESPONSE = ("text", "model", "sample")
_OF_SCORE = ("judge", "score", "dimension", "rationale")
_RENAMED = frozenset((*_OF_RESPONSE, *_OF_SCORE))


def nested(row: Fields) -> Shaped:
    """A query with its responses."""
    value = row.common()
    put_query(row, value, transcripts=False)
    for name in ("responses", "comparisons"):
        theirs = row.name(name)
        if theirs in row.given:
            row.read.add(theirs)
            row.names[name] = theirs
            value[name] = row.given[theirs]
    meta = row.row.get("meta")
    if isinstance(meta, dict) or (isinstance(meta, str) and meta[:1] == "{"):
        value["meta"] = row.get("meta")  # a store's own
    if isinstance(value.get("responses"), list):
        value["responses"] = [
            _response(response, row, f"responses[{at}]") for at, response in enumerate(value["responses"])
        ]
    if row.config.judge != UNKNOWN:
        _name_judge(value, row.config.judge)
    return row.shaped(value)


def _name_judge(value: dict[str, Any], judge: str) -> None:
    """Give scores and comparisons without a judge the one that the user names."""

    def judged(entries: Any) -> Any:
        if not isinstance(entries, list):
            return entries
        return [one | {"judge": judge} if isinstance(one, dict) and empty(one.get("judge")) else one for one in entries]

    if isinstance(value.get("responses"), list):
        value["responses"] = [
            one | {"scores": judged(one["scores"])} if isinstance(one, dict) and "scores" in one else one
            for one in value["responses"]
        ]
    if "comparisons" in value:
        value["comparisons"] = judged(value["comparisons"])


def _response(given: Any, row: Fields, path: str) -> Any:
    """A response under our names; what else its turn has, tool calls, in `extra`."""
    if not isinstance(given, dict):
        return given
    if row.config.fields.keys().isdisjoint(_RENAMED) and given.keys().isdisjoint(_MORE):  # nearly all
        return given
    response = _renamed(given, row, path, _OF_RESPONSE)
    if isinstance(response.get("scores"), list):
        response["scores"] = [
            _renamed(score, row, f"{path}.scores[{at}]", _OF_SCORE) if isinstance(score, dict) else score
            for at, score in enumerate(response["scores"])
        ]
    extra = response.pop("extra", None)
    if isinstance(extra, str) and extra:
        try:
            extra = json.loads(extra)
        except (ValueError, RecursionError):
            extra = [extra]
    if not empty(extra) and not isinstance(extra, dict):
        raise Rejected(f"{path}.extra", "not-an-object", f"{shown(extra)} is not the JSON text of an object")
    own = answer_fields(response, path)
    for name in own:
        del response[name]
    if response.get("text") is None and CALLS in own:
        response["text"] = ""
    if own or extra:
        response["extra"] = {**(extra or {}), **own}
    return response


def _renamed(entry: dict[str, Any], row: Fields, path: str, names: Sequence[str]) -> dict[str, Any]:
    """A response or score under our names, where --map says what it calls them."""
    entry = dict(entry)
    for ours in names:
        theirs = row.config.fields.get(ours)
        if theirs is not None and theirs in entry:
            if ours != theirs and not empty(entry.get(ours)):
                row.unread.add(f"{path}.{ours}", entry[ours])  # its place is taken
            entry[ours] = entry.pop(theirs)
            row.names[f"{path}.{ours}"] = f"{path}.{theirs}"
    return entry
