"""The rows that a recipe trains on: a stream of pairs of a store, or the shards of an export, for so many readers.

A reader is a rank, or a worker of a rank. Each has one shard of the stream, and reads all epochs of it one after
another. So a Trainer sees one long epoch, and where a stopped run goes on it skips exactly the rows that were trained
on: of a stream it knows neither how long an epoch is, nor in which one it was stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from datasets import IterableDataset, load_dataset
from torch.utils.data import get_worker_info

import coig_p
from coig_p.core.small_files import read_small
from coig_p.core.strict_json import strict_json
from coig_p.errors import DataError, UsageError
from coig_p.export.write import SHARDS, ExportConfig, export_store
from coig_p.pairs.config import PairConfig
from coig_p.pairs.plan import ShardConfig


@dataclass(frozen=True)
class Rows:
    """What is trained on.

    Attributes:
        stream: all epochs.
        each: how many rows each reader reads, in all epochs.
        told: where they are from, as run.json has it.
        files: of an export.
    """

    stream: IterableDataset
    each: tuple[int, ...]
    told: dict[str, Any]
    files: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Rows of all readers and epochs."""
        return sum(self.each)


def steps_of(each: tuple[int, ...], workers: int, batch: int, accumulation: int) -> int:
    """Steps that every rank can take: full batches of its readers, the one with the fewest rows counted for all."""
    return max(1, workers) * (min(each) // batch) // accumulation


def of_store(
    store: str, config: str, *, threshold: float | None, seed: int, world_size: int, workers: int, epochs: int
) -> Rows:
    """The pairs of a store as messages, streamed; a domain, or all.

    Raises:
        CoigPError: there is no such store, domain or pair.
    """
    readers = world_size * max(1, workers)
    options: dict[str, Any] = {
        "data_dir": store,
        "format": "conversational",
        "shuffle_seed": seed,  # the same rows in the same order every time, another order in every epoch
        "world_size": world_size,
        "workers": workers,
        "shards": readers,
        "split": "train",
    }
    if threshold is not None:
        options["threshold"] = threshold
    planned = coig_p.plan(config, epochs=epochs, **options)["train"]
    if not planned.rows:
        raise DataError(f"{store}: no pair of {config} at this threshold. Choose a smaller --threshold")
    stream = load_dataset("coig-p", config, streaming=True, **options)
    each = tuple(sum(epoch[at] for epoch in planned.shards) for at in range(readers))
    told = {"store": store, "config": config, "threshold": threshold, "rows": planned.rows}
    return Rows(_all_epochs(stream, readers, workers, epochs), each, told)


def exported(store: str, config: str, trainer: str, folder: Path, *, threshold: float | None, seed: int,
             world_size: int, workers: int) -> Path:  # fmt: skip
    """Rows that loading has no form for, one a query: exported first, into the run's own folder."""
    out = folder / "rows"
    if not (out / SHARDS).is_file():
        export_store(
            store,
            out,
            ExportConfig(
                trainer,
                pairs=PairConfig(threshold=threshold),
                order=ShardConfig(shuffle_seed=seed, world_size=world_size, workers=workers),
                domains=() if config == "all" else (config,),
                conversational=True,
            ),
        )
    return out


def of_export(folder: str, trainers: tuple[str, ...], *, world_size: int, workers: int, epochs: int) -> Rows:
    """The rows of the split train of an export, streamed in the order in which they lie.

    Args:
        trainers: whose exports will do.

    Raises:
        UsageError: it is no export, one for another trainer, or its shards do not divide by the readers.
        DataError: it is not whole.
    """
    told, files, sizes = read_export(folder, trainers)
    readers = world_size * max(1, workers)
    if len(files) % readers or (workers and len(files) != readers):
        raise UsageError(
            f"{folder} has {len(files)} shards for {readers} readers ({world_size} ranks, {workers} workers each): "
            f"export with --world-size {world_size} --workers {workers}"
        )
    stream = load_dataset("parquet", data_files={"train": files}, split="train", streaming=True)
    own = len(files) // readers
    each = tuple(epochs * sum(sizes[at * own : (at + 1) * own]) for at in range(readers))
    return Rows(_all_epochs(stream, readers, workers, epochs), each, told, tuple(files))


def read_export(folder: str, trainers: tuple[str, ...]) -> tuple[dict[str, Any], list[str], list[int]]:
    """What shards.json says of an export, its files of train, and their rows. Raises as `of_export` does."""
    root, wanted = Path(folder), " or ".join(trainers)
    if not (root / SHARDS).is_file():
        raise UsageError(
            f"{folder} has no {SHARDS}, so it is no export: coigp export STORE --for {trainers[0]} --out DIR"
        )
    try:
        found = strict_json(read_small(root / SHARDS))
        trainer, shards = found["trainer"], found["splits"]["train"]["shards"]
        files = [(str(root / one["path"]), int(one["rows"])) for one in shards]
    except (ValueError, TypeError, KeyError):
        raise DataError(f"{root / SHARDS} is damaged: export anew, with --overwrite") from None
    if trainer not in trainers:
        raise UsageError(f"{folder} was exported for {trainer}, and this recipe reads {wanted}: export with --for")
    for file, rows in files:
        try:
            there = pq.ParquetFile(file).metadata.num_rows
        except (OSError, ValueError) as error:
            raise DataError(f"{file} cannot be read ({error}): export anew, with --overwrite") from None
        if there != rows:
            raise DataError(f"{file} has {there:,} rows, and {SHARDS} says {rows:,}: export anew, with --overwrite")
    told = {"data": folder, "trainer": trainer, "rows": sum(rows for _, rows in files)}
    told["shards"] = [[Path(file).name, rows] for file, rows in files]
    return told, [file for file, _ in files], [rows for _, rows in files]


def _all_epochs(stream: IterableDataset, readers: int, workers: int, epochs: int) -> IterableDataset:
    parts = {"reader": list(range(readers)), "stream": stream, "readers": readers, "workers": workers, "epochs": epochs}
    return IterableDataset.from_generator(_read, features=stream.features, gen_kwargs=parts)


def _read(
    reader: list[int], stream: IterableDataset, readers: int, workers: int, epochs: int
) -> Iterator[dict[str, Any]]:
    here = get_worker_info()
    for own in reader:
        if here is None:
            part = stream.shard(num_shards=readers, index=own) if readers > 1 else stream
        else:
            # In a worker a stream gives the worker's own share of its shards, so it is given those of the whole rank.
            rank, worker = divmod(own, workers)
            if worker != here.id or workers != here.num_workers:
                raise RuntimeError(f"worker {here.id} of {here.num_workers} was given shard {own} of {readers}")
            part = stream.shard(num_shards=readers // workers, index=rank)
        for epoch in range(epochs):
            part.set_epoch(epoch)
            yield from part


def texts(rows: Rows, most: int = 2000) -> Iterator[str]:
    """What some rows say, for the tokenizer of a tiny model."""
    for row in rows.stream.take(most):
        for name in ("prompt", "chosen", "completion", "reference"):
            said = row.get(name) or []
            yield from [said] if isinstance(said, str) else [turn["content"] for turn in said]


def dumped(value: object) -> str:
    """JSON of which equal values have equal text."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
