"""Vectors by blocks: what is found is what all vectors at once give, and they are never all in memory."""

from __future__ import annotations

import hashlib
import sys
import tempfile
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from coig_p.dedup.clusters import Queries
from coig_p.dedup.semantic import Cached, SemanticConfig, _near_pairs, find_semantic_duplicates, unit_vectors
from coig_p.errors import DataError, UsageError

LETTERS = "甲乙丙"


def embed(texts: Sequence[str]) -> Any:
    """Bags of letters: 甲甲甲乙乙乙乙 and 甲 have a cosine of about .6, and many have that of others."""
    return np.array([[text.count(letter) for letter in LETTERS] for text in texts], np.float32)


def plain(queries: Queries, config: SemanticConfig) -> set[tuple[str, str, float]]:
    """Members, who stays for each, and their cosine, with all of it in memory: the slow, obvious way."""
    vectors = unit_vectors(queries.forms, embed).astype(np.float64) if queries.forms else np.zeros((0, 1))
    groups = queries.groups(config.merge)
    cosine = np.array([[(one * other).sum() for other in vectors] for one in vectors])
    clusters = [{at} for at, form in enumerate(queries.forms) if form]
    for one in range(len(vectors)):
        for other in range(one):
            same = queries.forms[one] == queries.forms[other]
            right = queries.forms[one] and queries.forms[other] and groups[one] == groups[other]
            if right and (same or cosine[one, other] > config.threshold):
                joined = [cluster for cluster in clusters if {one, other} & cluster]
                clusters = [cluster for cluster in clusters if cluster not in joined] + [set.union(*joined)]
    found = set()
    for cluster in clusters:
        if len(cluster) > 1:
            drawn = {at: hashlib.sha256(f"{config.seed}\0{queries.ids[at]}".encode()).digest() for at in cluster}
            stays = min(cluster, key=drawn.__getitem__)
            for at in cluster:
                same = queries.forms[at] == queries.forms[stays]
                found.add((queries.ids[at], queries.ids[stays], 1.0 if same else cosine[at, stays]))
    return found


@examples(60)
@given(
    st.lists(st.tuples(st.text(LETTERS, max_size=7), st.sampled_from(["", "tools"])), max_size=14),
    st.sampled_from([0.3, 0.6, 0.8, 0.9487, 0.99]),
    st.integers(1, 5),
)
def test_blocks_of_any_size_find_what_all_vectors_at_once_do(
    rows: list[tuple[str, str]], threshold: float, block: int
) -> None:
    ids, forms, settings = [f"q{at}" for at in range(len(rows))], [row[0] for row in rows], [row[1] for row in rows]
    queries = Queries(ids, ["chat"] * len(rows), forms, [1] * len(rows), settings=settings)
    config = SemanticConfig(threshold)
    found = find_semantic_duplicates(queries, config, embed, block=block)
    assert found.equals(find_semantic_duplicates(queries, config, embed))
    rows_found = zip(*(found.column(name).to_pylist() for name in ("query_id", "survivor", "similarity")), strict=True)
    assert set(rows_found) == plain(queries, config)


def numbered(size: int) -> Queries:
    return Queries([f"q{at}" for at in range(size)], ["chat"] * size, [f"{at:06}" for at in range(size)], [1] * size)


def pairwise(texts: Sequence[str], width: int = 2048) -> Any:
    """Random vectors, two by two alike."""
    found = [np.random.default_rng(int(text) // 2).random(width, np.float32) - 0.5 for text in texts]
    return np.array(found) + np.array([[int(text) % 2 / 10] for text in texts], np.float32)


def test_memory_goes_by_the_block_and_files_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    queries, whole = numbered(1600), 1600 * 2048 * 4  # bytes of all vectors, of which a block has a twentieth
    find_semantic_duplicates(numbered(4), SemanticConfig(), pairwise)  # what is imported
    tracemalloc.start()
    try:
        found = find_semantic_duplicates(queries, SemanticConfig(), pairwise, block=80)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.num_rows == 1600
    assert peak < 0.6 * whole
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_where_the_embedder_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def failing(texts: Sequence[str]) -> Any:
        return np.ones((len(texts), 3 if "000000" in texts else 4))

    with pytest.raises(DataError, match="vectors of 3 and of 4 numbers"):
        find_semantic_duplicates(numbered(10), SemanticConfig(), failing, block=4)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(OSError, match="none"):
        find_semantic_duplicates(numbered(10), SemanticConfig(), pairwise)


def test_indexes_of_blocks_find_what_one_index_does() -> None:
    pytest.importorskip("faiss", reason="faiss is not installed")
    vectors = unit_vectors([f"{at:06}" for at in range(2000)], lambda texts: pairwise(texts, 32))

    def found(bytes_indexed: int) -> list[tuple[int, ...]]:
        pieces = _near_pairs(vectors, 0.85, 256, bytes_indexed)
        return sorted({(one, other) for piece in pieces for one, other in piece.tolist()})

    every = [(at, at + 1) for at in range(0, 2000, 2)]
    assert set(found(1 << 30)) <= set(every)
    assert len(found(1 << 30)) >= 0.95 * len(every)
    assert len(found(1 << 16)) >= 0.9 * len(every)  # four indexes, whose lists fewer vectors draw
    assert set(found(1 << 16)) <= set(every)


def test_beyond_what_is_compared_exactly_faiss_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UsageError, match=r"10 queries.*coig-p\[semantic\]"):
        find_semantic_duplicates(numbered(10), SemanticConfig(), pairwise, exact_up_to=9)


def test_of_a_cache_little_is_in_memory_and_older_files_are_taken_over(tmp_path: Path) -> None:
    asked: list[str] = []

    def counting(texts: Sequence[str]) -> Any:
        asked.extend(texts)
        return pairwise(texts, 512)

    texts = [f"{at:06}" for at in range(1200)]
    cached = Cached(counting, "some/model", tmp_path)
    for low in range(0, 1200, 100):
        cached(texts[low : low + 100])
    tracemalloc.start()
    try:
        again = Cached(counting, "some/model", tmp_path)
        given = [again(texts[low : low + 100]) for low in (1100, 50, 0)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1200 * 512 * 4 / 2  # bytes of all vectors; three batches and what is read for them take a third
    assert len(asked) == 1200
    assert given[1].tolist() == pairwise(texts[50:150], 512).tolist()
    # One file, as it was written before.
    pieces = sorted(tmp_path.glob("*.parquet"))
    whole = pa.concat_tables([pq.read_table(piece) for piece in pieces])
    for piece in pieces:
        piece.unlink()
    pq.write_table(whole, tmp_path / f"{pieces[0].name.partition('-')[0]}.parquet")
    older = Cached(counting, "some/model", tmp_path)
    assert older(texts[50:150]).tolist() == given[1].tolist()
    assert len(asked) == 1200
    with pytest.raises(DataError, match=r"vectors of 4 and of 512 numbers. Remove the files"):
        Cached(lambda new: np.ones((len(new), 4)), "some/model", tmp_path)(["000001", "new"])
    sorted(tmp_path.glob("*.parquet"))[0].write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"parquet: not a cache of vectors that can be read"):
        Cached(counting, "some/model", tmp_path)
