"""Pairs whose order the rewards of a model oppose: dropped, never turned around (COIG-P, section 6 and figure 3).

A batch of rows brings rewards along in a column of its own, a list for each query with a number for each of its
responses, null where there is none (`coig_p.store.rewarded`). So they go wherever rows go: through splits, slices and
batches that are joined.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from coig_p.core.arrays import Floats, Index
from coig_p.errors import UsageError
from coig_p.pairs.config import PairConfig
from coig_p.store.rewarded import reward_column

VERDICTS = ("agrees", "ties", "opposes", "unknown")
"""What rewards say of a pair: chosen higher, both equal, chosen lower, or nothing, since one is missing."""
OUTCOMES = ("kept", "opposed", "too_close", "without_reward")
"""What becomes of a pair, one of these."""
KEPT = 0


def rewards_of(batch: pa.RecordBatch, name: str) -> Floats:
    """The reward of every response of a batch, laid end to end, NaN where there is none, or no finite number.

    Raises:
        UsageError: the rows were read without these rewards.
    """
    column = reward_column(name)
    if column not in batch.schema.names:
        raise UsageError(
            f"agree_with={name!r}: these rows were read without rewards. Read them with Store.batches(..., "
            f"rewards=[{name!r}])"
        )
    found = np.asarray(batch.column(column).flatten().to_numpy(zero_copy_only=False), dtype=np.float64)
    return np.where(np.isfinite(found), found, np.nan)


def verdicts_of(rewards: Floats, chosen: Index, rejected: Index) -> Index:
    """For each pair its place in VERDICTS.

    Args:
        rewards: of each response, NaN where there is none.
    """
    return np.select(
        [
            rewards[chosen] > rewards[rejected],
            rewards[chosen] == rewards[rejected],
            rewards[chosen] < rewards[rejected],
        ],
        [0, 1, 2],
        3,
    )


def outcomes_of(rewards: Floats, chosen: Index, rejected: Index, least: float) -> Index:
    """For each pair its place in OUTCOMES.

    Args:
        rewards: of each response, NaN where there is none.
        least: by how much the chosen one's is higher at least; compared as float64.
    """
    one, other = rewards[chosen], rewards[rejected]
    with np.errstate(over="ignore"):  # of the largest numbers; the difference is then more than any that is asked for
        near = ~(one - other >= least)
    return np.select([np.isnan(one) | np.isnan(other), one < other, near], [3, 1, 2], KEPT)


def outcomes(batch: pa.RecordBatch, config: PairConfig, chosen: Index, rejected: Index) -> Index:
    """`outcomes_of` the pairs of a batch, by what the config asks; all are kept where it names no rewards."""
    if config.agree_with is None:
        return np.zeros(len(chosen), dtype=np.int64)
    assert config.min_reward_margin is not None
    return outcomes_of(rewards_of(batch, config.agree_with), chosen, rejected, config.min_reward_margin)


def reward_names(*configs: PairConfig | None) -> Sequence[str]:
    """The rewards that configs need rows to be read with."""
    return tuple(dict.fromkeys(one.agree_with for one in configs if one is not None and one.agree_with is not None))
