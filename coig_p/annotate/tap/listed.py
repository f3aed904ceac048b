"""Question types in an answer: between triple quotes, else in a list, a table or JSON of names and descriptions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from coig_p.annotate.tap.data import data_in
from coig_p.annotate.tap.grids import with_bars
from coig_p.annotate.tap.items import (
    BRACKETED,
    ORDINAL,
    SENTENCE,
    SHORTEST,
    Item,
    checked,
    item_in,
    labelled_pairs,
    split,
    unmarked,
)
from coig_p.annotate.tap.lines import COLON, MARKER, QUOTES, either, is_fence, own, said, triple_quotes, unfenced
from coig_p.annotate.tap.otherwise import is_cut, is_of_something_else, without_taken_back
from coig_p.annotate.tap.reads import TypesRead
from coig_p.annotate.tap.unquoted import is_header, line_of, unquoted_items
from coig_p.annotate.taxonomy.words import WORDS, Words

_BREAKS = re.compile(r"<br\s*/?>|</(?:li|p|tr)>", re.IGNORECASE)
_BULLETS = re.compile(r"<(?:li|p)>", re.IGNORECASE)
_CODE = re.compile(
    r"^```(?:python|py|java|c|cpp|c\+\+|javascript|js|typescript|bash|sh|sql|r|go)[ \t]*\n.*?^```[ \t]*$",
    re.MULTILINE | re.DOTALL | re.IGNORECASE,
)
_UNDERLINED = re.compile(rf"^([^\n|，。；{COLON}#>*-][^\n|，。；{COLON}]{{0,19}})\n[-=]{{3,}}[ \t]*$", re.MULTILINE)
_NEXT = re.compile(r"(?<=[。；;])[ \t]*(?=[（(]\d{1,2}[)）]|\d{1,2}[.、][ \t]?\D|[①-⑳])")  # an item in the same line
_BOX = re.compile(r"^([ \t]*[-*+][ \t]+)\[[ xX]\][ \t]+", re.MULTILINE)
# A name with a colon on a line of its own, and below it the description.
_ABOVE = re.compile(rf"[^\n{COLON}#|*\"“-][^\n{COLON}]{{0,39}}[{COLON}][ \t]*\n[^\n{COLON}|]{{4,}}")
_TERM = re.compile(r"<dt>\s*([^<>\n]*?)\s*</dt>\s*<dd>\s*([^<>\n]*?)\s*</dd>", re.IGNORECASE)
_DEFINED = re.compile(rf"^([^\s{COLON}|#>*<\"“-][^\n{COLON}|]{{0,39}})\n+[{COLON}][ \t]+(\S[^\n]*)$", re.MULTILINE)
_LATEX_LIST = re.compile(r"\\(?:begin|end)\{\w{1,20}\*?\}")
_LATEX_ITEM = re.compile(r"\\item[ \t]*")
_LATEX_TEXT = re.compile(r"\\(?:textbf|textit|text|emph)\{([^{}\n]*)\}")
_TAGS = re.compile(r"</?(?:ol|ul|p|b|strong|em|i)>", re.IGNORECASE)
_FORUM_TAGS = re.compile(r"\[/?(?:b|i|u|s|list|color|size|font|quote)(?:=[^\[\]\n]{0,20})?\]", re.IGNORECASE)
# An ordinal in words before a name: 第一类，……：  其二，……：
_ORDINAL = re.compile(
    rf"^([ \t]*)(?:第[一二三四五六七八九十\d]{{1,3}}[类种个项条]?(?:题型|是)?|其[一二三四五六七八九十]"
    rf"|首先|其次|再次|最后|此外|另外)"
    rf"[，,、{COLON}][ \t]*(?=[^\n{COLON}，。]{{1,40}}(?:[{COLON}]|——)[^\n]{{4}})",
    re.MULTILINE,
)
_ORDINAL_SENTENCE = re.compile(r"^([ \t]*第[一二三四五六七八九十]{1,3}[类种个项条]?，[^。\n]+)。[ \t]*$", re.MULTILINE)
_IN_TURN = re.compile(
    r"[一二三四五六七八九十\d头末][种类个](?:题型|题)?(?:叫做?|称为|名为)[“「]?(?P<name>[^，。；“”「」\n]{1,40})[”」]?[，,]"
    r"(?:也?就是|即|指的?是|主要是|要求|是)?(?P<told>[^；。\n]{4,200})[；。\n]?"
)
_CALLED = re.compile(r"[种类个](?:题型|题)?(?:叫做?|称为|名为)")


def _said_in_turn(text: str) -> str:
    """Types that a sentence calls by name, one after another (一种叫……，就是……), as lines; other texts as they are."""
    found = [*_IN_TURN.finditer(text)]
    if len(found) < 2 or len(found) != len(_CALLED.findall(text)):
        return text
    return "\n".join(f"- {one['name']}：{one['told']}" for one in found)


def parse_types(text: str, words: Words = WORDS) -> TypesRead:
    """The question types that an answer lists, in its order, repeated ones too.

    Where anything stands between triple quotes, nothing else is an item. Reasons: none, malformed (something that
    should be an item is none: nothing is left out), unfinished.
    """
    whole = said(text)
    if whole is None:
        return TypesRead((), "unfinished")
    left = without_taken_back(_last_given(own(whole)))
    if left is None:
        return TypesRead((), "malformed", 1)
    whole = _said_in_turn(left)
    lines = _lines(whole, words)
    found: list[Item] = []
    if QUOTES in lines:
        if _is_cut(lines):
            return TypesRead((), "unfinished")
        found = [item for content in _quoted(_all_quoted(lines, words)) for item in _items(content, words)]
    quoted = any(item.type or not item.echo for item in found)
    if not quoted:
        found = [] if found else list(unquoted_items(unfenced(whole), lines, words))
    types = tuple(item.type for item in found if item.type is not None)
    unread = sum(item.type is None and not item.echo for item in found)
    if not types or unread:
        return TypesRead((), "malformed" if unread else "none", unread)
    if is_of_something_else(types, whole, quoted=quoted):
        return TypesRead((), "none")
    if not quoted and is_cut(types, whole):
        return TypesRead((), "unfinished")
    return TypesRead(types, None)


_LAST = re.compile(
    r"^[^\n\"“]{0,20}(?:最终|更正|修正|重写|重新列|以此为准|以下为准|\bfinal\b|\bcorrected\b|\brevised\b)"
    rf"[^\n\"“]{{0,12}}(?:如下|列表|清单|版本?|为准|list|version)[^\n{COLON}\"“]{{0,6}}[{COLON}][ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)


def _last_given(text: str) -> str:
    """What stands behind the last line that announces the list that counts, where there is one."""
    found = [*_LAST.finditer(text)]
    behind = text[found[-1].end() :] if found else ""
    return behind if re.search(rf"[{COLON}]", behind) else text


def _lines(text: str, words: Words) -> str:
    """The text with one kind of triple quotes, and without fences and tags; labels and lists in one form."""
    text = re.sub(r"(?m)[ \t]+$", "", text)
    text = with_bars(_CODE.sub(_of_code, text), partial(is_header, words))
    text = text.replace('\\"', '"').replace("\uff02", '"')
    text = _TERM.sub(r"\n- \1：\2\n", _DEFINED.sub(r"- \1：\2", text))
    if "\\item" in text:
        text = _LATEX_TEXT.sub(r"\1", _LATEX_ITEM.sub("- ", _LATEX_LIST.sub("", text)))
    if "[/" in text:
        text = _FORUM_TAGS.sub("", text.replace("[*]", "- "))
    text = _ORDINAL.sub(r"\1- ", _ORDINAL_SENTENCE.sub(r"\1", text))
    text = _BOX.sub(r"\1", _UNDERLINED.sub(r"### \1", text))
    if "\n" not in text.strip():
        text, ends = _NEXT.subn("\n", text)
        text = text.rstrip().removesuffix("。") if ends and re.search(r"[；;][ \t]*\n", text) else text
    blocks = [block.strip().split("\n") for block in re.split(r"\n[ \t]*\n", text.strip())]
    if len(blocks) > 1 and all(_ABOVE.fullmatch("\n".join(block)) for block in blocks):
        text = "\n".join(f"- {name.strip().rstrip(COLON)}：{told.strip()}" for name, told in blocks)
    label = either((*words.name, *words.description))
    text = re.sub(rf"(?m)^([ \t]*(?:[-*+][ \t]+)?)【({label})】[ \t]*[{COLON}]?", r"\1\2：", text, flags=re.IGNORECASE)
    keyed = rf"(?m)(^[ \t]*|[;；,，|][ \t]*)({label}\s?{ORDINAL})[ \t]*[=\uff1d](?!=)[ \t]*"
    text = re.sub(rf"{keyed}\"(?!\")([^\"\n]+)\"[ \t]*$", r"\1\2：\3", text, flags=re.IGNORECASE)
    text = re.sub(keyed, r"\1\2：", text, flags=re.IGNORECASE)
    text = _TAGS.sub("", _BULLETS.sub("\n- ", _BREAKS.sub("\n", text)))
    text = triple_quotes(text)
    text = re.sub(
        rf'"{{3}}[ \t，,;；|]*"{{3}}(?=\s*(?:简介|描述|说明|description)\s*[{COLON}])', "\n", text, flags=re.IGNORECASE
    )
    text = re.sub(r"(?m)^([ \t]*)```([^`\n]*[^`\w\n][^`\n]*)```[ \t]*$", rf"\1{QUOTES}\2{QUOTES}", text)
    return "\n".join(line for line in text.split("\n") if not is_fence(line))


def _of_code(code: re.Match[str]) -> str:
    """A block of code where it holds items, or data and little else; else nothing."""
    lines = [line for line in code[0].split("\n")[1:-1] if line.strip()]
    data = data_in(code[0])
    items = all(QUOTES in line for line in lines) or (data.values and len(data.rest) <= len(code[0]) / 2)
    return code[0] if items else ""


def _is_cut(text: str) -> bool:
    """Whether nothing closes the last quotes, no sentence ends there, and all others are closed."""
    lines = [line.strip() for line in text.rstrip().split("\n")]
    *above, last = (line for line in lines if QUOTES in line)
    if lines[-1] != last or not last.count(QUOTES) % 2 or last.endswith(QUOTES) or re.search(r"[。.!！?？]\W*\Z", last):
        return False
    return all(line.count(QUOTES) == 2 and line.rstrip("，,；;。").endswith(QUOTES) for line in above)


def _all_quoted(text: str, words: Words) -> str:
    """The text with quotes around the items that have none, where each line is an item and a part has them."""
    lines = [line for line in text.split("\n") if line.strip()]
    quoted = [line.strip().startswith(QUOTES) and line.strip().endswith(QUOTES) for line in lines]
    bare = [line_of(line, words) for line, has in zip(lines, quoted, strict=True) if not has and QUOTES not in line]
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
        theirs = text.startswith(f'{QUOTES}"', end) and not text.startswith('"', end + 4)
        end += theirs  # the first of four belongs to the text
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
    name, description = split(unmarked(before))
    return bool(name.strip()) and len(description.strip()) >= SHORTEST


def _opens(text: str, at: int) -> bool:
    """Whether quotes at the beginning of a line open an item: a marker at most stands before them, and text behind."""
    before = text[text.rfind("\n", 0, at) + 1 : at]
    behind = text[at + 3 :].partition("\n")[0]
    marker = MARKER.match(before)
    return bool(behind.strip()) and not before[marker.end() if marker else 0 :].strip(" \t*`|>")


def _items(content: str, words: Words) -> Iterator[Item]:
    """The items between two quotes: one, or one a line."""
    lines = [line for line in content.split("\n") if line.strip(" \t*`>|-")]
    if not lines:
        return
    labelled = labelled_pairs("\n".join(lines), words)
    if labelled:
        yield from map(Item, labelled)
    elif len(lines) == 1:
        aside = BRACKETED.fullmatch(lines[0].strip())
        yield item_in(f"{aside[1]}：{aside[2]}" if aside else lines[0], words)
    elif all(name.strip() and told.strip() for name, told in map(split, map(unmarked, lines))) and not _goes_on(lines):
        yield from (item_in(line, words) for line in lines)
    else:
        name, told = split(unmarked(lines[0]))
        rest = "\n".join(line.strip() for line in lines[1:])
        if not told.strip() and not name.strip():
            name, told = lines[0], ""
        yield checked(name, f"{told.strip()}\n{rest}".strip() if told.strip() else rest, words)


def _goes_on(lines: list[str]) -> bool:
    """Whether lines behind the first go on with its description, for their beginnings are no names."""
    return any(SENTENCE.search(split(unmarked(line))[0]) for line in lines[1:])
