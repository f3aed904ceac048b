"""Weights at load time: exact counts, dealt evenly over queries, the same rows shuffled or not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from streaming import NAMES, key, load

from coig_p.pairs.weights import Pass, parse_weights, passes, rows_shown

WEIGHTS = [{"math": 2}, {"math": 2, "chat": 0.5}, {"math": 0.37, "chat": 0}, {"chat": 2.5}, {"math": 0.0001}]


@pytest.mark.parametrize(
    ("weights", "form"), [*((weights, "dpo") for weights in WEIGHTS), (WEIGHTS[1], "kto"), (WEIGHTS[2], "kto")], ids=str
)
def test_weights_give_exact_counts_map_style_and_streaming(
    store: Path, cache: str, weights: dict[str, float], form: str
) -> None:
    names = NAMES if form == "dpo" else ("query_id", "model", "label")
    natural: dict[str, Counter[Any]] = {"math": Counter(), "chat": Counter()}
    for row in load(store, "all", format=form):
        natural[row["domain"]][tuple(row[name] for name in names)] += 1
    found = list(load(store, "all", weights=weights, format=form))
    assert load(store, "all", weights=weights, format=form, streaming=False, cache_dir=cache).to_list() == found
    shown: dict[str, Counter[Any]] = {"math": Counter(), "chat": Counter()}
    for row in found:
        shown[row["domain"]][tuple(row[name] for name in names)] += 1
    for domain, once in natural.items():
        weight = weights.get(domain, 1)
        assert shown[domain].total() == int(once.total() * weight + 0.5) == rows_shown(once.total(), weight)
        assert all(int(weight) <= shown[domain][row] <= -(-weight // 1) for row in once)


def test_a_share_is_dealt_evenly_over_queries(store: Path) -> None:
    natural = Counter(row["query_id"] for row in load(store, "all"))
    shown = Counter(row["query_id"] for row in load(store, "all", weights={"math": 0.5, "chat": 0.5}))
    assert all(abs(shown[query] - number / 2) < 1 for query, number in natural.items())


def test_weights_as_text_and_shuffled_are_the_same_rows(store: Path) -> None:
    weights = {"math": 1.5, "chat": 0.25}
    plain = Counter(map(key, load(store, "all", weights=weights)))
    assert parse_weights("math=1.5, chat=.25") == weights
    mixed = list(load(store, "all", weights="math=1.5,chat=.25", shuffle_seed=5, world_size=3))
    assert Counter(map(key, mixed)) == plain
    assert passes(2.5) == (Pass(0, 10_000), Pass(1, 10_000), Pass(2, 5_000))
