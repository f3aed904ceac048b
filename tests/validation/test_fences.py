"""Code fences: a block that is left open is found, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from strategies import examples

from coig_p.validation.checks.fences import open_fence


@pytest.mark.parametrize(
    "text",
    [
        "没有代码。",
        "看代码：\n```python\nprint(1)\n```\n完了。",
        "如下：```python\nprint(1)\n```",
        "如下：```\nprint(1)\n```\n就这样。",
        "如下：```python\nprint(1)```",
        "如下：```python\nprint(1)\n```，就这样。",
        "```python\nprint(1)\n```这段代码打印一。",
        "代码是```print(1)\nprint(2)```，就这样。",
        "1. ```bash\n   npm install\n   ```\n2. 运行",
        "1. ```bash\nnpm install\n```\n2. 运行",
        "1.```bash\nnpm install\n```",
        "- 第一步：\n\n      ```bash\n      npm install\n      ```\n- 完了",
        "（1）安装：\n        ```bash\n        npm install\n        ```",
        "> ```python\n> print(1)\n> ```",
        "> > ```python\n> > print(1)\n> > ```\n> 完了",
        "> ```python\nprint(1)\n```",
        "\t```python\n\tprint(1)\n\t```",
        "~~~\n代码\n~~~",
        "~~~python\n```\n~~~",
        "好的~~~明天见~~~",
        "~~~加油，你可以的！",
        "用 ```x``` 表示，再用 ```y``` 表示。",
        "```x```",
        "```x``` 是行内代码。",
        "````markdown\n```python\nprint(1)\n```\n````",
        "````\n```\n````",
        "```markdown\n```python\nprint(1)\n```\n```",
        "```python\na = 1\n```\n\n```python\nb = 1\n```",
        "````` 里面是 ``` 的写法 `````",
        "写法是 ` ``` `。",
        "用 \\```python 开头。",
        "代码块以```包围，这样好看。",
        "```python\nprint('```')\n```",
        "    ```\n这是缩进的代码，不是围栏。",
        "```python\r\nprint(1)\r\n```\r\n",
        "```python\nprint(1)\n``````",
        "| 甲 | ```x``` |",
        "```python\nprint(1)\n   ```   ",
        "先看```python\na\n```再看```python\nb\n```完了。",
    ],
)
def test_what_is_closed_or_no_fence(text: str) -> None:
    assert open_fence(text) is None


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("看代码：\n```python\nprint(1)\n完了。", 5),
        ("```", 0),
        ("   ```python\nprint(1)", 3),
        ("```python\nprint(1)\n`` `", 0),
        ("```python\nprint(1)\n~~~", 0),
        ("````python\nprint(1)\n```", 0),
        ("~~~python\nprint(1)\n```", 0),
        ("如下：```python\nprint(1)", 3),
        ("如下：```\nprint(1)\n", 3),
        ("1. ```bash\n   npm install\n2. 运行", 3),
        ("> ```python\n> print(1)", 2),
        ("- 第一步：\n\n      ```bash\n      npm install\n", 14),
        ("```python\na = 1\n```\n\n```python\nb = 1", 21),
        ("```python\na = 1\n```\n如下：```python\nb = 1", 23),
        ("用 ```x``` 表示：\n```python\nb = 1", 14),
        ("甲\r\n```\r\n乙", 3),
        ("```python\na\n```python\nb", 0),
    ],
)
def test_what_is_left_open_is_found_where_it_opens(text: str, offset: int) -> None:
    assert open_fence(text) == offset
    assert open_fence(f"{text}\n```") is None or text.startswith(("````", "~~~"))


def is_left_open(text: str) -> bool:
    """By a parser of CommonMark: a block that has a line less than one whose end is there."""
    tokens = MarkdownIt("commonmark").parse(f"{text}\n")
    blocks = [(token.map or [0, 0], token.content.count("\n")) for token in tokens if token.type == "fence"]
    return any(end - begin < lines + 2 for (begin, end), lines in blocks)


LINES = ["```", "```py", "````", "````py", "~~~", "~~~py", "  ```", "甲", "", "`x`", "``", "```x```", "~~~~"]


@examples(400)
@given(st.lists(st.sampled_from(LINES), max_size=9))
def test_a_block_that_is_found_is_open_in_commonmark(lines: list[str]) -> None:
    if open_fence("\n".join([*lines, "尾"])) is not None:
        assert is_left_open("\n".join([*lines, "尾"]))


@examples(400)
@given(st.lists(st.sampled_from([line for line in LINES if not line.endswith(("py", "x```"))]), max_size=9))
def test_where_lines_can_be_read_in_one_way_a_block_is_open_just_where_it_is_in_commonmark(lines: list[str]) -> None:
    text = "\n".join([*lines, "尾"])
    assert (open_fence(text) is not None) == is_left_open(text)


PARTS = ["`", "``", "```", "````", "~~~", "\n", " ", "    ", "甲", "py", "> ", "1. ", "\\"]


def readings(lines: list[str], inside: tuple[str, int, int] | None) -> bool:
    """Whether the lines may be read so that no block is open behind them: every reading, one after the other."""
    from coig_p.validation.checks import fences

    if not lines:
        return inside is None
    line, *others = lines
    if "```" not in line and "~~~" not in line:
        return readings(others, inside)
    state = None if inside is None else fences._Block(*inside)
    steps = fences._from_text(line, listed=False) if state is None else fences._from_block(line, state)
    return any(readings(others, reached) for reached, _ in steps)


@examples(400)
@given(st.lists(st.sampled_from([part for part in PARTS if part != "1. "]), max_size=14))
def test_readings_followed_at_once_are_those_followed_one_by_one(parts: list[str]) -> None:
    text = "".join(parts)
    assert (open_fence(text) is None) == readings(text.split("\n"), None)


@examples(200)
@given(st.lists(st.sampled_from(PARTS), max_size=14))
def test_what_is_found_is_a_fence(parts: list[str]) -> None:
    text = "".join(parts)
    place = open_fence(text)
    assert place is None or text[place : place + 3] in ("```", "~~~")


@pytest.mark.parametrize("name", ["halluqa", "alpaca_examples"])
def test_real_answers_with_fences_that_pair_have_none_open(name: str, shared_data: Path) -> None:
    rows: list[dict[str, Any]] = [
        json.loads(line) for line in (shared_data / f"{name}.jsonl").read_text("utf-8").splitlines()
    ]
    texts = [response["text"] for row in rows for response in row["responses"] if "```" in str(response["text"])]
    assert texts
    for text in texts:
        assert (open_fence(text) is None) == (text.count("```") % 2 == 0), text
