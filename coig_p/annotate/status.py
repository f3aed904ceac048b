"""Where a run stands, what it will cost, and what another parser would have read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from coig_p.annotate.asking.costs import MONEY, Tokens, max_tokens, unanswered
from coig_p.annotate.asking.ledger import ANSWERED, BATCHED, FAILED, INVALID, OPEN, Entered, Ledger, Query, Reading
from coig_p.annotate.asking.message import cut as cut_by
from coig_p.annotate.asking.message import read_body, usable_text
from coig_p.annotate.asking.request import PENDING, Request, outcome
from coig_p.annotate.config import EndpointConfig, RunConfig
from coig_p.annotate.parsing import repeats
from coig_p.annotate.stages import count_of
from coig_p.annotate.tasks.answers import judged_response, read_answer
from coig_p.annotate.tasks.generate import GENERATE, generate_request
from coig_p.annotate.tasks.judge import JUDGE, drawn_judges, judge_request
from coig_p.annotate.tasks.queries import QUERY, query_request

_LATELY = 300.0  # seconds over which a rate is measured
_TOKENS_A_CHARACTER = 0.7  # of Chinese prompts, until the ledger knows better
_ANSWER_TOKENS = {QUERY: 300, GENERATE: 500, JUDGE: 300}
_ENOUGH = 20  # answers from which an average is taken
_BYTES_OF_UTF8 = 4  # a character has at most


@dataclass(frozen=True)
class EndpointStatus:
    """What was asked of an endpoint: asked = answered + invalid + failed + in_flight.

    Attributes:
        batched: requests that are out in batch files.
        sent: attempts; unanswered: those that came to nothing, by their outcome.
        cut_off: answers that did not end by themselves; cut: by the reason that the server gave.
        invalid_rate: of the answers; failure_rate: of the attempts.
        per_minute: answers, over the last five minutes.
        cost: of the answers; may_cost: the most that attempts without one may have cost, both in
            the currency of the prices.
    """

    asked: int
    answered: int
    invalid: int
    failed: int
    in_flight: int
    batched: int
    sent: int
    unanswered: dict[str, int]
    cut_off: int
    cut: dict[str, int]
    invalid_rate: float
    failure_rate: float
    per_minute: float
    cost: float
    may_cost: float


@dataclass(frozen=True)
class StageStatus:
    """How far a stage is: its requests, those that have an outcome, and answers by what they were."""

    planned: int
    done: int
    answered: int
    invalid: int


@dataclass(frozen=True)
class Status:
    """Where a run stands: by endpoint, by stage and in all.

    Attributes:
        cost, may_cost, max_cost: in the currency of the prices; max_cost is None without a budget.
        minutes_left: at the pace of the last five minutes; None where there is none.
    """

    endpoints: dict[str, EndpointStatus]
    stages: dict[str, StageStatus]
    cost: float
    may_cost: float
    max_cost: float | None
    per_minute: float
    minutes_left: float | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def status_of(config: RunConfig, ledger: Ledger) -> Status:
    """Counts, costs and rates of a run, also while it is working. Asks nothing and writes nothing."""
    states: dict[str, Counter[str]] = defaultdict(Counter)
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    cost: Counter[str] = Counter()
    cut: dict[str, Counter[str]] = defaultdict(Counter)
    exhausted: Counter[str] = Counter()
    for some in ledger.requests():
        states[some.endpoint][some.state] += some.number
        kinds[some.kind][some.state] += some.number
        cost[some.endpoint] += some.cost
        if cut_by(some.finish):
            cut[some.endpoint][str(some.finish)] += some.number
        if some.state in (ANSWERED, FAILED) or (some.state == INVALID and some.ask == config.judging.asks - 1):
            exhausted[some.kind] += some.number
    sent: Counter[str] = Counter()
    nothing: dict[str, Counter[str]] = defaultdict(Counter)
    may: Counter[str] = Counter()
    for tried in ledger.attempts():
        sent[tried.endpoint] += tried.number
        if tried.outcome not in ("answered", None):
            nothing[tried.endpoint][tried.outcome] += tried.number
        may[tried.endpoint] += unanswered(tried.outcome, tried.bound)
    lately = {found.endpoint: found for found in ledger.lately(_LATELY)}
    oldest = min((found.first for found in lately.values()), default=None)
    minutes = 1.0 if oldest is None else max(1.0, ledger.now() - oldest) / 60
    endpoints = {}
    for name in dict.fromkeys([*config.by_name, *states]):
        found = states[name]
        endpoints[name] = EndpointStatus(
            asked=sum(found.values()) - found[BATCHED],
            answered=found[ANSWERED],
            invalid=found[INVALID],
            failed=found[FAILED],
            in_flight=found[OPEN],
            batched=found[BATCHED],
            sent=sent[name],
            unanswered=dict(nothing[name]),
            cut_off=cut[name].total(),
            cut=dict(cut[name]),
            invalid_rate=_share(found[INVALID], found[INVALID] + found[ANSWERED]),
            failure_rate=_share(sum(nothing[name].values()), sent[name]),
            per_minute=round((lately[name].number if name in lately else 0) / minutes, 1),
            cost=cost[name] / MONEY,
            may_cost=may[name] / MONEY,
        )
    stages = {}
    left = 0
    for stage, kind in (("queries", QUERY), ("generate", GENERATE), ("judge", JUDGE)):
        planned = count_of(config, ledger, stage)
        stages[stage] = StageStatus(planned, exhausted[kind], kinds[kind][ANSWERED], kinds[kind][INVALID])
        left += max(0, planned - exhausted[kind])
    rate = sum(found.number for found in lately.values()) / minutes
    spent = ledger.spent()
    return Status(
        endpoints=endpoints,
        stages=stages,
        cost=spent.paid / MONEY,
        may_cost=spent.may_be_paid / MONEY,
        max_cost=None if config.max_cost is None else config.max_cost / MONEY,
        per_minute=round(rate, 1),
        minutes_left=round(left / rate, 1) if rate and left else 0.0 if not left else None,
    )


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


@dataclass
class Estimate:
    """What an endpoint still has to do.

    Attributes:
        requests: how many, without those that are asked again.
        expected, most: what they cost, in 1/MONEY (10**-12 of the currency).
    """

    requests: int = 0
    expected: int = 0
    most: int = 0


def estimate(config: RunConfig, ledger: Ledger) -> dict[str, Estimate]:
    """What is left to ask and to pay, by endpoint; nothing is asked.

    What an answer takes is the endpoint's own average where it gave 20, else a guess: 500 tokens of a
    response, 300 of a judgement, .7 tokens for a character of a prompt. `most` takes every answer at
    its max_tokens and every ask. Queries that the filter has yet to judge count as if they passed.
    """
    knows = _Averages(ledger)
    found: dict[str, Estimate] = defaultdict(Estimate)
    for query in ledger.queries(passed=False):
        if query.passed == 0:
            continue
        for request, extra, answer in _all_requests(config, ledger, query, knows):
            ours = found[request.endpoint.name]
            state = PENDING if extra else outcome(ledger, request).state
            if state in (ANSWERED, INVALID):
                continue
            characters = sum(len(message["content"]) for message in request.messages) + extra
            expected = Tokens(knows.prompt_tokens(request.endpoint.name, characters), answer)
            ours.requests += 1
            ours.expected += request.endpoint.cost(expected)
            ours.most += request.endpoint.cost(request.most_in_all(_BYTES_OF_UTF8 * extra))
    return dict(found)


def _all_requests(
    config: RunConfig, ledger: Ledger, query: Query, knows: _Averages
) -> Iterator[tuple[Request, int, int]]:
    """Everything that a query needs; the characters of a response that is not there yet, and tokens of the answer."""
    if config.queries.filter is not None and query.passed is None:
        judge = config.by_name[config.queries.filter]
        yield query_request(config, query), 0, knows.answer_tokens(judge, QUERY)
    for author in config.generators:
        request = generate_request(config, author, query)
        tokens = knows.answer_tokens(author, GENERATE)
        yield request, 0, tokens
        text = outcome(ledger, request).text
        for name in drawn_judges(config, query.query_id, author.name):
            judge = config.by_name[name]
            extra = 0 if text is not None else int(tokens / _TOKENS_A_CHARACTER)
            request = judge_request(config, judge, query, author.name, text or "")
            yield request, extra, knows.answer_tokens(judge, JUDGE)


class _Averages:
    """Tokens per character of a prompt and per answer, by endpoint, where the ledger has enough."""

    def __init__(self, ledger: Ledger) -> None:
        self._ratio: dict[str, float] = {}
        self._answer: dict[tuple[str, str], int] = {}
        for used in ledger.usage():
            if used.number >= _ENOUGH:
                self._ratio[used.endpoint] = used.prompt_tokens / max(1, used.characters)
                self._answer[used.endpoint, used.kind] = round(used.completion_tokens / used.number)

    def prompt_tokens(self, endpoint: str, characters: int) -> int:
        return round(characters * self._ratio.get(endpoint, _TOKENS_A_CHARACTER))

    def answer_tokens(self, endpoint: EndpointConfig, kind: str) -> int:
        parameters = endpoint.parameters if kind == GENERATE else endpoint.judge_parameters
        guess = min(_ANSWER_TOKENS[kind], max_tokens(parameters) or _ANSWER_TOKENS[kind])
        return self._answer.get((endpoint.name, kind), guess)


class Change(NamedTuple):
    """A judgement that the parser now reads otherwise than it was recorded, or that repeats its response.

    Attributes:
        changed: whether it is read otherwise.
        repeats: whether it holds a score, with its label, that stands word for word in the response.
    """

    endpoint: str
    query_id: str
    author: str | None
    before: str
    after: str
    reading: Reading
    changed: bool
    repeats: bool

    @property
    def who(self) -> str:
        """The judge, the query and the model, where one is judged."""
        return " ".join(filter(None, [self.endpoint, self.query_id, self.author]))

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        about = {"endpoint": self.endpoint, "query_id": self.query_id, "model": self.author}
        return about | {"was": self.before, "is": self.after}


def audit(config: RunConfig, ledger: Ledger, counts: Counter[str]) -> Iterator[Change]:
    """Re-parse every stored judgement, one by one; `counts` gets how many were read, changed and repeat a response."""
    for found in ledger.judged(kinds=(QUERY, JUDGE)):
        asked = Entered(found.endpoint, found.kind, found.domain, found.query_id, found.author, found.state, 0)
        message = read_body(found.body)
        now = read_answer(config, ledger, asked, message)
        counts["judgements"] += 1
        changed = (now.state, now.score) != (found.state, found.score) or (
            found.state == INVALID and now.reason != found.reason
        )
        response = judged_response(config, ledger, found.query_id, found.author) if found.kind == JUDGE else ""
        again = repeats(usable_text(message)[0] or "", response)
        if changed or again:
            counts["changed"] += changed
            counts["repeats"] += again
            before, after = _read_as(found.score, found.reason), _read_as(now.score, now.reason)
            reading = Reading(found.key, now.state, now.reason, now.score)
            yield Change(found.endpoint, found.query_id, found.author, before, after, reading, changed, again)


def _read_as(score: float | None, reason: str | None) -> str:
    return f"{score:g}" if score is not None else str(reason)
