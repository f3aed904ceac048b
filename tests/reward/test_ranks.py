"""Ranks and pairs of random relations equal a slow oracle that merges cycles one by one."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coig_p.errors import UsageError
from coig_p.reward.bench.ranks import Ranked, Relation, rank, relations_of, ring_triples

Edges = set[tuple[frozenset[int], frozenset[int]]]


def a_cycle(groups: set[frozenset[int]], edges: Edges) -> list[frozenset[int]] | None:
    """Groups on a cycle, found by walking along edges from each."""
    for start in groups:
        paths = [[start]]
        while paths:
            path = paths.pop()
            for one, other in edges:
                if one == path[-1] and other == start:
                    return path
                if one == path[-1] and other not in path:
                    paths.append([*path, other])
    return None


def merged_one_by_one(responses: int, relations: list[Relation]) -> tuple[set[frozenset[int]], Edges]:
    """Groups and edges once no cycle is left: while there is one, its members become one group."""
    groups = {frozenset([place]) for place in range(responses)}
    said = [(one.better, one.worse) for one in relations]
    said += [(one.worse, one.better) for one in relations if one.tie]
    while True:
        of = {place: group for group in groups for place in group}
        edges = {(of[better], of[worse]) for better, worse in said if of[better] != of[worse]}  # no edge to itself
        cycle = a_cycle(groups, edges)
        if cycle is None:
            return groups, edges
        groups = (groups - set(cycle)) | {frozenset().union(*cycle)}


def joined(edges: Edges, one: frozenset[int], other: frozenset[int]) -> bool:
    return any(start == one and (end == other or joined(edges, end, other)) for start, end in edges)


def longest(edges: Edges, group: frozenset[int]) -> int:
    return max((longest(edges, one) + 1 for one, other in edges if other == group), default=0)


def slow(responses: int, relations: list[Relation]) -> Ranked:
    groups, edges = merged_one_by_one(responses, relations)
    of = {place: group for group in groups for place in group}
    places = range(responses)
    pairs = [(a, b) for a in places for b in places if joined(edges, of[a], of[b])]
    kept = sum(of[one.better] == of[one.worse] if one.tie else (one.better, one.worse) in pairs for one in relations)
    return Ranked(tuple(longest(edges, of[place]) for place in places), tuple(pairs), len(relations), kept)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, list[Relation]]:
    responses = draw(st.integers(2, 6))
    places = st.integers(0, responses - 1)
    both = st.tuples(places, places).filter(lambda pair: pair[0] != pair[1])
    said = draw(st.lists(st.tuples(both, st.booleans() | st.just(False)), max_size=8))
    return responses, [Relation(*pair, tie=tie) for pair, tie in said]


@given(graph=graphs())
def test_ranks_and_pairs_equal_the_slow_way(graph: tuple[int, list[Relation]]) -> None:
    responses, relations = graph
    found = rank(responses, relations)
    assert found == slow(responses, relations)
    assert all(found.ranks[better] < found.ranks[worse] for better, worse in found.pairs)


def test_four_hundred_random_graphs_of_five() -> None:
    rng = random.Random(0)
    cycles = 0
    for _ in range(400):
        relations = []
        for _ in range(rng.randint(0, 10)):
            better, worse = rng.sample(range(5), 2)
            relations.append(Relation(better, worse, tie=rng.random() < 0.15))
        found = rank(5, relations)
        assert found == slow(5, relations)
        cycles += found.conflict_rate not in (None, 0.0)
    assert 50 < cycles < 350  # both kinds are among them


def test_a_cycle_is_one_level_and_its_relations_do_not_hold() -> None:
    #  0 > 1 > 2 > 0, all above 3; 4 is tied with 3
    said = [Relation(0, 1), Relation(1, 2), Relation(2, 0), Relation(1, 3), Relation(3, 4, tie=True)]
    found = rank(5, said)
    assert found.ranks == (0, 0, 0, 1, 1)
    assert found.pairs == ((0, 3), (0, 4), (1, 3), (1, 4), (2, 3), (2, 4))
    assert (found.relations, found.kept, found.conflict_rate) == (5, 2, 3 / 5)
    assert found.implied


def test_what_no_path_joins_is_no_pair_though_ranks_order_it() -> None:
    found = rank(4, [Relation(0, 1), Relation(1, 2), Relation(0, 3)])
    assert found.ranks == (0, 1, 2, 1)
    assert (3, 2) not in found.pairs
    assert found.ranks[3] < found.ranks[2]
    assert not found.implied


def test_a_relation_said_twice_counts_twice() -> None:
    found = rank(2, [Relation(0, 1), Relation(0, 1), Relation(1, 0)])
    assert (found.ranks, found.pairs, found.conflict_rate) == ((0, 0), (), 1.0)
    assert rank(3, []).conflict_rate is None
    assert rank(3, []).ranks == (0, 0, 0)


@pytest.mark.parametrize("relation", [Relation(1, 1), Relation(0, 3), Relation(-1, 0)])
def test_a_relation_with_itself_or_with_none(relation: Relation) -> None:
    with pytest.raises(UsageError, match="of 3"):
        rank(3, [relation])


def test_five_triples_of_neighbours_hold_all_ten_pairs_five_of_them_twice() -> None:
    triples = ring_triples(5)
    met = [frozenset(pair) for triple in triples for pair in itertools.combinations(triple, 2)]
    times = {pair: met.count(pair) for pair in set(met)}
    assert len(triples) == 5
    assert len(times) == 10
    assert sorted(times.values()) == [1] * 5 + [2] * 5
    assert {sum(place in triple for triple in triples) for place in range(5)} == {3}
    assert ring_triples(3) == [(0, 1, 2)]
    assert len({frozenset(pair) for one in ring_triples(4) for pair in itertools.combinations(one, 2)}) == 6
    for wrong in (2, 6):
        with pytest.raises(UsageError, match="triples of neighbours take 3 to 5"):
            ring_triples(wrong)


def ranked_by(strength: list[int], triples: list[tuple[int, int, int]]) -> list[Relation]:
    """What somebody says who ranks each triple by strength, equal ones tied."""
    found = []
    for triple in triples:
        levels = [[at for at in triple if strength[at] == one] for one in sorted({strength[at] for at in triple})]
        found += relations_of(levels)
    return found


@pytest.mark.parametrize("missing", [None, 0, 1, 2, 3, 4])
def test_triples_of_five_give_the_order_and_with_one_missing_only_what_a_path_joins(missing: int | None) -> None:
    triples = [triple for at, triple in enumerate(ring_triples(5)) if at != missing]
    lost = 0
    for strength in itertools.product(range(3), repeat=5):
        relations = ranked_by(list(strength), triples)
        found = rank(5, relations)
        assert found == slow(5, relations)
        assert found.conflict_rate == 0
        true = {(a, b) for a in range(5) for b in range(5) if strength[a] < strength[b]}
        assert set(found.pairs) <= true
        lost += len(true) - len(found.pairs)
        if missing is None:
            dense = sorted(set(strength))
            assert found.ranks == tuple(dense.index(one) for one in strength)
            assert set(found.pairs) == true
            assert found.implied
    assert (lost == 0) == (missing is None)


def test_relations_of_a_ranking() -> None:
    assert relations_of([[2], [0, 1]]) == [Relation(2, 0), Relation(2, 1), Relation(0, 1, tie=True)]
    assert len(relations_of([[0, 1, 2]])) == 3
    assert relations_of([[0]]) == []
