"""What is read in a model's answers in a TaP run."""

from __future__ import annotations

from typing import NamedTuple

Four = tuple[float, float, float, float]
"""Relevance, correctness, clarity, completeness."""


class QuestionType(NamedTuple):
    """A kind of question in a subject, with what it is about in a line."""

    name: str
    description: str


class TypesRead(NamedTuple):
    """Question types in their order, repeated ones too; none, with a reason, where nothing can be read.

    Attributes:
        unread: what should be an item and is none; then nothing is read.
    """

    types: tuple[QuestionType, ...]
    reason: str | None
    unread: int = 0


class Read(NamedTuple):
    """A text, or why there is none."""

    text: str | None
    reason: str | None


class PromptRead(NamedTuple):
    """A prompt, or why there is none."""

    prompt: str | None
    reason: str | None


class CompletenessRead(NamedTuple):
    """Whether a prompt lacks what it needs, and where it does the one in its place; or why neither can be read."""

    lacks: bool | None
    prompt: str | None
    reason: str | None


class FeasibleRead(NamedTuple):
    """Whether a text-only model can do what a prompt asks, after its reasons; or why it cannot be read."""

    feasible: bool | None
    reasons: str
    reason: str | None


class EightRead(NamedTuple):
    """Scores of the response that stood first and of the other one; or why the answer is invalid."""

    first: Four | None
    second: Four | None
    reason: str | None
