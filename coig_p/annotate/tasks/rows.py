"""The rows of a run's files as queries: a text or a conversation, where it comes from, and under which licence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from coig_p.annotate.asking.ledger import Query
from coig_p.annotate.config import RunConfig
from coig_p.annotate.sources import SourceConfig
from coig_p.errors import UnknownNameError
from coig_p.ingest.readers import RawRow, find_inputs, read_rows
from coig_p.ingest.turns import conversation
from coig_p.ingest.values import Rejected, digest, shown, storable, text_at
from coig_p.store.conversations import transcript

_SPEAKERS = ("system", "user", "assistant")
_PARTS = ("history", "system", "conversations", "tools")  # without which a query would be another one


def source_files(config: RunConfig) -> list[tuple[SourceConfig, list[Path]]]:
    """Each source of a run with its files; raise UsageError where one cannot be used."""
    beside = config.path.parent
    return [
        (source, find_inputs([beside / name if "://" not in name else name for name in source.inputs]))
        for source in config.sources
    ]


def rows_of(config: RunConfig) -> Iterator[tuple[SourceConfig, Path, RawRow]]:
    """Every row of every source, good or bad, in the file's order."""
    for source, paths in source_files(config):
        for path in paths:
            for row in read_rows(path):
                yield source, path, row


def query_of(config: RunConfig, source: SourceConfig, row: RawRow) -> Query:
    """A row as a query, before it is translated; its place is for the caller.

    Raises:
        Rejected: a row without a query, or one that the run has no place for.
    """
    if row.problem is not None:
        raise Rejected("", *row.problem)
    value = row.value
    if not isinstance(value, dict):
        raise Rejected("", "not-an-object", f"{shown(value)} is not an object")
    for name in _PARTS:
        if value.get(name):
            raise Rejected(name, "no-place", f"{shown(value[name])} is a part of what is asked: write it into messages")
    turns = _turns(value)
    if turns is not None and len(turns) > 1 and source.translate:
        raise Rejected("messages", "conversation", "a conversation is not translated: put it into a source of its own")
    if turns is not None and [turn["role"] for turn in turns] == ["user"]:
        text, messages = turns[0]["content"], None
    else:
        text = text_at(value, "query") if turns is None else transcript(turns)
        messages = None if turns is None else json.dumps(turns, ensure_ascii=False)
    given = value.get("query_id")
    query_id = f"q-{digest(messages or text).hex()}" if given is None else text_at(value, "query_id")
    domain = source.domain or text_at(value, "domain")
    if domain not in config.judge_prompts:
        message = str(UnknownNameError("domain", domain, config.judge_prompts))
        raise Rejected("domain", "bad-domain", f"{message}. Another one needs a [domains.NAME] with a prompt")
    told = {name: getattr(source, name) if value.get(name) is None else text_at(value, name) for name in _TOLD}
    return Query(-1, query_id, domain, text, told["source"], None, messages, told["license"])


_TOLD = ("source", "license")


def with_persona(config: RunConfig, query: Query) -> Query:
    """A query of a domain that has personas, with the one that is drawn for it as its system message.

    The draw hashes seed and query_id, so every model answers as the same person. A conversation with a system
    message of its own keeps that.
    """
    personas = config.personas.get(query.domain)
    if not personas or query.turns[0]["role"] == "system":
        return query
    drawn = hashlib.sha256(json.dumps(["persona", config.seed, query.query_id]).encode()).digest()
    persona = personas[int.from_bytes(drawn[:8], "big") % len(personas)]
    turns = [{"role": "system", "content": persona}, *query.turns]
    return query._replace(query=transcript(turns), messages=json.dumps(turns, ensure_ascii=False))


def _turns(value: Mapping[str, Any]) -> list[dict[str, str]] | None:
    """The conversation of a row; None where it asks one thing, which is then its `query`."""
    if value.get("messages") is None:
        return None
    found = conversation(value["messages"], "messages")
    for at, turn in enumerate(found):
        where = f"messages[{at}]"
        if turn["role"] not in _SPEAKERS or turn["extra"]:
            what = "a tool's turn" if turn["role"] not in _SPEAKERS else ", ".join(turn["extra"])
            raise Rejected(where, "no-place", f"{what}: only text of system, user and assistant can be asked")
        if turn["role"] == "system" and at:
            raise Rejected(where, "late-system", "a system message stands at the beginning, or nowhere")
        if not turn["content"].strip():
            raise Rejected(where, "blank", f"the turn {shown(turn['content'])} is blank")
        storable(turn["content"], where)
    if not found or found[-1]["role"] != "user":
        last = shown(found[-1]["content"]) if found else "nothing"
        raise Rejected("messages", "no-question", f"it ends in {last}: what is asked ends in a user's turn")
    said = value.get("query")
    if said is not None and said not in (found[-1]["content"], transcript(found)):
        raise Rejected("query", "ambiguous", f"{shown(said)} is not what messages end in: leave one of them out")
    return [{"role": turn["role"], "content": turn["content"]} for turn in found]
