"""Scripted models answer all that a TaP run asks, in both languages, in the form that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from coig_p.annotate.scripted import scripted_answer
from coig_p.annotate.tap.parsing import (
    parse_completeness,
    parse_eight,
    parse_feasible,
    parse_prompt,
    parse_refined,
    parse_types,
)
from coig_p.annotate.tap.scripted import tap_answer
from coig_p.annotate.taxonomy.prompts import TapPrompts, read_prompts
from coig_p.annotate.taxonomy.reading import read_taxonomy
from coig_p.annotate.taxonomy.tree import Subject

LANGUAGES = ("zh", "en")


def said(*texts: str, model: str = "scripted-1") -> dict[str, Any]:
    roles = ("user", "assistant")
    return {"model": model, "messages": [{"role": roles[at % 2], "content": text} for at, text in enumerate(texts)]}


def subjects(language: str) -> list[Subject]:
    if language == "zh":
        return read_taxonomy(None).subjects()[:20]
    return read_taxonomy(Path(__file__).parents[2] / "docs" / "recipes" / "subjects.en.toml").subjects()


def converse(texts: TapPrompts, subject: Subject) -> list[list[tuple[str, str]]]:
    asked, rounds = [texts.types(subject)], []
    for _ in range(3):
        answer = tap_answer(said(*asked))
        assert answer is not None
        read = parse_types(answer, texts.words)
        assert read.reason is None
        rounds.append([(one.name, one.description) for one in read.types])
        asked += [answer, texts.more_types(subject)]
    return rounds


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_answer_can_be_used(language: str) -> None:
    texts = read_prompts(language)
    words = texts.words
    verdicts, lacks = set(), set()
    for subject in subjects(language):
        rounds = converse(texts, subject)
        assert [len(one) for one in rounds] in ([6, 5, 3], [6, 6, 6])
        for name, described in rounds[0]:
            refined = tap_answer(said(texts.refine(subject, name, described))) or ""
            assert parse_refined(refined, words).reason is None
            asked = [texts.prompt(subject, name, refined)]
            for _ in range(5):
                written = tap_answer(said(*asked)) or ""
                prompt = parse_prompt(written, words)
                assert prompt.reason is None
                checked = tap_answer(said(*asked, written, texts.complete)) or ""
                whole = parse_completeness(checked, words)
                assert whole.reason is None
                lacks.add(whole.lacks)
                verdict = tap_answer(said(texts.feasible(whole.prompt or prompt.prompt or ""))) or ""
                found = parse_feasible(verdict, words)
                assert found.reason is None
                verdicts.add(found.feasible)
                if found.feasible:
                    break
                asked += [written, texts.regenerate(found.reasons)]
            else:
                pytest.fail("no candidate of a type was feasible")
    assert verdicts == lacks == {True, False}


@pytest.mark.parametrize("language", LANGUAGES)
def test_judges_give_eight_scores_and_more_to_what_is_shown_first(language: str) -> None:
    texts = read_prompts(language)
    one, other = ("\n".join(f"{at}. 步骤" for at in range(1, steps)) for steps in (4, 6))
    differences = []
    for judge in ("j-1", "j-2", "j-3", "j-4"):
        both = [
            parse_eight(tap_answer(said(texts.compare("问", *shown), model=judge)) or "", texts.words)
            for shown in ((one, other), (other, one))
        ]
        assert all(read.reason is None and read.first and read.second for read in both)
        differences.append(sum(both[0].first or ()) - sum(both[1].second or ()))
    assert min(differences) == 0 < max(differences)


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_answer_that_could_not_be_used_is_given_again(language: str) -> None:
    texts = read_prompts(language)
    first = texts.feasible("请写三点。")
    assert tap_answer(said(first, "合理吗", texts.asks["feasible"])) == tap_answer(said(first))


def test_what_is_no_request_of_such_a_run_is_answered_as_ever() -> None:
    assert tap_answer(said("请解释光合作用。")) is None
    assert "请解释光合作用。" in scripted_answer(said("请解释光合作用。"))
    asked = said(read_prompts("zh").types(subjects("zh")[0]))
    assert scripted_answer(asked) == tap_answer(asked)
