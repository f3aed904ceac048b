"""Released pairs: a prompt, a chosen and a rejected answer; as text, messages, sharegpt or HH transcripts.

Where both answers come with the whole conversation before them, what they share from the start is the
prompt. ms-swift has no chosen answer by that name: its messages end in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from coig_p.ingest.fields import Beside, Fields, FormConfig, Shaped, number
from coig_p.ingest.means import mean_scores
from coig_p.ingest.prompt import Asked, asked, put_turns, settle
from coig_p.ingest.turns import Turn, common_start, conversation, from_text, from_transcript, message, split_answer
from coig_p.ingest.values import OF_EQUAL_TEXTS, Rejected, shown
from coig_p.schema import OVERALL

SWIFT = "rejected_response"
"""What ms-swift calls the answer that is beside `response`, or beside the one that `messages` end in."""


class Answer(NamedTuple):
    """One answer, the turns before it included where the row has them.

    Attributes:
        name: the field that it stands in.
        model, score: where they stand in one object with it.
    """

    name: str
    turns: list[Turn]
    model: Any = None
    score: Any = None


def pairs(row: Fields) -> Shaped:
    """A chosen and a rejected answer, or several of either: then each chosen is better than each rejected."""
    value = row.common()
    chosen_name, rejected_name = _sides(row)
    if chosen_name == rejected_name:  # one list, of which --map says that the first is the best
        first, *others = answers_of(row, chosen_name)
        chosen, rejected = [first], others
    else:
        chosen, rejected = (answers_of(row, name) for name in (chosen_name, rejected_name))
    found = asked(row, without=(chosen_name, rejected_name))
    chosen, rejected = _without_transcripts(chosen, rejected, found)
    turns, where = _prompt(row, found, chosen, rejected)
    put_turns(row, value, turns, where)
    value["responses"] = [
        *_responses(row, "chosen", chosen, 0),
        *_responses(row, "rejected", rejected, len(chosen)),
    ]
    value["comparisons"] = _comparisons(row, chosen, rejected)
    _check_scores(row, value)
    return row.shaped(value)


def _sides(row: Fields) -> tuple[str, str]:
    """The fields that hold the chosen and the rejected answers."""
    chosen, rejected = row.name("chosen"), row.name("rejected")
    if "output" in row.config.fields and not row.has("chosen") and not row.has("rejected"):
        return row.name("output"), row.name("output")
    if row.has("chosen"):
        return chosen, rejected
    if "response" in row.row and rejected == SWIFT:  # ms-swift's old form
        return "response", rejected
    return (row.all("messages")[0] if row.all("messages") else chosen), rejected


def _responses(row: Fields, side: str, answers: list[Answer], start: int) -> list[dict[str, Any]]:
    """The answers of one side, whose first is the `start`-th response of the row."""
    models, scores = _each(row, f"{side}_model", len(answers)), _each(row, f"{side}_score", len(answers))
    responses = []
    for at, (answer, model, score) in enumerate(zip(answers, models, scores, strict=True), start):
        place = f"responses[{at}]"
        row.names[f"{place}.text"] = answer.name
        response = response_of(answer.turns[-1])
        response["model"] = answer.model if model is None else model
        if model is not None:
            row.names[f"{place}.model"] = row.name(f"{side}_model")
        score = answer.score if score is None else score
        response["scores"] = []
        if score is not None and not row.is_export("dpo"):
            row.names[f"{place}.scores[0].score"] = row.name(f"{side}_score")
            response["scores"].append({"judge": row.judge(), "dimension": OVERALL, "score": score})
        responses.append(response)
    return responses


def _comparisons(row: Fields, chosen: list[Answer], rejected: list[Answer]) -> list[Any]:
    """Each chosen answer against each rejected one; one text against itself says nothing."""
    won: dict[str, Any] = {"judge": row.judge(), "dimension": OVERALL, "first_score": 1.0, "second_score": 0.0}
    why = row.row.get(row.name("rationale"))
    if isinstance(why, str):
        row.read.add(row.name("rationale"))
        won["rationale"] = why
    row.names["comparisons"] = chosen[0].name
    if row.is_export("dpo"):  # our own: no judge's scores, but what the labels were made of
        sides = ("chosen_score", "rejected_score")
        scores = mean_scores([row.get(side) for side in sides], sides)
        for key, side, score in zip(("first_score", "second_score"), sides, scores, strict=True):
            won[key] = score
            row.names[f"comparisons[0].{key}"] = side
        row.read.add("margin")
    return [
        {"first": first, "second": second, **won} if better.turns[-1] != worse.turns[-1] else OF_EQUAL_TEXTS
        for first, better in enumerate(chosen)
        for second, worse in enumerate(rejected, len(chosen))
    ]


def answers_of(row: Fields, name: str) -> list[Answer]:
    """The answers in a field: one as text, a message or a conversation, or a list of such."""
    if name not in row.row:
        what = "is empty" if name in row.given else "is missing"
        raise Rejected(name, "missing", f"{what}; the row has {', '.join(sorted(row.row))}")
    given = row.row[name]
    row.read.add(name)
    if isinstance(given, str):
        given = from_text(given) or given
    if isinstance(given, str):
        return [Answer(name, [message(given, name, role="assistant")])]
    if isinstance(given, dict):
        return [_answer_of(row, given, name)]
    if isinstance(given, list) and given:
        if all(isinstance(one, dict) for one in given):
            return [Answer(name, conversation(given, name, row.unread))]
        if all(isinstance(one, str) for one in given):
            return [
                Answer(f"{name}[{at}]", conversation(listed, f"{name}[{at}]", row.unread))
                if (listed := from_text(one))
                else Answer(f"{name}[{at}]", [message(one, name, role="assistant")])
                for at, one in enumerate(given)
            ]
        if all(isinstance(one, list) and one and all(isinstance(turn, dict) for turn in one) for one in given):
            return [
                Answer(f"{name}[{at}]", conversation(one, f"{name}[{at}]", row.unread)) for at, one in enumerate(given)
            ]
    raise Rejected(name, "not-a-string", f"{shown(given)} is neither an answer nor a list of turns or answers")


def _answer_of(row: Fields, given: dict[str, Any], name: str) -> Answer:
    """An answer that is one object: a message, or a text with its model and score."""
    own = Fields(given, FormConfig())
    text = own.name("text")
    if own.has("messages") or text not in own.row or any(key in own.row for key in ("role", "from", "content")):
        return Answer(name, [message(given, name, row.unread, role="assistant")])
    turn = message({"content": own.get("text")}, f"{name}.{text}", role="assistant")
    answer = Answer(f"{name}.{text}", [turn], own.get("model"), own.get("score"))
    for other in own.row.keys() - own.read:
        row.unread.add(f"{name}.{other}", own.row[other])
    return answer


def one_answer(given: Any, name: str, unread: Beside) -> dict[str, Any]:
    """An answer that is a message or a list of one, as `response_of` gives it.

    Raises:
        Rejected: it is neither, or has turns before the answer.
    """
    before, last = split_answer(conversation(given, name, unread), name)
    if before:
        raise Rejected(name, "answers-of-several-turns", "a response is one turn, the last of a conversation")
    return response_of(last)


def response_of(turn: Turn) -> dict[str, Any]:
    """The text of an answer, and what else is in it."""
    return {"text": turn["content"], "extra": turn["extra"]}


def _without_transcripts(
    chosen: list[Answer], rejected: list[Answer], found: Sequence[Asked]
) -> tuple[list[Answer], list[Answer]]:
    """The answers as turns where all of them are HH transcripts, which begin with the prompt if there is one.

    Raises:
        Rejected: one side is a transcript, the other is not, and nothing else says what is asked.
    """
    both = [*chosen, *rejected]
    read = [from_transcript(one.turns[0]["content"], answered=True) if len(one.turns) == 1 else None for one in both]
    if not any(read):
        return chosen, rejected
    told = [turns for turns in read if turns]
    if len(told) == len(both):
        if all(turns[: len(one.turns)] == one.turns for one in found for turns in told):
            whole = [Answer(one.name, turns) for one, turns in zip(both, told, strict=True)]
            return whole[: len(chosen)], whole[len(chosen) :]
    elif not found:
        odd = next(one for one, turns in zip(both, read, strict=True) if not turns)
        raise Rejected(
            odd.name, "not-a-transcript", "no transcript (Human: ... Assistant: ...), as the other answer is"
        )
    return chosen, rejected


def _prompt(row: Fields, found: list[Asked], chosen: list[Answer], rejected: list[Answer]) -> tuple[list[Turn], str]:
    """The turns before the answers, and the field that they are from."""
    both = [*chosen, *rejected]
    for one in both:
        split_answer(one.turns, one.name)
    last = [one.turns[-1] for one in both]
    whole = [one for one in both if len(one.turns) > 1]
    if not whole:
        turns = settle(row, found, last)
        if not turns:
            raise Rejected("query", "missing", f"nothing says what is asked; the row has {', '.join(sorted(row.row))}")
        return turns, found[0].name if found else row.name("history")
    first, start = whole[0], whole[0].turns[:-1]
    for other in whole[1:]:
        if other.turns[:-1] != start:
            at = common_start([first.turns, other.turns])
            raise Rejected(
                f"{other.name}[{at}]",
                "answers-of-several-turns",
                f"differs from {first.name}[{at}], and more turns follow: a response is one turn, the last, and all "
                "turns before it must be the same. Leave such rows out, or cut both off after the turn that differs",
            )
    if start[0]["role"] == "assistant":  # what the answers share goes on where the prompt ends
        turns, where = settle(row, found, last), found[0].name if found else first.name
        turns = [*turns, *start] if turns else settle(row, [Asked(first.name, start)], last)
    else:
        if len(found) == 1 and _goes_on(found[0].turns, start, last):
            found, start = [], [*found[0].turns, *start]
        turns, where = settle(row, [Asked(first.name, start), *found], last), first.name
    if turns[-1]["role"] == "assistant":
        raise Rejected(first.name, "ends-in-assistant", "the turn before the answer is the assistant's too")
    return turns, where


def _goes_on(before: list[Turn], start: list[Turn], answers: list[Turn]) -> bool:
    """Whether `before` is the beginning of a conversation that `start` goes on with, not a copy of it."""
    if not before or start[: len(before)] == before or before[-1] in answers:
        return False
    only_system = all(turn["role"] == "system" for turn in before) and start[0]["role"] != "system"
    return before[-1]["role"] == "assistant" or only_system


def _each(row: Fields, ours: str, answers: int) -> list[Any]:
    """What a field says of each answer: a list of as many, or one value of the only one."""
    if not row.has(ours):
        return [None] * answers
    name = row.name(ours)
    given = row.row[name]
    if isinstance(given, list) and len(given) == answers:
        row.read.add(name)
        return given
    if answers == 1 and not isinstance(given, (list, dict)):
        row.read.add(name)
        return [given]
    return [None] * answers


def _check_scores(row: Fields, value: dict[str, Any]) -> None:
    """Scores that say the rejected answer is the better one: one of the two is wrong, and which is not known."""
    margin = row.name("margin")
    size = number(row.row.get(margin))
    if isinstance(size, (int, float)) and size < 0:
        raise Rejected(
            margin,
            "contradiction",
            f"a margin of {size:g}, by which the rejected answer is the better one: mend the row, or leave the margin "
            f"out with --drop {margin}",
        )
    if not row.has("chosen_score") or not row.has("rejected_score") or row.is_export("dpo"):
        return
    row.read.add(row.name("margin"))  # says nothing new
    equal = len(value["responses"]) == 2 and OF_EQUAL_TEXTS in value["comparisons"]
    for pair in [{"first": 0, "second": 1}] if equal else value["comparisons"]:
        if pair is OF_EQUAL_TEXTS:
            continue
        better, worse = (
            number(scores[0]["score"]) if (scores := value["responses"][pair[side]]["scores"]) else None
            for side in ("first", "second")
        )
        if not isinstance(better, (int, float)) or not isinstance(worse, (int, float)):
            continue
        if better < worse or (equal and better != worse):
            chosen, rejected = row.name("chosen_score"), row.name("rejected_score")
            raise Rejected(
                chosen,
                "contradiction",
                f"{better:g} for the chosen answer and {worse:g} for the rejected one"
                f"{', which is the same text' if equal else ''}: mend the row, or leave the "
                f"scores out with --drop {chosen},{rejected}",
            )
