"""What each trainer's form holds and refuses: every pair once, labels, prompts, texts that would train on nothing."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pyarrow as pa
import pytest
import yaml
from datasets import load_dataset
from exporting import Row, export, pairs_of, rows_of

from coig_p.errors import DataError, UnknownNameError
from coig_p.export import trainers
from coig_p.export.trainers import TRAINERS, find_form
from coig_p.pairs.plan import ShardConfig
from coig_p.pairs.splits import SplitConfig
from coig_p.schema import PAIR_SCHEMAS


def message(role: str, content: str) -> Row:
    return {"role": role, "content": content}


def as_text(rows: list[Row]) -> Counter[str]:
    return Counter(json.dumps(row, ensure_ascii=False, sort_keys=True) for row in rows)


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
