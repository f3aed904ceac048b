"""The queries of a run: read, freed of duplicates, scored by the filter (COIG-P, section 3.1).

What is dropped is listed under a reason: a bad row, "exact" or "near" or "semantic" duplicate,
"low-score", "unscored" where the filter never gave a clear score, or "untranslated" where no translation
could be used. "not-translated-yet" comes in once its translation is there.
"""

from __future__ import annotations

import hashlib
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
from coig_p.annotate.sources import SourceConfig
from coig_p.annotate.tasks.again import judged_again
from coig_p.annotate.tasks.judge import in_both_forms, read_judgement
from coig_p.annotate.tasks.rows import query_of, rows_of, source_files, with_persona
from coig_p.annotate.tasks.translate import translate_request, translations
from coig_p.annotate.translation import needs_translation
from coig_p.core.atomic import atomic_file
from coig_p.core.normalize import comparison_form
from coig_p.core.text import printable
from coig_p.dedup.clusters import Queries, components
from coig_p.dedup.queries import DedupConfig, find_duplicates
from coig_p.errors import DataError, UsageError
from coig_p.ingest.values import Rejected, shown
from coig_p.store.writing import sha256_of

QUERY = "query"
NOT_TRANSLATED_YET = "not-translated-yet"
QUERIES, DROPPED = "queries.jsonl", "dropped.jsonl"

Embed = Callable[[Sequence[str]], Any]
"""Texts to vectors, one row each, of any length but 0."""

_TRANSLATED = "translated"  # the name under which the ledger notes with which translations
_SHOWN = 20
_ROWS_AT_ONCE = 1024


def query_request(config: RunConfig, query: Query) -> Request:
    """The filter's judgement of a query, in whole points."""
    endpoint = config.by_name[str(config.queries.filter)]
    prompt = config.query_prompt.fill({"query": query.shown})
    request = Request(
        endpoint,
        kind=QUERY,
        domain=query.domain,
        query_id=query.query_id,
        messages=(user_message(prompt),),
        parameters=endpoint.judge_parameters,
        read=partial(read_judgement, half_points=False, structured=endpoint.structured is not False),
        asks=config.judging.asks,
        recipe=config.recipes[QUERY, query.domain, endpoint.name],
        again=partial(judged_again, half_points=False),
    )
    return in_both_forms(request, endpoint, half_points=False)


class Gathered(NamedTuple):
    """The queries of a run's inputs, those that are dropped, what they were made from, and with which translations."""

    queries: list[Query]
    dropped: list[Dropped]
    made_from: str
    translated: str | None


def collect(config: RunConfig, ledger: LedgerWriter) -> None:
    """Read the inputs into the ledger, without duplicates; nothing where that was done already.

    Raises:
        UsageError: an input that cannot be used.
        DataError: bad rows with on_error "fail".
    """
    found = gathered(config, ledger)
    if found is not None:
        ledger.replace_queries(found.queries, found.dropped, found.made_from)
        if found.translated is not None:
            ledger.note(_TRANSLATED, found.translated)


def gathered(config: RunConfig, ledger: Ledger) -> Gathered | None:
    """What `collect` would put into the ledger; None where it has it already. It raises what `collect` does."""
    now, told = made_from(config), _translations(config, ledger)
    if ledger.made_from() == now and ledger.noted(_TRANSLATED) == told:
        return None
    embed = _embedder(config) if config.queries.semantic else None
    dropped: list[Dropped] = []
    queries = _translated(config, ledger, _good_rows(config, dropped), dropped)
    queries = _without_equal(queries, dropped)
    if config.queries.near_duplicates:
        queries = _without_near(queries, config.queries.near_duplicates, dropped)
    if embed is not None:
        queries = _without_similar(queries, config.queries.semantic, embed, dropped)
    queries = [with_persona(config, query)._replace(place=place) for place, query in enumerate(queries)]
    return Gathered(queries, dropped, now, told)


def made_from(config: RunConfig) -> str:
    """What the queries of a run are made from now: settings, and hashes of the inputs."""
    settings = {name: value for name, value in asdict(config.queries).items() if name not in ("filter", "pass_score")}
    embeds = bool(config.queries.semantic) and _can_embed()
    files = [sha256_of(path) for _, paths in source_files(config) for path in paths]
    more: list[Any] = [asdict(source) for source in config.sources if source.inputs != config.queries.inputs]
    if config.personas:
        more.append([config.seed, dict(config.personas)])
    if config.tap is not None:
        more += [asdict(config.tap.taxonomy), [[one.code, one.names] for one in config.tap.subjects]]
    return json.dumps([settings, embeds, files, *more])


def _translations(config: RunConfig, ledger: Ledger) -> str | None:
    """What became of each query that is to be translated, as a hash; None where none is."""
    if config.translate is None:
        return None
    told = hashlib.sha256()
    for request in translations(config):
        became = outcome(ledger, request)
        told.update(json.dumps([request.query_id, became.state, became.text]).encode())
    return told.hexdigest()


def decide(config: RunConfig, ledger: LedgerWriter) -> dict[str, int]:
    """Which queries pass, from what the filter said so far; write queries.jsonl and dropped.jsonl.

    Returns:
        How many there are under each name: passed, undecided, and every reason for dropping one.
    """
    counts: Counter[str] = Counter()
    changes: dict[int, int | None] = {}
    failing: list[str] = []
    with atomic_file(config.folder / QUERIES) as stream:
        for query in ledger.queries(passed=False):
            passed, drop = _passes(config, ledger, query)
            if passed != query.passed:
                changes[query.place] = passed
            if passed is None:
                counts["undecided"] += 1
            elif drop is None:
                counts["passed"] += 1
                stream.write(_line(about(query)).encode() + b"\n")
            else:
                counts[str(drop["reason"])] += 1
                failing.append(_line(drop))
        ledger.pass_queries(changes)
    dropped = list(ledger.dropped())
    counts.update(drop.reason for drop in dropped)
    write_lines(config.folder / DROPPED, [*(drop.line for drop in dropped), *failing])
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
    told = {"query_id": query.query_id, "query": query.query}
    if found.state == ANSWERED and found.score is not None:
        if found.score >= config.queries.pass_score:
            return 1, None
        return 0, {"reason": "low-score", **told, "score": found.score}
    if found.state == INVALID:
        return 0, {"reason": "unscored", **told, "why": found.reason}
    return None, None


def _good_rows(config: RunConfig, dropped: list[Dropped]) -> list[tuple[SourceConfig, Query]]:
    """Every row that is a query, as its source has it; raise DataError where bad ones must not be skipped."""
    found: list[tuple[SourceConfig, Query]] = []
    given: dict[str, tuple[str, str | None]] = {}
    problems: list[str] = []
    for source, path, row in rows_of(config):
        try:
            query = query_of(config, source, row)
            asked = (query.query, query.messages)
            if given.setdefault(query.query_id, asked) != asked:
                raise Rejected("query_id", "id-conflict", f"{shown(query.query_id)} has another text in an earlier row")
            found.append((source, query))
        except Rejected as bad:
            where = f"{path.name}:{row.line}"
            problems.append(f"{where} {bad.field}: {bad.message} [{bad.reason}]")
            drop = {"reason": bad.reason, "file": path.name, "line": row.line, "field": bad.field}
            dropped.append(Dropped(bad.reason, _line(drop | {"message": bad.message}, ascii=True)))
    if problems and config.queries.on_error == "fail":
        more = f"\n... and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise DataError(
            "\n".join(problems[:_SHOWN])
            + more
            + '\nMend them, or set on_error = "skip" in [queries]; nothing was asked'
        )
    if not found:
        names = ", ".join(path.name for _, paths in source_files(config) for path in paths)
        raise DataError(f"{names}: no query is left; nothing was asked")
    return found


def _translated(
    config: RunConfig, ledger: Ledger, rows: list[tuple[SourceConfig, Query]], dropped: list[Dropped]
) -> list[Query]:
    """The queries in Chinese: those that were, and those whose translation the ledger has."""
    found = []
    for source, query in rows:
        if not source.translate or not needs_translation(query.query):
            found.append(query)
            continue
        became = outcome(ledger, translate_request(config, query))
        if became.state == ANSWERED and became.text is not None:
            found.append(query._replace(query=became.text.strip(), original=query.query))
            continue
        reason = "untranslated" if became.state == INVALID else NOT_TRANSLATED_YET
        told = {"reason": reason, "query_id": query.query_id, "query": query.query}
        dropped.append(Dropped(reason, _line(told if became.reason is None else told | {"why": became.reason})))
    return found


def _without_equal(queries: list[Query], dropped: list[Dropped]) -> list[Query]:
    """Each text once, with the smallest id that it has; of rows with that the first one."""
    smallest: dict[str, Query] = {}
    for query in queries:
        known = smallest.setdefault(query.query, query)
        if query.query_id < known.query_id:
            smallest[query.query] = query
    for query in queries:
        stays = smallest[query.query]
        if query is not stays:
            line = _duplicate("exact", query.query_id, query.query, stays.query_id, 1.0)
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


def cannot_embed(config: RunConfig) -> str | None:
    """Why semantic duplicates are not looked for, in words; None where they are, or where the run wants none."""
    if not config.queries.semantic or _can_embed():
        return None
    return (
        "queries of the same meaning are not looked for: sentence-transformers is not installed. "
        "pip install 'coig-p[semantic]', or set semantic = 0 in [queries]"
    )


def _embedder(config: RunConfig) -> Embed | None:
    """Sentence-transformers' own, where it is installed; raise UsageError where it or the model cannot be used."""
    if not _can_embed():
        return None
    name = config.queries.semantic_model
    mend = "Name another that this machine has or can download, or set semantic = 0 in [queries]; nothing was asked"
    try:
        from sentence_transformers import SentenceTransformer
    except Exception as error:  # it is there, and does not load: a library of its own is missing, or another version
        words = printable(" ".join(str(error).split()))[:300]
        raise UsageError(
            f"sentence-transformers is installed and cannot be loaded ({type(error).__name__}: {words}). "
            "Mend it, or set semantic = 0 in [queries]; nothing was asked"
        ) from None
    try:
        model = SentenceTransformer(name)
    except Exception as error:  # each of the libraries below it has errors of its own for a model that is not there
        words = printable(" ".join(f"{type(error).__name__}: {error}".split()))[:300]
        raise UsageError(f"queries.semantic_model {name!r} cannot be had ({words}). {mend}") from None
    return lambda texts: model.encode(list(texts), show_progress_bar=False)


def _duplicate(reason: str, query_id: str, text: str, survivor: str, similarity: float) -> dict[str, Any]:
    return {"reason": reason, "query_id": query_id, "query": text, "duplicate_of": survivor, "similarity": similarity}


def about(query: Query) -> dict[str, Any]:
    """What is known of a query, as rows.jsonl and queries.jsonl have it."""
    asked = {"query": query.query} if query.messages is None else {"messages": list(query.turns)}
    found = {"query_id": query.query_id, "domain": query.domain, **asked, "source": query.source}
    more = {"license": query.license, "translated_from": query.original}
    return found | {name: value for name, value in more.items() if value is not None}


_JSON, _ASCII = json.JSONEncoder(ensure_ascii=False), json.JSONEncoder()


def _line(value: dict[str, Any], *, ascii: bool = False) -> str:
    return (_ASCII if ascii else _JSON).encode(value)
