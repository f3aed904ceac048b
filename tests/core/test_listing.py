"""Names in one text, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from coig_p.core.listing import join_names, split_names


@examples(300)
@given(st.lists(st.text(alphabet='a,"\n &\u3000', max_size=5), min_size=1, max_size=4))
def test_any_names_come_back(names: list[str]) -> None:
    assert split_names(join_names(names)) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a, b", ["a", "b"]),
        ('"a,b",c', ["a,b", "c"]),
        ('"say ""hi""" , d', ['say "hi"', "d"]),
        ('say "hi"', ['say "hi"']),
        ('"a" b', ['"a" b']),
        ("", [""]),
        ("a,,b", ["a", "", "b"]),
    ],
)
def test_what_a_text_names(text: str, names: list[str]) -> None:
    assert split_names(text) == names
