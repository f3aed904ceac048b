"""What a judge of a benchmark is sent. The prompts are the package's own; those of the benchmarks have no licence."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files

from coig_p.annotate.prompts import Markers, Prompt, Value, parse_prompt
from coig_p.evaluate.align.benchmarks import Question
from coig_p.evaluate.align.kinds import ALIGNBENCH, CATEGORIES, OVERALL

MARKERS = Markers({"query": "问题", "reference": "参考答案", "response": "回答"})
_DEFINED: Mapping[str, str] = {
    "事实正确性": "所说的是否属实、计算和结论是否正确。",
    "满足用户需求": "是否切题，是否做到了用户要求的每一点。",
    "清晰度": "是否简明易懂，条理清楚。",
    "完备性": "该说的是否都说到了，没有遗漏要点。",
    "逻辑连贯性": "推理和行文是否前后一致，步步有据。",
    "创造性": "是否有新意，而不是套话。",
    "丰富度": "内容是否充实、有细节，并且言之有物。",
    "公平与可负责程度": "意见是否不偏不倚，建议是否负责、可行。",
}


def prompt_of(kind: str, question: Question, *, has_reference: bool) -> Prompt:
    """What a judge is sent about a question, with slots for what differs between models."""
    name = kind if has_reference else f"{kind}-general"
    slots = ("query", "reference", "response") if has_reference else ("query", "response")
    text = _text(name)
    if kind == ALIGNBENCH:
        dimensions = question.dimensions
        listed = "\n".join(f"{at}. {one}：{_DEFINED[one]}" for at, one in enumerate(dimensions, 1))
        form = "{" + ", ".join(f"'{one}': 分数" for one in (*dimensions, OVERALL)) + "}"
        filled = {"@category@": CATEGORIES[question.category].zh, "@dimensions@": listed, "@form@": form}
        for mark, value in filled.items():
            text = text.replace(mark, value)
    return parse_prompt(text, slots, f"prompts/{name}.md")


@cache
def _text(name: str) -> str:
    return files("coig_p.evaluate.align").joinpath("prompts", f"{name}.md").read_text(encoding="utf-8")


def filled(kind: str, question: Question, turn: int, answers: tuple[str, ...]) -> str:
    """The prompt about one turn of a question.

    Args:
        turn: from 1; answers: of the turns up to this one.
    """
    reference = _reference(question, turn)
    prompt = prompt_of(kind, question, has_reference=reference is not None)
    query: Value = question.turns[0]
    if turn > 1:
        said = zip(question.turns[: turn - 1], answers, strict=False)
        before = [
            {"role": role, "content": text}
            for pair in said
            for role, text in zip(("user", "assistant"), pair, strict=True)
        ]
        query = [*before, {"role": "user", "content": question.turns[turn - 1]}]
    slots: dict[str, Value] = {"query": query, "response": answers[turn - 1]}
    return prompt.fill(slots if reference is None else slots | {"reference": reference}, MARKERS)


def _reference(question: Question, turn: int) -> str | None:
    """The reference of a turn, behind those of the turns before; None where the turn itself has none."""
    if question.references[turn - 1] is None:
        return None
    told = [(at, one) for at, one in enumerate(question.references[:turn], 1) if one is not None]
    if turn == 1:
        return told[0][1]
    return "\n\n".join(f"（第 {at} 轮）\n{one}" for at, one in told)


def prompts_sha256(kind: str) -> str:
    """Of all that a judge of a benchmark may be sent, but for what is judged."""
    told = [_text(kind), _text(f"{kind}-general"), *(f"{name}{words}" for name, words in _DEFINED.items())]
    return sha256("\x00".join(told).encode()).hexdigest()
