"""Conversations driven by hand: what follows on which answer; and the file of a TaP run."""

from __future__ import annotations

from collections.abc import Generator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tapping import tap_endpoint, tap_toml, two_writers, write_tap

from coig_p.annotate.asking.ledger import ANSWERED, INVALID
from coig_p.annotate.asking.request import Outcome, Request
from coig_p.annotate.concluded import marks
from coig_p.annotate.config import RunConfig, load_config, template
from coig_p.annotate.tap.chains import Round, new_types, prompt_chain, refine_chain, types_chain
from coig_p.annotate.tap.parsing import QuestionType
from coig_p.annotate.tap.types import query_id
from coig_p.core.normalize import comparison_form
from coig_p.errors import CoigPError

URL = "http://127.0.0.1:1/v1"
ONE = QuestionType("案例分析", "分析一个案例")
PROMPT = "### 指令\n写一首关于茶的诗。"
FEASIBLE, INFEASIBLE = "可以写。\n合理", "要动手。\n不合理"


def drive(chain: Generator[Request, Outcome, Any], answers: list[str | None]) -> tuple[list[Request], Any]:
    """What a chain asks where these are the answers (None: one that cannot be used), and what it makes."""
    asked = [next(chain)]
    for text in answers:
        found = Outcome(INVALID, "none") if text is None else Outcome(ANSWERED, None, text)
        try:
            asked.append(chain.send(found))
        except StopIteration as end:
            assert len(asked) == len(answers), "answers are left"
            return asked, end.value
    raise AssertionError("it asks more")


def listed(*names: str) -> str:
    return "\n".join(f'"""{name}：关于{name}"""' for name in names)


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return write_tap(tmp_path, two_writers(URL), taxonomy={"checker": "j-0"})


def test_later_rounds_of_types_hold_the_earlier_ones_and_count_what_is_new(config: RunConfig) -> None:
    assert config.tap is not None
    chain = types_chain(config, config.writers[0], config.tap.subjects[0])
    answers = [listed("概念辨析", "计算推导"), listed("概念辨析", "实验设计"), listed("方案撰写")]
    asked, made = drive(chain, list(answers))
    assert [len(one.messages) for one in asked] == [1, 3, 5]
    assert [one.messages[-2]["content"] for one in asked[1:]] == answers[:2]
    assert len({one.key(0) for one in asked}) == 3
    assert [one.name for one in made.types] == ["概念辨析", "计算推导", "实验设计", "方案撰写"]
    assert made.rounds == (Round(2, 2), Round(2, 1), Round(1, 1))
    assert not made.dry


def test_a_dry_subject_gets_no_further_round(config: RunConfig) -> None:
    assert config.tap is not None
    chain = types_chain(config, config.writers[0], config.tap.subjects[0])
    asked, made = drive(chain, [listed("概念辨析", "计算推导"), listed("概念辨析")])
    assert (len(asked), made.dry, len(made.types)) == (2, True, 2)
    asked, made = drive(types_chain(config, config.writers[0], config.tap.subjects[0]), [listed("概念辨析"), None])
    assert made.rounds[-1] == Round(0, 0, usable=False)
    assert [one.name for one in made.types] == ["概念辨析"]


def test_near_duplicates_are_out_within_a_subject() -> None:
    some = [
        QuestionType(name, "") for name in ("史料解读与分析评述", "史料解读与分析评述题", "史料 解读与分析评述", "计算")
    ]
    assert [one.name for one in new_types(some, [], 0.8)] == ["史料解读与分析评述", "计算"]
    assert [one.name for one in new_types(some, [], 0)] == ["史料解读与分析评述", "史料解读与分析评述题", "计算"]
    assert new_types(some, some, 0) == []


@given(st.lists(st.text("甲乙丙丁", min_size=1, max_size=5), max_size=8), st.sampled_from([0.0, 0.5, 0.8, 1.0]))
def test_new_types_are_those_of_a_brute_oracle(names: list[str], near: float) -> None:
    def grams(text: str) -> set[str]:
        return {text} if len(text) == 1 else {one + other for one, other in pairwise(text)}

    kept: list[str] = []
    for name in names:
        form = comparison_form(name)
        same = any(form == comparison_form(one) for one in kept)
        like = near > 0 and any(
            len(grams(form) & grams(comparison_form(one))) >= near * len(grams(form) | grams(comparison_form(one)))
            for one in kept
        )
        if not (same or like):
            kept.append(name)
    assert [one.name for one in new_types([QuestionType(name, "") for name in names], [], near)] == kept


def test_a_type_is_refined_or_stays_as_it_was(config: RunConfig) -> None:
    assert config.tap is not None
    about = (config, config.writers[0], config.tap.subjects[0], ONE)
    asked, made = drive(refine_chain(*about), ["结合真实案例的分析。"])
    assert made == QuestionType("案例分析", "结合真实案例的分析。")
    assert ONE.description in asked[0].messages[0]["content"]
    assert drive(refine_chain(*about), [None])[1] == ONE


def test_a_prompt_is_made_whole_then_checked_by_another_model(config: RunConfig) -> None:
    assert config.tap is not None
    subject = config.tap.subjects[0]
    asked, made = drive(
        prompt_chain(config, config.writers[0], subject, ONE), [PROMPT, "是\n### 指令\n写一首关于绿茶的诗。", FEASIBLE]
    )
    assert [(one.endpoint.name, one.kind) for one in asked] == [
        ("w-0", "prompt"),
        ("w-0", "complete"),
        ("j-0", "feasible"),
    ]
    assert [one.author for one in asked] == [None, None, "w-0"]
    assert asked[2].parameters == {"max_tokens": 256}
    assert "写一首关于绿茶的诗。" in asked[2].messages[0]["content"]
    assert len(asked[2].messages) == 1
    assert [(one.number, one.prompt, one.feasible) for one in made] == [(1, "写一首关于绿茶的诗。", True)]
    assert len({one.query_id for one in asked}) == 1
    assert asked[0].query_id == query_id("w-0", subject, ONE.name, 1)


def test_what_is_not_feasible_is_written_again_up_to_three_times(config: RunConfig) -> None:
    assert config.tap is not None
    about = (config, config.writers[0], config.tap.subjects[0], ONE)
    asked, made = drive(prompt_chain(*about), [PROMPT, "否", INFEASIBLE, PROMPT, "否", FEASIBLE])
    assert [one.feasible for one in made] == [False, True]
    assert "要动手。" in asked[3].messages[-1]["content"]
    assert [message["role"] for message in asked[3].messages] == ["user", "assistant"] * 2 + ["user"]
    asked, made = drive(prompt_chain(*about), [PROMPT, "否", INFEASIBLE] * 4)
    assert [one.feasible for one in made] == [False] * 4


def test_answers_that_cannot_be_used_end_a_conversation_and_nothing_is_guessed(config: RunConfig) -> None:
    assert config.tap is not None
    about = (config, config.writers[0], config.tap.subjects[0], ONE)
    assert drive(prompt_chain(*about), [None])[1] == ()
    assert [one.feasible for one in drive(prompt_chain(*about), [PROMPT, None, FEASIBLE])[1]] == [True]
    assert [one.feasible for one in drive(prompt_chain(*about), [PROMPT, "否", None])[1]] == [None]
    made = drive(prompt_chain(*about), [PROMPT, None, INFEASIBLE, None])[1]
    assert [one.feasible for one in made] == [False]


def test_the_template_of_the_recipe_is_a_run(tmp_path: Path) -> None:
    (tmp_path / "tap.toml").write_text(template("tap"), encoding="utf-8")
    config = load_config(tmp_path / "tap.toml")
    assert config.tap is not None
    assert len(config.tap.subjects) == 724
    assert len(config.tap.domains) == 12
    assert config.tap.taxonomy.rounds == 3
    assert set(marks(config)) == set(config.tap.domains)
    for domain in config.tap.domains:
        system = config.system(config.generators[0], domain)
        assert system is not None
        assert config.recipes["compare", domain, "writer-a"]


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ({"queries": {"inputs": ["a.jsonl"]}, "translate": {"endpoint": "w-0"}}, r"has no \[queries\], \[translate\]"),
        ({"taxonomy": {"round": 2}}, "unknown key 'taxonomy.round'"),
        ({"taxonomy": {"rounds": 0}}, "rounds = 0: use 1 to 20"),
        ({"taxonomy": {"dry": 2}}, "dry = 2: use a share"),
        ({"taxonomy": {"select": "tap"}}, "leave file or select out"),
        ({"taxonomy": {"languages": ["050201"]}}, "languages are of TaP's cut"),
        ({"taxonomy": {"only": ["77"]}}, "taxonomy: subjects: unknown code '77'"),
        ({"taxonomy": {"drop": ["08", "09"]}}, "leave no subject"),
        ({"taxonomy": {"file": "none.toml"}}, "none.toml cannot be read"),
        ({"taxonomy": {"checker": "w-9"}}, "unknown taxonomy.checker 'w-9'"),
        ({"taxonomy": {"language": "xx"}}, "unknown language 'xx'"),
        ({"taxonomy": {"prompts": "nowhere"}}, "nowhere cannot be read"),
        ({"select": {"clusters": 1}}, "clusters = 1: use 2 to 100"),
        ({"select": {"anchor": "j-0"}}, "unknown select.anchor 'j-0'"),
        ({"select": {"embeddings": "words"}}, "embeddings = 'words'"),
        ({"select": {"embeddings": {"inputs": 9}}}, "embeddings.endpoint is missing"),
        ({"select": {"embeddings": {"endpoint": "x"}}}, "unknown select.embeddings.endpoint 'x'"),
        ({"compare": {"least_judges": 5}}, "least_judges = 5, and the run has 1"),
        ({"compare": {"asks": 0}}, "asks = 0: use 1 to 20"),
    ],
)
def test_what_cannot_be_is_one_error(tmp_path: Path, tables: dict[str, dict[str, Any]], says: str) -> None:
    with pytest.raises(CoigPError, match=says) as caught:
        write_tap(tmp_path, two_writers(URL), **tables)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("endpoints", "says"),
    [
        ([tap_endpoint("m-0", URL, generates=True, judges=True)], "no endpoint writes"),
        ([tap_endpoint("w-0", URL, writes=True, judges=True)], "no endpoint generates"),
        ([*two_writers(URL), tap_endpoint("x", URL)], "endpoint 'x' does nothing"),
        ([*two_writers(URL), tap_endpoint("x", URL, judges=True, structured="auto")], "structured is of judges"),
        ([*two_writers(URL), tap_endpoint("W-0 ", URL, judges=True)], "two endpoints have this name"),
    ],
)
def test_endpoints_that_cannot_work_are_one_error(tmp_path: Path, endpoints: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(CoigPError, match=says):
        write_tap(tmp_path, endpoints)


def test_tables_of_a_tap_run_without_a_taxonomy_are_one_error(tmp_path: Path) -> None:
    text = tap_toml(two_writers(URL)).replace('[taxonomy]\nfile = "subjects.toml"\n', "")
    (tmp_path / "run.toml").write_text(text, encoding="utf-8")
    with pytest.raises(CoigPError, match=r"\[compare\] is of a TaP run"):
        load_config(tmp_path / "run.toml")
