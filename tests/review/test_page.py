"""The page on which people answer: what it shows and saves, whom it answers; a kill or a second click costs nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from reviewed import SAID, an_answer, make_review
from starlette.testclient import TestClient

from coig_p.core.text import printable
from coig_p.errors import CoigPError, DataError, UnknownNameError, UsageError
from coig_p.report.view.words import LANGUAGES
from coig_p.review import answers as answers_module
from coig_p.review.answers import Answer, answer_problem, answers_path, append, read_answers, read_log
from coig_p.review.folder import FORMS, KEY, REVIEW, add_round, open_review, read_key, tasks_path, write_review
from coig_p.review.page import app as app_module
from coig_p.review.page import desk as desk_module
from coig_p.review.page.addresses import SERVING, hold
from coig_p.review.page.app import make_app, serve
from coig_p.review.page.desk import Desk
from coig_p.review.page.forms import Unfit, answer_of, fields_from, seconds_of
from coig_p.review.page.words import words

ORIGIN = "http://127.0.0.1"
TOKENS = {"a": "token-of-a-0123456789abcd", "b": "token-of-b-0123456789abcd"}
FIELDS: dict[str, dict[str, Any]] = {
    "pair": {"preference": "A", "correct": ["a"]},
    "accept": {"preference": "B", "query_ok": "yes"},
    "triple": {"place_a": "2", "place_b": "1", "place_c": "2"},
    "query": {"feasible": "no"},
}
HOSTILE = (
    "<script>window.broken=1</script>\"><img src=x onerror='window.broken=1'></textarea></style>"
    "{{ 7*7 }}{% raw %}\u202eRTL \x1b[31mred\x07 \u0000"
)


class Read(HTMLParser):
    """What is in a page: its tags with attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, name: str) -> list[str]:
        """What a form would send under a name as the page stands."""
        return [
            attrs.get("value") or ""
            for tag, attrs in self.tags
            if tag == "input"
            and attrs.get("name") == name
            and (attrs.get("type") in ("hidden", None) or "checked" in attrs)
        ]


@dataclass
class Person:
    """An annotator with a browser that runs no script."""

    client: TestClient
    name: str
    language: str = ""

    @property
    def root(self) -> str:
        return f"/{TOKENS[self.name]}"

    def get(self, path: str = "", **more: Any) -> Any:
        return self.client.get(f"{self.root}/{path}{self.language}", **more)

    def post(self, path: str, fields: dict[str, Any], **headers: str) -> Any:
        return self.client.post(f"{self.root}/{path}{self.language}", data=fields, headers={"Origin": ORIGIN} | headers)

    def say(self, item: str, fields: dict[str, Any], action: str = "answer", round_: int = 1) -> Any:
        """Open a task, and send its form as the page stands, with what is said."""
        stamp = Read(self.get(f"tasks/{round_}/{item}").text).values("stamp")[-1]
        return self.post(f"tasks/{round_}/{item}", {"action": action, "stamp": stamp, **fields})

    def undo(self) -> Any:
        page = self.get("tasks").text
        form = page[page.index('id="undo"') :]
        fields = dict(re.findall(r'name="(\w+)" value="(.*?)"', form)[:3])
        return self.post("undo", fields)


def people(folder: Path, said: list[str] | None = None) -> tuple[Person, Person]:
    """Both annotators of a review, on one server that begins now."""
    told: list[str] = [] if said is None else said
    desks = {TOKENS[name]: Desk(folder, name) for name in TOKENS}
    client = TestClient(make_app(desks, told.append), base_url=ORIGIN)
    return Person(client, "a"), Person(client, "b")


@pytest.fixture
def review(tmp_path: Path) -> Path:
    return make_review(tmp_path / "review").path


def lines(folder: Path, annotator: str = "a") -> list[dict[str, Any]]:
    path = answers_path(folder, annotator)
    whole = path.read_text("utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in whole if line.endswith("}")]


ITEMS = ("r-000001", "r-000002", "r-000003")


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


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("pair", {}, "say-preference"),
    ("pair", {"preference": ""}, "say-preference"),
    ("pair", {"preference": "C"}, "no-value"),
    ("pair", {"preference": "a"}, "no-value"),
    ("pair", {"preference": ["A", "B"]}, "twice"),
    ("pair", {"preference": "A", "correct": ["c"]}, "no-value"),
    ("pair", {"preference": "A", "correct": ["a", "a"]}, "no-value"),
    ("pair", {"preference": "A", "query_ok": "yes"}, "no-field"),
    ("accept", {"preference": "A", "query_ok": "maybe"}, "no-value"),
    ("pair", {"preference": "A", "model": "m"}, "no-field"),
    ("pair", {"preference": "A", "feasible": "yes"}, "no-field"),
    ("pair", {"preference": "A", "comment": "长" * 20_001}, "too-long-comment"),
    ("accept", {"preference": "A"}, "say-query-ok"),
    ("accept", {"preference": "A", "query_ok": ""}, "say-query-ok"),
    ("accept", {"query_ok": "yes"}, "say-preference"),
    ("triple", {"place_a": "1", "place_b": "2"}, "say-places"),
    ("triple", {"place_a": "1", "place_b": "2", "place_c": "4"}, "no-value"),
    ("triple", {"preference": "A"}, "no-field"),
    ("query", {}, "say-feasible"),
    ("query", {"feasible": "true"}, "no-value"),
]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("form", "fields", "word"), REFUSED)
def test_what_does_not_fit_the_form_is_refused_in_words(
    form: str, fields: dict[str, Any], word: str, language: str, tmp_path: Path
) -> None:
    folder = make_review(tmp_path / "review", form).path
    a, _ = people(folder)
    a.language = f"?lang={language}"
    refused = a.say("r-000001", fields)
    assert refused.status_code == 422
    said = " ".join(Read(refused.text).text.split())
    assert words(language)["not-saved"] in said
    assert words(language)[word].split("{")[-1].split("}")[-1].strip(" .。") in said
    assert lines(folder) == []
    if form in ("pair", "accept") and fields.get("preference") in ("A", "B"):
        assert Read(refused.text).values("preference") == [fields["preference"]], "what was right still stands"


@pytest.mark.parametrize("action", ["", "delete", None])
def test_a_form_without_its_button_is_refused(action: str | None, review: Path) -> None:
    a, _ = people(review)
    fields = {"stamp": "0", **FIELDS["pair"]} | ({} if action is None else {"action": action})
    assert a.post("tasks/1/r-000001", fields).status_code == 422
    assert a.post("tasks/1/r-000001", fields | {"action": "answer", "stamp": "x"}).status_code == 422
    assert lines(review) == []


@given(
    st.sampled_from(FORMS),
    st.dictionaries(
        st.sampled_from(("preference", "correct", "query_ok", "feasible", "place_a", "place_b", "place_c", "x")),
        st.lists(st.sampled_from(("A", "tie", "B", "a", "b", "c", "yes", "no", "1", "2", "3", "", "4")), max_size=3),
    ),
)
def test_any_fields_give_an_answer_of_the_form_or_are_refused(form: str, fields: dict[str, list[str]]) -> None:
    try:
        found = answer_of(form, fields)
    except Unfit as unfit:
        words("en")[unfit.word].format(**unfit.given)  # there are words for it
        return
    assert answer_problem(form, found) is None
    assert answer_of(form, fields_from(found)) == found, "the page of an answer gives the answer again"


def test_places_with_gaps_are_an_order() -> None:
    for places, wanted in (
        ("133", [["a"], ["b", "c"]]), ("222", [["a", "b", "c"]]), ("321", [["c"], ["b"], ["a"]]),
        ("211", [["b", "c"], ["a"]]),
    ):  # fmt: skip
        fields = {f"place_{side}": [place] for side, place in zip("abc", places, strict=True)}
        assert answer_of("triple", fields) == {"ranking": wanted}


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"seconds": ["3.04"], "shown": ["900"]}, 3.0), ({"seconds": [""], "shown": ["900"]}, 100.0),
        ({"shown": ["1100"]}, None), ({"seconds": ["nan"]}, None), ({"seconds": ["1e300"]}, None), ({}, None),
        ({"seconds": ["-1"], "shown": ["x"]}, None), ({"seconds": ["0"]}, 0.0),
    ],
)  # fmt: skip
def test_time_is_the_scripts_else_the_servers_else_unknown(fields: dict[str, list[str]], seconds: float | None) -> None:
    assert seconds_of(fields, 1000.0) == seconds


def test_without_a_script_the_server_counts(review: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, _ = people(review)
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)
    shown = Read(a.get("tasks/1/r-000001").text).values("shown")[-1]
    monkeypatch.setattr(time, "time", lambda: 1_000_042.5)
    a.say("r-000001", FIELDS["pair"] | {"shown": shown, "seconds": ""})
    assert lines(review)[0]["seconds"] == 42.5


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


def test_pages_come_with_a_strict_policy(review: Path) -> None:
    a, _ = people(review)
    for path in ("", "tasks", "tasks/1/r-000001", "nope", "static/review.js"):
        headers = a.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["x-content-type-options"] == "nosniff"
    for path in ("static/view.css", "static/review.css", "static/review.js", "static/icon.svg"):
        assert a.get(path).status_code == 200
    for path in ("static/app.py", "static/..%2fapp.py", "tasks/x/r-000001", f"tasks/1/{'9' * 400}"):
        assert a.get(path).status_code == 404


def test_only_who_knows_the_address_and_names_this_machine_is_answered(review: Path) -> None:
    a, _ = people(review)
    fields = {"action": "answer", "stamp": "0", **FIELDS["pair"]}
    for root in ("", "/token", a.root[:-1], a.root.upper(), f"{a.root}x"):
        assert a.client.get(f"{root}/tasks").status_code == 404
        answer = a.client.post(f"{root}/tasks/1/r-000001", data=fields, headers={"Origin": ORIGIN})
        assert answer.status_code == 404
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:80", ""):
        assert a.get("tasks", headers={"Host": host}).status_code == 403
        assert a.post("tasks/1/r-000001", fields, Host=host, Origin=f"http://{host}").status_code == 403
    assert a.get("tasks", headers={"Host": "localhost:9000"}).status_code == 200, "through a tunnel"
    assert lines(review) == []


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "https://127.0.0.1", "http://127.0.0.1:81"])
def test_no_other_site_can_answer(origin: str | None, review: Path) -> None:
    a, _ = people(review)
    fields = {"action": "answer", "stamp": "0", **FIELDS["pair"]}
    headers = {} if origin is None else {"Origin": origin}
    for path in ("tasks/1/r-000001", "undo"):
        answer = a.client.post(f"{a.root}/{path}", data=fields, headers=headers)
        assert answer.status_code == 403
        assert words("en")["not-from-here"] in answer.text
    assert lines(review) == []
    assert a.post("tasks/1/r-000001", fields, Host="localhost:9000", Origin="http://localhost:9000").status_code == 200


def test_a_request_that_is_no_form_is_refused(review: Path) -> None:
    a, _ = people(review)
    kind = "application/x-www-form-urlencoded"
    for content, sent_as, status in (
        (b'{"action": "answer"}', "application/json", 415), (b"", "", 415), (b"a=1" + b"&a=1" * 99, kind, 400),
        (b"action=answer&comment=%ff", kind, 400), (b"action=\xff", kind, 400), (b"a" * (17 << 20), kind, 413),
        (b"action=answer&stamp=0&preference=A&comment=%ED%A0%80", kind, 400),
    ):  # fmt: skip
        headers = {"Origin": ORIGIN, "Content-Type": sent_as}
        assert a.client.post(f"{a.root}/tasks/1/r-000001", content=content, headers=headers).status_code == status
    assert lines(review) == []


@pytest.mark.parametrize("length", [20_001, 200_000, 1_000_000])
def test_a_comment_that_is_too_long_is_told_so_however_long_it_is(length: int, review: Path) -> None:
    a, _ = people(review)
    answer = a.say("r-000001", {"preference": "A", "comment": "长" * length})
    assert answer.status_code == 422
    assert words("en")["too-long-comment"].format(number=f"{length:,}", most="20,000") in answer.text
    assert "长" * length in answer.text, "what was written is not lost"
    headers = {"Origin": ORIGIN, "Content-Type": "application/x-www-form-urlencoded"}
    for language in LANGUAGES:
        path = f"{a.root}/tasks/1/r-000001?lang={language}"
        answer = a.client.post(path, content=b"comment=" + b"a" * (17 << 20), headers=headers)
        assert answer.status_code == 413
        assert words(language)["too-much"] in answer.text
    assert lines(review) == []


@pytest.mark.parametrize("broken", [REVIEW, "tasks", "answers"])
def test_what_is_damaged_while_it_is_served_is_told_to_who_runs_it(broken: str, review: Path) -> None:
    said: list[str] = []
    a, _ = people(review, said)
    a.say("r-000001", FIELDS["pair"])
    path = {REVIEW: review / REVIEW, "tasks": tasks_path(review, "a"), "answers": answers_path(review, "a")}[broken]
    path.write_text('{"no": 1}\n', encoding="utf-8")
    for answer in (a.get(), a.get("tasks"), a.get("tasks/1/r-000002"), a.post("tasks/1/r-000002", {"stamp": "0"})):
        assert answer.status_code == 500
        assert words("en")["damaged"] in answer.text
        assert str(review) not in answer.text
    assert len(said) == 4
    assert all(str(path) in one for one in said)


def test_a_full_disk_is_no_answer(review: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    a, _ = people(review, said)
    stamp = {"stamp": "0", "action": "answer"}

    def full(*given: Any) -> None:
        raise OSError(28, "No space left on device", str(review / "answers" / "a.jsonl"))

    with monkeypatch.context() as patched:
        patched.setattr("coig_p.review.page.desk.append_all", full)
        assert a.post("tasks/1/r-000001", stamp | FIELDS["pair"]).status_code == 500
    assert said == [f"{review / 'answers' / 'a.jsonl'}: No space left on device"]
    assert read_answers(review) == []
    assert a.post("tasks/1/r-000001", stamp | FIELDS["pair"]).status_code == 200
    assert len(read_answers(review)) == 1


def test_a_file_is_read_anew_where_it_changed_and_only_there(review: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(review, "a")
    read: list[str] = []
    for name in ("read_tasks", "last_words"):
        whole = getattr(desk_module, name)

        def counted(*given: Any, whole: Any = whole, name: str = name) -> Any:
            read.append(name)
            return whole(*given)

        monkeypatch.setattr(desk_module, name, counted)
    for _ in range(3):
        desk.look()
    assert sorted(read) == ["last_words", "read_tasks"]
    append(review, "a", an_answer())
    assert [desk.look().state((1, item)) for item in ITEMS[:2]] == ["answered", "open"]
    assert read[2:] == ["last_words"]


def test_a_process_that_is_killed_and_one_that_is_interrupted(review: Path) -> None:
    """The whole command: addresses on standard output, answers on the disk, and Ctrl-C its end."""
    words_ = [sys.executable, "-m", "coig_p", "review", "serve", str(review), "--annotator", "a"]
    said = set()
    for item, ends_with in zip(ITEMS, (signal.SIGKILL, signal.SIGKILL, signal.SIGINT), strict=True):
        with subprocess.Popen(words_, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            name, address = process.stdout.readline().split()
            said.add((name, address))
            origin = address.rsplit("/", 2)[0]
            body = b"action=answer&stamp=0&preference=tie"
            request = urllib.request.Request(f"{address}tasks/1/{item}", data=body, headers={"Origin": origin})
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert answer.status == 200
            process.send_signal(ends_with)
            errors = process.communicate()[1]
        assert process.returncode == (130 if ends_with == signal.SIGINT else -ends_with)
    assert len(said) == 1, "the same address each time"
    assert errors.splitlines() == ["Ctrl-C ends it", "interrupted"]
    assert [line["item"] for line in lines(review)] == list(ITEMS)


# The addresses, and the server.


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that ends at once."""

    class Ended:
        def __init__(self, config: Any) -> None:
            pass

        def run(self, sockets: list[socket.socket]) -> None:
            pass

    monkeypatch.setattr(uvicorn, "Server", Ended)


def addresses(folder: Path, *names: str, port: int = 0) -> dict[str, str]:
    found: dict[str, str] = {}
    said: list[str] = []
    serve(folder, names, port, found.update, said.append)
    return found


@pytest.mark.usefixtures("ended")
def test_an_address_lasts_and_is_each_annotators_own(review: Path) -> None:
    first = addresses(review)
    assert list(first) == ["a", "b"]
    assert len({one.rsplit("/", 2)[1] for one in first.values()}) == 2
    assert all(re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{22}/", one) for one in first.values())
    assert addresses(review) == first
    assert addresses(review, "b") == {"b": first["b"]}
    for name in "ab":
        assert (review / SERVING / f"{name}.json").stat().st_mode & 0o077 == 0, "readable by its owner alone"
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", int(first["a"].split(":")[2].split("/")[0])))
        taken.listen()
        other = addresses(review, "a")
        assert other != {"a": first["a"]}, "another port, where the last one is taken"
        assert other["a"].rsplit("/", 2)[1] == first["a"].rsplit("/", 2)[1]
        with pytest.raises(UsageError, match="Choose another: --port"):
            addresses(review, "a", port=taken.getsockname()[1])


@pytest.mark.usefixtures("ended")
@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"token": "short", "port": 1}', '{"token": "%s", "port": 70000}', "9"]
)
def test_a_file_of_an_address_that_was_cut_short_gives_a_new_one(text: str, review: Path) -> None:
    (review / SERVING).mkdir()
    (review / SERVING / "a.json").write_text(text.replace("%s", "x" * 22), encoding="utf-8")
    assert addresses(review, "a") == addresses(review, "a")


@pytest.mark.usefixtures("ended")
def test_no_two_servers_write_the_answers_of_one_annotator(review: Path) -> None:
    held = hold(review, "a")
    with pytest.raises(UsageError, match="annotator a: another server"):
        addresses(review)
    assert list(addresses(review, "b")) == ["b"]
    held.close()
    assert list(addresses(review)) == ["a", "b"]


@pytest.mark.usefixtures("ended")
def test_what_cannot_be_served_is_one_error(review: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown annotator 'c'"):
        addresses(review, "c")
    with pytest.raises(DataError, match="not a review"):
        addresses(tmp_path / "nothing")
    tasks_path(review, "b").write_text("[1]", encoding="utf-8")
    with pytest.raises(CoigPError, match=r"tasks-b\.json task 1"):
        addresses(review)
    tasks_path(review, "b").unlink()
    with pytest.raises(DataError, match=r"tasks-b\.json: missing"):
        addresses(review, "b")
    assert list(addresses(review, "a")) == ["a"]
    (review / SERVING / "a.json").unlink()
    (review / SERVING / "a.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="symbolic link"):
        addresses(review, "a")
    assert not (tmp_path / "elsewhere").exists()


def test_answers_that_an_import_brings_are_seen_at_once(review: Path) -> None:
    a, _ = people(review)
    append(review, "a", an_answer(item="r-000001", by="label-studio"))
    assert str(a.get().url).endswith("/r-000002")
    assert Read(a.get("tasks/1/r-000001").text).values("preference") == ["A"]
    taken: Answer = an_answer(item="r-000001", answer=None)
    append(review, "a", taken)
    assert str(a.get().url).endswith("/r-000001")
    assert open_review(review).annotators == ("a", "b")
