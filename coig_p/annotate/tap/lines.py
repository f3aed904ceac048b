"""Lines of an answer: what marks them in a list, and what decorates them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from coig_p.annotate.quoting import unmarked
from coig_p.core.thinking import told

COLON = "：:∶\ufe30\ufe55\ufe13"
"""Characters that stand for a colon."""
QUOTES = '"""'
"""What a type stands between."""

_UNSEEN = re.compile("[\u200b-\u200f\u2060\ufeff\u202a-\u202e\u2066-\u2069]")
_TOKENS = re.compile(r"<\|[\w ▁]{1,40}\|>|</s>|<(?:eos|end_of_turn)>")
_FENCE = re.compile(r"\s{0,9}```[\w-]{0,20}\s*")
_NUMERAL = "[一二三四五六七八九十]{1,3}"
MARKER = re.compile(
    rf"[ \t>]*(?:[-*+•·●▪◦‣–\u2190-\u21ff\u2600-\u27bf\u2b00-\u2bff\U0001f300-\U0001faff]\ufe0f?(?=[\s\"“*【])"
    r"|\d{1,2}(?:\.\d{1,2}){1,3}[.、]?[ \t]+(?=\D)"
    rf"|(?:X{{0,2}}(?:IX|IV|VI{{0,3}}|I{{1,3}})|[\u2160-\u216b])[.、)）](?=[\s\"“])"
    rf"|\d\ufe0f?\u20e3|[A-Za-z][.)）](?=[\s\"“])|\d{{1,3}}\\?[.、)）．](?!\d)|[（(]\d{{1,3}}[)）]"
    rf"|[①-⑳]|{_NUMERAL}[、.]|[（(]{_NUMERAL}[)）])\s*"
)
"""What begins an item of a list."""


def said(text: str) -> str | None:
    """An answer without its thinking; None where it is nothing else."""
    found = told(_UNSEEN.sub("", text).replace("\r\n", "\n").lstrip()).said
    return None if found is None else _TOKENS.sub("", found).strip()


_TICKED = re.compile(
    r"[ \t]*(?:[-*+][ \t]+)?(?:[\u2611\u2705\u2713\u2714]|\[[xX\u221a\u2713\u2714]\])\ufe0f?[ \t]*(\S+)[ \t]*"
)
_LONGEST_OPTION = 40
_EMPTY_BOX = re.compile(r"[ \t]*(?:[-*+][ \t]+)?(?:[\u2610\u25a1\u2b1c]|\[ \])\ufe0f?[ \t]*(\S+)[ \t]*")


_TICK = r"[\u2611\u2705\u2713\u2714\u221a\u2190]\ufe0f?"
_LETTER = r"[ \t]*(?:[-*+][ \t]+|[A-Da-d1-4][.、)）．:：][ \t]*|[（(][A-Da-d1-4][)）][ \t]*|[①②][ \t]*)"
_CHOSEN = re.compile(rf"{_LETTER}(\S+?)[ \t]*[（(]?(?:{_TICK}|已选中?|选中|我选|选)[）)]?[ \t]*")
_NOT_CHOSEN = re.compile(rf"{_LETTER}(\S+?)[ \t]*(?:[\u2717\u2718\u274c\u00d7]\ufe0f?)?[ \t]*")


def chosen_box(text: str, verdicts: tuple[str, ...]) -> str:
    """A text with the one verdict that is ticked, where boxes stand before it and before others that are empty."""
    lines = text.split("\n")
    told = {verdict.lower() for verdict in verdicts}

    def of(pattern: re.Pattern[str]) -> dict[int, str]:
        found = {at: pattern.fullmatch(line) for at, line in enumerate(lines) if len(line) < _LONGEST_OPTION}
        words = {at: one[1].rstrip("。.") for at, one in found.items() if one is not None}
        return {at: word for at, word in words.items() if word.lower() in told}

    ticked, empty = of(_TICKED), of(_EMPTY_BOX)
    if not ticked and not empty and (ticked := of(_CHOSEN)):
        empty = of(_NOT_CHOSEN)
    if len(ticked) == 1 and not empty:
        return text
    if len(ticked) != 1 or set(ticked.values()) & set(empty.values()):  # which of them, nobody can say
        return "\n".join(line for at, line in enumerate(lines) if at not in ticked and at not in empty)
    return "\n".join(ticked.get(at, line) for at, line in enumerate(lines) if at not in empty)


def is_fence(line: str) -> bool:
    """Whether a line opens or closes a block of code."""
    return _FENCE.fullmatch(line) is not None


def unfenced(text: str) -> str:
    """A text without the fence that stands around all of it."""
    lines = text.strip().split("\n")
    if len(lines) > 2 and is_fence(lines[0]) and lines[-1].strip() == "```":
        inner = lines[1:-1]
        if sum(map(is_fence, inner)) % 2 == 0:
            return "\n".join(inner).strip()
    return text.strip()


_QUOTATIONS = re.compile(
    r"“[^”]{0,4000}(?:”|\Z)"
    r"|「[^」]{0,4000}(?:」|\Z)|『[^』]{0,4000}(?:』|\Z)|(?<!\")\"(?!\")[^\"\n]{0,400}\"(?!\")"
)
_HOLDS_A_SCORE = re.compile(r"[^\W\d_分][^\d]*\d")
_SHOWS = re.compile(
    r"(?:回答|答案|回复|答复|指令|题目|提示词|材料|原文|作者|用户"
    r"|response|answer|assistant|prompt|instruction|author|user)[^\n。:：]{0,20}"
    r"(?:写着|写道|写有|写了|写的是|声称|自称|说道|结尾是|末尾是|最后一行是|内容是"
    r"|says|reads|claims|states|ends with|writes)"
    rf"[^\n。:：]{{0,12}}[{COLON}]\s*\Z",
    re.IGNORECASE,
)


def shows(line: str) -> bool:
    """Whether a line leads to what a response or a prompt says: 回答二的结尾写着："""
    return _SHOWS.search(line) is not None


_TELLS = r"(?:写着|写道|写有|写了|写的是|声称|自称|说道|says|reads|claims|states|writes)"
_TOLD = re.compile(
    rf"{_TELLS}[{COLON},，]? {{0,3}}(?:“[^”]{{0,4000}}(?:”|\Z)|「[^」]{{0,4000}}(?:」|\Z)|『[^』]{{0,4000}}(?:』|\Z)"
    r"|\"(?!\"\")[^\"]{0,4000}(?:\"|\Z))",
    re.IGNORECASE,
)
_NEVER_CLOSED = re.compile(r"<(?:response|quote|blockquote)>.*\Z", re.IGNORECASE | re.DOTALL)


def own(text: str) -> str:
    """A text without the material that it shows: marked off, in quotation marks, or the paragraph a line leads to."""
    text = _TOLD.sub("", _NEVER_CLOSED.sub("", unmarked(text)))
    kept: list[str] = []
    shown, begun = False, False
    for line in text.split("\n"):
        if shown:
            begun = begun or bool(line.strip())
            shown = not (begun and not line.strip())
        else:
            kept.append(line)
            shown, begun = shows(line), False
    return "\n".join(kept)


def unquoted_scores(text: str) -> str:
    """A text with no scores in quotation marks that hold words, too; a bare number in them stays."""
    return _QUOTATIONS.sub(lambda found: "“”" if _HOLDS_A_SCORE.search(found[0]) else found[0], text)


@lru_cache(maxsize=64)
def either(words: tuple[str, ...]) -> str:
    """A pattern of any of the words, the longest first; one in Latin letters must be whole."""
    found = []
    for word in sorted(words, key=len, reverse=True):
        pattern = r"[\s_-]{0,3}".join(map(re.escape, word.split()))
        begins = r"\b" if word[0].isascii() and word[0].isalnum() else ""
        ends = r"(?![A-Za-z0-9])" if word[-1].isascii() and word[-1].isalnum() else ""
        found.append(begins + pattern + ends)
    return f"(?:{'|'.join(found)})"


def triple_quotes(text: str) -> str:
    """The text with one kind of triple quotes; a fourth mark stays where the text that it touches is short of one.

    Of four in a row the first then ends a quotation in the text, or, where they open, the last begins one.
    """
    text = re.sub(r"(?<!”)”{4}(?!”)", f"”{QUOTES}", text)
    text = re.sub(r"[“”„]{3}|[‘’']{3}", QUOTES, text)
    return re.sub(r'"{4,}', _three, text)


def _three(run: re.Match[str]) -> str:
    if len(run[0]) > 4:
        return QUOTES * (2 if len(run[0]) > 5 else 1)
    text, start, end = run.string, run.start(), run.end()
    before = text.rfind(QUOTES, 0, start)
    closes = before >= 0 and text.count('"', before + 3, start) % 2 == 1
    after = text.find(QUOTES, end)
    line_end = text.find("\n", end, after if after >= 0 else len(text))
    opens = not closes and line_end < 0 <= after and text.count('"', end, after) % 2 == 1
    return run[0] if closes or opens else QUOTES


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON whose keys are there once; raise ValueError where one stands there twice."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key stands there twice")
    return dict(pairs)
