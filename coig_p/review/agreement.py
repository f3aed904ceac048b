"""How far people agree with each other and with the judges of a store, in the first round.

What is compared is a verdict on two responses, 1, .5 or 0; a triple has three of them. Of form query it is yes or no.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from coig_p.core.arrays import Floats
from coig_p.review.folder import Review
from coig_p.review.majority import Response, Voted, relation, response_of, said
from coig_p.review.verdicts import Unit, judge_verdicts
from coig_p.review.votes import Vote
from coig_p.stats.reliability import Reliability, reliability, row_means
from coig_p.store.store import Store

Units = Mapping[tuple[Unit, str], tuple[Voted, Mapping[str, float]]]
"""What each annotator said, by query and two responses, and by item, since triples may share two responses. Of form
query both responses are nobody's."""
_PART_DRAWS = 300  # of a bootstrap over a part
_NOBODY: tuple[Response, Response] = (("", 0, ""), ("", 1, ""))


@dataclass(frozen=True)
class Part:
    """Agreement of people in a part of the items: "all", a "domain", or those of a "margin"."""

    kind: str
    name: str
    found: Reliability


@dataclass(frozen=True)
class Cells:
    """Means of the share of equal verdicts over every two people, a person and a judge, every two judges."""

    kind: str
    name: str
    people: float | None
    people_judges: float | None
    judges: float | None


@dataclass(frozen=True)
class WithJudges:
    """People beside the judges of a store.

    Attributes:
        names: people, then judges; people: how many of them are people.
        cells: the share of equal verdicts of every two, None where they share no unit and on the diagonal.
        units: how many units they share.
        averages: of each row, as in TaP's table 2.
        parts: means of cells over all units, by domain and by margin.
        both, judges: all as raters of one table, and the judges alone.
    """

    names: tuple[str, ...]
    people: int
    cells: tuple[tuple[float | None, ...], ...]
    units: tuple[tuple[int, ...], ...]
    averages: tuple[float | None, ...]
    parts: tuple[Cells, ...]
    both: Reliability
    judges: Reliability


@dataclass(frozen=True)
class Repeats:
    """Items asked again as an audit: how often an annotator says the same again, and how often what another said."""

    own: int
    own_same: int
    others: int
    others_same: int


def units_of(review: Review, items: Iterable[Voted]) -> Units:
    """What was said in the first round."""
    found: dict[tuple[Unit, str], tuple[Voted, Mapping[str, float]]] = {}
    for item in items:
        for one, other in list(combinations(item.responses, 2)) or [_NOBODY]:
            told: dict[str, float] = {}
            for name, vote in item.first.items():
                value = said(vote, "feasible") if review.form == "query" else _relation(vote, one, other)
                if value is not None:
                    told[name] = float(value)
            if told:
                found[(item.row.query_id, one, other), item.row.item] = (item, told)
    return found


def agreement(review: Review, units: Units, bins: Mapping[str, Sequence[Voted]]) -> Iterable[Part]:
    """Of people: on all items, and where there are several people, by domain and by margin.

    Args:
        bins: items by margin.
    """
    yield Part("all", "", _reliability(review, units, review.annotators))
    if len(review.annotators) > 1:
        for kind, name, own in _parts(units, bins):
            yield Part(kind, name, _reliability(review, own, review.annotators, _PART_DRAWS))


def with_judges(review: Review, store: Store, units: Units, bins: Mapping[str, Sequence[Voted]]) -> WithJudges | None:
    """People beside the store's judges; None where no judge has a view of anything that people answered."""
    verdicts = judge_verdicts(store, {unit for unit, _ in units}, bool(review.pairs.get("include_self_judged")))
    judges = sorted({name for told in verdicts.values() for name in told})
    if not judges or review.form == "query":
        return None
    people = [name for name in review.annotators if any(name in told for _, told in units.values())]
    raters = [*people, *map(_as_judge, judges)]
    joined = {
        key: (item, {**told, **{_as_judge(name): verdict for name, verdict in verdicts[key[0]].items()}})
        for key, (item, told) in units.items()
    }
    cells, shared = _cells(_table(joined, raters))
    everything = [("all", "", joined), *_parts(joined, bins)]
    return WithJudges(
        names=(*people, *judges),
        people=len(people),
        cells=tuple(tuple(map(_number, row)) for row in cells.tolist()),
        units=tuple(tuple(row) for row in shared.tolist()),
        averages=tuple(map(_number, row_means(cells).tolist())),
        parts=tuple(_means(kind, name, _table(own, raters), len(people)) for kind, name, own in everything),
        both=_reliability(review, joined, raters, _PART_DRAWS),
        judges=_reliability(review, joined, raters[len(people) :], _PART_DRAWS),
    )


def repeats(items: Iterable[Voted], audits: Iterable[Vote]) -> Repeats:
    """Audits beside the first answers on the same query and the same responses."""
    first: dict[tuple[str, frozenset[Response]], dict[str, Vote]] = {}
    for item in items:
        first.setdefault((item.row.query_id, frozenset(item.responses)), {}).update(item.first)
    counts = {True: [0, 0], False: [0, 0]}
    for vote in audits:
        again = _verdict(vote)
        before = first.get((vote.query_id, frozenset(map(response_of, vote.sides))), {})
        for name, earlier in before.items():
            if again is not None and (verdict := _verdict(earlier)) is not None:
                counts[name == vote.annotator][0] += 1
                counts[name == vote.annotator][1] += verdict == again
    return Repeats(*counts[True], *counts[False])


# ------------------------------------------------------------------------------------------------


def _as_judge(name: str) -> str:
    return f"\0{name}"  # a judge may have a person's name


def _relation(vote: Vote, one: Response, other: Response) -> float | None:
    return None if vote.skipped else relation(vote, one, other)


def _verdict(vote: Vote) -> object:
    """What was said of the responses, whatever side they stood on; None where nothing."""
    if vote.skipped or vote.ranking is not None or vote.feasible is not None:
        return None if vote.skipped else vote.ranking if vote.ranking is not None else vote.feasible
    responses = sorted(map(response_of, vote.sides))
    return relation(vote, responses[0], responses[1]) if len(responses) == 2 else None


def _parts(units: Units, bins: Mapping[str, Sequence[Voted]]) -> Iterable[tuple[str, str, Units]]:
    domains: dict[str, dict[tuple[Unit, str], tuple[Voted, Mapping[str, float]]]] = {}
    for unit, one in units.items():
        domains.setdefault(one[0].row.domain, {})[unit] = one
    for name, of_domain in domains.items():
        yield "domain", name, of_domain
    for name, own in bins.items():
        items = {item.row.item for item in own}
        yield "margin", name, {unit: one for unit, one in units.items() if one[0].row.item in items}


def _table(units: Units, raters: Sequence[str]) -> Floats:
    rows = [[told.get(name, np.nan) for name in raters] for _, told in units.values()]
    return np.array(rows, np.float64).reshape(len(rows), len(raters))


def _reliability(review: Review, units: Units, raters: Sequence[str], draws: int = 1_000) -> Reliability:
    kinds = 2 if review.form == "query" else 3
    names = [name.removeprefix("\0") for name in raters]
    groups = [unit[0] for unit, _ in units]
    return reliability(_table(units, raters), names, groups, categories=kinds, seed=review.seed, draws=draws)


def _cells(table: Floats) -> tuple[Floats, npt.NDArray[Any]]:
    """Shares of equal verdicts of every two raters, NaN on the diagonal, and how many units they share."""
    known = ~np.isnan(table)
    shared = known.T.astype(np.int64) @ known.astype(np.int64)
    same = np.array([(table == table[:, [at]]).sum(0) for at in range(table.shape[1])]).reshape(shared.shape)
    cells = np.where(shared > 0, same / np.maximum(shared, 1), np.nan)
    np.fill_diagonal(cells, np.nan)
    return cells, shared


def _means(kind: str, name: str, table: Floats, people: int) -> Cells:
    cells, _ = _cells(table)
    found = (cells[:people, :people], cells[:people, people:], cells[people:, people:])
    return Cells(kind, name, *(None if np.isnan(part).all() else float(np.nanmean(part)) for part in found))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value
