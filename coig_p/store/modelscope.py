"""Files of a dataset on ModelScope, in a cache on this machine, by ModelScope's own SDK.

ModelScope does not say of which commit a branch is, so what is cached goes by the manifest: a manifest is asked for
anew every time, and the files that it lists are fetched once for it and compared with its hashes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from coig_p.core.atomic import atomic_file
from coig_p.errors import CoigPError, RemoteError, StoreError, UsageError
from coig_p.store.manifest import MANIFEST, StoreFile, read_manifest

MODELSCOPE = "modelscope://"
MASTER = "master"
"""The branch where nobody says another."""

_KIND = "dataset"
_ENDPOINT = "https://modelscope.cn"
_THREADS = 8


def fresh_manifest(repo: str, revision: str, token: str | bool | None) -> str:
    """What the manifest.json of a revision says now; from now on it is in the cache, too.

    Raises:
        UsageError: the SDK is not installed.
        StoreError: the repository has no manifest, or one that cannot be read.
        RemoteError: there is no such repository or revision, access was refused, or ModelScope cannot be reached.
    """
    wanted = f"{MODELSCOPE}{repo}@{revision}"
    with tempfile.TemporaryDirectory(prefix="coigp-") as folder:
        with _told(wanted, MANIFEST):
            path = Path(
                _api(token).download_file(repo, _KIND, MANIFEST, revision=revision, local_dir=folder, force=True)
            )
        try:
            text = read_manifest(path)
        except (OSError, UnicodeDecodeError) as error:
            said = error.strerror if isinstance(error, OSError) else error
            raise StoreError(wanted, f"{MANIFEST} cannot be read: {said}") from None
    content = text.encode()
    kept = _folder(repo, hashlib.sha256(content).hexdigest()) / MANIFEST
    if not kept.is_file():
        with atomic_file(kept) as stream:
            stream.write(content)
    return text


def cached(repo: str, revision: str, manifest: str, files: Sequence[StoreFile], token: str | bool | None) -> Path:
    """A folder with these files of a store beside its manifest, each fetched where it is not there yet.

    Args:
        manifest: its SHA-256; files of another one lie in another folder.

    Raises:
        StoreError: a file is not there, or not what the manifest says.
        RemoteError: as for `fresh_manifest`.
    """
    folder = _folder(repo, manifest)
    folder.mkdir(parents=True, exist_ok=True)
    missing = [file for file in files if not _is_there(folder / file.path, file)]
    if missing:
        api = _api(token)
        with ThreadPoolExecutor(_THREADS) as threads:
            list(threads.map(lambda file: _fetch(api, repo, revision, file, folder), missing))
    return folder


def _is_there(path: Path, file: StoreFile) -> bool:
    # It was compared with its hash before it got its name.
    return path.is_file() and path.stat().st_size == file.bytes


def _fetch(api: Any, repo: str, revision: str, file: StoreFile, folder: Path) -> None:
    wanted = f"{MODELSCOPE}{repo}@{revision}"
    apart = Path(tempfile.mkdtemp(prefix=".fetching-", dir=folder))
    try:
        with _told(wanted, file.path):
            path = Path(api.download_file(repo, _KIND, file.path, revision=revision, local_dir=apart, force=True))
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != file.sha256:
            raise StoreError(
                wanted,
                f"{file.path} is not the file that {MANIFEST} lists. Was the repository changed meanwhile? Try again, "
                "or name a tag: @v1.0.0",
            )
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
    finally:
        shutil.rmtree(apart, ignore_errors=True)


def _folder(repo: str, manifest: str) -> Path:
    return _cache() / "coig_p" / repo.replace("/", "--") / manifest[:32]


def _cache() -> Path:
    named = os.environ.get("MODELSCOPE_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "modelscope"


def _api(token: str | bool | None) -> Any:
    try:
        from modelscope_hub import HubApi
    except ImportError:
        raise UsageError(f"{MODELSCOPE} needs ModelScope's SDK: pip install 'coig-p[modelscope]'") from None
    endpoint = (os.environ.get("MODELSCOPE_ENDPOINT") or _ENDPOINT).rstrip("/")
    given = token if isinstance(token, str) else None if token is False else os.environ.get("MODELSCOPE_API_TOKEN")
    return HubApi(endpoint=endpoint, token=given)


@contextmanager
def _told(wanted: str, file: str) -> Iterator[None]:
    """What the SDK ran into, and what to do about it; none of its own words, which may repeat a request."""
    from modelscope_hub import errors as modelscope

    try:
        yield
    except CoigPError:
        raise
    except (modelscope.AuthenticationError, modelscope.PermissionDeniedError):
        raise RemoteError(
            f"{wanted}: ModelScope refused access to {file}: set MODELSCOPE_API_TOKEN, or pass token="
        ) from None
    except modelscope.NotExistError:
        if file == MANIFEST:
            problem = f"no such dataset or revision on ModelScope that you may see, or no {MANIFEST} in it"
            raise RemoteError(f"{wanted}: {problem}. If it is private, set MODELSCOPE_API_TOKEN") from None
        raise StoreError(wanted, f"not a whole coig-p store: {file}, which {MANIFEST} lists, is not there") from None
    except (modelscope.HubError, OSError) as error:
        raise RemoteError(
            f"{wanted}: {file} did not come from ModelScope ({type(error).__name__}). Try again later"
        ) from None
