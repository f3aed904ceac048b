"""Small stores for tests."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq

from coig_p.core.atomic import atomic_directory
from coig_p.schema import RAW_SCHEMA, RAW_SCHEMAS
from coig_p.store import writing
from coig_p.store.manifest import MANIFEST, Manifest, StoreFile
from coig_p.store.reading import conformed
from coig_p.store.writing import Part, describe_file, write_store

Row = dict[str, Any]
Rows = list[Row]


def completed(rows: Rows) -> Rows:
    """The rows with every column of RAW_SCHEMA: what they do not have is null, and sample 0."""
    return pa.RecordBatch.from_pylist([_numbered(row) for row in rows], schema=RAW_SCHEMA).to_pylist()


def _numbered(row: Row) -> Row:
    answers = row["responses"]
    return row | {"responses": answers and [{"sample": 0, **answer} for answer in answers]}


def make_rows(queries: Mapping[str, int], seed: int = 0) -> list[Row]:
    """Raw rows: five models of known strength, two or three judges, half points, a few unscored responses."""
    rng = random.Random(seed)
    rows = []
    for domain, number in queries.items():
        for at in range(number):
            responses = []
            for model in rng.sample(range(5), rng.randint(3, 5)):
                judges = rng.sample(["judge-a", "judge-b", "model-0"], rng.choice([0, 2, 2, 2, 3]))
                scores = [
                    {
                        "judge": judge,
                        "dimension": "overall",
                        "score": min(10, max(1, round(2 * (3 + model + rng.gauss(0, 1))) / 2)),
                    }
                    for judge in judges
                ]
                text = f"回答{rng.randint(0, 10**6)}。" * rng.randint(1, 12)
                responses.append({"model": f"model-{model}", "text": text, "scores": scores})
            rows.append(
                {
                    "query_id": f"{domain}-{at:04d}",
                    "domain": domain,
                    "query": f"问题{at}：{domain}？",
                    "source": None,
                    "responses": responses,
                    "comparisons": None,
                }
            )
    return completed(rows)


def make_store(
    path: Path, rows: list[Row], *, rows_per_shard: int = 10, rows_per_group: int = 4, default_threshold: float = 2
) -> Path:
    """Write a store of `rows`, all in split train, with shards as small as asked for."""
    domains = dict.fromkeys(row["domain"] for row in rows)
    parts = []
    for domain in domains:
        own = completed([row for row in rows if row["domain"] == domain])
        parts.append(Part(domain, "train", len(own), [pa.RecordBatch.from_pylist(own, schema=RAW_SCHEMA)]))
    with (
        mock.patch.object(writing, "ROWS_PER_SHARD", rows_per_shard),
        mock.patch.object(writing, "ROWS_PER_GROUP", rows_per_group),
        atomic_directory(path) as root,
    ):
        write_store(root, parts, Manifest(score_range=(1, 10), default_threshold=default_threshold, tool="test"))
    return path


def listed(path: Path) -> StoreFile:
    """What a manifest says of it."""
    content = path.read_bytes()
    return StoreFile(path.name, "data", hashlib.sha256(content).hexdigest(), len(content))


def make_old_store(path: Path, rows: list[Row], *, rows_per_shard: int = 10) -> Path:
    """Write a store of schema version 1, as packages of that version did: its columns, and counts of these alone."""
    columns = RAW_SCHEMAS[1]
    files, domains = [], list(dict.fromkeys(row["domain"] for row in rows))
    with atomic_directory(path) as root:
        for domain in domains:
            own = completed([row for row in rows if row["domain"] == domain])
            shards = [own[at : at + rows_per_shard] for at in range(0, len(own), rows_per_shard)]
            (root / "data" / domain).mkdir(parents=True)
            for index, shard in enumerate(shards):
                name = f"data/{domain}/train-{index:05d}-of-{len(shards):05d}.parquet"
                batch = conformed(pa.RecordBatch.from_pylist(shard, schema=RAW_SCHEMA), columns)
                with pq.ParquetWriter(root / name, columns, compression="zstd", write_page_index=True) as writer:
                    writer.write_table(pa.Table.from_batches([batch]), row_group_size=4)
                answers = [answer for row in shard for answer in row["responses"] or ()]
                counts = {
                    "rows": len(shard),
                    "queries": len(shard),
                    "responses": len(answers),
                    "scores": sum(len(answer["scores"] or ()) for answer in answers),
                    "comparisons": sum(len(row["comparisons"] or ()) for row in shard),
                }
                files.append(describe_file(root, name, "data", domain=domain, split="train", **counts))
        manifest = Manifest(
            score_range=(1, 10),
            default_threshold=2,
            tool="coig-p 0.9.0",
            schema_version=1,
            domains=tuple(domains),
            files=tuple(files),
        )
        (root / "README.md").write_text(writing.store_readme(manifest), encoding="utf-8")
        readme = describe_file(root, "README.md", "readme")
        manifest = replace(manifest, files=(*files, readme))
        (root / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return path


_EVEN_MODELS = ("lan", "mei", "zhu", "ju")


def twin() -> Rows:
    """A store without a fault: two domains, four models of even strength, two judges."""
    rows = []
    for at in range(24):
        responses = []
        for nth, model in enumerate(_EVEN_MODELS):
            value = 3.0 + 2 * ((nth + at) % 4)
            # The better answer is the longer in half of the queries, so that length says nothing.
            length = (nth + at) % 4 if at % 8 < 4 else 3 - (nth + at) % 4
            text = f"先看第{at}题的条件，{'再想一想办法，' * length}最后由{'甲乙丙丁'[nth]}同学写下答案。"
            scores = [{"judge": judge, "dimension": "overall", "score": value} for judge in ("pan-a", "pan-b")]
            responses.append({"model": model, "text": text, "scores": scores})
        rows.append(
            {
                "query_id": f"q-{at:02d}",
                "domain": "math" if at % 2 else "chat",
                "query": f"请解释第{at}道题应该怎样做？",
                "source": None,
                "responses": responses,
                "comparisons": None,
            }
        )
    return completed(rows)
