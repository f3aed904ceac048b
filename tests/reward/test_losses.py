"""What a reward model is trained on, against the formulas of the papers, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coig_p.errors import UsageError
from coig_p.reward.losses import BT, GAUSS, LOSSES, TAP, Loss, pair_losses

torch.set_num_threads(1)
REWARDS = st.lists(st.tuples(*[st.floats(-12, 12, width=32)] * 2), min_size=1, max_size=8)


def formula(chosen: torch.Tensor, rejected: torch.Tensor, loss: Loss) -> torch.Tensor:
    """The mean over pairs as it is printed."""
    total = torch.zeros((), dtype=torch.float64)
    for one, other in zip(chosen, rejected, strict=True):
        total = total - torch.log(1 / (1 + torch.exp(other - one)))
        if loss.name == TAP:
            for reward in (one, other):
                over = torch.maximum(torch.zeros(()), torch.abs(reward) - loss.limit)
                total = total + loss.weight * over**2
        if loss.name == GAUSS:
            total = total + loss.weight * torch.stack([one, other]).pow(2).mean()
    return total / len(chosen)


@pytest.mark.parametrize("name", LOSSES)
@given(pairs=REWARDS, weight=st.floats(0, 2), limit=st.floats(0, 8))
def test_value_and_gradient_are_those_of_the_formula(
    name: str, pairs: list[tuple[float, float]], weight: float, limit: float
) -> None:
    loss = Loss.of(name, None if name == BT else weight, limit if name == TAP else None)
    found, wanted = (torch.tensor(pairs, dtype=torch.float64, requires_grad=True) for _ in range(2))
    value = pair_losses(found[:, 0], found[:, 1], loss).mean()
    expected = formula(wanted[:, 0], wanted[:, 1], loss)
    value.backward()
    expected.backward()
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)
    kink = (found.detach().abs() - limit).abs() < 1e-9  # where h has no second derivative, but the same slope of 0
    assert found.grad is not None
    assert wanted.grad is not None
    torch.testing.assert_close(found.grad[~kink], wanted.grad[~kink], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_in_closed_form(name: str) -> None:
    loss = Loss.of(name)
    chosen, rejected = -6.5, 7.25
    rewards = torch.tensor([[chosen, rejected]], dtype=torch.float64, requires_grad=True)
    pair_losses(rewards[:, 0], rewards[:, 1], loss).sum().backward()
    pull = 1 / (1 + math.exp(chosen - rejected))
    own = {BT: (0, 0), TAP: (2 * 0.05 * -1.5, 2 * 0.05 * 2.25), GAUSS: (0.1 * chosen, 0.1 * rejected)}[name]
    assert rewards.grad is not None
    assert rewards.grad[0].tolist() == pytest.approx([own[0] - pull, own[1] + pull], rel=1e-12)


def test_far_rewards_of_opposite_sign_are_held_back_which_their_sum_does_not_tell() -> None:
    rewards = torch.tensor([8.0], dtype=torch.float64), torch.tensor([-8.0], dtype=torch.float64)
    plain = pair_losses(*rewards, Loss.of(BT)).item()
    assert pair_losses(*rewards, Loss.of(TAP, 1.0)).item() - plain == pytest.approx(18)
    assert pair_losses(*rewards, Loss.of(GAUSS, 1.0)).item() - plain == pytest.approx(64)


@pytest.mark.parametrize("name", LOSSES)
def test_rewards_far_apart_are_finite(name: str) -> None:
    rewards = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    loss = pair_losses(rewards[:, 0], rewards[:, 1], Loss.of(name)).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert rewards.grad is not None
    assert torch.isfinite(rewards.grad).all()


def test_constants_are_the_papers_where_none_are_given() -> None:
    assert Loss.of(TAP) == Loss(TAP, 0.05, 5.0)
    assert Loss.of(GAUSS).to_dict() == {"name": "gauss", "weight": 0.1}
    assert Loss.of(BT, lm_weight=0.1).to_dict() == {"name": "bt", "lm_weight": 0.1}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": BT, "weight": 0.1}, "--loss-weight 0.1 has no effect on --loss bt"),
        ({"name": GAUSS, "limit": 5.0}, "--loss-limit 5 has no effect on --loss gauss"),
        ({"name": TAP, "weight": -1.0}, "--loss-weight -1.0: use a number of 0 or more"),
        ({"name": TAP, "limit": math.nan}, "--loss-limit nan: use a number of 0 or more"),
        ({"name": BT, "lm_weight": math.inf}, "--lm-weight inf: use a number of 0 or more"),
    ],
)
def test_constants_without_effect_or_sense_are_refused(options: dict[str, float], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Loss.of(**options)  # type: ignore[arg-type]
