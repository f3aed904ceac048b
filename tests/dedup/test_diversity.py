"""Distinct n-grams and near-duplicates by stage and domain, and two stores beside each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from commands import run
from hypothesis import given
from hypothesis import strategies as st
from make import make_store

from coig_p.dedup.diversity import (
    DiversityConfig,
    Text,
    distinct_grams,
    measure_beside,
    measure_diversity,
    read_texts,
)
from coig_p.errors import DataError, UsageError
from coig_p.store.store import Store

Row = dict[str, Any]
SAID = ("证明勾股定理并举例说明", "比较两种排序算法的效率", "解释光合作用的各个阶段", "分析这首诗里的意象")


def asked(name: str, domain: str, query: str, meta: Any = None) -> Row:
    told = meta if meta is None or isinstance(meta, str) else json.dumps(meta, ensure_ascii=False)
    row: Row = {"query_id": name, "domain": domain, "query": query, "source": None, "meta": told, "comparisons": None}
    return row | {"responses": [{"model": "m", "text": "答", "scores": []}]}


def tap_store(path: Path) -> Store:
    """Two domains; of the first a type with two prompts, of the second two types nearly alike."""
    rows = []
    for at, (domain, code, kind, prompt) in enumerate(
        [
            ("physics", "11", "概念解释题", SAID[0]),
            ("physics", "11", "概念解释题", SAID[1]),
            ("physics", "12", "概念解释题", SAID[2]),
            ("history", "21", "史料分析与评价题", SAID[3]),
            ("history", "21", "史料分析与评价题目", SAID[3] + "。"),
        ]
    ):
        meta = {
            "writer": "w",
            "code": code,
            "question_type": kind,
            "description": f"说明{kind}{code}",
            "feasible": True,
        }
        rows.append(asked(f"q{at}", domain, prompt, meta))
    return Store.open(make_store(path, rows))


def test_stages_by_domain(tmp_path: Path) -> None:
    found = measure_diversity(read_texts(tap_store(tmp_path / "store")), DiversityConfig()).stages
    assert {stage: {name: one.texts for name, one in own.items()} for stage, own in found.items()} == {
        "types": {"history": 2, "physics": 2, "all": 4},
        "descriptions": {"history": 2, "physics": 2, "all": 4},
        "prompts": {"history": 2, "physics": 3, "all": 5},
    }
    types = found["types"]
    # Two subjects have one type: an exact repetition. Two types of one subject are nearly alike.
    assert (types["physics"].near_duplicates, types["physics"].exact) == (0.5, 0.5)
    assert (types["history"].near_duplicates, types["history"].exact) == (0.5, 0)
    assert (types["all"].near_duplicates, types["all"].exact) == (0.5, 0.25)
    prompts = found["prompts"]
    assert (prompts["history"].near_duplicates, prompts["history"].exact) == (0.5, 0.5)
    assert prompts["physics"].near_duplicates == 0


@given(st.lists(st.text("甲乙丙丁a𠀀", max_size=12), max_size=8))
def test_distinct_n_grams_are_those_of_sets(forms: list[str]) -> None:
    found = distinct_grams(forms)
    for n, (different, every) in found.items():
        grams = [form[at : at + n] for form in forms for at in range(len(form) - n + 1)]
        assert (different, every) == (len(set(grams)), len(grams))


@given(st.randoms(use_true_random=False), st.integers(1, 30))
def test_nothing_depends_on_the_order_of_texts(random: Any, sample: int) -> None:
    texts = [Text(str(at), f"d{at % 3}", SAID[at % 4] + str(at % 7)) for at in range(30)]
    shuffled = random.sample(texts, len(texts))
    config = DiversityConfig(sample)
    assert measure_diversity({"prompts": texts}, config) == measure_diversity({"prompts": shuffled}, config)


def test_stores_beside_each_other_are_cut_to_as_many() -> None:
    many = [Text(str(at), "d", f"{SAID[at % 4]}{chr(0x4E00 + 97 * at)}{chr(0x4E00 + 31 * at)}") for at in range(40)]
    few = [Text(f"f{at}", "d", SAID[0]) for at in range(10)]
    found = measure_beside({"prompts": many, "types": many}, {"prompts": few}, DiversityConfig())
    own, other = found["prompts"]
    assert list(found) == ["prompts"]
    assert (own.texts, own.measured, other.measured) == (40, 10, 10)
    assert (other.exact, other.near_duplicates) == (0.9, 0.9)
    assert (own.distinct[2] or 0) > (other.distinct[2] or 0)


def test_texts_that_have_no_letter_are_alike_to_nothing() -> None:
    texts = [Text(str(at), "d", "") for at in range(3)]
    found = measure_diversity({"prompts": texts}, DiversityConfig()).stages["prompts"]["all"]
    assert (found.near_duplicates, found.exact, found.distinct[1]) == (0, 0, None)


def test_a_store_that_was_asked_for_plainly_has_prompts_alone(tmp_path: Path) -> None:
    rows = [asked(f"p{at}", "math", SAID[at % 4], {"topic": 1} if at % 2 else None) for at in range(6)]
    plain = make_store(tmp_path / "plain", rows)
    assert set(read_texts(Store.open(plain))) == {"prompts"}
    store = tap_store(tmp_path / "store").path
    shown = run("diversity", store, "--beside", plain).stdout
    assert "prompts, as many of both" in shown
    assert "types, as many" not in shown
    told = json.loads(run("diversity", store, "--beside", plain, "--json").stdout)
    assert told["stages"]["prompts"]["all"]["texts"] == 5
    assert told["beside"]["prompts"]["other"]["measured"] == told["beside"]["prompts"]["own"]["measured"] == 5
    assert "beside" not in json.loads(run("diversity", store, "--json").stdout)
    frame = measure_diversity(read_texts(Store.open(store)), DiversityConfig()).to_pandas()
    assert frame.loc[("types", "all"), "near_duplicates"] == 0.5


@pytest.mark.parametrize("meta", ["{", "[]", '{"question_type": 5}', '{"question_type": "a", "description": []}'])
def test_a_meta_that_cannot_be_read(tmp_path: Path, meta: str) -> None:
    store = Store.open(make_store(tmp_path / "store", [asked("q", "d", "问", meta)]))
    with pytest.raises(DataError, match="query_id 'q'"):
        read_texts(store)


@pytest.mark.parametrize("options", [{"sample": 0}, {"threshold": 0}, {"threshold": 1.5}, {"n": 0}, {"seed": -1}])
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        DiversityConfig(**options)
