"""Rows that say who won: names of sides, scores beside the verdict, one-hot columns, several judges, conversations."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from verdict_rows import comparisons, shaped

from coig_p.ingest.fields import FormConfig, Survey
from coig_p.ingest.forms import shape
from coig_p.ingest.values import Rejected
from coig_p.ingest.verdicts import FIRST, SECOND, SIDES, judges_among


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("response_a", "response_b"),
        ("response_0", "response_1"),
        ("response1", "response2"),
        ("response 1", "response 2"),
        ("answer1_body", "answer2_body"),
        ("output_1", "output_2"),
        ("completion_a", "completion_b"),
        ("chat_a", "chat_b"),
        ("text_1", "text_2"),
        ("responseA", "responseB"),
        ("human_ref_A", "human_ref_B"),
        ("回答1", "回答2"),
        ("回答A", "回答B"),
        ("回答甲", "回答乙"),
        ("left_response", "right_response"),
        ("model_a_response", "model_b_response"),
        ("模型A回答", "模型B回答"),
        ("模型1的回答", "模型2的回答"),
        ("回答一", "回答二"),
        ("summary_0", "summary_1"),
    ],
)
def test_names_of_sides(first: str, second: str) -> None:
    value = shaped({"prompt": "问", first: "好", second: "坏", "winner": "left"})
    assert [response["text"] for response in value["responses"]] == ["好", "坏"]
    assert [(one["first_score"], one["second_score"]) for one in value["comparisons"]] == [FIRST]


def test_sides_that_the_user_names() -> None:
    row = BASE | {"x": "甲", "y": "乙", "winner": "2>1"}
    value = shaped(row, FormConfig(fields={"response_1": "x", "response_2": "y"}))
    assert [response["text"] for response in value["responses"]] == ["甲", "乙"]
    assert [one["second_score"] for one in value["comparisons"]] == [1]


@pytest.mark.parametrize(
    ("models", "names"),
    [
        ({"model_1": "m1", "model_2": "m2"}, ("response_1", "response_2")),
        ({"generator_1": "m1", "generator_2": "m2"}, ("output_1", "output_2")),
        ({"answer1_model_id": "m1", "answer2_model_id": "m2"}, ("answer1_body", "answer2_body")),
        ({"model_a_name": "m1", "model_b_name": "m2"}, ("answer_a", "answer_b")),
        ({"response_0_source": "m1", "response_1_source": "m2"}, ("response_0", "response_1")),
    ],
)
def test_names_of_models(models: dict[str, str], names: tuple[str, str]) -> None:
    value = shaped({"prompt": "问", names[0]: "好", names[1]: "坏", **models, "winner": "m2"})
    assert [response["model"] for response in value["responses"]] == ["m1", "m2"]
    assert [(one["first_score"], one["second_score"]) for one in value["comparisons"]] == [SECOND]


BASE = {"prompt": "问", "response_a": "好", "response_b": "坏"}


def test_a_second_question_is_left_unread() -> None:
    """PKU-SafeRLHF: which is safer is not which is better; averaged, opposite answers would cancel each other."""
    row = {"prompt": "问", "response_0": "好", "response_1": "坏", "better_response_id": 0, "safer_response_id": 1}
    found = shape(row, "pairwise", FormConfig())
    assert [one["first_score"] for one in found.value["comparisons"]] == [1]
    assert "safer_response_id" in found.ignored
    mapped = FormConfig(fields={"winner": "safer_response_id"})
    assert comparisons(row, mapped) == [("unknown", "overall", 0, 1)]


def test_two_columns_that_contradict_each_other() -> None:
    with pytest.raises(Rejected, match="winner says 'A' and verdict 'B'"):
        shaped(BASE | {"winner": "A", "verdict": "B"})
    assert comparisons(BASE | {"winner": "A", "verdict": "[[A]]"}) == [("unknown", "overall", 1, 0)]
    assert comparisons(BASE | {"winner": "A", "verdict": "B"}, FormConfig(fields={"winner": "verdict"})) == [
        ("unknown", "overall", 0, 1)
    ]


def test_scores_and_a_verdict_must_agree() -> None:
    scored = BASE | {"score_a": 8, "score_b": "5"}
    assert comparisons(scored | {"winner": "A"}) == [("unknown", "overall", 8, "5")]
    with pytest.raises(Rejected, match="--drop winner or --drop score_a,score_b"):
        shaped(scored | {"winner": "B"})
    with pytest.raises(Rejected, match="otherwise"):
        shaped(scored | {"winner": "tie"})
    # What is not certain says nothing against the scores: SHP's labels are 1 for the first.
    found = shape(scored | {"labels": 1, "winner": 0}, "pairwise", FormConfig())
    assert [one["first_score"] for one in found.value["comparisons"]] == [8]
    assert set(found.ignored) == {"labels", "winner"}


@pytest.mark.parametrize("name", ["score_{}", "rating_{}", "response_{}_score", "model_{}_score", "分数{}", "score{}"])
def test_names_of_scores(name: str) -> None:
    scores = {name.format("a"): 8, name.format("b"): 5}
    assert comparisons(BASE | scores) == [("unknown", "overall", 8, 5)]


def test_scores_in_a_list_of_two() -> None:
    assert comparisons(BASE | {"scores": [7, 9]}) == [("unknown", "overall", 7, 9)]


def test_one_hot_columns() -> None:
    row = BASE | {"winner_model_a": 0, "winner_model_b": "1", "winner_tie": 0.0}
    assert comparisons(row) == [("unknown", "overall", 0, 1)]
    assert comparisons(row | {"winner_model_b": 0, "winner_tie": True}) == [("unknown", "overall", 0.5, 0.5)]
    assert comparisons(BASE | {"a_is_better": True, "b_is_better": False}) == [("unknown", "overall", 1, 0)]
    for wrong in ({"winner_model_a": 1}, {"winner_model_b": 0}, {"winner_tie": 0.5}, {"winner_tie": None}):
        with pytest.raises(Rejected, match="exactly one"):
            shaped(row | wrong)


def test_several_annotators() -> None:
    """One who saw only 1 is read by what the others saw."""
    row = BASE | {"annotator1": 1, "annotator2": 2, "annotator3": "tie", "annotator4": None}
    assert comparisons(row) == [
        ("annotator1", "overall", 1, 0),
        ("annotator2", "overall", 0, 1),
        ("annotator3", "overall", 0.5, 0.5),
    ]
    with pytest.raises(Rejected, match="annotator1 holds 0, 1, 2"):
        shaped(row | {"annotator3": 0})
    with pytest.raises(Rejected, match="不知道"):
        shaped(row | {"annotator3": "不知道"})
    # What is settled goes before the votes; names of people are no votes.
    found = shape(row | {"winner": "B"}, "pairwise", FormConfig())
    assert [one["second_score"] for one in found.value["comparisons"]] == [1]
    assert found.ignored == ["annotator1", "annotator2", "annotator3"]
    found = shape(BASE | {"annotator_1": "王", "annotator_2": "李", "winner": "A"}, "pairwise", FormConfig())
    assert [one["judge"] for one in found.value["comparisons"]] == ["unknown"]
    assert found.ignored == ["annotator_1", "annotator_2"]


def test_columns_of_judges() -> None:
    assert judges_among(["annotator1", "annotator2", "annotation"]) == ["annotator1", "annotator2"]
    assert judges_among(["rater_a", "rater_b", "评委1"]) == ["rater_a", "rater_b", "评委1"]
    assert judges_among(["judge1_label", "judge2_label"]) == ["judge1_label", "judge2_label"]
    assert judges_among(["judge", "annotator1"]) == []


def test_a_column_a_judge() -> None:
    config = FormConfig(score_columns={"gpt-4": "gpt4_says", "人": "human_says"})
    row = BASE | {"gpt4_says": "A", "human_says": "B"}
    assert comparisons(row, config) == [("gpt-4", "overall", 1, 0), ("人", "overall", 0, 1)]


def test_a_missing_verdict_is_missing() -> None:
    for value in (None, "", "  ", float("nan")):
        assert comparisons(BASE | {"winner": value}) == [("unknown", "overall", None, None)]
    assert comparisons(BASE) == []


def test_the_rationale_is_kept() -> None:
    value = shaped(BASE | {"winner": "A", "judge": "j", "rationale": "更完整"})
    assert [(one["judge"], one["rationale"]) for one in value["comparisons"]] == [("j", "更完整")]


def test_who_judged() -> None:
    assert comparisons(BASE | {"winner": "A", "annotator": "gpt-4"}) == [("gpt-4", "overall", 1, 0)]
    assert comparisons(BASE | {"winner": "A", "judge": "人", "annotator": "x"}) == [("人", "overall", 1, 0)]
    assert comparisons(BASE | {"winner": "A"}, FormConfig(judge="人")) == [("人", "overall", 1, 0)]


def test_a_prompt_that_is_missing() -> None:
    with pytest.raises(Rejected, match="the row has ask_this, response_a, response_b, winner"):
        shaped({"ask_this": "问", "response_a": "好", "response_b": "坏", "winner": "A"})


def test_three_sides_are_refused() -> None:
    with pytest.raises(Rejected, match="more than two"):
        shape({"prompt": "问", "response_1": "a", "response_2": "b", "response_3": "c"}, "pairwise", FormConfig())
    with pytest.raises(Rejected, match="more than two"):
        shape({"prompt": "问", "response_0": "a", "response_1": "b", "response_2": "c"}, "pairwise", FormConfig())


# ---------------------------------------------------------------------------------------------
# Conversations


def said(*texts: str) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[at % 2], "content": text} for at, text in enumerate(texts)]


def test_an_arena() -> None:
    row = {"model_a": "m1", "model_b": "m2", "winner": "model_b", "conversation_a": said("问", "好")}
    value = shaped(row | {"conversation_b": said("问", "坏")})
    assert value["query"] == "问"
    assert [(response["model"], response["text"]) for response in value["responses"]] == [("m1", "好"), ("m2", "坏")]
    assert [one["second_score"] for one in value["comparisons"]] == [1]
    value = shaped(
        row | {"conversation_a": said("问", "答", "再问", "好"), "conversation_b": said("问", "答", "再问", "坏")}
    )
    assert [(turn["role"], turn["content"]) for turn in value["messages"]] == [
        ("user", "问"),
        ("assistant", "答"),
        ("user", "再问"),
    ]


def test_conversations_that_differ_earlier() -> None:
    """MT-Bench: the first answers can be compared, the second ones answer different conversations."""
    row = {"winner": "model_a", "turn": 1, "conversation_a": said("问", "好", "再问", "甲")}
    row |= {"conversation_b": said("问", "坏", "再问", "乙")}
    value = shaped(row)
    assert [response["text"] for response in value["responses"]] == ["好", "坏"]
    with pytest.raises(Rejected, match=r"conversation_a and conversation_b differ from turn 2 on") as refused:
        shaped(row | {"turn": 2})
    assert refused.value.reason == "answers-of-several-turns"
    with pytest.raises(Rejected) as refused:
        shaped({"winner": "a", "conversation_a": said("问", "好", "再问"), "conversation_b": said("问", "坏")})
    assert refused.value.reason == "ends-in-user"


def test_lists_in_the_cells_of_a_table() -> None:
    row: dict[str, Any] = {"prompt": '["问"]', "response_a": '["好"]', "response_b": '["坏"]', "winner": "A"}
    value = shaped(row)
    assert (value["query"], [response["text"] for response in value["responses"]]) == ("问", ["好", "坏"])
    row = {"prompt": ["问", "再问"], "response_a": ["答", "好"], "response_b": ["答", "坏"], "winner": "A"}
    value = shaped(row)
    assert [turn["content"] for turn in value["messages"]] == ["问", "答", "再问"]
    assert [response["text"] for response in value["responses"]] == ["好", "坏"]
    with pytest.raises(Rejected, match="prompt is a list of 2 turns, and response_b has 1"):
        shaped(row | {"response_b": ["坏"]})
    with pytest.raises(Rejected, match="no list"):
        shaped(row | {"response_b": "坏"})
    with pytest.raises(Rejected, match="null"):
        shaped(row | {"response_b": ["答", None]})
    with pytest.raises(Rejected) as refused:
        shaped(row | {"response_b": ["另", "坏"]})
    assert refused.value.reason == "answers-of-several-turns"
    plain = {"prompt": "[问]", "response_a": "[1]", "response_b": "[2]", "winner": "A"}
    assert [response["text"] for response in shaped(plain)["responses"]] == ["[1]", "[2]"]


def test_two_answers_in_one_list() -> None:
    row = {"prompt": "问", "responses": ["好", "坏"], "choice": 0}
    value = shaped(row, rows=[row | {"choice": 1}])
    assert [(response["text"]) for response in value["responses"]] == ["好", "坏"]
    assert [one["first_score"] for one in value["comparisons"]] == [1]
    with pytest.raises(Rejected, match="--values"):
        shaped(row | {"choice": 1})


# ---------------------------------------------------------------------------------------------
# Swapping the sides


_VERDICTS: list[tuple[str, str, str]] = [
    ("{}", "{}", "tie"),
    ("model_{}", "model_{}", "both_bad"),
    ("[[{}]]", "[[{}]]", "平局"),
    ("response {} wins", "response {} wins", "equal"),
]


@given(
    st.sampled_from(SIDES[:3]),
    st.sampled_from(["response", "answer", "output", "回答"]),
    st.sampled_from(["", "_"]),
    st.text("甲乙丙", min_size=1, max_size=4),
    st.text("丁戊己", min_size=1, max_size=4),
    st.integers(0, 2),
    st.sampled_from(["words", "order", "models", "numbers", "scores", "hot", "judges"]),
    st.sampled_from(_VERDICTS),
)
def test_swapping_the_sides_swaps_the_label_and_nothing_else(
    sides: tuple[str, str], stem: str, join: str, one: str, other: str, won: int, how: str, words: tuple[str, str, str]
) -> None:
    def row(texts: tuple[str, str], models: tuple[str, str], winner: int) -> dict[str, Any]:
        made: dict[str, Any] = {"prompt": "问", "judge": "j", "rationale": "因为"}
        for at in (0, 1):
            made[f"{stem}{join}{sides[at]}"] = texts[at]
            made[f"model_{sides[at]}"] = models[at]
        if how == "words":
            made["winner"] = words[2] if winner == 2 else words[0].format(sides[winner])
            if made["winner"].isdigit():
                made["winner"] = f"model {made['winner']}"
        elif how == "order":
            made["verdict"] = f"{sides[0]}{'><='[winner]}{sides[1]}"
        elif how == "models":
            made["preferred"] = "tie" if winner == 2 else models[winner]
        elif how == "numbers":
            made["overall_preference"] = (-3, 3, 0)[winner]
        elif how == "scores":
            made |= {f"score_{sides[at]}": 9 if winner == at else 4 for at in (0, 1)}
        elif how == "hot":
            made |= {f"winner_model_{sides[at]}": int(winner == at) for at in (0, 1)} | {"winner_tie": int(winner == 2)}
        else:
            made |= {f"annotator{nth}": "tie" if winner == 2 else models[winner] for nth in (1, 2)}
        return made

    swapped = {0: 1, 1: 0, 2: 2}[won]
    rows = row((one, other), ("m1", "m2"), won), row((other, one), ("m2", "m1"), swapped)
    # The column's other values, as an import has them.
    config = FormConfig(survey=Survey(numbers={("overall_preference", "/".join(sides)): {-3, 0, 3}}))
    here, there = (shape(one, "pairwise", config) for one in rows)
    assert here.ignored == there.ignored == []
    assert here.value["responses"] == there.value["responses"][::-1]
    assert here.value["query"] == there.value["query"] == "问"
    assert len(here.value["comparisons"]) == (2 if how == "judges" else 1)
    for mine, theirs in zip(here.value["comparisons"], there.value["comparisons"], strict=True):
        assert (mine["first_score"], mine["second_score"]) == (theirs["second_score"], theirs["first_score"])
        difference = mine["first_score"] - mine["second_score"]
        assert (difference > 0, difference < 0) == (won == 0, won == 1)
        same = ("first", "second", "judge", "dimension", "rationale")
        assert [mine.get(name) for name in same] == [theirs.get(name) for name in same]
