"""One way to every scorer: what a folder is decides, and options that do not fit are refused."""

from __future__ import annotations

import builtins
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from commands import run
from make import make_rows, make_store

from coig_p.errors import DataError, UsageError
from coig_p.reward.bench.presets import _PRESETS
from coig_p.reward.bench.results import read_results
from coig_p.reward.opening import FAULTS, OFFICIAL, ScorerConfig, open_scorer
from coig_p.reward.scorer import Asked


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model of n-grams, beside the store that it is of and its benchmark."""
    folder = tmp_path_factory.mktemp("floor")
    make_store(folder / "store", make_rows({"math": 20, "chat": 10}))
    run("reward", "train", folder / "store", "--model", "builtin:ngram", "--out", folder / "floor")
    run("bench", "convert", "--from", "pairs", folder / "store", "--out", folder / "b")
    return folder


def test_the_floor_of_ngrams_is_a_model_like_any(floor: Path, tmp_path: Path) -> None:
    done = run("bench", "run", floor / "b", "--model", floor / "floor", "--out", tmp_path / "r")
    assert "wrote" in done.stdout
    found = read_results(tmp_path / "r")
    assert found.scorer["kind"] == "model"
    scorer = open_scorer(ScorerConfig(model=str(floor / "floor")))
    assert scorer.describe()["kind"] == "ngram"
    item, result = found.bench.items[0], found.results[0]
    asked = [Asked(tuple(item.messages), one.text) for one in item.responses]
    assert [one.reward for one in scorer.score(asked)] == list(result.rewards or ())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dtype": "float32"}, "dtype='float32' has no effect on a model of n-grams. Leave it out."),
        ({"template": "t"}, "template='t' has no effect on a model of n-grams"),
        ({"max_length": 9}, "max_length=9 has no effect on a model of n-grams"),
    ],
)
def test_options_that_are_for_other_models(floor: Path, options: Mapping[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        open_scorer(ScorerConfig(model=str(floor / "floor"), **options))


def test_official_is_of_models_that_benchmarks_run(floor: Path) -> None:
    with pytest.raises(UsageError, match="official has no effect on a model of n-grams"):
        open_scorer(ScorerConfig(model=str(floor / "floor")), official="crbench")
    assert set(OFFICIAL) <= set(_PRESETS)
    assert {fault for faults in OFFICIAL.values() for fault in faults} == set(FAULTS)


def test_a_folder_that_is_not_whole(floor: Path, tmp_path: Path) -> None:
    (tmp_path / "coig_p_reward.json").write_text('{"format": "coig_p.reward"', encoding="utf-8")
    with pytest.raises(DataError, match=r"coig_p_reward\.json"):
        open_scorer(ScorerConfig(model=str(tmp_path)))
    told = json.loads((floor / "floor" / "coig_p_reward.json").read_text(encoding="utf-8"))
    (tmp_path / "coig_p_reward.json").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(DataError, match="missing"):
        open_scorer(ScorerConfig(model=str(tmp_path)))


def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "torch")
    with pytest.raises(UsageError, match=r"need the extra: pip install 'coig-p\[train\]'"):
        open_scorer(ScorerConfig(model=str(tmp_path)))


def test_without_what_asks_servers_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "aiohttp")
    with pytest.raises(UsageError, match=r"needs the extra: pip install 'coig-p\[annotate\]'"):
        open_scorer(ScorerConfig(server="http://127.0.0.1:1"))


def without(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As if a package were not installed."""
    real = builtins.__import__

    def absent(wanted: str, *args: Any, **kwargs: Any) -> ModuleType:
        if wanted == name:
            raise ImportError(name)
        return real(wanted, *args, **kwargs)

    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(builtins, "__import__", absent)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "name who scores: a model or a server"),
        ({"model": "m", "server": "http://x"}, "a model or a server, one of the two"),
        ({"model": "m", "truncate": "right"}, "truncate='right': use left, or leave it out"),
        ({"model": "m", "tokens_per_batch": 0}, "tokens_per_batch=0: use 1 or more"),
        ({"model": "m", "served": "x"}, "served='x' has no effect on a model"),
        ({"server": "http://x", "revision": "main"}, "revision='main' has no effect on a server"),
    ],
)
def test_who_scores_is_one(options: Mapping[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ScorerConfig(**options)


def test_numbers_that_are_none() -> None:
    from coig_p.reward.local_model import ModelConfig
    from coig_p.reward.servers import ServerConfig

    kinds: Sequence[type[Any]] = (ModelConfig, ServerConfig)
    for kind in kinds:
        with pytest.raises(UsageError, match="max_length=0: use 1 or more"):
            kind(max_length=0)
    with pytest.raises(UsageError, match="dtype='float16': use one of auto, float32, bfloat16"):
        ModelConfig(dtype="float16")
    with pytest.raises(UsageError, match="does not say how long a text is"):
        ServerConfig(kind="openrlhf", template="t", max_length=9)
