"""A release on disk: what loads it, what its card says, and what keeps it from being written."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from html import unescape
from pathlib import Path
from typing import Any

import commands
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from commands import Done
from datasets import load_dataset, load_dataset_builder
from huggingface_hub import DatasetCard
from make import completed, make_store, twin
from markdown_it import MarkdownIt
from oracle import oracle_pairs

import coig_p
from coig_p.core.atomic import atomic_directory
from coig_p.dedup.responses import ResponseConfig, dedup_responses, find_similar_responses
from coig_p.errors import CoigPError, DataError, UsageError
from coig_p.pairs.config import PairConfig
from coig_p.publish import shards
from coig_p.publish.plan import read_release
from coig_p.publish.release import ReleaseConfig, write_release
from coig_p.report.card import PREVIEWED
from coig_p.report.card_toml import CARD_TOML, card_template, read_card_info
from coig_p.schema import RAW_SCHEMA
from coig_p.stats.results import Statistics
from coig_p.store.locate import BUNDLED
from coig_p.store.manifest import Manifest
from coig_p.store.store import Store
from coig_p.store.writing import Part, write_store
from coig_p.validation import check, load_rules
from coig_p.validation.cleaning import clean_store
from coig_p.validation.rules import RULES

CARD = """
pretty_name = "试验用偏好数据"
license = "cc-by-4.0"
authors = ["甲", "乙"]
citation = "@misc{trial, title={Trial}}"
intended_use = "Trying releases."
[[sources]]
name = "written for tests"
license = "CC0"
"""


def to_release(path: Path, rows: list[dict[str, Any]], **options: Any) -> Store:
    store = make_store(path, rows, **options)
    (store / CARD_TOML).write_text(CARD, encoding="utf-8")
    return Store.open(store)


def rows_of(store: Store) -> list[dict[str, Any]]:
    return [row for batch in store.batches() for row in batch.to_pylist()]


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The release of a store in which pairs are cut into several shards."""
    folder = tmp_path_factory.mktemp("release")
    store = to_release(folder / "store", twin(), rows_per_shard=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "ROWS_PER_SHARD", 20)
        patch.setattr(shards, "ROWS_PER_GROUP", 16)
        return write_release(store, folder / "out", ReleaseConfig("1.0.0"))


LOAD = """
import json, sys
sys.modules["coig_p"] = None  # an environment without this package
from datasets import load_dataset
path, names = json.loads(sys.argv[1])
for name in names:
    rows = list(load_dataset(path, name, split="train"))
    assert rows == list(load_dataset(path, name, split="train", streaming=True))
    print(json.dumps(rows))
"""


def test_the_stock_library_alone_loads_every_config_row_for_row(released: Store) -> None:
    rows = twin()
    names = ["math", "chat", "math-raw", "chat-raw", None]
    done = subprocess.run(
        [sys.executable, "-c", LOAD, json.dumps([str(released.path), names])],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"USE_TORCH": "0"},  # streaming imports torch where it is installed, two seconds for nothing
    )
    assert done.returncode == 0, done.stderr
    math, chat, math_raw, chat_raw, every = map(json.loads, done.stdout.splitlines())
    assert math == oracle_pairs([row for row in rows if row["domain"] == "math"], threshold=2)
    assert chat == oracle_pairs([row for row in rows if row["domain"] == "chat"], threshold=2)
    assert math_raw == [row for row in rows if row["domain"] == "math"]
    assert chat_raw == [row for row in rows if row["domain"] == "chat"]
    assert every == chat + math


def test_a_stock_load_gives_the_rows_that_are_there_now(tmp_path: Path, cache: str) -> None:
    """Not what it kept of a release that stood there before, though the card's numbers are the same."""
    infos = []
    for at, mark in enumerate("？。"):  # whose shards are equally long
        rows = [row | {"query": row["query"] + mark} for row in twin() if row["domain"] == "math"]
        store = to_release(tmp_path / f"store-{at}", rows)
        out = write_release(store, tmp_path / "out", ReleaseConfig("1.0.0"), overwrite=at > 0)
        infos.append(DatasetCard.load(out.path / "README.md").data.dataset_info)
        raw, pairs = (
            load_dataset(str(out.path), name, split="train", cache_dir=cache) for name in ("math-raw", "math")
        )
        assert raw["query"][:] == [row["query"] for row in rows]
        assert {text[-1] for text in pairs["prompt"]} == {mark}
    assert infos[0] == infos[1]


def test_a_release_is_a_store_and_other_pairs_can_be_made_of_it(released: Store, cache: str) -> None:
    assert released.verify() == []
    wanted = oracle_pairs([row for row in twin() if row["domain"] == "math"], threshold=4)
    options: dict[str, Any] = {"threshold": 4, "data_dir": str(released.path), "split": "train"}
    assert list(load_dataset("coig-p", "math", cache_dir=cache, **options)) == wanted
    assert list(coig_p.load_dataset("math", streaming=True, **options)) == wanted


def test_what_is_made_of_a_release_is_a_store_again(released: Store, tmp_path: Path) -> None:
    new = clean_store(released, check(released), tmp_path / "clean").store
    assert released.manifest.release["version"] == "1.0.0"
    assert new.manifest.release == {}
    assert check(released).passed
    assert {file.role for file in new.manifest.files} == {"data", "readme"}


def test_shards_are_equal_in_rows_to_within_one(released: Store) -> None:
    for domain in ("math", "chat"):
        files = [file for file in released.manifest.files if file.role == "pairs" and file.domain == domain]
        rows = [int(file.rows or 0) for file in files]
        assert len(files) > 1
        assert max(rows) - min(rows) <= 1
        for file in files:
            footer = pq.read_metadata(released.path / file.path)
            assert max(footer.row_group(at).num_rows for at in range(footer.num_row_groups)) <= 16


def test_every_number_of_the_metadata_is_what_loading_gives(released: Store, cache: str) -> None:
    card = DatasetCard.load(released.path / "README.md")
    assert card.data.language == ["zh"]
    assert card.data.pretty_name == "试验用偏好数据"
    assert card.data.size_categories == ["n<1K"]
    by_name = {info["config_name"]: info for info in card.data.dataset_info}
    assert set(by_name) == {"default", "chat", "math", "chat-raw", "math-raw"}
    for name, info in by_name.items():
        builder = load_dataset_builder(str(released.path), name, cache_dir=cache)
        described = builder.info.copy()
        builder.info.splits, builder.info.dataset_size = None, None  # count afresh
        builder.download_and_prepare(verification_mode="no_checks")
        assert described.features == builder.info.features
        assert info["splits"] == [
            {"name": split, "num_bytes": found.num_bytes, "num_examples": found.num_examples}
            for split, found in builder.info.splits.items()
        ]
        assert info["dataset_size"] == sum(found.num_bytes for found in builder.info.splits.values())
        folder = "pairs/*" if name == "default" else f"data/{name[:-4]}" if name.endswith("-raw") else f"pairs/{name}"
        files = list(released.path.glob(f"{folder}/*.parquet"))
        assert info["download_size"] == sum(path.stat().st_size for path in files)


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


def test_two_runs_give_the_same_bytes(released: Store, tmp_path: Path) -> None:
    store = to_release(tmp_path / "store", twin())
    one = write_release(store, tmp_path / "one", ReleaseConfig("1.0.0", num_proc=1))
    two = write_release(store, tmp_path / "two", ReleaseConfig("1.0.0", num_proc=2))
    files = sorted(path.relative_to(one.path) for path in one.path.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(two.path) for path in two.path.rglob("*") if path.is_file())
    for path in files:
        assert (one.path / path).read_bytes() == (two.path / path).read_bytes(), path
    beside = {"manifest.json", CARD_TOML}
    assert {str(path) for path in files} == {file.path for file in one.manifest.files} | beside


def test_other_pairs_and_none(tmp_path: Path) -> None:
    store = to_release(tmp_path / "store", twin())
    pairs = PairConfig(threshold=4, judges=("pan-a",), strategy="best_worst")
    out = write_release(store, tmp_path / "other", ReleaseConfig("1.0.0", pairs=pairs))
    wanted = oracle_pairs(
        [row for row in twin() if row["domain"] == "math"], threshold=4, judges=("pan-a",), strategy="best_worst"
    )
    assert list(load_dataset(str(out.path), "math", split="train", streaming=True)) == wanted
    assert out.manifest.release["pairs"]["judges"] == ["pan-a"]
    text = (out.path / "README.md").read_text("utf-8")
    assert "`strategy=best_worst`" in text
    out = write_release(store, tmp_path / "none", ReleaseConfig("1.0.0", pairs=None))
    assert not (out.path / "pairs").exists()
    assert {config["config_name"] for config in DatasetCard.load(out.path / "README.md").data.configs} == {
        "chat-raw",
        "math-raw",
    }


NO_ERRORS = {id: rule for id, rule in load_rules().items() if rule.severity != "error"}


def tied(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same rows, every response of which was given 5."""
    return [
        row
        | {
            "responses": [
                response | {"scores": [score | {"score": 5.0} for score in response["scores"]]}
                for response in row["responses"]
            ]
        }
        for row in rows
    ]


def split_store(path: Path, parts: list[tuple[str, str, list[dict[str, Any]]]], **facts: Any) -> Store:
    """A store to release of (domain, split, rows)."""
    made = [
        Part(domain, split, len(rows), [pa.RecordBatch.from_pylist(completed(named), schema=RAW_SCHEMA)])
        for domain, split, rows in parts
        for named in [[row | {"domain": domain, "query_id": f"{split}-{row['query_id']}"} for row in rows]]
    ]
    with atomic_directory(path) as root:
        write_store(root, made, Manifest(**{"score_range": (1, 10), "default_threshold": 2, "tool": "test", **facts}))
    (path / CARD_TOML).write_text(CARD, encoding="utf-8")
    return Store.open(path)


def rows_by_config(out: Store, cache: str) -> dict[str, dict[str, int]]:
    """Rows of every config and split as the card has them; the stock library gives as many, in both ways."""
    found = {}
    infos = DatasetCard.load(out.path / "README.md").data.dataset_info
    for info in infos if isinstance(infos, list) else [infos]:  # one config alone is no list
        name = info["config_name"]
        found[name] = {split["name"]: split["num_examples"] for split in info["splits"]}
        loaded = load_dataset(str(out.path), name, cache_dir=cache)
        assert {split: table.num_rows for split, table in loaded.items()} == found[name]
        streams = load_dataset(str(out.path), name, streaming=True)
        assert {split: len(list(stream)) for split, stream in streams.items()} == found[name]
    return found


def test_a_domain_or_split_without_a_pair_has_no_config_or_shard(tmp_path: Path, cache: str) -> None:
    rows = twin()
    parts = [("chat", "train", rows[:8]), ("chat", "test", tied(rows[8:16])), ("novel", "train", tied(rows[16:]))]
    store = split_store(tmp_path / "store", parts)
    out = write_release(store, tmp_path / "out", ReleaseConfig("1.0.0", rules=NO_ERRORS))
    assert out.verify() == []
    pairs = len(oracle_pairs(rows[:8], threshold=2))
    assert rows_by_config(out, cache) == {
        "default": {"train": pairs},
        "chat": {"train": pairs},
        "chat-raw": {"train": 8, "test": 8},
        "novel-raw": {"train": 8},
    }
    assert {file.path.rpartition("/")[0] for file in out.manifest.files if file.role == "pairs"} == {"pairs/chat"}
    text = (out.path / "README.md").read_text("utf-8")
    assert re.search(r"^\| novel \| 8 \| .* \| 0 \| 0.00 \|", text, re.M)
    assert "`novel`" not in text


def test_a_store_without_any_pair_is_not_released_with_pairs(tmp_path: Path, cache: str) -> None:
    store = split_store(tmp_path / "store", [("novel", "train", tied(twin()))])
    with pytest.raises(DataError, match=r"no two responses make a pair at threshold 2 .* --threshold, or --no-pairs"):
        write_release(store, tmp_path / "out", ReleaseConfig("1.0.0", rules=NO_ERRORS))
    assert not (tmp_path / "out").exists()
    out = write_release(store, tmp_path / "out", ReleaseConfig("1.0.0", pairs=None, rules=NO_ERRORS))
    assert rows_by_config(out, cache) == {"novel-raw": {"train": 24}}


def test_no_name_of_a_domain_keeps_it_from_being_loaded(tmp_path: Path, cache: str) -> None:
    """The stock library passes over folders that begin with __ where a pattern does not name them."""
    parts = [(domain, "train", twin()[:8]) for domain in ("__odd", "_few", "-dash", "chat")]
    out = write_release(
        split_store(tmp_path / "store", parts), tmp_path / "out", ReleaseConfig("1.0.0", rules=NO_ERRORS)
    )
    pairs = len(oracle_pairs(twin()[:8], threshold=2))
    found = rows_by_config(out, cache)
    assert found["default"] == {"train": 4 * pairs}
    assert found["__odd"] == found["-dash"] == {"train": pairs}


def snippets(out: Store, name: str) -> list[str]:
    """The lines of a card's code that load something, but for the one that pins a tag."""
    blocks = re.findall(r"```python\n(.*?)```", (out.path / name).read_text("utf-8"), re.S)
    lines = "".join(blocks).splitlines()
    return [line.partition(" = ")[2] for line in lines if " = load_dataset(" in line and "revision=" not in line]


@pytest.mark.parametrize("kind", ["points", "zero-one", "comparisons"])
def test_what_the_card_says_to_run_gives_rows(kind: str, tmp_path: Path) -> None:
    rows = twin()
    facts: dict[str, Any] = {}
    if kind == "zero-one":
        facts = {"score_range": (0, 1), "default_threshold": 0.25}
        for score in (score for row in rows for response in row["responses"] for score in response["scores"]):
            score["score"] = (score["score"] - 1) / 8
    if kind == "comparisons":
        facts = {"default_threshold": 1}
        entry = {"judge": "pan-a", "dimension": "overall", "first_score": 1.0, "second_score": 0.0}
        for row in rows:
            row["comparisons"] = [{"first": 0, "second": 1, **entry}]
            row["responses"] = [response | {"scores": []} for response in row["responses"]]
    store = split_store(tmp_path / "store", [("chat", "dev", rows[:12]), ("math", "dev", rows[12:])], **facts)
    out = write_release(store, tmp_path / "out", ReleaseConfig("1.0.0", rules=NO_ERRORS))
    for name in ("README.md", "README.zh.md"):
        found = [line.replace("PATH/OR/REPO", str(out.path)) for line in snippets(out, name)]
        assert len(found) == 6
        (other,) = [line for line in found if "threshold=" in line]
        assert f"threshold={ {'points': 3, 'zero-one': 0.75, 'comparisons': 1}[kind] }," in other
        for line in found:
            assert next(iter(eval(line, {"load_dataset": load_dataset})), None), line
        text = (out.path / name).read_text("utf-8")
        ranges = {"README.md": "Scores range from", "README.zh.md": "评分范围"}[name]
        assert (ranges in text) == (kind != "comparisons")


def test_an_interval_that_is_not_known_is_not_told(tmp_path: Path) -> None:
    store = split_store(tmp_path / "store", [("chat", "train", twin()[:1])])
    out = write_release(store, tmp_path / "out", ReleaseConfig("1.0.0", rules=NO_ERRORS))
    english, chinese = ((out.path / name).read_text("utf-8") for name in ("README.md", "README.zh.md"))
    assert re.search(r"of the pairs that differ in length\. A reward", english)
    assert "（95% 区间" not in chinese


def test_responses_dropped_as_alike_are_told(tmp_path: Path) -> None:
    rows = twin()
    for row in rows[:5]:
        row["responses"][1]["text"] = row["responses"][0]["text"]
    store = Store.open(make_store(tmp_path / "store", rows))
    config = ResponseConfig(threshold=0.95)
    written = dedup_responses(store, tmp_path / "unique", config, find_similar_responses(store, config))
    store, dropped = written.store, written.lost
    assert dropped.responses >= 5
    (store.path / CARD_TOML).write_text(CARD, encoding="utf-8")
    out = write_release(store, tmp_path / "out", ReleaseConfig("1.0.0", rules=NO_ERRORS))
    english, chinese = ((out.path / name).read_text("utf-8") for name in ("README.md", "README.zh.md"))
    gone, scores = dropped.responses, dropped.scores
    assert f"- Near-duplicate responses to one query, at 0.95: {gone} went, and with them {scores} scores." in english
    assert f"- 同一问题下近似重复的回答，阈值 0.95：去掉 {gone} 个，连同 {scores} 个评分。" in chinese
    # Who was alike to whom is told, so that splits can keep them together; the texts that went stay at home.
    at_home, told = (pq.read_table(one.path / "duplicates.parquet") for one in (store, out))
    assert {"text", "survivor_text"} <= set(at_home.column_names)
    assert told.equals(at_home.drop_columns(["text", "survivor_text"]))
    assert out.verify() == []


# ---------------------------------------------------------------------------------------------
# The gate


def test_what_keeps_a_release_from_being_written(tmp_path: Path) -> None:
    store = to_release(tmp_path / "store", twin())
    out = tmp_path / "out"

    def refused(words: str, config: ReleaseConfig | None = None) -> None:
        with pytest.raises(CoigPError, match=words):
            write_release(Store.open(store.path, check_sizes=False), out, config or ReleaseConfig("1.0.0"))
        assert not out.exists()

    benchmark = tmp_path / "bench.jsonl"
    benchmark.write_text(json.dumps({"question": twin()[3]["query"]}) + "\n", encoding="utf-8")
    refused(r"contamination \(1\).*coigp clean .* --against", ReleaseConfig("1.0.0", against=[benchmark]))
    (store.path / CARD_TOML).write_text(CARD.replace('license = "cc-by-4.0"', ""), encoding="utf-8")
    refused("license is not filled in")
    (store.path / CARD_TOML).write_text(card_template(), encoding="utf-8")
    refused(
        "pretty_name is not filled in; license is not filled in; authors is .*; citation .*; intended_use .*; sources"
    )
    (store.path / CARD_TOML).unlink()
    refused("coigp card .* --init")
    (store.path / CARD_TOML).write_text(CARD, encoding="utf-8")
    shard = store.path / store.data_files()[0].path
    whole = shard.read_bytes()
    shard.write_bytes(whole[:4] + bytes([whole[4] ^ 1]) + whole[5:])
    refused(r"files \(1\)|cannot be read")
    shard.write_bytes(whole)
    rows = twin()
    rows[5]["responses"][1]["text"] += "</s>"
    store = to_release(tmp_path / "wrong", rows)
    refused(r"special-token \(1\).*coigp check .*coigp clean")


def test_places_and_options_that_cannot_be(tmp_path: Path) -> None:
    store = to_release(tmp_path / "store", twin())
    with pytest.raises(UsageError, match="is the store itself"):
        write_release(store, store.path, ReleaseConfig("1.0.0"), overwrite=True)
    write_release(store, tmp_path / "out", ReleaseConfig("1.0.0"))
    with pytest.raises(UsageError, match="pass --overwrite"):
        write_release(store, tmp_path / "out", ReleaseConfig("1.0.0"))
    write_release(store, tmp_path / "out", ReleaseConfig("1.0.1"), overwrite=True)
    with pytest.raises(UsageError, match="format dpo"):
        write_release(store, tmp_path / "kto", ReleaseConfig("1.0.0", pairs=PairConfig(format="kto")))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("extra = 1", "extra is not a field of a card"),
        ("description = 1", "description must be a string"),
        ('errata = ["x"]', r"errata must be a list of tables: \[\[errata\]\]"),
        ('releases = [{version = "1"}]', r"releases \[0\] has no changes"),
        ("tags = [1]", "tags must be a list of strings"),
        ('pretty_name = "x"', "is not TOML"),
        ("tags = ['a\\nb']".replace("'", '"'), "tags must be a list of one line each"),
        ('tags = ["a", ""]', "tags has an empty string among others"),
        ('homepage = "javascript:alert(1)"', r"homepage 'javascript:alert\(1\)' is no link: write it as https://"),
        ('homepage = "https://a.example\\nlicense: mit"', "homepage must be one line"),
        ("chinese = {intended_use = 3}", r"chinese\.intended_use must be a string"),
        ('chinese = {sources = "x", errata = ["y"]}', r"chinese\.errata must be a list of tables"),
        ('chinese = {chinese = "x"}', r"chinese\.chinese is not a field of a card"),
    ],
)
def test_fields_of_a_card_that_cannot_be_are_named(change: str, words: str, tmp_path: Path) -> None:
    (tmp_path / CARD_TOML).write_text(change + "\n" + CARD, encoding="utf-8")
    with pytest.raises(DataError, match=words):
        read_card_info(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("cc-by-4.0", "CC-BY 4.0", "license 'CC-BY 4.0' is not an identifier that the Hub knows, .* 'cc-by-4.0'"),
        ("cc-by-4.0", "nobody's", 'or "other", best with license_name and license_link'),
        ("试验用", "试验\\n用", "pretty_name must be one line"),
        ('license = "CC0"', 'licence = "CC0"', r"sources \[0\] has no license"),
        (
            'license = "CC0"',
            'license = "CC0"\nlink = "x"',
            r"sources \[0\] has link, which is none of name, license, url",
        ),
        ('license = "CC0"', "license = 0", r"sources \[0\] has no license|sources \[0\] license must be a string"),
        ('license = "CC0"', 'license = "CC0"\nurl = "ftp://x"', r"sources \[0\] url 'ftp://x' is no link"),
    ],
)
def test_values_of_a_card_that_cannot_be_are_named(old: str, new: str, words: str, tmp_path: Path) -> None:
    (tmp_path / CARD_TOML).write_text(CARD.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DataError, match=words):
        read_card_info(tmp_path)


def test_a_licence_of_ones_own_and_a_date_as_toml_has_it(tmp_path: Path) -> None:
    own = 'license = "other"\nlicense_name = "ours"\nlicense_link = "https://example.org/l"'
    extra = '[[releases]]\nversion = "1.0.0"\nchanges = "First."\ndate = 2026-01-02\n'
    (tmp_path / CARD_TOML).write_text(CARD.replace('license = "cc-by-4.0"', own) + extra, encoding="utf-8")
    info = read_card_info(tmp_path)
    assert (info.license_name, info.license_link) == ("ours", "https://example.org/l")
    assert info.releases[0]["date"] == "2026-01-02"
    (tmp_path / CARD_TOML).write_text(CARD.replace("cc-by-4.0", "CC-BY-4.0"), encoding="utf-8")
    assert read_card_info(tmp_path).license == "cc-by-4.0"


OPTIONAL = re.compile(r"# ((?:[a-z_]+ = |\[).*)")


def uncommented(template: str) -> str:
    """The template with every line of TOML that it offers in use where it stands, and what is required filled in."""
    lines = [OPTIONAL.sub(r"\1", line) if OPTIONAL.fullmatch(line) else line for line in template.split("\n")]
    text = (
        "\n".join(lines).replace("https://...", "https://example.org").replace('url = ""', 'url = "https://a.example"')
    )
    text = text.replace('authors = [""]', 'authors = ["甲"]').replace('citation = """', 'citation = """\n@misc{a}')
    return re.sub('= ""(?!")', '= "mit"', text)


def test_optional_lines_of_the_template_work_where_they_stand(tmp_path: Path) -> None:
    text = uncommented(card_template())
    assert text.count("\n# ") < card_template().count("\n# ") - 20
    (tmp_path / CARD_TOML).write_text(text, encoding="utf-8")
    info = read_card_info(tmp_path)
    assert all(getattr(info, one.name) for one in fields(info))
    assert info.sources == ({"name": "mit", "license": "mit", "url": "https://a.example"},)
    assert info.limitations.startswith("What a user should know")
    assert info.chinese == {"description": "一段中文介绍。", "intended_use": "用途。"}
    assert [one["version"] for one in info.releases] == ["1.0.0"]
    assert [one["text"] for one in info.errata] == ["What is known to be wrong, and in which rows."]


def test_lines_below_the_sources_of_an_older_template_are_the_cards(tmp_path: Path) -> None:
    """Where TOML takes them for the source's: the template had them there, to be used by removing a "#"."""
    below = 'limitations = "查询由模板生成。"\ntags = ["alignment"]\n'
    (tmp_path / CARD_TOML).write_text(CARD + below, encoding="utf-8")
    info = read_card_info(tmp_path)
    assert (info.limitations, info.tags) == ("查询由模板生成。", ("alignment",))
    assert info.sources == ({"name": "written for tests", "license": "CC0", "url": ""},)
    (tmp_path / CARD_TOML).write_text('tags = ["a"]\n' + CARD + below, encoding="utf-8")
    with pytest.raises(DataError, match=r"sources \[0\] has tags, which is none of name, license, url"):
        read_card_info(tmp_path)
    (tmp_path / CARD_TOML).write_text(CARD + "contact = 3", encoding="utf-8")
    with pytest.raises(DataError, match="contact must be a string"):
        read_card_info(tmp_path)


def test_optional_fields_are_shown(tmp_path: Path) -> None:
    store = to_release(tmp_path / "store", twin())
    extra = """
[[releases]]
version = "1.0.0"
date = "2026-01-02"
changes = "First."
[[errata]]
text = "Row q-3 is odd."
[chinese]
intended_use = "试用。"
"""
    text = 'homepage = "https://example.org"\nannotation = "Two judges."\n' + CARD + extra
    (store.path / CARD_TOML).write_text(text, encoding="utf-8")
    out = write_release(store, tmp_path / "out", ReleaseConfig("1.0.0"))
    english, chinese = ((out.path / name).read_text("utf-8") for name in ("README.md", "README.zh.md"))
    assert "- **1.0.0** (2026-01-02): First." in english
    assert "- Row q-3 is odd." in english
    assert "Two judges." in english
    assert "Trying releases." in english
    assert "试用。" in chinese
    assert "Trying releases." not in chinese


def test_the_bundled_store_and_halluqa_can_be_released(tmp_path: Path, shared_data: Path) -> None:
    from coig_p.ingest.files import import_files
    from coig_p.ingest.intake import ImportConfig

    config = ImportConfig(domain="chat", score_range=(0, 1), default_threshold=1, on_error="skip")
    store, _ = import_files([shared_data / "halluqa.jsonl"], tmp_path / "halluqa", config)
    store = clean_store(store, check(store), tmp_path / "clean").store
    for at, one in enumerate([store, Store.open(BUNDLED)]):
        path = tmp_path / f"store-{at}"
        path.mkdir()
        for file in (*one.manifest.files, None):
            name = file.path if file else "manifest.json"
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes((one.path / name).read_bytes())
        (path / CARD_TOML).write_text(CARD, encoding="utf-8")
        out = write_release(Store.open(path), tmp_path / f"out-{at}", ReleaseConfig("1.0.0"))
        for domain in out.manifest.domains:
            streams = (
                coig_p.load_dataset(domain, data_dir=str(path), streaming=True, split="train"),
                load_dataset(str(out.path), domain, split="train", streaming=True),
            )
            # Tables, since so many rows are slow as dicts.
            wanted, found = (pa.concat_tables(each.with_format("arrow").iter(10_000)) for each in streams)
            assert wanted.num_rows > 0
            assert found.equals(wanted)


# ---------------------------------------------------------------------------------------------
# The commands


def run(program: str, *arguments: object, code: int = 0) -> Done:
    """A command in this process; coigp-publish is coigp publish."""
    return commands.run(*(["publish"] if program == "coigp-publish" else []), *arguments, code=code)


def test_from_a_store_to_a_folder_by_commands(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", twin())
    assert "coigp card" in run("coigp-publish", store, "--version", "1.0.0", "--target", "dir:x", code=1).stderr
    assert "fill it in" in run("coigp", "card", store, "--init").stdout
    assert (store / CARD_TOML).read_text("utf-8") == card_template()
    assert "edit it" in run("coigp", "card", store, "--init", code=2).stderr
    assert "license is not filled in" in run("coigp", "card", store, code=1).stderr
    (store / CARD_TOML).write_text(CARD, encoding="utf-8")
    for wrong in ("v1.0.0", "abc"):
        assert "three numbers without a v" in run("coigp", "card", store, "--version", wrong, code=2).stderr
    assert "# 试验用偏好数据" in run("coigp", "card", store).stdout
    assert "## 怎样加载" in run("coigp", "card", store, "--language", "zh").stdout

    out = tmp_path / "out"
    target = ("--version", "1.0.0", "--target", f"dir:{out}")
    planned = run("coigp-publish", store, *target, "--dry-run").stdout
    assert "Nothing was." in planned
    assert "# 试验用偏好数据" in planned
    assert not out.exists()
    listed = json.loads(run("coigp-publish", store, *target, "--dry-run", "--json").stdout)["add"]
    assert "its card is" in run("coigp-publish", store, *target, "--threshold", "3").stdout
    assert Store.open(out).manifest.release["pairs"]["threshold"] == 3
    assert "pass --overwrite" in run("coigp-publish", store, *target, code=2).stderr
    done = run("coigp-publish", store, *target, "--overwrite", "--json")
    assert json.loads(done.stdout)["files"] == len(listed) - 1  # the manifest lists all but itself
    manifest = Store.open(out).manifest
    assert {file.path: file.sha256 for file in manifest.files}.items() <= {
        file["path"]: file["sha256"] for file in listed
    }.items()
    for wrong in ("dir", "dir:", "s3:bucket", "hub:x"):
        assert (
            "use hub, modelscope or dir:PATH"
            in run("coigp-publish", store, "--version", "1.0.0", "--target", wrong, code=2).stderr
        )
    benchmark = tmp_path / "bench.jsonl"
    benchmark.write_text(json.dumps({"question": twin()[3]["query"]}) + "\n", encoding="utf-8")
    done = run("coigp-publish", store, *target, "--overwrite", "--against", benchmark, code=1)
    assert "contamination (1)" in done.stderr
    assert Store.open(out).manifest == manifest


def test_a_release_is_published_as_it_is_or_not_at_all(released: Store) -> None:
    """What would have changed it is refused, so that no gate is taken for passed that was not."""
    rehearsal = (released.path, "--version", "1.0.0", "--rehearse")
    for given in (
        ("--against", "bench.jsonl"),
        ("--rules", "rules.toml"),
        ("--threshold", "3"),
        ("--no-pairs",),
        ("--judges", "pan-a", "--aggregation", "median", "--strict"),
    ):
        said = run("coigp-publish", *rehearsal, *given, code=2).stderr
        assert "is a release already" in said
        assert "Name the store that it was made of" in said
        assert all(name in said for name in given if name.startswith("--"))
    said = run("coigp-publish", released.path, "--version", "1.0.0", "--target", "dir:x", code=2).stderr
    assert "is a release already" in said
    assert "card.toml" not in said


def test_a_release_has_the_version_that_it_was_made_as(released: Store) -> None:
    said = run("coigp-publish", released.path, "--version", "2.0.0", "--rehearse", code=2).stderr
    assert "was made as version 1.0.0" in said
    assert "not 2.0.0" in said
    with pytest.raises(UsageError, match=r"--version 1\.0\.0, or make 2\.0\.0 of the store"):
        read_release(released.path, "2.0.0")
    assert read_release(released.path, "1.0.0").tag == "v1.0.0"


def test_nothing_is_written_into_a_store(tmp_path: Path) -> None:
    """A file that its manifest does not list is what verify fails for."""
    store = to_release(tmp_path / "store", twin()).path
    deep = store / "data" / "new"
    benchmark = tmp_path / "bench.jsonl"
    benchmark.write_text(json.dumps({"question": twin()[3]["query"]}) + "\n", encoding="utf-8")
    (tmp_path / "link").symlink_to(store)
    for command in (
        ("pairs", store, "--out", store / "p.parquet"),
        ("contamination", store, "--against", benchmark, "--out", store / "data" / "x.parquet"),
        ("clean", store, "--out", deep),
        ("dedup", store, "--out", deep),
        ("import", benchmark, "--out", deep),
        ("stats", store, "--out", deep),
        ("stats", store, "--out", tmp_path / "link" / "new"),
    ):
        assert f"inside the store {store}" in run("coigp", *command, code=2).stderr
    said = run("coigp-publish", store, "--version", "1.0.0", "--target", f"dir:{store / 'rel'}", code=2).stderr
    assert f"inside the store {store}" in said
    assert "is a store" in run("coigp", "stats", store, "--out", store, code=2).stderr
    assert Store.open(store).verify() == []
    # Beside it, by a path that passes through it, is outside of it.
    run("coigp", "pairs", store, "--out", store / ".." / "p.parquet")


@pytest.mark.parametrize("command", ["clean", "dedup", "import"])
def test_a_release_is_not_replaced_by_a_store(command: str, released: Store, tmp_path: Path) -> None:
    there = Path(shutil.copytree(released.path, tmp_path / "there"))
    rows = tmp_path / "rows.jsonl"
    answers = [{"model": name, "text": name, "scores": [{"judge": "j", "score": score}]} for name, score in ROWS_OF_ONE]
    rows.write_text(json.dumps({"query_id": "1", "query": "问", "responses": answers}), encoding="utf-8")
    words = [rows, "--domain", "math"] if command == "import" else [released.path]
    done = commands.run(command, *words, "--out", there, "--overwrite", code=2)
    assert (
        f"{there} is a release (1.0.0), which a store without its card, figures and pairs would replace" in done.stderr
    )
    assert Store.open(there).manifest == released.manifest
    assert Store.open(there).verify() == []


ROWS_OF_ONE = (("a", 1), ("b", 5))
