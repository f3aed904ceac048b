"""What is wrong with the files of a store, one at a time, beside what its manifest says of them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from coig_p.core.objects import ObjectPath
from coig_p.errors import StoreError
from coig_p.schema import RAW_SCHEMAS
from coig_p.store.manifest import MANIFEST, StoreFile
from coig_p.store.presence import lies_inside
from coig_p.store.reading import DAMAGE, LARGEST_FETCHED
from coig_p.store.rewards import OF_SHARD, REWARD_SCHEMA, REWARDS, Counts, read_rewards


@dataclass(frozen=True)
class LookedAt:
    """What came of looking at a file.

    Attributes:
        problem: what is wrong with it; None where nothing is.
        counts: of rewards, what its rows hold.
    """

    problem: str | None
    counts: Counts | None = None


def look_at(root: Path, schema_version: int, item: tuple[StoreFile, StoreFile | None]) -> LookedAt:
    """A file of the store at `root` by its size, its hash and its footer, and one of rewards by its rows, too.

    Args:
        item: the file, and of rewards the shard that it should be of, where there is one.
    """
    file, shard = item
    problem = _file_problem(root, schema_version, file)
    if problem is not None or file.role != REWARDS:
        return LookedAt(problem)
    path = root / file.path
    problem = _rewards_problem(path, shard)
    if problem is not None:
        return LookedAt(problem)
    counts = Counts()
    try:
        counts.add(read_rewards(path).rows)
    except StoreError as error:
        return LookedAt(str(error).partition(f"{path.name} ")[2])
    return LookedAt(None, counts)


def _file_problem(root: Path, schema_version: int, file: StoreFile) -> str | None:
    path = root / file.path
    if not isinstance(path, ObjectPath) and not path.is_file():
        return "missing"
    if not lies_inside(root, path):
        return "a link that leads out of the store: copy the file instead"
    try:
        if isinstance(path, ObjectPath) and file.bytes <= LARGEST_FETCHED:
            content = path.read_first(file.bytes + 1)  # one request, by which one that is longer is found, too
            if len(content) == file.bytes:
                found = hashlib.sha256(content).hexdigest()
                return _problem(found, pa.BufferReader(content), schema_version, file)
        opened = path.open("rb")
    except FileNotFoundError:
        return "missing"
    with opened as stream:  # once: of an object store it is fetched once
        size = stream.seek(0, os.SEEK_END)
        if size != file.bytes:
            return f"{size} bytes, {file.bytes} in {MANIFEST}"
        stream.seek(0)
        return _problem(hashlib.file_digest(stream, "sha256").hexdigest(), stream, schema_version, file)


def _problem(sha256: str, source: Any, schema_version: int, file: StoreFile) -> str | None:
    """What is wrong with a file that is as long as it should be."""
    if sha256 != file.sha256:
        return f"sha256 {sha256}, {file.sha256} in {MANIFEST}"
    if file.role in ("data", "pairs", REWARDS):
        try:
            footer = pq.read_metadata(source)
        except DAMAGE as error:
            return f"not readable as Parquet: {error}"
        if footer.num_rows != file.rows:
            return f"{footer.num_rows} rows, {file.rows} in {MANIFEST}"
        if file.role == "data" and not footer.schema.to_arrow_schema().equals(RAW_SCHEMAS[schema_version]):
            return "its columns are not those of a store"
        if file.role == REWARDS and not footer.schema.to_arrow_schema().equals(REWARD_SCHEMA):
            return "its columns are not those of rewards"
    return None


def _rewards_problem(path: Path, shard: StoreFile | None) -> str | None:
    """What is wrong with a readable file of rewards, beside the shard that it should be of."""
    with path.open("rb") as stream:
        of_shard = (pq.read_metadata(stream).metadata or {}).get(OF_SHARD.encode(), b"").decode("utf-8", "replace")
    if shard is None or of_shard == shard.sha256:
        return None
    return f"it is of another {shard.path} than {MANIFEST} lists. Score it again: coigp score"
