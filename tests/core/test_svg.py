"""Plots are well-formed, hold every name as text, and are the same bytes each time."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coig_p.core.svg import _SERIES, Dot, Series, bars, columns, dots, facets, heat, lines, signed

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
        heat(name, [name, "b"], [name, "c", "d"], [[0.1, None, 1.0], [0.5, 0.7, 0.0]], axis=name),
        facets(name, [name, "2"], {name: [number, 1], "b": [0, 0]}, axis=name),
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
    "plot",
    [
        bars("t", {}),
        columns("t", [], {"a": []}),
        dots("t", [], low=0, high=1),
        heat("t", [], [], []),
        facets("t", [], {}),
    ],
    ids=["bars", "columns", "dots", "heat", "facets"],
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


def marked(root: ElementTree.Element, nth: int) -> list[tuple[float, float]]:
    """Where the marks of a series of `lines` are, without the legend's."""
    marks = [path.get("transform", "") for path in root.findall(f"{SVG}path[@class='f{nth} point']")]
    places = [re.fullmatch(r"translate\((\S+) (\S+)\)", mark) for mark in marks]
    return [(float(place[1]), float(place[2])) for place in places if place]


@given(SHARES)
def test_points_of_lines_are_where_their_numbers_are(shares: list[float | None]) -> None:
    x = [float(at * at) for at in range(len(shares))]
    low = [None if share is None else share / 2 for share in shares]
    high = [None if share is None else (1 + share) / 2 for share in shares]
    root = ElementTree.fromstring(lines("t", x, [Series("a", shares, low, high)]))
    number, across = upright(root), rising(texts(root, "middle"))
    shown = [(at, share) for at, share in zip(x, shares, strict=True) if share is not None]
    drawn = marked(root, 0)
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


@given(st.lists(st.lists(st.none() | st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=5))
def test_a_heat_map_says_each_share_in_its_cell(shares: list[list[float | None]]) -> None:
    rows = [f"r{at}" for at in range(len(shares))]
    root = ElementTree.fromstring(heat("t", rows, ["a", "b", "c"], shares))
    rects = root.findall(f"{SVG}rect")[1:]  # the first is the ground
    texts = [text for text in root.iter(f"{SVG}text") if text.get("fill")]
    wanted = [share for line in shares for share in line if share is not None]
    assert [text.text for text in texts] == [f"{100 * share:.0f}" for share in wanted]
    assert len(rects) == len(wanted)
    assert all(rect.get("fill", "").startswith("#") for rect in rects)
    assert len({(rect.get("x"), rect.get("y")) for rect in rects}) == len(wanted)


@given(st.lists(st.lists(st.integers(0, 900), min_size=4, max_size=4), min_size=1, max_size=7))
def test_a_facet_is_in_proportion_to_its_own_largest(values: list[list[int]]) -> None:
    root = ElementTree.fromstring(facets("t", list("0123"), {f"d{at}": one for at, one in enumerate(values)}))
    heights = [float(rect.get("height", 0)) for rect in root.findall(f"{SVG}rect[@class='f0']")]
    assert len(heights) == 4 * len(values)
    for at, one in enumerate(values):
        most = max([1, *one])
        assert heights[4 * at : 4 * at + 4] == pytest.approx([90 * value / most for value in one], abs=0.06)


def test_names_keep_both_their_ends_where_there_is_no_room() -> None:
    names = {f"organisation/some-quite-long-model-name-{version}-instruct-2025": 3 for version in ("v1.5", "v2.0")}
    shown = [text.text or "" for text in ElementTree.fromstring(bars("t", names)).iter(f"{SVG}text")]
    cut = [text for text in shown if "…" in text]
    assert len(cut) == 2
    assert all(text.startswith("organ") and text.endswith("2025") for text in cut)
    assert "short" in [text.text for text in ElementTree.fromstring(bars("t", {"short": 1})).iter(f"{SVG}text")]


def test_a_difference_that_rounds_to_nothing_has_no_sign() -> None:
    assert [signed(value) for value in (-0.001, 0.001, 0.0, -0.0, 0.006, -1.5)] == [
        *("0.00", "0.00", "0.00", "0.00", "+0.01", "-1.50")
    ]


# How people without red cones, or without green ones, see a colour: Machado, Oliveira and Fernandes (2009), severity 1.
SEEN: dict[str, list[list[float]]] = {
    "all": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


def lab(colour: str, seen: list[list[float]]) -> list[float]:
    """CIE 1976 L*a*b* of an sRGB colour as it is seen."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    linear = [min(1, max(0, sum(a * b for a, b in zip(line, linear, strict=True)))) for line in seen]
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    white = (0.95047, 1.0, 1.08883)
    xyz = [sum(a * b for a, b in zip(line, linear, strict=True)) / at for line, at in zip(to_xyz, white, strict=True)]
    x, y, z = (part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in xyz)
    return [116 * y - 16, 500 * (x - y), 200 * (y - z)]


@pytest.mark.parametrize("seen", SEEN)
@pytest.mark.parametrize("page", [0, 1], ids=["light", "dark"])
def test_lines_can_be_told_apart_also_without_red_or_green(page: int, seen: str) -> None:
    colours = [lab(both[page], SEEN[seen]) for both in _SERIES]
    for one, other in itertools.combinations(colours, 2):
        assert math.dist(one, other) >= 20
