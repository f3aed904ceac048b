"""Others of each kind that `test_cases.py` has one of: other names, other order, other formats, nulls, mixed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from case_parts import (
    DOMAIN,
    Q2,
    SYSTEM,
    A,
    B,
    C,
    Q,
    S,
    U,
    gpt,
    in_other_formats,
    says,
    sides,
    told,
    winner,
)
from casebook import TWINS, Case, Wanted, better, check, pair, scored

KINDS: dict[str, Case] = {
    # winners that count
    "winner 0/1 by a name that says it counts from 0": Case(
        [sides(1, "better_response_id", "response_0", "response_1")], (pair(Q, B, A),)
    ),
    "0/1/2 together": Case(winner(0, 1, 2), refused=("--values", "0", "1", "2")),
    "0 and 1 for sides named 1 and 2": Case(
        winner(0, 1, first="response_1", second="response_2"), refused=("--values",)
    ),
    "1 and 2, both": Case(winner(1, 2, 2, first="response_1", second="response_2"), told(1, -1, -1)),
    "1 and 2 as text": Case(winner("1", "2", first="answer_1", second="answer_2"), told(1, -1)),
    "only 2": Case(winner(2, 2, first="response_1", second="response_2"), refused=("--values",)),
    "only 0": Case(winner(0, 0), refused=("--values",)),
    "0, 1 and 2 are said": Case(
        winner(0, 1, 2), told(0, 1, -1), options=(*DOMAIN, "--values", "tie=0,first=1,second=2")
    ),
    "words are said": Case(
        winner("甲胜", "乙胜", "平"), told(1, -1, 0), options=(*DOMAIN, "--values", "first=甲胜,second=乙胜,tie=平")
    ),
    "a word that nobody knows": Case(winner("A", "whatever"), refused=("winner", "whatever")),
    "true is no side": Case(winner(True, False), refused=("winner",)),
    "a verdict that is missing is none": Case(winner("A", None, ""), told(1, None, None)),
    "label of sides": Case(winner("A", "B", "tie", name="label"), told(1, -1, 0)),
    "preference in words": Case(winner("a", "b", name="preference"), told(1, -1)),
    "brackets": Case(winner("[[A]]", "[[B]]", "[[C]]"), told(1, -1, 0)),
    "model names of an arena": Case(
        [{"question": Q, "model_a": "m1", "model_b": "m2", "response_a": A, "response_b": B, "winner": "model_b"}],
        (pair(Q, B, A, models={A: "m1", B: "m2"}),),
    ),
    "the winner is a model's name": Case(
        [{"question": Q, "model_a": "m1", "model_b": "m2", "response_a": A, "response_b": B, "winner": "m2"}],
        (pair(Q, B, A),),
        refused=("winner", "m2"),
    ),
    "both are good": Case(winner("tie (bothbad)", "bothbad", "both_good", "Tie"), told(0, 0, 0, 0)),
    "-3 to 3": Case(
        [
            {"prompt": Q, "response1": A, "response2": B, "overall_preference": 2},
            {"prompt": Q2, "response1": A, "response2": B, "overall_preference": -1},
            {"prompt": Q2 + "？", "response1": A, "response2": B, "overall_preference": 0},
        ],
        (
            Wanted(Q, (A, B), better(B, A, by=2)),
            Wanted(Q2, (A, B), better(A, B)),
            Wanted(Q2 + "？", (A, B), better(A, B, by=0)),
        ),
    ),
    # several rejected, lists in order
    "two chosen, two rejected": Case(
        [{"prompt": Q, "chosen": [A, "北京。"], "rejected": [B, C]}],
        (Wanted(Q, (A, "北京。", B, C), better(A, B, C) + better("北京。", B, C)),),
    ),
    "one rejected in a list": Case([{"prompt": Q, "chosen": A, "rejected": [B]}], (pair(Q, A, B),)),
    "rejected in a list, one of them null": Case(
        [{"prompt": Q, "chosen": A, "rejected": [B, None, C]}],
        (Wanted(Q, (A, B, C), better(A, B, C)),),
        refused=("rejected",),
    ),
    "a list that is said to be best first": Case(
        [{"instruction": Q, "input": "", "output": [A, B, C]}],
        (Wanted(Q, (A, B, C), better(A, B, C)),),
        options=(*DOMAIN, "--format", "best-first"),
    ),
    "equal texts": Case(
        [{"prompt": Q, "chosen": A, "rejected": A}], (Wanted(Q, (A,)),), refused=("chosen", "same|equal")
    ),
    # ranks
    "ranks in the responses": Case(
        [{"prompt": Q, "responses": [{"text": B, "rank": 2}, {"text": A, "rank": 1}, {"text": C, "rank": 2}]}],
        (Wanted(Q, (A, B, C), better(A, B, C)),),
        pairs=((A, B), (A, C)),
    ),
    "ranks as text": Case(
        [{"prompt": Q, "answers": [{"answer": A, "rank": "1"}, {"answer": B, "rank": "2"}]}], (pair(Q, A, B),)
    ),
    "fewer ranks than responses": Case([{"prompt": Q, "responses": [A, B, C], "rank": [1, 2]}], refused=("rank", "3")),
    "ratings of plain texts": Case([{"prompt": Q, "responses": [A, B], "ratings": [8, 3]}], (scored(Q, {A: 8, B: 3}),)),
    "scores beside responses": Case(
        [{"query": Q, "responses": [A, B], "scores": [9, 2], "models": ["m1", "m2"]}],
        (scored(Q, {A: 9, B: 2}, models={A: "m1", B: "m2"}),),
        refused=("responses",),
    ),
    "a rating is missing": Case(
        [{"instruction": Q, "generations": [A, B], "ratings": [8, None]}], (scored(Q, {A: 8, B: None}),)
    ),
    # kto
    "kto: 1 and -1": Case(
        [{"prompt": Q, "completion": A, "label": 1}, {"prompt": Q, "completion": B, "label": -1}],
        (scored(Q, {A: 1, B: 0}),),
        pairs=((A, B),),
        threshold=1,
    ),
    "kto: 1 and 0": Case(
        [{"prompt": Q, "completion": A, "label": 1}, {"prompt": Q, "completion": B, "label": 0}],
        (scored(Q, {A: 1, B: 0}),),
        refused=("label",),
    ),
    "kto: turns": Case(
        [
            {"prompt": [S, U], "completion": [says(A)], "label": True},
            {"prompt": [S, U], "completion": [says(B)], "label": False},
        ],
        (scored((SYSTEM, ("user", Q)), {A: 1, B: 0}),),
    ),
    "kto: llama-factory": Case(
        [
            {"messages": [gpt(Q, "human"), gpt(A)], "label": True},
            {"messages": [gpt(Q, "human"), gpt(B)], "label": False},
        ],
        (scored(Q, {A: 1, B: 0}),),
    ),
    "kto: kto_tag": Case(
        [{"instruction": Q, "output": A, "kto_tag": True}, {"instruction": Q, "output": B, "kto_tag": False}],
        (scored(Q, {A: 1, B: 0}),),
    ),
    "kto: one label is missing": Case(
        [{"prompt": Q, "completion": A, "label": True}, {"prompt": Q, "completion": B, "label": None}],
        (scored(Q, {A: 1, B: None}),),
        refused=("label",),
    ),
    # nulls
    "null hides nothing": Case(
        [
            {
                "conversations": [],
                "messages": None,
                "question": "",
                "prompt": Q,
                "response": None,
                "chosen": A,
                "rejected": B,
            }
        ],
        (pair(Q, A, B),),
    ),
    "two filled names that differ": Case(
        [{"prompt": Q, "question": Q2, "chosen": A, "rejected": B}], refused=("prompt", "question", "--map")
    ),
    "two filled names that agree": Case([{"prompt": Q, "question": Q, "chosen": A, "rejected": B}], (pair(Q, A, B),)),
    "a null chosen": Case([{"prompt": Q, "chosen": None, "rejected": B}], refused=("chosen",)),
    "a missing score of a flat row": Case(
        [
            {"prompt": Q, "response": A, "model": "m1", "score": 7},
            {"prompt": Q, "response": B, "model": "m2", "score": ""},
        ],
        (scored(Q, {A: 7, B: None}),),
    ),
    "no score at all": Case(
        [{"prompt": Q, "response": A, "model": "m1", "quality": 7}],
        (Wanted(Q, (A,)),),
        says=("quality", "no score|no comparison"),
    ),
    # scores
    "scores of both answers, by other names": Case(
        [{"prompt": Q, "chosen": A, "rejected": B, "chosen_rating": 8, "rejected_rating": 2.5}],
        (pair(Q, A, B, scores={A: (8,), B: (2.5,)}),),
    ),
    "scores that say the opposite": Case(
        [{"prompt": Q, "chosen": A, "rejected": B, "score_chosen": 2, "score_rejected": 8}],
        refused=("score_chosen|chosen", "2", "8"),
    ),
    "models of both answers": Case(
        [{"prompt": Q, "chosen": A, "rejected": B, "chosen_model": "m1", "rejected_model": "m2"}],
        (pair(Q, A, B, models={A: "m1", B: "m2"}),),
    ),
    "full-width digits": Case([{"prompt": Q, "response": A, "model": "m", "score": "８．５"}], (scored(Q, {A: 8.5}),)),
    "a score with its unit": Case(
        [{"prompt": Q, "response": A, "model": "m", "score": "9分"}], refused=("score", "9分")
    ),
    "0 to 1": Case(
        [{"query": Q, "responses": [{"model": "a", "text": A, "scores": [{"judge": "j", "score": 0.9}]}]}],
        refused=("--score-range 0 1", "0.9"),
    ),
    "0 to 5": Case(
        [
            {"prompt": Q, "response": A, "model": "m", "score": 0},
            {"prompt": Q, "response": B, "model": "n", "score": 5},
        ],
        refused=("--score-range 0",),
    ),
    "attributes of other names": Case(
        [
            {
                "prompt": Q,
                "response": A,
                "helpfulness": 4,
                "correctness": 3,
                "coherence": 4,
                "complexity": 2,
                "verbosity": 2,
            },
            {
                "prompt": Q,
                "response": B,
                "helpfulness": 1,
                "correctness": 0,
                "coherence": 4,
                "complexity": 2,
                "verbosity": 2,
            },
            {
                "prompt": Q2,
                "response": C,
                "helpfulness": 0,
                "correctness": 0,
                "coherence": 2,
                "complexity": 0,
                "verbosity": 0,
            },
        ],
        (
            Wanted(Q, (A, B), scores={A: (4, 3, 4, 2, 2), B: (1, 0, 4, 2, 2)}),
            Wanted(Q2, (C,), scores={C: (0, 0, 2, 0, 0)}),
        ),
        score_range=(0, 4),
    ),
    "a column a judge, one empty": Case(
        [
            {"prompt": Q, "model": "m1", "output": A, "s1": 8, "s2": None},
            {"prompt": Q, "model": "m2", "output": B, "s1": 3, "s2": 4},
        ],
        (Wanted(Q, (A, B), scores={A: (8,), B: (3, 4)}, judges=("x", "y")),),
        options=(*DOMAIN, "--score-column", "x=s1", "--score-column", "y=s2"),
    ),
    "annotators that see it alike": Case(
        [{"instruction": Q, "response_1": A, "response_2": B, "annotator1": 2, "annotator2": 2, "annotator3": 1}],
        (Wanted(Q, (A, B), ((A, B, -1), (A, B, -1), (A, B, 1)), judges=("annotator1", "annotator2", "annotator3")),),
    ),
    "annotators with a 0": Case(
        [{"instruction": Q, "response1": A, "response2": B, "annotator1": 0, "annotator2": 1, "annotator3": 2}],
        refused=("--values", "annotator"),
    ),
    # ids
    "ids that number rows": Case(
        [{"id": 1, "prompt": Q, "chosen": A, "rejected": B}, {"id": 2, "prompt": Q, "chosen": A, "rejected": C}],
        (Wanted(Q, (A, B, C), better(A, B, C)),),
        says=(r"\bid\b",),
    ),
    "ids of queries": Case(
        [
            {"id": "x", "prompt": Q, "response": A, "model": "m1", "score": 8},
            {"id": "x", "prompt": Q, "response": B, "model": "m2", "score": 3},
        ],
        (scored(Q, {A: 8, B: 3}, more={"query_id": "x"}),),
    ),
    "one id, two texts": Case(
        [
            {"query_id": "x", "prompt": Q, "chosen": A, "rejected": B},
            {"query_id": "x", "prompt": Q2, "chosen": A, "rejected": B},
        ],
        refused=("query_id",),
    ),
    # samples
    "three samples, flat, one twice": Case(
        [
            {"query": Q, "model": "m", "response": text, "judge": judge, "score": score}
            for text, judge, score in ((A, "j", 9), (B, "j", 3), (A, "k", 8))
        ],
        (Wanted(Q, (A, B), scores={A: (9, 8), B: (3,)}, models={A: "m", B: "m"}),),
        pairs=((A, B),),
    ),
    # files that belong together
    "scores first": Case(
        [
            {"query_id": "x", "model": "m1", "judge": "j", "score": 8},
            {"query_id": "x", "model": "m2", "judge": "j", "score": 2},
        ],
        (scored(Q, {A: 8, B: 2}, judges=("j",)),),
        files={
            "gens.jsonl": [
                {"query_id": "x", "query": Q, "model": "m1", "response": A},
                {"query_id": "x", "query": Q, "model": "m2", "response": B},
            ]
        },
    ),
    "scores of samples": Case(
        [
            {"query_id": "x", "query": Q, "model": "m", "sample": 0, "response": A},
            {"query_id": "x", "query": Q, "model": "m", "sample": 1, "response": B},
        ],
        (scored(Q, {A: 8, B: 2}),),
        files={
            "scores.csv": [
                {"query_id": "x", "model": "m", "sample": 1, "score": 2},
                {"query_id": "x", "model": "m", "sample": 0, "score": 8},
            ]
        },
    ),
    "a score for two samples": Case(
        [
            {"query_id": "x", "query": Q, "model": "m", "response": A},
            {"query_id": "x", "query": Q, "model": "m", "response": B},
        ],
        refused=("x", "m"),
        files={"scores.csv": [{"query_id": "x", "model": "m", "score": 2}]},
    ),
    "scores of two judges in two files": Case(
        [{"query_id": "x", "query": Q, "model": "m", "response": A}],
        (Wanted(Q, (A,), scores={A: (8, 7)}, judges=("j", "k")),),
        files={
            "one.csv": [{"query_id": "x", "model": "m", "judge": "j", "score": 8}],
            "two.csv": [{"query_id": "x", "model": "m", "judge": "k", "score": 7}],
        },
    ),
    # mixed
    "three shapes in one file": Case(
        [
            {"query": Q, "responses": [{"model": "m", "text": A, "scores": [{"judge": "j", "score": 8}]}]},
            {"prompt": Q2, "chosen": A, "rejected": B},
            {"instruction": "第三题？", "output": C, "model": "n", "score": 2},
        ],
        (scored(Q, {A: 8}), pair(Q2, A, B), scored("第三题？", {C: 2})),
        refused=("shape|rows|form",),
    ),
    "a row of nothing known": Case(
        [{"prompt": Q, "chosen": A, "rejected": B}, {"foo": 1, "bar": "x"}], refused=("foo", "bar")
    ),
    "answers that are not recognised": Case(
        [{"prompt": Q, "good_answer": A, "bad_answer": B}],
        refused=("good_answer", "bad_answer"),
        never=("query: missing",),
    ),
    "half a pair": Case(
        [{"prompt": Q, "chosen": A}], refused=("rejected",), never=("chosen: missing", "query: missing")
    ),
    "other encodings": Case(
        json.dumps([{"prompt": Q, "chosen": A, "rejected": B}], ensure_ascii=False).encode("utf-16"),
        refused=("--encoding utf-16",),
    ),
}


@pytest.mark.parametrize("about", KINDS)
def test_others_of_each_kind(about: str, tmp_path: Path) -> None:
    check(KINDS[about], tmp_path)


@pytest.mark.parametrize(("about", "kind"), in_other_formats(KINDS))
def test_the_same_rows_in_other_formats_give_the_same(about: str, kind: str, tmp_path: Path) -> None:
    check(KINDS[about], tmp_path, write=TWINS[kind])


def test_a_page_of_gb18030_in_each_format(tmp_path: Path) -> None:
    """It is recognised, and what to pass is said; with that it is read."""
    rows = [{"prompt": Q, "chosen": A, "rejected": B}]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    table = f"prompt,chosen,rejected\n{Q},{A},{B}\n"
    for name, text in (("x.jsonl", lines), ("x.json", json.dumps(rows, ensure_ascii=False)), ("x.csv", table)):
        for encoding in ("gb18030", "utf-16"):
            folder = tmp_path / f"{name}-{encoding}"
            folder.mkdir()
            (folder / name).write_bytes(text.encode(encoding))
            refused = Case(folder / name, refused=(f"--encoding {encoding}",))
            check(refused, folder)
            taken = Case(folder / name, (pair(Q, A, B),), options=(*DOMAIN, "--encoding", encoding))
            check(taken, folder)
