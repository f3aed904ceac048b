"""What is accepted by a majority of those who were asked, and when enough was accepted."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run
from hypothesis import given
from hypothesis import strategies as st
from pooled import BEGUN, accepting, answer_pool, strict
from pools import ABC, Row, pooled
from strategies import examples
from voting import make_votes

from coig_p.review.answers import Answer, append, read_answers
from coig_p.review.folder import open_review, read_key
from coig_p.review.page.desk import Desk
from coig_p.review.page.pages import list_page
from coig_p.reward.bench.building import standing
from coig_p.reward.bench.judged import judged, stop_moment
from coig_p.store.store import Store

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
