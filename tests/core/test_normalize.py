"""The comparison form: equal for what a reader would call the same text."""

from __future__ import annotations

import subprocess
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from coig_p.core.normalize import (
    _CHANGED_IN_PHRASES,
    _VARIANTS,
    _VARIATION_SELECTORS,
    _table,
    comparison_form,
    comparison_forms,
    to_simplified,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("如何学习Python？", "如何學習 python?"),
        ("ＡＢＣ，１２３。", "abc 123"),
        ("软件\u200b工程\n", "軟件工程"),
        ("“你好”——他说……", "你好他说"),
        ("①②", "12"),
        ("葛\U000e0100城在哪里？", "葛城在哪里？"),
        ("她看著我笑著說了什麼話？", "她看着我笑着说了什么话？"),
        ("憑藉這個藉口", "凭借这个借口"),
        ("\uf9e1是姓吗？", "李是姓吗？"),
    ],
)
def test_width_case_script_punctuation_and_space_are_ignored(one: str, other: str) -> None:
    assert comparison_form(one) == comparison_form(other) != ""


@pytest.mark.parametrize(("one", "other"), [("1+1", "1=1"), ("甲", "乙"), ("e\u0301", "e"), ("が", "か")])
def test_letters_digits_and_symbols_are_not(one: str, other: str) -> None:
    assert comparison_form(one) != comparison_form(other)


SELECTORS = [chr(code) for codes in _VARIATION_SELECTORS for code in codes]
# What has to do with variants: they themselves, what stands for them, and traditional text around them.
VARIED = st.sampled_from([*_VARIANTS, *_VARIANTS.values(), *"慰藉狼解望坤隆默阳回盖宫角羽學習說話們口"])


def test_every_variation_selector_counts_for_nothing() -> None:
    assert len(SELECTORS) == 4 + 16 + 240
    assert all("VARIATION SELECTOR" in unicodedata.name(letter) for letter in SELECTORS if letter != "\u180f")
    texts = [f"葛{letter}城e{letter}\u0301" for letter in SELECTORS]
    assert set(comparison_forms(texts)) == {comparison_form("葛城\u00e9")} == set(map(comparison_form, texts))


@examples(200)
@given(st.lists(st.one_of(VARIED, st.sampled_from(SELECTORS), st.sampled_from("ea\u0301\u0300。 ")), max_size=14))
def test_selectors_and_variants_do_not_count_wherever_they_stand(letters: list[str]) -> None:
    text = "".join(letters)
    form = comparison_form(text)
    assert form == comparison_form("".join(letter for letter in letters if letter not in SELECTORS))
    assert not set(form) & {*_VARIANTS, *SELECTORS}
    assert comparison_form(form) == form
    assert comparison_forms([text]) == [form]


def test_variants_lead_to_what_simplified_text_has_and_no_further() -> None:
    assert all(to_simplified(kept) == kept and kept not in _VARIANTS for kept in _VARIANTS.values())
    assert {"复", "干", "着"} <= set(_VARIANTS.values())


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
