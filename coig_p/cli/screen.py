"""What commands show: tables on standard output, progress bars on standard error."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from coig_p.core.text import width


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """An aligned plain-text table: names to the left, numbers to the right, thousands separated."""
    cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    columns = [max(width(line[at]) for line in [list(header), *cells]) for at in range(len(header))]

    def line(values: Sequence[str]) -> str:
        padded = [
            values[at] + " " * (columns[at] - width(values[at]))
            if at == 0
            else " " * (columns[at] - width(values[at])) + values[at]
            for at in range(len(values))
        ]
        return "  ".join(padded).rstrip()

    return "\n".join([line(list(header)), *map(line, cells)])


@contextmanager
def progress(what: str, total: int, unit: str = "bytes") -> Iterator[Callable[[int], None]]:
    """A bar on standard error while the block runs; silent where that is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    done = DownloadColumn() if unit == "bytes" else TextColumn(f"{{task.completed:,}}/{{task.total:,}} {unit}")
    columns = TextColumn("{task.description}"), BarColumn(), done, TimeRemainingColumn()
    quiet = not console.is_terminal or logging.getLogger("coig_p").level >= logging.ERROR
    with Progress(*columns, console=console, disable=quiet, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda amount: bar.advance(task, amount)
