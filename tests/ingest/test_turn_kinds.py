"""Others of each kind whose queries are turns: both sides whole, transcripts, histories, tools, arenas."""

from __future__ import annotations

from pathlib import Path

import pytest
from case_parts import (
    BEIJING,
    DOMAIN,
    Q2,
    SYSTEM,
    THREE,
    A,
    B,
    Q,
    S,
    U,
    V,
    W,
    gpt,
    in_other_formats,
    says,
)
from casebook import TWINS, Case, Wanted, check, pair, scored

KINDS: dict[str, Case] = {
    # binarized sets
    "ufbin: chosen and rejected hold the prompt, no messages": Case(
        [{"prompt": Q, "chosen": [U, says(A)], "rejected": [U, says(B)]}], (pair(Q, A, B, more={"messages": None}),)
    ),
    "ufbin: several turns, messages is prompt and chosen": Case(
        [{"prompt": Q, "messages": [U, V, W, says(A)], "chosen": [U, V, W, says(A)], "rejected": [U, V, W, says(B)]}],
        (pair(THREE, A, B),),
    ),
    "ufbin: prompt as turns too": Case(
        [{"prompt": [S, U], "chosen": [S, U, says(A)], "rejected": [S, U, says(B)]}],
        (pair((SYSTEM, ("user", Q)), A, B),),
    ),
    "ufbin: sharegpt names": Case(
        [{"prompt_id": "x7", "prompt": Q, "chosen": [gpt(Q, "human"), gpt(A)], "rejected": [gpt(Q, "human"), gpt(B)]}],
        (pair(Q, A, B, more={"query_id": "x7"}),),
    ),
    "ufbin: the prompt is another text than the turns begin with": Case(
        [{"prompt": Q2, "chosen": [U, says(A)], "rejected": [U, says(B)]}], refused=("prompt", "chosen")
    ),
    "ufbin: no prompt but in the turns": Case(
        [{"chosen": [S, U, V, W, says(A)], "rejected": [S, U, V, W, says(B)], "score_chosen": 8, "score_rejected": 3}],
        (pair((SYSTEM, *THREE), A, B, scores={A: (8,), B: (3,)}),),
    ),
    # transcripts
    "hh in Chinese": Case(
        [{"chosen": f"\n\n人类：{Q}\n\n助手：{A}", "rejected": f"\n\n人类：{Q}\n\n助手：{B}"}], (pair(Q, A, B),)
    ),
    "hh: one turn": Case(
        [{"chosen": f"\n\nHuman: {Q}\n\nAssistant: {A}", "rejected": f"\n\nHuman: {Q}\n\nAssistant: {B}"}],
        (pair(Q, A, B, more={"messages": None}),),
    ),
    "hh: ends in a human turn": Case(
        [
            {
                "chosen": f"\n\nHuman: {Q}\n\nAssistant: {A}\n\nHuman: 谢谢",
                "rejected": f"\n\nHuman: {Q}\n\nAssistant: {B}",
            }
        ],
        refused=("chosen",),
        never=("missing",),
    ),
    "hh: an empty answer": Case(
        [{"chosen": f"\n\nHuman: {Q}\n\nAssistant: {A}", "rejected": f"\n\nHuman: {Q}\n\nAssistant:"}],
        refused=("rejected",),
    ),
    "hh: prompt and answers apart": Case(
        [{"prompt": f"\n\nHuman: {Q}\n\nAssistant:", "chosen": A, "rejected": B}], (pair(Q, A, B),)
    ),
    "text about a human: is text": Case(
        [{"prompt": "Human: 这个词是什么意思？", "chosen": A, "rejected": B}],
        (pair("Human: 这个词是什么意思？", A, B),),
    ),
    "an answer with role names is text": Case(
        [{"prompt": Q, "chosen": "对话如下。\nuser: 你好\nassistant: 你好", "rejected": B}],
        (pair(Q, "对话如下。\nuser: 你好\nassistant: 你好", B),),
    ),
    # turns
    "swift: several turns": Case([{"messages": [U, V, W, says(A)], "rejected_response": B}], (pair(THREE, A, B),)),
    "swift: rejected_messages": Case([{"messages": [U, says(A)], "rejected_messages": [U, says(B)]}], (pair(Q, A, B),)),
    "swift: history and query": Case(
        [
            {
                "system": "请简短回答。",
                "history": [[Q, "您问的是今天吗？"]],
                "query": "是的，今天。",
                "response": A,
                "rejected_response": B,
            }
        ],
        (pair((SYSTEM, *THREE), A, B),),
    ),
    "history in pairs with nulls": Case(
        [
            {"instruction": Q, "chosen": A, "rejected": B, "history": None, "system": None},
            {
                "instruction": "是的，今天。",
                "chosen": A,
                "rejected": B,
                "history": [[Q, "您问的是今天吗？"]],
                "system": "",
            },
        ],
        (pair(Q, A, B), pair(THREE, A, B)),
    ),
    "history as messages": Case(
        [{"query": "是的，今天。", "history": [U, V], "response": A, "model": "m", "score": 8}],
        (scored(THREE, {A: 8}),),
    ),
    "history and messages": Case(
        [{"messages": [U], "history": [["甲", "乙"]], "chosen": A, "rejected": B}], refused=("history", "messages")
    ),
    "a system turn twice, the same": Case(
        [{"system": "请简短回答。", "messages": [S, U], "chosen": A, "rejected": B}],
        (pair((SYSTEM, ("user", Q)), A, B),),
    ),
    "two system turns": Case(
        [{"system": "请详细回答。", "messages": [S, U], "chosen": A, "rejected": B}], refused=("system",)
    ),
    "other system, other query": Case(
        [
            {"system": "甲。", "prompt": Q, "chosen": A, "rejected": B},
            {"system": "乙。", "prompt": Q, "chosen": B, "rejected": A},
        ],
        (pair((("system", "甲。"), ("user", Q)), A, B), pair((("system", "乙。"), ("user", Q)), B, A)),
    ),
    "a system prompt in nested rows": Case(
        [{"system": "请简短回答。", "query": Q, "responses": [{"model": "m", "text": A}]}],
        (Wanted((SYSTEM, ("user", Q)), (A,)),),
    ),
    "input behind an instruction": Case(
        [{"instruction": "翻译。", "input": "你好", "chosen": A, "rejected": B}], (pair("翻译。\n你好", A, B),)
    ),
    "input and prompt are ways to say it": Case(
        [{"input": Q, "chosen": A, "rejected": B, "instruction": ""}], (pair(Q, A, B),)
    ),
    "text parts of each turn": Case(
        [
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "text", "text": "中国的"}, {"type": "text", "text": "首都是哪里？"}],
                    }
                ],
                "chosen": {"role": "assistant", "content": [{"type": "text", "text": A}]},
                "rejected": says(B),
            }
        ],
        (pair(Q, A, B),),
    ),
    "a picture among the parts": Case(
        [
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "image": "a.png"}, {"type": "text", "text": Q}]}
                ],
                "chosen": A,
                "rejected": B,
            }
        ],
        refused=("image",),
    ),
    "a picture's address": Case(
        [{"prompt": Q, "image": "a.png", "chosen": A, "rejected": B}], refused=("image", "--drop")
    ),
    "pictures that are not there": Case(
        [{"prompt": Q, "images": [], "videos": None, "chosen": A, "rejected": B}], (pair(Q, A, B),)
    ),
    "a picture that nobody wants": Case(
        [{"prompt": Q, "image": "a.png", "chosen": A, "rejected": B}],
        (pair(Q, A, B),),
        options=(*DOMAIN, "--drop", "image"),
    ),
    "sound": Case([{"prompt": Q, "audios": ["a.wav"], "chosen": A, "rejected": B}], refused=("audios", "--drop")),
    "a role that nobody knows": Case(
        [{"messages": [{"role": "narrator", "content": "从前……"}, U], "chosen": A, "rejected": B}],
        refused=("narrator",),
    ),
    "roles in Chinese": Case(
        [
            {
                "conversations": [
                    {"role": "用户", "content": Q},
                    {"role": "助手", "content": "您问的是今天吗？"},
                    {"role": "用户", "content": "是的，今天。"},
                ],
                "chosen": A,
                "rejected": B,
            }
        ],
        (pair(THREE, A, B),),
    ),
    "ends in an assistant turn": Case(
        [{"messages": [U, V], "chosen": A, "rejected": B}], refused=("messages", "assistant"), never=("missing",)
    ),
    "both end in a user turn, elsewhere": Case(
        [{"chosen": [U, V, W], "rejected": [U, says("哪天？"), W]}], refused=("chosen",), never=("missing",)
    ),
    "the middle differs": Case(
        [{"chosen": [S, U, V, W, says(A)], "rejected": [S, U, says("哪天？"), W, says(B)]}],
        refused=("chosen", "rejected"),
        never=("chosen: missing",),
    ),
    "different questions": Case(
        [{"chosen": [U, says(A)], "rejected": [{"role": "user", "content": Q2}, says(B)]}],
        refused=("chosen", "rejected"),
    ),
    # tools
    "calls in the prompt, arguments as an object": Case(
        [
            {
                "messages": [
                    U,
                    {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [
                            {
                                "id": "c1",
                                "type": "function",
                                "function": {"name": "capital", "arguments": {"country": "中国"}},
                            }
                        ],
                    },
                    {"role": "tool", "tool_call_id": "c1", "content": "北京"},
                ],
                "chosen": A,
                "rejected": B,
            }
        ],
        (
            pair(
                (("user", Q), ("assistant", ""), ("tool", "北京")),
                A,
                B,
                more={
                    "messages": [
                        None,
                        {
                            "tool_calls": [
                                {
                                    "id": "c1",
                                    "type": "function",
                                    "function": {"name": "capital", "arguments": '{"country":"中国"}'},
                                }
                            ]
                        },
                        {"tool_call_id": "c1"},
                    ]
                },
            ),
        ),
    ),
    "both answers are calls": Case(
        [
            {
                "prompt": [U],
                "tools": '[{"type": "function", "function": {"name": "capital"}}]',
                "chosen": [{"role": "assistant", "content": "", "tool_calls": [BEIJING]}],
                "rejected": [
                    {
                        "role": "assistant",
                        "content": "",
                        "tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": "{}"}}],
                    }
                ],
            }
        ],
        (pair(Q, "", "", more={"tools": [{"type": "function", "function": {"name": "capital"}}]}),),
    ),
    "a call that is no call": Case(
        [
            {
                "conversations": [gpt(Q, "human"), gpt("不是 JSON", "function_call"), gpt("晴", "observation")],
                "chosen": gpt(A),
                "rejected": gpt(B),
            }
        ],
        refused=("function_call|conversations",),
    ),
    "an empty answer without a call": Case(
        [{"prompt": [U], "chosen": [says("")], "rejected": [says(B)]}], refused=("chosen",)
    ),
    # arena
    "arena: several turns": Case(
        [
            {
                "question_id": "a1",
                "model_a": "m1",
                "model_b": "m2",
                "winner": "model_b",
                "conversation_a": [U, V, W, says(A)],
                "conversation_b": [U, V, W, says(B)],
                "judge": "人",
            }
        ],
        (pair(THREE, B, A, models={A: "m1", B: "m2"}, judges=("人",), more={"query_id": "a1"}),),
    ),
    "arena: the turns go apart": Case(
        [
            {
                "question_id": "a1",
                "model_a": "m1",
                "model_b": "m2",
                "winner": "model_a",
                "conversation_a": [U, V, W, says(A)],
                "conversation_b": [U, says("哪天？"), W, says(B)],
            }
        ],
        refused=("conversation_a|conversation_b",),
    ),
    "one-hot: bool columns": Case(
        [
            {
                "id": 5,
                "model_a": "m1",
                "model_b": "m2",
                "prompt": Q,
                "response_a": A,
                "response_b": B,
                "winner_model_a": False,
                "winner_model_b": True,
                "winner_tie": False,
            }
        ],
        (pair(Q, B, A),),
    ),
    "one-hot: two of them": Case(
        [
            {
                "id": 5,
                "model_a": "m1",
                "model_b": "m2",
                "prompt": Q,
                "response_a": A,
                "response_b": B,
                "winner_model_a": 1,
                "winner_model_b": 1,
                "winner_tie": 0,
            }
        ],
        refused=("winner_model_a", "winner_model_b"),
    ),
    "one-hot: none of them": Case(
        [
            {
                "id": 5,
                "model_a": "m1",
                "model_b": "m2",
                "prompt": Q,
                "response_a": A,
                "response_b": B,
                "winner_model_a": 0,
                "winner_model_b": 0,
                "winner_tie": 0,
            }
        ],
        (Wanted(Q, (A, B)),),
        refused=("winner",),
    ),
}


@pytest.mark.parametrize("about", KINDS)
def test_others_of_each_kind(about: str, tmp_path: Path) -> None:
    check(KINDS[about], tmp_path)


@pytest.mark.parametrize(("about", "kind"), in_other_formats(KINDS))
def test_the_same_rows_in_other_formats_give_the_same(about: str, kind: str, tmp_path: Path) -> None:
    check(KINDS[about], tmp_path, write=TWINS[kind])
