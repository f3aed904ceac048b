"""The rules of `coig_p.annotate.parsing` once more: no regular expression, one character at a time, slow."""

from __future__ import annotations

from fractions import Fraction

_FULL = "０１２３４５６７８９．／［］【】\u3000"
_HALF = "0123456789./[][] "
_DIGITS = "0123456789"
_CODE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_)]"
_LABELS = (
    *("总体评分", "总体得分", "总体分数", "综合评分", "综合得分", "最终评分", "最终得分", "最终分数"),
    *("总评分", "总得分", "总评", "总分"),
    *("overall score", "overall rating", "final score", "final rating", "total score"),
)
_CLOSING = "*_`~\"'”’」』)）>。．.!！,，;；分-"


def oracle(text: str, half_points: bool = True) -> tuple[float | None, str | None]:
    while "</think>" in text:
        text = text[text.index("</think>") + len("</think>") :]
    if "<think>" in text:
        return None, "unfinished"
    said = "".join(_HALF[_FULL.index(c)] if c in _FULL else c for c in text)
    brackets = _brackets(said)
    if not brackets:
        return None, "none"
    begin, end = brackets[-1]
    inner = said[begin + 1 : end]
    final = _number(inner)
    if final is None:
        return None, "range" if _is_range(inner) else "malformed"
    number, scale = final
    labelled = _labelled(said, begin)
    why = _after(said[end + 1 :], labelled)
    if why is not None:
        return None, why
    if scale is not None and scale != "10":
        return None, "other-scale"
    for at, to in brackets[:-1]:
        other = _number(said[at + 1 : to])
        if other is not None and other[0] != number and (not labelled or _labelled(said, at)):
            return None, "several"
    if number < 1 or number > 10:
        return None, "out-of-range"
    if number.denominator not in ((1, 2) if half_points else (1,)):
        return None, "off-step"
    return float(number), None


def _brackets(said: str) -> list[tuple[int, int]]:
    found = []
    for begin, c in enumerate(said):
        if c != "[" or (begin and said[begin - 1] in _CODE):
            continue
        end = begin + 1
        while end < len(said) and said[end] not in "[]\n":
            end += 1
        if end == len(said) or said[end] != "]":
            continue
        if said[end + 1 : end + 2] in ("(", ":"):
            continue
        if any(digit in said[begin:end] for digit in _DIGITS):
            found.append((begin, end))
    return found


def _number(inner: str) -> tuple[Fraction, str | None] | None:
    rest = inner.strip(" *")
    whole, rest = _digits(rest)
    if not whole or (len(whole) > 1 and whole[0] == "0"):
        return None
    value = Fraction(int(whole))
    if rest.startswith("."):
        decimals, rest = _digits(rest[1:])
        if not decimals:
            return None
        value += Fraction(int(decimals), 10 ** len(decimals))
    rest = rest.lstrip(" *")
    if rest == "":
        return value, None
    if rest.startswith("分"):
        return (value, None) if rest[1:].strip(" *") == "" else None
    if rest.startswith("/"):
        scale, rest = _digits(rest[1:].lstrip(" "))
        rest = rest.lstrip(" *")
        rest = rest.removeprefix("分")
        return (value, scale) if scale and rest.strip(" *") == "" else None
    return None


def _digits(text: str) -> tuple[str, str]:
    at = 0
    while at < len(text) and text[at] in _DIGITS:
        at += 1
    return text[:at], text[at:]


def _is_range(inner: str) -> bool:
    for at, c in enumerate(inner):
        if c not in "-~–—～至到":
            continue
        left = inner[:at].lstrip(" *").rstrip(" 分")
        right = inner[at + 1 :].lstrip(" ").rstrip(" *分")
        if left and right and all(c in _DIGITS + "." for c in left + right):
            return True
    return False


def _labelled(said: str, begin: int) -> bool:
    line = said[max(0, begin - 40) : begin].split("\n")[-1]
    before = line.rstrip("*_ ")
    for link in (":", "：", "=", "为", "是", "is", ""):
        if link and not before.lower().endswith(link):
            continue
        label = before[: len(before) - len(link)].rstrip("*_ ").lower()
        if label.endswith(_LABELS):
            return True
    return False


def _after(rest: str, labelled: bool) -> str | None:
    if rest[:1] in tuple(_DIGITS) or (rest[:1] == "." and rest[1:2] in tuple(_DIGITS)):
        return "glued"
    slash = rest.lstrip(" *")
    if slash.startswith("/"):
        over = slash[1:].lstrip(" *")
        whole, over = _digits(over)
        if whole:
            value = Fraction(int(whole))
            if over.startswith("."):
                decimals, left = _digits(over[1:])
                if decimals:
                    value += Fraction(int(decimals), 10 ** len(decimals))
                    over = left
            if value != 10:
                return "other-scale"
            rest = over
    end = 0
    while end < len(rest) and (rest[end].isspace() or rest[end] in _CLOSING):
        end += 1
    if end == len(rest) or (labelled and "\n" in rest[:end]):
        return None
    return "not-final"
