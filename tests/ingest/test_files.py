"""The import: every problem named, everything counted, nothing half written."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coig_p.errors import UsageError
from coig_p.ingest.accounting import ImportFailed, ImportReport
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig
from coig_p.schema import RAW_SCHEMA, UNITS
from coig_p.store.store import Store

GOOD: dict[str, Any] = {
    "query_id": "q1",
    "domain": "math",
    "query": "一加一等于几？",
    "responses": [
        {"model": "a", "text": "二。", "scores": [{"judge": "j", "score": 9}]},
        {"model": "b", "text": "三。", "scores": [{"judge": "j", "dimension": "overall", "score": 1.5}]},
    ],
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """GOOD with one value replaced, or removed where `value` is ...; path as in problems."""
    row = copy.deepcopy(GOOD)
    *parents, last = path.replace("]", "").replace("[", ".").split(".")
    at: Any = row
    for part in parents:
        at = at[int(part)] if part.isdigit() else at[part]
    if value is ...:
        del at[last]
    else:
        at[int(last) if last.isdigit() else last] = value
    return row


def write(path: Path, *rows: Any) -> Path:
    """A JSON Lines file; a row that is bytes is written as it is."""
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def stored_rows(store: Store) -> list[dict[str, Any]]:
    return [row for batch in store.batches() for row in batch.to_pylist()]


def balanced(report: ImportReport) -> bool:
    return all(
        counts["read"] == counts["stored"] + counts["rejected"] + counts["merged"]
        for counts in report.accounting().values()
    )


BAD: list[tuple[Any, str, str, str]] = [
    (b"{", "", "broken-json", "row"),
    (b"{}{}", "", "broken-json", "row"),
    (b"[" * 100_000, "", "broken-json", "row"),
    (b'{"n": ' + b"1" * 5000 + b"}", "", "broken-json", "row"),
    (b'{"query": "\xff"}', "", "wrong-encoding", "row"),
    ([1], "", "not-an-object", "row"),
    ("text", "", "not-an-object", "row"),
    (changed("query", ...), "query", "missing", "row"),
    (changed("query", None), "query", "missing", "row"),
    (changed("query", 7), "query", "not-a-string", "row"),
    (changed("query", " \u3000\n"), "query", "blank", "row"),
    (changed("query", "\ud800"), "query", "lone-surrogate", "row"),
    (changed("query_id", 1.5), "query_id", "not-a-string", "row"),
    (changed("query_id", " "), "query_id", "blank", "row"),
    (changed("domain", ...), "domain", "missing", "row"),
    (changed("domain", "Math"), "domain", "bad-domain", "row"),
    (changed("domain", "../up"), "domain", "bad-domain", "row"),
    (changed("domain", "train"), "domain", "bad-domain", "row"),
    (changed("domain", "x-raw"), "domain", "bad-domain", "row"),
    (changed("source", 3), "source", "not-a-string", "row"),
    (changed("responses", ...), "", "no-form", "row"),
    (changed("responses", {}), "", "no-form", "row"),
    (changed("responses[1]", "二"), "responses[1]", "not-an-object", "response"),
    (changed("responses[0].text", ...), "responses[0].text", "missing", "response"),
    (changed("responses[0].text", True), "responses[0].text", "not-a-string", "response"),
    (changed("responses[0].text", ""), "responses[0].text", "blank", "response"),
    (changed("responses[1].text", "\udfff"), "responses[1].text", "lone-surrogate", "response"),
    (changed("responses[1].sample", -1), "responses[1].sample", "bad-sample", "response"),
    (changed("responses[1].sample", 0.5), "responses[1].sample", "bad-sample", "response"),
    (changed("responses[1].sample", 2**31), "responses[1].sample", "bad-sample", "response"),
    (changed("responses[0].extra", "[1]"), "responses[0].extra", "not-an-object", "row"),
    (changed("responses[1].model", 7.5), "responses[1].model", "not-a-string", "response"),
    (changed("responses[1].scores", "9"), "responses[1].scores", "not-a-list", "response"),
    (changed("responses[0].scores[0]", 9), "responses[0].scores[0]", "not-an-object", "score"),
    (changed("responses[0].scores[0].judge", ...), "responses[0].scores[0].judge", "missing", "score"),
    (changed("responses[0].scores[0].judge", ""), "responses[0].scores[0].judge", "blank", "score"),
    (changed("responses[0].scores[0].dimension", 1), "responses[0].scores[0].dimension", "not-a-string", "score"),
    (changed("responses[0].scores[0].score", ...), "responses[0].scores[0].score", "missing", "score"),
    (changed("responses[0].scores[0].score", True), "responses[0].scores[0].score", "not-a-number", "score"),
    (changed("responses[0].scores[0].score", "9分"), "responses[0].scores[0].score", "not-a-number", "score"),
    (changed("responses[0].scores[0].score", "⑨"), "responses[0].scores[0].score", "not-a-number", "score"),
    (changed("responses[0].scores[0].rationale", 3), "responses[0].scores[0].rationale", "not-a-string", "score"),
    (changed("responses[0].scores[0].score", float("inf")), "responses[0].scores[0].score", "not-a-number", "score"),
    (changed("responses[0].scores[0].score", 10**400), "responses[0].scores[0].score", "out-of-range", "score"),
    (changed("responses[0].scores[0].score", 10.5), "responses[0].scores[0].score", "out-of-range", "score"),
    (changed("responses[0].scores[0].score", 0), "responses[0].scores[0].score", "out-of-range", "score"),
    (changed("responses[0].scores[0].score", 7.00001), "responses[0].scores[0].score", "off-grid", "score"),
    (changed("comparisons", 3), "comparisons", "not-a-list", "row"),
]  # fmt: skip


def comparison(**changes: Any) -> dict[str, Any]:
    value = {"first": 0, "second": 1, "judge": "h", "first_score": 1, "second_score": 0} | changes
    return GOOD | {"comparisons": [{name: part for name, part in value.items() if part is not ...}]}


BAD += [
    (comparison(first=2), "comparisons[0].first", "bad-comparison", "comparison"),
    (comparison(first=True), "comparisons[0].first", "bad-comparison", "comparison"),
    (comparison(second=0), "comparisons[0].second", "bad-comparison", "comparison"),
    (comparison(second=-1), "comparisons[0].second", "bad-comparison", "comparison"),
    (comparison(judge=...), "comparisons[0].judge", "missing", "comparison"),
    (comparison(first_score="x"), "comparisons[0].first_score", "not-a-number", "comparison"),
]


@pytest.mark.parametrize(("row", "field", "reason", "unit"), BAD)
def test_each_problem_is_named_and_only_the_smallest_unit_goes(
    row: Any, field: str, reason: str, unit: str, tmp_path: Path
) -> None:
    other = GOOD | {"query_id": "q2", "query": "别的问题？"}
    path = write(tmp_path / "in.jsonl", other, row)
    with pytest.raises(ImportFailed) as failed:
        import_files([path], tmp_path / "store", ImportConfig())
    (problem,) = failed.value.report.problems
    assert (problem.file, problem.line, problem.field, problem.reason, problem.unit) == (
        str(path), 2, field, reason, unit,
    )  # fmt: skip
    assert balanced(failed.value.report)
    assert list(tmp_path.iterdir()) == [path], "something was written"

    store, report = import_files([path], tmp_path / "store", ImportConfig(on_error="skip"))
    assert balanced(report)
    assert report.counts[f"{unit}s"]["rejected"] == 1
    assert store.verify() == []
    (reject,) = [json.loads(line) for line in (tmp_path / "store/rejects.jsonl").read_text("ascii").splitlines()]
    assert (reject["file"], reject["line"], reject["field"], reject["reason"]) == ("in.jsonl", 2, field, reason)
    if not isinstance(row, bytes):
        whole = json.loads(json.dumps(row))
        assert repr(reject["value" if unit == "row" else "row"]) == repr(whole)  # also NaN
    assert {name: reject["lost"].get(name, 0) for name in UNITS} == {
        name: report.counts[name]["rejected"] for name in UNITS
    }
    rows = {row["query_id"]: row for row in stored_rows(store)}
    assert len(rows) == (1 if unit == "row" else 2)
    if unit != "row":
        kept = rows["q1"]
        assert len(kept["responses"]) == (1 if unit == "response" else 2)
        scores = sum(len(response["scores"]) for response in kept["responses"])
        assert scores == {"response": 1, "score": 1, "comparison": 2}[unit]


def test_conflicts_between_rows_and_files(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", GOOD)
    second = write(
        tmp_path / "b.jsonl",
        GOOD | {"query": "另一个问题"},
        GOOD | {"domain": "chat"},
        GOOD | {"responses": [GOOD["responses"][0], {"model": "c", "text": "四。"}]},
    )
    with pytest.raises(ImportFailed) as failed:
        import_files([first, second], tmp_path / "store", ImportConfig())
    found = [(p.file, p.line, p.field, p.reason) for p in failed.value.report.problems]
    assert found == [
        (str(second), 1, "query", "two-texts"),
        (str(second), 2, "domain", "two-domains"),
    ]
    store, report = import_files([first, second], tmp_path / "store", ImportConfig(on_error="skip"))
    assert report.accounting()["rows"] == {"read": 4, "stored": 1, "rejected": 2, "merged": 1}
    (row,) = stored_rows(store)
    assert [response["model"] for response in row["responses"]] == ["a", "b", "c"]


def test_models_without_a_name_are_named_by_their_text_alone(tmp_path: Path) -> None:
    texts = ["甲", "乙", "丙", "丁"]
    by_hash = sorted(texts, key=lambda text: hashlib.blake2b(text.encode(), digest_size=16).digest())
    names = {text: f"unknown-{at}" for at, text in enumerate(by_hash, start=1)}
    for order in (texts, texts[::-1]):
        parts = [
            GOOD | {"responses": [{"text": text, "model": model} for text in part]}
            for part, model in ((order[:1], None), (order[1:3], ""), (order[3:], " "))
        ]
        store, _ = import_files([write(tmp_path / "in.jsonl", *parts)], tmp_path / "s", ImportConfig(), overwrite=True)
        assert {r["text"]: r["model"] for r in stored_rows(store)[0]["responses"]} == names
    taken = GOOD | {"responses": [{"model": "unknown-1", "text": "戊"}, {"text": "己"}]}
    store, _ = import_files([write(tmp_path / "in.jsonl", taken)], tmp_path / "s", ImportConfig(), overwrite=True)
    assert [r["model"] for r in stored_rows(store)[0]["responses"]] == ["unknown-1", "unknown-2"]


def test_a_missing_query_id_comes_from_the_text(tmp_path: Path) -> None:
    rows = [changed("query_id", ...), changed("query_id", None) | {"responses": [{"model": "c", "text": "四"}]}]
    rows.append(changed("query_id", 17) | {"query": "别的"})
    store, report = import_files([write(tmp_path / "in.jsonl", *rows)], tmp_path / "s", ImportConfig())
    first, second = stored_rows(store)
    assert first["query_id"].startswith("q-")
    assert len(first["responses"]) == 3
    assert second["query_id"] == "17"
    assert report.counts["rows"]["merged"] == 1
    again, _ = import_files([write(tmp_path / "b.jsonl", rows[1])], tmp_path / "t", ImportConfig())
    assert stored_rows(again)[0]["query_id"] == first["query_id"]


def test_comparisons_follow_their_responses(tmp_path: Path) -> None:
    row = copy.deepcopy(GOOD)
    row["responses"].insert(0, {"model": "bad", "text": ""})
    row["comparisons"] = [
        {"first": 2, "second": 1, "judge": "h", "first_score": 0, "second_score": 1},
        {"first": 0, "second": 1, "judge": "h", "first_score": 0, "second_score": 1},
    ]
    more = GOOD | {
        "responses": [{"model": "c", "text": "四"}, {"model": "d", "text": "五"}],
        "comparisons": [{"first": 1, "second": 0, "judge": "h", "first_score": 0.5, "second_score": 0.5}],
    }
    path = write(tmp_path / "in.jsonl", row, more)
    store, report = import_files([path], tmp_path / "s", ImportConfig(on_error="skip"))
    assert report.reasons == {"blank": 1, "response-rejected": 1}
    assert balanced(report)
    (kept,) = stored_rows(store)
    assert [(c["first"], c["second"]) for c in kept["comparisons"]] == [(1, 0), (3, 2)]
    assert [r["model"] for r in kept["responses"]] == ["a", "b", "c", "d"]
    bare = GOOD | {"responses": [{"model": m, "text": m} for m in "ab"], "comparisons": [row["comparisons"][1]]}
    only, _ = import_files([write(tmp_path / "c.jsonl", bare)], tmp_path / "t", ImportConfig())
    assert only.manifest.default_threshold == 1


def test_fields_without_a_place_are_counted(tmp_path: Path) -> None:
    row = changed("responses[0].scores[0].reason", "好") | {"reference": "二"}
    row["responses"][1]["tokens"] = 5
    _, report = import_files([write(tmp_path / "in.jsonl", row)], tmp_path / "s", ImportConfig())
    assert report.ignored_fields == {"reference": 1, "responses.tokens": 1, "scores.reason": 1}


def test_options_reach_the_store(tmp_path: Path) -> None:
    rows = [GOOD | {"domain": "数学"}, GOOD | {"query_id": "2", "domain": "chat"}]
    config = ImportConfig(
        domain_map={"数学": "math"}, split="test", score_range=(0, 9), default_threshold=0.5, license="MIT"
    )
    store, _ = import_files([write(tmp_path / "in.jsonl", *rows)], tmp_path / "s", config)
    manifest = store.manifest
    assert manifest.domains == ("math", "chat")
    assert manifest.splits() == ["test"]
    assert (manifest.score_range, manifest.default_threshold) == ((0, 9), 0.5)
    content = (tmp_path / "in.jsonl").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    assert manifest.sources == ({"name": "in.jsonl", "bytes": len(content), "sha256": digest, "license": "MIT"},)
    assert manifest.options["domain_map"] == {"数学": "math"}


def test_where_inputs_lie_is_not_told(tmp_path: Path) -> None:
    """Files of one name are told apart by as many of their folders as it takes, never by the whole path."""
    paths = [tmp_path / folder / "in.jsonl" for folder in ("a/x", "b/x", "c")]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        write(path, GOOD | {"query_id": str(number)})
    config = ImportConfig(judges={str(path): f"j{number}" for number, path in enumerate(paths)})
    store, _ = import_files(paths, tmp_path / "s", config)
    assert [source["name"] for source in store.manifest.sources] == ["a/x/in.jsonl", "b/x/in.jsonl", "c/in.jsonl"]
    assert str(tmp_path) not in store.manifest.to_json()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"score_range": (1, 1)}, "lower and a higher"),
        ({"score_range": (0, float("inf"))}, "lower and a higher"),
        ({"default_threshold": 9.5, "score_range": (1, 10)}, "so far apart"),
        ({"default_threshold": -1}, "0 or more"),
        ({"domain": "math", "domain_map": {"a": "b"}}, "not both"),
        ({"on_error": "ask"}, "fail, skip"),
        ({"split": "all"}, "reserved"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ImportConfig(**options)


def test_targets_that_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", GOOD)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="not a store"):
            import_files([path], tmp_path / "full", ImportConfig(), overwrite=overwrite)
    with pytest.raises(UsageError, match="is a file"):
        import_files([path], path, ImportConfig(), overwrite=True)
    (tmp_path / "empty").mkdir()
    import_files([path], tmp_path / "empty", ImportConfig())
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    with pytest.raises(UsageError, match="symbolic link"):
        import_files([path], tmp_path / "link", ImportConfig(), overwrite=True)
    with pytest.raises(UsageError, match="--overwrite"):
        import_files([path], tmp_path / "empty", ImportConfig())
    with pytest.raises(UsageError, match="no input"):
        import_files([], tmp_path / "new", ImportConfig())


def test_what_is_not_made_anew_does_not_go_with_the_old_store(tmp_path: Path) -> None:
    source, target = write(tmp_path / "in.jsonl", GOOD), tmp_path / "s"
    import_files([source], target, ImportConfig())
    (target / "card.toml").write_text("mine", encoding="utf-8")
    import_files([source], target, ImportConfig(), overwrite=True)
    assert (target / "card.toml").read_text(encoding="utf-8") == "mine"
    for name in ("notes.md", "data/more/mine.txt", ".git/HEAD"):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text("mine", encoding="utf-8")
        with pytest.raises(UsageError, match=rf"holds more than a store \({name}\), which would go with it"):
            import_files([source], target, ImportConfig(), overwrite=True)
        (target / name).unlink()
    (shard,) = (target / "data").rglob("*.parquet")
    inside = Path(shutil.copy(source, target / "in.jsonl"))
    for path in (shard, inside):
        with pytest.raises(UsageError, match=r"which would be replaced: choose another place"):
            import_files([path], target, ImportConfig(), overwrite=True)
    inside.unlink()
    assert Store.open(target).verify() == []
    (target / "manifest.json").write_text('{"schema_version": 9, "score_range": 0', encoding="utf-8")
    import_files([source], target, ImportConfig(), overwrite=True)
    assert Store.open(target).verify() == []


def test_a_failed_overwrite_leaves_the_old_store(tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", GOOD)
    import_files([path], tmp_path / "s", ImportConfig())
    write(path, b"{")
    with pytest.raises(ImportFailed):
        import_files([path], tmp_path / "s", ImportConfig(), overwrite=True)
    assert Store.open(tmp_path / "s").verify() == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.jsonl", "s"]


@pytest.mark.parametrize("number", [1, 127, 999, 1000, 2500, 3999])
def test_shards_and_row_groups_are_even(number: int, tmp_path: Path) -> None:
    rows = [
        {"query_id": str(at), "domain": "chat", "query": f"问{at}", "responses": [{"model": "m", "text": "答"}]}
        for at in range(number)
    ]
    store, _ = import_files([write(tmp_path / "in.jsonl", *rows)], tmp_path / "s", ImportConfig())
    sizes = [file.rows or 0 for file in store.data_files()]
    assert sum(sizes) == number
    assert max(sizes) - min(sizes) <= 1
    assert number < 1000 or all(1000 <= size <= 2000 for size in sizes)
    for file, size in zip(store.data_files(), sizes, strict=True):
        footer = pq.read_metadata(store.path / file.path)
        groups = [footer.row_group(at).num_rows for at in range(footer.num_row_groups)]
        assert max(groups) <= 256
        assert min(groups) >= 128 or size < 128
    assert [row["query_id"] for row in stored_rows(store)] == [str(at) for at in range(number)]


def test_a_stores_own_shards_import_as_the_same_rows(store: Path, rows: Any, tmp_path: Path) -> None:
    shards = sorted(store.glob("data/*/*.parquet"), key=lambda path: ("chat" in path.parts, path.name))
    again, report = import_files(shards, tmp_path / "again", ImportConfig())
    wanted = stored_rows(Store.open(store))
    for response in (response for row in wanted for response in row["responses"]):
        response["sample"] = response["sample"] or 0
    assert stored_rows(again) == wanted
    assert report.counts["rows"]["read"] == len(rows)


# ---------------------------------------------------------------------------------------------
# Real data


def test_halluqa_is_accounted_for_to_the_last_response(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "halluqa.jsonl"
    config: dict[str, Any] = {"domain": "chat", "score_range": (0, 1), "default_threshold": 1}
    with pytest.raises(ImportFailed) as failed:
        import_files([path], tmp_path / "s", ImportConfig(**config))
    assert failed.value.report.reasons == {"blank": 14}
    store, report = import_files([path], tmp_path / "s", ImportConfig(**config, on_error="skip"))
    assert report.accounting()["rows"] == {"read": 450, "stored": 450, "rejected": 0, "merged": 0}
    assert report.accounting()["responses"] == {"read": 10_800, "stored": 10_786, "rejected": 14, "merged": 0}
    assert balanced(report)
    given_rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for row, upstream in zip(stored_rows(store), given_rows, strict=True):
        assert [(r["model"], r["text"]) for r in row["responses"]] == [
            (r["model"], r["text"]) for r in upstream["responses"] if r["text"].strip()
        ]


def test_alpaca_examples_import_with_their_half_points(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "alpaca_examples.jsonl"
    store, report = import_files([path], tmp_path / "s", ImportConfig(domain="chat", on_error="skip"))
    assert report.reasons == {"blank": 1}
    assert report.accounting()["responses"] == {"read": 1_818, "stored": 1_816, "rejected": 2, "merged": 0}
    scores = [s["score"] for row in stored_rows(store) for r in row["responses"] for s in r["scores"]]
    assert len(scores) == 1_530
    assert any(score % 1 == 0.5 for score in scores)


def test_raw_rows_hold_what_the_schema_says(tmp_path: Path) -> None:
    store, _ = import_files([write(tmp_path / "in.jsonl", GOOD)], tmp_path / "s", ImportConfig())
    (batch,) = store.batches()
    assert pa.Table.from_batches([batch]).schema.equals(RAW_SCHEMA)
