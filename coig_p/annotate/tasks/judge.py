"""Judges of other families score a response (COIG-P, section 3.3)."""

from __future__ import annotations

import hashlib
import json
from functools import partial

from coig_p.annotate.asking.ledger import ANSWERED, INVALID, Ledger, Query
from coig_p.annotate.asking.message import Message, usable_text
from coig_p.annotate.asking.request import Outcome, Request, outcome, user_message
from coig_p.annotate.config import EndpointConfig, RunConfig
from coig_p.annotate.parsing import parse_score
from coig_p.annotate.tasks.again import judged_again
from coig_p.annotate.tasks.structured import structured_score, with_structure

JUDGE = "judge"


def judge_request(config: RunConfig, judge: EndpointConfig, query: Query, author: str, response: str) -> Request:
    """A judge's score of a response."""
    prompt = config.judge_prompts[query.domain].fill({"query": query.shown, "response": response})
    half_points = config.half_points(query.domain)
    structured = judge.structured is not False
    request = Request(
        judge,
        kind=JUDGE,
        domain=query.domain,
        query_id=query.query_id,
        author=author,
        messages=(user_message(prompt),),
        parameters=judge.judge_parameters,
        read=partial(read_judgement, half_points=half_points, response=response, structured=structured),
        asks=config.judging.asks,
        recipe=config.recipes[JUDGE, query.domain, judge.name],
        again=partial(judged_again, half_points=half_points),
    )
    return in_both_forms(request, judge, half_points=half_points)


def in_both_forms(request: Request, judge: EndpointConfig, *, half_points: bool) -> Request:
    """A judge's request with structured output where it may have that, else as it is."""
    formed = with_structure(request, judge, half_points=half_points)
    if formed is request:
        return request
    return formed._replace(again=partial(judged_again, half_points=half_points, structured=True))


def drawn_judges(config: RunConfig, query_id: str, author: str) -> list[str]:
    """Who scores a model's response to a query: the first of its pool in an order that a hash makes."""
    return _order(config, query_id, author)[: config.judging.judges_per_response]


def judges_of(config: RunConfig, ledger: Ledger, query: Query, author: str, response: str) -> list[str]:
    """The same, with the next of the order in place of each judge that refuses, where the run replaces any.

    Where too few are left, those that refuse stay, so that their scores are known to be missing.
    """
    wanted = config.judging.judges_per_response
    if not config.judging.replace:
        return drawn_judges(config, query.query_id, author)
    score: list[str] = []
    refuse: list[str] = []
    for name in _order(config, query.query_id, author):
        if len(score) == wanted:
            break
        found = outcome(ledger, judge_request(config, config.by_name[name], query, author, response))
        (refuse if _refuses(found) else score).append(name)
    return [*score, *refuse[: wanted - len(score)]]


def _refuses(found: Outcome) -> bool:
    """Whether a judge was asked as often as it may be and gave no score, or its server will not have the request."""
    return found.state == INVALID or found.is_refused


def _order(config: RunConfig, query_id: str, author: str) -> list[str]:
    drawn_for = [config.seed, query_id, author] if config.judging.draw == "response" else [config.seed, query_id]
    prefix = json.dumps(drawn_for, ensure_ascii=True)
    return sorted(config.pools[author], key=lambda judge: hashlib.sha256(f"{prefix}{judge}".encode()).digest())


def read_judgement(message: Message, *, half_points: bool, response: str = "", structured: bool = False) -> Outcome:
    """A judgement is usable where it is whole and `parse_score` finds its one score.

    Args:
        structured: one that keeps to the schema is read exactly; any other as if it had not been asked for so.
    """
    text, reason = usable_text(message)
    if text is None:
        return Outcome(INVALID, reason)
    if message.cut:
        return Outcome(INVALID, f"cut: {message.cut}")
    exact = structured_score(text, half_points=half_points, response=response) if structured else None
    if exact is not None:
        return exact
    parsed = parse_score(text, half_points=half_points, response=response)
    return Outcome(INVALID if parsed.score is None else ANSWERED, parsed.reason, text, parsed.score)
