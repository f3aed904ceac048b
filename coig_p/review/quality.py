"""Signs that an annotator guesses, hurries or leans to a side. They flag, with what was seen; nobody is dropped.

    gold       the one-sided 95% Clopper-Pearson upper bound of the share that is right lies below .8: at most 12 of 20,
               which finds who guesses among two in 87 of 100, and accuses one who is right in .9 in 1 of 2,500
    others     agrees with the majority of the others less often than each of them with theirs (Fisher's exact test)
    ties       says tie more, or less, often than each of the others (Fisher's exact test)
    side       prefers one side though sides were drawn (exact binomial test)
    speed      answers faster than 50 characters a second in the middle of all times
    run        gives one answer more often in a row than by chance, in the order of time

Tests flag below a probability of .01: of a hundred good annotators each flags one at most. Of two who differ none can
say which is odd, and both are flagged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from statistics import median

from coig_p.review.answers import Answer, time_of
from coig_p.review.folder import Review, read_tasks
from coig_p.review.majority import Voted, majority, said
from coig_p.review.votes import Vote

GOLD_LEAST = 0.8
_P = 0.01
_FASTEST = 1 / 50  # seconds a character; people read Chinese at 5 to 12 characters a second


@dataclass(frozen=True)
class Flag:
    """A sign, and what it was seen by: numbers by name, shares from 0 to 1."""

    sign: str
    seen: Mapping[str, float]


@dataclass(frozen=True)
class Quality:
    """What is known of how one annotator works.

    Attributes:
        given, answered, skipped: tasks of all rounds.
        gold, gold_right, gold_most: items with a known answer, those answered so, and the upper bound of their share.
        others, with_others: items of which the other annotators have a majority, and those where this one shares it.
        ties: of its answers.
        decided, first: answers that are no tie, and those that prefer the side shown first.
        seconds: the median; per_character: the median of seconds a character of what was shown.
        run: the longest run of one answer in the order of time.
    """

    annotator: str
    given: int
    answered: int
    skipped: int
    gold: int = 0
    gold_right: int = 0
    gold_most: float | None = None
    others: int = 0
    with_others: int = 0
    answers: int = 0
    ties: int = 0
    decided: int = 0
    first: int = 0
    seconds: float | None = None
    per_character: float | None = None
    run: int = 0
    flags: tuple[Flag, ...] = field(default=())


def qualities(
    review: Review,
    items: Sequence[Voted],
    votes: Sequence[Vote],
    given: Mapping[str, int],
    answers: Sequence[Answer],
    criterion: str,
) -> list[Quality]:
    """Of every annotator.

    Args:
        items: that were drawn; of them the first round counts, where nobody knew that there was no majority.
        votes: all of them.
        given: how many tasks each has.
        criterion: by which they are compared: "preferred" or "feasible"; "" for none.
    """
    counted = {name: _counts(review, name, items, votes, given, answers, criterion) for name in review.annotators}
    return [_flagged(one, [other for other in counted.values() if other is not one]) for one in counted.values()]


def clopper_pearson_most(right: int, number: int) -> float:
    """The one-sided 95% upper bound of a share of which `right` of `number` were seen."""
    from scipy.special import betaincinv

    return 1.0 if right == number else float(betaincinv(right + 1, number - right, 0.95))


def _counts(
    review: Review,
    name: str,
    items: Sequence[Voted],
    votes: Sequence[Vote],
    given: Mapping[str, int],
    answers: Sequence[Answer],
    criterion: str,
) -> Quality:
    own = [vote for vote in votes if vote.annotator == name]
    told = [vote for vote in own if not vote.skipped]
    gold = [vote.right_gold for vote in told if vote.right_gold is not None]
    shared: list[bool] = []
    for item in items if criterion else ():
        mine = item.first.get(name)
        others = majority(said(vote, criterion) for other, vote in item.first.items() if other != name)
        if mine is not None and said(mine, criterion) is not None and others is not None:
            shared.append(said(mine, criterion) == others)
    shown = [vote.shown_first for vote in told if vote.shown_first is not None]
    decided = [first for first in shown if first != 0.5]
    seconds = [vote.seconds for vote in told if vote.seconds is not None]
    lengths = _lengths(review, name)
    speeds = [vote.seconds / lengths[vote.item] for vote in told if vote.seconds is not None and lengths.get(vote.item)]
    return Quality(
        name,
        given=given.get(name, 0),
        answered=len(told),
        skipped=len(own) - len(told),
        gold=len(gold),
        gold_right=sum(gold),
        gold_most=clopper_pearson_most(sum(gold), len(gold)) if gold else None,
        others=len(shared),
        with_others=sum(shared),
        answers=len(shown),
        ties=len(shown) - len(decided),
        decided=len(decided),
        first=int(sum(decided)),
        seconds=median(seconds) if seconds else None,
        per_character=median(speeds) if speeds else None,
        run=_longest_run(name, answers),
    )


def _lengths(review: Review, name: str) -> dict[str, int]:
    """Characters of each item that an annotator was shown."""
    found = {}
    for round_ in range(1, review.rounds + 1):
        for task in read_tasks(review, name, round_):
            texts = [turn["content"] for turn in task["dialogue"]]
            found[task["item"]] = sum(map(len, texts)) + sum(len(task[f"response_{side}"]) for side in review.letters)
    return found


def _longest_run(name: str, answers: Sequence[Answer]) -> int:
    own = [answer for answer in answers if answer.annotator == name and answer.answer]
    own.sort(key=lambda answer: str(time_of(answer.at)))
    kinds = [answer.answer.get("preference", answer.answer.get("feasible")) for answer in own if answer.answer]
    return max((len(list(run)) for kind, run in groupby(kinds) if kind is not None), default=0)


def _pairs(others: Sequence[Quality], part: str, whole: str) -> list[tuple[int, int]]:
    return [(getattr(other, part), getattr(other, whole)) for other in others if getattr(other, whole)]


def _yes_no(part: int, whole: int) -> list[int]:
    return [part, whole - part]


def _flagged(one: Quality, others: Sequence[Quality]) -> Quality:
    from scipy.stats import binomtest, fisher_exact

    flags = []
    if one.gold_most is not None and one.gold_most < GOLD_LEAST:
        flags.append(Flag("gold", {"right": one.gold_right, "of": one.gold, "at most": one.gold_most}))
    for sign, part, whole, side in (
        ("others", "with_others", "others", "less"),
        ("ties", "ties", "answers", "two-sided"),
    ):
        mine, theirs = (getattr(one, part), getattr(one, whole)), _pairs(others, part, whole)
        if mine[1] and theirs:
            p = max(float(fisher_exact([_yes_no(*mine), _yes_no(*each)], side).pvalue) for each in theirs)
            if p < _P:
                shares = [number / of for number, of in theirs]
                seen = {"share": mine[0] / mine[1], "of the others": sum(shares) / len(shares), "p": p}
                flags.append(Flag(sign, seen))
    if one.decided:
        p = float(binomtest(one.first, one.decided, 0.5).pvalue)
        if p < _P:
            flags.append(Flag("side", {"first": one.first / one.decided, "of": one.decided, "p": p}))
    if one.per_character is not None and one.per_character < _FASTEST:
        flags.append(Flag("speed", {"seconds a character": one.per_character}))
    if one.answers:
        # A run of k begins at any of n places: at most n * share^k, the share of its side among answers that lean to
        # neither, or of ties among those of the others.
        share = max([0.5, *(number / of for number, of in _pairs(others, "ties", "answers"))])
        if share < 1 and one.answers * share**one.run < _P:
            flags.append(Flag("run", {"in a row": one.run, "p": one.answers * share**one.run}))
    return replace(one, flags=tuple(flags))
