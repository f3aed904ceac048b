"""What people said of a pool so far: what is accepted, why the rest is not, and when enough is.

A query of form accept is accepted where, by the majority of those who judged it, it is fit, its chosen response correct
and the better one. One of form triple is accepted where what was ranked asserts a pair. Annotators stop once more are
accepted than was wanted; what somebody has in hand then is finished and counts, so that a benchmark of 1,000 may have
1,040. An answer that was begun after that moment is left out, whatever it says; one of a second round, which decides
what two had left open, is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from coig_p.core.arrays import Floats
from coig_p.errors import DataError
from coig_p.review.answers import Answer, read_answers, time_of
from coig_p.review.folder import REVIEW, Review, open_review, read_key
from coig_p.review.majority import Response, Voted, criteria_of, is_right, majority, read_voted, relation
from coig_p.review.votes import Vote, read_votes
from coig_p.reward.bench.pool import FORMS, OPTION, STOP_AFTER
from coig_p.reward.bench.ranks import Ranked, Relation, rank
from coig_p.stats.reliability import Estimate, Reliability, estimates, reliability

ACCEPTED, REJECTED, OPEN, SKIPPED, WAITING, LATE = "accepted", "rejected", "open", "skipped", "waiting", "late"
STATES = (ACCEPTED, REJECTED, OPEN, SKIPPED, WAITING, LATE)


@dataclass(frozen=True)
class Query:
    """A query of the pool, and what was said of it.

    Attributes:
        items: of form accept one, of form triple each triple.
        state: one of STATES. Open: there is no majority; skipped: all who were asked skipped it; waiting: nobody has
            judged it yet; late: all that was said of it was begun after the stop.
        failed: of a rejected one the criteria that fail.
        responses: of form triple, those that were shown, by name.
        ranked: of form triple, what follows from what was said; None where nothing was.
        missing: of form triple, how many triples nobody ranked.
    """

    query_id: str
    domain: str
    items: tuple[Voted, ...]
    state: str
    failed: tuple[str, ...] = ()
    responses: tuple[Response, ...] = ()
    ranked: Ranked | None = None
    missing: int = 0


@dataclass(frozen=True)
class Part:
    """How many queries of a domain are in each state.

    Attributes:
        failed: of the rejected ones, how many fail each criterion; one may fail several.
    """

    drawn: int
    states: Mapping[str, int]
    failed: Mapping[str, int]


@dataclass(frozen=True)
class Judged:
    """A pool as it stands.

    Attributes:
        queries: by domain, and in each in the review's order.
        stop_after: how many were wanted.
        stopped: the moment from which nothing more is begun; None where not enough is accepted yet.
        doubled: items that two or more were asked about; both: of these, those that two or more judged.
        agreement: on the verdicts that two or more gave in time, of what each said alone; None where there are none.
        equal: on how many of these verdicts all say the same; share: of `agreement.units`, with its interval. They are
            pooled, where `agreement.percent` is a mean over every two people.
        relations, kept: of form triple, what was said of two responses, and how much of it holds.
    """

    review: Review
    queries: tuple[Query, ...]
    stop_after: int
    stopped: datetime | None
    doubled: int
    agreement: Reliability | None
    equal: int
    share: Estimate
    relations: int
    kept: int

    @property
    def accepted(self) -> tuple[Query, ...]:
        """Those that make the benchmark."""
        return tuple(one for one in self.queries if one.state == ACCEPTED)

    @property
    def conflict_rate(self) -> float | None:
        """The share of what was said of two responses that does not hold; None where nothing was."""
        return None if not self.relations else (self.relations - self.kept) / self.relations

    def domains(self) -> dict[str, Part]:
        """By domain, in the review's order."""
        names = list(dict.fromkeys(one.domain for one in self.queries))
        own = {name: [one for one in self.queries if one.domain == name] for name in names}
        return {name: part_of(queries) for name, queries in own.items()}

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        told: dict[str, Any] = {"form": self.review.form, "stop_after": self.stop_after}
        told["stopped"] = None if self.stopped is None else self.stopped.isoformat(timespec="milliseconds")
        told["all"] = asdict(part_of(self.queries))
        told["domains"] = {name: asdict(one) for name, one in self.domains().items()}
        told["doubled"] = {"items": self.doubled}
        if self.agreement is not None:
            told["doubled"] |= {
                "verdicts": self.agreement.units,
                "equal": self.equal,
                "share_equal": asdict(self.share),
            }
            told["doubled"] |= {name: asdict(getattr(self.agreement, name)) for name in ("alpha", "ac1")}
        if self.review.form == "triple":
            told |= {"relations": self.relations, "kept": self.kept, "conflict_rate": self.conflict_rate}
            told["triples_missing"] = sum(one.missing for one in self.accepted)
        return told


def part_of(queries: Sequence[Query]) -> Part:
    """How many are in each state."""
    failed = [name for one in queries if one.state == REJECTED for name in one.failed]
    return Part(
        drawn=len(queries),
        states={state: sum(one.state == state for one in queries) for state in STATES},
        failed={name: failed.count(name) for name in dict.fromkeys(failed)},
    )


def judged(folder: str | Path, stop_after: int | None = None) -> Judged:
    """Read a review that was drawn for a benchmark, and see what it says so far.

    Args:
        stop_after: default what the pool was drawn with.

    Raises:
        DataError: the review cannot be read, or is none that a benchmark can be built from.
    """
    review = open_review(folder)
    if review.form not in FORMS:
        raise DataError(
            f"{review.path / REVIEW}: form {review.form}: a benchmark is built from form accept, or triple. Draw one "
            "with: coigp bench build STORE --review DIR --annotators a,b,c"
        )
    votes, answers = read_votes(folder), {answer.identity: answer for answer in read_answers(folder)}
    items = read_voted(read_key(review), votes)
    criteria = criteria_of(review, votes)
    by_query: dict[str, list[Voted]] = {}
    for item in items:
        by_query.setdefault(item.row.query_id, []).append(item)
    pool = [(tuple(own), _said(own, answers)) for own in by_query.values()]
    wanted = stop_after if stop_after is not None else _wanted(review)
    stopped = stop_moment((change for own, said in pool for change in _changes(own, said, criteria)), wanted)
    found = [_query(own, said, criteria, stopped) for own, said in pool]
    domains = {name: at for at, name in enumerate(dict.fromkeys([*review.domains, *(one.domain for one in found)]))}
    found.sort(key=lambda one: domains[one.domain])
    ranked = [one.ranked for one in found if one.ranked is not None]
    several = [item for item in items if len({name for name, _ in item.asked}) > 1]
    rows, queries = _verdicts(review, pool, criteria, stopped)
    equal, share = _share(rows, queries, review.seed)
    return Judged(
        review=review,
        queries=tuple(found),
        stop_after=wanted,
        stopped=stopped,
        doubled=len(several),
        agreement=_agreement(review, rows, queries),
        equal=equal,
        share=share,
        relations=sum(one.relations for one in ranked),
        kept=sum(one.kept for one in ranked),
    )


def stop_moment(changes: Iterable[tuple[datetime, int]], stop_after: int) -> datetime | None:
    """When more were accepted than was wanted; None where there never were so many.

    Args:
        changes: when one more was accepted, 1, or one less, -1.
    """
    by_time: Counter[datetime] = Counter()
    for at, change in changes:
        by_time[at] += change
    accepted = 0
    for at in sorted(by_time):
        accepted += by_time[at]
        if accepted > stop_after:
            return at
    return None


class _Said(NamedTuple):
    """One vote on one of a query's items, as told by place, when it was given, and begun as far as is known."""

    at: datetime
    began: datetime
    place: int
    vote: Vote


def _said(items: Sequence[Voted], answers: Mapping[tuple[str, str, int], Answer]) -> list[_Said]:
    """All that was said of a query, in the order of time."""
    found = []
    for place, item in enumerate(items):
        each = {(vote.annotator, vote.round): vote for vote in (*item.first.values(), *item.votes.values())}
        for (annotator, round_), vote in each.items():
            answer = answers[item.row.item, annotator, round_]
            at = time_of(answer.at)
            assert at is not None  # a line without one is none
            found.append(_Said(at, at - timedelta(seconds=answer.seconds or 0), place, vote))
    return sorted(found, key=lambda one: (one.at, one.vote.round, one.place, one.vote.annotator))


def _with(items: Sequence[Voted], said: Iterable[_Said]) -> tuple[Voted, ...]:
    """The items as if no more had been said; of who was asked twice the last word counts."""
    votes: list[dict[str, Vote]] = [{} for _ in items]
    for one in said:
        before = votes[one.place].get(one.vote.annotator)
        if before is None or before.round <= one.vote.round:
            votes[one.place][one.vote.annotator] = one.vote
    return tuple(replace(item, votes=own) for item, own in zip(items, votes, strict=True))


def _changes(items: Sequence[Voted], said: Sequence[_Said], criteria: Sequence[str]) -> Iterator[tuple[datetime, int]]:
    """When a query was accepted, 1, and was no longer, -1."""
    before = False
    for number, one in enumerate(said, 1):
        now = _judge(_with(items, said[:number]), criteria).state == ACCEPTED
        if now != before:
            yield one.at, 1 if now else -1
        before = now


def _wanted(review: Review) -> int:
    told = review.options.get(OPTION)
    number = told.get("stop_after") if isinstance(told, Mapping) else None
    return number if isinstance(number, int) else STOP_AFTER


def _query(items: tuple[Voted, ...], said: Sequence[_Said], criteria: Sequence[str], stopped: datetime | None) -> Query:
    """What counts of what was said of a query."""
    if stopped is None:
        return _judge(items, criteria)
    in_time = [one for one in said if _is_in_time(one, stopped)]
    counted = [one for one in said if one in in_time or (one.vote.round > 1 and in_time)]
    if any(not one.vote.skipped for one in said) and all(one.vote.skipped for one in counted):
        return Query(items[0].row.query_id, items[0].row.domain, items, LATE)
    return _judge(_with(items, counted), criteria)


def _judge(items: tuple[Voted, ...], criteria: Sequence[str]) -> Query:
    row = items[0].row
    base = Query(row.query_id, row.domain, items, WAITING)
    if all(vote.skipped for item in items for vote in item.votes.values()):
        skipped = not any(item.is_waiting for item in items)
        return replace(base, state=SKIPPED) if skipped else base
    if len(row.sides) > 2:
        return _of_triples(base)
    (item,) = items
    right = item.right(criteria)
    if right is None:
        return replace(base, state=OPEN)
    failed = tuple(name for name in criteria if item.holds(name) is False)
    return replace(base, state=ACCEPTED if right else REJECTED, failed=failed)


def _of_triples(one: Query) -> Query:
    """Ranks, and the pairs that a path joins, of what the majority says of every two responses of each triple."""
    responses = tuple(sorted({response for item in one.items for response in item.responses}))
    place = {response: at for at, response in enumerate(responses)}
    relations = []
    for item in one.items:
        for left, right in combinations(item.responses, 2):
            told = majority(relation(vote, left, right) for vote in item.votes.values() if not vote.skipped)
            if told is not None:
                better, worse = (left, right) if told else (right, left)
                relations.append(Relation(place[better], place[worse], tie=told == 0.5))
    missing = sum(all(vote.skipped for vote in item.votes.values()) for item in one.items)
    if not relations:
        return replace(one, state=OPEN, missing=missing)
    ranked = rank(len(responses), relations)
    state, failed = (ACCEPTED, ()) if ranked.pairs else (REJECTED, ("tied",))
    return replace(one, state=state, failed=failed, responses=responses, ranked=ranked, missing=missing)


def _verdicts(
    review: Review,
    pool: Sequence[tuple[tuple[Voted, ...], Sequence[_Said]]],
    criteria: Sequence[str],
    stopped: datetime | None,
) -> tuple[Floats, list[str]]:
    """What several said of one thing, each alone and in time: accepted or not, of triples each relation.

    Returns:
        The verdicts as an array of shape (verdicts, annotators), NaN where somebody said nothing, and their queries.
    """
    rows, queries = [], []
    for items, said in pool:
        for place, item in enumerate(items):
            first = [one.vote for one in said if one.place == place and _is_in_time(one, stopped)]
            first = [vote for vote in first if not vote.skipped]
            each: list[dict[str, Any]]
            if review.form == "triple":
                two = combinations(item.responses, 2)
                each = [{vote.annotator: relation(vote, *both) for vote in first} for both in two]
            else:
                each = [{vote.annotator: is_right(vote, criteria) for vote in first}]
            for told in each:
                row = [np.nan if told.get(name) is None else float(told[name]) for name in review.annotators]
                if sum(not np.isnan(value) for value in row) > 1:
                    rows.append(row)
                    queries.append(item.row.query_id)
    return np.array(rows, np.float64).reshape(-1, len(review.annotators)), queries


def _is_in_time(one: _Said, stopped: datetime | None) -> bool:
    return one.vote.round == 1 and (stopped is None or one.began <= stopped)


def _share(rows: Floats, queries: Sequence[str], seed: int) -> tuple[int, Estimate]:
    """On how many verdicts all say the same, and which share of all verdicts that is."""
    if not len(rows):
        return 0, Estimate()
    equal = np.nanmin(rows, axis=1) == np.nanmax(rows, axis=1)
    shares = {"share": lambda weights: float(weights @ equal / weights.sum()) if weights.sum() else None}
    return int(equal.sum()), estimates(shares, len(rows), queries, seed=seed)["share"]


def _agreement(review: Review, rows: Floats, queries: Sequence[str]) -> Reliability | None:
    if not len(rows):
        return None
    kinds = 3 if review.form == "triple" else 2
    return reliability(rows, review.annotators, queries, categories=kinds, seed=review.seed)
