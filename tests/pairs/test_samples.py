"""Several answers of one model to one query: each is drawn by itself, and a store without any is drawn as before."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from coig_p.core.arrays import hash64, mix
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import find_pairs, row_keys
from coig_p.pairs.labels import Responses
from coig_p.schema import RAW_SCHEMA


def batch_of(query_id: str, answers: list[tuple[str, int, float]]) -> pa.RecordBatch:
    responses: list[dict[str, Any]] = [
        {"model": model, "sample": sample, "text": f"{model}{sample}", "scores": [{"judge": "j", "score": score}]}
        for model, sample, score in answers
    ]
    return pa.RecordBatch.from_pylist([{"query_id": query_id, "query": "问", "responses": responses}], RAW_SCHEMA)


def drawn(batch: pa.RecordBatch, config: PairConfig) -> list[tuple[str, str]]:
    texts = [response["text"] for response in batch.column("responses").to_pylist()[0]]
    pairs = find_pairs(batch, config)
    return sorted((texts[one], texts[other]) for one, other in zip(pairs.chosen, pairs.rejected, strict=True))


@given(st.text(min_size=1), st.integers(0, 5), st.integers(0, 10**6))
def test_no_order_of_samples_changes_what_is_drawn(query_id: str, seed: int, order: int) -> None:
    answers = [("a", 0, 9.0), ("a", 1, 8.0), ("a", 2, 7.0), ("b", 0, 3.0), ("b", 1, 2.0), ("b", 2, 1.0)]
    config = PairConfig(threshold=2, max_pairs_per_query=2, seed=seed)
    found = drawn(batch_of(query_id, answers), config)
    random.Random(order).shuffle(answers)
    assert drawn(batch_of(query_id, answers), config) == found


def test_samples_have_keys_of_their_own_and_the_first_has_that_of_its_model() -> None:
    batch = batch_of("q", [("a", 0, 9), ("a", 1, 8), ("b", 0, 1)])
    keys = row_keys(batch, Responses.of(batch), "7", np.zeros(3, np.int64), np.arange(3))
    start = mix(np.array([hash64("q") ^ hash64("7")], np.uint64))
    first, second, other = (mix(start ^ np.uint64(hash64(model)))[0] for model in ("a", "a", "b"))
    assert (keys[0], keys[2]) == (first, other)
    assert keys[1] not in (second, other)
