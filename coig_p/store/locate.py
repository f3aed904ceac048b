"""Where a store is: a directory, an object store, a repository on the Hub or ModelScope, or the bundled data.

Offline, a repository is what the Hub's cache holds of it, and nothing is asked of anybody.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa

from coig_p.core.mirrors import host_of, is_mirror
from coig_p.core.objects import ObjectPath, as_path, is_url, object_path
from coig_p.core.text import printable
from coig_p.errors import RemoteError, StoreError, UsageError
from coig_p.store.listing import manifest_of
from coig_p.store.manifest import MANIFEST, Manifest, StoreFile, read_manifest
from coig_p.store.modelscope import MASTER, MODELSCOPE, cached, fresh_manifest
from coig_p.store.places import check_name
from coig_p.store.presence import stats_of
from coig_p.store.reading import open_shard, read_batches
from coig_p.store.rewards import reward_files
from coig_p.store.store import Store, manifest_at
from coig_p.store.writing import ROWS_PER_GROUP

STORE_VARIABLE = "COIGP_STORE"
BUNDLED = Path(__file__).parents[1] / "bundled" / "store"

_HUB = "hf://datasets/"
_REPO = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>.+))?")
_TRUE = ("1", "ON", "YES", "TRUE")  # as datasets reads its variables
_logger = logging.getLogger("coig_p")


@dataclass(frozen=True)
class Location:
    """A store that was found.

    Attributes:
        root: an absolute directory, hf://datasets/org/name@commit, modelscope://org/name@revision, or the URL of a
            folder in an object store, as s3://bucket/store.
        manifest: what its manifest.json says, read once.
        storage_options: of an object store.
    """

    root: str
    manifest: Manifest
    storage_options: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    @property
    def is_remote(self) -> bool:
        """Whether it is a repository, on the Hub or on ModelScope, of which files are fetched."""
        return self.root.startswith((_HUB, MODELSCOPE))

    @property
    def is_object(self) -> bool:
        """Whether it is in an object store, where files are read in place."""
        return is_url(self.root)

    @property
    def called(self) -> str:
        """Its name, for people: the folder's, or org/name."""
        named = self.root.removeprefix(_HUB).removeprefix(MODELSCOPE)
        return named.rpartition("@")[0] if self.is_remote else Path(self.root).name

    def url(self, file: StoreFile) -> str:
        """Where to open a file of the store."""
        return f"{self.root}/{file.path}"

    def reward_files(self, names: Iterable[str], shards: Sequence[StoreFile]) -> list[StoreFile]:
        """The files of the rewards of these names that belong to shards."""
        return [file for name in names for file in reward_files(self.manifest, name, shards, self.root)]

    def path(self, file: StoreFile) -> Path:
        """The same to read it, of a store that is not in a repository."""
        return as_path(self.url(file), self.storage_options)

    def fingerprints(self, files: Sequence[StoreFile]) -> list[tuple[object, ...]]:
        """The `fingerprint` of each; in an object store each folder is listed once."""
        root = as_path(self.root, self.storage_options)
        if self.is_remote:
            return [(self.root.rpartition("@")[2], file.path, file.sha256) for file in files]
        if not isinstance(root, ObjectPath):
            told: list[tuple[object, ...]] = []
            for file, one in zip(files, stats_of(root, files, self.root), strict=True):
                _check_size(self.root, file, one.st_size)
                told.append((file.path, file.sha256, one.st_size, one.st_mtime_ns))
            return told
        folders = dict.fromkeys(file.path.rpartition("/")[0] for file in files)
        listed = {folder: (root / folder).files() for folder in folders}
        found: list[tuple[object, ...]] = []
        for file in files:
            folder, _, name = file.path.rpartition("/")
            one = listed[folder].get(name)
            if one is None:
                raise StoreError(self.root, f"{file.path} is listed in {MANIFEST} but missing")
            _check_size(self.root, file, one.st_size)
            found.append((file.path, file.sha256, *one))
        return found

    def fingerprint(self, file: StoreFile) -> tuple[object, ...]:
        """Changes whenever the file's content may have changed, also behind the manifest's back.

        Raises:
            StoreError: the file is missing, leads out of the store, or is not as long as the manifest says.
        """
        return self.fingerprints([file])[0]


def locate(
    data_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Location:
    """Find a store and read its manifest, once. Of a repository nothing else is fetched.

    Args:
        data_dir: an existing directory, org/name, org/name@revision, hf://datasets/org/name@revision,
            modelscope://org/name@revision, or a folder in an object store, as s3://bucket/store. Default: the
            variable COIGP_STORE, else the data bundled with the package, with a warning.
        token: for a private repository; never logged, and never sent to a mirror.
        storage_options: for fsspec, which opens files of an object store.

    Raises:
        StoreError: what is there is not a store.
        RemoteError: the Hub, ModelScope or the object store could not be reached, or refused.
    """
    if isinstance(data_dir, ObjectPath):
        return _in_object_store(str(data_dir), data_dir.options)
    named = os.fspath(data_dir) if data_dir is not None else os.environ.get(STORE_VARIABLE, "")
    if not named:
        _logger.warning(
            "no store was named: using the small bundled one, written for trying things out. "
            "Name yours with data_dir= or %s",
            STORE_VARIABLE,
        )
        return _local(BUNDLED)
    named = re.sub("^(hf|modelscope):/+", r"\1://", named)  # pathlib makes one slash of two
    if named.startswith(MODELSCOPE):
        return _on_modelscope(named, token)
    if is_url(named):
        return _in_object_store(named, storage_options)
    if named.startswith("hf:") and not named.startswith(_HUB):
        raise UsageError(f"{named}: use {_HUB}org/name or {_HUB}org/name@revision")
    if not named.startswith(_HUB):
        directory = Path(named).expanduser()
        if directory.is_dir():
            return _local(directory)
        if directory.exists():
            raise StoreError(named, "a file, not the directory of a store. Make one with: coigp import")
        if not _REPO.fullmatch(named) or named.startswith("."):
            raise StoreError(named, f"no such directory. A small store to try things out lies in {BUNDLED}")
    match = _REPO.fullmatch(named.removeprefix(_HUB).rstrip("/"))
    if match is None:
        raise UsageError(f"{named}: use {_HUB}org/name or {_HUB}org/name@revision")
    revision = match["revision"]
    beside = Path(named).expanduser().parent
    if not named.startswith(_HUB) and beside.is_dir():  # the Hub is asked for a minute where it cannot be reached
        _logger.warning("%s: no such directory here, though %s is one. Asking the Hub for a dataset", named, beside)
    here = "" if named.startswith(_HUB) else "no such directory here, and "
    return _remote(match["id"], unquote(revision) if revision else None, token, here)


def _local(directory: Path) -> Location:
    root = directory.resolve()
    check_name(root)
    return Location(str(root), manifest_at(directory, directory))  # files that are read are looked at: fingerprints


def _in_object_store(url: str, storage_options: Mapping[str, Any] | None) -> Location:
    path = object_path(url, storage_options)
    if not isinstance(path, ObjectPath):  # file://
        return _local(path)
    return Location(str(path), manifest_at(path, path), path.options)


def _on_modelscope(named: str, token: str | bool | None) -> Location:
    match = _REPO.fullmatch(named.removeprefix(MODELSCOPE).rstrip("/"))
    if match is None:
        raise UsageError(f"{named}: use {MODELSCOPE}org/name or {MODELSCOPE}org/name@revision")
    revision = unquote(match["revision"]) if match["revision"] else MASTER
    text = fresh_manifest(match["id"], revision, token)
    place = f"{MODELSCOPE}{match['id']}@{quote(revision, safe='')}"
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    manifest = manifest_of(text, place, lambda file: cached(match["id"], revision, sha256, [file], token) / file.path)
    return Location(place, manifest)


def download(location: Location, files: Sequence[StoreFile], token: str | bool | None = None) -> list[str]:
    """Local paths of a store's files; those of a repository are fetched into a cache once. Of an object store URLs.

    Raises:
        RemoteError: a file is neither in the cache nor to be had.
        StoreError: one that is fetched is not as long as the manifest says.
    """
    if not location.is_remote:
        return [location.url(file) for file in files]
    if location.root.startswith(MODELSCOPE):
        folder = _from_modelscope(location, files, token)
        return [str(folder / file.path) for file in files]
    repo, _, commit = location.root.removeprefix(_HUB).partition("@")
    paths = _fetched(repo, commit, [file.path for file in files], token)
    for file, path in zip(files, paths, strict=True):
        _check_size(location.root, file, path.stat().st_size)
    return [str(path) for path in paths]


def file_in_store(value: Any, location: Location, token: str | bool | None = None) -> Path | None:
    """A file that an option names by a path, where that is in the store and none is here; else None.

    Raises:
        RemoteError: the file of a repository is not to be had.
    """
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        return None
    path = Path(os.fsdecode(os.fspath(value)))
    if path.is_absolute() or path.exists():
        return None
    listed = [file for file in location.manifest.files if file.path == path.as_posix()]
    if listed:
        return as_path(download(location, listed, token)[0], location.storage_options)
    beside = as_path(location.root, location.storage_options) / path.as_posix()
    return None if location.is_remote or not beside.is_file() else beside


def open_located(
    location: Location,
    files: Sequence[StoreFile] | None = None,
    token: str | bool | None = None,
    *,
    rewards: Iterable[str] = (),
) -> Store:
    """The store at a location. Of a repository its manifest and shards are fetched into the Hub's cache once.

    Args:
        files: of a repository these alone; default all shards.
        rewards: the names of those that are fetched too, of all shards.

    Raises:
        UnknownNameError: a repository has no such rewards.
        StoreError: a file that is missing, or not as long as the manifest says.
        RemoteError: a file is neither in the cache nor to be had.
    """
    if not location.is_remote:
        return Store.open(location.root, storage_options=location.storage_options)
    repo, _, commit = location.root.removeprefix(_HUB).partition("@")
    shards = location.manifest.data_files()
    wanted = [*(shards if files is None else files), *location.reward_files(rewards, shards)]
    if location.root.startswith(MODELSCOPE):
        return Store(_from_modelscope(location, wanted, token), location.manifest)
    manifest, *paths = _fetched(repo, unquote(commit), [MANIFEST, *(file.path for file in wanted)], token)
    for file, path in zip(wanted, paths, strict=True):
        _check_size(location.root, file, path.stat().st_size)
    return Store(manifest.parent, location.manifest)


def shard_reader(
    location: Location, token: str | bool | None = None
) -> Callable[[StoreFile, pa.Schema], Iterator[pa.RecordBatch]]:
    """Gives the rows of a shard, of its columns those of a schema; one of a repository is fetched, as by `download`."""

    def read(file: StoreFile, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        (path,) = download(location, [file], token)
        with open_shard(as_path(path, location.storage_options)) as shard:
            yield from read_batches(shard, ROWS_PER_GROUP, None, schema)

    return read


def _from_modelscope(location: Location, files: Sequence[StoreFile], token: str | bool | None) -> Path:
    repo, _, revision = location.root.removeprefix(MODELSCOPE).partition("@")
    return cached(repo, unquote(revision), location.manifest.sha256 or "", files, token)


def _check_size(root: str, file: StoreFile, size: int) -> None:
    """Raise StoreError where a file is another than the manifest lists, as far as its size tells."""
    if size != file.bytes:
        where = "a copy of it" if root.startswith(_HUB) else shlex.quote(root)
        raise StoreError(
            root,
            f"{file.path} is not the file that {MANIFEST} lists: {size:,} bytes, {file.bytes:,} there. Was it renamed, "
            f"swapped or written anew? Put the right one back, or import again. Run: coigp verify {where}",
        )


def download_file(url: str) -> Path:
    """A local copy of hf://datasets/org/name[@revision]/path/to/file.

    Raises:
        UsageError: not such a URL.
        RemoteError: not to be had.
    """
    match = re.fullmatch(rf"{_HUB}(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>[^/]+))?/(?P<path>.+)", url)
    if match is None:
        raise UsageError(f"{url}: use {_HUB}org/name/path/to/file, or {_HUB}org/name@revision/path/to/file")
    revision = unquote(match["revision"]) if match["revision"] else None
    return _fetched(match["id"], revision, [match["path"]], None)[0]


def download_repository(name: str) -> Path | None:
    """A local copy of all of org/name or org/name@revision; None where `name` is no such thing.

    Raises:
        RemoteError: not to be had.
    """
    match = _REPO.fullmatch(name.removeprefix(_HUB).rstrip("/"))
    if match is None or name.startswith("."):
        return None
    from huggingface_hub import errors as hub
    from huggingface_hub import snapshot_download

    repo, revision, offline = match["id"], match["revision"], is_offline()
    with _hub_errors(name):
        try:
            return Path(
                snapshot_download(
                    repo, repo_type="dataset", revision=revision, local_files_only=offline, token=granted(None)
                )
            )
        except hub.LocalEntryNotFoundError:
            if not offline:
                raise
            raise _absent(repo, revision, "not whole") from None


def repository_of(name: str) -> tuple[str, str | None] | None:
    """Of org/name or org/name@revision, also behind hf://datasets/, the repository and the revision; None of others."""
    match = _REPO.fullmatch(name.removeprefix(_HUB).rstrip("/"))
    if match is None or name.startswith("."):
        return None
    return match["id"], unquote(match["revision"]) if match["revision"] else None


def _remote(repo: str, revision: str | None, token: str | bool | None, here: str) -> Location:
    wanted = f"{repo}@{revision}" if revision else repo
    mirror = mirror_asked()
    if token and mirror and not is_offline():
        _logger.warning(
            "%s is a mirror for downloads: the token is not sent there. A private or gated repository is at the Hub "
            "itself: unset HF_ENDPOINT",
            mirror,
        )
    path = _fetched(repo, revision, [MANIFEST], token, here)[0]
    # The cache keeps files under snapshots/<commit>/.
    commit = path.parent.name
    manifest = manifest_of(
        _manifest(path, wanted), wanted, lambda file: _fetched(repo, commit, [file.path], token, here)[0]
    )
    return Location(f"{_HUB}{repo}@{quote(commit, safe='')}", manifest)


def _manifest(path: Path, wanted: str) -> str:
    try:
        return read_manifest(path)
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise StoreError(wanted, f"{MANIFEST} cannot be read: {said}") from None


def _fetched(
    repo: str, revision: str | None, names: Sequence[str], token: str | bool | None, here: str = ""
) -> list[Path]:
    """Files of a repository, in the Hub's cache; `here` says what was looked for before, where it cannot be reached."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    if is_offline():
        with _hub_errors(repo):
            cached = [try_to_load_from_cache(repo, name, repo_type="dataset", revision=revision) for name in names]
        missing = [name for name, path in zip(names, cached, strict=True) if not isinstance(path, str)]
        if missing:
            more = f" (and {len(missing) - 1} more of the {len(names)} files needed)" if missing[1:] else ""
            raise _absent(repo, revision, "without " + missing[0] + more)
        return [Path(str(path)) for path in cached]

    allowed = granted(token)

    def fetch(name: str) -> Path:
        return Path(hf_hub_download(repo, name, repo_type="dataset", revision=revision, token=allowed))

    with _hub_errors(f"{repo}@{revision}" if revision else repo, here), ThreadPoolExecutor(max_workers=8) as threads:
        return list(threads.map(fetch, names))


def _absent(repo: str, revision: str | None, how: str) -> RemoteError:
    """The error for what an offline process cannot have."""
    from huggingface_hub import constants

    at = f"@{revision}" if revision else ""
    command = f"hf download --repo-type dataset {repo}" + (f" --revision {shlex.quote(revision)}" if revision else "")
    return RemoteError(
        f"{repo}{at} is {how} in the Hub's cache ({constants.HF_HUB_CACHE}), and {_offline_variable()} is set. "
        f"Unset it and load once, or fill the cache where there is a network: {command}"
    )


@contextmanager
def _hub_errors(wanted: str, here: str = "") -> Iterator[None]:
    """Say what the Hub's client ran into, and what to do about it."""
    from huggingface_hub import errors as hub

    try:
        yield
    except hub.GatedRepoError:
        raise RemoteError(f"{wanted} is gated: ask for access on its page, then {_with_token('pass token=')}") from None
    except hub.RepositoryNotFoundError:
        raise RemoteError(
            f"{wanted}: no such directory here, and no such dataset on the Hub that you may see. "
            f"If it is private, {_with_token('pass token= or run: hf auth login')}"
        ) from None
    except hub.RevisionNotFoundError:
        raise RemoteError(f"{wanted}: the repository has no such revision") from None
    except hub.LocalEntryNotFoundError as error:
        raise RemoteError(f"{wanted}: {here}the Hub could not be reached ({type(error.__cause__).__name__})") from None
    except hub.EntryNotFoundError:
        raise StoreError(
            wanted, f"not a whole coig-p store: {MANIFEST}, or a file that it lists, is not there"
        ) from None
    except hub.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "no")
        raise RemoteError(f"{wanted}: the Hub answered with status {status}; try again later") from None
    except hub.HFValidationError as error:
        raise UsageError(f"{wanted}: {error}") from None
    except OSError as error:
        raise RemoteError(f"{wanted}: {here}the Hub could not be reached ({type(error).__name__})") from None


def _with_token(words: str) -> str:
    """What to do where a token is needed."""
    mirror = mirror_asked()
    return f"unset HF_ENDPOINT: {mirror} is a mirror, which is sent no token" if mirror else words


def granted(token: str | bool | None, options: Mapping[str, Any] | None = None) -> str | bool | None:
    """The token that the Hub's clients may be given: False, which is none, also not the saved one, for a mirror.

    Args:
        options: storage options, which may name another place than HF_ENDPOINT does.
    """
    return False if mirror_asked(options) else token


def without_token(options: Mapping[str, Any]) -> dict[str, Any]:
    """Storage options without the tokens in them."""
    return {
        name: without_token(value) if isinstance(value, Mapping) else value
        for name, value in options.items()
        if name != "token"
    }


def mirror_asked(options: Mapping[str, Any] | None = None) -> str | None:
    """How to name the mirror that one of the Hub's clients would ask; None where they ask no mirror.

    Either library reads HF_ENDPOINT on its import. One that is imported later reads what is there then.
    """
    from huggingface_hub import constants

    named = [constants.ENDPOINT, os.environ.get("HF_ENDPOINT", "")]
    named.append(getattr(sys.modules.get("datasets.config"), "HF_ENDPOINT", ""))
    for given in (options or {}, (options or {}).get("hf", {})):
        named.append(given.get("endpoint", "") if isinstance(given, Mapping) else "")
    found = next((one for one in named if isinstance(one, str) and is_mirror(one)), None)
    return printable(host_of(found)) if found else None


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE or HF_DATASETS_OFFLINE is set, or a program has since told either library so."""
    return _offline_variable() is not None


def _offline_variable() -> str | None:
    """Which of the two it is. Both libraries read their environment on import; what they have read then counts."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:  # newer clients set it for the other name, too
        by_another = os.environ.get("TRANSFORMERS_OFFLINE") and not os.environ.get("HF_HUB_OFFLINE")
        return "TRANSFORMERS_OFFLINE" if by_another else "HF_HUB_OFFLINE"
    read, named = sys.modules.get("datasets.config"), os.environ.get("HF_DATASETS_OFFLINE", "")
    if read is None:
        return "HF_DATASETS_OFFLINE" if named.upper() in _TRUE else None
    offline = any(getattr(read, name, False) for name in ("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE"))
    return "HF_DATASETS_OFFLINE" if offline else None
