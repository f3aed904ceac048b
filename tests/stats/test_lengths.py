"""The columns of Table 1: pairs, prompts, and how long they and the responses are in tokens."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from commands import run
from make import make_rows, make_store
from oracle import oracle_pairs

from coig_p.errors import UnknownNameError, UsageError
from coig_p.stats.lengths import store_lengths
from coig_p.store.store import Store

Row = dict[str, Any]


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """A token a character."""
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    return path


def oracle(rows: list[Row], **options: Any) -> list[Any]:
    pairs = oracle_pairs(rows, **options)
    prompts = [len(text) for text in {pair["prompt"] for pair in pairs}]
    of = {(pair["query_id"], pair[f"{side}_model"]): pair[side] for pair in pairs for side in ("chosen", "rejected")}
    answers = [len(text) for text in of.values()]
    spreads = [(statistics.fmean(own), statistics.pstdev(own)) for own in (prompts, answers)]
    return [len(pairs), len(prompts), *(value for spread in spreads for value in spread)]


def of(one: Any) -> list[Any]:
    told = [one.samples, one.prompts]
    return told + [value for own in (one.prompt_length, one.response_length) for value in (own.mean, own.deviation)]


def test_lengths_are_those_of_an_oracle(tmp_path: Path, tokenizer: Path) -> None:
    rows = make_rows({"math": 30, "chat": 25})
    rows[3]["query"] = rows[4]["query"] = rows[40]["query"] = "一样的问题，在两个领域里？"
    store = Store.open(make_store(tmp_path / "store", rows))
    found = store_lengths(store, str(tokenizer))
    for domain, one in found.domains.items():
        own = [row for row in rows if row["domain"] == domain]
        assert of(one) == pytest.approx(oracle(own, threshold=2), rel=1e-12)
    assert of(found.total) == pytest.approx(oracle(rows, threshold=2), rel=1e-12)
    assert list(found.to_pandas().index) == ["math", "chat", "all"]


def test_neither_order_nor_shards_change_them(tmp_path: Path, tokenizer: Path) -> None:
    rows = make_rows({"math": 30})
    one = store_lengths(Store.open(make_store(tmp_path / "one", rows)), str(tokenizer))
    other = store_lengths(Store.open(make_store(tmp_path / "other", rows[::-1], rows_per_shard=3)), str(tokenizer))
    assert one == other


def test_all_turns_before_the_response_are_the_prompt(tmp_path: Path, tokenizer: Path) -> None:
    rows = make_rows({"chat": 10})
    for row in rows:
        row["messages"] = [
            {"role": role, "content": "四个字呀", "extra": None} for role in ("user", "assistant", "user")
        ]
    found = store_lengths(Store.open(make_store(tmp_path / "store", rows)), str(tokenizer)).total
    assert (found.prompts, found.prompt_length.mean, found.prompt_length.deviation) == (1, 12, 0)


def test_a_store_without_a_pair_has_no_lengths(tmp_path: Path, tokenizer: Path) -> None:
    rows = make_rows({"math": 3})
    for row in rows:
        for response in row["responses"]:
            response["scores"] = []
    found = store_lengths(Store.open(make_store(tmp_path / "store", rows)), str(tokenizer)).total
    assert (found.samples, found.prompts, str(found.prompt_length), found.response_length.mean) == (0, 0, "-", None)


def test_the_command(tmp_path: Path, tokenizer: Path) -> None:
    rows = make_rows({"math": 30})
    store = make_store(tmp_path / "store", rows)
    shown = run("info", store, "--tokenizer", tokenizer).stdout
    samples, prompts, mean, deviation, *_ = oracle(rows, threshold=2)
    assert "prompt length" in shown
    assert f"{mean:.2f} ± {deviation:.2f}" in shown
    told = json.loads(run("info", store, "--tokenizer", tokenizer, "--json").stdout)["lengths"]
    assert (told["total"]["samples"], told["total"]["prompts"]) == (samples, prompts)
    assert "lengths" not in json.loads(run("info", store, "--json").stdout)
    assert run("info", store, "--tokenizer", tmp_path / "none", code=2).stderr


class _Encoding:
    def encode_ordinary_batch(self, texts: list[str]) -> list[list[int]]:
        return [list(text.encode()) for text in texts]


def test_an_encoding_of_tiktoken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def get(name: str) -> _Encoding:
        if name == "offline":
            raise ConnectionError(name)
        if name != "bytes":
            raise ValueError(name)
        return _Encoding()

    fake = SimpleNamespace(get_encoding=get, list_encoding_names=lambda: ["bytes"])
    monkeypatch.setitem(sys.modules, "tiktoken", fake)  # type: ignore[arg-type]
    rows = make_rows({"math": 10})
    store = Store.open(make_store(tmp_path / "store", rows))
    pairs = oracle_pairs(rows, threshold=2)
    prompts = [len(text.encode()) for text in {pair["prompt"] for pair in pairs}]
    assert store_lengths(store, "tiktoken:bytes").total.prompt_length.mean == pytest.approx(statistics.fmean(prompts))
    with pytest.raises(UnknownNameError, match="bites"):
        store_lengths(store, "tiktoken:bites")
    with pytest.raises(UsageError, match="could not fetch it"):
        store_lengths(store, "tiktoken:offline")
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    with pytest.raises(UsageError, match="pip install tiktoken"):
        store_lengths(store, "tiktoken:bytes")
