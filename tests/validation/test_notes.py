"""Notes: what judges said, where a query is from and what upstream kept hold no personal data, or a check says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import Rows, completed, make_store, twin
from strategies import examples

from coig_p.schema import RAW_SCHEMA
from coig_p.store.store import Store
from coig_p.validation import check
from coig_p.validation.checks import CHECKS
from coig_p.validation.checks.texts import KINDS, NOTES, Texts
from coig_p.validation.cleaning import clean_store
from coig_p.validation.rules import RULES

SECRETS = {
    "mobile": "打１３８ 0013-8000给我。",
    "id-card": "身份证号是11010519491231002X。",
    "bank-card": "卡号是 4111 1111 1111 1111。",
    "ip-address": "服务器在8．8.8.8上。",
    "email": "写信到ｚｓ＠example.com。",
    "words": "这里有一个ＢａｄＷｏｒｄ。",
}
IN_NOTES = [rule.id for rule in RULES.values() if "notes" in rule.scope]


def with_notes() -> Rows:
    rows = completed(twin())
    for row in rows:
        row["meta"], row["source"] = json.dumps({"来源": "论坛", "编号": 123456}, ensure_ascii=False), "forum"
        for response in row["responses"]:
            for score in response["scores"]:
                score["rationale"] = "回答正确，条理清楚，得 8.5 分（满分 10 分）。"
        row["comparisons"] = [
            {"first": 0, "second": 1, "judge": "ren", "dimension": "overall", "first_score": 1.0, "second_score": 0.0}
            | {"rationale": "前一个更好。"}
        ] * 12
    return rows


def plant(row: dict[str, Any], field: str, text: str) -> dict[str, Any]:
    """Write a text where the field says; what a finding says of the place."""
    if field in ("meta", "source"):
        row[field] = json.dumps({"备注": [text]}, ensure_ascii=False) if field == "meta" else text
        return {"response": None, "score": None, "comparison": None, "judge": None, "model": None}
    if field.startswith("comparisons"):
        row["comparisons"] = [dict(one) for one in row["comparisons"]]
        row["comparisons"][3]["rationale"] = text
        return {"response": None, "score": None, "comparison": 3, "judge": "ren", "model": None}
    row["responses"][2]["scores"][1]["rationale"] = text
    return {"response": 2, "score": 1, "comparison": None, "judge": "pan-b", "model": row["responses"][2]["model"]}


FIELDS = ["meta", "source", "comparisons[3].rationale", "responses[2].scores[1].rationale"]


def store_of(rows: Rows, path: Path) -> Path:
    return make_store(path, sorted(rows, key=lambda row: row["domain"]), rows_per_shard=5)


def rules_file(folder: Path) -> Path:
    path = folder / "rules.toml"
    path.write_text('[words]\nwords = ["badword"]\n')
    return path


def test_these_rules_look_at_notes() -> None:
    assert sorted(SECRETS) == sorted(IN_NOTES)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("rule", IN_NOTES)
def test_personal_data_in_a_note_is_found_where_it_is_and_cleaned_alone(rule: str, field: str, tmp_path: Path) -> None:
    rows = with_notes()
    assert check(store_of(rows, tmp_path / "without"), rules=rules_file(tmp_path)).by_rule()[rule] == 0
    place = plant(rows[5], field, SECRETS[rule])
    path = store_of(rows, tmp_path / "store")
    report = check(path, rules=rules_file(tmp_path))
    (found,) = (one for one in report.findings.to_pylist() if one["rule"] == rule)
    wanted = {"domain": "math", "query_id": "q-05", "field": field, "severity": RULES[rule].severity, **place}
    assert wanted.items() <= found.items()
    if rule not in ("words", "ip-address"):
        assert "*" in found["excerpt"]
    written = clean_store(Store.open(path), report, tmp_path / "clean", more=[rule])
    assert {id: loss.to_dict() for id, loss in written.dropped.items()} == {
        rule: {"rows": 0, "responses": 0, "scores": 0, "comparisons": 0, "notes": 1}
    }
    plant(rows[5], field, "")
    if field in ("meta", "source"):
        rows[5][field] = None
    elif field.startswith("comparisons"):
        rows[5]["comparisons"][3]["rationale"] = None
    else:
        rows[5]["responses"][2]["scores"][1]["rationale"] = None
    left = {row["query_id"]: row for batch in written.store.batches() for row in batch.to_pylist()}
    assert left == {row["query_id"]: row for row in completed(rows)}
    assert check(written.store, rules=rules_file(tmp_path)).by_rule()[rule] == 0


def test_what_goes_with_a_larger_unit_is_not_counted_and_what_is_moved_is_found(tmp_path: Path) -> None:
    rows = with_notes()
    secret = SECRETS["id-card"]
    rows[5]["responses"][0]["text"] += "</s>"  # goes, and what follows it moves
    rows[5]["responses"][0]["scores"][0]["rationale"] = secret
    rows[5]["responses"][2]["scores"][0]["score"] = 99.0
    rows[5]["responses"][2]["scores"][0]["rationale"] = secret
    rows[5]["responses"][2]["scores"][1]["rationale"] = secret
    rows[5]["comparisons"] = [
        {**rows[5]["comparisons"][0], "first": first, "second": 3, "rationale": secret} for first in (0, 1)
    ]
    rows[6]["query"] += "\ufffd"
    rows[6]["meta"] = json.dumps({"卡": secret}, ensure_ascii=False)
    path = store_of(rows, tmp_path / "store")
    written = clean_store(Store.open(path), check(path), tmp_path / "clean")
    assert written.dropped["id-card"].notes == 2
    assert sum(loss.notes for loss in written.dropped.values()) == 2
    left = {row["query_id"]: row for batch in written.store.batches() for row in batch.to_pylist()}
    assert "q-06" not in left
    assert [score["rationale"] for score in left["q-05"]["responses"][1]["scores"]] == [None]
    assert [one["rationale"] for one in left["q-05"]["comparisons"]] == [None]
    assert check(written.store).passed
    again = clean_store(written.store, check(written.store), tmp_path / "again", more=["mobile"])
    assert again.store.manifest.options["clean"]["dropped"]["id-card"]["notes"] == 2


PIECES = [
    "1",
    "13",
    "8.8",
    "6222",
    "０",
    "１３８",
    " ",
    "-",
    "\u00a0",
    "\uff0d",
    ".",
    "．",
    "@",
    "＠",
    "a.cn",
    "x",
    "甲",
]


@examples(400)
@given(st.lists(st.lists(st.sampled_from([*PIECES, *SECRETS.values()]), max_size=24).map("".join), max_size=5))
def test_what_is_not_laid_out_holds_nothing_that_a_rule_finds(notes: list[str]) -> None:
    row: dict[str, Any] = {
        "query_id": "1",
        "domain": "chat",
        "query": "问",
        "responses": [],
        "source": None,
        "meta": None,
    }
    scores = [{"judge": str(at), "score": 1.0, "rationale": note} for at, note in enumerate(notes)]
    responses = [{"model": "m", "text": "答", "scores": scores}]
    row = {"query_id": "1", "domain": "chat", "query": "问", "responses": responses}
    batch = pa.RecordBatch.from_pylist([row], schema=RAW_SCHEMA)
    few, every = Texts(batch), Texts(batch, every_note=True)
    assert sum(every.kind == NOTES) == len(notes)
    for rule in IN_NOTES:
        if rule != "words":
            found = []
            for texts in (few, every):
                hits = CHECKS[rule](texts)
                pairs = zip(hits.text.tolist(), hits.offset.tolist(), strict=True)
                found.append([(texts.field(at), place) for at, place in pairs])
            assert found[0] == found[1]
    assert KINDS[NOTES] == "notes"
