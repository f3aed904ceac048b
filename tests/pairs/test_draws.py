"""Pairs that are drawn: as many as there may be, in their order, uniformly, whatever else is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import oracle_pairs
from pairing import (
    OPTIONS,
    OPTIONS_WITH_DRAWS,
    by_query,
    four_answers,
    kernel_pairs,
    model_pairs,
    query,
    response,
)
from strategies import examples, raw_rows

Row = dict[str, Any]


def drawn_and_undrawn(rows: list[Row], options: Row, limit: int | None) -> tuple[list[Row], list[Row], int | None]:
    """What the kernel drew, what it drew from, and how many pairs a query it may draw."""
    drawn = kernel_pairs(rows, **options, max_pairs_per_query=limit)
    most = 1 if options.get("strategy") == "best_random" else limit
    return drawn, oracle_pairs(rows, **{name: value for name, value in options.items() if name != "seed"}), most


@examples(120)
@given(rows=raw_rows(), options=OPTIONS_WITH_DRAWS, limit=st.none() | st.integers(1, 16), seed=st.integers(-3, 2**70))
def test_a_draw_takes_as_many_pairs_as_it_may_and_keeps_their_order(
    rows: list[Row], options: Row, limit: int | None, seed: int
) -> None:
    drawn, undrawn, most = drawn_and_undrawn(rows, options | {"seed": seed}, limit)
    available = by_query(undrawn)
    remaining: Iterator[Row] = iter(undrawn)
    assert all(pair in remaining for pair in drawn)  # `in` uses the iterator up: a subset in the same order
    expected = {name: len(group) if most is None else min(most, len(group)) for name, group in available.items()}
    assert {name: len(group) for name, group in by_query(drawn).items()} == expected


@pytest.mark.parametrize("limit", range(1, 8))
def test_queries_with_more_and_with_fewer_pairs_than_the_limit(limit: int) -> None:
    rows = four_answers(20)
    for number in range(0, 20, 2):
        rows[number]["responses"] = rows[number]["responses"][: 1 + number % 3]
    drawn, undrawn, _ = drawn_and_undrawn(rows, {"threshold": 1}, limit)
    assert {len(group) for group in by_query(undrawn).values()} == {1, 3, 6}
    remaining = iter(undrawn)
    assert all(pair in remaining for pair in drawn)
    expected = {name: min(limit, len(group)) for name, group in by_query(undrawn).items()}
    assert {name: len(group) for name, group in by_query(drawn).items()} == expected


@examples(60)
@given(rows=raw_rows(), options=OPTIONS, limit=st.integers(1, 3), seed=st.integers(0, 9))
def test_best_random_takes_the_best_response_against_a_valid_one(
    rows: list[Row], options: Row, limit: int, seed: int
) -> None:
    options |= {"strategy": "best_random", "seed": seed}
    assert kernel_pairs(rows, **options) == kernel_pairs(rows, **options, max_pairs_per_query=limit)


@examples(150)
@given(data=st.data(), rows=raw_rows(), options=OPTIONS_WITH_DRAWS, limit=st.none() | st.integers(1, 3))
def test_the_order_of_responses_changes_no_pair(
    data: st.DataObject, rows: list[Row], options: Row, limit: int | None
) -> None:
    reordered = []
    for row in rows:
        order = data.draw(st.permutations(range(len(row["responses"]))))
        moved = {old: new for new, old in enumerate(order)}
        comparisons = row["comparisons"] and [
            entry | {"first": moved[entry["first"]], "second": moved[entry["second"]]} for entry in row["comparisons"]
        ]
        reordered.append(row | {"responses": [row["responses"][old] for old in order], "comparisons": comparisons})
    options["max_pairs_per_query"] = limit
    assert model_pairs(kernel_pairs(reordered, **options)) == model_pairs(kernel_pairs(rows, **options))


DRAWS = [{"strategy": "best_random"}, {"max_pairs_per_query": 1}, {"max_pairs_per_query": 4}]


@pytest.mark.parametrize("options", DRAWS)
def test_another_seed_draws_other_pairs(options: Row) -> None:
    rows = four_answers(200)
    drawn = {seed: model_pairs(kernel_pairs(rows, threshold=1, seed=seed, **options)) for seed in (0, 1, 2, -1, 2**64)}
    for one, two in combinations(drawn, 2):
        assert len(drawn[one] - drawn[two]) > 20
    assert kernel_pairs(rows, threshold=1, seed=1, **options) == kernel_pairs(rows, threshold=1, seed=1, **options)


@pytest.mark.parametrize("options", DRAWS)
def test_a_draw_does_not_depend_on_other_queries(options: Row) -> None:
    rows = four_answers(100)
    others = [query(response("0", 3), response("aa", 1), response("zz", 9), query_id=f"other{n}") for n in range(30)]
    alone = kernel_pairs(rows, threshold=1, seed=3, **options)
    among = kernel_pairs(others[:10] + rows[:50] + others[10:] + rows[50:], threshold=1, seed=3, **options)
    assert [pair for pair in among if not pair["query_id"].startswith("other")] == alone


def assert_uniform(counts: Counter[Any], outcomes: int) -> None:
    """Each of `outcomes` within five standard deviations of its share; the input is fixed, so never by chance."""
    total = counts.total()
    share = 1 / outcomes
    spread = 5 * (total * share * (1 - share)) ** 0.5
    assert len(counts) == outcomes
    assert all(abs(count - total * share) < spread for count in counts.values()), counts


QUERIES = 3000


@pytest.mark.parametrize(("prefix", "seed"), [("q", 0), ("查询/", 1), ("q", 12345)])
def test_draws_are_uniform_over_queries(prefix: str, seed: int) -> None:
    rows = four_answers(QUERIES, prefix)
    one = kernel_pairs(rows, threshold=1, seed=seed, max_pairs_per_query=1)
    assert len(one) == QUERIES
    assert_uniform(Counter(frozenset((pair["chosen_model"], pair["rejected_model"])) for pair in one), 6)
    assert_uniform(Counter((pair["chosen_score"], pair["rejected_score"]) for pair in one), 6)
    two = by_query(kernel_pairs(rows, threshold=1, seed=seed, max_pairs_per_query=2))
    taken = [frozenset((pair["chosen_score"], pair["rejected_score"]) for pair in group) for group in two.values()]
    assert_uniform(Counter(taken), 15)
    best = kernel_pairs(rows, threshold=1, seed=seed, strategy="best_random")
    assert {pair["chosen_score"] for pair in best} == {3.0}
    assert_uniform(Counter(pair["rejected_score"] for pair in best), 3)


def test_draws_of_two_seeds_are_independent() -> None:
    rows = four_answers(QUERIES)
    drawn = [kernel_pairs(rows, threshold=1, seed=seed, max_pairs_per_query=1) for seed in (0, 1)]
    ranks = [[(pair["chosen_score"], pair["rejected_score"]) for pair in found] for found in drawn]
    assert_uniform(Counter(zip(*ranks, strict=True)), 36)


def test_draws_of_neighbouring_queries_are_independent() -> None:
    found = kernel_pairs(four_answers(QUERIES), threshold=1, max_pairs_per_query=1)
    ranks = [(pair["chosen_score"], pair["rejected_score"]) for pair in found]
    assert_uniform(Counter(zip(ranks[::2], ranks[1::2], strict=True)), 36)
