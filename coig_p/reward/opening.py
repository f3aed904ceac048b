"""One way to every scorer: a model's folder, a model on the Hub, the floor of n-grams, or a server."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from coig_p.errors import UsageError
from coig_p.reward.batching import TOKENS_PER_BATCH
from coig_p.reward.made import NGRAM, is_trained, read_trained
from coig_p.reward.scorer import Scorer


@dataclass(frozen=True)
class ScorerConfig:
    """What scores. Options that do not fit it are refused.

    Attributes:
        model: a folder, or a model's id on the Hub. One of model and server is given.
        revision: of a model on the Hub.
        device, dtype, truncate: of a model of transformers; see `local_model.ModelConfig`.
        server: a URL.
        kind, served, key_env, concurrency: of a server; see `servers.ServerConfig`.
        template: a file with a chat template, or a folder that has one.
        max_length: tokens of a conversation; longer ones are not scored.
        tokens_per_batch: padding counted.
    """

    model: str | None = None
    revision: str | None = None
    device: str | None = None
    dtype: str | None = None
    truncate: Literal["left"] | None = None
    server: str | None = None
    kind: str | None = None
    served: str | None = None
    key_env: str | None = None
    concurrency: int | None = None
    template: str | None = None
    max_length: int | None = None
    tokens_per_batch: int = TOKENS_PER_BATCH

    def __post_init__(self) -> None:
        if (self.model is None) == (self.server is None):
            raise UsageError("name who scores: a model or a server, one of the two")
        if self.tokens_per_batch < 1:
            raise UsageError(f"tokens_per_batch={self.tokens_per_batch}: use 1 or more")
        of_other, given = (_OF_SERVERS, "model") if self.server is None else (_OF_MODELS, "server")
        self.refuse(of_other, f"has no effect on a {given}")

    def refuse(self, names: tuple[str, ...], why: str) -> None:
        """Raise UsageError where one of these options is given."""
        for name in names:
            if getattr(self, name) is not None:
                raise UsageError(f"{name}={getattr(self, name)!r} {why}. Leave it out.")


# How the benchmarks' own code runs a reward model: the head in the body's dtype, the template's text as it is; and
# RewardBench's, whose code RM-Bench has, too, cuts at the end what is beyond 2,048 tokens.
_OFFICIAL: dict[str, dict[str, Any]] = {
    "crbench": {},
    "cheems": {},
    "rewardbench": {"truncate": "right", "max_length": 2048},
    "rewardbench2": {"truncate": "right", "max_length": 2048},
    "rm-bench": {"truncate": "right", "max_length": 2048},
}
_OF_SERVERS = ("kind", "served", "key_env", "concurrency")
_OF_MODELS = ("revision", "device", "dtype", "truncate")


def open_scorer(config: ScorerConfig, *, official: str | None = None) -> Scorer:
    """Open what scores.

    Args:
        official: the preset of a benchmark whose own code's ways are followed, faults included.

    Raises:
        UsageError: an option does not fit, an extra is not installed, or there is no such model.
        DataError: a model's folder is not whole.
        RemoteError: a server, or the Hub, cannot be reached.
    """
    if config.server is not None:
        from coig_p.reward.servers import ServerConfig, ServerScorer

        if official is not None:
            raise UsageError("official: how a server reads a conversation is not ours to say. Leave it out.")
        return ServerScorer(config.server, ServerConfig(**_given(config, ServerConfig.__dataclass_fields__)))
    assert config.model is not None
    if is_trained(config.model) and read_trained(config.model, check_files=False).kind == NGRAM:
        from coig_p.reward.ngram import NgramScorer  # type: ignore[import-not-found]

        config.refuse((*_OF_MODELS, "template", "max_length"), "has no effect on a model of n-grams")
        if official is not None:
            raise UsageError("official has no effect on a model of n-grams. Leave it out.")
        scorer: Scorer = NgramScorer(Path(config.model))
        return scorer
    from coig_p.reward.local_model import LocalModel, ModelConfig

    options = _given(config, ModelConfig.__dataclass_fields__)
    if official is not None:
        if official not in _OFFICIAL:
            raise UsageError(f"official: {official} has no rule of its own for reward models. Leave it out.")
        config.refuse(("truncate", "max_length"), "is what --official says")
        options |= _OFFICIAL[official] | {"head": "body", "strip": False}
    return LocalModel(config.model, ModelConfig(**options))


def _given(config: ScorerConfig, names: Iterable[str]) -> dict[str, Any]:
    """Those options that somebody gave."""
    named = {name: getattr(config, name, None) for name in names}
    return {name: value for name, value in named.items() if value is not None}
