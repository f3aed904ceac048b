"""Near-duplicates among many texts: MinHash finds candidates, exact Jaccard decides.

Signatures are those of datasketch 2's affine32 scheme, bit for bit, made for all texts at once. Two
texts are candidates when all values of a band agree; with b bands of r values, texts of similarity s
are missed with probability (1 - s**r)**b. datasketch chooses bands to balance wrong and missed
candidates and finds 89 to 94% at .7; here wrong ones cost only a comparison, so `bands` takes the
longest band that misses at most one pair in a thousand.

Nothing depends on the order of the texts: what is found is a set of pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from coig_p.core.arrays import Index
from coig_p.dedup.shingles import (
    Hashes,
    Keys,
    Pairs,
    Shingles,
    fast_kernels,
    hash32,
    jaccard,
    shingles,
    sorted_unique,
    spread,
)
from coig_p.engine.local import Threads, in_order, threads
from coig_p.errors import UsageError

NUM_PERM = 128
_MISSED = 1e-3
_BUCKET = 64  # texts of which every pair is compared
TEXTS_AT_ONCE = 1 << 14
_TEXTS_SIDE_BY_SIDE = 512  # with 128 permutations a quarter of a MiB, which a core's cache holds
_GRAMS_AT_ONCE = 4096
_PAIRS_AT_ONCE = 1 << 12
APART = 0x9E3779B97F4A7C15  # odd, so that each group has a number of its own, and without pattern

Signatures = Hashes
BandKeys = Keys


@dataclass(frozen=True)
class Similar:
    """Pairs of similar texts (P x 2, the lower number first, ascending) and their exact Jaccard (P)."""

    pairs: Pairs
    similarity: npt.NDArray[np.float64]


def similar_pairs(
    texts: Sequence[str],
    threshold: float,
    n: int,
    *,
    num_perm: int = NUM_PERM,
    seed: int = 1,
    groups: Index | None = None,
    num_proc: int | None = 1,
) -> Similar:
    """Pairs of different texts whose n-grams have a Jaccard similarity of at least the threshold.

    Args:
        texts: T comparison forms, different within a group; empty ones are similar to nothing.
        groups: T; only texts of one group are compared. Default: all are of one.
        num_proc: threads, at least two; None for as many as there are cores, up to eight.
    """
    cut, workers = bands(threshold, num_perm), threads(num_proc)
    keys = np.empty((cut[0], len(texts)), np.uint64)
    small = np.empty((len(texts), num_perm), np.uint8)

    def sign(low: int) -> None:
        piece = slice(low, low + TEXTS_AT_ONCE)
        keys[:, piece], small[piece] = signed(texts[piece], cut, n, num_perm, seed)
        if groups is not None:
            keys[:, piece] ^= groups[piece].astype(np.uint64) * np.uint64(APART)

    for _ in in_order(sign, range(0, len(texts), TEXTS_AT_ONCE), workers):
        pass
    filled = np.fromiter(map(len, texts), np.int64, len(texts)) > 0
    candidates = _candidates(keys, small, filled, threshold, workers)
    if groups is not None:
        candidates = candidates[groups[candidates[:, 0]] == groups[candidates[:, 1]]]
    similarity = jaccard(texts, candidates, n)
    right = similarity >= threshold
    return Similar(candidates[right], similarity[right])


def signed(
    texts: Sequence[str], cut: tuple[int, int], n: int, num_perm: int, seed: int
) -> tuple[BandKeys, npt.NDArray[np.uint8]]:
    """Of T texts the keys of their bands (bands x T), and eight bits of each value of their signatures (T x K).

    Args:
        cut: see `bands`.
    """
    found = signatures(shingles(texts, n), num_perm, seed)
    return _band_keys(found, cut), found.astype(np.uint8)


def check_settings(threshold: float, n: int, seed: int, num_perm: int = NUM_PERM) -> None:
    """Raise UsageError where texts cannot be compared with these."""
    if not 0 < threshold <= 1:
        raise UsageError(f"threshold={threshold!r}: use a number above 0, up to 1")
    if n < 1:
        raise UsageError(f"n={n!r}: use a whole number of 1 or more")
    if not 2 <= num_perm <= 1024:
        raise UsageError(f"num_perm={num_perm!r}: use a whole number from 2 to 1024")
    if not 0 <= seed < 2**32:  # what numpy takes, which draws the permutations
        raise UsageError(f"seed={seed!r}: use a whole number from 0 to 4294967295")


def bands(threshold: float, num_perm: int = NUM_PERM) -> tuple[int, int]:
    """How many bands, and how many values in each."""
    for rows in range(num_perm, 1, -1):
        if (1 - threshold**rows) ** (num_perm // rows) <= _MISSED:
            return num_perm // rows, rows
    return num_perm, 1


def signatures(found: Shingles, num_perm: int = NUM_PERM, seed: int = 1) -> Signatures:
    """T x num_perm minima, as datasketch's MinHash has them; all ones for a text without grams."""
    factors, offsets = _permutations(num_perm, seed)
    hashed = _mixed(hash32(found.grams))
    kernels = fast_kernels()
    if kernels is not None:
        return np.asarray(kernels.minima(hashed, found.starts, factors, offsets))
    return _minima(hashed, found.starts, factors, offsets)


def _minima(hashed: Hashes, starts: Index, factors: Hashes, offsets: Hashes) -> Signatures:
    # Texts of about one length side by side: the minimum over their first grams, then their second, ...
    sizes = np.diff(starts)
    result = np.full((len(sizes), len(factors)), 0xFFFFFFFF, np.uint32)
    longest_first = np.argsort(-sizes, kind="stable")
    long = int(np.count_nonzero(sizes > _GRAMS_AT_ONCE))
    for text in longest_first[:long]:
        for low in range(starts[text], starts[text + 1], _GRAMS_AT_ONCE):
            values = hashed[low : min(low + _GRAMS_AT_ONCE, starts[text + 1])]
            lowest = (values * factors[:, None] + offsets[:, None]).min(axis=1)
            np.minimum(result[text], lowest, out=result[text])
    column, shift = np.ascontiguousarray(factors[:, None]), np.ascontiguousarray(offsets[:, None])
    for low in range(long, len(sizes), _TEXTS_SIDE_BY_SIDE):
        texts = longest_first[low : low + _TEXTS_SIDE_BY_SIDE]
        lowest = np.full((len(factors), len(texts)), 0xFFFFFFFF, np.uint32)
        values = np.empty_like(lowest)
        for at in range(sizes[texts[0]]):
            still = int(np.searchsorted(-sizes[texts], -at, "left"))  # texts with a gram here
            here = values[:, :still]
            np.multiply(column, hashed[starts[texts[:still]] + at], out=here)
            np.add(here, shift, out=here)
            np.minimum(lowest[:, :still], here, out=lowest[:, :still])
        result[texts] = lowest.T
    return result


@cache
def _permutations(num_perm: int, seed: int) -> tuple[Signatures, Signatures]:
    from datasketch import MinHash

    factors, offsets = MinHash(num_perm=num_perm, seed=seed, scheme="affine32").permutations
    return factors, offsets


def _mixed(values: Hashes) -> Hashes:
    """MurmurHash3's 32-bit finalizer, which affine32 applies before its permutations."""
    values = values ^ (values >> np.uint32(16))
    values = values * np.uint32(0x85EBCA6B)
    values = values ^ (values >> np.uint32(13))
    values = values * np.uint32(0xC2B2AE35)
    return values ^ (values >> np.uint32(16))


def _band_keys(found: Signatures, cut: tuple[int, int]) -> BandKeys:
    """Bands x T: equal where all values of a band are."""
    number, rows = cut
    kernels = fast_kernels()
    if kernels is not None:
        return np.asarray(kernels.band_keys(found, number, rows))
    cells = found[:, : number * rows].reshape(len(found), number, rows)
    key = np.zeros((len(found), number), np.uint64)
    for at in range(rows):
        key = (key ^ cells[:, :, at]) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
    return np.ascontiguousarray(key.T)


def _candidates(
    keys: BandKeys,
    small: npt.NDArray[np.uint8],
    filled: npt.NDArray[np.bool_],
    threshold: float,
    workers: Threads | None = None,
) -> Pairs:
    """Pairs of texts that share a band and whose signatures do not speak against them, ascending."""
    bits = bits_of(len(filled))

    def of_band(band: Keys) -> Keys:
        pairs = pairs_of_band(band, filled)
        return pairs[promising(small, unpacked(pairs, bits), threshold)]

    return unpacked(sorted_unique(np.concatenate([pairs for _, pairs in in_order(of_band, keys, workers)])), bits)


def bits_of(number: int) -> int:
    """How many bits hold the number of any of so many texts."""
    return max(1, number.bit_length())


def pairs_of_band(band: Keys, filled: npt.NDArray[np.bool_] | None = None) -> Keys:
    """Pairs of texts with equal keys, as (one << bits_of(len(band))) | other, in no order.

    Args:
        band: each text's key, up to 2**32 of them.
        filled: those that count; default all.
    """
    bits = np.uint64(bits_of(len(band)))
    kernels = fast_kernels()
    right = np.ones(len(band), bool) if filled is None else filled
    if kernels is not None:
        right = right & kernels.may_repeat(band)
    keys, texts = band[right], np.flatnonzero(right).astype(np.uint64)
    order = np.argsort(keys)
    keys, texts = keys[order], texts[order]
    # Each different key by its number, which with the text fits into 64 bits: one more sort orders both.
    same = keys[1:] == keys[:-1]
    again = np.append(same, False) | np.append(False, same) if len(keys) else np.zeros(0, bool)
    number = np.cumsum(np.append(True, ~same)[again], dtype=np.uint64) if len(keys) else keys
    return _pairs_of_equal(np.sort((number << bits) | texts[again]), int(bits))


def unpacked(pairs: Keys, bits: int) -> Pairs:
    """Pairs that are packed into one number each, as P x 2."""
    return np.stack([pairs >> np.uint64(bits), pairs & np.uint64((1 << bits) - 1)], axis=1).astype(np.int64)


def _pairs_of_equal(key: Keys, bits: int) -> Keys:
    """Pairs of texts with equal keys, as (one << bits) | other.

    In a bucket of many, each text with the first and with the next alone: the chain keeps together
    what belongs together.
    """
    low_half = np.uint64((1 << bits) - 1)
    text, upper = key & low_half, key >> np.uint64(bits)
    begin = np.flatnonzero(np.append(True, upper[1:] != upper[:-1])) if len(key) else np.zeros(0, np.int64)
    size = np.diff(np.append(begin, len(key)))
    pairs = []
    small = np.flatnonzero((size > 1) & (size <= _BUCKET))
    # Of a bucket of s the first text pairs with s - 1 others, the second with s - 2, ...
    place = spread(begin[small], size[small])
    after = np.repeat(begin[small] + size[small], size[small]) - place - 1
    pairs.append((text[np.repeat(place, after)] << np.uint64(bits)) | text[spread(place + 1, after)])
    large = np.flatnonzero(size > _BUCKET)
    rest = spread(begin[large] + 1, size[large] - 1)
    first = np.repeat(begin[large], size[large] - 1)
    pairs.append((text[first] << np.uint64(bits)) | text[rest])
    pairs.append((text[rest - 1] << np.uint64(bits)) | text[rest])
    return np.concatenate(pairs)


def promising(small: npt.NDArray[np.uint8], candidates: Pairs, threshold: float) -> npt.NDArray[np.bool_]:
    """Candidates whose signatures do not speak against them.

    The share of equal values estimates the similarity s with a standard deviation of
    sqrt(s (1 - s) / K); one at the threshold falls five of them short once in three million.
    Eight bits of a value are enough here: by chance equal ones only raise the estimate.
    """
    number = small.shape[1]
    least = number * threshold - 5 * math.sqrt(number * threshold * (1 - threshold))
    kernels = fast_kernels()
    if kernels is not None:
        return np.asarray(kernels.agree(small, candidates, math.ceil(least)))
    right = np.zeros(len(candidates), bool)
    for low in range(0, len(candidates), _PAIRS_AT_ONCE):
        one, other = candidates[low : low + _PAIRS_AT_ONCE].T
        right[low : low + _PAIRS_AT_ONCE] = (small[one] == small[other]).sum(axis=1, dtype=np.int64) >= least
    return right
