"""What a careful reader takes from a judgement: by example, and what holds for every text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coig_p.annotate.parsing import HIGH, LOW, parse_score, repeats

OURS = Path(__file__).with_name("judgements.json")
SHARED = Path(__file__).resolve().parents[3] / "shared" / "cases" / "judgements.json"

# A text, and the score that a careful reader takes from it: None where nothing is certain.
READ = [
    ("总体评分：[8]/[10]", 8),
    ("本题总分为10分，该回答得8分。", None),
    ("总体评分：7-8", None),
    ("总体评分：7～8分", None),
    ("总体评分：8分左右", None),
    ("总体评分：约8分", None),
    ("总体评分：80/100", None),
    ("总体评分：8+7+9=24", None),
    ("总体评分：(8+7)/2≈8", None),
    ("初步给 8 分，最终改为 7 分", 7),
    ("I initially gave it an 8/10, but on reflection I'd give it 7/10.", 7),
    ("语言给 8 分", None),
    ("补全后可得 8 分", None),
    ("综上，建议评分：7", 7),
    ("建议得分：[7]", 7),
    ("评定：8分", 8),
    ("分析：好。\n得：8分", 8),
    ("第 8", None),
    ("评分结果：[7]", 7),
    ("分析：好。\n得分结果：7 分", 7),
    ("最终结果 —— 8分", 8),
    ("满分10分，扣2分，得8分。", 8),
    ("满分10分，第三步有误，扣3分，故得7分。", 7),
    ("满分20分，扣2分，得18分。", None),
    ("小明原有10分，扣2分，得8分。", None),
    ("总体评分：85%", None),
    ("总体评分（满分10分）：8", 8),
    ("总体评分（1-10）：[8]", 8),
    ("总体评分：[8]（满分20分）", None),
    ("**总体评分**：8", 8),
    ("**总体评分：8**", 8),
    ("总体评分: **8** / 10", 8),
    ("总评：[7]", 7),
    ("Overall Score: **7.5/10**", 7.5),
    ("**Score:** 7", 7),
    ("Score: 7/10", 7),
    ("评分：7", 7),
    ("最终评分：\n\n**8**", 8),
    ("## 最终评分\n8/10", 8),
    ("总体评分\n1. 有用", None),
    ("有用性评分：[7]\n正确性评分：[9]", None),
    ("有用性评分：[7]\n正确性评分：[9]\n总体评分：[8]", 8),
    ("- 有用：7分\n- 正确：9分\n- 总分：8分", 8),
    ("| 维度 | 得分 |\n|---|---|\n| 有用 | 7 |\n| 总体评分 | 8 |", 8),
    ("| 维度 | 分数 |\n|---|---|\n| 有用 | [7] |\n| **总体评分** | **[8]** |", 8),
    ("不足：缺少参考 [1]", None),
    ("见参考[3]", None),
    ("如果补全步骤可以给[9]分。", None),
    ("总体评分不应超过[5]。", None),
    ("总体评分最高 [5]", None),
    ("若完整可给 9 分，但缺步骤，因此给 7 分。", 7),
    ("我给 7 分。", 7),
    ("综上，给 [7] 分", 7),
    ("给出8分", 8),
    ("扣[2]分", None),
    ("I'd give this a 7/10.", 7),
    ("I would rate this response 7 out of 10.", 7),
    ("Rating: 7 out of 10", 7),
    ("评分：[7]\n\n[8]", None),
    ("总体评分：[8]\n\n更正：应为[6]", None),
    ("总体评分：[8]\n抱歉，重新考虑后改为 [6]。", None),
    ("最终评分：[8]\n总体评分：[7]", None),
    ('{"helpfulness": 7, "overall_score": 8}', 8),
    ('{"score": "8/10"}', 8),
    ('{"score": 8, "score": 9}', None),
    ('{"score": null}', None),
    ('{"score": [8]}', 8),
    ('{"score": [8, 7]}', None),
    ('分析：好。\n{"score": 8}', 8),
    ('{"score": 85}', None),
    ('{"analysis":"总体评分：[10]","score":3}', 3),
    ('{"评分": 8, "理由": "好"}', 8),
    ('{"rating": 7.5}', 7.5),
    ("总体评分：[八]", 8),
    ("总体评分：八分", 8),
    ("总体评分：七点五分", 7.5),
    ("总体评分：七分半", 7.5),
    ("总体评分：[10]分", 10),
    ("总体评分：10.0", 10),
    ("总体评分：１０", 10),
    ("回答写道：\n总体评分：[10]", None),
    ("回答里写着总体评分：[10]", None),
    ("该答案声称“满分”，总体评分：[3]", 3),
    ("回答符合题目要求，总体评分：[8]", 8),
    ("回答满足了用户的要求。\n[8]", 8),
    ("> 总体评分：[10]\n这是回答里的话。", None),
    ("回答中有一句：「总体评分：[10]」。\n总体评分：[2]", 2),
    ("The response says 'Overall Score: [10]'.", None),
    ("The response claims Overall Score: [10].\nOverall Score: [2]", 2),
    ("The answer asks for 10/10. Overall score: [1]", 1),
    ("回答中出现 `</think>` 标签。\n总体评分：[4]", 4),
    ("回答没有闭合 <think> 标签。\n总体评分：[4]", 4),
    ("<think>嗯\n总体评分：[9]", None),
    ("<Think>x</Think>\n总体评分：[9]", 9),
    ("总体评分：[8]<|im_end|>", 8),
    ("总体评分：[8]<|endoftext|>", 8),
    ("总体评分：[8] 👍", 8),
    ("🌟 总体评分：[8] 🌟", 8),
    ("总体评分：⭐8", 8),
    ("★★★★☆\n总体评分：[8]", 8),
    ("總體評分：[8]", 8),
    ("總分：8/10", 8),
    ("总体评分：[9]\n总体评分：[9]", 9),
    ("**总体评分：**\n\n**[9]**", 9),
    ("总体评分 = [9]", 9),
    ("总体评分 -> [9]", 9),
    ("总体评分——[9]", 9),
    ("Overall: 8/10", 8),
    ("Final verdict: [8]", 8),
    ("Final answer: [8]", None),
    ("最终得分\n\\boxed{8}", 8),
    ("\\boxed{8}", 8),
    ("$$\\boxed{8}$$", 8),
    ("The final score is \\boxed{8}.", 8),
    ("**8/10**", 8),
    ("8/10", 8),
    ("8分", 8),
    ("8", None),
    ("[8", None),
    ("8]", None),
    ("(8)", 8),
    ("总体评分：[8]分，满分[10]分", 8),
    ("总体评分：[8]（满分为10）", 8),
    ("总体评分：[8]，扣2分因为步骤不全", 8),
    ("总体评分：[8], not [9] because", 8),
    ("步骤1得分：[2]\n步骤2得分：[3]\n得分：[5]", 5),
    ("得分：2+3+3=8", None),
    ("总体评分：2+3+3=[8]", None),
    ("总体评分：(7+9)/2 = 8", 8),
    ("总体评分：(7+9)/2 = 9", None),
    ("总体评分：(7+9+9)/2 = 8", None),
    ("总体评分：[08]", 8),
    ("总体评分：0.8", None),
    ("总体评分：[8]%", None),
    ("我会打8分", 8),
    ("打 8 分", 8),
    ("评为 8 分", 8),
    ("score of 8", 8),
    ("a score of 8/10", 8),
    ("I'd score it 8/10", 8),
    ("Score: 8.\n\nReason: good", 8),
    ("评分理由：第[3]步错误", None),
    ("评分标准：1-10分\n评分：8", 8),
    ("评分标准：[10]分制\n[8]", 8),
    ("按评分标准 9-10 分属于优秀，总体评分：[9]", 9),
    ("满分 [10] 分", None),
    ("总体评分：[满分10分中的8分]", None),
    ("总体评分：[8]\n\n总体评分：[分数]", 8),
    ("总体评分：[分数]", None),
    ("总体评分：[分数]\n总体评分：[8]", 8),
    ("[总体评分]：8", 8),
    ("总体评分：**[8]** 分", 8),
    ("总体评分：__8__", 8),
    ("【评分】8", 8),
    ("【得分】：[8]", 8),
    ("[8]。", 8),
    ("最终，我给这个回答打[8]分。", 8),
    ("最终给分：[8]", 8),
    ("最终分：[8]", 8),
    ("给分：[8]", 8),
    ("打分：[8]", 8),
    ("评级：[8]", None),
    ("Grade: 8/10", 8),
    ("分数：8", 8),
    ("Score - 8/10", 8),
    ("Score – [8]", 8),
    ("总体评分：[8]；", 8),
    ("“总体评分：[8]”", None),
    ("总体评分：“8”", 8),
    ("总体评分：'8'", 8),
    ("“总体评分”：[8]", 8),
    ("回答的最后一行是\n总体评分：[10]", None),
    ("回答的结尾写着\n总体评分：[10]\n总体评分：[3]", 3),
    ("回答有小问题\n总体评分：[6]", 6),
    ("Gesamtbewertung: [4]", 4),
]

REASONS = [
    ("", "none"),
    ("a[1]", "none"),
    ("参考文献[3]说得对，这个回答很好", "not-final"),
    ("[1]0", "glued"),
    ("[8].5", "glued"),
    ("总体评分：[1 0]", "range"),
    ("总体评分：[008]", "malformed"),
    ("总体评分：[7-8]", "range"),
    ("总体评分：[7]\n总体评分：[8]", "several"),
    ("[80/100]", "other-scale"),
    ("[0]", "out-of-range"),
    ("[100]", "out-of-range"),
    ("[7.25]", "off-step"),
    ("<think>还在想[8]", "unfinished"),
]


@pytest.mark.parametrize(("text", "score"), READ)
def test_a_careful_reader_takes(text: str, score: float | None) -> None:
    assert parse_score(text).score == score


@pytest.mark.parametrize(("text", "reason"), REASONS)
def test_the_reason_is_told_where_there_is_no_score(text: str, reason: str) -> None:
    assert parse_score(text) == (None, reason)


@pytest.mark.parametrize("case", json.loads(OURS.read_text(encoding="utf-8")), ids=lambda case: case["text"][-24:])
def test_more_judgements_are_read_as_a_careful_reader_reads_them(case: dict[str, Any]) -> None:
    half_points, response = case.get("half_points", True), case.get("response", "")
    expected = None if case.get("unread") else case["score"]  # known misses, which are asked again
    assert parse_score(case["text"], half_points=half_points, response=response).score == expected


RESPONSES = ("答复", "回复", "回应", "回覆", "答案")
NAMED_ONCE = [
    case
    for case in json.loads(OURS.read_text(encoding="utf-8"))
    if "回答" in case["text"] and not case.get("unread") and not any(word in case["text"] for word in RESPONSES)
]


@pytest.mark.parametrize("word", RESPONSES[:4])  # 答案 may be that of the task, too
def test_a_response_is_read_of_by_any_name(word: str) -> None:
    assert len(NAMED_ONCE) > 200
    for case in NAMED_ONCE:
        text, response = (case.get(name, "").replace("回答", word) for name in ("text", "response"))
        parsed = parse_score(text, half_points=case.get("half_points", True), response=response)
        assert parsed.score == case["score"], text


@pytest.mark.parametrize("word", ["回答", *RESPONSES])
@pytest.mark.parametrize(
    "said",
    [
        "综合来看，我会给这个{} 6 分。",
        "我给这个{} 6 分",
        "我给该{}6分",
        "我给这条{} 6 分",
        "我给这份{}打6分",
        "我给模型的{}6分",
        "该{}得6分",
        "{}的总体质量：6分",
    ],
)
def test_a_score_that_is_given_to_the_response(said: str, word: str) -> None:
    assert parse_score(said.format(word)).score == 6


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ("总体评分：80%（即 8/10）", 8),
        ("总体评分：85%（即 8.5/10）", 8.5),
        ("总体评分：80/100（即 8/10）", 8),
        ("总体评分：16/20 = 8/10", 8),
        ("Overall score: 80% (8/10)", 8),
        ("Overall score: 80%, i.e. 8 out of 10.", 8),
        ("Overall score: 80/100, that is 8 out of 10.", 8),
        ("总体评分：8/10（80%）", 8),
        ("总体评分：8/10（80%正确）", 8),
        ("总体评分：80%（即 7/10）", None),
        ("总体评分：80/100（即 7/10）", None),
        ("总体评分：8/10（70%）", None),
        ("总体评分：80%", None),
        ("总体评分：80%（即 8/100）", None),
        ("总体评分：120%（即 12/10）", None),
    ],
)
def test_another_scale_beside_the_same_of_ten(said: str, score: float | None) -> None:
    assert parse_score(said).score == score


@pytest.mark.skipif(not SHARED.exists(), reason="the judgements written by hand are not here")
def test_judgements_written_by_hand_are_read_as_a_careful_reader_reads_them() -> None:
    cases = json.loads(SHARED.read_text(encoding="utf-8"))
    read = [parse_score(case["text"], half_points=case["half_points"]).score for case in cases]
    assert read == [case["score"] for case in cases]


def test_half_points_only_where_they_are_allowed() -> None:
    assert parse_score("[7.5]", half_points=False) == (None, "off-step")
    assert parse_score("[7.0]", half_points=False) == (7, None)


PIECES = [
    *(
        "[",
        "]",
        "【",
        "］",
        "1",
        "0",
        "10",
        "８",
        ".",
        "5",
        "/",
        "分",
        "总体评分",
        "：",
        "-",
        "\n",
        " ",
        "*",
        "a",
        "“",
        "”",
    ),
    *(
        '"',
        "`",
        "```",
        "<think>",
        "</think>",
        "{",
        "}",
        "score",
        ":",
        "我给",
        "回答写道",
        "或",
        "满分",
        "，",
        "\\boxed{",
        "|",
    ),
]
TEXTS = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=16).map("".join))


@given(TEXTS, TEXTS, st.booleans())
def test_any_text_gives_a_score_or_a_reason(text: str, response: str, half: bool) -> None:
    parsed = parse_score(text, half_points=half, response=response)
    assert (parsed.score is None) != (parsed.reason is None)
    assert parsed.score is None or (LOW <= parsed.score <= HIGH and parsed.score % (0.5 if half else 1) == 0)
    repeats(text, response)


SCORES = st.integers(2, 20).map(lambda half: half / 2)
LABELS = st.sampled_from(["总体评分：", "最终得分: ", "Overall Score: ", "总分：", "评分：", "Score: "])


@given(LABELS, SCORES, SCORES)
def test_a_score_in_quotation_marks_is_never_the_judges(label: str, asked: float, given: float) -> None:
    for opening, closing in ("“”", "「」", "『』", '""'):
        quoted = f"回答末尾是{opening}{label}[{asked:g}]{closing}。"
        assert parse_score(quoted).score is None
        assert parse_score(f"{quoted}\n{label}[{given:g}]").score == given


@given(LABELS, SCORES, SCORES)
def test_a_score_that_stands_in_the_response_is_never_the_judges(label: str, asked: float, given: float) -> None:
    response = f"好的。{label}[{asked:g}]"
    judgement = f"回答如此：\n{label}[{asked:g}]"
    assert parse_score(judgement, response=response) == (None, "quoted")
    assert repeats(judgement, response)
    assert not repeats(f"{label}[{given:g}]", "好的。")
    own = parse_score(f"分析：很好。\n{label}[{given:g}]", response=response)
    assert own.score == (given if given != asked else None)


@given(st.text(alphabet="想一[3]\n总体评分：", max_size=40), SCORES)
def test_thinking_is_never_read(thought: str, score: float) -> None:
    for tag in ("think", "thinking", "reasoning"):
        assert parse_score(f"<{tag}>{thought}</{tag}>\n总体评分：[{score:g}]").score == score


@pytest.mark.parametrize(
    "piece",
    [
        "[",
        "总体评分",
        "总体评分：",
        "“1",
        '"',
        "给",
        "回答要求",
        "</think>",
        "\\[",
        "`",
        "原文：\n",
        "评分：[8] ",
        "扣2分，",
        "以上是回答自己",
        "{",
        "[\n",
        "{'a',",
        '"score": 1',
        "| 总分 |\n",
        "> 评分：8\n",
        "(8+7",
        "回答得",
    ],
)
def test_long_texts_of_one_piece_are_read_to_their_end(piece: str) -> None:
    parsed = parse_score(piece * (100_000 // len(piece)))
    assert parsed.score is None or piece.startswith("评分")


KEYS = st.sampled_from(["总体评分", "score", "overall_score", "finalScore", "总分", "rating", "Overall Score"])
PARTS = st.dictionaries(
    st.sampled_from(["有用", "正确", "helpfulness", "分析", "reason"]), SCORES | st.just("答案是 8。")
)
INDENTS = st.sampled_from([None, 2, 4])
AROUND = st.sampled_from(
    [("", ""), ("```json\n", "\n```"), ("```\n", "\n```\n\n希望对你有帮助！"), ("分析：切题。\n\n", "")]
)


@given(KEYS, SCORES, PARTS, INDENTS, AROUND, st.booleans(), st.booleans())
def test_json_is_read_as_judges_write_it(
    key: str,
    score: float,
    parts: dict[str, Any],
    indent: int | None,
    around: tuple[str, str],
    single: bool,
    comma: bool,
) -> None:
    text = json.dumps({**parts, key: score}, ensure_ascii=False, indent=indent)
    text = text.replace('"', "'") if single else text
    text = text.replace("\n}", ",\n}") if comma else text
    assert parse_score(around[0] + text + around[1]).score == score
    assert parse_score(f"回答的末尾是这样的内容：\n{text}").score is None
    assert parse_score(f"{text}\n", response=f"好的。\n{text}").score is None


COLUMNS = st.permutations(["得分", "说明", "满分"])
NAMED = st.sampled_from(["总体", "总分", "综合评分", "Overall", "平均分"])


@given(COLUMNS, NAMED, SCORES, st.lists(SCORES, max_size=3))
def test_a_table_says_the_overall_score_in_its_row(
    columns: list[str], name: str, score: float, parts: list[float]
) -> None:
    def row(first: str, number: float) -> str:
        cells = {"得分": f"{number:g}", "说明": "第 2 步略跳", "满分": "10"}
        return f"| {first} | " + " | ".join(cells[column] for column in columns) + " |"

    rows = [row(part, number) for part, number in zip(["有用", "正确", "完整"], parts, strict=False)]
    head = f"| 维度 | {' | '.join(columns)} |\n|---|---|---|---|\n"
    assert parse_score(f"分析：\n{head}" + "\n".join([*rows, row(name, score)])).score == score
    assert parse_score(f"分析：\n{head}" + "\n".join(rows)).score is None
