"""The floor of reward models: Bradley-Terry over cheap features and hashed n-grams, fitted to one store, no download.

The reward of a response is a weighted sum of its features (see `coig_p.reward.text_features`), and

    P(chosen beats rejected) = sigmoid(reward(chosen) - reward(rejected)).

The weights maximise the likelihood of the pairs with a Gaussian prior, so they are the only ones; the gradient is
taken at responses, not at pairs, so that pairs cost next to nothing. What depends on the prompt alone cancels.

It is a floor: what a benchmark's or a store's labels let anybody see without understanding a word. On models that it
never saw it is hardly better than length, and on another store it may be worse than nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from coig_p.core.arrays import Floats, Index
from coig_p.errors import DataError
from coig_p.reward.descent import minimise
from coig_p.reward.made import NGRAM, TrainedModel, read_trained
from coig_p.reward.scorer import EMPTY, Asked, Scored
from coig_p.reward.text_features import CHEAP, HEAD, NGRAMS, features

WEIGHTS = "weights.npy"
BASE = "builtin:ngram"
FEATURES = {"version": 1, "cheap": list(CHEAP), "ngrams": NGRAMS, "head": HEAD}
"""What a record says of the features: with others a model's weights mean nothing."""

_STEPS = 200
_ROWS = 4096
AT_REST = 1e-4
"""Fitting ends where a step makes the loss less by no more than this share of it."""
_SIZE = 1 + len(CHEAP) + NGRAMS


@dataclass(frozen=True)
class Examples:
    """Responses as a model sees them.

    Attributes:
        cheap: (N, K) features.
        grams: (N, NGRAMS) hashed n-grams.
    """

    cheap: Floats
    grams: csr_matrix

    @classmethod
    def of(cls, texts: Sequence[str], prompts: Sequence[str]) -> Examples:
        """The features of responses to prompts."""
        return cls(*features(texts, prompts))

    def with_column(self, values: Floats) -> Examples:
        """With one more cheap feature, the last."""
        return Examples(np.concatenate([self.cheap, values[:, None]], 1), self.grams)


@dataclass(frozen=True)
class Weights:
    """A fitted model.

    Attributes:
        offset: added to every reward: the mean reward of the responses that it was fitted on is 0.
        cheap: (K,) of the features as they are.
        grams: (NGRAMS,).
    """

    offset: float
    cheap: Floats
    grams: Floats

    def rewards(self, of: Examples) -> Floats:
        """(N,): of each response. A row is summed by itself, so that it does not depend on the others."""
        found = (of.cheap * self.cheap).sum(1) + self.offset
        for begin in range(0, len(found), _ROWS):  # float64 of all would be twice what they take
            some = slice(begin, begin + _ROWS)
            found[some] += of.grams[some].astype(np.float64) @ self.grams
        return np.asarray(found)

    def save(self, path: Path) -> None:
        """Write the weights: the same bytes for the same weights."""
        with path.open("wb") as stream:
            np.save(stream, np.concatenate([[self.offset], self.cheap, self.grams]))

    @classmethod
    def load(cls, path: Path) -> Weights:
        """Read them.

        Raises:
            DataError: the file cannot be read, or holds something else.
        """
        try:
            found = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path}: the weights cannot be read: {error}") from None
        if not isinstance(found, np.ndarray) or found.shape != (_SIZE,) or found.dtype != np.float64:
            raise DataError(f"{path}: not {_SIZE:,} numbers of float64: train again")
        values = np.array(found)
        if not np.isfinite(values).all():
            raise DataError(f"{path}: a weight is no finite number: train again")
        return cls(float(values[0]), values[1 : 1 + len(CHEAP)], values[1 + len(CHEAP) :])


def fit(
    examples: Examples,
    chosen: Index,
    rejected: Index,
    *,
    penalty: float,
    ngram_scale: float,
    at_rest: float = AT_REST,
    start: Floats | None = None,
) -> tuple[Weights, Floats]:
    """Fit the weights to pairs.

    Args:
        examples: responses; those in no pair say nothing.
        chosen, rejected: of each pair the place of its two responses.
        penalty: half of it times the sum of squared weights, of features with standard deviation 1 and n-grams times
            `ngram_scale`, is added to the sum of the pairs' losses.
        start: what an earlier fit gave beside its weights, to be sooner done.

    Returns:
        The weights, and what another fit may start from.
    """
    used = np.zeros(len(examples.cheap), bool)
    used[chosen] = used[rejected] = True
    middle, spread = examples.cheap[used].mean(0), examples.cheap[used].std(0)
    spread[spread < 1e-9] = 1  # it says nothing here
    cheap = (examples.cheap - middle) / spread
    grams, back = examples.grams, examples.grams.T
    number, columns, pairs = len(cheap), cheap.shape[1], max(len(chosen), 1)

    def rewards(weights: Floats) -> Floats:
        sums = np.einsum("ij,j->i", cheap, weights[:columns])  # no BLAS, whose sums depend on how many threads it has
        return np.asarray(sums + ngram_scale * (grams @ weights[columns:].astype(np.float32)))

    def loss(weights: Floats) -> tuple[float, Floats]:
        reward = rewards(weights)
        difference = reward[chosen] - reward[rejected]
        value = np.logaddexp(0, -difference).sum() + penalty / 2 * (weights * weights).sum()
        push = 1 / (1 + np.exp(np.clip(difference, -500, 500)))
        at = np.bincount(rejected, push, number) - np.bincount(chosen, push, number)
        slope = np.concatenate([np.einsum("ij,i->j", cheap, at), ngram_scale * (back @ at.astype(np.float32))])
        return value / pairs, (slope + penalty * weights) / pairs

    first = np.zeros(columns + grams.shape[1]) if start is None else start
    found = minimise(loss, first, steps=_STEPS, at_rest=at_rest)
    own = found[:columns] / spread
    fitted = Weights(0.0, own, ngram_scale * found[columns:])
    return Weights(-float(fitted.rewards(examples)[used].mean()), own, fitted.grams), found


class NgramScorer:
    """A trained floor as a `coig_p.reward.scorer.Scorer`. Characters stand for tokens; nothing is ever too long."""

    def __init__(self, folder: str | Path) -> None:
        """Read a folder that `coigp reward train --model builtin:ngram` wrote.

        Raises:
            DataError: it is none, or a file of it is damaged; names it.
        """
        self.folder = Path(folder)
        self.trained = read_trained(self.folder)
        _check_features(self.folder, self.trained)
        self.weights = Weights.load(self.folder / WEIGHTS)

    def describe(self) -> dict[str, Any]:
        """What it is, as JSON."""
        return {
            "kind": NGRAM,
            "name": self.folder.resolve().name,
            "revision": None,
            "sha256": self.trained.files[WEIGHTS],
            "template_sha256": None,
            "dtype": "float64",
            "max_length": None,
            "truncate": None,
            "base": self.trained.base,
            "trained_on": dict(self.trained.store),
        }

    def length(self, asked: Asked) -> int:
        """Characters of the response."""
        return len(asked.response)

    def score(self, asked: Sequence[Asked]) -> list[Scored]:
        """One batch."""
        found = self.weights.rewards(Examples.of([one.response for one in asked], [prompt_of(one) for one in asked]))
        return [
            Scored(reward, None, None) if one.response.strip() else Scored(None, EMPTY, None)
            for one, reward in zip(asked, found.tolist(), strict=True)
        ]

    def close(self) -> None:
        """Nothing is held."""


def prompt_of(asked: Asked) -> str:
    """What is asked, as one text: the contents of all turns."""
    return "\n".join(str(turn["content"]) for turn in asked.messages)


def _check_features(folder: Path, trained: TrainedModel) -> None:
    if trained.kind != NGRAM:
        raise DataError(f"{folder}: a reward model of kind {trained.kind!r}, not {NGRAM!r}")
    if WEIGHTS not in trained.files:
        raise DataError(f"{folder}: its record lists no {WEIGHTS}: train again")
    if trained.training.get("features") != FEATURES:
        raise DataError(f"{folder}: made with other features than this version's, by {trained.tool}: train again")
