"""What the page of a review refuses in words: answers that do not fit, other sites, damage, a full disk."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from desk_people import FIELDS, ITEMS, ORIGIN, Read, lines, people
from hypothesis import given
from hypothesis import strategies as st
from reviewed import an_answer, make_review

from coig_p.report.view.words import LANGUAGES
from coig_p.review.answers import answer_problem, answers_path, append, read_answers
from coig_p.review.folder import FORMS, REVIEW, tasks_path
from coig_p.review.page import desk as desk_module
from coig_p.review.page.desk import Desk
from coig_p.review.page.forms import Unfit, answer_of, fields_from, seconds_of
from coig_p.review.page.words import words


@pytest.fixture
def review(tmp_path: Path) -> Path:
    return make_review(tmp_path / "review").path


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
