"""What a review found: how often the store is right by people, how far they agree, and how they work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from coig_p.review.accuracy import RIGHT, Accuracy, Weighted, accuracies, margin_bins, mean_of_votes, of_votes, weighted
from coig_p.review.agreement import Part, Repeats, WithJudges, agreement, repeats, units_of, with_judges
from coig_p.review.answers import read_log
from coig_p.review.folder import Review, open_review, read_key
from coig_p.review.joining import check_preferred, check_store
from coig_p.review.layers import Relation, find_layers
from coig_p.review.majority import Response, Voted, criteria_of, majority, read_voted, relation
from coig_p.review.quality import Quality, qualities
from coig_p.review.votes import Vote, read_votes
from coig_p.store.store import Store


@dataclass(frozen=True)
class Annotator:
    """One person: how often the store is right by them, and how they work."""

    shares: Mapping[str, Accuracy]
    quality: Quality


@dataclass(frozen=True)
class Ranked:
    """A query whose responses people ranked: (model, sample, rank), relations that were said, and those kept."""

    query_id: str
    domain: str
    ranks: tuple[tuple[str, int, int], ...]
    relations: int
    kept: int
    pairs: int


@dataclass(frozen=True)
class ReviewReport:
    """What `review_report` found.

    Attributes:
        items: that were drawn; answered: those of which anybody said anything; waiting: somebody has yet to.
        criteria: what must hold for an item to be right.
        all: by criterion, and RIGHT, over all items.
        domains: the same in each domain.
        weighted: by criterion: "macro", "pairs", "queries", where every domain has a majority somewhere; or "strata".
        annotators: by name; mean: their shares together.
        agreement: of people, on all items, by domain and by margin.
        margins: by margins from and to: how often the store is right.
        notes: what must be known beside the numbers: "no-boxes" (nobody called a response correct, so right is
            preferred alone), "no-answers", "by" (pairs that are likely wrong were drawn),
            "strata" (evenly by margin), "alone" (items that one annotator saw), "other-store" (it is another than
            the review was drawn from, but all that was shown is there unchanged).
    """

    name: str
    store: str
    form: str
    rounds: int
    overlap: int
    seed: int
    items: int
    answered: int
    waiting: int
    skipped: int
    comments: int
    torn: int
    criteria: tuple[str, ...]
    all: Mapping[str, Accuracy]
    domains: Mapping[str, Mapping[str, Accuracy]]
    weighted: Mapping[str, Mapping[str, Weighted]]
    margins: Mapping[str, Mapping[str, Accuracy]]
    annotators: Mapping[str, Annotator]
    mean: Mapping[str, Accuracy]
    agreement: tuple[Part, ...]
    judges: WithJudges | None
    repeats: Repeats
    ranked: tuple[Ranked, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain lists, names and numbers."""
        return {name: _plain(one) for name, one in asdict(self).items()}


def review_report(folder: str | Path, store: Store | None = None) -> ReviewReport:
    """Read a review and count.

    Args:
        store: that it was drawn from, for the verdicts of its judges; default: people alone.

    Raises:
        DataError: the review cannot be read, or the store holds other texts than were shown, or prefers
            other responses than when it was drawn.
        StoreError: the store cannot be read.
    """
    review = open_review(folder)
    rows, votes, log = read_key(review), read_votes(folder), read_log(folder)
    criteria = criteria_of(review, votes)
    items = read_voted(rows, votes)
    known = [item for item in items if item.votes]
    columns = (*criteria, *((RIGHT,) if len(criteria) > 1 else ()))
    domains = list(dict.fromkeys([*review.domains, *(item.row.domain for item in items)]))
    by_domain = {domain: [item for item in items if item.row.domain == domain] for domain in domains}
    table = {name: accuracies(own, criteria, columns) for name, own in by_domain.items() if own}
    bins = margin_bins(known)
    drawn = {item.row.item for item in items}
    own_votes = {
        name: [vote for vote in votes if vote.annotator == name and vote.item in drawn] for name in review.annotators
    }
    units = units_of(review, items)
    notes = _notes(review, votes, items, criteria)
    if store is not None:
        notes += [] if check_store(review, rows, store).same_store else ["other-store"]
        check_preferred(review, rows, store)
    main = next((criterion for criterion in ("preferred", "feasible") if criterion in criteria), "")
    given = {name: sum(row.annotator == name for row in rows) for name in review.annotators}
    return ReviewReport(
        name=review.path.resolve().name,
        store=review.store["name"],
        form=review.form,
        rounds=review.rounds,
        overlap=review.overlap,
        seed=review.seed,
        items=len(items),
        answered=len(known),
        waiting=sum(item.is_waiting for item in items),
        skipped=sum(vote.skipped for vote in votes),
        comments=sum(bool(vote.comment) for vote in votes),
        torn=sum(log.torn.values()),
        criteria=criteria,
        all=accuracies(items, criteria, columns),
        domains=table,
        weighted={column: weighted(review, items, criteria, column) for column in columns},
        margins={name: accuracies(own, criteria, columns) for name, own in bins.items()} if criteria else {},
        annotators={
            quality.annotator: Annotator(of_votes(own_votes[quality.annotator], criteria, columns), quality)
            for quality in qualities(review, items, votes, given, log.answers, main)
        },
        mean=mean_of_votes([vote for own in own_votes.values() for vote in own], criteria, columns),
        agreement=tuple(agreement(review, units, bins)),
        judges=None if store is None or not units else with_judges(review, store, units, bins),
        repeats=repeats(items, [vote for vote in votes if vote.kind == "audit"]),
        ranked=tuple(_ranked(items)) if review.form == "triple" else (),
        notes=tuple(notes),
    )


def _ranked(items: Sequence[Voted]) -> Iterable[Ranked]:
    """Of each query the layers of what the majority said of every two responses."""
    queries: dict[str, list[Voted]] = {}
    for item in items:
        queries.setdefault(item.row.query_id, []).append(item)
    for query_id, own in queries.items():
        said_of: dict[tuple[Response, Response], list[float]] = {}
        for item in own:
            for one, other in combinations(item.responses, 2):
                told = [relation(vote, one, other) for vote in item.votes.values() if not vote.skipped]
                if (found := majority(told)) is not None:
                    said_of.setdefault((one, other), []).append(found)
        relations: list[Relation] = [(one, other, each) for (one, other), all_ in said_of.items() for each in all_]
        layers = find_layers(relations)
        in_order = sorted(layers.ranks.items(), key=lambda pair: (pair[1], pair[0]))
        ranks = tuple((*response[:2], rank) for response, rank in in_order)
        yield Ranked(query_id, own[0].row.domain, ranks, layers.relations, layers.kept, len(layers.better))


def _notes(review: Review, votes: Sequence[Vote], items: Sequence[Voted], criteria: Sequence[str]) -> list[str]:
    return [
        *(["no-boxes"] if review.form == "pair" and "correct" not in criteria and votes else []),
        *(["no-answers"] if not votes else []),
        *(["by"] if review.options.get("by") else []),
        *(["strata"] if review.options.get("strata_pairs") else []),
        *(["alone"] if votes and any(len(item.asked) == 1 for item in items) else []),
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.item() if isinstance(value, np.generic) else value
