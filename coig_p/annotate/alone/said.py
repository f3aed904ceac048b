"""What the ledger has of a request over all its asks, read as the request reads today."""

from __future__ import annotations

from typing import NamedTuple

from coig_p.annotate.asking.ledger import ANSWERED, FAILED, INVALID, Ledger
from coig_p.annotate.asking.message import Message, encodable, read_body
from coig_p.annotate.asking.request import PENDING, Outcome, Request, asks


class Said(NamedTuple):
    """What an endpoint said over all asks.

    Attributes:
        state: answered, invalid, failed or pending.
        reason: why it is not answered, or a judgement says nothing.
        score: that was read, of a judgement; None where there is none.
        raw: the text that counts, or the last one that could not be used.
        before: of one that is pending, how many asks brought an answer that cannot be used.
    """

    state: str
    reason: str | None
    score: float | None
    raw: str | None
    before: int = 0

    @property
    def is_refused(self) -> bool:
        """Whether the server said that it will never answer this."""
        return self.state == FAILED and str(self.reason).partition(":")[0] == "refused"

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to be asked."""
        return self.state in (ANSWERED, INVALID) or self.is_refused


def said_to(ledger: Ledger, request: Request) -> Said:
    """What the ledger has of a request, read as the request reads."""
    last = Said(PENDING, None, None, None)
    for ask, asked in asks(ledger, request):
        found = ledger.get(asked.key(ask))
        if found is None or found.state not in (ANSWERED, INVALID, FAILED):
            return Said(PENDING, None, None, None, ask)
        if found.state == FAILED:
            failed = Said(FAILED, found.reason, None, None)
            # Asked again it may be too long, which says nothing of what is judged: what came before it stays.
            return last if ask and failed.is_refused else failed
        message = read_body(str(found.body))
        read: Outcome = request.read(message)
        last = Said(read.state, read.reason, read.score, _raw(message, read))
        if ANSWERED in (found.state, read.state):
            break
    return last


def _raw(message: Message, read: Outcome) -> str | None:
    if read.text is not None:
        return read.text
    text = message.text if message.text is not None else message.refusal
    return None if text is None else encodable(text)
