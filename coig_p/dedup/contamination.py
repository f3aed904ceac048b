"""Is a benchmark in the training data? Its prompts in the queries, its answers in the responses.

Jaccard would miss a benchmark's question inside a longer query, so containment decides: the share of
the benchmark text's n-grams that stand in ours. Short texts would be contained by chance, so those
count by equality of the comparison form alone. An answer proves little by itself: "B", 42 and 以上都对 answer
many questions. Where it is short, or many questions have it, it counts only beside its own prompt.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p._version import __version__
from coig_p.core.arrays import Mask
from coig_p.core.progress import Advance
from coig_p.dedup.benchmarks import Benchmark, ContaminationConfig, called, content_sha256, read_each
from coig_p.dedup.known import CHARACTERS, Blocks, Hit, Texts
from coig_p.engine.local import in_order
from coig_p.engine.scratch import scratch_folder
from coig_p.engine.sorting import Sorting
from coig_p.schema import RAW_SCHEMA, without
from coig_p.store.benchmarks import BenchmarkCheck, BenchmarkUsed, Held, added
from coig_p.store.conversations import contents
from coig_p.store.manifest import StoreFile
from coig_p.store.reading import part_of
from coig_p.store.sharing import LOOKED_AT, workers_for
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import ROWS_PER_GROUP
from coig_p.validation.findings import FINDINGS, Report, make_findings, redacted, sorting
from coig_p.validation.rules import Rule

_SHOWN = 40
_FINDINGS_AT_ONCE = 1 << 14
_READ = without(
    part_of(RAW_SCHEMA, "query_id", "domain", "query", "messages", "responses"), {"extra", "sample", "scores"}
)


RULE = Rule(
    "contamination",
    "error",
    ("query", "response"),
    "a benchmark's prompt in a query, or its answer in a response",
    over="benchmarks",
    options={},
)


_HELD = pa.schema(
    [
        ("number", pa.int64()),
        *(FINDINGS.field(name) for name in ("domain", "query_id", "model", "response", "excerpt")),
        ("held", pa.int64()),
        ("rank", pa.int64()),
    ]
)
"""Answers that are evidence by themselves, and responses that hold them: each answer with each response.

`number` is the answer's, `held` the response's, `rank` counts from 0 for the answer that is contained most in it.
`excerpt` is what is said where no answer of a lower rank counts.
"""


def find_contamination(
    store: Store,
    benchmark: Benchmark,
    config: ContaminationConfig,
    advance: Advance = lambda queries: None,
    domains: Sequence[str] = (),
    num_proc: int | None = 1,
    engine: Executor | None = None,
) -> pa.Table:
    """Queries that hold a benchmark's prompt and responses that hold its answer, as findings (errors).

    Args:
        num_proc: processes that share the shards; None for as many as pay (see `coig_p.store.sharing`).
        engine: an executor that takes the work in their place, as `coig_p.engine.ray.RayExecutor`.
    """
    prompts, answers = Texts(config), Texts(config)
    for kind, texts in ((prompts, benchmark.prompts), (answers, benchmark.answers)):
        for known in texts:
            kind.add(known)
    return _find(store, prompts, answers, advance, domains, num_proc, engine)


def _find(
    store: Store,
    prompts: Texts,
    answers: Texts,
    advance: Advance,
    domains: Sequence[str],
    num_proc: int | None,
    engine: Executor | None,
    characters: int = CHARACTERS,
) -> pa.Table:
    files = [file for domain in domains or (None,) for file in store.data_files(domain)]
    workers = workers_for(files, num_proc, engine, a_second=LOOKED_AT)
    found, held = sorting(), Sorting(_HELD, _by_answer)
    responses = 0
    with scratch_folder(engine) as folder:
        asked, said = (
            Blocks.of(texts, lambda at, name=name: folder / f"{name}-{at}.arrow", characters)
            for name, texts in (("prompts", prompts), ("answers", answers))
        )
        for file, there in in_order(partial(_look_in, store.path, asked, said), files, workers):
            found.add(there.found)
            numbers = pc.add(there.held.column("held"), responses)
            held.add(there.held.set_column(_HELD.get_field_index("held"), "held", numbers))
            responses += there.responses
            advance(file.rows or 0)
    for table in _evidence(held.result(), prompts.config.common):
        found.add(table)
    return found.result()


def _by_answer(table: pa.Table) -> pa.Table:
    return table.select(["number", "domain", "query_id", "held", "rank", "response", "model", "excerpt"])


class _There(NamedTuple):
    """What a shard holds: findings, and what may be common, as _HELD; of so many responses."""

    found: pa.Table
    held: pa.Table
    responses: int


def _look_in(root: Path, prompts: Blocks, answers: Blocks, file: StoreFile) -> _There:
    asked, said = prompts.opened(), answers.opened()
    found: list[dict[str, Any]] = []
    held: list[dict[str, Any]] = []
    responses = 0
    for batch in shard_batches(root, file, ROWS_PER_GROUP, _READ):
        queries = contents(batch).to_pylist()
        rows = batch.select(["domain", "query_id"]).to_pylist()
        beside: dict[int, set[int]] = {}  # by the batch's row, the benchmarks' rows whose prompt it holds
        for at, hits in asked.find(queries).items():
            beside[at] = set().union(*(hit.block.rows_of(hit.form) for hit in hits))
            best = hits[0]
            found.append(rows[at] | {"excerpt": _excerpt(best, best.block.where(best.form), _shown(queries[at]))})
        lists = batch.column("responses").to_pylist()
        flat = [(row, nth, response) for row, own in enumerate(lists) for nth, response in enumerate(own)]
        for at, hits in said.find([response["text"] for _, _, response in flat]).items():
            row, nth, response = flat[at]
            place = rows[row] | {"model": response["model"], "response": nth}
            own = beside.get(row, set())
            backed = next((hit for hit in hits if not own.isdisjoint(hit.block.rows_of(hit.form))), None)
            if backed is not None:
                where = backed.block.where(backed.form, own)
                found.append(place | {"excerpt": _excerpt(backed, where, _shown(response["text"]))})
                continue
            telling = [hit for hit in hits if hit.block.telling[hit.form]]
            shown = _shown(response["text"]) if telling else ""
            place["held"] = responses + at
            for rank, hit in enumerate(telling):
                excerpt = _excerpt(hit, hit.block.where(hit.form), shown)
                held.append(place | {"number": hit.number, "rank": rank, "excerpt": excerpt})
        responses += len(flat)
    return _There(_findings(found), pa.Table.from_pylist(held, _HELD), responses)


def _findings(found: Sequence[Mapping[str, Any]]) -> pa.Table:
    columns = {name: [one.get(name) for one in found] for name in ("domain", "query_id", "response", "model")}
    return make_findings(RULE, [one["excerpt"] for one in found], columns, of_text=True)


def _evidence(held: pa.Table, most: int) -> Iterator[pa.Table]:
    """Findings about responses, each by the first of its answers that responses to no more queries hold.

    Args:
        held: _HELD, by answer and query.
    """
    new_answer = _changes(held, "number")
    new_query = new_answer | _changes(held, "domain") | _changes(held, "query_id")
    answer = np.cumsum(new_answer) - 1
    queries = np.bincount(answer[new_query], minlength=1)
    rare = np.flatnonzero(queries[answer] <= most) if len(answer) else answer
    response, rank = (held.column(name).to_numpy()[rare] for name in ("held", "rank"))
    order = np.lexsort((rank, response))
    first = np.append(True, response[order][1:] != response[order][:-1])[: len(order)]
    left = np.sort(rare[order[first]])
    for begin in range(0, len(left), _FINDINGS_AT_ONCE):
        yield _findings(held.take(left[begin : begin + _FINDINGS_AT_ONCE]).to_pylist())


def _changes(table: pa.Table, name: str) -> Mask:
    """Of rows, in which a column is another than in the row before."""
    column = table.column(name)
    other = pc.not_equal(column.slice(1), column.slice(0, max(0, len(column) - 1)))
    return np.append(True, other.to_numpy())[: len(column)]


def compare(
    store: Store,
    names: Sequence[str | Path],
    config: ContaminationConfig,
    advance: Advance = lambda queries: None,
    domains: Sequence[str] = (),
    num_proc: int | None = 1,
    engine: Executor | None = None,
    *,
    characters: int = CHARACTERS,
) -> tuple[pa.Table, BenchmarkCheck]:
    """`find_contamination` with the benchmarks of these names, and what a manifest remembers of it.

    Args:
        characters: of benchmarks that are looked for at a time; what is found does not depend on it.

    Raises:
        OSError: benchmarks that need files, which cannot be written, as where the disk is full.
    """
    prompts, answers = Texts(config), Texts(config)
    read_each(names, config, prompts.add, answers.add)
    found = _find(store, prompts, answers, advance, domains, num_proc, engine, characters)
    responses = found.num_rows - found.column("response").null_count
    check = BenchmarkCheck(
        against=tuple(BenchmarkUsed(called(name), content_sha256(name)) for name in names),
        prompts=prompts.number,
        answers=answers.number,
        options=json.loads(json.dumps(asdict(config))),  # as it is once it was read from a manifest
        left=Held(found.num_rows - responses, responses),
        tool=f"coig-p {__version__}",
    )
    return found, check


def with_contamination(
    report: Report,
    store: Store,
    names: Sequence[str | Path],
    config: ContaminationConfig,
    advance: Advance = lambda queries: None,
    domains: Sequence[str] = (),
    num_proc: int | None = 1,
    engine: Executor | None = None,
) -> Report:
    """The report of a check with what of these benchmarks is in the store, as errors of a rule of their own."""
    found, check = compare(store, names, config, advance, domains, num_proc, engine)
    options = {"against": [one.name for one in check.against], **asdict(config)}
    report = report.with_findings(replace(RULE, options=options), found)
    return report if domains else replace(report, compared=added(report.compared, [check]))


def _shown(text: str) -> str:
    return redacted(text)[:_SHOWN]


def _excerpt(hit: Hit, where: str, shown: str) -> str:
    return f"{hit.share:.0%} of {where}: {shown}"
