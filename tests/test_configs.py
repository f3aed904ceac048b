"""A config is the same however its name and keywords are spelled."""

from __future__ import annotations

import shutil
from dataclasses import fields
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calibrating import as_config, calibration
from rewarding import with_given

from coig_p.configs import make_config
from coig_p.pairs.config import PairConfig
from coig_p.pairs.exclusion import Exclusion
from coig_p.pairs.plan import ShardConfig
from coig_p.pairs.splits import SplitConfig
from coig_p.store.locate import locate


class Named(str):
    """A string that prints as another one, as members of an enumeration do."""

    def __str__(self) -> str:
        return f"Named.{super().__str__()}"

    __repr__ = __str__


CALIBRATED = calibration({"judge-a": (5, 1), "judge-b": (4, 1), "model-0": (3, 2)})
RECORDED = as_config(CALIBRATED).record()["judges"]

# For every option: the value as Python has it, and the same as it comes from elsewhere.
SAME: dict[str, tuple[Any, list[Any]]] = {
    "threshold": (2.5, [Decimal("2.50"), Fraction(5, 2), np.float32(2.5), np.float16(2.5), np.array(2.5)]),
    "strict": (True, [np.bool_(True), np.array(True)]),
    "aggregation": ("median", [np.str_("median"), Named("median")]),
    "judges": (
        ("judge-a", "judge-b"),
        [
            ["judge-b", "judge-a"],
            {"judge-a", "judge-b"},
            frozenset({"judge-a", "judge-b"}),
            np.array(["judge-a", "judge-b"]),
            np.array(["judge-b", "judge-a"], dtype=object),
            {"judge-a": 1, "judge-b": 2}.keys(),
            (np.str_("judge-a"), Named("judge-b"), "judge-b"),
        ],
    ),
    "include_self_judged": (True, [np.bool_(True)]),
    "labels": ("scores", [np.str_("scores"), np.array("scores")]),
    "strategy": ("best_worst", [np.str_("best_worst")]),
    "max_pairs_per_query": (2, [np.int64(2), np.uint8(2), np.array(2)]),
    "seed": (3, [np.int64(3), np.int8(3), np.uint64(3)]),
    "format": ("kto", [np.str_("kto")]),
    "multi_turn": ("skip", [np.str_("skip")]),
    "comparison_threshold": (0.5, [Decimal("0.50"), Fraction(1, 2), np.float32(0.5), np.array(0.5)]),
    "calibrate": (as_config(CALIBRATED), [as_config(CALIBRATED).record(), {"sha256": "a" * 64, "judges": RECORDED}]),
    "min_judges": (2, [np.int64(2), np.uint8(2), np.array(2)]),
    "same_judges": (True, [np.bool_(True), np.array(True)]),
    "exclude": (
        Exclusion.of_ids(["math-0001", "chat-0002"]),
        [Exclusion.of_ids(["chat-0002", "math-0001", "math-0001"], "elsewhere.txt").record()],
    ),
    "both_orders": (True, [np.bool_(True), np.array(True)]),
    "agree_with": ("crm", [np.str_("crm"), np.array("crm"), Named("crm")]),
    "min_reward_margin": (0.1, [Decimal("0.1"), Fraction(1, 10), np.float32(0.1), np.array(0.1)]),
    "test_size": (0.1, [Decimal("0.1"), Fraction(1, 10), np.float32(0.1), np.float16(0.1), np.float64(0.1)]),
    "validation_size": (0.1, [Decimal("0.1"), Fraction(1, 10), np.float32(0.1)]),
    "split_seed": (3, [np.int64(3)]),
    "shuffle_seed": (0, [np.int64(0)]),
    "shards": (2, [np.int64(2)]),
    "world_size": (2, [np.int64(2)]),
    "workers": (1, [np.int64(1)]),
    "weights": (
        {"math": 2.0, "chat": 0.5},
        [
            {"math": 2, "chat": Decimal("0.5")},
            {np.str_("math"): np.int64(2), "chat": np.float32(0.5)},
            {"math": Fraction(2), "chat": Fraction(1, 2)},
        ],
    ),
    "raw": (False, [np.bool_(False)]),
    "columns": (["query_id", "domain"], [("query_id", np.str_("domain")), np.array(["query_id", "domain"])]),
}  # fmt: skip
NEEDS: dict[str, dict[str, Any]] = {
    "split_seed": {"test_size": 0.5},
    "workers": {"shuffle_seed": 1},
    "min_reward_margin": {"agree_with": "crm"},
}


@pytest.fixture(scope="module")
def rewarded(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(shutil.copytree(store, tmp_path_factory.mktemp("rewarded") / "store"))
    return with_given(path, "crm", lambda query_id, model, sample, text: float(len(text)))


def test_every_option_is_tried() -> None:
    configs = (PairConfig, SplitConfig, ShardConfig)
    options = {option.name for config in configs for option in fields(config)}
    assert options | {"weights", "raw", "columns"} == {*SAME, "clusters"}


@pytest.mark.parametrize("option", SAME)
def test_a_value_is_the_same_wherever_it_comes_from(option: str, rewarded: Path) -> None:
    location = locate(str(rewarded))
    plain, others = SAME[option]
    more = NEEDS.get(option, {})
    wanted = make_config(location, "all", {option: plain, **more}).selection
    for other in others:
        found = make_config(location, np.str_("all"), {option: other, **more}).selection
        assert found == wanted, other
        assert repr(found.identity()) == repr(wanted.identity()), other
        assert repr(found.options) == repr(wanted.options), other  # of one type, too
