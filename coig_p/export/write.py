"""The rows of a store as a directory that a trainer reads: shuffled once, in even shards.

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
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from coig_p._version import __version__
from coig_p.core.arrays import Index, Mask
from coig_p.core.atomic import atomic_directory
from coig_p.core.lengths import Lengths, read_tokenizer
from coig_p.errors import DataError, UsageError
from coig_p.export.balance import Balance, check_balanced
from coig_p.export.readme import readme
from coig_p.export.results import Epoch, Written, WrittenShard, WrittenSplit
from coig_p.export.settings import preset_of
from coig_p.export.shuffle import Spill, interleaved, parts_for
from coig_p.export.single import OnePer, check_single, responses_of
from coig_p.export.trainers import TRAINERS, find_form, row_form
from coig_p.export.trainers.forms import Form
from coig_p.pairs.config import PairConfig
from coig_p.pairs.exclusion import check_exclusion
from coig_p.pairs.plan import ShardConfig, shuffle_keys
from coig_p.pairs.rows import ResponseRows, Rows, find_rows
from coig_p.pairs.selection import Selection, SplitPart, one_split, select
from coig_p.pairs.shapes import held
from coig_p.pairs.splits import TRAIN, SplitConfig, own_clusters, read_clusters
from coig_p.pairs.turns import SKIP
from coig_p.pairs.weights import UNWEIGHTED, is_partial, passes, share_of
from coig_p.schema import PAIRING_SCHEMA, RAW_SCHEMA, without
from coig_p.store.conversations import has_system
from coig_p.store.places import Marker, check_directory, check_outside
from coig_p.store.store import Store
from coig_p.store.writing import cut, even_sizes, sha256_of, told_of_rows

SHARDS = "shards.json"
EXPORT = Marker(SHARDS, (b'"tool": "coig-p ', b'"trainer"'))
# Inside what is being written, so that a killed export leaves nothing that the next does not remove.
_SPILLED = ".spilled"
ROWS_PER_GROUP = 256  # a stream gives its first row, and skips to where it stopped, a group at a time
# What is read where one query of a group is shown: groups are said by meta.
_WITH_META = without(RAW_SCHEMA, {"source", "dimension", "rationale"})
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class ExportConfig:
    """What to export, for whom. Every part is checked where it is made.

    Attributes:
        trainer: one of `coig_p.export.trainers.TRAINERS`.
        pairs: its format is the form's business, not the caller's.
        domains: these alone; none for all.
        split: of a store with several; ignored where `splits` cuts train.
        tokenizer, max_length: see `coig_p.core.lengths`.
        balance_length: see `coig_p.export.balance`.
        response_of, one_per: see `coig_p.export.single`.
        preset: whose numbers are written down for the trainer: see `coig_p.export.settings`.
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
    balance_length: bool = False
    response_of: str | None = None
    one_per: str | None = None
    preset: str | None = None

    def __post_init__(self) -> None:
        preset_of(self.preset)
        if self.max_length is not None and self.max_length < 1:
            raise UsageError(f"max_length={self.max_length}: use a whole number of 1 or more")
        if self.max_length is not None and self.tokenizer is None:
            raise UsageError("max_length counts tokens: name a tokenizer, too")
        if self.split is not None and self.splits.cuts and self.split != TRAIN:
            raise UsageError(f"test_size and validation_size cut the split {TRAIN}, not {self.split!r}")


def export_store(
    store: Store | str | Path,
    out: Path,
    config: ExportConfig,
    *,
    overwrite: bool = False,
    advance: Callable[[int], None] = lambda queries: None,
) -> Written:
    """Write `out`, which appears, or is replaced, whole or not at all.

    Args:
        advance: called with the number of queries read since the last call.

    Returns:
        What shards.json says.

    Raises:
        UsageError: an option that cannot be right for this store, or `out` cannot be used.
        DataError: a row that the trainer could not learn from, or no rows at all.
    """
    choose = partial(find_form, config.trainer, conversational=config.conversational, system=config.system)
    choose()  # what cannot be right for any store is said before one is opened
    opened = store if isinstance(store, Store) else Store.open(store)
    check_export(out, opened.path, overwrite)
    manifest = opened.manifest
    splits = (one_split(manifest, config.split, config.splits),)
    holds = held(manifest, config.domains or manifest.domains, splits, config.pairs.exclude, opened.rows_of)
    form = choose(holds=holds, multi_turn=config.pairs.multi_turn)
    if config.balance_length:
        check_balanced(form)
    check_single(form, manifest, config.response_of, config.one_per, bool(config.weights))
    selection = select(
        manifest,
        replace(config.pairs, format=form.rows),
        domains=config.domains,
        splits=splits,
        cut=config.splits,
        order=config.order,
        weights=config.weights,
        form=row_form(form),
        read=opened.rows_of,
    )
    check_exclusion(opened, selection.pairs.exclude)
    lengths = Lengths(read_tokenizer(config.tokenizer), config.max_length) if config.tokenizer is not None else None
    source = _Source(opened, selection, form, config, lengths)
    with atomic_directory(out) as root:
        written_splits = {
            name: _write_split(root, name, form, sides, source)
            for name, sides in source.spill(root / _SPILLED, advance).items()
        }
        shutil.rmtree(root / _SPILLED)
        written = Written(
            tool=f"coig-p {__version__}",
            trainer=form.trainer,
            columns={column.name: str(column.type) for column in form.schema},
            threshold=selection.threshold,
            pairs=selection.pairs.later,
            margin=selection.pairs.margin,
            shuffle_seed=selection.order.shuffle_seed or 0,
            world_size=selection.order.world_size or 1,
            workers=selection.order.workers or 0,
            weights={domain: selection.weights[domain] for domain in config.weights},
            splits=written_splits,
            tokens=lengths.report() if lengths is not None else None,
            response_of=config.response_of,
            one_per=config.one_per,
            preset=config.preset,
        )
        written = replace(written, notes=TRAINERS[form.trainer].notes(written))
        texts = {SHARDS: json.dumps(written.to_dict(), ensure_ascii=False, indent=2) + "\n"}
        texts |= TRAINERS[form.trainer].config_files(form, written, str(out))
        shards = [shard.path for split in written_splits.values() for shard in split.shards]
        told = told_of_rows(sha256_of(root / shard) for shard in shards)
        texts["README.md"] = readme(form, written, out, told)
        for file, text in texts.items():
            (root / file).write_text(text, encoding="utf-8", newline="\n")
    return written


def check_export(out: Path, store: Path, overwrite: bool) -> None:
    """Raise UsageError where an export of `store` cannot be written to `out`."""
    if out.resolve() == store.resolve():
        raise UsageError(f"{out} is the store itself: choose another place")
    check_outside(out, "an export")
    check_directory(out, EXPORT, "an export", overwrite)


class _Source:
    """The rows of a store on their way to the shards: paired, split, measured, weighted, in the trainer's form."""

    def __init__(
        self, store: Store, selection: Selection, form: Form, config: ExportConfig, lengths: Lengths | None
    ) -> None:
        self.store, self.selection, self.form, self.lengths = store, selection, form, lengths
        self.system = config.system
        skips = config.pairs.multi_turn == SKIP
        self.shows = form.shows if skips else None
        self.skips = skips and (selection.shape.multi_turn == SKIP or self.shows is not None)
        self.parts = selection.parts(self._clusters())
        self.counts: dict[str, Counter[str]] = {part.name: Counter() for part in self.parts}
        self.without_pairs: Counter[str] = Counter()
        self.without_response: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.excluded: Counter[str] = Counter()
        seed = selection.pairs.seed
        self.balances = {part.name: Balance(seed) for part in self.parts if config.balance_length}
        self.response_of = config.response_of
        self.singles = {part.name: OnePer(config.one_per, seed) for part in self.parts if config.one_per is not None}
        self._before: Counter[tuple[str, str, int]] = Counter()

    def _clusters(self) -> dict[str, str]:
        """For each query of a known near-duplicate cluster, the one that stands for it; read where train is cut."""
        cut = self.selection.cut
        if not cut.cuts:
            return {}
        own = own_clusters(self.store.manifest)
        path = cut.clusters or (self.store.path / own.path if own else None)
        return read_clusters(path) if path else {}

    def spill(self, folder: Path, advance: Callable[[int], None]) -> dict[str, list[Spill]]:
        """Read the store once and deal its rows; for each split one Spill, or one for each label.

        Raises:
            DataError: a row that the trainer could not learn from, or a split without any.
            UsageError: the clusters are of another store.
        """
        clusters = self._clusters_to_find()
        (split,) = self.selection.splits
        pieces = parts_for(sum(file.bytes for file in self.selection.files(self.store.manifest, split)))
        labels = 1 if self.form.label is None else 2
        spilled = {
            part.name: [Spill(folder / f"{part.name}-{label}", pieces) for label in range(labels)]
            for part in self.parts
        }
        schema = _WITH_META if self.singles else PAIRING_SCHEMA
        try:
            for domain in self.selection.domains:
                rewards = self.selection.rewards
                for batch in self.store.batches(domain, split, schema=schema, rewards=rewards):
                    for part in self.parts:
                        self._deal(batch, part, domain, spilled[part.name])
                    if clusters and not clusters.keys().isdisjoint(batch.column("query_id").to_pylist()):
                        clusters = {}
                    advance(batch.num_rows)
        finally:
            for side in (side for sides in spilled.values() for side in sides):
                side.close()
        if clusters:
            raise UsageError(
                f"clusters={str(self.selection.cut.clusters)!r}: none of its queries is in {self.store.path}. "
                "Name the file that coigp dedup wrote for it"
            )
        drawn: dict[str, Balance | OnePer] = {**self.balances, **self.singles}
        for name, some in drawn.items():
            (side,) = spilled[name]
            left = some.rows()
            side.only, side.rows = some.kept, sum(left.values())
            self.counts[name] = Counter({domain: left.get(domain, 0) for domain in self.counts[name]})
        for name, sides in spilled.items():
            if not sum(side.rows for side in sides):
                too_long = sum(self.lengths.too_long.values()) if self.lengths else 0
                why = f"; {too_long:,} rows were too long" if too_long else ""
                if self.left_out[name]:
                    why += f"; {self.left_out[name]:,} queries were left out for multi_turn='skip'"
                if name in self.balances and self.balances[name].result().left_out:
                    why += f"; {self.balances[name].result().left_out:,} were left out to balance lengths"
                way = "Choose a smaller threshold or larger share" + (" or max_length" if too_long else "")
                if self.left_out[name]:
                    way += f", or export --for {self.form.whole} --conversational, which shows every turn"
                at = f" at threshold {self.selection.pairs.margin}"
                if self.response_of is not None:
                    at, way = f": {self.response_of} has no response there", "Name another model, or a larger share"
                raise DataError(f"no rows for the split {name}{at}{why}. {way}")
        return spilled

    def _clusters_to_find(self) -> Mapping[str, str]:
        """Clusters of which some must be met when the whole store is read: a file of another store would
        let near-duplicates on both sides unnoticed. Empty where part of the store is read, which may have none.
        """
        manifest = self.store.manifest
        whole = set(self.selection.domains) == set(manifest.domains) and manifest.splits() == [TRAIN]
        only = self.parts[0].only
        return only.splits.cluster if whole and only is not None and self.selection.cut.clusters is not None else {}

    def _deal(self, batch: pa.RecordBatch, part: SplitPart, domain: str, sides: list[Spill]) -> None:
        if part.only is not None:
            batch = part.only.keep(batch)
        shape, name = self.selection.shape, part.name
        if self.selection.pairs.exclude is not None:
            excluded = self.selection.pairs.exclude.mask(batch.column("query_id"))
            self.excluded[name] += int(excluded.sum())
            batch = batch.filter(pa.array(~excluded))
        left_out = shape.left_out(batch)
        if self.shows is not None:
            not_shown = ~self.shows(batch.column("messages"))
            left_out = not_shown if left_out is None else left_out | not_shown
        if left_out is not None:
            self.left_out[name] += int(left_out.sum())
            batch = batch.filter(pa.array(~left_out))
        if not batch.num_rows:
            return
        if self.response_of is not None:
            rows = responses_of(batch, self.response_of, shape)
            self.without_response[name] += batch.num_rows - len(rows)
        else:
            rows = find_rows(batch, self.selection.pairs, shape)
            if self.form.rows == "sft":
                rows = rows.take(_best(rows))
                self.without_pairs[name] += batch.num_rows - len(rows)
        if self.lengths is not None:
            rows = rows.take(np.flatnonzero(self._short(rows, self.lengths)))
        for one in passes(self.selection.weight(name, domain)):
            shown = rows
            if is_partial(one):
                shown = rows.take(share_of(rows, self._before[name, domain, one.copy], one.fraction))
                self._before[name, domain, one.copy] += len(rows)
            self._add(shown, name, domain, one.copy, sides)

    def _short(self, rows: Rows, lengths: Lengths) -> Mask:
        prompts, answers = rows.measured()
        domains, given = rows.batch.column("domain"), None
        if self.system is not None:  # which conversations keep one of their own
            given = ~has_system(rows.batch) if self.form.messages else np.ones(rows.batch.num_rows, dtype=bool)
        return lengths.keep(prompts, domains, rows.found.query, answers, rows.sides, self.system, given)

    def _add(self, rows: Rows, name: str, domain: str, copy: int, sides: list[Spill]) -> None:
        done = 0
        seed = self.selection.order.shuffle_seed or 0
        keys = shuffle_keys(rows, seed, copy)
        marks = self.balances[name].add(rows, domain, copy) if name in self.balances else None
        if name in self.singles:
            marks = self.singles[name].add(rows)
        for table in rows.tables():
            made = self.form.convert(table, self.system)
            own = keys[done : done + made.num_rows]
            marked = None if marks is None else marks[done : done + made.num_rows]
            done += made.num_rows
            if len(sides) == 1:
                sides[0].add(made, own, marked)
            else:
                label = made.column(self.form.label).to_numpy()
                for side, mask in zip(sides, (label, ~label), strict=True):
                    if mask.any():
                        side.add(made.filter(pa.array(mask)), own[mask])
        self.counts[name][domain] += done


def _best(rows: Rows) -> Index:
    """Of each query the response with the highest score, the first where several have it."""
    assert isinstance(rows.found, ResponseRows)
    order = np.lexsort((np.arange(len(rows)), -rows.found.score, rows.found.query))
    query = rows.found.query[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = query[1:] != query[:-1]
    return order[first]


def _write_split(root: Path, name: str, form: Form, sides: list[Spill], source: _Source) -> WrittenSplit:
    """Write the shards of one split."""
    rows, order = sum(side.rows for side in sides), source.selection.order
    number = order.number(1)
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
        shards.append(WrittenShard(path, size))
    return WrittenSplit(
        rows=rows,
        shards=tuple(shards),
        rows_by_domain=dict(source.counts[name]),
        epoch=None if name in UNWEIGHTED else one_epoch(sizes, order.world_size or 1, order.workers or 0),
        queries_without_pairs=source.without_pairs[name] if form.rows == "sft" and not source.response_of else None,
        queries_without_response=source.without_response[name] if source.response_of is not None else None,
        queries_beside=source.singles[name].left_out if name in source.singles else None,
        queries_left_out=source.left_out[name] if source.skips else None,
        queries_excluded=source.excluded[name] if source.selection.pairs.exclude is not None else None,
        balanced=source.balances[name].result() if name in source.balances else None,
    )


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
