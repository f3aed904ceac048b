"""The checks: every rule finds its plant, in the right place, and nothing in the clean twin."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from make import twin
from planting import (
    PLANTS,
    store_of,
    text_plant,
)

from coig_p.validation import check
from coig_p.validation.rules import RULES

CASES = [(rule, at) for rule, plants in PLANTS.items() for at in range(len(plants))]


def rules_with_words(folder: Path) -> Path:
    path = folder / "rules.toml"
    path.write_text('[words]\nwords = ["badword"]\n')
    return path


def test_every_rule_has_a_plant() -> None:
    assert PLANTS.keys() == RULES.keys()


def test_the_clean_twin_has_no_error_and_no_warning(tmp_path: Path) -> None:
    report = check(store_of(twin(), tmp_path / "store"), rules=rules_with_words(tmp_path))
    assert report.passed
    found = {rule: number for rule, number in report.by_rule().items() if number}
    assert {report.rules[rule].severity for rule in found} == {"metric"}, found
    assert (report.queries, report.responses) == (24, 96)


@pytest.mark.parametrize(("rule", "at"), CASES, ids=[f"{rule}-{at}" for rule, at in CASES])
def test_each_plant_is_found_where_it_is(rule: str, at: int, tmp_path: Path) -> None:
    rows = twin()
    place = PLANTS[rule][at](rows)
    store = store_of(rows, tmp_path / "store")
    if rule == "files":
        (store / "notes.txt").touch()
    if rule == "manifest-counts":
        manifest = json.loads((store / "manifest.json").read_text("utf-8"))
        manifest["files"][0]["responses"] += 1
        (store / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    report = check(store, rules=rules_with_words(tmp_path))
    found = [finding for finding in report.findings.to_pylist() if finding["rule"] == rule]
    assert [finding for finding in found if place.items() <= finding.items()], found
    if place["query_id"] is not None:
        assert len(found) == 1
    assert {finding["severity"] for finding in found} == {RULES[rule].severity}
    errors = {id for id, number in report.by_rule().items() if number and report.rules[id].severity == "error"}
    # A plant is not taken for another's; but Latin-1 has control characters among its letters.
    assert errors <= ({rule, "control-character"} if rule == "mojibake" else {rule})


@pytest.mark.parametrize(
    "text",
    [
        "家庭👨\u200d👩\u200d👧和彩虹🏳️\u200d🌈。",
        "有两点：1）先看题；2）再作答。",
        "1) 第一\n2) 第二\n10) 第十\na) 甲（见上）。",
        "时间复杂度是O(n log n)，不是O(1)。:)",
        "版本号是 1.2.3，地址是192.168.0.1和127.0.0.1。",
        "圆周率是3.14159265358979323846，编号13800138000123。",
        "日语里的“猫”怎么写？",
        "代码 `a[0]` 和 @property 都可以，价格是$5。",
        "他说：“浣熊和涓流都是常用词，鏖战也是。”",
        "删除线：\n```html\n<s>旧</s>\n```\n就这样。",
        "<div>标签</div> 和 x<y 不是特殊标记。",
        "推理模型把思考写在 `<think>` 和 `</think>` 之间。",
        "它先写“<think>”，想完了再写“</think>”，然后作答。",
        "例如：\n```\n<think>\n先看条件。\n</think>\n答案是三。\n```\n就是这样。",
        "它写成 <think>想。</think>\n这样的形式。",
        "The </think> tag closes it，这是结束标签。",
        "烫烫烫，这碗汤太烫了。",
        "如下：```python\nprint(1)\n```",
        "1. ```bash\n   npm install\n   ```\n2. 完了~~~",
    ],
)
def test_ordinary_texts_are_let_be(text: str, tmp_path: Path) -> None:
    rows = twin()
    text_plant(text)(rows)
    report = check(store_of(rows, tmp_path / "store"))
    assert {rule for rule, number in report.by_rule().items() if number and RULES[rule].severity != "metric"} <= {
        "length-bias"
    }
