"""Items whose answer is known, mixed in to see how carefully people answer.

A file of JSON Lines, one item a line; the answer names its responses a, b, c in the line's order, and what it leaves
out is not looked at:

    {"query_id": "math-17", "responses": ["model-x", {"model": "model-y", "sample": 1}], "answer": {"preference": "A"}}
    {"domain": "math", "query": "1+1=?", "responses": [{"text": "2"}, {"text": "3"}], "answer": {"preference": "A"}}
    {"query_id": "math-9", "answer": {"feasible": false}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coig_p.core.arrays import hash64
from coig_p.core.small_files import read_small
from coig_p.errors import DataError
from coig_p.review.answers import answer_problem
from coig_p.review.drawing import rows_of
from coig_p.review.folder import prompt_sha256, sides_of
from coig_p.review.tasks import Item, Shown, dialogue_of, shown
from coig_p.store.store import Store

SHARE = 0.1
"""Of an annotator's tasks, those whose answer is known."""

_FIELDS = {"query_id", "domain", "query", "messages", "responses", "answer"}
_MOST_BYTES = 64 << 20
# What an answer must have beside what is known of it, to be looked at as an answer.
_FILLED: Mapping[str, Mapping[str, Any]] = {
    "pair": {"preference": "tie"},
    "accept": {"preference": "tie", "query_ok": True},
}


def read_gold(path: Path, form: str, store: Store) -> list[Item]:
    """The items of a file, without names yet.

    Raises:
        DataError: a line that is no such item, or names what the store does not have; says line and field.
    """
    try:
        text = read_small(path, _MOST_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path}: cannot be read: {said}") from None
    told = [(number, _line(path, number, line)) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not told:
        raise DataError(f"{path}: no items in it")
    named = {one["query_id"] for number, one in told if _text(path, number, one, "query_id")}
    rows = rows_of(store, named)
    items = [_item(path, number, one, form, rows, store) for number, one in told]
    seen: dict[object, int] = {}
    for (number, _), item in zip(told, items, strict=True):
        first = seen.setdefault(identity(item), number)
        if first != number:
            raise DataError(f"{path} line {number}: the same item as line {first}")
    return items


def identity(item: Item) -> tuple[object, ...]:
    """What an item is, whatever it is called: its query and its responses, in any order."""
    return item.query_sha256, item.query_id, *sorted((r.model, r.sample, r.text_sha256) for r in item.responses)


def _line(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} line {number}: not JSON: {error}") from None
    if not isinstance(told, dict):
        raise DataError(f"{path} line {number}: not an object")
    for name in told:
        if name not in _FIELDS:
            raise DataError(f"{path} line {number} .{name}: not a field of a gold item, which has {_known()}")
    return told


def _known() -> str:
    return ", ".join(sorted(_FIELDS))


def _text(path: Path, number: int, told: Mapping[str, Any], name: str) -> str:
    """A field that is text, or "" where it is left out."""
    value = told.get(name, "")
    if not isinstance(value, str) or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise DataError(f"{path} line {number} .{name}: {value!r} is not text")
    return value


def _item(
    path: Path, number: int, told: Mapping[str, Any], form: str, rows: Mapping[str, Mapping[str, Any]], store: Store
) -> Item:
    def wrong(name: str, said: str) -> DataError:
        return DataError(f"{path} line {number} .{name}: {said}")

    responses = told.get("responses", [])
    letters = sides_of(form)
    if not isinstance(responses, list) or len(responses) != len(letters):
        raise wrong("responses", f"form {form} needs a list of {len(letters)}")
    query_id = _text(path, number, told, "query_id")
    if query_id:
        for name in ("query", "messages", "domain"):
            if name in told:
                raise wrong(name, "beside query_id, which says it: leave one of them out")
        if query_id not in rows:
            raise wrong("query_id", f"{query_id!r} is not in {store.path}")
        row = rows[query_id]
        by_name = {(one["model"] or "", int(one["sample"] or 0)): one for one in row["responses"] or ()}
        sides = []
        for one in responses:
            model, sample = _named(one)
            if (model, sample) not in by_name:
                known = ", ".join(f"{name} (sample {number})" if number else name for name, number in sorted(by_name))
                raise wrong("responses", f"{one!r} gave no answer to {query_id!r}; it has: {known}")
            sides.append(shown(by_name[model, sample]))
    else:
        row = _own_row(path, number, told, wrong)
        if told["domain"] not in store.manifest.domains:
            raise wrong("domain", f"{told['domain']!r} is not one of the store's: {', '.join(store.manifest.domains)}")
        sides = []
        for place, one in enumerate(responses):
            if not isinstance(one, dict) or not _text(path, number, one, "text").strip():
                raise wrong("responses", f"{one!r}: beside a query of its own each is an object with text")
            made = shown({"model": "", "sample": place, "text": one["text"]})
            sides.append(Shown("", place, made.text, made.text_sha256))
    if len({side.text_sha256 for side in sides}) < len(sides):
        raise wrong("responses", "two of them say the same")
    answer = told.get("answer")
    if not isinstance(answer, dict) or not answer:
        raise wrong("answer", "missing: what is known of it, as an object")
    if form == "pair" and "query_ok" in answer:
        raise wrong("answer.query_ok", "form pair does not ask it: leave it out, or draw with --form accept")
    problem = answer_problem(form, {**_FILLED.get(form, {}), **answer})
    if problem is not None:
        raise wrong(f"answer.{problem[0]}".rstrip("."), problem[1])
    domain = row["domain"]
    return Item("", "gold", query_id, domain, prompt_sha256(row), dialogue_of(row), tuple(sides), gold=answer)


def _named(one: Any) -> tuple[Any, int]:
    if isinstance(one, str):
        return one, 0
    sample = one.get("sample", 0) if isinstance(one, dict) else 0
    return (one.get("model") if isinstance(one, dict) else None), sample if type(sample) is int else -1


def _own_row(path: Path, number: int, told: Mapping[str, Any], wrong: Any) -> dict[str, Any]:
    """A gold item's own texts as a raw row."""
    if not _text(path, number, told, "domain"):
        raise wrong("domain", "missing: without a domain the item would be known at a glance")
    messages = told.get("messages")
    if messages is None:
        if not _text(path, number, told, "query").strip():
            raise wrong("query", "missing: a query, or messages, or the query_id of one in the store")
        return {"query": told["query"], "messages": None, "tools": None, "domain": told["domain"]}
    if "query" in told:
        raise wrong("query", "beside messages, which say it: leave one of them out")
    right = isinstance(messages, list) and messages and all(isinstance(one, dict) for one in messages)
    if not right or not all(_text(path, number, one, name) for one in messages for name in ("role", "content")):
        raise wrong("messages", "not a list of turns with role and content")
    turns = [{"role": one["role"], "content": one["content"], "extra": None} for one in messages]
    return {"query": "", "messages": turns, "tools": None, "domain": told["domain"]}


def mix_in(given: Mapping[str, Sequence[Item]], gold: Sequence[Item], seed: int) -> dict[str, list[Item]]:
    """Each annotator's items, and as many gold ones of the same domains as make a tenth of all.

    The first by hash, so that those who are asked about the same domains see the same.
    """
    found = {}
    ranked = sorted(gold, key=lambda item: hash64(f"gold {seed} {identity(item)}"))
    for annotator, items in given.items():
        domains = {item.domain for item in items}
        number = max(1, round(len(items) * SHARE / (1 - SHARE))) if items else 0
        found[annotator] = [*items, *[item for item in ranked if item.domain in domains][:number]]
    return found
