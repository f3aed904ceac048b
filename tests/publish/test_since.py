"""The release before: how it is found and fetched, and what the new release's notes and manifest say of it."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from faults import REPO
from make import Rows, make_store, twin
from making import CARD, count_footers
from markdown_it import MarkdownIt
from running import run_publish
from trials import TOKEN

from coig_p.errors import CoigPError
from coig_p.pairs.config import PairConfig
from coig_p.publish.client import HubConfig
from coig_p.publish.local_hub import LocalHub
from coig_p.publish.release import ReleaseConfig, write_release
from coig_p.publish.since import compared_with, release_before
from coig_p.publish.withdrawal import yank
from coig_p.report.card_toml import CARD_TOML
from coig_p.stats.diff import changed_shards, compare_stores
from coig_p.store.manifest import MANIFEST, SIGNATURE
from coig_p.store.store import Store


def stored(path: Path, rows: Rows) -> Path:
    make_store(path, rows, rows_per_shard=4)
    (path / CARD_TOML).write_text(CARD, encoding="utf-8")
    return path


def other_rows() -> Rows:
    """Of `twin`: a query went, one was edited, one judge's word is the other way about, a model was renamed."""
    rows = sorted(copy.deepcopy(twin()), key=lambda row: row["domain"])
    rows[0]["query"] += "请说理由。"
    for score in (score for answer in rows[3]["responses"] for score in answer["scores"]):
        score["score"] = 12 - score["score"]
    rows[5]["responses"][0]["model"] = "new|<b>model</b>"
    return rows[:-1]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("stores")
    rows = sorted(twin(), key=lambda row: row["domain"])
    return stored(folder / "first", rows), stored(folder / "second", other_rows())


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coig_p.publish.verify.load_in_process", count_footers)


@pytest.fixture(scope="module")
def before(stores: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("before") / "release"
    return write_release(Store.open(stores[0]), folder, ReleaseConfig("1.0.0"))


def changes_of(folder: Path) -> Any:
    return Store.open(folder).manifest.release["changes"]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_notes_are_the_difference(before: Store, stores: tuple[Path, Path], tmp_path: Path) -> None:
    config = ReleaseConfig("1.1.0", PairConfig(threshold=3), since=before)
    made = write_release(Store.open(stores[1]), tmp_path / "release", config)
    diff = compare_stores(before, Store.open(stores[1]), PairConfig(threshold=2), PairConfig(threshold=3))
    told = made.manifest.release["changes"]
    assert (told["before"]["version"], told["after"]["version"]) == ("1.0.0", "1.1.0")
    assert told["total"] == diff.to_dict()["total"]
    assert told["domains"] == diff.to_dict()["domains"]
    pairs = told["total"]["pairs"]
    assert pairs["after"] == sum(file.rows or 0 for file in made.manifest.files if file.role == "pairs")
    assert pairs["before"] == sum(file.rows or 0 for file in before.manifest.files if file.role == "pairs")
    assert min(pairs["gained"], pairs["lost"], pairs["flipped"]) > 0
    since = {"version": "1.0.0", "manifest_sha256": sha256(before.path / MANIFEST)}
    assert made.manifest.release["since"] == since
    assert not made.verify()
    for name, heading, gone in (
        ("README.md", "## Changes since 1.0.0", f"{pairs['lost']} went"),
        ("README.zh.md", "## 与 1.0.0 的差异", f"{pairs['lost']} 对去掉"),
    ):
        card = (made.path / name).read_text("utf-8")
        section = card.split(heading)[1].split("\n## ")[0]
        assert gone in section
        assert "<b>model</b>" not in section
        shown = MarkdownIt("commonmark").enable("table").render(section)
        assert shown.count("<table>") == 4
        assert "new|&lt;b&gt;model&lt;/b&gt;" in shown
        assert "threshold" in section


def test_two_runs_give_the_same_bytes_and_no_release_before_leaves_none(
    before: Store, stores: tuple[Path, Path], tmp_path: Path
) -> None:
    config = ReleaseConfig("1.1.0", since=before)
    one, two = (write_release(Store.open(stores[1]), tmp_path / name, config) for name in ("one", "two"))
    for file in one.manifest.files:
        assert (one.path / file.path).read_bytes() == (two.path / file.path).read_bytes()
    assert (one.path / MANIFEST).read_bytes() == (two.path / MANIFEST).read_bytes()
    assert "since" not in before.manifest.release
    assert "Changes since" not in (before.path / "README.md").read_text("utf-8")
    same = write_release(Store.open(stores[0]), tmp_path / "same", ReleaseConfig("1.0.1", since=before))
    assert "the same queries, responses, scores and pairs" in (same.path / "README.md").read_text("utf-8")
    bare = write_release(Store.open(stores[0]), tmp_path / "bare", ReleaseConfig("1.0.2", None, since=same))
    assert "Pair option pairs: was True, is False" in (bare.path / "README.md").read_text("utf-8")


def changed(release: Store, path: Path, **told: Any) -> Path:
    """A copy of a release whose manifest says something else."""
    shutil.copytree(release.path, path)
    fields = json.loads((path / MANIFEST).read_text("utf-8"))
    fields["release"] |= told
    (path / MANIFEST).write_text(
        json.dumps({**fields, "release": {k: v for k, v in fields["release"].items() if v != ()}})
    )
    return path


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"version": ()}, "names no version"),
        ({"version": "one"}, "three numbers"),
        ({"version": "1.1.0"}, "does not come before 1.1.0"),
        ({"version": "2.0.0"}, "does not come before 1.1.0"),
        ({"pairs": ()}, "another tool made it"),
        ({"pairs": [1]}, "another tool made it"),
        ({"pairs": {"thresh": 2}}, "thresh"),
        ({"pairs": {"threshold": "many"}}, "threshold"),
        ({"pairs": {"threshold": 2, "judges": ["nobody"]}}, "nobody"),
    ],
)
def test_a_release_that_cannot_be_compared_with(
    told: dict[str, Any], words: str, before: Store, stores: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = changed(before, tmp_path / "changed", **told)
    with pytest.raises(CoigPError, match=words) as error:
        write_release(Store.open(stores[1]), tmp_path / "new", ReleaseConfig("1.1.0", since=Store.open(folder)))
    assert "--since none" in str(error.value)
    assert not (tmp_path / "new").exists()


def test_a_damaged_release_before(before: Store, stores: tuple[Path, Path], tmp_path: Path) -> None:
    folder = changed(before, tmp_path / "changed")
    shard = folder / changed_shards(before.manifest, Store.open(stores[1]).manifest)[0].path
    given = [stores[1], "--version", "1.1.0", "--target", f"dir:{tmp_path / 'new'}", "--since", folder]
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + b"?")
    assert f"{shard.name} is not the file" in run_publish(*given, code=1).stderr
    shard.unlink()
    assert "is listed in manifest.json but missing" in run_publish(*given, code=1).stderr
    (folder / MANIFEST).unlink()
    assert "not a store" in run_publish(*given, code=1).stderr
    assert "no such folder" in run_publish(*given[:-1], "./nowhere", code=2).stderr
    assert "--since names nothing" in run_publish(*given[:-1], "", code=2).stderr
    shard.write_bytes(content)


def content(hub: LocalHub, revision: str, path: str = MANIFEST) -> bytes:
    return hub.objects.path(hub.repositories[REPO].find(revision).tree[path].sha256).read_bytes()


def told_at(hub: LocalHub, revision: str) -> dict[str, Any]:
    return dict(json.loads(content(hub, revision)))


def where(hub: LocalHub) -> dict[str, Any]:
    return {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN}


def test_found_by_itself_and_the_same_when_run_again(hub: LocalHub, stores: tuple[Path, Path]) -> None:
    run_publish(stores[0], REPO, "--version", "1.0.0", **where(hub))
    assert "since" not in told_at(hub, "main")["release"]
    planned = run_publish(stores[1], REPO, "--version", "1.1.0", "--dry-run", **where(hub))
    assert "## Changes since 1.0.0" in planned.stdout
    run_publish(stores[1], REPO, "--version", "1.1.0", **where(hub))
    since = {"version": "1.0.0", "manifest_sha256": hashlib.sha256(content(hub, "v1.0.0")).hexdigest()}
    assert told_at(hub, "v1.1.0")["release"]["since"] == since
    assert b"## Changes since 1.0.0" in content(hub, "main", "README.md")
    # A version between them comes later: what is published stays what it is.
    run_publish(stores[1], REPO, "--version", "1.0.1", **where(hub))
    assert told_at(hub, "v1.0.1")["release"]["since"] == since
    for store, version in ((stores[0], "1.0.0"), (stores[1], "1.0.1"), (stores[1], "1.1.0")):
        assert "published already" in run_publish(store, REPO, "--version", version, **where(hub)).stdout


def test_a_dry_run_shows_what_differs_from_the_release_that_is_there(
    hub: LocalHub, stores: tuple[Path, Path], before: Store, tmp_path: Path
) -> None:
    asked = (stores[1], REPO, "--version", "1.1.0", "--threshold", "3", "--dry-run")
    planned = run_publish(*asked, **where(hub))
    assert "No release was compared with." in planned.stdout
    run_publish(stores[0], REPO, "--version", "1.0.0", **where(hub))
    wanted = compare_stores(before, Store.open(stores[1]), PairConfig(threshold=2), PairConfig(threshold=3))
    assert min(wanted.total.pairs.gained, wanted.total.pairs.lost, wanted.total.pairs.flipped) > 0
    planned = run_publish(*asked, **where(hub))
    shown = planned.stdout.partition("A is 1.0.0, B is 1.1.0, this release:\n")[2].partition("\n\n---\n")[0]
    assert "threshold: 2 in A, 3 in B" in shown
    lines = [line.split() for line in shown.splitlines()]
    total = wanted.total
    for kind in ("queries", "responses", "scores", "pairs"):
        one = getattr(total, kind)
        other = getattr(one, "changed", getattr(one, "flipped", None))
        numbers = [one.before, one.after, one.gained, one.lost, *([] if other is None else [other])]
        assert [kind, *map(str, numbers)] in lines
    for name, one in wanted.domains.items():
        if not one.is_same:
            numbers = [one.queries.gained, one.queries.lost, one.queries.changed]
            numbers += [one.pairs.gained, one.pairs.lost, one.pairs.flipped]
            assert [name, *map(str, numbers)] in lines
    told = json.loads(run_publish(*asked, "--json", **where(hub)).stdout)
    assert told["changes"]["total"] == wanted.to_dict()["total"]
    assert told["changes"]["domains"] == wanted.to_dict()["domains"]
    # A release that is made already says nothing of another: it is compared now.
    made = tmp_path / "made"
    run_publish(stores[1], "--version", "1.1.0", "--threshold", "3", "--target", f"dir:{made}")
    again = json.loads(run_publish(made, REPO, "--version", "1.1.0", "--dry-run", "--json", **where(hub)).stdout)
    assert again["changes"]["total"] == told["changes"]["total"]
    assert hub.repositories[REPO].refs.keys() == {"refs/heads/main", "refs/tags/v1.0.0"}


def test_a_withdrawn_release_and_a_foreign_tag_are_passed_over(hub: LocalHub, stores: tuple[Path, Path]) -> None:
    for version in ("1.0.0", "1.0.1"):
        run_publish(stores[0], REPO, "--version", version, **where(hub))
    yank(REPO, "1.0.1", "answers leaked", HubConfig(token=TOKEN, endpoint=hub.endpoint))
    repository = hub.repositories[REPO]
    found = repository.find("v1.0.0")
    foreign = replace(found, oid="f" * 40, tree={"notes.md": found.tree["README.md"]})
    repository.commits["f" * 40] = foreign
    repository.refs["refs/tags/v1.0.2"] = "f" * 40
    repository.add_ref("refs/tags/v1.0.3", "main")  # which is 1.0.1, and says that it was withdrawn
    said = run_publish(stores[1], REPO, "--version", "1.1.0", **where(hub))
    assert told_at(hub, "v1.1.0")["release"]["since"]["version"] == "1.0.0"
    assert "v1.0.2 has no manifest.json" in said.stderr
    assert "the tag v1.0.3 is of version 1.0.1" in said.stderr
    assert "published already" in run_publish(stores[1], REPO, "--version", "1.1.0", **where(hub)).stdout
    named = run_publish(
        stores[1], REPO, "--version", "1.2.0", "--since", f"{REPO}@v1.0.1", "--dry-run", **where(hub)
    )  # one that is named is taken
    assert "## Changes since 1.0.1" in named.stdout


def test_what_the_store_has_already_is_not_downloaded(
    hub: LocalHub, stores: tuple[Path, Path], before: Store, tmp_path: Path
) -> None:
    run_publish(stores[0], REPO, "--version", "1.0.0", **where(hub))
    config, new = HubConfig(token=TOKEN, endpoint=hub.endpoint), Store.open(stores[1])
    for named, repo in ((None, REPO), (f"{REPO}@v1.0.0", None), (f"hf://datasets/{REPO}@v1.0.0", "org/other")):
        hub.requests.clear()
        with release_before(named, repo, "1.1.0", config) as find:
            assert not hub.requests
            found = find(new)
            assert found is not None
            wanted = [file.path for file in changed_shards(before.manifest, new.manifest)]
            got = sorted(path.relative_to(found.store.path).as_posix() for path in found.store.path.rglob("*.parquet"))
            assert got == sorted(wanted)
            assert 0 < len(wanted) < len(before.data_files())
            diff = compared_with(found, new, PairConfig(threshold=2), "1.1.0")
        assert diff.total == compare_stores(before, new, PairConfig(), PairConfig()).total


def test_named_by_hand(hub: LocalHub, stores: tuple[Path, Path], before: Store, tmp_path: Path) -> None:
    run_publish(stores[0], REPO, "--version", "1.0.0", **where(hub))
    given = [stores[1], "--version", "1.1.0"]
    to = {name: ["--target", f"dir:{tmp_path / name}"] for name in ("tag", "folder", "main", "none")}
    run_publish(*given, *to["tag"], "--since", f"{REPO}@v1.0.0", **where(hub))
    run_publish(*given, *to["main"], "--since", REPO, **where(hub))
    run_publish(*given, *to["folder"], "--since", before.path)
    hub.requests.clear()
    run_publish(*given, *to["none"], **where(hub))
    assert not hub.requests  # a folder is compared with nothing that was not named
    assert "since" not in Store.open(tmp_path / "none").manifest.release
    assert (tmp_path / "tag" / MANIFEST).read_bytes() == (tmp_path / "main" / MANIFEST).read_bytes()
    for name in ("tag", "main"):
        assert changes_of(tmp_path / name) == changes_of(tmp_path / "folder")
    assert (
        "no tag or branch v9.9.9 to compare with (releases: 1.0.0)"
        in run_publish(*given, *to["none"], "--overwrite", "--since", f"{REPO}@v9.9.9", code=3, **where(hub)).stderr
    )
    said = run_publish(*given, *to["none"], "--overwrite", "--since", "org/gone@v1.0.0", code=3, **where(hub)).stderr
    assert "org/gone" in said
    assert "Traceback" not in said
    bare = run_publish(stores[1], REPO, "--version", "1.1.0", "--since", "none", "--dry-run", **where(hub))
    assert "Changes since" not in bare.stdout


def test_a_folder_without_a_signature_after_a_release_with_one_says_so(
    hub: LocalHub, stores: tuple[Path, Path], before: Store, tmp_path: Path
) -> None:
    signed = tmp_path / "signed"
    shutil.copytree(before.path, signed)
    given = [stores[1], "--version", "1.1.0", "--target", f"dir:{tmp_path / 'new'}", "--overwrite", "--since"]
    assert "signed" not in run_publish(*given, signed).stderr
    (signed / SIGNATURE).write_text("a signature", encoding="utf-8")
    said = "the release before, 1.0.0, was signed, and 1.1.0 is not. To sign it: --sign KEYFILE"
    assert said in run_publish(*given, signed).stderr
    run_publish(signed, REPO, "--version", "1.0.0", **where(hub))
    assert said in run_publish(*given, f"{REPO}@v1.0.0", **where(hub)).stderr
    key = pytest.importorskip("coig_p.store.signing", reason="the extra sign").make_keys(tmp_path / "a.key", "x")[0]
    assert said not in run_publish(*given, signed, "--sign", key.with_suffix(""), COIGP_SIGN_PASSWORD="x").stderr


def test_a_ready_made_release_is_compared_with_nothing(stores: tuple[Path, Path], before: Store) -> None:
    said = run_publish(before.path, REPO, "--version", "1.0.0", "--since", "none", code=2).stderr
    assert "--since does not apply" in said


def test_a_rehearsal_compares_with_a_folder(stores: tuple[Path, Path], before: Store) -> None:
    given = [stores[1], REPO, "--version", "1.1.0", "--rehearse", "--json"]
    proxies: dict[str, Any] = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy"), "http://127.0.0.1:9")
    bare = json.loads(run_publish(*given, **proxies).stdout)
    told = json.loads(run_publish(*given, "--since", before.path, **proxies).stdout)
    assert told["added"] == bare["added"]  # what they say stands in the manifest and the cards


def test_a_release_before_by_another_tool_or_damaged_on_the_hub(hub: LocalHub, stores: tuple[Path, Path]) -> None:
    run_publish(stores[0], REPO, "--version", "1.0.0", **where(hub))
    tree = hub.repositories[REPO].find("v1.0.0").tree
    assert isinstance(tree, dict)
    manifest = content(hub, "v1.0.0")
    for told, words in (
        (b"{}", "schema_version is missing"),
        (b"\xff", "cannot be read"),
        (json.dumps(json.loads(manifest) | {"release": {"version": "1.0.0"}}).encode(), "another tool made it"),
    ):
        hub.objects.path(tree[MANIFEST].sha256).write_bytes(told)
        tree[MANIFEST] = replace(tree[MANIFEST], size=len(told))
        said = run_publish(stores[1], REPO, "--version", "1.1.0", "--dry-run", code=1, **where(hub)).stderr
        assert words in said
        assert "--since none" in said
        assert "Traceback" not in said


def test_no_token_goes_to_a_mirror(stores: tuple[Path, Path], tmp_path: Path) -> None:
    given = [stores[1], "--version", "1.1.0", "--target", f"dir:{tmp_path / 'new'}", "--since", f"{REPO}@v1.0.0"]
    said = run_publish(*given, "--token", TOKEN, code=2, HF_ENDPOINT="https://hf-mirror.com").stderr
    assert "no token is sent there" in said
