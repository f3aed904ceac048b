"""Exports: every row once in every trainer's form, shuffled, even shards, exact counts, one clear error."""

from __future__ import annotations

import itertools
import json
import pickle
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from commands import run
from datasets import load_dataset
from make import make_rows, make_store
from oracle import oracle_pairs

from coig_p.errors import DataError, UnknownNameError, UsageError
from coig_p.export import trainers
from coig_p.export.shards import one_epoch
from coig_p.export.shuffle import Held, Parts, Shuffled, Spill, interleaved, read_run, spill_to, spilled
from coig_p.export.trainers import TRAINERS, find_form
from coig_p.export.write import ExportConfig, export_store
from coig_p.pairs.config import PairConfig
from coig_p.pairs.plan import ShardConfig
from coig_p.pairs.splits import SplitConfig
from coig_p.schema import PAIR_SCHEMAS

Row = dict[str, Any]


def export(store: Path, out: Path, trainer: str = "trl-dpo", **options: Any) -> dict[str, Any]:
    written = export_store(store, out, ExportConfig(trainer, **options))
    assert json.loads((out / "shards.json").read_text("utf-8")) == written.to_dict()
    return written.to_dict()


def rows_of(out: Path, split: str = "train") -> list[Row]:
    """The rows of an export in the order of its shards, read without our code."""
    found = []
    for path in sorted((out / split).iterdir()):
        if path.suffix == ".jsonl":
            found += [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        else:
            found += pq.read_table(path).to_pylist()
    return found


_PAIRS: dict[int, list[Row]] = {}


def pairs_of(rows: list[Row]) -> list[Row]:
    """The oracle's pairs at threshold 2, computed once for each list of rows."""
    if id(rows) not in _PAIRS:
        _PAIRS[id(rows)] = oracle_pairs(rows, threshold=2)
    return _PAIRS[id(rows)]


def as_text(rows: list[Row]) -> Counter[str]:
    return Counter(json.dumps(row, ensure_ascii=False, sort_keys=True) for row in rows)


def message(role: str, content: str) -> Row:
    return {"role": role, "content": content}


def expected(rows: list[Row], trainer: str, *, conversational: bool = False, system: str | None = None) -> list[Row]:
    """What each form should hold, spelled out from the oracle's pairs."""
    pairs = pairs_of(rows)
    head = [message("system", system)] if system else []
    found = []
    for pair in pairs:
        user, chosen, rejected = pair["prompt"], pair["chosen"], pair["rejected"]
        prompt = [*head, message("user", user)]
        good, bad = message("assistant", chosen), message("assistant", rejected)
        facts = {"query_id": pair["query_id"], "domain": pair["domain"]}
        texts = {"prompt": user, "chosen": chosen, "rejected": rejected}
        lists = {"prompt": prompt, "chosen": [good], "rejected": [bad]}
        own: Row = {
            "trl-dpo": lists if conversational else texts,
            "trl-reward": (lists if conversational else texts) | {"margin": pair["margin"]},
            "llama-factory": {"instruction": user, "chosen": chosen, "rejected": rejected}
            | ({"system": system} if system else {}),
            "openrlhf": lists | {"margin": pair["margin"]},
            "ms-swift": {"messages": [*prompt, good], "rejected_response": rejected},
            "axolotl": {"messages": prompt, "chosen": good, "rejected": bad},
            "nemo-rl": {
                "context": prompt,
                "completions": [
                    {"rank": 0, "completion": [good], "reward": pair["chosen_score"]},
                    {"rank": 1, "completion": [bad], "reward": pair["rejected_score"]},
                ],
            },
        }[trainer]
        found.append(own | facts)
    return found


PAIRED = ("trl-dpo", "trl-reward", "llama-factory", "openrlhf", "ms-swift", "axolotl", "nemo-rl")


@pytest.mark.parametrize("trainer", PAIRED)
@pytest.mark.parametrize("system", [None, "你是一个有用的助手。"])
def test_every_pair_is_there_once_in_the_trainers_form(
    store: Path, rows: list[Row], tmp_path: Path, trainer: str, system: str | None
) -> None:
    conversational = trainer.startswith("trl-") and system is not None
    found = export(store, tmp_path / "out", trainer, conversational=conversational, system=system)
    wanted = expected(rows, trainer, conversational=conversational, system=system)
    assert as_text(rows_of(tmp_path / "out")) == as_text(wanted)
    assert list(found["columns"]) == list(rows_of(tmp_path / "out")[0])
    assert found["splits"]["train"]["rows"] == len(wanted)


def as_kto(row: Row) -> tuple[str, str, bool]:
    """Prompt, answer and label of a row of any trainer's."""
    if "kto_tag" in row:
        return row["instruction"], row["output"], row["kto_tag"]
    if isinstance(row.get("prompt"), str):
        return row["prompt"], row["completion"], row["label"]
    user, assistant = row["messages"] if "messages" in row else row["prompt"] + row["completion"]
    assert (user["role"], assistant["role"]) == ("user", "assistant")
    return user["content"], assistant["content"], row["label"]


@pytest.mark.parametrize(
    ("trainer", "conversational"),
    [("trl-kto", False), ("trl-kto", True), ("llama-factory-kto", False), ("ms-swift-kto", False)],
)
def test_kto_rows_are_those_of_the_format_and_labels_alternate_all_along(
    store: Path, tmp_path: Path, trainer: str, conversational: bool
) -> None:
    export(store, tmp_path / "out", trainer, conversational=conversational, order=ShardConfig(shards=4))
    found = list(map(as_kto, rows_of(tmp_path / "out")))
    loaded = load_dataset("coig-p", "all", data_dir=str(store), split="train", streaming=True, format="kto")
    assert Counter(found) == Counter((row["prompt"], row["completion"], row["label"]) for row in loaded)
    labels = [label for _, _, label in found]
    share = sum(labels) / len(labels)
    for begin in range(0, len(labels) - 8, 4):
        assert abs(sum(labels[begin : begin + 8]) - 8 * share) <= 1


def test_llama_factory_kto_is_alpaca_with_a_boolean_tag(store: Path, tmp_path: Path) -> None:
    """Its converter takes nothing but true and false for a row of KTO, and its columns by these names."""
    export(store, tmp_path / "out", "llama-factory-kto", system="你好。", splits=SplitConfig(test_size=0.2))
    entries = json.loads((tmp_path / "out" / "dataset_info.json").read_text("utf-8"))
    names = {"prompt": "instruction", "response": "output", "kto_tag": "kto_tag", "system": "system"}
    assert entries["coig_p"] == {"file_name": "train", "formatting": "alpaca", "columns": names}
    assert entries["coig_p_test"]["file_name"] == "test"
    rows = rows_of(tmp_path / "out")
    assert {type(row["kto_tag"]) for row in rows} == {bool}
    assert {row["system"] for row in rows} == {"你好。"}
    readme = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "llamafactory-cli train" in readme
    config = yaml.safe_load((tmp_path / "out" / "kto.yaml").read_text("utf-8"))
    assert (config["stage"], config["pref_beta"], config["dataset"]) == ("kto", 0.1, "coig_p")


@pytest.mark.parametrize("trainer", ["trl-grpo", "openrlhf-ppo", "verl"])
def test_prompts_come_once_with_the_best_response(store: Path, rows: list[Row], tmp_path: Path, trainer: str) -> None:
    best: dict[str, Row] = {}
    answers: dict[str, dict[str, float]] = {}
    for pair in pairs_of(rows):
        answers.setdefault(pair["query_id"], {})[pair["chosen"]] = pair["chosen_score"]
        if pair["chosen_score"] > best.setdefault(pair["query_id"], pair)["chosen_score"]:
            best[pair["query_id"]] = pair
    export(store, tmp_path / "out", trainer)
    found = {row["query_id"]: row for row in rows_of(tmp_path / "out")}
    assert len(found) == len(rows_of(tmp_path / "out")) == len(best)
    for query_id, row in found.items():
        if trainer == "trl-grpo":
            prompt, reference = row["prompt"], row["reference"]
        elif trainer == "openrlhf-ppo":
            ((turn,), reference) = row["prompt"], row["reference"]
            prompt = turn["content"]
        else:
            ((turn,), reference) = row["prompt"], row["reward_model"]["ground_truth"]
            prompt = turn["content"]
            assert turn["role"] == "user"
            assert row["data_source"] == f"coig-p/{row['ability']}"
            assert row["extra_info"] == {"query_id": query_id}
        assert prompt == best[query_id]["prompt"]
        assert answers[query_id][reference] == best[query_id]["chosen_score"]


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


@pytest.mark.parametrize(("world_size", "workers"), [(1, 0), (2, 0), (3, 2), (8, 4)])
def test_shards_are_even_and_small_row_groups(store: Path, tmp_path: Path, world_size: int, workers: int) -> None:
    order = ShardConfig(world_size=world_size, workers=workers)
    found = export(store, tmp_path / "out", order=order)["splits"]["train"]
    sizes = [shard["rows"] for shard in found["shards"]]
    assert len(sizes) == world_size * max(1, workers)
    assert max(sizes) - min(sizes) <= 1
    assert sum(sizes) == found["rows"]
    for shard in found["shards"]:
        footer = pq.read_metadata(tmp_path / "out" / shard["path"])
        assert footer.num_rows == shard["rows"]
        assert max(footer.row_group(at).num_rows for at in range(footer.num_row_groups)) <= 256
    assert json.loads((tmp_path / "out" / "shards.json").read_text("utf-8"))["splits"]["train"] == found
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["README.md", "shards.json", "train"]


def test_max_steps_is_what_every_rank_has(store: Path, tmp_path: Path) -> None:
    """Whether ranks take every third shard, as datasets deals them, or two neighbours, as accelerate does."""
    order = ShardConfig(world_size=3, workers=2)
    found = export(store, tmp_path / "out", order=order)["splits"]["train"]
    sizes = [shard["rows"] for shard in found["shards"]]
    for batch, told in found["max_steps"].items():
        ways = [(0, 3), (1, 4), (2, 5)], [(0, 1), (2, 3), (4, 5)]
        assert told == min(sum(sizes[shard] // int(batch) for shard in rank) for way in ways for rank in way)
    epoch = one_epoch([4, 4, 3, 3], 2, 2)
    assert (epoch.least, epoch.most) == (6, 8)


def test_the_shuffle_is_global_drawn_by_the_seed_and_blind_to_the_stores_shards(
    rows: list[Row], tmp_path: Path
) -> None:
    stores = [make_store(tmp_path / f"s{at}", rows, rows_per_shard=size) for at, size in enumerate((10, 75))]
    texts = []
    for at, (store, seed) in enumerate(((stores[0], 0), (stores[1], 0), (stores[0], 1))):
        export(store, tmp_path / f"o{at}", order=ShardConfig(shuffle_seed=seed, shards=4))
        texts.append([row["query_id"] for row in rows_of(tmp_path / f"o{at}")])
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]
    assert Counter(texts[0]) == Counter(texts[2])
    # Neighbours of one query are as rare as in a shuffle by another generator; the spread of that is small.
    together = sum(one == other for one, other in pairwise(texts[0]))
    by_chance = list(texts[0])
    random.Random(0).shuffle(by_chance)
    assert abs(together - sum(one == other for one, other in pairwise(by_chance))) < 15
    half = Counter(query.split("-")[0] for query in texts[0][: len(texts[0]) // 2])
    whole = Counter(query.split("-")[0] for query in texts[0])
    assert all(abs(half[domain] - whole[domain] / 2) < 0.1 * whole[domain] for domain in whole)


@pytest.mark.parametrize("parts", [Parts(7), Parts(3, 5)])
def test_runs_of_many_spilled_files_are_one_sorted_whole(tmp_path: Path, parts: Parts) -> None:
    import numpy as np

    keys = np.random.default_rng(0).integers(0, 2**64, 20_000, dtype=np.uint64)
    keys[:4] = [0, 2**64 - 1, 2**63, 2**64 - 1]
    keys[9000:9100] = keys[100:200]  # equal ones stay in the order of their files
    table = pa.table({"at": np.arange(20_000)})
    held: list[Held] = []
    for number, begin in enumerate(range(0, 20_000, 6000)):

        def make(spill: Spill, begin: int = begin) -> None:
            for at in range(begin, min(begin + 6000, 20_000), 600):
                spill.add(("train", 0), table.slice(at, 600), keys[at : at + 600])

        held += spill_to(spilled(tmp_path, number), number, parts, make)[1]
    found = Shuffled(tmp_path, held, parts)
    assert found.rows["train", 0] == 20_000
    whole = [batch.column("at").to_pylist() for batch in read_run(tmp_path, found.run(("train", 0), 0, 20_000))]
    order = np.argsort(keys, kind="stable").tolist()
    assert [at for batch in whole for at in batch] == order
    cuts = [0, 1, 4095, 4097, 11_111, 20_000]
    ends = set(np.cumsum([len(batch) for batch in whole]).tolist()) | set(cuts)
    pieces = []
    for begin, end in itertools.pairwise(cuts):
        pieces += [batch.num_rows for batch in read_run(tmp_path, found.run(("train", 0), begin, end))]
    assert set(np.cumsum(pieces).tolist()) == ends - {0}, "batches begin where those of the whole do"
    some = read_run(tmp_path, found.run(("train", 0), 4097, 11_111))
    assert [at for batch in some for at in batch.column("at").to_pylist()] == order[4097:11_111]


@pytest.mark.parametrize(("true", "false"), [(5, 5), (1, 9), (0, 4), (9000, 100)])
def test_interleaving_is_as_even_as_can_be(true: int, false: int) -> None:
    sides = {"true": true, "false": false}
    ones, others = (iter(pa.table({"label": [name] * number}).to_batches()) for name, number in sides.items())
    mixed = interleaved(ones, others, (true, false), 0, true + false)
    labels = [one for batch in mixed for one in batch.column("label").to_pylist()]
    seen = 0
    for at, label in enumerate(labels, 1):
        seen += label == "true"
        assert seen == at * true // (true + false)
    assert len(labels) == true + false


def test_splits_hold_whole_queries_and_the_rows_of_a_load(store: Path, tmp_path: Path, cache: str) -> None:
    sizes: dict[str, Any] = {"test_size": 0.2, "validation_size": 0.1}
    export(store, tmp_path / "out", splits=SplitConfig(**sizes))
    loaded = load_dataset("coig-p", "all", data_dir=str(store), cache_dir=cache, **sizes)
    queries = {}
    for name in ("train", "validation", "test"):
        found = rows_of(tmp_path / "out", name)
        assert Counter((r["query_id"], r["chosen"], r["rejected"]) for r in found) == Counter(
            (r["query_id"], r["chosen"], r["rejected"]) for r in loaded[name]
        )
        queries[name] = {row["query_id"] for row in found}
    assert not queries["train"] & queries["test"]
    assert not queries["train"] & queries["validation"]
    assert not queries["test"] & queries["validation"]


def test_weights_are_exact_and_the_rows_of_a_load(store: Path, rows: list[Row], tmp_path: Path) -> None:
    weights = {"math": 2.5, "chat": 0.3}
    found = export(store, tmp_path / "out", weights=weights)["splits"]["train"]
    natural = Counter(pair["domain"] for pair in pairs_of(rows))
    wanted = {domain: int(natural[domain] * weight + 0.5) for domain, weight in weights.items()}
    assert found["rows_by_domain"] == wanted
    loaded = load_dataset("coig-p", "all", data_dir=str(store), split="train", streaming=True, weights=weights)
    assert Counter((r["query_id"], r["chosen"], r["rejected"]) for r in rows_of(tmp_path / "out")) == Counter(
        (r["query_id"], r["chosen"], r["rejected"]) for r in loaded
    )


def test_a_validation_split_is_not_weighted(store: Path, tmp_path: Path) -> None:
    splits = SplitConfig(test_size=0.3)
    plain = export(store, tmp_path / "a", splits=splits)["splits"]
    mixed = export(store, tmp_path / "b", splits=splits, weights={"math": 2})["splits"]
    assert plain["test"]["rows_by_domain"] == mixed["test"]["rows_by_domain"]
    assert mixed["train"]["rows_by_domain"]["math"] == 2 * plain["train"]["rows_by_domain"]["math"]


# What a form refuses: each a failure that a trainer meets late, or never notices.

PAIR = {"prompt": ["问", "问"], "chosen": ["好", "好"], "rejected": ["坏", "坏"], "query_id": ["q1", "q2"]}


def pair_table(**columns: Any) -> pa.Table:
    return pa.table({**PAIR, "domain": ["math", "math"], **columns})


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"prompt": pa.array(["问", None])}, "'q2': prompt is null"),
        ({"prompt": ["问", ""]}, "'q2': prompt is blank"),
        ({"prompt": ["　\n", "问"]}, "'q1': prompt is blank"),
        ({"chosen": ["好", "坏"]}, "'q2': chosen and rejected are the same text"),
        ({"rejected": pa.array([None, "坏"])}, "'q1': rejected is null"),
        ({"prompt": [1, 2]}, "'prompt' is int64, not string"),
        ({"chosen": [[{"role": "assistant", "content": "好"}]] * 2}, "'chosen' is list"),
        ({"chosen": [[{"from": "gpt", "value": "好"}]] * 2}, "'chosen' is list"),
        ({"label": [True, False]}, "'label' has no place there"),
    ],
)
def test_a_form_refuses_what_would_train_on_nothing(columns: dict[str, Any], words: str) -> None:
    form = find_form("trl-dpo")
    with pytest.raises(DataError) as caught:
        form.check(pair_table(**columns).select(sorted({*PAIR, "domain", *columns})))
    assert words in str(caught.value)


def test_a_query_column_instead_of_prompt_is_refused() -> None:
    table = pair_table().rename_columns(["query", "chosen", "rejected", "query_id", "domain"])
    with pytest.raises(DataError, match="column 'prompt' is missing; its columns are prompt, chosen, rejected"):
        find_form("trl-dpo").check(table)


def test_sharegpt_messages_and_a_string_prompt_are_refused() -> None:
    form = find_form("trl-dpo", conversational=True)
    good = [[{"role": "user", "content": "问"}]] * 2
    with pytest.raises(DataError, match=r"'prompt' is string, not list"):
        form.check(pair_table(chosen=good, rejected=good))
    sharegpt = [[{"from": "human", "value": "问"}]] * 2
    with pytest.raises(DataError, match=r"'prompt' is list.*from.*not list.*role"):
        form.check(pair_table(prompt=sharegpt, chosen=good, rejected=good))


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ([[], [{"role": "user", "content": "问"}]], "'q1': prompt is an empty list"),
        ([[{"role": "user", "content": "问"}], None], "'q2': prompt is null"),
        ([[{"role": "user", "content": "问"}], [{"role": "user", "content": " "}]], r"'q2': prompt.content is blank"),
        ([[{"role": None, "content": "问"}]] * 2, "'q1': prompt.role is null"),
    ],
)
def test_messages_are_looked_into(prompt: list[Any], words: str) -> None:
    form = find_form("trl-dpo", conversational=True)
    table = form.convert(pair_table())
    table = table.set_column(0, "prompt", pa.array(prompt, table.schema.field("prompt").type))
    with pytest.raises(DataError) as caught:
        form.check(table)
    assert words in str(caught.value)


def test_answers_that_begin_alike_stay_whole_beside_an_explicit_prompt() -> None:
    """Without a prompt column a trainer would split these after the slash."""
    table = pair_table(chosen=["答案是2/3", "好"], rejected=["答案是2/5", "坏"])
    row = find_form("trl-dpo").convert(table).to_pylist()[0]
    assert (row["prompt"], row["chosen"], row["rejected"]) == ("问", "答案是2/3", "答案是2/5")
    row = find_form("trl-dpo", conversational=True).convert(table).to_pylist()[0]
    assert row["prompt"] == [message("user", "问")]
    assert row["chosen"] == [message("assistant", "答案是2/3")]


def test_a_margin_that_is_not_finite_is_refused() -> None:
    with pytest.raises(DataError, match="'q2': margin is not a finite number"):
        find_form("trl-reward").convert(pair_table(margin=[1.0, float("nan")]))


@pytest.mark.parametrize("trainer", PAIRED)
def test_equal_sides_are_found_in_every_form(trainer: str) -> None:
    scores = {"chosen_score": [9.0, 9.0], "rejected_score": [1.0, 1.0], "margin": [8.0, 8.0]}
    form = find_form(trainer)
    form.convert(pair_table(**scores))
    with pytest.raises(DataError, match="'q2': chosen and rejected are the same text"):
        form.convert(pair_table(**scores, rejected=["坏", "好"]))


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


def test_every_file_of_a_trainer_has_its_line_in_the_table() -> None:
    modules = [import_module(f"{trainers.__name__}.{found.name}") for found in iter_modules(trainers.__path__)]
    assert {id(module.TRAINER) for module in modules if hasattr(module, "TRAINER")} == set(map(id, TRAINERS.values()))
    names = list(TRAINERS)
    assert names[:5] == ["trl-dpo", "trl-reward", "trl-kto", "trl-grpo", "trl-sft"]
    assert names[5:] == [
        *("llama-factory", "llama-factory-kto", "llama-factory-sft", "openrlhf", "openrlhf-ppo"),
        *("ms-swift", "ms-swift-kto", "ms-swift-sft", "axolotl", "verl", "nemo-rl"),
    ]


@pytest.mark.parametrize("name", list(TRAINERS))
def test_a_trainer_can_be_sent_to_another_process(name: str) -> None:
    found = pickle.loads(pickle.dumps(TRAINERS[name]))
    for form, own in ((found.form, TRAINERS[name].form), (found.conversational, TRAINERS[name].conversational)):
        if own is None:
            assert form is None
            continue
        assert (form.trainer, form.rows, form.schema) == (own.trainer, own.rows, own.schema)
        table = PAIR_SCHEMAS[own.rows].empty_table()
        assert form.convert(table).equals(own.convert(table))


def test_unknown_trainers_are_listed() -> None:
    with pytest.raises(UnknownNameError, match="llama-factory"):
        find_form("llamafactory")


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
