"""What a model's answers say in a TaP run, as a careful reader takes them. What is not certain is not read."""

from __future__ import annotations

from typing import NamedTuple

from coig_p.annotate.taxonomy.words import WORDS, Words

Four = tuple[float, float, float, float]
"""Relevance, correctness, clarity, completeness."""


class QuestionType(NamedTuple):
    """A kind of question in a subject, with what it is about in a line."""

    name: str
    description: str


class TypesRead(NamedTuple):
    """Question types in their order, repeated ones too; none, with a reason, where nothing can be read.

    Attributes:
        unread: items that stand between the quotes and are none, which are left out.
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


def parse_types(text: str, words: Words = WORDS) -> TypesRead:
    """The question types that an answer lists. Reasons: none, malformed, unfinished."""
    raise NotImplementedError


def parse_refined(text: str, words: Words = WORDS) -> Read:
    """A description that was written anew. Reasons: none, unfinished."""
    raise NotImplementedError


def parse_prompt(text: str, words: Words = WORDS) -> PromptRead:
    """The prompt behind its heading. Reasons: no-heading, several, none, answered, unfinished."""
    raise NotImplementedError


def parse_completeness(text: str, words: Words = WORDS) -> CompletenessRead:
    """Whether a prompt lacks input, and the new one. Reasons: none, several, both, no-prompt, unfinished, and a prompt's."""
    raise NotImplementedError


def parse_feasible(text: str, words: Words = WORDS) -> FeasibleRead:
    """The verdict in the last line that is not empty, and what stands above it. Reasons: none, several, unfinished."""
    raise NotImplementedError


def parse_eight(text: str, words: Words = WORDS) -> EightRead:
    """Eight scores from 1 to 10, whole or half, each behind its dimension, those of each response together.

    Reasons: none, missing (fewer than eight), several (one has two values), out-of-range, off-step, malformed,
    unlabelled, unfinished.
    """
    raise NotImplementedError
