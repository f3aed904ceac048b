"""The ledger's file: totals that are kept, versions, and damage."""

from __future__ import annotations

import json
import random
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from annotating import pool, select, write_queries, write_run
from commands import run
from hypothesis import given
from hypothesis import strategies as st

from coig_p.annotate.asking.ledger import (
    ANSWERED,
    INVALID,
    LEDGER,
    Batch,
    Entry,
    FromBatch,
    Ledger,
    LedgerWriter,
    Reading,
    Taken,
)
from coig_p.annotate.asking.ledger.schema import COUNTED, TRIED, UPGRADES
from coig_p.annotate.concluded import marks, stored_from
from coig_p.annotate.config import RunConfig
from coig_p.annotate.scripted import ScriptedServer
from coig_p.annotate.stages import run_stages
from coig_p.annotate.status import status_of
from coig_p.annotate.tasks.queries import collect


def test_requests_are_counted_by_what_they_were_made_with(tmp_path: Path) -> None:
    """A prompt that changed: what was asked with the old one is still told apart from what was asked with the new."""
    (tmp_path / "code.md").write_text("问：{{query}}\n答：{{response}}\n总体评分：[8]", encoding="utf-8")
    with ScriptedServer() as server:
        endpoints = pool(server.base_url, 3, 3)
        config = write_run(tmp_path, endpoints, queries={"filter": "m-0"})
        run_stages(config)
        changed = write_run(
            tmp_path, endpoints, queries={"filter": "m-0"}, **dict[str, Any]({"domains.code": {"prompt": "code.md"}})
        )
        run_stages(changed)
    with Ledger.open(config.folder) as ledger:
        found = ledger.recipes()
    assert sum(one.number for one in found) == select(config, "SELECT COUNT(*) FROM requests")[0][0]
    recipes: dict[str, set[str]] = {}
    for one in found:
        assert json.loads(one.recipe)["model"] == one.endpoint
        recipes.setdefault(f"{one.kind} {one.domain} {one.endpoint}", set()).add(one.recipe)
    told = Counter(len(recipes[f"judge {domain} m-1"]) for domain in ("chat", "code", "math"))
    assert told == {1: 2, 2: 1}
    for kind, domain, endpoint in (key.split() for key in recipes):
        assert changed.recipes[kind, domain, endpoint] in recipes[f"{kind} {domain} {endpoint}"]
    old = [one for one in found if one.recipe not in changed.recipes.values()]
    assert {(one.kind, one.domain) for one in old} == {("judge", "code")}
    assert sum(one.number for one in old) == 2 * 3 * 2


def damages(path: Path) -> dict[str, Callable[[], object]]:
    """What happens to files: each leaves something that is no whole ledger at `path`."""
    whole = path.read_bytes()
    middle = len(whole) // 2
    foreign = path.with_name("foreign.sqlite")
    with closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE meta (a, b, c)")
    other = foreign.read_bytes()
    foreign.unlink()

    def without(table: str) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(f"DROP TABLE {table}")

    def lost() -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.executescript("DROP TRIGGER request_goes; DELETE FROM requests WHERE kind = 'judge'")

    return {
        "empty": lambda: path.write_bytes(b""),
        "cut in half": lambda: path.write_bytes(whole[:middle]),
        "cut to a page": lambda: path.write_bytes(whole[:4096]),
        "cut by a few bytes": lambda: path.write_bytes(whole[:-100]),
        "text": lambda: path.write_bytes(b"not a database\n" * 1000),
        "zeros": lambda: path.write_bytes(bytes(len(whole))),
        "zeros in the middle": lambda: path.write_bytes(whole[:middle] + bytes(8192) + whole[middle + 8192 :]),
        "noise in the middle": lambda: path.write_bytes(
            whole[:middle] + random.Random(1).randbytes(8192) + whole[middle + 8192 :]
        ),
        "another program's": lambda: path.write_bytes(other),
        "no attempts": lambda: without("attempts"),
        "no version": lambda: without("meta"),
        "rows that are gone": lost,
        "gone": lambda: path.rename(f"{path}-wal"),
    }


KINDS = ["empty", "cut in half", "cut to a page", "cut by a few bytes", "text", "zeros", "zeros in the middle"]
KINDS += ["noise in the middle", "another program's", "no attempts", "no version", "rows that are gone", "gone"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_ledger_that_is_not_whole_is_an_error_and_nothing_is_asked(kind: str, tmp_path: Path) -> None:
    with ScriptedServer() as server:
        config = write_run(tmp_path, pool(server.base_url, 3, 3))
        run_stages(config)
        asked = sum(server.seen.values())
        path = config.folder / LEDGER
        damages(path)[kind]()
        left = path.read_bytes() if path.exists() else b""
        for command in ("run", "generate", "judge"):
            done = run("annotate", command, config.path, code=1)
            (line,) = done.stderr.strip().splitlines()
            assert str(path) in line
            assert "paid again" in line
        assert sum(server.seen.values()) == asked
        assert (path.read_bytes() if path.exists() else b"") == left
        for command in ("status", "store", "audit"):  # they may not come upon it
            done = run("annotate", command, config.path, code=None)
            assert done.returncode in (0, 1, 2)
            assert "Traceback" not in done.stderr
        run("annotate", "run", config.path, "--estimate", code=None)
        assert sum(server.seen.values()) == asked


def test_an_answer_that_is_not_what_was_written_is_an_error(tmp_path: Path) -> None:
    """The database is whole, and a byte of a text is another: its checksum tells."""
    with ScriptedServer() as server:
        config = write_run(tmp_path, pool(server.base_url, 3, 3))
        run_stages(config)
        asked = sum(server.seen.values())
        (body,) = select(config, "SELECT body FROM requests WHERE kind = 'generate' LIMIT 1")[0]
        changed = body[:-3] + bytes([body[-3] ^ 1]) + body[-2:]
        with closing(sqlite3.connect(config.folder / LEDGER, isolation_level=None)) as connection:
            connection.execute("UPDATE requests SET body = ? WHERE body = ?", (changed, body))
        assert "is damaged: a stored answer" in run("annotate", "store", config.path, code=1).stderr
        run("annotate", "run", config.path)  # it is through, and reads no answer
        assert sum(server.seen.values()) == asked


# Totals that are kept


ALL_COUNTED = """
SELECT endpoint, kind, domain, COALESCE(recipe, 0), state, ask, COALESCE(finish, ''), COUNT(*), SUM(cost / 1000000),
    SUM(cost % 1000000), SUM(prompt_tokens IS NOT NULL AND completion_tokens IS NOT NULL),
    SUM(CASE WHEN completion_tokens IS NOT NULL THEN COALESCE(prompt_tokens, 0) ELSE 0 END),
    SUM(CASE WHEN prompt_tokens IS NOT NULL AND completion_tokens IS NOT NULL THEN characters ELSE 0 END),
    SUM(CASE WHEN prompt_tokens IS NOT NULL THEN COALESCE(completion_tokens, 0) ELSE 0 END)
FROM requests GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 2, 3, 4, 5, 6, 7"""
ALL_TRIED = """
SELECT endpoint, COALESCE(outcome, ''), COUNT(*), SUM(bound / 1000000), SUM(bound % 1000000) FROM attempts
GROUP BY 1, 2 ORDER BY 1, 2"""
TOKENS = st.one_of(st.none(), st.integers(0, 9))
STEPS = st.tuples(
    st.sampled_from(
        ["begin", "answered", "unanswered", "fail", "out", "in", "lost", "forget", "never", "back", "read"]
    ),
    st.integers(0, 3),
    st.tuples(st.sampled_from(["a", ""]), st.sampled_from([ANSWERED, INVALID]), TOKENS, TOKENS, st.integers(0, 2**62)),
)


@given(st.lists(STEPS, max_size=30))
def test_what_is_counted_is_what_there_is(steps: list[Any]) -> None:
    """Whatever happens to requests and attempts, in any order: totals are those of counting all rows anew."""
    with tempfile.TemporaryDirectory() as folder, LedgerWriter.open(Path(folder)) as ledger:
        flying: list[tuple[int, bytes]] = []
        for what, at, (recipe, state, prompt, completion, cost) in steps:
            entry = Entry(bytes([at]), f"e-{at % 2}", "judge", "chat", f"q-{at}", None, at % 3, 7, recipe)
            finish = "length" if cost % 2 else None
            answer = Taken(state, None, None, prompt, completion, cost, finish, "{}")
            batch = Batch(f"b-{at}", entry.endpoint, None, 1, cost, 0.0)
            if what == "begin":
                flying.append((ledger.begin(entry, 5, cost), entry.key))
            elif what in ("answered", "unanswered") and flying:
                attempt, key = flying.pop()
                if what == "answered":
                    ledger.answered(attempt, key, answer, 0.1, 5)
                else:
                    ledger.unanswered(attempt, "timeout", 0.1, 5)
            elif what == "fail":
                ledger.fail(entry.key, "error")
            elif what == "out" and batch.name not in {one.name for one in ledger.batches()}:
                ledger.put_out([entry], batch)
            elif what == "in":
                ledger.take_in([FromBatch(entry.key, entry.endpoint, answer if cost % 3 else None, "why")])
            elif what == "lost":
                ledger.recover("lost")
            elif what == "forget":
                ledger.forget_batches()
            elif what == "never":
                ledger.batch_never_left(batch.name)
            elif what == "back":
                ledger.batch_is_back(batch.name, "expired")
            elif what == "read":
                ledger.read_again([Reading(entry.key, state, None, None)])
        with closing(sqlite3.connect(Path(folder) / LEDGER)) as connection:
            counted = f"SELECT * FROM {COUNTED} WHERE number > 0 ORDER BY 1, 2, 3, 4, 5, 6, 7"
            assert connection.execute(counted).fetchall() == connection.execute(ALL_COUNTED).fetchall()
            tried = connection.execute(f"SELECT * FROM {TRIED} WHERE number > 0 ORDER BY 1, 2").fetchall()
            assert tried == connection.execute(ALL_TRIED).fetchall()
            assert not connection.execute("SELECT * FROM totals WHERE state = 'open'").fetchall()
            assert not connection.execute("SELECT * FROM totals WHERE number < 0").fetchall()
            cost = sum(money for (money,) in connection.execute("SELECT cost FROM requests"))
            assert ledger.spent().paid == cost


# Versions


def old_run(folder: Path, base_url: str) -> RunConfig:
    """What 4032021 left when it was killed at the first judgements."""
    write_queries(folder, 4)
    config = write_run(folder, pool(base_url, 3, 3, concurrency=2), queries={"filter": "m-0"})
    config.folder.mkdir()
    with closing(sqlite3.connect(config.folder / LEDGER, isolation_level=None)) as connection:
        connection.executescript((Path(__file__).parent / "ledger_v1.sql").read_text("utf-8"))
    return config


def seen_of(config: RunConfig) -> list[Any]:
    with Ledger.open(config.folder) as ledger:
        status = status_of(config, ledger).to_dict()
        return [status, ledger.recipes(), ledger.requests(), ledger.usage(), list(ledger.judged(kinds=("query",)))]


def test_an_old_ledger_is_read_as_it_is_and_counts_the_same_once_it_is_new(tmp_path: Path) -> None:
    config = old_run(tmp_path, "http://127.0.0.1:9/v1")
    path = config.folder / LEDGER
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE attempts SET outcome = 'lost' WHERE outcome IS NULL")  # as the first writer does
        connection.execute("UPDATE requests SET state = 'failed', reason = 'lost' WHERE state = 'open'")
    before = path.read_bytes()
    seen = seen_of(config)
    assert path.read_bytes() == before
    assert sum(one.number for one in seen[2]) == 24
    with LedgerWriter.open(config.folder) as ledger:
        assert ledger.upgraded_from == 1
    assert seen_of(config) == seen
    with LedgerWriter.open(config.folder) as ledger:
        assert ledger.upgraded_from is None


@pytest.mark.parametrize("write", [False, True])
def test_a_ledger_of_version_2_counts_what_is_open_once(write: bool, tmp_path: Path) -> None:
    """ledger_v2.sql is what 00de617 left with three requests open, two of them in flight; its totals have those."""
    with closing(sqlite3.connect(tmp_path / LEDGER, isolation_level=None)) as connection:
        connection.executescript((Path(__file__).parent / "ledger_v2.sql").read_text("utf-8"))
        kept = connection.execute("SELECT SUM(number) FROM totals WHERE state = 'open'").fetchone()
        rows, tries = connection.execute(ALL_COUNTED).fetchall(), connection.execute(ALL_TRIED).fetchall()
    assert (kept, sum(row[7] for row in rows), sum(row[2] for row in tries)) == ((3,), 8, 7)
    if write:  # which also ends what was in flight
        with LedgerWriter.open(tmp_path) as writer:
            assert writer.upgraded_from == 2
    with Ledger.open(tmp_path) as ledger, closing(sqlite3.connect(tmp_path / LEDGER)) as connection:
        rows, tries = connection.execute(ALL_COUNTED).fetchall(), connection.execute(ALL_TRIED).fetchall()
        found = {(one.endpoint, one.kind, one.state): one.number for one in ledger.requests()}
        assert found == {(row[0], row[1], row[4]): row[7] for row in rows}
        assert ("open" in {state for _, _, state in found}) is not write
        assert {(one.endpoint, one.outcome or ""): one.number for one in ledger.attempts()} == {
            (endpoint, outcome): number for endpoint, outcome, number, *_ in tries
        }
        assert ledger.spent().paid == 3 * 10**9 + 3


def test_a_run_that_is_killed_while_it_makes_a_ledger_new_leaves_the_old_one_or_the_new(tmp_path: Path) -> None:
    """Every step of the change fails once: what is there then is version 1, and the next run goes on."""
    (tmp_path / "one").mkdir()
    config = old_run(tmp_path / "one", "http://127.0.0.1:9/v1")
    path = config.folder / LEDGER
    before = path.read_bytes()
    steps = [step for step in sqlite_steps(UPGRADES[1]) if step.strip()]
    assert len(steps) > 10
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for number in range(len(steps)):
            connection.execute("BEGIN IMMEDIATE")
            for step in steps[:number]:
                connection.execute(step)
            connection.close()  # as the end of a process does
            connection = sqlite3.connect(path, isolation_level=None)
            assert select(config, "SELECT value FROM meta WHERE name = 'version'") == [("1",)]
    assert path.read_bytes() == before
    with LedgerWriter.open(config.folder) as ledger:
        assert ledger.upgraded_from == 1


def sqlite_steps(script: str) -> list[str]:
    """The statements of a script, triggers with semicolons in them whole."""
    steps, step = [], ""
    for part in script.split(";"):
        step += part + ";"
        if sqlite3.complete_statement(step):
            steps.append(step)
            step = ""
    return steps


# Queries that are through


def test_a_run_with_nothing_to_do_looks_nothing_up_and_leaves_the_store_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[bytes] = []
    state = LedgerWriter.state

    def counted(ledger: LedgerWriter, key: bytes) -> str | None:
        looked.append(key)
        return state(ledger, key)

    with ScriptedServer() as server:
        config = write_run(tmp_path, pool(server.base_url, 3, 3), queries={"filter": "m-0"})
        first = run_stages(config)
        store = config.folder / "store" / "manifest.json"
        monkeypatch.setattr(LedgerWriter, "state", counted)
        made = store.stat().st_mtime_ns
        second = run_stages(config)
        assert looked == []
        assert store.stat().st_mtime_ns == made
        assert first.stored is not None
        assert second.stored is not None
        assert second.stored[1:] == first.stored[1:]
        store.with_name("README.md").write_text("mine")
        run_stages(config)
        assert store.stat().st_mtime_ns != made  # somebody changed the store: it is written anew
        (tmp_path / "chat.md").write_text("问：{{query}}\n答：{{response}}\n总体评分：[8]", encoding="utf-8")
        changed = write_run(
            tmp_path,
            pool(server.base_url, 3, 3),
            queries={"filter": "m-0"},
            **dict[str, Any]({"domains.chat": {"prompt": "chat.md"}}),
        )
        report = run_stages(changed)
        assert sum(report.sent.values()) == 2 * 3 * 2  # two queries of chat, three models, two judges each
        assert looked
        looked.clear()
        run_stages(changed)
        assert looked == []


@pytest.mark.parametrize("change", ["seed", "asks", "pass_score", "judges", "parameters", "cut"])
def test_a_setting_that_makes_other_requests_makes_another_mark(change: str, tmp_path: Path) -> None:
    endpoints = pool("http://127.0.0.1:9/v1", 3, 3)
    config = write_run(tmp_path, endpoints, queries={"filter": "m-0"})
    other: dict[str, dict[str, Any]] = {"queries": {"filter": "m-0"}}
    if change == "parameters":
        endpoints[2]["parameters"] = {"max_tokens": 65}
    elif change == "judges":
        other["judging"] = {"judges_per_response": 1}
    elif change == "pass_score":
        other["queries"]["pass_score"] = 5
    else:
        table, value = {"seed": ("run", 2), "asks": ("judging", 2), "cut": ("run", True)}[change]
        other[table] = {"keep_cut" if change == "cut" else change: value}
    changed = marks(write_run(tmp_path, endpoints, **dict[str, Any](other)))
    assert not set(changed.values()) & set(marks(config).values())
    assert len(set(changed.values())) == len(changed)


def test_a_setting_that_changes_no_request_makes_the_same_mark(tmp_path: Path) -> None:
    config = write_run(tmp_path, pool("http://127.0.0.1:9/v1", 3, 3), queries={"filter": "m-0"})
    settings = {"concurrency": 3, "input_price": 7, "timeout": 9, "batch": True, "requests_per_minute": 60}
    endpoints = pool("http://127.0.0.2:9/v1", 3, 3, **settings)
    same = write_run(tmp_path, endpoints, run={"max_cost": 99, "folder": "other"}, queries={"filter": "m-0"})
    assert marks(same) == marks(config)
    assert stored_from(same) == stored_from(config)
    filtered: dict[str, Any] = {"filter": "m-0"}
    tables: list[dict[str, dict[str, Any]]] = [  # these make another store of the same requests
        {"queries": filtered, "run": {"keep_thinking": True}},
        {"queries": filtered, "judging": {"default_threshold": 3}},
        {"queries": {**filtered, "license": "mit"}},
    ]
    for some in tables:
        other = write_run(tmp_path, endpoints, **dict[str, Any](some))
        assert marks(other) == marks(config)
        assert stored_from(other) != stored_from(config)


def test_what_is_read_anew_or_forgotten_is_gone_over_again(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        config = write_run(tmp_path, pool(server.base_url, 3, 3))
        run_stages(config)
        unless = marks(config).values()
        with LedgerWriter.open(config.folder) as ledger:
            assert ledger.count_queries(unless=unless) == 0
            judged = next(iter(ledger.judged(kinds=("judge",))))
            ledger.read_again([Reading(judged.key, INVALID, "none", None)])
            assert ledger.count_queries(unless=unless) == 12
        report = run_stages(config)  # the judgement that is invalid now is asked again
        assert sum(report.sent.values()) == 1
        rows = (tmp_path / "queries.jsonl").read_text("utf-8").splitlines()
        (tmp_path / "queries.jsonl").write_text("\n".join([*rows[3:], rows[0].replace("第0问", "第零问")]), "utf-8")
        with LedgerWriter.open(config.folder) as ledger:
            assert ledger.count_queries(unless=unless) == 0
            collect(config, ledger)
            assert ledger.count_queries(passed=False) == 10
            assert [one.query[:3] for one in ledger.queries(passed=False, unless=unless)] == ["第零问"]


@pytest.mark.parametrize("order", [["b", "a", "c"], ["c", "b", "a"], ["a", "c", "b", "a"]])
def test_of_equal_texts_the_smallest_id_stays_whatever_their_order(order: list[str], tmp_path: Path) -> None:
    rows = [{"query_id": name, "domain": "chat", "query": "天上有几颗星？"} for name in order]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (tmp_path / "queries.jsonl").write_text("\n".join(lines), encoding="utf-8")
    config = write_run(tmp_path, pool("http://127.0.0.1:9/v1", 3, 3))
    with LedgerWriter.open(config.folder) as ledger:
        collect(config, ledger)
        assert [query.query_id for query in ledger.queries(passed=False)] == ["a"]
        gone = [json.loads(drop.line) for drop in ledger.dropped()]
    first = order.index("a")
    assert [one["query_id"] for one in gone] == [name for at, name in enumerate(order) if at != first]
    assert {(one["reason"], one["duplicate_of"]) for one in gone} == {("exact", "a")}
