"""The comparison form of a text: what is left of it when width, case, script and punctuation are ignored.

It is for comparing alone. It changes half to three quarters of real Chinese answers, so nothing
that is stored ever goes through it.

`comparison_form` is the definition. `comparison_forms` gives the same for many texts at once: most
characters mean the same wherever they stand, so a table of code points decides; a text with any
other (a traditional character, a combining mark, ...) goes through the definition.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

CodePoints = npt.NDArray[np.uint32]

# Simplified characters that OpenCC's phrases change in company, as in 藉口 and 深沈.
_CHANGED_IN_PHRASES = frozenset("沈坏哩覆藉瞭甦衹")
# One word's spellings that OpenCC leaves apart, since only some of its meanings are simplified, or since a phrase
# says otherwise, as in 看著, 狼藉 and 乾坤. Where texts are compared each counts as the one that simplified text has.
_VARIANTS = dict(
    zip(
        "著藉覆瞭乾徵沈馀锺麽於衹祇甦祕迳劄讬谘钜麹氾脩蒐陞昇剋釐夥彷",
        "着借复了干征沉余钟么于只只苏秘径札托咨巨曲泛修搜升升克厘伙仿",
        strict=True,
    )
)
_VARIATION_SELECTORS = (range(0x180B, 0x180E), range(0x180F, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
_VARIATION = re.compile("[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_TABLED = (range(0x10000), range(0x1F000, 0x1FB00))  # the basic plane, and emoji
_DROPPED, _UNDECIDED = 0, 0xFFFFFFFF
_CHARACTERS_AT_ONCE = 1 << 22


def comparison_form(text: str) -> str:
    """NFKC, lower case, traditional to simplified, without punctuation, space and invisible characters.

    Symbols such as + and = stay, as they do in "1+1=2". So do letters of every script. Variation selectors,
    which choose between shapes of one character, do not count.
    """
    text = _VARIATION.sub("", text)
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    # Once more: without a space between them, a letter and an accent may become one.
    compared = "".join(_VARIANTS.get(letter, letter) for letter in to_simplified(folded) if _is_compared(letter))
    return unicodedata.normalize("NFKC", compared)


def comparison_forms(texts: Sequence[str]) -> list[str]:
    """`comparison_form` of each text."""
    forms: list[str] = []
    begin = size = 0
    for at, text in enumerate(texts):
        size += len(text)
        if size >= _CHARACTERS_AT_ONCE or at + 1 == len(texts):
            forms += _forms(texts[begin : at + 1])
            begin, size = at + 1, 0
    return forms


def _forms(texts: Sequence[str]) -> Iterator[str]:
    letters, ends = code_points(texts)
    mapped = _table()[letters]
    undecided = set(np.searchsorted(ends, np.flatnonzero(mapped == _UNDECIDED), "right").tolist())
    mapped[mapped == _UNDECIDED] = _DROPPED
    kept = mapped != _DROPPED
    joined = mapped[kept].tobytes().decode("utf-32-le")
    cuts = np.concatenate([[0], np.cumsum(kept)])[ends].tolist()
    begin = 0
    for at, end in enumerate(cuts):
        yield comparison_form(texts[at]) if at in undecided else joined[begin:end]
        begin = end


def code_points(texts: Sequence[str]) -> tuple[CodePoints, npt.NDArray[np.int64]]:
    """The code points of T texts, side by side, and where each text ends in them (T)."""
    ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
    return np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32), ends


def to_simplified(text: str) -> str:
    """Traditional characters and phrases as simplified ones (OpenCC's t2s)."""
    return str(_converter().convert(text))


@cache
def _converter() -> Any:
    from opencc import OpenCC

    return OpenCC("t2s")


@cache
def _is_compared(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNSM"


@cache
def _table() -> CodePoints:
    """What each code point becomes wherever it stands: one code point, _DROPPED or _UNDECIDED."""
    table = np.full(0x110000, _UNDECIDED, np.uint32)
    seconds = _seconds()
    folded = {}
    for code in (code for codes in _TABLED for code in codes if not 0xD800 <= code < 0xE000 and code != 0x0A):
        letter = chr(code)
        whole = unicodedata.normalize("NFKC", letter)
        lower = unicodedata.normalize("NFKC", whole.lower())
        # A sigma's lower case depends on what follows. What begins with a mark may join what precedes.
        if "Σ" not in whole and not any(_first(part) in seconds for part in (letter, *whole, *lower)):
            folded[code] = lower
    simplified = to_simplified("\n".join(folded.values())).split("\n")
    for (code, lower), converted in zip(folded.items(), simplified, strict=True):
        compared = "".join(filter(_is_compared, lower))
        if converted == lower and len(compared) <= 1 and not _CHANGED_IN_PHRASES & set(lower):
            table[code] = ord(_VARIANTS.get(compared, compared)) if compared else _DROPPED
    table[0x0A] = _DROPPED
    for codes in _VARIATION_SELECTORS:
        table[codes] = _DROPPED
    return table


def _first(letter: str) -> str:
    return unicodedata.normalize("NFKD", letter)[0]


@cache
def _seconds() -> frozenset[str]:
    """Characters that normalisation may join with, or move before, the one that precedes them."""
    hangul = {chr(code) for code in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}
    marks, joined = set(), set()
    for code in range(0x20000):  # beyond, nothing combines
        letter = chr(code)
        if unicodedata.combining(letter):
            marks.add(letter)
        parts = unicodedata.decomposition(letter).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            joined.add(chr(int(parts[1], 16)))
    return frozenset(hangul | marks | joined)
