"""`coigp reward train` with a model of transformers: what is refused before any is loaded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from commands import run
from make import make_rows, make_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("stores") / "store", make_rows({"math": 3}))


def test_options_of_transformers_have_no_effect_on_the_floor(store: Path, tmp_path: Path) -> None:
    done = run(
        *("reward", "train", store, "--model", "builtin:ngram", "--out", tmp_path / "out"),
        *("--batch", "pair", "--learning-rate", "1e-3"),
        code=2,
    )
    assert "--batch, --learning-rate: no effect on --model builtin:ngram" in done.stderr
    done = run("reward", "train", store, "--model", "builtin:bert", "--out", tmp_path / "out", code=2)
    assert "the only one built in is builtin:ngram" in done.stderr


def test_without_the_extra_one_line_names_it(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    done = run("reward", "train", store, "--model", "some/model", "--out", tmp_path / "out", code=2)
    assert "pip install 'coig-p[train]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--loss", "bt", "--loss-weight", "0.1"), "--loss-weight 0.1 has no effect on --loss bt"),
        (("--held-out", "1"), "a share of the queries"),
        (("--epochs", "0"), "use a number of 1 or more"),
    ],
)
def test_what_cannot_be_is_refused(store: Path, tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    done = run("reward", "train", store, "--model", "some/model", "--out", tmp_path / "out", *options, code=2)
    assert said in done.stderr
