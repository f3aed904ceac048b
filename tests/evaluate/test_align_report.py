"""What models make of a benchmark: means from their parts, bounds, intervals, comparisons, refusals, pages."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from aligning import JUDGE, Scores, align_rows, benchmark, mt_rows, write_results
from commands import run

from coig_p.errors import UsageError
from coig_p.evaluate.align.benchmarks import Benchmark, Question
from coig_p.evaluate.align.kinds import CATEGORIES, LANGUAGE, REASONING
from coig_p.evaluate.align.report_text import as_page, sections
from coig_p.evaluate.align.reporting import Comparison, align_report


def drawn(seed: int, *, missing: float = 0.0, higher: int = 0) -> Scores:
    """Scores by hash of the question, some of them missing."""

    def score(question: Question, turn: int) -> int | str:
        rng = random.Random(f"{seed} {question.id} {turn}")
        if rng.random() < missing:
            return rng.choice(["several", "no-answer"])
        return min(10, rng.randint(1, 9) + higher)

    return score


def of_category(of: Benchmark, scores: Scores, fill: int | None = None) -> dict[str, list[int]]:
    """The slow way: the scores of each category, and of each turn."""
    found: dict[str, list[int]] = defaultdict(list)
    for question in of.questions:
        for turn in range(1, len(question.turns) + 1):
            score = scores(question, turn)
            value = score if isinstance(score, int) else fill
            if value is not None:
                found[question.category].append(value)
                found[str(turn)].append(value)
    return found


def aggregate(parts: dict[str, list[int]]) -> tuple[float, float, float]:
    means = {name: fmean(values) for name, values in parts.items()}
    reasoning, language = (fmean(means[name] for name in names) for names in (REASONING, LANGUAGE))
    return reasoning, language, (reasoning + language) / 2


def test_overall_is_the_mean_of_two_means(tmp_path: Path) -> None:
    of = benchmark(tmp_path, align_rows(each=7))
    scores = drawn(1, missing=0.2)
    (one,) = align_report([write_results(tmp_path / "r", of, scores)]).models
    parts = of_category(of, scores)
    told = (one.reasoning, one.language, one.overall)
    assert [score.mean for score in told if score is not None] == pytest.approx(aggregate(parts))
    for bound, fill in (("at_1", 1), ("at_10", 10)):
        expected = aggregate(of_category(of, scores, fill))
        assert [getattr(score, bound) for score in told] == pytest.approx(expected)
    for name in CATEGORIES:
        score = one.categories[name]
        assert score.mean == pytest.approx(fmean(parts[name]))
        assert score.n + score.invalid + score.unanswered == 7
    assert one.overall.n == sum(len(parts[name]) for name in CATEGORIES)
    assert one.overall.invalid == one.reasons["several"]
    assert one.overall.unanswered == one.reasons["no-answer"]


def test_the_interval_is_that_of_a_bootstrap_within_category(tmp_path: Path) -> None:
    """Beside the standard error of the weighted sum, in which each category has its own variance."""
    of = benchmark(tmp_path, align_rows(each=40))
    scores = drawn(2)
    (one,) = align_report([write_results(tmp_path / "r", of, scores)]).models
    parts = of_category(of, scores)
    variance = 0.0
    for name in CATEGORIES:
        weight = 0.25 if name in REASONING else 1 / 12
        variance += weight**2 * float(np.var(parts[name])) / 40
    half = 1.96 * variance**0.5
    assert one.overall.low is not None
    assert one.overall.high is not None
    assert one.overall.mean is not None
    assert one.overall.low == pytest.approx(one.overall.mean - half, abs=0.15 * half)
    assert one.overall.high == pytest.approx(one.overall.mean + half, abs=0.15 * half)


def test_turns_of_mt_bench_are_averaged_and_then_their_means(tmp_path: Path) -> None:
    of = benchmark(tmp_path, mt_rows())
    scores = drawn(3, missing=0.3)
    (one,) = align_report([write_results(tmp_path / "r", of, scores)]).models
    parts = of_category(of, scores)
    assert (one.reasoning, one.language) == (None, None)
    assert {turn: score.mean for turn, score in one.turns.items()} == pytest.approx(
        {turn: fmean(parts[turn]) for turn in ("1", "2")}
    )
    assert one.overall.mean == pytest.approx((fmean(parts["1"]) + fmean(parts["2"])) / 2)
    assert set(one.categories) == {"writing", "math"}


def test_a_category_that_is_not_there_leaves_no_overall(tmp_path: Path) -> None:
    of = benchmark(tmp_path, [row for row in align_rows() if row["category"] != "逻辑推理"])
    (one,) = align_report([write_results(tmp_path / "r", of, drawn(4))]).models
    assert one.reasoning is not None
    assert one.language is not None
    assert (one.overall.mean, one.reasoning.mean, one.overall.at_1) == (None, None, None)
    assert one.language.mean is not None


def test_one_question_a_category_gives_no_interval_and_no_p(tmp_path: Path) -> None:
    of = benchmark(tmp_path, align_rows(each=1))
    paths = [write_results(tmp_path / f"r{at}", of, drawn(at), name=f"m{at}") for at in range(2)]
    found = align_report(paths)
    assert all((one.overall.low, one.overall.high) == (None, None) for one in found.models)
    (two,) = found.comparisons
    assert two.difference is not None
    assert (two.low, two.p, two.p_holm) == (None, None, None)


def test_minus_one_enters_the_published_mean(tmp_path: Path) -> None:
    """As on the same texts their code has it: 5% of -1 in a mean of 6 take .35 of it."""
    of = benchmark(tmp_path, align_rows(each=20))
    own = lambda question, turn: -1.0 if int(question.id) % 100 == 0 else 6.0  # noqa: E731
    path = write_results(tmp_path / "r", of, lambda question, turn: 6, official=own)
    (one,) = align_report([path], official=True).models
    assert one.official is not None
    assert one.overall.mean == 6.0
    assert one.official.minus_ones == 8
    assert one.official.overall == pytest.approx(6 - 0.35)
    assert one.official.reasoning == pytest.approx((6 * 19 - 1) / 20)
    of = benchmark(tmp_path / "mt", mt_rows())
    own = lambda question, turn: -1.0 if question.id == "1081" else 6.0  # noqa: E731
    path = write_results(tmp_path / "mt" / "r", of, lambda question, turn: 6, official=own)
    (one,) = align_report([path], official=True).models
    assert one.official is not None
    assert (one.official.overall, one.official.minus_ones) == (6.0, 2)
    # Its average is of all judgements of both turns: one 3 less in a turn weighs as one.
    own = lambda question, turn: (3.0 if question.id == "1082" else -1.0) if turn == 2 else 6.0  # noqa: E731
    (one,) = align_report([write_results(tmp_path / "uneven", of, lambda *_: 6, official=own)], official=True).models
    assert one.official is not None
    assert one.official.overall == pytest.approx((6 * len(of.questions) + 3) / (len(of.questions) + 1))


def test_a_question_scored_in_one_turn_alone_takes_no_interval_away(tmp_path: Path) -> None:
    of = benchmark(tmp_path, mt_rows())

    def scores(question: Question, turn: int) -> int | str:
        return "several" if (question.id, turn) == ("1083", 2) else drawn(1)(question, turn)

    (one,) = align_report([write_results(tmp_path / "r", of, scores)]).models
    assert None not in (one.overall.low, one.turns["2"].mean)
    assert one.turns["2"].low is None  # of its one question of mathematics none can be drawn that differs


def test_models_are_compared_on_the_questions_of_both(tmp_path: Path) -> None:
    of = benchmark(tmp_path, align_rows(each=30))
    every: list[Scores] = [drawn(1, missing=0.1), drawn(1, missing=0.1, higher=1), drawn(9, missing=0.1)]
    paths = [write_results(tmp_path / f"r{at}", of, one, name=f"m{at}") for at, one in enumerate(every)]
    found = align_report(paths)
    assert [(one.one, one.other) for one in found.comparisons] == [("m1", "m0"), ("m2", "m0"), ("m2", "m1")]
    for one, (left, right) in zip(found.comparisons, [(1, 0), (2, 0), (2, 1)], strict=True):
        sums: list[dict[str, list[int]]] = [defaultdict(list), defaultdict(list)]
        for question in of.questions:
            values = [every[at](question, 1) for at in (left, right)]
            if all(isinstance(value, int) for value in values):
                for told, value in zip(sums, values, strict=True):
                    told[question.category].append(int(value))
        assert one.difference == pytest.approx(aggregate(sums[0])[2] - aggregate(sums[1])[2])
        assert one.questions == sum(map(len, sums[0].values()))
        assert one.p_holm is not None
        assert one.p is not None
        assert one.p_holm >= one.p
    assert found.comparisons[0].p_holm is not None
    assert found.comparisons[0].p_holm < 0.01
    against = align_report(paths[:2], against=paths[2])
    assert [(one.one, one.other) for one in against.comparisons] == [("m0", "m2"), ("m1", "m2")]
    assert align_report(paths, seed=0) == found
    assert align_report(paths, seed=1) != found


def test_what_one_model_lacks_is_not_drawn(tmp_path: Path) -> None:
    """The interval and p are those of a benchmark that never had the question."""
    rows = align_rows(each=6)
    lacked = str(rows[8]["question_id"])

    def found(rows: list[dict[str, Any]], folder: Path, lacked: str = "") -> Comparison:
        folder.mkdir()
        of = benchmark(folder, rows)
        without = lambda question, turn: "no-answer" if question.id == lacked else drawn(1)(question, turn)  # noqa: E731
        paths = [
            write_results(folder / "one", of, without, name="one"),
            write_results(folder / "other", of, drawn(2), name="other"),
        ]
        return align_report(paths).comparisons[0]

    there = found(rows, tmp_path / "all", lacked)
    assert there == found([row for row in rows if str(row["question_id"]) != lacked], tmp_path / "fewer")
    assert (there.questions, there.p is None) == (47, False)


@pytest.mark.parametrize(
    ("name", "value"),
    [("model", "k"), ("prompt_sha256", "q" * 64), ("parameters", {"temperature": 1}), ("system", "严格")],
)
def test_results_of_two_judges_are_refused(name: str, value: Any, tmp_path: Path) -> None:
    of = benchmark(tmp_path)
    one = write_results(tmp_path / "one", of, drawn(1))
    other = write_results(tmp_path / "other", of, drawn(2), judge={**JUDGE, name: value})
    with pytest.raises(UsageError, match=f"judges differ in {name.replace('prompt_sha256', 'their prompts')}"):
        align_report([one, other])
    assert "cannot be compared" in run("align", "report", one, other, code=2).stderr
    renamed = write_results(tmp_path / "renamed", of, drawn(2), judge={**JUDGE, "name": "another"})
    assert len(align_report([one, renamed]).models) == 2


def test_two_files_of_a_benchmark_are_refused_and_so_is_a_folder_twice(tmp_path: Path) -> None:
    one = write_results(tmp_path / "one", benchmark(tmp_path), drawn(1))
    other = write_results(tmp_path / "other", benchmark(tmp_path / "b", align_rows(3)), drawn(1))
    with pytest.raises(UsageError, match="the benchmark's file differs"):
        align_report([one, other])
    with pytest.raises(UsageError, match="named twice"):
        align_report([one, tmp_path / "other" / ".." / "one"])


def test_two_models_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    of = benchmark(tmp_path)
    paths = [write_results(tmp_path / name, of, drawn(1)) for name in ("a", "b")]
    assert [one.name for one in align_report(paths).models] == [f"m ({path})" for path in paths]


def test_answers_of_other_options_are_told(tmp_path: Path) -> None:
    of, usual = benchmark(tmp_path), {"official": False, "keep_cut": False, "temperatures": {"math": 0.1, "open": 0.7}}
    paths = [
        write_results(tmp_path / name, of, drawn(at), name=name, answered=told)
        for at, (name, told) in enumerate(
            {
                "one": usual,
                "alike": usual,
                "kept": usual | {"keep_cut": True},
                "hot": usual | {"temperatures": {"math": 1.0}},
            }.items()
        )
    ]
    assert align_report(paths[:2]).answered == {}
    assert len(sections(align_report(paths[:2]))[0].lines) == 2
    told = json.loads(run("align", "report", paths[0], paths[2], "--json").stdout)
    assert told["answered"] == {"keep_cut": {"one": False, "kept": True}}
    for language in ("en", "zh"):
        assert "keep_cut (one: false, kept: true)" in sections(align_report([paths[0], paths[2]]), language)[0].lines[2]
    said = run("align", "report", paths[0], paths[3]).stdout
    assert "temperatures (one: 0.1, 0.7, hot: 1.0)" in said
    assert "keep_cut" not in said


def test_the_command_prints_json_tables_and_a_page(tmp_path: Path) -> None:
    of = benchmark(tmp_path, align_rows(3))
    paths = [
        write_results(tmp_path / f"r{at}", of, drawn(at, missing=0.2), name=f"<b>m{at}</b>\u202e") for at in range(2)
    ]
    told = json.loads(run("align", "report", *paths, "--official", "--json").stdout)
    (first, _), (two,) = told["models"], told["comparisons"]
    assert set(told) == {"benchmark", "judge", "seed", "answered", "models", "comparisons"}
    score = {"mean", "low", "high", "n", "invalid", "unanswered", "at_1", "at_10"}
    assert set(first["overall"]) == set(first["categories"]["math"]) == score
    assert {"one", "other", "difference", "low", "high", "p", "p_holm", "questions"} == set(two)
    assert "official" not in json.loads(run("align", "report", *paths, "--json").stdout)["models"][0]
    for language, word in (("en", "By category"), ("zh", "按类别")):
        page = tmp_path / f"{language}.html"
        shown = run("align", "report", *paths, "--html", page, "--language", language).stdout
        assert word in shown
        assert word in page.read_text("utf-8")
        assert "<b>" not in page.read_text("utf-8")
        assert "\u202e" not in page.read_text("utf-8") + shown
    assert "exists" in run("align", "report", *paths, "--html", tmp_path / "en.html", code=2).stderr


def test_both_languages_have_the_same_numbers(tmp_path: Path) -> None:
    for at, rows in enumerate((align_rows(3), mt_rows())):
        of = benchmark(tmp_path / str(at), rows)
        paths = [write_results(tmp_path / f"{at}{nth}", of, drawn(nth, missing=0.2), name=f"m{nth}") for nth in (0, 1)]
        report = align_report(paths, official=True)
        english, chinese = sections(report, "en"), sections(report, "zh")
        assert [[row[1:] for row in one.rows if at or one is not english[2]] for one in english] == [
            [row[1:] for row in other.rows if at or other is not chinese[2]] for other in chinese
        ]
        assert as_page(report, "zh") != as_page(report, "en")


def test_usage(tmp_path: Path) -> None:
    assert "--check" in run("align", "report", code=2).stderr
    assert "Leave it out" in run("align", "report", "x", "--check", "t.csv", code=2).stderr
    assert "no results.json" in run("align", "report", tmp_path, code=1).stderr
