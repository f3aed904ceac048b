"""A release whose manifest names a list of its files: all that is done with a release on a Hub is done with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from commands import run_code
from faults import REPO, FaultyHub
from hub_calls import hub_environment
from make import twin
from making import count_footers
from releasing import to_release
from trials import ACCOUNTS, TOKEN

from coig_p.builder import load_dataset
from coig_p.publish import HubConfig, pairing, publish, read_release, yank
from coig_p.publish.modelscope import publish_modelscope
from coig_p.publish.rehearsal import rehearse
from coig_p.publish.release import ReleaseConfig, write_release
from coig_p.publish.since import release_before
from coig_p.schema import LISTED_APART
from coig_p.store import listing
from coig_p.store.manifest import LISTING, MANIFEST
from coig_p.store.signing import check_signature, make_keys, read_public_key, read_secret_key
from coig_p.store.store import Store


@pytest.fixture(scope="module", autouse=True)
def few() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "MOST_INLINE", 3)
        patch.setattr(pairing, "ROWS_PER_SHARD", 20)
        patch.setattr(pairing, "ROWS_PER_GROUP", 16)
        yield


@pytest.fixture(scope="module")
def releases(few: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    folder = tmp_path_factory.mktemp("releases")
    rows = sorted(twin(), key=lambda row: row["domain"])
    first = write_release(to_release(folder / "a", rows, rows_per_shard=5), folder / "v0", ReleaseConfig("1.0.0"))
    store = to_release(folder / "b", rows[:-1], rows_per_shard=5)
    return first, write_release(store, folder / "v1", ReleaseConfig("1.1.0", since=first))


def list_of(store: Store) -> str:
    (name,) = [file.path for file in store.manifest.files if file.role == LISTING]
    return name


def config(hub: FaultyHub) -> HubConfig:
    return HubConfig(token=TOKEN, endpoint=hub.endpoint)


def test_it_is_published_signed_and_yanked(hub: FaultyHub, releases: tuple[Store, Store], tmp_path: Path) -> None:
    pytest.importorskip("minisign", reason="py-minisign is not installed")
    path, _ = make_keys(tmp_path / "key", "")
    signer, public = read_secret_key(tmp_path / "key", lambda: ""), read_public_key(str(path))
    for store, version in zip(releases, ("1.0.0", "1.1.0"), strict=True):
        assert store.manifest.schema_version == LISTED_APART
        assert store.verify() == []
        release = replace(read_release(store.path, version), signer=signer)
        assert publish(release, REPO, config(hub), load=count_footers).added
        assert publish(release, REPO, config(hub), load=count_footers).added == 0
    yank(REPO, "1.0.0", "leaked", config(hub), signer)
    repository = hub.repositories[REPO]
    for revision, store in (("v1.0.0", releases[0]), ("v1.1.0", releases[1]), ("main", releases[1])):
        tree = repository.find(revision).tree
        assert [path for path in tree if path.startswith("files-")] == [list_of(store)]
        folder = tmp_path / revision
        for name, blob in tree.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(repository.objects.path(blob.sha256).read_bytes())
        assert Store.open(folder).verify() == []
        assert check_signature(folder, public)


def test_the_next_release_finds_it(hub: FaultyHub, releases: tuple[Store, Store]) -> None:
    publish(read_release(releases[0].path, "1.0.0"), REPO, config(hub), load=count_footers)
    with release_before(None, REPO, "1.1.0", config(hub)) as find:
        found = find(releases[1])
        assert found is not None
        assert found.store.manifest.files == releases[0].manifest.files
    assert releases[1].manifest.release["since"]["version"] == "1.0.0"


def test_it_is_rehearsed_and_loads_by_the_stock_library(releases: tuple[Store, Store]) -> None:
    assert rehearse(read_release(releases[0].path, "1.0.0")).added


LOADING = """
import json, sys, coig_p
for streaming in (True, False):
    found = coig_p.load_dataset(sys.argv[1], data_dir=sys.argv[2], split="train", streaming=streaming)
    print(json.dumps(list(found)))
"""


def test_it_is_loaded_by_the_files_of_its_domain(hub: FaultyHub, releases: tuple[Store, Store], tmp_path: Path) -> None:
    store = releases[0]
    hub.create(REPO).put_folder(store.path)
    domain = store.manifest.domains[0]
    wanted = load_dataset(domain, data_dir=str(store.path), split="train", cache_dir=str(tmp_path / "cache")).to_list()
    own = {file.path for file in store.manifest.files if file.role == "data" and file.domain == domain}
    assert len(own) < len(store.manifest.data_files())
    hub.requests.clear()
    said = run_code(LOADING, domain, REPO, **hub_environment(hub.endpoint, tmp_path / "home"))
    assert [json.loads(line) for line in said.stdout.splitlines()] == [wanted, wanted]
    asked = [at.path for at in hub.requests]
    # A stream has the stock file system list the folder of the domain; nobody lists the repository.
    trees = [path.split("/tree/")[1].partition("/")[2] for path in asked if "/tree/" in path]
    assert {path.partition("?")[0] for path in trees} <= {f"data%2F{domain}"}
    assert len(trees) <= 1
    fetched = {path.split("/resolve/")[1].partition("/")[2] for path in asked if "/resolve/" in path}
    assert fetched == own | {MANIFEST, list_of(store)}
    assert len(asked) <= 4 * (len(own) + 3), asked


def test_modelscope_takes_it(releases: tuple[Store, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("modelscope_hub", reason="ModelScope's SDK is not installed: pip install 'coig-p[modelscope]'")
    from modelscope_server import ModelScope, ModelScopeHandler

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "cache"))
    with ModelScope(tmp_path / "hub", ACCOUNTS, handler=ModelScopeHandler).serving() as hub:
        settings = HubConfig(token=TOKEN, endpoint=hub.endpoint)
        for store, version in zip(releases, ("1.0.0", "1.1.0"), strict=True):
            publish_modelscope(read_release(store.path, version), REPO, settings)
            tree = hub.repositories[REPO].find("main").tree
            assert {file.path for file in store.manifest.files} <= set(tree)
            assert [path for path in tree if path.startswith("files-")] == [list_of(store)]
