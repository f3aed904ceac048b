"""One conversation, however it is written, gives the same turns; what is none is refused by its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import examples

from coig_p.ingest.fields import Beside, FormConfig
from coig_p.ingest.forms import detect, shape
from coig_p.ingest.turns import (
    Turn,
    common_start,
    conversation,
    from_transcript,
    history,
    message,
    split_answer,
    tools,
)
from coig_p.ingest.values import Rejected
from coig_p.store.conversations import transcript


def turn(role: str, content: str, **extra: Any) -> Turn:
    return {"role": role, "content": content, "extra": extra or None}


def call(name: str, arguments: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


TEXT = st.text(alphabet='甲乙丙ab1 \n:："{}[]', min_size=1, max_size=8).filter(str.strip)
ARGUMENTS = st.dictionaries(st.sampled_from("ab"), st.sampled_from([1, "晴", None, [True]]), max_size=2)
JSON: dict[str, Any] = {"ensure_ascii": False, "sort_keys": True, "separators": (",", ":")}


@st.composite
def conversations(draw: st.DrawFn, calls: bool = True) -> list[Turn]:
    """Turns that an answer may follow: a system prompt or none, exchanges, tool calls, and a last question."""
    turns = [turn("system", draw(TEXT))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 3))):
        turns.append(turn("user", draw(TEXT)))
        if calls and draw(st.booleans()):
            turns.append(turn("assistant", "", tool_calls=[call(draw(TEXT), json.dumps(draw(ARGUMENTS), **JSON))]))
            turns.append(turn("tool", draw(TEXT)))
        turns.append(turn("assistant", draw(TEXT)))
    return [*turns, turn("user", draw(TEXT))]


def bare(one: Turn) -> dict[str, Any]:
    """As OpenAI has it."""
    return {"role": one["role"], "content": one["content"], **(one["extra"] or {})}


def in_store(one: Turn) -> dict[str, Any]:
    """As the rows of a store have it."""
    return {**one, "extra": None if one["extra"] is None else json.dumps(one["extra"], **JSON)}


def nulls(one: Turn) -> dict[str, Any]:
    """As Parquet gives it back: every field in every turn."""
    return {"name": None, "tool_calls": None, "tool_call_id": "", **bare(one), "content": one["content"] or None}


def parts(one: Turn) -> dict[str, Any]:
    text = one["content"]
    half = len(text) // 2
    given = [{"type": "text", "text": part} for part in (text[:half], text[half:]) if part] if text else None
    return {**bare(one), "content": given}


def sharegpt(one: Turn) -> dict[str, Any]:
    names = {"user": "human", "assistant": "gpt", "tool": "observation"}
    if one["extra"]:
        (asked,) = one["extra"]["tool_calls"]
        function = asked["function"]
        text = json.dumps({"name": function["name"], "arguments": json.loads(function["arguments"])})
        return {"from": "function_call", "value": text}
    return {"from": names.get(one["role"], one["role"]), "value": one["content"]}


def chinese(one: Turn) -> dict[str, Any]:
    names = {"user": "用户", "assistant": "助手", "tool": "工具", "system": "系统"}
    return {**bare(one), "role": names[one["role"]]}


def short_calls(one: Turn) -> dict[str, Any]:
    """Calls as Hermes has them: name and arguments, an object."""
    if not one["extra"]:
        return bare(one)
    functions = [asked["function"] for asked in one["extra"]["tool_calls"]]
    return {
        "role": one["role"],
        "content": None,
        "tool_calls": [{"name": one["name"], "arguments": json.loads(one["arguments"])} for one in functions],
    }


MESSAGES: list[Callable[[Turn], dict[str, Any]]] = [bare, in_store, nulls, parts, sharegpt, chinese, short_calls]


@given(turns=conversations(), spell=st.sampled_from(MESSAGES), text=st.booleans())
def test_a_list_of_turns_is_the_same_in_every_spelling(
    turns: list[Turn], spell: Callable[[Turn], dict[str, Any]], text: bool
) -> None:
    spelled = [spell(one) for one in turns]
    unread = Beside(FormConfig())
    assert conversation(json.dumps(spelled) if text else spelled, "x", unread) == turns
    assert unread.values == {}


def whole(turns: list[Turn], spell: Callable[[Turn], dict[str, Any]]) -> dict[str, Any]:
    """Both answers with the conversation before them."""
    return {side: [spell(one) for one in [*turns, turn("assistant", side)]] for side in ("chosen", "rejected")}


def apart(turns: list[Turn], spell: Callable[[Turn], dict[str, Any]]) -> dict[str, Any]:
    return {"prompt": [spell(one) for one in turns], "chosen": "chosen", "rejected": "rejected"}


def swift(turns: list[Turn], spell: Callable[[Turn], dict[str, Any]]) -> dict[str, Any]:
    said = [spell(one) for one in [*turns, turn("assistant", "chosen")]]
    return {"messages": said, "rejected_response": "rejected"}


def binarized(turns: list[Turn], spell: Callable[[Turn], dict[str, Any]]) -> dict[str, Any]:
    lists = whole(turns, spell)
    return {"prompt": turns[-1]["content"], "messages": lists["chosen"], **lists}


def system_apart(turns: list[Turn], spell: Callable[[Turn], dict[str, Any]]) -> dict[str, Any]:
    if turns[0]["role"] != "system":
        return apart(turns, spell)
    return {"system": turns[0]["content"], **apart(turns[1:], spell)}


def history_apart(turns: list[Turn], spell: Callable[[Turn], dict[str, Any]]) -> dict[str, Any]:
    system = [one["content"] for one in turns if one["role"] == "system"]
    rest = [one for one in turns if one["role"] != "system"]
    row: dict[str, Any] = {"instruction": rest[-1]["content"], "chosen": "chosen", "rejected": "rejected"}
    row["system"] = system[0] if system else ""
    if all(one["role"] != "tool" for one in rest):
        row["history"] = [[rest[at]["content"], rest[at + 1]["content"]] for at in range(0, len(rest) - 1, 2)]
    else:
        row["history"] = [spell(one) for one in rest[:-1]]
    return row


ROWS = [whole, apart, swift, binarized, system_apart, history_apart]


@examples(300)
@given(turns=conversations(), row=st.sampled_from(ROWS), spell=st.sampled_from(MESSAGES), as_text=st.booleans())
def test_a_pairs_prompt_is_the_same_in_every_row(
    turns: list[Turn],
    row: Callable[..., dict[str, Any]],
    spell: Callable[[Turn], dict[str, Any]],
    as_text: bool,
) -> None:
    given = row(turns, spell)
    if as_text:  # a table's cells
        given = {
            name: json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
            for name, value in given.items()
        }
        assume(spell is not in_store)
    config = FormConfig()
    assert detect(given, config) == "pairs"
    shaped = shape(given, "pairs", config, textual=as_text)
    assert shaped.ignored == []
    assert [one["text"] for one in shaped.value["responses"]] == ["chosen", "rejected"]
    found = shaped.value.get("messages") or [turn("user", shaped.value["query"])]
    assert found == turns
    assert ("messages" in shaped.value) == (len(turns) > 1)


@given(turns=conversations(), more=st.sampled_from(["query", "history"]), answer=TEXT)
def test_nested_and_flat_rows_take_the_same_prompt(turns: list[Turn], more: str, answer: str) -> None:
    row: dict[str, Any] = {"messages": [in_store(one) for one in turns]}
    if more == "query":  # as the rows of a store have it
        row["query"] = transcript(turns) if len(turns) > 1 else turns[0]["content"]
    nested = shape({**row, "responses": []}, "nested", FormConfig()).value
    beside = shape({**row, "response": answer}, "flat", FormConfig()).value
    within = shape({"messages": [bare(one) for one in [*turns, turn("assistant", answer)]]}, "flat", FormConfig()).value
    for value in (nested, beside, within):
        assert (value.get("messages") or [turn("user", value["query"])]) == turns
    assert beside["responses"][0]["text"] == within["responses"][0]["text"] == answer


LINE = st.text(alphabet="甲乙丙ab1:：", min_size=1, max_size=6)


@given(
    texts=st.lists(LINE, min_size=2, max_size=6),
    marks=st.sampled_from([("Human: ", "Assistant: "), ("人类：", "助手："), ("用户: ", "助理: ")]),
    opened=st.booleans(),
)
def test_transcripts(texts: list[str], marks: tuple[str, str], opened: bool) -> None:
    said = "".join(f"\n\n{marks[at % 2]}{text}" for at, text in enumerate(texts))
    wanted = [turn("user" if at % 2 == 0 else "assistant", text) for at, text in enumerate(texts)]
    assert from_transcript(said) == wanted
    if len(texts) % 2 and opened:
        assert from_transcript(f"{said}\n\n{marks[1]}") == wanted


@pytest.mark.parametrize(
    "text",
    [
        "user: 一\n\nassistant: 二",
        "Human: 这个词是什么意思？",
        "问：一\n\n答：二",
        "甲\n\nHuman: 一\n\nAssistant: 二",
        "用户：你好\n助手：在",
        "Human beings.\n\nAssistant: 二",
        "\n\nHuman: \n\nAssistant: 二",
        "",
    ],
)
def test_text_that_is_no_transcript_stays_text(text: str) -> None:
    assert from_transcript(text) is None


REFUSED: list[tuple[Any, str, str]] = [
    ([{"role": "user"}], "x[0].content", "missing"),
    ([{"content": "甲"}], "x[0]", "missing"),
    ([{"role": "narrator", "content": "甲"}], "x[0].role", "no-place"),
    ([{"role": 7, "content": "甲"}], "x[0].role", "no-place"),
    ([{"role": "user", "content": 7}], "x[0].content", "not-a-string"),
    ([{"role": "user", "content": {"a": 1}}], "x[0].content", "not-a-string"),
    ([{"role": "user", "content": [{"type": "image_url", "image_url": "u"}]}], "x[0].content[0]", "no-place"),
    ([{"role": "user", "content": [{"text": "甲", "image": "u"}]}], "x[0].content[0].image", "no-place"),
    ([{"role": "user", "content": "甲", "images": ["u"]}], "x[0].images", "no-place"),
    ([{"role": "user", "content": ""}, {"role": "user", "content": "甲"}], "x[0]", "blank"),
    ([{"from": "function_call", "value": "晴"}], "x[0].value", "not-json"),
    ([{"from": "function_call", "value": "[1]"}], "x[0].value[0]", "not-a-call"),
    ([{"role": "assistant", "tool_calls": [{"function": {"arguments": "{}"}}]}], "x[0].tool_calls[0]", "not-a-call"),
    (["甲"], "x[0]", "not-a-turn"),
    ([["甲", "乙", "丙"]], "x[0]", "not-a-pair"),
    ([["甲", 7]], "x[0][1]", "not-a-string"),
    ([{"human": "甲", "assistant": "乙", "image": "u"}], "x[0].image", "no-place"),
    ("甲", "x", "not-json"),
    (7, "x", "not-a-list"),
]


@pytest.mark.parametrize(("given", "field", "reason"), REFUSED)
def test_what_is_no_conversation_is_refused_by_its_place(given: Any, field: str, reason: str) -> None:
    with pytest.raises(Rejected) as rejected:
        conversation(given, "x")
    assert (rejected.value.field, rejected.value.reason) == (field, reason)


def test_calls_are_kept_whole() -> None:
    asked = {"id": "c1", "type": "function", "index": 0, "function": {"name": "w", "arguments": {"城": "杭州"}}}
    given = {"role": "assistant", "content": None, "tool_calls": [asked], "reasoning_content": "想", "weight": 1}
    unread = Beside(FormConfig())
    found = message(given, "x[0]", unread)
    (kept,) = found["extra"]["tool_calls"]
    assert kept == {**asked, "function": {"name": "w", "arguments": '{"城":"杭州"}'}}
    assert (found["content"], found["extra"]["reasoning_content"], unread.values) == ("", "想", {"x.weight": [1]})
    assert message({"role": "function", "name": "w", "content": "晴"}, "x") == turn("tool", "晴", name="w")
    assert message({"role": "assistant", "content": "", "function_call": {"name": "w"}}, "x")["extra"] == {
        "tool_calls": [call("w", "{}")]
    }


def test_tools() -> None:
    one = {"type": "function", "function": {"name": "w"}}
    for value in ([one], json.dumps([one]), one, [json.dumps(one)], json.dumps(one)):
        assert tools(value, "x") == [one]
    for nothing in ("", " ", "[]", list[Any]()):
        assert tools(nothing, "x") is None
    for wrong in (["search"], "search", 7, [7]):
        with pytest.raises(Rejected):
            tools(wrong, "x")


def test_history_must_be_answered() -> None:
    assert history([["一", "二"]], "x") == [turn("user", "一"), turn("assistant", "二")]
    assert history([turn("user", "一"), turn("assistant", "二")], "x") == history([["一", "二"]], "x")
    for value in ([["一", ""]], [["一", None]], [{"role": "user", "content": "一"}]):
        with pytest.raises(Rejected) as rejected:
            history(value, "x")
        assert rejected.value.reason == "unanswered"


def test_the_common_start_leaves_an_answer() -> None:
    a, b, c = turn("user", "a"), turn("assistant", "b"), turn("assistant", "c")
    assert common_start([[a, b], [a, c]]) == 1
    assert common_start([[a, b], [a, b]]) == 1
    assert common_start([[a, b, a, b], [a, c]]) == 1
    assert common_start([[b], [c]]) == 0
    assert split_answer([a, b], "x") == ([a], b)
    for turns, reason in (([a], "ends-in-user"), ([], "no-answer")):
        with pytest.raises(Rejected) as rejected:
            split_answer(turns, "x")
        assert rejected.value.reason == reason


def test_calls_by_role_belong_to_the_turn_before_them() -> None:
    """ms-swift writes an assistant's text, and each of its calls, as a turn of its own."""
    first, second = ('{"name": "f", "arguments": {"a": 1}}', '{"name": "g", "arguments": {}}')
    calls = [call("f", '{"a":1}'), call("g", "{}")]
    results = [{"role": "tool_response", "content": "甲"}, {"role": "tool_response", "content": "乙"}]
    both = [{"role": "tool_call", "content": first}, {"role": "tool_call", "content": second}]
    user = {"role": "user", "content": "问"}
    for text, before in (("", []), ("查", [{"role": "assistant", "content": "查"}])):
        asked = turn("assistant", text, tool_calls=calls)
        wanted = [turn("user", "问"), asked, turn("tool", "甲"), turn("tool", "乙")]
        assert conversation([user, *before, *both, *results], "x") == wanted
    apart = [user, both[0], results[0], both[1], results[1]]
    assert [len((one["extra"] or {}).get("tool_calls", ())) for one in conversation(apart, "x")] == [0, 1, 0, 1, 0]
    sharegpt = [{"from": "human", "value": "问"}, {"from": "function_call", "value": first}]
    assert conversation(sharegpt, "x") == [turn("user", "问"), turn("assistant", "", tool_calls=calls[:1])]
