"""Label Studio's JSON export, as version 1.23 writes it: what it says is taken, and nothing that it does not say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import run
from reviewed import AT, SAID, an_answer, make_review
from studio import EARLY, LATE, LATER, RESULTS, Row, annotation, choices, comment, problem, ranker, take, task

from coig_p.errors import DataError, UsageError
from coig_p.review.answers import Answer, append, read_answers
from coig_p.review.folder import FORMS, Review, open_review, read_tasks
from coig_p.review.importing import import_answers


@pytest.fixture
def review(tmp_path: Path) -> Review:
    return make_review(tmp_path / "review")


@pytest.mark.parametrize("form", FORMS)
def test_an_answer_of_each_form(form: str, tmp_path: Path) -> None:
    review = make_review(tmp_path / "review", form)
    found = take(review, [task(review, 1, annotation([*RESULTS[form], comment("第一行", "第二行")]))])
    assert (found.new, dict(found.by_annotator)) == (1, {"a": 1})
    (answer,) = read_answers(review.path)
    expected = an_answer(form, comment="第一行\n第二行", seconds=31.2, by="label-studio")
    assert answer == Answer(**{**vars(expected), "at": "2026-11-26T12:00:00.123456+00:00"})
    assert answer.answer == SAID[form]


def test_two_annotators_in_two_files_and_in_one(review: Review) -> None:
    first = [task(review, at, annotation(RESULTS["pair"])) for at in (1, 2, 3)]
    second = [task(review, at, annotation([choices("preference", "tie")]), annotator="b") for at in (1, 3)]
    assert dict(take(review, first, second).by_annotator) == {"a": 3, "b": 2}
    assert len(read_answers(review.path)) == 5
    assert take(review, [*first, *second]).same == 5


def test_an_import_twice_changes_nothing_and_it_is_said(review: Review) -> None:
    export = [task(review, at, annotation(RESULTS["pair"])) for at in (1, 2)]
    take(review, export)
    before = (review.path / "answers" / "a.jsonl").read_bytes()
    found = take(review, export)
    assert (found.new, found.changed, found.same) == (0, 0, 2)
    assert (review.path / "answers" / "a.jsonl").read_bytes() == before
    assert take(review, export, export).same == 2
    done = run("review", "import", review.path, review.path.parent / "export-0.json")
    assert done.stdout == "imported 0 answers\n2 answers there already, not taken twice\n"


def test_the_last_change_of_an_annotator_counts_wherever_it_stands(review: Review) -> None:
    old, new = (
        annotation([choices("preference", said)], updated_at=when) for said, when in (("B", EARLY), ("tie", LATER))
    )
    for both in ([old, new], [new, old]):
        found = take(review, [task(review, 1, *both), task(review, 2, new), task(review, 2, old)])
        assert found.superseded == 2
        assert {str((one.answer or {})["preference"]) for one in read_answers(review.path)} == {"tie"}
    assert take(review, [task(review, 1, old)]).older == 1
    assert len(read_answers(review.path)) == 2


def test_what_a_colleague_says_in_the_tasks_of_an_annotator_is_not_the_annotators(review: Review) -> None:
    """A colleague who looked in, changed an answer, skipped one, or answered one that was open."""
    mine = [task(review, at, annotation(RESULTS["pair"], completed_by=2)) for at in (1, 2, 3)]
    later = annotation([choices("preference", "B")], completed_by=3, updated_at=LATER)
    skip = annotation([], completed_by={"id": 3, "email": "boss@example.org"}, was_cancelled=True, updated_at=LATER)
    for number, other in ((1, later), (2, skip), (3, annotation([], completed_by=3, was_cancelled=True))):
        export = json.loads(json.dumps(mine))
        if number == 3:
            export[2]["annotations"] = [other]
        else:
            export[number - 1]["annotations"].append(other)
        said = problem(review, export)
        assert "annotated tasks of a, and one of these alone can be a: say which, as --who 2=a" in said
        place = 0 if number == 3 else 1
        assert f": task {number} .annotations[{place}] .completed_by: 2, " in said
        assert len(said.splitlines()) == 2
        assert problem(review, export, who={"7": "a"}) == said, "who names neither"
        assert "which, as --who 2=a" in problem(review, export, who={"3": "b"}), "3 is b, and 2 may be anybody"
        for who in ({"2": "a"}, {"2": "a", "3": "b"}, {"2": "a", "boss@example.org": "b"}):
            (review.path / "answers" / "a.jsonl").unlink(missing_ok=True)
            found = take(review, export, who=who)
            assert (found.new, found.by_others, found.superseded, found.skipped) == (3 - (number == 3), 1, 0, 0)
            answers = read_answers(review.path)
            assert {(one.answer or {})["preference"] for one in answers} == {"A"}
        (review.path / "answers" / "a.jsonl").unlink()
    done = run("review", "import", review.path, review.path.parent / "export-0.json", "--who", "2=a")
    assert "1 annotation by others than whose tasks they are of, left out" in done.stdout


def test_two_accounts_of_one_annotator_are_one_where_it_is_said(review: Review) -> None:
    first = annotation(RESULTS["pair"], completed_by={"id": 2, "email": "a@example.org"})
    second = annotation([choices("preference", "B")], completed_by=9, updated_at=LATER)
    export = [task(review, 1, first, second), task(review, 1, annotation(RESULTS["pair"]), annotator="b")]
    found = take(review, export, who={"a@example.org": "a", "9": "a"})
    assert (found.superseded, found.by_others) == (1, 0)
    assert [(one.annotator, (one.answer or {})["preference"]) for one in read_answers(review.path)] == [
        ("a", "B"),
        ("b", "A"),
    ]


def test_a_user_who_is_called_as_the_annotator_needs_no_who(review: Review) -> None:
    own = annotation(RESULTS["pair"], completed_by={"id": 2, "email": "a"})
    other = annotation([choices("preference", "B")], completed_by={"id": 9, "email": "b"}, updated_at=LATER)
    found = take(review, [task(review, 1, own, other)])
    assert (found.by_others, found.superseded) == (1, 0)
    (answer,) = read_answers(review.path)
    assert (answer.annotator, (answer.answer or {})["preference"]) == ("a", "A")


def test_users_of_another_file_are_another_label_studios(review: Review) -> None:
    """Numbers of users are of one server: a second round may be asked on another."""
    exports = [[task(review, at, annotation(RESULTS["pair"], completed_by=at))] for at in (1, 2)]
    assert take(review, *exports).new == 2


def test_newer_answers_of_the_page_stay(review: Review) -> None:
    append(review.path, "a", an_answer(at="2026-11-26T13:30:00+00:00", answer={"preference": "B", "correct": []}))
    append(review.path, "a", an_answer(item="r-000002", at="2026-11-26T13:30:00+00:00", answer=None))
    append(review.path, "a", an_answer(item="r-000003", at="2026-11-26T09:00:00+00:00"))
    export = [task(review, at, annotation([choices("preference", "tie")])) for at in (1, 2, 3)]
    found = take(review, export)
    assert (found.older, found.changed) == (2, 1)
    assert {one.item: (one.answer or {})["preference"] for one in read_answers(review.path)} == {
        "r-000001": "B",
        "r-000003": "tie",
    }, "an answer that was taken back stays so"


def test_skipped_tasks_drafts_and_predictions(review: Review) -> None:
    skipped = task(review, 1, annotation([], was_cancelled=True, lead_time=2.5))
    half = task(review, 2, annotation([choices("preference", "B"), comment("不懂")], was_cancelled=True))
    drafted = task(review, 3) | {"drafts": [{"result": RESULTS["pair"]}], "predictions": [{"result": RESULTS["pair"]}]}
    found = take(review, [skipped, half, drafted])
    assert (found.new, found.skipped, found.drafts) == (2, 2, 1)
    assert [(one.item, one.answer, one.skipped, one.comment) for one in read_answers(review.path)] == [
        ("r-000001", None, True, None),
        ("r-000002", None, True, "不懂"),
    ]


# Who answered, where the task does not say it.


@pytest.mark.parametrize(
    ("by", "who"),
    [
        ({"id": 7, "email": "b", "first_name": "", "last_name": ""}, {}),
        ("b", {}),
        (7, {"7": "b"}),
        ({"id": 7, "email": "b@example.org"}, {"b@example.org": "b"}),
        ({"id": 7, "email": "c@example.org"}, {"7": "b"}),
    ],
)
def test_completed_by_is_asked_where_the_data_do_not_say_it(by: Any, who: dict[str, str], review: Review) -> None:
    export = [task(review, 1, annotation(RESULTS["pair"], completed_by=by), annotator="b")]
    del export[0]["data"]["annotator"]
    assert dict(take(review, export, who=who).by_annotator) == {"b": 1}


@pytest.mark.parametrize(
    ("by", "named"), [(7, "7"), ({"id": 7, "email": "z@example.org"}, "z@example.org"), (None, "USER"), (True, "True")]
)
def test_an_unknown_user_is_a_located_problem_that_says_what_to_do(by: Any, named: str, review: Review) -> None:
    export = [task(review, 1, annotation(RESULTS["pair"], completed_by=by))]
    del export[0]["data"]["annotator"]
    said = problem(review, export)
    assert "task 1 .annotations[0] .completed_by: " in said
    assert f"pass --who {named}=ANNOTATOR" in said


def test_who_names_annotators_of_the_review(review: Review) -> None:
    with pytest.raises(UsageError, match="unknown annotator 'z'"):
        take(review, [], who={"7": "z"})


# What is refused.


def minimal(review: Review) -> list[Row]:
    """Rows of JSON_MIN."""
    own = read_tasks(review, "a")[0]
    return [own | {"id": 1, "preference": "A", "annotator": 1, "annotation_id": 1, "created_at": EARLY,
                   "updated_at": LATE, "lead_time": 3.1}]  # fmt: skip


def test_json_min_is_refused_with_the_reason(review: Review) -> None:
    said = problem(review, minimal(review))
    assert "this is JSON_MIN, which drops tasks that were skipped and has rows without an annotator" in said
    assert "export the project as JSON" in said
    done = run("review", "import", review.path, review.path.parent / "export-0.json", code=1)
    assert "this is JSON_MIN" in done.stderr


Changed = Callable[[Row], Any]
WRONG: list[tuple[Changed, str]] = [
    (lambda one: one["data"].update(item="r-999999"), "task 2 .data.item: 'r-999999' is no item that a was given"),
    (lambda one: one["data"].update(item=17), "task 2 .data.item: missing"),
    (lambda one: one["data"].pop("item"), "task 2 .data.item: missing"),
    (lambda one: one["data"].update(round=2), "task 2 .data.item: 'r-000002' is no item that a was given in round 2"),
    (lambda one: one["data"].update(round="1"), "task 2 .data.round: '1' is not a round"),
    (lambda one: one["data"].update(form="triple"), "task 2 .data.form: 'triple', and the review is of form pair"),
    (lambda one: one["data"].update(annotator="z"), "task 2 .data.annotator: 'z' is none of a, b"),
    (lambda one: one["data"].update(annotator=3), "task 2 .data.annotator: 3 is none of a, b"),
    (lambda one: one["data"].update(response_a="别的"), "task 2 .data.response_a: another text than"),
    (lambda one: one["data"].update(dialogue=[]), "task 2 .data.dialogue: another text than"),
    (lambda one: one.pop("data"), "task 2 .data: missing or not an object"),
    (lambda one: one.update(annotations=None), "task 2 .annotations: missing or not a list"),
    (lambda one: one.update(annotations=[3]), "task 2 .annotations[0]: not an object"),
    (lambda one: one["annotations"][0].update(result=None), "task 2 .annotations[0] .result: not a list"),
    (lambda one: one["annotations"][0].update(result=[]), "annotations[0] .result: preference: missing"),
    (lambda one: one["annotations"][0].update(result=["A"]), "annotations[0] .result[0]: not an object"),
    (lambda one: one["annotations"][0].update(was_cancelled="no"), ".was_cancelled: 'no' is not true or false"),
    (lambda one: one["annotations"][0].update(lead_time=-3), ".lead_time: -3 is not a number of seconds from 0"),
    (lambda one: one["annotations"][0].update(lead_time="3"), ".lead_time: '3' is not a number of seconds"),
    (lambda one: one["annotations"][0].update(lead_time=float("inf")), ".lead_time: inf is not a number of seconds"),
    (lambda one: one["annotations"][0].update(lead_time=1e11), "annotations[0] .lead_time: 100000000000.0 is not"),
    (lambda one: one["annotations"][0].update(lead_time=10**400), "000... is not a number of seconds from 0 to a year"),
    (lambda one: one["annotations"][0]["result"].append(comment("\ud800")), ".result: '\\ud800' is not text"),
    (lambda one: one["annotations"][0].update(updated_at="gestern"), ".updated_at: 'gestern' is not a time"),
    (lambda one: one["annotations"][0].update(updated_at=None, created_at=None), ".updated_at: missing"),
    (lambda one: one["annotations"][0].update(result=[choices("preference", "C")]),
     ".result[0] .value.choices: ['C'] is not one of A, tie, B"),
    (lambda one: one["annotations"][0].update(result=[choices("preference", "A", "B")]), "is not one of A, tie, B"),
    (lambda one: one["annotations"][0].update(result=[choices("preference", "A")] * 2), "preference is answered twice"),
    (lambda one: one["annotations"][0].update(result=[choices("preference", "A"), choices("correct", "both")]),
     "'both' is none of a_correct, b_correct"),
    (lambda one: one["annotations"][0].update(result=[{"from_name": "preference", "value": {"text": ["A"]}}]),
     ".result[0] .value.choices: None is not a list of texts"),
    (lambda one: one["annotations"][0].update(result=[{"from_name": "preference"}]),
     ".result[0] .value: missing or not an object"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), WRONG)
def test_what_is_wrong_is_one_located_error_and_nothing_is_written(change: Changed, said: str, review: Review) -> None:
    export = [task(review, at, annotation(RESULTS["pair"])) for at in (1, 2, 3)]
    change(export[1])
    found = problem(review, export)
    assert said in found
    assert len(found.splitlines()) == 2


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"1": ["b"], "2": ["a"], "_": ["c"]}, "'c' stands at no rank"),
        ({"1": ["b"], "2": ["a"]}, "ranking: [['b'], ['a']] is not each of a, b and c once"),
        ({"1": ["b"], "2": ["a", "b", "c"]}, "is not each of a, b and c once"),
        ({"1": ["b"], "best": ["a", "c"]}, "'best' is none of the ranks 1, 2, 3"),
        ({"1": ["x"]}, "'x' is none of a, b, c"),
        ({"1": "abc"}, "not a list, and not lists of answers by rank"),
        ("abc", "not a list, and not lists of answers by rank"),
        (None, "not a list, and not lists of answers by rank"),
    ],
)
def test_rankings_that_are_none(value: Any, said: str, tmp_path: Path) -> None:
    review = make_review(tmp_path / "review", "triple")
    assert said in problem(review, [task(review, 1, annotation([ranker(value)]))])


@pytest.mark.parametrize(
    ("value", "levels"),
    [
        (["c", "a", "b"], [["c"], ["a"], ["b"]]),
        ({"ranking": ["c", "a", "b"]}, [["c"], ["a"], ["b"]]),
        ({"3": ["c"], "1": ["b", "a"]}, [["a", "b"], ["c"]]),
        ({"1": [], "2": ["a", "c", "b"], "_": []}, [["a", "b", "c"]]),
    ],
)
def test_rankings_in_buckets_and_in_a_list(value: Any, levels: list[list[str]], tmp_path: Path) -> None:
    review = make_review(tmp_path / "review", "triple")
    take(review, [task(review, 1, annotation([ranker(value)]))])
    assert [dict(one.answer or {}) for one in read_answers(review.path)] == [{"ranking": levels}]


@pytest.mark.parametrize(("selected", "preference"), [("left", "A"), ("right", "B")])
def test_a_pairwise_of_somebodys_own_config(selected: str, preference: str, review: Review) -> None:
    result = {"from_name": "preference", "to_name": "x", "type": "pairwise", "value": {"selected": selected}}
    take(review, [task(review, 1, annotation([result]))])
    assert (read_answers(review.path)[0].answer or {})["preference"] == preference
    result["value"] = {"selected": "both"}
    assert "'both' is none of left, right" in problem(review, [task(review, 2, annotation([result]))])


def test_what_no_form_asks_is_told_and_not_read(review: Review) -> None:
    rating = {"from_name": "style", "to_name": "dialogue", "type": "rating", "value": {"rating": 4}}
    found = take(review, [task(review, at, annotation([*RESULTS["pair"], rating])) for at in (1, 2)])
    assert dict(found.unread) == {"style": 2}
    # Form pair has two criteria, and asks no third: a config of somebody's own may.
    found = take(review, [task(review, 3, annotation([*RESULTS["pair"], choices("query_ok", "no")]))])
    assert dict(found.unread) == {"query_ok": 1}


def test_form_accept_asks_whether_the_query_is_fit(tmp_path: Path) -> None:
    accept = make_review(tmp_path / "accept", "accept")
    said = [choices("preference", "A"), choices("query_ok", "maybe")]
    assert "['maybe'] is not one of yes, no" in problem(accept, [task(accept, 1, annotation(said))])
    assert "query_ok: None is not true or false" in problem(accept, [task(accept, 1, annotation(said[:1]))])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON, or cut short"),
        ("[{", "not JSON, or cut short"),
        ("\udcff", "not JSON"),
        ("[" * 100_000, "not JSON, or cut short"),
        ('{"tasks": [], "total": 0}', "an answer of Label Studio's API"),
        ('{"id": 1}', "{'id': 1}, not a list of tasks: export the project as JSON"),
        ('{"item": "r-000001", "form": "pair"}', "one task, not a list of tasks: export the project as JSON"),
        ('[{"id": 1, "completed_by": 1, "result": []}]', "a list of annotations, without the tasks that they are of"),
        ('"r-000001"', "'r-000001', not a list of tasks"),
        ("3", "3, not a list of tasks"),
        ("[3]", "task 1 .data: missing or not an object"),
        ("id,item\n1,r-000001\n", "not JSON"),
    ],
)
def test_files_that_are_no_export(text: str, said: str, review: Review) -> None:
    path = review.path.parent / "export-0.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError) as refused:
        import_answers(review.path, [path])
    assert f"{path}: " in refused.value.args[0]
    assert said in refused.value.args[0]


def test_a_truncated_file_beside_a_whole_one_imports_nothing(review: Review) -> None:
    whole = [task(review, at, annotation(RESULTS["pair"])) for at in (1, 2, 3)]
    text = json.dumps([task(review, 1, annotation(RESULTS["pair"]), annotator="b")])
    with pytest.raises(DataError, match=r"export-1\.json: not JSON, or cut short"):
        take(review, whole, text[: len(text) // 2])
    assert read_answers(review.path) == []


def test_many_problems_are_counted(review: Review) -> None:
    values = [f"C{chr(97 + at)}" for at in range(25)]
    said = problem(review, [task(review, 1, annotation([choices("preference", one)])) for one in values]).splitlines()
    assert len(said) == 22
    assert said[20] == "and 5 more problems"


def without(name: str) -> Changed:
    return lambda one: one["data"].pop(name)


ALIKE: list[tuple[Changed, str]] = [
    (
        lambda one: one["data"].update(form="triple"),
        "task 1 .data.form: 'triple', and the review is of form pair: name ",
    ),
    (lambda one: one["data"].update(annotator="z"), "task 1 .data.annotator: 'z' is none of a, b: name the review"),
    (without("annotator"), "task 1 .annotations[0] .completed_by: '1' is none of a, b, and the task does not"),
    (lambda one: one["data"].update(item=f"r-1{one['data']['item'][2:]}"), "task 1 .data.item: 'r-1000001' is no item"),
    (lambda one: one["data"].update(response_a="别的"), "task 1 .data.response_a: another text than"),
    (lambda one: one.pop("annotations"), "task 1 .annotations: missing or not a list: export the project from Label"),
    (lambda one: one.pop("data"), "task 1 .data: missing or not an object"),
    (without("item"), "task 1 .data.item: missing: not a task of a review"),
]


@pytest.mark.parametrize(("change", "said"), ALIKE)
def test_one_cause_in_many_tasks_is_one_line_with_a_count(change: Changed, said: str, tmp_path: Path) -> None:
    review = make_review(tmp_path / "review", items=30)
    export = [task(review, at, annotation(RESULTS["pair"])) for at in range(1, 31)]
    for one in export:
        change(one)
    path = tmp_path / "export-0.json"
    first, last = problem(review, export).splitlines()
    assert first.startswith(f"{path}: {said}")
    assert first.endswith(" (and 29 more like it)")
    assert last == "nothing was imported"
    some = [task(review, at, annotation(RESULTS["pair"])) for at in range(1, 31)]
    for one in some[4:6]:
        change(one)
    first, _ = problem(review, some).splitlines()
    assert first.startswith(f"{path}: task 5 .")
    assert first.endswith(" (and 1 more like it)")


def test_one_cause_in_many_lines_of_ours_is_one_line(review: Review, tmp_path: Path) -> None:
    file = tmp_path / "theirs.jsonl"
    lines = [an_answer(annotator="z", item=f"r-{at:06d}").to_dict() for at in range(30)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    with pytest.raises(DataError) as refused:
        import_answers(review.path, [file])
    assert refused.value.args[0] == (
        f"{file} line 1 .annotator: 'z' is none of a, b: name the review that asks them (and 29 more like it)\n"
        "nothing was imported"
    )


def test_a_mark_of_byte_order_before_an_export_is_no_text(review: Review, tmp_path: Path) -> None:
    """Editors and PowerShell on Windows write one."""
    export = json.dumps([task(review, 1, annotation(RESULTS["pair"]))])
    assert take(review, "\ufeff" + export).new == 1
    file = tmp_path / "theirs.jsonl"
    file.write_text("\ufeff" + json.dumps(an_answer(annotator="b").to_dict()) + "\n", encoding="utf-8")
    assert import_answers(review.path, [file]).new == 1


# Answers of our own, from another machine.


def test_answers_of_another_machine(review: Review, tmp_path: Path) -> None:
    other = make_review(tmp_path / "other")
    append(other.path, "b", an_answer(annotator="b", answer={"preference": "B", "correct": []}))
    append(other.path, "b", an_answer(annotator="b", at="2026-11-26T11:00:00+00:00"))
    append(other.path, "b", an_answer(annotator="b", item="r-000002"))
    file = other.path / "answers" / "b.jsonl"
    with file.open("ab") as stream:
        stream.write(b'{"item": "r-0000')
    found = import_answers(review.path, [file])
    assert (found.new, found.torn) == (2, 1)
    assert read_answers(review.path) == read_answers(other.path)
    assert import_answers(review.path, [file]).same == 2
    append(other.path, "b", an_answer(annotator="b", item="r-000002", answer=None, at="2026-11-26T12:00:00+00:00"))
    assert import_answers(review.path, [file]).changed == 1
    assert [one.item for one in read_answers(review.path)] == ["r-000001"], "taken back there, and so here"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"annotator": "z"}, "line 2 .annotator: 'z' is none of a, b"),
        ({"item": "r-9"}, "line 2 .item: 'r-9' is no item that b was given in round 1"),
        ({"answer": {"preference": "left"}}, "line 2 .answer.preference: 'left' is not one of"),
        ({"at": ""}, "line 2 .at: '' is not a time"),
    ],
)
def test_a_wrong_line_of_theirs_is_one_located_error(changes: Row, said: str, review: Review, tmp_path: Path) -> None:
    lines = [vars(an_answer(annotator="b")), vars(an_answer(annotator="b", item="r-000002")) | changes]
    file = tmp_path / "theirs.jsonl"
    text = "".join(json.dumps({k: v for k, v in line.items() if k != "line"}) + "\n" for line in lines)
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as refused:
        import_answers(review.path, [file])
    assert f"{file} {said}" in refused.value.args[0]
    assert read_answers(review.path) == []
    assert AT


def test_files_that_are_not_there(review: Review, tmp_path: Path) -> None:
    for name in ("none.json", "none.jsonl"):
        with pytest.raises(UsageError, match=f"{name}: no such file"):
            import_answers(review.path, [tmp_path / name])
    for name in ("folder.json", "folder.jsonl"):
        (tmp_path / name).mkdir()
        with pytest.raises(DataError, match="cannot be read"):
            import_answers(review.path, [tmp_path / name])
    with pytest.raises(DataError, match="not a review"):
        import_answers(tmp_path, [tmp_path / "none.json"])
    assert open_review(review.path).form == "pair"
