"""A first pass over every row of an import, where a row by itself does not say what it means.

Two things need it. A verdict given as a number is read by all the numbers of its column: 1 is the first of 1 and
2, and the second of 0 and 1. And a field named id may be the query's or number the rows: it numbers them where
the same prompt stands under different ids and no id comes again with its prompt. Nothing is judged here; a file
that cannot be read is an error of the pass that follows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from coig_p.core.progress import Advance
from coig_p.errors import UsageError
from coig_p.ingest.codings import words_in
from coig_p.ingest.fields import ALIASES, Fields, FormConfig, Survey
from coig_p.ingest.forms import NO_FORM, SCORE_RANGES, detect
from coig_p.ingest.forms.pairwise import asks_for_numbers, numbers, verdict_values
from coig_p.ingest.readers import RawRow, read_rows
from coig_p.ingest.values import Rejected, digest

MOST_NUMBERS = 1000
"""Distinct numbers remembered of a column, beside the lowest and the highest: more than that are no coding."""

_PERHAPS_ROW_NUMBERS = ("id", "uuid", "编号")
_QUERY_IDS = tuple(name for name in ALIASES["query_id"] if name not in _PERHAPS_ROW_NUMBERS)
_ONE_ROW_A_QUERY = ("nested", "ultrafeedback", "ranked", "rated", "best-first", NO_FORM)
_PROMPT = ("query", "messages", "conversations", "context", "history", "system", "input")
_ANSWERS = ("text", "messages")
_FIRST_ROWS = 20


def survey(files: Mapping[Path, str], config: FormConfig, advance: Advance = lambda read: None) -> Survey:
    """What must be known of all rows before the first is read.

    Args:
        files: each with its encoding.
        advance: called with the number of bytes read since the last call, where files are read whole.
    """
    forms: dict[str, None] = {}
    needed = False
    for path, encoding in files.items():
        for row in islice(_objects(read_rows(path, encoding)), _FIRST_ROWS):
            form = detect(row, config)
            forms.setdefault(form)
            needed |= _needs_all(row, form, config)
    ids, found = _Ids(), dict[tuple[str, str], _Numbers]()
    unheld = {word.strip() for given in config.values.values() for word in given.split("|")}
    needed |= bool(unheld)
    for path, encoding in files.items() if needed else ():
        for row in _objects(read_rows(path, encoding, advance)):
            form = detect(row, config)
            forms.setdefault(form)
            fields = Fields(row, config)
            try:
                if form == "pairwise":
                    for key, number in numbers(fields):
                        found.setdefault(key, _Numbers()).add(number)
                    if unheld:
                        unheld.difference_update(*(words_in(one, config.values) for one in verdict_values(fields)))
                if form not in _ONE_ROW_A_QUERY and "query_id" not in config.fields:
                    ids.add(fields, form)
            except Rejected:
                continue  # the pass that follows says what is wrong
    return Survey(
        numbers={key: values.all() for key, values in found.items()},
        row_numbers=ids.row_numbers(),
        row_keys=frozenset(ids.row_numbers()) & ids.keys,
        forms=tuple(forms),
        unheld=sorted(unheld),
    )


def score_range(found: Survey) -> tuple[float, float] | None:
    """The range of scores that the forms of an import ask for, None where they ask for none.

    Raises:
        UsageError: they ask for different ones.
    """
    asked = {form: SCORE_RANGES[form] for form in found.forms if form in SCORE_RANGES}
    if len(set(asked.values())) > 1:
        said = ", ".join(f"{form} rows from {low:g} to {high:g}" for form, (low, high) in asked.items())
        raise UsageError(f"rows are scored differently ({said}): import them apart, each into a store of its own")
    return next(iter(asked.values()), None)


def _objects(rows: Iterator[RawRow]) -> Iterator[dict[str, Any]]:
    return (row.value for row in rows if row.problem is None and isinstance(row.value, dict))


def _needs_all(row: dict[str, Any], form: str, config: FormConfig) -> bool:
    fields = Fields(row, config)
    if form == "pairwise" and asks_for_numbers(fields):
        return True
    return form not in _ONE_ROW_A_QUERY and "query_id" not in config.fields and bool(_id_of(fields))


def _id_of(row: Fields) -> str | None:
    """The row's field that may number rows; None where another is the query's id."""
    if any(name in row.row for name in _QUERY_IDS):
        return None
    return next((name for name in _PERHAPS_ROW_NUMBERS if name in row.row), None)


class _Numbers:
    """The numbers of a column."""

    def __init__(self) -> None:
        self.known: set[float] = set()
        self.low = self.high = math.nan

    def add(self, number: float) -> None:
        if len(self.known) < MOST_NUMBERS:
            self.known.add(number)
        self.low = number if not self.low <= number else self.low
        self.high = number if not self.high >= number else self.high

    def all(self) -> frozenset[float]:
        return frozenset(self.known | {self.low, self.high})


class _Ids:
    """Ids and prompts seen so far, as digests: 16 bytes each."""

    def __init__(self) -> None:
        self.prompts: dict[str, dict[bytes, bytes]] = {}  # name of the field -> id -> prompt
        self.seen: dict[str, dict[bytes, bytes]] = {}  # name of the field -> prompt -> its first id
        self.of_queries: set[str] = set()
        self.repeated: set[str] = set()  # the same prompt stands under two ids
        self.keys: set[str] = set()  # rows without a prompt have it, too

    def add(self, row: Fields, form: str) -> None:
        name = _id_of(row)
        if name is None or name in self.of_queries:
            return
        given, prompt = digest(json.dumps(row.row[name], default=str)), _prompt(row)
        ids, prompts = self.prompts.setdefault(name, {}), self.seen.setdefault(name, {})
        if prompt is None or (form == "flat" and row.without(_ANSWERS)):  # of a score for another row's answer
            self.keys.add(name)
            return
        if ids.get(given) == prompt:
            self.of_queries.add(name)  # one prompt, answered in several rows
            del self.prompts[name], self.seen[name]
            return
        ids.setdefault(given, prompt)
        if prompts.setdefault(prompt, given) != given:
            self.repeated.add(name)

    def row_numbers(self) -> Collection[str]:
        return frozenset(self.repeated - self.of_queries)


def _prompt(row: Fields) -> bytes | None:
    names: tuple[str, ...] = tuple(name for ours in _PROMPT for name in ALIASES.get(ours, (ours,)))
    given = {name: row.row[name] for name in names if name in row.row}
    return digest(json.dumps(given, sort_keys=True, default=str)) if given else None
