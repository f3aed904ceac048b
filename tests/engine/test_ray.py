"""Ray's workers make what one process makes; nodes that would not are refused before any work."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from commands import run
from jobs import JOBS, RELEASE, clean, many
from make import make_rows, make_store

from coig_p.engine.local import in_order
from coig_p.engine.ray import RayExecutor, _own_sigterm, _see_head, check_facts, facts
from coig_p.errors import CoigPError, RemoteError, StoreError, UsageError

HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="needs the extra ray: pip install 'coig-p[ray]'")
# What Ray itself does while it starts and ends is not ours to mend.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayExecutor]:
    """Two workers, started once for all tests here; whatever cluster there is, these are of one of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", "127.0.0.1:9")
        with RayExecutor(num_proc=2, scratch=tmp_path_factory.mktemp("scratch")) as engine:
            yield engine


@needs_ray
@pytest.mark.parametrize("name", JOBS)
def test_two_workers_make_what_one_process_makes(name: str, ray: RayExecutor, tmp_path: Path) -> None:
    store = many(tmp_path / "store")
    assert JOBS[name](store, tmp_path / "two", engine=ray) == JOBS[name](store, tmp_path / "one")


@needs_ray
def test_a_release_is_the_same(ray: RayExecutor, tmp_path: Path) -> None:
    store = clean(tmp_path / "store")
    assert RELEASE(store, tmp_path / "two", engine=ray) == RELEASE(store, tmp_path / "one")


@needs_ray
@pytest.mark.parametrize("name", JOBS)
def test_an_error_comes_whole_out_of_a_worker(name: str, ray: RayExecutor, tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", make_rows({"math": 24}), rows_per_shard=6)
    shard = sorted(store.glob("data/math/*.parquet"))[2]
    shard.write_bytes(shard.read_bytes()[:4] + bytes(shard.stat().st_size - 4))
    said = []
    for options in ({}, {"engine": ray}):
        with pytest.raises(StoreError) as raised:
            JOBS[name](store, tmp_path / "out", **options)
        said.append((str(raised.value), raised.value.store))
    assert said[0] == said[1]


def die_always(_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(marker: str) -> str:
    """Ends the worker that it is in, the first time."""
    if not Path(marker).exists():
        Path(marker).write_text("was here")
        os.kill(os.getpid(), signal.SIGKILL)
    return marker


@needs_ray
def test_a_worker_that_is_killed_is_replaced(ray: RayExecutor, tmp_path: Path) -> None:
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[die_once.__module__])  # a worker cannot import a test
    markers = [str(tmp_path / f"{at}") for at in range(3)]
    assert [made for _, made in in_order(die_once, markers, ray)] == markers


@needs_ray
def test_a_task_that_kills_every_worker_is_one_clear_error(ray: RayExecutor) -> None:
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[die_always.__module__])
    with pytest.raises(
        CoigPError, match=r"a task of Ray was not done \(WorkerCrashedError\): .*: ray status"
    ) as raised:
        list(in_order(die_always, [1], ray))
    assert "\n" not in str(raised.value)


class _Replacing:
    """As Ray: it answers SIGTERM by an exit."""

    ended = 0

    def init(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(15))

    def shutdown(self) -> None:
        self.ended += 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_sigterm_is_answered_as_without_ray_which_ends_before() -> None:
    came: list[int] = []
    ray = _Replacing()

    def own(*_: object) -> None:
        came.append(ray.ended)

    at_first = signal.signal(signal.SIGTERM, own)
    try:
        with _own_sigterm(ray) as put_back:
            ray.init()
        assert signal.getsignal(signal.SIGTERM) is not own
        put_back()
        assert signal.getsignal(signal.SIGTERM) is own
        with _own_sigterm(ray):
            ray.init()
        signal.raise_signal(signal.SIGTERM)
        assert came == [1]
        assert signal.getsignal(signal.SIGTERM) is own
        with pytest.raises(SystemExit), _own_sigterm(ray):  # while Ray starts
            ray.init()
            signal.raise_signal(signal.SIGTERM)
        assert came == [1, 2]
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with _own_sigterm(ray):
            ray.init()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, at_first)


@needs_ray
def test_scratch_is_left_as_it_was(ray: RayExecutor) -> None:
    assert ray.window == 2
    assert ray.scratch is not None
    assert list(ray.scratch.iterdir()) == []


@needs_ray
def test_a_second_ray_in_one_process_is_refused(ray: RayExecutor) -> None:
    assert ray.window
    with pytest.raises(UsageError, match="Ray runs in this process already"):
        RayExecutor(num_proc=1).submit(abs, 1)


@pytest.mark.parametrize("name", ["coig-p", "Python", "pyarrow", "numpy"])
def test_a_node_of_another_version_is_named(name: str) -> None:
    own = facts()
    check_facts(own, dict(own), "node-1")
    with pytest.raises(UsageError, match=f"node-1 has {name} 0.1, this one .*: results would not be the same"):
        check_facts(own, own | {name: "0.1"}, "node-1")
    with pytest.raises(UsageError, match=f"node-1 has {name} not there"):
        check_facts(own, {what: value for what, value in own.items() if what != name}, "node-1")


@needs_ray
def test_an_executor_that_was_left_takes_no_more(tmp_path: Path) -> None:
    with RayExecutor(scratch=tmp_path) as engine:
        pass
    with pytest.raises(RuntimeError, match="after shutdown"):
        engine.submit(len, "")


def test_a_node_that_does_not_see_scratch_is_named(tmp_path: Path) -> None:
    place = tmp_path / "nonce"
    place.write_text("of this run")
    own = facts(str(place))
    place.write_text("of another folder with this name")
    with pytest.raises(UsageError, match=f"node-1 does not see {tmp_path}, or another"):
        check_facts(own, facts(str(place)), "node-1")
    place.unlink()
    with pytest.raises(UsageError, match="not to be read: FileNotFoundError"):
        check_facts(own, facts(str(place)), "node-1")


@needs_ray
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"address": "auto"}, "a cluster needs a folder that all nodes see"),
        ({"address": "ray://head:10001", "scratch": "."}, "Ray's client does not do"),
        ({"num_proc": 0}, "num_proc=0"),
        ({"address": "", "scratch": "."}, "use auto, or host:port"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        RayExecutor(**options)


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """The address of a server that says the same to everybody."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                with server.accept()[0] as client:
                    client.sendall(answer)
                    client.recv(1 << 10)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_cluster_that_is_not_there_is_one_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray._private.services", None)  # which has another name for this machine
    with socket.socket() as free:  # bound, and not listening
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(RemoteError, match=f"no Ray cluster at {address}: Connection refused"):
            _see_head(address)
    _see_head(None)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"-ERR unknown command\r\n", bytes(9)])
def test_what_listens_may_be_no_cluster(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    monkeypatch.setitem(sys.modules, "ray._private.services", None)
    monkeypatch.setattr("coig_p.engine.ray._HEAD_WAIT", 0.05)  # of one that says nothing
    with answering(answer) as address, pytest.raises(RemoteError, match=f"no Ray cluster at {address}: (what|timed)"):
        _see_head(address)


def test_a_head_greets_as_http_2_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray._private.services", None)
    with answering(bytes([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100])) as address:
        _see_head(address)


def test_an_address_that_ray_takes_for_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found = f"127.0.0.1:{free.getsockname()[1]}"
        services = SimpleNamespace(canonicalize_bootstrap_address=lambda _: found)
        monkeypatch.setitem(sys.modules, "ray._private.services", services)  # type: ignore[arg-type]
        with pytest.raises(RemoteError, match=f"at localhost:1, which Ray takes for {found}: Connection refused"):
            _see_head("localhost:1")


def test_a_command_says_what_ray_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store(tmp_path / "store", make_rows({"math": 4}))
    assert "pass that, too" in run("stats", store, "--scratch", tmp_path, code=2).stderr
    assert "pass that, too" in run("stats", store, "--address", "auto", code=2).stderr
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install 'coig-p[ray]'" in run("stats", store, "--engine", "ray", code=2).stderr
