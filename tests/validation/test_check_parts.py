"""The same findings however the work is cut; privacy, hostile text, and files of rules."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import run
from hypothesis import given
from hypothesis import strategies as st
from make import twin
from planting import (
    ID_CARD,
    batch_of,
    store_of,
    text_plant,
    with_everything,
)
from strategies import examples

from coig_p.errors import NO_MORE_THREADS, StoreError, UnknownNameError, UsageError
from coig_p.schema import RAW_SCHEMA
from coig_p.store.store import Store
from coig_p.validation import check, load_rules
from coig_p.validation.checks import CHECKS
from coig_p.validation.checks.integrity import _repeated_share, repetition
from coig_p.validation.checks.letters import CONTROL, DIGIT, HAN, KANA, LETTER, PRIVATE, RARE, TRADITIONAL, WHITE
from coig_p.validation.checks.privacy import is_id_number, passes_luhn
from coig_p.validation.checks.texts import Texts
from coig_p.validation.findings import redacted
from coig_p.validation.rules import RULES, Rule


def test_findings_do_not_depend_on_batches_shards_or_processes(tmp_path: Path) -> None:
    rows = with_everything()
    wanted = check(store_of(rows, tmp_path / "a")).findings
    assert wanted.num_rows > 10
    for size in (1, 3, 1000):
        with patch("coig_p.validation.gate.TEXTS_OF", size):
            assert check(tmp_path / "a").findings.equals(wanted)
    assert check(store_of(rows[::-1], tmp_path / "b", rows_per_shard=3)).findings.equals(wanted)
    assert check(tmp_path / "b", num_proc=2).findings.equals(wanted)
    both = pa.concat_tables([check(tmp_path / "a", domains=[domain]).findings for domain in ("chat", "math")])
    rules = [rule for rule in both.column("rule").to_pylist() if RULES[rule].over != "totals"]
    assert sorted(rules) == sorted(r for r in wanted.column("rule").to_pylist() if RULES[r].over != "totals")


ALPHABET = st.sampled_from(
    ["甲", "乙", "這", "a", "あ", "한", " ", "\n", "1", "１", "\x07", "\ue000", "\U00020000", "。"]
)


TEXTS = st.lists(st.text(ALPHABET, max_size=12), max_size=6)


@examples(200)
@given(st.lists(st.tuples(st.text(ALPHABET, max_size=8), TEXTS), min_size=1, max_size=4))
def test_texts_count_letter_by_letter(rows: list[tuple[str, list[str]]]) -> None:
    queries, responses = [query for query, _ in rows], [texts for _, texts in rows]
    texts = Texts(batch_of(queries, responses))
    whole = [*queries, *(text for own in responses for text in own)]
    assert [texts.string(at) for at in range(len(texts))] == whole
    assert texts.sizes.tolist() == list(map(len, whole))
    assert texts.row.tolist() == [*range(len(rows)), *(at for at, own in enumerate(responses) for _ in own)]
    slow = {
        HAN: lambda c: "\u4e00" <= c <= "\u9fff" or c == "\U00020000",
        KANA: lambda c: c == "あ",
        LETTER: str.isalpha,
        DIGIT: lambda c: c in "1１",
        WHITE: str.isspace,
        CONTROL: lambda c: c == "\x07",
        PRIVATE: lambda c: c == "\ue000",
        TRADITIONAL: lambda c: c == "這",
    }
    for flag, is_it in slow.items():
        places = np.flatnonzero(texts.flags & np.uint32(flag))
        counted = np.bincount(texts.text_of(places), minlength=len(texts)) if flag == DIGIT else texts.count(flag)
        assert counted.tolist() == [sum(map(is_it, text)) for text in whole]
        if not flag & RARE:
            continue
        first = [(at, next(i for i, c in enumerate(t) if is_it(c))) for at, t in enumerate(whole) if any(map(is_it, t))]
        hits = texts.hits(texts.where(flag))
        assert list(zip(hits.text.tolist(), hits.offset.tolist(), strict=True)) == first


@examples(100)
@given(st.lists(st.one_of(st.text("ab", max_size=60), st.text("ab", max_size=9).map(lambda t: t * 9)), max_size=5))
def test_repetition_is_the_share_of_10_grams_seen_before(responses: list[str]) -> None:
    found = repetition(Texts(batch_of(["问"], [responses])), share=0.6, least=30).text
    wanted = [at + 1 for at, t in enumerate(responses) if len(t) >= 39 and _repeated_share(t) > 0.6]
    assert found.tolist() == wanted


@pytest.mark.parametrize("number", [ID_CARD, ID_CARD.lower(), "440308199901101512"])
def test_identity_numbers(number: str) -> None:
    assert is_id_number(number)
    for at in range(17):
        wrong = number[:at] + str((int(number[at]) + 1) % 10) + number[at + 1 :]
        assert not is_id_number(wrong)
    assert not is_id_number("99" + number[2:])


def test_luhn() -> None:
    assert passes_luhn("4111 1111 1111 1111")
    assert not passes_luhn("4111 1111 1111 1112")


def test_a_long_decimal_is_no_number_of_anybody(tmp_path: Path) -> None:
    rows = twin()
    text_plant("自然对数约为3.4339872044851463，圆周率约为3.14159265358，根号四十一约为6.4031242374328485。")(rows)
    found = check(store_of(rows, tmp_path / "store")).by_rule()
    assert [found[rule] for rule in ("mobile", "id-card", "bank-card")] == [0, 0, 0]


def test_no_finding_shows_a_number_or_an_address(tmp_path: Path) -> None:
    secret = f"证件{ID_CARD}，电话138-0013-8000，卡4111111111111111，邮箱zhang.san@example.com \n"
    rows = twin()
    text_plant(secret)(rows)
    report = check(store_of(rows, tmp_path / "store"))
    found = report.by_rule()
    assert all(found[rule] == 1 for rule in ("mobile", "id-card", "bank-card", "email", "outer-whitespace"))
    for excerpt in report.findings.column("excerpt").to_pylist():
        assert not re.search(r"\d{4}|zhang|0013|example", excerpt), excerpt
    assert redacted("前 138 0013 8000 后") == "前 ************* 后"


@pytest.mark.parametrize(
    "unit",
    [
        "<|",
        "[INST",
        "```\n",
        "```c\n",
        "x```y\n",
        "~~~ ",
        "$",
        "\\begin{",
        "(",
        "@a",
        "1",
        "1 ",
        "1.1.",
        "a@a.",
        "我是",
        "很抱歉",
        "锟斤",
        "á",
        "ä½",
        "\u200d",
        "<s",
        "浣犲",
    ],
)
def test_hostile_repetition_neither_crashes_nor_hangs(unit: str) -> None:
    texts = Texts(batch_of([unit * (100_000 // len(unit))], [[unit * (300_000 // len(unit))]]))
    for rule in RULES.values():
        if rule.over == "texts":
            CHECKS[rule.id](texts, **rule.options)


def test_a_rules_file_changes_severity_thresholds_and_words(tmp_path: Path) -> None:
    rows = twin()
    text_plant("答案就是三，这个字是個。")(rows)
    store = store_of(rows, tmp_path / "store")
    path = tmp_path / "rules.toml"
    path.write_text(
        '[script-traditional]\nshare = 0.01\nseverity = "warning"\n[outer-whitespace]\nseverity = "off"\n'
        '[words]\nwords = ["答案"]\nseverity = "error"\n',
        encoding="utf-8",
    )
    report = check(store, rules=path)
    assert report.by_rule()["script-traditional"] == 1
    assert "outer-whitespace" not in report.rules
    assert report.by_rule()["words"] == 96
    assert not report.passed
    effective = report.effective_rules()
    assert effective["script-traditional"] == {"severity": "warning", "share": 0.01}
    assert json.loads(json.dumps(effective))["words"] == {"severity": "error", "words": ["答案"]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[script-traditonal]\n", "unknown rule 'script-traditonal'. Did you mean 'script-traditional'"),
        ("[empty]\nshare = 1\n", "unknown option of empty 'share'"),
        ('[empty]\nseverity = "fatal"\n', "unknown severity of empty 'fatal'"),
        ('[script-traditional]\nshare = "a lot"\n', "share of script-traditional is 'a lot': give a number"),
        (
            "[script-traditional]\nshare = nan\n",
            r"rules\.toml: share of script-traditional is nan: give a number from 0",
        ),
        ("[repetition]\nshare = inf\n", "share of repetition is inf: give a number from 0 to 1"),
        ("[rare-domain]\nshare = -0.1\n", "share of rare-domain is -0.1: give a number from 0 to 1"),
        ("[mixed-script]\nmost = 30\n", "most of mixed-script is 30: give a number from 0 to 1"),
        ("[score-conflict]\napart = inf\n", "apart of score-conflict is inf: give a number from 0 to 1,000,000,000"),
        ("[too-few-responses]\nleast = -1\n", "least of too-few-responses is -1: give a number from 0 to"),
        ("[rare-judge]\nleast = " + "9" * 400 + "\n", "give a number from 0 to"),
        ("[rare-judge]\nleast = true\n", "least of rare-judge is True: give a number"),
        ('[words]\nwords = "one"\n', "words of words is 'one': give a list of strings"),
        ("empty = 1\n", r"write \[empty\] and below it"),
        ("[", "is not TOML"),
    ],
)
def test_a_rules_file_that_cannot_be(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=words) as refused:
        load_rules(path)
    assert str(refused.value).startswith(str(path))
    with pytest.raises(UsageError, match="cannot be read"):
        load_rules(tmp_path / "none.toml")


@pytest.mark.parametrize("rule", [rule for rule in RULES.values() if rule.options], ids=lambda rule: rule.id)
def test_every_number_of_a_rules_file_is_finite_and_the_defaults_are_allowed(rule: Rule, tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    for name, default in rule.options.items():
        if not isinstance(default, tuple):
            path.write_text(f"[{rule.id}]\n{name} = {default}\n")
            assert load_rules(path) == RULES
            for value in ("nan", "inf", "-inf", "-1"):
                path.write_text(f"[{rule.id}]\n{name} = {value}\n")
                with pytest.raises(UsageError, match=f"{name} of {rule.id} is {value}: give a number from 0 to "):
                    load_rules(path)


def test_options_of_check_that_cannot_be(tmp_path: Path) -> None:
    store = store_of(twin(), tmp_path / "store")
    with pytest.raises(UnknownNameError, match="unknown domain 'maths'"):
        check(Store.open(store), domains=["maths"])
    odd: list[Any] = [0, 1.5, "2", True]
    for number in odd:
        with pytest.raises(UsageError, match=f"num_proc={number!r}: use a whole number"):
            check(store, num_proc=number)
    engine: Any = "ray"
    with pytest.raises(UsageError, match=r"engine='ray': give an executor, as coig_p\.engine\.ray\.RayExecutor\(\)"):
        check(store, engine=engine)


def test_a_system_that_starts_no_more_threads_is_told(tmp_path: Path) -> None:
    store = store_of(twin(), tmp_path / "store")

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("Failed to launch worker thread: Resource temporarily unavailable")

    with patch.object(pq.ParquetFile, "iter_batches", refuse):
        said = run("check", store, "--num-proc", 1, code=1).stderr
        assert said == f"error: {NO_MORE_THREADS}\n"
    with patch("coig_p.validation.check", Mock(side_effect=RuntimeError("can't start new thread"))):
        said = run("check", store, code=1).stderr
    assert said == f"error: {NO_MORE_THREADS}\n"


def test_a_shard_changed_behind_the_manifest_is_a_finding_and_one_of_other_columns_an_error(tmp_path: Path) -> None:
    store = store_of(twin(), tmp_path / "store")
    shard = next(store.glob("data/chat/*.parquet"))
    rows = pq.read_table(shard).to_pylist()
    rows[0]["responses"][0]["text"] += "\ufffd"
    pq.write_table(pa.Table.from_pylist(rows, schema=RAW_SCHEMA), shard)
    found = check(store).by_rule()
    assert (found["files"], found["replacement-character"]) == (1, 1)
    pq.write_table(pa.table({"query": ["一"]}), shard)
    with pytest.raises(StoreError, match="its columns are not those of a store"):
        check(store)
