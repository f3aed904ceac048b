"""Words in the place of plots have the numbers of the statistics, in English and in Chinese."""

from __future__ import annotations

from pathlib import Path

import pytest
from make import make_store

from coig_p.core.svg import signed
from coig_p.report.captions import captions
from coig_p.report.card_tables import Value, cut, figures
from coig_p.report.figures import FEWEST_PAIRS, LANGUAGES, statistics_plots, sweep_plots
from coig_p.report.rule_words import WHY_IN_CHINESE
from coig_p.stats.counts import statistics
from coig_p.stats.intervals import Share
from coig_p.stats.sweep import sweep
from coig_p.store.locate import BUNDLED
from coig_p.validation.rules import RULES

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_plot_has_words_with_its_numbers(language: str) -> None:
    counted, swept = statistics(BUNDLED), sweep(BUNDLED)
    told = captions(counted, swept, language)
    assert told.keys() >= {name.removesuffix(".svg") for name in {**statistics_plots(counted), **sweep_plots(swept)}}
    for domain, one in counted.domains.items():
        assert f"{domain} {one.pairs}" in told["domains"].alt
    for model, of in counted.total.models.items():
        assert f"{model} {of.win_rate.share:.1%}" in told["models"].alt
    for judge, by in counted.total.judges.items():
        assert by.offset.mean is None or f"{judge} {signed(by.offset.mean)}" in told["judges"].alt
    (row,) = [row for row in swept.thresholds if row.threshold == swept.default_threshold]
    assert f"{row.pairs}" in told["yield"].alt
    assert f"{row.queries_kept:.1%}" in told["yield"].alt
    for share in (row.chosen_longer.share, row.most_chosen_share, row.model_balance):
        assert f"{share:.1%}" in told["balance"].alt
    agreed = row.second_judge
    for of_verdicts in (agreed.agrees, agreed.ties, agreed.opposes):
        shown = "–" if of_verdicts.n < FEWEST_PAIRS else f"{of_verdicts.share:.1%}"
        assert shown in told["second-judge"].alt
    assert f"{counted.total.margins.p50:g}" in told["margins"].alt
    assert all(one.line.endswith("。" if language == "zh" else ".") for one in told.values())


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_store_without_pairs_has_words_too(language: str, tmp_path: Path) -> None:
    row = {"query_id": "a", "domain": "math", "query": "几？", "source": None, "comparisons": None}
    response = {"model": "m", "text": "一", "scores": [{"judge": "j", "dimension": "overall", "score": 3.0}]}
    store = make_store(tmp_path / "store", [row | {"responses": [response]}])
    told = captions(statistics(store), sweep(store), language)
    assert "None" not in " ".join(one.alt for one in told.values())
    if language == "en":
        assert "0 pairs by domain: math 0." in told["domains"].alt


def test_columns_in_which_nothing_stands_are_left_out() -> None:
    rows: list[list[Value]] = [["a", 1, 0, None, Share(0), 0.5], ["b", 0, 0, None, Share(4, 0.0), 1234.5]]
    assert figures(["n", "x", "zero", "none", "share", "mean"], rows).splitlines() == [
        "| n | x | share | mean |",
        "| --- | ---: | ---: | ---: |",
        "| a | 1 | – | 0.50 |",
        "| b | 0 | 0.0% | 1,234.50 |",
    ]


def test_a_text_of_a_preview_is_one_short_line_without_markup() -> None:
    text = "| a\n\n# <script>x</script> ![i](x) \u202e" + "长" * 1_000_000
    found = cut(text)
    assert "\n" not in found
    assert "<" not in found
    assert "\u202e" not in found
    assert found.startswith("\\| a # &lt;script")
    assert found.endswith("长…")
    assert len(found) < 200
    assert cut("短") == "短"


def test_every_rule_is_told_in_chinese_as_its_document_does() -> None:
    assert WHY_IN_CHINESE.keys() == {*RULES, "contamination"}
    text = (DOCS / "checks.zh.md").read_text("utf-8")
    for rule, why in WHY_IN_CHINESE.items():
        assert rule == "contamination" or f"| {why}" in text
