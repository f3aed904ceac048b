"""A training that was stopped goes on from what is whole, and from nothing else: never with other weights.

Run by `make test-train` in an environment of its own; `make test` does not collect this file.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForSequenceClassification

from coig_p.errors import CoigPError, DataError, UsageError
from coig_p.pairs.config import PairConfig
from coig_p.pairs.exclusion import Exclusion
from coig_p.reward import trainer as trainers
from coig_p.reward.made import MADE, read_trained
from coig_p.reward.training import UNFINISHED, train_transformer
from coig_p.reward.training_config import TrainConfig
from coig_p.reward.transformer import LANGUAGE_MODEL

sys.path.insert(0, str(Path(__file__).parent))
from rewards import FAST, RIGHT, WORDS, WRONG, make_tiny, planted

torch.set_num_threads(1)  # matrices this small are slower on several

CONFIG = TrainConfig(**FAST | {"max_steps": 5, "save_every": 2, "held_out": 0})
STATE = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")


class Stop(Exception):
    """What a kill is to a process."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted(tmp_path_factory.mktemp("planted") / "store", 60)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(make_tiny(tmp_path_factory.mktemp("models") / "base", [WORDS, RIGHT, WRONG] * 3))


@pytest.fixture(scope="module")
def whole(store: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights of a training that nobody stopped."""
    out = tmp_path_factory.mktemp("whole") / "out"
    train_transformer(store, out, str(base), config=CONFIG)
    return weights(out)


@pytest.fixture(scope="module")
def stopped(store: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is left of one that was stopped in step 5, with the checkpoints of steps 2 and 4."""
    out = tmp_path_factory.mktemp("stopped") / "out"
    taken = trainers.PairTrainer.training_step

    def stopping(self: Any, *args: Any, **options: Any) -> Any:
        if self.state.global_step == 4:
            raise Stop
        return taken(self, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainers.PairTrainer, "training_step", stopping)
        with pytest.raises(Stop):
            train_transformer(store, out, str(base), config=CONFIG)
    return out.with_name(out.name + UNFINISHED)


def weights(out: Path) -> bytes:
    return (out / "model.safetensors").read_bytes()


def left_at(stopped: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A copy of what was left, and where the model would be."""
    work = tmp_path / f"out{UNFINISHED}"
    shutil.copytree(stopped, work)
    return work, tmp_path / "out"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    """One byte another, the size the same."""
    found = bytearray(path.read_bytes())
    found[len(found) // 2] ^= 1
    path.write_bytes(found)


@pytest.mark.parametrize("harm", [Path.unlink, cut, flipped], ids=["gone", "cut", "flipped"])
@pytest.mark.parametrize("name", STATE)
def test_a_checkpoint_that_is_not_whole_is_left(
    name: str, harm: Callable[[Path], None], stopped: Path, store: Path, base: Path, tmp_path: Path, whole: bytes
) -> None:
    work, out = left_at(stopped, tmp_path)
    harm(work / "checkpoint-4" / name)
    said: list[str] = []
    train_transformer(store, out, str(base), config=CONFIG, say=said.append)
    assert weights(out) == whole
    assert said[0].startswith(f"{work / 'checkpoint-4'} is left out: {name} ")
    assert said[1:] == [f"going on from {work / 'checkpoint-2'}"]


def test_where_no_checkpoint_is_whole_training_begins_anew(
    stopped: Path, store: Path, base: Path, tmp_path: Path, whole: bytes
) -> None:
    work, out = left_at(stopped, tmp_path)
    cut(work / "checkpoint-2" / "optimizer.pt")
    (work / "checkpoint-4" / "files.json").write_text('{"step": 4, "files": [1]}')
    said: list[str] = []
    train_transformer(store, out, str(base), config=CONFIG, say=said.append)
    assert weights(out) == whole
    assert [line.rpartition("/")[2] for line in said] == [
        "checkpoint-4 is left out: files.json is damaged",
        said[1].rpartition("/")[2],
        "no checkpoint is whole: training begins anew",
    ]
    assert "checkpoint-2 is left out: optimizer.pt has " in said[1]


def other_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    save_file({name: value * 1.5 for name, value in load_file(path).items()}, path, metadata={"format": "pt"})


def other_config(folder: Path) -> None:
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(told | {"rms_norm_eps": 0.5}))


@pytest.mark.parametrize("change", [other_weights, other_config])
def test_another_base_of_the_same_name_is_refused(
    change: Callable[[Path], None], stopped: Path, store: Path, base: Path, tmp_path: Path
) -> None:
    _, out = left_at(stopped, tmp_path)
    other = tmp_path / "elsewhere" / base.name
    shutil.copytree(base, other)
    change(other)
    with pytest.raises(UsageError, match=r"differs in training\.base_sha256\. "):
        train_transformer(store, out, str(other), config=CONFIG)


def test_the_same_base_elsewhere_goes_on(stopped: Path, store: Path, base: Path, tmp_path: Path, whole: bytes) -> None:
    work, out = left_at(stopped, tmp_path)
    shutil.rmtree(work / "checkpoint-2")
    shutil.copytree(base, tmp_path / "elsewhere" / base.name)
    train_transformer(store, out, str(tmp_path / "elsewhere" / base.name), config=CONFIG)
    assert weights(out) == whole


def test_other_options_are_refused_by_name(stopped: Path, store: Path, base: Path, tmp_path: Path) -> None:
    _, out = left_at(stopped, tmp_path)
    template = tmp_path / "other.jinja"
    template.write_text("{% for m in messages %}{{ m['role'] }}:{{ m['content'] }}{% endfor %}")
    exclude = tmp_path / "exclude.txt"
    exclude.write_text("q0\n")
    for config, pairs, named in (
        (replace(CONFIG, template=template), None, r"training\.template_sha256"),
        (replace(CONFIG, learning_rate=1e-4), None, r"training\.learning_rate"),
        (CONFIG, PairConfig(exclude=Exclusion.of(exclude)), r"pairs\.exclude"),
        (CONFIG, PairConfig(seed=1), r"training\.seed"),
    ):
        with pytest.raises(UsageError, match=named):
            train_transformer(store, out, str(base), config=config, pairs=pairs)


def test_a_full_disk_is_one_error_and_training_goes_on_later(
    store: Path, base: Path, tmp_path: Path, whole: bytes
) -> None:
    """Files of more bytes than the weights, but fewer than the optimizer's state, cannot be written."""
    most = (base / "model.safetensors").stat().st_size * 3 // 2
    options = "--device cpu --max-steps 5 --save-every 2 --held-out 0 --learning-rate 3e-3 --batch-pairs 32 --epochs 2"
    words = f"reward train {store} --model {base} {options} --out {tmp_path / 'out'}".split()
    done = subprocess.run(
        [sys.executable, "-m", "coig_p", *words],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "checkpoint-2: the checkpoint of step 2 cannot be written: " in done.stderr
    assert "give the same command again" in done.stderr
    train_transformer(store, tmp_path / "out", str(base), config=CONFIG)
    assert weights(tmp_path / "out") == whole


def test_what_training_cannot_begin_with_is_said_before_it(store: Path, base: Path, tmp_path: Path) -> None:
    def refused(model: str | Path, wanted: str, kind: type[CoigPError] = UsageError, **options: Any) -> None:
        with pytest.raises(kind, match=wanted):
            train_transformer(store, tmp_path / "out", str(model), **{"config": CONFIG} | options)

    few = tmp_path / "few"
    shutil.copytree(base, few)
    (few / "model.safetensors").unlink()
    config = AutoConfig.from_pretrained(base, vocab_size=20, num_labels=1, pad_token_id=0)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(few)
    refused(few, r"few: its tokenizer makes token ids up to \d+, and the model has 20 rows")
    two = tmp_path / "two"
    shutil.copytree(few, two)
    config = AutoConfig.from_pretrained(base, num_labels=2)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(two)
    refused(two, "two: its head has 2 labels, and a reward model has 1")
    refused("", "--model is empty")
    refused(base, "--revision main: no effect on a folder", config=replace(CONFIG, revision="main"))
    refused(base, r"use a whole number from 0 to", pairs=PairConfig(seed=10**22))
    (tmp_path / "no.txt").write_text("nobody\n")
    refused(base, "has none of the 1 query that it names", pairs=PairConfig(exclude=Exclusion.of(tmp_path / "no.txt")))
    assert not (tmp_path / f"out{UNFINISHED}").exists()


def test_the_language_model_is_among_the_files(store: Path, base: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train_transformer(store, out, str(base), config=replace(CONFIG, max_steps=1, lm_weight=0.1))
    path = out / LANGUAGE_MODEL / "model.safetensors"
    assert f"{LANGUAGE_MODEL}/model.safetensors" in json.loads((out / MADE).read_text())["files"]
    read_trained(out)
    cut(path)
    with pytest.raises(DataError, match=r"language-model/model\.safetensors: its sha256"):
        train_transformer(store, tmp_path / "more", str(out), config=CONFIG)
    read_trained(out, check_files=False)
