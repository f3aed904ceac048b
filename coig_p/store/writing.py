"""Rows into shards: equal in rows, deterministic in bytes, the manifest last."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from coig_p.core.arrays import hash64
from coig_p.core.atomic import placed
from coig_p.core.front_matter import front_matter
from coig_p.engine.journal import Journal, task_name
from coig_p.engine.local import Threads, threads
from coig_p.schema import RAW_SCHEMA, RAW_SUFFIX, SCHEMA_VERSION, SCORE_GRID
from coig_p.store.conversations import conversation_masks
from coig_p.store.listing import write_manifest
from coig_p.store.manifest import LARGEST_MARGIN, Manifest, StoreFile
from coig_p.store.reading import CHECKSUMS

ROWS_PER_SHARD = 1_000


ROWS_PER_GROUP = 256
_OF_FILE = dict.fromkeys(
    ("rows", "queries", "responses", "scores", "comparisons", "conversations", "with_tools"), 0
)  # what a manifest says of a shard


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


def write_store(
    root: Path,
    parts: Iterable[Part],
    manifest: Manifest,
    finish: Callable[[Manifest], Manifest] = lambda manifest: manifest,
    num_proc: int | None = 1,
    journal: Journal | None = None,
    of: str = "",
) -> Manifest:
    """Write a store's shards, README and, last, its manifest into an empty directory.

    Args:
        root: a temporary directory (see `coig_p.core.atomic`); files already in it with a role are
            listed in `manifest.files`.
        manifest: what is known before writing; domains, files and counts are filled in here.
        finish: called with the manifest once all files are known, for what goes by them; what it gives is written.
        num_proc: threads that write shards, at least two; None for as many as there are cores, up to eight. Each holds
            a shard.
        journal: of `root`, which may hold shards already that an earlier run finished.
        of: what the rows are made of, so that shards of other rows are not taken for these.

    Returns:
        The manifest as it was written, last.
    """
    writers, journal = threads(num_proc), journal or Journal(root)
    shards = (shard for part in parts for shard in _write_part(journal, part, writers, of))
    return finish_store(root, shards, manifest, finish)


def finish_store(
    root: Path,
    shards: Iterable[WrittenShard],
    manifest: Manifest,
    finish: Callable[[Manifest], Manifest] = lambda manifest: manifest,
) -> Manifest:
    """Write README and manifest of a store whose shards are written, or are while they are taken; see `write_store`."""
    files: list[StoreFile] = []
    models: Counter[str] = Counter()
    judges: Counter[str] = Counter()
    largest = 0
    for written in shards:
        files.append(written.file)
        models.update(written.models)
        judges.update(written.judges)
        largest = max(largest, written.largest)
    compared = {LARGEST_MARGIN: largest / SCORE_GRID} if any(file.comparisons for file in files) else {}
    manifest = replace(
        manifest,
        options={name: told for name, told in manifest.options.items() if name != LARGEST_MARGIN} | compared,
        schema_version=SCHEMA_VERSION,
        domains=tuple(dict.fromkeys(file.domain for file in files if file.domain)),
        files=(*files, *manifest.files),
        release={},  # what is made of a release is a store again
        models=dict(sorted(models.items())),
        judges=dict(sorted(judges.items())),
    )
    readme = root / "README.md"
    readme.write_text(store_readme(manifest), encoding="utf-8", newline="\n")
    manifest = finish(replace(manifest, files=(*manifest.files, describe_file(root, "README.md", "readme"))))
    return write_manifest(root, manifest)


def describe_file(root: Path, name: str, role: str, **counts: Any) -> StoreFile:
    """The manifest's line for a file in `root`."""
    path = root / name
    return StoreFile(path=name, role=role, sha256=sha256_of(path), bytes=path.stat().st_size, **counts)


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def told_of_rows(hashes: Iterable[str]) -> str:
    """What the YAML of a card says of a config's rows, given the SHA-256 of each of its files.

    datasets names what it keeps of a directory by this YAML and the directory's own name, not by what is in it:
    where nothing in the YAML went by the rows, those of an older store in the same place would come back.
    """
    return f"rows {hash64(' '.join(hashes)):016x}"


def even_sizes(total: int, pieces: int) -> list[int]:
    """`total` split into `pieces`, equal to within one, the larger first."""
    return [total // pieces + (piece < total % pieces) for piece in range(pieces)]


@dataclass(frozen=True)
class ShardPlan:
    """A shard that is to be written.

    Attributes:
        name: in the store.
        groups: rows of each row group.
    """

    name: str
    domain: str
    split: str
    groups: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Of the shard."""
        return sum(self.groups)


@dataclass(frozen=True)
class WrittenShard:
    """A file, how often each model and judge is in it, and the largest margin of its comparisons on the grid."""

    file: StoreFile
    models: Mapping[str, int]
    judges: Mapping[str, int]
    largest: int

    def to_json(self) -> dict[str, Any]:
        """For a journal."""
        return {**vars(self), "file": vars(self.file)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> WrittenShard:
        """The reverse of `to_json`."""
        return cls(**{**told, "file": StoreFile(**told["file"])})


def plan_shards(domain: str, split: str, rows: int) -> list[ShardPlan]:
    """The shards that so many rows of a domain and split become, at least one."""
    # n // 1000 shards hold 1,000 to 1,999 rows each. Within one, row groups of at most 256 rows
    # that are equal to within one hold at least 128, unless the shard itself is smaller.
    sizes = even_sizes(rows, max(1, rows // ROWS_PER_SHARD))
    return [
        ShardPlan(
            f"data/{domain}/{split}-{at:05d}-of-{len(sizes):05d}.parquet",
            domain,
            split,
            tuple(even_sizes(size, max(1, -(-size // ROWS_PER_GROUP)))),
        )
        for at, size in enumerate(sizes)
    ]


def _write_part(journal: Journal, part: Part, writers: Threads, of: str) -> Iterator[WrittenShard]:
    plans = plan_shards(part.domain, part.split, part.rows)
    parts = cut(part.batches, [size for plan in plans for size in plan.groups])
    (journal.root / "data" / part.domain).mkdir(parents=True, exist_ok=True)
    named = ((plan, [next(parts) for _ in plan.groups]) for plan in plans)
    for _, written in journal.in_order(
        partial(_write_held, journal.root),
        named,
        writers,
        task=lambda held: task_name("shard", of, held[0]),
        files=lambda held: [held[0].name],
        told=lambda written: written.file.content,
        as_json=WrittenShard.to_json,
        from_json=WrittenShard.from_json,
    ):
        yield written


def _write_held(root: Path, held: tuple[ShardPlan, list[list[pa.RecordBatch]]]) -> WrittenShard:
    return write_shard(root, *held)


def write_shard(root: Path, plan: ShardPlan, groups: Iterable[list[pa.RecordBatch]]) -> WrittenShard:
    """Write one shard, whose folder is there; it has its name once it is whole.

    Args:
        groups: the batches of each row group.
    """
    with placed(root / plan.name) as temporary:
        counts = _write_groups(temporary, groups)
    file = describe_file(root, plan.name, "data", domain=plan.domain, split=plan.split, **counts.of_file)
    return WrittenShard(file, counts.models, counts.judges, counts.largest)


@dataclass
class _Counts:
    """What is in a shard."""

    of_file: Counter[str]
    models: Counter[str]
    judges: Counter[str]
    largest: int = 0


def _write_groups(path: Path, groups: Iterable[list[pa.RecordBatch]]) -> _Counts:
    counts = _Counts(Counter(_OF_FILE), Counter(), Counter())
    with pq.ParquetWriter(
        path,
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
        write_page_checksum=True,
    ) as writer:
        writer.add_key_value_metadata(CHECKSUMS)
        for group in groups:
            table = pa.Table.from_batches(group, RAW_SCHEMA).combine_chunks()
            writer.write_table(table, row_group_size=max(1, table.num_rows))
            answers = table.column("responses").chunk(0).flatten()
            given = pc.struct_field(answers, "scores").flatten()
            compared = table.column("comparisons").chunk(0).flatten()
            _count(counts.models, pc.struct_field(answers, "model"))
            _count(counts.judges, pc.struct_field(given, "judge"))
            _count(counts.judges, pc.struct_field(compared, "judge"))
            counts.largest = max(counts.largest, _largest_margin(compared))
            for batch in table.to_batches():
                more_than_a_query, more_than_text = conversation_masks(batch)
                counts.of_file["conversations"] += int(more_than_a_query.sum())
                counts.of_file["with_tools"] += int(more_than_text.sum())
            for unit, number in (
                ("rows", table.num_rows),
                ("queries", table.num_rows),
                ("responses", len(answers)),
                ("scores", len(given)),
                ("comparisons", len(compared)),
            ):
                counts.of_file[unit] += number
    return counts


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


def _largest_margin(comparisons: pa.StructArray) -> int:
    """The largest difference between both scores of a comparison, on the grid; 0 where there is none."""
    first, second = (
        np.rint(pc.struct_field(comparisons, name).to_numpy(zero_copy_only=False) * SCORE_GRID)
        for name in ("first_score", "second_score")
    )
    margins = np.abs(first - second)
    return int(margins[~np.isnan(margins)].max(initial=0))


def _count(counter: Counter[str], names: pa.StringArray) -> None:
    for found in pc.value_counts(names).to_pylist():
        counter[found["values"]] += found["counts"]


def store_readme(manifest: Manifest) -> str:
    """A dataset card that lets the stock datasets library load every domain's raw rows."""
    configs = []
    for domain in manifest.domains:
        files = manifest.data_files(domain)
        splits = dict.fromkeys(file.split for file in files)
        told = told_of_rows(file.sha256 for file in files)
        patterns = [{"split": split, "path": f"data/{domain}/{split}-*.parquet"} for split in splits]
        configs.append({"config_name": domain + RAW_SUFFIX, "description": told, "data_files": patterns})
    head = front_matter({"configs": configs, "language": ["zh"]})
    example = manifest.domains[0] if manifest.domains else "chat"
    by_comparisons = manifest.comparison_threshold
    one = by_comparisons in (None, manifest.default_threshold)
    given = f", threshold={manifest.default_threshold:g}" if one else ""  # a threshold that is given is for both
    return f"""{head}
# A coig_p store

One row per query, with every response and every judge's score. Pairs are made when they are loaded:

```python
import coig_p
from datasets import load_dataset

pairs = load_dataset("coig-p", "{example}", data_dir="PATH/OR/REPO"{given})
```

The rows themselves need no package but `datasets`: `load_dataset("PATH/OR/REPO", "{example}{RAW_SUFFIX}")`.
"""
