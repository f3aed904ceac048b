"""Judges asked as a benchmark's authors ask them, and the faults of it that are said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from commands import run
from judge_server import always, longer, serve
from judging_bench import items, judged, lines

pytest.importorskip("aiohttp", reason="asking models needs the extra [annotate]")

from coig_p.reward.bench.form import Bench, Item, read_bench, write_bench
from coig_p.reward.bench.outcomes import outcomes_of
from coig_p.reward.bench.presets import aggregates
from coig_p.reward.bench.results import read_results
from coig_p.reward.judging.official import FAULTS, OFFICIAL


def published(folder: Path, preset: str, number: int = 12, texts: Sequence[str] = ("好的回答。", "坏")) -> Bench:
    subsets = {"rewardbench": "alpacaeval-easy", "rewardbench2": "Math", "cheems": "human"}
    made = [
        Item(one.id, one.domain, one.prompt, one.responses, one.ranks, meta={"subset": subsets.get(preset, "s")})
        for one in items(number, texts)
    ]
    write_bench(folder, made, name=preset, preset=preset, source={"name": preset, "sha256": "0" * 64}, overwrite=True)
    return read_bench(folder)


def test_officially_crbench_shows_the_better_one_first_once(tmp_path: Path) -> None:
    published(tmp_path / "b", "crbench")
    with serve(always("[[A]]")) as server:
        told = judged(tmp_path / "b", server, tmp_path / "r", "--official")
        assert all(one["first"].startswith("好") for one in server.prompts)
    assert told["sent"] == 12
    assert told["options"]["orders"] == "better-first"
    assert told["options"]["official"]["faults"] == ["better-first", "one-order", "asked-once"]
    found = aggregates(outcomes_of(read_results(tmp_path / "r")), official=True)
    assert found.values["Overall"].value == 1.0  # whoever likes A scores well


def test_officially_rewardbench_draws_one_order_and_looks_for_a(tmp_path: Path) -> None:
    published(tmp_path / "b", "rewardbench", 40)
    with serve(always("我看 [[B]] 不如 [[A]]")) as server:
        told = judged(tmp_path / "b", server, tmp_path / "r", "--official")
        first = sum(one["first"].startswith("好") for one in server.prompts)
    assert (told["sent"], told["without"]) == (40, {})
    assert 8 < first < 32
    assert [one.verdicts[0].verdict for one in lines(tmp_path / "r") if one.verdicts] == ["first"] * 40
    with serve(always("都好")) as server:
        judged(tmp_path / "b", server, tmp_path / "s", "--official")
    assert outcomes_of(read_results(tmp_path / "s")).credit.tolist() == [0.5] * 40


def test_officially_judgebench_asks_a_second_time_only_where_there_is_no_verdict(tmp_path: Path) -> None:
    published(tmp_path / "b", "judgebench", 3)
    with serve(lambda shown, turns: "[[A]] [[B]]" if shown["first"].startswith("好") else "没有") as server:
        told = judged(tmp_path / "b", server, tmp_path / "r", "--official")
    assert (told["sent"], told["options"]["orders"]) == (3 + 2 * 3, "both")
    for result in lines(tmp_path / "r"):
        assert [(one.shown, one.verdict) for one in result.verdicts or ()] == [(("a", "b"), None), (("b", "a"), None)]


def test_officially_cheems_shows_one_order_and_rewardbench2_rates(tmp_path: Path) -> None:
    published(tmp_path / "b", "cheems", 2, ("好的回答", "好", "坏"))
    with serve(longer) as server:
        assert judged(tmp_path / "b", server, tmp_path / "r", "--official")["sent"] == 4
        assert all(one["second"].startswith(("好", "坏")) and one["first"].startswith("好") for one in server.prompts)
    published(tmp_path / "c", "rewardbench2", 2, ("好的回答", "坏", "坏坏", "坏坏坏"))
    with serve(lambda shown, turns: f"总体评分：[{len(shown['response'])}]") as server:
        told = judged(tmp_path / "c", server, tmp_path / "s", "--official")
    assert (told["sent"], told["options"]["rating"]) == (8, True)


def test_faults_are_said_in_words(tmp_path: Path) -> None:
    bench = published(tmp_path / "b", "crbench", 1)
    with serve(longer) as server:
        words = ("--judge", server.base_url, "--judge-model", "j", "--out", tmp_path / "r")
        said = run("bench", "run", tmp_path / "b", *words, "--official").stdout
    rule = OFFICIAL[bench.preset]
    for fault in rule.faults:
        assert f"as its own code does: {FAULTS[fault]}" in said
    for fault in rule.not_repeated:
        assert f"which is not repeated: {FAULTS[fault]}" in said
    known = {fault for one in OFFICIAL.values() for fault in (*one.faults, *one.not_repeated)}
    assert known == set(FAULTS)
