"""Twelve things that people do to a repository between two releases, one after another, with the command itself.

Each ends as the table "Living with people" of docs/publishing.md says: the exit code, what is said, and what the
second run with the option that it names comes to. Whatever they put there is there afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import pytest
from faults import REPO
from make import make_rows, make_store
from making import count_footers, listed, make_release
from running import run_publish
from trials import ACCOUNTS, TOKEN

from coig_p.publish.local_hub import Account, LocalHub, Repository
from coig_p.publish.local_hub.repository import MAIN

ROWS = make_rows({"math": 8})
OTHER, READER = "hf_" + "other" * 6, "hf_" + "reader" * 5
LARGE = b"PK\0" + b"theirs" * 50_000


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("releases")
    old = make_release(make_store(folder / "old-store", ROWS), folder / "old", "第一行\n\n第二行")
    new = make_release(make_store(folder / "new-store", ROWS[1:]), folder / "new", "第一行\n\n第二行\n\n新的一行")
    return old, new


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, releases: tuple[Path, Path]) -> Iterator[LocalHub]:
    """With 1.0.0 in it."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("coig_p.publish.client.WAITS", (0, 0))
    monkeypatch.setattr("coig_p.publish.verify.load_in_process", count_footers)
    accounts = ACCOUNTS | {OTHER: Account("other"), READER: Account("me", ("org",), "read")}
    with LocalHub(tmp_path / "hub", accounts).serving() as hub:
        command(hub, releases[0], "1.0.0")
        yield hub


def command(hub: LocalHub, folder: Path, version: str, *options: str, code: int = 0, token: str = TOKEN) -> str:
    """All that it prints."""
    asked = (str(folder), REPO, "--version", version, "--token", token, *options)
    said = run_publish(*asked, code=code, HF_ENDPOINT=hub.endpoint)
    assert "Traceback" not in said.stderr
    return said.stdout + said.stderr


def put(repository: Repository, path: str, content: str | bytes, revision: str = "main") -> None:
    content = content.encode() if isinstance(content, str) else content
    if b"\0" in content:
        sha256, size = repository.objects.write([content])
        repository.large.add(sha256)
        blob = repository.objects.large(sha256, size)
    else:
        blob = repository.objects.regular(content)
    repository.commit(revision, {path: blob}, [], "theirs")


def content(repository: Repository, path: str, revision: str = "main") -> bytes:
    return repository.objects.path(repository.find(revision).tree[path].sha256).read_bytes()


def edit(repository: Repository, path: str, old: str, new: str, revision: str = "main") -> None:
    before = content(repository, path, revision).decode()
    assert old in before
    put(repository, path, before.replace(old, new), revision)


def data_of(repository: Repository) -> str:
    return next(path for path in repository.find("main").tree if path.startswith("data/"))


def reverted(repository: Repository) -> None:
    """Main as it was before the release, in a commit of theirs."""
    first = list(repository.history(repository.find("main")))[-1]
    gone = [path for path in repository.find("main").tree if path not in first.tree]
    repository.commit("main", dict(first.tree), gone, "Revert")


def reset(repository: Repository) -> None:
    """Main moved to another commit, and history rewritten."""
    first = list(repository.history(repository.find("main")))[-1]
    repository.refs[MAIN] = first.oid
    put(repository, "notes.md", "a new beginning")


def merged(repository: Repository) -> None:
    pull = repository.open_pull_request("theirs")
    ref = f"refs/pr/{pull.number}"
    edit(repository, "README.md", "第一行", "第壹行", ref)
    put(repository, "LICENSE", "their licence", ref)
    repository.merge(pull.number)


def tagged(repository: Repository) -> None:
    """A tag that looks like one of a release, after an edit."""
    edit(repository, "README.md", "第一行", "第壹行")
    repository.add_ref("refs/tags/v1.0.1", "main")
    repository.add_ref("refs/tags/theirs", "main")


def edited_manifest(repository: Repository) -> None:
    put(repository, "theirs.csv", "a,b")
    fields = json.loads(content(repository, "manifest.json"))
    entry = {"path": "theirs.csv", "role": "readme", "bytes": 3, "sha256": "0" * 64}
    put(repository, "manifest.json", json.dumps(fields | {"files": [*fields["files"], entry]}))


def staged(repository: Repository) -> None:
    repository.add_ref("refs/heads/release/1.1.0", "main")
    put(repository, "theirs.csv", "a,b", "release/1.1.0")


def moved(repository: Repository) -> None:
    """The branch of a release that was begun stands at something of theirs now."""
    repository.add_ref("refs/heads/release/1.1.0", "main")
    put(repository, "README.md", "theirs", "release/1.1.0")


@dataclass(frozen=True)
class Way:
    """What people do, and what the next release says to it.

    Attributes:
        options: of the next release, with which it is made in the end.
        refused: what it says without them, with exit code 3; "" where it is made at once.
        says: what it says when it is made.
        theirs: content by path, on main in the end.
        again: what the published version's command says, with exit code 3; "" where it is content.
    """

    name: str
    act: Callable[[Repository], object]
    options: tuple[str, ...] = ()
    refused: str = ""
    says: str = ""
    theirs: dict[str, bytes] = field(default_factory=dict)
    again: str = ""


WAYS = [
    Way("README", lambda at: edit(at, "README.md", "第一行", "第壹行"), theirs={"README.md": "第壹行".encode()}),
    Way(
        "LICENSE",
        lambda at: put(at, "LICENSE", "their licence"),
        ("--keep", "LICENSE"),
        "--keep LICENSE",
        theirs={"LICENSE": b"their licence"},
    ),
    Way(
        "deleted file",
        lambda at: at.commit("main", {}, ["manifest.json", data_of(at)], "gone"),
        ("--overwrite",),
        "was deleted in the repository",
        again="main is not it",
    ),
    Way("reverted main", reverted, ("--overwrite",), "was deleted in the repository", again="main is not it"),
    Way(
        "merged pull request",
        merged,
        ("--keep", "LICENSE"),
        "--keep LICENSE",
        theirs={"LICENSE": b"their licence", "README.md": "第壹行".encode()},
    ),
    Way(
        "moved main",
        reset,
        ("--overwrite", "--keep", "notes.md"),
        "notes.md",
        theirs={"notes.md": b"a new beginning"},
        again="main is not it",
    ),
    Way("foreign tag", tagged, theirs={"README.md": "第壹行".encode()}),
    Way(
        "manifest edited",
        edited_manifest,
        ("--keep", "theirs.csv"),
        "--keep theirs.csv",
        "manifest.json was changed on main by hand",
        {"theirs.csv": b"a,b"},
        again="main is not it",
    ),
    Way(
        "big file added",
        lambda at: put(at, "archive.zip", LARGE),
        ("--keep", "archive.zip"),
        "--keep archive.zip",
        theirs={"archive.zip": LARGE},
    ),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_what_people_do_to_main(hub: LocalHub, releases: tuple[Path, Path], way: Way) -> None:
    repository = hub.repositories[REPO]
    way.act(repository)
    before = dict(repository.refs)
    # The version that is there says whether main is still it, and changes nothing.
    said = command(hub, releases[0], "1.0.0", code=3 if way.again else 0)
    assert way.again in said
    assert repository.refs == before
    if way.refused:
        assert way.refused in command(hub, releases[1], "1.1.0", code=3)
        assert repository.refs == before
    assert way.says in command(hub, releases[1], "1.1.0", *way.options)
    assert repository.refs["refs/tags/v1.1.0"] == repository.refs[MAIN]
    assert {ref: at for ref, at in repository.refs.items() if ref in before and ref != MAIN} == {
        ref: at for ref, at in before.items() if ref != MAIN
    }
    assert before[MAIN] in {commit.oid for commit in repository.history(repository.find("main"))}
    for path, words in way.theirs.items():
        assert words in content(repository, path)
    tree = repository.find("main").tree
    own = {path: sha256 for path, sha256 in listed(releases[1]).items() if path != "README.md"}
    assert {path: tree[path].sha256 for path in own} == own
    # And again: nothing is left to do.
    done = dict(repository.refs)
    command(hub, releases[1], "1.1.0")
    assert repository.refs == done


@pytest.mark.parametrize("way", [way for way in WAYS if way.again], ids=lambda way: way.name)
def test_main_is_put_back(hub: LocalHub, releases: tuple[Path, Path], way: Way) -> None:
    repository = hub.repositories[REPO]
    way.act(repository)
    before = repository.find("main")
    command(hub, releases[0], "1.0.0", "--restore")
    after = repository.find("main")
    assert after.parent == before.oid
    assert after.tree.items() >= repository.find("v1.0.0").tree.items() - {
        (".gitattributes", repository.find("v1.0.0").tree[".gitattributes"])
    }
    for path, words in way.theirs.items():
        assert words in content(repository, path)
    command(hub, releases[0], "1.0.0")


@pytest.mark.parametrize("act", [staged, moved], ids=["staging branch left", "moved branch"])
def test_a_staging_branch_that_holds_something_of_theirs(
    hub: LocalHub, releases: tuple[Path, Path], act: Callable[[Repository], None]
) -> None:
    """It is named, and neither used nor deleted; another version takes no notice."""
    repository = hub.repositories[REPO]
    act(repository)
    before = dict(repository.refs)
    command(hub, releases[1], "1.1.0", code=3)
    asked = ("--abort", REPO, "--version", "1.1.0", "--token", TOKEN)
    said = run_publish(*asked, code=3, HF_ENDPOINT=hub.endpoint)
    assert "holds a commit that no release made" in said.stderr
    assert repository.refs == before
    assert "--abort org/name --version 1.1.0" in command(hub, releases[1], "1.2.0")
    assert repository.refs["refs/heads/release/1.1.0"] == before["refs/heads/release/1.1.0"]


def test_a_big_file_among_the_data(hub: LocalHub, releases: tuple[Path, Path]) -> None:
    """A config might load it, so that no option lets it stay."""
    repository = hub.repositories[REPO]
    put(repository, "data/math/train-more.parquet", LARGE)
    before = dict(repository.refs)
    for options in ((), ("--keep", "data/math/train-more.parquet"), ("--overwrite",)):
        said = command(hub, releases[1], "1.1.0", *options, code=3)
        assert "data/math/train-more.parquet stands in its way" in said
        assert repository.refs == before


def test_a_tag_of_the_version_that_is_to_come(hub: LocalHub, releases: tuple[Path, Path]) -> None:
    """It stays where it is. One of a higher version keeps main as it is, until told."""
    repository = hub.repositories[REPO]
    repository.add_ref("refs/tags/v1.1.0", "main")
    repository.add_ref("refs/tags/v9.0.0", "main")
    before = dict(repository.refs)
    assert "v1.1.0 is there with other content" in command(hub, releases[1], "1.1.0", code=3)
    assert repository.refs == before
    assert "main stays as it is" in command(hub, releases[1], "1.2.0")
    assert repository.refs[MAIN] == before[MAIN]
    command(hub, releases[1], "1.3.0", "--latest")
    assert repository.refs[MAIN] == repository.refs["refs/tags/v1.3.0"]
    assert {repository.refs["refs/tags/v1.1.0"], repository.refs["refs/tags/v9.0.0"]} == {before[MAIN]}


def test_a_repository_that_got_another_name(hub: LocalHub, releases: tuple[Path, Path]) -> None:
    """The Hub leads from the old name to the new one; nothing is done under the old."""
    hub.rename(REPO, "org/renamed")
    repository = hub.repositories["org/renamed"]
    before = dict(repository.refs)
    for version, folder in (("1.0.0", releases[0]), ("1.1.0", releases[1])):
        assert "it is called org/renamed now" in command(hub, folder, version, code=3)
    assert repository.refs == before
    assert list(hub.repositories) == ["org/renamed"]
    asked = (releases[1], "org/renamed", "--version", "1.1.0", "--token", TOKEN)
    run_publish(*asked, HF_ENDPOINT=hub.endpoint)
    assert repository.refs["refs/tags/v1.1.0"] == repository.refs[MAIN]


def test_a_repository_that_was_made_private(hub: LocalHub, releases: tuple[Path, Path]) -> None:
    """Who may see it publishes as before, and it stays private; to others it is not there."""
    repository = hub.repositories[REPO]
    repository.private = True
    before = dict(repository.refs)
    for token in (OTHER, READER):
        assert "no permission" in command(hub, releases[1], "1.1.0", code=3, token=token)
    assert "not signed in, or the token is not valid" in command(hub, releases[1], "1.1.0", code=3, token="hf_unknown")
    assert repository.refs == before
    command(hub, releases[1], "1.1.0")
    assert repository.refs["refs/tags/v1.1.0"] == repository.refs[MAIN]
    assert repository.private
