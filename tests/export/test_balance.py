"""Exports with lengths balanced: whole counts, drawn by hash, and nothing else changed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from commands import run
from exporting import rows_of
from make import make_rows, make_store
from oracle import oracle_pairs

from coig_p.errors import DataError, UsageError
from coig_p.export.shuffle import Parts, Shuffled, read_run, spill_to, spilled
from coig_p.export.write import ExportConfig, export_store
from coig_p.pairs.config import PairConfig
from coig_p.pairs.plan import ShardConfig
from coig_p.pairs.splits import SplitConfig

Row = dict[str, Any]


def export(store: Path, out: Path, trainer: str = "trl-reward", **options: Any) -> Row:
    return export_store(store, out, ExportConfig(trainer, **{"balance_length": True} | options)).to_dict()


def groups(rows: list[Row]) -> Counter[str]:
    found: Counter[str] = Counter()
    for row in rows:
        difference = len(row["chosen"]) - len(row["rejected"])
        found["longer" if difference > 0 else "shorter" if difference < 0 else "equal"] += 1
    return found


def keys(rows: list[Row]) -> Counter[tuple[str, str, str]]:
    return Counter((row["query_id"], row["chosen"], row["rejected"]) for row in rows)


def tilted(queries: dict[str, int], seed: int = 3) -> list[Row]:
    """Rows in which the better answer is often the longer one, and some are as long."""
    rows = make_rows(queries, seed=seed)
    for at, row in enumerate(rows):
        for nth, answer in enumerate(row["responses"]):
            more = int(answer["model"][-1]) * 2 + (at * 7 + nth * 5) % 13 if at % 3 else 0
            answer["text"] = f"{nth}回答" + "长" * more
    return rows


@pytest.fixture(scope="module")
def tilted_store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    rows = tilted({"math": 60, "chat": 30})
    return make_store(tmp_path_factory.mktemp("tilted") / "store", rows), rows


@pytest.mark.parametrize("trainer", ["trl-reward", "trl-dpo"])
def test_both_groups_are_as_large_as_the_smaller(
    trainer: str, tilted_store: tuple[Path, list[Row]], tmp_path: Path
) -> None:
    store, rows = tilted_store
    pairs = oracle_pairs(rows, threshold=2)
    before = groups(pairs)
    assert before["longer"] > before["shorter"] > 0 < before["equal"]
    written = export(store, tmp_path / "out", trainer)
    found = rows_of(tmp_path / "out")
    after = groups(found)
    assert after == {"longer": before["shorter"], "shorter": before["shorter"], "equal": before["equal"]}
    assert not keys(found) - keys(pairs)
    assert keys([row for row in found if len(row["chosen"]) <= len(row["rejected"])]) == keys(
        [pair for pair in pairs if len(pair["chosen"]) <= len(pair["rejected"])]
    )
    told = written["splits"]["train"]
    assert told["rows"] == len(found) == sum(shard["rows"] for shard in told["shards"])
    gone = Counter(pair["domain"] for pair in pairs) - Counter(row["domain"] for row in found)
    assert told["balanced"] == {
        **before,
        "left_out": before["longer"] - before["shorter"],
        "left_out_by_domain": {"math": gone["math"], "chat": gone["chat"]},
    }
    assert told["rows_by_domain"] == dict(
        Counter(row["domain"] for row in sorted(found, key=lambda row: row["domain"] != "math"))
    )
    assert "as often as the shorter (`--balance-length`)" in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_order_and_shards_change_nothing_and_the_seed_does(
    tilted_store: tuple[Path, list[Row]], tmp_path: Path
) -> None:
    store, rows = tilted_store
    export(store, tmp_path / "one")
    first = keys(rows_of(tmp_path / "one"))
    other = make_store(tmp_path / "other", rows[::-1], rows_per_shard=7, rows_per_group=3)
    export(other, tmp_path / "two", order=ShardConfig(shuffle_seed=5, shards=3))
    assert keys(rows_of(tmp_path / "two")) == first
    export(store, tmp_path / "three", pairs=PairConfig(seed=1))
    assert keys(rows_of(tmp_path / "three")) != first
    again = export(store, tmp_path / "four")
    for shard in again["splits"]["train"]["shards"]:
        assert (tmp_path / "one" / shard["path"]).read_bytes() == (tmp_path / "four" / shard["path"]).read_bytes()


def test_what_stays_is_no_matter_of_the_order_of_rows_in_it(
    tilted_store: tuple[Path, list[Row]], tmp_path: Path
) -> None:
    """The draw and the shuffle are two: rows of the larger group are not all at the front."""
    export(tilted_store[0], tmp_path / "out")
    found = [len(row["chosen"]) > len(row["rejected"]) for row in rows_of(tmp_path / "out")]
    places = np.flatnonzero(found) / len(found)
    assert abs(places.mean() - 0.5) < 0.1


def test_the_shorter_group_may_be_the_larger(tmp_path: Path) -> None:
    rows = tilted({"math": 40})
    for row in rows:
        for answer in row["responses"]:
            answer["text"] = answer["text"][:3] + "短" * (30 - len(answer["text"]))
    before = groups(oracle_pairs(rows, threshold=2))
    assert before["shorter"] > before["longer"] > 0
    told = export(make_store(tmp_path / "store", rows), tmp_path / "out")["splits"]["train"]["balanced"]
    assert told["left_out"] == before["shorter"] - before["longer"]
    after = groups(rows_of(tmp_path / "out"))
    assert after["shorter"] == after["longer"] == before["longer"]


def test_every_split_is_balanced_for_itself(tilted_store: tuple[Path, list[Row]], tmp_path: Path) -> None:
    written = export(tilted_store[0], tmp_path / "out", splits=SplitConfig(test_size=0.3, split_seed=1))
    for name in ("train", "test"):
        found, told = groups(rows_of(tmp_path / "out", name)), written["splits"][name]["balanced"]
        assert found["longer"] == found["shorter"] == min(told["longer"], told["shorter"])


def test_of_weighted_domains_what_is_shown_is_balanced(tilted_store: tuple[Path, list[Row]], tmp_path: Path) -> None:
    written = export(tilted_store[0], tmp_path / "out", weights={"chat": 2.5, "math": 0.5})
    found, told = groups(rows_of(tmp_path / "out")), written["splits"]["train"]
    assert found["longer"] == found["shorter"] == told["balanced"]["shorter"]
    assert told["rows"] == sum(found.values())
    assert told["balanced"]["left_out"] == sum(told["balanced"]["left_out_by_domain"].values())
    # Each showing of a row is drawn for itself, so that the counts can be equal.
    export(tilted_store[0], tmp_path / "thrice", weights={"chat": 3, "math": 3})
    again = rows_of(tmp_path / "thrice")
    assert groups(again)["longer"] == groups(again)["shorter"]
    assert set(keys([row for row in again if len(row["chosen"]) > len(row["rejected"])]).values()) == {1, 2, 3}


def test_other_options_come_first(tilted_store: tuple[Path, list[Row]], tmp_path: Path) -> None:
    store, rows = tilted_store
    told = export(store, tmp_path / "out", pairs=PairConfig(strategy="best_worst", threshold=1), domains=("math",))
    wanted = oracle_pairs([row for row in rows if row["domain"] == "math"], threshold=1, strategy="best_worst")
    assert {one: told["splits"]["train"]["balanced"][one] for one in ("longer", "shorter", "equal")} == groups(wanted)


@pytest.mark.parametrize("trainer", ["trl-kto", "trl-grpo", "llama-factory-kto", "ms-swift-kto", "verl"])
def test_rows_that_are_no_pairs_are_refused(trainer: str, tilted_store: tuple[Path, list[Row]], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"--balance-length\) is of pairs.*: rows of {trainer} are no pairs"):
        export(tilted_store[0], tmp_path / "out", trainer)
    assert not (tmp_path / "out").exists()


def test_where_nothing_is_left_it_is_said(tmp_path: Path) -> None:
    rows = tilted({"math": 20})
    for row in rows:
        for answer in row["responses"]:
            answer["text"] = "长" * (1 + 5 * int(answer["model"][-1]))
    before = groups(oracle_pairs(rows, threshold=4))
    assert set(before) == {"longer"}
    store = make_store(tmp_path / "store", rows)
    with pytest.raises(DataError, match=rf"no rows .*; {before['longer']} were left out to balance lengths"):
        export(store, tmp_path / "out", pairs=PairConfig(threshold=4))
    assert not (tmp_path / "out").exists()


def test_what_is_balanced_is_printed(tilted_store: tuple[Path, list[Row]], tmp_path: Path) -> None:
    store, rows = tilted_store
    before = groups(oracle_pairs(rows, threshold=2))
    asked = ["--for", "trl-dpo", "--balance-length"]
    shown = run("export", store, *asked, "--out", tmp_path / "one").stdout
    gone = before["longer"] - before["shorter"]
    assert (
        f"train: the chosen response was longer in {before['longer']} pairs, shorter in {before['shorter']}, " in shown
    )
    assert f"as long in {before['equal']}; left out to balance them: {gone}" in shown
    told = json.loads(run("export", store, *asked, "--out", tmp_path / "two", "--json").stdout)
    assert told["splits"]["train"]["balanced"]["left_out"] == gone
    plain = json.loads(run("export", store, "--for", "trl-dpo", "--out", tmp_path / "three", "--json").stdout)
    assert "balanced" not in plain["splits"]["train"]
    assert (
        "no such option"
        in run("pairs", store, "--out", tmp_path / "x.jsonl", "--balance-length", code=2).stderr.lower()
    )


def test_rows_come_back_by_their_marks(tmp_path: Path) -> None:
    keys_of_rows = np.random.default_rng(0).integers(0, 2**63, 50).astype(np.uint64) * np.uint64(2)
    rows, side = pa.table({"x": list(range(50))}), ("train", 0)
    parts, marks = Parts(3, 2), np.arange(50, dtype=np.uint64)
    _, held = spill_to(spilled(tmp_path, 0), 0, parts, lambda spill: spill.add(side, rows, keys_of_rows, marks))
    shuffled = Shuffled(tmp_path, held, parts, {"train": lambda marks: marks % 7 == 0})
    assert shuffled.rows[side] == 8
    run_of_all = shuffled.run(side, 0, 8)
    batches = read_run(tmp_path, run_of_all, lambda marks: marks % 7 == 0)
    found = [row for batch in batches for row in batch.column("x").to_pylist()]
    assert found == sorted(range(0, 50, 7), key=lambda at: keys_of_rows[at])
