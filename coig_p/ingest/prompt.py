"""What a row asks: its prompt as turns, from every field that says a part of it.

A row may say its prompt more than once: as text and as messages, or with the answer behind it. Fields that
say the same are one; the one that says more wins where the other is a part of it; anything else is refused,
since a prompt without its history is another prompt.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from coig_p.ingest.fields import Fields, plain_path
from coig_p.ingest.turns import (
    EXTRA_ID,
    Turn,
    conversation,
    from_extra_ids,
    from_text,
    from_transcript,
    history,
    plain,
    said,
    tools,
)
from coig_p.ingest.values import Rejected, shown
from coig_p.store.conversations import transcript


class Asked(NamedTuple):
    """A field that says what is asked, and the turns that it says."""

    name: str
    turns: list[Turn]


_MORE = ("messages", "context", "history", "system", "tools", "input")


def put_query(row: Fields, value: dict[str, Any], answers: Sequence[Turn] = (), *, transcripts: bool = True) -> None:
    """The row's prompt as value["query"], or as value["messages"] where it is more than one user's text.

    Args:
        answers: which a conversation of the row may end in, and which are no part of the prompt.
        transcripts: whether a text may be an HH transcript; in a store's own rows it is text.

    Raises:
        Rejected: fields that contradict each other, or a conversation that is none.
    """
    if row.without(_MORE):  # the usual row
        name = row.name("query")
        row.names["query"] = name
        given = row.row.get(name)
        if given is None:
            if name in row.given:
                row.read.add(name)
                value["query"] = row.given[name]
            return
        if isinstance(given, str) and (
            not transcripts
            or (given[0] not in _MAY_BE_MORE and EXTRA_ID not in given)
            or (from_transcript(given) is None and from_text(given) is None and from_extra_ids(given) is None)
        ):
            row.read.add(name)
            value["query"] = given
            return
    found = asked(row, transcripts=transcripts)
    put_turns(row, value, settle(row, found, answers), found[0].name if found else row.name("query"))


_MAY_BE_MORE = frozenset(" \t\r\n\u3000[{H人用")


def asked(row: Fields, without: Collection[str] = (), *, transcripts: bool = True) -> list[Asked]:
    """Every field that says what is asked; history, system prompt and tools are for `settle`.

    Args:
        without: fields that are known to be something else.
        transcripts: whether a text may be an HH transcript.
    """
    found = []
    for name in row.all("messages"):
        if name not in without:
            row.read.add(name)
            given = row.row[name]
            is_text = isinstance(given, str) and given.lstrip()[:1] not in ("[", "{")
            turns = _turns_of(row, name, transcripts) if is_text else conversation(given, name, row.unread)
            found.append(Asked(name, turns))
    context = row.name("context")
    if context in row.row and context not in without and _is_turns(row.row[context]):
        row.read.add(context)
        found.append(Asked(context, conversation(row.row[context], context, row.unread)))
    named = row.all("query")
    if not named and not found and isinstance(row.row.get(context), str):
        named = (context,)  # the only one there is
    for name in named:
        if name not in without:
            row.read.add(name)
            found.append(Asked(name, _turns_of(row, name, transcripts)))
    return _with_input(row, found)


def _turns_of(row: Fields, name: str, transcripts: bool) -> list[Turn]:
    given = row.row[name]
    if isinstance(given, str):
        return (_as_turns(given, row, name) if transcripts else None) or [said("user", given)]
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], str):
        return [said("user", given[0])]
    if not _is_turns(given):
        raise Rejected(name, "not-a-string", f"{shown(given)} is neither a text nor a list of turns")
    return conversation(given, name, row.unread)


def _as_turns(text: str, row: Fields, name: str) -> list[Turn] | None:
    """The turns of a text that is an HH transcript or HelpSteer2's, or messages written as text."""
    turns = from_extra_ids(text) or from_transcript(text)
    if turns is not None:
        return turns
    listed = from_text(text)
    return conversation(listed, name, row.unread) if listed else None


def _is_turns(given: Any) -> bool:
    return (isinstance(given, dict) and any(name in given for name in ("role", "from"))) or (
        isinstance(given, list) and bool(given) and all(isinstance(one, (dict, list)) for one in given)
    )


def _with_input(row: Fields, found: list[Asked]) -> list[Asked]:
    """Alpaca's `input` belongs to its instruction, and is the prompt where there is none."""
    name = row.name("input")
    text = row.row.get(name)
    if text is None or (isinstance(text, str) and not text.strip()):
        row.read.add(name)
        return found
    row.read.add(name)
    if not isinstance(text, str):
        if not _is_turns(text):
            raise Rejected(name, "not-a-string", f"{shown(text)} is neither a text nor a list of turns")
        return [*found, Asked(name, conversation(text, name, row.unread))]
    if not found:
        return [Asked(name, _as_turns(text, row, name) or [said("user", text)])]
    last = found[-1]
    if len(found) == 1 and last.name in row.all("query") and plain(last.turns):
        whole = f"{last.turns[0]['content']}\n{text}"
        return [Asked(last.name, [said("user", whole)])]
    return [*found, Asked(name, [said("user", text)])]


def settle(row: Fields, found: Sequence[Asked], answers: Sequence[Turn] = ()) -> list[Turn]:
    """The one prompt that all fields say, with history and system prompt before it; empty where none does.

    Raises:
        Rejected: two say different things, or the prompt ends in the assistant's turn.
    """
    one = _one_of(row, found, answers)
    turns = _with_history(row, one)
    turns = _with_system(row, turns)
    if turns and turns[-1]["role"] == "assistant":
        raise Rejected(
            one.name if one else "history",
            "ends-in-assistant",
            f"the prompt ends in the assistant's turn {shown(turns[-1]['content'])}"
            + (", which is none of the answers" if answers else ": take it away, or make it a response"),
        )
    return turns


def _one_of(row: Fields, found: Sequence[Asked], answers: Sequence[Turn]) -> Asked | None:
    """The field that says most, once those are left out that say a part of it."""
    left: list[Asked] = []
    for one in found:
        turns = one.turns
        if turns and turns[-1] in answers:  # prompt and answer in one list
            turns = turns[:-1]
        if turns and all(turns != other.turns for other in left):
            left.append(Asked(one.name, turns))
    if len(left) > 1:
        left = [one for one in left if not any(_says(other.turns, one.turns) for other in left if other is not one)]
    if len(left) > 1:
        first, other = left[0].name, left[1].name
        hint = f"leave out the one that is not, with --drop {other}"
        if {first, other} <= set(row.all("query")):
            hint = f"say which is with --map query={first}, or leave the other out with --drop {other}"
        elif first in row.row and not any(first in row.all(ours) for ours in ("chosen", "rejected", "text")):
            hint += f" or --drop {first}"
        if left[0].turns[-1]["role"] == "assistant":  # then the other may go on where this one ends
            hint += f". Where {first} comes before it, --map history={first}"
        raise Rejected(
            other, "ambiguous", f"{first} and {other} may both be the prompt, and say different things: {hint}"
        )
    return left[0] if left else None


def _says(more: Sequence[Turn], less: Sequence[Turn]) -> bool:
    """Whether a conversation says all that another does: without its system prompt, or a copy as text."""
    if [turn for turn in more if turn["role"] != "system"] == list(less):
        return True
    if not plain(less) or len(more) < 2:
        return False
    text = less[0]["content"]
    people = [turn["content"] for turn in more if turn["role"] == "user"]
    return bool(people) and (text in (people[0], people[-1]) or text == transcript(more))


def _with_history(row: Fields, one: Asked | None) -> list[Turn]:
    turns = one.turns if one else []
    name = row.name("history")
    if name not in row.row:
        return turns
    row.read.add(name)
    given = row.row[name]
    if isinstance(given, str) and one is None:  # a text that is the whole of it, as in SHP
        return _as_turns(given, row, name) or [said("user", given)]
    before = history(given, name, row.unread)
    if one is None or turns[: len(before)] == before:
        return turns or before
    if one.name not in (*row.all("query"), *row.all("input")):
        raise Rejected(
            name,
            "ambiguous",
            f"{name} and {one.name} both hold earlier turns: leave out one of them with --drop {name} "
            f"or --drop {one.name}",
        )
    if turns[0]["role"] == "system" and before[0]["role"] != "system":
        return [turns[0], *before, *turns[1:]]
    return [*before, *turns]


def _with_system(row: Fields, turns: list[Turn]) -> list[Turn]:
    name = row.name("system")
    if name not in row.row:
        return turns
    row.read.add(name)
    text = row.row[name]
    if isinstance(text, dict):
        text = text.get("content", text.get("value"))
    if not isinstance(text, str):
        raise Rejected(name, "not-a-string", f"{shown(text)} is not a string")
    if not text.strip() or not turns:
        return turns
    if turns[0]["role"] != "system":
        return [said("system", text), *turns]
    if turns[0]["content"] != text:
        raise Rejected(
            name,
            "ambiguous",
            f"{shown(text)}, but the conversation begins with the system prompt {shown(turns[0]['content'])}: "
            f"leave out the wrong one, or this with --drop {name}",
        )
    return turns


def put_turns(row: Fields, value: dict[str, Any], turns: list[Turn], name: str) -> None:
    """The prompt in its place, and the tools that the row defines."""
    row.names["query"] = row.names["messages"] = name
    if plain(turns):
        value["query"] = turns[0]["content"]
    elif turns:
        value["messages"] = turns
    _put_tools(row, value)
    _refuse_passage(row)


def _put_tools(row: Fields, value: dict[str, Any]) -> None:
    """The tools that the row defines, or its system prompt."""
    defined = row.name("tools")
    places = dict(row.unread.tools)
    if defined in row.row:
        row.read.add(defined)
        places = {defined: row.row[defined], **places}
    for place, given in places.items():
        found = tools(given, place)
        if found is None or found == value.get("tools"):
            continue
        if "tools" in value:
            way = f"--drop {row.names['tools']} or --drop {plain_path(place)}"
            raise Rejected(place, "ambiguous", f"other tools than in {row.names['tools']}: leave one out with {way}")
        row.names["tools"] = place
        value["tools"] = found


def _refuse_passage(row: Fields) -> None:
    """A passage beside the question is a part of what is asked, and how they go together is not said."""
    name = row.name("context")
    if name in row.row and name not in row.read and not {name, "all"} & set(row.config.keep):
        joined = f"--map input={name} joins it to the prompt, " if isinstance(row.row[name], str) else ""
        raise Rejected(name, "no-place", f"beside the prompt, and no turns: {joined}--drop {name} leaves it out")
