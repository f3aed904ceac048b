"""Others of each kind that `test_cases.py` has one of: other names, other order, other formats, nulls, mixed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from casebook import TWINS, Case, Wanted, better, check, pair, scored, twins_of

DOMAIN = ("--domain", "chat")
Q, Q2 = "中国的首都是哪里？", "水的沸点是多少？"
A, B, C = "是北京。", "是上海。", "不知道。"
U, V = {"role": "user", "content": Q}, {"role": "assistant", "content": "您问的是今天吗？"}
W = {"role": "user", "content": "是的，今天。"}
S = {"role": "system", "content": "请简短回答。"}
THREE = (("user", Q), ("assistant", "您问的是今天吗？"), ("user", "是的，今天。"))
SYSTEM = ("system", "请简短回答。")
BEIJING = {"type": "function", "function": {"name": "capital", "arguments": '{"country": "中国"}'}}


def says(text: str, role: str = "assistant") -> dict[str, str]:
    return {"role": role, "content": text}


def gpt(text: str, sender: str = "gpt") -> dict[str, str]:
    return {"from": sender, "value": text}


def sides(verdict: Any, name: str = "winner", first: str = "response_a", second: str = "response_b") -> dict[str, Any]:
    return {"prompt": Q, first: A, second: B, name: verdict}


def winner(*verdicts: Any, name: str = "winner", first: str = "response_a", second: str = "response_b") -> list[Any]:
    """A row a verdict, each about a query of its own."""
    return [sides(one, name, first, second) | {"prompt": f"{Q}{at}"} for at, one in enumerate(verdicts)]


def told(*by: float | None) -> tuple[Wanted, ...]:
    """How much the first of each of those rows is better; None where nothing was said."""
    return tuple(Wanted(f"{Q}{at}", (A, B), () if one is None else ((A, B, one),)) for at, one in enumerate(by))


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
    # winners that count
    "winner 0/1 by a name that says it counts from 0": Case(
        [sides(1, "better_response_id", "response_0", "response_1")], (pair(Q, B, A),)
    ),
    "0/1/2 together": Case(winner(0, 1, 2), refused=("--values", "0", "1", "2")),
    "0 and 1 for sides named 1 and 2": Case(
        winner(0, 1, first="response_1", second="response_2"), refused=("--values",)
    ),
    "1 and 2, both": Case(winner(1, 2, 2, first="response_1", second="response_2"), told(1, -1, -1)),
    "1 and 2 as text": Case(winner("1", "2", first="answer_1", second="answer_2"), told(1, -1)),
    "only 2": Case(winner(2, 2, first="response_1", second="response_2"), refused=("--values",)),
    "only 0": Case(winner(0, 0), refused=("--values",)),
    "0, 1 and 2 are said": Case(
        winner(0, 1, 2), told(0, 1, -1), options=(*DOMAIN, "--values", "tie=0,first=1,second=2")
    ),
    "words are said": Case(
        winner("甲胜", "乙胜", "平"), told(1, -1, 0), options=(*DOMAIN, "--values", "first=甲胜,second=乙胜,tie=平")
    ),
    "a word that nobody knows": Case(winner("A", "whatever"), refused=("winner", "whatever")),
    "true is no side": Case(winner(True, False), refused=("winner",)),
    "a verdict that is missing is none": Case(winner("A", None, ""), told(1, None, None)),
    "label of sides": Case(winner("A", "B", "tie", name="label"), told(1, -1, 0)),
    "preference in words": Case(winner("a", "b", name="preference"), told(1, -1)),
    "brackets": Case(winner("[[A]]", "[[B]]", "[[C]]"), told(1, -1, 0)),
    "model names of an arena": Case(
        [{"question": Q, "model_a": "m1", "model_b": "m2", "response_a": A, "response_b": B, "winner": "model_b"}],
        (pair(Q, B, A, models={A: "m1", B: "m2"}),),
    ),
    "the winner is a model's name": Case(
        [{"question": Q, "model_a": "m1", "model_b": "m2", "response_a": A, "response_b": B, "winner": "m2"}],
        (pair(Q, B, A),),
        refused=("winner", "m2"),
    ),
    "both are good": Case(winner("tie (bothbad)", "bothbad", "both_good", "Tie"), told(0, 0, 0, 0)),
    "-3 to 3": Case(
        [
            {"prompt": Q, "response1": A, "response2": B, "overall_preference": 2},
            {"prompt": Q2, "response1": A, "response2": B, "overall_preference": -1},
            {"prompt": Q2 + "？", "response1": A, "response2": B, "overall_preference": 0},
        ],
        (
            Wanted(Q, (A, B), better(B, A, by=2)),
            Wanted(Q2, (A, B), better(A, B)),
            Wanted(Q2 + "？", (A, B), better(A, B, by=0)),
        ),
    ),
    # several rejected, lists in order
    "two chosen, two rejected": Case(
        [{"prompt": Q, "chosen": [A, "北京。"], "rejected": [B, C]}],
        (Wanted(Q, (A, "北京。", B, C), better(A, B, C) + better("北京。", B, C)),),
    ),
    "one rejected in a list": Case([{"prompt": Q, "chosen": A, "rejected": [B]}], (pair(Q, A, B),)),
    "rejected in a list, one of them null": Case(
        [{"prompt": Q, "chosen": A, "rejected": [B, None, C]}],
        (Wanted(Q, (A, B, C), better(A, B, C)),),
        refused=("rejected",),
    ),
    "a list that is said to be best first": Case(
        [{"instruction": Q, "input": "", "output": [A, B, C]}],
        (Wanted(Q, (A, B, C), better(A, B, C)),),
        options=(*DOMAIN, "--format", "best-first"),
    ),
    "equal texts": Case(
        [{"prompt": Q, "chosen": A, "rejected": A}], (Wanted(Q, (A,)),), refused=("chosen", "same|equal")
    ),
    # ranks
    "ranks in the responses": Case(
        [{"prompt": Q, "responses": [{"text": B, "rank": 2}, {"text": A, "rank": 1}, {"text": C, "rank": 2}]}],
        (Wanted(Q, (A, B, C), better(A, B, C)),),
        pairs=((A, B), (A, C)),
    ),
    "ranks as text": Case(
        [{"prompt": Q, "answers": [{"answer": A, "rank": "1"}, {"answer": B, "rank": "2"}]}], (pair(Q, A, B),)
    ),
    "fewer ranks than responses": Case([{"prompt": Q, "responses": [A, B, C], "rank": [1, 2]}], refused=("rank", "3")),
    "ratings of plain texts": Case([{"prompt": Q, "responses": [A, B], "ratings": [8, 3]}], (scored(Q, {A: 8, B: 3}),)),
    "scores beside responses": Case(
        [{"query": Q, "responses": [A, B], "scores": [9, 2], "models": ["m1", "m2"]}],
        (scored(Q, {A: 9, B: 2}, models={A: "m1", B: "m2"}),),
        refused=("responses",),
    ),
    "a rating is missing": Case(
        [{"instruction": Q, "generations": [A, B], "ratings": [8, None]}], (scored(Q, {A: 8, B: None}),)
    ),
    # kto
    "kto: 1 and -1": Case(
        [{"prompt": Q, "completion": A, "label": 1}, {"prompt": Q, "completion": B, "label": -1}],
        (scored(Q, {A: 1, B: 0}),),
        pairs=((A, B),),
        threshold=1,
    ),
    "kto: 1 and 0": Case(
        [{"prompt": Q, "completion": A, "label": 1}, {"prompt": Q, "completion": B, "label": 0}],
        (scored(Q, {A: 1, B: 0}),),
        refused=("label",),
    ),
    "kto: turns": Case(
        [
            {"prompt": [S, U], "completion": [says(A)], "label": True},
            {"prompt": [S, U], "completion": [says(B)], "label": False},
        ],
        (scored((SYSTEM, ("user", Q)), {A: 1, B: 0}),),
    ),
    "kto: llama-factory": Case(
        [
            {"messages": [gpt(Q, "human"), gpt(A)], "label": True},
            {"messages": [gpt(Q, "human"), gpt(B)], "label": False},
        ],
        (scored(Q, {A: 1, B: 0}),),
    ),
    "kto: kto_tag": Case(
        [{"instruction": Q, "output": A, "kto_tag": True}, {"instruction": Q, "output": B, "kto_tag": False}],
        (scored(Q, {A: 1, B: 0}),),
    ),
    "kto: one label is missing": Case(
        [{"prompt": Q, "completion": A, "label": True}, {"prompt": Q, "completion": B, "label": None}],
        (scored(Q, {A: 1, B: None}),),
        refused=("label",),
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
    # nulls
    "null hides nothing": Case(
        [
            {
                "conversations": [],
                "messages": None,
                "question": "",
                "prompt": Q,
                "response": None,
                "chosen": A,
                "rejected": B,
            }
        ],
        (pair(Q, A, B),),
    ),
    "two filled names that differ": Case(
        [{"prompt": Q, "question": Q2, "chosen": A, "rejected": B}], refused=("prompt", "question", "--map")
    ),
    "two filled names that agree": Case([{"prompt": Q, "question": Q, "chosen": A, "rejected": B}], (pair(Q, A, B),)),
    "a null chosen": Case([{"prompt": Q, "chosen": None, "rejected": B}], refused=("chosen",)),
    "a missing score of a flat row": Case(
        [
            {"prompt": Q, "response": A, "model": "m1", "score": 7},
            {"prompt": Q, "response": B, "model": "m2", "score": ""},
        ],
        (scored(Q, {A: 7, B: None}),),
    ),
    "no score at all": Case(
        [{"prompt": Q, "response": A, "model": "m1", "quality": 7}],
        (Wanted(Q, (A,)),),
        says=("quality", "no score|no comparison"),
    ),
    # scores
    "scores of both answers, by other names": Case(
        [{"prompt": Q, "chosen": A, "rejected": B, "chosen_rating": 8, "rejected_rating": 2.5}],
        (pair(Q, A, B, scores={A: (8,), B: (2.5,)}),),
    ),
    "scores that say the opposite": Case(
        [{"prompt": Q, "chosen": A, "rejected": B, "score_chosen": 2, "score_rejected": 8}],
        refused=("score_chosen|chosen", "2", "8"),
    ),
    "models of both answers": Case(
        [{"prompt": Q, "chosen": A, "rejected": B, "chosen_model": "m1", "rejected_model": "m2"}],
        (pair(Q, A, B, models={A: "m1", B: "m2"}),),
    ),
    "full-width digits": Case([{"prompt": Q, "response": A, "model": "m", "score": "８．５"}], (scored(Q, {A: 8.5}),)),
    "a score with its unit": Case(
        [{"prompt": Q, "response": A, "model": "m", "score": "9分"}], refused=("score", "9分")
    ),
    "0 to 1": Case(
        [{"query": Q, "responses": [{"model": "a", "text": A, "scores": [{"judge": "j", "score": 0.9}]}]}],
        refused=("--score-range 0 1", "0.9"),
    ),
    "0 to 5": Case(
        [
            {"prompt": Q, "response": A, "model": "m", "score": 0},
            {"prompt": Q, "response": B, "model": "n", "score": 5},
        ],
        refused=("--score-range 0",),
    ),
    "attributes of other names": Case(
        [
            {
                "prompt": Q,
                "response": A,
                "helpfulness": 4,
                "correctness": 3,
                "coherence": 4,
                "complexity": 2,
                "verbosity": 2,
            },
            {
                "prompt": Q,
                "response": B,
                "helpfulness": 1,
                "correctness": 0,
                "coherence": 4,
                "complexity": 2,
                "verbosity": 2,
            },
            {
                "prompt": Q2,
                "response": C,
                "helpfulness": 0,
                "correctness": 0,
                "coherence": 2,
                "complexity": 0,
                "verbosity": 0,
            },
        ],
        (
            Wanted(Q, (A, B), scores={A: (4, 3, 4, 2, 2), B: (1, 0, 4, 2, 2)}),
            Wanted(Q2, (C,), scores={C: (0, 0, 2, 0, 0)}),
        ),
        score_range=(0, 4),
    ),
    "a column a judge, one empty": Case(
        [
            {"prompt": Q, "model": "m1", "output": A, "s1": 8, "s2": None},
            {"prompt": Q, "model": "m2", "output": B, "s1": 3, "s2": 4},
        ],
        (Wanted(Q, (A, B), scores={A: (8,), B: (3, 4)}, judges=("x", "y")),),
        options=(*DOMAIN, "--score-column", "x=s1", "--score-column", "y=s2"),
    ),
    "annotators that see it alike": Case(
        [{"instruction": Q, "response_1": A, "response_2": B, "annotator1": 2, "annotator2": 2, "annotator3": 1}],
        (Wanted(Q, (A, B), ((A, B, -1), (A, B, -1), (A, B, 1)), judges=("annotator1", "annotator2", "annotator3")),),
    ),
    "annotators with a 0": Case(
        [{"instruction": Q, "response1": A, "response2": B, "annotator1": 0, "annotator2": 1, "annotator3": 2}],
        refused=("--values", "annotator"),
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
    # ids
    "ids that number rows": Case(
        [{"id": 1, "prompt": Q, "chosen": A, "rejected": B}, {"id": 2, "prompt": Q, "chosen": A, "rejected": C}],
        (Wanted(Q, (A, B, C), better(A, B, C)),),
        says=(r"\bid\b",),
    ),
    "ids of queries": Case(
        [
            {"id": "x", "prompt": Q, "response": A, "model": "m1", "score": 8},
            {"id": "x", "prompt": Q, "response": B, "model": "m2", "score": 3},
        ],
        (scored(Q, {A: 8, B: 3}, more={"query_id": "x"}),),
    ),
    "one id, two texts": Case(
        [
            {"query_id": "x", "prompt": Q, "chosen": A, "rejected": B},
            {"query_id": "x", "prompt": Q2, "chosen": A, "rejected": B},
        ],
        refused=("query_id",),
    ),
    # samples
    "three samples, flat, one twice": Case(
        [
            {"query": Q, "model": "m", "response": text, "judge": judge, "score": score}
            for text, judge, score in ((A, "j", 9), (B, "j", 3), (A, "k", 8))
        ],
        (Wanted(Q, (A, B), scores={A: (9, 8), B: (3,)}, models={A: "m", B: "m"}),),
        pairs=((A, B),),
    ),
    # files that belong together
    "scores first": Case(
        [
            {"query_id": "x", "model": "m1", "judge": "j", "score": 8},
            {"query_id": "x", "model": "m2", "judge": "j", "score": 2},
        ],
        (scored(Q, {A: 8, B: 2}, judges=("j",)),),
        files={
            "gens.jsonl": [
                {"query_id": "x", "query": Q, "model": "m1", "response": A},
                {"query_id": "x", "query": Q, "model": "m2", "response": B},
            ]
        },
    ),
    "scores of samples": Case(
        [
            {"query_id": "x", "query": Q, "model": "m", "sample": 0, "response": A},
            {"query_id": "x", "query": Q, "model": "m", "sample": 1, "response": B},
        ],
        (scored(Q, {A: 8, B: 2}),),
        files={
            "scores.csv": [
                {"query_id": "x", "model": "m", "sample": 1, "score": 2},
                {"query_id": "x", "model": "m", "sample": 0, "score": 8},
            ]
        },
    ),
    "a score for two samples": Case(
        [
            {"query_id": "x", "query": Q, "model": "m", "response": A},
            {"query_id": "x", "query": Q, "model": "m", "response": B},
        ],
        refused=("x", "m"),
        files={"scores.csv": [{"query_id": "x", "model": "m", "score": 2}]},
    ),
    "scores of two judges in two files": Case(
        [{"query_id": "x", "query": Q, "model": "m", "response": A}],
        (Wanted(Q, (A,), scores={A: (8, 7)}, judges=("j", "k")),),
        files={
            "one.csv": [{"query_id": "x", "model": "m", "judge": "j", "score": 8}],
            "two.csv": [{"query_id": "x", "model": "m", "judge": "k", "score": 7}],
        },
    ),
    # mixed
    "three shapes in one file": Case(
        [
            {"query": Q, "responses": [{"model": "m", "text": A, "scores": [{"judge": "j", "score": 8}]}]},
            {"prompt": Q2, "chosen": A, "rejected": B},
            {"instruction": "第三题？", "output": C, "model": "n", "score": 2},
        ],
        (scored(Q, {A: 8}), pair(Q2, A, B), scored("第三题？", {C: 2})),
        refused=("shape|rows|form",),
    ),
    "a row of nothing known": Case(
        [{"prompt": Q, "chosen": A, "rejected": B}, {"foo": 1, "bar": "x"}], refused=("foo", "bar")
    ),
    "answers that are not recognised": Case(
        [{"prompt": Q, "good_answer": A, "bad_answer": B}],
        refused=("good_answer", "bad_answer"),
        never=("query: missing",),
    ),
    "half a pair": Case(
        [{"prompt": Q, "chosen": A}], refused=("rejected",), never=("chosen: missing", "query: missing")
    ),
    "other encodings": Case(
        json.dumps([{"prompt": Q, "chosen": A, "rejected": B}], ensure_ascii=False).encode("utf-16"),
        refused=("--encoding utf-16",),
    ),
}


@pytest.mark.parametrize("about", KINDS)
def test_others_of_each_kind(about: str, tmp_path: Path) -> None:
    check(KINDS[about], tmp_path)


@pytest.mark.parametrize(
    ("about", "kind"),
    [(about, kind) for about, case in KINDS.items() if isinstance(case.rows, list) for kind in twins_of(case.rows)],
)
def test_the_same_rows_in_other_formats_give_the_same(about: str, kind: str, tmp_path: Path) -> None:
    check(KINDS[about], tmp_path, write=TWINS[kind])


def test_a_page_of_gb18030_in_each_format(tmp_path: Path) -> None:
    """It is recognised, and what to pass is said; with that it is read."""
    rows = [{"prompt": Q, "chosen": A, "rejected": B}]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    table = f"prompt,chosen,rejected\n{Q},{A},{B}\n"
    for name, text in (("x.jsonl", lines), ("x.json", json.dumps(rows, ensure_ascii=False)), ("x.csv", table)):
        for encoding in ("gb18030", "utf-16"):
            folder = tmp_path / f"{name}-{encoding}"
            folder.mkdir()
            (folder / name).write_bytes(text.encode(encoding))
            refused = Case(folder / name, refused=(f"--encoding {encoding}",))
            check(refused, folder)
            taken = Case(folder / name, (pair(Q, A, B),), options=(*DOMAIN, "--encoding", encoding))
            check(taken, folder)
