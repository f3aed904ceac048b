"""The shards of an export, written from its shuffled rows: a piece of a shard is a task; pieces are joined."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from coig_p.core.atomic import placed
from coig_p.core.parquet_join import can_join, join_files
from coig_p.engine.journal import Journal, described
from coig_p.engine.local import Workers
from coig_p.errors import UsageError
from coig_p.export.results import Epoch, WrittenShard, WrittenSplit
from coig_p.export.shuffle import Run, Shuffled, interleaved, ones, read_run
from coig_p.export.source import Source
from coig_p.export.trainers.forms import Form
from coig_p.pairs.weights import UNWEIGHTED
from coig_p.store.writing import cut, even_sizes

ROWS_PER_GROUP = 256  # a stream gives its first row, and skips to where it stopped, a group at a time
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
_BYTES_PER_PIECE = 64 << 20
_PIECES = ".pieces"


@dataclass(frozen=True)
class _Piece:
    """Row groups of a shard that follow each other.

    Attributes:
        shard: the file that they are of, by its name in the export.
        name: the file that they are written to: the shard itself, where they are all of it.
        groups: rows of each.
        runs: for each label its rows that they hold.
        rows: for each label all rows of the split.
    """

    shard: str
    name: str
    split: str
    groups: list[int]
    begin: int
    runs: tuple[Run, ...]
    rows: tuple[int, ...]


def write_splits(journal: Journal, shuffled: Shuffled, source: Source, workers: Workers) -> dict[str, WrittenSplit]:
    """Write all shards of every split that are not finished.

    Raises:
        UsageError: rows that cannot fill the shards asked for, or several shards where a trainer reads one file.
    """
    root, order, form = journal.root, source.selection.order, source.form
    sizes = {part.name: _sizes(part.name, shuffled, source) for part in source.parts}
    for name in sizes:
        (root / name).mkdir(exist_ok=True)
        (root / _PIECES / name).mkdir(parents=True, exist_ok=True)
    shards = [_name(name, at, own, form) for name, own in sizes.items() for at in range(len(own))]
    whole = journal.whole((shard for shard in shards if shard in journal.taken_up), workers)
    pieces = (
        piece
        for name, own in sizes.items()
        for piece in _pieces(name, own, shuffled, source)
        if piece.shard not in whole
    )
    work = partial(_write_piece, root, shuffled.folder, form, source.only())
    done = (
        piece
        for piece, _ in journal.in_order(
            work, pieces, workers, task=lambda piece: piece.name, files=lambda piece: [piece.name]
        )
    )
    for shard, some in groupby(done, key=lambda piece: piece.shard):
        names = [piece.name for piece in some]
        if names != [shard]:
            _put_together(root / shard, [root / name for name in names])
            journal.add(shard, described(root, [shard]))
            for name in names:
                (root / name).unlink()
    shutil.rmtree(root / _PIECES)
    return {
        name: WrittenSplit(
            rows=sum(own),
            shards=tuple(WrittenShard(_name(name, at, own, form), size) for at, size in enumerate(own)),
            rows_by_domain=dict(source.counts[name]),
            epoch=None if name in UNWEIGHTED else one_epoch(own, order.world_size or 1, order.workers or 0),
            queries_without_pairs=source.without_pairs[name] if form.rows == "sft" and not source.response_of else None,
            queries_without_response=source.without_response[name] if source.response_of is not None else None,
            queries_beside=source.singles[name].left_out if name in source.singles else None,
            queries_left_out=source.left_out[name] if source.skips else None,
            queries_excluded=source.excluded[name] if source.selection.pairs.exclude is not None else None,
            rows_repeated=source.alike[name] if form.label is None else 0,
            both_labels=source.alike[name] if form.label is not None else 0,
            balanced=source.balances[name].result() if name in source.balances else None,
        )
        for name, own in sizes.items()
    }


def _sizes(name: str, shuffled: Shuffled, source: Source) -> list[int]:
    """Rows of each shard of a split."""
    rows = sum(shuffled.rows[name, label] for label in range(source.labels))
    number = source.selection.order.number(1)
    if source.form.one_file and number > 1:
        raise UsageError(f"{source.form.trainer} reads one file: leave out shards, world size and workers")
    if rows < number:
        if name not in UNWEIGHTED:
            raise UsageError(
                f"{rows} rows of {name} cannot fill {number} shards: ask for fewer ranks, workers or shards"
            )
        number = 1  # a small evaluation set is read by every rank
    return even_sizes(rows, number)


def _name(split: str, at: int, sizes: Sequence[int], form: Form) -> str:
    return f"{split}/{at:05d}-of-{len(sizes):05d}.{form.file_type}"


def _pieces(name: str, sizes: Sequence[int], shuffled: Shuffled, source: Source) -> Iterator[_Piece]:
    rows = tuple(shuffled.rows[name, label] for label in range(source.labels))
    row = shuffled.parts.bytes // max(1, shuffled.rows.total()) or 1  # bytes of one, about
    most = max(1, _BYTES_PER_PIECE // (row * ROWS_PER_GROUP))
    if source.form.file_type == "parquet" and not can_join():
        most = max(sizes)
    begin = 0
    for at, size in enumerate(sizes):
        shard = _name(name, at, sizes, source.form)
        groups = even_sizes(size, -(-size // ROWS_PER_GROUP))
        alone = len(groups) <= most
        for number, first in enumerate(range(0, len(groups), most)):
            own = groups[first : first + most]
            end = begin + sum(own)
            if len(rows) == 1:
                runs: tuple[Run, ...] = (shuffled.run((name, 0), begin, end),)
            else:
                true = int(ones(begin, (rows[0], rows[1]))), int(ones(end, (rows[0], rows[1])))
                runs = (shuffled.run((name, 0), *true), shuffled.run((name, 1), begin - true[0], end - true[1]))
            yield _Piece(shard, shard if alone else f"{_PIECES}/{shard}.{number:05d}", name, own, begin, runs, rows)
            begin = end


def _write_piece(root: Path, folder: Path, form: Form, only: dict[str, Callable[[Any], Any]], piece: _Piece) -> None:
    sides = [read_run(folder, run, only.get(piece.split)) for run in piece.runs]
    if len(sides) == 1:
        batches = sides[0]
    else:
        end = piece.begin + sum(piece.groups)
        batches = interleaved(sides[0], sides[1], (piece.rows[0], piece.rows[1]), piece.begin, end)
    with placed(root / piece.name) as temporary:
        _write_groups(temporary, form, cut(batches, piece.groups))


def _write_groups(path: Path, form: Form, groups: Iterator[list[pa.RecordBatch]]) -> None:
    if form.file_type == "jsonl":
        with path.open("wb") as stream:
            for group in groups:
                for row in pa.Table.from_batches(group).to_pylist():
                    stream.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        return
    options = {"compression": "zstd", "compression_level": 3, "write_page_index": True}
    with pq.ParquetWriter(path, form.schema, use_dictionary=["domain"], **options) as writer:
        for group in groups:
            table = pa.Table.from_batches(group, form.schema)
            writer.write_table(table, row_group_size=max(1, table.num_rows))


def _put_together(shard: Path, pieces: Sequence[Path]) -> None:
    """Make the shard of its pieces, which stay."""
    with placed(shard) as temporary:
        if shard.suffix == ".jsonl":
            with temporary.open("wb") as out:
                for piece in pieces:
                    with piece.open("rb") as stream:
                        shutil.copyfileobj(stream, out)
        else:
            join_files(pieces, temporary)


def one_epoch(sizes: Sequence[int], world_size: int, workers: int) -> Epoch:
    """How many rows a rank reads at least and at most, and max_steps of one epoch for a batch size on each rank.

    datasets' split_dataset_by_node gives rank r the shards r, r + world_size, ..., accelerate a run of
    neighbours, and both deal them to a rank's workers in turn. Each worker makes batches of its own
    rows, and ranks must take as many steps as each other: max_steps is what the rank with the
    fewest full batches has, in either way.
    """
    own = len(sizes) // world_size
    ranks = [sizes[rank::world_size] for rank in range(world_size)]
    ranks += [sizes[rank * own : (rank + 1) * own] for rank in range(world_size)]
    readers = [[sum(rank[at :: max(1, workers)]) for at in range(max(1, workers))] for rank in ranks]
    rows = [sum(rank) for rank in ranks]
    steps = {batch: min(sum(rows // batch for rows in reader) for reader in readers) for batch in BATCH_SIZES}
    return Epoch(least=min(rows), most=max(rows), max_steps=steps)
