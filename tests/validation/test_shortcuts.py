"""Shortcuts of the checks against what is slow and obvious."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import oracle_pairs, same_name
from strategies import Row, examples, raw_rows

from coig_p.schema import RAW_SCHEMA
from coig_p.stats.batch import Observed
from coig_p.store.manifest import Manifest
from coig_p.validation.checks.integrity import (
    _IS_AI,
    _REFUSES,
    _SAYS_WHO,
    _different_10_grams,
    _family,
    _last_visible,
    ai_disclosure,
    refusal,
    self_identity,
)
from coig_p.validation.checks.letters import COUNTED, HANGUL, KANA, TRADITIONAL, flags
from coig_p.validation.checks.privacy import _runs
from coig_p.validation.checks.rows import BatchView, _repeated
from coig_p.validation.checks.texts import Texts
from coig_p.validation.checks.totals import Totals

Drawn = list[list[Row]]
SIDES = ("chosen", "rejected")
SAID = (
    *("我是", "我叫", "我的名字叫", "I am ", "i'M ", "My name is ", "通义", "GPT", "Claude", "。", "为", "很抱歉，"),
    *("对不起", "不好意思", "无法", "我不能", "回答", "sorry, but", "i cannot ", "help", "作为", "身为", "一个", "AI"),
    *("ai", "as an ", "an ai", "我", "不", "i", "甲" * 190),
)
MANIFEST = Manifest(score_range=(1, 10), default_threshold=2, tool="test")


def batch_of(rows: list[list[str | None]], model: str = "m") -> pa.RecordBatch:
    """A row for each list of responses."""
    made: list[dict[str, Any]] = [
        {
            "query_id": str(at),
            "domain": "math",
            "query": "问",
            "responses": [{"model": model, "text": text, "scores": []} for text in row],
        }
        for at, row in enumerate(rows)
    ]
    return pa.RecordBatch.from_pylist(made, schema=RAW_SCHEMA)


@given(st.lists(st.text("1２ -.甲", max_size=20), max_size=6))
def test_runs_of_digits_are_those_that_a_pattern_finds(responses: list[str]) -> None:
    texts = Texts(batch_of([list(responses)]))
    wanted = []
    for text, start in enumerate(texts.starts[:-1].tolist()):
        for found in re.finditer(r"[1２](?:[ -]?[1２])*", texts.string(text)):
            wanted.append((start + found.start(), start + found.end(), len(re.findall("[1２]", found[0]))))
    begin, end, digits = _runs(texts, (ord(" "), ord("-")))
    assert list(zip(begin.tolist(), end.tolist(), digits.tolist(), strict=True)) == wanted


@given(
    st.lists(
        st.tuples(st.text("a甲か한體 \n\u200b浣é", max_size=6), st.sampled_from([0, 1, 1, 1, 900, 4095])), max_size=6
    )
)
def test_flags_are_counted_character_by_character(parts: list[tuple[str, int]]) -> None:
    texts = Texts(batch_of([[text * times for text, times in parts]]))
    for flag in (*COUNTED, TRADITIONAL, KANA, KANA | HANGUL):
        wanted = [sum(bool(flags()[ord(letter)] & flag) for letter in texts.string(at)) for at in range(len(texts))]
        assert texts.count(flag).tolist() == wanted


def test_nothing_is_counted_where_there_is_no_text() -> None:
    texts = Texts(batch_of([]))
    for flag in (*COUNTED, TRADITIONAL):
        assert texts.count(flag).tolist() == []


@given(st.lists(st.text("a甲。 \n\u3000\u200b", max_size=6), max_size=6))
def test_the_last_visible_character_is_what_is_left_without_white_space(responses: list[str]) -> None:
    texts = Texts(batch_of([list(responses)]))
    wanted = [ord(text.rstrip()[-1]) if text.strip() else 0 for text in ["问", *responses]]
    assert _last_visible(texts).tolist() == wanted


@given(st.lists(st.tuples(st.text("ab甲", max_size=40), st.integers(1, 4)), min_size=1, max_size=5))
def test_no_more_10_grams_are_said_to_differ_than_do(parts: list[tuple[str, int]]) -> None:
    texts = [text * times for text, times in parts]
    letters = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
    sizes = np.array([len(text) for text in texts])
    for step in (1, 2):
        found = _different_10_grams(letters, sizes, step)
        for text, number in zip(texts, found.tolist(), strict=True):
            assert number <= len({text[at : at + 10] for at in range(len(text) - 9)})


def test_nearly_all_10_grams_of_prose_are_said_to_differ() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(40, 2000, 30)
    letters = rng.integers(0x4E00, 0x9FFF, sizes.sum()).astype(np.uint32)
    for step in (1, 2):
        found = _different_10_grams(letters, sizes, step)
        assert (found >= 0.8 * ((sizes - 9) // step)).all()
        assert (found <= -(-(sizes - 9) // step)).all()


@given(st.lists(st.lists(st.sampled_from(["a", "b", "cc", "甲", "dd", None, ""]), max_size=8), min_size=1, max_size=4))
def test_a_repeated_text_is_found_with_the_first_that_has_it(rows: list[list[str | None]]) -> None:
    wanted, at = [], 0
    for row in rows:
        seen: dict[str, int] = {}
        for text in row:
            if text is not None and text in seen:
                wanted.append((at, seen[text]))
            elif text is not None:
                seen[text] = at
            at += 1
    assert list(_repeated(BatchView(Observed(batch_of(rows)), MANIFEST))) == wanted


@given(st.lists(st.lists(st.sampled_from(SAID), max_size=9).map("".join), max_size=4))
def test_what_answers_say_of_themselves_is_what_patterns_find(responses: list[str]) -> None:
    texts = Texts(batch_of([list(responses)], model="qwen2"))
    for rule, pattern in ((refusal, _REFUSES), (ai_disclosure, _IS_AI)):
        wanted = [at for at in range(len(texts)) if re.search(pattern, texts.string(at)[:200])]
        assert rule(texts).text.tolist() == wanted
    said = {at: _SAYS_WHO.search(texts.string(at)) for at in range(1, len(texts))}
    others = {at: found.start() for at, found in said.items() if found and _family(found[0]) != "qwen"}
    found = self_identity(texts)
    assert dict(zip(found.text.tolist(), found.offset.tolist(), strict=True)) == others


def test_who_a_model_says_it_is_is_found_in_every_wording() -> None:
    said = ["我是Claude", "我叫豆包", "我的名字是文心", "I am Claude", "i'm bard", "MY NAME IS Kimi", "x，I'M Claude"]
    for nth, text in enumerate(said):
        texts = Texts(batch_of([["好的。", f"您好，{text}", "我们是朋友"]], model="qwen2"))
        assert self_identity(texts).text.tolist() == [2], nth


@pytest.mark.parametrize("many", [False, True])
@examples(50)
@given(rows=st.lists(raw_rows(), max_size=3), data=st.data())
def test_pairs_of_other_judges_are_those_counted_by_hand(
    many: bool, rows: list[list[Row]], data: st.DataObject
) -> None:
    whole = [
        row | {"domain": "chat", "query_id": f"{at}-{row['query_id']}"} for at, own in enumerate(rows) for row in own
    ]
    if many:  # more judges than a machine word has bits
        names = [{"judge": f"j{at:03d}", "dimension": "overall", "score": 5.0} for at in range(70)]
        for row in whole:
            for response in row["responses"]:
                response["scores"] = [*(response["scores"] or []), *data.draw(st.sampled_from([[], names, names[1:]]))]
    counted, apart, example = 0, [], None
    for row in whole:
        answers = {response["model"]: response for response in row["responses"]}
        judges = {
            model: {one["judge"] for one in answer["scores"] or [] if not same_name(one["judge"], model)}
            for model, answer in answers.items()
        }
        for pair in oracle_pairs([row], threshold=2):
            sides = [(pair[f"{side}_model"], tuple(sorted(judges[pair[f"{side}_model"]]))) for side in SIDES]
            if all(names for _, names in sides):
                counted += 1
                if sides[0][1] != sides[1][1]:
                    apart.append(row["query_id"])
                    told = (row["query_id"], *sides[0], *sides[1])
                    example = told if example is None else min(example, told)
    totals = Totals(MANIFEST)
    for row in data.draw(st.permutations(whole)):
        part = Totals(MANIFEST)
        part.add(Observed(pa.RecordBatch.from_pylist([row], schema=RAW_SCHEMA)))
        totals.merge(part)
    if not whole:
        return
    assert totals.total("scored pairs", "chat") == counted
    assert totals.total("judged apart", "chat") == len(apart)
    assert totals.total("queries judged apart", "chat") == len(set(apart))
    assert totals.judged_apart.get("chat") == example
    together = Totals(MANIFEST)
    together.add(Observed(pa.RecordBatch.from_pylist(whole, schema=RAW_SCHEMA)))
    assert (together.counts, together.judged_apart) == (totals.counts, totals.judged_apart)
