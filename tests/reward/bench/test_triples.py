"""Rankings of three: every pair that follows of them, and those that contradict each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from commands import run
from hypothesis import given
from hypothesis import strategies as st
from make import make_rows, make_store
from pooled import answer_pool, ranking
from pools import Row, pooled
from strategies import examples

from coig_p.review.folder import open_review
from coig_p.reward.bench.building import build_bench
from coig_p.reward.bench.form import pairs_of, read_bench
from coig_p.reward.bench.judged import judged
from coig_p.store.store import Store


@pytest.fixture(scope="module")
def of_five(tmp_path_factory: pytest.TempPathFactory) -> Store:
    rows = make_rows({"math": 20}, seed=9)
    for at, row in enumerate(rows):
        row["responses"] = [
            {"model": f"m{number}", "text": f"回答{at}-{number}", "scores": []} for number in range(3 + at % 4)
        ]
    return Store.open(make_store(tmp_path_factory.mktemp("five") / "store", rows))


def of_one_mind(row: Any) -> Row:
    return {"ranking": [[side.side] for side in sorted(row.sides, key=lambda side: side.model)]}


def reaches(edges: set[tuple[str, str]], one: str, other: str) -> bool:
    seen, waiting = {one}, [one]
    while waiting:
        place = waiting.pop()
        for start, end in edges:
            if start == place and end not in seen:
                seen.add(end)
                waiting.append(end)
    return other in seen


@examples(15)
@given(data=st.data())
def test_pairs_of_triples_equal_paths(data: Any, of_five: Store, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("triples")
    pooled(of_five, folder / "pool", ("a",), form="triple", double=0)
    said: dict[str, list[list[list[str]]]] = {}

    def say(row: Any) -> Row | None:
        if data.draw(st.integers(0, 4)) == 0:
            return None
        sides = data.draw(st.permutations(["a", "b", "c"]))
        cut = data.draw(st.sampled_from([(1, 2), (1, 3), (2, 3), (3, 3)]))
        levels = [list(part) for part in (sides[: cut[0]], sides[cut[0] : cut[1]], sides[cut[1] :]) if part]
        names = {side.side: side.model for side in row.sides}
        said.setdefault(row.query_id, []).append([[names[side] for side in level] for level in levels])
        return {"ranking": levels}

    answer_pool(folder / "pool", say)
    wanted: dict[str, set[tuple[str, str]]] = {}
    relations = kept = 0
    for query_id, rankings in said.items():
        edges: set[tuple[str, str]] = set()
        told: list[tuple[str, str, bool]] = []
        for levels in rankings:
            for at, level in enumerate(levels):
                told += [(one, other, True) for place, one in enumerate(level) for other in level[place + 1 :]]
                told += [(one, other, False) for one in level for below in levels[at + 1 :] for other in below]
        for one, other, tied in told:
            edges |= {(one, other), (other, one)} if tied else {(one, other)}
        names = {name for edge in edges for name in edge}
        wanted[query_id] = {
            (one, other)
            for one in names
            for other in names
            if one != other and reaches(edges, one, other) and not reaches(edges, other, one)
        }
        relations += len(told)
        kept += sum(
            reaches(edges, other, one) if tied else (one, other) in wanted[query_id] for one, other, tied in told
        )
    wanted = {query_id: pairs for query_id, pairs in wanted.items() if pairs}
    found = judged(folder / "pool")
    assert (found.relations, found.kept) == (relations, kept)
    if not wanted:
        return
    build_bench(of_five, folder / "pool", folder / "bench")
    items = read_bench(folder / "bench").items
    assert {
        item.id: {(item.responses[better].id, item.responses[worse].id) for better, worse in pairs_of(item)}
        for item in items
    } == wanted


def test_five_triples_of_five_hold_all_ten_pairs(of_five: Store, tmp_path: Path) -> None:
    folder = pooled(of_five, tmp_path / "pool", ("a", "b"), form="triple", double=0)

    answer_pool(folder, of_one_mind)
    build_bench(of_five, folder, tmp_path / "bench")
    for item in read_bench(tmp_path / "bench").items:
        number = len(item.responses)
        assert number == min(5, 3 + int(item.id[-4:]) % 4)
        assert len(pairs_of(item)) == number * (number - 1) / 2
        assert item.pairs is None
        order = sorted(range(number), key=lambda at: item.responses[at].id)
        assert [item.ranks[at] for at in order] == list(range(number))  # type: ignore[index]
    assert judged(folder).conflict_rate == 0


def test_two_who_differ_on_a_triple_say_nothing_of_it_until_asked_again(of_five: Store, tmp_path: Path) -> None:
    folder = pooled(of_five, tmp_path / "pool", ("a", "b"), form="triple", double=1)
    answer_pool(folder, ranking)
    found = judged(folder)
    assert found.agreement is not None
    assert found.agreement.percent.value is not None
    assert found.doubled == sum(len(one.items) for one in found.queries)
    run("review", "resolve", folder)
    assert open_review(folder).rounds == 2
    before = found.relations
    answer_pool(folder, of_one_mind, round_=2)
    assert judged(folder).relations > before
