"""What an import advises is tried: each option that it names is passed, and the next import is done."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from coig_p.cli.importing import import_command

ASKED = [{"prompt": "问一"}, {"prompt": "问二"}]
SIDED = {"response_a": "好答", "response_b": "坏答"}
LISTED = {"responses": [{"model": "m", "text": "好", "reward": 3}, {"model": "n", "text": "坏", "reward": 2}]}
ONE = {"response": "答"}


def run(
    folder: Path, rows: list[dict[str, Any]], *options: str, domain: tuple[str, ...] = ("--domain", "chat")
) -> tuple[int, str, dict[str, int]]:
    """Exit code, what is said, and how many scores and comparisons are stored."""
    (folder / "in.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    said = [str(folder / "in.jsonl"), "--out", str(folder / "store"), *domain, "--overwrite", *options]
    result = CliRunner().invoke(import_command, said)
    stored = {
        unit: int(numbers.split()[1])
        for unit, numbers in re.findall(r"(?m)^(scores|comparisons) +(\d.*)$", result.output)
    }
    return result.exit_code, f"{result.output}{result.exception or ''}", stored


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


PAIR = {"chosen": "好", "rejected": "坏"}


@pytest.mark.parametrize(
    ("kinds", "wanted"),
    [
        ([{"category": "math"}, {"category": "code"}], {"math", "code"}),
        ([{"category": "数学"}, {"category": "代码"}], {"math", "code"}),
        ([{"category": '数学题, "难" = 1'}, {"category": "it's"}], {"math", "it-s"}),
        ([{"类别": "医疗"}, {"类别": "法律"}], {"domain-1", "domain-2"}),
        ([{"task_type": "Open QA"}, {"task_type": "Math"}], {"open-qa", "math"}),
        ([{"meta": {"category": "数学"}}, {"meta": {"category": "数学"}}], {"math"}),
        ([{"category": None, "topic": "chat"}, {"category": "", "topic": "all"}], {"chat", "domain-1"}),
    ],
)
@pytest.mark.parametrize("domain", [(), ("--domain", "chat")])
def test_what_may_be_the_domain_is_advised_with_its_values(
    domain: tuple[str, ...], kinds: list[dict[str, Any]], wanted: set[str], tmp_path: Path
) -> None:
    """Pasted into a shell, in place of --domain where that was given, it is right for every row."""
    rows = [one | PAIR | kind for one, kind in zip(ASKED, kinds, strict=True)]
    code, said, _ = run(tmp_path, rows, domain=domain)
    assert code == (0 if domain else 1)
    told = re.findall(r"few values \(.*\): (--map .*?) (?:in place of --domain )?takes them as domains", said)
    if domain and "meta" in kinds[0]:
        return  # which is told as one field
    code, _, _ = run(tmp_path, rows, *shlex.split(told[0]), domain=())
    assert code == 0
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_text("utf-8"))
    assert set(manifest["domains"]) == wanted
    if not domain:
        each = re.findall(r"domain: missing, but .* says .*?, which (--map .*) takes as the domain; or", said)
        assert len(each) == 2
        assert run(tmp_path, rows[:1], *shlex.split(each[0]), domain=())[0] == 0


def test_scores_of_two_sides_are_held_to_a_range_that_is_given(tmp_path: Path) -> None:
    rows = [one | SIDED | {"score_a": 88, "score_b": 33} for one in ASKED]
    code, said, stored = run(tmp_path, rows)
    assert (code, stored["comparisons"]) == (0, 2)
    (way,) = re.findall(r"found from 33 to 88, and were compared as they are: (--score-range \S+ \S+) says", said)
    code, said, stored = run(tmp_path, rows, *way.split())
    assert (code, stored["comparisons"]) == (0, 2)
    assert "default threshold 20" in said
    assert "compared as they are" not in said
    code, said, _ = run(tmp_path, rows, "--score-range", "0", "50")
    assert code == 1
    assert "score_a: 88 is not between 0 and 50 [out-of-range]" in said
    (way,) = re.findall(r"(--score-range \S+ \S+) takes them all", said)
    assert run(tmp_path, rows, *way.split())[0] == 0


@pytest.mark.parametrize(
    "verdict", [{"winner": "response_a"}, {"overall_preference": 3}, {"score_a": 1, "score_b": 9, "winner": "b"}]
)
def test_a_verdict_has_no_range(verdict: dict[str, Any], tmp_path: Path) -> None:
    rows = [one | SIDED | verdict for one in ASKED]
    code, said, stored = run(tmp_path, rows, "--score-range", "5", "10", "--values", "first=positive,second=negative")
    if "score_a" in verdict:
        assert (code, "1 is not between 5 and 10" in said) == (1, True)
    else:
        assert (code, stored["comparisons"]) == (0, 2), said
        assert "default threshold 1" in said


def test_a_path_that_is_mapped_is_not_told_as_unread(tmp_path: Path) -> None:
    rows = [{"question": {"full_text": f"问{at}", "id": at, "n": {"x": 1}}, "judged": {"j": 8}} | ONE for at in (1, 2)]
    mapped = ("--map", "query=question.full_text", "--score-column", "甲=judged.j")
    code, said, stored = run(tmp_path, rows, *mapped)
    assert (code, stored["scores"]) == (0, 2)
    assert "fields that were not read: question.id (2), question.n (2)." in said
    code, said, _ = run(tmp_path, rows, *mapped, "--keep", "question")
    assert "fields kept: question (2)" in said
    assert "not read" not in said


def test_rows_of_two_scales_are_offered_no_range_for_both(tmp_path: Path) -> None:
    """Neither where the labels come first, nor where they come late, nor beside another form with its own range."""
    scored = [{"prompt": f"问{at}", "response": "答", "score": 7} for at in range(30)]
    labelled = [{"prompt": f"又问{at}", "completion": "答", "label": True} for at in range(30)]
    graded = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
    attributes = [{"prompt": f"再问{at}", "response": "答", **dict.fromkeys(graded, 3)} for at in range(30)]
    for rows in ([*scored, *labelled], [*labelled, *scored], [*attributes, *labelled], [*labelled, *attributes]):
        code, said, _ = run(tmp_path, rows)
        assert code
        assert "apart" in said
        assert "--score-range" not in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--map", "prompt=题"], "unknown field 'prompt': a row's name for our query. Pass --map query=THEIRS"),
        (["--map", "answer=题"], "a row's name for our text. Pass --map text=THEIRS"),
        (["--format", "dpo"], "auto finds out by itself: leave out --format"),
        (["--format", "csv"], "a kind of file, which the ending of its name says: leave out --format"),
        (["--format", "flat"], "rows look like pairs ones, not flat: leave out --format"),
        (["--format", "nested"], "rows look like pairs ones, not nested: leave out --format"),
    ],
)
def test_a_wrong_word_is_told_where_it_belongs(words: list[str], said: str, tmp_path: Path) -> None:
    code, found, _ = run(tmp_path, [one | PAIR for one in ASKED], *words)
    assert code
    assert said in found


def test_what_is_no_file_of_rows_is_told_how_to_name_them(tmp_path: Path) -> None:
    rows = [one | PAIR for one in ASKED]
    run(tmp_path, rows)
    (tmp_path / "many").mkdir()
    (tmp_path / "none").mkdir()
    (tmp_path / "many" / "a.csv").write_text("prompt,chosen,rejected\n问,好,坏\n", encoding="utf-8")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "kana.csv").write_bytes("質問,回答\nこれは何ですか,はい\n".encode("euc-jp"))

    def said(name: object) -> str:
        out = str(tmp_path / "other")
        result = CliRunner().invoke(import_command, [str(name), "--out", out, "--domain", "chat"])
        assert result.exit_code
        return f"{result.output}{result.exception}"

    (pattern,) = re.findall("for instance (.*)", said(tmp_path / "many"))
    assert shlex.split(pattern) == [str(tmp_path / "many" / "*.csv")]
    assert "holds no file of a known format" in said(tmp_path / "none")
    assert "a store already" in said(tmp_path / "store")
    assert "no file holds a row" in said(tmp_path / "empty.jsonl")
    assert "download the file first" in said("https://example.org/rows.jsonl")
    assert "not UTF-8. Which encoding is it?" in said(tmp_path / "kana.csv")


def test_small_margins_are_told_of_pairs_that_scores_do_not_make(tmp_path: Path) -> None:
    scored = [one | PAIR | {"chosen_score": 90, "rejected_score": 20} for one in ASKED]
    _, said, _ = run(tmp_path, scored, "--score-range", "0", "100")
    assert "default threshold 20" in said
    assert "margin below" not in said
    alone = {"prompt": "又问", **PAIR}
    _, said, _ = run(tmp_path, [*scored, alone], "--score-range", "0", "100")
    assert "margin below" not in said
    assert "default threshold 20, by comparisons 1" in said
    _, said, _ = run(tmp_path, [*scored, alone], "--score-range", "0", "100", "--comparison-threshold", "20")
    assert (
        "1 of 1 comparisons have a margin below the default threshold of 20: they give pairs with a threshold of 1"
        in said
    )


def test_judges_of_files_on_different_scales_are_told_apart(tmp_path: Path) -> None:
    """Also where one file has nothing unusual in it."""
    rows = [one | ONE | {"score": score, "judge": judge} for judge, score in (("甲", 4), ("乙", 88)) for one in ASKED]
    _, said, _ = run(tmp_path, rows)
    (tmp_path / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[2:]), encoding="utf-8")
    _, said, _ = run(tmp_path, rows[:2], str(tmp_path / "more.jsonl"))
    assert "perhaps on different scales (甲 4 to 4, 乙 88 to 88)" in said
