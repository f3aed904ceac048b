"""Per-item results as the benchmarks' own code writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench_rows import JUDGEBENCH, REWARDBENCH, REWARDBENCH2, RM_BENCH, TIES, Row, rows_in
from commands import run

from coig_p.reward.bench.convert import convert
from coig_p.reward.bench.elsewhere import FORMS
from coig_p.reward.bench.results import Results, Verdict, read_results


def imported(folder: Path, source: str, rows: list[Row], told: Any, code: int = 0) -> Results | str:
    """Results of a file, or what is said of it."""
    convert(source, [rows_in(folder / "rows.jsonl", *rows)], folder / "b", overwrite=True)
    path = folder / "told.json"
    path.write_text(json.dumps(told, indent=4, sort_keys=True), encoding="utf-8")
    words = (folder / "b", path, "--from", source, "--name", "m", "--out", folder / "r")
    done = run("bench", "import", *words, code=code)
    return done.stderr if code else read_results(folder / "r")


def judged(decision: str | None, **more: Any) -> Row:
    return {
        "judgment": {"judge_model": "j", "prompt": "p", "response": f"[[{decision}]]", **more},
        "decision": decision,
    }


def test_judgebench_in_both_orders(tmp_path: Path) -> None:
    more = {"judge_name": "arena_hard"}
    rows = [JUDGEBENCH, JUDGEBENCH | {"pair_id": "p-2"}, JUDGEBENCH | {"pair_id": "p-3"}]
    told = [
        rows[2] | more | {"judgments": [judged("A=B")]},
        rows[0] | more | {"judgments": [judged("A>B"), judged("B>A")]},
        rows[1] | more | {"judgments": [None, judged(None)]},
    ]
    found = imported(tmp_path, "judgebench", rows, told)
    assert isinstance(found, Results)
    assert found.scorer == {"kind": "judge", "name": "m"}
    both = (Verdict(("A", "B"), "first", "[[A>B]]"), Verdict(("B", "A"), "second", "[[B>A]]"))
    assert [one.verdicts for one in found.results] == [
        both,
        (Verdict(("A", "B"), None), Verdict(("B", "A"), None, "[[None]]")),
        (Verdict(("A", "B"), "tie", "[[A=B]]"),),
    ]


def test_judgebench_of_a_reward_model(tmp_path: Path) -> None:
    judgments = [judged("A>B", scores=[-1.5, -2.0]), judged("B>A", scores=[-2.0, -1.5])]
    found = imported(tmp_path, "judgebench", [JUDGEBENCH], [JUDGEBENCH | {"judgments": judgments}])
    assert isinstance(found, Results)
    assert found.results[0].rewards == (-1.5, -2.0)
    assert found.scorer["kind"] == "model"


def test_rewardbench_in_columns(tmp_path: Path) -> None:
    rows = [REWARDBENCH, REWARDBENCH | {"subset": "math-prm"}]
    told = {"id": [17, 17], "subset": ["math-prm", "hep-python"], "scores_chosen": [1.5, [2.0]]}
    told |= {"scores_rejected": [None, 0.25], "results": [0, 1], "model": "m", "text_chosen": ["x", "y"]}
    found = imported(tmp_path, "rewardbench", rows, told)
    assert isinstance(found, Results)
    assert [one.rewards for one in found.results] == [(2.0, 0.25), (1.5, None)]
    assert [one.reason for one in found.results] == [None, "no-reward"]


def test_rewardbench_2_in_columns(tmp_path: Path) -> None:
    told = {"id": ["tied:12", "214"], "subset": ["Ties", "Factuality"], "num_correct": [2, 1]}
    told |= {"scores": [[3.0, 2.0, -1.0], [[1.0], [0.5], [0.25], [0.0]]], "model": "m"}
    found = imported(tmp_path, "rewardbench2", [REWARDBENCH2, TIES], told)
    assert isinstance(found, Results)
    assert [one.rewards for one in found.results] == [(1.0, 0.5, 0.25, 0.0), (3.0, 2.0, -1.0)]


def test_rm_bench_rows_with_scores(tmp_path: Path) -> None:
    told = [RM_BENCH | {"score_chosen": [3.0, 2.0, 1.0], "score_rejected": [0.0, -1.0, -2.0]}]
    found = imported(tmp_path, "rm-bench", [RM_BENCH], told)
    assert isinstance(found, Results)
    assert found.results[0].rewards == (3.0, 2.0, 1.0, 0.0, -1.0, -2.0)
    told[0] = {name: value for name, value in told[0].items() if name not in ("chosen", "rejected")}
    run("bench", "import", tmp_path / "b", rows_in(tmp_path / "bare.json", *told), "--from", "rm-bench",
        "--name", "m", "--out", tmp_path / "bare")  # fmt: skip
    assert read_results(tmp_path / "bare").results == found.results


COLUMNS = {"id": [17], "subset": ["hep-python"], "scores_chosen": [1.0], "scores_rejected": [0.0]}


@pytest.mark.parametrize(
    ("source", "told", "said"),
    [
        ("judgebench", [JUDGEBENCH], ".judgments: missing, where it must be a list of one judgment or two"),
        ("judgebench", [JUDGEBENCH | {"judgments": [judged("A")]}], ".judgments[0].decision: 'A' is none of"),
        ("judgebench", [JUDGEBENCH | {"judgments": ["A>B", 3]}], ".judgments[0]: 'A>B' is not an object"),
        ("judgebench", [JUDGEBENCH | {"judgments": [judged("A>B")], "response_A": "x"}], "has other responses than in"),
        ("judgebench", [JUDGEBENCH | {"judgments": [judged("A>B", scores=[1])]}], ".rewards: 1 of them for 2"),
        ("rm-bench", [RM_BENCH | {"score_chosen": 1}], ".score_chosen: 1 is not a list of numbers"),
        ("rm-bench", [RM_BENCH | {"score_chosen": [1, 2, 3], "score_rejected": [1]}], ".rewards: 4 of them for 6"),
        ("rewardbench", [], "is not an object of columns"),
        ("rewardbench", {"id": [17]}, ".subset: missing, where it must be a list, a value for each item"),
        ("rewardbench", COLUMNS | {"subset": []}, ".subset: 0 values, and id has 1"),
        ("rewardbench", COLUMNS | {"id": [18]}, "row 1 .item: 'hep-python/18' is no item"),
        ("rewardbench", COLUMNS | {"scores_chosen": ["x"]}, "row 1 .rewards: ['x', 0.0] is not a list of finite"),
        ("rewardbench", COLUMNS | {"subset": [3]}, "row 1 .subset: 3 is not text"),
        ("rewardbench2", {"id": ["214"], "subset": ["Factuality"], "scores": [1]}, "row 1 .scores: 1 is not a list"),
    ],
)
def test_what_does_not_fit_is_one_located_error(source: str, told: Any, said: str, tmp_path: Path) -> None:
    rows = {"judgebench": JUDGEBENCH, "rm-bench": RM_BENCH, "rewardbench": REWARDBENCH, "rewardbench2": REWARDBENCH2}
    assert rows.keys() == FORMS.keys()
    found = imported(tmp_path, source, [rows[source]], told, code=1)
    assert isinstance(found, str)
    assert said in found
    assert "told.json" in found
    assert not (tmp_path / "r").exists()
