"""Endpoints that are asked in batches: through OpenAI's batch API, on loopback."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from annotating import check_accounts, data_files, pool, select, write_queries, write_run
from batch_server import BatchServer

from coig_p.annotate.asking.ledger import Ledger, LedgerWriter
from coig_p.annotate.batch_stages import batch_out
from coig_p.annotate.config import load_config
from coig_p.annotate.scripted import scripted_answer
from coig_p.annotate.stages import exit_code, run_stages

BATCHED: dict[str, Any] = {"batch": True, "batch_poll": 0.01, "attempts": 2}


class Killed(BaseException):
    """What a test raises where a process would have ended."""


def run_of(folder: Path, server: BatchServer, queries: int = 4, **settings: Any) -> Any:
    folder.mkdir(exist_ok=True)
    write_queries(folder, queries)
    tables = settings.pop("tables", {})
    prices = {"input_price": 1, "output_price": 2, "batch_discount": 0.5}
    return write_run(folder, pool(server.base_url, 3, 3, **prices, **settings), **tables)


def out(config: Any) -> list[Any]:
    with Ledger.open(config.folder) as ledger:
        return ledger.batches()


@pytest.mark.parametrize("some", [False, True])
def test_batches_give_the_store_that_asking_online_gives_at_half_the_price(some: bool, tmp_path: Path) -> None:
    """Also where only one of three endpoints has them, and batches hold few requests."""
    with BatchServer() as server:
        filtered = {"queries": {"filter": "m-0"}}
        online = run_of(tmp_path / "online", server, tables=filtered)
        wanted = run_stages(online)
        assert not server.made
        server.asked.clear()
        config = run_of(tmp_path / "batched", server, tables=filtered, **BATCHED, batch_requests=3)
        if some:
            head, first, *others = config.path.read_text("utf-8").split("[[endpoints]]")
            others = [one.replace("batch = true", "batch = false") for one in others]
            config.path.write_text("[[endpoints]]".join([head, first, *others]), "utf-8")
            config = load_config(config.path)
        report = run_stages(config)
        assert exit_code(report) == 0
        assert data_files(config) == data_files(online)
        assert set(server.asked.values()) == {1}
        assert sum(report.sent.values()) == sum(wanted.sent.values()) == sum(server.asked.values())
        assert all(len(content.splitlines()) <= 3 for name, content in server.files.values() if name != "out")
        assert all(headers["Authorization"] == "Bearer none" for headers in server.headers)
        if not some:
            assert 2 * report.cost.paid == wanted.cost.paid
        assert report.cost.may_be_paid == 0
        made = len(server.made)
        assert run_stages(config).sent == {}
        assert len(server.made) == made > 3
    check_accounts(config)
    assert out(config) == []


@pytest.mark.parametrize("where", ["put_out", "batch_is_out", "batch_is_back"])
@pytest.mark.parametrize("metadata", [True, False])
def test_a_batch_is_sent_once_wherever_a_run_is_killed(
    where: str, metadata: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it was sent; once the server has it and nothing is written down; once its answers are."""
    with BatchServer({} if metadata else {"no-metadata": 1}) as server:
        config = run_of(tmp_path, server, **BATCHED)
        real, calls = getattr(LedgerWriter, where), []

        def killed(ledger: LedgerWriter, *given: Any) -> Any:
            calls.append(given)
            if len(calls) == 1:
                return real(ledger, *given)
            if where == "put_out":
                real(ledger, *given)
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(LedgerWriter, where, killed)
            with pytest.raises(Killed):
                run_stages(config)
        assert out(config)
        report = run_stages(config)
        assert exit_code(report) == 0
        assert set(server.asked.values()) == {1}
    check_accounts(config)
    assert out(config) == []


@pytest.mark.parametrize("fault", ["create-500", "create-reset"])
def test_a_batch_that_was_made_though_the_server_did_not_say_so_is_found(fault: str, tmp_path: Path) -> None:
    with BatchServer({fault: 2}) as server:
        config = run_of(tmp_path, server, **BATCHED)
        assert exit_code(run_stages(config)) == 0
        assert set(server.asked.values()) == {1}
        assert not server.faults[fault]
    check_accounts(config)


def test_where_nobody_can_say_whether_a_batch_was_made_none_is_sent_again(tmp_path: Path) -> None:
    with BatchServer({"create-500": 9, "list-404": 1}) as server:
        config = run_of(tmp_path, server, **BATCHED)
        for _ in range(2):
            report = run_stages(config)
            assert exit_code(report) == 3
            assert "--batch-forget" in report.left["m-0"]
            assert len(server.made) == 3
        assert report.cost.may_be_paid == sum(batch.bound for batch in out(config)) > 0
        server.faults.clear()
        with LedgerWriter.open(config.folder) as ledger:
            assert ledger.forget_batches() == 12
        assert exit_code(run_stages(config)) == 0
    check_accounts(config)


def test_what_is_out_is_waited_for_by_a_later_run(tmp_path: Path) -> None:
    said: list[str] = []
    with BatchServer() as server:
        server.holds = True
        config = run_of(tmp_path, server, **BATCHED)
        report = run_stages(config, max_seconds=0.3, say=said.append)
        assert (report.stopped, report.sent) == ("time", {"m-0": 4, "m-1": 4, "m-2": 4})
        assert len(out(config)) == 3
        assert any("batch batch_0 of 4 requests is out" in line for line in said)
        with Ledger.open(config.folder) as ledger:
            assert {one.state: one.number for one in ledger.requests()} == {"batched": 4}
        server.holds = False
        server.faults["look-500"] = 1
        report = run_stages(config)
        assert (exit_code(report), sum(report.sent.values())) == (0, 4 * 3 * 2)
        assert set(server.asked.values()) == {1}
    check_accounts(config)


@pytest.mark.parametrize("fault", ["expires", "no-line"])
def test_what_a_batch_brings_no_answer_for_has_failed_and_is_asked_by_the_next_run(fault: str, tmp_path: Path) -> None:
    with BatchServer({fault: 1}) as server:
        config = run_of(tmp_path, server, **BATCHED)
        report = run_stages(config)
        without = {"expires": 2, "no-line": 1}[fault]
        assert (exit_code(report), sum(report.failed.values())) == (3, without)
        reasons = select(config, "SELECT reason FROM requests WHERE state = 'failed'")
        word = {"expires": "batch: expired", "no-line": "batch: completed, without an answer"}[fault]
        assert all(reason.startswith(word) for (reason,) in reasons)
        check_accounts(config)
        assert exit_code(run_stages(config)) == 0
        assert sorted(server.asked.values()) == [1] * (36 - without) + [2] * without
    check_accounts(config)


def test_lines_that_failed_and_answers_that_cannot_be_used(tmp_path: Path) -> None:
    """An error is for the next run; an answer without a score is asked again in the next batch of this one."""
    bad: list[str] = []

    def answer(request: Mapping[str, Any]) -> str | None:
        text = scripted_answer(request)
        if "总体评分" not in text:
            return text
        if not bad:
            bad.append(str(request))
            return None
        return "好。" if request["model"] == "m-1" and len(request["messages"]) == 1 else text

    with BatchServer(answer=answer) as server:
        config = run_of(tmp_path, server, **BATCHED)
        report = run_stages(config)
        assert (exit_code(report), sum(report.failed.values())) == (3, 1)
        assert select(config, "SELECT reason FROM requests WHERE state = 'failed'")[0][0].startswith(
            "batch: status None"
        )
        assert exit_code(run_stages(config)) == 0
    check_accounts(config)
    assert select(config, "SELECT COUNT(*) FROM requests WHERE state = 'invalid' AND endpoint = 'm-1'")[0][0] > 0


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("create-400", "no batch could be sent: 400: no batches for this model"),
        ("upload-500", "no batch could be sent: 500: try later"),
        ("invalid-file", "batch batch_0 failed: model is not for batches"),
    ],
)
def test_an_endpoint_that_takes_no_batch_is_left_with_its_words(fault: str, words: str, tmp_path: Path) -> None:
    with BatchServer({fault: 9}) as server:
        config = run_of(tmp_path, server, **BATCHED)
        report = run_stages(config)
        assert exit_code(report) == 3
        assert words in report.left["m-0"]
        assert len(server.made) <= 3
        server.faults.clear()
        assert exit_code(run_stages(config)) == 0
    check_accounts(config)


def test_batches_keep_to_the_budget(tmp_path: Path) -> None:
    with BatchServer() as server:
        config = run_of(tmp_path, server, **BATCHED)
        free = run_stages(config, ("queries", "generate"), max_cost=0)
        assert (free.stopped, free.sent) == ("budget", {})
        one = run_stages(config, max_cost=10**9)
        assert one.stopped == "budget"
        assert 0 < one.cost.most <= 10**9
        assert exit_code(run_stages(config)) == 0
        assert set(server.asked.values()) == {1}
    check_accounts(config)


def test_a_key_that_a_server_repeats_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCH_KEY", "sk-0123456789abcdef")
    with BatchServer(answer=lambda request: "键是 sk-0123456789abcdef，总体评分：[8]") as server:
        config = run_of(tmp_path, server, **BATCHED, key_env="BATCH_KEY")
        run_stages(config)
        assert server.headers[0]["Authorization"] == "Bearer sk-0123456789abcdef"
    assert b"0123456789abcdef" not in (config.folder / "rows.jsonl").read_bytes()


@pytest.mark.parametrize("limit", [{"batch_requests": 5}, {"batch_bytes": 1100}, {"batch_bytes": 1}])
def test_files_keep_to_the_limits_of_a_provider_and_hold_each_request_once(
    limit: dict[str, int], tmp_path: Path
) -> None:
    """A request that is too large for any file has one of its own."""
    with BatchServer() as server:
        config = run_of(tmp_path, server, queries=12, **limit)
    with LedgerWriter.open(config.folder) as ledger:
        stage, written = batch_out(config, ledger, tmp_path / "out")
        assert batch_out(config, ledger, tmp_path / "more") == (None, {})
    assert stage == "generate"
    lines = {path: path.read_bytes().splitlines(keepends=True) for path in written}
    assert {path: len(some) for path, some in lines.items()} == written
    assert {"generate-m-0-0.jsonl", "generate-m-0-0.2.jsonl"} <= {path.name for path in lines}
    keys = [json.loads(line)["custom_id"] for some in lines.values() for line in some]
    assert len(keys) == len(set(keys)) == 36
    for some in lines.values():
        assert len(some) <= limit.get("batch_requests", 36)
        assert len(some) == 1 or sum(map(len, some)) <= limit.get("batch_bytes", 10**6)
    if "batch_bytes" in limit and limit["batch_bytes"] > 1:
        assert max(map(len, lines.values())) > 1
