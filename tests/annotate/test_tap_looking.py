"""What people see of a TaP run: its first comparisons, and answers that another parser would read otherwise."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tapping import tap_answer, tap_endpoint, write_tap

from coig_p.annotate.asking.ledger import Ledger, LedgerWriter
from coig_p.annotate.audit import audit
from coig_p.annotate.config import RunConfig
from coig_p.annotate.first import Shown, first_queries
from coig_p.annotate.scripted import ScriptedServer
from coig_p.annotate.stages import run_stages
from coig_p.annotate.tap import requests
from coig_p.annotate.tap.parsing import TypesRead
from coig_p.annotate.taxonomy.words import DIMENSIONS
from coig_p.cli.annotate.reading import readable

pytest.importorskip("aiohttp", reason="asking needs coig-p[annotate]")


@pytest.fixture
def run(tmp_path: Path) -> RunConfig:
    with ScriptedServer(tap_answer) as server:
        endpoints = [
            tap_endpoint("w-0", server.base_url, writes=True),
            tap_endpoint("m-0", server.base_url, generates=True),
            tap_endpoint("m-1", server.base_url, generates=True),
            tap_endpoint("j-0", server.base_url, judges=True),
            tap_endpoint("j-1", server.base_url, judges=True),
        ]
        config = write_tap(tmp_path, endpoints, taxonomy={"file": "subjects.toml", "only": ["0801"]})
        run_stages(config)
    return config


def test_the_first_comparisons_stand_as_they_were_shown(run: RunConfig) -> None:
    with Ledger.open(run.folder) as ledger:
        shown = list(first_queries(run, ledger, 1))
        assert shown
        for one in shown:
            sides = [(each.judge, each.first, each.second) for each in one.comparisons]
            orders = [("m-0", "m-1"), ("m-1", "m-0")]
            assert sides == [(judge, *order) for judge in ("j-0", "j-1") for order in orders]
            for each in one.comparisons:
                assert tuple(each.first_scores) == tuple(each.second_scores) == DIMENSIONS
                assert each.state == "answered"
                numbers = [*each.first_scores.values(), *each.second_scores.values()]
                assert [f"[[{number:g}]]" in str(each.text) for number in numbers] == [True] * 8
        text = _text(shown[0])
    compared = shown[0].comparisons[0]
    scores = " ".join(f"{score:g}" for score in compared.first_scores.values())
    assert f"-- j-0: m-0, then m-1: {scores} : " in text


def _text(shown: Shown) -> str:
    return "\n".join(readable(shown, 1))


def test_what_a_judge_left_out_is_told(run: RunConfig) -> None:
    with LedgerWriter.open(run.folder) as ledger:
        shown = next(first_queries(run, ledger, 1))
        told = shown.comparisons[0]
        assert told.state == "answered"
        ledger.set_aside([one.key for one in ledger.judged(kinds=("compare",)) if one.query_id == shown.query_id])
        again = next(first_queries(run, ledger, 1))
    assert {(one.state, len(one.first_scores)) for one in again.comparisons} == {("pending", 0)}
    assert "-- j-0: m-0, then m-1: pending" in _text(again)


def test_audit_reads_all_that_a_taxonomy_brought(run: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: Counter[str] = Counter()
    with Ledger.open(run.folder) as ledger:
        assert list(audit(run, ledger, counts)) == []
        asked = Counter(one.kind for one in ledger.judged(kinds=tuple(requests.PARSERS)))
        assert counts["judgements"] == asked.total()
        assert set(asked) == set(requests.PARSERS)

        def nothing(text: str, words: Any) -> TypesRead:
            return TypesRead((), "none")

        monkeypatch.setitem(requests.PARSERS, "types", nothing)
        changes = list(audit(run, ledger, Counter()))
    assert len(changes) == asked["types"]
    assert {(one.before, one.after, one.reading.state) for one in changes} == {("answered", "none", "invalid")}
