"""Two ways to make pairs of one store, beside all pairs of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from make import make_rows, make_store
from oracle import oracle_pairs

from coig_p.pairs.config import PairConfig
from coig_p.report.one_query import read_query
from coig_p.report.view.compared import KINDS, compare_configs
from coig_p.stats.diff import compare_stores
from coig_p.store.store import Store


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"threshold": 2}, {"threshold": 3}),
        ({"threshold": 3}, {"threshold": 1, "strategy": "adjacent"}),
        ({"threshold": 0.5, "judges": ("judge-a",)}, {"threshold": 0.5, "judges": ("judge-b",)}),
        ({"threshold": 1}, {"threshold": 1}),
    ],
)
def test_equals_all_pairs_of_both(before: dict[str, Any], after: dict[str, Any], tmp_path: Path) -> None:
    rows = make_rows({"math": 40, "chat": 11})
    store = Store.open(make_store(tmp_path / "store", rows))
    sides = []
    for options in (before, after):
        pairs = oracle_pairs(rows, **options)
        sides.append({(pair["query_id"], pair["chosen"], pair["rejected"]) for pair in pairs})
    old, new = sides
    swapped = {(query, rejected, chosen) for query, chosen, rejected in old}
    wanted = {"shared": old & new, "gained": new - old - swapped, "flipped": new & swapped}
    wanted["lost"] = {pair for pair in old - new if (pair[0], pair[2], pair[1]) not in new}
    found = compare_configs(store, PairConfig(**before), PairConfig(**after), first=5)
    assert found.pairs == {kind: len(wanted[kind]) for kind in KINDS}
    assert found.queries == {kind: len({pair[0] for pair in wanted[kind]}) for kind in KINDS}
    assert "judges" not in before or found.pairs["flipped"]
    counts = compare_stores(store, store, PairConfig(**before), PairConfig(**after)).total.pairs  # counts as diff does
    assert found.pairs == {
        "shared": counts.kept,
        "gained": counts.gained,
        "lost": counts.lost,
        "flipped": counts.flipped,
    }
    for kind in KINDS:
        ids = [row["query_id"] for row in rows if row["query_id"] in {pair[0] for pair in wanted[kind]}]
        assert [query_id for _, query_id in found.first[kind]] == ids[:5]
        for place, query_id in found.first[kind]:
            assert read_query(store, place, PairConfig()).raw["query_id"] == query_id
