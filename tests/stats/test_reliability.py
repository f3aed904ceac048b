"""Agreement against its definitions in plain fractions, against other libraries, and against printed tables."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction
from functools import cache
from itertools import combinations, permutations

import numpy as np
import pytest

from coig_p.stats.reliability import (
    Level,
    cohen_kappa,
    fleiss_kappa,
    gwet_ac1,
    krippendorff_alpha,
    percent,
    reliability,
    row_means,
    uneven,
)

TABLES = 1_000
Table = list[list[int | None]]  # units of raters
LEVELS: tuple[Level, ...] = ("nominal", "ordinal", "interval")


def random_tables() -> list[Table]:
    """Of 1 to 20 units, 2 to 5 raters and 1 to 5 categories, with more or fewer gaps; some agree more than others."""
    rng, found = random.Random(20), []
    for _ in range(TABLES):
        raters, kinds, gaps, noise = rng.randint(2, 5), rng.randint(1, 5), rng.choice([0, 0.2, 0.6]), rng.random()
        table: Table = []
        for _ in range(rng.randint(1, 20)):
            truth = rng.randint(1, kinds)
            row = [truth if rng.random() > noise else rng.randint(1, kinds) for _ in range(raters)]
            table.append([None if rng.random() < gaps else value for value in row])
        found.append(table)
    return found


def as_array(table: Table) -> np.ndarray:
    return np.array([[np.nan if value is None else value for value in row] for row in table], np.float64)


def rated(table: Table) -> list[list[int]]:
    return [[value for value in row if value is not None] for row in table]


# ------------------------------------------------------------------------------------------------ the definitions


def percent_of(table: Table) -> Fraction | None:
    cells = []
    for one, two in combinations(range(len(table[0])), 2):
        both = [(row[one], row[two]) for row in table if row[one] is not None and row[two] is not None]
        if both:
            cells.append(Fraction(sum(left == right for left, right in both), len(both)))
    return Fraction(sum(cells), len(cells)) if cells else None


def alpha_of(table: Table, level: str) -> Fraction | None:
    units = [row for row in rated(table) if len(row) >= 2]
    values = [value for row in units for value in row]

    times = Counter(values)

    @cache
    def apart(one: int, two: int) -> Fraction:
        if level == "nominal":
            return Fraction(one != two)
        if level == "interval":
            return Fraction((one - two) ** 2)
        low, high = min(one, two), max(one, two)
        between = sum(times[value] for value in range(low, high + 1))
        return (between - Fraction(times[low] + times[high], 2)) ** 2 if low < high else Fraction(0)

    if not values:
        return None
    n = len(values)
    seen = sum((apart(one, two) / (len(row) - 1) for row in units for one, two in permutations(row, 2)), Fraction(0))
    chance = sum((apart(one, two) * times[one] * times[two] for one in times for two in times), Fraction(0))
    return 1 - seen / n / (chance / n / (n - 1)) if chance else None


def beyond(seen: Fraction, chance: Fraction) -> Fraction | None:
    return None if chance == 1 else (seen - chance) / (1 - chance)


def cohen_of(one: list[int | None], two: list[int | None]) -> Fraction | None:
    both = [(left, right) for left, right in zip(one, two, strict=True) if left is not None and right is not None]
    if not both:
        return None
    kinds = {value for pair in both for value in pair}
    shares = [{kind: Fraction(sum(p[side] == kind for p in both), len(both)) for kind in kinds} for side in (0, 1)]
    chance = sum((shares[0][kind] * shares[1][kind] for kind in kinds), Fraction(0))
    return beyond(Fraction(sum(left == right for left, right in both), len(both)), chance)


def same_within(row: list[int]) -> Fraction:
    pairs = list(combinations(row, 2))
    return Fraction(sum(one == two for one, two in pairs), len(pairs))


def fleiss_of(table: Table) -> Fraction | None:
    units = [row for row in rated(table) if row]
    if len({len(row) for row in units}) != 1 or len(units[0]) < 2:
        return None
    values = [value for row in units for value in row]
    chance = sum((Fraction(values.count(kind), len(values)) ** 2 for kind in set(values)), Fraction(0))
    return beyond(sum(map(same_within, units), Fraction(0)) / len(units), chance)


def ac1_of(table: Table) -> Fraction | None:
    units = [row for row in rated(table) if row]
    several = [row for row in units if len(row) >= 2]
    kinds = {value for row in units for value in row}
    if not several or len(kinds) < 2:
        return None
    shares = [sum((Fraction(row.count(kind), len(row)) for row in units), Fraction(0)) / len(units) for kind in kinds]
    chance = sum((share * (1 - share) for share in shares), Fraction(0)) / (len(kinds) - 1)
    return beyond(sum(map(same_within, several), Fraction(0)) / len(several), chance)


def same(found: float | None, wanted: Fraction | None) -> bool:
    return found is None if wanted is None else found == pytest.approx(float(wanted), abs=1e-12)


def test_every_number_is_what_its_definition_says_on_random_tables_with_gaps() -> None:
    told = 0
    for table in random_tables():
        ratings = as_array(table)
        assert same(percent(ratings), percent_of(table))
        assert same(gwet_ac1(ratings), ac1_of(table))
        assert same(fleiss_kappa(ratings), fleiss_of(table))
        for level in LEVELS:
            assert same(krippendorff_alpha(ratings, level), alpha_of(table, level)), level
        for one, two in combinations(range(ratings.shape[1]), 2):
            columns = [[row[at] for row in table] for at in (one, two)]
            assert same(cohen_kappa(ratings[:, one], ratings[:, two]), cohen_of(*columns))
        told += krippendorff_alpha(ratings) is not None
    assert 500 < told < TABLES  # both kinds of tables were there


# ---------------------------------------------------------------------------------------------- other libraries


def test_alpha_is_that_of_evalica_on_random_tables_with_gaps() -> None:
    evalica = pytest.importorskip("evalica", reason="evalica is no part of this environment: pip install evalica")
    import pandas as pd

    compared = 0
    for table in random_tables():
        for level in LEVELS:
            found = krippendorff_alpha(as_array(table), level)
            if found is not None:
                told = evalica.alpha(pd.DataFrame(as_array(table).T), distance=level).alpha
                assert found == pytest.approx(told, abs=1e-12), (table, level)
                compared += 1
    assert compared > 1_500


def test_kappa_is_that_of_scikit_learn_on_random_tables() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is no part of this environment")
    compared = 0
    for table in random_tables():
        ratings = as_array(table)
        both = ratings[~np.isnan(ratings[:, :2]).any(1), :2].astype(int)
        if len(both) and (found := cohen_kappa(both[:, 0], both[:, 1])) is not None:
            assert found == pytest.approx(metrics.cohen_kappa_score(both[:, 0], both[:, 1]), abs=1e-12)
            compared += 1
    assert compared > 500


# ----------------------------------------------------------------------------------------------- printed tables

# Krippendorff's example of 12 units, 4 observers and 5 categories: alpha nominal .743, ordinal .815, interval .849
# (Computing Krippendorff's Alpha-Reliability, 2011). Gwet's package irrCAC gives AC1 .77544 and percent .81818 for it,
# the mean over units; ours is the mean over every two raters.
_: None = None
KRIPPENDORFF: Table = [
    [1, 1, _, 1],
    [2, 2, 3, 2],
    [3, 3, 3, 3],
    [3, 3, 3, 3],
    [2, 2, 2, 2],
    [1, 2, 3, 4],
    [4, 4, 4, 4],
    [1, 1, 2, 1],
    [2, 2, 2, 2],
    [_, 5, 5, 5],
    [_, _, 1, 1],
    [_, 3, _, _],
]
# Fleiss 1971 as it is usually taught: 10 subjects, 14 raters, 5 categories, kappa .210.
FLEISS = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]
TAP = """
-     78.67 76.67 78.93 79.67 77.63 78.93 78.19 74.25 77.87
78.67 -     80.00 88.63 90.33 88.14 88.96 85.91 82.94 85.45
76.67 80.00 -     83.61 82.33 84.07 83.61 84.90 80.94 82.02
78.93 88.63 83.61 -     93.65 95.25 92.62 93.94 91.61 89.78
79.67 90.33 82.33 93.65 -     93.56 95.99 92.28 89.63 89.68
77.63 88.14 84.07 95.25 93.56 -     92.54 93.17 91.84 89.52
78.93 88.96 83.61 92.62 95.99 92.54 -     92.93 89.60 89.40
78.19 85.91 84.90 93.94 92.28 93.17 92.93 -     91.58 89.11
74.25 82.94 80.94 91.61 89.63 91.84 89.60 91.58 -     86.55
"""


def test_printed_examples() -> None:
    table = as_array(KRIPPENDORFF)
    alphas = [krippendorff_alpha(table, level) for level in LEVELS]
    assert alphas == pytest.approx([0.743, 0.815, 0.849], abs=5e-4)
    assert gwet_ac1(table) == pytest.approx(0.77544, abs=5e-6)
    assert uneven(table) == "uneven"
    assert fleiss_kappa(table) is None
    rows = [[kind for kind, times in enumerate(unit) for _ in range(times)] for unit in FLEISS]
    assert fleiss_kappa(rows) == pytest.approx(0.210, abs=5e-4)


def test_table_2_of_tap() -> None:
    """Its averages follow from its cells, and a cell is equal labels over pairs that both labelled."""
    rows = [[float(cell) if cell != "-" else np.nan for cell in line.split()] for line in TAP.split("\n") if line]
    cells = np.array(rows)
    assert row_means(cells[:, :9]) == pytest.approx(cells[:, 9], abs=0.0051)
    people = cells[:3, :3]
    assert np.nanmean(people) == pytest.approx(78.45, abs=0.005)
    # 79.67 = 239 of 300; 77.63 = 229 of 295, where five of the model's answers were invalid.
    one, two = np.ones(300), np.ones(300)
    two[:61] = 0
    assert percent(np.column_stack([one, two])) == pytest.approx(0.7967, abs=5e-5)
    two[:66] = 0
    two[:5] = np.nan
    found = reliability(np.column_stack([one, two]), ["Human-1", "DeepSeek V2.5"], draws=0)
    assert (found.pairs[0].units, found.pairs[0].same) == (295, 234)


def test_where_nearly_all_is_alike_alpha_is_low_and_ac1_high() -> None:
    """Three who err at random in 7% of items."""
    rng = np.random.default_rng(0)
    ratings = np.where(rng.random((20_000, 3)) < 0.07, rng.choice([0, 0.5], (20_000, 3)), 1.0)
    found = reliability(ratings, ["a", "b", "c"], categories=3, draws=0)
    assert found.percent.value == pytest.approx(0.867, abs=0.01)
    assert found.alpha.value == pytest.approx(0, abs=0.02)
    assert found.ac1.value == pytest.approx(0.857, abs=0.01)


# ---------------------------------------------------------------------------------------------------- at the edges


def test_what_is_not_defined_is_none_and_says_why() -> None:
    alike = reliability(np.ones((5, 3)), ["a", "b", "c"])
    assert (alike.percent.value, alike.alpha.value, alike.fleiss.value, alike.ac1.value) == (1, None, None, None)
    assert alike.alpha.why == "one category"
    assert alike.pairs[0].kappa is None
    assert reliability(np.ones((5, 3)), ["a", "b", "c"], categories=3).ac1.value == 1
    alone = reliability([[1, np.nan], [np.nan, 2]], ["a", "b"])
    assert (alone.units, alone.ratings, alone.pairs) == (0, 0, ())
    assert alone.alpha.why == alone.fleiss.why == "no overlap"
    empty = reliability(np.zeros((0, 2)), ["a", "b"])
    assert empty.percent.value is None
    assert cohen_kappa([], []) is None


def test_intervals_hold_the_value_are_the_same_every_time_and_go_by_groups() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, 40)
    table = np.repeat(np.where(rng.random((40, 3)) < 0.8, truth[:, None], rng.integers(0, 3, (40, 3))), 5, axis=0)
    alone = reliability(table, ["a", "b", "c"])
    grouped = reliability(table, ["a", "b", "c"], np.repeat(np.arange(40), 5))
    assert grouped == reliability(table, ["a", "b", "c"], np.repeat(np.arange(40), 5))
    for name in ("percent", "alpha", "ac1", "fleiss"):
        one, two = getattr(alone, name), getattr(grouped, name)
        assert one.value == two.value
        assert two.low < two.value < two.high
        # Five equal rows tell no more than one: the interval is some sqrt(5) times as wide.
        assert 1.8 < (two.high - two.low) / (one.high - one.low) < 2.8, name
    one_group = reliability(table, ["a", "b", "c"], np.zeros(200))
    assert (one_group.alpha.value, one_group.alpha.low) == (alone.alpha.value, None)


def test_intervals_cover_the_alpha_of_the_population() -> None:
    """Units drawn from a population whose alpha is .36: two who are right in 80% of two kinds."""
    rng, covered = np.random.default_rng(5), 0
    wanted = 0.36  # 1 - .32 / .5: two differ in 2 * .8 * .2, and by chance in half
    for _ in range(100):
        truth = rng.integers(0, 2, (120, 1))
        ratings = np.where(rng.random((120, 2)) < 0.8, truth, 1 - truth)
        found = reliability(ratings, ["a", "b"], draws=300).alpha
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= wanted <= found.high
    assert 90 <= covered <= 99
