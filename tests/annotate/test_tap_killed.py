"""Killed while an answer is on the way: a taxonomy that grows, and vectors of an endpoint, end as if nothing was."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from annotating import data_files, select
from commands import run
from killing import RUN, HeldAnswers
from tapping import tap_answer, tap_endpoint, write_tap

pytest.importorskip("aiohttp", reason="asking models needs the extra [annotate]")

from coig_p.annotate.asking.ledger import Ledger
from coig_p.annotate.config import RunConfig
from coig_p.annotate.scripted import ScriptedServer, scripted_answer, scripted_vectors
from coig_p.annotate.stages import run_stages

CONCURRENCY = 2
MODELS = ("m-0", "m-1", "m-2", "m-3")


def kill(held: HeldAnswers, at: int, *words: object) -> None:
    """Begin a command, and kill it while the server holds back the `at`-th answer from now on."""
    held.hold(at)
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", RUN, *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    while process.poll() is None and not held.reached.wait(0.01):
        pass
    ended = process.poll()
    process.kill()
    _, errors = process.communicate()
    held.release()
    assert ended is None, errors


def test_a_taxonomy_that_was_killed_while_it_grew_is_the_same_and_nothing_is_paid_twice(tmp_path: Path) -> None:
    held = HeldAnswers(scripted_answer)

    def words(folder: Path) -> list[object]:
        """A command that asks for 1 + 4 + 16 nodes."""
        about = ["annotate", "taxonomy", "grow", "--about", "校园生活", "--levels", "3"]
        return [*about, "--endpoint", tmp_path / "e.toml", "--out", folder / "campus.toml"]

    quiet, hurt = tmp_path / "quiet", tmp_path / "hurt"
    quiet.mkdir()
    hurt.mkdir()
    with ScriptedServer(held) as server:
        (tmp_path / "e.toml").write_text(
            f'[endpoint]\nname = "m"\nmodel = "m"\nbase_url = "{server.base_url}"\nconcurrency = {CONCURRENCY}\n'
            "parameters = { max_tokens = 512 }\n",
            encoding="utf-8",
        )
        run(*words(quiet))
        asked = dict(server.seen)
        assert (len(asked), max(asked.values())) == (21, 1)
        server.seen.clear()
        kills = (1, 2, 5, 7)
        for at in kills:
            kill(held, at, *words(hurt))
            assert [path.name for path in hurt.iterdir()] == ["campus.toml.ledger"], "nothing is half written"
        run(*words(hurt))
        assert server.seen.keys() == asked.keys()
        again = server.seen.total() - len(asked)
    assert (hurt / "campus.toml").read_bytes() == (quiet / "campus.toml").read_bytes()
    with Ledger.open(hurt / "campus.toml.ledger") as ledger:
        outcomes = {one.outcome: one.number for one in ledger.attempts()}
    assert outcomes["answered"] == len(asked), "each is paid once"
    assert again <= outcomes["lost"] <= len(kills) * CONCURRENCY, "and what was in flight at a kill"
    assert outcomes.keys() == {"answered", "lost"}


def embedding(folder: Path, base_url: str) -> RunConfig:
    """A run of four models, of which two stay by vectors of an endpoint, a text a request."""
    endpoints = [
        tap_endpoint("w-0", base_url, writes=True),
        *(tap_endpoint(name, base_url, generates=True) for name in MODELS),
        tap_endpoint("j-0", base_url, judges=True),
        tap_endpoint("emb", base_url, concurrency=CONCURRENCY),
    ]
    chosen = {"clusters": 2, "anchor": "m-1", "embeddings": {"endpoint": "emb", "inputs": 1}}
    return write_tap(folder, endpoints, select=chosen, taxonomy={"only": ["0801"], "rounds": 1})


def selected(config: RunConfig) -> dict[str, str | None]:
    with Ledger.open(config.folder) as ledger:
        return {one.query_id: ledger.noted(f"selected {one.query_id}") for one in ledger.queries()}


def test_killed_while_vectors_are_on_the_way_a_run_selects_the_same(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="grouping responses needs scikit-learn: pip install 'coig-p[tap]'")
    held = HeldAnswers(scripted_vectors)
    with ScriptedServer(tap_answer, embed=held) as server:
        quiet = embedding(tmp_path / "quiet", server.base_url)
        run_stages(quiet, ("types", "refine", "prompts", "generate"))
        server.seen.clear()
        run_stages(quiet, ("select",))
        asked = dict(server.seen)
        assert max(asked.values()) == 1
        assert len(asked) == len(MODELS) * len(selected(quiet)) > 8
        run_stages(quiet)

        hurt = embedding(tmp_path / "hurt", server.base_url)
        run_stages(hurt, ("types", "refine", "prompts", "generate"))
        server.seen.clear()
        kills = (1, 3, 6)
        for at in kills:
            kill(held, at, "annotate", "select", hurt.path)
        assert not (hurt.folder / "store").exists()
        run_stages(hurt, ("select",))
        assert server.seen.keys() == asked.keys()
        again = server.seen.total() - len(asked)
        run_stages(hurt)
    assert selected(hurt) == selected(quiet)
    assert all(json.loads(str(one))["embeddings"]["endpoint"] == "emb" for one in selected(hurt).values())
    assert data_files(hurt) == data_files(quiet)
    counts = "SELECT outcome, COUNT(*) FROM attempts JOIN requests USING (key) WHERE kind = 'embed' GROUP BY 1"
    outcomes = dict(select(hurt, counts))
    assert outcomes.keys() == {"answered", "lost"}
    assert outcomes["answered"] == len(asked)
    assert again <= outcomes["lost"] <= len(kills) * CONCURRENCY
