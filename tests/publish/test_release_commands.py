"""Releases by commands: from a store to a folder, published as they are or not at all, nothing written elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import commands
import pytest
from commands import Done
from make import make_store, twin
from releasing import CARD, to_release

from coig_p.errors import UsageError
from coig_p.publish.plan import read_release
from coig_p.report.card_toml import CARD_TOML, card_template
from coig_p.store.store import Store


def run(program: str, *arguments: object, code: int = 0) -> Done:
    """A command in this process; coigp-publish is coigp publish."""
    return commands.run(*(["publish"] if program == "coigp-publish" else []), *arguments, code=code)


def test_from_a_store_to_a_folder_by_commands(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", twin())
    assert "coigp card" in run("coigp-publish", store, "--version", "1.0.0", "--target", "dir:x", code=1).stderr
    assert "fill it in" in run("coigp", "card", store, "--init").stdout
    assert (store / CARD_TOML).read_text("utf-8") == card_template()
    assert "edit it" in run("coigp", "card", store, "--init", code=2).stderr
    assert "license is not filled in" in run("coigp", "card", store, code=1).stderr
    (store / CARD_TOML).write_text(CARD, encoding="utf-8")
    for wrong in ("v1.0.0", "abc"):
        assert "three numbers without a v" in run("coigp", "card", store, "--version", wrong, code=2).stderr
    assert "# 试验用偏好数据" in run("coigp", "card", store).stdout
    assert "## 怎样加载" in run("coigp", "card", store, "--language", "zh").stdout

    out = tmp_path / "out"
    target = ("--version", "1.0.0", "--target", f"dir:{out}")
    planned = run("coigp-publish", store, *target, "--dry-run").stdout
    assert "Nothing was." in planned
    assert "# 试验用偏好数据" in planned
    assert not out.exists()
    listed = json.loads(run("coigp-publish", store, *target, "--dry-run", "--json").stdout)["add"]
    assert "its card is" in run("coigp-publish", store, *target, "--threshold", "3").stdout
    assert Store.open(out).manifest.release["pairs"]["threshold"] == 3
    assert "pass --overwrite" in run("coigp-publish", store, *target, code=2).stderr
    done = run("coigp-publish", store, *target, "--overwrite", "--json")
    assert json.loads(done.stdout)["files"] == len(listed) - 1  # the manifest lists all but itself
    manifest = Store.open(out).manifest
    assert {file.path: file.sha256 for file in manifest.files}.items() <= {
        file["path"]: file["sha256"] for file in listed
    }.items()
    for wrong in ("dir", "dir:", "s3:bucket", "hub:x"):
        assert (
            "use hub, modelscope or dir:PATH"
            in run("coigp-publish", store, "--version", "1.0.0", "--target", wrong, code=2).stderr
        )
    benchmark = tmp_path / "bench.jsonl"
    benchmark.write_text(json.dumps({"question": twin()[3]["query"]}) + "\n", encoding="utf-8")
    done = run("coigp-publish", store, *target, "--overwrite", "--against", benchmark, code=1)
    assert "contamination (1)" in done.stderr
    assert Store.open(out).manifest == manifest


def test_a_release_is_published_as_it_is_or_not_at_all(released: Store) -> None:
    """What would have changed it is refused, so that no gate is taken for passed that was not."""
    rehearsal = (released.path, "--version", "1.0.0", "--rehearse")
    for given in (
        ("--against", "bench.jsonl"),
        ("--rules", "rules.toml"),
        ("--threshold", "3"),
        ("--no-pairs",),
        ("--judges", "pan-a", "--aggregation", "median", "--strict"),
    ):
        said = run("coigp-publish", *rehearsal, *given, code=2).stderr
        assert "is a release already" in said
        assert "Name the store that it was made of" in said
        assert all(name in said for name in given if name.startswith("--"))
    said = run("coigp-publish", released.path, "--version", "1.0.0", "--target", "dir:x", code=2).stderr
    assert "is a release already" in said
    assert "card.toml" not in said


def test_a_release_has_the_version_that_it_was_made_as(released: Store) -> None:
    said = run("coigp-publish", released.path, "--version", "2.0.0", "--rehearse", code=2).stderr
    assert "was made as version 1.0.0" in said
    assert "not 2.0.0" in said
    with pytest.raises(UsageError, match=r"--version 1\.0\.0, or make 2\.0\.0 of the store"):
        read_release(released.path, "2.0.0")
    assert read_release(released.path, "1.0.0").tag == "v1.0.0"


def test_nothing_is_written_into_a_store(tmp_path: Path) -> None:
    """A file that its manifest does not list is what verify fails for."""
    store = to_release(tmp_path / "store", twin()).path
    deep = store / "data" / "new"
    benchmark = tmp_path / "bench.jsonl"
    benchmark.write_text(json.dumps({"question": twin()[3]["query"]}) + "\n", encoding="utf-8")
    (tmp_path / "link").symlink_to(store)
    for command in (
        ("pairs", store, "--out", store / "p.parquet"),
        ("contamination", store, "--against", benchmark, "--out", store / "data" / "x.parquet"),
        ("clean", store, "--out", deep),
        ("dedup", store, "--out", deep),
        ("import", benchmark, "--out", deep),
        ("stats", store, "--out", deep),
        ("stats", store, "--out", tmp_path / "link" / "new"),
    ):
        assert f"inside the store {store}" in run("coigp", *command, code=2).stderr
    said = run("coigp-publish", store, "--version", "1.0.0", "--target", f"dir:{store / 'rel'}", code=2).stderr
    assert f"inside the store {store}" in said
    assert "is a store" in run("coigp", "stats", store, "--out", store, code=2).stderr
    assert Store.open(store).verify() == []
    # Beside it, by a path that passes through it, is outside of it.
    run("coigp", "pairs", store, "--out", store / ".." / "p.parquet")


@pytest.mark.parametrize("command", ["clean", "dedup", "import"])
def test_a_release_is_not_replaced_by_a_store(command: str, released: Store, tmp_path: Path) -> None:
    there = Path(shutil.copytree(released.path, tmp_path / "there"))
    rows = tmp_path / "rows.jsonl"
    answers = [{"model": name, "text": name, "scores": [{"judge": "j", "score": score}]} for name, score in ROWS_OF_ONE]
    rows.write_text(json.dumps({"query_id": "1", "query": "问", "responses": answers}), encoding="utf-8")
    words = [rows, "--domain", "math"] if command == "import" else [released.path]
    done = commands.run(command, *words, "--out", there, "--overwrite", code=2)
    assert (
        f"{there} is a release (1.0.0), which a store without its card, figures and pairs would replace" in done.stderr
    )
    assert Store.open(there).manifest == released.manifest
    assert Store.open(there).verify() == []


ROWS_OF_ONE = (("a", 1), ("b", 5))
