"""What a judge is asked about a benchmark, and what came of it: requests for the ledger, results from it.

A pair is shown in both orders, or in one where a rule says so; the order that is asked first is drawn by hash, so that
the first response is not the better one more often than not. With ratings each response is shown alone, once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from coig_p.annotate.alone.running import Work
from coig_p.annotate.alone.said import Said, said_to
from coig_p.annotate.asking.ledger import FAILED, Ledger
from coig_p.annotate.asking.message import Message
from coig_p.annotate.asking.request import PENDING, Outcome, Request, recipe_of, user_message
from coig_p.annotate.prompts import Value
from coig_p.annotate.tasks.again import judged_again
from coig_p.core.arrays import hash64
from coig_p.reward.bench.form import Bench, Item, pairs_of
from coig_p.reward.bench.results import Result, Verdict, lengths
from coig_p.reward.judging.config import COMPARE, RATE, Judge
from coig_p.reward.judging.official import BETTER_FIRST, DRAWN, GIVEN, Rule
from coig_p.reward.judging.verdicts import asked_again, read_for_a, read_rating, read_verdict, verdict_of

TOO_LONG, REFUSED, UNANSWERED = "too-long", "refused", "unanswered"
_GIVEN_ORDER = ("judgebench",)  # presets whose files have the order to be asked first
_TOO_LONG = ("context_length", "context length", "maximum context", "too long", "too_long", "max_model_len")


class Question(NamedTuple):
    """One thing to ask: places of an item and of its responses in the order shown; `second` is -1 for a rating."""

    item: int
    first: int
    second: int


@dataclass(frozen=True)
class Questions:
    """What a judge is asked about a benchmark, in order.

    Attributes:
        kind: one of `config.SLOTS`.
    """

    bench: Bench
    judge: Judge
    rule: Rule
    seed: int = 0

    @property
    def kind(self) -> str:
        """Whether two responses are compared, or one is rated."""
        return RATE if self.rule.rating else COMPARE

    @property
    def asks(self) -> int:
        """How often a request is asked in all where its answer is unusable."""
        return self.judge.asks if self.rule.asks is None else self.rule.asks

    def __iter__(self) -> Iterator[Question]:
        for at in range(len(self.bench.items)):
            yield from self.of(at)

    def of(self, place: int) -> Iterator[Question]:
        """The questions of an item."""
        item = self.bench.items[place]
        if self.rule.rating:
            for at in range(len(item.responses)):
                yield Question(place, at, -1)
            return
        for better, worse in pairs_of(item):
            order = self._order(item, better, worse)
            yield Question(place, *order)
            if self.rule.orders not in (BETTER_FIRST, DRAWN, GIVEN):
                yield Question(place, *order[::-1])

    def _order(self, item: Item, better: int, worse: int) -> tuple[int, int]:
        """The order that is asked first."""
        orders = self.rule.orders
        if orders == BETTER_FIRST:
            return better, worse
        low, high = sorted((better, worse))
        if orders == GIVEN or self.bench.preset in _GIVEN_ORDER:
            return low, high
        ids = json.dumps([item.id, item.responses[low].id, item.responses[high].id])
        return (high, low) if hash64(f"order {self.seed} {ids}") & 1 else (low, high)

    def work(self) -> Work:
        """What is to be asked, each as the ledger knows it, made as it is taken."""
        return Work(self.judge.endpoint, lambda ledger: map(self.request, self), self.judge.most_invalid)

    def options(self, official: bool) -> dict[str, Any]:
        """With what the judge is asked, as results have it."""
        rule = self.rule
        told: dict[str, Any] = {"asks": self.asks, "rating": rule.rating}
        if not rule.rating:
            told |= {"orders": rule.orders, "seed": self.seed}
        if official:
            told |= {"official": {"faults": list(rule.faults), "not_repeated": list(rule.not_repeated)}}
        return told

    def request(self, question: Question) -> Request:
        """One question as a request; the same texts are the same request, whatever item they are of."""
        item = self.bench.items[question.item]
        shown = [item.responses[at] for at in question[1:] if at >= 0]
        texts = [one.text for one in shown]
        query = shown_prompt(item.messages)
        slots: dict[str, Value] = {"query": query}
        slots |= {"response": texts[0]} if self.rule.rating else {"first": texts[0], "second": texts[1]}
        endpoint, prompt = self.judge.endpoint, self.judge.prompt(self.kind)
        read: Callable[[Message], Outcome]
        if self.rule.rating:
            read = partial(read_rating, response=texts[0])
        elif self.rule.looks_for_a:
            read = read_for_a
        else:
            read = partial(read_verdict, responses=texts, several_stay=self.rule.several_stay)
        return Request(
            endpoint,
            kind=self.kind,
            domain=item.domain,
            query_id=f"{self.bench.name}: {item.id}",
            author=json.dumps([one.id for one in shown], ensure_ascii=False),
            messages=endpoint.opened((user_message(prompt.fill(slots)),)),
            parameters=endpoint.parameters,
            read=read,
            asks=self.asks,
            recipe=recipe_of(endpoint, endpoint.parameters, endpoint.system, prompt.text),
            again=partial(judged_again, half_points=True) if self.rule.rating else asked_again,
        )


def shown_prompt(messages: list[dict[str, str]]) -> Value:
    """What a prompt shows of the turns before a response: one user's text as it is, else all turns."""
    alone = len(messages) == 1 and messages[0]["role"] == "user"
    return messages[0]["content"] if alone else messages


def results_of(questions: Questions, ledger: Ledger) -> Iterator[Result]:
    """What was said of each item, in the benchmark's order; what is not settled counts as unanswered."""
    for at, item in enumerate(questions.bench.items):
        said = [(one, said_to(ledger, questions.request(one))) for one in questions.of(at)]
        yield (_rated if questions.rule.rating else _compared)(item, said)


def _rated(item: Item, said: list[tuple[Question, Said]]) -> Result:
    rewards = tuple(one.score for _, one in said)
    reason = next((_why(one) for _, one in said if one.score is None), None)
    return Result(item.id, item.domain, rewards, None, reason, lengths(item))


def _compared(item: Item, said: list[tuple[Question, Said]]) -> Result:
    verdicts, without = [], []
    for question, one in said:
        verdict = None if one.score is None else verdict_of(one.score)
        why = _why(one) if verdict is None else None
        if why is not None:
            without.append(why)
        if why != TOO_LONG:
            sides = item.responses[question.first].id, item.responses[question.second].id
            verdicts.append(Verdict(sides, verdict, one.raw))
    reason = TOO_LONG if TOO_LONG in without else next(iter(without), None)
    return Result(item.id, item.domain, None, tuple(verdicts), reason, lengths(item))


def _why(said: Said) -> str:
    """Why there is no verdict, in a word."""
    if said.is_refused:
        words = str(said.reason).lower()
        return TOO_LONG if any(word in words for word in _TOO_LONG) else REFUSED
    if said.state in (PENDING, FAILED):
        return UNANSWERED
    return str(said.reason).partition(":")[0] or "none"
