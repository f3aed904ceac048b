"""The comparison form: equal for what a reader would call the same text."""

from __future__ import annotations

import subprocess
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from coig_p.core.normalize import _CHANGED_IN_PHRASES, _table, comparison_form, comparison_forms, to_simplified


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


ANY = st.characters(exclude_categories=["Cs"])
# Where one character's meaning may depend on another: marks and jamo that join, a sigma that ends a word,
# a dotted I, ligatures, digits that fold, phrases that change as a whole.
TRICKY = st.sampled_from(
    "e\u0301\u0300がカ\u3099ﾞㅏ\u1100\u1161\u11a8가\u03a3\u03c3\u0130ﬁ½…\n①Ａ深沈反覆藉口乾坤頭髮了瞭解衹有一坏土\u200b\U0001f600"
)


@examples(300)
@given(st.lists(st.text(st.one_of(ANY, TRICKY), max_size=12), max_size=5))
def test_many_at_once_are_as_one_by_one(texts: list[str]) -> None:
    assert comparison_forms(texts) == list(map(comparison_form, texts))


def test_every_character_between_two_others_is_as_in_the_table() -> None:
    texts = [f"甲{chr(code)}a" for code in range(0x20000) if not 0xD800 <= code < 0xE000]
    assert comparison_forms(texts) == list(map(comparison_form, texts))


def test_real_questions_at_once_are_as_one_by_one(shared_data: Path) -> None:
    lines = (shared_data / "zh_queries.txt").read_text("utf-8").splitlines()[::5]
    assert comparison_forms(lines) == list(map(comparison_form, lines))


def test_phrases_that_change_as_a_whole_have_a_character_that_the_table_leaves_open(tmp_path: Path) -> None:
    import opencc

    home = Path(opencc.__file__).parent / "clib"
    tool, phrases = home / "bin/opencc_dict", home / "share/opencc/TSPhrases.ocd2"
    if not tool.is_file() or not phrases.is_file():
        pytest.skip("this build of OpenCC does not come with opencc_dict and its dictionary")
    listed = tmp_path / "phrases.txt"
    subprocess.run([tool, "-i", phrases, "-o", listed, "-f", "ocd2", "-t", "text"], check=True, capture_output=True)
    keys = [line.split("\t")[0] for line in listed.read_text("utf-8").splitlines()]
    assert len(keys) > 100
    for key in keys:
        if to_simplified(key) != "".join(map(to_simplified, key)):
            assert any(_table()[ord(letter)] == 0xFFFFFFFF for letter in key), key
    assert all(_table()[ord(letter)] == 0xFFFFFFFF for letter in _CHANGED_IN_PHRASES)
