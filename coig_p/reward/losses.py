"""What a reward model is trained on: how wrong it is on pairs, from the rewards of their responses. Needs torch.

    bt      -log sigmoid(r_chosen - r_rejected)
    tap     bt + weight * (h(r_chosen) + h(r_rejected)), h(r) = max(0, |r| - limit)^2     TaP, equations 1 and 2
    gauss   bt + weight * (r_chosen^2 + r_rejected^2) / 2                                 CheemsPreference

Each is a mean over pairs. A response that is in several pairs counts in each of them, in `gauss` too, so that it makes
no difference whether a response went through the model once, or once a pair. TRL's center_rewards_coefficient, the
mean of (r_chosen + r_rejected)^2, is none of these: at rewards of 8 and -8 it is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from coig_p.errors import UsageError

if TYPE_CHECKING:
    import torch

BT, TAP, GAUSS = "bt", "tap", "gauss"
LOSSES = (BT, TAP, GAUSS)
WEIGHTS: Mapping[str, float] = {TAP: 0.05, GAUSS: 0.1}
"""What the papers weigh their second term with; TaP .01 for small sets."""
LIMIT = 5.0
_NO_LM = ("lm_weight", 0)


@dataclass(frozen=True)
class Loss:
    """A loss and its constants.

    Attributes:
        name: one of LOSSES.
        weight: of the second term; None where there is none.
        limit: of |r|, below which `tap` adds nothing; None for the others.
        lm_weight: of the next-token loss on chosen responses, which keeps a language model usable; 0 leaves it out.
    """

    name: str = BT
    weight: float | None = None
    limit: float | None = None
    lm_weight: float = 0.0

    @classmethod
    def of(cls, name: str, weight: float | None = None, limit: float | None = None, lm_weight: float = 0.0) -> Loss:
        """A loss with the papers' constants where none are given.

        Raises:
            UsageError: a constant that the loss does not have, or a number below 0.
        """
        for option, value, names in (("weight", weight, WEIGHTS), ("limit", limit, (TAP,))):
            if value is not None and name not in names:
                raise UsageError(f"--loss-{option} {value:g} has no effect on --loss {name}: leave it out")
        for option, value in (("loss-weight", weight), ("loss-limit", limit), ("lm-weight", lm_weight)):
            if value is not None and not 0 <= value < float("inf"):
                raise UsageError(f"--{option} {value}: use a number of 0 or more")
        weight = WEIGHTS.get(name) if weight is None else weight
        return cls(name, weight, LIMIT if name == TAP and limit is None else limit, lm_weight)

    def to_dict(self) -> dict[str, Any]:
        """As a record has it: what is not in effect is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None and (name, value) != _NO_LM}


def pair_losses(chosen: torch.Tensor, rejected: torch.Tensor, loss: Loss) -> torch.Tensor:
    """The loss of each pair, without what a language model adds.

    Args:
        chosen, rejected: rewards of M pairs, in float32 or float64.

    Returns:
        M.
    """
    from torch.nn.functional import logsigmoid

    found, weight = -logsigmoid(chosen - rejected), loss.weight or 0.0
    if loss.name == TAP:
        found = found + weight * (_beyond(chosen, loss.limit) + _beyond(rejected, loss.limit))
    elif loss.name == GAUSS:
        found = found + weight * (chosen.square() + rejected.square()) / 2
    return found


def _beyond(reward: torch.Tensor, limit: float | None) -> torch.Tensor:
    assert limit is not None
    return (reward.abs() - limit).clamp(min=0).square()
