"""Who won, where each outcome has a column of its own: exactly one of them is 1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from coig_p.ingest.values import Rejected, shown
from coig_p.ingest.verdicts import FIRST, SECOND, TIE, Sides, Verdict, number_in, says_nothing

ONE_HOT = (
    ("winner_model_{}", "winner_tie"),
    ("winner_{}", "winner_tie"),
    ("winner_response_{}", "winner_tie"),
    ("{}_wins", "tie"),
    ("{}_win", "tie"),
    ("{}_is_better", "tie"),
)
"""Columns of which exactly one is 1: one for each side, and perhaps one for a tie."""


def one_hot(row: Mapping[str, Any], sides: Sides) -> Iterator[tuple[list[str], Verdict | None]]:
    """The names of one-hot columns and their verdict, None where all are empty; for each way to call them.

    Raises:
        Rejected: not exactly one of them is 1, the others 0.
    """
    known = {name.lower(): name for name in row}
    for (pattern, tie), called in product(ONE_HOT, [sides.names, *([sides.also] if sides.also else [])]):
        wanted = [pattern.format(side) for side in called]
        if not all(name in known for name in wanted):
            continue
        names = [known[name] for name in (*wanted, tie) if name in known]
        cells = [row[name] for name in names]
        if all(says_nothing(cell, sides) for cell in cells):
            yield names, None
            continue
        flags = [_flag(cell) for cell in cells]
        if None in flags or flags.count(True) != 1:
            said = ", ".join(f"{name} {shown(cell)}" for name, cell in zip(names, cells, strict=True))
            raise Rejected(names[0], "bad-winner", f"exactly one of these must be 1, the others 0: {said}")
        yield names, (FIRST, SECOND, TIE)[flags.index(True)]


def _flag(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    number = number_in(value)
    return None if number not in (0.0, 1.0) else number == 1.0
