"""Rows as tables, in each format's columns: pairs, or responses with a label. Text is copied here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Floats, Index, Mask, byte_slices, group_sizes, group_starts
from coig_p.errors import DataError
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import Pairs, find_pairs_of, row_keys
from coig_p.pairs.labels import Responses
from coig_p.schema import MESSAGES_TYPE, PAIR_SCHEMAS


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
        found: Pairs, or ResponseRows for the formats of one response a row.
    """

    batch: pa.RecordBatch
    responses: Responses
    found: Pairs | ResponseRows
    format: str

    def __len__(self) -> int:
        return len(self.found.query)

    @property
    def sides(self) -> list[Index]:
        """The responses that a row shows."""
        return [self.found.chosen, self.found.rejected] if isinstance(self.found, Pairs) else [self.found.response]

    def keys(self, seed: str) -> npt.NDArray[np.uint64]:
        """A hash of (seed, query_id, models) for every row: no order of rows or shards changes it."""
        return row_keys(self.batch, self.responses, seed, self.found.query, *self.sides)

    def take(self, some: slice | Index | Mask) -> Rows:
        """These rows alone, in this order."""
        return replace(self, found=self.found.take(some))

    def tables(self) -> Iterator[pa.Table]:
        """As tables of PAIR_SCHEMAS[format], with the same bounds as `pair_tables`.

        Raises:
            DataError: a prompt or response is null; names the query.
        """
        _check_texts(self)
        texts = pc.binary_length(self.responses.text).fill_null(0).to_numpy(zero_copy_only=False)
        prompts = pc.binary_length(self.batch.column("query")).fill_null(0).to_numpy(zero_copy_only=False)
        for some in byte_slices([prompts[self.found.query], *(texts[side] for side in self.sides)]):
            yield _table(self.take(some))


def find_rows(batch: pa.RecordBatch, config: PairConfig) -> Rows:
    """The rows of a batch of raw rows in `config.format`, as indices."""
    responses = Responses.of(batch)
    pairs = find_pairs_of(responses, batch, config)
    found = _response_rows(responses, pairs, config.format) if config.format in ("kto", "sft") else pairs
    return Rows(batch, responses, found, config.format)


def pair_tables(
    batch: pa.RecordBatch, config: PairConfig, choose: Callable[[Rows], Rows] | None = None
) -> Iterator[pa.Table]:
    """The pairs of a batch of raw rows as tables of PAIR_SCHEMAS[config.format].

    Every table is non-empty and holds at most 4 MiB of text a column (or one row), so Arrow's 2 GiB
    limit on a string column is never met.

    Args:
        choose: keeps, repeats or reorders rows before any text is copied.

    Raises:
        UsageError: the threshold is not set.
        DataError: a prompt or response of a pair is null; names the query.
    """
    rows = find_rows(batch, config)
    yield from (rows if choose is None else choose(rows)).tables()


def blank(text: pa.StringArray) -> Mask:
    """Which texts are null, empty or nothing but white space: there is nothing in them to train on."""
    spaces = pc.or_(pc.equal(pc.binary_length(text), 0), pc.utf8_is_space(text))
    return np.asarray(pc.fill_null(spaces, True).to_numpy(zero_copy_only=False))


def _check_texts(rows: Rows) -> None:
    used = [("prompt", rows.batch.column("query"), rows.found.query)]
    used += [("response", rows.responses.text, side) for side in rows.sides]
    for name, text, index in used:
        if not text.null_count:
            continue
        at = np.flatnonzero(text.is_null().to_numpy(zero_copy_only=False)[index])
        if len(at):
            query = rows.batch.column("query_id")[int(rows.found.query[at[0]])].as_py()
            raise DataError(f"query_id {query!r}: its {name} is null. Run: coigp check, then coigp clean")


def _table(rows: Rows) -> pa.Table:
    columns = _pair_columns(rows, rows.found) if isinstance(rows.found, Pairs) else _response_columns(rows, rows.found)
    if rows.format == "conversational":
        columns["prompt"] = messages("user", columns["prompt"])
        columns["chosen"] = messages("assistant", columns["chosen"])
        columns["rejected"] = messages("assistant", columns["rejected"])
    schema = PAIR_SCHEMAS[rows.format]
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _pair_columns(rows: Rows, pairs: Pairs) -> dict[str, pa.Array]:
    batch, responses = rows.batch, rows.responses
    query, chosen, rejected = pa.array(pairs.query), pa.array(pairs.chosen), pa.array(pairs.rejected)
    return {
        "prompt": pc.take(batch.column("query"), query),
        "chosen": pc.take(responses.text, chosen),
        "rejected": pc.take(responses.text, rejected),
        "query_id": pc.take(batch.column("query_id"), query),
        "domain": pc.take(batch.column("domain"), query),
        "chosen_model": pc.take(responses.model_column, chosen),
        "rejected_model": pc.take(responses.model_column, rejected),
        "chosen_score": pa.array(pairs.chosen_score),
        "rejected_score": pa.array(pairs.rejected_score),
        "margin": pa.array(pairs.margin),
    }


def _response_columns(rows: Rows, found: ResponseRows) -> dict[str, pa.Array]:
    batch, responses = rows.batch, rows.responses
    query, response = pa.array(found.query), pa.array(found.response)
    return {
        "prompt": pc.take(batch.column("query"), query),
        "completion": pc.take(responses.text, response),
        "label": pa.array(found.label),
        "query_id": pc.take(batch.column("query_id"), query),
        "domain": pc.take(batch.column("domain"), query),
        "model": pc.take(responses.model_column, response),
        "score": pa.array(found.score),
    }


def messages(role: str, text: pa.StringArray) -> pa.ListArray:
    """Each text as a conversation of one message."""
    roles = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(text), np.int32)), pa.array([role])).cast(pa.string())
    message = pa.StructArray.from_arrays([roles, text], fields=list(MESSAGES_TYPE.value_type))
    return pa.ListArray.from_arrays(pa.array(np.arange(len(text) + 1, dtype=np.int32)), message).cast(MESSAGES_TYPE)


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
