"""Run the rules over a store, shard by shard, in one process or several."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from coig_p.errors import UnknownNameError, UsageError
from coig_p.store.manifest import Manifest, StoreFile
from coig_p.store.store import Store, shard_batches
from coig_p.validation.checks import CHECKS
from coig_p.validation.checks.rows import BatchView
from coig_p.validation.checks.texts import Texts
from coig_p.validation.checks.totals import Totals
from coig_p.validation.findings import FINDINGS, Report, from_hits, from_remarks, from_spots, ordered
from coig_p.validation.rules import Rule, load_rules

BATCH_SIZE = 32  # queries: some hundred thousand characters, which a processor's caches hold


def check(
    store: str | Path | Store,
    *,
    rules: Mapping[str, Rule] | Path | None = None,
    domains: Collection[str] = (),
    num_proc: int = 1,
    advance: Callable[[int], None] = lambda queries: None,
) -> Report:
    """Run every rule over a store.

    Args:
        store: a Store, or the directory of one.
        rules: a TOML file with changes, or rules as `load_rules` gives them.
        domains: these alone; all where none is named. Totals are then of these.
        num_proc: processes that share the shards.
        advance: called with the number of queries checked since the last call.

    Raises:
        StoreError: not a store, or a shard that cannot be read.
        UsageError: rules, domains or num_proc that cannot be.
    """
    if num_proc < 1:
        raise UsageError(f"num_proc={num_proc}: use a whole number of 1 or more")
    # A file of another size than the manifest says is a finding here.
    opened = store if isinstance(store, Store) else Store.open(store, check_sizes=False)
    for domain in domains:
        if domain not in opened.manifest.domains:
            raise UnknownNameError("domain", domain, opened.manifest.domains)
    chosen = dict(rules) if isinstance(rules, Mapping) else load_rules(rules)
    files = [file for file in opened.data_files() if not domains or file.domain in domains]
    work = partial(check_shard, opened.path, opened.manifest, chosen)
    totals = Totals(opened.manifest, problems=opened.verify())
    tables = []
    for file, (table, counted) in zip(files, _each(work, files, min(num_proc, len(files))), strict=True):
        tables.append(table)
        totals.add(counted)
        advance(file.rows or 0)
    tables += [from_remarks(rule, CHECKS[rule.id](totals, **rule.options)) for rule in _over(chosen, "totals")]
    looked_at = [sum(totals.of(kind).values()) for kind in ("rows", "responses")]
    return Report(ordered(tables), chosen, *looked_at)


def _each(work: Callable[[StoreFile], Any], files: list[StoreFile], num_proc: int) -> Iterator[Any]:
    if num_proc <= 1:
        yield from map(work, files)
        return
    # Not fork: Arrow has threads of its own, which a fork would leave behind with their locks held.
    with ProcessPoolExecutor(num_proc, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(work, files)


def check_shard(root: Path, manifest: Manifest, rules: Mapping[str, Rule], file: StoreFile) -> tuple[pa.Table, Totals]:
    """The findings of text and row rules in one shard, and what the total rules need of it."""
    totals = Totals(manifest)
    tables = [FINDINGS.empty_table()]
    for batch in shard_batches(root, file, BATCH_SIZE):
        texts = Texts(batch)
        view = BatchView(batch, texts, manifest)
        totals.observe(view)
        found = [from_hits(rule, CHECKS[rule.id](texts, **rule.options), texts) for rule in _over(rules, "texts")]
        found += [from_spots(rule, CHECKS[rule.id](view, **rule.options), view) for rule in _over(rules, "rows")]
        tables += [table for table in found if table.num_rows]
    return pa.concat_tables(tables).combine_chunks(), totals


def _over(rules: Mapping[str, Rule], over: str) -> list[Rule]:
    return [rule for rule in rules.values() if rule.over == over]
