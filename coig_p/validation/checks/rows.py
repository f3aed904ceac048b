"""Do a row's scores, comparisons and models make sense? Rules over the rows of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.pairs.config import PairConfig
from coig_p.pairs.labels import response_values
from coig_p.schema import SCORE_GRID
from coig_p.stats.batch import Observed
from coig_p.store.conversations import said_beside
from coig_p.store.manifest import Manifest
from coig_p.validation.checks.texts import Index


class Spot(NamedTuple):
    """What is wrong with a row, or with one of its responses, of that one's scores, of its comparisons.

    Attributes:
        row: its place in the batch.
        words: what is wrong, for people.
        response, score, comparison: places in the row, a score's among those of its response; -1 where
            it is not about one.
        message: the turn's place in the row; -1 where it is not about one.
        field: where in the row it is, for people, where these do not say it.
    """

    row: int
    words: str
    response: int = -1
    score: int = -1
    comparison: int = -1
    message: int = -1
    field: str = ""


class BatchView:
    """A batch of R responses, S scores and C comparisons, as rules over rows look at it.

    Attributes:
        responses: its responses and scores side by side.
        place: R; of each response in its row.
        comparisons: C.
        comparison_row, comparison_place: C; the row of each, and its place there.
    """

    def __init__(self, observed: Observed, manifest: Manifest) -> None:
        self.batch, self.manifest = observed.batch, manifest
        self.responses, self.comparisons = observed.responses, observed.comparisons
        query = self.responses.query
        self.place = np.arange(len(query)) - np.searchsorted(query, query)
        lists = self.batch.column("comparisons")
        held = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        self.comparison_row = np.repeat(np.arange(self.batch.num_rows), held)
        self.comparison_place = np.arange(len(self.comparisons)) - np.repeat(np.cumsum(held) - held, held)

    @cached_property
    def judges(self) -> pa.StringArray:
        """S: who gave each score."""
        scores = pc.struct_field(self.batch.column("responses").flatten(), "scores").flatten()
        return pc.struct_field(scores, "judge")

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
        return Spot(int(self.responses.query[of]), words, response=int(self.place[of]), score=score - first)

    def spot_response(self, response: int, words: str) -> Spot:
        """The Spot of one of R."""
        return Spot(int(self.responses.query[response]), words, response=int(self.place[response]))


def score_range(view: BatchView) -> Iterator[Spot]:
    """Not finite, or beyond the manifest's score_range."""
    low, high = view.manifest.score_range
    score = view.responses.score
    for at in np.flatnonzero(~((score >= low) & (score <= high))):
        yield view.spot_score(int(at), f"{score[at]:g} is not between {low:g} and {high:g}")


def score_grid(view: BatchView) -> Iterator[Spot]:
    """Such scores cannot be compared exactly."""
    score = view.responses.score
    finite = np.where(np.isfinite(score), score, 0)
    for at in np.flatnonzero(np.rint(finite * SCORE_GRID) / SCORE_GRID != finite):
        yield view.spot_score(int(at), repr(float(score[at])))


def no_judge(view: BatchView) -> Iterator[Spot]:
    """Null or blank."""
    names = view.responses.judge
    for at in np.flatnonzero(names.each([not name.strip() for name in names.names], True, bool)):
        yield view.spot_score(int(at), "no judge")


def comparison(view: BatchView) -> Iterator[Spot]:
    """Responses that are not there or one and the same, a score that is not a number, no judge."""
    if not len(view.comparisons):
        return
    places, right = view.sides()
    judges = view.comparisons.field("judge").to_pylist()
    scores = [
        pc.fill_null(view.comparisons.field(name), float("nan")).to_numpy(zero_copy_only=False)
        for name in ("first_score", "second_score")
    ]
    wrong = ~right.all(axis=1) | (places[:, 0] == places[:, 1])
    wrong |= ~(np.isfinite(scores[0]) & np.isfinite(scores[1]))
    wrong |= np.array([judge is None or not judge.strip() for judge in judges], bool)
    for at in np.flatnonzero(wrong):
        first, second = places[at]
        words = f"{scores[0][at]:g} for response {first}, {scores[1][at]:g} for {second}, by {judges[at]!r}"
        yield Spot(int(view.comparison_row[at]), words, comparison=int(view.comparison_place[at]))


def unscored(view: BatchView) -> Iterator[Spot]:
    """Neither a score nor a comparison: it is in no pair."""
    judged = np.zeros(len(view.responses.query), bool)
    judged[view.responses.score_of] = True
    places, right = view.sides()
    begin = np.searchsorted(view.responses.query, view.comparison_row)
    judged[(begin[:, None] + places)[right]] = True
    for at in np.flatnonzero(~judged):
        yield view.spot_response(int(at), "no score and no comparison")


def self_judged(view: BatchView) -> Iterator[Spot]:
    """Equal after strip and lower; left out of pairs unless include_self_judged."""
    found = view.responses
    judges = [name.strip().lower() for name in found.judge.names]
    models = [name.strip().lower() for name in found.model.names]
    judge = found.judge.each(judges, "", object)
    model = found.model.each(models, "\0", object)[found.score_of]
    for at in np.flatnonzero(judge == model):
        yield view.spot_score(int(at), f"judged by {found.judge.names[found.judge.code[at]]}")


def no_model(view: BatchView) -> Iterator[Spot]:
    """Null or blank."""
    names = view.responses.model
    blank = names.each([not name.strip() for name in names.names], True, bool)
    for at in np.flatnonzero(blank):
        yield view.spot_response(int(at), "no model")


def model_twice(view: BatchView) -> Iterator[Spot]:
    """Every response of a model but the first that has its `sample`."""
    found, names = view.responses, view.responses.model
    order = np.lexsort((found.sample, names.code, found.query))  # stable: the first comes first
    again = np.zeros(len(order), bool)
    again[order[1:]] = np.logical_and.reduce(
        [key[order][1:] == key[order][:-1] for key in (found.sample, names.code, found.query)]
    )
    for at in np.flatnonzero(again & (names.code >= 0)):
        number = f" as sample {found.sample[at]}" if found.sample[at] else ""
        yield view.spot_response(int(at), f"{names.names[names.code[at]]} answered before{number}")


def too_few_responses(view: BatchView, least: float) -> Iterator[Spot]:
    """Fewer than `least` responses."""
    number = np.bincount(view.responses.query, minlength=view.batch.num_rows)
    for row in np.flatnonzero(number < least):
        yield Spot(int(row), f"{number[row]} responses")


def same_text(view: BatchView) -> Iterator[Spot]:
    """The first response of each model but one to give an answer; the two are never a pair."""
    model = view.responses.model.code
    seen: set[tuple[int, int]] = set()
    for at, first in _repeated(view):
        giver = first, int(model[at])
        if model[at] != model[first] and giver not in seen:
            seen.add(giver)
            yield view.spot_response(at, f"the text of response {int(view.place[first])}")


def score_conflict(view: BatchView, apart: float) -> Iterator[Spot]:
    """Equal answers whose mean scores differ by `apart` or more: what do the scores measure?"""
    values, scale, scored = response_values(view.responses, PairConfig(threshold=0, include_self_judged=True))
    for at, first in _repeated(view):
        if scored[at] and scored[first]:
            margin = abs(int(values[at]) - int(values[first])) / scale
            if margin >= apart:
                yield view.spot_response(at, f"{margin:g} from response {int(view.place[first])} with the same text")


def _repeated(view: BatchView) -> Iterator[tuple[int, int]]:
    """Responses whose answer stands in their query before, each with the first that has it.

    An answer is a text with its calls and its reasoning.
    """
    # Only texts as long as another of the query are looked at: most are not.
    length = pc.fill_null(pc.binary_length(view.responses.text), -1).to_numpy(zero_copy_only=False)
    some = np.sort(np.concatenate(_alike(view.responses.query, length)))
    some = np.unique(some[length[some] >= 0])
    code = view.responses.text.take(pa.array(some)).dictionary_encode().indices.to_numpy(zero_copy_only=False)
    extra = view.responses.extra
    if extra is not None and extra.null_count < len(extra):
        beside = np.array([said_beside(one) for one in extra.take(pa.array(some)).to_pylist()], object)
        code = code * max(len(some), 1) + np.unique(beside, return_inverse=True)[1]
    before, after = _alike(view.responses.query[some], code)
    first = np.arange(len(some))
    for one, other in zip(before.tolist(), after.tolist(), strict=True):
        first[other] = first[one]
    yield from sorted((int(some[at]), int(some[first[at]])) for at in after)


def _alike(query: Index, key: Index) -> tuple[Index, Index]:
    """Neighbours among equal (query, key), each with the one that follows it; ascending within those that are equal."""
    order = np.lexsort((key, query))
    same = np.flatnonzero((key[order][1:] == key[order][:-1]) & (query[order][1:] == query[order][:-1]))
    return order[same], order[same + 1]
