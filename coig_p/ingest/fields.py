"""The fields of an upstream row under our names, whatever the row calls them.

A field that is null or empty is not there: it hides no filled one of another name. Two filled names for
one thing are refused, unless they say the same, since nobody can know which is meant. What was read is
remembered, so that what was not is told.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from coig_p.errors import UnknownNameError
from coig_p.ingest.values import Rejected

UNKNOWN = "unknown"  # a judge whom the row does not name

ALIASES: Mapping[str, tuple[str, ...]] = {
    "query_id": ("query_id", "prompt_id", "question_id", "id", "uuid", "编号"),
    "domain": ("domain", "领域"),
    "source": ("source", "来源"),
    "query": ("query", "prompt", "instruction", "question", "问题", "提问", "指令"),
    "text": ("text", "response", "output", "answer", "completion", "回答", "答案", "回复"),
    "model": ("model", "model_name", "模型"),
    "sample": ("sample",),
    "judge": ("judge", "评委", "评审模型", "裁判"),
    "dimension": ("dimension", "维度"),
    "score": ("score", "rating", "分数", "得分", "评分"),
    "rationale": ("rationale", "理由"),
    "system": ("system", "system_prompt"),
    "history": ("history",),
    "tools": ("tools", "functions"),
    "chosen": ("chosen", "优选"),
    "rejected": ("rejected", "rejected_response", "rejected_messages", "劣选"),
    "chosen_score": ("chosen_score", "score_chosen", "chosen_rating", "rating_chosen"),
    "rejected_score": ("rejected_score", "score_rejected", "rejected_rating", "rating_rejected"),
    "chosen_model": ("chosen_model", "model_chosen"),
    "rejected_model": ("rejected_model", "model_rejected"),
    "label": ("label",),
    "winner": ("winner",),
}
"""Our names -> what rows call them, the usual first. A name that is not here stands for itself."""

_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")


@dataclass(frozen=True)
class FormConfig:
    """How rows of a file are read.

    Attributes:
        form: one of `coig_p.ingest.forms.FORMS`, or "auto" to take what each row looks like.
        fields: our name for a field -> the row's.
        judge: who judged, where the row does not say.
        drop: fields of a row that are left unread on purpose, also where they carry meaning.
        values: of a winner's column: "first", "second" or "tie" -> the value that says so, as text.
        score_columns: judge -> the column that holds its scores, where each judge has one.
    """

    form: str = "auto"
    fields: Mapping[str, str] = field(default_factory=dict)
    judge: str = UNKNOWN
    drop: Collection[str] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    score_columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.values:
            if name not in ("first", "second", "tie"):
                raise UnknownNameError("value", name, ("first", "second", "tie"))


@dataclass(frozen=True)
class Shaped:
    """A row in the nested shape.

    Attributes:
        value: query_id, domain, source; query (text) or messages (see `coig_p.ingest.turns`); tools;
            responses, each with model, sample, text, extra (a dict) and scores; comparisons. Values are as
            the row has them, unchecked.
        names: where a value of `value` stands in the upstream row, for error messages.
        ignored: fields of the row that were not read.
    """

    value: dict[str, Any]
    names: Mapping[str, str]
    ignored: Collection[str] = ()

    def upstream(self, path: str) -> str:
        """The upstream name of a path such as responses[0].text."""
        for ours in sorted(self.names, key=len, reverse=True):  # a name must not hide that of a value inside it
            if path == ours or path.startswith((f"{ours}.", f"{ours}[")):
                return self.names[ours] + path[len(ours) :]
        return path


class Fields:
    """A row's fields under our names, remembering which were read and as what.

    Attributes:
        given: without the fields that are dropped on purpose.
        row: those of them that are filled: neither null nor empty.
        read: names of the row that were read.
        names: for `Shaped`.
        textual: every value is text (CSV); what reads as a number is one.
    """

    def __init__(self, row: Mapping[str, Any], config: FormConfig, textual: bool = False) -> None:
        self.given = {name: value for name, value in row.items() if name not in config.drop}
        self.row = {name: value for name, value in self.given.items() if not _empty(value)}
        self.config, self.textual = config, textual
        self.read: set[str] = set()
        self.names: dict[str, str] = {}

    def name(self, ours: str) -> str:
        """What the row calls a field; our own name where it has none.

        Raises:
            Rejected: two filled fields for one thing, which do not say the same.
        """
        if ours in self.config.fields:
            return self.config.fields[ours]
        found = [name for name in ALIASES.get(ours, (ours,)) if name in self.row]
        if len(found) > 1 and ours != "query_id" and any(self.row[name] != self.row[found[0]] for name in found):
            raise Rejected(
                found[1],
                "ambiguous",
                f"{' and '.join(found)} may both be the {ours}: say which with --map {ours}={found[0]}, "
                f"and leave the other out with --drop {found[1]}",
            )
        self.read.update(found[1:])
        return found[0] if found else ours

    def has(self, ours: str) -> bool:
        """Whether the row has a filled field."""
        return self.name(ours) in self.row

    def get(self, ours: str) -> Any:
        """A field's value, also an empty one, None where it is not there; it counts as read."""
        name = self.name(ours)
        self.read.add(name)
        return self.given.get(name)

    def number(self, ours: str) -> Any:
        """As `get`; text that reads as a number is one."""
        return number(self.get(ours))

    def put(self, target: dict[str, Any], key: str, ours: str, path: str) -> None:
        """Move the field `ours` to target[key], which stands at `path`, where the row has it."""
        if self.has(ours):
            target[key] = self.get(ours)
        self.names[path] = self.name(ours)

    def common(self) -> dict[str, Any]:
        """query_id, domain and source, where the row has them."""
        row: dict[str, Any] = {}
        for name in ("query_id", "domain", "source"):
            self.put(row, name, name, name)
        return row

    def judge(self) -> Any:
        """Who judged: the row's word, else the config's."""
        return self.get("judge") if self.has("judge") else self.config.judge

    def shaped(self, value: dict[str, Any]) -> Shaped:
        """The row in the nested shape; what was not read is told."""
        return Shaped(value, self.names, sorted(self.row.keys() - self.read))


def number(value: Any) -> Any:
    """A number where text reads as one, anything else as it is."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        found = float(value)
        return found if math.isfinite(found) else value
    return value


def _empty(value: Any) -> bool:
    return value is None or value == "" or value == [] or value == {}
