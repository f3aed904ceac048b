"""Published benchmarks: a row of each in its public form, what it becomes, and what is refused of it."""

from __future__ import annotations

import gzip
import json
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from bench_rows import CHEEMS, CRBENCH, JUDGEBENCH, REWARDBENCH, REWARDBENCH2, RM_BENCH, TIES, Row, rows_in
from commands import run
from hypothesis import given
from hypothesis import strategies as st

from coig_p.errors import DataError, UnknownNameError, UsageError
from coig_p.reward.bench.convert import SOURCES, ConvertConfig, convert
from coig_p.reward.bench.form import PRESETS, Bench, Item, Response, item_problem, pairs_of, read_bench
from coig_p.reward.bench.published import PUBLISHED, REWARDBENCH_SECTIONS

ROWS = {
    "crbench": CRBENCH,
    "cheemsbench": CHEEMS,
    "rewardbench": REWARDBENCH,
    "rewardbench2": REWARDBENCH2,
    "rm-bench": RM_BENCH,
    "judgebench": JUDGEBENCH,
}


def converted(folder: Path, source: str, *rows: Row, name: str = "human.jsonl", **config: Any) -> Bench:
    path = rows_in(folder / name, *rows)
    convert(source, [path], folder / "b", ConvertConfig(**config), overwrite=True)
    return read_bench(folder / "b")


def one(folder: Path, source: str, row: Row, **config: Any) -> Item:
    (found,) = converted(folder, source, row, **config).items
    return found


def test_every_source_has_a_row_here_and_a_preset() -> None:
    assert ROWS.keys() == PUBLISHED.keys()
    assert {known.preset for known in PUBLISHED.values()} | {"pairs"} == set(PRESETS)
    assert (*PUBLISHED, "pairs") == SOURCES


def test_crbench(tmp_path: Path) -> None:
    sides = (Response("chosen", "二。"), Response("rejected", "三。"))
    wanted = Item("human.jsonl-1", "math", "一加一等于几？", sides, (0, 1), meta={"subset": "数学"})
    assert one(tmp_path, "crbench", CRBENCH) == wanted
    names = {
        "对话": "chat",
        "逻辑推理": "logic",
        "代码": "code",
        "角色扮演": "role",
        "小说续写": "novel",
        "chat": "chat",
    }
    for theirs, ours in names.items():
        assert one(tmp_path, "crbench", CRBENCH | {"domain": [theirs]}).domain == ours
    assert one(tmp_path, "crbench", CRBENCH | {"id": 9}).id == "9"


def test_cheemsbench(tmp_path: Path) -> None:
    found = one(tmp_path, "cheemsbench", CHEEMS, name="open-00000.jsonl")
    assert (found.id, found.domain, found.prompt) == ("open-1", "问答", "杭州有什么湖？")
    assert found.meta == {"subset": "open", "category": ["问答", "常识"], "annotations": [["r0", "r1", "1"]]}
    assert [response.text for response in found.responses] == [f"回答{at}" for at in range(5)]
    assert found.ranks == (1, 1, 2, 3, 0)
    assert len(pairs_of(found)) == 9
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    told = CHEEMS | {"input": None, "prompt": turns, "sys_prompt": "你是助手", "category": "问答"}
    found = one(tmp_path, "cheemsbench", told)
    assert found.messages == [{"role": "system", "content": "你是助手"}, *turns]
    found = one(tmp_path, "cheemsbench", CHEEMS | {"sys_prompt": "你是助手"})
    assert [turn["role"] for turn in found.messages] == ["system", "user"]


def test_rewardbench(tmp_path: Path) -> None:
    sides = (Response("chosen", "sorted(x)", "human"), Response("rejected", "x.sorted()", "bug"))
    meta = {"subset": "hep-python"}
    wanted = Item("hep-python/17", "Reasoning", "How do I sort a list?", sides, (0, 1), meta=meta)
    assert one(tmp_path, "rewardbench", REWARDBENCH) == wanted
    subsets = [name for names in REWARDBENCH_SECTIONS.values() for name in names]
    assert len(subsets) == len(set(subsets)) == 23
    found = converted(tmp_path, "rewardbench", *(REWARDBENCH | {"subset": name} for name in subsets))
    assert [item.meta["subset"] for item in found.items] == subsets
    assert {item.domain for item in found.items} == set(REWARDBENCH_SECTIONS)


def test_rewardbench_2(tmp_path: Path) -> None:
    found = one(tmp_path, "rewardbench2", REWARDBENCH2)
    assert (found.id, found.domain, found.ranks) == ("Factuality/214", "Factuality", (0, 1, 1, 1))
    assert [response.model for response in found.responses] == ["m0", "m1", "m2", "m3"]
    assert [response.id for response in found.responses] == ["chosen-1", "rejected-1", "rejected-2", "rejected-3"]
    assert found.meta == {"subset": "Factuality", "additional_metadata": {"method": "natural"}}
    found = one(tmp_path, "rewardbench2", TIES)
    assert (found.id, found.domain, found.ranks) == ("Ties/tied:12", "Ties", (0, 0, 1))
    assert found.meta == {"subset": "Ties", "ties": "tied", "ties_prompt": 12, "models": ["m0"]}
    assert {response.model for response in found.responses} == {None}
    assert pairs_of(found) == [(0, 2), (1, 2)]


def test_rm_bench(tmp_path: Path) -> None:
    found = one(tmp_path, "rm-bench", RM_BENCH)
    assert (found.id, found.domain, found.ranks) == ("safety-refuse/4", "safety-refuse", (0, 0, 0, 1, 1, 1))
    assert [response.text for response in found.responses] == ["c0", "c1", "c2", "w0", "w1", "w2"]
    assert found.meta["style"] == ["concise", "detailed_plain", "detailed_markdown"] * 2
    assert len(pairs_of(found)) == 9


def test_judgebench(tmp_path: Path) -> None:
    found = one(tmp_path, "judgebench", JUDGEBENCH)
    assert (found.id, found.domain, found.prompt) == ("e302b0a0-28d5-5a3c", "math", "2 + 2?")
    assert [response.id for response in found.responses] == ["A", "B"]
    assert (found.ranks, pairs_of(found)) == ((1, 0), [(1, 0)])
    assert found.meta == {"subset": "livebench-math", "original_id": "1420"}
    sources = {"mmlu-pro-law": "knowledge", "livebench-reasoning": "reasoning", "livecodebench": "coding"}
    for source, domain in sources.items():
        assert one(tmp_path, "judgebench", JUDGEBENCH | {"source": source, "label": "A>B"}).domain == domain


@pytest.mark.parametrize("source", ROWS)
def test_every_kind_of_file_gives_the_same_items(source: str, tmp_path: Path) -> None:
    """Parquet has all columns in every row: those that a row does not have are null there."""
    rows = [ROWS[source]]
    if source == "rewardbench2":
        rows.append(TIES)
    if source == "cheemsbench":
        ids = {response["id"]: f"s-{response['id']}" for response in CHEEMS["responses"]}
        other = [{"id": ids[response["id"]], "content": response["content"]} for response in CHEEMS["responses"]]
        ranks = {name: int(rank) for name, rank in CHEEMS["rank"].items()}
        rows = [CHEEMS | {"rank": ranks}]
        rows.append(CHEEMS | {"responses": other, "rank": {ids[name]: rank for name, rank in ranks.items()}})
    wanted = converted(tmp_path, source, *rows).items
    assert len(wanted) == len(rows)
    for name in ("human.json", "human.parquet"):
        found = converted(tmp_path, source, *rows, name=name).items
        if source == "crbench":  # whose ids hold the file's name
            assert found[0].id == f"{name}-1"
            found = tuple(wanted[:1])
        assert found == wanted
    packed = tmp_path / "human.jsonl.gz"
    packed.write_bytes(gzip.compress((tmp_path / "human.jsonl").read_bytes()))
    convert(source, [packed], tmp_path / "packed")
    assert len(read_bench(tmp_path / "packed").items) == len(wanted)


WRONG: list[tuple[str, Row, str, str]] = [
    ("crbench", {"domain": "闲聊"}, "domain", "'闲聊' is not one of 对话"),
    ("crbench", {"domain": ["数学", "代码"]}, "domain", "not one of"),
    ("crbench", {"domain": 3}, "domain", "not one of"),
    ("crbench", {"chosen": ["二"]}, "chosen", r"\['二'\] is not text"),
    ("crbench", {"prompt": None}, "prompt", "missing; the columns are prompt, chosen"),
    ("crbench", {"score": 9}, "score", "no column of this benchmark.*--keep score"),
    ("crbench", {"id": True}, "id", "True is not a whole number or text"),
    ("cheemsbench", {"prompt": "x"}, "input", "one of input and prompt"),
    ("cheemsbench", {"input": None}, "input", "one of input and prompt"),
    ("cheemsbench", {"input": 7}, "input", "not text, or a list of turns"),
    ("cheemsbench", {"input": ["x"]}, r"input\[0\]", "not a turn"),
    ("cheemsbench", {"category": [1]}, "category", "not text, or a list of texts"),
    ("cheemsbench", {"rank": None}, "rank", "missing"),
    ("cheemsbench", {"rank": [0, 1]}, "rank", "not an object with a rank"),
    ("cheemsbench", {"rank": CHEEMS["rank"] | {"r9": 1}}, r"rank\.r9", "no response has this id"),
    ("cheemsbench", {"rank": {"r0": 1}}, r"rank\.r1", "missing, where it must be a whole number"),
    ("cheemsbench", {"rank": CHEEMS["rank"] | {"r2": "first"}}, r"rank\.r2", "'first' is not a whole number"),
    ("cheemsbench", {"rank": CHEEMS["rank"] | {"r2": 1.5}}, r"rank\.r2", "1.5 is not a whole number"),
    ("cheemsbench", {"rank": CHEEMS["rank"] | {"r2": -1}}, r"rank\.r2", "-1 is not a whole number"),
    ("cheemsbench", {"responses": {}}, "responses", "not a list of responses"),
    ("cheemsbench", {"responses": ["x"]}, r"responses\[0\]", "not an object"),
    ("cheemsbench", {"responses": [{"id": "r0", "content": None}]}, r"responses\[0\]\.content", "None is not text"),
    ("cheemsbench", {"responses": [{"id": "r0", "content": "", "score": 1}]}, r"responses\[0\]\.score", "no field"),
    ("rewardbench", {"subset": "anthropic_hhh"}, "subset", "not one of alpacaeval-easy"),
    ("rewardbench", {"id": None}, "id", "missing"),
    ("rewardbench", {"id": 1.5}, "id", "1.5 is not a whole number or text"),
    ("rewardbench", {"chosen_model": 4}, "chosen_model", "4 is not text"),
    ("rewardbench2", {"subset": "Chat"}, "subset", "'Chat' is not one of Factuality"),
    ("rewardbench2", {"num_correct": 2}, "num_correct", "2, and there are 1"),
    ("rewardbench2", {"num_incorrect": "3"}, "num_incorrect", "'3' is not a whole number"),
    ("rewardbench2", {"chosen": []}, "chosen", "not a list of texts"),
    ("rewardbench2", {"rejected": ["x", 3]}, "rejected", "not a list of texts"),
    ("rewardbench2", {"additional_metadata": 3}, "additional_metadata", "3 is not an object"),
    ("rewardbench2", {"subset": "Ties"}, "id", "'214' is not ref:NUMBER or tied:NUMBER"),
    ("rm-bench", {"domain": "safety"}, "domain", "'safety' is not one of chat"),
    ("rm-bench", {"chosen": ["a", "b"]}, "chosen", "2 responses, and there are three"),
    ("judgebench", {"label": "A=B"}, "label", "'A=B' is not one of A>B, B>A"),
    ("judgebench", {"source": "gsm8k"}, "source", "begins with none of mmlu-pro"),
    ("judgebench", {"judgments": []}, "judgments", "no column"),
]


@pytest.mark.parametrize(
    ("source", "changes", "field", "words"), WRONG, ids=[f"{row[0]}-{row[2]}-{at}" for at, row in enumerate(WRONG)]
)
def test_what_is_not_known_is_one_located_error(
    source: str, changes: Row, field: str, words: str, tmp_path: Path
) -> None:
    second = ROWS[source] | changes
    second |= {name: "2" for name in ("pair_id",) if name in second}
    if source in ("rewardbench", "rm-bench") and "id" not in changes:
        second["id"] = 99
    if source == "rewardbench2" and "id" not in changes and changes.get("subset") != "Ties":
        second["id"] = "99"
    path = rows_in(tmp_path / "human.jsonl", ROWS[source], second)
    with pytest.raises(DataError, match=rf"human\.jsonl line 2 \.{field}: .*{words}") as caught:
        convert(source, [path], tmp_path / "b")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "b").exists()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=3) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)


@given(data=st.data())
def test_whatever_a_row_holds_it_is_an_item_or_one_error(data: st.DataObject) -> None:
    source = data.draw(st.sampled_from(sorted(ROWS)))
    known = PUBLISHED[source]
    row = dict(ROWS[source])
    for name in data.draw(st.lists(st.sampled_from((*known.required, *known.optional, "more")), max_size=3)):
        row[name] = data.draw(VALUES)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "human.jsonl"
        path.write_text(json.dumps(row) + "\n", encoding="utf-8")
        said = None
        try:
            convert(source, [path], Path(folder) / "b")
        except DataError as error:
            said = str(error)
        if said is None:
            (item,) = read_bench(Path(folder) / "b").items
            assert item_problem(item.to_dict()) is None
        else:
            assert said.startswith(f"{path} line 1")
            assert [one.name for one in Path(folder).iterdir()] == ["human.jsonl"]


def test_an_id_that_stands_twice_names_both_places(tmp_path: Path) -> None:
    first, second = rows_in(tmp_path / "a.jsonl", JUDGEBENCH), rows_in(tmp_path / "b.jsonl", JUDGEBENCH)
    with pytest.raises(DataError, match=r"b\.jsonl line 1: item 'e302.*stands in .*a\.jsonl line 1, too"):
        convert("judgebench", [first, second], tmp_path / "b")


def test_a_response_whose_id_stands_twice(tmp_path: Path) -> None:
    twice = [{"id": "r0", "content": "x"}, {"id": "r0", "content": "y"}]
    with pytest.raises(DataError, match=r"human\.jsonl line 1 \.responses\[1\]\.id: 'r0' stands twice"):
        converted(tmp_path, "cheemsbench", CHEEMS | {"responses": twice, "rank": {"r0": 0}})


def test_the_files_name_says_which_part_of_cheemsbench_it_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="begins with neither human nor open"):
        converted(tmp_path, "cheemsbench", CHEEMS, name="test.jsonl")
    with pytest.raises(DataError, match="begins with neither"):
        converted(tmp_path, "cheemsbench", CHEEMS, name="humane.jsonl")
    files = [rows_in(tmp_path / name, CHEEMS) for name in ("human.jsonl", "open.jsonl")]
    convert("cheemsbench", files, tmp_path / "b", overwrite=True)
    assert [item.meta["subset"] for item in read_bench(tmp_path / "b").items] == ["human", "open"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no row in it"),
        (b"\n\n", "no row in it"),
        (b'{"prompt": "x"', "line 1: not JSON"),
        (b"[1, 2]", "not an object|a list"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "line 1: not JSON"),
        ('{"prompt": "这是一道很长的题目，请你回答我的问题"}\n'.encode("gb18030") * 20, "looks like GB18030"),
    ],
)
def test_a_file_that_is_none(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(data)
    with pytest.raises(DataError, match=words):
        convert("crbench", [path], tmp_path / "b")
    assert [one.name for one in tmp_path.iterdir()] == ["rows.jsonl"]


def test_parquet_cut_short(tmp_path: Path) -> None:
    path = rows_in(tmp_path / "rows.parquet", CRBENCH)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"rows\.parquet"):
        convert("crbench", [path], tmp_path / "b")


def test_further_columns_are_kept_where_they_are_named(tmp_path: Path) -> None:
    row = CRBENCH | {"难度": {"级": 3}, "other": None}
    found = one(tmp_path, "crbench", row, keep=("难度",))
    assert found.meta == {"subset": "数学", "难度": {"级": 3}}
    with pytest.raises(UsageError, match="--keep domain: the column is read anyway"):
        one(tmp_path, "crbench", row, keep=("domain",))


def test_where_it_comes_from(tmp_path: Path) -> None:
    path = rows_in(tmp_path / "rows.jsonl", REWARDBENCH)
    convert("rewardbench", [path], tmp_path / "b")
    found = read_bench(tmp_path / "b")
    digest = sha256(path.read_bytes()).hexdigest()
    assert (found.name, found.licence, found.preset) == ("RewardBench", "odc-by", "rewardbench")
    assert found.source == {"name": "rows.jsonl", "sha256": digest}
    other = rows_in(tmp_path / "more.jsonl", REWARDBENCH | {"id": 18})
    convert("rewardbench", [path, other], tmp_path / "b", ConvertConfig("我的", "MIT"), overwrite=True)
    found = read_bench(tmp_path / "b")
    more = sha256(other.read_bytes()).hexdigest()
    assert (found.name, found.licence) == ("我的", "MIT")
    assert found.source["files"] == [
        {"name": "rows.jsonl", "sha256": digest},
        {"name": "more.jsonl", "sha256": more},
    ]
    assert found.source["sha256"] == sha256(f"{digest}  rows.jsonl\n{more}  more.jsonl\n".encode()).hexdigest()


def test_a_source_or_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown benchmark 'cheems'\. Did you mean"):
        convert("cheems", [], tmp_path / "b")
    with pytest.raises(UsageError, match="no file of CRBench"):
        convert("crbench", [], tmp_path / "b")
    with pytest.raises(UsageError, match="no such file"):
        convert("crbench", [tmp_path / "no.jsonl"], tmp_path / "b")


def test_the_row_of_cheemsbench_in_the_documents_is_taken(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "bench-files.md").read_text("utf-8")
    row = next(line for line in text.splitlines() if '"rank": {' in line)
    (tmp_path / "human.jsonl").write_text(row + "\n", encoding="utf-8")
    run("bench", "convert", "--from", "cheemsbench", tmp_path / "human.jsonl", "--out", tmp_path / "b")
    (one,) = read_bench(tmp_path / "b").items
    assert (one.id, one.domain, one.ranks) == ("human-1", "数学", (0, 1))
