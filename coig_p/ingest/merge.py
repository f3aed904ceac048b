"""Rows of one query as one row: equal responses are one, several of one model are numbered, scores find theirs.

All rows of a query are at hand, in the order in which they were read, so that the outcome hangs on that order
alone. A response is known by its model and by what it says: its text, its tool calls and its reasoning; one that
names no model is known by what it says alone, and is named last.

Scores of another row may say which sample of a model they are for. Where the answers say their own numbers, that is
the answer of that number. Where none does, it is the n-th answer of the model as the rows have them, equal ones and
refused ones counted: who wrote the scores numbered those, and not what is left of them here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from coig_p.ingest.fields import UNKNOWN
from coig_p.ingest.values import Rejected, digest, json_text, shown
from coig_p.store.conversations import ANSWER_FIELDS, MESSAGE_FIELDS

_Key = tuple[str | None, str, str]  # model, text, what else is said


class Origin(NamedTuple):
    """Where a row came from, for what can only be judged beside the other rows of its query.

    Attributes:
        fields: places of the row, such as responses[0].sample -> what the file calls them.
        sampled: which of its responses say the number of their sample.
        keyed: it holds scores for a response of another row.
        lost: of each of its responses that was refused: before which of those that are left it stood, and its model.
        row: as it is in the file, or in the nested shape.
        answer: hexadecimal digest of the text of the response that a keyed row is for, where its row is known.
    """

    file: str
    line: int
    fields: Mapping[str, str]
    sampled: Sequence[int]
    keyed: bool
    lost: Sequence[tuple[int, str]]
    row: Any
    answer: str | None = None

    def upstream(self, path: str) -> str:
        """The upstream name of a path."""
        return self.fields.get(path, path)


Refuse = Callable[[Origin, Rejected, str, Any, Mapping[str, int]], None]
"""Called with what is refused: of which row, why, its unit, its value, and what goes with it."""


def merge(
    rows: Sequence[dict[str, Any]], origins: Sequence[Origin | None], refuse: Refuse, merged: Counter[str]
) -> dict[str, Any]:
    """One row of rows of one query.

    Args:
        rows: in the order in which they were read; they are used up.
        origins: of those rows that are keyed, have a response with a sample of its own, or lost one.
        merged: how many responses and comparisons became one with another are added, under `kept name` how often a
            second value of a kept field was left out, and under `opposed` how many comparisons have an opposite.
    """
    own = [at for at, origin in enumerate(origins) if origin is None or not origin.keyed]
    answers = _Answers(merged)
    moved = {at: _take(answers, rows[at], origins[at], refuse) for at in own}
    answers.number()
    query = rows[own[0]] | {"responses": list(answers.of.values()), "comparisons": None}
    place = {key: at for at, key in enumerate(answers.of)}
    for at in own:
        if rows[at]["comparisons"] is not None:
            found = _comparisons(rows[at], moved[at], origins[at], refuse, merged)
            query["comparisons"] = (query["comparisons"] or []) + [
                comparison | {side: place[comparison[side]] for side in ("first", "second")} for comparison in found
            ]
    merged["opposed"] += _opposed(query["comparisons"] or [])
    _name_unnamed(query["responses"])
    holders = {at: answers.of[key] for at in own if len(moved[at]) == 1 for key in moved[at].values()}
    kept = []
    for at, origin in enumerate(origins):
        if origin is not None and origin.keyed:
            partner = _attach(rows[at], origin, answers, refuse)
            if partner is None:
                continue
            holders[at] = partner
        if rows[at]["meta"] is not None:
            kept.append((at, rows[at]["meta"]))
        source = rows[at]["source"]
        if query["source"] is None:
            query["source"] = source
        elif source not in (None, query["source"]):
            merged["kept source"] += 1
    query["meta"] = _meta(kept, holders, merged)
    merged["unnamed judges"] += sum(map(_has_unnamed_judges, query["responses"]))
    return query


def _has_unnamed_judges(response: dict[str, Any]) -> bool:
    """Whether scores of one dimension, of which no judge is named, may be of several."""
    unnamed = [score["dimension"] for score in response["scores"] if score["judge"] == UNKNOWN]
    return len(set(unnamed)) < len(unnamed)


def _meta(kept: Sequence[tuple[int, str]], holders: Mapping[int, dict[str, Any]], merged: Counter[str]) -> str | None:
    """What is kept beside a query, of what was kept beside its rows.

    A field in which rows differ is not the query's: it goes to the response of each row, where each has one.
    """
    if len({text for _, text in kept}) < 2:
        return kept[0][1] if kept else None
    known = [(at, json.loads(text)) for at, text in kept]
    meta: dict[str, Any] = {}
    for name in dict.fromkeys(name for _, fields in known for name in fields):
        given = [(at, json_text({name: fields[name]})) for at, fields in known if name in fields]
        first = given[0][1]
        differing = sum(text != first for _, text in given)
        if differing and name not in MESSAGE_FIELDS and all(at in holders for at, _ in given):
            for at, text in given:
                holders[at]["extra"] = _both(holders[at]["extra"], text, merged)
        else:
            meta |= json.loads(first)
            merged[f"kept {name}"] += differing
    return json_text(meta) if meta else None


class _Answers:
    """The responses of a query, each once.

    Attributes:
        of: by what they are known, in order of first appearance.
        sampled: model and number that a row gives -> the response that has it.
        arrived: model -> its answers without a number, as they came; None stands for one that was refused.
    """

    def __init__(self, merged: Counter[str]) -> None:
        self.merged = merged
        self.of: dict[_Key, dict[str, Any]] = {}
        self.sampled: dict[tuple[str, int], _Key] = {}
        self.numbers: dict[_Key, list[int]] = {}  # that rows give
        self.arrived: dict[str, list[_Key | None]] = {}

    def take(self, response: dict[str, Any], sample: int | None) -> _Key:
        """Add a response, or what is new of one that is here; raise KeyError where its number is another's."""
        key = (response["model"], response["text"], _more_said(response["extra"]))
        if sample is None:
            if key[0] is not None:
                self.arrived.setdefault(key[0], []).append(key)
        else:
            if key[0] is not None and self.sampled.setdefault((key[0], sample), key) != key:
                raise KeyError
            self.numbers.setdefault(key, []).append(sample)
        known = self.of.get(key)
        if known is None:
            self.of[key] = response
        else:
            known["scores"] += response["scores"]
            known["extra"] = _both(known["extra"], response["extra"], self.merged)
            self.merged["responses"] += 1
        return key

    def number(self) -> None:
        """Number the responses of each model: as rows say, otherwise with what is free, in order of appearance."""
        free: Counter[str] = Counter()
        for key, response in self.of.items():
            model = key[0]
            if key in self.numbers:
                response["sample"] = self.numbers[key][0]
            elif model is None:
                response["sample"] = 0
            else:
                while (model, free[model]) in self.sampled:
                    free[model] += 1
                response["sample"] = free[model]
                free[model] += 1

    def lose(self, model: str) -> None:
        """Count an answer that was refused."""
        self.arrived.setdefault(model, []).append(None)

    def find(self, wanted: dict[str, Any], sample: int | None) -> list[dict[str, Any]]:
        """The responses that a key fits; its text and its model may be null."""
        return [
            response
            for key, response in self.of.items()
            if wanted["model"] in (None, response["model"])
            and (sample is None or self._is_sample(key, response, sample))
            and wanted["text"] in (None, response["text"])
        ]

    def _is_sample(self, key: _Key, response: dict[str, Any], sample: int) -> bool:
        """Whether a response may be meant by a number."""
        model = key[0]
        if model is None:
            return sample in self.numbers.get(key, [0])
        arrived = self.arrived.get(model, [])
        if (model, sample) in self.sampled:
            return self.sampled[model, sample] == key
        if not any(of == model for of, _ in self.sampled):
            return sample < len(arrived) and arrived[sample] == key
        # Some answers have numbers and some have none: what is free may be counted with or without equal ones.
        free = sample - sum(of == model and number < sample for of, number in self.sampled)
        counted = free < len(arrived) and arrived[free] == key
        return counted or (key not in self.numbers and response["sample"] == sample)


def _take(answers: _Answers, row: dict[str, Any], origin: Origin | None, refuse: Refuse) -> dict[int, _Key]:
    """Add a row's responses; which of its places became which response."""
    moved = {}
    lost = list(origin.lost) if origin is not None else []
    for at, response in enumerate(row["responses"]):
        while lost and lost[0][0] == at:
            answers.lose(lost.pop(0)[1])
        sample = response["sample"] if origin is not None and at in origin.sampled else None
        try:
            moved[at] = answers.take(response, sample)
        except KeyError:
            assert origin is not None
            said = f"{shown(response['model'])} gave this query another text as its sample {sample}"
            refuse(
                origin,
                Rejected(f"responses[{at}].sample", "duplicate-sample", said),
                "response",
                response,
                {"responses": 1, "scores": len(response["scores"])},
            )
    for _, model in lost:
        answers.lose(model)
    return moved


def _comparisons(
    row: dict[str, Any], moved: Mapping[int, _Key], origin: Origin | None, refuse: Refuse, merged: Counter[str]
) -> list[dict[str, Any]]:
    """A row's comparisons, still between keys of responses; of a response with itself there is none."""
    kept = []
    for at, comparison in enumerate(row["comparisons"]):
        lost = [name for name in ("first", "second") if comparison[name] not in moved]
        if lost:
            assert origin is not None
            said = f"response {comparison[lost[0]]} was left out"
            problem = Rejected(f"comparisons[{at}].{lost[0]}", "response-rejected", said)
            refuse(origin, problem, "comparison", comparison, {"comparisons": 1})
            continue
        first, second = (moved[comparison[name]] for name in ("first", "second"))
        if first == second:
            merged["comparisons"] += 1
        else:
            kept.append(comparison | {"first": first, "second": second})
    return kept


def _opposed(comparisons: Sequence[dict[str, Any]]) -> int:
    """How many comparisons prefer one response to another where the same judge also prefers it the other way round."""
    found: Counter[tuple[int, int, str, str]] = Counter()
    for one in comparisons:
        sides = one["first"], one["second"]
        if one["first_score"] < one["second_score"]:
            sides = sides[::-1]
        if one["first_score"] != one["second_score"]:
            found[(*sides, one["judge"], one["dimension"])] += 1
    return sum(number for (better, worse, *by), number in found.items() if (worse, better, *by) in found)


def _attach(row: dict[str, Any], origin: Origin, answers: _Answers, refuse: Refuse) -> dict[str, Any] | None:
    """Add a keyed row's scores to the one response that its key fits, and return that."""
    (wanted,) = row["responses"]
    found = answers.find(wanted, wanted["sample"] if origin.sampled else None)
    if origin.answer is not None:
        found = [response for response in found if digest(response["text"]).hex() == origin.answer]
    if len(found) == 1:
        found[0]["scores"] += wanted["scores"]
        return found[0]
    says = [f"{name} {shown(wanted[name])}" for name in ("model", "text") if wanted[name] is not None]
    says += [f"sample {wanted['sample']}"] * bool(origin.sampled)
    key = f"query_id {shown(row['query_id'])}, {', '.join(says) or 'no model'}"
    said = (
        f"{len(found)} responses fit {key}: name the model, the sample or the text as well"
        if found
        else f"no response of any file fits {key}"
    )
    problem = Rejected("", "several-partners" if found else "no-partner", said)
    refuse(origin, problem, "row", origin.row, {"rows": 1, "scores": len(wanted["scores"])})
    return None


def _more_said(extra: str | None) -> str:
    """What an answer says beside its text, as one text."""
    known = json.loads(extra) if extra else {}
    said = {name: known[name] for name in ANSWER_FIELDS if known.get(name)}
    return json_text(said) if said else ""


def _both(one: str | None, other: str | None, merged: Counter[str]) -> str | None:
    """Two JSON objects as one; where both know a name, the first stays."""
    if one is None or other is None or one == other:
        return other if one is None else one
    first, second = json.loads(one), json.loads(other)
    for name in first.keys() & second.keys():
        if json_text(first[name]) != json_text(second[name]):  # 1 is not true
            merged[f"kept {name}"] += 1
    return json_text(second | first)


def _name_unnamed(responses: Sequence[dict[str, Any]]) -> None:
    """Call responses without a model unknown-1, unknown-2 in the order of their text's hash."""
    unnamed = [response for response in responses if response["model"] is None]
    if not unnamed:
        return
    taken = {response["model"] for response in responses}
    free = (name for number in range(1, 2 * len(responses) + 1) if (name := f"unknown-{number}") not in taken)
    for response in sorted(unnamed, key=lambda response: (digest(response["text"]), _more_said(response["extra"]))):
        response["model"] = next(free)
