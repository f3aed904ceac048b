"""An item of a list of question types: its name and its description, without what decorates them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from coig_p.annotate.tap.lines import COLON, MARKER, either
from coig_p.annotate.tap.otherwise import is_misread
from coig_p.annotate.tap.reads import QuestionType
from coig_p.annotate.taxonomy.words import Words

LONGEST_NAME = 80
_LONGEST = 2000
SHORTEST = 4  # characters of a description that stands on a line of its own
ORDINAL = r"(?:[一二三四五六七八九十\d]{1,3}|[A-Z甲乙丙丁](?![A-Za-z])|)"
_DASH = re.compile(
    r"\s*(?:——|—|–)\s*|\s+(?:-{1,2}|\|)\s+|\s*\uff5c\s*|\s*(?:→|⇒|[-=]{1,2}>)\s*|\s+::\s+|(?<=\S)\t+(?=\S)"
)
SENTENCE = re.compile(r"[，。；？！,;?!]")
BRACKETED = re.compile(rf"([^（()）{COLON}，。]{{1,30}})[（(]([^（()）]{{8,}})[)）]")
_GARBLED = re.compile("\ufffd|锟斤拷")
_REPEATS = re.compile(r"([^\s._…-].{0,5}?)\1{9,}")  # a model that goes round in circles
_BLANK = re.compile(r"[xX×_.…\s]+")  # where a description should stand
# What the form says that should stand there, in its own words or others.
_TOLD = re.compile(
    r"(?:请?(?:在)?(?:此处|这里))?(?:填写|写出?|用)?(?:对?(?:该|这个|此|这种|这类|每个)?(?:问题类型|题型|类型)的?)?"
    r"(?:一句话|一句|简短|简要|简单|具体)?的?(?:描述|说明|简介|介绍|概括|解释)(?:它|该题型|该类型)?"
    r"|(?:a |the |one-sentence |brief |short ){0,3}description(?: in one sentence| of the type)?|\.\.\.",
    re.IGNORECASE,
)


class Item(NamedTuple):
    """An item: a type, or none; `echo`: it only repeats the form that was asked for."""

    type: QuestionType | None
    echo: bool = False


def item_in(line: str, words: Words) -> Item:
    """The item that a line is: labelled, or a name before a colon or a dash."""
    labelled = labelled_pairs(line, words)
    if labelled:
        return Item(labelled[0])
    return checked(*split(unlabelled(unmarked(line), words)), words)


def unlabelled(line: str, words: Words) -> str:
    """A line without a label and a number before its name: 题型一：选择题：……"""
    label = rf"{either(words.name)}\s*{ORDINAL}\s*[{COLON}]\s*(?=[^{COLON}\n]{{1,{LONGEST_NAME}}}?(?:[{COLON}]|——|→))"
    found = re.match(label, line, re.IGNORECASE)
    return line[found.end() :] if found else line


@lru_cache(maxsize=8)
def _labels(words: Words) -> tuple[frozenset[str], re.Pattern[str]]:
    """The words that label a name or a description, and a pattern of one of them, with a number behind it or none."""
    each = (*words.name, *words.description)
    return frozenset(map(str.lower, each)), re.compile(rf"{either(each)}\s?{ORDINAL}", re.IGNORECASE)


def checked(name: str, description: str, words: Words) -> Item:
    """A name and a description without their decoration, where they are some."""
    if name.rstrip().endswith(('"', "”")) and description.lstrip().startswith(('"', "“")):
        name, description = name.strip(' "“”'), description.strip(' "“”')  # each part in quotes of its own
    name, description = name_of(name), _description(description)
    labels, label = _labels(words)
    if label.fullmatch(name) and (description.lower() in labels or _TOLD.fullmatch(description)):
        return Item(None, echo=True)
    if label.fullmatch(name):
        return Item(None)
    if not re.search(r"[^\W\d_]", description) or _GARBLED.search(name + description) or _BLANK.fullmatch(description):
        return Item(None)
    if _REPEATS.search(description) or is_misread(f"{name}：{description}"):
        return Item(None)
    if any(
        name.count(opens) != name.count(closes)
        for opens, closes in ("《》", "【】", "「」", "『』", "[]", "{}", "（）")
    ):
        return Item(None)
    if not name or not description or len(name) > LONGEST_NAME or len(description) > _LONGEST or "\n" in name:
        return Item(None)
    return Item(QuestionType(name, description))


@lru_cache(maxsize=8)
def _pair_pattern(words: Words) -> re.Pattern[str]:
    begins = rf"(?:{MARKER.pattern})?[ \t*【]*"
    ends = rf"\s?{ORDINAL}[*】 ]*[{COLON}][ \t*]*"
    return re.compile(
        rf"(?:^|(?<=\n)){begins}{either(words.name)}{ends}(?P<name>[^\n{COLON}]{{1,{LONGEST_NAME}}}?)"
        rf"[ \t]*(?:[；;，,。|/][ \t]*|\s*\n|[ \t]){begins}{either(words.description)}{ends}(?P<told>[^\n]+)",
        re.IGNORECASE,
    )


def labelled_pairs(text: str, words: Words) -> list[QuestionType]:
    """Pairs of a labelled name and a labelled description."""
    pairs = [(name_of(one["name"]), _description(one["told"])) for one in _pair_pattern(words).finditer(text)]
    return [QuestionType(name, told) for name, told in pairs if name and told]


def unmarked(line: str) -> str:
    """A line without what makes it an item of a list."""
    line = line.strip().lstrip(">|").strip()
    marker = MARKER.match(line)
    return unwrapped(line[marker.end() :] if marker else line)


def unwrapped(line: str) -> str:
    """A line without quotes or brackets that stand around all of it."""
    for opens, closes in _PAIRS:
        inner = line.strip(" *")
        if inner.startswith(opens) and inner.endswith(closes) and len(inner) > 2:
            inner = inner.strip(opens) if opens == closes else inner[1:-1]
            if opens not in inner and closes not in inner and re.search(f"[{COLON}]", inner):
                return inner
    return line


def split(line: str) -> tuple[str, str]:
    """A name and its description: at the first colon, else at a dash."""
    boxed = _BOXED.match(line)
    if boxed is not None and not _LABEL_OF_NAME.match(line):
        return boxed[1], line[boxed.end() :]
    colon = re.search(f"[{COLON}]", line)
    dash = _DASH.search(line)
    if colon is not None and (
        dash is None or dash.start() > colon.start() or not SENTENCE.search(line[: colon.start()])
    ):
        return line[: colon.start()], line[colon.end() :]
    return (line[: dash.start()], line[dash.end() :]) if dash is not None else (line, "")


_BOXED = re.compile(rf"[*]{{0,2}}[【「]([^】」{COLON}]{{1,40}})[】」][*]{{0,2}}\s*(?=[^\s{COLON}—|-])")
_LABEL_OF_NAME = re.compile(r"\A[【\[](?:题型|题型名称|名称|类型)[】\]]\s*(?=\S)")
_PAIRS = tuple(
    (pair[0], pair[1]) for pair in ("【】", "《》", "「」", "『』", "[]", "“”", '""', "``", "''", "〈〉", "<>")
)


_DECORATED_BEGINNING = re.compile(r"\A[*_`\s]+(?=\S)")
_DECORATED_END = re.compile(r'(?:[*`\s|]|"{2,})+\Z')
_DOUBLED = re.compile(r'\A"{2,}|"{2,}\Z')
_DECORATES = frozenset('*`|"')
_CLOSES = frozenset('】]）”"」')


def name_of(text: str) -> str:
    """A name without markers, brackets and quotes."""
    text = text.strip()
    while True:
        before = text
        text = _LABEL_OF_NAME.sub("", text)
        text = _DOUBLED.sub("", text.strip("*_` \t#"))
        for opens, closes in _PAIRS:
            if text.startswith(opens) and text.endswith(closes) and len(text) > 2 and closes not in text[1:-1]:
                text = text[1:-1].strip()
        marker = MARKER.match(text)
        text = text[marker.end() :] if marker else text
        if text == before:
            return text.lstrip('"“') if text.count('"') == 1 or ("“" in text and "”" not in text) else text


def _description(text: str) -> str:
    text = _DECORATED_BEGINNING.sub("", text.strip().lstrip(COLON))
    text = (_DECORATED_END.sub("", text) if text[-1:] in _DECORATES else text).rstrip("；;")
    text = text.rstrip("。") + "。" if text.endswith("。。") else text
    if text[-1:] not in _CLOSES:
        return text.strip()
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
