"""Rows that hold a key and scores: they belong to a response of another row, of any file, read before or after.

They wait on disk until every row is known. Then each finds its query here, by its id or by its text, and
its response where the rows of the query are merged (`coig_p.ingest.merge`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from coig_p.ingest.merge import Origin
from coig_p.ingest.values import Rejected, shown
from coig_p.store.writing import ROWS_PER_GROUP


class Waiting(NamedTuple):
    """A keyed row.

    Attributes:
        query_id: as the row has it, or None.
        identity: hexadecimal, of the query as the row has it, or None; one of the two, or row_id, is there.
        domain: as the row has it.
        row_id: of the row whose response it is for, or None; then that stands for a query's id.
        row: of RAW_SCHEMA without its query, which is still to be found: source, meta and one response, whose
            text and model may be null, with scores.
        origin: as `Origin`.
    """

    query_id: str | None
    identity: str | None
    domain: str | None
    row_id: str | None
    row: dict[str, Any]
    origin: Origin


class Keyed:
    """Keyed rows, on disk until all rows are known."""

    def __init__(self, folder: Path) -> None:
        self.path, self.rows = folder / "keyed.jsonl", 0
        self.waiting: list[str] = []

    def add(self, waiting: Waiting) -> None:
        """Keep one."""
        self.waiting.append(json.dumps(waiting, default=str) + "\n")
        self.rows += 1
        if len(self.waiting) == ROWS_PER_GROUP:
            self._write()

    def _write(self) -> None:
        with self.path.open("a", encoding="ascii", newline="\n") as stream:
            stream.writelines(self.waiting)
        self.waiting = []

    def __iter__(self) -> Iterator[Waiting]:
        self._write()
        with self.path.open(encoding="ascii") as stream:
            for line in stream:
                query_id, identity, domain, row_id, row, origin = json.loads(line)
                yield Waiting(query_id, identity, domain, row_id, row, Origin(*origin))


class Queries:
    """Every query of an import, by its id and by what it says."""

    def __init__(self, identities: Mapping[str, bytes]) -> None:
        self.identities = identities
        self.by_identity: dict[bytes, list[str]] = {}
        for query_id, identity in identities.items():
            self.by_identity.setdefault(identity, []).append(query_id)

    def find(self, waiting: Waiting) -> str:
        """The id of the query that a keyed row belongs to.

        Raises:
            Rejected: there is none, or more than one.
        """
        identity = None if waiting.identity is None else bytes.fromhex(waiting.identity)
        query_id = waiting.query_id
        if query_id is not None and query_id in self.identities:
            if identity not in (None, self.identities[query_id]):
                raise Rejected("query", "two-texts", f"query_id {shown(query_id)} stands for another text elsewhere")
            return query_id
        found = [] if identity is None else self.by_identity.get(identity, [])
        if query_id is not None:  # the text stands in for the id only where the other rows have none
            found = [other for other in found if other == derived_id(identity or b"")]
        if len(found) == 1:
            return found[0]
        if found:
            said = f"{len(found)} queries have this text: name the query_id as well"
            raise Rejected("query", "several-partners", said)
        name, what = ("query", "this query") if query_id is None else ("query_id", f"query_id {shown(query_id)}")
        raise Rejected(name, "no-partner", f"no row of any file has {what} and a response")


def derived_id(identity: bytes) -> str:
    """The id of a query whose rows give it none."""
    return f"q-{identity.hex()}"


def one_response(value: dict[str, Any]) -> list[dict[str, Any]]:
    """The response that a row of scores is about, alone in a list."""
    responses = value.get("responses")
    if not isinstance(responses, list) or len(responses) != 1 or not isinstance(responses[0], dict):
        raise Rejected("responses", "not-a-list", "a row of scores is about one response")
    if not isinstance(responses[0].get("scores", []), (list, type(None))):
        raise Rejected("responses[0].scores", "not-a-list", "not a list of scores")
    return responses
