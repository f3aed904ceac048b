"""The first queries of a run with all that came of them, for people to read before the rest is paid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from coig_p.annotate.asking.ledger import ANSWERED, Ledger
from coig_p.annotate.asking.request import Outcome, outcome
from coig_p.annotate.config import RunConfig
from coig_p.annotate.tap.walking import prompts_of
from coig_p.annotate.tasks.generate import generate_request
from coig_p.annotate.tasks.judge import judge_request, judges_of
from coig_p.annotate.tasks.queries import query_request


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
class Shown:
    """A query; `passed` is None until that is known, and `judged` what the filter said, where there is one."""

    query_id: str
    domain: str
    query: str
    passed: bool | None
    judged: Judgement | None
    responses: tuple[Response, ...]

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
        yield Shown(query.query_id, query.domain, query.query, passed, judged, tuple(responses))


def _judgement(judge: str, found: Outcome) -> Judgement:
    return Judgement(judge, found.state, found.reason, found.score, found.text)
