"""A release on disk: what loads it, what its card says, and what keeps it from being written."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import load_dataset, load_dataset_builder
from huggingface_hub import DatasetCard
from make import completed, make_store, twin
from markdown_it import MarkdownIt
from oracle import oracle_pairs
from releasing import CARD, to_release

import coig_p
from coig_p.core.atomic import atomic_directory
from coig_p.dedup.responses import ResponseConfig, dedup_responses, find_similar_responses
from coig_p.errors import DataError
from coig_p.pairs.config import PairConfig
from coig_p.publish.release import ReleaseConfig, write_release
from coig_p.report.card import PREVIEWED
from coig_p.report.card_toml import CARD_TOML
from coig_p.schema import RAW_SCHEMA
from coig_p.stats.results import Statistics
from coig_p.store.manifest import Manifest
from coig_p.store.store import Store
from coig_p.store.writing import Part, write_store
from coig_p.validation import check, load_rules
from coig_p.validation.cleaning import clean_store
from coig_p.validation.rules import RULES


def rows_of(store: Store) -> list[dict[str, Any]]:
    return [row for batch in store.batches() for row in batch.to_pylist()]


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
