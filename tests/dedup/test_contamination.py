"""Contamination: a benchmark's texts are found in a store, however they are dressed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import make_store, twin
from strategies import examples

from coig_p.core.normalize import comparison_form
from coig_p.dedup import contamination
from coig_p.dedup.contamination import (
    Benchmark,
    ContaminationConfig,
    _Texts,
    find_contamination,
    read_benchmarks,
)
from coig_p.errors import DataError, UnknownNameError, UsageError
from coig_p.store.store import Store

QUESTION = "一个水池有两根进水管，单开甲管六小时注满，单开乙管四小时注满，同时打开要多久？"


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def found_in(rows: list[dict[str, Any]], folder: Path, benchmark: Path, **options: Any) -> list[dict[str, Any]]:
    config = ContaminationConfig(**options)
    store = Store.open(make_store(folder / "store", sorted(rows, key=lambda row: row["domain"])))
    return list(find_contamination(store, read_benchmarks([benchmark], config), config).to_pylist())


def test_a_question_inside_a_longer_query_in_other_dress_is_found(tmp_path: Path) -> None:
    rows = twin()
    dressed = "一個水池有兩根進水管、單開甲管六小時注滿；單開乙管四小時注滿。同時打開要多久"
    rows[3]["query"] = f"请一步一步地回答下面这道题：{dressed}\n谢谢！"
    benchmark = lines(
        tmp_path / "bench.jsonl", {"question": QUESTION, "reference": "两个多小时"}, {"question": "无关的题目"}
    )
    (found,) = found_in(rows, tmp_path, benchmark)
    assert (found["rule"], found["severity"], found["field"]) == ("contamination", "error", "query")
    assert (found["domain"], found["query_id"]) == ("math", "q-03")
    assert found["excerpt"].startswith("100% of bench.jsonl:1: ")


def test_answers_are_looked_for_in_responses_and_short_ones_must_be_equal(tmp_path: Path) -> None:
    rows = twin()
    answer = "两管同时打开，每小时注入十二分之五，因此需要二点四小时才能注满水池。"
    rows[2]["responses"][1]["text"] = f"解：{answer}答毕。"
    rows[5]["responses"][0]["text"] = "二点四小时！"
    rows[6]["responses"][0]["text"] = "大约是二点四小时左右吧。"
    benchmark = lines(
        tmp_path / "b.jsonl", {"prompt": QUESTION, "answer": answer}, {"prompt": "别的", "answer": "二点四小时"}
    )
    found = found_in(rows, tmp_path, benchmark)
    assert [(one["query_id"], one["field"], one["model"]) for one in found] == [
        ("q-02", "responses[1].text", "mei"),
        ("q-05", "responses[0].text", "lan"),
    ]


def test_a_store_made_from_its_own_benchmark_is_all_contaminated(tmp_path: Path) -> None:
    path = make_store(tmp_path / "bench", twin())
    found = found_in(twin(), tmp_path, path)
    assert {one["query_id"] for one in found if one["field"] == "query"} == {row["query_id"] for row in twin()}
    assert len(found) == 24 + 96


def test_a_repository_on_the_hub_is_a_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "snapshot"
    (copy / "data").mkdir(parents=True)
    lines(copy / "data/test.jsonl", {"question": QUESTION})
    (copy / "README.md").write_text("a card is no benchmark", encoding="utf-8")
    monkeypatch.setattr(contamination, "download_repository", {"org/bench": copy, "org/none": tmp_path / "x"}.get)
    config = ContaminationConfig()
    assert read_benchmarks(["org/bench"], config).prompts == [(QUESTION, "test.jsonl:1")]
    (tmp_path / "x").mkdir()
    with pytest.raises(DataError, match="no file there"):
        read_benchmarks(["org/none"], config)
    with pytest.raises(UsageError, match="no such file"):
        read_benchmarks(["neither/here/nor/there"], config)


def test_a_clean_store_has_no_finding(tmp_path: Path) -> None:
    assert found_in(twin(), tmp_path, lines(tmp_path / "b.jsonl", {"question": QUESTION})) == []


@pytest.mark.parametrize(
    ("profile", "row"),
    [
        ("alignbench", {"question": QUESTION, "reference": "x", "prompt": "别的"}),
        ("crbench", {"prompt": QUESTION, "chosen": "x", "rejected": "y"}),
        ("mt-bench-zh", {"turns": [QUESTION, "再问一句"]}),
        ("auto", {"prompt": [{"role": "user", "content": QUESTION}]}),
        ("auto", {"instruction": QUESTION, "output": "x"}),
    ],
)
def test_profiles_name_the_columns(profile: str, row: dict[str, Any], tmp_path: Path) -> None:
    rows = twin()
    rows[0]["query"] = QUESTION
    (found,) = found_in(rows, tmp_path, lines(tmp_path / "b.jsonl", row), profile=profile)
    assert found["query_id"] == "q-00"


TEXT = st.text(st.sampled_from("甲乙丙丁"), max_size=16)


@examples(150)
@given(st.lists(TEXT, max_size=6), st.lists(TEXT, max_size=6), st.sampled_from([0.3, 0.8, 1.0]))
def test_containment_is_that_of_plain_sets(items: list[str], texts: list[str], threshold: float) -> None:
    config = ContaminationConfig(threshold=threshold, n=3, least=5)
    found = _Texts([(item, f"b:{at}") for at, item in enumerate(items)], config).find(texts)

    def grams(text: str) -> set[str]:
        return {text[at : at + 3] for at in range(len(text) - 2)} or {text}

    wanted = {}
    for at, text in enumerate(texts):
        shares = [1.0 for item in items if item and item == text]
        shares += [len(grams(item) & grams(text)) / len(grams(item)) for item in items if len(item) >= 5 and text]
        if max(shares, default=0) >= threshold and (1.0 in shares or max(shares) >= threshold):
            wanted[at] = max(shares)
    assert {at: share for at, share, _ in found} == wanted


def test_what_cannot_be(tmp_path: Path) -> None:
    config = ContaminationConfig()
    with pytest.raises(DataError, match=r"no row has a prompt\. With profile auto it is called prompt, question"):
        read_benchmarks([lines(tmp_path / "b.jsonl", {"titel": "x"})], config)
    with pytest.raises(DataError, match=r"c\.jsonl:1: not JSON"):
        (tmp_path / "c.jsonl").write_text("{")
        read_benchmarks([tmp_path / "c.jsonl"], config)
    with pytest.raises(UsageError, match="no such file"):
        read_benchmarks([tmp_path / "none.jsonl"], config)
    with pytest.raises(UnknownNameError, match="unknown profile 'mtbench'"):
        ContaminationConfig(profile="mtbench")
    with pytest.raises(UsageError, match="threshold=0"):
        ContaminationConfig(threshold=0)
    assert read_benchmarks([], config) == Benchmark([], [])
    assert comparison_form("……") == ""
