"""Rows of the common shapes as whole columns: asked what `coig_p.ingest.intake` asks of each value, and made nested.

A shape is a set of fields with their types, each under one of its usual names. What is wrong, rare, or may mean
something else than it says is not looked into: such rows are handed back, for the row-by-row way to judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.ingest.media import placeholder
from coig_p.ingest.turns import from_text, from_transcript, said
from coig_p.schema import COMPARISON_TYPE, OVERALL, RAW_SCHEMA, RESPONSE_TYPE, SCORE_GRID, SCORE_TYPE, TURN_TYPE
from coig_p.store.conversations import transcript

_QUERY = ("prompt", "query", "instruction", "question")
_TEXT = ("output", "response", "answer", "completion", "text")
_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_OPTIONAL = {"query_id": pa.string(), "domain": pa.string(), "source": pa.string()}
_MARKS = frozenset("H人用[{")  # what an HH transcript, or messages written as text, begin with


class Unusual(Exception):
    """Something in a block is for the row-by-row way to look at."""


@dataclass(frozen=True)
class Rows:
    """What is known of the import while its blocks are looked at.

    Attributes:
        score_range: lowest and highest score that a judge may give.
        judge: who judged, where rows do not say.
    """

    score_range: tuple[float, float]
    judge: str


@dataclass(frozen=True)
class Shape:
    """A shape that whole columns are taken in of.

    Attributes:
        form: its name in `coig_p.ingest.forms.FORMS`.
        fields: our name -> the names that a row may have for it, and the type of its values.
        optional: fields that may be missing or null.
        make: from columns by our names, none of them null, optional ones perhaps, to a batch of RAW_SCHEMA in
            which query_id may be null; raises Unusual.
    """

    form: str
    fields: Mapping[str, tuple[tuple[str, ...], pa.DataType]]
    optional: Mapping[str, pa.DataType]
    make: Callable[[dict[str, pa.Array], Rows], pa.RecordBatch]

    def schema(self, row: Mapping[str, Any]) -> tuple[pa.Schema, Mapping[str, str]] | None:
        """What to parse a block as that begins with this row, and which column is which of our fields."""
        names: dict[str, str] = {}
        for ours, (theirs, _) in self.fields.items():
            found = [name for name in theirs if name in row]
            if len(found) != 1:
                return None
            names[found[0]] = ours
        if any(name not in names and name not in self.optional for name in row):
            return None
        kinds = {name: self.fields[ours][1] for name, ours in names.items()} | dict(self.optional)
        return pa.schema(list(kinds.items())), names | {name: name for name in self.optional}


def taken(batch: pa.RecordBatch, shape: Shape, names: Mapping[str, str], rows: Rows) -> pa.RecordBatch:
    """The same rows nested; raise Unusual where one of them must be looked at by itself."""
    columns = {names[name]: batch.column(name) for name in batch.schema.names}
    if any(columns[ours].null_count for ours in shape.fields):
        raise Unusual
    for column in columns.values():
        if pa.types.is_string(column.type):
            _check_filled(column)
    return shape.make(columns, rows)


def nested(batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
    """Rows of a query with its responses and their scores, checked; raises Unusual."""
    ids, queries, lists = (batch.column(name) for name in ("query_id", "query", "responses"))
    ids = pc.if_else(pc.equal(ids, ""), pa.scalar(None, pa.string()), ids)
    responses = lists.flatten()
    models, texts, score_lists = (responses.field(name) for name in ("model", "text", "scores"))
    scores = score_lists.flatten()
    judges, dimensions, values, rationales = (
        scores.field(name) for name in ("judge", "dimension", "score", "rationale")
    )
    required = (queries, lists, responses, models, texts, scores, judges, values)
    absent = (
        *(batch.column(name) for name in ("messages", "tools", "meta", "comparisons")),
        *(responses.field(name) for name in ("sample", "extra")),
    )
    if any(column.null_count for column in required) or any(len(column) > column.null_count for column in absent):
        raise Unusual
    for column in (ids, queries, batch.column("source"), models, texts, judges, dimensions, rationales):
        _check_filled(column)
    _check_no_placeholder(queries)
    _check_scale(values, rows.score_range)
    _check_models(models.dictionary_encode(), lists.offsets.to_numpy())
    scores = struct(
        SCORE_TYPE, judge=judges, dimension=pc.fill_null(dimensions, OVERALL), score=values, rationale=rationales
    )
    score_lists = pa.ListArray.from_arrays(score_lists.offsets, scores)  # no list of scores is an empty one
    lists = pa.ListArray.from_arrays(lists.offsets, _responses(models, texts, score_lists))
    for name, column in (("query_id", ids), ("responses", lists)):
        at = RAW_SCHEMA.get_field_index(name)
        batch = batch.set_column(at, RAW_SCHEMA.field(at), column)
    return batch


def _flat(columns: dict[str, pa.Array], rows: Rows) -> pa.RecordBatch:
    _check_scale(columns["score"], rows.score_range)
    return _one_response(columns, columns["score"], rows)


def _kto(columns: dict[str, pa.Array], rows: Rows) -> pa.RecordBatch:
    scores = columns["label"].cast(pa.float64())
    _check_scale(scores, rows.score_range)
    return _one_response(columns, scores, rows)


def _one_response(columns: dict[str, pa.Array], values: pa.Array, rows: Rows) -> pa.RecordBatch:
    """Rows of one response with one score."""
    for name in ("query", "text"):
        _check_plain(columns[name])
    _check_no_placeholder(columns["query"])
    number = len(values)
    none = pa.nulls(number, pa.string())
    scores = struct(
        SCORE_TYPE,
        judge=pc.fill_null(columns.get("judge", none), rows.judge),
        dimension=pc.fill_null(columns.get("dimension", none), OVERALL),
        score=values,
        rationale=none,
    )
    responses = _responses(columns.get("model", none), columns["text"], _lists(scores, 1))
    return _queries(columns, {"query": columns["query"], "responses": _lists(responses, 1)})


def _pairs(columns: dict[str, pa.Array], rows: Rows) -> pa.RecordBatch:
    """Rows of a prompt, a better answer and a worse one, as texts."""
    for name in ("query", "chosen", "rejected"):
        _check_plain(columns[name])
    _check_no_placeholder(columns["query"])
    return _compared(columns, {"query": columns["query"]}, columns["chosen"], columns["rejected"], rows)


def _conversations(columns: dict[str, pa.Array], rows: Rows) -> pa.RecordBatch:
    """The same with the prompt as turns, and each answer as a list of the assistant's one turn."""
    chosen, rejected = (_only_turn(columns[name]) for name in ("chosen", "rejected"))
    prompts = columns["query"]
    turns = prompts.flatten()
    roles, contents = turns.field("role"), turns.field("content")
    if turns.null_count or not _all_of(roles, ("system", "user", "assistant")):
        raise Unusual
    _check_filled(contents)
    _check_no_placeholder(contents)
    sizes = pc.list_value_length(prompts).to_numpy()
    if not sizes.all():
        raise Unusual
    ends = np.cumsum(sizes) - 1
    last = turns.take(pa.array(ends))
    if not _all_of(last.field("role"), ("user",)):
        raise Unusual
    if any(pc.any(pc.equal(last.field("content"), answer)).as_py() for answer in (chosen, rejected)):
        raise Unusual  # a response that the conversation ends in
    alone = sizes == 1
    offsets = pa.array(np.append(0, np.cumsum(sizes)).astype(np.int32), mask=np.append(alone, False))
    whole = struct(TURN_TYPE, role=roles, content=contents, extra=pa.nulls(len(turns), pa.string()))
    # A null offset is a null list, whose turns would still be there.
    messages = pa.ListArray.from_arrays(offsets, whole).take(pa.array(np.arange(len(prompts))))
    texts = [
        content if only else transcript([said(turn["role"], turn["content"]) for turn in given])
        for content, only, given in zip(
            last.field("content").to_pylist(), alone.tolist(), prompts.to_pylist(), strict=True
        )
    ]
    return _compared(columns, {"query": pa.array(texts, pa.string()), "messages": messages}, chosen, rejected, rows)


def _only_turn(lists: pa.ListArray) -> pa.StringArray:
    turns = lists.flatten()
    if len(turns) != len(lists) or turns.null_count or not _all_of(turns.field("role"), ("assistant",)):
        raise Unusual
    if not (pc.list_value_length(lists).to_numpy() == 1).all():
        raise Unusual
    _check_filled(turns.field("content"))
    return turns.field("content")


def _compared(
    columns: dict[str, pa.Array], asked: dict[str, pa.Array], chosen: pa.Array, rejected: pa.Array, rows: Rows
) -> pa.RecordBatch:
    """Rows of two responses, the first of them better."""
    number = len(chosen)
    if chosen.null_count or rejected.null_count or pc.any(pc.equal(chosen, rejected)).as_py():
        raise Unusual
    texts = pa.concat_arrays([chosen, rejected]).take(pa.array(np.arange(2 * number).reshape(2, number).T.ravel()))
    models = pa.nulls(2 * number, pa.string())
    none = _lists(pa.array([], SCORE_TYPE), 0, 2 * number)
    comparisons = struct(
        COMPARISON_TYPE,
        first=pa.array(np.zeros(number, np.int32)),
        second=pa.array(np.ones(number, np.int32)),
        judge=pa.repeat(rows.judge, number),
        dimension=pa.repeat(OVERALL, number),
        first_score=pa.array(np.ones(number)),
        second_score=pa.array(np.zeros(number)),
        rationale=pa.nulls(number, pa.string()),
    )
    answers = {"responses": _lists(_responses(models, texts, none), 2), "comparisons": _lists(comparisons, 1)}
    return _queries(columns, asked | answers)


def _queries(columns: dict[str, pa.Array], made: dict[str, pa.Array]) -> pa.RecordBatch:
    number = len(made["responses"])
    given = {name: columns[name] for name in _OPTIONAL} | made
    return pa.RecordBatch.from_arrays(
        [given.get(field.name, pa.nulls(number, field.type)) for field in RAW_SCHEMA], schema=RAW_SCHEMA
    )


def _responses(models: pa.Array, texts: pa.Array, scores: pa.ListArray) -> pa.StructArray:
    """Responses that are the first sample of their model, with nothing but text in them."""
    first, extra = pa.array(np.zeros(len(texts), np.int32)), pa.nulls(len(texts), pa.string())
    return struct(RESPONSE_TYPE, model=models, sample=first, text=texts, extra=extra, scores=scores)


def struct(kind: pa.StructType, **columns: pa.Array) -> pa.StructArray:
    """An array of a struct type from one column a field."""
    return pa.StructArray.from_arrays([columns[field.name] for field in kind], fields=list(kind))


def _lists(values: pa.Array, each: int, number: int | None = None) -> pa.ListArray:
    """Lists of `each` values."""
    number = len(values) // each if number is None else number
    return pa.ListArray.from_arrays(pa.array(np.arange(number + 1, dtype=np.int32) * each), values)


def _all_of(names: pa.StringArray, known: tuple[str, ...]) -> bool:
    return not names.null_count and bool(pc.all(pc.is_in(names, pa.array(known))).as_py())


def _check_filled(texts: pa.StringArray) -> None:
    """Raise Unusual where a text is blank by Python's white space: few begin with one, and those are looked at."""
    if any(not text.strip() for text in _that_begin(texts, lambda letter: not letter.strip())):
        raise Unusual


def _check_plain(texts: pa.StringArray) -> None:
    """Raise Unusual where a text may be an HH transcript, or messages."""
    for text in _that_begin(texts, lambda letter: not letter.strip() or letter in _MARKS):
        if from_transcript(text, answered=True) or from_transcript(text) or from_text(text):
            raise Unusual


def _check_no_placeholder(texts: pa.StringArray) -> None:
    """Raise Unusual where a text may point at an image, a sound or a film."""
    begins = _that_begin(texts, lambda letter: letter == "<" or not letter.strip())
    named = pc.any(pc.match_substring_regex(texts, "(?i)<[|]?image|<extra_id_1>")).as_py()
    if named or any(map(placeholder, begins)):
        raise Unusual


def _that_begin(texts: pa.StringArray, wanted: Callable[[str], bool]) -> list[str]:
    """The texts whose first letter, "" where there is none, is one of those wanted."""
    first = pc.utf8_slice_codeunits(texts, 0, 1)
    letters = [letter for letter in pc.unique(first).to_pylist() if letter is not None and wanted(letter)]
    if not letters:
        return []
    found = texts.filter(pc.is_in(first, pa.array(letters, pa.string())))
    return [text for text in found.to_pylist() if text is not None]


def _check_scale(scores: pa.Array, score_range: tuple[float, float]) -> None:
    """Raise Unusual where a score is out of range or off the grid."""
    low, high = score_range
    values = scores.to_numpy(zero_copy_only=False)
    in_range = (values >= low) & (values <= high)
    on_grid = np.rint(values * SCORE_GRID) / SCORE_GRID == values
    minus_zero = (values == 0) & np.signbit(values)  # JSON's -0 is 0, its -0.0 is not; Arrow reads both as -0.0
    if not (in_range & on_grid & ~minus_zero).all():
        raise Unusual


def _check_models(models: pa.DictionaryArray, offsets: np.ndarray[Any, Any]) -> None:
    """Raise Unusual where a model of a row answered twice."""
    codes = models.indices.to_numpy()
    known: set[bytes] = set()  # most rows are answered by the same models in the same order
    for begin, end in pairwise(offsets.tolist()):
        row = codes[begin:end].tobytes()
        if row not in known:
            if len(set(codes[begin:end].tolist())) < end - begin:
                raise Unusual
            known.add(row)


_ASKED = {"query": (_QUERY, pa.string())}
SHAPES: tuple[Shape, ...] = (
    Shape(
        "flat",
        _ASKED | {"text": (_TEXT, pa.string()), "score": (("score", "rating"), pa.float64())},
        _OPTIONAL | {"model": pa.string(), "judge": pa.string(), "dimension": pa.string()},
        _flat,
    ),
    Shape(
        "kto",
        _ASKED | {"text": (_TEXT, pa.string()), "label": (("label",), pa.bool_())},
        _OPTIONAL | {"model": pa.string(), "judge": pa.string()},
        _kto,
    ),
    Shape(
        "pairs",
        _ASKED | {"chosen": (("chosen",), pa.string()), "rejected": (("rejected",), pa.string())},
        _OPTIONAL,
        _pairs,
    ),
    Shape(
        "pairs",
        {
            "query": (("prompt", "messages"), _MESSAGES),
            "chosen": (("chosen",), _MESSAGES),
            "rejected": (("rejected",), _MESSAGES),
        },
        _OPTIONAL,
        _conversations,
    ),
)
"""Beside the nested one, the shapes that are taken in whole columns."""
