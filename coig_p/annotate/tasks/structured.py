"""Judgements as JSON with a schema, where an endpoint has structured output: the analysis first, then the score.

Whether it has is found out by one small request, which the ledger keeps as any other. A judge that may be asked so
has two forms of each request; answers to either count, so a ledger from before goes on. Without the setting there is
one form, with the key that it always had.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from coig_p.annotate.asking.ledger import ANSWERED, INVALID, Ledger
from coig_p.annotate.asking.message import Message, usable_text
from coig_p.annotate.asking.request import Messages, Outcome, Request, is_refused, user_message
from coig_p.annotate.config import EndpointConfig, RunConfig
from coig_p.annotate.parsing import HIGH, LOW

PROBE = "probe"

_FORM = "\n这一次请以 JSON 作答，代替上面最后的格式：analysis 里写分析，score 里只写总体评分的数字。\n"
_ASKED = "请评价“一加一等于二”这句话是否正确，十分制打分。" + _FORM


def with_structure(request: Request, endpoint: EndpointConfig, *, half_points: bool) -> Request:
    """The request with structured output, which falls back on the one without; or that one alone."""
    if endpoint.structured is False:
        return request
    first = request.messages[0]
    messages: Messages = ({**first, "content": first["content"] + _FORM}, *request.messages[1:])
    parameters = {**request.parameters, "response_format": _format(half_points)}
    probe = probe_request(endpoint).key(0) if endpoint.structured == "auto" else None
    return request._replace(messages=messages, parameters=parameters, plain=request, probe=probe)


def probes(config: RunConfig, ledger: Ledger) -> list[Request]:
    """For each judge of which it is to be found out, one request; not where the answer was no already."""
    unsure = [one for one in config.endpoints if one.structured == "auto"]
    uses = [one for one in unsure if one.judges or one.name == config.queries.filter]
    return [request for request in map(probe_request, uses) if not is_refused(ledger, request)]


def probe_request(endpoint: EndpointConfig) -> Request:
    """What shows whether an endpoint has structured output."""
    return Request(
        endpoint,
        kind=PROBE,
        domain="",
        query_id="",
        messages=(user_message(_ASKED),),
        parameters={**endpoint.judge_parameters, "response_format": _format(False)},
        read=_read_probe,
    )


def _read_probe(message: Message) -> Outcome:
    text, reason = usable_text(message)
    found = None if text is None or message.cut else structured_score(text, half_points=False)
    if found is None or found.score is None:
        return Outcome(INVALID, reason or ("ignored" if found is None else found.reason))
    return Outcome(ANSWERED, text=text)


def structured_score(text: str, *, half_points: bool, response: str = "") -> Outcome | None:
    """The score of an answer that keeps to the schema, exactly; None where it is no such object.

    Args:
        response: what was judged: an answer that stands in it word for word is a quotation.
    """
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or value.keys() != {"analysis", "score"} or not isinstance(value["analysis"], str):
        return None
    score = value["score"]
    if isinstance(score, bool) or not isinstance(score, (int, float)):
        return Outcome(INVALID, "malformed", text)
    if _plain(text) in _plain(response):
        return Outcome(INVALID, "quoted", text)
    if not LOW <= score <= HIGH:
        return Outcome(INVALID, "out-of-range", text)
    if (score * (2 if half_points else 1)) % 1:
        return Outcome(INVALID, "off-step", text)
    return Outcome(ANSWERED, None, text, float(score))


def _plain(text: str) -> str:
    return "".join(text.split())


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key stands there twice")
    return dict(pairs)


def _format(half_points: bool) -> Mapping[str, Any]:
    scores = [number / 2 if number % 2 else number // 2 for number in range(2 * LOW, 2 * HIGH + 1)]
    allowed = scores if half_points else scores[::2]
    schema = {
        "type": "object",
        "properties": {"analysis": {"type": "string"}, "score": {"type": "number", "enum": allowed}},
        "required": ["analysis", "score"],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": "judgement", "strict": True, "schema": schema}}
