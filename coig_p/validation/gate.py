"""Run the rules over a store, shard by shard, in one process or several."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path

from coig_p.engine.local import Processes, check_num_proc, held
from coig_p.engine.sorting import Sorting
from coig_p.errors import UnknownNameError
from coig_p.schema import RAW_SCHEMA, without
from coig_p.stats.batch import Observed
from coig_p.store.fetching import over_shards
from coig_p.store.manifest import Manifest, StoreFile
from coig_p.store.reading import part_of
from coig_p.store.sharing import LOOKED_AT, workers_for
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import ROWS_PER_GROUP
from coig_p.validation.checks import CHECKS
from coig_p.validation.checks.rows import BatchView
from coig_p.validation.checks.texts import Texts
from coig_p.validation.checks.totals import Totals
from coig_p.validation.findings import Report, from_hits, from_remarks, from_spots, sorting
from coig_p.validation.rules import Rule, load_rules

CHECKED = without(RAW_SCHEMA, {"dimension"})
"""What rules look at."""

TEXTS_OF = 32  # queries at once: some hundred thousand characters, which a processor's caches hold


def check(
    store: str | Path | Store,
    *,
    rules: Mapping[str, Rule] | Path | None = None,
    domains: Collection[str] = (),
    num_proc: int | None = 1,
    engine: Executor | None = None,
    advance: Callable[[int], None] = lambda queries: None,
) -> Report:
    """Run every rule over a store.

    Args:
        store: a Store, or the directory of one.
        rules: a TOML file with changes, or rules as `load_rules` gives them.
        domains: these alone; all where none is named. Totals are then of these.
        num_proc: processes that share the shards; None for as many as pay (see `coig_p.store.sharing`).
        engine: an executor that takes the work in their place, as `coig_p.engine.ray.RayExecutor`.
        advance: called with the number of queries checked since the last call.

    Returns:
        Every finding, worst first, in an order that neither shards nor processes change.

    Raises:
        StoreError: not a store, or a shard that cannot be read.
        UsageError: rules, domains or num_proc that cannot be.
    """
    check_num_proc(num_proc)
    # A file of another size than the manifest says is a finding here.
    opened = store if isinstance(store, Store) else Store.open(store, check_sizes=False)
    for domain in domains:
        if domain not in opened.manifest.domains:
            raise UnknownNameError("domain", domain, opened.manifest.domains)
    chosen = dict(rules) if isinstance(rules, Mapping) else load_rules(rules)
    files = [file for file in opened.data_files() if not domains or file.domain in domains]
    given = (replace(opened.manifest, files=()), chosen)
    checked = Checked(opened.manifest, chosen)
    with held(workers_for(files, num_proc, engine, a_second=LOOKED_AT)) as workers:
        problems = opened.verify(num_proc=num_proc, workers=None if workers == Processes(1) else workers)
        for file, part in over_shards(_check_shard, opened.path, given, files, workers):
            checked.merge(part)
            advance(file.rows or 0)
    return checked.result(opened.path, files, problems)


@dataclass
class Checked:
    """What the rules found in a part of a store: an accumulator.

    Attributes:
        manifest: the store's; where batches are added its files are not read.
        rules: those that run.
        totals: what the rules over totals need.
        found: findings of the others.
    """

    manifest: Manifest
    rules: Mapping[str, Rule]
    totals: Totals = field(init=False)
    found: Sorting = field(default_factory=sorting)

    def __post_init__(self) -> None:
        self.totals = Totals(self.manifest)

    def add(self, observed: Observed) -> None:
        """Run the rules over a batch."""
        self.totals.add(observed)
        view = BatchView(observed, self.manifest)
        for rule in self._over("rows"):
            spots = list(CHECKS[rule.id](view, **rule.options))
            if spots:
                self.found.add(from_spots(rule, spots, view))
        words = self.rules.get("words")
        every_note = words is not None and bool(words.options["words"])  # words may stand where no number does
        for begin in range(0, observed.batch.num_rows, TEXTS_OF):
            texts = Texts(observed.batch.slice(begin, TEXTS_OF), every_note)
            for rule in self._over("texts"):
                hits = CHECKS[rule.id](texts, **rule.options)
                if len(hits.text):
                    self.found.add(from_hits(rule, hits, texts))

    def merge(self, other: Checked) -> None:
        """Take in what was found elsewhere."""
        self.totals.merge(other.totals)
        self.found.merge(other.found)

    def compact(self) -> None:
        """Hold what was found in one table: many of few rows take a megabyte a shard once they were sent here."""
        self.found.compact()

    def result(self, root: Path, files: Sequence[StoreFile], problems: Sequence[str]) -> Report:
        """What is reported, once every batch of `files` was added.

        Args:
            root: of the store; its query_ids are read again where some seem to stand twice.
            problems: what `Store.verify` found.
        """
        self.totals.problems = problems
        self.totals.find_twice(
            batch.column("query_id")
            for file in files
            for batch in shard_batches(root, file, None, part_of(RAW_SCHEMA, "query_id"))
        )
        for rule in self._over("totals"):
            self.found.add(from_remarks(rule, CHECKS[rule.id](self.totals, **rule.options)))
        queries, responses = (sum(self.totals.of(kind).values()) for kind in ("rows", "responses"))
        return Report(self.found.result(), self.rules, queries, responses)

    def _over(self, over: str) -> list[Rule]:
        return [rule for rule in self.rules.values() if rule.over == over]


def _check_shard(root: Path, manifest: Manifest, rules: Mapping[str, Rule], file: StoreFile) -> Checked:
    checked = Checked(manifest, rules)
    for batch in shard_batches(root, file, ROWS_PER_GROUP, CHECKED):
        checked.add(Observed(batch))
    checked.compact()
    return checked
