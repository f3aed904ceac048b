"""Vectors of a query's responses, by which they are grouped: one row a text, of length 1.

The default needs no model: counts of hashed character n-grams, brought to few dimensions by a truncated singular value
decomposition over the responses to one query. A sentence-transformers model may be used in its place.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from coig_p.core.arrays import mix
from coig_p.core.text import printable
from coig_p.errors import DataError, UsageError

Vectors = npt.NDArray[np.float64]
Embed = Callable[[Sequence[str]], Vectors]
"""From texts to vectors, a row each."""

NGRAMS = "ngrams"
_SENTENCES = "sentence-transformers"
_LONGEST = 3  # characters of an n-gram
_BUCKETS = 2**12  # that n-grams are hashed to
_DIMENSIONS = 32  # that are left of them
_DECIMALS = 6  # that are kept, so that the last bits of a processor decide nothing


def check_extra() -> None:
    """Raise UsageError where scikit-learn is not installed."""
    if "sklearn" in sys.modules:
        there = sys.modules["sklearn"] is not None
    else:
        there = find_spec("sklearn") is not None
    if not there:
        raise UsageError("grouping responses needs the extra: pip install 'coig-p[tap]'")


def embedder(embeddings: str) -> Embed:
    """What [select] embeddings names, where it is no endpoint.

    Raises:
        UsageError: it, or what it needs, cannot be had.
    """
    check_extra()
    if embeddings == NGRAMS:
        return embed_ngrams
    if embeddings.startswith(f"{_SENTENCES}:"):
        return _sentences(embeddings.partition(":")[2].strip())
    raise UsageError(f"select.embeddings = {embeddings!r}: use {NGRAMS!r}, or {_SENTENCES}:NAME")


def embed_ngrams(texts: Sequence[str]) -> Vectors:
    """Vectors of character n-grams, of up to `_LONGEST` characters.

    A gram that stands n times in a text counts 1 + ln n, in one of `_BUCKETS` columns; then come the first dimensions
    of the singular value decomposition of these texts: what scikit-learn's TruncatedSVD approximates, and of so few
    texts exact, of the eigenvectors of their products, in a tenth of its time. Equal texts have equal vectors.
    """
    distinct = sorted(set(texts))  # in one order: neither that of the texts nor copies change a vector
    counts = np.zeros((len(distinct), _BUCKETS))
    for at, text in enumerate(distinct):
        columns, values = _counts(text)
        counts[at, columns] = values
    with one_thread():
        squares, left = np.linalg.eigh(counts @ counts.T)
    first = slice(None, -_DIMENSIONS - 1, -1)  # the largest come last
    found = left[:, first] * np.sqrt(np.maximum(squares[first], 0))
    place = {text: at for at, text in enumerate(distinct)}
    return unit(found)[[place[text] for text in texts]]


def one_thread() -> AbstractContextManager[Any]:
    """Within it numeric libraries use one thread: a query is too small for more, which wait for each other on a busy
    machine a hundred times as long, and how many there are would change last bits."""
    limited: AbstractContextManager[Any] = _threads().limit(limits=1)
    return limited


@cache
def _threads() -> Any:
    import sklearn.cluster  # noqa: F401  # first, so that what it brings is known
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def unit(vectors: Vectors) -> Vectors:
    """The same, each of length 1 (or 0 where it has none), rounded; a new array."""
    length = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    return np.asarray(np.round(vectors / np.where(length > 0, length, 1), _DECIMALS) + 0.0)  # no -0.0


def _counts(text: str) -> tuple[npt.NDArray[np.int64], Vectors]:
    """The columns that a text has something in, ascending, and what: of length 1."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    grams = []
    running = np.zeros(len(points), np.uint64)
    for length in range(1, min(_LONGEST, len(points)) + 1):
        running = mix(running[: len(points) - length + 1] * np.uint64(31) + points[length - 1 :])
        grams.append(running ^ np.uint64(length))
    if not grams:
        return np.zeros(0, np.int64), np.zeros(0)
    columns, number = np.unique(np.concatenate(grams) % np.uint64(_BUCKETS), return_counts=True)
    counts = 1 + np.log(number)
    return columns.astype(np.int64), counts / np.sqrt((counts * counts).sum())


def _sentences(name: str) -> Embed:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise UsageError(
            f"select.embeddings: {_SENTENCES} is not installed: pip install 'coig-p[semantic]', or use {NGRAMS!r}"
        ) from None
    try:
        model = SentenceTransformer(name)
    except Exception as error:  # each of the libraries below it has errors of its own for a model that is not there
        words = printable(" ".join(f"{type(error).__name__}: {error}".split()))[:300]
        raise UsageError(f"select.embeddings: {name!r} cannot be had ({words}). Use {NGRAMS!r}") from None

    def embed(texts: Sequence[str]) -> Vectors:
        distinct = sorted(set(texts))
        found = np.asarray(model.encode(distinct, show_progress_bar=False), np.float64)
        if found.ndim != 2 or len(found) != len(distinct) or not np.isfinite(found).all():
            raise DataError(f"select.embeddings: {name} gave other than one finite vector for each text")
        place = {text: at for at, text in enumerate(distinct)}
        return unit(found)[[place[text] for text in texts]]

    return embed
