"""The fields of an upstream row under our names, whatever the row calls them.

A field that is null or empty is not there: it hides no filled one of another name. Two filled names for
one thing are refused, unless they say the same, since nobody can know which is meant. What was read is
remembered, so that what was not is told.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from coig_p.errors import UnknownNameError, UsageError
from coig_p.ingest.codings import check_values
from coig_p.ingest.media import is_media, placeholder
from coig_p.ingest.values import Rejected, as_number, at_paths, shown
from coig_p.schema import PAIR_SCHEMAS

UNKNOWN = "unknown"  # a judge whom the row does not name

ALIASES: Mapping[str, tuple[str, ...]] = {
    "query_id": ("query_id", "prompt_id", "question_id", "id", "uuid", "编号"),
    "domain": ("domain", "领域"),
    "source": ("source", "来源"),
    "query": ("query", "prompt", "instruction", "question", "问题", "提问", "指令", "提示词"),
    "input": ("input", "输入"),
    "messages": ("messages", "conversations", "conversation", "dialogue", "dialog", "trajectory", "对话"),
    "context": ("context",),
    "history": ("history", "历史"),
    "system": ("system", "system_prompt", "系统提示"),
    "tools": ("tools", "functions"),
    "text": ("text", "response", "output", "answer", "completion", "回答", "答案", "回复", "输出", "model_response"),
    "model": ("model", "model_name", "generator", "response_model", "response_source", "模型"),
    "sample": ("sample",),
    "judge": ("judge", "评委", "评审模型", "裁判"),
    "dimension": ("dimension", "维度"),
    "score": ("score", "rating", "分数", "得分", "评分"),
    "rationale": ("rationale", "理由"),
    "chosen": (
        *("chosen", "chosen_response", "response_chosen", "chosen_answer", "answer_chosen", "chosen_output"),
        *("output_chosen", "preferred_output", "preferred", "preferred_response", "accepted", "pos_resp", "优选"),
    ),
    "rejected": (
        *("rejected", "reject", "rejected_response", "rejected_messages", "response_rejected", "rejected_answer"),
        *(
            "answer_rejected",
            "rejected_output",
            "output_rejected",
            "non_preferred_output",
            "dispreferred",
            "dispreferred_response",
            "neg_resp",
            "劣选",
        ),
    ),
    **{
        f"{side}_score": tuple(
            name
            for what in ("score", "rating", "avg_rating", "reward")
            for name in (f"{side}_{what}", f"{what}_{side}", f"{side}-{what}", f"{side}_response_{what}")
        )
        for side in ("chosen", "rejected")
    },
    **{
        f"{side}_model": (
            f"{side}_model",
            f"model_{side}",
            f"{side}-model",
            f"{side}_model_name",
            f"{side}_source",
            f"{side}_policy",
        )
        for side in ("chosen", "rejected")
    },
    "label": ("label", "kto_tag"),
    "winner": ("winner",),
    "extra": ("extra",),
}
"""Our names -> what rows call them, the usual first. A name that is not here stands for itself."""

_SIDED = tuple(
    f"{what}_{side}"
    for what in ("response", "model", "score", "scores", "conversation")
    for side in ("a", "b", "0", "1", "2")
)
MAPPABLE: tuple[str, ...] = (
    *ALIASES,
    *("responses", "comparisons", "completions", "answers", "generations", "ratings", "rank", "margin", "output"),
    *_SIDED,
)
"""Our names that `--map` takes."""

SEQUENCES = ("responses", "answers", "completions", "generations", "candidates", "outputs", "summaries", "annotations")
"""Fields of several answers, or of what is said of them, that may be one object of lists."""


@dataclass(frozen=True)
class Survey:
    """What a first pass over every row of an import found: see `coig_p.ingest.survey`.

    Attributes:
        numbers: (column, names of the sides) -> every number found there; annotators' columns are counted as one.
        row_numbers: fields such as id that number rows, and are no query's id.
        row_keys: those of them that rows without a prompt have, too: there they name the row of a response.
        forms: of the rows.
        unheld: words of `FormConfig.values` that no verdict is.
    """

    numbers: Mapping[tuple[str, str], Collection[float]] = field(default_factory=dict)
    row_numbers: Collection[str] = ()
    row_keys: Collection[str] = ()
    forms: Collection[str] = ()
    unheld: Collection[str] = ()


_EXPORTED = {form: frozenset(schema.names) for form, schema in PAIR_SCHEMAS.items()}


@dataclass(frozen=True)
class FormConfig:
    """How rows of a file are read.

    Attributes:
        form: one of `coig_p.ingest.forms.FORMS`, or "auto" to take what each row looks like.
        fields: our name for a field, one of MAPPABLE -> the row's.
        judge: who judged, where the row does not say.
        drop: fields of a row that are left unread on purpose, also where they carry meaning.
        values: of a winner's column: "first", "second" or "tie" -> the value that says so, as text;
            several with | between them; "negative" and "positive" are all such numbers.
        score_columns: judge -> the column that holds its scores, where each judge has one.
        keep: fields that are kept beside a row ("all": every one that is not read); whatever they carry, they
            are not lost.
        round_scores: scores and verdicts with more than 4 decimals are rounded, and not refused.
        survey: what is known of the import as a whole; without it a row is read by itself.
    """

    form: str = "auto"
    fields: Mapping[str, str] = field(default_factory=dict)
    judge: str = UNKNOWN
    drop: Collection[str] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    score_columns: Mapping[str, str] = field(default_factory=dict)
    keep: Collection[str] = ()
    round_scores: bool = False
    survey: Survey = field(default_factory=Survey)

    def __post_init__(self) -> None:
        for name in self.fields:
            if name not in MAPPABLE:
                if ours := _OURS.get(name.strip().lower()):
                    said = f"unknown field {name!r}: a row's name for our {ours[0]}. Pass --map {ours[0]}=THEIRS"
                    raise UsageError(said)
                raise UnknownNameError("field", name, MAPPABLE)
        for name in self.values:
            if name not in ("first", "second", "tie"):
                raise UnknownNameError("value", name, ("first", "second", "tie"))
        check_values(self.values)


@dataclass(frozen=True)
class Shaped:
    """A row in the nested shape.

    Attributes:
        value: query_id, domain, source; query (text) or messages (see `coig_p.ingest.turns`); tools;
            responses, each with model, sample, text, extra (a dict) and scores; comparisons. Values are as
            the row has them, unchecked.
        names: where a value of `value` stands in the upstream row, for error messages.
        ignored: fields of the row that were not read.
        inside: those of them that stand within its values -> what they hold.
        dropped: fields within its values that were left out on purpose.
    """

    value: dict[str, Any]
    names: Mapping[str, str]
    ignored: Collection[str] = ()
    inside: Mapping[str, Any] = field(default_factory=dict)
    dropped: Collection[str] = ()

    def upstream(self, path: str) -> str:
        """The upstream name of a path such as responses[0].text."""
        for ours in sorted(self.names, key=len, reverse=True):  # a name must not hide that of a value inside it
            if path == ours or path.startswith((f"{ours}.", f"{ours}[")):
                return self.names[ours] + path[len(ours) :]
        return path


class Beside:
    """Fields within a row's values, as messages.weight: what has no place there, and what belongs to the row.

    Attributes:
        values: path -> what stands there, wherever it does.
        dropped: names under which some were left out on purpose.
        tools: where a system prompt defines tools -> those.
        keeps_all: nothing is lost, whatever it carries.
    """

    def __init__(self, config: FormConfig) -> None:
        self.keep, self.drop, self.keeps_all = config.keep, config.drop, "all" in config.keep
        self.values: dict[str, list[Any]] = {}
        self.dropped: set[str] = set()
        self.tools: dict[str, Any] = {}

    def names(self, path: str) -> bool:
        """Whether the user says what becomes of a field."""
        plain = plain_path(path)
        return plain in self.keep or plain in self.drop or plain.rpartition(".")[2] in self.drop

    def add(self, path: str, value: Any) -> None:
        """Take note of a field that was not read."""
        plain = plain_path(path)
        said = next((name for name in (plain, plain.rpartition(".")[2]) if name in self.drop), None)
        if said is None:
            self.values.setdefault(plain, []).append(value)
        else:
            self.dropped.add(said)


def plain_path(path: str) -> str:
    """A path without the numbers in it: what --keep and --drop call a field."""
    return _AT.sub("", path)


_AT = re.compile(r"\[\d+\]")


class Fields:
    """A row's fields under our names, remembering which were read and as what.

    Attributes:
        given: without the fields that are dropped on purpose.
        row: those of them that are filled: neither null nor empty.
        read: names of the row that were read.
        unread: fields within the row's values that were not read.
        names: for `Shaped`.
        textual: every value is text (CSV); what reads as a number is one.
    """

    def __init__(self, row: Mapping[str, Any], config: FormConfig, textual: bool = False) -> None:
        row = unfolded(row, config)
        self.given = {name: value for name, value in row.items() if name not in config.drop} if config.drop else row
        self.row = {name: value for name, value in self.given.items() if (value or value == 0) and value == value}
        self.config, self.textual = config, textual
        self.read: set[str] = set()
        self.unread = Beside(config)
        self.names: dict[str, str] = {}
        self._known = known_names(tuple(self.row), tuple(config.fields.items()), tuple(config.survey.row_numbers))

    def all(self, ours: str) -> tuple[str, ...]:
        """Every filled field of the row that may be `ours`, the usual name first."""
        return self._known.get(ours, ())

    def without(self, ours: Collection[str]) -> bool:
        """Whether the row has none of these filled."""
        return self._known.keys().isdisjoint(ours)

    def name(self, ours: str) -> str:
        """What the row calls a field; our own name where it has none.

        Raises:
            Rejected: two filled fields for one thing, which do not say the same.
        """
        found = self._known.get(ours)
        if found is None:
            mapped = self.config.fields
            # A column that --map gives another meaning has no more its own.
            return mapped[ours] if ours in mapped else f"no {ours}" if ours in mapped.values() else ours
        return found[0] if len(found) == 1 else self._agreed(ours, found)

    def _agreed(self, ours: str, found: Sequence[str]) -> str:
        first = number(self.row[found[0]])
        for other in found[1:]:
            if number(self.row[other]) == first:
                self.read.add(other)
            elif ours != "query_id":  # of two ids the more usual name wins, and the other is told as unread
                raise Rejected(
                    other,
                    "ambiguous",
                    f"{found[0]} and {other} may both be the {ours}: say which with --map {ours}={found[0]}, "
                    f"and leave the other out with --drop {other}",
                )
        return found[0]

    def has(self, ours: str) -> bool:
        """Whether the row has a filled field."""
        return ours in self._known

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
        name = self.names[path] = self.name(ours)
        if name in self.row:
            self.read.add(name)
            target[key] = self.row[name]

    def common(self) -> dict[str, Any]:
        """query_id, domain and source, where the row has them."""
        row: dict[str, Any] = {}
        for name in ("query_id", "domain"):
            self.put(row, name, name, name)
        if not isinstance(self.row.get(self.name("source")), (list, dict)):  # of more than one it is not this
            self.put(row, "source", "source", "source")
        return row

    def is_export(self, form: str) -> bool:
        """Whether the row has just the columns that `coigp pairs` writes in this format."""
        return self.given.keys() - {"tools"} == _EXPORTED[form]

    def judge(self) -> Any:
        """Who judged: the row's word, else the config's."""
        return self.get("judge") if self.has("judge") else self.config.judge

    def shaped(self, value: dict[str, Any]) -> Shaped:
        """The row in the nested shape; what was not read is told.

        Raises:
            Rejected: what was not read carries meaning and has no place.
        """
        self._refuse_two_readings()
        rest = self.row.keys() - self.read
        for name in rest - set(self.config.keep):
            if any(path.startswith(f"{name}.") for path in self.read):
                rest.remove(name)
                self._leave_rest(name, self.row[name])
        lost = {name for name in rest if is_media(name) and self.row[name] not in (0, 1)}  # has_image: false
        if lost and "all" not in self.config.keep and (lost := lost - set(self.config.keep)):
            name = min(lost)
            raise Rejected(
                name,
                "no-place",
                f"a store holds text alone, and without {name} the row says something else: leave such rows out, "
                f"or read them without it: --drop {name}",
            )
        self._refuse_placeholder(value)
        inside = {name: found[0] if len(found) == 1 else found for name, found in self.unread.values.items()}
        for name in rest & inside.keys():
            if self.unread.keeps_all or name in self.config.keep:
                said = f"a field {name}, and {name.rpartition('.')[2]} inside another, would be kept under one name"
                raise Rejected(name, "ambiguous", f"{said}: rename one of them, or leave both out with --drop {name}")
        return Shaped(value, self.names, sorted([*rest, *inside]), inside, self.unread.dropped)

    def _refuse_two_readings(self) -> None:
        """A path that --map or --score-column names may be a key with dots in it, or keys of objects in objects."""
        for path in (*self.config.fields.values(), *self.config.score_columns.values()):
            found = [one for one in at_paths(self.given, path) if not empty(one)] if "." in path else []
            other = [one for one in found if one != found[0]]
            if other:
                said = f"{shown(found[0])} and {shown(other[0])} both stand at {path}, since a key may have dots in it"
                raise Rejected(path, "ambiguous", f"{said}: rename one of the two")

    def _leave_rest(self, path: str, value: Any) -> None:
        """Take note of what else is in a field of which --map or --score-column named a path."""
        if path in self.read or empty(value):
            return
        if isinstance(value, Mapping) and any(one.startswith(f"{path}.") for one in self.read):
            for name, part in value.items():
                self._leave_rest(f"{path}.{name}", part)
        else:
            self.unread.add(path, value)

    def _refuse_placeholder(self, value: dict[str, Any]) -> None:
        """A prompt that points at an image which is not there says something else than the text alone."""
        texts = [value.get("query"), *(turn.get("content") for turn in value.get("messages") or ())]
        found = next((one for one in map(placeholder, texts) if one), None)
        if found is None or any(is_media(name) for name in (*self.config.keep, *self.config.drop)):
            return
        raise Rejected(
            self.names.get("query", "query"),
            "no-place",
            f"{found} stands for what a store cannot hold: leave such rows out, or pass --drop image to read the "
            "prompts as they are",
        )


@lru_cache(maxsize=4096)
def known_names(
    row: tuple[str, ...], mapped: tuple[tuple[str, str], ...], numbering: tuple[str, ...] = ()
) -> Mapping[str, tuple[str, ...]]:
    """Our names for the fields of a row -> those of its names that may be meant, the usual first.

    Args:
        mapped: what --map says: our name, the row's. It is meant alone, and means nothing else.
        numbering: fields that number rows, and are no query's id.
    """
    taken = {theirs for _, theirs in mapped}
    found: dict[str, list[str]] = {}
    for name in row:
        if name not in taken:
            plain = name.strip().lower()
            for ours in _OURS.get(plain, (name,)):
                if ours == "query_id" and name in numbering:
                    continue
                found.setdefault(ours, []).append(name)
    if found.keys().isdisjoint(_PROMPTS) and "query" not in dict(mapped):
        # Names that may also be something else, a user's for instance: a prompt where nothing else is one.
        less_usual = [name for name in row if name.strip().lower() in _PERHAPS_PROMPTS and name not in taken]
        less_usual = [name for name in less_usual if name != "user" or found.keys().isdisjoint(("chosen", "rejected"))]
        if len(less_usual) == 1:
            found["query"] = less_usual
    for ours, theirs in mapped:
        found.pop(ours, None)
        if theirs in row:
            found[ours] = [theirs]
    # Sorting is stable: of two spellings of one name the row's first comes first.
    return {ours: tuple(sorted(names, key=lambda name: _rank(ours, name))) for ours, names in found.items()}


_PROMPTS = ("query", "messages", "context", "history", "input")
_PERHAPS_PROMPTS = ("question_body", "user_prompt", "user_input", "user_query", "user_message", "user", "用户输入")


def _rank(ours: str, name: str) -> int:
    usual = ALIASES.get(ours, (ours,))
    plain = name.strip().lower()
    return 2 * usual.index(plain) + (name != plain) if plain in usual else 2 * len(usual)


_OURS: dict[str, list[str]] = {}
for _ours, _theirs in ALIASES.items():
    for _their in _theirs:
        _OURS.setdefault(_their, []).append(_ours)


def number(value: Any) -> Any:
    """A number where text reads as one, also in full-width digits; anything else as it is."""
    found = as_number(value) if isinstance(value, str) else None
    return value if found is None else found


def unfolded(row: Mapping[str, Any], config: FormConfig) -> Mapping[str, Any]:
    """A row whose parts inside objects are columns of their own, where they are known or named.

    Those are: sequences as `datasets` stores them; the parts of OpenAI's `input`; and what --map or
    --score-column names as a path, `question.full_text`.
    """
    more = {name: from_columns(row[name]) for name in SEQUENCES if type(row.get(name)) is dict}
    asked = row.get("input")
    if type(asked) is dict and type(asked.get("messages")) is list:
        parts = {name if name in ("messages", "tools") else f"input.{name}": part for name, part in asked.items()}
        if parts.keys().isdisjoint(row):  # otherwise it is refused
            row = {name: value for name, value in row.items() if name != "input"}
            more |= parts
    if config.fields or config.score_columns:
        for path in (*config.fields.values(), *config.score_columns.values()):
            found = [one for one in at_paths(row, path) if not empty(one)] if empty(row.get(path)) else []
            if found:
                more[path] = found[0]
    return {**row, **more} if more else row


def from_columns(given: Any) -> Any:
    """A list of objects where one object of equally long lists stands for it, as `datasets` stores sequences."""
    columns = list(given.values()) if type(given) is dict else []
    if not columns or not all(type(one) is list for one in columns) or len({len(one) for one in columns}) != 1:
        return given
    return [dict(zip(given, cells, strict=True)) for cells in zip(*columns, strict=True)]


def empty(value: Any) -> bool:
    """Whether a field that holds this is not there: null, "", [], {} and NaN; 0 and false are values."""
    return not ((value or value == 0) and value == value)
