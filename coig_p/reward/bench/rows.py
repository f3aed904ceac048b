"""Rows of a published benchmark's files, each with the place it came from, and what is wrong with one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coig_p.errors import DataError
from coig_p.ingest.readers import file_encoding, read_rows
from coig_p.reward.bench.form import not_as, shown

FORMATS = (".jsonl", ".ndjson", ".json", ".parquet")  # a cell of CSV has no type, and a list no place in it


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        path: the file.
        number: 1-based, in the file.
        where: file and line, as a message names it.
        values: of the row's columns; null where a column of Parquet has no value.
    """

    path: Path
    number: int
    where: str
    values: Mapping[str, Any]

    def wrong(self, field: str, said: str) -> DataError:
        """The error of a field."""
        return DataError(f"{self.where} .{field}: {said}" if field else f"{self.where}: {said}")

    def get(self, name: str) -> Any:
        """A value; None where the row has none."""
        return self.values.get(name)

    def text(self, name: str) -> str:
        """A value that must be text."""
        if not isinstance(self.get(name), str):
            raise self.wrong(name, not_as(self.values, name, "text"))
        return str(self.get(name))

    def optional_text(self, name: str) -> str | None:
        """A value that is text or missing."""
        return None if self.get(name) is None else self.text(name)

    def texts(self, name: str) -> list[str]:
        """A value that must be a list of texts, one at least."""
        value = self.get(name)
        if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
            raise self.wrong(name, not_as(self.values, name, "a list of texts"))
        return value

    def name(self, name: str) -> str:
        """A value that must be a whole number or text, as text."""
        value = self.get(name)
        if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).strip():
            raise self.wrong(name, not_as(self.values, name, "a whole number or text"))
        return str(value)

    def count(self, name: str) -> int | None:
        """A value that is a whole number or missing."""
        value = self.get(name)
        if value is not None and type(value) is not int:
            raise self.wrong(name, not_as(self.values, name, "a whole number"))
        return value

    def one_of(self, name: str, valid: Collection[str]) -> str:
        """A value that must be one of some."""
        value = self.get(name)
        if not isinstance(value, str) or value not in valid:
            raise self.wrong(name, not_as(self.values, name, f"one of {', '.join(valid)}"))
        return value

    def check_columns(self, required: Sequence[str], optional: Sequence[str], keep: Collection[str]) -> None:
        """Raise DataError where a column is missing, or is none that is known or was named to be kept."""
        for name in required:
            if self.get(name) is None:
                raise self.wrong(name, f"missing; the columns are {', '.join((*required, *optional))}")
        for name, value in self.values.items():
            if name not in required and name not in optional and name not in keep and value is not None:
                known = ", ".join((*required, *optional))
                raise self.wrong(
                    shown(name)[1:-1], f"no column of this benchmark, which has {known}. To keep it: --keep {name}"
                )


def rows_of(path: Path) -> Iterator[Row]:
    """Every row of a file of JSON, JSON Lines or Parquet, packed or not.

    Raises:
        DataError: the file cannot be read, or a row is no object; names file and line.
    """
    word = "row" if path.name.lower().endswith(".parquet") else "line"
    any_ = False
    for number, raw in enumerate(read_rows(path, file_encoding(path, None)), 1):
        where = f"{path} {word} {raw.line}"
        if raw.problem is not None:
            raise DataError(f"{where}: {raw.problem[1]}")
        if not isinstance(raw.value, dict):
            raise DataError(f"{where}: {shown(raw.value)} is not an object")
        any_ = True
        yield Row(path, number, where, raw.value)
    if not any_:
        raise DataError(f"{path}: no row in it")
