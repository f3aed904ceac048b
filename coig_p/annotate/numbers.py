"""The numbers of a text in English and of its translation into Chinese, by their values."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

_ONES = re.findall(
    r"\w+",
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen",
)
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_ORDINALS = re.findall(
    r"\w+",
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth "
    "sixteenth seventeenth eighteenth nineteenth twentieth",
)
_MONTHS = re.findall(r"\w+", "january february march april may june july august september october november december")
_OTHERS = {
    "once": "1", "twice": "2", "thrice": "3", "double": "2", "triple": "3", "pair": "2", "couple": "2", "both": "2",
    "dozen": "12", "half": "0.5", "quarter": "0.25", "score": "20", "century": "100", "centuries": "100",
    "decade": "10", "decades": "10", "hundred": "100", "thousand": "1000", "million": "1000000",
    "billion": "1000000000", "single": "1", "noon": "12", "midnight": "0", "daily": "1", "a": "1", "an": "1",
    "i": "1", "ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6", "vii": "7", "viii": "8", "ix": "9", "x": "10",
}  # fmt: skip
_SCALES = {
    "hundred": 10**2, "thousand": 10**3, "k": 10**3, "million": 10**6, "m": 10**6, "mn": 10**6, "billion": 10**9,
    "bn": 10**9, "b": 10**9, "trillion": 10**12,
}  # fmt: skip
_ENGLISH = re.compile(
    r"(?<![A-Za-z0-9_])(?<![A-Za-z]-)(?P<digits>(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|(?<!\d)\.\d+)"
    r"(?:(?P<scale>[kKmMbB](?![A-Za-z0-9])|[ -]?(?:hundred|thousand|million|billion|trillion|mn|bn)\b)|"
    r"(?P<decade>['’]?s\b)|(?P<half> ?[ap]\.?m\b))?",
    re.IGNORECASE,
)
_WORDS = re.compile(r"[A-Za-z]+")

_DIGITS = {name: at for at, name in enumerate("零一二三四五六七八九")} | {"\u3007": 0, "两": 2, "俩": 2, "仨": 3}
_PLACES = {"十": 10, "百": 10**2, "千": 10**3}
_GROUPS = {"万": 10**4, "亿": 10**8, "兆": 10**12}
_CHINESE = re.compile(
    r"(?<![A-Za-z0-9_])(?<![A-Za-z]-)(?P<digits>(?:\d{1,3}(?:[,，]\d{3})+(?!\d)|\d+)(?:\.\d+)?)"
    r"(?P<scale> ?[十百千]?[万亿兆]?)(?P<rest>(?:\d+[百千万亿])*)|"
    r"(?P<word>[零\u3007一二两俩仨三四五六七八九十百千万亿]+(?:点[零\u3007一二三四五六七八九]+)?|半)"
)
_HAS_SEPARATORS = str.maketrans("", "", ",，")


class Number(NamedTuple):
    """A number as it stands in a text, and the values that it may have: 1990s is 1990 and 90.

    `digits` says whether it is written in digits.
    """

    text: str
    values: frozenset[Fraction]
    digits: bool


def english_numbers(text: str) -> tuple[list[Number], frozenset[Fraction]]:
    """The numbers that are written in digits, and the values of those in words, months among them."""
    found = []
    for match in _ENGLISH.finditer(text):
        value = Fraction(match["digits"].translate(_HAS_SEPARATORS))
        values = {value}
        if match["scale"]:
            values.add(value * _SCALES[match["scale"].strip(" -").lower()])
        if match["decade"] and value >= 100:
            values |= {value % 100, Fraction(value // 100 + 1)}
        if match["half"] and match["half"].strip().lower().startswith("p") and value < 12:
            values.add(value + 12)
        found.append(Number(match[0].strip(), frozenset(values), True))
    return found, _in_words(text)


def _in_words(text: str) -> frozenset[Fraction]:
    values: set[Fraction] = set()
    last = Fraction(0)
    for word in _WORDS.findall(text.lower()):
        value = _word(word)
        if value is None:
            last = Fraction(0)
            continue
        values.add(value)
        scale = _SCALES.get(word)
        if last:
            values.add(last * value if scale is not None else last + value)
        last = last * value if scale is not None and last else last + value if last >= 20 else value
        values.add(last)
    return frozenset(values)


def _word(word: str) -> Fraction | None:
    for names, first, step in ((_ONES, 0, 1), (_TENS, 20, 10), (_ORDINALS, 1, 1)):
        if word in names:
            return Fraction(first + step * names.index(word))
    for at, month in enumerate(_MONTHS, 1):
        if word in (month, month[:3]) or word == "sept" == month[:4]:
            return Fraction(at)
    if word.endswith("s") and word[:-1] in (*_TENS, *_ORDINALS):
        return _word(word[:-1])
    given = _OTHERS.get(word)
    return None if given is None else Fraction(given)


def chinese_numbers(text: str) -> list[Number]:
    """Every number, in digits, with 万 and 亿 behind them, or in Chinese."""
    found = []
    for match in _CHINESE.finditer(text):
        if match["word"]:
            found.append(Number(match[0], _chinese(match["word"]), False))
            continue
        value = Fraction(match["digits"].translate(_HAS_SEPARATORS))
        values = {value}
        scaled = value
        for letter in match["scale"].strip():
            scaled *= (_PLACES | _GROUPS)[letter]
        values.add(scaled)
        if match["rest"]:
            more = re.findall(r"(\d+)(\D)", match["rest"])
            values.add(scaled + sum(int(number) * (_PLACES | _GROUPS)[unit] for number, unit in more))
        found.append(Number(match[0].strip(), frozenset(values), True))
    return found


def _chinese(word: str) -> frozenset[Fraction]:
    """三十五 is 35, 二〇一〇 is 2010, 三点五 is 3.5, 半 is .5; 三四 may be 34, 3 or 4."""
    if word == "半":
        return frozenset({Fraction(1, 2)})
    whole, _, part = word.partition("点")
    if not any(letter in _PLACES or letter in _GROUPS for letter in whole):
        digits = "".join(str(_DIGITS[letter]) for letter in whole)
        values = {Fraction(int(digits)), *(Fraction(_DIGITS[letter]) for letter in whole)}
    else:
        values = {Fraction(_whole(whole))}
    if part:
        after = Fraction(int("".join(str(_DIGITS[letter]) for letter in part)), 10 ** len(part))
        values = {value + after for value in values}
    return frozenset(values)


def _whole(word: str) -> int:
    for unit in ("兆", "亿", "万"):
        before, found, after = word.rpartition(unit)
        if found:
            return (_whole(before) or 1) * _GROUPS[unit] + _whole(after)
    total = digit = 0
    for letter in word:
        if letter in _PLACES:
            total += (digit or 1) * _PLACES[letter]
            digit = 0
        else:
            digit = _DIGITS[letter]
    return total + digit
