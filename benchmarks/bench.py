"""How often the 95% intervals of a report of a benchmark hold the planted value, and how often its tests cry wolf.

    python benchmarks/bench.py [--seeds 200]

Items are drawn anew for each seed, each of a domain drawn by its share. An item's pairs share its difficulty,
Beta(8 p, 8 (1 - p)) in a domain of accuracy p, so that they are not independent. Coverage should be 92 to 98% of 200
seeds. Where a benchmark's sizes of domains are taken as fixed, intervals of all pairs are wider than they need be.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator

import numpy as np
from scipy.special import expit

from coig_p.core.arrays import Floats, Index
from coig_p.reward.bench.comparing import exact_mcnemar, paired_bootstrap
from coig_p.reward.bench.metrics import Estimate, Ratio, at_equal_length, estimate, mean_of, ratio

CRBENCH = (129, 375, 274, 101, 80, 81)
ACCURACY = (0.79, 0.70, 0.67, 0.92, 0.44, 0.63)
FIRM = 8.0  # of the difficulty's Beta


def planted(random: np.random.Generator, sizes: tuple[int, ...], pairs: int) -> list[Ratio]:
    """One ratio a domain, `pairs` for each item."""
    found: list[Ratio] = []
    begin = 0
    for size, p in zip(sizes, ACCURACY, strict=True):
        hard = random.beta(FIRM * p, FIRM * (1 - p), size)
        unit = np.repeat(np.arange(begin, begin + size), pairs)
        found.append(ratio(unit, random.random(size * pairs) < np.repeat(hard, pairs)))
        begin += size
    return found


def whole(parts: list[Ratio]) -> Ratio:
    return Ratio(*(np.concatenate([getattr(one, name) for one in parts]) for name in ("unit", "a", "n")))


def exact(parts: list[Ratio], pairs: int) -> Ratio:
    every = whole(parts)
    right = every.a.reshape(-1, pairs).min(1)
    return ratio(np.arange(len(right)), right)


def chance_of_all(p: float, pairs: int) -> float:
    """E[x^pairs] of a Beta(FIRM p, FIRM (1 - p))."""
    return math.prod((FIRM * p + at) / (FIRM + at) for at in range(pairs))


def estimates(seeds: int) -> Iterator[tuple[str, int, float]]:
    """What is estimated, how many seeds there are, and the share whose interval holds the truth."""
    for name, sizes, pairs in (("CRBench's sizes", CRBENCH, 1), ("40 items a domain", (40,) * 6, 10)):
        share = np.array(sizes) / sum(sizes)
        alone = np.array([chance_of_all(p, pairs) for p in ACCURACY])
        p = np.array(ACCURACY)
        kinds: dict[str, tuple[float, Callable[[list[Ratio]], Estimate]]] = {
            "all pairs": (float(share @ p), lambda parts: estimate([(1.0, whole(parts))])),
            "one domain": (ACCURACY[3], lambda parts: estimate([(1.0, parts[3])])),
            "mean of domains": (float(p.mean()), lambda parts: estimate(mean_of(parts))),
            "whole items": (
                float(share @ alone),
                lambda parts, pairs=pairs: estimate([(1.0, exact(parts, pairs))]),  # type: ignore[misc]
            ),
        }
        held = dict.fromkeys(kinds, 0)
        for seed in range(seeds):
            random = np.random.default_rng([seed, 1])
            drawn = tuple(random.multinomial(sum(sizes), share).tolist())
            parts = planted(random, drawn, pairs)
            for kind, (truth, make) in kinds.items():
                held[kind] += holds(make(parts), truth)
        yield from ((f"{name}, {pairs} pairs an item: {kind}", seeds, count / seeds) for kind, count in held.items())


def holds(found: Estimate, truth: float) -> bool:
    return found.low is not None and found.high is not None and found.low <= truth <= found.high


def lengths(seeds: int) -> Iterator[tuple[str, int, float, float, float]]:
    """Accuracy at equal length, planted at .74, by how much the scorer likes long responses; means beside coverage."""
    for bias in (-1.0, 0.0, 1.0):
        found, raw, held = [], [], 0
        for seed in range(seeds):
            random = np.random.default_rng([seed, 2])
            longer: Floats = random.normal(0.3, 0.6, 1040)
            right = (random.random(1040) < expit(math.log(0.74 / 0.26) + bias * longer)).astype(float)
            one = at_equal_length(np.arange(1040), longer, right)[0]
            held += holds(one, 0.74)
            found.append(one.value or math.nan)
            raw.append(right.mean())
        yield f"bias {bias:+g}", seeds, held / seeds, float(np.mean(found)), float(np.mean(raw))


def tests(seeds: int) -> Iterator[tuple[str, int, float]]:
    """Two scorers: coverage of the bootstrap's interval, and how often each test finds what is not there."""
    for name, gap in (("no gap", 0.0), ("a gap of 4.4 points", 0.044)):
        held = loud = exactly = 0
        for seed in range(seeds):
            random = np.random.default_rng([seed, 3])  # not what the bootstrap draws
            item: Index = np.arange(1040)
            draw = random.random(1040)
            only, other = draw < 0.15 + gap / 2, draw > 1 - 0.15 + gap / 2
            low, high, p = paired_bootstrap(item, only.astype(float) - other, seed=seed, resamples=2000)
            held += low <= gap <= high
            loud += p < 0.05
            exactly += exact_mcnemar(int(only.sum()), int(other.sum())) < 0.05
        yield f"{name}: interval of the difference", seeds, held / seeds
        yield f"{name}: bootstrap p below .05", seeds, loud / seeds
        yield f"{name}: McNemar p below .05", seeds, exactly / seeds


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    seeds = parser.parse_args().seeds
    for what, number, share in estimates(seeds):
        print(f"{what}: {share:.1%} of {number}")
    for what, number, share, found, raw in lengths(seeds):
        print(f"at equal length, {what}: {share:.1%} of {number}; mean {found:.3f}, all pairs {raw:.3f}")
    for what, number, share in tests(seeds):
        print(f"{what}: {share:.1%} of {number}")


if __name__ == "__main__":
    main()
