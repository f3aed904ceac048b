"""Every request and every answer, in SQLite: what was answered once is never paid again.

A request's key is the SHA-256 of its endpoint's name, model, messages and parameters and of which
ask it is (an unusable answer is asked again as a request of its own). All SQL is here: `schema` has
the tables, `opening` what is done before a file is used, `bodies` how answers are kept, `reading` what
others read while a run works, `writing` what the run alone may do.
"""

from coig_p.annotate.asking.ledger.opening import MENDED
from coig_p.annotate.asking.ledger.reading import Ledger
from coig_p.annotate.asking.ledger.schema import (
    ANSWERED,
    BATCHED,
    FAILED,
    INVALID,
    LEDGER,
    OPEN,
    VERSION,
    Answer,
    Batch,
    Dropped,
    Entered,
    Entry,
    FromBatch,
    Judged,
    Paid,
    Query,
    Reading,
    RecipeTotals,
    Taken,
    Told,
    request_key,
)
from coig_p.annotate.asking.ledger.writing import LedgerWriter

__all__ = [
    "ANSWERED",
    "BATCHED",
    "FAILED",
    "INVALID",
    "LEDGER",
    "MENDED",
    "OPEN",
    "VERSION",
    "Answer",
    "Batch",
    "Dropped",
    "Entered",
    "Entry",
    "FromBatch",
    "Judged",
    "Ledger",
    "LedgerWriter",
    "Paid",
    "Query",
    "Reading",
    "RecipeTotals",
    "Taken",
    "Told",
    "request_key",
]
