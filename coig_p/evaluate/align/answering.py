"""A model answers a benchmark: requests for the ledger, answers from it.

The temperature is that of the question's category (AlignBench .1, and .7 for role, writing and open; MT-Bench as in
FastChat), or, as COIG-P's own run had it, 1.0 with 2,000 tokens. A second turn's request holds the first answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from coig_p.annotate.alone.endpoint import LoneEndpoint, check_asking, endpoint_at, endpoint_of
from coig_p.annotate.alone.running import Work
from coig_p.annotate.alone.said import Said, said_to
from coig_p.annotate.asking.costs import MONEY, max_tokens
from coig_p.annotate.asking.ledger import ANSWERED, FAILED, Ledger
from coig_p.annotate.asking.request import PENDING, Messages, Request, assistant_message, recipe_of, user_message
from coig_p.annotate.tables import check_keys, load_table, read_table
from coig_p.annotate.tasks.generate import read_response
from coig_p.annotate.trust import Wish, asked_by
from coig_p.errors import UsageError
from coig_p.evaluate.align.benchmarks import Benchmark, Question
from coig_p.evaluate.align.files import Turn
from coig_p.evaluate.align.kinds import OFFICIAL_TEMPERATURE, OFFICIAL_TOKENS, temperature_of

ANSWER = "align-answer"
_MOST_TOKENS = 2048  # of an answer, where the file does not say
_STANDS_IN = "略" * 400  # for a first answer that is not there yet


@dataclass(frozen=True)
class Answerer:
    """The model that is asked. Make one with `load_answerer` or `answerer_at`.

    Attributes:
        endpoint: its parameters hold max_tokens, and no temperature.
        path: the TOML file; None where there is none.
        asks: how often a turn whose answer is unusable is asked in all.
        max_cost: what all runs of a ledger may cost, in 1/MONEY; None: no limit.
        most_invalid: it is asked nothing more once a larger share of its last 100 answers cannot be used.
    """

    endpoint: LoneEndpoint
    path: Path | None = None
    asks: int = 2
    max_cost: int | None = None
    most_invalid: float = 1.0

    def describe(self) -> dict[str, Any]:
        """Who it is, as JSON has it: nothing secret, and no address."""
        one = self.endpoint
        return {"name": one.name, "model": one.model, "system": one.system, "parameters": dict(one.parameters)}

    @cached_property
    def wishes(self) -> list[Wish]:
        """What the file asks for that its reader may not have meant."""
        return asked_by(Path("--endpoint") if self.path is None else self.path, [self.endpoint], {})


@dataclass(frozen=True)
class _AnswerTable:
    asks: int = 2
    max_cost: Decimal | None = None
    most_invalid: float = 1.0

    def __post_init__(self) -> None:
        check_asking(self.asks, self.max_cost, self.most_invalid)


def load_answerer(path: str | Path, *, official: bool = False) -> Answerer:
    """Read a model's TOML file: a table [endpoint], and [answer] with asks, max_cost and most_invalid.

    Raises:
        UsageError: no such file, not TOML, an unknown key, or a value that cannot be; names the file and the key.
    """
    path = Path(path)
    table = load_table(path, ". Name a TOML file, or an http(s) address")
    try:
        check_keys(table, ("answer", "endpoint"), "")
        told = read_table(_AnswerTable, table.get("answer", {}), "answer")
        endpoint = _with_tokens(endpoint_of(table), official)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    most = None if told.max_cost is None else int(told.max_cost * MONEY)
    return Answerer(endpoint, path, told.asks, most, told.most_invalid)


def answerer_at(base_url: str, model: str, key_env: str | None = None, *, official: bool = False) -> Answerer:
    """A model at an OpenAI-compatible address.

    Raises:
        UsageError: an address that cannot be.
    """
    return answerer_of(endpoint_at(base_url, model, key_env, {}), official=official)


def answerer_of(endpoint: LoneEndpoint, asks: int = 2, *, official: bool = False) -> Answerer:
    """A model at an endpoint; raise UsageError where its parameters set what the benchmark sets."""
    return Answerer(_with_tokens(endpoint, official), asks=asks)


def _with_tokens(endpoint: LoneEndpoint, official: bool) -> LoneEndpoint:
    """An endpoint whose answers have an upper bound; the temperature is the benchmark's."""
    given = dict(endpoint.parameters)
    if "temperature" in given:
        raise UsageError("endpoint.parameters: 'temperature' is set by the benchmark, by category. Leave it out")
    tokens = max_tokens(given)
    if official:
        if tokens not in (None, OFFICIAL_TOKENS):
            raise UsageError(f"endpoint.parameters: max_tokens = {tokens}, and --official is {OFFICIAL_TOKENS}")
        tokens = None if tokens else OFFICIAL_TOKENS
    else:
        tokens = None if tokens else _MOST_TOKENS
    return endpoint if tokens is None else replace(endpoint, parameters=given | {"max_tokens": tokens})


@dataclass(frozen=True)
class Asking:
    """A model that is asked a benchmark.

    Attributes:
        keep_cut: an answer that was cut counts as it is.
        official: COIG-P's temperature and tokens; what was cut counts.
    """

    benchmark: Benchmark
    answerer: Answerer
    keep_cut: bool = False
    official: bool = False

    def work(self) -> Work:
        """What is to be asked, turn by turn."""
        one = self.answerer
        return Work(one.endpoint, self._requests, one.most_invalid, self._later, grows=True)

    def options(self) -> dict[str, Any]:
        """With what it is asked, as answers have it."""
        categories = dict.fromkeys(question.category for question in self.benchmark.questions)
        temperatures = {name: self._temperature(name) for name in categories}
        return {
            "official": self.official,
            "keep_cut": self.keep_cut or self.official,
            "asks": self.answerer.asks,
            "temperatures": temperatures,
        }

    def _temperature(self, category: str) -> float:
        return OFFICIAL_TEMPERATURE if self.official else temperature_of(self.benchmark.kind, category)

    def _requests(self, ledger: Ledger | None) -> Iterator[Request]:
        for question in self.benchmark.questions:
            yield from (request for request, _ in self._turns(question, ledger))

    def _later(self, ledger: Ledger | None) -> Iterator[tuple[Request, float]]:
        for question in self.benchmark.questions:
            made = list(self._turns(question, ledger))
            settled = bool(made) and made[-1][1] is not None and made[-1][1].is_settled
            if len(made) < len(question.turns) and not settled:
                stand_ins = [_STANDS_IN] * (len(question.turns) - 1)
                yield self.request(question, stand_ins), 1.0

    def _turns(self, question: Question, ledger: Ledger | None) -> Iterator[tuple[Request, Said | None]]:
        """The requests of a question that can be made, each with what the ledger has of it."""
        answers: list[str] = []
        for _ in question.turns:
            request = self.request(question, answers)
            said = None if ledger is None else said_to(ledger, request)
            yield request, said
            if said is None or said.state != ANSWERED or said.raw is None:
                return
            answers.append(said.raw)

    def request(self, question: Question, answers: list[str]) -> Request:
        """The turn of a question behind the turns that have answers."""
        endpoint = self.answerer.endpoint
        messages: Messages = (user_message(question.turns[0]),)
        for answer, turn in zip(answers, question.turns[1:], strict=False):
            messages = (*messages, assistant_message(answer), user_message(turn))
        parameters: Mapping[str, Any] = {
            **endpoint.parameters,
            "temperature": self._temperature(question.category),
        }
        return Request(
            endpoint,
            kind=ANSWER,
            domain=question.category,
            query_id=f"{self.benchmark.name}: {question.id}",
            author=f"turn {len(answers) + 1}",
            messages=endpoint.opened(messages),
            parameters=parameters,
            read=partial(read_response, keep_cut=self.keep_cut or self.official),
            asks=self.answerer.asks,
            recipe=recipe_of(endpoint, parameters, endpoint.system),
        )

    def answers(self, ledger: Ledger) -> Iterator[Turn]:
        """What came of each turn, in the benchmark's order."""
        for question in self.benchmark.questions:
            said = [one for _, one in self._turns(question, ledger)]
            for turn in range(1, len(question.turns) + 1):
                one = said[turn - 1] if turn <= len(said) else None
                if one is None:
                    yield Turn(question.id, turn, reason="no-first")
                elif one.state == ANSWERED:
                    yield Turn(question.id, turn, one.raw)
                else:
                    yield Turn(question.id, turn, reason=why(one))


def why(said: Said, nothing: str = "unanswered") -> str:
    """Why there is no answer, or no score, in a word; `nothing` where nothing came back."""
    if said.is_refused:
        return "refused"
    if said.state in (PENDING, FAILED):
        return nothing
    return str(said.reason).partition(":")[0] or "none"
