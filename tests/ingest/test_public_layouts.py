"""Layouts of public sets, in small: what comes of each, or the true reason why it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from casebook import ASKED, BAD, BOTH, CHAT, GOOD, Case, Wanted, better, check, pair, said, scored


def turns(*given: tuple[str, str]) -> Any:
    return tuple(given)


CASES: dict[str, Case] = {
    "orca_dpo_pairs": Case(
        [{"system": "你是助手。", "question": "一加一？", "chosen": "二。", "rejected": "三。"}],
        (pair(turns(("system", "你是助手。"), ("user", "一加一？")), "二。", "三。"),),
    ),
    "distilabel-intel-orca": Case(
        [
            {
                "system": "",
                "input": "一加一？",
                "chosen": "二。",
                "rejected": "三。",
                "generations": ["二。", "三。"],
                "order": ["chosen", "rejected"],
                "labelling_model": "gpt-4",
                "labelling_prompt": [said("system", "s"), said("user", "u")],
                "raw_labelling_response": "9 1",
                "rating": [9.0, 1.0],
                "rationale": "好",
                "status": "unchanged",
                "original_chosen": "二。",
                "original_rejected": "三。",
                "chosen_score": 9.0,
                "in_gsm8k_train": False,
            }
        ],
        (Wanted("一加一？", ("二。", "三。"), better("二。", "三。"), {"二。": (9,)}),),
        ("",),
    ),
    "capybara-dpo": Case(
        [
            {
                "source": "Airoboros",
                "conversation": [{"input": "一加一？", "output": "二。"}],
                "original_response": "二。",
                "generation_prompt": ["p"],
                "raw_generation_responses": ["三。"],
                "new_generations": ["三。"],
                "prompt": "一加一？",
                "chosen": GOOD,
                "rejected": BAD,
                "rating_chosen": 5,
                "rating_rejected": 4,
                "chosen_model": "original",
                "rejected_model": "m",
                "turns": 1,
            }
        ],
        (Wanted("一加一？", ("二。", "三。"), better("二。", "三。"), {"二。": (5,), "三。": (4,)}),),
    ),
    "tulu-3-preference": Case(
        [
            {
                "id": "x_1",
                "source": "wildchat",
                "prompt": "一加一？",
                "chosen": GOOD,
                "rejected": BAD,
                "chosen_rating": 5.0,
                "rejected_rating": 3.5,
                "chosen_model": "a",
                "rejected_model": "b",
            }
        ],
        (Wanted("一加一？", ("二。", "三。"), better("二。", "三。"), {"二。": (5,), "三。": (3.5,)}, {"二。": "a"}),),
    ),
    "skywork-reward-preference": Case([{"chosen": GOOD, "rejected": BAD, "source": "magpie"}], BOTH),
    "huozi_rlhf": Case([{"prompt": "一加一？", "chosen": "二。", "reject": "三。"}], BOTH),
    "cvalues-comparison": Case(
        [{"prompt": "一加一？", "pos_resp": "二。", "neg_resp": "三。", "pos_type": "拒绝", "neg_type": "风险"}], BOTH
    ),
    "zhihu_rlhf_3k": Case([{"prompt": "一加一？", "chosen": "二。", "rejected": "三。"}], BOTH),
    "chinese-dpo-pairs": Case(
        [
            {
                "id": "1",
                "system": "",
                "system_zh": "",
                "source": "s",
                "prompt": "1+1?",
                "prompt_zh": "一加一？",
                "chosen": "Two.",
                "chosen_zh": "二。",
                "rejected": "Three.",
                "rejected_zh": "三。",
            }
        ],
        BOTH,
        options=(*CHAT, "--map", "query=prompt_zh,chosen=chosen_zh,rejected=rejected_zh"),
    ),
    "hh_rlhf_cn": Case(
        [
            {
                "context": [{"role": "human", "text": "一加一？"}],
                "chosen": {"role": "assistant", "text": "二。"},
                "rejected": {"role": "assistant", "text": "三。"},
            }
        ],
        BOTH,
    ),
    "infinity-preference": Case(
        [{"id": "a", "prompt": "一加一？", "chosen": GOOD, "rejected": BAD, "task_category": "math"}], BOTH
    ),
    "zhihu-kol": Case(
        [{"INSTRUCTION": "一加一？", "RESPONSE": "二。", "SOURCE": "Zhihu", "METADATA": "{}"}],
        (scored("一加一？", {"二。": None}),),
        says=("no score and no comparison",),
    ),
    "stack-exchange-preferences": Case(
        [
            {
                "qid": 1,
                "question": "一加一？",
                "answers": [
                    {"answer_id": 1, "author": "x", "author_id": 2, "pm_score": 5, "selected": True, "text": "二。"},
                    {"answer_id": 2, "author": "y", "author_id": 3, "pm_score": 1, "selected": False, "text": "三。"},
                ],
                "date": "2020/01/01",
                "metadata": ["u"],
            }
        ],
        (scored("一加一？", {"二。": 5, "三。": 1}),),
        options=(*CHAT, "--map", "ratings=pm_score", "--score-range", "0", "100"),
    ),
    "coig-p": Case(
        [
            {
                "conversations": [{"from": "human", "value": "一加一？"}],
                "chosen": {"from": "gpt", "value": "二。"},
                "rejected": {"from": "gpt", "value": "三。"},
                "domain": "math",
                "score_chosen": 9,
                "score_rejected": 3,
            }
        ],
        (Wanted("一加一？", ("二。", "三。"), better("二。", "三。"), {"二。": (9,), "三。": (3,)}),),
    ),
    "rewardbench": Case(
        [
            {
                "prompt": "一加一？",
                "chosen": "二。",
                "chosen_model": "a",
                "rejected": "三。",
                "rejected_model": "b",
                "subset": "alpacaeval-easy",
                "id": 0,
            }
        ],
        BOTH,
    ),
    "rewardbench-2": Case(
        [
            {
                "id": "1",
                "prompt": "一加一？",
                "chosen": ["二。"],
                "rejected": ["三。", "四。", "五。"],
                "num_correct": 1,
                "num_incorrect": 3,
                "total_completions": 4,
                "models": ["a", "b", "c", "d"],
                "subset": "Math",
                "additional_metadata": None,
            }
        ],
        (Wanted("一加一？", ("二。", "三。", "四。", "五。"), better("二。", "三。", "四。", "五。")),),
    ),
    "rm-bench": Case(
        [
            {
                "id": "1",
                "prompt": "一加一？",
                "chosen": ["二。", "是二。", "就是二。"],
                "rejected": ["三。", "是三。", "就是三。"],
                "domain": "chat",
            }
        ],
        (
            Wanted(
                "一加一？",
                ("二。", "是二。", "就是二。", "三。", "是三。", "就是三。"),
                (
                    *better("二。", "三。", "是三。", "就是三。"),
                    *better("是二。", "三。", "是三。", "就是三。"),
                    *better("就是二。", "三。", "是三。", "就是三。"),
                ),
            ),
        ),
    ),
    "alignbench-judgements": Case(
        [
            {
                "question_id": 1,
                "category": "数学",
                "question": "一加一？",
                "reference": "二",
                "answer": "二。",
                "judgment": "[[9]]",
                "rating": 9,
            }
        ],
        (scored("一加一？", {"二。": 9}),),
    ),
    "alignbench-dimensions": Case(
        [
            {
                "question_id": 1,
                "question": "一加一？",
                "answer": answer,
                "model": model,
                "rating": {"事实正确性": rating, "综合得分": rating + 1, "清晰度": None},
            }
            for model, answer, rating in (("a", "二。", 9), ("b", "三。", 1))
        ],
        (Wanted("一加一？", ("二。", "三。"), scores={"二。": (9, 10), "三。": (1, 2)}, models={"二。": "a"}),),
        says=("missing scores: 2",),
    ),
    "flat-of-words": Case(
        [{"prompt": "一加一？", "response": "二。", "rating": {"a": 3, "b": "好"}}],
        None,
        (r"rating\.b: '好' is not a number",),
    ),
    "nectar": Case(
        [
            {
                "prompt": "\n\nHuman: 一加一？\n\nAssistant: ",
                "answers": [
                    {"answer": "二。", "model": "m", "rank": 1.0},
                    {"answer": "三。", "model": "n", "rank": 2.0},
                    {"answer": "四。", "model": "o", "rank": 2.0},
                ],
                "turns": 1,
                "num_responses": 3,
            }
        ],
        (Wanted("一加一？", ("二。", "三。", "四。"), better("二。", "三。", "四。"), models={"二。": "m"}),),
    ),
    "ultrafeedback-raw": Case(
        [
            {
                "source": "flan",
                "instruction": "一加一？",
                "models": ["a", "b"],
                "completions": [
                    {
                        "model": "a",
                        "principle": "helpfulness",
                        "custom_system_prompt": "As an AI, be helpful.",
                        "response": "二。",
                        "annotations": {"helpfulness": {"Rating": "5", "Rationale": "r", "Type": ["1"]}},
                        "critique": "c",
                        "overall_score": 9.0,
                        "fine-grained_score": 4.5,
                    },
                    {
                        "model": "b",
                        "principle": "honesty",
                        "custom_system_prompt": "As an AI, be honest.",
                        "response": "三。",
                        "annotations": {"helpfulness": {"Rating": "1", "Rationale": "r", "Type": None}},
                        "critique": "c",
                        "overall_score": 2.0,
                        "fine-grained_score": 1.5,
                    },
                ],
                "correct_answers": ["None"],
                "incorrect_answers": ["None"],
            }
        ],
        (scored("一加一？", {"二。": 5, "三。": 1}),),
        ("custom_system_prompt",),
    ),
    "oasst-tree": Case(
        [
            {
                "message_tree_id": "t",
                "tree_state": "ready_for_export",
                "prompt": {
                    "message_id": "t",
                    "text": "一加一？",
                    "role": "prompter",
                    "lang": "zh",
                    "replies": [
                        {"message_id": "r1", "text": "二。", "role": "assistant", "rank": 0, "replies": []},
                        {"message_id": "r2", "text": "三。", "role": "assistant", "rank": 1, "replies": []},
                    ],
                },
            }
        ],
        None,
        ("no known shape|replies",),
    ),
    "oasst-messages": Case(
        [
            {"message_id": "a", "parent_id": None, "text": "一加一？", "role": "prompter", "rank": None, "lang": "zh"},
            {"message_id": "b", "parent_id": "a", "text": "二。", "role": "assistant", "rank": 0, "lang": "zh"},
        ],
        None,
        ("no known shape",),
    ),
    "prm800k": Case(
        [
            {
                "labeler": "l",
                "question": {"problem": "一加一？", "ground_truth_answer": "2"},
                "label": {"steps": [{"completions": [{"text": "二。", "rating": 1}]}], "finish_reason": "solution"},
            }
        ],
        None,
        ("question|no known shape",),
    ),
    "trl-grpo-export": Case([{"prompt": "一加一？", "reference": "二。"}], None, ("no known shape",)),
    "verl-export": Case(
        [
            {
                "data_source": "coig-p/math",
                "prompt": ASKED,
                "ability": "math",
                "reward_model": {"style": "rule", "ground_truth": "二。"},
                "extra_info": {"index": 0},
            }
        ],
        None,
        ("no known shape",),
    ),
    "cheems": Case(
        [
            {
                "prompt": "一加一？",
                "chosen": [said("user", "一加一？"), said("assistant", "二。")],
                "rejected": [said("user", "一加一？"), said("assistant", "三。")],
                "metadata": {"category": "math"},
            }
        ],
        BOTH,
    ),
    "ultrafeedback-cleaned": Case(
        [
            {
                "source": "evol",
                "prompt": "一加一？",
                "prompt_id": "x",
                "chosen": GOOD,
                "chosen-rating": 5.0,
                "chosen-model": "a",
                "rejected": BAD,
                "rejected-rating": 2.5,
                "rejected-model": "b",
            }
        ],
        (Wanted("一加一？", ("二。", "三。"), better("二。", "三。"), {"二。": (5,), "三。": (2.5,)}),),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_comes_of_a_public_layout(name: str, tmp_path: Path) -> None:
    check(CASES[name], tmp_path)
