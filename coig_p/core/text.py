"""Text for terminals. What models and files say is hostile until it went through `printable`."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


def printable(text: str) -> str:
    """`text` with every character that could move the cursor or reorder text written as an escape.

    Line breaks and tabs stay; other control, format, surrogate and private-use characters, and
    the two Unicode line separators, do not.
    """
    return "".join(
        character
        if character in "\n\t" or unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
        else f"\\u{ord(character):04x}"
        for character in text
    )


def width(text: str) -> int:
    """Columns that `text` takes on a terminal: two for a Chinese character."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


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
