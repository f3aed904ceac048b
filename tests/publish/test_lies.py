"""Answers that are not a Hub's, and answers that are old: at every request, and never taken at their word."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.constants
import pytest
from faults import REPO, Fault, FaultyHandler, StaleHub, what
from hypothesis import given
from hypothesis import strategies as st
from make import make_rows, make_store
from making import count_footers, listed, make_release
from trials import ACCOUNTS, TOKEN

from coig_p.errors import CoigPError
from coig_p.publish import HubConfig, Published, publish, read_release
from coig_p.publish.answers import SHAPES, WrongAnswerError, check_answer
from coig_p.publish.local_hub.repository import MAIN

TAG, BRANCH = "refs/tags/v1.1.0", "refs/heads/release/1.1.0"


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("releases")
    rows = make_rows({"math": 6})
    old = make_release(make_store(folder / "old-store", rows), folder / "old")
    return old, make_release(make_store(folder / "new-store", rows[1:]), folder / "new", "第二版")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, releases: tuple[Path, Path]) -> Iterator[StaleHub]:
    """One where the first release is published. Nobody waits."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("coig_p.publish.client.WAITS", (0, 0, 0, 0))
    hub = StaleHub(tmp_path / "hub", ACCOUNTS, handler=FaultyHandler)
    with hub.serving():
        publish_to(hub, releases[0], "1.0.0")
        yield hub


def publish_to(hub: StaleHub, folder: Path, version: str = "1.1.0", **options: Any) -> Published:
    config = HubConfig(token=TOKEN, endpoint=hub.endpoint, **options)
    return publish(read_release(folder, version), REPO, config, load=count_footers)


def assert_done(hub: StaleHub, folder: Path) -> None:
    repository = hub.repositories[REPO]
    assert repository.refs[TAG] == repository.refs[MAIN]
    assert BRANCH not in repository.refs
    assert {path: blob.sha256 for path, blob in repository.find("v1.1.0").tree.items()}.items() >= listed(
        folder
    ).items()


@pytest.mark.parametrize("kind", ["html", "json done"])  # the others: tests/publish/reliability.py
def test_a_200_that_is_not_the_hubs(hub: StaleHub, releases: tuple[Path, Path], kind: str) -> None:
    """At any request: done all the same, or an error of ours, and the next run completes. Nothing is half done."""
    repository = hub.repositories[REPO]
    refs, commits, large = dict(repository.refs), dict(repository.commits), set(repository.large)

    def reset() -> None:
        repository.refs, repository.commits = dict(refs), dict(commits)
        repository.large.clear()
        repository.large.update(large)
        hub.requests.clear()

    before = len(list(repository.history(repository.find("main"))))
    hub.requests.clear()
    publish_to(hub, releases[1])
    asked = [f"{at.method} {at.path.partition('?')[0]}" for at in hub.requests]
    said: list[str] = []
    seen: set[str] = set()
    for at, request in enumerate(asked):
        method, shape = request.split()[0], what(request)
        changes = method not in ("GET", "HEAD")
        if (kind.endswith("done") and not changes) or (shape in seen and not changes):
            continue
        seen.add(shape)
        reset()
        fault = Fault(kind, at)
        hub.arm(fault)
        try:
            publish_to(hub, releases[1])
        except CoigPError as error:
            said.append(f"{request}: {error}")
            assert TAG not in repository.refs or repository.refs[TAG] == repository.refs[MAIN]
        else:
            assert_done(hub, releases[1])
        assert fault.hit, request
        hub.arm(None)
        assert publish_to(hub, releases[1]).tag == "v1.1.0"
        assert_done(hub, releases[1])
        assert len(list(repository.history(repository.find("main")))) == before + 1, request
    assert all("Run the same command again" in words or "run the same command again" in words for words in said), said


@pytest.mark.parametrize("lag", [1, 2, 3])
def test_refs_that_are_old(hub: StaleHub, releases: tuple[Path, Path], lag: int) -> None:
    """Nobody is accused, and nothing is left."""
    hub.lag = lag
    assert publish_to(hub, releases[1]).tag == "v1.1.0"
    assert_done(hub, releases[1])
    assert publish_to(hub, releases[1]).added == 0


def test_a_first_release_where_refs_are_old(tmp_path: Path, hub: StaleHub, releases: tuple[Path, Path]) -> None:
    del hub.repositories[REPO]
    hub.lag, hub.known = 2, None
    assert publish_to(hub, releases[0], "1.1.0").tag == "v1.1.0"
    assert_done(hub, releases[0])


def test_an_address_of_the_storage_that_holds_no_longer(hub: StaleHub, releases: tuple[Path, Path]) -> None:
    """A new one is asked for."""
    hub.arm(Fault("403", "PUT /lfs/*"))
    assert publish_to(hub, releases[1]).tag == "v1.1.0"
    asked = [what(f"{request.method} {request.path.partition('?')[0]}") for request in hub.requests]
    refused = next(at for at, request in enumerate(hub.requests) if request.method == "PUT" and request.status == 403)
    assert any("objects/batch" in words for words in asked[refused:])


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_other_json_is_no_answer(value: Any) -> None:
    body = json.dumps(value).encode()
    for method, path in (("GET", "/api/datasets/org/name"), ("GET", "/api/datasets/org/name/refs")):
        with pytest.raises(WrongAnswerError):
            check_answer(method, path, 200, body)


def test_what_the_local_hub_says_is_an_answer(hub: StaleHub) -> None:
    """Each shape is that of an address which the release before this test asked for; else nothing was looked at."""
    asked = {(request.method, request.path.partition("?")[0]) for request in hub.requests}
    used = {
        next(((named, pattern) for named, pattern, _ in SHAPES if named == method and re.search(pattern, path)), None)
        for method, path in asked
    }
    others = {("GET", "discussions$"), ("POST", ""), ("DELETE", "")}  # of proposals; what no other shape is for
    unused = {(method, pattern) for method, pattern, _ in SHAPES} - used
    assert {(method, pattern.rpartition("/")[2]) for method, pattern in unused} <= others


def test_a_failure_is_not_looked_at() -> None:
    check_answer("GET", "/api/datasets/org/name/refs", 503, b"<html>")
    check_answer("GET", "/datasets/org/name/resolve/main/README.md", 200, b"<html>")
    check_answer("HEAD", "/api/datasets/org/name", 200, b"")
