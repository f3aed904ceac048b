"""A release on ModelScope, by the unmodified SDK against a server on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from make import make_rows, make_store
from making import listed, make_release
from running import run_publish

from coig_p.errors import RemoteError, UsageError
from coig_p.publish.client import HubConfig
from coig_p.publish.local_hub import Account, Repository
from coig_p.publish.modelscope import plan_modelscope, publish_modelscope
from coig_p.publish.plan import Release, read_release

pytest.importorskip("modelscope_hub", reason="ModelScope's SDK is not installed: pip install 'coig-p[modelscope]'")

from modelscope_server import ModelScope, ModelScopeHandler

REPO, TOKEN, READER = "org/name", "ms-" + "t0ken" * 6, "ms-" + "r3ader" * 5
ROWS = make_rows({"math": 14, "chat": 6})


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    return make_release(make_store(folder / "store", ROWS), folder / "release")


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("later")
    return make_release(make_store(folder / "store", ROWS[1:]), folder / "release")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelScope]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "cache"))
    accounts = {TOKEN: Account("me", ("org",)), READER: Account("reader", ("org",), role="read")}
    with ModelScope(tmp_path / "hub", accounts, handler=ModelScopeHandler).serving() as hub:
        yield hub  # type: ignore[misc]


def config(hub: ModelScope, token: str = TOKEN) -> HubConfig:
    return HubConfig(token=token, endpoint=hub.endpoint)


def read(folder: Path, version: str = "1.0.0") -> Release:
    return read_release(folder, version)


def shown(hub: ModelScope, revision: str = "main") -> dict[str, str]:
    tree = hub.repositories[REPO].find(revision).tree
    return {path: blob.sha256 for path, blob in tree.items() if path not in (".gitattributes", "manifest.json")}


def test_two_releases(hub: ModelScope, release: Path, later: Path) -> None:
    planned = plan_modelscope(read(release), REPO, config(hub))
    assert hub.repositories == {}
    published = publish_modelscope(read(release), REPO, config(hub))
    assert published.added == len(planned.add) == len(listed(release)) + 1
    assert shown(hub) == shown(hub, "v1.0.0") == listed(release)
    before = dict(hub.repositories[REPO].refs)
    assert publish_modelscope(read(release), REPO, config(hub)).added == 0
    with pytest.raises(RemoteError, match=r"v1.0.0 .* is there with other content"):
        publish_modelscope(read(later), REPO, config(hub))
    assert hub.repositories[REPO].refs == before
    hub.requests.clear()
    published = publish_modelscope(read(later, "1.1.0"), REPO, config(hub))
    assert published.deleted == len(listed(release).keys() - listed(later).keys())
    changed = {sha256 for path, sha256 in listed(later).items() if listed(release).get(path) != sha256}
    sent = {at.path.split("/")[-1] for at in hub.requests if at.method == "PUT"}
    assert sent == {at for at in changed if at in hub.repositories[REPO].large}
    assert shown(hub) == shown(hub, "v1.1.0") == listed(later)
    assert shown(hub, "v1.0.0") == listed(release)


def test_somebody_else_writes_at_the_same_time(hub: ModelScope, release: Path) -> None:
    """It cannot be kept out, so it is noticed, and there is no tag."""

    def intrude(repository: Repository) -> None:
        repository.commit("main", {"data/theirs.csv": repository.objects.regular(b"a")}, [], "theirs")

    hub.between = intrude
    with pytest.raises(RemoteError, match=r"data/theirs.csv .* No tag was set"):
        publish_modelscope(read(release), REPO, config(hub))
    assert not any(ref.startswith("refs/tags") for ref in hub.repositories[REPO].refs)
    assert "data/theirs.csv" in shown(hub)


def test_what_is_not_ours_is_left(hub: ModelScope, release: Path) -> None:
    repository = hub.create(REPO)
    repository.commit("main", {"theirs.csv": repository.objects.regular(b"a")}, [], "theirs")
    before = dict(repository.refs)
    with pytest.raises(RemoteError, match=r"holds theirs\.csv"):
        publish_modelscope(read(release), REPO, config(hub))
    assert repository.refs == before


def test_refusals(hub: ModelScope, release: Path) -> None:
    with pytest.raises(RemoteError, match="no permission") as refused:
        publish_modelscope(read(release), REPO, config(hub, READER))
    assert READER not in str(refused.value)
    with pytest.raises(UsageError, match="no pull requests"):
        publish_modelscope(read(release), REPO, HubConfig(token=TOKEN, endpoint=hub.endpoint, pr=True))


def test_the_command(hub: ModelScope, release: Path, tmp_path: Path) -> None:
    where: dict[str, Any] = {"MODELSCOPE_ENDPOINT": hub.endpoint, "MODELSCOPE_API_TOKEN": TOKEN}
    rest = ("--version", "1.0.0", "--target", "modelscope", "--json", "-v")
    planned = json.loads(run_publish(release, REPO, *rest, "--dry-run", **where).stdout)
    done = run_publish(release, REPO, *rest, **where)
    assert json.loads(done.stdout)["tag"] == "v1.0.0"
    assert json.loads(done.stdout)["added"] == len(planned["add"])
    assert TOKEN not in done.stdout + done.stderr
    assert not any(TOKEN.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
