"""What the card of a release says of its files: the configs that a stock library loads, an example, a preview."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from coig_p.report.card import PREVIEWED, Config
from coig_p.schema import RAW_SUFFIX
from coig_p.store.conversations import transcript
from coig_p.store.manifest import StoreFile
from coig_p.store.writing import told_of_rows
from coig_p.validation import Report

_EXAMPLE_AMONG = 2_000
_EXAMPLE_LENGTH = 400


def configs(files: Sequence[StoreFile], memory: Mapping[str, int]) -> list[Config]:
    """Every config that the stock library is told of: a domain's pairs, its raw rows, and all pairs.

    Args:
        memory: num_bytes of every shard by its path.
    """

    def config(name: str, own: Sequence[StoreFile], raw: bool) -> Config:
        splits = list(dict.fromkeys(str(file.split) for file in own))

        def patterns(split: str) -> list[str]:
            # Every folder by its name: one that begins with __ is what a * passes over.
            folders = dict.fromkeys(file.path.rpartition("/")[0] for file in own if file.split == split)
            return [f"{folder}/{split}-*.parquet" for folder in folders]

        def summed(value: Callable[[StoreFile], int]) -> dict[str, int]:
            return {split: sum(value(file) for file in own if file.split == split) for split in splits}

        return Config(
            name=name,
            files={split: patterns(split) for split in splits},
            rows=summed(lambda file: file.rows or 0),
            memory=summed(lambda file: memory[file.path]),
            size=summed(lambda file: file.bytes),
            raw=raw,
            told=told_of_rows(file.sha256 for file in own),
        )

    pairs = [file for file in files if file.role == "pairs"]
    found = [config("default", pairs, raw=False)] if pairs else []
    data_of, pairs_of = (_by_domain(files, role) for role in ("data", "pairs"))
    for domain, data in data_of.items():
        if domain in pairs_of:
            found.append(config(domain, pairs_of[domain], raw=False))
        found.append(config(domain + RAW_SUFFIX, data, raw=True))
    return found


def _by_domain(files: Sequence[StoreFile], role: str) -> dict[str, list[StoreFile]]:
    found: dict[str, list[StoreFile]] = {}
    for file in files:
        if file.role == role:
            found.setdefault(str(file.domain), []).append(file)
    return found


def shown(root: Path, files: Sequence[StoreFile], report: Report) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """The example of a card, and its preview, of the first pairs of every domain; there is a pair.

    About neither has any rule anything to say; the example is short, and where there is none such, the first pair. The
    preview has at most PREVIEWED pairs, as many of every domain as there are, one a query.
    """
    first: Mapping[str, Any] | None = None
    example: Mapping[str, Any] | None = None
    by_domain: dict[str, dict[str, Mapping[str, Any]]] = {}
    read: Counter[str] = Counter()
    for file in (file for file in files if file.role == "pairs" and file.rows):
        domain = str(file.domain)
        own = by_domain.setdefault(domain, {})
        if len(own) == PREVIEWED or read[domain] >= _EXAMPLE_AMONG:
            continue
        rows = next(pq.ParquetFile(root.absolute() / file.path).iter_batches(_EXAMPLE_AMONG)).to_pylist()
        read[domain] += len(rows)
        suspect = _told_of(report, [row["query_id"] for row in rows])
        for row in map(_as_text, rows):
            first = first or row
            if row["query_id"] in suspect or len(own) == PREVIEWED:
                continue
            own.setdefault(row["query_id"], row)
            if example is None and max(len(row[name]) for name in ("prompt", "chosen", "rejected")) <= _EXAMPLE_LENGTH:
                example = row
    if first is None:
        raise AssertionError("pairs without a pair")  # the gate is shut then
    turns = zip_longest(*(list(own.values()) for own in by_domain.values()))
    among = [row for turn in turns for row in turn if row is not None][:PREVIEWED]
    order = list(by_domain)
    return example or first, sorted(among, key=lambda row: order.index(row["domain"]))


def _told_of(report: Report, ids: Sequence[str]) -> set[str]:
    """Those of some queries about which any rule has anything to say."""
    column = report.findings.column("query_id")
    return set(column.filter(pc.is_in(column, pa.array(ids, pa.string()))).to_pylist())


def _as_text(row: dict[str, Any]) -> dict[str, Any]:
    """A pair as people read it: turns as one text, one user's turn and an answer as their text."""
    shown = {}
    for name, value in row.items():
        if isinstance(value, list):
            turns = [{"role": turn["role"], "content": _said(turn)} for turn in value]
            value = turns[0]["content"] if len(turns) == 1 else transcript(turns)
        shown[name] = value
    return shown


def _said(turn: Mapping[str, Any]) -> str:
    calls = turn.get("tool_calls")
    return f"{turn['content']}{json.dumps(calls, ensure_ascii=False)}" if calls else str(turn["content"])
