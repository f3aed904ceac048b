"""Thinking told apart from what is said."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coig_p.core.thinking import MARKS, thinking_at, told

CASES = [
    ("好的。", "", "好的。"),
    ("<think>想</think>好的。", "想", "好的。"),
    ("\n<THINK>\n想\n</THINK>\n\n好的。", "想", "好的。"),
    ("<thinking>一</thinking><think>二</think>好的。", "一\n二", "好的。"),
    ("<reasoning>想</reasoning>\n好的。", "想", "好的。"),
    ("先想想。\n</think>\n\n好的。", "先想想。", "好的。"),
    ("先想想。</think>好的。", "先想想。", "好的。"),
    ("先想想</think>好的。", "先想想", "好的。"),
    ("差不多了</think>这道题的答案是三。", "差不多了", "这道题的答案是三。"),
    ("答案是正确的</think>是的，就是三。", "答案是正确的", "是的，就是三。"),
    ("就这样\U0001f600</think>**答案**：三。", "就这样\U0001f600", "**答案**：三。"),
    ("也许 总体评分：[1]</think>分析：好。\n总体评分：[8]", "也许 总体评分：[1]", "分析：好。\n总体评分：[8]"),
    ("so x = 5</think>The answer is 5.", "so x = 5", "The answer is 5."),
    ("so x = 5 </think> The answer is 5.", "so x = 5", "The answer is 5."),
    ("好的。</think>", "", "好的。"),
    ("<think>想着", "想着", None),
    ("<think></think>\n好的。", "", "好的。"),
    ("<seed:think>想</seed:think>好的。", "想", "好的。"),
    ("[THINK]想[/THINK]\n好的。", "想", "好的。"),
    ("◁think▷想◁/think▷好的。", "想", "好的。"),
    ("<|begin_of_thought|>想<|end_of_thought|>\n好的。", "想", "好的。"),
    ("<|channel|>analysis<|message|>想<|channel|>final<|message|>好的。", "想", "好的。"),
    ("[THINK]想着", "想着", None),
    ("先想想。[/THINK]好的。", "先想想。", "好的。"),
    # spoken of
    ("模型会写 <think> 标签。", "", "模型会写 <think> 标签。"),
    ("`</think>` 结束思考。", "", "`</think>` 结束思考。"),
    ("The </think> tag closes it.", "", "The </think> tag closes it."),
    ("It ends with </think> and goes on.", "", "It ends with </think> and goes on."),
    ("模型用</think>结束思考。", "", "模型用</think>结束思考。"),
    ("末尾有</think>标签，解析时删去。", "", "末尾有</think>标签，解析时删去。"),
    ("一对标签 <think>和</think>包住它", "", "一对标签 <think>和</think>包住它"),
    ("例如：\n```\n<think>\n想\n</think>\n```\n就是这样。", "", "例如：\n```\n<think>\n想\n</think>\n```\n就是这样。"),
    ("它写成 <think>想。</think>\n这样的形式。", "", "它写成 <think>想。</think>\n这样的形式。"),
]


@pytest.mark.parametrize(("text", "thinking", "said"), CASES)
def test_by_example(text: str, thinking: str, said: str | None) -> None:
    assert told(text) == (thinking, said)


@pytest.mark.parametrize(("text", "thinking", "said"), CASES)
def test_it_is_found_exactly_where_it_is_told_apart(text: str, thinking: str, said: str | None) -> None:
    at = thinking_at(text)
    assert (at is not None) == (said != text)
    if at is not None:
        assert re.match(MARKS, text[at:])


def test_a_block_on_lines_of_its_own_is_found_in_the_midst() -> None:
    text = "好的。\n  <think>\n想\n</think>\n答案是三。"
    assert told(text).said == text
    assert thinking_at(text) == text.index("<think>")
    assert thinking_at(f"```\n{text}\n```") is None
    assert thinking_at("好的。\n> <think>\n> 想\n> </think>\n") is None


@given(st.text(alphabet="<>/think`“”。\n[]想 "))
def test_where_told_tells_thinking_apart_it_is_found(text: str) -> None:
    assert (thinking_at(text) is not None) >= (told(text).said != text)
    if not re.search(MARKS, text):
        assert thinking_at(text) is None


@given(st.text(), st.text(alphabet="想了又想。\n[3]"))
def test_what_is_said_is_a_part_of_the_text(text: str, thought: str) -> None:
    found = told(text)
    assert found.said is None or found.said in text
    if "<" not in text and text.strip():
        assert told(f"<think>{thought}</think>{text}").said == text.lstrip()
        assert told(text) == ("", text)
