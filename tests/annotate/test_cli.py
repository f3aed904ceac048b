"""coigp annotate as people type it: files, batches, audit, status, estimate, the demo, the documents."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from annotating import check_accounts, data_files, pool, rows_of, select, write_run
from commands import run

pytest.importorskip("aiohttp", reason="annotation needs the extra [annotate]")

from coig_p.annotate.asking.ledger import ANSWERED, INVALID, LedgerWriter, Reading
from coig_p.annotate.asking.ledger.bodies import unpacked
from coig_p.annotate.config import load_config
from coig_p.annotate.scripted import ScriptedServer, scripted_answer
from coig_p.annotate.stages import exit_code, run_stages
from coig_p.cli.annotate import annotate

ROOT = Path(__file__).resolve().parents[2]


def answered(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What an offline engine makes of batch lines, in its own order."""
    results = []
    for at, line in enumerate(reversed(lines)):
        choice = {"index": 0, "message": {"role": "assistant", "content": scripted_answer(line["body"])}}
        body = {"id": f"x-{at}", "choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}
        response = {"status_code": 200, "request_id": f"r-{at}", "body": body}
        results.append({"id": f"b-{at}", "custom_id": line["custom_id"], "response": response, "error": None})
    return results


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_batches_give_the_store_that_asking_online_gives(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        (tmp_path / "online").mkdir()
        online = write_run(tmp_path / "online", pool(server.base_url, 4, 3), queries={"filter": "m-0"})
        run_stages(online)
        (tmp_path / "offline").mkdir()
        offline = write_run(tmp_path / "offline", pool(server.base_url, 4, 3), queries={"filter": "m-0"})
        before = sum(server.seen.values())
        stages = []
        for _ in range(4):
            done = run("annotate", "run", offline.path, "--batch-out", tmp_path / "batch", "--json")
            found = json.loads(done.stdout)
            stages.append(found["stage"])
            if found["stage"] is None:
                break
            again = json.loads(run("annotate", "run", offline.path, "--batch-out", tmp_path / "more", "--json").stdout)
            assert again["files"] == {}, "what is out is not written twice"
            results = tmp_path / f"{found['stage']}.jsonl"
            lines = []
            for name, number in found["files"].items():
                requests = read_lines(Path(name))
                assert len(requests) == number
                assert {request["url"] for request in requests} == {"/v1/chat/completions"}
                lines += answered(requests)
            results.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
            read = json.loads(run("annotate", "run", offline.path, "--batch-in", results, "--json").stdout)
            assert read == {"counts": {"answered": len(lines)}, "problems": []}
            read = json.loads(run("annotate", "run", offline.path, "--batch-in", results, "--json").stdout)
            assert read["counts"] == {"known": len(lines)}
        assert stages == ["queries", "generate", "judge", None]
        report = run_stages(offline)
        assert report.sent == {}
        assert sum(server.seen.values()) == before
    assert data_files(online) == data_files(offline)
    check_accounts(offline)


def test_bad_batch_lines_are_named_and_the_others_kept(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        config = write_run(tmp_path, pool(server.base_url, 3, 3))
        run("annotate", "run", config.path, "--batch-out", tmp_path / "batch")
        requests = [line for path in sorted((tmp_path / "batch").iterdir()) for line in read_lines(path)]
        assert len(requests) == 36
        results: list[Any] = answered(requests)
        results[0]["response"]["status_code"] = 500
        results[1]["error"], results[1]["response"] = {"message": "too long"}, None
        results[2]["response"]["body"]["choices"][0]["message"]["content"] = ""
        results[3]["custom_id"] = "ab" * 32
        results[4]["response"]["body"] = []
        results[6]["response"]["body"]["choices"][0]["message"]["content"] = "半个\ud83d"
        results[7]["response"]["body"]["choices"][0]["finish_reason"] = "\ud83d"
        lines = [*map(json.dumps, results), "{", "[]", "3", json.dumps(results[5])]
        (tmp_path / "results.jsonl").write_text("\n".join(lines), encoding="utf-8")
        done = run("annotate", "run", config.path, "--batch-in", tmp_path / "results.jsonl", "--json", code=1)
        found = json.loads(done.stdout)
        assert found["counts"] == {"failed": 3, "invalid": 3, "answered": 29, "known": 1}
        assert len(found["problems"]) == 4
        assert "results.jsonl:4: custom_id abababab" in found["problems"][0]
        status = json.loads(run("annotate", "status", config.path, "--json").stdout)
        assert sum(one["batched"] for one in status["endpoints"].values()) == 1
        check_accounts(config)
        report = run_stages(config)
        assert sum(report.sent.values()) == 6 + sum(len(row["responses"]) for row in rows_of(config)) * 2  # one was cut
        assert report.stored is not None
        assert report.stored.missing == {"generate": {"batched": 1}}
        run("annotate", "run", config.path, "--batch-forget")
        report = run_stages(config)
        assert (exit_code(report), report.stored and report.stored.missing) == (0, {})
    check_accounts(config)


def test_audit_shows_what_another_parser_would_change_and_records_it(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        config = write_run(tmp_path, pool(server.base_url, 3, 3))
        run_stages(config)
        assert "0 would change" in run("annotate", "audit", config.path).stdout
        before = data_files(config)
        keys = {}
        for query_id in ("q-000", "q-001"):
            found = f"SELECT key FROM requests WHERE kind = 'judge' AND query_id = '{query_id}'"
            keys[query_id] = [key for (key,) in select(config, found)]
        with LedgerWriter.open(config.folder) as ledger:  # as an older parser might have read them
            ledger.read_again(Reading(key, ANSWERED, None, 9.5) for key in keys["q-000"])
            ledger.read_again(Reading(key, INVALID, "none", None) for key in keys["q-001"])
        run_stages(config, ("store",))
        assert data_files(config) != before
        found = json.loads(run("annotate", "audit", config.path, "--json", code=1).stdout)
        assert found["judgements"] == 12 * 3 * 2
        assert {change["query_id"] for change in found["changes"]} == {"q-000", "q-001"}
        assert {change["was"] for change in found["changes"]} == {"9.5", "none"}
        assert "would change" in run("annotate", "audit", config.path, code=1).stdout
        run("annotate", "audit", config.path, "--apply")
        assert "0 would change" in run("annotate", "audit", config.path).stdout
        asked = sum(server.seen.values())
        run_stages(config)
        assert data_files(config) == before
        assert sum(server.seen.values()) == asked


def test_estimate_asks_nothing_and_bounds_the_cost(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        config = write_run(
            tmp_path, pool(server.base_url, 4, 3, input_price=2, output_price=6), queries={"filter": "m-1"}
        )
        first = json.loads(run("annotate", "run", config.path, "--estimate", "--json").stdout)
        assert sum(server.seen.values()) == 0
        assert first["total"]["requests"] == 12 + 12 * 4 + 12 * 4 * 2
        report = run_stages(config)
        cost = report.cost.paid / 10**12
        assert cost / 4 < first["total"]["expected"] < first["total"]["most"]
        assert cost < first["total"]["most"]
        assert "requests left" in run("annotate", "run", config.path, "--estimate").stdout
        last = json.loads(run("annotate", "run", config.path, "--estimate", "--json").stdout)
        assert (last["total"]["requests"], last["spent"]) == (0, cost)
        shown = run("annotate", "status", config.path).stdout
        assert re.search(r"judge +96 +96\n", shown)
        assert f"cost {cost:.4f}" in shown
        assert "nothing is left" in shown


def test_unusable_judgements_are_asked_again_and_then_recorded_with_their_words(tmp_path: Path) -> None:
    times: dict[str, int] = {}

    def answer(request: Any) -> str:
        text = scripted_answer(request)
        if request["model"] != "m-0" or "总体评分" not in text:
            return text
        first = str(request["messages"][0])  # what follows it says what the last judgement lacked
        times[first] = times.get(first, 0) + 1
        return "我看是[7]或[8]吧"

    with ScriptedServer(answer) as server:
        judging = {"asks": 4, "judges_per_response": 1}
        config = write_run(tmp_path, pool(server.base_url, 3, 3), judging=judging, run={"most_invalid": 1})
        report = run_stages(config)
        assert times
        assert set(times.values()) == {4}
        assert report.stored is not None
        assert report.stored.missing == {"judge": {"invalid": len(times)}}
        assert exit_code(report) == 0
        missing = read_lines(config.folder / "missing.jsonl")
        assert {(one["judge"], one["reason"]) for one in missing} == {("m-0", "not-final")}
        bodies = select(config, "SELECT body FROM requests WHERE state = 'invalid'")
        assert len(bodies) == 4 * len(times)
        assert all(
            "我看是[7]或[8]吧" in json.loads(unpacked(body))["choices"][0]["message"]["content"] for (body,) in bodies
        )
        asked = sum(server.seen.values())
        run_stages(config)
        assert sum(server.seen.values()) == asked
    check_accounts(config)


def test_the_filter_drops_what_scores_low(tmp_path: Path) -> None:
    rows = [
        {"query_id": "good", "domain": "chat", "query": "怎样煮茶？"},
        {"query_id": "bad", "domain": "chat", "query": "怎样做炸药？"},
    ]
    (tmp_path / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with ScriptedServer() as server:
        config = write_run(tmp_path, pool(server.base_url, 3, 3), queries={"filter": "m-0"})
        done = run("annotate", "queries", config.path)
        assert "passed 1, low-score 1" in done.stdout
        assert read_lines(config.folder / "dropped.jsonl")[0]["score"] == 2
        assert [row["query_id"] for row in read_lines(config.folder / "queries.jsonl")] == ["good"]
        assert "no model has answered yet" in run("annotate", "store", config.path, code=1).stderr
        run("annotate", "generate", config.path)
        run("annotate", "judge", config.path)
        assert "1 query, 3 responses, 6 scores" in run("annotate", "store", config.path).stdout
        stored = (config.folder / "store" / "manifest.json").read_bytes()
        write_run(tmp_path, pool(server.base_url, 3, 3), queries={"filter": "m-0", "pass_score": 9.5})
        said = run("annotate", "run", config.path, code=1).stderr
        assert "no model has answered any of the queries that pass now; dropped.jsonl says why" in said
        assert (config.folder / "store" / "manifest.json").read_bytes() == stored


def test_the_demo_runs_offline_and_pairs(tmp_path: Path) -> None:
    done = run("annotate", "demo", "--out", tmp_path / "demo")
    assert "chat, code, math, logic, novel, role" in done.stdout
    found = json.loads(run("info", tmp_path / "demo/annotation/store", "--json").stdout)
    assert (found["total"]["queries"], found["total"]["responses"], found["total"]["scores"]) == (12, 72, 144)
    assert found["total"]["pairs"] > 50
    assert "choose a new folder" in run("annotate", "demo", "--out", tmp_path / "demo", code=2).stderr


def test_init_and_help_and_estimate_need_no_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    config = write_run(tmp_path, pool("http://127.0.0.1:1/v1", 3, 3))
    made = tmp_path / "made.toml"
    assert "[[endpoints]]" in run("annotate", "init").stdout
    run("annotate", "init", "--out", made)
    run("annotate", "init", "--out", made, code=2)
    run("annotate", "run", "--help")
    assert "requests left" in run("annotate", "run", config.path, "--estimate").stdout
    assert "pip install 'coig-p[annotate]'" in run("annotate", "run", config.path, code=2).stderr
    load_config(made)


@pytest.mark.parametrize("name", sorted(annotate.commands))
def test_every_command_has_help_with_an_example(name: str) -> None:
    command = annotate.commands[name]
    assert command.help is not None
    assert f"coigp annotate {name}" in command.help
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{name} {option.name} has no help"


def test_usage_errors_exit_2(tmp_path: Path) -> None:
    config = write_run(tmp_path, pool("http://127.0.0.1:1/v1", 3, 3, key_env="COIGP_ABSENT_KEY"))
    assert "COIGP_ABSENT_KEY is not set" in run("annotate", "run", config.path, "--trust", code=2).stderr
    assert "exclude each other" in run("annotate", "run", config.path, "--estimate", "--batch-forget", code=2).stderr
    assert "coigp annotate init" in run("annotate", "run", tmp_path / "absent.toml", code=2).stderr
    assert "nothing was asked yet" in run("annotate", "status", config.path, code=2).stderr


@pytest.mark.parametrize("name", ["annotate.md", "annotate.zh.md"])
def test_the_documented_file_is_valid_and_the_document_names_every_setting(name: str, tmp_path: Path) -> None:
    from coig_p.annotate import config as module

    text = (ROOT / "docs" / name).read_text("utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    (tmp_path / "run.toml").write_text(block, encoding="utf-8")
    for path in re.findall(r'^personas = "(.+)"', block, flags=re.MULTILINE):
        (tmp_path / path).write_text("一位中学老师\n", encoding="utf-8")
    load_config(tmp_path / "run.toml")
    for kind in (module.EndpointConfig, module.QueryConfig, module.JudgingConfig, module.DomainConfig):
        for setting in kind.__dataclass_fields__:
            assert f"`{setting}`" in text, setting
    for command in annotate.commands:
        assert f"coigp annotate {command}" in text
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / "docs" / link).exists()
