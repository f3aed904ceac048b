"""What is known of the two benchmarks: categories, dimensions, temperatures, and how a total is made of its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ALIGNBENCH, MT_BENCH = "alignbench", "mt-bench-zh"
KINDS = (ALIGNBENCH, MT_BENCH)
OVERALL = "综合得分"
"""How a judge of AlignBench names the score that counts."""

REASONING = ("math", "logic")
LANGUAGE = ("fundamental", "chinese", "open", "writing", "role", "professional")


@dataclass(frozen=True)
class Category:
    """A category of AlignBench.

    Attributes:
        zh: as its file names it.
        temperature: at which a model answers it.
        answers: the kind of answer that it asks for where its subcategory is none of SUBCATEGORIES.
    """

    zh: str
    temperature: float
    answers: str


FACTS, LOGIC, MAKING, ADVICE = "facts", "logic", "making", "advice"

CATEGORIES: Mapping[str, Category] = {
    "math": Category("数学计算", 0.1, LOGIC),
    "logic": Category("逻辑推理", 0.1, LOGIC),
    "fundamental": Category("基本任务", 0.1, FACTS),
    "chinese": Category("中文理解", 0.1, FACTS),
    "open": Category("综合问答", 0.7, ADVICE),
    "writing": Category("文本写作", 0.7, MAKING),
    "role": Category("角色扮演", 0.7, MAKING),
    "professional": Category("专业能力", 0.1, FACTS),
}
"""AlignBench's, by the name that reports use."""

_IN_ENGLISH: Mapping[str, str] = {
    "mathematics": "math",
    "logical reasoning": "logic",
    "fundamental language ability": "fundamental",
    "advanced chinese understanding": "chinese",
    "open-ended questions": "open",
    "writing ability": "writing",
    "task-oriented role play": "role",
    "professional knowledge": "professional",
}
BY_NAME: Mapping[str, str] = {
    **{one.zh: name for name, one in CATEGORIES.items()},
    **{name: name for name in CATEGORIES},
    **_IN_ENGLISH,
}
"""The categories of AlignBench by how files call them, in lower case: as its file and its paper do, or as reports."""

SUBCATEGORIES: Mapping[str, str] = {
    **dict.fromkeys(("翻译", "实用文体写作", "创意文体写作", "专业文体写作", "其他写作类"), MAKING),
    **dict.fromkeys(("现实生活类", "游戏娱乐类", "功能类", "现实名人类", "（虚拟）恋爱类"), MAKING),
    **dict.fromkeys(("观点表达", "寻求建议"), ADVICE),
    **dict.fromkeys(("证明", "推理", "初等数学", "高等数学", "应用数学"), LOGIC),
    **dict.fromkeys(("常识知识", "阅读理解", "文本分类", "信息抽取", "字词理解", "文化理解"), FACTS),
    **dict.fromkeys(("物理", "化学", "计算机", "生物医学", "经济", "天文", "历史", "音乐"), FACTS),
    **dict.fromkeys(("法律", "体育", "地理", "文学", "其他"), FACTS),
}
"""AlignBench's subcategories, and the kind of answer that each asks for."""

DIMENSIONS: Mapping[str, tuple[str, ...]] = {
    FACTS: ("事实正确性", "满足用户需求", "清晰度", "完备性"),
    LOGIC: ("事实正确性", "满足用户需求", "逻辑连贯性", "完备性"),
    MAKING: ("事实正确性", "满足用户需求", "逻辑连贯性", "创造性", "丰富度"),
    ADVICE: ("事实正确性", "满足用户需求", "公平与可负责程度", "创造性"),
}
"""What a judge scores of each kind of answer, beside the overall."""

MT_TEMPERATURES: Mapping[str, float] = {
    "writing": 0.7,
    "roleplay": 0.7,
    "extraction": 0.0,
    "math": 0.0,
    "coding": 0.0,
    "reasoning": 0.0,
    "stem": 0.1,
    "humanities": 0.1,
}
"""MT-Bench's categories, and the temperature at which a model answers each."""

MT_BY_NAME: Mapping[str, str] = {
    **{name: name for name in MT_TEMPERATURES},
    "写作": "writing",
    "角色扮演": "roleplay",
    "信息抽取": "extraction",
    "信息提取": "extraction",
    "数学": "math",
    "编程": "coding",
    "代码": "coding",
    "推理": "reasoning",
    "理工": "stem",
    "人文": "humanities",
}
"""MT-Bench's categories by how files call them, in lower case."""

OFFICIAL_TEMPERATURE, OFFICIAL_TOKENS = 1.0, 2000
"""COIG-P's own run: the server's temperature, whatever the category, and so many tokens."""


def dimensions_of(category: str, subcategory: str) -> tuple[str, ...]:
    """What a judge scores of an answer, beside the overall."""
    return DIMENSIONS[SUBCATEGORIES.get(subcategory, CATEGORIES[category].answers)]


def temperature_of(kind: str, category: str) -> float:
    """At which a model answers."""
    return CATEGORIES[category].temperature if kind == ALIGNBENCH else MT_TEMPERATURES[category]
