"""Every number is the one that the command for one store tells."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import run
from compared import asked_of, scored, verdicts
from make import make_rows

from coig_p.evaluate.compare import CompareConfig, SideBySide, side_by_side
from coig_p.pairs.config import PairConfig

OPTIONS = {"threshold": 1.0, "strategy": "best_worst"}
BEST = ["--threshold", "1", "--strategy", "best_worst"]
CLOSE: Any = {"rel": 0, "abs": 1.1e-6}


def told(*words: object, code: int | None = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*words, "--json", code=code).stdout)
    return found


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("stores")
    common = asked_of(make_rows({"chat": 12}))
    own = [f"{what}怎样才能做得好一些呢？" for what in ("红烧肉", "清蒸鱼", "麻婆豆腐", "宫保鸡丁")]
    own += [f"家里没有冰糖也没有料酒的时候，红烧肉怎样才能做得好一些{end}？" for end in ("", "呢")]
    return [scored(folder / "a"), scored(folder / "b", 1, 40), verdicts(folder / "c", common + own)]


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("benchmark") / "exam.jsonl"
    rows = [{"question": "问题3：chat？", "reference": "甲"}, {"question": "清蒸鱼怎样才能做得好一些呢？"}]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def found(stores: list[Path], benchmark: Path) -> SideBySide:
    config = CompareConfig(against=(str(benchmark),), tokenizer="builtin:characters", max_responses=120)
    return side_by_side(stores, config)


def test_sizes_are_those_of_info(stores: list[Path], found: SideBySide) -> None:
    for path, one in zip(stores, found.stores, strict=True):
        info = told("info", path)
        for name in ("queries", "responses", "scores", "comparisons", "pairs"):
            assert getattr(one.counts, name) == info["total"][name]
            assert {domain: getattr(part, name) for domain, part in one.domains.items()} == {
                domain: part[name] for domain, part in info["domains"].items()
            }
        assert list(one.splits) == info["splits"]
        judgements: dict[str, int] = {}
        for given in one.annotation:
            judgements[given.judge] = judgements.get(given.judge, 0) + given.judgements
        assert judgements == info["judges"]
    assert found.stores[0].counts.pairs > 0


def test_lengths_are_those_of_info(stores: list[Path], found: SideBySide) -> None:
    for path, one in zip(stores, found.stores, strict=True):
        lengths = told("info", path, "--tokenizer", "builtin:characters")["lengths"]["total"]
        assert one.tokens == one.characters
        assert one.characters.samples == lengths["samples"] == one.counts.pairs
        assert one.characters.prompts == lengths["prompts"]
        for name in ("prompt_length", "response_length"):
            spread = getattr(one.characters, name)
            assert [spread.n, spread.mean, spread.deviation] == pytest.approx(list(lengths[name].values()))


def test_lengths_in_characters_are_those_of_the_pairs(stores: list[Path], found: SideBySide, tmp_path: Path) -> None:
    for path, one in zip(stores, found.stores, strict=True):
        run("pairs", path, "--out", tmp_path / "pairs.jsonl", "--overwrite")
        rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
        responses = {
            (row["query_id"], row[f"{side}_model"]): row[side] for row in rows for side in ("chosen", "rejected")
        }
        for spread, texts in (
            (one.characters.prompt_length, {row["prompt"] for row in rows}),
            (one.characters.response_length, responses.values()),
        ):
            sizes = [len(text) for text in texts]
            assert (spread.n, spread.mean) == (len(sizes), pytest.approx(fmean(sizes)))
            assert spread.deviation == pytest.approx(pstdev(sizes))


def test_length_bias_is_that_of_stats(stores: list[Path], found: SideBySide) -> None:
    for path, one in zip(stores, found.stores, strict=True):
        total = told("stats", path)["total"]
        longer = total["chosen_longer"]
        assert [one.chosen_longer.n, one.equal_length] == [longer["n"], total["equal_length"]]
        for name in ("share", "low", "high"):
            assert getattr(one.chosen_longer, name) == pytest.approx(longer[name], **CLOSE)


def test_findings_are_those_of_check(stores: list[Path], found: SideBySide) -> None:
    for path, one in zip(stores, found.stores, strict=True):
        report = told("check", path, code=None)
        assert (one.findings.errors, one.findings.warnings, one.findings.metrics) == (
            *(report[name] for name in ("error", "warning", "metric")),
        )
        counts = {name: rule["findings"] for name, rule in report["rules"].items() if rule["findings"]}
        assert one.findings.rules == counts
        assert one.findings.queries == report["queries"]
        assert one.findings.per_thousand(one.findings.warnings) == 1000 * report["warning"] / report["queries"]
    assert any(one.findings.warnings for one in found.stores)


def test_near_duplicates_inside_are_those_of_dedup(stores: list[Path], found: SideBySide) -> None:
    for path, one in zip(stores, found.stores, strict=True):
        dedup = told("dedup", path, "--dry-run")
        assert one.duplicates.to_dict() == {name: dedup[name] for name in one.duplicates.to_dict()}
    assert any(one.duplicates.duplicates for one in found.stores)


def test_overlap_is_what_dedup_against_drops(stores: list[Path], found: SideBySide, tmp_path: Path) -> None:
    seen = 0
    for path, one in zip(stores, found.stores, strict=True):
        for other, beside in zip(stores, found.stores, strict=True):
            across = found.between(one.name, beside.name)
            if across is None:
                continue
            target = tmp_path / f"{one.name}-{beside.name}"
            done = run("dedup", path, "--against", other, "--out", target, code=None)
            if "nothing would be left" in done.stderr or done.returncode:
                assert across.near == one.counts.queries
                continue
            rows = pq.read_table(target / "duplicates.parquet").to_pylist()
            mine = [row for row in rows if row["survivor"].startswith(f"{beside.name}:")]
            own = [row for row in mine if not row["query_id"].startswith(f"{beside.name}:")]
            assert across.near == len(own)
            assert across.shared >= sum(row["match"] == "exact" for row in own)
            assert across.shared <= across.near
            seen += across.near
    assert seen


def test_contamination_is_that_of_its_command(stores: list[Path], benchmark: Path, found: SideBySide) -> None:
    for path, one in zip(stores, found.stores, strict=True):
        alone = told("contamination", path, "--against", benchmark, code=None)
        (held,) = one.contamination
        assert held.benchmark == "exam.jsonl"
        assert held.queries + held.responses == alone["findings"]
    assert all(one.contamination[0].queries for one in found.stores)


def test_agreement_is_that_of_judges(stores: list[Path], found: SideBySide) -> None:
    for at, path in enumerate(stores):
        judges = told("judges", path, "--no-self-preference", code=None)
        one = json.loads(found.to_json())["stores"][at]
        assert (one["alpha"], one["agreement"]) == (judges["alpha"], judges["agreement"])
        assert found.stores[at].judges == len(judges["judges"])
    assert found.stores[0].alpha.value is not None
    assert found.stores[2].alpha.value is None
    assert {"alpha", "agreement"} <= set(found.stores[2].empty)


def test_the_floor_inside_is_that_of_reward_train(stores: list[Path], found: SideBySide, tmp_path: Path) -> None:
    for path, one in zip(stores, found.stores, strict=True):
        words = ("reward", "train", path, "--model", "builtin:ngram", "--max-responses", 120)
        trained = told(*words, "--out", tmp_path / one.name)
        assert one.floor is not None
        assert one.floor.held_out is not None
        assert one.floor.held_out.to_dict() == trained["held_out"]
        assert one.floor.pairs == trained["training"]["data"]["pairs"]


def test_the_floor_across_is_that_of_bench(stores: list[Path], found: SideBySide, tmp_path: Path) -> None:
    for path, one in zip(stores, found.stores, strict=True):
        run("bench", "convert", "--from", "pairs", path, "--out", tmp_path / f"bench-{one.name}")
        words = ("--model", "builtin:ngram", "--max-responses", 120, "--out", tmp_path / one.name)
        run("reward", "train", path, *words)
    for one in found.stores:
        for other in found.stores:
            across = found.between(one.name, other.name)
            if across is None:
                continue
            results = tmp_path / f"{one.name}-on-{other.name}"
            run("bench", "run", tmp_path / f"bench-{other.name}", "--model", tmp_path / one.name, "--out", results)
            report = told("bench", "report", results, "--no-baselines")
            assert across.floor is not None
            assert across.floor.to_dict() == report["scorers"][0]["micro"]


def test_other_pairs_give_the_numbers_of_those_pairs(stores: list[Path], tmp_path: Path) -> None:
    config = CompareConfig(pairs=PairConfig(**OPTIONS), max_responses=120)  # type: ignore[arg-type]
    found = side_by_side(stores[:2], config)
    for path, one in zip(stores, found.stores, strict=False):
        total = told("stats", path, *BEST)["total"]
        assert one.counts.pairs == total["pairs"] == one.characters.samples
        words = ("reward", "train", path, "--model", "builtin:ngram", "--max-responses", 120, *BEST)
        trained = told(*words, "--out", tmp_path / one.name)
        assert one.floor is not None
        assert one.floor.held_out is not None
        assert one.floor.held_out.to_dict() == trained["held_out"]


def test_processes_change_nothing(stores: list[Path], benchmark: Path, found: SideBySide) -> None:
    config = CompareConfig(against=(str(benchmark),), tokenizer="builtin:characters", max_responses=120)
    assert side_by_side(stores, config, num_proc=2).to_json() == found.to_json()
