"""What the next run sends, what that will cost, and what of it was paid for before in other words."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

from coig_p.annotate.asking.costs import Tokens, max_tokens
from coig_p.annotate.asking.ledger import INVALID, Ledger
from coig_p.annotate.asking.request import Request, asks
from coig_p.annotate.concluded import marks
from coig_p.annotate.config import EndpointConfig, RunConfig
from coig_p.annotate.invalid import InvalidShares
from coig_p.annotate.planned import Planned, planned
from coig_p.annotate.tasks.generate import GENERATE
from coig_p.annotate.tasks.judge import JUDGE
from coig_p.annotate.tasks.queries import QUERY
from coig_p.annotate.tasks.structured import PROBE
from coig_p.annotate.tasks.translate import TRANSLATE
from coig_p.annotate.taxonomy.config import CHECKS, COMPARE, COMPLETE, EMBED, FEASIBLE, PROMPT, REFINE, TYPES
from coig_p.annotate.taxonomy.prompts import KINDS

_TOKENS_A_CHARACTER = 0.7  # of Chinese prompts, until the ledger knows better
_ANSWER_TOKENS = {QUERY: 300, GENERATE: 500, JUDGE: 300, TRANSLATE: 100, PROBE: 50}
_ANSWER_TOKENS |= {TYPES: 600, REFINE: 80, PROMPT: 250, COMPLETE: 50, FEASIBLE: 250, COMPARE: 400, EMBED: 0}
_ENOUGH = 20  # answers from which an average is taken
_BYTES_OF_UTF8 = 4  # a character has at most


@dataclass
class Estimate:
    """What an endpoint still has to do.

    Attributes:
        requests: how many the next run sends, with those that are asked again at the rate so far.
        expected, most: what they cost, in 1/MONEY (10**-12 of the currency).
        input_tokens, output_tokens: that they take, about; most_output_tokens: of all answers at most.
    """

    requests: int = 0
    expected: int = 0
    most: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    most_output_tokens: int = 0


class PaidAgain(NamedTuple):
    """Requests whose like was answered before, and that the next run would pay again, `cost` in 1/MONEY.

    Attributes:
        kind: query, generate or judge.
        why: what has changed since, in words.
    """

    kind: str
    number: int
    cost: int
    why: str


class Forecast(NamedTuple):
    """What the next run sends by endpoint, and what of it would be paid again, the most first."""

    endpoints: dict[str, Estimate]
    again: list[PaidAgain]


def estimate(config: RunConfig, ledger: Ledger) -> dict[str, Estimate]:
    """What the next run sends and pays, by endpoint; nothing is asked, and nothing is written.

    It goes by the inputs, the filter and the prompts as they are now. What an answer takes is the endpoint's own
    average where it gave 20, else a guess: 500 tokens of a response, 300 of a judgement. A character of a prompt takes
    as many tokens as in the endpoint's prompts of this kind, else in all of its prompts, else in those of all
    endpoints, where 20 were answered, else .7. `most` takes every answer at its max_tokens and every ask. A query
    that the filter has yet to judge counts as its last score says, or by the share that passed so far.

    Raises:
        UsageError: an input that cannot be used.
        DataError: bad rows with on_error "fail".
    """
    return forecast(config, ledger).endpoints


def forecast(
    config: RunConfig,
    ledger: Ledger,
    limit: int | None = None,
    kinds: Collection[str] = (PROBE, TRANSLATE, QUERY, GENERATE, JUDGE, EMBED, *KINDS),
) -> Forecast:
    """The same of the first so many queries alone and of some kinds of requests, with what would be paid again."""
    knows = _Averages(ledger)
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0] * 4)
    found: dict[str, Estimate] = defaultdict(Estimate)
    again: Counter[tuple[str, str]] = Counter()
    costs: Counter[tuple[str, str]] = Counter()
    for one in planned(config, ledger, limit, marks(config).values()):
        if not one.due or one.request.kind not in kinds:
            continue
        name, kind = one.request.endpoint.name, one.request.kind
        sent = knows.asks(one)
        expected, most, once, bound = knows.cost(config, one, sent)
        ours, times = found[name], one.times * one.weight * sent
        each = (times, times * once.prompt, times * once.answer, one.times * max(bound, once.answer))
        sums[name] = [sum_ + more for sum_, more in zip(sums[name], each, strict=True)]
        ours.expected += expected
        ours.most += most
        if one.why is not None:
            again[kind, one.why] += 1
            costs[kind, one.why] += expected
    for name, added in sums.items():
        ours = found[name]
        ours.requests, ours.input_tokens, ours.output_tokens, ours.most_output_tokens = map(round, added)
    listed = [PaidAgain(kind, number, costs[kind, why], why) for (kind, why), number in again.most_common()]
    return Forecast({name: found[name] for name in config.by_name if name in found}, listed)


class _Averages:
    """Tokens per character of a prompt and per answer where the ledger has enough, and asks per request."""

    def __init__(self, ledger: Ledger) -> None:
        self._answer: dict[tuple[str, str], int] = {}
        prompts: dict[tuple[str | None, str | None], list[int]] = defaultdict(lambda: [0, 0, 0])
        for used in ledger.usage():
            if used.number >= _ENOUGH:
                self._answer[used.endpoint, used.kind] = round(used.completion_tokens / used.number)
            for about in ((used.endpoint, used.kind), (used.endpoint, None), (None, None)):
                told = (used.number, used.prompt_tokens, used.characters)
                prompts[about] = [sum_ + more for sum_, more in zip(prompts[about], told, strict=True)]
        self._ratio = {
            about: tokens / max(1, characters)
            for about, (number, tokens, characters) in prompts.items()
            if number >= _ENOUGH
        }
        self._ledger, self._invalid = ledger, InvalidShares(ledger)

    def asks(self, one: Planned) -> float:
        """How often a request is sent from now on, until its answer can be used, or it is asked no more."""
        request = one.request
        name, kind = request.endpoint.name, request.kind
        if not self._invalid.any(name, kind):
            return 1.0
        done = 0 if one.pending else _invalid_asks(self._ledger, request)
        return self._invalid.asks(name, kind, request.asks, done)

    def ratio(self, endpoint: str, kind: str) -> float:
        """Tokens of a character of a prompt: of the like where enough were asked, else of what is nearest to them."""
        near = ((endpoint, kind), (endpoint, None), (None, None))
        return next((self._ratio[about] for about in near if about in self._ratio), _TOKENS_A_CHARACTER)

    def cost(self, config: RunConfig, one: Planned, sent: float) -> tuple[int, int, Tokens, int]:
        """What a request costs, sent so often, and at most; what it takes, asked once; the most tokens of answers."""
        request, kind = one.request, one.request.kind
        endpoint = config.by_name[request.endpoint.name]
        extra = 0
        if one.pending:
            author = config.by_name[str(request.author)]
            extra = int(self.answer_tokens(author, GENERATE) / _TOKENS_A_CHARACTER)
        characters = sum(len(message["content"]) for message in request.messages) + extra
        once = Tokens(round(characters * self.ratio(endpoint.name, kind)), self.answer_tokens(endpoint, kind))
        expected = round(endpoint.cost(once) * one.weight * sent)
        bound = request.most_in_all(_BYTES_OF_UTF8 * extra)
        most = endpoint.cost(bound)
        if one.times != 1:
            expected, most = round(expected * one.times), round(most * one.times)
        return expected, max(expected, most), once, bound.answer  # a server may have billed more than it should

    def answer_tokens(self, endpoint: EndpointConfig, kind: str) -> int:
        """What an answer takes."""
        judges = kind in (QUERY, JUDGE, PROBE, *CHECKS)
        parameters = endpoint.judge_parameters if judges else endpoint.parameters
        guess = min(_ANSWER_TOKENS[kind], max_tokens(parameters) or _ANSWER_TOKENS[kind])
        return self._answer.get((endpoint.name, kind), guess)


def _invalid_asks(ledger: Ledger, request: Request) -> int:
    """How many answers to a request cannot be used, where another ask is to follow."""
    known = (ledger.state(asked.key(ask)) for ask, asked in asks(ledger, request))
    return sum(1 for _ in takewhile(lambda state: state == INVALID, known))
