"""Judges that refuse are replaced by the next of the draw where the run says so; no other draw changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from annotating import check_accounts, endpoint, pool, rows_of, write_run

from coig_p.annotate.asking.ledger import FAILED, INVALID, LedgerWriter
from coig_p.annotate.asking.request import PENDING
from coig_p.annotate.config import RunConfig
from coig_p.annotate.scripted import ScriptedServer, scripted_answer
from coig_p.annotate.stages import run_stages
from coig_p.annotate.tasks.judge import drawn_judges, judge_request, judges_of
from coig_p.annotate.tasks.queries import collect


def run(folder: Path, refusing: set[str], **judging: Any) -> tuple[RunConfig, list[dict[str, Any]]]:
    """12 queries, two models and four judges, of which some never score."""

    def answer(request: Mapping[str, Any]) -> str:
        return "抱歉，我不能评价这些内容。" if request["model"] in refusing else scripted_answer(request)

    with ScriptedServer(answer) as server:
        judges = [endpoint(f"j-{at}", server.base_url, generates=False, judges=True) for at in range(4)]
        endpoints = [*pool(server.base_url, 2, 0), *judges]
        config = write_run(folder, endpoints, run={"most_invalid": 1.0}, judging={"asks": 2, **judging})
        report = run_stages(config)
        assert report.stored is not None
    check_accounts(config)
    return config, rows_of(config)


def scored(rows: list[dict[str, Any]]) -> dict[tuple[str, str], set[str]]:
    return {
        (row["query_id"], response["model"]): {score["judge"] for score in response["scores"]}
        for row in rows
        for response in row["responses"]
    }


@pytest.mark.parametrize("refusing", [{"j-1"}, {"j-0", "j-2"}])
def test_the_next_of_the_draw_scores_in_place_of_one_that_refuses(tmp_path: Path, refusing: set[str]) -> None:
    config, rows = run(tmp_path, refusing, judges_per_response=2, replace=True)
    found = scored(rows)
    assert len(found) == 24
    for (query_id, author), judges in found.items():
        assert len(judges) == 2
        drawn = set(drawn_judges(config, query_id, author))
        assert drawn - refusing <= judges, "who was drawn and scores stays"
        assert not judges & refusing
    assert (config.folder / "missing.jsonl").read_text("utf-8") == ""


def test_without_it_nobody_is_replaced_and_who_is_left_over_is_named(tmp_path: Path) -> None:
    _, rows = run(tmp_path, {"j-1"}, judges_per_response=2)
    assert {len(judges) for judges in scored(rows).values()} == {1, 2}


def test_where_all_refuse_their_scores_are_missing(tmp_path: Path) -> None:
    config, rows = run(tmp_path, {f"j-{at}" for at in range(4)}, judges_per_response=2, replace=True)
    assert all(not judges for judges in scored(rows).values())
    lines = [json.loads(line) for line in (config.folder / "missing.jsonl").read_text("utf-8").splitlines()]
    assert len(lines) == 24 * 2
    assert {line["state"] for line in lines} == {INVALID}


@pytest.mark.parametrize(
    ("state", "reason", "replaced"),
    [
        (FAILED, "refused: 400: flagged", True),
        (FAILED, "error: 500", False),
        (FAILED, "denied: 403", False),
        (FAILED, "lost", False),
        (PENDING, None, False),
    ],
)
def test_what_counts_as_refusing(tmp_path: Path, state: str, reason: str | None, replaced: bool) -> None:
    url = "http://127.0.0.1:1/v1"
    judges = [endpoint(f"j-{at}", url, generates=False, judges=True) for at in range(3)]
    config = write_run(tmp_path, [*pool(url, 1, 0), *judges], judging={"judges_per_response": 1, "replace": True})
    with LedgerWriter.open(config.folder) as ledger:
        collect(config, ledger)
        query = next(ledger.queries(passed=False))
        (first,) = drawn_judges(config, query.query_id, "m-0")
        request = judge_request(config, config.by_name[first], query, "m-0", "好")
        if state == FAILED:
            ledger.unanswered(ledger.begin(request.entry(0, request.key(0)), 1, 0), "error", 0.1, 0)
            ledger.fail(request.key(0), str(reason))
        (found,) = judges_of(config, ledger, query, "m-0", "好")
        assert (found != first) == replaced
