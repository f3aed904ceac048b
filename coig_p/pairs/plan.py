"""Shuffled and evenly cut streams straight from a store: which row groups make up which shard.

A shuffle buffer loses and repeats rows when a run is resumed, and three shards on two ranks
make one of them repeat. Here the order is a plan instead, made once from (shuffle_seed, the
store): row groups, or parts of them where they are few, are laid end to end in an order drawn by
the seed, cut into shards equal in queries to within one, and within a shard taken in blocks of up
to 8 row groups; the rows of a block are ordered by a hash. The queries counted are those of the
split, and a query of which a weight shows half the rows counts half. Nothing is buffered beyond a
block, so resuming is exact, and map-style, streaming and num_proc give one order. `coigp export`
shuffles the rows globally.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from coig_p.core.arrays import hash64, mix
from coig_p.errors import UsageError
from coig_p.pairs.agreeing import reward_names
from coig_p.pairs.config import PairConfig
from coig_p.pairs.options import whole_number
from coig_p.pairs.rows import Rows, find_rows
from coig_p.pairs.splits import OneSplit
from coig_p.pairs.turns import Shape
from coig_p.pairs.weights import Pass, is_partial, share_of
from coig_p.schema import PAIRING_SCHEMA
from coig_p.store.reading import open_shard, read_batches
from coig_p.store.rewarded import rewarded, rewards_beside
from coig_p.store.writing import even_sizes

GROUPS_PER_BLOCK = 8  # 2,048 queries, some 30,000 pairs: rows of one query meet as rarely as in a global shuffle
PIECES_PER_SHARD = 4  # at least, where row groups can be cut: one group is one domain, and ranks should see a mixture
QUERIES_PER_PIECE = 32  # at least: every piece reads its whole row group again
_BYTES_PER_BLOCK = 64 << 20
_FOOTERS = 8  # read side by side: one of a remote file is a round trip
_logger = logging.getLogger("coig_p")


@dataclass(frozen=True)
class ShardConfig:
    """Order and number of shards. The same names are keywords of load_dataset and CLI options.

    Shards are equal in queries to within one, and their number is a multiple of world_size x workers.

    Raises:
        UsageError: a value that is not a whole number, or too small.
    """

    shuffle_seed: int | None = field(default=None, metadata={"help": "Shuffle by this seed, the same everywhere."})
    shards: int | None = field(default=None, metadata={"help": "Number of shards. Default: world size x workers."})
    world_size: int | None = field(default=None, metadata={"help": "Ranks that will share the rows."})
    workers: int | None = field(default=None, metadata={"help": "DataLoader workers of each rank."})

    def __post_init__(self) -> None:
        for name, least in (("shuffle_seed", None), ("shards", 1), ("world_size", 1), ("workers", 0)):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, whole_number(name, value, least))
        if self.shards is not None and self.shards % self.readers:
            raise UsageError(
                f"shards={self.shards} cannot be shared evenly by {self.readers} readers (world size x workers): "
                f"use {self.readers * max(1, round(self.shards / self.readers))}, or leave shards out"
            )

    @property
    def readers(self) -> int:
        """Processes that read at a time: ranks, each with its workers; a rank without workers reads itself."""
        return (self.world_size or 1) * max(1, self.workers or 0)

    @property
    def plans(self) -> bool:
        """Whether anything but the store's own shards is asked for."""
        return self != ShardConfig()

    def seed(self, epoch: int) -> int | str | None:
        """What the order of an epoch is drawn by: `shuffle_seed` itself in epoch 0; None where nothing is shuffled."""
        return f"{self.shuffle_seed} epoch {epoch}" if epoch and self.shuffle_seed is not None else self.shuffle_seed

    def number(self, default: int) -> int:
        """How many shards: as asked for, else `default` rounded up to a multiple of the readers."""
        return self.shards or -(-max(default, 1) // self.readers) * self.readers


class Group(NamedTuple):
    """A row group of the store, shown once.

    Attributes:
        rows: how many of its queries are in the split.
        bytes: of the whole group, uncompressed.
        shown: which showing in the epoch it is (see `coig_p.pairs.weights`).
        before: rows of its domain and split that come before it; for a partial showing alone.
    """

    file: str
    number: int
    rows: int
    bytes: int
    shown: Pass
    before: int = 0


class Piece(NamedTuple):
    """The queries `begin` to `end` of a row group, of those in the split."""

    group: Group
    begin: int
    end: int


Block = tuple[Piece, ...]


def make_plan(
    groups: Sequence[Group], config: ShardConfig, default_shards: int, *, may_be_few: bool = False, epoch: int = 0
) -> list[list[Block]]:
    """The blocks of each shard. All queries are in exactly one piece for each showing.

    Args:
        epoch: another order for each, of as many shards; unshuffled it changes nothing.
        may_be_few: make one shard, rather than an error, of queries that are fewer than the shards.

    Raises:
        UsageError: more shards than queries.
    """
    order = [Piece(group, 0, group.rows) for group in groups if group.rows]
    if config.shuffle_seed is not None:
        default_shards = len(order) // GROUPS_PER_BLOCK
    total = sum(piece.end for piece in order)
    number = config.number(min(default_shards, total // config.readers * config.readers))
    if number > total:
        if not may_be_few:
            raise UsageError(f"{total} queries cannot fill {number} shards: ask for fewer ranks, workers or shards")
        number = 1
    if config.shuffle_seed is not None:
        order = _cut_finer(order, number)
        names = [f"order {config.seed(epoch)} {at}" for at in range(len(order))]
        order = [order[at] for at in np.argsort([hash64(name) for name in names], kind="stable")]
    shards: list[list[Block]] = []
    waiting = order[::-1]
    for size in _shard_sizes(order, number):
        pieces = []
        while size:
            piece = waiting.pop()
            if piece.end - piece.begin > size:
                waiting.append(piece._replace(begin=piece.begin + size))
                piece = piece._replace(end=piece.begin + size)
            pieces.append(piece)
            size -= piece.end - piece.begin
        shards.append(list(_blocks(pieces, 1 if config.shuffle_seed is None else GROUPS_PER_BLOCK)))
    return shards


def _cut_finer(pieces: list[Piece], number: int) -> list[Piece]:
    """The same queries in smaller pieces where there are too few for each of `number` shards to get several."""
    wanted = PIECES_PER_SHARD * number
    if number == 1 or len(pieces) >= wanted:
        return pieces
    weights = [piece.end * piece.group.shown.fraction for piece in pieces]
    found = []
    for piece, weight in zip(pieces, weights, strict=True):
        parts = min(-(-wanted * weight // sum(weights)), piece.end // QUERIES_PER_PIECE)
        begin = 0
        for size in even_sizes(piece.end, max(1, parts)):
            found.append(Piece(piece.group, begin, begin + size))
            begin += size
    return found


def _shard_sizes(pieces: Sequence[Piece], number: int) -> list[int]:
    """How many queries each shard gets, at least one, so that all weigh the same to within one query.

    A query weighs the fraction of its rows that is shown: of a domain with weight .01 a hundred weigh one.
    """
    if not pieces:
        return [0] * number
    queries = np.array([piece.end - piece.begin for piece in pieces])
    weight = np.array([piece.group.shown.fraction for piece in pieces])
    weight //= np.gcd.reduce(weight)  # all alike weigh 1, and the cuts are exact
    ends, weight_ends = np.cumsum(queries), np.cumsum(queries * weight)
    targets = np.cumsum(even_sizes(int(weight_ends[-1]), number))
    at = np.searchsorted(weight_ends, targets)
    beyond = (2 * (weight_ends[at] - targets) + weight[at]) // (2 * weight[at])  # rounded to whole queries
    nth = np.arange(number)
    cuts = np.maximum.accumulate(np.maximum(ends[at] - beyond - nth, 1)) + nth
    cuts = np.minimum(cuts, ends[-1] - nth[::-1])
    return [int(size) for size in np.diff(cuts, prepend=0)]


def _blocks(pieces: Sequence[Piece], most: int) -> Iterator[Block]:
    block: list[Piece] = []
    for piece in pieces:
        if block and (len(block) == most or sum(one.group.bytes for one in [*block, piece]) > _BYTES_PER_BLOCK):
            yield tuple(block)
            block = []
        block.append(piece)
    if block:
        yield tuple(block)


def block_rows(
    block: Block,
    read: Callable[[Group], pa.RecordBatch],
    pairs: PairConfig,
    split: OneSplit | None,
    shuffle_seed: int | str | None,
    shape: Shape | None = None,
) -> Rows:
    """The rows of a block, in their order, before any text of them is copied.

    Args:
        read: gives all queries of a row group, those of other splits too, in the columns that pairs need.
        shuffle_seed: see `ShardConfig.seed`.
        shape: how conversations are shown (see `coig_p.pairs.rows.find_rows`).
    """
    batches, shown, kept_from = [], [], []
    for piece in block:
        batch = read(piece.group)
        if split is not None:
            batch = split.keep(batch)
        at = np.arange(batch.num_rows)
        inside = (at >= piece.begin) & (at < piece.end)
        if not is_partial(piece.group.shown):  # a share is dealt over the whole group first
            batch, inside = batch.filter(pa.array(inside)), inside[inside]
        batches.append(batch)
        kept_from.append(inside)
        shown.append(np.full(batch.num_rows, piece.group.shown.copy))
    rows = find_rows(joined(batches), pairs, shape)
    query = rows.found.query
    keep = np.concatenate(kept_from)[query]
    ends = np.cumsum([batch.num_rows for batch in batches])
    for piece, end, batch in zip(block, ends, batches, strict=True):
        if is_partial(piece.group.shown):
            low, high = np.searchsorted(query, [end - batch.num_rows, end])
            own = rows.take(slice(low, high))
            keep[low:high] &= share_of(own, piece.group.before, piece.group.shown.fraction)
    rows = rows.take(np.flatnonzero(keep))
    if shuffle_seed is not None:
        rows = rows.take(shuffled(rows, shuffle_seed, np.concatenate(shown)[rows.found.query]))
    return rows


def shuffle_keys(rows: Rows, seed: int | str, copy: Any) -> Any:
    """A uniform 64-bit key for each row; `copy` tells showings of one row apart (one number, or one a row)."""
    return mix(rows.keys(f"shuffle {seed}") ^ np.asarray(copy, np.uint64))


def shuffled(rows: Rows, seed: int | str, copy: Any) -> Any:
    """Positions of the rows in the order of their keys."""
    return np.argsort(shuffle_keys(rows, seed, copy), kind="stable")


def read_groups(file: str, opened: Callable[[str], Any], shown: Pass, split: OneSplit | None = None) -> list[Group]:
    """A shard's row groups: from its footer alone, or with a split from its query_ids, too."""
    found = []
    with opened(file) as stream, open_shard(stream, file, rows=split is not None) as shard:
        for number in range(shard.num_row_groups):
            group = shard.metadata.row_group(number)
            rows = group.num_rows
            if split is not None:
                ids = shard.read_row_group(number, columns=["query_id"])
                rows = int(split.splits.mask(ids, split.name).sum())
            found.append(Group(file, number, rows, group.total_byte_size, shown))
    return found


def read_all_groups(
    files: Sequence[str], opened: Callable[[str], Any], shown: Pass, split: OneSplit | None = None
) -> list[list[Group]]:
    """The row groups of each of these shards; see `read_groups`."""
    with ThreadPoolExecutor(_FOOTERS) as threads:
        return list(threads.map(lambda file: read_groups(file, opened, shown, split), files))


def count_rows(
    groups: Sequence[Group], opened: Callable[[str], Any], pairs: PairConfig, split: OneSplit | None
) -> list[Group]:
    """The same groups, with the number of rows before each. Reads them all."""
    counted, before = [], 0
    for group in groups:
        counted.append(group._replace(before=before))
        if group.rows:
            batch = read_group(group, opened, rewards=reward_names(pairs))
            before += len(find_rows(split.keep(batch) if split else batch, pairs))
    return counted


def read_group(
    group: Group,
    opened: Callable[[str], Any],
    schema: pa.Schema = PAIRING_SCHEMA,
    rewards: Sequence[str] = (),
) -> pa.RecordBatch:
    """All queries of a row group, those of other splits too, in the columns of `schema`, a part of RAW_SCHEMA.

    Args:
        rewards: names of those that the rows bring along (see `coig_p.store.rewarded`).
    """
    beside = rewards_beside(group.file, rewards, opened)
    with opened(group.file) as stream, open_shard(stream, group.file) as shard:
        rows = shard.metadata.row_group(group.number).num_rows
        return joined(rewarded(read_batches(shard, rows, [group.number], schema), beside))


def joined(batches: Iterable[pa.RecordBatch]) -> pa.RecordBatch:
    """Batches, at least one, as one; Arrow's own function for it came with version 19."""
    table = pa.Table.from_batches(list(batches)).combine_chunks()
    empty = [pa.RecordBatch.from_pylist([], schema=table.schema)]
    return (table.to_batches() or empty)[0]


def ranks_here() -> int | None:
    """How many ranks share the work, as torch.distributed or torchrun's variable says; None where nobody does."""
    torch = sys.modules.get("torch")
    distributed = getattr(torch, "distributed", None)
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_world_size())
    named = os.environ.get("WORLD_SIZE", "")
    return int(named) if named.isdigit() and int(named) > 0 else None


def warn_uneven(number: int, config: ShardConfig) -> None:
    """Log a warning where `number` shards cannot be shared evenly by the ranks and workers there are."""
    ranks = ranks_here() or config.world_size
    if ranks is None and config.workers is None:
        return
    workers = max(1, config.workers or 0)
    readers = (ranks or 1) * workers
    if number % readers == 0:
        return
    problem = "some would have nothing to read" if number < readers else "some would read more than others"
    _logger.warning(
        "%d shards for %d ranks x %d workers: %s. Pass world_size=%d, workers=%d and the shards are cut to fit, "
        "or write them with: coigp export --world-size %d --workers %d",
        number, ranks or 1, workers, problem, ranks or 1, workers, ranks or 1, workers,
    )  # fmt: skip
