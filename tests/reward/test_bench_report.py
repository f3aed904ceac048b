"""`coigp bench report`: tables, JSON, Markdown, page and plot of results on disk."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from benched import item, result, right_or_wrong, written, written_bench
from commands import run

from coig_p.errors import UnknownNameError, UsageError
from coig_p.reward.bench.form import Bench
from coig_p.reward.bench.report_text import as_markdown, as_page, as_plot, sections
from coig_p.reward.bench.report_words import words
from coig_p.reward.bench.reporting import BenchReport, ReportConfig, bench_report

HOSTILE = "<img src=x onerror=alert(1)> | \x1b[31m \u202e [a](b)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, a judge, and one whose name is hostile, on 40 items of two domains, a hostile one among them."""
    root = tmp_path_factory.mktemp("bench")
    items = [
        item(f"i{at}", "math" if at % 2 else HOSTILE, texts=("字" * (3 + at % 5), "字" * (3 + at % 3)))
        for at in range(40)
    ]
    bench = written_bench(root / "bench", items, preset="crbench", name=HOSTILE)
    for name, least in (("good", 5), ("poor", 20)):
        results = right_or_wrong(items, [at >= least for at in range(40)])
        results[39] = result(items[39], None, reason="too-long")
        results[38] = result(items[38], (2, 2))
        written(root / name, bench, results)
    said = [[("ab", "first"), ("ba", ("second", "first", "tie", None)[at % 4])] for at in range(40)]
    written(
        root / "judge",
        bench,
        [result(one, said=of) for one, of in zip(items, said, strict=True)],
        {"kind": "judge", "name": "judge"},
    )
    written(root / "hostile", bench, right_or_wrong(items, [True] * 40), {"kind": "server", "name": HOSTILE})
    return root


def report_of(folder: Path, *names: str, **options: Any) -> BenchReport:
    return bench_report([folder / name for name in names], ReportConfig(**options))


def test_scorers_side_by_side_with_both_baselines(folder: Path) -> None:
    found = report_of(folder, "good", "poor", "judge")
    assert [(one.name, one.kind) for one in found.scorers] == [
        ("good", "model"), ("poor", "model"), ("judge", "judge"), ("length", "baseline"), ("random", "baseline"),
    ]  # fmt: skip
    good = found.scorers[0]
    assert (good.micro.right, good.micro.ties, good.micro.wrong, good.micro.missing) == (33, 1, 5, 1)
    assert good.micro.share.value == 33 / 39
    assert good.reasons == {"too-long": 1}
    assert good.calibration is not None
    assert found.scorers[2].calibration is None
    assert found.scorers[2].best_of_n is None
    # Only named results are compared, so that p is adjusted for these alone.
    assert [(one.name, one.against) for one in found.compared] == [
        ("poor", "good"), ("judge", "good"), ("judge", "poor"),
    ]  # fmt: skip
    assert report_of(folder, "good", baselines=False).scorers == (good,)
    assert [one.path for one in found.scorers[3:]] == [None, None]
    assert report_of(folder, "good", tie="half").scorers[0].micro.share.value == 33.5 / 39


def test_against_one_compares_each_of_the_others_with_it_and_shows_it_once(folder: Path) -> None:
    for named in (["poor", "judge"], ["poor", "good", "judge"]):
        found = bench_report([folder / name for name in named], against=folder / "good")
        assert [(one.name, one.against) for one in found.compared] == [("poor", "good"), ("judge", "good")]
        assert sorted(one.name for one in found.scorers[:3]) == ["good", "judge", "poor"]


def test_runs_of_one_scorer_are_told_apart_by_their_folders(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    bench = bench_report([folder / "good"]).bench
    written(again, bench, right_or_wrong(bench.items, [True] * 40), {"kind": "model", "name": "good"})
    found = bench_report([folder / "good", again])
    assert [one.name for one in found.scorers[:2]] == [f"good ({folder / 'good'})", f"good ({again})"]


def test_a_scorer_that_scored_nothing_is_shown_and_not_compared(folder: Path, tmp_path: Path) -> None:
    bench = bench_report([folder / "good"]).bench
    none = written(tmp_path / "none", bench, [result(one, None, reason="too-long") for one in bench.items])
    found = bench_report([folder / "good", folder / "poor", none])
    assert found.apart == (("none", "good"), ("none", "poor"))
    assert [(one.name, one.against) for one in found.compared] == [("poor", "good")]
    assert found.to_dict()["not_compared"] == [["none", "good"], ["none", "poor"]]
    assert found.scorers[2].micro.share.value is None
    for language, said in (("en", "none and good scored no pair in common"), ("zh", "none 与 good 没有共同评过")):
        assert said in as_page(found, language)


def test_a_benchmark_of_ties_alone_has_no_pair_and_a_report_all_the_same(tmp_path: Path) -> None:
    subsets = {"rewardbench": "donotanswer", "rewardbench2": "Ties", "rm-bench": "chat"}
    for preset in ("pairs", "crbench", "cheems", "rewardbench", "rewardbench2", "judgebench", "rm-bench"):
        meta: dict[str, Any] = {"subset": subsets.get(preset, "open"), "style": ["concise", "concise"]}
        items = [item("x", ranks=(0, 0), **meta), item("y", ranks=(1, 1), **meta)]
        bench = written_bench(tmp_path / preset, items, preset=preset)
        results = written(tmp_path / f"of-{preset}", bench, right_or_wrong(items, [True, True]))
        found = bench_report([results], ReportConfig(official=True))
        assert (found.pairs, found.scorers[0].micro.pairs, found.scorers[0].exact.n) == (0, 0, 0)
        assert "Scorers" in as_markdown(found, power=True)
        assert as_page(found, "zh").startswith("<!doctype html>")


def test_results_of_two_benchmarks_are_refused(folder: Path, tmp_path: Path) -> None:
    other: Bench = written_bench(tmp_path / "other", [item("x")], name="other")
    written(tmp_path / "results", other, right_or_wrong(other.items, [True]))
    with pytest.raises(UsageError, match="a report is of one benchmark"):
        bench_report([folder / "good", tmp_path / "results"])
    with pytest.raises(UsageError, match="named twice"):
        bench_report([folder / "good", folder / "poor" / ".." / "good"])
    with pytest.raises(UsageError, match="no results"):
        bench_report([])


def test_the_command_prints_tables_and_writes_what_is_asked_for(folder: Path, tmp_path: Path) -> None:
    names = {"--html": "a.html", "--markdown": "a.md", "--plot": "a.svg"}
    files = [text for option, name in names.items() for text in (option, str(tmp_path / name))]
    done = run("bench", "report", *(folder / name for name in ("good", "poor", "judge")), "--power", *files)
    for line in ("Scorers", "By domain", "As crbench counts", "Both orders, and four rules", "Compared", "Power"):
        assert f"\n{line}\n" in done.stdout
    assert re.search(r"^good +model +84\.6% \(70\.3–92\.8\) ", done.stdout, re.MULTILINE)
    assert re.search(r"^good +too-long +1$", done.stdout, re.MULTILINE)
    page, board, plot = ((tmp_path / name).read_text("utf-8") for name in names.values())
    assert "<script" not in page
    assert 'src="data:image/svg+xml;base64,' in page
    assert "| good | model | 84.6% (70.3–92.8) |" in board.replace("\\.", ".")
    assert plot.startswith("<svg")
    assert "--overwrite" in run("bench", "report", folder / "good", *files, code=2).stderr
    run("bench", "report", folder / "good", *files, "--overwrite")


def test_the_command_as_json(folder: Path) -> None:
    told = json.loads(run("bench", "report", folder / "good", folder / "judge", "--json", "--official").stdout)
    good, judge = told["scorers"][:2]
    assert (told["items"], told["pairs"], told["official"]) == (40, 40, True)
    assert good["micro"] | {"share": None, "lowest": None} == {
        "pairs": 40, "right": 33, "ties": 1, "wrong": 5, "invalid": 0, "missing": 1, "share": None, "lowest": None,
    }  # fmt: skip
    assert good["preset"]["values"]["Overall"]["value"] == 33 / 40
    assert good["preset"]["faults"] == ["missing-wrong"]
    assert set(judge["position"]["rules"]) == {"mean", "net", "both", "first"}
    assert {"mcnemar_holm", "p_holm", "needed", "power", "low", "high"} <= set(told["comparisons"][0])


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["missing"], 1, "no results.json there"),
        (["good", "--html", "x", "--markdown", "x"], 2, "named for two files"),
        (["good", "--seed", "-1"], 2, "seed=-1 (--seed): use a whole number from 0"),
        (["good", "--tie", "none"], 2, "'none' is not one of"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: Sequence[str], code: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in run("bench", "report", folder / more[0], *more[1:], code=code).stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_hostile_names_stay_text_everywhere(folder: Path, language: str) -> None:
    found = report_of(folder, "hostile", "good", "judge")
    page, board = as_page(found, language), as_markdown(found, language)
    for text in (page, board, as_plot(found, language)):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "<img src=x" not in text
    assert "[a](b)" not in board
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in board.split("\n") if line.startswith("| i")}) <= 1
    assert "\x1b" not in run("bench", "report", folder / "hostile", "--language", language).stdout


def test_both_languages_say_the_same_and_know_every_word(folder: Path) -> None:
    found = report_of(folder, "good", "judge")
    english, chinese = (sections(found, language, power=True) for language in ("en", "zh"))
    assert [(len(one.header), len(one.rows)) for one in english] == [
        (len(one.header), len(one.rows)) for one in chinese
    ]
    assert set(words("en")) == set(words("zh"))
    for key, text in words("en").items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", words("zh")[key])), key
    with pytest.raises(UnknownNameError, match="unknown language 'de'"):
        sections(found, "de")


def test_what_is_compared_is_said_as_it_is(folder: Path) -> None:
    two = next(one for one in sections(report_of(folder, "good", "poor")) if one.title == "Compared")
    assert "Holm" not in two.lines[0]
    assert len(two.lines) == 1
    three = next(one for one in sections(report_of(folder, "good", "poor", "judge")) if one.title == "Compared")
    assert three.lines[0].endswith("p adjusted by Holm for 3 comparisons.")
    assert three.lines[1].startswith("No McNemar, and no power, between a judge")
    assert [row[-2:] for row in three.rows][1:] == [("–", "–"), ("–", "–")]


def test_what_ece_and_the_slope_are_is_said_beside_them(folder: Path) -> None:
    found = {one.title: one for one in sections(report_of(folder, "good"))}
    assert "Equal rewards are right by one half there" in found["Rewards as probabilities"].lines[0]
    assert found["Length"].header[-1] == "slope per SD"
    assert "per standard deviation" in found["Length"].lines[0]
