"""What a scripted model says to the requests of a TaP run, in either of the package's languages.

Nothing here is a language model. As a writer it lists six types of questions for a subject, then four, then two, some
of them a second time; of every eighth subject the second round brings nothing new. A fourth of its prompts lack
something, a sixth asks for what no model of texts can do, and its checker sees that. As a judge it counts the steps of
a response, adds a little noise, and gives the one that is shown first half a point to two points more, as judges do.
Where a taxonomy grows it proposes four classes. The same request always has the same answer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class _Said:
    """By what requests of a language are known, and what is answered."""

    grow: re.Pattern[str]
    classes: tuple[str, ...]
    types: re.Pattern[str]
    more_types: str
    refine: re.Pattern[str]
    prompt: re.Pattern[str]
    complete: str
    regenerate: str
    feasible: str
    compare: str
    kinds: tuple[str, ...]
    item: str
    described: str
    wanted: tuple[str, str]
    impossible: tuple[str, str]
    missing: str
    whole: str
    yes: str
    no: str
    heading: str
    can: str
    cannot: str
    reasons: tuple[str, str]
    sides: tuple[str, str]
    dimensions: tuple[str, str, str, str]
    steps: str


_ZH = _Said(
    grow=re.compile(r"请列出“(.*)”下面的类目。\Z"),
    classes=("基础", "方法", "历史", "应用", "工具", "规范", "案例", "前沿"),
    types=re.compile(r"请列出“(.*)”的题型。\Z"),
    more_types="还有哪些题型？请接着列",
    refine=re.compile(r"请重写这个简介.*\n题型：(.*)\n简介：(.*)\n", re.DOTALL),
    prompt=re.compile(r"出一道具体的题目.*\n学科：(?:.* > )?(.*)\n题型：(.*)\n简介：", re.DOTALL),
    complete="有没有因为缺少必要的输入",
    regenerate="只能读写文字的语言模型没有办法完成",
    feasible="它能不能完成这条指令所要求的事",
    compare="请从四个方面分别给两个回答打分",
    kinds=(
        *("概念辨析", "原理解释", "案例分析", "计算推导", "方案设计", "材料解读"),
        *("错误诊断", "方法比较", "史料考证", "术语翻译", "流程规划", "数据解释"),
        *("科普写作", "争议评述", "教学设计", "伦理讨论", "成本估算", "文献综述"),
    ),
    item='"""{0}{1}：要求针对{0}完成一次{1}"""',
    described="在真实的学习和工作中，{1}：说明依据、写出步骤，并交代结论适用的范围。",
    wanted=("请围绕{0}完成一次{1}：背景材料是第{2}号个案，", "要求分三点作答，每点给出理由。"),
    impossible=("请到现场拍一张与{0}有关的照片，", "并据此完成一次{1}。"),
    missing="（见附件）",
    whole="材料全文：个案发生在去年，涉及三方，争议在于先后次序。",
    yes="是",
    no="否",
    heading="### 指令",
    can="合理",
    cannot="不合理",
    reasons=("所需要的都在文字里，写得出来。", "要到现场拍照，模型没有感官，也不能行动。"),
    sides=("### 回答一的评分", "### 回答二的评分"),
    dimensions=("相关性", "准确性", "清晰性", "完整性"),
    steps="两个回答分别有 {0} 步和 {1} 步。",
)
_EN = _Said(
    grow=re.compile(r'List the classes below "(.*)"\.\Z'),
    classes=("foundations", "methods", "history", "applications", "tools", "standards", "cases", "frontiers"),
    types=re.compile(r'List the question types of "(.*)"\.\Z'),
    more_types="other question types does",
    refine=re.compile(r"Rewrite the description.*\nQuestion type: (.*)\nDescription: (.*)\n", re.DOTALL),
    prompt=re.compile(
        r"make one specific task.*\nSubject: (?:.* > )?(.*)\nQuestion type: (.*)\nDescription: ", re.DOTALL
    ),
    complete="does it lack any input that it needs",
    regenerate="cannot do what your prompt asks",
    feasible="Decide whether it can do what the prompt asks",
    compare="Score both responses on four dimensions",
    kinds=(
        *("Concept comparison", "Explaining a principle", "Case analysis", "Derivation", "Design of a plan"),
        *("Reading a source", "Finding an error", "Choosing a method", "Checking evidence", "Terms translated"),
        *("Workflow planning", "Interpreting data", "Popular writing", "Weighing a dispute", "Lesson planning"),
        *("Ethical questions", "Estimating costs", "Literature review"),
    ),
    item='"""{1} in {0}: asks for {1} about a matter of {0}"""',
    described="In real study and work, {1}; with grounds, steps, and the limits of the conclusion.",
    wanted=("For {0}, work on {1}: the material is case {2}, ", "and three points with reasons are wanted."),
    impossible=("Go outside and take a photo of something from {0}, ", "then work on {1}."),
    missing=" (see attachment)",
    whole="The material in full: the case is of last year, has three parties, and is about who came first.",
    yes="Yes",
    no="No",
    heading="### Prompt",
    can="Feasible",
    cannot="Not feasible",
    reasons=("All that it needs is text.", "It asks for a photo: a model has no senses and cannot act."),
    sides=("### Scores of response A", "### Scores of response B"),
    dimensions=("Relevance", "Correctness", "Clarity", "Completeness"),
    steps="The responses have {0} and {1} steps.",
)
_FENCED = re.compile(r"<<<(.+?) (\w+)>>>\n(.*?)\n<<<.+? \2>>>", re.DOTALL)
_STEP = re.compile(r"^\d\. ", re.MULTILINE)


def tap_answer(request: Mapping[str, Any]) -> str | None:
    """What a scripted model says to a request of a TaP run; None where it is none, as a prompt to be answered."""
    model = str(request["model"])
    said = [str(message["content"]) for message in request["messages"] if message["role"] == "user"]
    for own in (_ZH, _EN):
        for at, text in enumerate(reversed(said)):  # the last one may only say that an answer could not be used
            found = _answer(own, model, said[: len(said) - at], text)
            if found is not None:
                return found
    return None


def _answer(own: _Said, model: str, said: Sequence[str], text: str) -> str | None:
    grown = own.grow.search(text)
    if grown is not None:
        return _classes(own, model, grown[1])
    if own.compare in text:
        return _scores(own, model, *(material for _, _, material in _FENCED.findall(text)[-2:]))
    if own.feasible in text:
        impossible = own.impossible[0].partition("{0}")[0] in _FENCED.findall(text)[-1][2]
        return f"{own.reasons[impossible]}\n\n{own.cannot if impossible else own.can}"
    if own.complete in text:
        prompt = _prompt(own, model, said)
        return f"{own.yes}\n\n{own.heading}\n{prompt}\n{own.whole}" if _draw(model, prompt) % 4 == 0 else own.no
    if own.regenerate in text or own.prompt.search(text):
        prompt = _prompt(own, model, said)
        return f"{own.heading}\n{prompt}{own.missing if _draw(model, prompt) % 4 == 0 else ''}"
    refined = own.refine.search(text)
    if refined is not None:
        return own.described.format(refined[1].strip(), refined[2].strip().rstrip("。."))
    if own.more_types in text or own.types.search(text):
        return _types(own, model, said)
    return None


def _classes(own: _Said, model: str, name: str) -> str:
    """Four classes below one, and the first of them once more."""
    first, colon = _draw(model, name) % len(own.classes), "：" if own is _ZH else ": "
    names = [f"{name}{'' if own is _ZH else ' '}{own.classes[(first + at) % len(own.classes)]}" for at in range(4)]
    return "\n".join(f'"""{one}{colon}{one}"""' for one in [*names, names[0]])


def _types(own: _Said, model: str, said: Sequence[str]) -> str | None:
    subject = next((found[1] for found in map(own.types.search, said) if found is not None), None)
    if subject is None:
        return None
    number = sum(own.more_types in text for text in said)
    begin, end = ((0, 6), (5, 10), (9, 12))[min(number, 2)]  # one of the round before comes again
    if number and _draw(subject) % 8 == 0:
        begin, end = 0, 6
    first = _draw(model, subject) % len(own.kinds)
    kinds = [own.kinds[(first + at) % len(own.kinds)] for at in range(begin, end)]
    return "\n\n".join(own.item.format(subject, kind) for kind in kinds)


def _prompt(own: _Said, model: str, said: Sequence[str]) -> str:
    """The candidate that the conversation is about; the first of a sixth of all types cannot be done."""
    found = next(match for match in map(own.prompt.search, said) if match is not None)
    subject, kind = found[1].strip(), found[2].strip()
    number = sum(own.regenerate in text for text in said)
    drawn = _draw(model, subject, kind)
    words = own.impossible if number < (drawn % 6 == 0) + 3 * (drawn % 48 == 0) else own.wanted
    return "".join(words).format(subject, kind, f"{drawn % 9973}-{number}")


def _scores(own: _Said, judge: str, first: str, second: str) -> str:
    steps = [len(_STEP.findall(text)) for text in (first, second)]
    lines = [own.steps.format(*steps)]
    bias = _draw(judge) % 3
    for at, (side, text) in enumerate(((own.sides[0], first), (own.sides[1], second))):
        lines += ["", side]
        for dimension in own.dimensions:
            score = 1 + steps[at] + _draw(judge, dimension, text) % 3 + (bias if at == 0 else 0)
            lines.append(f"- {dimension}{'：' if own is _ZH else ': '}[[{min(10, max(1, score))}]]")
    return "\n".join(lines)


def _draw(*parts: str) -> int:
    return int.from_bytes(hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).digest()[:4], "big")
