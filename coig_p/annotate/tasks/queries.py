"""The queries of a run: read, freed of duplicates, scored by the filter (COIG-P, section 3.1).

What is dropped is listed under a reason: a bad row, "exact" or "near" or "semantic" duplicate,
"low-score", or "unscored" where the filter never gave a clear score.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from coig_p.annotate.asking.ledger import ANSWERED, INVALID, Dropped, Ledger, LedgerWriter, Query
from coig_p.annotate.asking.request import Request, outcome, user_message
from coig_p.annotate.config import RunConfig
from coig_p.annotate.tasks.again import judged_again
from coig_p.annotate.tasks.judge import read_judgement
from coig_p.core.atomic import atomic_file
from coig_p.core.normalize import comparison_form
from coig_p.dedup.clusters import Queries, components
from coig_p.dedup.queries import DedupConfig, find_duplicates
from coig_p.errors import DataError, UnknownNameError, UsageError
from coig_p.ingest.readers import RawRow, find_inputs, read_rows
from coig_p.ingest.values import Rejected, digest, shown, text_at
from coig_p.store.writing import sha256_of

QUERY = "query"
QUERIES, DROPPED = "queries.jsonl", "dropped.jsonl"

Embed = Callable[[Sequence[str]], Any]
"""Texts to vectors, one row each, of any length but 0."""

_SHOWN = 20
_ROWS_AT_ONCE = 1024


def query_request(config: RunConfig, query: Query) -> Request:
    """The filter's judgement of a query, in whole points."""
    endpoint = config.by_name[str(config.queries.filter)]
    prompt = config.query_prompt.fill({"query": query.query})
    return Request(
        endpoint,
        kind=QUERY,
        domain=query.domain,
        query_id=query.query_id,
        messages=(user_message(prompt),),
        parameters=endpoint.judge_parameters,
        read=partial(read_judgement, half_points=False),
        asks=config.judging.asks,
        recipe=config.recipes[QUERY, query.domain, endpoint.name],
        again=partial(judged_again, half_points=False),
    )


class Gathered(NamedTuple):
    """The queries of a run's inputs, those that are dropped, and what they were made from."""

    queries: list[Query]
    dropped: list[Dropped]
    made_from: str


def collect(config: RunConfig, ledger: LedgerWriter) -> None:
    """Read the inputs into the ledger, without duplicates; nothing where that was done already.

    Raises:
        UsageError: an input that cannot be used.
        DataError: bad rows with on_error "fail".
    """
    found = gathered(config, ledger)
    if found is not None:
        ledger.replace_queries(*found)


def gathered(config: RunConfig, ledger: Ledger) -> Gathered | None:
    """What `collect` would put into the ledger; None where it has it already. It raises what `collect` does."""
    now = made_from(config)
    if ledger.made_from() == now:
        return None
    embed = _embedder(config) if config.queries.semantic else None
    dropped: list[Dropped] = []
    queries = _unique_rows(config, _inputs(config), dropped)
    if config.queries.near_duplicates:
        queries = _without_near(queries, config.queries.near_duplicates, dropped)
    if embed is not None:
        queries = _without_similar(queries, config.queries.semantic, embed, dropped)
    return Gathered(queries, dropped, now)


def made_from(config: RunConfig) -> str:
    """What the queries of a run are made from now: settings, and hashes of the inputs."""
    settings = {name: value for name, value in asdict(config.queries).items() if name not in ("filter", "pass_score")}
    embeds = bool(config.queries.semantic) and _can_embed()
    return json.dumps([settings, embeds, [sha256_of(path) for path in _inputs(config)]])


def _inputs(config: RunConfig) -> list[Path]:
    return find_inputs([config.path.parent / name if "://" not in name else name for name in config.queries.inputs])


def decide(config: RunConfig, ledger: LedgerWriter) -> dict[str, int]:
    """Which queries pass, from what the filter said so far; write queries.jsonl and dropped.jsonl.

    Returns:
        How many there are under each name: passed, undecided, and every reason for dropping one.
    """
    counts: Counter[str] = Counter()
    changes: dict[int, int | None] = {}
    failing: list[str] = []
    for query in ledger.queries(passed=False):
        passed, drop = _passes(config, ledger, query)
        if passed != query.passed:
            changes[query.place] = passed
        if passed is None:
            counts["undecided"] += 1
        elif drop is None:
            counts["passed"] += 1
        else:
            counts[str(drop["reason"])] += 1
            failing.append(_line(drop))
    ledger.pass_queries(changes)
    dropped = list(ledger.dropped())
    counts.update(drop.reason for drop in dropped)
    write_lines(config.folder / DROPPED, [*(drop.line for drop in dropped), *failing])
    write_lines(config.folder / QUERIES, map(_query_line, ledger.queries()))
    return dict(counts)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """A file of lines, there whole or not at all."""
    with atomic_file(path) as stream:
        for line in lines:
            stream.write(line.encode() + b"\n")


def similar_by_cosine(vectors: Any, threshold: float) -> Any:
    """Pairs of rows (P x 2, the lower first) whose cosine is above the threshold."""
    unit = np.asarray(vectors, dtype=np.float32)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    found = [np.zeros((0, 2), np.int64)]
    for low in range(0, len(unit), _ROWS_AT_ONCE):
        here, there = np.nonzero(unit[low : low + _ROWS_AT_ONCE] @ unit.T > threshold)
        pairs = np.stack([here + low, there], axis=1)
        found.append(pairs[pairs[:, 0] < pairs[:, 1]])
    return np.concatenate(found)


def _passes(config: RunConfig, ledger: Ledger, query: Query) -> tuple[int | None, dict[str, Any] | None]:
    if config.queries.filter is None:
        return 1, None
    found = outcome(ledger, query_request(config, query))
    about = {"query_id": query.query_id, "query": query.query}
    if found.state == ANSWERED and found.score is not None:
        if found.score >= config.queries.pass_score:
            return 1, None
        return 0, {"reason": "low-score", **about, "score": found.score}
    if found.state == INVALID:
        return 0, {"reason": "unscored", **about, "why": found.reason}
    return None, None


def _unique_rows(config: RunConfig, paths: Sequence[Path], dropped: list[Dropped]) -> list[Query]:
    """Every good row, each text once; raise DataError where bad ones must not be skipped."""
    queries: list[Query] = []
    texts: dict[str, str] = {}  # by query_id
    problems: list[str] = []
    for path in paths:
        for row in read_rows(path):
            try:
                query_id, domain, text, source = _row(config, row)
                if texts.setdefault(query_id, text) != text:
                    raise Rejected("query_id", "id-conflict", f"{shown(query_id)} has another text in an earlier row")
            except Rejected as bad:
                where = f"{path.name}:{row.line}"
                problems.append(f"{where} {bad.field}: {bad.message} [{bad.reason}]")
                drop = {"reason": bad.reason, "file": path.name, "line": row.line, "field": bad.field}
                dropped.append(Dropped(bad.reason, _line(drop | {"message": bad.message}, ascii=True)))
                continue
            queries.append(Query(len(queries), query_id, domain, text, source, None))
    if problems and config.queries.on_error == "fail":
        more = f"\n... and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise DataError(
            "\n".join(problems[:_SHOWN])
            + more
            + '\nMend them, or set on_error = "skip" in [queries]; nothing was asked'
        )
    if not queries:
        raise DataError(f"{', '.join(path.name for path in paths)}: no query is left; nothing was asked")
    return _without_equal(queries, dropped)


def _row(config: RunConfig, row: RawRow) -> tuple[str, str, str, str | None]:
    if row.problem is not None:
        raise Rejected("", *row.problem)
    value = row.value
    if not isinstance(value, dict):
        raise Rejected("", "not-an-object", f"{shown(value)} is not an object")
    text = text_at(value, "query")
    given = value.get("query_id")
    query_id = f"q-{digest(text).hex()}" if given is None else text_at(value, "query_id")
    source = None if value.get("source") is None else text_at(value, "source")
    domain = config.queries.domain or text_at(value, "domain")
    if domain not in config.judge_prompts:
        message = str(UnknownNameError("domain", domain, config.judge_prompts))
        raise Rejected("domain", "bad-domain", f"{message}. Another one needs a [domains.NAME] with a prompt")
    return query_id, domain, text, source


def _without_equal(queries: list[Query], dropped: list[Dropped]) -> list[Query]:
    """Each text once, with the smallest id that it has; of rows with that the first one."""
    smallest: dict[str, Query] = {}
    for query in queries:
        known = smallest.setdefault(query.query, query)
        if query.query_id < known.query_id:
            smallest[query.query] = query
    for query in queries:
        survivor = smallest[query.query]
        if query is not survivor:
            line = _duplicate("exact", query.query_id, query.query, survivor.query_id, 1.0)
            dropped.append(Dropped("exact", _line(line)))
    return [query for query in queries if query is smallest[query.query]]


def _without_near(queries: list[Query], threshold: float, dropped: list[Dropped]) -> list[Query]:
    forms = [comparison_form(query.query) for query in queries]
    ids = [query.query_id for query in queries]
    given = Queries(ids, [query.domain for query in queries], forms, [0] * len(ids))
    found = find_duplicates(given, DedupConfig(threshold=threshold)).to_pylist()
    form, text = dict(zip(ids, forms, strict=True)), {query.query_id: query.query for query in queries}
    gone = set()
    for one in found:
        query_id, survivor = one["query_id"], one["survivor"]
        if query_id != survivor:
            gone.add(query_id)
            reason = "exact" if form[query_id] == form[survivor] else "near"
            line = _duplicate(reason, query_id, text[query_id], survivor, one["similarity"])
            dropped.append(Dropped(reason, _line(line)))
    return [query for query in queries if query.query_id not in gone]


def _without_similar(queries: list[Query], threshold: float, embed: Embed, dropped: list[Dropped]) -> list[Query]:
    """Of queries that are connected by a cosine above the threshold the one with the smallest id stays."""
    ordered = sorted(queries, key=lambda query: query.query_id)
    vectors = np.asarray(embed([query.query for query in ordered]), dtype=np.float32)
    smallest = components(len(ordered), similar_by_cosine(vectors, threshold))
    gone = set()
    for at, first in enumerate(smallest.tolist()):
        if first != at:
            one, other = vectors[at], vectors[first]
            cosine = float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-12))
            query = ordered[at]
            gone.add(query.query_id)
            line = _duplicate("semantic", query.query_id, query.query, ordered[first].query_id, round(cosine, 4))
            dropped.append(Dropped("semantic", _line(line)))
    return [query for query in queries if query.query_id not in gone]


def _can_embed() -> bool:
    """Whether sentence-transformers is installed, without the seconds that its import takes."""
    if "sentence_transformers" in sys.modules:
        return sys.modules["sentence_transformers"] is not None
    return find_spec("sentence_transformers") is not None


def _embedder(config: RunConfig) -> Embed | None:
    """Sentence-transformers' own, where it is installed."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        return None
    try:
        model = SentenceTransformer(config.queries.semantic_model)
    except OSError as error:
        raise UsageError(
            f"queries.semantic_model {config.queries.semantic_model!r} cannot be had ({error}). "
            "Name another, or set semantic = 0"
        ) from None
    return lambda texts: model.encode(list(texts), show_progress_bar=False)


def _duplicate(reason: str, query_id: str, text: str, survivor: str, similarity: float) -> dict[str, Any]:
    return {"reason": reason, "query_id": query_id, "query": text, "duplicate_of": survivor, "similarity": similarity}


def _query_line(query: Query) -> str:
    return _line({"query_id": query.query_id, "domain": query.domain, "query": query.query, "source": query.source})


def _line(value: dict[str, Any], *, ascii: bool = False) -> str:
    return json.dumps(value, ensure_ascii=ascii)
