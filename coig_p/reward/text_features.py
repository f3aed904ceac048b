"""What an n-gram reward model sees of a response: cheap features, and hashed n-grams of one and two characters.

Everything is computed over the code points of many responses at once. A row depends on its own text and prompt alone,
so a response has the same features in any batch, on any machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from coig_p.core.arrays import Floats, Index, group_starts, mix

BITS = 16
NGRAMS = 1 << BITS
HEAD = 4000
"""Characters of a response whose n-grams are read; the cheap features read all of it."""

_CLASSES = ("han", "letter", "digit", "space", "line", "wide_mark", "mark", "other")
_HAN, _LETTER, _DIGIT, _SPACE, _LINE, _WIDE, _MARK, _OTHER = range(8)
_COUNTED = ("。", "，", "、", "：", "；", "？", "！", "“”「」", "（）()", "《》", "*", "#", "`", "|", "$\\", "…", "<>")
_ENDS = ("。！!.”」》）)", "？?", "，、,：:；;")
_BLOCK = 256  # responses at once: what is sorted fits a cache

CHEAP = (
    "length",
    "length_squared",
    "lines",
    "paragraphs",
    "line_length",
    "sentence_length",
    *(f"share_{name}" for name in _CLASSES),
    *(f"count_{marks}" for marks in _COUNTED),
    "numbered_lines",
    "bullet_lines",
    *(f"ends_with_{marks}" for marks in _ENDS),
    "ends_with_han_or_letter",
    "begins_with_space",
    "distinct_characters",
    "distinct_bigrams",
    "longest_run",
    "repeated_lines",
    "in_prompt",
)
"""Names of the cheap features, in the order of their columns."""


def features(texts: Sequence[str], prompts: Sequence[str]) -> tuple[Floats, csr_matrix]:
    """Both kinds of features of responses.

    Args:
        texts: the responses.
        prompts: what each answers, as text.

    Returns:
        (N, len(CHEAP)) cheap features, and (N, NGRAMS) n-grams, float32: 1 + log of each count, rows of length 1.
    """
    cheap = np.zeros((len(texts), len(CHEAP)))
    parts = []
    for begin in range(0, len(texts), _BLOCK):
        some = slice(begin, begin + _BLOCK)
        cheap[some], grams = _block(texts[some], prompts[some])
        parts.append(grams)
    return cheap, _stacked(parts)


def _stacked(parts: list[csr_matrix]) -> csr_matrix:
    if not parts:
        return csr_matrix((0, NGRAMS), dtype=np.float32)
    data, columns = (np.concatenate([getattr(one, name) for one in parts]) for name in ("data", "indices"))
    rows = np.concatenate([np.diff(one.indptr) for one in parts])
    return csr_matrix((data, columns, np.concatenate([[0], np.cumsum(rows)])), (len(rows), NGRAMS))


def _block(texts: Sequence[str], prompts: Sequence[str]) -> tuple[Floats, csr_matrix]:
    codes, size = _codes(texts)
    grams = _ngrams(*_codes([text[:HEAD] for text in texts]))
    asked = _ngrams(*_codes([prompt[:HEAD] for prompt in prompts]))
    begin = np.cumsum(size) - size
    row = np.repeat(np.arange(len(size)), size)
    kinds = _kinds()[codes]
    marks = _marks()[codes]
    total = np.maximum(size, 1)

    def per_row(values: npt.NDArray[Any], of: Index = row) -> Floats:
        return np.bincount(of[values], minlength=len(size)).astype(float)

    lines = per_row(kinds == _LINE) + 1
    double = (kinds[1:] == _LINE) & (kinds[:-1] == _LINE) & (row[1:] == row[:-1])
    sentences = per_row(np.isin(marks, _sentence_ends())) + 1
    first = np.concatenate([[True], (kinds[:-1] == _LINE) | (row[1:] != row[:-1])])[: len(codes)]
    numbered, bullet = _line_starts(codes, kinds, row, first)
    shares = np.stack([per_row(kinds == kind) / total for kind in range(len(_CLASSES))], 1)
    counts = np.stack([np.log1p(per_row(marks == number)) for number in range(1, len(_COUNTED) + 1)], 1)
    last = np.where(size > 0, begin + size - 1, 0)
    some = size > 0
    codes_or_none = codes if len(codes) else np.zeros(1, np.uint32)
    ending, starting = codes_or_none[last], codes_or_none[np.where(some, begin, 0)]
    ends = [some & np.isin(ending, [ord(mark) for mark in one]) for one in _ENDS]
    open_end = some & np.isin(_kinds()[ending], (_HAN, _LETTER))
    length = np.log1p(size)
    columns = [
        length,
        length * length / 10,
        np.log1p(lines),
        np.log1p(per_row(double, row[1:])),
        np.log1p(size / lines),
        np.log1p(size / sentences),
        *shares.T,
        *counts.T,
        np.log1p(per_row(numbered)),
        np.log1p(per_row(bullet)),
        *ends,
        open_end,
        some & np.isin(_kinds()[starting], (_SPACE, _LINE)),
        *_distinct(codes, row, size),
        np.log1p(_longest_run(codes, row, len(size))),
        np.array([_repeated_lines(text) for text in texts]),
        _shared(grams, asked),
    ]
    return np.stack(columns, 1).astype(float), _scaled(grams)


def _codes(texts: Sequence[str]) -> tuple[npt.NDArray[np.uint32], Index]:
    """The code points of all texts, one after the other, and how many each has."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    return codes, np.array([len(text) for text in texts], np.int64)


@cache
def _kinds() -> npt.NDArray[np.uint8]:
    """Of each code point its class."""
    found = np.full(0x110000, _OTHER, np.uint8)
    for low, high in ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, 0x33480)):
        found[low:high] = _HAN
    for low, high in ((0xC0, 0x250), (0x370, 0x530), (0x3040, 0x3100), (0xAC00, 0xD7A4)):
        found[low:high] = _LETTER
    found[0x3000:0x3040] = found[0xFF00:0xFF66] = found[0x2010:0x2030] = _WIDE
    for code in range(128):
        one = chr(code)
        found[code] = _LETTER if one.isalpha() else _DIGIT if one.isdigit() else _MARK
    for low, high, kind in ((0xFF10, 0xFF1A, _DIGIT), (0xFF21, 0xFF3B, _LETTER), (0xFF41, 0xFF5B, _LETTER)):
        found[low:high] = kind
    found[[9, 11, 12, 32, 0xA0, 0x3000]] = _SPACE
    found[[10, 13]] = _LINE
    return found


@cache
def _marks() -> npt.NDArray[np.uint8]:
    """Of each code point which of _COUNTED it is, from 1; 0 for none."""
    found = np.zeros(0x110000, np.uint8)
    for number, marks in enumerate(_COUNTED, 1):
        found[[ord(mark) for mark in marks]] = number
    return found


def _sentence_ends() -> list[int]:
    return [_COUNTED.index(mark) + 1 for mark in "。？！"]


def _line_starts(
    codes: npt.NDArray[np.uint32], kinds: npt.NDArray[np.uint8], row: Index, first: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Where lines begin with a number and a mark behind it, and where with a bullet."""
    number = first & (kinds == _DIGIT)
    behind = np.isin(codes, [ord(mark) for mark in ".、)）．:："])
    number[:-1] &= (behind[1:] | (kinds[1:] == _DIGIT)) & (row[1:] == row[:-1])
    number[-1:] = False
    return number, first & np.isin(codes, [ord(mark) for mark in "-*•·"])


def _distinct(codes: npt.NDArray[np.uint32], row: Index, size: Index) -> tuple[Floats, Floats]:
    """Of each row the share of characters, and of bigrams, that stand there for the first time."""
    singles = (row.astype(np.uint64) << np.uint64(42)) | codes
    within = row[1:] == row[:-1]
    doubles = singles[:-1][within] | (codes[1:][within].astype(np.uint64) << np.uint64(21))
    found = []
    for keys, number in ((singles, size), (doubles, np.maximum(size - 1, 0))):
        ordered = np.sort(keys)
        ordered = ordered[group_starts(ordered)]
        different = np.bincount((ordered >> np.uint64(42)).astype(np.int64), minlength=len(size))
        found.append(np.where(number > 0, different / np.maximum(number, 1), 1.0))
    return found[0], found[1]


def _longest_run(codes: npt.NDArray[np.uint32], row: Index, rows: int) -> Floats:
    """Of each row how often one character stands in a row at most."""
    longest = np.zeros(rows)
    starts = group_starts(row, codes)
    np.maximum.at(longest, row[starts], np.diff(starts, append=len(codes)))
    return longest


def _repeated_lines(text: str) -> float:
    lines = [line.strip() for line in text.split("\n")]
    lines = [line for line in lines if line]
    return 1 - len(set(lines)) / len(lines) if lines else 0.0


def _ngrams(codes: npt.NDArray[np.uint32], size: Index) -> csr_matrix:
    """(rows, NGRAMS): how often each hashed character, and two of them, stands in a row."""
    row = np.repeat(np.arange(len(size), dtype=np.uint32), size)
    wide = codes.astype(np.uint64)
    within = row[1:] == row[:-1]
    double = (wide[:-1][within] << np.uint64(21)) | wide[1:][within] | np.uint64(1 << 42)
    hashed = np.concatenate([mix(wide), mix(double)]) & np.uint64(NGRAMS - 1)
    rows = np.concatenate([row, row[1:][within]])
    keys = np.sort((rows << np.uint32(BITS)) | hashed.astype(np.uint32))
    starts = group_starts(keys)
    counts = np.diff(starts, append=len(keys)).astype(float)
    keys = keys[starts]
    each = np.bincount((keys >> np.uint32(BITS)).astype(np.int64), minlength=len(size))
    columns = (keys & np.uint32(NGRAMS - 1)).astype(np.int32)
    return csr_matrix((counts, columns, np.concatenate([[0], np.cumsum(each)])), (len(size), NGRAMS))


def _shared(grams: csr_matrix, asked: csr_matrix) -> Floats:
    """Of each row the share of its different n-grams that its prompt has, too."""
    both = grams.multiply(asked.astype(bool)).astype(bool).sum(1)
    return np.asarray(np.asarray(both).ravel() / np.maximum(np.diff(grams.indptr), 1))


def _scaled(grams: csr_matrix) -> csr_matrix:
    """1 + log of each count, rows of length 1."""
    values = 1 + np.log(grams.data)
    row = np.repeat(np.arange(grams.shape[0]), np.diff(grams.indptr))
    lengths = np.sqrt(np.bincount(row, values * values, grams.shape[0]))
    return csr_matrix(((values / lengths[row]).astype(np.float32), grams.indices, grams.indptr), grams.shape)
