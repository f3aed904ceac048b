"""A ledger's file is made, looked at and brought to this version. One that is not whole is never written to."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from coig_p.annotate.asking.ledger.bodies import Damaged
from coig_p.annotate.asking.ledger.schema import (
    COUNTED,
    CREATE,
    LEDGER,
    LOCK,
    READ_OLD,
    TRIED,
    UPGRADES,
    VERSION,
)
from coig_p.core.atomic import atomic_file
from coig_p.errors import DataError, UsageError
from coig_p.store.places import check_kept

_SQLITE = b"SQLite format 3\x00"
_BESIDE = ("wal", "shm", "journal")
_OURS = frozenset({"requests", "attempts", "queries", "dropped", "meta"})
_SMALL = 2**26  # bytes of a file that is looked through in whole
MENDED = "Put a copy of it back. Without one, move the folder away: all that it held is then asked and paid again"
"""What to do about a ledger that is not whole."""


def check_files(folder: Path) -> None:
    """Raise UsageError where a file of a ledger, or one that SQLite has beside it, is a link or no file."""
    for name in (LOCK, LEDGER, *(f"{LEDGER}-{kind}" for kind in _BESIDE)):
        check_kept(folder / name, "a run")


def check_gone(path: Path) -> None:
    """Raise DataError where there is no ledger, and what SQLite had beside one is left."""
    left = [f"{path}-{kind}" for kind in _BESIDE if Path(f"{path}-{kind}").exists()]
    if left and not path.exists():
        raise DataError(f"{path} is gone, and {left[0]}, a part of it, is left. {MENDED}")


def create(path: Path) -> None:
    """An empty ledger, there whole or not at all."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection, atomic_file(path) as stream:
        connection.executescript(CREATE)
        stream.write(connection.serialize())


def connected(path: Path, *, write: bool = False) -> tuple[sqlite3.Connection, int]:
    """A connection to a ledger that was looked at, and the version that the file had.

    Of version 1 a reader gets views like those of later ones. To be written, an older version is
    brought to this one in one transaction.

    Raises:
        UsageError: it is of a newer version.
        DataError: it is not a ledger, or is damaged.
    """
    connection = None
    try:
        at_rest = not Path(f"{path}-wal").exists()
        if at_rest and not path.stat().st_size:
            raise DataError(f"{path} is empty, which a ledger never is. {MENDED}")
        with path.open("rb") as stream:
            if at_rest and stream.read(len(_SQLITE)) != _SQLITE:
                raise DataError(f"{path} is not a ledger: no file of SQLite. {MENDED}")
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA busy_timeout = 60000")
        (page,) = connection.execute("PRAGMA page_size").fetchone()
        if at_rest and path.stat().st_size % page:
            raise DataError(f"{path} is damaged: its last page is cut off. {MENDED}")
        version = _version(connection, path)
        if write:
            _look_through(connection, path, version)
            connection.execute("PRAGMA journal_mode = WAL")
        if write and version < VERSION:
            connection.executescript(f"BEGIN IMMEDIATE; {UPGRADES[version]} COMMIT;")
        elif version == 1:
            connection.executescript(READ_OLD)
    except sqlite3.DatabaseError as error:
        if connection is not None:
            connection.close()
        raise damaged(path, error) from None
    except BaseException:
        if connection is not None:
            connection.close()
        raise
    return connection, version


def damaged(path: Path, error: sqlite3.DatabaseError | Damaged) -> DataError:
    """The error for what SQLite, or a checksum, says of a ledger's file."""
    code = getattr(error, "sqlite_errorname", "")
    if isinstance(error, sqlite3.OperationalError) and code.split("_")[1:2] not in (["CORRUPT"], ["ERROR"]):
        return DataError(f"{path} cannot be used: {error}. What is in it stays")  # locked, a full disk, no rights
    return DataError(f"{path} is not a ledger, or is damaged: {error}. {MENDED}")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    tables = {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables >= _OURS:
        raise DataError(
            f"{path} is not a ledger, or is damaged: it lacks {', '.join(sorted(_OURS - tables))}. {MENDED}"
        )
    row = connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
    try:
        version = int(row[0])
        if version < 1:
            raise ValueError
    except (TypeError, ValueError):
        raise DataError(f"{path} is not a ledger, or is damaged: it has no version. {MENDED}") from None
    if version > VERSION:
        raise UsageError(f"{path} is of version {version}: pip install -U coig-p")
    return version


def _look_through(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Raise DataError where a request could be taken for one that was never sent.

    SQLite looks through a small file in whole. Of a large one only as much is read as shows that
    all rows are there: their number, by the index over keys, is the one that the totals have.
    """
    if path.stat().st_size <= _SMALL:
        (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise DataError(f"{path} is damaged: {' '.join(str(found).split())}. {MENDED}")
    if version == 1:
        return
    for table, sums in (("requests", COUNTED), ("attempts", TRIED)):
        (number,) = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
        (counted,) = connection.execute(f"SELECT COALESCE(SUM(number), 0) FROM {sums}").fetchone()
        if number != counted:
            raise DataError(f"{path} is damaged: it has {number:,} {table}, and {counted:,} were written. {MENDED}")
