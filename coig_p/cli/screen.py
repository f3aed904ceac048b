"""What commands show: tables and rows on standard output, progress bars on standard error."""

from __future__ import annotations

import codecs
import io
import json
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from coig_p.cli.terminal import is_utf_8
from coig_p.cli.tree import is_quiet
from coig_p.core.objects import as_path, is_object, url_of
from coig_p.core.text import escaped_json, json_escape, printable, width
from coig_p.errors import CoigPError, UsageError

if TYPE_CHECKING:
    from coig_p.report.sections import Section

STDOUT = Path("-")
bars: list[str] = []  # those on the terminal, which hide its cursor: see coig_p.__main__
_ROWS = {".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def one_line(text: str) -> str:
    """Hostile text for one line of a terminal: line breaks and tabs are escapes, too."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """An aligned plain-text table: names to the left, numbers to the right, thousands separated.

    Cells may be hostile text.
    """
    names, *cells = [
        [f"{cell:,}" if isinstance(cell, int) else one_line(str(cell)) for cell in row] for row in [header, *rows]
    ]
    columns = [max(width(line[at]) for line in [names, *cells]) for at in range(len(names))]

    def line(values: Sequence[str]) -> str:
        padded = [
            values[at] + " " * (columns[at] - width(values[at]))
            if at == 0
            else " " * (columns[at] - width(values[at])) + values[at]
            for at in range(len(values))
        ]
        return "  ".join(padded).rstrip()

    return "\n".join(map(line, [names, *cells]))


def print_sections(sections: Iterable[Section]) -> None:
    """A report: headings, lines and tables, with an empty line between sections."""
    for at, section in enumerate(sections):
        click.echo(("\n" if at else "") + one_line(section.title))
        for line in section.lines:
            click.echo(one_line(line))
        if section.rows:
            click.echo(table(section.header, section.rows))


def json_text(value: object) -> str:
    """One line of JSON for standard output: see `harmless_json`."""
    return harmless_json(json.dumps(value, ensure_ascii=False))


def harmless_json(text: str) -> str:
    """The same JSON, Chinese as it is, what could move the cursor or reorder text as escapes.

    Where standard output is not UTF-8, which JSON is by definition, everything beyond ASCII is an escape.
    """
    harmless = escaped_json(text)
    if is_utf_8(sys.stdout) or harmless.isascii():
        return harmless
    return harmless.translate({ord(one): json_escape(one) for one in set(harmless) if not one.isascii()})


def pasted(path: object) -> str:
    """A path, or another word, in a command that is shown to be pasted into a shell."""
    return printable(shlex.quote(url_of(path)))


def row_file(out: Path, json_: bool, what: str, overwrite: bool) -> str:
    """How rows are written to `out`: "parquet" or "jsonl", by its ending; - is JSON Lines on standard output.

    Raises:
        UsageError: rows cannot be written there.
    """
    from coig_p.store.places import check_file, file_type

    if out == STDOUT:
        if json_:
            raise click.UsageError("--json and --out - both write to standard output: leave one out.")
        standard_output()
        return "jsonl"
    check_file(out, what, overwrite)
    return file_type(out, _ROWS)


def check_apart(out: Path | None, inputs: Iterable[str | Path | None]) -> None:
    """Raise UsageError where what would be written at `out` replaces a file, or a store, that is read for it."""
    if out is None or out == STDOUT or not out.exists():
        return
    whole = out.resolve()
    for path in (as_path(name) for name in inputs if name is not None):
        if is_object(path) != is_object(out) or not path.exists():
            continue
        if path.resolve().is_relative_to(whole) or (not is_object(out) and path.samefile(out)):
            raise UsageError(f"{path} is read, and {out} would replace it: choose another place")


def row_stream(out: Path) -> AbstractContextManager[IO[bytes]]:
    """`out` opened for writing; what goes to standard output, JSON Lines, holds nothing that harms a terminal."""
    from coig_p.core.atomic import atomic_file

    return closing(io.BufferedWriter(_Harmless(standard_output()))) if out == STDOUT else atomic_file(out)


def standard_output() -> IO[bytes]:
    """Standard output, for bytes of UTF-8: as they are, but on a terminal of another encoding in that.

    Raises:
        CoigPError: whoever started this process closed it.
    """
    if sys.stdout is None:
        raise CoigPError("standard output is closed: pass --out FILE")
    if sys.stdout.isatty() and not is_utf_8(sys.stdout):
        return io.BufferedWriter(_OnTerminal())
    return sys.stdout.buffer


class _Harmless(io.RawIOBase):
    """JSON in bytes of UTF-8, handed on with the same values: see `coig_p.core.text.escaped_json`."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.decoder = stream, codecs.getincrementaldecoder("utf-8")()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.stream.write(escaped_json(self.decoder.decode(bytes(data))).encode())
        return len(data)

    def flush(self) -> None:
        if not self.closed:
            self.stream.flush()


class _OnTerminal(io.RawIOBase):
    """Bytes of UTF-8 as text on standard output."""

    def __init__(self) -> None:
        self.decoder = codecs.getincrementaldecoder("utf-8")()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        sys.stdout.write(self.decoder.decode(bytes(data)))
        return len(data)


def show_document(text: str) -> None:
    """A whole file on standard output: UTF-8, whatever the locale, since it may be sent into a file."""
    stream = standard_output()
    stream.write(text.encode())
    stream.flush()


def say(line: str) -> None:
    """How a command is doing, on standard error; nothing with -q."""
    if not is_quiet():
        click.echo(printable(line), err=True)


@contextmanager
def progress(what: str, total: int, unit: str = "bytes") -> Iterator[Callable[[int], None]]:
    """A bar on standard error while the block runs; silent where that is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    done = DownloadColumn() if unit == "bytes" else TextColumn(f"{{task.completed:,}}/{{task.total:,}} {unit}")
    columns = TextColumn("{task.description}", markup=False), BarColumn(), done, TimeRemainingColumn()
    quiet = not console.is_terminal or is_quiet()
    if not quiet:
        bars.append(what)
    try:
        with Progress(*columns, console=console, disable=quiet, transient=True) as bar:
            task = bar.add_task(one_line(what), total=total)
            yield lambda amount: bar.advance(task, amount)
    finally:
        if not quiet:
            bars.remove(what)
