"""For every rule what is planted in a clean store, and where it must be found."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa
from make import Rows, make_store, twin

from coig_p.schema import RAW_SCHEMA
from coig_p.store.conversations import transcript


def text_plant(text: str, **answer: Any) -> Callable[[Rows], dict[str, Any]]:
    """The text as the third response of query 5."""

    def plant(rows: Rows) -> dict[str, Any]:
        rows[5]["responses"][2] |= {"text": text, **answer}
        model = rows[5]["responses"][2]["model"]
        return {"domain": "math", "query_id": "q-05", "model": model, "field": "responses[2].text"}

    return plant


def query_plant(text: str) -> Callable[[Rows], dict[str, Any]]:
    def plant(rows: Rows) -> dict[str, Any]:
        rows[4]["query"] = text
        return {"domain": "chat", "query_id": "q-04", "model": None, "field": "query"}

    return plant


def turn_plant(role: str, field: str) -> Callable[[Rows], dict[str, Any]]:
    """Two turns in the place of a query; an assistant speaks last, whoever else first."""

    def plant(rows: Rows) -> dict[str, Any]:
        who = ("user", role) if role == "assistant" else (role, "user")
        said = zip(who, ("请问这道题怎么做？", "先看条件，再想办法。"), strict=True)
        messages = [{"role": one, "content": text, "extra": None} for one, text in said]
        rows[4].update(messages=messages, query=transcript(messages))
        return {"domain": "chat", "query_id": "q-04", "model": None, "field": field}

    return plant


def response_plant(change: Callable[[dict[str, Any]], None], field: str = "responses[1]") -> Any:
    def plant(rows: Rows) -> dict[str, Any]:
        change(rows[7])
        return {"domain": "math", "query_id": "q-07", "model": rows[7]["responses"][1]["model"], "field": field}

    return plant


def comparison_plant(**changes: Any) -> Callable[[Rows], dict[str, Any]]:
    good = {"first": 0, "second": 1, "judge": "h", "dimension": "overall", "first_score": 1.0, "second_score": 0.0}

    def plant(rows: Rows) -> dict[str, Any]:
        for row in rows:
            row["comparisons"] = [good] * 2
        rows[6]["comparisons"] = [good, good | changes]
        return {"domain": "chat", "query_id": "q-06", "judge": changes.get("judge", "h"), "field": "comparisons[1]"}

    return plant


def set_score(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda row: row["responses"][1]["scores"][1].update(changes)


def set_answer(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda row: row["responses"][1].update(changes)


def everywhere(change: Callable[[dict[str, Any]], None], **found: Any) -> Any:
    def plant(rows: Rows) -> dict[str, Any]:
        for row in rows:
            change(row)
        return {"query_id": None} | found

    return plant


def longest_best(row: dict[str, Any]) -> None:
    for response in row["responses"]:
        response["text"] = "好" * int(response["scores"][0]["score"]) + response["text"][-8:]


def always_best(row: dict[str, Any]) -> None:
    for score in row["responses"][0]["scores"]:
        score["score"] = 10.0
    for response in row["responses"][1:]:
        for score in response["scores"]:
            score["score"] = min(score["score"], 7.0)


def one_score(row: dict[str, Any]) -> None:
    for response in row["responses"]:
        for score in response["scores"]:
            score["score"] = 5.0


def rare(rows: Rows) -> dict[str, Any]:
    rows[3]["responses"][0]["model"] = "ou-er"
    return {"model": "ou-er", "query_id": None}


def rare_judge(rows: Rows) -> dict[str, Any]:
    rows[3]["responses"][0]["scores"][0]["judge"] = "ou-er"
    return {"judge": "ou-er", "query_id": None}


def rare_domain(rows: Rows) -> dict[str, Any]:
    for at in range(3):
        rows += [copy.deepcopy(row) | {"query_id": f"{row['query_id']}-{at}"} for row in rows[:48]]
    rows[0]["domain"] = "logic"
    return {"domain": "logic", "query_id": None}


def id_twice(rows: Rows) -> dict[str, Any]:
    rows[2]["query_id"] = "q-00"
    return {"query_id": None, "excerpt": "q-00 stands 2 times"}


def other_judges(rows: Rows) -> dict[str, Any]:
    for at in (3, 5):
        rows[at]["responses"][2]["scores"][1]["judge"] = "pan-c"
    rows[3]["responses"][1]["scores"][0]["judge"] = "pan-c"
    for row in rows[7:]:  # as often as not to be rare
        for response in row["responses"]:
            response["scores"].append(response["scores"][1] | {"judge": "pan-c"})
    apart = 0
    for at in (3, 5):
        for one, other in combinations(rows[at]["responses"], 2):
            judges = [{score["judge"] for score in side["scores"]} for side in (one, other)]
            apart += judges[0] != judges[1] and one["scores"][0]["score"] != other["scores"][0]["score"]
    words = f"{apart} of 72 pairs, in 2 of 12 queries; for instance q-03: "
    sides = sorted([("mei", "pan-b + pan-c"), ("zhu", "pan-a + pan-c")])
    best = {r["model"]: r["scores"][0]["score"] for r in rows[3]["responses"]}
    others = [(model, "pan-a + pan-b") for model in ("lan", "ju")]
    pairs = [(a, b) for a in [*sides, *others] for b in [*sides, *others] if a[1] != b[1] and best[a[0]] > best[b[0]]]
    (good, good_by), (bad, bad_by) = min(pairs, key=lambda pair: (*_side(pair[0]), *_side(pair[1])))
    return {
        "domain": "math",
        "query_id": None,
        "excerpt": f"{words}{good} scored by {good_by}, {bad} by {bad_by}",
    }


def _side(side: tuple[str, str]) -> tuple[str, tuple[str, ...]]:
    return side[0], tuple(side[1].split(" + "))


def no_judge_of_one(rows: Rows) -> dict[str, Any]:
    """A score of the model itself does not count."""
    rows[4]["responses"][0]["scores"][0]["judge"] = "LAN"
    return {"domain": "chat", "query_id": None}


ID_CARD = "11010519491231002X"  # the example that the standard itself gives


MOJIBAKE = "今天的天气非常好，我们出去走一走"


PLANTS: dict[str, list[Callable[[Rows], dict[str, Any]]]] = {
    "script-traditional": [text_plant("這個問題應該這樣來解釋纔對。"), query_plant("請問這個問題應該怎麼辦？")],
    "script-some-traditional": [
        text_plant("这道题的条件写得很清楚，先看左边的式子，再把右边的数代进去，只有一個字不同。")
    ],
    "mixed-script": [text_plant("这道题的答案是三，她说：かわいい，然后就走了，再也没有回来看过一眼。")],
    "query-language": [query_plant("What is the best way to learn how to cook at home?")],
    "response-language": [text_plant("The answer to this question is three, because two and one make three.")],
    "empty": [text_plant(" \u3000\n"), query_plant("")],
    "replacement-character": [text_plant("这里丢了一个\ufffd字。")],
    "control-character": [text_plant("这里有\x07铃声。"), query_plant("这里有\x1b[31m什么？")],
    "zero-width": [text_plant("看不\u200b见的字。"), text_plant("连\u200d接。"), text_plant("\ufeff开头。")],
    "bidi-control": [text_plant("反\u202e过来。")],
    "private-use": [text_plant("私用\ue000区。")],
    "mojibake": [
        text_plant(MOJIBAKE.encode().decode("gbk", "ignore")),
        text_plant(MOJIBAKE.encode().decode("latin-1")),
        text_plant("前面是好的。" + MOJIBAKE.encode().decode("cp1252", "ignore")),
        text_plant("这里锟斤拷了。"),
    ],
    "special-token": [text_plant("答案是三。</s>"), text_plant("答案是三。<|im_end|>"), text_plant("[INST] 答案")],
    "thinking": [
        text_plant("<think>先看条件。</think>答案是三。"),
        text_plant("先看条件，再算。\n</think>\n\n答案是三。"),
        text_plant("答案是三。\n</think>"),
        text_plant("<think>先看条件，再算。"),
        text_plant("[THINK]先看条件。[/THINK]答案是三。"),
        text_plant("◁think▷先看条件。◁/think▷答案是三。"),
        text_plant("好的。\n<thinking>\n先看条件。\n</thinking>\n答案是三。"),
        text_plant("<seed:think>先看条件。</seed:think>答案是三。"),
    ],
    "repetition": [text_plant("他说了一遍又一遍的话。" * 20)],
    "truncated": [text_plant("首先看条件，其次看问题，")],
    "no-terminal-punctuation": [text_plant("答案就是三")],
    "outer-whitespace": [text_plant(" 答案是三。"), text_plant("答案是三。\n")],
    "brackets": [text_plant("答案（是三。"), text_plant("《书名是三。")],
    "code-fence": [
        text_plant("看代码：\n```python\nprint(1)\n完了。"),
        text_plant("如下：```python\nprint(1)\n完了。"),
    ],
    "latex": [text_plant("因为 $$x=1，所以是一。"), text_plant("因为 \\[x=1，所以是一。")],
    "refusal": [text_plant("很抱歉，我不能回答这个问题。")],
    "ai-disclosure": [text_plant("作为一个人工智能语言模型，我没有感情。")],
    "self-identity": [text_plant("你好，我是文心一言，很高兴认识你。", model="qwen-max")],
    "mobile": [text_plant("打电话 138 0013 8000 给我。"), text_plant("打１３８００１３８０００给我。")],
    "id-card": [text_plant(f"身份证号是{ID_CARD}。")],
    "bank-card": [text_plant("卡号是 4111 1111 1111 1111。")],
    "ip-address": [text_plant("服务器在8.8.8.8上。")],
    "email": [text_plant("写信到zhang.san@example.com。"), text_plant("写信到ｚｓ＠example.com。")],
    "words": [text_plant("这里有一个ＢａｄＷｏｒｄ。")],
    "turns": [turn_plant("narrator", "messages[0].role")],
    "conversation-end": [turn_plant("assistant", "messages[1]")],
    "json": [
        lambda rows: rows[4].update(tools="{}") or {"query_id": "q-04", "field": "tools"},  # type: ignore[list-item]
        response_plant(set_answer(extra="[]"), "responses[1].extra"),
    ],
    "score-range": [
        response_plant(set_score(score=11.0), "responses[1].scores[1].score"),
        response_plant(set_score(score=float("nan")), "responses[1].scores[1].score"),
    ],
    "score-grid": [response_plant(set_score(score=5.00001), "responses[1].scores[1].score")],
    "no-judge": [response_plant(set_score(judge="\u3000"), "responses[1].scores[1].score")],
    "comparison": [
        comparison_plant(first=4),
        comparison_plant(second=0),
        comparison_plant(first_score=float("nan")),
        comparison_plant(judge=" "),
        comparison_plant(second=None),
    ],
    "unscored": [response_plant(set_answer(scores=[]))],
    "self-judged": [response_plant(set_score(judge=" MEI "), "responses[1].scores[1].score")],
    "no-model": [response_plant(set_answer(model="  "))],
    "model-twice": [response_plant(set_answer(model="lan"))],
    "too-few-responses": [
        lambda rows: rows[6].update(responses=rows[6]["responses"][:1]) or {"query_id": "q-06", "model": None}  # type: ignore[list-item]
    ],
    "same-text": [response_plant(lambda row: row["responses"][1].update(text=row["responses"][0]["text"]))],
    "score-conflict": [response_plant(lambda row: row["responses"][1].update(text=row["responses"][0]["text"]))],
    "files": [lambda rows: {"query_id": None, "excerpt": "notes.txt: not listed in manifest.json: delete it"}],
    "manifest-counts": [lambda rows: {"domain": "chat", "query_id": None}],
    "query-id-twice": [id_twice],
    "rare-model": [rare],
    "rare-judge": [rare_judge],
    "rare-domain": [rare_domain],
    "no-pairs": [everywhere(one_score, domain="chat")],
    "judge-sets-differ": [other_judges, no_judge_of_one],
    "length-bias": [everywhere(longest_best, domain="chat")],
    "one-sided-model": [everywhere(always_best, model="lan")],
    "ties": [everywhere(one_score, domain="chat", excerpt="100.0% of 72")],
    "pairs-per-query": [everywhere(one_score, domain="chat", excerpt="0.00 pairs a query; 12 of 12 queries give none")],
    "margins": [lambda rows: {"domain": "math", "query_id": None, "excerpt": "quartiles 2, 2, 4"}],
}


def store_of(rows: Rows, path: Path, **options: Any) -> Path:
    return make_store(path, sorted(rows, key=lambda row: row["domain"]), **options)


def with_everything() -> Rows:
    rows = twin()
    for rule in ("script-traditional", "email", "repetition", "special-token", "latex"):
        copy_of = twin()
        PLANTS[rule][0](copy_of)
        rows.append(copy_of[5] | {"query_id": rule})
    for rule in ("score-range", "same-text", "unscored"):
        copy_of = twin()
        PLANTS[rule][0](copy_of)
        rows.append(copy_of[7] | {"query_id": rule})
    return rows


def batch_of(queries: list[str], responses: list[list[str]]) -> pa.RecordBatch:
    rows = [
        {
            "query_id": str(at),
            "domain": "chat",
            "query": query,
            "source": None,
            "responses": [{"model": "m", "text": text, "scores": []} for text in texts],
            "comparisons": None,
        }
        for at, (query, texts) in enumerate(zip(queries, responses, strict=True))
    ]
    return pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA)
