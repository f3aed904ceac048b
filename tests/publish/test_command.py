"""`coigp-publish` as people type it, what it says, and that the token is in none of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from make import make_rows, make_store
from making import make_release
from trials import ACCOUNTS, REPO, TOKEN

from coig_p.cli.publish import publish
from coig_p.errors import RemoteError
from coig_p.publish.local_hub import Handler, LocalHub
from coig_p.publish.local_hub.server import Answer
from coig_p.publish.trouble import Trouble, explain


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    return make_release(make_store(folder / "store", make_rows({"math": 8})), folder / "release")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    with LocalHub(tmp_path / "hub", ACCOUNTS).serving() as hub:
        yield hub


def run(
    *arguments: object, code: int = 0, endpoint: str = "", warnings: str = "error", **environment: str
) -> subprocess.CompletedProcess[str]:
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
    assert done.returncode == code, done.stderr + done.stdout
    return done


def test_publish_plan_status(hub: LocalHub, release: Path) -> None:
    where = {"endpoint": hub.endpoint, "HF_TOKEN": TOKEN}
    planned = json.loads(run(release, REPO, "--version", "1.0.0", "--dry-run", "--json", **where).stdout)
    assert hub.repositories == {}
    assert {file["path"] for file in planned["add"]} >= {"README.md", "manifest.json"}
    assert "no such dataset" in run("--status", REPO, **where).stdout
    done = json.loads(run(release, REPO, "--version", "1.0.0", "--json", **where).stdout)
    assert done["added"] == len(planned["add"])
    assert done["rows"]["math-raw"] == {"train": 8}
    again = run(release, REPO, "--version", "1.0.0", **where)
    assert "published already" in again.stdout
    assert again.stderr == ""
    assert "Nothing was changed" in run(release, REPO, "--version", "1.0.1", "--dry-run", **where).stdout
    shown = run("--status", REPO, **where).stdout
    assert done["commit"] in shown
    assert "version   1.0.0" in shown


def test_a_rehearsal_needs_no_network_and_leaves_nothing(release: Path, tmp_path: Path) -> None:
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    where = {"TMPDIR": str(tmp_path), "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")} | proxies
    done = run(release, "--version", "1.0.0", "--rehearse", **where)
    assert "math-raw 8" in done.stdout
    assert "rehearsal" in done.stdout
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


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
    assert words in run(*given, code=2).stderr


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


def test_the_token_is_nowhere(release: Path, tmp_path: Path) -> None:
    verbose = {
        "HF_DEBUG": "1",
        "HF_HUB_VERBOSITY": "debug",
        "DATASETS_VERBOSITY": "debug",
        "HF_HOME": str(tmp_path / "home"),
    }
    said = []
    for name, handler, code in (("good", Handler, 0), ("echoing", Echoing, 3)):
        scratch = tmp_path / name
        scratch.mkdir()
        with LocalHub(tmp_path / f"hub-{name}", ACCOUNTS, handler=handler).serving() as hub:
            rest = ("--version", "1.0.0", "-v", "--private", "--token", TOKEN)
            where = {"endpoint": hub.endpoint, "TMPDIR": str(scratch), "warnings": "default"}
            said.append(run(release, REPO, *rest, code=code, **where, **verbose))
            said.append(run("--status", REPO, "-v", "--token", TOKEN, **where, **verbose))
        if name == "echoing":
            assert "Forbidden for Bearer <token>" in said[-2].stderr
    assert "Request" in said[0].stderr, "the most verbose level was not so verbose"
    for done in said:
        assert TOKEN not in done.stdout + done.stderr
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path


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
        (Trouble(garbled=True), "makes no sense"),
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
        done = run("--status", REPO, "--token", TOKEN, code=3, endpoint=hub.endpoint, warnings="default")
    assert "makes no sense" in done.stderr
