"""Conversations for trainers: every turn, system prompt and tool in the shape that each reads, or an error before any
work.
"""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from commands import run
from conversations import answer_of, as_json, conversation_rows, conversational_pairs, holds_more, prompt_of, turn
from exported_turns import ALL_ROWS, MANY, ONE, SYSTEM, TEXT_ROWS, TOOLS, WITH_TOOLS, Row, export, raw
from exporting import rows_of
from hypothesis import given
from hypothesis import strategies as st
from make import make_store
from strategies import examples

from coig_p.errors import DataError, UsageError
from coig_p.export.trainers import TRAINERS, find_form
from coig_p.export.write import ExportConfig, export_store
from coig_p.pairs.config import PairConfig
from coig_p.pairs.shapes import Held


def given_system(prompt: list[Row], system: str | None, with_tools: bool) -> list[Row]:
    """The system prompt before turns that have none."""
    if system is None or prompt[0]["role"] == "system":
        return prompt
    empty = dict.fromkeys(prompt[0]) if with_tools else {}
    return [empty | {"role": "system", "content": system}, *prompt]


def expected(row: Row, trainer: str, system: str | None, with_tools: bool) -> Row:
    """What each trainer's row should hold, spelled out."""
    prompt = given_system(prompt_of(row, with_tools), system, with_tools)
    good, bad = (answer_of(response, with_tools) for response in row["responses"])
    margin = {"margin": 7.0}
    tools = {"tools": row["tools"]} if with_tools else {}
    return {
        "trl-dpo": {"prompt": prompt, "chosen": good, "rejected": bad} | tools,
        "trl-reward": {"prompt": prompt, "chosen": good, "rejected": bad} | margin | tools,
        "trl-kto": {"prompt": prompt, "completion": good, "label": True} | tools,
        "trl-sft": {"prompt": prompt, "completion": good},
        "trl-grpo": {"prompt": prompt, "reference": good[0]["content"]},
        "openrlhf-ppo": {"prompt": prompt, "reference": good[0]["content"]},
        "ms-swift-sft": {"messages": prompt + good},
        "openrlhf": {"prompt": prompt, "chosen": good, "rejected": bad} | margin,
        "ms-swift": {"messages": prompt + good, "rejected_response": bad[0]["content"]},
        "ms-swift-kto": {"messages": prompt + good, "label": True},
        "axolotl": {"messages": prompt, "chosen": good[0], "rejected": bad[0]},
        "verl": {"prompt": prompt, "reward_model": {"style": "model", "ground_truth": good[0]["content"]}},
        "nemo-rl": {
            "context": prompt,
            "completions": [
                {"rank": 0, "completion": good, "reward": 9.0},
                {"rank": 1, "completion": bad, "reward": 2.0},
            ],
        },
    }[trainer]


IN_MESSAGES = [name for name in TRAINERS if not name.startswith("llama-factory")]


@pytest.mark.parametrize("system", [None, SYSTEM])
@pytest.mark.parametrize("trainer", IN_MESSAGES)
def test_every_trainer_gets_the_turns(texts: Path, tmp_path: Path, trainer: str, system: str | None) -> None:
    """A system prompt goes before the turns of queries that have none of their own."""
    found = export(texts, tmp_path / "out", trainer, system=system)
    for row in TEXT_ROWS:
        wanted = expected(row, trainer, system, False)
        assert {name: found[row["query_id"]][name] for name in wanted} == wanted
    assert {name.removesuffix("-bad") for name in found} == {row["query_id"] for row in TEXT_ROWS}


@pytest.mark.parametrize("system", [None, SYSTEM])
@pytest.mark.parametrize("trainer", ["trl-dpo", "trl-reward", "trl-kto"])
def test_trl_gets_tools_and_calls(tools: Path, tmp_path: Path, trainer: str, system: str | None) -> None:
    found = export(tools, tmp_path / "out", trainer, system=system)
    for row in ALL_ROWS:
        wanted = expected(row, trainer, system, True)
        assert {name: found[row["query_id"]][name] for name in wanted} == wanted
    assert "tools" in json.loads((tmp_path / "out" / "shards.json").read_text("utf-8"))["columns"]


@pytest.mark.parametrize("multi_turn", ["text", "last"])
def test_a_system_prompt_does_not_stand_before_a_conversations_own(
    texts: Path, tmp_path: Path, multi_turn: str
) -> None:
    with pytest.raises(UsageError, match="--system beside --multi-turn"):
        export(texts, tmp_path / "out", "llama-factory", multi_turn, system=SYSTEM)
    export(texts, tmp_path / "out", "llama-factory", multi_turn)
    plain = make_store(tmp_path / "plain", [ONE])
    assert export(plain, tmp_path / "b", "llama-factory", multi_turn, system=SYSTEM)["one"]["system"] == SYSTEM


@pytest.mark.parametrize("rows", [[MANY], [ONE, MANY], [WITH_TOOLS], [ONE, MANY, WITH_TOOLS]])
@pytest.mark.parametrize("trainer", TRAINERS)
def test_ways_out_that_errors_name_are_accepted(tmp_path: Path, rows: list[Row], trainer: str) -> None:
    store = make_store(tmp_path / "store", rows)
    try:
        export(store, tmp_path / "out", trainer, conversational=False)
        return
    except (UsageError, DataError) as error:
        told = str(error)
    ways: dict[str, tuple[str, dict[str, Any]]] = {
        "--for trl-dpo --conversational": ("trl-dpo", {"conversational": True}),
        "--for trl-kto --conversational": ("trl-kto", {"conversational": True}),
        "use --conversational": (trainer, {"conversational": True}),
        "(or llama-factory, llama-factory-kto, ms-swift": ("ms-swift", {}),
        '"text"': (trainer, {"multi_turn": "text"}),
        '"last"': (trainer, {"multi_turn": "last"}),
        '"skip"': (trainer, {"multi_turn": "skip", "conversational": False}),
    }
    used = [way for way in ways if way in told]
    assert used
    for at, way in enumerate(used):
        name, options = ways[way]
        assert export(store, tmp_path / f"{at}", name, **options), told


WITHOUT_TOOLS = [name for name, trainer in TRAINERS.items() if trainer.tools is None]


@pytest.mark.parametrize("trainer", WITHOUT_TOOLS)
def test_tools_without_a_place_are_an_error_before_any_work(tools: Path, tmp_path: Path, trainer: str) -> None:
    with pytest.raises(UsageError) as caught:
        export(tools, tmp_path / "out", trainer)
    words = ("domain chat holds 1 query", trainer, "trl-dpo --conversational", "ms-swift", "--multi-turn skip")
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert not (tmp_path / "out").exists()
    found = export(tools, tmp_path / "out", trainer, multi_turn="skip")
    for row in TEXT_ROWS:
        wanted = expected(row, trainer, None, False)
        assert {name: found[row["query_id"]][name] for name in wanted} == wanted
    assert "tools" not in found
    told = json.loads((tmp_path / "out" / "shards.json").read_text("utf-8"))["splits"]["train"]
    assert told["queries_left_out"] == 1
    assert told.get("queries_without_pairs", 0) == 0
    assert "Left out" in (tmp_path / "out" / "README.md").read_text("utf-8")


@pytest.mark.parametrize("trainer", [name for name in TRAINERS if name.startswith("trl-")])
def test_strings_of_conversations_are_refused(texts: Path, tmp_path: Path, trainer: str) -> None:
    with pytest.raises(UsageError) as caught:
        export(texts, tmp_path / "out", trainer, conversational=False)
    assert all(word in str(caught.value) for word in ("holds 2 queries", "--conversational", "--multi-turn"))
    assert not (tmp_path / "out").exists()
    last = export(texts, tmp_path / "last", trainer, multi_turn="last")
    assert [last[name]["prompt"] for name in ("one", "many")] == ["问题one", "三"]
    text = export(texts, tmp_path / "text", trainer, multi_turn="text")
    assert text["many"]["prompt"] == MANY["query"]
    skipped = export(texts, tmp_path / "skip", trainer, multi_turn="skip", conversational=False)
    assert {name.removesuffix("-bad") for name in skipped} == {"one"}


def test_an_option_without_effect_is_refused(texts: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no effect"):
        export(texts, tmp_path / "out", "openrlhf", multi_turn="last")


def test_the_command_says_what_it_left_out(tools: Path, tmp_path: Path) -> None:
    arguments = ["export", tools, "--for", "verl", "--out", tmp_path / "out"]
    assert "--multi-turn skip" in run(*arguments, code=2).stderr
    shown = run(*arguments, "--multi-turn", "skip").stdout
    assert "left out by --multi-turn skip, since the rows cannot show them: 1 query" in shown


def test_a_call_needs_no_text_and_everything_else_does(tmp_path: Path) -> None:
    """What `Form.check` looks for, in messages that may call tools."""
    held = Held({"chat": 1}, {"chat": 1})
    form = find_form("trl-dpo", conversational=True, holds=held)
    assert form.schema.names == ["prompt", "chosen", "rejected", "tools", "query_id", "domain"]
    for messages, words in (
        ([turn("user", " ", name="x")], "prompt.content is blank"),
        ([turn("user", "一"), turn("assistant", "", tool_calls=[]), turn("user", "x")], "prompt.content is blank"),
    ):
        store = make_store(tmp_path / f"{len(messages)}", [raw("odd", messages, tools=TOOLS)])
        with pytest.raises(DataError, match=f"'odd': {words}"):
            export(store, tmp_path / "out", "trl-dpo")


def from_turns(turns: list[Row]) -> list[Row]:
    """Messages of ms-swift's turns, the slow way: calls that follow each other are one message's."""
    found: list[Row] = []
    for at, one in enumerate(turns):
        if one["role"] != "tool_call":
            role = "tool" if one["role"] == "tool_response" else one["role"]
            found.append({"role": role, "content": one["content"], "calls": []})
            continue
        before = turns[at - 1]["role"]
        if before not in ("tool_call", "assistant"):
            found.append({"role": "assistant", "content": "", "calls": []})
        found[-1]["calls"].append(json.loads(one["content"]))
    return found


def out_of_order(messages: list[Row]) -> bool:
    """Whether a result follows several calls of which it is not the next."""
    for at, one in enumerate(messages):
        ids = [call["id"] for call in one.get("tool_calls") or []]
        results = [later["tool_call_id"] for later in messages[at + 1 : at + 1 + len(ids)] if later["role"] == "tool"]
        if len(ids) > 1 and results != ids[: len(results)]:
            return True
    return False


def as_turns(messages: list[Row]) -> list[Row]:
    """The same of messages as they are loaded."""
    return [
        {
            "role": one["role"],
            "content": one["content"],
            "calls": [
                {"name": call["function"]["name"], "arguments": json.loads(call["function"]["arguments"])}
                for call in one.get("tool_calls") or []
            ],
        }
        for one in messages
    ]


@given(rows=conversation_rows(tools=False), trainer=st.sampled_from(["trl-dpo", "openrlhf", "ms-swift", "axolotl"]))
@examples(20)
def test_exported_turns_are_the_stored_ones(rows: list[Row], trainer: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "store", rows)
        out = Path(folder) / "out"
        config = ExportConfig(trainer, PairConfig(threshold=2), conversational=trainer == "trl-dpo")
        export_store(store, out, config)
        found = []
        for row in rows_of(out):
            prompt = row["messages" if trainer in ("ms-swift", "axolotl") else "prompt"]
            chosen, rejected = row.get("chosen"), row.get("rejected")
            if trainer == "ms-swift":
                prompt, chosen = prompt[:-1], prompt[-1]
                rejected = {"role": "assistant", "content": row["rejected_response"]}
            answers = [one[0] if isinstance(one, list) else one for one in (chosen, rejected)]
            found.append((row["query_id"], as_json(prompt), *map(as_json, answers)))
        assert sorted(found) == sorted(
            (pair["query_id"], as_json(pair["prompt"]), as_json(pair["chosen"][0]), as_json(pair["rejected"][0]))
            for pair in conversational_pairs(rows, False)
        )


@given(rows=conversation_rows())
@examples(20)
def test_exported_tools_are_the_stored_ones(rows: list[Row]) -> None:
    """For TRL as they are loaded; for ms-swift turn by turn, or refused for what its turns cannot say."""
    wanted = conversational_pairs(rows, any(map(holds_more, rows)))
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "store", rows)
        pairs = PairConfig(threshold=2)
        export_store(store, Path(folder) / "trl", ExportConfig("trl-dpo", pairs, conversational=True))
        assert sorted(map(as_json, rows_of(Path(folder) / "trl"))) == sorted(map(as_json, wanted))
        shown = [message for pair in wanted for name in ("prompt", "chosen", "rejected") for message in pair[name]]
        cannot = any(one.get("reasoning_content") or (one.get("name") and one["role"] != "tool") for one in shown)
        cannot = cannot or any(out_of_order(pair["prompt"]) for pair in wanted)
        swift = partial(export_store, store, Path(folder) / "swift", ExportConfig("ms-swift", pairs))
        if cannot:
            with pytest.raises(DataError, match="which ms-swift cannot read"):
                swift()
            return
        swift()
        if not any(map(holds_more, rows)):
            return
        found = [
            (row["query_id"], row["tools"], from_turns(row["messages"]), from_turns(row["rejected_messages"]))
            for row in rows_of(Path(folder) / "swift")
        ]
        whole = [[as_turns(pair["prompt"] + pair[name]) for name in ("chosen", "rejected")] for pair in wanted]
        assert sorted(map(as_json, found)) == sorted(
            as_json((pair["query_id"], pair["tools"], *both)) for pair, both in zip(wanted, whole, strict=True)
        )


def test_lengths_count_every_turn(tools: Path, texts: Path, tmp_path: Path) -> None:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    made.save(str(tmp_path / "tokenizer.json"))

    def longest(store: Path, trainer: str = "trl-dpo", **options: Any) -> int:
        found = export_store(
            store, tmp_path / "out", ExportConfig(trainer, tokenizer=str(tmp_path), **options), overwrite=True
        )
        assert found.tokens is not None
        return found.tokens.prompt["max"]

    assert longest(texts, conversational=True) == max(len("自己的一二三"), len("问题one"))
    assert longest(texts, pairs=PairConfig(multi_turn="text")) == len(MANY["query"])
    assert longest(texts, pairs=PairConfig(multi_turn="last")) == len("问题one")
    parts = [one[name] for one in WITH_TOOLS["messages"] for name in ("content", "extra") if one[name]]
    assert longest(tools, conversational=True) == sum(map(len, parts)) + len(TOOLS)
    limit = ExportConfig("trl-dpo", tokenizer=str(tmp_path), conversational=True, max_length=40)
    found = export_store(tools, tmp_path / "out", limit, overwrite=True)
    assert found.tokens is not None
    assert found.tokens.too_long == 1
    assert found.splits["train"].rows == 3
    # A given system prompt counts where it is put, and nowhere else.
    plain = make_store(tmp_path / "plain", [ONE])
    assert longest(texts, conversational=True, system="系" * 50) == 50 + len("问题one")
    own = make_store(tmp_path / "own", [MANY])
    assert longest(own, conversational=True, system="系" * 50) == len("自己的一二三")
    assert longest(tools, conversational=True, system="系" * 50) == 50 + sum(map(len, parts)) + len(TOOLS)
    assert longest(plain, "llama-factory", system="系" * 50) == 50 + len("问题one")
    with pytest.raises(DataError, match=r"too long.*or max_length"):
        longest(plain, "verl", system="系" * 50, max_length=50)
