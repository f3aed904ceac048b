"""Near-duplicates: signatures are datasketch's, similarities those of plain sets, order says nothing."""

from __future__ import annotations

import json
import random
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasketch import MinHash
from hypothesis import assume, given
from hypothesis import strategies as st
from make import Rows, completed, make_store, twin
from scipy.sparse import csr_array
from strategies import Row, examples, raw_rows

from coig_p.core.normalize import comparison_form
from coig_p.dedup import minhash
from coig_p.dedup import shingles as shingling
from coig_p.dedup.clusters import DUPLICATES, Queries, components
from coig_p.dedup.minhash import bands, signatures, similar_pairs
from coig_p.dedup.queries import DedupConfig, dedup_store, find_duplicates, read_queries, summary, with_texts
from coig_p.dedup.shingles import gram_hash, shingles
from coig_p.errors import UsageError
from coig_p.store.changes import Loss
from coig_p.store.store import Store
from coig_p.validation import check

TEXTS = st.lists(st.text(st.sampled_from("甲乙丙a1\U00020000"), max_size=14), max_size=8)


def grams(text: str, n: int) -> set[str]:
    """The n-grams of a text; of a shorter one, itself."""
    return {text[at : at + n] for at in range(len(text) - n + 1)} or ({text} if text else set())


def jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other) if one | other else 0.0


@pytest.fixture(params=["numpy", "numba"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Both ways of the inner loops, the compiled one where it is installed."""
    if request.param == "numba":
        kernels = pytest.importorskip("coig_p.dedup.kernels", reason="numba is not installed")
    else:
        kernels = None
    for module in (minhash, shingling):
        monkeypatch.setattr(module, "fast_kernels", lambda: kernels)
    return request.param


@pytest.mark.usefixtures("way")
@examples(100)
@given(TEXTS, st.sampled_from([1, 2, 3, 5]))
def test_signatures_are_those_of_datasketch(texts: list[str], n: int) -> None:
    found = signatures(shingles(texts, n), num_perm=32, seed=7)
    for text, signature in zip(texts, found, strict=True):
        slow = MinHash(num_perm=32, seed=7, scheme="affine32", hashfunc=partial(gram_hash, n=n))
        for gram in grams(text, n):
            slow.update(gram)
        assert signature.tolist() == slow.hashvalues.tolist()


@pytest.mark.usefixtures("way")
def test_a_text_longer_than_a_block_is_signed_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(3)
    texts = ["".join(rng.choice("甲乙丙丁戊己庚辛") for _ in range(size)) for size in (9, 700, 40, 5, 41, 300)]
    whole = signatures(shingles(texts, 3), num_perm=16)
    monkeypatch.setattr(minhash, "_GRAMS_AT_ONCE", 37)
    monkeypatch.setattr(minhash, "_TEXTS_SIDE_BY_SIDE", 2)
    assert signatures(shingles(texts, 3), num_perm=16).tolist() == whole.tolist()


@pytest.mark.usefixtures("way")
@examples(200)
@given(TEXTS, st.sampled_from([1, 2, 3, 5]))
def test_similarities_are_those_of_plain_sets(texts: list[str], n: int) -> None:
    pairs = [(one, other) for one in range(len(texts)) for other in range(one)]
    found = shingling.jaccard(texts, np.array(pairs, np.int64).reshape(-1, 2), n)
    assert found.tolist() == [jaccard(grams(texts[one], n), grams(texts[other], n)) for one, other in pairs]


@examples(100)
@given(TEXTS, st.sampled_from([0.3, 0.5, 0.7, 0.9, 1.0]))
def test_every_pair_found_is_similar_and_equal_sets_are_never_missed(texts: list[str], threshold: float) -> None:
    texts = sorted(set(texts))
    found = similar_pairs(texts, threshold, 2)
    sets = [grams(text, 2) for text in texts]
    for (one, other), similarity in zip(found.pairs.tolist(), found.similarity.tolist(), strict=True):
        assert one < other
        assert similarity == jaccard(sets[one], sets[other]) >= threshold
    same = {(a, b) for b in range(len(texts)) for a in range(b) if sets[a] == sets[b] != set()}
    assert same <= set(map(tuple, found.pairs.tolist()))


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
def test_bands_miss_at_most_one_pair_in_a_thousand(threshold: float) -> None:
    number, rows = bands(threshold)
    assert number * rows <= 128
    assert (1 - threshold**rows) ** number <= 1e-3


@pytest.mark.usefixtures("way")
def test_a_bucket_of_many_stays_one_cluster() -> None:
    texts = sorted(f"请问第{at:03d}次考试的成绩什么时候公布在学校的网站上面" for at in range(300))
    found = similar_pairs(texts, 0.5, 3)
    assert len(set(components(len(texts), found.pairs))) == 1
    assert similar_pairs([], 0.5, 3).pairs.shape == (0, 2)


def edited(text: str, rng: random.Random) -> str:
    kind = rng.randrange(5)
    if kind == 0:
        return "，".join([text[: len(text) // 2], text[len(text) // 2 :]]) + "？？"
    if kind == 1:
        return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)
    if kind == 2:
        return text + rng.choice(["谢谢", "呢", "啊，请问"])
    letters = list(text)
    for _ in range(max(1, len(text) // rng.choice([10, 20, 50]))):
        letters[rng.randrange(len(letters))] = rng.choice("的一是了我不人在他有")
    return "".join(letters)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("threshold", [0.7, 0.8])
def test_recall_and_precision_on_real_questions(threshold: float, shared_data: Path) -> None:
    rng = random.Random(int(threshold * 10))
    lines = (shared_data / "zh_queries.txt").read_text("utf-8").splitlines()
    questions = rng.sample([line for line in lines if 15 <= len(line) <= 120], 8000)
    questions += [edited(question, rng) for question in questions[:2000]]
    texts = sorted({comparison_form(question) for question in questions} - {""})
    found = similar_pairs(texts, threshold, 3)
    # The oracle: all pairs, by a product of sparse matrices of ones.
    numbers: dict[str, int] = {}
    cells = [(row, numbers.setdefault(gram, len(numbers))) for row, text in enumerate(texts) for gram in grams(text, 3)]
    rows, columns = np.array(cells).T
    matrix = csr_array((np.ones(len(cells), np.int32), (rows, columns)), shape=(len(texts), len(numbers)))
    shared = (matrix @ matrix.T).tocoo()
    sizes = np.asarray(matrix.sum(axis=1)).ravel()
    upper = shared.row < shared.col
    one, other, both = shared.row[upper], shared.col[upper], shared.data[upper]
    right = both / (sizes[one] + sizes[other] - both) >= threshold
    wanted = set(zip(one[right].tolist(), other[right].tolist(), strict=True))
    got = set(map(tuple, found.pairs.tolist()))
    assert len(wanted) > 500
    assert got <= wanted  # precision 1
    assert len(got) >= 0.99 * len(wanted)


# ---------------------------------------------------------------------------------------------
# Stores


def queries_of(rows: list[tuple[str, str, int]]) -> Queries:
    ids, texts, scored = zip(*rows, strict=True)
    return Queries(list(ids), ["chat"] * len(rows), list(map(comparison_form, texts)), list(scored))


@examples(60)
@given(raw_rows())
def test_what_is_read_of_a_store_is_what_its_rows_say(rows: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(make_store(Path(folder) / "store", rows))
        read = read_queries(store)
        stored = [row for batch in store.batches() for row in batch.to_pylist()]
    assert len(stored) == len(rows)
    assert read.ids == [row["query_id"] for row in stored]
    assert read.domains == [row["domain"] for row in stored]
    assert read.forms == [comparison_form(row["query"]) for row in stored]
    assert read.scored == [sum(bool(response["scores"]) for response in row["responses"]) for row in stored]


ROWS = [
    ("q4", "怎样才能学好高中数学这门课？", 2),
    ("q2", "怎樣才能學好高中數學這門課", 3),
    ("q9", "请问怎样才能学好高中数学这门课？", 3),
    ("q1", "红烧肉怎么做才好吃", 1),
    ("q3", "红烧肉，怎么做才好吃？？", 1),
    ("q5", "今天的天气怎么样", 9),
    ("q6", "？！", 1),
    ("q7", "……", 1),
    ("q8", "好", 1),
    ("q0", "好！", 0),
]


def test_clusters_and_survivors() -> None:
    found = find_duplicates(queries_of(ROWS), DedupConfig()).to_pylist()
    assert [(row["cluster"], row["query_id"], row["survivor"]) for row in found] == [
        *((0, one, "q1") for one in ("q1", "q3")),
        *((1, one, "q2") for one in ("q2", "q4", "q9")),
        *((2, one, "q8") for one in ("q8", "q0")),
    ]
    similarity = {row["query_id"]: row["similarity"] for row in found}
    wanted = jaccard(grams(comparison_form(ROWS[2][1]), 3), grams(comparison_form(ROWS[1][1]), 3))
    assert similarity == dict.fromkeys(["q1", "q3", "q2", "q4", "q8", "q0"], 1.0) | {"q9": wanted}
    assert summary(find_duplicates(queries_of(ROWS), DedupConfig()), queries_of(ROWS)).to_dict() == {
        **{"queries": 10, "clusters": 3, "largest": 3, "duplicates": 4, "by_domain": {"chat": 4}}
    }


@examples(50)
@given(st.permutations(ROWS), st.sampled_from([0.3, 0.7, 1.0]))
def test_order_says_nothing(rows: list[tuple[str, str, int]], threshold: float) -> None:
    config = DedupConfig(threshold=threshold)
    assert find_duplicates(queries_of(rows), config).equals(find_duplicates(queries_of(ROWS), config))


def doubled() -> Rows:
    rows = twin()
    again = [
        row | {"query_id": f"z-{row['query_id']}", "query": row["query"].replace("请", "請") + "！"} for row in rows[:6]
    ]
    again[0]["responses"] = [response | {"model": f"new-{response['model']}"} for response in again[0]["responses"]]
    again[0]["comparisons"] = [
        {"first": 0, "second": 3, "judge": "h", "dimension": "overall", "first_score": 1.0, "second_score": 0.0}
    ]
    again[1]["responses"] = again[1]["responses"][:2]
    return sorted(rows + again, key=lambda row: row["domain"])


def rows_of(store: Store) -> dict[str, dict[str, Any]]:
    return {row["query_id"]: row for batch in store.batches() for row in batch.to_pylist()}


@pytest.mark.parametrize("merge", [False, True])
def test_a_store_without_its_duplicates(merge: bool, tmp_path: Path) -> None:
    path = make_store(tmp_path / "store", doubled(), rows_per_shard=5)
    config = DedupConfig(threshold=0.9, merge=merge)
    store = Store.open(path)
    duplicates = find_duplicates(read_queries(store), config)
    found = [row for row in duplicates.to_pylist() if row["query_id"] != row["survivor"]]
    assert {row["query_id"]: row["survivor"] for row in found} == {f"z-q-0{at}": f"q-0{at}" for at in range(6)}
    written = dedup_store(store, tmp_path / "new", config, duplicates)
    new, dropped = written.store, written.lost.to_dict()
    wanted = {row["query_id"]: row for row in twin()}
    lost = dict.fromkeys(("rows", "responses", "scores", "comparisons"), 0) | {"rows": 6, "responses": 22, "scores": 44}
    if merge:
        first = next(row for row in completed(doubled()) if row["query_id"] == "z-q-00")
        wanted["q-00"]["responses"] += first["responses"]
        wanted["q-00"]["comparisons"] = [first["comparisons"][0] | {"first": 4, "second": 7}]
        lost |= {"responses": 18, "scores": 36}
    else:
        lost["comparisons"] = 1
    assert rows_of(new) == wanted
    assert dropped == lost
    assert new.verify() == []
    assert check(new).passed
    listed = pq.read_table(tmp_path / "new/duplicates.parquet")
    assert listed.equals(with_texts(duplicates, store))
    assert listed.drop_columns(["text", "survivor_text"]).equals(duplicates.drop_columns(["text", "survivor_text"]))
    text = {row["query_id"]: row["query"] for row in doubled()}
    for row in listed.to_pylist():
        assert (row["text"], row["survivor_text"]) == (text[row["query_id"]], text[row["survivor"]])
        assert row["match"] == (None if row["query_id"] == row["survivor"] else "exact")
    options = json.loads((tmp_path / "new/manifest.json").read_text("utf-8"))["options"]["dedup"]
    assert options == {
        **{"threshold": 0.9, "n": 3, "num_perm": 128, "seed": 1, "merge": merge, "method": "minhash", "dropped": lost}
    }
    again = make_store(tmp_path / "shuffled", sorted(doubled(), key=lambda row: (row["domain"], row["query"])))
    assert find_duplicates(read_queries(Store.open(again)), config).equals(duplicates)
    assert find_duplicates(read_queries(new), config).num_rows == 0
    with pytest.raises(UsageError, match="pass --overwrite"):
        dedup_store(store, tmp_path / "new", config, duplicates)
    with pytest.raises(UsageError, match="is the store itself"):
        dedup_store(store, path, config, duplicates, overwrite=True)


def test_a_domain_of_nothing_but_duplicates_is_counted_and_the_manifest_adds_up(tmp_path: Path) -> None:
    rows = [row | {"domain": "poems"} if row["query_id"].startswith("z-") else row for row in doubled()]
    store = Store.open(make_store(tmp_path / "store", sorted(rows, key=lambda row: row["domain"])))
    config = DedupConfig(threshold=0.9)
    written = dedup_store(store, tmp_path / "new", config, find_duplicates(read_queries(store), config))
    new, dropped = written.store, written.lost
    assert "poems" not in new.manifest.domains
    assert (dropped.rows, dropped.responses) == (6, 22)
    nothing = find_duplicates(read_queries(new), config)
    again = dedup_store(new, tmp_path / "again", config, nothing)
    assert again.lost == Loss()
    assert again.store.manifest.options["dedup"]["dropped"] == dropped.to_dict()


@pytest.mark.parametrize("option", [{"threshold": 0}, {"threshold": 1.1}, {"n": 0}, {"num_perm": 1}, {"seed": -1}])
def test_options_that_cannot_be(option: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(option))):
        DedupConfig(**option)


def test_an_empty_table_has_its_columns(tmp_path: Path) -> None:
    found = find_duplicates(queries_of(ROWS[5:6]), DedupConfig())
    assert found.schema == DUPLICATES == find_duplicates(queries_of(ROWS), DedupConfig()).schema
    assert found.num_rows == 0
    assert with_texts(found, Store.open(make_store(tmp_path / "store", twin()))) is found


CHAIN = st.lists(st.tuples(st.text("甲乙丙", min_size=4, max_size=8), st.sampled_from("abc")), max_size=9)


@examples(200)
@given(CHAIN, st.sampled_from([0.3, 0.5, 0.7]))
def test_each_that_goes_says_why(texts: list[tuple[str, str]], threshold: float) -> None:
    asked = [(f"{kind}{at}", text) for at, (text, kind) in enumerate(texts)]
    form = dict(asked)
    different = sorted(set(form.values()))
    alike = [
        [one, other]
        for one in range(len(different))
        for other in range(one + 1, len(different))
        if jaccard(grams(different[one], 2), grams(different[other], 2)) >= threshold
    ]
    assume(similar_pairs(different, threshold, 2).pairs.tolist() == alike)  # it may miss one in a thousand
    queries = Queries(list(form), ["chat"] * len(form), list(form.values()), [0] * len(form))
    rows = find_duplicates(queries, DedupConfig(threshold=threshold, n=2)).to_pylist()
    survivor = {row["query_id"]: row["survivor"] for row in rows}

    def steps(one: str, stays: str) -> int:
        """How many likenesses lie between two queries, at least."""
        reached, frontier, number = {one}, {one}, 0
        while not any(form[at] == form[stays] for at in frontier):
            grown = {
                at
                for at in form
                if at not in reached
                and any(jaccard(grams(form[at], 2), grams(form[near], 2)) >= threshold for near in frontier)
            }
            assert grown
            reached, frontier, number = reached | grown, grown, number + 1
        return number

    for row in rows:
        one, stays = row["query_id"], row["survivor"]
        if one == stays:
            assert (row["match"], row["through"]) == (None, None)
            continue
        assert row["match"] == ("exact" if form[one] == form[stays] else "near")
        assert (row["through"] is None) == (form[one] == form[stays] or row["similarity"] >= threshold)
        if row["through"] is not None:
            assert survivor[row["through"]] == stays
            assert jaccard(grams(form[one], 2), grams(form[row["through"]], 2)) >= threshold
            assert steps(row["through"], stays) == steps(one, stays) - 1
