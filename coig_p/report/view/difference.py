"""What two responses have in common, by runs: words of Latin letters and numbers, and single characters of Chinese."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import NamedTuple

MOST = 4000  # pieces of a text: the time grows with their square
_PIECE = re.compile(r"[A-Za-z]+|[0-9]+|\s+|.", re.DOTALL)


class Run(NamedTuple):
    """A stretch of a text, and whether the other one has it at this place, too."""

    text: str
    same: bool


def differences(first: str, second: str) -> tuple[list[Run], list[Run]] | None:
    """Both texts cut into runs that are alternately the same and not; None where they are too long to compare.

    The runs of each, joined, are the text; those that are the same are the same texts in the same order in both.
    """
    one, two = _PIECE.findall(first), _PIECE.findall(second)
    if max(len(one), len(two)) > MOST:
        return None
    runs: tuple[list[Run], list[Run]] = ([], [])
    for kind, begin, end, other_begin, other_end in SequenceMatcher(None, one, two, autojunk=False).get_opcodes():
        for side, text in ((0, "".join(one[begin:end])), (1, "".join(two[other_begin:other_end]))):
            if text:
                runs[side].append(Run(text, kind == "equal"))
    return runs
