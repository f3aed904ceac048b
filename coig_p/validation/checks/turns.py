"""Are conversations whole? Roles, ends, the query that is their text, and what is kept as JSON. Rules over rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.schema import ROLES
from coig_p.store.conversations import transcript
from coig_p.validation.checks.rows import BatchView, Spot

_SHOWN = 40


def turns(view: BatchView) -> Iterator[Spot]:
    """An unknown role, no turn at all, no content, no user, or a query that is not the turns as text."""
    for row, messages, query in _conversations(view.batch):
        if not messages:
            yield Spot(row, "no turn: messages is null where there is none", field="messages")
            continue
        wrong = False
        for at, turn in enumerate(messages):
            if turn is None or turn["role"] not in ROLES:
                role = None if turn is None else turn["role"]
                words = f"{_shown(role)} is no role: {', '.join(ROLES)}"
                yield Spot(row, words, message=at, field=f"messages[{at}].role")
                wrong = True
            elif turn["content"] is None:
                yield Spot(row, "no content", message=at, field=f"messages[{at}].content")
                wrong = True
        if wrong:
            continue
        if all(turn["role"] != "user" for turn in messages):
            yield Spot(
                row, "no turn of a user: nobody asked, and multi_turn='last' has nothing to show", field="messages"
            )
        if query != transcript(messages):
            yield Spot(row, "the query is not the text of its turns", field="query")


def conversation_end(view: BatchView) -> Iterator[Spot]:
    """The last turn is an assistant's, or the user says what a response says: the answer would stand in its prompt."""
    first = np.searchsorted(view.responses.query, np.arange(view.batch.num_rows + 1))
    for row, messages, _ in _conversations(view.batch):
        last = messages[-1] if messages else None
        if last is None:
            continue
        at = len(messages) - 1
        if last["role"] == "assistant":
            yield Spot(row, "it ends in an assistant's turn", message=at, field=f"messages[{at}]")
            continue
        if last["role"] == "tool":  # an answer may repeat what a tool gave
            continue
        answers = view.responses.text.slice(int(first[row]), int(first[row + 1] - first[row])).to_pylist()
        for nth, text in enumerate(answers):
            if text and text == last["content"]:
                yield Spot(row, f"its text is that of the last turn, messages[{at}]", response=nth)


def json_text(view: BatchView) -> Iterator[Spot]:
    """`tools` is the JSON text of a list; `meta` and `extra` are those of objects."""
    batch = view.batch
    for name, kind in (("tools", list), ("meta", dict)):
        for row, problem in _not_json(batch.column(name), kind):
            yield Spot(row, problem, field=name)
    answers = pc.struct_field(batch.column("responses").flatten(), "extra")
    for of_all, problem in _not_json(answers, dict):
        place = int(view.place[of_all])
        row = int(view.responses.query[of_all])
        yield Spot(row, problem, response=place, field=f"responses[{place}].extra")
    messages = batch.column("messages")
    extras = pc.struct_field(messages.flatten(), "extra")
    parents = pc.list_parent_indices(messages).to_numpy(zero_copy_only=False)
    for of_all, problem in _not_json(extras, dict):
        row = int(parents[of_all])
        place = of_all - int(np.searchsorted(parents, row))
        yield Spot(row, problem, message=place, field=f"messages[{place}].extra")


def _not_json(column: pa.StringArray, kind: type) -> Iterator[tuple[int, str]]:
    """Places of a column whose text is not JSON of this kind, and why; null is right."""
    if column.null_count == len(column):
        return
    for at, text in enumerate(column.to_pylist()):
        if text is None:
            continue
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            yield at, f"not JSON: {error}"
            continue
        if not isinstance(value, kind):
            yield at, f"not the JSON text of {'a list' if kind is list else 'an object'}"


def _conversations(batch: pa.RecordBatch) -> Iterator[tuple[int, list[dict[str, Any]], str | None]]:
    """Row, turns and query of each query that has turns."""
    messages = batch.column("messages")
    if messages.null_count == len(messages):
        return
    queries = batch.column("query")
    for row in np.flatnonzero(messages.is_valid().to_numpy(zero_copy_only=False)):
        yield int(row), messages[int(row)].as_py(), queries[int(row)].as_py()


def _shown(name: str | None) -> str:
    return "null" if name is None else repr(name[:_SHOWN])
