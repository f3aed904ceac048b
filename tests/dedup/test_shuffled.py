"""Pairs of similar texts by files are those that are found in memory, and those that plain sets give."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from by_files import runs_of
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from coig_p.dedup import minhash, shuffled
from coig_p.dedup.clusters import Queries
from coig_p.dedup.minhash import NUM_PERM, similar_pairs
from coig_p.dedup.shuffled import similar_texts
from coig_p.engine.local import Processes, Threads, Workers

FORMS = st.lists(st.text(st.sampled_from("甲乙丙a\U00020000"), max_size=12), max_size=14)


def pairs_by_files(
    texts: list[str], threshold: float, n: int, *, size: int, ranges: int, workers: Workers | None = None
) -> list[list[int]]:
    """Pairs by the places of their texts, which are different and ascend."""
    queries = Queries([f"q{at}" for at in range(len(texts))], ["d"] * len(texts), texts, [0] * len(texts))
    with tempfile.TemporaryDirectory() as folder:
        runs, _ = runs_of(queries, Path(folder), size)
        alike = similar_texts(runs, Path(folder), ranges, workers or Processes(1), threshold, n, NUM_PERM, 1)
        form_of = dict(zip(alike.involved.tolist(), _forms(alike), strict=True))
        place = [texts.index(form_of[int(one)]) for one in alike.involved]
        return [[place[one], place[other]] for piece in alike for one, other in piece.tolist()]


def _forms(alike: shuffled.Alike) -> list[str]:
    members = alike.members(Processes(1)).sort_by("text")
    return list(dict(zip(members.column("text").to_pylist(), members.column("form").to_pylist(), strict=True)).values())


def brute_force(texts: list[str], threshold: float, n: int) -> list[list[int]]:
    sets = [{text[at : at + n] for at in range(len(text) - n + 1)} or {text} for text in texts]
    return [
        [one, other]
        for one in range(len(texts))
        for other in range(one + 1, len(texts))
        if len(sets[one] & sets[other]) >= threshold * len(sets[one] | sets[other])
    ]


@examples(50)
@given(FORMS, st.sampled_from([0.4, 0.7, 0.9]), st.integers(1, 40), st.integers(1, 8), st.integers(2, 4))
def test_pairs_are_those_found_in_memory_and_those_of_plain_sets(
    texts: list[str], threshold: float, ranges: int, size: int, bucket: int
) -> None:
    texts = sorted(set(texts) - {""})
    whole = similar_pairs(texts, threshold, 2).pairs.tolist()
    assert pairs_by_files(texts, threshold, 2, size=size, ranges=ranges) == whole
    plain = brute_force(texts, threshold, 2)
    assert [pair for pair in whole if pair not in plain] == []
    assert len(plain) - len(whole) <= 1  # one in a thousand is missed
    with mock.patch.object(minhash, "_BUCKET", bucket):  # texts of large buckets are not all compared
        few = similar_pairs(texts, threshold, 2).pairs.tolist()
        assert pairs_by_files(texts, threshold, 2, size=size, ranges=ranges) == few


@pytest.mark.parametrize("ranges", [1, 2, 13, 40])
@pytest.mark.parametrize("workers", [Processes(1), Threads(2)])
def test_a_bucket_of_many_over_many_ranges(ranges: int, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shuffled, "_KEYS_AT_ONCE", 100)  # so that keys of a band are in four pieces
    monkeypatch.setattr(shuffled, "_PAIRS_AT_ONCE", 7)
    texts = sorted(f"请问第{at:03d}次考试的成绩什么时候公布在学校的网站上面" for at in range(300))
    whole = similar_pairs(texts, 0.5, 3).pairs.tolist()
    assert len(whole) < 300 * 299 // 2
    assert pairs_by_files(texts, 0.5, 3, size=90, ranges=ranges, workers=workers) == whole


def test_keys_that_agree_in_most_bits_are_told_apart() -> None:
    key = np.array([7, 7 << 40, 7, 7 << 41, 8, 7 << 40], np.uint64)
    bits = minhash.bits_of(len(key))
    assert sorted(minhash.unpacked(minhash.pairs_of_band(key), bits).tolist()) == [[0, 2], [1, 5]]
    assert len(minhash.pairs_of_band(key[:0])) == 0
    assert len(minhash.pairs_of_band(key[:1])) == 0


@examples(100)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=30), st.lists(st.integers(0, 40), max_size=80))
def test_texts_of_one_key_meet_and_no_others(drawn: list[int], chosen: list[int]) -> None:
    key = np.array([drawn[at % len(drawn)] for at in chosen] if drawn else [], np.uint64)
    with mock.patch.object(minhash, "_BUCKET", 100):
        found = minhash.unpacked(minhash.pairs_of_band(key), minhash.bits_of(len(key))).tolist()
    same = [[one, other] for one in range(len(key)) for other in range(one + 1, len(key)) if key[one] == key[other]]
    assert sorted(found) == same
