"""The card of a release: every number is what loading gives, and texts of models show as text."""

from __future__ import annotations

import itertools
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard
from make import twin
from markdown_it import MarkdownIt
from oracle import oracle_pairs
from releasing import to_release

from coig_p.publish.release import ReleaseConfig, write_release
from coig_p.report.card import PREVIEWED
from coig_p.stats.results import Statistics
from coig_p.store.store import Store
from coig_p.validation import load_rules
from coig_p.validation.rules import RULES


def test_the_card_survives_a_round_trip(released: Store, tmp_path: Path) -> None:
    text = (released.path / "README.md").read_text("utf-8")
    card = DatasetCard(text)
    card.save(tmp_path / "README.md")
    again = DatasetCard.load(tmp_path / "README.md")
    assert again.data.to_dict() == card.data.to_dict()
    assert again.text.strip() == card.text.strip()
    yaml.safe_load(text.split("---\n")[1])


def quoted(text: str) -> list[str]:
    """The texts that a card shows."""
    found = re.findall(r"<blockquote>(.*?)</blockquote>", text, re.S)
    return [unescape(one.replace("<br>\n", "\n")).replace("\xa0", " ") for one in found]


def numbers_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_every_number_of_the_text_is_what_loading_gives(name: str, released: Store) -> None:
    text = (released.path / name).read_text("utf-8")
    rows = twin()
    pairs = {
        domain: oracle_pairs([r for r in rows if r["domain"] == domain], threshold=2) for domain in ("chat", "math")
    }
    every = pairs["chat"] + pairs["math"]

    def longer(some: list[dict[str, Any]]) -> str:
        other = [row for row in some if len(row["chosen"]) != len(row["rejected"])]
        return f"{sum(len(row['chosen']) > len(row['rejected']) for row in other) / len(other):.1%}"

    for domain, some in [*pairs.items(), ("all" if name == "README.md" else "合计", every)]:
        own = [row for row in rows if domain in (row["domain"], "all", "合计")]
        responses = [response for row in own for response in row["responses"]]
        (line,) = re.findall(rf"^\| {domain} \|.*$", text, re.M)
        assert numbers_of(line)[1:] == [
            f"{len(own)}",
            f"{len(responses)}",
            f"{sum(len(response['scores']) for response in responses)}",
            f"{len(some)}",
            f"{len(some) / len(own):.2f}",
            longer(some),
        ]
    for model in ("lan", "mei", "zhu", "ju"):
        (line,) = re.findall(rf"^\| {model} \|.*$", text, re.M)
        chosen = sum(row["chosen_model"] == model for row in every)
        rejected = sum(row["rejected_model"] == model for row in every)
        assert numbers_of(line)[1:] == ["24", f"{chosen}", f"{rejected}", f"{chosen / (chosen + rejected):.1%}"]
    for judge in ("pan-a", "pan-b"):
        (line,) = re.findall(rf"^\| {judge} \|.*$", text, re.M)
        given = [s["score"] for row in rows for r in row["responses"] for s in r["scores"] if s["judge"] == judge]
        assert numbers_of(line)[1:] == [f"{len(given)}", f"{sum(given) / len(given):.2f}"]
    for kind, lengths in (
        ("chosen", [len(row["chosen"]) for row in every]),
        ("rejected", [len(row["rejected"]) for row in every]),
        ("response", [len(response["text"]) for row in rows for response in row["responses"]]),
        ("query", [len(row["query"]) for row in rows]),
    ):
        assert f"{sum(lengths) / len(lengths):,.2f}" in text, kind
    shown = quoted(text)
    assert any([row["prompt"], row["chosen"], row["rejected"]] == shown for row in every)
    for rows_of_config in ("default", "chat", "math"):
        assert re.search(
            rf"^\| `{rows_of_config}` \| \S+ \| train \| {len(pairs.get(rows_of_config, every))} \|", text, re.M
        )
    assert "0 errors, 0 warnings" in text or "0 个错误，0 个警告" in text


HOSTILE = (
    "</blockquote></pre><script>alert(1)</script> **b** [x](http://evil.example) ![i](x) {{ 7*7 }} {% raw %}"
    "\n\n---\n\n    code\n# h\n| a | `c`"
)


def test_markup_in_texts_and_names_shows_as_text(tmp_path: Path) -> None:
    rows = twin()
    for row in rows:
        row["query"] = f"{row['query']} {HOSTILE}"
        for response in row["responses"]:
            response["text"] += HOSTILE + "长" * 3
            response["model"] = f"<b>{response['model']}</b>|`x`"
            for score in response["scores"]:
                score["judge"] += "[j](http://evil.example)"
    store = to_release(tmp_path / "store", rows)
    rules = {id: rule for id, rule in load_rules().items() if rule.severity != "error"}
    out = write_release(store, tmp_path / "out", ReleaseConfig("1.0.0", rules=rules))
    for name in ("README.md", "README.zh.md"):
        text = (
            DatasetCard.load(out.path / name, ignore_metadata_errors=True).text
            if name == "README.md"
            else ((out.path / name).read_text("utf-8"))
        )
        html = MarkdownIt("gfm-like", {"linkify": False}).render(text)
        assert "<script" not in html
        assert "<b>" not in html
        assert 'href="http://evil.example' not in html
        assert "<strong>b</strong>" not in html
        assert html.count("<blockquote>") == html.count("</blockquote>") == 3
        assert "{{ 7*7 }}" in html
        assert "<h1>h</h1>" not in html
        assert "&lt;b&gt;lan&lt;/b&gt;|`x`" in html
        assert html.count("<h1>") == 1


def test_a_long_text_is_cut_and_a_short_clean_pair_is_shown(tmp_path: Path) -> None:
    rows = twin()
    for row in rows[:6]:
        row["responses"][0]["text"] = "长" * 5000 + row["responses"][0]["text"]
    rules = {id: rule for id, rule in load_rules().items() if rule.severity != "error"}
    out = write_release(to_release(tmp_path / "store", rows), tmp_path / "out", ReleaseConfig("1.0.0", rules=rules))
    blocks = quoted((out.path / "README.md").read_text("utf-8"))
    assert len(blocks) == 3
    assert all(len(block) < 500 for block in blocks)


def table_below(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading: its header, its alignments, its rows."""
    lines = text.partition(heading)[2].partition("\n\n")[2].splitlines()
    return [re.split(r"(?<!\\) ?\| ?", line)[1:-1] for line in itertools.takewhile(lambda one: one[:1] == "|", lines)]


@pytest.mark.parametrize(
    ("name", "heading", "points"),
    [("README.md", "### {} pairs, cut", "points"), ("README.zh.md", "### {} 个偏好对", "分")],
)
def test_a_preview_has_pairs_of_every_domain_with_their_margins(
    name: str, heading: str, points: str, released: Store
) -> None:
    every: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for row in oracle_pairs(twin(), threshold=2):
        own = every.setdefault((row["domain"], row["prompt"]), [])
        own.append((row["chosen"], row["rejected"], f"{row['margin']:g}"))
    wanted = min(len(every), PREVIEWED)
    header, alignments, *rows = table_below((released.path / name).read_text("utf-8"), heading.format(wanted))
    assert points in header[-1]
    assert alignments == ["---:", *["---"] * 4, "---:"]
    assert [row[0] for row in rows] == [str(at + 1) for at in range(wanted)]
    assert sorted({row[1] for row in rows}) == ["chat", "math"]
    assert len({row[2] for row in rows}) == wanted
    for _, domain, prompt, chosen, rejected, margin in rows:
        assert (chosen, rejected, margin) in every[(domain, prompt)]


def test_models_stand_by_win_rate_and_numbers_at_the_right(released: Store) -> None:
    counted = Statistics.from_json((released.path / "statistics.json").read_text("utf-8"))
    rates = {name: one.win_rate.share or 0 for name, one in counted.total.models.items()}
    for name, first in (("README.md", "model"), ("README.zh.md", "模型")):
        text = (released.path / name).read_text("utf-8")
        lines = [line for line in text.splitlines() if re.match(r"\| (lan|mei|zhu|ju) \|", line)]
        assert [numbers_of(line)[0] for line in lines] == sorted(rates, key=lambda model: -rates[model])
        header = text[: text.index(lines[0])].splitlines()[-2:]
        assert numbers_of(header[0])[0] == first
        assert numbers_of(header[1]) == ["---", *["---:"] * 4]
        for word in ("comparisons", "成对比较"):  # there are none, so there is no column of them
            assert f"| {word} |" not in text


def test_plots_have_words_in_their_place(released: Store) -> None:
    counted = Statistics.from_json((released.path / "statistics.json").read_text("utf-8"))
    for name, end in (("README.md", ".svg"), ("README.zh.md", ".zh.svg")):
        text = (released.path / name).read_text("utf-8")
        plots = dict(re.findall(r"^!\[(?P<alt>.*)\]\(plots/([\w-]+)" + re.escape(end) + r"\)$", text, re.M))
        assert len(plots) == len(list((released.path / "plots").glob(f"*{end}"))) / (2 if end == ".svg" else 1)
        by_name = {plot: alt for alt, plot in plots.items()}
        for domain, one in counted.domains.items():
            assert f"{domain} {one.pairs}" in by_name["domains"]
        for model, of in counted.total.models.items():
            assert f"{model} {of.win_rate.share:.1%}" in by_name["models"]
        assert f"{counted.total.pairs}" in by_name["margins"]
        assert all(re.search(r"\d", alt) for alt in plots)
        figures = re.findall(r"\*\*(?:Figure|图) (\d+)\.?\*\*", text)
        assert figures == [str(at + 1) for at in range(len(plots))]


def test_the_chinese_card_has_no_english_words_of_its_own(released: Store) -> None:
    """But for code, names of the data and what card.toml says."""
    text = (released.path / "README.zh.md").read_text("utf-8")
    text = re.sub(r"```.*?```|`[^`\n]*`|\]\([^)]*\)", "", text, flags=re.S)
    known = {
        "English",
        "COIG",
        "IPv4",
        "kB",
        "SHA",
        "JSON",
        "TRL",
        "beta",
        "Trying",
        "releases",
        "written",
        "for",
        "tests",
        "CC0",
        "org",
        "name",
    }
    known |= {"br", "blockquote", "train", "chat", "math", "lan", "mei", "zhu", "ju", "pan", "cc", "by"}
    known |= {*RULES, *(word for rule in RULES for word in rule.split("-"))}
    assert set(re.findall(r"[A-Za-z][A-Za-z0-9]+", text)) <= known
