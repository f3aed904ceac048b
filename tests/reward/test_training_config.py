"""Presets of papers, and every number of them as an option."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from coig_p.errors import UsageError
from coig_p.reward.training_config import CHEEMS, CRM, PRESETS, TrainConfig


def test_presets_are_the_papers() -> None:
    crm, cheems = (TrainConfig(preset=name).resolved() for name in (CRM, CHEEMS))
    assert (crm.loss, crm.learning_rate, crm.schedule, crm.warmup, crm.batch_pairs) == ("bt", 2e-6, "cosine", 0.03, 512)
    assert (crm.weight_decay, crm.max_length, crm.epochs) == (0.001, 4096, 1)
    assert (cheems.loss, cheems.learning_rate, cheems.warmup, cheems.batch_pairs) == ("gauss", 5e-6, 0.1, 256)
    assert (cheems.max_length, cheems.epochs) == (2048, 2)
    assert TrainConfig(preset=CHEEMS).loss_of().to_dict() == {"name": "gauss", "weight": 0.1}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_number_of_a_preset_can_be_another(preset: str) -> None:
    others: dict[str, Any] = {
        "loss": "tap", "learning_rate": 1e-3, "schedule": "linear", "warmup": 0.5, "weight_decay": 0.2,
        "batch_pairs": 3, "max_length": 77, "epochs": 5,
    }  # fmt: skip
    assert others.keys() == PRESETS[preset].keys()
    found = TrainConfig(preset=preset, **others).resolved()
    assert {name: getattr(found, name) for name in others} == others
    assert TrainConfig(preset=preset, weight_decay=0.0).resolved().weight_decay == 0


def test_what_is_none_is_of_the_preset_or_the_machine() -> None:
    unset = {one.name for one in fields(TrainConfig) if getattr(TrainConfig().resolved(), one.name) is None}
    assert unset == {"loss_weight", "loss_limit", "max_steps", "dtype", "device", "revision", "template"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"preset": "crn"}, "unknown preset 'crn'. Did you mean 'crm'?"),
        ({"batch_pairs": 0}, r"batch_pairs=0 \(--batch-pairs\): use a number of 1 or more"),
        ({"learning_rate": float("nan")}, "use a number of 0 or more"),
        ({"learning_rate": 0.0}, "nothing would be learnt"),
        ({"warmup": 1.5}, "a share of the steps"),
        ({"held_out": 1.0}, "a share of the queries"),
        ({"loss_weight": 0.1}, "no effect on --loss bt"),
        ({"preset": CHEEMS, "loss_limit": 2.0}, "no effect on --loss gauss"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        TrainConfig(**options)
