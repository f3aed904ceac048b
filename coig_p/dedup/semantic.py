"""Queries that mean the same: cosine similarity of sentence vectors (COIG-P, section 3.1: above .85).

The embedder is any function from texts to vectors; `load_embedder` makes one of a
sentence-transformers model and keeps its vectors by content. Up to 200,000 queries every pair is
compared, block by block; beyond, faiss's inverted lists find candidates, about 97% of them, and the
exact cosine decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from coig_p.core.arrays import Floats, Index
from coig_p.core.atomic import atomic_file
from coig_p.dedup.clusters import Queries, as_clusters, components
from coig_p.dedup.shingles import Pairs
from coig_p.errors import DataError, UsageError

Vectors = npt.NDArray[np.float32]
Embed = Callable[[Sequence[str]], Any]
EXACT_UP_TO = 200_000
_BLOCK = 2048
_NEIGHBOURS = 64
_BATCH = 4096


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


def find_semantic_duplicates(queries: Queries, config: SemanticConfig, embed: Embed) -> pa.Table:
    """Clusters of queries that mean the same, as a table of DUPLICATES; similarity is the cosine.

    Raises:
        DataError: the embedder gives other than one finite vector a text.
    """
    # Each form of a group once, in one order: the result cannot depend on that of the queries.
    asked = list(zip(queries.groups(config.merge).tolist(), queries.forms, strict=True))
    texts = sorted({one for one in asked if one[1]})
    number = {text: at for at, text in enumerate(texts)}
    forms, form_of = np.unique(np.array([form for _, form in texts], object), return_inverse=True)
    vectors = unit_vectors(forms.tolist(), embed)[form_of]
    group = np.array([group for group, _ in texts], np.int64)
    similar = similar_vectors(vectors, config.threshold)
    similar = similar[group[similar[:, 0]] == group[similar[:, 1]]]
    label = components(len(texts), similar)
    # Queries without a letter or digit are like no other: numbers of their own, after all texts.
    place = np.array([number.get(one, len(texts)) for one in asked], np.int64)
    cluster = np.append(label, len(texts))[place]

    def drawn(at: int) -> bytes:
        return hashlib.sha256(f"{config.seed}\0{queries.ids[at]}".encode()).digest()

    def cosine(one: Index, other: Index) -> Floats:
        found = np.einsum("ij,ij->i", vectors[place[one]], vectors[place[other]], dtype=np.float64)
        return np.asarray(np.where(place[one] == place[other], 1.0, found))

    return as_clusters(queries, cluster, drawn, cosine, config.method, [similar], place)


def unit_vectors(texts: Sequence[str], embed: Embed) -> Vectors:
    """T x D vectors of length 1."""
    pieces = []
    for low in range(0, len(texts), _BATCH):
        piece = texts[low : low + _BATCH]
        found = np.asarray(embed(piece), np.float32)
        if found.ndim != 2 or len(found) != len(piece) or not np.isfinite(found).all():
            raise DataError(f"the embedder gave {found.shape} for {len(piece)} texts: one finite vector each is needed")
        pieces.append(found)
    vectors = np.concatenate(pieces) if pieces else np.zeros((0, 1), np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)


def similar_vectors(vectors: Vectors, threshold: float, *, exact_up_to: int = EXACT_UP_TO) -> Pairs:
    """Pairs of unit vectors (P x 2, the lower number first) whose cosine is above the threshold.

    Raises:
        UsageError: more vectors than are compared exactly, and faiss is not installed.
    """
    found = _every_pair(vectors, threshold) if len(vectors) <= exact_up_to else _near_pairs(vectors, threshold)
    return np.unique(np.concatenate([np.zeros((0, 2), np.int64), *found]), axis=0)


def _every_pair(vectors: Vectors, threshold: float) -> list[Pairs]:
    found = []
    for low in range(0, len(vectors), _BLOCK):
        for right in range(low, len(vectors), _BLOCK):
            one, other = np.nonzero(vectors[low : low + _BLOCK] @ vectors[right : right + _BLOCK].T > threshold)
            pairs = np.stack([one + low, other + right], axis=1)
            found.append(pairs[pairs[:, 0] < pairs[:, 1]])
    return found


def _near_pairs(vectors: Vectors, threshold: float) -> list[Pairs]:
    try:
        import faiss
    except ImportError:
        raise UsageError(
            f"{len(vectors):,} queries are more than are compared pair by pair: pip install 'coig-p[semantic]'"
        ) from None
    lists = max(1, int(4 * np.sqrt(len(vectors))))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    index.nprobe = max(1, lists // 16)
    found = []
    for low in range(0, len(vectors), _BLOCK):
        cosine, other = index.search(vectors[low : low + _BLOCK], _NEIGHBOURS)
        one = np.repeat(np.arange(low, low + len(other)), other.shape[1])
        pairs = np.stack([one, other.ravel()], axis=1)
        right = (cosine.ravel() > threshold) & (pairs[:, 1] >= 0) & (pairs[:, 0] != pairs[:, 1])
        found.append(np.sort(pairs[right], axis=1))
    return found


def load_embedder(model: str, cache: Path | None = None) -> Embed:
    """A sentence-transformers model as an embedder; with `cache`, a folder that keeps vectors by content.

    Raises:
        UsageError: sentence-transformers is not installed, or there is no such model.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise UsageError("sentence vectors need sentence-transformers: pip install 'coig-p[semantic]'") from None
    try:
        loaded = SentenceTransformer(model)
    except (OSError, ValueError) as error:
        raise UsageError(f"{model} cannot be loaded: {str(error).splitlines()[0]}") from None

    def embed(texts: Sequence[str]) -> Any:
        return loaded.encode(list(texts), convert_to_numpy=True, show_progress_bar=False)

    return embed if cache is None else Cached(embed, model, cache)


class Cached:
    """An embedder that asks another one only for texts it has not seen; what it has is in a Parquet file."""

    def __init__(self, embed: Embed, name: str, folder: Path) -> None:
        self.embed = embed
        self.path = folder / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.parquet"
        self.known: dict[bytes, Any] = {}
        if self.path.is_file():
            table = pq.read_table(self.path.absolute())
            vectors = table.column("vector").combine_chunks()
            stacked = vectors.values.to_numpy().reshape(len(vectors), -1)
            self.known = dict(zip(table.column("text").to_pylist(), stacked, strict=True))

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """T x D vectors, those that are new asked for and kept."""
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self.known}
        if new:
            self.known |= zip(new, np.asarray(self.embed(list(new.values())), np.float32), strict=True)
            self._write()
        return np.stack([self.known[key] for key in keys])

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        stacked = np.stack(list(self.known.values()))
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(stacked.ravel()), stacked.shape[1])
        table = pa.table({"text": pa.array(list(self.known), pa.binary(32)), "vector": vectors})
        with atomic_file(self.path) as stream:
            pq.write_table(table, stream)
