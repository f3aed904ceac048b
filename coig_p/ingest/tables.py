"""Rows of tables: CSV and TSV records with the lines they stand in, Parquet values as they were written."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, NamedTuple

import pyarrow as pa

from coig_p.core.text import printable
from coig_p.errors import DataError

_TAB = "\t"
_LARGEST_INT64 = 18  # digits that always fit
_SEPARATOR = re.compile(r"sep=(.)\s*", re.IGNORECASE)
_SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_NUMBER = re.compile(r"\s*[+-]?[0-9]+(\.[0-9]*)?\s*")


class Record(NamedTuple):
    """One record of a delimited file, or one line of what could not be read.

    Attributes:
        line: 1-based, where it begins.
        value: a cell for each column, or the line as it is.
        problem: (reason, message) of a line that could not be read.
    """

    line: int
    value: dict[str, str] | str
    problem: tuple[str, str] | None = None


def records(file: str, stream: Iterable[str], delimiter: str, longest: int) -> Iterator[Record]:
    """Every record under the names of the first line. Quoted cells may hold line breaks.

    Where a quote that nobody meant makes several lines one record, each of these lines is refused: which of them
    are rows cannot be known.

    Args:
        stream: lines with their line breaks.
        longest: characters of a cell; a longer one is refused.

    Raises:
        DataError: the first line names no columns.
    """
    csv.field_size_limit(longest)
    taken: list[str] = []  # the lines of the record at hand

    def lines() -> Iterator[str]:
        for at, text in enumerate(stream):
            taken.append(text)
            if at == 0 and _SEPARATOR.fullmatch(text):
                continue  # as Excel writes it
            yield text

    source = lines()
    first = next(source, None)
    if first is None:
        return
    if len(taken) > 1:
        found = _SEPARATOR.fullmatch(taken[0])
        assert found is not None
        delimiter = found[1]
    reader = csv.reader(_again(first, source), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    done = 0
    while True:
        line = done + 1
        try:
            cells = next(reader)
            said = _stray(cells, taken, len(header), delimiter) if header and len(taken) > 1 else None
        except StopIteration:
            return
        except csv.Error as error:
            cells, said = [], f"not {'TSV' if delimiter == _TAB else 'CSV'}: {error}"
        if said is None and header is None:
            header = _header(file, cells, delimiter) if cells else None
        elif said is None and header is not None and cells and len(cells) != len(header):
            said = f"{len(cells)} values where the first line names {len(header)} columns"
        elif said is None and header is not None and cells:
            yield Record(line, dict(zip(header, cells, strict=True)))
        if said is not None:
            if len(taken) > 1:
                said += f" (the quotes make lines {line} to {line + len(taken) - 1} one row)"
            yield from (Record(line + at, text.rstrip("\r\n"), ("broken-csv", said)) for at, text in enumerate(taken))
        done += len(taken)
        taken.clear()


def bounded_lines(file: str, stream: IO[str], longest: int) -> Iterator[str]:
    """The lines of a file; raise DataError at one that is longer than so many characters."""
    while line := stream.readline(longest + 1):
        if len(line) > longest:
            raise DataError(f"{file}: a line is longer than {longest >> 20} MiB")
        yield line


def _again(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _header(file: str, names: list[str], delimiter: str) -> list[str]:
    check_names(file, names)
    (*others, name) = names or [""]
    if not others and (likely := max(_SEPARATORS.keys() - {delimiter}, key=name.count)) in name:
        end = "name it .tsv" if likely == _TAB else f"put a line sep={likely} before it, or save it with commas"
        raise DataError(
            f"{file}: the first line has {_SEPARATORS[likely]} and no {_SEPARATORS.get(delimiter, delimiter)} between "
            f"names: {end}"
        )
    return names


def check_names(file: str, names: Sequence[str], where: str = "") -> None:
    """Raise DataError where two columns, or fields at `where`, have one name: one would hide the other."""
    twice = [name for at, name in enumerate(names) if name in names[:at]]
    if twice:
        named = f"the name {printable(twice[0])!r}" if twice[0] else "no name"
        what = f"two fields of {printable(where)}" if where else "two columns"
        raise DataError(f"{file}: {what} have {named}: give each a name of its own")


def _stray(cells: Sequence[str], lines: Sequence[str], columns: int, delimiter: str) -> str | None:
    """What is wrong with a record of several lines that rather are rows, of which two hold a quote; None: nothing.

    They are where each line has as many delimiters as a row. Commas stand in texts, too: there the lines must also
    agree in a column, or hold numbers in it.
    """
    rows = [line.rstrip("\r\n").split(delimiter) for line in lines]
    if len(cells) != columns or any(len(row) != columns for row in rows):
        return None
    for column in zip(*rows, strict=True):
        same = len(set(column)) == 1 and column[0].strip()
        if delimiter == _TAB or same or all(_NUMBER.fullmatch(cell) for cell in column):
            return "each of these lines is a row of its own: is there a quote too many?"
    return None


def as_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Its rows, with numbers as they were written and maps as objects.

    Raises:
        pa.ArrowNotImplementedError: a column holds maps, and this pyarrow does not give them as objects.
    """
    batch = as_written(batch)
    if "map<" not in str(batch.schema):
        return batch.to_pylist()  # type: ignore[no-any-return]
    try:
        return batch.to_pylist(maps_as_pydicts="strict")  # type: ignore[no-any-return]
    except TypeError:
        raise pa.ArrowNotImplementedError("a column holds maps: pip install -U pyarrow") from None


def as_written(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Narrow floats and decimals as the numbers they were made from: 7.1, not 7.099999904632568."""
    as_text, as_number = (
        pa.schema([field.with_type(_by_way_of(field.type, end)) for field in batch.schema]) for end in (False, True)
    )
    return batch if as_text.equals(batch.schema) else batch.cast(as_text).cast(as_number)


def _by_way_of(kind: pa.DataType, end: bool) -> pa.DataType:
    """`kind` with text, or in the end a number that holds it, for every narrow float and decimal."""
    if pa.types.is_float32(kind) or pa.types.is_float16(kind):
        return pa.float64() if end else pa.string()
    if pa.types.is_decimal(kind):
        whole = pa.int64() if kind.precision <= _LARGEST_INT64 else pa.string()  # of too many digits: as text
        return (whole if kind.scale == 0 else pa.float64()) if end else pa.string()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_by_way_of(field.type, end)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(kind.key_type, kind.item_field.with_type(_by_way_of(kind.item_type, end)))
    for is_list, listed in (
        (pa.types.is_list, pa.list_),
        (pa.types.is_large_list, pa.large_list),
        (pa.types.is_fixed_size_list, lambda field: pa.list_(field, kind.list_size)),
    ):
        if is_list(kind):
            return listed(kind.value_field.with_type(_by_way_of(kind.value_type, end)))
    return kind


def check_schema(file: str, fields: Iterable[pa.Field], where: str = "") -> None:
    """Raise DataError where two columns of a table, or two fields of a struct in it, have one name."""
    fields = list(fields)
    check_names(file, [field.name for field in fields], where)
    for field in fields:
        _check_kind(file, field.type, f"{where}.{field.name}" if where else field.name)


def _check_kind(file: str, kind: pa.DataType, where: str) -> None:
    if pa.types.is_struct(kind):
        check_schema(file, list(kind), where)
    elif pa.types.is_nested(kind) and not pa.types.is_union(kind):
        _check_kind(file, kind.item_type if pa.types.is_map(kind) else kind.value_type, where)
