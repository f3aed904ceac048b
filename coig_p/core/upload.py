"""Folders written to an object store, which has no rename: what says that they are whole comes last.

A folder is made on this machine first. Then a note is put where it goes, with the names of all that will be there, its
files side by side, the one that marks the folder as whole, and the note is deleted. Who reads sees nothing, or all of
it: without its marker a folder is none. A killed upload leaves its note, so that the next one knows what may go,
and what is there with the same bytes is not sent again.
Nothing whole is ever replaced: there would be a moment at which old and new are mixed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from coig_p.core.object_errors import code_of, no_bucket, told
from coig_p.core.objects import Found, ObjectPath, file_system
from coig_p.core.text import printable
from coig_p.errors import CoigPError, RemoteError, UsageError

NOTE = ".coigp-upload.json"
"""What stands where an upload is under way, or was when it was killed."""

_AT_ONCE = 8
_PART = 50 << 20  # bytes of a part where a file is sent in parts, which it is from twice as many
_MOST_PARTS = 10_000
_PIECE = 1 << 20
_S3 = ("s3", "s3a")
_logger = logging.getLogger("coig_p")
_TOOL = "coig-p upload"
_THERE = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409")
_CANNOT = ("NotImplemented", "501")  # servers that do not know If-None-Match


def check_free(target: ObjectPath, marker: str, what: str) -> None:
    """Raise UsageError where `what` cannot be uploaded to `target`: something is there that no upload left.

    Args:
        marker: the file that says that `what` is whole.

    Raises:
        RemoteError: the object store cannot be reached, or refused.
    """
    names = {path.name for path in target.iterdir()}
    if marker in names:
        raise UsageError(
            f"{target} exists, and an object store cannot put {what} in its place in one step, so that who reads it "
            f"never sees a mixture: choose a new name, or delete it first"
        )
    note = _note(target) if NOTE in names else None
    if note is not None:
        _check_others(target, note)
    elif names or target.is_file():
        raise UsageError(f"{target} exists and is not {what}: choose another place")


@contextmanager
def uploaded(target: ObjectPath, last: str, staged: Path, but: str | None = None) -> Iterator[None]:
    """What the block writes to a local folder is brought to `target` when it ends without error.

    The note is put there first: who may not write hears of it before the work.

    Args:
        last: the file of the folder that marks it as whole.
        but: a file of it that stays here, as does what lies in folders whose names begin with a dot.

    Raises:
        UsageError: something is there, or somebody else writes there.
        RemoteError: the object store cannot be reached, or refused; what came so far is replaced by the next upload.
    """
    check_free(target, last, "what is written")
    before = _note(target)
    claim = _claim(target, list(before or ()), new=before is None)
    begun = False
    try:
        yield
        begun = True
        _upload(staged, target, last, claim, but)
    finally:
        if not begun and not before:
            with suppress(CoigPError):
                _delete(target / NOTE)


def _claim(target: ObjectPath, files: Sequence[str], nonce: str = "", *, new: bool) -> dict[str, Any]:
    """Put a note there that names these files; what it says."""
    claim = {"tool": _TOOL, "files": files, "nonce": nonce or secrets.token_hex(16)}
    _put(target, NOTE, json.dumps(claim).encode(), new=new)
    return claim


def _upload(folder: Path, target: ObjectPath, last: str, claim: Mapping[str, Any], but: str | None) -> None:
    files = [name for name in _files(folder) if name != but]
    if last not in files:
        raise AssertionError(f"{last} was not written")
    _check_mine(target, claim)
    claim = _claim(target, sorted({*files, *claim["files"]}), claim["nonce"], new=False)
    there = target.files()
    for name in there:
        if name not in files and name != NOTE:
            _delete(target / name)
    rest = [name for name in files if name != last]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="coig_p-upload") as threads:
        puts = {name: threads.submit(_bring, folder / name, target / name, there.get(name)) for name in rest}
        try:
            kept = {name: there[name] for name, put in puts.items() if not put.result()}
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    if kept:
        words = "%s: %s of %s files are there already, with the same bytes: they were not sent again"
        _logger.warning(words, printable(str(target)), f"{len(kept):,}", f"{len(rest):,}")
    there = target.files()
    for name in rest:
        # What was not sent must still be what it was: somebody else may have sent another meanwhile.
        found = there.get(name)
        if found is None or found.st_size != (folder / name).stat().st_size or found != kept.get(name, found):
            raise RemoteError(f"{target}: {name} is not there as it was sent. Try again")
    _check_mine(target, claim)
    _put(target, last, (folder / last).read_bytes(), new=True)
    try:
        _delete(target / NOTE)
    except CoigPError as error:  # all is there
        _logger.warning("%s. What was written is whole: delete %s when you can", error, target / NOTE)


def _files(folder: Path) -> list[str]:
    """The names of all files but those in folders that begin with a dot, which are of the work, not of its result."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts[:-1]))


def _bring(path: Path, place: ObjectPath, there: Found | None) -> bool:
    """Bring a file to `place` unless it is there; whether it was sent."""
    if there is not None and holds(place, there, path):
        return False
    upload_file(path, place)
    return True


def upload_file(path: Path, place: ObjectPath) -> None:
    """Bring one local file to `place`, where it appears, or is replaced, whole.

    Raises:
        RemoteError: the object store cannot be reached, or refused, or has no such bucket.
    """
    parts = {"chunksize": _part(path.stat().st_size)} if place.protocol in _S3 else {}
    with told(place):
        try:
            file_system(place).put_file(str(path), place.location(), **parts)
        except FileNotFoundError:
            raise no_bucket(place) from None


def holds(place: ObjectPath, there: Found, path: Path) -> bool:
    """Whether what an object store tells of a file proves that it has the bytes of a local one.

    S3 tells an ETag. Of a file that was put as one it is the MD5 of its bytes; of one in N parts the MD5 of the parts'
    MD5s, and "-N". Under some kinds of encryption, in directory buckets and on some other servers it is neither. But
    then it does not equal what is computed here: where it does, the bytes are the same. No other protocol was looked
    at: there the answer is no.

    Args:
        there: of a listing.
    """
    if place.protocol not in _S3 or there.st_size != path.stat().st_size:
        return False
    whole, _, parts = there.version.strip('"').partition("-")
    if not parts:
        return [whole] == [md5.hex() for md5 in _md5s(path, max(1, there.st_size))]
    found = _md5s(path, _part(there.st_size)) if parts == str(-(-there.st_size // _part(there.st_size))) else []
    return (whole, parts) == (_md5(b"".join(found)).hexdigest(), str(len(found)))


def _md5s(path: Path, part: int) -> list[bytes]:
    """Of every part of a file, of so many bytes each."""
    found = []
    with path.open("rb") as stream:
        for _ in range(0, max(1, path.stat().st_size), part):
            md5, left = _md5(), part
            while left and (piece := stream.read(min(left, _PIECE))):
                md5.update(piece)
                left -= len(piece)
            found.append(md5.digest())
    return found


def _part(size: int) -> int:
    """Bytes of each part of a file but the last: the same for every file of that size, so that its ETag can be told."""
    return max(_PART, -(-size // _MOST_PARTS))


_md5 = partial(hashlib.md5, usedforsecurity=False)


def _note(target: ObjectPath) -> Sequence[str] | None:
    """The files that an upload wanted to bring; None where none was under way."""
    try:
        found = json.loads((target / NOTE).read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("tool") != _TOOL or not isinstance(found.get("files"), list):
        raise UsageError(f"{target / NOTE} is not what an upload writes: choose another place, or delete it")
    return [str(name) for name in found["files"]]


def _check_others(target: ObjectPath, note: Sequence[str]) -> None:
    others = sorted(set(target.files()) - {*note, NOTE})
    if others:
        raise UsageError(
            f"{target} holds an upload that was stopped, and more ({others[0]}), which is none of it: choose another "
            "place, or move that elsewhere first"
        )


def _check_mine(target: ObjectPath, claim: Mapping[str, Any]) -> None:
    """Raise UsageError where the note is not the one that was put there, or what is there is none of ours."""
    try:
        found = json.loads((target / NOTE).read_text())
    except (FileNotFoundError, ValueError):
        found = None
    if found != claim:
        raise _meanwhile(target)
    _check_others(target, claim["files"])


def _meanwhile(target: ObjectPath) -> UsageError:
    return UsageError(f"{target} is being written by somebody else, too: choose another place")


def _put(target: ObjectPath, name: str, content: bytes, *, new: bool) -> None:
    """Write a small file.

    Args:
        new: raise UsageError where one is there already; in one step where the store can tell.
    """
    place = target / name
    with told(place):
        try:
            _pipe(place, content, new=new)
            return
        except FileNotFoundError:
            raise no_bucket(place) from None
        except FileExistsError:
            pass
        # It may have been written, and only the answer was lost.
        if not place.is_file() or place.read_bytes() != content:
            raise _meanwhile(target)


def _pipe(place: ObjectPath, content: bytes, *, new: bool) -> None:
    if new and place.protocol in _S3:
        try:
            file_system(place).pipe_file(place.location(), content, mode="create")
            return
        except Exception as error:
            if code_of(error) in _THERE:
                raise FileExistsError from None
            if code_of(error) not in _CANNOT:
                raise
    if new and place.is_file():
        raise FileExistsError
    file_system(place).pipe_file(place.location(), content)


def _delete(place: ObjectPath) -> None:
    with told(place), suppress(FileNotFoundError):
        file_system(place).rm_file(place.location())
