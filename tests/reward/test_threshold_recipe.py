"""The experiment on thresholds: exports of equal pairs, no query both trained on and asked, no optimum by chance."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs" / "recipes"))
import threshold as recipe  # noqa: E402

from coig_p import Store  # noqa: E402


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path, Store, Store]:
    folder = tmp_path_factory.mktemp("threshold")
    store, human = recipe.made(folder, 3.0, 0, 150, "store"), recipe.made(folder, 0.5, 1, 60, "human")
    return recipe.experiment(store, human, folder / "out", [0, 2, 4], [0, 1, 2], 100), folder / "out", store, human


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_exports_hold_the_pairs_that_were_trained_on(found: Any) -> None:
    told, out, store, _ = found
    assert told == json.loads((out / "result.json").read_text("utf-8"))
    for seed in range(3):
        fewest = len(lines(out / "equal-epochs" / "threshold-4" / f"seed-{seed}.jsonl"))
        for threshold in (0, 2, 4):
            every = lines(out / "equal-epochs" / f"threshold-{threshold}" / f"seed-{seed}.jsonl")
            some = lines(out / "equal-pairs" / f"threshold-{threshold}" / f"seed-{seed}.jsonl")
            assert len(every) == told[recipe.EPOCHS][str(threshold)]["pairs"][seed]
            assert len(some) == fewest == told[recipe.PAIRS][str(threshold)]["pairs"][seed]
            assert {json.dumps(row) for row in some} <= {json.dumps(row) for row in every}
            whole = recipe.rows_of(list(recipe.items_at(store, threshold).values()))
            ids = {row["query_id"] for row in every}
            assert len(ids) <= 100
            assert every == [row for row in whole if row["query_id"] in ids]


def test_a_query_that_people_judged_is_not_trained_on(found: Any, tmp_path: Path) -> None:
    told, _, store, human = found
    assert told["barred"] == 0
    barred = recipe.in_both(store, store)
    assert barred == {one for batch in store.batches() for one in batch.column("query_id").to_pylist()}
    with pytest.raises(ValueError, match="min"):
        recipe.experiment(human, human, tmp_path / "out", [], [0], 10)


def test_an_optimum_needs_three_seeds_and_a_difference() -> None:
    query = np.repeat(np.arange(80), 3)
    drawn = np.random.default_rng(0)
    good, bad = np.ones(240), np.where(drawn.random(240) < 0.5, 1.0, -1.0)
    assert recipe.optimum({0: [bad] * 3, 2: [good] * 3, 4: [bad] * 3}, query, 3) == 2
    assert recipe.optimum({0: [bad] * 2, 2: [good] * 2}, query, 2) is None
    nearly = good.copy()
    nearly[0] = -1
    assert recipe.optimum({0: [nearly] * 3, 2: [good] * 3, 4: [bad] * 3}, query, 3) is None
    assert recipe.optimum({2: [good] * 3}, query, 3) is None


def test_it_runs_as_it_stands(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "docs" / "recipes" / "threshold.py"), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [*command, "--queries", "40", "--seeds", "0", "--thresholds", "1,3"], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("no optimum: 3 seeds are needed to name one") == 2
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "is not empty" in again.stderr
