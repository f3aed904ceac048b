"""A long list of files: a Parquet file beside the manifest, which names it with its hash and its number of rows.

    STORE/
      files-0123456789abcdef.parquet   a row of COLUMNS for each shard, and for each file of rewards and of pairs
      manifest.json                    schema version 3: lists that file, and all that are not in it

A manifest of up to MOST_INLINE such files lists them itself, as every older package reads it. The list is called by its
hash: where a manifest is replaced in its place, the old one names the old list until the new one names the new.

What is listed is looked at column by column. A row that this does not find right goes the way of an entry of a manifest
alone, so that both say the same of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from coig_p.core.arrays import Mask
from coig_p.core.atomic import atomic_file
from coig_p.core.bombs import check_bomb
from coig_p.core.objects import ObjectPath
from coig_p.core.small_files import read_whole
from coig_p.errors import StoreError
from coig_p.schema import LISTED_APART, SCHEMA_VERSION
from coig_p.store.manifest import (
    LARGEST_MANIFEST,
    LISTING,
    MANIFEST,
    Manifest,
    StoreFile,
    listing_name,
    manifest_text,
    read_entry,
)
from coig_p.store.reading import DAMAGE

MOST_INLINE = 10_000
"""Files of these roles that a manifest lists itself at most."""
LISTED = ("data", "rewards", "pairs")
"""Roles of files of which a store has more, the larger it is."""

_WORDS = ("path", "role", "sha256", "domain", "split")
_NUMBERS = tuple(field.name for field in fields(StoreFile) if field.name not in _WORDS)
COLUMNS = pa.schema([(field.name, pa.string() if field.name in _WORDS else pa.int64()) for field in fields(StoreFile)])
"""The fields of a StoreFile; null is what an entry of a manifest leaves out."""

_MOST_BYTES = 256 << 20  # a file takes some 36
_MOST_NUMBER = 10**18  # of more digits than a manifest may have
_LONGEST = 255  # bytes of a path that no part of can be too long
_NAMED = re.compile(r"files-[0-9a-f]{16}\.parquet")
_COUNTS = ("rows", "queries", "responses", "scores")
_OF_DATA = ("comparisons", "conversations", "with_tools")
# Paths in which all is in order, as RE2 has it: no more than letters that no system, terminal or page minds.
_DOMAIN, _SPLIT, _FILE = "(?P<domain>[a-z0-9_-]+)", r"(?P<split>\w+)", r"[\w.-]*"
_PATHS = {
    "data": f"^data/{_DOMAIN}/{_SPLIT}-{_FILE}$",
    "rewards": rf"^rewards/[a-z0-9](?:[a-z0-9_.-]{{0,62}}[a-z0-9_-])?/{_DOMAIN}/{_SPLIT}-{_FILE}$",
    "pairs": f"^pairs/{_DOMAIN}/{_SPLIT}-{_FILE}$",
}


def write_manifest(root: Path, manifest: Manifest) -> Manifest:
    """Write the manifest of a store, and before it the list of its files, where that is long.

    Returns:
        The manifest as it is read from there.

    Raises:
        StoreError: it would be larger than readers take; nothing was written.
    """
    own = [file for file in manifest.files if file.role != LISTING]
    many = [file for file in own if file.role in LISTED]
    name, content = "", b""
    if len(many) <= MOST_INLINE or manifest.schema_version < SCHEMA_VERSION:
        version = min(manifest.schema_version, SCHEMA_VERSION)
        manifest = replace(manifest, files=tuple(own), schema_version=version)
        text = manifest_text(manifest)
    else:
        content = listing_bytes(many)
        sha256 = hashlib.sha256(content).hexdigest()
        name = listing_name(sha256)
        few = [StoreFile(name, LISTING, sha256, len(content), rows=len(many))]
        few += [file for file in own if file.role not in LISTED]
        manifest = replace(manifest, files=(*many, *few), schema_version=LISTED_APART)
        text = manifest_text(replace(manifest, files=tuple(few)))
    _check_is_read_again(root, text, len(own))
    if name:
        _write_once(root / name, content)
    with atomic_file(root / MANIFEST) as stream:
        stream.write(text.encode())
    # In an object store readers may hold the manifest before, and go on with its list.
    for path in () if isinstance(root, ObjectPath) else root.glob("files-*.parquet"):
        if path.name != name and _NAMED.fullmatch(path.name):
            with suppress(OSError):  # `verify` says that it is not listed
                path.unlink()
    return manifest


def manifest_of(text: str, store: object, beside: Callable[[StoreFile], Path]) -> Manifest:
    """What a manifest says, and the list of files beside it, where it names one.

    Args:
        store: for messages.
        beside: where that list lies, or a copy of it.

    Raises:
        StoreError: see `Manifest.from_json`; or the list is missing, or not what the manifest names.
    """
    return Manifest.from_json(text, store, partial(_read_beside, store, beside))


def listing_bytes(files: Sequence[StoreFile]) -> bytes:
    """The list of these files; the same files give the same bytes.

    Raises:
        StoreError: more files than are read again.
    """
    columns = [pa.array([getattr(file, one.name) for file in files], one.type) for one in COLUMNS]
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_arrays(columns, schema=COLUMNS),
        sink,
        row_group_size=1 << 20,
        compression="zstd",
        compression_level=3,
        use_dictionary=["role", "domain", "split"],
        write_statistics=False,
        write_page_checksum=True,
    )
    content: bytes = sink.getvalue().to_pybytes()
    if len(content) > _MOST_BYTES:
        raise StoreError("the list of files", f"{len(files):,} files are more than a store may have: cut it in two")
    return content


def _check_is_read_again(root: Path, text: str, files: int) -> None:
    """Raise StoreError where a manifest is larger than readers take, as an old version with many files may be."""
    size = len(text.encode())
    if size > LARGEST_MANIFEST:
        problem = (
            f"its {MANIFEST} would be {size:,} bytes long for {files:,} files, and readers take {LARGEST_MANIFEST:,}"
        )
        raise StoreError(root, f"{problem}: make fewer and larger shards, or cut the store in two")


def _write_once(path: Path, content: bytes) -> None:
    """Write a file that is called by its content, unless it is there."""
    with suppress(OSError):
        link = not isinstance(path, ObjectPath) and path.is_symlink()
        if path.is_file() and not link and path.read_bytes() == content:
            return
    with atomic_file(path) as stream:
        stream.write(content)


def _read_beside(
    store: object, beside: Callable[[StoreFile], Path], listing: StoreFile, domains: tuple[str, ...]
) -> list[StoreFile]:
    again = "Import or download it again"
    try:
        content = read_whole(beside(listing), min(listing.bytes, _MOST_BYTES))
    except FileNotFoundError:
        raise StoreError(store, f"{listing.path} is listed in {MANIFEST} but missing. {again}") from None
    except OSError as error:
        raise StoreError(store, f"{listing.path} cannot be read: {error.strerror}. {again}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != listing.sha256:
        raise StoreError(store, f"{listing.path}: sha256 {found}, {listing.sha256} in {MANIFEST}. {again}")
    try:
        rows = _rows(content)
    except DAMAGE as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise StoreError(store, f"{listing.path} cannot be read: {said}. {again}") from None
    if rows.num_rows != listing.rows:
        raise StoreError(store, f"{listing.path}: {rows.num_rows:,} rows, {listing.rows:,} in {MANIFEST}. {again}")
    return _files(rows, domains, store, listing.path)


def _rows(content: bytes) -> pa.Table:
    """Rows of COLUMNS; an error of DAMAGE where there are none, or more than memory should hold."""
    reader = pa.BufferReader(content)
    with pq.ParquetFile(reader, page_checksum_verification=True) as listed:
        found = listed.schema_arrow.remove_metadata()
        if found != COLUMNS:
            there = {one.name: str(one.type) for one in found}
            for one in COLUMNS:
                if there.get(one.name) != str(one.type):
                    raise ValueError(f"its column {one.name} is {there.get(one.name, 'missing')}, not {one.type}")
            raise ValueError("its columns are not those of a list of files")
        check_bomb(listed, reader)
        table = listed.read(use_threads=False).replace_schema_metadata(None)
    table.validate(full=True)
    return table.combine_chunks()


def _files(rows: pa.Table, domains: tuple[str, ...], store: object, name: str) -> list[StoreFile]:
    """The files of rows, each as an entry of a manifest that says the same.

    Raises:
        StoreError: the first row that says what no entry may say, by its number and field.
    """
    right = _are_right(rows, domains)
    columns: dict[str, list[Any]] = {one: _words(rows[one]) for one in _WORDS}
    # Of shards that say nothing of comparisons there are none: older packages do not write it.
    none = pc.and_(pc.equal(rows["role"], "data"), pc.is_null(rows["comparisons"]))
    columns |= {one: _numbers(rows[one]) for one in _NUMBERS}
    columns["comparisons"] = _numbers(pc.if_else(pc.fill_null(none, False), 0, rows["comparisons"]))
    files = [StoreFile(*row) for row in zip(*(columns[one] for one in COLUMNS.names), strict=True)]
    for at in np.flatnonzero(~right).tolist():
        entry = {one: value for one, value in rows.slice(at, 1).to_pylist()[0].items() if value is not None}
        files[at] = _read_row(at, entry, domains, store, name)
    return files


def _read_row(at: int, entry: dict[str, Any], domains: tuple[str, ...], store: object, name: str) -> StoreFile:
    file = read_entry(at, entry, domains, store, name)
    if file.role not in LISTED:
        raise StoreError(store, f"{name}: files[{at}].role {json.dumps(file.role[:80])} is not {', '.join(LISTED)}")
    long = next((one for one in _NUMBERS if (getattr(file, one) or 0) >= _MOST_NUMBER), None)
    if long is not None:
        raise StoreError(store, f"{name}: files[{at}].{long} is a number of {len(str(entry[long]))} digits")
    return file


def _are_right(rows: pa.Table, domains: tuple[str, ...]) -> Mask:
    """Rows that `read_entry` takes as they are. It may take others, too."""
    right = _where(pc.match_substring_regex(rows["sha256"], "^[0-9a-f]{64}$"))
    right &= _where(pc.less_equal(pc.binary_length(rows["path"]), _LONGEST))
    counts = {name: _where(_is_count(rows[name])) for name in _NUMBERS}
    unset = {name: _where(pc.is_null(rows[name])) for name in _NUMBERS}
    right &= counts["bytes"] & counts["rows"]
    of_role = np.zeros(rows.num_rows, bool)
    for role, path in _PATHS.items():
        own = _where(pc.equal(rows["role"], role))
        if not own.any():
            continue
        parts = pc.extract_regex(rows["path"], path).combine_chunks()
        for part in ("domain", "split"):
            own &= _where(pc.equal(pc.struct_field(parts, part), rows[part].combine_chunks()))
        if role == "data":
            own &= _where(pc.is_in(rows["domain"], pa.array(domains, pa.string())))
            for name in _NUMBERS:
                own &= counts[name] | unset[name] if name in _OF_DATA else counts[name]
        else:
            for name in (*_COUNTS[1:], *_OF_DATA):
                own &= unset[name]
        of_role |= own
    return right & of_role


def _is_count(numbers: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.and_(pc.greater_equal(numbers, 0), pc.less(numbers, _MOST_NUMBER))


def _where(found: pa.Array | pa.ChunkedArray) -> Mask:
    """Where it is true; null is false."""
    return np.asarray(pc.fill_null(found, False).to_numpy(zero_copy_only=False), bool)


def _words(column: pa.ChunkedArray) -> list[str | None]:
    # Each text once in memory, as often as it stands there.
    texts = column.combine_chunks().dictionary_encode()
    found = np.array([*texts.dictionary.to_pylist(), None], object)
    return list(found[pc.fill_null(texts.indices, -1).to_numpy(zero_copy_only=False)])


def _numbers(column: pa.ChunkedArray) -> list[int | None]:
    if column.null_count == len(column):
        return [None] * len(column)
    found: list[int | None] = column.to_numpy().tolist() if not column.null_count else column.to_pylist()
    return found
