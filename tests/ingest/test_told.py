"""What an import says of what it did not read, what it kept, and what to do next."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coig_p.errors import UsageError
from coig_p.ingest.accounting import ImportFailed, ImportReport, fitting_range
from coig_p.ingest.config import scaled_threshold
from coig_p.ingest.fields import FormConfig
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig
from coig_p.schema import on_grid
from coig_p.store.store import Store

ROW = {"id": "q1", "prompt": "问一？", "model": "a", "output": "甲", "score": 9}


def run(folder: Path, *rows: dict[str, Any], form: Any = None, **options: Any) -> tuple[Store, ImportReport]:
    (folder / "in.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    config = ImportConfig(domain="chat", form=FormConfig(**(form or {})), **options)
    return import_files([folder / "in.jsonl"], folder / "store", config, overwrite=True)


def failed(folder: Path, *rows: dict[str, Any], **options: Any) -> ImportReport:
    with pytest.raises(ImportFailed) as error:
        run(folder, *rows, **options)
    return error.value.report


def stored(store: Store) -> list[dict[str, Any]]:
    return [row for batch in store.batches() for row in batch.to_pylist()]


def told(report: ImportReport, words: str) -> bool:
    return any(words in line for line in report.advice())


def test_an_ordinary_import_has_nothing_to_say(tmp_path: Path) -> None:
    assert run(tmp_path, ROW)[1].advice() == []


def test_unread_fields_are_listed_with_how_to_keep_them(tmp_path: Path) -> None:
    rows = [ROW | {"note": "n", "empty": None}, ROW | {"model": "b", "output": "乙", "note": "n", "rank_of": 2}]
    _, report = run(tmp_path, *rows)
    assert report.ignored_fields == {"note": 2, "rank_of": 1}
    assert told(report, "fields that were not read: note (2), rank_of (1). --keep note keeps one in meta, --keep all")


def test_kept_fields_are_in_meta_and_those_that_differ_beside_their_response(tmp_path: Path) -> None:
    rows = [
        ROW | {"note": {"b": 1, "a": [None, 1.5]}, "t": 0.5, "rest": "x"},
        ROW | {"model": "b", "output": "乙", "note": {"a": [None, 1.5], "b": 1}, "t": 0.7},
        ROW | {"model": "b", "output": "乙", "t": 0.7, "score": 2},
    ]
    for keep, meta in ((["note", "t"], '{"note":{"a":[null,1.5],"b":1}}'), (["all"], None)):
        store, report = run(tmp_path, *rows, form={"keep": keep})
        (row,) = stored(store)
        assert row["meta"] == (meta or '{"note":{"a":[null,1.5],"b":1},"rest":"x"}')
        assert [one["extra"] for one in row["responses"]] == ['{"t":0.5}', '{"t":0.7}']
        assert report.kept["t"] == 3
        assert report.ignored_fields == ({"rest": 1} if meta else {})
        assert report.differing == {}


def test_a_kept_field_that_differs_within_one_response_is_told(tmp_path: Path) -> None:
    store, report = run(tmp_path, ROW | {"t": 1}, ROW | {"t": True, "score": 3}, form={"keep": ["t"]})
    assert stored(store)[0]["responses"][0]["extra"] == '{"t":1}'
    assert report.differing == {"t": 1}
    assert told(report, "other values for t (1): the first is kept")


def test_fields_of_responses_are_kept_beside_them(tmp_path: Path) -> None:
    row = {
        "query_id": "1",
        "query": "问",
        "responses": [{"model": "a", "text": "答", "tokens": 3, "scores": []}, {"model": "b", "text": "答二"}],
    }
    store, report = run(tmp_path, row, form={"keep": ["responses.tokens"]})
    assert [one["extra"] for one in stored(store)[0]["responses"]] == ['{"tokens":3}', None]
    assert report.kept == {"responses.tokens": 1}
    _, report = run(tmp_path, row)
    assert report.ignored_fields == {"responses.tokens": 1}
    _, report = run(tmp_path, row, form={"drop": ["responses.tokens"]})
    assert report.ignored_fields == {}


def test_a_stores_own_meta_comes_back(tmp_path: Path) -> None:
    store, _ = run(tmp_path, ROW | {"note": "n"}, form={"keep": ["all"]})
    (shard,) = [store.path / file.path for file in store.data_files()]
    again, _ = import_files([shard], tmp_path / "again", ImportConfig())
    assert stored(again) == stored(store)


def test_what_json_does_not_know_is_kept_as_text_or_refused(tmp_path: Path) -> None:
    table = pa.table({name: [value] for name, value in ROW.items()} | {"day": [date(2026, 1, 2)], "raw": [b"\xff"]})
    pq.write_table(table, tmp_path / "a.parquet")
    config: dict[str, Any] = {"domain": "chat", "form": FormConfig(keep=["day"])}
    store, _ = import_files([tmp_path / "a.parquet"], tmp_path / "s", ImportConfig(**config))
    assert stored(store)[0]["meta"] == '{"day":"2026-01-02"}'
    config["form"] = FormConfig(keep=["all"])
    with pytest.raises(ImportFailed) as error:
        import_files([tmp_path / "a.parquet"], tmp_path / "t", ImportConfig(**config))
    assert error.value.report.reasons == {"not-json": 1}


def test_names_that_no_row_has(tmp_path: Path) -> None:
    _, report = run(tmp_path, ROW, form={"keep": ["kept"], "drop": ["dropped"]})
    assert told(report, "no row has a field kept or dropped to keep or to drop")
    with pytest.raises(UsageError, match="--score-column j=x: no row has a field x"):
        run(tmp_path, ROW, form={"score_columns": {"j": "x"}})


def test_what_carries_meaning_is_refused_unless_it_is_dropped(tmp_path: Path) -> None:
    row = ROW | {"images": ["a.jpg"]}
    report = failed(tmp_path, row)
    assert report.reasons == {"no-place": 1}
    assert "--drop images" in report.problems[0].message
    _, report = run(tmp_path, row, form={"drop": ["images"]})
    assert report.dropped == {"images": 1}
    assert told(report, "fields dropped: images (1)")


def test_no_label_at_all_names_what_may_be_one(tmp_path: Path) -> None:
    rows = [{name: value for name, value in ROW.items() if name != "score"} | {"points": "9", "good": True, "why": "x"}]
    _, report = run(tmp_path, *rows)
    assert told(report, "no score and no comparison was found, so no pair can be made; fields that were not read")
    assert told(report, "good (1), points (1). --map label=good")
    assert not told(failed(tmp_path, ROW | {"score": "N/A"}), "no score")


def test_a_field_of_few_values_may_be_the_domain(tmp_path: Path) -> None:
    rows = [ROW | {"id": str(at), "category": f"c{at % 3}", "task": str(at)} for at in range(30)]
    _, report = run(tmp_path, *rows)
    assert told(report, "category holds few values (c0, c1, c2): --map domain=category in place of --domain takes them")
    assert not told(report, "domain=task")


def test_missing_scores_and_numbers_as_text_are_told_once(tmp_path: Path) -> None:
    rows = [
        ROW | {"id": str(at), "prompt": f"问{at}", "score": score}
        for at, score in enumerate(["9", "９", None, "", float("nan"), 3])
    ]
    store, report = run(tmp_path, *rows)
    assert report.accounting()["scores"] == {"read": 3, "stored": 3, "rejected": 0, "merged": 0}
    assert told(report, "missing scores: 3; their responses stay")
    assert told(report, "numbers written as text: 2")
    assert len(stored(store)) == 6


def test_one_rule_for_missing_scores_in_every_shape(tmp_path: Path) -> None:
    nested = {"query_id": "q1", "query": "问", "responses": [
        {"model": "a", "text": "甲", "scores": [{"judge": "unknown", "score": 9}]},
        {"model": "b", "text": "乙", "scores": [{"judge": "unknown", "score": None}]},
    ]}  # fmt: skip
    flat: list[dict[str, Any]] = [
        {"query_id": "q1", "query": "问", "model": "a", "text": "甲", "score": 9},
        {"query_id": "q1", "query": "问", "model": "b", "text": "乙", "score": None},
    ]
    one, first = run(tmp_path, nested)
    rows = stored(one)
    two, second = run(tmp_path, *flat)
    assert stored(two) == rows
    assert (first.missing_scores, second.missing_scores) == (1, 1)
    for unit in ("responses", "scores", "comparisons"):
        assert first.accounting()[unit] == second.accounting()[unit]


def test_scores_out_of_range_offer_the_range_that_fits_all(tmp_path: Path) -> None:
    report = failed(tmp_path, ROW | {"score": 88}, ROW | {"model": "b", "output": "乙", "score": 5})
    assert "88 is not between 1 and 10" in report.problems[0].message
    assert told(report, "from 5 to 88: --score-range 0 100 takes them all. The default threshold scales with it")
    store, _ = run(tmp_path, ROW | {"score": 88}, score_range=(0, 100))
    assert store.manifest.default_threshold == 20


@pytest.mark.parametrize(
    ("found", "fits"),
    [
        ((33, 88), (0, 100)),
        ((0, 1), (0, 1)),
        ((0, 10), (0, 10)),
        ((-3, 2), (-3, 3)),
        ((0, 4), (0, 4)),
        ((-7.5, 12.25), (-8, 13)),
        ((5, 5), (1, 5)),
        ((101, 102), (101, 102)),
        ((101, 101), (101, 102)),
    ],
)
def test_ranges_that_fit(found: tuple[float, float], fits: tuple[float, float]) -> None:
    assert fitting_range(*found) == fits


@pytest.mark.parametrize(
    ("score_range", "threshold"),
    [((1, 10), 2), ((0, 100), 20), ((0, 10), 2), ((1, 5), 0.9), ((0, 1), 0.2), ((0, 4), 0.9), ((-3, 3), 1)],
)
def test_the_default_threshold_scales_with_the_range(score_range: tuple[float, float], threshold: float) -> None:
    assert scaled_threshold(score_range) == threshold


@pytest.mark.parametrize("width", [0.0001, 0.0002, 0.001, 0.5, 3, 12345, 1e9])
def test_it_is_on_the_grid_and_no_wider_than_the_range(width: float) -> None:
    assert on_grid(scaled_threshold((0, width)))
    assert 0 < scaled_threshold((0, width)) <= width


def test_labels_have_a_range_of_their_own(tmp_path: Path) -> None:
    rows = [{"prompt": "问", "completion": text, "label": label} for text, label in (("甲", True), ("乙", False))]
    store, _ = run(tmp_path, *rows)
    assert (store.manifest.score_range, store.manifest.default_threshold) == ((0, 1), 1)
    store, _ = run(tmp_path, *rows, default_threshold=0.5)
    assert store.manifest.default_threshold == 0.5
    others = [ROW | {"id": str(at), "prompt": f"问{at}", "score": 1} for at in range(25)]
    with pytest.raises(UsageError, match="further down are scored from 0 to 1: pass --score-range 0 1"):
        run(tmp_path, *({name: one[name] for name in one if name != "id"} for one in others), rows[0])


def test_rows_of_several_forms_are_counted_by_form(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        ROW,
        ROW | {"model": "b", "output": "乙"},
        {"prompt": "问二", "chosen": "甲", "rejected": "乙"},
    ]
    _, report = run(tmp_path, *rows)
    assert report.forms == {str(tmp_path / "in.jsonl"): {"flat": 2, "pairs": 1}}


def test_a_pair_of_equal_texts_is_one_response(tmp_path: Path) -> None:
    store, report = run(tmp_path, {"prompt": "问", "chosen": "甲", "rejected": "甲"})
    assert report.accounting()["responses"] == {"read": 2, "stored": 1, "rejected": 0, "merged": 1}
    assert report.counts["comparisons"]["read"] == report.counts["comparisons"]["merged"]
    assert len(stored(store)[0]["responses"]) == 1


def test_a_number_of_a_sample_that_is_taken(tmp_path: Path) -> None:
    responses = [
        {"model": "a", "text": "没有号"},
        {"model": "a", "text": "甲", "sample": 0, "scores": [{"judge": "j", "score": 5}]},
        {"model": "a", "text": "乙", "sample": 0, "scores": [{"judge": "j", "score": 5}, {"judge": "k", "score": 5}]},
        {"model": "a", "text": "甲", "sample": 7},
    ]
    pair = {"first": 1, "second": 2, "judge": "h", "first_score": 1, "second_score": 0}
    rows = [
        {"query_id": "1", "query": "问", "responses": responses[:2]},
        {"query_id": "1", "query": "问", "responses": responses[1:], "comparisons": [pair]},
    ]
    report = failed(tmp_path, *rows)
    assert report.reasons == {"duplicate-sample": 1, "response-rejected": 1}
    store, report = run(tmp_path, *rows, on_error="skip")
    assert [(one["text"], one["sample"]) for one in stored(store)[0]["responses"]] == [("没有号", 1), ("甲", 0)]
    assert report.accounting()["scores"] == {"read": 4, "stored": 2, "rejected": 2, "merged": 0}
    assert report.accounting()["responses"] == {"read": 5, "stored": 2, "rejected": 1, "merged": 2}
    rejects = [json.loads(line) for line in (store.path / "rejects.jsonl").read_text("ascii").splitlines()]
    assert rejects[0]["value"]["text"] == "乙"
    assert rejects[0]["line"] == 2


def test_judges_on_different_scales_are_not_offered_one_range(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"query": "问", "text": text, "model": text, "judge": judge, "score": score}
        for judge, scores in (("x", (9, 3)), ("y", (0.2, 1)))
        for text, score in zip("甲乙", scores, strict=True)
    ]
    (said,) = [line for line in failed(tmp_path, *rows).advice() if "scores were found" in line]
    assert "perhaps on different scales (y 0.2 to 1, x 3 to 9)" in said
    assert "import such judges apart" in said
    alone = [row | {"score": row["score"] * 10} for row in rows[:2]]
    (said,) = [line for line in failed(tmp_path, *alone).advice() if "scores were found" in line]
    assert "--score-range 0 100 takes them all" in said


def test_labels_among_scores_are_offered_no_range_for_both(tmp_path: Path) -> None:
    rows = [{"query": "问", "text": "甲", "score": 50}, {"prompt": "问", "completion": "乙", "label": True}]
    with pytest.raises(UsageError, match="import the rows with labels apart") as refused:
        failed(tmp_path, *rows)
    assert "--score-range" not in str(refused.value)
