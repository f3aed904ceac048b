"""Which items of a store people are asked about: drawn by hash, so that neither order nor shards change the draw."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Floats, Index, hash64
from coig_p.errors import UsageError
from coig_p.pairs.agreeing import reward_names
from coig_p.pairs.config import PairConfig, check_judges
from coig_p.pairs.kernel import Pairs, find_pairs_of, row_keys
from coig_p.pairs.labels import Responses
from coig_p.pairs.reach import check_reachable
from coig_p.review.folder import FORMS, SIDES, prompt_sha256, response_sha256
from coig_p.review.tasks import Item, dialogue_of, shown
from coig_p.schema import RAW_SCHEMA, without
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import ROWS_PER_GROUP

PER_DOMAIN = 40
"""COIG-P's number, section 3.4."""

READ = without(RAW_SCHEMA, {"meta", "rationale", "source"})
"""What is read to draw and to show."""

_SHOWN_COLUMNS = without(READ, {"scores", "comparisons"})
_RING = 5  # responses of a query in triples: five neighbours on a ring hold all ten pairs
_BINS = 9  # of margins, over the range of scores: whole points from 1 to 10
Advance = Callable[[int], None]
Order = Callable[[Responses, pa.RecordBatch, Pairs], Sequence[Floats]]
"""Columns by which pairs are ranked, the smallest first, an element for each pair."""


@dataclass(frozen=True)
class DrawConfig:
    """What is drawn.

    Attributes:
        form: one of FORMS.
        per_domain: queries of each domain; a smaller domain gives all it has.
        total: queries in all, evenly by domain, in place of `per_domain`; what a domain lacks, others give.
        budget: pairs in all, whatever their domain: those that `order` ranks first.
        strata: "margin" takes as many of each whole point of margin as there are, evenly.
        domains, split: of the store; all where none is named.
        seed: of every draw.
    """

    form: str = "pair"
    per_domain: int | None = None
    total: int | None = None
    budget: int | None = None
    strata: str | None = None
    domains: tuple[str, ...] = ()
    split: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise UsageError(f"form {self.form!r} is none of {', '.join(FORMS)}")
        said = [name for name in ("per_domain", "total", "budget") if getattr(self, name) is not None]
        if len(said) > 1:
            raise UsageError(f"{' and '.join(said)}: give one of them")
        for name in said:
            if getattr(self, name) < 1:
                raise UsageError(f"{name}={getattr(self, name)}: use a whole number of 1 or more")
        if self.strata is not None and (self.form not in PAIR_FORMS or self.budget is not None):
            raise UsageError("strata: of pairs alone, and not beside a budget, which takes them as they are ranked")

    def wanted(self, domains: Sequence[str]) -> dict[str, int]:
        """How many queries are wanted of each domain."""
        if self.total is None:
            return dict.fromkeys(domains, self.per_domain or PER_DOMAIN)
        each, more = divmod(self.total, max(1, len(domains)))
        return {domain: each + (at < more) for at, domain in enumerate(domains)}


PAIR_FORMS = ("pair", "accept")


class Drawn(NamedTuple):
    """One query, or one pair of its responses, as it was drawn.

    Attributes:
        responses: (model, sample), of a pair the chosen one first; of a triple's query, and in form query, none.
        margin: of the pair.
        places: of the responses, in the row: a model may have several of one name in a store of an older version.
    """

    query_id: str
    domain: str
    responses: tuple[tuple[str, int], ...] = ()
    margin: float | None = None
    places: tuple[int, ...] = ()


_Ranked = tuple[tuple[Any, ...], Drawn]  # with what it is ranked by, the smallest first


@dataclass(frozen=True)
class Draw:
    """What was drawn, and out of how many.

    Attributes:
        drawn: by domain in the store's order, and in each as they were drawn.
        pairs, queries: of each domain how many could be drawn; pairs are 0 in forms that have none.
        wanted: of each domain how many queries, of a total as if all had enough; empty where a budget goes over all.
        strata: with strata, of each domain how many pairs there are in each bin of margins, named by where it begins.
        pair_config: the pair options, the threshold set.
    """

    drawn: list[Drawn]
    pairs: Mapping[str, int]
    queries: Mapping[str, int]
    wanted: Mapping[str, int]
    strata: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    pair_config: PairConfig = field(default_factory=PairConfig)

    @property
    def short(self) -> dict[str, tuple[int, int]]:
        """Domains that have fewer than were wanted: how many were drawn, all of them, and wanted."""
        found = Counter(one.domain for one in self.drawn)
        return {domain: (found[domain], most) for domain, most in self.wanted.items() if found[domain] < most}


def draw(
    store: Store,
    config: DrawConfig,
    pairs: PairConfig | None = None,
    *,
    order: Order | None = None,
    leave_out: Collection[str] = (),
    advance: Advance = lambda queries: None,
) -> Draw:
    """Draw queries of a store, and one pair of each in forms of pairs.

    Of the pairs of a query the one with the smallest hash of (seed, query_id, models) stands for it, and of a domain
    the n queries whose hash is smallest. With `order` pairs are ranked by its columns first, by hash where these are
    equal.

    Args:
        pairs: which pairs there are, in forms pair and accept.
        order: how pairs are ranked (see `coig_p.review.ranking`).
        leave_out: query_ids that are not drawn, as of gold items.

    Raises:
        UsageError: options that cannot be, or a store that has nothing to draw.
    """
    given = replace(pairs or PairConfig(), seed=config.seed)
    files = store.selected_files(config.domains, config.split)
    domains = list(dict.fromkeys(str(file.domain) for file in files))
    if config.form in PAIR_FORMS:
        given = check_reachable(given, store.manifest)
        check_judges(given, store.manifest.judges)
        if order is not None and config.strata is not None:
            raise UsageError(
                "strata: takes all margins evenly, and an order the pairs it ranks first: give one of them"
            )
    elif replace(given, seed=0) != PairConfig() or order is not None:
        raise UsageError(
            f"form {config.form} asks about no pairs: options of pairs, and an order, have no effect. Leave them out"
        )
    low, high = store.manifest.score_range
    kept = _Kept(config, config.wanted(domains), (high - low) / _BINS or 1.0)
    excluded = pa.array(sorted(leave_out), pa.string())
    for file in files:
        for batch in shard_batches(store.path, file, ROWS_PER_GROUP, READ, rewards=reward_names(given)):
            advance(batch.num_rows)
            if len(excluded):
                batch = batch.filter(pc.invert(pc.is_in(batch.column("query_id"), value_set=excluded)))
            found = _of_pairs(batch, given, order) if config.form in PAIR_FORMS else _of_queries(batch, config)
            kept.add(str(file.domain), found)
    drawn = kept.drawn()
    if not drawn:
        what = "pair" if config.form in PAIR_FORMS else "query with three different responses"
        raise UsageError(f"{store.path}: no {what if config.form != 'query' else 'query'} to draw with these options")
    return Draw(
        drawn=drawn,
        pairs={domain: sum(kept.bins[domain].values()) for domain in domains},
        queries={domain: kept.queries[domain] for domain in domains},
        wanted={} if config.budget is not None else kept.wanted,
        strata={domain: kept.told_bins(domain) for domain in domains if config.strata is not None},
        pair_config=given,
    )


@dataclass
class _Kept:
    """What comes first so far, in groups: all together under a budget, else by domain and, with strata, by margin.

    Attributes:
        wanted: how many queries of each domain.
        step: how wide a bin of margins is.
        groups: by domain ("" under a budget) and bin, each with its rank.
        bins: of each domain how many pairs there are in each bin of margins.
        queries: of each domain how many could be drawn.
    """

    config: DrawConfig
    wanted: dict[str, int]
    step: float
    groups: dict[tuple[str, int], list[_Ranked]] = field(default_factory=dict)
    bins: dict[str, Counter[int]] = field(default_factory=dict)
    queries: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.bins = {domain: Counter() for domain in self.wanted}

    def add(self, domain: str, found: _Found) -> None:
        """Take in what a batch of a domain has."""
        self.bins[domain].update(self._bin(found.margins).tolist())
        self.queries[domain] += len(found.ranked)
        for one in found.ranked:
            group = self._group(domain, one[1])
            own = self.groups.setdefault(group, [])
            own.append(one)
            most = self.config.budget or self.config.total or self.wanted[domain]
            if len(own) > 2 * most + ROWS_PER_GROUP:
                self.groups[group] = heapq.nsmallest(most, own, key=_rank)

    def drawn(self) -> list[Drawn]:
        """What was drawn: by domain in the store's order, and in each by margin's bin and rank."""
        if self.config.budget is not None:
            first = _first(self.groups.get(("", 0), []), self.config.budget)
            return [one for domain in self.wanted for one in first if one.domain == domain]
        numbers: Sequence[int] = list(self.wanted.values())
        if self.config.total is not None:
            numbers = evenly(self.config.total, [self.queries[domain] for domain in self.wanted])
        return [one for domain, number in zip(self.wanted, numbers, strict=True) for one in self._dealt(domain, number)]

    def told_bins(self, domain: str) -> dict[str, int]:
        """How many pairs lie in each bin of margins, named by where it begins."""
        return {f"{at * self.step:g}": number for at, number in sorted(self.bins[domain].items())}

    def _group(self, domain: str, one: Drawn) -> tuple[str, int]:
        if self.config.budget is not None:
            return "", 0
        return domain, 0 if self.config.strata is None else int(self._bin(np.array([one.margin]))[0])

    def _bin(self, margins: Floats) -> Index:
        """Which bin each margin lies in; one at a bin's beginning, but for rounding, is in it."""
        return np.asarray(np.minimum(np.floor(margins / self.step + 1e-9), _BINS), np.int64)

    def _dealt(self, domain: str, number: int) -> list[Drawn]:
        """The first of each bin, as many of each as there are, evenly; the smallest margins first."""
        bins = [_first(self.groups[group], number) for group in sorted(self.groups) if group[0] == domain]
        shares = evenly(number, [len(own) for own in bins])
        return [one for own, share in zip(bins, shares, strict=True) for one in own[:share]]


def evenly(number: int, sizes: Sequence[int]) -> list[int]:
    """How many to take of each of several, as evenly as their sizes allow, to make `number` or all there are.

    One more goes to the first ones; what one is short of, the others make up for.
    """
    shares = [0] * len(sizes)
    left = min(number, sum(sizes))
    while left:
        open_ = [at for at, size in enumerate(sizes) if shares[at] < size]
        each = min(left // len(open_), *(sizes[at] - shares[at] for at in open_))
        for at in open_ if each else open_[:left]:
            shares[at] += each or 1
            left -= each or 1
    return shares


def _rank(one: _Ranked) -> tuple[Any, ...]:
    return one[0]


def _first(ranked: list[_Ranked], number: int) -> list[Drawn]:
    return [one for _, one in heapq.nsmallest(number, ranked, key=_rank)]


class _Found(NamedTuple):
    """Of a batch: what could be drawn of each query, with its rank, and the margins of all its pairs."""

    ranked: list[_Ranked]
    margins: Floats


def _of_pairs(batch: pa.RecordBatch, config: PairConfig, order: Order | None) -> _Found:
    responses = Responses.of(batch)
    pairs = find_pairs_of(responses, batch, config)
    if not len(pairs.query):
        return _Found([], pairs.margin)
    key = pair_keys(responses, batch, pairs, config.seed)
    columns = list(order(responses, batch, pairs)) if order is not None else []
    ranked = np.lexsort((key, *reversed(columns), pairs.query))
    first = ranked[np.unique(pairs.query[ranked], return_index=True)[1]]
    found = []
    for at in first.tolist():
        row = int(pairs.query[at])
        sides = tuple(_response(responses, int(side[at])) for side in (pairs.chosen, pairs.rejected))
        query_id = batch.column("query_id")[row].as_py()
        begin = int(np.searchsorted(responses.query, row))
        places = int(pairs.chosen[at]) - begin, int(pairs.rejected[at]) - begin
        one = Drawn(query_id, batch.column("domain")[row].as_py(), sides, float(pairs.margin[at]), places)
        found.append(((*(float(column[at]) for column in columns), int(key[at]), query_id), one))
    return _Found(found, pairs.margin)


def pair_keys(responses: Responses, batch: pa.RecordBatch, pairs: Pairs, seed: int) -> Any:
    """The hash of each pair: of (seed, query_id, chosen and rejected model and sample), and of nothing else."""
    return row_keys(batch, responses, f"review {seed}", pairs.query, pairs.chosen, pairs.rejected)


def _response(responses: Responses, at: int) -> tuple[str, int]:
    code = int(responses.model.code[at])
    return ("" if code < 0 else responses.model.names[code]), int(responses.sample[at])


def _of_queries(batch: pa.RecordBatch, config: DrawConfig) -> _Found:
    ids, domains = batch.column("query_id").to_pylist(), batch.column("domain").to_pylist()
    enough = np.ones(len(ids), bool)
    if config.form == "triple":
        enough = np.array(
            [len(different(row or ())) >= len(SIDES) for row in batch.column("responses").to_pylist()], bool
        )
    ranked = [
        ((hash64(f"review {config.seed} {ids[at]}"), ids[at]), Drawn(ids[at], domains[at]))
        for at in np.flatnonzero(enough).tolist()
    ]
    return _Found(ranked, np.zeros(0))


def different(responses: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Responses of a query that do not say the same as one before them."""
    found: dict[str, Mapping[str, Any]] = {}
    for one in responses:
        found.setdefault(response_sha256(one), one)
    return list(found.values())


def triples(query_id: str, responses: Sequence[Mapping[str, Any]], seed: int) -> list[tuple[Mapping[str, Any], ...]]:
    """The triples of a query: three responses are one, four or five are neighbours on a ring, of more five are drawn.

    Five neighbours on a ring of five hold all ten pairs, five of them twice.
    """
    key = lambda one: hash64(f"ring {seed} {query_id} {one['model']} {one['sample']}")  # noqa: E731
    ring = sorted(different(responses), key=key)[:_RING]
    if len(ring) <= len(SIDES):
        return [tuple(ring)]
    return [tuple(ring[(at + step) % len(ring)] for step in range(len(SIDES))) for at in range(len(ring))]


def items_for(store: Store, config: DrawConfig, found: Draw) -> list[Item]:
    """The items of a draw, without names yet, in its order; their texts are read from the store.

    Raises:
        StoreError: a file cannot be read.
    """
    rows = rows_of(store, [one.query_id for one in found.drawn], config.domains, config.split)
    return [item for one in found.drawn for item in _items(rows[one.query_id], one, config)]


def _items(row: Mapping[str, Any], one: Drawn, config: DrawConfig) -> Iterator[Item]:
    base = Item("", "drawn", one.query_id, one.domain, prompt_sha256(row), dialogue_of(row))
    if config.form == "query":
        yield base
    elif config.form == "triple":
        for three in triples(one.query_id, row["responses"], config.seed):
            yield replace(base, responses=tuple(shown(response) for response in three))
    else:
        sides = tuple(shown(row["responses"][place]) for place in one.places)
        yield replace(base, responses=sides, chosen=SIDES[0], margin=one.margin)


def rows_of(
    store: Store, query_ids: Collection[str], domains: Collection[str] = (), split: str | None = None
) -> dict[str, dict[str, Any]]:
    """The rows of queries by id, without scores; those that the store does not have are left out."""
    wanted = pa.array(sorted(set(query_ids)), pa.string())
    found: dict[str, dict[str, Any]] = {}
    for file in store.selected_files(domains, split):
        for batch in shard_batches(store.path, file, ROWS_PER_GROUP, _SHOWN_COLUMNS):
            for row in batch.filter(pc.is_in(batch.column("query_id"), value_set=wanted)).to_pylist():
                found[row["query_id"]] = row
    return found


# Who is asked about which item.


def deal(
    items: Sequence[Item], annotators: Sequence[str], overlap: int, seed: int, *, by_domain: bool = False
) -> dict[str, list[Item]]:
    """Deal items to annotators, each item to `overlap` of them, each annotator as many as the others, to within one.

    Where several have as few, those are asked together who were together least, so that any two can be compared.

    Args:
        by_domain: all items of a domain go to the same annotators: the largest domains first, each to those who have
            the fewest items, so that nobody has more than another by more than the largest domain.

    Raises:
        UsageError: more are to be asked about an item than there are, or somebody would be asked nothing.
    """
    if not 1 <= overlap <= len(annotators):
        raise UsageError(
            f"overlap={overlap}: use a number from 1 to {len(annotators)}, as many as there are annotators"
        )
    given: dict[str, list[Item]] = {name: [] for name in annotators}
    together: Counter[tuple[str, ...]] = Counter()
    if by_domain:
        domains = list(dict.fromkeys(item.domain for item in items))
        if len(domains) * overlap < len(annotators):
            raise UsageError(f"{len(domains)} domains cannot be split among {len(annotators)} annotators: ask fewer")
        by_size = {domain: [item for item in items if item.domain == domain] for domain in domains}
        parts = sorted(by_size.values(), key=len, reverse=True)
    else:
        parts = [[item] for item in items]
    for part in parts:
        what = part[0].domain if by_domain else part[0].item
        chosen: list[str] = []
        while len(chosen) < overlap:
            name = min(
                (one for one in annotators if one not in chosen),
                key=lambda one: (
                    len(given[one]),
                    sum(together[_two(one, other)] for other in chosen),
                    hash64(f"deal {seed} {what} {one}"),
                ),
            )
            chosen.append(name)
        together.update(_two(*two) for two in combinations(chosen, 2))
        for name in chosen:
            given[name] += part
    return given


def _two(one: str, other: str) -> tuple[str, ...]:
    return tuple(sorted((one, other)))
