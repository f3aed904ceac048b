"""What the ledger holds as a store, finished or half way, and a list of what is missing and why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

from coig_p.annotate.asking.ledger import ANSWERED, FAILED, INVALID, LEDGER, MENDED, Ledger, LedgerWriter, Query
from coig_p.annotate.asking.request import PENDING, Outcome, outcome
from coig_p.annotate.concluded import marks, stored_from
from coig_p.annotate.config import RunConfig
from coig_p.annotate.tasks.generate import GENERATE, generate_request
from coig_p.annotate.tasks.judge import JUDGE, judge_request, judges_of
from coig_p.annotate.tasks.queries import DROPPED, QUERIES, QUERY, about, query_request
from coig_p.core.atomic import atomic_file
from coig_p.errors import DataError
from coig_p.ingest.fields import FormConfig
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig
from coig_p.store.places import check_kept, check_no_link, check_target
from coig_p.store.replacing import check_replaced
from coig_p.store.store import Store

ROWS, MISSING, STORE = "rows.jsonl", "missing.jsonl", "store"
_KEPT = ("license", "translated_from")  # of a row, in the store's `meta`


def check_places(config: RunConfig) -> None:
    """Look at where a run writes, before anything is paid.

    Raises:
        UsageError: a file or the store could not be written there.
        DataError: what a run wrote is there without the ledger that it was made from.
    """
    for name in (QUERIES, DROPPED, ROWS, MISSING):
        check_kept(config.folder / name, "a run")
    store = config.folder / STORE
    check_no_link(store, "a run")
    check_target(store, overwrite=True)
    check_replaced(store)
    made = [path for path in (config.folder / ROWS, config.folder / MISSING) if path.exists()]
    if made and not (config.folder / LEDGER).exists():
        raise DataError(f"{config.folder / LEDGER} is gone, and {made[0]}, which was made from it, is left. {MENDED}")


class Stored(NamedTuple):
    """A store made from a ledger; `missing` counts what is not in it by kind and state."""

    store: Store
    queries: int
    responses: int
    scores: int
    missing: dict[str, dict[str, int]]


def write_store_of(config: RunConfig, ledger: Ledger) -> Stored:
    """Write rows.jsonl, missing.jsonl and the store into the run's folder, each whole or not at all.

    A query is in the store once a model has answered it, a response also before it is scored. A run whose
    ledger, settings and files are as they were when it was last here finds everything written already.

    Raises:
        DataError: no response is there yet.
    """
    known = as_it_was(config, ledger)
    return known if known is not None else _write(config, ledger)


def _write(config: RunConfig, ledger: Ledger) -> Stored:
    counts: Counter[str] = Counter()
    missing: Counter[tuple[str, str]] = Counter()
    kept: Counter[str] = Counter()
    licences: Counter[str | None] = Counter()
    through: dict[str, str] = {}
    made = marks(config)
    rows, gaps = config.folder / ROWS, config.folder / MISSING
    with atomic_file(rows) as stream, atomic_file(gaps) as lacks:
        for query in ledger.queries(passed=False):
            before = _unfinished(missing)
            if _passed(config, ledger, query, lacks, missing):
                row = _row(config, ledger, query, lacks, missing)
                if row["responses"]:
                    counts["queries"] += 1
                    kept.update(name for name in _KEPT if name in row)
                    licences[row.get("license")] += 1
                    counts["responses"] += len(row["responses"])
                    counts["scores"] += sum(len(response["scores"]) for response in row["responses"])
                    stream.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            if query.passed is not None and _unfinished(missing) == before:
                through[query.query_id] = made[query.domain]
    if not counts["queries"]:
        if ledger.any_answered(GENERATE):
            why = "no model has answered any of the queries that pass now; dropped.jsonl says why others do not"
            raise DataError(f"{config.folder}: {why}. A store that was written before is as it was")
        raise DataError(f"{config.folder}: no model has answered yet. `coigp annotate run` asks them")
    thinking = ("responses.thinking",) if config.keep_thinking else ()
    settings = ImportConfig(
        default_threshold=config.judging.default_threshold,
        license=config.queries.license or (next(iter(licences)) if len(licences) == 1 else None),
        form=FormConfig(keep=(*sorted(kept), *thinking)),
    )
    store, _ = import_files([rows], config.folder / STORE, settings, overwrite=True)
    by_kind: dict[str, dict[str, int]] = {}
    for (kind, state), number in sorted(missing.items()):
        by_kind.setdefault(kind, {})[state] = number
    stored = Stored(store, counts["queries"], counts["responses"], counts["scores"], by_kind)
    conclude(config, ledger, through, stored)
    return stored


def conclude(config: RunConfig, ledger: Ledger, through: Mapping[str, str], stored: Stored) -> None:
    """Have the ledger know, where it may be written to, what was written, and which queries are through.

    Args:
        through: for each query_id its mark.
    """
    if isinstance(ledger, LedgerWriter):
        counts = {name: getattr(stored, name) for name in ("queries", "responses", "scores")}
        written = {"made": stored_from(config), "files": _files(config), "counts": counts, "missing": stored.missing}
        ledger.conclude(through, json.dumps(written))


def as_it_was(config: RunConfig, ledger: Ledger) -> Stored | None:
    """What was written last, where nothing has changed that it was made from, nor it."""
    kept = json.loads(ledger.stored() or "{}") if isinstance(ledger, LedgerWriter) else {}
    if kept.get("made") != stored_from(config) or kept["files"] != _files(config):
        return None
    counts = kept["counts"]
    store = Store.open(config.folder / STORE)
    return Stored(store, counts["queries"], counts["responses"], counts["scores"], kept["missing"])


def _files(config: RunConfig) -> list[list[Any]]:
    """What is written, file by file, with size and time of change."""
    paths = [config.folder / ROWS, config.folder / MISSING, *(config.folder / STORE).rglob("*")]
    found = [(path, path.stat()) for path in sorted(paths) if path.is_file()]
    return [[str(path.relative_to(config.folder)), stat.st_size, stat.st_mtime_ns] for path, stat in found]


def _unfinished(missing: Counter[tuple[str, str]]) -> int:
    """How many of those that are missing a further run would ask for."""
    return sum(number for (_, state), number in missing.items() if state != INVALID)


def _passed(
    config: RunConfig, ledger: Ledger, query: Query, lacks: IO[bytes], missing: Counter[tuple[str, str]]
) -> bool:
    """Whether a query passed; where the filter still has to judge it, it is missing."""
    if query.passed is None:
        found = outcome(ledger, query_request(config, query)) if config.queries.filter else Outcome(PENDING)
        _lacks(lacks, missing, QUERY, query, found, judge=config.queries.filter)
    return query.passed == 1


def _row(
    config: RunConfig, ledger: Ledger, query: Query, lacks: IO[bytes], missing: Counter[tuple[str, str]]
) -> dict[str, Any]:
    responses = []
    for author in config.generators:
        answer = outcome(ledger, generate_request(config, author, query))
        if answer.state != ANSWERED or answer.text is None:
            _lacks(lacks, missing, GENERATE, query, answer, model=author.name)
            continue
        scores = []
        for name in judges_of(config, ledger, query, author.name, answer.text):
            judge = config.by_name[name]
            found = outcome(ledger, judge_request(config, judge, query, author.name, answer.text))
            if found.score is None:
                _lacks(lacks, missing, JUDGE, query, found, model=author.name, judge=name)
            else:
                given = {"judge": name, "dimension": "overall", "score": found.score}
                scores.append(given | {"rationale": found.text})  # all that it said, its score among it
        thought = {"thinking": answer.thinking} if config.keep_thinking and answer.thinking else {}
        responses.append({"model": author.name, "text": answer.text, "scores": scores} | thought)
    return about(query) | {"responses": responses}


def _lacks(
    lacks: IO[bytes], missing: Counter[tuple[str, str]], kind: str, query: Query, found: Outcome, **who: str | None
) -> None:
    missing[kind, found.state] += 1
    line = {"kind": kind, "query_id": query.query_id, "domain": query.domain, **who, "state": found.state}
    # The words of a failure differ from run to run; the ledger has them.
    reason = (
        found.reason
        if found.state == INVALID
        else str(found.reason).partition(":")[0]
        if found.state == FAILED
        else None
    )
    lacks.write(json.dumps(line | {"reason": reason}, ensure_ascii=False).encode() + b"\n")
