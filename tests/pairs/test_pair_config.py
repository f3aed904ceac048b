"""Options of pairs that are no option, in words."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest
from pairing import (
    as_batch,
    query,
    response,
)

from coig_p.errors import UnknownNameError, UsageError
from coig_p.pairs.config import AGGREGATIONS, FORMATS, LABELS, STRATEGIES, PairConfig, check_judges, check_threshold
from coig_p.pairs.kernel import find_pairs
from coig_p.pairs.rows import pair_tables

Row = dict[str, Any]


NOT_A_THRESHOLD = [
    float("nan"),
    float("inf"),
    float("-inf"),
    -1,
    -0.0001,
    0.00001,
    2.00005,
    1 / 3,
    True,
    False,
    "two",
    [2],
]


@pytest.mark.parametrize("threshold", NOT_A_THRESHOLD)
def test_a_bad_threshold_is_a_usage_error(threshold: Any) -> None:
    for check in (check_threshold, lambda value: PairConfig(threshold=value)):
        with pytest.raises(UsageError, match=r"(?s)threshold.*finite.*0 or more.*4 decimals"):
            check(threshold)


@pytest.mark.parametrize("threshold", [0, 0.0, 2, 2.0, 0.5, 0.0001, 0.3333, 6.1, 1e7, np.float64(0.1), np.int64(2)])
def test_a_good_threshold_becomes_a_float(threshold: Any) -> None:
    checked = check_threshold(threshold)
    assert type(checked) is float
    assert checked == threshold == PairConfig(threshold=threshold).threshold


@pytest.mark.parametrize(
    ("option", "valid"),
    [("aggregation", AGGREGATIONS), ("labels", LABELS), ("strategy", STRATEGIES), ("format", FORMATS)],
)
@pytest.mark.parametrize("name", ["", "nope", "ALL", None, 1, True, ["all"]])
def test_an_unknown_name_lists_the_valid_ones(option: str, valid: tuple[str, ...], name: Any) -> None:
    for known in valid:
        only: Row = {option: known}
        assert getattr(PairConfig(**only), option) == known
    with pytest.raises(UnknownNameError) as caught:
        PairConfig(**{option: name})
    assert set(caught.value.valid) == set(valid)
    assert option in str(caught.value)
    assert all(known in str(caught.value) for known in valid)


@pytest.mark.parametrize(
    ("option", "value", "advice"),
    [
        ("judges", (), "one or more names"),
        ("judges", [], "one or more names"),
        ("judges", (1,), "one or more names"),
        ("judges", ("gpt-4", None), "one or more names"),
        ("max_pairs_per_query", 0, "1 or more"),
        ("max_pairs_per_query", -1, "1 or more"),
        ("max_pairs_per_query", True, "1 or more"),
        ("max_pairs_per_query", 1.5, "1 or more"),
        ("max_pairs_per_query", "3", "1 or more"),
        ("seed", 0.5, "whole number"),
        ("seed", "a", "whole number"),
        ("seed", None, "whole number"),
        ("seed", True, "whole number"),
        ("strict", "no", "True or False"),
        ("strict", None, "True or False"),
        ("include_self_judged", "no", "True or False"),
        ("include_self_judged", None, "True or False"),
    ],
)
def test_a_bad_value_names_the_option_and_what_is_allowed(option: str, value: Any, advice: str) -> None:
    with pytest.raises(UsageError) as caught:
        PairConfig(**{option: value})
    assert option in str(caught.value)
    assert advice in str(caught.value)


def test_the_config_is_a_frozen_value() -> None:
    config = PairConfig(threshold=2, judges=("a", "b"))
    assert config == PairConfig(threshold=2.0, judges=("a", "b"))
    assert len({config, PairConfig(threshold=2.0, judges=("a", "b"))}) == 1
    assert pickle.loads(pickle.dumps(config)) == config
    assert config.judges == PairConfig(judges=["a", "b"]).judges  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.threshold = 3  # type: ignore[misc]


def test_the_stores_default_threshold_fills_only_a_missing_one() -> None:
    assert PairConfig().threshold is None
    assert PairConfig(strict=True).with_default_threshold(1) == PairConfig(threshold=1, strict=True)
    assert PairConfig(threshold=0).with_default_threshold(2).threshold == 0
    with pytest.raises(UsageError, match="threshold"):
        PairConfig().with_default_threshold(-1)


def test_a_config_without_a_threshold_finds_nothing_but_an_error() -> None:
    batch = as_batch([query(response("a", 1), response("b", 9))])
    with pytest.raises(UsageError, match="threshold"):
        find_pairs(batch, PairConfig())
    with pytest.raises(UsageError, match="threshold"):
        list(pair_tables(batch, PairConfig()))


def test_a_judge_that_the_store_does_not_have_is_an_unknown_name() -> None:
    config = PairConfig(judges=("gpt-4", "qwen"))
    check_judges(config, {"qwen", "gpt-4", "other"})
    check_judges(PairConfig(), {"other"})
    check_judges(config, ())  # the store's judges are not known
    with pytest.raises(UnknownNameError) as caught:
        check_judges(config, ["qwen", "gpt-4o"])
    assert all(name in str(caught.value) for name in ("judge", "'gpt-4'", "gpt-4o", "qwen"))
