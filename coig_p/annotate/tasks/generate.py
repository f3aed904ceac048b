"""A model answers a query, which is sent as it is (COIG-P, section 3.2), or in its domain's template."""

from __future__ import annotations

from functools import partial

from coig_p.annotate.asking.ledger import ANSWERED, INVALID, Query
from coig_p.annotate.asking.message import Message, usable_text
from coig_p.annotate.asking.request import Messages, Outcome, Request, user_message
from coig_p.annotate.config import EndpointConfig, RunConfig

GENERATE = "generate"


def generate_request(config: RunConfig, author: EndpointConfig, query: Query) -> Request:
    """A model's response to a query."""
    return Request(
        author,
        kind=GENERATE,
        domain=query.domain,
        query_id=query.query_id,
        messages=chat(config, author, query),
        parameters=author.parameters,
        read=partial(read_response, keep_cut=config.keep_cut),
        asks=config.judging.asks,
        recipe=config.recipes[GENERATE, query.domain, author.name],
    )


def chat(config: RunConfig, author: EndpointConfig, query: Query) -> Messages:
    """What a model is sent: the query's turns, the last in its domain's template, below a system message.

    The system message is the conversation's own, else the domain's, else the endpoint's.
    """
    turns = query.turns
    template = config.generate_prompts.get(query.domain)
    if template is not None:
        turns = (*turns[:-1], user_message(template.put({"query": turns[-1]["content"]})))
    system = config.system(author, query.domain)
    if system is None or turns[0]["role"] == "system":
        return turns
    return ({"role": "system", "content": system}, *turns)


def read_response(message: Message, *, keep_cut: bool = False) -> Outcome:
    """A response is usable where it has text that is whole; `keep_cut`: also where it was cut."""
    text, reason = usable_text(message)
    if message.cut and not keep_cut:
        return Outcome(INVALID, f"cut: {message.cut}")
    return Outcome(INVALID, reason) if text is None else Outcome(ANSWERED, text=text)
