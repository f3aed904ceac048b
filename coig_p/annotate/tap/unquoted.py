"""Question types in an answer without triple quotes: in JSON, a table, or lines of a list."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from coig_p.annotate.tap.items import (
    BRACKETED,
    SENTENCE,
    SHORTEST,
    Item,
    checked,
    item_in,
    labelled_pairs,
    name_of,
    split,
    unlabelled,
    unwrapped,
)
from coig_p.annotate.tap.lines import COLON, MARKER, either
from coig_p.annotate.taxonomy.words import Words

_LONGEST_PLAIN = 40  # of a name that nothing marks as one
_MOST = 2**18  # characters of JSON
_TAGGED = re.compile(r"<([A-Za-z_\u4e00-\u9fff]{1,20})>[ \t]*([^<>\n]*?)[ \t]*</\1>")
_NUMBERS = frozenset({"序号", "编号", "no", "no.", "#"})
_LISTS = re.compile(r"(?:question[_ ]?)?types|items|list|data|results?|题型(?:列表)?", re.IGNORECASE)
# What stands before a colon in prose, and names no type.
_PROSE = re.compile(
    r"(?:请?注意|注|说明|备注|提示|总结|小结|结语|例如?|示例|举例|例题|如下?|其中|学科(?:领域)?|科目|题目|问题?|答案?|解析|要求|适用.{0,4}"
    r"|(?:难度|分值|考查点|特点|目的|形式|格式|来源|数量).{0,2}|共计?.{0,6}|以上.*|以下.*|.*(?:的题型|其他题型|包括|包含|如下|更多|谢谢).*|(?:以下|以上|我的|学习|使用|备考|其他|补充|参考|一些|几点)?建议|希望.*|抱歉.*|对不起.*|Q|A"
    r"|notes?|examples?|summary|subject|e\.g\.?|for example|question|answer|sure|sorry|difficulty|format|level"
    r"|purpose)",
    re.IGNORECASE,
)


def unquoted_items(whole: str, lines: str, words: Words) -> Iterator[Item]:
    """The items of an answer without triple quotes."""
    value = _json(whole)
    if value is not None:
        yield from _of_json(value, words)
        return
    labelled = labelled_pairs(_TAGGED.sub(r"\1：\2", lines), words)
    if labelled:
        yield from map(Item, labelled)
        return
    bars = re.search(r"^ *:?-+:? *\|[-:| ]+$", lines, re.MULTILINE) is not None
    rows = [line for line in lines.split("\n") if line.strip().startswith("|") or (bars and " | " in line)]
    if rows:
        yield from _of_table(rows, words)
        return
    yield from _of_lines(lines.split("\n"), words)


def _json(text: str) -> Any:
    """The one list or object of JSON, or of Python, that an answer is or ends with; lines of objects as a list."""
    begin = min((at for at in (text.find("["), text.find("{")) if at >= 0), default=-1)
    text = text[begin:].removesuffix("```").rstrip() if begin >= 0 else ""
    if text[-1:] not in ("]", "}") or len(text) > _MOST:
        return None
    for form in (text, "[" + re.sub(r"}[,;]?\s*\n\s*{", "},{", text) + "]"):
        for read in (json.loads, ast.literal_eval):
            try:
                return read(form)
            except (ValueError, RecursionError, SyntaxError, MemoryError):
                continue
    return None


def _of_json(value: Any, words: Words) -> Iterator[Item]:
    if isinstance(value, dict) and len(value) == 1:
        key, inner = next(iter(value.items()))
        if isinstance(inner, list) or (isinstance(inner, dict) and _LISTS.fullmatch(str(key))):
            value = inner
    if isinstance(value, dict):
        value = [value] if _labelled_keys(value, words).count(None) == 0 else list(value.items())
    for one in value if isinstance(value, list) else []:
        pair = _of_object(one, words) if isinstance(one, dict) else one
        if isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(each, str) for each in pair):
            yield checked(pair[0], pair[1], words)
        else:
            yield item_in(one, words) if isinstance(one, str) else Item(None)


def _labelled_keys(value: dict[Any, Any], words: Words) -> list[Any]:
    """The keys of the name and of the description; None for one that no label names."""
    keys = {str(key).lower().replace("_", " "): key for key in value}
    labels = ({word.lower() for word in each} for each in (words.name, words.description))
    return [next((keys[key] for key in keys if key in each), None) for each in labels]


def _of_object(value: dict[Any, Any], words: Words) -> tuple[Any, Any] | None:
    """The name and the description in an object of a list: where one has a label, the only other text is the other."""
    name, told = _labelled_keys(value, words)
    texts = [key for key, item in value.items() if isinstance(item, str)]
    if len(texts) == 2 and (name is None) != (told is None):
        other = texts[texts[0] == (told if name is None else name)]
        name, told = (other, told) if name is None else (name, other)
    if name is None and len(value) == 1:
        return next(iter(value.items()))
    return None if name is None or told is None else (value[name], value[told])


def _of_table(rows: list[str], words: Words) -> Iterator[Item]:
    names, told = ({word.lower() for word in each} for each in (words.name, words.description))
    columns: tuple[int, int] | None = None
    for row in rows:
        cells = [cell.strip() for cell in row.strip().strip("|").split("|")]
        if all(re.fullmatch(r":?-+:?", cell) for cell in cells):
            continue
        plain = [cell.strip("*` ").lower() for cell in cells]
        first, second = (next((at for at, cell in enumerate(plain) if cell in each), None) for each in (names, told))
        if first is not None and second is not None:
            columns = (first, second)
        elif columns is None and len(cells) > 2 and plain[0] in _NUMBERS:
            columns = (1, 2)  # a header, whatever it calls them
        elif len(cells) < 2:
            yield item_in(cells[0], words)
        else:
            at = columns or ((1, 2) if len(cells) > 2 and plain[0].isdigit() else (0, 1))
            yield checked(cells[at[0]], cells[at[1]], words) if max(at) < len(cells) else Item(None)


class _Line(NamedTuple):
    """A line of a list.

    Attributes:
        indent: in characters; marked: whether it has a marker of a list, or a heading's.
        text: without that; item: what it is where it has a name and a description.
    """

    indent: int
    marked: bool
    heading: bool
    text: str
    item: Item | None


def _of_lines(texts: list[str], words: Words) -> Iterator[Item]:
    numbered = [re.match(r"\s*(\d{1,2}) +(?=\D)", text) for text in texts if text.strip()]
    if len(numbered) > 1 and all(one and int(one[1]) == at for at, one in enumerate(numbered, 1)):
        texts = [re.sub(r"\A(\s*\d{1,2}) +", r"\1. ", text) for text in texts]
    lines = [line_of(text, words) for text in texts if text.strip(" \t-*_=>")]
    yield from _listed(lines, words)


def line_of(text: str, words: Words) -> _Line:
    """A line of a list, and the item that it may be."""
    indent = len(text) - len(text.lstrip(" \t>"))
    bare = text.strip().lstrip(">").strip()
    heading = bare.startswith("#")
    bare = bare.lstrip("#").strip()
    marker = MARKER.match(bare)
    rest = unwrapped(bare[marker.end() :] if marker else bare)
    aside = BRACKETED.fullmatch(rest) if marker else None
    rest = f"{aside[1]}：{aside[2]}" if aside else rest
    bold = rest != bare or rest.startswith(("**", "【", '"', "“", "`"))
    return _Line(indent, marker is not None or bold, heading, rest, _plain_item(rest, words))


def _plain_item(text: str, words: Words) -> Item | None:
    """A line's name and description, where it has both and they look like that."""
    name, told = split(unlabelled(text, words))
    item = checked(name, told, words)
    if item.type is None:
        return item if item.echo else None
    found = item.type
    if found.name.lower() in {word.lower() for word in words.description}:
        return None
    if len(found.name) > _LONGEST_PLAIN or SENTENCE.search(found.name) or _PROSE.fullmatch(found.name):
        return None
    return item


def _listed(lines: list[_Line], words: Words) -> Iterator[Item]:
    marked = [line for line in lines if line.marked and line.item is not None]
    top = min((line.indent for line in marked), default=0)
    plain = [line for line in lines if not line.marked and not line.heading and _is_plain(line.item)]
    pairs = list(_pairs(lines, words))
    if not marked and len(plain) < 2 and not pairs:
        return
    if (pairs and not any(line.indent == top for line in marked)) or len(pairs) > len(marked):
        yield from pairs
        return
    parent: int | None = None  # the indent of the item above
    for line in lines:
        if line.item is None or line.heading:
            parent = None if line.indent <= top else parent
        elif parent is not None and line.indent > parent:
            continue  # an example, or more of it
        elif line.marked or (not marked and _is_plain(line.item)):
            parent = line.indent
            yield line.item


def _is_plain(item: Item | None) -> bool:
    """Whether a line that nothing marks as an item looks like one."""
    found = None if item is None else item.type
    return found is not None and len(found.name) > 1 and len(found.description) >= SHORTEST


def _pairs(lines: list[_Line], words: Words) -> Iterator[Item]:
    """Names that stand on a line of their own, with the description on the next one."""
    for at, line in enumerate(lines[:-1]):
        below = lines[at + 1]
        if not (line.marked or line.heading) or below.heading or below.item is not None:
            continue
        told = re.sub(rf"\A[*【 ]*{either(words.description)}[*】 ]*[{COLON}]", "", below.text, flags=re.IGNORECASE)
        if below.marked and below.indent <= line.indent and told == below.text:
            continue
        name = name_of(line.text.rstrip(COLON))
        if not name or len(name) > _LONGEST_PLAIN or SENTENCE.search(name) or re.search(f"[{COLON}]", name):
            continue
        if _PROSE.fullmatch(name) or len(below.text) < SHORTEST or re.search(f"[{COLON}]\\s*\\Z", below.text):
            continue
        yield checked(name, told, words)
