"""What a release tells of its gate: rules that were changed, benchmarks, and all that keeps it shut, data first."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from commands import run
from make import make_store, twin
from making import CARD

from coig_p.dedup.benchmarks import ContaminationConfig
from coig_p.dedup.contamination import with_contamination
from coig_p.dedup.queries import DedupConfig, dedup_store, find_duplicates, read_queries
from coig_p.errors import DataError
from coig_p.pairs.config import PairConfig
from coig_p.publish.release import ReleaseConfig, write_release
from coig_p.report.card_toml import CARD_TOML
from coig_p.store.benchmarks import OPTION, benchmark_checks
from coig_p.store.store import Store
from coig_p.validation import check, load_rules
from coig_p.validation.cleaning import clean_store

Rows = list[dict[str, Any]]


def to_release(path: Path, rows: Rows, card: str | None = CARD) -> Store:
    make_store(path, sorted(rows, key=lambda row: str(row["domain"])), rows_per_shard=5)
    if card is not None:
        (path / CARD_TOML).write_text(card, encoding="utf-8")
    return Store.open(path)


def cards(out: Store) -> tuple[str, str]:
    english, chinese = ((out.path / name).read_text("utf-8") for name in ("README.md", "README.zh.md"))
    return english, chinese


def benchmark_of(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


# ---------------------------------------------------------------------------------------------
# Rules

RULES_FILE = """
[email]
severity = "off"
[id-card]
severity = "off"
[special-token]
severity = "metric"
[repetition]
share = 0.95
[words]
words = ["条件|", "天气"]
"""


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A release that its rules file let through."""
    folder = tmp_path_factory.mktemp("changed")
    rows = twin()
    for row in rows[:5]:
        row["responses"][0]["text"] += "<s>"
    (folder / "rules.toml").write_text(RULES_FILE, encoding="utf-8")
    store = to_release(folder / "store", rows)
    with pytest.raises(DataError, match=r"special-token \(5\)"):
        write_release(store, folder / "out", ReleaseConfig("1.0.0"))
    return write_release(store, folder / "out", ReleaseConfig("1.0.0", rules=load_rules(folder / "rules.toml")))


CHANGES = [
    {"rule": "special-token", "what": "severity", "value": "metric", "default": "error"},
    {"rule": "repetition", "what": "share", "value": 0.95, "default": 0.6},
    {"rule": "id-card", "what": "severity", "value": "off", "default": "error"},
    {"rule": "email", "what": "severity", "value": "off", "default": "warning"},
    {"rule": "words", "what": "words", "value": ["条件|", "天气"], "default": []},
]


def test_changed_rules_are_in_the_manifest_and_the_findings(changed: Store) -> None:
    findings = json.loads((changed.path / "findings.json").read_text("utf-8"))
    for told in (changed.manifest.release, findings):
        assert told["rules_changed"] == CHANGES
        assert told["not_checked"] == ["id-card", "email"]
    assert (findings["passed"], findings["error"]) == (True, 0)
    assert findings["rules"]["special-token"] == {"severity": "metric", "findings": 5}
    assert "email" not in findings["rules"]


def test_changed_rules_are_in_the_card_in_both_languages(changed: Store) -> None:
    english, chinese = cards(changed)
    assert "0 errors, 0 warnings" in english
    assert "**Not checked, since the rule is off: id-card, email.**" in english
    assert "**规则已关闭、没有检查的：id-card、email。**" in chinese
    table = english.partition("Rules that are not as they are by default:\n\n")[2].partition("\n\n")[0]
    assert table.splitlines() == [
        "| rule | what | is | by default |",
        "| --- | --- | --- | --- |",
        "| special-token | severity | metric | error |",
        "| repetition | share | 0.95 | 0.6 |",
        "| id-card | severity | off | error |",
        "| email | severity | off | warning |",
        r"| words | words | \+条件\|, +天气 | – |",
    ]
    table = chinese.partition("与默认不同的规则：\n\n")[2].partition("\n\n")[0]
    assert table.splitlines()[2:6] == [
        "| special-token | 严重程度 | 指标 | 错误 |",
        "| repetition | share | 0.95 | 0.6 |",
        "| id-card | 严重程度 | 关闭 | 错误 |",
        "| email | 严重程度 | 关闭 | 警告 |",
    ]
    assert "| special-token | metric (error by default) | 5 |" in english
    assert "| special-token | 指标（默认为错误） | 5 |" in chinese
    assert "**Not looked for**: id-card, email." in english
    assert "**没有查找**：中国大陆身份证号（`id-card`）、电子邮箱（`email`）。" in chinese


def test_usual_rules_are_not_told_of(tmp_path: Path) -> None:
    out = write_release(to_release(tmp_path / "store", twin()), tmp_path / "out", ReleaseConfig("1.0.0"))
    release = out.manifest.release
    assert (release["rules_changed"], release["not_checked"]) == ([], [])
    for text, words in zip(
        cards(out), (("by default", "ot checked", "Not looked for"), ("与默认不同", "默认为", "没有检查")), strict=True
    ):
        assert not [word for word in words if word in text]


# ---------------------------------------------------------------------------------------------
# Benchmarks


def contaminated(folder: Path) -> tuple[Store, Path]:
    """A store in which a query is a benchmark's, and a response to another holds its answer."""
    rows = twin()
    answer = "两管同时打开，每小时注入十二分之五，因此需要二点四小时才能注满水池。"
    rows[7]["responses"][1]["text"] = answer
    rows[3]["query"] = "一个水池有两根进水管，单开甲管六小时注满，同时打开要多久？"
    benchmark = benchmark_of(folder / "bench.jsonl", {"question": rows[3]["query"], "answer": answer})
    return to_release(folder / "store", rows), benchmark


def cleaned(store: Store, benchmark: Path, out: Path) -> Store:
    report = with_contamination(check(store), store, [benchmark], ContaminationConfig())
    return clean_store(store, report, out).store


def test_what_clean_compared_is_told_by_what_is_published(tmp_path: Path) -> None:
    store, benchmark = contaminated(tmp_path)
    (remembered,) = benchmark_checks(cleaned(store, benchmark, tmp_path / "clean").manifest)
    (used,) = remembered.against
    assert (used.name, remembered.prompts, remembered.answers) == ("bench.jsonl", 1, 1)
    assert used.sha256 == hashlib.sha256(benchmark.read_bytes()).hexdigest()
    assert (remembered.dropped.queries, remembered.dropped.responses) == (1, 1)
    assert not remembered.left
    assert remembered.tool.startswith("coig-p ")
    assert remembered.options["threshold"] == 0.8

    out = write_release(Store.open(tmp_path / "clean"), tmp_path / "out", ReleaseConfig("1.0.0"))
    assert benchmark_checks(out.manifest) == (remembered,)
    english, chinese = cards(out)
    assert f"- Compared with bench\\.jsonl (SHA-256 {used.sha256[:12]}), 1 prompt and 1 answer: 1 query" in english
    assert ": 1 query and 1 response held one of these texts and were dropped; none of these texts is in it " in english
    assert (
        f"- 与 bench\\.jsonl（SHA-256 {used.sha256[:12]}）比较过，共 1 道题目、1 个答案：1 个问题和 1 个回答" in chinese
    )
    assert "not compared" not in english


def test_every_way_of_taking_rows_away_carries_it_and_new_rows_do_not(tmp_path: Path) -> None:
    store, benchmark = contaminated(tmp_path)
    cleaned(store, benchmark, tmp_path / "clean")
    remembered = benchmark_checks(Store.open(tmp_path / "clean").manifest)
    assert remembered
    run("dedup", tmp_path / "clean", "--out", tmp_path / "a", "--similarity", "0.9")
    run("dedup", tmp_path / "a", "--out", tmp_path / "b", "--scope", "responses", "--similarity", "1")
    run("clean", tmp_path / "b", "--out", tmp_path / "c")
    assert benchmark_checks(Store.open(tmp_path / "c").manifest) == remembered
    assert (tmp_path / "c" / CARD_TOML).read_text("utf-8") == CARD
    row = {"query": "新来的问题是什么？", "responses": [{"model": "m", "text": "新来的回答。", "scores": []}]}
    rows = benchmark_of(tmp_path / "rows.jsonl", {"query_id": "n", **row})
    run("import", rows, "--domain", "chat", "--out", tmp_path / "c", "--overwrite")
    assert OPTION not in Store.open(tmp_path / "c").manifest.options
    assert (tmp_path / "c" / CARD_TOML).read_text("utf-8") == CARD


def test_what_the_gate_compared_is_remembered_beside_it(tmp_path: Path) -> None:
    store, benchmark = contaminated(tmp_path)
    clean = cleaned(store, benchmark, tmp_path / "clean")
    other = benchmark_of(tmp_path / "other.jsonl", {"question": "另一个评测集里的一道题目，与这里无关，对不对？"})
    out = write_release(clean, tmp_path / "out", ReleaseConfig("1.0.0", against=[other, benchmark]))
    # The gate's comparison has the earlier one's benchmark, and tells of what went for it.
    (remembered,) = benchmark_checks(out.manifest)
    assert [one.name for one in remembered.against] == ["other.jsonl", "bench.jsonl"]
    assert (remembered.dropped.queries, remembered.dropped.responses) == (1, 1)
    assert out.manifest.release["rules"]["contamination"]["against"] == ["other.jsonl", "bench.jsonl"]
    out = write_release(clean, tmp_path / "more", ReleaseConfig("1.0.0", against=[other]))
    assert [one.against[0].name for one in benchmark_checks(out.manifest)] == ["bench.jsonl", "other.jsonl"]
    assert cards(out)[0].count("\n- Compared with ") == 2
    # What is made of a release remembers it too.
    assert benchmark_checks(clean_store(out, check(out), tmp_path / "again").store.manifest)


def test_a_comparison_alone_is_remembered_where_that_is_asked_for(tmp_path: Path) -> None:
    store, benchmark = contaminated(tmp_path)
    before = (store.path / "manifest.json").read_bytes()
    run("contamination", store.path, "--against", benchmark, code=1)
    assert (store.path / "manifest.json").read_bytes() == before
    run("contamination", store.path, "--against", benchmark, "--record", code=1)
    store = Store.open(store.path)
    assert store.verify() == []
    (remembered,) = benchmark_checks(store.manifest)
    assert (remembered.left.queries, remembered.left.responses) == (1, 1)
    out = write_release(store, tmp_path / "out", ReleaseConfig("1.0.0"))
    english, chinese = cards(out)
    assert "**1 query and 1 response held one and were left in**" in english
    assert "**1 个问题和 1 个回答含有其中的文本，仍留在数据中**" in chinese
    assert "is a release" in run("contamination", out.path, "--against", benchmark, "--record", code=2).stderr
    # Cleaning takes its place: nothing is left, and nothing counts twice.
    (after,) = benchmark_checks(cleaned(store, benchmark, tmp_path / "clean").manifest)
    assert (after.left.queries, after.dropped.queries, after.dropped.responses) == (0, 1, 1)


def test_a_comparison_of_a_part_is_none_of_the_whole(tmp_path: Path) -> None:
    store, benchmark = contaminated(tmp_path)
    report = with_contamination(check(store), store, [benchmark], ContaminationConfig(), domains=["chat"])
    assert benchmark_checks(clean_store(store, report, tmp_path / "clean").store.manifest) == ()


def test_near_duplicates_of_other_stores_are_told(tmp_path: Path) -> None:
    rows = twin()
    rows[5]["query"] = "如何用三种不同的办法证明勾股定理是对的？"
    old = Store.open(make_store(tmp_path / "old|release", [rows[5]]))
    store, config = to_release(tmp_path / "store", rows), DedupConfig(threshold=0.9)
    for at in (1, 2):  # a second run, against nothing, forgets nothing
        others = [old] if at == 1 else []
        duplicates = find_duplicates(read_queries(store, against=others), config)
        store = dedup_store(store, tmp_path / str(at), config, duplicates, against=others).store
    told = store.manifest.options["dedup"]
    assert [(one["name"], one["queries"]) for one in told["against"]] == [("old|release", 1)]
    assert told["dropped"]["rows"] == 1
    duplicates = find_duplicates(read_queries(store), config)
    alone = dedup_store(Store.open(tmp_path / "store"), tmp_path / "alone", config, duplicates).store
    english, chinese = cards(write_release(alone, tmp_path / "first", ReleaseConfig("1.0.0")))
    assert "- Near-duplicate queries, by minhash at 0.9: 0 went" in english
    assert "- 近似重复的问题，minhash，阈值 0.9：去掉 0 个" in chinese
    english, chinese = cards(write_release(store, tmp_path / "out", ReleaseConfig("1.0.0")))
    assert r"- Near-duplicate queries, by minhash at 0.9, also of those in old\|release: 1 went" in english
    assert r"，也与 old\|release 中的问题比较：去掉 1 个" in chinese


# ---------------------------------------------------------------------------------------------
# What keeps it shut


def test_the_datas_errors_stand_first_and_the_cards_are_all_there(tmp_path: Path) -> None:
    rows = twin()
    rows[5]["responses"][1]["text"] += "</s>"
    card = (
        CARD.replace('license = "cc-by-4.0"', "").replace('"CC0"', '""').replace('"@misc{trial, title={Trial}}"', '" "')
    )
    store = to_release(tmp_path / "store", rows, card + 'errata = [{date = "x"}, {}]\ntags = [1]\nextra = 2\n')
    with pytest.raises(DataError) as refused:
        write_release(store, tmp_path / "out", ReleaseConfig("1.0.0"))
    words = (
        r"special-token \(1\)",
        "coigp clean",
        "license is not filled in",
        "citation is not filled in",
        r"sources \[0\] has no license",
        r"errata \[0\] has no text",
        r"errata \[1\] has no text",
        "tags must be a list",
        "extra is not a field",
    )
    assert re.search(".*".join(words), str(refused.value), re.DOTALL)
    assert not (tmp_path / "out").exists()
    said = run("publish", store.path, "--version", "1.0.0", "--target", f"dir:{tmp_path / 'out'}", code=1).stderr
    assert said.index("special-token") < said.index("license is not filled in")
    said = run("card", store.path, code=1).stderr
    assert said.index("special-token") < said.index("license is not filled in")


def test_no_pairs_and_no_card_are_said_together(tmp_path: Path) -> None:
    rows = twin()
    for score in (score for row in rows for response in row["responses"] for score in response["scores"]):
        score["score"] = 5.0
    store = to_release(tmp_path / "store", rows, None)
    with pytest.raises(DataError, match=r"(?s)no two responses make a pair.*card\.toml is missing.*coigp card"):
        write_release(store, tmp_path / "out", ReleaseConfig("1.0.0"))
    with pytest.raises(DataError, match=r"not released, \S*card\.toml is missing"):
        write_release(store, tmp_path / "out", ReleaseConfig("1.0.0", pairs=None))


def test_a_hint_for_changed_rules_says_to_pass_them_again(tmp_path: Path) -> None:
    rows = twin()
    rows[5]["responses"][1]["text"] += "</s>"
    store = to_release(tmp_path / "store", rows)
    (tmp_path / "rules.toml").write_text('[email]\nseverity = "off"\n', encoding="utf-8")
    with pytest.raises(DataError, match="both with the same --rules"):
        write_release(store, tmp_path / "out", ReleaseConfig("1.0.0", rules=load_rules(tmp_path / "rules.toml")))
    with pytest.raises(DataError, match=r"--out STORE2$"):
        write_release(store, tmp_path / "out", ReleaseConfig("1.0.0"))


# ---------------------------------------------------------------------------------------------
# The changelog


def releases(*versions: str) -> str:
    return "".join(f'[[releases]]\nversion = "{version}"\nchanges = "Of {version}."\n' for version in versions)


@pytest.mark.parametrize("told", [["1.0.0"], ["1.1.0", "1.0.0"], ["v1.2.0"], ["2.0.0-beta"]])
def test_a_changelog_that_ends_before_the_version_is_refused(told: list[str], tmp_path: Path) -> None:
    store = to_release(tmp_path / "store", twin(), CARD + releases(*told))
    words = rf"releases tells of {', '.join(told)} and not of 2\.0\.0: add \[\[releases\]\] with version = \"2\.0\.0\""
    with pytest.raises(DataError, match=words):
        write_release(store, tmp_path / "out", ReleaseConfig("2.0.0", pairs=None))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("told", [[], ["2.0.0"], ["1.0.0", "2.0.0"], ["v2.0.0", "1.0.0"], ["3.0.0", "2.0.0"]])
def test_a_changelog_that_has_the_version_or_none_is_fine(told: list[str], tmp_path: Path) -> None:
    store = to_release(tmp_path / "store", twin(), CARD + releases(*told))
    out = write_release(store, tmp_path / "out", ReleaseConfig("2.0.0", pairs=None))
    assert all(f"Of {version}." in text for text in cards(out) for version in told)
    assert "**2.0.0**" in cards(out)[0] or "**v2.0.0**" in cards(out)[0]


def test_a_chinese_changelog_that_ends_before_the_version_is_refused(tmp_path: Path) -> None:
    chinese = '[chinese]\nreleases = [{version = "1.0.0", changes = "首次发布。"}]\n'
    store = to_release(tmp_path / "store", twin(), CARD + releases("1.0.0", "1.1.0") + chinese)
    with pytest.raises(DataError, match=r"toml: chinese\.releases tells of 1\.0\.0 and not of 1\.1\.0"):
        write_release(store, tmp_path / "out", ReleaseConfig("1.1.0", pairs=None))
    write_release(store, tmp_path / "out", ReleaseConfig("1.0.0", pairs=None))


def test_a_card_is_printed_for_the_newest_version_that_is_told(tmp_path: Path) -> None:
    store = to_release(tmp_path / "store", twin(), CARD + releases("1.9.0", "1.10.0", "1.10.0-beta", "soon")).path
    assert "Version 1.10.0" in run("card", store).stdout.replace("version", "Version")
    assert 'revision="v1.9.0"' in run("card", store, "--version", "1.9.0").stdout
    assert "and not of 1.0.0" in run("card", store, "--version", "1.0.0", code=1).stderr


# ---------------------------------------------------------------------------------------------
# What goes along


def test_the_card_toml_goes_along_and_is_not_published(tmp_path: Path) -> None:
    store = to_release(tmp_path / "store", twin())
    out = write_release(store, tmp_path / "out", ReleaseConfig("1.0.0", pairs=PairConfig(threshold=4)))
    assert (out.path / CARD_TOML).read_text("utf-8") == CARD
    assert CARD_TOML not in {file.path for file in out.manifest.files}
    assert out.verify() == []
    (out.path / "notes.txt").write_text("mine", encoding="utf-8")
    said = run("publish", store.path, "--version", "1.0.0", "--target", f"dir:{out.path}", "--overwrite", code=2).stderr
    assert "holds more than a store (notes.txt)" in said
    assert (out.path / "notes.txt").exists()


def test_a_benchmarks_columns_are_named_to_publish_too(tmp_path: Path) -> None:
    store = to_release(tmp_path / "store", twin())
    asked = store.path / ".." / "exam.jsonl"
    query = str(twin()[0]["query"])
    benchmark = benchmark_of(asked, {"题目": query, "答": "甲"})
    options = ("--version", "1.0.0", "--target", f"dir:{tmp_path / 'out'}", "--against", benchmark)
    said = run("publish", store.path, *options, code=1).stderr
    assert "题目" in said
    said = run("publish", store.path, *options, "--map", "prompt=题目,answer=答", code=1).stderr
    assert "contamination" in said
    assert "--map 'prompt=题目' --map 'answer=答'" in said  # in what to run next
    assert "pass --against" in run("publish", store.path, *options[:4], "--map", "prompt=题目", code=2).stderr
