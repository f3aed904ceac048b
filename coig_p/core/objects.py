"""Files of object stores, by fsspec: what stands where a pathlib.Path does for a folder that no file system has.

An ObjectPath has as much of pathlib's manners as readers and writers of stores need. Nothing is kept between two calls,
so what is asked is what is there. A file that is open stays the one that was opened: where it was replaced meanwhile,
the next read is an error. What options say, keys among it, is in no name, message or repr.
"""

from __future__ import annotations

import errno
import gc
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from glob import has_magic
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, cast
from urllib.parse import unquote
from weakref import WeakSet

from coig_p.core.object_errors import code_of, misfit, problem, told
from coig_p.core.text import printable
from coig_p.errors import RemoteError, StoreError, UnknownNameError, UsageError

PACKAGES: Mapping[str, str] = {
    "s3": "pip install 'coig-p[s3]'",
    "s3a": "pip install 'coig-p[s3]'",
    "oss": "pip install ossfs",
    "gs": "pip install gcsfs",
    "gcs": "pip install gcsfs",
    "az": "pip install adlfs",
    "abfs": "pip install adlfs",
    "abfss": "pip install adlfs",
    "hdfs": "a Java and Hadoop's libhdfs, with JAVA_HOME, HADOOP_HOME and CLASSPATH set",
    "memory": "pip install fsspec",
}
"""By protocol, what to do where its client is not there."""

_NOT_OURS = ("hf", "modelscope")  # repositories: see coig_p.store.locate
_URL = re.compile(r"(?P<protocol>[A-Za-z][A-Za-z0-9+.-]+):(?P<slashes>/+)(?P<key>.*)", re.DOTALL)
_BLOCK = 4 << 20  # bytes that are read at least: an answer takes as long to begin as some megabytes to come
_LARGEST_BLOCK = 16 << 20  # where a file is read on and on
_SMALL = 1 << 20  # bytes of a file that is read whole
_TAIL = 256 << 10  # of a footer, and what lies around it
_VERSIONS = ("ETag", "etag", "md5", "generation", "mtime", "LastModified", "last_modified", "modified", "created")
_NO_RANGE = ("InvalidRange", "416")


class Found(NamedTuple):
    """What is known of a file without reading it.

    Attributes:
        st_size: bytes, under the name that `os.stat` has for it.
        version: changes whenever the file is written anew, as an ETag does; "" where the store tells none.
    """

    st_size: int
    version: str


@dataclass(frozen=True)
class ObjectPath:
    """A folder or a file of an object store.

    Attributes:
        protocol: as s3.
        key: all behind s3://, without a slash at either end; of hdfs:///folder, which names no host, with one ahead.
        options: what fsspec's file system is made with, beside what it finds in the environment by itself.
    """

    protocol: str
    key: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.protocol}://{self.key}"

    def __truediv__(self, name: object) -> ObjectPath:
        return ObjectPath(self.protocol, "/".join(filter(None, (self.key, str(name).strip("/")))), self.options)

    def __lt__(self, other: ObjectPath) -> bool:
        return str(self) < str(other)

    @property
    def name(self) -> str:
        """The last part."""
        return self.key.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The ending of the name, with its dot."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> ObjectPath:
        """The folder that it is in."""
        return ObjectPath(self.protocol, self.key.rpartition("/")[0], self.options)

    @property
    def parents(self) -> list[ObjectPath]:
        """The folders that it is in, the nearest first, the bucket last."""
        found, path = [], self
        while "/" in path.key.lstrip("/"):
            path = path.parent
            found.append(path)
        return found

    def relative_to(self, other: ObjectPath) -> PurePosixPath:
        """What is to be added to `other`; ValueError where it does not lie there."""
        return PurePosixPath(self.key).relative_to(other.key)

    def is_relative_to(self, other: object) -> bool:
        """Whether it lies in `other`."""
        same = isinstance(other, ObjectPath) and other.protocol == self.protocol
        return same and PurePosixPath(self.key).is_relative_to(cast(ObjectPath, other).key)

    @property
    def parts(self) -> tuple[str, ...]:
        """The bucket as a URL, and the names of folders and file behind it."""
        bucket, *names = self.key.split("/")
        return f"{self.protocol}://{bucket}", *names

    @property
    def anchor(self) -> str:
        """The first of its parts."""
        return self.parts[0]

    def resolve(self) -> ObjectPath:
        """Itself: there are no links."""
        return self

    def expanduser(self) -> ObjectPath:
        """Itself."""
        return self

    def is_absolute(self) -> bool:
        """Whether it names the same wherever one stands, which it does."""
        return True

    def is_symlink(self) -> bool:
        """Whether it is a link, which it is not."""
        return False

    def is_file(self) -> bool:
        """Whether there is such a file."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Whether anything is in it."""
        return any(True for _ in self.iterdir())

    def exists(self) -> bool:
        """Whether it is a file, or a folder with anything in it."""
        return self.is_file() or self.is_dir()

    def stat(self) -> Found:
        """Size and version of a file.

        Raises:
            FileNotFoundError: there is none.
            RemoteError, UsageError: see `told`.
        """
        with told(self):
            info = file_system(self).info(self.location())
        if info.get("type") == "directory":
            raise FileNotFoundError(errno.ENOENT, "a folder, not a file", str(self))
        return _found(info)

    def iterdir(self) -> Iterator[ObjectPath]:
        """What lies right in it."""
        try:
            with told(self):
                names = file_system(self).ls(self.location(), detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return
        own = self.location().strip("/")
        for name in names:
            inside = str(name).strip("/")
            if inside != own:  # a mark that some tools put there for a folder
                yield self / inside.rpartition("/")[2]

    def files(self) -> dict[str, Found]:
        """Every file in it, at any depth, by its name from here; by one listing."""
        try:
            with told(self):
                listed = file_system(self).find(self.location(), detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        start = len(self.location().strip("/")) + 1
        marks = {str(name).strip("/")[start:] for name in listed if str(name).endswith("/")}  # put there for a folder
        found = {str(name).strip("/")[start:]: _found(info) for name, info in listed.items()}
        return {name: one for name, one in sorted(found.items()) if name and name not in marks}

    def rglob(self, _pattern: str = "*") -> Iterator[ObjectPath]:
        """Every file in it, at any depth."""
        return (self / name for name in self.files())

    def open(self, mode: str = "rb") -> io.BufferedReader:
        """The file, to read.

        Raises:
            FileNotFoundError: there is none.
            RemoteError, UsageError: see `told`. A read raises them, too, and StoreError where the file was replaced.
        """
        if mode != "rb":
            raise io.UnsupportedOperation(f"{self}: {mode}")
        return cast(io.BufferedReader, _Reader(self))

    def read_bytes(self) -> bytes:
        """All that is in the file."""
        with told(self):
            return bytes(file_system(self).cat_file(self.location()))

    def read_first(self, size: int) -> bytes:
        """So many bytes, by one request, which does not ask first how long the file is; fewer where it is shorter."""
        with told(self):
            try:
                return bytes(file_system(self).cat_file(self.location(), start=0, end=size)) if size else b""
            except Exception as error:  # some servers give what is there, some say that this is not
                if code_of(error) not in _NO_RANGE:
                    raise
                return self.read_bytes()[:size]

    def read_text(self, encoding: str = "utf-8") -> str:
        """All that is in the file, as text."""
        return self.read_bytes().decode(encoding)

    def location(self) -> str:
        """What fsspec's file system calls it."""
        return str(file_system(self)._strip_protocol(str(self)))


def object_path(url: str, storage_options: Mapping[str, Any] | None = None) -> Path:
    """The folder or file of a URL as s3://bucket/store; its type is said to be pathlib's, in whose place it stands.

    Args:
        storage_options: for fsspec, also by protocol: {"s3": {"endpoint_url": ...}}, as datasets takes them.

    Raises:
        UsageError: no such protocol, no bucket, or a URL with a password, or what is no URL.
    """
    match = _URL.fullmatch(url)
    if match is None or "::" in url:
        raise UsageError(f"{printable(url)}: use a URL as s3://bucket/store")
    protocol = match["protocol"].lower()
    if "@" in match["key"] and ":" in match["key"].partition("@")[0]:
        raise UsageError(f"a URL with {protocol}:// holds a password: leave it out, and name it in the environment")
    if protocol == "file":
        return Path(unquote("/" + match["key"]))
    if protocol not in PACKAGES:
        raise UnknownNameError("protocol", protocol, (*PACKAGES, "file", *_NOT_OURS))
    parts = [part for part in match["key"].split("/") if part]
    if not parts or any(part in (".", "..") for part in parts):
        raise UsageError(f"{printable(url)}: use a URL as {protocol}://bucket/store")
    if protocol == "hdfs" and len(match["slashes"]) > 2:  # of the host that Hadoop's own settings name
        parts.insert(0, "")
    return cast(Path, ObjectPath(protocol, "/".join(parts), options_of(protocol, storage_options)))


def is_url(name: str) -> bool:
    """Whether a name is that of an object store, also where pathlib made one slash of two."""
    match = _URL.fullmatch(name)
    if match is None or match["protocol"].lower() in _NOT_OURS:
        return False
    return f"{match['protocol']}://" in name or match["protocol"].lower() in (*PACKAGES, "file")


def url_of(path: object) -> str:
    """A path as its user wrote it, where pathlib made one slash of the two of a URL."""
    match = _URL.fullmatch(str(path))
    if match is None or len(match["slashes"]) > 1:
        return str(path)
    return f"{match['protocol']}://{'/' if match['protocol'] == 'file' else ''}{match['key']}"


def is_repository(name: str) -> bool:
    """Whether a name says by hf:// or modelscope:// that it is a repository, also with one slash, as of pathlib."""
    match = _URL.match(name)
    return match is not None and match["protocol"] in _NOT_OURS


def as_path(name: object, storage_options: Mapping[str, Any] | None = None) -> Path:
    """A path as a user gives it, a local one or that of an object store."""
    if isinstance(name, ObjectPath):
        return cast(Path, name)
    return object_path(str(name), storage_options) if is_url(str(name)) else Path(cast(Any, name))


def matching(pattern: Path) -> list[Path]:
    """The files of an object store that fit a pattern, as s3://bucket/data/*.jsonl, sorted.

    Raises:
        RemoteError, UsageError: see `told`; or the pattern is in the name of the bucket.
    """
    path = cast(ObjectPath, pattern)
    fixed = next((one for one in path.parents if not has_magic(str(one))), None)
    if fixed is None:
        raise UsageError(f"{path}: name the bucket, and use a pattern behind it")
    with told(path):
        listed = file_system(path).glob(path.location(), detail=True)
    start = len(fixed.location().strip("/")) + 1
    names = sorted(str(name).strip("/")[start:] for name, info in listed.items() if info.get("type") != "directory")
    return [cast(Path, fixed / name) for name in names]


def is_object(path: object) -> bool:
    """Whether a path is one of an object store."""
    return isinstance(path, ObjectPath)


def server_of(path: ObjectPath) -> str:
    """The address of the server that is asked for a path, where its client tells it: one URL names a place on each."""
    meta = getattr(getattr(file_system(path), "s3", None), "meta", None)
    return str(getattr(meta, "endpoint_url", ""))


def options_of(protocol: str, storage_options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Those of a protocol: what is under its name, else all that is not under the name of another.

    Raises:
        UsageError: not a mapping; what it is may be a secret.
    """
    if storage_options is not None and not isinstance(storage_options, Mapping):
        kind = type(storage_options).__name__
        raise UsageError(f'storage_options is a {kind}: give a mapping, as {{"endpoint_url": "https://..."}}')
    given = dict(storage_options or {})
    own = given.get(protocol)
    if isinstance(own, Mapping):
        return dict(own)
    return {name: value for name, value in given.items() if name not in (*PACKAGES, *_NOT_OURS, "https", "http")}


def file_system(path: ObjectPath) -> Any:
    """fsspec's file system of a path, made once in a process.

    Raises:
        UsageError: the package of its protocol is not installed, or takes other options.
    """
    from fsspec.core import url_to_fs

    # A listing that fsspec keeps would hide what was written or deleted since.
    try:
        found = url_to_fs(str(path), **{"use_listings_cache": False, **path.options})[0]
    except ImportError:
        raise _not_installed(path) from None
    except (TypeError, ValueError, KeyError) as error:
        raise misfit(path, path.options, error) from None
    except OSError as error:
        if "libhdfs" in str(error) or "libjvm" in str(error):
            raise _not_installed(path) from None
        raise problem(path, error) from None
    if path.protocol in ("s3", "s3a") and found not in _connected:
        _connected.add(found)
        with _nothing_collected():
            found.connect()
    return found


_connected: WeakSet[Any] = WeakSet()


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """The garbage collector waits in the block.

    A client of S3 is made of what it reads of its service: many objects, none of them garbage, for which everything
    that a program holds would be looked through. That took a third of the time.
    """
    on = gc.isenabled()
    if on:  # else another thread is here, and switches it on again
        gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def _not_installed(path: ObjectPath) -> UsageError:
    return UsageError(f"{path}: {path.protocol}:// needs more than is installed: {PACKAGES[path.protocol]}")


def _found(info: Mapping[str, Any]) -> Found:
    version = next((str(info[name]) for name in _VERSIONS if info.get(name)), "")
    return Found(int(info.get("size") or 0), version)


class _Reader(io.RawIOBase):
    """A file to read in large pieces: as it is asked for, or a block, whichever is more; from its end a footer."""

    def __init__(self, path: ObjectPath) -> None:
        super().__init__()
        self.path, self.name = path, str(path)
        with told(path):
            # Without fsspec's cache a read is one request, which S3 answers only for the ETag that it was opened by.
            self._file = file_system(path).open(path.location(), "rb", cache_type="none")
        self._details = getattr(self._file, "details", None)
        self._guarded = path.protocol in ("s3", "s3a")
        self._before = path.stat() if not isinstance(self._details, Mapping) else _found(self._details)
        self.size = self._before.st_size
        self._at = self._from = 0
        self._held = b""
        self._block = _BLOCK

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self.size)[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        end = self.size if size is None or size < 0 else min(self.size, self._at + size)
        if end <= self._at:
            return b""
        if self._at < self._from or end > self._from + len(self._held):
            self._fetch(self._at, end)
        begin = self._at - self._from
        whole = begin == 0 and end == self._from + len(self._held)
        found = self._held if whole else self._held[begin : begin + end - self._at]
        self._at = end
        return found

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any) -> int:
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def close(self) -> None:
        if not self.closed:
            self._held = b""
            self._file.close()
        super().close()

    def _fetch(self, begin: int, end: int) -> None:
        """Hold at least these bytes. Of a file that is read on and on those that are held are not asked for again."""
        kept, last = b"", self._from + len(self._held)
        if self.size <= _SMALL:
            begin, end = 0, self.size
        elif end == self.size and end - begin < _TAIL:
            begin = end - _TAIL
        elif self._held and self._from <= begin <= last:
            kept = self._held[begin - self._from :]
            begin, self._block = last, min(2 * self._block, _LARGEST_BLOCK)
            end = min(self.size, max(end, begin + self._block))
        else:
            self._block = _BLOCK
            end = min(self.size, max(end, begin + _BLOCK))
        with told(self.path):
            self._file.seek(begin)
            found = self._file.read(end - begin)
        if len(found) != end - begin:
            raise RemoteError(f"{self.path}: the store gave {len(found):,} bytes of {end - begin:,}. Try again")
        if not self._guarded and self.path.stat() != self._before:
            raise StoreError(self.path, "it was replaced while it was read. Begin anew")
        self._from, self._held = begin - len(kept), kept + found if kept else found
