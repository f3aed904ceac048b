"""A batch's queries, turns and responses as one row of characters, each with its flags."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.normalize import code_points
from coig_p.store.conversations import has_calls
from coig_p.validation.checks.letters import COUNTED, DIGIT, LANE, RARE, TELLING, TELLING_LETTERS, Flags, flags, lanes
from coig_p.validation.checks.notes import find_notes, places_in

Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Hits:
    """Texts that a rule finds fault with, and where in each: the offset in characters."""

    text: Index
    offset: Index


QUERY, RESPONSE, TOOLS, NOTES = 0, 1, 2, 3
"""Kinds of texts: what people and models say before a response; responses; definitions, calls and results of tools;
notes, which are what judges said of it all, `meta` and `source`."""

KINDS = ("query", "response", "tools", "notes")


class Texts:
    """T texts of N characters in all: the batch's P prompts, its R responses, what tools are told, and notes.

    A prompt is a query, or one turn of a conversation: its content alone, without the name of its role.

    Args:
        every_note: also those that hold neither numbers nor addresses.

    Attributes:
        column: T strings.
        kind: T; QUERY, RESPONSE, NOTES or TOOLS, which is also a turn that a tool speaks.
        row, message, response: T; where each stands in the batch, the last two -1 for what is in none.
        answer: T; which of the batch's R responses it belongs to, -1 for none.
        score, comparison: T; which score of its response, or comparison of its row, a note is about; else -1.
        judge: T; who said a note, null where nobody did.
        extra: T; whether it is the JSON text beside a turn's content or a response's text, or of `tools`, or a note.
        calls: T; whether a call of a tool stands beside it, so that it may be empty.
        by_user: T; whether it is a query or a user's turn.
        asked: rows; the prompt that is answered: the query, or the last turn of a user.
        prompts, responses: P and R.
        letters: N code points; flags: N, see `coig_p.validation.checks.letters`.
        starts: T + 1; the first character of each.
    """

    def __init__(self, batch: pa.RecordBatch, every_note: bool = False) -> None:
        self.batch = batch
        lists, messages = batch.column("responses"), batch.column("messages")
        responses, turns = lists.flatten(), messages.flatten()
        self.models: pa.StringArray = responses.field("model")
        answers, self.responses = responses.field("extra"), len(responses)
        prompts = _prompts(batch.column("query"), messages)
        self.prompts = len(prompts.row)
        row, response = places_in(lists)
        told = [_Told(prompts.column, prompts.row, prompts.message, prompts.none, prompts.none, prompts.kind)]
        of_responses = np.full(self.responses, RESPONSE)
        told.append(_Told(responses.field("text"), row, _none(row), response, np.arange(len(row)), of_responses))
        self.by_user: Mask = prompts.by_user
        self.asked: Index = prompts.asked
        self.calls: Mask = np.concatenate([prompts.calls, has_calls(answers)])
        spoken = len(turns) > 0
        extras: list[tuple[pa.StringArray, Index, Index, Index, Index]] = [
            (answers, row, _none(row), response, np.arange(len(row)))
        ]
        every = np.arange(batch.num_rows)
        extras.append((batch.column("tools"), every, _none(every), _none(every), _none(every)))
        if spoken:
            of, place = places_in(messages)
            extras.append((turns.field("extra"), of, place, _none(of), _none(of)))
        for column, of_row, of_message, of_response, of_answer in extras:
            if column.null_count < len(column):
                given = column.is_valid().to_numpy(zero_copy_only=False)
                kind = np.full(int(given.sum()), TOOLS)
                places = of_row[given], of_message[given], of_response[given], of_answer[given]
                told.append(_Told(column.drop_null(), *places, kind))
        noted = self._notes = find_notes(batch, every_note)
        before = self._first_note = sum(len(part.row) for part in told)
        kind = np.full(len(noted.row), NOTES)
        told.append(_Told(noted.column, noted.row, _none(noted.row), noted.response, noted.answer, kind))
        self.score, self.comparison = (
            np.append(np.full(before, -1), places) for places in (np.maximum(noted.score, -1), noted.comparison)
        )
        self.judge: pa.StringArray = pa.concat_arrays([pa.nulls(before, pa.string()), noted.judge])
        self.column: pa.StringArray = pc.fill_null(pa.concat_arrays([part.column for part in told]), "")
        self.row, self.message, self.response, self.answer, self.kind = (
            np.concatenate([getattr(part, name) for part in told])
            for name in ("row", "message", "response", "answer", "kind")
        )
        self.extra: Mask = np.arange(len(self.column)) >= self.prompts + self.responses
        more = np.zeros(len(self.column) - len(self.calls), bool)
        self.calls = np.append(self.calls, more)
        self.by_user = np.append(self.by_user, np.zeros(len(self.column) - self.prompts, bool))
        self._strings: list[str] = self.column.to_pylist()
        self.letters, ends = code_points(self._strings)
        self.starts: Index = np.append(0, ends)
        self.flags: Flags = flags().take(self.letters)
        self._counts: dict[int, Index] = {}

    def field(self, text: int) -> str:
        """Where in its row a text stands, for people."""
        if text >= self._first_note:
            return self._notes.field(text - self._first_note)
        message, response = int(self.message[text]), int(self.response[text])
        if message >= 0:
            return f"messages[{message}].{'extra' if self.extra[text] else 'content'}"
        if response >= 0:
            return f"responses[{response}].{'extra' if self.extra[text] else 'text'}"
        return "tools" if self.extra[text] else "query"

    def __len__(self) -> int:
        return len(self.column)

    @cached_property
    def sizes(self) -> Index:
        """T: characters of each text."""
        return np.diff(self.starts)

    @cached_property
    def is_response(self) -> Mask:
        """T: whether each is a response."""
        return np.asarray(self.kind == RESPONSE)

    def count(self, flag: int) -> Index:
        """T: how many characters of each text have one of some flags, of RARE or one of COUNTED; counted once."""
        if flag not in self._counts:
            if flag & ~RARE:
                self._counts |= self._common()
            else:
                self._counts[flag] = np.bincount(self.text_of(self.where(flag)), minlength=len(self))
        return self._counts[flag]

    def _common(self) -> dict[int, Index]:
        """T for each flag of COUNTED, in one pass over pieces of texts that a lane can count."""
        if not len(self):
            return dict.fromkeys(COUNTED, np.zeros(0, np.int64))
        most = 2**LANE - 1
        pieces = np.maximum(-(-self.sizes // most), 1)
        first = np.cumsum(pieces) - pieces
        begins = np.repeat(self.starts[:-1] - first * most, pieces) + np.arange(pieces.sum()) * most
        # One more place at the end, for empty texts there; reduceat gives an empty text the place it begins at.
        found_lanes = np.zeros(len(self.letters) + 1, np.uint64)
        lanes().take(self.letters, out=found_lanes[:-1], mode="clip")  # which no letter is beyond, and asks no copy
        summed = np.add.reduceat(found_lanes, begins)
        found = {}
        for lane, flag in enumerate(COUNTED):
            counts = (summed >> np.uint64(LANE * lane) & np.uint64(most)).astype(np.int64)
            found[flag] = np.where(self.sizes > 0, np.add.reduceat(counts, first), 0)
        return found

    def where(self, flag: int) -> Index:
        """The places among N that have a flag of RARE, ascending."""
        found: Index = self._rare[(self.flags[self._rare] & np.uint32(flag)) != 0]
        return found

    @cached_property
    def _rare(self) -> Index:
        return np.flatnonzero((self.flags & np.uint32(RARE)) != 0)

    @cached_property
    def digits(self) -> Index:
        """The places among N of digits, ascending."""
        return np.flatnonzero((self.flags & np.uint32(DIGIT)) != 0)

    @cached_property
    def _telling(self) -> Index:
        return np.flatnonzero((self.flags & np.uint32(TELLING)) != 0)

    def places_of(self, pairs: Collection[str]) -> Index:
        """The places among N where one of some pairs of letters begins, ascending; one of each pair is TELLING."""
        telling = self._telling
        found = [telling[:0]]
        for pair in pairs:
            first, second = list(pair)
            begins = telling if first in TELLING_LETTERS else telling[telling > 0] - 1
            begins = begins[begins + 1 < len(self.letters)]
            here = (self.letters[begins] == ord(first)) & (self.letters[begins + 1] == ord(second))
            found.append(begins[here])
        return np.unique(np.concatenate(found))

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
        return self._strings[int(text)]


class _Told(NamedTuple):
    """Some of T texts, and where each stands: see `Texts`."""

    column: pa.StringArray
    row: Index
    message: Index
    response: Index
    answer: Index
    kind: Index


@dataclass(frozen=True)
class _Prompts:
    """P prompts; as in `Texts`."""

    column: pa.StringArray
    row: Index
    message: Index
    kind: Index
    calls: Mask
    by_user: Mask
    asked: Index

    @property
    def none(self) -> Index:
        """-1 for each."""
        return _none(self.row)


def _prompts(queries: pa.StringArray, messages: pa.ListArray) -> _Prompts:
    rows, turns = np.arange(len(queries)), messages.flatten()
    if not len(turns):
        nobody = np.zeros(len(rows), bool)
        return _Prompts(queries, rows, _none(rows), np.full(len(rows), QUERY), nobody, ~nobody, rows)
    held = pc.fill_null(pc.list_value_length(messages), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    row = np.repeat(rows, np.maximum(held, 1))
    spoken = held[row] > 0
    begins = np.cumsum(np.maximum(held, 1)) - np.maximum(held, 1)
    message = np.where(spoken, np.arange(len(row)) - begins[row], -1)
    turn = (np.cumsum(held) - held)[row] + message  # of those that are turns
    every = pa.concat_arrays([queries, turns.field("content")])
    role = turns.field("role").take(pa.array(turn, mask=~spoken))
    by_tool, by_user = (
        pc.fill_null(pc.equal(role, who), False).to_numpy(zero_copy_only=False) for who in ("tool", "user")
    )
    calls = has_calls(turns.field("extra").take(pa.array(turn, mask=~spoken)))
    by_user = by_user | ~spoken
    asked = begins + np.maximum(held, 1) - 1  # the last turn, where no user speaks
    asked[row[by_user]] = np.flatnonzero(by_user)  # the last one that is written stays
    return _Prompts(
        every.take(pa.array(np.where(spoken, len(queries) + turn, row))),
        row,
        message,
        np.where(by_tool, TOOLS, QUERY),
        calls,
        by_user,
        asked,
    )


def _none(like: Index) -> Index:
    return np.full(len(like), -1)
