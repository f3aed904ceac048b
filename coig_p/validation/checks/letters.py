"""What kind of character each code point is, as a table of flags: one look-up for a whole batch.

A batch's texts are laid side by side as UTF-32, and `flags()[code_points]` says of every character
all that the rules ask. It is linear in the text, and needs no pattern matching.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
import numpy.typing as npt

from coig_p.core.thinking import BEGIN as THINKING_BEGINS

Flags = npt.NDArray[np.uint32]

HAN, KANA, HANGUL, LATIN, LETTER = 1, 2, 4, 8, 16
DIGIT, WHITE, TRADITIONAL = 32, 64, 128
CONTROL, ZERO_WIDTH, BIDI, PRIVATE, REPLACEMENT = 256, 512, 1024, 2048, 4096
AS_GBK, AS_LATIN1 = 8192, 16384  # common where UTF-8 was read as GBK, or as Latin-1
BRACKET, MARK = 32768, 65536  # MARK: @ \ $ ` ~ < [ | ◁, with which the rarer patterns begin
JOINER = 131072  # U+200D: right inside emoji, invisible elsewhere
GARBLED = 262144  # 锟, of U+FFFD that was read as GBK
TELLING = 524288  # TELLING_LETTERS
RARE = ~(HAN | LATIN | LETTER | DIGIT | WHITE | AS_GBK | AS_LATIN1 | TELLING) & 0xFFFFF
"""Flags of which a text has few, if any."""

COUNTED = (HAN, LETTER, WHITE, AS_GBK, AS_LATIN1)
"""Flags that rules count and of which a text has many."""
LANE = 12
"""Bits that count one of them: a lane of `lanes`."""

TELLING_LETTERS = "我抱对意作身iImM"
"""With one of these an answer begins to tell of itself."""

BRACKETS = ("()", "[]", "{}", "《》", "【】", "「」", "『』")
"""Pairs that should balance; their full-width forms count as the same."""

_LETTERS_END = 0x32400  # the end of the last plane that has any
_PRIVATE_PLANES = ((0xF0000, 0xFFFFD), (0x100000, 0x10FFFD))
_HAN = ((0x3005, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF))
_KANA = ((0x3041, 0x3096), (0x309D, 0x309F), (0x30A1, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F))
_HANGUL = ((0x1100, 0x11FF), (0x3131, 0x318E), (0xAC00, 0xD7A3))
_LATIN = ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F), (0x1E00, 0x1EFF), (0xFF21, 0xFF3A), (0xFF41, 0xFF5A))
# Traditional in one meaning, simplified in another.
_AMBIGUOUS = "乾吒夥後徵拚捱摺於榘菸薹袷醣麴麽"


@cache
def flags() -> Flags:
    """The flags of every code point; 1,114,112 values."""
    table = np.zeros(0x110000, np.uint32)
    for first, last in _PRIVATE_PLANES:  # above the planes with letters there is nothing else to tell apart
        table[first : last + 1] |= PRIVATE
    categories = np.array([unicodedata.category(chr(code)) for code in range(_LETTERS_END)], dtype="U2")
    kinds = categories.astype("U1")
    for flag, ranges in ((HAN, _HAN), (KANA, _KANA), (HANGUL, _HANGUL), (LATIN, _LATIN)):
        for first, last in ranges:
            table[first : last + 1] |= flag
    known = table[:_LETTERS_END]
    known[kinds == "L"] |= LETTER
    known[kinds != "L"] &= ~np.uint32(LATIN | KANA)
    table[[ord("0") + at for at in range(10)] + [0xFF10 + at for at in range(10)]] |= DIGIT
    table[[code for code in range(0x3001) if chr(code).isspace()]] |= WHITE
    known[categories == "Cc"] |= CONTROL
    table[[ord(letter) for letter in "\t\n\r"]] &= ~np.uint32(CONTROL)
    known[categories == "Co"] |= PRIVATE
    table[0xFFFD] |= REPLACEMENT
    table[[0x00AD, 0x180E, 0x200B, 0x200C, 0x2060, 0xFEFF]] |= ZERO_WIDTH
    table[0x200D] |= JOINER
    table[[0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]] |= BIDI
    table[[ord(letter) for pair in BRACKETS for letter in pair] + [0xFF08, 0xFF09, 0xFF3B, 0xFF3D]] |= BRACKET
    table[[ord(letter) for letter in {*"@\\$`~<[|＠", *THINKING_BEGINS}]] |= MARK
    table[ord("锟")] |= GARBLED
    table[[ord(letter) for letter in TELLING_LETTERS]] |= TELLING
    table[[ord(letter) for letter in traditional_only()]] |= TRADITIONAL
    # Chinese in UTF-8 begins with a byte E4 to E9 and goes on with two of 80 to BF. Read as GBK, every
    # other character comes from such a byte and the one after it; in ordinary text they are rare.
    table[
        [ord(letter) for first in range(0xE4, 0xEA) for second in range(0x80, 0xC0) for letter in _gbk(first, second)]
    ] |= AS_GBK
    table[0xE3:0xEA] |= AS_LATIN1
    return table


@cache
def lanes() -> npt.NDArray[np.uint64]:
    """For every code point a 1 in the lane of each flag of COUNTED that it has: their sums count all flags at once."""
    found = np.zeros(len(flags()), np.uint64)
    for lane, flag in enumerate(COUNTED):
        found |= ((flags() & np.uint32(flag)) != 0).astype(np.uint64) << np.uint64(LANE * lane)
    return found


@cache
def traditional_only() -> frozenset[str]:
    """Characters that simplified text does not have: t2s changes them, GB2312 lacks them.

    A compatibility ideograph, which OpenCC only writes as the character that it stands for, is none.
    """
    from coig_p.core.normalize import to_simplified

    han = [chr(code) for first, last in _HAN for code in range(first, last + 1)]
    simplified = to_simplified("\n".join(han)).split("\n")
    changed = {
        old for old, new in zip(han, simplified, strict=True) if old != new and not unicodedata.decomposition(old)
    }
    return frozenset(letter for letter in changed if not _in_gb2312(letter)) - frozenset(_AMBIGUOUS)


def _in_gb2312(letter: str) -> bool:
    try:
        return bool(letter.encode("gb2312"))
    except UnicodeEncodeError:
        return False


def _gbk(first: int, second: int) -> str:
    return bytes([first, second]).decode("gbk", errors="ignore")
