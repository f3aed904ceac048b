"""Who wins against whom, and which judges agree: counts for every two models and every two judges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from coig_p.core.arrays import Index, Ints
from coig_p.pairs.agreeing import reward_names
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import combinations_within, find_pairs_of
from coig_p.pairs.labels import Responses
from coig_p.schema import PAIRING_SCHEMA
from coig_p.stats.agreement import judges_of
from coig_p.stats.two_judges import compared_by_both, scored_by_both
from coig_p.store.fetching import over_shards
from coig_p.store.manifest import StoreFile
from coig_p.store.sharing import workers_for
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import ROWS_PER_GROUP


class Agreement(NamedTuple):
    """What two judges say of the pairs of responses that both judged.

    Attributes:
        agrees, opposes: both prefer the same response, or another one.
        ties: one of them, or both, prefers none.
    """

    agrees: int
    ties: int
    opposes: int

    @property
    def pairs(self) -> int:
        """All of them."""
        return self.agrees + self.ties + self.opposes

    @property
    def share(self) -> float | None:
        """Of the pairs on which both prefer one, those on which it is the same; None without any."""
        told = self.agrees + self.opposes
        return self.agrees / told if told else None


@dataclass
class Matrices:
    """Counts of a part of a store: an accumulator, exact in any order.

    Attributes:
        wins: (chosen model, rejected model) -> pairs.
        verdicts: (judge, other judge, in alphabetical order) -> agrees, ties, opposes.
    """

    wins: Counter[tuple[str, str]] = field(default_factory=Counter)
    verdicts: dict[tuple[str, str], Agreement] = field(default_factory=dict)

    def add(self, batch: pa.RecordBatch, config: PairConfig) -> None:
        """Count a batch of raw rows; the threshold of `config` must be set."""
        responses = Responses.of(batch)
        pairs = find_pairs_of(responses, batch, config)
        count = max(len(responses.model.names), 1)
        cells = responses.model.code[pairs.chosen] * count + responses.model.code[pairs.rejected]
        numbers = np.bincount(cells, minlength=1)
        for cell in np.flatnonzero(numbers).tolist():
            one, two = divmod(cell, count)
            self.wins[responses.model.names[one], responses.model.names[two]] += int(numbers[cell])
        for judges, verdict in _verdicts(responses, batch, config):
            self._tell(judges, verdict)

    def merge(self, other: Matrices) -> None:
        """Take in what was counted elsewhere."""
        self.wins.update(other.wins)
        for judges, verdict in other.verdicts.items():
            self._tell(judges, verdict)

    def _tell(self, judges: tuple[str, str], verdict: Agreement) -> None:
        before = self.verdicts.get(judges, Agreement(0, 0, 0))
        self.verdicts[judges] = Agreement(*(a + b for a, b in zip(before, verdict, strict=True)))

    def win_rate(self, model: str, other: str) -> float | None:
        """Of the pairs between two models, those in which the first is chosen; None without any."""
        won, lost = self.wins[model, other], self.wins[other, model]
        return won / (won + lost) if won + lost else None

    def agreement(self, judge: str, other: str) -> Agreement:
        """Of two judges, in either order."""
        return self.verdicts.get((min(judge, other), max(judge, other)), Agreement(0, 0, 0))

    def to_dict(self) -> dict[str, Any]:
        """As lists of names and numbers, sorted."""
        return {
            "wins": [[*models, number] for models, number in sorted(self.wins.items())],
            "verdicts": [[*judges, *verdict] for judges, verdict in sorted(self.verdicts.items())],
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Matrices:
        """Back from `to_dict`."""
        wins = Counter({(one, two): int(number) for one, two, number in found["wins"]})
        return cls(wins, {(one, two): Agreement(*numbers) for one, two, *numbers in found["verdicts"]})


def matrices(
    store: Store,
    config: PairConfig | None = None,
    *,
    domains: Collection[str] = (),
    num_proc: int | None = 1,
    advance: Callable[[int], None] = lambda queries: None,
) -> Matrices:
    """Count who wins against whom, and which judges agree.

    Args:
        config: which pairs `wins` are of; default: all at the store's default threshold. Of judges every pair of
            responses that both judged counts, at any margin.
        domains: these alone; default all.
        num_proc: processes that share the shards; None for as many as pay (see `coig_p.store.sharing`).
        advance: called with the number of queries counted since the last call.

    Raises:
        UnknownNameError: the store has no such domain.
        StoreError: a shard that cannot be read.
    """
    config = (config or PairConfig()).with_defaults(store.manifest)
    files = store.selected_files(domains)
    found = Matrices()
    for file, part in over_shards(_of_shard, store.path, (config,), files, workers_for(files, num_proc)):
        found.merge(part)
        advance(file.rows or 0)
    return found


def _of_shard(root: Path, config: PairConfig, file: StoreFile) -> Matrices:
    found = Matrices()
    for batch in shard_batches(root, file, ROWS_PER_GROUP, PAIRING_SCHEMA, threads=False, rewards=reward_names(config)):
        found.add(batch, config)
    return found


_Verdicts = list[tuple[tuple[str, str], Agreement]]


def _verdicts(responses: Responses, batch: pa.RecordBatch, config: PairConfig) -> _Verdicts:
    names = judges_of(responses, batch, config)
    found: _Verdicts = []
    for scored in scored_by_both(responses, config, names):
        low, high = combinations_within(responses.query[scored.at])
        signs = [_sign(value[low], value[high]) for value in (scored.value, scored.other_value)]
        found.append(((names[scored.judge], names[scored.other]), _agreement(*signs)))
    for compared in compared_by_both(responses, batch, config, names):
        signs = [_sign(*sides) for sides in (compared.sides, compared.other_sides)]
        found.append(((names[compared.judge], names[compared.other]), _agreement(*signs)))
    return [(judges, verdict) for judges, verdict in found if verdict.pairs]


def _sign(low: Ints, high: Ints) -> Index:
    return np.asarray(low > high, np.int64) - np.asarray(low < high, np.int64)


def _agreement(one: Index, two: Index) -> Agreement:
    both = one * two
    return Agreement(int((both > 0).sum()), int((both == 0).sum()), int((both < 0).sum()))
