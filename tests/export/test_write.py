"""Exports as they stand on disk: loaded by the stock library, replaced only when told, exact counts, one error."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from commands import run
from datasets import load_dataset
from exporting import Row, export, pairs_of, rows_of
from make import make_rows, make_store

from coig_p.errors import DataError, UsageError
from coig_p.export.trainers import TRAINERS
from coig_p.export.write import ExportConfig, export_store
from coig_p.pairs.config import PairConfig
from coig_p.pairs.plan import ShardConfig
from coig_p.pairs.splits import SplitConfig


def test_queries_without_a_pair_are_counted(store: Path, rows: list[Row], tmp_path: Path) -> None:
    without = {row["query_id"] for row in rows} - {pair["query_id"] for pair in pairs_of(rows)}
    assert without
    for trainer in ("trl-grpo", "verl"):
        found = export(store, tmp_path / trainer, trainer, splits=SplitConfig(test_size=0.3))["splits"]
        assert sum(split["queries_without_pairs"] for split in found.values()) == len(without)
        assert sum(split["rows"] for split in found.values()) == len(rows) - len(without)
    shown = run("export", store, "--for", "verl", "--out", tmp_path / "o").stdout
    assert f"left out, without a pair at threshold 2: {len(without)} queries" in shown
    assert "queries_without_pairs" not in export(store, tmp_path / "dpo")["splits"]["train"]


def test_clusters_of_another_store_are_refused(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "clusters.parquet"

    def splits(*ids: str) -> SplitConfig:
        pq.write_table(pa.table({"cluster": [0] * len(ids), "query_id": pa.array(ids, pa.string())}), path)
        return SplitConfig(test_size=0.3, clusters=str(path))

    with pytest.raises(UsageError, match=r"clusters\.parquet.*none of its queries is in .*store"):
        export(store, tmp_path / "a", splits=splits("other-1", "other-2"))
    assert not (tmp_path / "a").exists()
    export(store, tmp_path / "b", splits=splits("other-1", "chat-0003"))
    export(store, tmp_path / "c", splits=splits("chat-0003", "chat-0004"), domains=["math"])
    export(store, tmp_path / "d", splits=splits())  # no near-duplicates at all


def test_a_weight_that_no_epoch_could_show_is_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="use 1,000 or less"):
        export(store, tmp_path / "out", weights={"math": 1e8})


def test_a_stock_load_finds_the_splits_of_every_form(store: Path, tmp_path: Path, cache: str) -> None:
    for trainer in TRAINERS:
        out, shards = tmp_path / trainer, 1 if trainer == "nemo-rl" else 2
        found = export(store, out, trainer, splits=SplitConfig(test_size=0.2), order=ShardConfig(shards=shards))
        loaded = load_dataset(str(out), cache_dir=cache)
        assert {name: split.num_rows for name, split in loaded.items()} == {
            name: split["rows"] for name, split in found["splits"].items()
        }
        assert set(loaded["train"].column_names) == set(found["columns"])
        readme = (out / "README.md").read_text("utf-8")
        assert trainer in readme
        assert "DIR" not in readme
        for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL):
            compile(block, "README", "exec")


def test_a_stock_load_gives_the_rows_that_are_there_now(store: Path, tmp_path: Path, cache: str) -> None:
    """Not what it kept of an export that stood there before, or of another directory of the same name."""
    for at, (threshold, place) in enumerate(((1, "a"), (3, "a"), (2, "b"))):
        out = tmp_path / place / "dpo"
        out.parent.mkdir(exist_ok=True)
        found = export_store(store, out, ExportConfig("trl-dpo", PairConfig(threshold=threshold)), overwrite=at == 1)
        assert load_dataset(str(out), cache_dir=cache, split="train").num_rows == found.splits["train"].rows


def test_config_files_name_what_is_there(store: Path, tmp_path: Path) -> None:
    for trainer, name in (("llama-factory", "dataset_info.json"), ("axolotl", "axolotl.yaml"), ("verl", "verl.yaml")):
        export(store, tmp_path / trainer, trainer, splits=SplitConfig(test_size=0.2))
        text = (tmp_path / trainer / name).read_text("utf-8")
        config = json.loads(text) if name.endswith("json") else yaml.safe_load(text)
        row = rows_of(tmp_path / trainer)[0]
        if trainer == "llama-factory":
            assert set(config["coig_p"]["columns"].values()) <= set(row)
            assert (tmp_path / trainer / config["coig_p_test"]["file_name"]).is_dir()
        elif trainer == "axolotl":
            block = config["datasets"][0]
            assert {block["field_messages"], block["field_chosen"], block["field_rejected"]} <= set(row)
            assert Path(block["path"]).is_dir()
            assert config["rl_beta"] == 0.1
            assert config["sequence_len"] == 6000
        else:
            assert all(Path(path).is_file() for path in config["data"]["train_files"] + config["data"]["val_files"])


def bad_store(path: Path, **change: Any) -> Path:
    rows = make_rows({"math": 30})
    for row in rows:
        for at, response in enumerate(row["responses"]):
            response["scores"] = [{"judge": "j", "dimension": "overall", "score": 1.0 + 2 * at}]
    rows[17].update({name: value for name, value in change.items() if name == "query"})
    if "text" in change:
        rows[17]["responses"][0]["text"] = change["text"]
    return make_store(path, rows)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"query": ""}, "prompt is blank"), ({"query": None}, "its prompt is null"), ({"text": " "}, "is blank")],
)
def test_a_bad_row_stops_the_export_names_the_query_and_leaves_nothing(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    store = bad_store(tmp_path / "store", **change)
    with pytest.raises(DataError, match=r"math-0017.*" + words):
        export(store, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


def test_a_null_is_one_clear_error_when_loading_too(tmp_path: Path) -> None:
    store = bad_store(tmp_path / "store", text=None)
    with pytest.raises(DataError, match=r"math-0017.*response is null"):
        list(load_dataset("coig-p", "math", data_dir=str(store), split="train", streaming=True, threshold=0.5))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"trainer": "trl"}, "trl-dpo"),
        ({"trainer": "verl", "conversational": True}, "leave out --conversational"),
        ({"trainer": "trl-dpo", "system": "x"}, "add --conversational"),
        ({"trainer": "axolotl", "system": " "}, "blank"),
        ({"trainer": "nemo-rl", "order": {"shards": 2}}, "reads one file"),
        ({"trainer": "trl-dpo", "order": {"shards": 10**6}}, "cannot fill"),
        ({"trainer": "trl-dpo", "order": {"shards": 6, "world_size": 4}}, "use 8"),
        ({"trainer": "trl-dpo", "max_length": 5}, "name a tokenizer"),
        ({"trainer": "trl-dpo", "weights": {"maths": 1}}, "Did you mean 'math'"),
        ({"trainer": "trl-dpo", "domains": ["x"]}, "chat, math"),
        ({"trainer": "trl-dpo", "split": "dev"}, "Valid: train"),
    ],
)
def test_options_that_cannot_be_right(store: Path, tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        order = ShardConfig(**options.pop("order", {}))
        export_store(store, tmp_path / "out", ExportConfig(order=order, **options))
    assert words in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_no_row_at_all_is_an_error(store: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no rows for the split train at threshold 9"):
        export(store, tmp_path / "out", pairs=PairConfig(threshold=9))


def test_an_export_is_replaced_only_when_told(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(store, out)
    before = (out / "shards.json").read_bytes()
    assert "--overwrite" in run("export", store, "--for", "trl-kto", "--out", out, code=2).stderr
    with pytest.raises(UsageError, match="is inside the store"):
        export(store, store / "x")
    assert (out / "shards.json").read_bytes() == before
    export_store(store, out, ExportConfig("trl-kto"), overwrite=True)
    assert (out / "shards.json").read_bytes() != before
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious.txt").write_text("")
    with pytest.raises(UsageError, match="not an export"):
        export_store(store, other, ExportConfig("trl-dpo"), overwrite=True)


def test_the_same_store_and_options_give_the_same_bytes(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    contents = []
    for _ in range(2):
        config = ExportConfig("trl-kto", order=ShardConfig(shards=3), weights={"math": 1.5})
        export_store(store, out, config, overwrite=True)
        contents.append({path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()})
    assert contents[0] == contents[1]


def test_the_command_prints_counts_and_steps(store: Path, rows: list[Row], tmp_path: Path) -> None:
    arguments = ["export", store, "--for", "trl-dpo", "--out", tmp_path / "out", "--world-size", 2, "--workers", 2]
    arguments += ["--test-size", 0.2, "--weights", "math=2", "--shuffle-seed", 3, "--threshold", 2]
    shown = run(*arguments).stdout
    assert "4 shards of" in shown
    assert "max_steps of one epoch on 2 ranks" in shown
    found = json.loads(run(*arguments, "--overwrite", "--json").stdout)
    assert found["shuffle_seed"] == 3
    assert found["weights"] == {"math": 2.0}
    assert set(found["splits"]) == {"train", "test"}


# Lengths in tokens.


KILLED = """
import os, signal, sys
from pathlib import Path
import coig_p.export.shards as shards
import coig_p.export.write as export
shards._write_groups = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
export.export_store(sys.argv[1], Path(sys.argv[2]), export.ExportConfig("trl-kto"), overwrite=True)
"""


def test_a_killed_export_leaves_the_old_one_and_the_next_cleans_up(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(store, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    done = subprocess.run([sys.executable, "-c", KILLED, str(store), str(out)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert len(list(tmp_path.iterdir())) == 2
    export_store(store, out, ExportConfig("trl-kto"), overwrite=True)
    assert list(tmp_path.iterdir()) == [out]


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """One token a character: lengths are then what len() says."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    made.enable_truncation(4)  # which must not cut what is measured
    path = tmp_path / "tokenizer" / "tokenizer.json"
    path.parent.mkdir()
    made.save(str(path))
    return path.parent


def test_rows_that_are_too_long_are_counted_and_left_out(
    store: Path, rows: list[Row], tmp_path: Path, tokenizer: Path
) -> None:
    pairs = pairs_of(rows)

    def length(pair: Row) -> int:
        return len(pair["prompt"]) + max(len(pair["chosen"]), len(pair["rejected"]))

    limit = sorted(map(length, pairs))[len(pairs) // 2]
    found = export(store, tmp_path / "out", tokenizer=str(tokenizer), max_length=limit)
    kept = [pair for pair in pairs if length(pair) <= limit]
    assert 0 < len(kept) < len(pairs)
    names = ("query_id", "chosen", "rejected")
    assert Counter(tuple(row[name] for name in names) for row in rows_of(tmp_path / "out")) == Counter(
        tuple(row[name] for name in names) for row in kept
    )
    told = found["tokens"]
    assert told["rows"] == len(pairs)
    assert told["too_long"] == len(pairs) - len(kept)
    dropped = Counter(pair["domain"] for pair in pairs if length(pair) > limit)
    assert told["too_long_by_domain"] == dropped
    assert told["prompt_and_response"]["max"] == max(map(length, pairs))
    shown = run(
        "export", store, "--for", "trl-dpo", "--out", tmp_path / "o", "--tokenizer", tokenizer, "--max-length", limit
    ).stdout
    assert f"left out, longer than {limit} tokens: {len(pairs) - len(kept)} of {len(pairs)} rows" in shown


def test_a_tokenizer_alone_reports_and_drops_nothing(store: Path, tmp_path: Path, tokenizer: Path) -> None:
    plain = export(store, tmp_path / "a", "trl-kto")["splits"]
    found = export(store, tmp_path / "b", "trl-kto", tokenizer=str(tokenizer / "tokenizer.json"))
    assert found["splits"] == plain
    assert found["tokens"]["too_long"] == 0
    with pytest.raises(DataError, match="rows were too long"):
        export(store, tmp_path / "c", tokenizer=str(tokenizer), max_length=1)
    with pytest.raises(UsageError, match=r"no tokenizer\.json"):
        export(store, tmp_path / "c", tokenizer=str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="cannot be read as a tokenizer"):
        export(store, tmp_path / "c", tokenizer=str(tmp_path))
