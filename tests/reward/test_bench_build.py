"""From a store to a benchmark: the pool, who is asked, what is accepted, when it ends, and what is written."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run
from hypothesis import given
from hypothesis import strategies as st
from make import make_rows, make_store
from oracle import oracle_pairs
from pooled import BEGUN, accepting, answer_pool, ranking, strict
from reviewed import slow_hash
from strategies import examples
from voting import make_votes

from coig_p.errors import CoigPError, DataError, UsageError
from coig_p.pairs.config import PairConfig
from coig_p.pairs.exclusion import Exclusion, read_exclusion
from coig_p.review.answers import Answer, append, read_answers
from coig_p.review.folder import open_review, read_key
from coig_p.review.page.desk import Desk
from coig_p.review.page.pages import list_page
from coig_p.review.tasks import Item as Task
from coig_p.reward.bench.building import BuildConfig, build_bench, standing
from coig_p.reward.bench.excluding import train_exclude
from coig_p.reward.bench.form import pairs_of, read_bench
from coig_p.reward.bench.judged import judged, stop_moment
from coig_p.reward.bench.pool import PoolConfig, dealer, make_pool
from coig_p.store.manifest import MANIFEST
from coig_p.store.store import Store

Row = dict[str, Any]
ABC = ("a", "b", "c")
QUERIES = {"math": 30, "chat": 12, "code": 18, "novel": 9, "logic": 24, "role": 15}


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return make_rows(QUERIES, seed=5)


@pytest.fixture(scope="module")
def store(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.open(make_store(tmp_path_factory.mktemp("pool") / "store", rows))


def with_pairs(rows: list[Row]) -> dict[str, list[Row]]:
    """The pairs of each query that has any."""
    found: dict[str, list[Row]] = {}
    for pair in oracle_pairs(rows, threshold=2):
        found.setdefault(pair["query_id"], []).append(pair)
    return found


def pooled(store: Store, folder: Path, annotators: tuple[str, ...] = ABC, **options: Any) -> Path:
    pairs = options.pop("pairs", None)
    make_pool(store, folder, PoolConfig(**options), annotators, pairs=pairs)
    return folder


def drawn(folder: Path) -> dict[str, set[str]]:
    """Who is asked about each query."""
    found: dict[str, set[str]] = {}
    for row in read_key(open_review(folder)):
        found.setdefault(row.query_id, set()).add(row.annotator)
    return found


# The pool.


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


# What is accepted.

SAID = st.sampled_from([*((better, correct, fit) for better in "A=B" for correct in (0, 1) for fit in (0, 1)), "skip"])


@examples(40)
@given(items=st.lists(st.lists(SAID, min_size=1, max_size=3), min_size=1, max_size=5))
def test_accepted_is_what_a_majority_says_of_all_three(
    items: list[list[Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    def answer(at: int, place: int, one: Any) -> Any:
        if one == "skip":
            return "skip"
        better, correct, fit = one
        chosen, other = ("A", "B") if (at + place) % 2 == 0 else ("B", "A")  # see `make_votes`
        preference = {"A": chosen, "B": other, "=": "tie"}[better]
        return {"preference": preference, "correct": [chosen.lower()] if correct else [], "query_ok": bool(fit)}

    folder = tmp_path_factory.mktemp("votes") / "review"
    told = [
        ("math", {name: answer(at, place, one) for place, (name, one) in enumerate(zip(ABC, said, strict=False))})
        for at, said in enumerate(items)
    ]
    make_votes(folder, told, form="accept")
    states = {one.query_id: one for one in judged(folder, 99).queries}
    for at, said in enumerate(items):
        votes = [one for one in said if one != "skip"]
        found = states[f"q-{at}"]
        if not votes:
            assert found.state == "skipped"
            continue
        criteria = {
            "query_ok": [bool(fit) for _, _, fit in votes],
            "correct": [bool(correct) for _, correct, _ in votes],
            "preferred": [better for better, _, _ in votes],
        }
        most = {name: [one for one in set(each) if 2 * each.count(one) > len(each)] for name, each in criteria.items()}
        holds = {name: None if not one else one[0] in (True, "A") for name, one in most.items()}
        if False in holds.values():
            assert found.state == "rejected"
            assert set(found.failed) == {name for name, one in holds.items() if one is False}
        else:
            assert found.state == ("open" if None in holds.values() else "accepted")


def test_agreement_is_of_those_that_two_judged(store: Store, tmp_path: Path) -> None:
    folder = pooled(store, tmp_path / "pool", double=0.3)
    answer_pool(folder, strict)
    found = judged(folder)
    rows: dict[str, dict[str, bool]] = {}
    for row in read_key(open_review(folder)):
        rows.setdefault(row.item, {})[row.annotator] = strict(row) == accepting(row)
    both = [list(said.values()) for said in rows.values() if len(said) == 2]
    assert found.agreement is not None
    assert found.doubled == found.agreement.units == len(both) > 20
    by_two: dict[tuple[str, ...], list[bool]] = {}
    for said in rows.values():
        if len(said) == 2:
            by_two.setdefault(tuple(sorted(said)), []).append(len(set(said.values())) == 1)
    assert found.agreement.percent.value == pytest.approx(np.mean([np.mean(same) for same in by_two.values()]))
    equal = sum(len(set(said)) == 1 for said in both)
    assert found.equal == equal
    assert found.share.value == pytest.approx(equal / len(both))
    assert found.to_dict()["doubled"]["share_equal"]["value"] == found.share.value
    assert 0.5 < np.mean([len(set(said)) == 1 for said in both]) < 1
    # What was begun after the stop is no verdict.
    ended = judged(folder, len(found.accepted) - 5)
    key = {(row.item, row.annotator): row for row in read_key(open_review(folder))}
    in_time: dict[str, list[bool]] = {}
    for answer in read_answers(folder):
        assert ended.stopped is not None
        if datetime.fromisoformat(answer.at) - timedelta(seconds=answer.seconds or 0) <= ended.stopped:
            row = key[answer.item, answer.annotator]
            in_time.setdefault(answer.item, []).append(strict(row) == accepting(row))
    some = [said for said in in_time.values() if len(said) == 2]
    assert 0 < len(some) < len(both)
    assert ended.agreement is not None
    assert (ended.agreement.units, ended.equal) == (len(some), sum(len(set(said)) == 1 for said in some))
    assert ended.doubled == len(both)


# When it ends.


def accepts(said: list[Row]) -> bool:
    """Whether a majority of answers says that a query is fit, the chosen response correct, and the better one."""
    return bool(said) and all(2 * sum(one[name] for one in said) > len(said) for name in ("fit", "correct", "better"))


def in_terms_of_chosen(row: Any) -> Row:
    told = strict(row)
    better = told["preference"] == row.chosen.upper()
    return {"better": better, "correct": row.chosen in told["correct"], "fit": told["query_ok"]}


@pytest.mark.parametrize("enough", [1, 10, 25, 40])
@pytest.mark.parametrize("seconds", [None, 50.0, 600.0])
def test_more_than_enough_ends_it_and_what_is_in_hand_counts(
    store: Store, tmp_path: Path, enough: int, seconds: float | None
) -> None:
    folder = pooled(store, tmp_path / "pool", double=0.2)
    when = answer_pool(folder, strict, seconds=seconds)
    assert judged(folder, 10_000).stopped is None
    said: dict[str, list[tuple[Any, Row]]] = {}
    for row in read_key(open_review(folder)):
        said.setdefault(row.query_id, []).append((when[row.item, row.annotator], in_terms_of_chosen(row)))
    # A slow clock: minute by minute, until more than enough are accepted by what was said so far.
    ended = None
    for minute in range(1, 200):
        now = BEGUN + timedelta(minutes=minute)
        if sum(accepts([one for at, one in each if at <= now]) for each in said.values()) > enough:
            ended = now
            break
    assert ended is not None
    found = judged(folder, enough)
    assert found.stopped == ended
    in_time = {
        query_id: [one for at, one in each if at - timedelta(seconds=seconds or 0) <= ended]
        for query_id, each in said.items()
    }
    assert {one.query_id for one in found.accepted} == {one for one, each in in_time.items() if accepts(each)}
    assert {one.query_id for one in found.queries if one.state == "late"} == {
        one for one, each in in_time.items() if not each
    }
    states = Counter(one.state for one in found.queries)
    assert states["waiting"] == states["skipped"] == 0


def test_a_second_round_decides_what_two_left_open_before_the_end(store: Store, tmp_path: Path) -> None:
    folder = pooled(store, tmp_path / "pool", double=1)
    answer_pool(folder, strict)
    before = judged(folder, 45)
    opened = {one.query_id for one in before.queries if one.state == "open"}
    assert opened
    run("review", "resolve", folder)
    answer_pool(folder, accepting, round_=2)
    after = {one.query_id: one.state for one in judged(folder, 45).queries}
    assert {after[one] for one in opened} == {"accepted"}
    late = {one.query_id for one in before.queries if one.state == "late"}
    assert {after[one] for one in late} == {"late"}


def test_not_more_than_enough_ends_nothing(store: Store, tmp_path: Path) -> None:
    folder = pooled(store, tmp_path / "pool", double=0, pool=30, stop_after=30)
    answer_pool(folder, accepting)
    assert judged(folder).stop_after == 30
    assert judged(folder).stopped is None
    assert judged(folder, 29).stopped is not None
    moments = [BEGUN + timedelta(minutes=at) for at in range(4)]
    changes = [(moments[0], 1), (moments[1], 1), (moments[1], -1), (moments[3], 1), (moments[2], 1)]
    assert [stop_moment(changes, enough) for enough in range(4)] == [moments[0], moments[2], moments[3], None]


def test_pages_hand_out_no_more_and_save_what_is_open(store: Store, tmp_path: Path) -> None:
    folder = pooled(store, tmp_path / "pool", double=0, stop_after=20)
    answer_pool(folder, accepting, most=5)
    desk = Desk(folder, "a")
    standing(folder)
    in_hand = desk.look().open_after(-1)
    assert in_hand is not None
    assert standing(folder, 14).stopped is not None
    sheet = desk.look()
    assert sheet.open_after(-1) is None
    assert "Enough was answered" in list_page(sheet, "", "en")
    assert sheet.progress()
    said = accepting(next(row for row in read_key(open_review(folder)) if row.item == in_hand.item))
    append(folder, "a", Answer(in_hand.item, "a", 1, said, None, 3e7, (BEGUN + timedelta(days=1)).isoformat()))
    assert in_hand.item in {one.items[0].row.item for one in judged(folder, 14).accepted}
    assert standing(folder, 20).stopped is None  # it was not enough after all
    assert desk.look().open_after(-1) is not None


# Triples.


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


# What is written.


def test_a_benchmark_is_what_was_accepted_and_its_list_keeps_it_out(
    store: Store, rows: list[Row], tmp_path: Path
) -> None:
    folder = pooled(store, tmp_path / "pool", seed=2)
    answer_pool(folder, strict)
    built = build_bench(store, folder, tmp_path / "bench", BuildConfig(name="试"))
    accepted = {one.query_id for one in judged(folder).accepted}
    bench = read_bench(tmp_path / "bench")
    assert {item.id for item in bench.items} == accepted
    assert (bench.name, bench.preset, bench.licence) == ("试", "pairs", built.licence)
    assert bench.options["judged"]["all"]["states"]["accepted"] == len(accepted) == sum(built.items.values())
    by_id = {row["query_id"]: row for row in rows}
    scored = with_pairs(rows)
    for item in bench.items:
        row = by_id[item.id]
        texts = {one["model"]: one["text"] for one in row["responses"]}
        assert (item.prompt, item.domain) == (row["query"], row["domain"])
        assert all(texts[one.model or ""] == one.text for one in item.responses)
        ((better, worse),) = pairs_of(item)
        assert any(
            (pair["chosen"], pair["rejected"]) == (item.responses[better].text, item.responses[worse].text)
            for pair in scored[item.id]
        )
    first = [item.ranks[0] for item in bench.items]  # type: ignore[index]
    assert 0.25 < sum(first) / len(first) < 0.75  # the better one is not always the first
    listed = read_exclusion(tmp_path / "bench" / "train-exclude.txt")
    assert set(listed.query_ids) == accepted
    out = tmp_path / "rest.jsonl"
    run("pairs", store.path, "--out", out, "--exclude", tmp_path / "bench" / "train-exclude.txt")
    assert accepted.isdisjoint(json.loads(line)["query_id"] for line in out.read_text("utf-8").splitlines())


def test_near_duplicates_are_kept_out_as_well(tmp_path: Path) -> None:
    rows = make_rows({"math": 9}, seed=1)
    long = "小明有三个苹果，又买了五个，吃掉两个以后送给小红一半，请问他现在还剩下几个苹果？请写出每一步。"
    for at, text in enumerate(
        [long, long + "谢谢", long.replace("小明", "小亮"), "完全不同的另一个问题，关于天气与海洋。"]
    ):
        rows[at]["query"] = text
    store = Store.open(make_store(tmp_path / "store", rows))
    found = train_exclude(store, ["math-0000", "math-0005"])
    assert set(found.listed.query_ids) == {"math-0000", "math-0001", "math-0002", "math-0005"}
    assert (found.own, found.near) == (2, 2)


def test_the_same_answers_are_the_same_bytes(store: Store, rows: list[Row], tmp_path: Path) -> None:
    digests = set()
    shuffled = Store.open(make_store(tmp_path / "other" / "store", sorted(rows, key=lambda row: row["query_id"])))
    for name, one in (("x", store), ("y", store)):
        folder = pooled(one, tmp_path / f"pool-{name}")
        answer_pool(folder, strict)
        build_bench(one, folder, tmp_path / name)
        digests.add(tuple((tmp_path / name / file).read_bytes() for file in ("bench.jsonl", "bench.json")))
    assert len(digests) == 1
    assert set(drawn(pooled(shuffled, tmp_path / "pool-z"))) == set(drawn(tmp_path / "pool-x"))


def refused(do: Any, said: str, kind: type[CoigPError] = DataError) -> None:
    with pytest.raises(kind, match=said):
        do()


def test_what_cannot_be_built_is_one_error_and_nothing_is_written(store: Store, tmp_path: Path) -> None:
    folder, out = pooled(store, tmp_path / "pool"), tmp_path / "bench"
    refused(lambda: build_bench(store, folder, out), "nothing was accepted yet.*Ask people first")
    answer_pool(folder, lambda row: accepting(row, fit=False))
    refused(lambda: build_bench(store, folder, out), "nothing was accepted yet.*coigp review report")
    refused(lambda: judged(tmp_path / "none"), "not a review: no review.json there")
    make_votes(tmp_path / "pair", [("math", {"a": "right"})])
    refused(lambda: judged(tmp_path / "pair"), "form pair: a benchmark is built from form accept, or triple")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    refused(lambda: build_bench(store, folder, tmp_path / "taken", overwrite=True), "taken", UsageError)
    refused(lambda: pooled(store, folder), "pool", UsageError)
    assert not out.exists()


def test_a_store_that_changed_since_is_one_located_error(store: Store, rows: list[Row], tmp_path: Path) -> None:
    folder = pooled(store, tmp_path / "pool")
    answer_pool(folder, accepting)
    key = read_key(open_review(folder))[0]
    changed = json.loads(json.dumps(rows))
    row = next(one for one in changed if one["query_id"] == key.query_id)
    for one in row["responses"]:
        one["text"] += "改"
    other = Store.open(make_store(tmp_path / "other" / "store", changed))
    refused(
        lambda: build_bench(other, folder, tmp_path / "bench"),
        f"query '{key.query_id}': the response of .* has another text",
    )
    moved = json.loads(json.dumps(rows))
    row = next(one for one in moved if one["query_id"] == key.query_id)
    row["domain"] = next(one["domain"] for one in rows if one["domain"] != key.domain)
    elsewhere = Store.open(make_store(tmp_path / "moved" / "store", moved))
    refused(
        lambda: build_bench(elsewhere, folder, tmp_path / "bench"),
        f"query '{key.query_id}': asked about in domain '{key.domain}', it is in '{row['domain']}' in .*draw anew",
    )
    fewer = Store.open(make_store(tmp_path / "fewer" / "store", [one for one in rows if one is not rows[0]]))
    gone = rows[0]["query_id"]
    if gone in drawn(folder):
        refused(lambda: build_bench(fewer, folder, tmp_path / "bench"), f"query '{gone}': not in")
    # An unknown item, and a file that was cut short.
    name = key.annotator
    path = folder / "answers" / f"{name}.jsonl"
    whole = path.read_bytes()
    line = json.loads(whole.splitlines()[0])
    path.write_bytes(whole + json.dumps(line | {"item": "r-none"}).encode() + b"\n")
    refused(lambda: build_bench(store, folder, tmp_path / "bench"), "r-none' in round 1 is no item that")
    path.write_bytes(whole[: len(whole) // 2] + b"\n" + whole)
    refused(lambda: build_bench(store, folder, tmp_path / "bench"), rf"{name}.jsonl line \d+")
    path.write_bytes(whole + whole)  # the same again changes nothing
    build_bench(store, folder, tmp_path / "bench")
    tasks = folder / f"tasks-{name}.json"
    tasks.write_bytes(tasks.read_bytes()[:-200])
    refused(lambda: build_bench(store, folder, tmp_path / "bench", overwrite=True), f"tasks-{name}.json: not JSON")
    assert read_bench(tmp_path / "bench").items
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("bench")) == ["bench"]


# The command.


def test_the_three_steps(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(store.path, "store")
    made = run("bench", "build", "store", "--review", "pool", "--annotators", "a,b,c", "--stop-after", "12").stdout
    assert "fewer queries than were wanted, all of them are drawn" in made
    assert "next: coigp review serve pool" in made
    none = run("bench", "build", "store", "--review", "pool").stdout
    assert "0 are accepted; enough are more than 12" in none
    answer_pool(Path("pool"), strict)
    told = json.loads(run("bench", "build", "store", "--review", "pool", "--json").stdout)
    assert told["stopped"].startswith("2026-11-26T08:")
    assert told["all"]["states"]["accepted"] > 12
    shown = run("bench", "build", "store", "--review", "pool", "--out", "bench", "--name", "甲").stdout
    assert f"wrote bench: 甲, {told['all']['states']['accepted']} items" in shown
    assert "queries that must not be trained on" in shown
    again = run("bench", "build", "store", "--review", "pool", "--out", "bench", "--overwrite", "--json").stdout
    assert json.loads(again)["judged"] == told
    assert "length on" in run("bench", "run", "bench", "--baseline", "length", "--out", "length").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--annotators", "a,b", "--out", "x"), "--annotators draws a pool"),
        (("--annotators", "a,b", "--licence", "x"), "--licence: only with --out"),
        (("--name", "x"), "--name: only with --out"),
        (("--pool", "7", "--out", "x"), "--pool: only with --annotators"),
        (("--threshold", "3"), "--threshold: only with --annotators"),
        (
            ("--annotators", "a", "--double", "0", "--form", "triple", "--threshold", "3"),
            "form triple asks about no pairs",
        ),
        ((), "not a review"),
    ],
)
def test_options_of_another_step(words: tuple[str, ...], said: str, store: Store, tmp_path: Path) -> None:
    code = 1 if not words else 2
    assert said in run("bench", "build", store.path, "--review", tmp_path / "none", *words, code=code).stderr


def test_a_manifest_of_later_is_said(store: Store, rows: list[Row], tmp_path: Path) -> None:
    folder = pooled(store, tmp_path / "pool")
    answer_pool(folder, accepting)
    more = Store.open(make_store(tmp_path / "more" / "store", [*rows, *make_rows({"extra": 3}, seed=8)]))
    built = build_bench(more, folder, tmp_path / "bench")
    assert not built.same_store
    assert (more.path / MANIFEST).is_file()
