"""What requests cost: the one rule for limits, the budget, the ledger, batches, status and estimates.

A request costs its tokens times the endpoint's prices, in whole units of 1/MONEY. Before it is
answered it counts with the most that it may take: a token is at least a byte, and a chat template
adds a few. An answer that does not say what it took counts with that bound too. An attempt that
brought no answer may be paid all the same where its outcome is one of `MAY_BE_PAID`; it then counts
with all that it may cost. Prices are in the run's currency: those in another are converted once,
and rounded up to a millionth, so that all sums are exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, Decimal, localcontext
from functools import lru_cache
from typing import Any, NamedTuple

from coig_p.annotate.asking.embeddings import asks_for_vectors
from coig_p.annotate.asking.message import Message
from coig_p.errors import UsageError

MONEY = 10**12
"""Costs are whole numbers of 1/MONEY of the currency, so that sums are exact."""

MAY_BE_PAID = ("timeout", "reset", "broken", "lost", "abandoned")
"""Outcomes of attempts that brought no answer and may have cost something all the same."""

_PER_TOKEN = MONEY // 10**6
_STEP = Decimal("0.000001")  # of prices
_HIDDEN_TOKENS = 1024  # that a server may add to a prompt before it is asked what that was
_HIGHEST_PRICE = 1_000_000  # for a million tokens; costs stay within SQLite's whole numbers
_TEMPLATE_TOKENS = 16  # that a chat template adds to a message, and once more to all
_ANSWER_TOKENS = 4096  # taken for the most where parameters do not say
_BYTES_A_CHARACTER = 3  # of Chinese in UTF-8


class Tokens(NamedTuple):
    """Tokens of a prompt and of its answer; `cached` are those of the prompt that the server had at hand."""

    prompt: int
    answer: int
    cached: int = 0

    @property
    def both(self) -> int:
        """Their sum, which limits count."""
        return self.prompt + self.answer


class Spent(NamedTuple):
    """Money in 1/MONEY: what answers cost, and what attempts without an answer may have cost at most."""

    paid: int = 0
    may_be_paid: int = 0

    @property
    def most(self) -> int:
        """All of it, which a budget counts."""
        return self.paid + self.may_be_paid


def price(tokens: Tokens, input_price: Decimal, output_price: Decimal, cached_price: Decimal | None = None) -> int:
    """What tokens cost at prices for a million of them, in 1/MONEY."""
    cached = tokens.cached if cached_price is not None else 0
    read = _a_token(input_price) * (tokens.prompt - cached)
    if cached_price is not None:
        read += _a_token(cached_price) * cached
    return read + _a_token(output_price) * tokens.answer


@lru_cache(maxsize=256)
def _a_token(price: Decimal) -> int:
    """A price for a million tokens as that of one, in 1/MONEY: a whole number, as `check_price` has seen to."""
    return int(price * _PER_TOKEN)


def converted(one: Decimal, rate: Decimal) -> Decimal:
    """A price at a rate, rounded up to a millionth."""
    with localcontext() as context:
        context.prec = 60
        return (one * rate).quantize(_STEP, ROUND_CEILING)


def check_price(name: str, value: Decimal) -> None:
    """Raise UsageError where a price is not one that `price` keeps exactly."""
    if not 0 <= value <= _HIGHEST_PRICE or value * _PER_TOKEN != int(value * _PER_TOKEN):
        raise UsageError(f"{name} = {value}: use 0 to {_HIGHEST_PRICE:,}, with at most 6 decimals")


def max_tokens(parameters: Mapping[str, Any]) -> Any:
    """The most tokens that an answer may have, where parameters say."""
    return parameters.get("max_completion_tokens", parameters.get("max_tokens"))


def bounded(output_price: Decimal, parameters: Mapping[str, Any]) -> bool:
    """Whether what an answer costs has an upper bound, so that a budget can be kept."""
    return not output_price or max_tokens(parameters) is not None


def most_tokens(messages: Sequence[Mapping[str, str]], parameters: Mapping[str, Any]) -> Tokens:
    """The most tokens that a request may take."""
    each = (len(message["content"].encode("utf-8", "surrogatepass")) + _TEMPLATE_TOKENS for message in messages)
    answer = 0 if asks_for_vectors(messages) else max_tokens(parameters) or _ANSWER_TOKENS
    return Tokens(sum(each) + _TEMPLATE_TOKENS, answer)


def taken_tokens(message: Message, most: Tokens) -> Tokens:
    """What an answer took: what it says, or else the most that it can have been."""
    prompt = most.prompt if message.prompt_tokens is None else message.prompt_tokens
    answer = message.completion_tokens
    if answer is None:
        answer = min(_bytes(message), most.answer)
    return Tokens(prompt, answer, message.cached_tokens)


def overbilled(message: Message, most: Tokens, parameters: Mapping[str, Any]) -> str | None:
    """What is wrong with the tokens that an answer is billed for; None where they keep to what was asked.

    A server that does not keep to max_tokens keeps to no budget.

    Args:
        most: what the request may take.
    """
    limit = max_tokens(parameters)
    if message.beyond:
        return "it bills more tokens for an answer than any model has"
    if limit is not None and message.completion_tokens is not None and message.completion_tokens > limit:
        return (
            f"it bills {message.completion_tokens:,} tokens for an answer of at most {limit:,} (max_tokens). "
            "If it bills thinking on top, raise max_tokens to what an answer may really take"
        )
    if message.prompt_tokens is not None and message.prompt_tokens > most.prompt + _HIDDEN_TOKENS:
        return f"it bills {message.prompt_tokens:,} tokens for a prompt that has at most {most.prompt:,}"
    return None


def overbilling(endpoint: str) -> str:
    """Under which name a ledger notes that an endpoint did so: JSON of the reasons by max_tokens, as text."""
    return f"overbilling {endpoint}"


def taken_in_batch(message: Message, characters: int) -> Tokens:
    """The same of a batch's answer, of whose request the ledger knows only the length."""
    return taken_tokens(message, Tokens(_BYTES_A_CHARACTER * characters, _bytes(message)))


def _bytes(message: Message) -> int:
    """Of what it says and of what it thought: no fewer than its tokens."""
    return sum(len((text or "").encode("utf-8", "surrogatepass")) for text in (message.text, message.reasoning))


def unanswered(outcome: str | None, most: int) -> int:
    """What an attempt that ended without an answer counts for, of the most that it might have taken."""
    return most if outcome in MAY_BE_PAID else 0
