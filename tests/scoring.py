"""A scorer for tests: rewards by a rule, with a batch's noise on them, and a record of what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from coig_p.core.arrays import hash64
from coig_p.reward.scorer import EMPTY, TOO_LONG, Asked, Scored


def rule(asked: Asked) -> float:
    """Any number, the same for the same conversation."""
    return (hash64(repr([asked.messages, asked.response])) % 20_001 - 10_000) / 1000


class Fake:
    """Scores by `rule`.

    Args:
        most: characters of a conversation; longer ones have no reward, or are cut with `truncate`.
        noise: how much a reward may move by what else is in its batch.
        before: called with each batch first.
    """

    def __init__(
        self,
        name: str = "fake",
        *,
        most: int = 10**6,
        truncate: str | None = None,
        noise: float = 0.0,
        before: Callable[[Sequence[Asked]], None] = lambda batch: None,
    ) -> None:
        self.name, self.most, self.truncate, self.noise, self.before = name, most, truncate, noise, before
        self.batches: list[list[Asked]] = []
        self.closed = False

    def describe(self) -> dict[str, Any]:
        """As a model has it."""
        return {
            "kind": "model",
            "name": self.name,
            "revision": None,
            "sha256": "0" * 64,
            "template_sha256": "1" * 64,
            "dtype": "float32",
            "max_length": self.most,
            "truncate": self.truncate,
        }

    def length(self, asked: Asked) -> int:
        """Characters."""
        return sum(len(turn["content"]) for turn in asked.messages) + len(asked.response)

    def score(self, asked: Sequence[Asked]) -> list[Scored]:
        """By the rule, moved by how many others there are."""
        self.before(asked)
        self.batches.append(list(asked))
        return [self._scored(one, self.noise * len(asked)) for one in asked]

    def close(self) -> None:
        """Remembered."""
        self.closed = True

    def _scored(self, asked: Asked, noise: float) -> Scored:
        tokens = self.length(asked)
        if not asked.response:
            return Scored(None, EMPTY, tokens)
        if tokens > self.most and self.truncate is None:
            return Scored(None, TOO_LONG, tokens)
        return Scored(rule(asked) + noise, None, tokens, tokens > self.most)
