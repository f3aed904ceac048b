"""What an answer that is in the ledger or a batch file says: by the kind of what was asked."""

from __future__ import annotations

from coig_p.annotate.asking.ledger import INVALID, Entered, Ledger
from coig_p.annotate.asking.message import Message
from coig_p.annotate.asking.request import Outcome, outcome
from coig_p.annotate.config import RunConfig
from coig_p.annotate.tasks.generate import GENERATE, generate_request, read_response
from coig_p.annotate.tasks.judge import JUDGE, read_judgement
from coig_p.annotate.tasks.translate import TRANSLATE, original_of, read_translation


def read_answer(config: RunConfig, ledger: Ledger, asked: Entered, message: Message) -> Outcome:
    """As the request's own `read` would have it."""
    if asked.kind == GENERATE:
        return read_response(message, keep_cut=config.keep_cut)
    if asked.kind == TRANSLATE:
        original = original_of(config, asked.query_id)
        if original is None or config.translate is None:
            return Outcome(INVALID, "the query is no longer one of the run's")
        return read_translation(message, original=original, names=config.translate.names)
    endpoint = config.by_name.get(asked.endpoint)
    structured = endpoint is not None and endpoint.structured is not False
    if asked.kind != JUDGE:  # the query filter gives whole points alone
        return read_judgement(message, half_points=False, structured=structured)
    judged = judged_response(config, ledger, asked.query_id, asked.author)
    return read_judgement(message, half_points=config.half_points(asked.domain), response=judged, structured=structured)


def judged_response(config: RunConfig, ledger: Ledger, query_id: str, author: str | None) -> str:
    """The response that a judgement is of; "" where the run no longer asks for it."""
    query = ledger.query(query_id)
    if query is None or author not in config.by_name:
        return ""
    return outcome(ledger, generate_request(config, config.by_name[author], query)).text or ""
