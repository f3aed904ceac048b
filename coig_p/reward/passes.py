"""A forward pass: what goes into the model, and the loss that comes of it. Needs torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from coig_p.reward.losses import Loss, pair_losses
from coig_p.reward.steps import Forward
from coig_p.reward.tokens import Tokens
from coig_p.reward.transformer import padded


def inputs_of(forward: Forward, tokens: Tokens, pad: int, loss: Loss) -> dict[str, torch.Tensor]:
    """N responses as (N, T), and M pairs as places in them; with a language model's loss, which tokens it foretells."""
    ids, mask = padded([tokens.of(at) for at in forward.responses.tolist()], pad)
    found = {"input_ids": ids, "attention_mask": mask}
    if loss.lm_weight:
        answers = np.zeros(ids.shape, bool)
        for row in np.unique(forward.chosen).tolist():
            at = int(forward.responses[row])
            answers[row, tokens.begins[at] : len(tokens.of(at))] = True
        found["answers"] = torch.from_numpy(answers)
    return found | {"chosen": torch.from_numpy(forward.chosen), "rejected": torch.from_numpy(forward.rejected)}


def summed_loss(model: Any, inputs: dict[str, torch.Tensor], loss: Loss) -> tuple[torch.Tensor, int]:
    """The loss of a forward pass, summed over its pairs, and how many of them are right."""
    rewards, foretold = model(inputs["input_ids"], inputs["attention_mask"], inputs.get("answers"))
    chosen, rejected = rewards[inputs["chosen"]], rewards[inputs["rejected"]]
    total = pair_losses(chosen, rejected, loss).sum()
    if foretold is not None:
        total = total + loss.lm_weight * foretold[inputs["chosen"]].sum()
    return total, int((chosen > rejected).sum())
