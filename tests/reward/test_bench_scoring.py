"""`coigp bench run` with a server: what is asked, written and printed, and how it goes on after a stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from commands import run
from make import make_rows, make_store
from reward_server import RewardServer, reward_of, serve, text_of

pytest.importorskip("aiohttp")

from coig_p.reward import servers
from coig_p.reward.bench.form import read_bench
from coig_p.reward.bench.results import read_results
from coig_p.reward.bench.scoring import journal_of, results_of
from coig_p.reward.scorer import Scored


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    make_store(folder / "store", make_rows({"math": 8, "chat": 4}))
    run("bench", "convert", "--from", "pairs", folder / "store", "--out", folder / "b")
    return folder / "b"


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries again at once; in batches of few, so that there are many."""
    monkeypatch.setattr(servers, "backoff", lambda failures, rng: 0.0)


def wanted(bench: Path) -> list[tuple[float, ...]]:
    return [
        tuple(
            reward_of(text_of([*item.messages, {"role": "assistant", "content": one.text}])) for one in item.responses
        )
        for item in read_bench(bench).items
    ]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_response_has_its_reward(bench: Path, tmp_path: Path) -> None:
    with serve() as server:
        done = run("bench", "run", bench, "--server", server.url, "--out", tmp_path / "r")
        found = read_results(tmp_path / "r")
        assert [one.rewards for one in found.results] == wanted(bench)
        texts = [json.dumps(body) for _, body in server.requests]
        assert len(set(texts)) == len(texts)  # the same response once
    lines = [line.split()[0] for line in done.stdout.splitlines()]
    assert lines[0] == "scorer"
    assert sorted(lines[1:4]) == ["length", "org/crm", "random"]
    assert lines[4:] == ["wrote"]
    assert (found.scorer["kind"], found.scorer["name"], found.scorer["server"]) == ("server", "org/crm", "vllm")
    assert found.scorer["responses"] == found.scorer["scored"] == sum(map(len, wanted(bench)))
    assert found.options == {"tokens_per_batch": 16384}
    assert not journal_of(tmp_path / "r").exists()


def test_json_and_what_is_missing(bench: Path, tmp_path: Path) -> None:
    with serve() as server:
        server.most = 120
        words = ("bench", "run", bench, "--server", server.url, "--served", "crm", "--out", tmp_path / "r", "--json")
        told = json.loads(run(*words).stdout)
    found = read_results(tmp_path / "r")
    missing = sum(one is None for result in found.results for one in result.rewards or ())
    assert 0 < missing < told["responses"]
    assert (told["without"], told["scored"]) == ({"too-long": missing}, told["responses"] - missing)
    assert (told["results"], told["squashed"], told["scorer"]["name"]) == (str(tmp_path / "r"), False, "crm")
    for result in found.results:
        assert (result.reason == "too-long") == (None in (result.rewards or ()))


def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(bench: Path, tmp_path: Path) -> None:
    words = ("bench", "run", bench, "--tokens-per-batch", 8)
    with serve() as server:
        run(*words, "--server", server.url, "--out", tmp_path / "whole")
        asked = len(server.requests)
    with serve() as server:
        server.after = asked // 2
        done = run(*words, "--server", server.url, "--out", tmp_path / "r", code=3)
        kept = journal_of(tmp_path / "r")
        assert "500: gone" in done.stderr
        assert f"what was scored is kept in {kept}: run the same command again to go on" in done.stderr
        assert not (tmp_path / "r").exists()
        done = run(*words[:-1], 9, "--server", server.url, "--out", tmp_path / "r", code=2)
        assert "is of a run with another tokens_per_batch (8, now 9): run that again, or delete the file" in done.stderr
        server.after, before = None, len(server.requests)
        done = run(*words, "--server", server.url, "--out", tmp_path / "r")
        assert f"going on with what {kept} holds" in done.stderr
        assert 0 < len(server.requests) - before < asked
    assert files(tmp_path / "r") == files(tmp_path / "whole")


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(bench: Path, tmp_path: Path) -> None:
    words = ["bench", "run", str(bench), "--tokens-per-batch", "8", "--server"]
    environment = {**os.environ, "PYTHONPATH": str(Path(servers.__file__).parents[2])}
    with serve() as server:
        run(*words, server.url, "--out", tmp_path / "whole")
        server.requests.clear()
        slow(server)
        process = subprocess.Popen(
            [sys.executable, "-m", "coig_p", *words, server.url, "--out", str(tmp_path / "r")],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        kept = journal_of(tmp_path / "r")
        while not (kept.exists() and kept.read_bytes().count(b"\n") > 2):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        server.delay = 0.0  # type: ignore[attr-defined]
        assert not (tmp_path / "r").exists()
        run(*words, server.url, "--out", tmp_path / "r")
    assert files(tmp_path / "r") == files(tmp_path / "whole")


def slow(server: RewardServer) -> None:
    """Let each answer take a while, so that a kill comes between two."""
    server.delay = 0.05  # type: ignore[attr-defined]
    reward = server.reward

    def late(text: str) -> Any:
        time.sleep(server.delay)  # type: ignore[attr-defined]
        return reward(text)

    server.reward = late  # type: ignore[method-assign]


def test_a_sigmoid_is_said(bench: Path, tmp_path: Path) -> None:
    with serve("old-vllm") as server:
        done = run("bench", "run", bench, "--server", server.url, "--out", tmp_path / "r")
    assert "every reward lies from 0 to 1: a sigmoid seems to be on in the server" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Name who scores: one of --baseline, --model, --server and --judge."),
        (["--server", "http://x", "--model", "m"], "name who scores: a model or a server, one of the two"),
        (["--server", "http://x", "--baseline", "length"], "Name who scores: one of"),
        (["--server", "http://x", "--dtype", "float32"], "dtype='float32' has no effect on a server. Leave it out."),
        (["--server", "http://x", "--truncate", "left"], "truncate='left' has no effect on a server"),
        (["--model", "m", "--kind", "vllm"], "kind='vllm' has no effect on a model"),
        (["--model", "m", "--seed", "1"], "--seed: no effect on --model and --server"),
        (["--model", "m", "--rating"], "--rating: only with --judge"),
        (["--baseline", "length", "--max-length", "9"], "--max-length: only with --model or --server"),
        (["--baseline", "length", "--tokens-per-batch", "16384"], "--tokens-per-batch: only with --model or --server"),
        (["--server", "http://x", "--kind", "sglang"], "takes texts, not turns"),
        (["--server", "http://x", "--official"], "official: how a server reads a conversation is not ours to say"),
        (["--server", "nowhere"], "base_url 'nowhere': give a URL such as"),
        (["--model", "no/such/folder"], "no/such/folder: no such folder, and no name of a model on the Hub"),
    ],
)
def test_options_that_do_not_fit(bench: Path, tmp_path: Path, words: list[str], said: str) -> None:
    done = run("bench", "run", bench, *words, "--out", tmp_path / "r", code=2)
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_several_reasons_of_an_item(bench: Path) -> None:
    found = read_bench(bench)
    number = sum(len(item.responses) for item in found.items)
    scored = [Scored(None, ("too-long", "not-finite")[at % 2], None) for at in range(number)]
    assert results_of(found, scored)[0].reason == "not-finite, too-long"


@pytest.mark.parametrize("value", [float("nan"), None, 10**400])
def test_a_server_that_gives_no_number_at_all_is_an_error_and_is_asked_again(
    bench: Path, tmp_path: Path, value: Any
) -> None:
    make_store(tmp_path / "store", make_rows({"math": 3}))
    before = files(tmp_path / "store")
    with serve() as server:
        commands = ["bench", "run", bench, "--out", tmp_path / "r"], ["score", tmp_path / "store", "--as", "crm"]
        server.reward = lambda text: value  # type: ignore[method-assign]
        for command in commands:
            failed = run(*command, "--server", server.url, code=3)
            assert "the server org/crm gives no finite number at all (not-finite " in failed.stderr
            assert "nothing was written" in failed.stderr
            assert failed.stdout == ""
            assert files(tmp_path) == {f"store/{name}": data for name, data in before.items()}
        server.reward = reward_of  # type: ignore[method-assign]
        for command in commands:
            run(*command, "--server", server.url)


def test_a_server_that_gives_some_numbers_is_none(bench: Path, tmp_path: Path) -> None:
    with serve() as server:
        server.failures.append((200, {"data": [{"probs": [None]}]}))
        run("bench", "run", bench, "--server", server.url, "--out", tmp_path / "r")
        assert read_results(tmp_path / "r").scorer["without"] == {"not-finite": 1}
