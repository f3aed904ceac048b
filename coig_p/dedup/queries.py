"""Near-duplicate queries of a store: clusters, survivors, and the store without the others."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from coig_p._version import __version__
from coig_p.core.atomic import atomic_directory
from coig_p.core.normalize import comparison_forms
from coig_p.core.progress import Advance
from coig_p.dedup.minhash import NUM_PERM, check_seed, components, similar_pairs
from coig_p.dedup.shingles import Index, jaccard
from coig_p.errors import DataError, UsageError
from coig_p.schema import RAW_SCHEMA, UNITS
from coig_p.store.places import check_target
from coig_p.store.store import Store
from coig_p.store.writing import Part, describe_file, write_store
from coig_p.validation.cleaning import dropped_before

if TYPE_CHECKING:
    from coig_p.dedup.semantic import SemanticConfig

DUPLICATES = pa.schema(
    [
        ("cluster", pa.int64()),
        ("query_id", pa.string()),
        ("survivor", pa.string()),
        ("similarity", pa.float64()),
        ("method", pa.string()),
    ]
)
"""One row for each member of a cluster of two or more, the survivor among them.

`cluster` counts from 0 in the order of survivors; `similarity` is the exact Jaccard to the survivor.
"""


@dataclass(frozen=True)
class DedupConfig:
    """What counts as a near-duplicate.

    Attributes:
        threshold: smallest Jaccard similarity of two queries' n-grams.
        n: characters of an n-gram of the comparison form; 3 suits queries.
        num_perm, seed: of MinHash.
        merge: append the duplicates' responses to the survivor rather than drop them.
    """

    method: ClassVar[str] = "minhash"

    threshold: float = 0.7
    n: int = 3
    num_perm: int = NUM_PERM
    seed: int = 1
    merge: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise UsageError(f"threshold={self.threshold!r}: use a number above 0, up to 1")
        if self.n < 1:
            raise UsageError(f"n={self.n!r}: use a whole number of 1 or more")
        if not 2 <= self.num_perm <= 1024:
            raise UsageError(f"num_perm={self.num_perm!r}: use a whole number from 2 to 1024")
        check_seed(self.seed)


class Queries(NamedTuple):
    """What is asked of every query of a store, in its order.

    Attributes:
        elsewhere: how many of the last ones are not the store's own but other stores'; those stay
            whatever happens, and have the store's name before their id.
    """

    ids: list[str]
    domains: list[str]
    forms: list[str]
    scored: list[int]
    elsewhere: int = 0


def read_queries(store: Store, advance: Advance = lambda queries: None, against: Sequence[Store] = ()) -> Queries:
    """Every query's id, domain, comparison form, and how many of its responses have a score.

    Args:
        against: stores whose queries come after, to be compared with.
    """
    found = _read(store, Queries([], [], [], []), "", advance)
    own = len(found.ids)
    for other in against:
        _read(other, found, f"{other.path.resolve().name}:", lambda queries: None)
    return found._replace(elsewhere=len(found.ids) - own)


def _read(store: Store, found: Queries, prefix: str, advance: Advance) -> Queries:
    for batch in store.batches():
        found.ids.extend(prefix + one for one in batch.column("query_id").to_pylist())
        found.domains.extend(batch.column("domain").to_pylist())
        found.forms.extend(comparison_forms(batch.column("query").to_pylist()))
        for responses in batch.column("responses").to_pylist():
            found.scored.append(sum(bool(response["scores"]) for response in responses))
        advance(batch.num_rows)
    return found


def find_duplicates(queries: Queries, config: DedupConfig) -> pa.Table:
    """Clusters of near-duplicates, as a table of DUPLICATES.

    Clusters are the connected components of pairs at or above the threshold; a query without a
    letter or digit is in none. The survivor is the query with the most scored responses, then the
    smallest query_id; a query from elsewhere before all others. Nothing depends on the queries' order.
    """
    forms, form_of = _different(queries.forms)
    similar = similar_pairs(forms, config.threshold, config.n, num_perm=config.num_perm, seed=config.seed)
    cluster = components(len(forms), similar.pairs)[form_of]
    rank = lambda at: (-queries.scored[at], queries.ids[at])  # noqa: E731

    def similarity(one: Index, other: Index) -> npt.NDArray[np.float64]:
        return jaccard(forms, np.stack([form_of[one], form_of[other]], axis=1), config.n)

    return as_clusters(queries, cluster, rank, similarity, "minhash")


def as_clusters(
    queries: Queries,
    cluster: Index,
    rank: Callable[[int], Any],
    similarity: Callable[[Index, Index], npt.NDArray[np.float64]],
    method: str,
) -> pa.Table:
    """A table of DUPLICATES.

    Args:
        cluster: of each query, a number below the number of queries.
        rank: of a query by its place; the lowest of a cluster survives.
        similarity: of queries, by their places, to others.
    """
    own = len(queries.ids) - queries.elsewhere
    together = np.flatnonzero(np.bincount(cluster, minlength=1)[cluster] > 1).tolist()
    members = np.array(
        sorted((at for at in together if queries.forms[at]), key=lambda at: (at < own, rank(at))), dtype=np.int64
    )
    # The best of each cluster comes first.
    numbers, first = np.unique(cluster[members], return_index=True)
    survivor_of = np.zeros(len(cluster) + 1, np.int64)
    survivor_of[numbers] = members[first]
    survivor = survivor_of[cluster[members]]
    # Of other stores only who stays is named, and that only where something here goes.
    here = np.bincount(cluster[members[members < own]], minlength=len(cluster) + 1)[cluster[members]] > 0
    shown = here & ((members < own) | (members == survivor))
    members, survivor = members[shown], survivor[shown]
    names = np.array(queries.ids, dtype=object)
    order = sorted(
        range(len(members)), key=lambda at: (names[survivor[at]], members[at] != survivor[at], names[members[at]])
    )
    members, survivor = members[order], survivor[order]
    number = np.unique(names[survivor].astype(str), return_inverse=True)[1] if len(members) else members
    return pa.table(
        [
            pa.array(number, pa.int64()),
            pa.array(names[members], pa.string()),
            pa.array(names[survivor], pa.string()),
            pa.array(similarity(members, survivor)),
            pa.array([method] * len(members), pa.string()),
        ],
        schema=DUPLICATES,
    )


def _different(texts: list[str]) -> tuple[list[str], Index]:
    """The different texts, ascending, and for each of `texts` which it is."""
    encoded = pa.array(texts, pa.large_string()).dictionary_encode()
    order = pc.sort_indices(encoded.dictionary)
    rank = np.empty(len(order), np.int64)
    rank[order.to_numpy()] = np.arange(len(order))
    return encoded.dictionary.take(order).to_pylist(), rank[encoded.indices.to_numpy()]


def summary(duplicates: pa.Table, queries: Queries) -> dict[str, Any]:
    """How many clusters there are, how large, and what would go, in all and by domain."""
    clusters = Counter(duplicates.column("cluster").to_pylist())
    domain = dict(zip(queries.ids, queries.domains, strict=True))
    gone = Counter(domain[one] for one in _gone(duplicates))
    return {
        "queries": len(queries.ids) - queries.elsewhere,
        "clusters": len(clusters),
        "largest": max(clusters.values(), default=0),
        "duplicates": sum(gone.values()),
        "by_domain": dict(sorted(gone.items())),
    }


def _gone(duplicates: pa.Table) -> list[str]:
    ids, survivors = (duplicates.column(name).to_pylist() for name in ("query_id", "survivor"))
    return [one for one, survivor in zip(ids, survivors, strict=True) if one != survivor]


def dedup_store(
    store: Store,
    out: Path,
    config: DedupConfig | SemanticConfig,
    duplicates: pa.Table,
    *,
    overwrite: bool = False,
    advance: Advance = lambda queries: None,
) -> tuple[Store, dict[str, int]]:
    """Write a store of the survivors, and duplicates.parquet beside its data.

    Returns:
        The new store, and how many rows, responses, scores and comparisons went.

    Raises:
        UsageError: `out` cannot be used.
        DataError: nothing would be left.
    """
    check_target(out, overwrite)
    if out.resolve() == store.path.resolve():
        raise UsageError(f"{out} is the store itself: choose another place")
    survivor = dict(zip(*(duplicates.column(name).to_pylist() for name in ("query_id", "survivor")), strict=True))
    gone = {one for one, kept in survivor.items() if one != kept}
    taken_in = _taken_in(store, survivor, gone) if config.merge else {}
    before = dict.fromkeys(UNITS, 0) | dropped_before(store, "dedup")
    total = dict(before)  # since the import, not by this run alone
    kept: Counter[tuple[str, str]] = Counter()
    for file in store.data_files():
        ids = pq.read_table(store.path / file.path, columns=["query_id"]).column("query_id").to_pylist()
        kept[str(file.domain), str(file.split)] += sum(one not in gone for one in ids)
    if not sum(kept.values()):
        raise DataError("nothing was written: no query is left")
    with atomic_directory(out) as root:
        pq.write_table(duplicates, root / "duplicates.parquet", compression="zstd")
        extra = describe_file(root, "duplicates.parquet", "duplicates", rows=duplicates.num_rows)
        parts = []
        for (domain, split), rows in kept.items():
            batches = _survivors(store, domain, split, gone, taken_in, total, advance)
            if rows:
                parts.append(Part(domain, split, rows, batches))
            else:  # nothing of it is written, but what goes is counted
                deque(batches, maxlen=0)
        # The manifest is written last, and `total` is whole by then.
        options = {**store.manifest.options, "dedup": {**asdict(config), "method": config.method, "dropped": total}}
        tool = f"coig-p {__version__}"
        write_store(root, parts, replace(store.manifest, domains=(), files=(extra,), tool=tool, options=options))
    return Store.open(out), {unit: total[unit] - before[unit] for unit in total}


def _taken_in(store: Store, survivor: dict[str, str], gone: set[str]) -> dict[str, list[dict[str, Any]]]:
    """For each survivor the rows that are merged into it, by query_id."""
    found: dict[str, list[dict[str, Any]]] = {}
    for batch in store.batches():
        at = [place for place, one in enumerate(batch.column("query_id").to_pylist()) if one in gone]
        for row in batch.take(pa.array(at, pa.int64())).to_pylist():
            found.setdefault(survivor[row["query_id"]], []).append(row)
    return {one: sorted(rows, key=lambda row: str(row["query_id"])) for one, rows in found.items()}


def _survivors(
    store: Store,
    domain: str,
    split: str,
    gone: set[str],
    taken_in: dict[str, list[dict[str, Any]]],
    dropped: dict[str, int],
    advance: Advance,
) -> Iterator[pa.RecordBatch]:
    for batch in store.batches(domain, split):
        advance(batch.num_rows)
        ids = batch.column("query_id").to_pylist()
        stays = [at for at, one in enumerate(ids) if one not in gone]
        if len(stays) < len(ids):
            leaves = batch.take(pa.array([at for at, one in enumerate(ids) if one in gone], pa.int64()))
            dropped["rows"] += leaves.num_rows
            if not taken_in:
                responses = leaves.column("responses").flatten()
                dropped["responses"] += len(responses)
                dropped["scores"] += len(responses.field("scores").flatten())
                dropped["comparisons"] += len(leaves.column("comparisons").flatten())
            batch = batch.take(pa.array(stays, pa.int64()))
        if any(one in taken_in for one in ids):
            rows = [_merged(row, taken_in.get(row["query_id"], []), dropped) for row in batch.to_pylist()]
            batch = pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA)
        if batch.num_rows:
            yield batch


def _merged(row: dict[str, Any], others: list[dict[str, Any]], dropped: dict[str, int]) -> dict[str, Any]:
    """The row with the others' responses; a model that answered already keeps its first answer."""
    responses = list(row["responses"])
    comparisons = None if row["comparisons"] is None else list(row["comparisons"])
    for other in others:
        answered = {response["model"] for response in responses}
        place: dict[int, int] = {}
        for at, response in enumerate(other["responses"]):
            if response["model"] in answered:
                dropped["responses"] += 1
                dropped["scores"] += len(response["scores"])
            else:
                place[at] = len(responses)
                responses.append(response)
        for comparison in other["comparisons"] or ():
            if comparison["first"] in place and comparison["second"] in place:
                moved = {side: place[comparison[side]] for side in ("first", "second")}
                comparisons = [*(comparisons or ()), comparison | moved]
            else:
                dropped["comparisons"] += 1
    return row | {"responses": responses, "comparisons": comparisons}
