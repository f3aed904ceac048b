"""What an import advises is tried: each option that it names is passed, and the next import is done."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from coig_p.cli.importing import import_command

ASKED = [{"prompt": "问一"}, {"prompt": "问二"}]
SIDED = {"response_a": "好答", "response_b": "坏答"}
LISTED = {"responses": [{"model": "m", "text": "好", "reward": 3}, {"model": "n", "text": "坏", "reward": 2}]}
ONE = {"response": "答"}


def run(folder: Path, rows: list[dict[str, Any]], *options: str) -> tuple[int, str, dict[str, int]]:
    """Exit code, what is said, and how many scores and comparisons are stored."""
    (folder / "in.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    said = [str(folder / "in.jsonl"), "--out", str(folder / "store"), "--domain", "chat", "--overwrite", *options]
    result = CliRunner().invoke(import_command, said)
    stored = {
        unit: int(numbers.split()[1])
        for unit, numbers in re.findall(r"(?m)^(scores|comparisons) +(.*)$", result.output)
    }
    return result.exit_code, result.output, stored


def options_in(text: str) -> list[list[str]]:
    """Every --map, --values and --score-column that a text names."""
    return [
        [name, value] for name, value in re.findall(r"(--map|--values|--score-column) ([^\s,]+(?:,\w+=[^\s,]+)*)", text)
    ]


@pytest.mark.parametrize(
    "rows",
    [
        [one | ONE | {"is_safe": at == 1} for at, one in enumerate(ASKED)],
        [one | ONE | {"is_safe": at} for at, one in enumerate(ASKED)],
        [one | ONE | {"quality": at + 7} for at, one in enumerate(ASKED)],
        [one | SIDED | {"gold_label": at + 1} for at, one in enumerate(ASKED)],
        [one | SIDED | {"gold_label": at} for at, one in enumerate(ASKED)],
        [one | SIDED | {"which": "AB"[at]} for at, one in enumerate(ASKED)],
        [one | LISTED for one in ASKED],
        [one | {"completions": LISTED["responses"]} for one in ASKED],
    ],
)
def test_what_is_advised_reads_the_field(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    code, said, _ = run(tmp_path, rows)
    assert code == 0
    advised = options_in(next(line for line in said.splitlines() if "no pair can be made" in line))
    assert advised
    for option in advised:
        code, said, stored = run(tmp_path, rows, *option)
        ways = [[*option, *way] for way in options_in(said)] if code else []
        for way in ways:  # a coding that has to be said
            code, said, stored = run(tmp_path, rows, *way)
            assert code == 0, said
        assert code == 0, said
        assert stored["scores"] or stored["comparisons"]
        assert "no pair can be made" not in said


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("winner", ["甲胜", "甲胜"]),
        ("winner", ["foo", "foo"]),
        ("winner", [True, True]),
        ("winner", [1, 1]),
        ("winner", [0, 1]),
        ("winner", [-1, 1]),
        ("winner", [0, 2]),
        ("preference_strength", [1, 2]),
        ("preference_strength", [0, 1]),
        ("overall_preference", [1, 1]),
    ],
)
def test_each_coding_that_is_offered_is_accepted(column: str, values: list[Any], tmp_path: Path) -> None:
    rows = [one | SIDED | {column: value} for one, value in zip(ASKED, values, strict=True)]
    code, said, _ = run(tmp_path, rows)
    assert code == 1
    ways = options_in(said)
    assert ways
    for way in ways:
        code, said, stored = run(tmp_path, rows, *way)
        assert (code, stored["comparisons"]) == (0, 2), said


def test_a_column_of_a_signed_preference_is_never_offered_another_reading(tmp_path: Path) -> None:
    rows = [one | SIDED | {"preference_strength": 1} for one in ASKED]
    assert {way for _, way in options_in(run(tmp_path, rows)[1])} == {"first=negative,second=positive"}


def test_what_did_not_help_is_not_advised_again(tmp_path: Path) -> None:
    rows = [one | {"responses": [{"model": "m", "text": "好"}], "quality": 3} for one in ASKED]
    assert "--map" not in run(tmp_path, rows)[1]
    assert "--map" not in run(tmp_path, rows, "--map", "score=quality")[1]


def test_a_column_of_the_worse_one_is_not_advised_as_the_winner(tmp_path: Path) -> None:
    rows = [one | SIDED | {"worse_response_id": at} for at, one in enumerate(ASKED)]
    code, said, stored = run(tmp_path, rows)
    assert "winner=worse" not in said
    assert (code, stored["comparisons"]) == (0, 2)


def test_numbers_are_no_domain(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        one | {"chosen": "好", "rejected": "坏", "category": at} for at, one in enumerate(ASKED)
    ]
    assert "domain=category" not in run(tmp_path, rows)[1]
    rows = [one | {"chosen": "好", "rejected": "坏", "category": "数学"} for one in ASKED]
    assert "--map domain=category" in run(tmp_path, rows)[1]
