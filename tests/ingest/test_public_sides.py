"""Layouts of public sets with two answers side by side, in small: who won, or why that is not known."""

from __future__ import annotations

from pathlib import Path

import pytest
from casebook import BAD, BOTH, CHAT, GOOD, PLAIN, Case, Wanted, better, check, pair, said

CASES: dict[str, Case] = {
    "shp": Case(
        [
            {
                "post_id": "p1",
                "domain": "askscience_train",
                "upvote_ratio": 0.99,
                "history": "一加一？",
                "c_root_id_A": "a1",
                "c_root_id_B": "b1",
                "score_A": 14,
                "score_B": 6,
                "human_ref_A": "二。",
                "human_ref_B": "三。",
                "labels": 1,
                "seconds_difference": 10.0,
                "score_ratio": 2.3,
            }
        ],
        (Wanted("一加一？", ("二。", "三。"), better("二。", "三。", by=8)),),
        options=(*CHAT, "--score-range", "0", "100"),
    ),
    "arena-55k": Case(
        [
            {
                "id": 1,
                "model_a": "a",
                "model_b": "b",
                "prompt": '["一加一？"]',
                "response_a": '["二。"]',
                "response_b": '["三。"]',
                "winner_model_a": 1,
                "winner_model_b": 0,
                "winner_tie": 0,
            }
        ],
        (Wanted("一加一？", ("二。", "三。"), better("二。", "三。"), {}, {"二。": "a"}),),
    ),
    "mt-bench-human": Case(
        [
            {
                "question_id": 81,
                "model_a": "a",
                "model_b": "b",
                "winner": "model_a",
                "judge": "author_2",
                "conversation_a": [*GOOD, said("user", "再加一？"), said("assistant", "三。")],
                "conversation_b": [*BAD, said("user", "再加一？"), said("assistant", "四。")],
                "turn": 1,
            }
        ],
        (pair("一加一？", "二。", "三。", judges=("author_2",)),),
    ),
    "webgpt_comparisons": Case(
        [
            {
                "question": {"dataset": "eli5", "id": "1", "full_text": "一加一？"},
                "quotes_0": {"title": ["t"], "extract": ["e"]},
                "answer_0": "二。",
                "tokens_0": {"prefix": [1], "completion": [2]},
                "score_0": 0.3333333333333333,
                "quotes_1": {"title": ["t"], "extract": ["e"]},
                "answer_1": "三。",
                "tokens_1": {"prefix": [1], "completion": [2]},
                "score_1": -0.3333333333333333,
            }
        ],
        (Wanted("一加一？", ("二。", "三。"), better("二。", "三。", by=0.6666)),),
        options=(*CHAT, "--map", "query=question.full_text", "--score-range", "-1", "1", "--round"),
    ),
    "webgpt-unnamed": Case(
        [{"question": {"full_text": "一加一？"}, "answer_0": "二。", "answer_1": "三。", "score_0": 1, "score_1": 0}],
        BOTH,
        ("question",),
    ),
    "summarize_from_feedback": Case(
        [
            {
                "info": {"id": "t3", "post": "一加一？", "title": "t", "subreddit": "s", "site": None, "article": None},
                "summaries": [
                    {"text": "二。", "policy": "a", "note": None},
                    {"text": "三。", "policy": "b", "note": None},
                ],
                "choice": 0,
                "worker": "w",
                "batch": "b",
                "split": "train",
                "extra": {"confidence": 5},
            },
            {
                "info": {"id": "t4", "post": "二加二？", "title": "t", "subreddit": "s", "site": None, "article": None},
                "summaries": [
                    {"text": "四。", "policy": "a", "note": None},
                    {"text": "五。", "policy": "b", "note": None},
                ],
                "choice": 1,
                "worker": "w",
                "batch": "b",
                "split": "train",
                "extra": {"confidence": 5},
            },
        ],
        (PLAIN, pair("二加二？", "五。", "四。")),
        options=(*CHAT, "--map", "query=info.post"),
    ),
    "judgebench": Case(
        [
            {
                "pair_id": "p1",
                "original_id": "o",
                "source": "mmlu",
                "question": "一加一？",
                "response_model": "gpt-4o",
                "response_A": "二。",
                "response_B": "三。",
                "label": "A>B",
            },
            {
                "pair_id": "p2",
                "original_id": "o",
                "source": "mmlu",
                "question": "二加二？",
                "response_model": "gpt-4o",
                "response_A": "五。",
                "response_B": "四。",
                "label": "B>A",
            },
        ],
        (PLAIN, pair("二加二？", "四。", "五。")),
    ),
    "ppe-human": Case(
        [
            {
                "question_id": "q1",
                "model_a": "a",
                "model_b": "b",
                "winner": "model_b",
                "prompt": "一加一？",
                "response_1": "三。",
                "response_2": "二。",
                "language": "Chinese",
            },
            {"model_a": "a", "model_b": "b", "winner": "tie", "prompt": "二？", "response_1": "甲", "response_2": "乙"},
        ],
        (
            pair("一加一？", "二。", "三。", models={"二。": "b", "三。": "a"}),
            Wanted("二？", ("甲", "乙"), better("甲", "乙", by=0)),
        ),
    ),
    "stepwise": Case(
        [{"prompt": "一加一？", "completions": ["一", "二"], "labels": [True, False]}],
        None,
        (r"labels: \[True, False\] is no verdict on two answers",),
    ),
    "arena-140k": Case(
        [
            {
                "id": "1",
                "model_a": "a",
                "model_b": "b",
                "winner": "both_bad",
                "conversation_a": [
                    {"role": turn["role"], "content": [{"type": "text", "text": turn["content"], "image": None}]}
                    for turn in GOOD
                ],
                "conversation_b": [
                    {"role": turn["role"], "content": [{"type": "text", "text": turn["content"], "image": None}]}
                    for turn in BAD
                ],
                "full_conversation": [],
            }
        ],
        (Wanted("一加一？", ("二。", "三。"), better("二。", "三。", by=0)),),
    ),
    "llmbar": Case(
        [
            {"input": "一加一？", "output_1": "二。", "output_2": "三。", "label": 1},
            {"input": "二加二？", "output_1": "五。", "output_2": "四。", "label": 2},
        ],
        (PLAIN, pair("二加二？", "四。", "五。")),
    ),
    "auto-j": Case(
        [
            {"prompt": "一加一？", "response 1": "二。", "response 2": "三。", "label": 0},
            {"prompt": "二加二？", "response 1": "五。", "response 2": "四。", "label": 1},
        ],
        None,
        ("--values first=0,second=1 or",),
    ),
    "ppe-correctness": Case(
        [{"prompt": "一？", "response_1": "甲", "response_2": "乙", "response_3": "丙", "scores": [True, False, True]}],
        None,
        ("more than two answers side by side",),
    ),
    "helpsteer2-preference": Case(
        [
            {
                "split": "train",
                "prompt": "一加一？",
                "response_1": "三。",
                "response_2": "二。",
                "preference_strength": 2,
                "preference_statement": "s",
                "preference_elaboration": "e",
                "three_most_similar_preferences": [],
                "all_preferences_unprocessed": [],
            }
        ],
        (Wanted("一加一？", ("二。", "三。"), better("二。", "三。", by=2)),),
    ),
    "pku-saferlhf": Case(
        [
            {
                "prompt": "一加一？",
                "response_0": "二。",
                "response_1": "三。",
                "prompt_source": "s",
                "response_0_source": "a",
                "response_1_source": "b",
                "is_response_0_safe": True,
                "is_response_1_safe": False,
                "response_0_severity_level": 0,
                "response_1_severity_level": 1,
                "better_response_id": 0,
                "safer_response_id": 0,
                "response_0_sha256": "x",
                "response_1_sha256": "y",
            },
            {
                "prompt": "二加二？",
                "response_0": "五。",
                "response_1": "四。",
                "better_response_id": 1,
                "safer_response_id": 0,
            },
        ],
        (PLAIN, pair("二加二？", "四。", "五。")),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_who_won_in_a_public_layout(name: str, tmp_path: Path) -> None:
    check(CASES[name], tmp_path)
