"""Every step of a training: all pairs once an epoch, whatever the order of rows, and each response once a query."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coig_p.reward.steps import BATCHES, PAIR, QUERY, Forward, PairArrays, Step, split, steps_of

Query = tuple[str, list[int], list[tuple[int, int]]]
"""Its id, the lengths of its responses, and its pairs."""


@st.composite
def queries(draw: st.DrawFn) -> list[Query]:
    found = []
    for name in draw(st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=8, unique=True)):
        lengths = draw(st.lists(st.integers(1, 50), min_size=2, max_size=6))
        possible = [(one, other) for one in range(len(lengths)) for other in range(len(lengths)) if one != other]
        found.append((name, lengths, sorted(draw(st.sets(st.sampled_from(possible), min_size=1, max_size=9)))))
    return found


def arrays(of: list[Query]) -> PairArrays:
    query, chosen, rejected, lengths = [], [], [], []
    for number, (_, own, pairs) in enumerate(of):
        query += [number] * len(pairs)
        chosen += [len(lengths) + better for better, _ in pairs]
        rejected += [len(lengths) + worse for _, worse in pairs]
        lengths += own
    parts = (np.array(part, np.int64) for part in (query, chosen, rejected, lengths))
    return PairArrays(tuple(name for name, _, _ in of), *parts)


def named(of: list[Query], step: Step) -> list[list[tuple[str, int, int]]]:
    """The pairs of each forward pass, by their query and places in it."""
    begins = np.cumsum([0] + [len(lengths) for _, lengths, _ in of])

    def place(at: int) -> tuple[str, int]:
        number = int(np.searchsorted(begins, at, side="right")) - 1
        return of[number][0], at - int(begins[number])

    found = []
    for forward in step.forwards:
        sides = [forward.responses[side].tolist() for side in (forward.chosen, forward.rejected)]
        pairs = [(place(one), place(other)) for one, other in zip(*sides, strict=True)]
        assert all(one[0] == other[0] for one, other in pairs)
        found.append(sorted((one[0], one[1], other[1]) for one, other in pairs))
    return found


@pytest.mark.parametrize("batch", BATCHES)
@given(of=queries(), most=st.integers(1, 12), tokens=st.integers(1, 300), epoch=st.integers(0, 2))
def test_each_pair_comes_once_an_epoch(batch: str, of: list[Query], most: int, tokens: int, epoch: int) -> None:
    steps = steps_of(arrays(of), batch, most, tokens, 0, epoch)
    seen = [pair for step in steps for forward in named(of, step) for pair in forward]
    assert sorted(seen) == sorted((name, *pair) for name, _, pairs in of for pair in pairs)
    for step in steps:
        assert step.pairs == sum(len(forward.chosen) for forward in step.forwards)
        whole = {pair[0] for forward in named(of, step) for pair in forward}
        assert step.pairs <= most or (batch == QUERY and len(whole) == 1)
        assert sum(name in whole for name, _, _ in of) == len(whole)
    if batch == PAIR:
        assert all(step.pairs == most for step in steps[:-1])
    else:  # a step is as full as whole queries make it
        for one, other in pairwise(steps):
            sizes = Counter(pair[0] for forward in named(of, other) for pair in forward)
            assert one.pairs + max(sizes.values()) > most


@pytest.mark.parametrize("batch", BATCHES)
@given(of=queries(), most=st.integers(1, 12), tokens=st.integers(1, 300))
def test_a_forward_pass_has_its_tokens_and_shows_a_querys_response_once(
    batch: str, of: list[Query], most: int, tokens: int
) -> None:
    pairs = arrays(of)
    for step in steps_of(pairs, batch, most, tokens, 0, 0):
        for forward, shown in zip(step.forwards, named(of, step), strict=True):
            padded = int(pairs.lengths[forward.responses].max()) * len(forward.responses)
            alone = len(shown) == 1 if batch == PAIR else len({pair[0] for pair in shown}) == 1
            assert padded <= tokens or alone
            if batch == QUERY:
                assert len(set(forward.responses.tolist())) == len(forward.responses)
                used = {*forward.responses[forward.chosen].tolist(), *forward.responses[forward.rejected].tolist()}
                assert used == set(forward.responses.tolist())
            else:
                assert len(forward.responses) == 2 * len(forward.chosen)


@pytest.mark.parametrize("batch", BATCHES)
@given(of=queries(), data=st.data(), most=st.integers(1, 12))
def test_the_order_of_rows_changes_no_step(batch: str, of: list[Query], data: st.DataObject, most: int) -> None:
    other = data.draw(st.permutations(of))
    steps, again = (steps_of(arrays(one), batch, most, 100, 3, 0) for one in (of, other))
    told, told_again = (
        [sorted(pair for forward in named(rows, step) for pair in forward) for step in found]
        for rows, found in ((of, steps), (other, again))
    )
    assert told == told_again


def test_another_seed_and_another_epoch_are_another_order() -> None:
    of: list[Query] = [(f"q{at}", [5, 5], [(0, 1)]) for at in range(20)]
    orders = {
        tuple(named(of, step)[0][0][0] for step in steps_of(arrays(of), QUERY, 1, 10, seed, epoch))
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    }
    assert len(orders) == 3


@given(of=queries(), world=st.integers(1, 4))
def test_processes_share_a_step_and_each_has_as_many_passes(of: list[Query], world: int) -> None:
    for step in steps_of(arrays(of), QUERY, 8, 60, 0, 0):
        parts = split(step, world)
        assert len(parts) == world
        assert len({len(part) for part in parts}) == 1
        assert all(len(forward.responses) for part in parts for forward in part)
        key = lambda forward: (forward.responses.tolist(), forward.chosen.tolist())  # noqa: E731
        held: list[Forward] = [forward for part in parts for forward in part if len(forward.chosen)]
        assert sorted(map(key, held)) == sorted(map(key, step.forwards))
