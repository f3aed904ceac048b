"""Pairs that rewards oppose are dropped, and nothing else happens to pairs. Against tests/oracle.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from calibrating import later_options
from hypothesis import given
from hypothesis import strategies as st
from oracle import Rewards, oracle_pairs
from pairing import (
    NO_DRAW,
    OF_PAIRS,
    OPTIONS,
    OPTIONS_WITH_DRAWS,
    REWARDS,
    as_batch,
    comparison,
    four_answers,
    kernel_pairs,
    model_pairs,
    query,
    response,
)
from strategies import examples, raw_rows

from coig_p.errors import UsageError
from coig_p.pairs.agreeing import OUTCOMES, VERDICTS, outcomes, outcomes_of, rewards_of, verdicts_of
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import find_pairs, sweep_pairs_of
from coig_p.pairs.labels import Responses
from coig_p.pairs.rows import pair_tables
from coig_p.store.rewarded import reward_column, with_rewards_of

Row = dict[str, Any]
SMALL: tuple[float | None, ...] = (None, -1.5, 0.0, -0.0, 0.25, 0.5, 1e-300, 1.5, 3.0, 1e308, -1e308)
"""Few values, so that many are equal, or exactly as far apart as is asked for."""
LEAST = (0, 0, 0.25, 0.5, 1.5, 1e-300)


@st.composite
def rewarded_rows(draw: st.DrawFn, **options: Any) -> tuple[list[Row], Rewards]:
    rows = draw(raw_rows(**options))
    places = [(row["query_id"], at) for row in rows for at in range(len(row["responses"] or []))]
    one = st.sampled_from(SMALL) | st.floats(allow_nan=False, allow_infinity=False)
    return rows, {place: draw(one) for place in places}


def fitting(options: Row) -> Row:
    without = {"comparison_threshold": None, "both_orders": None}
    return options | without if options["labels"] == "scores" else options


@examples(300)
@given(given=rewarded_rows(), options=OPTIONS, later=later_options(), least=st.sampled_from(LEAST))
def test_pairs_that_agree_are_the_oracles(
    given: tuple[list[Row], Rewards], options: Row, later: Row, least: float
) -> None:
    rows, rewards = given
    options = fitting(options | later) | {"min_reward_margin": least}
    assert kernel_pairs(rows, rewards, **options) == oracle_pairs(rows, rewards=rewards, **options)


@pytest.mark.parametrize("labels", ["auto", "scores", "comparisons"])
@pytest.mark.parametrize("strategy", NO_DRAW)
@examples(40)
@given(data=st.data(), given=rewarded_rows(most_queries=2))
def test_of_every_label_and_strategy(
    labels: str, strategy: str, data: st.DataObject, given: tuple[list[Row], Rewards]
) -> None:
    rows, rewards = given
    options = data.draw(OPTIONS) | {"threshold": 0, "labels": labels, "strategy": strategy, "judges": None}
    assert kernel_pairs(rows, rewards, **options) == oracle_pairs(rows, rewards=rewards, **options)


@examples(200)
@given(
    given=rewarded_rows(), options=OPTIONS_WITH_DRAWS, most=st.sampled_from([None, 1, 2]), least=st.sampled_from(LEAST)
)
def test_of_what_is_drawn_some_go_and_nothing_else_changes(
    given: tuple[list[Row], Rewards], options: Row, most: int | None, least: float
) -> None:
    rows, rewards = given
    options = options | {"max_pairs_per_query": most}
    batch = as_batch(rows, rewards)
    config = PairConfig(**options, agree_with=REWARDS, min_reward_margin=least)
    before, after = find_pairs(batch, config.without_rewards()), find_pairs(batch, config)
    flat = [rewards[row["query_id"], at] for row in rows for at in range(len(row["responses"] or []))]
    kept = []
    for chosen, rejected in zip(before.chosen.tolist(), before.rejected.tolist(), strict=True):
        one, other = flat[chosen], flat[rejected]
        kept.append(one is not None and other is not None and one >= other and one - other >= least)
    expected = before.take(np.array(kept, bool))
    for found, wanted in zip(after, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@examples(100)
@given(
    given=rewarded_rows(),
    options=OPTIONS_WITH_DRAWS,
    thresholds=st.lists(st.sampled_from([0, 0.25, 0.5, 1, 2]), min_size=1, max_size=4, unique=True).map(sorted),
)
def test_a_sweep_gives_at_each_threshold_what_a_load_gives(
    given: tuple[list[Row], Rewards], options: Row, thresholds: list[float]
) -> None:
    rows, rewards = given
    batch = as_batch(rows, rewards)
    config = PairConfig(**options | {"threshold": None}, agree_with=REWARDS)
    swept = sweep_pairs_of(Responses.of(batch), batch, config, thresholds)
    nested = options["strategy"] != "best_random"
    for at, threshold in enumerate(thresholds, start=1):
        own = swept.level >= at if nested else swept.level == at
        alone = find_pairs(batch, PairConfig(**options | {"threshold": threshold}, agree_with=REWARDS))
        assert sorted(zip(swept.chosen[own], swept.rejected[own], strict=True)) == sorted(
            zip(alone.chosen, alone.rejected, strict=True)
        )


def of_four(rewards: dict[str, float | None], **options: Any) -> set[tuple[str, str]]:
    """Models of the pairs of one query, whose responses a, b, c, d have scores 9, 7, 5, 3."""
    row = query(*(response(name, score) for name, score in zip("abcd", (9, 7, 5, 3), strict=True)))
    given = {("q", at): rewards[name] for at, name in enumerate("abcd")}
    return {(one, other) for _, one, other in model_pairs(kernel_pairs([row], given, threshold=2, **options))}


def test_opposed_pairs_go_and_ties_stay() -> None:
    every = {("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("c", "d")}
    assert of_four({"a": 4, "b": 3, "c": 2, "d": 1}) == every
    assert of_four({"a": 0, "b": 0, "c": 0, "d": 0}) == every
    assert of_four({"a": 3, "b": 4, "c": 2, "d": 1}) == every - {("a", "b")}
    assert of_four({"a": 1, "b": 2, "c": 3, "d": 4}) == set()
    # By how much, exactly at the edge too.
    assert of_four({"a": 4, "b": 3, "c": 2.5, "d": 2.5}, min_reward_margin=0.5) == every - {("c", "d")}
    assert of_four({"a": 4, "b": 3, "c": 2.5, "d": 2.5}, min_reward_margin=0.50001) == {("a", one) for one in "bcd"}


def test_a_response_without_a_reward_is_in_no_pair() -> None:
    assert of_four({"a": None, "b": 3, "c": 2, "d": 1}) == {("b", "c"), ("b", "d"), ("c", "d")}
    assert of_four({"a": None, "b": None, "c": None, "d": None}) == set()


def test_what_is_no_number_is_no_reward() -> None:
    for bad in (float("inf"), float("-inf"), float("nan")):
        assert of_four({"a": bad, "b": 3, "c": 2, "d": bad}) == {("b", "c")}


def test_the_best_pair_is_not_replaced_by_another() -> None:
    rewards: dict[str, float | None] = {"a": 0, "b": 3, "c": 2, "d": 1}
    assert of_four(rewards, strategy="best_worst") == set()
    assert of_four(rewards, strategy="adjacent") == {("b", "c"), ("c", "d")}


def test_verdicts_of_people_are_filtered_too() -> None:
    answers = [response(name) for name in "ab"]
    row = query(*answers, comparisons=[comparison(0, 1, 0, 1)])
    assert model_pairs(kernel_pairs([row], {("q", 0): 1, ("q", 1): 2}, threshold=1)) == {("q", "b", "a")}
    assert kernel_pairs([row], {("q", 0): 2, ("q", 1): 1}, threshold=1) == []


@pytest.mark.parametrize("form", OF_PAIRS)
def test_every_format_has_the_pairs_that_are_left(form: str) -> None:
    rows = four_answers(12)
    rewards: Rewards = {
        (row["query_id"], at): float((at * 7 + len(row["query_id"])) % 3) for row in rows for at in range(4)
    }
    left = kernel_pairs(rows, rewards, threshold=1)
    found = kernel_pairs(rows, rewards, threshold=1, format=form)
    models = {(row["query_id"], row[side]) for row in left for side in ("chosen_model", "rejected_model")}
    if form == "sft":
        assert {(row["query_id"], row["model"]) for row in found} == {
            (row["query_id"], row["chosen_model"]) for row in left
        }
    elif form == "kto":
        assert {(row["query_id"], row["model"]) for row in found} == models
    else:
        assert len(found) == len(left)


def test_outcomes_and_verdicts_by_hand() -> None:
    rewards = np.array([2.0, 1.0, 1.0, np.nan, 1.5, -0.0, 0.0])
    chosen, rejected = np.array([0, 1, 1, 0, 3, 4, 5, 1]), np.array([1, 2, 0, 3, 0, 1, 6, 4])
    assert [VERDICTS[at] for at in verdicts_of(rewards, chosen, rejected)] == [
        "agrees", "ties", "opposes", "unknown", "unknown", "agrees", "ties", "opposes",
    ]  # fmt: skip
    assert [OUTCOMES[at] for at in outcomes_of(rewards, chosen, rejected, 0)] == [
        "kept", "kept", "opposed", "without_reward", "without_reward", "kept", "kept", "opposed",
    ]  # fmt: skip
    assert [OUTCOMES[at] for at in outcomes_of(rewards, chosen, rejected, 0.75)] == [
        "kept", "too_close", "opposed", "without_reward", "without_reward", "too_close", "too_close", "opposed",
    ]  # fmt: skip
    far = np.array([1e308, -1e308])
    assert outcomes_of(far, np.array([0]), np.array([1]), 1e308).tolist() == [0]


def test_rows_that_were_read_without_rewards_are_an_error_and_not_all_kept() -> None:
    batch = as_batch(four_answers(1))
    with pytest.raises(
        UsageError, match=r"agree_with='crm': these rows were read without rewards. .*rewards=\['crm'\]"
    ):
        list(pair_tables(batch, PairConfig(threshold=1, agree_with="crm")))
    other = as_batch(four_answers(1), {})
    with pytest.raises(UsageError, match="agree_with='other'"):
        find_pairs(other, PairConfig(threshold=1, agree_with="other"))
    config = PairConfig(threshold=1)
    pairs = find_pairs(batch, config)
    assert outcomes(batch, config, pairs.chosen, pairs.rejected).tolist() == [0] * 6


def test_rewards_go_where_rows_go() -> None:
    rows = four_answers(6)
    rewards: Rewards = {(row["query_id"], at): at * 1.5 if at else None for row in rows for at in range(4)}
    batch = as_batch(rows, rewards)
    nobody = as_batch([query(query_id="none"), query(query_id="null") | {"responses": None}], {})
    joined = pa.Table.from_batches([batch.slice(2, 3), nobody, batch.slice(0, 1)]).combine_chunks().to_batches()[0]
    wanted = [np.nan, 1.5, 3, 4.5] * 4
    np.testing.assert_array_equal(rewards_of(joined, REWARDS), wanted)
    some = joined.filter(pa.array([False, True, True, True, True, False]))
    np.testing.assert_array_equal(rewards_of(some, REWARDS), wanted[:8])
    bare = joined.select([name for name in joined.schema.names if name != reward_column(REWARDS)])
    assert with_rewards_of(bare, joined, [REWARDS]).equals(joined)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"min_reward_margin": 0.5}, "min_reward_margin=0.5: no effect without agree_with="),
        ({"min_reward_margin": 0}, "min_reward_margin=0: no effect without agree_with="),
        ({"agree_with": ""}, "agree_with=''.*the name of rewards"),
        ({"agree_with": 3}, "agree_with=3"),
        ({"agree_with": ["crm"]}, "agree_with="),
        ({"agree_with": "crm", "min_reward_margin": -0.1}, "min_reward_margin=-0.1: use a finite number of 0 or more"),
        ({"agree_with": "crm", "min_reward_margin": float("nan")}, "min_reward_margin=nan"),
        ({"agree_with": "crm", "min_reward_margin": float("inf")}, "min_reward_margin=inf"),
        ({"agree_with": "crm", "min_reward_margin": "1"}, "min_reward_margin='1'"),
        ({"agree_with": "crm", "min_reward_margin": True}, "min_reward_margin=True"),
        ({"agree_with": "crm", "format": "ranked"}, "agree_with='crm': format ranked orders all responses"),
        ({"agree_with": "crm", "format": "ranked_conversational"}, "format ranked_conversational"),
    ],
)
def test_what_cannot_be_is_refused(options: Row, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        PairConfig(**options)


def test_one_value_is_one_config() -> None:
    plain = PairConfig(agree_with="crm")
    assert plain == PairConfig(agree_with="crm", min_reward_margin=0) == PairConfig(agree_with=np.str_("crm"))  # type: ignore[arg-type]
    assert plain == PairConfig(agree_with="crm", min_reward_margin=-0.0)
    assert repr(plain.min_reward_margin) == "0.0"
    assert plain != PairConfig(agree_with="crm", min_reward_margin=0.5)
    assert plain.to_dict()["agree_with"] == "crm"
    assert "min_reward_margin" not in plain.to_dict()
    assert not {"agree_with", "min_reward_margin"} & set(PairConfig().to_dict())
    some = PairConfig(agree_with="crm", min_reward_margin=np.float32(0.1))  # type: ignore[arg-type]
    assert some.later == {"agree_with": "crm", "min_reward_margin": 0.1}
    assert PairConfig(**some.to_dict()) == some
    assert some.without_rewards() == PairConfig()
    assert PairConfig(threshold=2, agree_with="crm").margin == "2, agreeing with the rewards crm"
    assert PairConfig(threshold=2, agree_with="crm", min_reward_margin=0.5).margin == (
        "2, agreeing with the rewards crm by 0.5 or more"
    )
