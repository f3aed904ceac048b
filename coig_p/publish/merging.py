"""Two changes of one text put together: line by line, as git does it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher, unified_diff

_SHOWN = 40  # lines of a difference


class ConflictError(Exception):
    """Both change the same lines."""


def merge(base: str, ours: str, theirs: str) -> str:
    """Both changes of `base`, which may have nothing in common but what stands in it.

    Raises:
        ConflictError: they change the same lines, or lines side by side, in two ways.
    """
    lines = base.splitlines(keepends=True), ours.splitlines(keepends=True), theirs.splitlines(keepends=True)
    merged: list[str] = []
    for in_base, in_ours, in_theirs in _regions(*lines):
        if in_ours in (in_base, in_theirs):
            merged += in_theirs
        elif in_theirs == in_base:
            merged += in_ours
        else:
            raise ConflictError
    return "".join(merged)


def difference(before: str, after: str, name: str) -> str:
    """What was changed, as a unified diff without its heading, cut where it is long."""
    lines = list(unified_diff(before.splitlines(), after.splitlines(), name, name, lineterm="", n=1))[2:]
    more = [f"... and {len(lines) - _SHOWN} more lines"] if len(lines) > _SHOWN else []
    return "\n".join([*lines[:_SHOWN], *more])


def _regions(
    base: Sequence[str], ours: Sequence[str], theirs: Sequence[str]
) -> Iterator[tuple[Sequence[str], Sequence[str], Sequence[str]]]:
    """The three texts cut at the same places: between lines that are the same in all three, and after those."""
    in_ours, in_theirs = _matched(base, ours), _matched(base, theirs)
    begin = (0, 0, 0)
    for at in range(len(base)):
        if at in in_ours and at in in_theirs:
            ends = (at, in_ours[at], in_theirs[at])
            yield base[begin[0] : ends[0]], ours[begin[1] : ends[1]], theirs[begin[2] : ends[2]]
            yield [base[at]], [base[at]], [base[at]]
            begin = (ends[0] + 1, ends[1] + 1, ends[2] + 1)
    yield base[begin[0] :], ours[begin[1] :], theirs[begin[2] :]


def _matched(base: Sequence[str], other: Sequence[str]) -> dict[int, int]:
    """For lines of the base that stand in the other text too, where."""
    blocks = SequenceMatcher(None, base, other, autojunk=False).get_matching_blocks()
    return {block.a + nth: block.b + nth for block in blocks for nth in range(block.size)}
