"""What a run has left to ask, and what that will cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from coig_p.annotate.asking.costs import Tokens, max_tokens
from coig_p.annotate.asking.ledger import ANSWERED, INVALID, Ledger, Query
from coig_p.annotate.asking.request import PENDING, Request, outcome
from coig_p.annotate.config import EndpointConfig, RunConfig
from coig_p.annotate.tasks.generate import GENERATE, generate_request
from coig_p.annotate.tasks.judge import JUDGE, drawn_judges, judge_request
from coig_p.annotate.tasks.queries import QUERY, query_request

_TOKENS_A_CHARACTER = 0.7  # of Chinese prompts, until the ledger knows better
_ANSWER_TOKENS = {QUERY: 300, GENERATE: 500, JUDGE: 300}
_ENOUGH = 20  # answers from which an average is taken
_BYTES_OF_UTF8 = 4  # a character has at most


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
            most = request.most()
            characters = sum(len(message["content"]) for message in request.messages) + extra
            expected = Tokens(knows.prompt_tokens(request.endpoint.name, characters), answer)
            ours.requests += 1
            ours.expected += request.endpoint.cost(expected)
            most = Tokens(most.prompt + _BYTES_OF_UTF8 * extra, most.answer)
            ours.most += request.asks * request.endpoint.cost(most)
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
