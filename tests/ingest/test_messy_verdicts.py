"""Verdicts that may mean two things, name a side that is gone, or contradict each other: refused, and never bent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coig_p.errors import UsageError
from coig_p.ingest.accounting import ImportReport
from coig_p.ingest.fields import Fields, FormConfig, Survey
from coig_p.ingest.files import ImportFailed, import_files
from coig_p.ingest.forms import shape
from coig_p.ingest.forms.pairwise import numbers
from coig_p.ingest.intake import ImportConfig
from coig_p.ingest.values import Rejected
from coig_p.ingest.verdicts import FIRST, SECOND, TIE, Sides, verdict_of
from coig_p.store.store import Store

BASE: dict[str, Any] = {"prompt": "问", "response_a": "好", "response_b": "坏"}
NUMBERED: dict[str, Any] = {"prompt": "问", "response_1": "好", "response_2": "坏"}


def verdicts(row: dict[str, Any], config: FormConfig | None = None, *rows: dict[str, Any]) -> list[tuple[Any, Any]]:
    """The scores of each comparison of a row among others of an import."""
    config = config or FormConfig()
    found: dict[tuple[str, str], set[float]] = {}
    for one in (row, *rows):
        for key, number in numbers(Fields(one, config)):
            found.setdefault(key, set()).add(number)
    config = FormConfig(**{**config.__dict__, "survey": Survey(numbers=found)})
    value = shape(row, "pairwise", config).value
    return [(one["first_score"], one["second_score"]) for one in value["comparisons"]]


def imported(folder: Path, *rows: dict[str, Any], on_error: str = "fail", **form: Any) -> tuple[Store, ImportReport]:
    path = folder / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = ImportConfig(domain="chat", on_error=on_error, form=FormConfig(**form))
    return import_files([path], folder / "store", config, overwrite=True)


# ---------------------------------------------------------------------------------------------
# A side that is not there


@pytest.mark.parametrize("word", ["C", "c", "[[C]]", "response_c", "Response C", "C>A", "A>C"])
@pytest.mark.parametrize("config", [FormConfig(drop=("response_c",)), FormConfig()])
def test_a_third_side_is_no_tie(word: str, config: FormConfig) -> None:
    """Whether it was dropped or stands there empty."""
    text = "丙" if config.drop else None
    with pytest.raises(Rejected, match="a side c") as refused:
        verdicts(BASE | {"response_c": text, "winner": word}, config)
    assert "tie=" not in refused.value.message
    assert verdicts(BASE | {"response_c": text, "winner": "A"}, config) == [FIRST]
    assert verdicts(BASE | {"response_c": text, "winner": "tie"}, config) == [TIE]


def test_c_beside_two_sides_stays_a_tie() -> None:
    assert verdicts(BASE | {"winner": "C"}) == [TIE]


def test_numbers_of_three_sides() -> None:
    """1 may be the first of 1 to 3, or the second of 0 to 2; 3 is the third side."""
    drop = FormConfig(drop=("response_3",))
    rows = [NUMBERED | {"response_3": "丙", "winner": number} for number in (1, 2, 3)]
    for row in rows:
        with pytest.raises(Rejected, match="side") as refused:
            verdicts(row, drop, *rows)
        assert "tie" not in refused.value.message
    said = FormConfig(drop=("response_3",), values={"first": "1", "second": "2"})
    assert [verdicts(row, said, *rows) for row in rows[:2]] == [[FIRST], [SECOND]]
    with pytest.raises(Rejected, match="a side 3"):
        verdicts(rows[2], said, *rows)
    letters = BASE | {"response_c": "丙"}
    with pytest.raises(Rejected, match="more sides than two") as refused:
        verdicts(letters | {"winner": 2}, FormConfig(drop=("response_c",)), letters | {"winner": 0})
    assert "tie" not in refused.value.message


# ---------------------------------------------------------------------------------------------
# Models that are called as sides are


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        (NUMBERED | {"model_1": "2", "model_2": "1"}, None),
        (NUMBERED | {"model_1": 2, "model_2": 1}, None),
        (NUMBERED | {"model_1": "1", "model_2": "2"}, [FIRST]),
        (NUMBERED | {"model_1": "x", "model_2": "y"}, [FIRST]),
        (NUMBERED | {"response_1": "2", "response_2": "1"}, None),  # the answers themselves
    ],
)
@pytest.mark.parametrize("given", ["1", 1, 1.0])
def test_a_number_that_is_a_model(row: dict[str, Any], wanted: Any, given: Any) -> None:
    other = row | {"winner": 2}
    if wanted is None:
        with pytest.raises(Rejected, match="one side by its name"):
            verdicts(row | {"winner": given}, None, other)
    else:
        assert verdicts(row | {"winner": given}, None, other) == wanted
    said = FormConfig(values={"first": "1", "second": "2"})
    assert verdicts(row | {"winner": given}, said, other) == [FIRST]


def test_words_that_are_models() -> None:
    lettered = BASE | {"model_a": "b", "model_b": "a"}
    with pytest.raises(Rejected, match="one side by its name"):
        verdicts(lettered | {"winner": "A"})
    cased = BASE | {"model_a": "GPT-4", "model_b": "qwen"}
    assert verdicts(cased | {"winner": "gpt-4"}) == [FIRST]
    assert verdicts(cased | {"winner": " Qwen "}) == [SECOND]
    twice = BASE | {"model_a": "GPT-4", "model_b": "gpt-4"}
    assert verdicts(twice | {"winner": "gpt-4"}) == [SECOND]
    with pytest.raises(Rejected, match="the model of both sides"):
        verdicts(twice | {"winner": "Gpt-4"})
    with pytest.raises(Rejected, match="the model of both sides"):
        verdicts(twice | {"model_a": "gpt-4", "winner": "gpt-4"})


# ---------------------------------------------------------------------------------------------
# Scores of which one is missing


@pytest.mark.parametrize("missing", [None, "", "  ", "NaN", "nan", float("nan")])
def test_a_missing_score_hides_no_winner(missing: Any, tmp_path: Path) -> None:
    row = BASE | {"score_a": missing, "score_b": 7, "winner": "A"}
    assert verdicts(row) == [(None, None), FIRST]
    _, report = imported(tmp_path, row)
    assert report.counts["comparisons"]["stored"] == report.missing_scores == 1
    assert verdicts(BASE | {"score_a": missing, "score_b": 7, "winner": None}) == [(None, None)]
    assert verdicts(BASE | {"score_a": missing, "score_b": missing, "winner": "A"}) == [FIRST]


def test_a_missing_score_of_one_dimension() -> None:
    row = BASE | {"score_a": {"x": 1, "y": None}, "score_b": {"x": 2, "y": 3}}
    assert verdicts(row | {"winner": "A"}) == [(1, 2), (None, None), FIRST]
    whole = BASE | {"score_a": {"overall": 1, "y": None}, "score_b": {"overall": 2, "y": 3}}
    assert verdicts(whole | {"winner": "B"}) == [(1, 2), (None, None)]
    with pytest.raises(Rejected, match="the scores say otherwise"):
        verdicts(whole | {"winner": "A"})


def test_nan_as_text_is_a_missing_score(tmp_path: Path) -> None:
    row = {"prompt": "问", "model": "a", "output": "甲", "score": "NaN"}
    _, report = imported(tmp_path, row, row | {"model": "b", "score": 3})
    assert report.missing_scores == 1
    assert report.accounting()["scores"]["read"] == 1
    with pytest.raises(ImportFailed):
        imported(tmp_path, row | {"score": "N/A"})


# ---------------------------------------------------------------------------------------------
# Columns that contradict each other


@pytest.mark.parametrize(
    ("said", "drops"),
    [
        (
            {"winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0, "winner": "model_b"},
            ("winner", "winner_model_a,winner_model_b,winner_tie"),
        ),
        ({"winner_a": 1, "winner_b": 0, "a_wins": 0, "b_wins": 1}, ("winner_a,winner_b", "a_wins,b_wins")),
        ({"winner": "A", "preference": "B"}, ("winner", "preference")),
        ({"winner": "A", "verdict": "tie"}, ("winner", "verdict")),
        ({"winner": "B", "better_response_id": 0}, ("winner", "better_response_id")),
        ({"preference": "A", "choice": "B"}, ("preference", "choice")),
        ({"winner": "A", "偏好": "右"}, ("winner", "偏好")),
        ({"winner": "A", "chosen": "坏"}, ("winner", "chosen")),
        ({"winner": "A", "is_tie": True}, ("is_tie",)),
    ],
)
def test_columns_that_contradict_each_other(said: dict[str, Any], drops: tuple[str, str]) -> None:
    with pytest.raises(Rejected) as refused:
        verdicts(BASE | said)
    assert refused.value.reason == "contradiction"
    for drop in drops:
        assert f"--drop {drop}" in refused.value.message
        config = FormConfig(drop=tuple(drop.split(",")))
        assert len(verdicts(BASE | said, config, BASE | {"better_response_id": 1})) == 1


def test_columns_that_agree() -> None:
    row = BASE | {"winner_model_a": 1, "winner_model_b": 0, "winner": "A", "preference": "left", "chosen": "好"}
    found = shape(row, "pairwise", FormConfig())
    assert [one["first_score"] for one in found.value["comparisons"]] == [1]
    assert found.ignored == []
    empty = {"winner_model_a": None, "winner_model_b": None}
    assert verdicts(BASE | empty | {"winner": "B"}) == [SECOND]
    assert verdicts(BASE | empty) == [(None, None)]
    uncertain = shape(BASE | {"winner": "B", "label": 1}, "pairwise", FormConfig())
    assert uncertain.ignored == ["label"]


def test_scores_that_a_weak_column_contradicts() -> None:
    scored = BASE | {"score_a": 8, "score_b": 5}
    assert verdicts(scored | {"preference": "A"}) == [(8, 5)]
    with pytest.raises(Rejected, match="--drop preference"):
        verdicts(scored | {"preference": "B"})


# ---------------------------------------------------------------------------------------------
# Words for no verdict, and unknown words


@pytest.mark.parametrize("word", ["nan", "NaN", "null", "NULL", "N/A", "n/a", "-", "empty", "无"])
def test_words_for_no_verdict(word: str, tmp_path: Path) -> None:
    assert verdicts(BASE | {"winner": word}) == [(None, None)]
    assert verdicts(BASE | {"winner": word, "verdict": "B"}) == [SECOND]
    _, report = imported(tmp_path, BASE | {"winner": word}, BASE | {"prompt": "又", "winner": "A"})
    assert report.missing_scores == 1
    assert report.accounting()["comparisons"] == {"read": 1, "stored": 1, "rejected": 0, "merged": 0}
    assert verdicts(BASE | {"winner": word}, FormConfig(values={"tie": word})) == [TIE]
    assert verdicts(BASE | {"winner": word, "model_a": word, "model_b": "x"}) == [FIRST]


@pytest.mark.parametrize("word", ["None", "none", "不知道", "D"])
def test_unknown_words(word: str) -> None:
    """none may be a tie, or no verdict."""
    with pytest.raises(Rejected) as refused:
        verdicts(BASE | {"winner": word})
    assert "tie=" not in refused.value.message
    assert ("may be a tie or no verdict" in refused.value.message) == (word.lower() == "none")
    assert verdicts(BASE | {"winner": word}, FormConfig(values={"second": word})) == [SECOND]
    assert verdicts(BASE | {"winner": "neither"}) == [TIE]


# ---------------------------------------------------------------------------------------------
# What the user says


@pytest.mark.parametrize(
    "values",
    [
        {"first": "1", "second": "1"},
        {"first": "1", "second": "1.0"},
        {"first": "x|y", "tie": "Y"},
        {"first": "negative", "second": "-1"},
        {"first": "negative", "second": "Negative"},
        {"tie": "3", "second": "positive"},
    ],
)
def test_one_value_for_two_things(values: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="--values"):
        FormConfig(values=values)


def test_values_against_words_that_are_certain(tmp_path: Path) -> None:
    for values in ({"first": "B"}, {"second": "A"}, {"tie": "A"}, {"first": "tie"}):
        with pytest.raises(UsageError, match="--values"):
            imported(tmp_path, *(BASE | {"winner": word} for word in ("A", "B", "tie")), values=values)
    assert not (tmp_path / "store").exists()
    assert verdicts(BASE | {"winner": "B"}, FormConfig(values={"second": "B"})) == [SECOND]


def test_values_that_no_verdict_is(tmp_path: Path) -> None:
    rows = [BASE | {"prompt": str(word), "winner": word} for word in ("win", -2, "tie")]
    values = {"first": "win|WON", "second": "lose|negative", "tie": "0"}
    _, report = imported(tmp_path, *rows, values=values)
    assert report.notes == ["--values names 0 and WON and lose, which no verdict is"]
    assert not imported(tmp_path, *rows[:1], values={"first": "Win"})[1].notes


_WORDS = ("0", "1", "1.0", "-1", "2", "x", "X", "negative", "positive", "A", "tie")


@given(
    st.dictionaries(st.sampled_from(["first", "second", "tie"]), st.lists(st.sampled_from(_WORDS), min_size=1)),
    st.sampled_from([0, 1, -1, 2, 1.0, "1", "-1", "x", "X", "z", -3]),
)
def test_values_never_give_two_winners(said: dict[str, list[str]], value: Any) -> None:
    values = {name: "|".join(words) for name, words in said.items()}
    try:
        FormConfig(values=values)
    except UsageError:
        return
    sides, won = Sides(("a", "b")), set()
    for name, words in values.items():  # each by itself
        try:
            won.add(verdict_of(value, "winner", sides, [99], {name: words}))
        except Rejected:
            continue
    assert len(won) <= 1


# ---------------------------------------------------------------------------------------------
# Exchanging the sides

_SIDES = st.sampled_from([("a", "b"), ("1", "2"), ("0", "1"), ("left", "right")])
_SAID = st.one_of(
    st.tuples(st.just("side"), st.integers(0, 1)),
    st.tuples(st.just("model"), st.integers(0, 1)),
    st.tuples(st.just("order"), st.integers(0, 1)),
    st.tuples(st.just("text"), st.integers(0, 1)),
    st.tuples(st.just("word"), st.sampled_from(["tie", "无", "NaN", "none", "C", ""])),
)
_MODELS = st.sampled_from(["x", "y", "X", "a", "b", "1", "2", "0", "left", "tie", "无", None])


@given(
    _SIDES,
    st.tuples(_MODELS, _MODELS),
    st.tuples(*[st.sampled_from([None, "NaN", 3, 9, "9"])] * 2) | st.none(),
    st.dictionaries(st.sampled_from(["winner", "verdict", "better_id", "preference", "label", "chosen"]), _SAID),
    st.integers(-2, 2) | st.none(),
    st.none() | st.tuples(st.integers(0, 1), st.integers(0, 1)),
)
def test_exchanging_the_sides_exchanges_who_won_and_nothing_else(
    sides: tuple[str, str], models: Any, scores: Any, said: dict[str, Any], strength: Any, hot: Any
) -> None:
    def row(turned: bool) -> dict[str, Any]:
        at = (1, 0) if turned else (0, 1)  # where each of the two answers stands
        texts = ("好", "坏")
        made: dict[str, Any] = {"prompt": "问"}
        for one in (0, 1):
            side = sides[at[one]]
            made |= {f"response_{side}": texts[one], f"model_{side}": models[one]}
            made |= {f"score_{side}": scores[one]} if scores else {}
            made |= {f"winner_model_{side}": hot[one]} if hot else {}
        for column, (how, which) in said.items():
            if how == "word":
                made[column] = which
            elif how == "model":
                made[column] = models[which]
            elif how == "text":
                made[column] = texts[which]
            elif how == "side":
                made[column] = f"response {sides[at[which]]}" if column == "chosen" else sides[at[which]]
            else:
                made[column] = f"{sides[at[which]]}>{sides[at[1 - which]]}"
        if strength is not None:
            made["overall_preference"] = -strength if turned else strength
        return {name: made[name] for name in sorted(made)}

    def read(turned: bool) -> Any:
        first, second = sides
        coded = {1, 2} if sides == ("1", "2") else {0, 1}
        columns = ("winner", "verdict", "better_id", "preference", "label", "chosen")
        found: dict[tuple[str, str], set[float]] = {(name, f"{first}/{second}"): set(coded) for name in columns}
        found[("overall_preference", f"{first}/{second}")] = {-2, -1, 0, 1, 2}
        config = FormConfig(survey=Survey(numbers=found))
        try:
            shaped = shape(row(turned), "pairwise", config)
        except Rejected as refused:
            return refused.reason
        return shaped

    here, there = read(False), read(True)
    if isinstance(here, str) or isinstance(there, str):
        # A model that is called as a side is may be certain on one side alone.
        if not {str(model).lower() for model in models} & {"a", "b", "1", "2", "0", "left", "tie", "无"}:
            assert here == there
        return
    assert here.ignored == there.ignored or {*models} & {"a", "b", "1", "2", "0", "left"}
    assert here.value["responses"] == there.value["responses"][::-1]
    one, other = here.value["comparisons"], there.value["comparisons"]
    if {*models} & {"a", "b", "1", "2", "0", "left"} and len(one) != len(other):
        return
    assert [(mine["first_score"], mine["second_score"]) for mine in one] == [
        (theirs["second_score"], theirs["first_score"]) for theirs in other
    ]
