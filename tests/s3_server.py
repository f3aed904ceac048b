"""An S3 on loopback, by moto in this process, and what clients must know to ask it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

KEY, SECRET = "AKIA" + "LOOPBACK", "s3cr3t" * 5
BUCKET = "bucket"


@contextmanager
def serving() -> Iterator[dict[str, Any]]:
    """Options of s3fs for a server with an empty bucket, which ends with the block."""
    import fsspec
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        options = {
            "key": KEY,
            "secret": SECRET,
            "endpoint_url": f"http://{host}:{port}",
            "client_kwargs": {"region_name": "us-east-1"},
        }
        fsspec.filesystem("s3", use_listings_cache=False, **options).call_s3("create_bucket", Bucket=BUCKET)
        yield options
    finally:
        server.stop()


def files(options: dict[str, Any]) -> Any:
    """The server's files, by a client of its own."""
    import fsspec

    return fsspec.filesystem("s3", use_listings_cache=False, **options)


def put(options: dict[str, Any], folder: Path, name: str) -> str:
    """Bring a folder there; its URL."""
    for path in folder.rglob("*"):
        if path.is_file():
            files(options).put_file(str(path), f"{BUCKET}/{name}/{path.relative_to(folder).as_posix()}")
    return f"s3://{BUCKET}/{name}"
