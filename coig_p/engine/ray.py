"""Work on the machines of a Ray cluster, behind the interface of `concurrent.futures`.

Shards are read, and results come back, as with processes of one machine; what is folded and written stays here. Every
node needs the same coig-p, Python, pyarrow and numpy, and must see the store, and a folder for scratch, under the same
path: that is asked of each before any work. A worker that dies is started again, up to three times a task.
"""

from __future__ import annotations

import os
import platform
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from coig_p._version import __version__
from coig_p.engine.local import check_num_proc, cores
from coig_p.errors import RemoteError, UsageError, WorkersLost

_RETRIES = 3
_WAIT = 120  # seconds for a node to say what it has
_MEMORY = 256 << 20  # bytes of shared memory, where Ray is started here: results wait there; what is more, on the disk
_HEAD_WAIT = 10  # seconds for the head of a cluster to answer at all
_OLDEST = (2, 40)

# How HTTP/2 begins, on which gRPC stands: a client's first words, and a frame of settings, which the server answers
# with one of its own. A frame's head is its length in three bytes, its kind in one, and five more.
_FRAME, _SETTINGS = 9, b"\x04"
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + _SETTINGS + bytes(5)


class RayExecutor(Executor):
    """Tasks of Ray as an executor, for `engine=` of `check`, `statistics`, `export_store` and the others.

        with RayExecutor("auto", scratch="/shared/scratch") as engine:
            coig_p.validation.check("/shared/store", engine=engine)

    Ray is started, or connected to, with the first task.

    Args:
        address: of a cluster that runs, as Ray takes it: "auto", or host:port. None starts one on this machine, which
            ends with this executor.
        num_proc: tasks at a time; default: four for each core of the cluster, one for each core where it is started.
        scratch: a folder that every node sees under the same path. Needed with an address.

    Raises:
        UsageError: options that cannot be, or Ray is not installed; with the first task, a node that has other
            versions, or does not see the scratch folder.
        RemoteError: with the first task, no cluster there.
    """

    def __init__(
        self, address: str | None = None, *, num_proc: int | None = None, scratch: str | Path | None = None
    ) -> None:
        check_num_proc(num_proc)
        if address == "":
            raise UsageError("address='': use auto, or host:port")
        if address is not None and address.startswith("ray://"):
            raise UsageError(f"address={address!r}: Ray's client does not do. Run on a node of the cluster, with auto")
        if address is not None and scratch is None:
            raise UsageError("a cluster needs a folder that all nodes see: name it with scratch (--scratch DIR)")
        self.address, self.num_proc = address, num_proc
        self.scratch = None if scratch is None else Path(scratch).absolute()
        self._ray = _ray()
        self._lock = threading.Lock()
        self._task: Any = None
        self._sent: tuple[Any, Any] | None = None
        self._window = 0
        self._ended = False
        self._put_back: Callable[[], None] = _nothing

    @property
    def window(self) -> int:
        """How many items are at work, or wait for their turn to be taken."""
        self._start()
        return self._window

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Send a task. `function` is sent once where it is the one of the task before."""
        self._start()
        if self._sent is None or self._sent[0] is not function:
            self._sent = function, self._ray.put(function)
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        done = self._task.remote(self._sent[1], os.getcwd(), args, kwargs).future()
        done.add_done_callback(partial(_hand_over, future))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster; one that was started here ends, with what it is at."""
        with self._lock:
            self._ended = True
            if self._task is not None:
                self._task = self._sent = None
                self._ray.shutdown()
                self._put_back()

    def _start(self) -> None:
        with self._lock:
            if self._task is not None:
                return
            if self._ended:
                raise RuntimeError("cannot schedule new futures after shutdown")  # as executors of Python say it
            ray = self._ray
            if ray.is_initialized():
                raise UsageError("Ray runs in this process already: end it first, with ray.shutdown()")
            options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
            if self.address is None:
                number = self.num_proc or cores()
                # "local" is one of its own, also where RAY_ADDRESS or a cluster of this machine would be another.
                options |= {"address": "local", "num_cpus": number, "include_dashboard": False}
                options |= {"object_store_memory": _MEMORY}
            else:
                options |= {"address": self.address}
            _see_head(self.address)
            try:
                with _own_sigterm(ray) as self._put_back:
                    ray.init(**options)
            except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
                where = "here" if self.address is None else f"at {self.address}"
                if _is_about_token(error):
                    raise RemoteError(
                        f"the Ray cluster {where} asks for a token: set RAY_AUTH_MODE=token, and have the token in "
                        "~/.ray/auth_token or RAY_AUTH_TOKEN_PATH, as on its nodes"
                    ) from None
                self._put_back()
                raise RemoteError(f"no Ray cluster {where}: {str(error).splitlines()[0]}") from None
            try:
                _see_nodes(ray, self.scratch)
                task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_run)
                self._window = self.num_proc or max(1, 4 * int(ray.cluster_resources().get("CPU", 1)))
            except BaseException:
                ray.shutdown()
                self._put_back()
                raise
            self._task = task


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else a warning of what a later Ray does
    if sys.stderr is None or not sys.stderr.isatty():
        os.environ.setdefault("RAY_COLOR_PREFIX", "0")  # what its nodes say goes into a file, or nowhere
    try:
        ray = import_module("ray")
    except ImportError:
        raise UsageError("engine ray needs the extra: pip install 'coig-p[ray]'") from None
    if tuple(map(int, ray.__version__.split(".")[:2])) < _OLDEST:
        raise UsageError(f"Ray {ray.__version__} is too old: pip install -U 'coig-p[ray]'")
    return ray


def _see_head(address: str | None) -> None:
    """Raise RemoteError where no gRPC server is at an address: Ray would try for minutes, and say so line by line."""
    if address is None:
        return
    found = address
    with suppress(Exception):  # what Ray finds in its files, and does not find, it says itself
        found = import_module("ray._private.services").canonicalize_bootstrap_address(address) or address
    host, _, port = found.rpartition(":")
    if not host or not port.isdecimal():
        return
    where = found if address in ("auto", found) else f"{address}, which Ray takes for {found}"
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _HEAD_WAIT) as head:
            if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
                return
            head.sendall(_HELLO)
            if head.recv(_FRAME, socket.MSG_WAITALL)[3:4] != _SETTINGS:
                raise OSError("what listens there is not the head of a Ray cluster")
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise RemoteError(f"no Ray cluster at {where}: {why}. See where it is, on a node of it: ray status") from None


def _nothing() -> None:
    pass


def _end_ray(ray: Any, before: Any, number: int, frame: Any) -> None:
    """Answer SIGTERM: end what Ray started, then as without Ray."""
    signal.signal(number, before)
    with suppress(Exception):
        ray.shutdown()
    if callable(before):
        before(number, frame)
    else:
        signal.raise_signal(number)


@contextmanager
def _own_sigterm(ray: Any) -> Iterator[Callable[[], None]]:
    """Put back what answers SIGTERM, which Ray replaces by an exit that takes unfinished work along.

    Where the signal comes while Ray starts, it comes once more when that is over.

    Yields:
        What puts it back as it was before Ray.
    """
    before = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield _nothing  # in other threads Ray leaves it alone, and what is no function of Python cannot be put back
        return
    came, ours = False, before if before is signal.SIG_IGN else partial(_end_ray, ray, before)

    def put_back() -> None:
        if signal.getsignal(signal.SIGTERM) is ours and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)

    try:
        yield put_back
    except SystemExit:
        came = True
        raise
    finally:
        signal.signal(signal.SIGTERM, ours)
        if came:
            signal.raise_signal(signal.SIGTERM)


def _is_about_token(error: BaseException | None) -> bool:
    """Whether it failed since the cluster, from Ray 2.59 on, asks for a token and got none or another."""
    while error is not None:
        if "AuthToken" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _run(function: Callable[..., Any], folder: str, args: Any, kwargs: Any) -> tuple[bool, Any]:
    """In a worker: what came of it. Errors are results, so that they come back as they were raised."""
    with suppress(OSError):
        os.chdir(folder)  # a relative path means what it means where the task was sent from
    try:
        return True, function(*args, **kwargs)
    except Exception as error:
        return False, error


def _hand_over(future: Future[Any], done: Future[Any]) -> None:
    error = done.exception()
    if error is not None:
        what = f"a task of Ray was not done ({type(error).__name__}): {_last_line(error)}"
        future.set_exception(WorkersLost(f"{what}. See the state of the cluster: ray status"))
        return
    well, result = done.result()
    if well:
        future.set_result(result)
    else:
        future.set_exception(result)


def _last_line(error: BaseException) -> str:
    """Of what Ray says, which may be a page with a trace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1].rstrip(".")


def facts(scratch: str | None = None) -> dict[str, str]:
    """What must be equal on all nodes: versions, and what a file in the scratch folder says."""
    found = {"coig-p": __version__, "Python": platform.python_version()}
    found |= {name: metadata.version(name) for name in ("pyarrow", "numpy")}
    if scratch is not None:
        try:
            found[scratch] = Path(scratch).read_text()
        except (OSError, UnicodeDecodeError) as error:
            found[scratch] = f"not to be read: {type(error).__name__}"
    return found


def host() -> str:
    """Its name, for messages."""
    return socket.gethostname()


def _see_nodes(ray: Any, scratch: Path | None) -> None:
    """Ask every node for its versions and a nonce that is written to scratch; raise UsageError where one differs."""
    strategy = import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
    place = None
    if scratch is not None:
        place = scratch / f".coig-p-{secrets.token_hex(8)}"
        try:
            scratch.mkdir(parents=True, exist_ok=True)
            place.write_text(secrets.token_hex(16))
        except OSError as error:
            raise UsageError(f"{scratch}: {error.strerror}. Name another folder with --scratch") from None
    try:
        own = facts(None if place is None else str(place))
        ask = ray.remote(num_cpus=0, max_retries=_RETRIES)(_said)
        nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        there = [
            ask.options(scheduling_strategy=strategy(node["NodeID"], soft=False)).remote(place and str(place))
            for node in nodes
        ]
        try:
            for name, found in ray.get(there, timeout=_WAIT):
                check_facts(own, found, name)
        except ray.exceptions.GetTimeoutError:
            raise RemoteError(f"a node did not answer within {_WAIT} seconds: ray status") from None
        except ray.exceptions.RayError as error:
            raise UsageError(
                f"a node cannot run coig-p: {_last_line(error)}. Install the same coig-p {__version__} there"
            ) from None
    finally:
        if place is not None:
            place.unlink(missing_ok=True)


def _said(scratch: str | None) -> tuple[str, dict[str, str]]:
    return host(), facts(scratch)


def check_facts(own: Mapping[str, str], found: Mapping[str, str], name: str) -> None:
    """Raise UsageError where a node of that name has other facts than this process."""
    for what, value in own.items():
        there = found.get(what, "not there")
        if there == value:
            continue
        if os.sep in what:
            raise UsageError(
                f"node {name} does not see {Path(what).parent}, or another folder of that name ({there}): name one "
                "that all nodes share with --scratch"
            )
        raise UsageError(
            f"node {name} has {what} {there}, this one {value}: results would not be the same. Install the same"
        )
