"""Whole queries have the gradient of their pairs as rows, and both that of the formula, in float64."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from coig_p.reward.losses import GAUSS, LOSSES, TAP, Loss
from coig_p.reward.passes import inputs_of, summed_loss
from coig_p.reward.steps import BATCHES, PairArrays, steps_of
from coig_p.reward.tokens import Tokens
from coig_p.reward.transformer import RewardModel

torch.set_num_threads(1)
WORDS, WIDTH = 11, 5


class Body(nn.Module):
    """What a token and those before it come to, in float64 throughout."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.mixed = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, WIDTH)

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, use_cache: bool) -> Any:
        seen = torch.cumsum(self.embedding(input_ids), 1) / torch.arange(1, input_ids.shape[1] + 1)[:, None]
        return SimpleNamespace(last_hidden_state=torch.tanh(self.mixed(seen)))


class Classifier(nn.Module):
    base_model_prefix = "body"

    def __init__(self) -> None:
        super().__init__()
        self.body, self.score = Body(), nn.Linear(WIDTH, 1, bias=False)


def model_of(tied: bool) -> RewardModel:
    torch.manual_seed(0)
    model = RewardModel(Classifier(), None if tied else nn.Linear(WIDTH, WORDS, bias=False), tied=tied).double()
    model.classifier.score.weight.data *= 20  # rewards beyond the limit
    return model


@st.composite
def data(draw: st.DrawFn) -> tuple[PairArrays, Tokens]:
    conversations: list[list[int]] = []
    begins, query, chosen, rejected = [], [], [], []
    names = draw(st.integers(1, 4))
    for number in range(names):
        size = draw(st.integers(2, 4))
        for _ in range(size):
            conversations.append(draw(st.lists(st.integers(0, WORDS - 1), min_size=2, max_size=8)))
            begins.append(draw(st.integers(1, len(conversations[-1]) - 1)))
        places = range(len(conversations) - size, len(conversations))
        possible = [(one, other) for one in places for other in places if one != other]
        pairs = sorted(draw(st.sets(st.sampled_from(possible), min_size=1, max_size=5)))
        query += [number] * len(pairs)
        chosen += [one for one, _ in pairs]
        rejected += [other for _, other in pairs]
    starts = np.cumsum([0] + [len(one) for one in conversations])
    tokens = Tokens(np.array(sum(conversations, []), np.int32), starts, np.array(begins))  # noqa: RUF017
    parts = (np.array(part, np.int64) for part in (query, chosen, rejected))
    return PairArrays(tuple(f"q{at}" for at in range(names)), *parts, lengths=tokens.lengths), tokens


def by_formula(model: RewardModel, pairs: PairArrays, tokens: Tokens, loss: Loss) -> torch.Tensor:
    """Pair by pair, each response by itself, without padding."""
    total = torch.zeros((), dtype=torch.float64)
    words = model.body.embedding.weight if model.lm_head is None else model.lm_head.weight
    for sides in zip(pairs.chosen.tolist(), pairs.rejected.tolist(), strict=True):
        ids = [torch.tensor(tokens.of(at).astype(np.int64)) for at in sides]
        states = [model.body(one[None], None, False).last_hidden_state[0] for one in ids]
        chosen, rejected = (model.classifier.score(one[-1])[0] for one in states)
        total = total - torch.log(torch.sigmoid(chosen - rejected))
        for reward in (chosen, rejected):
            if loss.name == TAP:
                total = total + loss.weight * torch.clamp(reward.abs() - loss.limit, min=0) ** 2
            if loss.name == GAUSS:
                total = total + loss.weight * reward**2 / 2
        if loss.lm_weight:
            spoken = torch.log_softmax(states[0] @ words.T, -1)
            answer = range(int(tokens.begins[sides[0]]), len(ids[0]))
            total = total - loss.lm_weight * torch.stack([spoken[at - 1, ids[0][at]] for at in answer]).mean()
    return total / len(pairs)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", LOSSES)
@settings(deadline=None)
@given(some=data(), most=st.integers(1, 60), lm_weight=st.sampled_from([0, 0.5]), tied=st.booleans())
def test_the_gradient_is_that_of_the_formula(
    batch: str, name: str, some: tuple[PairArrays, Tokens], most: int, lm_weight: float, tied: bool
) -> None:
    pairs, tokens = some
    loss = Loss.of(name, limit=1.0 if name == TAP else None, lm_weight=lm_weight)
    model, other = model_of(tied), model_of(tied)
    (step,) = steps_of(pairs, batch, len(pairs), most, 0, 0)
    for forward in step.forwards:
        (summed_loss(model, inputs_of(forward, tokens, 0, loss), loss)[0] / step.pairs).backward()
    by_formula(other, pairs, tokens, loss).backward()
    for found, wanted in zip(model.parameters(), other.parameters(), strict=True):
        if wanted.grad is None:
            assert found.grad is None
        else:
            torch.testing.assert_close(found.grad, wanted.grad, rtol=1e-9, atol=1e-12)


def test_a_pass_without_a_pair_has_no_gradient() -> None:
    model, nothing = model_of(True), torch.zeros(0, dtype=torch.int64)
    ids = torch.tensor([[1, 2, 3]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "chosen": nothing, "rejected": nothing}
    loss, right = summed_loss(model, inputs, Loss.of(TAP))
    loss.backward()
    assert (loss.item(), right) == (0, 0)
    assert model.classifier.score.weight.grad is not None
    assert not model.classifier.score.weight.grad.any()
