"""`coigp show` prints all that judges said, and of many pairs the first."""

from __future__ import annotations

import json
from pathlib import Path

from commands import run
from make import Rows, completed, make_rows, make_store

from coig_p.store.locate import BUNDLED


def a_store(folder: Path, answers: int, **more: object) -> Path:
    responses = [
        {
            "model": f"m{at}",
            "text": f"text {at}",
            "scores": [{"judge": "j", "dimension": "overall", "score": at % 10 + 1.0}],
        }
        for at in range(answers)
    ]
    row = {"query_id": "q", "domain": "math", "query": "问", "source": None, "comparisons": None}
    rows: Rows = completed([row | {"responses": responses} | more])
    return make_store(folder / "store", rows)


def test_rationales_of_comparisons_are_shown(tmp_path: Path) -> None:
    said = {
        "first": 1,
        "second": 0,
        "judge": "k",
        "first_score": 3.0,
        "second_score": 9.0,
        "rationale": "第二个\x1b更好",
    }
    shown = run("show", a_store(tmp_path, 2, comparisons=[said])).stdout
    assert "      | k on 2 : 1: 第二个\\u001b更好" in shown.splitlines()


def test_of_many_pairs_the_first_are_shown_and_json_has_all(tmp_path: Path) -> None:
    store = a_store(tmp_path, 40)
    (found,) = json.loads(run("show", store, "--json").stdout)
    number = len(found["pairs"])
    assert number > 200
    lines = run("show", store).stdout.splitlines()
    assert len([line for line in lines if " over " in line]) == 200
    assert f"{number} pairs at threshold 2" in lines
    assert "the first 200 of them; --json has all" in lines


def test_spaces_of_a_judges_name_are_seen(tmp_path: Path) -> None:
    rows = make_rows({"math": 1})
    for response, gap in zip(rows[0]["responses"], range(9), strict=False):
        response["scores"] = [
            {"judge": judge, "dimension": "overall", "score": score, "rationale": None}
            for judge, score in ((" lead ", 1.0 + gap), ("other", 9.0 - gap))
        ]
    shown = run("show", make_store(tmp_path / "store", rows), "--disagree").stdout
    assert "' lead ' " in shown.splitlines()[1]
    assert "' lead ' " in shown.partition("====")[2]


def test_where_no_store_is_the_bundled_one_is_named() -> None:
    said = run("show", "nowhere", code=1).stderr
    assert f"no such directory. A small store to try things out lies in {BUNDLED}" in said
