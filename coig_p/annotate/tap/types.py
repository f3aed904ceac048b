"""What the first stages of a TaP run make: types of questions, candidates, and the queries of both."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from coig_p.annotate.asking.ledger import Query
from coig_p.annotate.tap.parsing import QuestionType
from coig_p.annotate.taxonomy.tree import Subject

ABOVE = " > "


@dataclass(frozen=True)
class Candidate:
    """A prompt of a type, and what its check said.

    Attributes:
        number: of the type's candidates, from 1 on; every one but the first was written because the one before was
            found not feasible.
        feasible: None where the check never gave a verdict that could be used.
        reasons: of the verdict; "" where there is none.
    """

    number: int
    prompt: str
    feasible: bool | None
    reasons: str = ""


@dataclass(frozen=True)
class Prompted:
    """A query that a taxonomy brought.

    Attributes:
        query: as the run asks it; its place counts from 0 in the order of subjects, writers and types.
        type: with its description as it was refined.
        writer: the endpoint's name.
        feasible: what was found of the query's own candidate. Models are asked what is feasible alone (and the others
            where taxonomy.ask_infeasible says so).
        candidates: all of its type, in their order.
    """

    query: Query
    type: QuestionType
    subject: Subject
    writer: str
    feasible: bool | None
    candidates: tuple[Candidate, ...]

    @property
    def meta(self) -> dict[str, Any]:
        """As the store's `meta` has it; without a taxonomy there is neither a subject nor a type."""
        about = {
            "subject": self.subject.name,
            "code": self.subject.code,
            "path": ABOVE.join(self.subject.names),
            "question_type": self.type.name,
            "description": self.type.description,
        }
        checked = {"feasible": self.feasible, "candidates": len(self.candidates)}
        return {"writer": self.writer} | (about if self.type.name else {}) | checked


def query_id(writer: str, subject: Subject, name: str, number: int) -> str:
    """By what a candidate of a type is known; it hangs on no order."""
    return f"{writer}/{subject.code}/{hashlib.sha256(name.encode()).hexdigest()[:12]}/{number}"


def source_of(subject: Subject, name: str) -> str:
    """Where a query is from: the path in the taxonomy, and the type where it has one."""
    return f"{ABOVE.join(subject.names)}: {name}" if name else ABOVE.join(subject.names)
