"""Whole runs against scripted and faulty servers: from queries to a store, with every request accounted for."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from annotating import check_accounts, data_files, pool, rows_of, select, write_queries, write_run
from answering import GOOD, answering
from faulty_server import FAULTS, FaultyServer, serve
from turning import Turned

pytest.importorskip("aiohttp", reason="annotation needs the extra [annotate]")

from coig_p.annotate.asking.ledger import LEDGER, LedgerWriter
from coig_p.annotate.config import RunConfig
from coig_p.annotate.scripted import ScriptedServer
from coig_p.annotate.stages import exit_code, run_stages
from coig_p.annotate.tasks.judge import drawn_judges
from coig_p.errors import UsageError


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Turned:
    """A clock for `run_stages(loop_factory=clock.loop)` that runs ahead where everybody waits for it."""
    return Turned(monkeypatch)


def check_judges(config: RunConfig, rows: list[dict[str, Any]]) -> None:
    """Every score is by a judge that was drawn, and none by the author's family."""
    family = {endpoint.name: endpoint.family for endpoint in config.endpoints}
    for row in rows:
        for response in row["responses"]:
            judges = [score["judge"] for score in response["scores"]]
            assert judges == drawn_judges(config, row["query_id"], response["model"])
            assert len(set(judges)) == config.judging.judges_per_response
            assert all(family[judge] != family[response["model"]] for judge in judges)


def test_sixty_queries_to_a_store_that_load_dataset_pairs(tmp_path: Path, cache: str) -> None:
    from datasets import load_dataset

    write_queries(tmp_path, 60)
    with ScriptedServer() as server:
        config = write_run(tmp_path, pool(server.base_url, 15, 8), queries={"filter": "m-0"}, run={"seed": 3})
        report = run_stages(config)
        assert exit_code(report) == 0
        assert max(server.seen.values()) == 1
        again = run_stages(config)
        assert (again.sent, sum(server.seen.values())) == ({}, 60 + 60 * 15 + 60 * 15 * 2)
    rows = rows_of(config)
    assert (len(rows), sum(len(row["responses"]) for row in rows)) == (60, 900)
    check_judges(config, rows)
    check_accounts(config)
    pairs = load_dataset("coig-p", "math", data_dir=str(config.folder / "store"), cache_dir=cache, split="train")
    assert pairs.num_rows > 100
    assert (config.folder / "missing.jsonl").read_text() == ""


def test_a_draw_for_each_query_gives_its_responses_the_same_judges(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        config = write_run(tmp_path, pool(server.base_url, 8, 6), judging={"draw": "query"})
        run_stages(config)
    rows = rows_of(config)
    check_judges(config, rows)
    for row in rows:  # all but those that are of the first two judges' own families
        shared = Counter(tuple(score["judge"] for score in response["scores"]) for response in row["responses"])
        assert shared.most_common(1)[0][1] == 6
    assert len({tuple(score["judge"] for score in row["responses"][7]["scores"]) for row in rows}) > 3


def test_draws_repeat_under_the_seed_and_do_not_depend_on_concurrency(tmp_path: Path) -> None:
    found = []
    with ScriptedServer() as server:
        for at, (seed, concurrency) in enumerate([(1, 1), (1, 9), (2, 9)]):
            folder = tmp_path / str(at)
            folder.mkdir()
            config = write_run(folder, pool(server.base_url, 5, 4, concurrency=concurrency), run={"seed": seed})
            run_stages(config)
            found.append(data_files(config))
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_a_ledger_that_an_earlier_version_left_in_the_middle_goes_on(tmp_path: Path) -> None:
    """ledger_v1.sql is what 4032021 had when it was killed at the first judgements, two answers being empty."""
    prices = {"input_price": 1, "output_price": 2, "concurrency": 2}
    write_queries(tmp_path, 4)
    with ScriptedServer() as server:
        config = write_run(tmp_path, pool(server.base_url, 3, 3, **prices), queries={"filter": "m-0"})
        config.folder.mkdir()
        with closing(sqlite3.connect(config.folder / LEDGER, isolation_level=None)) as connection:
            connection.executescript((Path(__file__).parent / "ledger_v1.sql").read_text("utf-8"))
        with LedgerWriter.open(config.folder) as ledger:
            outcomes = Counter(one.outcome for one in ledger.attempts() for _ in range(one.number))
            assert outcomes == {"answered": 18, "lost": 6}
            (may,) = select(config, "SELECT SUM(bound) FROM attempts WHERE outcome = 'lost'")[0]
            assert ledger.spent() == (1874000000 + 26000000 + 2600000000, may)
        report = run_stages(config)
        assert (exit_code(report), sum(report.sent.values())) == (0, 4 * 3 * 2)
        assert set(server.seen.values()) == {1}
        (tmp_path / "new").mkdir()
        write_queries(tmp_path / "new", 4)
        fresh = write_run(tmp_path / "new", pool(server.base_url, 3, 3, **prices), queries={"filter": "m-0"})
        run_stages(fresh)
    assert data_files(config) == data_files(fresh)
    check_accounts(config)


@pytest.mark.parametrize("fault", [*FAULTS, "all"])
def test_a_faulty_server_costs_nothing_twice_and_every_request_is_accounted_for(
    fault: str, tmp_path: Path, clock: Turned
) -> None:
    rates = dict.fromkeys(FAULTS, 0.05) if fault == "all" else {fault: 0.05}
    with serve(rates) as server:
        clock.hung = lambda: server.hung
        endpoints = pool(server.base_url, 5, 4, attempts=9)
        config = write_run(
            tmp_path, endpoints, queries={"filter": "m-0"}, judging={"asks": 6}, run={"most_invalid": 0.9}
        )
        report = run_stages(config, loop_factory=clock.loop)
        assert exit_code(report) == 0, report
        assert server.failed.keys() >= ({*FAULTS, "none"} if fault == "all" else {fault})
        assert clock.timeouts == server.hung == server.failed["hang"]
    found = check_accounts(config)
    for name, one in found["endpoints"].items():
        assert one["answered"] + one["invalid"] == server.paid[name]
        assert one["sent"] == server.received[name] == report.sent[name]
    assert server.duplicates == 0
    rows = rows_of(config)
    assert (len(rows), sum(len(row["responses"]) for row in rows)) == (12, 60)
    check_judges(config, rows)


def test_an_endpoint_that_is_down_is_left_while_others_go_on(tmp_path: Path, clock: Turned) -> None:
    with serve() as server:
        server.down.add("m-4")
        config = write_run(tmp_path, pool(server.base_url, 5, 4, give_up=100, attempts=50))
        report = run_stages(config, loop_factory=clock.loop)
        assert exit_code(report) == 3
        assert list(report.left) == ["m-4"]
        assert report.stored is not None
        assert report.stored.responses == 12 * 4
        assert set(report.stored.missing) == {"generate"}
        assert sum(report.stored.missing["generate"].values()) == 12
        check_accounts(config)
        server.down.clear()
        report = run_stages(config, loop_factory=clock.loop)
        assert exit_code(report) == 0
        assert (report.stored and report.stored.responses) == 60
        assert server.duplicates == 0
    check_accounts(config)


def test_a_wrong_key_leaves_the_endpoint_soon_and_is_written_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COIGP_TEST_KEY", "sk-very-secret")
    with serve() as server:
        server.closed.add("m-1")
        config = write_run(tmp_path, pool(server.base_url, 3, 3, key_env="COIGP_TEST_KEY", concurrency=2))
        report = run_stages(config)
        assert 20 <= server.received["m-1"] <= 21, "perhaps some requests alone are denied"
    assert exit_code(report) == 3
    assert "it refused its first 20 attempts: 401: no such key: Bearer ***" in report.left["m-1"]
    assert b"very-secret" not in b"".join(path.read_bytes() for path in config.folder.rglob("*") if path.is_file())
    check_accounts(config)


def kept(config: RunConfig) -> list[tuple[Any, ...]]:
    """What the ledger holds of every request, but when and how often it was sent."""
    columns = "hex(key), endpoint, kind, domain, query_id, author, ask, state, reason, score, cost, finish"
    return select(config, f"SELECT {columns} FROM requests ORDER BY key")


def test_stages_that_overlap_bring_what_stages_one_by_one_bring(tmp_path: Path) -> None:
    ways: list[list[tuple[str, ...]]] = [
        [("queries", "generate", "judge", "store")],
        [("queries", "generate"), ("judge", "store")],
    ]
    found = []
    with ScriptedServer() as server:
        for at, calls in enumerate(ways):
            folder = tmp_path / str(at)
            folder.mkdir()
            config = write_run(folder, pool(server.base_url, 5, 4, concurrency=3), queries={"filter": "m-0"})
            for some in calls:
                assert exit_code(run_stages(config, some)) == 0
            found.append((data_files(config), kept(config)))
            check_judges(config, rows_of(config))
    assert found[0] == found[1]


def test_a_response_is_judged_while_others_are_still_written(tmp_path: Path) -> None:
    """The server holds back the second model's answers until it has seen a judgement."""
    with serve() as server:
        server.until_judged.add("m-2")
        config = write_run(tmp_path, pool(server.base_url, 3, 2), judging={"judges_per_response": 1})
        assert exit_code(run_stages(config, ("queries", "generate", "judge"))) == 0
        assert server.judged.is_set()
    check_accounts(config)


def test_killed_at_random_requests_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    from killing import kills

    counts = kills(tmp_path, 3, random.Random(7), held=True)
    assert counts["killed"] == 3
    assert counts["same_bytes"] == counts["rounds"]


class Interrupted:
    """Sends Ctrl-C to this process once the server holds so many requests, and again after each of our lines."""

    def __init__(self, server: FaultyServer, times: int) -> None:
        self.server, self.times = server, times
        self.lines: list[str] = []
        self.before = sum(server.received.values())

    def say(self, line: str) -> None:
        self.lines.append(line)
        if len(self.lines) < self.times:
            os.kill(os.getpid(), signal.SIGINT)
        elif self.times == 1:
            self.server.release()

    @contextmanager
    def once_held(self, number: int) -> Iterator[None]:
        """While its block runs, wait for so many requests to be there."""

        def wait() -> None:
            while sum(self.server.received.values()) < self.before + number:
                if ended.wait(0.005):
                    return
            os.kill(os.getpid(), signal.SIGINT)

        ended = threading.Event()
        waiting = threading.Thread(target=wait)
        waiting.start()
        try:
            yield
        finally:
            ended.set()
            waiting.join()


def test_control_c_waits_for_what_is_in_flight_and_a_second_one_abandons_it(tmp_path: Path) -> None:
    with serve() as server:
        config = write_run(tmp_path, pool(server.base_url, 3, 3, concurrency=2))
        server.hold()
        once = Interrupted(server, 1)
        with once.once_held(6):
            report = run_stages(config, say=once.say)
        assert (exit_code(report), report.abandoned) == (130, {})
        assert once.lines == ["stopping; in flight, waited for: m-0 2, m-1 2, m-2 2. Again Ctrl-C abandons them"]
        found = check_accounts(config)
        assert sum(one["answered"] for one in found["endpoints"].values()) == sum(server.received.values()) == 6

        server.hold()
        twice = Interrupted(server, 2)
        with twice.once_held(6):
            report = run_stages(config, say=twice.say)
        assert (exit_code(report), report.abandoned) == (130, {"m-0": 2, "m-1": 2, "m-2": 2})
        assert twice.lines[1:] == ["abandoned, and perhaps paid: m-0 2, m-1 2, m-2 2"]
        found = check_accounts(config)
        assert [one["unanswered"] for one in found["endpoints"].values()] == [{"abandoned": 2}] * 3
        counted = select(config, "SELECT tokens FROM attempts WHERE outcome = 'abandoned'")
        assert all(tokens > 64 for (tokens,) in counted), "for the next run's limits with the most that it may take"
        server.release()
        assert exit_code(run_stages(config)) == 0
    check_accounts(config)


def test_two_runs_of_one_folder_exclude_each_other_and_the_store_may_be_written_meanwhile(tmp_path: Path) -> None:
    with serve() as server:
        config = write_run(tmp_path, pool(server.base_url, 3, 3, concurrency=1))
        first = run_stages(config, ("queries",))
        assert first.queries == {"passed": 12}
        server.after = 9
        reports: list[Any] = []
        run = threading.Thread(target=lambda: reports.append(run_stages(config)))
        run.start()
        try:
            server.holding.wait()
            with pytest.raises(UsageError, match="another run is working"):
                run_stages(config)
            report = run_stages(config, ("store",))
            assert report.stored is not None
            assert report.stored.responses >= 3
            assert report.stored.missing["generate"]["pending"] > 0
            listed = [json.loads(line) for line in (config.folder / "missing.jsonl").read_text("utf-8").splitlines()]
            assert len(listed) == sum(sum(states.values()) for states in report.stored.missing.values())
        finally:
            server.release()
            run.join()
        assert [exit_code(report) for report in reports] == [0]


@pytest.mark.parametrize(
    ("status", "headers", "body", "words"),
    [
        (500, {}, {"error": {"message": "cut \ud83d"}}, "error: 500: cut ?"),
        (400, {}, {"error": {"message": "cut \ud83d"}}, "refused: 400: cut ?"),
        (200, {}, {"choices": [{"message": {"content": "答"}, "finish_reason": "\ud83d"}]}, "cut: ?"),
        (200, {}, {**GOOD, "usage": {"prompt_tokens": "2", "completion_tokens": -3}}, None),
        (200, {}, {**GOOD, "usage": "n/a"}, None),
        (200, {}, {**GOOD, "debug": "Bearer sk-very-secret"}, None),
        (401, {}, {"error": {"message": "sk-very-secret is wrong"}}, "denied: 401: *** is wrong"),
        (307, {"Location": "/v2/chat/completions"}, {}, "denied: 307: moved to /v2/chat/completions"),
    ],
)
def test_odd_answers_end_in_the_ledger_without_the_key(
    status: int,
    headers: dict[str, str],
    body: Any,
    words: str | None,
    tmp_path: Path,
    clock: Turned,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COIGP_TEST_KEY", "sk-very-secret")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-somebody")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer sk-another")
    server, seen = answering(status, headers, json.dumps(body))
    try:
        url = f"http://127.0.0.1:{server.server_port}/v1"
        settings = {"input_price": 10, "output_price": 10, "concurrency": 2, "give_up": 10**6}
        config = write_run(tmp_path, pool(url, 3, 3, key_env="COIGP_TEST_KEY", **settings))
        report = run_stages(config, ("generate",), loop_factory=clock.loop)
    finally:
        server.shutdown()
        server.server_close()
    check_accounts(config)
    reasons = {reason for (reason,) in select(config, "SELECT reason FROM requests WHERE state != 'answered'")}
    if words is not None:
        assert reasons
        assert all(reason.startswith(words) for reason in reasons)
    else:
        assert not reasons
        assert select(config, "SELECT COUNT(*) FROM requests WHERE state = 'answered'") == [(36,)]
        assert 0 < report.cost.paid < 10**12
    assert len(seen) == sum(report.sent.values())
    assert {one["authorization"] for one in seen} == {"Bearer sk-very-secret"}
    assert not any(name.startswith(("openai", "x-stainless")) for one in seen for name in one)
    assert b"very-secret" not in b"".join(path.read_bytes() for path in config.folder.rglob("*") if path.is_file())


def test_an_endpoint_that_asks_for_a_day_is_left(tmp_path: Path) -> None:
    server, seen = answering(429, {"Retry-After": "86400"}, "{}")
    try:
        config = write_run(tmp_path, pool(f"http://127.0.0.1:{server.server_port}/v1", 3, 3, concurrency=1))
        report = run_stages(config)
    finally:
        server.shutdown()
        server.server_close()
    assert len(seen) == 3
    assert exit_code(report) == 3
    assert all("asks to wait another 86400" in why for why in report.left.values())


def test_a_run_through_streams_with_headers_of_its_own_writes_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server repeats what it is sent in its answers and, for one model, in its errors."""
    monkeypatch.setenv("COIGP_TEST_KEY", "sk-very/secret==")
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            paths.append(self.path)
            said = f"{self.headers['api-key']} {self.path}"
            if request["model"] == "m-2":
                return self.send("400 Bad", {"error": {"message": f"no: {said}"}}, "application/json")
            assert request["stream"]
            pieces = [{"delta": {"content": said[:9]}}, {"delta": {"content": said[9:]}, "finish_reason": "stop"}]
            values: list[dict[str, Any]] = [{"choices": [piece]} for piece in pieces]
            values.append({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}})
            return self.send("200 OK", values, "text/event-stream")

        def send(self, status: str, value: Any, kind: str) -> None:
            body = json.dumps(value)
            if isinstance(value, list):
                body = "".join(f": ping\n\ndata: {json.dumps(one)}\n\n" for one in value) + "data: [DONE]\n\n"
            self.send_response(int(status[:3]))
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    secret = {"env": "COIGP_TEST_KEY"}
    settings: dict[str, Any] = {"stream": True, "headers": {"api-key": secret}, "query": {"v": "2", "sig": secret}}
    try:
        url = f"http://127.0.0.1:{server.server_port}/v1"
        config = write_run(tmp_path, pool(url, 3, 3, input_price=10, output_price=10, **settings))
        lines: list[str] = []
        report = run_stages(config, ("generate",), say=lines.append)
    finally:
        server.shutdown()
        server.server_close()
    found = check_accounts(config)
    assert [found["endpoints"][name]["answered"] for name in ("m-0", "m-1", "m-2")] == [12, 12, 0]
    assert report.cost.paid == 24 * 12 * 10 * 10**6
    assert set(paths) == {"/v1/chat/completions?v=2&sig=sk-very/secret%3D%3D"}
    written = b"".join(path.read_bytes() for path in config.folder.rglob("*") if path.is_file())
    assert b"secret" not in written
    assert "secret" not in f"{lines} {report}"
