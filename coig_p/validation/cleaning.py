"""A store without what a check calls an error: units are dropped, texts are never edited."""

from __future__ import annotations

import re
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from coig_p._version import __version__
from coig_p.core.atomic import atomic_directory
from coig_p.errors import DataError, UnknownNameError, UsageError
from coig_p.schema import RAW_SCHEMA, UNITS
from coig_p.store.places import check_target
from coig_p.store.store import Store
from coig_p.store.writing import Part, describe_file, write_store
from coig_p.validation import Report, Rule

_PLACE = re.compile(r"responses\[(\d+)\](?:\.scores\[(\d+)\])?|comparisons\[(\d+)\]")


Dropped = dict[str, dict[str, int]]
"""By rule, how many rows, responses, scores and comparisons went."""


@dataclass
class _Condemned:
    """What is dropped of one query, each with the rule that says so."""

    row: str | None = None
    responses: dict[int, str] = field(default_factory=dict)
    scores: dict[tuple[int, int], str] = field(default_factory=dict)
    comparisons: dict[int, str] = field(default_factory=dict)


_NOTHING = _Condemned()


def clean_store(
    store: Store,
    report: Report,
    out: Path,
    *,
    more: Collection[str] = (),
    overwrite: bool = False,
    advance: Callable[[int], None] = lambda queries: None,
    step: str = "clean",
    beside: Mapping[str, pa.Table] | None = None,
) -> tuple[Store, Dropped]:
    """Write a store without the units that errors, and the rules in `more`, name.

    A finding about a query drops its row, one about a response that response, one about a score that
    score. What refers to a dropped response goes with it. Tables in `beside` are written to the new store
    under their names; what was done is in its manifest's options under `step`.

    Returns:
        The new store, and by rule how many rows, responses, scores and comparisons went.

    Raises:
        UsageError: `out` cannot be used, or a rule that finds nothing that could be dropped.
        DataError: nothing would be left.
    """
    check_clean(store, out, report.rules, more, overwrite)
    condemned = _condemned(report, more)
    found = sorted(set(_rules_in(condemned)))
    # The manifest tells of all that went since the import, not of the last cleaning alone.
    earlier = dropped_before(store, step)
    total = {rule: earlier.get(rule) or dict.fromkeys(UNITS, 0) for rule in sorted({*found, *earlier})}
    before = deepcopy(total)
    kept_rows: Counter[tuple[str, str]] = Counter()
    for file in store.data_files():
        ids = pq.read_table(store.path / file.path, columns=["query_id"]).column("query_id").to_pylist()
        kept = sum(condemned.get((str(file.domain), name), _NOTHING).row is None for name in ids)
        kept_rows[str(file.domain), str(file.split)] += kept
    if not sum(kept_rows.values()):
        raise DataError("nothing was written: no query is left")
    with atomic_directory(out) as root:
        parts = []
        for (domain, split), rows in kept_rows.items():
            batches = _kept(store, domain, split, condemned, total, advance)
            if rows:
                parts.append(Part(domain, split, rows, batches))
            else:  # nothing of it is written, but what goes is counted
                deque(batches, maxlen=0)
        # The manifest is written last, and `total` is whole by then.
        cleaned = {"dropped": total, "rules": report.effective_rules()}
        options = {**store.manifest.options, step: cleaned}
        extra = []
        for name, table in (beside or {}).items():
            pq.write_table(table, root / name, compression="zstd")
            extra.append(describe_file(root, name, Path(name).stem, rows=table.num_rows))
        tool = f"coig-p {__version__}"
        manifest = replace(store.manifest, domains=(), files=tuple(extra), tool=tool, options=options)
        write_store(root, parts, manifest)
    return Store.open(out), {
        rule: {unit: number - before[rule][unit] for unit, number in total[rule].items()} for rule in found
    }


def dropped_before(store: Store, step: str) -> dict[str, Any]:
    """What an earlier run of a step counted as dropped, as the store's manifest has it; to be changed freely."""
    told = store.manifest.options.get(step)
    found = told.get("dropped") if isinstance(told, dict) else None
    return deepcopy(found) if isinstance(found, dict) else {}


def check_clean(store: Store, out: Path, rules: Mapping[str, Rule], more: Collection[str], overwrite: bool) -> None:
    """Raise UsageError where `clean_store` could not do what is asked, before anything is read."""
    for rule in more:
        if rule not in rules:
            raise UnknownNameError("rule", rule, rules)
        if rules[rule].over == "totals":
            raise UsageError(f"rule {rule} is about the store as a whole: it names nothing that could be dropped")
    check_target(out, overwrite)
    if out.resolve() == store.path.resolve():
        raise UsageError(f"{out} is the store itself: choose another place")


def _rules_in(condemned: Mapping[Any, _Condemned]) -> Iterator[str]:
    for query in condemned.values():
        yield from filter(None, [query.row])
        for units in (query.responses, query.scores, query.comparisons):
            yield from units.values()


def _condemned(report: Report, more: Collection[str]) -> dict[tuple[str, str], _Condemned]:
    found: dict[tuple[str, str], _Condemned] = defaultdict(_Condemned)
    for finding in report.findings.select(["rule", "severity", "domain", "query_id", "field"]).to_pylist():
        if (finding["severity"] != "error" and finding["rule"] not in more) or finding["query_id"] is None:
            continue
        query = found[finding["domain"], finding["query_id"]]
        place = _PLACE.match(finding["field"] or "")
        if place is None:
            query.row = query.row or finding["rule"]
        elif place[3] is not None:
            query.comparisons.setdefault(int(place[3]), finding["rule"])
        elif place[2] is None:
            query.responses.setdefault(int(place[1]), finding["rule"])
        else:
            query.scores.setdefault((int(place[1]), int(place[2])), finding["rule"])
    return found


def _kept(
    store: Store,
    domain: str,
    split: str,
    condemned: dict[tuple[str, str], _Condemned],
    dropped: Dropped,
    advance: Callable[[int], None],
) -> Iterator[pa.RecordBatch]:
    for batch in store.batches(domain, split):
        advance(batch.num_rows)
        ids = batch.column("query_id").to_pylist()
        touched = [at for at, query_id in enumerate(ids) if (domain, query_id) in condemned]
        if not touched:
            yield batch
            continue
        rows = batch.to_pylist()
        for at in touched:
            rows[at] = _without(rows[at], condemned[domain, ids[at]], dropped)
        left = [row for row in rows if row is not None]
        if left:
            yield pa.RecordBatch.from_pylist(left, schema=RAW_SCHEMA)


def _without(row: dict[str, Any], query: _Condemned, dropped: Dropped) -> dict[str, Any] | None:
    responses, comparisons = row["responses"], row["comparisons"]
    if query.row is not None:
        gone = dropped[query.row]
        gone["rows"] += 1
        gone["responses"] += len(responses)
        gone["scores"] += sum(len(response["scores"]) for response in responses)
        gone["comparisons"] += len(comparisons or ())
        return None
    kept: list[dict[str, Any]] = []
    place: dict[int, int] = {}
    for at, response in enumerate(responses):
        if at in query.responses:
            gone = dropped[query.responses[at]]
            gone["responses"] += 1
            gone["scores"] += len(response["scores"])
            continue
        scores = []
        for nth, score in enumerate(response["scores"]):
            if (at, nth) in query.scores:
                dropped[query.scores[at, nth]]["scores"] += 1
            else:
                scores.append(score)
        place[at] = len(kept)
        kept.append(response | {"scores": scores})
    if comparisons is not None:
        left = []
        for at, comparison in enumerate(comparisons):
            if at in query.comparisons:
                dropped[query.comparisons[at]]["comparisons"] += 1
                continue
            sides = (comparison["first"], comparison["second"])
            gone_side = next((side for side in sides if side not in place), None)
            if gone_side is None:
                left.append(comparison | {"first": place[sides[0]], "second": place[sides[1]]})
            else:
                dropped[query.responses[gone_side]]["comparisons"] += 1
        comparisons = left
    return row | {"responses": kept, "comparisons": comparisons}
