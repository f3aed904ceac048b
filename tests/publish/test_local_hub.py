"""The local Hub answers the unmodified clients, with Xet off and on, as the Hub does."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import socket
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.constants
import pytest
from commands import run_code
from faults import REPO
from hub_calls import hub_environment
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile
from make import make_rows, make_store
from making import count_footers, make_release
from trials import ACCOUNTS, TOKEN
from xet import XetHandler, XetHub

from coig_p.publish import HubConfig, publish, read_release
from coig_p.publish.local_hub import LocalHub, routes

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)


@pytest.mark.parametrize("xet", [False, True])
def test_the_clients_own_ways_up_and_down(xet: bool, tmp_path: Path) -> None:
    if xet and importlib.util.find_spec("hf_xet") is None:
        pytest.skip("hf_xet is not installed")
    up = """
import datasets, huggingface_hub, os, sys
rows = datasets.Dataset.from_dict({"text": [f"第{at}行" * 99 for at in range(2000)]})
rows.push_to_hub("org/name", "pushed", token=os.environ["TOKEN"], num_shards=3)
api = huggingface_hub.HfApi(token=os.environ["TOKEN"])
api.upload_folder(repo_id="org/name", repo_type="dataset", folder_path=sys.argv[1], path_in_repo="folder")
"""
    down = """
import datasets, huggingface_hub, json, sys
here = huggingface_hub.snapshot_download("org/name", repo_type="dataset")
map_style = datasets.load_dataset("org/name", "pushed", split="train")
stream = datasets.load_dataset("org/name", "pushed", split="train", streaming=True)
assert list(map_style) == list(stream)
print(json.dumps([here, len(map_style), map_style[1999]["text"]]))
"""
    folder = tmp_path / "folder"
    folder.mkdir()
    content = {"a.bin": os.urandom(300_000) + b"\0", "b.txt": "文字".encode(), "sub/c.parquet": os.urandom(70_000)}
    for name, given in content.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(given)
    with XetHub(tmp_path / "hub", ACCOUNTS, part_size=50_000, handler=XetHandler).serving() as hub:

        def run(home: str, code: str) -> str:
            given = {"HF_HUB_DISABLE_XET": "0" if xet else "1", "TOKEN": TOKEN}
            return run_code(code, folder, **hub_environment(hub.endpoint, tmp_path / home) | given).stdout

        run("up", up)
        sent = {at.path.split("?")[0] for at in hub.requests if at.method == "PUT"}
        here, rows, last = json.loads(run("down", down))
        asked = [at.path for at in hub.requests]
        assert bool(sent) != xet
        assert any("xet-write-token" in path for path in asked) == xet
        assert any("xet-read-token" in path for path in asked) == xet
    assert (rows, last) == (2000, "第1999行" * 99)
    for name, given in content.items():
        assert (Path(here) / "folder" / name).read_bytes() == given


def test_publishing_goes_the_plain_way_though_xet_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is then acknowledged by itself: see hub_internals.py."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", False)
    release = make_release(make_store(tmp_path / "store", make_rows({"math": 4})), tmp_path / "release")
    with XetHub(tmp_path / "hub", ACCOUNTS, handler=XetHandler).serving() as hub:
        publish(read_release(release, "1.0.0"), REPO, HubConfig(TOKEN, endpoint=hub.endpoint), load=count_footers)
        assert not any("xet" in at.path for at in hub.requests)
        assert any(at.method == "PUT" for at in hub.requests)
    assert huggingface_hub.constants.HF_HUB_DISABLE_XET is False


def test_what_the_server_cannot_do_is_answered_and_nothing_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A route that fails, a message that no header can hold, and a client that leaves in the middle."""
    with LocalHub(tmp_path, ACCOUNTS).serving() as hub:
        api = api_of(hub)
        api.create_repo(REPO, repo_type="dataset")
        answer = huggingface_hub.get_session().post(f"{hub.endpoint}/api/repos/create", json={})
        assert (answer.status_code, answer.headers["X-Error-Message"]) == (500, "KeyError: 'name'")
        with pytest.raises(EntryNotFoundError):
            api.hf_hub_download(REPO, "没有.txt", repo_type="dataset", cache_dir=tmp_path / "cache")
        with pytest.raises(HfHubHTTPError, match="doesn't exist: 没有"):
            api.delete_file("没有.txt", REPO, repo_type="dataset")
        with socket.create_connection(("127.0.0.1", hub.port)) as client:
            client.sendall(b"POST /api/repos/create HTTP/1.1\r\nContent-Length: 9\r\n\r\n{")
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
    assert capfd.readouterr().err == ""


def api_of(hub: LocalHub, token: str | bool = TOKEN) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=token)


def test_refs_and_commits(tmp_path: Path) -> None:
    with LocalHub(tmp_path, ACCOUNTS).serving() as hub:
        api = api_of(hub)
        assert api.whoami()["name"] == "me"
        api.create_repo(REPO, repo_type="dataset", private=True)
        api.create_repo(REPO, repo_type="dataset", exist_ok=True)
        first = api.repo_info(REPO, repo_type="dataset").sha
        done = commit(api, {"a/b.txt": b"b", "c.txt": b"c"}, parent_commit=first)
        with pytest.raises(HfHubHTTPError, match="A commit has happened since"):
            commit(api, {"c.txt": b"d"}, parent_commit=first)
        api.create_branch(REPO, branch="side", revision=first, repo_type="dataset")
        api.create_tag(REPO, tag="v1", revision="main", repo_type="dataset")
        api.create_tag(REPO, tag="v1", revision="side", repo_type="dataset", exist_ok=True)
        refs = api.list_repo_refs(REPO, repo_type="dataset")
        assert {ref.name: ref.target_commit for ref in refs.tags} == {"v1": done}
        assert {ref.name for ref in refs.branches} == {"main", "side"}
        api.delete_branch(REPO, branch="side", repo_type="dataset")
        api.delete_tag(REPO, tag="v1", repo_type="dataset")
        commit(api, {"a/e.txt": b"e"}, delete=["a/b.txt"])
        files = {file.path: file for file in api.list_repo_tree(REPO, repo_type="dataset", recursive=True)}
        assert set(files) == {".gitattributes", "a", "a/e.txt", "c.txt"}
        regular = files["c.txt"]
        assert isinstance(regular, RepoFile)
        assert regular.blob_id == hashlib.sha1(b"blob 1\0c").hexdigest()
        assert [at.title for at in api.list_repo_commits(REPO, repo_type="dataset")] == ["c", "c", "initial commit"]
        info = api.get_paths_info(REPO, ["c.txt", "a", "none"], repo_type="dataset")
        assert [at.path for at in info] == ["c.txt", "a"]
        with pytest.raises(RepositoryNotFoundError):
            api_of(hub, False).repo_info(REPO, repo_type="dataset")
        with pytest.raises(RevisionNotFoundError):
            api.repo_info(REPO, repo_type="dataset", revision="none")
        with pytest.raises(EntryNotFoundError):
            api.hf_hub_download(REPO, "none", repo_type="dataset", cache_dir=tmp_path / "cache")
        api.delete_repo(REPO, repo_type="dataset")
        assert not api.repo_exists(REPO, repo_type="dataset")


def commit(api: HfApi, files: dict[str, bytes], delete: list[str] | None = None, **options: Any) -> str:
    adds = [CommitOperationAdd(path, content) for path, content in files.items()]
    gone = [CommitOperationDelete(path) for path in delete or []]
    return str(api.create_commit(REPO, [*adds, *gone], commit_message="c", repo_type="dataset", **options).oid)


def test_long_listings_come_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "PAGE", 10)
    with LocalHub(tmp_path, ACCOUNTS).serving() as hub:
        api = api_of(hub)
        hub.create(REPO)
        commit(api, {f"{at}.txt": b"x" for at in range(45)})
        assert len(list(api.list_repo_tree(REPO, repo_type="dataset"))) == 46
        assert sum("/tree/" in at.path for at in hub.requests) == 5


def test_pull_requests(tmp_path: Path) -> None:
    with LocalHub(tmp_path, ACCOUNTS).serving() as hub:
        api = api_of(hub)
        hub.create(REPO)
        commit(api, {"a.txt": b"a"}, create_pr=True)
        (pull,) = api.get_repo_discussions(REPO, repo_type="dataset", discussion_status="open")
        assert (pull.num, pull.is_pull_request) == (1, True)
        assert "a.txt" not in api.list_repo_files(REPO, repo_type="dataset")
        assert "a.txt" in api.list_repo_files(REPO, repo_type="dataset", revision="refs/pr/1")
        hub.repositories[REPO].merge(1)
        assert "a.txt" in api.list_repo_files(REPO, repo_type="dataset")
        assert list(api.get_repo_discussions(REPO, repo_type="dataset", discussion_status="open")) == []


def test_ranges_and_tokens_at_the_storage(tmp_path: Path) -> None:
    content = os.urandom(1000)
    with LocalHub(tmp_path, ACCOUNTS).serving() as hub:
        api = api_of(hub)
        hub.create(REPO)
        commit(api, {"a.parquet": content})
        url = f"{hub.storage}/lfs/{REPO}/{hashlib.sha256(content).hexdigest()}?key=signed"
        session = huggingface_hub.get_session()
        for given, part in (("bytes=10-19", content[10:20]), ("bytes=990-", content[990:]), ("bytes=-5", content[-5:])):
            answer = session.get(url, headers={"Range": given})
            assert (answer.status_code, answer.content) == (206, part)
        assert session.get(url, headers={"Range": "bytes=1000-"}).status_code == 416
        assert session.get(url.removesuffix("?key=signed")).status_code == 403
        told = session.get(url, headers={"Authorization": f"Bearer {TOKEN}"})
        assert told.status_code == 400
        assert "another origin" in told.text
        wrong = session.put(url.replace(url[-80:-70], "0" * 10), content=b"other")
        assert wrong.status_code in (400, 404)
