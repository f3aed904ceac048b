"""Question types in an answer without triple quotes: in JSON, a table, or lines of a list."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from coig_p.annotate.tap.data import data_in
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
from coig_p.annotate.tap.typed_data import types_in
from coig_p.annotate.taxonomy.words import Words

_LONGEST_PLAIN = 40  # of a name that nothing marks as one
_TAGGED = re.compile(r"<([A-Za-z_\u4e00-\u9fff]{1,20})>[ \t]*([^<>\n]*?)[ \t]*</\1>")
_ASIDES = re.compile(
    r"示例|例题?|举例|难度|分值|数量|examples?|level|difficulty|points|count"
)  # columns that describe no type
_NUMBERS = frozenset({"序号", "编号", "no", "no.", "#"})
# What stands before a colon in prose, and names no type.
_PROSE = re.compile(
    r"(?:请?注意|注|说明|备注|提示|总结|小结|结语|例如?|示例|举例|例题|如下?|其中|学科(?:领域)?|科目|题目|问题?|答案?|解析|要求|适用.{0,4}"
    r"|(?:难度|分值|考查点|特点|目的|形式|格式|来源|数量).{0,2}|共计?.{0,6}|以上.*|以下.*|.*(?:的题型|其他题型|包括|包含|如下|更多|谢谢).*|(?:以下|以上|我的|学习|使用|备考|其他|补充|参考|一些|几点)?建议|希望.*|抱歉.*|对不起.*|[QA问答]\d{0,2}"
    r"|notes?|examples?|summary|subject|e\.g\.?|for example|question|answer|sure|sorry|difficulty|format|level"
    r"|purpose)",
    re.IGNORECASE,
)


# What stands before a colon in a letter, a conversation or a status.
_ABOUT = re.compile(
    r"(?:状态|消息|信息|错误|原因|请求)(?:码|编号|代码|信息)?|主题|收件人|发件人|正文|标题|作者|日期|时间|地点|来源|版权|链接|网址"
    r"|用户|学生|老师|教师|助手|系统|模型|提问者?|回答者?|甲|乙|https?"
    r"|status|message|error|code|subject|from|to|date|title|author|user|assistant|system|student|teacher|url|body",
    re.IGNORECASE,
)
_NOTICE = re.compile(r"系统.{0,4}|.{0,4}(?:审核|公告|声明|警告|通知|提示|错误)", re.IGNORECASE)


def unquoted_items(whole: str, lines: str, words: Words) -> Iterator[Item]:
    """The items of an answer without triple quotes."""
    data = data_in(whole)
    if data.broken is not None and len(data.broken) >= len(whole) / 2:
        yield Item(None)  # it is cut, or says something twice
        return
    if data.values and len(data.rest.strip("` \n")) <= len(whole) / 2:
        yield from (item for _, value in data.values for item in types_in(value, words))
        return
    labelled = labelled_pairs(_TAGGED.sub(r"\1：\2", lines), words)
    if labelled:
        yield from map(Item, labelled)
        label = rf"^[ \t]*(?:{MARKER.pattern})?{either(words.name)}[ \t]*[{COLON}][ \t]*\S"
        if len(re.findall(label, lines, re.IGNORECASE | re.MULTILINE)) > len(labelled):
            yield Item(None)  # a name without a description
        return
    rows = [line for line in lines.split("\n") if line.strip().startswith("|")]
    if rows:
        yield from _of_table(rows, words)
        return
    items = list(_of_lines(lines.split("\n"), words))
    if len(items) == 1 and items[0].type is not None and _NOTICE.fullmatch(items[0].type.name):
        return
    yield from items


def _of_table(rows: list[str], words: Words) -> Iterator[Item]:
    names, told = ({word.lower() for word in each} for each in (words.name, words.description))
    if rows[0].rstrip().endswith("|") and not rows[-1].rstrip().endswith("|"):
        yield Item(None)  # it is cut
    every = [[cell.strip() for cell in row.strip().removeprefix("|").removesuffix("|").split("|")] for row in rows]
    every = [cells for cells in every if not all(re.fullmatch(r":?-+:?", cell) for cell in cells)]
    columns = _headed(rows, every, words)
    every = every[1:] if columns else every
    for cells in _turned(every, words):
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


def is_header(words: Words, cells: list[str]) -> bool:
    """Whether cells head a column of names and one of descriptions."""
    plain = [cell.strip("*` ").lower() for cell in cells]
    return all(any(word.lower() in plain for word in each) for each in (words.name, words.description))


def _headed(rows: list[str], every: list[list[str]], words: Words) -> tuple[int, int] | None:
    """The columns below a header that knows a word for names alone: what is told of one stands behind it."""
    if len(rows) < 3 or not re.fullmatch(r"[-:| ]+", rows[1].strip()) or not every or is_header(words, every[0]):
        return None
    names, told = ({word.lower() for word in each} for each in (words.name, words.description))
    head = [cell.strip("*` ").lower() for cell in every[0]]
    firsts = {cells[0].strip("*` ").lower() for cells in every}
    at = next((at for at, cell in enumerate(head) if cell in names), None)
    if at is None or at + 1 >= len(head) or {*head, *firsts} & told or _ASIDES.fullmatch(head[at + 1]):
        return None
    return at, at + 1


def _turned(rows: list[list[str]], words: Words) -> list[list[str]]:
    """Rows whose first cells head a line of names and one of descriptions, with columns for rows."""
    firsts = [row[0] for row in rows if row]
    width = {len(row) for row in rows}
    if not is_header(words, firsts) or len(width) != 1 or max(width) < 2 or is_header(words, rows[0]):
        return rows
    return [list(column) for column in zip(*rows, strict=True)]


class _Line(NamedTuple):
    """A line of a list.

    Attributes:
        indent: in characters; marked: whether it has a marker of a list, or a heading's; numbered: of these a number.
        text: without that; item: what it is where it has a name and a description.
    """

    indent: int
    marked: bool
    numbered: bool
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
    numbered = marker is not None and re.search(r"\d", marker[0]) is not None
    return _Line(indent, marker is not None or bold, numbered, heading, rest, _plain_item(rest, words))


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
    if len(lines) > 1 and all(line.heading and line.item is not None for line in lines):
        lines = [line._replace(heading=False) for line in lines]
    marked = [line for line in lines if line.marked and line.item is not None]
    top = min((line.indent for line in marked), default=0)
    plain = [line for line in lines if not line.marked and not line.heading and _is_plain(line.item)]
    pairs = list(_pairs(lines, words))
    if not marked and len(plain) < 2 and not pairs:
        return
    if (pairs and not any(line.indent == top for line in marked)) or len(pairs) > len(marked):
        yield from pairs
        return
    if not marked and _is_about_something_else(plain):
        return
    if marked and _is_cut(lines, top):
        yield Item(None)
    parent: int | None = None  # the indent of the item above
    for line in lines:
        if line.item is None or line.heading:
            parent = None if line.indent <= top else parent
        elif parent is not None and line.indent > parent:
            continue  # an example, or more of it
        elif line.marked or (not marked and _is_plain(line.item)):
            parent = line.indent
            yield line.item


def _is_about_something_else(lines: list[_Line]) -> bool:
    """Whether lines that nothing marks are a letter, a conversation, a status, and no list."""
    names = [line.item.type.name for line in lines if line.item is not None and line.item.type is not None]
    return len(set(names)) < len(names) or any(_ABOUT.fullmatch(name) for name in names)


def _is_cut(lines: list[_Line], top: int) -> bool:
    """Whether the last line is a number and the beginning of a name, where others are items."""
    last = lines[-1]
    others = [line for line in lines[:-1] if line.marked and line.indent == top]
    return (
        last.numbered
        and last.item is None
        and last.indent == top
        and len(others) > 1
        and all(line.numbered and line.item is not None for line in others)
    )


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
