"""Shared fixtures. Caches go to a temporary folder, in memory where there is room, and nothing asks the network."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from contextlib import suppress
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import pytest

# Tests write thousands of small files, and on a slow disk would mostly wait for it. Whoever wants their files kept, and
# on a disk, sets TMPDIR; workers of xdist are given this one's.
_MEMORY = Path("/dev/shm")
if "TMPDIR" not in os.environ and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > 4 << 30:
    _TEMPORARY = tempfile.mkdtemp(prefix="coigp-tests-", dir=_MEMORY)
    os.environ["TMPDIR"] = tempfile.tempdir = _TEMPORARY
    # At the very end, after multiprocessing has removed its own folder there.
    Finalize(None, shutil.rmtree, (_TEMPORARY,), {"ignore_errors": True}, exitpriority=-1000)

# Before datasets and huggingface_hub are imported: they read these once.
_HOME = tempfile.mkdtemp(prefix="coigp-tests-")
os.environ["XDG_CONFIG_HOME"] = _HOME  # what runs may do is not what the user of this machine said
os.environ["XDG_CACHE_HOME"] = _HOME
os.environ |= {"HF_HOME": _HOME, "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
# Every client of the Hub reads all certificates that are trusted, a twentieth of a second; nothing here speaks TLS.
with suppress(ImportError):  # not every version of the Hub's client brings it
    import certifi

    _CERTIFICATE = Path(_HOME, "certificate.pem")
    _CERTIFICATE.write_text(re.split("(?<=-----END CERTIFICATE-----)", certifi.contents())[0], encoding="ascii")
    os.environ["SSL_CERT_FILE"] = str(_CERTIFICATE)
for _name in ("HF_DATASETS_CACHE", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN", "COIGP_STORE"):
    os.environ.pop(_name, None)

# What is started in the background begins with it ignored, and so would every command that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest.register_assert_rewrite("casebook")

from hypothesis import HealthCheck, settings  # noqa: E402

settings.register_profile(
    "default", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("thorough", parent=settings.get_profile("default"), derandomize=False, max_examples=2000)
settings.register_profile("few", parent=settings.get_profile("default"), max_examples=10)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


# These take longest, by processor time; begun last, one would run on alone while the other core has nothing left to do.
# They start in this order, and the rest in one drawn anew; so does what stands within each file.
LONGEST = (
    "pairs/test_streams", "test_hub", "views/test_ends", "pairs/test_epochs", "pairs/test_resuming", "pairs/test_exit",
    "test_same_bytes", "engine/test_faults", "test_package", "views/test_operations", "cli/test_process",
    "publish/test_release", "test_mirrors", "store/test_damage", "store/test_bombs", "pairs/test_kernel",
    "test_builder", "cli/test_every_command", "ingest/test_bulk", "pairs/test_counting", "test_call",
    "pairs/test_pair_tables", "publish/test_since", "pairs/test_ranked", "test_launch", "annotate/test_run",
    "dedup/test_queries", "validation/test_checks", "export/test_write", "export/test_trainers", "export/test_shards",
    "test_registration", "publish/test_people", "publish/test_people_versions", "pairs/test_draws", "pairs/test_plan",
    "pairs/test_weights", "pairs/test_splits", "stats/test_sweep", "validation/test_notes", "publish/test_publish",
    "publish/test_lies", "export/test_round_trips", "stats/test_diff", "publish/test_command", "pairs/test_turns",
    "ingest/test_forms", "ingest/test_case_kinds", "ingest/test_turn_kinds", "ingest/test_fuzz", "stats/test_counts",
    "publish/test_provenance", "publish/test_local_hub", "publish/test_reliability", "engine/test_ahead",
)  # fmt: skip


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {Path(__file__).parent / f"{name}.py": at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


def pytest_unconfigure() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture
def shared_data() -> Path:
    """Real Chinese data beside the checkout, where there is any."""
    if not SHARED.is_dir():
        pytest.skip(f"no real data at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def rows() -> list[dict[str, object]]:
    """Raw rows of two domains, 150 queries, three to five responses each, half points, some unscored."""
    from make import make_rows

    return make_rows({"math": 90, "chat": 60})


@pytest.fixture(scope="session")
def store(rows: list[dict[str, object]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of `rows` with 9 shards of math and 6 of chat, several row groups each."""
    from make import make_store

    return make_store(tmp_path_factory.mktemp("stores") / "store", rows)


@pytest.fixture
def cache(tmp_path: Path) -> str:
    """A cache directory for datasets, empty at the start of the test."""
    return str(tmp_path / "cache")


@pytest.fixture
def load(store: Path, cache: str) -> Any:
    """The literal call on the test store, with its own cache."""

    from datasets import load_dataset

    def call(name: str | None = "math", **options: Any) -> Any:
        keywords = {"data_dir": str(store), "split": "train", **options}
        if not keywords.get("streaming"):
            keywords.setdefault("cache_dir", cache)
        return load_dataset("coig-p", name, **keywords)

    return call


@pytest.fixture(scope="module")
def rewarded(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test store with the rewards of agreeing.py."""
    from agreeing import GIVEN
    from rewarding import with_given

    path = Path(shutil.copytree(store, tmp_path_factory.mktemp("rewarded") / "store"))
    for name, given in GIVEN.items():
        with_given(path, name, given)
    return path
