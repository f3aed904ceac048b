"""A TaP run whose queries are through: nothing is looked up or written again, until something changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tapping import tap_answer, tap_endpoint, write_tap

from coig_p.annotate.asking.ledger import Ledger
from coig_p.annotate.config import RunConfig
from coig_p.annotate.estimating import estimate
from coig_p.annotate.scripted import ScriptedServer
from coig_p.annotate.stages import requests_of, run_stages

MODELS = ("m-0", "m-1", "m-2")


def tap(folder: Path, base_url: str, **tables: Any) -> RunConfig:
    ends = [tap_endpoint("w-0", base_url, writes=True), tap_endpoint("j-0", base_url, judges=True)]
    ends += [tap_endpoint(name, base_url, generates=True, attempts=1) for name in MODELS]
    taxonomy = {"only": ["0901"], "rounds": 1, **tables.pop("taxonomy", {})}
    return write_tap(folder, ends, taxonomy=taxonomy, **tables)


def looked_up(config: RunConfig) -> dict[str, int]:
    """How many requests of these stages a run would go over."""
    with Ledger.open(config.folder) as ledger:
        return {
            stage: sum(1 for some in requests_of(config, ledger, stage).values() for _ in some)
            for stage in ("generate", "compare")
        }


def files(config: RunConfig) -> dict[str, tuple[bytes, int]]:
    found = [path for path in config.folder.rglob("*") if path.is_file() and "ledger" not in path.name]
    return {str(path.relative_to(config.folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def through(config: RunConfig) -> int:
    with closing(sqlite3.connect(config.folder / "ledger.sqlite")) as ledger:
        return int(ledger.execute("SELECT COUNT(*) FROM concluded").fetchone()[0])


def test_a_run_with_nothing_to_do_goes_over_no_query_and_writes_nothing(tmp_path: Path) -> None:
    with ScriptedServer(tap_answer) as server:
        config = tap(tmp_path, server.base_url)
        parts = run_stages(config, ("types", "refine", "prompts", "generate", "select", "compare"))
        passed = parts.queries["passed"]
        assert looked_up(config) == {"generate": 3 * passed, "compare": 6 * passed}
        first = run_stages(config)
        assert through(config) == passed
        assert looked_up(config) == {"generate": 0, "compare": 0}
        before = files(config)
        again = run_stages(config)
        assert (again.sent, again.queries) == ({}, first.queries)
        changed = {name for name, one in files(config).items() if one != before[name]}
        assert changed <= {"queries.jsonl", "dropped.jsonl"}
        assert first.stored is not None
        assert again.stored is not None
        assert again.stored._replace(store=first.stored.store) == first.stored
        with Ledger.open(config.folder) as ledger:
            assert estimate(config, ledger) == {}
        (config.folder / "rows.jsonl").unlink()  # what somebody took away is written anew
        run_stages(config)
        assert {name: text for name, (text, _) in files(config).items()} == {
            name: text for name, (text, _) in before.items()
        }


@pytest.mark.parametrize(
    "changed",
    [
        {"select": {"clusters": 2}},
        {"select": {"clusters": 2, "anchor": "m-1"}},
        {"select": {"clusters": 2, "all_responses": True}},
        {"compare": {"both_orders": False}},
        {"taxonomy": {"ask_infeasible": True}},
    ],
    ids=str,
)
def test_other_settings_end_where_a_run_of_them_alone_does(tmp_path: Path, changed: dict[str, Any]) -> None:
    pytest.importorskip("sklearn", reason="grouping responses needs scikit-learn: pip install 'coig-p[tap]'")
    with ScriptedServer(tap_answer) as server:
        run_stages(tap(tmp_path / "one", server.base_url))
        later = tap(tmp_path / "one", server.base_url, **changed)
        run_stages(later)
        alone = tap(tmp_path / "two", server.base_url, **changed)
        run_stages(alone)
    found, wanted = ({name: text for name, (text, _) in files(config).items()} for config in (later, alone))
    assert found == wanted
    assert looked_up(later) == {"generate": 0, "compare": 0}


def test_what_failed_is_asked_again_and_what_is_invalid_for_good_is_not(tmp_path: Path) -> None:
    broken = {"now": True}

    def answer(request: Mapping[str, Any]) -> str:
        asked = str(request["messages"][0]["content"])
        if request["model"] == "m-2" and broken["now"]:
            raise ValueError("not now")
        if "公正的评审" in asked and "m-0 的回答" in asked and "m-1 的回答" in asked:
            return "两个回答都不错。"
        return tap_answer(request)

    with ScriptedServer(answer) as server:
        config = tap(tmp_path, server.base_url, compare={"asks": 2})
        first = run_stages(config)
        passed = first.queries["passed"]
        assert first.failed == {"m-2": passed}
        assert through(config) == 0
        assert looked_up(config)["generate"] == 3 * passed
        broken["now"] = False
        second = run_stages(config)
        assert second.sent == {"m-2": passed, "j-0": 4 * passed}
        assert through(config) == passed
        assert looked_up(config) == {"generate": 0, "compare": 0}
        third = run_stages(config)
    assert third.sent == {}
    assert third.stored is not None
    assert third.stored.missing == {"compare": {"invalid": 2 * passed}}
