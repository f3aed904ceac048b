"""Plots as SVG text: data in, the same bytes out. No script, no font file, nothing to fetch.

Every plot is 700 wide, the width of a dataset card. It brings its own background and the colours
for a light and a dark page, so it can be read on either, also where a page is dark and the system
is not. Names are hostile text: they are escaped, cut to what fits, and never become markup.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from coig_p.core.text import printable, width

WIDTH = 700
FONTS = (
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'PingFang SC', 'Hiragino Sans GB', 'Microsoft YaHei', "
    "'Noto Sans CJK SC', 'Noto Sans SC', 'Source Han Sans SC', 'WenQuanYi Micro Hei', sans-serif"
)
_LIGHT = {"bg": "#ffffff", "ink": "#1f2328", "dim": "#59636e", "line": "#d1d9e0"}
_DARK = {"bg": "#0d1117", "ink": "#f0f6fc", "dim": "#b1bac4", "line": "#3d444d"}
# At least 20 dE (CIE 1976) from each other also as people without red or green cones see them; a test computes it.
_SERIES = (("#0969da", "#58a6ff"), ("#9a3c00", "#d2691e"), ("#111111", "#f0f6fc"), ("#b98d00", "#f2cc60"))
MOST_SERIES = len(_SERIES)
"""Lines, or bars side by side, that one plot can tell apart."""

_NOT_IN_XML = {0xFFFE: "\\ufffe", 0xFFFF: "\\uffff"}


@dataclass(frozen=True)
class Series:
    """One line of `lines`: a value for each x, None where there is none, and the ends of its interval."""

    name: str
    values: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()


@dataclass(frozen=True)
class Dot:
    """One row of `dots`: a value with its interval, and a note to its right."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    note: str = ""


def bars(title: str, values: Mapping[str, int], colours: Sequence[str] = (), *, empty: str = "none") -> str:
    """A horizontal bar for each name.

    Args:
        colours: of each bar; default: one for all.
        empty: what stands there without any values.
    """
    row, left, right = 24, 230, 90
    most = max([*values.values(), 1])
    parts = []
    for at, (name, value) in enumerate(values.items()):
        y, long = 44 + at * row, max(1.0, (WIDTH - left - right) * value / most)
        fill = f'fill="{escape(colours[at])}"' if colours else 'class="f0"'
        parts += [
            _text(left - 8, y + 13, name, "end", fits=left - 16),
            f'<rect x="{left}" y="{y}" width="{_n(long)}" height="17" {fill}/>',
            _text(left + long + 6, y + 13, f"{value:,}", kind="dim"),
        ]
    if not values:
        parts.append(_text(16, 58, empty, kind="dim"))
    described = "; ".join(f"{name}: {value:,}" for name, value in values.items()) or empty
    return _svg(title, described, 58 + row * max(len(values), 1), parts)


def columns(
    title: str,
    labels: Sequence[str],
    series: Mapping[str, Sequence[int]],
    *,
    axis: str = "",
    counted: str = "",
    empty: str = "none",
) -> str:
    """Vertical bars side by side for each label, as in a histogram: one for each of 1 to 4 series.

    Args:
        labels: the lower ends of the bins, each where its bin begins; those that would overlap are left out.
        axis: what the labels are, below them.
        counted: what the heights count, above the scale at the left.
    """
    left, top, high, bottom = 70, 84, 210, 56
    wide = WIDTH - left - 24
    most = max([1, *(value for values in series.values() for value in values)])
    step = _round_step(most)
    roof = step * math.ceil(most / step)
    parts = _legend(list(series)) if len(series) > 1 else []
    parts.append(_text(16, top - 14, counted, kind="dim", fits=WIDTH - 32))
    for nth in range(round(roof / step) + 1):
        y = top + high * (1 - nth * step / roof)
        parts += [
            f'<path class="line" d="M{left} {_n(y)}H{left + wide}"/>',
            _text(left - 8, y + 4, f"{nth * step:,}", "end", "dim"),
        ]
    slot = wide / max(len(labels), 1)
    each = slot * 0.92 / max(len(series), 1)
    every = max(1, math.ceil(max([_wide(label) for label in labels] or [0]) * 14 / slot))
    for at, label in enumerate(labels):
        x = left + slot * at
        for nth, values in enumerate(series.values()):
            long = high * values[at] / roof
            parts.append(
                f'<rect class="f{nth}" x="{_n(x + slot * 0.04 + each * nth)}" y="{_n(top + high - long)}" '
                f'width="{_n(each)}" height="{_n(long)}"/>'
            )
        if at % every == 0:  # at the edge where the bin begins
            parts.append(f'<path class="tick" d="M{_n(x)} {top + high}V{top + high + 5}"/>')
            parts.append(_text(x, top + high + 18, label, "middle", "dim"))
    if not labels:
        parts.append(_text(left + wide / 2, top + high / 2, empty, "middle", "dim"))
    parts.append(_text(left + wide / 2, top + high + 42, axis, "middle", "dim"))
    described = "; ".join(
        f"{name}: " + ", ".join(f"{label} {value:,}" for label, value in zip(labels, values, strict=True))
        for name, values in series.items()
    )
    return _svg(title, described, top + high + bottom, parts)


def lines(
    title: str,
    x: Sequence[float],
    series: Sequence[Series],
    *,
    axis: str = "",
    marks: Mapping[float, str] | None = None,
) -> str:
    """Shares over x, each a line of points with its interval shaded, on a scale from 0 to 100%.

    Args:
        x: ascending.
        series: 1 to 4.
        axis: what x is.
        marks: places on x to mark by a dashed line, and what each is.
    """
    left, top, high, bottom = 58, 98, 230, 56
    wide = WIDTH - left - 30
    span = (x[-1] - x[0]) or 1.0

    def place(value: float) -> float:
        return left + wide * (value - x[0]) / span

    def height(share: float) -> float:
        return top + high * (1 - share)

    parts = _legend([one.name for one in series], marked=True)
    for nth in range(6):
        y = height(nth / 5)
        parts.append(f'<path class="line" d="M{left} {_n(y)}H{left + wide}"/>')
        parts.append(_text(left - 8, y + 4, f"{nth * 20}%", "end", "dim"))
    last = -math.inf
    for value in x:
        if place(value) - last >= 34:
            last = place(value)
            parts.append(_text(last, top + high + 18, f"{value:g}", "middle", "dim"))
    for nth, (value, name) in enumerate(sorted((marks or {}).items())):
        parts.append(f'<path class="mark" d="M{_n(place(value))} {top}V{top + high}"/>')
        end = place(value) > left + wide * 0.7
        parts.append(
            _text(place(value) + (-5 if end else 5), top - 8 - 15 * nth, name, "end" if end else "start", "dim")
        )
    for nth, one in enumerate(series):
        for run in _runs(one.low, one.high):
            edge = [f"{_n(place(x[at]))} {_n(height(one.high[at] or 0))}" for at in run]
            edge += [f"{_n(place(x[at]))} {_n(height(one.low[at] or 0))}" for at in reversed(run)]
            parts.append(f'<path class="f{nth} band" d="M{"L".join(edge)}Z"/>')
    for nth, one in enumerate(series):
        for run in _runs(one.values, one.values):
            points = [(_n(place(x[at])), _n(height(one.values[at] or 0))) for at in run]
            parts.append(f'<path class="s{nth}" d="M{"L".join(f"{a} {b}" for a, b in points)}"/>')
            parts += [_marker(nth, float(a), float(b)) for a, b in points]
    parts.append(_text(left + wide / 2, top + high + 42, axis, "middle", "dim"))
    described = "; ".join(
        f"{one.name}: " + ", ".join(f"{at:g} {_percent(value)}" for at, value in zip(x, one.values, strict=True))
        for one in series
    )
    return _svg(title, described, top + high + bottom, parts)


def dots(
    title: str,
    rows: Sequence[Dot],
    *,
    low: float,
    high: float,
    percent: bool = False,
    axis: str = "",
    empty: str = "none",
) -> str:
    """A value with its interval for each row, on a common scale from `low` to `high`; 0 or 50% is marked.

    Args:
        percent: show shares as percentages.
    """
    row, left, right, top = 26, 210, 90, 40
    wide = WIDTH - left - right
    span = (high - low) or 1.0
    bottom = top + row * max(len(rows), 1)

    def place(value: float) -> float:
        return left + wide * (min(max(value, low), high) - low) / span

    def shown(value: float) -> str:
        return _percent(value) if percent else signed(value)

    parts = []
    for nth in range(5):
        value = low + span * nth / 4
        kind = "mark" if nth == 2 else "line"
        parts.append(f'<path class="{kind}" d="M{_n(place(value))} {top}V{bottom}"/>')
        text = f"{value:.0%}" if percent else f"{value:+g}"
        parts.append(_text(place(value), bottom + 18, "0" if value == 0 and not percent else text, "middle", "dim"))
    for at, dot in enumerate(rows):
        y = top + row * (at + 0.5)
        parts.append(_text(left - 10, y + 4, dot.name, "end", fits=left - 20))
        if dot.low is not None and dot.high is not None:
            parts.append(f'<path class="s0" d="M{_n(place(dot.low))} {_n(y)}H{_n(place(dot.high))}"/>')
        parts.append(f'<circle class="f0" cx="{_n(place(dot.value))}" cy="{_n(y)}" r="4.5"/>')
        parts.append(_text(WIDTH - right + 12, y + 4, dot.note or shown(dot.value), "start", "dim", fits=right - 16))
    if not rows:
        parts.append(_text(16, top + 18, empty, kind="dim"))
    parts.append(_text(left + wide / 2, bottom + 40, axis, "middle", "dim"))
    described = "; ".join(f"{dot.name}: {shown(dot.value)}" for dot in rows) or empty
    return _svg(title, described, bottom + 54, parts)


_HEAT = ("#b35806", "#e08214", "#fdb863", "#fee0b6", "#f7f7f7", "#d8daeb", "#b2abd2", "#8073ac", "#542788")


def heat(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    shares: Sequence[Sequence[float | None]],
    *,
    axis: str = "",
    empty: str = "none",
) -> str:
    """A share of 0 to 1 for each row and column, as a colour and in figures; one half is white.

    Args:
        shares: a list a row; None where there is none to show.
        axis: what a share is, below the map.
    """
    left, top, right = 190, 92, 16
    wide = (WIDTH - left - right) / max(len(columns), 1)
    row, most = 26, len(_HEAT) - 1
    parts = []
    for at, name in enumerate(columns):
        parts.append(_text(left + wide * (at + 0.5), top - 8 - 14 * (at % 3), name, "middle", "dim", fits=wide * 2.8))
    for at, name in enumerate(rows):
        y = top + row * at
        parts.append(_text(left - 8, y + 17, name, "end", fits=left - 20))
        for place, share in enumerate(shares[at]):
            if share is None:
                continue
            step = round(share * most)
            ink = "#ffffff" if step in (0, most - 1, most) else "#111111"
            x = left + wide * place
            parts.append(
                f'<rect x="{_n(x)}" y="{y}" width="{_n(wide - 1)}" height="{row - 1}" fill="{_HEAT[step]}"/>'
                f'<text fill="{ink}" x="{_n(x + wide / 2)}" y="{y + 17}" text-anchor="middle">{100 * share:.0f}</text>'
            )
    if not rows or not columns:
        parts.append(_text(16, top + 18, empty, kind="dim"))
    bottom = top + row * max(len(rows), 1)
    parts.append(_text(left + (WIDTH - left - right) / 2, bottom + 26, axis, "middle", "dim"))
    described = "; ".join(
        f"{name}: " + ", ".join(f"{other} {_percent(share)}" for other, share in zip(columns, line, strict=True))
        for name, line in zip(rows, shares, strict=True)
    )
    return _svg(title, described or empty, bottom + 42, parts)


def facets(
    title: str, labels: Sequence[str], panels: Mapping[str, Sequence[int]], *, axis: str = "", empty: str = "none"
) -> str:
    """A small histogram for each name, three beside each other, each on its own scale, whose end is said.

    Args:
        labels: the lower ends of the bins, the same for all.
    """
    beside, high, gap = 3, 90, 62
    wide = (WIDTH - 32 - 24 * (beside - 1)) / beside
    parts = []
    for nth, (name, values) in enumerate(panels.items()):
        x0, y0 = 16 + (wide + 24) * (nth % beside), 62 + (high + gap) * (nth // beside)
        most = max([1, *values])
        slot = wide / max(len(values), 1)
        parts.append(_text(x0, y0 - 8, f"{name} ({sum(values):,})", fits=wide))
        for at, value in enumerate(values):
            long = high * value / most
            parts.append(
                f'<rect class="f0" x="{_n(x0 + slot * (at + 0.04))}" y="{_n(y0 + high - long)}" '
                f'width="{_n(slot * 0.92)}" height="{_n(long)}"/>'
            )
        parts.append(f'<path class="line" d="M{_n(x0)} {y0 + high}H{_n(x0 + wide)}"/>')
        every = max(1, math.ceil(max([_wide(label) for label in labels] or [0]) * 14 / slot))
        parts += [
            _text(x0 + slot * at, y0 + high + 16, label, "middle", "dim")
            for at, label in enumerate(labels)
            if at % every == 0
        ]
    if not panels:
        parts.append(_text(16, 58, empty, kind="dim"))
    bottom = 62 + (high + gap) * max(1, math.ceil(len(panels) / beside))
    parts.append(_text(WIDTH / 2, bottom, axis, "middle", "dim"))
    described = "; ".join(
        f"{name}: " + ", ".join(f"{label} {value:,}" for label, value in zip(labels, values, strict=True))
        for name, values in panels.items()
    )
    return _svg(title, described or empty, bottom + 16, parts)


def _svg(title: str, description: str, height: float, parts: Sequence[str]) -> str:
    def style(colours: Mapping[str, str], series: Sequence[str]) -> str:
        named = f".bg{{fill:{colours['bg']}}}.ink{{fill:{colours['ink']}}}.dim{{fill:{colours['dim']}}}"
        named += f".line{{stroke:{colours['line']}}}.mark,.tick{{stroke:{colours['dim']}}}"
        return named + "".join(f".f{at}{{fill:{value}}}.s{at}{{stroke:{value}}}" for at, value in enumerate(series))

    light, dark = (style(colours, [both[at] for both in _SERIES]) for at, colours in enumerate((_LIGHT, _DARK)))
    shapes = ".s0,.s1,.s2,.s3{fill:none;stroke-width:2}.band{opacity:.2}.mark{stroke-dasharray:4 3}"
    height_ = _n(height)
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height_}" width="{WIDTH}" height="{height_}" '
        f'role="img" font-family="{FONTS}" font-size="13">',
        f"<title>{_safe(title)}</title>",
        f"<desc>{_safe(description)}</desc>",
        f"<style>{light}{shapes}@media (prefers-color-scheme: dark){{{dark}}}</style>",
        f'<rect class="bg" width="{WIDTH}" height="{height_}"/>',
        f'<text class="ink" x="16" y="26" font-size="16" font-weight="600">{_safe(_cut(title, WIDTH - 32, 16))}</text>',
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"


def _marker(nth: int, x: float, y: float, size: float = 1) -> str:
    """What marks the points of a line: a circle, a square, a triangle or a diamond, so that colour is not all."""
    place = f"translate({_n(x)} {_n(y)})" + (f" scale({_n(size)})" if size != 1 else "")
    return f'<path class="f{nth} point" transform="{place}" d="{_MARKERS[nth]}"/>'


_MARKERS = (
    "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0Z",
    "M-3.2-3.2h6.4v6.4h-6.4Z",
    "M0-4l4 7h-8Z",
    "M0-4.4L4.4 0L0 4.4L-4.4 0Z",
)


def _legend(names: Sequence[str], marked: bool = False) -> list[str]:
    parts, x = [], 16.0
    for at, name in enumerate(names):
        box = f'<rect class="f{at}" x="{_n(x)}" y="40" width="12" height="12"/>'
        parts.append(_marker(at, x + 6, 46, 1.5) if marked else box)
        parts.append(_text(x + 17, 51, name, fits=WIDTH / max(len(names), 1) - 30))
        x += 17 + min(_wide(name) * 13, WIDTH / max(len(names), 1) - 30) + 16
    return parts


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "ink", fits: float = math.inf) -> str:
    placed = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text class="{kind}" x="{_n(x)}" y="{_n(y)}"{placed}>{_safe(_cut(text, fits))}</text>'


def _cut(text: str, fits: float, size: float = 13) -> str:
    """As much of `text` as goes into so many units: both its ends, since names of versions differ at the end."""
    text = printable(text if len(text) <= 400 else f"{text[:200]}{text[-200:]}")
    if _wide(text) * size <= fits:
        return text
    begin, end = text[: len(text) // 2], text[len(text) // 2 :]
    while (begin or end) and (_wide(begin) + _wide(end) + 1) * size > fits:
        if _wide(begin) > _wide(end):
            begin = begin[:-1]
        else:
            end = end[1:]
    return f"{begin}…{end}"


def _wide(text: str) -> float:
    """About how wide a text is, in units of the font's size."""
    return sum(
        1.0 if width(letter) == 2 else 0.85 if letter in "MWmw@%" else 0.32 if letter in "ijl.,:;'|! " else 0.63
        for letter in text
    )


def _safe(text: str) -> str:
    return escape(printable(text).replace("\n", " ").replace("\t", " ").translate(_NOT_IN_XML))


def _runs(*columns: Sequence[float | None]) -> list[list[int]]:
    """Stretches of places where no column is None."""
    runs: list[list[int]] = [[]]
    for at in range(min(len(column) for column in columns)):
        if all(column[at] is not None for column in columns):
            runs[-1].append(at)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _round_step(most: float) -> int:
    """A round step that cuts 0 to `most` into 2 to 5."""
    power = int(10 ** math.floor(math.log10(max(most / 5, 1))))
    return next(step for step in (power, 2 * power, 5 * power, 10 * power) if step * 5 >= most)


def signed(value: float, decimals: int = 2) -> str:
    """A difference with its sign; what rounds to nothing has none."""
    text = f"{value:+.{decimals}f}"
    return text if float(text) else text[1:]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _n(value: float) -> str:
    """A coordinate with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")
