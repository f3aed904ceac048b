"""What was scored so far, batch by batch, so that a run that was stopped goes on where it was.

FILE   {"format": "coig_p.scored", "version": 1, "of": {...}}        what is scored, and by what
       {"scored": [[key, reward, reason, tokens, truncated], ...]}   one batch, whole or not at all
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from coig_p.core.strict_json import strict_json
from coig_p.errors import DataError, UsageError
from coig_p.reward.scorer import Scored, finite
from coig_p.store.places import check_kept

try:
    import fcntl
except ImportError:  # Windows: two runs at once are then not told apart
    fcntl = None  # type: ignore[assignment]

FORMAT, VERSION = "coig_p.scored", 1


class Journal:
    """An open file of what was scored.

    Attributes:
        known: what it holds, by `batching.key`.
    """

    def __init__(self, path: Path, stream: IO[bytes], known: Mapping[bytes, Scored]) -> None:
        self.path, self.known = path, known
        self._stream = stream

    def keep(self, batch: Mapping[bytes, Scored]) -> None:
        """Add a batch; it is on the disk when this returns."""
        rows = [[name.hex(), one.reward, one.reason, one.tokens, one.truncated] for name, one in batch.items()]
        self._stream.write(_line({"scored": rows}))
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def remove(self) -> None:
        """Delete the file: what it held is written elsewhere."""
        self.path.unlink(missing_ok=True)


@contextmanager
def open_journal(path: Path, of: Mapping[str, Any]) -> Iterator[Journal]:
    """Open a file of what was scored, or begin one.

    Args:
        of: what is scored and by what, as JSON: what the file holds is of the same, or of no use.

    Raises:
        UsageError: it is of something else, or another run is writing it.
        DataError: a line cannot be read; names file and line. One that a kill cut off is left out.
    """
    check_kept(path, "scoring")
    wanted = json.loads(json.dumps({"format": FORMAT, "version": VERSION, "of": of}))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as stream:
        if fcntl is not None:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UsageError(f"{path}: another run is scoring into it: wait for its end") from None
        stream.seek(0)
        content = stream.read()
        whole = content[: content.rfind(b"\n") + 1]
        stream.truncate(len(whole))
        lines = whole.split(b"\n")[:-1]
        if not lines:
            stream.write(_line(wanted))
            stream.flush()
        elif (found := _read(path, 1, lines[0])) != wanted:
            raise UsageError(f"{path} is of a run with {_differs(found, wanted)}: run that again, or delete the file")
        known: dict[bytes, Scored] = {}
        for number, line in enumerate(lines[1:], 2):
            known |= _batch(path, number, _read(path, number, line))
        yield Journal(path, stream, known)


def _line(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode() + b"\n"


def _read(path: Path, number: int, line: bytes) -> Any:
    try:
        return strict_json(line.decode())
    except ValueError as error:
        raise DataError(f"{path} line {number}: {error}: delete the file to score all anew") from None


def _differs(found: Any, wanted: Mapping[str, Any]) -> str:
    """What another run had, in the first field that tells them apart."""
    mine, of = wanted["of"], found.get("of") if isinstance(found, dict) else None
    if not isinstance(of, dict) or found.get("format") != FORMAT:
        return "something else"
    name = next((name for name in {**mine, **of} if of.get(name) != mine.get(name)), "version")
    one, other = of.get(name), mine.get(name)
    if isinstance(one, dict) and isinstance(other, dict):
        inner = next((key for key in {**other, **one} if one.get(key) != other.get(key)), "")
        name, one, other = f"{name}.{inner}", one.get(inner), other.get(inner)
    return f"another {name} ({one!r}, now {other!r})"


def _batch(path: Path, number: int, value: Any) -> dict[bytes, Scored]:
    found: dict[bytes, Scored] = {}
    rows = value.get("scored") if isinstance(value, dict) else None
    for row in rows if isinstance(rows, list) else [None]:
        scored = _scored(row)
        if scored is None:
            raise DataError(f"{path} line {number}: no batch of what was scored: delete the file to score all anew")
        found[scored[0]] = scored[1]
    return found


def _scored(row: Any) -> tuple[bytes, Scored] | None:
    if not isinstance(row, list) or len(row) != 5 or not isinstance(row[0], str):
        return None
    name, reward, reason, tokens, truncated = row
    try:
        key = bytes.fromhex(name)
    except ValueError:
        return None
    number = finite(reward) if type(reward) in (int, float) else None
    right = (number is None) == (reward is None) == isinstance(reason, str)
    if len(key) != 32 or not right or not (tokens is None or type(tokens) is int) or not isinstance(truncated, bool):
        return None
    return key, Scored(number, reason, tokens, truncated)
