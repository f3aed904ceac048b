"""Every number of the statistics, once more from what load_dataset gives."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import fields
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import make_rows, make_store
from oracle import oracle_pairs, response_values, verdicts_of

import coig_p
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig
from coig_p.pairs.config import PairConfig
from coig_p.report.figures import LANGUAGES, statistics_plots, sweep_plots
from coig_p.stats.agreement import VERDICTS
from coig_p.stats.counts import LENGTHS, statistics
from coig_p.stats.distribution import QUANTILES, distribution
from coig_p.stats.intervals import Share
from coig_p.stats.results import CombinationCounts, Counts, Distribution, DomainStatistics, Statistics
from coig_p.stats.sweep import sweep
from coig_p.store.locate import BUNDLED
from coig_p.store.store import Store

OPTIONS: list[dict[str, Any]] = [
    {},
    {"threshold": 1, "strict": True},
    {"threshold": 0, "aggregation": "max", "include_self_judged": True},
    {"strategy": "best_worst"},
    {"strategy": "best_random", "seed": 7},
    {"max_pairs_per_query": 2},
]


def load(store: Path, name: str, cache: str, **options: Any) -> list[dict[str, Any]]:
    loaded = coig_p.load_dataset(name, data_dir=str(store), cache_dir=cache, **options)
    rows: list[dict[str, Any]] = [row for split in loaded.values() for row in split.to_list()]
    return rows


def check_share(found: Share, yes: int, n: int) -> None:
    assert found.n == n
    assert found.share == (pytest.approx(yes / n, abs=1e-6) if n else None)
    if found.low is not None:
        assert found.share is not None
        assert found.high is not None
        assert 0 <= found.low <= found.share <= found.high <= 1


def check_distribution(found: Distribution, values: list[Any]) -> None:
    assert found.n == len(values)
    if not values:
        assert found.mean is None
        return
    assert found.mean == pytest.approx(sum(values) / len(values), abs=1e-6)
    for name, q in QUANTILES.items():
        assert getattr(found, name) == pytest.approx(np.quantile(values, q, method="inverted_cdf"), abs=1e-6), name
    edges, counts = found.bins.edges, found.bins.counts
    wanted, _ = np.histogram(values, [*edges, math.inf])
    assert list(counts) == wanted.tolist()


def check_summary(found: DomainStatistics, rows: list[dict[str, Any]], pairs: list[dict[str, Any]]) -> None:
    """Counts, lengths, margins, length bias and win rates from raw rows and pairs as they are loaded."""
    responses = [response for row in rows for response in row["responses"]]
    scores = [score for response in responses for score in response["scores"]]
    assert found.queries == len(rows)
    assert found.responses == len(responses)
    assert found.scores == len(scores)
    assert found.comparisons == sum(len(row["comparisons"] or []) for row in rows)
    assert found.pairs == len(pairs)
    kept = {pair["query_id"] for pair in pairs}
    assert found.queries_with_pairs == len(kept)
    assert found.pairs_per_query == pytest.approx(len(pairs) / found.queries, abs=1e-6)
    lengths = {
        "query": [len(row["query"]) for row in rows],
        "response": [len(response["text"]) for response in responses],
        "chosen": [len(pair["chosen"]) for pair in pairs],
        "rejected": [len(pair["rejected"]) for pair in pairs],
    }
    for kind in LENGTHS:
        check_distribution(getattr(found.lengths, kind), lengths[kind])
    check_distribution(found.margins, [pair["margin"] for pair in pairs])
    longer = sum(len(pair["chosen"]) > len(pair["rejected"]) for pair in pairs)
    equal = sum(len(pair["chosen"]) == len(pair["rejected"]) for pair in pairs)
    assert found.equal_length == equal
    check_share(found.chosen_longer, longer, len(pairs) - equal)
    answered = Counter(response["model"] for response in responses)
    assert list(found.models) == sorted(answered)
    for name, model in found.models.items():
        chosen = sum(pair["chosen_model"] == name for pair in pairs)
        rejected = sum(pair["rejected_model"] == name for pair in pairs)
        assert (model.responses, model.chosen, model.rejected) == (answered[name], chosen, rejected)
        check_share(model.win_rate, chosen, chosen + rejected)
    given = Counter(score["judge"] for score in scores)
    compared = Counter(entry["judge"] for row in rows for entry in row["comparisons"] or [])
    assert {name: judge.scores for name, judge in found.judges.items()} == {
        name: given[name] for name in sorted(given | compared)
    }
    assert {name: judge.comparisons for name, judge in found.judges.items() if judge.comparisons} == compared


def check_judges(found: DomainStatistics, rows: list[dict[str, Any]], self_judged: bool) -> None:
    """Mean score and leniency of each judge, in fractions."""
    for name, judge in found.judges.items():
        own: list[Fraction] = []
        offsets: list[Fraction] = []
        others = tuple(set(found.judges) - {name})
        for row in rows:
            mine = response_values(row, "mean", (name,), self_judged)
            theirs = response_values(row, "mean", others, self_judged)
            own += mine.values()
            offsets += [mine[at] - theirs[at] for at in mine if at in theirs]
        assert judge.responses == len(own)
        assert judge.mean_score == (pytest.approx(float(sum(own) / len(own)), abs=1e-6) if own else None)
        assert judge.offset.n == len(offsets)
        mean = float(sum(offsets) / len(offsets)) if offsets else None
        assert judge.offset.mean == (pytest.approx(mean, abs=1e-6) if offsets else None)


def check_combinations(found: DomainStatistics, rows: list[dict[str, Any]], threshold: float, strict: bool) -> None:
    """Scored two-combinations, each under the first reason that holds."""
    kinds: Counter[str] = Counter()
    for row in rows:
        values = response_values(row, "mean", None, False)
        for low, high in combinations(sorted(values), 2):
            margin = abs(values[low] - values[high])
            same = row["responses"][low]["text"] == row["responses"][high]["text"]
            meets = margin > threshold if strict else margin >= threshold
            kinds["same_text" if same else "ties" if not margin else "pairs" if meets else "below_threshold"] += 1
    assert found.combinations == CombinationCounts(
        labelled=kinds.total(),
        same_text=kinds["same_text"],
        ties=kinds["ties"],
        below_threshold=kinds["below_threshold"],
        left_out=0,
        pairs=kinds["pairs"],
    )
    assert found.ties_share == pytest.approx(kinds["ties"] / (kinds.total() - kinds["same_text"]), abs=1e-6)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_number_is_what_loading_gives(store: Path, cache: str, options: dict[str, Any]) -> None:
    text = statistics(store, PairConfig(**options)).to_json()
    found = Statistics.from_json(text)
    assert found.config.threshold == options.get("threshold", 2)
    every = []
    for domain, part in found.domains.items():
        rows = load(store, f"{domain}-raw", cache)
        pairs = load(store, domain, cache, **options)
        check_summary(part, rows, pairs)
        assert part.splits == {"train": Counts(**{one.name: getattr(part, one.name) for one in fields(Counts)})}
        every.append((rows, pairs))
    rows, pairs = ([row for part in every for row in part[at]] for at in (0, 1))
    check_summary(found.total, rows, pairs)
    assert found.total.pairs == len(load(store, "all", cache, **options))
    check_judges(found.total, rows, options.get("include_self_judged", False))


def test_combinations_that_are_no_pair_are_counted_under_a_reason(store: Path, rows: list[dict[str, Any]]) -> None:
    check_combinations(statistics(store).total, rows, 2, strict=False)
    check_combinations(statistics(store, PairConfig(threshold=1, strict=True)).total, rows, 1, strict=True)
    drawn = statistics(store, PairConfig(max_pairs_per_query=1)).total
    kinds = drawn.combinations
    assert kinds.left_out == len(oracle_pairs(rows, threshold=2)) - drawn.pairs


def test_judges_agree_as_plain_python_says(store: Path, rows: list[dict[str, Any]]) -> None:
    options = {"strict": False, "aggregation": "mean", "judges": None, "include_self_judged": False}
    options |= {"labels": "auto", "strategy": "all"}
    found = statistics(store).total
    at_default, at_any = verdicts_of(rows, 2, options), verdicts_of(rows, 0, options)
    for verdict in VERDICTS:
        check_share(getattr(found.second_judge, verdict), at_default[verdict], at_default.total())
        assert sum(getattr(judge, verdict).n for judge in found.judges.values()) == at_any.total()
        given = sum(getattr(judge, verdict).n * (getattr(judge, verdict).share or 0) for judge in found.judges.values())
        assert given == pytest.approx(at_any[verdict])


def test_real_judgements(shared_data: Path, tmp_path: Path, cache: str) -> None:
    config = ImportConfig(domain="chat", score_range=(0, 1), default_threshold=1, on_error="skip")
    import_files([shared_data / "halluqa.jsonl"], tmp_path / "store", config)
    found = statistics(tmp_path / "store").total
    rows = load(tmp_path / "store", "chat-raw", cache)
    check_summary(found, rows, load(tmp_path / "store", "chat", cache))
    check_combinations(found, rows, 1, strict=False)
    check_judges(found, rows, False)


def test_a_store_of_comparisons(tmp_path: Path, cache: str) -> None:
    rows = make_rows({"chat": 12})
    for at, row in enumerate(rows):
        row["comparisons"] = [
            {
                "first": 0,
                "second": 1,
                "judge": judge,
                "dimension": "overall",
                "first_score": left,
                "second_score": 1 - left,
            }
            for judge, left in (("甲", 1.0), ("乙", (1.0, 0.5, 0.0)[at % 3]))
        ]
        for response in row["responses"]:
            response["scores"] = []
    store = make_store(tmp_path / "store", rows, default_threshold=0)
    found = statistics(store)
    check_summary(found.total, load(store, "chat-raw", cache), load(store, "chat", cache))
    assert found.total.judges["甲"].agrees.share == pytest.approx(0.5)  # of 8 that 乙 prefers one in
    assert found.total.judges["乙"].agrees == found.total.judges["乙"].ties  # 4 each of 12
    assert found.total.judges["甲"].mean_score is None


def test_scores_are_all_that_a_judge_gave_and_its_mean_is_of_those_that_count() -> None:
    given = statistics(BUNDLED).total.judges
    own = statistics(BUNDLED, PairConfig(include_self_judged=True)).total.judges
    one = statistics(BUNDLED, PairConfig(judges=("fictional-zhuxi",))).total.judges
    for name in given:
        assert given[name].scores == own[name].scores == one[name].scores
    judge = "fictional-moyun-72b"  # 22 of its 58 scores are of its own responses
    assert (given[judge].scores, given[judge].responses, own[judge].responses, one[judge].responses) == (58, 36, 58, 0)
    assert given[judge].mean_score != own[judge].mean_score
    assert one[judge].mean_score is None


def test_splits_are_counted_apart_and_together(tmp_path: Path, cache: str) -> None:
    paths = []
    for split, number in (("train", 6), ("test", 3)):
        path = tmp_path / f"{split}.jsonl"
        rows = make_rows({"math": number}, seed=number)
        lines = [json.dumps({**row, "query_id": f"{split}-{row['query_id']}", "split": split}) for row in rows]
        path.write_text("\n".join(lines), encoding="utf-8")
        paths.append(path)
    import_files(paths, tmp_path / "store", ImportConfig())
    opened = Store.open(tmp_path / "store")
    found = statistics(opened)
    assert list(found.total.splits) == opened.manifest.splits()
    for split in opened.manifest.splits():
        rows = coig_p.load_dataset("math-raw", data_dir=str(opened.path), split=split, cache_dir=cache).to_list()
        pairs = coig_p.load_dataset("math", data_dir=str(opened.path), split=split, cache_dir=cache).to_list()
        assert found.total.splits[split].queries == len(rows)
        assert found.total.splits[split].pairs == len(pairs)
        check_summary(statistics(opened, split=split).total, rows, pairs)


def test_the_same_store_gives_the_same_bytes_however_it_is_cut(tmp_path: Path) -> None:
    rows = make_rows({"math": 30})
    first = statistics(make_store(tmp_path / "a", rows, rows_per_shard=30, rows_per_group=30))
    again = statistics(tmp_path / "a")
    cut = statistics(make_store(tmp_path / "b", rows, rows_per_shard=4, rows_per_group=2))
    assert first.to_json() == again.to_json() == cut.to_json()
    assert Statistics.from_json(first.to_json()).to_json() == first.to_json()


def test_no_pair_and_no_score(tmp_path: Path) -> None:
    rows = make_rows({"math": 3})
    for row in rows:
        for response in row["responses"]:
            response["scores"] = []
    found = statistics(make_store(tmp_path / "store", rows))
    assert found.total.pairs == 0
    assert found.total.pairs_per_query == 0
    assert found.total.chosen_longer == Share(0)
    assert found.total.judges == {}
    assert "judges.svg" not in statistics_plots(found)
    assert all(sweep_plots(sweep(tmp_path / "store"), language) for language in LANGUAGES)


@given(st.dictionaries(st.integers(0, 400) | st.sampled_from([0.5, 1 / 3, 7.25]), st.integers(1, 50), min_size=1))
def test_distributions_are_numpys(counts: dict[Any, int]) -> None:
    check_distribution(distribution(counts), [value for value, number in counts.items() for _ in range(number)])


def test_plots_are_of_the_numbers_in_either_language() -> None:
    found = statistics(BUNDLED)
    for language in LANGUAGES:
        plots = statistics_plots(found, language)
        names = {"domains", "margins", "margins-by-domain", "lengths", "models", "judges"}
        assert set(plots) == {f"{name}.svg" for name in names}
        for domain, part in found.domains.items():
            assert f"{domain}: {part.pairs}" in plots["domains.svg"]
        assert "fictional-moyun-72b: 100.0%" in plots["models.svg"]
        assert set(sweep_plots(sweep(BUNDLED), language)) == {"yield.svg", "balance.svg", "second-judge.svg"}
