"""The shapes that upstream rows come in, each turned into the nested shape of a store.

    nested         a query with its responses and their scores
    flat           one response, or one score of a response, a row
    ultrafeedback  instruction, completions with annotations per aspect
    pairwise       two responses side by side, scored or with a winner (TaP, section 3.3)
    pairs          released pairs: prompt, chosen, rejected; as text, sharegpt or message lists

Values are moved, not checked: what is wrong with one is said by `coig_p.ingest.intake`, under the
name that the upstream row has for it. To add a shape, write a function like `_flat` and name it
in `FORMS` and `detect`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from coig_p.errors import UnknownNameError
from coig_p.schema import OVERALL

UNKNOWN = "unknown"  # a judge whom the row does not name
_COMMON = ("query_id", "domain", "source")
_ALIASES = {
    "query": ("prompt", "instruction", "question"),
    "text": ("response", "output", "answer", "completion"),
}
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")


@dataclass(frozen=True)
class FormConfig:
    """How rows of a file are read.

    Attributes:
        form: one of FORMS, or "auto" to take what the first row looks like.
        fields: our name for a field -> the row's.
        judge: who judged, where the row does not say.
    """

    form: str = "auto"
    fields: Mapping[str, str] = field(default_factory=dict)
    judge: str = UNKNOWN

    def __post_init__(self) -> None:
        if self.form not in ("auto", *FORMS):
            raise UnknownNameError("format", self.form, ("auto", *FORMS))
        for name in self.fields:
            if name not in _NAMES:
                raise UnknownNameError("field", name, _NAMES)


@dataclass(frozen=True)
class Shaped:
    """A row in the nested shape.

    Attributes:
        names: where a value of `value` stands in the upstream row, for error messages.
        ignored: fields of the row that a store has no place for.
    """

    value: dict[str, Any]
    names: Mapping[str, str]
    ignored: Collection[str] = ()

    def upstream(self, path: str) -> str:
        """The upstream name of a path such as responses[0].text."""
        for ours, theirs in self.names.items():
            if path == ours or path.startswith((f"{ours}.", f"{ours}[")):
                return theirs + path[len(ours) :]
        return path


def detect(row: Mapping[str, Any], config: FormConfig) -> str:
    """The form of a row; nested where nothing else fits, so that what is missing is named."""
    if config.form != "auto":
        return config.form
    has = _Row(row, config).has
    if isinstance(row.get("responses"), list):
        return "nested"
    if isinstance(row.get("completions"), list):
        return "ultrafeedback"
    if has("chosen") and has("rejected"):
        return "pairs"
    if any(has(f"response_{first}") and has(f"response_{second}") for first, second in _SIDES):
        return "pairwise"
    return "flat" if has("query") and has("text") else "nested"


def shape(row: Mapping[str, Any], form: str, config: FormConfig, *, textual: bool = False) -> Shaped:
    """Turn a row of one of FORMS into the nested shape.

    Args:
        textual: every value is text (CSV); what reads as a number is one.
    """
    return FORMS[form](_Row(row, config, textual))


class _Row:
    """A row's fields under our names, remembering which were read and as what."""

    def __init__(self, row: Mapping[str, Any], config: FormConfig, textual: bool = False) -> None:
        self.row, self.config, self.textual = row, config, textual
        self.read: set[str] = set()
        self.names: dict[str, str] = {}

    def name(self, ours: str) -> str:
        if ours in self.config.fields:
            return self.config.fields[ours]
        return next((name for name in (ours, *_ALIASES.get(ours, ())) if name in self.row), ours)

    def has(self, ours: str) -> bool:
        return self.name(ours) in self.row

    def get(self, ours: str) -> Any:
        name = self.name(ours)
        self.read.add(name)
        value = self.row.get(name)
        return None if self.textual and value == "" else value

    def put(self, target: dict[str, Any], key: str, ours: str, path: str, *, number: bool = False) -> None:
        """Move the field `ours` to target[key], which stands at `path`, where the row has it."""
        if self.has(ours):
            value = self.get(ours)
            target[key] = _number(value) if number and self.textual else value
        self.names[path] = self.name(ours)

    def common(self) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for name in _COMMON:
            self.put(row, name, name, name)
        return row

    def judge(self) -> Any:
        judge = self.get("judge") if self.has("judge") else None
        return self.config.judge if judge is None else judge

    def shaped(self, value: dict[str, Any]) -> Shaped:
        return Shaped(value, self.names, self.row.keys() - self.read)


def _number(value: Any) -> Any:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        number = float(value)
        return number if math.isfinite(number) else value
    return value


def _nested(row: _Row) -> Shaped:
    value = dict(row.row)
    for ours, theirs in row.config.fields.items():
        if theirs in value:
            value[ours] = value.pop(theirs)
            row.names[ours] = theirs
    if isinstance(value.get("responses"), list):
        value["responses"] = [
            _renamed(response, row, f"responses[{at}]", ("text", "model"))
            for at, response in enumerate(value["responses"])
        ]
    known = {"query_id", "domain", "query", "source", "responses", "comparisons"}
    return Shaped(value, dict(sorted(row.names.items(), key=lambda item: -len(item[0]))), value.keys() - known)


def _renamed(entry: Any, row: _Row, path: str, names: Sequence[str]) -> Any:
    """A response or score under our names, where --map says what it calls them."""
    renamed = {ours: row.config.fields[ours] for ours in names if ours in row.config.fields}
    if not isinstance(entry, dict):
        return entry
    entry = dict(entry)
    for ours, theirs in renamed.items():
        if theirs in entry:
            entry[ours] = entry.pop(theirs)
            row.names[f"{path}.{ours}"] = f"{path}.{theirs}"
    if isinstance(entry.get("scores"), list) and "text" in names:
        within = ("judge", "score", "dimension")
        entry["scores"] = [
            _renamed(score, row, f"{path}.scores[{at}]", within) for at, score in enumerate(entry["scores"])
        ]
    return entry


def _query(row: _Row, value: dict[str, Any]) -> None:
    """The query; alpaca's optional `input` belongs to its instruction."""
    row.put(value, "query", "query", "query")
    extra = row.get("input") if row.has("input") else None
    if isinstance(extra, str) and extra.strip() and isinstance(value.get("query"), str):
        value["query"] = f"{value['query']}\n{extra}"


def _flat(row: _Row) -> Shaped:
    value = row.common()
    _query(row, value)
    response: dict[str, Any] = {"scores": []}
    row.put(response, "text", "text", "responses[0].text")
    row.put(response, "model", "model", "responses[0].model")
    if row.has("score") and row.get("score") is not None:
        score: dict[str, Any] = {"judge": row.judge(), "dimension": OVERALL}
        row.put(score, "score", "score", "responses[0].scores[0].score", number=True)
        if row.has("dimension"):
            row.put(score, "dimension", "dimension", "responses[0].scores[0].dimension")
        row.names["responses[0].scores[0].judge"] = row.name("judge")
        response["scores"].append(score)
    else:
        row.judge()
    value["responses"] = [response]
    return row.shaped(value)


def _ultrafeedback(row: _Row) -> Shaped:
    value = row.common()
    _query(row, value)
    completions = row.get("completions")
    row.names["responses"] = "completions"
    judge = row.judge()
    if not isinstance(completions, list):
        return row.shaped(value | {"responses": completions})
    value["responses"] = []
    for at, completion in enumerate(completions):
        if not isinstance(completion, dict):
            value["responses"].append(completion)
            continue
        annotations = completion.get("annotations")
        scores: list[dict[str, Any]] = []
        for aspect, given in (annotations if isinstance(annotations, dict) else {}).items():
            rating = given.get("Rating", given.get("rating")) if isinstance(given, dict) else given
            where = f"completions[{at}].annotations.{aspect}.Rating"
            row.names[f"responses[{at}].scores[{len(scores)}].score"] = where
            # Ratings are published as text; "N/A" stays what it is and is refused as a number.
            scores.append({"judge": judge, "dimension": aspect, "score": _number(rating)})
        response = {"model": completion.get("model"), "scores": scores}
        text = "response" if "response" in completion else "text"
        row.names[f"responses[{at}].text"] = f"completions[{at}].{text}"
        if text in completion:
            response["text"] = completion[text]
        value["responses"].append(response)
    # Longer paths first: a name must not hide that of a value inside it.
    row.names = dict(sorted(row.names.items(), key=lambda item: -len(item[0])))
    return row.shaped(value)


_SIDES = (("a", "b"), ("1", "2"))
_WINS = {"a": 1.0, "1": 1.0, "b": 0.0, "2": 0.0, "tie": 0.5, "draw": 0.5}


def _pairwise(row: _Row) -> Shaped:
    value = row.common()
    _query(row, value)
    sides = next((pair for pair in _SIDES if row.has(f"response_{pair[0]}")), _SIDES[0])
    value["responses"] = []
    for at, side in enumerate(sides):
        response: dict[str, Any] = {}
        row.put(response, "text", f"response_{side}", f"responses[{at}].text")
        row.put(response, "model", f"model_{side}", f"responses[{at}].model")
        value["responses"].append(response)
    judge = row.judge()
    scores = [row.get(name) for name in (_score_field(row, side) for side in sides)]
    dimensions: dict[str, tuple[Any, Any]] = {}
    if all(isinstance(side, dict) for side in scores):
        dimensions = {name: (scores[0].get(name), scores[1].get(name)) for name in {**scores[0], **scores[1]}}
    elif any(side is not None for side in scores):
        dimensions = {OVERALL: (scores[0], scores[1])}
    elif row.has("winner"):
        won = _WINS.get(str(row.get("winner")).strip().lower().removeprefix("response_").removeprefix("model_"))
        dimensions = {OVERALL: (won, None if won is None else 1 - won)}
    value["comparisons"] = []
    for name, (first, second) in dimensions.items():
        place = f"comparisons[{len(value['comparisons'])}]"
        for key, side in (("first_score", sides[0]), ("second_score", sides[1])):
            named = _score_field(row, side) if row.has(_score_field(row, side)) else "winner"
            row.names[f"{place}.{key}"] = named if name == OVERALL else f"{named}.{name}"
        value["comparisons"].append(
            {
                "first": 0,
                "second": 1,
                "judge": judge,
                "dimension": name,
                "first_score": _number(first) if row.textual else first,
                "second_score": _number(second) if row.textual else second,
            }
        )
    return row.shaped(value)


def _score_field(row: _Row, side: str) -> str:
    return f"scores_{side}" if row.has(f"scores_{side}") else f"score_{side}"


def _pairs(row: _Row) -> Shaped:
    value = row.common()
    chosen, rejected = row.get("chosen"), row.get("rejected")
    turns: Any = None
    for name in ("conversations", "messages", "context", "query"):
        if row.has(name):
            turns = row.get(name)
            row.names["query"] = row.name(name)
            break
    else:
        # Whole conversations: what both share up to the last message is the prompt.
        row.names["query"] = row.name("chosen")
        if isinstance(chosen, list) and isinstance(rejected, list) and len(chosen) == len(rejected) > 1:
            turns = chosen[:-1] if chosen[:-1] == rejected[:-1] else None
    query = _conversation(turns)
    if row.has("input") and isinstance(query, str):
        extra = row.get("input")
        query = f"{query}\n{extra}" if isinstance(extra, str) and extra.strip() else query
    if row.has("system") and isinstance(query, str):
        system = row.get("system")
        query = f"system: {system}\n\nuser: {query}" if isinstance(system, str) and system.strip() else query
    if turns is not None:
        value["query"] = query
    value["responses"] = []
    scores = []
    for at, (name, answer, won) in enumerate((("chosen", chosen, 1.0), ("rejected", rejected, 0.0))):
        response: dict[str, Any] = {"text": _last_message(answer), "model": None}
        row.names[f"responses[{at}].text"] = row.name(name)
        row.put(response, "model", f"{name}_model", f"responses[{at}].model")
        value["responses"].append(response)
        scores.append(won)
    value["comparisons"] = [
        {
            "first": 0,
            "second": 1,
            "judge": row.judge(),
            "dimension": OVERALL,
            "first_score": scores[0],
            "second_score": scores[1],
        }
    ]
    return row.shaped(value)


def _message(turn: Any) -> tuple[Any, Any]:
    """Role and text of one message, in any of the usual spellings."""
    if not isinstance(turn, dict):
        return None, turn
    role = turn.get("role", turn.get("from"))
    role = {"human": "user", "gpt": "assistant"}.get(str(role), role)
    return role, next((turn[name] for name in ("content", "value", "text") if name in turn), None)


def _conversation(turns: Any) -> Any:
    """A prompt as text: the text alone of one user turn, else each turn with its role."""
    if not isinstance(turns, list):
        return turns
    messages = [_message(turn) for turn in turns]
    if len(messages) == 1 and messages[0][0] in (None, "user"):
        return messages[0][1]
    if not messages or not all(isinstance(text, str) for _, text in messages):
        return turns  # refused as not a string
    return "\n\n".join(f"{role or 'user'}: {text}" for role, text in messages)


def _last_message(answer: Any) -> Any:
    if isinstance(answer, list):
        return _message(answer[-1])[1] if answer else None
    return _message(answer)[1]


FORMS: dict[str, Callable[[_Row], Shaped]] = {
    "nested": _nested,
    "flat": _flat,
    "ultrafeedback": _ultrafeedback,
    "pairwise": _pairwise,
    "pairs": _pairs,
}

_NAMES = (
    *_COMMON,
    *("query", "input", "system", "text", "model", "judge", "dimension", "score", "responses", "comparisons"),
    *("completions", "chosen", "rejected", "chosen_model", "rejected_model", "winner"),
    *("conversations", "messages", "context"),
    *(f"{name}_{side}" for pair in _SIDES for side in pair for name in ("response", "model", "score", "scores")),
)
