"""One row a query: what people look for queries by, sort and filter them by. No response's text is in it.

A row also says where its query stands, so that whoever shows it reads that row group alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Floats, Index
from coig_p.core.normalize import comparison_forms
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import find_candidates
from coig_p.pairs.labels import Names, Responses
from coig_p.schema import RAW_SCHEMA, without
from coig_p.stats.disagreement import disagreements
from coig_p.store.conversations import content_lengths, contents
from coig_p.store.fetching import over_shards
from coig_p.store.manifest import StoreFile
from coig_p.store.sharing import workers_for
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import ROWS_PER_GROUP

QUERIES = pa.schema(
    [
        ("file", pa.int32()),
        ("row", pa.int32()),
        ("query_id", pa.string()),
        ("domain", pa.string()),
        ("split", pa.string()),
        ("source", pa.string()),
        ("said", pa.string()),
        ("form", pa.large_string()),
        ("length", pa.int64()),
        ("responses", pa.int32()),
        ("scores", pa.int32()),
        ("comparisons", pa.int32()),
        ("models", pa.list_(pa.string())),
        ("judges", pa.list_(pa.string())),
        ("margin", pa.float64()),
        ("length_difference", pa.int64()),
        ("disagreement", pa.float64()),
        ("disagreeing", pa.list_(pa.string())),
    ]
)
"""A row for each query, in the store's order.

file, row          its shard's place among `Store.data_files`, and its place in that shard
said               how all that is said before the responses begins
form               the comparison form of all of it, to search in
length             characters of that, as it stands
models, judges     each once, by name
margin             the largest of two responses, at any threshold; null where no two have a label
length_difference  characters of the longest response, less those of the shortest
disagreement       see `coig_p.stats.disagreement`, null where it has none; disagreeing: the two judges
"""

_SHOWN = 160  # characters
_LOOKED_AT = without(RAW_SCHEMA, {"meta", "rationale"})


def query_table(
    store: Store,
    *,
    domains: Collection[str] = (),
    split: str | None = None,
    num_proc: int | None = 1,
    advance: Callable[[int], None] = lambda queries: None,
) -> pa.Table:
    """Every query of a store as a row of QUERIES.

    Args:
        domains, split: these alone; default all.
        num_proc: processes that share the shards; None for as many as pay (see `coig_p.store.sharing`).
        advance: called with the number of queries read since the last call.

    Raises:
        UnknownNameError: the store has no such domain or split.
        StoreError: a shard that cannot be read.
    """
    places = {file.path: at for at, file in enumerate(store.data_files())}
    files = store.selected_files(domains, split)
    tables = [QUERIES.empty_table()]
    for file, table in over_shards(_of_shard, store.path, (places,), files, workers_for(files, num_proc)):
        tables.append(table)
        advance(file.rows or 0)
    return pa.concat_tables(tables)


def _of_shard(root: Path, places: dict[str, int], file: StoreFile) -> pa.Table:
    rows: list[pa.RecordBatch] = []
    begin = 0
    for batch in shard_batches(root, file, ROWS_PER_GROUP, _LOOKED_AT, threads=False):
        rows.append(query_rows(batch, places[file.path], begin, str(file.split)))
        begin += batch.num_rows
    return pa.Table.from_batches(rows, QUERIES)


def query_rows(batch: pa.RecordBatch, file: int, begin: int, split: str) -> pa.RecordBatch:
    """A batch of raw rows as rows of QUERIES.

    Args:
        file, begin: the place of their shard, and of the first row in it.
    """
    responses = Responses.of(batch)
    config = PairConfig()
    apart = disagreements(responses, batch, config)
    names = np.array([*apart.names, None], object)
    told = apart.judge >= 0
    disagreeing = [
        [one, two] if there else None
        for one, two, there in zip(names[apart.judge], names[apart.other], told, strict=True)
    ]
    said = [text or "" for text in contents(batch).to_pylist()]
    columns = {
        "file": np.full(batch.num_rows, file, np.int32),
        "row": np.arange(begin, begin + batch.num_rows, dtype=np.int32),
        "query_id": batch.column("query_id"),
        "domain": batch.column("domain"),
        "split": pa.repeat(pa.scalar(split), batch.num_rows),
        "source": batch.column("source"),
        "said": [text[:_SHOWN] for text in said],
        "form": pa.array(comparison_forms(said), pa.large_string()),
        "length": content_lengths(batch),
        "responses": np.bincount(responses.query, minlength=batch.num_rows).astype(np.int32),
        "scores": _usable_scores(batch, responses),
        "comparisons": pc.fill_null(pc.list_value_length(batch.column("comparisons")), 0),
        "models": _names_of(responses.model, responses.query, batch.num_rows),
        "judges": _judges(batch, responses),
        "margin": _largest_margin(responses, batch, config),
        "length_difference": _length_differences(responses, batch.num_rows),
        "disagreement": apart.value,
        "disagreeing": pa.array(disagreeing, pa.list_(pa.string())),
    }
    arrays = [pa.array(columns[field.name], field.type, from_pandas=True) for field in QUERIES]
    return pa.RecordBatch.from_arrays(arrays, schema=QUERIES)


def _usable_scores(batch: pa.RecordBatch, responses: Responses) -> Index:
    usable = np.isfinite(responses.score)
    return np.bincount(responses.query[responses.score_of[usable]], minlength=batch.num_rows).astype(np.int32)


def _judges(batch: pa.RecordBatch, responses: Responses) -> pa.ListArray:
    compared = batch.column("comparisons")
    sizes = pc.fill_null(pc.list_value_length(compared), 0).to_numpy(zero_copy_only=False)
    of_compared = Names.of(pc.struct_field(compared.flatten(), "judge"))
    names = list(dict.fromkeys([*responses.judge.names, *of_compared.names]))
    places = {name: at for at, name in enumerate(names)}
    code = [
        responses.judge.each([places[name] for name in responses.judge.names], -1),
        of_compared.each([places[name] for name in of_compared.names], -1),
    ]
    query = [responses.query[responses.score_of], np.repeat(np.arange(batch.num_rows), sizes)]
    return _names_of(Names(np.concatenate(code), names), np.concatenate(query), batch.num_rows)


def _names_of(names: Names, query: Index, rows: int) -> pa.ListArray:
    """The names that stand in each row, each once, in alphabetical order."""
    order = sorted(names.names)
    rank = {name: at for at, name in enumerate(order)}
    code = names.each([rank[name] for name in names.names], -1)
    count = max(len(order), 1)
    cells = np.unique(query[code >= 0] * count + code[code >= 0])
    sizes = np.bincount(cells // count, minlength=rows)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(order, pa.string()).take(pa.array(cells % count)))


def _largest_margin(responses: Responses, batch: pa.RecordBatch, config: PairConfig) -> Floats:
    found = np.full(batch.num_rows, np.nan)
    for labelled in find_candidates(responses, batch, config).labelled:
        # The nearest floats are in the order of the exact margins.
        np.fmax.at(found, responses.query[labelled.low], np.abs(labelled.floats()[2]))
    return found


def _length_differences(responses: Responses, rows: int) -> Index:
    length = pc.fill_null(pc.utf8_length(responses.text), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    longest, shortest = np.zeros(rows, np.int64), np.full(rows, np.iinfo(np.int64).max)
    np.maximum.at(longest, responses.query, length)
    np.minimum.at(shortest, responses.query, length)
    return np.where(shortest <= longest, longest - shortest, 0)
