"""A run while it works, on standard error: a table once a second on a terminal, else a line a minute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from coig_p.cli.screen import bars, one_line, say
from coig_p.cli.tree import is_quiet

if TYPE_CHECKING:
    from rich.table import Table

    from coig_p.annotate.watching import EndpointView, View

_MINUTE = 60
_WORDS = 60  # characters of a server's message that a table has place for
_NAMES = ("endpoint", "done", "in flight", "a minute", "invalid", "failed", "cost", "time left")


@contextmanager
def watched(json_: bool) -> Iterator[Callable[[View], None] | None]:
    """What shows each view of a run while the block runs; None with --json and with -q, where nothing is said."""
    from rich.console import Console

    if json_ or is_quiet():
        yield None
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _each_minute
        return
    from rich.live import Live

    bars.append("run")
    try:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            yield lambda view: live.update(live_table(view), refresh=True)
    finally:
        bars.remove("run")


def live_table(view: View) -> Table:
    """The endpoints of a run, what holds them up, and how far judges agree. Cells may be hostile text."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, caption=one_line(summary(view)), caption_justify="left")
    for at, name in enumerate(_NAMES):
        table.add_column(name, justify="left" if at == 0 else "right", no_wrap=True)
    table.add_column("", no_wrap=True, overflow="ellipsis", ratio=1)
    for one in view.endpoints:
        table.add_row(*(Text(one_line(cell)) for cell in (*cells(one), trouble(one)[:_WORDS])))
    return table


def cells(one: EndpointView) -> list[str]:
    """An endpoint's row."""
    seen = one.seen
    return [
        seen.name,
        f"{seen.done:,}/{one.planned:,}",
        f"{seen.in_flight:,}",
        "" if seen.rate is None else f"{seen.rate:,.0f}",
        f"{seen.invalid:,}",
        f"{seen.failed:,}",
        _money(seen.cost),
        _time(one.minutes),
    ]


def trouble(one: EndpointView) -> str:
    """Why an endpoint is left or paused, else what its server last said of a request that it did not answer."""
    return f"left: {one.seen.left}" if one.seen.left is not None else one.seen.last or ""


def summary(view: View) -> str:
    """All endpoints, and how far judges agree, on one line."""
    done, planned = sum(one.seen.done for one in view.endpoints), sum(one.planned for one in view.endpoints)
    found = view.agreement
    agree = ""
    if found.responses:
        agree = (
            f"; judges within a point on {found.close / found.responses:.0%} of {found.responses:,} responses, "
            f"{found.spread / found.responses:.1f} apart on average"
        )
    left = _time(view.minutes)
    time = f"{left} left" if left else "time left unknown"
    return f"{done:,} of {planned:,} requests, cost {_money(view.cost)}, {time}{agree}"


def line(view: View) -> str:
    """A run on one line, for logs: all in all, and each endpoint."""
    parts = []
    for one in view.endpoints:
        name, done, flying, rate, invalid, failed, cost, left = cells(one)
        words = [f"{name} {done}", f"{flying} in flight"]
        words += [f"{rate} a minute"] * bool(rate) + [f"{invalid} invalid"] * bool(one.seen.invalid)
        words += [f"{failed} failed"] * bool(one.seen.failed) + [
            f"cost {cost}",
            f"{left} left" if left else "no pace yet",
        ]
        parts.append(", ".join(words) + (f" ({trouble(one)})" if trouble(one) else ""))
    return one_line("; ".join([summary(view), *parts]))


def _each_minute(view: View) -> None:
    if view.seconds % _MINUTE == 0:
        say(line(view))


def _money(cost: int) -> str:
    return f"{cost / 10**12:.4f}"


def _time(minutes: float | None) -> str:
    if minutes is None:
        return ""
    if minutes < 1:
        return f"{minutes * 60:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
