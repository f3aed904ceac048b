"""The page of a check: its numbers are the report's, its excerpts stand as texts, and nothing in it runs or loads."""

from __future__ import annotations

import base64
import re
from html import unescape
from pathlib import Path

import pytest
from commands import run
from make import make_store, twin

from coig_p.report.view.check_page import check_page
from coig_p.report.view.words import LANGUAGES, words
from coig_p.store.locate import BUNDLED
from coig_p.validation.findings import place_in_excerpt
from coig_p.validation.gate import check
from coig_p.validation.report import PAGE, by_rule_model_domain, examples, read_findings, worst_first
from coig_p.validation.rules import load_rules


def tables(html: str) -> list[list[list[str]]]:
    """Every table of a page: its rows, of them the texts of the cells."""
    return [
        [
            [
                unescape(re.sub("<[^>]*>", "", cell)).strip()
                for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)
            ]
            for row in re.findall(r"<tr>(.*?)</tr>", table, re.S)
        ]
        for table in re.findall(r"<table[^>]*>(.*?)</table>", html, re.S)
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_number_and_example_is_the_reports(language: str) -> None:
    report = check(BUNDLED)
    html = check_page(report, "store", language)
    w = words(language)
    counts, rules, *shown, groups = tables(html)
    assert counts[1] == [f"{n}" for n in (report.queries, report.responses, *report.counts.to_dict().values())]
    assert [(row[0], row[3]) for row in rules[1:]] == [(id, f"{number}") for id, number in worst_first(report)]
    assert [row[2] for row in rules[1:]] == [w[report.rules[id].severity] for id, _ in worst_first(report)]
    for (id, _), table in zip(worst_first(report), shown, strict=True):
        for row, found in zip(table[1:], examples(report, id), strict=True):
            assert row[-1] == found["excerpt"].strip()
            assert row[1] == (found["query_id"] or "")
    assert [tuple(row) for row in groups[1:]] == [
        (rule, model or "", domain or "", f"{n}") for rule, model, domain, n in by_rule_model_domain(report)
    ]
    assert w["passed"] in html
    for plot in re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', html):
        assert base64.b64decode(plot).startswith(b"<svg")
    assert w["plot-rules"] in base64.b64decode(re.findall(r'base64,([^"]+)"', html)[0]).decode()
    if language == "zh":
        assert "模型给自己的回答打了分" in html
        assert "passed" not in re.sub(r"<style>.*</style>", "", html, flags=re.S)


def test_what_a_rule_found_is_marked_in_its_excerpt(tmp_path: Path) -> None:
    rows = twin()
    rows[0]["responses"][0]["text"] = "甲" * 30 + "\ufffd" + "乙" * 30
    rows[1]["responses"][0]["text"] = "\ufffd丙"
    report = check(make_store(tmp_path / "store", rows))
    found = [one for one in report.findings.to_pylist() if one["rule"] == "replacement-character"]
    assert [one["excerpt"][place_in_excerpt(one["offset"])] for one in found] == ["\ufffd"] * 2
    html = check_page(report, "store")
    assert html.count("<mark>\ufffd</mark>") == 2
    assert "甲" * 20 + "<mark>" in html
    assert words("en")["not-passed"] in html


def test_hostile_texts_and_names_are_texts(tmp_path: Path) -> None:
    rows = twin()
    for row in rows:
        row["query_id"] = f"<script>alert(1)</script>\"'{row['query_id']}"
        for response in row["responses"]:
            response["text"] += "\x1b[31m</style></title><script>alert(2)</script>13800138000\u202e"
            response["model"] = f"<img src=x onerror=alert(3)>{response['model']}"
    html = check_page(check(make_store(tmp_path / "store", rows)), "<b>store\u202e</b>")
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "<b>store" not in html
    assert "\u202e" not in html
    assert "\x1b" not in html
    assert "13800138000" not in html
    assert html.count("</style>") == html.count("</title>") == 1
    assert "default-src 'none'" in html
    assert set(re.findall(r'(?:src|href)="([^"]{5})', html)) <= {"data:"} | {f"#{one}"[:5] for one in load_rules()}


def test_rules_that_were_changed_are_told(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text('[email]\nseverity = "off"\n[self-judged]\nseverity = "metric"\n[repetition]\nshare = 0.95\n')
    html = check_page(check(BUNDLED, rules=load_rules(file)), "store", "zh")
    assert ["email", "严重程度", "关闭", "警告"] in tables(html)[2]
    assert ["repetition", "share", "0.95", "0.6"] in tables(html)[2]
    assert "规则已关闭、没有检查的：" in html
    assert re.search(r"指标 <small>\(默认 警告\)", html)


def test_a_clean_store_and_the_command(tmp_path: Path) -> None:
    report = check(BUNDLED, rules={"empty": load_rules()["empty"]})
    html = check_page(report, "store")
    assert words("en")["none"] in html
    assert len(tables(html)) == 2  # counts, and the rules that are off
    said = run("check", BUNDLED, "--report", tmp_path / "r", "--language", "zh").stdout
    assert PAGE in said
    assert (tmp_path / "r" / PAGE).read_text("utf-8") == check_page(check(BUNDLED), BUNDLED.name, "zh")
    assert read_findings(tmp_path / "r").equals(check(BUNDLED).findings)
    run("check", BUNDLED, "--report", tmp_path / "r", "--overwrite")
    assert (tmp_path / "r" / PAGE).read_text("utf-8") == check_page(check(BUNDLED), BUNDLED.name)
