"""Whether a file is still the one that was written: its size, its time stamp, a hash of samples and one of the whole.

Every opening compares size and samples; where the time stamp is another, of a copied cache for instance, all of it is
hashed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

AGAIN = 'Load again with download_mode="force_redownload", which makes it anew'
KEYS = ("sha256", "bytes", "mtime_ns", "samples")
_SAMPLES, _SAMPLE = 64, 4096  # how many places are looked at, and bytes of each


def identity(path: Path, sha256: str | None = None) -> dict[str, Any]:
    """What a file must be from now on, with KEYS.

    Args:
        sha256: of its content, where it is known already.
    """
    status = path.stat()
    return {
        "sha256": sha256 or _sha256(path),
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "samples": _samples(path, status.st_size),
    }


def difference(path: Path, told: Mapping[str, Any], *, whole: bool = False) -> str | None:
    """In what a file is another than `identity` told; None where it is the same.

    Args:
        whole: hash all of it, whatever its time stamp.

    Raises:
        OSError: it cannot be read.
    """
    status = path.stat()
    if status.st_size != told["bytes"]:
        return f"has {status.st_size:,} bytes in place of {told['bytes']:,}"
    same = _samples(path, status.st_size) == told["samples"]
    if same and (whole or status.st_mtime_ns != told["mtime_ns"]):
        same = _sha256(path) == told["sha256"]
    return None if same else "was changed since it was written"


def _samples(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for place in np.linspace(0, max(0, size - _SAMPLE), _SAMPLES).astype(np.int64).tolist():
            stream.seek(place)
            digest.update(stream.read(_SAMPLE))
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
