"""One model behind one OpenAI-compatible URL, with its limits and its prices."""

from __future__ import annotations

import os
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import urlsplit

from coig_p.annotate.asking.costs import Tokens, check_price, price
from coig_p.errors import UsageError

_MOST_AT_ONCE = 4096


@dataclass(frozen=True)
class Endpoint:
    """What is asked, and how fast it may be asked.

    Attributes:
        name: unique among all that are asked; part of a request's key.
        model: what the server calls it.
        key_env: the environment variable that holds its key.
        concurrency: requests in flight.
        requests_per_minute, tokens_per_minute: in any 60 seconds; no limit where not given.
        input_price, output_price: for a million tokens.
        timeout: seconds of one attempt.
        deadline: seconds that one request may take in all: attempts and backoff, without the
            time spent waiting for the endpoint's limits.
        attempts: at one request, those turned away for their rate (429) not counted.
        give_up: seconds without any answer after which an endpoint is left for this run.
    """

    name: str
    model: str
    base_url: str
    key_env: str | None = None
    concurrency: int = 16
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    input_price: Decimal = Decimal(0)
    output_price: Decimal = Decimal(0)
    timeout: float = 120.0
    deadline: float = 600.0
    attempts: int = 6
    give_up: float = 900.0

    def __post_init__(self) -> None:
        for name in ("name", "model"):
            if not getattr(self, name).strip():
                raise UsageError(f"{name} is blank")
        try:
            url = urlsplit(self.base_url)
            right = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
        except ValueError:
            right = False
        if not right:
            raise UsageError(f"base_url {self.base_url!r}: give a URL such as https://host/v1")
        if url.username or url.password:
            raise UsageError("base_url holds a password: put it in an environment variable and name that in key_env")
        if url.query or url.fragment:
            raise UsageError(f"base_url {self.base_url!r}: a part from ? or # on is never sent")
        if self.concurrency > _MOST_AT_ONCE:
            raise UsageError(f"concurrency = {self.concurrency}: use at most {_MOST_AT_ONCE:,}")
        for name, low in (("concurrency", 1), ("attempts", 1), ("requests_per_minute", 1), ("tokens_per_minute", 1)):
            value = getattr(self, name)
            if value is not None and value < low:
                raise UsageError(f"{name} = {value}: use {low} or more")
        for name in ("timeout", "deadline", "give_up"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} = {getattr(self, name):g}: use seconds above 0")
        for name in ("input_price", "output_price"):
            check_price(name, getattr(self, name))

    def cost(self, tokens: Tokens) -> int:
        """What so many tokens cost here, in 1/MONEY."""
        return price(tokens, self.input_price, self.output_price)

    def key(self) -> str:
        """Its key, or "none"; raise UsageError where the environment does not hold it."""
        if self.key_env is None:
            return "none"
        key = os.environ.get(self.key_env, "").strip()
        if not key:
            raise UsageError(f"endpoint {self.name!r}: the environment variable {self.key_env} is not set")
        if not all("!" <= letter <= "~" for letter in key):
            raise UsageError(f"endpoint {self.name!r}: {self.key_env} holds a space or letter that no key has")
        return key
