"""Queries that give no pairs: a file of their ids, as `coigp bench build` writes train-exclude.txt.

One id a line, in UTF-8. An id that no line can hold as it is, since it has a line break, begins with a quote or a byte
order mark, or has white space around it, stands as JSON text: "two\\nlines". Empty lines say nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from coig_p.core.arrays import Mask
from coig_p.core.small_files import MARK, read_small
from coig_p.core.text import counted
from coig_p.errors import DataError, UsageError
from coig_p.schema import RAW_SCHEMA
from coig_p.store.locate import Location, file_in_store
from coig_p.store.reading import part_of
from coig_p.store.store import Store, shard_batches

_IDS = part_of(RAW_SCHEMA, "query_id")
_MOST = 256 << 20  # bytes of a file: ten million ids of a usual length
_MADE = "It has one query_id a line, as train-exclude.txt of coigp bench build"
_SHOWN = 80
_NOT_PLAIN = ('"', MARK)  # what an id in a line of its own does not begin with


@dataclass(frozen=True)
class Exclusion:
    """Ids of queries. Two are equal where their ids are: neither the file's name nor its order matter.

    Attributes:
        sha256: over the sorted ids, 64 hexadecimal digits.
        name: of the file as the user named it, for messages.
        query_ids: sorted, each once; empty where no more than the hash is known, as records of what was made tell it.
        count: how many there are.
    """

    sha256: str
    name: str = field(default="", compare=False, repr=False)
    query_ids: tuple[str, ...] = field(default=(), compare=False, repr=False)
    count: int = field(default=0, compare=False, repr=False)

    @classmethod
    def of(cls, value: Any) -> Exclusion:
        """What a value of the option says: a path, which is read, or what `to_dict` or `record` gave.

        Raises:
            UsageError: it is neither.
            DataError: see `read_exclusion`.
        """
        if isinstance(value, Exclusion):
            return value
        if isinstance(value, (str, os.PathLike)) and os.fspath(value):
            return read_exclusion(Path(os.fsdecode(os.fspath(value))))
        if isinstance(value, Mapping) and isinstance(value.get("sha256"), str):
            return cls._of_record(value)
        raise UsageError(f"exclude={value!r}: use the path of a file with one query_id a line")

    @classmethod
    def of_ids(cls, query_ids: Iterable[str], name: str = "") -> Exclusion:
        """These ids, in any order and any number of times."""
        found = tuple(sorted(set(query_ids)))
        return cls(_digest(found), name, found, len(found))

    @classmethod
    def _of_record(cls, told: Mapping[str, Any]) -> Exclusion:
        ids, count = told.get("query_ids", []), told.get("queries", 0)
        if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids) or type(count) is not int:
            raise UsageError("exclude: the record of what was left out is damaged")
        found = cls.of_ids(ids)
        if ids and found.sha256 != told["sha256"]:
            raise UsageError("exclude: the record of what was left out is damaged: its ids have another sha256")
        return found if ids else cls(told["sha256"], count=count)

    def to_dict(self) -> dict[str, Any]:
        """The hash and how many ids there are, for records."""
        return {"sha256": self.sha256, "queries": self.count}

    def record(self) -> dict[str, Any]:
        """All that pairs depend on: with it they can be made again where the file is not at hand."""
        return self.to_dict() | {"query_ids": list(self.query_ids)}

    def content(self) -> bytes:
        """The ids as a file has them."""
        return "".join(f"{line_of(one)}\n" for one in self.query_ids).encode()

    def mask(self, query_ids: pa.Array) -> Mask:
        """Which of these queries give no pairs.

        Raises:
            UsageError: the ids are not known.
        """
        if not self.query_ids:
            raise UsageError(
                f"the list of queries with sha256 {self.sha256} is not at hand: name it with exclude= (--exclude)"
            )
        known = self._known
        return np.fromiter((one in known for one in query_ids.to_pylist()), dtype=bool, count=len(query_ids))

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.query_ids)


@dataclass(frozen=True)
class Excluded:
    """What a list of queries leaves out of a store.

    Attributes:
        named: ids in the list.
        left_out: of these, queries among those that were asked for.
        absent: ids that the whole store has not.
    """

    named: int
    left_out: int
    absent: int

    def to_dict(self) -> dict[str, int]:
        """As JSON has it."""
        return {"named": self.named, "left_out": self.left_out, "not_in_store": self.absent}

    def __str__(self) -> str:
        said = f"left out for exclude: {counted(self.left_out, 'query', 'queries')} of {self.named:,} that it names"
        if not self.absent:
            return said
        return f"{said}; {self.absent:,} of them {'is' if self.absent == 1 else 'are'} not in the store"


def count_excluded(
    store: Store, exclusion: Exclusion, domains: Iterable[str] = (), split: str | None = None
) -> Excluded:
    """How many queries of a store a list leaves out; reads ids alone.

    Args:
        domains, split: that were asked for; default all.
    """
    asked = {file.path for file in store.selected_files(tuple(domains), split)}
    left, met = set(exclusion.query_ids), 0
    for file in store.data_files():
        for batch in shard_batches(store.path, file, None, _IDS):
            found = left.intersection(batch.column("query_id").to_pylist())
            left -= found
            met += len(found) if file.path in asked else 0
    return Excluded(exclusion.count, met, len(left))


def check_exclusion(store: Store, exclusion: Exclusion | None) -> None:
    """Refuse a list for data to train on of which a store has no id: what it is to keep out would be trained on.

    Raises:
        UsageError: none of its ids is in the store.
    """
    if exclusion is None or not exclusion.query_ids:
        return
    found = count_excluded(store, exclusion)
    if found.absent == found.named:
        raise UsageError(
            f"exclude={exclusion.name or 'the list'}: {store.path} has none of the "
            f"{counted(found.named, 'query', 'queries')} that it names, as {exclusion.query_ids[0]!r}, so "
            "nothing would be kept out. Name the list that was made of this store, or leave --exclude out"
        )


def line_of(query_id: str) -> str:
    """An id as a line has it, without its end."""
    plain = query_id == query_id.strip() and not query_id.startswith(_NOT_PLAIN) and len(query_id.splitlines()) == 1
    return query_id if plain else json.dumps(query_id)


def read_exclusion(path: Path) -> Exclusion:
    """Read a file of ids.

    Raises:
        DataError: it cannot be read, a line is none, or there is no id in it; names file and line.
    """
    try:
        text = read_small(path, _MOST)
    except OSError as error:
        raise DataError(f"{path}: the list of queries to leave out cannot be read: {error.strerror}. {_MADE}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: it is no list of query ids, which is UTF-8: {error}. {_MADE}") from None
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if stripped.startswith('"'):
            found.append(_quoted(path, number, stripped))
        elif stripped:
            found.append(stripped)
    if not found:
        raise DataError(
            f"{path}: there is no query_id in it, so nothing would be left out: leave exclude (--exclude) away, or "
            f"see whether the file is whole. {_MADE}"
        )
    return Exclusion.of_ids(found, str(path))


def _quoted(path: Path, number: int, line: str) -> str:
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    if not isinstance(value, str):
        shown = line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
        raise DataError(
            f"{path} line {number}: {shown!r} begins with a quote and is no JSON text. An id that begins with one is "
            'written as JSON has it, as "\\"a\\""'
        )
    return value


def find_exclusion(value: Any, location: Location, token: str | bool | None = None) -> Any:
    """A value of the option, where it is a path that lies in the store, and not here: the file there.

    Raises:
        DataError: see `read_exclusion`.
        RemoteError: the file of a repository is not to be had.
    """
    beside = file_in_store(value, location, token)
    return value if beside is None else read_exclusion(beside)


def _digest(query_ids: Iterable[str]) -> str:
    found = hashlib.sha256()
    for one in query_ids:
        found.update(json.dumps(one).encode() + b"\n")
    return found.hexdigest()
