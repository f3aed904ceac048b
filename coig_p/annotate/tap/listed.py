"""Question types in an answer: between triple quotes, else in a list, a table or JSON of names and descriptions."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from coig_p.annotate.tap.lines import COLON, MARKER, QUOTES, either, is_fence, said, triple_quotes, unfenced
from coig_p.annotate.tap.reads import QuestionType, TypesRead
from coig_p.annotate.taxonomy.words import WORDS, Words

_LONGEST_NAME = 80
_LONGEST_PLAIN = 40  # of a name that nothing marks as one
_LONGEST = 2000
_MOST = 2**18  # characters of JSON
_SHORTEST = 4  # characters of a description that stands on a line of its own
_ORDINAL = r"[一二三四五六七八九十\d]{0,3}"
_DASH = re.compile(r"\s*(?:——|—|–)\s*|\s+(?:-{1,2}|\|)\s+|\s*(?:→|⇒|[-=]{1,2}>)\s*|(?<=\S)\t+(?=\S)")
_BREAKS = re.compile(r"<br\s*/?>|</(?:li|p|tr)>", re.IGNORECASE)
_BULLETS = re.compile(r"<(?:li|p)>", re.IGNORECASE)
_TAGGED = re.compile(r"<([A-Za-z_\u4e00-\u9fff]{1,20})>[ \t]*([^<>\n]*?)[ \t]*</\1>")
_TAGS = re.compile(r"</?(?:ol|ul|p|b|strong|em|i)>", re.IGNORECASE)
_SENTENCE = re.compile(r"[，。；？！,;?!]")
_LISTS = re.compile(r"(?:question[_ ]?)?types|items|list|data|results?|题型(?:列表)?", re.IGNORECASE)
_BRACKETED = re.compile(rf"([^（()）{COLON}，。]{{1,30}})[（(]([^（()）]{{8,}})[)）]")
_TOLD = frozenset({"一句话的说明", "简要说明", "a description in one sentence", "a brief description", "..."})
# What stands before a colon in prose, and names no type.
_PROSE = re.compile(
    r"(?:请?注意|注|说明|备注|提示|总结|小结|结语|例如?|示例|举例|例题|如下?|其中|学科(?:领域)?|科目|题目|问题?|答案?|解析|要求|适用.{0,4}"
    r"|(?:难度|分值|考查点|特点|目的|形式|格式|来源|数量).{0,2}|共计?.{0,6}|以上.*|以下.*|.*(?:的题型|其他题型|包括|包含|如下|更多|谢谢).*|(?:以下|以上|我的|学习|使用|备考|其他|补充|参考|一些|几点)?建议|希望.*|抱歉.*|对不起.*|Q|A"
    r"|notes?|examples?|summary|subject|e\.g\.?|for example|question|answer|sure|sorry|difficulty|format|level"
    r"|purpose)",
    re.IGNORECASE,
)


def parse_types(text: str, words: Words = WORDS) -> TypesRead:
    """The question types that an answer lists, in its order, repeated ones too.

    Where anything stands between triple quotes, nothing else is an item. Reasons: none, malformed (most of what
    stands between the quotes is no item), unfinished.
    """
    whole = said(text)
    if whole is None:
        return TypesRead((), "unfinished")
    lines = _lines(whole)
    found: list[_Item] = []
    if QUOTES in lines:
        lines = _all_quoted(_uncut(lines), words)
        found = [item for content in _quoted(lines) for item in _items(content, words)]
    if not any(item.type or not item.echo for item in found):
        found = [] if found else list(_unquoted(unfenced(whole), lines, words))
    types = tuple(item.type for item in found if item.type is not None)
    unread = sum(item.type is None and not item.echo for item in found)
    if not types:
        return TypesRead((), "malformed" if unread else "none", unread)
    return TypesRead(types, None, unread) if unread <= len(types) else TypesRead((), "malformed", unread)


class _Item(NamedTuple):
    """An item: a type, or none; `echo`: it only repeats the form that was asked for."""

    type: QuestionType | None
    echo: bool = False


def _lines(text: str) -> str:
    """The text with one kind of triple quotes, and without fences and tags."""
    text = text.replace('\\"', '"').replace("\uff02", '"')
    text = _TAGS.sub("", _BULLETS.sub("\n- ", _BREAKS.sub("\n", text)))
    text = triple_quotes(text)
    text = re.sub(
        rf'"{{3}}[ \t，,;；|]*"{{3}}(?=\s*(?:简介|描述|说明|description)\s*[{COLON}])', "\n", text, flags=re.IGNORECASE
    )
    text = re.sub(r"(?m)^([ \t]*)```([^`\n]*[^`\w\n][^`\n]*)```[ \t]*$", rf"\1{QUOTES}\2{QUOTES}", text)
    return "\n".join(line for line in text.split("\n") if not is_fence(line))


# Between triple quotes


def _uncut(text: str) -> str:
    """The text without a last item that was cut off: its quotes are not closed, and no sentence ends there.

    Only where all others are closed and each of their sentences ends: else the model writes neither.
    """
    lines = text.rstrip().split("\n")
    *above, last = (line.strip() for line in lines if QUOTES in line)
    if len(above) < 2 or last.count(QUOTES) != 1 or lines[-1].strip() != last or last.endswith(QUOTES):
        return text
    ended = all(re.fullmatch(rf".*[。.!！?？]{QUOTES}\W*", line) for line in above)
    return text if not ended or re.search(r"[。.!！?？]\W*\Z", last) else "\n".join(lines[:-1])


def _all_quoted(text: str, words: Words) -> str:
    """The text with quotes around the items that have none, where each line is an item and a part has them."""
    lines = [line for line in text.split("\n") if line.strip()]
    quoted = [line.strip().startswith(QUOTES) and line.strip().endswith(QUOTES) for line in lines]
    bare = [_line(line, words) for line, has in zip(lines, quoted, strict=True) if not has and QUOTES not in line]
    names = {one.item.type.name for one in bare if one.marked and one.item is not None and one.item.type is not None}
    if len(bare) < 2 or len(names) < len(bare) or len(bare) + sum(quoted) < len(lines) or bare[0].indent:
        return text
    if len({one.indent for one in bare}) > 1:
        return text
    return "\n".join(
        line if has else f"{QUOTES}{line.strip()}{QUOTES}" for line, has in zip(lines, quoted, strict=True)
    )


def _quoted(text: str) -> Iterator[str]:
    """What stands between triple quotes; to the end of its line where they are not closed."""
    at = 0
    while (begin := text.find(QUOTES, at)) >= 0:
        line = text[text.rfind("\n", 0, begin) + 1 : begin].rpartition(QUOTES)[2]
        start = begin + 3
        line_end = text.find("\n", start)
        line_end = len(text) if line_end < 0 else line_end
        rest = text[start:line_end]
        if not rest.strip(" \t|。；;，,*`") and _named(line):
            yield line  # the opening quotes are missing
            at = line_end
            continue
        end = text.find(QUOTES, start)
        own = text.startswith(f'{QUOTES}"', end) and not text.startswith('"', end + 4)
        end += own  # the first of four belongs to the text
        if rest.strip() and (end < 0 or (end > line_end and _opens(text, end))):
            yield rest
            at = line_end
        elif end < 0:
            yield text[start:]
            return
        else:
            at = end + 3
            behind = _behind(text, start, end)
            yield text[start:end] + (behind or "")
            at = text.find("\n", end) if behind is not None else at
            if at < 0:
                return


def _behind(text: str, start: int, end: int) -> str | None:
    """The description behind the quotes, where they stand around a name alone."""
    content = text[start:end].strip(" *")
    behind = text[end + 3 :].partition("\n")[0]
    if "\n" in content or not content:
        return None
    if content[-1] in COLON and behind.strip(' *"'):
        return behind.replace(QUOTES, "")
    if re.match(rf"[\s*]*[{COLON}]\s*\S", behind) and not re.search(f"[{COLON}]", content):
        return behind.replace(QUOTES, "")
    return None


def _named(before: str) -> bool:
    """Whether the text before quotes is an item itself."""
    name, description = _split(_unmarked(before))
    return bool(name.strip()) and len(description.strip()) >= _SHORTEST


def _opens(text: str, at: int) -> bool:
    """Whether quotes at the beginning of a line open an item: a marker at most stands before them, and text behind."""
    before = text[text.rfind("\n", 0, at) + 1 : at]
    behind = text[at + 3 :].partition("\n")[0]
    marker = MARKER.match(before)
    return bool(behind.strip()) and not before[marker.end() if marker else 0 :].strip(" \t*`|>")


def _items(content: str, words: Words) -> Iterator[_Item]:
    """The items between two quotes: one, or one a line."""
    lines = [line for line in content.split("\n") if line.strip(" \t*`>|-")]
    if not lines:
        return
    labelled = _labelled("\n".join(lines), words)
    if labelled:
        yield from map(_item_of, labelled)
    elif len(lines) == 1:
        aside = _BRACKETED.fullmatch(lines[0].strip())
        yield _item(f"{aside[1]}：{aside[2]}" if aside else lines[0], words)
    elif all(name.strip() and told.strip() for name, told in map(_split, map(_unmarked, lines))) and not _goes_on(
        lines
    ):
        yield from (_item(line, words) for line in lines)
    else:
        name, told = _split(_unmarked(lines[0]))
        rest = "\n".join(line.strip() for line in lines[1:])
        if not told.strip() and not name.strip():
            name, told = lines[0], ""
        yield _checked(name, f"{told.strip()}\n{rest}".strip() if told.strip() else rest, words)


def _goes_on(lines: list[str]) -> bool:
    """Whether lines behind the first go on with its description, for their beginnings are no names."""
    return any(_SENTENCE.search(_split(_unmarked(line))[0]) for line in lines[1:])


def _item(line: str, words: Words) -> _Item:
    labelled = _labelled(line, words)
    if labelled:
        return _item_of(labelled[0])
    return _checked(*_split(_unlabelled(_unmarked(line), words)), words)


def _unlabelled(line: str, words: Words) -> str:
    """A line without a label and a number before its name: 题型一：选择题：……"""
    label = rf"{either(words.name)}\s*{_ORDINAL}\s*[{COLON}]\s*(?=[^{COLON}]{{1,{_LONGEST_NAME}}}[{COLON}])"
    found = re.match(label, line, re.IGNORECASE)
    return line[found.end() :] if found else line


def _item_of(found: QuestionType) -> _Item:
    return _Item(found)


def _checked(name: str, description: str, words: Words) -> _Item:
    """A name and a description without their decoration, where they are some."""
    if name.rstrip().endswith(('"', "”")) and description.lstrip().startswith(('"', "“")):
        name, description = name.strip(' "“”'), description.strip(' "“”')  # each part in quotes of its own
    name, description = _name(name), _description(description)
    labels = {word.lower() for word in (*words.name, *words.description)}
    if name.lower() in labels and (description.lower() in labels or description.lower() in _TOLD):
        return _Item(None, echo=True)
    if re.fullmatch(f"{either((*words.name, *words.description))}\\s?{_ORDINAL}", name, re.IGNORECASE):
        return _Item(None)
    if not name or not description or len(name) > _LONGEST_NAME or len(description) > _LONGEST or "\n" in name:
        return _Item(None)
    return _Item(QuestionType(name, description))


@lru_cache(maxsize=8)
def _pair_pattern(words: Words) -> re.Pattern[str]:
    begins = rf"(?:{MARKER.pattern})?[ \t*【]*"
    ends = rf"\s?{_ORDINAL}[*】 ]*[{COLON}][ \t*]*"
    return re.compile(
        rf"(?:^|(?<=\n)){begins}{either(words.name)}{ends}(?P<name>[^\n{COLON}]{{1,{_LONGEST_NAME}}}?)"
        rf"[ \t]*(?:[；;，,。|][ \t]*|\s*\n){begins}{either(words.description)}{ends}(?P<told>[^\n]+)",
        re.IGNORECASE,
    )


def _labelled(text: str, words: Words) -> list[QuestionType]:
    """Pairs of a labelled name and a labelled description."""
    pairs = [(_name(one["name"]), _description(one["told"])) for one in _pair_pattern(words).finditer(text)]
    return [QuestionType(name, told) for name, told in pairs if name and told]


def _unmarked(line: str) -> str:
    """A line without what makes it an item of a list."""
    line = line.strip().lstrip(">|").strip()
    marker = MARKER.match(line)
    return _unwrapped(line[marker.end() :] if marker else line)


def _unwrapped(line: str) -> str:
    """A line without quotes or brackets that stand around all of it."""
    for opens, closes in _PAIRS:
        inner = line.strip(" *")
        if inner.startswith(opens) and inner.endswith(closes) and len(inner) > 2:
            inner = inner.strip(opens) if opens == closes else inner[1:-1]
            if opens not in inner and closes not in inner and re.search(f"[{COLON}]", inner):
                return inner
    return line


def _split(line: str) -> tuple[str, str]:
    """A name and its description: at the first colon, else at a dash."""
    boxed = _BOXED.match(line)
    if boxed is not None and not _LABEL_OF_NAME.match(line):
        return boxed[1], line[boxed.end() :]
    colon = re.search(f"[{COLON}]", line)
    dash = _DASH.search(line)
    if colon is not None and (
        dash is None or dash.start() > colon.start() or not _SENTENCE.search(line[: colon.start()])
    ):
        return line[: colon.start()], line[colon.end() :]
    return (line[: dash.start()], line[dash.end() :]) if dash is not None else (line, "")


_BOXED = re.compile(rf"[*]{{0,2}}[【「]([^】」{COLON}]{{1,40}})[】」][*]{{0,2}}\s*(?=[^\s{COLON}—|-])")
_LABEL_OF_NAME = re.compile(r"\A[【\[](?:题型|题型名称|名称|类型)[】\]]\s*(?=\S)")
_PAIRS = tuple(
    (pair[0], pair[1]) for pair in ("【】", "《》", "「」", "『』", "[]", "“”", '""', "``", "''", "〈〉", "<>")
)


def _name(text: str) -> str:
    text = text.strip()
    while True:
        before = text
        text = _LABEL_OF_NAME.sub("", text)
        text = re.sub(r'\A"{2,}|"{2,}\Z', "", text.strip("*_` \t#"))
        for opens, closes in _PAIRS:
            if text.startswith(opens) and text.endswith(closes) and len(text) > 2 and closes not in text[1:-1]:
                text = text[1:-1].strip()
        marker = MARKER.match(text)
        text = text[marker.end() :] if marker else text
        if text == before:
            return text.lstrip('"“') if text.count('"') == 1 or ("“" in text and "”" not in text) else text


def _description(text: str) -> str:
    text = re.sub(r'\A[*_`\s]+(?=\S)|(?:[*`\s|]|"{2,})+\Z', "", text.strip().lstrip(COLON))
    text = re.sub(r"[；;]+\Z", "", text)
    text = re.sub(r"。{2,}\Z", "。", text)
    for opens, closes in (("【", "】"), ("[", "]"), ("（", "）")):
        if text.startswith(opens) and text.endswith(closes) and opens not in text[1:] and closes not in text[:-1]:
            text = text[1:-1]
    for opens, closes in (("“", "”"), ('"', '"'), ("「", "」")):
        if (
            text.endswith(closes)
            and text.count(closes) > text.count(opens) * (1 if opens != closes else 0)
            and (opens != closes or text.count(closes) % 2)
        ):
            text = text[:-1]
    return text.strip()


# A list, a table, JSON


def _unquoted(whole: str, lines: str, words: Words) -> Iterator[_Item]:
    """The items of an answer without triple quotes."""
    value = _json(whole)
    if value is not None:
        yield from _of_json(value, words)
        return
    labelled = _labelled(_TAGGED.sub(r"\1：\2", lines), words)
    if labelled:
        yield from map(_item_of, labelled)
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


def _of_json(value: Any, words: Words) -> Iterator[_Item]:
    if isinstance(value, dict) and len(value) == 1:
        key, inner = next(iter(value.items()))
        if isinstance(inner, list) or (isinstance(inner, dict) and _LISTS.fullmatch(str(key))):
            value = inner
    if isinstance(value, dict):
        value = [value] if _labelled_keys(value, words).count(None) == 0 else list(value.items())
    for one in value if isinstance(value, list) else []:
        pair = _of_object(one, words) if isinstance(one, dict) else one
        if isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(each, str) for each in pair):
            yield _checked(pair[0], pair[1], words)
        else:
            yield _item(one, words) if isinstance(one, str) else _Item(None)


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


def _of_table(rows: list[str], words: Words) -> Iterator[_Item]:
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
        elif len(cells) < 2:
            yield _item(cells[0], words)
        else:
            at = columns or ((1, 2) if len(cells) > 2 and plain[0].isdigit() else (0, 1))
            yield _checked(cells[at[0]], cells[at[1]], words) if max(at) < len(cells) else _Item(None)


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
    item: _Item | None


def _of_lines(texts: list[str], words: Words) -> Iterator[_Item]:
    numbered = [re.match(r"\s*(\d{1,2}) +(?=\D)", text) for text in texts if text.strip()]
    if len(numbered) > 1 and all(one and int(one[1]) == at for at, one in enumerate(numbered, 1)):
        texts = [re.sub(r"\A(\s*\d{1,2}) +", r"\1. ", text) for text in texts]
    lines = [_line(text, words) for text in texts if text.strip(" \t-*_=>")]
    yield from _listed(lines, words)


def _line(text: str, words: Words) -> _Line:
    indent = len(text) - len(text.lstrip(" \t>"))
    bare = text.strip().lstrip(">").strip()
    heading = bare.startswith("#")
    bare = bare.lstrip("#").strip()
    marker = MARKER.match(bare)
    rest = _unwrapped(bare[marker.end() :] if marker else bare)
    aside = _BRACKETED.fullmatch(rest) if marker else None
    rest = f"{aside[1]}：{aside[2]}" if aside else rest
    bold = rest != bare or rest.startswith(("**", "【", '"', "“", "`"))
    return _Line(indent, marker is not None or bold, heading, rest, _plain_item(rest, words))


def _plain_item(text: str, words: Words) -> _Item | None:
    """A line's name and description, where it has both and they look like that."""
    name, told = _split(_unlabelled(text, words))
    item = _checked(name, told, words)
    if item.type is None:
        return item if item.echo else None
    found = item.type
    if found.name.lower() in {word.lower() for word in words.description}:
        return None
    if len(found.name) > _LONGEST_PLAIN or _SENTENCE.search(found.name) or _PROSE.fullmatch(found.name):
        return None
    return item


def _listed(lines: list[_Line], words: Words) -> Iterator[_Item]:
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


def _is_plain(item: _Item | None) -> bool:
    """Whether a line that nothing marks as an item looks like one."""
    found = None if item is None else item.type
    return found is not None and len(found.name) > 1 and len(found.description) >= _SHORTEST


def _pairs(lines: list[_Line], words: Words) -> Iterator[_Item]:
    """Names that stand on a line of their own, with the description on the next one."""
    for at, line in enumerate(lines[:-1]):
        below = lines[at + 1]
        if not (line.marked or line.heading) or below.heading or below.item is not None:
            continue
        told = re.sub(rf"\A[*【 ]*{either(words.description)}[*】 ]*[{COLON}]", "", below.text, flags=re.IGNORECASE)
        if below.marked and below.indent <= line.indent and told == below.text:
            continue
        name = _name(line.text.rstrip(COLON))
        if not name or len(name) > _LONGEST_PLAIN or _SENTENCE.search(name) or re.search(f"[{COLON}]", name):
            continue
        if _PROSE.fullmatch(name) or len(below.text) < _SHORTEST or re.search(f"[{COLON}]\\s*\\Z", below.text):
            continue
        yield _checked(name, told, words)
