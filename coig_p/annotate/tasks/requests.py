"""What is asked: requests as a pure function of the run's file, a query and a response, and who judges what."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from coig_p.annotate.asking.client import Message, read_body, usable_text
from coig_p.annotate.asking.ledger import ANSWERED, BATCHED, FAILED, INVALID, Ledger, Query, request_key
from coig_p.annotate.config import Endpoint, RunConfig, max_tokens
from coig_p.annotate.parsing import parse_score

QUERY, GENERATE, JUDGE = "query", "generate", "judge"
KINDS = (QUERY, GENERATE, JUDGE)
PENDING = "pending"

_ANSWER_TOKENS = 4096  # taken for the most where parameters do not say


@dataclass(frozen=True, slots=True)
class Request:
    """One thing to ask one endpoint; asked again, it is another request to the ledger.

    Attributes:
        author: whose response is judged.
    """

    endpoint: Endpoint
    kind: str
    domain: str
    query_id: str
    author: str | None
    messages: tuple[Mapping[str, str], ...]
    parameters: Mapping[str, Any]

    def key(self, ask: int) -> bytes:
        """By what the ledger knows it."""
        return request_key(self.endpoint.name, self.endpoint.model, self.messages, self.parameters, ask)

    def about(self, ask: int, key: bytes) -> dict[str, Any]:
        """What the ledger keeps of it."""
        return {
            "key": key,
            "endpoint": self.endpoint.name,
            "kind": self.kind,
            "domain": self.domain,
            "query_id": self.query_id,
            "author": self.author,
            "ask": ask,
            "characters": sum(len(message["content"]) for message in self.messages),
        }

    def most(self) -> tuple[int, int]:
        """The most tokens of prompt and answer: a token is at least a byte, and templates add a few."""
        prompt = sum(len(message["content"].encode("utf-8", "surrogatepass")) + 16 for message in self.messages) + 16
        return prompt, max_tokens(self.parameters) or _ANSWER_TOKENS


class Outcome(NamedTuple):
    """What became of a request over all its asks.

    Attributes:
        state: answered, invalid (at every ask), failed, batched or pending.
        reason: why it is invalid or failed.
        text: of an answer; score: of a judgement.
    """

    state: str
    reason: str | None = None
    text: str | None = None
    score: float | None = None


def query_request(config: RunConfig, query: Query) -> Request:
    """The filter's judgement of a query."""
    endpoint = config.by_name[str(config.queries.filter)]
    prompt = config.query_prompt.fill({"query": query.query})
    return Request(endpoint, QUERY, query.domain, query.query_id, None, (_user(prompt),), endpoint.judge_parameters)


def generate_request(endpoint: Endpoint, query: Query) -> Request:
    """A model's response to a query, which is sent as it is."""
    system = () if endpoint.system is None else ({"role": "system", "content": endpoint.system},)
    messages = (*system, _user(query.query))
    return Request(endpoint, GENERATE, query.domain, query.query_id, None, messages, endpoint.parameters)


def judge_request(config: RunConfig, judge: Endpoint, query: Query, author: str, response: str) -> Request:
    """A judge's score of a response."""
    prompt = config.judge_prompts[query.domain].fill({"query": query.query, "response": response})
    return Request(judge, JUDGE, query.domain, query.query_id, author, (_user(prompt),), judge.judge_parameters)


def drawn_judges(config: RunConfig, query_id: str, author: str) -> list[str]:
    """Who scores a model's response to a query: the first of its pool in an order that a hash makes."""
    drawn_for = [config.seed, query_id, author] if config.judging.draw == "response" else [config.seed, query_id]
    prefix = json.dumps(drawn_for, ensure_ascii=True)
    order = sorted(config.pools[author], key=lambda judge: hashlib.sha256(f"{prefix}{judge}".encode()).digest())
    return order[: config.judging.judges_per_response]


def verdict(config: RunConfig, kind: str, domain: str, message: Message) -> Outcome:
    """Whether an answer can be used, and the score in a judgement."""
    text, reason = usable_text(message)
    if text is None:
        return Outcome(INVALID, reason)
    if kind == GENERATE:
        return Outcome(ANSWERED, text=text)
    if message.finish == "length":
        return Outcome(INVALID, "cut-off")
    parsed = parse_score(text, half_points=kind == JUDGE and config.half_points(domain))
    return Outcome(INVALID if parsed.score is None else ANSWERED, parsed.reason, text, parsed.score)


def outcome(config: RunConfig, ledger: Ledger, request: Request) -> Outcome:
    """What the ledger has of a request: the first ask with an answer counts."""
    last = Outcome(PENDING)
    for ask in range(config.judging.asks):
        key = request.key(ask)
        found = ledger.get(key)
        if found is None or found.state not in (ANSWERED, INVALID, FAILED):
            return Outcome(BATCHED if found is not None and found.state == BATCHED else PENDING)
        if found.state == ANSWERED:
            return Outcome(ANSWERED, None, usable_text(read_body(str(found.body)))[0], found.score)
        last = Outcome(found.state, found.reason)
        if found.state == FAILED:
            break
    return last


def _user(content: str) -> Mapping[str, str]:
    return {"role": "user", "content": content}
