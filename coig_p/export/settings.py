"""What two papers train with: the numbers of `docs/recipes` and of the configs beside an export.

COIG-P, appendix on training: DPO with beta .1 for one epoch, at 1e-6 for Qwen2 and Qwen2.5, at 1e-7 for other models;
cosine, warm-up and length are those of its published script. Its reward model is CRM's. TaP, appendix D.1: DPO with
beta .01 for two epochs at 2e-7, PPO with 1e-6 for the policy and 5e-6 for the critic, both cosine after 50 steps.
Where a paper gives no number it is ours, and said to be below.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from coig_p.errors import UnknownNameError


@dataclass(frozen=True)
class Settings:
    """Of one way of training.

    Attributes:
        learning_rate: at its highest.
        epochs: how often every row is seen.
        schedule: how the learning rate falls.
        warmup: a share of the steps where it is below 1, else steps.
        max_length: tokens of a prompt and its response.
        beta: of DPO and KTO, how close the policy is held to what it was.
        weight_decay: of AdamW.
    """

    learning_rate: float
    epochs: int
    schedule: str = "cosine"
    warmup: float = 0.1
    max_length: int = 4096
    beta: float = 0.1
    weight_decay: float = 0.0

    def warmup_ratio(self, steps: int) -> float:
        """The warm-up as a share of so many steps, 1 at most."""
        return self.warmup if self.warmup < 1 else min(1.0, self.warmup / max(1, steps))


@dataclass(frozen=True)
class Reinforcement:
    """Of PPO, and of GRPO, which has no critic.

    Attributes:
        kl: the coefficient of the KL divergence; the paper's other one is `kl_too`.
        prompt_length, response_length: tokens at most; no paper gives them.
    """

    learning_rate: float = 1e-6
    critic_learning_rate: float = 5e-6
    kl: float = 0.05
    kl_too: float = 0.01
    epochs: int = 2
    schedule: str = "cosine"
    warmup: int = 50
    prompt_length: int = 2048
    response_length: int = 1024


@dataclass(frozen=True)
class Preset:
    """The numbers of a paper.

    Attributes:
        dpo: of DPO and KTO.
        other_rate: of DPO too, and when.
        reward: of a reward model.
        sft: no paper gives these numbers: ours.
        ppo: COIG-P trains no PPO, so that both have TaP's.
    """

    name: str
    dpo: Settings
    other_rate: str
    reward: Settings
    sft: Settings
    ppo: Reinforcement = Reinforcement()


_CRM = Settings(2e-6, 1, warmup=0.03, weight_decay=0.001)
_SFT = Settings(1e-5, 1)
COIG_P, TAP = "coig-p", "tap"
PRESETS: Mapping[str, Preset] = {
    COIG_P: Preset(
        COIG_P, Settings(1e-6, 1, max_length=6000), "1e-7 where the model is no Qwen2 or Qwen2.5", _CRM, _SFT
    ),
    TAP: Preset(TAP, Settings(2e-7, 2, warmup=50, beta=0.01), "the paper takes 3 epochs for small sets", _CRM, _SFT),
}
"""By the names that `--preset` takes."""


def preset_of(name: str | None) -> Preset:
    """A preset by name; None is COIG-P's.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if name is not None and name not in PRESETS:
        raise UnknownNameError("preset", name, PRESETS)
    return PRESETS[name or COIG_P]


def steps_of(rows: int, batch: int, epochs: int) -> int:
    """Steps of all epochs of so many rows, of which the last may be smaller."""
    return epochs * math.ceil(rows / batch)
