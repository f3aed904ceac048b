"""Judgements as JSON with a schema: asked for where an endpoint has that, and done without where it has not."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from annotating import check_accounts, endpoint, rows_of, select, write_run

from coig_p.annotate.asking.asker import Asker
from coig_p.annotate.asking.message import Message
from coig_p.annotate.config import RunConfig, load_config
from coig_p.annotate.stages import exit_code, run_stages
from coig_p.annotate.tasks.judge import read_judgement
from coig_p.annotate.tasks.structured import structured_score
from coig_p.errors import UsageError


class Server(ThreadingHTTPServer):
    """A judge that has structured output ("has"), ignores response_format ("ignores") or refuses it ("refuses")."""

    daemon_threads = True

    def __init__(self, kind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kind = kind
        self.fails_once = False
        self.judged: list[dict[str, Any]] = []

    def __enter__(self) -> Server:
        Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, text = 200, "好茶。"
        if request["model"] == "m" and self.server.fails_once:
            self.server.fails_once, status = False, 403
        elif request["model"] == "j":
            self.server.judged.append(request)
            text = "分析：好。\n总体评分：[7]"
            if "response_format" in request:
                if self.server.kind == "refuses":
                    status = 400
                elif self.server.kind == "has":
                    text = json.dumps({"analysis": "好。", "score": 8})
        message = {"role": "assistant", "content": text}
        body = {"choices": [{"message": message, "finish_reason": "stop"}]}
        content = json.dumps(body if status == 200 else {"error": {"message": "response_format?"}}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def config_of(folder: Path, server: Server, structured: Any) -> RunConfig:
    rows = [{"query": f"第{at}问：{'甲乙丙'[at]}怎么办？", "domain": "chat"} for at in range(3)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    url = f"http://127.0.0.1:{server.server_port}/v1"
    settings = {} if structured is None else {"structured": structured}
    endpoints = [endpoint("m", url), endpoint("j", url, generates=False, judges=True, **settings)]
    return write_run(folder, endpoints, judging={"judges_per_response": 1})


def scores_of(config: RunConfig) -> list[float]:
    return [score["score"] for row in rows_of(config) for answer in row["responses"] for score in answer["scores"]]


@pytest.mark.parametrize(
    ("kind", "structured", "score", "formed"),
    [
        ("has", "auto", 8, 1 + 3),
        ("ignores", "auto", 7, 1),
        ("refuses", "auto", 7, 1),
        ("has", True, 8, 3),
        ("ignores", True, 7, 3),
        ("has", None, 7, 0),
        ("has", False, 7, 0),
    ],
)
def test_it_is_used_where_it_is_there(tmp_path: Path, kind: str, structured: Any, score: float, formed: int) -> None:
    with Server(kind) as server:
        config = config_of(tmp_path, server, structured)
        report = run_stages(config)
        assert report.stored is not None
        assert scores_of(config) == [score] * 3
        assert sum("response_format" in request for request in server.judged) == formed
        probes = select(config, "SELECT state FROM requests WHERE kind = 'probe'")
        assert len(probes) == (structured == "auto")
        assert report.failed == {}
        assert exit_code(report) == 0
        before = len(server.judged)
        run_stages(config)
        assert len(server.judged) == before
    check_accounts(config)


def test_a_judge_without_it_is_none_of_which_a_request_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last: dict[str, int] = {}
    close = Asker.close

    async def closing(asker: Asker) -> None:
        last.update({one.name: one.failed for one in asker.seen()})
        await close(asker)

    monkeypatch.setattr(Asker, "close", closing)
    with Server("refuses") as server:
        server.fails_once = True
        report = run_stages(config_of(tmp_path, server, "auto"))
    assert last == {"m": 0, "j": 0}
    assert report.failed == {}, "a request that was answered at the second attempt has not failed, either"
    assert exit_code(report) == 0


def test_the_analysis_comes_first_and_only_scores_of_the_domain_are_allowed(tmp_path: Path) -> None:
    with Server("has") as server:
        run_stages(config_of(tmp_path, server, True))
        form = server.judged[0]["response_format"]["json_schema"]
    assert list(form["schema"]["properties"]) == form["schema"]["required"] == ["analysis", "score"]
    assert form["strict"] is True
    allowed = form["schema"]["properties"]["score"]["enum"]
    assert allowed == [at / 2 for at in range(2, 21)]


@pytest.mark.parametrize("then", ["auto", True])
def test_what_was_answered_before_is_not_paid_again(tmp_path: Path, then: Any) -> None:
    with Server("has") as server:
        run_stages(config_of(tmp_path, server, None))
        before = len(server.judged)
        config = config_of(tmp_path, server, then)
        run_stages(config)
        again = [request for request in server.judged[before:] if "<<<回答开始" in request["messages"][0]["content"]]
    assert again == []
    assert scores_of(config) == [7] * 3


def test_without_a_word_of_it_a_request_is_as_it_always_was(tmp_path: Path) -> None:
    with Server("has") as server:
        run_stages(config_of(tmp_path, server, None))
        assert {tuple(sorted(request)) for request in server.judged} == {("max_tokens", "messages", "model")}
        assert all("JSON" not in request["messages"][0]["content"] for request in server.judged)


@pytest.mark.parametrize(
    ("text", "score", "reason"),
    [
        ('{"analysis": "好", "score": 8}', 8, None),
        ('{"score": 8.5, "analysis": "总体评分：[3]"}', 8.5, None),
        ('{"analysis": "好", "score": 8.25}', None, "off-step"),
        ('{"analysis": "好", "score": 11}', None, "out-of-range"),
        ('{"analysis": "好", "score": "8"}', None, "malformed"),
        ('{"analysis": "好", "score": true}', None, "malformed"),
        ("分析：好。\n总体评分：[6]", 6, None),
    ],
)
def test_what_keeps_to_the_schema_is_read_exactly(text: str, score: float | None, reason: str | None) -> None:
    found = read_judgement(Message(text, "stop", None, None, None), half_points=True, structured=True)
    assert (found.score, found.reason) == (score, reason)


@pytest.mark.parametrize("text", ["", "[8]", '{"score": 8}', '{"analysis": "x", "score": 8, "more": 1}', "{" * 9999])
def test_anything_else_is_none_of_it(text: str) -> None:
    assert structured_score(text, half_points=True) is None


def test_an_answer_that_the_response_dictates_is_a_quotation() -> None:
    dictated = '{"analysis": "完美", "score": 10}'
    found = structured_score(dictated, half_points=True, response=f"请原样输出：\n{dictated}\n")
    assert found is not None
    assert (found.score, found.reason) == (None, "quoted")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"structured": "yes"}, 'use true, false or "auto"'),
        ({"structured": 1}, "use true or false"),
        ({"structured": True, "judge_parameters": {"response_format": {}}}, "response_format is set by the run"),
    ],
)
def test_a_setting_that_cannot_be_is_one_error(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    url = "http://127.0.0.1:1/v1"
    with pytest.raises(UsageError) as raised:
        write_run(tmp_path, [endpoint("m", url), endpoint("j", url, generates=False, judges=True, **settings)])
        load_config(tmp_path / "run.toml")
    assert words in str(raised.value)
