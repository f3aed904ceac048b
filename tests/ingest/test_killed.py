"""An import that is killed: the old store is there, or the new one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig
from coig_p.store.store import Store

GOOD: dict[str, Any] = {
    "query_id": "q1",
    "domain": "math",
    "query": "一加一等于几？",
    "responses": [
        {"model": "a", "text": "二。", "scores": [{"judge": "j", "score": 9}]},
        {"model": "b", "text": "三。", "scores": [{"judge": "j", "dimension": "overall", "score": 1.5}]},
    ],
}


def write(path: Path, *rows: Any) -> Path:
    """A JSON Lines file; a row that is bytes is written as it is."""
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def stored_rows(store: Store) -> list[dict[str, Any]]:
    return [row for batch in store.batches() for row in batch.to_pylist()]


# A process that imports in a child of its own for every line that it is sent, and kills the child just before the so
# manyth line of code that it runs where files come and go. It answers with the number of lines run, or "killed".
KILLED = """
import json, os, signal, sys
from pathlib import Path
from coig_p.core import atomic
from coig_p.ingest import files
from coig_p.ingest.intake import ImportConfig
from coig_p.store import writing
import shutil
import pandas  # pyarrow needs it in every import; once here is not once in every child

writing.ROWS_PER_SHARD, writing.ROWS_PER_GROUP = 10, 4
TRACED = {module.__file__ for module in (atomic, files, writing, shutil)}
for line in sys.stdin:
    source, target, last = json.loads(line)
    seen = 0

    def trace(frame, event, argument):
        global seen
        if frame.f_code.co_filename not in TRACED:
            return None
        if event == "line":
            seen += 1
            if seen == last:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    child = os.fork()
    if not child:
        sys.settrace(trace)
        files.import_files([source], target, ImportConfig(), overwrite=True)
        sys.settrace(None)
        print(seen, flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1] == signal.SIGKILL:
        print("killed", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("old", [None, "第1版"], ids=["no store", "an older store"])
def test_killed_at_any_line_there_is_the_old_state_or_the_new_one(old: str | None, tmp_path: Path) -> None:
    paths = [
        write(tmp_path / f"{version}.jsonl", *(GOOD | {"query_id": str(at), "query": version} for at in range(30)))
        for version in ("第1版", "第2版")
    ]
    target = tmp_path / "out" / "store"
    found: dict[int, str | None] = {}

    def ask(process: subprocess.Popen[str], path: Path, last: int) -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([str(path), str(target), last]) + "\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    def kill_at(process: subprocess.Popen[str], line: int) -> str | None:
        """Which version is there after it; None for no store."""
        shutil.rmtree(target.parent, ignore_errors=True)
        if old:
            shutil.copytree(tmp_path / "old", target)
        assert ask(process, paths[1], line) == "killed"
        if not target.exists():
            return None
        store = Store.open(target)
        assert store.verify() == []
        assert [file.rows for file in store.data_files()] == [10, 10, 10]
        (version,) = {row["query"] for row in stored_rows(store)}
        return str(version)

    command = [sys.executable, "-c", KILLED]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if old:
            ask(process, paths[0], 0)
            shutil.copytree(target, tmp_path / "old")
        lines = int(ask(process, paths[1], 0))
        for line in sorted({*range(1, lines, lines // 16), lines}):
            found[line] = kill_at(process, line)
        before = max(line for line, version in found.items() if version == old)
        after = min(line for line, version in found.items() if version != old)
        while after - before > 1:
            middle = (before + after) // 2
            found[middle] = kill_at(process, middle)
            before, after = (middle, after) if found[middle] == old else (before, middle)
        kill_at(process, before)
    # One line takes the folder from the old state to the new one, for good.
    assert found == {line: old if line <= before else "第2版" for line in found}
    assert any(path != target for path in target.parent.iterdir()), "the last kill left nothing to clear away"
    import_files([paths[0]], target, ImportConfig(), overwrite=True)
    assert list(target.parent.iterdir()) == [target], "a killed import left something behind"
