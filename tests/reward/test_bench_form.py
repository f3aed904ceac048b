"""A benchmark on disk: what goes in comes out, and every malformed line is one located error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coig_p.errors import DataError, UsageError
from coig_p.reward.bench.form import Bench, Item, Response, item_of, item_problem, pairs_of, read_bench, write_bench

SOURCE = {"name": "rows.jsonl", "sha256": "0" * 64}
LINE: dict[str, Any] = {
    "id": "i-1",
    "domain": "math",
    "prompt": "一加一？",
    "responses": [{"id": "a", "text": "二。", "model": "m"}, {"id": "b", "text": ""}],
    "ranks": [0, 1],
}


def item(id_: str = "i-1", **changes: Any) -> Item:
    found = Item(id_, "math", "一加一？", (Response("a", "二。", "m"), Response("b", "三。")), (0, 1))
    return replace(found, **changes)


def written(folder: Path, items: list[Item], **changes: Any) -> Bench:
    told: dict[str, Any] = {"name": "一", "preset": "pairs", "source": SOURCE} | changes
    write_bench(folder, items, **told)
    return read_bench(folder)


def tampered(folder: Path, lines: list[str]) -> None:
    """Other lines in place of the benchmark's, with a header that was written for them."""
    data = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")
    (folder / "bench.jsonl").write_bytes(data)
    header = json.loads((folder / "bench.json").read_text("utf-8"))
    header |= {"items": len(lines), "sha256": sha256(data).hexdigest()}
    (folder / "bench.json").write_text(json.dumps(header), encoding="utf-8")


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@st.composite
def items(draw: st.DrawFn) -> Item:
    """Any item: ranks, pairs that agree with them, or pairs alone."""
    number = draw(st.integers(2, 5))
    ids = draw(st.lists(texts.filter(bool), min_size=number, max_size=number, unique=True))
    responses = tuple(Response(one, draw(texts), draw(st.none() | texts)) for one in ids)
    ranks = tuple(draw(st.lists(st.integers(0, 3), min_size=number, max_size=number)))
    both = [(one, other) for at, one in enumerate(ids) for other in ids[at + 1 :]]
    kind = draw(st.sampled_from(["ranks", "both", "pairs"]))
    pairs = None
    if kind == "pairs":
        pairs = tuple((b, a) if draw(st.booleans()) else (a, b) for a, b in both if draw(st.booleans()))
    elif kind == "both":
        rank = dict(zip(ids, ranks, strict=True))
        ordered = [sorted(pair, key=rank.__getitem__) for pair in both if rank[pair[0]] != rank[pair[1]]]
        pairs = tuple((pair[0], pair[1]) for pair in ordered if draw(st.booleans()))
    turns = tuple(
        {"role": draw(st.sampled_from(["system", "user", "assistant"])), "content": draw(texts)}
        for _ in range(draw(st.integers(0, 3)))
    )
    asked = draw(texts)
    prompt = (*turns, {"role": "user", "content": asked}) if draw(st.booleans()) else asked
    meta = draw(
        st.dictionaries(texts, st.none() | st.integers(-9, 9) | texts | st.lists(texts, max_size=2), max_size=2)
    )
    domain = draw(texts.filter(lambda text: bool(text.strip())))
    return Item("x", domain, prompt, responses, None if kind == "pairs" else ranks, pairs, meta)


@given(found=items())
def test_a_line_holds_all_of_an_item(found: Item) -> None:
    line = json.dumps(found.to_dict(), ensure_ascii=False)
    assert item_problem(json.loads(line)) is None
    assert item_of(json.loads(line)) == found


def test_what_is_written_is_read(tmp_path: Path) -> None:
    given = [
        item(),
        item("i-2", prompt=({"role": "system", "content": "你是"}, {"role": "user", "content": "好\u2028\u0000😀"})),
        item("i-3", ranks=None, pairs=(("b", "a"),), meta={"subset": "难", "style": ["x", "y"]}),
        item("i-4", ranks=(2, 0), pairs=(), meta={"n": 1.5}),
    ]
    found = written(tmp_path / "b", given, licence="MIT", options={"seed": 1})
    assert list(found.items) == given
    assert (found.name, found.licence, found.preset, found.source) == ("一", "MIT", "pairs", SOURCE)
    assert found.options == {"seed": 1}
    assert found.sha256 == sha256((tmp_path / "b" / "bench.jsonl").read_bytes()).hexdigest()
    header = json.loads((tmp_path / "b" / "bench.json").read_text("utf-8"))
    assert (header["format"], header["version"], header["items"]) == ("coig_p.bench", 1, 4)
    assert found.items[0].messages == [{"role": "user", "content": "一加一？"}]
    assert [turn["role"] for turn in found.items[1].messages] == ["system", "user"]


def test_pairs_from_ranks_and_from_pairs() -> None:
    four = tuple(Response(name, name) for name in "abcd")
    assert pairs_of(item(responses=four, ranks=(0, 1, 1, 0))) == [(0, 1), (0, 2), (3, 1), (3, 2)]
    assert pairs_of(item(responses=four, ranks=(7, 7, 7, 7))) == []
    assert pairs_of(item(responses=four, ranks=(1, 0, 5, 3), pairs=(("b", "a"), ("d", "c")))) == [(1, 0), (3, 2)]
    assert pairs_of(item(responses=four, ranks=None, pairs=(("c", "a"), ("a", "d")))) == [(2, 0), (0, 3)]
    assert pairs_of(item(responses=four, pairs=())) == []


@given(found=items())
def test_pairs_equal_a_slow_count(found: Item) -> None:
    wanted = set()
    for better, one in enumerate(found.responses):
        for worse, other in enumerate(found.responses):
            if found.pairs is not None:
                is_pair = (one.id, other.id) in found.pairs
            else:
                assert found.ranks is not None
                is_pair = found.ranks[better] < found.ranks[worse]
            if is_pair:
                wanted.add((better, worse))
    assert set(pairs_of(found)) == wanted
    assert len(pairs_of(found)) == len(wanted)


def response(**changes: Any) -> dict[str, Any]:
    return {"id": "b", "text": "三。"} | changes


def turn(role: Any, content: Any = "x", **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


A = LINE["responses"][0]
WRONG = [
    ({"id": ""}, "id"),
    ({"id": 7}, "id"),
    ({"domain": " "}, "domain"),
    ({"more": 1}, "more"),
    ({"prompt": None}, "prompt"),
    ({"prompt": []}, "prompt"),
    ({"prompt": ["x"]}, "prompt[0]"),
    ({"prompt": [turn("user", more=1)]}, "prompt[0]"),
    ({"prompt": [turn("tool"), turn("user")]}, "prompt[0].role"),
    ({"prompt": [turn("user", None)]}, "prompt[0].content"),
    ({"prompt": [turn("user"), turn("assistant")]}, "prompt[1].role"),
    ({"responses": [A]}, "responses"),
    ({"responses": "ab"}, "responses"),
    ({"responses": [A, "b"]}, "responses[1]"),
    ({"responses": [A, response(score=1)]}, "responses[1]"),
    ({"responses": [A, response(id="")]}, "responses[1].id"),
    ({"responses": [A, response(id="a")]}, "responses[1].id"),
    ({"responses": [A, response(text=None)]}, "responses[1].text"),
    ({"responses": [A, response(model=1)]}, "responses[1].model"),
    ({"ranks": None}, "ranks"),
    ({"ranks": [0]}, "ranks"),
    ({"ranks": [0, 1.0]}, "ranks"),
    ({"ranks": [0, True]}, "ranks"),
    ({"ranks": [0, -1]}, "ranks"),
    ({"pairs": {"a": "b"}}, "pairs"),
    ({"pairs": [["a"]]}, "pairs[0]"),
    ({"pairs": [["a", 1]]}, "pairs[0]"),
    ({"pairs": [["a", "c"]]}, "pairs[0]"),
    ({"pairs": [["a", "a"]]}, "pairs[0]"),
    ({"pairs": [["a", "b"], ["a", "b"]]}, "pairs[1]"),
    ({"ranks": None, "pairs": [["a", "b"], ["b", "a"]]}, "pairs[1]"),
    ({"pairs": [["b", "a"]]}, "pairs[0]"),
    ({"ranks": [1, 1], "pairs": [["b", "a"]]}, "pairs[0]"),
    ({"meta": []}, "meta"),
    ({"meta": None}, "meta"),
]


@pytest.mark.parametrize(("changes", "field"), WRONG, ids=[f"{field}-{at}" for at, (_, field) in enumerate(WRONG)])
def test_a_malformed_line_is_one_located_error(changes: dict[str, Any], field: str, tmp_path: Path) -> None:
    written(tmp_path / "b", [item()])
    tampered(tmp_path / "b", [json.dumps(LINE), json.dumps(LINE | {"id": "i-2"} | changes)])
    with pytest.raises(DataError) as caught:
        read_bench(tmp_path / "b")
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'b' / 'bench.jsonl'} line 2 .{field}: "), said
    assert "\n" not in said
    assert len(said) < 600


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[1]", "not an object"),
        ('{"id": "x", "id": "y"}', "'id' stands twice"),
        ('{"id": NaN}', "NaN"),
        ('{"id": "\\ud800"}', "not JSON"),
        ('{"id": "\ud800"}', "not JSON"),
        ("[" * 200 + "]" * 200, "nested too deep"),
        (json.dumps(LINE), "'i-1' stands in line 1, too"),
    ],
)
def test_a_line_that_is_no_object_or_there_already(line: str, words: str, tmp_path: Path) -> None:
    written(tmp_path / "b", [item()])
    tampered(tmp_path / "b", [json.dumps(LINE), line])
    with pytest.raises(DataError, match="line 2") as caught:
        read_bench(tmp_path / "b")
    assert words in str(caught.value)


def test_a_file_that_was_cut_short_or_changed(tmp_path: Path) -> None:
    written(tmp_path / "b", [item(), item("i-2")])
    path = tmp_path / "b" / "bench.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole.splitlines(keepends=True)[0])
    with pytest.raises(DataError, match=r"bench\.jsonl: 1 lines, and bench\.json says 2"):
        read_bench(tmp_path / "b")
    path.write_bytes(whole[:-9])
    with pytest.raises(DataError, match="line 2: not JSON"):
        read_bench(tmp_path / "b")
    path.write_bytes(whole.replace("二".encode(), "三".encode()))
    with pytest.raises(DataError, match="sha256 is not the one in"):
        read_bench(tmp_path / "b")
    path.unlink()
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_bench(tmp_path / "b")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "coig_p.review"}, '"format" is not'),
        ({"version": 2}, ".version: 2, this package reads 1"),
        ({"name": None}, ".name: None is not text"),
        ({"preset": "mine"}, ".preset: 'mine' is none of crbench"),
        ({"licence": 3}, ".licence: 3 is not text or null"),
        ({"items": True}, ".items: True is not a whole number"),
        ({"source": []}, ".source: [] is not an object"),
        ({"source": {"name": "x"}}, ".source.sha256: missing"),
        ({"options": 1}, ".options: 1 is not an object"),
    ],
)
def test_a_header_that_is_none(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    written(tmp_path / "b", [item()])
    path = tmp_path / "b" / "bench.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_bench(tmp_path / "b")
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_benchmark_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no bench\.json there, so it is not a benchmark.*coigp bench convert"):
        read_bench(tmp_path)
    with pytest.raises(DataError, match=r"no bench\.json there"):
        read_bench(tmp_path / "nothing")
    (tmp_path / "bench.json").write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        read_bench(tmp_path)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ([item(), item()], r"item 'i-1' \.id: stands twice"),
        ([item(ranks=(0, 1, 2))], r"item 'i-1' \.ranks: 3 of them for 2"),
        ([item(meta={"x": float("nan")})], "cannot be written as JSON"),
        ([item(meta={"x": object()})], "cannot be written as JSON"),
        ([item(responses=(Response("a", "\ud800"), Response("b", "")))], "cannot be written as JSON"),
    ],
)
def test_nothing_is_written_of_what_cannot_be_read_back(bad: list[Item], words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        write_bench(tmp_path / "b", bad, name="x", preset="pairs", source=SOURCE)
    assert list(tmp_path.iterdir()) == []


def test_only_a_benchmark_is_replaced_and_only_when_asked(tmp_path: Path) -> None:
    written(tmp_path / "b", [item()])
    with pytest.raises(UsageError, match="--overwrite"):
        written(tmp_path / "b", [item("i-2")])
    assert written(tmp_path / "b", [item("i-2")], overwrite=True).items[0].id == "i-2"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="is not a benchmark"):
        written(tmp_path / "other", [item()], overwrite=True)


KILLED = """
import os, sys
from pathlib import Path
from coig_p.reward.bench.form import Item, Response, write_bench
def items():
    for at in range(10_000):
        if at == 5_000:
            os._exit(9)
        yield Item(f"i-{at}", "math", "x", (Response("a", "x"), Response("b", "y")), (0, 1))
write_bench(Path(sys.argv[1]), items(), name="x", preset="pairs", source={"name": "", "sha256": ""}, overwrite=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")
def test_a_kill_leaves_what_was_there(tmp_path: Path) -> None:
    before = written(tmp_path / "b", [item()])
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "b")], check=False, timeout=100)
    assert done.returncode == 9
    assert read_bench(tmp_path / "b") == before
    written(tmp_path / "b", [item()], overwrite=True)  # and removes what the other left
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
