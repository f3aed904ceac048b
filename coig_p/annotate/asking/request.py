"""What is asked, and what became of it. A task makes requests; asking knows nothing else of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from coig_p.annotate.asking.costs import Tokens, most_tokens
from coig_p.annotate.asking.endpoint import Endpoint
from coig_p.annotate.asking.ledger import ANSWERED, BATCHED, FAILED, INVALID, Entry, Ledger, request_key
from coig_p.annotate.asking.message import Message, read_body, thinking, usable_text

PENDING = "pending"
_REMINDER = 1024  # bytes of what a request says beside the last answer when it is asked again
_KNOWN = (ANSWERED, INVALID, BATCHED)

Messages = tuple[Mapping[str, str], ...]
"""A chat, as it is sent."""

Again = Callable[[Messages, Message, str], Sequence[Messages]]
"""From what was sent, an answer that cannot be used, and why, to what is sent next; then what would be for others."""


class Outcome(NamedTuple):
    """What became of a request, or what is read in one answer.

    Attributes:
        state: answered or invalid; over all asks (see `outcome`) also failed, batched or pending.
        reason: why it is invalid or failed.
        text: of an answer; score: of a judgement.
        thinking: what the model thought before it answered, as the ledger has it.
    """

    state: str
    reason: str | None = None
    text: str | None = None
    score: float | None = None
    thinking: str = ""

    @property
    def is_refused(self) -> bool:
        """Whether its server will never answer it."""
        return self.state == FAILED and str(self.reason).partition(":")[0] == "refused"


class Request(NamedTuple):
    """One thing to ask one endpoint; asked again, it is another request to the ledger.

    Attributes:
        kind, domain, query_id, author: what it is about, for the ledger; asking does not read them.
        messages, parameters: as the chat completion has them.
        read: what an answer to it says: answered or invalid.
        asks: how often it is asked in all where the answer is invalid.
        recipe: with what it was made (prompt, parameters, model), for the ledger to count by; "" where its
            task does not say. It is no part of the key: that is made of what is really sent.
        again: what is sent then; None: the same.
        plain: another form of it, which is asked where the endpoint does not have this one; answers to it count.
        probe: the key of the request that shows whether the endpoint has it; None: it has.
    """

    endpoint: Endpoint
    kind: str
    domain: str
    query_id: str
    messages: Messages
    parameters: Mapping[str, Any]
    read: Callable[[Message], Outcome]
    author: str | None = None
    asks: int = 1
    recipe: str = ""
    again: Again | None = None
    plain: Request | None = None
    probe: bytes | None = None

    def key(self, ask: int) -> bytes:
        """By what the ledger knows it."""
        return request_key(self.endpoint.name, self.endpoint.model, self.messages, self.parameters, ask)

    def entry(self, ask: int, key: bytes) -> Entry:
        """What the ledger keeps of it."""
        characters = sum(len(message["content"]) for message in self.messages)
        about = (self.endpoint.name, self.kind, self.domain, self.query_id, self.author)
        return Entry(key, *about, ask, characters, self.recipe)

    def most(self) -> Tokens:
        """The most tokens that it may take."""
        return most_tokens(self.messages, self.parameters)

    def most_in_all(self, extra: int = 0) -> Tokens:
        """The most tokens that all its asks may take, where its messages have so many bytes more than now."""
        once = self.most()
        grows = 0 if self.again is None else once.answer + _REMINDER
        more = grows * (self.asks * (self.asks - 1) // 2)
        return Tokens(self.asks * (once.prompt + extra) + more, self.asks * once.answer)


def asks(ledger: Ledger, request: Request) -> Iterator[tuple[int, Request]]:
    """The asks of a request one after another, each with what is sent; take the next where the last one is invalid."""
    request = asked = _form(ledger, request)
    for ask in range(request.asks):
        if ask and request.again is not None:
            asked = _asked_again(ledger, request, request.again, asked, ask)
        yield ask, asked


def _form(ledger: Ledger, request: Request) -> Request:
    """The form of a request that the ledger has an answer to, or that its endpoint has."""
    plain = request.plain
    if plain is None:
        return request
    for form in (request, plain):
        if ledger.state(form.key(0)) in _KNOWN:
            return form
    if request.probe is not None and ledger.state(request.probe) != ANSWERED:
        return plain
    return plain if is_refused(ledger, request) else request


def is_refused(ledger: Ledger, request: Request) -> bool:
    """Whether its endpoint said that it will not have such a request."""
    found = ledger.get(request.key(0))
    return found is not None and found.state == FAILED and str(found.reason).partition(":")[0] == "refused"


def _asked_again(ledger: Ledger, request: Request, again: Again, before: Request, ask: int) -> Request:
    """What is sent at an ask but the first: what the ledger has of it already, in whatever words, is not sent anew."""
    if ledger.state(request.key(ask)) in _KNOWN:  # asked with the same bytes, as once was done
        return request
    last = ledger.get(before.key(ask - 1))
    if last is None or last.body is None:
        return request
    told = again(before.messages, read_body(last.body), str(last.reason))
    forms = [request._replace(messages=messages) for messages in told]
    # The reason is read anew when parsing changes, and what was sent then had other words.
    return next((form for form in forms if ledger.state(form.key(ask)) in _KNOWN), forms[0])


def outcome(ledger: Ledger, request: Request) -> Outcome:
    """What the ledger has of a request over all its asks: the first ask with an answer counts."""
    last = Outcome(PENDING)
    for ask, asked in asks(ledger, request):
        found = ledger.get(asked.key(ask))
        if found is None or found.state not in (ANSWERED, INVALID, FAILED):
            return Outcome(BATCHED if found is not None and found.state == BATCHED else PENDING)
        if found.state == ANSWERED:
            message = read_body(str(found.body))
            return Outcome(ANSWERED, None, usable_text(message)[0], found.score, thinking(message))
        last = Outcome(found.state, found.reason)
        if found.state == FAILED:
            break
    return last


def recipe_of(endpoint: Endpoint, parameters: Mapping[str, Any], *templates: str | None) -> str:
    """With what requests are made, for the ledger to count by: short JSON.

    It has `model`, `parameters` and `prompt`, a hash of the templates in their order. Answers whose recipe
    is no longer one of the run's were asked for in other words than today's, and may have to be paid again.
    """
    prompt = hashlib.sha256(json.dumps(templates).encode()).hexdigest()[:16]
    about = {"model": endpoint.model, "parameters": parameters, "prompt": prompt}
    return json.dumps(about, sort_keys=True, separators=(",", ":"))


def user_message(content: str) -> Mapping[str, str]:
    """A message of the user's."""
    return {"role": "user", "content": content}


def assistant_message(content: str) -> Mapping[str, str]:
    """A message of the model's."""
    return {"role": "assistant", "content": content}
