"""Numbers of a report against scipy, statsmodels, scikit-learn, what can be counted by hand, and the paper's table."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from benched import in_memory, item, numbers, result, right_or_wrong
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats
from scipy.special import expit

from coig_p.reward.bench.metrics import (
    Ratio,
    accuracy,
    at_equal_length,
    best_of_n_ratio,
    by_length,
    calibration,
    estimate,
    exact_ratio,
    expected_calibration_error,
    macro,
    mean_of,
    position,
    ratio,
)
from coig_p.reward.bench.outcomes import Outcomes, Tie, outcomes_of
from coig_p.reward.bench.presets import OVERALL, aggregates
from coig_p.stats.intervals import moments, wilson
from coig_p.stats.intervals import share as interval_of

# Table 6 of COIG-P: overall, then by domain, in percent, as printed; and how many items each domain has (Table 7).
SIZES = {"chat": 129, "logic": 375, "math": 274, "code": 101, "role": 80, "novel": 81}
TABLE_6 = {
    "GPT-4o": (86.73, 96.12, 88.27, 72.63, 98.02, 93.75, 91.36),
    "Claude": (74.13, 86.82, 74.67, 61.68, 92.08, 75.00, 70.37),
    "Skywork-Reward-Gemma-2-27B": (55.67, 62.02, 53.60, 54.01, 59.41, 50.00, 61.73),
    "Llama-3-OffsetBias-RM-8B": (55.58, 34.11, 54.93, 68.98, 72.28, 47.50, 34.57),
    "RM-Mistral-7B": (65.87, 86.82, 61.33, 61.68, 90.10, 53.75, 49.38),
    "ArmoRM-Llama3-8B": (44.13, 58.91, 44.27, 41.97, 46.53, 41.25, 27.16),
    "Skywork-Reward-Llama-3.1-8B": (54.13, 75.97, 52.00, 49.27, 78.22, 35.00, 34.57),
    "CRM": (69.71, 79.07, 69.60, 66.79, 92.08, 43.75, 62.96),
}
TOTALS = (902, 771, 579, 578, 685, 459, 563, 725)


def counts_of(percents: tuple[float, ...]) -> dict[str, int]:
    """The only whole numbers that give the percentages, to two decimals."""
    found = {}
    for (domain, size), percent in zip(SIZES.items(), percents, strict=True):
        (right,) = (right for right in range(size + 1) if abs(100 * right / size - percent) < 0.00501)
        found[domain] = right
    return found


def of_counts(counts: dict[str, int]) -> Outcomes:
    items = [item(f"{domain}-{at}", domain) for domain, size in SIZES.items() for at in range(size)]
    right = [at < counts[domain] for domain, size in SIZES.items() for at in range(size)]
    return outcomes_of(in_memory(items, right_or_wrong(items, right), preset="crbench"))


@pytest.mark.parametrize(("name", "total"), list(zip(TABLE_6, TOTALS, strict=True)))
def test_table_6_comes_back_from_the_counts_of_right_items(name: str, total: int) -> None:
    overall, *percents = TABLE_6[name]
    counts = counts_of(tuple(percents))
    assert sum(counts.values()) == total
    outcomes = of_counts(counts)
    found = accuracy(outcomes)
    assert (found.right, found.pairs, found.ties, found.missing, found.invalid) == (total, 1040, 0, 0, 0)
    assert round(100 * numbers(found.share)[0], 2) == overall
    for official in (False, True):
        assert aggregates(outcomes, official=official).values[OVERALL] == found.share
    assert estimate([(1.0, exact_ratio(outcomes))]) == found.share
    assert macro(outcomes).value == pytest.approx(np.mean([counts[name] / size for name, size in SIZES.items()]))


def test_the_interval_and_the_macro_of_crm() -> None:
    outcomes = of_counts(counts_of(TABLE_6["CRM"][1:]))
    assert counts_of(TABLE_6["CRM"][1:]) == {
        "chat": 102, "logic": 261, "math": 183, "code": 93, "role": 35, "novel": 51,
    }  # fmt: skip
    found = accuracy(outcomes).share
    assert [round(100 * one, 1) for one in numbers(found)] == [69.7, 66.9, 72.4]
    assert round(100 * numbers(macro(outcomes))[0], 2) == 69.04
    claude = accuracy(of_counts(counts_of(TABLE_6["Claude"][1:]))).share
    assert [round(100 * one, 1) for one in numbers(claude)] == [74.1, 71.4, 76.7]


# ------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=30))
def test_one_ratio_has_the_interval_of_the_package(parts: list[tuple[int, int]]) -> None:
    a = np.array([min(one) for one in parts])
    n = np.array([max(one) for one in parts])
    wanted = interval_of(moments(a, n))
    found = estimate([(1.0, ratio(np.arange(len(a)), a, n))])
    if wanted.share is None or wanted.low is None:
        assert found.low is None
        return
    if n.max() == 1:  # independent draws: Wilson's own
        assert (found.value, found.low, found.high) == (wanted.share, *wilson(wanted.share, n.sum()))
        return
    assert (found.value, found.low, found.high) == pytest.approx((wanted.share, wanted.low, wanted.high), abs=1e-9)


def test_a_mean_of_ratios_that_share_items_has_the_variance_of_the_bootstrap() -> None:
    random = np.random.default_rng(1)
    unit = np.repeat(np.arange(150), 3)
    right = (random.random(450) < random.beta(3, 2, 150)[unit]).astype(float)
    exact = np.array([right[unit == at].min() for at in range(150)])
    terms = mean_of([ratio(unit, right), ratio(np.arange(150), exact)])
    found = estimate(terms, share=False)
    drawn = []
    for _ in range(4000):
        times = np.bincount(random.integers(0, 150, 150), minlength=150).astype(float)
        drawn.append(((right * times[unit]).sum() / times[unit].sum() + (exact * times).sum() / times.sum()) / 2)
    value, _, high = numbers(found)
    assert high - value == pytest.approx(1.976 * np.std(drawn), rel=0.05)
    assert value == pytest.approx((right.mean() + exact.mean()) / 2)


def test_a_share_stays_one_and_no_interval_is_made_of_one_item() -> None:
    assert estimate([(1.0, ratio(np.array([0]), np.array([1.0])))]).low is None
    found = estimate([(1.0, ratio(np.arange(20), np.ones(20)))])
    assert found.value == found.high == 1.0
    assert found.low is not None
    assert 0.8 < found.low < 0.87
    assert estimate([(1.0, ratio(np.array([], np.int64), np.array([])))]).value is None
    assert estimate([]).value is None


def test_coverage_of_a_domain_and_of_the_mean_of_domains() -> None:
    """Small here; benchmarks/bench.py has 200 seeds of more kinds."""
    held = np.zeros(2)
    for seed in range(60):
        random = np.random.default_rng(seed)
        parts: list[Ratio] = []
        for size, p in ((60, 0.9), (40, 0.6), (25, 0.75)):
            own = random.beta(8 * p, 8 * (1 - p), size)
            unit = np.repeat(np.arange(size), 3) + 1000 * len(parts)
            parts.append(ratio(unit, random.random(3 * size) < np.repeat(own, 3)))
        for at, (truth, terms) in enumerate(((0.9, [(1.0, parts[0])]), (0.75, mean_of(parts)))):
            _, low, high = numbers(estimate(terms))
            held[at] += low <= truth <= high
    assert (held >= 60 * 0.85).all()


# ------------------------------------------------------------------------------------------------


def test_what_became_of_each_pair_is_counted_and_adds_up() -> None:
    items = [item(f"i{at}") for at in range(6)]
    rewards: list[tuple[float | None, ...] | None] = [(2, 1), (1, 1), (0, 1), None, (None, 3), (5, 4)]
    results = [
        result(one, of, reason="too-long" if of is None or None in of else None)
        for one, of in zip(items, rewards, strict=True)
    ]
    found = accuracy(outcomes_of(in_memory(items, results)))
    assert found.to_dict() | {"share": None} == {
        "pairs": 6, "right": 2, "ties": 1, "wrong": 1, "invalid": 0, "missing": 2, "share": None, "lowest": 2 / 6,
    }  # fmt: skip
    assert found.share.value == 2 / 4
    assert accuracy(outcomes_of(in_memory(items, results), "half")).share.value == 2.5 / 4
    # A judge that rates, and gives no rating, gets nothing for it; what was too long for it is not scored.
    rated = [result(one, (None, 3), reason="invalid") for one in items[:3]]
    rated += [result(one, None, reason="too-long") for one in items[3:]]
    found = accuracy(outcomes_of(in_memory(items, rated, kind="judge")))
    assert (found.invalid, found.missing, found.share.value) == (3, 3, 0)


def test_exact_match_takes_items_with_all_pairs_right_and_leaves_out_those_without() -> None:
    items = [
        item("all", texts="abc", ranks=(0, 1, 2)),
        item("tie", texts="abc", ranks=(0, 1, 2)),
        item("none", texts="ab", ranks=(0, 0)),
        item("lost", texts="ab"),
    ]
    results = [
        result(items[0], (3, 2, 1)),
        result(items[1], (3, 2, 2)),
        result(items[2], (1, 2)),
        result(items[3], None, reason="too-long"),
    ]
    for tie in ("wrong", "half"):
        found = exact_ratio(outcomes_of(in_memory(items, results), tie))
        assert (found.unit.tolist(), found.a.tolist()) == ([0, 1], [1, 0])


@given(st.data())
def test_best_of_n_is_the_chance_of_a_best_one_among_those_at_the_top(data: st.DataObject) -> None:
    ranks = data.draw(st.lists(st.integers(0, 2), min_size=2, max_size=6))
    rewards = [float(data.draw(st.integers(0, 3))) for _ in ranks]
    one = item("x", texts="abcdef"[: len(ranks)], ranks=ranks)
    found = best_of_n_ratio(outcomes_of(in_memory([one], [result(one, rewards)])))
    if len(set(ranks)) == 1:
        assert not len(found.a)
        return
    top = [at for at, reward in enumerate(rewards) if reward == max(rewards)]
    assert found.a.tolist() == pytest.approx([np.mean([ranks[at] == min(ranks) for at in top])])


def test_best_of_n_counts_an_invalid_rating_as_nothing_and_leaves_out_what_is_missing() -> None:
    items = [item(name, texts="abc", ranks=(0, 1, 1)) for name in "uvwxyz"]
    results = [result(items[0], (3, 2, 1)), result(items[1], (1, 2, 3))]
    results += [result(items[at], (3, None, 1), reason=why) for at, why in ((2, "none"), (3, "too-long"))]
    results += [result(items[4], None, reason="refusal"), result(items[5], None, reason="too-long")]
    for kind, units, credits in (("judge", [0, 1, 2, 4], [1, 0, 0, 0]), ("model", [0, 1], [1, 0])):
        found = best_of_n_ratio(outcomes_of(in_memory(items, results, kind=kind)))
        assert (found.unit.tolist(), found.a.tolist()) == (units, credits)


def test_best_of_n_of_responses_that_are_not_all_comparable() -> None:
    one = item("x", texts="abcd", pairs=[("a", "b"), ("c", "b")])
    for rewards, credit in (((3, 1, 2, 9), 1), ((1, 3, 2, 0), 0), ((3, 3, 3, 0), 2 / 3)):
        found = best_of_n_ratio(outcomes_of(in_memory([one], [result(one, rewards)])))
        assert found.a.tolist() == pytest.approx([credit])


# ------------------------------------------------------------------------------------------------


def calibrated(seed: int = 0) -> tuple[Outcomes, np.ndarray]:
    random = np.random.default_rng(seed)
    delta = np.concatenate([random.normal(1, 2, 300), [0.0, 0.0, 60.0, -60.0, 1e-12]])
    items = [item(f"i{at}") for at in range(len(delta))]
    results = [result(one, (float(of), 0.0)) for one, of in zip(items, delta, strict=True)]
    return outcomes_of(in_memory(items, results)), delta


def test_nll_brier_and_ece_by_their_definitions() -> None:
    outcomes, delta = calibrated()
    found = calibration(outcomes)
    assert found is not None
    p = expit(delta)
    assert found.nll.value == pytest.approx(np.mean([math.log1p(math.exp(-one)) for one in delta]))
    assert found.brier.value == pytest.approx(np.mean((1 - p) ** 2))
    confidence, right = np.maximum(p, 1 - p), np.where(delta == 0, 0.5, delta > 0)
    # scipy's bins, too, have a closed last one.
    edges = np.linspace(0.5, 1, 11)
    gap = stats.binned_statistic(confidence, right - confidence, "sum", edges)[0]
    assert found.ece == pytest.approx(np.abs(gap).sum() / len(delta))
    wanted = 0.0
    for at in range(10):
        last = at == 9
        here = [
            (one, yes)
            for one, yes in zip(confidence, right, strict=True)
            if edges[at] <= one and (one < edges[at + 1] or (last and one <= 1))
        ]
        if here:
            wanted += abs(sum(yes for _, yes in here) / len(here) - sum(one for one, _ in here) / len(here)) * len(here)
    assert found.ece == pytest.approx(wanted / len(delta))
    assert expected_calibration_error(np.array([1.0]), np.array([0.0])) == 1


def test_nll_and_brier_are_those_of_scikit_learn() -> None:
    metrics: Any = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    outcomes, delta = calibrated(3)
    found = calibration(outcomes)
    assert found is not None
    # A response of which either is better, as often as not: with the order of a pair drawn, nothing changes.
    side = np.random.default_rng(0).random(len(delta)) < 0.5
    p, label = expit(np.where(side, delta, -delta)), side.astype(int)
    assert found.brier.value == pytest.approx(metrics.brier_score_loss(label, p))
    inside = np.abs(delta) < 30  # beyond, scikit-learn cuts probabilities off
    wanted = metrics.log_loss(label[inside], p[inside])
    assert np.mean(np.logaddexp(0, -delta[inside])) == pytest.approx(wanted)


@pytest.mark.parametrize("tie", ["wrong", "half"])
def test_ece_takes_equal_rewards_as_right_by_one_half_whatever_they_count(tie: Tie) -> None:
    one = item("x")
    found = calibration(outcomes_of(in_memory([one], [result(one, (1.0, 1.0))]), tie))
    assert found is not None
    assert found.ece == 0


def test_baselines_and_judges_have_no_calibration() -> None:
    outcomes, _ = calibrated()
    results = outcomes.results
    for kind, there in (("model", True), ("server", True), ("judge", False), ("baseline", False)):
        of = outcomes_of(in_memory(results.bench.items, results.results, kind=kind))
        assert (calibration(of) is not None) == there


# ------------------------------------------------------------------------------------------------


def simulated(seed: int, bias: float, mean: float = 0.3, number: int = 400) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    longer = random.normal(mean, 0.6, number)
    right = (random.random(number) < expit(math.log(0.74 / 0.26) + bias * longer)).astype(float)
    return longer, right


def test_accuracy_at_equal_length_is_the_maximum_of_the_likelihood() -> None:
    for seed, bias in itertools.product(range(5), (-1.0, 0.0, 2.0)):
        longer, right = simulated(seed, bias)
        found, slope, why = at_equal_length(np.arange(len(right)), longer, right)
        z = longer / longer.std()

        def loss(beta: np.ndarray, z: np.ndarray = z, right: np.ndarray = right) -> float:
            return float(np.logaddexp(0, -(2 * right - 1) * (beta[0] + beta[1] * z)).sum())

        fit = optimize.minimize(loss, np.zeros(2), tol=1e-12)
        assert why is None
        assert (found.value, slope) == pytest.approx((expit(fit.x[0]), fit.x[1]), abs=1e-5)


def test_accuracy_at_equal_length_and_its_interval_are_those_of_statsmodels() -> None:
    api: Any = pytest.importorskip("statsmodels.api", reason="statsmodels is not installed")
    longer, right = simulated(7, 1.0)
    unit = np.repeat(np.arange(100), 4)
    found, slope, _ = at_equal_length(unit, longer, right)
    x = api.add_constant(longer / longer.std())
    fit = api.Logit(right, x).fit(disp=0, cov_type="cluster", cov_kwds={"groups": unit, "df_correction": True})
    assert (found.value, slope) == pytest.approx((expit(fit.params[0]), fit.params[1]))
    # statsmodels' correction also counts the two parameters.
    se = fit.bse[0] / math.sqrt((len(right) - 1) / (len(right) - 2))
    half = stats.t.ppf(0.975, 99) * se
    assert (found.low, found.high) == pytest.approx((expit(fit.params[0] - half), expit(fit.params[0] + half)))


def test_accuracy_at_equal_length_does_not_move_with_the_bias() -> None:
    raw, equal = [], []
    for bias in (-1.0, -0.5, 0.0, 0.5, 1.0):
        rows = [simulated(seed, bias) for seed in range(20)]
        raw.append(np.mean([right.mean() for _, right in rows]))
        found = [at_equal_length(np.arange(400), longer, right)[0].value for longer, right in rows]
        equal.append(np.mean([one for one in found if one is not None]))
    assert max(raw) - min(raw) > 0.08
    assert max(abs(one - 0.74) for one in equal) < 0.012


@pytest.mark.parametrize(
    ("longer", "right", "why"),
    [
        ([0.5, -0.5, 1, -1], [1, 1, 1, 1], "constant"),
        ([0.5, -0.5, 1, -1], [1, 0, 1, 0], "separated"),
        ([0.5, 0.5, 0.5, 0.5], [1, 0, 1, 0], "alike"),
        ([], [], "alike"),
    ],
)
def test_where_no_accuracy_at_equal_length_can_be_told_it_says_why(
    longer: list[float], right: list[float], why: str
) -> None:
    found = at_equal_length(np.arange(len(right)), np.array(longer, float), np.array(right, float))
    assert (found[0].value, found[2]) == (None, why)


def test_accuracy_by_which_is_longer() -> None:
    texts = [("aaaa", "b"), ("aaa", "b"), ("a", "bbb"), ("a", "bb"), ("aa", "bb"), ("", "b")]
    items = [item(f"i{at}", texts=both) for at, both in enumerate(texts)]
    outcomes = outcomes_of(in_memory(items, right_or_wrong(items, [True, False, True, True, False, True])))
    found = by_length(outcomes)
    assert (found.chosen_longer.value, found.chosen_shorter.value, found.balanced.value) == (0.5, 1, 0.75)
    assert (found.same, found.chosen_longer.n, found.chosen_shorter.n) == (1, 2, 2)


# ------------------------------------------------------------------------------------------------


def test_four_rules_on_one_file_as_counted_by_hand() -> None:
    said: dict[str, list[tuple[str, str | None]]] = {
        "both right": [("ab", "first"), ("ba", "second")],
        "always the first": [("ab", "first"), ("ba", "first")],
        "right and tie": [("ab", "first"), ("ba", "tie")],
        "tie and right": [("ab", "tie"), ("ba", "second")],
        "two ties": [("ab", "tie"), ("ba", "tie")],
        "right and invalid": [("ab", "first"), ("ba", None)],
        "both wrong": [("ab", "second"), ("ba", "first")],
        "wrong and tie": [("ba", "first"), ("ab", "tie")],
    }
    items = [item(name) for name in said]
    results = [result(one, said=of) for one, of in zip(items, said.values(), strict=True)]
    outcomes = outcomes_of(in_memory(items, results, kind="judge", preset="judgebench"))
    found = position(outcomes)
    assert found is not None
    by_hand = {
        "mean": (1 + 0.5 + 0.75 + 0.75 + 0.5 + 0.5 + 0 + 0.25) / 8,
        "net": 4 / 8,  # both right, right and tie, tie and right, right and invalid
        "both": 1 / 8,
        "first": 4 / 8,  # both right, always the first, right and tie, right and invalid
    }
    assert {name: one.value for name, one in found.rules.items()} == pytest.approx(by_hand)
    assert (found.verdicts, found.ties, found.invalid) == (16, 5, 1)
    # Of ten decided verdicts first: 1, 2, 1, 0, 0, 1, 1, 1.
    assert found.first_shown.value == 7 / 10
    assert (found.both, found.consistent.value) == (7, 3 / 7)  # both right, two ties, both wrong
    whole = accuracy(outcomes)
    assert (whole.right, whole.ties, whole.wrong, whole.invalid, whole.missing) == (1, 5, 1, 1, 0)
    assert whole.share.value == pytest.approx(by_hand["mean"])
    assert aggregates(outcomes).values[OVERALL].value == by_hand["net"]


def test_a_judge_that_always_says_a_gets_one_half_and_is_never_consistent() -> None:
    items = [item(f"i{at}") for at in range(9)]
    results = [result(one, said=[("ab", "first"), ("ba", "first")]) for one in items]
    outcomes = outcomes_of(in_memory(items, results, kind="judge"))
    found = position(outcomes)
    assert found is not None
    assert accuracy(outcomes).share.value == 0.5
    assert (found.consistent.value, found.first_shown.value) == (0, 1)
    assert {rule: one.value for rule, one in found.rules.items()} == {"mean": 0.5, "net": 0, "both": 0, "first": 1}


def test_one_order_alone_says_nothing_of_both() -> None:
    """Net, both and whole items are of pairs that were shown in both orders; here two of five."""
    said: list[list[tuple[str, str | None]]] = [
        [("ab", "first")], [("ba", "first")], [("ab", None)],
        [("ab", "first"), ("ba", "second")], [("ab", "first"), ("ba", "first")],
    ]  # fmt: skip
    items = [item(f"i{at}") for at in range(5)]
    results = [result(one, said=of) for one, of in zip(items, said, strict=True)]
    outcomes = outcomes_of(in_memory(items, results, kind="judge"))
    found = position(outcomes)
    assert found is not None
    assert (found.once, found.both) == (3, 2)
    rules = {rule: (one.n, one.value) for rule, one in found.rules.items()}
    assert rules == {"mean": (5, 2.5 / 5), "net": (2, 0.5), "both": (2, 0.5), "first": (5, 3 / 5)}
    assert (exact_ratio(outcomes).unit.tolist(), exact_ratio(outcomes).a.tolist()) == ([3, 4], [1, 0])
    alone = outcomes_of(in_memory(items[:3], results[:3], kind="judge"))
    found = position(alone)
    assert found is not None
    assert [one.value for one in found.rules.values()] == [1 / 3, None, None, 1 / 3]
    assert estimate([(1.0, exact_ratio(alone))]).value is None


def test_a_pair_that_a_judge_was_not_asked_about_is_missing() -> None:
    one = item("x", texts="abc", ranks=(0, 1, 2))
    outcomes = outcomes_of(in_memory([one], [result(one, said=[("ab", "first"), ("ba", "second")])], kind="judge"))
    found = accuracy(outcomes)
    assert (found.pairs, found.right, found.missing, found.invalid) == (3, 1, 2, 0)
    refused = item("y")
    outcomes = outcomes_of(
        in_memory(
            [one, refused], [result(one, said=[("ab", "first")]), result(refused, reason="refused")], kind="judge"
        )
    )
    found = accuracy(outcomes)
    assert (found.invalid, found.missing, found.share.value) == (1, 2, 0.5)
