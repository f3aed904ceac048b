"""A TaP run from its taxonomy to its store: who is selected, what judges are asked in both orders, what is stored."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from commands import run
from datasets import load_dataset
from tapping import tap_answer, tap_endpoint, write_tap

from coig_p.annotate.asking.ledger import Ledger, Query
from coig_p.annotate.config import RunConfig
from coig_p.annotate.estimating import estimate
from coig_p.annotate.scripted import ScriptedServer
from coig_p.annotate.stages import run_stages
from coig_p.annotate.status import status_of
from coig_p.annotate.tap import comparing
from coig_p.errors import DataError
from coig_p.store.store import Store

JUDGES = ("j-0", "j-1")
MODELS = ("m-0", "m-1", "m-2", "m-3")
EIGHT = """先比较再打分，两个回答各有优劣。

### 回答一的评分
- 相关性：[[{0}]]
- 准确性：[[{1}]]
- 清晰性：[[{2}]]
- 完整性：[[{3}]]

### 回答二的评分
- 相关性：[[{4}]]
- 准确性：[[{5}]]
- 清晰性：[[{6}]]
- 完整性：[[{7}]]
"""


def answering(bias: int = 0, silent: tuple[str, str, str] | None = None) -> Any:
    """Judges that score the responses of m-0 to m-3 from 3 to 6, and what stands first by so much more.

    Args:
        silent: a judge, and two models, whose comparison in this order it leaves without two of its numbers.
    """

    def answer(request: Mapping[str, Any]) -> str:
        asked = str(request["messages"][0]["content"])
        if "公正的评审" not in asked:
            return tap_answer(request)
        models = re.findall(r"(m-\d) 的回答", asked)
        assert len(models) == 2, asked
        first, second = (3 + int(model[-1]) for model in models)
        said = EIGHT.format(*[first + bias] * 4, *[second] * 4)
        if silent == (request["model"], *models):
            return "\n".join(line for line in said.splitlines() if "完整性" not in line)
        return said

    return answer


def made(
    folder: Path, answer: Any, models: tuple[str, ...] = MODELS, stages: tuple[str, ...] | None = None, **tables: Any
) -> tuple[RunConfig, ScriptedServer]:
    with ScriptedServer(answer) as server:
        ends = [tap_endpoint("w-0", server.base_url, writes=True)]
        ends += [tap_endpoint(name, server.base_url, generates=True) for name in models]
        ends += [tap_endpoint(name, server.base_url, judges=True) for name in JUDGES]
        config = write_tap(folder, ends, taxonomy={"only": ["0901"], "rounds": 1}, **tables)
        run_stages(config, stages)
        return config, server


def rows(config: RunConfig) -> list[dict[str, Any]]:
    return [row for batch in Store.open(config.folder / "store").batches() for row in batch.to_pylist()]


def labels(config: RunConfig, **options: Any) -> dict[tuple[str, str, str], float]:
    found = load_dataset("coig-p", "all", data_dir=str(config.folder / "store"), split="train", **options)
    return {(row["query_id"], row["chosen_model"], row["rejected_model"]): row["margin"] for row in found}


def test_a_run_ends_in_a_store_of_comparisons_in_both_orders(tmp_path: Path) -> None:
    config, _ = made(tmp_path, answering())
    store = Store.open(config.folder / "store")
    assert store.manifest.both_orders
    assert (store.manifest.comparison_threshold, store.manifest.score_range) == (0, (1, 10))
    found = rows(config)
    assert found
    for row in found:
        assert [one["model"] for one in row["responses"]] == list(MODELS)
        assert len(row["comparisons"]) == 6 * 2 * len(JUDGES) * 4
        assert all(one["rationale"].startswith("先比较") for one in row["comparisons"])
        assert Counter(one["dimension"] for one in row["comparisons"]) == dict.fromkeys(
            ("relevance", "correctness", "clarity", "completeness"), 24
        )
        seen = Counter((one["first"], one["second"], one["judge"]) for one in row["comparisons"])
        wanted = {(*pair[::turn], judge) for pair in combinations(range(4), 2) for turn in (1, -1) for judge in JUDGES}
        assert set(seen) == wanted
        meta = json.loads(row["meta"])
        assert (meta["writer"], meta["subject"], meta["code"], meta["feasible"]) == ("w-0", "茶学", "0901", True)
        assert meta["question_type"] in row["source"]
        assert row["domain"] == "agronomy"
    assert len(labels(config)) == 6 * len(found)
    with Ledger.open(config.folder) as ledger:
        now = status_of(config, ledger)
        asked = sum(some.number for some in ledger.requests() if some.kind == "compare")
    told = {"shown": 12 * len(found), "invalid": 0, "invalid_rate": 0.0, "pairs": 6 * len(found), "single": 0}
    told |= {"bias": 0.0, "consistent": 1.0, "first_shown": 0.5}
    assert now.judges == dict.fromkeys(JUDGES, told)
    assert asked == now.stages["compare"].planned == now.stages["compare"].done == 6 * 2 * 2 * len(found)


def test_a_planted_bias_of_two_points_changes_no_label(tmp_path: Path) -> None:
    fair, _ = made(tmp_path / "fair", answering())
    biased, _ = made(tmp_path / "biased", answering(bias=2))
    assert labels(fair) == labels(biased) != {}
    assert labels(fair, both_orders=False) == labels(biased, both_orders=False)  # nothing is missing
    with Ledger.open(biased.folder) as ledger:
        now = status_of(biased, ledger).judges["j-0"]
    assert now["bias"] == 2
    # Of six pairs of 3, 4, 5, 6 three are one apart, two two, one three: the last alone is decided the same both times.
    assert now["consistent"] == pytest.approx(1 / 6, abs=1e-4)
    assert now["first_shown"] == pytest.approx((3 * 2 + 2 + 1) / (3 * 2 + 2 + 2), abs=1e-4)
    for row in rows(biased):
        one = row["comparisons"][0]
        assert one["first_score"] - one["second_score"] == one["first"] - one["second"] + 2


def test_no_label_of_a_judge_where_an_order_is_missing(tmp_path: Path) -> None:
    config, _ = made(tmp_path, answering(bias=2, silent=("j-1", "m-1", "m-0")), compare={"asks": 2})
    found = rows(config)
    of_one, of_other = labels(config, judges="j-0"), labels(config, judges="j-1")
    assert len(of_one) == 6 * len(found)
    assert len(of_other) == 5 * len(found)
    assert not any({chosen, rejected} == {"m-0", "m-1"} for _, chosen, rejected in of_other)
    with Ledger.open(config.folder) as ledger:
        now = status_of(config, ledger).judges
    assert [now["j-1"][name] for name in ("invalid", "single", "pairs")] == [len(found), len(found), 5 * len(found)]
    assert [now["j-0"][name] for name in ("invalid", "single", "pairs")] == [0, 0, 6 * len(found)]
    assert labels(config) == of_one  # the other judge has them all
    missing = [json.loads(line) for line in (config.folder / "missing.jsonl").read_text("utf-8").splitlines()]
    assert len(missing) == len(found)
    assert {(one["kind"], one["judge"], one["first"], one["second"], one["state"]) for one in missing} == {
        ("compare", "j-1", "m-1", "m-0", "invalid")
    }


def test_a_run_goes_on_and_asks_nothing_twice(tmp_path: Path) -> None:
    whole, _ = made(tmp_path / "whole", answering())
    parts, server = made(tmp_path / "parts", answering(), stages=("types", "refine", "prompts", "generate"))
    with pytest.raises(DataError, match="the responses are selected yet"):
        run_stages(parts, ("store",))
    with Ledger.open(parts.folder) as ledger:
        before = sum(some.number for some in ledger.requests())
        planned = status_of(parts, ledger).stages["compare"].planned
        told = estimate(parts, ledger)
    assert {name: one.requests for name, one in told.items()} == dict.fromkeys(JUDGES, planned // 2)
    with ScriptedServer(answering()) as again:
        text = parts.path.read_text("utf-8").replace(server.base_url, again.base_url)
        parts.path.write_text(text, encoding="utf-8")
        from coig_p.annotate.config import load_config

        parts = load_config(parts.path)
        run_stages(parts, ("select",))
        with Ledger.open(parts.folder) as ledger:
            told = estimate(parts, ledger)
        assert {name: one.requests for name, one in told.items()} == dict.fromkeys(JUDGES, planned // 2)
        for stages in (("compare",), ("store",), None, ("select", "compare", "store")):
            run_stages(parts, stages)
        with Ledger.open(parts.folder) as ledger:
            assert sum(some.number for some in ledger.requests()) == before + planned
            assert estimate(parts, ledger) == {}
    for name in ("rows.jsonl", "missing.jsonl", "store/manifest.json"):
        assert (parts.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_one_order_where_the_run_says_so_and_judges_of_other_families(tmp_path: Path) -> None:
    config, _ = made(tmp_path, answering(), compare={"both_orders": False})
    assert not Store.open(config.folder / "store").manifest.both_orders
    firsts: Counter[bool] = Counter()
    for row in rows(config):
        assert len(row["comparisons"]) == 6 * len(JUDGES) * 4
        firsts.update(one["first"] < one["second"] for one in row["comparisons"])
    assert set(firsts) == {True, False}


def test_of_more_models_than_clusters_some_are_compared(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="grouping responses needs scikit-learn: pip install 'coig-p[tap]'")
    select = {"clusters": 2, "anchor": "m-1"}
    few, _ = made(tmp_path / "few", answering(), select=select)
    every, _ = made(tmp_path / "every", answering(), select={**select, "all_responses": True})
    for row, whole in zip(rows(few), rows(every), strict=True):
        kept = [one["model"] for one in row["responses"]]
        assert len(kept) == 2
        assert "m-1" in kept
        assert len(row["comparisons"]) == 2 * len(JUDGES) * 4
        assert [one["model"] for one in whole["responses"]] == list(MODELS)
        models = {whole["responses"][one["first"]]["model"] for one in whole["comparisons"]}
        assert models == set(kept)
    assert labels(few) == labels(every)
    before = (few.folder / "store" / "manifest.json").read_bytes()
    run("annotate", "store", few.path, "--all-responses", "--trust")
    assert rows(few) == rows(every)
    assert not run_stages(few).sent
    assert (few.folder / "store" / "manifest.json").read_bytes() == before


def test_judges_share_what_is_read_of_the_responses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, _ = made(tmp_path, answering())
    asked: list[str] = []

    def counting(config: RunConfig, ledger: Ledger, query: Query) -> comparing.Answers:
        asked.append(query.query_id)
        return answers_to(config, ledger, query)

    answers_to = comparing.answers_to
    monkeypatch.setattr(comparing, "answers_to", counting)
    monkeypatch.setattr(comparing, "marks", lambda config: {})  # as if no query were through
    with Ledger.open(config.folder) as ledger:
        queries = [query.query_id for query in ledger.queries()]
        wanted = comparing.comparisons(config, ledger)
        turns = [[request.query_id for request in requests] for requests in zip(*wanted.values(), strict=True)]
    assert asked == queries
    assert turns == [[query_id] * len(JUDGES) for query_id in queries for _ in range(12)]
