"""A batch's queries and responses as one row of characters, each with its flags."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.validation.checks.letters import RARE, Flags, flags

Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Hits:
    """Texts that a rule finds fault with, and where in each: the offset in characters."""

    text: Index
    offset: Index


class Texts:
    """T texts of N characters in all: the batch's queries first, then its responses.

    Attributes:
        column: T strings.
        row, response: T; where each stands in the batch, response -1 for a query.
        letters: N code points; flags: N, see `coig_p.validation.checks.letters`.
        starts: T + 1; the first character of each.
    """

    def __init__(self, batch: pa.RecordBatch) -> None:
        queries = batch.column("query")
        lists = batch.column("responses")
        responses = lists.flatten()
        sizes = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        self.batch = batch
        self.queries = len(queries)
        self.column: pa.StringArray = pc.fill_null(pa.concat_arrays([queries, responses.field("text")]), "")
        rows = np.arange(len(queries))
        self.row: Index = np.concatenate([rows, np.repeat(rows, sizes)])
        first = np.cumsum(sizes) - sizes
        self.response: Index = np.concatenate(
            [np.full(len(queries), -1), np.arange(len(responses)) - np.repeat(first, sizes)]
        )
        self.models: pa.StringArray = responses.field("model")
        size = pc.utf8_length(self.column).to_numpy(zero_copy_only=False)
        self.starts: Index = np.concatenate([[0], np.cumsum(size, dtype=np.int64)])
        offsets = np.frombuffer(self.column.buffers()[1], np.int32)[self.column.offset :][: len(self.column) + 1]
        data = self.column.buffers()[2]
        whole = b"" if data is None else data[int(offsets[0]) : int(offsets[-1])].to_pybytes()
        self.letters = np.frombuffer(whole.decode().encode("utf-32-le"), np.uint32)
        self.flags: Flags = flags()[self.letters]
        self._counts: dict[int, Index] = {}

    def __len__(self) -> int:
        return len(self.column)

    @cached_property
    def sizes(self) -> Index:
        """T: characters of each text."""
        return np.diff(self.starts)

    @cached_property
    def is_query(self) -> Mask:
        """T: whether each is a query."""
        return self.response < 0

    def count(self, flag: int) -> Index:
        """T: how many characters of each text have a flag; counted once, however many rules ask."""
        if flag not in self._counts:
            self._counts[flag] = self.sum((self.flags & np.uint32(flag)) != 0)
        return self._counts[flag]

    def sum(self, mask: Mask) -> Index:
        """T: how many of N are true in each text."""
        if not len(self):
            return np.zeros(0, np.int64)
        # One more place at the end, for empty texts there; reduceat gives an empty text the place it begins at.
        found = np.add.reduceat(np.append(mask, False), self.starts[:-1], dtype=np.int64)
        return np.where(self.sizes > 0, found, 0)

    def where(self, flag: int) -> Index:
        """The places among N that have a flag of RARE, ascending."""
        found: Index = self._rare[(self.flags[self._rare] & np.uint32(flag)) != 0]
        return found

    @cached_property
    def _rare(self) -> Index:
        return np.flatnonzero(self.flags & np.uint32(RARE))

    def text_of(self, places: Index) -> Index:
        """The text that each place among N is in."""
        return np.searchsorted(self.starts, places, side="right") - 1

    def hits(self, places: Index) -> Hits:
        """The first place in each text, of places ascending among N."""
        text = self.text_of(places)
        text, first = np.unique(text, return_index=True)
        return Hits(text, places[first] - self.starts[text])

    def at_start(self, mask: Mask) -> Hits:
        """Texts of a mask (T), each as a whole."""
        text = np.flatnonzero(mask)
        return Hits(text, np.zeros(len(text), np.int64))

    def string(self, text: int | np.integer[Any]) -> str:
        """One of T."""
        return str(self.column[int(text)].as_py())
