"""Prompts that are asked for plainly, on the same endpoints, to be measured beside those of a taxonomy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from commands import run
from tapping import two_writers, write_tap

from coig_p.annotate.asking.ledger import Ledger, LedgerWriter
from coig_p.annotate.config import RunConfig
from coig_p.annotate.estimating import estimate
from coig_p.annotate.scripted import ScriptedServer
from coig_p.annotate.stages import run_stages
from coig_p.annotate.status import status_of
from coig_p.annotate.taxonomy.config import TaxonomyConfig
from coig_p.errors import UsageError
from coig_p.store.store import Store

PLAIN = {"file": "", "plain": 30}


def plain(folder: Path, base_url: str, **settings: Any) -> RunConfig:
    return write_tap(folder, two_writers(base_url), taxonomy={**PLAIN, **settings})


def rows(config: RunConfig) -> list[dict[str, Any]]:
    return [row for batch in Store.open(config.folder / "store").batches() for row in batch.to_pylist()]


def asked(config: RunConfig) -> dict[str, int]:
    with Ledger.open(config.folder) as ledger:
        found: dict[str, int] = {}
        for some in ledger.requests():
            found[some.kind] = found.get(some.kind, 0) + some.number
        return found


@pytest.mark.parametrize("language", ["zh", "en"])
def test_so_many_prompts_of_each_writer_and_no_types(tmp_path: Path, language: str) -> None:
    with ScriptedServer() as server:
        config = plain(tmp_path, server.base_url, language=language)
        run_stages(config)
        assert run_stages(config).sent == {}
    found = rows(config)
    kinds = asked(config)
    assert kinds["generate"] == 2 * len({row["query"] for row in found})
    assert {"types", "refine"}.isdisjoint(kinds)
    assert kinds["prompt"] == kinds["complete"] >= 2 * 30
    assert len(found) <= 2 * 30
    for row in found:
        meta = json.loads(row["meta"])
        assert set(meta) == {"writer", "feasible", "candidates"}
        assert row["domain"] == "plain"
        assert row["source"].startswith("plain > ")
        assert row["query_id"].startswith(f"{meta['writer']}/plain-")
    with Ledger.open(config.folder) as ledger:
        now = status_of(config, ledger)
    assert now.types == {}
    assert {name: one.planned for name, one in now.stages.items() if name in ("types", "refine")} == {
        "types": 0,
        "refine": 0,
    }


def test_its_estimate_and_a_limit(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        config = plain(tmp_path, server.base_url)
        LedgerWriter.open(config.folder).close()
        with Ledger.open(config.folder) as ledger:
            told = estimate(config, ledger)
        # A prompt, whether it is whole and whether it can be done; a response of each model, two comparisons.
        assert {name: one.requests for name, one in told.items()} == {
            "w-0": 30 * 3 + 60,
            "w-1": 30 * 3,
            "m-0": 60,
            "j-0": 120,
        }
        run_stages(config, limit=4)
    assert {row["source"] for row in rows(config)} <= {f"plain > {at}" for at in range(1, 5)}


def test_both_runs_stand_in_one_report(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        tap = write_tap(tmp_path / "tap", two_writers(server.base_url))
        run_stages(tap)
        beside = plain(tmp_path / "plain", server.base_url)
        run_stages(beside)
    stores = (str(tap.folder / "store"), "--beside", str(beside.folder / "store"))
    told = json.loads(run("diversity", *stores, "--json").stdout)
    assert set(told["stages"]) == {"types", "descriptions", "prompts"}
    assert set(told["stages"]["prompts"]) == {"agronomy", "engineering", "all"}
    ours, theirs = (told["beside"]["prompts"][name] for name in ("own", "other"))
    assert ours["measured"] == theirs["measured"] > 0
    assert ours["distinct"]["2"] > theirs["distinct"]["2"]  # the scripted writers think of three everyday matters


@pytest.mark.parametrize("named", [{"file": "subjects.toml"}, {"select": "tap"}, {"only": ("0901",)}])
def test_it_is_in_place_of_a_taxonomy(named: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=rf"plain = 30 .*leave out {next(iter(named))}"):
        TaxonomyConfig(plain=30, **named)


def test_its_number_is_checked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="plain = -1: use 0 to"):
        plain(tmp_path, "http://127.0.0.1:1/v1", plain=-1)
