"""Conversations are compared by what is said in them, never by the names of who says it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from make import completed, make_store, twin

from coig_p.core.normalize import comparison_form
from coig_p.dedup.contamination import ContaminationConfig, find_contamination, read_benchmarks
from coig_p.dedup.queries import DedupConfig, dedup_store, find_duplicates, read_queries
from coig_p.store.conversations import transcript
from coig_p.store.store import Store
from coig_p.validation import check

Row = dict[str, Any]


def asked(query_id: str, *said: str, **more: Any) -> Row:
    """A conversation of these contents, a system prompt first; or, of one, a query."""
    roles = ["system", *(("user", "assistant") * len(said))]
    messages = [{"role": role, "content": text, "extra": None} for role, text in zip(roles, said, strict=False)]
    row = twin()[0] | {"query_id": query_id, "query": said[0], "domain": "chat"}
    return row | ({"messages": messages, "query": transcript(messages)} if len(said) > 1 else {}) | more


def stored(folder: Path, *rows: Row) -> Store:
    return Store.open(make_store(folder, completed(list(rows))))


def test_the_form_is_that_of_the_contents(tmp_path: Path) -> None:
    store = stored(tmp_path / "store", asked("a", "你是老师。", "一加一？", "二。", "为什么？"), asked("b", "一加一？"))
    assert read_queries(store).forms == ["你是老师一加一二为什么", "一加一"]


def test_names_of_roles_make_nothing_alike_and_nothing_different(tmp_path: Path) -> None:
    """Short contents under the same roles share most of their text as it is read, and none of what is said."""
    store = stored(
        tmp_path / "store",
        asked("a", "甲", "乙", "丙", "丁"),
        asked("b", "子", "丑", "寅", "卯"),
        asked("c", "你是一位老师。", "请问一加一等于几？"),
        asked("d", "你是一位老师。请问一加一等于几？"),
    )
    found = find_duplicates(read_queries(store), DedupConfig(threshold=0.7))
    assert [(row["query_id"], row["survivor"]) for row in found.to_pylist()] == [("c", "c"), ("d", "c")]


def test_merging_keeps_what_a_model_answered_by_sample(tmp_path: Path) -> None:
    store = stored(tmp_path / "store", asked("a", "一加一等于几？"), asked("b", "一加一等于几"))
    rows = [row for batch in store.batches() for row in batch.to_pylist()]
    rows[1]["responses"][1] |= {"model": rows[0]["responses"][0]["model"], "sample": 1}
    store = stored(tmp_path / "sampled", *rows)
    config = DedupConfig(merge=True)
    left = dedup_store(store, tmp_path / "left", config, find_duplicates(read_queries(store), config))
    (row,) = [row for batch in left.store.batches() for row in batch.to_pylist()]
    assert row["responses"] == [*rows[0]["responses"], rows[1]["responses"][1]]
    assert left.lost.responses == 3
    assert not check(left.store).by_rule()["model-twice"]


def test_a_benchmark_is_found_in_any_turn_and_by_its_own_turns(tmp_path: Path) -> None:
    question = "请解释为什么天空在白天是蓝色的而在傍晚是红色的？"
    store = stored(
        tmp_path / "store", asked("a", "你是老师。", "你好。", "你好！", f"{question}谢谢。"), asked("b", "你好。")
    )
    config = ContaminationConfig()
    (tmp_path / "bench.jsonl").write_text(json.dumps({"question": question}), encoding="utf-8")
    (one,) = find_contamination(store, read_benchmarks([tmp_path / "bench.jsonl"], config), config).to_pylist()
    assert (one["query_id"], one["field"], one["response"]) == ("a", "query", None)
    # A store as the benchmark: its conversations are contents as well.
    same = stored(tmp_path / "same", asked("x", "你是老师。", "你好。", "你好！", f"{question}谢谢。", responses=[]))
    found = find_contamination(store, read_benchmarks([same.path], config), config).to_pylist()
    assert {(one["query_id"], one["excerpt"][:4]) for one in found} == {("a", "100%")}


@pytest.mark.parametrize(
    ("one", "other", "traditional"),
    [
        ("葛\U000e0100城在哪里？", "葛城在哪里？", None),
        ("她看著我笑著說了什麼話？", "她看着我笑着说了什么话？", "a"),
        ("\uf9e1是姓吗？", "李是姓吗？", None),
    ],
)
def test_one_text_in_two_spellings(one: str, other: str, traditional: str | None, tmp_path: Path) -> None:
    store = stored(tmp_path / "store", asked("a", one), asked("b", other))
    found = find_duplicates(read_queries(store), DedupConfig(threshold=1))
    assert [(row["query_id"], row["similarity"]) for row in found.to_pylist()] == [("a", 1.0), ("b", 1.0)]
    findings = check(store).findings.to_pylist()
    named = {row["query_id"] for row in findings if row["rule"] in ("script-traditional", "script-some-traditional")}
    assert named == ({traditional} if traditional else set())
    assert comparison_form(one) == comparison_form(other)
