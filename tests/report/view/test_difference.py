"""What two responses have in common."""

from __future__ import annotations

import random
from difflib import SequenceMatcher

from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from coig_p.report.view.difference import MOST, STEPS, Differences, Run, differences

TEXTS = st.text(alphabet="湖西杭ab12 \n。，x", max_size=40)


@examples(200)
@given(TEXTS, TEXTS, st.sampled_from([0, 3, 40, STEPS]))
def test_runs_are_the_texts_and_what_is_the_same_is_the_same(first: str, second: str, steps: int) -> None:
    found = differences(first, second, steps)
    assert found is not None
    sides = (found.first, found.second)
    assert ["".join(run.text for run in runs) for runs in sides] == [first, second]
    same = [[run.text for run in runs if run.same] for runs in sides]
    assert same[0] == same[1]
    for runs in sides:
        assert all(run.text for run in runs)
    if first == second:
        assert all(run.same for runs in sides for run in runs)
    assert found.is_whole or steps < STEPS


def test_what_is_the_same_is_as_much_as_difflib_finds() -> None:
    draw = random.Random(3)
    for _ in range(100):
        one, two = ("".join(draw.choices("湖西杭的", k=draw.randrange(30))) for _ in range(2))
        end = draw.choice(["", "。完"])
        found = differences(one + end, two + end)
        assert found is not None
        wanted = sum(block.size for block in SequenceMatcher(None, one, two, autojunk=False).get_matching_blocks())
        assert sum(len(run.text) for run in found.first if run.same) >= 0.6 * (wanted + len(end))


def test_periodic_texts_end_early_and_say_so() -> None:
    found = differences("的了" * (MOST // 2), "的的了" * (MOST // 3))
    assert found is not None
    assert not found.is_whole
    assert any(run.same for run in found.first)


def test_words_and_numbers_are_whole_and_chinese_is_by_character() -> None:
    assert differences("西湖在 Hangzhou，深2米", "西湖在 Hanghai，深12米") == Differences(
        [Run("西湖在 ", True), Run("Hangzhou", False), Run("，深", True), Run("2", False), Run("米", True)],
        [Run("西湖在 ", True), Run("Hanghai", False), Run("，深", True), Run("12", False), Run("米", True)],
        is_whole=True,
    )


def test_what_is_too_long_is_not_compared() -> None:
    assert differences("湖" * (MOST + 1), "湖") is None
    assert differences("湖" * MOST, "湖") is not None
