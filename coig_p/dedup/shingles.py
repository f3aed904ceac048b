"""Texts as sets of character n-grams: Chinese has no spaces to cut words at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from coig_p.core.arrays import Index

Grams = npt.NDArray[np.uint64]
Hashes = npt.NDArray[np.uint32]
Keys = Grams
Pairs = npt.NDArray[np.int64]
"""P x 2 texts by number."""

_BASE = 0x9E3779B97F4A7C15  # odd, and without pattern
_PACKED = 3  # code points of 21 bits that fit into one gram


@dataclass(frozen=True)
class Shingles:
    """The n-grams of T texts, side by side, as often as they occur.

    Attributes:
        grams: N; equal where the n-grams are equal. For n up to 3 exactly so; beyond, with a chance of
            about 1 in 2**64 for two that differ.
        starts: T + 1; the first gram of each text. A text shorter than n is one gram, itself; an
            empty one has none.
    """

    grams: Grams
    starts: Index


def shingles(texts: Sequence[str], n: int) -> Shingles:
    """The character n-grams of each text."""
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    letters = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
    short = (sizes > 0) & (sizes < n)
    grams_of = np.where(short, 1, np.maximum(sizes - n + 1, 0))
    starts = np.concatenate([[0], np.cumsum(grams_of)])
    kernels = fast_kernels()
    if kernels is not None:
        return Shingles(kernels.grams(letters, sizes, starts, n, np.uint64(_BASE), n <= _PACKED), starts)
    return Shingles(_grams(letters, sizes, starts, n), starts)


def _grams(letters: Hashes, sizes: Index, starts: Index, n: int) -> Grams:
    text = np.repeat(np.arange(len(sizes)), np.diff(starts))
    begins = np.cumsum(sizes) - sizes
    place = begins[text] + np.arange(len(text)) - starts[text]  # in letters, where each gram begins
    grams = np.zeros(len(text), np.uint64)
    for at in range(n):
        inside = np.minimum(place + at, max(len(letters) - 1, 0))
        letter = letters[inside] + np.uint64(1)  # 0 stands for none, so that a short text is no other's prefix
        letter[sizes[text] <= at] = 0
        grams = (grams << np.uint64(21)) | letter if n <= _PACKED else grams * np.uint64(_BASE) + letter
    return grams


def hash32(grams: Grams) -> Hashes:
    """A 32-bit hash of each gram, for MinHash."""
    return ((grams * np.uint64(_BASE)) >> np.uint64(32)).astype(np.uint32)


def jaccard(texts: Sequence[str], pairs: Pairs, n: int) -> npt.NDArray[np.float64]:
    """Exact Jaccard similarity of the n-grams of pairs of texts (P x 2); 0 where both are empty."""
    involved, place = np.unique(pairs, return_inverse=True)
    place = place.reshape(-1, 2)
    found = shingles([texts[at] for at in involved], n)
    kernels = fast_kernels()
    if kernels is not None:
        return np.asarray(kernels.jaccard(found.grams, found.starts, place))
    return GramSets.of(found).jaccard(place)


@dataclass(frozen=True)
class GramSets:
    """Each text's grams once, ascending, as numbers; laid out as in `Shingles`."""

    ids: npt.NDArray[np.int64]
    starts: Index

    @classmethod
    def of(cls, found: Shingles) -> GramSets:
        """Number the grams and drop repetitions."""
        numbers = np.unique(found.grams, return_inverse=True)[1].astype(np.int64)
        text = np.repeat(np.arange(len(found.starts) - 1), np.diff(found.starts))
        keys = sorted_unique((text << 32) | numbers)
        return cls(keys & 0xFFFFFFFF, np.searchsorted(keys >> 32, np.arange(len(found.starts))))

    def jaccard(self, pairs: Pairs) -> npt.NDArray[np.float64]:
        """Exact Jaccard similarity of pairs of texts (P x 2); 0 where both are empty."""
        sizes = np.diff(self.starts)
        found = np.zeros(len(pairs))
        cost = np.cumsum(sizes[pairs].sum(axis=1)) if len(pairs) else np.zeros(0, np.int64)
        begin = 0
        while begin < len(pairs):  # a few million grams at a time
            end = max(begin + 1, int(np.searchsorted(cost, (cost[begin - 1] if begin else 0) + _GRAMS_AT_ONCE)))
            found[begin:end] = self._jaccard(pairs[begin:end], sizes)
            begin = end
        return found

    def _jaccard(self, pairs: Pairs, sizes: Index) -> npt.NDArray[np.float64]:
        both = pairs.ravel()
        held = sizes[both]
        owner = np.repeat(np.arange(len(both)) // 2, held)
        keys = np.sort((owner << 32) | self.ids[spread(self.starts[both], held)])
        shared = np.bincount(keys[1:][keys[1:] == keys[:-1]] >> 32, minlength=len(pairs))
        union = sizes[pairs].sum(axis=1) - shared
        return np.asarray(np.divide(shared, union, out=np.zeros(len(pairs)), where=union > 0), dtype=np.float64)


_GRAMS_AT_ONCE = 4 << 20


@cache
def fast_kernels() -> Any:
    """Compiled loops, where numba is installed; they give what the code beside their use gives."""
    try:
        from coig_p.dedup import kernels
    except ImportError:
        return None
    return kernels


def spread(begins: Index, sizes: Index) -> Index:
    """begins[0], begins[0] + 1, ... sizes[0] of them, then begins[1], ..."""
    return np.arange(sizes.sum()) + np.repeat(begins - np.cumsum(sizes) + sizes, sizes)


def sorted_unique(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`numpy.unique`, which for integers goes by way of a hash table, and is slower there."""
    values = np.sort(values)
    return values[np.append(True, values[1:] != values[:-1])] if len(values) else values


def gram_hash(gram: str, n: int) -> int:
    """`hash32` of one n-gram, or of a shorter text: the slow, obvious way."""
    number = 0
    for letter in [*(ord(letter) + 1 for letter in gram), *[0] * (n - len(gram))]:
        number = (number << 21) | letter if n <= _PACKED else (number * _BASE + letter) % 2**64
    return (number * _BASE % 2**64) >> 32
