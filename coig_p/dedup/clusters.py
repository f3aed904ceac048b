"""What belongs together, and who of it stays: clusters of queries, from whatever says that two are alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Floats, Index

DUPLICATES = pa.schema(
    [
        ("cluster", pa.int64()),
        ("query_id", pa.string()),
        ("survivor", pa.string()),
        ("similarity", pa.float64()),
        ("method", pa.string()),
        ("match", pa.string()),
        ("through", pa.string()),
        ("text", pa.string()),
        ("survivor_text", pa.string()),
    ]
)
"""One row for each member of a cluster of two or more, the survivor among them.

`cluster` counts from 0 in the order of survivors; `similarity` is the exact Jaccard, or the cosine, to the survivor.
`match` is EXACT where the comparison form is the survivor's, NEAR or SEMANTIC by the method where it is not, and null
for the survivor. `through` is null where a query is alike to the survivor itself, else the one next on the way there
to which it is alike. The texts are null until `coig_p.dedup.queries.with_texts` has read them.
"""

EXACT, NEAR, SEMANTIC = "exact", "near", "semantic"
"""Why two are taken for the same: see DUPLICATES."""


@dataclass(frozen=True)
class Queries:
    """What is asked of every query of a store, in its order.

    Attributes:
        ids, domains: of each query.
        forms: their comparison forms.
        scored: how many responses of each have a score.
        elsewhere: how many of the last ones are not the store's own but other stores'; those stay
            whatever happens, and have the store's name before their id.
        settings: of each, equal where queries with the same contents ask for the same: their tools, calls and
            results; "" for none. None at all where no query has any.
        speakers: of each, who speaks its turns; "" for one user turn. None at all where every query is one.
    """

    ids: list[str]
    domains: list[str]
    forms: list[str]
    scored: list[int]
    elsewhere: int = 0
    settings: list[str] = field(default_factory=list)
    speakers: list[str] = field(default_factory=list)

    def groups(self, merge: bool) -> Index:
        """A number for each query: those of one may be alike.

        Args:
            merge: those that are alike take in each other's responses, which answer what these speakers said.
        """
        every = [names for names in (self.settings, self.speakers if merge else []) if any(names)]
        if not every:
            return np.zeros(len(self.ids), np.int64)
        keys = list(zip(*every, strict=True))
        number = {key: at for at, key in enumerate(sorted(set(keys)))}
        return np.array([number[key] for key in keys], np.int64)

    @property
    def own(self) -> int:
        """How many are the store's own."""
        return len(self.ids) - self.elsewhere


@dataclass(frozen=True)
class Summary:
    """What was found of near-duplicates.

    Attributes:
        unit: "queries" or "responses": of what.
        total: how many of them there are.
        clusters: of two or more that are alike.
        largest: members of the largest cluster, 0 where there is none.
        by_domain: how many would go, by domain.
    """

    unit: str
    total: int
    clusters: int
    largest: int
    by_domain: Mapping[str, int]

    @classmethod
    def of(cls, unit: str, total: int, cluster: Iterable[int], domains_of_gone: Iterable[str]) -> Summary:
        """From each member's cluster, and the domain of each that would go."""
        sizes, gone = Counter(cluster), Counter(domains_of_gone)
        return cls(unit, total, len(sizes), max(sizes.values(), default=0), dict(sorted(gone.items())))

    @property
    def duplicates(self) -> int:
        """How many would go."""
        return sum(self.by_domain.values())

    def to_dict(self) -> dict[str, Any]:
        """Numbers by name, the total under the name of its unit."""
        return {
            self.unit: self.total,
            "clusters": self.clusters,
            "largest": self.largest,
            "duplicates": self.duplicates,
            "by_domain": dict(self.by_domain),
        }


def different(texts: list[str]) -> tuple[list[str], Index]:
    """The different texts, ascending, and for each of `texts` which it is."""
    encoded = pa.array(texts, pa.large_string()).dictionary_encode()
    order = pc.sort_indices(encoded.dictionary)
    rank = np.empty(len(order), np.int64)
    rank[order.to_numpy()] = np.arange(len(order))
    return encoded.dictionary.take(order).to_pylist(), rank[encoded.indices.to_numpy()]


def components(number: int, pairs: Index) -> Index:
    """For each of `number` texts the smallest one that pairs (P x 2) connect it with, itself where none does."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(number, number))
    label = connected_components(graph, directed=False)[1]
    smallest = np.full(label.max(initial=-1) + 1, number, np.int64)
    np.minimum.at(smallest, label, np.arange(number))
    return np.asarray(smallest[label])


def joined(number: int, pairs: Iterable[Index]) -> Index:
    """As `components`, of pairs that come in pieces: memory goes by texts and by the largest piece."""
    lower = np.arange(number)  # of each text a lower one of the same component, itself of the lowest
    for piece in pairs:
        ends = piece
        while not np.array_equal(further := lower[ends], ends):
            ends = further
        texts, place = np.unique(ends, return_inverse=True)
        lower[texts] = texts[components(len(texts), place.reshape(-1, 2))]
    while not np.array_equal(further := lower[lower], lower):
        lower = further
    return lower


def ways(number: int, pairs: Iterable[Index], goals: Index) -> Index:
    """For each of `number` texts the one next on a shortest way, along pairs, to one of some texts.

    Itself for those, and for texts from which no way leads there; of several ways that by the smallest number.

    Args:
        pairs: pieces of P x 2, read once for each step of the longest way.
    """
    following = np.arange(number)
    reached = np.zeros(number, bool)
    reached[goals] = True
    while True:
        nearest = np.full(number, number)
        for piece in pairs:
            for one, other in (piece.T, piece.T[::-1]):
                step = reached[one] & ~reached[other]
                np.minimum.at(nearest, other[step], one[step])
        new = np.flatnonzero(nearest < number)
        if not len(new):
            return following
        following[new] = nearest[new]
        reached[new] = True


def as_clusters(
    queries: Queries,
    cluster: Index,
    rank: Callable[[int], Any],
    similarity: Callable[[Index, Index], Floats],
    method: str,
    pairs: Iterable[Index],
    text_of: Index,
) -> pa.Table:
    """A table of DUPLICATES.

    Args:
        pairs: of texts that are alike, pieces of P x 2 (see `ways`).
        text_of: of each query, its text.
        cluster: of each query, a number below the number of queries.
        rank: of a query by its place; the lowest of a cluster survives.
        similarity: of queries, by their places, to others.
    """
    own = queries.own
    together = np.flatnonzero(np.bincount(cluster, minlength=1)[cluster] > 1).tolist()
    members = np.array(
        sorted((at for at in together if queries.forms[at]), key=lambda at: (at < own, rank(at))), dtype=np.int64
    )
    # The best of each cluster comes first.
    numbers, first = np.unique(cluster[members], return_index=True)
    survivor_of = np.zeros(len(cluster) + 1, np.int64)
    survivor_of[numbers] = members[first]
    survivor = survivor_of[cluster[members]]
    names = np.array(queries.ids, dtype=object)
    called = np.full(int(text_of.max(initial=-1)) + 1, None, object)  # each text, by the smallest id
    for at in sorted(members.tolist(), key=names.__getitem__, reverse=True):
        called[text_of[at]] = names[at]
    following = ways(len(called), pairs, text_of[members[first]])
    # Of other stores only who stays is named, and that only where something here goes.
    here = np.bincount(cluster[members[members < own]], minlength=len(cluster) + 1)[cluster[members]] > 0
    shown = here & ((members < own) | (members == survivor))
    members, survivor = members[shown], survivor[shown]
    order = sorted(
        range(len(members)), key=lambda at: (names[survivor[at]], members[at] != survivor[at], names[members[at]])
    )
    members, survivor = members[order], survivor[order]
    kept_as = names[survivor]  # ascending
    number = np.cumsum(np.append(False, kept_as[1:] != kept_as[:-1])[: len(members)])
    text, kept = text_of[members], text_of[survivor]
    match = np.where(text == kept, EXACT, SEMANTIC if method == "semantic" else NEAR).astype(object)
    match[members == survivor] = None
    through = np.where((text == kept) | (following[text] == kept), None, called[following[text]])
    return pa.table(
        [
            pa.array(number, pa.int64()),
            pa.array(names[members], pa.string()),
            pa.array(names[survivor], pa.string()),
            pa.array(similarity(members, survivor)),
            pa.array([method] * len(members), pa.string()),
            pa.array(match, pa.string()),
            pa.array(through, pa.string()),
            pa.nulls(len(members), pa.string()),
            pa.nulls(len(members), pa.string()),
        ],
        schema=DUPLICATES,
    )
