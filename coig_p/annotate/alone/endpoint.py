"""The endpoint that is asked: the table [endpoint] of a TOML file, or an address and a model's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from coig_p.annotate.asking.costs import bounded, max_tokens
from coig_p.annotate.asking.endpoint import Endpoint
from coig_p.annotate.asking.request import Messages
from coig_p.annotate.sources import check_parameters
from coig_p.annotate.tables import check_keys, load_table, read_table
from coig_p.errors import UsageError


def check_asking(asks: int, max_cost: Decimal | None, most_invalid: float) -> None:
    """Raise UsageError where an endpoint cannot be asked so often, for so much, or with such a share unread."""
    if not 1 <= asks <= 20:
        raise UsageError(f"asks = {asks}: use 1 to 20")
    if max_cost is not None and max_cost < 0:
        raise UsageError(f"max_cost = {max_cost}: use 0 or more")
    if not 0 <= most_invalid <= 1:
        raise UsageError(f"most_invalid = {most_invalid:g}: use a share from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class LoneEndpoint(Endpoint):
    """The table [endpoint]: what is asked; see `Endpoint`.

    Attributes:
        system: a system message before each request.
        parameters: sent along with each.
    """

    system: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch:
            raise UsageError("batch = true: it is asked online here. Leave it out")
        check_parameters("parameters", self.parameters)
        limit = max_tokens(self.parameters)
        if limit is not None and self.tokens_per_minute is not None and limit >= self.tokens_per_minute:
            raise UsageError(f"parameters: max_tokens = {limit} does not fit in tokens_per_minute")

    def check_budget(self, parameters: Mapping[str, Any] | None = None) -> None:
        """Raise UsageError where an answer's cost has no upper bound, so that no budget could be kept.

        Args:
            parameters: that are sent; default: its own.
        """
        if not bounded(self.output_price, self.parameters if parameters is None else parameters):
            raise UsageError(f"endpoint {self.name!r}: a budget can be kept only where parameters has max_tokens")

    def opened(self, messages: Messages) -> Messages:
        """A conversation behind its system message, where it has one."""
        return messages if self.system is None else ({"role": "system", "content": self.system}, *messages)


def endpoint_of(table: Mapping[str, Any]) -> LoneEndpoint:
    """The endpoint that a whole file names.

    Raises:
        UsageError: it names none, or what it says of it cannot be.
    """
    if "endpoint" not in table:
        raise UsageError("no table [endpoint]: it says who is asked, with name, model and base_url")
    return read_table(LoneEndpoint, table["endpoint"], "endpoint")


def load_endpoint(path: str | Path) -> LoneEndpoint:
    """The endpoint of a TOML file that has nothing else.

    Raises:
        UsageError: no such file, not TOML, an unknown key, or a value that cannot be; names the file and the key.
    """
    path = Path(path)
    table = load_table(path, ". Name a TOML file, or an http(s) address")
    try:
        check_keys(table, ("endpoint",), "")
        return endpoint_of(table)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def endpoint_at(base_url: str, model: str, key_env: str | None, parameters: Mapping[str, Any]) -> LoneEndpoint:
    """An OpenAI-compatible address.

    Args:
        model: what the server calls it, and what results call it.
        key_env: the environment variable that holds its key.

    Raises:
        UsageError: an address that cannot be.
    """
    return LoneEndpoint(name=model, model=model, base_url=base_url, key_env=key_env, parameters=parameters)
