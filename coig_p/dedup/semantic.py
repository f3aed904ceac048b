"""Queries that mean the same: cosine similarity of sentence vectors (COIG-P, section 3.1: above .85).

    forms -> vectors, in a file as they are made -> two blocks of them at a time -> pairs, in a file -> clusters

The embedder is any function from texts to vectors; `load_embedder` makes one of a
sentence-transformers model and keeps its vectors by content. Up to 200,000 queries every pair is
compared, block by block; beyond, faiss's inverted lists find candidates, about 97% of them, a block of the vectors
indexed at a time. The exact cosine decides, so that blocks of any size find the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from coig_p.core.arrays import Floats, Index
from coig_p.dedup.clusters import Queries, as_clusters, different, joined
from coig_p.dedup.embedders import Cached, Embed, Vectors, load_embedder
from coig_p.dedup.shingles import Pairs, spread
from coig_p.engine.scratch import read_pieces, scratch_folder, write_pieces, write_rows
from coig_p.errors import DataError, UsageError

__all__ = [
    "BLOCK",
    "EXACT_UP_TO",
    "Cached",
    "Embed",
    "SemanticConfig",
    "Vectors",
    "find_semantic_duplicates",
    "load_embedder",
    "similar_vectors",
    "unit_vectors",
]
EXACT_UP_TO = 200_000
BLOCK = 2048
"""Vectors that are compared with as many others at a time."""
_INDEXED = 256 << 20  # bytes of vectors in one index of faiss, and of those that it is trained on
_OF_A_LIST = 39  # vectors that faiss wants for each list that it is trained for
_NEIGHBOURS = 64
_BATCH = 4096
_NUMBERS_AT_ONCE = 1 << 18
_PAIRS = pa.schema([("one", pa.int64()), ("other", pa.int64())])


@dataclass(frozen=True)
class SemanticConfig:
    """What counts as meaning the same.

    Attributes:
        threshold: two queries are alike when their vectors' cosine is above it.
        seed: of the draw who of a cluster survives, as in the paper; a query from elsewhere always does.
        merge: append the duplicates' responses to the survivor rather than drop them.
    """

    method: ClassVar[str] = "semantic"

    threshold: float = 0.85
    seed: int = 1
    merge: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise UsageError(f"threshold={self.threshold!r}: use a number between 0 and 1")


def find_semantic_duplicates(
    queries: Queries, config: SemanticConfig, embed: Embed, *, block: int = BLOCK, exact_up_to: int = EXACT_UP_TO
) -> pa.Table:
    """Clusters of queries that mean the same, as a table of DUPLICATES; similarity is the cosine.

    Args:
        block: vectors that are read at a time, and compared with as many; what is found is the same with any.
        exact_up_to: see `similar_vectors`.

    Raises:
        DataError: the embedder gives other than one finite vector a text, or vectors of several lengths.
        OSError: files cannot be written, as where the disk is full; names one.
    """
    # Each form of a group once, in one order: the result cannot depend on that of the queries.
    forms, form_of = different(queries.forms)
    keys, text_of = np.unique(queries.groups(config.merge) * max(len(forms), 1) + form_of, return_inverse=True)
    blank = int(forms[:1] == [""])  # without a letter or digit: like no other
    with scratch_folder() as folder:
        vectors = _InFile.written(folder / "vectors", _unit_vectors(forms[blank:], embed, min(2 * block, _BATCH)))
        found = (pairs + blank for pairs in _similar(vectors, config.threshold, block, exact_up_to))
        texts = _Texts(keys, len(forms))
        alike = _Alike.written(folder / "alike.arrow", map(texts.of_forms, found))
        cluster = joined(len(keys), alike)[text_of]

        def drawn(at: int) -> bytes:
            return hashlib.sha256(f"{config.seed}\0{queries.ids[at]}".encode()).digest()

        def cosine(one: Index, other: Index) -> Floats:
            pairs = np.stack([form_of[one], form_of[other]], axis=1) - blank
            return np.asarray(np.where(text_of[one] == text_of[other], 1.0, _cosines(vectors, vectors, pairs)))

        return as_clusters(queries, cluster, drawn, cosine, config.method, alike, text_of)


class _InFile:
    """T x D vectors in a file: of an array what is used here, so that either will do. No page of it stays mapped."""

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        self.path, self.shape = path, shape

    @classmethod
    def written(cls, path: Path, pieces: Iterable[Vectors]) -> _InFile:
        return cls(path, write_rows(path, pieces))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Index) -> Vectors:
        if isinstance(rows, slice) and rows.step is None:
            begin, end, _ = rows.indices(len(self))
            size = 4 * self.shape[1]
            flat = np.fromfile(self.path, np.float32, (end - begin) * self.shape[1], offset=begin * size)
            return flat.reshape(-1, self.shape[1])
        whole = np.memmap(self.path, np.float32, "r", shape=self.shape) if len(self) else np.zeros(self.shape)
        return np.array(whole[rows], np.float32)


@dataclass(frozen=True)
class _Texts:
    """Texts by the forms that they have: a form is there once for each group.

    Attributes:
        keys: of each text its group and form, group * forms + form, ascending.
    """

    keys: Index
    forms: int

    def of_forms(self, pairs: Pairs) -> Pairs:
        """The pairs of texts of one group whose forms are a pair."""
        if len(self.keys) == 0 or self.keys[-1] < self.forms:  # one group
            return pairs
        group, form = np.divmod(self.keys, self.forms)
        order = np.argsort(form, kind="stable")
        begins = np.searchsorted(form[order], np.arange(self.forms + 1))
        held = np.diff(begins)[pairs[:, 0]]
        one = order[spread(begins[pairs[:, 0]], held)]
        key = group[one] * self.forms + np.repeat(pairs[:, 1], held)
        other = np.minimum(np.searchsorted(self.keys, key), len(self.keys) - 1)
        return np.asarray(np.stack([one, other], axis=1)[self.keys[other] == key])


@dataclass(frozen=True)
class _Alike:
    """Pairs in a file, which are read piece by piece as often as they are looked at."""

    path: Path

    @classmethod
    def written(cls, path: Path, pieces: Iterable[Pairs]) -> _Alike:
        batches = (pa.record_batch(list(map(pa.array, pairs.T)), schema=_PAIRS) for pairs in pieces if len(pairs))
        write_pieces(path, _PAIRS, batches)
        return cls(path)

    def __iter__(self) -> Iterator[Pairs]:
        for batch in read_pieces(self.path):
            yield np.stack([column.to_numpy() for column in batch.columns], axis=1)


def unit_vectors(texts: Sequence[str], embed: Embed) -> Vectors:
    """T x D vectors of length 1."""
    return np.concatenate([np.zeros((0, 1), np.float32), *_unit_vectors(texts, embed)][1 if len(texts) else 0 :])


def _unit_vectors(texts: Sequence[str], embed: Embed, at_once: int = _BATCH) -> Iterator[Vectors]:
    width = None
    for low in range(0, len(texts), at_once):
        piece = texts[low : low + at_once]
        found = np.asarray(embed(piece), np.float32)
        if found.ndim != 2 or len(found) != len(piece) or not np.isfinite(found).all():
            raise DataError(f"the embedder gave {found.shape} for {len(piece)} texts: one finite vector each is needed")
        if found.shape[1] != (width := width or found.shape[1]):
            raise DataError(
                f"the embedder gave vectors of {width} and of {found.shape[1]} numbers: one length is needed"
            )
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        yield np.asarray(found / np.where(lengths > 0, lengths, 1), np.float32)


def similar_vectors(vectors: Vectors, threshold: float, *, exact_up_to: int = EXACT_UP_TO, block: int = BLOCK) -> Pairs:
    """Pairs of unit vectors (P x 2, the lower number first) whose cosine is above the threshold.

    Raises:
        UsageError: more vectors than are compared exactly, and faiss is not installed.
    """
    found = _similar(vectors, threshold, block, exact_up_to)
    return np.unique(np.concatenate([np.zeros((0, 2), np.int64), *found]), axis=0)


def _similar(vectors: Vectors | _InFile, threshold: float, block: int, exact_up_to: int) -> Iterator[Pairs]:
    if len(vectors) <= exact_up_to:
        return _every_pair(vectors, threshold, block)
    return _near_pairs(vectors, threshold, block)


def _every_pair(vectors: Vectors | _InFile, threshold: float, block: int) -> Iterator[Pairs]:
    for low in range(0, len(vectors), block):
        left = vectors[low : low + block]
        for high in range(low, len(vectors), block):
            right = left if high == low else vectors[high : high + block]
            product = left @ right.T
            pairs = np.stack(np.nonzero(product > threshold - _slack(left)), axis=1)
            if high == low:
                pairs = pairs[pairs[:, 0] < pairs[:, 1]]
            yield _above(threshold, left, right, pairs, product[tuple(pairs.T)]) + np.array([low, high])


def _above(threshold: float, left: Vectors, right: Vectors | _InFile, pairs: Pairs, about: Vectors) -> Pairs:
    """Of pairs of rows those whose exact cosine is above the threshold.

    Args:
        about: their cosines as float32 has them, which depend on how many are multiplied at a time.
    """
    above = about > threshold
    unsure = np.flatnonzero(np.abs(about - threshold) <= _slack(left))
    above[unsure] = _cosines(left, right, pairs[unsure]) > threshold
    return pairs[above]


def _slack(vectors: Vectors) -> float:
    """By how much a product of unit vectors in float32 may be wrong, in whatever order it is added up."""
    return float((vectors.shape[1] + 4) * 2.0**-23)


def _cosines(left: Vectors | _InFile, right: Vectors | _InFile, pairs: Pairs) -> Floats:
    """Of pairs of rows, each in float64 and by itself."""
    found = np.zeros(len(pairs))
    at_once = 1 + _NUMBERS_AT_ONCE // left.shape[1]
    for low in range(0, len(pairs), at_once):
        one, other = pairs[low : low + at_once].T
        found[low : low + at_once] = (left[one].astype(np.float64) * right[other]).sum(axis=1)
    return found


def _near_pairs(vectors: Vectors | _InFile, threshold: float, block: int, indexed: int = _INDEXED) -> Iterator[Pairs]:
    try:
        import faiss
    except ImportError:
        raise UsageError(
            f"{len(vectors):,} queries are more than are compared pair by pair: pip install 'coig-p[semantic]'"
        ) from None
    size, width = vectors.shape
    rows = max(block, indexed // (4 * width))
    sample = vectors[np.arange(min(size, rows)) * size // min(size, rows)]
    lists = max(1, min(int(4 * np.sqrt(size)), len(sample) // _OF_A_LIST))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
    index.train(sample)
    del sample
    index.nprobe = max(8, lists // 16)
    for begin in range(0, size, rows):
        index.reset()
        for low in range(begin, min(size, begin + rows), block):
            index.add(vectors[low : min(begin + rows, low + block)])
        for low in range(0, size, block):
            left = vectors[low : low + block]
            about, place = index.search(left, _NEIGHBOURS)
            one, other = np.repeat(np.arange(len(left)), place.shape[1]), place.ravel()
            right = (about.ravel() > threshold - _slack(left)) & (other >= 0) & (one + low != other + begin)
            pairs = np.stack([one, other + begin], axis=1)[right]
            yield np.sort(_above(threshold, left, vectors, pairs, about.ravel()[right]) + np.array([low, 0]), axis=1)
