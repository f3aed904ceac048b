"""The rows of a store on their way to an export's shards: paired, split, measured, weighted, in the trainer's form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from coig_p.core.arrays import Index, Mask
from coig_p.core.lengths import Lengths
from coig_p.engine.local import Processes, Workers, in_order
from coig_p.errors import DataError, UsageError
from coig_p.export.balance import Balance
from coig_p.export.shuffle import Spill, parts_for
from coig_p.export.single import OnePer, responses_of
from coig_p.export.trainers.forms import Form
from coig_p.pairs.plan import shuffle_keys
from coig_p.pairs.rows import ResponseRows, Rows, find_rows
from coig_p.pairs.selection import Selection, SplitPart
from coig_p.pairs.splits import TRAIN, own_clusters, read_clusters
from coig_p.pairs.turns import SKIP
from coig_p.pairs.weights import is_partial, passes, share_of
from coig_p.schema import PAIRING_SCHEMA, RAW_SCHEMA, without
from coig_p.store.conversations import has_system
from coig_p.store.manifest import StoreFile
from coig_p.store.rewards import reward_files
from coig_p.store.sharing import workers_for
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import ROWS_PER_GROUP

# What is read where one query of a group is shown: groups are said by meta.
_WITH_META = without(RAW_SCHEMA, {"source", "dimension", "rationale"})


@dataclass
class _Dealt:
    """What one shard gives, as another process made it.

    Attributes:
        added: split, place of the label, rows and their keys, in the order in which they are to be spilled.
        rows, without_pairs, without_response, left_out, excluded: as a Source counts them, `rows` by split and domain.
    """

    queries: int
    added: list[tuple[str, int, pa.Table, Any]]
    rows: dict[str, Counter[str]]
    without_pairs: Counter[str]
    without_response: Counter[str]
    left_out: Counter[str]
    excluded: Counter[str]


@dataclass
class _Kept:
    """Stands for a Spill where rows are made for another process."""

    name: str
    label: int
    added: list[tuple[str, int, pa.Table, Any]] = field(default_factory=list)

    def add(self, rows: pa.Table, keys: Any, marks: Any = None) -> None:
        """Keep them."""
        assert marks is None, "rows that are marked are made where they are spilled"
        self.added.append((self.name, self.label, rows, keys))


class Source:
    """The rows of a store on their way to the shards: paired, split, measured, weighted, in the trainer's form."""

    def __init__(
        self,
        store: Store,
        selection: Selection,
        form: Form,
        *,
        skips: bool,
        system: str | None = None,
        lengths: Lengths | None = None,
        balance_length: bool = False,
        response_of: str | None = None,
        one_per: str | None = None,
    ) -> None:
        self.store, self.selection, self.form, self.lengths = store, selection, form, lengths
        self.system = system
        self.shows = form.shows if skips else None
        self.skips = skips and (selection.shape.multi_turn == SKIP or self.shows is not None)
        self.parts = selection.parts(self._clusters())
        self.counts: dict[str, Counter[str]] = {part.name: Counter() for part in self.parts}
        self.without_pairs: Counter[str] = Counter()
        self.without_response: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.excluded: Counter[str] = Counter()
        seed = selection.pairs.seed
        self.balances = {part.name: Balance(seed) for part in self.parts if balance_length}
        self.response_of = response_of
        self.singles = {part.name: OnePer(one_per, seed) for part in self.parts if one_per is not None}
        self._before: Counter[tuple[str, str, int]] = Counter()

    def _clusters(self) -> dict[str, str]:
        """For each query of a known near-duplicate cluster, the one that stands for it; read where train is cut."""
        cut = self.selection.cut
        if not cut.cuts:
            return {}
        own = own_clusters(self.store.manifest)
        path = cut.clusters or (self.store.path / own.path if own else None)
        return read_clusters(path) if path else {}

    def spill(
        self, folder: Path, advance: Callable[[int], None], num_proc: int | None = 1, engine: Executor | None = None
    ) -> dict[str, list[Spill]]:
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
        files = self.selection.files(self.store.manifest, split)
        workers = Processes(1) if self._in_turn() else workers_for(files, num_proc, engine)
        try:
            if workers != Processes(1):
                self._share(files, workers, spilled, advance)
            else:
                schema = _WITH_META if self.singles else PAIRING_SCHEMA
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

    def _in_turn(self) -> bool:
        """Whether what becomes of a row depends on those before it, or on more than a process should be sent."""
        partial_ = any(
            is_partial(one)
            for part in self.parts
            for domain in self.selection.domains
            for one in passes(self.selection.weight(part.name, domain))
        )
        clusters = any(part.only is not None and bool(part.only.splits.cluster) for part in self.parts)
        return bool(self.balances or self.singles or self.lengths is not None or partial_ or clusters)

    def _share(
        self,
        files: list[StoreFile],
        workers: Workers,
        spilled: Mapping[str, list[Spill]],
        advance: Callable[[int], None],
    ) -> None:
        """Deal the rows of shards that others make."""
        for name in self.selection.rewards:
            reward_files(self.store.manifest, name, files, self.store.path)
        for _, dealt in in_order(partial(_deal_shard, self._empty()), files, workers):
            for name, label, rows, keys in dealt.added:
                spilled[name][label].add(rows, keys)
            for name, counted in dealt.rows.items():
                self.counts[name].update(counted)  # += would forget a domain without rows
            self.without_pairs.update(dealt.without_pairs)
            self.without_response.update(dealt.without_response)
            self.left_out.update(dealt.left_out)
            self.excluded.update(dealt.excluded)
            advance(dealt.queries)

    def _empty(self) -> Source:
        """The same, of no row yet, and without the names of all files, which no shard needs."""
        other = copy(self)
        other.store = replace(self.store, manifest=replace(self.store.manifest, files=()))
        other.counts = {part.name: Counter() for part in self.parts}
        other.without_pairs, other.without_response, other.left_out, other.excluded = (Counter() for _ in range(4))
        return other

    def deal_shard(self, file: StoreFile) -> _Dealt:
        """What a shard gives."""
        own = self._empty()
        labels = 1 if self.form.label is None else 2
        kept = {part.name: [_Kept(part.name, label) for label in range(labels)] for part in self.parts}
        sides: Mapping[str, list[Spill]] = kept  # type: ignore[assignment]
        queries = 0
        for batch in shard_batches(
            self.store.path, file, ROWS_PER_GROUP, PAIRING_SCHEMA, rewards=self.selection.rewards
        ):
            for part in self.parts:
                own._deal(batch, part, str(file.domain), sides[part.name])
            queries += batch.num_rows
        added = [one for some in kept.values() for side in some for one in side.added]
        return _Dealt(queries, added, own.counts, own.without_pairs, own.without_response, own.left_out, own.excluded)

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


def _deal_shard(source: Source, file: StoreFile) -> _Dealt:
    return source.deal_shard(file)


def _best(rows: Rows) -> Index:
    """Of each query the response with the highest score, the first where several have it."""
    assert isinstance(rows.found, ResponseRows)
    order = np.lexsort((np.arange(len(rows)), -rows.found.score, rows.found.query))
    query = rows.found.query[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = query[1:] != query[:-1]
    return order[first]
