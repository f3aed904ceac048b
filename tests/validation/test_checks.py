"""The checks: every rule finds its plant, in the right place, and nothing in the clean twin."""

from __future__ import annotations

import copy
import json
import re
import unicodedata
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any
from unittest.mock import patch
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import Rows, make_store, twin
from strategies import examples

from coig_p.errors import StoreError, UnknownNameError, UsageError
from coig_p.schema import RAW_SCHEMA
from coig_p.store.conversations import transcript
from coig_p.store.store import Store
from coig_p.validation import check, load_rules
from coig_p.validation.checks import CHECKS
from coig_p.validation.checks.integrity import _repeated_share, repetition
from coig_p.validation.checks.letters import CONTROL, DIGIT, HAN, KANA, LETTER, PRIVATE, RARE, TRADITIONAL, WHITE, flags
from coig_p.validation.checks.privacy import is_id_number, passes_luhn
from coig_p.validation.checks.script import language, languages
from coig_p.validation.checks.texts import Texts
from coig_p.validation.findings import redacted
from coig_p.validation.rules import RULES, Rule


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
CASES = [(rule, at) for rule, plants in PLANTS.items() for at in range(len(plants))]


def store_of(rows: Rows, path: Path, **options: Any) -> Path:
    return make_store(path, sorted(rows, key=lambda row: row["domain"]), **options)


def rules_with_words(folder: Path) -> Path:
    path = folder / "rules.toml"
    path.write_text('[words]\nwords = ["badword"]\n')
    return path


def test_every_rule_has_a_plant() -> None:
    assert PLANTS.keys() == RULES.keys()


def test_the_clean_twin_has_no_error_and_no_warning(tmp_path: Path) -> None:
    report = check(store_of(twin(), tmp_path / "store"), rules=rules_with_words(tmp_path))
    assert report.passed
    found = {rule: number for rule, number in report.by_rule().items() if number}
    assert {report.rules[rule].severity for rule in found} == {"metric"}, found
    assert (report.queries, report.responses) == (24, 96)


@pytest.mark.parametrize(("rule", "at"), CASES, ids=[f"{rule}-{at}" for rule, at in CASES])
def test_each_plant_is_found_where_it_is(rule: str, at: int, tmp_path: Path) -> None:
    rows = twin()
    place = PLANTS[rule][at](rows)
    store = store_of(rows, tmp_path / "store")
    if rule == "files":
        (store / "notes.txt").touch()
    if rule == "manifest-counts":
        manifest = json.loads((store / "manifest.json").read_text("utf-8"))
        manifest["files"][0]["responses"] += 1
        (store / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    report = check(store, rules=rules_with_words(tmp_path))
    found = [finding for finding in report.findings.to_pylist() if finding["rule"] == rule]
    assert [finding for finding in found if place.items() <= finding.items()], found
    if place["query_id"] is not None:
        assert len(found) == 1
    assert {finding["severity"] for finding in found} == {RULES[rule].severity}
    errors = {id for id, number in report.by_rule().items() if number and report.rules[id].severity == "error"}
    # A plant is not taken for another's; but Latin-1 has control characters among its letters.
    assert errors <= ({rule, "control-character"} if rule == "mojibake" else {rule})


@pytest.mark.parametrize(
    "text",
    [
        "家庭👨\u200d👩\u200d👧和彩虹🏳️\u200d🌈。",
        "有两点：1）先看题；2）再作答。",
        "1) 第一\n2) 第二\n10) 第十\na) 甲（见上）。",
        "时间复杂度是O(n log n)，不是O(1)。:)",
        "版本号是 1.2.3，地址是192.168.0.1和127.0.0.1。",
        "圆周率是3.14159265358979323846，编号13800138000123。",
        "日语里的“猫”怎么写？",
        "代码 `a[0]` 和 @property 都可以，价格是$5。",
        "他说：“浣熊和涓流都是常用词，鏖战也是。”",
        "删除线：\n```html\n<s>旧</s>\n```\n就这样。",
        "<div>标签</div> 和 x<y 不是特殊标记。",
        "推理模型把思考写在 `<think>` 和 `</think>` 之间。",
        "它先写“<think>”，想完了再写“</think>”，然后作答。",
        "例如：\n```\n<think>\n先看条件。\n</think>\n答案是三。\n```\n就是这样。",
        "它写成 <think>想。</think>\n这样的形式。",
        "The </think> tag closes it，这是结束标签。",
        "烫烫烫，这碗汤太烫了。",
        "如下：```python\nprint(1)\n```",
        "1. ```bash\n   npm install\n   ```\n2. 完了~~~",
    ],
)
def test_ordinary_texts_are_let_be(text: str, tmp_path: Path) -> None:
    rows = twin()
    text_plant(text)(rows)
    report = check(store_of(rows, tmp_path / "store"))
    assert {rule for rule, number in report.by_rule().items() if number and RULES[rule].severity != "metric"} <= {
        "length-bias"
    }


# ---------------------------------------------------------------------------------------------
# The same findings, however the work is cut


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


def test_findings_do_not_depend_on_batches_shards_or_processes(tmp_path: Path) -> None:
    rows = with_everything()
    wanted = check(store_of(rows, tmp_path / "a")).findings
    assert wanted.num_rows > 10
    for size in (1, 3, 1000):
        with patch("coig_p.validation.gate.TEXTS_OF", size):
            assert check(tmp_path / "a").findings.equals(wanted)
    assert check(store_of(rows[::-1], tmp_path / "b", rows_per_shard=3)).findings.equals(wanted)
    assert check(tmp_path / "b", num_proc=2).findings.equals(wanted)
    both = pa.concat_tables([check(tmp_path / "a", domains=[domain]).findings for domain in ("chat", "math")])
    rules = [rule for rule in both.column("rule").to_pylist() if RULES[rule].over != "totals"]
    assert sorted(rules) == sorted(r for r in wanted.column("rule").to_pylist() if RULES[r].over != "totals")


ALPHABET = st.sampled_from(
    ["甲", "乙", "這", "a", "あ", "한", " ", "\n", "1", "１", "\x07", "\ue000", "\U00020000", "。"]
)
TEXTS = st.lists(st.text(ALPHABET, max_size=12), max_size=6)


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


@examples(200)
@given(st.lists(st.tuples(st.text(ALPHABET, max_size=8), TEXTS), min_size=1, max_size=4))
def test_texts_count_letter_by_letter(rows: list[tuple[str, list[str]]]) -> None:
    queries, responses = [query for query, _ in rows], [texts for _, texts in rows]
    texts = Texts(batch_of(queries, responses))
    whole = [*queries, *(text for own in responses for text in own)]
    assert [texts.string(at) for at in range(len(texts))] == whole
    assert texts.sizes.tolist() == list(map(len, whole))
    assert texts.row.tolist() == [*range(len(rows)), *(at for at, own in enumerate(responses) for _ in own)]
    slow = {
        HAN: lambda c: "\u4e00" <= c <= "\u9fff" or c == "\U00020000",
        KANA: lambda c: c == "あ",
        LETTER: str.isalpha,
        DIGIT: lambda c: c in "1１",
        WHITE: str.isspace,
        CONTROL: lambda c: c == "\x07",
        PRIVATE: lambda c: c == "\ue000",
        TRADITIONAL: lambda c: c == "這",
    }
    for flag, is_it in slow.items():
        assert texts.count(flag).tolist() == [sum(map(is_it, text)) for text in whole]
        if not flag & RARE:
            continue
        first = [(at, next(i for i, c in enumerate(t) if is_it(c))) for at, t in enumerate(whole) if any(map(is_it, t))]
        hits = texts.hits(texts.where(flag))
        assert list(zip(hits.text.tolist(), hits.offset.tolist(), strict=True)) == first


@examples(100)
@given(st.lists(st.one_of(st.text("ab", max_size=60), st.text("ab", max_size=9).map(lambda t: t * 9)), max_size=5))
def test_repetition_is_the_share_of_10_grams_seen_before(responses: list[str]) -> None:
    found = repetition(Texts(batch_of(["问"], [responses])), share=0.6, least=30).text
    wanted = [at + 1 for at, t in enumerate(responses) if len(t) >= 39 and _repeated_share(t) > 0.6]
    assert found.tolist() == wanted


# ---------------------------------------------------------------------------------------------
# Privacy, hostile text, rules files


@pytest.mark.parametrize("number", [ID_CARD, ID_CARD.lower(), "440308199901101512"])
def test_identity_numbers(number: str) -> None:
    assert is_id_number(number)
    for at in range(17):
        wrong = number[:at] + str((int(number[at]) + 1) % 10) + number[at + 1 :]
        assert not is_id_number(wrong)
    assert not is_id_number("99" + number[2:])


def test_luhn() -> None:
    assert passes_luhn("4111 1111 1111 1111")
    assert not passes_luhn("4111 1111 1111 1112")


def test_a_long_decimal_is_no_number_of_anybody(tmp_path: Path) -> None:
    rows = twin()
    text_plant("自然对数约为3.4339872044851463，圆周率约为3.14159265358，根号四十一约为6.4031242374328485。")(rows)
    found = check(store_of(rows, tmp_path / "store")).by_rule()
    assert [found[rule] for rule in ("mobile", "id-card", "bank-card")] == [0, 0, 0]


def test_no_finding_shows_a_number_or_an_address(tmp_path: Path) -> None:
    secret = f"证件{ID_CARD}，电话138-0013-8000，卡4111111111111111，邮箱zhang.san@example.com \n"
    rows = twin()
    text_plant(secret)(rows)
    report = check(store_of(rows, tmp_path / "store"))
    found = report.by_rule()
    assert all(found[rule] == 1 for rule in ("mobile", "id-card", "bank-card", "email", "outer-whitespace"))
    for excerpt in report.findings.column("excerpt").to_pylist():
        assert not re.search(r"\d{4}|zhang|0013|example", excerpt), excerpt
    assert redacted("前 138 0013 8000 后") == "前 ************* 后"


@pytest.mark.parametrize(
    "unit",
    [
        "<|",
        "[INST",
        "```\n",
        "```c\n",
        "x```y\n",
        "~~~ ",
        "$",
        "\\begin{",
        "(",
        "@a",
        "1",
        "1 ",
        "1.1.",
        "a@a.",
        "我是",
        "很抱歉",
        "锟斤",
        "á",
        "ä½",
        "\u200d",
        "<s",
        "浣犲",
    ],
)
def test_hostile_repetition_neither_crashes_nor_hangs(unit: str) -> None:
    texts = Texts(batch_of([unit * (100_000 // len(unit))], [[unit * (300_000 // len(unit))]]))
    for rule in RULES.values():
        if rule.over == "texts":
            CHECKS[rule.id](texts, **rule.options)


def test_a_rules_file_changes_severity_thresholds_and_words(tmp_path: Path) -> None:
    rows = twin()
    text_plant("答案就是三，这个字是個。")(rows)
    store = store_of(rows, tmp_path / "store")
    path = tmp_path / "rules.toml"
    path.write_text(
        '[script-traditional]\nshare = 0.01\nseverity = "warning"\n[outer-whitespace]\nseverity = "off"\n'
        '[words]\nwords = ["答案"]\nseverity = "error"\n',
        encoding="utf-8",
    )
    report = check(store, rules=path)
    assert report.by_rule()["script-traditional"] == 1
    assert "outer-whitespace" not in report.rules
    assert report.by_rule()["words"] == 96
    assert not report.passed
    effective = report.effective_rules()
    assert effective["script-traditional"] == {"severity": "warning", "share": 0.01}
    assert json.loads(json.dumps(effective))["words"] == {"severity": "error", "words": ["答案"]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[script-traditonal]\n", "unknown rule 'script-traditonal'. Did you mean 'script-traditional'"),
        ("[empty]\nshare = 1\n", "unknown option of empty 'share'"),
        ('[empty]\nseverity = "fatal"\n', "unknown severity of empty 'fatal'"),
        ('[script-traditional]\nshare = "a lot"\n', "share of script-traditional is 'a lot': give a number"),
        (
            "[script-traditional]\nshare = nan\n",
            r"rules\.toml: share of script-traditional is nan: give a number from 0",
        ),
        ("[repetition]\nshare = inf\n", "share of repetition is inf: give a number from 0 to 1"),
        ("[rare-domain]\nshare = -0.1\n", "share of rare-domain is -0.1: give a number from 0 to 1"),
        ("[mixed-script]\nmost = 30\n", "most of mixed-script is 30: give a number from 0 to 1"),
        ("[score-conflict]\napart = inf\n", "apart of score-conflict is inf: give a number from 0 to 1,000,000,000"),
        ("[too-few-responses]\nleast = -1\n", "least of too-few-responses is -1: give a number from 0 to"),
        ("[rare-judge]\nleast = " + "9" * 400 + "\n", "give a number from 0 to"),
        ("[rare-judge]\nleast = true\n", "least of rare-judge is True: give a number"),
        ('[words]\nwords = "one"\n', "words of words is 'one': give a list of strings"),
        ("empty = 1\n", r"write \[empty\] and below it"),
        ("[", "is not TOML"),
    ],
)
def test_a_rules_file_that_cannot_be(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=words) as refused:
        load_rules(path)
    assert str(refused.value).startswith(str(path))
    with pytest.raises(UsageError, match="cannot be read"):
        load_rules(tmp_path / "none.toml")


@pytest.mark.parametrize("rule", [rule for rule in RULES.values() if rule.options], ids=lambda rule: rule.id)
def test_every_number_of_a_rules_file_is_finite_and_the_defaults_are_allowed(rule: Rule, tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    for name, default in rule.options.items():
        if not isinstance(default, tuple):
            path.write_text(f"[{rule.id}]\n{name} = {default}\n")
            assert load_rules(path) == RULES
            for value in ("nan", "inf", "-inf", "-1"):
                path.write_text(f"[{rule.id}]\n{name} = {value}\n")
                with pytest.raises(UsageError, match=f"{name} of {rule.id} is {value}: give a number from 0 to "):
                    load_rules(path)


def test_options_of_check_that_cannot_be(tmp_path: Path) -> None:
    store = store_of(twin(), tmp_path / "store")
    with pytest.raises(UnknownNameError, match="unknown domain 'maths'"):
        check(Store.open(store), domains=["maths"])
    with pytest.raises(UsageError, match="num_proc=0"):
        check(store, num_proc=0)


def test_a_shard_changed_behind_the_manifest_is_a_finding_and_one_of_other_columns_an_error(tmp_path: Path) -> None:
    store = store_of(twin(), tmp_path / "store")
    shard = next(store.glob("data/chat/*.parquet"))
    rows = pq.read_table(shard).to_pylist()
    rows[0]["responses"][0]["text"] += "\ufffd"
    pq.write_table(pa.Table.from_pylist(rows, schema=RAW_SCHEMA), shard)
    found = check(store).by_rule()
    assert (found["files"], found["replacement-character"]) == (1, 1)
    pq.write_table(pa.table({"query": ["一"]}), shard)
    with pytest.raises(StoreError, match="its columns are not those of a store"):
        check(store)


# ---------------------------------------------------------------------------------------------
# Real texts


def texts_of(strings: list[str]) -> Texts:
    return Texts(batch_of(strings, [[] for _ in strings]))


@pytest.fixture
def language_sets(shared_data: Path) -> dict[str, list[str]]:
    sets: dict[str, list[str]] = json.loads((shared_data / "lang_sets.json").read_text("utf-8"))
    return sets


def test_traditional_simplified_and_japanese_are_told_apart(language_sets: dict[str, list[str]]) -> None:
    share = {
        name: len(CHECKS["script-traditional"](texts_of(texts), share=0.05).text) / len(texts)
        for name, texts in language_sets.items()
    }
    assert share["zh_trad"] >= 0.99
    assert share["zh_simp"] <= 0.001
    assert share["q_zh"] <= 0.001
    assert share["ja"] <= 0.02


def test_languages_of_real_texts(language_sets: dict[str, list[str]]) -> None:
    right = {"zh_trad": "zh", "zh_simp": "zh", "q_zh": "zh", "q_en": "en", "q_ko": "ko", "ja": "ja", "lzh_trad": "zh"}
    for name, wanted in right.items():
        found = languages(texts_of(language_sets[name]))
        assert np.mean(found == wanted) >= 0.97, name
    for name in ("zh_trad", "zh_simp", "q_zh", "lzh_trad"):
        assert np.mean(languages(texts_of(language_sets[name])) == "zh") >= 0.99


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("为啥", "zh"),
        ("Python怎么写？", "zh"),
        ("```python\nfor i in range(10):\n    print(i)\n```\n这段代码打印十个数。", "zh"),
        ("因为 $\\frac{a}{b}=\\sqrt{c}$，所以 $a=b\\sqrt{c}$。", "zh"),
        ("Thank you", "en"),
        ("こんにちは", "ja"),
        ("東京へ行きます", "ja"),
        ("안녕하세요", "ko"),
        ("1+1=2", "und"),
        ("C(3,2)×(1/2)³", "und"),
        ("", "und"),
    ],
)
def test_language_of_one_text(text: str, wanted: str) -> None:
    assert language(text) == wanted


def test_findings_are_in_parquet_as_they_are(tmp_path: Path) -> None:
    from coig_p.validation.report import write_report

    report = check(store_of(with_everything(), tmp_path / "store"))
    for overwrite in (False, True):
        write_report(report, tmp_path / "report", overwrite)
        assert pq.read_table(tmp_path / "report/findings.parquet").equals(report.findings)
    first = {path.name: path.read_bytes() for path in (tmp_path / "report").iterdir()}
    write_report(check(tmp_path / "store"), tmp_path / "again")
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()} == first
    with pytest.raises(UsageError, match="inside the store"):
        write_report(report, tmp_path / "store/report")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.md").touch()
    with pytest.raises(UsageError, match="is not a report"):
        write_report(report, tmp_path / "other")


def test_a_report_escapes_what_models_wrote(tmp_path: Path) -> None:
    from coig_p.core.svg import bars
    from coig_p.validation.report import as_markdown

    rows = twin()
    text_plant(" <script>alert(1)</script> | ![x](http://x) \u202e\x1b[31m `", model="<img src=x onerror=1>|")(rows)
    report = check(store_of(rows, tmp_path / "store"))
    text = as_markdown(report)
    assert "<script" not in text
    assert "<img" not in text
    assert "![x]" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    plot = ElementTree.fromstring(bars("t", {"<img src=x>\x00\ud800": 1, "模型" * 40: 10**6}, ["red", "blue"]))
    shown = [part.text or "" for part in plot.iter("{http://www.w3.org/2000/svg}text")]
    assert shown[1].startswith("<img src=x>\\u0000")
    assert shown[-1] == "1,000,000"


def test_the_documents_name_every_rule() -> None:
    text, chinese = (
        (Path(__file__).parents[2] / "docs" / name).read_text("utf-8") for name in ("checks.md", "checks.zh.md")
    )
    for id, rule in RULES.items():
        assert f"| `{id}` | {rule.severity} | {', '.join(rule.scope)} | {rule.why}" in text
        assert f"| `{id}` |" in chinese


def test_flags_are_those_of_the_character_database() -> None:
    table = flags()
    for code in [*range(0x3100), *range(0x4DA0, 0x4E10), *range(0xD7A0, 0x10100), *range(0xE0000, 0xE0200), 0x10FFFD]:
        category = unicodedata.category(chr(code))
        assert bool(table[code] & LETTER) == (category[0] == "L")
        assert bool(table[code] & PRIVATE) == (category == "Co")
        assert bool(table[code] & CONTROL) == (category == "Cc" and chr(code) not in "\t\n\r")
        assert bool(table[code] & WHITE) == chr(code).isspace()
    planes = np.array([unicodedata.category(chr(code)) for code in range(0x32400, 0x110000)])
    assert set(planes) <= {"Cn", "Co", "Cf", "Mn"}
    assert ((table[0x32400:] & np.uint32(PRIVATE)) != 0).tolist() == (planes == "Co").tolist()
