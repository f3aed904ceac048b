"""What is read in answers of a TaP run: odd ones of each kind, most of which can be read, and none wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tap_odd import PROMPTS, TYPES, odd

from coig_p.annotate.tap.parsing import parse_completeness, parse_eight, parse_feasible, parse_types


def _types(text: str) -> str:
    names = {pair: token.lower().lstrip("n").replace("m", "e") for token, pair in TYPES.items()}
    found = parse_types(text)
    assert (found.reason is None) == bool(found.types)
    return " ".join(names.get((one.name, one.description), repr(one)) for one in found.types) or "none"


def _completeness(text: str) -> str:
    prompts = {prompt: token[1:] for token, prompt in PROMPTS.items()}
    found = parse_completeness(text)
    assert (found.reason is None) == (found.lacks is not None)
    if found.lacks is None:
        return "none"
    return f"yes {prompts.get(str(found.prompt), repr(found.prompt))}" if found.lacks else "no"


def _feasible(text: str) -> str:
    found = parse_feasible(text)
    assert (found.reason is None) == (found.feasible is not None)
    return "none" if found.feasible is None else "yes" if found.feasible else "no"


def _eight(text: str) -> str:
    found = parse_eight(text)
    if found.first is None or found.second is None:
        assert found.reason
        return "none"
    assert found.reason is None
    return " / ".join(" ".join(f"{number:g}" for number in four) for four in (found.first, found.second))


READS: dict[str, Callable[[str], str]] = {
    "types": _types,
    "completeness": _completeness,
    "feasible": _feasible,
    "eight": _eight,
}


@pytest.mark.parametrize("kind", READS)
def test_odd_answers_are_read_right_or_not_at_all(kind: str) -> None:
    answers = odd(kind)
    read = [(one, READS[kind](one.text)) for one in answers]
    wrong = [f"{one.where}: {found} for {one.expected}" for one, found in read if found not in (one.expected, "none")]
    assert not wrong, "\n".join(wrong)
    readable = [(one, found) for one, found in read if one.expected != "none"]
    unread = [one.where for one, found in readable if found == "none"]
    assert len(unread) <= 0.03 * len(readable), unread
