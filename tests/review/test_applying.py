"""What people said, in a store: every comparison as it was shown, nothing else changed, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from commands import run
from make import completed, make_rows, make_store
from people import answer_in_browser
from reviewed import tell

import coig_p
from coig_p.core.atomic import atomic_directory
from coig_p.errors import DataError, UsageError
from coig_p.pairs.calibration import Calibration
from coig_p.pairs.config import PairConfig
from coig_p.review.answers import Answer, append_all
from coig_p.review.applying import apply_review, comparisons_of_review
from coig_p.review.drawing import DrawConfig
from coig_p.review.folder import KeyRow, open_review, read_key, response_sha256
from coig_p.review.making import make_audit, make_review
from coig_p.review.reporting import review_report
from coig_p.review.resolving import resolve
from coig_p.schema import RAW_SCHEMA
from coig_p.store.locate import BUNDLED
from coig_p.store.manifest import Manifest
from coig_p.store.store import Store
from coig_p.store.writing import Part, write_store
from coig_p.validation import check


@pytest.fixture
def store(tmp_path: Path) -> Store:
    shutil.copytree(BUNDLED, tmp_path / "store")
    return Store.open(tmp_path / "store")


def drawn(store: Store, folder: Path, form: str = "pair", per_domain: int = 3, **options: Any) -> Path:
    make_review(store, folder, DrawConfig(form=form, per_domain=per_domain), ["a", "b", "c"], **options)
    return folder


def say(folder: Path, said: dict[tuple[str, str, int], Any], **more: Any) -> None:
    review = open_review(folder)
    for (item, name, round_), answer in said.items():
        at = "2026-11-26T10:00:00+00:00"
        one = Answer(item, name, round_, answer, at=at, skipped=answer is None, **more)
        append_all(review, name, [one])


def rows_of(store: Store) -> dict[str, dict[str, Any]]:
    return {row["query_id"]: row for batch in store.batches() for row in batch.to_pylist()}


def key_of(folder: Path) -> list[KeyRow]:
    return read_key(open_review(folder))


def test_verdicts_are_comparisons_as_shown_and_nothing_else_changes(store: Store, tmp_path: Path) -> None:
    folder = drawn(store, tmp_path / "review")
    answers: list[dict[str, Any]] = [{"preference": one, "correct": []} for one in ("A", "tie", "B")]
    said = {row.identity: answers[at % 3] for at, row in enumerate(key_of(folder)) if row.annotator != "c"}
    say(folder, said, comment="想了一会儿")
    say(folder, {row.identity: None for row in key_of(folder) if row.annotator == "c"})
    found = apply_review(folder, store, tmp_path / "checked")
    assert found.comparisons == {"a": 18, "b": 18}
    assert (found.queries, found.same_store) == (18, True)
    before, after = rows_of(store), rows_of(Store.open(tmp_path / "checked"))
    assert list(before) == list(after)
    by_query: dict[str, list[dict[str, Any]]] = {}
    for row in key_of(folder):
        if row.identity in said:
            place = {(one["model"], one["sample"]): at for at, one in enumerate(before[row.query_id]["responses"])}
            first = {"A": 1.0, "tie": 0.5, "B": 0.0}[said[row.identity]["preference"]]
            one: dict[str, Any] = {"first": place[row.sides[0].response], "second": place[row.sides[1].response]}
            one |= {"judge": f"human:{row.annotator}", "dimension": "overall", "rationale": "想了一会儿"}
            by_query.setdefault(row.query_id, []).append(one | {"first_score": first, "second_score": 1 - first})
    for query_id, raw in after.items():
        assert in_order(raw["comparisons"] or []) == in_order(by_query.get(query_id, []))
        assert {**raw, "comparisons": None} == {**before[query_id], "comparisons": None}


def in_order(comparisons: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(comparisons, key=lambda one: (one["judge"], one["first"], one["second"]))


def test_pairs_of_verdicts_are_those_on_which_all_agree(store: Store, tmp_path: Path) -> None:
    folder = drawn(store, tmp_path / "review")
    key = key_of(folder)
    items = list(dict.fromkeys(row.item for row in key))
    said: dict[tuple[str, str, int], Any] = {}
    for row in key:
        at = items.index(row.item) % 3
        chosen, other = str(row.chosen).upper(), "B" if row.chosen == "a" else "A"
        preference = chosen if at == 0 else other if at == 1 else chosen if row.annotator != "c" else other
        said[row.identity] = {"preference": preference, "correct": []}
    say(folder, said)
    found = apply_review(folder, store, tmp_path / "checked")
    assert (found.comparison_threshold, found.was) == (1, None)
    checked = Store.open(tmp_path / "checked")
    assert checked.manifest.comparison_threshold == 1
    assert checked.manifest.default_threshold == store.manifest.default_threshold
    wanted = set()
    for row in key:
        at = items.index(row.item) % 3
        if at < 2:
            good, bad = sorted(row.sides, key=lambda side: side.side != row.chosen)
            winner, loser = (good, bad) if at == 0 else (bad, good)
            wanted.add((row.query_id, winner.model, loser.model))
    pairs = coig_p.load_dataset(
        "all",
        data_dir=str(tmp_path / "checked"),
        labels="comparisons",
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    found_pairs = {(row["query_id"], row["chosen_model"], row["rejected_model"]) for row in pairs}
    assert found_pairs == wanted
    assert len(pairs) == len(wanted) == 12
    assert set(pairs["margin"]) == {1.0}
    # With scores nothing is as it was not before.
    one, two = (
        coig_p.load_dataset("math", data_dir=str(path), split="train", cache_dir=str(tmp_path / "cache"))
        for path in (store.path, checked.path)
    )
    assert one.to_list() == two.to_list()


@pytest.mark.parametrize(("talks", "split"), [(False, False), (True, False), (True, True)])
def test_the_next_command_that_is_named_runs_as_it_stands(
    talks: bool, split: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = make_rows({"math": 12}, seed=6)
    for row in rows if talks else ():
        turns = [("user", "甲"), ("assistant", "乙"), ("user", row["query"])]
        row["messages"] = [{"role": role, "content": text, "extra": None} for role, text in turns]
        row["query"] = ""
    store = Store.open(make_store(tmp_path / "store", completed(rows)))
    if split:
        files = {"train": completed(rows[:8]), "test": completed(rows[8:])}
        parts = [
            Part("math", name, len(own), [pa.RecordBatch.from_pylist(own, RAW_SCHEMA)]) for name, own in files.items()
        ]
        with atomic_directory(tmp_path / "parts") as root:
            write_store(root, parts, Manifest(score_range=(1, 10), default_threshold=2, tool="test"))
        store = Store.open(tmp_path / "parts")
    folder = drawn(store, tmp_path / "review", per_domain=10)
    for name in "abc":
        answer_in_browser(folder, name)
    monkeypatch.chdir(tmp_path)
    *_, last = run("review", "apply", folder, store.path, "--out", "checked").stdout.splitlines()
    assert last.startswith("next: coigp pairs checked --labels comparisons")
    done = run(*last.removeprefix("next: coigp ").split())
    assert "wrote verdicts.jsonl: " in done.stdout
    written = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text("utf-8").splitlines()]
    assert written
    assert all((len(row["prompt"]) == 3 if talks else isinstance(row["prompt"], str)) for row in written)


def test_triples_are_comparisons_of_every_two(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "review"
    make_review(store, folder, DrawConfig(form="triple", per_domain=1, domains=("math",)), ["a"])
    row = key_of(folder)[0]
    say(folder, {row.identity: {"ranking": [["b"], ["a", "c"]]}})
    found = apply_review(folder, store, tmp_path / "checked")
    assert found.comparisons == {"a": 3}
    after = rows_of(Store.open(tmp_path / "checked"))[row.query_id]
    place = {(one["model"], one["sample"]): at for at, one in enumerate(after["responses"])}
    a, b, c = (place[side.response] for side in row.sides)
    told = {(one["first"], one["second"]): (one["first_score"], one["second_score"]) for one in after["comparisons"]}
    assert told == {(a, b): (0, 1), (a, c): (0.5, 0.5), (b, c): (1, 0)}


def test_form_accept_and_the_last_word_of_two_rounds(store: Store, tmp_path: Path) -> None:
    folder = drawn(store, tmp_path / "review", "accept", 1)
    key = key_of(folder)
    says = {"a": "A", "b": "B", "c": "tie"}
    full = {"correct": ["a"], "query_ok": True}
    say(folder, {row.identity: full | {"preference": says[row.annotator]} for row in key})
    again = resolve(folder)
    assert again.round == 2
    second = [row for row in key_of(folder) if row.round == 2]
    say(folder, {row.identity: full | {"preference": str(row.chosen).upper()} for row in second})
    found = apply_review(folder, store, tmp_path / "checked")
    assert sum(found.comparisons.values()) == len(key)
    after = rows_of(Store.open(tmp_path / "checked"))
    for row in second:
        place = {(one["model"], one["sample"]): at for at, one in enumerate(after[row.query_id]["responses"])}
        told = [one for one in after[row.query_id]["comparisons"] if one["judge"] == f"human:{row.annotator}"]
        assert len(told) == 1
        assert (told[0]["first"], told[0]["second"]) == tuple(place[side.response] for side in row.sides)
        assert told[0]["first_score" if row.chosen == "a" else "second_score"] == 1


def test_audits_count_where_somebody_else_was_asked_before(store: Store, tmp_path: Path) -> None:
    folder = drawn(store, tmp_path / "review", per_domain=1, overlap=1)
    for name in "abc":
        answer_in_browser(folder, name)
    make_audit(folder, store, 1.0, annotators=["a", "d"], overlap=2)
    for name in ("a", "d"):
        answer_in_browser(folder, name, 2)
    found = apply_review(folder, store, tmp_path / "checked")
    # Each of six items once by d, once by a, and once by whoever was asked first where that was not a.
    assert found.comparisons == {"a": 6, "b": 2, "c": 2, "d": 6}


def test_the_manifest_and_the_card_say_what_people_found(store: Store, tmp_path: Path) -> None:
    folder = drawn(store, tmp_path / "review")
    for name in "abc":
        answer_in_browser(folder, name)
    apply_review(folder, store, tmp_path / "checked")
    checked = Store.open(tmp_path / "checked")
    (told,) = checked.manifest.options["review"]["applied"]
    assert told["comparisons"] == 54
    assert len(told["key_sha256"]) == len(told["answers_sha256"]) == 64
    assert told["report"]["items"] == told["report"]["answered"] == 18
    assert told["report"]["share"] == told["report"]["right"] / told["report"]["of"]
    assert check(checked).passed
    assert checked.verify() == []
    shutil.copy(BUNDLED.parent / "card.toml", checked.path)
    share = f"{told['report']['share']:.1%}"
    for language, heading in (("en", "## Checked by people\n"), ("zh", "## 人工检查\n")):
        card = run("card", checked.path, "--language", language).stdout
        assert share in card.split(heading)[1].split("\n## ")[0]
    (checked.path / "card.toml").unlink()
    # A second review comes behind the first.
    other = tmp_path / "other"
    make_review(checked, other, DrawConfig(per_domain=2, seed=7), ["d"])
    answer_in_browser(other, "d")
    apply_review(other, checked, tmp_path / "twice")
    assert [one["name"] for one in Store.open(tmp_path / "twice").manifest.options["review"]["applied"]] == [
        "review",
        "other",
    ]


def test_twice_a_store_without_answers_and_a_form_without_responses_are_refused(store: Store, tmp_path: Path) -> None:
    folder = drawn(store, tmp_path / "review", per_domain=1)
    with pytest.raises(UsageError, match="nobody has said anything"):
        apply_review(folder, store, tmp_path / "checked")
    answer_in_browser(folder, "a")
    apply_review(folder, store, tmp_path / "checked")
    answer_in_browser(folder, "b")  # newer answers do not make it another review
    with pytest.raises(DataError, match="was applied to it before"):
        apply_review(folder, Store.open(tmp_path / "checked"), tmp_path / "twice")
    with pytest.raises(UsageError, match="the store itself"):
        apply_review(folder, store, store.path, overwrite=True)
    queries = drawn(store, tmp_path / "queries", "query", 1)
    with pytest.raises(UsageError, match="form query says nothing of responses"):
        apply_review(queries, store, tmp_path / "twice")
    assert not (tmp_path / "twice").exists()


def test_a_store_that_changed_is_one_located_error_and_one_that_grew_is_taken(store: Store, tmp_path: Path) -> None:
    folder = drawn(store, tmp_path / "review", per_domain=1)
    answer_in_browser(folder, "a")
    raw = sorted((BUNDLED.parent / "raw").glob("*.jsonl"))
    rows = [json.loads(line) for path in raw for line in path.read_text("utf-8").splitlines()]
    row = key_of(folder)[0]
    grown = [*rows, {**rows[0], "query_id": "more-1", "query": "另一个问题是什么？"}]
    apply = imported(grown, tmp_path / "grown")
    found = apply_review(folder, apply, tmp_path / "checked")
    assert not found.same_store
    assert sum(found.comparisons.values()) == 6
    edited = json.loads(json.dumps(rows))
    for one in edited:
        if one["query_id"] == row.query_id:
            for response in one["responses"]:
                if response["model"] == row.sides[0].model:
                    response["text"] += "改了。"
    with pytest.raises(DataError, match=f"item {row.item}, query '{row.query_id}'.*another text"):
        apply_review(folder, imported(edited, tmp_path / "edited"), tmp_path / "twice")
    assert not (tmp_path / "twice").exists()


def bundled_rows() -> list[dict[str, Any]]:
    raw = sorted((BUNDLED.parent / "raw").glob("*.jsonl"))
    return [json.loads(line) for path in raw for line in path.read_text("utf-8").splitlines()]


def scored(rows: list[dict[str, Any]], change: Callable[[dict[str, Any]], None]) -> list[dict[str, Any]]:
    """The same texts, every score changed."""
    for row in rows:
        for response in row["responses"]:
            for score in response["scores"]:
                change(score)
    return rows


@pytest.mark.parametrize("form", ["pair", "accept"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda score: score.update(score=11 - score["score"]), r"prefers '.*' by \d"),
        (lambda score: score.update(score=1 + (score["score"] - 1) / 2), "by [1-4]|makes no pair of them"),
        (lambda score: score.update(score=5), "makes no pair of them at threshold 2"),
    ],
)
def test_a_store_that_prefers_others_is_never_called_right(
    change: Callable[[dict[str, Any]], None], says: str, form: str, store: Store, tmp_path: Path
) -> None:
    folder = drawn(store, tmp_path / "review", form, 1)
    full = {"correct": ["a", "b"], "query_ok": True}
    say(folder, {row.identity: full | {"preference": str(row.chosen).upper()} for row in key_of(folder)})
    assert review_report(folder, store).all["right"].share == 1
    other = imported(scored(bundled_rows(), change), tmp_path / "other")
    first = key_of(folder)[0]
    named = f"item {first.item}, query '{first.query_id}': the store preferred '.*' to '.*' by .*other ({says})"
    with pytest.raises(DataError, match=named):
        apply_review(folder, other, tmp_path / "checked")
    with pytest.raises(DataError, match=named):
        review_report(folder, other)
    assert not (tmp_path / "checked").exists()
    assert sum(map(len, comparisons_of_review(folder, other).values())) == 18, "what people said stands all the same"


def test_one_margin_that_changed_is_found_and_other_scores_are_none_of_the_review(store: Store, tmp_path: Path) -> None:
    folder = drawn(store, tmp_path / "review", per_domain=1)
    answer_in_browser(folder, "a")
    key = key_of(folder)
    asked = {row.query_id for row in key}
    rows = bundled_rows()
    scored([row for row in rows if row["query_id"] not in asked], lambda score: score.update(score=11 - score["score"]))
    assert review_report(folder, imported(rows, tmp_path / "others")).notes == ("other-store",)
    last = key[5]
    chosen = last.side(last.chosen)
    assert chosen is not None
    for row in rows:
        for response in row["responses"]:
            if (row["query_id"], response["model"]) == (last.query_id, chosen.model):
                response["scores"][0]["score"] -= 0.5
    with pytest.raises(DataError, match=f"item {last.item}, .* by "):
        review_report(folder, imported(rows, tmp_path / "one"))


def test_what_chooses_among_pairs_says_nothing_of_a_pair_and_the_draws_options_hold(
    store: Store, tmp_path: Path
) -> None:
    """A better response that came later ends the best pair of old; the pair itself is as it was."""
    folder = drawn(
        store,
        tmp_path / "review",
        per_domain=1,
        pairs=PairConfig(strategy="best_worst", aggregation="max", threshold=1),
    )
    answer_in_browser(folder, "a")
    rows = bundled_rows()
    for row in rows:
        scores = [{"judge": "fictional-songbai", "dimension": "overall", "score": 10}]
        row["responses"].append({"model": "new", "text": "后来的回答。", "scores": scores})
    assert review_report(folder, imported(rows, tmp_path / "grown")).notes == ("other-store",)
    for pairs in ({}, {"threshold": 2, "aggregation": "no"}, {"threshold": 1, "other": 3}):
        tell(folder, pairs=pairs)
        with pytest.raises(DataError, match=r"review\.json: pairs does not hold the pair options of the draw"):
            review_report(folder, store)


def test_the_options_of_the_draw_say_what_a_store_prefers(store: Store, tmp_path: Path) -> None:
    """Calibrated scores, one judge alone, another mean: as they were when it was drawn, and no others."""
    run("judges", store.path, "--calibrate", tmp_path / "cal.json")
    calibrate = Calibration.of(tmp_path / "cal.json")
    for at, config in enumerate(
        [
            PairConfig(calibrate=calibrate, threshold=1),
            PairConfig(judges=("fictional-songbai",), strict=True),
            PairConfig(aggregation="min", same_judges=True, max_pairs_per_query=1),
        ]
    ):
        folder = drawn(store, tmp_path / f"review-{at}", per_domain=3, pairs=config)
        answer_in_browser(folder, "a")
        review_report(folder, store)
        pairs = open_review(folder).pairs
        tell(folder, pairs={name: one for name, one in pairs.items() if name in ("threshold", "strategy")})
        with pytest.raises(DataError, match="the store preferred"):
            review_report(folder, store)


def test_verdicts_of_people_change_no_label_that_was_judged(tmp_path: Path) -> None:
    """In a store of comparisons what a first review put there has a say in later pairs."""
    rows = make_rows({"math": 4}, seed=3)
    for row in rows:
        for response in row["responses"]:
            response["scores"] = []
        row["comparisons"] = [
            {"first": 0, "second": 1, "judge": "j", "first_score": 0.9, "second_score": 0.1, "dimension": "overall"}
        ]
    store = Store.open(make_store(tmp_path / "store", rows))
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        make_review(store, folder, DrawConfig(per_domain=4), ["a"], pairs=PairConfig(threshold=0.5))
    for folder in (first, second):
        say(folder, {row.identity: {"preference": "tie", "correct": []} for row in key_of(folder)})
    apply_review(first, store, tmp_path / "checked")
    checked = Store.open(tmp_path / "checked")
    assert review_report(second, checked).notes[-1] == "other-store"
    rows[3]["comparisons"][0] |= {"first_score": 0.1, "second_score": 0.9}
    with pytest.raises(DataError, match="the store preferred"):
        review_report(second, Store.open(make_store(tmp_path / "flipped", rows)))


def imported(rows: list[dict[str, Any]], out: Path) -> Store:
    path = out.with_suffix(".jsonl")
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    run("import", path, "--out", out, "--license", "MIT")
    return Store.open(out)


def test_a_threshold_of_its_own_stays(store: Store, tmp_path: Path) -> None:
    folder = drawn(store, tmp_path / "review", per_domain=1)
    answer_in_browser(folder, "a")
    own = replace(store, manifest=replace(store.manifest, comparison_threshold=0.0))
    (store.path / "manifest.json").write_text(own.manifest.to_json(), "utf-8")
    found = apply_review(folder, Store.open(store.path), tmp_path / "checked")
    assert (found.comparison_threshold, found.was, found.same_store) == (0, 0, False)


def test_what_would_be_added_can_be_had_without_a_store(store: Store, tmp_path: Path) -> None:
    folder = drawn(store, tmp_path / "review", per_domain=2)
    for name in "abc":
        answer_in_browser(folder, name)
    told = comparisons_of_review(folder, store)
    apply_review(folder, store, tmp_path / "checked")
    after = rows_of(Store.open(tmp_path / "checked"))
    assert told == {query_id: row["comparisons"] for query_id, row in after.items() if row["comparisons"]}
    with pytest.raises(UsageError, match="form query says nothing"):
        comparisons_of_review(drawn(store, tmp_path / "queries", "query", 1), store)


def test_two_answers_of_one_name_in_an_older_store_are_told_apart(tmp_path: Path) -> None:
    """As stores of version 1 have them: no samples, so the text alone says which is which."""
    rows = make_rows({"math": 4}, seed=3)
    for raw in rows:
        for response in raw["responses"]:
            response["model"] = "one-name"
    store = Store.open(make_store(tmp_path / "store", rows))
    folder = tmp_path / "review"
    make_review(store, folder, DrawConfig(per_domain=4), ["a"], pairs=PairConfig(threshold=0.5))
    said = {row.identity: {"preference": str(row.chosen).upper(), "correct": []} for row in key_of(folder)}
    say(folder, said)
    assert review_report(folder, store).all["preferred"].share == 1
    apply_review(folder, store, tmp_path / "checked")
    after = rows_of(Store.open(tmp_path / "checked"))
    for row in key_of(folder):
        (one,) = after[row.query_id]["comparisons"]
        texts = [response_sha256(after[row.query_id]["responses"][one[side]]) for side in ("first", "second")]
        assert texts == [side.text_sha256 for side in row.sides]
        assert one["first_score"] == (row.chosen == "a")
