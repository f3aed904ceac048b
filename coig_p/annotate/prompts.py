"""Prompt templates: Chinese for the model, an English gloss for the reader.

A template is a text file with slots, {{query}} and {{response}}. HTML comments in it are for the
reader and never sent. What fills a slot stands between two marker lines whose code is made from the
very texts and occurs in none of them, so no query or response can end its slot or open another one.
The turns of a conversation have a marker line each, with who speaks.
"""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from coig_p.errors import UsageError

_SLOT = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
_LARGEST = 2**20  # characters, and bytes, of a template
_SPEAKERS = {"system": "系统", "user": "用户", "assistant": "助手"}
_SPOKEN = "（下面是一段对话，回答接在最后一轮之后）"

Value = str | Sequence[Mapping[str, str]]
"""What fills a slot: a text, or the turns of a conversation."""


@dataclass(frozen=True)
class Markers:
    """What marker lines say around what fills a slot.

    Attributes:
        names: of slots.
        begins, ends: behind the name.
        speakers: by role, of the turns of a conversation.
        spoken: what stands before these.
    """

    names: Mapping[str, str]
    begins: str = "开始"
    ends: str = "结束"
    speakers: Mapping[str, str] = field(default_factory=lambda: _SPEAKERS)
    spoken: str = _SPOKEN


MARKERS = Markers({"query": "问题", "response": "回答", "first": "回答A", "second": "回答B"})


@dataclass(frozen=True)
class Prompt:
    """A template without its comments, and the slots that it has."""

    text: str
    slots: tuple[str, ...]

    def fill(self, values: Mapping[str, Value], markers: Markers = MARKERS) -> str:
        """The prompt with every slot filled; the same values always give the same text."""
        code = _code(self.text, [text for slot in self.slots for text in _texts(values[slot])])
        # One pass: what looks like a slot inside a value stays as it is.
        return _SLOT.sub(lambda match: _fenced(match[1], values[match[1]], code, markers), self.text)

    def put(self, values: Mapping[str, str]) -> str:
        """The template with the values in the places of the slots as they are, without marker lines."""
        return _SLOT.sub(lambda match: values[match[1]], self.text).strip()

    def with_put(self, values: Mapping[str, str]) -> Prompt:
        """The template with some slots filled as `put` does; the others stay."""
        text = _SLOT.sub(lambda match: values.get(match[1], match[0]), self.text)
        return Prompt(text.strip() + "\n", tuple(slot for slot in self.slots if slot not in values))


def _fenced(slot: str, value: Value, code: str, markers: Markers) -> str:
    name = markers.names[slot]
    if not isinstance(value, str):
        turns = (f"<<<{markers.speakers[turn['role']]} {code}>>>\n{turn['content']}" for turn in value)
        value = "\n".join([markers.spoken, *turns])
    return f"<<<{name}{markers.begins} {code}>>>\n{value}\n<<<{name}{markers.ends} {code}>>>"


def _texts(value: Value) -> list[str]:
    return [value] if isinstance(value, str) else [turn["content"] for turn in value]


def _code(template: str, values: list[str]) -> str:
    """Twelve characters that occur in none of the texts, made from them."""
    whole = "\x00".join([template, *values]).encode("utf-8", "surrogatepass")
    turn = 0
    while True:
        code = hashlib.sha256(turn.to_bytes(4, "big") + whole).hexdigest()[:12]
        if not any(code in text for text in (template, *values)):
            return code
        turn += 1


def parse_prompt(text: str, slots: tuple[str, ...], name: str, optional: tuple[str, ...] = ()) -> Prompt:
    """Read a template that must have each of `slots` once, may have each of `optional` once, and no other.

    Raises:
        UsageError: a slot is missing, unknown or there twice, or a comment does not end.
    """
    text = _COMMENT.sub("", text.replace("\r\n", "\n")).strip() + "\n"
    if "<!--" in text:
        raise UsageError(f"{name}: a comment <!-- does not end")
    found = [match[1] for match in _SLOT.finditer(text)]
    for slot in found:
        if slot not in (*slots, *optional):
            valid = ", ".join(f"{{{{{each}}}}}" for each in (*slots, *optional))
            raise UsageError(f"{name}: unknown slot {{{{{slot}}}}}. Valid: {valid}")
    for slot in slots:
        if found.count(slot) != 1:
            raise UsageError(f"{name}: the slot {{{{{slot}}}}} must stand in it once, not {found.count(slot)} times")
    for slot in optional:
        if found.count(slot) > 1:
            raise UsageError(f"{name}: the slot {{{{{slot}}}}} may stand in it once, not {found.count(slot)} times")
    return Prompt(text, (*slots, *(slot for slot in optional if slot in found)))


def read_prompt(path: Path, slots: tuple[str, ...], optional: tuple[str, ...] = ()) -> Prompt:
    """Read a template of the user's; see `parse_prompt`.

    Raises:
        UsageError: also where it is a pipe or a device, which may never end, or larger than a prompt can be.
    """
    try:
        found = path.stat()
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            raise UsageError(f"prompt {path} is a pipe or a device: name a file")
        with path.open(encoding="utf-8") as stream:
            text = stream.read(_LARGEST + 1)  # what /proc calls a file tells no size
        if found.st_size > _LARGEST or len(text) > _LARGEST:
            raise UsageError(f"prompt {path} is larger than 1 MiB: name a template")
    except UnicodeDecodeError:
        raise UsageError(f"prompt {path} is not UTF-8") from None
    except OSError as error:
        raise UsageError(f"prompt {path} cannot be read: {error.strerror}") from None
    except ValueError as error:  # a name with a null character
        raise UsageError(f"prompt {str(path)!r} cannot be read: {error}") from None
    return parse_prompt(text, slots, f"prompt {path}", optional)


def bundled_prompt(name: str) -> Prompt:
    """The package's template of a domain, of the query filter ("query"), or of translation ("translate")."""
    text = files("coig_p.annotate").joinpath("prompts", f"{name}.md").read_text(encoding="utf-8")
    alone = name in ("query", "translate")
    return parse_prompt(text, ("query",) if alone else ("query", "response"), f"prompts/{name}.md")
