"""Annotators with a browser that runs no script."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from coig_p.review.answers import answers_path
from coig_p.review.page.app import make_app
from coig_p.review.page.desk import Desk

ORIGIN = "http://127.0.0.1"


TOKENS = {"a": "token-of-a-0123456789abcd", "b": "token-of-b-0123456789abcd"}


FIELDS: dict[str, dict[str, Any]] = {
    "pair": {"preference": "A", "correct": ["a"]},
    "accept": {"preference": "B", "query_ok": "yes"},
    "triple": {"place_a": "2", "place_b": "1", "place_c": "2"},
    "query": {"feasible": "no"},
}


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


def lines(folder: Path, annotator: str = "a") -> list[dict[str, Any]]:
    path = answers_path(folder, annotator)
    whole = path.read_text("utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in whole if line.endswith("}")]


ITEMS = ("r-000001", "r-000002", "r-000003")
