"""How many rows a stream gives, before any is read: by split, epoch and shard, and the steps of a trainer.

Equal to counting the stream. What decides is read once for all epochs: ids, models, scores and, since
two equal answers are no pair, the answers; no prompt, turn or rationale unless conversations are left
out, or rewards must be those of the prompt. A query counts once for each showing, wherever an epoch puts
it. Raw rows are counted by the manifest, or by their ids where they are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np

from coig_p.core.arrays import Index
from coig_p.core.html import html_table
from coig_p.core.text import counted
from coig_p.engine.local import in_order
from coig_p.errors import UnknownNameError, UsageError
from coig_p.pairs.agreeing import reward_names
from coig_p.pairs.config import PairConfig
from coig_p.pairs.plan import Group, Piece, read_group
from coig_p.pairs.rows import find_rows
from coig_p.pairs.splits import OneSplit
from coig_p.pairs.turns import SKIP, Shape
from coig_p.pairs.weights import ONCE, is_partial, share_of
from coig_p.schema import PAIRING_SCHEMA, without


@dataclass(frozen=True)
class PlannedSplit:
    """One split of a stream.

    Attributes:
        name: of the split.
        rows: of one epoch.
        shards: for each epoch, the rows of each shard in the stream's order. An epoch's shards are equal in
            queries, not in rows, so they differ from epoch to epoch where the order does.
        world_size, workers: who will read, as the stream was asked for; 1 and 0 where nobody said.
    """

    name: str
    rows: int
    shards: tuple[tuple[int, ...], ...]
    world_size: int = 1
    workers: int = 0

    @property
    def num_shards(self) -> int:
        """How many shards the stream has."""
        return len(self.shards[0])

    @property
    def epochs(self) -> int:
        """How many epochs were planned."""
        return len(self.shards)

    def ranks(self, epoch: int = 0) -> tuple[int, ...]:
        """The rows of each rank in an epoch, as split_dataset_by_node deals the shards: every n-th to a rank.

        Raises:
            UsageError: the shards cannot be shared evenly, or the epoch was not planned.
        """
        return tuple(sum(sum(own) for own in rank) for rank in self._readers(epoch)[: self.world_size])

    def max_steps(self, batch_size: int, gradient_accumulation: int = 1, *, drop_last: bool = False) -> int:
        """How many steps a trainer can take in the planned epochs.

        Every worker makes batches of its own rows, and in an epoch all ranks can take as many steps as the one
        with the fewest batches, whether ranks get every n-th shard (split_dataset_by_node) or neighbours
        (accelerate). Batches that do not fill up a step at an epoch's end make none.

        Args:
            batch_size: rows of a batch on one rank.
            gradient_accumulation: batches of a step.
            drop_last: batches that are not full do not count.

        Raises:
            UsageError: a number that is not a whole one from 1, or shards that cannot be shared evenly.
        """
        for name, value in (("batch_size", batch_size), ("gradient_accumulation", gradient_accumulation)):
            if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
                raise UsageError(f"{name}={value!r}: use a whole number from 1")
        steps = 0
        for epoch in range(self.epochs):
            batches = [
                sum(rows // batch_size if drop_last else -(-rows // batch_size) for rows in map(sum, rank))
                for rank in self._readers(epoch)
            ]
            steps += min(batches) // int(gradient_accumulation)
        return int(steps)

    def _readers(self, epoch: int) -> list[list[list[int]]]:
        """For each rank, the shards of each worker: ranks that get every n-th shard, then ranks that get neighbours."""
        if not isinstance(epoch, Integral) or not 0 <= epoch < self.epochs:
            raise UsageError(f"epoch={epoch!r}: {self.epochs} were planned, from 0")
        shards = self.shards[int(epoch)]
        if len(shards) % self.world_size:
            raise UsageError(
                f"split {self.name}: {len(shards)} shards cannot be shared evenly by {self.world_size} ranks. Pass "
                f"world_size={self.world_size} to load_dataset and here, with enough queries for it"
            )
        own = len(shards) // self.world_size
        ranks = [shards[rank :: self.world_size] for rank in range(self.world_size)]
        ranks += [shards[rank * own : (rank + 1) * own] for rank in range(self.world_size)]
        workers = max(1, self.workers)
        return [[list(rank[at::workers]) for at in range(workers)] for rank in ranks]

    def to_dict(self) -> dict[str, Any]:
        """As dicts, lists, strings and numbers."""
        return asdict(self) | {"shards": [list(epoch) for epoch in self.shards]}


@dataclass(frozen=True)
class StreamPlan:
    """What a stream will give, split by split: `plan["train"]`, or `plan.only` where there is one.

    Attributes:
        config: a domain, or all; with -raw where rows are not paired.
        splits: in the stream's order.
    """

    config: str
    splits: tuple[PlannedSplit, ...]

    def __getitem__(self, name: str) -> PlannedSplit:
        for split in self.splits:
            if split.name == str(name):
                return split
        raise UnknownNameError("split", str(name), [split.name for split in self.splits])

    def __iter__(self) -> Iterator[str]:
        return iter(split.name for split in self.splits)

    def __len__(self) -> int:
        return len(self.splits)

    @property
    def only(self) -> PlannedSplit:
        """The only split.

        Raises:
            UsageError: there are several.
        """
        if len(self.splits) != 1:
            raise UsageError(f"there are splits {', '.join(self)}: name one, as in plan[{next(iter(self), 'train')!r}]")
        return self.splits[0]

    @property
    def rows(self) -> int:
        """Rows of one epoch of the only split; raises UsageError where there are several."""
        return self.only.rows

    def max_steps(self, batch_size: int, gradient_accumulation: int = 1, *, drop_last: bool = False) -> int:
        """`PlannedSplit.max_steps` of the only split; raises UsageError where there are several."""
        return self.only.max_steps(batch_size, gradient_accumulation, drop_last=drop_last)

    def to_dict(self) -> dict[str, Any]:
        """As dicts, lists, strings and numbers."""
        return {"config": self.config, "splits": {split.name: split.to_dict() for split in self.splits}}

    def __repr__(self) -> str:
        sizes = ((split.name, counted(split.rows, "row"), counted(split.num_shards, "shard")) for split in self.splits)
        told = ", ".join(f"{name} {rows} in {shards}" for name, rows, shards in sizes)
        return f"StreamPlan({self.config}: {told})"

    def _repr_html_(self) -> str:
        rows = [[split.name, split.rows, split.num_shards, split.epochs] for split in self.splits]
        return html_table(f"Stream of {self.config}", ["split", "rows", "shards", "epochs"], rows)


def shard_rows(
    epochs: Sequence[Sequence[Sequence[Piece]]],
    opened: Callable[[str], Any],
    pairs: PairConfig,
    split: OneSplit | None,
    shape: Shape,
) -> tuple[tuple[int, ...], ...]:
    """The rows of each shard in each epoch.

    Args:
        epochs: for each the shards, as the pieces of row groups that they read.
        opened: from a file's name to a context of a binary file object.
    """
    groups = {_read_once(piece.group): None for shards in epochs for shard in shards for piece in shard}
    counted = dict(in_order(partial(_rows_by_query, opened=opened, pairs=pairs, split=split, shape=shape), groups))
    ends = {group: np.concatenate([[0], np.cumsum(rows)]) for group, rows in counted.items()}

    def rows(piece: Piece) -> int:
        before = ends[_read_once(piece.group)]
        return int(before[piece.end] - before[piece.begin])

    return tuple(tuple(sum(map(rows, shard)) for shard in shards) for shards in epochs)


def _read_once(group: Group) -> Group:
    """The first whole showing stands for the others, which have the same rows."""
    return group if is_partial(group.shown) else group._replace(shown=ONCE[0], before=0)


def _rows_by_query(
    group: Group, *, opened: Callable[[str], Any], pairs: PairConfig, split: OneSplit | None, shape: Shape
) -> Index:
    skipped = SKIP in (pairs.multi_turn, shape.multi_turn)
    columns, rewards = PAIRING_SCHEMA, reward_names(pairs)
    if not rewards:  # which are of a prompt and an answer as they were scored
        columns = without(PAIRING_SCHEMA, {"query"} if skipped else {"query", "messages", "tools"})
    batch = read_group(group, opened, columns, rewards)
    if split is not None:
        batch = split.keep(batch)
    rows = find_rows(batch, pairs, shape)
    if is_partial(group.shown):
        rows = rows.take(np.flatnonzero(share_of(rows, group.before, group.shown.fraction)))
    return np.bincount(rows.found.query, minlength=batch.num_rows)
