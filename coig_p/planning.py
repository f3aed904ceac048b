"""coig_p.plan: how many rows a stream gives, and in which shards, known before it is read."""

from __future__ import annotations

from typing import Any

import datasets

from coig_p.builder import CoigP
from coig_p.core.code_hash import code_hash
from coig_p.errors import UnknownNameError, UsageError
from coig_p.pairs.counting import PlannedSplit, StreamPlan, shard_rows
from coig_p.pairs.plan import Block, Piece, read_all_groups
from coig_p.pairs.selection import RawSelection
from coig_p.pairs.weights import ONCE
from coig_p.schema import NAME

_NOT_OF_ROWS = (
    "cache_dir",
    "download_mode",
    "features",
    "keep_in_memory",
    "num_proc",
    "save_infos",
    "streaming",
    "trust_remote_code",
    "verification_mode",
)
"""Arguments of load_dataset that change neither which rows a stream has nor their order."""


def plan(
    path: str = NAME,
    name: str | None = None,
    *,
    data_dir: str | None = None,
    split: Any = None,
    epochs: int = 1,
    revision: str | None = None,
    token: str | bool | None = None,
    **options: Any,
) -> StreamPlan:
    """How many rows `load_dataset(..., streaming=True)` gives with the same arguments, and in which shards.

    A Trainer that streams must be told how many steps there are: `plan(...).max_steps(batch_size)`. Nothing is
    estimated: scores and answers are read once (see `coig_p.pairs.counting`).

    Args:
        split: the name of one split; default all.
        epochs: so many are planned, from 0: what `max_steps` counts.
        revision: of a repository named by `data_dir`.
        options: those of `load_dataset`; what changes neither rows nor shards, as cache_dir, is not looked at.

    Raises:
        UsageError: an unknown config, option, split or value.
        StoreError, RemoteError: the store could not be read.
    """
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        raise UsageError(f"epochs={epochs!r}: use a whole number from 1")
    if path != NAME:
        if name is not None:
            raise UsageError(f"to plan for {path!r}, pass it as data_dir: plan({NAME!r}, {name!r}, data_dir=...)")
        name = path
    if revision is not None:
        if data_dir is None:
            raise UsageError("revision= is of a repository: name it with data_dir=")
        data_dir = f"{data_dir}@{revision}"
    options = {option: value for option, value in options.items() if option not in _NOT_OF_ROWS}
    token = getattr(options.pop("download_config", None), "token", None) if token is None else token
    builder = CoigP(dataset_name=NAME, config_name=name, hash=code_hash(), token=token, data_dir=data_dir, **options)
    found = {str(one.name): one for one in builder._split_generators(datasets.StreamingDownloadManager())}
    if split is not None and str(split) not in found:
        raise UnknownNameError("split", str(split), list(found))
    chosen = found if split is None else [str(split)]
    return StreamPlan(
        builder.config.name, tuple(_planned(builder, one, found[one].gen_kwargs, epochs) for one in chosen)
    )


def _planned(builder: CoigP, name: str, kwargs: dict[str, Any], epochs: int) -> PlannedSplit:
    selection, cut = builder.config.selection, kwargs["split"]
    if isinstance(selection, RawSelection) and cut is None:
        files = selection.files(builder.config.location.manifest, name)
        shards = tuple(file.rows or 0 for file in files)
        return PlannedSplit(name, sum(shards), (shards,) * epochs)
    pieces = [
        [[piece for block in shard for piece in block] for shard in blocks]
        for blocks in (_shards_of(builder, kwargs, epoch) for epoch in range(epochs if "plan" in kwargs else 1))
    ]
    if isinstance(selection, RawSelection):
        counted = tuple(tuple(sum(piece.end for piece in shard) for shard in shards) for shards in pieces)
        return PlannedSplit(name, sum(counted[0]), counted * epochs)
    counted = shard_rows(pieces, builder.opened, selection.pairs, cut, selection.shape)
    order = selection.order
    counted = counted if "plan" in kwargs else counted * epochs
    return PlannedSplit(name, sum(counted[0]), counted, order.world_size or 1, order.workers or 0)


def _shards_of(builder: CoigP, kwargs: dict[str, Any], epoch: int) -> list[list[Block]]:
    """The shards of an epoch as blocks; those of the store are a block a row group."""
    if "shards" in kwargs:
        shards: list[list[Block]] = kwargs["plan"](epoch=epoch) if epoch else kwargs["shards"]
        return shards
    files = read_all_groups(kwargs["files"], builder.opened, ONCE[0], kwargs["split"])
    return [[(Piece(group, 0, group.rows),) for group in groups] for groups in files]
