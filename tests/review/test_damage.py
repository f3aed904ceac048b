"""What lies in a review counts as it was written: nothing that was changed, swapped or lost is shown, or counted."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from make import make_rows, make_store
from people import answer_in_browser

from coig_p.errors import DataError
from coig_p.review.answers import read_answers
from coig_p.review.applying import apply_review
from coig_p.review.drawing import DrawConfig
from coig_p.review.folder import KEY, REVIEW, open_review, read_key, tasks_path, write_key
from coig_p.review.making import make_audit, make_review
from coig_p.review.page.desk import Desk
from coig_p.review.reporting import review_report
from coig_p.review.resolving import resolve
from coig_p.review.votes import read_votes
from coig_p.store.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.open(make_store(tmp_path_factory.mktemp("damage") / "store", make_rows({"math": 12, "chat": 12})))


def drawn(store: Store, folder: Path) -> Path:
    make_review(store, folder, DrawConfig(per_domain=4), ["a", "b"])
    answer_in_browser(folder, "a")
    return folder


CHANGED: list[tuple[str, Any]] = [
    ("annotators", ["a"]),
    ("annotators", ["a", "b", "c"]),
    ("annotators", ["b", "a"]),
    ("rounds", 7),
    ("rounds", 1),
    ("overlap", 1),
    ("seed", 5),
    ("form", "accept"),
    ("pairs", {"threshold": 3.0}),
    ("domains", {}),
    ("domains", {"math": {"pairs": 1, "queries": 1, "drawn": 2}}),
    ("options", {"by": "margin"}),
    ("store", {"name": "other", "manifest_sha256": "0" * 64}),
    ("files", {}),
    ("key_sha256", "0" * 64),
    ("tool", "by hand"),
    ("more", 1),
]


@pytest.mark.parametrize(("name", "value"), CHANGED)
def test_a_review_that_was_changed_by_hand_is_not_believed(name: str, value: Any, store: Store, tmp_path: Path) -> None:
    """A person who is left out takes all their answers with them, a domain that is left out its part of the mean."""
    folder = drawn(store, tmp_path / "review")
    make_audit(folder, store, 1)
    path = folder / REVIEW
    told = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(told, ensure_ascii=True, indent=4, sort_keys=True), encoding="utf-8")
    assert open_review(folder).rounds == 2, "however it is laid out"
    without = {key: one for key, one in told.items() if key != name}
    for changed in (told | {name: value}, without if name in told else told | {name: 2}):
        path.write_text(json.dumps(changed), encoding="utf-8")
        for work in (review_report, read_votes, open_review, read_answers):
            with pytest.raises(DataError, match=rf"review\.json: {name} is "):
                work(folder)


def test_the_key_of_another_draw_and_answers_of_nobody_are_errors(store: Store, tmp_path: Path) -> None:
    """A key of another draw may have the same items of the same people, on other sides."""
    folder = drawn(store, tmp_path / "review")
    right = (folder / KEY).read_bytes()
    rows = read_key(open_review(folder))
    write_key(folder / KEY, [replace(row, chosen="a" if row.chosen == "b" else "b") for row in rows])
    with pytest.raises(DataError, match=r"key\.parquet: not the key that review\.json was written with"):
        review_report(folder)
    (folder / KEY).write_bytes(right)
    review_report(folder)
    (folder / "answers" / "zz.jsonl").write_bytes(b"")
    review_report(folder)
    (folder / "answers" / "zz.jsonl").write_bytes((folder / "answers" / "a.jsonl").read_bytes())
    with pytest.raises(DataError, match=r"zz\.jsonl: nobody of that name is asked, who are a, b: "):
        review_report(folder)


@pytest.mark.parametrize("change", ["swapped", "another text", "gone", "in another order", "no file"])
def test_tasks_that_are_not_as_they_were_written_are_neither_shown_nor_counted(
    change: str, store: Store, tmp_path: Path
) -> None:
    folder = drawn(store, tmp_path / "review")
    desk = Desk(folder, "a")
    desk.look()
    path = tasks_path(folder, "a")
    tasks = json.loads(path.read_text("utf-8"))
    data = tasks[0]["data"]
    if change == "swapped":
        data["response_a"], data["response_b"] = data["response_b"], data["response_a"]
    elif change == "another text":
        data["dialogue"][0]["content"] += "?"
    elif change == "gone":
        del tasks[0]
    elif change == "in another order":
        tasks.reverse()
    path.write_text(json.dumps(tasks, ensure_ascii=False), "utf-8")
    if change == "no file":
        path.unlink()
    works: list[Callable[[], Any]] = [
        desk.look,
        Desk(folder, "a").check,
        lambda: review_report(folder),
        lambda: apply_review(folder, store, tmp_path / "checked"),
        lambda: make_audit(folder, store, 1),
        lambda: resolve(folder),
    ]
    for work in works:
        with pytest.raises(DataError, match=r"tasks-a\.json: (not as it was written|missing)"):
            work()
    assert not (tmp_path / "checked").exists()
    Desk(folder, "b").check()  # who may lack the files of others


@pytest.mark.skipif(os.name == "nt", reason="files have no mode there")
def test_the_key_is_its_owners_alone(store: Store, tmp_path: Path) -> None:
    """Who answers may have an account on the same machine."""
    umask = os.umask(0o022)
    try:
        folder = drawn(store, tmp_path / "review")
        assert stat.S_IMODE((folder / KEY).stat().st_mode) == 0o600
        make_audit(folder, store, 1)
        assert stat.S_IMODE((folder / KEY).stat().st_mode) == 0o600
        assert stat.S_IMODE(tasks_path(folder, "a").stat().st_mode) == 0o644
    finally:
        os.umask(umask)
