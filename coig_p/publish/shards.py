"""The shards of a store on their way into its release: copied as they are, and hashed meanwhile."""

from __future__ import annotations

import hashlib
import io
import shlex
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from coig_p.core.atomic import placed
from coig_p.core.bombs import check_bomb
from coig_p.engine.journal import Journal, task_name
from coig_p.engine.local import Workers
from coig_p.errors import DataError
from coig_p.store.manifest import MANIFEST, StoreFile
from coig_p.store.reading import DAMAGE
from coig_p.store.rewards import REWARDS
from coig_p.store.store import Store
from coig_p.store.writing import describe_file

_PIECE = 1 << 20  # bytes


def copy_shards(
    store: Store, journal: Journal, advance: Callable[[int], None], workers: Workers
) -> Iterator[StoreFile]:
    """The store's shards, the rewards of their responses, and who its duplicates were.

    The texts of duplicates stay at home, as rejects do: they went, and nobody vouched for them.

    Args:
        journal: of the unfinished release.
        advance: called with the number of bytes copied since the last call.
        workers: who copies.

    Raises:
        DataError: a file is not what the manifest says.
    """
    files = copied_files(store)
    for folder in {(journal.root / file.path).parent for file in files}:
        folder.mkdir(parents=True, exist_ok=True)
    for file, made in journal.in_order(
        partial(_copy, store.path, journal.root),
        files,
        workers,
        task=partial(task_name, "copy"),
        files=lambda file: [file.path],
        told=lambda made: made.content,
        as_json=vars,
        from_json=lambda told: StoreFile(**told),
    ):
        yield made
        advance(file.bytes)


def copied_files(store: Store) -> list[StoreFile]:
    """What of a store goes into its release."""
    return [file for file in store.manifest.files if file.role in ("data", REWARDS, "duplicates")]


def _copy(store: Path, root: Path, file: StoreFile) -> StoreFile:
    with placed(root / file.path) as temporary:
        if _copy_file(store / file.path, temporary) != file.sha256:
            raise DataError(
                f"{store}: {file.path} is not what {MANIFEST} says. Run: coigp verify {shlex.quote(str(store))}"
            )
    return _without_texts(root, file) if file.role == "duplicates" else file


def _without_texts(root: Path, file: StoreFile) -> StoreFile:
    """The file anew, without the columns that hold texts."""
    path = root.absolute() / file.path
    try:
        with pq.ParquetFile(path) as found:
            check_bomb(found, path)
            table = found.read()
    except DAMAGE as error:
        raise DataError(f"{file.path} cannot be read: {error}. Make it with: coigp dedup") from None
    texts = [name for name in table.column_names if name == "text" or name.endswith("_text")]
    if not texts:  # of an older coig-p
        return file
    with placed(path) as temporary:
        pq.write_table(table.drop_columns(texts), temporary, compression="zstd")
    return describe_file(root, file.path, file.role)


def _copy_file(source: Path, target: Path) -> str:
    """Copy a file; the SHA-256 of what was read."""
    with source.open("rb") as stream, HashedFile(target) as copy:
        while piece := stream.read(_PIECE):
            copy.write(piece)
    return copy.sha256.hexdigest()


class HashedFile(io.RawIOBase):
    """A file that is written from its beginning to its end, and hashed meanwhile."""

    def __init__(self, path: Path) -> None:
        self.stream = path.open("wb")
        self.sha256 = hashlib.sha256()
        self.bytes = 0

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Append."""
        self.sha256.update(data)
        self.bytes += len(data)
        return self.stream.write(data)

    def close(self) -> None:
        """End."""
        self.stream.close()
        super().close()
