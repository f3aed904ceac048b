"""The ledger's file: totals that are kept, versions, and damage."""

from __future__ import annotations

import json
import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from annotating import pool, select, write_run
from commands import run

from coig_p.annotate.asking.ledger import LEDGER, Ledger
from coig_p.annotate.scripted import ScriptedServer
from coig_p.annotate.stages import run_stages


def test_requests_are_counted_by_what_they_were_made_with(tmp_path: Path) -> None:
    """A prompt that changed: what was asked with the old one is still told apart from what was asked with the new."""
    (tmp_path / "code.md").write_text("问：{{query}}\n答：{{response}}\n总体评分：[8]", encoding="utf-8")
    with ScriptedServer() as server:
        endpoints = pool(server.base_url, 3, 3)
        config = write_run(tmp_path, endpoints, queries={"filter": "m-0"})
        run_stages(config)
        changed = write_run(tmp_path, endpoints, queries={"filter": "m-0"}, **{"domains.code": {"prompt": "code.md"}})
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
        "gone": lambda: (Path(f"{path}-wal").write_bytes(b"x"), path.unlink()),
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
        run("annotate", "run", config.path, "--estimate", code=1)
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
