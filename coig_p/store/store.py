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
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from coig_p.core.html import html_table, html_text
from coig_p.core.objects import ObjectPath, as_path, object_path
from coig_p.core.upload import NOTE
from coig_p.engine.local import Workers, in_order, threads
from coig_p.errors import StoreError
from coig_p.schema import RAW_SCHEMA
from coig_p.store.file_problems import look_at
from coig_p.store.frames import COMPARISON_ROWS, COMPARISONS_READ, SCORE_ROWS, SCORES_READ, comparison_rows, score_rows
from coig_p.store.listing import manifest_of
from coig_p.store.manifest import (
    MANIFEST,
    SIGNATURE,
    Manifest,
    StoreFile,
    check_domain_name,
    check_split_name,
    read_manifest,
)
from coig_p.store.places import check_name
from coig_p.store.presence import check_present
from coig_p.store.reading import open_shard, read_batches, takes_most
from coig_p.store.rewarded import rewarded, rewards_beside
from coig_p.store.rewards import (
    REWARDS,
    Counts,
    count_problems,
    listing_problems,
    reward_files,
    reward_shard,
)
from coig_p.store.writing import ROWS_PER_GROUP

if TYPE_CHECKING:
    import pandas as pd

CALIBRATION = "calibration.json"
"""What a calibration file is called beside a store, and in a release whose pairs it made."""
EXCLUDED = "exclude.txt"
"""What a list of queries that give no pairs is called beside a store, and in a release whose pairs lack them."""
OF_ITS_OWNER = frozenset({"LICENSE", "card.toml", ".gitattributes", CALIBRATION, EXCLUDED})
"""Files that an owner puts beside a store, and that a store made of it takes along."""
MAY_STAND_BESIDE = OF_ITS_OWNER | {MANIFEST, SIGNATURE}
"""Files of a store that its manifest need not list."""
_SHOWN = 30  # domains in a notebook
# What clients, file managers and editors leave in a folder that was downloaded or looked at.
_LEFT_FOLDERS = frozenset({".cache", ".git", ".huggingface", ".ipynb_checkpoints", "._____temp", "__MACOSX"})
_LEFT_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", ".gitignore", ".msc", ".mv", ".mdl", NOTE})


@dataclass(frozen=True)
class Store:
    """A store, its manifest read and found valid. Make one with `Store.open`.

    Attributes:
        path: the directory; of a store in an object store what stands in its place (see `coig_p.core.objects`).
        manifest: what manifest.json says: domains, files, counts, and how the store came about.
    """

    path: Path
    manifest: Manifest

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}, {self.manifest.summary()})"

    def _repr_html_(self) -> str:
        """What a notebook shows: one line and a table of domains, and no markup of a name in it."""
        kinds = ("rows", "responses", "scores", "comparisons")
        files = {domain: self.manifest.data_files(domain) for domain in self.manifest.domains[:_SHOWN]}
        rows = [
            [domain, *(sum(getattr(file, kind) or 0 for file in own) for kind in kinds)]
            for domain, own in files.items()
        ]
        more = len(self.manifest.domains) - len(rows)
        title = f"{more} more domains are not shown" if more else ""
        return (
            f"<p><b>Store</b> <code>{html_text(str(self.path))}</code><br>{html_text(self.manifest.summary())}</p>"
            + html_table(title, ["domain", "queries", *kinds[1:]], rows)
        )

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        check_files: bool = True,
        check_sizes: bool = True,
        check_rewards: bool = True,
        storage_options: Mapping[str, Any] | None = None,
    ) -> Store:
        """Read the manifest and see that every file it lists is there and as long as it says.

        Args:
            path: a directory, or the URL of one in an object store: s3://bucket/store.
            check_files: False looks at no file, as where `verify` then names all that is wrong.
            check_sizes: False accepts files of another size.
            check_rewards: False does not look at files of rewards, as where they are to be written anew.
            storage_options: for fsspec, as datasets takes them; without them the environment says who asks.

        Raises:
            UsageError: a name that is not UTF-8, or a URL that cannot be right.
            RemoteError: an object store cannot be reached, or refused.
            StoreError: no manifest, one that is not valid, a file that is missing, leads out of
                the store or has another size.
        """
        root = as_path(path, storage_options)
        manifest = manifest_at(root, path)
        if check_files:
            wanted = [file for file in manifest.files if check_rewards or file.role != REWARDS]
            check_present(root, wanted, path, check_sizes=check_sizes)
        return cls(root, manifest)

    def content_hash(self) -> str:
        """SHA-256 of the manifest as it is on disk, which has those of all files."""
        return hashlib.sha256((self.path / MANIFEST).read_bytes()).hexdigest()

    def data_files(self, domain: str | None = None, split: str | None = None) -> list[StoreFile]:
        """The shards of a domain and split (default: of all), in the manifest's order.

        Raises:
            UnknownNameError: the store has no such domain or split.
        """
        if domain is not None:
            check_domain_name(self.manifest, domain)
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
        self,
        domain: str | None = None,
        split: str | None = None,
        batch_size: int = ROWS_PER_GROUP,
        schema: pa.Schema = RAW_SCHEMA,
        rewards: Sequence[str] = (),
    ) -> Iterator[pa.RecordBatch]:
        """Rows of `schema`, RAW_SCHEMA or a part of it, in the store's order, at most `batch_size` at a time.

        Args:
            rewards: names of those that rows bring along (see `coig_p.store.rewarded`).

        Raises:
            UnknownNameError: the store has no such domain, split or rewards.
            StoreError: a file cannot be read, or has other columns.
        """
        files = self.data_files(domain, split)
        for name in rewards:
            reward_files(self.manifest, name, files, self.path)
        for file in files:
            yield from shard_batches(self.path, file, batch_size, schema, rewards=rewards)

    def rows_of(self, file: StoreFile, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows of one shard, of its columns those of a schema; raises as `batches` does."""
        return shard_batches(self.path, file, ROWS_PER_GROUP, schema)

    def to_pandas(self, domain: str | None = None) -> pd.DataFrame:
        """One row a score, in the store's order.

        Columns are query_id, domain, split, query, model (text), sample (int32, which of the model's
        answers to the query), text, judge, dimension (text), score (float64, on the judges' scale) and
        rationale (text, what the judge said, missing where it is not known). A response without scores is
        there once, its judge, dimension, score and rationale missing (None or NaN, as pandas has it); a
        query without responses is not there. Everything is held in memory at once.

        Args:
            domain: this one alone; default all.

        Raises:
            UnknownNameError: the store has no such domain.
            StoreError: a file cannot be read.
        """
        return self._frame(domain, score_rows, SCORE_ROWS, SCORES_READ)

    def comparisons_to_pandas(self, domain: str | None = None) -> pd.DataFrame:
        """One row a comparison of two responses, in the store's order.

        Columns are query_id, domain, split, query (text), first_model, first_sample, first_text,
        second_model, second_sample, second_text (samples int32), judge, dimension (text), first_score and
        second_score (float64, on the judges' scale) and rationale (text, what the judge said). "first" is
        what the judge was shown first. Model, sample and text are missing where the comparison names a
        response that the query does not have.

        Args:
            domain: this one alone; default all.

        Raises:
            UnknownNameError: the store has no such domain.
            StoreError: a file cannot be read.
        """
        return self._frame(domain, comparison_rows, COMPARISON_ROWS, COMPARISONS_READ)

    def _frame(
        self, domain: str | None, make: Callable[[pa.RecordBatch, str], pa.Table], schema: pa.Schema, read: pa.Schema
    ) -> pd.DataFrame:
        tables = [
            make(batch, str(file.split))
            for file in self.data_files(domain)
            for batch in shard_batches(self.path, file, ROWS_PER_GROUP, read)
        ]
        frame: pd.DataFrame = pa.concat_tables([schema.empty_table(), *tables]).to_pandas()
        return frame

    def verify(
        self,
        advance: Callable[[int], None] = lambda read: None,
        num_proc: int | None = 1,
        workers: Workers | None = None,
    ) -> list[str]:
        """Compare every file with the manifest by size, hash and rows, and files of rewards by what they hold, too.

        Args:
            advance: called with the number of bytes checked since the last call.
            num_proc: threads that read and hash files, at least two; None for as many as there are cores, up to eight.
            workers: who does it in their place.

        Returns:
            One line for each problem, an empty list for a whole store. What other tools leave is none: see
            `leftovers`.
        """
        problems = listing_problems(self.manifest)
        shards = {file.path: file for file in self.data_files()}
        counts = defaultdict[str, Counts](Counts)
        whole = not problems
        look = partial(look_at, self.path, self.manifest.schema_version)
        whose = workers or replace(threads(num_proc), only_read=True)
        of = ((file, shards.get(reward_shard(file)) if file.role == REWARDS else None) for file in self.manifest.files)
        for (file, _), found in in_order(look, of, whose):
            if found.counts is not None:
                counts[file.path.split("/")[1]].merge(found.counts)
            whole &= found.problem is None or file.role != REWARDS
            advance(file.bytes)
            if found.problem is not None:
                problems.append(f"{file.path}: {found.problem}")
        if whole:
            problems += count_problems(self.manifest, counts)
        unlisted = [name for name in self._unlisted() if not _left_at(name)]
        return problems + [f"{name}: not listed in {MANIFEST}: delete it" for name in unlisted]

    def leftovers(self) -> list[str]:
        """Files and folders that other tools left in the directory: of a download, a file manager, version control."""
        return sorted({left for name in self._unlisted() if (left := _left_at(name))})

    def _unlisted(self) -> list[str]:
        return [name for name in unlisted(self.path, self.manifest) if (self.path / name).is_file()]


def unlisted(root: Path, manifest: Manifest) -> list[str]:
    """What is at `root` beside the files of a manifest, in order: files, links and whatever else is no directory."""
    listed = {file.path for file in manifest.files} | MAY_STAND_BESIDE
    if isinstance(root, ObjectPath):
        return [name for name in root.files() if name not in listed]
    top = str(root)
    found = []
    for folder, inner, names in os.walk(top):
        inside = f"{os.path.relpath(folder, top)}/".replace(os.sep, "/").removeprefix("./")
        found += [f"{inside}{name}" for name in names if f"{inside}{name}" not in listed]
        found += [f"{inside}{name}" for name in inner if os.path.islink(f"{folder}/{name}")]
    return sorted(found, key=lambda name: name.split("/"))


def manifest_at(root: Path, named: object) -> Manifest:
    """What the manifest of the store at `root` says; errors as `Store.open` has them, about the store `named`."""
    check_name(root)
    text = _manifest_text(root, named)
    while True:
        try:
            return manifest_of(text, named, lambda file: root / file.path)
        except StoreError:  # or somebody wrote it anew meanwhile, with another list of files
            before, text = text, _manifest_text(root, named)
            if text == before:
                raise


def _manifest_text(root: Path, named: object) -> str:
    try:
        return read_manifest(root / MANIFEST)
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(named, _no_store(root)) from None
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise StoreError(named, f"{MANIFEST} cannot be read: {said}") from None


def _left_at(name: str) -> str | None:
    """The folder or file of another tool that a file belongs to; None where it is none of theirs."""
    *folders, file = name.split("/")
    at = next((at for at, folder in enumerate(folders) if folder in _LEFT_FOLDERS), None)
    if at is not None:
        return "/".join(folders[: at + 1])
    return name if file in _LEFT_FILES or file.startswith("._") else None


def shard_batches(
    root: Path,
    file: StoreFile,
    batch_size: int | None,
    schema: pa.Schema = RAW_SCHEMA,
    *,
    threads: bool = True,
    rewards: Sequence[str] = (),
    between: tuple[int, int] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Rows of one shard of the store at `root`, none of the batches empty.

    Args:
        batch_size: at most; None for as many as the first row group has and none of two groups, which is how
            the stock library reads.
        schema: RAW_SCHEMA or a part of it (see `coig_p.store.reading`).
        threads: False decodes in the caller's thread, where shards are read side by side already.
        rewards: names of those that rows bring along, for which `schema` has PAIRING_SCHEMA's columns.
        between: the rows from one place to another, without that one; row groups that have none of them are not read.

    Raises:
        StoreError: the file cannot be read, or has other columns.
    """
    beside = rewards_beside(f"{root}/{file.path}", rewards, partial(_named, root))
    size = file.bytes if takes_most(schema) else None
    with open_shard(root / file.path, f"{root}/{file.path}", size=size) as shard:
        groups = list(range(shard.num_row_groups))
        if file.rows is not None and shard.metadata.num_rows != file.rows:
            raise ValueError(f"{shard.metadata.num_rows:,} rows, {file.rows:,} in {MANIFEST}")
        size = batch_size or (shard.metadata.row_group(0).num_rows if groups else 0) or 1
        if between is not None:
            ends = [0, *accumulate(shard.metadata.row_group(group).num_rows for group in groups)]
            groups = [group for group in groups if ends[group] < between[1] and ends[group + 1] > between[0]]
            before = ends[groups[0]] if groups else 0
            found = read_batches(shard, size, groups, schema, threads=threads)
            yield from rewarded(_rows_between(found, between[0] - before, between[1] - before), beside)
            return
        for some in [groups] if batch_size else [[group] for group in groups]:
            yield from rewarded(read_batches(shard, size, some, schema, threads=threads), beside)


def _rows_between(batches: Iterable[pa.RecordBatch], begin: int, end: int) -> Iterator[pa.RecordBatch]:
    at = 0
    for batch in batches:
        low, high = max(0, begin - at), min(batch.num_rows, end - at)
        at += batch.num_rows
        if low < high:
            yield batch.slice(low, high - low)


def _named(root: Path, name: str) -> AbstractContextManager[Any]:
    """What opens a file of the store at `root` that is named whole."""
    return nullcontext(object_path(name, root.options) if isinstance(root, ObjectPath) else name)


def _no_store(root: Path) -> str:
    """What to say where there is no manifest, and where the store may be."""
    if str(root).startswith("hf:"):
        return "not a directory: download it first, with hf download ORG/NAME --repo-type dataset --local-dir STORE"
    if isinstance(root, ObjectPath):
        return f"not a store: no {MANIFEST} there. Name the folder that holds it, or make one with: coigp import"
    if not root.exists():
        return f"not a store: no such directory, so no {MANIFEST} there. Make one with: coigp import"
    if not root.is_dir():
        return (
            f"not a store but a file: no {MANIFEST} there. Make one with: coigp import {quote(str(root))} --out STORE"
        )
    for parent in root.resolve().parents:
        if (parent / MANIFEST).is_file():
            return f"not a store but a part of one: no {MANIFEST} there. Name {parent}"
    return f"not a store: no {MANIFEST} there. Make one with: coigp import"
