"""Two responses side by side, scored or with a verdict (TaP, section 3.3; the arenas; PKU-SafeRLHF)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from coig_p.ingest.fields import Fields, Shaped
from coig_p.ingest.forms.lists import find_list, has_companion, listed, put_prompt
from coig_p.ingest.forms.pairs import response_of
from coig_p.ingest.forms.sides import SCORES, Layout, column_layout, other_sides
from coig_p.ingest.onehot import one_hot
from coig_p.ingest.prompt import Asked, asked, put_turns, settle
from coig_p.ingest.turns import Turn, common_start, conversation, from_text, split_answer
from coig_p.ingest.values import OfScores, Rejected, is_missing, is_no_score, shown
from coig_p.ingest.verdicts import (
    FIRST,
    IN_LIST,
    LOSER_COLUMNS,
    OTHER_QUESTION,
    PERHAPS_VERDICT_COLUMNS,
    TIE,
    VERDICT_COLUMNS,
    Sides,
    Verdict,
    judges_among,
    number_in,
    says_nothing,
    verdict_of,
)
from coig_p.schema import OVERALL

RATIONALES = ("preference_elaboration", "explanation", "reason", "reasoning")
"""What the judge's reason is called beside the usual names of a rationale."""


def find_layout(row: Fields) -> Layout | None:
    """The columns of a row's two sides, None where it has none."""
    return column_layout(tuple(row.given), frozenset(row.row), tuple(row.config.fields.items())) or _in_list(row)


def holds_answers(row: Fields) -> bool:
    """Whether chosen and rejected of a row with two sides are the very answers, with scores: a row of pairs."""
    layout = find_layout(row)
    if layout is None or not (row.has("chosen_score") or row.has("rejected_score")):
        return False
    given = [row.row[name] for side in ("chosen", "rejected") for name in row.all(side)[:1]]
    return sorted(map(str, given)) == sorted(str(row.row.get(name)) for name in layout.texts)


def _in_list(row: Fields) -> Layout | None:
    """Two answers in one list, of which a verdict says which is better."""
    name = find_list(row)
    if name is None or any(has_companion(row, name, what) for what in ("rank", "ratings")):
        return None
    if len(row.row[name]) != 2:
        return None
    columns = _verdict_columns(row, Sides(IN_LIST))
    if not any(not is_missing(row.given.get(column)) for column, _, _ in columns):
        return None
    return Layout(sides=IN_LIST, texts=(f"{name}[0]", f"{name}[1]"), in_list=name)


def asks_for_numbers(row: Fields) -> bool:
    """Whether a pairwise row has columns whose numbers may need all others of the import."""
    layout = find_layout(row)
    return layout is not None and bool(_verdict_columns(row, Sides(layout.sides)))


def pairwise(row: Fields) -> Shaped:
    """Two responses side by side."""
    value = row.common()
    layout = find_layout(row)
    if layout is None:
        raise Rejected("response_a", "missing", "no two answers side by side, such as response_a and response_b")
    if layout.others:
        raise Rejected(
            layout.others[0],
            "too-many-sides",
            f"{', '.join([*layout.texts, *layout.others])}: more than two answers side by side. "
            f"Leave some out with --drop {','.join(layout.others)}",
        )
    row.read.update(layout.texts)
    value["responses"] = _responses(row, value, layout)
    models: list[Any] = [one.get("model") for one in value["responses"]]
    for at, response in enumerate(value["responses"]):
        row.names[f"responses[{at}].text"] = layout.texts[at]
        if layout.models:
            row.read.add(layout.models[at])
            row.names[f"responses[{at}].model"] = layout.models[at]
            models[at] = response["model"] = row.row.get(layout.models[at])
    one, other = (response.get("text") for response in value["responses"])
    others = other_sides(frozenset((*row.given, *row.config.drop)), layout.sides) if layout.in_list is None else ()
    others = frozenset(others).difference(layout.also or ())
    sides = Sides(layout.sides, (models[0], models[1]), layout.texts, (one, other), others, layout.also)
    value["comparisons"] = list(_comparisons(row, layout, sides))
    return row.shaped(value)


def _responses(row: Fields, value: dict[str, Any], layout: Layout) -> list[dict[str, Any]]:
    """Both answers; the prompt goes where it belongs."""
    given = [row.row.get(name) for name in layout.texts]
    if layout.in_list is not None:
        row.read.add(layout.in_list)
        put_prompt(row, value)
        return [dict(answer) for answer in listed(row).answers]
    query = row.name("query")
    asked_for, *answered = (_texts_of(one) for one in (row.row.get(query), *given))
    if asked_for is not None and (len(asked_for) > 1 or any(one is not None for one in answered)):
        row.read.add(query)
        sides = [_exchanged(asked_for, query, one, name) for name, one in zip(layout.texts, answered, strict=True)]
        return _split(row, value, layout.texts, sides, ())
    given = [(from_text(one) or one) if isinstance(one, str) else one for one in given]
    if all(isinstance(one, (list, dict)) for one in given):
        sides = [
            _until(conversation(one, name, row.unread), row) for name, one in zip(layout.texts, given, strict=True)
        ]
        return _split(row, value, layout.texts, sides, asked(row, without=layout.texts))
    put_prompt(row, value)
    return [{} if one is None else {"text": one} for one in given]


def _exchanged(asked_for: list[Any], query: str, answered: list[Any] | None, name: str) -> list[Turn]:
    """The turns of one side of a table whose cells hold lists: all questions, and all answers to them."""
    if answered is None or len(answered) != len(asked_for):
        has = "no list" if answered is None else str(len(answered))
        raise Rejected(name, "unequal-lists", f"{query} is a list of {len(asked_for)} turns, and {name} has {has}")
    turns = []
    for at, texts in enumerate(zip(asked_for, answered, strict=True)):
        for role, text, where in zip(("user", "assistant"), texts, (query, name), strict=True):
            if text is None:
                raise Rejected(f"{where}[{at}]", "missing", "null stands for this turn")
            turns.append({"role": role, "content": text, "extra": None})
    return turns


def _until(turns: list[Turn], row: Fields) -> list[Turn]:
    """A conversation up to the answer that was judged: the n-th, where `turn` says so (MT-Bench)."""
    judged = number_in(row.row.get("turn"))
    if judged is None:
        return turns
    row.read.add("turn")
    answers = [at for at, turn in enumerate(turns) if turn["role"] == "assistant"]
    return turns[: answers[int(judged) - 1] + 1] if 1 <= judged <= len(answers) else turns


def _split(
    row: Fields, value: dict[str, Any], names: tuple[str, str], sides: list[list[Turn]], found: Sequence[Asked]
) -> list[dict[str, Any]]:
    """Both conversations as the prompt that they share and an answer each.

    Raises:
        Rejected: they differ in more than the last answer.
    """
    for name, turns in zip(names, sides, strict=True):
        split_answer(turns, name)
    shared = common_start(sides)
    for one, name in zip(sides, names, strict=True):
        if len(one) - shared > 1:
            raise Rejected(
                f"{name}[{shared}]",
                "answers-of-several-turns",
                f"{names[0]} and {names[1]} differ from turn {shared + 1} on, and {name} goes on for "
                f"{len(one) - shared} turns: they answer different conversations, and only one answer each can be "
                "compared: cut both off after the turn that differs, or leave such rows out with --on-error skip",
            )
    prompt = sides[0][:shared]
    both = [Asked(names[0], prompt), *found] if prompt else found
    put_turns(row, value, settle(row, both), names[0] if prompt or not found else found[0].name)
    return [response_of(turns[-1]) for turns in sides]


def numbers(row: Fields) -> Iterator[tuple[tuple[str, str], float]]:
    """The numbers among a row's verdicts, each under the key of `Survey.numbers`."""
    layout = find_layout(row)
    for column, group in _counted(row, layout).items() if layout is not None else ():
        found = number_in(row.given.get(column))
        if found is not None and layout is not None:
            yield (group, _key(layout.sides)), found


def verdict_values(row: Fields) -> Iterator[Any]:
    """What stands in the columns that may say who won."""
    layout = find_layout(row)
    for column in _counted(row, layout) if layout is not None else ():
        yield row.given.get(column)


def _counted(row: Fields, layout: Layout) -> dict[str, str]:
    """Every column that may say who won, and the name that its numbers are counted under."""
    read = {column: group for column, _, group in _verdict_columns(row, Sides(layout.sides))}
    return {name: name for name in _candidates(row)} | dict(_choices(row)) | read


def _comparisons(row: Fields, layout: Layout, sides: Sides) -> Iterator[dict[str, Any]]:
    """What the row says of its two responses: by scores, by a verdict, by the verdicts of several judges."""
    judge = row.row.get("annotator", row.config.judge) if not row.has("judge") else row.judge()  # AlpacaEval's
    row.read.add("annotator" if not row.has("judge") else row.name("judge"))
    reasons = (row.name("rationale"), *RATIONALES)
    rationale = next((row.get(name) for name in reasons if isinstance(row.row.get(name), str)), None)
    made = 0

    def comparison(who: Any, dimension: str, first: Any, second: Any, names: tuple[str, str]) -> dict[str, Any]:
        nonlocal made
        for key, name in zip(("first_score", "second_score"), names, strict=True):
            row.names[f"comparisons[{made}].{key}"] = name
        made += 1
        one = {"first": 0, "second": 1, "judge": who, "dimension": dimension}
        one |= {"first_score": first, "second_score": second}
        return one | ({"rationale": rationale} if rationale is not None and who == judge else {})

    scores, names = _scores(row, layout)
    for dimension, pair in scores.items():
        inside = names if dimension == OVERALL else (f"{names[0]}.{dimension}", f"{names[1]}.{dimension}")
        yield OfScores(comparison(judge, dimension, *pair, inside))
    if (None, None) in scores.values():  # who won is then not said by scores, unless they have it overall
        scores = {name: pair for name, pair in scores.items() if name == OVERALL and pair != (None, None)}
    verdicts = list(_verdicts(row, sides, bool(scores)))
    for name, who, said in verdicts:
        if scores and who is None:
            if said is not None:
                _check_agreement(row, name, said, scores, names)
        elif (
            said is not None or who is not None or not made
        ):  # a missing verdict is there as None: it is missing, which is told
            first, second = said or (None, None)
            yield comparison(judge if who is None else who, OVERALL, first, second, (name, name))
    if not made and layout.scores and not row.config.score_columns:
        yield comparison(judge, OVERALL, None, None, layout.scores)
    settled = verdicts[0] if len(verdicts) == 1 and verdicts[0][1] is None else None
    for name, again in _further(row, sides, None if settled is None else settled[0]):
        if scores:
            _check_agreement(row, name, again, scores, names)
        elif settled is not None and settled[2] is not None:
            _check_others(row, settled[0], settled[2], name, again, sides)
        row.read.add(name)


def _verdicts(row: Fields, sides: Sides, scored: bool) -> Iterator[tuple[str, str | None, Verdict | None]]:
    """Each verdict of the row: its column, its judge (None: the row's) and what it says; None where it is missing.

    Args:
        scored: the row has scores, which say who won without it: then only what is certain is read.
    """
    hot = _hot(row, sides)
    settled = next(((names[0], found) for names, found in hot if found is not None), None)
    if settled is not None:
        yield settled[0], None, settled[1]
        return
    columns = _verdict_columns(row, sides)
    if hot and all(_silent(row, column, sides) for column, _, _ in columns):
        yield hot[0][0][0], None, None
        return
    for column, judge, group in columns:
        if scored and judge is None and column in PERHAPS_VERDICT_COLUMNS:
            continue  # left unread, and told as such
        if _silent(row, column, sides):
            row.read.add(column)
            yield column, judge, None
            continue
        try:
            said = _verdict(row, column, group, sides)
        except Rejected:
            if scored and judge is None:
                continue
            raise
        row.read.add(column)
        yield column, judge, said


_TIE_FLAGS = ("is_tie",)


def _hot(row: Fields, sides: Sides) -> list[tuple[list[str], Verdict | None]]:
    """What one-hot columns say, where the user does not say that others do."""
    if "winner" in row.config.fields or row.config.score_columns:
        return []
    found = list(one_hot(row.given, sides))
    for names, _ in found:
        row.read.update(names)
    return found


def _further(row: Fields, sides: Sides, settled: str | None) -> Iterator[tuple[str, Verdict]]:
    """The columns beside the one that is read that say who won, and what, where that is certain.

    What is not stays unread, and is told as such.
    """
    if "winner" in row.config.fields or row.config.score_columns:
        return
    for names, said in _hot(row, sides):
        if said is not None and names[0] != settled:
            yield names[0], said
    for name in _TIE_FLAGS:
        if str(row.given.get(name)).strip().lower() in ("true", "1", "1.0"):
            yield name, TIE
    choices = dict(_choices(row))
    for name in _candidates(row):
        if name == settled or _silent(row, name, sides):
            continue
        try:
            yield name, _verdict(row, name, choices.get(name, name), sides)
        except Rejected:
            if name in choices and settled in choices:
                raise
            if name.endswith("_id") and number_in(row.given[name]) == 0 and sides.names != ("1", "2"):
                yield name, FIRST  # it counts from 0


def _candidates(row: Fields) -> list[str]:
    """Every filled column that may say who won."""
    known = {name.lower(): name for name in row.given}
    names = [known[name] for name in (*VERDICT_COLUMNS, *PERHAPS_VERDICT_COLUMNS) if name in known]
    choices = [name for name, _ in _choices(row) if name not in names]
    return [name for name in (*names, *choices) if name != OTHER_QUESTION and not is_missing(row.given[name])]


def _silent(row: Fields, column: str, sides: Sides) -> bool:
    return says_nothing(row.given.get(column), sides, row.config.values)


def _verdict(row: Fields, column: str, group: str, sides: Sides) -> Verdict:
    config = row.config
    found = config.survey.numbers.get((group, _key(sides.names)))
    given = row.given[column]
    if isinstance(given, (list, dict)) and column in dict(_choices(row)):
        given = conversation(given, column, row.unread)[-1]["content"]
    # A text called context is a passage, and no sign of HelpSteer's conversations.
    passage = row.row.get("context")
    plain = isinstance(passage, str) and not passage.lstrip().startswith("[")
    beside = row.row.keys() - ({"context"} if plain else set())
    first, second = verdict_of(given, column, sides, found, config.values, beside, rounding=config.round_scores)
    return (second, first) if _names_loser(row, column) else (first, second)


def _names_loser(row: Fields, column: str) -> bool:
    if column == row.config.fields.get("winner"):
        return False
    return column.lower() in LOSER_COLUMNS or column in row.all("rejected")


def _choices(row: Fields) -> list[tuple[str, str]]:
    """Fields that name the chosen or the rejected one of the two answers, each with what its numbers count under."""
    names = [name for ours in ("chosen", "rejected") for name in row.all(ours)]
    names += [name for name in row.row if name.lower() in LOSER_COLUMNS and name not in names]
    return [(name, "chosen") for name in names]


def _verdict_columns(row: Fields, sides: Sides) -> list[tuple[str, str | None, str]]:
    """The columns to read: each with its judge (None: the row's) and the name that its numbers are counted under."""
    config = row.config
    if config.score_columns:
        return [(column, judge, column) for judge, column in config.score_columns.items() if column in row.given]
    if "winner" in config.fields:
        return [(config.fields["winner"], None, config.fields["winner"])]
    known = {name.lower(): name for name in row.given}
    if filled := _filled(row, known, VERDICT_COLUMNS, sides):
        return [(filled, None, filled)]  # what is settled; the votes behind it are told as unread
    if choices := _choices(row):
        return [(choices[0][0], None, choices[0][1])]
    annotators = [name for name in judges_among(row.given) if not is_missing(row.given[name])]
    if any(_says(row, name, sides) for name in annotators):  # columns with their names say nothing
        return [(name, name, "annotators") for name in annotators]
    if filled := _filled(row, known, PERHAPS_VERDICT_COLUMNS, sides):
        return [(filled, None, filled)]
    empty = next((known[name] for name in VERDICT_COLUMNS if name in known), None)
    empty = empty or next(
        (known[name] for name in PERHAPS_VERDICT_COLUMNS if name in known and known[name] in row.row), None
    )
    return [] if empty is None else [(empty, None, empty)]


def _filled(row: Fields, known: Mapping[str, str], columns: Sequence[str], sides: Sides) -> str | None:
    """The first of some columns that holds a value, as the row calls it."""
    present = (known[name] for name in columns if name in known)
    return next((name for name in present if not _silent(row, name, sides)), None)


def _says(row: Fields, column: str, sides: Sides) -> bool:
    """Whether a column holds something like a verdict: any number, or a word that is one."""
    if number_in(row.given[column]) is not None:
        return True
    try:
        verdict_of(row.given[column], column, sides, None, row.config.values)
    except Rejected:
        return False
    return True


def _check_agreement(
    row: Fields, name: str, said: Verdict, scores: Mapping[str, tuple[Any, Any]], columns: tuple[str, str]
) -> None:
    """Refuse a row whose verdict is not what its scores say."""
    pairs = [(number_in(first), number_in(second)) for first, second in scores.values()]
    differences = [first - second for first, second in pairs if first is not None and second is not None]
    if len(differences) < len(pairs) or _sign(sum(differences)) == _sign(said[0] - said[1]):
        return  # a score that is no number is refused anyway
    raise Rejected(
        name,
        "contradiction",
        f"{name} says {shown(row.given[name])}, and the scores say otherwise: leave one of the two out with "
        f"--drop {name} or --drop {','.join(dict.fromkeys(column.partition('[')[0] for column in columns))}",
    )


def _check_others(row: Fields, name: str, said: Verdict, other: str, again: Verdict, sides: Sides) -> None:
    """Refuse a row in which a second column of the same meaning says something else."""
    if _sign(again[0] - again[1]) == _sign(said[0] - said[1]):
        return
    hot = {names[0]: names for names, _ in _hot(row, sides)}
    ways = (f"--drop {','.join(hot.get(column, [column]))}" for column in (other, name))
    raise Rejected(
        other,
        "contradiction",
        f"{name} says {shown(row.given[name])} and {other} {shown(row.given[other])}: leave one of the two out with "
        f"{' or '.join(ways)}",
    )


def _scores(row: Fields, layout: Layout) -> tuple[dict[str, tuple[Any, Any]], tuple[str, str]]:
    """Dimension -> both sides' scores, and where they stand; None for both where one is missing."""
    names = layout.scores
    if row.config.score_columns or "winner" in row.config.fields:
        return {}, ("", "")
    if names is not None:
        row.read.update(names)
        first, second = (row.given.get(name) for name in names)
    elif (logits := _logits(row)) is not None:
        names = ("score[0].logit[0]", "score[0].logit[1]")
        first, second = logits
    else:  # both in one list
        name = next((name for name in SCORES if isinstance(row.row.get(name), list) and len(row.row[name]) == 2), None)
        if name is None:
            return {}, ("", "")
        row.read.add(name)
        names = (f"{name}[0]", f"{name}[1]")
        first, second = row.row[name]
    if isinstance(first, dict) and isinstance(second, dict):
        found = {name: (first.get(name), second.get(name)) for name in {**first, **second}}
    else:
        found = {OVERALL: (first, second)}
    if all(is_no_score(score) for pair in found.values() for score in pair):
        return {}, names  # a verdict may stand beside empty columns
    return {name: (None, None) if any(map(is_no_score, pair)) else pair for name, pair in found.items()}, names


def _logits(row: Fields) -> list[Any] | None:
    """Both scores as JudgeLM's validation set has them: [{"logit": [9, 7], "source": "gpt-4"}]."""
    given = row.row.get("score")
    if not (isinstance(given, list) and len(given) == 1 and isinstance(given[0], dict)):
        return None
    both = given[0].get("logit")
    if not (isinstance(both, list) and len(both) == 2):
        return None
    row.read.add("score")
    for name in given[0].keys() - {"logit"}:
        row.unread.add(f"score.{name}", given[0][name])
    return both


def _texts_of(value: Any) -> list[Any] | None:
    """The turns of one side, where a list of texts or the JSON text of one stands there."""
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        try:
            value = json.loads(value)
        except ValueError:
            return None
    if isinstance(value, list) and value and all(one is None or isinstance(one, str) for one in value):
        return value
    return None


def _key(sides: tuple[str, str]) -> str:
    return "/".join(sides)


def _sign(difference: float) -> int:
    return (difference > 0) - (difference < 0)
