"""What a translation must keep of its original: numbers, code, names, and that it is a question in Chinese."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coig_p.annotate.numbers import chinese_numbers, english_numbers
from coig_p.annotate.translation import lacks, names_in, needs_translation

GOOD = [
    (
        "Which magazine was started first, Arthur's Magazine or First for Women?",
        "哪本杂志创刊更早，是 Arthur's Magazine 还是 First for Women？",
    ),
    (
        "Janet's ducks lay 16 eggs per day. She eats three for breakfast. How many are left?",
        "珍妮特的鸭子每天下16个蛋，她早餐吃3个。还剩多少个？",
    ),
    (
        "Barack Obama was born on August 4, 1961. How old was he in 2009?",
        "巴拉克·奥巴马（Barack Obama）出生于1961年8月4日，2009年时他多大？",
    ),
    ("Write a Python function `add(a, b)` that returns a+b.", "写一个 Python 函数 `add(a, b)`，返回 a+b。"),
    ("Solve $x^2 + 3x = 4$ for $x$.", "解关于 $x$ 的方程 $x^2+3x=4$。"),
    ("The town has 1.5 million people and 10,000 dogs.", "这座城有150万人和1万条狗。"),
    ("The town has 2,500 people, 12% of whom are over 65.", "这个镇有2500人，其中12%超过65岁。"),
    ("Who won in the 1990s, and in the 20th century?", "20世纪90年代是谁赢了？整个二十世纪呢？"),
    ("If 5 cats catch 5 mice in 5 minutes, how long do 100 cats need?", "如果5只猫5分钟抓5只老鼠，100只猫要多久？"),
    (
        "See https://example.org/a?b=1 and mail bob@example.org about GPT-4.",
        "请看 https://example.org/a?b=1 ，并就 GPT-4 写信给 bob@example.org。",
    ),
    ("Fix this:\n```python\nprint(1)\n```", "改一改：\n```python\nprint(1)\n```"),
    ("I paid $5 and $10 for two books.", "我花5美元和10美元买了两本书。"),
    ("Meet me at 3 pm or 10:30.", "下午3点或10:30来见我。"),
    ("Meet me at 3 pm.", "15点来见我。"),
    ("He ran twenty-five miles and two hundred yards.", "他跑了25英里200码。"),
    ("In May 2010 it rained.", "2010年5月下了雨。"),
    ("World War II ended when?", "第二次世界大战何时结束？"),
    ("What is 3 divided by 1/2?", "3 除以 1/2 是多少？"),
    ("Hello, who are you?", "你好，你是谁？"),
    ("Alice and Bob have 3 apples each. How many apples do they have?", "爱丽丝和鲍勃每人有3个苹果，一共有几个？"),
    ("What Is The Capital Of France And Why Is It Famous?", "法国的首都是哪里，为什么出名？"),
    ("Do NOT use loops. Explain the O(n) solution in v1.2.3.", "不要用循环。请解释 v1.2.3 里 O(n) 的解法。"),
    ("Greet {name} with %s.", "用 %s 问候 {name}。"),
    ("Is 3.14 larger than 22/7?", "3.14 比 22/7 大吗？"),
    ("My laptop runs at 60fps with 16GB of RAM; is that normal?", "我的笔记本有16GB的RAM，能跑60fps，这正常吗？"),
    ("Translate 'good morning' into French.", "把“good morning”译成法语。"),
    (
        "The company has 50 employees. Half of them are women. What percentage is that?",
        "公司有50名员工，其中一半是女性。这是百分之几？",
    ),
]


@pytest.mark.parametrize(("original", "translated"), GOOD)
def test_a_faithful_translation_lacks_nothing(original: str, translated: str) -> None:
    assert needs_translation(original)
    assert [str(lack) for lack in lacks(original, translated)] == []


BAD = [
    ("Janet has 16 eggs and eats 3. How many are left?", "珍妮特有16个蛋，吃掉一些。还剩多少？", ["numbers: 3"]),
    ("Janet has 16 eggs and eats 3. How many are left?", "珍妮特有61个蛋，吃掉3个。还剩多少？", ["numbers: 16, +61"]),
    (
        "Janet has 16 eggs and eats 3. How many are left?",
        "珍妮特有16个蛋，吃掉3个，还剩13个。",
        ["numbers: +13", "question"],
    ),
    ("If 5 cats catch 5 mice in 5 minutes, how long?", "如果5只猫抓5只老鼠，要多久？", ["numbers: 5"]),
    ("The town has 1.5 million people.", "这座城有15万人。", ["numbers: 1.5 million, +15万"]),
    ("Write `add(a, b)`.", "写 `加(a, b)`。", ["code: `add(a, b)`"]),
    ("Fix:\n```python\nprint(1)\n```", "改：\n```python\nprint(2)\n```", ["code: ```python print(1) ```"]),
    ("Solve $x^2 = 4$.", "解 $y^2 = 4$。", ["code: $x^2 = 4$"]),
    ("See https://example.org/a.", "请看 https://example.org/b。", ["code: https://example.org/a"]),
    ("Was Barack Obama born in Hawaii?", "巴拉克·奥巴马出生在夏威夷吗？", ["names: Barack Obama"]),
    ("Is GPT-4 better than iPhone?", "大模型比苹果手机好吗？", ["names: GPT-4, iPhone"]),
    ("Call foo_bar() of NASA.", "调用美国航天局的函数。", ["names: foo_bar(), NASA"]),
    ("Who are you?", "Who are you?", ["language"]),
    (
        "Please explain how the water cycle works in nature.",
        "请解释 how the water cycle works in nature。",
        ["language"],
    ),
    ("Who are you?", "あなたは誰ですか？", ["language"]),
    ("Why does the dragon fly over the country?", "為什麼龍飛過這個國家？", ["traditional"]),
    ("Who are you?", "译文：你是谁？", ["preamble"]),
    ("Who are you?", "以下是翻译：\n你是谁？", ["preamble"]),
    ("Who are you?", "你是谁？\n（注：口语）", ["preamble"]),
    ("Who are you?", "抱歉，我无法翻译这个问题，可以吗？", ["refusal"]),
    ("Who are you?", "<<<问题开始 abc>>>\n你是谁？\n<<<问题结束 abc>>>", ["markers"]),
    ("Who are you?", "我是一个语言模型。", ["question"]),
    ("Who are you?", "你是谁？" + "我是一个由很多人训练出来的语言模型，" * 9, ["length"]),
    ("Please tell me a long story about the sea, the ships on it, and those who ever sailed.", "讲故事。", ["length"]),
]


@pytest.mark.parametrize(("original", "translated", "found"), BAD)
def test_what_is_missing_is_named(original: str, translated: str, found: list[str]) -> None:
    assert [str(lack) for lack in lacks(original, translated)] == found


def test_names_can_be_left_to_the_translator() -> None:
    assert lacks("Was Barack Obama born in Hawaii?", "奥巴马出生在夏威夷吗？", names=False) == []


@pytest.mark.parametrize(
    "text",
    [
        *("怎样泡茶？", "用 Python 写一个函数 `main()`，并说明 quick sort 的复杂度。", "1 + 1 = ?"),
        *("```python\nprint(1)\n```", "$x$", ""),
    ],
)
def test_what_is_chinese_or_has_no_words_is_not_translated(text: str) -> None:
    assert not needs_translation(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Who is Marie Curie?", ["Marie Curie"]),
        ("The film Gone with the Wind won.", []),
        ("Leonardo da Vinci met Vincent van Gogh's aunt.", ["Leonardo da Vinci", "Vincent van Gogh"]),
        ("On Monday Mr. Brown left New York.", []),
        ("What does the JavaScript engine V8 do?", ["JavaScript", "V8"]),
        ("Is the United States in North America?", []),
        ("Name the CEO of OpenAI.", ["CEO", "OpenAI"]),
        ("I AM NOT SURE WHAT TO DO HERE TODAY", []),
    ],
)
def test_names(text: str, names: list[str]) -> None:
    assert list(names_in(text)) == names


@given(st.integers(0, 10**12))
def test_a_number_is_known_in_every_spelling(number: int) -> None:
    """Digits, separators, 万 and 亿, and Chinese, made in the obvious way."""

    def chinese(value: int) -> str:
        for name, size in (("亿", 10**8), ("万", 10**4), ("千", 1000), ("百", 100), ("十", 10)):
            if value >= size:
                low = value % size
                gap = "零" if low and low < size // 10 else ""
                return chinese(value // size) + name + (gap + chinese(low) if low else "")
        return "零一二三四五六七八九"[value]

    spelled = [str(number), f"{number:,}", chinese(number)]
    if number and number % 10**4 == 0:
        spelled.append(f"{number // 10**4}万")
    for text in spelled:
        found = chinese_numbers(f"有{text}个")
        assert len(found) == 1, text
        assert Fraction(number) in found[0].values, text
    (only,), _ = english_numbers(f"it has {number:,} of them")
    assert only.values == {Fraction(number)}


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_two_texts_are_compared(original: str, translated: str) -> None:
    assert all(lack.reason for lack in lacks(original, translated))
