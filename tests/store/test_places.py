"""Where something may be written: over what is ours, with --overwrite, and over nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import run

from coig_p.cli import demo
from coig_p.core.progress import Advance
from coig_p.errors import UsageError
from coig_p.export.write import check_export
from coig_p.publish.release import ReleaseConfig, write_release
from coig_p.report.card_toml import CARD_TOML
from coig_p.store.locate import BUNDLED, locate
from coig_p.store.places import check_file, check_folder, check_target
from coig_p.store.rewrite import rewrite_store
from coig_p.store.store import Store

NOT_UTF_8 = "b\udcff"  # as Python has the byte ff
THEIRS = {
    "manifest.json": [
        {"name": "a browser extension"},
        {"schema_version": 2},
        {"metadata": {"dbt_schema_version": "v12"}},
    ],
    "shards.json": [{}, {"shards": 4}, {"tool": "webdataset", "trainer": "theirs"}],
}


@pytest.mark.parametrize(("name", "fields"), [(name, fields) for name, every in THEIRS.items() for fields in every])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_another_program_is_not_replaced(
    name: str, fields: dict[str, object], overwrite: bool, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / name).write_text(json.dumps(fields))
    with pytest.raises(UsageError, match="exists and is not a store: choose another place"):
        check_target(theirs, overwrite)
    with pytest.raises(UsageError, match="exists and is not an export: choose another place"):
        check_export(theirs, BUNDLED, overwrite)


def test_commands_do_not_replace_a_folder_of_another_program(store: Path, tmp_path: Path) -> None:
    theirs, source = tmp_path / "theirs", tmp_path / "a.jsonl"
    theirs.mkdir()
    for name in THEIRS:
        (theirs / name).write_text('{"name": "theirs"}')
    source.write_text("{}")
    for words in (
        ["import", source, "--out", theirs],
        ["clean", store, "--out", theirs],
        ["dedup", store, "--out", theirs],
        ["export", store, "--for", "trl-dpo", "--out", theirs],
        ["publish", store, "--version", "1.0.0", "--target", f"dir:{theirs}"],
        ["demo", "--out", theirs],
    ):
        said = run(*words, "--overwrite", code=2).stderr
        assert f"{theirs} exists and is not a" in said, words
    assert sorted(path.name for path in theirs.iterdir()) == sorted(THEIRS)


def test_what_is_ours_is_replaced_with_overwrite(store: Path, tmp_path: Path) -> None:
    copied, export = tmp_path / "store", tmp_path / "export"
    shutil.copytree(store, copied)
    check_target(copied, overwrite=True)
    run("export", store, "--for", "trl-dpo", "--out", export)
    check_export(export, store, overwrite=True)
    with pytest.raises(UsageError, match="not an export"):
        check_export(copied, store, overwrite=True)
    with pytest.raises(UsageError, match="not a store"):
        check_target(export, overwrite=True)


def test_the_demo_replaces_nothing_but_an_earlier_demo(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[Path, bool]] = []
    monkeypatch.setattr(demo, "_demo", lambda folder, out, overwrite: written.append((out, overwrite)))
    mine, earlier = tmp_path / "mine", tmp_path / "earlier"
    shutil.copytree(store, mine)
    sources = [
        {"name": path.name, "sha256": demo.sha256_of(path), "license": None}
        for path in sorted(demo.RAW.glob("*.jsonl"))
    ]
    fields = json.loads((mine / "manifest.json").read_text("utf-8"))
    for release, own in (({}, fields["sources"]), ({}, sources), ({"version": "2.0.0"}, fields["sources"])):
        (mine / "manifest.json").write_text(json.dumps(fields | {"release": release, "sources": own}), encoding="utf-8")
        said = run("demo", "--out", mine, "--overwrite", code=2).stderr
        assert "is a store, but not the release of an earlier demo: choose another place" in said
    shutil.copytree(mine, earlier)
    release = fields | {"release": {"version": "1.0.0"}, "sources": sources}
    (earlier / "manifest.json").write_text(json.dumps(release), encoding="utf-8")
    assert "pass --overwrite" in run("demo", "--out", earlier, code=2).stderr
    assert written == []
    run("demo", "--out", earlier, "--overwrite")
    run("demo", "--out", tmp_path / "new")
    assert written == [(earlier, True), (tmp_path / "new", False)]


def test_what_appears_while_a_store_is_read_is_not_replaced(store: Path, tmp_path: Path) -> None:
    """Before anything is written, when a store is only looked through."""
    out = tmp_path / "out"

    def appear(*_: object) -> None:
        if not out.exists():
            shutil.copytree(store, out)

    with pytest.raises(UsageError, match="pass --overwrite"):
        rewrite_store(Store.open(store), out, appear, step="dedup", record=lambda losses: {})

    released = tmp_path / "released"
    shutil.copytree(BUNDLED, released)
    shutil.copy(BUNDLED.parent / CARD_TOML, released)
    shutil.rmtree(out)

    @contextmanager
    def bar(what: str, total: int, unit: str = "bytes") -> Iterator[Advance]:
        appear()
        yield lambda amount: None

    with pytest.raises(UsageError, match="pass --overwrite"):
        write_release(Store.open(released), out, ReleaseConfig("1.0.0"), bar=bar)
    assert Store.open(out).verify() == []


def test_standard_output_is_no_directory(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text("{}")
    monkeypatch.chdir(tmp_path)
    for words in (
        ["import", source, "--out", "-"],
        ["stats", store, "--out", "-"],
        ["sweep", store, "--out", "-"],
        ["check", store, "--report", "-"],
        ["clean", store, "--out", "-"],
        ["dedup", store, "--out", "-"],
        ["export", store, "--for", "trl-dpo", "--out", "-"],
        ["publish", store, "--version", "1.0.0", "--target", "dir:-"],
        ["demo", "--out", "-"],
        ["annotate", "demo", "--out", "./-"],
    ):
        done = run(*words, code=2)
        assert "- is standard output, which takes one file: name a directory" in done.stderr, words
        assert done.stdout == ""
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("name", [".", ".."])
def test_a_directory_has_a_name_to_be_renamed_to(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UsageError, match="name the directory by its own name"):
        check_target(Path(name), overwrite=True)


@pytest.mark.parametrize("name", [NOT_UTF_8, f"{NOT_UTF_8}/deeper", f"deeper/{NOT_UTF_8}"])
def test_names_are_utf_8(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    for check in (
        lambda: check_target(path, overwrite=True),
        lambda: check_folder(path, {"a"}, "a report", overwrite=True),
        lambda: check_file(path, "a file of pairs", overwrite=True),
        lambda: check_export(path, BUNDLED, overwrite=True),
        lambda: Store.open(path),
    ):
        with pytest.raises(UsageError, match=r"b\\udcff.* is not UTF-8: rename it") as raised:
            check()
        str(raised.value).encode()  # can be printed anywhere
    assert list(tmp_path.iterdir()) == []


def test_a_store_below_a_name_that_is_not_utf_8_is_told_at_once(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.resolve
    monkeypatch.setattr(Path, "resolve", lambda path, strict=False: real(path, strict) / NOT_UTF_8)
    with pytest.raises(UsageError, match="is not UTF-8"):
        locate(store)


def test_commands_refuse_names_that_are_not_utf_8(store: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}")
    bad = tmp_path / NOT_UTF_8
    for words in (
        ["import", f"{bad}.jsonl", "--out", tmp_path / "out"],
        ["import", tmp_path / "a.jsonl", "--out", bad],
        ["info", bad],
        ["verify", bad],
        ["pairs", store, "--out", f"{bad}.jsonl"],
        ["export", store, "--for", "trl-dpo", "--out", bad],
        ["check", store, "--report", bad],
        ["contamination", store, "--against", f"{bad}.jsonl", "--out", tmp_path / "found.jsonl"],
        ["annotate", "run", f"{bad}.toml"],
        ["annotate", "init", "--out", f"{bad}.toml"],
        ["demo", "--out", bad],
    ):
        assert "is not UTF-8: rename it" in run(*words, code=2).stderr, words
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]
