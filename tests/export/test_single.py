"""Rows to finetune on: of one model, one query a question type, as TaP has them; halves of a store."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import run
from datasets import load_dataset
from make import make_rows, make_store

from coig_p.core.arrays import hash64
from coig_p.errors import DataError, UnknownNameError, UsageError
from coig_p.export.write import ExportConfig, export_store
from coig_p.pairs.config import PairConfig
from coig_p.pairs.plan import ShardConfig
from coig_p.pairs.splits import SplitConfig
from coig_p.reward.halves import FILES, write_halves
from coig_p.store.store import Store

Row = dict[str, Any]
ANCHOR = "gpt-4"
WRITERS = ("gpt-4", "deepseek-v2")


def tap_rows(types: int, *, prompts: Iterable[int] = (1, 2, 1, 3), anchor: bool = True) -> list[Row]:
    """Rows as a TaP run stores them: subjects of two domains, types of one name in all of them, two writers."""
    counts = list(prompts)
    rows = []
    for at in range(types):
        writer, code = WRITERS[at % 2], f"0{at // 2 % 3}"
        for number in range(counts[at % len(counts)]):
            name = f"{writer}-{code}-{at // 6}-{number}"
            meta = {"writer": writer, "code": code, "question_type": f"类型{at // 6}", "feasible": True}
            answers = [("other", 0, f"别的回答 {name}")]
            if anchor:
                answers += [(ANCHOR, 1, f"第二个 {name}"), (ANCHOR, 0, f"回答 {name}")]
            rows.append(
                {
                    "query_id": name,
                    "domain": f"field{code[-1]}",
                    "query": f"问题 {name}？",
                    "source": None,
                    "meta": json.dumps(meta, ensure_ascii=False),
                    "responses": [{"model": m, "sample": s, "text": text, "scores": []} for m, s, text in answers],
                    "comparisons": None,
                }
            )
    return rows


def exported(store: Path, out: Path, trainer: str = "trl-sft", **options: Any) -> tuple[dict[str, Any], list[Row]]:
    written = export_store(store, out, ExportConfig(trainer, **options)).to_dict()
    assert json.loads((out / "shards.json").read_text("utf-8")) == written
    rows = [
        row
        for path in sorted((out / "train").iterdir())
        for row in (
            pq.read_table(path).to_pylist()
            if path.suffix == ".parquet"
            else map(json.loads, path.read_text("utf-8").splitlines())
        )
    ]
    return written, rows


def oracle(rows: list[Row], seed: int = 0) -> set[str]:
    """Of each type of a writer and a subject the query whose hash is smallest."""
    groups = defaultdict(list)
    for row in rows:
        meta = json.loads(row["meta"])
        groups[meta["writer"], meta["code"], meta["question_type"]].append(row["query_id"])
    return {min(own, key=lambda name: hash64(f"one per {seed} {name}")) for own in groups.values()}


def test_a_row_is_a_query_with_the_response_of_a_model(tmp_path: Path) -> None:
    rows = tap_rows(12)
    lone = tap_rows(1, anchor=False)[0] | {"query_id": "lone"}
    found, made = exported(make_store(tmp_path / "store", [*rows, lone]), tmp_path / "out", response_of=ANCHOR)
    assert {row["query_id"]: (row["prompt"], row["completion"]) for row in made} == {
        row["query_id"]: (row["query"], f"回答 {row['query_id']}") for row in rows
    }
    assert len(made) == len(rows)
    train = found["splits"]["train"]
    assert (train["rows"], train["queries_without_response"]) == (len(rows), 1)
    assert "queries_without_pairs" not in train
    assert "queries_beside" not in train
    assert found["response_of"] == ANCHOR
    assert "one_per" not in found


@pytest.mark.parametrize("seed", [0, 7])
def test_one_query_of_each_type_of_a_writer_and_a_subject(tmp_path: Path, seed: int) -> None:
    rows = tap_rows(60)
    options: dict[str, Any] = {"response_of": ANCHOR, "one_per": "question_type", "pairs": PairConfig(seed=seed)}
    found, made = exported(make_store(tmp_path / "store", rows), tmp_path / "out", **options)
    assert {row["query_id"] for row in made} == oracle(rows, seed)
    assert len(made) == 60
    train = found["splits"]["train"]
    assert (train["rows"], train["queries_beside"]) == (60, len(rows) - 60)
    assert train["rows_by_domain"] == dict(Counter(row["domain"] for row in made))
    # Neither the order of rows, nor shards, nor other groups change what is drawn.
    more = [row | {"query_id": f"m-{row['query_id']}"} for row in tap_rows(30)]
    for row in more:
        row["meta"] = row["meta"].replace("类型", "又")
    other = make_store(tmp_path / "other", [*more, *rows[::-1]], rows_per_shard=7)
    _, again = exported(other, tmp_path / "again", order=ShardConfig(shards=3), **options)
    assert {row["query_id"] for row in again if not row["query_id"].startswith("m-")} == oracle(rows, seed)


@pytest.mark.parametrize("trainer", ["trl-sft", "llama-factory-sft"])
def test_the_papers_proportions(tmp_path: Path, trainer: str) -> None:
    """19,840 types of 27,715 prompts."""
    rows = []
    for at in range(27_715):
        of = at % 19_840
        meta = {"writer": ANCHOR, "code": f"{of % 724}", "question_type": f"t{of}"}
        rows.append(
            {
                "query_id": f"q{at}",
                "domain": "all-of-it",
                "query": f"问{at}",
                "source": None,
                "meta": json.dumps(meta),
                "responses": [{"model": ANCHOR, "sample": 0, "text": f"答{at}", "scores": []}],
                "comparisons": None,
            }
        )
    store = make_store(tmp_path / "store", rows, rows_per_shard=2000, rows_per_group=256)
    found, made = exported(store, tmp_path / "out", trainer, response_of=ANCHOR, one_per="question_type")
    assert found["splits"]["train"]["rows"] == len(made) == 19_840
    assert found["splits"]["train"]["queries_beside"] == 27_715 - 19_840


def test_without_a_model_the_best_response_of_one_query_each(tmp_path: Path) -> None:
    rows = make_rows({"math": 40})
    for at, row in enumerate(rows):
        row["meta"] = json.dumps({"topic": at % 8})
    store = make_store(tmp_path / "store", rows)
    _, every = exported(store, tmp_path / "every")
    found, made = exported(store, tmp_path / "one", one_per="topic")
    best = {row["query_id"]: row["completion"] for row in every}
    topic = {row["query_id"]: json.loads(row["meta"])["topic"] for row in rows}
    # Of a topic one of those with a pair, so that none is lost to a query that has none.
    assert {topic[row["query_id"]] for row in made} == {topic[name] for name in best}
    assert len(made) == 8
    assert all(best[row["query_id"]] == row["completion"] for row in made)
    assert found["splits"]["train"]["queries_without_pairs"] == len(rows) - len(every)


def test_llama_factory_reads_alpaca_rows(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", tap_rows(4))
    options: dict[str, Any] = {"response_of": ANCHOR, "system": "只用文字。"}
    found, made = exported(store, tmp_path / "out", "llama-factory-sft", **options)
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text("utf-8"))
    assert info["coig_p"] == {
        "file_name": "train",
        "formatting": "alpaca",
        "columns": {"prompt": "instruction", "response": "output", "system": "system"},
    }
    assert all(row["output"] == f"回答 {row['query_id']}" and row["system"] == "只用文字。" for row in made)
    assert list(found["columns"]) == ["instruction", "output", "query_id", "domain", "system"]


def test_conversations_end_in_the_response(tmp_path: Path) -> None:
    rows = tap_rows(2)
    turns = [("user", "甲"), ("assistant", "乙"), ("user", "丙")]
    rows[0]["messages"] = [{"role": role, "content": content, "extra": None} for role, content in turns]
    store = make_store(tmp_path / "store", rows)
    _, made = exported(store, tmp_path / "lf", "llama-factory-sft", response_of=ANCHOR)
    (row,) = (row for row in made if row["query_id"] == rows[0]["query_id"])
    said = [("human", "甲"), ("gpt", "乙"), ("human", "丙"), ("gpt", f"回答 {rows[0]['query_id']}")]
    assert [(turn["from"], turn["value"]) for turn in row["conversations"]] == said
    _, made = exported(store, tmp_path / "trl", response_of=ANCHOR, conversational=True, system="系")
    (row,) = (row for row in made if row["query_id"] == rows[0]["query_id"])
    assert [turn["content"] for turn in row["prompt"]] == ["系", "甲", "乙", "丙"]
    assert row["completion"] == [{"role": "assistant", "content": f"回答 {row['query_id']}"}]


def test_load_dataset_reads_it(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", tap_rows(12))
    exported(store, tmp_path / "out", response_of=ANCHOR, conversational=True)
    read = load_dataset(str(tmp_path / "out"), split="train")
    assert read.column_names == ["prompt", "completion", "query_id", "domain"]


def test_of_a_half_one_query_each(tmp_path: Path) -> None:
    rows = tap_rows(60)
    store = make_store(tmp_path / "store", rows)
    write_halves(Store.open(store), tmp_path / "halves")
    other = set((tmp_path / "halves" / FILES[0]).read_text("utf-8").split())
    left = [row for row in rows if row["query_id"] not in other]
    config = PairConfig(exclude=str(tmp_path / "halves" / FILES[0]))  # type: ignore[arg-type]
    _, made = exported(store, tmp_path / "out", response_of=ANCHOR, one_per="question_type", pairs=config)
    assert 0 < len(left) < len(rows)
    assert {row["query_id"] for row in made} == oracle(left)


def test_each_split_has_one_of_its_own_queries(tmp_path: Path) -> None:
    rows = tap_rows(60, prompts=[3])
    store = make_store(tmp_path / "store", rows)
    options: dict[str, Any] = {"response_of": ANCHOR, "one_per": "question_type", "splits": SplitConfig(test_size=0.3)}
    found, made = exported(store, tmp_path / "out", **options)
    held_out = pq.read_table(tmp_path / "out" / "test").to_pylist()
    assert not {row["query_id"] for row in made} & {row["query_id"] for row in held_out}
    assert found["splits"]["test"]["rows"] == len(held_out) > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trainer": "trl-dpo", "response_of": ANCHOR}, "is for forms of one row a query"),
        ({"trainer": "trl-kto", "one_per": "question_type"}, "is for forms of one row a query"),
        ({"one_per": "question_type", "weights": {"field0": 2.0}}, "leave out --weights"),
        ({"one_per": " "}, "is blank"),
        ({"response_of": "gpt-5"}, "gpt-5"),
    ],
)
def test_options_that_cannot_be_right(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    store = make_store(tmp_path / "store", tap_rows(6))
    with pytest.raises((UsageError, UnknownNameError), match=message):
        export_store(store, tmp_path / "out", ExportConfig(**{"trainer": "trl-sft", **options}))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("meta", [None, "{}", '{"question_type": null}', '{"question_type": ["a"]}', "[1]", "{"])
def test_a_query_that_says_no_type_ends_the_export(tmp_path: Path, meta: str | None) -> None:
    rows = tap_rows(6)
    rows[3]["meta"] = meta
    store = make_store(tmp_path / "store", rows)
    with pytest.raises(DataError, match=f"query_id '{rows[3]['query_id']}': its meta"):
        export_store(store, tmp_path / "out", ExportConfig("trl-sft", response_of=ANCHOR, one_per="question_type"))
    assert not (tmp_path / "out").exists()


def test_the_command(tmp_path: Path) -> None:
    rows = [*tap_rows(12), tap_rows(1, anchor=False)[0] | {"query_id": "lone"}]
    store = make_store(tmp_path / "store", rows)
    arguments = ["export", store, "--for", "trl-sft", "--response-of", ANCHOR, "--one-per", "question_type"]
    shown = run(*arguments, "--out", tmp_path / "out").stdout
    assert f"left out, without a response of {ANCHOR}: 1 query" in shown
    assert "left out, beside another of their question_type: 9 queries" in shown
    assert "for trl-sft: 1 shard of 12 rows" in shown
    readme = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "with the responses of `gpt-4`, one query of each `question_type` (left out: 9)" in readme
    assert "SFTTrainer" in readme
