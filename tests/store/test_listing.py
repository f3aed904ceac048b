"""A long list of files beside the manifest: it says what a manifest would, and damage is told in the same words."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import run
from make import make_rows, make_store

from coig_p.builder import load_dataset
from coig_p.errors import StoreError
from coig_p.schema import LISTED_APART, SCHEMA_VERSION
from coig_p.store import listing
from coig_p.store.listing import COLUMNS, write_manifest
from coig_p.store.manifest import LISTING, MANIFEST, Manifest, StoreFile, listing_name
from coig_p.store.store import Store

SHA = "0123456789abcdef" * 4


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MOST_INLINE", 2)


def rows() -> list[dict[str, Any]]:
    return make_rows({"math": 30, "chat": 20})


def lists(store: Path) -> list[str]:
    return sorted(path.name for path in store.glob("files-*"))


def test_the_same_store_with_either_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inline = make_store(tmp_path / "inline", rows())
    monkeypatch.setattr(listing, "MOST_INLINE", 4)
    apart = make_store(tmp_path / "apart", rows())
    one, other = Store.open(inline).manifest, Store.open(apart).manifest
    assert (one.schema_version, other.schema_version) == (SCHEMA_VERSION, LISTED_APART)
    assert [file for file in other.files if file.role != LISTING] == list(one.files)
    assert other.to_json() == (inline / MANIFEST).read_text("utf-8")
    assert json.loads((apart / MANIFEST).read_text("utf-8"))["files"][0]["path"] == lists(apart)[0]
    assert Store.open(apart).verify() == []
    options: dict[str, Any] = {"split": "train", "cache_dir": str(tmp_path / "cache")}
    pairs = [load_dataset("math", data_dir=str(path), **options).to_list() for path in (inline, apart)]
    assert pairs[0] == pairs[1]
    again = make_store(tmp_path / "again", rows())
    assert [(again / name).read_bytes() for name in (MANIFEST, *lists(again))] == [
        (apart / name).read_bytes() for name in (MANIFEST, *lists(apart))
    ]


def test_exactly_the_limit_is_a_list_of_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MOST_INLINE", 5)
    store = make_store(tmp_path / "store", rows())
    assert Store.open(store).manifest.schema_version == SCHEMA_VERSION
    assert not lists(store)


def test_a_manifest_written_in_its_place_leaves_one_list(tmp_path: Path, few: None) -> None:
    store = make_store(tmp_path / "store", rows())
    manifest, before = Store.open(store).manifest, lists(store)
    write_manifest(store, replace(manifest, tool="another"))
    assert lists(store) == before
    fewer = replace(manifest, files=tuple(file for file in manifest.files if file.path != manifest.files[0].path))
    assert write_manifest(store, fewer) == Store.open(store).manifest
    assert len(lists(store)) == 1
    assert lists(store) != before
    shorter = replace(manifest, files=tuple(file for file in manifest.files if file.domain != "math"))
    assert write_manifest(store, shorter).schema_version == SCHEMA_VERSION
    assert not lists(store)


def test_a_list_that_is_not_what_the_manifest_names(tmp_path: Path, few: None) -> None:
    store = make_store(tmp_path / "store", rows())
    path = store / lists(store)[0]
    content = path.read_bytes()
    for damaged, said in [(content[:-1], "sha256"), (content[:-1] + b"x", "sha256"), (content + b"x", "larger than")]:
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match=rf"{path.name}.*{said}"):
            Store.open(store)
    path.unlink()
    with pytest.raises(StoreError, match=f"{path.name} is listed in {MANIFEST} but missing"):
        Store.open(store)
    path.mkdir()
    with pytest.raises(StoreError, match=f"{path.name} cannot be read"):
        Store.open(store)
    assert "Traceback" not in run("verify", store, code=1).stderr


ENTRY = {
    **{"path": "data/math/train-0.parquet", "role": "data", "sha256": SHA, "bytes": 5, "domain": "math"},
    **{"split": "train", "rows": 1, "queries": 1, "responses": 2, "scores": 3},
}
REWARD = {
    **{"path": "rewards/rm/math/train-0.parquet", "role": "rewards", "sha256": SHA, "bytes": 5},
    **{"domain": "math", "split": "train", "rows": 2},
}
PAIRS = REWARD | {"path": "pairs/math/train-0.parquet", "role": "pairs"}
# What is put into an entry; None takes the field away.
CHANGES: list[dict[str, Any]] = [
    {},
    *({name: None} for name in ENTRY),
    *({name: value} for name in ("bytes", "rows", "queries", "responses", "scores") for value in (-1, 0, 10**17)),
    *({name: value} for name in ("comparisons", "conversations", "with_tools") for value in (-1, 0, 7)),
    *({"sha256": text} for text in ("", SHA[:-1], SHA.upper(), SHA + "\n", SHA + "0")),
    *({"domain": text} for text in ("", "code", "chat", "Math", "../x")),
    *({"split": text} for text in ("", "test", "a.b", "a b", "train\x1b", "训练", "x" * 300)),
    *({"split": text, "path": f"data/math/{text}-0.parquet"} for text in ("a.b", "训练", "a b", "x" * 300)),
    *(
        {"path": text}
        for text in (
            *("", "/etc/passwd", "../x", "data/math/../train-0.parquet", "data\\math\\train-0.parquet", "c:/x"),
            *("data/math/train-0.parquet\n", "data/math/train-\u202e.parquet", "data/math/sub/train-0.parquet"),
            *("data/chat/train-0.parquet", "data/math/test-0.parquet", f"data/math/train-{'x' * 300}", "data/.git/x"),
            *("data/math/train-测试.parquet", "rewards/rm/chat/train-0.parquet", "rewards/rm./math/train-0.parquet"),
            *(
                "rewards/../math/train-0.parquet",
                "pairs/math/train-0.parquet",
                "x.parquet",
                "data//math/train-0.parquet",
            ),
        )
    ),
]


def as_manifest(files: list[dict[str, Any]], version: int) -> str:
    fields = json.loads(
        Manifest(score_range=(1, 10), default_threshold=2, tool="t", domains=("math", "chat")).to_json()
    )
    return json.dumps(fields | {"files": files, "schema_version": version})


def said_of(text: str, content: Path | None) -> tuple[str, Any]:
    try:
        manifest = listing.manifest_of(text, "S", lambda file: content or Path("none"))
    except StoreError as error:
        return str(error), None
    return "", [asdict(file) for file in manifest.files if file.role != LISTING]


@pytest.mark.parametrize("base", [ENTRY, REWARD, PAIRS], ids=["data", "rewards", "pairs"])
@pytest.mark.parametrize("change", CHANGES, ids=ascii)
def test_both_lists_say_the_same(tmp_path: Path, base: dict[str, Any], change: dict[str, Any]) -> None:
    right = base | {"path": base["path"].replace("-0.", "-1.")}
    bad = {name: value for name, value in (base | change).items() if value is not None}
    apart, inline = listed_apart(tmp_path, [right, bad]), said_of(as_manifest([right, bad], SCHEMA_VERSION), None)
    assert apart[0].replace(next(tmp_path.iterdir()).name, MANIFEST) == inline[0]
    assert apart[1] == inline[1]


def listed_apart(folder: Path, entries: list[dict[str, Any]], schema: pa.Schema = COLUMNS) -> tuple[str, Any]:
    path = folder / "list"
    pq.write_table(pa.Table.from_pylist(entries, schema), path, write_page_checksum=True)
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    named = path.rename(folder / listing_name(sha256))
    own = {"path": named.name, "role": LISTING, "sha256": sha256, "bytes": len(content), "rows": len(entries)}
    return said_of(as_manifest([own], LISTED_APART), named)


def test_what_only_a_list_can_be(tmp_path: Path) -> None:
    for name, number in (("bytes", 10**18), ("rows", 2**63 - 1)):
        (tmp_path / name).mkdir()
        assert (
            f"files[1].{name} is a number of 19 digits"
            in listed_apart(tmp_path / name, [REWARD, ENTRY | {name: number}])[0]
        )
    for name, kind, said in (("bytes", pa.string(), "bytes is string"), ("path", pa.int64(), "path is int64")):
        at = COLUMNS.get_field_index(name)
        (tmp_path / f"t{name}").mkdir()
        assert said in listed_apart(tmp_path / f"t{name}", [{}], COLUMNS.set(at, pa.field(name, kind)))[0]
    (tmp_path / "role").mkdir()
    readme = {"path": "README.md", "role": "readme", "sha256": SHA, "bytes": 1}
    assert 'files[0].role "readme"' in listed_apart(tmp_path / "role", [readme])[0]
    (tmp_path / "twice").mkdir()
    assert "listed twice in files" in listed_apart(tmp_path / "twice", [ENTRY, ENTRY])[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"path": "files-0000000000000000.parquet"}, "is not what a list of such a sha256 is called"),
        ({"path": "../files.parquet"}, "does not lie inside the store"),
        ({"role": "readme"}, f"names none of role {LISTING}"),
        ({"rows": None}, "is missing or not a int"),
    ],
)
def test_how_a_manifest_names_its_list(change: dict[str, Any], said: str) -> None:
    own = {"path": listing_name(SHA), "role": LISTING, "sha256": SHA, "bytes": 1, "rows": 1} | change
    own = {name: value for name, value in own.items() if value is not None}
    assert said in said_of(as_manifest([own], LISTED_APART), None)[0]


def test_a_manifest_without_its_list_is_an_error() -> None:
    own = {"path": listing_name(SHA), "role": LISTING, "sha256": SHA, "bytes": 1, "rows": 1}
    with pytest.raises(StoreError, match="which is not at hand"):
        Manifest.from_json(as_manifest([own], LISTED_APART), "S")


def test_loads_look_at_files_of_their_domain_alone(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", rows())
    wanted = load_dataset("math", data_dir=str(store), split="train", cache_dir=str(tmp_path / "one")).to_list()
    for path in (store / "data/chat").iterdir():
        path.unlink()
    (store / "data/chat").rmdir()
    for streaming in (False, True):
        options: dict[str, Any] = {"split": "train", "cache_dir": str(tmp_path / "two"), "streaming": streaming}
        assert list(load_dataset("math", data_dir=str(store), **options)) == wanted
        with pytest.raises(StoreError, match=r"data/chat/train-00000-of-00002\.parquet is listed .* but missing"):
            load_dataset("chat", data_dir=str(store), **options)


def test_a_shard_that_leads_out_is_not_loaded(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", rows())
    shard = next((store / "data/math").iterdir())
    shard.rename(tmp_path / "outside")
    shard.symlink_to(tmp_path / "outside")
    with pytest.raises(StoreError, match="leads out of the store"):
        load_dataset("math", data_dir=str(store), split="train", cache_dir=str(tmp_path / "cache"))


def test_store_files_in_memory_are_those_of_the_list(tmp_path: Path, few: None) -> None:
    store = make_store(tmp_path / "store", rows())
    table = pq.read_table(store / lists(store)[0])
    assert table.schema == COLUMNS
    assert [StoreFile(**row) for row in table.to_pylist()] == list(Store.open(store).manifest.files[: table.num_rows])


def test_a_manifest_that_nobody_could_read_again_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = replace(Store.open(make_store(tmp_path / "store", rows())).manifest, schema_version=1)
    assert len(manifest.files) > 1
    size = len(manifest.to_json().encode())
    for name, most in (("whole", size), ("none", size - 1)):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(listing, "LARGEST_MANIFEST", most)
        if name == "whole":
            write_manifest(tmp_path / name, manifest)
            continue
        with pytest.raises(StoreError, match=rf"would be {size:,} bytes long .* readers take {most:,}: make fewer"):
            write_manifest(tmp_path / name, manifest)
        assert not list((tmp_path / name).iterdir())
