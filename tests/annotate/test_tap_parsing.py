"""What is read in answers of a TaP run: odd ones of each kind, most of which can be read, and none wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tap_odd import PROMPTS, TYPES, odd

from coig_p.annotate.parsing import parse_score
from coig_p.annotate.tap.parsing import parse_completeness, parse_eight, parse_feasible, parse_types


def _types(text: str) -> str:
    names = {pair: token.lower().lstrip("n").replace("m", "e") for token, pair in TYPES.items()}
    found = parse_types(text)
    assert (found.reason is None) == bool(found.types)
    return " ".join(names.get((one.name, one.description), repr(one)) for one in found.types) or "none"


def _completeness(text: str) -> str:
    prompts = {prompt: token[1:] for token, prompt in PROMPTS.items()}
    found = parse_completeness(text)
    assert (found.reason is None) == (found.lacks is not None)
    if found.lacks is None:
        return "none"
    return f"yes {prompts.get(str(found.prompt), repr(found.prompt))}" if found.lacks else "no"


def _feasible(text: str) -> str:
    found = parse_feasible(text)
    assert (found.reason is None) == (found.feasible is not None)
    return "none" if found.feasible is None else "yes" if found.feasible else "no"


def _eight(text: str) -> str:
    found = parse_eight(text)
    if found.first is None or found.second is None:
        assert found.reason
        return "none"
    assert found.reason is None
    return " / ".join(" ".join(f"{number:g}" for number in four) for four in (found.first, found.second))


READS: dict[str, Callable[[str], str]] = {
    "types": _types,
    "completeness": _completeness,
    "feasible": _feasible,
    "eight": _eight,
}


@pytest.mark.parametrize("kind", READS)
def test_odd_answers_are_read_right_or_not_at_all(kind: str) -> None:
    answers = odd(kind)
    read = [(one, READS[kind](one.text)) for one in answers]
    wrong = [f"{one.where}: {found} for {one.expected}" for one, found in read if found not in (one.expected, "none")]
    assert not wrong, "\n".join(wrong)
    readable = [(one, found) for one, found in read if one.expected != "none"]
    unread = [one.where for one, found in readable if found == "none"]
    assert len(unread) <= 0.03 * len(readable), unread


def _plainly(kind: str, text: str) -> Any:
    """What is read, as the files of whole answers write it."""
    if kind == "types":
        return [list(one) for one in parse_types(text).types] or None
    if kind == "completeness":
        whether = parse_completeness(text)
        return None if whether.lacks is None else [whether.lacks, whether.prompt]
    if kind == "feasible":
        return parse_feasible(text).feasible
    eight = parse_eight(text)
    return None if eight.first is None or eight.second is None else [*eight.first, *eight.second]


@pytest.mark.parametrize("kind", READS)
@pytest.mark.parametrize("batch", ["d", "e"])
def test_whole_answers_are_read_right_or_not_at_all(kind: str, batch: str) -> None:
    path = Path(__file__).parent / "tap_answers" / f"{kind}-{batch}.jsonl"
    answers = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    read = [(one["text"], one["expect"], _plainly(kind, one["text"])) for one in answers]
    assert not [one for one in read if one[2] is not None and one[1] != one[2]]
    readable = [one for one in read if one[1] is not None]
    unread = [text for text, _, found in readable if found is None]
    assert len(unread) <= 0.045 * len(readable), unread  # synonyms, riders and other languages, which are asked again


@pytest.mark.parametrize(
    "line",
    [
        "用户认为：合理",
        "作者的结论：合理",
        "指令写着：结论：合理",
        "如果改写：合理",
        "它要求给出能写出来的答案。指令的最后一行写着。结论：合理",
        "并不不合理",
        "任务：合理的要求",
        "对人类专家来说不合理",
        '{"verdict": "合理"',
    ],
)
def test_a_verdict_of_another_or_of_something_else_is_none(line: str) -> None:
    assert parse_feasible(f"理由：材料都在。\n{line}").feasible is None


@pytest.mark.parametrize(
    "line",
    [
        "并非不缺少。",
        "指令不缺少必要的输入吗",
        "原指令写着“不缺少”",
        "不能说缺少",
        "无法确定缺少什么",
        "不知道缺不缺",
        "难免缺少",
    ],
)
def test_what_leaves_open_whether_anything_lacks_is_no_verdict(line: str) -> None:
    assert parse_completeness(line).lacks is None


_ANSWERS = {
    "types": [
        '"""选择题：从四个选项中选出一项。"""\n"""简答题：用几句话回答。"""',
        "1. 选择题：从四个选项中选出一项。",
    ],
    "completeness": ["否", "是\n\n### 指令\n请计算 3、5、8 的平均值。", "不缺少"],
    "feasible": ["合理", "不合理", "结论：合理", "Feasible"],
    "eight": [
        "\n".join(
            f"### 回答{side}的评分\n- 相关性：[[8]]\n- 准确性：[[7]]\n- 清晰性：[[9]]\n- 完整性：[[6]]"
            for side in "一二"
        ),
        "回答一：8、7、9、6\n回答二：5、6、7、4\n（依次为相关性、准确性、清晰性、完整性）",
    ],
    "overall": ["总体评分：[8]", "Overall Score: [8]", "[8]"],
}
_QUOTING = [
    "{who}写着：“{text}”",
    "{who}写道：「{text}」",
    "{who}里写着『{text}』。",
    "{who}的结尾写着：\n{text}",
    "{who}的结尾写着：\n\n{block}",
    "{who}声称：\n{block}\n\n这是它的话。",
    "【{who}开始】\n{text}\n【{who}结束】",
    "<response>{text}</response>",
]


@pytest.mark.parametrize("quoting", _QUOTING)
@pytest.mark.parametrize("kind", _ANSWERS)
@given(data=st.data())
def test_a_text_that_only_quotes_says_nothing_itself(kind: str, quoting: str, data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(_ANSWERS[kind]))
    who = data.draw(st.sampled_from(["指令", "回答二"] if kind in ("completeness", "feasible") else ["回答二"]))
    before = data.draw(st.sampled_from(["", "分析：材料都在。\n\n", "先看材料。\n"]))
    block = "\n".join(f"> {line}" for line in text.split("\n"))
    told = before + quoting.format(who=who, text=text, block=block)
    read = parse_score(told).score if kind == "overall" else _plainly(kind, told)
    assert read is None, told


_PIECES = st.sampled_from(
    [
        "是",
        "否",
        "缺少",
        "不",
        "没有",
        "合理",
        "结论：",
        "### 指令\n",
        "[[8]]",
        "相关性：",
        "回答一",
        "回答二的评分",
        '"""',
        "：",
        "{",
        "}",
        '"lacks": true',
        "<br>",
        "```",
        "> ",
        "|",
        "更正：评分如下。",
        "\n",
        "。",
        "→",
        "\t",
        "<name>",
        "（",
        "）",
    ]
)


@given(st.lists(_PIECES | st.text(max_size=4), max_size=40).map("".join))
def test_no_answer_makes_a_reader_raise(text: str) -> None:
    for kind in READS:
        READS[kind](text)
