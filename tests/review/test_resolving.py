"""The second round: what is asked again, of whom, and that nothing of the first is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from voting import an_answer, make_votes, say

from coig_p.errors import DataError, UsageError
from coig_p.review.answers import Answer
from coig_p.review.folder import open_review, read_key, tasks_path
from coig_p.review.reporting import review_report
from coig_p.review.resolving import resolve


def open_review_of(folder: Path) -> None:
    """Of five items the second and third have no majority, and the fourth waits for c."""
    make_votes(
        folder,
        [
            ("math", {"a": "right", "b": "right", "c": "worse"}),
            ("math", {"a": "right", "b": "lost", "c": "even"}),
            ("chat", {"a": "right", "b": "worse", "c": "skip"}),
            ("chat", {"a": "right", "b": "worse", "c": None}),
            ("chat", {"a": "skip", "b": "right", "c": "skip"}),
        ],
    )


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_items_without_a_majority_are_asked_again_and_no_others(tmp_path: Path) -> None:
    folder = tmp_path / "review"
    open_review_of(folder)
    first = tasks_path(folder, "a").read_bytes()
    found = resolve(folder)
    assert (found.round, found.items, found.waiting) == (2, ("r-000001", "r-000002"), 1)
    assert found.annotators == ("a", "b", "c")
    assert tasks_path(folder, "a").read_bytes() == first
    assert open_review(folder).rounds == 2
    before = {row.identity: row for row in read_key(open_review(folder)) if row.round == 1}
    again = [row for row in read_key(open_review(folder)) if row.round == 2]
    assert {(row.item, row.annotator) for row in again} == {(item, name) for item in found.items for name in "abc"}
    for row in again:
        old = before[row.item, row.annotator, 1]
        assert (row.query_id, row.kind, row.margin, row.query_sha256) == (old.query_id, "drawn", 2.0, old.query_sha256)
        chosen = row.side(row.chosen)
        assert chosen is not None
        assert chosen.model == "good"  # whatever side it stands on now
    for name in "abc":
        tasks = json.loads(tasks_path(folder, name, 2).read_text("utf-8"))
        assert {task["data"]["item"] for task in tasks} == set(found.items)
        key = {row.item: row for row in again if row.annotator == name}
        for task in tasks:
            assert list(task) == ["data"]
            assert set(task["data"]) == {
                *("item", "annotator", "round", "form", "domain", "dialogue", "response_a", "response_b")
            }  # no vote
            for side in key[task["data"]["item"]].sides:
                assert task["data"][f"response_{side.side}"] == f"回答{side.model}"


def test_what_a_majority_settles_is_not_asked_again(tmp_path: Path) -> None:
    """Nobody agrees on which is better, and two of three say that the chosen one is not correct: it is wrong."""
    folder = tmp_path / "review"
    make_votes(
        folder,
        [("math", {"a": "right", "b": "worse", "c": "tie"}), ("math", {"a": "right", "b": "right", "c": "right"})],
    )
    assert resolve(folder).items == ()
    found = review_report(folder)
    assert (found.all["right"].right, found.all["right"].n, found.all["right"].open) == (1, 2, 0)
    assert found.all["preferred"].open == 1  # a column of its own still tells it
    # The same of form accept: a query that two of three call unfit.
    said = [{"preference": "A", "correct": ["a"], "query_ok": fit} for fit in (True, False, False)]
    said[2]["preference"] = "tie"
    make_votes(folder.with_name("accept"), [("math", dict(zip("abc", said, strict=True)))], "accept")
    assert resolve(folder.with_name("accept")).items == ()
    assert review_report(folder.with_name("accept")).all["right"].n == 1


def test_twice_is_once(tmp_path: Path) -> None:
    folder = tmp_path / "review"
    open_review_of(folder)
    resolve(folder)
    before = snapshot(folder)
    again = resolve(folder)
    assert (again.round, again.items, again.still_open) == (None, (), ())
    assert snapshot(folder) == before


def test_what_the_second_round_says_counts_and_what_stays_open_is_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "review"
    open_review_of(folder)
    resolve(folder)
    answers: list[Answer] = []
    for row in read_key(open_review(folder)):
        if row.round == 2:
            says = {"r-000001": "right", "r-000002": {"a": "right", "b": "lost", "c": "even"}[row.annotator]}[row.item]
            side_of = {side.model: side.side for side in row.sides}
            answers.append(an_answer(row.item, row.annotator, says, side_of, len(answers), 2))
    say(folder, answers)
    found = review_report(folder)
    assert (found.domains["math"]["right"].right, found.domains["math"]["right"].n) == (2, 2)
    chat = found.domains["chat"]["right"]
    assert (chat.right, chat.n, chat.open, chat.open_wrong) == (1, 1, 2, 1 / 3)
    again = resolve(folder)
    assert (again.round, again.still_open, again.waiting) == (None, ("r-000002",), 1)
    # Agreement is of the first round, where nobody was asked again.
    assert found.agreement[0].found.units == 4
    # Whoever comes late gives an item its own second round, the third of the review.
    row = next(row for row in read_key(open_review(folder)) if row.identity == ("r-000003", "c", 1))
    say(folder, [an_answer("r-000003", "c", "skip", {side.model: side.side for side in row.sides})])
    late = resolve(folder)
    assert (late.round, late.items, late.still_open) == (3, ("r-000003",), ("r-000002",))


def test_others_can_be_asked(tmp_path: Path) -> None:
    folder = tmp_path / "review"
    open_review_of(folder)
    found = resolve(folder, ["d", "e"])
    assert found.annotators == ("d", "e")
    assert open_review(folder).annotators == ("a", "b", "c", "d", "e")
    assert len(json.loads(tasks_path(folder, "d", 2).read_text("utf-8"))) == 2
    assert not tasks_path(folder, "a", 2).exists()


def test_a_name_that_no_file_can_have_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    open_review_of(tmp_path / "review")
    before = snapshot(tmp_path / "review")
    with pytest.raises(UsageError, match="annotator 'x/y'"):
        resolve(tmp_path / "review", ["x/y"])
    assert snapshot(tmp_path / "review") == before


def test_triples_and_queries(tmp_path: Path) -> None:
    ranking = {"ranking": [["good"], ["bad"], ["other"]]}
    other = {"ranking": [["good"], ["other"], ["bad"]]}
    items = [("math", {"a": ranking, "b": ranking}), ("math", {"a": ranking, "b": other})]
    make_votes(tmp_path / "triples", items, "triple", ["a", "b"])
    assert resolve(tmp_path / "triples").items == ("r-000001",)
    asked = [("math", {"a": {"feasible": True}, "b": {"feasible": at > 0}}) for at in range(2)]
    make_votes(tmp_path / "queries", asked, "query", ["a", "b"])
    assert resolve(tmp_path / "queries").items == ("r-000000",)


def test_a_task_that_is_gone_is_one_error_and_nothing_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "review"
    open_review_of(folder)
    tasks_path(folder, "a").write_text("[]", "utf-8")
    before = snapshot(folder)
    with pytest.raises(DataError, match=r"tasks-a\.json: not as it was written"):
        resolve(folder)
    assert snapshot(folder) == before
