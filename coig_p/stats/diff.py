"""What a store, or a release, has gained, lost and changed since another one.

Every shard is read once and hashed (`coig_p.stats.identities`); keys alone are held, 28 bytes for each query,
response, score and pair, so that rows may stand in any order, shard and split of either. A shard that both stores
have with one SHA-256 says nothing new: it is only counted, and read from the later store, so that the earlier one need
not have it. Pairs are those of the kernel, under the options of each store.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from coig_p.core.arrays import Index
from coig_p.pairs.agreeing import reward_names
from coig_p.pairs.config import PairConfig, check_judges
from coig_p.pairs.kernel import find_pairs_of
from coig_p.pairs.labels import Names, Responses
from coig_p.pairs.turns import SKIP
from coig_p.schema import RAW_SCHEMA, RAW_SCHEMAS, without
from coig_p.stats.changes import Change, DomainDiff, JudgeChange, PairChange, Side, StoreDiff, Turnover, summed
from coig_p.stats.identities import (
    NOTHING,
    UNITS,
    Entries,
    count_differences,
    count_rationales,
    identities,
    pair_entries,
)
from coig_p.store.fetching import over_shards
from coig_p.store.manifest import Manifest, StoreFile
from coig_p.store.reading import leaves
from coig_p.store.rewards import REWARDS, reward_path
from coig_p.store.sharing import workers_for
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import ROWS_PER_GROUP

_COUNTED = without(RAW_SCHEMA, {"source", "meta"})


def compare_stores(
    before: Store,
    after: Store,
    before_pairs: PairConfig | None = None,
    after_pairs: PairConfig | None = None,
    *,
    num_proc: int | None = 1,
    advance: Callable[[int], None] = lambda queries: None,
) -> StoreDiff:
    """Compare two stores, query by query and pair by pair.

    Args:
        before: of its shards those that `after` does not have, too, must be there.
        before_pairs, after_pairs: which pairs each has; None where it has none. A threshold that is not set is the
            store's own. Formats are not read.
        num_proc: processes that share the shards; None for as many as pay (see `coig_p.store.sharing`).
        advance: called with the number of queries seen since the last call.

    Raises:
        UnknownNameError: a judge that neither store has.
        StoreError: a shard that cannot be read.
    """
    old_pairs, new_pairs = pairs = [
        config and config.with_defaults(store.manifest)
        for config, store in ((before_pairs, before), (after_pairs, after))
    ]
    for config in pairs:
        if config is not None:
            check_judges(config, {*before.manifest.judges, *after.manifest.judges})
    shared = shared_shards(before.manifest, after.manifest, before_pairs)
    seen = _Seen()
    for side, store in enumerate((before, after)):
        left = Counter(shared)
        known = _Known(store.manifest, before_pairs)
        own = [file for file in store.data_files() if not _taken(left, known.of(file))]
        for file, part in over_shards(_keyed, store.path, (pairs[side],), own, workers_for(own, num_proc)):
            seen.add(side, str(file.domain), part)
            advance(file.rows or 0)
    left = Counter(shared)
    known = _Known(after.manifest, before_pairs)
    both = [file for file in after.data_files() if _taken(left, known.of(file))]
    given = (old_pairs, new_pairs)
    for file, counted in over_shards(_counted, after.path, given, both, workers_for(both, num_proc)):
        seen.count(str(file.domain), counted)
        advance(2 * (file.rows or 0))
    domains = list(dict.fromkeys([*after.manifest.domains, *before.manifest.domains]))
    found, total = seen.result(domains)
    sides = [_side(store.manifest, config) for store, config in ((before, old_pairs), (after, new_pairs))]
    return StoreDiff(sides[0], sides[1], found, total)


_Key = tuple[str, str, str, str]
"""A shard's SHA-256, domain and split, and that of the rewards that its pairs must agree with."""


def shared_shards(before: Manifest, after: Manifest, before_pairs: PairConfig | None = None) -> Counter[_Key]:
    """The shards that both have, with equal rewards as far as the pairs before ask for any, and how often."""
    one, other = _Known(before, before_pairs), _Known(after, before_pairs)
    return Counter(map(one.of, before.data_files())) & Counter(map(other.of, after.data_files()))


def changed_shards(before: Manifest, after: Manifest, before_pairs: PairConfig | None = None) -> list[StoreFile]:
    """The shards of `before` that `compare_stores` reads from it, and their rewards as far as pairs ask for any."""
    left, known = shared_shards(before, after, before_pairs), _Known(before, before_pairs)
    changed = [file for file in before.data_files() if not _taken(left, known.of(file))]
    return changed + read_beside(before, before_pairs, changed)


def read_beside(manifest: Manifest, pairs: PairConfig | None, shards: Iterable[StoreFile]) -> list[StoreFile]:
    """The files of the rewards that pairs of these shards must agree with."""
    known = _Known(manifest, pairs)
    return [file for file in map(known.rewards, shards) if file is not None]


class _Known:
    """What a manifest says of shards and of the rewards that their pairs must agree with."""

    def __init__(self, manifest: Manifest, pairs: PairConfig | None) -> None:
        self.name = None if pairs is None else pairs.agree_with
        self.files = {file.path: file for file in manifest.files if file.role == REWARDS}

    def rewards(self, file: StoreFile) -> StoreFile | None:
        return None if self.name is None else self.files.get(reward_path(self.name, file))

    def of(self, file: StoreFile) -> _Key:
        beside = self.rewards(file)
        return file.sha256, str(file.domain), str(file.split), "" if beside is None else beside.sha256


def _taken(left: Counter[_Key], key: _Key) -> bool:
    """Whether a shard is one of those left, which it then is no more."""
    there = left[key] > 0
    if there:
        left[key] -= 1
    return there


def _side(manifest: Manifest, pairs: PairConfig | None) -> Side:
    version = manifest.release.get("version")
    return Side(
        version=version if isinstance(version, str) else None,
        schema_version=manifest.schema_version,
        default_threshold=manifest.default_threshold,
        score_range=manifest.score_range,
        pairs=pairs,
        columns=tuple(name.replace(".list.element", "") for name in leaves(RAW_SCHEMAS[manifest.schema_version])),
    )


# What is seen of a shard.


@dataclass(frozen=True)
class _Part:
    """Of a shard, or of a batch of it: entries by unit, and the names that their groups are of."""

    entries: dict[str, Entries]
    models: list[str]
    judges: list[str]


@dataclass
class _Counts:
    """How many are in shards that both stores have; pairs before and after.

    Attributes:
        pairs: keys of the pairs of each side, where the options of the two differ.
    """

    queries: int = 0
    rationales: int = 0
    models: Counter[str | None] = field(default_factory=Counter)
    scores: Counter[str | None] = field(default_factory=Counter)
    comparisons: Counter[str | None] = field(default_factory=Counter)
    pairs_kept: int = 0
    pairs: tuple[list[Entries], list[Entries]] = field(default_factory=lambda: ([], []))

    def merge(self, other: _Counts) -> None:
        self.queries += other.queries
        self.rationales += other.rationales
        self.models.update(other.models)
        self.scores.update(other.scores)
        self.comparisons.update(other.comparisons)
        self.pairs_kept += other.pairs_kept
        for own, more in zip(self.pairs, other.pairs, strict=True):
            own.extend(more)


def _keyed(root: Path, pairs: PairConfig | None, file: StoreFile) -> _Part:
    """All that is in a shard, by key."""
    names: tuple[dict[str, int], dict[str, int]] = ({}, {})
    parts: dict[str, list[Entries]] = {unit: [] for unit in UNITS}
    for batch in shard_batches(root, file, ROWS_PER_GROUP, threads=False, rewards=reward_names(pairs)):
        responses = Responses.of(batch)
        found = identities(batch, responses, f"{file.domain}/{file.split}")
        entries = dict(found.entries)
        if pairs is not None:
            entries["pairs"] = pair_entries(find_pairs_of(responses, batch, pairs), found.responses)
        for unit, one in _renamed(entries, found.models, found.judges, *names).items():
            parts[unit].append(one)
    return _Part({unit: Entries.joined(some) for unit, some in parts.items()}, *map(list, names))


def _counted(root: Path, before: PairConfig | None, after: PairConfig | None, file: StoreFile) -> _Counts:
    """How many are in a shard, and its pairs."""
    counts, same = _Counts(), _selects(before) == _selects(after)
    columns, rewards = RAW_SCHEMA if not same else _COUNTED, reward_names(before, after)
    for batch in shard_batches(root, file, ROWS_PER_GROUP, columns, threads=False, rewards=rewards):
        responses = Responses.of(batch)
        counts.queries += batch.num_rows
        counts.rationales += count_rationales(batch)
        counts.models.update(_tally(responses.model))
        counts.scores.update(_tally(responses.judge))
        counts.comparisons.update(_tally(Names.of(batch.column("comparisons").flatten().field("judge"))))
        if same and after is not None:
            counts.pairs_kept += len(find_pairs_of(responses, batch, after).query)
        elif not same:
            keys = identities(batch, responses, "").responses
            for config, own in zip((before, after), counts.pairs, strict=True):
                if config is not None:
                    own.append(pair_entries(find_pairs_of(responses, batch, config), keys))
    return counts


def _selects(pairs: PairConfig | None) -> PairConfig | None:
    """What of a config decides which pairs there are."""
    return pairs and replace(pairs, format="dpo", multi_turn=SKIP if pairs.multi_turn == SKIP else None)


def _tally(names: Names) -> dict[str | None, int]:
    counts = np.bincount(names.code + 1, minlength=len(names.names) + 1).tolist()
    return {name: count for name, count in zip([None, *names.names], counts, strict=True) if count}


def _renamed(
    entries: dict[str, Entries],
    models: Iterable[str],
    judges: Iterable[str],
    all_models: dict[str, int],
    all_judges: dict[str, int],
) -> dict[str, Entries]:
    """Entries whose groups are places among all names, which grow by those that are new."""
    found = {}
    for unit, one in entries.items():
        own, known = (models, all_models) if unit == "responses" else (judges, all_judges)
        place = np.array([*(known.setdefault(name, len(known)) for name in own), -1], np.int32)
        found[unit] = one._replace(group=place[one.group])
    return found


# What comes of it.


class _Seen:
    """All that was seen: entries by side, domain and unit, and counts by domain of what both have."""

    def __init__(self) -> None:
        self.models: dict[str, int] = {}
        self.judges: dict[str, int] = {}
        self.parts: tuple[dict[tuple[str, str], list[Entries]], ...] = (defaultdict(list), defaultdict(list))
        self.counts: dict[str, _Counts] = defaultdict(_Counts)

    def add(self, side: int, domain: str, part: _Part) -> None:
        """Take in a shard of one store."""
        for unit, one in _renamed(part.entries, part.models, part.judges, self.models, self.judges).items():
            self.parts[side][domain, unit].append(one)

    def count(self, domain: str, counts: _Counts) -> None:
        """Take in a shard of both."""
        for name in counts.models:
            if name is not None:
                self.models.setdefault(name, len(self.models))
        for name in (*counts.scores, *counts.comparisons):
            if name is not None:
                self.judges.setdefault(name, len(self.judges))
        for side, own in enumerate(counts.pairs):
            self.parts[side][domain, "pairs"].extend(own)
        counts.pairs = ([], [])
        self.counts[domain].merge(counts)

    def result(self, domains: list[str]) -> tuple[dict[str, DomainDiff], DomainDiff]:
        """By domain, and of all together. What was seen goes."""
        by_domain: dict[str, dict[str, Index]] = {domain: {} for domain in domains}
        total: dict[str, Index] = {}
        for unit in UNITS:
            groups = {"responses": len(self.models), "scores": len(self.judges), "comparisons": len(self.judges)}
            number = groups.get(unit, 0)
            joined: list[tuple[Entries, Entries]] = []
            for domain in domains:
                sides = [Entries.joined(part.pop((domain, unit), [NOTHING])) for part in self.parts]
                joined.append((sides[0], sides[1]))
                by_domain[domain][unit] = count_differences(*joined[-1], number)
            if sum(bool(len(old.key) or len(new.key)) for old, new in joined) > 1:
                old, new = (Entries.joined(some) for some in zip(*joined, strict=True))
                total[unit] = count_differences(old, new, number)
            else:
                total[unit] = sum((of[unit] for of in by_domain.values()), np.zeros((number + 1, 5), np.int64))
        everywhere = _Counts()
        for counts in self.counts.values():
            everywhere.merge(counts)
        found = {domain: self._domain(by_domain[domain], self.counts.get(domain, _Counts())) for domain in domains}
        return found, self._domain(total, everywhere)

    def _domain(self, found: dict[str, Index], both: _Counts) -> DomainDiff:
        models, judges = sorted(self.models), sorted(self.judges)

        def row(unit: str, more: int, at: int = -1) -> list[int]:
            before, after, *others = found[unit][at].tolist()
            return [before + more, after + more, *others]

        responses = {name: row("responses", both.models[name], self.models[name]) for name in models}
        scores = {name: row("scores", both.scores[name], self.judges[name]) for name in judges}
        comparisons = {name: row("comparisons", both.comparisons[name], self.judges[name]) for name in judges}
        return DomainDiff(
            queries=summed(Change, *row("queries", both.queries)),
            moved=int(found["places"][-1, 4]),
            responses=summed(Turnover, *row("responses", both.models.total())),
            scores=summed(Change, *row("scores", both.scores.total())),
            comparisons=summed(Change, *row("comparisons", both.comparisons.total())),
            rationales=summed(Change, *row("rationales", both.rationales)),
            pairs=summed(PairChange, *row("pairs", both.pairs_kept)),
            models={name: summed(Turnover, *counts) for name, counts in responses.items() if any(counts)},
            judges={
                name: JudgeChange(summed(Change, *scores[name]), summed(Change, *comparisons[name]))
                for name in judges
                if any(scores[name]) or any(comparisons[name])
            },
        )
