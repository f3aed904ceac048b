"""Trainers that read turns with roles of their own: calls and results as turns, in order, or an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conversations import prompt_of, turn
from exported_turns import ALL_ROWS, CALLS, MANY, ONE, SYSTEM, TEXT_ROWS, TOOLS, WITH_TOOLS, Row, export, raw
from make import make_store

from coig_p.errors import DataError

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
