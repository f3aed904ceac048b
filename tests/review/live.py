"""A review on a live Label Studio: tasks and config go in, answers are given, the export comes back as they were given.

Run by `make test-review`, which sets COIGP_LABEL_STUDIO to the command where pip could install it. The server runs on
loopback, keeps its database in a folder of the test, and tells nobody that it runs. Its first start takes a minute or
more: it makes its tables.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from commands import run

from coig_p.review.answers import read_answers
from coig_p.review.folder import FORMS, open_review, read_tasks, tasks_path
from coig_p.store.locate import BUNDLED

COMMAND = os.environ.get("COIGP_LABEL_STUDIO", "")
pytestmark = pytest.mark.skipif(not COMMAND, reason=os.environ.get("COIGP_WHY_NOT") or "run it with: make test-review")
PATIENCE = 1200  # seconds for its tables, on a busy machine
QUIET = {
    "COLLECT_ANALYTICS": "False",
    "LATEST_VERSION_CHECK": "False",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "DJANGO_DB": "sqlite",
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
}


class LabelStudio:
    """What a client asks of a server: JSON there and back."""

    def __init__(self, address: str, token: str) -> None:
        self.address, self.token = address, token

    def ask(self, path: str, told: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.address}/api/{path}",
            data=None if told is None else json.dumps(told).encode(),
            headers={"Authorization": f"Token {self.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.code} {error.read(2000)!r}") from None

    def project(self, title: str, config: str, tasks: Any) -> int:
        number = int(self.ask("projects/", {"title": title, "label_config": config})["id"])
        found = self.ask(f"projects/{number}/import", tasks)
        assert found["task_count"] == len(tasks)
        return number

    def tasks(self, project: int) -> list[dict[str, Any]]:
        return list(self.ask(f"tasks?project={project}&page_size=1000&fields=all")["tasks"])

    def answer(self, task: int, results: list[dict[str, Any]], *, skipped: bool = False, seconds: float = 3.5) -> None:
        told = {"result": results, "was_cancelled": skipped, "lead_time": seconds}
        self.ask(f"tasks/{task}/annotations/", told)

    def export(self, project: int, kind: str = "JSON") -> Any:
        return self.ask(f"projects/{project}/export?exportType={kind}&download_all_tasks=true")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudio]:
    folder = tmp_path_factory.mktemp("label-studio")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(20)
    words = [COMMAND, "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    words += ["--data-dir", str(folder), "--username", "a@example.invalid", "--password", secrets.token_hex(8)]
    words += ["--user-token", token]
    environment = os.environ | QUIET | {"LABEL_STUDIO_BASE_DATA_DIR": str(folder), "HOME": str(folder)}
    log = folder / "server.log"
    with open(log, "wb") as out:
        process = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=folder)
    found = LabelStudio(f"http://127.0.0.1:{port}", token)
    try:
        end = time.monotonic() + PATIENCE
        while True:
            assert process.poll() is None, log.read_text("utf-8", errors="replace")[-3000:]
            assert time.monotonic() < end, "it never answered"
            with suppress(OSError, AssertionError):
                found.ask("projects/")
                break
            time.sleep(1)
        yield found
    finally:
        process.terminate()
        process.wait()


def choices(name: str, *said: str, on: str = "dialogue") -> dict[str, Any]:
    return {"from_name": name, "to_name": on, "type": "choices", "value": {"choices": list(said)}}


def comment(text: str) -> dict[str, Any]:
    return {"from_name": "comment", "to_name": "dialogue", "type": "textarea", "value": {"text": [text]}}


def ranked(*levels: str) -> dict[str, Any]:
    buckets = {str(place): list(level) for place, level in enumerate(levels, 1)} | {"_": []}
    return {"from_name": "ranking", "to_name": "responses", "type": "ranker", "value": {"ranker": buckets}}


# Of each form what an annotator says, and the answer that must come of it; a comment behind the last.
SAID: dict[str, list[tuple[list[dict[str, Any]], dict[str, Any]]]] = {
    "pair": [
        ([choices("preference", "A"), choices("correct", "a_correct", "b_correct")],
         {"preference": "A", "correct": ["a", "b"], "query_ok": None}),
        ([choices("preference", "tie")], {"preference": "tie", "correct": [], "query_ok": None}),
    ],
    "accept": [
        ([choices("preference", "B"), choices("correct", "b_correct"), choices("query_ok", "yes")],
         {"preference": "B", "correct": ["b"], "query_ok": True}),
        ([choices("preference", "tie"), choices("query_ok", "no")],
         {"preference": "tie", "correct": [], "query_ok": False}),
    ],
    "triple": [
        ([ranked("b", "ac")], {"ranking": [["b"], ["a", "c"]]}),
        ([ranked("c", "a", "b")], {"ranking": [["c"], ["a"], ["b"]]}),
    ],
    "query": [([choices("feasible", "yes")], {"feasible": True}), ([choices("feasible", "no")], {"feasible": False})],
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_what_is_answered_there_arrives_as_it_was_said(server: LabelStudio, form: str, tmp_path: Path) -> None:
    folder = tmp_path / "review"
    run("review", "draw", BUNDLED, "--out", folder, "--annotators", "a,b", "--form", form, "--per-domain", "2")
    review = open_review(folder)
    config = (folder / "config.xml").read_text("utf-8")
    wanted: dict[tuple[str, str], dict[str, Any] | None] = {}
    exports: list[Path] = []
    for name in review.annotators:
        tasks = json.loads(tasks_path(folder, name).read_text("utf-8"))
        project = server.project(f"{form} {name}", config, tasks)
        assert sorted(task["data"]["item"] for task in server.tasks(project)) == sorted(
            task["item"] for task in read_tasks(review, name)
        )
        for at, task in enumerate(server.tasks(project)):
            item = task["data"]["item"]
            assert task["data"] == next(own for own in read_tasks(review, name) if own["item"] == item)
            if at == 0:
                server.answer(task["id"], [], skipped=True)
                wanted[item, name] = None
            elif at > 1:  # the second is not answered
                results, wanted[item, name] = SAID[form][at % 2]
                server.answer(task["id"], [*results, comment("两行\n备注")])
        exports.append(tmp_path / f"{name}.json")
        exports[-1].write_text(json.dumps(server.export(project), ensure_ascii=False), encoding="utf-8")
        minimal = tmp_path / "minimal.json"
        minimal.write_text(json.dumps(server.export(project, "JSON_MIN")), encoding="utf-8")
        assert "JSON_MIN" in run("review", "import", folder, minimal, code=1).stderr
        assert not [one for one in read_answers(folder) if one.annotator == name]
        run("review", "import", folder, exports[-1])
    found = read_answers(folder)
    assert {(one.item, one.annotator): one.answer for one in found} == wanted
    for one in found:
        assert one.by == "label-studio"
        assert one.seconds == 3.5
        assert one.skipped == (wanted[one.item, one.annotator] is None)
        assert one.comment == (None if one.skipped else "两行\n备注")
    kept = {path: path.read_bytes() for path in (folder / "answers").iterdir()}
    run("review", "import", folder, *exports)
    assert {path: path.read_bytes() for path in (folder / "answers").iterdir()} == kept, "once more brings nothing new"


def test_an_answer_that_is_changed_there_replaces_the_one_before(server: LabelStudio, tmp_path: Path) -> None:
    folder = tmp_path / "review"
    run("review", "draw", BUNDLED, "--out", folder, "--annotators", "a", "--per-domain", "1")
    tasks = json.loads(tasks_path(folder, "a").read_text("utf-8"))
    project = server.project("changed", (folder / "config.xml").read_text("utf-8"), tasks)
    first = server.tasks(project)[0]
    export = tmp_path / "export.json"
    for preference in ("A", "B"):
        server.answer(first["id"], [choices("preference", preference)])
        export.write_text(json.dumps(server.export(project)), encoding="utf-8")
        run("review", "import", folder, export)
        (answer,) = read_answers(folder)
        assert answer.answer is not None
        assert (answer.item, answer.answer["preference"]) == (first["data"]["item"], preference)
