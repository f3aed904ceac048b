"""Conversations of several requests, where a later one holds the answers to the earlier ones.

A chain is a generator: it yields a request, is sent what became of it (answered, or invalid for good), and returns what
it made. It reads no ledger itself, so the same chain serves whoever asks, counts, foresees or reads what there is.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from coig_p.annotate.asking.ledger import ANSWERED, INVALID, Ledger
from coig_p.annotate.asking.request import Messages, Outcome, Request, assistant_message, outcome, user_message
from coig_p.annotate.config import EndpointConfig, RunConfig
from coig_p.annotate.tap.parsing import (
    QuestionType,
    parse_completeness,
    parse_feasible,
    parse_prompt,
    parse_refined,
    parse_types,
)
from coig_p.annotate.tap.requests import (
    complete_request,
    feasible_request,
    prompt_request,
    refine_request,
    texts_of,
    types_request,
)
from coig_p.annotate.tap.types import Candidate
from coig_p.annotate.taxonomy.tree import Subject
from coig_p.core.normalize import comparison_form

Made = TypeVar("Made")
Chain = Generator[Request, Outcome, Made]
"""Yields requests, is sent their outcomes, returns what it made."""


class Round(NamedTuple):
    """A round of types: how many the answer has, and how many of them were new; none where it could not be used."""

    listed: int
    new: int
    usable: bool = True


@dataclass(frozen=True)
class SubjectTypes:
    """The types of a subject by one writer, in the order in which they came.

    Attributes:
        dry: it got no further round, since the last one brought too little that was new.
    """

    types: tuple[QuestionType, ...]
    rounds: tuple[Round, ...]
    dry: bool = False


class Waiting(NamedTuple):
    """A chain that cannot go on: the request that has no outcome yet, and what became of it so far."""

    request: Request
    found: Outcome


def walk(ledger: Ledger, chain: Chain[Made]) -> Made | Waiting:
    """What a chain made, from the ledger; or where it waits."""
    try:
        request = next(chain)
        while True:
            found = outcome(ledger, request)
            if found.state not in (ANSWERED, INVALID):
                return Waiting(request, found)
            request = chain.send(found)
    except StopIteration as end:
        made: Made = end.value
        return made


def types_chain(config: RunConfig, writer: EndpointConfig, subject: Subject) -> Chain[SubjectTypes]:
    """Rounds of types of a subject: each asks for more, and none of those before (TaP, section 3.2)."""
    assert config.tap is not None
    settings, texts = config.tap.taxonomy, texts_of(config)
    if settings.plain:
        return SubjectTypes((QuestionType("", ""),), ())
    known: list[QuestionType] = []
    rounds: list[Round] = []
    messages: Messages = (user_message(texts.types(subject)),)
    for number in range(1, settings.rounds + 1):
        found = yield types_request(config, writer, subject, number, messages)
        if found.state != ANSWERED or found.text is None:
            rounds.append(Round(0, 0, usable=False))
            return SubjectTypes(tuple(known), tuple(rounds), dry=bool(known))
        listed = parse_types(found.text, texts.words).types
        new = new_types(listed, known, settings.near_duplicates)
        known += new
        rounds.append(Round(len(listed), len(new)))
        if number < settings.rounds and len(new) < settings.dry * len(listed):
            return SubjectTypes(tuple(known), tuple(rounds), dry=True)
        messages = (*messages, assistant_message(found.text), user_message(texts.more_types(subject)))
    return SubjectTypes(tuple(known), tuple(rounds))


def new_types(listed: Sequence[QuestionType], known: Sequence[QuestionType], near: float) -> list[QuestionType]:
    """Those whose names are like none before them: equal in the comparison form, or nearly."""
    forms = {comparison_form(one.name): None for one in known}
    found = []
    for one in listed:
        form = comparison_form(one.name)
        if form in forms or (near and any(_similarity(form, other) >= near for other in forms)):
            continue
        forms[form] = None
        found.append(one)
    return found


def _similarity(one: str, other: str) -> float:
    """Jaccard similarity of two texts' 2-grams; a text of one character is its own."""
    first, second = _grams(one), _grams(other)
    return len(first & second) / max(1, len(first | second))


def _grams(text: str) -> set[str]:
    return {text[at : at + 2] for at in range(max(1, len(text) - 1))}


def refine_chain(config: RunConfig, writer: EndpointConfig, subject: Subject, one: QuestionType) -> Chain[QuestionType]:
    """A type with its description rewritten alone; as it was where no answer could be used."""
    texts = texts_of(config)
    if not one.name:  # of a run without a taxonomy
        return one
    found = yield refine_request(config, writer, subject, one)
    text = parse_refined(found.text, texts.words).text if found.state == ANSWERED and found.text is not None else None
    return one if text is None else QuestionType(one.name, text)


def prompt_chain(
    config: RunConfig, writer: EndpointConfig, subject: Subject, one: QuestionType
) -> Chain[tuple[Candidate, ...]]:
    """Candidates of a type, until one is found feasible: written, made whole, and checked by themselves."""
    assert config.tap is not None
    texts = texts_of(config)
    checker = config.by_name[config.tap.taxonomy.checker or writer.name]
    made: list[Candidate] = []
    first = texts.prompt(subject, *one) if one.name else texts.plain(subject.name)
    messages: Messages = (user_message(first),)
    for number in range(1, config.tap.taxonomy.regenerations + 2):
        found = yield prompt_request(config, writer, subject, one, number, messages)
        if found.state != ANSWERED or found.text is None:
            break
        prompt = parse_prompt(found.text, texts.words).prompt
        if prompt is None:
            break
        messages = (*messages, assistant_message(found.text), user_message(texts.complete))
        whole = yield complete_request(config, writer, subject, one, number, messages)
        if whole.state == ANSWERED and whole.text is not None:
            read = parse_completeness(whole.text, texts.words)
            prompt = read.prompt if read.lacks and read.prompt is not None else prompt
            messages = (*messages, assistant_message(whole.text))
        else:
            messages = messages[:-1]
        checked = yield feasible_request(config, checker, writer, subject, one, number, prompt)
        if checked.state != ANSWERED or checked.text is None:
            made.append(Candidate(number, prompt, None))
            break
        verdict = parse_feasible(checked.text, texts.words)
        made.append(Candidate(number, prompt, verdict.feasible, verdict.reasons))
        if verdict.feasible is not False:
            break
        messages = (*messages, user_message(texts.regenerate(verdict.reasons)))
    return tuple(made)
