"""How often people say that a store is right: by criterion, over items, over votes and over domains.

Three numbers over domains, since they answer three questions. The mean over domains (the paper's) counts each alike.
Weighted by pairs, sum of W_d p_d with W_d a domain's share of the store's pairs, says how many pairs are right;
weighted by queries, how many queries. Their variance is the sum of W_d^2 p_d (1 - p_d) / n_d, and their interval
Wilson's at as many draws as have this variance, never more than there were items. A domain of one item would add
nothing to it, and one of two or three too little, so a domain of fewer than `FEW` takes the share of all items there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from coig_p.errors import DataError
from coig_p.review.folder import REVIEW, Review
from coig_p.review.majority import Voted, is_right, said
from coig_p.review.votes import Vote
from coig_p.stats.intervals import draws_needed, moments, share, wilson

RIGHT = "right"
"""All criteria at once."""
FEW = 5
"""Items of a domain: below it they do not say how much they vary."""
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
    """A mean over domains, with its standard error and interval; `n` items in all.

    Attributes:
        covered: of strata, the share of the store's pairs that lie in those with a majority.
        pooled: domains of fewer than `FEW` items, whose part of the standard error is that of all items.
    """

    share: float
    se: float
    low: float
    high: float
    n: int
    covered: float = 1.0
    pooled: tuple[str, ...] = ()


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


def weighted(review: Review, items: Sequence[Voted], criteria: Sequence[str], column: str) -> dict[str, Weighted]:
    """The three means over domains; none where a domain has no majority, and so no share.

    Of a draw by strata there is one, "strata": each domain and bin of margins weighs as the pairs that the store has in
    it, those without a majority left out. Of pairs that are likely wrong there is none: they stand for nothing else.
    """
    if review.options.get("by"):
        return {}
    if review.options.get("strata_pairs"):
        cells = _strata(review, items)
        shares = {cell: accuracies(own, criteria, [column])[column] for cell, (own, _) in cells.items()}
        told = {cell: one for cell, one in shares.items() if one.share is not None and cells[cell][1]}
        if not told:
            return {}
        covered = sum(cells[cell][1] for cell in told) / sum(number for _, number in cells.values())
        return {"strata": replace(weigh(told, {cell: cells[cell][1] for cell in told}, few=True), covered=covered)}
    domains: dict[str, Accuracy] = {}
    for name in dict.fromkeys(item.row.domain for item in items):
        own = [item for item in items if item.row.domain == name]
        domains[name] = accuracies(own, criteria, [column])[column]
    if not domains or any(one.share is None for one in domains.values()):
        return {}
    means = {"macro": weigh(domains, dict.fromkeys(domains, 1))}
    for unit in ("pairs", "queries"):
        sizes = {name: review.domains.get(name, {}).get(unit, 0) for name in domains}
        if all(sizes.values()):
            means[unit] = weigh(domains, sizes)
    return means


def weigh(domains: Mapping[str, Accuracy], sizes: Mapping[str, int], *, few: bool = False) -> Weighted:
    """The mean of the domains' shares, each weighing as its size; every domain needs a share.

    Args:
        few: there are too few items in each to say how much they vary: all of them together do.
    """
    total = sum(sizes.values())
    parts = [(sizes[name] / total, one.share or 0.0, one.n) for name, one in domains.items()]
    middle = min(1.0, sum(weight * p for weight, p, _ in parts))
    n = sum(number for _, _, number in parts)
    of_all = sum(p * number for _, p, number in parts) / n
    own = [of_all if number < FEW else p for _, p, number in parts]
    variance = sum(weight**2 * p * (1 - p) / number for p, (weight, _, number) in zip(own, parts, strict=True))
    # Where no domain varies nothing can be estimated: as many draws as the weights leave of all items.
    left = 1 / sum(weight**2 / number for weight, _, number in parts)
    if few:
        variance = middle * (1 - middle) / left
    draws = middle * (1 - middle) / variance if variance else left
    pooled = () if few else tuple(name for name, one in domains.items() if one.n < FEW)
    return Weighted(middle, variance**0.5, *wilson(middle, min(n, draws)), n, pooled=pooled)


def _strata(review: Review, items: Sequence[Voted]) -> dict[str, tuple[list[Voted], int]]:
    """The items of each domain and bin of margins, and how many pairs the store has there."""
    found: dict[str, tuple[list[Voted], int]] = {}
    told = review.options["strata_pairs"]
    try:
        counts = [(float(begin), number) for bins in told.values() for begin, number in bins.items()]
        right = all(begin >= 0 and type(number) is int and number >= 0 for begin, number in counts)
    except (AttributeError, TypeError, ValueError):
        right = False
    if not right:
        raise DataError(f"{review.path / REVIEW}: options.strata_pairs is not an object of counts by domain and margin")
    for domain, bins in told.items():
        begins = sorted(bins, key=float)
        cells: dict[str, list[Voted]] = {begin: [] for begin in begins}
        for item in items:
            if item.row.domain == domain and item.row.margin is not None:
                # A bin is named by six digits of where it begins, and a margin may lie there but for rounding.
                below = [begin for begin in begins if float(begin) <= item.row.margin + 1e-4]
                cells[below[-1] if below else begins[0]].append(item)
        found |= {f"{domain} {begin}": (own, bins[begin]) for begin, own in cells.items()}
    return found


def margin_bins(items: Sequence[Voted]) -> dict[str, list[Voted]]:
    """Items by margin, in quarters as far as equal margins allow, named by the least and the largest of each."""
    known = [(item.row.margin, item) for item in items if item.row.margin is not None]
    if not known:
        return {}
    margins = np.round([margin for margin, _ in known], 4)  # as they are named, so that no two have one name
    edges = np.unique(np.quantile(margins, np.arange(1, _BINS) / _BINS, method="lower"))
    of = np.searchsorted(edges, margins, side="left")
    found = {}
    for at in np.unique(of):
        low, high = margins[of == at].min(), margins[of == at].max()
        name = _told(low) if low == high else f"{_told(low)} – {_told(high)}"
        found[name] = [item for (_, item), own in zip(known, of, strict=True) if own == at]
    return found


def _told(margin: float) -> str:
    return f"{margin:.4f}".rstrip("0").rstrip(".")
