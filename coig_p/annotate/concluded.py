"""What makes a query's requests, as one short mark, so that a query that is through is not gone over again.

A query is through once each of its requests has an outcome that a further run would not change. The mark
is made of everything in a run's file but what cannot change a request: whoever adds a setting need not
think of this module. Where a mark is another than the one that a query has, its requests are looked up
one by one again, which asks nothing that was answered.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from typing import Any

from coig_p._version import __version__
from coig_p.annotate.config import RunConfig
from coig_p.annotate.taxonomy.config import TapConfig

_RUN = frozenset({"path", "folder", "max_cost", "currency", "most_invalid", "prompt_file", "domains", "judge_prompts"})
_TAP = frozenset({"tap", "writes"})  # of a TaP run alone: see `_of_tap`
_STORE = frozenset({"keep_thinking", "sources"})  # what the store is made with, and no request
_QUERIES = frozenset({"inputs", "domain", "on_error", "near_duplicates", "semantic", "semantic_model"})
_ENDPOINT = frozenset(
    {"base_url", "key_env", "headers", "query", "stream", "concurrency", "requests_per_minute", "tokens_per_minute"}
    | {"input_price", "output_price", "cached_input_price", "currency", "timeout", "deadline", "attempts", "give_up"}
    | {"batch", "batch_requests", "batch_bytes", "batch_poll", "batch_discount"}
)


def marks(config: RunConfig) -> dict[str, str]:
    """For each domain the mark that its queries have once they are through."""
    whole = _without(_settings(config), _STORE)
    whole["queries"] = _without(whole["queries"], frozenset({"license"}))
    whole["judging"] = _without(whole["judging"], frozenset({"default_threshold"}))
    if config.tap is not None:
        return dict.fromkeys(config.tap.domains, _digest([__version__, _of_tap(config.tap), whole]))
    systems = {domain: own.system for domain, own in config.domains.items()}
    return {
        domain: _digest([__version__, domain, prompt.text, config.half_points(domain), whole, systems.get(domain)])
        for domain, prompt in config.judge_prompts.items()
    }


def stored_from(config: RunConfig) -> str:
    """What a store is made with, beside the ledger."""
    whole = config.tap is not None and config.tap.select.all_responses
    return _digest([marks(config), _settings(config), whole])


def _of_tap(tap: TapConfig) -> list[Any]:
    """What makes the requests of a TaP run's queries, once these are there; subjects and rounds bring queries alone."""
    texts = {name: prompt.text for name, prompt in tap.texts.templates.items()}
    select = asdict(replace(tap.select, all_responses=False))  # of the store alone
    return [select, asdict(tap.compare), asdict(replace(tap.texts, templates={})), texts]


def _settings(config: RunConfig) -> dict[str, Any]:
    whole = _without(asdict(replace(config, tap=None)), _RUN | _TAP)  # a taxonomy would take a second
    whole["queries"] = _without(whole["queries"], _QUERIES)
    whole["endpoints"] = [_without(endpoint, _ENDPOINT | _TAP) for endpoint in whole["endpoints"]]
    return whole


def _without(settings: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in names}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:32]
