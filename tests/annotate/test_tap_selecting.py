"""Which responses are compared: vectors of texts, clusters against every partition, and who of a cluster stays."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from coig_p.annotate.tap import embedding
from coig_p.annotate.tap.embedding import Vectors, embed_ngrams, embedder, unit
from coig_p.annotate.tap.selecting import Response, choose, cluster
from coig_p.errors import UsageError

pytest.importorskip("sklearn", reason="grouping responses needs scikit-learn: pip install 'coig-p[tap]'")


def partitions(items: list[int], most: int) -> Iterator[list[list[int]]]:
    """Every way to put items into at most so many groups."""
    if not items:
        yield []
        return
    for groups in partitions(items[1:], most):
        for at in range(len(groups)):
            yield [*groups[:at], [items[0], *groups[at]], *groups[at + 1 :]]
        if len(groups) < most:
            yield [[items[0]], *groups]


def spread(points: Vectors, weights: Vectors, group: list[int]) -> float:
    centre = np.average(points[group], axis=0, weights=weights[group])
    return float((weights[group] * ((points[group] - centre) ** 2).sum(axis=1)).sum())


def best_partition(points: Vectors, weights: Vectors, clusters: int) -> tuple[float, list[list[int]]]:
    """The groups with the smallest sum of squared distances to their centroids, of all that there are."""
    every = partitions(list(range(len(points))), clusters)
    return min(
        ((sum(spread(points, weights, one) for one in groups), groups) for groups in every), key=lambda one: one[0]
    )


def points_of(number: int, dimensions: int, seed: int) -> Vectors:
    return unit(np.random.default_rng(seed).normal(size=(number, dimensions)))


@pytest.mark.parametrize("seed", range(12))
def test_clusters_are_those_of_the_best_of_all_partitions(seed: int) -> None:
    rng = random.Random(seed)
    number, clusters = rng.randint(4, 8), rng.randint(2, 4)
    points = points_of(number, rng.choice([2, 3, 8]), seed)
    weights = np.array([rng.choice([1, 1, 1, 2, 3]) for _ in range(number)], np.float64)
    label = cluster(points, weights, clusters)
    groups = [np.flatnonzero(label == one).tolist() for one in np.unique(label)]
    least, wanted = best_partition(points, weights, clusters)
    assert sum(spread(points, weights, one) for one in groups) == pytest.approx(least, abs=1e-9)
    assert sorted(map(sorted, groups)) == sorted(map(sorted, wanted))


@pytest.mark.parametrize("seed", range(8))
def test_of_each_cluster_the_nearest_stays_or_the_anchors_own(seed: int) -> None:
    points = points_of(8, 3, 100 + seed)
    responses = [Response(f"model-{at}", f"text {at}") for at in range(8)]
    _, groups = best_partition(points, np.ones(8), 3)
    for anchor in (None, "model-0", "model-5", "nobody"):
        wanted = []
        for group in groups:
            centre = points[group].mean(axis=0)
            away = {at: float(((points[at] - centre) ** 2).sum()) for at in group}
            near = [at for at in group if away[at] <= min(away.values()) + 1e-9]
            own = [at for at in group if responses[at].model == anchor]
            wanted.append((own or sorted(near, key=lambda at: responses[at].model))[0])
        assert choose(responses, points, 3, anchor) == sorted(wanted)


@examples(30)
@given(order=st.permutations(range(12)), copies=st.lists(st.sampled_from(range(9)), min_size=3, max_size=3))
def test_no_order_of_responses_changes_who_stays(order: list[int], copies: list[int]) -> None:
    texts = [f"甲乙丙{'丁戊己庚辛壬癸子丑'[at]}{at}" * 5 for at in range(9)]
    responses = [Response(f"model-{at:02}", text) for at, text in enumerate([*texts, *(texts[at] for at in copies)])]
    kept = [responses[at] for at in choose(responses, embed_ngrams([one.text for one in responses]), 4, "model-04")]
    turned = [responses[at] for at in order]
    found = [turned[at] for at in choose(turned, embed_ngrams([one.text for one in turned]), 4, "model-04")]
    assert found == kept
    assert len({one.text for one in kept}) == len(kept) <= 4
    assert "model-04" in {one.model for one in kept}


def test_fewer_distinct_texts_are_fewer_clusters_and_copies_are_one() -> None:
    responses = [Response(f"m{at}", text) for at, text in enumerate(["一", "二", "一", "三", "二", "一"])]
    vectors = embed_ngrams([one.text for one in responses])
    assert [responses[at] for at in choose(responses, vectors, 5)] == [
        Response("m0", "一"), Response("m1", "二"), Response("m3", "三"),
    ]  # fmt: skip
    # A copy is the anchor's where it is among them.
    assert [responses[at].model for at in choose(responses, vectors, 5, anchor="m5")] == ["m1", "m3", "m5"]
    assert [responses[at].model for at in choose(responses, vectors, 5, anchor="m4")] == ["m0", "m3", "m4"]
    assert choose(responses[:1], vectors[:1], 5) == [0]
    assert choose([], embed_ngrams([]), 5) == []
    same = [Response("b", "一"), Response("a", "一")]
    assert choose(same, embed_ngrams(["一", "一"]), 5) == [1]


def test_texts_of_one_vector_are_one_cluster() -> None:
    responses = [Response(f"m{at}", f"text {at}") for at in range(7)]
    vectors = np.array([[1.0, 0.0]] * 4 + [[0.0, 1.0]] * 3)
    assert choose(responses, vectors, 5) == [0, 4]  # no warning, and no cluster without a response


def test_copies_pull_their_centroid() -> None:
    points = np.array([[0.0, 1.0], [0.1, 0.9], [0.3, 0.7], [1.0, 0.0]])
    texts = ["a", "b", "c", "d"]
    alone = [Response(f"m{at}", text) for at, text in enumerate(texts)]
    assert [alone[at].text for at in choose(alone, points, 2)] == ["b", "d"]
    many = [*alone, *(Response(f"n{at}", "c") for at in range(9))]
    assert [many[at].text for at in choose(many, np.concatenate([points, points[[2] * 9]]), 2)] == ["c", "d"]


def test_vectors_of_ngrams_are_a_truncated_decomposition() -> None:
    from sklearn.decomposition import TruncatedSVD

    rng = random.Random(2)
    texts = ["".join(rng.choices("天地玄黄宇宙洪荒日月盈昃", k=30)) for _ in range(50)]
    counts = np.zeros((50, 4096))
    for at, text in enumerate(texts):
        columns, values = embedding._counts(text)  # type: ignore[attr-defined]
        assert np.linalg.norm(values) == pytest.approx(1)
        counts[at, columns] = values
    wanted = unit(TruncatedSVD(32, algorithm="arpack", random_state=0).fit_transform(counts))
    found = embed_ngrams(texts)
    assert found.shape == (50, 32)
    assert np.allclose(found @ found.T, wanted @ wanted.T, atol=1e-4)  # the same but for signs
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-4)


def test_alike_texts_are_near_and_equal_ones_equal() -> None:
    texts = [
        "今天天气很好，适合出去走走。",
        "今天天气真好，适合出去走走。",
        "矩阵的秩等于它的行秩。",
        "今天天气很好，适合出去走走。",
        "a",
    ]
    vectors = embed_ngrams(texts)
    assert (vectors[0] == vectors[3]).all()
    assert vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[2]
    assert np.isfinite(embed_ngrams(["", "一", "\ud800"])).all()
    assert embed_ngrams(["一"]).shape == (1, 1)


def test_what_embeds_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert embedder("ngrams") is embed_ngrams
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
    with pytest.raises(UsageError, match=r"coig-p\[semantic\]"):
        embedder("sentence-transformers:x")
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    with pytest.raises(UsageError, match=r"coig-p\[tap\]"):
        embedder("ngrams")


def test_sentence_transformers_of_any_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    class Model:
        def __init__(self, name: str) -> None:
            if name != "here":
                raise OSError("no such model")

        def encode(self, texts: list[str], show_progress_bar: bool) -> Any:
            assert texts == sorted(set(texts))
            return np.array([[len(text), 1.0] for text in texts], np.float32)

    module = type("module", (), {"SentenceTransformer": Model})
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", module)
    vectors = embedder("sentence-transformers:here")(["bb", "a", "bb"])
    assert (vectors[0] == vectors[2]).all()
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    with pytest.raises(UsageError, match=r"'gone' cannot be had .*no such model"):
        embedder("sentence-transformers:gone")
