"""Plots are well-formed, hold every name as text, and are the same bytes each time."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coig_p.core.svg import Dot, Series, bars, columns, dots, lines

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = ("</text><script>alert(1)</script>", "\x00\x1b[31m\u202e\ud800\ufffe\uffff", "模型" * 60, '"&\n\t', "", "<b>")
TEXTS = st.text(st.characters(), max_size=40) | st.sampled_from(HOSTILE)


def draw(name: str, number: int) -> list[str]:
    """Every kind of plot with a name wherever one can stand."""
    series = [Series(name, [0.1, None, 1.0], [0.0, None, 0.9], [0.2, None, 1.0]), Series("b", [0.5, 0.5, 0.5])]
    return [
        bars(name, {name: number, "b": 3}, ["red", "blue"] if name != "b" else ["red"]),
        columns(name, [name, "10"], {name: [number, 2], "b": [0, 1]}, axis=name),
        lines(name, [0, 2, 9], series, axis=name, marks={2: name}),
        dots(name, [Dot(name, 0.3, 0.1, 0.9, name), Dot("b", -0.2)], low=-1, high=1, axis=name),
    ]


@given(TEXTS, st.integers(0, 10**12))
def test_any_name_is_text_in_a_well_formed_plot(name: str, number: int) -> None:
    plots = draw(name, number)
    assert plots == draw(name, number)
    for plot in plots:
        plot.encode()  # lone surrogates are shown as escapes
        root = ElementTree.fromstring(plot)
        kinds = {element.tag.removeprefix(SVG) for element in root.iter()}
        assert kinds <= {"svg", "title", "desc", "style", "rect", "text", "path", "circle"}
        assert root.find(f"{SVG}title") is not None
        assert root.find(f"{SVG}desc") is not None
        assert not re.search(r"[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", "".join(root.itertext()))


@pytest.mark.parametrize(
    "plot", [bars("t", {}), columns("t", [], {"a": []}), dots("t", [], low=0, high=1)], ids=["bars", "columns", "dots"]
)
def test_nothing_to_show_says_none(plot: str) -> None:
    assert "none" in [element.text for element in ElementTree.fromstring(plot).iter(f"{SVG}text")]


def test_light_and_dark_pages_and_chinese_fonts() -> None:
    for plot in draw("模型", 5):
        assert "prefers-color-scheme: dark" in plot
        assert "PingFang SC" in plot
        assert "Noto Sans CJK SC" in plot
        assert ElementTree.fromstring(plot).find(f"{SVG}rect[@class='bg']") is not None


def test_lengths_are_in_proportion_and_gaps_stay_gaps() -> None:
    root = ElementTree.fromstring(bars("t", {"a": 100, "b": 25}))
    long, short = (float(rect.get("width", 0)) for rect in root.findall(f"{SVG}rect[@class='f0']"))
    assert short / long == pytest.approx(0.25, abs=0.001)
    broken = lines("t", [0, 1, 2, 3], [Series("a", [0.1, None, 0.2, 0.3])])
    paths = ElementTree.fromstring(broken).findall(f"{SVG}path[@class='s0']")
    assert [path.get("d", "").count("L") for path in paths] == [0, 1]
