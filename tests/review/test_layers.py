"""Layers of ranks against circles merged one by one, and what they keep of what was said."""

from __future__ import annotations

import random
from itertools import combinations

from coig_p.review.layers import find_layers
from coig_p.review.majority import majority

Name = tuple[str, int, str]


def slow(relations: list[tuple[Name, Name, float]]) -> tuple[dict[Name, int], set[tuple[Name, Name]]]:
    """Ranks, and pairs joined by a path, by merging circle after circle in a graph of sets."""
    groups = [{name} for name in {name for one, other, _ in relations for name in (one, other)}]
    edges = {(one, other) for one, other, said in relations if said >= 0.5}
    edges |= {(other, one) for one, other, said in relations if said <= 0.5}

    def beats(left: set[Name], right: set[Name]) -> bool:
        return left is not right and any((one, other) in edges for one in left for other in right)

    def reach(start: set[Name]) -> list[set[Name]]:
        seen: list[set[Name]] = []
        waiting = [start]
        while waiting:
            at = waiting.pop()
            for group in groups:
                if beats(at, group) and group not in seen:
                    seen.append(group)
                    waiting.append(group)
        return seen

    while circle := next(
        ((one, two) for one, two in combinations(groups, 2) if two in reach(one) and one in reach(two)), None
    ):
        groups = [group for group in groups if group not in circle] + [circle[0] | circle[1]]

    def rank(group: set[Name]) -> int:
        return max((rank(other) + 1 for other in groups if beats(other, group)), default=0)

    ranks = {name: rank(group) for group in groups for name in group}
    joined = {(one, other) for group in groups for below in reach(group) for one in group for other in below}
    return ranks, joined


def test_layers_are_those_of_circles_merged_one_by_one() -> None:
    rng = random.Random(1)
    conflicts = 0
    for _ in range(300):
        names = [(f"m{at}", 0, "") for at in range(rng.randint(2, 6))]
        pairs = rng.sample(list(combinations(names, 2)), rng.randint(1, len(names) * (len(names) - 1) // 2))
        relations = [(*pair, rng.choice([0.0, 0.5, 1.0])) for pair in pairs]
        found = find_layers(relations)
        ranks, joined = slow(relations)
        assert found.ranks == ranks
        assert set(found.better) == joined
        kept = sum(
            ranks[one] == ranks[other]
            if said == 0.5
            else ranks[one] < ranks[other]
            if said == 1
            else ranks[other] < ranks[one]
            for one, other, said in relations
        )
        assert (found.kept, found.relations) == (kept, len(relations))
        conflicts += kept < len(relations)
    assert 50 < conflicts < 300


def test_a_circle_is_one_rank_and_without_a_path_there_is_no_pair() -> None:
    a, b, c, d = (("a", 0, ""), ("b", 0, ""), ("c", 0, ""), ("d", 0, ""))
    assert find_layers([(a, b, 1), (b, c, 1), (a, c, 0)]).ranks == {a: 0, b: 0, c: 0}
    found = find_layers([(a, b, 1), (c, d, 1)])
    assert found.ranks == {a: 0, b: 1, c: 0, d: 1}
    assert found.better == ((a, b), (c, d))  # a above d is of another component


def test_a_majority_is_more_than_half() -> None:
    assert majority([1, 1, 0]) == 1
    assert majority([1, 0]) is None
    assert majority([1, None, None]) == 1
    assert majority([1, 0.5, 0]) is None
    assert majority([]) is None
    assert majority([True, True, False, None]) is True
