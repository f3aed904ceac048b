"""Intervals against a bootstrap over queries, against coverage in simulation, and at the edges."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit

from coig_p.stats.intervals import (
    Mean,
    Share,
    draws_needed,
    mean,
    moments,
    moments_by,
    moments_of_values,
    share,
    wilson,
)


def clustered(rng: np.random.Generator, queries: int, p: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs that agree within a query: each query has a share of its own around `p`."""
    n = rng.integers(1, 20, queries)
    return rng.binomial(n, rng.beta(2 * p, 2 * (1 - p), queries)), n


def bootstrap(a: np.ndarray, n: np.ndarray, draws: int = 4000) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    picked = rng.integers(0, len(n), (draws, len(n)))
    low, high = np.quantile(a[picked].sum(1) / n[picked].sum(1), [0.025, 0.975])
    return float(low), float(high)


def ends(found: Share | Mean) -> tuple[float, float]:
    """Low and high, where there have to be some."""
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


@pytest.mark.parametrize(("queries", "p"), [(400, 0.6), (400, 0.1), (150, 0.4)])
def test_a_share_agrees_with_a_bootstrap_over_queries(queries: int, p: float) -> None:
    a, n = clustered(np.random.default_rng(1), queries, p)
    found = share(moments(a, n))
    low, high = ends(found)
    assert found.n == n.sum()
    assert found.share == pytest.approx(a.sum() / n.sum())
    assert (low, high) == pytest.approx(bootstrap(a, n), abs=0.008)
    assert found.share is not None
    naive = 1.96 * math.sqrt(found.share * (1 - found.share) / n.sum())
    assert high - low > 3 * naive, "pairs of one query were taken as independent"


def test_a_mean_agrees_with_a_bootstrap_over_queries() -> None:
    rng = np.random.default_rng(2)
    n = rng.integers(1, 10, 300)
    a = np.rint(n * rng.normal(0.3, 1, 300) * 10_000).astype(np.int64)
    found, (low, high) = mean(moments_of_values(a, n, 10_000)), bootstrap(a / 10_000, n)
    assert found.low == pytest.approx(low, abs=0.02)
    assert found.high == pytest.approx(high, abs=0.02)


@pytest.mark.parametrize(("queries", "p"), [(20, 0.5), (60, 0.1), (200, 0.05)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(queries: int, p: float) -> None:
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(1000):
        low, high = ends(share(moments(*clustered(rng, queries, p))))
        inside += low <= p <= high
    assert 0.93 <= inside / 1000 <= 0.995


def test_the_edges() -> None:
    assert share(moments(np.array([0]), np.array([0]))) == Share(0)
    assert share(moments(np.array([2]), np.array([3]))).low is None, "one query says nothing of others"
    # All agree: as uncertain as 10 draws, not as 50, and not a point.
    found = share(moments(np.full(10, 5), np.full(10, 5)))
    assert found.share == found.high == 1
    assert 0.6 < ends(found)[0] < 0.75
    assert mean(moments(np.array([0]), np.array([0]))) == Mean(0)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30))
def test_moments_add_up_however_queries_are_cut(counts: list[tuple[int, int]]) -> None:
    n = np.array([one + other for one, other in counts])
    a = np.array([one for one, _ in counts])
    cut = len(n) // 2
    whole = moments(a, n)
    assert (whole == moments(a[:cut], n[:cut]) + moments(a[cut:], n[cut:])).all()
    key = np.arange(len(n)) % 3
    each = moments_by(key, 3, a, n)
    assert (each.sum(1) == whole).all()
    found = share(whole)
    if found.low is not None:
        assert found.share is not None
        low, high = ends(found)
        assert 0 <= low <= found.share <= high <= 1


def test_queries_that_differ_less_than_chance_promise_no_more_than_as_many_draws_as_pairs() -> None:
    a, n = np.array([5] * 19 + [6]), np.full(20, 10)
    found = share(moments(a, n))
    p, draws, z = 101 / 200, 200, stdtrit(19, 0.975)
    half = z * math.sqrt(p * (1 - p) / draws + z * z / (4 * draws * draws)) / (1 + z * z / draws)
    low, high = ends(found)
    assert (high - low) / 2 == pytest.approx(half)


def test_values_are_summed_without_rounding_however_large() -> None:
    rng = np.random.default_rng(4)
    for most in (10, 10**9, 2**62):
        a, n = rng.integers(-most, most, 50), rng.integers(1, 9, 50)
        exact = [Fraction(int(one), 7) for one in a]
        counts = [int(one) for one in n]
        wanted = [50, sum(counts), sum(exact), sum(one * one for one in counts)]
        wanted += [sum(one * many for one, many in zip(exact, counts, strict=True)), sum(one * one for one in exact)]
        assert moments_of_values(a, n, 7).tolist() == wanted
        assert moments_of_values(a.astype(object), n, 7).tolist() == wanted


def test_wilson_of_independent_draws_and_how_many_are_needed() -> None:
    low, high = wilson(218 / 240, 240)
    assert (round(100 * low, 1), round(100 * high, 1)) == (86.5, 93.9)
    assert wilson(1.0, 40) == (pytest.approx(0.9124, abs=5e-5), 1.0)
    assert wilson(0.0, 40) == (0.0, pytest.approx(0.0876, abs=5e-5))
    for p in (0.0, 0.3, 0.5, 0.9, 1.0):
        low, high = wilson(p, draws_needed(p))
        assert 0.049 < max(high - p, p - low) < 0.101  # at 0 and 1 all of it lies on one side
        assert (high - low) / 2 == pytest.approx(0.05, abs=0.0015)
    for p in np.linspace(0, 1, 201):
        exact = 1.959963984540054**2 * p * (1 - p) / 0.05**2
        assert max(34.57, exact) <= draws_needed(float(p)) < max(34.58, exact) + 1
    # 138.3, 384.1 and 379.9: never one too few. At the ends 34.6, where the formula alone would promise 0.
    assert [draws_needed(p) for p in (0.9, 0.5, 0.4474)] == [139, 385, 380]
    assert draws_needed(0.0) == draws_needed(1.0) == 35
