"""Conversations for trainers: every turn, system prompt and tool in the shape that each reads, or an error before any
work.
"""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import run
from conversations import (
    answer_of,
    as_json,
    conversation_rows,
    conversational_pairs,
    holds_more,
    prompt_of,
    turn,
)
from hypothesis import given
from hypothesis import strategies as st
from make import make_store
from strategies import examples

from coig_p.errors import DataError, UsageError
from coig_p.export.trainers import TRAINERS, find_form
from coig_p.export.write import ExportConfig, export_store
from coig_p.pairs.config import PairConfig
from coig_p.pairs.shapes import Held
from coig_p.store.conversations import transcript

Row = dict[str, Any]
CALLS = [{"id": "c1", "type": "function", "function": {"name": "查天气", "arguments": '{"城": "杭州"}'}}]
TWO_CALLS = [*CALLS, {"function": {"name": "now", "arguments": ""}}]
TOOLS = as_json([{"type": "function", "function": {"name": "查天气"}}])
SYSTEM = "你是一个有用的助手。"


def answers(*good_extra: Row) -> list[Row]:
    found = []
    for model, text, score in (("a", "好的回答。", 9.0), ("b", "坏的回答。", 2.0)):
        scores = [{"judge": "j", "dimension": "overall", "score": score}]
        found.append({"model": model, "sample": 0, "text": text, "extra": None, "scores": scores})
    for extra in good_extra:
        found[0] |= {"text": "", "extra": as_json(extra)}
    return found


def raw(query_id: str, messages: list[Row] | None, *good_extra: Row, **fields: Any) -> Row:
    query = transcript(messages) if messages else f"问题{query_id}"
    own = {"query_id": query_id, "domain": "chat", "query": query, "messages": messages, "tools": None}
    return own | {"responses": answers(*good_extra)} | fields


ONE = raw("one", None)
MANY = raw("many", [turn("system", "自己的"), turn("user", "一"), turn("assistant", "二"), turn("user", "三")])
NO_SYSTEM = raw("no-system", [turn("user", "一"), turn("assistant", "二"), turn("user", "三")])
WITH_TOOLS = raw(
    "tools",
    [
        turn("user", "杭州天气？"),
        turn("assistant", "", tool_calls=CALLS),
        turn("tool", "晴", tool_call_id="c1"),
        turn("assistant", "晴。"),
        turn("user", "几点？"),
    ],
    {"tool_calls": TWO_CALLS, "kept": 1},
    tools=TOOLS,
)
TEXT_ROWS = [ONE, MANY, NO_SYSTEM]
ALL_ROWS = [*TEXT_ROWS, WITH_TOOLS]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of conversations without tools, and of one query that is none."""
    return make_store(tmp_path_factory.mktemp("stores") / "texts", TEXT_ROWS)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a query that has tools."""
    return make_store(tmp_path_factory.mktemp("stores") / "tools", ALL_ROWS)


def read(out: Path) -> list[Row]:
    """The rows of an export, read without our code."""
    found = []
    for path in sorted((out / "train").iterdir()):
        if path.suffix == ".jsonl":
            found += [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        else:
            found += pq.read_table(path).to_pylist()
    return found


def export(store: Path, out: Path, trainer: str, multi_turn: str | None = None, **options: Any) -> dict[str, Row]:
    """The rows of an export by their query_id."""
    conversational = trainer.startswith("trl-") and multi_turn not in ("text", "last")
    options = {"conversational": conversational, **options}
    export_store(store, out, ExportConfig(trainer, PairConfig(multi_turn=multi_turn), **options))
    found = read(out)
    return {row["query_id"] + ("-bad" if False in (row.get("label"), row.get("kto_tag")) else ""): row for row in found}


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


CALL_TEXT = '{"name": "查天气", "arguments": {"城": "杭州"}}'
NOW_TEXT = '{"name": "now", "arguments": {}}'


def test_ms_swift_gets_calls_as_turns(tools: Path, tmp_path: Path) -> None:
    found = export(tools, tmp_path / "out", "ms-swift", system=SYSTEM)
    before = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": "杭州天气？"},
        {"role": "tool_call", "content": CALL_TEXT},
        {"role": "tool_response", "content": "晴"},
        {"role": "assistant", "content": "晴。"},
        {"role": "user", "content": "几点？"},
    ]
    called = [{"role": "tool_call", "content": text} for text in (CALL_TEXT, NOW_TEXT)]
    bad = [{"role": "assistant", "content": "坏的回答。"}]
    facts = {"query_id": "tools", "domain": "chat"}
    wanted = {"messages": before + called, "rejected_messages": before + bad, "tools": TOOLS}
    assert found["tools"] == wanted | facts
    assert found["one"]["tools"] is None
    assert found["many"]["rejected_messages"] == prompt_of(MANY, False) + bad


@pytest.mark.parametrize("system", [None, SYSTEM])
def test_llama_factory_gets_sharegpt(tools: Path, texts: Path, tmp_path: Path, system: str | None) -> None:
    found = export(tools, tmp_path / "out", "llama-factory", system=system)
    human = [{"from": "human", "value": "一"}, {"from": "gpt", "value": "二"}, {"from": "human", "value": "三"}]
    chosen, rejected = {"from": "gpt", "value": "好的回答。"}, {"from": "gpt", "value": "坏的回答。"}
    plain = {"conversations": human, "chosen": chosen, "rejected": rejected, "tools": "", "domain": "chat"}
    assert found["many"] == plain | {"system": "自己的", "query_id": "many"}
    assert found["no-system"] == plain | {"system": system or "", "query_id": "no-system"}
    assert found["one"]["conversations"] == [{"from": "human", "value": "问题one"}]
    assert found["tools"] == {
        "conversations": [
            {"from": "human", "value": "杭州天气？"},
            {"from": "function_call", "value": CALL_TEXT},
            {"from": "observation", "value": "晴"},
            {"from": "gpt", "value": "晴。"},
            {"from": "human", "value": "几点？"},
        ],
        "chosen": {"from": "function_call", "value": f"[{CALL_TEXT}, {NOW_TEXT}]"},
        "rejected": rejected,
        "system": system or "",
        "tools": TOOLS,
        "query_id": "tools",
        "domain": "chat",
    }
    entry = json.loads((tmp_path / "out" / "dataset_info.json").read_text("utf-8"))["coig_p"]
    assert entry["formatting"] == "sharegpt"
    assert entry["ranking"] is True
    assert entry["columns"] == {
        name: name if name != "messages" else "conversations"
        for name in ("messages", "chosen", "rejected", "system", "tools")
    }
    assert entry["tags"]["function_tag"] == "function_call"
    assert "tools" not in export(texts, tmp_path / "texts", "llama-factory")["many"]


def test_llama_factory_kto_ends_its_turns_in_the_answer(tools: Path, texts: Path, tmp_path: Path) -> None:
    found = export(tools, tmp_path / "out", "llama-factory-kto", system=SYSTEM)
    human = [{"from": "human", "value": "一"}, {"from": "gpt", "value": "二"}, {"from": "human", "value": "三"}]
    good, bad = {"from": "gpt", "value": "好的回答。"}, {"from": "gpt", "value": "坏的回答。"}
    facts = {"tools": "", "domain": "chat", "query_id": "many", "system": "自己的"}
    assert found["many"] == facts | {"conversations": [*human, good], "kto_tag": True}
    assert found["many-bad"] == facts | {"conversations": [*human, bad], "kto_tag": False}
    assert found["no-system"]["system"] == SYSTEM
    called = {"from": "function_call", "value": f"[{CALL_TEXT}, {NOW_TEXT}]"}
    said = [turn["from"] for turn in found["tools"]["conversations"]]
    assert said == ["human", "function_call", "observation", "gpt", "human", "function_call"]
    assert (found["tools"]["conversations"][-1], found["tools"]["tools"]) == (called, TOOLS)
    assert (found["tools-bad"]["conversations"][-1], found["tools-bad"]["kto_tag"]) == (bad, False)
    entry = json.loads((tmp_path / "out" / "dataset_info.json").read_text("utf-8"))["coig_p"]
    assert entry["formatting"] == "sharegpt"
    assert "ranking" not in entry
    assert entry["columns"] == {
        "messages": "conversations", "kto_tag": "kto_tag", "system": "system", "tools": "tools"
    }  # fmt: skip
    assert "tools" not in export(texts, tmp_path / "texts", "llama-factory-kto")["many"]
    last = export(texts, tmp_path / "last", "llama-factory-kto", multi_turn="last")
    assert (last["many"]["instruction"], last["many"]["output"]) == ("三", "好的回答。")


def test_ms_swift_kto_gets_tools_before_the_answer_and_no_call_in_it(tmp_path: Path) -> None:
    before = WITH_TOOLS["messages"]
    store = make_store(tmp_path / "store", [ONE, raw("tools", before, tools=TOOLS)])
    found = export(store, tmp_path / "out", "ms-swift-kto")
    roles = ["user", "tool_call", "tool_response", "assistant", "user", "assistant"]
    assert [turn["role"] for turn in found["tools"]["messages"]] == roles
    assert (found["tools"]["label"], found["tools-bad"]["label"], found["tools"]["tools"]) == (True, False, TOOLS)
    assert found["one"]["tools"] is None
    store = make_store(tmp_path / "calls", ALL_ROWS)
    with pytest.raises(DataError, match=r"'tools' has an answer that calls a tool, .*--for trl-kto --conversational"):
        export(store, tmp_path / "no", "ms-swift-kto")
    assert not (tmp_path / "no").exists()
    assert "tools" not in export(store, tmp_path / "no", "ms-swift-kto", "skip")


def test_llama_factory_leaves_out_what_does_not_alternate(tmp_path: Path) -> None:
    """By the option that the error names; exactly those, and counted."""
    odd = [
        raw("twice", [turn("user", "一"), turn("user", "二")]),
        raw("late", [turn("user", "一"), turn("system", "二"), turn("user", "三")]),
        raw("first", [turn("assistant", "您好"), turn("user", "三")]),
        raw("nobody", [turn("system", "一")]),
    ]
    store = make_store(tmp_path / "store", [*TEXT_ROWS, *odd])
    with pytest.raises(DataError, match=r"'.*--for trl-dpo --conversational.*--multi-turn skip.*--multi-turn text"):
        export(store, tmp_path / "out", "llama-factory")
    assert set(export(store, tmp_path / "out", "llama-factory", "skip")) == {"one", "many", "no-system"}
    told = json.loads((tmp_path / "out" / "shards.json").read_text("utf-8"))["splits"]["train"]
    assert told["queries_left_out"] == len(odd)
    whole, texts = export(store, tmp_path / "trl", "trl-dpo"), export(store, tmp_path / "t", "llama-factory", "text")
    assert whole.keys() == texts.keys()
    both = make_store(tmp_path / "both", [*TEXT_ROWS, *odd, WITH_TOOLS])
    with pytest.raises(DataError) as caught:
        export(both, tmp_path / "c", "llama-factory")
    assert "--multi-turn skip" in str(caught.value)
    assert "--multi-turn text" not in str(caught.value)
    assert set(export(both, tmp_path / "c", "llama-factory", "skip")) == {"one", "many", "no-system"}
    with pytest.raises(DataError, match=r"llama-factory-kto: .*--for trl-kto --conversational"):
        export(store, tmp_path / "kto", "llama-factory-kto")
    kept = export(store, tmp_path / "kto", "llama-factory-kto", "skip")
    assert set(kept) == {f"{name}{label}" for name in ("one", "many", "no-system") for label in ("", "-bad")}
    none = make_store(tmp_path / "none", odd)
    with pytest.raises(DataError, match=r"4 queries were left out.*trl-kto --conversational"):
        export(none, tmp_path / "d", "llama-factory-kto", "skip")
    with pytest.raises(DataError, match=r"4 queries were left out.*trl-dpo --conversational"):
        export(none, tmp_path / "d", "llama-factory", "skip")


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


def test_llama_factory_keeps_its_strings_where_nothing_else_is_asked_for(texts: Path, tmp_path: Path) -> None:
    plain = make_store(tmp_path / "plain", [ONE])
    assert set(export(plain, tmp_path / "a", "llama-factory")["one"]) >= {"instruction", "chosen", "rejected"}
    found = export(texts, tmp_path / "b", "llama-factory", multi_turn="last")
    assert [found[name]["instruction"] for name in ("one", "many")] == ["问题one", "三"]


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([turn("user", "一"), turn("user", "二")], "do not alternate"),
        ([turn("user", "一"), turn("tool", "二")], "do not alternate"),
        ([turn("user", "一"), turn("system", "二"), turn("user", "三")], "system turn that is not its first"),
        (
            [turn("user", "一"), turn("assistant", "查", tool_calls=CALLS), turn("tool", "晴")],
            "text beside",
        ),
        ([turn("user", "一", name="小明")], "a turn with a name"),
        (
            [turn("user", "一"), turn("assistant", "二", reasoning_content="想"), turn("user", "三")],
            "reasoning_content",
        ),
    ],
)
def test_what_llama_factory_would_skip_or_lose_is_an_error(tmp_path: Path, messages: list[Row], words: str) -> None:
    store = make_store(tmp_path / "store", [ONE, raw("odd", messages)])
    with pytest.raises(DataError, match=f"llama-factory: query_id 'odd' .*{words}"):
        export(store, tmp_path / "out", "llama-factory")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", ["[1]", "{", "3"])
def test_arguments_that_are_no_object_are_an_error_of_turns_alone(tmp_path: Path, arguments: str) -> None:
    calls = [{"function": {"name": "f", "arguments": arguments}}]
    store = make_store(tmp_path / "store", [raw("odd", None, {"tool_calls": calls})])
    for trainer in ("ms-swift", "llama-factory"):
        with pytest.raises(DataError, match="'odd' calls a tool with arguments that are no JSON object"):
            export(store, tmp_path / trainer, trainer)
    found = export(store, tmp_path / "out", "trl-dpo")["odd"]["chosen"][0]["tool_calls"]
    assert found[0]["function"]["arguments"] == arguments


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


def parallel(*results: Row, ids: tuple[str | None, ...] = ("x", "y")) -> Row:
    """A query with calls of f and g and these results."""
    calls: list[Row] = [{"function": {"name": name, "arguments": "{}"}} for name in ("f", "g")]
    for call, one in zip(calls, ids, strict=False):
        call |= {"id": one, "type": "function"} if one else {}
    asked = turn("assistant", "查", tool_calls=calls[: len(ids)])
    return raw("odd", [turn("user", "一"), asked, *results], tools=TOOLS)


F, G = turn("tool", "果f", tool_call_id="x"), turn("tool", "果g", tool_call_id="y")


@pytest.mark.parametrize(
    "row",
    [
        parallel(F, G),
        parallel(G, F),
        parallel(turn("tool", "果f"), turn("tool", "果g"), ids=(None, None)),
        parallel(F, turn("user", "等"), G),
        parallel(turn("tool", "果g", tool_call_id="y", name="g"), turn("tool", "果f", tool_call_id="x", name="f")),
    ],
)
def test_results_stand_in_the_order_of_their_calls(tmp_path: Path, row: Row) -> None:
    store = make_store(tmp_path / "store", [ONE, row])
    found = export(store, tmp_path / "out", "ms-swift")["odd"]["messages"]
    assert [one["content"] for one in found if one["role"] == "tool_response"] == ["果f", "果g"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (parallel(G), "tool_call_id"),
        (parallel(F, F), "tool_call_id"),
        (parallel(turn("tool", "果f"), G), "tool_call_id"),
        (parallel(F, turn("tool", "果", tool_call_id="z")), "tool_call_id"),
        (parallel(F, G, ids=("x", "x")), "tool_call_id"),
        (parallel(F, G, ids=("x", None)), "tool_call_id"),
        (parallel(G, ids=("x",)), "tool_call_id is not that of its call"),
        (parallel(turn("tool", "果", tool_call_id="x", name="别的"), ids=("x",)), "name that is not that of its call"),
        (raw("odd", [turn("user", "一"), turn("tool", "果", name="f")], tools=TOOLS), "name that is not"),
        (
            raw(
                "odd",
                [
                    turn("user", "一"),
                    turn("assistant", "查"),
                    turn("assistant", "", tool_calls=CALLS),
                    turn("tool", "晴"),
                ],
            ),
            "right after another turn",
        ),
    ],
)
def test_what_an_order_cannot_say_is_an_error(tmp_path: Path, row: Row, words: str) -> None:
    store = make_store(tmp_path / "store", [ONE, row])
    with pytest.raises(DataError, match=f"ms-swift: query_id 'odd' .*{words}"):
        export(store, tmp_path / "out", "ms-swift")
    assert export(store, tmp_path / "trl", "trl-dpo")["odd"]["prompt"] == prompt_of(row, True)


def test_a_name_that_the_call_says_may_go(tmp_path: Path) -> None:
    messages = [turn("user", "一"), turn("assistant", "", tool_calls=CALLS), turn("tool", "晴", name="查天气")]
    store = make_store(tmp_path / "store", [raw("odd", messages)])
    found = export(store, tmp_path / "out", "llama-factory")["odd"]["conversations"]
    assert found[-1] == {"from": "observation", "value": "晴"}
    messages[-1] = turn("tool", "晴", name="别的")
    with pytest.raises(DataError, match=r"llama-factory: query_id 'odd' .*name"):
        export(make_store(tmp_path / "other", [raw("odd", messages)]), tmp_path / "out2", "llama-factory")


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
        for row in read(out):
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
        assert sorted(map(as_json, read(Path(folder) / "trl"))) == sorted(map(as_json, wanted))
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
            for row in read(Path(folder) / "swift")
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
