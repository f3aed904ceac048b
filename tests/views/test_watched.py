"""Files of a view that are written to while it is open, in one process: right rows or one error, and a way on."""

from __future__ import annotations

import gc
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import coig_p
from coig_p.builder import CoigP
from coig_p.errors import StoreError, UsageError
from coig_p.views import identity
from coig_p.views.texts import read_facts

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # of datasets' own calls of Arrow
AGAIN: dict[str, Any] = {"lazy": True, "download_mode": "force_redownload"}


def texts_of(cache: str) -> Path:
    return next(Path(cache, "coig-p").glob("texts-*/texts.arrow"))


def index_of(lazy: Any) -> Path:
    return Path(lazy.cache_files[0]["filename"])


def cut(path: Path) -> None:
    os.truncate(path, 20)


def flip(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.seek(path.stat().st_size // 2)
        stream.write(b"XXXX")


@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize("columns", [None, ["margin"]])
def test_an_index_that_changes_while_it_is_open(
    load: Any, damage: Callable[[Path], None], columns: list[str] | None
) -> None:
    lazy, whole = load(lazy=True), load().to_list()
    shown = lazy.select_columns(columns) if columns else lazy
    pickled = pickle.dumps(shown)
    damage(index_of(lazy))
    for read in (lambda: shown[0], lambda: shown[:5], lambda: list(shown), lambda: shown[[3, 1]]):
        with pytest.raises(StoreError, match=r"numbers of a lazy dataset, was changed while it was open\. Load again"):
            read()
    with pytest.raises(StoreError, match="the numbers of a lazy dataset"):
        pickle.loads(pickled)
    assert load(**AGAIN).to_list() == whole


@pytest.mark.parametrize("damage", [cut, flip])
def test_after_texts_were_damaged_they_can_be_made_anew_in_the_same_process(
    load: Any, cache: str, damage: Callable[[Path], None]
) -> None:
    lazy, whole = load(lazy=True), load().to_list()
    damage(texts_of(cache))
    for read in (lambda: lazy[0], lambda: load(lazy=True), lambda: load(lazy=True, threshold=3)):
        with pytest.raises(StoreError, match="force_redownload"):
            read()
    assert load(**AGAIN).to_list() == whole
    assert load(lazy=True, threshold=3).to_list() == load(threshold=3).to_list()
    with pytest.raises(StoreError, match="was changed while it was open"):
        lazy[0]


def test_another_time_stamp_is_no_change(load: Any, cache: str) -> None:
    lazy, whole = load(lazy=True), load().to_list()
    for path in (texts_of(cache), index_of(lazy)):
        os.utime(path, (1, 1))
    assert lazy.to_list() == whole
    assert load(lazy=True).to_list() == whole


def test_a_copied_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, hashed, digest = tmp_path / "texts.arrow", list[Path](), identity._digest
    path.write_bytes(bytes(range(256)) * 999)
    told = identity.identity(path)

    def counting(path: Path) -> str:
        hashed.append(path)
        return digest(path)

    monkeypatch.setattr(identity, "_digest", counting)
    os.utime(path, (1, 1))
    for _ in range(3):  # processes of a loader
        watched = identity.Watched(path, told, "texts")
        watched.check()
        watched.close()
    assert len(hashed) == 1
    flip(path)
    os.utime(path, (1, 1))
    for _ in range(2):
        with pytest.raises(StoreError, match="was changed since it was written"):
            identity.Watched(path, told, "texts")
    assert path.stat().st_mtime_ns == 1_000_000_000


def test_indexes_that_were_exchanged_can_be_made_anew(load: Any) -> None:
    two, three = load(lazy=True), load(lazy=True, threshold=3)
    folders, whole = [index_of(one).parent for one in (two, three)], two.to_list()
    aside = folders[0].with_name("aside")
    for source, target in ((folders[0], aside), (folders[1], folders[0]), (aside, folders[1])):
        source.rename(target)
    with pytest.raises(StoreError, match=r"texts\.json cannot be used \(it is of math-"):
        load(lazy=True)
    assert load(**AGAIN).to_list() == whole


@pytest.mark.parametrize(
    "facts",
    [
        {"most": 3},
        {"total": {"query": 1}},
        {"empty": 5},
        {"empty": ["elsewhere"]},
        {"batches": [[1, "2"]]},
        {"bytes": -1},
    ],
)
def test_facts_of_other_types_are_an_error(load: Any, cache: str, facts: dict[str, Any]) -> None:
    load(lazy=True)
    path = texts_of(cache).with_name("facts.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))
    with pytest.raises(StoreError, match=r"cannot be read.*force_redownload"):
        read_facts(path.parent)


@pytest.mark.parametrize("told", [{"index": {}}, {"index": []}, {"texts": None}, {"texts": [["a"]]}])
def test_what_is_told_of_an_index_is_of_all_its_files(load: Any, told: dict[str, Any]) -> None:
    path = index_of(load(lazy=True)).with_name("texts.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | told))
    with pytest.raises(StoreError, match=r"texts\.json cannot be used"):
        load(lazy=True)


def test_spilled_rows_that_were_cut_are_an_error(load: Any) -> None:
    lazy = load(lazy=True)
    assert lazy.data.table.num_rows
    (spilled,) = index_of(lazy).parent.glob("cache-view-*.arrow")
    os.truncate(spilled, 300)
    again = load(lazy=True)
    with pytest.raises(StoreError, match=r"cannot be read.*cleanup_cache_files"):
        _ = again.data.table
    again.cleanup_cache_files()
    assert load(lazy=True).data.table.equals(load().data.table)


def test_a_relative_cache_is_found_from_another_folder(store: Path, tmp_path: Path, load: Any) -> None:
    code = (
        "import os, pickle, sys, coig_p\n"
        "ds = coig_p.load_dataset('math', data_dir=sys.argv[1], cache_dir='cache', split='train', lazy=True)\n"
        "os.mkdir('elsewhere'); os.chdir('elsewhere')\n"
        "open('view', 'wb').write(pickle.dumps(ds))\n"
    )
    command = [sys.executable, "-c", code, str(store)]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    assert pickle.loads((tmp_path / "elsewhere" / "view").read_bytes()).to_list() == load().to_list()


def test_an_index_that_has_no_room_is_one_error(store: Path, cache: str, load: Any) -> None:
    load(lazy=True)
    code = (
        "import resource, signal, sys, coig_p\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))\n"
        "try: coig_p.load_dataset('math', data_dir=sys.argv[1], cache_dir=sys.argv[2], split='train', lazy=True,"
        " threshold=1)\n"
        "except coig_p.errors.StoreError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(store), cache], capture_output=True, text=True, check=True)
    assert "rows could not be written there: File too large. Make room" in done.stdout


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to become another user")
def test_a_folder_that_another_user_has_to_himself_is_closed(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o700)
    code = (
        "import os, sys; from coig_p.views.closed import is_closed\n"
        "os.setuid(65534); print(is_closed(sys.argv[1] + '/cache/file'))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True\n"


def test_only_datasets_are_materialized() -> None:
    for given in (5, [1], None):
        with pytest.raises(UsageError, match="takes a dataset"):
            coig_p.materialize(given)


@pytest.mark.parametrize("lazy", [False, True])
def test_a_store_that_changes_while_it_is_loaded_is_not_cached(
    store: Path, tmp_path: Path, cache: str, monkeypatch: pytest.MonkeyPatch, lazy: bool
) -> None:
    """The last shard is written anew, with the same rows, once the first is open: rows may then be of two stores."""
    own = Path(shutil.copytree(store, tmp_path / "own"))
    shards = sorted((own / "data" / "math").iterdir())
    opened = CoigP.opened

    def touching(self: Any, file: str) -> Any:
        os.utime(shards[-1], (1, 1))
        return opened(self, file)

    def load() -> Any:
        options: dict[str, Any] = {"data_dir": str(own), "split": "train", "cache_dir": cache, "lazy": lazy}
        return coig_p.load_dataset("math", **options)

    with monkeypatch.context() as patch:
        patch.setattr(CoigP, "opened", touching)
        with pytest.raises(StoreError, match=r"its files were changed while they were read\. Load again"):
            load()
    assert load().to_list() == coig_p.load_dataset("math", data_dir=str(store), split="train").to_list()


@pytest.mark.parametrize("lazy", [False, True])
def test_a_shard_that_goes_while_a_store_is_loaded(
    store: Path, tmp_path: Path, cache: str, monkeypatch: pytest.MonkeyPatch, lazy: bool
) -> None:
    own = Path(shutil.copytree(store, tmp_path / "own"))
    last, opened = sorted((own / "data" / "math").iterdir())[-1], CoigP.opened

    def losing(self: Any, file: str) -> Any:
        last.unlink(missing_ok=True)
        return opened(self, file)

    monkeypatch.setattr(CoigP, "opened", losing)
    with pytest.raises(StoreError, match=rf"{last.name} cannot be read: .*No such file"):
        coig_p.load_dataset("math", data_dir=str(own), split="train", cache_dir=cache, lazy=lazy)


def test_views_that_are_gone_hold_no_file(load: Any) -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("no /proc here")
    load(lazy=True)
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for threshold in (1, 2, 3, 4):
        load(lazy=True, threshold=threshold)[0]
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
