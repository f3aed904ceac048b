"""Signs of guessing, hurry and leaning: who has them is flagged, and who has not is left alone."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import beta, binom
from voting import Said, make_votes

from coig_p.review.answers import append_all, read_log
from coig_p.review.folder import open_review, read_key, read_tasks, write_review
from coig_p.review.quality import GOLD_LEAST, clopper_pearson_most
from coig_p.review.reporting import review_report


def flags(folder: Path) -> dict[str, list[str]]:
    return {name: [flag.sign for flag in one.quality.flags] for name, one in review_report(folder).annotators.items()}


def test_the_bound_is_clopper_and_pearsons_and_flags_twelve_of_twenty() -> None:
    for right in range(21):
        wanted = 1.0 if right == 20 else beta.ppf(0.95, right + 1, 20 - right)
        assert clopper_pearson_most(right, 20) == pytest.approx(wanted)
    flagged = [right for right in range(21) if clopper_pearson_most(right, 20) < GOLD_LEAST]
    assert flagged == list(range(13))
    assert binom.cdf(12, 20, 0.5) == pytest.approx(0.868, abs=1e-3)  # who guesses is found in 87 of 100
    assert binom.cdf(12, 20, 0.9) == pytest.approx(1 / 2500, rel=0.1)


def test_gold_items_flag_who_guesses(tmp_path: Path) -> None:
    folder = tmp_path / "review"
    said = [
        {"a": "right", "b": "right" if at < 12 else "worse", "c": "right" if at < 13 else "worse"} for at in range(20)
    ]
    make_votes(folder, [("math", one) for one in said])
    review = open_review(folder)
    rows = [
        replace(row, kind="gold", gold={"preference": str(row.chosen).upper(), "correct": [row.chosen]})
        for row in read_key(review)
    ]
    tasks = {name: [{"data": data} for data in read_tasks(review, name)] for name in "abc"}
    answers = {path.name: path.read_bytes() for path in (folder / "answers").iterdir()}
    write_review(folder, review, rows, tasks, "<View/>\n")
    for name, lines in answers.items():
        (folder / "answers" / name).write_bytes(lines)
    found = review_report(folder)
    assert found.items == 0
    quality = {name: one.quality for name, one in found.annotators.items()}
    assert [(quality[name].gold, quality[name].gold_right) for name in "abc"] == [(20, 20), (20, 12), (20, 13)]
    assert flags(folder) == {"a": [], "b": ["gold"], "c": []}
    assert quality["b"].flags[0].seen == {"right": 12, "of": 20, "at most": pytest.approx(0.7829, abs=1e-4)}


def test_who_leans_to_a_side_or_says_one_thing_again_and_again_is_flagged(tmp_path: Path) -> None:
    rng = random.Random(4)
    items: list[tuple[str, dict[str, Said]]] = []
    for _ in range(60):
        says = "right" if rng.random() < 0.9 else "worse"
        first: dict[str, Any] = {"preference": "A", "correct": [], "query_ok": None}
        items.append(("math", {"a": says, "b": says if rng.random() < 0.9 else "tie", "c": first}))
    make_votes(tmp_path / "review", items)
    assert flags(tmp_path / "review") == {"a": [], "b": [], "c": ["others", "side", "run"]}
    found = review_report(tmp_path / "review").annotators["c"].quality
    assert (found.first, found.decided, found.run) == (60, 60, 60)


def test_who_says_tie_more_often_than_others_and_who_is_too_fast(tmp_path: Path) -> None:
    folder = tmp_path / "review"
    make_votes(
        folder, [("math", {"a": "right", "b": "right", "c": "tie" if at % 4 > 1 else "right"}) for at in range(40)]
    )
    signs = flags(folder)
    assert signs["a"] == signs["b"] == []
    assert signs["c"] == ["others", "ties"]
    review = open_review(folder)
    fast = [replace(answer, seconds=0.2 if answer.annotator == "a" else 9.0) for answer in read_log(folder).answers]
    for name in "abc":
        append_all(review, name, [answer for answer in fast if answer.annotator == name])
    assert flags(folder)["a"] == ["speed"]


def test_good_people_are_seldom_flagged(tmp_path: Path) -> None:
    """Ten reviews by three who err at random in a tenth: thirty people, of whom a test at .01 flags some one or two."""
    flagged = 0
    for seed in range(10):
        rng = random.Random(seed)
        items = []
        for _ in range(40):
            says = "right" if rng.random() < 0.9 else "worse"
            other = {name: says if rng.random() < 0.9 else rng.choice(["tie", "worse", "right"]) for name in "abc"}
            items.append(("math", other))
        make_votes(tmp_path / str(seed), items)
        flagged += sum(map(bool, flags(tmp_path / str(seed)).values()))
    assert flagged <= 4
