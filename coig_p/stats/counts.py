"""What a reader needs to know of a store, counted from its rows: COIG-P's Table 2 and what may bias it.

One pass in record batches. What grows with the data is only the number of different lengths,
margins, models and judges. Counts of each domain add up to the total.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Index
from coig_p.engine.local import in_order
from coig_p.pairs.config import PairConfig, check_judges
from coig_p.pairs.kernel import Pairs, count_combinations, find_pairs_of
from coig_p.pairs.labels import Names, Responses
from coig_p.stats.agreement import VERDICTS, offsets, verdicts
from coig_p.stats.intervals import Moments, mean, moments, moments_by, no_moments, share
from coig_p.stats.sweep import as_json_text, described, nice_step
from coig_p.store.manifest import StoreFile
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import ROWS_PER_GROUP

COUNTS = ("queries", "responses", "scores", "comparisons", "pairs", "queries_with_pairs")
LENGTHS = ("query", "response", "chosen", "rejected")
QUANTILES = {"min": 0.0, "p10": 0.1, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p90": 0.9, "p99": 0.99, "max": 1.0}


@dataclass(frozen=True)
class Statistics:
    """What `statistics` found; docs/stats.md says what each number is.

    Attributes:
        config: the PairConfig that pairs were made with, its threshold set, without format.
        default_threshold, score_range: the store's.
        domains: a summary of each domain.
        total: the same summary of all of them.
    """

    config: dict[str, Any]
    default_threshold: float
    score_range: tuple[float, float]
    domains: dict[str, dict[str, Any]]
    total: dict[str, Any]

    def to_json(self) -> str:
        """As text, the same for the same store and options."""
        return as_json_text(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Statistics:
        """What `to_json` wrote, floats to 6 decimals."""
        fields = json.loads(text)
        return cls(**{**fields, "score_range": tuple(fields["score_range"])})


def statistics(
    store: str | Path | Store,
    config: PairConfig | None = None,
    *,
    domains: Collection[str] = (),
    split: str | None = None,
    advance: Callable[[int], None] = lambda queries: None,
) -> Statistics:
    """Count a store and its pairs.

    Args:
        store: a Store, or the directory of one.
        config: which pairs; default: all at the store's default threshold. Its format is not read.
        domains, split: these alone; default all.
        advance: called with the number of queries counted since the last call.

    Raises:
        UsageError: an unknown domain, split or judge.
        StoreError: not a store, or a shard that cannot be read.
    """
    opened = store if isinstance(store, Store) else Store.open(store)
    config = (config or PairConfig()).with_default_threshold(opened.manifest.default_threshold)
    check_judges(config, opened.manifest.judges)
    files = opened.selected_files(domains, split)
    by_domain = {file.domain: _Counted() for file in files if file.domain}
    for file, part in in_order(partial(_count_shard, opened.path, config), files):
        by_domain[str(file.domain)].add(part)
        advance(file.rows or 0)
    total = _Counted()
    for part in by_domain.values():
        total.add(part)
    return Statistics(
        config=described(config, "format"),
        default_threshold=opened.manifest.default_threshold,
        score_range=opened.manifest.score_range,
        domains={domain: part.summary() for domain, part in by_domain.items()},
        total=total.summary(),
    )


@dataclass
class _Model:
    responses: int = 0
    wins: Moments = field(default_factory=no_moments)  # n its places in pairs, a those where it is chosen


@dataclass
class _Judge:
    scores: int = 0
    comparisons: int = 0
    responses: int = 0
    value: float = 0.0
    offset: Moments = field(default_factory=no_moments)
    verdicts: Moments = field(default_factory=lambda: no_moments(len(VERDICTS)))


@dataclass
class _Counted:
    """Counts of a part of a store; they add up."""

    splits: dict[str, Counter[str]] = field(default_factory=dict)
    combinations: Index = field(default_factory=lambda: np.zeros(4, np.int64))
    lengths: dict[str, Counter[int]] = field(default_factory=lambda: {kind: Counter() for kind in LENGTHS})
    margins: Counter[float] = field(default_factory=Counter)
    longer: Moments = field(default_factory=no_moments)
    equal_length: int = 0
    models: dict[str, _Model] = field(default_factory=dict)
    judges: dict[str, _Judge] = field(default_factory=dict)
    second: Moments = field(default_factory=lambda: no_moments(len(VERDICTS)))

    def add(self, other: _Counted) -> None:
        for split, counts in other.splits.items():
            self.splits.setdefault(split, Counter()).update(counts)
        self.combinations = self.combinations + other.combinations
        for kind, lengths in other.lengths.items():
            self.lengths[kind].update(lengths)
        self.margins.update(other.margins)
        self.longer = self.longer + other.longer
        self.equal_length += other.equal_length
        for name, model in other.models.items():
            own = self.models.setdefault(name, _Model())
            own.responses += model.responses
            own.wins = own.wins + model.wins
        for name, judge in other.judges.items():
            ours = self.judges.setdefault(name, _Judge())
            for count in ("scores", "comparisons", "responses", "value", "offset", "verdicts"):
                setattr(ours, count, getattr(ours, count) + getattr(judge, count))
        self.second = self.second + other.second

    def observe(self, batch: pa.RecordBatch, config: PairConfig, split: str) -> None:
        """Count a batch of raw rows."""
        responses = Responses.of(batch)
        pairs = find_pairs_of(responses, batch, config)
        comparisons = batch.column("comparisons").flatten()
        counts = (batch.num_rows, len(responses.query), len(responses.score), len(comparisons), len(pairs.query))
        found = dict(zip(COUNTS, (*counts, len(np.unique(pairs.query))), strict=True))
        self.splits.setdefault(split, Counter()).update(found)
        self.combinations = self.combinations + count_combinations(responses, batch, config)
        self._observe_lengths(batch, responses, pairs)
        values, number = np.unique(pairs.margin, return_counts=True)
        self.margins.update(dict(zip(values.tolist(), number.tolist(), strict=True)))
        self._observe_models(responses, pairs)
        self._observe_judges(batch, responses, pc.struct_field(comparisons, "judge"), config)

    def _observe_lengths(self, batch: pa.RecordBatch, responses: Responses, pairs: Pairs) -> None:
        query, response = (
            pc.fill_null(pc.utf8_length(text), 0).to_numpy(zero_copy_only=False)
            for text in (batch.column("query"), responses.text)
        )
        chosen, rejected = response[pairs.chosen], response[pairs.rejected]
        for kind, lengths in zip(LENGTHS, (query, response, chosen, rejected), strict=True):
            values, number = np.unique(lengths, return_counts=True)
            self.lengths[kind].update(dict(zip(values.tolist(), number.tolist(), strict=True)))
        longer, shorter = (np.bincount(pairs.query[mask]) for mask in (chosen > rejected, chosen < rejected))
        both = np.zeros((2, batch.num_rows), np.int64)
        both[0, : len(longer)], both[1, : len(shorter)] = longer, shorter
        self.longer = self.longer + moments(both[0], both.sum(0))
        self.equal_length += int((chosen == rejected).sum())

    def _observe_models(self, responses: Responses, pairs: Pairs) -> None:
        names = responses.model.names
        answered = np.bincount(responses.model.code[responses.model.code >= 0], minlength=len(names))
        model = np.concatenate([responses.model.code[pairs.chosen], responses.model.code[pairs.rejected]])
        won = np.repeat([1.0, 0.0], len(pairs.query))
        known = model >= 0
        place = np.concatenate([pairs.query, pairs.query])[known] * len(names) + model[known]
        cell, at = np.unique(place, return_inverse=True)
        a, n = np.bincount(at, won[known], len(cell)), np.bincount(at, minlength=len(cell))
        wins = moments_by(cell % max(len(names), 1), len(names), a, n)
        for code, name in enumerate(names):
            own = self.models.setdefault(name, _Model())
            own.responses += int(answered[code])
            own.wins = own.wins + wins[:, code]

    def _observe_judges(
        self, batch: pa.RecordBatch, responses: Responses, compared: pa.StringArray, config: PairConfig
    ) -> None:
        for kind, names in (("scores", responses.judge), ("comparisons", Names.of(compared))):
            for code, number in zip(*np.unique(names.code[names.code >= 0], return_counts=True), strict=True):
                judge = self.judges.setdefault(names.names[code], _Judge())
                setattr(judge, kind, getattr(judge, kind) + int(number))
        for found in offsets(responses, batch, config):
            judge = self.judges[found.judge]
            judge.responses += len(found.value)
            judge.value += math.fsum(found.value)
            both = np.isfinite(found.others)
            query = found.query[both]
            a = np.bincount(query, (found.value - found.others)[both], batch.num_rows)
            judge.offset = judge.offset + moments(a, np.bincount(query, minlength=batch.num_rows))
        assert config.threshold is not None
        steps = sorted({0.0, config.threshold})
        given = np.zeros((batch.num_rows, len(VERDICTS)), np.int64)
        for name, said in verdicts(responses, batch, config, steps):
            judge = self.judges[name]
            judge.verdicts = judge.verdicts + _verdict_moments(said[:, 0])
            given += said[:, -1]
        self.second = self.second + _verdict_moments(given)

    def summary(self) -> dict[str, Any]:
        """Everything that is reported, as numbers, strings and None alone."""
        total = Counter(dict.fromkeys(COUNTS, 0))
        for counts in self.splits.values():
            total.update(counts)
        labelled, same_text, ties, below = (int(number) for number in self.combinations)
        left_out = labelled - same_text - ties - below - total["pairs"]
        return {
            **total,
            "pairs_per_query": total["pairs"] / total["queries"] if total["queries"] else None,
            "splits": {split: {name: counts[name] for name in COUNTS} for split, counts in self.splits.items()},
            "combinations": {
                "labelled": labelled,
                "same_text": same_text,
                "ties": ties,
                "below_threshold": below,
                "left_out": left_out,
                "pairs": total["pairs"],
            },
            "ties_share": ties / (labelled - same_text) if labelled > same_text else None,
            "lengths": {
                kind: distribution(self.lengths[kind], self.lengths["query" if kind == "query" else "response"], 0.99)
                for kind in LENGTHS
            },
            "margins": distribution(self.margins),
            "chosen_longer": share(self.longer),
            "equal_length": self.equal_length,
            "models": {name: _of_model(model) for name, model in sorted(self.models.items())},
            "judges": {name: _of_judge(judge) for name, judge in sorted(self.judges.items())},
            "second_judge": _of_verdicts(self.second),
        }


def _count_shard(root: Path, config: PairConfig, file: StoreFile) -> _Counted:
    counted = _Counted()
    for batch in shard_batches(root, file, ROWS_PER_GROUP, threads=False):
        counted.observe(batch, config, str(file.split))
    return counted


def _verdict_moments(given: Index) -> Moments:
    return moments(given, np.broadcast_to(given.sum(1, keepdims=True), given.shape))


def _of_verdicts(given: Moments) -> dict[str, Any]:
    return {name: share(given[:, at]) for at, name in enumerate(VERDICTS)}


def _of_model(model: _Model) -> dict[str, Any]:
    rate = share(model.wins)
    chosen = int(model.wins[2])
    return {"responses": model.responses, "chosen": chosen, "rejected": rate["n"] - chosen, "win_rate": rate}


def _of_judge(judge: _Judge) -> dict[str, Any]:
    return {
        "scores": judge.scores,
        "comparisons": judge.comparisons,
        "responses": judge.responses,
        "mean_score": judge.value / judge.responses if judge.responses else None,
        "offset": mean(judge.offset),
        **_of_verdicts(judge.verdicts),
    }


def distribution(
    counts: Mapping[Any, int], binned_as: Mapping[Any, int] | None = None, cut: float = 1.0
) -> dict[str, Any]:
    """n, mean, quantiles and bins of values given with how often each occurs.

    A quantile q is the smallest value that at least a share q of all reaches, so it is one of the
    values. Bins are of one round width from 0 up; `edges` are their lower ends. The last bin is
    open: it also holds what lies above the quantile `cut`.

    Args:
        binned_as: take the edges from these values; default: from `counts` itself.
    """
    n = sum(counts.values())
    binned_as = counts if binned_as is None else binned_as
    if not n or not binned_as:
        return {"n": 0, "mean": None, **dict.fromkeys(QUANTILES), "bins": {"edges": [], "counts": []}}
    found = quantiles(counts, list(QUANTILES.values()))
    (top,) = quantiles(binned_as, [cut])
    width = nice_step(max(top, 1e-4))
    edges = [round(width * at, 4) for at in range(max(1, math.floor(top / width + 1e-9)) + 1)]
    bins = [0] * len(edges)
    for value, number in counts.items():
        bins[int(np.searchsorted(edges, value, side="right")) - 1] += number
    return {
        "n": n,
        "mean": math.fsum(value * counts[value] for value in sorted(counts)) / n,
        **dict(zip(QUANTILES, found, strict=True)),
        "bins": {"edges": [int(edge) if edge == int(edge) else edge for edge in edges], "counts": bins},
    }


def quantiles(counts: Mapping[Any, int], shares: Sequence[float]) -> list[Any]:
    """For each share, the smallest value that at least so many reach; counts are not empty."""
    values = sorted(counts)
    reached = list(accumulate(counts[value] for value in values))
    # 0.1 of 10 values is the first, though 0.1 * 10 may not be 1.
    return [values[int(np.searchsorted(reached, max(1, math.ceil(q * reached[-1] - 1e-9))))] for q in shares]
