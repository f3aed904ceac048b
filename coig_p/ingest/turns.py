"""Conversations in every spelling that data sets have, as one list of turns.

A turn is `{"role", "content", "extra"}`: one of `coig_p.schema.ROLES`, text, and a dict of
`MESSAGE_FIELDS` or None. What cannot be said so, a picture or a role that nobody knows, is refused under
the name that the row has for it.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from coig_p.ingest.fields import ALIASES, Beside, empty, plain_path
from coig_p.ingest.media import is_media
from coig_p.ingest.values import Rejected, arguments_at, shown
from coig_p.store.conversations import ANSWER_FIELDS, CALLS, MESSAGE_FIELDS

Turn = dict[str, Any]

_ROLES: Mapping[str, str] = {
    name: role
    for role, names in {
        "system": ("system", "developer", "系统"),
        "user": ("user", "human", "prompter", "用户", "人类"),
        "assistant": ("assistant", "gpt", "bot", "model", "chatgpt", "ai", "助手", "助理"),
        "tool": ("tool", "observation", "tool_response", "function", "function_response", "ipython", "工具"),
    }.items()
    for name in names
}
_CALLING = ("function_call", "tool_call", "tool_calls")  # sharegpt's roles whose text is a call

_ROLE_KEYS = ("role", "from")
_CONTENT_KEYS = ("content", "value", "text")
_EXCHANGES = (
    ("human", "assistant"),
    ("user", "assistant"),
    ("input", "output"),
    ("prompt", "response"),
    ("question", "answer"),
    ("query", "response"),
    ("instruction", "output"),
    ("问", "答"),
)
"""What a question and its answer are called where they stand in one object."""
_TEXT_ALONE = "a store holds text alone"
_TEXT_PARTS = ("text", "input_text", "output_text")

# HH's own marks, two line breaks before each. Marks with one line break are read in English alone, where no ordinary
# Chinese text says the like, and only where the text ends in one, waiting for the answer, or is an answer.
_OPENS = re.compile(r"\s*(Human|人类|用户) ?[:：]")
_WIDE = re.compile(r"(?:\A\s*|\n\n\s*)(Human|Assistant|人类|用户|助手|助理) ?[:：]")
_NARROW = re.compile(r"(?:\A\s*|\n[ \t]*)(Human|Assistant) ?[:：]")
_MAY_BE_MESSAGES = re.compile(r"\s*(?:\[\s*)?\{\s*[\"']")
_PRINTED_ESCAPES = re.compile(r"\\[\\'\"nrtxuU]")
_LONGEST_PRINTED = 1 << 20  # characters that are read as Python
_ASKED = frozenset({"Human", "人类", "用户"})


def conversation(given: Any, where: str, unread: Beside | None = None) -> list[Turn]:
    """A list of messages, of sharegpt's turns or of [question, answer] pairs; also one alone, or as JSON text.

    Args:
        where: the field that holds it.
        unread: takes the fields in messages that were not read, and tools that a system prompt defines.

    Raises:
        Rejected: what stands there is no conversation, or holds what a store has no place for. The last
            turn's content may be blank, and is for the caller to look at.
    """
    if isinstance(given, str):
        given = _from_json(given, where, "a list of turns")
    if isinstance(given, dict):
        given = [given]
    if not isinstance(given, list):
        raise Rejected(where, "not-a-list", f"{shown(given)} is not a list of turns")
    turns: list[Turn] = []
    last = len(given) - 1
    for at, one in enumerate(given):
        quick = _plain_turn(one)
        if quick is not None and not (quick["content"].isspace() and (at < last or quick["role"] == "system")):
            turns.append(quick)
            continue
        place = f"{where}[{at}]"
        more = _exchange(one, place) if _is_exchange(one) else [message(one, place, unread, within=where)]
        if turns and _is_calling(one) and _goes_on(turns[-1], more[0]):
            turns[-1] = _with_calls(turns[-1], more[0])
            continue
        more = [turn for turn in more if turn["role"] != "system" or turn["content"].strip()]  # blank: there is none
        for turn in more:
            if at < last and not turn["content"].strip() and not has_calls(turn):
                raise Rejected(place, "blank", f"the turn {shown(turn['content'])} is blank")
        turns += more
    if turns and turns[-1]["role"] == "assistant" and _is_exchange(given[-1]) and not turns[-1]["content"].strip():
        turns.pop()  # the question that is still to be answered
    return turns


def message(
    given: Any, where: str, unread: Beside | None = None, *, role: str | None = None, within: str | None = None
) -> Turn:
    """One message.

    Args:
        role: who speaks where the message does not say.
        within: the name under which unread fields are told; default `where`.

    Raises:
        Rejected: see `conversation`.
    """
    if isinstance(given, str) and role is not None:
        return said(role, given)
    quick = _plain_turn(given)
    if quick is not None:
        return quick
    if not isinstance(given, dict):
        raise Rejected(where, "not-a-turn", f"{shown(given)} is not a turn with a role and a content")
    filled = {name: value for name, value in given.items() if not empty(value)}
    extra: dict[str, Any] = {}
    read = set()
    if "extra" in filled:
        kept = filled["extra"]
        kept = _from_json(kept, f"{where}.extra", "an object") if isinstance(kept, str) else kept
        if isinstance(kept, dict):
            read.add("extra")
            filled = {**filled, **{name: value for name, value in kept.items() if not empty(value)}}
    told = next((name for name in _ROLE_KEYS if name in filled), None)
    speaker = role
    if told is not None:
        read.add(told)
        speaker = _role(filled[told], f"{where}.{told}")
    if speaker is None:
        have = ", ".join(map(str, given))
        raise Rejected(where, "missing", f"no role in this turn: it has {shown(have) if have else 'no field'}")
    key = next((name for name in _CONTENT_KEYS if name in filled), None)
    key = key or next((name for name in _CONTENT_KEYS if name in given), "content")
    read.add(key)
    content = given.get(key)
    if speaker in _CALLING:
        extra[CALLS] = _calls(content, f"{where}.{key}")
        speaker, content = "assistant", ""
    for name in MESSAGE_FIELDS:
        if name in filled:
            read.add(name)
            extra[name] = _calls(filled[name], f"{where}.{name}") if name == CALLS else filled[name]
    if "function_call" in filled:  # what OpenAI had before tool_calls
        read.add("function_call")
        extra.setdefault(CALLS, _calls(filled["function_call"], f"{where}.function_call"))
    if isinstance(content, list):
        content = _parts(content, f"{where}.{key}", unread, within or where)
    elif content is None and CALLS in extra:
        content = ""
    if not isinstance(content, str):
        reason, what = ("not-a-string", f"{shown(content)} is not text") if key in given else ("missing", "missing")
        raise Rejected(f"{where}.{key}", reason, what)
    for name in filled.keys() - read:
        path = f"{within or where}.{name}"
        if name in ALIASES["tools"] and speaker == "system" and unread is not None and not unread.names(path):
            unread.tools[f"{where}.{name}"] = filled[name]
        else:
            _leave(name, filled[name], f"{where}.{name}", path, unread)
    return {"role": speaker, "content": content, "extra": extra or None}


def history(given: Any, where: str, unread: Beside | None = None) -> list[Turn]:
    """Turns before the query: pairs of question and answer, or messages.

    Raises:
        Rejected: see `conversation`; also where the last question has no answer.
    """
    turns = conversation(given, where, unread)
    if turns and (turns[-1]["role"] == "user" or not (turns[-1]["content"].strip() or has_calls(turns[-1]))):
        raise Rejected(where, "unanswered", "the last question in it has no answer, and the query comes after it")
    return turns


def from_transcript(text: str, *, answered: bool = False) -> list[Turn] | None:
    """The turns of a text like Anthropic's HH, "\\n\\nHuman: ... \\n\\nAssistant: ...", also with Chinese names.

    None where it is not one: it must begin with a person's mark and go on with an assistant's. Where marks have one
    line break before them they must take turns, and the text must end in the assistant's.

    Args:
        answered: the text holds an answer, so that what stands behind the last mark is one, though it may be blank;
            otherwise a blank one, at the end, is where the answer goes, and no turn.
    """
    if not _OPENS.match(text):
        return None
    for marks in (_WIDE, _NARROW):
        found = list(marks.finditer(text))
        if any(mark[1] not in _ASKED for mark in found):
            break
    else:
        return None
    ends = [mark.start() for mark in found[1:]] + [len(text)]
    turns = [
        said("user" if mark[1] in _ASKED else "assistant", text[mark.end() : end].strip())
        for mark, end in zip(found, ends, strict=True)
    ]
    if marks is _NARROW:
        takes_turns = all(turn["role"] == ("user", "assistant")[at % 2] for at, turn in enumerate(turns))
        if not takes_turns or len(turns) % 2 or bool(turns[-1]["content"]) > answered:
            return None
    if not all(turn["content"] for turn in turns[:-1]):
        return None
    if turns[-1]["content"] or (answered and turns[-1]["role"] == "assistant"):
        return turns
    return turns[:-1] if turns[-1]["role"] == "assistant" else None


_EXTRA_ID = re.compile(r"\s*<extra_id_1>(Assistant|User)\n")
EXTRA_ID = "<extra_id_1>"


def from_extra_ids(text: str) -> list[Turn] | None:
    """The turns of a prompt as HelpSteer2 has it, "... <extra_id_1>Assistant\\n...<extra_id_1>User\\n..."."""
    first, *rest = _EXTRA_ID.split(text) if EXTRA_ID in text else [text]
    if not rest or rest[::2] != ["Assistant", "User"] * (len(rest) // 4):
        return None
    roles = ["user", *("assistant" if name == "Assistant" else "user" for name in rest[::2])]
    turns = [said(role, content.strip()) for role, content in zip(roles, [first, *rest[1::2]], strict=True)]
    return turns if all(turn["content"] for turn in turns) else None


def from_text(text: str) -> list[Any] | None:
    """Messages that stand as text: the JSON of one or of a list, or what Python prints of a list (tables have both).

    None where it is any other text: each message must have a known role, and a content or calls.
    """
    if _MAY_BE_MESSAGES.match(text) is None:
        return None
    given: Any = None
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        # Of other escapes Python warns.
        if len(text) <= _LONGEST_PRINTED and "\\" not in _PRINTED_ESCAPES.sub("", text):
            try:
                given = ast.literal_eval(text.strip())
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                return None
    found = given if isinstance(given, list) else [given]
    return found if found and all(map(_is_message, found)) else None


def _is_message(given: Any) -> bool:
    if not isinstance(given, dict):
        return False
    role = next((given[name] for name in _ROLE_KEYS if not empty(given.get(name))), None)
    known = isinstance(role, str) and (role.strip().lower() in _ROLES or role.strip().lower() in _CALLING)
    content = next((given[name] for name in _CONTENT_KEYS if name in given), None)
    return known and (isinstance(content, (str, list)) or not empty(given.get(CALLS)))


def tools(given: Any, where: str) -> list[Any] | None:
    """Tool definitions: a list of objects, also as JSON text; None where there is none.

    Raises:
        Rejected: anything else.
    """
    if isinstance(given, str):
        if not given.strip():
            return None
        given = _from_json(given, where, "a list of tool definitions")
    if given is None or given == {}:
        return None
    if isinstance(given, dict):
        given = [given]
    if isinstance(given, list):
        given = [
            _from_json(one, f"{where}[{at}]", "a tool definition") if isinstance(one, str) else one
            for at, one in enumerate(given)
        ]
        if all(isinstance(one, dict) for one in given):
            return given or None
    raise Rejected(
        where, "not-tools", f"{shown(given)} is no list of tool definitions: leave it out with --drop {where}"
    )


def common_start(lists: Sequence[Sequence[Turn]]) -> int:
    """How many turns all lists share from the start, leaving at least one of each."""
    most = min(map(len, lists)) - 1
    first = lists[0]
    for at in range(most):
        if any(other[at] != first[at] for other in lists[1:]):
            return at
    return max(most, 0)


def split_answer(turns: Sequence[Turn], where: str) -> tuple[list[Turn], Turn]:
    """The turns before the last, and the last, which is the assistant's answer.

    Raises:
        Rejected: the last turn is not the assistant's.
    """
    if not turns or turns[-1]["role"] != "assistant":
        who = turns[-1]["role"] if turns else "nobody"
        raise Rejected(
            where,
            "ends-in-user" if who == "user" else "no-answer",
            f"the last turn is {'' if who == 'nobody' else 'the '}{who}'s, where the assistant's answer must stand",
        )
    return list(turns[:-1]), turns[-1]


def said(role: str, text: str) -> Turn:
    """A turn of plain text."""
    return {"role": role, "content": text, "extra": None}


def answer_fields(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What stands beside an answer's text in one object with it, as a turn has it in `extra`."""
    start = f"{where}." if where else ""
    filled = {name: given[name] for name in ANSWER_FIELDS if not empty(given.get(name))}
    if CALLS in filled:
        filled[CALLS] = _calls(filled[CALLS], f"{start}{CALLS}")
    return filled


def has_calls(turn: Mapping[str, Any]) -> bool:
    """Whether a turn asks tools for something."""
    return bool(turn["extra"]) and CALLS in turn["extra"]


def plain(turns: Sequence[Turn]) -> bool:
    """Whether a conversation is one user's text and nothing else."""
    return len(turns) == 1 and turns[0]["role"] == "user" and not turns[0]["extra"]


def _plain_turn(given: Any) -> Turn | None:
    """A message of a role and a filled text and nothing else, as nearly all are; None of any other."""
    if type(given) is not dict or len(given) != 2:
        return None
    role, content = given.get("role"), given.get("content")
    if role is None:
        role, content = given.get("from"), given.get("value")
    if type(content) is not str or not content or type(role) is not str or role not in _ROLES:
        return None
    return {"role": _ROLES[role], "content": content, "extra": None}


def _role(given: Any, where: str) -> str:
    role = _ROLES.get(given) if isinstance(given, str) else None
    if role is None and isinstance(given, str):
        name = given.strip().lower()
        role = _ROLES.get(name) or (name if name in _CALLING else None)
    if role is None:
        known = "system, user (human), assistant (gpt), tool (observation), function_call"
        raise Rejected(where, "no-place", f"no role {shown(given)} is known: there are {known}")
    return role


def _is_calling(given: Any) -> bool:
    """Whether a message is a call by its role, as ms-swift and sharegpt have it."""
    role = next((given[name] for name in _ROLE_KEYS if given.get(name)), None) if isinstance(given, dict) else None
    return isinstance(role, str) and role.strip().lower() in _CALLING


def _goes_on(before: Turn, calling: Turn) -> bool:
    """Whether a turn of calls belongs to the one before it: an assistant's text and its calls are one turn."""
    return bool(before["role"] == "assistant" and calling["extra"].keys() == {CALLS})


def _with_calls(before: Turn, calling: Turn) -> Turn:
    extra = before["extra"] or {}
    return {**before, "extra": {**extra, CALLS: [*extra.get(CALLS, []), *calling["extra"][CALLS]]}}


def _is_exchange(given: Any) -> bool:
    if isinstance(given, dict):
        return not any(name in given for name in _ROLE_KEYS) and _exchange_keys(given) is not None
    return isinstance(given, (list, tuple))


def _exchange_keys(given: Collection[str]) -> tuple[str, str] | None:
    return next((keys for keys in _EXCHANGES if keys[0] in given and keys[1] in given), None)


def _exchange(given: Any, where: str) -> list[Turn]:
    """A question and its answer."""
    keys: tuple[Any, Any] = (0, 1)
    if isinstance(given, dict):
        found = _exchange_keys(given)
        assert found is not None
        keys = found
        other = [name for name in given if name not in keys and not empty(given[name])]
        if other:
            raise Rejected(f"{where}.{other[0]}", "no-place", f"beside {' and '.join(keys)} it has no place")
    elif len(given) != 2:
        raise Rejected(where, "not-a-pair", f"{len(given)} texts, where a question and its answer must stand")
    turns = []
    for key, role in zip(keys, ("user", "assistant"), strict=True):
        text = given[key]
        if text is None and role == "assistant":
            text = ""
        if not isinstance(text, str):
            place = f"{where}[{key}]" if isinstance(key, int) else f"{where}.{key}"
            raise Rejected(place, "not-a-string", f"{shown(text)} is not text")
        turns.append(said(role, text))
    return turns


def _parts(parts: list[Any], where: str, unread: Beside | None, within: str) -> str:
    """The text of a content that is given in parts."""
    texts = []
    for at, part in enumerate(parts):
        place = f"{where}[{at}]"
        if isinstance(part, str):
            texts.append(part)
            continue
        if not isinstance(part, dict):
            raise Rejected(place, "not-a-string", f"{shown(part)} is not text")
        filled = {name: value for name, value in part.items() if not empty(value)}
        kind = filled.get("type", "text")
        if kind not in _TEXT_PARTS:
            raise Rejected(place, "no-place", f"a part of type {shown(kind)}: a store holds text alone")
        if not isinstance(part.get("text"), str):
            raise Rejected(f"{place}.text", "not-a-string", f"{shown(part.get('text'))} is not text")
        texts.append(part["text"])
        for name in filled.keys() - {"type", "text"}:
            _leave(name, filled[name], f"{place}.{name}", f"{within}.content.{name}", unread)
    return "".join(texts)


def _calls(given: Any, where: str) -> list[dict[str, Any]]:
    """Tool calls as OpenAI has them, from those, from bare {"name", "arguments"}, or from their JSON text."""
    if isinstance(given, str):
        given = _from_json(given, where, 'a tool call {"name", "arguments"}')
    calls = given if isinstance(given, list) else [given]
    return [_call(one, f"{where}[{at}]" if isinstance(given, list) else where) for at, one in enumerate(calls)]


def _call(given: Any, where: str) -> dict[str, Any]:
    if isinstance(given, str):
        given = _from_json(given, where, 'a tool call {"name", "arguments"}')
    outer = {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else {}
    inner = outer.pop("function", None)
    if inner is None:  # {"name", "arguments"} alone
        inner = {name: outer.pop(name) for name in ("name", "arguments", "parameters") if name in outer}
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str) or not inner["name"].strip():
        raise Rejected(where, "not-a-call", f'{shown(given)} is no tool call: {{"name": ..., "arguments": ...}}')
    function = {name: value for name, value in inner.items() if value is not None}
    key = "arguments" if "arguments" in function else "parameters"
    arguments = function.pop(key, "{}")
    function["arguments"] = arguments_at(arguments, f"{where}.{key}")
    return {"type": "function", **outer, "function": function}


def _leave(name: str, value: Any, where: str, path: str, unread: Beside | None) -> None:
    """Leave a field unread, unless it carries meaning and nobody says that it may go.

    Args:
        where: it stands, for messages; `path` is what --keep and --drop call it.
    """
    lost = (is_media(name) and value not in (0, 1)) or name in ALIASES["tools"]
    if lost and (unread is None or not (unread.names(path) or unread.keeps_all)):
        why = "tools belong to the row, or to its system prompt" if name in ALIASES["tools"] else _TEXT_ALONE
        raise Rejected(where, "no-place", f"{why}: leave out such rows, or the field with --drop {plain_path(path)}")
    if unread is not None:
        unread.add(path, value)


def _from_json(text: str, where: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Rejected(where, "not-json", f"{shown(text)} is not the JSON text of {what}") from None
