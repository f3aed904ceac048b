"""One call for threads, processes and none: the same results in the same order, no item taken long before its turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from coig_p.engine.local import WORKERS, in_order


@pytest.mark.parametrize("processes", [None, 1, 2])
def test_results_come_in_the_order_of_their_items(processes: int | None) -> None:
    assert list(in_order(abs, range(-9, 3), processes)) == [(at, abs(at)) for at in range(-9, 3)]


@pytest.mark.parametrize(("processes", "ahead"), [(None, WORKERS + 1), (1, 1)])
def test_few_items_are_taken_before_their_turn(processes: int | None, ahead: int) -> None:
    taken = []

    def items() -> Iterator[int]:
        for at in range(20):
            taken.append(at)
            yield at

    for given, _ in in_order(abs, items(), processes):
        assert len(taken) <= given + ahead


@pytest.mark.parametrize("processes", [None, 1, 2])
def test_an_error_is_raised_where_its_item_is_due(processes: int | None) -> None:
    items: list[Any] = ["a", "bc", 3, "d"]
    results = in_order(len, items, processes)
    assert [next(results), next(results)] == [("a", 1), ("bc", 2)]
    with pytest.raises(TypeError, match="len"):
        next(results)
