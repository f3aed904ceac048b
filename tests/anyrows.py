"""Rows of every shape at random, each with what it must give; and the same rows damaged."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from random import Random
from typing import Any

from casebook import Turns, Wanted, better

Row = dict[str, Any]
Made = tuple[Row, Wanted]

_WORDS = (
    "今天",
    "北京",
    "怎么",
    "三个",
    "user:",
    "因为",
    "\n",
    "，",
    "Human: ",
    "没有",
    "\t",
    "<b>",
    "ok",
    "\U0001f600",
    "é",
)
_HUMAN, _GPT = ("human", "user", "人类"), ("gpt", "assistant", "助手")


def text(rng: Random, ends: str) -> str:
    """Some text that is not blank and ends in a way of its own."""
    return "".join(rng.choice(_WORDS) for _ in range(rng.randint(1, 6))).strip() + ends


def answers(rng: Random, count: int) -> list[str]:
    """So many different texts."""
    return [text(rng, f"答{at}。") for at in range(count)]


def turns(rng: Random, about: str) -> Turns:
    """What is said before a response: one user's text in half of the cases."""
    system = (("system", text(rng, "助手。")),) if rng.random() < 0.3 else ()
    before: Turns = ()
    for at in range(rng.choice([0, 0, 1, 2])):
        before += (("user", text(rng, f"问{at}？")), ("assistant", text(rng, f"回{at}。")))
    return (*system, *before, ("user", text(rng, about)))


def as_messages(rng: Random, said: Turns, style: str | None = None) -> list[Row]:
    """Turns in one of the ways that people write them."""
    style = style or rng.choice(["openai", "sharegpt", "parts"])
    if style == "sharegpt":
        names = {"user": rng.choice(_HUMAN), "assistant": rng.choice(_GPT), "system": "system"}
        return [{"from": names[role], "value": content} for role, content in said]
    if style == "parts":
        return [{"role": role, "content": [{"type": "text", "text": content}]} for role, content in said]
    return [{"role": role, "content": content} for role, content in said]


def prompt_of(said: Turns) -> str | Turns:
    return said[0][1] if len(said) == 1 and said[0][0] == "user" else said


def put_prompt(rng: Random, row: Row, said: Turns) -> None:
    """Give a row its prompt, as fields that may stand for one."""
    way = rng.choice(["messages", "fields"])
    if way == "messages" and len(said) > 1:
        row[rng.choice(["messages", "conversations", "prompt"])] = as_messages(rng, said)
        return
    if said[0][0] == "system":
        row[rng.choice(["system", "system_prompt"])] = said[0][1]
        said = said[1:]
    row[rng.choice(["prompt", "query", "instruction", "question", "问题"])] = said[-1][1]
    if len(said) > 1:
        contents = [content for _, content in said[:-1]]
        row["history"] = [list(pair) for pair in zip(contents[::2], contents[1::2], strict=True)]
    for name in ("history", "system", "input", "images"):
        if rng.random() < 0.1:
            row.setdefault(name, rng.choice([None, "", []]))


def score(rng: Random) -> float:
    return rng.choice([1, 10, 5.5, 7, 2.25, 9.0])


def written(rng: Random, number: float) -> Any:
    """A score as people write it."""
    return rng.choice(
        [number, number, f"{number:g}", f"{number:g}".translate(str.maketrans("0123456789", "０１２３４５６７８９"))]
    )


def nested(rng: Random, about: str) -> Made:
    said, texts = turns(rng, about), answers(rng, rng.randint(1, 3))
    row: Row = {"query_id": about} if rng.random() < 0.5 else {}
    if len(said) == 1:
        row["query"] = said[0][1]
    else:
        row["messages"] = as_messages(rng, said, "openai")
    given = {one: (score(rng),) for one in texts if rng.random() < 0.8}
    row["responses"] = [
        {"model": f"m{at}", "text": one, "scores": [{"judge": "j", "score": n} for n in given.get(one, ())]}
        for at, one in enumerate(texts)
    ]
    return row, Wanted(
        prompt_of(said), tuple(texts), scores=given, models={one: f"m{at}" for at, one in enumerate(texts)}
    )


def flat(rng: Random, about: str) -> Made:
    said, (one,), given = turns(rng, about), answers(rng, 1), score(rng)
    row: Row = {"model": "m", rng.choice(["score", "rating", "分数"]): written(rng, given)}
    put_prompt(rng, row, said)
    row[rng.choice(["output", "answer", "text", "回答"])] = one
    return row, Wanted(prompt_of(said), (one,), scores={one: (given,)}, models={one: "m"})


def ultrafeedback(rng: Random, about: str) -> Made:
    said, texts = turns(rng, about)[-1:], answers(rng, 2)
    given = {one: (score(rng), score(rng)) for one in texts}
    completions = [
        {"model": f"m{at}", "response": one, "annotations": {
            "helpfulness": {"Rating": f"{given[one][0]:g}", "Rationale": "r"}, "honesty": {"Rating": given[one][1]}}}
        for at, one in enumerate(texts)
    ]  # fmt: skip
    return {"instruction": said[0][1], "completions": completions}, Wanted(said[0][1], tuple(texts), scores=given)


def rated(rng: Random, about: str) -> Made:
    said, texts = turns(rng, about)[-1:], answers(rng, rng.randint(2, 4))
    given = {one: (score(rng),) for one in texts}
    row = {"instruction": said[0][1], "generations": texts, "ratings": [given[one][0] for one in texts]}
    return row, Wanted(said[0][1], tuple(texts), scores=given)


def ranked(rng: Random, about: str) -> Made:
    said, texts = turns(rng, about)[-1:], answers(rng, rng.randint(2, 4))
    ranks = [rng.randint(1, 3) for _ in texts]
    order = [
        one
        for at, first in enumerate(texts)
        for nth, second in enumerate(texts)
        if ranks[at] < ranks[nth]
        for one in better(first, second)
    ]
    row: Row = {"prompt": said[0][1]}
    if rng.random() < 0.5:
        row |= {"responses": texts, "rank": ranks}
    else:
        row["answers"] = [{"answer": one, "rank": float(rank)} for one, rank in zip(texts, ranks, strict=True)]
    return row, Wanted(said[0][1], tuple(texts), tuple(order))


def pairwise(rng: Random, about: str) -> Made:
    said, (first, second) = turns(rng, about), answers(rng, 2)
    by, word = rng.choice([(1, "A"), (-1, "model_b"), (0, "tie"), (1, "[[A]]"), (0, "tie (bothbad)"), (-1, "b")])
    row: Row = {"response_a": first, "response_b": second, "winner": word}
    put_prompt(rng, row, said)
    return row, Wanted(prompt_of(said), (first, second), ((first, second, by),))


def pairs(rng: Random, about: str) -> Made:
    said, (won, lost) = turns(rng, about), answers(rng, 2)
    row: Row = {}
    way = rng.choice(["text", "whole", "last", "hh", "several"])
    if way == "hh" and not any(word in one for word in ("Human: ", "user:") for _, one in (*said, ("", won + lost))):
        said = tuple(turn for turn in said if turn[0] != "system")
        names = rng.choice([("Human: ", "Assistant: "), ("人类：", "助手：")])
        before = "".join(f"\n\n{names[role == 'assistant']}{content}" for role, content in said)
        row |= {"chosen": f"{before}\n\n{names[1]}{won}", "rejected": f"{before}\n\n{names[1]}{lost}"}
    elif way == "whole":
        style = rng.choice(["openai", "sharegpt", "parts"])
        row |= {"chosen": as_messages(rng, (*said, ("assistant", won)), style)}
        row |= {"rejected": as_messages(rng, (*said, ("assistant", lost)), style)}
        if rng.random() < 0.5 and said[-1][0] == "user" and len(said) == 1:
            row["prompt"] = said[0][1]
        if style == "sharegpt":  # the same names in both
            row["rejected"] = [*copy.deepcopy(row["chosen"][:-1]), row["rejected"][-1]]
    else:
        put_prompt(rng, row, said)
        as_turn = way == "last"
        row["chosen"] = as_messages(rng, (("assistant", won),), "openai")[0] if as_turn else won
        row["rejected"] = as_messages(rng, (("assistant", lost),), "openai") if as_turn else lost
        if way == "several":
            row["rejected"] = [lost, "别的" + lost]
            return row, Wanted(prompt_of(said), (won, lost, "别的" + lost), better(won, lost, "别的" + lost))
    given = {}
    if rng.random() < 0.3:
        given = {won: (9.0,), lost: (3.5,)}
        row |= {"score_chosen": 9, "score_rejected": 3.5}
    return row, Wanted(prompt_of(said), (won, lost), better(won, lost), scores=given)


def kto(rng: Random, about: str) -> Made:
    said, (one,), good = turns(rng, about), answers(rng, 1), rng.random() < 0.5
    row: Row = {"label": good}
    if rng.random() < 0.4:
        row["messages"] = as_messages(rng, (*said, ("assistant", one)), rng.choice(["openai", "sharegpt"]))
    else:
        put_prompt(rng, row, said)
        row["completion"] = one
    return row, Wanted(prompt_of(said), (one,), scores={one: (float(good),)})


def attributes(rng: Random, about: str) -> Made:
    said, (one,) = turns(rng, about)[-1:], answers(rng, 1)
    names = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
    given = {name: rng.randint(0, 4) for name in names}
    return {"prompt": said[0][1], "response": one} | given, Wanted(
        said[0][1], (one,), scores={one: tuple(given.values())}
    )


Maker = Callable[[Random, str], Made]
FAMILIES: dict[tuple[float, float], tuple[Maker, ...]] = {
    (1, 10): (nested, flat, ultrafeedback, rated, ranked, pairwise, pairs, pairs),
    (0, 1): (kto,),
    (0, 4): (attributes,),
}
"""The forms that can stand in one import, by the range of their scores."""


def rows(rng: Random, count: int, score_range: tuple[float, float]) -> list[Made]:
    """So many rows, each about a query of its own."""
    return [rng.choice(FAMILIES[score_range])(rng, f"第{at}题？") for at in range(count)]


_DEEP: Any = None
for _ in range(60):
    _DEEP = [_DEEP] if len(repr(_DEEP)) % 2 else {"a": _DEEP}
JUNK: tuple[Any, ...] = (
    None,
    "",
    " \u3000",
    True,
    False,
    0,
    -1,
    1.5,
    10**400,
    -(10**30),
    1e308,
    float("nan"),
    float("inf"),
    "\ud800",
    "\udfff甲",
    "\x00",
    "\x1b[31m\u202e",
    "9",
    "９分",
    "N/A",
    "[[A]]",
    [],
    {},
    [[]],
    [None],
    [{}],
    {"a": {"b": [1, None]}},
    _DEEP,
    [1, 2, 3],
    ["甲", 3],
    {"role": "user"},
    {"role": "user", "content": 5},
    [{"role": "tool", "content": "x"}],
    [["甲"]],
    [["甲", "乙"]],
    {"text": "甲"},
    "甲" * 3000,
    '{"a": 1}',
    0.123456789,
    "-3",
)
NAMES = (
    "id",
    "query_id",
    "domain",
    "source",
    "prompt",
    "messages",
    "conversations",
    "history",
    "system",
    "input",
    "images",
    "tools",
    "chosen",
    "rejected",
    "response",
    "responses",
    "completions",
    "generations",
    "ratings",
    "rank",
    "ranks",
    "answers",
    "score",
    "scores",
    "label",
    "winner",
    "judge",
    "model",
    "model_a",
    "dimension",
    "rationale",
    "comparisons",
    "sample",
    "meta",
    "extra",
    "text",
    "response_a",
    "conversation_a",
    "helpfulness",
    "annotator1",
    "margin",
    "",
    "\x1b]0;",
)


def junk(rng: Random) -> Any:
    """A value that hardly any field should have."""
    return copy.deepcopy(rng.choice(JUNK))


def damaged(rng: Random, row: Row) -> Any:
    """The row with one or more of its values replaced, left out, moved or added to."""
    row = copy.deepcopy(row)
    if rng.random() < 0.02:
        return junk(rng)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at: Any = row
        while True:  # down to a random depth
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(at[key], (dict, list)) and at[key] and rng.random() < 0.7:
                at = at[key]
                continue
            way = rng.random()
            if way < 0.6:
                at[key] = junk(rng)
            elif way < 0.7:
                del at[key]
            elif way < 0.8 and isinstance(at, dict):
                at[rng.choice(NAMES)] = at.pop(key)
            elif way < 0.9 and isinstance(at, dict):
                at[rng.choice(NAMES)] = junk(rng)
            else:
                at[key] = [at[key]] if rng.random() < 0.5 else json.dumps(at[key], default=str)
            break
    return row
