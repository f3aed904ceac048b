"""A batch of raw rows, and what is computed of it once, whoever counts: check, statistics or sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Index, Ints
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import (
    Candidates,
    Combinations,
    Pairs,
    Swept,
    count_combinations,
    find_candidates,
    find_pairs_of,
    sweep_pairs_of,
)
from coig_p.pairs.labels import Responses
from coig_p.stats.agreement import verdicts
from coig_p.store.conversations import content_lengths


class Observed:
    """A batch of Q queries and R responses, with what was asked of it kept until it goes.

    Args:
        batch: rows of RAW_SCHEMA; of one domain where it is checked.
        thresholds: at which second judges will be asked, so that all of them are looked at together.
    """

    def __init__(self, batch: pa.RecordBatch, thresholds: Sequence[float] = ()) -> None:
        self.batch = batch
        self.thresholds = tuple(thresholds)
        self._candidates: dict[PairConfig, Candidates] = {}
        self._pairs: dict[PairConfig, Pairs] = {}
        self._verdicts: dict[PairConfig, tuple[list[float], dict[str, Index]]] = {}

    @cached_property
    def responses(self) -> Responses:
        """All responses side by side."""
        return Responses.of(self.batch)

    @cached_property
    def comparisons(self) -> pa.StructArray:
        """All comparisons side by side."""
        return self.batch.column("comparisons").flatten()

    @cached_property
    def query_lengths(self) -> Ints:
        """Q: characters of the query, or of the contents of a conversation's turns; 0 where there is no text."""
        return content_lengths(self.batch)

    @cached_property
    def lengths(self) -> Ints:
        """R: characters, 0 where there is no text."""
        return _lengths(self.responses.text)

    def candidates(self, config: PairConfig) -> Candidates:
        """Two-combinations with a label."""
        key = replace(
            config.without_rewards(), threshold=None, strict=False, max_pairs_per_query=None, seed=0, format="dpo"
        )
        key = replace(key, comparison_threshold=None)
        if key not in self._candidates:
            self._candidates[key] = find_candidates(self.responses, self.batch, key)
        return self._candidates[key]

    def pairs(self, config: PairConfig) -> Pairs:
        """As `find_pairs`."""
        key = replace(config, format="dpo")
        if key not in self._pairs:
            self._pairs[key] = find_pairs_of(self.responses, self.batch, config, self.candidates(config))
        return self._pairs[key]

    def combinations(self, config: PairConfig) -> Combinations:
        """As `count_combinations`."""
        return count_combinations(self.responses, self.batch, config, self.candidates(config))

    def swept(self, config: PairConfig, thresholds: Sequence[float]) -> Swept:
        """As `sweep_pairs_of`."""
        return sweep_pairs_of(self.responses, self.batch, config, thresholds, self.candidates(config))

    def verdicts(self, config: PairConfig, thresholds: Sequence[float]) -> dict[str, Index]:
        """For each judge left out, its verdicts on the others' pairs: (Q, thresholds, verdicts)."""
        key = replace(config, threshold=None, format="dpo")
        steps, found = self._verdicts.get(key, ([], {}))
        if not set(thresholds) <= set(steps):
            steps = sorted({*self.thresholds, *thresholds})
            found = dict(verdicts(self.responses, self.batch, config, steps))
            self._verdicts[key] = steps, found
        at = np.searchsorted(steps, thresholds)
        return {judge: said[:, at] for judge, said in found.items()}


def _lengths(text: pa.StringArray) -> Ints:
    return np.asarray(pc.fill_null(pc.utf8_length(text), 0).to_numpy(zero_copy_only=False))  # int32: half to move
