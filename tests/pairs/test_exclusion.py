"""exclude=: queries that give no pairs, wherever a pair option goes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from cards import CARD
from commands import run
from datasets import load_dataset
from hypothesis import given
from hypothesis import strategies as st
from make import make_rows, make_store
from oracle import oracle_pairs

import coig_p
from coig_p.errors import DataError, UsageError
from coig_p.export.write import ExportConfig, export_store
from coig_p.pairs.config import PairConfig
from coig_p.pairs.exclusion import Excluded, Exclusion, count_excluded, line_of, read_exclusion
from coig_p.pairs.shapes import held
from coig_p.publish.release import ReleaseConfig, write_release
from coig_p.report.card_toml import CARD_TOML
from coig_p.reward.bench.convert import convert_store
from coig_p.stats.counts import statistics
from coig_p.stats.diff import compare_stores
from coig_p.stats.results import Statistics
from coig_p.stats.sweep import sweep
from coig_p.store.store import EXCLUDED, Store
from coig_p.validation import load_rules

Row = dict[str, Any]
TRIED: list[Row] = [
    {},
    {"threshold": 1, "strategy": "best_worst"},
    {"max_pairs_per_query": 2, "seed": 4},
    {"threshold": 0.5, "same_judges": True, "strategy": "adjacent"},
]


@pytest.fixture
def left_out(rows: Any) -> set[str]:
    """Every third query."""
    return {row["query_id"] for at, row in enumerate(rows) if at % 3 == 0}


@pytest.fixture
def file(left_out: set[str], tmp_path: Path) -> Path:
    """A list of them, and of two that no store has."""
    path = tmp_path / "train-exclude.txt"
    path.write_text("\n".join([*sorted(left_out, reverse=True), "", "elsewhere-1", "elsewhere-2"]), encoding="utf-8")
    return path


def kept(rows: Any, left_out: set[str], domain: str = "math") -> list[Row]:
    return [row for row in rows if row["domain"] == domain and row["query_id"] not in left_out]


def kept_pairs(rows: Any, left_out: set[str]) -> list[Row]:
    return oracle_pairs([row for row in rows if row["query_id"] not in left_out], threshold=2)


# The file.

ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(st.lists(ids, min_size=1), st.sampled_from(["", "\ufeff"]), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_any_ids_are_read_back(query_ids: list[str], mark: str, end: str) -> None:
    made = Exclusion.of_ids(query_ids)
    path = Path(json.dumps(0))
    with pytest.MonkeyPatch.context() as patch:
        text = mark + end.join(line_of(one) for one in made.query_ids)
        patch.setattr("coig_p.core.small_files.read_whole", lambda *_: text.encode())
        found = read_exclusion(path)
    assert found == made
    assert found.query_ids == tuple(sorted(set(query_ids)))
    assert Exclusion.of(made.record()).query_ids == made.query_ids
    assert made.mask(pa.array([*query_ids, "\u0000no\n"])).tolist() == [True] * len(query_ids) + [
        "\u0000no\n" in query_ids
    ]


def test_an_id_stands_as_it_is_where_a_line_can_hold_it() -> None:
    assert line_of("数学 17#a") == "数学 17#a"
    assert [line_of(one) for one in (" a", 'a"', '"a', "a\nb", "a\u2028b")] == [
        '" a"', 'a"', '"\\"a"', '"a\\nb"', '"a\\u2028b"',
    ]  # fmt: skip


@pytest.mark.parametrize("query_id", ["\ufeffa", "\ufeff", "\ufeff\ufeffa"])
def test_an_id_that_begins_as_a_file_may_is_read_back_where_it_is_first(query_id: str, tmp_path: Path) -> None:
    made = Exclusion.of_ids([query_id])
    path = tmp_path / "list.txt"
    path.write_bytes(made.content())
    assert read_exclusion(path).query_ids == (query_id,)


def test_one_query_is_told_as_one() -> None:
    one = Exclusion.of_ids(["a"])
    assert "without the 1 query of the list" in str(PairConfig(threshold=2, exclude=one).margin)
    assert str(Excluded(3, 1, 1)).endswith("; 1 of them is not in the store")
    assert str(Excluded(3, 1, 2)).endswith("; 2 of them are not in the store")


# Conversations.


@pytest.fixture
def with_talk(tmp_path: Path) -> Path:
    """A store of which two queries of chat are conversations, one of them with tools."""
    some = make_rows({"chat": 12, "math": 4}, seed=2)
    for at, row in enumerate(some[:2]):
        row["messages"] = [{"role": role, "content": f"{role} {at}"} for role in ("user", "assistant", "user")]
    some[1]["tools"] = '[{"type":"function","function":{"name":"f"}}]'
    return make_store(tmp_path / "talk", some)


def listed(folder: Path, *query_ids: str) -> str:
    path = folder / "left-out.txt"
    path.write_text("".join(f"{line_of(one)}\n" for one in query_ids), "utf-8")
    return str(path)


def test_conversations_that_are_excluded_stand_in_no_way(with_talk: Path, tmp_path: Path) -> None:
    opened = Store.open(with_talk)
    talks = [
        one["query_id"] for batch in opened.batches("chat") for one in batch.to_pylist() if one["messages"] is not None
    ]
    assert len(talks) == 2
    both = listed(tmp_path, *talks)
    config = PairConfig(exclude=Exclusion.of(both))
    loaded = load_dataset("coig-p", "chat", data_dir=str(with_talk), exclude=both, split="train")
    assert loaded.num_rows > 5
    assert not {*loaded["query_id"]} & {*talks}
    streamed = load_dataset("coig-p", "chat", data_dir=str(with_talk), exclude=both, split="train", streaming=True)
    assert list(streamed) == loaded.to_list()
    run("pairs", with_talk, "--exclude", both, "--domain", "chat", "--out", tmp_path / "pairs.jsonl")
    found = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text("utf-8").splitlines()]
    assert [row["query_id"] for row in found] == loaded["query_id"]
    for trainer in ("trl-dpo", "llama-factory"):
        export_store(opened, tmp_path / trainer, ExportConfig(trainer=trainer, pairs=config))
    holds = held(opened.manifest, ("chat",), ("train",), config.exclude, opened.rows_of)
    assert (holds.conversations, holds.with_tools, holds.queries) == ({}, {}, 10)
    (with_talk / CARD_TOML).write_text(CARD, encoding="utf-8")
    rules = {name: rule for name, rule in load_rules().items() if rule.severity != "error"}
    made = write_release(opened, tmp_path / "release", ReleaseConfig("1.0.0", config, rules=rules))
    chat = [one.rows for one in made.manifest.files if one.role == "pairs" and one.domain == "chat"]
    assert chat == [len(found)]
    # One of them is left: it is counted alone.
    one = listed(tmp_path, talks[0])
    said = run("pairs", with_talk, "--exclude", one, "--out", tmp_path / "more.jsonl", code=2).stderr
    assert "domain chat holds 1 query" in said


def test_shards_are_not_read_where_nothing_is_excluded(with_talk: Path) -> None:
    def read(*_: Any) -> Any:
        raise AssertionError

    manifest = Store.open(with_talk).manifest
    assert held(manifest, ("chat",), ("train",), None, read).conversations == {"chat": 2}
    held(manifest, ("math",), ("train",), Exclusion.of_ids(["a"]), read)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "there is no query_id in it"),
        (b"\n \n", "there is no query_id in it"),
        (b"a\n\xff\n", "it is no list of query ids, which is UTF-8"),
        (b'a\n"b\n', "line 2: '\"b' begins with a quote and is no JSON text"),
        (b'["a"]\n"1" "2"\n', "line 2: "),
    ],
)
def test_a_file_that_is_no_list_is_one_located_error(data: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"list.txt.*{said}".replace("(", r"\(")):
        PairConfig(exclude=path)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="cannot be read: No such file"):
        PairConfig(exclude=tmp_path / "none.txt")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [3, "", b"", ["a"], {"queries": 3}, {"sha256": "0" * 64, "query_ids": ["a"]}])
def test_a_value_that_is_no_list_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match="exclude"):
        PairConfig(exclude=value)


def test_a_record_of_the_hash_alone_makes_no_pairs(store: Path) -> None:
    told = PairConfig(exclude=Exclusion.of_ids(["a"])).to_dict()
    assert told["exclude"] == {"sha256": Exclusion.of_ids(["a"]).sha256, "queries": 1}
    again = PairConfig(**told)
    assert again.exclude == Exclusion.of_ids(["a"])
    with pytest.raises(UsageError, match="is not at hand: name it with exclude="):
        statistics(store, again)


# Loading.


@pytest.mark.parametrize("options", TRIED, ids=str)
def test_every_way_to_load_leaves_them_out(options: Row, load: Any, rows: Any, file: Path, left_out: set[str]) -> None:
    wanted = [row for row in load(**options) if row["query_id"] not in left_out]
    options = options | {"exclude": str(file)}
    assert load(**options).to_list() == wanted
    if "max_pairs_per_query" not in options:
        asked = {name: value for name, value in options.items() if name != "exclude"}
        assert wanted == oracle_pairs(kept(rows, left_out), **{"threshold": 2} | asked)
    assert len(wanted) > 10
    assert list(load(streaming=True, **options)) == wanted
    assert load(num_proc=2, **options).to_list() == wanted
    assert list(load(streaming=True, shards=4, **options)) == wanted
    shuffled = list(load(streaming=True, shuffle_seed=3, shards=2, **options))
    assert sorted(map(repr, shuffled)) == sorted(map(repr, wanted))


def test_lists_and_labels_leave_them_out_too(load: Any, file: Path, left_out: set[str]) -> None:
    for format in ("kto", "ranked", "sft"):
        found = set(load(format=format, exclude=file)["query_id"])
        assert found == set(load(format=format)["query_id"]) - left_out
        assert found


def test_the_cache_goes_by_the_ids(load: Any, file: Path, tmp_path: Path) -> None:
    def files(path: Path | None) -> list[str]:
        return [entry["filename"] for entry in load(exclude=path).cache_files]

    first = files(file)
    copy = tmp_path / "copy.txt"
    copy.write_text("\n".join(reversed(file.read_text("utf-8").split("\n"))), encoding="utf-8")
    assert first == files(copy)
    copy.write_text("math-0001\n", encoding="utf-8")
    assert len({*map(str, (first, files(copy), files(None)))}) == 3


def test_a_stream_is_counted_without_them(store: Path, rows: Any, file: Path, left_out: set[str]) -> None:
    planned = coig_p.plan("math", data_dir=str(store), exclude=str(file))
    assert planned.rows == len(oracle_pairs(kept(rows, left_out), threshold=2))


# What is written and shown.


def test_what_the_store_has_not_is_counted(store: Path, rows: Any, file: Path, left_out: set[str]) -> None:
    listed, opened = read_exclusion(file), Store.open(store)
    found = count_excluded(opened, listed)
    assert (found.named, found.left_out, found.absent) == (len(left_out) + 2, len(left_out), 2)
    of_math = len(left_out & {row["query_id"] for row in rows if row["domain"] == "math"})
    assert count_excluded(opened, listed, ["math"]).left_out == of_math < len(left_out)
    assert count_excluded(opened, listed, ["math"]).absent == 2


def test_commands_say_what_was_left_out(store: Path, rows: Any, file: Path, left_out: set[str], tmp_path: Path) -> None:
    wanted = kept_pairs(rows, left_out)
    said = f"left out for exclude: {len(left_out)} queries of {len(left_out) + 2} that it names; 2 of them are not"
    done = run("pairs", store, "--out", tmp_path / "x.jsonl", "--exclude", file, "--json")
    told = json.loads(done.stdout)
    assert told["rows"] == len(wanted)
    counts = {"named": len(left_out) + 2, "left_out": len(left_out), "not_in_store": 2}
    assert {name: told["exclude"][name] for name in counts} == counts
    assert said in done.stderr
    assert "without the" in run("pairs", store, "--out", tmp_path / "y.jsonl", "--exclude", file).stdout
    for command in ("stats", "sweep"):
        assert said in run(command, store, "--exclude", file).stderr
    assert str(len(left_out)) in run("bench", "convert", "--from", "pairs", store, "--out", tmp_path / "b",
                                     "--exclude", file).stderr  # fmt: skip


def test_exports_count_them_apart(store: Path, rows: Any, file: Path, left_out: set[str], tmp_path: Path) -> None:
    config = PairConfig(exclude=file)  # type: ignore[arg-type]
    found = export_store(store, tmp_path / "dpo", ExportConfig("trl-dpo", config))
    assert found.splits["train"].rows == len(kept_pairs(rows, left_out))
    told = json.loads((tmp_path / "dpo" / "shards.json").read_text("utf-8"))
    assert told["splits"]["train"]["queries_excluded"] == len(left_out)
    assert told["pairs"]["exclude"]["queries"] == len(left_out) + 2
    readme = (tmp_path / "dpo" / "README.md").read_text("utf-8")
    assert f"without the {len(left_out) + 2} queries of the list with sha256" in readme
    best = export_store(store, tmp_path / "sft", ExportConfig("trl-grpo", config)).to_dict()["splits"]["train"]
    plain = export_store(store, tmp_path / "plain", ExportConfig("trl-grpo")).to_dict()["splits"]["train"]
    assert "queries_excluded" not in plain
    assert best["rows"] < plain["rows"]


def test_statistics_and_diffs_name_them(store: Path, file: Path, rows: Any, left_out: set[str]) -> None:
    config = PairConfig(exclude=file)  # type: ignore[arg-type]
    found = statistics(store, config)
    wanted = kept_pairs(rows, left_out)
    assert found.total.pairs == len(wanted)
    assert Statistics.from_json(found.to_json()).config == found.config
    assert sweep(store, config, [2]).thresholds[0].pairs == len(wanted)
    assert config.exclude is not None
    both = Store.open(store)
    told = f"sha256 {config.exclude.sha256}"
    assert compare_stores(both, both, PairConfig(), config).options == {"exclude": (None, told)}
    assert f"exclude: none in A, {told} in B" in run("diff", store, "--b", f"exclude={file}").stdout


def test_halves_are_such_lists_whatever_ids_are(tmp_path: Path) -> None:
    rows = make_rows({"math": 12}, seed=4)
    for row, query_id in zip(rows, (" a", '"b', "c\nd", "e\u2028f", "数学 1"), strict=False):
        row["query_id"] = query_id
    store = make_store(tmp_path / "store", rows)
    run("reward", "halves", store, "--out", tmp_path / "halves")
    found = [read_exclusion(tmp_path / "halves" / f"half-{half}.txt").query_ids for half in (1, 2)]
    assert sorted([*found[0], *found[1]]) == sorted(row["query_id"] for row in rows)
    for half, other in ((1, 0), (2, 1)):
        out = tmp_path / f"{half}.jsonl"
        run("pairs", store, "--out", out, "--exclude", tmp_path / "halves" / f"half-{half}.txt")
        ids = {json.loads(line)["query_id"] for line in out.read_text("utf-8").split("\n") if line}
        assert ids.isdisjoint(found[other])


def test_a_benchmark_of_the_rest_has_none_of_them(store: Path, file: Path, left_out: set[str], tmp_path: Path) -> None:
    convert_store(store, tmp_path / "bench", PairConfig(exclude=file))  # type: ignore[arg-type]
    lines = (tmp_path / "bench" / "bench.jsonl").read_text("utf-8").splitlines()
    assert left_out.isdisjoint(json.loads(line)["id"] for line in lines)


def test_a_release_holds_the_list_and_says_so(tmp_path: Path, cache: str) -> None:
    rows = make_rows({"math": 30}, seed=2)
    left_out = {row["query_id"] for row in rows[:9]}
    path = make_store(tmp_path / "store", rows)
    (path / CARD_TOML).write_text(CARD, encoding="utf-8")
    (path / EXCLUDED).write_text("\n".join(sorted(left_out)), encoding="utf-8")
    rules = {name: rule for name, rule in load_rules().items() if rule.severity != "error"}
    config = PairConfig(exclude=path / EXCLUDED)  # type: ignore[arg-type]
    first = write_release(Store.open(path), tmp_path / "one", ReleaseConfig("1.0.0", config, rules=rules))
    assert first.verify() == []
    wanted = kept_pairs(rows, left_out)
    assert sum(one.rows or 0 for one in first.manifest.files if one.role == "pairs") == len(wanted)
    assert (first.path / EXCLUDED).read_text("utf-8").split() == sorted(left_out)
    for name, words in (("README.md", "The 9 queries that `exclude.txt` lists"), ("README.zh.md", "所列的 9 个问题")):
        text = (first.path / name).read_text("utf-8")
        assert words in text
        lines = [line.partition(" = ")[2] for line in text.splitlines() if f'exclude="{EXCLUDED}"' in line]
        assert lines
        for line in lines:
            line = line.replace("PATH/OR/REPO", str(first.path))
            found = eval(line, {"load_dataset": load_dataset})
            assert left_out.isdisjoint(row["query_id"] for row in found)
    where = {"data_dir": str(first.path), "cache_dir": cache, "split": "train"}
    assert load_dataset("coig-p", "math", exclude=EXCLUDED, **where).to_list() == wanted
    # The next release is compared with it where the list is not at hand any more.
    (path / EXCLUDED).unlink()
    shutil.rmtree(tmp_path / "again", ignore_errors=True)
    second = write_release(Store.open(path), tmp_path / "two", ReleaseConfig("1.1.0", rules=rules, since=first))
    assert second.manifest.release["changes"]["total"]["pairs"]["before"] == len(wanted)
