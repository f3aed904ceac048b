"""What came back is compared: hashes, then rows of every config in both ways. Loading itself is handed in."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import make_rows, make_store
from making import make_release
from serving import head, serve

from coig_p.errors import DataError, RemoteError
from coig_p.publish.client import HubRepo
from coig_p.publish.plan import Release, read_release
from coig_p.publish.verify import Load, Loaded, expected_rows, load_in_process, verify_commit


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    folder = tmp_path_factory.mktemp("release")
    made = make_release(make_store(folder / "store", make_rows({"math": 8})), folder / "release")
    return read_release(made, "1.0.0")


@dataclass(frozen=True)
class Folder(HubRepo):
    """A repository that hands out a folder's files."""

    root: Path = field(default_factory=Path)

    def download(self, path: str, revision: str) -> Path:
        return self.root / path


def repo(root: Path) -> Folder:
    return Folder("org/name", "https://hub.example.org", None, None, root, 1.0, lambda seconds: None, root=root)


def root_of(release: Release) -> Path:
    return release.files[-1].source.parent


def script(*answers: Loaded) -> tuple[list[str], Load]:
    """Loading that answers so, one call after the other, and the ways that were asked for."""
    left, ways = list(answers), list[str]()

    def load(repo: HubRepo, commit: str, configs: Sequence[str], way: str) -> Loaded:
        ways.append(way)
        return left.pop(0)

    return ways, load


def test_expected_rows_are_those_of_the_files(release: Release) -> None:
    rows = expected_rows(release)
    assert rows["math-raw"] == {"train": 8}
    assert rows["math"] == rows["default"]
    assert list(rows) == ["math", "math-raw", "default"]


def test_both_ways_are_tried_once(release: Release) -> None:
    rows = expected_rows(release)
    ways, load = script(Loaded(rows), Loaded(rows))
    seen: list[int] = []
    assert verify_commit(repo(root_of(release)), "abc", release, seen.append, load) == rows
    assert ways == ["map-style", "streaming"]
    assert sum(seen) == release.bytes


def test_what_failed_on_the_way_is_tried_once_more(release: Release) -> None:
    rows = expected_rows(release)
    failed = Loaded({"math": rows["math"]}, "math-raw", "ConnectionError: the server is busy")
    ways, load = script(failed, Loaded(rows), Loaded(rows))
    verify_commit(repo(root_of(release)), "abc", release, load=load)
    assert ways == ["map-style", "map-style", "streaming"]
    ways, load = script(Loaded(rows), failed, failed)
    with pytest.raises(RemoteError, match="config math-raw could not be loaded from commit abc: ConnectionError"):
        verify_commit(repo(root_of(release)), "abc", release, load=load)
    assert ways == ["map-style", "streaming", "streaming"]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"rows": {"math": {"train": 1}}}, DataError, r"config math, map-style: \{'train': 1\} rows, .* in the files"),
        ({"rows": {}, "failed": "math", "error": "NonMatchingSplitsSizesError: 7"}, DataError, "dataset_info counts"),
        ({"rows": {}, "error": "loading ended with code -9: "}, RemoteError, "ended with code -9"),
        ({"rows": {}}, RemoteError, "not every config was loaded"),
    ],
)
def test_what_loading_can_say(release: Release, change: dict, error: type, words: str) -> None:
    ways, load = script(*[Loaded(**change)] * 2)
    with pytest.raises(error, match=words):
        verify_commit(repo(root_of(release)), "abc", release, load=load)
    assert len(ways) == (2 if error is RemoteError else 1)  # other rows are other rows


def test_a_file_that_came_back_otherwise(release: Release, tmp_path: Path) -> None:
    shutil.copytree(root_of(release), tmp_path / "copy")
    (tmp_path / "copy" / "README.md").write_bytes(b"cut short")
    with pytest.raises(DataError, match=r"org/name@abc: README\.md came back with another sha256"):
        verify_commit(repo(tmp_path / "copy"), "abc", release)


def test_a_loading_that_dies_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", shutil.which("false"))
    loaded = load_in_process(repo(tmp_path), "abc", ["math"], "streaming")
    assert loaded == Loaded({}, None, "loading ended with code 1: ")


def test_loading_asks_the_hub_where_a_folder_of_that_name_lies_beside_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote, here = tmp_path / "remote", tmp_path / "here" / "org" / "name"
    for folder, rows in ((remote, 3), (here, 5)):
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"text": ["文字"] * rows}), folder / "train.parquet")
    (tmp_path / "scratch").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with serve(remote) as hub:
        asked = replace(repo(tmp_path / "scratch"), endpoint=hub.endpoint, timeout=30.0)
        loaded = load_in_process(asked, head(hub), ["default"], "map-style")
        assert loaded == Loaded({"default": {"train": 3}})
        assert any("/resolve/" in request.path for request in hub.requests)
