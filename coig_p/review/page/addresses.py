"""Where an annotator's page is found: a secret token, and the port, kept in the review so that an address lasts.

    REVIEW/serving/<annotator>.json   {"token": "...", "port": 41234}; readable by its owner alone

A page that was open when its server was killed goes on once one runs again. The file is locked while it is served, so
that no two servers write the answers of one annotator at once.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from coig_p.errors import UsageError
from coig_p.store.places import check_kept, check_no_link

try:
    import fcntl
except ImportError:  # Windows: two servers of one annotator are then not told apart
    fcntl = None  # type: ignore[assignment]

SERVING = "serving"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{22,64}")
_LONGEST = 4096  # bytes of the file


@dataclass
class Address:
    """Of one annotator, held until it is closed or the process ends.

    Attributes:
        token: what stands behind the port in the address.
        port: of the last server; 0 where there was none.
    """

    token: str
    port: int
    descriptor: int

    def keep(self, port: int) -> None:
        """Write the port down."""
        self.port = port
        text = json.dumps({"token": self.token, "port": port}).encode() + b"\n"
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        os.write(self.descriptor, text)
        os.ftruncate(self.descriptor, len(text))
        os.fsync(self.descriptor)

    def close(self) -> None:
        """Let others serve this annotator."""
        os.close(self.descriptor)


def hold(folder: Path, annotator: str) -> Address:
    """Take an annotator's address: the one that it had, else a new one.

    Raises:
        UsageError: another process serves this annotator; or what stands in its place is a link, or no file.
        OSError: it cannot be written.
    """
    path = folder / SERVING / f"{annotator}.json"
    check_no_link(path.parent, "a review")
    check_kept(path, "a review")
    path.parent.mkdir(exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        token, port = _read(os.read(descriptor, _LONGEST))
        found = Address(token or secrets.token_urlsafe(16), port, descriptor)
        found.keep(found.port)
    except BlockingIOError:
        os.close(descriptor)
        raise UsageError(f"annotator {annotator}: another server of this review runs. End that one first") from None
    except BaseException:
        os.close(descriptor)
        raise
    return found


def _read(data: bytes) -> tuple[str, int]:
    """Token and port of a file; "" and 0 where it holds none, as when it is new or was cut short."""
    try:
        told = json.loads(data)
        token, port = told["token"], told["port"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", 0
    is_whole = isinstance(token, str) and _TOKEN.fullmatch(token) and type(port) is int and 0 <= port <= 65535
    return (token, port) if is_whole else ("", 0)
