"""What another parser would have read: every stored judgement parsed again, and all that a TaP run asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from coig_p.annotate.asking.ledger import INVALID, Entered, Ledger, Reading
from coig_p.annotate.asking.message import read_body, usable_text
from coig_p.annotate.config import RunConfig
from coig_p.annotate.parsing import repeats
from coig_p.annotate.tap.answers import read_answer
from coig_p.annotate.tap.requests import PARSERS
from coig_p.annotate.tasks.answers import judged_response
from coig_p.annotate.tasks.judge import JUDGE
from coig_p.annotate.tasks.queries import QUERY
from coig_p.annotate.taxonomy.config import EMBED


class Change(NamedTuple):
    """A judgement that the parser now reads otherwise than it was recorded, or that repeats its response.

    Attributes:
        changed: whether it is read otherwise.
        repeats: whether it holds a score, with its label, that stands word for word in the response.
    """

    endpoint: str
    query_id: str
    author: str | None
    before: str
    after: str
    reading: Reading
    changed: bool
    repeats: bool

    @property
    def who(self) -> str:
        """The judge, the query and the model, where one is judged."""
        return " ".join(filter(None, [self.endpoint, self.query_id, self.author]))

    def to_dict(self) -> dict[str, str | None]:
        """As JSON has it."""
        about = {"endpoint": self.endpoint, "query_id": self.query_id, "model": self.author}
        return about | {"was": self.before, "is": self.after}


def audit(config: RunConfig, ledger: Ledger, counts: Counter[str]) -> Iterator[Change]:
    """Re-parse every stored judgement, one by one; `counts` gets how many were read, changed and repeat a response.

    Of a TaP run these are all answers but responses: types, descriptions, prompts, checks, comparisons and vectors.
    """
    kinds = (QUERY, JUDGE) if config.tap is None else (*PARSERS, EMBED)
    for found in ledger.judged(kinds=kinds):
        asked = Entered(found.endpoint, found.kind, found.domain, found.query_id, found.author, found.state, 0)
        message = read_body(found.body)
        now = read_answer(config, ledger, asked, message)
        counts["judgements"] += 1
        changed = (now.state, now.score) != (found.state, found.score) or (
            found.state == INVALID and now.reason != found.reason
        )
        response = judged_response(config, ledger, found.query_id, found.author) if found.kind == JUDGE else ""
        again = repeats(usable_text(message)[0] or "", response)
        if changed or again:
            counts["changed"] += changed
            counts["repeats"] += again
            before, after = _read_as(found.state, found.score, found.reason), _read_as(now.state, now.score, now.reason)
            reading = Reading(found.key, now.state, now.reason, now.score)
            yield Change(found.endpoint, found.query_id, found.author, before, after, reading, changed, again)


def _read_as(state: str, score: float | None, reason: str | None) -> str:
    return f"{score:g}" if score is not None else state if reason is None else reason
