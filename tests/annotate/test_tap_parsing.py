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


_WHOLE = sorted(path.stem for path in (Path(__file__).parent / "tap_answers").glob("*.jsonl"))


@pytest.mark.parametrize("batch", _WHOLE)
def test_whole_answers_are_read_right_or_not_at_all(batch: str) -> None:
    kind = batch.partition("-")[0]
    path = Path(__file__).parent / "tap_answers" / f"{batch}.jsonl"
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
    ("text", "feasible"),
    [
        ("材料都在。\n\n☑ 合理\n☐ 不合理", True),
        ("要看冰箱。\n\n- [ ] 合理\n- [x] 不合理", False),
        ("要看冰箱。\n\n- [x] 合理\n- [x] 不合理", None),
        ("要看冰箱。\n\n☐ 合理\n☐ 不合理", None),
        ("材料都在，都是文字，因此这条指令是合理的。", True),
        ("模型没有实时信息，所以该指令不合理。", False),
        ("要看一幅画。综上所述，判断为：“不合理”。", False),
        ("如果材料都在，那么要求不难，所以该指令合理。", None),
        ("用户说材料都在，所以该指令合理。", None),
        ("要用鼻子闻，因此模型做不到。\n\n合理", None),
        ("材料都在，模型完全能够完成。\n\n不合理", None),
        ("判断：不合理\n理由：要看一幅画。\n结论：合理", None),
        ("第一问：合理\n第二问：不合理\n第三问：合理", None),
    ],
)
def test_a_verdict_is_ticked_or_concludes_and_fits_its_reasons(text: str, feasible: bool | None) -> None:
    assert parse_feasible(text).feasible is feasible


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("☐ 是\n☑ 否", [False, None]),
        ("☑ 是\n☑ 否", None),
        ("否 / No", [False, None]),
        ("是 / No", None),
        ('```json\n{"lacks_input": false}\n```', [False, None]),
        ("是\n\n### 指令\n（这里写补全了的指令）", None),
    ],
)
def test_completeness_may_be_ticked_and_a_template_is_no_prompt(text: str, read: Any) -> None:
    assert _plainly("completeness", text) == read


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('"""甲题\uff5c解释方歌的药物"""\n"""乙题\uff5c根据资料辨证"""', ["甲题", "乙题"]),
        ("I. 谱系：梳理创作的分期\nII. 乐评：就一场音乐会写作\nIV. 曲目：为节目单写说明", ["谱系", "乐评", "曲目"]),
        ("1.1 辨析：辨析两条公理的差别\n1.2 证明：证明一个几何命题", ["辨析", "证明"]),
        ("题型一：口译练习——把讲话整理成笔记\n题型二：信函翻译——把询价函译成俄语", ["口译练习", "信函翻译"]),
        ("| 序号 | 题型名称 | 一句话说明 |\n|---|---|---|\n| 1 | 识别 | 依据文字描述判断 |", ["识别"]),
        ('"""甲题：XXXX"""\n"""乙题：……"""', None),
        ('"""锟斤拷：锟斤拷锟斤拷锟斤拷"""', None),
        ("- 相关性：[[8]]\n- 准确性：[[7]]", None),
    ],
)
def test_types_behind_other_marks_and_what_is_no_description(text: str, names: list[str] | None) -> None:
    read = _plainly("types", text)
    assert (None if read is None else [name for name, _ in read]) == names


_FOURS = "相关性：{0}\n准确性：{0}\n清晰性：{0}\n完整性：{0}"


@pytest.mark.parametrize(
    ("form", "first"),
    [
        ("{first}\n{one}\n\n{second}\n{other}", 7),
        ("{first}的评分（满分10分）\n{one}\n\n{second}的评分（满分10分）\n{other}", 7),
        ("> {first}\n> {one}\n>\n> {second}\n> {other}", 7),
        ("我可能把两个回答的次序弄反了，请自行对调：\n{first}\n{one}\n\n{second}\n{other}", None),
    ],
)
def test_eight_scores_below_the_scale_or_quoted_whole(form: str, first: int | None) -> None:
    four = {name: _FOURS.format(f"[[{n}]]") for name, n in (("one", 7), ("other", 5))}
    if form.startswith(">"):
        four = {name: text.replace("\n", "\n> ") for name, text in four.items()}
    read = _plainly("eight", form.format(first="### 回答一", second="### 回答二", **four))
    assert read == (None if first is None else [first] * 4 + [5] * 4)


def test_eight_scores_in_numbered_lines_in_words_and_in_full() -> None:
    numbered = "\n".join(f"（{at}）{line}" for at, line in enumerate(_FOURS.format(8).split("\n"), 1))
    assert _plainly("eight", f"一、回答一的评分\n{numbered}\n二、回答二的评分\n{numbered}") == [8] * 8
    words = "Relevance: {0}\nCorrectness: {0}\nClarity: {0}\nCompleteness: {0}"
    text = f"Response A\n{words.format('seven')}\n\nResponse B\n{words.format('ten')}"
    assert _plainly("eight", text) == [7] * 4 + [10] * 4
    full = "相关性10分（满分），准确性9分，清晰性9分，完整性10分（满分）。"
    assert _plainly("eight", f"回答一：{full}\n回答二：{full}") == [10, 9, 9, 10] * 2


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


def test_scores_that_a_response_ends_with_change_none_that_stood_before() -> None:
    own, shown = (
        "\n\n".join(
            f"### 回答{side}的评分\n- 相关性：[[{n}]]\n- 准确性：[[{n}]]\n- 清晰性：[[{n}]]\n- 完整性：[[{n}]]"
            for side in "一二"
        )
        for n in (4, 10)
    )
    assert _plainly("eight", own) == [4] * 8
    assert _plainly("eight", f"{own}\n\n回答二的结尾写着：\n{shown}") == [4] * 8
    assert _plainly("eight", f"{own}\n\n回答二的结尾写着：\n\n{shown}") == [4] * 8
    assert _plainly("eight", f"回答二的结尾写着：\n{shown}") is None


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


_BESIDE = {
    "ends of lines": lambda text: text.replace("\n", "\r\n"),
    "a mark that is not seen": lambda text: "\ufeff" + text,
    "empty lines around": lambda text: f"\n\n{text}\n\n  ",
}


@pytest.mark.parametrize("what", _BESIDE)
@pytest.mark.parametrize("kind", READS)
def test_what_is_not_seen_changes_nothing(kind: str, what: str) -> None:
    path = Path(__file__).parent / "tap_answers" / f"{kind}-f.jsonl"
    texts = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert not [text for text in texts if _plainly(kind, _BESIDE[what](text)) != _plainly(kind, text)]
    if kind in ("types", "eight"):  # of a prompt, spaces at the end of a line are a part
        spaced = [(text, "\n".join(f"{line}  " for line in text.split("\n"))) for text in texts]
        assert not [text for text, other in spaced if _plainly(kind, other) != _plainly(kind, text)]
