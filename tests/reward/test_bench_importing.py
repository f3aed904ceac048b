"""Results that were made elsewhere: both ways to say rewards, and one located error for what does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import run

from coig_p.errors import DataError
from coig_p.reward.bench.form import Bench, Item, Response, read_bench, write_bench
from coig_p.reward.bench.importing import import_results
from coig_p.reward.bench.results import Verdict, lengths, read_results


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    two = (Response("a", "二。"), Response("b", "三三。"))
    items = [Item(f"{at}", "math", "一加一？", two, (0, 1)) for at in range(3)]
    write_bench(tmp_path / "b", items, name="x", preset="pairs", source={"name": "", "sha256": ""})
    return read_bench(tmp_path / "b")


def lines(folder: Path, *rows: Any) -> Path:
    path = folder / "rewards.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


GOOD: list[dict[str, Any]] = [
    {"item": 2, "rewards": {"b": -1, "a": 2.5}},
    {"item": "0", "rewards": [1, 0.25], "length": [2, 3], "domain": "math"},
    {"item": "1", "rewards": [None, 1], "reason": "too-long"},
]


AB, BA = ({"shown": shown, "verdict": "first"} for shown in (["a", "b"], ["b", "a"]))


def test_rewards_by_place_and_by_id_in_any_order(bench: Bench, tmp_path: Path) -> None:
    found = import_results(bench, [lines(tmp_path, *GOOD)])
    assert [one.item for one in found] == ["0", "1", "2"]
    assert [one.rewards for one in found] == [(1.0, 0.25), (None, 1.0), (2.5, -1.0)]
    assert [one.reason for one in found] == [None, "too-long", None]
    assert {one.length for one in found} == {lengths(bench.items[0])}


def test_verdicts_and_nothing_at_all(bench: Bench, tmp_path: Path) -> None:
    said, other = ({"shown": shown, "verdict": "second"} for shown in (["b", "a"], ["a", "b"]))
    rows: list[Any] = [{"item": "0", "verdicts": [said, other | {"raw": "B"}]}]
    rows.append({"item": "1", "rewards": None, "reason": "refused"})
    rows.append({"item": "2", "verdicts": [said | {"verdict": None}]})
    found = import_results(bench, [lines(tmp_path, *rows)])
    assert found[0].verdicts == (Verdict(("b", "a"), "second"), Verdict(("a", "b"), "second", "B"))
    assert (found[1].rewards, found[1].verdicts, found[1].reason) == (None, None, "refused")


def test_what_was_written_can_be_taken_in_again(bench: Bench, tmp_path: Path) -> None:
    run("bench", "import", tmp_path / "b", lines(tmp_path, *GOOD), "--name", "m", "--out", tmp_path / "r")
    first = read_results(tmp_path / "r")
    assert first.scorer == {"kind": "model", "name": "m"}
    again = (
        tmp_path / "b",
        tmp_path / "r" / "results.jsonl",
        "--name",
        "m",
        "--kind",
        "server",
        "--out",
        tmp_path / "s",
    )
    done = json.loads(run("bench", "import", *again, "--json").stdout)
    assert (done["items"], done["with_reason"], done["scorer"]["kind"]) == (3, 1, "server")
    assert read_results(tmp_path / "s").results == first.results


def test_parquet_and_several_files(bench: Bench, tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([{"item": "0", "rewards": [1.0, 0.0]}]), tmp_path / "one.parquet")
    other = lines(tmp_path, GOOD[0], GOOD[2])
    assert import_results(bench, [tmp_path / "one.parquet", other])[0].rewards == (1.0, 0.0)
    with pytest.raises(DataError, match=r"rewards\.jsonl line 1 \.item: '2' stands in .*rewards\.jsonl line 1, too"):
        import_results(bench, [other, other])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"rewards": [1, 2]}, "line 2 .item: missing"),
        ({"item": "9", "rewards": [1, 2]}, "line 2 .item: '9' is no item of"),
        ({"item": 2, "rewards": [1, 2]}, "line 2 .item: '2' stands in"),
        ({"item": "0", "rewards": [1]}, "line 2 .rewards: 1 of them for 2 responses"),
        ({"item": "0", "rewards": {"a": 1}}, "line 2 .rewards: 'b' has none"),
        ({"item": "0", "rewards": {"a": 1, "b": 2, "c": 3}}, "line 2 .rewards: 'c' is no response"),
        ({"item": "0", "rewards": ["1", "2"]}, "line 2 .rewards: ['1', '2'] is not a list of finite numbers"),
        ({"item": "0", "rewards": None}, "line 2 .reason: null, where a reward is missing"),
        ({"item": "0", "score": 3}, "line 2 .score: no field of a result"),
        ({"item": "0", "verdicts": [{"shown": ["a", "c"], "verdict": "tie"}]}, "line 2 .verdicts[0].shown: 'c'"),
        ({"item": "0", "verdicts": [AB, AB]}, "line 2 .verdicts[1].shown: ['a', 'b'] is the order of verdicts[0], too"),
        ({"item": "0", "verdicts": [AB, BA, AB]}, "line 2 .verdicts[2].shown: ['a', 'b'] is the order of verdicts[0]"),
        ({"item": "0", "verdicts": [AB]}, "rewards.jsonl line 1 has rewards: results are all rewards or all verdicts"),
        ({"item": "0", "verdicts": ["A"]}, "line 2 .verdicts[0]: 'A' is not an object"),
        ({"item": "0", "verdicts": "A"}, "line 2 .verdicts: 'A' is not a list"),
        ({"item": "0", "rewards": [1, 2], "length": [2, 2]}, "line 2 .length: [2, 2], and the responses have [2, 3]"),
        ({"item": "0", "rewards": [1, 2], "domain": "code"}, "line 2 .domain: 'code'"),
        ([1], "line 2: a list of rows|[1] is not an object"),
        ({"item": "0", "rewards": [1, 2]}, "item '1' has no result, and 1 of 3 have none"),
    ],
)
def test_what_does_not_fit_is_one_located_error(row: Any, said: str, bench: Bench, tmp_path: Path) -> None:
    out = tmp_path / "r"
    path = lines(tmp_path, GOOD[0], row)
    done = run("bench", "import", bench.path, path, "--name", "m", "--out", out, code=1)
    assert any(words in done.stderr for words in said.split("|"))
    assert str(path) in done.stderr
    assert not out.exists()


@pytest.mark.parametrize("number", ["Infinity", "NaN", "1e999", "9" * 400])
def test_a_number_that_no_reward_can_be(number: str, bench: Bench, tmp_path: Path) -> None:
    path = lines(tmp_path, *GOOD[:2])
    path.write_text(path.read_text("utf-8") + f'{{"item": "1", "rewards": [{number}, 1]}}\n', encoding="utf-8")
    done = run("bench", "import", bench.path, path, "--name", "m", "--out", tmp_path / "r", code=1)
    assert "rewards.jsonl line 3 .rewards: " in done.stderr


def test_a_text_that_is_none(bench: Bench, tmp_path: Path) -> None:
    path = lines(tmp_path, *GOOD[:2])
    path.write_text(path.read_text("utf-8") + '{"item": "1", "rewards": null, "reason": "\\ud800"}\n', encoding="utf-8")
    done = run("bench", "import", bench.path, path, "--name", "m", "--out", tmp_path / "r", code=1)
    assert "rewards.jsonl line 3: cannot be written as JSON" in done.stderr


def test_a_file_that_cannot_be_read_is_told_what_this_command_takes(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "wide.jsonl"
    path.write_bytes(json.dumps(GOOD[0]).encode("utf-16"))
    out = ("--name", "m", "--out", tmp_path / "r")
    done = run("bench", "import", bench.path, path, *out, code=1)
    assert done.stderr.endswith("wide.jsonl is not UTF-8; it looks like UTF-16: save it as UTF-8\n")
    for name in ("rewards", "rewards.csv"):
        (tmp_path / name).write_text("item,rewards\n", encoding="utf-8")
        for given in (("import", bench.path, tmp_path / name, *out), ("convert", "--from", "crbench", tmp_path / name)):
            more = () if given[0] == "import" else ("--out", tmp_path / "c")
            done = run("bench", *given, *more, code=2)
            assert "Valid: .jsonl, .ndjson, .json, .parquet, also with .gz" in done.stderr


@pytest.mark.parametrize("number", [2**53 + 1, -(2**53) - 1, 2**63 - 1, 10**400, 10**4299 + 1])
def test_a_whole_number_that_no_float_is_equal_to_is_refused(bench: Bench, tmp_path: Path, number: int) -> None:
    row = {"item": "1", "rewards": [0, number]}
    with pytest.raises(DataError, match=r"rewards\.jsonl line 2 \.rewards") as error:
        import_results(bench, [lines(tmp_path, GOOD[0], row, GOOD[1])])
    assert "float" in str(error.value) or "finite" in str(error.value)
    assert len(str(error.value)) < 400


def test_large_ones_that_a_float_holds_are_as_they_are(bench: Bench, tmp_path: Path) -> None:
    rows = [{"item": name, "rewards": [2**53 + 2, 10**17]} for name in "012"]
    assert import_results(bench, [lines(tmp_path, *rows)])[0].rewards == (float(2**53 + 2), 1e17)


@pytest.mark.parametrize("name", ["rewards.jsonl", "rewards.json"])
def test_a_number_of_5000_digits_is_one_located_error(bench: Bench, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text('{"item": "0", "rewards": [0, %s]}\n' % ("9" * 5000), encoding="utf-8")
    with pytest.raises(DataError, match=r"line 1: not JSON: a whole number of 5,000 digits") as error:
        import_results(bench, [path])
    assert "sys." not in str(error.value)
