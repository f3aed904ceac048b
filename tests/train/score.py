"""`coigp score` with a tiny model made on the spot: each reward is what transformers gives the conversation alone.

Run by `make test-train`; `make test` does not collect this file.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from commands import run
from make import make_rows, make_store
from reward_server import serve, text_of
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from coig_p.reward.local_model import LocalModel
from coig_p.store.store import Store

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs" / "recipes"))
from tiny import make_tiny  # noqa: E402

torch.set_num_threads(1)
ROWS = make_rows({"math": 20, "chat": 6})
GIVEN = ("--device", "cpu", "--tokens-per-batch", 1500)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    texts = [one["text"] for row in ROWS for one in row["responses"]]
    return make_tiny(tmp_path_factory.mktemp("model"), texts, reward=True)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return make_store(tmp_path / "store", ROWS)


def rows_of(store: Path) -> list[dict[str, Any]]:
    found = []
    for shard in Store.open(store).data_files():
        rewards = iter(pq.read_table(store / shard.path.replace("data/", "rewards/crm/")).to_pylist())
        for row in pq.read_table(store / shard.path).to_pylist():
            for one in row["responses"]:
                said = next(rewards)
                assert (said["query_id"], said["model"]) == (row["query_id"], one["model"])
                found.append({"query": row["query"], "text": one["text"], **said})
    return found


@cache
def loaded(model: str) -> tuple[Any, Any]:
    head = AutoModelForSequenceClassification.from_pretrained(model, dtype=torch.float32)
    head.config.pad_token_id = None
    return AutoTokenizer.from_pretrained(model), head


def alone(model: str, query: str, text: str, keep: int | None = None) -> float:
    """As a user of transformers would ask: one conversation, no padding, the last token's reward."""
    tokenizer, head = loaded(model)
    turns = [{"role": "user", "content": query}, {"role": "assistant", "content": text}]
    ids = tokenizer(tokenizer.apply_chat_template(turns, tokenize=False), add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        return float(head(input_ids=torch.tensor([ids[-keep:] if keep else ids])).logits[0, 0])


def test_every_reward_is_what_transformers_gives_alone(model: str, store: Path) -> None:
    done = json.loads(run("score", store, "--model", model, "--as", "crm", "--check", "--json", *GIVEN).stdout)
    rows = rows_of(store)
    assert [row["reward"] for row in rows] == pytest.approx(
        [alone(model, row["query"], row["text"]) for row in rows], abs=1e-5
    )
    assert done["scored"] == len(rows)
    assert done["check"]["against"] == "transformers"
    assert done["check"]["responses"] == 20
    assert done["check"]["largest"] < 1e-5
    assert done["model"] == Path(model).name
    assert Store.open(store).verify() == []


def test_where_padding_and_the_end_of_a_turn_are_one_the_end_is_read(model: str, store: Path, tmp_path: Path) -> None:
    other = tmp_path / "eos"
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(other)
    head = AutoModelForSequenceClassification.from_pretrained(model)
    head.config.pad_token_id = tokenizer.pad_token_id
    head.save_pretrained(other)
    run("score", store, "--model", other, "--as", "crm", "--check", *GIVEN)
    rows = rows_of(store)[::7]
    expected = [alone(str(other), row["query"], row["text"]) for row in rows]
    assert [row["reward"] for row in rows] == pytest.approx(expected, abs=1e-5)


def test_what_is_too_long_is_counted_or_cut_at_its_left(model: str, store: Path, tmp_path: Path) -> None:
    given = ("--model", model, "--as", "crm", "--max-length", 60, "--check", "--json", *GIVEN)
    left = json.loads(run("score", store, *given, "--truncate", "left", "--out", tmp_path / "cut").stdout)
    assert left["scored"] == left["responses"] > left["truncated"] > 0
    cut = [row for row in rows_of(tmp_path / "cut") if row["truncated"]][:5]
    expected = [alone(model, row["query"], row["text"], keep=60) for row in cut]
    assert [row["reward"] for row in cut] == pytest.approx(expected, abs=1e-5)
    done = json.loads(run("score", store, *given).stdout)
    assert done["without"] == {"too-long": left["truncated"]}
    assert done["truncated"] == 0


def test_bfloat16_is_near_and_said(model: str, store: Path) -> None:
    done = json.loads(
        run("score", store, "--model", model, "--as", "crm", "--dtype", "bfloat16", "--check", "--json", *GIVEN).stdout
    )
    assert (done["dtype"], done["head"]) == ("bfloat16", "float32")
    assert done["check"]["allowed"] == 0.05
    rows = rows_of(store)[::9]
    assert [row["reward"] for row in rows] == pytest.approx(
        [alone(model, row["query"], row["text"]) for row in rows], abs=0.05
    )


def test_a_model_that_reads_its_padding_is_found(model: str, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = LocalModel._rewards

    def padded(self: LocalModel, rows: Any) -> list[float]:
        longest = max(map(len, rows))
        return real(self, [np.pad(row, (0, longest - len(row)), constant_values=self._pad) for row in rows])

    monkeypatch.setattr(LocalModel, "_rewards", padded)
    done = run("score", store, "--model", model, "--as", "crm", "--check", *GIVEN, code=1)
    assert "error: the check found a response that is given" in done.stderr
    assert "by transformers" in done.stderr
    assert Store.open(store).manifest.rewards == {}


def test_a_command_that_is_killed_goes_on_and_ends_with_the_same_bytes(model: str, tmp_path: Path) -> None:
    whole, cut = (make_store(tmp_path / name / "store", ROWS) for name in ("whole", "cut"))
    given = ["--model", model, "--as", "crm", "--device", "cpu", "--tokens-per-batch", "300"]
    run("score", whole, *given)
    journal = cut.with_name("store.crm.scored.jsonl")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "coig_p", "-q", "score", str(cut), *given]
    process = subprocess.Popen(command, env=environment)
    while process.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") > 3):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert Store.open(cut).manifest.rewards == {}
    assert Store.open(cut).verify() == []
    assert "going on with what" in run("score", cut, *given).stderr
    for path in sorted(whole.rglob("*")):
        if path.is_file():
            assert (cut / path.relative_to(whole)).read_bytes() == path.read_bytes(), path
    assert [path.name for path in cut.parent.iterdir()] == ["store"]


def test_a_server_is_checked_against_the_model_that_it_runs(model: str, store: Path) -> None:
    """Off by what reading another token gives, it is found; what it said is kept."""

    table = {}
    for row in ROWS:
        for one in row["responses"]:
            turns = [{"role": "user", "content": row["query"]}, {"role": "assistant", "content": one["text"]}]
            table[text_of(turns)] = (row["query"], one["text"])

    def said(text: str) -> Any:
        return alone(model, *table[text]) + off

    given = ("--as", "crm", "--check-with", model)
    with serve() as server:
        server.reward = said  # type: ignore[method-assign]
        off = 0.5
        done = run("score", store, "--server", server.url, *given, code=1)
        assert "by transformers" in done.stderr
        Path(f"{store}.crm.scored.jsonl").unlink()
        off = 0.001
        done = run("score", store, "--server", server.url, *given, "--json")
    assert json.loads(done.stdout)["check"]["largest"] == pytest.approx(0.001, abs=1e-4)
