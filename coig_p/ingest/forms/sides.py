"""Where the two sides of a row stand, whatever its columns are called: response_a, 回答2, answer1_body, model_1."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from coig_p.ingest.verdicts import SIDES

TEXTS = (
    "response",
    "answer",
    "output",
    "completion",
    "generation",
    "reply",
    "text",
    "chat",
    "candidate",
    "summary",
    "assistant",
    "human_ref",
    "回答",
    "回复",
    "答案",
    "输出",
    "model_answer",  # model_a_response, 模型A回答
)
"""What stands before or behind a side in the name of a column with an answer."""

CONVERSATIONS = ("conversation", "conversations", "messages")
MODELS = ("model", "model_name", "model_id", "generator", "模型")
SCORES = ("score", "scores", "rating", "ratings", "reward", "分数", "得分", "评分")

_SIDE = r"(?P<side>\d{1,2}|[a-h]|left|right|first|second|[甲乙丙丁左右一二三四])"
_NAMES = (
    re.compile(
        rf"(?P<stem>.+?)[ _-]?{_SIDE}(?:[ _-](?P<tail>body|text|content|source|policy|model\w*|name|score|rating))?"
    ),
    re.compile(
        rf"(?P<stem>model|模型)[ _-]?{_SIDE}"
        r"(?P<answer>[ _-](?:response|answer|output|reply|completion)|的?回[答复]|的?输出)"
    ),
    re.compile(rf"{_SIDE}[ _-]?(?P<stem>\D+)"),
)
_TAILS = {"source": "model", "policy": "model", "score": "score", "rating": "score"}


class Part(NamedTuple):
    """What a column of one side holds.

    Attributes:
        kind: text, conversation, model or score.
        stem: what its name says beside the side.
        side: as in SIDES, or a third one.
    """

    kind: str
    stem: str
    side: str


class Layout(NamedTuple):
    """Where the two sides of a row stand: for each, the names of its columns.

    Attributes:
        in_list: the field that holds both answers in one list, where they have no columns.
        others: filled columns of a third side.
        also: how the columns of models tell the same sides apart, where it is otherwise (response_1, model_a).
    """

    sides: tuple[str, str]
    texts: tuple[str, str]
    models: tuple[str, str] | None = None
    scores: tuple[str, str] | None = None
    in_list: str | None = None
    others: tuple[str, ...] = ()
    also: tuple[str, str] | None = None


@lru_cache(maxsize=1024)
def column_layout(
    names: tuple[str, ...], filled: frozenset[str], mapped: tuple[tuple[str, str], ...] = ()
) -> Layout | None:
    """The columns of two sides among a row's fields, those with the most that is filled; None where there are none.

    Args:
        mapped: our names and the row's, as in `FormConfig.fields`.
    """
    parts: dict[Part, str] = {}
    for name in names:
        if part := _part(name):
            parts.setdefault(part, name)
    for ours, theirs in mapped:
        if part := _part(ours):
            parts[part] = theirs
    said = {theirs for _, theirs in mapped}  # what the user names goes first
    best: tuple[int, Layout] | None = None
    for kind, stems in (("text", TEXTS), ("conversation", CONVERSATIONS)):
        for stem in stems:
            for sides in SIDES if any(part[:2] == (kind, stem) for part in parts) else ():
                texts = _columns(parts, kind, (stem,), sides)
                if texts is None or not all(name in names for name in texts):
                    continue
                count = sum((name in filled) + 2 * (name in said) for name in texts)
                if count > (best[0] if best else 0):
                    others = (name for part, name in parts.items() if part[:2] == (kind, stem) and name in filled)
                    models, also = _models(parts, sides)
                    layout = Layout(
                        sides=sides,
                        texts=texts,
                        models=models,
                        also=also,
                        scores=_columns(parts, "score", SCORES, sides),
                        others=() if said.issuperset(texts) else tuple(name for name in others if name not in texts),
                    )
                    best = count, layout
    return best[1] if best else None


@lru_cache(maxsize=1024)
def other_sides(names: frozenset[str], sides: tuple[str, str]) -> frozenset[str]:
    """The sides beyond the two of which a row has columns."""
    return frozenset(part.side for part in map(_part, names) if part is not None) - {*sides}


def _models(parts: Mapping[Part, str], sides: tuple[str, str]) -> tuple[tuple[str, str] | None, tuple[str, str] | None]:
    """The columns of the models, and how they tell the sides apart where it is otherwise than the answers do.

    Letters and numbers cannot be mixed up, so that the first of the ones is the first of the others.
    """
    if found := _columns(parts, "model", MODELS, sides):
        return found, None
    answered = {part.side for part in parts if part.kind in ("text", "conversation")}
    also = ("a", "b") if sides == ("1", "2") else ("1", "2") if sides == ("a", "b") else None
    if also is None or not answered.isdisjoint(also):
        return None, None
    found = _columns(parts, "model", MODELS, also)
    return found, also if found else None


def _columns(
    parts: Mapping[Part, str], kind: str, stems: Sequence[str], sides: tuple[str, str]
) -> tuple[str, str] | None:
    for stem in stems:
        first, second = (parts.get(Part(kind, stem, side)) for side in sides)
        if first and second:
            return first, second
    return None


@lru_cache(maxsize=4096)
def _part(name: str) -> Part | None:
    """What a column's name says, None where it names no side."""
    plain = unicodedata.normalize("NFKC", name).strip().lower()
    for pattern in _NAMES:
        if not (match := pattern.fullmatch(plain)):
            continue
        stem, side = match["stem"].rstrip(" _-"), match["side"]
        stem = re.sub(r"[ -]", "_", stem)
        if match.groupdict().get("answer"):
            return Part("text", "model_answer", side)
        tail = match.groupdict().get("tail") or ""
        if stem in (*TEXTS, *MODELS) and tail and tail not in ("body", "text", "content"):
            kind = _TAILS.get(tail, "model")
            return Part(kind, kind, side)
        for kind, stems in (("text", TEXTS), ("conversation", CONVERSATIONS), ("model", MODELS), ("score", SCORES)):
            if stem in stems:
                return Part(kind, stem, side)
    return None
