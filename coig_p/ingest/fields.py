"""The fields of an upstream row under our names, whatever the row calls them.

A field that is null or empty is not there: it hides no filled one of another name. Two filled names for
one thing are refused, unless they say the same, since nobody can know which is meant. What was read is
remembered, so that what was not is told.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from coig_p.errors import UnknownNameError
from coig_p.ingest.values import Rejected, as_number

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
    "text": ("text", "response", "output", "answer", "completion", "回答", "答案", "回复", "输出"),
    "model": ("model", "model_name", "模型"),
    "sample": ("sample",),
    "judge": ("judge", "评委", "评审模型", "裁判"),
    "dimension": ("dimension", "维度"),
    "score": ("score", "rating", "分数", "得分", "评分"),
    "rationale": ("rationale", "理由"),
    "chosen": ("chosen", "chosen_response", "pos_resp", "优选"),
    "rejected": ("rejected", "rejected_response", "rejected_messages", "neg_resp", "劣选"),
    **{
        f"{side}_score": tuple(
            name
            for what in ("score", "rating", "avg_rating", "reward")
            for name in (f"{side}_{what}", f"{what}_{side}", f"{side}-{what}", f"{side}_response_{what}")
        )
        for side in ("chosen", "rejected")
    },
    **{
        f"{side}_model": (f"{side}_model", f"model_{side}", f"{side}-model", f"{side}_model_name")
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

NO_PLACE = frozenset(
    ("image", "images", "image_url", "image_urls", "image_path", "rejected_images", "图片", "图像", "pixel_values")
) | {"audio", "audios", "input_audio", "音频", "video", "videos", "视频"}
"""Fields that carry meaning and have no place in a store: a row that has one is refused."""


@dataclass(frozen=True)
class Survey:
    """What a first pass over every row of an import found: see `coig_p.ingest.survey`.

    Attributes:
        numbers: (column, names of the sides) -> every number found there; annotators' columns are counted as one.
        row_numbers: fields such as id that number rows, and are no query's id.
        forms: of the rows.
    """

    numbers: Mapping[tuple[str, str], Collection[float]] = field(default_factory=dict)
    row_numbers: Collection[str] = ()
    forms: Collection[str] = ()


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
        survey: what is known of the import as a whole; without it a row is read by itself.
    """

    form: str = "auto"
    fields: Mapping[str, str] = field(default_factory=dict)
    judge: str = UNKNOWN
    drop: Collection[str] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    score_columns: Mapping[str, str] = field(default_factory=dict)
    keep: Collection[str] = ()
    survey: Survey = field(default_factory=Survey)

    def __post_init__(self) -> None:
        for name in self.fields:
            if name not in MAPPABLE:
                raise UnknownNameError("field", name, MAPPABLE)
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
        unread: fields within the row's values that were not read, as `messages.weight`.
        names: for `Shaped`.
        textual: every value is text (CSV); what reads as a number is one.
    """

    def __init__(self, row: Mapping[str, Any], config: FormConfig, textual: bool = False) -> None:
        self.given = {name: value for name, value in row.items() if name not in config.drop} if config.drop else row
        self.row = {name: value for name, value in self.given.items() if (value or value == 0) and value == value}
        self.config, self.textual = config, textual
        self.read: set[str] = set()
        self.unread: set[str] = set()
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
            return self.config.fields.get(ours, ours)
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

    def number(value: Any) -> Any:
    """A number where text reads as one, also in full-width digits; anything else as it is."""
    found = as_number(value) if isinstance(value, str) else None
    return value if found is None else found


def empty(value: Any) -> bool:
    """Whether a field that holds this is not there: null, "", [], {} and NaN; 0 and false are values."""
    return not ((value or value == 0) and value == value)
