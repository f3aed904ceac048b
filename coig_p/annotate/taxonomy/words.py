"""The words that answers are read by: headings, verdicts, names of dimensions. Chinese and English come along."""

from __future__ import annotations

from dataclasses import dataclass, fields

DIMENSIONS = ("relevance", "correctness", "clarity", "completeness")
"""What a response is scored on, in this order (TaP, section 3.6)."""


@dataclass(frozen=True)
class Words:
    """Ways in which a model may write what it is asked to write, of each the first as the prompts ask for it.

    A folder of prompts in another language has its own in words.toml; they are added to these.

    Attributes:
        heading: after which a prompt begins.
        yes, no: whether a prompt lacks what it needs.
        feasible, infeasible: whether a text-only model can do what a prompt asks.
        first, second: what the two responses are called.
        relevance, correctness, clarity, completeness: of a response.
        name, description: labels of a question type's parts, where a model writes them out.
    """

    heading: tuple[str, ...] = ("指令", "Prompt", "Instruction")
    yes: tuple[str, ...] = ("是", "是的", "Yes")
    no: tuple[str, ...] = ("否", "No")
    feasible: tuple[str, ...] = ("合理", "Feasible", "Reasonable")
    infeasible: tuple[str, ...] = (
        "不合理",
        "Not feasible",
        "Infeasible",
        "Unfeasible",
        "Unreasonable",
        "Not reasonable",
    )
    first: tuple[str, ...] = (
        "回答一",
        "回答1",
        "回答A",
        "回答甲",
        "第一个回答",
        "Response A",
        "Response 1",
        "First response",
    )
    second: tuple[str, ...] = (
        "回答二",
        "回答2",
        "回答B",
        "回答乙",
        "第二个回答",
        "Response B",
        "Response 2",
        "Second response",
    )
    relevance: tuple[str, ...] = ("相关性", "相关度", "Relevance")
    correctness: tuple[str, ...] = ("准确性", "正确性", "准确度", "Correctness", "Accuracy")
    clarity: tuple[str, ...] = ("清晰性", "清晰度", "Clarity")
    completeness: tuple[str, ...] = ("完整性", "完整度", "Completeness")
    name: tuple[str, ...] = (
        "题型",
        "题型名称",
        "名称",
        "类型",
        "问题类型",
        "问题类型名称",
        "类型名称",
        "题目类型",
        "Question type",
        "Type",
        "Name",
        "Title",
    )
    description: tuple[str, ...] = (
        "简介",
        "描述",
        "说明",
        "题型简介",
        "题型描述",
        "题型说明",
        "类型描述",
        "类型说明",
        "Description",
        "Desc",
    )

    def __add__(self, other: Words) -> Words:
        """These, and the others' behind them."""
        each = {one.name: getattr(self, one.name) for one in fields(self)}
        return Words(**{name: tuple(dict.fromkeys((*mine, *getattr(other, name)))) for name, mine in each.items()})


WORDS = Words()
