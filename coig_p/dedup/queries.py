"""Near-duplicate queries of a store: clusters, survivors, and the store without the others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from sys import intern
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Floats, Index
from coig_p.core.normalize import comparison_forms
from coig_p.core.progress import Advance
from coig_p.dedup.clusters import DUPLICATES, Queries, Summary, as_clusters, components, different
from coig_p.dedup.minhash import NUM_PERM, check_settings, similar_pairs
from coig_p.dedup.semantic import SemanticConfig
from coig_p.dedup.shingles import jaccard
from coig_p.engine.local import in_order
from coig_p.engine.scratch import release
from coig_p.errors import UsageError
from coig_p.schema import RAW_SCHEMA, without
from coig_p.store.benchmarks import rows_digest
from coig_p.store.changes import Change, Loss, TakenIn
from coig_p.store.conversations import as_one_json, canonical, contents, said_beside
from coig_p.store.manifest import StoreFile
from coig_p.store.reading import part_of
from coig_p.store.rewrite import Rewritten, check_rewrite, dropped_before, rewrite_store
from coig_p.store.sharing import workers_for
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import ROWS_PER_GROUP

REASON = "duplicate"
"""What goes with a query that another one stays for is counted under this name."""

_STEP = "dedup"
COLUMNS = ("ids", "domains", "forms", "scored", "settings", "speakers")  # of Queries
_READ = pa.unify_schemas(
    [
        part_of(RAW_SCHEMA, "query_id", "domain", "query", "messages", "tools"),
        without(part_of(RAW_SCHEMA, "responses"), {"extra", "sample", "text", "dimension", "rationale"}),
    ]
)

_PACKED = 16 << 20
_TEXT = part_of(RAW_SCHEMA, "query_id", "query")
_ASKED = part_of(RAW_SCHEMA, "query_id", "messages", "tools")


@dataclass(frozen=True)
class DedupConfig:
    """What counts as a near-duplicate.

    Attributes:
        threshold: smallest Jaccard similarity of two queries' n-grams.
        n: characters of an n-gram of the comparison form; 3 suits queries.
        num_perm, seed: of MinHash.
        merge: append the duplicates' responses to the survivor rather than drop them. Conversations are then
            alike only where the same roles speak in the same order.
    """

    method: ClassVar[str] = "minhash"

    threshold: float = 0.7
    n: int = 3
    num_perm: int = NUM_PERM
    seed: int = 1
    merge: bool = False

    def __post_init__(self) -> None:
        check_settings(self.threshold, self.n, self.seed, self.num_perm)


def read_queries(
    store: Store,
    advance: Advance = lambda queries: None,
    against: Sequence[Store] = (),
    num_proc: int | None = 1,
    engine: Executor | None = None,
) -> Queries:
    """Every query's id, domain, comparison form, and how many of its responses have a score.

    The form of a conversation is that of its contents, without names of roles; tools, calls and their
    results are compared by themselves, and are equal or not.

    Args:
        against: stores whose queries come after, to be compared with.
        num_proc: processes that share the shards; None for as many as pay (see `coig_p.store.sharing`).
        engine: an executor that takes the work in their place, as `coig_p.engine.ray.RayExecutor`.
    """
    found = Queries(ids=[], domains=[], forms=[], scored=[])
    own = 0
    for at, one in enumerate((store, *against)):
        prefix = prefix_of(one) if at else ""
        files = one.data_files()
        workers = workers_for(files, num_proc, engine)
        for file, part in in_order(partial(queries_of, one.path, prefix), files, workers):
            for name in COLUMNS:
                getattr(found, name).extend(getattr(part, name))
            if not at:  # the store itself, which may be among the others, too
                own += file.rows or 0
                advance(file.rows or 0)
    return replace(found, elsewhere=len(found.ids) - own)


def queries_of(root: Path, prefix: str, file: StoreFile) -> Queries:
    """The queries of a shard."""
    found = Queries(ids=[], domains=[], forms=[], scored=[])
    for batch in shard_batches(root, file, rows_at_once(file), _READ):
        found.ids.extend(prefix + one for one in batch.column("query_id").to_pylist())
        found.domains.extend(batch.column("domain").to_pylist())
        found.forms.extend(comparison_forms(contents(batch).to_pylist()))
        found.scored.extend(_scored(batch.column("responses")).tolist())
        found.settings.extend(_settings(batch))
        found.speakers.extend(_speakers(batch))
    return found


def rows_at_once(file: StoreFile) -> int:
    """Rows of a batch where texts of responses are not read: as many as take _PACKED bytes of the file, packed.

    A batch costs as much as some hundred short queries do.
    """
    return max(ROWS_PER_GROUP, (file.rows or 0) * _PACKED // max(1, file.bytes))


def _settings(batch: pa.RecordBatch) -> list[str]:
    """What a query asks beside its contents: its tools, and in its turns the calls, their results and reasoning."""
    tools, messages = batch.column("tools"), batch.column("messages")
    found = [""] * batch.num_rows
    turns = messages.flatten()
    more = pc.or_(turns.field("extra").is_valid(), pc.fill_null(pc.equal(turns.field("role"), "tool"), False))
    rows = _rows_of(messages)[more.to_numpy(zero_copy_only=False)]
    for row in np.union1d(np.flatnonzero(tools.is_valid().to_numpy(zero_copy_only=False)), rows).tolist():
        told = _defined(tools[row].as_py())
        told += filter(None, map(_beside, messages[row].as_py() or ()))
        found[row] = hashlib.sha256(canonical(told).encode()).hexdigest() if told else ""
    return found


def _defined(tools: str | None) -> list[str]:
    """Each tool; those in another order are the same tools."""
    try:
        return sorted(map(canonical, json.loads(tools or "[]")))
    except (ValueError, TypeError, RecursionError):
        return [str(tools)]  # not as a store has it, which a check says


def _beside(turn: Mapping[str, Any]) -> str:
    if turn["role"] == "tool":
        return canonical({"result": as_one_json(turn["content"])})
    return said_beside(turn["extra"])


def _speakers(batch: pa.RecordBatch) -> list[str]:
    """The roles of a query's turns."""
    messages = batch.column("messages")
    if messages.null_count == len(messages):
        return [""] * len(messages)
    sizes = pc.fill_null(pc.list_value_length(messages), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(sizes)]), pa.int32())
    roles = pc.fill_null(messages.flatten().field("role"), "")
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, roles), " ").to_pylist()
    return ["" if said == "user" else intern(said) for said in joined]


def _scored(lists: pa.ListArray) -> Index:
    """How many of each row's responses have a score; no text becomes a Python string."""
    row = _rows_of(lists)
    scores = pc.list_value_length(pc.struct_field(lists.flatten(), "scores"))
    has = pc.fill_null(pc.greater(scores, 0), False).to_numpy(zero_copy_only=False)
    return np.bincount(row[has], minlength=len(lists))


def _rows_of(lists: pa.ListArray) -> Index:
    """The row of each element."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return np.repeat(np.arange(len(lists)), lengths)


def find_duplicates(queries: Queries, config: DedupConfig, num_proc: int | None = 1) -> pa.Table:
    """Clusters of near-duplicates, as a table of DUPLICATES.

    Clusters are the connected components of pairs at or above the threshold; a query without a
    letter or digit is in none. Queries with other tools, or in whose turns tools are called for something
    else or answer otherwise, are in different ones, and so are, where config.merge, those in which others
    speak. The survivor is the query with the most scored responses, then the
    smallest query_id; a query from elsewhere before all others. Nothing depends on the queries' order.

    Args:
        num_proc: threads (see `coig_p.dedup.minhash.similar_pairs`).
    """
    forms, form_of = different(queries.forms)
    # Each form of a group once.
    keys, text_of = np.unique(queries.groups(config.merge) * max(len(forms), 1) + form_of, return_inverse=True)
    groups, forms_of_texts = np.divmod(keys, max(len(forms), 1))
    similar = similar_pairs(
        [forms[at] for at in forms_of_texts],
        config.threshold,
        config.n,
        num_perm=config.num_perm,
        seed=config.seed,
        groups=groups,
        num_proc=num_proc,
    )
    cluster = components(len(keys), similar.pairs)[text_of]
    rank = lambda at: (-queries.scored[at], queries.ids[at])  # noqa: E731

    def similarity(one: Index, other: Index) -> Floats:
        return jaccard(forms, np.stack([form_of[one], form_of[other]], axis=1), config.n)

    return as_clusters(queries, cluster, rank, similarity, config.method, [similar.pairs], text_of)


def with_texts(
    duplicates: pa.Table,
    store: Store,
    against: Sequence[Store] = (),
    num_proc: int | None = 1,
    engine: Executor | None = None,
) -> pa.Table:
    """A table of DUPLICATES with the texts of those that go, and of those that stay for them.

    Args:
        against: the stores whose queries came after the store's own; one that is left out has no texts here.
        num_proc, engine: who reads them (see `read_queries`).
    """
    if duplicates.column("text").null_count < duplicates.num_rows or not duplicates.num_rows:
        return duplicates  # they have them
    names = [duplicates.column(name).to_pylist() for name in ("query_id", "survivor")]
    texts: dict[str, str | None] = dict.fromkeys(chain(*names))
    stores = [(store, ""), *((other, prefix_of(other)) for other in against)]
    shards = [(one.path, prefix, file) for one, prefix in stores for file in one.data_files()]
    workers = workers_for([file for _, _, file in shards], num_proc, engine)
    for _, found in in_order(partial(_texts_of, frozenset(texts)), shards, workers):
        texts |= found
    for column, ids in zip(("text", "survivor_text"), names, strict=True):
        place = duplicates.schema.get_field_index(column)
        filled = pa.array([texts[one] for one in ids], pa.string())
        duplicates = duplicates.set_column(place, DUPLICATES.field(column), filled)
    release()
    return duplicates


def _texts_of(wanted: Set[str], shard: tuple[Path, str, StoreFile]) -> dict[str, str | None]:
    """Those of some queries that a shard has, by their ids behind a prefix."""
    root, prefix, file = shard
    found: dict[str, str | None] = {}
    for batch in shard_batches(root, file, rows_at_once(file), _TEXT):
        ids = [prefix + one for one in batch.column("query_id").to_pylist()]
        own = [at for at, one in enumerate(ids) if one in wanted]
        texts = batch.column("query").take(pa.array(own, pa.int64())).to_pylist()
        found |= zip((ids[at] for at in own), texts, strict=True)
    release()
    return found


def prefix_of(other: Store) -> str:
    """What stands before the ids of another store's queries."""
    return f"{other.path.resolve().name}:"


def summary(duplicates: pa.Table, queries: Queries) -> Summary:
    """How many clusters there are, how large, and what would go, in all and by domain."""
    domain = dict(zip(queries.ids, queries.domains, strict=True))
    gone = (domain[one] for one, kept in _survivors(duplicates).items() if one != kept)
    return Summary.of("queries", queries.own, duplicates.column("cluster").to_pylist(), gone)


def _survivors(duplicates: pa.Table) -> dict[str, str]:
    """By query_id who stays for it."""
    return dict(zip(*(duplicates.column(name).to_pylist() for name in ("query_id", "survivor")), strict=True))


def dedup_store(
    store: Store,
    out: Path,
    config: DedupConfig | SemanticConfig,
    duplicates: pa.Table,
    *,
    against: Sequence[Store] = (),
    overwrite: bool = False,
    advance: Advance = lambda queries: None,
    num_proc: int | None = 1,
    engine: Executor | None = None,
) -> Rewritten:
    """Write a store of the survivors, and duplicates.parquet with all texts beside its data.

    Args:
        against: as with `with_texts`; the manifest names them.

    Returns:
        The new store, and how many rows, responses, scores and comparisons went.

    Raises:
        UsageError: `out` cannot be used.
        DataError: nothing would be left.
    """
    check_rewrite(store, out, overwrite)
    ids = duplicates.column("query_id")
    gone = ids.filter(pc.not_equal(ids, duplicates.column("survivor"))).to_pylist()
    changes = dict.fromkeys(gone, Change(row=REASON))  # one for all: it is the same
    if config.merge:
        changes |= _merged(store, _survivors(duplicates), set(gone))
    del ids, gone

    def record(dropped: Mapping[str, Loss]) -> dict[str, Any]:
        told = {**asdict(config), "method": config.method, "dropped": dropped[REASON].to_dict()}
        others = _compared_with(store, against)
        return told | ({"against": others} if others else {})

    return rewrite_store(
        store,
        out,
        lambda domain, query_id: changes.get(query_id),
        step=_STEP,
        record=record,
        reasons=(REASON,),
        # Since the import, not by this run alone.
        earlier={REASON: Loss.from_dict(dropped_before(store, _STEP))},
        beside={"duplicates.parquet": with_texts(duplicates, store, against, num_proc, engine)},
        overwrite=overwrite,
        advance=advance,
        num_proc=num_proc,
        engine=engine,
    )


def _compared_with(store: Store, others: Sequence[Store]) -> list[dict[str, Any]]:
    """The stores whose queries are near-duplicates of none here, as a manifest has them: those of earlier runs too."""
    told = [dict(one) for one in (store.manifest.options.get(_STEP) or {}).get("against") or ()]
    for other in others:
        queries = sum(file.rows or 0 for file in other.data_files())
        one = {"name": other.path.resolve().name, "sha256": rows_digest(other.manifest), "queries": queries}
        if one not in told:
            told.append(one)
    return told


def _merged(store: Store, survivor: Mapping[str, str], gone: set[str]) -> dict[str, Change]:
    """What becomes of those that go and of those that take them in, by query_id."""
    taken_in: dict[str, list[str]] = {}
    asked: dict[str, tuple[str, str]] = {}  # of each query in a cluster, by its id
    batches = (shard_batches(store.path, file, rows_at_once(file), _ASKED) for file in store.data_files())
    for batch in chain.from_iterable(batches):
        ids = batch.column("query_id").to_pylist()
        some = [place for place, one in enumerate(ids) if one in survivor]
        batch = batch.take(pa.array(some, pa.int64()))
        ids = batch.column("query_id").to_pylist()
        asked |= zip(ids, zip(_settings(batch), _speakers(batch), strict=True), strict=True)
        for one in ids:
            if one in gone:
                taken_in.setdefault(survivor[one], []).append(one)
    changes: dict[str, Change] = {}
    for one in asked.keys() & taken_in.keys():  # another store's query takes nothing in
        members = sorted(taken_in[one])
        for taken in members:
            if asked[one] != asked[taken]:
                raise UsageError(
                    f"{one} cannot take in the responses of {taken}, which has other tools or "
                    "speakers: find duplicates with the config that is given here, merge=True"
                )
        changes[one] = Change(taken_in=[TakenIn(taken, REASON) for taken in members])
        changes |= {taken: Change(row=REASON, moved=True) for taken in members}
    return changes
