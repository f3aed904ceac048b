"""The pool of a benchmark: which queries are drawn, and who is asked about each."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import make_rows, make_store
from pooled import accepting, answer_pool
from pools import ABC, Row, drawn, pooled, with_pairs
from reviewed import slow_hash

from coig_p.errors import UsageError
from coig_p.pairs.config import PairConfig
from coig_p.pairs.exclusion import Exclusion
from coig_p.review.folder import open_review, read_key
from coig_p.review.tasks import Item as Task
from coig_p.reward.bench.building import build_bench
from coig_p.reward.bench.form import read_bench
from coig_p.reward.bench.pool import PoolConfig, dealer, make_pool
from coig_p.store.store import Store


def test_a_pool_by_query_takes_each_alike(store: Store, rows: list[Row], tmp_path: Path) -> None:
    queries = with_pairs(rows)
    wanted = sorted(queries, key=lambda one: (float(slow_hash(f"pool 3 {one}")), one))[:40]
    assert set(drawn(pooled(store, tmp_path / "pool", pool=40, seed=3))) == set(wanted)
    for row in read_key(open_review(tmp_path / "pool")):  # one pair of each, of those that it has
        names = {side.side: side.model for side in row.sides}
        assert row.chosen is not None
        (other,) = set(names) - {row.chosen}
        assert (names[row.chosen], names[other], row.margin) in [
            (pair["chosen_model"], pair["rejected_model"], pair["margin"]) for pair in queries[row.query_id]
        ]


def test_a_pool_by_pair_takes_those_with_more_pairs_more_often(store: Store, rows: list[Row], tmp_path: Path) -> None:
    queries = with_pairs(rows)
    several = {one for one, pairs in queries.items() if len(pairs) >= 4}
    shares = {"pair": 0.0, "query": 0.0}
    for by in shares:
        for seed in range(12):
            found = set(drawn(pooled(store, tmp_path / f"{by}-{seed}", pool=20, by=by, seed=seed, double=0)))
            assert len(found) == 20
            shares[by] += len(found & several) / 240
    of_queries = len(several) / len(queries)
    of_pairs = sum(len(queries[one]) for one in several) / sum(map(len, queries.values()))
    assert abs(shares["query"] - of_queries) < 0.07
    assert shares["pair"] > (of_queries + of_pairs) / 2 - 0.05 > shares["query"]


def test_a_pool_by_domain_is_even(store: Store, tmp_path: Path) -> None:
    found = Counter(one.rpartition("-")[0] for one in drawn(pooled(store, tmp_path / "pool", pool=42, by="domain")))
    assert set(found.values()) == {7}


def test_two_domains_go_to_each_of_three(store: Store, tmp_path: Path) -> None:
    folder = pooled(store, tmp_path / "pool", double=0)
    domains: dict[str, set[str]] = {}
    for query_id, names in drawn(folder).items():
        assert len(names) == 1
        (name,) = names
        domains.setdefault(name, set()).add(query_id.rpartition("-")[0])
    assert [len(domains[name]) for name in ABC] == [2, 2, 2]


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    names=st.integers(2, 5),
    double=st.sampled_from([0, 0.01, 0.1, 0.5, 1]),
    seed=st.integers(0, 9),
)
def test_a_deal_is_even_and_a_share_of_each_domain_goes_to_two(
    sizes: list[int], names: int, double: float, seed: int
) -> None:
    annotators = [f"p{at}" for at in range(names)]
    items = [
        Task(f"r-{at}-{number}", "drawn", f"q{at}-{number}", f"d{at}", "", ())
        for at, size in enumerate(sizes)
        for number in range(size)
    ]
    given_ = dealer(annotators, seed, double)(items)
    times = Counter(item.item for own in given_.values() for item in own)
    assert set(times) == {item.item for item in items}
    assert set(times.values()) <= {1, 2}
    for at, size in enumerate(sizes):
        twice = sum(times[f"r-{at}-{number}"] == 2 for number in range(size))
        assert twice == (min(size, max(1, int(size * double + 0.5))) if double else 0)
    assert all(len({item.item for item in own}) == len(own) for own in given_.values())
    if len(sizes) >= names and not double:
        domains = [len({item.domain for item in own}) for own in given_.values()]
        assert max(domains) - min(domains) <= 1


def test_what_is_excluded_is_not_drawn(store: Store, rows: list[Row], tmp_path: Path) -> None:
    out = Exclusion.of_ids([row["query_id"] for row in rows[::2]])
    for form in ("accept", "triple"):
        found = drawn(pooled(store, tmp_path / form, form=form, pairs=PairConfig(exclude=out)))
        assert found
        assert set(found).isdisjoint(out.query_ids)
    folder = pooled(store, tmp_path / "again", pairs=PairConfig(exclude=out))
    answer_pool(folder, accepting)
    build_bench(store, folder, tmp_path / "bench")  # the list is in the review, whatever became of the file


def test_what_a_benchmark_cannot_hold_is_not_drawn(tmp_path: Path) -> None:
    rows = make_rows({"math": 12}, seed=1)
    user, said = ({"role": role, "content": "在吗？", "extra": None} for role in ("user", "assistant"))
    rows[0]["messages"] = [user, said, user]
    rows[1]["messages"] = [user, said]
    rows[2]["tools"] = "[]"
    rows[3]["responses"][0]["extra"] = json.dumps({"reasoning_content": "想一想"}, separators=(",", ":"))
    store = Store.open(make_store(tmp_path / "store", rows))
    pool = make_pool(store, tmp_path / "pool", PoolConfig(double=0, by="domain"), ("a",))
    found = drawn(tmp_path / "pool")
    assert pool.unfit == 3
    assert set(found) == set(with_pairs([rows[0], *rows[4:]]))
    answer_pool(tmp_path / "pool", accepting)
    build_bench(store, tmp_path / "pool", tmp_path / "bench")
    items = {item.id: item for item in read_bench(tmp_path / "bench").items}
    if rows[0]["query_id"] in items:
        assert [turn["role"] for turn in items[rows[0]["query_id"]].messages] == ["user", "assistant", "user"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"form": "pair"}, "form"),
        ({"by": "model"}, "by"),
        ({"pool": 0}, "pool=0: use a whole number of 1 or more"),
        ({"stop_after": 0}, "stop_after=0: use a whole number of 1 or more"),
        ({"double": 1.5}, "double=1.5: use a share from 0 to 1"),
        ({"form": "triple", "by": "pair"}, "by='pair': of form accept alone"),
    ],
)
def test_a_pool_that_cannot_be(options: Row, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        PoolConfig(**options)


def test_one_annotator_cannot_judge_twice(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"double=0.1: there is one annotator and nobody else to ask: use 0"):
        pooled(store, tmp_path / "pool", ("a",))
    assert not (tmp_path / "pool").exists()
