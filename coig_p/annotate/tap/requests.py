"""What a TaP run asks before there are queries: types, their refinement, prompts and their two checks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from coig_p.annotate.asking.ledger import ANSWERED, INVALID
from coig_p.annotate.asking.message import Message, usable_text
from coig_p.annotate.asking.request import Messages, Outcome, Request, user_message
from coig_p.annotate.config import EndpointConfig, RunConfig
from coig_p.annotate.tap.parsing import (
    CompletenessRead,
    EightRead,
    FeasibleRead,
    PromptRead,
    QuestionType,
    Read,
    TypesRead,
    parse_completeness,
    parse_eight,
    parse_feasible,
    parse_prompt,
    parse_refined,
    parse_types,
)
from coig_p.annotate.tap.types import query_id
from coig_p.annotate.taxonomy.config import COMPARE, COMPLETE, FEASIBLE, PROMPT, REFINE, TYPES
from coig_p.annotate.taxonomy.prompts import TapPrompts
from coig_p.annotate.taxonomy.tree import Subject
from coig_p.annotate.taxonomy.words import Words

_Parse = Callable[[str, Words], TypesRead | Read | PromptRead | CompletenessRead | FeasibleRead | EightRead]

PARSERS: dict[str, _Parse] = {
    TYPES: parse_types,
    REFINE: parse_refined,
    PROMPT: parse_prompt,
    COMPLETE: parse_completeness,
    FEASIBLE: parse_feasible,
    COMPARE: parse_eight,
}
"""What reads an answer, for each kind that a TaP run asks for beside responses."""


def texts_of(config: RunConfig) -> TapPrompts:
    """The words of a TaP run."""
    assert config.tap is not None
    return config.tap.texts


def read_kind(message: Message, *, kind: str, words: Words) -> Outcome:
    """What an answer to one of these kinds says: usable where it is whole and its parser finds what was asked for."""
    text, reason = usable_text(message)
    if text is None:
        return Outcome(INVALID, reason)
    if message.cut:
        return Outcome(INVALID, f"cut: {message.cut}")
    reason = PARSERS[kind](text, words).reason
    return Outcome(ANSWERED, None, text) if reason is None else Outcome(INVALID, reason, text)


def types_request(
    config: RunConfig, writer: EndpointConfig, subject: Subject, number: int, messages: Messages
) -> Request:
    """A round of a subject's types; `number` counts from 1."""
    return _request(config, TYPES, writer, subject, f"{writer.name}/{subject.code}/{number}", messages)


def refine_request(config: RunConfig, writer: EndpointConfig, subject: Subject, one: QuestionType) -> Request:
    """A type's description, to be rewritten."""
    messages = (user_message(texts_of(config).refine(subject, *one)),)
    return _request(config, REFINE, writer, subject, query_id(writer.name, subject, one.name, 0), messages)


def prompt_request(
    config: RunConfig,
    writer: EndpointConfig,
    subject: Subject,
    one: QuestionType,
    number: int,
    messages: Messages,
) -> Request:
    """A candidate of a type; `number` counts from 1."""
    return _request(config, PROMPT, writer, subject, query_id(writer.name, subject, one.name, number), messages)


def complete_request(
    config: RunConfig,
    writer: EndpointConfig,
    subject: Subject,
    one: QuestionType,
    number: int,
    messages: Messages,
) -> Request:
    """Whether a candidate lacks what it needs."""
    return _request(config, COMPLETE, writer, subject, query_id(writer.name, subject, one.name, number), messages)


def feasible_request(
    config: RunConfig,
    checker: EndpointConfig,
    writer: EndpointConfig,
    subject: Subject,
    one: QuestionType,
    number: int,
    prompt: str,
) -> Request:
    """Whether a model of texts alone could do what a candidate asks for."""
    messages = (user_message(texts_of(config).feasible(prompt)),)
    about = query_id(writer.name, subject, one.name, number)
    return _request(config, FEASIBLE, checker, subject, about, messages, author=writer.name)


def _request(
    config: RunConfig,
    kind: str,
    endpoint: EndpointConfig,
    subject: Subject,
    about: str,
    messages: Messages,
    author: str | None = None,
) -> Request:
    return Request(
        endpoint,
        kind=kind,
        domain=subject.domain,
        query_id=about,
        messages=messages,
        parameters=endpoint.judge_parameters if kind == FEASIBLE else endpoint.parameters,
        read=partial(read_kind, kind=kind, words=texts_of(config).words),
        author=author,
        asks=config.judging.asks,
        recipe=config.recipes[kind, subject.domain, endpoint.name],
        again=texts_of(config).again(kind),
    )
