"""What a reader needs to know of a store, counted from its rows: COIG-P's Table 2 and what may bias it.

One pass in record batches. What grows with the data is only the number of different lengths,
margins, models and judges. Every sum is exact, so batches may come in any order and be counted
anywhere. Counts of each domain add up to the total.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from coig_p.engine.local import Threads
from coig_p.pairs.agreeing import reward_names
from coig_p.pairs.config import PairConfig, check_judges
from coig_p.pairs.labels import Names
from coig_p.pairs.reach import check_reachable
from coig_p.pairs.shapes import check_counted
from coig_p.schema import PAIRING_SCHEMA
from coig_p.stats.agreement import VERDICTS, offsets
from coig_p.stats.batch import Observed
from coig_p.stats.distribution import distribution
from coig_p.stats.filtering import FilterCounts
from coig_p.stats.intervals import Moments, moments, moments_by, no_moments, share
from coig_p.stats.judges import JudgeCounts, ModelCounts, verdict_moments, verdict_shares
from coig_p.stats.results import CombinationCounts, Counts, DomainStatistics, Lengths, Statistics
from coig_p.store.conversations import conversation_masks
from coig_p.store.fetching import over_shards
from coig_p.store.manifest import Manifest, StoreFile
from coig_p.store.sharing import workers_for
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import ROWS_PER_GROUP

COUNTS = ("queries", "responses", "scores", "comparisons", "pairs", "queries_with_pairs")
LENGTHS = ("query", "response", "chosen", "rejected")


def statistics(
    store: str | Path | Store,
    config: PairConfig | None = None,
    *,
    domains: Collection[str] = (),
    split: str | None = None,
    num_proc: int | None = 1,
    engine: Executor | None = None,
    advance: Callable[[int], None] = lambda queries: None,
) -> Statistics:
    """Count a store and its pairs.

    Args:
        store: a Store, or the directory of one.
        config: which pairs; default: all at the store's default threshold. Its format is not read.
        domains, split: these alone; default all.
        num_proc: processes that share the shards; 1 are two threads of this one. None for as many as
            pay (see `coig_p.store.sharing`).
        engine: an executor that takes the work in their place, as `coig_p.engine.ray.RayExecutor`.
        advance: called with the number of queries counted since the last call.

    Raises:
        UsageError: an unknown domain, split or judge; a threshold that no two scores can meet; `multi_turn` of
            conversations that is not "skip".
        StoreError: not a store, or a shard that cannot be read.
    """
    opened = store if isinstance(store, Store) else Store.open(store)
    config = check_reachable(config or PairConfig(), opened.manifest)
    check_judges(config, opened.manifest.judges)
    files = opened.selected_files(domains, split)
    check_counted(files, config.multi_turn)
    counted = StatisticsCounts.nothing(config, files)
    workers = workers_for(files, num_proc, engine, alone=Threads(only_read=True))
    for file, part in over_shards(_count_shard, opened.path, (config,), files, workers):
        counted.merge(part)
        advance(file.rows or 0)
    return counted.result(opened.manifest)


@dataclass
class StatisticsCounts:
    """Counts of a part of a store by domain: an accumulator, its threshold set."""

    config: PairConfig
    domains: dict[str, DomainCounts] = field(default_factory=dict)

    @classmethod
    def nothing(cls, config: PairConfig, files: Iterable[StoreFile]) -> StatisticsCounts:
        """Of no batch yet; the domains of `files` will be in the result, also where they hold no row."""
        return cls(config, {str(file.domain): DomainCounts() for file in files})

    def add(self, observed: Observed, domain: str, split: str) -> None:
        """Count a batch of one domain and split."""
        self.domains.setdefault(domain, DomainCounts()).add(observed, self.config, split)

    def merge(self, other: StatisticsCounts) -> None:
        """Take in what was counted elsewhere."""
        for domain, part in other.domains.items():
            self.domains.setdefault(domain, DomainCounts()).merge(part)

    def result(self, manifest: Manifest) -> Statistics:
        """What is reported; domains and splits in the manifest's order."""
        total = DomainCounts()
        for part in self.domains.values():
            total.merge(part)
        filtered = None if self.config.agree_with is None else total.filtered.edges()
        return Statistics(
            config=self.config,
            default_threshold=manifest.default_threshold,
            score_range=manifest.score_range,
            domains={
                domain: self.domains[domain].result(manifest.splits(), filtered)
                for domain in manifest.domains
                if domain in self.domains
            },
            total=total.result(manifest.splits(), filtered),
        )


@dataclass
class DomainCounts:
    """Counts of a part of one domain, or of several together; they add up."""

    splits: dict[str, Counter[str]] = field(default_factory=dict)
    turns: Counter[str] = field(default_factory=Counter)
    combinations: Counter[str] = field(default_factory=Counter)
    lengths: dict[str, Counter[int]] = field(default_factory=lambda: {kind: Counter() for kind in LENGTHS})
    margins: Counter[float] = field(default_factory=Counter)
    longer: Moments = field(default_factory=no_moments)
    equal_length: int = 0
    models: dict[str, ModelCounts] = field(default_factory=dict)
    judges: dict[str, JudgeCounts] = field(default_factory=dict)
    second: Moments = field(default_factory=lambda: no_moments(len(VERDICTS)))
    filtered: FilterCounts = field(default_factory=FilterCounts)

    def merge(self, other: DomainCounts) -> None:
        """Take in what was counted elsewhere."""
        for split, counts in other.splits.items():
            self.splits.setdefault(split, Counter()).update(counts)
        self.turns.update(other.turns)
        self.combinations.update(other.combinations)
        for kind, lengths in other.lengths.items():
            self.lengths[kind].update(lengths)
        self.margins.update(other.margins)
        self.longer = self.longer + other.longer
        self.equal_length += other.equal_length
        for name, model in other.models.items():
            self.models.setdefault(name, ModelCounts()).merge(model)
        for name, judge in other.judges.items():
            self.judges.setdefault(name, JudgeCounts()).merge(judge)
        self.second = self.second + other.second
        self.filtered.merge(other.filtered)

    def add(self, observed: Observed, config: PairConfig, split: str) -> None:
        """Count a batch."""
        responses, pairs = observed.responses, observed.pairs(config)
        self.splits.setdefault(split, Counter()).update(
            queries=observed.batch.num_rows,
            responses=len(responses.query),
            scores=len(responses.score),
            comparisons=len(observed.comparisons),
            pairs=len(pairs.query),
            queries_with_pairs=len(np.unique(pairs.query)),
        )
        conversations, with_tools = conversation_masks(observed.batch)
        self.turns.update(
            conversations=int(conversations.sum()),
            turns=len(observed.batch.column("messages").flatten()),
            with_tools=int(with_tools.sum()),
        )
        self.combinations.update(observed.combinations(config)._asdict())
        values, number = np.unique(pairs.margin, return_counts=True)
        self.margins.update(dict(zip(values.tolist(), number.tolist(), strict=True)))
        self._add_lengths(observed, config)
        self._add_models(observed, config)
        self._add_judges(observed, config)
        if config.agree_with is not None:
            self.filtered.add(observed, config)

    def _add_lengths(self, observed: Observed, config: PairConfig) -> None:
        pairs = observed.pairs(config)
        chosen, rejected = observed.lengths[pairs.chosen], observed.lengths[pairs.rejected]
        for kind, lengths in zip(LENGTHS, (observed.query_lengths, observed.lengths, chosen, rejected), strict=True):
            number = np.bincount(lengths) if len(lengths) else lengths
            values = np.flatnonzero(number)
            self.lengths[kind].update(dict(zip(values.tolist(), number[values].tolist(), strict=True)))
        rows = observed.batch.num_rows
        longer, shorter = (
            np.bincount(pairs.query[mask], minlength=rows) for mask in (chosen > rejected, chosen < rejected)
        )
        self.longer = self.longer + moments(longer, longer + shorter)
        self.equal_length += int((chosen == rejected).sum())

    def _add_models(self, observed: Observed, config: PairConfig) -> None:
        responses, pairs = observed.responses, observed.pairs(config)
        names = responses.model.names
        answered = np.bincount(responses.model.code[responses.model.code >= 0], minlength=len(names))
        model = np.concatenate([responses.model.code[pairs.chosen], responses.model.code[pairs.rejected]])
        won = np.repeat([1, 0], len(pairs.query))
        known = model >= 0
        place = np.concatenate([pairs.query, pairs.query])[known] * len(names) + model[known]
        cell, at = np.unique(place, return_inverse=True)
        a, n = np.bincount(at, won[known], len(cell)), np.bincount(at, minlength=len(cell))
        wins = moments_by(cell % max(len(names), 1), len(names), a, n)
        for code, name in enumerate(names):
            self.models.setdefault(name, ModelCounts()).merge(ModelCounts(int(answered[code]), wins[:, code]))

    def _add_judges(self, observed: Observed, config: PairConfig) -> None:
        assert config.threshold is not None
        responses = observed.responses
        compared = Names.of(pc.struct_field(observed.comparisons, "judge"))
        for names in (responses.judge, compared):
            for name in names.names:
                self.judges.setdefault(name, JudgeCounts())
        for name, number in _times(responses.judge):
            self.judges[name].scores += number
        for name, number in _times(compared):
            self.judges[name].comparisons += number
        for found in offsets(responses, config):
            self.judges[found.judge].add(found)
        steps = sorted({0.0, config.threshold})
        by_judge = observed.verdicts(config, steps)
        for name, said in by_judge.items():
            self.judges[name].verdicts = self.judges[name].verdicts + verdict_moments(said[:, 0])
        if by_judge:
            given = np.sum([said[:, -1] for said in by_judge.values()], axis=0)
            self.second = self.second + verdict_moments(given)

    def result(self, splits: Sequence[str], filtered: Sequence[float] | None = None) -> DomainStatistics:
        """What is reported; those of `splits` that were seen, in this order.

        Args:
            filtered: the edges of the bins of margins that rewards filter; None where they filter none.
        """
        after = None if filtered is None else self.filtered.result(filtered)
        total: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))
        for counts in self.splits.values():
            total.update(counts)
        kinds = self.combinations
        different = kinds["labelled"] - kinds["same_text"]
        apart = different - kinds["ties"] - kinds["below_threshold"]
        binned = {kind: self.lengths["query" if kind == "query" else "response"] for kind in LENGTHS}
        return DomainStatistics(
            **total,
            pairs_per_query=total["pairs"] / total["queries"] if total["queries"] else None,
            splits={
                split: Counts(**{name: self.splits[split][name] for name in COUNTS})
                for split in splits
                if split in self.splits
            },
            combinations=CombinationCounts(
                labelled=kinds["labelled"],
                same_text=kinds["same_text"],
                ties=kinds["ties"],
                below_threshold=kinds["below_threshold"],
                left_out=apart - (total["pairs"] if after is None else after.pairs),
                pairs=total["pairs"],
            ),
            ties_share=kinds["ties"] / different if different > 0 else None,
            lengths=Lengths(**{kind: distribution(self.lengths[kind], binned[kind], 0.99) for kind in LENGTHS}),
            margins=distribution(self.margins),
            chosen_longer=share(self.longer),
            equal_length=self.equal_length,
            models={name: model.result() for name, model in sorted(self.models.items())},
            judges={name: judge.result() for name, judge in sorted(self.judges.items())},
            second_judge=verdict_shares(self.second),
            conversations=self.turns["conversations"],
            turns=self.turns["turns"],
            with_tools=self.turns["with_tools"],
            filtered=after,
        )


def _times(names: Names) -> list[tuple[str, int]]:
    """How often each name stands, of those that do."""
    number = np.bincount(names.code[names.code >= 0], minlength=len(names.names))
    return list(zip(names.names, number.tolist(), strict=True))


def _count_shard(root: Path, config: PairConfig, file: StoreFile) -> StatisticsCounts:
    counted = StatisticsCounts(config)
    for batch in shard_batches(root, file, ROWS_PER_GROUP, PAIRING_SCHEMA, threads=False, rewards=reward_names(config)):
        counted.add(Observed(batch), str(file.domain), str(file.split))
    return counted
