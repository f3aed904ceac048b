"""What a TaP run has so far, read from the ledger: types, refined types, candidates, and the queries of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from coig_p.annotate.asking.ledger import INVALID, Ledger, Query
from coig_p.annotate.asking.request import Request
from coig_p.annotate.config import EndpointConfig, RunConfig
from coig_p.annotate.tap.chains import (
    Chain,
    SubjectTypes,
    Waiting,
    prompt_chain,
    refine_chain,
    types_chain,
    walk,
)
from coig_p.annotate.tap.parsing import QuestionType
from coig_p.annotate.tap.types import Candidate, Prompted, query_id, source_of
from coig_p.annotate.taxonomy.config import PROMPT, checkers
from coig_p.annotate.taxonomy.tree import Subject

CHAINED = ("types", "refine", "prompts")
"""The stages whose requests are conversations."""


class Typed(NamedTuple):
    """A type of a subject, by whom."""

    writer: EndpointConfig
    subject: Subject
    type: QuestionType


def talking(config: RunConfig) -> list[str]:
    """Who has a part in conversations: writers, and who says whether prompts are feasible."""
    assert config.tap is not None
    writers = [one.name for one in config.writers]
    return list(dict.fromkeys([*writers, *checkers(config.tap, config.endpoints)]))


def subjects_of(config: RunConfig, limit: int | None = None) -> tuple[Subject, ...]:
    """The subjects of a run; `limit`: the first so many."""
    assert config.tap is not None
    return config.tap.subjects[:limit]


def typed(config: RunConfig, ledger: Ledger, limit: int | None = None, writer: str | None = None) -> Iterator[Typed]:
    """The types of every subject whose rounds are over, in the order of subjects and writers.

    Args:
        writer: of this endpoint alone.
    """
    for subject in subjects_of(config, limit):
        for one in config.writers:
            if writer is not None and one.name != writer:
                continue
            found = walk(ledger, types_chain(config, one, subject))
            if isinstance(found, SubjectTypes):
                for each in found.types:
                    yield Typed(one, subject, each)


def refined(config: RunConfig, ledger: Ledger, limit: int | None = None, writer: str | None = None) -> Iterator[Typed]:
    """The same types with their descriptions refined, as far as they are."""
    for one in typed(config, ledger, limit, writer):
        found = walk(ledger, refine_chain(config, *one))
        if isinstance(found, QuestionType):
            yield one._replace(type=found)


def chains_of(
    config: RunConfig, ledger: Ledger, stage: str, limit: int | None = None, writer: str | None = None
) -> Iterator[Chain[Any]]:
    """The conversations of a stage, each not begun yet, that what comes before it lets begin.

    Args:
        writer: of this endpoint alone.
    """
    assert config.tap is not None
    if config.tap.taxonomy.plain and stage != "prompts":
        return
    if stage == "types":
        for subject in subjects_of(config, limit):
            for one in config.writers:
                if writer in (None, one.name):
                    yield types_chain(config, one, subject)
    elif stage == "refine":
        for each in typed(config, ledger, limit, writer):
            yield refine_chain(config, *each)
    else:
        for each in refined(config, ledger, limit, writer):
            yield prompt_chain(config, *each)


def waiting_at(config: RunConfig, ledger: Ledger, stage: str, name: str, limit: int | None = None) -> Iterator[Request]:
    """What an endpoint is to be asked now: of each conversation that waits for it, the next request."""
    for chain in chains_of(config, ledger, stage, limit):
        found = walk(ledger, chain)
        if isinstance(found, Waiting) and found.request.endpoint.name == name:
            yield found.request


@dataclass
class Prompts:
    """The queries of a run as far as they are, and the types of which none can be asked.

    Attributes:
        asked: those that models are asked.
        infeasible: every candidate of their type was found not feasible, or could not be checked.
        lost: types of which no answer was a prompt.
        waiting: how many types wait for an answer.
    """

    asked: list[Prompted] = field(default_factory=list)
    infeasible: list[Prompted] = field(default_factory=list)
    lost: list[Typed] = field(default_factory=list)
    waiting: int = 0


def prompts_of(config: RunConfig, ledger: Ledger, limit: int | None = None) -> Prompts:
    """All that the stage `prompts` has brought so far."""
    assert config.tap is not None
    every = config.tap.taxonomy.ask_infeasible
    found = Prompts()
    for one in refined(config, ledger, limit):
        made = walk(ledger, prompt_chain(config, *one))
        if isinstance(made, Waiting):
            found.waiting += 1
        elif not made:
            found.lost.append(one)
        elif every:
            for candidate in made:
                found.asked.append(_query(one, candidate, made, len(found.asked)))
        elif made[-1].feasible:
            found.asked.append(_query(one, made[-1], made, len(found.asked)))
        else:
            found.infeasible.append(_query(one, made[-1], made, -1))
    return found


def prompted(config: RunConfig, ledger: Ledger, limit: int | None = None) -> Iterator[Prompted]:
    """Every query that the taxonomy brought, those first that models are asked; the others have `feasible` not True.

    Args:
        limit: of the first so many subjects.
    """
    found = prompts_of(config, ledger, limit)
    yield from found.asked
    yield from found.infeasible


def _query(one: Typed, candidate: Candidate, made: tuple[Candidate, ...], place: int) -> Prompted:
    about = query_id(one.writer.name, one.subject, one.type.name, candidate.number)
    source = source_of(one.subject, one.type.name)
    query = Query(place, about, one.subject.domain, candidate.prompt, source, None)
    return Prompted(query, one.type, one.subject, one.writer.name, candidate.feasible, made)


def rounds_of(config: RunConfig, ledger: Ledger) -> dict[str, dict[str, Any]]:
    """For each writer: new types a round, subjects that are through, and those of them that were dry."""
    assert config.tap is not None
    found: dict[str, dict[str, Any]] = {}
    if config.tap.taxonomy.plain:
        return found
    for writer in config.writers:
        new: Counter[int] = Counter()
        listed: Counter[int] = Counter()
        through = dry = 0
        for subject in subjects_of(config):
            made = walk(ledger, types_chain(config, writer, subject))
            if not isinstance(made, SubjectTypes):
                continue
            through, dry = through + 1, dry + made.dry
            for at, one in enumerate(made.rounds, 1):
                new[at] += one.new
                listed[at] += one.listed
        rounds = [{"listed": listed[at], "new": new[at]} for at in sorted(new)]
        found[writer.name] = {"subjects": through, "dry": dry, "types": sum(new.values()), "rounds": rounds}
    return found


class Counting:
    """How many requests the chained stages have. A subject whose types are there is not gone over again."""

    def __init__(self, config: RunConfig, ledger: Ledger) -> None:
        self.config, self.ledger = config, ledger
        self._through: dict[tuple[str, str], SubjectTypes] = {}

    def requests(self, stage: str, limit: int | None = None) -> Counter[str]:
        """Of a stage, for each endpoint; as many as there are at least where later ones hang on answers to come.

        Candidates beyond a type's first are counted once they are asked for.
        """
        assert self.config.tap is not None
        found: Counter[str] = Counter()
        types: Counter[str] = Counter()
        for writer in self.config.writers:
            for subject in subjects_of(self.config, limit):
                made = self._types(writer, subject)
                found[writer.name] += self.config.tap.taxonomy.rounds if made is None else len(made.rounds)
                types[writer.name] += 0 if made is None else len(made.types)
        if stage == "types":
            return found
        if stage == "refine":
            return Counter() if self.config.tap.taxonomy.plain else types
        return self._prompts(types)

    def _types(self, writer: EndpointConfig, subject: Subject) -> SubjectTypes | None:
        about = writer.name, subject.code
        if about not in self._through:
            made = walk(self.ledger, types_chain(self.config, writer, subject))
            if not isinstance(made, SubjectTypes):
                return None
            self._through[about] = made
        return self._through[about]

    def _prompts(self, types: Counter[str]) -> Counter[str]:
        """A candidate is three requests: the prompt, whether it is whole, and its check."""
        assert self.config.tap is not None
        sent: Counter[str] = Counter()
        lost: Counter[str] = Counter()
        for some in self.ledger.requests():
            if some.kind == PROMPT:
                sent[some.endpoint] += some.number * (some.ask == 0)
                lost[some.endpoint] += some.number * (
                    some.state == INVALID and some.ask == self.config.judging.asks - 1
                )
        for old in self.ledger.recipes():  # asked for in other words than today's
            now = self.config.recipes.get((old.kind, old.domain, old.endpoint))
            sent[old.endpoint] -= old.number * (old.kind == PROMPT and old.recipe != now)
        found: Counter[str] = Counter()
        for name, number in types.items():
            candidates = max(number, sent[name])
            found[name] += 2 * candidates - lost[name]
            found[self.config.tap.taxonomy.checker or name] += candidates - lost[name]
        return found
