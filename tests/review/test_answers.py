"""Answers: no line lost, doubled or changed, whenever a process is killed; anything else is told where it stands."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reviewed import AT, SAID, an_answer, make_review

from coig_p.errors import CoigPError, DataError, UnknownNameError
from coig_p.review.answers import Answer, append, read_answers, read_log
from coig_p.review.folder import FORMS
from coig_p.review.votes import read_votes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_review(tmp_path / "review")
    return tmp_path / "review"


@pytest.mark.parametrize("form", FORMS)
def test_an_answer_of_each_form_comes_back_as_it_was(form: str, tmp_path: Path) -> None:
    make_review(tmp_path / "review", form)
    given = an_answer(form, comment="第一行\n第二行 \u2028 \x1b[31m")
    append(tmp_path / "review", "a", given)
    assert read_answers(tmp_path / "review") == [given]


def test_the_last_line_of_an_item_counts_and_may_take_the_answer_back(folder: Path) -> None:
    tie = an_answer(answer={"preference": "tie", "correct": [], "query_ok": None})
    for answer in (an_answer(), an_answer(item="r-000002"), tie, an_answer(annotator="b")):
        append(folder, answer.annotator, answer)
    assert read_answers(folder) == [an_answer(item="r-000002"), tie, an_answer(annotator="b")]
    append(folder, "a", an_answer(answer=None))
    assert read_answers(folder) == [an_answer(item="r-000002"), an_answer(annotator="b")]
    append(folder, "a", an_answer(answer=None, skipped=True))
    assert [one.skipped for one in read_answers(folder)] == [False, True, False]
    assert read_log(folder).lines == 6


LINES = [an_answer(item=f"r-{at:06d}", comment="说明" * at) for at in range(1, 4)]


@settings(max_examples=40)
@given(data=st.data())
def test_whatever_a_kill_leaves_all_that_was_saved_is_read(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Cut anywhere: lines before the cut are whole, what is left of a line is counted, and the next is not harmed."""
    folder = tmp_path_factory.mktemp("killed") / "review"
    make_review(folder)
    for answer in LINES:
        append(folder, "a", answer)
    path = folder / "answers" / "a.jsonl"
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    ends = [at + 1 for at, byte in enumerate(whole) if byte == ord("\n")]
    saved = [answer for answer, end in zip(LINES, ends, strict=True) if end - 1 <= cut]
    torn = cut not in (0, *ends, *(end - 1 for end in ends))
    assert read_answers(folder) == saved
    assert dict(read_log(folder).torn) == ({"a": 1} if torn else {})
    append(folder, "a", an_answer(item="r-000003", seconds=9.0))
    assert read_answers(folder) == [one for one in saved if one.item != "r-000003"] + [
        an_answer(item="r-000003", seconds=9.0)
    ]
    assert dict(read_log(folder).torn) == ({"a": 1} if torn else {})
    assert path.read_bytes().startswith(whole[:cut]), "nothing that stood there is changed"


def test_several_writers_at_once_lose_and_mix_nothing(folder: Path) -> None:
    def write(writer: int) -> None:
        for at in range(10):
            append(folder, "a", an_answer(item=f"r-{writer}-{at}", comment="很长" * 2000))

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.item for one in read_answers(folder)} == {f"r-{writer}-{at}" for writer in range(4) for at in range(10)}


def test_nobody_else_writes_between_the_look_at_the_last_line_and_the_new_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page and an import may write the answers of one annotator at the same time."""
    fcntl = pytest.importorskip("fcntl")
    append(folder, "a", an_answer())
    refused = []

    def write(descriptor: int, data: Any) -> int:
        with (folder / "answers" / "a.jsonl").open("ab") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        refused.append(descriptor)
        return real(descriptor, data)

    real = os.write
    monkeypatch.setattr("coig_p.review.answers.os.write", write)
    append(folder, "a", an_answer(item="r-000002"))
    assert len(refused) == 1
    monkeypatch.undo()
    assert len(read_answers(folder)) == 2


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("pair", {"answer": {"preference": "a", "correct": []}}, "answer.preference: 'a' is not one of"),
    ("pair", {"answer": {"correct": []}}, "answer.preference: missing"),
    ("pair", {"answer": {"preference": "A", "correct": ["A"]}}, "answer.correct: ['A'] is not a list of"),
    (
        "pair",
        {"answer": {"preference": "A", "correct": ["a", "a"]}},
        "answer.correct: ['a', 'a'] is not each side once",
    ),
    ("pair", {"answer": {"preference": "A", "query_ok": "yes"}}, "answer.query_ok: 'yes' is not true, false or null"),
    ("pair", {"answer": {"preference": "A", "better": 1}}, "answer.better: no field of form pair"),
    ("pair", {"answer": ["A"]}, "answer: ['A'] is not an object"),
    ("accept", {"answer": {"preference": "A", "correct": []}}, "answer.query_ok: missing: true or false"),
    (
        "triple",
        {"answer": {"ranking": [["a"], ["b"]]}},
        "answer.ranking: [['a'], ['b']] is not each of a, b and c once",
    ),
    ("triple", {"answer": {"ranking": [["a", "b", "c"], []]}}, "is not a list of lists"),
    ("triple", {"answer": {"ranking": "abc"}}, "answer.ranking: 'abc' is not a list of lists"),
    ("query", {"answer": {"feasible": 1}}, "answer.feasible: 1 is not a boolean"),
    ("pair", {"skipped": True}, "skipped: true beside an answer"),
    ("pair", {"item": ""}, "item: '' is not a name of an item"),
    ("pair", {"round": 0}, "round: 0 is not a round"),
    ("pair", {"round": True}, "round: True is not a round"),
    ("pair", {"seconds": -1}, "seconds: -1 is not a number of seconds from 0 to a year"),
    ("pair", {"seconds": float("nan")}, "seconds: nan is not a number of seconds from 0 to a year"),
    ("pair", {"seconds": 1e300}, "seconds: 1e+300 is not a number of seconds from 0 to a year"),
    ("pair", {"seconds": 10**400}, f"seconds: 1{'0' * 76}... is not a number of seconds from 0 to a year"),
    ("pair", {"at": "0001-01-01T00:00:00+00:00"}, "is not a time with an offset from UTC, since 1970"),
    ("pair", {"comment": "\ud800"}, "comment: '\\ud800' is not text"),
    ("pair", {"comment": 3}, "comment: 3 is not text"),
    ("pair", {"at": "2026-11-26"}, "at: '2026-11-26' is not a time with an offset"),
    ("pair", {"at": "gestern"}, "at: 'gestern' is not a time"),
    ("pair", {"by": "post"}, "by: 'post' is not one of page, label-studio"),
]


@pytest.mark.parametrize(("form", "changes", "said"), WRONG)
def test_a_wrong_answer_is_refused_and_found_where_it_stands(
    form: str, changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    folder = tmp_path / "review"
    make_review(folder, form)
    append(folder, "a", an_answer(form))
    path = folder / "answers" / "a.jsonl"
    before = path.read_bytes()
    with pytest.raises(DataError) as refused:
        append(folder, "a", replace(an_answer(form), **changes))
    assert said in str(refused.value.args[0])
    assert path.read_bytes() == before
    line = json.loads(before) | changes
    path.write_bytes(before + json.dumps(line).encode() + b"\n" + before)
    with pytest.raises(DataError) as found:
        read_answers(folder)
    assert said in found.value.args[0]
    assert f"{path} line 2 ." in found.value.args[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"item": ', "line 1: not JSON"),
        (b"\xff\xfe{}", "line 1: not JSON"),
        (b"[1]", "line 1: not an object: [1]"),
        (b"{}", "line 1 .item: missing"),
        (json.dumps(vars(an_answer()) | {"extra": 1}).encode(), "line 1 .line: not a field"),
        (b"[" * 100_000, "line 1: not JSON"),
    ],
)
def test_a_line_that_is_no_answer_is_one_located_error(line: bytes, said: str, folder: Path) -> None:
    (folder / "answers" / "a.jsonl").write_bytes(line + b"\n")
    with pytest.raises(DataError, match=r"a\.jsonl line 1") as found:
        read_answers(folder)
    assert said in found.value.args[0]


def test_answers_of_somebody_else_are_refused(folder: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown annotator 'c'"):
        append(folder, "c", an_answer(annotator="c"))
    with pytest.raises(DataError, match="among the answers of a"):
        append(folder, "a", an_answer(annotator="b"))
    append(folder, "a", an_answer())
    (folder / "answers" / "a.jsonl").rename(folder / "answers" / "b.jsonl")
    with pytest.raises(DataError, match=r"b.jsonl line 1 .annotator: 'a', expected 'b'"):
        read_answers(folder)


def test_answers_are_never_written_through_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("kept", encoding="utf-8")
    (folder / "answers" / "a.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CoigPError, match="symbolic link"):
        append(folder, "a", an_answer())
    assert (tmp_path / "elsewhere").read_text(encoding="utf-8") == "kept"


# Votes: what was said of which response, whatever side it stood on.


def test_votes_say_the_same_of_a_response_on_either_side(folder: Path) -> None:
    """model-0, which the store prefers, stands first for a and second for b."""
    append(folder, "a", an_answer(answer={"preference": "A", "correct": ["a"], "query_ok": True}))
    append(folder, "b", an_answer(annotator="b", answer={"preference": "B", "correct": ["b"]}))
    append(folder, "a", an_answer(item="r-000002", answer={"preference": "tie", "correct": []}))
    append(folder, "b", an_answer(item="r-000002", annotator="b", answer=None, skipped=True, comment="不懂"))
    first, second, third, fourth = read_votes(folder)
    assert (first.preferred, second.preferred, third.preferred, fourth.preferred) == (1, 1, 0.5, None)
    assert (first.shown_first, second.shown_first, third.shown_first) == (1, 0, 0.5)
    assert (first.correct, second.correct) == ({"a"}, {"b"})
    assert first.correct_responses == second.correct_responses == {("model-0", 0)}
    assert (first.chosen_correct, third.chosen_correct, fourth.chosen_correct) == (True, False, None)
    assert (first.query_ok, second.query_ok) == (True, None)
    assert (fourth.skipped, fourth.comment, fourth.query_id) == (True, "不懂", "q-2")


def test_what_was_not_asked_is_not_said(folder: Path) -> None:
    append(folder, "a", an_answer(answer={"preference": "A"}))
    (vote,) = read_votes(folder)
    assert (vote.preferred, vote.correct, vote.chosen_correct, vote.query_ok) == (1, set(), None, None)


def test_a_ranking_and_a_feasible_query(tmp_path: Path) -> None:
    make_review(tmp_path / "triple", "triple")
    append(tmp_path / "triple", "a", an_answer("triple"))
    append(tmp_path / "triple", "b", an_answer("triple", annotator="b"))
    one, other = read_votes(tmp_path / "triple")
    assert one.ranking == ((("model-1", 0),), (("model-0", 0), ("model-2", 0)))
    assert other.ranking == one.ranking, "b lies in the middle for both, and the others are tied"
    make_review(tmp_path / "query", "query")
    append(tmp_path / "query", "a", an_answer("query"))
    (vote,) = read_votes(tmp_path / "query")
    assert vote.feasible is False
    assert vote.preferred is None


def test_an_item_that_was_never_given_is_one_located_error(folder: Path) -> None:
    append(folder, "a", an_answer())
    append(folder, "a", an_answer(item="r-000099"))
    with pytest.raises(DataError, match=r"a.jsonl line 2 .item: 'r-000099' in round 1 is no item that a was given"):
        read_votes(folder)
    make_review(folder)
    append(folder, "a", an_answer(round=2))
    with pytest.raises(DataError, match="in round 2 is no item"):
        read_votes(folder)


def test_said_is_valid_in_every_form() -> None:
    assert set(SAID) == set(FORMS)
    assert Answer("r-1", "a", 1, SAID["pair"], at=AT).by == "page"
