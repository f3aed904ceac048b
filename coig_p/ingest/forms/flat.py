"""One response, or one score of a response, a row."""

from __future__ import annotations

from typing import Any

from coig_p.ingest.fields import Fields, Shaped, number
from coig_p.ingest.forms.pairs import answers_of, response_of
from coig_p.ingest.means import mean_score
from coig_p.ingest.prompt import Asked, asked, put_query, put_turns, settle
from coig_p.ingest.turns import answer_fields, from_text, said, split_answer
from coig_p.ingest.values import Rejected, shown
from coig_p.schema import OVERALL
from coig_p.store.conversations import CALLS


def flat(row: Fields) -> Shaped:
    """One response, or one score of a response; without a text or a query it is for an answer of another row."""
    value = row.common()
    response: dict[str, Any] = {}
    put_answer(row, value, response)
    if row.has("sample"):
        row.put(response, "sample", "sample", "responses[0].sample")
    row.put(response, "model", "model", "responses[0].model")
    _refuse_two_labels(row)
    response["scores"] = scores_of(row, "responses[0]")
    value["responses"] = [response]
    asks = "query" in value or "messages" in value
    for name in row.config.survey.row_keys:
        if name in row.row and "query_id" not in value:
            value["row_id"] = row.row[name]
            row.read.add(name)
    known = asks or "query_id" in value or "row_id" in value
    if response["scores"] and ("text" not in response or not asks) and known:
        value["keyed"] = True
        if "text" not in response:
            _check_no_answer(row)
    return row.shaped(value)


def _check_no_answer(row: Fields) -> None:
    """Refuse a score for an answer elsewhere where a text that nobody read may be the answer itself."""
    for name in sorted(row.row.keys() - row.read):
        given = row.row[name]
        if isinstance(given, str) and isinstance(number(given), str) and name not in row.config.keep:
            raise Rejected(
                name,
                "perhaps-an-answer",
                f"{shown(given)} may be the answer that is scored, and no field of a known name holds one: pass "
                f"--map text={name} if it is, or --drop {name} where the answer stands in another row",
            )


def _refuse_two_labels(row: Fields) -> None:
    """A label, good or bad, beside a score: they may say different things, and which one is meant is not said."""
    config = row.config
    if not (row.has("label") and row.has("score")) or row.is_export("kto") or row.is_export("sft"):
        return
    label, score = row.name("label"), row.name("score")
    if "score" in config.fields or config.score_columns or label in config.keep or "all" in config.keep:
        return
    given = row.row[label].strip().lower() if isinstance(row.row[label], str) else row.row[label]
    if given in (True, False, 1, 0, -1, "true", "false", "1", "0", "-1"):
        raise Rejected(
            label,
            "ambiguous",
            f"{label} says good or bad, and {score} how good: read the labels with --drop {score}, or the scores with "
            f"--drop {label}",
        )


def put_answer(row: Fields, value: dict[str, Any], response: dict[str, Any]) -> None:
    """The prompt and the answer: two fields, or one conversation that ends in the answer."""
    name = row.name("text")
    row.names["responses[0].text"] = name
    if name in row.row:
        if isinstance(row.row[name], str) and from_text(row.row[name]) is None:  # the usual row
            row.read.add(name)
            response["text"] = row.row[name]
            response.update(_beside(row))
            put_query(row, value, [said("assistant", row.row[name])] if row.all("messages") else ())
            return
        (answer, *others) = answers_of(row, name)
        if others:
            raise Rejected(
                name,
                "answers-in-no-order",
                f"{1 + len(others)} answers, and nothing says which is better: if the first is better than the others, "
                "pass --format best-first",
            )
        before, last = split_answer(answer.turns, name)
        response.update(response_of(last))
        found = asked(row)
        if before:
            found.insert(0, Asked(name, before))
        put_turns(row, value, settle(row, found, [last]), found[0].name if found else row.name("query"))
        return
    if name in row.given:
        row.read.add(name)
        response["text"] = row.given[name]
    if name in row.given or not row.all("messages"):
        response.update(_beside(row))
    if not row.all("messages"):
        put_query(row, value)
        return
    if not response.get("extra"):
        response.clear()
    whole = row.all("messages")[0]
    found = asked(row)
    turns = next(one.turns for one in found if one.name == whole)
    if not turns or turns[-1]["role"] != "assistant":
        put_turns(row, value, settle(row, found), whole)
        return
    row.names["responses[0].text"] = whole
    response.update(response_of(turns[-1]))
    put_turns(row, value, settle(row, found, [turns[-1]]), whole)


def _beside(row: Fields) -> dict[str, Any]:
    """What the row has of the answer beside its text; a call may stand for that."""
    own = answer_fields(row.row, "")
    if not own:
        return {}
    row.read.update(own)
    name = row.name("text")
    return {"extra": own} | ({"text": ""} if CALLS in own and name not in row.row else {})


def scores_of(row: Fields, path: str) -> list[dict[str, Any]]:
    """The scores of the row's one answer: of one judge, or of each that has a column of its own.

    A score that is null or empty is there as None: it is missing, which is told. An object holds one a dimension.
    """
    scores: list[dict[str, Any]] = []
    judges = row.config.score_columns
    for judge, column in judges.items():
        if column in row.given:
            row.read.add(column)
            row.names[f"{path}.scores[{len(scores)}].score"] = column
            scores.append({"judge": judge, "dimension": OVERALL, "score": row.row.get(column)})
    name = row.name("score")
    if name in row.given and not (judges and name in judges.values()):
        given = row.get("score")
        parts = given.items() if isinstance(given, dict) and not row.has("dimension") else [(OVERALL, given)]
        for dimension, part in parts:
            score: dict[str, Any] = {"judge": row.judge(), "dimension": dimension, "score": part}
            place = f"{path}.scores[{len(scores)}]"
            row.names[f"{place}.score"] = name if part is given else f"{name}.{dimension}"
            row.names[f"{place}.judge"] = row.name("judge")
            if row.has("dimension"):
                row.put(score, "dimension", "dimension", f"{place}.dimension")
            if row.has("rationale"):
                row.put(score, "rationale", "rationale", f"{place}.rationale")
            if row.is_export("kto") or row.is_export("sft"):  # our own: the label says no more than the score
                score["score"] = mean_score(part)
                row.read.add("label")
            scores.append(score)
    return scores
