"""Printed tables looked at: both papers' own rows, planted misprints, rows that were only rounded, damaged files.

The rows are the figures of COIG-P's tables 3 to 5 and TaP's tables 8 to 16. Of table 3, the gain 2.24 reads as 12.24 in
one copy of the paper's text, where the arrow before it was taken for a 1.
"""

from __future__ import annotations

import csv
import json
import random
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest
from commands import run
from hypothesis import given
from hypothesis import strategies as st

from coig_p.errors import DataError, UnknownNameError
from coig_p.evaluate.align.kinds import LANGUAGE, REASONING
from coig_p.evaluate.align.tables import Checked, check_table

DATA = Path(__file__).parent / "data"
ALIGN, MT = DATA / "alignbench_tables.csv", DATA / "mt_bench_zh_tables.csv"
HEAD = ("table", "model", "dataset", *REASONING, "reasoning", *LANGUAGE, "language", "overall")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def check(folder: Path, rows: list[dict[str, str]], head: tuple[str, ...] | None = None) -> Checked:
    path = folder / "table.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, head or tuple(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return check_table(path)


def test_every_printed_row_follows_from_its_parts_but_one_stands_under_two_models() -> None:
    rows, found = rows_of(ALIGN), check_table(ALIGN)
    assert (found.rows, found.checked) == (244, 244)
    assert sum(row["table"].startswith("COIG-P") for row in rows) == 34
    assert {(one.table, one.model, one.dataset, one.kind) for one in found.findings} == {
        ("COIG-P 3", "Qwen2-7B-Instruct", "COIG-P", "two-models"),
        ("COIG-P 4", "Infinity-Instruct-3M-Qwen2-7B", "COIG-P", "two-models"),
        ("COIG-P 5", "Infinity-Instruct-3M-Qwen2-7B", "COIG-P", "two-models"),
    }
    for one in found.findings[1:]:
        assert "its own model has other numbers for this dataset in line 18 (overall 5.37)" in one.says


def test_the_oracle_in_decimals_agrees() -> None:
    """Overall lies within .0075 of the mean of the two means of what is printed, in every row."""
    off = []
    for row in rows_of(ALIGN):
        one, other = (
            sum((Decimal(row[name]) for name in names), Decimal()) / len(names) for names in (REASONING, LANGUAGE)
        )
        off.append(abs((one + other) / 2 - Decimal(row["overall"])))
    assert max(off) < Decimal("0.0075")


def test_one_average_of_mt_bench_deviates() -> None:
    found = check_table(MT)
    assert (found.rows, found.checked) == (210, 210)
    (one,) = found.findings
    assert (one.model, one.dataset, one.kind, one.printed) == ("Llama-3.1-8B", "COIG-CQIA", "average-of-80", "3.32")
    assert "3.3125" in one.says


def test_gains_of_table_3() -> None:
    gains = {one.model: one for one in check_table(ALIGN).gains if one.printed is not None}
    assert [f"{one.percent:.2f}" for one in gains.values()] == ["2.03", "2.24", "8.27", "12.27", "6.70"]
    assert [one.printed for one in gains.values()] == ["2.03", "2.24", "8.26", "12.27", "6.70"]


def test_a_gain_that_was_misread_is_found(tmp_path: Path) -> None:
    rows = [row | {"gain": "12.24%"} if row["gain"] == "2.24" else row for row in rows_of(ALIGN)]
    (one,) = [one for one in check(tmp_path, rows).findings if one.kind == "gain"]
    assert (one.model, one.printed, one.expected) == ("Qwen2-7B-Instruct", "12.24", "2.24")


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ["digits", "columns", "shifted", "copied", "renamed", "changed"])
def test_a_planted_misprint_is_found_at_its_row(kind: str, seed: int, tmp_path: Path) -> None:
    """Two numbers exchanged within one mean are none: the mean stays. So `columns` are of two."""
    rng = random.Random(f"{kind} {seed}")
    rows = rows_of(ALIGN)
    at = rng.randrange(40, len(rows))
    row, extra = dict(rows[at]), None
    if kind == "digits":
        name = rng.choice([*REASONING, "reasoning", "language", "overall"])
        while row[name][0] == row[name][2]:
            name = rng.choice([*REASONING, "reasoning", "language", "overall"])
        row[name] = row[name][2] + "." + row[name][0] + row[name][3]
    elif kind == "columns":
        one, other = rng.choice(REASONING), rng.choice(LANGUAGE)
        while abs(float(row[one]) - float(row[other])) < 0.1:
            one, other = rng.choice(REASONING), rng.choice(LANGUAGE)
        row[one], row[other] = row[other], row[one]
    elif kind == "shifted":
        numbers = [row[name] for name in HEAD[3:]]
        row |= dict(zip(HEAD[3:], numbers[-1:] + numbers[:-1], strict=True))
    elif kind == "copied":
        extra = dict(row)
    elif kind == "renamed":
        extra = row | {"model": "Another-7B"}
    else:
        extra = row | {"overall": f"{float(row['overall']) + 0.5:.2f}"}
    planted = [*rows[:at], row, *([extra] if extra else []), *rows[at + 1 :]]
    found = check(tmp_path, planted).findings
    there = {one.row for one in found}
    assert there & {at + 2, at + 3}
    # The three of the paper itself, and what was planted, are all.
    assert len(there - {17, 22, 35}) <= 2


numbers = st.lists(st.integers(100_000, 1_000_000), min_size=8, max_size=8)


@given(st.lists(numbers, min_size=1, max_size=6), st.sampled_from([ROUND_HALF_EVEN, ROUND_HALF_UP]), st.integers(1, 3))
def test_no_row_that_was_only_rounded_is_found(
    tmp_path_factory: pytest.TempPathFactory, every: list[list[int]], way: str, decimals: int
) -> None:
    """Means are of what was not rounded, or of what is printed: both occur, and the overall's alone."""
    unit, rows = Decimal(1).scaleb(-decimals), []
    for nth, values in enumerate(every):
        exact = dict(zip((*REASONING, *LANGUAGE), (Decimal(one) / 100_000 for one in values), strict=True))
        for printed in ("nothing", "all", "overall"):
            told = {name: value.quantize(unit, way) for name, value in exact.items()}
            of = told if printed == "all" else dict(exact)
            for name, parts in (
                ("reasoning", REASONING),
                ("language", LANGUAGE),
                ("overall", ("reasoning", "language")),
            ):
                source = told if (printed, name) == ("overall", "overall") else of
                mean = sum((source[part] for part in parts), Decimal()) / len(parts)
                of[name] = mean
                told[name] = mean.quantize(unit, way)
            rows.append(
                {"table": "t", "model": f"m{nth}{printed}", "dataset": "d"} | {k: str(v) for k, v in told.items()}
            )
    found = check(tmp_path_factory.mktemp("rounded"), rows, HEAD).findings
    assert [one for one in found if one.kind == "mean"] == []


def lies(told: str, parts: list[str], decimals: int = 2) -> bool:
    """Whether a printed mean lies within what its printed parts allow, itself not rounded."""
    unit = Decimal(1).scaleb(-decimals)
    return abs(Decimal(told) - sum(map(Decimal, parts), Decimal()) / len(parts)) <= unit / 2


def test_more_columns_hide_no_misprint_of_the_overall(tmp_path: Path) -> None:
    """What the eight categories do not allow is found, too, where Reasoning and Language are printed beside them.

    But where one of these, which was rounded by itself, lies beyond what its printed categories allow: the overall may
    have been made of it as it is printed.
    """
    rng = random.Random(3)
    rows = []
    for nth in range(1500):
        exact = {name: rng.uniform(1, 10) for name in (*REASONING, *LANGUAGE)}
        for name, parts in (("reasoning", REASONING), ("language", LANGUAGE), ("overall", ("reasoning", "language"))):
            exact[name] = sum(exact[part] for part in parts) / len(parts)
        told = {name: f"{value:.2f}" for name, value in exact.items()}
        told["overall"] = f"{Decimal(told['overall']) + rng.choice([-1, 1]) * Decimal('.01'):.2f}"
        rows.append({"table": "t", "model": f"m{nth}", "dataset": "d"} | told)
    eight = tuple(name for name in HEAD if name not in ("reasoning", "language"))
    halves = ("table", "model", "dataset", "reasoning", "language", "overall")
    by_eight, by_halves, by_all = (
        {one.row for one in check(tmp_path, [{k: row[k] for k in head} for row in rows]).findings if one.kind == "mean"}
        for head in (eight, halves, HEAD)
    )
    within = {
        nth
        for nth, row in enumerate(rows, 2)
        if lies(row["reasoning"], [row[one] for one in REASONING])
        and lies(row["language"], [row[one] for one in LANGUAGE])
    }
    assert by_eight & within - by_halves  # what was not seen by Reasoning and Language alone
    assert by_all >= by_eight & within
    assert by_all >= by_halves
    assert len(by_all) > len(by_halves | by_eight & within)  # each tells what the other does not


def test_one_overall_that_its_categories_do_not_allow(tmp_path: Path) -> None:
    values = ["8.60", "3.38", "2.82", "4.42", "8.60", "3.76", "6.84", "2.80"]
    row = {"table": "T", "model": "M", "dataset": "D"} | dict(zip((*REASONING, *LANGUAGE), values, strict=True))
    for more in ({}, {"reasoning": "5.99"}, {"language": "4.87"}, {"reasoning": "5.99", "language": "4.87"}):
        for overall in ("5.43", "5.44", "5.42", "5.45"):
            found = check(tmp_path, [row | more | {"overall": overall}])
            assert found.checked == 1
            # Of the categories' means 5.99 and 4.8733 within .005 each the mean is 5.4267 to 5.4367.
            assert [one.column for one in found.findings] == (["overall"] if overall in ("5.42", "5.45") else [])
    mixed = {name: text for name, text in row.items() if name not in REASONING} | {"reasoning": "5.99"}
    assert [one.column for one in check(tmp_path, [mixed | {"overall": "5.45"}]).findings] == ["overall"]
    assert check(tmp_path, [{k: v for k, v in mixed.items() if k != "open"} | {"overall": "5.45"}]).checked == 0


def test_a_hint_at_two_turns_is_for_turns(tmp_path: Path) -> None:
    names = {"table": "T", "dataset": "D"}
    align = {"reasoning": "5.99", "language": "4.87", "overall": "5.43"}
    turns = {"first turn": "5.10", "second turn": "4.90", "average": "5.00"}
    for numbers, hint in ((align, False), (turns, True)):
        found = check(tmp_path, [names | {"model": model} | numbers for model in ("one", "other")]).findings
        assert [one.kind for one in found] == ["two-models"] * 2
        assert {"Of two turns" in one.says for one in found} == {hint}


def test_a_gain_of_a_dash_is_none(tmp_path: Path) -> None:
    rows = [
        {"table": "T", "model": "M", "dataset": name, "overall": overall, "gain": gain}
        for name, overall, gain in (("Backbone", "5.00", "-"), ("one", "5.50", "10.00"), ("two", "6.00", "–"))
    ]
    found = check(tmp_path, rows)
    assert [one.printed for one in found.gains] == ["10.00", None]
    rows[1]["overall"] = "-"
    with pytest.raises(DataError, match=r"line 3 \.overall: '-'"):
        check(tmp_path, rows)


def test_turns_of_any_kind_that_were_rounded_are_not_found(tmp_path: Path) -> None:
    rng = random.Random(1)
    rows = []
    for nth in range(2000):
        one, other = rng.uniform(1, 10), rng.uniform(1, 10)
        told = {"first turn": f"{one:.2f}", "second turn": f"{other:.2f}", "average": f"{(one + other) / 2:.2f}"}
        rows.append({"table": "t", "model": f"m{nth}", "dataset": "d"} | told)
    assert [one for one in check(tmp_path, rows).findings if "chance" not in one.says] == []
    rows[7]["average"] = f"{float(rows[7]['average']) + 0.03:.2f}"
    found = [one for one in check(tmp_path, rows).findings if "chance" not in one.says]
    assert [(one.row, one.kind, one.column) for one in found] == [(9, "mean", "average")]


def test_the_command_names_rows_and_exits_1(tmp_path: Path) -> None:
    told = json.loads(run("align", "report", "--check", ALIGN, "--json", code=1).stdout)
    assert [one["row"] for one in told["findings"]] == [17, 22, 35]
    assert told["found"] == 3
    said = run("align", "report", "--check", ALIGN, code=1).stdout
    assert said.endswith("244 rows, 244 checked against their parts; 3 findings in 3 rows\n")
    rows = [row for row in rows_of(ALIGN) if row["table"] == "COIG-P 3"]
    assert check(tmp_path, rows).findings == ()
    run("align", "report", "--check", tmp_path / "table.csv")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("table,model,dataset,math\n", "no row"),
        ("table,model,math\nt,m,5\n", "no column dataset"),
        ("table,model,dataset\nt,m,d\n", "no column of numbers"),
        ("table,model,dataset,math,Math.\nt,m,d,5,5\n", "two columns have this name"),
        ("table,model,dataset,math\nt,m,d\n", "line 2: 3 cells"),
        ("table,model,dataset,math\nt,m,d,nan\n", "line 2 .math: 'nan'"),
        ("table,model,dataset,math\nt,m,d,5.\n", "line 2 .math"),
        ("table,model,dataset,math\nt,m,d,1e9\n", "line 2 .math"),
        ("table,model,dataset,math\nt,m,d,５.0\n", "line 2 .math"),
        ("table,model,dataset,math\nt,,d,5\n", "line 2 .model"),
        ('table,model,dataset,math\nt,"m,d,5\n', "not CSV"),
    ],
)
def test_a_file_that_is_no_table_is_one_located_error(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(DataError, match=says.replace(".", r"\.")) as error:
        check_table(path)
    assert str(path) in str(error.value)
    assert "Traceback" not in run("align", "report", "--check", path, code=1).stderr


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "gbk.csv").write_bytes("table,model,dataset,math\n表,m,d,5\n".encode("gbk"))
    for path in (tmp_path, tmp_path / "none.csv", tmp_path / "gbk.csv"):
        with pytest.raises(DataError, match=r"cannot be read|not UTF-8"):
            check_table(path)
    (tmp_path / "typo.csv").write_text("table,model,dataset,mathh\nt,m,d,5\n", "utf-8")
    with pytest.raises(UnknownNameError, match="Did you mean 'math'"):
        check_table(tmp_path / "typo.csv")
    (tmp_path / "bom.csv").write_text("\ufefftable,model,dataset,数学计算\nt,m,d,11\n", "utf-8")
    assert [one.kind for one in check_table(tmp_path / "bom.csv").findings] == ["range"]
