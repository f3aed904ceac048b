"""Contamination: a benchmark's texts are found in a store, however they are dressed."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import make_store, twin
from strategies import examples

from coig_p.core.normalize import comparison_form
from coig_p.dedup import benchmarks, known
from coig_p.dedup.benchmarks import Benchmark, ContaminationConfig, Known, read_benchmarks
from coig_p.dedup.contamination import compare, find_contamination
from coig_p.dedup.known import Block, Blocks, Texts
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


def test_answers_are_looked_for_in_responses_and_short_ones_beside_their_prompts_alone(tmp_path: Path) -> None:
    rows = twin()
    answer = "两管同时打开，每小时注入十二分之五，因此需要二点四小时才能注满水池。"
    rows[2]["responses"][1]["text"] = f"解：{answer}答毕。"
    rows[5]["responses"][0]["text"] = "二点四小时！"
    rows[6]["query"] = f"请回答：{QUESTION}"
    rows[6]["responses"][0]["text"] = "二点四小时！"
    rows[6]["responses"][1]["text"] = "大约是二点四小时左右吧。"
    rows[6]["responses"][2]["text"] = "甲"
    benchmark = lines(
        tmp_path / "b.jsonl",
        {"prompt": "别的", "answer": answer},
        {"prompt": "又一题", "answer": "甲"},
        {"prompt": QUESTION, "answer": "二点四小时", "id": "水池-1"},
    )
    found = found_in(rows, tmp_path, benchmark)
    assert [(one["query_id"], one["field"], one["model"]) for one in found] == [
        ("q-02", "responses[1].text", "mei"),
        ("q-06", "query", None),
        ("q-06", "responses[0].text", "lan"),
    ]
    assert found[2]["excerpt"] == "100% of b.jsonl:3 (id 水池-1): 二点四小时！"


SHORT = [
    *(
        "B",
        "ABC",
        "A",
        "D. 以上都对",
        "是",
        "否",
        "不对",
        "42",
        42,
        3.5,
        "-1",
        "3.14159265358979323846",
        "2024年5月1日",
    ),
    *("好的", "好的。", "以上都对", "以上选项都不正确", "正确", "True", "unknown", "根据上下文无法回答这个问题"),
    *("中华人民共和国中央人民政府", "George Washington Carver", "x=1,y=2,z=3,w=4,v=5,u=6", "(A)", "选项：C", "无"),
    *("哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈", "the United States of America"),
]


@pytest.mark.parametrize("answer", SHORT)
def test_a_short_answer_is_found_only_where_its_prompt_is(answer: Any, tmp_path: Path) -> None:
    rows = twin()
    for row in rows[::2]:
        row["responses"][1]["text"] = str(answer)
    other, same = {"question": QUESTION, "answer": answer}, {"question": rows[4]["query"], "answer": answer}
    assert found_in(rows, tmp_path / "a", lines(tmp_path / "b.jsonl", other)) == []
    found = found_in(rows, tmp_path / "b", lines(tmp_path / "b.jsonl", same))
    assert [(one["query_id"], one["field"]) for one in found] == [("q-04", "query"), ("q-04", "responses[1].text")]


def test_what_models_say_anyway_is_found_only_beside_its_prompt(tmp_path: Path) -> None:
    phrase = "很抱歉，作为一个人工智能语言模型，我无法回答这个问题，请您换一个问题再试。"
    rows = twin()
    bench = lines(tmp_path / "b.jsonl", {"question": QUESTION, "answer": phrase}, {"question": rows[4]["query"]})
    for row in rows[:3]:
        row["responses"][1]["text"] = phrase
    assert len(found_in(rows, tmp_path / "few", bench)) == 1 + 3
    for row in rows[:5]:
        row["responses"][1]["text"] = phrase
    assert [one["field"] for one in found_in(rows, tmp_path / "many", bench)] == ["query"]
    # The same, where many rows of the benchmark have it.
    many = lines(tmp_path / "c.jsonl", *({"question": f"{QUESTION}{at}", "answer": phrase} for at in range(4)))
    assert found_in(rows[:1] + twin()[6:], tmp_path / "of", many) == []
    assert len(found_in(rows, tmp_path / "config", bench, common=9)) == 1 + 5


def test_a_system_prompt_and_a_short_later_turn_are_no_prompts(tmp_path: Path) -> None:
    system = "你是一个乐于助人的人工智能助手，请认真回答每一个问题。"
    rows = twin()
    rows[0]["query"], rows[1]["query"], rows[2]["query"] = f"{system}天为什么蓝？", "请继续", QUESTION
    said = [("system", system), ("user", QUESTION), ("assistant", "好"), ("user", "请继续")]
    chat = {"prompt": [{"role": role, "content": text} for role, text in said]}
    shared = {"conversations": [{"from": {"user": "human"}.get(role, role), "value": text} for role, text in said]}
    (found,) = found_in(rows, tmp_path / "a", lines(tmp_path / "b.jsonl", chat))
    assert found["query_id"] == "q-02"
    config = {"fields": {"prompt": "conversations"}}
    assert found_in(rows, tmp_path / "b", lines(tmp_path / "b.jsonl", shared), **config) == [found]


# ---------------------------------------------------------------------------------------------
# Columns that --map names


def test_columns_are_named_for_all_benchmarks_or_for_one(tmp_path: Path) -> None:
    one = lines(tmp_path / "one.jsonl", {"题": {"干": QUESTION}, "prompt": "别的", "答案": 42, "编号": "水-7"})
    other = lines(tmp_path / "other.jsonl", {"stem": "另一道题目的题干", "key.with.dots": "B", "number": 9})
    fields = {
        "prompt": "题.干",
        "reference": "答案",
        "other.jsonl:question": "stem",
        f"{other}:answer": "key.with.dots",
        "other.jsonl:id": "number",
    }
    found = read_benchmarks([one, other], ContaminationConfig(fields=fields))
    assert found.prompts == [
        (QUESTION, "one.jsonl:1 (id 水-7)", 0),
        ("另一道题目的题干", "other.jsonl:1 (id 9)", 1),
    ]
    assert found.answers == [("42", "one.jsonl:1 (id 水-7)", 0), ("B", "other.jsonl:1 (id 9)", 1)]


def test_columns_that_are_not_there_are_refused_with_those_that_are(tmp_path: Path) -> None:
    path = lines(tmp_path / "b.jsonl", {"题干": QUESTION, "meta": {"编号": 7}}, {"题干": "又一题", "答案": "B"})

    def read(**fields: str) -> Benchmark:
        return read_benchmarks([path], ContaminationConfig(fields={k.replace("__", ":"): v for k, v in fields.items()}))

    with pytest.raises(UsageError, match=r"unknown column of b\.jsonl '题'.*Valid: meta, meta\.编号, 答案, 题干"):
        read(prompt="题")
    with pytest.raises(UsageError, match=r"unknown column of b\.jsonl 'meta\.id'\. Did you mean 'meta'"):
        read(prompt="题干", id="meta.id")
    assert read(prompt="题干", answer="答案", id="meta.编号").answers == [("B", "b.jsonl:2", 1)]
    with pytest.raises(UnknownNameError, match="unknown field 'titel'"):
        read(titel="题干")
    with pytest.raises(UnknownNameError, match="unknown benchmark 'c'"):
        read(c__prompt="题干")
    with pytest.raises(UsageError, match="question=答案 and prompt=题干: name one column"):
        read(prompt="题干", question="答案")
    with pytest.raises(DataError, match=r"the file has 题干, meta, meta\.编号, 答案\. coigp contamination"):
        read()
    store = make_store(tmp_path / "bench", twin())
    with pytest.raises(UsageError, match=r"bench is a store: its queries are the prompts\. Leave out --map"):
        read_benchmarks([store], ContaminationConfig(fields={"bench:prompt": "query"}))


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
    monkeypatch.setattr(benchmarks, "download_repository", {"org/bench": copy, "org/none": tmp_path / "x"}.get)
    config = ContaminationConfig()
    assert read_benchmarks(["org/bench"], config).prompts == [(QUESTION, "test.jsonl:1", 0)]
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


def blocks_of(items: list[str], config: ContaminationConfig, folder: Path, characters: int) -> Blocks:
    texts = Texts(config)
    for at, item in enumerate(items):
        texts.add(Known(item, f"b:{at}", at))
    return Blocks.of(texts, lambda number: folder / f"block-{number}.arrow", characters)


@examples(150)
@given(
    st.lists(TEXT, max_size=6),
    st.lists(TEXT, max_size=6),
    st.sampled_from([0.3, 0.8, 1.0]),
    st.sampled_from([1, 9, 99]),
    st.integers(0, 3),
)
def test_containment_is_that_of_plain_sets(
    items: list[str], texts: list[str], threshold: float, characters: int, cut: int
) -> None:
    texts = [*texts, *(item[cut:] + text for item, text in zip(items, ["", *texts, *texts], strict=False))]
    config = ContaminationConfig(threshold=threshold, n=3, least=5)
    with tempfile.TemporaryDirectory() as folder:
        kept = blocks_of(items, config, Path(folder), characters)
        found = kept.opened().find(texts)
        places = [[(hit.share, hit.number, hit.block.where(hit.form)) for hit in hits] for hits in found.values()]
    assert all(isinstance(one, Path if len(kept.kept) > 1 else Block) for one in kept.kept)
    if characters == 1:
        assert len(kept.kept) == max(1, len(set(items) - {""}))
    for hits in places:  # the most contained first, then the first of the benchmark
        assert hits == sorted(hits, key=lambda hit: (-hit[0], hit[1]))
        assert [where for _, _, where in hits] == [f"b:{number}" for _, number, _ in hits]

    def grams(text: str) -> set[str]:
        return {text[at : at + 3] for at in range(len(text) - 2)} or {text}

    wanted = {}
    for at, text in enumerate(texts):
        shares = {}
        for item in items:
            share = float(item == text) if item else 0.0
            if len(item) >= 5 and text:
                share = max(share, len(grams(item) & grams(text)) / len(grams(item)))
            if share >= threshold or share == 1.0:
                shares[items.index(item)] = share
        if shares:
            wanted[at] = shares
    assert {at: {number: share for share, number, _ in hits} for at, hits in zip(found, places, strict=True)} == wanted


@examples(300)
@given(st.integers(1, 300), st.floats(0.001, 1))
def test_enough_is_the_smallest_share_that_counts(size: int, threshold: float) -> None:
    for given_ in (threshold, round(threshold, 2) or 1.0):
        (least,) = known._enough(np.array([size]), given_).tolist()
        assert least == next(held for held in range(1, size + 1) if held / size >= given_)


CELL = st.sampled_from(
    ["", "", "甲乙丙丁戊己庚辛", "甲乙丙丁戊己庚壬", "请问甲乙丙丁戊己庚辛", "甲乙丙丁戊", "子丑寅卯辰巳午未申"]
)


@examples(15)
@given(
    st.lists(st.tuples(CELL, CELL), min_size=1, max_size=8), st.lists(CELL, min_size=8, max_size=8), st.integers(1, 3)
)
def test_what_is_found_does_not_depend_on_blocks(rows: list[tuple[str, str]], ours: list[str], common: int) -> None:
    of_it = [{"id": f"{at}", "prompt": f"{one}问{at % 3}", "answer": other} for at, (one, other) in enumerate(rows)]
    store_rows = twin()[:8]
    for row, text in zip(store_rows, ours, strict=True):
        row["query"] += text
        for response in row["responses"]:
            response["text"] += text or "无"
    config = ContaminationConfig(threshold=0.6, n=3, least=4, alone=5, common=common)
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(make_store(Path(folder) / "store", store_rows, rows_per_shard=3))
        path = lines(Path(folder) / "b.jsonl", *of_it)
        whole = compare(store, [path], config)
        for characters in (1, 12):
            assert compare(store, [path], config, characters=characters) == whole
        given_ = find_contamination(store, read_benchmarks([path], config), config)
        assert whole[0] == given_


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
