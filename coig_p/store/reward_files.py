"""Files of rewards, written: for a shard its responses' names and hashes, with what a model gave each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from coig_p.core.atomic import placed
from coig_p.schema import PAIRING_SCHEMA
from coig_p.store.manifest import Manifest, StoreFile
from coig_p.store.reading import CHECKSUMS
from coig_p.store.rewards import OF_SHARD, REWARD_SCHEMA, REWARDS, prompt_hashes, reward_path, text_hashes
from coig_p.store.store import shard_batches
from coig_p.store.writing import sha256_of

KEY_SCHEMA = pa.schema([REWARD_SCHEMA.field(at) for at in range(5)])
"""What names a response and what was scored of it: the columns of REWARD_SCHEMA before the reward."""

_ROWS_PER_GROUP = 1 << 16


def keys_of(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A row of KEY_SCHEMA for each response of a batch, in order.

    Args:
        batch: of PAIRING_SCHEMA, or more.
    """
    responses = batch.column("responses")
    sizes = pc.fill_null(pc.list_value_length(responses), 0).to_numpy(zero_copy_only=False)
    of_row = pa.array(np.repeat(np.arange(batch.num_rows), sizes))
    flat = responses.flatten()
    prompts = pa.array(prompt_hashes(batch), pa.string()).take(of_row)
    texts = pa.array(text_hashes(flat), pa.string())
    names = [batch.column("query_id").take(of_row), flat.field("model"), flat.field("sample")]
    return pa.RecordBatch.from_arrays([*names, prompts, texts], schema=KEY_SCHEMA)


def shard_keys(root: Path, shard: StoreFile) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """The rows of a shard of the store at `root`, batch by batch, with the `keys_of` each.

    Raises:
        StoreError: it cannot be read.
    """
    for batch in shard_batches(root, shard, 256, PAIRING_SCHEMA):
        yield batch, keys_of(batch)


def with_values(
    keys: pa.RecordBatch, reward: pa.Array, reason: pa.Array, truncated: pa.Array | None = None
) -> pa.RecordBatch:
    """Rows of REWARD_SCHEMA.

    Args:
        keys: of KEY_SCHEMA.
        reward: null where there is none; `reason` is null where there is one.
        truncated: default that nothing was.
    """
    if truncated is None:
        truncated = pa.array(np.zeros(keys.num_rows, bool))
    return pa.RecordBatch.from_arrays([*keys.columns, reward, reason, truncated], schema=REWARD_SCHEMA)


def write_rewards(
    root: Path, name: str, shard: StoreFile, rows: Iterable[pa.RecordBatch], folder: Path | None = None
) -> StoreFile:
    """Write the rewards of a shard into the store at `root`; the same rows and versions give the same bytes.

    Args:
        rows: of REWARD_SCHEMA, one for each response, in the shard's order.
        folder: what is to become rewards/<name> of the store; default: that folder.

    Returns:
        The manifest's line for the file.
    """
    named = reward_path(name, shard)
    path = root / named if folder is None else folder / Path(named).relative_to(f"{REWARDS}/{name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_batches(rows, REWARD_SCHEMA).combine_chunks()
    if table.num_rows != (shard.responses or 0):
        raise AssertionError(f"{table.num_rows} rewards for {shard.responses} responses")
    with (
        placed(path) as temporary,
        pq.ParquetWriter(
            temporary,
            REWARD_SCHEMA,
            compression="zstd",
            compression_level=3,
            use_dictionary=["query_id", "model", "prompt_sha256", "reason"],
            write_statistics=False,
            write_page_checksum=True,
        ) as writer,
    ):
        writer.add_key_value_metadata(CHECKSUMS | {OF_SHARD: shard.sha256})
        writer.write_table(table, row_group_size=_ROWS_PER_GROUP)
    return StoreFile(
        path=named,
        role=REWARDS,
        sha256=sha256_of(path),
        bytes=path.stat().st_size,
        rows=table.num_rows,
        domain=shard.domain,
        split=shard.split,
    )


def with_rewards(manifest: Manifest, name: str, told: Mapping[str, Any], files: Iterable[StoreFile]) -> Manifest:
    """The manifest with these files of rewards, and what is told of them, in place of any others of this name."""
    left = without_rewards(manifest, name)
    return replace(left, files=(*left.files, *files), rewards=dict(sorted({**left.rewards, name: told}.items())))


def without_rewards(manifest: Manifest, name: str) -> Manifest:
    """The manifest without the rewards of this name."""
    files = (file for file in manifest.files if not is_of(file, name))
    return replace(
        manifest,
        files=tuple(files),
        rewards={other: told for other, told in manifest.rewards.items() if other != name},
    )


def is_of(file: StoreFile, name: str) -> bool:
    """Whether a file holds rewards of this name."""
    return file.role == REWARDS and file.path.startswith(f"{REWARDS}/{name}/")
