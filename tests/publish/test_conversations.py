"""Releases of conversations: pairs as message lists, or as the strings that were asked for; a card that is true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cards
import pytest
from commands import run
from conversations import as_json, turn
from datasets import load_dataset, load_dataset_builder
from make import make_store, twin
from running import run_publish

from coig_p.errors import UsageError
from coig_p.pairs.config import PairConfig
from coig_p.publish.release import ReleaseConfig, write_release
from coig_p.report.card_toml import CARD_TOML
from coig_p.schema import PAIR_SCHEMAS, row_schema
from coig_p.store.conversations import transcript
from coig_p.store.store import Store

CARD = cards.CARD.replace("试验用偏好数据", "对话")


def to_release(path: Path, tools: bool) -> Store:
    """The store without a fault, its domain chat made of conversations, and with `tools` one definition in it."""
    rows = twin()
    for row in rows:
        if row["domain"] == "chat":
            row["messages"] = [
                turn("user", row["query"]),
                turn("assistant", "请问是哪一道？"),
                turn("user", "就是这道。"),
            ]
            row["query"] = transcript(row["messages"])
    if tools:
        rows[0]["tools"] = as_json([{"type": "function", "function": {"name": "查"}}])
    store = make_store(path, rows)
    (store / CARD_TOML).write_text(CARD, encoding="utf-8")
    return Store.open(store)


def snippets(card: str) -> list[str]:
    return [code for block in re.findall(r"```python\n(.*?)```", card, re.DOTALL) for code in block.splitlines()]


@pytest.mark.parametrize("tools", [False, True])
def test_pairs_are_the_message_lists_of_a_load(tmp_path: Path, cache: str, tools: bool) -> None:
    store = to_release(tmp_path / "store", tools)
    with pytest.raises(
        UsageError, match=rf"holds {'1 query' if tools else '12 queries'}.*format=\"conversational\".*multi_turn"
    ):
        write_release(store, tmp_path / "none", ReleaseConfig("1.0.0"))
    config = ReleaseConfig("1.0.0", pairs=PairConfig(format="conversational"), repo="org/talk")
    release = write_release(store, tmp_path / "release", config)
    assert release.verify() == []
    found = load_dataset(str(release.path), split="train", cache_dir=cache)
    options: dict[str, Any] = {"data_dir": str(store.path), "split": "train", "format": "conversational"}
    wanted = load_dataset("coig-p", "all", cache_dir=cache, **options)
    assert found.to_list() == wanted.to_list()
    assert found.features.arrow_schema.equals(row_schema("conversational", as_messages=True, with_tools=tools))
    builder = load_dataset_builder(str(release.path), cache_dir=cache)
    assert builder.info.features == found.features
    assert builder.info.splits["train"].num_bytes == found.info.splits["train"].num_bytes
    for name in ("README.md", "README.zh.md"):
        card = (release.path / name).read_text("utf-8")
        assert ("`tools`, `query_id`" in card or "`tools`、`query_id`" in card) == tools
        for line in snippets(card):
            call = re.fullmatch(r'pairs = load_dataset\("coig-p", (.*)\)', line)
            if call:  # as the card says it, of the folder instead of the repository
                asked = call[1].replace('data_dir="org/talk"', f"data_dir={str(release.path)!r}")
                eval(f"load_dataset('coig-p', {asked}{'' if 'streaming' in asked else ', streaming=True'})")


def test_strings_are_what_was_asked_for(tmp_path: Path, cache: str) -> None:
    store = to_release(tmp_path / "store", tools=False)
    counts = {}
    for multi_turn in ("last", "skip"):
        config = ReleaseConfig("1.0.0", pairs=PairConfig(multi_turn=multi_turn))
        release = write_release(store, tmp_path / multi_turn, config)
        found = load_dataset(str(release.path), split="train", cache_dir=f"{cache}-{multi_turn}")
        assert found.features.arrow_schema.equals(PAIR_SCHEMAS["dpo"])
        counts[multi_turn] = {domain: sum(one == domain for one in found["domain"]) for domain in ("math", "chat")}
        if multi_turn == "last":
            assert set(found.filter(lambda row: row["domain"] == "chat")["prompt"]) == {"就是这道。"}
    assert counts["skip"] == {"math": counts["last"]["math"], "chat": 0}
    assert counts["last"]["chat"] > 0


def test_the_command_takes_both_options(tmp_path: Path) -> None:
    store = to_release(tmp_path / "store", tools=True)
    where = ["--version", "1.0.0", "--target", f"dir:{tmp_path / 'out'}"]
    assert "--multi-turn" in run_publish(store.path, *where, code=2).stderr
    said = run_publish(store.path, *where, "--no-pairs", "--format", "dpo", "--multi-turn", "skip", code=2).stderr
    assert "no effect beside --no-pairs" in said
    assert "--format" in said
    assert "--multi-turn" in said
    run_publish(store.path, *where, "--format", "conversational")
    assert 'format="conversational"' in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_a_card_needs_no_choice(tmp_path: Path) -> None:
    shown = run("card", to_release(tmp_path / "store", tools=True).path).stdout
    assert 'format="conversational"' in shown
