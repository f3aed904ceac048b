"""Near-duplicates among many texts: MinHash finds candidates, exact Jaccard decides.

Signatures are those of datasketch 2's affine32 scheme, bit for bit, made for all texts at once. Two
texts are candidates when all values of a band agree; with b bands of r values, texts of similarity s
are missed with probability (1 - s**r)**b. datasketch chooses bands to balance wrong and missed
candidates and finds 89 to 94% at .7; here wrong ones cost only a comparison, so `bands` takes the
longest band that misses at most one pair in a thousand.

Nothing depends on the order of the texts: what is found is a set of pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from coig_p.dedup.shingles import GramSets, Index, Shingles, hash32, shingles

NUM_PERM = 128
_MISSED = 1e-3
_BUCKET = 64  # texts of which every pair is compared
_TEXTS_AT_ONCE = 1 << 16

Signatures = npt.NDArray[np.uint32]


class Similar(NamedTuple):
    """Pairs of similar texts (P x 2, the lower number first, ascending) and their exact Jaccard (P)."""

    pairs: npt.NDArray[np.int64]
    similarity: npt.NDArray[np.float64]


def similar_pairs(
    texts: Sequence[str], threshold: float, n: int, *, num_perm: int = NUM_PERM, seed: int = 1
) -> Similar:
    """Pairs of different texts whose n-grams have a Jaccard similarity of at least the threshold.

    Args:
        texts: T different comparison forms; empty ones are similar to nothing.
    """
    found = shingles(texts, n)
    candidates = _candidates(signatures(found, num_perm, seed), np.diff(found.starts) > 0, bands(threshold, num_perm))
    similarity = GramSets.of(found).jaccard(candidates)
    right = similarity >= threshold
    return Similar(candidates[right], similarity[right])


def bands(threshold: float, num_perm: int = NUM_PERM) -> tuple[int, int]:
    """How many bands, and how many values in each."""
    for rows in range(num_perm, 1, -1):
        if (1 - threshold**rows) ** (num_perm // rows) <= _MISSED:
            return num_perm // rows, rows
    return num_perm, 1


def signatures(found: Shingles, num_perm: int = NUM_PERM, seed: int = 1) -> Signatures:
    """T x num_perm minima, as datasketch's MinHash has them; all ones for a text without grams."""
    number = len(found.starts) - 1
    result = np.full((number, num_perm), 0xFFFFFFFF, np.uint32)
    factors, offsets = _permutations(num_perm, seed)
    for low in range(0, number, _TEXTS_AT_ONCE):
        starts = found.starts[low : low + _TEXTS_AT_ONCE + 1]
        filled = np.flatnonzero(np.diff(starts) > 0)
        if not len(filled):
            continue
        hashed = _mixed(hash32(found.grams[starts[0] : starts[-1]]))
        begins = starts[filled] - starts[0]
        for at in range(num_perm):
            result[low + filled, at] = np.minimum.reduceat(hashed * factors[at] + offsets[at], begins)
    return result


@cache
def _permutations(num_perm: int, seed: int) -> tuple[Signatures, Signatures]:
    from datasketch import MinHash

    factors, offsets = MinHash(num_perm=num_perm, seed=seed, scheme="affine32").permutations
    return factors, offsets


def _mixed(values: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """MurmurHash3's 32-bit finalizer, which affine32 applies before its permutations."""
    values = values ^ (values >> np.uint32(16))
    values = values * np.uint32(0x85EBCA6B)
    values = values ^ (values >> np.uint32(13))
    values = values * np.uint32(0xC2B2AE35)
    return values ^ (values >> np.uint32(16))


def _candidates(found: Signatures, filled: npt.NDArray[np.bool_], cut: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Pairs of texts that share a band."""
    texts = np.flatnonzero(filled)
    number, rows = cut
    keys = np.zeros(0, np.int64)
    for band in range(number):
        values = found[texts, band * rows : (band + 1) * rows].astype(np.uint64)
        key = np.zeros(len(texts), np.uint64)
        for at in range(rows):
            key = (key ^ values[:, at]) * np.uint64(0x9E3779B97F4A7C15)
            key ^= key >> np.uint64(29)
        new = [(low << 32) | high for low, high in _pairs_of_equal(texts, key)]
        keys = np.unique(np.concatenate([keys, *new]))
    return np.stack([keys >> 32, keys & 0xFFFFFFFF], axis=1)


def _pairs_of_equal(texts: Index, key: npt.NDArray[np.uint64]) -> Iterator[tuple[Index, Index]]:
    """Every pair of texts with equal keys; in a large bucket each with the first and with the next alone."""
    order = np.argsort(key, kind="stable")
    texts, key = texts[order], key[order]
    begin = np.flatnonzero(np.append(True, key[1:] != key[:-1])) if len(key) else np.zeros(0, np.int64)
    size = np.diff(np.append(begin, len(key)))
    first = np.repeat(begin, size)
    small = np.repeat(size <= _BUCKET, size)
    here = np.arange(len(key))
    for step in range(1, min(_BUCKET, int(size.max(initial=0)))):
        low = here[: len(key) - step]
        together = (first[low] == first[low + step]) & (small[low] | (step == 1))
        if together.any():
            yield texts[low[together]], texts[low[together] + step]  # stable: the lower number first
    far = here[~small & (here > first)]
    yield texts[first[far]], texts[far]


def components(number: int, pairs: npt.NDArray[np.int64]) -> Index:
    """For each of `number` texts the smallest one that pairs connect it with, itself where none does."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(number, number))
    label = connected_components(graph, directed=False)[1]
    smallest = np.full(label.max(initial=-1) + 1, number, np.int64)
    np.minimum.at(smallest, label, np.arange(number))
    return np.asarray(smallest[label])
