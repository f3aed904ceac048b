"""The score in a judgement that is a JSON object, or ends with one, as judges write JSON: fenced, quoted like Python,
with a comma or a remark too many.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from coig_p.annotate.labels import LABEL, OVERALL, OVERALL_WORD
from coig_p.annotate.quoting import leads_to_a_quotation, told_of
from coig_p.annotate.values import Found, value

_KEY = re.compile(rf"(?:{OVERALL}|{LABEL}|{OVERALL_WORD})", re.IGNORECASE)
_PLAIN_KEY = re.compile(LABEL, re.IGNORECASE)
_WRAPS = re.compile(
    r"(?:evaluation|assessment|judge?ment|result|results|output|response|review|scores|ratings|评审|评价|评估|"
    r"结果|评审结果|评分结果)",
    re.IGNORECASE,
)
_MOST_DEEP = 3
_MOST_PLACES, _MOST_LINES = 4, 1000  # where an object may begin: the first and the last of so many
_OBJECT = re.compile(r"^ {0,6}(?:```\w{0,20} {0,9}\n\s{0,40})?[\[{]", re.MULTILINE)
_FENCE = re.compile(r"```\w{0,20}")
_REMARK = re.compile(r"(?<=[\d\"',\]}]) {0,20}//[^\n\"]{0,200}$", re.MULTILINE)
_LAST_COMMA = re.compile(r",(?=\s{0,40}[}\]])")
_SINGLE = re.compile(r"(?<=[{\[,:\s])'((?:[^'\\\n]|\\.){0,4000})'(?=\s{0,40}[:,}\]])")
_PAIR = re.compile(
    r"[\"'](?P<key>[^\"'\n:]{1,40})[\"']\s{0,9}:\s{0,9}"
    r"(?P<value>\"[^\"\n]{0,20}\"|'[^'\n]{0,20}'|[0-9.]{1,6})(?=\s{0,40}(?:[,}]|//|$))",
    re.MULTILINE,
)


def as_json(said: str) -> tuple[dict[str, Any] | None, str]:
    """The JSON object that a judgement is, or ends with, where it has a key of a score, and its text.

    Else None and the text to read; where the object is quoted from the response, that ends before it.
    """
    if not said.endswith(("}", "]", "```")):
        return None, said
    places = list(islice(_OBJECT.finditer(said), _MOST_LINES))
    for place in places[:_MOST_PLACES] + places[_MOST_PLACES:][-_MOST_PLACES:]:
        text = said[place.start() :].strip()
        if text.endswith("```"):
            text = _FENCE.sub("", text.removesuffix("```"), count=1) if text.startswith("```") else ""
        found = _with_score(_read(text.strip()))
        if found is None:
            continue
        before = said[: place.start()]
        if leads_to_a_quotation(before):
            return None, before
        return (None, said) if _has_score(before) else (found, said[place.start() :])
    return None, said


def _has_score(before: str) -> bool:
    """Whether a text holds another pair of a score, of which it does not tell that the response says it."""
    pairs = islice(_PAIR.finditer(before), _MOST_LINES)
    return any(
        _KEY.fullmatch(pair["key"].strip("_ ")) and not told_of(before[: pair.start()].rstrip("{ ")) for pair in pairs
    )


def _read(text: str) -> Any:
    """The value, where the text is one; the pairs of a score where it is nearly one; None where it is neither."""
    for tidy in (text, _LAST_COMMA.sub("", _SINGLE.sub(_double, _REMARK.sub("", text)))):
        try:
            value = json.loads(tidy, object_pairs_hook=_unique, strict=False)
        except (ValueError, RecursionError):
            continue
        return value[0] if isinstance(value, list) and len(value) == 1 else value
    if not (text.startswith("{") and text.endswith("}")):
        return None
    pairs = [(pair["key"], pair["value"].strip("\"'")) for pair in islice(_PAIR.finditer(text), 100)]
    scores = [pair for pair in pairs if _KEY.fullmatch(pair[0].strip("_ "))]
    return dict(scores) if len(scores) == 1 else None


def _double(found: re.Match[str]) -> str:
    return json.dumps(found[1], ensure_ascii=False)


def _with_score(value: Any, depth: int = 0) -> dict[str, Any] | None:
    """The object with a key of a score: itself, one that it wraps, or one of which a key names the overall score."""
    if not isinstance(value, dict) or depth > _MOST_DEEP:
        return None
    if any(_KEY.fullmatch(key.strip("_ ")) for key in value):
        return dict(value)
    wrapped = [item for key, item in value.items() if isinstance(item, dict) and _WRAPS.fullmatch(key.strip("_ "))]
    return _with_score(wrapped[0], depth + 1) if len(wrapped) == 1 else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key stands there twice")
    return dict(pairs)


def of_json(found: dict[str, Any], text_of: str) -> list[list[Found]]:
    """Its scores under a name of the overall score, and under a plain one; their phrases are as its text has them."""
    ways: list[list[Found]] = [[], []]
    for key, score in _scores(found):
        text = (score if isinstance(score, str) else json.dumps(score)).strip()
        at = None if isinstance(score, bool | list | dict | None) else value(text, 0, bare=True)
        if at is None or text[at.end :].strip():
            at = Found(None, "malformed", 0, 0, "")
        pairs = re.findall(rf"[\"']{re.escape(key)}[\"']\s*:[^,}}]{{1,80}}", text_of)
        phrase = pairs[-1] if pairs else f'"{key}": {json.dumps(score, ensure_ascii=False)}'
        ways[_PLAIN_KEY.fullmatch(key.strip("_ ")) is not None].append(at._replace(phrase=phrase))
    return ways


def _scores(found: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, item in found.items():
        if not _KEY.fullmatch(key.strip("_ ")):
            continue
        if isinstance(item, dict) and len(inner := [one for name, one in item.items() if _KEY.fullmatch(name)]) == 1:
            item = inner[0]
        if isinstance(item, list) and len(item) == 1:
            item = item[0]  # the brackets that a prompt asks for
        yield key, item
