"""What a rules file changes is said wherever a check says what it found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import run
from hypothesis import given
from hypothesis import strategies as st
from make import make_store, twin
from strategies import examples

from coig_p.validation import RULES, Rule, check, load_rules, write_report
from coig_p.validation.rules import SEVERITIES, RuleChange, rule_changes

FILE = """
[email]
severity = "off"
[special-token]
severity = "metric"
tokens = ["<s>", "某词", "<end>"]
[repetition]
share = 0.9
"""


def as_told(rules: dict[str, Rule]) -> list[tuple[str, str, Any, Any]]:
    return [(one.rule, one.what, one.value, one.default) for one in rule_changes(rules)]


def rules_file(folder: Path, text: str = FILE) -> Path:
    path = folder / "rules.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_change_is_told_with_what_is_usual(tmp_path: Path) -> None:
    tokens = RULES["special-token"].options["tokens"]
    assert as_told(load_rules(rules_file(tmp_path))) == [
        ("special-token", "severity", "metric", "error"),
        ("special-token", "tokens", ("<s>", "某词", "<end>"), tokens),
        ("repetition", "share", 0.9, 0.6),
        ("email", "severity", "off", "warning"),
    ]
    assert [str(one) for one in rule_changes(load_rules(tmp_path / "rules.toml"))][1:] == [
        "special-token: tokens -</s>, -<unk>, -<pad>, -<eos>, -<bos>, -<eod>, -[INST], -[/INST], … (12), by default "
        "</s>, <s>, <unk>, <pad>, <eos>, <bos>, <eod>, [INST], … (11)",
        "repetition: share 0.9, by default 0.6",
        "email: severity off, by default warning",
    ]


def test_what_is_as_usual_is_no_change(tmp_path: Path) -> None:
    tokens = json.dumps(RULES["special-token"].options["tokens"][::-1])
    text = f'[repetition]\nshare = 0.60\nseverity = "error"\n[special-token]\ntokens = {tokens}\n[words]\nwords = []\n'
    assert rule_changes(load_rules(rules_file(tmp_path, text))) == ()
    assert rule_changes(load_rules()) == ()
    more = load_rules() | {"contamination": Rule("contamination", "error", ("query",), "why", "benchmarks", {})}
    assert rule_changes(more) == ()


changed_rules = st.dictionaries(st.sampled_from(sorted(RULES)), st.sampled_from([*SEVERITIES, "off"]))


@examples(200)
@given(changed_rules)
def test_whatever_way_the_rules_came_those_that_do_not_run_are_told(severities: dict[str, str]) -> None:
    rules = {
        id: replace(rule, severity=severities.get(id, rule.severity))
        for id, rule in RULES.items()
        if severities.get(id) != "off"
    }
    told = rule_changes(rules)
    assert {one.rule for one in told if one.is_off} == RULES.keys() - rules.keys()
    assert {one.rule: one.value for one in told} == {
        id: severity for id, severity in severities.items() if severity != RULES[id].severity
    }


def test_words_of_a_list_are_those_that_came_and_went() -> None:
    assert RuleChange("words", "words", ("a", "b"), ()).words == ("+a, +b", "–")
    assert RuleChange("x", "ends", ("a", "c"), ("a", "b")).words == ("-b, +c", "a, b")
    many = tuple(map(str, range(40)))
    assert RuleChange("words", "words", many, ()).words[0].endswith("+7, … (40)")


def spoiled() -> list[dict[str, Any]]:
    """Rows of which several rules say something."""
    rows = sorted(twin(), key=lambda row: str(row["domain"]))
    for row in rows[:5]:
        row["responses"][0]["text"] += "<s>"
    rows[7]["query"] += "写信到 somebody@example.org 可以吗？"
    return rows


def test_a_check_says_what_was_off_and_what_was_changed(tmp_path: Path) -> None:
    store, file = make_store(tmp_path / "store", spoiled()), rules_file(tmp_path)
    assert "5 errors" in run("check", store, code=1).stdout
    said = run("check", store, "--rules", file, "--report", tmp_path / "report").stdout
    assert "metric (error by default) special-token (5): a token" in said
    assert "\nnot checked: email, which is off; warning by default\n" in said
    assert "\nchanged: repetition: share 0.9, by default 0.6\n" in said
    assert "passed; 0 errors, 0 warnings, " in said
    assert "96 responses; rules off: 1; rules changed: 2\n" in said
    text = (tmp_path / "report/report.md").read_text("utf-8")
    assert "96 responses; rules off: 1; rules changed: 2." in text
    assert "Not checked, since the rule is off: email." in text
    assert "| special-token | metric (error by default) | 5 |" in text
    assert "## Rules that were changed" in text
    assert "| repetition | share | 0.9 | 0.6 |" in text
    assert "| email | severity | off | warning |" in text

    told = json.loads(run("check", store, "--rules", file, "--json").stdout)
    assert (told["passed"], told["error"]) == (True, 0)
    assert told["not_checked"] == ["email"]
    assert {"rule": "repetition", "what": "share", "value": 0.9, "default": 0.6} in told["rules_changed"]
    assert told["rules"]["special-token"]["findings"] == 5
    told = json.loads(run("check", store, "--json", code=1).stdout)
    assert (told["rules_changed"], told["not_checked"]) == ([], [])
    usual = run("check", store, code=1).stdout
    assert "by default" not in usual
    assert "rules off" not in usual


def test_cleaning_says_it_too_and_the_list_shows_what_is_off(tmp_path: Path) -> None:
    store, file = make_store(tmp_path / "store", spoiled()), rules_file(tmp_path)
    assert "not checked: email" in run("clean", store, "--rules", file, "--out", tmp_path / "a").stdout
    told = json.loads(run("clean", store, "--rules", file, "--out", tmp_path / "b", "--json").stdout)
    assert told["not_checked"] == ["email"]
    assert len(told["rules_changed"]) == 4
    assert "off      email " in run("check", "--list", "--rules", file).stdout
    assert json.loads(run("check", "--list", "--json", "--rules", file).stdout)["email"]["severity"] == "off"


def test_a_report_of_few_rules_says_that_the_others_did_not_run(tmp_path: Path) -> None:
    report = check(make_store(tmp_path / "store", spoiled()), rules={"ties": RULES["ties"]})
    assert report.passed
    assert report.not_checked == tuple(id for id in RULES if id != "ties")
    assert f"; rules off: {len(RULES) - 1}" in repr(report)
    assert "rules off" in report._repr_html_()
    write_report(report, tmp_path / "report")
    assert "Not checked, since the rule is off: empty, " in (tmp_path / "report/report.md").read_text("utf-8")


@pytest.mark.parametrize("word", ["\x1b[31m", "a\nb", "|", "<script>"])
def test_words_of_a_rules_file_do_no_harm(word: str, tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", spoiled())
    file = rules_file(tmp_path, f"[words]\nwords = [{json.dumps(word)}]\n")
    said = run("check", store, "--rules", file, "--report", tmp_path / "report", code=1).stdout
    assert "\x1b" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("changed: words: words +")]
    assert line.endswith("by default –")
    text = (tmp_path / "report/report.md").read_text("utf-8")
    assert "<script>" not in text
    (row,) = [line for line in text.splitlines() if line.startswith("| words | words | ")]
    assert row.replace("\\|", "").count("|") == 5
