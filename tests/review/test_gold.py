"""Gold items and audits: mixed in so that nobody can tell, on the sides shown; and what was answered asked again."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from make import Rows, make_rows, make_store
from reviewed import AT, SAID

from coig_p.errors import CoigPError, DataError, UsageError
from coig_p.review.answers import Answer, append, append_all
from coig_p.review.drawing import DrawConfig
from coig_p.review.folder import KEY, REVIEW, open_review, read_key, read_tasks, tasks_path
from coig_p.review.gold import read_gold
from coig_p.review.joining import check_store
from coig_p.review.making import Made, make_audit, make_review
from coig_p.review.votes import read_votes
from coig_p.store.locate import BUNDLED
from coig_p.store.store import Store

Row = dict[str, Any]


@pytest.fixture(scope="module")
def known() -> Rows:
    return make_rows({"math": 60, "chat": 60}, seed=21)


@pytest.fixture(scope="module")
def store(known: Rows, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.open(make_store(tmp_path_factory.mktemp("gold") / "store", known))


def two_of(row: Row) -> list[str]:
    return [response["model"] for response in row["responses"][:2]]


def gold_lines(rows: Rows, own: int = 0) -> list[Row]:
    """Lines that name queries of a store, and lines with texts of their own."""
    lines: list[Row] = [
        {"query_id": row["query_id"], "responses": two_of(row), "answer": {"preference": "A"}} for row in rows
    ]
    for at in range(own):
        texts = [{"text": f"对的回答{at}"}, {"text": f"错的回答{at}"}]
        answer = {"preference": "A", "correct": ["a"]}
        lines.append({"domain": "chat", "query": f"已知的问题{at}？", "responses": texts, "answer": answer})
    return lines


def write(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return path


def test_gold_is_a_tenth_and_looks_like_anything_else(store: Store, known: Rows, tmp_path: Path) -> None:
    file = write(tmp_path / "gold.jsonl", gold_lines(known[:6] + known[60:66], own=4))
    folder = tmp_path / "review"
    made, found = make_review(store, folder, DrawConfig(per_domain=30), ["a", "b"], gold=file)
    assert (made.items, made.gold, made.gold_in_file) == (60, {"a": 7, "b": 7}, 16)
    assert made.tasks == {"a": 67, "b": 67}
    key = read_key(open_review(folder))
    gold = [row for row in key if row.kind == "gold"]
    assert {row.item for row in gold if row.annotator == "a"} == {row.item for row in gold if row.annotator == "b"}
    named = {row["query_id"] for row in known[:6] + known[60:66]}
    assert not named & {one.query_id for one in found.drawn}, "what is known is not drawn"
    drawn = [row for row in key if row.kind == "drawn"]
    assert all((row.chosen, row.margin, row.gold is None) == (None, None, False) for row in gold)
    assert all(row.gold is None for row in drawn)
    # In the tasks nothing tells them apart: fields, names, places.
    tasks = read_tasks(open_review(folder), "a")
    assert len({frozenset(task) for task in tasks}) == 1
    numbers = sorted(int(row.item[2:]) for row in drawn)
    assert {int(row.item[2:]) > numbers[30] for row in gold} == {False, True}
    places = [at for at, task in enumerate(tasks) if task["item"] in {row.item for row in gold}]
    assert len(places) == 7
    assert max(places) - min(places) > 20


def test_the_known_answer_is_right_on_whatever_side(store: Store, known: Rows, tmp_path: Path) -> None:
    file = write(tmp_path / "gold.jsonl", gold_lines(known[:8], own=8))
    folder = tmp_path / "review"
    names = ["a", "b", "c"]
    make_review(store, folder, DrawConfig(per_domain=40), names, gold=file)
    review = open_review(folder)
    shown: Counter[str] = Counter()
    for row in read_key(review):
        if row.kind != "gold":
            continue
        task = next(one for one in read_tasks(review, row.annotator) if one["item"] == row.item)
        if row.query_id:
            raw = next(one for one in known if one["query_id"] == row.query_id)
            right = next(side.side for side in row.sides if side.model == raw["responses"][0]["model"])
        else:
            right = next(side for side in "ab" if task[f"response_{side}"].startswith("对的"))
            assert all(side.model == "" for side in row.sides)
        shown[right] += 1
        assert row.gold is not None
        assert row.gold["preference"] == right.upper()
        preference = "B" if row.annotator == "b" else right.upper()
        correct = [right] if row.annotator == "a" else []
        append(
            folder,
            row.annotator,
            Answer(row.item, row.annotator, 1, {"preference": preference, "correct": correct}, at=AT),
        )
    assert min(shown.values()) > 2
    for vote in read_votes(folder):
        gold = next(row.gold for row in read_key(review) if row.identity == (vote.item, vote.annotator, vote.round))
        assert gold is not None
        asked_correct = "correct" in gold
        right = gold["preference"] == {1.0: "A", 0.0: "B"}[vote.shown_first or 0.0]
        assert vote.right_gold == (right and (not asked_correct or vote.annotator == "a"))
        assert vote.preferred is None


def test_annotators_of_some_domains_see_gold_of_these_alone(store: Store, known: Rows, tmp_path: Path) -> None:
    file = write(tmp_path / "gold.jsonl", gold_lines(known[:9] + known[60:69]))
    made, _ = make_review(
        store, tmp_path / "review", DrawConfig(per_domain=40), ["a", "b"], gold=file, split_domains=True
    )
    assert made.gold == {"a": 4, "b": 4}
    for name in "ab":
        assert len({task["domain"] for task in read_tasks(made.review, name)}) == 1


@pytest.mark.parametrize(
    ("form", "line", "answer"),
    [
        ("query", {"query_id": "math-0003"}, {"feasible": False}),
        ("triple", {"query_id": "math-0003"}, {"ranking": [["b"], ["a", "c"]]}),
        ("accept", {"query_id": "math-0003"}, {"query_ok": False}),
        (
            "pair",
            {"domain": "math", "messages": [{"role": "system", "content": "简短"}, {"role": "user", "content": "问？"}],
             "responses": [{"text": "甲"}, {"text": "乙"}]},
            {"correct": ["b"]},
        ),
    ],
)  # fmt: skip
def test_gold_of_every_form(form: str, line: Row, answer: Row, store: Store, known: Rows, tmp_path: Path) -> None:
    sides = {"query": 0, "triple": 3}.get(form, 2)
    row = next(one for one in known if one["query_id"] == "math-0003")
    if "query_id" in line and sides:
        line = line | {"responses": [{"model": one["model"], "sample": 0} for one in row["responses"][:sides]]}
    file = write(tmp_path / "gold.jsonl", [line | {"answer": answer}])
    if form == "pair":
        asked_not = write(tmp_path / "unasked.jsonl", [line | {"answer": answer | {"query_ok": True}}])
        with pytest.raises(DataError, match=r"line 1 \.answer\.query_ok: form pair does not ask it"):
            read_gold(asked_not, form, store)
    (item,) = read_gold(file, form, store)
    assert (item.kind, item.gold, len(item.responses)) == ("gold", answer, sides)
    made, _ = make_review(store, tmp_path / "review", DrawConfig(form, per_domain=4), ["a"], gold=file)
    assert made.gold == {"a": 1}


GOOD: Row = {"query_id": "math-0001", "responses": ["model-1", "model-2"], "answer": {"preference": "A"}}
OWN: Row = {
    "domain": "math",
    "query": "问？",
    "responses": [{"text": "甲"}, {"text": "乙"}],
    "answer": {"preference": "B"},
}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: not JSON"),
        ([1], "line 2: not an object"),
        (GOOD | {"score": 3}, "line 2 .score: not a field of a gold item"),
        (GOOD | {"query_id": "nowhere"}, "line 2 .query_id: 'nowhere' is not in"),
        (GOOD | {"query_id": 7}, "line 2 .query_id: 7 is not text"),
        (GOOD | {"responses": ["model-1"]}, "line 2 .responses: form pair needs a list of 2"),
        (GOOD | {"responses": ["model-1", "model-77"]}, "'model-77' gave no answer to 'math-0001'; it has: model-"),
        (GOOD | {"responses": [{"model": "model-1", "sample": 4}, "model-2"]}, "gave no answer"),
        (GOOD | {"responses": ["model-1", "model-1"]}, "two of them say the same"),
        (GOOD | {"query": "问？"}, "line 2 .query: beside query_id"),
        (GOOD | {"answer": {}}, "line 2 .answer: missing"),
        (GOOD | {"answer": {"preference": "left"}}, "line 2 .answer.preference: 'left' is not one of"),
        (GOOD | {"answer": {"feasible": True}}, "line 2 .answer.feasible: no field of form pair"),
        (OWN | {"domain": "poems"}, "line 2 .domain: 'poems' is not one of the store's: math, chat"),
        ({key: value for key, value in OWN.items() if key != "domain"}, "line 2 .domain: missing"),
        (OWN | {"query": " "}, "line 2 .query: missing"),
        (OWN | {"messages": []}, "line 2 .query: beside messages"),
        (OWN | {"responses": ["甲", "乙"]}, "line 2 .responses: '甲': beside a query of its own"),
        (OWN | {"responses": [{"text": "甲"}, {"text": ""}]}, "line 2 .responses: {'text': ''}"),
        (OWN | {"responses": [{"text": "甲"}, {"text": "甲"}]}, "two of them say the same"),
        (OWN | {"query": "\ud800"}, "line 2 .query: '\\ud800' is not text"),
        ({"domain": "math", "messages": ["问"], "responses": OWN["responses"], "answer": {"preference": "A"}},
         "line 2 .messages: not a list of turns"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_one_located_error(line: Any, said: str, store: Store, known: Rows, tmp_path: Path) -> None:
    models = two_of(next(row for row in known if row["query_id"] == "math-0001"))
    text = line if isinstance(line, str) else json.dumps(line)
    text = text.replace("model-1", models[0]).replace("model-2", models[1])
    file = tmp_path / "gold.jsonl"
    first = {"query_id": "math-0002", "responses": two_of(next(r for r in known if r["query_id"] == "math-0002"))}
    file.write_text(json.dumps(first | {"answer": {"preference": "tie"}}) + f"\n{text}\n", encoding="utf-8")
    with pytest.raises(DataError) as refused:
        make_review(store, tmp_path / "review", DrawConfig(), ["a"], gold=file)
    assert said in refused.value.args[0]
    assert str(file) in refused.value.args[0]
    assert not (tmp_path / "review").exists()


def test_an_item_twice_an_empty_file_and_none_at_all(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 3: the same item as line 1"):
        read_gold(
            write(tmp_path / "gold.jsonl", [OWN, OWN | {"query": "别的？"}, OWN | {"answer": {"correct": []}}]),
            "pair",
            store,
        )
    with pytest.raises(DataError, match="no items in it"):
        read_gold(write(tmp_path / "gold.jsonl", []), "pair", store)
    with pytest.raises(DataError, match=r"nothing\.jsonl: cannot be read: No such file"):
        read_gold(tmp_path / "nothing.jsonl", "pair", store)


# Audits.


def answer_all(made: Made, names: str, items: int | None = None) -> None:
    for name in names:
        tasks = read_tasks(made.review, name)[:items]
        said = SAID[made.review.form]
        append_all(made.review, name, [Answer(task["item"], name, 1, said, at=AT) for task in tasks])


def test_an_audit_asks_others_again_about_a_share_of_what_was_answered(
    store: Store, known: Rows, tmp_path: Path
) -> None:
    folder = tmp_path / "review"
    first, _ = make_review(store, folder, DrawConfig(per_domain=20), ["a", "b", "c"], overlap=1)
    answer_all(first, "abc")
    before = read_key(first.review)
    file = write(tmp_path / "gold.jsonl", gold_lines([], own=3))
    made = make_audit(folder, store, 0.3, gold=file)
    assert made.domains == {"math": 6, "chat": 6}
    assert (made.items, made.review.rounds, sum(made.tasks.values())) == (12, 2, 12 + sum(made.gold.values()))
    assert max(made.tasks.values()) - min(made.tasks.values()) <= 2
    key = read_key(open_review(folder))
    assert key[: len(before)] == before
    audits = [row for row in key if row.kind == "audit"]
    asked = {row.item: row.annotator for row in before}
    assert all((row.round, asked[row.item] != row.annotator) == (2, True) for row in audits)
    assert len({row.item for row in audits}) == 12
    for row in audits:
        old = next(one for one in before if one.item == row.item)
        assert {side.response for side in row.sides} == {side.response for side in old.sides}
        assert (row.side(row.chosen).model, row.margin) == (old.side(old.chosen).model, old.margin)  # type: ignore[union-attr]
        task = next(one for one in read_tasks(made.review, row.annotator, 2) if one["item"] == row.item)
        assert task["round"] == 2
    planted = [row for row in key if row.round == 2 and row.kind == "gold"]
    assert planted
    assert not {row.item for row in planted} & {row.item for row in before}
    # The second audit draws others, and plants no item that was asked before.
    again = make_audit(folder, store, 0.3)
    assert again.review.rounds == 3
    third = {row.item for row in read_key(again.review) if row.round == 3}
    assert len(third) == 12
    assert not third & {row.item for row in audits}
    assert again.waiting == 12


def test_new_people_audit_and_those_who_answered_where_there_is_nobody_else(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "review"
    first, _ = make_review(store, folder, DrawConfig(per_domain=5), ["a", "b"])
    answer_all(first, "ab")
    own = make_audit(folder, store, 0.5)
    assert (own.items, own.domains, own.waiting) == (5, {"math": 3, "chat": 2}, 0)  # half of ten, not of each five
    assert sorted(own.tasks.values()) == [2, 3]
    made = make_audit(folder, store, 1, annotators=["d", "e"], overlap=2)
    assert made.tasks == {"d": 10, "e": 10}
    assert made.waiting == 5  # the first audit has not been answered
    assert open_review(folder).annotators == ("a", "b", "d", "e")
    assert len(read_tasks(made.review, "d", 3)) == 10


def test_only_what_was_answered_is_audited(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "review"
    first, _ = make_review(store, folder, DrawConfig(per_domain=10), ["a"])
    with pytest.raises(UsageError, match="nothing was answered yet"):
        make_audit(folder, store, 0.5)
    answer_all(first, "a", items=6)
    skipped = read_tasks(first.review, "a")[0]["item"]
    append(folder, "a", Answer(skipped, "a", 1, None, skipped=True, at=AT))
    answered = {task["item"] for task in read_tasks(first.review, "a")[1:6]}
    made = make_audit(folder, store, 1, annotators=["d"])
    assert {task["item"] for task in read_tasks(made.review, "d", 2)} == answered
    for share in (0.0, 1.5, -1):
        with pytest.raises(UsageError, match="use a share above 0, up to 1"):
            make_audit(folder, store, share)


def test_a_round_that_was_cut_short_is_none(store: Store, tmp_path: Path) -> None:
    """review.json is written last: what stands there without it does not count, and is written again."""
    folder = tmp_path / "review"
    first, _ = make_review(store, folder, DrawConfig(per_domain=10), ["a"])
    answer_all(first, "a")
    before, text = read_key(first.review), (folder / REVIEW).read_bytes()
    make_audit(folder, store, 0.5)
    whole = read_key(open_review(folder))
    (folder / REVIEW).write_bytes(text)
    assert read_key(open_review(folder)) == before
    make_audit(folder, store, 0.5)
    assert read_key(open_review(folder)) == whole


# A store that has changed since.


def changed(known: Rows, path: Path, query_id: str, change: Any) -> Store:
    rows = json.loads(json.dumps(known))
    for row in rows:
        if row["query_id"] == query_id:
            change(row)
    return Store.open(make_store(path, [row for row in rows if row["responses"] is not None]))


CHANGES: list[tuple[Any, str]] = [
    (lambda row: row.update(query="另一个问题"), "its text is another in"),
    (lambda row: row.update(responses=None), "not in"),
    (lambda row: [one.update(text=one["text"] + "。") for one in row["responses"]], "has another text in"),
    (lambda row: [one.update(model="renamed") for one in row["responses"]], "no response of 'model-"),
    (lambda row: [one.update(extra='{"reasoning_content":"想"}') for one in row["responses"]], "has another text in"),
    (lambda row: row.update(tools='[{"type":"function"}]'), "its text is another in"),
]


@pytest.mark.parametrize(("change", "said"), CHANGES)
def test_a_changed_store_is_one_located_error(
    change: Any, said: str, store: Store, known: Rows, tmp_path: Path
) -> None:
    folder = tmp_path / "review"
    made, _ = make_review(store, folder, DrawConfig(per_domain=10), ["a"])
    answer_all(made, "a")
    key = read_key(made.review)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    other = changed(known, tmp_path / "other", key[3].query_id, change)
    with pytest.raises(DataError) as refused:
        make_audit(folder, other, 0.5)
    assert f"item {key[3].item}, query {key[3].query_id!r}: " in refused.value.args[0]
    assert said in refused.value.args[0]
    assert "draw anew" in refused.value.args[0]
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_store_with_rows_added_is_fine(store: Store, known: Rows, tmp_path: Path) -> None:
    made, _ = make_review(store, tmp_path / "review", DrawConfig(per_domain=10), ["a"])
    key = read_key(made.review)
    assert check_store(made.review, key, store).same_store
    more = make_rows({"math": 70, "chat": 60, "code": 3}, seed=5)
    ids = {row["query_id"] for row in known}
    larger = Store.open(make_store(tmp_path / "larger", known + [row for row in more if row["query_id"] not in ids]))
    found = check_store(made.review, key, larger)
    assert not found.same_store
    assert set(found.rows) == {row.query_id for row in key}


# What lies in a review may be damaged.


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (REVIEW, "{", "review.json: not JSON"),
        (REVIEW, "[]", 'its "format" is not "coig_p.review"'),
        (REVIEW, '{"format": "coig_p.review", "version": 2}', "version 2 of a review, this package reads 1"),
        (REVIEW, '{"format": "coig_p.review", "version": 1}', "review.json: form is missing"),
        (KEY, "PAR1", "key.parquet: cannot be read"),
        ("tasks-a.json", "[{}]", "task 1 .data: missing"),
        ("tasks-a.json", "[", "tasks-a.json: not JSON"),
    ],
)
def test_a_damaged_review_is_one_located_error(file: str, text: str, said: str, store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "review"
    made, _ = make_review(store, folder, DrawConfig(per_domain=3), ["a"])
    answer_all(made, "a")
    (folder / file).write_text(text, encoding="utf-8")
    with pytest.raises(CoigPError) as refused:
        make_audit(folder, store, 1)
    assert said in str(refused.value)
    (folder / file).unlink()
    with pytest.raises(CoigPError):
        make_audit(folder, store, 1)


@pytest.mark.parametrize(
    "name", ["form", "seed", "store", "pairs", "annotators", "overlap", "rounds", "files", "key_sha256", "sha256"]
)
def test_every_field_of_a_review_is_looked_at(name: str, store: Store, tmp_path: Path) -> None:
    make_review(store, tmp_path / "review", DrawConfig(per_domain=1), ["a"])
    path = tmp_path / "review" / REVIEW
    told = json.loads(path.read_text(encoding="utf-8"))
    values: list[Any] = [None, True, [[]], {"name": 3}]
    for value in values:
        path.write_text(json.dumps(told | {name: value}), encoding="utf-8")
        with pytest.raises(DataError, match=rf"review\.json: .*{name.rstrip('s')}"):
            open_review(tmp_path / "review")


def test_tasks_of_another_annotator_are_found_out(store: Store, tmp_path: Path) -> None:
    made, _ = make_review(store, tmp_path / "review", DrawConfig(per_domain=3), ["a", "b"])
    tasks_path(made.review.path, "b").replace(tasks_path(made.review.path, "a"))
    with pytest.raises(DataError, match=r"task 1 \.data\.annotator: 'b', expected 'a'"):
        read_tasks(made.review, "a")
    with pytest.raises(DataError, match=r"tasks-b\.json: missing"):
        read_tasks(made.review, "b")


# The page on reviews.


@pytest.mark.parametrize("page", ["review.md", "review.zh.md"])
def test_gold_as_the_page_shows_it_is_taken(page: str, tmp_path: Path) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / page).read_text("utf-8")
    (block,) = re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "gold.jsonl").write_text(block, encoding="utf-8")
    named, own, talk = read_gold(tmp_path / "gold.jsonl", "pair", Store.open(BUNDLED))
    assert (named.query_id, own.query_id, talk.query_id) == ("math-001", "", "")
    assert [one.text for one in own.responses] == ["2", "3"]
    assert [turn["role"] for turn in talk.dialogue] == ["user", "assistant", "user"]
    made, _ = make_review(
        Store.open(BUNDLED), tmp_path / "review", DrawConfig(per_domain=8), ["a"], gold=tmp_path / "gold.jsonl"
    )
    assert made.gold == {"a": 3}
