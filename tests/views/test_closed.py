"""A cache that this user may not write, as a cluster shares one: what is in it is read, the rest says what to do."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import coig_p

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # of datasets' own calls of Arrow
    pytest.mark.skipif(sys.platform != "linux" and os.geteuid() == 0, reason="only Linux lets root give up its rights"),
]
# The system itself refuses: root gives up, for good, what lets it write whatever the permissions say.
UNPRIVILEGED = """
import ctypes, json, logging, os, pickle, sys
if os.geteuid() == 0:
    head = (ctypes.c_uint32 * 2)(0x20080522, 0)
    held = (ctypes.c_uint32 * 6)()
    system = ctypes.CDLL(None, use_errno=True)
    assert not system.capget(head, held)
    for at in (0, 1, 2):  # effective, permitted, inheritable: without CAP_DAC_OVERRIDE, _READ_SEARCH and CAP_FOWNER
        held[at] &= ~0b1110
    assert not system.capset(head, held), os.strerror(ctypes.get_errno())
store, cache = sys.argv[1:3]
assert not os.access(next(iter(os.scandir(os.path.join(cache, "saved")))).path, os.W_OK)
import coig_p, datasets
from coig_p.errors import StoreError
def load(**options):
    options = {"data_dir": store, "split": "train", "cache_dir": cache, "lazy": True, **options}
    return coig_p.load_dataset("math", **options)
"""


@pytest.fixture
def closed(load: Any, cache: str) -> Iterator[str]:
    """A cache with one lazy dataset and its pickle, of which nothing may be written."""
    lazy = load(lazy=True)
    Path(cache, "pickled").write_bytes(pickle.dumps(lazy))
    lazy.save_to_disk(str(Path(cache, "saved")))
    folders = [Path(cache), *(one for one in Path(cache).rglob("*"))]
    for one in folders:
        one.chmod(0o555 if one.is_dir() else 0o444)
    yield cache
    for one in folders:
        one.chmod(0o755 if one.is_dir() else 0o644)


@pytest.fixture
def passing() -> Iterator[Path]:
    """A TMPDIR with a name that a socket's may begin with, empty when the process that had it has ended."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
        assert not list(Path(folder).iterdir())


def told(code: str, store: Path, cache: str, passing: Path) -> Any:
    """What a process without rights in the cache prints, as JSON."""
    command = [sys.executable, "-c", UNPRIVILEGED + code, str(store), cache]
    given = os.environ | {"TMPDIR": str(passing)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=given)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_what_is_there_is_read_and_what_is_written_goes_elsewhere(
    store: Path, closed: str, passing: Path, tmp_path: Path
) -> None:
    before = sorted(Path(closed).rglob("*"))
    copied = coig_p.load_dataset("math", data_dir=str(store), split="train", cache_dir=str(tmp_path / "other"))
    code = """
said = []
class Kept(logging.Handler):
    def emit(self, one): said.append(one.getMessage())
logging.getLogger("coig_p").addHandler(Kept())
ds, literal = load(), datasets.load_dataset("coig-p", "math", data_dir=store, split="train", cache_dir=cache, lazy=True)
pickled = pickle.loads(open(os.path.join(cache, "pickled"), "rb").read())
saved = datasets.load_from_disk(os.path.join(cache, "saved"))
same = [list(one) == list(ds) for one in (literal, pickled, saved)]
again = pickled.data.table.equals(ds.data.table)
print(json.dumps({
    "rows": list(ds), "same": same, "again": again, "said": said,
    "shuffled": ds.shuffle(seed=3)["query_id"][:], "sorted": ds.sort("margin")[:5],
    "mapped": ds.map(lambda row: {"n": len(row["prompt"])}, num_proc=2)["n"][:],
    "filtered": ds.filter(lambda one: one >= 3, input_columns="margin").shuffle(seed=1)[:4],
    "copied": coig_p.materialize(ds).map(lambda row: {"n": 1})[0],
    "twice": datasets.disable_caching() or len(datasets.concatenate_datasets([ds, ds]).shuffle(seed=1)),
}))
"""  # fmt: skip
    found = told(code, store, closed, passing)
    assert found["rows"] == list(copied)
    assert found["same"] == [True] * 3
    assert found["again"]
    assert len(found["said"]) == 1, found["said"]
    (warning,) = found["said"]
    assert f"written to {passing}/" in warning
    assert "They go when this process ends, since " in warning
    assert found["shuffled"] == copied.shuffle(seed=3)["query_id"][:]
    assert found["sorted"] == copied.sort("margin")[:5]
    assert found["mapped"] == [len(row["prompt"]) for row in copied]
    assert found["filtered"] == copied.filter(lambda row: row["margin"] >= 3).shuffle(seed=1)[:4]
    assert found["twice"] == 2 * len(copied)
    assert found["copied"] == copied[0] | {"n": 1}
    assert sorted(Path(closed).rglob("*")) == before


def test_what_is_not_there_says_what_to_do(store: Path, closed: str, passing: Path) -> None:
    code = """
said = {}
for name, options in (
    ("another threshold", {"threshold": 1}),
    ("anew", {"download_mode": "force_redownload"}),
    ("copied", {"lazy": False}),
):
    try: load(**options)
    except StoreError as error: said[name] = str(error)
# Several share a cache: its folders may be written by all, and each file by who made it. Locks are files, too.
for folder in (cache, os.path.join(cache, "coig-p")): os.chmod(folder, 0o755)
said["shared"] = [len(load(threshold=1)), len(load(threshold=1, lazy=False))]
print(json.dumps(said))
"""
    found = told(code, store, closed, passing)
    lazy, copied = found.pop("shared")
    assert lazy == copied > 0
    assert set(found) == {"another threshold", "anew", "copied"}
    for said in found.values():
        assert said.startswith(closed)
        assert "this user may not write there. Load with cache_dir= of a folder of your own" in said
    assert "these rows are not in this cache yet" in found["another threshold"]
    assert "makes these rows anew" in found["anew"]
