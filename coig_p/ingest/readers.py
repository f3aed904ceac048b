"""Upstream files to raw rows, each with the place it came from.

A row is whatever the file says, unchecked; `coig_p.ingest.intake` decides what is right. To add a
format, write a function like `_read_jsonl` and name its suffix in `_READERS`.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from glob import glob, has_magic
from pathlib import Path
from shlex import quote
from typing import IO, Any, NamedTuple, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from coig_p.core.bombs import check_bomb
from coig_p.core.objects import as_path, is_object, is_url, matching
from coig_p.core.progress import Advance
from coig_p.core.strict_json import whole_number
from coig_p.errors import CoigPError, DataError, UsageError
from coig_p.ingest.encodings import FAMILIES, SAMPLE, Recoded, found_encoding, is_ascii_based
from coig_p.ingest.packing import opened
from coig_p.ingest.tables import as_rows, bounded_lines, check_schema, records
from coig_p.store.locate import download_file
from coig_p.store.places import STORE, check_name

Item = TypeVar("Item")
_ADDRESS = re.compile("https?:/")
_PARQUET_ROWS = 256
_NO_TEXT = ("idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "charmap")  # codecs of pieces
_UNREAD = "nothing after it could be read"
_JSON_CHARS = 1 << 20
_BLOCK = 4 << 20  # bytes of JSON Lines read at a time; no more than _LONGEST_LINE
_LONGEST_LINE = 64 << 20  # bytes; a row beyond it is a broken file, not a query


class RawRow(NamedTuple):
    """One row as its file has it.

    Attributes:
        file: the path as the user gave it.
        line: 1-based; where the row begins in a text file, its number in Parquet.
        value: the row, or the raw text of one that could not be parsed.
        problem: (reason, message) of one that could not be parsed.
        textual: every value is text, as in CSV.
        columnar: objects have every key of the column, null where the row has it not, as in Parquet.
    """

    file: str
    line: int
    value: Any
    problem: tuple[str, str] | None = None
    textual: bool = False
    columnar: bool = False


class Lines(NamedTuple):
    """Whole lines of a JSON Lines file.

    Attributes:
        file: the path as the user gave it.
        line: 1-based, of the first.
        data: the lines as they are, without a byte order mark.
    """

    file: str
    line: int
    data: bytes | bytearray

    def rows(self, encoding: str) -> Iterator[RawRow]:
        """The row of every line that is not blank."""
        for at, raw in enumerate(bytes(self.data).split(b"\n")):
            if raw and not raw.isspace():
                yield _parse_line(self.file, self.line + at, raw, encoding)


def find_inputs(inputs: Sequence[str | Path], valid: Collection[str] | None = None) -> list[Path]:
    """Every named file, of a `valid` suffix, with patterns as data/*.jsonl filled in and hf:// files downloaded.

    Those of object stores, as s3://bucket/data/*.jsonl, are read where they are.

    Raises:
        UsageError: no such file, a directory, or an unknown suffix.
        RemoteError: a file of a repository could not be had.
    """
    found: list[Path] = []
    for name in inputs:
        if _ADDRESS.match(str(name)):
            raise UsageError(f"{name} is an address: download the file first, and name that")
        if is_url(str(name)):
            name = as_path(name)
        if str(name).replace("\\", "/").startswith(("hf://", "hf:/")):
            found.append(download_file("hf://" + str(name).partition(":")[2].lstrip("/")))
        elif is_object(name):
            found += _in_object_store(cast(Path, name))
        elif has_magic(str(name)) and not Path(name).exists():
            matches = sorted(Path(match) for match in glob(str(name), recursive=True) if Path(match).is_file())
            if not matches:
                raise UsageError(f"{name}: no file fits this pattern")
            found += matches
        else:
            found.append(Path(name))
    return [check_input(path, valid) for path in found]


def _in_object_store(path: Path) -> list[Path]:
    if not has_magic(str(path)) or path.is_file():
        return [path]
    matches = matching(path)
    if not matches:
        raise UsageError(f"{path}: no file fits this pattern")
    return matches


def data_files(folder: Path) -> list[Path]:
    """Every file under `folder` that `read_rows` can read, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and _suffixes(path)[0] in _READERS)


def check_input(path: Path, valid: Collection[str] | None = None) -> Path:
    """Return `path` where it names a readable file of a known format.

    Raises:
        UsageError: no such file, a directory, a pipe, a device, an unknown suffix, or a name that is not UTF-8.
    """
    check_name(path)
    if path.is_dir():
        raise UsageError(f"{path} is a directory{_in_it(path)}")
    if str(path) == "-":
        raise UsageError("- is standard input, which is read only once: write it to a file first, and name that")
    if not path.exists():
        raise UsageError(f"{path}: no such file")
    if not path.is_file():  # it is read more than once
        raise UsageError(f"{path} is not a regular file: write what it gives to a file first, and name that")
    suffix, packing = _suffixes(path)
    if suffix not in (valid := valid or _READERS):
        raise UsageError(f"{path}: unknown format {suffix!r}. Valid: {', '.join(valid)}, also with .gz or .zst")
    if packing and suffix == ".parquet":
        raise UsageError(f"{path}: Parquet is compressed inside; unpack it first")
    return path


def _in_it(folder: Path) -> str:
    """How to name what a directory holds."""
    if STORE.marks(folder):
        return " and a store already: rows are imported from files"
    kinds = Counter("".join(_suffixes(path)) for path in folder.iterdir() if _suffixes(path)[0] in _READERS)
    if not kinds:
        return f", and holds no file of a known format: {', '.join(_READERS)}"
    return f": name the files in it, for instance {quote(str(folder))}/*{kinds.most_common(1)[0][0]}"


def check_encoding(name: str) -> str:
    """Return `name`; raise UsageError unless it is an encoding of text."""
    try:
        known = codecs.lookup(name).name.replace("-", "_") not in _NO_TEXT and "\n{".encode(name).decode(name) == "\n{"
    except (LookupError, UnicodeError, ValueError):
        known = False
    if not known:
        raise UsageError(f"encoding {name!r}: use utf-8, gb18030, utf-16, big5 or another that Python knows")
    return name


def file_encoding(path: Path, encoding: str | None) -> str:
    """The encoding to read a text file in: the one asked for (None: UTF-8, and no choice), or UTF-8 if it is.

    Raises:
        DataError: it is another one; the message names it.
    """
    hint = "" if encoding is None else "pass --encoding {}, or "
    encoding = encoding or "utf-8"
    if _suffixes(path)[0] == ".parquet":
        return encoding
    found = found_encoding(next(_whole(path, _beginning(path))), encoding)
    asked = codecs.lookup(encoding).name
    if found is None:
        return encoding
    if asked == found or any(asked in family and found in family for family in FAMILIES):
        return found if found.startswith("utf-") else encoding
    if found == "utf-8":
        return found
    was = "is not UTF-8" if asked == "utf-8" else f"is not {encoding.upper()}"
    raise DataError(f"{path} {was}; it looks like {found.upper()}: {hint.format(found)}save it as UTF-8")


def _beginning(path: Path) -> Iterator[bytes]:
    with opened(path, _suffixes(path)[1], lambda read: None) as stream:
        yield stream.read(SAMPLE)


def read_rows(path: str | Path, encoding: str = "utf-8", advance: Advance = lambda read: None) -> Iterator[RawRow]:
    """Every row of a file, in order, in constant memory.

    Args:
        encoding: of text files; a byte order mark is left out.
        advance: called with the number of bytes read since the last call.

    Raises:
        DataError: the file as a whole cannot be read.
    """
    path = check_input(as_path(path))
    yield from _whole(path, _READERS[_suffixes(path)[0]](path, encoding, advance))


def read_blocks(
    path: str | Path, encoding: str = "utf-8", advance: Advance = lambda read: None
) -> Iterator[Lines | RawRow]:
    """A JSON Lines file in blocks of whole lines, in order; a line too long to be held is a RawRow.

    The lines are in `read_as(encoding)`.

    Raises:
        DataError: the file as a whole cannot be read.
    """
    yield from _whole(as_path(path), _blocks(as_path(path), encoding, advance))


def has_lines(path: Path) -> bool:
    """Whether a file is JSON Lines by its name."""
    return _READERS[_suffixes(path)[0]] is _read_jsonl


def _whole(path: Path, items: Iterator[Item]) -> Iterator[Item]:
    """The same items; what shows that the file is damaged becomes one clear error."""
    try:
        yield from items
    except (EOFError, zlib.error, gzip.BadGzipFile, pa.ArrowInvalid) as error:
        raise DataError(f"{path} is damaged or cut short: {error}") from None
    except OSError as error:
        if error.errno is None:  # Arrow's decompressor, not the system
            raise DataError(f"{path} is damaged or cut short: {error}") from None
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def _suffixes(path: Path) -> tuple[str, str]:
    """The suffix that names the format, and that of the compression around it."""
    name = path.name.lower()
    for packing in (".gz", ".zst"):
        if name.endswith(packing):
            return Path(name.removesuffix(packing)).suffix, packing
    return Path(name).suffix, ""


def _read_jsonl(path: Path, encoding: str, advance: Advance) -> Iterator[RawRow]:
    for part in _blocks(path, encoding, advance):
        yield from part.rows(read_as(encoding)) if isinstance(part, Lines) else [part]


@contextmanager
def _bytes_of(path: Path, encoding: str, advance: Advance) -> Iterator[IO[bytes]]:
    """The bytes of a file in an encoding of which ASCII is a part: see `read_as`."""
    with opened(path, _suffixes(path)[1], advance) as stream:
        yield stream if is_ascii_based(encoding) else io.BufferedReader(Recoded(stream, encoding), 1 << 20)


def read_as(encoding: str) -> str:
    """The encoding that a file's lines are in once they are told apart."""
    return encoding if is_ascii_based(encoding) else "utf-8"


def _blocks(path: Path, encoding: str, advance: Advance) -> Iterator[Lines | RawRow]:
    line = 1
    with _bytes_of(path, encoding, advance) as stream:
        while data := _read(stream, _BLOCK):
            if not data.endswith(b"\n"):
                data += stream.readline(_LONGEST_LINE + 1)
            last = data.rfind(b"\n", 0, -1) + 1
            too_long = len(data) - last > _LONGEST_LINE
            if too_long:
                rest = bytes(data[last:])
                while rest and not rest.endswith(b"\n"):
                    rest = stream.readline(_JSON_CHARS)
                data = data[:last]
            if data:
                yield Lines(str(path), line, data.removeprefix(codecs.BOM_UTF8) if line == 1 else data)
                line += int(np.count_nonzero(np.frombuffer(data, np.uint8) == ord("\n")))
            if too_long:
                message = f"the line is longer than {_LONGEST_LINE >> 20} MiB"
                yield RawRow(str(path), line, "", ("too-long", message))
                line += 1


def _read(stream: IO[bytes], size: int) -> bytearray:
    """The next bytes, in memory that can grow where it lies: a block is copied once."""
    data = bytearray(size)
    read = stream.readinto(data)  # type: ignore[attr-defined]
    del data[read:]
    return data


def _parse_line(file: str, line: int, raw: bytes | bytearray, encoding: str) -> RawRow:
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        shown = raw.decode("utf-8", errors="backslashreplace")
        message = f"byte {error.start + 1} of the line is not {encoding.upper()}. Is it another --encoding?"
        return RawRow(file, line, shown, ("wrong-encoding", message))
    try:
        value = _decoder.decode(text)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            said = "a list of rows in one line: name the file .json"
            return RawRow(file, line, text.rstrip("\r\n"), ("not-an-object", said))
        return RawRow(file, line, value)
    except (ValueError, RecursionError) as error:
        over = "; one value over several lines? Name the file .json" if text.strip() in ("{", "[") else ""
        return RawRow(file, line, text.rstrip("\r\n"), ("broken-json", _json_error(error) + over))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; a key that stands in it twice says two things, and the last must not win in silence."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_int=whole_number)


def _json_error(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg} at character {error.colno}"
    return "nested too deep" if isinstance(error, RecursionError) else f"not JSON: {error}"


def _read_json(path: Path, encoding: str, advance: Advance) -> Iterator[RawRow]:
    """A JSON array of rows, one row alone, or JSON Lines by another name."""
    with _bytes_of(path, encoding, lambda read: None) as stream:
        head = stream.readline(_LONGEST_LINE).removeprefix(codecs.BOM_UTF8).strip()
    first = _parse_line("", 1, head, read_as(encoding)) if head.startswith(b"{") else None
    if first is not None and first.problem is None and _columns_in(first.value) is None:
        yield from _read_jsonl(path, encoding, advance)
    else:
        yield from _read_json_values(path, encoding, advance)


def _read_json_values(path: Path, encoding: str, advance: Advance) -> Iterator[RawRow]:
    decode = _decoder.raw_decode
    file, line, text, ended = str(path), 1, "", False
    # Bytes that are not UTF-8 become lone surrogates, which the import then reports by field.
    with _bytes_of(path, encoding, advance) as raw:
        stream = io.TextIOWrapper(raw, _signed(read_as(encoding)), errors="surrogateescape", newline="")

        def fill() -> None:
            nonlocal text, ended
            more = stream.read(max(_JSON_CHARS, len(text)))
            text, ended = text + more, not more

        def skip(characters: int) -> str:
            """Drop what was read and the white space after it; return the next character."""
            nonlocal text, line
            while True:
                rest = text[characters:].lstrip(" \t\r\n")
                line += text.count("\n", 0, len(text) - len(rest))
                text, characters = rest, 0
                if text or ended:
                    return text[:1]
                fill()

        following = skip(0)
        in_array = any_before = False
        while True:
            if not in_array and following == "[":  # one array after another is what joined files are
                in_array, following = True, skip(1)
                if following == "]":
                    in_array, following = False, skip(1)
                    continue
            if not following and not in_array:
                return
            while True:
                try:
                    value, end = decode(text)
                    if end == len(text) and not ended:  # a number may go on
                        fill()
                        continue
                    break
                except (ValueError, RecursionError) as error:
                    if ended or isinstance(error, RecursionError):
                        message = _json_error(error) if following else "the array is cut short"
                        yield RawRow(file, line, text[:1000], ("broken-json", f"{message}; {_UNREAD}"))
                        return
                    if len(text) > _LONGEST_LINE:
                        yield RawRow(file, line, text[:1000], ("too-long", f"longer than 64 MiB; {_UNREAD}"))
                        return
                    fill()
            here = line
            following = skip(end)
            said = None if in_array or following or any_before else _columns_in(value)
            any_before = True
            yield RawRow(file, here, value, None if said is None else ("no-rows", said))
            if in_array and following == ",":
                following = skip(1)
            elif in_array and following == "]":
                in_array, following = False, skip(1)
                if following and following not in "[{":
                    message = f"found {following!r} after the end of the array"
                    yield RawRow(file, line, text[:1000], ("broken-json", f"{message}; {_UNREAD}"))
                    return
            elif in_array:
                message = "the array is cut short" if not following else f"found {following!r} between two rows"
                yield RawRow(file, line, text[:1000], ("broken-json", f"{message}; {_UNREAD}"))
                return


def _columns_in(value: Any) -> str | None:
    """What to say where an object, alone in a file, is a table: its columns as lists, or an object of objects."""
    if not isinstance(value, dict) or len(value) < 2:
        return None
    parts = list(value.values())
    lists = [part for part in parts if isinstance(part, list)]
    of_values = all(not isinstance(one, (list, dict)) for part in lists for one in part)
    if len(lists) == len(parts) and of_values and len(set(map(len, lists))) == 1 and len(lists[0]) > 1:
        return "the file holds columns, not rows: write a list of objects, in pandas with orient='records'"
    if all(isinstance(part, dict) for part in parts) and len({tuple(part) for part in parts}) == 1 and parts[0]:
        return "the file is an object of objects, not of rows: write a list of them, in pandas with orient='records'"
    return None


def _signed(encoding: str) -> str:
    """The encoding that leaves out a byte order mark."""
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def _read_csv(path: Path, encoding: str, advance: Advance, delimiter: str = ",") -> Iterator[RawRow]:
    """Rows under the names of the first line."""
    file = str(path)
    with _bytes_of(path, encoding, advance) as raw:
        stream = io.TextIOWrapper(raw, _signed(read_as(encoding)), errors="surrogateescape", newline="")
        for record in records(file, bounded_lines(file, stream, _LONGEST_LINE), delimiter, _LONGEST_LINE):
            yield RawRow(file, *record, textual=record.problem is None)


def _read_tsv(path: Path, encoding: str, advance: Advance) -> Iterator[RawRow]:
    yield from _read_csv(path, encoding, advance, "\t")


def _read_parquet(path: Path, encoding: str, advance: Advance) -> Iterator[RawRow]:
    file, row, size = str(path), 0, path.stat().st_size
    try:
        with ExitStack() as stack:
            source = stack.enter_context(path.open("rb")) if is_object(path) else path.absolute()
            parquet = stack.enter_context(pq.ParquetFile(source))
            check_schema(file, parquet.schema_arrow)
            check_bomb(parquet, source, _PARQUET_ROWS)
            for batch in parquet.iter_batches(batch_size=_PARQUET_ROWS):
                for value in as_rows(batch):
                    row += 1
                    yield RawRow(file, row, value, columnar=True)
                advance(size * batch.num_rows // max(parquet.metadata.num_rows, 1))
    except CoigPError:  # some are ValueErrors, too
        raise
    except (pa.ArrowException, ValueError, MemoryError, OverflowError) as error:
        raise DataError(f"{path}: not readable as Parquet after row {row}: {error}") from None


_READERS: dict[str, Callable[[Path, str, Advance], Iterator[RawRow]]] = {
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".parquet": _read_parquet,
}
