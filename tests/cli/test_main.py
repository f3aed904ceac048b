"""The commands as people type them: output, exit codes, no traceback."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import run
from make import make_rows, make_store
from oracle import oracle_pairs

from coig_p.cli.screen import table
from coig_p.core.text import printable, width
from coig_p.errors import WorkersLost

ROWS = [
    {
        "query_id": "m-1",
        "domain": "math",
        "query": "1+1等于几？",
        "responses": [
            {"model": "a", "text": "等于2。", "scores": [{"judge": "j", "score": 9}]},
            {"model": "b", "text": "等于3。", "scores": [{"judge": "j", "score": 1.5}]},
        ],
    }
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), encoding="utf-8")
    return path


def test_import_info_pairs_verify(source: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    done = run("import", source, "--out", store)
    assert "wrote" in done.stdout
    assert done.stderr == ""
    quiet = run("import", "-q", source, "--out", tmp_path / "quiet")
    assert (quiet.stdout, quiet.stderr) == ("", "")
    assert json.loads(run("import", "-q", source, "--out", tmp_path / "told", "--json").stdout)["store"]
    found = json.loads(run("info", store, "--json").stdout)
    counts = {
        "queries": 1,
        "responses": 2,
        "scores": 2,
        "comparisons": 0,
        "pairs": 1,
        "conversations": 0,
        "with_tools": 0,
    }
    assert found["domains"] == {"math": counts}
    assert found["models"] == {"a": 1, "b": 1}
    assert found["judges"] == {"j": 2}
    assert found["default_threshold"] == 2
    shown = run("info", store).stdout
    assert re.search(r"math +1 +2 +2 +0 +1\n", shown)
    run("pairs", store, "--out", tmp_path / "pairs.jsonl")
    (pair,) = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text("utf-8").splitlines()]
    assert (pair["chosen"], pair["rejected"], pair["margin"]) == ("等于2。", "等于3。", 7.5)
    assert "as the manifest says" in run("verify", store).stdout


def test_an_existing_store_is_refused_unless_overwritten(source: Path, tmp_path: Path) -> None:
    run("import", source, "--out", tmp_path / "store")
    before = (tmp_path / "store" / "manifest.json").read_bytes()
    assert "--overwrite" in run("import", source, "--out", tmp_path / "store", code=2).stderr
    run("import", source, "--out", tmp_path / "store", "--overwrite", "--domain", "chat")
    assert (tmp_path / "store" / "manifest.json").read_bytes() != before


def test_bad_input_shows_twenty_and_counts_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    bad = json.loads(json.dumps(ROWS[0]))
    bad["responses"][0]["text"] = "\x1b[31mred\u202e"
    bad["responses"][0]["scores"][0]["score"] = True
    path.write_text("".join(json.dumps(bad | {"query_id": str(at)}) + "\n" for at in range(30)) + "{\n")
    done = run("import", path, "--out", tmp_path / "store", code=1)
    lines = done.stderr.splitlines()
    assert lines[0] == f"{path}:1 responses[0].scores[0].score: True is not a number [not-a-number]"
    assert len([line for line in lines if line.startswith(str(path))]) == 20
    assert "... and 11 more" in lines
    assert "nothing was written" in lines[-1]
    assert re.search(r"not-a-number +30\n", done.stdout)
    assert re.search(r"broken-json +1\n", done.stdout)
    assert not (tmp_path / "store").exists()
    report = json.loads(run("import", path, "--out", tmp_path / "store", "--json", code=1).stdout)
    assert report["reasons"] == {"not-a-number": 30, "broken-json": 1}
    run("import", path, "--out", tmp_path / "store", "--on-error", "skip")
    rejects = (tmp_path / "store" / "rejects.jsonl").read_text("ascii").splitlines()
    assert len(rejects) == 31


def test_nothing_left_exits_1(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text("{\n[]\n")
    assert "no response is left" in run("import", path, "--out", tmp_path / "s", "--on-error", "skip", code=1).stderr
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["import", "absent.jsonl", "--out", "s"], "no such file"),
        (["import", ".", "--out", "s"], "is a directory"),
        (["import", "x.doc", "--out", "s"], "no such file"),
        (["import", "--out", "s"], "Missing argument"),
        (["import", "{source}", "--out", "s", "--domain", "Math"], "a-z, 0-9"),
        (["import", "{source}", "--out", "s", "--domain", "all"], "reserved"),
        (["import", "{source}", "--out", "s", "--domain-map", "math"], "old=new"),
        (["import", "{source}", "--out", "s", "--domain-map", "math=Raw"], "a-z, 0-9"),
        (["import", "{source}", "--out", "s", "--split", "a b"], "letters, digits"),
        (["import", "{source}", "--out", "s", "--score-range", "5", "1"], "lower and a higher"),
        (["import", "{source}", "--out", "s", "--map", "score=a", "--map", "score=b"], "--score-column"),
        (["import", "{source}", "--out", "s", "--default-threshold", "nan"], "finite"),
        (["import", "{source}", "--out", "s", "--default-threshold", "20"], "so far apart"),
        (["import", "{source}", "--out", "s", "--on-error", "ignore"], "'fail', 'skip'"),
        (["pairs", "{store}", "--out", "p.parquet", "--strategy", "x"], "best_worst"),
        (["pairs", "{store}", "--out", "p.parquet", "--threshold", "-1"], "0 or more"),
        (["pairs", "{store}", "--out", "p.parquet", "--domain", "maths"], "Did you mean 'math'"),
        (["pairs", "{store}", "--out", "p.parquet", "--split", "dev"], "Valid: train"),
        (["pairs", "{store}", "--out", "p.parquet", "--judges", "gpt"], "judge-a, judge-b"),
        (["pairs", "{store}", "--out", "p.parquet", "--judges", "judge-a,,"], "an empty name"),
        (["pairs", "{store}", "--out", "."], "is a directory"),
        (["pairs", "{store}", "--out", "p.csv"], "use .parquet, .jsonl or .ndjson"),
        (["pairs", "{store}", "--out", "p"], "use .parquet, .jsonl or .ndjson"),
        (["pairs", "{store}", "--out", "-", "--json"], "both write to standard output"),
        (["contamination", "{store}", "--against", "{store}", "--out", "p.csv"], "use .parquet, .jsonl or .ndjson"),
        (["annotate", "init", "--out", "run.json"], "use .toml"),
        (["info"], "name a store, or set the variable COIGP_STORE"),
        (["publish", "--version", "1.0.0"], "coigp publish STORE ORG/NAME"),
        (["--install-completion", "powershell"], "bash, zsh or fish"),
        (["nonsense"], "No such command"),
    ],
)
def test_usage_errors_exit_2_and_say_what_is_valid(
    arguments: list[str], words: str, source: Path, store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    done = run(*(part.format(source=source, store=store) for part in arguments), code=2)
    assert words in done.stderr
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_clear_error(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is a file" in run("import", source, "--out", tmp_path / "file" / "store", code=2).stderr
    run("import", source, "--out", tmp_path / "store")
    assert "is a file" in run("pairs", tmp_path / "store", "--out", tmp_path / "file" / "pairs.parquet", code=2).stderr


def test_what_is_no_store_exits_1(tmp_path: Path) -> None:
    for command in (["info"], ["verify"], ["pairs", "--out", tmp_path / "p.parquet"]):
        assert "no manifest.json" in run(command[0], tmp_path, *command[1:], code=1).stderr


def test_what_is_no_store_is_told_what_it_is(store: Path, source: Path, tmp_path: Path) -> None:
    for place, said in (
        (source, f"not a store but a file: no manifest.json there. Make one with: coigp import {source} --out STORE"),
        (tmp_path / "absent", "no such directory"),
        (store / "data" / "math", f"a part of one: no manifest.json there. Name {store}"),
    ):
        assert said in run("info", place, code=1).stderr
    assert "org/name is without manifest.json in the Hub" in run("info", "hf://datasets/org/name", code=3).stderr
    assert "write the repository as org/name" in run("publish", store, "name", "--version", "1.0.0", code=2).stderr
    assert "'x' is not a valid number" in run("pairs", store, "--out", "-", "--threshold", "x", code=2).stderr


def test_verify_exits_1_on_a_difference(source: Path, tmp_path: Path) -> None:
    run("import", source, "--out", tmp_path / "store")
    with (tmp_path / "store" / "README.md").open("a") as readme:
        readme.write("!")
    assert "README.md: " in run("verify", tmp_path / "store", code=1).stderr
    assert len(json.loads(run("verify", tmp_path / "store", "--json", code=1).stdout)["problems"]) == 1


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], {}),
        (["--threshold", "3", "--strict"], {"threshold": 3, "strict": True}),
        (["--aggregation", "median", "--judges", "judge-a", "--judges", "judge-b"],
         {"aggregation": "median", "judges": ["judge-a", "judge-b"]}),
        (["--include-self-judged", "--strategy", "best_worst", "--labels", "scores"],
         {"include_self_judged": True, "strategy": "best_worst", "labels": "scores"}),
        (["--min-judges", "2", "--same-judges", "--comparison-threshold", "1"],
         {"min_judges": 2, "same_judges": True, "comparison_threshold": 1}),
        (["--both-orders"], {"both_orders": True}),
        (["--no-both-orders"], {}),
    ],
)  # fmt: skip
def test_pairs_are_the_oracles_in_either_file_type(
    arguments: list[str], options: dict[str, Any], store: Path, rows: Any, tmp_path: Path
) -> None:
    wanted = oracle_pairs([row for row in rows if row["domain"] == "chat"], **{"threshold": 2, **options})
    for file_type in ("parquet", "jsonl"):
        out = tmp_path / "sub" / f"file.{file_type}"
        done = run("pairs", store, "--out", out, "--domain", "chat", "--json", *arguments)
        assert json.loads(done.stdout)["rows"] == len(wanted)
        if file_type == "parquet":
            assert pq.read_table(out).to_pylist() == wanted
        else:
            assert [json.loads(line) for line in out.read_text("utf-8").splitlines()] == wanted


def test_interrupted_exits_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], store: Path
) -> None:
    from coig_p.cli import main as module

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("coig_p.stats.info.store_info", interrupt)
    monkeypatch.setattr(sys, "argv", ["coigp", "info", str(store)])
    with pytest.raises(SystemExit) as stopped:
        module.main()
    assert stopped.value.code == 130
    assert "interrupted" in capsys.readouterr().err


def test_an_interrupt_after_all_is_written_says_what_is_there(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("coig_p.cli.importing._print_import", interrupt)
    said = run("import", source, "--out", tmp_path / "store", code=130).stderr
    assert said == f"interrupted. Written before that, and whole: {tmp_path / 'store'}\n"


def test_workers_that_are_lost_after_all_is_written_say_what_is_there(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(*_: Any, **__: Any) -> None:
        raise WorkersLost("one of 2 processes ended")

    monkeypatch.setattr("coig_p.cli.importing._print_import", lose)
    said = run("import", source, "--out", tmp_path / "store", code=1).stderr
    assert said == f"error: one of 2 processes ended. Written before that, and whole: {tmp_path / 'store'}\n"


def test_hostile_text_cannot_move_the_cursor() -> None:
    assert (
        printable("\x1b[2J红\u202e\u200b\ud800\n\t\x00\u2028") == "\\u001b[2J红\\u202e\\u200b\\ud800\n\t\\u0000\\u2028"
    )


def test_tables_align_chinese_by_columns() -> None:
    lines = table(["域", "n"], [["数学", 1234], ["a", 5]]).splitlines()
    assert [width(line) for line in lines] == [11, 11, 11]
    assert "1,234" in lines[1]


def test_check_and_clean_are_a_gate(tmp_path: Path) -> None:
    rows = [ROWS[0] | {"query_id": f"m-{at}", "query": f"第{at}题等于几？"} for at in range(12)]
    rows[3] = rows[3] | {"responses": [{"model": "a", "text": "电话是13800138000，答案是三。</s>"}]}
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    store = tmp_path / "store"
    run("import", source, "--out", store)
    done = run("check", store, "--report", tmp_path / "report", code=1)
    assert "error special-token (1): a token of a chat template leaked" in done.stdout
    assert "math m-3 a responses[0].text" in done.stdout
    assert "13800138000" not in done.stdout
    assert "; 1 error, " in done.stdout
    assert "coigp clean" in done.stdout
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        *("findings.parquet", "report.md", "report.html", "rules.svg", "models.svg")
    }
    found = json.loads(run("check", store, "--json", code=1).stdout)
    assert (found["passed"], found["error"], found["queries"]) == (False, 1, 12)
    assert found["rules"]["special-token"]["examples"][0]["query_id"] == "m-3"
    (tmp_path / "rules.toml").write_text('[special-token]\nseverity = "warning"\n')
    run("check", store, "--rules", tmp_path / "rules.toml", "--num-proc", "2")
    run("check", store, "--domain", "math", code=1)
    assert "Valid: math" in run("check", store, "--domain", "chat", code=2).stderr
    assert "inside the store" in run("check", store, "--report", store / "report", code=2).stderr
    assert "Missing argument" in run("check", code=2).stderr

    done = run("clean", store, "--out", tmp_path / "clean")
    assert re.search(r"special-token +0 +1 +0 +0\n", done.stdout)
    assert "12 of 12 queries, 22 of 23 responses" in done.stdout
    run("check", tmp_path / "clean")
    assert json.loads(run("clean", store, "--out", tmp_path / "again", "--json").stdout)["errors_left"] == {}
    assert "pass --overwrite" in run("clean", store, "--out", tmp_path / "clean", code=2).stderr
    assert "unknown rule 'x'" in run("clean", store, "--out", tmp_path / "new", "--rule", "x", code=2).stderr


def test_errors_that_cannot_be_dropped_keep_the_gate_shut(source: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run("import", source, "--out", store)
    manifest = json.loads((store / "manifest.json").read_text("utf-8"))
    manifest["files"][0]["responses"] = 3
    (store / "manifest.json").write_text(json.dumps(manifest))
    assert "2 responses, 3 in the manifest" in run("check", store, code=1).stdout
    (tmp_path / "rules.toml").write_text('[rare-model]\nseverity = "error"\n')
    done = run("clean", store, "--out", tmp_path / "clean", "--rules", tmp_path / "rules.toml", code=1)
    assert "error rare-model (2) remains" in done.stderr


def test_the_list_of_rules_is_whole() -> None:
    from coig_p.validation.rules import RULES

    shown = run("check", "--list").stdout
    assert all(rule.why in shown and id in shown for id, rule in RULES.items())
    listed = json.loads(run("check", "--list", "--json").stdout)
    assert listed["script-traditional"]["share"] == 0.05
    assert listed.keys() == RULES.keys()


def test_dedup_says_what_goes_and_writes_the_rest(tmp_path: Path) -> None:
    rows = [ROWS[0] | {"query_id": f"m-{at}", "query": f"第{at}题一共有多少种不同的走法{'？' * at}"} for at in range(3)]
    rows.append(ROWS[0] | {"query_id": "m-9", "query": "第1題，一共有多少種不同的走法？"})
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    store = tmp_path / "store"
    run("import", source, "--out", store)
    shown = run("dedup", store, "--dry-run", "--similarity", "0.9").stdout
    assert "4 queries: 1 cluster of near-duplicates, the largest of 2; 1 query would go" in shown
    assert "  m-9: 第1題，一共有多少種不同的走法？\n    stays m-1 (exact, similarity 1.00): 第1题" in shown
    assert "第0题" not in shown
    found = json.loads(run("dedup", store, "--out", tmp_path / "new", "--similarity", "0.9", "--json").stdout)
    (example,) = found["examples"]
    assert (example["query_id"], example["survivor"], example["match"]) == ("m-9", "m-1", "exact")
    assert (found["clusters"], found["duplicates"], found["by_domain"]) == (1, 1, {"math": 1})
    assert found["dropped"] == {"rows": 1, "responses": 2, "scores": 2, "comparisons": 0}
    assert pq.read_table(tmp_path / "new/duplicates.parquet").column("query_id").to_pylist() == ["m-1", "m-9"]
    run("verify", tmp_path / "new")
    assert "pass --dry-run" in run("dedup", store, code=2).stderr
    assert "pass --overwrite" in run("dedup", store, "--out", tmp_path / "new", code=2).stderr
    assert "'--similarity'" in run("dedup", store, "--dry-run", "--similarity", "2", code=2).stderr

    done = run("dedup", store, "--dry-run", "--against", tmp_path / "new", "--similarity", "0.9")
    assert "4 queries: 3 clusters" in done.stdout
    assert (
        "nothing was written: no query is left"
        in run("dedup", store, "--out", tmp_path / "none", "--against", store, "--similarity", "0.5", code=1).stderr
    )
    assert "do not go together" in run("dedup", store, "--dry-run", "--merge", "--against", store, code=2).stderr
    assert "--model" in run("dedup", store, "--dry-run", "--method", "semantic", code=2).stderr
    for more in (["--ngram", "4"], ["--num-perm", "128"]):
        said = run("dedup", store, "--dry-run", "--method", "semantic", "--model", "m", *more, code=2).stderr
        assert "are for --method minhash" in said

    # What is shown is cut, and harmless on a terminal.
    long = "这是一个很长的问题\u202e\x1b[31m" + "，说了很多很多的话" * 40
    source.write_text("".join(json.dumps(ROWS[0] | {"query_id": f"m-{at}", "query": long}) + "\n" for at in range(30)))
    run("import", source, "--out", tmp_path / "many")
    done = run("dedup", tmp_path / "many", "--dry-run")
    assert done.stdout.count("stays m-0 (exact, similarity 1.00)") == 5
    assert all(len(line) < 140 for line in done.stdout.splitlines())
    assert not set(done.stdout) & set("\u202e\x1b")

    done = run("dedup", store, "--scope", "responses", "--out", tmp_path / "answers", "--json")
    assert json.loads(done.stdout)["duplicates"] == 0
    assert "leave out --scope" in run("dedup", store, "--dry-run", "--scope", "responses", "--merge", code=2).stderr


def test_contamination_shuts_the_gate(source: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run("import", source, "--out", store)
    benchmark = tmp_path / "bench.jsonl"
    benchmark.write_text(json.dumps({"question": "１+１等於幾", "reference": "等於4"}) + "\n")
    done = run("contamination", store, "--against", benchmark, "--out", tmp_path / "found.parquet", code=1)
    assert "math m-1 query: 100% of bench.jsonl:1: 1+1等于几？" in done.stdout
    assert "1 text holds one of 1 prompt or 1 answer" in done.stdout
    assert pq.read_table(tmp_path / "found.parquet").num_rows == 1
    assert json.loads(run("contamination", store, "--against", store, "--json", code=1).stdout)["findings"] == 3
    done = run("check", store, "--against", benchmark, code=1)
    assert "error contamination (1): a benchmark's prompt in a query, or its answer in a response" in done.stdout
    assert "nothing was written" in run("clean", store, "--out", tmp_path / "c", "--against", benchmark, code=1).stderr
    benchmark.write_text(json.dumps({"question": "二加二等于几"}) + "\n")
    assert "0 texts hold" in run("contamination", store, "--against", benchmark).stdout
    assert (
        "no row has a prompt"
        in run(*("contamination", store, "--against", benchmark, "--profile", "crbench"), code=1).stderr
    )


def test_a_benchmark_whose_columns_are_called_otherwise(source: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run("import", source, "--out", store)
    exam = tmp_path / "exam.csv"
    exam.write_text('题目,"参考,答案",编号\n1+1等于几,等于2,7\n', encoding="utf-8")
    mapped = ("--against", exam, "--map", 'exam.csv:prompt=题目,answer="参考,答案"')
    done = run("contamination", store, *mapped, "--map", "id=编号", code=1)
    assert "math m-1 query: 100% of exam.csv:2 (id 7): 1+1等于几？" in done.stdout
    assert "one of 1 prompt or 1 answer" in done.stdout
    done = run("check", store, *mapped, code=1)
    assert "error contamination (2)" in done.stdout
    assert """--map 'exam.csv:prompt=题目' --map 'answer="参考,答案"'""" in done.stdout
    assert (
        "nothing was written: no query is left" in run("clean", store, "--out", tmp_path / "c", *mapped, code=1).stderr
    )
    wrong = run("contamination", store, "--against", exam, "--map", "prompt=题干", code=2).stderr
    assert "unknown column of exam.csv '题干'" in wrong
    assert "Valid: 参考,答案, 编号, 题目" in wrong
    assert "pass --against, too" in run("check", store, "--map", "prompt=题目", code=2).stderr


def test_a_sweep_says_why_agreement_is_not_known_and_explains_a_star_where_there_is_one(tmp_path: Path) -> None:
    rows = make_rows({"math": 20})
    store = make_store(tmp_path / "store", rows)
    star, unknown = "* the optimum", "whether another judge would agree is not known"
    shown = run("sweep", store, "--thresholds", "1,2").stdout
    assert star in shown
    assert unknown not in shown
    shown = run("sweep", store, "--thresholds", "9.5").stdout
    assert re.search(r"^9\.5 +0 ", shown, flags=re.MULTILINE)
    assert f"no pair is left: {unknown}" in shown
    assert star not in shown
    for row in rows:
        for response in row["responses"]:
            response["scores"] = response["scores"][:1]
    alone = make_store(tmp_path / "alone", rows)
    shown = run("sweep", alone, "--thresholds", "1").stdout
    assert f"no judge judged a pair that the others alone make: {unknown}" in shown
    assert star not in shown


def test_stats_and_sweep_write_what_they_print(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", make_rows({"math": 20, "chat": 10}))
    shown = run("stats", store, "--threshold", "1", "--out", tmp_path / "stats").stdout
    found = json.loads(run("stats", store, "--threshold", "1", "--json").stdout)
    assert json.loads((tmp_path / "stats" / "statistics.json").read_text("utf-8")) == found
    assert re.search(rf"all +30 .* {found['total']['pairs']:,} ", shown)
    assert "model-4" in shown
    assert {path.name for path in (tmp_path / "stats").glob("*.svg")} >= {"domains.svg", "models.svg", "judges.svg"}
    one = json.loads(run("stats", store, "--threshold", "1", "--domain", "chat", "--json").stdout)
    assert one["total"] == found["domains"]["chat"]

    shown = run("sweep", store, "--thresholds", "2,0,1", "--out", tmp_path / "sweep", "--language", "zh").stdout
    swept = json.loads((tmp_path / "sweep" / "sweep.json").read_text("utf-8"))
    assert [row["threshold"] for row in swept["thresholds"]] == [0, 1, 2]
    assert swept["thresholds"][1]["pairs"] == found["total"]["pairs"]
    assert re.search(rf"^1 +{found['total']['pairs']:,} ", shown, flags=re.MULTILINE)
    assert re.search(r"^2 \* \(default\) ", shown, flags=re.MULTILINE)
    assert "阈值" in (tmp_path / "sweep" / "yield.svg").read_text("utf-8")
    run("sweep", store, "--thresholds", "1", "--out", tmp_path / "sweep", "--overwrite")
    for command in ("stats", "sweep"):
        assert "does not belong there" in run(command, store, "--out", store / "x", code=2).stderr
        assert "choose another place" in run(command, store, "--out", tmp_path, code=2).stderr
        assert "Did you mean 'math'?" in run(command, store, "--domain", "maths", code=2).stderr
        assert "Did you mean 'judge-a'?" in run(command, store, "--judges", "judge-aa", code=2).stderr
        assert "not a store" in run(command, tmp_path, code=1).stderr
    assert "0.5,1,2" in run("sweep", store, "--thresholds", "1,x", code=2).stderr
    assert "at most 4 decimals" in run("sweep", store, "--thresholds", "nan", code=2).stderr


def test_a_shard_that_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", make_rows({"math": 20}))
    shard = sorted((store / "data" / "math").iterdir())[1]
    shard.write_bytes(b"x" * shard.stat().st_size)
    for command in ("stats", "sweep"):
        done = run(command, store, code=1)
        assert shard.name in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_name_with_line_breaks_stays_in_its_row() -> None:
    lines = table(["model", "n"], [["a\nb\tc\x1b[2J", 1], ["b", 2]]).splitlines()
    assert lines[1:] == ["a\\nb\\tc\\u001b[2J  1", "b                 2"]
