"""Questions are asked again, changes are looked for: every end of one request, without a network or a clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coig_p.errors import RemoteError, UsageError
from coig_p.publish.client import WAITS, HubRepo
from coig_p.publish.trouble import trouble_of


class AnsweredError(Exception):
    """As a client raises it: with the answer."""

    def __init__(self, status: int, **headers: str) -> None:
        self.response = SimpleNamespace(status_code=status, headers=headers)


@dataclass
class Server:
    """Answers as told, then with success; `late`: what it said it failed at it did all the same."""

    answers: list[int | str]
    late: bool = False
    done: int = 0
    asked: int = 0
    looked: int = 0
    waited: list[float] = field(default_factory=list)

    def act(self) -> str:
        self.asked += 1
        answer = self.answers.pop(0) if self.answers else 200
        if answer in (500, "cut"):
            self.done += self.late and not self.done
            raise ConnectionError if answer == "cut" else AnsweredError(500)
        if answer != 200:
            assert isinstance(answer, int)
            raise AnsweredError(answer)
        if self.done:  # the parent that a commit names is stale by now
            raise AnsweredError(412)
        self.done += 1
        return "answer"

    def happened(self) -> bool:
        self.looked += 1
        return self.done > 0

    def repo(self) -> HubRepo:
        return HubRepo("org/name", "https://hub.example.org", None, None, Path(), 1.0, self.waited.append)

    def change(self) -> None:
        def act() -> None:
            self.act()

        self.repo().change("committing", act, self.happened)


@pytest.mark.parametrize(
    ("answers", "late", "ends", "looked", "waited"),
    [
        ([], False, None, 0, []),
        ([429], False, None, 0, [1]),  # a clear no
        ([500], False, None, 1, [1]),
        ([500], True, None, 1, [1]),  # done, though nobody said so
        (["cut", "cut"], True, None, 1, [1]),
        (["cut", 412], False, "somebody else", 6, [1, *WAITS]),  # what it says may be old: it is asked again
        ([409], False, "somebody else", 5, list(WAITS)),  # there may be one already: it is looked for
        ([404], False, "not found", 5, list(WAITS)),
        ([412], False, "somebody else", 0, []),  # a commit of somebody else
        ([403], False, "no permission", 0, []),
        (["cut", 403], False, "no permission", 6, [1, *WAITS]),
        (["cut"] * 5, False, "no answer", 5, list(WAITS)),
        ([429] * 5, False, "too many requests", 0, list(WAITS)),
    ],
)
def test_a_change(answers: list, late: bool, ends: str | None, looked: int, waited: list) -> None:
    server = Server(list(answers), late)
    if ends is None:
        server.change()
    else:
        with pytest.raises(RemoteError, match=ends):
            server.change()
    assert (server.looked, server.waited) == (looked, waited)
    assert server.done == (ends is None)


def test_what_is_there_already_is_no_conflict() -> None:
    for status in (409, 404):  # made by somebody else, or deleted
        server = Server([status], done=1)
        server.change()
        assert (server.asked, server.looked) == (1, 1)
    with pytest.raises(RemoteError, match="somebody else"):
        Server([412], done=1).change()  # but a stale parent is, where nothing of ours went unanswered


@given(st.lists(st.sampled_from([403, 404, 409, 412, 429, 500, "cut"]), max_size=6), st.booleans())
def test_a_change_happens_once_or_is_said_not_to_have(answers: list, late: bool) -> None:
    server = Server(list(answers), late)
    try:
        server.change()
        assert server.done == 1
    except RemoteError:
        assert server.done == 0
    assert server.asked <= len(WAITS) + 1


def test_a_question_is_asked_again_as_the_server_says() -> None:
    server = Server([500, "cut", 503])
    assert server.repo().ask("looking", server.act) == "answer"
    assert server.waited == [1, 2, 4]
    for wait, headers in ((7, {"Retry-After": "7"}), (55, {"ratelimit": '"api";r=0;t=55'})):
        told = [AnsweredError(429, **headers)]
        waited: list[float] = []
        repo = HubRepo("org/name", "https://hub.example.org", None, None, Path(), 1.0, waited.append)

        def answer(told: list = told) -> str:
            if told:
                raise told.pop()
            return "answer"

        assert repo.ask("looking", answer) == "answer"
        assert waited == [wait]


def test_a_server_that_asks_for_too_long_is_told_of() -> None:
    def refuse() -> None:
        raise AnsweredError(429, **{"Retry-After": "301"})

    server = Server([])
    with pytest.raises(RemoteError, match="Wait for 301 seconds"):
        server.repo().ask("looking", refuse)
    assert server.waited == []


def test_an_error_of_our_own_is_no_trouble_of_the_network() -> None:
    assert trouble_of(UsageError("a mirror")) is None
    trouble = trouble_of(ValueError("<html>"))
    assert trouble is not None
    assert trouble.garbled
