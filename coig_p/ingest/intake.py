"""Upstream rows on their way into a store: every value checked, everything counted.

Rows are checked one at a time, or a block at once where `coig_p.ingest.bulk` finds nothing unusual in it,
and spooled to disk by domain. Memory grows with the number of queries (an index of ids), not with
their text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa

from coig_p.errors import UnknownNameError, UsageError
from coig_p.ingest.accounting import SHOWN, ImportReport, Problem
from coig_p.ingest.bulk import CleanRows
from coig_p.ingest.fields import FormConfig
from coig_p.ingest.forms import shape
from coig_p.ingest.readers import RawRow, check_encoding
from coig_p.ingest.spool import Spool, digest
from coig_p.ingest.values import Rejected, comparison_at, number_at, shown, text_at
from coig_p.pairs.config import check_threshold
from coig_p.schema import (
    COMPARISON_TYPE,
    OVERALL,
    RESPONSE_TYPE,
    SCORE_TYPE,
    UNITS,
    check_domain,
    check_split,
    domain_problem,
    on_grid,
)

DEFAULT_THRESHOLD = 2.0  # COIG-P, section 3.3
_NO_RESPONSES = "missing. If rows have another shape, name it with --format, or its fields with --map"
_FIELDS = {
    "responses.": frozenset(part.name for part in RESPONSE_TYPE),
    "scores.": frozenset(part.name for part in SCORE_TYPE),
    "comparisons.": frozenset(part.name for part in COMPARISON_TYPE),
}


@dataclass(frozen=True)
class ImportConfig:
    """How upstream rows become a store.

    Attributes:
        domain: the domain of every row; otherwise each row names its own.
        domain_map: new names for the rows' own domains.
        split: the split of every row.
        score_range: lowest and highest score that a judge may give.
        default_threshold: the store's; 2, or 1 where it holds comparisons alone. Must be given
            where the score range is narrower than 2.
        on_error: "fail" writes nothing if anything is wrong; "skip" leaves out the smallest
            unit that is wrong and lists it in rejects.jsonl.
        license: of the sources, for the manifest.
        form: how rows are shaped.
        default_domain: the domain of rows that name none.
        encoding: of text files.
    """

    domain: str | None = None
    domain_map: Mapping[str, str] = field(default_factory=dict)
    split: str = "train"
    score_range: tuple[float, float] = (1.0, 10.0)
    default_threshold: float | None = None
    on_error: str = "fail"
    license: str | None = None
    form: FormConfig = field(default_factory=FormConfig)
    default_domain: str | None = None
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        if self.domain is not None:
            check_domain(self.domain)
            if self.domain_map:
                raise UsageError("give a domain for all rows or a domain map, not both")
        for new in (*self.domain_map.values(), *filter(None, [self.default_domain])):
            check_domain(new)
        check_encoding(self.encoding)
        check_split(self.split)
        low, high = self.score_range
        if not (math.isfinite(low) and math.isfinite(high) and low < high and on_grid(low) and on_grid(high)):
            raise UsageError(f"score range {low:g} {high:g}: give a lower and a higher number with at most 4 decimals")
        if self.default_threshold is None:
            if high - low < DEFAULT_THRESHOLD:
                raise UsageError(
                    f"the score range {low:g} to {high:g} is narrower than the default threshold of "
                    f"{DEFAULT_THRESHOLD:g}: give --default-threshold"
                )
        elif check_threshold(self.default_threshold) > high - low:
            raise UsageError(
                f"default threshold {self.default_threshold:g}: no two scores from {low:g} to {high:g} are so far apart"
            )
        if self.on_error not in ("fail", "skip"):
            raise UnknownNameError("on_error", self.on_error, ("fail", "skip"))


class Row(NamedTuple):
    """A row on its way through the checks.

    Attributes:
        value: in the nested shape; `raw` is as the file has it.
        merge_same: whether a response with model and text of an earlier one is that one, as where
            each row is one score or one pair.
    """

    file: str
    line: int
    value: Any
    problem: tuple[str, str] | None
    raw: Any
    upstream: Callable[[str], str]
    ignored: Collection[str]
    merge_same: bool


def shaped(row: RawRow, form: str, config: FormConfig) -> Row:
    """A row of a file in the nested shape, with what says where its values came from."""
    if row.problem is not None or not isinstance(row.value, dict):
        return Row(
            file=row.file,
            line=row.line,
            value=row.value,
            problem=row.problem,
            raw=row.value,
            upstream=lambda field: field,
            ignored=(),
            merge_same=False,
        )
    found = shape(row.value, form, config, textual=row.textual)
    return Row(
        file=row.file,
        line=row.line,
        value=found.value,
        problem=None,
        raw=row.value,
        upstream=found.upstream,
        ignored=found.ignored,
        merge_same=form != "nested",
    )


class _Seen(NamedTuple):
    """What must be remembered of a query to judge later rows of the same query_id."""

    text: bytes
    domain: str
    place: int
    models: tuple[str, ...]


class Intake:
    """Takes rows in, one after another; `close` gives what was right in them, by domain."""

    def __init__(
        self, config: ImportConfig, report: ImportReport, rejects: IO[str], names: Mapping[str, str], folder: Path
    ) -> None:
        self.config, self.report, self.rejects, self.names, self.folder = config, report, rejects, names, folder
        self.seen: dict[str, _Seen] = {}
        self.answers: dict[str, dict[str | bytes, bytes]] = {}  # of queries whose rows share responses
        self.model_sets: dict[tuple[str, ...], tuple[str, ...]] = {}
        self.spools: dict[str, Spool] = {}

    def add(self, row: Row) -> None:
        """Check one row and spool what is right in it."""
        counts = self.report.counts
        held = _held(row.value) if row.problem is None else dict.fromkeys(UNITS, 0)
        counts["rows"]["read"] += 1
        for unit in UNITS[1:]:
            counts[unit]["read"] += held[unit]
        try:
            if row.problem is not None:
                raise Rejected("", *row.problem)
            query = self._query(row.value)
        except Rejected as rejected:
            self._reject(row, rejected, "row", row.raw, held | {"rows": 1})
            return
        query_id, domain = query["query_id"], query["domain"]
        seen = self.seen.get(query_id)
        models = set(seen.models) if seen else set()
        known = self.answers.setdefault(query_id, {}) if row.merge_same else None
        query["responses"], kept_as, merged = self._responses(row, models, known)
        query["comparisons"] = self._comparisons(row, kept_as)
        named = tuple(sorted(models))
        spool = self._spool(domain)
        place = seen.place if seen else spool.queries
        # Most queries are answered by the same models: share one tuple among them.
        self.seen[query_id] = _Seen(
            text=digest(query["query"]),
            domain=domain,
            place=place,
            models=self.model_sets.setdefault(named, named),
        )
        spool.add(place, query, merge_same=row.merge_same)
        counts["rows"]["merged" if seen else "stored"] += 1
        counts["responses"]["stored"] += len(kept_as) - merged
        counts["responses"]["merged"] += merged
        counts["scores"]["stored"] += sum(len(response["scores"]) for response in query["responses"])
        counts["comparisons"]["stored"] += len(query["comparisons"] or ())
        for name in row.ignored:
            self.report.ignored_fields[name] += 1

    def add_clean(self, rows: CleanRows) -> bool:
        """Spool rows whose values are right, at once; False where `add` must look at each.

        That is where a query was there before, or a domain is wrong.
        """
        batch, models = rows.batch, rows.models
        digests = [digest(query) for query in batch.column("query").to_pylist()]
        given = batch.column("query_id").to_pylist()
        ids = [name or f"q-{text.hex()}" for name, text in zip(given, digests, strict=True)]
        if len(set(ids)) < len(ids) or not self.seen.keys().isdisjoint(ids):
            return False
        named = batch.column("domain").to_pylist()
        try:
            domain_of = {name: self._domain({"domain": name}) for name in dict.fromkeys(named)}
        except Rejected:
            return False
        domains = [domain_of[name] for name in named]
        for column, values in (("query_id", ids), ("domain", domains)):
            at = batch.schema.get_field_index(column)
            batch = batch.set_column(at, batch.schema.field(at), pa.array(values, pa.string()))
        for domain in dict.fromkeys(domains):
            spool = self._spool(domain)
            of_domain = [at for at, name in enumerate(domains) if name == domain]
            for place, at in enumerate(of_domain, spool.queries):
                answered = self.model_sets.setdefault(models[at], models[at])
                self.seen[ids[at]] = _Seen(text=digests[at], domain=domain, place=place, models=answered)
            spool.add_batch(batch if len(of_domain) == len(ids) else batch.take(pa.array(of_domain)))
        responses = batch.column("responses").flatten()
        held = {"rows": len(ids), "responses": len(responses), "scores": len(responses.field("scores").flatten())}
        for unit, number in held.items():
            self.report.counts[unit]["read"] += number
            self.report.counts[unit]["stored"] += number
        return True

    def _spool(self, domain: str) -> Spool:
        if domain not in self.spools:
            self.spools[domain] = Spool(domain, self.folder)
        return self.spools[domain]

    def close(self) -> list[Spool]:
        """The spool of each domain, in order of first appearance."""
        for spool in self.spools.values():
            spool.close()
        return list(self.spools.values())

    def _query(self, value: Any) -> dict[str, Any]:
        """A row's own fields, checked, also against earlier rows of the same query_id."""
        if not isinstance(value, dict):
            raise Rejected("", "not-an-object", f"{shown(value)} is not an object")
        text = text_at(value, "query")
        query_id = value.get("query_id")
        if query_id is None or query_id == "":
            query_id = f"q-{digest(text).hex()}"
        elif isinstance(query_id, int) and not isinstance(query_id, bool):
            query_id = str(query_id)
        else:
            query_id = text_at(value, "query_id")
        domain = self._domain(value)
        source = None if value.get("source") is None else text_at(value, "source")
        if not isinstance(value.get("responses"), list):
            if "responses" not in value:
                raise Rejected("responses", "missing", _NO_RESPONSES)
            raise Rejected("responses", "not-a-list", "not a list of responses")
        if not isinstance(value.get("comparisons", []), (list, type(None))):
            raise Rejected("comparisons", "not-a-list", "not a list of comparisons")
        seen = self.seen.get(query_id)
        if seen is not None and seen.text != digest(text):
            raise Rejected("query", "two-texts", f"query_id {shown(query_id)} stands for another text further up")
        if seen is not None and seen.domain != domain:
            raise Rejected("domain", "two-domains", f"query_id {shown(query_id)} is in {seen.domain} further up")
        return {"query_id": query_id, "domain": domain, "query": text, "source": source}

    def _domain(self, value: dict[str, Any]) -> str:
        if self.config.domain is not None:
            return self.config.domain
        if value.get("domain") is None:
            if self.config.default_domain is not None:
                return self.config.default_domain
            raise Rejected("domain", "missing", "missing: pass --domain NAME for all rows")
        name = text_at(value, "domain")
        domain = self.config.domain_map.get(name, name)
        problem = domain_problem(domain)
        if problem:
            raise Rejected(
                "domain", "bad-domain", f"{shown(name)}: {problem}. Pass --domain NAME or --domain-map {name}=NAME"
            )
        return domain

    def _responses(
        self, row: Row, models: set[str], known: dict[str | bytes, bytes] | None
    ) -> tuple[list[dict[str, Any]], dict[int, int], int]:
        """The right responses of a row, for each of their old places the new one, and how many of
        them an earlier row, or this one, has already.

        `models` holds who answered this query so far and `known`, where equal responses are one,
        their texts; those of this row are added.
        """
        kept: list[dict[str, Any]] = []
        kept_as: dict[int, int] = {}
        merged = 0
        for at, value in enumerate(row.value["responses"]):
            where = f"responses[{at}]"
            try:
                response = self._response(value, where)
                again = _answered_before(response, where, models, known)
            except Rejected as rejected:
                self._reject(row, rejected, "response", value, {"responses": 1, "scores": _scores_in(value)})
                continue
            for nth, score in enumerate(value.get("scores") or ()):
                try:
                    response["scores"].append(self._score(score, f"{where}.scores[{nth}]"))
                    self._count_ignored("scores.", score)
                except Rejected as rejected:
                    self._reject(row, rejected, "score", score, {"scores": 1})
            if response["model"] is not None:
                models.add(response["model"])
            self._count_ignored("responses.", value)
            merged += again
            own = next((place for place, other in enumerate(kept) if again and _same(other, response)), len(kept))
            kept_as[at] = own
            if own < len(kept):
                kept[own]["scores"] += response["scores"]
            else:
                kept.append(response)
        return kept, kept_as, merged

    def _response(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Rejected(where, "not-an-object", f"{shown(value)} is not an object")
        text = text_at(value, "text", where)
        model = value.get("model")
        if model is not None and not (isinstance(model, str) and not model.strip()):
            model = text_at(value, "model", where)
        else:
            model = None  # named once all responses of the query are known
        if not isinstance(value.get("scores", []), (list, type(None))):
            raise Rejected(f"{where}.scores", "not-a-list", "not a list of scores")
        return {"model": model, "text": text, "scores": []}

    def _score(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Rejected(where, "not-an-object", f"{shown(value)} is not an object")
        judge = text_at(value, "judge", where)
        dimension = OVERALL if value.get("dimension") is None else text_at(value, "dimension", where)
        score = number_at(value, "score", where)
        low, high = self.config.score_range
        if not low <= score <= high:
            raise Rejected(f"{where}.score", "out-of-range", f"{score:g} is not between {low:g} and {high:g}")
        return {"judge": judge, "dimension": dimension, "score": score}

    def _comparisons(self, row: Row, kept_as: dict[int, int]) -> list[dict[str, Any]] | None:
        values = row.value.get("comparisons")
        if values is None:
            return None
        kept = []
        for at, value in enumerate(values):
            try:
                kept.append(comparison_at(value, f"comparisons[{at}]", len(row.value["responses"]), kept_as))
                self._count_ignored("comparisons.", value)
            except Rejected as rejected:
                self._reject(row, rejected, "comparison", value, {"comparisons": 1})
        return kept

    def _count_ignored(self, unit: str, value: dict[str, Any]) -> None:
        """Count the fields of a kept value that a store has no place for."""
        for name in value.keys() - _FIELDS[unit]:
            self.report.ignored_fields[f"{unit}{name}"] += 1

    def _reject(self, row: Row, rejected: Rejected, unit: str, value: Any, lost: Mapping[str, int]) -> None:
        problem = Problem(
            file=row.file,
            line=row.line,
            field=row.upstream(rejected.field),
            reason=rejected.reason,
            message=rejected.message,
            unit=unit,
        )
        self.report.reasons[rejected.reason] += 1
        if len(self.report.problems) < SHOWN:
            self.report.problems.append(problem)
        for name, number in lost.items():
            self.report.counts[name]["rejected"] += number
        if self.config.on_error == "skip":
            line = problem._asdict() | {"file": self.names[row.file], "lost": dict(lost), "value": value}
            # ASCII: a rejected value may hold lone surrogates, which UTF-8 cannot.
            self.rejects.write(json.dumps(line, default=str) + "\n")


def _answered_before(
    response: dict[str, Any], where: str, models: set[str], known: dict[str | bytes, bytes] | None
) -> bool:
    """Whether this very response is known already; a second one of the same model is refused."""
    model = response["model"]
    if known is None:
        if model in models:
            raise Rejected(f"{where}.model", "duplicate-model", f"{shown(model)} answered this query before")
        return False
    text = digest(response["text"])
    key = text if model is None else model
    if known.get(key) == text:
        return True
    if model in models:
        raise Rejected(f"{where}.model", "duplicate-model", f"{shown(model)} answered this query with another text")
    known[key] = text
    return False


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return (one["model"], one["text"]) == (other["model"], other["text"])


def _held(value: Any) -> dict[str, int]:
    """How many responses, scores and comparisons a row holds, right or wrong."""
    responses = value.get("responses") if isinstance(value, dict) else None
    comparisons = value.get("comparisons") if isinstance(value, dict) else None
    responses = responses if isinstance(responses, list) else []
    return {
        "rows": 0,
        "responses": len(responses),
        "scores": sum(map(_scores_in, responses)),
        "comparisons": len(comparisons) if isinstance(comparisons, list) else 0,
    }


def _scores_in(response: Any) -> int:
    scores = response.get("scores") if isinstance(response, dict) else None
    return len(scores) if isinstance(scores, list) else 0
