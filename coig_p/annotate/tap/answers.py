"""What an answer that is in the ledger or a batch file says, of any run: a TaP run's own kinds are read here."""

from __future__ import annotations

from coig_p.annotate.asking.ledger import Entered, Ledger
from coig_p.annotate.asking.message import Message
from coig_p.annotate.asking.request import Outcome
from coig_p.annotate.config import RunConfig
from coig_p.annotate.tap.requests import PARSERS, read_kind, texts_of
from coig_p.annotate.tap.vectors import read_again
from coig_p.annotate.tasks import answers
from coig_p.annotate.taxonomy.config import EMBED


def read_answer(config: RunConfig, ledger: Ledger, asked: Entered, message: Message) -> Outcome:
    """As the request's own `read` would have it."""
    if config.tap is not None and asked.kind in PARSERS:
        return read_kind(message, kind=asked.kind, words=texts_of(config).words)
    if asked.kind == EMBED:
        return read_again(message, asked.author)
    return answers.read_answer(config, ledger, asked, message)
