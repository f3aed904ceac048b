"""A store read once says what its check, its statistics and its sweep say, each on its own."""

from __future__ import annotations

import pickle
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from make import make_rows, make_store

from coig_p.engine.local import Processes
from coig_p.pairs.config import PairConfig
from coig_p.publish import one_pass
from coig_p.publish.one_pass import observe_store
from coig_p.stats import batch as observed
from coig_p.stats.counts import statistics
from coig_p.stats.sweep import check_thresholds, default_thresholds, sweep
from coig_p.store.store import Store
from coig_p.validation import check, load_rules

RULES = load_rules()
GOOD = {"first": 0, "second": 1, "judge": "h", "dimension": "overall", "first_score": 1.0, "second_score": 0.0}


def broken_rows() -> list[dict[str, Any]]:
    """Rows with every kind of fault, and among them many without."""
    rows = make_rows({"math": 40, "chat": 25})
    rows[1]["responses"][0]["text"] = None
    rows[2]["query"] = None
    rows[3]["responses"] = []
    rows[4]["responses"][0]["scores"] = None
    for at, score in ((5, float("nan")), (6, float("inf")), (7, None), (8, 1 / 3), (9, 99.0)):
        rows[at]["responses"][0]["scores"] = [{"judge": "judge-a", "dimension": "overall", "score": score}]
    rows[10]["responses"][0]["scores"] = [{"judge": "", "dimension": "overall", "score": 5.0}]
    rows[11]["responses"][1]["model"] = rows[11]["responses"][0]["model"]
    rows[12]["query_id"] = rows[13]["query_id"] = rows[50]["query_id"]
    rows[14]["comparisons"] = [GOOD, GOOD | {"second": 9}, GOOD | {"first": None}, GOOD | {"first_score": None}]
    rows[15]["comparisons"] = [GOOD | {"second": 0}, GOOD | {"judge": "model-0"}]
    return rows


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("observing") / "store"
    return Store.open(make_store(path, broken_rows(), rows_per_shard=9, rows_per_group=4))


@pytest.mark.parametrize("num_proc", [1, 2])
def test_one_reading_says_what_each_of_three_says(broken: Store, num_proc: int) -> None:
    seen: list[int] = []
    config = PairConfig(threshold=1.5, strategy="adjacent")
    found = observe_store(broken, config, RULES, seen.append, Processes(num_proc))
    assert found.report.findings.equals(check(broken).findings)
    assert not found.report.passed
    assert found.report.by_rule()["query-id-twice"] == 1
    assert found.statistics == statistics(broken, config)
    assert found.sweep == sweep(broken, config)
    assert sum(seen) == found.statistics.total.queries == 65


def test_every_shard_is_read_once_and_every_row_paired_once(broken: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read, paired = Counter[str](), Counter[str]()
    shard_batches, find_candidates = one_pass.shard_batches, observed.find_candidates

    def reading(root: Path, file: Any, *more: Any) -> Any:
        read[file.path] += 1
        return shard_batches(root, file, *more)

    def pairing(responses: Any, batch: Any, config: Any) -> Any:
        paired.update(id for id in batch.column("query_id").to_pylist())
        return find_candidates(responses, batch, config)

    monkeypatch.setattr(one_pass, "shard_batches", reading)
    monkeypatch.setattr(observed, "find_candidates", pairing)
    observe_store(broken, PairConfig(threshold=2), RULES, lambda queries: None, Processes(1))
    assert read == dict.fromkeys((file.path for file in broken.data_files()), 1)
    ids = [row["query_id"] for row in broken_rows()]
    assert paired == Counter(ids)


def test_what_is_seen_of_shards_can_be_sent_and_put_together_in_any_order(broken: Store) -> None:
    config = PairConfig(threshold=2)
    wanted = observe_store(broken, config, RULES, lambda queries: None, Processes(1))
    steps = check_thresholds(default_thresholds(broken.manifest))
    files = broken.data_files()
    for seed in range(3):
        rng = random.Random(seed)
        parts = []
        for file in rng.sample(files, len(files)):
            part = one_pass._observe_shard(broken.path, broken.manifest, RULES, config, steps, file)
            parts.append(pickle.loads(pickle.dumps(part)))
        while len(parts) > 1:
            part = parts.pop(rng.randrange(len(parts)))
            parts[rng.randrange(len(parts))].merge(part)
        (one,) = parts
        assert one.counted.result(broken.manifest) == wanted.statistics
        assert one.swept.result(broken.manifest) == wanted.sweep
        assert one.checked.result(broken.path, files, []).findings.equals(wanted.report.findings)
        assert one.memory == wanted.memory
