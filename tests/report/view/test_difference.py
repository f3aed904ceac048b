"""What two responses have in common."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from coig_p.report.view.difference import MOST, Run, differences

TEXTS = st.text(alphabet="湖西杭ab12 \n。，x", max_size=40)


@examples(200)
@given(TEXTS, TEXTS)
def test_runs_are_the_texts_and_what_is_the_same_is_the_same(first: str, second: str) -> None:
    found = differences(first, second)
    assert found is not None
    assert ["".join(run.text for run in runs) for runs in found] == [first, second]
    same = [[run.text for run in runs if run.same] for runs in found]
    assert same[0] == same[1]
    for runs in found:
        assert all(run.text for run in runs)
    if first == second:
        assert all(run.same for runs in found for run in runs)


def test_words_and_numbers_are_whole_and_chinese_is_by_character() -> None:
    assert differences("西湖在 Hangzhou，深2米", "西湖在 Hanghai，深12米") == (
        [Run("西湖在 ", True), Run("Hangzhou", False), Run("，深", True), Run("2", False), Run("米", True)],
        [Run("西湖在 ", True), Run("Hanghai", False), Run("，深", True), Run("12", False), Run("米", True)],
    )


def test_what_is_too_long_is_not_compared() -> None:
    assert differences("湖" * (MOST + 1), "湖") is None
    assert differences("湖" * MOST, "湖") is not None
