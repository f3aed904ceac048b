"""Runs for the tests of annotation: files, and what a finished run must satisfy."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from coig_p.annotate.asking.ledger import LEDGER, Ledger
from coig_p.annotate.config import RunConfig, load_config
from coig_p.annotate.status import status_of
from coig_p.schema import DOMAINS
from coig_p.store.store import Store

SUBJECTS = ("种茶", "修桥", "观星", "酿酒", "养蚕", "制陶", "行船", "造纸", "听琴", "下棋")
DATA_FILES = ("queries.jsonl", "dropped.jsonl", "rows.jsonl", "missing.jsonl")


def write_queries(folder: Path, number: int) -> None:
    rows = []
    for at in range(number):
        subject = SUBJECTS[at % len(SUBJECTS)]
        query = f"第{at}问：{subject}有什么讲究？{'甲乙丙丁戊己庚辛'[at % 8] * (at // 8 + 1)}"
        rows.append({"query_id": f"q-{at:03d}", "domain": DOMAINS[at % len(DOMAINS)], "query": query})
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "queries.jsonl").write_text("".join(lines), encoding="utf-8")


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {toml(each)}' for key, each in value.items())} }}"
    return "inf" if value == float("inf") else json.dumps(value)


def endpoint(name: str, base_url: str, **settings: Any) -> dict[str, Any]:
    given = {"name": name, "model": name, "base_url": base_url, "family": f"family-{name}", "generates": True}
    return {**given, "parameters": {"max_tokens": 64}, "judge_parameters": {"max_tokens": 64}, **settings}


def write_run(folder: Path, endpoints: list[dict[str, Any]], more: str = "", **tables: Mapping[str, Any]) -> RunConfig:
    """A run of 12 queries unless there are others; `tables` are merged into the defaults, `more` stands behind them."""
    if not (folder / "queries.jsonl").exists():
        write_queries(folder, 12)
    all_tables: dict[str, dict[str, Any]] = {
        "run": {},
        "queries": {"inputs": ["queries.jsonl"], "near_duplicates": 0, "semantic": 0},
        "judging": {"judges_per_response": 2},
    }
    for name, table in tables.items():
        all_tables[name] = {**all_tables.get(name, {}), **table}
    lines = []
    for name, table in all_tables.items():
        lines += [f"[{name}]", *(f"{key} = {toml(value)}" for key, value in table.items())]
    for one in endpoints:
        lines += ["[[endpoints]]", *(f"{key} = {toml(value)}" for key, value in one.items())]
    lines.append(more)
    (folder / "run.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load_config(folder / "run.toml")


def pool(base_url: str, models: int, judges: int, **settings: Any) -> list[dict[str, Any]]:
    return [endpoint(f"m-{at}", base_url, judges=at < judges, **settings) for at in range(models)]


def rows_of(config: RunConfig) -> list[dict[str, Any]]:
    return [row for batch in Store.open(config.folder / "store").batches() for row in batch.to_pylist()]


def data_files(config: RunConfig) -> dict[str, bytes]:
    """Every final data file by its name in the run's folder."""
    paths = [config.folder / name for name in DATA_FILES]
    paths += [path for path in (config.folder / "store").rglob("*") if path.is_file()]
    return {path.relative_to(config.folder).as_posix(): path.read_bytes() for path in paths}


def select(config: RunConfig, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a run's ledger, read past the package."""
    with closing(sqlite3.connect(config.folder / LEDGER, isolation_level=None)) as connection:
        return connection.execute(sql).fetchall()


def check_accounts(config: RunConfig) -> dict[str, Any]:
    """asked = answered + invalid + failed for every endpoint, counted in two tables; the status."""
    with Ledger.open(config.folder) as ledger:
        found = status_of(config, ledger).to_dict()
    tried = dict(select(config, "SELECT endpoint, COUNT(DISTINCT key) FROM attempts GROUP BY 1"))
    for name, one in found["endpoints"].items():
        assert one["asked"] == one["answered"] + one["invalid"] + one["failed"], name
        assert one["asked"] == tried.get(name, 0), name
        assert one["in_flight"] == 0
    return found
