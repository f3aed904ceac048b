"""Designs that cannot tell are refused, each with what to collect; designs beside them are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from planted import Judges, judged_of, rows_of, scores_of

from coig_p.stats.calibrating import fit_scales
from coig_p.stats.design import FEWEST_RESPONSES, DesignError, Refusal, hardly_told, refusals_of, units_of
from coig_p.stats.families import DEFAULT
from coig_p.stats.joint import fit_joint

Q, M = 60, 5
Change = Callable[[Any, Any], None]  # of scores and of which there are, (queries, models, judges)


@dataclass(frozen=True)
class Case:
    """A design that is refused for `kind`, and one near to it that is not.

    Attributes:
        judges: their number.
        no_own: judge `at` is of no model's family.
    """

    name: str
    kind: str
    refused: Change
    near: Change
    judges: int = 3
    no_own: bool = True
    queries: int = Q
    families: dict[str, str] | None = None


def only(*parts: Any) -> Change:
    """Scores in these parts alone, each (queries, models, judge)."""

    def change(_scores: Any, seen: Any) -> None:
        seen[:] = False
        for queries, models, judge in parts:
            seen[queries, models, judge] = True

    return change


def without(*parts: Any) -> Change:
    def change(_scores: Any, seen: Any) -> None:
        for queries, models, judge in parts:
            seen[queries, models, judge] = False

    return change


def one_at_random(number: int) -> Change:
    def change(_scores: Any, seen: Any) -> None:
        rng = np.random.default_rng(0)
        seen[:] = rng.permuted(np.broadcast_to(np.arange(seen.shape[2]) < number, seen.shape).copy(), axis=2)

    return change


def pairs(*edges: tuple[int, int]) -> Change:
    """Model m of each query is scored by the two judges of edge m."""
    return only(*((ALL, m, judge) for m, edge in enumerate(edges) for judge in edge))


def constant(noise: float) -> Change:
    def change(scores: Any, seen: Any) -> None:
        scores[..., 2] = np.round(5 + noise * np.random.default_rng(0).normal(size=scores.shape[:2]), 4)

    return change


def copied(noise: float, times: float = 1, more: float = 0) -> Change:
    def change(scores: Any, seen: Any) -> None:
        rng = np.random.default_rng(0)
        scores[..., 2] = np.round(times * scores[..., 1] + more + noise * rng.normal(size=scores.shape[:2]), 3)

    return change


def nothing(_scores: Any, _seen: Any) -> None:
    pass


ALL = slice(None)
FIRST, LAST = slice(0, 30), slice(30, 60)
CASES = [
    Case("one judge", "judges", only((ALL, ALL, 0)), nothing),
    Case("two judges", "judges", without((ALL, ALL, 2)), without((ALL, slice(1, 5), 2))),
    Case("no scores", "judges", without((ALL, ALL, ALL)), nothing),
    Case("one judge a response", "connected", one_at_random(1), one_at_random(2)),
    Case(
        "two groups of judges",
        "connected",
        only(*((FIRST, ALL, judge) for judge in (0, 1, 2)), *((LAST, ALL, judge) for judge in (3, 4, 5))),
        only(*((slice(0, 40), ALL, judge) for judge in (0, 1, 2)), *((LAST, ALL, judge) for judge in (3, 4, 5))),
        judges=6,
    ),
    Case(
        "two groups that share a few",
        "connected",
        only(
            *((FIRST, ALL, judge) for judge in (0, 1, 2)),
            *((LAST, ALL, judge) for judge in (3, 4, 5)),
            (slice(0, 5), ALL, 3),
        ),
        only(
            *((FIRST, ALL, judge) for judge in (0, 1, 2)),
            *((LAST, ALL, judge) for judge in (3, 4, 5)),
            (slice(0, 6), ALL, 3),
        ),
        judges=6,
    ),
    Case(
        "one judge apart",
        "connected",
        without((FIRST, ALL, 2), (LAST, ALL, 0), (LAST, ALL, 1)),
        without((FIRST, ALL, 2)),
    ),
    Case(
        "a judge of answers nobody else scored",
        "connected",
        without((ALL, slice(1, 5), 2), (ALL, 0, 0), (ALL, 0, 1)),
        without((ALL, slice(1, 5), 2)),
    ),
    Case("a chain", "spread", pairs((0, 1), (1, 2)), pairs((0, 1), (1, 2), (0, 2))),
    Case(
        "a square",
        "spread",
        pairs((0, 1), (1, 2), (2, 3), (3, 0)),
        pairs((0, 1), (1, 2), (2, 3), (3, 0), (0, 2)),
        judges=4,
    ),
    Case("a star", "spread", pairs((0, 1), (0, 2), (0, 3)), pairs((0, 1), (0, 2), (0, 3), (2, 3)), judges=4),
    Case(
        "29 shared",
        "connected",
        without((slice(FEWEST_RESPONSES - 1, None), ALL, 2), (ALL, slice(1, 5), 2)),
        without((slice(FEWEST_RESPONSES, None), ALL, 2), (ALL, slice(1, 5), 2)),
    ),
    Case(
        "a chain but for 29",
        "spread",
        only(*((ALL, 0, j) for j in (0, 1)), *((ALL, 1, j) for j in (1, 2)), *((slice(0, 29), 2, j) for j in (0, 2))),
        only(*((ALL, 0, j) for j in (0, 1)), *((ALL, 1, j) for j in (1, 2)), *((slice(0, 30), 2, j) for j in (0, 2))),
    ),
    Case("ten queries", "few", without((slice(10, None), ALL, ALL)), without((slice(30, None), ALL, ALL))),
    Case("a judge of eight queries", "few", without((slice(8, None), ALL, 2)), without((ALL, slice(1, 5), 2))),
    Case("one score for all", "constant", constant(0), constant(0.5)),
    Case("one judge under two names", "same", copied(0), copied(0.1)),
    Case("one judge under two names, on another scale", "same", copied(0, 2, 1), copied(0.1, 2, 1)),
    Case("own answers not scored", "own", without((ALL, 0, 0)), nothing, no_own=False),
    Case(
        "nobody scores its own, as in COIG-P",
        "own",
        without(*((ALL, at, at) for at in range(3))),
        nothing,
        no_own=False,
    ),
    Case("few own answers", "own", without((slice(10, None), 0, 0)), without((slice(40, None), 0, 0)), no_own=False),
    Case(
        "own answers that nobody else scored",
        "own",
        without((ALL, 0, 1), (ALL, 0, 2)),
        without((ALL, 0, 1)),
        no_own=False,
    ),
    Case("own answers alone", "others", without((ALL, slice(1, 5), 0)), without((FIRST, slice(1, 5), 0)), no_own=False),
    Case(
        "nearly own answers alone",
        "others",
        without((slice(35, None), slice(1, 5), 0), (ALL, slice(2, 5), 0)),
        without((slice(80, None), slice(1, 5), 0), (ALL, slice(2, 5), 0)),
        no_own=False,
        queries=700,
    ),
    Case(
        "all judges of one family",
        "own",
        without((ALL, ALL, 3)),
        nothing,
        judges=4,
        families={"judge-[012]": "x", "model-[34]": "x"},
    ),
    Case(
        "a family by its file",
        "own",
        without((ALL, 3, 0), (ALL, 4, 0)),
        without((ALL, 3, 0)),
        families={"judge-0": "x", "model-[34]": "x"},
    ),
]


def refusals(case: Case, change: Change, self_preference: bool = True) -> tuple[Refusal, ...]:
    return refusals_of(judged(case, change), case.families or DEFAULT, self_preference=self_preference)


def judged(case: Case, change: Change) -> Any:
    n = case.judges
    family = tuple(-1 if case.no_own else at for at in range(n))
    judges = Judges(
        offset=tuple(6 - 0.3 * at for at in range(n)),
        spread=tuple(1.5 - 0.1 * at for at in range(n)),
        favour=(0.3,) * n,
        noise=(0.6,) * n,
        family=family,
    )
    scores = scores_of(judges, case.queries, M, 0)
    seen = np.ones(scores.shape, bool)
    change(scores, seen)
    return judged_of(rows_of(scores, seen, judges.names))


def test_there_are_twenty_and_more() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 20


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refused(case: Case) -> None:
    found = refusals(case, case.refused)
    assert case.kind in {one.kind for one in found}, found
    for one in found:
        assert one.why
        assert one.collect
        assert all(repr(name) in one.why or one.kind == "spread" for name in one.judges), one
    assert all(str(one) in str(DesignError(found)) for one in found)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_near_to_it_and_not_refused(case: Case) -> None:
    found = judged(case, case.near)
    families = case.families or DEFAULT
    assert refusals_of(found, families) == ()
    fit = fit_joint(units_of(found, families), resamples=8)
    assert fit.converged
    assert all(one.spread.value > 0 for one in fit.judges.values())


@pytest.mark.parametrize("case", [case for case in CASES if case.kind in ("own", "others")], ids=lambda case: case.name)
def test_not_refused_where_self_preference_is_left_out(case: Case) -> None:
    assert refusals(case, case.refused, self_preference=False) == ()


def test_a_judge_without_a_family_among_the_models_is_not_asked() -> None:
    case = Case("", "", nothing, nothing)
    found = fit_joint(units_of(judged(case, nothing)), resamples=4)
    assert all(one.self_preference is None and one.own == 0 for one in found.judges.values())


def test_an_error_can_be_pickled() -> None:
    import pickle

    error = DesignError((Refusal("own", ("a",), "why", "what"),))
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert again.refusals == error.refusals


def test_what_noise_hides_is_refused_once_it_is_fitted() -> None:
    """No judge follows what another sees, so hardly anything follows of their spreads."""
    rng = np.random.default_rng(5)
    judges = Judges((6, 6, 6), (1.0, 0.0, 0.0), (0, 0, 0), (0.5, 1.0, 1.0), (-1, -1, -1))
    scores = scores_of(judges, 40, 3, 5)
    scores[..., 0] = np.round(6 + rng.normal(size=scores.shape[:2]), 4)
    found = judged_of(rows_of(scores, True, judges.names))
    assert refusals_of(found) == ()
    fit = fit_joint(units_of(found), resamples=60)
    said = hardly_told(fit)
    assert not fit.settled or any(one.spread.low <= 0 for one in fit.judges.values())
    assert said.kind == "flat"
    assert said.collect
    with pytest.raises(DesignError):
        fit_scales(found, "joint")


@pytest.mark.parametrize("seen", ["few queries", "two judges", "no three"])
def test_advice_names_queries_as_well_as_responses(seen: str) -> None:
    """Who collects what is asked for is not refused for another reason that was known before."""
    judges = Judges((6.0,) * 3, (1.2,) * 3, (0.0,) * 3, (0.6,) * 3, (-1,) * 3)
    mask = np.ones((3 if seen == "few queries" else 60, 5, 3), bool)
    if seen == "two judges":
        mask[..., 2] = False
    if seen == "no three":
        mask[:30, :, 2] = mask[30:, :, 0] = False
    rows = rows_of(scores_of(judges, len(mask), 5, 0), mask, judges.names)
    found = refusals_of(judged_of(rows), self_preference=False)
    assert found
    for one in found:
        assert "15 or more queries" in one.collect
