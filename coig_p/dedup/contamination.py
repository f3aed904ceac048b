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
from coig_p.core.arrays import Ints, Mask, hash64
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
from coig_p.validation.findings import FINDINGS, Report, make_findings, redacted_beginning, sorting
from coig_p.validation.rules import Rule

_SHOWN = 40
_FINDINGS_AT_ONCE = 1 << 14
_OF_RESPONSES = ("domain", "query_id", "model", "response", "excerpt")
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


_HOLDING = pa.schema([("held", pa.int64()), *(FINDINGS.field(name) for name in _OF_RESPONSES)])
"""Responses that hold answers which are evidence by themselves, by a number; `excerpt` is what is shown of each."""

_HELD = pa.schema(
    [
        ("answer", pa.int64()),
        ("query", pa.uint64()),
        ("held", pa.int64()),
        ("rank", pa.int64()),
        ("share", pa.float64()),
    ]
)
"""Those answers, each with each response that holds it; `rank` is 0 for the one that is contained most in it.

`query` is a hash of the domain and the query_id.
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
    found, holding, held = sorting(), Sorting(_HOLDING, _all_columns), Sorting(_HELD, _all_columns)
    responses = 0
    with scratch_folder(engine) as folder:
        asked = Blocks.of(prompts, lambda at: folder / f"prompts-{at}.arrow", characters)
        said = Blocks.of(answers, lambda at: folder / f"answers-{at}.arrow", characters)
        for file, there in in_order(partial(_look_in, store.path, asked, said), files, workers):
            found.add(there.found)
            holding.add(_counted_on(there.holding, responses))
            held.add(_counted_on(there.held, responses))
            responses += there.responses
            advance(file.rows or 0)
        for table in _evidence(holding.result(), held.result(), said):
            found.add(table)
    return found.result()


def _all_columns(table: pa.Table) -> pa.Table:
    return table


def _counted_on(table: pa.Table, responses: int) -> pa.Table:
    """Responses of a shard by their numbers among those of all."""
    at = table.schema.get_field_index("held")
    return table.set_column(at, table.schema.field(at), pc.add(table.column(at), responses))


class _There(NamedTuple):
    """What a shard holds: findings, and what may be common, as _HOLDING and _HELD; of so many responses."""

    found: pa.Table
    holding: pa.Table
    held: pa.Table
    responses: int


def _look_in(root: Path, prompts: Blocks, answers: Blocks, file: StoreFile) -> _There:
    asked, said = prompts.opened(), answers.opened()
    found: list[dict[str, Any]] = []
    holding: list[dict[str, Any]] = []
    held: list[tuple[int, int, int, int, float]] = []
    responses = 0
    for batch in shard_batches(root, file, ROWS_PER_GROUP, _READ):
        queries = contents(batch).to_pylist()
        rows = batch.select(["domain", "query_id"]).to_pylist()
        beside: dict[int, set[int]] = {}  # by the batch's row, the benchmarks' rows whose prompt it holds
        for at, hits in asked.find(queries).items():
            beside[at] = set().union(*(hit.block.rows_of(hit.form) for hit in hits))
            found.append(rows[at] | {"excerpt": _excerpt(hits[0], hits[0].block.where(hits[0].form), queries[at])})
        lists = batch.column("responses").to_pylist()
        flat = [(row, nth, response) for row, own in enumerate(lists) for nth, response in enumerate(own)]
        for at, hits in said.find([response["text"] for _, _, response in flat]).items():
            row, nth, response = flat[at]
            place = rows[row] | {"model": response["model"], "response": nth}
            own = beside.get(row, set())
            backed = next((hit for hit in hits if own and not own.isdisjoint(hit.block.rows_of(hit.form))), None)
            telling = [hit for hit in hits if hit.telling]
            if backed is not None:
                where = backed.block.where(backed.form, own)
                found.append(place | {"excerpt": _excerpt(backed, where, response["text"])})
            elif telling:
                number = responses + at
                holding.append(place | {"held": number, "excerpt": _shown(response["text"])})
                query = hash64(f"{place['domain']}\0{place['query_id']}")
                held += [(hit.number, query, number, rank, hit.share) for rank, hit in enumerate(telling)]
        responses += len(flat)
    columns = [[one[at] for one in held] for at in range(len(_HELD))]
    return _There(_findings(found), pa.Table.from_pylist(holding, _HOLDING), pa.table(columns, schema=_HELD), responses)


def _findings(found: Sequence[Mapping[str, Any]]) -> pa.Table:
    columns = {name: [one.get(name) for one in found] for name in ("domain", "query_id", "response", "model")}
    return make_findings(RULE, [one["excerpt"] for one in found], columns, of_text=True)


def _evidence(holding: pa.Table, held: pa.Table, answers: Blocks) -> Iterator[pa.Table]:
    """Findings about responses, each by the first of its answers that responses to few queries hold.

    Args:
        holding, held: _HOLDING and _HELD, sorted.
    """
    answer, query, response, rank = (held.column(name).to_numpy() for name in _HELD.names[:4])
    new_answer = _changes(answer)
    queries = (
        np.add.reduceat(new_answer | _changes(query), np.flatnonzero(new_answer), dtype=np.int64)
        if len(answer)
        else answer
    )
    rare = np.flatnonzero(queries[np.cumsum(new_answer) - 1] <= answers.config.common)
    rare = rare[np.lexsort((rank[rare], response[rare]))]
    first = rare[_changes(response[rare])]
    places = np.searchsorted(holding.column("held").to_numpy(), response[first])
    for begin in range(0, len(first), _FINDINGS_AT_ONCE):
        some = slice(begin, begin + _FINDINGS_AT_ONCE)
        told = zip(answer[first[some]].tolist(), held.column("share").take(first[some]).to_pylist(), strict=True)
        wheres = answers.wheres(answer[first[some]])
        rows = holding.take(places[some]).to_pylist()
        yield _findings(
            [
                row | {"excerpt": f"{share:.0%} of {wheres[number]}: {row['excerpt']}"}
                for row, (number, share) in zip(rows, told, strict=True)
            ]
        )


def _changes(values: Ints) -> Mask:
    """Which are others than those before them; the first one is."""
    return np.append(True, values[1:] != values[:-1])[: len(values)]


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
    return redacted_beginning(text, _SHOWN)


def _excerpt(hit: Hit, where: str, text: str) -> str:
    return f"{hit.share:.0%} of {where}: {_shown(text)}"
