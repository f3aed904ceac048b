"""The first queries of a run with all that came of them, for people to read before the rest is paid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from coig_p.annotate.asking.ledger import ANSWERED, Ledger, Query
from coig_p.annotate.asking.request import Outcome, outcome
from coig_p.annotate.config import RunConfig
from coig_p.annotate.tap.comparing import Selecting, answers_to, compare_request, shown_to
from coig_p.annotate.tap.parsing import parse_eight
from coig_p.annotate.tap.walking import prompts_of
from coig_p.annotate.tasks.generate import generate_request
from coig_p.annotate.tasks.judge import judge_request, judges_of
from coig_p.annotate.tasks.queries import query_request
from coig_p.annotate.taxonomy.words import DIMENSIONS


@dataclass(frozen=True)
class Judgement:
    """What a judge said of a query or a response.

    Attributes:
        state: answered, invalid, failed, batched or pending; `reason`: why there is no score.
        text: all that it said, its score among it; None where it said nothing that can be used.
    """

    judge: str
    state: str
    reason: str | None
    score: float | None
    text: str | None


@dataclass(frozen=True)
class Response:
    """What a model answered, and what its judges said; none where there is no text."""

    model: str
    state: str
    reason: str | None
    text: str | None
    judgements: tuple[Judgement, ...]


@dataclass(frozen=True)
class Compared:
    """What a judge of a TaP run said of two responses, as they were shown to it.

    Attributes:
        first, second: models.
        first_scores, second_scores: by dimension; {} where the answer is none that can be used.
    """

    judge: str
    first: str
    second: str
    state: str
    reason: str | None
    first_scores: Mapping[str, float]
    second_scores: Mapping[str, float]
    text: str | None


@dataclass(frozen=True)
class Shown:
    """A query; `passed` is None until that is known, and `judged` what the filter said, where there is one.

    `comparisons` are those of a TaP run, once the responses are selected.
    """

    query_id: str
    domain: str
    query: str
    passed: bool | None
    judged: Judgement | None
    responses: tuple[Response, ...]
    comparisons: tuple[Compared, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def first_queries(config: RunConfig, ledger: Ledger, number: int) -> Iterator[Shown]:
    """The first queries of a run, one by one; what the filter dropped has no responses.

    Of a TaP run, those of the first so many subjects.
    """
    if config.tap is None:
        ledger.only_first(number)
        queries = ledger.queries(passed=False)
    else:
        queries = (one.query._replace(passed=1) for one in prompts_of(config, ledger, number).asked)
    for query in queries:
        judged = None
        if config.queries.filter is not None:
            judged = _judgement(config.queries.filter, outcome(ledger, query_request(config, query)))
        responses = []
        for author in config.generators if query.passed else ():
            answer = outcome(ledger, generate_request(config, author, query))
            text = answer.text if answer.state == ANSWERED else None
            judgements = []
            scored = text is not None and config.tap is None
            for name in judges_of(config, ledger, query, author.name, text or "") if scored else ():
                request = judge_request(config, config.by_name[name], query, author.name, text or "")
                judgements.append(_judgement(name, outcome(ledger, request)))
            responses.append(Response(author.name, answer.state, answer.reason, text, tuple(judgements)))
        passed = None if query.passed is None else bool(query.passed)
        yield Shown(
            query.query_id,
            query.domain,
            query.query,
            passed,
            judged,
            tuple(responses),
            tuple(_compared(config, ledger, query)),
        )


def _compared(config: RunConfig, ledger: Ledger, query: Query) -> Iterator[Compared]:
    """What judges said of every two of a query's selected responses, in the order of the run's judges."""
    if config.tap is None:
        return
    chosen = Selecting(config).known(ledger, query, answers_to(config, ledger, query)) or []
    for judge in config.judges:
        for first, second in shown_to(config, judge, query.query_id, chosen):
            found = outcome(ledger, compare_request(config, judge, query, (first, second)))
            read = None if found.text is None else parse_eight(found.text, config.tap.texts.words)
            sides = ((), ()) if read is None else (read.first or (), read.second or ())
            one, other = (dict(zip(DIMENSIONS, side, strict=False)) for side in sides)
            yield Compared(judge.name, first.model, second.model, found.state, found.reason, one, other, found.text)


def _judgement(judge: str, found: Outcome) -> Judgement:
    return Judgement(judge, found.state, found.reason, found.score, found.text)
