"""What training and its halves refuse, or say, where nothing could come of it: without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from commands import run
from make import make_store

from coig_p.errors import DataError, UsageError
from coig_p.reward.base import check_base
from coig_p.reward.made import LANGUAGE_MODEL, MADE, read_trained

ROWS: list[dict[str, Any]] = [
    {
        "query_id": f"q{at}",
        "domain": "chat",
        "query": f"第{at * 7919}个问题说的是什么？",
        "responses": [
            {"model": model, "text": f"{model}{at * 31}", "scores": [{"judge": "j", "score": score}]}
            for model, score in (("m", 9.0), ("n", 1.0))
        ],
    }
    for at in range(8)
]
FLOOR = ("--model", "builtin:ngram")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("store") / "store", ROWS)


@pytest.mark.parametrize("seed", [-1, 2**63, 10**22])
def test_a_seed_that_no_generator_takes(seed: int, store: Path, tmp_path: Path) -> None:
    """By every command that has one."""
    results = tmp_path / "results"
    for words in (
        ("reward", "train", store, *FLOOR, "--out", tmp_path / "out"),
        ("reward", "judge-data", store, "--out", tmp_path / "out"),
        ("bench", "convert", "--from", "pairs", store, "--out", tmp_path / "out"),
        ("bench", "build", store, "--review", tmp_path / "pool", "--annotators", "a,b"),
        ("bench", "run", store, "--baseline", "random", "--out", tmp_path / "out"),
        ("bench", "report", results),
    ):
        assert f"seed={seed} (--seed): use a whole number from 0 to" in run(*words, "--seed", seed, code=2).stderr
    assert list(tmp_path.iterdir()) == []


def test_a_list_of_another_store_protects_nothing(store: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("nobody\n")
    for words in (
        ("reward", "train", store, *FLOOR, "--out", tmp_path / "out"),
        ("reward", "judge-data", store, "--out", tmp_path / "out"),
        ("export", store, "--for", "trl-dpo", "--out", tmp_path / "out"),
    ):
        assert "none of the 1 query that it names, as 'nobody'" in run(*words, "--exclude", other, code=2).stderr
    quiet = run("pairs", store, "--exclude", other, "--out", tmp_path / "pairs.parquet", "-q")
    assert "warning: left out for exclude: 0 queries of 1" in quiet.stderr


def test_no_pair_is_said_alike(tmp_path: Path) -> None:
    texts = [dict(row, responses=[dict(one, text="二") for one in row["responses"]]) for row in ROWS]
    same = make_store(tmp_path / "same", texts)
    train = run("reward", "train", same, *FLOOR, "--out", tmp_path / "out", code=1).stderr
    judge = run("reward", "judge-data", same, "--out", tmp_path / "out", code=1).stderr
    assert train == judge
    assert "no pair with these options" in train
    assert "their texts differ" in train


def test_a_place_where_no_folder_can_be_made(store: Path) -> None:
    done = run("reward", "train", store, *FLOOR, "--out", "/proc/none/out", code=2)
    assert "no folder can be made in /proc: " in done.stderr
    assert "--out" in done.stderr


def test_a_floor_an_empty_name_and_a_revision_of_a_folder(store: Path, tmp_path: Path) -> None:
    floor = tmp_path / "floor"
    run("reward", "train", store, *FLOOR, "--out", floor)
    with pytest.raises(UsageError, match="is a floor of n-grams, and training cannot go on from it"):
        check_base(str(floor), None)
    with pytest.raises(UsageError, match="--model is empty"):
        check_base(" ", None)
    (tmp_path / "model").mkdir()
    with pytest.raises(UsageError, match="--revision main: no effect on a folder"):
        check_base(str(tmp_path / "model"), "main")
    bench = tmp_path / "bench"
    run("bench", "convert", "--from", "pairs", store, "--out", bench)
    for words in (("score", store, "--as", "a"), ("bench", "run", bench, "--out", tmp_path / "out")):
        said = run(*words, "--model", tmp_path / "model", "--revision", "main", code=2).stderr
        assert "revision='main' has no effect on a folder" in said


def test_files_of_the_language_model_are_checked(store: Path, tmp_path: Path) -> None:
    floor = tmp_path / "floor"
    run("reward", "train", store, *FLOOR, "--out", floor)
    told = json.loads((floor / MADE).read_text("utf-8"))
    told["files"][f"{LANGUAGE_MODEL}/config.json"] = "0" * 64
    (floor / MADE).write_text(json.dumps(told), "utf-8")
    with pytest.raises(DataError, match=r"language-model/config\.json: missing"):
        read_trained(floor)
    read_trained(floor, check_files=False)
    for name in ("../x", f"{LANGUAGE_MODEL}/../x", "..", f"{LANGUAGE_MODEL}/", "other/x"):
        (floor / MADE).write_text(json.dumps(told | {"files": {name: "0" * 64}}), "utf-8")
        with pytest.raises(DataError, match="is not a file's name"):
            read_trained(floor, check_files=False)
