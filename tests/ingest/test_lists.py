"""Several answers in one row: ranks, ratings, annotations, order; and HelpSteer's attributes."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coig_p.ingest.fields import FormConfig
from coig_p.ingest.forms import SCORE_RANGES, detect, shape
from coig_p.ingest.values import Rejected


def shaped(row: dict[str, Any], form: str, config: FormConfig | None = None) -> dict[str, Any]:
    config = config or FormConfig()
    assert detect(row, config) == form
    return shape(row, form, config).value


def scores(value: dict[str, Any]) -> list[list[tuple[str, Any]]]:
    return [[(one["dimension"], one["score"]) for one in response["scores"]] for response in value["responses"]]


def comparisons(value: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(one["first"], one["second"], one["first_score"], one["second_score"]) for one in value["comparisons"]]


@pytest.mark.parametrize(
    "row",
    [
        {"responses": ["一", "三", "二"], "rank": [1, 3, 2]},
        {"responses": ["一", "三", "二"], "ranks": ["1", "3", "2"]},
        {"answers": [{"answer": "一", "rank": 1.0}, {"answer": "三", "rank": 3.0}, {"answer": "二", "rank": 2.0}]},
        {"responses": [{"text": "一", "rank": 1}, {"text": "三", "rank": 3}, {"text": "二", "rank": 2}]},
        {"回答列表": ["一", "三", "二"], "排名": [0, 7, 2]},
    ],
)
def test_ranks(row: dict[str, Any]) -> None:
    """The lower rank is better, and nothing says by how much."""
    value = shaped({"prompt": "问"} | row, "ranked")
    assert [response["text"] for response in value["responses"]] == ["一", "三", "二"]
    assert comparisons(value) == [(0, 1, 1, 0), (0, 2, 1, 0), (1, 2, 0, 1)]


@given(st.lists(st.none() | st.integers(1, 4), min_size=1, max_size=6))
def test_all_pairs_of_unequal_rank(ranks: list[int | None]) -> None:
    row = {"prompt": "问", "responses": [f"答{at}" for at in range(len(ranks))], "rank": ranks}
    wanted = []
    for first, second in combinations(range(len(ranks)), 2):
        one, other = ranks[first], ranks[second]
        if one is not None and other is not None and one != other:
            wanted.append((first, second, 1 if one < other else 0, 1 if other < one else 0))
    assert comparisons(shaped(row, "ranked")) == wanted


def test_nectar() -> None:
    row = {
        "prompt": "\n\nHuman: 问\n\nAssistant: ",
        "answers": [{"answer": "好", "model": "m1", "rank": 1.0}, {"answer": "坏", "model": "m2", "rank": 2.0}],
        "turns": 1,
        "num_responses": 2,
        "source": ["甲集"],
        "good_natured": True,
    }
    value = shaped(row, "ranked")
    assert value["query"] == "问"
    assert [response["model"] for response in value["responses"]] == ["m1", "m2"]
    assert shape(row, "ranked", FormConfig()).ignored == ["good_natured", "num_responses", "source", "turns"]


def test_ranks_and_ratings_must_agree() -> None:
    row = {"prompt": "问", "responses": ["好", "坏"], "rank": [1, 2], "ratings": [9, 3]}
    value = shaped(row, "ranked")
    assert (scores(value), comparisons(value)) == ([[("overall", 9)], [("overall", 3)]], [(0, 1, 1, 0)])
    with pytest.raises(Rejected, match="say otherwise than the ratings 3 and 9"):
        shaped(row | {"ratings": [3, 9]}, "ranked")


def test_a_rank_that_is_no_number() -> None:
    with pytest.raises(Rejected, match="'甲' is not a rank") as refused:
        shaped({"prompt": "问", "responses": ["好", "坏"], "rank": [1, "甲"]}, "ranked")
    assert refused.value.field == "rank[1]"


@pytest.mark.parametrize(
    "row",
    [
        {"generations": ["好", "坏"], "ratings": [5, 1], "model_name": ["m1", "m2"]},
        {"responses": ["好", "坏"], "scores": ["5", "1"], "models": ["m1", "m2"]},
        {"candidates": [{"text": "好", "score": 5, "model": "m1"}, {"text": "坏", "score": "1", "model": "m2"}]},
        {"outputs": ["好", "坏"], "评分": [5, 1], "模型": ["m1", "m2"]},
        {"output": ["好", "坏"], "rating": [5, 1], "model": ["m1", "m2"]},
    ],
)
def test_ratings(row: dict[str, Any]) -> None:
    value = shaped({"prompt": "问"} | row, "rated")
    assert [(response["model"], response["text"]) for response in value["responses"]] == [("m1", "好"), ("m2", "坏")]
    assert [[(name, float(score)) for name, score in one] for one in scores(value)] == [
        [("overall", 5)],
        [("overall", 1)],
    ]
    assert "comparisons" not in value


def test_ratings_of_several_dimensions_and_missing_ones() -> None:
    value = shaped({"prompt": "问", "responses": ["好", "坏"], "ratings": [{"对": 5, "全": 4}, None]}, "rated")
    assert scores(value) == [[("对", 5), ("全", 4)], [("overall", None)]]


def test_samples_of_one_model() -> None:
    value = shaped({"prompt": "问", "responses": ["好", "坏"], "ratings": [5, 1], "model": "m"}, "rated")
    assert [response["model"] for response in value["responses"]] == ["m", "m"]


def test_where_a_rating_stands() -> None:
    row = {"prompt": "问", "responses": ["好", "坏"], "ratings": [5, "甲"]}
    found = shape(row, "rated", FormConfig())
    assert found.upstream("responses[1].scores[0].score") == "ratings[1]"
    assert found.upstream("responses[1].text") == "responses[1]"


def test_lists_of_unequal_length() -> None:
    row = {"prompt": "问", "responses": ["好", "坏", "差"]}
    for name, given_ in (("ratings", [5, 1]), ("rank", [1, 2, 3, 4])):
        with pytest.raises(Rejected, match=f"{name} has {len(given_)}, responses has 3") as refused:
            shape(row | {name: given_}, detect(row | {name: given_}, FormConfig()), FormConfig())
        assert refused.value.reason == "unequal-lists"
    with pytest.raises(Rejected, match="models has 2, responses has 3"):
        shaped(row | {"ratings": [1, 2, 3], "models": ["m1", "m2"]}, "rated")


def test_answers_of_which_nothing_is_said() -> None:
    with pytest.raises(Rejected, match=r"2 answers, and nothing says which is better.*--map ratings.*best-first"):
        shaped({"prompt": "问", "responses": ["好", "坏"]}, "rated")
    with pytest.raises(Rejected, match="best-first"):
        shape(row := {"instruction": "问", "output": ["好", "坏"]}, detect(row, FormConfig()), FormConfig())


def test_names_of_the_user() -> None:
    row = {"prompt": "问", "responses": ["好", "坏"], "stars": [5, 1]}
    assert scores(shaped(row, "rated", FormConfig(fields={"ratings": "stars"}))) == [[("overall", 5)], [("overall", 1)]]
    value = shaped(row, "ranked", FormConfig(fields={"rank": "stars"}))
    assert comparisons(value) == [(0, 1, 0, 1)]


def test_the_best_first() -> None:
    row = {"instruction": "问", "input": "", "output": ["好", "坏", "差"]}
    value = shaped(row, "best-first", FormConfig(form="best-first"))
    assert [response["text"] for response in value["responses"]] == ["好", "坏", "差"]
    assert comparisons(value) == [(0, 1, 1, 0), (0, 2, 1, 0)]
    with pytest.raises(Rejected, match="no list of answers"):
        shape({"prompt": "问", "output": "好"}, "best-first", FormConfig(form="best-first"))


def test_ultrafeedback() -> None:
    row = {
        "source": "x",
        "instruction": "问",
        "models": ["m1", "m2"],
        "completions": [
            {
                "model": "m1",
                "custom_system_prompt": "s",
                "response": "好",
                "annotations": {
                    "helpfulness": {"Rating": "5", "Rationale": "类型", "Rationale For Rating": "准"},
                    "honesty": {"Rating": "N/A", "Rationale": "r"},
                },
                "overall_score": 10.0,
            },
            {"model": "m2", "response": "坏", "annotations": {"helpfulness": {"Rating": "1", "Rationale": "错"}}},
        ],
    }
    found = shape(row, "ultrafeedback", FormConfig())
    assert detect(row, FormConfig()) == "ultrafeedback"
    assert scores(found.value) == [[("helpfulness", "5"), ("honesty", "N/A")], [("helpfulness", "1")]]
    assert found.value["responses"][0]["scores"][0]["rationale"] == "类型\n\n准"
    assert found.upstream("responses[0].scores[1].score") == "completions[0].annotations.honesty.Rating"
    assert found.upstream("responses[1].text") == "completions[1].response"
    # What has no place stays in the response, to be told and to be kept.
    assert found.value["responses"][0]["custom_system_prompt"] == "s"
    assert found.value["responses"][0]["overall_score"] == 10.0
    assert found.ignored == []
    assert shape(row | {"models": ["m3"]}, "ultrafeedback", FormConfig()).ignored == ["models"]


def test_helpsteer() -> None:
    row = {"prompt": "问", "response": "答", "helpfulness": 4, "correctness": "3", "coherence": 4, "complexity": 0}
    value = shaped(row | {"verbosity": None}, "attributes")
    assert scores(value) == [
        [("helpfulness", 4), ("correctness", "3"), ("coherence", 4), ("complexity", 0), ("verbosity", None)]
    ]
    assert SCORE_RANGES["attributes"] == (0, 4)
    assert detect({"prompt": "问", "response": "答", "helpfulness": 4, "score": 3}, FormConfig()) == "flat"
    with pytest.raises(Rejected, match="none of helpfulness"):
        shape({"prompt": "问", "response": "答"}, "attributes", FormConfig(form="attributes"))


@pytest.mark.parametrize(
    ("row", "form"),
    [
        ({"query": "问", "responses": [{"model": "a", "text": "答", "scores": []}]}, "nested"),
        ({"query": "问", "responses": [{"text": "答"}]}, "nested"),
        ({"prompt": "问", "chosen": ["好"], "rejected": ["坏", "差"], "outputs": ["好", "坏"]}, "pairs"),
        ({"prompt": "问", "completion": [{"role": "assistant", "content": "答"}], "label": True}, "kto"),
        ({"prompt": "问", "response": ["答"], "score": 3}, "flat"),
        ({"prompt": "问", "completions": [{"response": "答"}]}, "ultrafeedback"),
        ({"prompt": "问", "responses": ["好", "坏"], "label": 0}, "pairwise"),
        ({"prompt": "问", "responses": ["好", "坏"], "label": 0, "ratings": [1, 2]}, "rated"),
    ],
)
def test_which_form(row: dict[str, Any], form: str) -> None:
    assert detect(row, FormConfig()) == form
