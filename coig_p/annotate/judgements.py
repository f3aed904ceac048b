"""All that judges ever said of responses, a row a judgement, with the raw texts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pyarrow as pa

from coig_p.annotate.asking.costs import MONEY
from coig_p.annotate.asking.ledger import Ledger, Told
from coig_p.annotate.asking.message import encodable, read_body, thinking
from coig_p.annotate.tasks.judge import JUDGE

SCHEMA = pa.schema(
    [
        ("query_id", pa.string()),
        ("domain", pa.string()),
        ("model", pa.string()),
        ("judge", pa.string()),
        ("ask", pa.int32()),
        ("state", pa.string()),
        ("reason", pa.string()),
        ("score", pa.float64()),
        ("text", pa.string()),
        ("thinking", pa.string()),
        ("finish", pa.string()),
        ("prompt_tokens", pa.int64()),
        ("completion_tokens", pa.int64()),
        ("cost", pa.float64()),
        ("at", pa.timestamp("ms", tz="UTC")),
    ]
)
"""`ask` counts from 0, and below 0 is what `retry` set aside; `cost` is in the currency of the prices."""

_AT_ONCE = 1024


def judgement_tables(ledger: Ledger) -> Iterator[pa.Table]:
    """Every judgement of a response that was ever asked for, in the order of asking, some rows at a time.

    Also those that brought nothing (`text` is null), were asked for in other words than today's, or are asked for
    right now.
    """
    rows = map(_row, ledger.judgements(JUDGE))
    while some := list(islice(rows, _AT_ONCE)):
        yield pa.Table.from_pylist(some, schema=SCHEMA)


def _row(told: Told) -> dict[str, Any]:
    text = thought = None
    if told.body is not None:
        message = read_body(told.body)
        text = None if message.text is None else encodable(message.text)
        thought = thinking(message) or None
    row = told._asdict() | {"model": told.author, "judge": told.endpoint, "text": text, "thinking": thought}
    row |= {"cost": told.cost / MONEY, "at": None if told.at is None else round(told.at * 1000)}
    return {name: row[name] for name in SCHEMA.names}
