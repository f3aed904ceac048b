"""What a TaP run's ledger holds as a store: selected responses, and what judges said of every two in either order."""

from __future__ import annotations

import json
from collections import Counter
from typing import IO, Any, NamedTuple

from coig_p.annotate.asking.ledger import FAILED, INVALID, Ledger, Query
from coig_p.annotate.asking.request import Outcome, outcome
from coig_p.annotate.concluded import marks
from coig_p.annotate.config import RunConfig
from coig_p.annotate.storing import MISSING, ROWS, STORE, Stored, as_it_was, conclude
from coig_p.annotate.tap.comparing import Answers, Selecting, answers_to, compare_request, shown_to
from coig_p.annotate.tap.parsing import parse_eight
from coig_p.annotate.tap.requests import texts_of
from coig_p.annotate.tap.selecting import Response
from coig_p.annotate.tap.walking import prompted
from coig_p.annotate.tasks.generate import GENERATE
from coig_p.annotate.tasks.queries import about
from coig_p.annotate.taxonomy.config import COMPARE
from coig_p.annotate.taxonomy.words import DIMENSIONS
from coig_p.core.atomic import atomic_file
from coig_p.errors import DataError
from coig_p.ingest.fields import FormConfig
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig

_RANGE = (1.0, 10.0)
_KEPT = ("writer", "subject", "code", "path", "question_type", "description", "feasible", "candidates")
_KEPT_PLAIN = ("writer", "feasible", "candidates")


class _Lacks(NamedTuple):
    """Where it is listed what is not in the store, and counted by kind and state."""

    lines: IO[bytes]
    counts: Counter[tuple[str, str]]

    @property
    def open(self) -> int:
        """How many of these a further run would ask for."""
        return sum(number for (_, state), number in self.counts.items() if state != INVALID)

    def add(self, kind: str, query: Query, found: Outcome, **who: str) -> None:
        self.counts[kind, found.state] += 1
        line = {"kind": kind, "query_id": query.query_id, "domain": query.domain, **who, "state": found.state}
        said = str(found.reason)  # the words of a failure differ from run to run; the ledger has them
        reason = said if found.state == INVALID else said.partition(":")[0] if found.state == FAILED else None
        self.lines.write(json.dumps(line | {"reason": reason}, ensure_ascii=False).encode() + b"\n")


def write_tap_store(config: RunConfig, ledger: Ledger) -> Stored:
    """Write rows.jsonl, missing.jsonl and the store into the run's folder, each whole or not at all.

    A query is in the store once its responses are selected. `scores` of the result counts comparisons. A run whose
    ledger, settings and files are as they were when it was last here finds everything written already.

    Raises:
        DataError: no query's responses are selected yet.
    """
    known = as_it_was(config, ledger)
    return known if known is not None else _write(config, ledger)


def _write(config: RunConfig, ledger: Ledger) -> Stored:
    assert config.tap is not None
    through: dict[str, str] = {}
    made = marks(config)
    counts: Counter[str] = Counter()
    missing: Counter[tuple[str, str]] = Counter()
    selecting = Selecting(config)
    metas = {one.query.query_id: one.meta for one in prompted(config, ledger)}
    rows = config.folder / ROWS
    with atomic_file(rows) as stream, atomic_file(config.folder / MISSING) as lines:
        lacks = _Lacks(lines, missing)
        for query in ledger.queries():
            answers = answers_to(config, ledger, query)
            before = lacks.open
            for model, found in answers.lacking.items():
                lacks.add(GENERATE, query, found, model=model)
            chosen = selecting.known(ledger, query, answers)
            if not chosen:
                continue
            row = about(query) | metas.get(query.query_id, {}) | _row(config, ledger, query, answers, chosen, lacks)
            counts.update(queries=1, responses=len(row["responses"]), comparisons=len(row["comparisons"]))
            stream.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            if lacks.open == before:
                through[query.query_id] = made[query.domain]
    if not counts["queries"]:
        raise DataError(
            f"{config.folder}: of no query the responses are selected yet. `coigp annotate run` asks for them, and "
            "`coigp annotate select` selects of those that are there"
        )
    settings = ImportConfig(
        score_range=_RANGE,
        default_threshold=config.judging.default_threshold,
        comparison_threshold=0.0,
        both_orders=config.tap.compare.both_orders,
        form=FormConfig(keep=_KEPT_PLAIN if config.tap.taxonomy.plain else _KEPT),
    )
    store, _ = import_files([rows], config.folder / STORE, settings, overwrite=True)
    by_kind: dict[str, dict[str, int]] = {}
    for (kind, state), number in sorted(missing.items()):
        by_kind.setdefault(kind, {})[state] = number
    stored = Stored(store, counts["queries"], counts["responses"], counts["comparisons"], by_kind)
    conclude(config, ledger, through, stored)
    return stored


def _row(
    config: RunConfig, ledger: Ledger, query: Query, answers: Answers, chosen: list[Response], lacks: _Lacks
) -> dict[str, Any]:
    """A query's responses, and every comparison that judges made of two of them."""
    assert config.tap is not None
    stored = answers.responses if config.tap.select.all_responses else chosen
    place = {one.model: at for at, one in enumerate(stored)}
    made = []
    for judge in config.judges:
        for shown in shown_to(config, judge, query.query_id, chosen):
            found = outcome(ledger, compare_request(config, judge, query, shown))
            read = None if found.text is None else parse_eight(found.text, texts_of(config).words)
            if read is None or read.first is None or read.second is None:
                lacks.add(COMPARE, query, found, first=shown[0].model, second=shown[1].model, judge=judge.name)
                continue
            for dimension, one, other in zip(DIMENSIONS, read.first, read.second, strict=True):
                sides = {"first": place[shown[0].model], "second": place[shown[1].model]}
                scores = {"first_score": one, "second_score": other}
                made.append({**sides, "judge": judge.name, "dimension": dimension, **scores, "rationale": found.text})
    responses = [{"model": one.model, "text": one.text} for one in stored]
    return {"responses": responses, "comparisons": made}
