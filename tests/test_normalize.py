"""The comparison form: equal for what a reader would call the same text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coig_p.normalize import comparison_form


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("如何学习Python？", "如何學習 python?"),
        ("ＡＢＣ，１２３。", "abc 123"),
        ("软件\u200b工程\n", "軟件工程"),
        ("“你好”——他说……", "你好他说"),
        ("①②", "12"),
    ],
)
def test_width_case_script_punctuation_and_space_are_ignored(one: str, other: str) -> None:
    assert comparison_form(one) == comparison_form(other) != ""


@pytest.mark.parametrize(("one", "other"), [("1+1", "1=1"), ("甲", "乙"), ("e\u0301", "e"), ("が", "か")])
def test_letters_digits_and_symbols_are_not(one: str, other: str) -> None:
    assert comparison_form(one) != comparison_form(other)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_it_is_its_own_form(text: str) -> None:
    form = comparison_form(text)
    assert comparison_form(form) == form
    assert not any(unicodedata.category(letter)[0] in "PZC" for letter in form)
