"""How often people say that a store is right: by criterion, over items, over votes and over domains.

Three numbers over domains, since they answer three questions. The mean over domains (the paper's) counts each alike.
Weighted by pairs, sum of W_d p_d with W_d a domain's share of the store's pairs, says how many pairs are right;
weighted by queries, how many queries. Their variance is the sum of W_d^2 p_d (1 - p_d) / n_d, and their interval
Wilson's at as many draws as have this variance, never more than there were items.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from coig_p.review.folder import Review
from coig_p.review.majority import Voted, is_right, said
from coig_p.review.votes import Vote
from coig_p.stats.intervals import draws_needed, moments, share, wilson

RIGHT = "right"
"""All criteria at once."""
_BINS = 4  # of margins


@dataclass(frozen=True)
class Accuracy:
    """How many of n items hold.

    Attributes:
        n: items with a majority; open: those without, after all rounds; missing: nobody said anything yet.
        low, high: Wilson's 95% interval.
        open_wrong: the share where open ones count as wrong.
        needed: items for an interval of 5 points to either side.
    """

    n: int
    right: int
    open: int = 0
    missing: int = 0
    share: float | None = None
    low: float | None = None
    high: float | None = None
    open_wrong: float | None = None
    needed: int | None = None

    @classmethod
    def of(cls, found: Iterable[bool | None], missing: int = 0) -> Accuracy:
        """Of what holds of each item; None where it is open."""
        values = list(found)
        n, right, opened = sum(one is not None for one in values), values.count(True), values.count(None)
        if not n:
            return cls(0, 0, opened, missing, open_wrong=0.0 if opened else None)
        low, high = wilson(right / n, n)
        return cls(n, right, opened, missing, right / n, low, high, right / (n + opened), draws_needed(right / n))


@dataclass(frozen=True)
class Weighted:
    """A mean over domains, with its standard error and interval; `n` items in all."""

    share: float
    se: float
    low: float
    high: float
    n: int


def accuracies(items: Sequence[Voted], criteria: Sequence[str], columns: Sequence[str]) -> dict[str, Accuracy]:
    """Of items by their majorities: each column is a criterion, or RIGHT."""
    known = [item for item in items if item.votes]
    return {
        column: Accuracy.of(
            (item.right(criteria) if column == RIGHT else item.holds(column) for item in known), len(items) - len(known)
        )
        for column in columns
    }


def of_votes(votes: Sequence[Vote], criteria: Sequence[str], columns: Sequence[str]) -> dict[str, Accuracy]:
    """Of one annotator: the last word on each item."""
    last = {vote.item: vote for vote in sorted(votes, key=lambda vote: vote.round)}
    return {
        column: Accuracy.of(one for vote in last.values() if (one := _holds(vote, column, criteria)) is not None)
        for column in columns
    }


def _holds(vote: Vote, column: str, criteria: Sequence[str]) -> bool | None:
    if column == RIGHT:
        return is_right(vote, criteria)
    found = said(vote, column)
    return None if found is None else found == 1


def mean_of_votes(votes: Sequence[Vote], criteria: Sequence[str], columns: Sequence[str]) -> dict[str, Accuracy]:
    """Of all votes, each as much as any other; the interval knows that several are of one query."""
    last = {(vote.item, vote.annotator): vote for vote in sorted(votes, key=lambda vote: vote.round)}
    found = {}
    for column in columns:
        by_query: dict[str, list[bool]] = {}
        for vote in last.values():
            if (one := _holds(vote, column, criteria)) is not None:
                by_query.setdefault(vote.query_id, []).append(one)
        told = list(by_query.values())
        mean = share(moments(np.array([sum(own) for own in told]), np.array([len(own) for own in told])))
        right = sum(map(sum, told))
        found[column] = Accuracy(mean.n, right, share=mean.share, low=mean.low, high=mean.high)
    return found


def weighted(review: Review, domains: Mapping[str, Accuracy]) -> dict[str, Weighted]:
    """The three means over domains; none where a domain has no majority, and so no share."""
    known = {name: one for name, one in domains.items() if one.share is not None}
    if not known or len(known) < len(domains):
        return {}
    found = {"macro": weigh(known, dict.fromkeys(known, 1))}
    for unit in ("pairs", "queries"):
        sizes = {name: review.domains.get(name, {}).get(unit, 0) for name in known}
        if all(sizes.values()):
            found[unit] = weigh(known, sizes)
    return found


def weigh(domains: Mapping[str, Accuracy], sizes: Mapping[str, int]) -> Weighted:
    """The mean of the domains' shares, each weighing as its size; every domain needs a share."""
    total = sum(sizes.values())
    parts = [(sizes[name] / total, one.share or 0.0, one.n) for name, one in domains.items()]
    middle = min(1.0, sum(weight * p for weight, p, _ in parts))
    variance = sum(weight**2 * p * (1 - p) / n for weight, p, n in parts)
    n = sum(number for _, _, number in parts)
    # Where no domain varies nothing can be estimated: as many draws as the weights leave of all items.
    draws = middle * (1 - middle) / variance if variance else 1 / sum(weight**2 / number for weight, _, number in parts)
    return Weighted(middle, variance**0.5, *wilson(middle, min(n, draws)), n)


def margin_bins(items: Sequence[Voted]) -> dict[str, list[Voted]]:
    """Items by margin, in quarters as far as equal margins allow, named by the least and the largest of each."""
    known = [(item.row.margin, item) for item in items if item.row.margin is not None]
    if not known:
        return {}
    margins = np.array([margin for margin, _ in known])
    edges = np.unique(np.quantile(margins, np.arange(1, _BINS) / _BINS, method="lower"))
    of = np.searchsorted(edges, margins, side="left")
    found = {}
    for at in np.unique(of):
        low, high = margins[of == at].min(), margins[of == at].max()
        name = f"{low:g}" if low == high else f"{low:g} – {high:g}"
        found[name] = [item for (_, item), own in zip(known, of, strict=True) if own == at]
    return found
