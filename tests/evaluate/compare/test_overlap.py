"""What overlaps: beside a slow way that compares every query with every other."""

from __future__ import annotations

import itertools
from pathlib import Path

from compared import scored
from hypothesis import given
from hypothesis import strategies as st

from coig_p.dedup.clusters import Queries
from coig_p.dedup.queries import DedupConfig
from coig_p.evaluate.compare.opening import open_stores
from coig_p.evaluate.compare.overlap import overlap, overlaps

_TEXT = st.text("甲乙丙", min_size=1, max_size=9)
_ASKED = st.lists(st.tuples(_TEXT, st.sampled_from(["", "tools"])), min_size=1, max_size=12)


def queries(asked: list[tuple[str, str]], prefix: str) -> Queries:
    number = len(asked)
    forms, settings = (list(part) for part in zip(*asked, strict=True))
    ids = [f"{prefix}{at}" for at in range(number)]
    return Queries(ids, ["chat"] * number, forms, [0] * number, 0, settings, [""] * number)


def grams(text: str, n: int) -> set[str]:
    return {text[at : at + n] for at in range(len(text) - n + 1)} or {text}


def slow(own: list[tuple[str, str]], other: list[tuple[str, str]], config: DedupConfig) -> tuple[int, int]:
    """Shared, and near: those from which similar queries lead to one of the other store's."""
    every = own + other
    alike = {at: {at} for at in range(len(every))}
    for one, another in itertools.combinations(range(len(every)), 2):
        (text, setting), (beside, its) = every[one], every[another]
        a, b = grams(text, config.n), grams(beside, config.n)
        if setting == its and (text == beside or len(a & b) / len(a | b) >= config.threshold):
            alike[one].add(another)
            alike[another].add(one)
    reached = set(range(len(own), len(every)))
    while more := {at for at in range(len(every)) if at not in reached and alike[at] & reached}:
        reached |= more
    return sum(one in other for one in own), len(reached) - len(other)


@given(_ASKED, _ASKED)
def test_overlap_is_that_of_the_slow_way(own: list[tuple[str, str]], other: list[tuple[str, str]]) -> None:
    found = overlap(queries(own, "q"), queries(other, "q"))
    assert found == slow(own, other, DedupConfig())


def test_ids_that_look_like_another_stores_change_nothing() -> None:
    own, other = [("甲乙丙丁", ""), ("子丑寅卯", "")], [("甲乙丙丁", "")]
    assert overlap(queries(own, ":"), queries(other, "::")) == overlap(queries(own, "q"), queries(other, "q")) == (1, 1)


def test_every_two_stores_in_either_order(tmp_path: Path) -> None:
    stores = [scored(tmp_path / name, at, queries=at + 3) for at, name in enumerate("abc")]
    told: list[int] = []
    found = {(at, beside): numbers for at, beside, *numbers in overlaps(open_stores(stores), told.append)}
    assert set(found) == set(itertools.permutations(range(3), 2))
    assert found[0, 1] == [6, 6]
    assert found[1, 0] == [6, 6]
    assert sum(told) == 3
