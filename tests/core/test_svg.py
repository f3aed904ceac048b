"""Plots are well-formed, hold every name as text, and are the same bytes each time."""

from __future__ import annotations

import re
from collections.abc import Callable
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


# ------------------------------------------------------------------------------------------------
# Which way up. A reader takes numbers from the scale, so the tests do the same: the labels of the scale give
# the number that a place stands for, and larger numbers are higher (y grows downwards) or further to the right.

Scale = Callable[[float], float]
COUNTS = st.lists(st.integers(0, 5000), min_size=1, max_size=8)
SHARES = st.lists(st.none() | st.integers(0, 1000).map(lambda n: n / 1000), min_size=2, max_size=8)
APART = 0.006  # of a scale: places are drawn to a tenth of a unit


def texts(root: ElementTree.Element, anchor: str) -> list[tuple[float, float, str]]:
    """x, y and text of what is written in the dim colour at an anchor, as on scales."""
    found = [text for text in root.findall(f"{SVG}text[@class='dim']") if text.get("text-anchor", "start") == anchor]
    return [(float(text.get("x", 0)), float(text.get("y", 0)), text.text or "") for text in found]


def scale(labels: list[tuple[float, float]]) -> Scale:
    """From a place to its number: the straight line through labels (place, number), which must lie on it."""
    (a, low), (b, high) = labels[0], labels[-1]
    assert a != b
    for place, number in labels:
        assert number == pytest.approx(low + (place - a) * (high - low) / (b - a), abs=abs(high - low) * APART)
    return lambda place: low + (place - a) * (high - low) / (b - a)


def upright(root: ElementTree.Element) -> Scale:
    """The scale at the left: its numbers grow upwards, and each stands beside its line."""
    found = [(y - 4, float(text.replace(",", "").rstrip("%"))) for _, y, text in texts(root, "end")]
    assert found == sorted(found, key=lambda label: -label[0]), "not in order"
    numbers = [number for _, number in found]
    assert numbers == sorted(numbers), "upside down"
    drawn = [re.fullmatch(r"M\S+ (\S+)H\S+", path.get("d", "")) for path in root.findall(f"{SVG}path[@class='line']")]
    assert [float(line[1]) for line in drawn if line] == pytest.approx([y for y, _ in found], abs=0.06)
    return scale(found)


def rising(labels: list[tuple[float, float, str]]) -> Scale:
    """The scale at the bottom: its numbers grow to the right."""
    found = [(x, float(text.rstrip("%"))) for x, _, text in labels if re.fullmatch(r"[-+]?[0-9.e+-]+%?", text)]
    assert [x for x, _ in found] == sorted(x for x, _ in found)
    assert [number for _, number in found] == sorted(number for _, number in found), "the wrong way round"
    return scale(found)


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), min_size=1, max_size=8))
def test_columns_stand_on_zero_and_reach_their_number(values: list[tuple[int, int]]) -> None:
    names = [str(at) for at in range(len(values))]
    both = {"a": [one for one, _ in values], "b": [other for _, other in values]}
    root = ElementTree.fromstring(columns("t", names, both))
    number = upright(root)
    most = max(1, *(max(pair) for pair in values))
    for nth, name in enumerate(both):
        # The first one is the legend's.
        rects = root.findall(f"{SVG}rect[@class='f{nth}']")[1:]
        assert len(rects) == len(values)
        places = [float(rect.get("x", 0)) for rect in rects]
        assert places == sorted(places)
        for rect, value in zip(rects, both[name], strict=True):
            y, high = float(rect.get("y", 0)), float(rect.get("height", 0))
            assert high >= 0
            assert number(y + high) == pytest.approx(0, abs=most * APART)
            assert number(y) == pytest.approx(value, abs=most * APART)


@given(SHARES)
def test_points_of_lines_are_where_their_numbers_are(shares: list[float | None]) -> None:
    x = [float(at * at) for at in range(len(shares))]
    low = [None if share is None else share / 2 for share in shares]
    high = [None if share is None else (1 + share) / 2 for share in shares]
    root = ElementTree.fromstring(lines("t", x, [Series("a", shares, low, high)]))
    number, across = upright(root), rising(texts(root, "middle"))
    shown = [(at, share) for at, share in zip(x, shares, strict=True) if share is not None]
    drawn = [(float(c.get("cx", 0)), float(c.get("cy", 0))) for c in root.findall(f"{SVG}circle[@class='f0']")]
    assert len(drawn) == len(shown)
    for (cx, cy), (at, share) in zip(drawn, shown, strict=True):
        assert across(cx) == pytest.approx(at, abs=x[-1] * APART)
        assert number(cy) == pytest.approx(100 * share, abs=100 * APART)
    points = [
        tuple(float(part) for part in point.split())
        for path in root.findall(f"{SVG}path[@class='s0']")
        for point in path.get("d", "")[1:].split("L")
    ]
    assert points == drawn, "the line goes through its points"
    ends = [
        number(float(point.rstrip("Z").split()[1]))
        for path in root.findall(f"{SVG}path[@class='f0 band']")
        for point in path.get("d", "")[1:].split("L")
    ]
    expected = [100 * end for _, share in shown for end in (share / 2, (1 + share) / 2)]
    assert sorted(ends) == pytest.approx(sorted(expected), abs=100 * APART)


@given(st.lists(st.integers(-100, 100), min_size=1, max_size=8))
def test_dots_are_where_their_numbers_are(values: list[int]) -> None:
    rows = [Dot(f"m{at}", value / 100, value / 100 - 0.2, value / 100 + 0.1) for at, value in enumerate(values)]
    root = ElementTree.fromstring(dots("t", rows, low=-2, high=2))
    number = rising(texts(root, "middle"))
    circles = root.findall(f"{SVG}circle")
    spans = root.findall(f"{SVG}path[@class='s0']")
    heights = [float(circle.get("cy", 0)) for circle in circles]
    assert heights == sorted(heights), "rows from the top down"
    for row, circle, span in zip(rows, circles, spans, strict=True):
        assert number(float(circle.get("cx", 0))) == pytest.approx(row.value, abs=4 * APART)
        ends = re.fullmatch(r"M(\S+) (\S+)H(\S+)", span.get("d", ""))
        assert ends is not None
        assert float(ends[2]) == pytest.approx(float(circle.get("cy", 0)), abs=0.06)
        assert number(float(ends[1])) == pytest.approx(row.low, abs=4 * APART)
        assert number(float(ends[3])) == pytest.approx(row.high, abs=4 * APART)
        (name,) = [text for text in root.findall(f"{SVG}text[@class='ink']") if text.text == row.name]
        assert float(name.get("y", 0)) == pytest.approx(float(circle.get("cy", 0)) + 4, abs=0.06)


@given(COUNTS)
def test_bars_start_at_one_line_beside_their_names(values: list[int]) -> None:
    root = ElementTree.fromstring(bars("t", {f"m{at}": value for at, value in enumerate(values)}))
    rects = root.findall(f"{SVG}rect[@class='f0']")
    assert len({rect.get("x") for rect in rects}) == 1
    longest = max(float(rect.get("width", 0)) for rect in rects)
    for at, (rect, value) in enumerate(zip(rects, values, strict=True)):
        (name,) = [text for text in root.findall(f"{SVG}text[@class='ink']") if text.text == f"m{at}"]
        top = float(rect.get("y", 0))
        assert top < float(name.get("y", 0)) < top + float(rect.get("height", 0))
        # A bar of nothing is one unit long, so that it can be seen.
        share = value / max(values) if max(values) else 1
        assert float(rect.get("width", 0)) == pytest.approx(max(1, share * longest), abs=0.06)
