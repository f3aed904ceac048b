"""Wins and agreement, beside every pair counted by hand."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import Rows, make_rows, make_store
from oracle import judge_margins, oracle_pairs
from strategies import examples, raw_rows

from coig_p.pairs.config import PairConfig
from coig_p.schema import RAW_SCHEMA
from coig_p.stats.matrix import Matrices, matrices
from coig_p.store.store import Store


def expected(rows: Rows, threshold: float) -> Matrices:
    wins = Counter((pair["chosen_model"], pair["rejected_model"]) for pair in oracle_pairs(rows, threshold=threshold))
    verdicts: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        judges = {score["judge"] for answer in row["responses"] or [] for score in answer["scores"] or []}
        judges |= {one["judge"] for one in row["comparisons"] or []}
        for kind in ("scores", "comparisons"):
            for judge, other in combinations(sorted(judges), 2):
                mine, theirs = judge_margins(row, judge, kind), judge_margins(row, other, kind)
                for pair in mine.keys() & theirs.keys():
                    both = mine[pair] * theirs[pair]
                    counts = verdicts.setdefault((judge, other), [0, 0, 0])
                    counts[0 if both > 0 else 1 if both == 0 else 2] += 1
    return Matrices.from_dict(
        {
            "wins": [[*models, number] for models, number in wins.items()],
            "verdicts": [[*judges, *counts] for judges, counts in verdicts.items()],
        }
    )


@examples(100)
@given(raw_rows(), st.sampled_from([0, 0.5, 2]))
def test_equals_every_pair_counted(rows: Rows, threshold: float) -> None:
    found = Matrices()
    found.add(pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA), PairConfig(threshold=threshold))
    assert found == expected(rows, threshold)
    assert Matrices.from_dict(found.to_dict()) == found


def test_of_a_store_in_any_number_of_processes(tmp_path: Path) -> None:
    rows = make_rows({"math": 35, "chat": 9})
    store = Store.open(make_store(tmp_path / "store", rows))
    seen: list[int] = []
    found = matrices(store, advance=seen.append)
    assert found == expected(rows, 2)
    assert sum(seen) == len(rows)
    assert matrices(store, num_proc=2) == found
    assert matrices(store, PairConfig(threshold=3), domains=["chat"]).wins == expected(rows[35:], 3).wins


def test_shares() -> None:
    found = Matrices.from_dict({"wins": [["a", "b", 3], ["b", "a", 1]], "verdicts": [["j", "k", 6, 2, 2]]})
    assert found.win_rate("a", "b") == pytest.approx(0.75)
    assert found.win_rate("b", "a") == pytest.approx(0.25)
    assert found.win_rate("a", "c") is None
    assert found.agreement("k", "j").share == pytest.approx(0.75)
    assert found.agreement("k", "j").pairs == 10
    assert found.agreement("k", "l").share is None
