"""What a model thinks before it speaks: told apart from what it says.

Reasoning models write <think>…</think>, or a spelling of their own, before their answer. Some chat
templates open the block themselves, so that only </think> is seen. A text that talks of such a tag,
in code or in quotation marks, is not thinking.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_NAMES = r"(?:[a-z]{1,16}[:_])?(?:think|thinking|thought|thoughts|reasoning|reflection|scratchpad)"
# What opens a block, and what closes it, in the spellings of a few families of models.
_SPELLINGS = {
    "[think]": "[/think]",
    "◁think▷": "◁/think▷",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|start_thinking|>": "<|end_thinking|>",
    "<|channel|>analysis<|message|>": "<|channel|>final<|message|>",
}
BEGIN = frozenset(mark[0] for mark in ("<", *_SPELLINGS, *_SPELLINGS.values()))
"""With one of these begins every mark."""
_OPENS = re.compile(rf"\s*(?:<({_NAMES})>|{'|'.join(map(re.escape, _SPELLINGS))})", re.IGNORECASE)
MARKS = rf"(?i)</?{_NAMES}>|{'|'.join(map(re.escape, (*_SPELLINGS, *_SPELLINGS.values())))}"
"""Any of the marks, as a pattern that RE2 takes, too: what holds none holds no thinking."""

# A closing tag that is not spoken of: no quotation mark or code mark stands at either side.
_CLOSES = re.compile(
    rf"(?<![`\"'“‘「『])(?:</({_NAMES})>|{'|'.join(map(re.escape, _SPELLINGS.values()))})(?![`\"'”’」』])",
    re.IGNORECASE,
)
# It stands at an end: of a sentence or a line, or before a new line.
_ENDS = re.compile(r"[\n。．.!！?？…~”」』）)]\s?\Z|\A\s?\Z")
_GOES_ON = re.compile(r"[ \t]*(?:\n|\Z)")
# Or what is said begins behind it; where the words at either side speak of a tag, they go on in one sentence.
_LED_TO = re.compile(
    r"(?:[用以由写在把将被给叫和与或加、，,：:（(=<]|(?i:\b(?:the|an?|this|that|of|with|by|and|or|in|is)))\s*\Z"
)
_SPOKEN = re.compile(
    r"\s*(?:标签|标记|符号|字样|这[个种类]?标|结束|结尾|表示|代表|来[结关表包标]|之[后前间]|等|和|与|或|的|后面|前面|里面|中的"
    r"|是[一闭结用表]|[、，。；：）,.;:)/<|]|(?i:(?:tag|token|mark|element|end|mean|close)s?\b|(?:is|are|and|or|in|at|as|to)\b))"
)
_LOOKED_AT = 8  # closing tags, from the last
_FENCE = re.compile(r"^ {0,3}(?:```|~~~)", re.MULTILINE)


class Told(NamedTuple):
    """A text in two parts.

    Attributes:
        thinking: what stands in blocks of thinking, without their tags; "" where there is none.
        said: the rest; None where a block was opened at the beginning and never closed.
    """

    thinking: str
    said: str | None


def told(text: str) -> Told:
    """Tell thinking from what is said. What is said is cut out, never changed.

    Blocks count at the beginning of the text, one behind another. A closing tag without an opening one ends
    thinking, too, outside of fenced code; where nothing stands behind it, the text before it was said.
    """
    if not any(sign in text for sign in BEGIN):
        return Told("", text)
    thoughts: list[str] = []
    rest = text
    while opening := _OPENS.match(rest):
        closes = f"</{opening[1]}>" if opening[1] else _SPELLINGS[opening[0].strip().lower()]
        closing = re.search(re.escape(closes), rest[opening.end() :], re.IGNORECASE)
        if closing is None:
            return Told("\n".join([*thoughts, rest[opening.end() :].strip()]), None)
        thoughts.append(rest[opening.end() : opening.end() + closing.start()].strip())
        rest = rest[opening.end() + closing.end() :].lstrip()
    for closing in reversed(list(_CLOSES.finditer(rest))[-_LOOKED_AT:]):
        before, after = rest[: closing.start()], rest[closing.end() :]
        if not _ENDS.search(before[-2:]) and not _GOES_ON.match(after) and not _ends_midway(rest, closing):
            continue
        if len(_FENCE.findall(before)) % 2 or (closing[1] and _opened(before, closing[1])):
            continue
        if not after.strip():
            return Told("\n".join(thoughts), before.rstrip())
        return Told("\n".join(filter(None, [*thoughts, before.strip()])), after.lstrip())
    return Told("\n".join(thoughts), rest if thoughts else text)


def _ends_midway(text: str, closing: re.Match[str]) -> bool:
    """Whether thinking ends in the midst of a line: the words at either side do not speak of a tag."""
    if re.search(rf"<{closing[1] or 'think'}>", text, re.IGNORECASE):
        return False
    before, after = text[max(0, closing.start() - 16) : closing.start()], text[closing.end() : closing.end() + 16]
    begins = not before[-1:].isspace() or re.match(r"\s+(?:[A-Z#*\d]|[^\x00-\x7f])", after)
    return bool(begins) and not _LED_TO.search(before) and not _SPOKEN.match(after)


def thinking_at(text: str) -> int | None:
    """Where thinking is left in a text that should hold none: the first mark of it; None where there is none.

    Beside what `told` tells apart, a block counts in the midst of a text where its tags stand at the beginning and
    the end of lines. In code, and in quotation marks, a tag is spoken of.
    """
    opening = _OPENS.match(text)
    if opening is not None:
        return opening.end() - len(opening[0].lstrip())
    found = told(text)
    if found.said != text:
        closing = next(at for at in _CLOSES.finditer(text) if _splits(text, at, found))
        return closing.start()
    for block in _BLOCK.finditer(text):
        if not len(_FENCE.findall(text[: block.start()])) % 2:
            return block.start("tag")
    return None


def _splits(text: str, closing: re.Match[str], found: Told) -> bool:
    """Whether it is this closing tag at which `told` cut."""
    return found.said in (text[closing.end() :].lstrip(), text[: closing.start()].rstrip())


_BLOCK = re.compile(
    rf"^[ \t]*(?P<tag><({_NAMES})>)(?:(?!</?\2>).)*</\2>[ \t]*$", re.IGNORECASE | re.MULTILINE | re.DOTALL
)


def _opened(before: str, name: str) -> bool:
    """Whether a tag is open in the midst of what is said: then a pair of tags is spoken of."""
    opened = len(re.findall(rf"<{name}>", before, re.IGNORECASE))
    return opened > len(re.findall(rf"</{name}>", before, re.IGNORECASE))
