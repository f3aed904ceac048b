"""`coigp-publish` as people type it, what it says, and that the token is in none of it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import click
import huggingface_hub
import huggingface_hub.constants
import pytest
from faults import REPO
from make import make_rows, make_store
from making import count_footers, make_release
from running import Said, run_publish
from trials import ACCOUNTS, TOKEN

from coig_p.cli.publish import publish
from coig_p.errors import RemoteError
from coig_p.publish.local_hub import Handler, LocalHub
from coig_p.publish.local_hub.repository import Objects
from coig_p.publish.local_hub.server import Answer
from coig_p.publish.trouble import Trouble, explain


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    return make_release(make_store(folder / "store", make_rows({"math": 8})), folder / "release")


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is loaded back in this process: rows are counted instead."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("coig_p.publish.verify.load_in_process", count_footers)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    with LocalHub(tmp_path / "hub", ACCOUNTS).serving() as hub:
        yield hub


def run_process(*arguments: object, endpoint: str = "", warnings: str = "error", **environment: str) -> Said:
    """The command in a process of its own, which must end with 0."""
    given = {"PYTHONIOENCODING": "utf-8", "HF_HUB_OFFLINE": "0"} | ({"HF_ENDPOINT": endpoint} if endpoint else {})
    command = [sys.executable, "-W", warnings, "-c", "from coig_p.cli.publish import main; main()"]
    done = subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | given | environment,
        check=False,
    )
    if "HF_DEBUG" not in environment:  # with it the client shows its own
        assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr + done.stdout
    return Said(done.stdout, done.stderr)


def test_publish_plan_status(hub: LocalHub, release: Path) -> None:
    where: dict[str, Any] = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN}
    planned = json.loads(run_publish(release, REPO, "--version", "1.0.0", "--dry-run", "--json", **where).stdout)
    assert hub.repositories == {}
    assert {file["path"] for file in planned["add"]} >= {"README.md", "manifest.json"}
    assert "no such dataset" in run_publish("--status", REPO, **where).stdout
    done = json.loads(run_publish(release, REPO, "--version", "1.0.0", "--json", **where).stdout)
    assert done["added"] == len(planned["add"])
    assert done["rows"]["math-raw"] == {"train": 8}
    again = run_publish(release, REPO, "--version", "1.0.0", **where)
    assert "published already" in again.stdout
    assert "published without a check" in again.stderr  # a folder that no write_release made
    assert "Nothing was changed" in run_publish(release, REPO, "--version", "1.0.1", "--dry-run", **where).stdout
    shown = run_publish("--status", REPO, **where).stdout
    assert done["commit"] in shown
    assert "version   1.0.0" in shown


def test_a_rehearsal_needs_no_network_and_leaves_nothing(release: Path, tmp_path: Path) -> None:
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    where = {"TMPDIR": str(tmp_path), "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")} | proxies
    done = run_process(release, "--version", "1.0.0", "--rehearse", **where)
    assert "math-raw 8" in done.stdout
    assert "rehearsal" in done.stdout
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("after", [0, 1, 4])
def test_no_space_for_a_rehearsal_is_one_error(after: int, release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At making the repository, at an upload, and at the commit."""
    write, written = Objects.write, count()

    def full(*given: Any) -> Any:
        if next(written) < after:
            return write(*given)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "objects")

    monkeypatch.setattr(Objects, "write", full)
    said = run_publish(release, "--version", "1.0.0", "--rehearse", code=3).stderr
    assert next(written) > after
    assert "Traceback" not in said
    assert said.count("error: ") == 1
    assert "No space left on device: 'objects'" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Missing arguments"),
        (("RELEASE", REPO), "Missing option '--version'"),
        (("RELEASE", REPO, "--version", "v1"), "three numbers"),
        (("RELEASE", "name", "--version", "1.0.0"), "org/name"),
    ],
)
def test_usage(arguments: tuple[str, ...], words: str, release: Path) -> None:
    given = [str(release) if at == "RELEASE" else at for at in arguments]
    assert words in run_publish(*given, code=2).stderr


def test_the_help_shows_an_example() -> None:
    text = publish.get_help(click.Context(publish, info_name="coigp-publish"))
    assert "coigp publish store org/name --version 1.0.0" in text
    assert all(option.help for option in publish.params if isinstance(option, click.Option))


class Echoing(Handler):
    """A server that repeats the token in its refusal, as no server should."""

    def act(self) -> Answer:
        if "/commit/" in self.route_path:
            return Answer(403, b"{}", {"X-Error-Message": f"Forbidden for {self.headers['Authorization']}"})
        return super().act()


def test_the_token_is_nowhere(hub: LocalHub, release: Path, tmp_path: Path) -> None:
    """The whole of it, in a process of its own, at the most verbose level of everything that logs."""
    verbose = {"HF_DEBUG": "1", "HF_HUB_VERBOSITY": "debug", "DATASETS_VERBOSITY": "debug"}
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    where = {"endpoint": hub.endpoint, "TMPDIR": str(scratch), "HF_HOME": str(tmp_path / "home"), "warnings": "default"}
    rest = ("--version", "1.0.0", "-v", "--private", "--token", TOKEN)
    done = run_process(release, REPO, *rest, **where, **verbose)
    assert "Request" in done.stderr, "the most verbose level was not so verbose"
    assert TOKEN not in done.stdout + done.stderr
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path


def test_a_server_that_repeats_the_token(release: Path, tmp_path: Path) -> None:
    with LocalHub(tmp_path / "hub", ACCOUNTS, handler=Echoing).serving() as hub:
        where: dict[str, Any] = {"HF_ENDPOINT": hub.endpoint}
        done = run_publish(release, REPO, "--version", "1.0.0", "-v", "--token", TOKEN, code=3, **where)
        shown = run_publish("--status", REPO, "-v", "--token", TOKEN, **where)
    assert "Forbidden for Bearer <token>" in done.stderr
    assert TOKEN not in done.stdout + done.stderr + shown.stdout + shown.stderr


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (Trouble(401), "hf auth login"),
        (Trouble(402), "out of storage or of quota"),
        (Trouble(403), "write access"),
        (Trouble(403, message="You have exceeded your storage limit"), "out of storage or of quota"),
        (Trouble(404), "Check the name"),
        (Trouble(409), "somebody else"),
        (Trouble(412), "somebody else"),
        (Trouble(429, retry_after=30), "Wait for 30 seconds"),
        (Trouble(503), "the server failed with 503"),
        (Trouble(418), "refused with 418"),
        (Trouble(transport=True, message="ConnectError"), r"no answer \(ConnectError\)"),
        (Trouble(garbled=True), "no Hub gives"),
        (Trouble(offline=True), "HF_HUB_OFFLINE"),
    ],
)
def test_words_for_every_trouble(trouble: Trouble, words: str) -> None:
    error = explain(trouble, REPO, "https://hub.example.org", "committing", TOKEN)
    assert error.exit_code == 3
    with pytest.raises(RemoteError, match=words):
        raise error


def test_a_page_that_is_no_hub_is_said(release: Path, tmp_path: Path) -> None:
    class Portal(Handler):
        def act(self) -> Answer:
            return Answer(200, b"<html>Please sign in to the hotel's network</html>", {"Content-Type": "text/html"})

    with LocalHub(tmp_path / "hub", ACCOUNTS, handler=Portal).serving() as hub:
        done = run_publish("--status", REPO, "--token", TOKEN, code=3, HF_ENDPOINT=hub.endpoint)
    assert "no Hub gives" in done.stderr


def test_a_store_that_says_that_it_is_a_release_is_warned_of(tmp_path: Path) -> None:
    """Such a folder goes past the gate as it is."""
    store = make_store(tmp_path / "store", make_rows({"math": 4}))
    fields = json.loads((store / "manifest.json").read_text("utf-8"))
    (store / "manifest.json").write_text(json.dumps(fields | {"release": {"version": "1.0.0"}}), "utf-8")
    said = run_publish(store, "--version", "1.0.0", "--rehearse").stderr
    assert "published without a check. It has no findings, no statistics" in said
