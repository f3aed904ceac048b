"""`coigp score` as people type it: what it says, and how it ends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import run
from make import make_rows, make_store
from reward_server import reward_of, serve, text_of
from scoring import Fake, rule

from coig_p.errors import RemoteError
from coig_p.reward.scorer import Asked, Scored
from coig_p.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return make_store(tmp_path / "store", make_rows({"math": 30}))


class Ngram(Fake):
    """As the floor describes itself, so that nothing needs transformers."""

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"kind": "ngram"}


def scores_by(monkeypatch: pytest.MonkeyPatch, scorer: Fake) -> Fake:
    monkeypatch.setattr("coig_p.reward.opening.open_scorer", lambda config, official=None: scorer)
    return scorer


def test_it_says_what_was_written_and_what_was_not(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = scores_by(monkeypatch, Ngram(most=60))
    done = run("score", store, "--model", "m", "--as", "crm", "--check")
    told = Store.open(store).manifest.rewards["crm"]
    assert f"not scored, too-long: {told['without']['too-long']:,} responses\n" in done.stdout
    assert "checked: 20 responses, each alone by the same, 0 apart at most\n" in done.stdout
    assert (
        f"wrote rewards crm of fake to {store}: {told['scored']:,} of {told['responses']:,} responses have one, from -"
        in done.stdout
    )
    assert f"coigp pairs {store} --agree-with crm" in done.stdout
    assert scorer.closed
    assert "crm" in run("info", store).stdout
    assert json.loads(run("info", store, "--json").stdout)["rewards"] == {"crm": told["scored"]}


def test_json_has_the_same_numbers(store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scores_by(monkeypatch, Ngram(most=60, truncate="left"))
    out = tmp_path / "scored"
    done = run("score", store, "--model", "m", "--as", "crm", "--check", "--out", out, "--json")
    found = json.loads(done.stdout)
    told = Store.open(out).manifest.rewards["crm"]
    assert {name: found[name] for name in told} == told
    assert found["truncated"] > 0
    assert found["check"] == {"responses": 20, "against": "itself", "largest": 0.0, "allowed": 0.001}
    assert found["squashed"] is False
    assert found["store"] == str(out)
    assert Store.open(store).manifest.rewards == {}


class Server(Fake):
    """A server with a sigmoid on."""

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"kind": "server", "dtype": None}

    def _scored(self, asked: Asked, noise: float) -> Scored:
        return Scored(0.5 + rule(asked) / 25 + noise, None, None)


def test_a_sigmoid_that_was_left_on_is_said(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores_by(monkeypatch, Server())
    done = run("score", store, "--server", "http://127.0.0.1:9", "--as", "crm")
    assert "every reward lies from 0 to 1: a sigmoid seems to be on in the server" in done.stdout


def test_a_check_that_finds_another_reward_ends_it_and_nothing_is_written(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores_by(monkeypatch, Server(noise=0.01))  # a batch of one is given another reward than one of many
    done = run("score", store, "--server", "http://127.0.0.1:9", "--as", "crm", "--check", code=1)
    assert "error: the check found a response that is given" in done.stderr
    assert "and alone, by itself, " in done.stderr
    assert f"what was scored is kept in {store}.crm.scored.jsonl: run the same command again" in done.stderr
    assert done.stdout == ""
    assert Store.open(store).verify() == []
    assert Store.open(store).manifest.rewards == {}


def test_a_server_that_goes_away_is_said_with_what_is_kept(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: Sequence[Asked]) -> None:
        if len(first.batches) == 2:
            raise RemoteError("the server: connection refused")

    first = scores_by(monkeypatch, Ngram(before=gone))
    given = ("score", store, "--server", "http://127.0.0.1:9", "--as", "crm", "--tokens-per-batch", 300)
    done = run(*given, code=3)
    assert f"what was scored is kept in {store}.crm.scored.jsonl: run the same command again to go on" in done.stderr
    second = scores_by(monkeypatch, Ngram())
    done = run(*given)
    assert f"going on with what {store}.crm.scored.jsonl holds" in done.stderr
    asked = [one for scorer in (first, second) for batch in scorer.batches for one in batch]
    assert len(asked) == len(set(map(repr, asked)))
    assert not Path(f"{store}.crm.scored.jsonl").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--as", "crm"], "Name who scores: --model or --server"),
        (["--model", "m"], "Missing option '--as'"),
        (["--model", "m", "--as", "../crm"], "'../crm' cannot be what rewards are kept as"),
        (["--model", "m", "--as", "crm", "--check-with", "m"], "--check-with: only with --server"),
        (["--model", "m", "--as", "crm", "--out", "STORE"], "is the store itself: leave --out out"),
        (["--model", "m", "--server", "s", "--as", "crm"], "one of the two"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_loaded(
    store: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], said: str
) -> None:
    def loaded(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("coig_p.reward.opening.open_scorer", loaded)
    done = run("score", store, *(str(store) if word == "STORE" else word for word in given), code=2)
    assert said in done.stderr


def test_a_server_gives_each_response_its_reward_and_takes_the_rest_after_a_stop(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was answered before it failed is not asked for again, but for the batch that was cut."""
    monkeypatch.setattr("coig_p.reward.servers.backoff", lambda *_, **__: 0.0)
    responses = sum(file.responses or 0 for file in Store.open(store).data_files())
    with serve() as server:
        given = ("score", store, "--server", server.url, "--as", "crm", "--tokens-per-batch", 10, "--concurrency", 1)
        server.most, server.after = 60, responses // 2
        done = run(*given, code=3)
        assert "run the same command again to go on" in done.stderr
        before = len(server.requests)
        server.after = None
        run(*given)
    asked = [path for path, _ in server.requests[before:] if path == "/classify"]
    assert 0 < len(asked) < responses
    for shard in Store.open(store).data_files():
        rows = pq.read_table(store / shard.path).to_pylist()
        said = pq.read_table(store / shard.path.replace("data/", "rewards/crm/")).to_pylist()
        texts = [
            text_of([{"role": "user", "content": row["query"]}, {"role": "assistant", "content": one["text"]}])
            for row in rows
            for one in row["responses"]
        ]
        for text, one in zip(texts, said, strict=True):
            expected = (None, "too-long") if len(text) > 60 else (pytest.approx(reward_of(text)), None)
            assert (one["reward"], one["reason"]) == expected


def test_the_floor_of_n_grams_scores_a_store_without_any_extra(store: Path, tmp_path: Path) -> None:
    floor = tmp_path / "floor"
    run("reward", "train", store, "--model", "builtin:ngram", "--out", floor)
    done = json.loads(run("score", store, "--model", floor, "--as", "floor", "--check", "--json").stdout)
    assert done["scored"] == done["responses"]
    assert (done["kind"], done["check"]["against"], done["check"]["largest"]) == ("ngram", "itself", 0.0)
    before = (store / "manifest.json").read_bytes()
    assert "nothing was new" in run("score", store, "--model", floor, "--as", "floor").stdout
    assert (store / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("damage", ["missing", "cut", "all missing"])
def test_rewards_that_are_damaged_are_mended_as_the_error_says(
    store: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    scores_by(monkeypatch, Ngram())
    run("score", store, "--model", "m", "--as", "crm")
    whole = {path: path.read_bytes() for path in sorted((store / "rewards").rglob("*.parquet"))}
    if damage == "all missing":
        shutil.rmtree(store / "rewards")
    elif damage == "missing":
        next(iter(whole)).unlink()
    else:
        next(iter(whole)).write_bytes(b"PAR1")
    said = run("info", store, code=1).stderr
    again = "coigp score STORE --as crm --overwrite"
    assert ("coigp verify" if damage == "cut" else again) in said
    assert run("score", store, "--model", "m", "--as", "crm", code=1).stdout == ""
    run("score", store, "--model", "m", "--as", "crm", "--overwrite")
    assert {path: path.read_bytes() for path in whole} == whole
    assert Store.open(store).verify() == []
