"""The draw: what a slow draw in plain Python takes, whatever the order of rows and their shards."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import make_rows, make_store
from oracle import oracle_pairs
from reviewed import slow_hash, slow_key
from strategies import examples, raw_rows

from coig_p.errors import UsageError
from coig_p.pairs.config import PairConfig
from coig_p.review.drawing import DrawConfig, Drawn, deal, draw, evenly, items_for, triples
from coig_p.review.ranking import ranking
from coig_p.review.tasks import Item
from coig_p.store.store import Store

Row = dict[str, Any]


def slow_draw(rows: list[Row], number: int, seed: int, **options: Any) -> list[tuple[str, str, str]]:
    """Query, chosen and rejected model: of each domain the pairs by their hash, one a query, so many queries."""
    found = []
    for domain in dict.fromkeys(row["domain"] for row in rows):
        pairs = oracle_pairs([row for row in rows if row["domain"] == domain], **options)
        named = [(pair["query_id"], pair["chosen_model"], pair["rejected_model"]) for pair in pairs]
        own: dict[str, tuple[str, str, str]] = {}
        for one in sorted(named, key=lambda one: slow_key(seed, *one)):
            own.setdefault(one[0], one)
        found += list(own.values())[:number]
    return found


def told(drawn: list[Drawn]) -> list[tuple[str, str, str]]:
    return [(one.query_id, one.responses[0][0], one.responses[1][0]) for one in drawn]


PAIR_OPTIONS = st.fixed_dictionaries(
    {"threshold": st.sampled_from([0.0, 0.5, 1.0, 2.0])},
    optional={
        "strict": st.booleans(),
        "aggregation": st.sampled_from(["mean", "min"]),
        "include_self_judged": st.booleans(),
    },
)


@examples(60)
@given(
    data=st.data(),
    rows=raw_rows(most_queries=6),
    number=st.integers(1, 4),
    seed=st.integers(-1, 3),
    options=PAIR_OPTIONS,
    size=st.integers(1, 7),
)
def test_a_draw_is_what_a_slow_draw_takes_whatever_the_order_and_the_shards(
    data: st.DataObject,
    rows: list[Row],
    number: int,
    seed: int,
    options: Row,
    size: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    rows.sort(key=lambda row: row["domain"])
    # Models of one name in a query are told apart by sample, which this oracle does not know.
    rows = [row for row in rows if len({one["model"] for one in row["responses"]}) == len(row["responses"])]
    expected = slow_draw(rows, number, seed, **options)
    if not rows:
        return
    shuffled = sorted(data.draw(st.permutations(rows)), key=lambda row: row["domain"])
    path = tmp_path_factory.mktemp("drawn") / "store"
    store = Store.open(make_store(path, shuffled, rows_per_shard=size, rows_per_group=size))
    config = DrawConfig(per_domain=number, seed=seed)
    if not expected:
        with pytest.raises(UsageError, match="no pair to draw with these options"):
            draw(store, config, PairConfig(**options))
        return
    found = draw(store, config, PairConfig(**options))
    assert told(found.drawn) == expected
    margins = {
        (one["query_id"], one["chosen_model"], one["rejected_model"]): one["margin"]
        for one in oracle_pairs(rows, **options)
    }
    assert [one.margin for one in found.drawn] == [margins[one] for one in expected]
    assert sum(found.pairs.values()) == len(margins)
    assert sum(found.queries.values()) == len({one[0] for one in margins})


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[Store]:
    """One set of rows in three orders and shards of three sizes."""
    rows = make_rows({"math": 70, "chat": 50, "code": 12}, seed=3)
    found = []
    for at, size in enumerate((7, 40, 1000)):
        shuffled = list(rows)
        random.Random(at).shuffle(shuffled)
        shuffled.sort(key=lambda row: ["math", "chat", "code"].index(row["domain"]))
        path = tmp_path_factory.mktemp("stores") / "store"
        found.append(Store.open(make_store(path, shuffled, rows_per_shard=size, rows_per_group=size)))
    return found


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"per_domain": 20, "seed": 5},
        {"total": 31},
        {"per_domain": 15, "strata": "margin"},
        {"form": "triple", "per_domain": 9},
        {"form": "query", "per_domain": 9},
        {"form": "accept", "total": 6},
    ],
)
def test_neither_order_nor_shards_change_who_is_drawn(stores: list[Store], options: Row) -> None:
    config = DrawConfig(**options)
    found = [draw(store, config) for store in stores]
    assert found[0].drawn == found[1].drawn == found[2].drawn
    assert found[0].pairs == found[1].pairs == found[2].pairs
    assert items_for(stores[0], config, found[0]) == items_for(stores[2], config, found[2])


@pytest.mark.parametrize("by", ["margin", "disagreement", "length"])
def test_nor_do_they_change_who_comes_first_in_a_ranking(stores: list[Store], by: str) -> None:
    order = ranking(by, PairConfig())
    found = [draw(store, DrawConfig(budget=25), order=order).drawn for store in stores]
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 25


def test_a_larger_draw_holds_the_smaller_one(stores: list[Store]) -> None:
    small, large = (set(draw(stores[0], DrawConfig(per_domain=number)).drawn) for number in (10, 30))
    assert small < large
    assert small != set(draw(stores[0], DrawConfig(per_domain=10, seed=1)).drawn)


def test_a_smaller_domain_gives_all_and_it_is_said(stores: list[Store]) -> None:
    found = draw(stores[0], DrawConfig(per_domain=40), PairConfig(threshold=0))
    queries = Counter(one.domain for one in found.drawn)
    assert (queries["math"], queries["chat"]) == (40, 40)
    assert queries["code"] == found.queries["code"] < 40
    assert found.short == {"code": (queries["code"], 40)}


@examples(200)
@given(st.integers(0, 60), st.lists(st.integers(0, 20), max_size=6))
def test_evenly_is_one_after_the_other_in_turn(number: int, sizes: list[int]) -> None:
    shares = [0] * len(sizes)
    for _ in range(min(number, sum(sizes))):
        shares[min((at for at, size in enumerate(sizes) if shares[at] < size), key=shares.__getitem__)] += 1
    assert evenly(number, sizes) == shares


def test_what_a_domain_lacks_of_a_total_the_others_give(stores: list[Store]) -> None:
    pairs = PairConfig(threshold=0)
    has = draw(stores[0], DrawConfig(per_domain=1000), pairs).queries
    assert has["code"] <= 12
    for options in ({}, {"strata": "margin"}):
        found = draw(stores[0], DrawConfig(total=90, **options), pairs)  # type: ignore[arg-type]
        rest = 90 - has["code"]
        by_domain = Counter(one.domain for one in found.drawn)
        assert by_domain == {"math": rest - rest // 2, "chat": rest // 2, "code": has["code"]}
        assert found.short == {"code": (has["code"], 30)}
    math = [
        one for one in draw(stores[0], DrawConfig(per_domain=rest - rest // 2), pairs).drawn if one.domain == "math"
    ]
    assert [one for one in draw(stores[0], DrawConfig(total=90), pairs).drawn if one.domain == "math"] == math
    most = draw(stores[0], DrawConfig(total=1000), pairs)
    assert len(most.drawn) == sum(has.values())
    assert set(most.short) == {"math", "chat", "code"}
    for store in stores[1:]:
        assert draw(store, DrawConfig(total=90), pairs).drawn == draw(stores[0], DrawConfig(total=90), pairs).drawn


def test_an_order_and_strata_exclude_each_other(stores: list[Store]) -> None:
    with pytest.raises(UsageError, match="strata: takes all margins evenly, and an order the pairs it ranks first"):
        draw(stores[0], DrawConfig(strata="margin"), order=ranking("margin", PairConfig()))


def test_a_total_is_dealt_evenly(stores: list[Store]) -> None:
    found = draw(stores[0], DrawConfig(total=20))
    assert Counter(one.domain for one in found.drawn) == {"math": 7, "chat": 7, "code": 6}
    with pytest.raises(UsageError, match="per_domain and total: give one of them"):
        DrawConfig(per_domain=1, total=2)


def test_strata_hold_as_many_of_each_whole_point_of_margin(stores: list[Store]) -> None:
    """Scores go from 1 to 10, so that a ninth of their range is a point."""
    pairs = PairConfig(threshold=0.5)
    everyone = draw(stores[0], DrawConfig(per_domain=1000), pairs).drawn
    margins: dict[str, Counter[str]] = {}
    for batch in stores[0].batches():
        for pair in oracle_pairs(batch.to_pylist(), threshold=0.5):
            margins.setdefault(pair["domain"], Counter())[f"{int(pair['margin'])}"] += 1
    made = draw(stores[0], DrawConfig(per_domain=12, strata="margin"), pairs)
    assert made.strata == margins
    assert draw(stores[0], DrawConfig(per_domain=12), pairs).strata == {}
    found = made.drawn
    for domain in ("math", "chat"):
        there = Counter(int(one.margin or 0) for one in everyone if one.domain == domain)
        taken = Counter(int(one.margin or 0) for one in found if one.domain == domain)
        assert sum(taken.values()) == 12
        most = max(taken.values())
        assert all(number in (most, most - 1) or number == there[margin] for margin, number in taken.items())
        assert set(taken) == set(there)
        for margin, number in taken.items():
            own = [one for one in everyone if one.domain == domain and int(one.margin or 0) == margin]
            assert [one for one in found if one.domain == domain and int(one.margin or 0) == margin] == own[:number]


def test_what_is_left_out_is_not_drawn(stores: list[Store]) -> None:
    every = draw(stores[0], DrawConfig(per_domain=1000)).drawn
    gone = {one.query_id for one in every[::3]}
    rest = draw(stores[0], DrawConfig(per_domain=1000), leave_out=gone)
    assert rest.drawn == [one for one in every if one.query_id not in gone]


@pytest.mark.parametrize(
    ("config", "pairs", "said"),
    [
        ({"form": "triple"}, {"threshold": 3}, "form triple asks about no pairs"),
        ({"form": "query"}, {"judges": ("judge-a",)}, "form query asks about no pairs"),
        ({}, {"threshold": 9}, "no pair to draw with these options"),
        ({}, {"threshold": 10}, "the largest margin is 9"),
        ({}, {"judges": ("nobody",)}, "unknown judge 'nobody'"),
        ({"domains": ("novel",)}, {}, "unknown domain 'novel'"),
        ({"split": "test"}, {}, "unknown split 'test'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(stores: list[Store], config: Row, pairs: Row, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        draw(stores[0], DrawConfig(**config), PairConfig(**pairs))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"form": "four"}, "form 'four' is none of"),
        ({"per_domain": 0}, "use a whole number of 1 or more"),
        ({"total": -1}, "use a whole number of 1 or more"),
        ({"budget": 3, "total": 3}, "give one of them"),
        ({"form": "query", "strata": "margin"}, "strata: of pairs alone"),
        ({"budget": 3, "strata": "margin"}, "strata: of pairs alone, and not beside a budget"),
    ],
)
def test_options_that_cannot_be(options: Row, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        DrawConfig(**options)


# Triples.


def _responses(number: int) -> list[Row]:
    return [{"model": f"m{at}", "sample": 0, "text": f"回答{at}", "extra": None} for at in range(number)]


def _pairs_within(made: list[tuple[Row, ...]]) -> Counter[frozenset[str]]:
    return Counter(
        frozenset(pair) for three in made for pair in itertools.combinations([one["model"] for one in three], 2)
    )


def test_five_responses_are_five_triples_that_hold_all_ten_pairs_five_of_them_twice() -> None:
    for seed in range(20):
        found = _pairs_within(triples("q", _responses(5), seed))  # type: ignore[arg-type]
        assert sorted(found.values()) == [1] * 5 + [2] * 5


@pytest.mark.parametrize(("responses", "made", "pairs"), [(3, 1, 3), (4, 4, 6), (5, 5, 10), (9, 5, 10)])
def test_other_numbers_of_responses(responses: int, made: int, pairs: int) -> None:
    found = triples("q", _responses(responses), 0)
    assert (len(found), len(_pairs_within(found))) == (made, pairs)  # type: ignore[arg-type]
    assert all(len({one["model"] for one in three}) == 3 for three in found)


def test_of_two_responses_that_say_the_same_one_is_ranked() -> None:
    responses = [*_responses(3), {"model": "twin", "sample": 0, "text": "回答0", "extra": None}]
    assert [[one["model"] for one in three] for three in triples("q", responses, 0)] == [
        sorted(["m0", "m1", "m2"], key=lambda name: slow_hash(f"ring 0 q {name} 0"))
    ]


# Dealing.


def _items(number: int, domains: int = 2) -> list[Item]:
    return [Item(f"r-{at:06d}", "drawn", f"q{at}", f"d{at * domains // number}", "", ()) for at in range(number)]


@examples(80)
@given(st.integers(1, 40), st.integers(1, 6), st.data(), st.integers(0, 3))
def test_everybody_gets_as_much_and_nobody_an_item_twice(
    number: int, annotators: int, data: st.DataObject, seed: int
) -> None:
    names = [f"p{at}" for at in range(annotators)]
    overlap = data.draw(st.integers(1, annotators))
    items = _items(number)
    given_to = deal(items, names, overlap, seed)
    assert list(given_to) == names
    loads = [len(own) for own in given_to.values()]
    assert max(loads) - min(loads) <= 1
    assert Counter(item.item for own in given_to.values() for item in own) == {item.item: overlap for item in items}


def test_any_two_annotators_share_items() -> None:
    """With sixty items, two of five people on each, the ten couples share six each."""
    given_to = deal(_items(60), list("abcde"), 2, 0)
    shared = Counter(
        len({one.item for one in given_to[left]} & {one.item for one in given_to[right]})
        for left, right in itertools.combinations("abcde", 2)
    )
    assert set(shared) <= {5, 6, 7}


def test_domains_split_among_annotators() -> None:
    """CRBench gives two of six domains to each of three people."""
    given_to = deal(_items(60, domains=6), list("abc"), 1, 0, by_domain=True)
    domains = {name: {item.domain for item in own} for name, own in given_to.items()}
    assert [len(own) for own in domains.values()] == [2, 2, 2]
    assert len(set.union(*domains.values())) == 6
    twice = deal(_items(60, domains=6), list("abc"), 2, 0, by_domain=True)
    assert [len(own) for own in twice.values()] == [40, 40, 40]
    # Domains of different sizes, as of a store that is short of some: whole ones, as evenly as they go.
    sizes = {"chat": 15, "math": 3, "code": 8, "conv": 6, "hostile": 7, "big": 1}
    names = [name for name, size in sizes.items() for _ in range(size)]
    items = [Item(f"r-{at:06d}", "drawn", f"q{at}", name, "", ()) for at, name in enumerate(names)]
    found = deal(items, list("abc"), 2, 0, by_domain=True)
    for own in found.values():
        assert Counter(item.domain for item in own).items() <= sizes.items()  # a domain whole or not at all
    assert sorted(len(own) for own in found.values()) == [25, 27, 28]  # 80 in all
    assert Counter(item.domain for own in found.values() for item in own) == {n: 2 * s for n, s in sizes.items()}
    with pytest.raises(UsageError, match="2 domains cannot be split among 3 annotators"):
        deal(_items(10), list("abc"), 1, 0, by_domain=True)


@pytest.mark.parametrize("overlap", [0, 4])
def test_an_overlap_that_cannot_be(overlap: int) -> None:
    with pytest.raises(UsageError, match="use a number from 1 to 3"):
        deal(_items(5), list("abc"), overlap, 0)
