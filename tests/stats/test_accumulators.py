"""Counted in any order, in any batches, merged in any tree: the same, to the last bit, and what fractions give."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any, TypeVar

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import judges_of, oracle_pairs, response_values, verdicts_of
from strategies import examples, extreme_rows, many_dimension_rows, pair_options, raw_rows

from coig_p.pairs.config import PairConfig
from coig_p.schema import RAW_SCHEMA
from coig_p.stats.agreement import VERDICTS
from coig_p.stats.batch import Observed
from coig_p.stats.counts import StatisticsCounts
from coig_p.stats.sweep import SweepCounts
from coig_p.store.manifest import Manifest, StoreFile
from coig_p.validation import load_rules
from coig_p.validation.checks.totals import Totals
from coig_p.validation.gate import Checked

Rows = list[dict[str, Any]]
Counted = TypeVar("Counted", StatisticsCounts, SweepCounts, Checked, Totals)
DOMAINS, SPLITS = ("chat", "math", "logic"), ("train", "test")
FILES = tuple(StoreFile(f"{at}", "data", "", 0, domain=domain, split=split) for at, (domain, split) in enumerate(
    (domain, split) for split in SPLITS for domain in DOMAINS
))  # fmt: skip
MANIFEST = Manifest(score_range=(1, 10), default_threshold=0.5, tool="test", domains=DOMAINS, files=FILES)
STEPS = (0.0, 0.3333, 0.5, 1.0, 2.0)
ROWS = raw_rows(most_queries=8) | extreme_rows() | many_dimension_rows()


def batch_of(rows: Rows) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA)


def by_place(rows: Rows) -> dict[tuple[str, str], Rows]:
    """Rows by domain and split; every third query is in split test."""
    found: dict[tuple[str, str], Rows] = {}
    for row in rows:
        split = SPLITS[int(row["query_id"].strip("查询-q")) % 3 == 2]
        found.setdefault((row["domain"], split), []).append(row)
    return found


def in_pieces(rows: Rows, seed: int) -> list[tuple[str, str, Rows]]:
    """Rows in another order, cut at random, the pieces in another order again."""
    rng = random.Random(seed)
    pieces: list[tuple[str, str, Rows]] = []
    for (domain, split), own in by_place(rng.sample(rows, len(rows))).items():
        while own:
            size = rng.randint(1, len(own))
            pieces.append((domain, split, own[:size]))
            own = own[size:]
    return rng.sample(pieces, len(pieces))


def merged(parts: list[Counted], seed: int) -> Counted:
    """Any two of the parts become one, until one is left."""
    rng = random.Random(seed)
    while len(parts) > 1:
        one = parts.pop(rng.randrange(len(parts)))
        parts[rng.randrange(len(parts))].merge(one)
    return parts[0]


def counted(
    rows: Rows, nothing: Callable[[], Counted], add: Callable[[Counted, Observed, str, str], None], seed: int | None
) -> Counted:
    """In one batch a domain and split, or, with a seed, in pieces that are merged in some tree."""
    whole = [(domain, split, own) for (domain, split), own in by_place(rows).items()]
    pieces = whole if seed is None else in_pieces(rows, seed)
    parts = [nothing()]
    for domain, split, own in pieces:
        part = nothing()
        add(part, Observed(batch_of(own), STEPS if seed is None else ()), domain, split)
        parts.append(part)
    return merged(parts, seed or 0)


def usable(rows: Rows, options: dict[str, Any]) -> PairConfig:
    """A config of judges that gave something."""
    judges = tuple(sorted(judges_of(rows) & set(options["judges"] or ()))) or None
    return PairConfig(**{**options, "judges": judges})


@examples(30)
@given(ROWS, pair_options(), st.integers(0, 2**32))
def test_statistics_do_not_depend_on_order_batches_or_merging(rows: Rows, options: dict[str, Any], seed: int) -> None:
    config = usable(rows, options)
    both = [
        counted(rows, lambda: StatisticsCounts(config), StatisticsCounts.add, one).result(MANIFEST)
        for one in (None, seed)
    ]
    assert both[0] == both[1]
    assert list(both[0].domains) == list(both[1].domains)
    total = both[0].total
    assert list(total.splits) == [split for split in SPLITS if any(at[1] == split for at in by_place(rows))]
    chosen = {**options, "judges": config.judges}
    assert total.pairs == len(oracle_pairs(rows, **chosen))
    said = verdicts_of(rows, config.threshold or 0, chosen)
    for verdict in VERDICTS:
        share = getattr(total.second_judge, verdict)
        assert (share.n, share.share) == (said.total(), said[verdict] / said.total() if said.total() else None)
    judges = {name for name in judges_of(rows) if config.judges is None or name in config.judges}
    for judge in judges:
        own: list[Fraction] = []
        others: list[Fraction] = []
        for row in rows:
            mine = response_values(row, "mean", (judge,), config.include_self_judged)
            rest = tuple(judges - {judge})
            theirs = response_values(row, "mean", rest, config.include_self_judged) if rest else {}
            own += mine.values()
            others += [mine[at] - theirs[at] for at in mine if at in theirs]
        found = total.judges[judge]
        assert (found.responses, found.offset.n) == (len(own), len(others))
        assert found.mean_score == (float(sum(own, Fraction(0)) / len(own)) if own else None)
        assert found.offset.mean == (float(sum(others, Fraction(0)) / len(others)) if others else None)


@examples(30)
@given(ROWS, pair_options(("all", "adjacent", "best_worst", "best_random")), st.integers(0, 2**32))
def test_a_sweep_does_not_depend_on_order_batches_or_merging(rows: Rows, options: dict[str, Any], seed: int) -> None:
    config = usable(rows, options)

    def add(part: SweepCounts, observed: Observed, domain: str, split: str) -> None:
        part.add(observed)

    one, other = (
        counted(rows, lambda: SweepCounts.nothing(config, STEPS), add, one).result(MANIFEST) for one in (None, seed)
    )
    assert one == other
    assert one.queries == len(rows)
    if config.strategy != "best_random":  # draws are tested against loading
        for row in one.thresholds:
            chosen = {**options, "judges": config.judges, "threshold": row.threshold}
            assert row.pairs == len(oracle_pairs(rows, **chosen))


@examples(10)
@given(ROWS, st.integers(0, 2**32))
def test_a_check_does_not_depend_on_order_batches_or_merging(rows: Rows, seed: int) -> None:
    rules = load_rules()

    def add(part: Checked, observed: Observed, domain: str, split: str) -> None:
        part.add(observed)

    one, other = (counted(rows, lambda: Checked(MANIFEST, rules), add, one) for one in (None, seed))
    assert +one.totals.counts == +other.totals.counts
    assert one.found.result() == other.found.result()


@given(st.lists(st.sampled_from(["a", "b", "c", "甲", None]), max_size=12), st.integers(0, 2**32))
def test_query_ids_that_stand_twice_are_found_in_any_order(ids: list[str | None], seed: int) -> None:
    rng = random.Random(seed)
    parts = [Totals(MANIFEST)]
    for one in ids:
        row: dict[str, Any] = {"query_id": one, "domain": "math", "query": "问", "responses": [], "comparisons": None}
        part = Totals(MANIFEST)
        part.add(Observed(batch_of([row])))
        parts.append(part)
    totals = merged(rng.sample(parts, len(parts)), seed)
    totals.find_twice([pa.array(ids, pa.string())])
    assert totals.twice == {one: times for one, times in Counter(ids).items() if times > 1}


def test_ids_are_read_again_only_where_a_hash_stands_twice() -> None:
    def fail() -> Any:
        pytest.fail("read again")
        yield

    totals = Totals(MANIFEST)
    rows = [{"query_id": f"q{at}", "domain": "math", "query": "问", "responses": []} for at in range(50)]
    totals.add(Observed(batch_of(rows)))
    totals.find_twice(fail())
    assert totals.twice == {}


def test_ids_whose_hashes_are_equal_but_that_differ_do_not_stand_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "coig_p.validation.checks.totals"
    from coig_p.validation.checks.totals import id_hashes

    monkeypatch.setattr(f"{module}.id_hashes", lambda ids: id_hashes(ids) % 2)
    names = [*(f"q{at}" for at in range(9)), "q3"]
    totals = Totals(MANIFEST)
    totals.add(
        Observed(batch_of([{"query_id": one, "domain": "math", "query": "问", "responses": []} for one in names]))
    )
    totals.find_twice([pa.array(names)])
    assert totals.twice == {"q3": 2}


def test_a_batch_of_two_domains_is_counted_by_domain() -> None:
    rows: Rows = [
        {"query_id": f"q{at}", "domain": ("math", "chat")[at % 2], "query": "问", "responses": []} for at in range(5)
    ]
    totals = Totals(replace(MANIFEST, files=()))
    totals.add(Observed(batch_of(rows)))
    assert (totals.total("rows", "math"), totals.total("rows", "chat")) == (3, 2)
