"""Upstream rows on their way into a store: every value checked, everything counted.

Rows are checked one at a time, or a block at once where `coig_p.ingest.bulk` finds nothing unusual in it,
and spooled to disk by domain. Rows of one query become one when all are there (`coig_p.ingest.merge`). Memory
grows with the number of queries (an index of ids), not with their text.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from coig_p.core.text import counted
from coig_p.ingest.accounting import (
    SHOWN,
    ImportReport,
    Problem,
    is_missing_comparison,
    is_missing_score,
    scores_in,
    units_in,
)
from coig_p.ingest.bulk import CleanRows
from coig_p.ingest.config import SCORE_RANGE, ImportConfig
from coig_p.ingest.keyed import Keyed, Queries, Waiting, derived_id, one_response
from coig_p.ingest.media import is_media
from coig_p.ingest.merge import Origin
from coig_p.ingest.row import Row
from coig_p.ingest.spool import Spool
from coig_p.ingest.unread import Rest
from coig_p.ingest.values import (
    OF_EQUAL_TEXTS,
    OfScores,
    Rejected,
    answer_at,
    comparison_at,
    digest,
    extra_at,
    identity_of,
    is_missing,
    is_off_grid,
    json_at,
    judge_at,
    named,
    number_at,
    optional_text,
    query_id_at,
    said_at,
    sample_at,
    shown,
    text_at,
)
from coig_p.schema import OVERALL, UNITS, domain_problem

__all__ = ["ImportConfig", "Intake"]

_NO_RESPONSES = "missing. If rows have another shape, name it with --format, or its fields with --map"


class _Seen(NamedTuple):
    """What must be remembered of a query to judge later rows of the same query_id."""

    identity: bytes
    without_tools: bytes
    domain: str
    place: int


class _Answered(NamedTuple):
    """Which response a row of scores means that names the row of it."""

    query_id: str
    model: str | None
    text: bytes


class Intake:
    """Takes rows in, one after another; `close` gives what was right in them, by domain."""

    def __init__(
        self, config: ImportConfig, report: ImportReport, rejects: IO[str], names: Mapping[str, str], folder: Path
    ) -> None:
        self.config, self.report, self.rejects, self.names, self.folder = config, report, rejects, names, folder
        self.score_range = config.score_range or SCORE_RANGE
        self.rest = Rest(config.form, report)
        self.seen: dict[str, _Seen] = {}
        self.spools: dict[str, Spool] = {}
        self.keyed = Keyed(folder)
        self.row_ids: dict[str, _Answered | None] = {}  # None: of several rows
        self.named: set[str] = set()  # domains, as rows call them
        self.written: tuple[str, int] | None = None  # of which row the rejects have the whole already

    def add(self, row: Row) -> None:
        """Check one row and spool what is right in it."""
        counts = self.report.counts
        keyed = row.problem is None and isinstance(row.value, dict) and row.value.get("keyed") is True
        held = dict.fromkeys(UNITS, 0) if row.problem is not None else units_in(row.value, keyed)
        counts["rows"]["read"] += 1
        for unit in UNITS[1:]:
            counts[unit]["read"] += held[unit]
        try:
            if row.problem is not None:
                raise row.problem
            if keyed:
                self._add_keyed(row)
                return
            query, identity, without_tools = self._query(row)
        except Rejected as rejected:
            self._reject(row, rejected, "row", row.raw, held | {"rows": 1})
            return
        responses, kept_as, sampled, lost = self._responses(row)
        query["responses"], query["comparisons"] = responses, self._comparisons(row, kept_as)
        seen = self.seen.get(query["query_id"])
        spool = self._spool(query["domain"])
        if seen is None:
            seen = self.seen[query["query_id"]] = _Seen(identity, without_tools, query["domain"], spool.queries)
            counts["rows"]["stored"] += 1
        else:
            counts["rows"]["merged"] += 1
        models = {response["model"] for response in responses}
        plain = len(models) == len(responses) and None not in models
        origin = self._origin(row, sampled, responses, lost=lost) if sampled or lost else None
        spool.add(seen.place, query, origin, plain=plain)
        if (row_id := named(row.value.get("row_id"))) is not None and responses:
            (response,) = responses
            answered = _Answered(query["query_id"], response["model"], digest(response["text"]))
            self.row_ids[str(row_id)] = None if str(row_id) in self.row_ids else answered
        counts["responses"]["stored"] += len(responses)
        counts["scores"]["stored"] += sum(len(response["scores"]) for response in responses)
        counts["comparisons"]["stored"] += len(query["comparisons"] or ())
        self.rest.count(row)

    def add_clean(self, rows: CleanRows) -> bool:
        """Spool rows whose values are right, at once; False, and nothing is done, where `add` must look at each.

        That is where a query_id stands for two queries or in two domains, or a domain is wrong.
        """
        ids, known, named = rows.asked()
        try:
            domain_of = {name: self._domain({"domain": name}) for name in dict.fromkeys(named)}
        except Rejected:
            return False
        domains = [domain_of[name] for name in named]
        new: dict[str, _Seen] = {}
        places: dict[str, list[int]] = {domain: [] for domain in domains}
        following = {domain: self.spools[domain].queries if domain in self.spools else 0 for domain in places}
        for query_id, identity, domain in zip(ids, known, domains, strict=True):
            seen = self.seen.get(query_id) or new.get(query_id)
            if seen is None:
                seen = new[query_id] = _Seen(identity, identity, domain, following[domain])  # none has tools
                following[domain] += 1
            elif seen.identity != identity or seen.domain != domain:
                return False
            places[domain].append(seen.place)
        self.seen |= new
        for domain, batch in rows.parts(ids, domains):
            self._spool(domain).add_batch(batch, places[domain], plain=rows.plain())
        counts = self.report.counts
        for unit, number in rows.held().items():
            counts[unit]["read"] += number
            counts[unit]["stored"] += number
        counts["rows"]["stored"] -= len(ids) - len(new)
        counts["rows"]["merged"] += len(ids) - len(new)
        self.report.verdicts += rows.held()["comparisons"]
        if (extremes := rows.extremes()) is not None:
            self.report.saw_scores(*extremes, rows.judge())
        return True

    def _spool(self, domain: str) -> Spool:
        if domain not in self.spools:
            self.spools[domain] = Spool(domain, self.folder)
        return self.spools[domain]

    def close(self) -> list[Spool]:
        """The spool of each domain, in order of first appearance, with all that belongs together in one row."""
        self._place_keyed()
        merged: Counter[str] = Counter()
        for spool in self.spools.values():
            spool.close(self._refuse_late, merged)
        for unit in ("responses", "comparisons"):
            self.report.counts[unit]["stored"] -= merged[unit]
            self.report.counts[unit]["merged"] += merged[unit]
        if several := merged["unnamed judges"]:
            self.report.notes.append(
                f"{counted(several, 'response')} {'has' if several == 1 else 'have'} several scores of a judge that "
                "nobody names: if files are of a judge each, name it with --judge FILE=NAME"
            )
        if opposed := merged["opposed"]:
            self.report.opposed = opposed
        for name, number in merged.items():
            if name.startswith("kept ") and number:
                self.report.differing[name.removeprefix("kept ")] += number
        return list(self.spools.values())

    def _query(self, row: Row) -> tuple[dict[str, Any], bytes, bytes]:
        """A row's own fields, checked, also against earlier rows of the same query_id; what the query is.

        The last is the same without its tools.
        """
        value = row.value
        if not isinstance(value, dict):
            raise Rejected("", "not-an-object", f"{shown(value)} is not an object")
        text, messages, tools = said_at(value)
        identity = identity_of(text, messages, tools)
        without_tools = identity if tools is None else identity_of(text, messages, None)
        query_id = query_id_at(value) or derived_id(identity)
        domain = self._domain(value, row.raw)
        source = None if value.get("source") is None else text_at(value, "source")
        if not isinstance(value.get("responses"), list):
            if "responses" not in value:
                raise Rejected("responses", "missing", _NO_RESPONSES)
            raise Rejected("responses", "not-a-list", "not a list of responses")
        if not isinstance(value.get("comparisons", []), (list, type(None))):
            raise Rejected("comparisons", "not-a-list", "not a list of comparisons")
        if messages and messages[-1]["content"] and messages[-1]["role"] != "tool":  # an answer may repeat a tool's
            for at, response in enumerate(value["responses"]):
                if isinstance(response, dict) and response.get("text") == messages[-1]["content"]:
                    said = "the conversation's last turn is this very response"
                    raise Rejected(f"responses[{at}].text", "ends-in-response", said)
        self.rest.check_systems(value["responses"])
        seen = self.seen.get(query_id)
        if seen is not None and seen.identity != identity:
            what = "another text" if messages is None and tools is None else "another conversation"
            if seen.without_tools == without_tools:
                said = f"query_id {shown(query_id)} stands for the same prompt with other tools, or none, further up"
                raise Rejected("tools", "two-texts", f"{said}: give each its own query_id, or leave out one")
            raise Rejected("query", "two-texts", f"query_id {shown(query_id)} stands for {what} further up")
        if seen is not None and seen.domain != domain:
            raise Rejected("domain", "two-domains", f"query_id {shown(query_id)} is in {seen.domain} further up")
        return (
            {
                "query_id": query_id,
                "domain": domain,
                "query": text,
                "messages": messages,
                "tools": tools,
                "source": source,
                "meta": self.rest.meta(row),
            },
            identity,
            without_tools,
        )

    def _domain(self, value: dict[str, Any], raw: Any = None) -> str:
        if self.config.domain is not None:
            return self.config.domain
        if value.get("domain") is None:
            if self.config.default_domain is not None:
                return self.config.default_domain
            raise Rejected("domain", "missing", self.report.lacks_domain(raw))
        name = text_at(value, "domain")
        self.named.add(name)
        domain = self.config.domain_map.get(name, name)
        problem = domain_problem(domain)
        if problem:
            raise Rejected(
                "domain", "bad-domain", f"{shown(name)}: {problem}. Pass --domain NAME or --domain-map {name}=NAME"
            )
        return domain

    def _responses(self, row: Row) -> tuple[list[dict[str, Any]], dict[int, int], list[int], list[tuple[int, str]]]:
        """The right responses of a row; for each of their old places the new one; which say their sample; the lost.

        For the last see `Origin.lost`.
        """
        kept: list[dict[str, Any]] = []
        kept_as: dict[int, int] = {}
        sampled, lost_before = [], []
        for at, value in enumerate(row.value["responses"]):
            where = f"responses[{at}]"
            try:
                response = self._response(value, where)
            except Rejected as rejected:
                lost = {"responses": 1, "scores": scores_in(value)}
                self._reject(row, rejected, "response", value, lost)
                if isinstance(value, dict) and isinstance(value.get("model"), str) and is_missing(value.get("sample")):
                    lost_before.append((len(kept), value["model"]))
                continue
            response["scores"] = self._scores(row, value, where)
            kept_as[at] = len(kept)
            if response["sample"] is None:
                response["sample"] = 0
            else:
                sampled.append(len(kept))
            kept.append(response)
        return kept, kept_as, sampled, lost_before

    def _response(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Rejected(where, "not-an-object", f"{shown(value)} is not an object")
        extra = extra_at(value.get("extra"), f"{where}.extra")
        text = answer_at(value, "text", where, extra)
        model = optional_text(
            {"model": named(value.get("model"))}, "model", where
        )  # where there is none it is named once all are known
        if not isinstance(value.get("scores", []), (list, type(None))):
            raise Rejected(f"{where}.scores", "not-a-list", "not a list of scores")
        unread = self.rest.unread_in("responses.", value)
        lost = [name for name in unread if is_media(name) and not self.rest.keeps_in("responses.", name)]
        if lost:
            said = f"a store holds text alone: leave such answers out, or read them without it: --drop {lost[0]}"
            raise Rejected(f"{where}.{lost[0]}", "no-place", said)
        own = {name: value[name] for name in unread if self.rest.keeps_in("responses.", name)}
        for name, given in own.items():
            json_at(given, f"{where}.{name}")
        extra = {**(extra or {}), **own}
        return {
            "model": model,
            "sample": sample_at(value, where),
            "text": text,
            "extra": json_at(extra or None, f"{where}.extra"),
            "scores": [],
        }

    def _scores(self, row: Row, value: dict[str, Any], where: str) -> list[dict[str, Any]]:
        """The right scores of a response; one that is null or empty is none."""
        kept = []
        for nth, score in enumerate(value.get("scores") or ()):
            if is_missing_score(score):
                self.report.missing_scores += 1
                continue
            try:
                kept.append(self._score(score, f"{where}.scores[{nth}]"))
            except Rejected as rejected:
                self._reject(row, rejected, "score", score, {"scores": 1})
                continue
            self.report.text_scores += isinstance(score["score"], str) and not row.textual
            self.rest.count_in("scores.", score)
        self.rest.count_in("responses.", value)
        return kept

    def _score(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Rejected(where, "not-an-object", f"{shown(value)} is not an object")
        judge = judge_at(value, where)
        dimension = OVERALL if value.get("dimension") is None else text_at(value, "dimension", where)
        rounding = self.config.form.round_scores
        score = number_at(value, "score", where, rounding=rounding)
        self.report.saw_scores(score, score, judge)
        self._check_range(score, f"{where}.score")
        self.report.rounded += is_off_grid(value["score"])
        return {
            "judge": judge,
            "dimension": dimension,
            "score": score,
            "rationale": optional_text(value, "rationale", where),
        }

    def _check_range(self, score: float, where: str) -> None:
        low, high = self.score_range
        if not low <= score <= high:
            raise Rejected(where, "out-of-range", f"{score:g} is not between {low:g} and {high:g}")

    def _see_compared(self, comparison: Mapping[str, Any], where: str) -> None:
        """Take note of scores that were compared, and hold them to their range where the user gave one."""
        given = self.report.range_is_given
        for name in ("first_score", "second_score"):
            self.report.saw_scores(comparison[name], comparison[name], compared=not given)
            if given:
                self._check_range(comparison[name], f"{where}.{name}")

    def _comparisons(self, row: Row, kept_as: dict[int, int]) -> list[dict[str, Any]] | None:
        values = row.value.get("comparisons")
        if values is None:
            return None
        kept = []
        for at, value in enumerate(values):
            if value is OF_EQUAL_TEXTS:
                self.report.equal_texts += 1
                self.report.counts["comparisons"]["merged"] += 1
                continue
            if is_missing_comparison(value):
                self.report.missing_scores += 1
                continue
            try:
                rounding, number = self.config.form.round_scores, len(row.value["responses"])
                found = comparison_at(value, f"comparisons[{at}]", number, kept_as, rounding=rounding)
                if isinstance(value, OfScores):
                    self._see_compared(found, f"comparisons[{at}]")
                kept.append(found)
                self.report.verdicts += not isinstance(value, OfScores)
                self.report.rounded += any(is_off_grid(value[name]) for name in ("first_score", "second_score"))
                self.rest.count_in("comparisons.", value)
            except Rejected as rejected:
                self._reject(row, rejected, "comparison", value, {"comparisons": 1})
        return kept

    def _add_keyed(self, row: Row) -> None:
        """Check a row of scores; it waits until every row is known."""
        value = row.value
        (response,) = one_response(value)
        has_query = any(value.get(name) for name in ("query", "messages"))
        query_id = query_id_at(value)
        row_id = named(value.get("row_id"))
        if query_id is None and not has_query and row_id is None:
            said = "missing: a row of scores needs the query_id, or the text, of the query whose response they are of"
            raise Rejected("query_id", "missing", said)
        where = "responses[0]"
        wanted: dict[str, Any] = {
            "model": optional_text({"model": named(response.get("model"))}, "model", where),
            "sample": sample_at(response, where),
            "text": optional_text(response, "text", where),
            "extra": None,
        }
        domain = None if self.config.domain is not None or value.get("domain") is None else self._domain(value)
        told = {
            "source": None if value.get("source") is None else text_at(value, "source"),
            "meta": self.rest.meta(row),
        }
        identity = identity_of(*said_at(value)).hex() if has_query else None
        wanted["scores"] = self._scores(row, response, where)
        self.report.counts["rows"]["merged"] += 1
        self.report.counts["scores"]["stored"] += len(wanted["scores"])
        sampled = [0] if wanted["sample"] is not None else []
        origin = self._origin(row, sampled, [], keyed=True)
        wanted["sample"] = wanted["sample"] or 0
        row_key = None if row_id is None else str(row_id)
        self.keyed.add(Waiting(query_id, identity, domain, row_key, told | {"responses": [wanted]}, origin))
        self.rest.count(row)

    def _place_keyed(self) -> None:
        """Lay each row of scores beside the rows of its query."""
        if not self.keyed.rows:
            return
        queries = Queries({query_id: seen.identity for query_id, seen in self.seen.items()})
        for waiting in self.keyed:
            try:
                if waiting.row_id is not None:
                    waiting = self._of_row(waiting, waiting.row_id)
                query_id = queries.find(waiting)
                seen = self.seen[query_id]
                if waiting.domain not in (None, seen.domain):
                    said = f"query_id {shown(query_id)} is in {seen.domain} in another row"
                    raise Rejected("domain", "two-domains", said)
            except Rejected as rejected:
                lost = {"rows": 1, "scores": len(waiting.row["responses"][0]["scores"])}
                self._refuse_late(waiting.origin, rejected, "row", waiting.origin.row, lost)
                continue
            row = dict.fromkeys(("query", "messages", "tools", "comparisons"))
            row |= {"query_id": query_id, "domain": seen.domain} | waiting.row
            self.spools[seen.domain].add(seen.place, row, waiting.origin, plain=False)

    def _of_row(self, waiting: Waiting, row_id: str) -> Waiting:
        """The same row of scores with the query of the row that it names, and the digest of its answer.

        Raises:
            Rejected: no row has this id, or several, or it is of another model's answer.
        """
        found = self.row_ids.get(row_id)
        if found is None:
            several = row_id in self.row_ids
            said = (
                f"{'several rows have' if several else 'no row of any file has'} the id {shown(row_id)} and a response"
            )
            raise Rejected("query_id", "several-partners" if several else "no-partner", said)
        (wanted,) = waiting.row["responses"]
        if wanted["model"] is None:
            wanted["model"] = found.model
        return waiting._replace(query_id=found.query_id, origin=waiting.origin._replace(answer=found.text.hex()))

    def _origin(
        self,
        row: Row,
        sampled: Sequence[int],
        responses: Sequence[Any],
        *,
        keyed: bool = False,
        lost: Sequence[tuple[int, str]] = (),
    ) -> Origin:
        """Where a row came from; of one that is keyed also the row."""
        paths = [f"responses[{at}].sample" for at in range(len(responses))] + ["query_id", "query", "domain"]
        fields = {path: row.upstream(path) for path in paths}
        return Origin(row.file, row.line, fields, list(sampled), keyed, list(lost), row.raw if keyed else None)

    def _refuse_late(self, origin: Origin, rejected: Rejected, unit: str, value: Any, lost: Mapping[str, int]) -> None:
        """Refuse what was taken for right before the other rows of its query were known."""
        row = Row(origin.file, origin.line, None, None, value, origin.upstream, (), False)
        self._reject(row, rejected, unit, value, lost)
        for name, number in lost.items():
            self.report.counts[name]["merged" if name == "rows" else "stored"] -= number

    def _reject(self, row: Row, rejected: Rejected, unit: str, value: Any, lost: Mapping[str, int]) -> None:
        where = row.upstream(rejected.field)
        problem = Problem(row.file, row.line, where, rejected.reason, rejected.message, unit)
        self.report.reasons[rejected.reason] += 1
        if len(self.report.problems) < SHOWN:
            self.report.problems.append(problem)
        for name, number in lost.items():
            self.report.counts[name]["rejected"] += number
        if self.config.on_error == "skip":
            line = problem._asdict() | {"file": self.names[row.file], "lost": dict(lost), "value": value}
            if unit != "row" and self.written != (row.file, row.line):  # the whole row once: it may be long
                line["row"] = row.raw
                self.written = row.file, row.line
            # ASCII: a rejected value may hold lone surrogates, which UTF-8 cannot.
            self.rejects.write(json.dumps(line, default=str) + "\n")
