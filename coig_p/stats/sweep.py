"""What every threshold would give: how many pairs, of what kind, and whether another judge agrees.

One pass over the store finds the pairs at the lowest threshold and how many of the thresholds
each meets; the rest is counting. Only indices and lengths are touched, no text is copied. The
counts of a query are one row of a matrix with a column for each threshold, so that intervals
can be taken over queries (`coig_p.stats.intervals`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from coig_p.core.arrays import Index
from coig_p.core.html import html_table
from coig_p.engine.local import Threads, held, in_order
from coig_p.errors import UsageError
from coig_p.pairs.agreeing import reward_names, rewards_of, verdicts_of
from coig_p.pairs.config import PairConfig, check_judges, check_threshold
from coig_p.pairs.kernel import at_each_level, is_nested
from coig_p.pairs.reach import warn_stale, warn_unreachable
from coig_p.pairs.shapes import check_counted
from coig_p.pairs.turns import SKIP
from coig_p.schema import PAIRING_SCHEMA
from coig_p.stats.agreement import VERDICTS
from coig_p.stats.batch import Observed
from coig_p.stats.distribution import nice_step
from coig_p.stats.intervals import Moments, Share, moments, no_moments, share
from coig_p.stats.judges import verdict_moments, verdict_shares
from coig_p.stats.results import SecondJudge, as_json_text, as_percent, described, flat_frame, plain
from coig_p.store.fetching import over_shards
from coig_p.store.manifest import Manifest, StoreFile
from coig_p.store.reading import part_of
from coig_p.store.rewards import check_rewards
from coig_p.store.sharing import workers_for
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import ROWS_PER_GROUP

if TYPE_CHECKING:
    import pandas as pd

PAPER_OPTIMUM = 2.0
"""The threshold that COIG-P's authors chose on their data, on a scale of 1 to 10 (COIG-P, section 5.3)."""

MOST_THRESHOLDS = 200

_COMPARED = part_of(PAIRING_SCHEMA, "comparisons")


@dataclass(frozen=True)
class SweepRow:
    """What one threshold gives; docs/stats.md says what each number is.

    Attributes:
        queries: with a pair.
        queries_kept, pairs_per_query: None where there is none to divide by.
        most_chosen: the model, the first by name of several; None without a pair.
        model_balance: entropy of the chosen models' shares, 1 where all are equal; None below two models.
        second_judge: what judges say of the others' pairs, or what the rewards say that were named.
        without_reward: pairs of which those say nothing, since a response has none; not among the verdicts.
    """

    threshold: float
    pairs: int
    queries: int
    queries_kept: float | None
    pairs_per_query: float | None
    chosen_longer: Share
    most_chosen: str | None
    most_chosen_share: float | None
    model_balance: float | None
    second_judge: SecondJudge
    without_reward: int = 0


@dataclass(frozen=True)
class Sweep:
    """What `sweep` found.

    Attributes:
        queries: in the part of the store that was looked at, with or without a pair.
        models: that answered.
        default_threshold: the store's.
        paper_optimum: 2 where the store's scores have COIG-P's range of 1 to 10, else None.
        config: which pairs; its threshold and format were not read.
        thresholds: one row each, ascending.
        second: the rewards that are the second judge; None where each judge in turn is, of the pairs of the others.
    """

    queries: int
    models: int
    default_threshold: float
    paper_optimum: float | None
    config: PairConfig
    thresholds: tuple[SweepRow, ...]
    second: str | None = None

    def __repr__(self) -> str:
        steps = self.thresholds
        span = f", {steps[0].threshold:g} to {steps[-1].threshold:g}" if steps else ""
        return f"Sweep({len(steps)} thresholds{span}, of {self.queries:,} queries and {self.models:,} models)"

    def to_dict(self) -> dict[str, Any]:
        """As dicts, lists, strings, numbers and None: what sweep.json holds, its floats not rounded."""
        found: dict[str, Any] = plain(asdict(self))
        if self.second is None:
            del found["second"]
            for row in found["thresholds"]:
                del row["without_reward"]
        return found | {"config": described(self.config, "threshold", "format")}

    def to_json(self) -> str:
        """As text, the same for the same store and options; floats to 6 decimals."""
        return as_json_text(self.to_dict())

    def to_pandas(self) -> pd.DataFrame:
        """A row a threshold, indexed by it; columns are named by their path, for instance chosen_longer_share."""
        rows = {row["threshold"]: row for row in self.to_dict()["thresholds"]}
        return flat_frame(rows, "threshold").drop(columns="threshold")

    def _repr_html_(self) -> str:
        header = ["threshold", "pairs", "queries", "of all queries", "longer chosen", "second judge agrees"]
        header += ["most chosen", "balance of models"]
        rows = [
            [
                *(row.threshold, row.pairs, row.queries, as_percent(row.queries_kept)),
                *(as_percent(row.chosen_longer.share), as_percent(row.second_judge.agrees.share)),
                *(row.most_chosen, as_percent(row.model_balance)),
            ]
            for row in self.thresholds
        ]
        title = f"Sweep of {self.queries:,} queries; the store's threshold is {self.default_threshold:g}"
        return html_table(title, header, rows)


def sweep(
    store: str | Path | Store,
    config: PairConfig | None = None,
    thresholds: Sequence[float] | None = None,
    *,
    second: str | None = None,
    domains: Collection[str] = (),
    split: str | None = None,
    num_proc: int | None = 1,
    engine: Executor | None = None,
    advance: Callable[[int], None] = lambda queries: None,
) -> Sweep:
    """Count the pairs of a store at each of many thresholds, in one pass.

    Args:
        store: a Store, or the directory of one.
        config: which pairs; its threshold and format are not read. Where scores and comparisons both decide,
            comparisons keep their own threshold, that of the config or else of the store.
        thresholds: default: about 20 even steps over the store's score range, or where comparisons alone are
            counted up to the largest margin of one; and the store's default threshold.
        second: rewards that say of every pair whether they agree, in the place of each judge in turn.
        domains, split: these alone; default all.
        num_proc: processes that share the shards; 1 are two threads of this one. None for as many as
            pay (see `coig_p.store.sharing`).
        engine: an executor that takes the work in their place, as `coig_p.engine.ray.RayExecutor`.
        advance: called with the number of queries counted since the last call.

    Raises:
        UsageError: an unknown domain, split, judge or rewards, or thresholds that cannot be; `multi_turn` of
            conversations that is not "skip".
        StoreError: not a store, or a shard that cannot be read.
    """
    opened = store if isinstance(store, Store) else Store.open(store)
    config = _swept(config or PairConfig(), opened.manifest)
    if second is not None:
        check_rewards(opened.manifest, second)
    check_judges(config, opened.manifest.judges)
    warn_stale(config, opened.manifest)
    files = opened.selected_files(domains, split)
    with held(workers_for(files, num_proc, engine, alone=Threads(only_read=True))) as workers:
        if thresholds is None:
            largest = 0.0
            if config.labels == "comparisons" or not any(file.scores for file in files):  # compared alone
                margins = in_order(partial(_largest_margin, opened.path), files, workers)
                largest = max((margin for _, margin in margins), default=0.0)
            thresholds = steps = default_thresholds(opened.manifest, largest or None, config)
        else:
            steps = check_thresholds(thresholds)
            for step in steps:
                replace(config, threshold=step)  # raises where it cannot be
            warn_unreachable(steps, opened.manifest, config)
        check_counted(files, config.multi_turn)
        seen = SweepCounts.nothing(config, steps, second)
        for file, part in over_shards(_sweep_shard, opened.path, (config, steps, second), files, workers):
            seen.merge(part)
            advance(file.rows or 0)
    return seen.result(opened.manifest)


def _swept(config: PairConfig, manifest: Manifest) -> PairConfig:
    """The config with what holds at every threshold of a sweep."""
    replace(config, threshold=1).with_defaults(manifest)  # raises where it cannot be
    return replace(config, comparison_threshold=config.apart(manifest), both_orders=config.orders(manifest))


def default_thresholds(
    manifest: Manifest, largest: float | None = None, config: PairConfig | None = None
) -> list[float]:
    """Even steps from 0 over the score range, at most 20 of them, and the store's default threshold.

    Args:
        largest: the largest margin there is, where that is not a matter of the score range.
        config: which pairs. With calibration no step is 0.
    """
    low, high = manifest.score_range if largest is None else (0.0, largest)
    step = nice_step(high - low)
    steps = {round(step * at, 4) for at in range(1 + math.floor((high - low) / step + 1e-9))}
    config = config or PairConfig()
    steps |= {config.store_threshold(manifest)}
    return sorted(steps - ({0.0} if config.calibrate is not None else set()))


def _largest_margin(root: Path, file: StoreFile) -> float:
    """The largest difference of the two scores of a comparison in a shard; 0 where there is none."""
    largest = 0.0
    for batch in shard_batches(root, file, ROWS_PER_GROUP, _COMPARED, threads=False):
        given = batch.column("comparisons").flatten()
        if len(given):
            margins = pc.abs(pc.subtract(pc.struct_field(given, "first_score"), pc.struct_field(given, "second_score")))
            largest = max(largest, pc.max(margins).as_py() or 0.0)
    return largest


def check_thresholds(thresholds: Sequence[float]) -> list[float]:
    """`thresholds` sorted, each once; raise UsageError where one cannot be, or there are none or too many."""
    steps = sorted({check_threshold(value) for value in thresholds})
    if not 1 <= len(steps) <= MOST_THRESHOLDS:
        raise UsageError(f"{len(steps)} thresholds: give 1 to {MOST_THRESHOLDS}, for instance 0.5,1,2,3")
    return steps


@dataclass
class SweepCounts:
    """Counts of a part of a store at T thresholds: an accumulator.

    Attributes:
        config: its threshold and format are not read.
        pairs, kept: (T) pairs, and queries with any.
        longer: (6, T) moments of pairs of unequal length, `a` where the chosen one is longer.
        verdicts: (6, T, 3) moments of second judges' verdicts.
        chosen: (T) for each model that answered, the pairs it is chosen in.
        second: the rewards whose verdicts are counted, in the place of judges'.
        without_reward: (T) pairs of which they say nothing.
    """

    config: PairConfig
    thresholds: tuple[float, ...]
    pairs: Index
    kept: Index
    longer: Moments
    verdicts: Moments
    queries: int = 0
    chosen: dict[str, Index] = field(default_factory=dict)
    second: str | None = None
    without_reward: Index = field(default_factory=lambda: np.zeros(1, np.int64))

    @classmethod
    def nothing(cls, config: PairConfig, thresholds: Sequence[float], second: str | None = None) -> SweepCounts:
        """Of no batch yet; thresholds ascend."""
        steps = len(thresholds)
        zeros = np.zeros(steps, np.int64)
        verdicts = no_moments(steps, len(VERDICTS))
        return cls(config, tuple(thresholds), zeros, zeros, no_moments(steps), verdicts, 0, {}, second, zeros)

    def merge(self, other: SweepCounts) -> None:
        """Take in what was counted elsewhere."""
        self.pairs = self.pairs + other.pairs
        self.kept = self.kept + other.kept
        self.longer = self.longer + other.longer
        self.verdicts = self.verdicts + other.verdicts
        self.queries += other.queries
        self.without_reward = self.without_reward + other.without_reward
        for model, pairs in other.chosen.items():
            self.chosen[model] = self.chosen.get(model, 0) + pairs

    def add(self, observed: Observed) -> None:
        """Count a batch."""
        steps, rows = len(self.thresholds), observed.batch.num_rows
        nested = is_nested(self.config)
        responses, pairs = observed.responses, observed.swept(self.config, self.thresholds)
        level = pairs.level - 1
        names = responses.model.names

        def counts(of_response: Index, size: int, kinds: Index | int = 0, many: int = 1) -> Index:
            """Pairs by what their chosen response belongs to and their kind at each threshold: (size, T, many)."""
            cell = ((of_response * steps)[pairs.chosen] + level) * many + kinds
            return at_each_level(np.bincount(cell, minlength=size * steps * many).reshape(size, steps, many), nested)

        chosen, rejected = observed.lengths[pairs.chosen], observed.lengths[pairs.rejected]
        by_length = counts(responses.query, rows, 1 + (chosen > rejected) - (chosen < rejected), 3)
        found, shorter, longer = by_length.sum(2), by_length[:, :, 0], by_length[:, :, 2]
        winner = responses.model.code % (len(names) + 1)  # -1, no name, goes last and is not counted
        by_model = counts(winner, len(names) + 1)[:, :, 0]
        self.pairs = self.pairs + found.sum(0)
        self.kept = self.kept + (found > 0).sum(0)
        self.longer = self.longer + moments(longer, longer + shorter)
        self.queries += rows
        for at, name in enumerate(names):
            self.chosen[name] = self.chosen.get(name, 0) + by_model[at]
        if self.second is not None:
            said = verdicts_of(rewards_of(observed.batch, self.second), pairs.chosen, pairs.rejected)
            by_verdict = counts(responses.query, rows, said, len(VERDICTS) + 1)
            self.verdicts = self.verdicts + verdict_moments(by_verdict[:, :, :-1])
            self.without_reward = self.without_reward + by_verdict[:, :, -1].sum(0)
            return
        by_judge = list(observed.verdicts(self.config, self.thresholds).values())
        if by_judge:
            self.verdicts = self.verdicts + verdict_moments(np.sum(by_judge, axis=0))

    def result(self, manifest: Manifest) -> Sweep:
        """What is reported."""
        return Sweep(
            queries=self.queries,
            models=len(self.chosen),
            default_threshold=self.config.store_threshold(manifest),
            paper_optimum=PAPER_OPTIMUM if manifest.score_range == (1.0, 10.0) else None,
            config=self.config,
            thresholds=tuple(self._row(at) for at in range(len(self.thresholds))),
            second=self.second,
        )

    def _row(self, at: int) -> SweepRow:
        pairs, kept = int(self.pairs[at]), int(self.kept[at])
        chosen = {model: int(counts[at]) for model, counts in sorted(self.chosen.items())}
        first = max(chosen, key=lambda model: chosen[model], default=None) if pairs else None
        return SweepRow(
            threshold=self.thresholds[at],
            pairs=pairs,
            queries=kept,
            queries_kept=kept / self.queries if self.queries else None,
            pairs_per_query=pairs / kept if kept else None,
            chosen_longer=share(self.longer[:, at]),
            most_chosen=first,
            most_chosen_share=chosen[first] / pairs if first is not None else None,
            model_balance=_evenness(list(chosen.values())),
            second_judge=verdict_shares(self.verdicts[:, at]),
            without_reward=int(self.without_reward[at]),
        )


def _evenness(counts: Sequence[int]) -> float | None:
    """Entropy of the models' shares over that of equal shares: 1 for equal, 0 for one model; None below two models."""
    total = sum(counts)
    if not total or len(counts) < 2:
        return None
    return -sum(n / total * math.log(n / total) for n in counts if n) / math.log(len(counts)) + 0.0


def _sweep_shard(
    root: Path, config: PairConfig, thresholds: Sequence[float], second: str | None, file: StoreFile
) -> SweepCounts:
    seen = SweepCounts.nothing(config, thresholds, second)
    rewards = tuple(dict.fromkeys([*reward_names(config), *([] if second is None else [second])]))
    columns = ["responses", "comparisons"]
    if not is_nested(config) or config.exclude is not None:
        columns.append("query_id")
    if config.multi_turn == SKIP:
        columns += ["messages", "tools"]
    schema = PAIRING_SCHEMA if rewards else part_of(PAIRING_SCHEMA, *columns)
    for batch in shard_batches(root, file, ROWS_PER_GROUP, schema, threads=False, rewards=rewards):
        seen.add(Observed(batch))
    return seen
