"""Each text is scored once, in batches that hold few tokens, and in the order in which it was asked for."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coig_p.reward.batching import RESPONSES_PER_BATCH, batches, key, score_all
from coig_p.reward.scorer import Asked, Scored


class Counting:
    """A scorer whose reward is the number of its batch, and the place in it: it tells how it was asked."""

    def __init__(self) -> None:
        self.batches: list[list[Asked]] = []

    def describe(self) -> dict[str, Any]:
        return {"kind": "model", "name": "counting"}

    def length(self, asked: Asked) -> int:
        return len(asked.response)

    def score(self, asked: Sequence[Asked]) -> list[Scored]:
        self.batches.append(list(asked))
        return [Scored(len(self.batches) + at / 1000, None, len(one.response)) for at, one in enumerate(asked)]

    def close(self) -> None:
        pass


def asked(query: str, response: str) -> Asked:
    return Asked(({"role": "user", "content": query},), response)


some = st.builds(asked, st.sampled_from("问甲乙"), st.text("答", max_size=12))


@given(st.lists(some, max_size=40), st.integers(1, 60))
def test_each_once_in_the_order_asked(given_: list[Asked], tokens: int) -> None:
    scorer = Counting()
    seen: list[int] = []
    found = score_all(scorer, given_, tokens_per_batch=tokens, progress=seen.append)
    flat = [one for batch in scorer.batches for one in batch]
    assert sorted(map(key, flat)) == sorted({key(one) for one in given_})
    by_key = {
        key(one): Scored(number + at / 1000, None, len(one.response))
        for number, batch in enumerate(scorer.batches, 1)
        for at, one in enumerate(batch)
    }
    assert found == [by_key[key(one)] for one in given_]
    assert sum(seen) == len(given_)
    for batch in scorer.batches:
        longest = max(len(one.response) for one in batch)
        assert len(batch) == 1 or longest * len(batch) <= tokens


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 200))
def test_batches_are_as_full_as_they_can_be(lengths: list[int], tokens: int) -> None:
    found = list(batches(lengths, tokens))
    assert [at for batch in found for at in batch] == sorted(range(len(lengths)), key=lambda at: -lengths[at])
    for batch, following in itertools.pairwise(found):
        assert lengths[batch[0]] * (len(batch) + 1) > tokens  # the next one did not fit
        assert following


def test_a_batch_has_so_many_responses_at_most() -> None:
    found = list(batches([0] * (RESPONSES_PER_BATCH + 1), 10))
    assert list(map(len, found)) == [RESPONSES_PER_BATCH, 1]


def test_a_key_knows_turns_by_what_they_hold() -> None:
    one = Asked(({"role": "user", "content": "问"},), "答")
    assert key(one) == key(Asked(({"content": "问", "role": "user"},), "答"))
    others = [
        Asked(({"role": "system", "content": "问"},), "答"),
        Asked(({"role": "user", "content": "问"}, {"role": "user", "content": ""}), "答"),
        Asked(({"role": "user", "content": "问", "name": "a"},), "答"),
        Asked(({"role": "user", "content": "问"},), "答 "),
        Asked(({"role": "user", "content": "\ud800"},), "答"),
    ]
    assert len({key(each) for each in [one, *others]}) == 6


@given(st.lists(some, min_size=1, max_size=30), st.integers(1, 40), st.integers(0, 30))
def test_a_run_that_was_stopped_goes_on_with_the_same_batches(given_: list[Asked], tokens: int, stop: int) -> None:
    whole = Counting()
    wanted = score_all(whole, given_, tokens_per_batch=tokens)
    kept: dict[bytes, Scored] = {}
    first = Counting()
    left = stop

    class Stopped(Exception):
        pass

    def keep(batch: Any) -> None:
        nonlocal left
        if not left:
            raise Stopped
        left -= 1
        kept.update(batch)

    with contextlib.suppress(Stopped):
        score_all(first, given_, tokens_per_batch=tokens, keep=keep)
    second = Counting()
    second.batches = [[]] * min(stop, len(whole.batches))  # it counts on
    assert score_all(second, given_, tokens_per_batch=tokens, known=kept) == wanted
    assert second.batches[stop:] == whole.batches[stop:]


def test_what_is_known_only_in_part_is_scored_as_a_whole_batch() -> None:
    given_ = [asked("问", "答" * at) for at in (1, 2, 2, 3)]
    scorer = Counting()
    known = {key(given_[0]): Scored(9.0, None, 1)}
    found = score_all(scorer, given_, known=known)
    assert [one.reward for one in found] == [1.002, 1.001, 1.001, 1.0]


def test_a_scorer_that_loses_one_is_an_error() -> None:
    class Losing(Counting):
        def score(self, asked: Sequence[Asked]) -> list[Scored]:
            return super().score(asked)[1:]

    with pytest.raises(ValueError, match="zip"):
        score_all(Losing(), [asked("问", "答")])
