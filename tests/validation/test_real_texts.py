"""Checks on real texts: scripts and languages told apart."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet as pq
import pytest
from make import twin
from planting import (
    batch_of,
    store_of,
    text_plant,
    with_everything,
)

from coig_p.errors import UsageError
from coig_p.validation import check
from coig_p.validation.checks import CHECKS
from coig_p.validation.checks.letters import CONTROL, LETTER, PRIVATE, WHITE, flags
from coig_p.validation.checks.script import language, languages
from coig_p.validation.checks.texts import Texts
from coig_p.validation.rules import RULES


def texts_of(strings: list[str]) -> Texts:
    return Texts(batch_of(strings, [[] for _ in strings]))


@pytest.fixture
def language_sets(shared_data: Path) -> dict[str, list[str]]:
    sets: dict[str, list[str]] = json.loads((shared_data / "lang_sets.json").read_text("utf-8"))
    return sets


def test_traditional_simplified_and_japanese_are_told_apart(language_sets: dict[str, list[str]]) -> None:
    share = {
        name: len(CHECKS["script-traditional"](texts_of(texts), share=0.05).text) / len(texts)
        for name, texts in language_sets.items()
    }
    assert share["zh_trad"] >= 0.99
    assert share["zh_simp"] <= 0.001
    assert share["q_zh"] <= 0.001
    assert share["ja"] <= 0.02


def test_languages_of_real_texts(language_sets: dict[str, list[str]]) -> None:
    right = {"zh_trad": "zh", "zh_simp": "zh", "q_zh": "zh", "q_en": "en", "q_ko": "ko", "ja": "ja", "lzh_trad": "zh"}
    for name, wanted in right.items():
        found = languages(texts_of(language_sets[name]))
        assert np.mean(found == wanted) >= 0.97, name
    for name in ("zh_trad", "zh_simp", "q_zh", "lzh_trad"):
        assert np.mean(languages(texts_of(language_sets[name])) == "zh") >= 0.99


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("为啥", "zh"),
        ("Python怎么写？", "zh"),
        ("```python\nfor i in range(10):\n    print(i)\n```\n这段代码打印十个数。", "zh"),
        ("因为 $\\frac{a}{b}=\\sqrt{c}$，所以 $a=b\\sqrt{c}$。", "zh"),
        ("Thank you", "en"),
        ("こんにちは", "ja"),
        ("東京へ行きます", "ja"),
        ("안녕하세요", "ko"),
        ("1+1=2", "und"),
        ("C(3,2)×(1/2)³", "und"),
        ("", "und"),
    ],
)
def test_language_of_one_text(text: str, wanted: str) -> None:
    assert language(text) == wanted


def test_findings_are_in_parquet_as_they_are(tmp_path: Path) -> None:
    from coig_p.validation.report import write_report

    report = check(store_of(with_everything(), tmp_path / "store"))
    for overwrite in (False, True):
        write_report(report, tmp_path / "report", overwrite)
        assert pq.read_table(tmp_path / "report/findings.parquet").equals(report.findings)
    first = {path.name: path.read_bytes() for path in (tmp_path / "report").iterdir()}
    write_report(check(tmp_path / "store"), tmp_path / "again")
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()} == first
    with pytest.raises(UsageError, match="inside the store"):
        write_report(report, tmp_path / "store/report")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.md").touch()
    with pytest.raises(UsageError, match="is not a report"):
        write_report(report, tmp_path / "other")


def test_a_report_escapes_what_models_wrote(tmp_path: Path) -> None:
    from coig_p.core.svg import bars
    from coig_p.validation.report import as_markdown

    rows = twin()
    text_plant(" <script>alert(1)</script> | ![x](http://x) \u202e\x1b[31m `", model="<img src=x onerror=1>|")(rows)
    report = check(store_of(rows, tmp_path / "store"))
    text = as_markdown(report)
    assert "<script" not in text
    assert "<img" not in text
    assert "![x]" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    plot = ElementTree.fromstring(bars("t", {"<img src=x>\x00\ud800": 1, "模型" * 40: 10**6}, ["red", "blue"]))
    shown = [part.text or "" for part in plot.iter("{http://www.w3.org/2000/svg}text")]
    assert shown[1].startswith("<img src=x>\\u0000")
    assert shown[-1] == "1,000,000"


def test_the_documents_name_every_rule() -> None:
    text, chinese = (
        (Path(__file__).parents[2] / "docs" / name).read_text("utf-8") for name in ("checks.md", "checks.zh.md")
    )
    for id, rule in RULES.items():
        assert f"| `{id}` | {rule.severity} | {', '.join(rule.scope)} | {rule.why}" in text
        assert f"| `{id}` |" in chinese


def test_flags_are_those_of_the_character_database() -> None:
    table = flags()
    for code in [*range(0x3100), *range(0x4DA0, 0x4E10), *range(0xD7A0, 0x10100), *range(0xE0000, 0xE0200), 0x10FFFD]:
        category = unicodedata.category(chr(code))
        assert bool(table[code] & LETTER) == (category[0] == "L")
        assert bool(table[code] & PRIVATE) == (category == "Co")
        assert bool(table[code] & CONTROL) == (category == "Cc" and chr(code) not in "\t\n\r")
        assert bool(table[code] & WHITE) == chr(code).isspace()
    planes = np.array([unicodedata.category(chr(code)) for code in range(0x32400, 0x110000)])
    assert set(planes) <= {"Cn", "Co", "Cf", "Mn"}
    assert ((table[0x32400:] & np.uint32(PRIVATE)) != 0).tolist() == (planes == "Co").tolist()
