"""How to read the published Chinese preference sets: `coigp import --recipe NAME`.

Columns are those that each set's public documentation and its users' code name. A recipe only
fills in options; every one can be given by hand instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from coig_p.errors import UnknownNameError


@dataclass(frozen=True)
class Recipe:
    """Options for one published set.

    Attributes:
        form, fields: see `coig_p.ingest.fields.FormConfig`.
        domain: of rows that name none.
        domain_map: new names for those that do.
        about: what it is and which columns it has.
    """

    form: str
    about: str
    fields: Mapping[str, str] = field(default_factory=dict)
    domain: str = "chat"
    domain_map: Mapping[str, str] = field(default_factory=dict)
    split: str = "train"


_DOMAINS = {
    "对话": "chat",
    "逻辑推理": "logic",
    "数学": "math",
    "代码": "code",
    "角色扮演": "role",
    "小说续写": "novel",
}

RECIPES: dict[str, Recipe] = {
    "coig-p": Recipe(
        "pairs",
        "COIG-P's released pairs: conversations (sharegpt), chosen, rejected",
        domain="mixed",
        domain_map=_DOMAINS,
    ),
    "coig-p-crm": Recipe(
        "pairs",
        "COIG-P's data for its reward model: chosen, rejected as message lists",
        domain="mixed",
        domain_map=_DOMAINS,
    ),
    "crbench": Recipe(
        "pairs",
        "CRBench, COIG-P's benchmark: prompt, chosen, rejected, domain (in Chinese)",
        domain="mixed",
        domain_map=_DOMAINS,
        split="test",
    ),
    "zhihu-rlhf-3k": Recipe("pairs", "Zhihu answers by upvotes, TSV: prompt, chosen, rejected, upvotes of either"),
    "cvalues": Recipe(
        "pairs",
        "CValues-Comparison: prompt, pos_resp, neg_resp, pos_type, neg_type",
        fields={"chosen": "pos_resp", "rejected": "neg_resp"},
    ),
    "huozi": Recipe("pairs", "Huozi RLHF: prompt, chosen, rejected"),
    "zake": Recipe("pairs", "Kyara Chinese preferences by zake7749: prompt, chosen, rejected"),
    "rlhf-cn": Recipe("pairs", "HH-RLHF-CN: context of {role, text}, chosen and rejected {role, text}"),
    "chinese-dpo-pairs": Recipe("pairs", "Chinese-DPO-Pairs: prompt, chosen, rejected"),
    "gpt-4-llm-zh": Recipe(
        "best-first",
        "GPT-4-LLM's comparisons in Chinese, as LLaMA-Factory has them: instruction, input, output of [better, worse]",
    ),
    "gpt-4-llm": Recipe(
        "rated",
        "GPT-4-LLM's comparison_data_v2.json: user_input, responses_and_scores of {response, source, score}, 1 to 10",
        fields={"query": "user_input", "responses": "responses_and_scores", "model": "source"},
    ),
    "gpt-4-llm-pairs": Recipe(
        "pairs",
        "GPT-4-LLM's first comparision_data.json: user_input, completion_a (the better one), completion_b",
        fields={"query": "user_input", "chosen": "completion_a", "rejected": "completion_b"},
    ),
}


def find_recipe(name: str) -> Recipe:
    """The recipe of this name; raise UnknownNameError where there is none."""
    if name not in RECIPES:
        raise UnknownNameError("recipe", name, RECIPES)
    return RECIPES[name]
