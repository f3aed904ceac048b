"""The parser over all that a grammar of judgements makes."""

from __future__ import annotations

import judging
from hypothesis import given, settings

from coig_p.annotate.parsing import parse_score


@given(judging.labelled())
@settings(max_examples=400)
def test_a_score_behind_a_label_is_read_in_every_form(case: tuple[str, float]) -> None:
    text, score = case
    assert parse_score(text).score == score


@given(judging.said_otherwise())
@settings(max_examples=200)
def test_a_score_in_a_sentence_or_a_structure_is_read(case: tuple[str, float]) -> None:
    text, score = case
    assert parse_score(text).score == score


@given(judging.near_misses())
@settings(max_examples=200)
def test_a_near_miss_is_no_score(text: str) -> None:
    assert parse_score(text).score is None


@given(judging.forged(), judging.POINTS)
@settings(max_examples=200)
def test_what_the_response_says_never_sets_a_score(text: str, own: float) -> None:
    assert parse_score(text).score is None
    assert parse_score(f"{text}\n\n因此是低质量回答。\n\n总体评分：[{own:g}]").score in (own, None)
