"""What the filter of rewards (`agree_with`) does to pairs: which it keeps and drops, by domain and margin, and what
becomes of the share of pairs whose chosen response is the longer one.

Pairs before are those that all other options give, draws among them; every pair is kept or dropped for one reason.
Sums are whole numbers, so shards may be counted anywhere and in any order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from coig_p.core.arrays import Mask
from coig_p.core.html import html_table
from coig_p.engine.local import Threads
from coig_p.errors import UsageError
from coig_p.pairs.agreeing import KEPT, OUTCOMES, outcomes, reward_names
from coig_p.pairs.config import PairConfig, check_judges
from coig_p.pairs.kernel import Pairs
from coig_p.pairs.reach import check_reachable
from coig_p.pairs.turns import SKIP
from coig_p.schema import PAIRING_SCHEMA
from coig_p.stats.batch import Observed
from coig_p.stats.distribution import distribution
from coig_p.stats.intervals import Moments, moments, no_moments, share
from coig_p.stats.results import Filtered, MarginBin, as_json_text, as_percent, described, flat_frame, plain
from coig_p.store.fetching import over_shards
from coig_p.store.manifest import StoreFile
from coig_p.store.sharing import workers_for
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import ROWS_PER_GROUP

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class FilterEffect:
    """What `filter_effect` found.

    Attributes:
        config: which pairs; its threshold and rewards are set.
        domains: what becomes of the pairs of each.
        total: of all of them.
    """

    config: PairConfig
    domains: Mapping[str, Filtered]
    total: Filtered

    def __repr__(self) -> str:
        return f"FilterEffect({self.total.kept:,} of {self.total.pairs:,} pairs kept by {self.config.agree_with})"

    def to_dict(self) -> dict[str, Any]:
        """As dicts, lists, strings, numbers and None, its floats not rounded."""
        found: dict[str, Any] = plain(asdict(self))
        return found | {"config": described(self.config, "format")}

    def to_json(self) -> str:
        """As text, the same for the same store and options; floats to 6 decimals."""
        return as_json_text(self.to_dict())

    def to_pandas(self) -> pd.DataFrame:
        """A row a domain, "all" last, indexed by domain; columns are named by their path. Margins are left out."""
        every = {**self.domains, "all": self.total}
        rows = {name: plain(asdict(part)) | {"margins": []} for name, part in every.items()}
        return flat_frame(rows, "domain").drop(columns="margins")

    def _repr_html_(self) -> str:
        header = ["domain", "pairs", "kept", *(name.replace("_", " ") for name in OUTCOMES[1:])]
        rows = [
            [
                *(name, part.pairs, part.kept, part.opposed, part.too_close, part.without_reward),
                *(as_percent(part.longer_before.share), as_percent(part.longer_after.share)),
            ]
            for name, part in {**self.domains, "all": self.total}.items()
        ]
        title = f"What the rewards {self.config.agree_with} keep"
        return html_table(title, [*header, "longer chosen before", "after"], rows)


def filter_effect(
    store: str | Path | Store,
    config: PairConfig,
    *,
    domains: Collection[str] = (),
    split: str | None = None,
    num_proc: int | None = 1,
    engine: Executor | None = None,
    advance: Callable[[int], None] = lambda queries: None,
) -> FilterEffect:
    """Count which pairs of a store rewards keep, and which they drop.

    Args:
        store: a Store, or the directory of one.
        config: which pairs; `agree_with` names the rewards. Its format is not read, and of `multi_turn` only "skip".
        domains, split: these alone; default all.
        num_proc: processes that share the shards; 1 are two threads of this one. None for as many as
            pay (see `coig_p.store.sharing`).
        engine: an executor that takes the work in their place, as `coig_p.engine.ray.RayExecutor`.
        advance: called with the number of queries counted since the last call.

    Raises:
        UsageError: no rewards are named; an unknown domain, split, judge or rewards; a threshold that cannot be met.
        StoreError: not a store, or a shard or rewards that cannot be read.
    """
    opened = store if isinstance(store, Store) else Store.open(store)
    if config.agree_with is None:
        raise UsageError("agree_with= is not set: name the rewards of the store whose effect is asked for")
    shown = replace(config, format="dpo", multi_turn=SKIP if config.multi_turn == SKIP else None)
    config = check_reachable(shown, opened.manifest)
    check_judges(config, opened.manifest.judges)
    files = opened.selected_files(domains, split)
    found = {str(file.domain): FilterCounts() for file in files}
    workers = workers_for(files, num_proc, engine, alone=Threads(only_read=True))
    for file, part in over_shards(_count_shard, opened.path, (config,), files, workers):
        found[str(file.domain)].merge(part)
        advance(file.rows or 0)
    total = FilterCounts()
    for part in found.values():
        total.merge(part)
    edges = total.edges()
    return FilterEffect(config, {name: part.result(edges) for name, part in found.items()}, total.result(edges))


@dataclass
class FilterCounts:
    """Counts of a part of a store: an accumulator.

    Attributes:
        outcomes: pairs by what becomes of them.
        kept, dropped: pairs by margin.
        before, after: moments of pairs of unequal length, `a` where the chosen one is longer.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    kept: Counter[float] = field(default_factory=Counter)
    dropped: Counter[float] = field(default_factory=Counter)
    before: Moments = field(default_factory=no_moments)
    after: Moments = field(default_factory=no_moments)

    def merge(self, other: FilterCounts) -> None:
        """Take in what was counted elsewhere."""
        self.outcomes.update(other.outcomes)
        self.kept.update(other.kept)
        self.dropped.update(other.dropped)
        self.before = self.before + other.before
        self.after = self.after + other.after

    def add(self, observed: Observed, config: PairConfig) -> None:
        """Count a batch."""
        pairs = observed.pairs(config.without_rewards())
        outcome = outcomes(observed.batch, config, pairs.chosen, pairs.rejected)
        counts = np.bincount(outcome, minlength=len(OUTCOMES)).tolist()
        self.outcomes.update(dict(zip(OUTCOMES, counts, strict=True)))
        is_kept = outcome == KEPT
        for counted, mask in ((self.kept, is_kept), (self.dropped, ~is_kept)):
            values, number = np.unique(pairs.margin[mask], return_counts=True)
            counted.update(dict(zip(values.tolist(), number.tolist(), strict=True)))
        self.before = self.before + _longer(observed, pairs, np.ones(len(is_kept), bool))
        self.after = self.after + _longer(observed, pairs, is_kept)

    def edges(self) -> tuple[float, ...]:
        """Lower ends of the bins of all margins."""
        return distribution(self.kept + self.dropped).bins.edges

    def result(self, edges: Sequence[float] | None = None) -> Filtered:
        """What is reported.

        Args:
            edges: of the bins of margins; default those of these pairs themselves.
        """
        edges = self.edges() if edges is None else edges
        bins = [_binned(counted, edges) for counted in (self.kept, self.dropped)]
        ends = (*edges[1:], None)
        return Filtered(
            pairs=sum(self.outcomes.values()),
            **{name: self.outcomes[name] for name in OUTCOMES},
            longer_before=share(self.before),
            longer_after=share(self.after),
            margins=tuple(MarginBin(*one) for one in zip(edges, ends, *bins, strict=True)),
        )


def _longer(observed: Observed, pairs: Pairs, mask: Mask) -> Moments:
    """Moments of the pairs that `mask` takes, whose responses differ in length."""
    rows = observed.batch.num_rows
    chosen, rejected = observed.lengths[pairs.chosen], observed.lengths[pairs.rejected]
    longer, shorter = (
        np.bincount(pairs.query[mask & differs], minlength=rows) for differs in (chosen > rejected, chosen < rejected)
    )
    return moments(longer, longer + shorter)


def _binned(counted: Mapping[float, int], edges: Sequence[float]) -> list[int]:
    found = [0] * len(edges)
    for margin, number in counted.items():
        found[int(np.searchsorted(edges, margin, side="right")) - 1] += number
    return found


def _count_shard(root: Path, config: PairConfig, file: StoreFile) -> FilterCounts:
    found = FilterCounts()
    rewards = reward_names(config)
    for batch in shard_batches(root, file, ROWS_PER_GROUP, PAIRING_SCHEMA, threads=False, rewards=rewards):
        found.add(Observed(batch), config)
    return found
