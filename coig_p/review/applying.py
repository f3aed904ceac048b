"""What people said, into a store: comparisons by the judge human:NAME, of two responses in the order they were shown.

A preferred response has 1 and the other 0, a tie .5 and .5; a triple is three comparisons. A comment is the rationale.
A person says one thing of an item: the last word where it was asked twice, and an audit only where somebody else was
asked before. Gold items, whose answers were known, are not applied, nor is what was skipped.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import Any

from coig_p._version import __version__
from coig_p.core.progress import Advance
from coig_p.errors import DataError, UsageError
from coig_p.review.accuracy import RIGHT
from coig_p.review.folder import KeyRow, open_review, read_key, response_sha256
from coig_p.review.joining import Joined, check_preferred, check_store
from coig_p.review.majority import Response, relation, response_of
from coig_p.review.ranking import HUMAN
from coig_p.review.reporting import ReviewReport, review_report
from coig_p.review.votes import Vote, read_votes
from coig_p.store.changes import Change
from coig_p.store.rewrite import check_rewrite, rewrite_store
from coig_p.store.store import Store

STEP = "review"
"""The name under which a manifest's options tell of reviews."""
VERDICT_THRESHOLD = 1.0
"""The margin of a verdict on which all agree: comparison_threshold of a store that had none."""


@dataclass(frozen=True)
class Applied:
    """What applying a review gave.

    Attributes:
        store: the new store.
        comparisons: by person, how many were added.
        queries: that have any of them.
        same_store: whether the store is the one that the review was drawn from; else it holds more, and all of that.
        comparison_threshold: of the new store; was: of the old one.
        conversations: how many of its queries are more than one user's text.
        split: where it has several, the one that the review is of, else the first.
    """

    store: Path
    comparisons: Mapping[str, int]
    queries: int
    same_store: bool
    comparison_threshold: float
    was: float | None
    conversations: int = 0
    split: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain names and numbers."""
        return asdict(self) | {"store": str(self.store), "comparisons": dict(self.comparisons)}


def apply_review(
    folder: str | Path,
    store: Store,
    out: Path,
    *,
    overwrite: bool = False,
    advance: Advance = lambda queries: None,
    num_proc: int | None = 1,
    engine: Executor | None = None,
) -> Applied:
    """Write a store that also holds what people said in a review.

    Args:
        num_proc, engine: who writes (see `coig_p.store.rewrite.rewrite_store`).

    Raises:
        UsageError: the form says nothing of responses, nobody has answered, or `out` cannot be used.
        DataError: the review cannot be read, was applied to this store before, or the store has changed since:
            its texts, or which response it prefers.
        StoreError: a shard cannot be read.
    """
    check_rewrite(store, out, overwrite)
    review = open_review(folder)
    if review.form == "query":
        raise UsageError(f"{review.path}: form query says nothing of responses, so there is nothing to apply")
    rows, votes = read_key(review), read_votes(folder)
    before = _applied_before(store)
    own = key_sha256(rows)
    if any(one.get("key_sha256") == own for one in before):
        raise DataError(
            f"{store.path}: {review.path} was applied to it before. To apply newer answers, name the store without them"
        )
    joined = check_store(review, rows, store)
    check_preferred(review, rows, store)
    changes: dict[str, Change] = {}
    people: Counter[str] = Counter()
    for vote, comparison in _all_comparisons(votes, joined):
        changes.setdefault(vote.query_id, Change()).compared.append(comparison)
        people[vote.annotator] += 1
    if not changes:
        raise UsageError(
            f"{review.path}: nobody has said anything of these responses yet, so there is nothing to apply"
        )
    told = {
        "name": review.path.resolve().name,
        "key_sha256": own,
        "answers_sha256": _answers_sha256(votes),
        "comparisons": people.total(),
        "report": summary(review_report(folder)),
        "tool": __version__,
    }
    was = store.manifest.comparison_threshold
    threshold = VERDICT_THRESHOLD if was is None else was
    written = rewrite_store(
        replace(store, manifest=replace(store.manifest, comparison_threshold=threshold)),
        out,
        lambda _domain, query_id: changes.get(query_id),
        step=STEP,
        record=lambda _losses: {"applied": [*before, told]},
        overwrite=overwrite,
        advance=advance,
        num_proc=num_proc,
        engine=engine,
    )
    talks = sum(file.conversations or 0 for file in written.store.data_files())
    by, splits = dict(sorted(people.items())), written.store.manifest.splits()
    split = str(review.options.get("split") or splits[0]) if len(splits) > 1 else None
    return Applied(written.store.path, by, len(changes), joined.same_store, threshold, was, talks, split)


def comparisons_of_review(folder: str | Path, store: Store) -> dict[str, list[dict[str, Any]]]:
    """What `apply_review` would add to each query, by query_id; nothing is written.

    Raises:
        UsageError: the form says nothing of responses.
        DataError: the review cannot be read, or the store has changed since.
        StoreError: a shard cannot be read.
    """
    review = open_review(folder)
    if review.form == "query":
        raise UsageError(f"{review.path}: form query says nothing of responses")
    found: dict[str, list[dict[str, Any]]] = {}
    joined = check_store(review, read_key(review), store)
    for vote, comparison in _all_comparisons(read_votes(folder), joined):
        found.setdefault(vote.query_id, []).append(comparison)
    return found


def summary(report: ReviewReport) -> dict[str, Any]:
    """What a manifest, and so a card, says of a review."""
    main = RIGHT if RIGHT in report.all else next(iter(report.all), None)
    people = report.agreement[0].found
    told: dict[str, Any] = {
        "form": report.form,
        "items": report.items,
        "answered": report.answered,
        "people": len(report.annotators),
        "overlap": report.overlap,
        "skipped": report.skipped,
        "criteria": list(report.criteria),
        "likely_wrong": "by" in report.notes,
        "shared": people.units,
        "percent": people.percent.value,
        "alpha": people.alpha.value,
        "ac1": people.ac1.value,
    }
    if main is not None:
        one = report.all[main]
        told |= {
            "right": one.right,
            "of": one.n,
            "open": one.open,
            "share": one.share,
            "low": one.low,
            "high": one.high,
        }
        told |= {kind: mean.share for kind, mean in report.weighted[main].items()}
    return told


def key_sha256(rows: Sequence[KeyRow]) -> str:
    """By what a review is known again, whatever was asked later: the items of its first round."""
    first = [row for row in rows if row.round == 1]
    return _sha256([[row.item, row.annotator, row.query_id, [asdict(side) for side in row.sides]] for row in first])


def _answers_sha256(votes: Sequence[Vote]) -> str:
    return _sha256(
        [
            [vote.item, vote.annotator, vote.round, vote.shown_first, vote.ranking, sorted(vote.correct)]
            for vote in votes
        ]
    )


def _sha256(value: Any) -> str:
    return sha256(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def _applied_before(store: Store) -> list[Mapping[str, Any]]:
    told = store.manifest.options.get(STEP)
    return list(told["applied"]) if isinstance(told, Mapping) else []


def _that_count(votes: Sequence[Vote]) -> Iterator[Vote]:
    """Of each person and item the vote that says it, in the order of the key."""
    drawn: dict[tuple[str, str], Vote] = {}
    audits: dict[tuple[str, str], Vote] = {}
    for vote in sorted(votes, key=lambda vote: vote.round):
        if vote.kind != "gold":
            (drawn if vote.kind == "drawn" else audits)[vote.item, vote.annotator] = vote
    for vote in {**audits, **drawn}.values():
        if not vote.skipped:
            yield vote


def _all_comparisons(votes: Sequence[Vote], joined: Joined) -> Iterator[tuple[Vote, dict[str, Any]]]:
    """Every comparison that is to be added, and the vote that it is."""
    for vote in _that_count(votes):
        place = {
            (one["model"] or "", int(one["sample"] or 0), response_sha256(one)): at
            for at, one in enumerate(joined.rows[vote.query_id]["responses"])
        }
        for comparison in _comparisons(vote, place):
            yield vote, comparison


def _comparisons(vote: Vote, place: Mapping[Response, int]) -> Iterator[dict[str, Any]]:
    for first, second in combinations(map(response_of, vote.sides), 2):
        said = relation(vote, first, second)
        if said is not None:
            yield {
                "first": place[first],
                "second": place[second],
                "judge": HUMAN + vote.annotator,
                "dimension": "overall",
                "first_score": said,
                "second_score": 1 - said,
                "rationale": vote.comment,
            }
