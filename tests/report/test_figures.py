"""The words of plots and cards say what the numbers beside them are, in English and in Chinese."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from commands import run
from make import make_store

from coig_p.report.figures import LANGUAGES, statistics_plots, sweep_plots
from coig_p.stats.counts import statistics
from coig_p.stats.sweep import sweep
from coig_p.store.locate import BUNDLED

SVG = "{http://www.w3.org/2000/svg}"
WORDS = {"en": ("chosen", "rejected"), "zh": ("更优回答", "更差回答")}
SECOND = {"en": ("agrees", "ties", "opposes"), "zh": ("同意", "平局", "反对")}
KEPT = {"en": ("pairs, of", "queries with"), "zh": ("偏好对", "有偏好对的问题")}
BALANCE = {"en": ("the longer is", "most chosen", "balance of"), "zh": ("较长者为更优回答", "最多的模型", "均衡度")}


def scored_by_length(lengths: dict[int, float], scores: dict[int, list[float]]) -> list[dict[str, Any]]:
    """Ten queries, each with one response of each length; judge j0 gives the first of its scores, j1 the second."""
    return [
        {
            "query_id": f"m-{at}",
            "domain": "math",
            "query": f"问题{at}？",
            "source": None,
            "responses": [
                {
                    "model": f"model-{length}",
                    "text": "长" * int(length * factor),
                    "scores": [
                        {"judge": f"j{nth}", "dimension": "overall", "score": score}
                        for nth, score in enumerate(scores[length])
                    ],
                }
                for length, factor in lengths.items()
            ],
            "comparisons": None,
        }
        for at in range(10)
    ]


def legend(root: ElementTree.Element) -> list[str]:
    """The names of the series in order, each beside a square in its colour, or the mark of its points."""
    squares = [rect for rect in root.findall(f"{SVG}rect") if rect.get("y") == "40" and rect.get("width") == "12"]
    places = [float(square.get("x", 0)) for square in squares]
    marks = [path for path in root.findall(f"{SVG}path") if " 46) scale" in path.get("transform", "")]
    places += [float(mark.get("transform", "").split("(")[1].split()[0]) - 6 for mark in marks]
    assert [one.get("class", "").split()[0] for one in [*squares, *marks]] == [f"f{nth}" for nth in range(len(places))]
    names = {float(text.get("x", 0)): text.text or "" for text in root.findall(f"{SVG}text") if text.get("y") == "51"}
    return [names[place + 17] for place in places]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_word_for_chosen_stands_by_what_was_chosen(language: str, tmp_path: Path) -> None:
    # The long response has the high scores, so what was chosen fills the columns at the right.
    rows = scored_by_length({10: 1, 900: 1}, {10: [1, 1], 900: [9, 9]})
    found = statistics(make_store(tmp_path / "store", rows))
    root = ElementTree.fromstring(statistics_plots(found, language)["lengths.svg"])
    places = []
    for nth in range(2):
        full = [r for r in root.findall(f"{SVG}rect[@class='f{nth}']")[1:] if float(r.get("height", 0)) > 0]
        (column,) = full
        places.append(float(column.get("x", 0)))
    names = dict(zip(legend(root), places, strict=True))
    chosen, rejected = WORDS[language]
    assert names[chosen] > names[rejected] + 50
    assert len(names) == 2


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_words_of_a_sweep_stand_by_their_lines(language: str, tmp_path: Path) -> None:
    # j0 makes the pairs, and j1 agrees with more of them than it calls ties, and opposes the fewest.
    rows = scored_by_length(
        {10: 1, 20: 1, 30: 1, 40: 1, 50: 1}, {10: [1, 1], 20: [3, 4], 30: [5, 4], 40: [7, 9], 50: [9, 8]}
    )
    found = sweep(make_store(tmp_path / "store", rows))
    plots = {name: ElementTree.fromstring(plot) for name, plot in sweep_plots(found, language).items()}

    def first_heights(name: str) -> list[float]:
        root = plots[name]
        marks = [
            [path.get("transform", "") for path in root.findall(f"{SVG}path[@class='f{nth} point']")][1:]
            for nth in range(len(legend(root)))
        ]  # the first is the legend's
        return [float(own[0].rstrip(")").split()[1]) for own in marks]

    for name, words in (("second-judge.svg", SECOND), ("yield.svg", KEPT), ("balance.svg", BALANCE)):
        shown = legend(plots[name])
        assert len(shown) == len(words[language])
        assert all(part in text for part, text in zip(words[language], shown, strict=True)), shown
    agrees, ties, opposes = first_heights("second-judge.svg")
    assert agrees < ties, "higher up is more"
    assert agrees < opposes


def test_a_card_says_the_same_of_the_same_number_in_both_languages(tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(BUNDLED, store)
    shutil.copy(BUNDLED.parent / "card.toml", store)
    english, chinese = (run("card", store, "--language", language).stdout.splitlines() for language in ("en", "zh"))
    for names in (
        (
            "| domain | queries | responses | scores | pairs | pairs per query | longer one chosen |",
            "| 领域 | 问题 | 回答 | 评分 | 偏好对 | 每题偏好对 | 较长者更优 |",
        ),
        (
            "| model | responses | chosen | rejected | win rate (of its pairs) |",
            "| 模型 | 回答 | 更优 | 更差 | 胜率（占其偏好对） |",
        ),
        ("| judge | scores | mean score (points) |", "| 评审模型 | 评分 | 平均评分（分） |"),
    ):
        rows = [lines[lines.index(name) + 2] for lines, name in zip((english, chinese), names, strict=True)]
        assert rows[0] == rows[1]
    best = english.index("| model | responses | chosen | rejected | win rate (of its pairs) |") + 2
    _, _, chosen, rejected, rate = (cell.strip() for cell in english[best].strip("|").split("|"))
    assert int(chosen) / (int(chosen) + int(rejected)) == pytest.approx(float(rate.rstrip("%")) / 100, abs=0.001)
    (line,) = [line for line in english if line.startswith("Lengths in characters")]
    long, short = re.findall(r"(?:chosen|rejected) ([0-9.]+\d)", line)
    (line,) = [line for line in chinese if line.startswith("长度（字符）")]
    assert f"更优回答 {long}，更差回答 {short}" in line
