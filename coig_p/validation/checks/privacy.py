"""Personal data and words nobody wants: numbers of phones, identity cards and bank cards, addresses.

Candidates are found as runs of digits among the flags, full width or half, and only those few are
looked at with patterns, on their NFKC form.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterator
from datetime import date
from functools import lru_cache

import numpy as np
import pyarrow.compute as pc

from coig_p.validation.checks.letters import DIGIT, LATIN, MARK
from coig_p.validation.checks.texts import Hits, Index, Texts

_SEPARATORS = tuple(map(ord, " -\u00a0\uff0d"))
_DOTS = tuple(map(ord, ".\uff0e"))
# A number does not begin within another, nor behind a decimal point: mathematics is full of long decimals.
_MOBILE = re.compile(
    r"(?<!\d)(?<!\d\.)1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?!\d)"
    r"|(?<!\d)(?<!\d\.)(?:00)?86[- ]?1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?!\d)"
)
_ID_CARD = re.compile(r"(?<!\d)(?<!\d\.)[1-9]\d{5}(?:18|19|20)\d{9}[\dXx](?![\dA-Za-z])")
_BANK_CARD = re.compile(
    r"(?<!\d)(?<!\d\.)(?:62\d{2}|4\d{3}|5[1-5]\d{2})[- ]?\d{4}[- ]?\d{4}[- ]?\d{4}(?:[- ]?\d{1,3})?(?!\d)"
    r"|(?<!\d)(?<!\d\.)3[47]\d{13}(?!\d)"
)
_EMAIL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z])")
_AROUND_AT = 100  # characters looked at on either side of an @
_IP = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])")
_REGIONS = frozenset(
    (*range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66), 71, 81, 82, 91)
)
_WEIGHTS = [2**power % 11 for power in range(17, -1, -1)]


def mobile(texts: Texts) -> Hits:
    """1, 3 to 9 and nine digits, with or without 86 and separators."""
    return _numbers(texts, _MOBILE, lambda found: True, 11)


def id_card(texts: Texts) -> Hits:
    """Region, date and check digit (GB 11643, ISO 7064 mod 11-2) are right."""
    return _numbers(texts, _ID_CARD, is_id_number, 17)


def is_id_number(number: str) -> bool:
    """Whether 18 characters are an identity number: region, date of birth, check digit."""
    digits = [10 if letter in "Xx" else int(letter) for letter in number]
    try:
        date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    weighed = sum(digit * weight for digit, weight in zip(digits, _WEIGHTS, strict=True))
    return int(number[:2]) in _REGIONS and weighed % 11 == 1


def bank_card(texts: Texts) -> Hits:
    """UnionPay, Visa, Mastercard and American Express, with the Luhn check digit right."""
    return _numbers(texts, _BANK_CARD, passes_luhn, 15)


def passes_luhn(number: str) -> bool:
    """Whether the digits of a text pass the Luhn check (ISO/IEC 7812-1)."""
    digits = [int(letter) for letter in number if letter.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) if at % 2 else digit for at, digit in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def ip_address(texts: Texts) -> Hits:
    """Not private, reserved or loopback; a version number of four parts may look like one."""
    return _numbers(texts, _IP, _is_public, 4, _DOTS)


def _is_public(found: str) -> bool:
    try:
        return ipaddress.IPv4Address(found).is_global
    except ValueError:
        return False


def email(texts: Texts) -> Hits:
    """Something, @, a domain; around each @ that stands between letters or digits."""
    at = texts.where(MARK)
    at = at[np.isin(texts.letters[at], [ord("@"), 0xFF20])]
    last = max(len(texts.letters) - 1, 0)
    word = np.uint32(LATIN | DIGIT)
    at = at[((texts.flags[np.maximum(at - 1, 0)] & word) != 0) & ((texts.flags[np.minimum(at + 1, last)] & word) != 0)]
    apart = np.flatnonzero(np.diff(at) > 2 * _AROUND_AT)
    begin, end = at[np.append(0, apart + 1)] if len(at) else at, at[np.append(apart, len(at) - 1)] if len(at) else at
    begin, end = _within_texts(texts, begin, end)
    return _first(texts, begin, end, _EMAIL, lambda found: True, _AROUND_AT)


def listed_words(texts: Texts, words: tuple[str, ...]) -> Hits:
    """Compared by NFKC and lower case."""
    if not words:
        return texts.at_start(np.zeros(len(texts), bool))
    folded = pc.utf8_lower(pc.utf8_normalize(texts.column, "NFKC"))
    found = np.zeros(len(texts), bool)
    for word in words:
        found |= pc.match_substring(folded, unicodedata.normalize("NFKC", word).lower()).to_numpy(zero_copy_only=False)
    return texts.at_start(found)


def _numbers(
    texts: Texts,
    pattern: re.Pattern[str],
    right: Callable[[str], bool],
    least: int,
    separators: tuple[int, ...] = _SEPARATORS,
) -> Hits:
    """The first number of each text that fits, among runs of at least so many digits, separators between."""
    begin, end, digits = _runs(texts, separators)
    long = digits >= least
    return _first(texts, begin[long], end[long], pattern, right, 2)


@lru_cache(maxsize=2)  # four rules ask the same of one batch
def _runs(texts: Texts, separators: tuple[int, ...]) -> tuple[Index, Index, Index]:
    """Begin and end of each run of digits with single separators inside, and its digits; none leaves its text."""
    digits = texts.digits
    if not len(digits):
        return digits, digits, digits
    apart, text = np.diff(digits), texts.text_of(digits)
    goes_on = apart == 1
    across = np.flatnonzero(apart == 2)
    goes_on[across] = np.isin(texts.letters[digits[across] + 1], separators)
    goes_on &= text[1:] == text[:-1]
    first = np.append(0, np.flatnonzero(~goes_on) + 1)
    held = np.diff(first, append=len(digits))
    return digits[first], digits[first + held - 1] + 1, held


def _first(
    texts: Texts, begin: Index, end: Index, pattern: re.Pattern[str], right: Callable[[str], bool], around: int
) -> Hits:
    """The first match in each text of a pattern on the NFKC form of these places and what is around them."""
    hits: dict[int, int] = {}
    for text, low, high in _windows(texts, begin, end, around):
        if text in hits:
            continue
        window = texts.letters[low:high].tobytes().decode("utf-32-le")
        folded = unicodedata.normalize("NFKC", window)
        match = next((match for match in pattern.finditer(folded) if right(match[0])), None)
        if match:
            # NFKC leaves ASCII and digits their place; before them it may move others by a few.
            hits[text] = int(low - texts.starts[text]) + (match.start() if len(folded) == len(window) else 0)
    return Hits(np.array(list(hits), np.int64), np.array(list(hits.values()), np.int64))


def _within_texts(texts: Texts, begin: Index, end: Index) -> tuple[Index, Index]:
    """Stretches from one place to another, cut where a text ends."""
    first, last = texts.text_of(begin), texts.text_of(end)
    held = last - first + 1
    text = np.repeat(first, held) + np.arange(held.sum()) - np.repeat(np.cumsum(held) - held, held)
    return np.maximum(np.repeat(begin, held), texts.starts[text]), np.minimum(
        np.repeat(end, held), texts.starts[text + 1] - 1
    )


def _windows(texts: Texts, begin: Index, end: Index, around: int) -> Iterator[tuple[int, int, int]]:
    text = texts.text_of(begin)
    low = np.maximum(begin - around, texts.starts[text])
    high = np.minimum(np.maximum(end, begin + 1) + around, texts.starts[text + 1])
    return zip(text.tolist(), low.tolist(), high.tolist(), strict=True)
