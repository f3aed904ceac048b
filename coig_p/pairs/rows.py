"""Rows as tables, in each format's columns: pairs, or responses with a label. Text is copied here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Floats, Index, Mask, byte_slices, group_sizes, group_starts
from coig_p.errors import DataError
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import Pairs, find_pairs_of, row_keys
from coig_p.pairs.labels import Responses
from coig_p.pairs.ranked import RankedRows, find_ranked
from coig_p.pairs.turns import (
    Shape,
    answer_messages,
    answer_texts,
    messages,
    prompt_messages,
    prompt_texts,
    row_of,
    turn_texts,
)
from coig_p.schema import MESSAGE_FORMATS, RANKED_FORMATS
from coig_p.store.conversations import is_more_than_text


class ResponseRows(NamedTuple):
    """Responses of a batch as arrays of equal length, one element a row, ordered by query."""

    query: Index
    response: Index
    label: Mask
    score: Floats

    def take(self, some: slice | Index | Mask) -> ResponseRows:
        """These rows alone, in this order."""
        return ResponseRows(self.query[some], self.response[some], self.label[some], self.score[some])


@dataclass(frozen=True)
class Rows:
    """A batch's rows before any text is copied.

    Attributes:
        found: Pairs, or ResponseRows for the formats of one response a row, RankedRows for those of one query a row.
    """

    batch: pa.RecordBatch
    responses: Responses
    found: Pairs | ResponseRows | RankedRows
    format: str
    shape: Shape = field(default_factory=Shape)

    def __len__(self) -> int:
        return len(self.found.query)

    @property
    def sides(self) -> list[Index]:
        """The responses that a row shows, for each side that every row has: none where it shows all of a query."""
        if isinstance(self.found, RankedRows):
            return []
        return [self.found.chosen, self.found.rejected] if isinstance(self.found, Pairs) else [self.found.response]

    def keys(self, seed: str) -> npt.NDArray[np.uint64]:
        """A hash of (seed, query_id, models) for every row: no order of rows or shards changes it."""
        return row_keys(self.batch, self.responses, seed, self.found.query, *self.sides)

    def take(self, some: slice | Index | Mask) -> Rows:
        """These rows alone, in this order."""
        return replace(self, found=self.found.take(some))

    def measured(self) -> tuple[pa.Array, pa.Array]:
        """The prompt of every query and every response as a model reads them: texts, or lists of texts."""
        batch, responses, shape = self.batch, self.responses, self.shape
        if not shape.as_messages or not (shape.with_tools or _is_more(batch, responses)):
            return prompt_texts(batch, shape), responses.text
        extra = responses.extra
        return turn_texts(batch), responses.text if extra is None else answer_texts(responses.text, extra)

    def check(self) -> None:
        """Raise what `tables` raises, and copy no text where rows have no tools."""
        if not len(self):
            return
        if self.shape.with_tools:
            _Shown.of(self)
        else:
            _is_plain(self)

    def tables(self, most: int | None = None) -> Iterator[pa.Table]:
        """As tables of `shape.schema(format)`, with the same bounds as `pair_tables`.

        Args:
            most: bytes of text a column, where other than 4 MiB.

        Raises:
            DataError: a prompt, a turn or a response is null, or more than rows of this shape can show; names
                the query.
        """
        yield from (table for _, table in self.tables_of(np.array([self.batch.num_rows]), most))

    def tables_of(self, ends: Index, most: int | None = None) -> Iterator[tuple[int, pa.Table]]:
        """The tables of parts of the batch: each has those that it would have alone, after the part's number.

        Args:
            ends: the queries before which a part ends; the last is all of them.
            most: see `tables`.

        Raises:
            DataError: before the first table (see `tables`).
        """
        if not len(self):
            return
        shown = _Shown.of(self)
        texts, prompts = text_bytes(self.responses.text), text_bytes(self.batch.column("query"))
        if shown.more is not None:
            prompts = prompts + shown.more
            if self.responses.extra is not None:
                texts = texts + text_bytes(self.responses.extra)
        shown_texts = [texts[side] for side in self.sides]
        if isinstance(self.found, RankedRows):
            shown_texts = [self.found.summed(texts)]
        lengths = [prompts[self.found.query], *shown_texts]
        whole = list(islice(byte_slices(lengths, most), 2))
        made = _table(self, shown) if len(whole) == 1 else None  # at once, and cut into parts
        begin = 0
        for number, end in enumerate(np.searchsorted(self.found.query, ends).tolist()):
            if made is not None and end > begin:
                yield number, made.slice(begin, end - begin)
            elif made is None:
                for some in byte_slices([part[begin:end] for part in lengths], most):
                    yield number, _table(self.take(slice(begin + some.start, begin + some.stop)), shown)
            begin = end


def find_rows(batch: pa.RecordBatch, config: PairConfig, shape: Shape | None = None) -> Rows:
    """The rows of a batch of raw rows in `config.format`, as indices.

    Args:
        shape: as a selection has it; default that of a store without tools.
    """
    if shape is None:
        shape = Shape(as_messages=config.format in MESSAGE_FORMATS, multi_turn=config.multi_turn)
    if config.format in RANKED_FORMATS:
        config = replace(config, labels="scores")
    responses = Responses.of(batch)
    pairs = find_pairs_of(responses, batch, config)
    left_out = shape.left_out(batch)
    if left_out is not None:
        pairs = pairs.take(~left_out[pairs.query])
    return Rows(batch, responses, _found(responses, pairs, config), config.format, shape)


def _found(responses: Responses, pairs: Pairs, config: PairConfig) -> Pairs | ResponseRows | RankedRows:
    if config.format in RANKED_FORMATS:
        return find_ranked(responses, pairs.query, config)
    return _response_rows(responses, pairs, config.format) if config.format in ("kto", "sft") else pairs


def pair_tables(
    batch: pa.RecordBatch,
    config: PairConfig,
    choose: Callable[[Rows], Rows] | None = None,
    shape: Shape | None = None,
) -> Iterator[pa.Table]:
    """The pairs of a batch of raw rows as tables of PAIR_SCHEMAS[config.format], or as `shape` has them.

    Every table is non-empty and holds at most 4 MiB of text a column (or one row), so Arrow's 2 GiB
    limit on a string column is never met.

    Args:
        choose: keeps, repeats or reorders rows before any text is copied.
        shape: how conversations are shown (see `find_rows`).

    Raises:
        UsageError: the threshold is not set.
        DataError: see `Rows.tables`.
    """
    rows = find_rows(batch, config, shape)
    yield from (rows if choose is None else choose(rows)).tables()


def blank(text: pa.StringArray) -> Mask:
    """Which texts are null, empty or nothing but white space: there is nothing in them to train on."""
    spaces = pc.or_(pc.equal(pc.binary_length(text), 0), pc.utf8_is_space(text))
    return np.asarray(pc.fill_null(spaces, True).to_numpy(zero_copy_only=False))


@dataclass(frozen=True)
class _Shown:
    """What rows of a batch show, before it is copied for each row.

    Attributes:
        prompts: of every query, strings or message lists.
        answers: of every response, strings or message lists.
        tools: of every query, where rows have that column.
        more: bytes of every query beside its text; None where there are none.
    """

    prompts: pa.Array
    answers: pa.Array
    tools: pa.StringArray | None = None
    more: Index | None = None

    @classmethod
    def of(cls, rows: Rows) -> _Shown:
        batch, responses, shape = rows.batch, rows.responses, rows.shape
        plain = _is_plain(rows)
        if plain and not shape.with_tools:
            # Texts become message lists later, row by row: the same, and cheaper where few rows show them.
            return cls(batch.column("query"), responses.text)
        if not shape.as_messages:
            return cls(prompt_texts(batch, shape), responses.text)
        ids = batch.column("query_id")
        prompts = prompt_messages(batch, shape)
        extra = responses.extra if responses.extra is not None else pa.nulls(len(responses.text), pa.string())
        answers = answer_messages(responses.text, extra, ids.take(pa.array(responses.query)), shape)
        return cls(prompts, answers, batch.column("tools") if shape.with_tools else None, bytes_beside(batch))


def _is_plain(rows: Rows) -> bool:
    """Whether the batch holds texts and answers in text alone.

    Raises:
        DataError: see `Rows.tables`.
    """
    plain = not _is_more(rows.batch, rows.responses)
    _check_texts(rows, plain)
    return plain


def _is_more(batch: pa.RecordBatch, responses: Responses) -> bool:
    """Whether a batch may hold anything but texts and answers in text."""
    named = [name for name in ("messages", "tools") if name in batch.schema.names]
    if any(batch.column(name).null_count < batch.num_rows for name in named):
        return True
    return responses.extra is not None and bool(is_more_than_text(responses.extra).any())


def text_bytes(text: pa.StringArray) -> Index:
    """How long each text is in UTF-8; 0 where it is null."""
    lengths = pc.binary_length(text)
    found: Index = (lengths.fill_null(0) if text.null_count else lengths).to_numpy(zero_copy_only=False)
    return found


def bytes_beside(batch: pa.RecordBatch) -> Index:
    """How much of each query is not in its text: tool definitions and what turns hold beside theirs."""
    turns = batch.column("messages")
    beside = np.bincount(row_of(turns), text_bytes(pc.struct_field(turns.flatten(), "extra")), batch.num_rows)
    return np.asarray(beside + text_bytes(batch.column("tools")), dtype=np.int64)


def _check_texts(rows: Rows, plain: bool) -> None:
    """Raise DataError where something that a row shows is null, or more than rows of this shape can show."""
    batch, used = rows.batch, rows.found.query
    texts = [("prompt", batch.column("query"), used)]
    for name, text, index in texts + [("response", rows.responses.text, side) for side in rows.sides]:
        if text.null_count:
            _refuse(rows, name, text.is_null(), index)
    if isinstance(rows.found, RankedRows) and rows.responses.text.null_count:
        nulls = rows.found.summed(rows.responses.text.is_null().to_numpy(zero_copy_only=False))
        _refuse(rows, "response", pa.array(nulls > 0), np.arange(len(rows)))
    if plain:
        return
    turns = batch.column("messages")
    empty = pc.fill_null(pc.equal(pc.list_value_length(turns), 0), False)
    _refuse(rows, "list of turns", empty, used, "empty")
    row = row_of(turns)
    for name in ("role", "content"):
        null = pc.struct_field(turns.flatten(), name).is_null().to_numpy(zero_copy_only=False)
        _refuse(rows, f"turns' {name}", pa.array(np.bincount(row[null], minlength=len(turns)) > 0), used)
    if rows.shape.multi_turn == "last" and not rows.shape.as_messages:
        userless = prompt_texts(batch, rows.shape).is_null().to_numpy(zero_copy_only=False)[used]
        if userless.any():
            raise DataError(
                f"{_query(rows, int(np.argmax(userless)))}: there is no user's turn for multi_turn='last' to give. Use "
                'multi_turn="text", or leave conversations out with "skip" (--multi-turn text, skip)'
            )
    more = rows.shape.not_shown(batch)[used]
    if more.any():
        raise DataError(
            f"{_query(rows, int(np.argmax(more)))}: it is a conversation, or has tools, and the manifest counts none "
            "of them. Import the store again, or see what differs: coigp verify"
        )


def _refuse(rows: Rows, name: str, bad: pa.BooleanArray, index: Index, what: str = "null") -> None:
    if bad.true_count:
        at = np.flatnonzero(bad.to_numpy(zero_copy_only=False)[index])
        if len(at):
            raise DataError(f"{_query(rows, at[0])}: its {name} is {what}. Run: coigp check, then coigp clean")


def _query(rows: Rows, row: int) -> str:
    return f"query_id {rows.batch.column('query_id')[int(rows.found.query[row])].as_py()!r}"


def _table(rows: Rows, shown: _Shown) -> pa.Table:
    columns = _columns(rows, shown)
    schema = rows.shape.schema(rows.format)
    made = {
        name: _made(columns[name], as_messages=rows.shape.as_messages and name == "responses") for name in schema.names
    }
    if rows.shape.as_messages:
        for name in ("prompt", "chosen", "rejected", "completion"):
            if name in made and pa.types.is_string(made[name].type):
                made[name] = messages("user" if name == "prompt" else "assistant", made[name])
    return pa.table([made[name] for name in schema.names], schema=schema)


class _Lists(NamedTuple):
    """A column of lists: what it is made of, list after list, and where each of them begins and the last ends."""

    values: npt.NDArray[Any] | tuple[pa.Array, Index]
    offsets: Index


_Column = npt.NDArray[Any] | tuple[pa.Array, Index] | _Lists
"""What a column is made of: its values, an array and the places in it that rows show, or lists of such."""


def _made(column: _Column, *, as_messages: bool) -> pa.Array:
    if isinstance(column, _Lists):
        values = _made(column.values, as_messages=False)
        if as_messages and pa.types.is_string(values.type):
            values = messages("assistant", values)
        return pa.ListArray.from_arrays(pa.array(column.offsets.astype(np.int32)), values)
    return pc.take(column[0], pa.array(column[1])) if isinstance(column, tuple) else pa.array(column)


def _columns(rows: Rows, shown: _Shown) -> dict[str, _Column]:
    """Every column, none of them copied yet."""
    batch, responses, found = rows.batch, rows.responses, rows.found
    columns: dict[str, _Column] = {"prompt": (shown.prompts, found.query)}
    columns |= {name: (batch.column(name), found.query) for name in ("query_id", "domain")}
    if shown.tools is not None:
        columns["tools"] = (shown.tools, found.query)
    if isinstance(found, Pairs):
        return columns | {
            "chosen": (shown.answers, found.chosen),
            "rejected": (shown.answers, found.rejected),
            "chosen_model": (responses.model_column, found.chosen),
            "rejected_model": (responses.model_column, found.rejected),
            "chosen_score": found.chosen_score,
            "rejected_score": found.rejected_score,
            "margin": found.margin,
        }
    if isinstance(found, RankedRows):
        return columns | _ranked_columns(rows, found, shown)
    return columns | {
        "completion": (shown.answers, found.response),
        "label": found.label,
        "model": (responses.model_column, found.response),
        "score": found.score,
    }


def _ranked_columns(rows: Rows, found: RankedRows, shown: _Shown) -> dict[str, _Column]:
    places = found.places()
    response = found.response[places]
    offsets = np.concatenate([[0], np.cumsum(found.size)])
    return {
        "responses": _Lists((shown.answers, response), offsets),
        "models": _Lists((rows.responses.model_column, response), offsets),
        "scores": _Lists(found.score[places], offsets),
        "ranks": _Lists(found.rank[places], offsets),
    }


def _response_rows(responses: Responses, pairs: Pairs, form: str) -> ResponseRows:
    """Each response of a pair once, labelled True when it is chosen more often than rejected.

    kto: within a query the two labels alternate while both last, so no batch holds one label alone.
    sft: those that are chosen in any pair, in the store's order.
    """
    of = np.concatenate([pairs.chosen, pairs.rejected])
    response, at = np.unique(of, return_inverse=True)
    wins = np.repeat([1.0, -1.0], len(pairs.chosen))
    label = np.bincount(at, wins, len(response)) > 0
    score = _mean_scores(np.concatenate([pairs.chosen_score, pairs.rejected_score]), at)
    query = responses.query[response]
    if form == "sft":
        final = np.flatnonzero(np.bincount(at, wins > 0, len(response)) > 0)
        return ResponseRows(query, response, label, score).take(final)
    by_label = np.lexsort((~label, query))
    starts = group_starts(query[by_label], label[by_label])
    sizes = group_sizes(starts, len(by_label))
    nth = np.empty(len(response), dtype=np.int64)
    nth[by_label] = np.arange(len(by_label)) - np.repeat(starts, sizes)
    return ResponseRows(query, response, label, score).take(np.lexsort((~label, nth, query)))


def _mean_scores(score: Floats, at: Index) -> Floats:
    """A response's score: the same in all its pairs, unless they were labelled by comparisons."""
    by_response = np.argsort(at, kind="stable")
    score, starts = score[by_response], group_starts(at[by_response])
    if not len(starts):
        return score
    lowest, highest = np.minimum.reduceat(score, starts), np.maximum.reduceat(score, starts)
    mean = np.add.reduceat(score, starts) / group_sizes(starts, len(score))
    return np.where(lowest == highest, lowest, mean)  # a float mean of equal values may differ from them
