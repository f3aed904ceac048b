"""Stores with judges whose leniency, spread and liking for their own family are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from coig_p.schema import PAIRING_SCHEMA
from coig_p.stats.judged import Judged

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Judges:
    """What each judge is like; judge `at` is named after model `family[at]`, or judge-at where that is -1."""

    offset: tuple[float, ...] = (6.6, 6.0, 5.4)
    spread: tuple[float, ...] = (1.5, 1.2, 0.9)
    favour: tuple[float, ...] = (0.5, 0.0, 0.3)
    noise: tuple[float, ...] = (0.6, 0.7, 0.8)
    family: tuple[int, ...] = (0, 1, 2)

    @property
    def names(self) -> list[str]:
        return [f"model-{of}" if of >= 0 else f"judge-{at}" for at, of in enumerate(self.family)]


def scores_of(judges: Judges, queries: int, models: int, seed: int) -> Floats:
    """(queries, models, judges), on the grid; quality is standardised."""
    rng = np.random.default_rng(seed)
    quality = np.linspace(-0.8, 0.8, models)
    inner = np.sqrt(1 - (quality**2).mean())
    shape = queries, models
    theta = quality + inner * (0.6 * rng.normal(size=(queries, 1)) + 0.8 * rng.normal(size=shape))
    found = np.empty((*shape, len(judges.offset)))
    for at, of in enumerate(judges.family):
        own = np.arange(models) == of
        found[..., at] = judges.offset[at] + judges.spread[at] * theta + judges.favour[at] * own
        found[..., at] += rng.normal(0, judges.noise[at], shape)
    return np.round(found, 4)


def rows_of(scores: Floats, seen: Any, names: Sequence[str], domain: str = "chat") -> list[dict[str, Any]]:
    """Raw rows. `seen` says which scores there are, (queries, models, judges)."""
    seen = np.broadcast_to(seen, scores.shape)
    rows = []
    for q in range(len(scores)):
        responses = []
        for m in range(scores.shape[1]):
            given = [
                {"judge": names[j], "dimension": "overall", "score": float(scores[q, m, j])}
                for j in np.flatnonzero(seen[q, m])
            ]
            responses.append({"model": f"model-{m}", "sample": 0, "text": f"{q} {m}", "scores": given})
        rows.append({"query_id": f"q-{q}", "domain": domain, "query": "?", "responses": responses, "comparisons": None})
    return rows


def batch_of(rows: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    """As they are read from a shard."""
    return pa.RecordBatch.from_pylist(list(rows), schema=PAIRING_SCHEMA)


def judged_of(rows: Sequence[dict[str, Any]], people: Sequence[str] = ()) -> Judged:
    """Sums of rows."""
    found = Judged()
    found.add(batch_of(rows), people)
    return found
