"""What an answer that is in the ledger or a batch file says: by the kind of what was asked."""

from __future__ import annotations

from coig_p.annotate.asking.message import Message
from coig_p.annotate.asking.request import Outcome
from coig_p.annotate.config import RunConfig
from coig_p.annotate.tasks.generate import GENERATE, read_response
from coig_p.annotate.tasks.judge import JUDGE, read_judgement


def read_answer(config: RunConfig, kind: str, domain: str, message: Message) -> Outcome:
    """As the request's own `read` would have it."""
    if kind == GENERATE:
        return read_response(message)
    # The query filter gives whole points alone.
    return read_judgement(message, half_points=kind == JUDGE and config.half_points(domain))
