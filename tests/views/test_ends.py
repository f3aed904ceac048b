"""Texts of views that are damaged, gone or half written, processes at once, a full disk: right rows or one error."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest

import coig_p
from coig_p.errors import StoreError, UsageError
from coig_p.views.texts import Kept, TextFile

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # of datasets' own calls of Arrow


def texts_of(cache: str) -> Path:
    return next(Path(cache, "coig-p").glob("texts-*/texts.arrow"))


def damage_cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


def damage_other(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.seek(path.stat().st_size // 2)
        stream.write(b"XXXX")


@pytest.mark.parametrize("damage", [damage_cut, damage_other])
def test_texts_that_change_while_they_are_open_are_an_error(
    load: Any, cache: str, damage: Callable[[Path], None]
) -> None:
    lazy = load(lazy=True)
    assert lazy[0]
    damage(texts_of(cache))
    for read in (lambda: lazy[0], lambda: lazy[:5], lambda: list(lazy), lambda: lazy[[3, 1]]):
        with pytest.raises(StoreError, match=r"was changed while it was open\. Load again with download_mode="):
            read()


def test_texts_that_are_deleted_or_replaced_while_open_stay_what_they_were(load: Any, cache: str) -> None:
    lazy, copied = load(lazy=True), load()
    path = texts_of(cache)
    path.unlink()
    path.write_bytes(b"something else")
    assert list(lazy) == list(copied)


@pytest.mark.parametrize("how", ["cut", "other", "deleted", "facts", "swapped"])
def test_texts_that_changed_between_two_opens(store: Path, cache: str, how: str) -> None:
    code = (
        "import sys, coig_p; from coig_p.errors import StoreError\n"
        "more = {'download_mode': sys.argv[3]} if len(sys.argv) > 3 else {}\n"
        "try: print(len(coig_p.load_dataset('math', data_dir=sys.argv[1], cache_dir=sys.argv[2], split='train',"
        " lazy=True, **more)[:]['prompt']))\n"
        "except StoreError as error: print('StoreError', error)"
    )

    def run(*more: str) -> str:
        command = [sys.executable, "-c", code, str(store), cache, *more]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    rows = run()
    assert int(rows) > 100
    path = texts_of(cache)
    if how == "cut":
        damage_cut(path)
    elif how == "other":
        damage_other(path)
    elif how == "deleted":
        shutil.rmtree(path.parent)
    elif how == "facts":
        (path.parent / "facts.json").write_text("{")
    else:
        coig_p.load_dataset("chat", data_dir=str(store), cache_dir=cache, split="train", lazy=True)
        other = next(one for one in Path(cache, "coig-p").glob("texts-chat-*"))
        shutil.rmtree(path.parent)
        shutil.copytree(other, path.parent)
    said = run()
    assert said.startswith("StoreError"), said
    assert 'download_mode="force_redownload"' in said
    assert run("force_redownload") == rows
    assert run() == rows


def of_another_config(path: Path) -> None:
    other = next(one for one in path.parent.parent.parent.parent.glob("math-*") if one not in path.parents)
    shutil.copy(next(other.rglob(path.name)), path)


@pytest.mark.parametrize("name", ["coig-p-train.arrow", "texts.json"])
@pytest.mark.parametrize("damage", [damage_cut, damage_other, of_another_config, Path.unlink])
def test_an_index_that_changed_is_an_error(load: Any, cache: str, name: str, damage: Callable[[Path], None]) -> None:
    whole = load(lazy=True).to_list()
    index = Path(load(lazy=True).cache_files[0]["filename"])
    load(lazy=True, threshold=3)
    damage(index.with_name(name))
    with pytest.raises(StoreError, match="force_redownload"):
        load(lazy=True)
    assert load(lazy=True, download_mode="force_redownload").to_list() == whole


def test_a_refused_file_is_closed_once(load: Any, cache: str, tmp_path: Path) -> None:
    load(lazy=True)
    path = texts_of(cache)
    kept = Kept(str(path.parent), json.loads((path.parent / "facts.json").read_text())["xxh3"])
    damage_cut(path)
    with (tmp_path / "another").open("wb") as before:
        number = before.fileno()
    with pytest.raises(StoreError) as error:
        TextFile(kept)
    with (tmp_path / "mine").open("wb") as mine:
        assert mine.fileno() == number
        del error
        gc.collect()
        os.fstat(number)  # still open


def test_rows_that_are_prepared_as_parquet_are_refused(store: Path, cache: str) -> None:
    builder = datasets.load_dataset_builder("coig-p", "math", data_dir=str(store), lazy=True, cache_dir=cache)
    with pytest.raises(UsageError, match="to_parquet"):
        builder.download_and_prepare(str(Path(cache, "out")), file_format="parquet")
    assert not Path(cache, "out").exists()


@pytest.mark.parametrize("shuffled", [False, True])
def test_no_rows_need_no_file(load: Any, shuffled: bool) -> None:
    lazy, copied = load(lazy=True), load()
    if shuffled:
        lazy, copied = lazy.shuffle(seed=1), copied.shuffle(seed=1)
    folder = Path(load(lazy=True).cache_files[0]["filename"]).parent
    keys: list[Any] = [slice(3, 2), slice(len(lazy), None), [], range(0), np.zeros(0, np.int64)]
    for key in keys:
        assert lazy[key] == copied[key] == {name: [] for name in copied.column_names}
    assert lazy.__getitems__([]) == copied.__getitems__([])
    for none in (lambda row: False, lambda margin: False):
        named = "margin" if "margin" in none.__code__.co_varnames else None
        found, other = (one.filter(none, input_columns=named) for one in (lazy, copied))
        assert found.to_pandas().equals(other.to_pandas())
    assert len(lazy.select_columns([])) == len(copied.select_columns([]))
    assert not list(folder.glob("cache-view-*"))


def test_a_copied_cache_is_hashed_and_read(load: Any, store: Path, cache: str, tmp_path: Path) -> None:
    copied = load().to_list()
    load(lazy=True)
    moved = tmp_path / "moved"
    shutil.copytree(cache, moved, copy_function=shutil.copy)
    code = (
        "import sys, json, coig_p; ds = coig_p.load_dataset('math', data_dir=sys.argv[1], cache_dir=sys.argv[2],"
        " split='train', lazy=True); print(json.dumps(ds.to_list()))"
    )
    command = [sys.executable, "-c", code, str(store), str(moved)]
    assert json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout) == copied


def test_ten_processes_load_at_once(store: Path, cache: str, load: Any) -> None:
    code = (
        "import sys, coig_p; ds = coig_p.load_dataset('all', data_dir=sys.argv[1], cache_dir=sys.argv[2],"
        " split='train', lazy=True, threshold=int(sys.argv[3])); print(len(ds[:]['chosen']), ds[-1]['query_id'])"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(store), cache, str(1 + at % 3)], stdout=subprocess.PIPE)
        for at in range(10)
    ]
    said = [one.communicate()[0].decode().strip() for one in running]
    assert all(one.returncode == 0 for one in running)
    for at in range(3):
        copied = load("all", threshold=1 + at)
        assert set(said[at::3]) == {f"{len(copied)} {copied[-1]['query_id']}"}
    assert len(list(Path(cache, "coig-p").glob("texts-*/texts.arrow"))) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_full_disk_during_a_spill(store: Path, cache: str) -> None:
    code = (
        "import sys, signal, resource, pathlib, coig_p; from coig_p.errors import StoreError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "ds = coig_p.load_dataset('math', data_dir=sys.argv[1], cache_dir=sys.argv[2], split='train', lazy=True)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))\n"
        "folder = pathlib.Path(ds.cache_files[0]['filename']).parent; before = sorted(folder.iterdir())\n"
        "try: ds.data.table\n"
        "except StoreError as error: print(error)\n"
        "assert sorted(folder.iterdir()) == before\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "assert ds.data.table.num_rows == len(ds) and ds.data.table.to_pylist() == ds.to_list()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(store), cache], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "could not be written to cache-view-" in done.stdout
    assert "Make room there" in done.stdout


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_a_data_loader(load: Any, context: str) -> None:
    torch_data = pytest.importorskip("torch.utils.data", reason="needs torch")
    lazy, copied = load(lazy=True), load()
    loader = torch_data.DataLoader(lazy, batch_size=None, num_workers=2, multiprocessing_context=context)
    assert list(loader) == list(copied)


KILLS = {
    "texts": "coig_p.views.keeping._Hashed.write",
    "facts": "coig_p.views.keeping.json.dumps",
    "index": "datasets.arrow_writer.ArrowWriter.write_table",
    "which texts": "coig_p.views.building.write_made_of",
    "spill": "coig_p.views.table.ViewTable._decoded",
}


@pytest.mark.parametrize("where", KILLS)
@pytest.mark.parametrize("call", [1, 3])
def test_a_kill_while_something_is_written(store: Path, cache: str, load: Any, where: str, call: int) -> None:
    """The process ends at the first or third call of what writes; the next one finds the old state, or the new."""
    code = (
        "import os, signal, sys, pkgutil, coig_p, coig_p.builder\n"
        "owner, _, name = sys.argv[3].rpartition('.')\n"
        "owner = pkgutil.resolve_name(owner); real = getattr(owner, name)\n"
        "calls = []\n"
        "def ends(*args, **options):\n"
        "    calls.append(1)\n"
        "    if len(calls) == int(sys.argv[4]): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(*args, **options)\n"
        "coig_p.views.checking.works()\n"
        "setattr(owner, name, ends)\n"
        "ds = coig_p.load_dataset('all', data_dir=sys.argv[1], cache_dir=sys.argv[2], split='train', lazy=True)\n"
        "ds.data.table\n"
    )
    command = [sys.executable, "-c", code, str(store), cache, KILLS[where], str(call)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False).returncode
    assert ended == -signal.SIGKILL or call == 3, ended
    lazy, copied = load("all", lazy=True), load("all")
    assert lazy.to_list() == copied.to_list()
    assert lazy.data.table.equals(copied.data.table)
    folders = [one.name for one in Path(cache, "coig-p").iterdir() if one.name.startswith("texts-") and one.is_dir()]
    assert len(folders) == 2, folders


def test_push_to_hub_sends_the_rows(store: Path, cache: str, tmp_path: Path, load: Any) -> None:
    """Shards as datasets writes them, of a view that is shuffled; what comes back is what the copied rows are."""
    from coig_p.publish.local_hub import Account, LocalHub

    code = (
        "import sys, coig_p, datasets\n"
        "ds = coig_p.load_dataset('math', data_dir=sys.argv[1], cache_dir=sys.argv[2], split='train', lazy=True)\n"
        "ds.shuffle(seed=4).push_to_hub('org/name', token='hf_x', num_shards=3)\n"
        "found = datasets.load_dataset('org/name', split='train', token='hf_x', cache_dir=sys.argv[2])\n"
        "found.to_parquet(sys.argv[3])\n"
    )
    with LocalHub(tmp_path / "hub", {"hf_x": Account("me", ("org",))}).serving() as hub:
        given = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0"}
        given |= {"HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1,localhost", "USE_TORCH": "0"}
        command = [sys.executable, "-c", code, str(store), cache, str(tmp_path / "rows.parquet")]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | given, check=False)
    assert done.returncode == 0, done.stderr
    assert pq.read_table(tmp_path / "rows.parquet").to_pylist() == load().shuffle(seed=4).to_list()


def test_polars(load: Any) -> None:
    pytest.importorskip("polars", reason="needs polars")
    lazy, copied = load(lazy=True), load()
    assert lazy.to_polars().equals(copied.to_polars())
    assert lazy.shuffle(seed=1).with_format("polars")[:9].equals(copied.shuffle(seed=1).with_format("polars")[:9])
