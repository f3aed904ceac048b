"""What every threshold would give: how many pairs, of what kind, and whether another judge agrees.

One pass over the store finds the pairs at the lowest threshold and how many of the thresholds
each meets; the rest is counting. Only indices and lengths are touched, no text is copied. The
counts of a query are one row of a matrix with a column for each threshold, so that intervals
can be taken over queries (`coig_p.stats.intervals`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Index
from coig_p.engine.local import in_order
from coig_p.errors import UsageError
from coig_p.pairs.config import PairConfig, check_judges, check_threshold
from coig_p.pairs.kernel import at_each_level, is_nested, sweep_pairs_of
from coig_p.pairs.labels import Responses
from coig_p.stats.agreement import VERDICTS, verdicts
from coig_p.stats.intervals import Moments, moments, no_moments, share
from coig_p.store.manifest import Manifest, StoreFile
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import ROWS_PER_GROUP

PAPER_OPTIMUM = 2.0
"""The threshold that COIG-P's authors chose on their data, on a scale of 1 to 10 (COIG-P, section 5.3)."""

MOST_THRESHOLDS = 200


@dataclass(frozen=True)
class Sweep:
    """What `sweep` found.

    Attributes:
        queries: in the part of the store that was looked at, with or without a pair.
        models: that answered.
        default_threshold: the store's.
        paper_optimum: 2 where the store's scores have COIG-P's range of 1 to 10, else None.
        config: the PairConfig, without threshold and format.
        thresholds: one row each, ascending; see docs/stats.md for what is in a row.
    """

    queries: int
    models: int
    default_threshold: float
    paper_optimum: float | None
    config: dict[str, Any]
    thresholds: tuple[dict[str, Any], ...]

    def to_json(self) -> str:
        """As text, the same for the same store and options."""
        return as_json_text(asdict(self))


def sweep(
    store: str | Path | Store,
    config: PairConfig | None = None,
    thresholds: Sequence[float] | None = None,
    *,
    domains: Collection[str] = (),
    split: str | None = None,
    advance: Callable[[int], None] = lambda queries: None,
) -> Sweep:
    """Count the pairs of a store at each of many thresholds, in one pass.

    Args:
        store: a Store, or the directory of one.
        config: which pairs; its threshold and format are not read.
        thresholds: default: about 20 even steps over the store's score range, and its default threshold.
        domains, split: these alone; default all.
        advance: called with the number of queries counted since the last call.

    Raises:
        UsageError: an unknown domain, split or judge, or thresholds that cannot be.
        StoreError: not a store, or a shard that cannot be read.
    """
    opened = store if isinstance(store, Store) else Store.open(store)
    config = config or PairConfig()
    check_judges(config, opened.manifest.judges)
    steps = check_thresholds(default_thresholds(opened.manifest) if thresholds is None else thresholds)
    seen = _Seen.nothing(len(steps))
    for file, part in in_order(partial(_observe, opened.path, config, steps), opened.selected_files(domains, split)):
        seen.add(part)
        advance(file.rows or 0)
    return Sweep(
        queries=seen.queries,
        models=len(seen.chosen),
        default_threshold=opened.manifest.default_threshold,
        paper_optimum=PAPER_OPTIMUM if opened.manifest.score_range == (1.0, 10.0) else None,
        config=described(config, "threshold", "format"),
        thresholds=tuple(seen.row(at, step) for at, step in enumerate(steps)),
    )


def default_thresholds(manifest: Manifest) -> list[float]:
    """Even steps from 0 over the score range, at most 20 of them, and the store's default threshold."""
    low, high = manifest.score_range
    step = nice_step(high - low)
    steps = {round(step * at, 4) for at in range(1 + math.floor((high - low) / step + 1e-9))}
    return sorted(steps | {manifest.default_threshold})


def check_thresholds(thresholds: Sequence[float]) -> list[float]:
    """`thresholds` sorted, each once; raise UsageError where one cannot be, or there are none or too many."""
    steps = sorted({check_threshold(value) for value in thresholds})
    if not 1 <= len(steps) <= MOST_THRESHOLDS:
        raise UsageError(f"{len(steps)} thresholds: give 1 to {MOST_THRESHOLDS}, for instance 0.5,1,2,3")
    return steps


def nice_step(span: float, most: int = 20) -> float:
    """The smallest of 1, 2 or 5 times a power of ten, at least .0001, that cuts `span` into at most `most` steps."""
    exponent = math.floor(math.log10(max(span / most, 1e-4)))
    for power in range(exponent, exponent + 2):
        for digit in (1, 2, 5):
            step = float(f"{digit}e{power}")
            if step >= 1e-4 and span / step <= most * (1 + 1e-12):
                return step
    return float(f"1e{exponent + 2}")


def described(config: PairConfig, *without: str) -> dict[str, Any]:
    """A config for a JSON file."""
    fields = {name: value for name, value in asdict(config).items() if name not in without}
    return {**fields, "judges": None if config.judges is None else list(config.judges)}


def as_json_text(value: Any) -> str:
    """Indented JSON; floats with 6 decimals, so that the last bits of a sum do not show."""
    return json.dumps(rounded(value), ensure_ascii=False, indent=2) + "\n"


def rounded(value: Any) -> Any:
    """`value` with every float in it rounded to 6 decimals."""
    if isinstance(value, float):
        return round(value, 6) + 0.0
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(part) for part in value]
    return value


@dataclass
class _Seen:
    """Counts of some shards. T thresholds.

    Attributes:
        pairs, kept: (T) pairs, and queries with any.
        longer: (6, T) moments of pairs of unequal length, `a` where the chosen one is longer.
        verdicts: (6, T, 3) moments of second judges' verdicts.
        chosen: (T) for each model that answered, the pairs it is chosen in.
    """

    pairs: Index
    kept: Index
    longer: Moments
    verdicts: Moments
    queries: int = 0
    chosen: dict[str, Index] = field(default_factory=dict)

    @classmethod
    def nothing(cls, steps: int) -> _Seen:
        zeros = np.zeros(steps, np.int64)
        return cls(zeros, zeros, no_moments(steps), no_moments(steps, len(VERDICTS)))

    def add(self, other: _Seen) -> None:
        self.pairs = self.pairs + other.pairs
        self.kept = self.kept + other.kept
        self.longer = self.longer + other.longer
        self.verdicts = self.verdicts + other.verdicts
        self.queries += other.queries
        for model, pairs in other.chosen.items():
            self.chosen[model] = self.chosen.get(model, 0) + pairs

    def row(self, at: int, threshold: float) -> dict[str, Any]:
        """What is reported of the threshold at a place."""
        pairs, kept = int(self.pairs[at]), int(self.kept[at])
        chosen = {model: int(counts[at]) for model, counts in sorted(self.chosen.items())}
        first = max(chosen, key=lambda model: chosen[model], default=None) if pairs else None
        by_verdict = {name: share(self.verdicts[:, at, nth]) for nth, name in enumerate(VERDICTS)}
        return {
            "threshold": threshold,
            "pairs": pairs,
            "queries": kept,
            "queries_kept": kept / self.queries if self.queries else None,
            "pairs_per_query": pairs / kept if kept else None,
            "chosen_longer": share(self.longer[:, at]),
            "most_chosen": first,
            "most_chosen_share": chosen[first] / pairs if first is not None else None,
            "model_balance": _evenness(list(chosen.values())),
            "second_judge": by_verdict,
        }


def _evenness(counts: Sequence[int]) -> float | None:
    """Entropy of the models' shares over that of equal shares: 1 for equal, 0 for one model; None below two models."""
    total = sum(counts)
    if not total or len(counts) < 2:
        return None
    return -sum(n / total * math.log(n / total) for n in counts if n) / math.log(len(counts)) + 0.0


def _observe(root: Path, config: PairConfig, thresholds: Sequence[float], file: StoreFile) -> _Seen:
    seen = _Seen.nothing(len(thresholds))
    columns = ("responses", "comparisons") if is_nested(config) else ("query_id", "responses", "comparisons")
    for batch in shard_batches(root, file, ROWS_PER_GROUP, columns, threads=False):
        seen.add(_observe_batch(batch, config, thresholds))
    return seen


def _observe_batch(batch: pa.RecordBatch, config: PairConfig, thresholds: Sequence[float]) -> _Seen:
    steps, rows = len(thresholds), batch.num_rows
    nested = is_nested(config)
    responses = Responses.of(batch)
    pairs = sweep_pairs_of(responses, batch, config, thresholds)
    level = pairs.level - 1
    names = responses.model.names

    def counts(of_response: Index, size: int, kinds: Index | int = 0, many: int = 1) -> Index:
        """Pairs by what their chosen response belongs to and their kind at each threshold: (size, T, many)."""
        cell = ((of_response * steps)[pairs.chosen] + level) * many + kinds
        return at_each_level(np.bincount(cell, minlength=size * steps * many).reshape(size, steps, many), nested)

    length = pc.fill_null(pc.utf8_length(responses.text), 0).to_numpy(zero_copy_only=False)
    chosen, rejected = length[pairs.chosen], length[pairs.rejected]
    by_length = counts(responses.query, rows, 1 + (chosen > rejected) - (chosen < rejected), 3)
    found, shorter, longer = by_length.sum(2), by_length[:, :, 0], by_length[:, :, 2]
    winner = responses.model.code % (len(names) + 1)  # -1, no name, goes last and is not counted
    by_model = counts(winner, len(names) + 1)[:, :, 0]
    said = no_moments(steps, len(VERDICTS))
    by_judge = [counted for _, counted in verdicts(responses, batch, config, thresholds)]
    if by_judge:
        given = np.sum(by_judge, axis=0)
        said = moments(given, np.broadcast_to(given.sum(2, keepdims=True), given.shape))
    return _Seen(
        pairs=found.sum(0),
        kept=(found > 0).sum(0),
        longer=moments(longer, longer + shorter),
        verdicts=said,
        queries=rows,
        chosen={name: by_model[at] for at, name in enumerate(names)},
    )
