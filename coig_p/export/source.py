"""The rows of a store on their way to an export's shards: paired, split, measured, weighted, in the trainer's form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from coig_p.core.arrays import Index, Mask
from coig_p.core.lengths import Lengths
from coig_p.engine.journal import Journal
from coig_p.engine.local import Workers
from coig_p.errors import DataError, UsageError
from coig_p.export.alike import count_alike
from coig_p.export.balance import Balance
from coig_p.export.shuffle import Held, Parts, Shuffled, Spill, spill_to, spilled
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
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import ROWS_PER_GROUP

# What is read where one query of a group is shown: groups are said by meta.
_WITH_META = without(RAW_SCHEMA, {"source", "dimension", "rationale"})


@dataclass
class _Dealt:
    """What one shard gives.

    Attributes:
        held: where its rows lie.
        rows, without_pairs, without_response, left_out, excluded, alike: as a Source counts them, `rows` by split and
            domain.
    """

    queries: int
    held: list[Held]
    rows: dict[str, Counter[str]]
    without_pairs: Counter[str]
    without_response: Counter[str]
    left_out: Counter[str]
    excluded: Counter[str]
    alike: Counter[str]

    def to_json(self) -> dict[str, Any]:
        """For a journal."""
        held = [[*one.side, one.part, one.file, one.batch, one.rows] for one in self.held]
        return {one.name: held if one.name == "held" else getattr(self, one.name) for one in fields(self)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> _Dealt:
        """The reverse of `to_json`."""
        return cls(
            told["queries"],
            [Held((name, label), *places) for name, label, *places in told["held"]],
            {name: Counter(rows) for name, rows in told["rows"].items()},
            *(Counter(told[one.name]) for one in fields(cls)[3:]),
        )


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
        self.alike: Counter[str] = Counter()
        seed = selection.pairs.seed
        self.balances = {part.name: Balance(seed) for part in self.parts if balance_length}
        self.response_of = response_of
        self.singles = {part.name: OnePer(one_per, seed) for part in self.parts if one_per is not None}
        self._met = False  # a query of a known cluster
        self._before: Counter[tuple[str, str, int]] = Counter()

    def _clusters(self) -> dict[str, str]:
        """For each query of a known near-duplicate cluster, the one that stands for it; read where train is cut."""
        path = self.clusters_file()
        return {} if path is None else read_clusters(path)

    def clusters_file(self) -> Path | None:
        """The file of the clusters that train is cut by, where there is one."""
        cut, own = self.selection.cut, own_clusters(self.store.manifest)
        if not cut.cuts:
            return None
        if cut.clusters:
            return Path(cut.clusters)
        return self.store.path / own.path if own else None

    def spill(self, journal: Journal, name: str, advance: Callable[[int], None], workers: Workers) -> Shuffled:
        """Read the store once and deal its rows to files, one for each shard.

        Args:
            journal: of an export, which gets a folder of that name.
            workers: who does it, where rows do not depend on those before them.

        Raises:
            DataError: a row that the trainer could not learn from, or a split without any.
            UsageError: the clusters are of another store.
        """
        clusters = self._clusters_to_find()
        files = self.files()
        for rewards in self.selection.rewards:
            reward_files(self.store.manifest, rewards, files, self.store.path)
        parts = Parts.of(sum(file.bytes for file in files))
        folder = journal.root / name
        folder.mkdir(exist_ok=True)
        held: list[Held] = []
        if self._in_turn():
            for number, file in enumerate(files):
                held += self._deal_file(file, number, folder, parts, clusters, advance)
                if clusters and self._met:
                    clusters = {}
        else:
            work = partial(_deal_shard, self._empty(), folder, parts)
            for _, dealt in journal.in_order(
                work,
                enumerate(files),
                workers,
                task=lambda numbered: f"{name}/{numbered[0]}",
                files=lambda numbered: [f"{name}/{spilled(folder, numbered[0]).name}"],
                as_json=_Dealt.to_json,
                from_json=_Dealt.from_json,
            ):
                held += dealt.held
                self._take(dealt)
                advance(dealt.queries)
        if clusters:
            raise UsageError(
                f"clusters={str(self.selection.cut.clusters)!r}: none of its queries is in {self.store.path}. "
                "Name the file that coigp dedup wrote for it"
            )
        drawn: dict[str, Balance | OnePer] = {**self.balances, **self.singles}
        for name, some in drawn.items():
            left = some.rows()
            self.counts[name] = Counter({domain: left.get(domain, 0) for domain in self.counts[name]})
        found = Shuffled(folder, held, parts, self.only())
        for name in (part.name for part in self.parts):
            if not sum(found.rows[name, label] for label in range(self.labels)):
                raise self._no_rows(name)
        return found

    @property
    def labels(self) -> int:
        """How many kinds of rows there are, which are mixed evenly."""
        return 1 if self.form.label is None else 2

    def files(self) -> list[StoreFile]:
        """The shards that are read."""
        (split,) = self.selection.splits
        return self.selection.files(self.store.manifest, split)

    def only(self) -> dict[str, Callable[[Any], Any]]:
        """By split, which of its rows stay, by their marks, where not all of them do."""
        drawn: dict[str, Balance | OnePer] = {**self.balances, **self.singles}
        return {name: some.kept for name, some in drawn.items()}

    def _no_rows(self, name: str) -> DataError:
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
        return DataError(f"no rows for the split {name}{at}{why}. {way}")

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

    def _take(self, dealt: _Dealt) -> None:
        """Count what a shard gave."""
        for name, counted in dealt.rows.items():
            self.counts[name].update(counted)  # += would forget a domain without rows
        self.without_pairs.update(dealt.without_pairs)
        self.without_response.update(dealt.without_response)
        self.left_out.update(dealt.left_out)
        self.excluded.update(dealt.excluded)
        self.alike.update(dealt.alike)

    def _empty(self) -> Source:
        """The same, of no row yet, and without the names of all files, which no shard needs."""
        other = copy(self)
        other.store = replace(self.store, manifest=replace(self.store.manifest, files=()))
        other.counts = {part.name: Counter() for part in self.parts}
        other.without_pairs, other.without_response, other.left_out, other.excluded = (Counter() for _ in range(4))
        other.alike = Counter()
        return other

    def deal_shard(self, folder: Path, parts: Parts, number: int, file: StoreFile) -> _Dealt:
        """Write the rows of the shard of that number to a file; what else it gives."""
        own, queries = self._empty(), 0

        def advance(more: int) -> None:
            nonlocal queries
            queries += more

        held = own._deal_file(file, number, folder, parts, {}, advance)
        told = (own.counts, own.without_pairs, own.without_response, own.left_out, own.excluded, own.alike)
        return _Dealt(queries, held, *told)

    def _deal_file(
        self,
        file: StoreFile,
        number: int,
        folder: Path,
        parts: Parts,
        clusters: Mapping[str, str],
        advance: Callable[[int], None],
    ) -> list[Held]:
        """Write the rows of a shard; where they lie. Notes whether a query of `clusters` was met."""
        schema = _WITH_META if self.singles else PAIRING_SCHEMA

        def make(spill: Spill) -> None:
            for batch in shard_batches(self.store.path, file, ROWS_PER_GROUP, schema, rewards=self.selection.rewards):
                for part in self.parts:
                    self._deal(batch, part, str(file.domain), spill)
                if clusters and not clusters.keys().isdisjoint(batch.column("query_id").to_pylist()):
                    self._met = True
                advance(batch.num_rows)

        return spill_to(spilled(folder, number), number, parts, make)[1]

    def _clusters_to_find(self) -> Mapping[str, str]:
        """Clusters of which some must be met when the whole store is read: a file of another store would
        let near-duplicates on both sides unnoticed. Empty where part of the store is read, which may have none.
        """
        manifest = self.store.manifest
        whole = set(self.selection.domains) == set(manifest.domains) and manifest.splits() == [TRAIN]
        only = self.parts[0].only
        return only.splits.cluster if whole and only is not None and self.selection.cut.clusters is not None else {}

    def _deal(self, batch: pa.RecordBatch, part: SplitPart, domain: str, spill: Spill) -> None:
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
        if self.form.rows != "sft":
            self.alike[name] += count_alike(rows)
        for one in passes(self.selection.weight(name, domain)):
            shown = rows
            if is_partial(one):
                shown = rows.take(share_of(rows, self._before[name, domain, one.copy], one.fraction))
                self._before[name, domain, one.copy] += len(rows)
            self._add(shown, name, domain, one.copy, spill)

    def _short(self, rows: Rows, lengths: Lengths) -> Mask:
        prompts, answers = rows.measured()
        domains, given = rows.batch.column("domain"), None
        if self.system is not None:  # which conversations keep one of their own
            given = ~has_system(rows.batch) if self.form.messages else np.ones(rows.batch.num_rows, dtype=bool)
        return lengths.keep(prompts, domains, rows.found.query, answers, rows.sides, self.system, given)

    def _add(self, rows: Rows, name: str, domain: str, copy: int, spill: Spill) -> None:
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
            if self.form.label is None:
                spill.add((name, 0), made, own, marked)
            else:
                label = made.column(self.form.label).to_numpy()
                for side, mask in enumerate((label, ~label)):
                    if mask.any():
                        spill.add((name, side), made.filter(pa.array(mask)), own[mask])
        self.counts[name][domain] += done


def _deal_shard(source: Source, folder: Path, parts: Parts, numbered: tuple[int, StoreFile]) -> _Dealt:
    return source.deal_shard(folder, parts, *numbered)


def _best(rows: Rows) -> Index:
    """Of each query the response with the highest score, the first where several have it."""
    assert isinstance(rows.found, ResponseRows)
    order = np.lexsort((np.arange(len(rows)), -rows.found.score, rows.found.query))
    query = rows.found.query[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = query[1:] != query[:-1]
    return order[first]
