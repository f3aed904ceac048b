"""A release on disk: what loads it, what it holds, and what keeps it from being written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import run_code
from datasets import load_dataset, load_dataset_builder
from huggingface_hub import DatasetCard
from make import completed, make_store, twin
from oracle import oracle_pairs
from releasing import CARD, to_release

import coig_p
from coig_p.core.atomic import atomic_directory
from coig_p.dedup.responses import ResponseConfig, dedup_responses, find_similar_responses
from coig_p.errors import DataError
from coig_p.pairs.config import PairConfig
from coig_p.publish.release import ReleaseConfig, write_release
from coig_p.report.card_toml import CARD_TOML
from coig_p.schema import RAW_SCHEMA
from coig_p.store.manifest import Manifest
from coig_p.store.store import Store
from coig_p.store.writing import Part, write_store
from coig_p.validation import check, load_rules
from coig_p.validation.cleaning import clean_store


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
    done = run_code(LOAD, json.dumps([str(released.path), names]), USE_TORCH="0")  # importing it takes two seconds
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
