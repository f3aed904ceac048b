"""Is a store whole, and do its scores and pairs make sense? Rules over rows, and over totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import find_pairs_of
from coig_p.pairs.labels import Responses, response_values
from coig_p.schema import SCORE_GRID
from coig_p.store.manifest import Manifest
from coig_p.validation.checks.texts import Index, Texts
from coig_p.validation.rules import row_rule, total_rule


class Spot(NamedTuple):
    """What a row rule finds fault with: a row, one of its responses, one of that one's scores (or -1).

    Instead of a response it may be one of the row's comparisons.
    """

    row: int
    response: int
    score: int
    words: str
    comparison: int = -1


class Remark(NamedTuple):
    """What a total rule says of a store, a domain, a model or a judge ("" where it is none)."""

    domain: str
    model: str
    judge: str
    words: str


class Rows:
    """A batch of R responses and S scores, as row rules and totals look at it."""

    def __init__(self, batch: pa.RecordBatch, texts: Texts, manifest: Manifest) -> None:
        self.batch, self.texts, self.manifest = batch, texts, manifest
        self.responses = Responses.of(batch)
        self.place = texts.response[texts.queries :]  # R; of each response in its row
        lists = batch.column("comparisons")
        self.comparisons: pa.StructArray = lists.flatten()
        held = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        self.comparison_row = np.repeat(np.arange(batch.num_rows), held)  # C; of each comparison
        self.comparison_place = np.arange(len(self.comparisons)) - np.repeat(np.cumsum(held) - held, held)

    def sides(self) -> tuple[Index, Index]:
        """C x 2: the places in its row that a comparison names (-1 for null), and which are right."""
        places = np.stack(
            [
                pc.fill_null(self.comparisons.field(name), -1).to_numpy(zero_copy_only=False).astype(np.int64)
                for name in ("first", "second")
            ],
            axis=1,
        )
        size = np.bincount(self.responses.query, minlength=self.batch.num_rows)[self.comparison_row]
        return places, (places >= 0) & (places < size[:, None])

    def spot_score(self, score: int, words: str) -> Spot:
        """The Spot of one of S."""
        of = int(self.responses.score_of[score])
        first = int(np.searchsorted(self.responses.score_of, of))
        return Spot(int(self.responses.query[of]), int(self.place[of]), score - first, words)

    def spot_response(self, response: int, words: str) -> Spot:
        """The Spot of one of R."""
        return Spot(int(self.responses.query[response]), int(self.place[response]), -1, words)


@row_rule("score-range", "error", "score", "a score outside the store's range, or none at all")
def score_range(rows: Rows) -> Iterator[Spot]:
    """Not finite, or beyond the manifest's score_range."""
    low, high = rows.manifest.score_range
    score = rows.responses.score
    for at in np.flatnonzero(~((score >= low) & (score <= high))):
        yield rows.spot_score(int(at), f"{score[at]:g} is not between {low:g} and {high:g}")


@row_rule("score-grid", "error", "score", "a score with more than 4 decimals")
def score_grid(rows: Rows) -> Iterator[Spot]:
    """Such scores cannot be compared exactly."""
    score = rows.responses.score
    finite = np.where(np.isfinite(score), score, 0)
    for at in np.flatnonzero(np.rint(finite * SCORE_GRID) / SCORE_GRID != finite):
        yield rows.spot_score(int(at), repr(float(score[at])))


@row_rule("no-judge", "error", "score", "a score without a judge")
def no_judge(rows: Rows) -> Iterator[Spot]:
    """Null or blank."""
    names = rows.responses.judge
    for at in np.flatnonzero(names.each([not name.strip() for name in names.names], True, bool)):
        yield rows.spot_score(int(at), "no judge")


@row_rule("comparison", "error", "score", "a comparison of nothing, or without a result")
def comparison(rows: Rows) -> Iterator[Spot]:
    """Responses that are not there or one and the same, a score that is not a number, no judge."""
    if not len(rows.comparisons):
        return
    places, right = rows.sides()
    judges = rows.comparisons.field("judge").to_pylist()
    scores = [
        pc.fill_null(rows.comparisons.field(name), float("nan")).to_numpy(zero_copy_only=False)
        for name in ("first_score", "second_score")
    ]
    wrong = ~right.all(axis=1) | (places[:, 0] == places[:, 1])
    wrong |= ~(np.isfinite(scores[0]) & np.isfinite(scores[1]))
    wrong |= np.array([judge is None or not judge.strip() for judge in judges], bool)
    for at in np.flatnonzero(wrong):
        first, second = places[at]
        words = f"{scores[0][at]:g} for response {first}, {scores[1][at]:g} for {second}, by {judges[at]!r}"
        yield Spot(int(rows.comparison_row[at]), -1, -1, words, int(rows.comparison_place[at]))


@row_rule("unscored", "warning", "response", "a response that nobody judged")
def unscored(rows: Rows) -> Iterator[Spot]:
    """Neither a score nor a comparison: it is in no pair."""
    judged = np.zeros(len(rows.responses.query), bool)
    judged[rows.responses.score_of] = True
    places, right = rows.sides()
    begin = np.searchsorted(rows.responses.query, rows.comparison_row)
    judged[(begin[:, None] + places)[right]] = True
    for at in np.flatnonzero(~judged):
        yield rows.spot_response(int(at), "no score and no comparison")


@row_rule("self-judged", "warning", "score", "a model that judged its own response")
def self_judged(rows: Rows) -> Iterator[Spot]:
    """Equal after strip and lower; left out of pairs unless include_self_judged."""
    found = rows.responses
    judges = [name.strip().lower() for name in found.judge.names]
    models = [name.strip().lower() for name in found.model.names]
    judge = found.judge.each(judges, "", object)
    model = found.model.each(models, "\0", object)[found.score_of]
    for at in np.flatnonzero(judge == model):
        yield rows.spot_score(int(at), f"judged by {found.judge.names[found.judge.code[at]]}")


@row_rule("no-model", "error", "response", "a response without a model")
def no_model(rows: Rows) -> Iterator[Spot]:
    """Null or blank."""
    names = rows.responses.model
    blank = names.each([not name.strip() for name in names.names], True, bool)
    for at in np.flatnonzero(blank):
        yield rows.spot_response(int(at), "no model")


@row_rule("model-twice", "error", "response", "a model that answered a query twice")
def model_twice(rows: Rows) -> Iterator[Spot]:
    """Every response of a model but its first."""
    names = rows.responses.model
    key = rows.responses.query * (len(names.names) + 1) + names.code
    first = np.zeros(len(key), bool)
    first[np.unique(key, return_index=True)[1]] = True
    for at in np.flatnonzero(~first & (names.code >= 0)):
        yield rows.spot_response(int(at), f"{names.names[names.code[at]]} answered before")


@row_rule("too-few-responses", "metric", "row", "a query that can give no pair", least=2)
def too_few_responses(rows: Rows, least: float) -> Iterator[Spot]:
    """Fewer than `least` responses."""
    number = np.bincount(rows.responses.query, minlength=rows.batch.num_rows)
    for row in np.flatnonzero(number < least):
        yield Spot(int(row), -1, -1, f"{number[row]} responses")


@row_rule("same-text", "metric", "row", "one text given by several models")
def same_text(rows: Rows) -> Iterator[Spot]:
    """Every response whose text an earlier one of the query has; the two are never a pair."""
    for at, first in _repeated(rows):
        yield rows.spot_response(at, f"the text of response {int(rows.place[first])}")


@row_rule("score-conflict", "warning", "row", "one text scored far apart within a query", apart=2)
def score_conflict(rows: Rows, apart: float) -> Iterator[Spot]:
    """Equal texts whose mean scores differ by `apart` or more: what do the scores measure?"""
    values, scale, scored = response_values(rows.responses, PairConfig(threshold=0, include_self_judged=True))
    for at, first in _repeated(rows):
        if scored[at] and scored[first]:
            margin = abs(int(values[at]) - int(values[first])) / scale
            if margin >= apart:
                yield rows.spot_response(at, f"{margin:g} from response {int(rows.place[first])} with the same text")


def _repeated(rows: Rows) -> Iterator[tuple[int, int]]:
    """Responses whose text stands in their query before, each with the first that has it."""
    code = rows.responses.text.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    query = rows.responses.query
    order = np.lexsort((code, query))
    same = np.zeros(len(order), bool)
    same[1:] = (code[order][1:] == code[order][:-1]) & (query[order][1:] == query[order][:-1])
    first = np.maximum.accumulate(np.where(same, 0, np.arange(len(order)))) if len(order) else order
    pairs = sorted((int(order[at]), int(order[first[at]])) for at in np.flatnonzero(same))
    yield from pairs


# ---------------------------------------------------------------------------------------------
# Totals


@dataclass
class Totals:
    """What is counted of a store while it is read; sums of batches, in whatever order.

    Attributes:
        counts: by kind, domain and name, for instance ("won", "math", "model-a").
        ids: query_ids.
        problems: what `Store.verify` found.
    """

    manifest: Manifest
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    ids: list[pa.StringArray] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def observe(self, rows: Rows) -> None:
        """Count a batch of one domain."""
        batch, found = rows.batch, rows.responses
        domain = str(batch.column("domain")[0].as_py()) if batch.num_rows else ""
        count = self.counts
        self.ids.append(batch.column("query_id"))
        count["rows", domain, ""] += batch.num_rows
        count["responses", domain, ""] += len(found.query)
        count["scores", domain, ""] += len(found.score)
        comparisons = batch.column("comparisons").flatten()
        count["comparisons", domain, ""] += len(comparisons)
        _tally(count, "model", domain, found.model_column)
        for judges in (
            pa.array(found.judge.each(found.judge.names, None, object), pa.string()),
            comparisons.field("judge"),
        ):
            _tally(count, "judge", domain, judges)
        config = PairConfig(threshold=self.manifest.default_threshold)
        pairs = find_pairs_of(found, batch, config)
        size = rows.texts.sizes[rows.texts.queries :]
        count["pairs", domain, ""] += len(pairs.query)
        count["paired", domain, ""] += len(np.unique(pairs.query))
        count["longer", domain, ""] += int((size[pairs.chosen] > size[pairs.rejected]).sum())
        count["as long", domain, ""] += int((size[pairs.chosen] == size[pairs.rejected]).sum())
        _tally(count, "won", domain, found.model_column.take(pa.array(pairs.chosen)))
        _tally(count, "lost", domain, found.model_column.take(pa.array(pairs.rejected)))
        values, number = np.unique(np.round(pairs.margin, 4), return_counts=True)
        for value, times in zip(values.tolist(), number.tolist(), strict=True):
            count["margin", domain, f"{value:g}"] += times
        values, _, scored = response_values(found, config)
        query = found.query[scored]
        count["comparable", domain, ""] += _twos(np.unique(query, return_counts=True)[1])
        alike = np.stack([query, values[scored]]) if values.dtype != object else None
        if alike is not None:
            count["tied", domain, ""] += _twos(np.unique(alike, axis=1, return_counts=True)[1])
        else:
            count["tied", domain, ""] += _twos(
                np.array(list(Counter(zip(query.tolist(), values[scored].tolist(), strict=True)).values()), np.int64)
            )

    def add(self, other: Totals) -> None:
        """Take in what was counted elsewhere."""
        self.counts.update(other.counts)
        self.ids += other.ids

    def of(self, kind: str, domain: str | None = None) -> Counter[str]:
        """Counts of a kind by name, in one domain or all."""
        found: Counter[str] = Counter()
        for (what, where, name), number in self.counts.items():
            if what == kind and domain in (None, where):
                found[name] += number
        return found

    def total(self, kind: str, domain: str) -> int:
        """The count of a kind without names in a domain."""
        return self.counts[kind, domain, ""]

    @property
    def domains(self) -> list[str]:
        """Those that were read."""
        return sorted({domain for kind, domain, _ in self.counts if kind == "rows"})


def _tally(counts: Counter[tuple[str, str, str]], kind: str, domain: str, names: pa.StringArray) -> None:
    for found in pc.value_counts(names).to_pylist():
        counts[kind, domain, str(found["values"])] += found["counts"]


def _twos(sizes: np.ndarray[Any, np.dtype[np.int64]]) -> int:
    return int((sizes * (sizes - 1) // 2).sum())


@total_rule("files", "error", "store", "a file that is not as the manifest says")
def files(totals: Totals) -> Iterator[Remark]:
    """Missing, changed, or not listed: as `coigp verify`."""
    for problem in totals.problems:
        yield Remark("", "", "", problem)


@total_rule("manifest-counts", "error", "store", "rows that do not add up to what the manifest says")
def manifest_counts(totals: Totals) -> Iterator[Remark]:
    """Rows, responses, scores and comparisons by domain."""
    for domain in totals.domains:
        for kind in ("rows", "responses", "scores", "comparisons"):
            said = sum(getattr(file, kind) or 0 for file in totals.manifest.data_files(domain))
            found = totals.total(kind, domain)
            if said != found:
                yield Remark(domain, "", "", f"{found} {kind}, {said} in the manifest")


@total_rule("query-id-twice", "error", "store", "two queries with one query_id")
def query_id_twice(totals: Totals) -> Iterator[Remark]:
    """Every query_id that stands more than once in the store."""
    ids = pa.chunked_array(totals.ids, pa.string())
    for found in pc.value_counts(ids).to_pylist() if len(ids) else ():
        if found["counts"] > 1:
            yield Remark("", "", "", f"{found['values']} stands {found['counts']} times")


@total_rule("rare-model", "warning", "store", "a model with very few responses", least=10)
def rare_model(totals: Totals, least: float) -> Iterator[Remark]:
    """Fewer than `least` in the whole store."""
    for name, number in sorted(totals.of("model").items()):
        if number < least:
            yield Remark("", name, "", f"{number} responses")


@total_rule("rare-judge", "warning", "store", "a judge with very few scores", least=10)
def rare_judge(totals: Totals, least: float) -> Iterator[Remark]:
    """Fewer than `least` in the whole store."""
    for name, number in sorted(totals.of("judge").items()):
        if number < least:
            yield Remark("", "", name, f"{number} judgements")


@total_rule("rare-domain", "warning", "store", "a domain with very few queries", share=0.01)
def rare_domain(totals: Totals, share: float) -> Iterator[Remark]:
    """Less than `share` of the queries."""
    whole = sum(totals.total("rows", domain) for domain in totals.domains)
    for domain in totals.domains:
        number = totals.total("rows", domain)
        if number < share * whole:
            yield Remark(domain, "", "", f"{number} of {whole} queries")


@total_rule("no-pairs", "warning", "pair", "a domain without a pair at the default threshold")
def no_pairs(totals: Totals) -> Iterator[Remark]:
    """Its config would load empty."""
    for domain in totals.domains:
        if not totals.total("pairs", domain):
            yield Remark(domain, "", "", f"none at threshold {totals.manifest.default_threshold:g}")


@total_rule("length-bias", "warning", "pair", "the longer response is chosen far too often", share=0.7)
def length_bias(totals: Totals, share: float) -> Iterator[Remark]:
    """More than `share` of a domain's pairs of unequal length; 57 to 59% is usual."""
    for domain in totals.domains:
        unequal = totals.total("pairs", domain) - totals.total("as long", domain)
        if unequal and totals.total("longer", domain) > share * unequal:
            yield Remark(domain, "", "", f"{totals.total('longer', domain) / unequal:.1%} of {unequal} pairs")


@total_rule("one-sided-model", "warning", "pair", "a model that always wins or always loses", least=30)
def one_sided_model(totals: Totals, least: float) -> Iterator[Remark]:
    """In at least `least` pairs at the default threshold."""
    won, lost = totals.of("won"), totals.of("lost")
    for model in sorted(won.keys() | lost.keys()):
        if won[model] + lost[model] >= least and not (won[model] and lost[model]):
            yield Remark("", model, "", f"{'wins' if won[model] else 'loses'} all of {won[model] + lost[model]} pairs")


@total_rule("ties", "metric", "pair", "how many pairs of responses are scored alike")
def ties(totals: Totals) -> Iterator[Remark]:
    """Share of two-combinations of scored responses with equal means."""
    for domain in totals.domains:
        comparable = totals.total("comparable", domain)
        if comparable:
            yield Remark(domain, "", "", f"{totals.total('tied', domain) / comparable:.1%} of {comparable}")


@total_rule("pairs-per-query", "metric", "pair", "how many pairs a query gives at the default threshold")
def pairs_per_query(totals: Totals) -> Iterator[Remark]:
    """Mean over all queries, and how many give none."""
    for domain in totals.domains:
        rows, pairs = totals.total("rows", domain), totals.total("pairs", domain)
        none = rows - totals.total("paired", domain)
        yield Remark(domain, "", "", f"{pairs / rows:.2f} pairs a query; {none} of {rows} queries give none")


@total_rule("margins", "metric", "pair", "how far apart chosen and rejected are scored")
def margins(totals: Totals) -> Iterable[Remark]:
    """Quartiles of the margin at the default threshold."""
    for domain in totals.domains:
        found = sorted((float(value), number) for value, number in totals.of("margin", domain).items())
        if not found:
            continue
        values, numbers = zip(*found, strict=True)
        ends = np.cumsum(numbers)
        at = [values[int(np.searchsorted(ends, share * ends[-1]))] for share in (0.25, 0.5, 0.75)]
        yield Remark(domain, "", "", "quartiles " + ", ".join(f"{value:g}" for value in at))
