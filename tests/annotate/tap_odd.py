"""Odd answers of models, made by hand: a file a kind and half, each answer below a line with what is read in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_HERE = Path(__file__).parent / "tap_answers"

TYPES = {
    "N1": ("选择题", "从给出的几个选项中选出正确的一项。"),
    "N2": ("案例分析题", "根据一段真实的材料分析问题并提出对策。"),
    "N3": ("概念辨析题", "说明两个相近概念的联系与区别。"),
    "N4": ("数据计算题", "按照给出的数据和公式算出结果。"),
    "N5": ("论述题", "围绕一个观点展开论证，并给出自己的看法。"),
    "N6": ("翻译题（英译汉）", "把一段英文译成通顺的汉语。"),
    "N7": ("C++编程题", "写一段程序，输入一个整数n，输出结果：是或否。"),
    "N8": ("实验设计题", "设计一个实验来检验假设，时间为10:30至12:00。"),
    "N9": ("“以史为鉴”题", "从一个历史事件中找出对今天的启示。"),
    "M1": ("Multiple choice", "Pick the one right answer among four options."),
    "M2": ("Case study", "Analyse a real situation, and propose what to do."),
    "M3": ("Fill-in-the-blank", "Complete a sentence with the missing term."),
    "M4": ("Problem solving", "Work out a result step by step: show each step."),
}
PROMPTS = {
    "P1": "请把下面这句诗翻译成英文：“春江潮水连海平，海上明月共潮生。”并说明你的译法。",
    "P2": "某公司三个季度的销售额如下：\n\n- 第一季度：120万元\n- 第二季度：150万元\n- 第三季度：90万元\n\n"
    "请计算平均值，并判断销售额是否在增长。",
    "P3": '### 背景\n小王写了下面的代码：\n```python\nprint("是")\n```\n### 要求\n'
    "请指出它的输出，并回答“是”或“否”：它能运行吗？",
    "P4": "Translate the sentence below into Chinese, and explain two choices that you made.\n\n"
    '"The early bird catches '
    'the worm."',
}
EIGHT = {
    "{{A}}": "### 回答一的评分\n- 相关性：[[8]]\n- 准确性：[[7]]\n- 清晰性：[[9]]\n- 完整性：[[6]]",
    "{{B}}": "### 回答二的评分\n- 相关性：[[5]]\n- 准确性：[[6]]\n- 清晰性：[[7]]\n- 完整性：[[4]]",
}


class Odd(NamedTuple):
    """An answer, where it stands, and what is to be read in it."""

    where: str
    text: str
    expected: str


def odd(kind: str) -> list[Odd]:
    """The answers of a kind: types, completeness, feasible, eight."""
    return [one for path in sorted(_HERE.glob(f"{kind}-*.txt")) for one in _read(path)]


def _read(path: Path) -> list[Odd]:
    found: list[Odd] = []
    lines = path.read_text(encoding="utf-8").split("\n")
    starts = [at for at, line in enumerate(lines) if line.startswith("%%")]
    for at, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        text = "\n".join(lines[at + 1 : end])
        found.append(Odd(f"{path.name}:{at + 1}", _filled(text), lines[at][2:].strip()))
    return found


def _filled(text: str) -> str:
    for token, pair in TYPES.items():
        for each, value in zip((token, token.replace("N", "D").replace("M", "C")), pair, strict=True):
            text = re.sub(rf"(?<![A-Za-z]){each}(?!\d)", value, text)
    for token, value in (*PROMPTS.items(), *EIGHT.items()):
        text = text.replace(token, value)
    return text
