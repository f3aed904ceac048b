"""Several answers in one row, in a list: with annotations per aspect, ratings, ranks, or in order.

A list's companions (models, ratings, ranks) stand beside it in lists of the same length, or inside it, where its
entries are objects. A rank says who is better and not by how much, so ranks become comparisons; the lower one
is better.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from coig_p.ingest.fields import Fields, Shaped, number
from coig_p.ingest.forms.pairs import one_answer
from coig_p.ingest.means import mean_scores
from coig_p.ingest.prompt import put_query
from coig_p.ingest.turns import from_text
from coig_p.ingest.values import Rejected, is_missing, shown
from coig_p.ingest.verdicts import FIRST, SECOND, number_in
from coig_p.schema import OVERALL

LISTS = (
    "responses",
    "answers",
    "generations",
    "completions",
    "candidates",
    "outputs",
    "summaries",
    "回答列表",
    "response",
    "answer",
    "output",
    "text",
    "completion",
    "回答",
)
"""Fields that may hold a list of answers."""

_ONE_TEXT = frozenset(LISTS[LISTS.index("response") :])
"""Those of them that usually hold one answer; a list of turns there is one too."""

_TEXTS = ("text", "response", "answer", "content", "completion", "output", "generation", "回答", "value")
_MODELS = (
    *("model", "model_name", "model_names", "models", "generation_models", "generation_model", "generators"),
    *("generator", "policy", "policies", "模型"),
)
_RANKS = ("rank", "ranks", "排名", "名次")
_RATINGS = ("rating", "ratings", "score", "scores", "rewards", "评分", "分数", "得分")
_REWARDS = ("reward",)  # of a model: on no scale that is known, so it only must not contradict ranks
_RATIONALES = ("rationale", "rationales", "理由")
ANNOTATIONS = "annotations"
"""What is said of each answer, an object each, where it stands beside them."""

_OURS = {"model": _MODELS, "rank": _RANKS, "ratings": _RATINGS, "score": _RATINGS, "rationale": _RATIONALES}


class Listed(NamedTuple):
    """The answers of a row and what is said of each; a companion that is nowhere is a list of None.

    Attributes:
        name: the field that holds the list.
        answers: an object each, with text, model and what is left unread.
        ranks, ratings, rationales: one for each answer.
        places: companion ("ranks", ...) -> where the first of it stands, for messages; those that are there.
        paths: companion -> for each answer where it stands.
    """

    name: str
    answers: list[Any]
    ranks: list[Any]
    ratings: list[Any]
    rationales: list[Any]
    paths: dict[str, list[str]]


def form_of(row: Fields) -> str | None:
    """Which form reads the row's list of answers; None where it has none, or another form's."""
    name = find_list(row)
    if name is None:
        return None
    entries = row.row[name]
    if row.has("chosen") and row.has("rejected") and not names_answers(row, name):
        return None
    if annotated(row):
        return "ultrafeedback"
    if is_ranked_export(row):
        return "rated"
    if has_companion(row, name, "rank"):
        return "ranked"
    objects = [one for one in entries if isinstance(one, dict)] if name == "responses" else []
    mapped = not row.config.fields.keys().isdisjoint(("ratings", "score"))
    if not mapped and any("scores" in one for one in objects):
        return "nested"
    if has_companion(row, name, "ratings"):
        return "rated"
    if any("text" in one or "scores" in one for one in objects):
        return "nested"
    if len(entries) > 2 and names_answers(row, name):
        return "ranked"
    if isinstance(entries[0], dict):
        return "ultrafeedback" if name == "completions" else "rated"
    return None if name in _ONE_TEXT else "rated"


def annotated(row: Fields) -> bool:
    """Whether the answers have annotations in them."""
    name = find_list(row)
    return name is not None and any(isinstance(one, dict) and "annotations" in one for one in row.row[name])


def names_answers(row: Fields, name: str) -> bool:
    """Whether chosen or rejected say which entry of a list of answers is meant, and are not the answers.

    A number is a place; a word is a place or a model, where no answer is that very word.
    """
    texts = [one.get(_text_key(one)) if isinstance(one, dict) else one for one in row.row[name]]
    known = {text.strip() for text in texts if isinstance(text, str)}
    models = {one for one in _models(row, name) if isinstance(one, str)}
    for side in ("chosen", "rejected"):
        for given in (row.row[field] for field in row.all(side)[:1]):
            if isinstance(given, (list, dict)):
                return False
            if not isinstance(given, str):
                return True
            if given.strip() not in known and (given.strip() in models or re.fullmatch(_LABEL, given.strip())):
                return True
    return False


_LABEL = re.compile(
    r"[+-]?\d+(\.0*)?|"
    r"(?:response|answer|output|completion|candidate|model|assistant|回答|答案)?[ _-]?(?:[a-h]|\d{1,2})",
    re.IGNORECASE,
)


def _models(row: Fields, name: str) -> list[Any]:
    try:
        return _companion(row, name, row.row[name], "model", {})
    except Rejected:
        return []  # the form says it


def find_list(row: Fields) -> str | None:
    """The field with a list of answers, None where there is none."""
    mapped = [row.config.fields[ours] for ours in ("responses", "answers", "generations") if ours in row.config.fields]
    for name in (*mapped, *LISTS):
        given = row.row.get(name)
        if type(given) is list and (
            all(type(one) is str for one in given)
            or (name not in _ONE_TEXT and all(_text_key(one) and "role" not in one for one in given))
            or (name not in _ONE_TEXT and all(map(_is_message, given)))
        ):
            return name
    return None


def _is_message(entry: Any) -> bool:
    """Whether an answer is a list of its one message."""
    return isinstance(entry, list) and len(entry) == 1 and isinstance(entry[0], dict) and "role" in entry[0]


def has_companion(row: Fields, name: str, what: str) -> bool:
    """Whether a list of answers has ranks or ratings, beside it or inside it."""
    names = _named(row, what)
    inside = any(isinstance(one, dict) and _key(one, names) for one in row.row[name])
    beside = row.row.get(ANNOTATIONS) if what == "ratings" else None
    if not inside and isinstance(beside, list):
        inside = any(isinstance(one, dict) and _key(one, names) for one in beside)
    return inside or any(isinstance(row.row.get(column), list) for column in names if column != name)


def _annotations(row: Fields, name: str, entries: Sequence[Any]) -> list[dict[str, Any]] | None:
    """The annotation of each answer where they stand beside the answers, found by model (CodeUltraFeedback).

    Raises:
        Rejected: their models are not those of the answers.
    """
    given = row.row.get(ANNOTATIONS)
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        return None
    models = [one.get("model") if isinstance(one, dict) else None for one in entries]
    named = {str(one.get("model")): one for one in given}
    if set(named) == {"None"} and len(given) == len(entries):
        return given
    if len(named) != len(given) or len(set(map(str, models))) != len(models) or set(map(str, models)) != set(named):
        raise Rejected(ANNOTATIONS, "unequal-lists", f"the models in it are not those in {name}, each once")
    return [named[str(model)] for model in models]


def put_prompt(row: Fields, value: dict[str, Any]) -> None:
    """The prompt of a row that must have one.

    Raises:
        Rejected: it has none, or see `put_query`.
    """
    put_query(row, value)
    if "messages" not in value and is_missing(value.get("query")):
        have = ", ".join(sorted(row.row))
        raise Rejected("query", "missing", f"nothing says what is asked; the row has {have}. Name it with --map query=")


def ultrafeedback(row: Fields) -> Shaped:
    """Completions, each with annotations per aspect."""
    value = row.common()
    put_prompt(row, value)
    completions = row.get("completions")
    row.names["responses"] = row.name("completions")
    judge = row.judge()
    if not isinstance(completions, list):
        return row.shaped(value | {"responses": completions})
    value["responses"] = [
        _annotated(row, completion, f"responses[{at}]", f"{row.name('completions')}[{at}]", judge)
        for at, completion in enumerate(completions)
    ]
    models = [one.get("model") for one in completions if isinstance(one, dict)]
    if isinstance(row.row.get("models"), list) and sorted(map(str, row.row["models"])) == sorted(map(str, models)):
        row.read.add("models")  # it says nothing that the completions do not
    return row.shaped(value)


def _annotated(row: Fields, completion: Any, ours: str, theirs: str, judge: Any) -> Any:
    if not isinstance(completion, dict):
        return completion
    annotations = completion.get("annotations")
    scores: list[dict[str, Any]] = []
    for aspect, given in (annotations if isinstance(annotations, dict) else {}).items():
        for nth, one in enumerate(given if isinstance(given, list) else [given]):
            rating = one.get("Rating", one.get("rating")) if isinstance(one, dict) else one
            where = f"{theirs}.annotations.{aspect}" + (f"[{nth}]" if isinstance(given, list) else "")
            row.names[f"{ours}.scores[{len(scores)}].score"] = f"{where}.Rating" if isinstance(one, dict) else where
            score = {"judge": judge, "dimension": aspect, "score": rating}
            parts = [one.get(name) for name in ("Rationale", "Rationale For Rating")] if isinstance(one, dict) else []
            said = [text for text in parts if isinstance(text, str) and text.strip()]
            scores.append(score | ({"rationale": "\n\n".join(said)} if said else {}))
    key = _text_key(completion)
    rest = {name: given for name, given in completion.items() if name not in ("annotations", "model", key)}
    row.names[f"{ours}.text"] = f"{theirs}.{key or 'response'}"
    row.names[ours] = theirs
    response = rest | {"model": completion.get("model"), "scores": scores}
    return response | ({"text": completion[key]} if key else {})


def ranked(row: Fields) -> Shaped:
    """A list of answers and the rank of each; ratings beside the ranks are kept."""
    found = listed(row)
    if "ranks" not in found.paths and (row.has("chosen") or row.has("rejected")):
        found = _chosen(row, found)
    if "ranks" not in found.paths:
        raise Rejected(found.name, "missing", _nothing_said(found))
    return _shaped(row, found, _by_rank(row, found))


def _chosen(row: Fields, found: Listed) -> Listed:
    """A list of which chosen and rejected name entries, with ranks that say so: chosen is better than rejected.

    Where only one of the two is named, the chosen one is better than all others, the rejected one worse.

    Raises:
        Rejected: a number, which may count from 0 or from 1, or a word that names no one entry.
    """
    ranks: list[Any] = [None] * len(found.answers)
    for side, rank in (("chosen", 1), ("rejected", 3)):
        if not row.has(side):
            continue
        name = row.name(side)
        row.read.add(name)
        said = str(row.row[name]).strip()
        at = [at for at, one in enumerate(found.answers) if said in (one.get("model"), str(one.get("text")).strip())]
        if len(at) != 1 or ranks[at[0]] is not None:
            raise Rejected(
                name,
                "bad-winner",
                f"{shown(row.row[name])} is neither the text nor the model of just one of {len(found.answers)} answers "
                f"in {found.name}, and a place may count from 0 or from 1: name the answer by its text or its model, "
                f"or leave the answers without a verdict with --drop {name}",
            )
        ranks[at[0]] = rank
    if not (row.has("chosen") and row.has("rejected")):
        ranks = [2 if rank is None else rank for rank in ranks]
    side = row.name("chosen" if row.has("chosen") else "rejected")
    return found._replace(ranks=ranks, paths=found.paths | {"ranks": [side] * len(ranks)})


def rated(row: Fields) -> Shaped:
    """A list of answers and the rating of each."""
    found = listed(row)
    if "ratings" not in found.paths:
        raise Rejected(found.name, "missing", _nothing_said(found))
    if is_ranked_export(row):
        row.read.add("ranks")
        found = found._replace(ratings=mean_scores(found.ratings, found.paths["ratings"]))
    return _shaped(row, found, None)


def is_ranked_export(row: Fields) -> bool:
    """Whether a row is one that `coigp pairs --format ranked` wrote, and its ranks say no more than its scores do.

    They do where a file of others has the same columns.
    """
    if not (row.is_export("ranked") or row.is_export("ranked_conversational")):
        return False
    given, ranks = row.row.get("scores"), row.row.get("ranks")
    scores = list(map(number, given)) if isinstance(given, list) else []
    if not all(type(one) in (int, float) for one in scores):
        return False
    ascending = sorted(scores)
    return bool(ranks == [1 + len(scores) - bisect_right(ascending, one) for one in scores])


def best_first(row: Fields) -> Shaped:
    """A list of answers of which the first is better than each of the others; their order is not known."""
    found = listed(row)
    return _shaped(row, found, [(0, other, FIRST) for other in range(1, len(found.answers))])


def _shaped(row: Fields, found: Listed, verdicts: list[tuple[int, int, tuple[float, float]]] | None) -> Shaped:
    value = row.common()
    put_prompt(row, value)
    row.read.add(found.name)
    row.names["responses"] = found.name
    judge = row.judge()
    value["responses"] = []
    for at, answer in enumerate(found.answers):
        scores: list[dict[str, Any]] = []
        rationale = found.rationales[at]
        said = {"rationale": rationale} if isinstance(rationale, str) and rationale.strip() else {}
        aspect = row.get("dimension") if isinstance(row.row.get(row.name("dimension")), str) else OVERALL
        for dimension, rating in _dimensions(found.ratings[at], aspect) if "ratings" in found.paths else ():
            inside = f".{dimension}" if isinstance(found.ratings[at], dict) else ""
            where = found.paths["ratings"][at] + inside
            row.names[f"responses[{at}].scores[{len(scores)}].score"] = where
            scores.append({"judge": judge, "dimension": dimension, "score": rating} | said)
        value["responses"].append(answer | {"scores": scores} if isinstance(answer, dict) else answer)
    if verdicts is not None:
        value["comparisons"] = []
        for first, second, (won, lost) in verdicts:
            for key in ("first_score", "second_score"):
                row.names[f"comparisons[{len(value['comparisons'])}].{key}"] = found.name
            value["comparisons"].append(
                {
                    "first": first,
                    "second": second,
                    "judge": judge,
                    "dimension": OVERALL,
                    "first_score": won,
                    "second_score": lost,
                }
            )
    return row.shaped(value)


def _dimensions(rating: Any, aspect: str) -> Iterator[tuple[str, Any]]:
    if isinstance(rating, dict):
        yield from rating.items()
    else:
        yield aspect, rating


def _by_rank(row: Fields, found: Listed) -> list[tuple[int, int, tuple[float, float]]]:
    """All pairs of unequal rank, in the order of the list; an answer without a rank is in none."""
    ranks: dict[int, float] = {}
    for at, given in enumerate(found.ranks):
        if is_missing(given):
            continue
        rank = number_in(given)
        if rank is None:
            raise Rejected(found.paths["ranks"][at], "not-a-number", f"{shown(given)} is not a rank")
        ranks[at] = rank
    verdicts = []
    for first, second in combinations(ranks, 2):
        if ranks[first] == ranks[second]:
            continue
        verdicts.append((first, second, FIRST if ranks[first] < ranks[second] else SECOND))
        for what, given in (("ratings", found.ratings), ("rewards", _rewards(row, found.name))):
            one, other = (number_in(given[at]) for at in (first, second))
            if one is None or other is None or one == other or (one > other) == (ranks[first] < ranks[second]):
                continue
            columns = [
                paths[0].rpartition(".")[2] for paths in (found.paths["ranks"], found.paths.get(what, ["reward"]))
            ]
            ways = " or ".join(f"--drop {column.partition('[')[0]}" for column in columns)
            raise Rejected(
                found.paths["ranks"][second],
                "contradiction",
                f"ranks {ranks[first]:g} and {ranks[second]:g} (the lower is better) say otherwise than the {what} "
                f"{one:g} and {other:g}: leave one of the two out with {ways}",
            )
    return verdicts


def _rewards(row: Fields, name: str) -> list[Any]:
    """A reward model's number for each answer, None where there is none."""
    names = [one for one in _REWARDS if one not in row.config.drop]
    return [one[key] if isinstance(one, dict) and (key := _key(one, names)) else None for one in row.row[name]]


def listed(row: Fields) -> Listed:
    """The answers of a row and their companions.

    Raises:
        Rejected: no list of answers, or a companion of another length.
    """
    name = find_list(row)
    if name is None:
        name = next((name for name in LISTS if name in row.given), "responses")
        raise Rejected(name, "missing" if name not in row.given else "not-a-list", "no list of answers")
    entries = row.row[name]
    paths: dict[str, list[str]] = {}
    found = {what: _companion(row, name, entries, what, paths) for what in ("model", "rank", "ratings", "rationale")}
    answers: list[Any] = []
    for at, entry in enumerate(entries):
        model = found["model"][at]
        if isinstance(entry, dict):
            key = _text_key(entry) or "text"
            taken = {key, *(_key(entry, _named(row, what)) for what in found)}
            answer = {left: given for left, given in entry.items() if left not in taken}
            answer |= _response(row, entry.get(key), f"{name}[{at}].{key}")
            row.names[f"responses[{at}].text"] = f"{name}[{at}].{key}"
        else:
            answer = _response(row, entry, f"{name}[{at}]")
            row.names[f"responses[{at}].text"] = f"{name}[{at}]"
        row.names[f"responses[{at}].model"] = paths["model"][at] if "model" in paths else f"{name}[{at}].model"
        answers.append(answer | {"model": model})
    ours = {"rank": "ranks", "ratings": "ratings", "rationale": "rationales"}
    return Listed(
        name=name,
        answers=answers,
        ranks=found["rank"],
        ratings=found["ratings"],
        rationales=found["rationale"],
        paths={ours[what]: path for what, path in paths.items() if what in ours},
    )


def _response(row: Fields, given: Any, where: str) -> dict[str, Any]:
    """An answer that is a text, or its message in a list (NeMo RL), which may be written as text."""
    found = from_text(given) if isinstance(given, str) else given
    if isinstance(found, list) and found and all(isinstance(one, dict) for one in found):
        return one_answer(found, where, row.unread)
    return {"text": given}


def _companion(row: Fields, name: str, entries: Sequence[Any], what: str, paths: dict[str, list[str]]) -> list[Any]:
    """What stands inside the entries or, where nothing does, in a list beside them."""
    keys = [_key(one, _named(row, what)) if isinstance(one, dict) else None for one in entries]
    if any(keys):
        paths[what] = [f"{name}[{at}].{key or what}" for at, key in enumerate(keys)]
        return [one[key] if key else None for one, key in zip(entries, keys, strict=True)]
    beside = _annotations(row, name, entries) if what in ("ratings", "rationale") else None
    if beside is not None and any(_key(one, _named(row, what)) for one in beside):
        row.read.add(ANNOTATIONS)
        keys = [_key(one, _named(row, what)) for one in beside]
        paths[what] = [f"{ANNOTATIONS}.{key or what}" for key in keys]
        return [one[key] if key else None for one, key in zip(beside, keys, strict=True)]
    for column in _named(row, what):
        given = row.row.get(column)
        if what == "model" and isinstance(given, str):
            given = [given] * len(entries)  # one model, several samples
        if column == name or not isinstance(given, list):
            continue
        if len(given) != len(entries):
            raise Rejected(column, "unequal-lists", f"{column} has {len(given)}, {name} has {len(entries)}")
        row.read.add(column)
        paths[what] = [f"{column}[{at}]" for at in range(len(given))]
        return given
    return [None] * len(entries)


def _named(row: Fields, what: str) -> tuple[str, ...]:
    mapped = row.config.fields.get(what) or (row.config.fields.get("score") if what == "ratings" else None)
    names = (mapped,) if mapped else _OURS[what]
    drop = row.config.drop
    return tuple(name for name in names if name not in drop) if drop else names


def _key(entry: dict[str, Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in entry), None)


def _text_key(entry: Any) -> str | None:
    return _key(entry, _TEXTS) if isinstance(entry, dict) else None


def _nothing_said(found: Listed) -> str:
    return (
        f"a list of {len(found.answers)} answers, and nothing says which is better: name their ratings or ranks with "
        "--map ratings=NAME or --map rank=NAME. Where the first is the best, say --format best-first"
    )
