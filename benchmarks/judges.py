"""What `coigp judges` finds of planted leniency, spread and self-preference, and what calibration wins back.

    python benchmarks/judges.py [--seeds 200] [--part intervals|calibration]

Intervals: over so many seeds, how often the 95% interval holds the planted value, and the mean error of the estimate.
Beside it, on the same scores, what least squares with a parameter for every response gives (alternating), and what a
difference of differences of means gives. Calibration: each response scored by one judge drawn at random, of two or
three that differ in leniency; the share of pairs whose chosen response is really better, of as many pairs with the
largest margins in each way of scoring.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from coig_p.pairs.calibration import write_calibration
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import find_pairs
from coig_p.schema import PAIRING_SCHEMA
from coig_p.stats.calibrating import fit_scales
from coig_p.stats.design import refusals_of, units_of
from coig_p.stats.joint import fit_joint
from coig_p.stats.judged import Judged

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Plan:
    """A store to plant: `offset`, `spread`, `favour` and `noise` of each judge, `quality` of each model.

    Attributes:
        family: of each judge, the place of its own model; -1 for none.
        seen: the share of responses that a judge scores.
        step: scores are whole multiples of it; 0 for the store's grid.
    """

    offset: tuple[float, ...]
    spread: tuple[float, ...]
    favour: tuple[float, ...]
    noise: tuple[float, ...]
    family: tuple[int, ...]
    quality: tuple[float, ...]
    queries: int = 300
    seen: float = 1.0
    step: float = 0.0


PLANS = {
    "three judges, all scores": Plan(
        (6.6, 6.0, 5.4), (1.5, 1.2, 0.9), (0.5, 0.0, 0.3), (0.6, 0.7, 0.8), (0, 1, 2), (0.8, 0.3, 0.0, -0.3, -0.8)
    ),
    "five judges, half of the scores": Plan(
        (7.0, 6.5, 6.0, 6.2, 5.0),
        (1.5, 1.2, 0.9, 1.0, 2.0),
        (0.5, 0.0, 0.3, -0.3, 1.0),
        (0.5, 0.6, 0.7, 1.0, 1.5),
        (0, 1, 2, 3, 4),
        (0.9, 0.5, 0.2, 0.0, -0.4, -1.2),
        queries=400,
        seen=0.5,
    ),
    "three judges, whole points": Plan(
        (6.6, 6.0, 5.4), (1.5, 1.2, 0.9), (0.5, 0.0, 0.3), (0.6, 0.7, 0.8), (0, 1, 2), (0.8, 0.3, 0.0, -0.3, -0.8),
        step=1.0,
    ),
    "noisy judges, few queries": Plan(
        (6.6, 6.0, 5.4, 6.0), (1.0, 1.2, 0.9, 1.1), (0.5, 0.0, 0.3, 0.0), (1.0, 1.1, 0.9, 1.2), (0, 1, 2, -1),
        (0.8, 0.3, 0.0, -0.3, -0.8), queries=120, seen=0.7,
    ),
}  # fmt: skip


def planted(plan: Plan, seed: int) -> tuple[Floats, Floats, Mask]:
    """Quality (Q, M), standardised over all draws; scores (Q, M, J); which of them a judge gave."""
    rng = np.random.default_rng(seed)
    quality = np.array(plan.quality) - np.mean(plan.quality)
    quality = quality / max(1.0, np.sqrt((quality**2).mean() / 0.5))  # half of the variance at most
    shape = plan.queries, len(quality)
    inner = np.sqrt(1 - (quality**2).mean())
    theta = quality + inner * (0.5 * rng.normal(size=(shape[0], 1)) + np.sqrt(0.75) * rng.normal(size=shape))
    scores = np.empty((*shape, len(plan.offset)))
    for at in range(len(plan.offset)):
        own = np.arange(shape[1]) == plan.family[at]
        noise = rng.normal(0, plan.noise[at], shape)
        scores[..., at] = plan.offset[at] + plan.spread[at] * theta + plan.favour[at] * own + noise
    scores = np.round(scores / plan.step) * plan.step if plan.step else np.round(scores, 4)
    return theta, scores, rng.random(scores.shape) < plan.seen


def batch_of(scores: Floats, seen: Mask, names: list[str] | None = None) -> pa.RecordBatch:
    """Raw rows: judge j is named after model j, so that both are of one family."""
    queries, models, judges = scores.shape
    names = names or [f"model-{at}" for at in range(judges)]
    rows: list[dict[str, Any]] = []
    for q in range(queries):
        responses = [
            {
                "model": f"model-{m}",
                "sample": 0,
                "text": f"{q} {m}",
                "scores": [{"judge": names[j], "score": float(scores[q, m, j])} for j in np.flatnonzero(seen[q, m])],
            }
            for m in range(models)
        ]
        rows.append({"query_id": f"q-{q}", "domain": "chat", "query": "?", "responses": responses})
    return pa.RecordBatch.from_pylist(rows, schema=PAIRING_SCHEMA)


def judged_of(plan: Plan, seed: int) -> Judged:
    """Sums of a planted store."""
    _, scores, seen = planted(plan, seed)
    names = [f"model-{one}" if one >= 0 else f"judge-{at}" for at, one in enumerate(plan.family)]
    found = Judged()
    found.add(batch_of(scores, seen, names))
    return found


NUMBERS = ("offset", "leniency", "spread", "self_preference")


def truths(plan: Plan) -> dict[str, Floats]:
    """What was planted, by number."""
    offset = np.array(plan.offset)
    return {
        "offset": offset,
        "leniency": offset - offset.mean(),
        "spread": np.array(plan.spread),
        "self_preference": np.array(
            [one if at >= 0 else np.nan for one, at in zip(plan.favour, plan.family, strict=True)]
        ),
    }


def intervals(plan: Plan, seeds: range, resamples: int = 200) -> dict[str, tuple[Floats, Floats, Floats]]:
    """By number: for each judge the share of intervals that hold the truth, mean error, and mean absolute error."""
    hits: dict[str, list[list[bool]]] = {name: [] for name in NUMBERS}
    errors: dict[str, list[list[float]]] = {name: [] for name in NUMBERS}
    true = truths(plan)
    for seed in seeds:
        judged = judged_of(plan, seed)
        assert not refusals_of(judged)
        units = units_of(judged)
        found = fit_joint(units, seed=seed, resamples=resamples)
        names = [f"model-{one}" if one >= 0 else f"judge-{at}" for at, one in enumerate(plan.family)]
        for name in NUMBERS:
            told = [getattr(found.judges[one], name) for one in names]
            pairs = [(one, value) for one, value in zip(told, true[name], strict=True) if one is not None]
            hits[name].append([one.low <= value <= one.high for one, value in pairs])
            errors[name].append([one.value - value for one, value in pairs])
    return {name: (np.mean(hits[name], 0), np.mean(errors[name], 0), np.abs(errors[name]).mean(0)) for name in NUMBERS}


def alternating(plan: Plan, seed: int, steps: int = 500) -> tuple[Floats, Floats]:
    """Spread and self-preference by least squares with a parameter for every response."""
    _, scores, seen = planted(plan, seed)
    judges = len(plan.offset)
    y = np.where(seen, scores, 0).reshape(-1, judges)
    on = seen.reshape(-1, judges)
    own = (np.arange(scores.shape[1])[:, None] == np.array(plan.family)).astype(float)
    own = np.broadcast_to(own, scores.shape).reshape(-1, judges)
    y, on, own = y[on.sum(1) > 1], on[on.sum(1) > 1], own[on.sum(1) > 1]
    c, s, b = np.array([y[on[:, j], j].mean() for j in range(judges)]), np.ones(judges), np.zeros(judges)
    for _ in range(steps):
        theta = ((y - c - b * own) * s * on).sum(1) / (s**2 * on).sum(1)
        theta = (theta - theta.mean()) / theta.std()
        for j in range(judges):
            x = np.stack([np.ones(on[:, j].sum()), theta[on[:, j]], own[on[:, j], j]], 1)
            c[j], s[j], b[j] = np.linalg.lstsq(x, y[on[:, j], j], rcond=None)[0]
    return s, b


def differences(plan: Plan, seed: int) -> Floats:
    """Self-preference as own minus other responses, minus the same of the other judges."""
    _, scores, seen = planted(plan, seed)
    found = []
    for j, m in enumerate(plan.family):
        if m < 0:
            continue
        rest = [k for k in range(len(plan.offset)) if k != j]
        others = np.where(seen[..., rest], scores[..., rest], np.nan)
        with np.errstate(invalid="ignore"):
            gap = scores[..., j] - np.nanmean(others, -1) if others.size else scores[..., j]
        gap = np.where(seen[..., j], gap, np.nan)
        found.append(float(np.nanmean(gap[:, m]) - np.nanmean(np.delete(gap, m, 1))))
    return np.array(found)


@dataclass(frozen=True)
class Won:
    """Shares of right pairs, of as many pairs each: without leniency, with it, and with it calibrated."""

    even: float
    lenient: float
    calibrated: float

    @property
    def back(self) -> float:
        """Of what leniency cost, the share that calibration wins back."""
        return (self.calibrated - self.lenient) / (self.even - self.lenient)


def calibration(leniency: float, seed: int, folder: Path, queries: int = 600, judges: int = 2) -> Won:
    """One judge a response, drawn at random; the first is more lenient by so many points."""
    rng = np.random.default_rng(seed)
    models = 6
    quality = np.linspace(-0.7, 0.7, models)
    theta = quality + 0.8 * rng.normal(size=(queries, models))
    noise = rng.normal(0, 0.8, (queries, models))
    who = rng.integers(0, judges, (queries, models))
    names = [f"judge-{at}" for at in range(judges)]
    seen = who[..., None] == np.arange(judges)
    right: dict[str, float] = {}
    pairs_of: dict[str, list[tuple[float, bool]]] = {}
    for way, more in (("even", 0.0), ("lenient", leniency)):
        # Half points, as judges give them.
        score = np.round(2 * (5.5 + 1.6 * theta + noise + more * (who == 0))) / 2
        batch = batch_of(np.repeat(score[..., None], judges, -1), seen, names)
        pairs_of[way] = list(pairs(batch, theta, PairConfig(threshold=0)))
        if way == "lenient":
            judged = Judged()
            judged.add(batch)
            found = fit_scales(judged, "zscore")
            out = folder / f"{seed}-{leniency}.json"
            write_calibration(out, method="zscore", judges=found.judges, reference=found.reference)
            config = PairConfig(threshold=0.0001, calibrate=out)  # type: ignore[arg-type]
            pairs_of["calibrated"] = list(pairs(batch, theta, config))
    number = min(sum(margin >= 2 for margin, _ in pairs_of["even"]), *map(len, pairs_of.values()))
    for way, found_pairs in pairs_of.items():
        right[way] = expected_right(found_pairs, number)
    return Won(right["even"], right["lenient"], right["calibrated"])


def expected_right(found: list[tuple[float, bool]], number: int) -> float:
    """The share of right pairs among the `number` with the largest margins, equal margins drawn evenly."""
    margin, is_right = (np.array(part) for part in zip(*found, strict=True))
    edge = np.sort(margin)[::-1][number - 1]
    above, on = margin > edge, margin == edge
    return float((is_right[above].sum() + is_right[on].mean() * (number - above.sum())) / number)


def pairs(batch: pa.RecordBatch, theta: Floats, config: PairConfig) -> Iterator[tuple[float, bool]]:
    """Margin of each pair, and whether the chosen response is really better."""
    found = find_pairs(batch, config)
    flat = theta.reshape(-1)
    better = flat[found.chosen] > flat[found.rejected]
    yield from zip(found.margin.tolist(), better.tolist(), strict=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--part", choices=["intervals", "calibration"])
    given = parser.parse_args()
    if given.part != "calibration":
        for title, plan in PLANS.items():
            print(f"\n{title}: {plan.queries} queries, {given.seeds} seeds")
            print("| number | 95% intervals that hold the truth, by judge | all | mean error | mean absolute error |")
            print("|---|---|---|---|---|")
            for name, (held, error, size) in intervals(plan, range(given.seeds)).items():
                cells = (
                    " ".join(f"{one:.{digits}f}" for one in part) for part, digits in ((held, 3), (error, 3), (size, 3))
                )
                each, wrong, far = cells
                print(f"| {name} | {each} | {held.mean():.3f} | {wrong} | {far} |", flush=True)
            some = range(min(given.seeds, 20))
            true = truths(plan)
            least = [alternating(plan, seed) for seed in some]
            print(
                "alternating least squares, mean error of spread:",
                np.round(np.mean([s for s, _ in least], 0) - true["spread"], 3),
            )
            own = [at for at, one in enumerate(plan.family) if one >= 0]
            favour = true["self_preference"][own]
            print("  of self-preference:", np.round(np.mean([b[own] for _, b in least], 0) - favour, 3))
            gaps = np.mean([differences(plan, seed) for seed in some], 0)
            print("differences, mean error of self-preference:", np.round(gaps - favour, 3))
    if given.part != "intervals":
        with tempfile.TemporaryDirectory() as folder:
            print("\n| judges | leniency | right pairs, even judges | lenient | calibrated | won back |")
            print("|---|---|---|---|---|---|")
            for judges in (2, 3):
                for leniency in (0.0, 1.0, 2.0):
                    won = [
                        calibration(leniency, seed, Path(folder), judges=judges)
                        for seed in range(max(given.seeds // 10, 1))
                    ]
                    even, lenient, calibrated = (
                        np.mean([getattr(one, name) for one in won]) for name in ("even", "lenient", "calibrated")
                    )
                    back = (
                        f"{(calibrated - lenient) / (even - lenient):.2f}"
                        if leniency
                        else f"{100 * (calibrated - lenient):+.2f} points"
                    )
                    print(
                        f"| {judges} | {leniency:g} | {even:.4f} | {lenient:.4f} | {calibrated:.4f} | {back} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
