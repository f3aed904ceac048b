"""The floor: features by a slow oracle, the fit by its slope, held-out numbers by hand, its folder as a scorer."""

from __future__ import annotations

import json
import math
import os
import random
import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run
from hypothesis import given
from hypothesis import strategies as st
from make import Rows, make_rows, make_store

from coig_p.core.arrays import mix
from coig_p.errors import DataError, UsageError
from coig_p.pairs.config import PairConfig
from coig_p.reward.batching import score_all
from coig_p.reward.bench.form import pairs_of
from coig_p.reward.bench.from_store import select_items
from coig_p.reward.descent import minimise
from coig_p.reward.made import LENGTH, MADE, MAJORITY, Accuracy, HeldOut, read_trained
from coig_p.reward.ngram import WEIGHTS, Examples, NgramScorer, Weights, fit
from coig_p.reward.ngram_training import CONSENSUS, UNSEEN_MODELS, WITH_CONSENSUS, NgramConfig, train_ngram
from coig_p.reward.scorer import EMPTY, Asked
from coig_p.reward.text_features import CHEAP, HEAD, NGRAMS, features
from coig_p.reward.training_pairs import read_training_pairs
from coig_p.store.store import Store

ANY = st.text(st.sampled_from("的是一二。，？！：#*-1 \n`a𠀀😀\ud800é（"), max_size=40)


def rows(number: int, *, rule: bool, seed: int = 0) -> Rows:
    """Queries with four responses, of which those that end in 。 are the better ones, or by chance."""
    drawn = random.Random(seed)
    found = []
    for at in range(number):
        responses = []
        for model in range(4):
            good = drawn.random() < 0.5
            text = "".join(drawn.choices("天地玄黄宇宙洪荒日月盈昃", k=drawn.randint(5, 40))) + ("。" if good else "")
            score = 9.0 * good if rule else float(drawn.randint(0, 9))
            responses.append(
                {"model": f"m{model}", "text": text, "scores": [{"judge": "j", "dimension": "overall", "score": score}]}
            )
        found.append({"query_id": f"q-{at:04d}", "domain": "chat", "query": f"问题{at}？", "responses": responses})
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.open(make_store(tmp_path_factory.mktemp("ngram") / "store", rows(240, rule=True)))


@pytest.fixture(scope="module")
def model(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("floor") / "floor"
    train_ngram(store, out)
    return out


def ngrams_of(text: str) -> Counter[int]:
    """Each hashed character and bigram of a text, counted one by one."""
    codes = [ord(one) for one in text[:HEAD]]
    keys = codes + [one << 21 | other | 1 << 42 for one, other in pairwise(codes)]
    return Counter(int(mix(np.array([key], np.uint64))[0]) % NGRAMS for key in keys)


@given(st.lists(st.tuples(ANY, ANY), max_size=5))
def test_features_are_each_counted_by_hand(asked: list[tuple[str, str]]) -> None:
    texts, prompts = [one for one, _ in asked], [other for _, other in asked]
    cheap, grams = features(texts, prompts)
    assert cheap.shape == (len(texts), len(CHEAP))
    assert grams.shape == (len(texts), NGRAMS)
    for at, (text, prompt) in enumerate(asked):
        own, theirs = ngrams_of(text), ngrams_of(prompt)
        length = math.sqrt(sum((1 + math.log(number)) ** 2 for number in own.values())) or 1
        row = grams[at].tocoo()
        assert dict(zip(row.col.tolist(), row.data.tolist(), strict=True)) == pytest.approx(
            {key: (1 + math.log(number)) / length for key, number in own.items()}, rel=1e-6
        )
        told = dict(zip(CHEAP, cheap[at].tolist(), strict=True))
        lines = re.split("[\n\r]", text)
        bigrams = {text[i : i + 2] for i in range(len(text) - 1)}
        runs = [len(found[0]) for found in re.finditer(r"(?s)(.)\1*", text)]
        filled = [line.strip() for line in text.split("\n") if line.strip()]
        expected = {
            "length": math.log1p(len(text)),
            "lines": math.log1p(len(lines)),
            "count_。": math.log1p(text.count("。")),
            "count_#": math.log1p(text.count("#")),
            "count_（）()": math.log1p(text.count("（")),
            "share_digit": text.count("1") / max(len(text), 1),
            "share_han": sum(text.count(one) for one in "的是一二𠀀") / max(len(text), 1),
            "bullet_lines": math.log1p(sum(line[:1] in ("-", "*") and line != "" for line in lines)),
            "ends_with_？?": float(text.endswith("？")),
            "begins_with_space": float(text[:1] in (" ", "\n") and text != ""),
            "distinct_characters": len(set(text)) / len(text) if text else 1,
            "distinct_bigrams": len(bigrams) / (len(text) - 1) if len(text) > 1 else 1,
            "longest_run": math.log1p(max(runs, default=0)),
            "repeated_lines": 1 - len(set(filled)) / len(filled) if filled else 0,
            "in_prompt": len(own.keys() & theirs.keys()) / max(len(own), 1),
        }
        assert {name: told[name] for name in expected} == pytest.approx(expected)


@given(st.lists(ANY, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_a_response_has_the_same_reward_alone_and_in_any_batch(texts: list[str], drawn: random.Random) -> None:
    weights = Weights(0.5, np.linspace(-1, 1, len(CHEAP)), np.linspace(-3, 3, NGRAMS))
    together = weights.rewards(Examples.of(texts, ["问？"] * len(texts)))
    for at in range(len(texts)):
        alone = weights.rewards(Examples.of([texts[at]], ["问？"]))
        assert together[at] == pytest.approx(alone[0], abs=1e-12)


def test_the_fit_is_where_the_slope_of_the_likelihood_is_0() -> None:
    texts = ["好。", "不好", "很好。", "差", "一二三。", "四五六"]
    examples = Examples.of(texts, [""] * 6)
    chosen, rejected = np.array([0, 2, 4, 1]), np.array([1, 3, 5, 3])
    fitted, _ = fit(examples, chosen, rejected, penalty=2.0, ngram_scale=1.5, at_rest=1e-13)
    reward = fitted.rewards(examples)
    assert reward.mean() == pytest.approx(0, abs=1e-9)
    push = 1 / (1 + np.exp(reward[chosen] - reward[rejected]))
    dense = np.asarray(examples.grams.todense(), float) * 1.5
    spread = examples.cheap.std(0)
    slope = push @ (dense[chosen] - dense[rejected])  # of the log-likelihood
    assert slope == pytest.approx(2.0 * fitted.grams / 1.5, abs=1e-5)
    known = spread > 1e-9
    cheap = (examples.cheap[chosen] - examples.cheap[rejected])[:, known] / spread[known]
    assert push @ cheap == pytest.approx(2.0 * (fitted.cheap * spread)[known], abs=1e-5)
    assert not fitted.cheap[~known].any()


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=12), st.integers(0, 999))
def test_descent_finds_the_least_of_a_bowl(curves: list[float], seed: int) -> None:
    drawn = np.random.default_rng(seed)
    curve, goal = np.array(curves), drawn.normal(size=len(curves))
    loss = lambda at: (float((curve * (at - goal) ** 2).sum()) / 2 + 1, curve * (at - goal))  # noqa: E731
    found = minimise(loss, np.zeros(len(curves)), steps=500, at_rest=0)
    assert np.sqrt(curve) * found == pytest.approx(np.sqrt(curve) * goal, abs=1e-5)


def test_descent_ends_where_it_begins_at_the_least() -> None:
    assert minimise(lambda at: (float(at @ at), 2 * at), np.zeros(3), steps=9, at_rest=0).tolist() == [0, 0, 0]


def test_a_planted_rule_is_learnt_and_stands_beside_the_baselines(model: Path, store: Store) -> None:
    trained = read_trained(model)
    assert trained.held_out is not None
    found = trained.held_out
    assert found.verdict == "signal"
    assert found.model.accuracy is not None
    assert found.model.accuracy > 0.95
    assert set(found.beside) == {LENGTH, MAJORITY, UNSEEN_MODELS, CONSENSUS, WITH_CONSENSUS}
    assert trained.training["data"] == {"queries": found.model.queries, "pairs": found.model.pairs}
    # The baselines by hand: of every pair once.
    taken = read_training_pairs(store, *_selected(store))
    longer = [
        len(item.responses[better].text) > len(item.responses[worse].text)
        for item in taken.items
        for better, worse in pairs_of(item)
    ]
    assert found.beside[LENGTH].accuracy == sum(longer) / len(longer)
    assert found.beside[LENGTH].pairs == found.model.pairs == len(longer)
    assert found.over_length.lift == pytest.approx(found.model.accuracy - sum(longer) / len(longer))


def test_of_random_labels_nothing_is_concluded(tmp_path: Path) -> None:
    for seed in range(3):
        store = Store.open(make_store(tmp_path / f"s{seed}", rows(210, rule=False, seed=seed)))
        held_out = train_ngram(store, tmp_path / f"m{seed}").held_out
        assert held_out is not None
        assert held_out.verdict == "none"
        assert held_out.model.low is not None
        assert held_out.model.high is not None
        assert held_out.model.low < 0.5 < held_out.model.high


def test_intervals_of_folds_are_wider_where_something_was_fitted() -> None:
    drawn = np.random.default_rng(0)
    query, difference, longer = np.repeat(np.arange(250), 4), drawn.normal(0.3, 1, 1000), drawn.normal(0, 1, 1000)
    partly = np.where(query < 100, longer, np.nan)
    once = HeldOut.of(query, difference, {LENGTH: longer, MAJORITY: partly}, "once")
    folded = HeldOut.of(query, difference, {LENGTH: longer, MAJORITY: partly}, "folds", folds=5)
    assert once.model == Accuracy.of(query, difference)
    assert once.beside[LENGTH] == folded.beside[LENGTH] == Accuracy.of(query, longer)
    assert once.beside[MAJORITY].pairs == folded.beside[MAJORITY].pairs == 400
    for one, other in [(once.model, folded.model), (once.beside[MAJORITY], folded.beside[MAJORITY])]:
        assert one.accuracy is not None
        assert one.low is not None
        assert other.low is not None
        assert other.accuracy == one.accuracy
        assert one.accuracy - other.low == pytest.approx(1.5 * (one.accuracy - one.low))  # sqrt(1 + 5 / 4)
    right = np.bincount(query, (difference > 0) * 1.0 - (longer > 0)) / 4
    lift, reach = right.mean(), 1.9695 * right.std(ddof=1) / 250**0.5
    assert (once.over_length.lift, once.over_length.low) == pytest.approx((lift, lift - reach), abs=1e-4)
    assert folded.over_length.low == pytest.approx(lift - 1.5 * reach, abs=1e-4)
    assert once.verdict == "signal"
    few = query < 150
    assert HeldOut.of(query[few], difference[few], {LENGTH: longer[few]}, "").verdict == "inconclusive"


def test_below_200_queries_it_is_inconclusive(tmp_path: Path) -> None:
    store = Store.open(make_store(tmp_path / "store", rows(150, rule=True)))
    held_out = train_ngram(store, tmp_path / "floor").held_out
    assert held_out is not None
    assert held_out.model.low is not None
    assert held_out.model.low > 0.9
    assert held_out.verdict == "inconclusive"


def test_a_store_of_one_query_holds_nothing_out(tmp_path: Path) -> None:
    store = Store.open(make_store(tmp_path / "store", rows(1, rule=False, seed=1)))
    assert train_ngram(store, tmp_path / "floor").held_out is None
    assert read_trained(tmp_path / "floor").held_out is None
    assert (
        run("reward", "train", tmp_path / "store", "--model", "builtin:ngram", "--out", tmp_path / "m").returncode == 0
    )


def test_order_and_shards_of_rows_change_no_byte_of_the_weights(tmp_path: Path) -> None:
    ordered = make_rows({"math": 30, "chat": 12})
    shuffled = ordered[::-1]
    found = []
    for number, (some, size) in enumerate([(ordered, 10), (shuffled, 7)]):
        store = Store.open(make_store(tmp_path / f"s{number}", some, rows_per_shard=size))
        trained = train_ngram(store, tmp_path / f"m{number}", config=NgramConfig(max_responses=100))
        found.append(((tmp_path / f"m{number}" / WEIGHTS).read_bytes(), trained.held_out))
    assert found[0] == found[1]
    assert trained.training["data"]["of"]["queries"] > trained.training["data"]["queries"]


def test_threads_of_the_machine_change_no_byte(store: Store, model: Path, tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from coig_p.reward.ngram_training import train_ngram; "
    code += "from coig_p.store.store import Store; train_ngram(Store.open(sys.argv[1]), Path(sys.argv[2]))"
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    subprocess.run([sys.executable, "-c", code, store.path, tmp_path / "m"], check=True, env={**os.environ, **single})
    assert (tmp_path / "m" / WEIGHTS).read_bytes() == (model / WEIGHTS).read_bytes()
    assert (tmp_path / "m" / MADE).read_bytes() == (model / MADE).read_bytes()


def test_what_is_held_out_is_the_models_own_accuracy(store: Store, tmp_path: Path) -> None:
    """Each fold once more, by hand: fitted on the others from nothing, and asked of this one."""
    config = NgramConfig()
    taken = read_training_pairs(store, *_selected(store))
    items = sorted(taken.items, key=lambda item: item.id)
    right = total = 0
    for fold in range(config.folds):
        texts: list[str] = []
        chosen, rejected = [], []
        for item in items:
            if taken.part_of(item.id, config.folds, 0) != fold:
                for better, worse in pairs_of(item):
                    chosen.append(len(texts) + better)
                    rejected.append(len(texts) + worse)
                texts += [one.text for one in item.responses]
        examples = Examples.of(texts, ["问？"] * len(texts))
        weights, _ = fit(
            examples, np.array(chosen), np.array(rejected), penalty=config.penalty, ngram_scale=config.ngram_scale
        )
        for item in items:
            if taken.part_of(item.id, config.folds, 0) == fold:
                own = [one.text for one in item.responses]
                reward = weights.rewards(Examples.of(own, ["问？"] * len(own)))
                for better, worse in pairs_of(item):
                    right += reward[better] > reward[worse]
                    total += 1
    held_out = train_ngram(store, tmp_path / "m", config=config).held_out
    assert held_out is not None
    assert held_out.model.pairs == total
    assert held_out.model.accuracy == pytest.approx(right / total, abs=0.01)


def test_the_folder_scores_as_a_scorer(model: Path) -> None:
    scorer = NgramScorer(model)
    asked = [
        Asked(({"role": "user", "content": "问题？"},), text)
        for text in ("天地玄黄。", "天地玄黄", " \n", "天地玄黄。")
    ]
    found = score_all(scorer, asked)
    assert found[0].reward is not None
    assert found[1].reward is not None
    assert found[0].reward > found[1].reward
    assert found[3] == found[0]
    assert (found[2].reward, found[2].reason) == (None, EMPTY)
    told = scorer.describe()
    assert (told["kind"], told["name"], told["sha256"]) == (
        "ngram",
        "floor (an n-gram floor)",
        read_trained(model).files[WEIGHTS],
    )
    json.dumps(told)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda root: (root / WEIGHTS).unlink(), f"{WEIGHTS}: missing"),
        (lambda root: (root / WEIGHTS).write_bytes((root / WEIGHTS).read_bytes()[:-8]), "cut short or changed"),
        (lambda root: (root / MADE).unlink(), f"no {MADE} there"),
        (lambda root: (root / MADE).write_text("{"), "not JSON"),
        (lambda root: _edit(root, half=3), ".half: 3 is not 1, 2 or null"),
        (lambda root: _edit(root, version=2), "upgrade"),
        (lambda root: _edit(root, kind="oracle"), ".kind: 'oracle' is none of"),
        (lambda root: _edit(root, store=None), ".store: None is not an object"),
        (lambda root: _edit(root, files={"../x": "0"}), "is not a file's name"),
        (lambda root: _edit(root, held_out={"accuracy": 2}), ".held_out.accuracy: 2 is not a number"),
        (lambda root: _edit(root, training={"features": {}}), "other features than this version's"),
        (lambda root: _edit(root, kind="transformers"), "of kind 'transformers'"),
        (lambda root: _edit(root, files={}), f"lists no {WEIGHTS}"),
    ],
)
def test_a_folder_that_is_not_whole_is_one_located_error(damage: Any, said: str, model: Path, tmp_path: Path) -> None:
    root = tmp_path / "floor"
    root.mkdir()
    for name in (WEIGHTS, MADE):
        (root / name).write_bytes((model / name).read_bytes())
    damage(root)
    with pytest.raises(DataError, match=re.escape(said)) as caught:
        NgramScorer(root)
    assert str(root) in str(caught.value)


@pytest.mark.parametrize("values", [np.zeros(3), np.full(1 + len(CHEAP) + NGRAMS, np.nan), np.zeros(9, "O")])
def test_weights_that_are_none_are_refused(values: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", values, allow_pickle=True)
    with pytest.raises(DataError, match=re.escape(str(tmp_path / "w.npy"))):
        Weights.load(tmp_path / "w.npy")


def test_nothing_is_replaced_unasked_and_nothing_half_written(store: Store, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not a reward model"):
        train_ngram(store, tmp_path / "other", overwrite=True)
    tied = rows(3, rule=True)
    for one in [response for row in tied for response in row["responses"]]:
        one["scores"][0]["score"] = 5.0
    with pytest.raises(DataError, match="Try a lower threshold"):
        train_ngram(Store.open(make_store(tmp_path / "tied", tied)), tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with pytest.raises(UsageError, match="folds=1"):
        NgramConfig(folds=1)


def test_the_command_says_the_numbers_and_that_it_is_a_floor(store: Store, tmp_path: Path) -> None:
    words = ("reward", "train", store.path, "--model", "builtin:ngram", "--half", "1")
    shown = run(*words, "--out", tmp_path / "floor")
    assert "the longer response wins" in shown.stdout
    assert "a floor" in shown.stdout
    told = json.loads(run(*words, "--out", tmp_path / "floor", "--overwrite", "--json").stdout)
    assert told == {"model": str(tmp_path / "floor")} | read_trained(tmp_path / "floor").to_dict()
    assert told["half"] == 1
    run(*words, "--out", tmp_path / "floor", code=2)


def _selected(store: Store) -> Any:
    return select_items(store, PairConfig(), (), None)


def _edit(root: Path, **changes: Any) -> None:
    path = root / MADE
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), encoding="utf-8")
