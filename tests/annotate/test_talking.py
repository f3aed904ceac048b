"""What a run says before, while and after it asks: estimates that are what is sent, nothing paid again unasked."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from annotating import check_accounts, data_files, pool, rows_of, select, write_queries, write_run
from commands import run
from faulty_server import serve

pytest.importorskip("aiohttp", reason="annotation needs the extra [annotate]")

from coig_p.annotate.asking.ledger import Ledger
from coig_p.annotate.config import RunConfig, load_config
from coig_p.annotate.estimating import forecast
from coig_p.annotate.scripted import ScriptedServer, scripted_answer
from coig_p.annotate.stages import exit_code, run_stages

LONG = {"max_tokens": 512}
PRICED: dict[str, Any] = {"input_price": 1, "output_price": 2, "parameters": LONG, "judge_parameters": LONG}
PROMPT = "请按新的规则评审。\n{{query}}\n{{response}}\n最后写：总体评分：[分数]\n"
FILTER = "请给这个问题打分，分数写成 [分数]。\n{{query}}\n"


def toml_with(config: RunConfig, old: str, new: str) -> RunConfig:
    text = config.path.read_text("utf-8")
    assert old in text
    config.path.write_text(text.replace(old, new), encoding="utf-8")
    return load_config(config.path)


def own_prompt(config: RunConfig) -> None:
    (config.path.parent / "math.md").write_text(PROMPT, encoding="utf-8")
    toml_with(config, '[[endpoints]]\nname = "m-0"', '[domains.math]\nprompt = "math.md"\n[[endpoints]]\nname = "m-0"')


def own_filter(config: RunConfig) -> None:
    (config.path.parent / "query.md").write_text(FILTER, encoding="utf-8")
    toml_with(config, '[[endpoints]]\nname = "m-0"', '[prompts]\nquery = "query.md"\n[[endpoints]]\nname = "m-0"')


def more_queries(config: RunConfig) -> None:
    write_queries(config.path.parent, 30)


def other_queries(config: RunConfig) -> None:
    path = config.path.parent / "queries.jsonl"
    path.write_text(path.read_text("utf-8").replace("有什么讲究", "要注意什么"), encoding="utf-8")


CHANGES: dict[str, Callable[[RunConfig], object]] = {
    "nothing": lambda config: None,
    "prompt": own_prompt,
    "filter prompt": own_filter,
    "pass score up": lambda config: toml_with(config, "pass_score = 6", "pass_score = 8"),
    "pass score down": lambda config: toml_with(config, "pass_score = 6", "pass_score = 1"),
    "no filter": lambda config: toml_with(config, 'filter = "m-0"\n', ""),
    "other filter": lambda config: toml_with(config, 'filter = "m-0"\n', 'filter = "m-1"\n'),
    "more queries": more_queries,
    "other queries": other_queries,
    "fewer judges": lambda config: toml_with(config, "judges_per_response = 2", "judges_per_response = 1"),
    "other seed": lambda config: toml_with(config, "seed = 1", "seed = 2"),
    "parameters of one": lambda config: toml_with(
        config, 'name = "m-1"\nmodel = "m-1"', 'name = "m-1"\nmodel = "m-1-new"'
    ),
}


def scored(request: Any) -> str:
    """A filter that scores 9, 7, 5 and 2; the scripted models else."""
    text = scripted_answer(request)
    if text.startswith("问题清楚"):
        asked = str(request["messages"][0]["content"])
        scores = {"种茶": 9, "观星": 7, "酿酒": 7, "修桥": 5}
        return f"总体评分：[{next((score for word, score in scores.items() if word in asked), 2)}]"
    return text


@pytest.mark.parametrize("name", CHANGES)
def test_the_estimate_is_what_the_next_run_sends(name: str, tmp_path: Path) -> None:
    with ScriptedServer(scored) as server:
        config = write_run(
            tmp_path,
            pool(server.base_url, 4, 4, **PRICED),
            run={"seed": 1},
            queries={"filter": "m-0", "pass_score": 6},
        )
        run_stages(config)
        before = (tmp_path / "annotation/queries.jsonl").read_bytes()
        CHANGES[name](config)
        config = load_config(config.path)
        with Ledger.open(config.folder) as ledger:
            found, again = forecast(config, ledger)
        assert (tmp_path / "annotation/queries.jsonl").read_bytes() == before, "an estimate writes nothing"
        report = run_stages(config)
        sent = {name: number for name, number in report.sent.items() if number}
        if name in ("more queries", "other filter"):  # which of the new ones pass nobody knows
            assert sum(one.requests for one in found.values()) >= sum(sent.values()) > 0
        else:
            assert {name: one.requests for name, one in found.items()} == sent
        repaid = {
            "prompt": {("judge", "math.md changed")},
            "filter prompt": {("query", "query.md changed")},
            "other queries": {("query", "the texts of the queries changed")},
            "parameters of one": {("generate", "the model of m-1 changed"), ("judge", "the model of m-1 changed")},
        }.get(name, set())
        assert repaid <= {(one.kind, one.why) for one in again}
        assert bool(again) == bool(repaid)
        with Ledger.open(config.folder) as ledger:
            assert forecast(config, ledger).endpoints == {}
    check_accounts(config)


def test_an_estimate_has_no_judges_of_what_a_server_refuses_for_ever(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        config = write_run(tmp_path, pool(server.base_url, 3, 3, **PRICED))
        run_stages(config)
    with closing(sqlite3.connect(config.folder / "ledger.sqlite")) as connection, connection:
        connection.execute("DELETE FROM concluded")
        connection.execute(
            "UPDATE requests SET state = 'failed', reason = 'refused: 400: flagged' WHERE key = "
            "(SELECT key FROM requests WHERE kind = 'generate' AND endpoint = 'm-1' LIMIT 1)"
        )
    with Ledger.open(config.folder) as ledger:
        assert {name: one.requests for name, one in forecast(config, ledger).endpoints.items()} == {"m-1": 1}


def test_a_run_asks_before_it_pays_again_and_names_what_changed(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        config = write_run(tmp_path, pool(server.base_url, 3, 3, **PRICED))
        assert run("annotate", "run", config.path).returncode == 0
        asked = sum(server.seen.values())
        own_prompt(config)
        words = "12 judgements would be paid again (about 0."
        for command in (["run"], ["judge"], ["run", "--batch-out", tmp_path / "batch"], ["run", "--limit", "4"]):
            said = run("annotate", command[0], config.path, *command[1:], code=2).stderr
            assert "would be paid again" in said
            assert "because math.md changed. Nothing was sent. To pay again, say so with --yes" in said
            assert words in said or "--limit" in command
        run("annotate", "generate", config.path)  # the prompt of judges is nothing to it
        assert words in run("annotate", "status", config.path).stdout
        told = json.loads(run("annotate", "status", config.path, "--json").stdout)
        assert [(one["kind"], one["number"], one["why"]) for one in told["paid_again"]] == [
            ("judge", 12, "math.md changed")
        ]
        assert told["stages"]["judge"] == {"planned": 72, "done": 60, "answered": 72, "invalid": 0}
        estimate = json.loads(run("annotate", "run", config.path, "--estimate", "--json").stdout)
        assert (estimate["total"]["requests"], estimate["paid_again"][0]["number"]) == (12, 12)
        assert f"{words}" in run("annotate", "run", config.path, "--estimate").stdout
        assert sum(server.seen.values()) == asked

        assert words in run("annotate", "run", config.path, "--yes").stderr
        assert sum(server.seen.values()) == asked + 12
        config.path.write_text(config.path.read_text("utf-8").replace('prompt = "math.md"', ""), encoding="utf-8")
        run("annotate", "run", config.path)  # back to what is paid
        assert sum(server.seen.values()) == asked + 12
        assert "paid again" not in run("annotate", "status", config.path).stdout


def test_a_stage_alone_does_not_agree_for_the_others(tmp_path: Path) -> None:
    """Where the inputs changed, the first stage takes them in; the next one still knows what was paid for."""
    with ScriptedServer() as server:
        config = write_run(tmp_path, pool(server.base_url, 3, 3))
        for stage in ("queries", "generate", "judge"):
            run("annotate", stage, config.path)
        before = sum(server.seen.values())
        other_queries(config)
        run("annotate", "queries", config.path)
        words = "36 responses would be paid again because the texts of the queries changed"
        assert words in run("annotate", "generate", config.path, code=2).stderr
        assert words in run("annotate", "run", config.path, "--limit", "12", code=2).stderr
        assert sum(server.seen.values()) == before
        run("annotate", "generate", config.path, "--yes")
        assert sum(server.seen.values()) == before + 36
        words = "72 judgements would be paid again because the responses are other ones"
        assert words in run("annotate", "judge", config.path, code=2).stderr
        run("annotate", "run", config.path, "--yes")
        run("annotate", "run", config.path)
        assert sum(server.seen.values()) == before + 36 + 72


@pytest.mark.parametrize("answer", [True, False])
def test_on_a_terminal_it_asks(answer: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from coig_p.cli.annotate import common

    def confirmed(words: str, err: bool) -> bool:
        asked.append(words)
        return answer

    terminal = SimpleNamespace(isatty=lambda: True)
    asked: list[str] = []
    with ScriptedServer() as server:
        config = write_run(tmp_path, pool(server.base_url, 3, 3, **PRICED))
        run_stages(config)
        before = sum(server.seen.values())
        own_prompt(config)
        monkeypatch.setattr(common, "sys", SimpleNamespace(stdin=terminal, stderr=terminal))
        monkeypatch.setattr(common.click, "confirm", confirmed)
        done = run("annotate", "run", config.path, code=0 if answer else 2)
        assert asked == ["Pay for them again?"]
        assert "12 judgements would be paid again" in done.stderr
        assert sum(server.seen.values()) == before + 12 * answer


def test_a_run_that_was_told_to_pay_again_goes_on_without_asking_twice(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        config = write_run(tmp_path, pool(server.base_url, 3, 3, **PRICED))
        run_stages(config)
        own_prompt(config)
        run("annotate", "run", config.path, "--yes", "--max-cost", "0.000001", code=1)  # the budget stops it at once
        assert run("annotate", "run", config.path).returncode == 0
        assert sum(server.seen.values()) == 12 * 3 * 3 + 12


def test_a_ledger_without_recipes_is_compared_request_by_request(tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    from coig_p.annotate.asking.ledger import LEDGER

    with ScriptedServer() as server:
        config = write_run(tmp_path, pool(server.base_url, 3, 3))
        run_stages(config)
        with closing(sqlite3.connect(config.folder / LEDGER, isolation_level=None)) as connection:
            connection.execute("UPDATE requests SET recipe = NULL")
            connection.execute("DELETE FROM meta WHERE name = 'allowed'")
        assert "paid again" not in run("annotate", "status", config.path).stdout
        own_prompt(config)
        assert "12 judgements would be paid again because" in run("annotate", "run", config.path, code=2).stderr


def test_status_of_a_large_ledger_goes_by_sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from coig_p.annotate import status

    with ScriptedServer() as server:
        config = write_run(tmp_path, pool(server.base_url, 3, 3))
        run_stages(config)
    own_prompt(config)
    monkeypatch.setattr(status, "_MANY", 0)
    assert (
        "up to 12 judgements would be paid again because math.md changed"
        in run("annotate", "status", config.path).stdout
    )


def test_status_works_while_a_run_holds_the_ledger(tmp_path: Path) -> None:
    import threading

    with serve() as server:
        config = write_run(tmp_path, pool(server.base_url, 3, 3, concurrency=1))
        server.after = 9
        reports: list[Any] = []
        working = threading.Thread(target=lambda: reports.append(run_stages(config)))
        working.start()
        try:
            server.holding.wait()
            told = json.loads(run("annotate", "status", config.path, "--json").stdout)
            assert sum(one["in_flight"] for one in told["endpoints"].values()) > 0
            estimate = json.loads(run("annotate", "run", config.path, "--estimate", "--json").stdout)
            assert estimate["total"]["requests"] > 0
            assert run("annotate", "judgements", config.path, "--out", tmp_path / "now.jsonl").returncode == 0
        finally:
            server.release()
            working.join()
        assert [exit_code(report) for report in reports] == [0]


def test_the_first_queries_go_through_all_stages_and_are_shown(tmp_path: Path) -> None:
    def answer(request: Any) -> str:
        return scripted_answer(request) + "\x1b[2J"

    with ScriptedServer(answer) as server:
        config = write_run(tmp_path, pool(server.base_url, 3, 3), queries={"filter": "m-0"})
        estimate = json.loads(run("annotate", "run", config.path, "--limit", "2", "--estimate", "--json").stdout)
        shown = run("annotate", "run", config.path, "--limit", "2").stdout
        assert sum(server.seen.values()) == estimate["total"]["requests"] == 2 * (1 + 3 + 6)
        assert "1. q-000 (chat)\n   第0问：种茶有什么讲究？" in shown
        assert "2. q-001 (" in shown
        assert "3. q-002" not in shown
        assert shown.count("   == m-") == 6
        assert "\x1b" not in shown
        assert "      -- m-" in shown
        assert "总体评分：[" in shown
        assert len(rows_of(config)) == 2
        told = json.loads(run("annotate", "run", config.path, "--limit", "3", "--json").stdout)
        assert [len(one["responses"]) for one in told["first"]] == [3, 3, 3]
        assert told["first"][0]["responses"][0]["judgements"][0]["score"] >= 1
        assert sum(server.seen.values()) == 3 * (1 + 3 + 6)
        run_stages(config)
        whole = len(rows_of(config))
        run("annotate", "run", config.path, "--limit", "1")
        assert len(rows_of(config)) == whole == 12, "the store keeps what is there"
        assert max(server.seen.values()) == 1
    check_accounts(config)


def test_what_is_invalid_is_asked_once_more_and_nothing_is_paid_twice_by_accident(tmp_path: Path) -> None:
    good = False

    def answer(request: Any) -> str:
        text = scripted_answer(request)
        bad = request["model"] == "m-0" and "总体评分" in text and not good
        return "我看不好说" if bad else text

    with ScriptedServer(answer) as server:
        config = write_run(
            tmp_path, pool(server.base_url, 3, 3, **PRICED), judging={"asks": 2}, run={"most_invalid": 1.0}
        )
        run_stages(config)
        cost = json.loads(run("annotate", "status", config.path, "--json").stdout)["cost"]
        asked = sum(server.seen.values())
        invalid = select(config, "SELECT COUNT(*) FROM requests WHERE state = 'invalid' AND ask = 1")[0][0]
        assert invalid > 0
        assert "say what" in run("annotate", "retry", config.path, code=2).stderr
        assert "m-9" in run("annotate", "retry", config.path, "--invalid", "--endpoint", "m-9", code=2).stderr
        none = json.loads(run("annotate", "retry", config.path, "--invalid", "--endpoint", "m-1", "--json").stdout)
        assert (none["retried"], none["more"]["requests"]) == ([], 0)
        told = json.loads(run("annotate", "retry", config.path, "--invalid", "--failed", "--json").stdout)
        assert told["retried"] == [{"endpoint": "m-0", "kind": "judge", "state": "invalid", "requests": invalid}]
        assert told["more"]["requests"] >= invalid
        assert 0 < told["more"]["expected"] <= told["more"]["most"]
        again = json.loads(run("annotate", "retry", config.path, "--invalid", "--json").stdout)
        assert again["retried"] == [], "told twice, asked once"
        status = json.loads(run("annotate", "status", config.path, "--json").stdout)
        assert (status["cost"], status["paid_again"]) == (cost, [])
        good = True
        assert "paid again" not in run("annotate", "run", config.path).stderr
        assert sum(server.seen.values()) == asked + invalid
        check_accounts(config)
        assert (config.folder / "missing.jsonl").read_text("utf-8") == ""
        after = json.loads(run("annotate", "status", config.path, "--json").stdout)
        assert after["cost"] > cost
        assert after["endpoints"]["m-0"]["invalid"] == 2 * invalid, "what it brought before stays"
        run("annotate", "run", config.path)
        assert sum(server.seen.values()) == asked + invalid
        assert data_files(config)


def test_judgements_are_a_file_with_raw_texts(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    from coig_p.annotate.judgements import SCHEMA

    def answer(request: Any) -> str:
        text = scripted_answer(request)
        return f"<think>想一想</think>{text}" if request["model"] == "m-0" else text

    with ScriptedServer(answer) as server:
        config = write_run(tmp_path, pool(server.base_url, 3, 3, **PRICED))
        assert (
            "nothing was asked yet"
            in run("annotate", "judgements", config.path, "--out", tmp_path / "j.parquet", code=2).stderr
        )
        run_stages(config)
    out = tmp_path / "j.parquet"
    assert "72 judgements" in run("annotate", "judgements", config.path, "--out", out).stdout
    assert "exists" in run("annotate", "judgements", config.path, "--out", out, code=2).stderr
    found = pq.read_table(out)
    assert found.schema.equals(SCHEMA)
    rows = found.to_pylist()
    stored = {
        (row["query_id"], response["model"], score["judge"]): (score["score"], score["rationale"])
        for row in rows_of(config)
        for response in row["responses"]
        for score in response["scores"]
    }
    assert len(rows) == len(stored) == 72
    for row in rows:
        score, rationale = stored[row["query_id"], row["model"], row["judge"]]
        assert row["score"] == score
        assert row["text"].endswith(rationale), "the store has all that the judge said"
        assert row["thinking"] == ("想一想" if row["judge"] == "m-0" else None)
        assert (row["ask"], row["state"], row["reason"]) == (0, "answered", None)
        assert row["cost"] == pytest.approx((row["prompt_tokens"] + 2 * row["completion_tokens"]) / 1e6)
    lines = run("annotate", "judgements", config.path, "--out", "-").stdout.splitlines()
    assert [json.loads(line)["text"] for line in lines] == [row["text"] for row in rows]
