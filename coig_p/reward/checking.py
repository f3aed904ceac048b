"""Some responses scored once more, each alone, and compared: by transformers itself where it can be.

What it finds: padding that is read, a last token that is none, a server that squashes or pools elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from coig_p.core.text import printable
from coig_p.errors import DataError
from coig_p.reward.local_model import LocalModel, ModelConfig
from coig_p.reward.opening import ScorerConfig
from coig_p.reward.scorer import Asked, Scored, Scorer
from coig_p.reward.templates import ids_of

EXACT, COARSE = 0.001, 0.05
"""How far two rewards may lie apart, of the larger of 1 and their size: in float32, and with bfloat16 in between."""

TRANSFORMERS, ITSELF = "transformers", "itself"
_SHOWN = 40  # characters of a response

Alone = Callable[[Asked], float | None]
"""The reward of one response, asked alone."""


@dataclass(frozen=True)
class Compared:
    """What came of it.

    Attributes:
        responses: how many were compared.
        against: TRANSFORMERS, or ITSELF: the same scorer, asked for each alone.
        largest: how far two rewards lie apart at most; 0 where none was compared.
        allowed: how far they may, of the larger of 1 and the reward's size.
    """

    responses: int
    against: str
    largest: float
    allowed: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def compare_alone(some: Sequence[tuple[Asked, Scored]], alone: Alone, against: str, allowed: float = EXACT) -> Compared:
    """Compare rewards with what each is alone.

    Args:
        some: responses with a reward.

    Raises:
        DataError: two rewards lie further apart than is allowed; names the first.
    """
    largest = 0.0
    for asked, said in some:
        assert said.reward is not None
        reward = alone(asked)
        shown = printable(asked.response[:_SHOWN]).replace("\n", " ")
        if reward is None:
            raise DataError(f"the check found a response that has no reward alone, and {said.reward:g} here: {shown!r}")
        apart = abs(reward - said.reward)
        if not apart <= allowed * max(1.0, abs(reward)):
            raise DataError(
                f"the check found a response that is given {said.reward:g}, and alone, by {against}, {reward:g}: "
                f"{shown!r}. Nothing was written. Look at the template, at the length, at the token that is read where "
                "padding and the end of a turn are one, and whether a server has a sigmoid on"
            )
        largest = max(largest, apart)
    return Compared(len(some), against, largest, allowed)


def by_itself(scorer: Scorer) -> Alone:
    """The same scorer, asked for one at a time."""
    return lambda asked: scorer.score([asked])[0].reward


def allowed_of(described: Mapping[str, Any]) -> float:
    """How far rewards of a scorer may lie apart: a server does not say in which type it works."""
    return EXACT if described["kind"] == "ngram" or described["dtype"] == "float32" else COARSE


class Plainly:
    """Rewards as transformers itself gives them: one conversation at a time, so that nothing is padded.

    Args:
        name: of a model, as `LocalModel` takes it; raises as that does.
        config: how it is run; its head works in the body's dtype, as transformers has it.
    """

    def __init__(self, name: str, config: ModelConfig) -> None:
        self._loaded = LocalModel(name, replace(config, head="body"))
        self._config = config
        for one in (self._loaded.model.config, self._loaded.model.config.get_text_config()):
            one.pad_token_id = None  # else what stands before a last token like it would be read

    def __call__(self, asked: Asked) -> float | None:
        """The reward of one; None where there is nothing to read."""
        import torch

        ids = ids_of(self._loaded.tokenizer, asked.conversation, strip=self._config.strip)
        if self._config.max_length is not None and self._config.truncate == "left":
            ids = ids[-self._config.max_length :]
        if not ids:
            return None
        with torch.inference_mode():
            row = torch.tensor([ids], device=self._loaded.device)
            return float(self._loaded.model(input_ids=row).logits[0, 0])


def plainly(config: ScorerConfig, described: Mapping[str, Any], model: str | None = None) -> Plainly:
    """What transformers makes of the model that a scorer is, or that is behind a server.

    Args:
        described: what the scorer says of itself.
        model: of a server: what it runs.
    """
    name = model if model is not None else config.model
    assert name is not None
    own = ModelConfig(
        revision=config.revision,
        device=config.device or "auto",
        template=config.template,
        dtype=described["dtype"] or "float32",
        max_length=described["max_length"],
        truncate=described["truncate"],
        strip=bool(described.get("strip", True)),
    )
    return Plainly(name, own)
