"""Near-identical answers to one query by different models: who copied, or where a model stands twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from coig_p.core.arrays import Index
from coig_p.core.normalize import comparison_forms
from coig_p.core.progress import Advance
from coig_p.dedup.clusters import EXACT, NEAR, Summary, components, ways
from coig_p.dedup.minhash import NUM_PERM, check_settings, promising, signatures
from coig_p.dedup.shingles import Pairs, jaccard, shingles
from coig_p.engine.local import in_order
from coig_p.schema import RAW_SCHEMA, without
from coig_p.store.changes import Change, Loss
from coig_p.store.conversations import said_beside
from coig_p.store.manifest import StoreFile
from coig_p.store.reading import part_of
from coig_p.store.rewrite import Rewritten, dropped_before, rewrite_store
from coig_p.store.sharing import LOOKED_AT, workers_for
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import ROWS_PER_GROUP

DUPLICATE_RESPONSES = pa.schema(
    [
        ("cluster", pa.int64()),
        ("domain", pa.string()),
        ("query_id", pa.string()),
        ("response", pa.int64()),
        ("model", pa.string()),
        ("survivor", pa.string()),
        ("survivor_response", pa.int64()),
        ("similarity", pa.float64()),
        ("method", pa.string()),
        ("match", pa.string()),
        ("through", pa.string()),
        ("text", pa.string()),
        ("survivor_text", pa.string()),
    ]
)
"""One row for each member of a cluster of two or more, the survivor among them.

`response` is its place in the query's responses, `survivor` the model whose answer stays and
`survivor_response` its place, `similarity` the exact Jaccard to it. `match` is as in
`coig_p.dedup.clusters.DUPLICATES`; so is `through`, where a response is named as responses[2].
"""

REASON = "similar-response"
"""What goes with an answer that another model gave as well is counted under this name."""

_STEP = "dedup_responses"
_READ = without(part_of(RAW_SCHEMA, "query_id", "domain", "responses"), {"dimension", "rationale"})


@dataclass(frozen=True)
class ResponseConfig:
    """What counts as the same answer.

    Attributes:
        threshold: smallest Jaccard similarity of two responses' n-grams.
        n: characters of an n-gram of the comparison form; 5 suits responses.
        num_perm, seed: of MinHash, which spares comparing what is clearly different.
    """

    threshold: float = 0.7
    n: int = 5
    num_perm: int = NUM_PERM
    seed: int = 1

    def __post_init__(self) -> None:
        check_settings(self.threshold, self.n, self.seed, self.num_perm)


def find_similar_responses(
    store: Store,
    config: ResponseConfig,
    advance: Advance = lambda queries: None,
    num_proc: int | None = 1,
    engine: Executor | None = None,
) -> pa.Table:
    """Clusters of near-identical responses within a query, as a table of DUPLICATE_RESPONSES.

    Clusters are connected components, as with queries; the response with the most scores stays, then
    the model that comes first by name, then its first sample. Answers that call other tools, or reason in
    other words, are not alike, and an answer that is a call alone has no text to compare.

    Args:
        num_proc: processes that share the shards; None for as many as pay (see `coig_p.store.sharing`).
        engine: an executor that takes the work in their place, as `coig_p.engine.ray.RayExecutor`.
    """
    found: list[dict[str, Any]] = []
    files = store.data_files()
    workers = workers_for(files, num_proc, engine, a_second=LOOKED_AT)
    for file, part in in_order(partial(_similar_of, store.path, config), files, workers):
        found += part
        advance(file.rows or 0)
    return _in_one_order(pa.Table.from_pylist(found, schema=DUPLICATE_RESPONSES))


def _similar_of(root: Path, config: ResponseConfig, file: StoreFile) -> list[dict[str, Any]]:
    """The rows of DUPLICATE_RESPONSES of a shard, its clusters numbered from 0."""
    found: list[dict[str, Any]] = []
    clusters = 0
    for batch in shard_batches(root, file, ROWS_PER_GROUP, _READ):
        rows = batch.select(["domain", "query_id", "responses"]).to_pylist()
        answers = [
            (row, at, response) for row, whole in enumerate(rows) for at, response in enumerate(whole["responses"])
        ]
        forms = comparison_forms([response["text"] for _, _, response in answers])
        beside = [said_beside(response["extra"]) for _, _, response in answers]
        pairs = _alike(forms, beside, np.array([row for row, _, _ in answers], np.int64), config)
        label = components(len(forms), pairs)
        members: dict[int, list[int]] = {}
        for at in np.flatnonzero(np.bincount(label, minlength=1)[label] > 1).tolist():
            members.setdefault(int(label[at]), []).append(at)
        for group in members.values():
            group.sort(
                key=lambda at: (-len(answers[at][2]["scores"]), answers[at][2]["model"], answers[at][2]["sample"])
            )
        following = ways(len(forms), [pairs], np.array([group[0] for group in members.values()], np.int64)).tolist()
        for group in members.values():
            similarity = jaccard(forms, np.array([(group[0], at) for at in group], np.int64), config.n)
            kept = group[0]
            for at, share in zip(group, similarity.tolist(), strict=True):
                row, place, response = answers[at]
                direct = forms[at] == forms[kept] or following[at] == kept
                found.append(
                    {
                        "cluster": clusters,
                        "domain": rows[row]["domain"],
                        "query_id": rows[row]["query_id"],
                        "response": place,
                        "model": response["model"],
                        "survivor": answers[kept][2]["model"],
                        "survivor_response": answers[kept][1],
                        "similarity": share,
                        "method": "minhash",
                        "match": None if at == kept else EXACT if forms[at] == forms[kept] else NEAR,
                        "through": None if direct else f"responses[{answers[following[at]][1]}]",
                        "text": response["text"],
                        "survivor_text": answers[kept][2]["text"],
                    }
                )
            clusters += 1
    return found


def _alike(forms: list[str], beside: list[str], row: Index, config: ResponseConfig) -> Pairs:
    """Pairs of responses to one query (rows ascend) that are at least as similar as the threshold.

    Args:
        beside: what each is beside its text; equal in every pair.
    """
    begins = np.searchsorted(row, np.arange(row.max(initial=-1) + 2))
    filled = np.array([bool(form) for form in forms], bool)
    pairs = [np.stack(np.triu_indices(end - begin, 1), axis=1) + begin for begin, end in pairwise(begins.tolist())]
    every = np.concatenate([np.zeros((0, 2), np.int64), *pairs])
    every = every[filled[every].all(axis=1)]
    if any(beside):
        kind = np.unique(np.array(beside, object), return_inverse=True)[1]
        every = every[kind[every[:, 0]] == kind[every[:, 1]]]
    small = signatures(shingles(forms, config.n), config.num_perm, config.seed).astype(np.uint8)
    every = every[promising(small, every, config.threshold)]
    found: Pairs = every[jaccard(forms, every, config.n) >= config.threshold]
    return found


def _in_one_order(table: pa.Table) -> pa.Table:
    """By domain and query, clusters numbered as they come: whatever the shards' order was."""
    cluster = ("domain", "query_id", "survivor", "survivor_response")
    # sort_by is not stable on its own.
    table = table.sort_by([(name, "ascending") for name in (*cluster, "model", "response")])
    keys = list(zip(*(table.column(name).to_pylist() for name in cluster), strict=True))
    number: dict[Any, int] = {}
    numbers = [number.setdefault(key, len(number)) for key in keys]
    return table.set_column(0, DUPLICATE_RESPONSES.field(0), pa.array(numbers, pa.int64()))


def response_summary(store: Store, duplicates: pa.Table) -> Summary:
    """How many clusters there are, how large, and what would go, in all and by domain."""
    gone = (row["domain"] for row in duplicates.to_pylist() if row["response"] != row["survivor_response"])
    responses = sum(file.responses or 0 for file in store.data_files())
    return Summary.of("responses", responses, duplicates.column("cluster").to_pylist(), gone)


def dedup_responses(
    store: Store,
    out: Path,
    config: ResponseConfig,
    duplicates: pa.Table,
    *,
    overwrite: bool = False,
    advance: Advance = lambda queries: None,
    num_proc: int | None = 1,
    engine: Executor | None = None,
) -> Rewritten:
    """Write a store of the responses that stay, and duplicates.parquet beside its data.

    Returns:
        The new store, and how many responses, scores and comparisons went.

    Raises:
        UsageError: `out` cannot be used.
    """
    changes: dict[tuple[str, str], Change] = defaultdict(Change)
    for row in duplicates.to_pylist():
        if row["response"] != row["survivor_response"]:
            changes[row["domain"], row["query_id"]].responses[row["response"]] = REASON

    def record(dropped: Mapping[str, Loss]) -> dict[str, Any]:
        numbers = {reason: loss.to_dict() for reason, loss in dropped.items()}
        return {"dropped": numbers, "rules": {REASON: {"severity": "error", **asdict(config)}}}

    return rewrite_store(
        store,
        out,
        lambda domain, query_id: changes.get((domain, query_id)),
        step=_STEP,
        record=record,
        reasons=(REASON,) if changes else (),
        earlier={reason: Loss.from_dict(told) for reason, told in dropped_before(store, _STEP).items()},
        beside={"duplicates.parquet": duplicates},
        overwrite=overwrite,
        advance=advance,
        num_proc=num_proc,
        engine=engine,
    )
