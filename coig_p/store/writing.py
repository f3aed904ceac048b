"""Rows into shards: equal in rows, deterministic in bytes, the manifest last."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from coig_p.core.arrays import hash64
from coig_p.core.front_matter import front_matter
from coig_p.engine.local import Threads, in_order, threads
from coig_p.schema import RAW_SCHEMA, RAW_SUFFIX, SCHEMA_VERSION, SCORE_GRID
from coig_p.store.conversations import conversation_masks
from coig_p.store.listing import write_manifest
from coig_p.store.manifest import LARGEST_MARGIN, Manifest, StoreFile
from coig_p.store.reading import CHECKSUMS

ROWS_PER_SHARD = 1_000


ROWS_PER_GROUP = 256


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
) -> Manifest:
    """Write a store's shards, README and, last, its manifest into an empty directory.

    Args:
        root: a temporary directory (see `coig_p.core.atomic`); files already in it with a role are
            listed in `manifest.files`.
        manifest: what is known before writing; domains, files and counts are filled in here.
        finish: called with the manifest once all files are known, for what goes by them; what it gives is written.
        num_proc: threads that write shards, at least two; None for as many as there are cores, up to eight. Each holds
            a shard.

    Returns:
        The manifest as it was written, last.
    """
    files: list[StoreFile] = []
    models: Counter[str] = Counter()
    judges: Counter[str] = Counter()
    largest = 0
    writers = threads(num_proc)
    for part in parts:
        for written in _write_part(root, part, writers):
            files.append(written.file)
            models += written.models
            judges += written.judges
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


class _Shard(NamedTuple):
    """Rows on their way to a file: one list of batches for each row group."""

    name: str
    part: Part
    groups: list[list[pa.RecordBatch]]


class _Written(NamedTuple):
    """A file, how often each model and judge is in it, and the largest margin of its comparisons on the grid."""

    file: StoreFile
    models: Counter[str]
    judges: Counter[str]
    largest: int


def _write_part(root: Path, part: Part, writers: Threads) -> Iterator[_Written]:
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
    for _, written in in_order(partial(_write_shard, root), named, writers):
        yield written


def _write_shard(root: Path, shard: _Shard) -> _Written:
    models: Counter[str] = Counter()
    judges: Counter[str] = Counter()
    rows = responses = scores = comparisons = conversations = with_tools = largest = 0
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
        write_page_checksum=True,
    ) as writer:
        writer.add_key_value_metadata(CHECKSUMS)
        for group in shard.groups:
            table = pa.Table.from_batches(group, RAW_SCHEMA).combine_chunks()
            writer.write_table(table, row_group_size=max(1, table.num_rows))
            answers = table.column("responses").chunk(0).flatten()
            given = pc.struct_field(answers, "scores").flatten()
            compared = table.column("comparisons").chunk(0).flatten()
            _count(models, pc.struct_field(answers, "model"))
            _count(judges, pc.struct_field(given, "judge"))
            _count(judges, pc.struct_field(compared, "judge"))
            largest = max(largest, _largest_margin(compared))
            for batch in table.to_batches():
                more_than_a_query, more_than_text = conversation_masks(batch)
                conversations += int(more_than_a_query.sum())
                with_tools += int(more_than_text.sum())
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
        conversations=conversations,
        with_tools=with_tools,
    )
    return _Written(file, models, judges, largest)


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
