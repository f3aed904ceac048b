"""Which responses are compared: enough judges, the same judges, calibrated scores. Against tests/oracle.py."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from calibrating import as_config, calibration, calibrations, later_options, written
from hypothesis import given
from hypothesis import strategies as st
from make import completed
from oracle import oracle_pairs, oracle_ranked
from pairing import (
    NO_DRAW,
    OPTIONS,
    as_batch,
    by_query,
    comparison,
    kernel_pairs,
    model_pairs,
    query,
)
from strategies import THRESHOLDS, examples, extreme_rows, many_dimension_rows, raw_rows

from coig_p.errors import UsageError
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import find_pairs_of, sweep_pairs_of
from coig_p.pairs.labels import Responses

Row = dict[str, Any]
ABOVE_0 = [threshold for threshold in THRESHOLDS if threshold]


def fitting(options: Row) -> Row:
    """Options without what is refused beside others."""
    if options["labels"] == "scores":
        options = options | {"comparison_threshold": None, "both_orders": None}
    return options


@examples(300)
@given(rows=raw_rows(), options=OPTIONS, later=later_options())
def test_pairs_of_comparable_responses_are_the_oracles(rows: list[Row], options: Row, later: Row) -> None:
    options = fitting(options | later)
    assert kernel_pairs(rows, **options) == oracle_pairs(rows, **options)


@pytest.mark.parametrize("labels", ["auto", "comparisons"])
@pytest.mark.parametrize("strategy", NO_DRAW)
@examples(60)
@given(data=st.data(), rows=raw_rows(most_queries=2))
def test_of_every_label_and_strategy(labels: str, strategy: str, data: st.DataObject, rows: list[Row]) -> None:
    options = data.draw(OPTIONS) | data.draw(later_options()) | {"threshold": data.draw(st.sampled_from([0, 0.5]))}
    options |= {"labels": labels, "strategy": strategy, "same_judges": True, "judges": None}
    assert kernel_pairs(rows, **options) == oracle_pairs(rows, **options)


@examples(200)
@given(
    rows=st.one_of(raw_rows(), many_dimension_rows()),
    options=OPTIONS,
    later=later_options(),
    file=calibrations(),
    threshold=st.sampled_from(ABOVE_0),
)
def test_pairs_of_calibrated_scores_are_the_oracles(
    rows: list[Row], options: Row, later: Row, file: Row, threshold: float
) -> None:
    options = fitting(options | later | {"threshold": threshold})
    if options["labels"] == "comparisons":
        options["labels"] = "auto"
    found = kernel_pairs(rows, **options, calibrate=as_config(file))
    assert found == oracle_pairs(rows, **options, calibrate=file)


@examples(60)
@given(rows=extreme_rows(), file=calibrations(), threshold=st.sampled_from([0.0001, 2, 1e7, 1e15]))
def test_calibrated_scores_beyond_64_bits_are_the_oracles(rows: list[Row], file: Row, threshold: float) -> None:
    assert kernel_pairs(rows, threshold=threshold, calibrate=as_config(file)) == oracle_pairs(
        rows, threshold=threshold, calibrate=file
    )


@examples(100)
@given(rows=raw_rows(), options=OPTIONS, file=calibrations(), least=st.sampled_from([1, 2]))
def test_lists_of_calibrated_scores_are_the_oracles(rows: list[Row], options: Row, file: Row, least: int) -> None:
    scoring = {name: options[name] for name in ("strict", "aggregation", "judges", "include_self_judged")}
    scoring |= {"threshold": options["threshold"] or 0.5, "min_judges": least}
    found = kernel_pairs(rows, **scoring, format="ranked", labels="scores", calibrate=as_config(file))
    assert found == oracle_ranked(rows, **scoring, calibrate=file)


@examples(100)
@given(rows=raw_rows(), options=OPTIONS, later=later_options(), seed=st.integers(0, 3))
def test_best_random_draws_one_pair_for_each_group_of_judges(
    rows: list[Row], options: Row, later: Row, seed: int
) -> None:
    options = fitting(options | later | {"strategy": "best_random", "same_judges": True, "labels": "scores"})
    may_be = oracle_pairs(rows, **options)
    found = kernel_pairs(rows, **options, seed=seed)
    assert [pair for pair in may_be if pair in found] == found
    # By scores a group's best is the chosen one of all that may be drawn for it.
    groups = {(pair["query_id"], pair["chosen_model"]) for pair in may_be}
    assert Counter((pair["query_id"], pair["chosen_model"]) for pair in found) == dict.fromkeys(groups, 1)
    limited = kernel_pairs(rows, **options, seed=seed, max_pairs_per_query=1)
    assert {pair["query_id"] for pair in limited} == {pair["query_id"] for pair in found}
    assert all(len(own) == 1 for own in by_query(limited).values())
    assert [pair for pair in found if pair in limited] == limited


@examples(100)
@given(rows=raw_rows(), options=OPTIONS, later=later_options(), most=st.sampled_from([None, 1, 2]))
def test_a_sweep_finds_what_each_threshold_finds(rows: list[Row], options: Row, later: Row, most: int | None) -> None:
    options = fitting(options | later | {"max_pairs_per_query": most})
    config = PairConfig(**options | {"threshold": None})
    batch, steps = as_batch(completed(rows)), [0.0, 0.25, 0.5, 1, 2]
    responses = Responses.of(batch)
    swept = sweep_pairs_of(responses, batch, config, steps)
    for at, step in enumerate(steps, 1):
        own = PairConfig(**options | {"threshold": step, "comparison_threshold": config.comparison_threshold})
        pairs = find_pairs_of(responses, batch, own)
        kept = swept.level >= at if most is None else swept.level == at
        assert sorted(zip(pairs.chosen, pairs.rejected, strict=True)) == sorted(
            zip(swept.chosen[kept], swept.rejected[kept], strict=True)
        )


def judged(model: str, **scores: float) -> Row:
    """A response with a score of each judge that is named."""
    entries = [{"judge": judge, "dimension": "overall", "score": float(score)} for judge, score in scores.items()]
    return {"model": model, "text": f"answer of {model}", "scores": entries}


def test_a_response_needs_scores_of_enough_judges() -> None:
    rows = [query(judged("a", x=9, y=9), judged("b", x=1), judged("c", x=3, y=3))]
    assert model_pairs(kernel_pairs(rows, threshold=2, min_judges=2)) == {("q", "a", "c")}
    assert model_pairs(kernel_pairs(rows, threshold=2, min_judges=3)) == set()
    assert len(kernel_pairs(rows, threshold=2)) == 3
    # Judges that are not in the pool, and the model itself, are none.
    assert kernel_pairs(rows, threshold=2, min_judges=2, judges=("x",)) == []
    own = [query(judged("a", x=9, a=9), judged("b", x=1, y=1))]
    assert kernel_pairs(own, threshold=2, min_judges=2) == []
    assert len(kernel_pairs(own, threshold=2, min_judges=2, include_self_judged=True)) == 1


def test_dimensions_of_one_judge_are_one_judge() -> None:
    several = judged("a", x=9)
    several["scores"].append({"judge": "x", "dimension": "style", "score": 9.0})
    rows = [query(several, judged("b", x=1, y=1))]
    assert kernel_pairs(rows, threshold=2, min_judges=2) == []


def test_comparisons_need_enough_judges_too() -> None:
    shown = [comparison(0, 1, 1, 0, judge="x"), comparison(0, 1, 1, 0, judge="y"), comparison(0, 2, 1, 0, judge="x")]
    rows = [query(judged("a"), judged("b"), judged("c", x=3), comparisons=shown)]
    assert len(kernel_pairs(rows, threshold=1)) == 2
    assert model_pairs(kernel_pairs(rows, threshold=1, min_judges=2)) == {("q", "a", "b")}


def test_responses_of_the_same_judges_alone_are_compared() -> None:
    rows = [query(judged("a", x=9), judged("b", y=1), judged("c", x=3), judged("d", x=1, y=1), judged("e", y=8))]
    assert model_pairs(kernel_pairs(rows, threshold=2, same_judges=True)) == {("q", "a", "c"), ("q", "e", "b")}
    # The pool says who the judges are: of d none but x is left.
    found = kernel_pairs(rows, threshold=2, same_judges=True, judges=("x",))
    assert model_pairs(found) == {("q", "a", "c"), ("q", "a", "d"), ("q", "c", "d")}


def test_a_strategy_is_followed_in_each_group() -> None:
    rows = [query(*(judged(model, x=at) for at, model in enumerate("abc")), judged("d", y=9), judged("e", y=1))]
    options: Row = {"threshold": 0, "same_judges": True}
    assert model_pairs(kernel_pairs(rows, **options, strategy="best_worst")) == {("q", "c", "a"), ("q", "d", "e")}
    adjacent = {("q", "c", "b"), ("q", "b", "a"), ("q", "d", "e")}
    assert model_pairs(kernel_pairs(rows, **options, strategy="adjacent")) == adjacent
    assert len(kernel_pairs(rows, **options, strategy="best_random")) == 2
    assert len(kernel_pairs(rows, **options, strategy="best_random", max_pairs_per_query=1)) == 1
    assert len(kernel_pairs(rows, **options, max_pairs_per_query=3)) == 3


def test_auto_compares_by_comparisons_where_judges_differ() -> None:
    shown = [comparison(0, 1, 0, 1, judge="p"), comparison(0, 2, 0, 1, judge="p")]
    rows = [query(judged("a", x=9), judged("b", y=1), judged("c", x=3), comparisons=shown)]
    assert model_pairs(kernel_pairs(rows, threshold=1)) == {("q", "a", "b"), ("q", "a", "c"), ("q", "c", "b")}
    assert model_pairs(kernel_pairs(rows, threshold=1, same_judges=True)) == {("q", "b", "a"), ("q", "a", "c")}


def test_comparisons_may_have_a_threshold_of_their_own() -> None:
    shown = [comparison(0, 2, 1, 0)]
    rows = [query(judged("a", x=9), judged("b", x=8), judged("c"), comparisons=shown)]
    assert kernel_pairs(rows, threshold=2) == []
    assert model_pairs(kernel_pairs(rows, threshold=2, comparison_threshold=1)) == {("q", "a", "c")}
    assert model_pairs(kernel_pairs(rows, threshold=1, comparison_threshold=1.5)) == {("q", "a", "b")}


def test_calibration_turns_a_pair_that_a_lenient_judge_made() -> None:
    rows = [query(judged("a", strict=5), judged("b", lenient=7))]
    file = as_config(calibration({"strict": (4, 1), "lenient": (7.5, 1)}, (5.5, 1)))
    assert model_pairs(kernel_pairs(rows, threshold=1)) == {("q", "b", "a")}
    (pair,) = kernel_pairs(rows, threshold=1, calibrate=file)
    assert (pair["chosen_model"], pair["chosen_score"], pair["rejected_score"], pair["margin"]) == ("a", 6.5, 5.0, 1.5)


def test_what_leaves_the_range_is_not_clipped() -> None:
    rows = [query(judged("a", x=10), judged("b", x=1))]
    (pair,) = kernel_pairs(rows, threshold=1, calibrate=as_config(calibration({"x": (5, 1)}, (5, 4))))
    assert (pair["chosen_score"], pair["rejected_score"], pair["margin"]) == (25, -11, 36)


@pytest.mark.parametrize(("score", "value"), [(1, 0.0312), (3, 0.0938), (5, 0.1562), (-1, -0.0312)])
def test_calibrated_scores_are_rounded_half_to_even(score: float, value: float) -> None:
    # A 32nd is 312.5 of 1/10000, and a float without error.
    file = as_config(calibration({"x": (0, 32)}))
    found = kernel_pairs([query(judged("a", x=score), judged("b", x=-32_000))], threshold=1, calibrate=file)
    assert found[0]["chosen_score"] == value


def test_a_judge_that_the_file_does_not_have_is_named(tmp_path: Path) -> None:
    file = written(tmp_path / "file.json", calibration({"x": (0, 1), "z": (0, 1)}))
    rows = [query(judged("a", x=9, y=1), judged("b", x=1))]
    with pytest.raises(UsageError, match=r"file\.json: judge 'y' is not in it.*'x', 'z'.*coigp judges.*judges="):
        kernel_pairs(rows, threshold=1, calibrate=file)
    assert len(kernel_pairs(rows, threshold=1, calibrate=file, judges=("x",))) == 1
    # A score that does not count needs no place in the file.
    assert len(kernel_pairs([query(judged("y", x=9, y=1), judged("b", x=1))], threshold=1, calibrate=file)) == 1
    nobody = [query(judged("a", x=9), judged("b", x=1))]
    nobody[0]["responses"][0]["scores"][0]["judge"] = None
    with pytest.raises(UsageError, match="scores without a judge's name"):
        kernel_pairs(nobody, threshold=1, calibrate=file)


def test_a_calibrated_score_that_is_no_number_is_refused() -> None:
    file = as_config(calibration({"x": (0, 1e-6)}, (0, 1e9)))
    with pytest.raises(UsageError, match=r"of the score 1e\+300 of judge 'x' no finite number"):
        kernel_pairs([query(judged("a", x=1e300), judged("b", x=1))], threshold=1, calibrate=file)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threshold": 0}, "threshold 0 with calibrate.*above 0"),
        ({"threshold": 2, "labels": "comparisons"}, "calibrate= has no effect with labels='comparisons'"),
    ],
)
def test_calibration_that_cannot_be(options: Row, said: str) -> None:
    file = as_config(calibration({"x": (0, 1)}))
    with pytest.raises(UsageError, match=said):
        PairConfig(**options, calibrate=file)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"min_judges": 0}, "min_judges=0.*1 or more"),
        ({"min_judges": True}, "min_judges"),
        ({"min_judges": "2"}, "min_judges"),
        ({"same_judges": 1}, "same_judges.*True or False"),
        ({"comparison_threshold": -1}, "comparison_threshold=-1.*0 or more"),
        ({"comparison_threshold": 1, "labels": "scores"}, "no effect"),
        ({"same_judges": True, "format": "ranked"}, "same_judges=True: format ranked"),
        ({"comparison_threshold": 1, "format": "ranked"}, "comparison_threshold=1.0: no effect"),
        ({"calibrate": ""}, "calibrate=''.*path of a file"),
        ({"calibrate": 3}, "calibrate=3.*path of a file"),
        ({"calibrate": {"sha256": "x"}}, "path of a file"),
    ],
)
def test_options_that_cannot_be(options: Row, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        PairConfig(**options)


def test_other_formats_are_made_of_these_pairs() -> None:
    rows = [query(judged("a", x=9), judged("b", y=1), judged("c", x=3), judged("d", x=1, y=1))]
    kto = kernel_pairs(rows, threshold=2, same_judges=True, format="kto")
    assert [(row["model"], row["label"]) for row in kto] == [("a", True), ("c", False)]
    reward = kernel_pairs(rows, threshold=2, same_judges=True, format="reward")
    assert [row["margin"] for row in reward] == [6]
    (listed,) = kernel_pairs(
        [query(judged("a", x=9, y=9), judged("b", x=5), judged("c", x=3, y=3))],
        threshold=2,
        min_judges=2,
        format="ranked",
    )
    assert listed["models"] == ["a", "c"]


def test_a_batch_may_be_empty() -> None:
    batch = pa.RecordBatch.from_pylist([], schema=as_batch([]).schema)
    config = PairConfig(threshold=1, min_judges=2, same_judges=True, calibrate=as_config(calibration({"x": (0, 1)})))
    assert len(find_pairs_of(Responses.of(batch), batch, config).query) == 0
