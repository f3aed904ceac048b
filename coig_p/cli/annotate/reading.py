"""The first queries of a run with all that came of them, as text to read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from coig_p.cli.screen import one_line
from coig_p.core.text import printable

if TYPE_CHECKING:
    from coig_p.annotate.first import Compared, Judgement, Shown

_MOST = 1500  # characters of a text; --json has the whole


def readable(shown: Shown, at: int) -> Iterator[str]:
    """A query, its responses, and under each its judges' scores with their reasons. Texts may be hostile."""
    yield one_line(f"{at}. {shown.query_id} ({shown.domain})")
    yield _indented(shown.query, 3)
    if shown.judged is not None:
        yield from _judged(shown.judged, 3)
    if shown.passed is not True:
        yield "   dropped: asked no further" if shown.passed is False else "   not known yet whether it passes"
    for response in shown.responses:
        why = "" if response.text is not None else f": no response, {_state(response.state, response.reason)}"
        yield one_line(f"   == {response.model}{why}")
        if response.text is not None:
            yield _indented(response.text, 6)
        for judged in response.judgements:
            yield from _judged(judged, 6)
    for compared in shown.comparisons:
        yield from _compared(compared, 3)
    yield ""


def _compared(one: Compared, spaces: int) -> Iterator[str]:
    scores = _state(one.state, one.reason)
    if one.first_scores:
        sides = (one.first_scores, one.second_scores)
        scores = " : ".join(" ".join(f"{score:g}" for score in side.values()) for side in sides)
    yield " " * spaces + one_line(f"-- {one.judge}: {one.first}, then {one.second}: {scores}")
    if one.text is not None:
        yield _indented(one.text, spaces + 3)


def _judged(one: Judgement, spaces: int) -> Iterator[str]:
    score = _state(one.state, one.reason) if one.score is None else f"{one.score:g}"
    yield " " * spaces + one_line(f"-- {one.judge}: {score}")
    if one.text is not None:
        yield _indented(one.text, spaces + 3)


def _state(state: str, reason: str | None) -> str:
    return state if reason is None else f"{state} ({reason})"


def _indented(text: str, spaces: int) -> str:
    whole = text if len(text) <= _MOST else f"{text[:_MOST]}... ({len(text):,} characters; --json has them all)"
    return "\n".join(" " * spaces + line for line in printable(whole).splitlines())
