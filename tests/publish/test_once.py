"""What goes over the wire: content once, and for a release that changes its card alone, three files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.constants
import pytest
from faults import REPO
from make import make_rows, make_store
from making import CARD, change_card, count_footers, make_release
from trials import ACCOUNTS, TOKEN

import coig_p
from coig_p.pairs.config import PairConfig
from coig_p.publish import HubConfig, Published, ReleaseConfig, publish, read_release, write_release, yank
from coig_p.publish.local_hub import ROUTES, Handler, LocalHub
from coig_p.publish.local_hub.repository import MAIN
from coig_p.publish.local_hub.server import Answer
from coig_p.publish.verify import Load, Loaded
from coig_p.report.card_toml import CARD_TOML
from coig_p.store.store import Store

CARDS = ["README.md", "README.zh.md"]


class Seen(Handler):
    """It keeps each commit's operations, and refuses what it is told to."""

    routes = ROUTES
    commits: list[tuple[str, dict[str, str]]]
    only_tracked = False

    def act(self) -> Answer:
        if "/commit/" in self.route_path:
            body = self.rfile.read(self.left)
            self.left = 0
            lines = [json.loads(line) for line in body.splitlines()]
            self.commits.append((self.route_path, {at["value"].get("path", ""): at["key"] for at in lines[1:]}))
            files = [at["value"]["path"] for at in lines if at["key"] == "lfsFile"]
            if self.only_tracked and not all(path.endswith(".parquet") for path in files):
                return Answer(400, b"{}", {"X-Error-Message": "not tracked by LFS"})
            self.body = lambda: iter([body])  # type: ignore[method-assign]
            try:
                return super().act()
            finally:
                del self.body
        return super().act()


@pytest.fixture
def handler() -> type[Seen]:
    return type("Fresh", (Seen,), {"commits": []})


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handler: type[Seen]) -> Iterator[LocalHub]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("coig_p.publish.client.WAITS", (0, 0))
    hub = LocalHub(tmp_path / "hub", ACCOUNTS, handler=handler)
    with hub.serving():
        yield hub


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """1.0.0; 1.0.1, of which card.toml alone was changed; 1.1.0, which has other pairs."""
    folder = tmp_path_factory.mktemp("releases")
    store = folder / "store"
    shutil.copytree(Path(coig_p.__file__).parent / "bundled" / "store", store)

    def made(name: str, card: str, config: ReleaseConfig) -> Path:
        (store / CARD_TOML).write_text(card, "utf-8")
        return write_release(Store.open(store), folder / name, config).path

    return (
        made("first", CARD, ReleaseConfig("1.0.0")),
        made("card", CARD.replace("Trying", "Trying out"), ReleaseConfig("1.0.1")),
        made("pairs", CARD, ReleaseConfig("1.1.0", PairConfig(threshold=3))),
    )


def to(hub: LocalHub, folder: Path, version: str, load: Load = count_footers, **options: Any) -> Published:
    config = HubConfig(token=TOKEN, endpoint=hub.endpoint, **options)
    return publish(read_release(folder, version), REPO, config, load=load)


def listening() -> tuple[list[str], Load]:
    """The ways in which something was loaded so far, and what is to load it."""
    loaded: list[str] = []

    def load(repo: Any, commit: str, configs: Sequence[str], way: str) -> Loaded:
        loaded.append(way)
        return count_footers(repo, commit, configs, way)

    return loaded, load


def files_of(folder: Path) -> dict[str, int]:
    """Bytes by path."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.stat().st_size for name, path in paths.items() if name != CARD_TOML}


def uploads(hub: LocalHub) -> int:
    return sum(request.sent for request in hub.requests if request.method == "PUT" and request.status == 200)


def test_content_goes_up_once(hub: LocalHub, handler: type[Seen], releases: tuple[Path, Path, Path]) -> None:
    """Both commits name the hashes of what was sent; but the two cards, which must be git's own, are in each."""
    to(hub, releases[0], "1.0.0")
    files = files_of(releases[0])
    (_, staged), (branch, promoted) = handler.commits
    assert branch.endswith("/commit/main")
    assert staged == promoted
    assert sorted(path for path, key in staged.items() if key == "file") == CARDS
    assert staged.keys() == files.keys()
    assert uploads(hub) == sum(size for path, size in files.items() if path not in CARDS)
    puts = [request.path for request in hub.requests if request.method == "PUT"]
    assert len(puts) == len(set(puts))
    cards = sum(files[path] for path in CARDS)
    commits = sum(request.sent for request in hub.requests if "/commit/" in request.path)
    assert commits < 2 * (cards * 1.4 + 250 * len(files))  # base64, and a line for each file
    attributes = hub.repositories[REPO].find("main").tree[".gitattributes"]
    assert "manifest.json filter=lfs" in hub.objects.path(attributes.sha256).read_text("utf-8")


def test_a_release_of_another_card_sends_three_files_and_loads_nothing(
    hub: LocalHub, handler: type[Seen], releases: tuple[Path, Path, Path]
) -> None:
    loaded, load = listening()
    first = to(hub, releases[0], "1.0.0", load)
    assert loaded == ["map-style", "streaming"]
    whole = len(hub.requests)
    loaded.clear()
    hub.requests.clear()
    handler.commits.clear()
    second = to(hub, releases[1], "1.0.1", load)
    assert loaded == []
    assert [set(paths) for _, paths in handler.commits] == [{*CARDS, "manifest.json"}] * 2
    assert second.added == 3
    assert uploads(hub) == files_of(releases[1])["manifest.json"]
    downloads = {request.path.split("/", 6)[6] for request in hub.requests if "/resolve/" in request.path}
    assert downloads == {*CARDS, "manifest.json"}
    assert len(hub.requests) < whole
    assert second.rows == first.rows
    tagged = hub.repositories[REPO].refs
    assert tagged["refs/tags/v1.0.1"] == tagged[MAIN]
    # Of other data everything is loaded again.
    to(hub, releases[2], "1.1.0", load)
    assert loaded == ["map-style", "streaming"]


@pytest.mark.parametrize("change", ["configs", "dataset_info", "broken"])
def test_a_card_of_other_configs_is_loaded(
    hub: LocalHub, releases: tuple[Path, Path, Path], tmp_path: Path, change: str
) -> None:
    """Though no data file was changed."""
    store = make_store(tmp_path / "store", make_rows({"math": 6}))
    first, second = make_release(store, tmp_path / "first"), make_release(store, tmp_path / "second", "二")
    to(hub, first, "1.0.0")
    card = (second / "README.md").read_text("utf-8")
    changed = {
        "configs": card.replace("config_name: math-raw", "config_name: math-all"),
        "dataset_info": card.replace("language:", "dataset_info: []\nlanguage:"),
        "broken": card.replace("language:", "language: [\nx:"),
    }[change]
    assert changed != card
    (second / "README.md").write_text(changed, "utf-8")
    change_card(second, "")
    loaded, load = listening()
    if change == "broken":
        with pytest.raises(Exception, match="README"):
            to(hub, second, "1.1.0", load)
        assert "refs/tags/v1.1.0" not in hub.repositories[REPO].refs
        return
    to(hub, second, "1.1.0", load)
    assert loaded == ["map-style", "streaming"]


def test_a_tag_that_is_no_release_vouches_for_nothing(hub: LocalHub, releases: tuple[Path, Path, Path]) -> None:
    """The same data, put there by hand: it is loaded."""
    repository = hub.create(REPO)
    repository.put_folder(releases[0])
    loaded, load = listening()
    to(hub, releases[1], "1.0.1", load, keep=(CARD_TOML,), overwrite=True)
    assert loaded == ["map-style", "streaming"]


def test_a_hub_that_chooses_itself_what_goes_by_lfs(
    hub: LocalHub, handler: type[Seen], releases: tuple[Path, Path, Path]
) -> None:
    """It is let: what it wants in git is sent in both commits then."""
    handler.only_tracked = True
    assert to(hub, releases[0], "1.0.0").tag == "v1.0.0"
    tree = hub.repositories[REPO].find("main").tree
    assert {path for path, blob in tree.items() if blob.lfs} == {path for path in tree if path.endswith(".parquet")}
    assert to(hub, releases[1], "1.0.1").added == 3


def test_a_manifest_in_lfs_is_seen_to_be_there(hub: LocalHub, releases: tuple[Path, Path, Path]) -> None:
    """By its hash, where the answer to a commit was lost; and it may be changed by a withdrawal."""
    to(hub, releases[0], "1.0.0")
    head = hub.repositories[REPO].refs[MAIN]
    assert yank(REPO, "1.0.0", "泄漏", HubConfig(token=TOKEN, endpoint=hub.endpoint)) != head
    assert hub.repositories[REPO].find("main").tree["manifest.json"].lfs
