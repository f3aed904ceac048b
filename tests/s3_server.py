"""An S3 on loopback, by moto in this process, what clients must know to ask it, and ways in which it fails."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import unquote

KEY, SECRET = "AKIA" + "LOOPBACK", "s3cr3t" * 5
BUCKET = "bucket"
QUICK = {"retries": {"max_attempts": 1}, "read_timeout": 0.3, "connect_timeout": 0.3}
"""For config_kwargs of s3fs: botocore asks once, and waits for a moment."""

# What a server says, and its status. "cut" sends half of what it should, "late" nothing for longer than clients wait;
# after "... done" it has carried the request out.
_SAID = {
    "SlowDown": "503 Service Unavailable",
    "InternalError": "500 Internal Server Error",
    "AccessDenied": "403 Forbidden",
    "XMinioStorageFull": "507 Insufficient Storage",
}


@dataclass
class Faults:
    """What goes wrong.

    Attributes:
        plan: says of the method and the key of a request how it fails; None where it does not.
        asked: methods and keys of all requests.
        over: nobody waits for a late answer any more.
    """

    plan: Callable[[str, str], str | None] = lambda method, key: None
    asked: list[tuple[str, str]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def times(self, number: int, kind: str, method: str, ending: str = "") -> None:
        """So many requests of a method for a key of this ending fail."""
        left = [kind] * number

        def plan(asked: str, key: str) -> str | None:
            with self._lock:
                return left.pop() if left and asked == method and key.endswith(ending) else None

        self.plan = plan

    def over_all(self, app: Any) -> Any:
        """A WSGI application that fails where it is planned."""

        def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            method, key = environ["REQUEST_METHOD"], unquote(environ.get("RAW_URI", environ["PATH_INFO"]).split("?")[0])
            self.asked.append((method, key))
            kind = self.plan(method, key)
            if kind is None:
                return app(environ, start_response)  # type: ignore[no-any-return]
            kind, _, done = kind.partition(" ")
            if done:
                b"".join(app(environ, lambda *_: None))
            elif kind != "cut":
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            if kind == "late":
                self.over.wait()
            elif kind == "cut":
                return _half(app, environ, start_response)
            body = f"<Error><Code>{kind}</Code><Message>{SECRET}</Message></Error>".encode()
            start_response(_SAID.get(kind, "500 Late"), [("Content-Type", "application/xml")])
            return [body]

        return answer


def _half(app: Any, environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    body = b"".join(app(environ, start_response))
    yield body[: len(body) // 2]
    raise ConnectionAbortedError("on purpose")


@contextmanager
def serving(faults: Faults | None = None) -> Iterator[dict[str, Any]]:
    """Options of s3fs for a server with an empty bucket, which ends with the block."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from s3fs import S3FileSystem
    from werkzeug.serving import make_server

    S3FileSystem.clear_instance_cache()  # a client keeps the server that the environment named when it was made
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    app: Any = DomainDispatcherApplication(create_backend_app)
    app = faults.over_all(app) if faults else app
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
    server.daemon_threads = True  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        options = {
            "key": KEY,
            "secret": SECRET,
            "endpoint_url": f"http://127.0.0.1:{server.server_port}",
            "client_kwargs": {"region_name": "us-east-1"},
        }
        _forget(server.server_port)
        files(options).call_s3("create_bucket", Bucket=BUCKET)
        yield options
    finally:
        if faults:
            faults.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _forget(port: int) -> None:
    """Moto keeps its objects in the process: what the server of another module was given is still there."""
    asking = HTTPConnection("127.0.0.1", port)
    try:
        asking.request("POST", "/moto-api/reset")
        assert asking.getresponse().status == 200
    finally:
        asking.close()


def files(options: dict[str, Any]) -> Any:
    """The server's files, by a client of its own."""
    import fsspec

    return fsspec.filesystem("s3", use_listings_cache=False, **options)


def requests(patch: Any) -> list[tuple[str, str, str]]:
    """What servers are asked while a MonkeyPatch holds: the operation, the key or prefix, and the range."""
    from s3fs import S3FileSystem

    asked, stock = [], S3FileSystem._call_s3

    async def counted(self: Any, method: str, *args: Any, **options: Any) -> Any:
        asked.append((method, options.get("Key") or options.get("Prefix") or "", options.get("Range") or ""))
        return await stock(self, method, *args, **options)

    patch.setattr(S3FileSystem, "_call_s3", counted)
    return asked


def put(options: dict[str, Any], folder: Path, name: str) -> str:
    """Bring a folder there; its URL."""
    for path in folder.rglob("*"):
        if path.is_file():
            files(options).put_file(str(path), f"{BUCKET}/{name}/{path.relative_to(folder).as_posix()}")
    return f"s3://{BUCKET}/{name}"
