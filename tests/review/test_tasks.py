"""What an annotator sees: all that was said, and nothing of whose it is or what a judge gave it."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from conversations import conversation_rows
from hypothesis import given
from make import completed, make_old_store, make_rows, make_store
from oracle import oracle_pairs
from strategies import examples

from coig_p.errors import UsageError
from coig_p.pairs.config import PairConfig
from coig_p.review.drawing import DrawConfig
from coig_p.review.folder import FORMS, KEY, open_review, prompt_sha256, read_key, read_tasks, response_sha256, sides_of
from coig_p.review.gold import identity
from coig_p.review.joining import check_store
from coig_p.review.making import make_review
from coig_p.review.tasks import Item, Shown, config_xml, items_of, named, task_of, turned
from coig_p.store.store import Store

Row = dict[str, Any]


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store whose names, scores and rationales are found again wherever they are."""
    rows = make_rows({"math": 40, "chat": 40}, seed=8)
    for row in rows:
        row["query_id"] = f"SECRETQUERY{row['query_id']}"
        row["source"] = "SECRETSOURCE"
        for response in row["responses"]:
            response["model"] = f"SECRETMODEL{response['model']}"
            for score in response["scores"]:
                score["score"] += 0.1237
                score["judge"] = f"SECRETJUDGE{score['judge']}"
                score["rationale"] = "SECRETRATIONALE"
    return Store.open(make_store(tmp_path_factory.mktemp("marked") / "store", rows))


@pytest.mark.parametrize("form", FORMS)
def test_no_task_holds_a_model_a_score_a_choice_or_a_query_id(marked: Store, form: str, tmp_path: Path) -> None:
    folder = tmp_path / "review"
    made, _ = make_review(marked, folder, DrawConfig(form, per_domain=30), ["a", "b"])
    assert made.items
    files = [path for path in folder.rglob("*") if path.is_file()]
    open_ones = [path for path in files if path.name not in (KEY, "review.json")]
    assert sorted(path.name for path in open_ones) == ["config.xml", "tasks-a.json", "tasks-b.json"]
    allowed = {"item", "annotator", "round", "form", "domain", "dialogue", "responses"}
    for path in open_ones:
        text = path.read_text(encoding="utf-8")
        assert "SECRET" not in text
        assert not re.search(r"\.\d*237", text), "a score, or the difference of two"
        if path.suffix == ".json":
            for task in json.loads(text):
                assert set(task) == {"data"}
                shown = {f"response_{side}" for side in sides_of(form)}
                assert set(task["data"]) == (allowed if form == "triple" else allowed - {"responses"}) | shown
    hashes = {side.text_sha256 for row in read_key(open_review(folder)) for side in row.sides}
    assert not any(one in path.read_text(encoding="utf-8") for path in open_ones for one in hashes)


@pytest.mark.parametrize("form", FORMS)
def test_the_key_says_what_stood_on_each_side(marked: Store, form: str, tmp_path: Path) -> None:
    make_review(marked, tmp_path / "review", DrawConfig(form, per_domain=20), ["a", "b"])
    review = open_review(tmp_path / "review")
    rows = {row["query_id"]: row for batch in marked.batches() for row in batch.to_pylist()}
    tasks = {(task["item"], name): task for name in "ab" for task in read_tasks(review, name)}
    found = oracle_pairs(list(rows.values()), threshold=2)
    pairs = {(one["query_id"], one["chosen_model"], one["rejected_model"], one["margin"]) for one in found}
    key = read_key(review)
    assert len(key) == len(tasks)
    for row in key:
        task, raw = tasks[row.item, row.annotator], rows[row.query_id]
        assert (task["domain"], row.query_sha256) == (raw["domain"], prompt_sha256(raw))
        assert task["dialogue"] == [{"role": "user", "content": raw["query"]}]
        by_name = {(one["model"], one["sample"]): one for one in raw["responses"]}
        for side in row.sides:
            assert task[f"response_{side.side}"] == by_name[side.response]["text"]
            assert side.text_sha256 == response_sha256(by_name[side.response])
        if form in ("pair", "accept"):
            rejected = next(side.side for side in row.sides if side.side != row.chosen)
            names = [row.side(side).model for side in (row.chosen, rejected)]  # type: ignore[union-attr]
            assert (row.query_id, *names, row.margin) in pairs
        else:
            assert (row.chosen, row.margin) == (None, None)


def test_sides_are_a_hash_and_balanced(marked: Store, tmp_path: Path) -> None:
    """Whether the chosen response stands first is a coin for each item and annotator, thrown once and for all."""
    names = [f"p{at}" for at in range(12)]
    first, again = tmp_path / "first", tmp_path / "again"
    for folder in (first, again):
        make_review(marked, folder, DrawConfig(per_domain=40), names, pairs=PairConfig(threshold=0))
    key = read_key(open_review(first))
    assert key == read_key(open_review(again))
    assert (first / "tasks-p3.json").read_bytes() == (again / "tasks-p3.json").read_bytes()
    for part in (key, *([row for row in key if row.annotator == name] for name in names)):
        share = sum(row.chosen == "a" for row in part) / len(part)
        assert abs(share - 0.5) < 3.9 * 0.5 / len(part) ** 0.5, "further off than one in ten thousand draws"
    by_item = Counter((row.item, row.chosen) for row in key)
    assert len(by_item) > 1.9 * len({row.item for row in key}), "nearly every item stands both ways for somebody"
    make_review(marked, tmp_path / "seed", DrawConfig(per_domain=40, seed=1), names)
    other = {(row.query_id, row.annotator): row.chosen for row in read_key(open_review(tmp_path / "seed"))}
    same = [
        row.chosen == other.get((row.query_id, row.annotator)) for row in key if (row.query_id, row.annotator) in other
    ]
    assert 0.3 < sum(same) / len(same) < 0.7


def test_each_annotator_has_an_order_of_its_own(marked: Store, tmp_path: Path) -> None:
    make_review(marked, tmp_path / "review", DrawConfig(per_domain=20), ["a", "b", "c"])
    review = open_review(tmp_path / "review")
    orders = [[task["item"] for task in read_tasks(review, name)] for name in "abc"]
    assert len({tuple(order) for order in orders}) == 3
    assert len({frozenset(order) for order in orders}) == 1
    domains = [task["domain"] for task in read_tasks(review, "a")]
    assert sum(one != other for one, other in pairwise(domains)) > 5, "domains are mixed"


@examples(40)
@given(rows=conversation_rows())
def test_all_of_a_conversation_is_shown(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> None:
    store = Store.open(make_store(tmp_path_factory.mktemp("talk") / "store", completed(rows)))
    folder = tmp_path_factory.mktemp("talk") / "review"
    make_review(store, folder, DrawConfig(), ["a"])
    review = open_review(folder)
    by_item = {row.item: row for row in read_key(review)}
    for task in read_tasks(review, "a"):
        (raw,) = (row for row in rows if row["query_id"] == by_item[task["item"]].query_id)
        turns = [turn for turn in task["dialogue"] if turn["role"] != "tools"]
        expected = raw["messages"] or [{"role": "user", "content": raw["query"], "extra": None}]
        assert [turn["role"] for turn in turns] == [turn["role"] for turn in expected]
        for shown, said in zip(turns, expected, strict=True):
            assert shown["content"].startswith(said["content"])
            for call in json.loads(said["extra"] or "{}").get("tool_calls", ()):
                assert call["function"]["name"] in shown["content"]
        assert [turn["content"] for turn in task["dialogue"] if turn["role"] == "tools"] == (
            [raw["tools"]] if raw["tools"] else []
        )
        for side in by_item[task["item"]].sides:
            (response,) = (one for one in raw["responses"] if one["model"] == side.model)
            held = json.loads(response["extra"] or "{}")
            text = task[f"response_{side.side}"]
            assert text.startswith(response["text"])
            assert held.get("reasoning_content", "") in text
            assert all(call["function"]["name"] in text for call in held.get("tool_calls", ()))
            assert "temperature" not in text, "what an import was told to keep is not the answer's"


def test_answers_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """A store of schema version 1 has no samples, and so a model's answers have one name."""
    rows = make_rows({"math": 30}, seed=2)
    for raw in rows:
        for response in raw["responses"]:
            response["model"] = "one"
    store = Store.open(make_old_store(tmp_path / "store", rows))
    made, _ = make_review(store, tmp_path / "review", DrawConfig(per_domain=30), ["a"])
    key = read_key(made.review)
    pairs = {(one["query_id"], one["chosen"], one["rejected"]) for one in oracle_pairs(rows, threshold=2)}
    assert check_store(made.review, key, store).same_store
    for row in key:
        (task,) = (one for one in read_tasks(made.review, "a") if one["item"] == row.item)
        texts = (task["response_a"], task["response_b"])
        assert (row.query_id, *(texts if row.chosen == "a" else reversed(texts))) in pairs


# Items and names.


def _item(**changes: Any) -> Item:
    shown = tuple(Shown(f"m{at}", 0, f"t{at}", f"{at}" * 64) for at in range(3))
    return Item(**({"item": "r-000001", "kind": "drawn", "query_id": "q", "domain": "math", "query_sha256": "0",
                    "dialogue": (), "responses": shown} | changes))  # fmt: skip


def test_names_say_nothing_and_are_never_given_twice() -> None:
    identities: list[tuple[object, ...]] = [("q", at) for at in range(3000)]
    found = named(0, identities)
    assert len(set(found.values())) == 3000
    assert all(re.fullmatch(r"r-\d{6}", name) for name in found.values())
    assert found == named(0, reversed(identities))
    more = named(0, [("gold", at) for at in range(3000)], found.values())
    assert not set(more.values()) & set(found.values())
    numbers = sorted(int(name[2:]) for name in found.values())
    assert 400_000 < numbers[1500] < 600_000, "all over the range, whatever came first"


def test_an_answer_is_turned_with_its_sides() -> None:
    letters = {"a": "b", "b": "c", "c": "a"}
    assert turned({"ranking": [["b"], ["a", "c"]]}, letters) == {"ranking": [["c"], ["a", "b"]]}
    swap = {"a": "b", "b": "a"}
    assert turned({"preference": "A", "correct": ["a"], "query_ok": True}, swap) == {
        "preference": "B",
        "correct": ["b"],
        "query_ok": True,
    }
    assert turned({"preference": "tie", "correct": ["b", "a"]}, swap) == {"preference": "tie", "correct": ["a", "b"]}
    assert turned({"feasible": False}, {}) == {"feasible": False}


def test_the_known_answer_stands_on_the_sides_shown(marked: Store, tmp_path: Path) -> None:
    made, _ = make_review(marked, tmp_path / "review", DrawConfig("triple", per_domain=3), ["a"])
    gold = _item(kind="gold", gold={"ranking": [["b"], ["a", "c"]]})
    shown = set()
    for at in range(40):
        row, task = task_of(made.review, gold, f"p{at}")
        shown.add(tuple(side.model for side in row.sides))
        assert row.gold is not None
        (best,), tied = row.gold["ranking"]
        assert row.side(best).model == "m1"  # type: ignore[union-attr]
        assert {row.side(one).model for one in tied} == {"m0", "m2"}  # type: ignore[union-attr]
        assert [task["data"][f"response_{side.side}"] for side in row.sides] == [
            f"t{side.model[1]}" for side in row.sides
        ]
        assert [one["body"] for one in task["data"]["responses"]] == [f"t{side.model[1]}" for side in row.sides]
    assert len(shown) == 6, "every order of three"


@pytest.mark.parametrize("form", FORMS)
def test_items_come_back_from_the_files_to_be_asked_again(marked: Store, form: str, tmp_path: Path) -> None:
    made, _ = make_review(marked, tmp_path / "review", DrawConfig(form, per_domain=8), ["a", "b"])
    key = read_key(made.review)
    items = items_of(made.review, key)
    assert set(items) == {row.item for row in key}
    assert items == items_of(made.review, key[::-1]), "whoever's tasks they are read from"
    for row in key:
        again, _ = task_of(made.review, items[row.item], row.annotator, 2)
        assert {side.response for side in again.sides} == {side.response for side in row.sides}
        chosen = row.side(row.chosen), again.side(again.chosen)
        assert (chosen[0] and chosen[0].response) == (chosen[1] and chosen[1].response)
        assert identity(items[row.item])[:2] == (row.query_sha256, row.query_id)


# Label Studio's config.


@pytest.mark.parametrize("form", FORMS)
def test_the_config_is_xml_that_renders_no_html_and_names_what_tasks_have(form: str) -> None:
    root = ElementTree.fromstring(config_xml(form))
    tags = {one.tag for one in root.iter()}
    assert not tags & {"HyperText", "Pairwise", "Markdown"}
    fields = {one.get("value", "")[1:] for one in root.iter() if one.get("value", "").startswith("$")}
    shown = {"responses"} if form == "triple" else {f"response_{side}" for side in sides_of(form)}
    assert fields == {"dialogue"} | shown
    controls = {one.get("name"): one for one in root.iter() if one.get("toName")}
    asked = {"pair": ["preference", "correct"], "accept": ["preference", "correct", "query_ok"],
             "triple": ["ranking"], "query": ["feasible"]}[form]  # fmt: skip
    assert list(controls) == [*asked, "comment"]
    named_objects = {one.get("name") for one in root.iter() if one.get("value", "").startswith("$")}
    assert all(one.get("toName") in named_objects for one in controls.values())
    required = {name for name, one in controls.items() if one.get("required") == "true"}
    assert required == {"pair": {"preference"}, "accept": {"preference", "query_ok"}, "triple": set(),
                        "query": {"feasible"}}[form]  # fmt: skip
    if form == "pair":
        assert [one.get("value") for one in controls["preference"]] == ["A", "tie", "B"]
        assert [one.get("value") for one in controls["correct"]] == ["a_correct", "b_correct"]
    # Labels are in both languages; what an export will hold is in neither.
    labels = [one.get("value", "") for one in root.iter("Header") if one.get("value") not in ("A", "B")]
    labels += [one.get(name, "") for one in root.iter() for name in ("title", "placeholder") if one.get(name)]
    labels = [one for one in labels if one not in ("2", "3")]  # ranks
    assert len(labels) > len(asked)
    for label in labels:
        assert re.search("[a-z]{4}", label), label
        assert re.search("[\u4e00-\u9fff]{2}", label), label
    assert all(one.get("value", "").isascii() for one in root.iter("Choice"))


# The place.


def test_a_review_with_answers_is_never_replaced(marked: Store, tmp_path: Path) -> None:
    folder = tmp_path / "review"
    make_review(marked, folder, DrawConfig(per_domain=2), ["a"])
    with pytest.raises(UsageError, match="pass --overwrite"):
        make_review(marked, folder, DrawConfig(per_domain=2), ["a"])
    make_review(marked, folder, DrawConfig(per_domain=3), ["a"], overwrite=True)
    (folder / "answers" / "a.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(UsageError, match="a review that people have answered"):
        make_review(marked, folder, DrawConfig(per_domain=2), ["a"], overwrite=True)
    assert sum(1 for _ in read_tasks(open_review(folder), "a")) == 6
    other = tmp_path / "mine"
    other.mkdir()
    (other / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="exists and is not a review"):
        make_review(marked, other, DrawConfig(), ["a"], overwrite=True)
    with pytest.raises(UsageError, match="is inside the store"):
        make_review(marked, marked.path / "review", DrawConfig(), ["a"])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "no annotator"),
        (["a/b"], "annotator 'a/b': use letters"),
        ([".."], "annotator '..': use letters"),
        (["-a"], "annotator '-a': use letters"),
        (["a\nb"], "use letters"),
        (["甲" * 27], "80 bytes at most"),
        (["a-2"], "is taken for a round"),
        (["a", "b", "a"], "annotator 'a' stands twice: each is one person"),
        (["Anna", "anna"], "not every disk tells their files apart"),
    ],
)
def test_names_of_annotators_are_names_of_files(marked: Store, names: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        make_review(marked, tmp_path / "review", DrawConfig(), names)
    assert said in str(refused.value)
    assert not (tmp_path / "review").exists()


def test_names_in_chinese_and_addresses(marked: Store, tmp_path: Path) -> None:
    make_review(marked, tmp_path / "review", DrawConfig(per_domain=1), ["王小明", "b@example.org", "c-d"])
    assert len(read_tasks(open_review(tmp_path / "review"), "王小明")) == 2


def test_too_few_items_for_so_many(marked: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="2 items are not enough for 3 annotators: c would get none"):
        make_review(marked, tmp_path / "review", DrawConfig(total=2), ["a", "b", "c"], overlap=1)
    assert not (tmp_path / "review").exists()
