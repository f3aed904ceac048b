"""Judges of other families score a response (COIG-P, section 3.3)."""

from __future__ import annotations

import hashlib
import json
from functools import partial

from coig_p.annotate.asking.ledger import ANSWERED, INVALID, Query
from coig_p.annotate.asking.message import Message, usable_text
from coig_p.annotate.asking.request import Outcome, Request, user_message
from coig_p.annotate.config import EndpointConfig, RunConfig
from coig_p.annotate.parsing import parse_score
from coig_p.annotate.tasks.again import judged_again

JUDGE = "judge"


def judge_request(config: RunConfig, judge: EndpointConfig, query: Query, author: str, response: str) -> Request:
    """A judge's score of a response."""
    prompt = config.judge_prompts[query.domain].fill({"query": query.shown, "response": response})
    half_points = config.half_points(query.domain)
    return Request(
        judge,
        kind=JUDGE,
        domain=query.domain,
        query_id=query.query_id,
        author=author,
        messages=(user_message(prompt),),
        parameters=judge.judge_parameters,
        read=partial(read_judgement, half_points=half_points, response=response),
        asks=config.judging.asks,
        again=partial(judged_again, half_points=half_points),
        recipe=config.recipes[JUDGE, query.domain, judge.name],
    )


def drawn_judges(config: RunConfig, query_id: str, author: str) -> list[str]:
    """Who scores a model's response to a query: the first of its pool in an order that a hash makes."""
    drawn_for = [config.seed, query_id, author] if config.judging.draw == "response" else [config.seed, query_id]
    prefix = json.dumps(drawn_for, ensure_ascii=True)
    order = sorted(config.pools[author], key=lambda judge: hashlib.sha256(f"{prefix}{judge}".encode()).digest())
    return order[: config.judging.judges_per_response]


def read_judgement(message: Message, *, half_points: bool, response: str = "") -> Outcome:
    """A judgement is usable where it is whole and `parse_score` finds its one score."""
    text, reason = usable_text(message)
    if text is None:
        return Outcome(INVALID, reason)
    if message.cut:
        return Outcome(INVALID, f"cut: {message.cut}")
    parsed = parse_score(text, half_points=half_points, response=response)
    return Outcome(INVALID if parsed.score is None else ANSWERED, parsed.reason, text, parsed.score)
