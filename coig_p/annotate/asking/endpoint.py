"""One model behind one OpenAI-compatible URL, with its limits and its prices."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import urlsplit

from coig_p.annotate.asking.costs import Tokens, check_price, converted, price
from coig_p.errors import UsageError

_MOST_AT_ONCE = 4096
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_OURS_TO_CHANGE = re.compile(
    r"(host|content-.*|accept-encoding|transfer-encoding|connection|keep-alive|proxy-.*|te|trailer|upgrade|expect)$",
    re.IGNORECASE,
)
_SECRET = re.compile(r"auth(?!or\b|ority)|key|token|secret|cookie|password|credential|signature|^sig$", re.IGNORECASE)

OneEndpoint = TypeVar("OneEndpoint", bound="Endpoint")


@dataclass(frozen=True)
class Endpoint:
    """What is asked, and how fast it may be asked.

    Attributes:
        name: unique among all that are asked; part of a request's key.
        model: what the server calls it.
        key_env: the environment variable that holds its key.
        headers, query: what else goes with each request, in its head and in its address; a value is
            text, or {"env": NAME} for the value of an environment variable.
        stream: whether its answers are asked for as streams, for endpoints that only stream.
        concurrency: requests in flight.
        requests_per_minute, tokens_per_minute: in any 60 seconds; no limit where not given.
        input_price, output_price: for a million tokens.
        cached_input_price: for those of a prompt that the server had at hand; default: input_price.
        batch_discount: the share of the prices that a batch saves: .5 where it costs half.
        currency: of its prices as they were given; see `in_currency`.
        batch: whether it is asked through OpenAI's batch API, where answers may take a day and cost less.
        batch_requests, batch_bytes: the most that a batch file of it may hold.
        batch_poll: seconds between two looks at what became of its batches.
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
    headers: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    stream: bool = False
    cached_input_price: Decimal | None = None
    batch_discount: Decimal = Decimal(0)
    batch: bool = False
    batch_requests: int = 50_000
    batch_bytes: int = 200_000_000
    batch_poll: float = 60.0
    currency: str | None = None

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
            raise UsageError(
                f"base_url {self.base_url!r}: put what follows ? into query; a part from # on is never sent"
            )
        if self.concurrency > _MOST_AT_ONCE:
            raise UsageError(f"concurrency = {self.concurrency}: use at most {_MOST_AT_ONCE:,}")
        counts = (
            "concurrency",
            "attempts",
            "requests_per_minute",
            "tokens_per_minute",
            "batch_requests",
            "batch_bytes",
        )
        for name in counts:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} = {value}: use 1 or more")
        for name in ("timeout", "deadline", "give_up", "batch_poll"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} = {getattr(self, name):g}: use seconds above 0")
        for name in ("input_price", "output_price", "cached_input_price"):
            if getattr(self, name) is not None:
                check_price(name, getattr(self, name))
        if self.cached_input_price is not None and self.cached_input_price > self.input_price:
            raise UsageError(f"cached_input_price = {self.cached_input_price} is more than input_price")
        if not 0 <= self.batch_discount <= 1:
            raise UsageError(
                f"batch_discount = {self.batch_discount}: use a number from 0 to 1; 0.5 where it costs half"
            )
        self._check_named()

    def _check_named(self) -> None:
        for name, value in self.headers.items():
            if not _HEADER.fullmatch(name) or _NOT_OURS_TO_CHANGE.fullmatch(name):
                raise UsageError(f"headers: {name!r} is none that can be set")
            _check_value("headers", name, value)
        if self.key_env is not None and any(name.lower() == "authorization" for name in self.headers):
            raise UsageError("headers: Authorization is made from key_env: give one of the two")
        lower = [name.lower() for name in self.headers]
        if len(set(lower)) < len(lower):
            raise UsageError("headers: two have one name; small and capital letters are the same there")
        for name, value in self.query.items():
            if not name.strip():
                raise UsageError("query: a name is blank")
            _check_value("query", name, value)

    def cost(self, tokens: Tokens, *, batch: bool = False) -> int:
        """What so many tokens cost here, in 1/MONEY; `batch`: with the discount of batches."""
        cached = self.cached_input_price
        if not batch or not self.batch_discount:
            return price(tokens, self.input_price, self.output_price, cached)
        prices = (self.input_price, self.output_price, self.input_price if cached is None else cached)
        return price(tokens, *(converted(one, 1 - self.batch_discount) for one in prices))

    def variables(self) -> tuple[str, ...]:
        """The environment variables whose values go to it."""
        named = [value["env"] for value in (*self.headers.values(), *self.query.values()) if isinstance(value, Mapping)]
        return tuple(dict.fromkeys([*([self.key_env] if self.key_env is not None else []), *named]))

    def secrets(self) -> list[str]:
        """The values of those, which appear nowhere but in what is sent."""
        return [self._variable(name) for name in self.variables()]

    def sent_headers(self) -> dict[str, str]:
        """The headers of its own, with its key where it has one.

        Without a key of any kind the key is "none", for servers that want one whatever it is.
        """
        sent = {name: self._value(value) for name, value in self.headers.items()}
        if self.key_env is not None or not (self.variables() or any(name.lower() == "authorization" for name in sent)):
            sent["Authorization"] = f"Bearer {self.key()}"
        return sent

    def sent_query(self) -> dict[str, str]:
        """What its address ends with."""
        return {name: self._value(value) for name, value in self.query.items()}

    def _value(self, value: Any) -> str:
        return self._variable(value["env"]) if isinstance(value, Mapping) else str(value)

    def key(self) -> str:
        """Its key, or "none"; raise UsageError where the environment does not hold it."""
        if self.key_env is None:
            return "none"
        return self._variable(self.key_env)

    def _variable(self, name: str) -> str:
        value = os.environ.get(name, "").strip()
        if not value:
            raise UsageError(f"endpoint {self.name!r}: the environment variable {name} is not set")
        if not all("!" <= letter <= "~" or (letter == " " and name != self.key_env) for letter in value):
            raise UsageError(f"endpoint {self.name!r}: {name} holds a space or letter that no key has")
        return value


def in_currency(endpoint: OneEndpoint, currency: str | None, rates: Mapping[str, Decimal]) -> OneEndpoint:
    """An endpoint with its prices in the run's currency, each rounded up to a millionth.

    Args:
        currency: of the run.
        rates: what one unit of another currency is worth in the run's.

    Raises:
        UsageError: nobody says what the endpoint's currency is worth.
    """
    given = endpoint.currency
    if given is None or given == currency:
        return endpoint
    if given not in rates:
        how = f"under [rates] say what one {given} is worth in "
        how += f"{currency}: {given} = ..." if currency is not None else "the run's: [run] has currency for that"
        raise UsageError(f"endpoint {endpoint.name!r} has prices in {given}, and the run in another currency: {how}")
    prices = {name: getattr(endpoint, name) for name in ("input_price", "output_price", "cached_input_price")}
    worth = {name: converted(one, rates[given]) for name, one in prices.items() if one is not None}
    return replace(endpoint, **worth)  # type: ignore[arg-type]


def _check_value(where: str, name: str, value: Any) -> None:
    """Raise UsageError where a value cannot be sent, or is a secret that stands in the file."""
    if isinstance(value, Mapping):
        if list(value) != ["env"] or not isinstance(value["env"], str) or not value["env"].strip():
            raise UsageError(f'{where}.{name} = {dict(value)!r}: use text, or {{ env = "NAME" }} for a variable')
        return
    if _SECRET.search(name):  # without its value
        raise UsageError(f'{where}.{name} looks like a secret: put it into a variable, and write {{ env = "NAME" }}')
    if not isinstance(value, str) or not all(" " <= letter <= "~" for letter in value):
        raise UsageError(f'{where}.{name} = {value!r}: use plain text, or {{ env = "NAME" }} for a variable')
