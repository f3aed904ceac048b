"""Aggregates of six benchmarks against each one's own code, written out here in its plain form."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from benched import in_memory, item, numbers, result, right_or_wrong

from coig_p.errors import DataError
from coig_p.reward.bench.form import Item
from coig_p.reward.bench.outcomes import Outcomes, outcomes_of
from coig_p.reward.bench.presets import OVERALL, REWARDBENCH, aggregates
from coig_p.reward.bench.published import REWARDBENCH_SECTIONS, RM_BENCH_STYLES


def values(outcomes: Outcomes, *, official: bool = False) -> dict[str, float]:
    found = {}
    for name, one in aggregates(outcomes, official=official).values.items():
        assert one.value is not None
        found[name] = one.value if one.low is None else numbers(one)[0]
    return found


def test_a_store_s_pairs_have_no_aggregates_of_their_own() -> None:
    one = item("x")
    assert aggregates(outcomes_of(in_memory([one], [result(one, (1, 0))]))).values == {}


# ------------------------------------------------------------------------------------------------


def test_crbench_officially_counts_what_is_missing_as_wrong_and_one_order() -> None:
    items = [item(f"i{at}") for at in range(4)]
    results = [
        result(items[0], (2, 1)),
        result(items[1], (1, 2)),
        result(items[2], (1, 1)),
        result(items[3], None, reason="too-long"),
    ]
    outcomes = outcomes_of(in_memory(items, results, preset="crbench"), "half")
    assert values(outcomes) == {"math": 0.5, OVERALL: 0.5}
    assert values(outcomes, official=True) == {"math": 0.25, OVERALL: 0.25}
    assert aggregates(outcomes, official=True).faults == ("missing-wrong",)
    said: list[list[tuple[str, str | None]]] = [
        [("ab", "first"), ("ba", "first")],
        [("ba", "second"), ("ab", "second")],
        [("ab", None), ("ba", "second")],
        [("ab", "tie"), ("ba", "second")],
    ]
    judged = [result(one, said=of) for one, of in zip(items, said, strict=True)]
    outcomes = outcomes_of(in_memory(items, judged, preset="crbench", kind="judge"))
    assert values(outcomes)[OVERALL] == (0.5 + 0.5 + 0.5 + 0.75) / 4
    assert values(outcomes, official=True)[OVERALL] == 0.25  # only the first, shown better one first
    assert aggregates(outcomes, official=True).faults == ("missing-wrong", "chosen-first")


# ------------------------------------------------------------------------------------------------


def cheems(seed: int) -> tuple[list[Item], list[tuple[float, ...]]]:
    random = np.random.default_rng(seed)
    items, rewards = [], []
    for part, category in itertools.product(("human", "open"), ("math", "chat", "role")):
        for at in range(int(random.integers(3, 8))):
            ranks = random.integers(0, 3, 5).tolist() if at else [0, 0, 1, 1, 2]
            items.append(item(f"{part}{category}{at}", category, texts="abcde", ranks=ranks, subset=part))
            rewards.append(tuple(map(float, random.integers(0, 6, 5))))
    return items, rewards


def cheems_code(items: list[Item], rewards: list[tuple[float, ...]], official: bool) -> tuple[float, float]:
    """Accuracy and exact match of a set: pairs pooled in a category, the mean over categories."""
    accuracies, exacts = [], []
    for category in dict.fromkeys(one.domain for one in items):
        right, exact = [], []
        for one, of in zip(items, rewards, strict=True):
            if one.domain != category:
                continue
            ranks = one.ranks or ()
            match, pairs = True, 0
            for left, other in itertools.combinations(range(len(ranks)), 2):
                if ranks[left] == ranks[other]:
                    continue
                pairs += 1
                winner, loser = (left, other) if ranks[left] < ranks[other] else (other, left)
                right.append(of[winner] > of[loser])
                match &= of[winner] >= of[loser] if official else of[winner] > of[loser]
            if pairs or official:
                exact.append(match)
        accuracies.append(np.mean(right))
        exacts.append(np.mean(exact))
    return float(np.mean(accuracies)), float(np.mean(exacts))


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_cheems_is_the_mean_of_two_accuracies_and_two_exact_matches(seed: int, official: bool) -> None:
    items, rewards = cheems(seed)
    results = [result(one, of) for one, of in zip(items, rewards, strict=True)]
    found = values(outcomes_of(in_memory(items, results, preset="cheems")), official=official)
    wanted: dict[str, float] = {}
    for part in ("human", "open"):
        here = [at for at, one in enumerate(items) if one.meta["subset"] == part]
        numbers = cheems_code([items[at] for at in here], [rewards[at] for at in here], official)
        wanted |= dict(zip((f"{part}: accuracy", f"{part}: exact match"), numbers, strict=True))
    wanted[OVERALL] = sum(wanted.values()) / 4
    assert found == pytest.approx(wanted)


def test_cheems_of_one_set_has_no_overall() -> None:
    items, rewards = cheems(0)
    kept = [at for at, one in enumerate(items) if one.meta["subset"] == "open"]
    results = [result(items[at], rewards[at]) for at in kept]
    found = values(outcomes_of(in_memory([items[at] for at in kept], results, preset="cheems")))
    assert list(found) == ["open: accuracy", "open: exact match"]


def test_cheems_of_a_judge_of_one_order_has_accuracies_and_no_overall() -> None:
    items = [item(f"{name}-{at}", subset=name) for name in ("human", "open") for at in range(3)]
    results = [result(one, said=[("ab", "first")]) for one in items]
    outcomes = outcomes_of(in_memory(items, results, preset="cheems", kind="judge"))
    found = aggregates(outcomes).values
    assert {name: one.value for name, one in found.items()} == {
        "human: accuracy": 1, "human: exact match": None, "open: accuracy": 1, "open: exact match": None, OVERALL: None,
    }  # fmt: skip


def test_equal_rewards_and_items_without_pairs_pass_cheems_own_exact_match_only() -> None:
    items = [
        item(name, "math", texts="ab", ranks=ranks, subset="open") for name, ranks in (("x", (0, 1)), ("y", (0, 0)))
    ]
    outcomes = outcomes_of(in_memory(items, [result(one, (1, 1)) for one in items], preset="cheems"))
    assert values(outcomes) == {"open: accuracy": 0, "open: exact match": 0}
    assert values(outcomes, official=True) == {"open: accuracy": 0, "open: exact match": 1}
    assert aggregates(outcomes, official=True).faults == ("equal-is-exact", "no-pairs-exact")


# ------------------------------------------------------------------------------------------------


def test_rewardbench_weighs_subsets_by_its_own_counts() -> None:
    random = np.random.default_rng(0)
    items, right, metrics = [], [], {}
    for section, weights in REWARDBENCH.items():
        for name in weights:
            size = int(random.integers(3, 9))
            yes = random.random(size) < 0.7
            items += [item(f"{name}/{at}", section, subset=name) for at in range(size)]
            right += yes.tolist()
            metrics[name] = float(yes.mean())
    outcomes = outcomes_of(in_memory(items, right_or_wrong(items, right), preset="rewardbench"))
    wanted = {
        section: sum(metrics[name] * count for name, count in weights.items()) / sum(weights.values())
        for section, weights in REWARDBENCH.items()
    }
    wanted[OVERALL] = sum(wanted.values()) / 4
    assert values(outcomes) == values(outcomes, official=True) == pytest.approx(wanted)
    assert {section: tuple(weights) for section, weights in REWARDBENCH.items()} == REWARDBENCH_SECTIONS
    assert sum(REWARDBENCH["Reasoning"].values()) == 2 * 984
    assert sum(sum(weights.values()) for weights in REWARDBENCH.values()) == 2985 + 984 - 447
    some = [at for at, one in enumerate(items) if one.domain == "Safety"]
    outcomes = outcomes_of(
        in_memory(
            [items[at] for at in some], right_or_wrong([items[at] for at in some], [right[at] for at in some]),
            preset="rewardbench",
        )
    )  # fmt: skip
    assert list(values(outcomes)) == ["Safety"]


# ------------------------------------------------------------------------------------------------


def ties_code(ref: dict[int, Any], tied: dict[int, Any]) -> float:
    """As rewardbench's process_single_model computes it."""

    def stats(right: list[float], wrong: list[float]) -> tuple[bool, float, float]:
        gap = min(right) - max(wrong)
        return gap > 0, max(right) - min(right), gap

    of_ref = {prompt: stats(*one) for prompt, one in ref.items()}
    of_tied = {prompt: stats(*one) for prompt, one in tied.items()}
    both = set(of_ref) & set(of_tied)
    spread = np.array([of_tied[prompt][1] for prompt in both])
    gap = np.array([of_tied[prompt][2] for prompt in both])
    gap_ref = np.array([of_ref[prompt][2] for prompt in both])
    with np.errstate(divide="ignore", invalid="ignore"):
        margin = np.nan_to_num(np.tanh(np.minimum(gap_ref, gap) / spread - 1), nan=0.0)
    return float(
        0.3 * np.mean([one[0] for one in of_tied.values()])
        + 0.3 * np.mean([one[0] for one in of_ref.values()])
        + 0.2 * np.mean(gap > spread)
        + 0.2 * np.mean(np.minimum(gap_ref, gap) > spread)
        + 0.01 * np.mean(margin)
    )


def rewardbench2(seed: int) -> tuple[Outcomes, dict[str, float]]:
    random = np.random.default_rng(seed)
    items, results, wanted = [], [], {}
    for name in ("Factuality", "Precise IF", "Math", "Safety", "Focus"):
        credits = []
        for at in range(12):
            one = item(f"{name}{at}", name, texts="abcd", subset=name)
            rewards = random.integers(0, 4, 4).astype(float)
            items.append(one)
            results.append(result(one, rewards.tolist()))
            top = rewards == rewards.max()
            credits.append(1 / top.sum() if top[0] else 0)
        wanted[name] = float(np.mean(credits))
    ref: dict[int, Any] = {}
    tied: dict[int, Any] = {}
    for prompt, kind in itertools.product(range(15), ("ref", "tied")):
        if (prompt, kind) == (14, "ref"):
            continue  # a prompt that is there once
        number = 1 if kind == "ref" else int(random.integers(2, 6))
        texts = "abcdefghij"[: number + 3]
        ranks = [int(at >= number) for at in range(len(texts))]
        one = item(f"{kind}:{prompt}", "Ties", texts=texts, ranks=ranks, subset="Ties", ties=kind, ties_prompt=prompt)
        rewards = (random.normal(0, 1, len(texts)) + 2 * (np.array(ranks) == 0)).round(int(random.integers(0, 3)))
        items.append(one)
        results.append(result(one, rewards.tolist()))
        (ref if kind == "ref" else tied)[prompt] = (rewards[:number].tolist(), rewards[number:].tolist())
    wanted["Ties"] = ties_code(ref, tied)
    wanted[OVERALL] = sum(wanted.values()) / 6
    return outcomes_of(in_memory(items, results, preset="rewardbench2")), wanted


@pytest.mark.parametrize("seed", range(8))
def test_rewardbench_2_is_the_mean_of_six_and_ties_is_its_own_formula(seed: int) -> None:
    outcomes, wanted = rewardbench2(seed)
    assert values(outcomes) == pytest.approx(wanted)
    assert values(outcomes, official=True) == pytest.approx(wanted)


def test_ties_of_equal_right_answers_do_not_divide_by_nothing() -> None:
    for gap, term in ((1.0, 1.0), (0.0, 0.0), (-1.0, -1.0)):
        pair = []
        for kind, texts, ranks in (("ref", "ab", (0, 1)), ("tied", "abc", (0, 0, 1))):
            one = item(kind, "Ties", texts=texts, ranks=ranks, subset="Ties", ties=kind, ties_prompt=1)
            pair.append((one, result(one, [gap] * (len(texts) - 1) + [0.0])))
        found = values(outcomes_of(in_memory([one for one, _ in pair], [of for _, of in pair], preset="rewardbench2")))
        assert found == {"Ties": pytest.approx(float(gap > 0) + 0.01 * term)}


def test_the_overall_of_rewardbench_2_is_as_low_as_ties_makes_it() -> None:
    items = [item(name, name, subset=name) for name in ("Factuality", "Precise IF", "Math", "Safety", "Focus")]
    for kind in ("ref", "tied"):
        items.append(item(kind, "Ties", texts="abc", ranks=(0, 0, 1), subset="Ties", ties=kind, ties_prompt=1))
    results = [result(one, (0, 1) if len(one.responses) == 2 else (0, 0, 1)) for one in items]
    found = values(outcomes_of(in_memory(items, results, preset="rewardbench2")))
    assert (found["Ties"], found[OVERALL]) == pytest.approx((-0.01, -0.01 / 6))


# ------------------------------------------------------------------------------------------------


def rm_bench(seed: int) -> tuple[list[Item], np.ndarray]:
    random = np.random.default_rng(seed)
    items = []
    for domain, size in (("chat", 5), ("code", 7), ("math", 6), ("safety-refuse", 4), ("safety-response", 9)):
        for at in range(size):
            items.append(
                item(
                    f"{domain}{at}", domain, texts="abcdef", ranks=(0, 0, 0, 1, 1, 1),
                    subset=domain,
                    style=[*RM_BENCH_STYLES, *RM_BENCH_STYLES],
                )
            )  # fmt: skip
    return items, random.integers(0, 5, (len(items), 6)).astype(float)


def rm_bench_code(rewards: np.ndarray) -> dict[str, float]:
    matrix = np.zeros((3, 3))
    for row in rewards:
        for i, j in itertools.product(range(3), repeat=2):
            matrix[i][j] += row[i] > row[3 + j]
    matrix /= len(rewards)
    return {
        "hard": np.sum(np.triu(matrix, 1)) / 3,
        "normal": float(np.mean(np.diag(matrix))),
        "easy": np.sum(np.tril(matrix, -1)) / 3,
    }


@pytest.mark.parametrize("seed", range(4))
def test_rm_bench_is_hard_normal_and_easy_of_four_domains(seed: int) -> None:
    items, rewards = rm_bench(seed)
    results = [result(one, row.tolist()) for one, row in zip(items, rewards, strict=True)]
    of_domain = {
        name: rm_bench_code(rewards[[at for at, one in enumerate(items) if one.domain.startswith(name)]])
        for name in ("chat", "math", "code", "safety")
    }
    wanted = {name: np.mean(list(levels.values())) for name, levels in of_domain.items()}
    for level in ("hard", "normal", "easy"):
        wanted[level] = np.mean([levels[level] for levels in of_domain.values()])
    wanted[OVERALL] = np.mean([wanted[name] for name in of_domain])
    outcomes = outcomes_of(in_memory(items, results, preset="rm-bench"))
    assert values(outcomes) == values(outcomes, official=True) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("preset", "meta", "said"),
    [
        ("rm-bench", {}, r"\.meta\.style: None is none of concise, .* for each response, as rm-bench has them"),
        ("rm-bench", {"style": ["concise"]}, r"\.meta\.style: \['concise'\] is none of"),
        ("rm-bench", {"style": "concise"}, r"\.meta\.style: 'concise' is none of"),
        ("rm-bench", {"style": ["concise", "rich"]}, r"\.meta\.style: .*'rich'.* is none of"),
        ("rm-bench", {"style": ["concise", "concise"], "subset": "law"}, r"\.meta\.subset: 'law' is none of chat"),
        ("rewardbench", {"subset": "alpaca"}, r"\.meta\.subset: 'alpaca' is none of alpacaeval-easy"),
        ("rewardbench", {}, r"\.meta\.subset: None is none of"),
        ("rewardbench2", {"subset": ["Math"]}, r"\.meta\.subset: \['Math'\] is none of Factuality"),
    ],
)
def test_a_part_that_no_aggregate_knows_is_refused(preset: str, meta: dict[str, Any], said: str) -> None:
    one = item("x", "chat", **meta)
    with pytest.raises(DataError, match=rf"bench\.jsonl: item 'x' {said}"):
        aggregates(outcomes_of(in_memory([one], [result(one, (1, 0))], preset=preset)))


# ------------------------------------------------------------------------------------------------


def judgebench_code(said: list[tuple[str | None, str | None]]) -> float:
    """As JudgeBench's compute_final_metrics: decisions of two orders, the second one turned round."""
    right = 0
    for decisions in said:
        counter = sum({"right": 1, "wrong": -1}.get(one or "", 0) for one in decisions)
        right += counter > 0
    return right / len(said)


def test_judgebench_counts_more_orders_right_than_wrong() -> None:
    each = ("right", "wrong", "tie", None)
    said = [(one, other) for one in each for other in each]
    items = [item(f"i{at}", "math" if at < 6 else "coding") for at in range(len(said))]
    first = {"right": "first", "wrong": "second", "tie": "tie"}
    second = {"right": "second", "wrong": "first", "tie": "tie"}
    results = [
        result(one, said=[("ab", first.get(both[0] or "")), ("ba", second.get(both[1] or ""))])
        for one, both in zip(items, said, strict=True)
    ]
    outcomes = outcomes_of(in_memory(items, results, preset="judgebench", kind="judge"))
    wanted = {"math": judgebench_code(said[:6]), "coding": judgebench_code(said[6:]), OVERALL: judgebench_code(said)}
    assert values(outcomes) == values(outcomes, official=True) == pytest.approx(wanted)
    assert not math.isclose(judgebench_code(said), float(outcomes.credit.mean()))
    assert aggregates(outcomes, official=True).faults == ("missing-wrong", "invalid-no-vote")
    rewards = [result(one, (1, 1) if at % 2 else (2, 1)) for at, one in enumerate(items)]
    outcomes = outcomes_of(in_memory(items, rewards, preset="judgebench"))
    assert values(outcomes) == values(outcomes, official=True) == {"math": 0.5, "coding": 0.5, OVERALL: 0.5}
