"""What makes vectors of texts: a model of sentence-transformers, with a cache of what it gave."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from coig_p.core.atomic import atomic_file
from coig_p.errors import DataError, UsageError

Vectors = npt.NDArray[np.float32]
Embed = Callable[[Sequence[str]], Any]
_OF_A_FILE = 4096  # vectors


def load_embedder(model: str, cache: Path | None = None) -> Embed:
    """A sentence-transformers model as an embedder; with `cache`, a folder that keeps vectors by content.

    Raises:
        UsageError: sentence-transformers is not installed, or there is no such model.
        DataError: a file of the cache cannot be read.
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
    """An embedder that asks another one only for texts it has not seen; what it has is in Parquet files, by content.

    Each file has what was asked for at a time. Of each vector in it 16 bytes are in memory: the beginning of its
    text's SHA-256, and where it lies.
    """

    def __init__(self, embed: Embed, name: str, folder: Path) -> None:
        """Look at what is there.

        Raises:
            DataError: a file cannot be read.
        """
        self.embed, self.folder = embed, folder
        self.name = hashlib.sha256(name.encode()).hexdigest()[:16]
        self.files: list[Path] = []
        self._begins, self._places = np.zeros(0, np.uint64), np.zeros(0, np.int64)  # by the first, ascending
        for path in sorted(folder.glob(f"{self.name}-*.parquet")):
            for texts, _ in _read(path, ["text"]):
                self._know(path, texts)
        whole = folder / f"{self.name}.parquet"  # as older versions wrote it, all in one
        if whole.is_file():
            for texts, vectors in _read(whole, ["text", "vector"]):
                self._write(texts, vectors)
            whole.unlink(missing_ok=True)

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """T x D vectors, those that are new asked for and kept.

        Raises:
            DataError: a file cannot be read, or has vectors of another length than the embedder's.
            OSError: a file cannot be written.
        """
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        known = self._known(keys)
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if new:
            found = np.asarray(self.embed(list(new.values())), np.float32)
            if found.ndim != 2 or len(found) != len(new) or not np.isfinite(found).all():
                return found  # who asked says what is wrong with it
            lengths = {found.shape[1], *map(len, known.values())}
            if len(lengths) > 1:
                told = " and of ".join(map(str, sorted(lengths)))
                raise DataError(
                    f"{self.folder}: {self.name}-*.parquet and the model: vectors of {told} numbers. Remove the files"
                )
            self._write(list(new), found)
            known |= zip(new, found, strict=True)
        return np.stack([known[key] for key in keys])

    def _known(self, keys: Sequence[bytes]) -> dict[bytes, Any]:
        begins = _begins(keys)
        at = np.searchsorted(self._begins, begins)
        there = np.flatnonzero(at < len(self._begins))
        there = there[self._begins[at[there]] == begins[there]]
        wanted = {keys[one] for one in there.tolist()}
        found: dict[bytes, Any] = {}
        for file in np.unique(self._places[at[there]]).tolist():
            for texts, vectors in _read(self.files[file], ["text", "vector"]):
                found |= ((text, one) for text, one in zip(texts, vectors, strict=True) if text in wanted)
        return found

    def _know(self, path: Path, keys: Sequence[bytes]) -> None:
        begins = np.sort(_begins(keys))
        if not self.files or self.files[-1] != path:
            self.files.append(path)
        at = np.searchsorted(self._begins, begins)
        self._begins = np.insert(self._begins, at, begins)
        self._places = np.insert(self._places, at, len(self.files) - 1)

    def _write(self, keys: Sequence[bytes], vectors: Vectors) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self.name}-{hashlib.sha256(b''.join(keys)).hexdigest()[:16]}.parquet"
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        with atomic_file(path) as stream:
            pq.write_table(pa.table({"text": pa.array(keys, pa.binary(32)), "vector": column}), stream)
        self._know(path, keys)


def _begins(keys: Sequence[bytes]) -> npt.NDArray[np.uint64]:
    return np.frombuffer(b"".join(keys), np.uint64)[::4].astype(np.uint64)


def _read(path: Path, columns: list[str]) -> Iterator[tuple[list[bytes], Vectors]]:
    """Keys and vectors of a file, some at a time; of vectors none where they are not asked for."""
    try:
        with pq.ParquetFile(path.absolute()) as file:
            for batch in file.iter_batches(_OF_A_FILE, columns=columns):
                texts = batch.column("text").to_pylist()
                vectors = np.zeros((0, 1), np.float32)
                if "vector" in columns:
                    vectors = batch.column("vector").flatten().to_numpy().reshape(len(texts), -1)
                yield texts, vectors
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise DataError(f"{path}: not a cache of vectors that can be read ({error}): remove it") from None
