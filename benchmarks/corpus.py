"""A synthetic store of realistic size and shape for the benchmarks.

Lengths follow a log-normal law (median 600 Chinese characters a response), scores lie on
half points around a quality per model and query, so that threshold 2 gives about 15 pairs a query.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from coig_p.core.atomic import atomic_directory
from coig_p.schema import RAW_SCHEMA, RESPONSE_TYPE, SCORE_TYPE
from coig_p.store.manifest import Manifest
from coig_p.store.writing import Part, write_store

MODELS = 15
JUDGES = 8
_BATCH = 250


def make_store(
    path: Path, queries: int, seed: int = 0, rationale: int = 0, *, responses: int = MODELS, characters: int = 600
) -> None:
    """Write a store of `queries` queries x 15 responses, one judge's score each, domain "math".

    Args:
        rationale: characters of what a judge says to each score; the rest is the same whatever it is.
        responses: of each query.
        characters: of a response, in the middle.
    """
    with atomic_directory(path) as root:
        rows = _batches(queries, np.random.default_rng(seed), rationale, responses, characters)
        part = Part("math", "train", queries, rows)
        write_store(root, [part], Manifest(score_range=(1.0, 10.0), default_threshold=2.0, tool="benchmark"))


def _batches(
    queries: int, rng: np.random.Generator, rationale: int, of_each: int, characters: int
) -> Iterator[pa.RecordBatch]:
    # Words follow Zipf's law, as in prose, and no stretch of text is used twice: zstd then finds
    # repeated words but no repeated sentences.
    # Characters are those of everyday simplified Chinese, the first level of GB 2312.
    letters = np.array([bytes([row, cell]).decode("gb2312") for row in range(0xB0, 0xD7) for cell in range(0xA1, 0xFF)])
    words = np.array(["".join(rng.choice(letters, n)) for n in rng.integers(1, 5, 20_000)])
    words[10:12] = "，", "。"
    weights = 1 / np.arange(1, len(words) + 1)
    below = np.cumsum(weights / weights.sum())
    below /= below[-1]
    # Each word as its characters' numbers, and zeros behind them: to join as many strings of Python takes minutes.
    places = words.astype(words.dtype.newbyteorder("<")).view("<u4").reshape(len(words), -1)

    said = np.random.default_rng(rationale)

    def texts(n: int, median: float, spread: float, rng: np.random.Generator = rng) -> list[str]:
        lengths = np.clip(rng.lognormal(np.log(median), spread, n), 5, 4000).astype(int)
        drawn, prose = rng.random(int(lengths.sum())), ""
        while len(prose) < lengths.sum():  # words have a character or more
            some, drawn = np.split(drawn, [lengths.sum() // 5 + 1])
            numbers = places[below.searchsorted(some, side="right")]
            prose += numbers[numbers > 0].tobytes().decode("utf-32-le")
        ends = np.cumsum(lengths)
        return [prose[end - length : end - 1] + "。" for end, length in zip(ends, lengths, strict=True)]

    models = [f"model-{at:02d}" for at in range(of_each)]
    for begin in range(0, queries, _BATCH):
        n = min(_BATCH, queries - begin)
        responses = n * of_each
        quality = 6 + rng.normal(0, 1, (n, 1)) + rng.normal(0, 0.85, (n, of_each))
        score = np.clip(np.rint(quality * 2) / 2, 1, 10).ravel()
        judge = [f"judge-{at}" for at in rng.integers(0, JUDGES, responses)]
        scores = struct(
            SCORE_TYPE,
            judge=judge,
            dimension=["overall"] * responses,
            score=score,
            rationale=texts(responses, rationale, 0.2, said) if rationale else [None] * responses,
        )
        answers = struct(
            RESPONSE_TYPE,
            model=models * n,
            sample=np.zeros(responses, np.int32),
            text=texts(responses, characters, 0.8),
            extra=[None] * responses,
            scores=pa.ListArray.from_arrays(pa.array(np.arange(responses + 1, dtype=np.int32)), scores),
        )
        lists = pa.ListArray.from_arrays(pa.array(np.arange(n + 1, dtype=np.int32) * of_each), answers)
        columns: dict[str, pa.Array] = {
            "query_id": pa.array([f"m-{at:06d}" for at in range(begin, begin + n)]),
            "domain": pa.array(["math"] * n),
            "query": pa.array(texts(n, 60, 0.6)),
            "responses": lists.cast(RAW_SCHEMA.field("responses").type),
        }
        yield pa.record_batch(
            [columns.get(one.name, pa.nulls(n, one.type)) for one in RAW_SCHEMA],
            schema=RAW_SCHEMA,
        )


def struct(kind: pa.StructType, **columns: Any) -> pa.StructArray:
    """An array of a struct type from one column a field."""
    return pa.StructArray.from_arrays([pa.array(columns[one.name], one.type) for one in kind], fields=list(kind))
