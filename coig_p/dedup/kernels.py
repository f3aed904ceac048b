"""The inner loops of near-duplicate search, compiled. Needs numba: pip install 'coig-p[fast]'."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

Index = npt.NDArray[np.int64]
Pairs = npt.NDArray[np.int64]
Grams = npt.NDArray[np.uint64]
Keys = npt.NDArray[np.uint64]
Hashes = npt.NDArray[np.uint32]


@njit(nogil=True, cache=True)
def grams(letters: Hashes, sizes: Index, starts: Index, n: int, base: int, packed: bool) -> Grams:
    """As `coig_p.dedup.shingles._grams`."""
    found = np.zeros(starts[-1], np.uint64)
    begin = 0
    for text in range(len(sizes)):
        for nth in range(starts[text + 1] - starts[text]):
            gram = np.uint64(0)
            for at in range(nth, nth + n):
                letter = np.uint64(letters[begin + at]) + np.uint64(1) if at < sizes[text] else np.uint64(0)
                gram = (gram << np.uint64(21)) | letter if packed else gram * np.uint64(base) + letter
            found[starts[text] + nth] = gram
        begin += sizes[text]
    return found


@njit(nogil=True, cache=True)
def band_keys(found: Hashes, number: int, rows: int) -> Keys:
    """As `coig_p.dedup.minhash._band_keys`."""
    keys = np.zeros((number, len(found)), np.uint64)
    for text in range(len(found)):
        for band in range(number):
            key = np.uint64(0)
            for at in range(band * rows, (band + 1) * rows):
                key = (key ^ np.uint64(found[text, at])) * np.uint64(0x9E3779B97F4A7C15)
                key ^= key >> np.uint64(29)
            keys[band, text] = key
    return keys


@njit(nogil=True, cache=True)
def minima(hashed: Hashes, starts: Index, factors: Hashes, offsets: Hashes) -> Hashes:
    """As `coig_p.dedup.minhash._minima`."""
    result = np.full((len(starts) - 1, len(factors)), 0xFFFFFFFF, np.uint32)
    for text in range(len(starts) - 1):
        lowest = result[text]
        for at in range(starts[text], starts[text + 1]):
            value = hashed[at]
            for permutation in range(len(factors)):
                permuted = np.uint32(value * factors[permutation] + offsets[permutation])
                lowest[permutation] = min(lowest[permutation], permuted)
    return result


@njit(nogil=True, cache=True)
def may_repeat(keys: Keys) -> npt.NDArray[np.bool_]:
    """Which keys may stand more than once; of those that do, all. Most do not, and need no sorting."""
    size = 1024
    while size < 8 * len(keys):
        size *= 2
    seen = np.zeros(size, np.uint8)
    mask = np.uint64(len(seen) - 1)
    for key in keys:
        seen[key & mask] = min(2, seen[key & mask] + 1)
    repeats: npt.NDArray[np.bool_] = seen[keys & mask] == 2
    return repeats


@njit(nogil=True, cache=True)
def agree(small: npt.NDArray[np.uint8], pairs: Pairs, least: int) -> npt.NDArray[np.bool_]:
    """Of which pairs at least so many values are equal."""
    found = np.zeros(len(pairs), np.bool_)
    for pair in range(len(pairs)):
        one, other = small[pairs[pair, 0]], small[pairs[pair, 1]]
        equal = 0
        for at in range(len(one)):
            equal += one[at] == other[at]
        found[pair] = equal >= least
    return found


@njit(nogil=True, cache=True)
def jaccard(grams: Grams, starts: Index, pairs: Pairs) -> npt.NDArray[np.float64]:
    """As `coig_p.dedup.shingles.GramSets.jaccard`, of texts whose grams are sorted and made sets here."""
    grams = grams.copy()
    ends = np.empty(len(starts) - 1, np.int64)
    for text in range(len(ends)):
        own = grams[starts[text] : starts[text + 1]]
        own.sort()
        kept = 0
        for at in range(len(own)):
            if at == 0 or own[at] != own[at - 1]:
                kept += 1
                own[kept - 1] = own[at]
        ends[text] = starts[text] + kept
    found = np.zeros(len(pairs))
    for pair in range(len(pairs)):
        one, one_end = starts[pairs[pair, 0]], ends[pairs[pair, 0]]
        other, other_end = starts[pairs[pair, 1]], ends[pairs[pair, 1]]
        union = one_end - one + other_end - other
        shared = 0
        while one < one_end and other < other_end:
            left, right = grams[one], grams[other]
            shared += left == right
            one += left <= right
            other += right <= left
        if union:
            found[pair] = shared / (union - shared)
    return found
