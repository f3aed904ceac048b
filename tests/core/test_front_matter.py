"""A block of YAML is the same thing to readers of YAML 1.1 and 1.2."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coig_p.core.front_matter import body_begin, front_matter, read_front_matter

YAML = pytest.importorskip("ruamel.yaml", reason="ruamel.yaml reads YAML 1.2, and is not installed").YAML
TRICKY = [
    *("1e3", "1E3", "1.", ".5", "1_000", "0o17", "017", "0x1F", "0b1", "12:30", "1:2:3", "+1", "-0", ".inf", ".nan"),
    *(
        "yes",
        "No",
        "on",
        "OFF",
        "y",
        "N",
        "true",
        "~",
        "null",
        "",
        "-",
        "---",
        "a --- b " * 40,
        "x\n---\ny",
        "é\u2028z",
    ),
    *(
        "a: b",
        "a #b",
        "@a",
        "=",
        "<<",
        "2024-01-01",
        "!x",
        "&a",
        "*a",
        "\x07",
        "\ufeff",
        " a ",
        "'",
        '"',
        "{",
        "1e",
        "领域",
    ),
]
texts = st.one_of(st.sampled_from(TRICKY), st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
plain = st.recursive(
    st.one_of(texts, st.integers(-(2**40), 2**40), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
)


def read_1_2(block: str) -> Any:
    """As ruamel.yaml reads YAML 1.2."""
    return YAML(typ="safe", pure=True).load(StringIO(block.removeprefix("---\n").removesuffix("---\n")))


@given(st.dictionaries(texts, plain, max_size=4))
def test_both_readers_take_it_for_what_it_is(values: dict[str, Any]) -> None:
    block = front_matter(values)
    assert read_front_matter(block) == values
    assert (read_1_2(block) or {}) == values
    assert block.count("\n---\n") == 1


@pytest.mark.parametrize("value", TRICKY)
def test_a_name_stays_text(value: str) -> None:
    block = front_matter({"configs": [{"config_name": value}]})
    assert read_front_matter(block) == read_1_2(block) == {"configs": [{"config_name": value}]}


def test_what_comes_after_the_block() -> None:
    for ending in ("\n", "\r\n"):
        text = front_matter({"pretty_name": "a --- b"}).replace("\n", ending) + f"# 标题{ending}---{ending}"
        assert text[body_begin(text) :].startswith("# 标题")
        assert read_front_matter(text) == {"pretty_name": "a --- b"}
    assert body_begin("# no block\n") == 0
    assert read_front_matter("# no block\n---\n") is None
    assert read_front_matter("---\n---\n") is None
