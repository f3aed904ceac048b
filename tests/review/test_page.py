"""The page on which people answer: what it shows and saves, whom it answers; a kill or a second click costs nothing."""

from __future__ import annotations

import json
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from desk_people import FIELDS, ITEMS, TOKENS, Person, Read, lines, people
from hypothesis import given, settings
from hypothesis import strategies as st
from reviewed import SAID, make_review

from coig_p.core.text import printable
from coig_p.report.view.words import LANGUAGES
from coig_p.review import answers as answers_module
from coig_p.review.answers import answers_path, read_answers, read_log
from coig_p.review.folder import FORMS, KEY, REVIEW, add_round, read_key, tasks_path, write_review
from coig_p.review.page import app as app_module
from coig_p.review.page.desk import Desk
from coig_p.review.page.forms import fields_from
from coig_p.review.page.words import words


@pytest.fixture
def review(tmp_path: Path) -> Path:
    return make_review(tmp_path / "review").path


HOSTILE = (
    "<script>window.broken=1</script>\"><img src=x onerror='window.broken=1'></textarea></style>"
    "{{ 7*7 }}{% raw %}\u202eRTL \x1b[31mred\x07 \u0000"
)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_asked_and_what_is_said_is_in_the_file(form: str, tmp_path: Path) -> None:
    folder = make_review(tmp_path / "review", form).path
    a, _ = people(folder)
    first = a.get()
    assert str(first.url).endswith("/tasks/1/r-000001")
    page = Read(first.text)
    assert "问题1？" in page.text
    fields = {name for tag, attrs in page.tags if tag in ("input", "textarea") and (name := attrs.get("name"))}
    assert set(FIELDS[form]) <= fields
    after = a.say("r-000001", FIELDS[form] | {"comment": " 好。\r\n第二行 ", "seconds": "12.34"})
    assert str(after.url).endswith("/tasks/1/r-000002"), "the next task"
    (line,) = lines(folder)
    wanted = SAID[form]
    assert {name: line[name] for name in line if name != "at"} == {
        "item": "r-000001", "annotator": "a", "round": 1, "answer": wanted, "comment": "好。\n第二行", "seconds": 12.3,
        "by": "page", "skipped": False,
    }  # fmt: skip
    assert answers_module.time_of(line["at"]) is not None
    again = Read(a.get("tasks/1/r-000001").text)
    for name, value in fields_from(wanted).items():
        assert sorted(again.values(name)) == sorted(value), "the page of a task that has an answer shows it"


def test_answers_are_taken_in_any_order_and_the_next_open_task_follows(review: Path) -> None:
    a, _ = people(review)
    assert str(a.say("r-000002", FIELDS["pair"]).url).endswith("/r-000003")
    assert str(a.say("r-000003", {}, "skip").url).endswith("/r-000001"), "the first that is open, from the beginning"
    done = a.say("r-000001", FIELDS["pair"])
    assert str(done.url).endswith("/tasks")
    page = Read(done.text)
    assert words("en")["done"] in page.text
    assert "2 of 3 · 1 skipped" in " ".join(page.text.split())
    assert [line["skipped"] for line in lines(review)] == [False, True, False]
    assert a.get().url == done.url


def test_progress_is_told_of_each_domain(tmp_path: Path) -> None:
    review = make_review(tmp_path / "drawn", items=4)
    tasks = {name: json.loads(tasks_path(review.path, name).read_text("utf-8")) for name in "ab"}
    for own in tasks.values():
        own[3]["data"]["domain"] = "chat"
    write_review(tmp_path / "review", review, read_key(review), tasks, "<View/>\n")
    a, _ = people(tmp_path / "review")
    a.say("r-000001", FIELDS["pair"])
    said = " ".join(Read(a.say("r-000004", FIELDS["pair"]).text).text.split())
    for told in ("2 of 4", "math 1 of 3", "chat 1 of 1"):
        assert told in said
    sheet = Desk(tmp_path / "review", "a").look()
    assert sheet.progress() == {
        "math": {"answered": 1, "skipped": 0, "open": 2},
        "chat": {"answered": 1, "skipped": 0, "open": 0},
    }


def test_undo_takes_back_one_answer_after_the_other(review: Path) -> None:
    a, _ = people(review)
    for item in ITEMS[:2]:
        a.say(item, FIELDS["pair"])
    assert str(a.undo().url).endswith("/r-000002")
    assert [one.item for one in read_answers(review)] == ["r-000001"]
    assert str(a.undo().url).endswith("/r-000001")
    assert read_answers(review) == []
    assert 'id="undo"' not in a.get("tasks").text
    assert [(one["item"], one["answer"] is None, one["skipped"]) for one in lines(review)] == [
        ("r-000001", False, False), ("r-000002", False, False), ("r-000002", True, False), ("r-000001", True, False),
    ]  # fmt: skip
    assert words("en")["is-answered"] not in a.get("tasks/1/r-000001").text
    a.say("r-000001", FIELDS["pair"] | {"preference": "B"})
    (again,) = read_answers(review)
    assert again.answer is not None
    assert again.answer["preference"] == "B"


def test_an_undo_that_is_sent_twice_takes_back_one(review: Path) -> None:
    a, _ = people(review)
    for item in ITEMS[:2]:
        a.say(item, FIELDS["pair"])
    fields = {"round": "1", "item": "r-000002", "stamp": "2"}
    for _ in range(2):
        assert a.post("undo", fields).status_code == 200
    assert [one.item for one in read_answers(review)] == ["r-000001"]
    a.say("r-000002", FIELDS["pair"])
    a.post("undo", fields)  # of a page from before: what was said since stays
    assert len(read_answers(review)) == 2
    assert len(lines(review)) == 4


def test_a_skip_may_be_answered_later_and_undone(review: Path) -> None:
    a, _ = people(review)
    a.say("r-000001", {"comment": "看不懂"}, "skip")
    (skipped,) = read_answers(review)
    assert (skipped.skipped, skipped.answer, skipped.comment) == (True, None, "看不懂")
    assert words("en")["is-skipped"] in a.get("tasks/1/r-000001").text
    a.undo()
    assert read_answers(review) == []
    a.say("r-000001", {"preference": "A"}, "skip")  # what was chosen before is no answer
    a.say("r-000001", FIELDS["pair"])
    (answer,) = read_answers(review)
    assert answer.answer == SAID["pair"]


def test_a_form_that_is_sent_twice_is_one_answer(review: Path) -> None:
    a, _ = people(review)
    fields = {"action": "answer", "stamp": "0", **FIELDS["pair"]}
    for _ in range(3):
        assert str(a.post("tasks/1/r-000001", fields).url).endswith("/r-000002")
    assert len(lines(review)) == 1
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: a.post("tasks/1/r-000002", fields | {"seconds": "9"}).status_code, range(24)))
    assert [line["item"] for line in lines(review)] == ["r-000001", "r-000002"]
    a.say("r-000001", FIELDS["pair"])  # opened again and saved as it stands
    assert len(lines(review)) == 2


def test_what_was_said_elsewhere_since_is_not_replaced_unseen(review: Path) -> None:
    a, _ = people(review)
    fields = {"action": "answer", "stamp": "0", **FIELDS["pair"]}
    a.post("tasks/1/r-000001", fields)
    refused = a.post("tasks/1/r-000001", fields | {"preference": "B", "comment": "another tab"})
    assert refused.status_code == 409
    page = Read(refused.text)
    assert words("en")["stale"] in page.text
    assert page.values("preference") == ["B"], "what was said is not lost"
    assert "another tab" in page.text
    (kept,) = read_answers(review)
    assert kept.answer == SAID["pair"]
    a.post("tasks/1/r-000001", fields | {"preference": "B", "stamp": page.values("stamp")[-1]})
    (replaced,) = read_answers(review)
    assert replaced.answer == SAID["pair"] | {"preference": "B"}


def test_an_answer_taken_back_does_not_return_with_a_form_from_before(review: Path) -> None:
    a, _ = people(review)
    fields = {"action": "answer", "stamp": "0", **FIELDS["pair"]}
    a.post("tasks/1/r-000001", fields)
    a.undo()
    assert a.post("tasks/1/r-000001", fields).status_code == 409
    assert read_answers(review) == []


def test_a_server_that_was_killed_goes_on_where_it_was(review: Path) -> None:
    """A kill is a server that is gone: nothing of it is kept but the files."""
    for number, item in enumerate(ITEMS, 1):
        a, _ = people(review)
        assert str(a.get().url).endswith(f"/{item}")
        a.say(item, FIELDS["pair"])
        with open(answers_path(review, "a"), "ab") as file:
            file.write(b'{"item": "r-0000')  # the next was being written
        a, _ = people(review)
        assert [one.item for one in read_answers(review)] == list(ITEMS[:number])
        assert f"{number} of 3" in a.get("tasks").text
    assert read_log(review).torn == {"a": 3}


def test_an_answer_whose_page_never_came_is_there_once(review: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the disk and the answer to the browser, which sends the form again."""
    a, _ = people(review)
    whole = app_module.path_of

    def killed(task: Any) -> str:
        raise RuntimeError("killed")

    monkeypatch.setattr(app_module, "path_of", killed)
    with pytest.raises(RuntimeError):
        a.post("tasks/1/r-000001", {"action": "answer", "stamp": "0", **FIELDS["pair"]})
    monkeypatch.setattr(app_module, "path_of", whole)
    a, _ = people(review)
    after = a.post("tasks/1/r-000001", {"action": "answer", "stamp": "0", **FIELDS["pair"]})
    assert str(after.url).endswith("/r-000002")
    assert len(lines(review)) == 1


STEPS = st.one_of(
    st.tuples(st.sampled_from(("A", "tie", "B", "skip")), st.sampled_from(ITEMS)),
    st.sampled_from((("undo", ""), ("again", ""), ("kill", ""), ("torn", ""))),
)


@given(st.lists(STEPS, max_size=12))
@settings(max_examples=40)
def test_any_course_of_a_day_ends_as_a_slow_account_of_it(steps: list[tuple[str, str]]) -> None:
    """Answers, skips, second clicks, ways back and kills in any order; undo takes back what was said last."""
    account: list[tuple[str, str]] = []  # what counts, in the order it was said
    with TemporaryDirectory() as folder:
        review = make_review(Path(folder) / "review").path
        a, _ = people(review)
        sent: tuple[str, dict[str, Any]] | None = None
        for step, item in steps:
            if step in ("kill", "torn"):
                if step == "torn" and lines(review):
                    with open(answers_path(review, "a"), "ab") as file:
                        file.write(b'{"item": "r-')
                a, _ = people(review)
            elif step == "undo":
                if account:
                    a.undo()
                    account.pop()
                sent = None  # its stamp is an old one
            elif step == "again":
                if sent is not None:
                    assert a.post(*sent).status_code == 200
            else:
                stamp = Read(a.get(f"tasks/1/{item}").text).values("stamp")[-1]
                said = {"action": "skip"} if step == "skip" else {"action": "answer", "preference": step}
                sent = f"tasks/1/{item}", said | {"stamp": stamp}
                assert a.post(*sent).status_code == 200
                if (item, step) not in account:
                    account = [*(one for one in account if one[0] != item), (item, step)]
        found = [(one.item, "skip" if one.answer is None else one.answer["preference"]) for one in read_answers(review)]
        assert found == account


def test_every_answer_is_on_the_disk_before_the_next_page(review: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    whole = os.fsync

    def sync(descriptor: int) -> None:
        synced.append(descriptor)
        whole(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    a, _ = people(review)
    a.say("r-000001", FIELDS["pair"])
    assert synced


def test_two_annotators_at_once_see_and_say_only_what_is_theirs(review: Path) -> None:
    a, b = people(review)
    said: list[str] = []

    def work(person: Person, preference: str) -> None:
        for item in ITEMS:
            said.append(person.get(f"tasks/1/{item}").text)
            assert person.say(item, FIELDS["pair"] | {"preference": preference}).status_code == 200

    threads = [threading.Thread(target=work, args=given) for given in ((a, "A"), (b, "B"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, preference in (("a", "A"), ("b", "B")):
        own = lines(review, name)
        assert [line["item"] for line in own] == list(ITEMS)
        assert {line["annotator"] for line in own} == {name}
        assert {line["answer"]["preference"] for line in own} == {preference}
    for other, person in ((b, a), (a, b)):
        page = person.get("tasks").text
        assert TOKENS[other.name] not in page
        assert "3 of 3" in page


def test_an_annotator_asked_for_fewer_tasks_cannot_open_the_others(tmp_path: Path) -> None:
    review = make_review(tmp_path / "drawn")
    tasks = {name: json.loads(tasks_path(review.path, name).read_text("utf-8")) for name in "ab"}
    key = [row for row in read_key(review) if (row.annotator, row.item) != ("b", "r-000003")]
    write_review(tmp_path / "review", review, key, {"a": tasks["a"], "b": tasks["b"][:2]}, "<View/>\n")
    a, b = people(tmp_path / "review")
    assert a.get("tasks/1/r-000003").status_code == 200
    assert b.get("tasks/1/r-000003").status_code == 404
    fields = {"action": "answer", "stamp": "0", **FIELDS["pair"]}
    assert b.post("tasks/1/r-000003", fields).status_code == 404
    assert b.post("undo", {"round": "1", "item": "r-000003", "stamp": "0"}).status_code == 404
    assert lines(tmp_path / "review", "b") == []


def test_a_second_round_follows_the_first_and_its_answers_are_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "review"
    review = make_review(folder)
    a, _ = people(folder)
    a.say("r-000002", FIELDS["pair"])
    first = json.loads(tasks_path(folder, "a").read_text("utf-8"))
    second = [{"data": one["data"] | {"round": 2}} for one in first[1:2]]
    text = (folder / REVIEW).read_bytes()
    rows = [replace(row, round=2) for row in read_key(review) if (row.annotator, row.item) == ("a", ITEMS[1])]
    now = add_round(review, rows, {"a": second})
    (folder / REVIEW).write_bytes(text)
    assert "1 of 3" in a.get("tasks").text, "not before it counts"
    (folder / REVIEW).write_text(now.to_json(), encoding="utf-8")
    assert "1 of 4" in a.get("tasks").text, "without a restart"
    assert a.get("tasks/2/r-000001").status_code == 404
    assert a.say("r-000002", FIELDS["pair"] | {"preference": "B"}, round_=2).status_code == 200
    assert str(a.say("r-000003", FIELDS["pair"]).url).endswith("/tasks/1/r-000001")
    found = {one.round: one.answer["preference"] for one in read_answers(folder) if one.answer and one.item == ITEMS[1]}
    assert found == {1: "A", 2: "B"}


def everything(person: Person) -> str:
    """All that a person can be sent, headers too."""
    found = []
    for path in ("", "tasks", *(f"tasks/1/{item}" for item in ITEMS), "nope", "static/review.js", "static/view.css"):
        answer = person.get(path)
        found.append(f"{answer.headers}{answer.text}")
    found.append(person.say("r-000001", {}).text)
    found.append(person.say("r-000001", FIELDS["pair"]).text)
    return "".join(found)


def test_nothing_of_the_key_or_the_folder_is_sent(tmp_path: Path) -> None:
    """Models, the store and the side it prefers stand in the key and in review.json, and the folder's name may tell."""
    folder = make_review(tmp_path / "qwen-against-llama").path
    everything_sent = "".join(everything(person) for person in people(folder))
    for word in ("model-", "qwen", "llama", "q-1", "chosen", "manifest", str(tmp_path)):
        assert word not in everything_sent, word


def test_the_key_is_never_read(review: Path) -> None:
    (review / KEY).unlink()
    (review / KEY).mkdir()  # whoever opens it fails
    a, b = people(review)
    for person in (a, b):
        assert everything(person)
        person.undo()
    assert [line["item"] for line in lines(review)] == ["r-000001", "r-000001"]


@pytest.mark.parametrize("path", ["", "tasks", "tasks/1/r-000001", "tasks/9/r-000001", "nope"])
@pytest.mark.parametrize("language", ["en", "zh", "xx"])
def test_every_page_is_in_both_languages(path: str, language: str, review: Path) -> None:
    a, _ = people(review)
    a.language = f"?lang={language}"
    html = a.get(path).text
    assert f'<html lang="{"zh-Hans" if language == "zh" else "en"}">' in html
    assert words(language)["all-tasks"] in html
    kept = re.findall(r'(?:href|action)="(/token-of-a[^"]*)"', html)
    own = [one for one in kept if "static" not in one]
    assert sum(("lang=zh" in one) != (language == "zh") for one in own) == 1, "all but the one to the other language"


def test_words_are_there_in_both_languages() -> None:
    english, chinese = (words(language) for language in LANGUAGES)
    assert english.keys() == chinese.keys()
    for key in english:
        assert set(re.findall(r"{\w+}", english[key])) == set(re.findall(r"{\w+}", chinese[key]))
        assert re.search("[\u4e00-\u9fff]", chinese[key]) or key in ("of", "other-language"), key


def test_hostile_texts_are_texts(tmp_path: Path) -> None:
    review = make_review(tmp_path / "drawn")
    tasks = {name: json.loads(tasks_path(review.path, name).read_text("utf-8")) for name in "ab"}
    for own in tasks.values():
        for one in own:
            one["data"] |= {"domain": HOSTILE, "response_a": HOSTILE, "response_b": f"</pre>{HOSTILE}"}
            one["data"]["dialogue"] = [{"role": HOSTILE, "content": HOSTILE}]
    write_review(tmp_path / "review", review, read_key(review), tasks, "<View/>\n")
    a, _ = people(tmp_path / "review")
    for answer in (
        a.get("tasks"),
        a.get("tasks/1/r-000001"),
        a.say("r-000001", {"preference": HOSTILE, "comment": HOSTILE}),
        a.say("r-000001", {HOSTILE: "x", "preference": "A"}),
        a.say("r-000001", FIELDS["pair"] | {"comment": HOSTILE}),
        a.get("tasks/1/r-000001"),
    ):
        page = Read(answer.text)
        scripts = [attrs for tag, attrs in page.tags if tag == "script"]
        assert [attrs["src"] for attrs in scripts] == [f"{a.root}/static/review.js"]
        assert not [tag for tag, _ in page.tags if tag in ("img", "svg", "iframe", "object")]
        assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert printable(HOSTILE) in Read(a.get("tasks/1/r-000002").text).text
    assert lines(tmp_path / "review")[0]["comment"] == HOSTILE.strip()
