"""Is a code block left open? Fences as CommonMark has them, and as models write them.

CommonMark: three or more ` or ~ open a block at the start of a line, and at least as many of the same alone on a
line close it; what stands between is code, shorter fences and those with a language among it. Models also open one
in the middle of a line and close one behind the code's last line. Such a text can be read in several ways, so that
all readings are followed at once, and a block is open where it is in every one of them: what may be meant otherwise
is let be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from coig_p.validation.checks.letters import MARK
from coig_p.validation.checks.texts import Hits, Texts

_LONGEST = 16  # marks of a fence that are told apart: more are as many
_DEEPEST = 4  # blocks within blocks that are followed, though CommonMark knows none
_LINE = re.compile(r"^.*(?:```|~~~).*$", re.MULTILINE)
_ALONE = re.compile(r"((`{3,})|~{3,})[ \t]*")
_CONTAINERS = re.compile(r"(?:[ \t]*(?:>|[-*+](?=[ \t])|\d{1,9}[.)](?=[ \t])))*")
_QUOTES = re.compile(r"(?:[ \t]{0,3}>)*")
_ITEM = re.compile(r"^[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]", re.MULTILINE)
_RUN = re.compile(r"(\\*)(`+)")
_LANGUAGE = re.compile(r"[ \t]*[A-Za-z0-9_+#.:/-]{1,40}[ \t]*")


class _Block(NamedTuple):
    """An open block: its fence's mark and length, and how many blocks are open in it and with it."""

    mark: str
    length: int
    depth: int = 1


class _Readings(dict[_Block | None, int]):
    """Where a text's reader may be: in a block, or in none; with the place of the fence that opened it."""

    def at(self, state: _Block | None, place: int) -> None:
        self[state] = max(place, self.get(state, -1))


def code_fence(texts: Texts) -> Hits:
    """A block that is open at the text's end, however it is read; where its fence stands."""
    marks = texts.where(MARK)
    marks = marks[: np.searchsorted(marks, len(texts.letters) - 2)]
    letters = texts.letters[marks]
    fences = np.isin(letters, [ord("`"), ord("~")])
    for step in (1, 2):
        fences &= texts.letters[marks + step] == letters
    some = np.unique(texts.text_of(marks[fences])).tolist()
    found = {text: place for text in some if (place := open_fence(texts.string(text))) is not None}
    return Hits(np.array(list(found), np.int64), np.array(list(found.values()), np.int64))


def open_fence(text: str) -> int | None:
    """The offset of a fence that opens a block which nothing closes, None where there is none."""
    text = text.replace("\r\n", " \n").replace("\r", "\n")
    first_item = _ITEM.search(text)
    readings = _Readings({None: -1})
    for line in _LINE.finditer(text):
        listed = first_item is not None and first_item.start() <= line.start()
        after = _Readings()
        for state, place in readings.items():
            steps = _from_text(line[0], listed) if state is None else _from_block(line[0], state)
            for reached, offset in steps:
                after.at(reached, place if offset is None else line.start() + offset)
        readings = after
    return None if None in readings else min(readings.values())


_Step = tuple[_Block | None, int | None]
"""Where a line may lead, and where in it the fence stands that opens the block; None where it opens none."""


def _from_text(line: str, listed: bool) -> Iterable[_Step]:
    """What a line outside of blocks may open."""
    begin = _CONTAINERS.match(line).end()  # type: ignore[union-attr]
    indent = _indent(line[begin:])
    at = begin + len(line[begin:]) - len(line[begin:].lstrip(" \t"))
    mark = line[at : at + 1]
    length = len(line) - at - len(line[at:].lstrip(mark)) if mark in ("`", "~") else 0
    rest = line[at + length :]
    if length < 3 or (mark == "`" and "`" in rest):
        yield from _from_inline(line, 0)
        return
    yield _Block(mark, min(length, _LONGEST)), at
    # CommonMark has code by indentation there, but in a list; and ~~~ is also a tone of voice.
    if (indent > 3 and not listed) or (mark == "~" and not _is_info(rest)):
        yield None, None


def _from_inline(line: str, begin: int) -> Iterator[_Step]:
    """What the rest of a line may open, that does not begin with a fence; code within the line opens nothing."""
    runs = [
        (run.start(2) + escaped, run.end())
        for run in _RUN.finditer(line, begin)
        for escaped in [len(run[1]) % 2]  # a backslash makes one of them a letter
        if len(run[2]) > escaped
    ]
    following: dict[int, int] = {}  # length -> the next run that has it
    partner = [-1] * len(runs)
    for nth in range(len(runs) - 1, -1, -1):
        length = runs[nth][1] - runs[nth][0]
        partner[nth] = following.get(length, -1)
        following[length] = nth
    nth = 0
    while nth < len(runs):
        start, end = runs[nth]
        if partner[nth] >= 0:
            nth = partner[nth] + 1
        elif end - start >= 3:
            yield _Block("`", min(end - start, _LONGEST)), start
            if not _is_info(line[end:]):
                yield None, None
            return
        else:
            nth += 1
    yield None, None


def _from_block(line: str, state: _Block) -> Iterable[_Step]:
    """What a line within a block may close, and open after that."""
    mark, length, depth = state
    inner = line[_QUOTES.match(line).end() :]  # type: ignore[union-attr]
    indent, inner = _indent(inner), inner.lstrip(" \t")
    closed = state._replace(depth=depth - 1) if depth > 1 else None
    alone = _ALONE.fullmatch(inner)
    if alone and inner[0] == mark:
        if len(alone[1]) >= length:
            yield closed, None
            if indent <= 3:
                return
        yield state, None
        return
    yield state, None
    begins = inner.startswith(mark * length)
    if begins and _LANGUAGE.fullmatch(inner.lstrip(mark)):
        if depth < _DEEPEST:
            yield state._replace(depth=depth + 1), None
        return
    if mark == "~":
        if begins:
            yield closed, None
        return
    ends = [run.end() for run in _RUN.finditer(line) if len(run[2]) >= length]
    ends = [end for end in ends if not _LANGUAGE.fullmatch(line, end)]
    for end in {*ends[:1], *ends[-1:]}:
        if closed is None:
            yield from _from_inline(line, end)
        else:
            yield closed, None


def _is_info(rest: str) -> bool:
    """Whether what follows a fence is a language, or nothing."""
    return not rest.strip() or _LANGUAGE.fullmatch(rest) is not None


def _indent(line: str) -> int:
    blank = line[: len(line) - len(line.lstrip(" \t"))]
    return len(blank.expandtabs(4))
