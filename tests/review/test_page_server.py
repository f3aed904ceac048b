"""The addresses of a review's page, and its server."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from desk_people import Read, people
from reviewed import an_answer, make_review

from coig_p.errors import CoigPError, DataError, UnknownNameError, UsageError
from coig_p.review.answers import Answer, append
from coig_p.review.folder import open_review, tasks_path
from coig_p.review.page.addresses import SERVING, hold
from coig_p.review.page.app import serve


@pytest.fixture
def review(tmp_path: Path) -> Path:
    return make_review(tmp_path / "review").path


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
