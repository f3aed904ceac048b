"""Somebody else writes between our look and our change: at one request of the publish, the same each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import pytest
from faults import REPO, Fault, FaultyHandler, FaultyHub, what
from make import make_rows, make_store
from making import count_footers, listed, make_release
from trials import ACCOUNTS, TOKEN

from coig_p.errors import CoigPError, RemoteError
from coig_p.publish import HubConfig, Published, publish, read_release
from coig_p.publish.local_hub import Repository
from coig_p.publish.local_hub.repository import MAIN

BRANCH = "refs/heads/release/1.1.0"
TAG = "refs/tags/v1.1.0"


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("releases")
    rows = make_rows({"math": 8})
    old = make_release(make_store(folder / "old-store", rows), folder / "old")
    return old, make_release(make_store(folder / "new-store", rows[1:]), folder / "new", "第二版")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, releases: tuple[Path, Path]) -> Iterator[FaultyHub]:
    """One where the first release is published."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("coig_p.publish.client.WAITS", (0, 0))
    hub = FaultyHub(tmp_path / "hub", ACCOUNTS, handler=FaultyHandler)
    with hub.serving():
        publish_to(hub, releases[0], "1.0.0")
        yield hub


def publish_to(hub: FaultyHub, folder: Path, version: str = "1.1.0") -> Published:
    config = HubConfig(token=TOKEN, endpoint=hub.endpoint)
    return publish(read_release(folder, version), REPO, config, load=count_footers)


def meddle(hub: FaultyHub, at: int | str, act: Callable[[Repository], None]) -> Fault:
    """`act` happens when the request comes, before it is carried out."""
    fault = Fault("meanwhile", at, meanwhile=lambda: act(hub.repositories[REPO]))
    hub.arm(fault)
    return fault


def correct_card(repository: Repository) -> None:
    repository.commit("main", {"README.md": repository.objects.regular(b"corrected")}, [], "a correction")


def delete_branch(repository: Repository) -> None:
    repository.refs.pop(BRANCH, None)


def test_a_main_that_moved_is_left_as_it_is(hub: FaultyHub, releases: tuple[Path, Path]) -> None:
    """The commit names the main that was looked at; without that it would undo the correction in silence."""
    fault = meddle(hub, "POST /commit/main", correct_card)
    repository = hub.repositories[REPO]
    with pytest.raises(RemoteError, match="somebody else changed the repository meanwhile"):
        publish_to(hub, releases[1])
    assert fault.hit
    assert repository.find("main").title == "a correction"
    assert repository.objects.path(repository.find("main").tree["README.md"].sha256).read_bytes() == b"corrected"
    assert TAG not in repository.refs
    with pytest.raises(RemoteError, match=r"README\.md was changed in the repository since its last release"):
        publish_to(hub, releases[1])
    assert repository.find("main").title == "a correction"


def test_a_branch_that_moved_is_left_as_it_is(hub: FaultyHub, releases: tuple[Path, Path]) -> None:
    def intrude(repository: Repository) -> None:
        repository.commit("release/1.1.0", {"theirs.csv": repository.objects.regular(b"a")}, [], "theirs")

    meddle(hub, "POST /commit/release%2F1.1.0", intrude)
    repository = hub.repositories[REPO]
    before = repository.refs[MAIN]
    with pytest.raises(RemoteError, match="somebody else changed the repository meanwhile"):
        publish_to(hub, releases[1])
    assert repository.commits[repository.refs[BRANCH]].title == "theirs"
    assert repository.refs[MAIN] == before


def test_a_branch_or_tag_that_appeared_is_looked_at(hub: FaultyHub, releases: tuple[Path, Path]) -> None:
    """409 for what is there already, at the place where it was to be."""
    repository = hub.repositories[REPO]
    appear = meddle(hub, "POST /branch/release%2F1.1.0", lambda at: at.add_ref(BRANCH, "main"))
    assert publish_to(hub, releases[1]).tag == "v1.1.0"
    assert appear.hit
    for ref in (TAG, BRANCH):
        repository.refs.pop(ref, None)
    appear = meddle(hub, "POST /tag/*", lambda at: at.add_ref(TAG, "main"))
    assert publish_to(hub, releases[1]).tag == "v1.1.0"
    assert appear.hit
    assert repository.refs[TAG] == repository.refs[MAIN]


def test_a_tag_that_appeared_elsewhere_is_not_ours(hub: FaultyHub, releases: tuple[Path, Path]) -> None:
    meddle(hub, "POST /tag/*", lambda at: at.add_ref(TAG, "v1.0.0"))
    with pytest.raises(RemoteError, match=r"v1\.1\.0 was set by somebody else"):
        publish_to(hub, releases[1])
    repository = hub.repositories[REPO]
    assert repository.refs[TAG] == repository.refs["refs/tags/v1.0.0"]


@pytest.mark.parametrize(
    "at", ["POST /branch/release%2F1.1.0", "POST /commit/release%2F1.1.0", "POST /commit/main", "POST /tag/*"]
)
def test_a_conflict_is_no_success(hub: FaultyHub, releases: tuple[Path, Path], at: str) -> None:
    """409 where nothing was done: the repository is looked at, and it is said. The next run completes."""
    repository = hub.repositories[REPO]
    fault = Fault("409", at)
    hub.arm(fault)
    with pytest.raises(RemoteError, match="somebody else changed the repository meanwhile"):
        publish_to(hub, releases[1])
    assert what(fault.hit or "") == at
    assert TAG not in repository.refs
    assert publish_to(hub, releases[1]).tag == "v1.1.0"
    assert {path: blob.sha256 for path, blob in repository.find("v1.1.0").tree.items()}.items() >= listed(
        releases[1]
    ).items()


def test_a_branch_that_goes_at_any_moment(hub: FaultyHub, releases: tuple[Path, Path]) -> None:
    """Whoever deletes the release's branch, at whatever request: done, or said in words, and then done."""
    repository = hub.repositories[REPO]
    refs, commits = dict(repository.refs), dict(repository.commits)
    publish_to(hub, releases[1])  # from now on its large files are there: each run asks the same
    repository.refs, repository.commits = dict(refs), dict(commits)
    hub.requests.clear()
    publish_to(hub, releases[1])
    asked = [what(f"{request.method} {request.path.partition('?')[0]}") for request in hub.requests]
    said = []
    for at in [at for at, kind in enumerate(asked) if "/resolve/" not in kind and "/lfs/" not in kind]:
        repository.refs, repository.commits = dict(refs), dict(commits)
        fault = meddle(hub, at, delete_branch)
        try:
            publish_to(hub, releases[1])
        except CoigPError as error:
            said.append(str(error))
            assert repository.refs[MAIN] in (refs[MAIN], repository.refs.get(TAG, refs[MAIN]))
        assert fault.hit, at
        hub.arm(None)
        assert publish_to(hub, releases[1]).tag == "v1.1.0"
        assert repository.refs[TAG] == repository.refs[MAIN]
    assert said
    assert all("somebody else deleted the branch release/1.1.0 meanwhile" in words for words in said), said
