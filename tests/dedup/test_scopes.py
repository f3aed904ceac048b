"""Near-duplicates across stores, within a query, and by meaning."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import make_store, twin
from strategies import examples

from coig_p.core.normalize import comparison_form
from coig_p.dedup.clusters import Queries
from coig_p.dedup.queries import DedupConfig, dedup_store, find_duplicates, read_queries, summary
from coig_p.dedup.responses import ResponseConfig, dedup_responses, find_similar_responses, response_summary
from coig_p.dedup.semantic import (
    Cached,
    SemanticConfig,
    find_semantic_duplicates,
    load_embedder,
    similar_vectors,
    unit_vectors,
)
from coig_p.errors import DataError, UsageError
from coig_p.store.store import Store


def grams(text: str, n: int) -> set[str]:
    form = comparison_form(text)
    return {form[at : at + n] for at in range(len(form) - n + 1)} or ({form} if form else set())


# ---------------------------------------------------------------------------------------------
# Across stores


def test_queries_that_an_earlier_release_has_go(tmp_path: Path) -> None:
    rows = twin()
    old = [row | {"query_id": f"old-{row['query_id']}", "query": f"{row['query']}！"} for row in rows[4:6]]
    new, before = make_store(tmp_path / "new", rows), make_store(tmp_path / "old", old)
    store = Store.open(new)
    queries = read_queries(store, against=[Store.open(before)])
    found = find_duplicates(queries, DedupConfig(threshold=0.9))
    assert [(row["query_id"], row["survivor"]) for row in found.to_pylist()] == [
        (f"old:old-{rows[4]['query_id']}", f"old:old-{rows[4]['query_id']}"),
        (rows[4]["query_id"], f"old:old-{rows[4]['query_id']}"),
        (f"old:old-{rows[5]['query_id']}", f"old:old-{rows[5]['query_id']}"),
        (rows[5]["query_id"], f"old:old-{rows[5]['query_id']}"),
    ]
    assert summary(found, queries).to_dict() == {
        **{"queries": len(rows), "clusters": 2, "largest": 2, "duplicates": 2},
        "by_domain": dict(sorted({rows[4]["domain"]: 0, rows[5]["domain"]: 0}.items()))
        | {
            domain: sum(row["domain"] == domain for row in rows[4:6]) for domain in {row["domain"] for row in rows[4:6]}
        },
    }
    against = [Store.open(before)]
    left = dedup_store(store, tmp_path / "left", DedupConfig(threshold=0.9), found, against=against)
    assert left.lost.rows == 2
    listed = pq.read_table(tmp_path / "left/duplicates.parquet").to_pylist()
    assert [(row["text"], row["survivor_text"]) for row in listed[1::2]] == [
        (row["query"], f"{row['query']}！") for row in rows[4:6]
    ]
    assert {one for batch in left.store.batches() for one in batch.column("query_id").to_pylist()} == {
        row["query_id"] for row in rows if row not in rows[4:6]
    }


def test_likeness_among_the_others_alone_is_not_reported(tmp_path: Path) -> None:
    rows = twin()
    old = [row | {"query": "别处重复出现的同一个问题是什么？"} for row in rows[:3]]
    store, before = (Store.open(make_store(tmp_path / name, some)) for name, some in (("a", rows), ("b", old)))
    assert find_duplicates(read_queries(store, against=[before]), DedupConfig(threshold=0.9)).num_rows == 0


# ---------------------------------------------------------------------------------------------
# Within a query


def copied() -> list[dict[str, Any]]:
    rows = twin()
    text = rows[0]["responses"][0]["text"]
    rows[0]["responses"][2]["text"] = f"{text}！！"
    rows[0]["responses"][3]["text"] = f"{text}。另外，祝您愉快。" if len(text) > 60 else text
    rows[1]["responses"][0]["text"] = text  # the same words to another query are no duplicate
    return rows


def test_answers_that_another_model_gave_as_well(tmp_path: Path) -> None:
    rows = copied()
    store = Store.open(make_store(tmp_path / "store", rows))
    config = ResponseConfig(threshold=0.8)
    found = find_similar_responses(store, config)
    wanted = []
    for row in rows:
        texts = [grams(response["text"], 5) for response in row["responses"]]
        wanted += [
            (row["query_id"], row["responses"][one]["model"], row["responses"][other]["model"])
            for other in range(len(texts))
            for one in range(other)
            if len(texts[one] & texts[other]) / len(texts[one] | texts[other]) >= 0.8
        ]
    text = [response["text"] for response in rows[0]["responses"]]
    for row in found.to_pylist():
        assert (row["text"], row["survivor_text"]) == (text[row["response"]], text[row["survivor_response"]])
        stays = row["response"] == row["survivor_response"]
        same = row["text"].rstrip("！") == row["survivor_text"].rstrip("！")
        assert row["match"] == (None if stays else "exact" if same else "near")
    assert {query for query, _, _ in wanted} == {row["query_id"] for row in found.to_pylist()} == {rows[0]["query_id"]}
    names = {row["model"] for row in found.to_pylist()}
    assert names == {model for _, one, other in wanted for model in (one, other)}
    most = min(
        (response for response in rows[0]["responses"] if response["model"] in names),
        key=lambda response: (-len(response["scores"]), response["model"]),
    )
    assert {row["survivor"] for row in found.to_pylist()} == {most["model"]}
    left = dedup_responses(store, tmp_path / "left", config, found)
    assert left.lost.responses == len(names) - 1 == response_summary(store, found).duplicates
    kept = {row["query_id"]: row for batch in left.store.batches() for row in batch.to_pylist()}
    assert {response["model"] for response in kept[rows[0]["query_id"]]["responses"]} == {
        response["model"] for response in rows[0]["responses"]
    } - (names - {most["model"]})
    assert kept[rows[1]["query_id"]] == rows[1]
    assert pq.read_table(tmp_path / "left/duplicates.parquet").equals(found)
    assert left.store.verify() == []
    options = json.loads((tmp_path / "left/manifest.json").read_text("utf-8"))["options"]
    assert options["dedup_responses"]["dropped"] == {"similar-response": left.lost.to_dict()}
    again = Store.open(make_store(tmp_path / "cut", rows, rows_per_shard=5))
    assert find_similar_responses(again, config).equals(found)


def test_an_answer_that_is_like_the_one_that_stays_by_way_of_another_says_so(tmp_path: Path) -> None:
    rows = twin()[:1]
    text = "先看条件，再看问题，最后一步一步地把答案算出来，写清楚每一步的理由。"
    for at, response in enumerate(rows[0]["responses"]):
        response["text"] = text[at * 6 :] + "这道题就做完了，可以检查一遍，还可以再换一种办法。"[: at * 6]
    found = find_similar_responses(Store.open(make_store(tmp_path / "store", rows)), ResponseConfig(threshold=0.5))
    placed = {row["response"]: row for row in found.to_pylist()}
    assert {at: (row["match"], row["through"]) for at, row in placed.items()} == {
        3: (None, None),
        2: ("near", None),
        1: ("near", "responses[2]"),
        0: ("near", "responses[1]"),
    }
    assert placed[0]["similarity"] < placed[1]["similarity"] < 0.5 <= placed[2]["similarity"]


def test_of_samples_that_are_alike_the_first_stays(tmp_path: Path) -> None:
    rows = twin()
    answers = rows[2]["responses"]
    for at, sample in ((0, 1), (1, 0), (2, 2)):
        answers[at] |= {"model": "lan", "sample": sample, "text": f"这是同一个模型给出的几乎相同的回答{'。' * at}"}
    store = Store.open(make_store(tmp_path / "store", rows))
    config = ResponseConfig(threshold=0.9)
    found = find_similar_responses(store, config)
    assert [(row["response"], row["survivor"], row["survivor_response"]) for row in found.to_pylist()] == [
        (0, "lan", 1),
        (1, "lan", 1),
        (2, "lan", 1),
    ]
    assert response_summary(store, found).duplicates == 2
    left = dedup_responses(store, tmp_path / "left", config, found)
    kept = {row["query_id"]: row for batch in left.store.batches() for row in batch.to_pylist()}
    assert [(one["model"], one["sample"]) for one in kept["q-02"]["responses"]] == [("lan", 0), ("ju", 0)]


# ---------------------------------------------------------------------------------------------
# By meaning


def embed(texts: Sequence[str]) -> Any:
    """Bags of characters: enough to be near for what is near."""
    found = np.zeros((len(texts), 64), np.float32)
    for row, text in enumerate(texts):
        for letter in text:
            found[row, ord(letter) % 64] += 1
    return found


TEXTS = st.lists(st.text(st.sampled_from("甲乙丙丁戊"), max_size=8), min_size=1, max_size=9)


@examples(100)
@given(TEXTS, st.sampled_from([0.5, 0.85, 0.99]))
def test_every_pair_above_the_threshold_is_found(texts: list[str], threshold: float) -> None:
    vectors = unit_vectors(texts, embed)
    found = set(map(tuple, similar_vectors(vectors, threshold).tolist()))
    cosine = vectors @ vectors.T
    every = {(one, other) for other in range(len(texts)) for one in range(other)}
    assert {pair for pair in every if cosine[pair] > threshold + 1e-6} <= found
    assert found <= {pair for pair in every if cosine[pair] > threshold - 1e-6}


def test_beyond_what_is_compared_exactly_faiss_finds_nearly_all() -> None:
    pytest.importorskip("faiss", reason="faiss is not installed")
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(1500, 32))
    near = np.repeat(centres, 2, axis=0) + rng.normal(scale=0.1, size=(3000, 32))
    vectors = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    exact = set(map(tuple, similar_vectors(vectors, 0.85).tolist()))
    found = set(map(tuple, similar_vectors(vectors, 0.85, exact_up_to=100).tolist()))
    assert len(exact) >= 1400
    assert found <= exact
    assert len(found) >= 0.9 * len(exact)


ROWS = ["如何学习数学", "学习数学如何", "数学学习如何？", "红烧肉怎么做", "今天天气好", "？！", "……"]


def semantic(texts: Sequence[str], seed: int = 1) -> Any:
    ids = [f"q{ROWS.index(text)}" for text in texts]
    queries = Queries(ids, ["chat"] * len(texts), list(map(comparison_form, texts)), [1] * len(texts))
    return find_semantic_duplicates(queries, SemanticConfig(seed=seed), embed)


def test_what_means_the_same_is_one_cluster_and_the_seed_draws_who_stays() -> None:
    found = semantic(ROWS).to_pylist()
    assert {row["query_id"] for row in found} == {"q0", "q1", "q2"}
    assert {row["method"] for row in found} == {"semantic"}
    assert [row["similarity"] for row in found] == pytest.approx([1, 1, 1])
    assert len({semantic(ROWS, seed).to_pylist()[0]["survivor"] for seed in range(20)}) == 3


@examples(20)
@given(st.permutations(ROWS))
def test_order_says_nothing(texts: list[str]) -> None:
    assert semantic(texts).equals(semantic(ROWS))


def test_a_vector_is_asked_for_once(tmp_path: Path) -> None:
    asked: list[str] = []

    def counting(texts: Sequence[str]) -> Any:
        asked.extend(texts)
        return embed(texts)

    first = Cached(counting, "some/model", tmp_path)(["甲", "乙", "甲"])
    second = Cached(counting, "some/model", tmp_path)(["乙", "丙", "甲"])
    assert sorted(asked) == sorted(["甲", "乙", "丙"])
    assert first.tolist() == embed(["甲", "乙", "甲"]).tolist()
    assert second.tolist() == embed(["乙", "丙", "甲"]).tolist()
    Cached(counting, "another/model", tmp_path)(["甲"])
    assert asked.count("甲") == 2


@pytest.mark.parametrize("wrong", [lambda texts: np.zeros(3), lambda texts: np.full((len(texts), 2), np.nan)])
def test_an_embedder_that_gives_no_vectors_is_an_error(wrong: Any) -> None:
    with pytest.raises(DataError, match="one finite vector each"):
        unit_vectors(["甲"], wrong)


def test_models_are_sentence_transformers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(UsageError, match=r"pip install 'coig-p\[semantic\]'"):
        load_embedder("any")

    class Transformer:
        def __init__(self, name: str) -> None:
            if name != "here":
                raise OSError(f"{name} is not a local folder\nand more")

        def encode(self, texts: list[str], **_: Any) -> Any:
            return embed(texts)

    monkeypatch.setitem(sys.modules, "sentence_transformers", SimpleNamespace(SentenceTransformer=Transformer))
    assert load_embedder("here")(["甲乙"]).tolist() == embed(["甲乙"]).tolist()
    with pytest.raises(UsageError, match=r"^there cannot be loaded: there is not a local folder$"):
        load_embedder("there")


def test_a_million_random_bits_of_order_change_nothing() -> None:
    rng = random.Random(5)
    texts = ["".join(rng.choice("甲乙丙丁戊己庚辛壬癸") for _ in range(12)) for _ in range(300)]
    vectors = unit_vectors(texts, embed)
    shuffled = list(range(300))
    rng.shuffle(shuffled)
    there = similar_vectors(vectors[shuffled], 0.85)
    back = {tuple(sorted((shuffled[one], shuffled[other]))) for one, other in there.tolist()}
    assert back == set(map(tuple, similar_vectors(vectors, 0.85).tolist()))
