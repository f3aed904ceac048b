"""Do a row's scores, comparisons and models make sense? Rules over the rows of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.pairs.config import PairConfig
from coig_p.pairs.labels import Responses, response_values
from coig_p.schema import SCORE_GRID
from coig_p.store.manifest import Manifest
from coig_p.validation.checks.texts import Index, Texts
from coig_p.validation.rules import row_rule


class Spot(NamedTuple):
    """What a row rule finds fault with: a row, one of its responses, one of that one's scores (or -1).

    Instead of a response it may be one of the row's comparisons.
    """

    row: int
    response: int
    score: int
    words: str
    comparison: int = -1


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
