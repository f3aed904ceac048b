"""Files that a manifest lists and that are not there, or lead out of the store."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import run
from make import make_rows, make_store

from coig_p.errors import StoreError
from coig_p.store.store import Store


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return make_store(tmp_path / "small", make_rows({"math": 12, "chat": 3}))


def test_verify_names_all_that_is_wrong(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", make_rows({"math": 40, "chat": 20}), rows_per_shard=10)
    first, second, third, fourth, *_ = (file.path for file in Store.open(store).data_files())
    (store / first).unlink()
    (store / second).write_bytes(b"cut")
    (store / third).rename(tmp_path / "elsewhere")
    (store / third).symlink_to(tmp_path / "elsewhere")
    content = (store / fourth).read_bytes()
    (store / fourth).write_bytes(bytes([content[0] ^ 1]) + content[1:])
    (store / "extra.txt").touch()
    said = run("verify", store, code=1).stderr.splitlines()
    assert [line.partition(": ")[0] for line in said] == [first, second, third, fourth, "extra.txt"]
    for words, line in zip(["missing", "3 bytes", "leads out of the store", "sha256", "not listed"], said, strict=True):
        assert words in line


def test_a_missing_shard_is_an_error_on_opening(small: Path) -> None:
    (small / "data/math/train-00000-of-00001.parquet").unlink()
    with pytest.raises(StoreError, match=r"train-00000-of-00001\.parquet is listed .* but missing"):
        Store.open(small)


def test_a_link_out_of_the_store_is_refused_but_not_a_view_of_the_hub_cache(small: Path, tmp_path: Path) -> None:
    shard = small / "data/math/train-00000-of-00001.parquet"
    outside = tmp_path / "repo" / "blobs" / "abc"
    outside.parent.mkdir(parents=True)
    shard.rename(outside)
    shard.symlink_to(outside)
    with pytest.raises(StoreError, match="leads out of the store"):
        Store.open(small)
    (tmp_path / "repo" / "snapshots").mkdir()
    small.rename(tmp_path / "repo" / "snapshots" / "commit")
    assert Store.open(tmp_path / "repo" / "snapshots" / "commit").verify() == []


def test_a_folder_that_leads_out_of_the_store_is_refused(small: Path, tmp_path: Path) -> None:
    (small / "data/math").rename(tmp_path / "elsewhere")
    (small / "data/math").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="leads out of the store"):
        Store.open(small)
