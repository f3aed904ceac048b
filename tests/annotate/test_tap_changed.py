"""What a TaP run does when its taxonomy, its store or what is made of it is not as it was, or cannot be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import run
from tapping import NODES, tap_answer, tap_endpoint, write_tap

pytest.importorskip("aiohttp", reason="asking models needs the extra [annotate]")

from coig_p.annotate.config import RunConfig
from coig_p.annotate.scripted import ScriptedServer
from coig_p.annotate.stages import run_stages
from coig_p.store.store import Store

Served = tuple[RunConfig, ScriptedServer]
CYCLE = '[[nodes]]\ncode = "1"\nname = "甲"\nparent = "2"\n[[nodes]]\ncode = "2"\nname = "乙"\nparent = "1"\n'


def a_run(folder: Path, base_url: str) -> RunConfig:
    ends = [tap_endpoint("w-0", base_url, writes=True), tap_endpoint("j-0", base_url, judges=True)]
    ends += [tap_endpoint(name, base_url, generates=True) for name in ("m-0", "m-1")]
    return write_tap(folder, ends, taxonomy={"rounds": 2})


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A run that is through, and its server."""
    with ScriptedServer(tap_answer) as server:
        config = a_run(tmp_path / "run", server.base_url)
        run_stages(config)
        yield config, server


def files(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file() and "ledger" not in path.name]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def subjects(config: RunConfig) -> set[str]:
    rows = [row for batch in Store.open(config.folder / "store").batches() for row in batch.to_pylist()]
    return {json.loads(row["meta"])["subject"] for row in rows}


def test_a_subject_of_another_name_is_asked_for_only_where_that_is_said(served: Served) -> None:
    config, server = served
    before, sent = files(config.folder), server.seen.total()
    file = config.path.parent / "subjects.toml"
    file.write_text(NODES.replace("茶学", "茶叶学"), encoding="utf-8")
    said = run("annotate", "run", config.path, code=2).stderr
    assert "1 round of types would be paid again because its subject in the taxonomy changed" in said
    assert "Nothing was sent. To pay again, say so with --yes" in said
    assert (files(config.folder), server.seen.total()) == (before, sent)
    file.write_text(NODES, encoding="utf-8")
    run("annotate", "run", config.path)
    assert (files(config.folder), server.seen.total()) == (before, sent), "put back, nothing is new"
    file.write_text(NODES.replace("茶学", "茶叶学"), encoding="utf-8")
    run("annotate", "run", config.path, "--yes")
    assert server.seen.total() > sent
    assert subjects(config) == {"茶叶学", "蚕学", "桥梁工程"}


def test_a_subject_that_is_new_is_all_that_is_asked_for_and_one_that_went_is_kept_in_the_ledger(served: Served) -> None:
    config, server = served
    before = files(config.folder)
    first = set(server.seen)
    file, one = config.path.parent / "subjects.toml", '{ name = "蚕学", code = "0902" }'
    file.write_text(NODES.replace(one, f'{one}, {{ name = "蜂学", code = "0903" }}'), encoding="utf-8")
    run("annotate", "run", config.path)
    assert max(server.seen.values()) == 1, "nothing that was there is asked for again"
    assert set(server.seen) > first
    assert subjects(config) == {"茶学", "蚕学", "蜂学", "桥梁工程"}
    sent = server.seen.total()
    file.write_text(NODES.replace(f", {one}", ""), encoding="utf-8")
    run("annotate", "run", config.path)
    assert subjects(config) == {"茶学", "桥梁工程"}
    file.write_text(NODES, encoding="utf-8")
    run("annotate", "run", config.path)
    assert server.seen.total() == sent
    assert files(config.folder) == before


@pytest.mark.parametrize("when", ["before", "behind"], ids=str)
@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("", 1, "subjects.toml: no node in it"),
        (NODES[: len(NODES) // 2], 1, "subjects.toml: not TOML"),
        (CYCLE, 1, "subjects.toml .nodes[0]: parent '2': the node stands below itself (1 > 2 > 1)"),
        (NODES.replace("0902", "0901"), 1, "'0901'"),
        (None, 2, "run.toml: taxonomy"),
    ],
    ids=["empty", "truncated", "cyclic", "one code twice", "gone"],
)
def test_a_taxonomy_that_cannot_be_is_one_error(
    text: str | None, code: int, says: str, when: str, tmp_path: Path
) -> None:
    with ScriptedServer(tap_answer) as server:
        config = a_run(tmp_path / "run", server.base_url)
        if when == "behind":
            run_stages(config)
        sent, before = server.seen.total(), files(tmp_path / "run")
        file = config.path.parent / "subjects.toml"
        file.unlink()
        before.pop("subjects.toml")
        if text is not None:
            file.write_text(text, encoding="utf-8")
            before["subjects.toml"] = text.encode()
        for words in (["run"], ["run", "--estimate"], ["types"], ["store"], ["status"]):
            done = run("annotate", words[0], config.path, *words[1:], code=code)
            assert says in done.stderr
            assert done.stderr.count("error: ") == 1
            assert done.stdout == ""
        assert (files(tmp_path / "run"), server.seen.total()) == (before, sent)


def test_a_store_that_changed_since_is_refused_and_the_run_writes_it_anew(served: Served, tmp_path: Path) -> None:
    config, server = served
    before, sent = files(config.folder), server.seen.total()
    store = config.folder / "store"
    shard = next(store.rglob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-100])
    for words in (
        ["info", store],
        ["export", store, "--for", "trl-dpo", "--out", tmp_path / "out"],
        ["export", store, "--for", "trl-sft", "--out", tmp_path / "out", "--response-of", "m-0"],
        ["reward", "halves", store, "--out", tmp_path / "out"],
    ):
        said = run(*words, code=1).stderr
        assert f"{shard.relative_to(store)}: " in said
        assert f"Run: coigp verify {store}" in said
        assert not (tmp_path / "out").exists()
    run("annotate", "run", config.path)
    assert (files(config.folder), server.seen.total()) == (before, sent)


def test_rows_that_are_imported_twice_count_once_and_a_copy_of_them_is_told(served: Served, tmp_path: Path) -> None:
    config, _ = served
    rows, copy = config.folder / "rows.jsonl", tmp_path / "copy.jsonl"
    shutil.copy(rows, copy)
    options = ["--keep", "all", "--both-orders"]
    run("import", rows, "--out", tmp_path / "once", *options)
    twice = run("import", rows, rows, "--out", tmp_path / "twice", *options)
    assert "again: it was read once" in twice.stdout + twice.stderr
    assert {name: text for name, text in files(tmp_path / "twice").items() if name.endswith(".parquet")} == {
        name: text for name, text in files(tmp_path / "once").items() if name.endswith(".parquet")
    }
    told = run("import", rows, copy, "--out", tmp_path / "both", *options)
    assert "every score and comparison in it counts twice. Leave one out" in told.stdout + told.stderr
    before = files(tmp_path / "once")
    assert "--overwrite" in run("import", rows, "--out", tmp_path / "once", *options, code=2).stderr
    store = config.folder / "store"
    assert "a store already" in run("import", store, "--out", tmp_path / "new", code=2).stderr
    assert files(tmp_path / "once") == before
    assert not (tmp_path / "new").exists()
