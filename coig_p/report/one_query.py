"""One query as people look at it: what was asked, each response with what judges said of it, and the pairs."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.errors import StoreError, UnknownNameError
from coig_p.pairs.agreeing import KEPT, OUTCOMES, outcomes, reward_names
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import Pairs, count_combinations, find_candidates, find_pairs_of, is_nested
from coig_p.pairs.labels import Responses, judge_sets, response_values, usable_scores
from coig_p.schema import RAW_SCHEMA
from coig_p.store.reading import open_shard, part_of, read_batches
from coig_p.store.rewarded import rewarded, rewards_beside, with_rewards_of
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import ROWS_PER_GROUP

_IDS = part_of(RAW_SCHEMA, "query_id")
_COMPARED_NAMES = 20_000  # ids that one which is not there is compared with
_AT_ONCE = 500_000  # combinations that are laid out together
_NO_PAIR = ("of one text twice", "ties", "below the threshold")
_DROPPED = {
    OUTCOMES.index("opposed"): "opposed by rewards",
    OUTCOMES.index("too_close"): "with rewards too close",
    OUTCOMES.index("without_reward"): "with a response without a reward",
}


@dataclass(frozen=True)
class Place:
    """Where a query stands: its shard's place among `Store.data_files`, and its row in it."""

    file: int
    row: int


@dataclass(frozen=True)
class OnePair:
    """Two responses of a query, by their places in it; scores are on the judges' scale.

    Attributes:
        compared: judges who were shown the two together made it a pair, not scores of each.
    """

    chosen: int
    rejected: int
    chosen_score: float
    rejected_score: float
    margin: float
    compared: bool


@dataclass(frozen=True)
class OneQuery:
    """A query, and what a config makes of it.

    Attributes:
        raw: the row of RAW_SCHEMA as plain dicts and lists.
        split: where it stands.
        values: of each response its score over its judges, None where it has none that counts.
        counted: of each response which of its scores that is made of.
        pairs: in the order of a load, the first of them where not all were asked for.
        pairs_in_all: how many there are.
        left_out: how many combinations of two responses with a label are no pair, by why.
        config: its threshold is set.
    """

    raw: dict[str, Any]
    split: str
    place: Place
    values: tuple[float | None, ...]
    counted: tuple[tuple[bool, ...], ...]
    pairs: tuple[OnePair, ...]
    pairs_in_all: int
    left_out: dict[str, int]
    config: PairConfig

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The turns before the responses; of a plain query the one of the user."""
        return self.raw["messages"] or [{"role": "user", "content": self.raw["query"], "extra": None}]

    @property
    def responses(self) -> list[dict[str, Any]]:
        """As the store has them."""
        return self.raw["responses"] or []

    def to_dict(self) -> dict[str, Any]:
        """As dicts, lists, strings, numbers and None: the row, its split, values and pairs."""
        return {
            **self.raw,
            "split": self.split,
            "values": list(self.values),
            "pairs": [asdict(pair) for pair in self.pairs],
            "pairs_in_all": self.pairs_in_all,
            "left_out": self.left_out,
        }

    @property
    def comparisons(self) -> list[dict[str, Any]]:
        """As the store has them."""
        return self.raw["comparisons"] or []


def read_query(store: Store, place: Place, config: PairConfig, *, most_pairs: int | None = None) -> OneQuery:
    """The query at a place; of its shard the one row group is read that holds it.

    Args:
        most_pairs: how many pairs are told at most; default all. 5,000 responses have 10 million.

    Raises:
        StoreError: nothing is there, or it cannot be read.
    """
    config = config.with_defaults(store.manifest)
    files = store.data_files()
    if not 0 <= place.file < len(files):
        raise StoreError(str(store.path), f"has {len(files):,} shards, not a number {place.file + 1:,}")
    file = files[place.file]
    name = f"{store.path}/{file.path}"
    beside = rewards_beside(name, reward_names(config), nullcontext)
    with open_shard(store.path / file.path, name) as shard:
        begin = 0
        for group in range(shard.num_row_groups):
            rows = shard.metadata.row_group(group).num_rows
            if 0 <= place.row - begin < rows:
                (batch,) = rewarded(read_batches(shard, rows, [group], RAW_SCHEMA), beside)
                return one_query(batch.slice(place.row - begin, 1), place, str(file.split), config, most_pairs)
            begin += rows
    raise StoreError(name, f"has no row {place.row:,}")


def one_query(
    batch: pa.RecordBatch, place: Place, split: str, config: PairConfig, most_pairs: int | None = None
) -> OneQuery:
    """A batch of one raw row as people look at it. The threshold of `config` must be set."""
    (raw,) = batch.select(RAW_SCHEMA.names).to_pylist()
    alone = pa.RecordBatch.from_pylist([raw], schema=RAW_SCHEMA)  # so that places count from its own row
    batch = with_rewards_of(alone, batch, reward_names(config))
    responses = Responses.of(batch)
    usable = usable_scores(responses, config)
    sizes = np.bincount(responses.score_of, minlength=len(responses.query))
    flags = iter(usable.tolist())
    counted = tuple(tuple(islice(flags, size)) for size in sizes.tolist())
    values: list[float | None] = [None] * len(responses.query)
    scored = np.zeros(len(responses.query), bool)
    judges = judge_sets(responses, config) if config.same_judges else scored
    if config.labels != "comparisons":
        whole, scale, scored = response_values(responses, config)
        values = [float(value / scale) if known else None for value, known in zip(whole, scored, strict=True)]
    pairs, pairs_in_all, left_out = _pairs_of(responses, batch, config, most_pairs)
    both = zip(pairs.chosen, pairs.rejected, strict=True)
    scores = zip(pairs.chosen_score, pairs.rejected_score, pairs.margin, strict=True)
    told = tuple(
        OnePair(
            int(one),
            int(two),
            float(high),
            float(low),
            float(margin),
            compared=not (scored[one] and scored[two] and judges[one] == judges[two]),
        )
        for (one, two), (high, low, margin) in zip(both, scores, strict=True)
    )
    return OneQuery(raw, split, place, tuple(values), counted, told, pairs_in_all, left_out, config)


def _pairs_of(
    responses: Responses, batch: pa.RecordBatch, config: PairConfig, most: int | None
) -> tuple[Pairs, int, dict[str, int]]:
    """The first pairs of a query, how many there are, and how many combinations are none, by why.

    Of many responses the combinations are laid out part by part: those of 5,000 would take 2 GB.
    """
    number = len(responses.query)
    rows = max(1, _AT_ONCE // max(number, 1)) if is_nested(config) else max(number, 1)
    parts: list[Pairs] = []
    told = found = 0
    left_out = dict.fromkeys((*_NO_PAIR, "left out by strategy or draw"), 0)
    if config.agree_with is not None:
        left_out |= dict.fromkeys(_DROPPED.values(), 0)
    for begin in range(0, max(number, 1), rows):
        candidates = find_candidates(responses, batch, config, slice(begin, begin + rows))
        counts = count_combinations(responses, batch, config, candidates)
        own = (counts.same_text, counts.ties, counts.below_threshold)
        for reason, lost in zip(_NO_PAIR, own, strict=True):
            left_out[reason] += lost
        met = counts.labelled - sum(own)
        if parts and most is not None and told >= most and config.strategy == "all" and config.agree_with is None:
            found += met  # all of them are pairs, and enough are told
            continue
        pairs = find_pairs_of(responses, batch, config.without_rewards(), candidates)
        left_out["left out by strategy or draw"] += met - len(pairs.chosen)
        if config.agree_with is not None:
            outcome = outcomes(batch, config, pairs.chosen, pairs.rejected)
            for at, reason in _DROPPED.items():
                left_out[reason] += int((outcome == at).sum())
            pairs = pairs.take(outcome == KEPT)
        found += len(pairs.chosen)
        parts.append(pairs if most is None else pairs.take(slice(max(0, most - told))))
        told += len(parts[-1].chosen)
    return Pairs(*map(np.concatenate, zip(*parts, strict=True))), found, left_out


def place_of(store: Store, query_id: str) -> Place:
    """Where a query stands.

    Raises:
        UnknownNameError: the store has no such query; the message names some that are alike.
    """
    seen: list[str] = []
    for number, file in enumerate(store.data_files()):
        row = 0
        for batch in shard_batches(store.path, file, ROWS_PER_GROUP, _IDS):
            ids = batch.column("query_id")
            at = pc.index(ids, query_id).as_py()
            if at >= 0:
                return Place(number, row + at)
            row += batch.num_rows
            if len(seen) < _COMPARED_NAMES:
                seen += ids.to_pylist()
    raise UnknownNameError("query_id", query_id, seen)
