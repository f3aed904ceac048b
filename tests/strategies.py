"""Hypothesis strategies for raw rows (dicts of RAW_SCHEMA) and for the options of PairConfig."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from make import completed

from coig_p.pairs.config import AGGREGATIONS, LABELS

Row = dict[str, Any]


def examples(count: int) -> settings:
    """So many examples in Hypothesis's default profile, and in proportion more or fewer in others."""
    assert settings.default is not None
    return settings(max_examples=count * settings.default.max_examples // 100, deadline=None)


# Small pools, so that a judge is often one of the models up to case and space. "\u0130".lower() has two
# code points, "\u03a3" has two lower cases, and \u3000 and \xa0 are spaces to str.strip.
MODELS = ("gpt-4", "GPT-4", "qwen", "Qwen2 ", "模型甲", "\u03a3\u0391\u03a3", "\u0130", "\U0001f600", "z")
JUDGES = (
    "gpt-4",
    "\u3000Gpt-4\n",
    "qwen",
    "qwen2\xa0",
    "评委",
    "j1",
    " j1",
    "\u03c3\u03b1\u03c2",
    "i\u0307 ",
    "\u03c3\u03b1\u03c3",
)
DIMENSIONS = ("overall", "accuracy", "fluency", "安全")
TEXTS = ("甲", "乙", "甲 ", "ab", "ba", "abc", "\u00e9", "e\u0301", "一个长一些的回答")
PRIMES = (1, 2, 3, 4, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47)

THRESHOLDS = (0, 0, 0, 0, 0.0001, 0.0002, 0.1, 0.25, 0.3333, 0.3334, 0.5, 0.5, 0.6667, 1, 1, 1.5, 2, 3)
EXTREME = 100_000_000_000
"""A score of so many 1/10000 is a float that still names its multiple, and its sums leave int64."""


def _grid(low: int, high: int, unit: int) -> st.SearchStrategy[float]:
    """Multiples of unit/10000 from low * unit/10000 to high * unit/10000."""
    return st.integers(low, high).map(lambda n: n * unit / 10_000)


SCORE_GRIDS = (
    _grid(1, 10, 10_000),
    _grid(0, 1, 10_000),
    _grid(0, 20, 5_000),
    _grid(41, 61, 1_000),
    _grid(60_000, 60_004, 1),
    _grid(-30_000, 30_000, 1),
)
EXTREME_GRIDS = (
    _grid(-EXTREME, EXTREME, 1),
    _grid(-(2**70), 2**70, 1),
    _grid(EXTREME - 3, EXTREME, 1),
    st.sampled_from([EXTREME / 10_000, -EXTREME / 10_000, 0.0, 0.0001]),
)
COMPARISON_GRIDS = (st.sampled_from([0.0, 0.5, 1.0]), *SCORE_GRIDS)


def _models(most: int) -> st.SearchStrategy[list[str]]:
    # A list's own lengths are mostly 0 to 2, too short for pairs.
    sizes = st.sampled_from([size for size in (0, 1, 2, 2, 3, 3, 4, 4, 5, 6) if size <= most])
    return sizes.flatmap(lambda size: st.lists(st.sampled_from(MODELS), min_size=size, max_size=size, unique=True))


def _responses(draw: st.DrawFn, grid: st.SearchStrategy[float], most: int) -> list[dict[str, Any]]:
    models = draw(_models(most))
    # Judges in any order and mixed with each other: a judge's dimensions need not be neighbours.
    judges = st.sampled_from(draw(st.lists(st.sampled_from(JUDGES), min_size=1, max_size=4)))
    entry = st.tuples(judges, st.sampled_from(DIMENSIONS), grid)
    entries, some = st.lists(entry, max_size=8), st.lists(entry, min_size=1, max_size=8)
    unscored: st.SearchStrategy[list[Any] | None] = st.sampled_from([[], None])
    scores = draw(st.sampled_from([some, some, entries, entries | unscored, unscored]))
    texts = st.sampled_from(draw(st.sampled_from([TEXTS, TEXTS, TEXTS[2:5]])))
    return [{"model": model, "text": draw(texts), "scores": _scores(draw(scores))} for model in models]


def _scores(entries: list[tuple[str, str, float]] | None) -> list[dict[str, Any]] | None:
    if entries is None:
        return None
    return [{"judge": judge, "dimension": dimension, "score": score} for judge, dimension, score in entries]


def _comparisons(draw: st.DrawFn, grid: st.SearchStrategy[float], responses: int) -> list[dict[str, Any]] | None:
    if responses < 2 or draw(st.integers(0, 2)) == 0:
        return draw(st.sampled_from([None, []]))
    judges = st.sampled_from(draw(st.lists(st.sampled_from(JUDGES), min_size=1, max_size=3)))
    shown = st.lists(st.integers(0, responses - 1), min_size=2, max_size=2, unique=True)
    entry = st.tuples(shown, judges, st.sampled_from(DIMENSIONS), grid, grid)
    return [
        {
            "first": first,
            "second": second,
            "judge": judge,
            "dimension": dimension,
            "first_score": first_score,
            "second_score": second_score,
        }
        for (first, second), judge, dimension, first_score, second_score in draw(
            st.lists(entry, min_size=1, max_size=10)
        )
    ]


@st.composite
def raw_rows(
    draw: st.DrawFn,
    *,
    grids: tuple[st.SearchStrategy[float], ...] = SCORE_GRIDS,
    comparison_grids: tuple[st.SearchStrategy[float], ...] = COMPARISON_GRIDS,
    most_queries: int = 3,
    most_responses: int = 6,
) -> list[Row]:
    """Raw rows with distinct query_ids: 0 to `most_responses` responses each, some of them unscored."""
    rows = []
    for number in range(draw(st.sampled_from([*range(1, most_queries + 1), 0]))):
        responses = _responses(draw, draw(st.sampled_from(grids)), most_responses)
        rows.append(
            {
                "query_id": f"查询-{number}",
                "domain": draw(st.sampled_from(["math", "chat"])),
                "query": draw(st.sampled_from(["一加一？", "why?", "1+1?"])),
                "source": draw(st.sampled_from([None, "forum"])),
                "responses": responses,
                "comparisons": _comparisons(draw, draw(st.sampled_from(comparison_grids)), len(responses)),
            }
        )
    return completed(rows)


def extreme_rows() -> st.SearchStrategy[list[Row]]:
    """Raw rows with scores so large that their common fractions leave 64 bits."""
    return raw_rows(grids=EXTREME_GRIDS, comparison_grids=EXTREME_GRIDS)


@st.composite
def many_dimension_rows(draw: st.DrawFn) -> list[Row]:
    """Raw rows whose judges scored 1, 2, 3, 4, 5, 7 ... 47 dimensions: no small common denominator."""
    rows = []
    for number in range(draw(st.integers(1, 4))):
        models = draw(st.lists(st.sampled_from(MODELS), min_size=2, max_size=6, unique=True))
        unit = draw(st.sampled_from([1_000, 1, EXTREME // 100]))
        responses = []
        for model in models:
            scores = []
            for judge in draw(st.lists(st.sampled_from(JUDGES), min_size=1, max_size=3, unique=True)):
                # One start and one step for up to 47 scores: drawing each would make Hypothesis slow.
                count, start, step = draw(st.tuples(st.sampled_from(PRIMES), st.integers(0, 99), st.integers(0, 99)))
                scores += [(judge, f"d{n}", (start + step * n) % 100 * unit / 10_000) for n in range(count)]
            text = draw(st.sampled_from(TEXTS))
            responses.append({"model": model, "text": text, "scores": _scores(scores)})
        rows.append(
            {
                "query_id": f"q{number}",
                "domain": "logic",
                "query": "为什么？",
                "source": None,
                "responses": responses,
                "comparisons": _comparisons(draw, draw(st.sampled_from(COMPARISON_GRIDS)), len(responses)),
            }
        )
    return completed(rows)


def pair_options(
    strategies: tuple[str, ...] = ("all", "adjacent", "best_worst"),
) -> st.SearchStrategy[dict[str, Any]]:
    """Options that PairConfig and the oracle both take."""
    return st.fixed_dictionaries(
        {
            "threshold": st.sampled_from(THRESHOLDS),
            "strict": st.booleans(),
            "aggregation": st.sampled_from(AGGREGATIONS),
            "judges": st.none()
            | st.none()
            | st.lists(st.sampled_from(JUDGES), min_size=1, max_size=8, unique=True).map(tuple),
            "include_self_judged": st.booleans(),
            "labels": st.sampled_from(LABELS),
            "strategy": st.sampled_from(strategies),
        }
    )
