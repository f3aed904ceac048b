"""One way to every scorer: a model's folder, a model on the Hub, the floor of n-grams, or a server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coig_p.errors import UsageError
from coig_p.reward.batching import TOKENS_PER_BATCH
from coig_p.reward.scorer import DTYPES, SERVERS, Scorer

_ENDS = ("left",)
FAULTS: Mapping[str, str] = {
    "head-of-body": "the head works in the body's dtype, so that rewards near each other are one",
    "newline-read": "the reward is read off the newline behind a conversation, where the template has one",
    "cut-at-2048": "what is beyond 2,048 tokens is cut, which is the end of the response",
}
"""Of benchmarks' own code where it runs a reward model, in words."""
_ALWAYS = ("head-of-body", "newline-read")
OFFICIAL: Mapping[str, tuple[str, ...]] = {
    "crbench": _ALWAYS,
    "cheems": _ALWAYS,
    "rewardbench": (*_ALWAYS, "cut-at-2048"),
    "rewardbench2": (*_ALWAYS, "cut-at-2048"),
    "rm-bench": (*_ALWAYS, "cut-at-2048"),  # whose code is RewardBench's
}
"""Which of them the code of a preset has."""
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "head-of-body": {"head": "body"},
    "newline-read": {"strip": False},
    "cut-at-2048": {"truncate": "right", "cap": 2048},
}


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

    model: str | None = field(
        default=None, metadata={"help": "Who scores: a reward model's folder, or its id on the Hub, as org/name."}
    )
    server: str | None = field(default=None, metadata={"help": "Who scores: the address of a server."})
    kind: str | None = field(default=None, metadata={"help": "What the server is. Default: vllm.", "choices": SERVERS})
    served: str | None = field(
        default=None, metadata={"help": "What the server calls its model. Default: the first that it lists."}
    )
    key_env: str | None = field(default=None, metadata={"help": "The variable that holds the server's token."})
    concurrency: int | None = field(default=None, metadata={"help": "Requests in flight. Default: 16."})
    revision: str | None = field(default=None, metadata={"help": "Of a model on the Hub. Default: its newest."})
    template: str | None = field(
        default=None,
        metadata={"help": "A file with a chat template, or a folder that has one. Default: the model's own."},
    )
    device: str | None = field(default=None, metadata={"help": "cpu, cuda, cuda:1, ... Default: a GPU, if there is."})
    dtype: str | None = field(
        default=None,
        metadata={"help": "Of the model's body. Default: bfloat16 on a GPU, else float32.", "choices": DTYPES},
    )
    max_length: int | None = field(
        default=None, metadata={"help": "Most tokens of a conversation. Default: what the model reads."}
    )
    truncate: str | None = field(
        default=None,
        metadata={"help": "Cut longer ones at this end. Default: they are not scored, and counted.", "choices": _ENDS},
    )
    tokens_per_batch: int = field(default=TOKENS_PER_BATCH, metadata={"help": "Tokens of a batch, padding counted."})

    def __post_init__(self) -> None:
        if (self.model is None) == (self.server is None):
            raise UsageError("name who scores: a model or a server, one of the two")
        if self.model is not None and not self.model.strip():
            raise UsageError("--model is empty: name a folder, or a model on the Hub, as org/name")
        if self.truncate not in (None, *_ENDS):
            raise UsageError(f"truncate={self.truncate!r}: use left, or leave it out")
        if self.tokens_per_batch < 1:
            raise UsageError(f"tokens_per_batch={self.tokens_per_batch}: use 1 or more")
        of_other, given = (_OF_SERVERS, "model") if self.server is None else (_OF_MODELS, "server")
        self.refuse(of_other, f"has no effect on a {given}")

    def refuse(self, names: tuple[str, ...], why: str) -> None:
        """Raise UsageError where one of these options is given."""
        for name in names:
            if getattr(self, name) is not None:
                raise UsageError(f"{name}={getattr(self, name)!r} {why}. Leave it out.")


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
    from coig_p.reward.made import NGRAM, is_trained, read_trained

    if is_trained(config.model) and read_trained(config.model, check_files=False).kind == NGRAM:
        from coig_p.reward.ngram import NgramScorer

        config.refuse((*_OF_MODELS, "template", "max_length"), "has no effect on a model of n-grams")
        if official is not None:
            raise UsageError("official has no effect on a model of n-grams. Leave it out.")
        return NgramScorer(config.model)
    if Path(config.model).is_dir():
        config.refuse(("revision",), f"has no effect on a folder, and {config.model} is one")
    from coig_p.reward.local_model import LocalModel, ModelConfig

    options = _given(config, ModelConfig.__dataclass_fields__)
    if official is not None:
        if official not in OFFICIAL:
            raise UsageError(f"official: {official} has no way of its own with reward models. Leave it out.")
        config.refuse(("truncate", "max_length"), "beside official, which says it")
        for fault in OFFICIAL[official]:
            options |= _OPTIONS[fault]
    return LocalModel(config.model, ModelConfig(**options))


def _given(config: ScorerConfig, names: Iterable[str]) -> dict[str, Any]:
    """Those options that somebody gave."""
    named = {name: getattr(config, name, None) for name in names}
    return {name: value for name, value in named.items() if value is not None}
