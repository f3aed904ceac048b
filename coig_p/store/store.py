"""A store: what was observed, one row per query, with a manifest that says what is in it.

    STORE/
      data/<domain>/<split>-00000-of-00003.parquet   rows of RAW_SCHEMA
      README.md         lets the stock datasets library load <domain>-raw
      rejects.jsonl     what an import left out, where it did
      manifest.json     written last; a directory without a valid one is not a store

Reading and writing stream in record batches, so a store may be larger than memory. The same
rows, options and versions give the same bytes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from coig_p.core.atomic import atomic_file
from coig_p.errors import StoreError, UnknownNameError, UsageError
from coig_p.store.manifest import MANIFEST, Manifest, StoreFile, check_split_name
from coig_p.schema import RAW_SCHEMA, RAW_SUFFIX
from coig_p.engine.local import in_order

ROWS_PER_SHARD = 1_000
ROWS_PER_GROUP = 256
_MAY_STAND_BESIDE = frozenset({MANIFEST, "card.toml", ".gitattributes"})


@dataclass(frozen=True)
class Part:
    """The rows of one domain and split, on their way into a store.

    Attributes:
        rows: how many rows `batches` holds; needed first, since shards are equal in rows.
        batches: of RAW_SCHEMA, of any size.
    """

    domain: str
    split: str
    rows: int
    batches: Iterable[pa.RecordBatch]


@dataclass(frozen=True)
class Store:
    """A store on disk, its manifest read and found valid. Make one with `Store.open`."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: str | Path, *, check_sizes: bool = True) -> Store:
        """Read the manifest and see that every file it lists is there and as long as it says.

        Args:
            check_sizes: False accepts files of another size, as `verify` does to name them all.

        Raises:
            StoreError: no manifest, one that is not valid, a file that is missing, leads out of
                the store or has another size.
        """
        root = Path(path)
        try:
            text = (root / MANIFEST).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            raise StoreError(path, f"not a store: no {MANIFEST} there. Make one with: coigp import") from None
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(path, f"{MANIFEST} cannot be read: {error}") from None
        manifest = Manifest.from_json(text, path)
        for file in manifest.files:
            if not (root / file.path).is_file():
                raise StoreError(path, f"{file.path} is listed in {MANIFEST} but missing. Import or download it again")
            if not _lies_inside(root, root / file.path):
                raise StoreError(path, f"{file.path} is a link that leads out of the store. Copy the file instead")
            size = (root / file.path).stat().st_size
            if check_sizes and size != file.bytes:
                raise StoreError(path, f"{file.path}: {size} bytes, {file.bytes} in {MANIFEST}. Run: coigp verify")
        return cls(root, manifest)

    def data_files(self, domain: str | None = None, split: str | None = None) -> list[StoreFile]:
        """The shards of a domain and split (default: of all), in the manifest's order.

        Raises:
            UnknownNameError: the store has no such domain or split.
        """
        if domain is not None and domain not in self.manifest.domains:
            raise UnknownNameError("domain", domain, self.manifest.domains)
        if split is not None:
            check_split_name(self.manifest, split)
        return self.manifest.data_files(domain, split)

    def selected_files(self, domains: Collection[str] = (), split: str | None = None) -> list[StoreFile]:
        """The shards of several domains (default: of all), by domain in the manifest's order.

        Raises:
            UnknownNameError: the store has no such domain or split.
        """
        for domain in domains:
            self.data_files(domain)
        return [
            file
            for domain in self.manifest.domains
            if not domains or domain in domains
            for file in self.data_files(domain, split)
        ]

    def batches(
        self, domain: str | None = None, split: str | None = None, batch_size: int = ROWS_PER_GROUP
    ) -> Iterator[pa.RecordBatch]:
        """Rows of RAW_SCHEMA in the store's order, at most `batch_size` at a time."""
        for file in self.data_files(domain, split):
            yield from shard_batches(self.path, file, batch_size)

    def verify(self, advance: Callable[[int], None] = lambda read: None) -> list[str]:
        """Compare every file with the manifest by size, hash and rows.

        Args:
            advance: called with the number of bytes checked since the last call.

        Returns:
            One line for each problem, an empty list for a whole store.
        """
        problems = []
        for file in self.manifest.files:
            problem = _file_problem(self.path / file.path, file)
            advance(file.bytes)
            if problem:
                problems.append(f"{file.path}: {problem}")
        listed = {file.path for file in self.manifest.files} | _MAY_STAND_BESIDE
        for path in sorted(self.path.rglob("*")):
            name = path.relative_to(self.path).as_posix()
            if path.is_file() and name not in listed and not name.startswith(".git/"):
                problems.append(f"{name}: not listed in {MANIFEST}")
        return problems


def shard_batches(
    root: Path, file: StoreFile, batch_size: int, columns: Sequence[str] | None = None, *, threads: bool = True
) -> Iterator[pa.RecordBatch]:
    """Rows of RAW_SCHEMA of one shard of the store at `root`, none of the batches empty.

    Args:
        columns: read these alone.
        threads: False decodes in the caller's thread, where shards are read side by side already.

    Raises:
        StoreError: the file cannot be read, or has other columns.
    """
    try:
        with pq.ParquetFile(root / file.path) as shard:
            if shard.schema_arrow.remove_metadata() != RAW_SCHEMA:
                raise StoreError(root, f"{file.path}: its columns are not those of a store. Run: coigp verify")
            for batch in shard.iter_batches(batch_size=batch_size, columns=columns, use_threads=threads):
                if batch.num_rows:
                    yield batch
    except (pa.ArrowInvalid, OSError) as error:
        raise StoreError(root, f"{file.path} cannot be read: {error}. Run: coigp verify") from None


def _lies_inside(root: Path, path: Path) -> bool:
    """Whether a file, links followed, is in the store, or in the Hub cache that the store is a view of."""
    real, home = path.resolve(), root.resolve()
    in_cache = home.parent.name == "snapshots" and real.is_relative_to(home.parent.parent / "blobs")
    return real.is_relative_to(home) or in_cache


def _file_problem(path: Path, file: StoreFile) -> str | None:
    if not path.is_file():
        return "missing"
    size = path.stat().st_size
    if size != file.bytes:
        return f"{size} bytes, {file.bytes} in {MANIFEST}"
    found = sha256_of(path)
    if found != file.sha256:
        return f"sha256 {found}, {file.sha256} in {MANIFEST}"
    if file.role in ("data", "pairs"):
        try:
            footer = pq.read_metadata(path)
        except (pa.ArrowInvalid, OSError) as error:
            return f"not readable as Parquet: {error}"
        if footer.num_rows != file.rows:
            return f"{footer.num_rows} rows, {file.rows} in {MANIFEST}"
        if file.role == "data" and not footer.schema.to_arrow_schema().equals(RAW_SCHEMA):
            return "its columns are not those of a store"
    return None


def check_target(target: Path, overwrite: bool) -> None:
    """Raise UsageError where a new store cannot be written to `target`."""
    if target.is_symlink():
        raise UsageError(f"{target} is a symbolic link: name the directory itself")
    for parent in target.parents:
        if parent.exists() and not parent.is_dir():
            raise UsageError(f"{target}: {parent} is a file, not a directory")
    check_outside(target, "another store")
    if not target.exists():
        return
    if not target.is_dir():
        raise UsageError(f"{target} is a file: a store is a directory")
    if not any(target.iterdir()):
        return
    if not (target / MANIFEST).is_file():
        raise UsageError(f"{target} exists and is not a store: choose another place")
    if not overwrite:
        raise UsageError(f"{target} exists: pass --overwrite to replace it, or choose another place")


def check_outside(path: Path, what: str) -> None:
    """Raise UsageError where `path` lies in a store, whose manifest does not list what would be written there."""
    for parent in path.resolve().parents:
        if _is_store(parent):
            raise UsageError(
                f"{path} is inside the store {parent}: {what} does not belong there, choose a place outside of it"
            )


def _is_store(folder: Path) -> bool:
    """Whether a folder has a manifest of ours; many a program calls a file of its own manifest.json."""
    try:
        return b'"schema_version"' in (folder / MANIFEST).read_bytes()
    except OSError:
        return False


def check_folder(folder: Path, files: Collection[str], what: str) -> None:
    """Raise UsageError where `what`, made of `files` alone, cannot be written, before anything is read."""
    check_outside(folder, what)
    if _is_store(folder):
        raise UsageError(f"{folder} is a store: {what} does not belong there, choose another place")
    if folder.exists() and (not folder.is_dir() or {path.name for path in folder.iterdir()} - set(files)):
        raise UsageError(f"{folder} exists and is not {what}: choose another place")


def write_store(root: Path, parts: Iterable[Part], manifest: Manifest) -> Manifest:
    """Write a store's shards, README and, last, its manifest into an empty directory.

    Args:
        root: a temporary directory (see `coig_p.core.atomic`); files already in it with a role are
            listed in `manifest.files`.
        manifest: what is known before writing; domains, files and counts are filled in here.
    """
    files: list[StoreFile] = []
    models: Counter[str] = Counter()
    judges: Counter[str] = Counter()
    for part in parts:
        files += _write_part(root, part, models, judges)
    manifest = replace(
        manifest,
        domains=tuple(dict.fromkeys(file.domain for file in files if file.domain)),
        files=(*files, *manifest.files),
        release={},  # what is made of a release is a store again
        models=dict(sorted(models.items())),
        judges=dict(sorted(judges.items())),
    )
    readme = root / "README.md"
    readme.write_text(store_readme(manifest), encoding="utf-8", newline="\n")
    manifest = replace(manifest, files=(*manifest.files, describe_file(root, "README.md", "readme")))
    with atomic_file(root / MANIFEST) as stream:
        stream.write(manifest.to_json().encode())
    return manifest


def describe_file(root: Path, name: str, role: str, **counts: Any) -> StoreFile:
    """The manifest's line for a file in `root`."""
    path = root / name
    return StoreFile(path=name, role=role, sha256=sha256_of(path), bytes=path.stat().st_size, **counts)


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def even_sizes(total: int, pieces: int) -> list[int]:
    """`total` split into `pieces`, equal to within one, the larger first."""
    return [total // pieces + (piece < total % pieces) for piece in range(pieces)]


class _Shard(NamedTuple):
    """Rows on their way to a file: one list of batches for each row group."""

    name: str
    part: Part
    groups: list[list[pa.RecordBatch]]


def _write_part(root: Path, part: Part, models: Counter[str], judges: Counter[str]) -> list[StoreFile]:
    # n // 1000 shards hold 1,000 to 1,999 rows each. Within one, row groups of at most 256 rows
    # that are equal to within one hold at least 128, unless the shard itself is smaller.
    shards = even_sizes(part.rows, max(1, part.rows // ROWS_PER_SHARD))
    groups = [even_sizes(rows, max(1, -(-rows // ROWS_PER_GROUP))) for rows in shards]
    parts = cut(part.batches, [size for shard in groups for size in shard])
    folder = f"data/{part.domain}"
    (root / folder).mkdir(parents=True, exist_ok=True)
    named = (
        _Shard(
            f"{folder}/{part.split}-{index:05d}-of-{len(groups):05d}.parquet",
            part,
            [next(parts) for _ in groups[index]],
        )
        for index in range(len(groups))
    )
    files = []
    for _, (file, models_here, judges_here) in in_order(partial(_write_shard, root), named):
        files.append(file)
        models += models_here
        judges += judges_here
    return files


def _write_shard(root: Path, shard: _Shard) -> tuple[StoreFile, Counter[str], Counter[str]]:
    """Write one file; its line for the manifest, and how often each model and judge is in it."""
    models: Counter[str] = Counter()
    judges: Counter[str] = Counter()
    rows = responses = scores = comparisons = 0
    with pq.ParquetWriter(
        root / shard.name,
        RAW_SCHEMA,
        compression="zstd",
        compression_level=3,
        use_dictionary=[
            "domain",
            "source",
            "responses.list.element.model",
            "responses.list.element.scores.list.element.judge",
            "responses.list.element.scores.list.element.dimension",
        ],
        write_statistics=["query_id", "domain"],
        write_page_index=True,
    ) as writer:
        for group in shard.groups:
            table = pa.Table.from_batches(group, RAW_SCHEMA).combine_chunks()
            writer.write_table(table, row_group_size=max(1, table.num_rows))
            answers = table.column("responses").chunk(0).flatten()
            given = pc.struct_field(answers, "scores").flatten()
            compared = table.column("comparisons").chunk(0).flatten()
            _count(models, pc.struct_field(answers, "model"))
            _count(judges, pc.struct_field(given, "judge"))
            _count(judges, pc.struct_field(compared, "judge"))
            rows += table.num_rows
            responses += len(answers)
            scores += len(given)
            comparisons += len(compared)
    file = describe_file(
        root,
        shard.name,
        "data",
        domain=shard.part.domain,
        split=shard.part.split,
        rows=rows,
        queries=rows,
        responses=responses,
        scores=scores,
        comparisons=comparisons,
    )
    return file, models, judges


def cut(batches: Iterable[pa.RecordBatch], sizes: Iterable[int]) -> Iterator[list[pa.RecordBatch]]:
    """The same rows in lists of batches that together hold exactly these sizes."""
    source = iter(batches)
    waiting: list[pa.RecordBatch] = []
    for size in sizes:
        taken, missing = [], size
        while missing:
            batch = waiting.pop() if waiting else next(source)
            if batch.num_rows > missing:
                waiting.append(batch.slice(missing))
                batch = batch.slice(0, missing)
            taken.append(batch)
            missing -= batch.num_rows
        yield taken


def _count(counter: Counter[str], names: pa.StringArray) -> None:
    for found in pc.value_counts(names).to_pylist():
        counter[found["values"]] += found["counts"]


def store_readme(manifest: Manifest) -> str:
    """A dataset card that lets the stock datasets library load every domain's raw rows."""
    configs = []
    for domain in manifest.domains:
        splits = dict.fromkeys(file.split for file in manifest.data_files(domain))
        patterns = [{"split": split, "path": f"data/{domain}/{split}-*.parquet"} for split in splits]
        configs.append({"config_name": domain + RAW_SUFFIX, "data_files": patterns})
    head = yaml.safe_dump({"configs": configs, "language": ["zh"]}, allow_unicode=True, sort_keys=False)
    example = manifest.domains[0] if manifest.domains else "chat"
    return f"""---
{head}---

# A coig_p store

One row per query, with every response and every judge's score. Pairs are made when they are loaded:

```python
import coig_p
from datasets import load_dataset

pairs = load_dataset("coig-p", "{example}", data_dir="PATH/OR/REPO", threshold={manifest.default_threshold:g})
```

The rows themselves need no package but `datasets`: `load_dataset("PATH/OR/REPO", "{example}{RAW_SUFFIX}")`.
"""
