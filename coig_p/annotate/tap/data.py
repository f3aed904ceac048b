"""Data that an answer writes in JSON, in Python or in tags, alone or in the midst of prose: whole, or not at all."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from coig_p.annotate.tap.lines import unique

_MOST = 2**18  # characters
_BEGINS = re.compile(r"[\[{\uff3b\uff5b]\s*(?:[\[{(（\uff3b\uff5b]\s*)?[\"'“‘]|[\[{\uff3b\uff5b]\s*[\]}\uff3d\uff5d]")
_BRACKETS = {"{": "}", "[": "]", "(": ")"}
_PLAIN = str.maketrans("\uff3b\uff3d\uff5b\uff5d（）：，", "[]{}():,")
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’"}
_WORDS = {"True": "true", "False": "false", "None": "null"}
_PYTHON = re.compile("|".join(_WORDS))
_LABEL = re.compile(r"([^\n。；;{}\[\]]{0,60}?)\s*(?:[:：=]\s*)?(?:\n\s*)?(?:```\w{0,12}\s*)?\Z")
_TAG = re.compile(
    r"<(?P<closes>/)?(?P<name>[A-Za-z\u4e00-\u9fff][\w.-]{0,30})"
    r"(?P<told>(?:\s+[\w-]{1,20}\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'))*)\s*(?P<empty>/)?>"
)
_ATTRIBUTE = re.compile(r"([\w-]+)\s*=\s*[\"']([^\"']*)[\"']")
# Of HTML: what only decorates, and tables, which are rows.
_HTML = re.compile(r"b|i|u|em|strong|p|br|[uod]l|li|d[td]|div|span|h[1-6]|table|thead|tbody|t[rdh]", re.IGNORECASE)


_CALLED = re.compile(r"\bdict\(((?:\s*\w{1,30}\s*=\s*(?:[0-9.]{1,6}|\"[^\"\n]{0,400}\"|'[^'\n]{0,400}')\s*,?)+)\s*\)")


class Data(NamedTuple):
    """What a text holds as data.

    Attributes:
        values: each with what stands before it in its line, or in the line above.
        rest: the text without them.
        broken: what begins like data and is none, since it is cut or has a key twice; None where nothing does.
    """

    values: tuple[tuple[str, Any], ...]
    rest: str
    broken: str | None


def data_in(text: str) -> Data:
    """The objects and lists of JSON or Python that a text holds; where it holds none, its elements."""
    values: list[tuple[str, Any]] = []
    rest: list[str] = []
    at = 0
    text = _CALLED.sub(_called, text) if "dict(" in text else text
    while (begins := _BEGINS.search(text, at)) is not None:
        end, form = _normal(text, begins.start())
        try:
            if end is None or len(form) > _MOST:
                raise ValueError("it is cut")
            value = json.loads(form, object_pairs_hook=unique, strict=False)
        except (ValueError, RecursionError):
            return Data((), text, text[begins.start() :])
        before = text[at : begins.start()]
        label = _LABEL.search(before)
        values.append((label[1].strip() if label else "", value))
        rest.append(before)
        at = end
    if values:
        return Data(tuple(values), "".join([*rest, text[at:]]), None)
    return _elements(text)


def _called(found: re.Match[str]) -> str:
    """An object that is made by a call, dict(a=1), as it is written."""
    return "{" + re.sub(r"(?:(?<=\()|(?<=,)|\A)(\s*)(\w{1,30})\s*=\s*", r'\1"\2": ', found[1]) + "}"


def _normal(text: str, begin: int) -> tuple[int | None, str]:
    """Where a value that begins here ends, and the value as JSON has it: in plain marks, with no comma at its end."""
    found: list[str] = []
    open_: list[str] = []
    at = begin
    while at < len(text) and at - begin <= _MOST:
        mark = text[at].translate(_PLAIN)
        if mark in _QUOTES:
            end, inner = _string(text, at)
            if end is None:
                return None, ""
            found.append(inner)
            at = end
            continue
        if mark in "}])":
            if not open_ or _BRACKETS[open_.pop()] != mark:
                return at + 1, "it does not fit"
            while found and (found[-1].isspace() or found[-1] == ","):
                found.pop()
        elif mark in _BRACKETS:
            open_.append(mark)
        word = _PYTHON.match(text, at)
        found.append(_WORDS[word[0]] if word else {"(": "[", ")": "]"}.get(mark, mark))
        at += len(word[0]) if word else 1
        if not open_:
            return at, "".join(found)
    return None, ""


def _string(text: str, begin: int) -> tuple[int | None, str]:
    """Where a string ends, and the string as JSON has it."""
    closes, at, depth = _QUOTES[text[begin]], begin + 1, 0
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        if text[at] == closes and not depth:
            inner = text[begin + 1 : at]
            return at + 1, f'"{inner}"' if closes == '"' else json.dumps(inner, ensure_ascii=False)
        if closes in "”’":
            depth += (text[at] == text[begin]) - (text[at] == closes)
        at += 1
    return None, ""


def _elements(text: str) -> Data:
    """The elements of a text, one in another; of one with text alone there must be several, or one in another."""
    open_: list[tuple[str, list[tuple[str, Any]], int, int]] = []  # name, what is in it, where it and its text begin
    top: list[tuple[str, Any]] = []
    spans: list[tuple[int, int]] = []
    for tag in _TAG.finditer(text):
        name = tag["name"]
        if _HTML.fullmatch(name):
            continue
        told: list[tuple[str, Any]] = list(_ATTRIBUTE.findall(tag["told"] or ""))
        if not tag["closes"] and not tag["empty"]:
            open_.append((name, told, tag.start(), tag.end()))
            continue
        if tag["closes"]:
            if not open_ or open_[-1][0] != name:
                return Data((), text, None)
            _, told, begin, inner = open_.pop()
            own = text[inner : tag.start()].strip()
            value = (_joined(told) if "<" in own else _joined([*told, ("", own)])) if told else own
        else:
            value, begin = _joined(told), tag.start()
        if open_:
            open_[-1][1].append((name, value))
        else:
            top.append((name, value))
            spans.append((begin, tag.end()))
    if open_ and (top or open_[0][1]):
        return Data((), text, text[open_[0][2] :])
    if open_ or not (len(top) > 1 or any(not isinstance(value, str) for _, value in top)):
        return Data((), text, None)
    ends = [0, *(end for _, end in spans)]
    rest = "".join(
        text[end:begin] for end, begin in zip(ends, [*(begin for begin, _ in spans), len(text)], strict=True)
    )
    return Data((("", _joined(top)),), rest, None)


def _joined(pairs: list[tuple[str, Any]]) -> Any:
    """Elements as an object; where a name stands there twice, as a list of objects of one key each."""
    if len({name for name, _ in pairs}) == len(pairs):
        return dict(pairs)
    return [{name: value} for name, value in pairs]
