"""What two responses have in common, by runs: words of Latin letters and numbers, and single characters of Chinese."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import accumulate
from typing import NamedTuple

MOST = 4000  # pieces of a text
STEPS = 16_000_000  # of the search, about a second
_PIECE = re.compile(r"[A-Za-z]+|[0-9]+|\s+|.", re.DOTALL)


class Run(NamedTuple):
    """A stretch of a text, and whether the other one has it at this place, too."""

    text: str
    same: bool


class Differences(NamedTuple):
    """Two texts in runs that are the same and that are not.

    The runs of each, joined, are the text; those that are the same are the same texts in the same order in both.

    Attributes:
        is_whole: False where the search ended early, so that something shown as different may be in both.
    """

    first: list[Run]
    second: list[Run]
    is_whole: bool


def differences(first: str, second: str, steps: int = STEPS) -> Differences | None:
    """Both texts cut into runs; None where one has more than MOST pieces.

    As difflib does it the longest common stretch is found, and then those before and behind it. In periodic texts
    that takes time with the third power of their length; so the steps are counted, and where they are spent what is
    left is different.
    """
    one, two = _PIECE.findall(first), _PIECE.findall(second)
    if max(len(one), len(two)) > MOST:
        return None
    blocks, is_whole = _common(one, two, steps)
    runs: tuple[list[Run], list[Run]] = ([], [])
    at = other = 0
    for begin, other_begin, size in [*blocks, (len(one), len(two), 0)]:
        stretches = (
            ("".join(one[at:begin]), "".join(two[other:other_begin]), False),
            ("".join(one[begin : begin + size]), "".join(two[other_begin : other_begin + size]), True),
        )
        for *texts, same in stretches:
            for side, text in zip(runs, texts, strict=True):
                if text:
                    side.append(Run(str(text), bool(same)))
        at, other = begin + size, other_begin + size
    return Differences(*runs, is_whole)


_Block = tuple[int, int, int]  # where it begins in either, and its size


def _common(one: Sequence[str], two: Sequence[str], steps: int) -> tuple[list[_Block], bool]:
    """Common stretches in order, none of which touches the next in both; and whether all were looked for."""
    ends = (len(one), len(two))
    begin = _alike(zip(one, two, strict=False))
    end = _alike(zip(reversed(one[begin:]), reversed(two[begin:]), strict=False))
    blocks = [(0, 0, begin), (ends[0] - end, ends[1] - end, end)]
    matcher, places = SequenceMatcher(None, one, two, autojunk=False), Counter(two)
    # What a search looks at: of each piece of the one text every place where the other has it.
    looked = [0, *accumulate(places[piece] for piece in one)]
    left = deque([(begin, ends[0] - end, begin, ends[1] - end)])
    is_whole = True
    while left:
        low, high, other_low, other_high = left.popleft()
        if low == high or other_low == other_high:
            continue
        cost = looked[high] - looked[low]
        if cost > steps:
            is_whole = False
            continue
        steps -= cost
        found = matcher.find_longest_match(low, high, other_low, other_high)
        if found.size:
            blocks.append((found.a, found.b, found.size))
            left.append((low, found.a, other_low, found.b))
            left.append((found.a + found.size, high, found.b + found.size, other_high))
    return _joined(sorted(block for block in blocks if block[2])), is_whole


def _alike(pairs: zip[tuple[str, str]]) -> int:
    """How many of the first pairs are of two equal pieces."""
    number = 0
    for one, two in pairs:
        if one != two:
            break
        number += 1
    return number


def _joined(blocks: Sequence[_Block]) -> list[_Block]:
    joined: list[_Block] = []
    for begin, other, size in blocks:
        if joined and joined[-1][0] + joined[-1][2] == begin and joined[-1][1] + joined[-1][2] == other:
            joined[-1] = (*joined[-1][:2], joined[-1][2] + size)
        else:
            joined.append((begin, other, size))
    return joined
