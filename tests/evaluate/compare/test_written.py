"""Languages and scripts: the texts that the checks name, and no others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from compared import imported

from coig_p.evaluate.compare.written import written_in
from coig_p.store.store import Store
from coig_p.validation import check
from coig_p.validation.checks.script import language

ROWS = [
    {"prompt": "什么是重力？", "chosen": "物体之间的吸引。", "rejected": "不知道。"},
    {"prompt": "請問這個問題應該怎麼回答？", "chosen": "應該這樣回答這個問題。", "rejected": "我不清楚你在说什么呢。"},
    {
        "prompt": "他在臺北的时候都去过哪些地方，又见过哪些人，一路上吃了什么，住在哪里，花了多少钱？",
        "chosen": "去过很多。",
        "rejected": "没有去过。",
    },
    {"prompt": "Translate this sentence into English, please.", "chosen": "This is what it says.", "rejected": "42"},
    {"prompt": "これは何ですか？", "chosen": "これは本です。", "rejected": "說明書です。"},
]


def test_languages_are_those_of_each_text(tmp_path: Path) -> None:
    found = written_in(Store.open(imported(tmp_path / "s", ROWS)))
    queries = Counter(language(row["prompt"]) for row in ROWS)
    responses = Counter(language(row[side]) for row in ROWS for side in ("chosen", "rejected"))
    assert found.queries == queries
    assert found.responses == responses
    assert {"zh", "en", "ja"} <= set(queries)
    assert responses["und"] == 1


def test_scripts_are_those_of_the_checks(tmp_path: Path) -> None:
    store = Store.open(imported(tmp_path / "s", ROWS))
    findings = check(store).findings.to_pylist()
    named = {
        rule: {(one["query_id"], one["field"]) for one in findings if one["rule"] == rule}
        for rule in ("script-traditional", "script-some-traditional")
    }
    found = written_in(store).result()
    assert found.traditional == len(named["script-traditional"]) >= 2
    assert found.some_traditional == len(named["script-some-traditional"]) == 1
    chinese = sum(language(row[name]) == "zh" for row in ROWS for name in ("prompt", "chosen", "rejected"))
    assert found.simplified == chinese - found.traditional - found.some_traditional
