"""Pairs of a store in one file, or its rows as a directory that a trainer reads: shuffled once, in even shards.

    DIR/
      train/00000-of-00032.parquet   rows of a Form (or .jsonl), in a global order drawn by the seed
      validation/, test/             where the splits ask for them
      shards.json                    rows of each shard, and max_steps for a batch size
      README.md                      how to run the trainer; lets load_dataset(DIR) find the splits
      dataset_info.json, ...         the small file that the trainer wants, where it wants one

Memory holds one part of the rows at a time (see `coig_p.export.shuffle`), whatever their number. The same
store, options and versions give the same bytes.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from coig_p._version import __version__
from coig_p.core.atomic import atomic_directory, atomic_file
from coig_p.errors import DataError, UnknownNameError, UsageError
from coig_p.export.lengths import Lengths, read_tokenizer
from coig_p.export.shuffle import Spill, interleaved, parts_for
from coig_p.export.snippets import config_files, readme
from coig_p.export.trainers import Form, find_form
from coig_p.pairs.config import PairConfig, check_judges
from coig_p.pairs.plan import ShardConfig, shuffle_keys
from coig_p.pairs.rows import ResponseRows, Rows, find_rows, pair_tables
from coig_p.pairs.splits import TRAIN, OneSplit, SplitConfig, Splits, check_split_names, own_clusters, read_clusters
from coig_p.pairs.weights import UNWEIGHTED, check_weights, is_partial, passes, share_of
from coig_p.schema import PAIR_SCHEMAS
from coig_p.store.manifest import check_split_name
from coig_p.store.places import check_file
from coig_p.store.store import Store
from coig_p.store.writing import cut, even_sizes

FILE_TYPES = ("parquet", "jsonl")
SHARDS = "shards.json"
_SPILLED = (
    ".spilled"  # inside what is being written, so that a killed export leaves nothing that the next does not remove
)
ROWS_PER_GROUP = 256  # a stream gives its first row, and skips to where it stopped, a group at a time
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class ExportConfig:
    """What to export, for whom. Every part is checked where it is made.

    Attributes:
        trainer: one of `coig_p.export.trainers.FORMS`.
        pairs: its format is the form's business, not the caller's.
        domains: these alone; none for all.
        split: of a store with several; ignored where `splits` cuts train.
        tokenizer, max_length: see `coig_p.export.lengths`.
    """

    trainer: str
    pairs: PairConfig = field(default_factory=PairConfig)
    splits: SplitConfig = field(default_factory=SplitConfig)
    order: ShardConfig = field(default_factory=ShardConfig)
    weights: Mapping[str, float] = field(default_factory=dict)
    domains: Sequence[str] = ()
    split: str | None = None
    conversational: bool = False
    system: str | None = None
    tokenizer: str | None = None
    max_length: int | None = None

    def __post_init__(self) -> None:
        if self.max_length is not None and self.max_length < 1:
            raise UsageError(f"max_length={self.max_length}: use a whole number of 1 or more")
        if self.max_length is not None and self.tokenizer is None:
            raise UsageError("max_length counts tokens: name a tokenizer, too")
        if self.split is not None and self.splits.cuts and self.split != TRAIN:
            raise UsageError(f"test_size and validation_size cut the split {TRAIN}, not {self.split!r}")


def export_store(
    store: str | Path,
    out: Path,
    config: ExportConfig,
    *,
    overwrite: bool = False,
    advance: Callable[[int], None] = lambda queries: None,
) -> dict[str, Any]:
    """Write `out`, which appears, or is replaced, whole or not at all.

    Args:
        advance: called with the number of queries read since the last call.

    Returns:
        What shards.json says.

    Raises:
        UsageError: an option that cannot be right for this store, or `out` cannot be used.
        DataError: a row that the trainer could not learn from, or no rows at all.
    """
    form = find_form(config.trainer, conversational=config.conversational, system=config.system)
    opened = Store.open(store)
    _check_target(out, Path(store), overwrite)
    pairs = replace(config.pairs, format=form.rows).with_default_threshold(opened.manifest.default_threshold)
    check_judges(pairs, opened.manifest.judges)
    lengths = Lengths(read_tokenizer(config.tokenizer), config.max_length) if config.tokenizer is not None else None
    source = _Source(opened, config, pairs, form, lengths)
    with atomic_directory(out) as root:
        spilled = source.spill(root / _SPILLED, advance)
        found = _describe(config, form, pairs, source)
        for name, sides in spilled.items():
            found["splits"][name] = _write_split(root, name, form, sides, config) | {
                "rows_by_domain": dict(source.counts[name])
            }
            if form.rows == "sft":
                found["splits"][name]["queries_without_pairs"] = source.without_pairs[name]
        shutil.rmtree(root / _SPILLED)
        (root / SHARDS).write_text(json.dumps(found, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        for file, text in (config_files(form, found, out) | {"README.md": readme(form, found, out)}).items():
            (root / file).write_text(text, encoding="utf-8", newline="\n")
    return found


def _check_target(out: Path, store: Path, overwrite: bool) -> None:
    if out.is_symlink():
        raise UsageError(f"{out} is a symbolic link: name the directory itself")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: an export is a directory")
    if out.resolve() == store.resolve() or store.resolve() in out.resolve().parents:
        raise UsageError(f"{out} lies in the store: choose another place")
    if out.is_dir() and any(out.iterdir()):
        if not (out / SHARDS).is_file():
            raise UsageError(f"{out} exists and is not an export: choose another place")
        if not overwrite:
            raise UsageError(f"{out} exists: pass --overwrite to replace it, or choose another place")


class _Source:
    """The rows of a store on their way to the shards: paired, split, measured, weighted, in the trainer's form."""

    def __init__(
        self, store: Store, config: ExportConfig, pairs: PairConfig, form: Form, lengths: Lengths | None
    ) -> None:
        self.store, self.config, self.pairs, self.form, self.lengths = store, config, pairs, form, lengths
        manifest = store.manifest
        self.domains = list(dict.fromkeys(config.domains)) or list(manifest.domains)
        for domain in self.domains:
            store.data_files(domain)  # an unknown name is an error before anything is written
        self.weights = check_weights(config.weights, self.domains)
        self.split = self._only_split()
        self.splits = self._parts()
        self.counts: dict[str, Counter[str]] = {name: Counter() for name, _ in self.splits}
        self.without_pairs: Counter[str] = Counter()
        self._before: Counter[tuple[str, str, int]] = Counter()

    def _only_split(self) -> str:
        splits = self.store.manifest.splits()
        if self.config.splits.cuts:
            check_split_names(self.config.splits, splits)
            return TRAIN
        if self.config.split is not None:
            check_split_name(self.store.manifest, self.config.split)
            return self.config.split
        if len(splits) > 1:
            raise UsageError(f"the store has splits {', '.join(splits)}: name one with --split")
        return splits[0]

    def _parts(self) -> list[tuple[str, OneSplit | None]]:
        config = self.config.splits
        if not config.cuts:
            return [(self.split, None)]
        own = own_clusters(self.store.manifest)
        path = config.clusters or (self.store.path / own.path if own else None)
        splits = Splits(config, read_clusters(path) if path else {})
        return [(name, OneSplit(splits, name)) for name in config.names]

    def spill(self, folder: Path, advance: Callable[[int], None]) -> dict[str, list[Spill]]:
        """Read the store once and deal its rows; for each split one Spill, or one for each label.

        Raises:
            DataError: a row that the trainer could not learn from, or a split without any.
            UsageError: the clusters are of another store.
        """
        clusters = self._clusters_to_find()
        files = [file for domain in self.domains for file in self.store.manifest.data_files(domain, self.split)]
        parts = parts_for(sum(file.bytes for file in files))
        labels = 2 if "label" in self.form.schema.names else 1
        spilled = {
            name: [Spill(folder / f"{name}-{label}", parts) for label in range(labels)] for name, _ in self.splits
        }
        try:
            for domain in self.domains:
                for batch in self.store.batches(domain, self.split):
                    for name, split in self.splits:
                        self._deal(batch if split is None else split.keep(batch), name, domain, spilled[name])
                    if clusters and not clusters.keys().isdisjoint(batch.column("query_id").to_pylist()):
                        clusters = {}
                    advance(batch.num_rows)
        finally:
            for side in (side for sides in spilled.values() for side in sides):
                side.close()
        if clusters:
            raise UsageError(
                f"clusters={str(self.config.splits.clusters)!r}: none of its queries is in {self.store.path}. "
                "Name the file that coigp dedup wrote for it"
            )
        for name, sides in spilled.items():
            if not sum(side.rows for side in sides):
                left_out = sum(self.lengths.too_long.values()) if self.lengths else 0
                why = f"; {left_out:,} rows were too long" if left_out else ""
                raise DataError(
                    f"no rows for the split {name} at threshold {self.pairs.threshold:g}{why}. "
                    "Choose a smaller threshold or larger share"
                )
        return spilled

    def _clusters_to_find(self) -> Mapping[str, str]:
        """Clusters of which some must be met when the whole store is read: a file of another store would
        let near-duplicates on both sides unnoticed. Empty where part of the store is read, which may have none.
        """
        manifest = self.store.manifest
        whole = set(self.domains) == set(manifest.domains) and manifest.splits() == [TRAIN]
        split = self.splits[0][1]
        return split.splits.cluster if whole and split is not None and self.config.splits.clusters is not None else {}

    def _deal(self, batch: pa.RecordBatch, name: str, domain: str, sides: list[Spill]) -> None:
        if not batch.num_rows:
            return
        rows = find_rows(batch, self.pairs)
        if self.form.rows == "sft":
            rows = rows.take(_best(rows))
            self.without_pairs[name] += batch.num_rows - len(rows)
        if self.lengths is not None:
            rows = rows.take(np.flatnonzero(self.lengths.keep(rows)))
        for one in passes(1.0 if name in UNWEIGHTED else self.weights.get(domain, 1.0)):
            shown = rows
            if is_partial(one):
                shown = rows.take(share_of(rows, self._before[name, domain, one.copy], one.fraction))
                self._before[name, domain, one.copy] += len(rows)
            self._add(shown, name, domain, one.copy, sides)

    def _add(self, rows: Rows, name: str, domain: str, copy: int, sides: list[Spill]) -> None:
        done = 0
        seed = self.config.order.shuffle_seed or 0
        keys = shuffle_keys(rows, seed, copy)
        for table in rows.tables():
            made = self.form.convert(table, self.config.system)
            own = keys[done : done + made.num_rows]
            done += made.num_rows
            if len(sides) == 1:
                sides[0].add(made, own)
            else:
                label = made.column("label").to_numpy()
                for side, mask in zip(sides, (label, ~label), strict=True):
                    if mask.any():
                        side.add(made.filter(pa.array(mask)), own[mask])
        self.counts[name][domain] += done


def _best(rows: Rows) -> Any:
    """Of each query the response with the highest score, the first where several have it."""
    assert isinstance(rows.found, ResponseRows)
    order = np.lexsort((np.arange(len(rows)), -rows.found.score, rows.found.query))
    query = rows.found.query[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = query[1:] != query[:-1]
    return order[first]


def _write_split(root: Path, name: str, form: Form, sides: list[Spill], config: ExportConfig) -> dict[str, Any]:
    """Write the shards of one split, and say how many rows each has."""
    rows = sum(side.rows for side in sides)
    number = config.order.number(1)
    if form.one_file and number > 1:
        raise UsageError(f"{form.trainer} reads one file: leave out shards, world size and workers")
    if rows < number:
        if name not in UNWEIGHTED:
            raise UsageError(
                f"{rows} rows of {name} cannot fill {number} shards: ask for fewer ranks, workers or shards"
            )
        number = 1  # a small evaluation set is read by every rank
    sizes = even_sizes(rows, number)
    groups = [even_sizes(size, -(-size // ROWS_PER_GROUP)) for size in sizes]
    batches = sides[0].batches() if len(sides) == 1 else interleaved(*sides)
    pieces = cut(batches, (size for shard in groups for size in shard))
    (root / name).mkdir()
    shards = []
    for at, size in enumerate(sizes):
        path = f"{name}/{at:05d}-of-{number:05d}.{form.file_type}"
        _write_shard(root / path, form, (next(pieces) for _ in groups[at]))
        shards.append({"path": path, "rows": size})
    found: dict[str, Any] = {"rows": rows, "shards": shards}
    if name not in UNWEIGHTED:
        found |= steps(sizes, config.order.world_size or 1, config.order.workers or 0)
    return found


def steps(sizes: Sequence[int], world_size: int, workers: int) -> dict[str, Any]:
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
    return {
        "rows_per_rank": {"least": min(rows), "most": max(rows)},
        "max_steps": {
            str(batch): min(sum(rows // batch for rows in reader) for reader in readers) for batch in BATCH_SIZES
        },
    }


def _write_shard(path: Path, form: Form, groups: Iterator[list[pa.RecordBatch]]) -> None:
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


def _describe(config: ExportConfig, form: Form, pairs: PairConfig, source: _Source) -> dict[str, Any]:
    order = config.order
    found: dict[str, Any] = {
        "tool": f"coig-p {__version__}",
        "trainer": form.trainer,
        "columns": {column.name: str(column.type) for column in form.schema},
        "threshold": pairs.threshold,
        "shuffle_seed": order.shuffle_seed or 0,
        "world_size": order.world_size or 1,
        "workers": order.workers or 0,
        "weights": dict(source.weights),
        "splits": {},
    }
    if source.lengths is not None:
        found["tokens"] = source.lengths.report()
    return found


def write_pairs(
    store: str | Path,
    out: str | Path | IO[bytes],
    config: PairConfig,
    *,
    file_type: str = "parquet",
    domains: Sequence[str] = (),
    split: str | None = None,
) -> tuple[dict[str, int], PairConfig]:
    """Write a store's pairs to `out`, which appears, or is replaced, whole or not at all.

    Args:
        out: a file's name, or an open stream.
        domains: these alone; default all.
        split: needed where the store has several.

    Returns:
        Rows written by domain, and the config with the threshold that was in effect.

    Raises:
        UsageError: an unknown domain, split, judge or file type, or several splits and none named.
    """
    opened = Store.open(store)
    if file_type not in FILE_TYPES:
        raise UnknownNameError("file type", file_type, FILE_TYPES)
    if isinstance(out, (str, Path)):
        check_file(Path(out), "a file of pairs", overwrite=True)
    splits = opened.manifest.splits()
    if split is None:
        if len(splits) > 1:
            raise UsageError(f"the store has splits {', '.join(splits)}: name one with --split")
        split = splits[0]
    check_judges(config, opened.manifest.judges)
    config = config.with_default_threshold(opened.manifest.default_threshold)
    chosen = list(dict.fromkeys(domains)) or list(opened.manifest.domains)
    for domain in chosen:
        opened.data_files(domain, split)  # an unknown name is an error before anything is written
    counts = dict.fromkeys(chosen, 0)
    with atomic_file(Path(out)) if isinstance(out, (str, Path)) else nullcontext(out) as stream:
        writer = _ParquetRows(stream, config) if file_type == "parquet" else _JsonRows(stream)
        for domain in chosen:
            for batch in opened.batches(domain, split):
                for rows in pair_tables(batch, config):
                    writer.write(rows)
                    counts[domain] += rows.num_rows
        writer.close()
    return counts, config


class _ParquetRows:
    def __init__(self, stream: IO[bytes], config: PairConfig) -> None:
        schema = PAIR_SCHEMAS[config.format]
        plain = [field.name for field in schema if not field.name.endswith(("model", "domain"))]
        dictionary = [name for name in schema.names if name not in plain]
        self.writer = pq.ParquetWriter(
            stream, schema, compression="zstd", compression_level=3, use_dictionary=dictionary, write_page_index=True
        )

    def write(self, rows: pa.Table) -> None:
        self.writer.write_table(rows)

    def close(self) -> None:
        self.writer.close()


class _JsonRows:
    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream

    def write(self, rows: pa.Table) -> None:
        for row in rows.to_pylist():
            self.stream.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")

    def close(self) -> None:
        """Nothing is left to write."""
