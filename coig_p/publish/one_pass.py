"""A store read once: checked, counted, swept and measured from the same batches, in one process or several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from coig_p.engine.local import Processes, Workers, in_order
from coig_p.pairs.agreeing import reward_names
from coig_p.pairs.config import PairConfig
from coig_p.schema import RAW_SCHEMAS
from coig_p.stats.batch import Observed
from coig_p.stats.counts import StatisticsCounts
from coig_p.stats.results import Statistics
from coig_p.stats.sweep import Sweep, SweepCounts, check_thresholds, default_thresholds
from coig_p.store.manifest import Manifest, StoreFile
from coig_p.store.reading import conformed
from coig_p.store.rewarded import rewarded, rewards_beside
from coig_p.store.store import Store, shard_batches
from coig_p.validation import Report, Rule
from coig_p.validation.gate import CHECKED, Checked

_ROWS_AT_ONCE = 256  # queries that are counted together


@dataclass(frozen=True)
class StoreObserved:
    """What is known of a store once it was read.

    Attributes:
        report: what its check found.
        statistics, sweep: of its pairs.
        memory: by the path of each shard, what the stock library will count as num_bytes.
        made: by the path of each shard, of queries that follow each other, how many they are and how many pairs
            they make.
    """

    report: Report
    statistics: Statistics
    sweep: Sweep
    memory: Mapping[str, int]
    made: Mapping[str, Sequence[tuple[int, int]]]


def observe_store(
    store: Store,
    pairs: PairConfig,
    rules: Mapping[str, Rule],
    advance: Callable[[int], None],
    workers: Workers,
) -> StoreObserved:
    """Check, count and sweep a store: every shard is read once, and its responses are paired once.

    Args:
        pairs: which pairs; its threshold is set.
        rules: of the check.
        advance: called with the number of queries seen since the last call.
        workers: who does it, a shard at a time.

    Raises:
        StoreError: a shard that cannot be read.
    """
    files = store.data_files()
    thresholds = check_thresholds(default_thresholds(store.manifest, config=pairs))
    seen = _Seen.nothing(store.manifest, rules, pairs, thresholds, files)
    problems = store.verify(workers=None if workers == Processes(1) else workers)
    bare = replace(store.manifest, files=())  # of which every process gets a copy with every shard
    work = partial(_observe_shard, store.path, bare, rules, pairs, thresholds)
    for file, part in in_order(work, files, workers):
        seen.merge(part)
        advance(file.rows or 0)
    return StoreObserved(
        report=seen.checked.result(store.path, files, problems),
        statistics=seen.counted.result(store.manifest),
        sweep=seen.swept.result(store.manifest),
        memory=seen.memory,
        made=seen.made,
    )


@dataclass
class _Seen:
    """What is seen of some shards, all of it in one reading.

    Attributes:
        memory, made: as of `StoreObserved`.
    """

    checked: Checked
    counted: StatisticsCounts
    swept: SweepCounts
    memory: dict[str, int] = field(default_factory=dict)
    made: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    @classmethod
    def nothing(
        cls,
        manifest: Manifest,
        rules: Mapping[str, Rule],
        pairs: PairConfig,
        thresholds: Sequence[float],
        files: Sequence[StoreFile] = (),
    ) -> _Seen:
        """Of no shard yet; every domain of `files` will be in the statistics."""
        counted, swept = StatisticsCounts.nothing(pairs, files), SweepCounts.nothing(pairs, thresholds)
        return cls(Checked(manifest, rules), counted, swept)

    def merge(self, other: _Seen) -> None:
        """Take in what was seen elsewhere."""
        self.checked.merge(other.checked)
        self.counted.merge(other.counted)
        self.swept.merge(other.swept)
        self.memory |= other.memory
        self.made |= other.made


def _observe_shard(
    root: Path,
    manifest: Manifest,
    rules: Mapping[str, Rule],
    pairs: PairConfig,
    thresholds: Sequence[float],
    file: StoreFile,
) -> _Seen:
    """What is seen of one shard."""
    seen = _Seen.nothing(manifest, rules, pairs, thresholds)
    asked = sorted({0.0, *thresholds} | ({pairs.threshold} if pairs.threshold is not None else set()))
    memory = 0
    made: list[tuple[int, int]] = []
    beside = rewards_beside(f"{root}/{file.path}", reward_names(pairs), nullcontext)
    for group in shard_batches(root, file, None, RAW_SCHEMAS[manifest.schema_version]):
        memory += group.nbytes  # of the columns that the shard has
        (seen_of,) = rewarded([conformed(group, CHECKED)], beside)
        for begin in range(0, group.num_rows, _ROWS_AT_ONCE):
            batch = Observed(seen_of.slice(begin, _ROWS_AT_ONCE), asked)
            seen.checked.add(batch)
            seen.counted.add(batch, str(file.domain), str(file.split))
            seen.swept.add(batch)
            made.append((batch.batch.num_rows, len(batch.pairs(pairs).query)))
    seen.checked.compact()
    seen.memory[file.path] = memory
    seen.made[file.path] = made
    return seen
