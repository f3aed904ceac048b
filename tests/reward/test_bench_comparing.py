"""Two scorers: McNemar, bootstrap, Holm and power against scipy, statsmodels, enumeration and simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from benched import in_memory, item, result, right_or_wrong
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from coig_p.errors import UsageError
from coig_p.reward.bench.comparing import (
    Comparison,
    compare,
    compare_all,
    couples,
    exact_mcnemar,
    holm,
    paired_bootstrap,
    power_of,
)
from coig_p.reward.bench.outcomes import Outcomes, outcomes_of


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_test(one: int, other: int) -> None:
    wanted = stats.binomtest(one, one + other, 0.5).pvalue if one + other else 1.0
    assert exact_mcnemar(one, other) == pytest.approx(wanted)
    assert exact_mcnemar(other, one) == exact_mcnemar(one, other)


def test_mcnemar_and_holm_are_those_of_statsmodels() -> None:
    tables: Any = pytest.importorskip("statsmodels.stats.contingency_tables", reason="statsmodels is not installed")
    multi: Any = pytest.importorskip("statsmodels.stats.multitest", reason="statsmodels is not installed")
    random = np.random.default_rng(0)
    for _ in range(50):
        both, only, other, neither = random.integers(0, 40, 4)
        wanted = tables.mcnemar([[both, only], [other, neither]], exact=True).pvalue if only + other else 1.0
        assert exact_mcnemar(int(only), int(other)) == pytest.approx(wanted)
        p = random.random(6) ** 4
        assert holm(p.tolist()) == pytest.approx(multi.multipletests(p, method="holm")[1])


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_by_its_definition(p: list[float]) -> None:
    """Each is the largest of what it and those before it, from the smallest, would need alone."""
    wanted = []
    for at, one in enumerate(p):
        before = [other for nth, other in enumerate(p) if (other, nth) <= (one, at)]
        steps = [(len(p) - sum(below < other for below in p)) * other for other in before]
        wanted.append(min(1.0, max(steps)))
    assert holm(p) == pytest.approx(wanted)


def test_the_bootstrap_draws_items_with_all_their_pairs() -> None:
    random = np.random.default_rng(2)
    item_of = np.repeat(np.arange(80), random.integers(1, 5, 80))
    difference = random.integers(-1, 2, len(item_of)) + 0.4 * (item_of % 2)
    low, high, p = paired_bootstrap(item_of, difference, seed=1, resamples=4000)
    slow = []
    for _ in range(4000):
        drawn = random.integers(0, 80, 80)
        values = [difference[item_of == at] for at in drawn]
        slow.append(np.concatenate(values).mean())
    assert (low, high) == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])), abs=0.02)
    assert p == pytest.approx(2 * min(np.mean(np.array(slow) < 0), np.mean(np.array(slow) > 0)), abs=0.02)
    assert paired_bootstrap(item_of, difference, seed=1, resamples=4000) == (low, high, p)
    assert paired_bootstrap(item_of, difference, seed=2, resamples=4000) != (low, high, p)


def test_the_bootstrap_never_says_that_anything_is_certain() -> None:
    assert paired_bootstrap(np.arange(10), np.ones(10), resamples=999) == (1, 1, 2 / 1000)
    assert paired_bootstrap(np.arange(10), np.zeros(10), resamples=999) == (0, 0, 1)


def test_coverage_of_the_paired_bootstrap() -> None:
    """Small here; benchmarks/bench.py has 200 seeds."""
    held = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        hard = random.random(200)
        one, other = (
            (hard[:, None] + random.normal(0, 0.3, (200, 2)) < 0.6),
            (hard[:, None] + random.normal(0, 0.3, (200, 2)) < 0.6),
        )
        low, high, _ = paired_bootstrap(
            np.repeat(np.arange(200), 2), (one.astype(float) - other).ravel(), seed=seed, resamples=500
        )
        held += low <= 0 <= high
    assert held >= 52


def test_power_is_that_of_simulation_and_of_the_paper_s_gap() -> None:
    n = 1040
    for discordance, wanted in ((0.4, 0.60), (0.2, 0.89)):
        only = round(n * (discordance + 0.044) / 2)
        other = round(n * (discordance - 0.044) / 2)
        power, needed = power_of(only, other, n)
        assert power == pytest.approx(wanted, abs=0.02)
        random = np.random.default_rng(0)
        drawn = random.multinomial(n, [only / n, other / n, 1 - (only + other) / n], 2000)
        seen = np.mean([exact_mcnemar(int(a), int(b)) < 0.05 for a, b, _ in drawn])
        assert power == pytest.approx(seen, abs=0.035)
        assert needed is not None
        again, _ = power_of(round(only * needed / n * 1000), round(other * needed / n * 1000), needed * 1000)
        assert again is not None
    assert power_of(5, 5, 100) == (None, None)
    assert power_of(0, 0, 100) == (None, None)
    assert power_of(0, 0, 0) == (None, None)
    assert power_of(100, 0, 100)[0] == 1.0


def test_as_many_items_as_are_said_to_be_needed_have_the_power() -> None:
    _, needed = power_of(60, 40, 1000)
    assert needed is not None
    scale = needed / 1000
    d, s = 0.02, 0.1
    power = stats.norm.cdf((d * np.sqrt(needed) - stats.norm.ppf(0.975) * np.sqrt(s)) / np.sqrt(s - d * d))
    assert power == pytest.approx(0.8, abs=0.002)
    assert scale > 1


# ------------------------------------------------------------------------------------------------


def scorer(name: str, right: list[bool]) -> Outcomes:
    items = [item(f"i{at}") for at in range(len(right))]
    return outcomes_of(in_memory(items, right_or_wrong(items, right), name=name))


def test_a_comparison_counts_what_both_scored() -> None:
    one = scorer("one", [True] * 6 + [False] * 4)
    other = scorer("other", [True] * 3 + [False] * 6 + [True])
    found = compare(one, other)
    assert (found.both, found.only, found.only_against, found.neither) == (3, 3, 1, 3)
    assert (found.pairs, found.items, found.share, found.share_against) == (10, 10, 0.6, 0.4)
    assert found.difference == pytest.approx(0.2)
    assert found.low < 0.2 < found.high
    assert found.mcnemar == pytest.approx(stats.binomtest(1, 4).pvalue)
    items = one.results.bench.items
    some = [result(items[0], None, reason="too-long"), *one.results.results[1:]]
    found = compare(outcomes_of(in_memory(items, some, name="short")), other)
    assert (found.pairs, found.both, found.items) == (9, 2, 9)


def test_p_is_adjusted_for_every_comparison_of_a_report() -> None:
    random = np.random.default_rng(4)
    every = [scorer(str(at), (random.random(60) < share).tolist()) for at, share in enumerate((0.9, 0.6, 0.5))]
    found = compare_all(couples(every))
    assert [(one.name, one.against) for one in found] == [("1", "0"), ("2", "0"), ("2", "1")]
    assert [one.mcnemar_holm for one in found] == holm([one.mcnemar for one in found if one.mcnemar is not None])
    assert [one.p_holm for one in found] == holm([one.p for one in found])
    against = compare_all(couples(every[1:], every[0]))
    assert [(one.name, one.against) for one in against] == [("1", "0"), ("2", "0")]
    assert compare_all(couples(every[:1])) == []
    assert isinstance(against[0], Comparison)
    assert against[0].to_dict()["mcnemar_holm"] == against[0].mcnemar_holm


def test_a_judge_of_two_orders_is_not_tested_against_whole_items_of_a_model() -> None:
    """A guesser's whole item is right in a quarter of cases as a judge, and in half of them as a model."""
    random = np.random.default_rng(0)
    model, other = (scorer(name, (random.random(400) < 0.5).tolist()) for name in ("model", "other"))
    items = model.results.bench.items
    say = [[(sides, str(random.choice(["first", "second"]))) for sides in ("ab", "ba")] for _ in items]
    asked = [result(of, said=said) for of, said in zip(items, say, strict=True)]
    judge = outcomes_of(in_memory(items, asked, kind="judge", name="judge"))
    found = compare_all(couples([model, judge, other]))
    assert [(one.name, one.against) for one in found] == [("judge", "model"), ("other", "model"), ("other", "judge")]
    assert found[0].p > 0.05
    for one in (found[0], found[2]):
        assert (one.mcnemar, one.mcnemar_holm, one.power, one.needed) == (None, None, None, None)
    assert found[1].mcnemar_holm == found[1].mcnemar  # of one test
    assert compare(judge, judge).mcnemar == 1


def test_scorers_that_share_nothing_cannot_be_compared() -> None:
    one, items = scorer("one", [True, False]), [item("i0"), item("i1")]
    none = [result(of, None, reason="too-long") for of in items]
    with pytest.raises(UsageError, match="no pair that both scored"):
        compare(one, outcomes_of(in_memory(items, none, name="none")))
