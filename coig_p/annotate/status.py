"""Where a run stands, what it will cost, and what another parser would have read."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from coig_p.annotate.asking.client import read_body
from coig_p.annotate.asking.ledger import (
    ANSWERED,
    BATCHED,
    FAILED,
    INVALID,
    MAY_BE_PAID,
    OPEN,
    Ledger,
    Query,
    sum_of,
    whole_sum,
)
from coig_p.annotate.config import MONEY, Endpoint, RunConfig, max_tokens
from coig_p.annotate.stages import count_of
from coig_p.annotate.tasks.requests import (
    GENERATE,
    JUDGE,
    QUERY,
    Request,
    drawn_judges,
    generate_request,
    judge_request,
    outcome,
    query_request,
    verdict,
)

_LATELY = 300.0  # seconds over which a rate is measured
_TOKENS_A_CHARACTER = 0.7  # of Chinese prompts, until the ledger knows better
_ANSWER_TOKENS = {QUERY: 300, GENERATE: 500, JUDGE: 300}
_ENOUGH = 20  # answers from which an average is taken


def status(config: RunConfig, ledger: Ledger) -> dict[str, Any]:
    """Counts, costs and rates by endpoint and in all, as JSON can have them.

    For each endpoint asked = answered + invalid + failed + in_flight; `sent` are its attempts, and
    `may_cost` is the most that attempts without an answer may have cost.
    """
    states: dict[str, Counter[str]] = defaultdict(Counter)
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    cost: Counter[str] = Counter()
    exhausted: Counter[str] = Counter()
    grouped = (
        "SELECT endpoint, kind, state, ask, COUNT(*), SUM(finish = 'length'), "
        f"{sum_of('cost')} FROM requests "
        "GROUP BY 1, 2, 3, 4"
    )
    cut: Counter[str] = Counter()
    for endpoint, kind, state, ask, number, length, *cost_of in ledger.each(grouped):
        states[endpoint][state] += number
        kinds[kind][state] += number
        cost[endpoint] += whole_sum(*cost_of)
        cut[endpoint] += length or 0
        if state in (ANSWERED, FAILED) or (state == INVALID and ask == config.judging.asks - 1):
            exhausted[kind] += number
    sent: Counter[str] = Counter()
    unanswered: dict[str, Counter[str]] = defaultdict(Counter)
    may: Counter[str] = Counter()
    for endpoint, result, number, *bound in ledger.each(
        f"SELECT endpoint, outcome, COUNT(*), {sum_of('bound')} FROM attempts GROUP BY 1, 2"
    ):
        sent[endpoint] += number
        if result not in ("answered", None):
            unanswered[endpoint][result] += number
        if result in MAY_BE_PAID:
            may[endpoint] += whole_sum(*bound)
    since = time.time() - _LATELY
    lately: Counter[str] = Counter()
    oldest: float | None = None
    for endpoint, number, first in ledger.each(
        "SELECT endpoint, COUNT(*), MIN(at) FROM requests WHERE at > ? AND state IN ('answered', 'invalid') GROUP BY 1",
        (since,),
    ):
        lately[endpoint] = number
        oldest = first if oldest is None else min(oldest, first)
    minutes = max(1.0, time.time() - oldest) / 60 if oldest is not None else 1.0
    endpoints = {}
    for name in dict.fromkeys([*config.by_name, *states]):
        found = states[name]
        asked = sum(found.values()) - found[BATCHED]
        endpoints[name] = {
            "asked": asked,
            "answered": found[ANSWERED],
            "invalid": found[INVALID],
            "failed": found[FAILED],
            "in_flight": found[OPEN],
            "batched": found[BATCHED],
            "sent": sent[name],
            "unanswered": dict(unanswered[name]),
            "cut_off": cut[name],
            "invalid_rate": _share(found[INVALID], found[INVALID] + found[ANSWERED]),
            "failure_rate": _share(sum(unanswered[name].values()), sent[name]),
            "per_minute": round(lately[name] / minutes, 1),
            "cost": cost[name] / MONEY,
            "may_cost": may[name] / MONEY,
        }
    stages = {}
    left = 0
    for stage, kind in (("queries", QUERY), ("generate", GENERATE), ("judge", JUDGE)):
        planned = count_of(config, ledger, stage)
        stages[stage] = {
            "planned": planned,
            "done": exhausted[kind],
            **{s: kinds[kind][s] for s in (ANSWERED, INVALID)},
        }
        left += max(0, planned - exhausted[kind])
    rate = sum(lately.values()) / minutes
    paid, may_be_paid = ledger.spent()
    return {
        "endpoints": endpoints,
        "stages": stages,
        "cost": paid / MONEY,
        "may_cost": may_be_paid / MONEY,
        "max_cost": None if config.max_cost is None else config.max_cost / MONEY,
        "per_minute": round(rate, 1),
        "minutes_left": round(left / rate, 1) if rate and left else 0.0 if not left else None,
    }


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


@dataclass
class Estimate:
    """What an endpoint still has to do: requests, and their cost, expected and at most, in 1/MONEY."""

    requests: int = 0
    expected: int = 0
    most: int = 0


def estimate(config: RunConfig, ledger: Ledger) -> dict[str, Estimate]:
    """What is left to ask and to pay, by endpoint; nothing is asked.

    What an answer takes is the endpoint's own average where it gave 20, else a guess: 500 tokens of a
    response, 300 of a judgement, .7 tokens for a character of a prompt. `most` takes every answer at
    its max_tokens and every ask. Queries that the filter has yet to judge count as if they passed.
    """
    knows = _Averages(config, ledger)
    found: dict[str, Estimate] = defaultdict(Estimate)
    for query in ledger.queries(passed=False):
        if query.passed == 0:
            continue
        for request, extra in _all_requests(config, ledger, query, knows):
            ours = found[request.endpoint.name]
            state = outcome(config, ledger, request).state if not extra else "pending"
            if state in (ANSWERED, INVALID):
                continue
            prompt, answer = request.most()
            characters = sum(len(message["content"]) for message in request.messages) + extra
            tokens = knows.prompt_tokens(request.endpoint, characters)
            ours.requests += 1
            ours.expected += request.endpoint.cost(tokens, knows.answer_tokens(request.endpoint, request.kind))
            most_prompt = prompt + 4 * extra
            ours.most += config.judging.asks * request.endpoint.cost(most_prompt, answer)
    return dict(found)


def _all_requests(config: RunConfig, ledger: Ledger, query: Query, knows: _Averages) -> Iterator[tuple[Request, int]]:
    """Everything that a query needs; with the characters of a response that is not there yet."""
    if config.queries.filter is not None and query.passed is None:
        yield query_request(config, query), 0
    for author in config.generators:
        request = generate_request(author, query)
        yield request, 0
        answer = outcome(config, ledger, request)
        for name in drawn_judges(config, query.query_id, author.name):
            extra = 0 if answer.text is not None else int(knows.answer_tokens(author, GENERATE) / _TOKENS_A_CHARACTER)
            yield judge_request(config, config.by_name[name], query, author.name, answer.text or ""), extra


class _Averages:
    """Tokens per character of a prompt and per answer, by endpoint, where the ledger has enough."""

    def __init__(self, config: RunConfig, ledger: Ledger) -> None:
        self._ratio: dict[str, float] = {}
        self._answer: dict[tuple[str, str], int] = {}
        sums = (
            "SELECT endpoint, kind, COUNT(*), SUM(prompt_tokens), SUM(characters), SUM(completion_tokens) "
            "FROM requests WHERE prompt_tokens IS NOT NULL AND completion_tokens IS NOT NULL GROUP BY 1, 2"
        )
        for endpoint, kind, number, prompt, characters, completion in ledger.each(sums):
            if number >= _ENOUGH:
                self._ratio[endpoint] = prompt / max(1, characters)
                self._answer[endpoint, kind] = round(completion / number)

    def prompt_tokens(self, endpoint: Endpoint, characters: int) -> int:
        return round(characters * self._ratio.get(endpoint.name, _TOKENS_A_CHARACTER))

    def answer_tokens(self, endpoint: Endpoint, kind: str) -> int:
        parameters = endpoint.parameters if kind == GENERATE else endpoint.judge_parameters
        guess = min(_ANSWER_TOKENS[kind], max_tokens(parameters) or _ANSWER_TOKENS[kind])
        return self._answer.get((endpoint.name, kind), guess)


class Change(NamedTuple):
    """A judgement that the parser now reads otherwise than it was recorded."""

    key: bytes
    endpoint: str
    query_id: str
    author: str | None
    before: str
    after: str
    state: str
    reason: str | None
    score: float | None


def audit(config: RunConfig, ledger: Ledger, counts: Counter[str]) -> Iterator[Change]:
    """Re-parse every stored judgement, one by one; `counts` gets how many were read and changed."""
    stored = (
        "SELECT key, endpoint, kind, domain, query_id, author, state, reason, score, body FROM requests "
        "WHERE kind != 'generate' AND body IS NOT NULL AND state IN ('answered', 'invalid')"
    )
    for key, endpoint, kind, domain, query_id, author, state, reason, score, body in ledger.each(stored):
        now = verdict(config, kind, domain, read_body(body))
        counts["judgements"] += 1
        if (now.state, now.score) != (state, score) or (state == INVALID and now.reason != reason):
            counts["changed"] += 1
            before, after = _read_as(score, reason), _read_as(now.score, now.reason)
            yield Change(key, endpoint, query_id, author, before, after, now.state, now.reason, now.score)


def _read_as(score: float | None, reason: str | None) -> str:
    return f"{score:g}" if score is not None else str(reason)
