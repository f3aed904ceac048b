"""From a store to a benchmark: what is written, what cannot be built, and the command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import run
from make import make_rows, make_store
from pooled import accepting, answer_pool, strict
from pools import Row, drawn, pooled, with_pairs
from voting import make_votes

from coig_p.errors import CoigPError, DataError, UsageError
from coig_p.pairs.exclusion import read_exclusion
from coig_p.review.folder import open_review, read_key
from coig_p.reward.bench.building import BuildConfig, build_bench
from coig_p.reward.bench.excluding import train_exclude
from coig_p.reward.bench.form import pairs_of, read_bench
from coig_p.reward.bench.judged import judged
from coig_p.store.manifest import MANIFEST
from coig_p.store.store import Store


def test_a_benchmark_is_what_was_accepted_and_its_list_keeps_it_out(
    store: Store, rows: list[Row], tmp_path: Path
) -> None:
    folder = pooled(store, tmp_path / "pool", seed=2)
    answer_pool(folder, strict)
    built = build_bench(store, folder, tmp_path / "bench", BuildConfig(name="试"))
    accepted = {one.query_id for one in judged(folder).accepted}
    bench = read_bench(tmp_path / "bench")
    assert {item.id for item in bench.items} == accepted
    assert (bench.name, bench.preset, bench.licence) == ("试", "pairs", built.licence)
    assert bench.options["judged"]["all"]["states"]["accepted"] == len(accepted) == sum(built.items.values())
    by_id = {row["query_id"]: row for row in rows}
    scored = with_pairs(rows)
    for item in bench.items:
        row = by_id[item.id]
        texts = {one["model"]: one["text"] for one in row["responses"]}
        assert (item.prompt, item.domain) == (row["query"], row["domain"])
        assert all(texts[one.model or ""] == one.text for one in item.responses)
        ((better, worse),) = pairs_of(item)
        assert any(
            (pair["chosen"], pair["rejected"]) == (item.responses[better].text, item.responses[worse].text)
            for pair in scored[item.id]
        )
    first = [item.ranks[0] for item in bench.items]  # type: ignore[index]
    assert 0.25 < sum(first) / len(first) < 0.75  # the better one is not always the first
    listed = read_exclusion(tmp_path / "bench" / "train-exclude.txt")
    assert set(listed.query_ids) == accepted
    out = tmp_path / "rest.jsonl"
    run("pairs", store.path, "--out", out, "--exclude", tmp_path / "bench" / "train-exclude.txt")
    assert accepted.isdisjoint(json.loads(line)["query_id"] for line in out.read_text("utf-8").splitlines())


def test_near_duplicates_are_kept_out_as_well(tmp_path: Path) -> None:
    rows = make_rows({"math": 9}, seed=1)
    long = "小明有三个苹果，又买了五个，吃掉两个以后送给小红一半，请问他现在还剩下几个苹果？请写出每一步。"
    for at, text in enumerate(
        [long, long + "谢谢", long.replace("小明", "小亮"), "完全不同的另一个问题，关于天气与海洋。"]
    ):
        rows[at]["query"] = text
    store = Store.open(make_store(tmp_path / "store", rows))
    found = train_exclude(store, ["math-0000", "math-0005"])
    assert set(found.listed.query_ids) == {"math-0000", "math-0001", "math-0002", "math-0005"}
    assert (found.own, found.near) == (2, 2)


def test_the_same_answers_are_the_same_bytes(store: Store, rows: list[Row], tmp_path: Path) -> None:
    digests = set()
    shuffled = Store.open(make_store(tmp_path / "other" / "store", sorted(rows, key=lambda row: row["query_id"])))
    for name, one in (("x", store), ("y", store)):
        folder = pooled(one, tmp_path / f"pool-{name}")
        answer_pool(folder, strict)
        build_bench(one, folder, tmp_path / name)
        digests.add(tuple((tmp_path / name / file).read_bytes() for file in ("bench.jsonl", "bench.json")))
    assert len(digests) == 1
    assert set(drawn(pooled(shuffled, tmp_path / "pool-z"))) == set(drawn(tmp_path / "pool-x"))


def refused(do: Any, said: str, kind: type[CoigPError] = DataError) -> None:
    with pytest.raises(kind, match=said):
        do()


def test_what_cannot_be_built_is_one_error_and_nothing_is_written(store: Store, tmp_path: Path) -> None:
    folder, out = pooled(store, tmp_path / "pool"), tmp_path / "bench"
    refused(lambda: build_bench(store, folder, out), "nothing was accepted yet.*Ask people first")
    answer_pool(folder, lambda row: accepting(row, fit=False))
    refused(lambda: build_bench(store, folder, out), "nothing was accepted yet.*coigp review report")
    refused(lambda: judged(tmp_path / "none"), "not a review: no review.json there")
    make_votes(tmp_path / "pair", [("math", {"a": "right"})])
    refused(lambda: judged(tmp_path / "pair"), "form pair: a benchmark is built from form accept, or triple")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    refused(lambda: build_bench(store, folder, tmp_path / "taken", overwrite=True), "taken", UsageError)
    refused(lambda: pooled(store, folder), "pool", UsageError)
    assert not out.exists()


def test_a_store_that_changed_since_is_one_located_error(store: Store, rows: list[Row], tmp_path: Path) -> None:
    folder = pooled(store, tmp_path / "pool")
    answer_pool(folder, accepting)
    key = read_key(open_review(folder))[0]
    changed = json.loads(json.dumps(rows))
    row = next(one for one in changed if one["query_id"] == key.query_id)
    for one in row["responses"]:
        one["text"] += "改"
    other = Store.open(make_store(tmp_path / "other" / "store", changed))
    refused(
        lambda: build_bench(other, folder, tmp_path / "bench"),
        f"query '{key.query_id}': the response of .* has another text",
    )
    moved = json.loads(json.dumps(rows))
    row = next(one for one in moved if one["query_id"] == key.query_id)
    row["domain"] = next(one["domain"] for one in rows if one["domain"] != key.domain)
    elsewhere = Store.open(make_store(tmp_path / "moved" / "store", moved))
    refused(
        lambda: build_bench(elsewhere, folder, tmp_path / "bench"),
        f"query '{key.query_id}': asked about in domain '{key.domain}', it is in '{row['domain']}' in .*draw anew",
    )
    fewer = Store.open(make_store(tmp_path / "fewer" / "store", [one for one in rows if one is not rows[0]]))
    gone = rows[0]["query_id"]
    if gone in drawn(folder):
        refused(lambda: build_bench(fewer, folder, tmp_path / "bench"), f"query '{gone}': not in")
    # An unknown item, and a file that was cut short.
    name = key.annotator
    path = folder / "answers" / f"{name}.jsonl"
    whole = path.read_bytes()
    line = json.loads(whole.splitlines()[0])
    path.write_bytes(whole + json.dumps(line | {"item": "r-none"}).encode() + b"\n")
    refused(lambda: build_bench(store, folder, tmp_path / "bench"), "r-none' in round 1 is no item that")
    path.write_bytes(whole[: len(whole) // 2] + b"\n" + whole)
    refused(lambda: build_bench(store, folder, tmp_path / "bench"), rf"{name}.jsonl line \d+")
    path.write_bytes(whole + whole)  # the same again changes nothing
    build_bench(store, folder, tmp_path / "bench")
    tasks = folder / f"tasks-{name}.json"
    tasks.write_bytes(tasks.read_bytes()[:-200])
    refused(lambda: build_bench(store, folder, tmp_path / "bench", overwrite=True), f"tasks-{name}.json: not JSON")
    assert read_bench(tmp_path / "bench").items
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("bench")) == ["bench"]


# The command.


def test_the_three_steps(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(store.path, "store")
    made = run("bench", "build", "store", "--review", "pool", "--annotators", "a,b,c", "--stop-after", "12").stdout
    assert "fewer queries than were wanted, all of them are drawn" in made
    assert "next: coigp review serve pool" in made
    none = run("bench", "build", "store", "--review", "pool").stdout
    assert "0 are accepted; enough are more than 12" in none
    answer_pool(Path("pool"), strict)
    told = json.loads(run("bench", "build", "store", "--review", "pool", "--json").stdout)
    assert told["stopped"].startswith("2026-11-26T08:")
    assert told["all"]["states"]["accepted"] > 12
    shown = run("bench", "build", "store", "--review", "pool", "--out", "bench", "--name", "甲").stdout
    assert f"wrote bench: 甲, {told['all']['states']['accepted']} items" in shown
    assert "queries that must not be trained on" in shown
    again = run("bench", "build", "store", "--review", "pool", "--out", "bench", "--overwrite", "--json").stdout
    assert json.loads(again)["judged"] == told
    assert "length on" in run("bench", "run", "bench", "--baseline", "length", "--out", "length").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--annotators", "a,b", "--out", "x"), "--annotators draws a pool"),
        (("--annotators", "a,b", "--licence", "x"), "--licence: only with --out"),
        (("--name", "x"), "--name: only with --out"),
        (("--pool", "7", "--out", "x"), "--pool: only with --annotators"),
        (("--threshold", "3"), "--threshold: only with --annotators"),
        (
            ("--annotators", "a", "--double", "0", "--form", "triple", "--threshold", "3"),
            "form triple asks about no pairs",
        ),
        ((), "not a review"),
    ],
)
def test_options_of_another_step(words: tuple[str, ...], said: str, store: Store, tmp_path: Path) -> None:
    code = 1 if not words else 2
    assert said in run("bench", "build", store.path, "--review", tmp_path / "none", *words, code=code).stderr


def test_a_manifest_of_later_is_said(store: Store, rows: list[Row], tmp_path: Path) -> None:
    folder = pooled(store, tmp_path / "pool")
    answer_pool(folder, accepting)
    more = Store.open(make_store(tmp_path / "more" / "store", [*rows, *make_rows({"extra": 3}, seed=8)]))
    built = build_bench(more, folder, tmp_path / "bench")
    assert not built.same_store
    assert (more.path / MANIFEST).is_file()
