"""Conversations, lists and types of one's own as views: what copied rows are, and refused when copied rows are."""

from __future__ import annotations

import copy
import json
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conversations import as_json, conversation_rows, turn
from datasets import ClassLabel, Dataset, Features, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from make import make_rows, make_store
from operations import OPERATIONS, STEPS, rows_of

import coig_p
from coig_p.errors import CoigPError
from coig_p.schema import PAIR_SCHEMAS, row_schema
from coig_p.store.conversations import transcript
from coig_p.views import checking, table
from coig_p.views.table import ViewTable

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # of datasets' own calls of Arrow
Row = dict[str, Any]
CALLS = [{"id": "c", "type": "function", "function": {"name": "查", "arguments": '{"城市": "杭州"}'}}]
TURNS = [turn("system", "你是助手"), turn("user", "第一问"), turn("assistant", "第一答"), turn("user", "第二问")]
ASKED = [
    turn("user", "天气？", name="小明"),
    turn("assistant", "", tool_calls=CALLS),
    turn("tool", "晴", tool_call_id="c"),
]


def talking(rows: list[Row], *, tools: bool) -> list[Row]:
    """The rows, every third a conversation; with `tools` some hold them, and some answers are more than text."""
    found = copy.deepcopy(rows)
    for at, row in enumerate(found):
        if at % 3 == 1:
            turns = ASKED if tools and at % 2 else TURNS[at % 2 :]
            row |= {"messages": turns, "query": transcript(turns)}
        if tools and at % 4 == 2:
            row["tools"] = as_json([{"type": "function", "function": {"name": "查"}}])
        if tools and at % 5 == 3:
            row["responses"][0]["extra"] = as_json({"reasoning_content": "想一想", "kept": at})
            row["responses"][-1]["extra"] = as_json({"tool_calls": CALLS})
    return found


ROWS = make_rows({"math": 90, "chat": 40}, seed=3)
KINDS = {"text": ROWS, "talk": talking(ROWS, tools=False), "tools": talking(ROWS, tools=True)}


def typed(form: str, *, with_tools: bool = False, **types: Any) -> Features:
    """Features of a format with these types, or Arrow's, in place of its own; those that are named come first."""
    schema = row_schema(form, as_messages=True, with_tools=True) if with_tools else PAIR_SCHEMAS[form]
    own = Features.from_arrow_schema(schema)
    arrow = pa.schema([(name, one) for name, one in types.items() if isinstance(one, pa.DataType)])
    types |= Features.from_arrow_schema(arrow)
    return Features(types | {name: one for name, one in own.items() if name not in types})


LISTS = {"tools": pa.large_string(), "scores": pa.list_(pa.float32()), "models": pa.list_(pa.large_string())}
DOMAINS = ClassLabel(names=["math", "chat"])
SHAPES: dict[str, tuple[str, Row]] = {
    "turns": ("talk", {"format": "conversational"}),
    "tools": ("tools", {"format": "conversational", "num_proc": 2}),
    "tools left out": ("tools", {"multi_turn": "skip", "threshold": 0.5}),
    "the last turn": ("talk", {"multi_turn": "last"}),
    "the last turn of responses": ("talk", {"multi_turn": "last", "format": "kto"}),
    "responses": ("text", {"format": "sft", "threshold": 0.5}),
    "lists": ("text", {"format": "ranked", "shuffle_seed": 2, "shards": 3}),
    "lists of turns with tools": ("tools", {"format": "ranked_conversational"}),
    "types": ("text", {"features": typed("dpo", margin=pa.float32(), domain=DOMAINS, prompt=pa.large_string())}),
    "types of lists": (
        "tools",
        {
            "features": typed("ranked_conversational", with_tools=True, **LISTS),
            "format": "ranked_conversational",
        },
    ),
    "some columns": ("tools", {"format": "conversational", "columns": ["margin", "tools", "rejected"]}),
}  # fmt: skip


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("stores")
    return {name: make_store(folder / name, rows) for name, rows in KINDS.items()}


@pytest.fixture(scope="module")
def both(stores: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Dataset, Dataset]]:
    """Loads a shape lazily and copied, once."""
    cache, made = str(tmp_path_factory.mktemp("cache")), {}

    def load(shape: str) -> tuple[Dataset, Dataset]:
        if shape not in made:
            kind, options = SHAPES[shape]
            keywords = {"data_dir": str(stores[kind]), "split": "train", "cache_dir": cache, "threshold": 1, **options}
            coig_p.load_dataset("all", lazy=True, **keywords)
            lazy = coig_p.load_dataset("all", lazy=True, **keywords)  # from the cache
            made[shape] = lazy, coig_p.load_dataset("all", **keywords)
        return made[shape]

    return load


WHOLE = "types of lists"  # on which every operation is tried; on the others each way in which rows leave
WAYS = (
    *("a row", "a slice backwards", "a list", "rows one by one", "batches", "map of batches", "filter by numbers"),
    *("sort by a number", "concatenate", "select_columns", "arrow", "to_json", "to_parquet", "pickle shuffled"),
)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_operation_gives_what_it_gives_on_copied_rows(both: Any, shape: str, tmp_path: Path) -> None:
    lazy, copied = both(shape)
    assert isinstance(lazy.data, ViewTable)
    assert len(copied) >= 100  # operations name so many
    assert lazy.features == copied.features
    assert lazy.data.schema.equals(copied.data.schema)
    assert lazy.data.table.equals(copied.data.table)
    if not {"prompt", "query_id", "domain"} <= set(copied.column_names):  # which operations name
        lazy, copied = (coig_p.materialize(one.select_columns(copied.column_names[::-1])) for one in (lazy, copied))
        assert rows_of(lazy) == rows_of(copied)
        return
    for name in [name for name in OPERATIONS if "processes" not in name] if shape == WHOLE else WAYS:
        assert rows_of(OPERATIONS[name](lazy, tmp_path)) == rows_of(OPERATIONS[name](copied, tmp_path)), name


@settings(max_examples=15)
@given(
    shape=st.sampled_from([name for name in SHAPES if name != "some columns"]),
    steps=st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 40)), max_size=4),
)
def test_chains_of_operations(both: Any, shape: str, steps: list[tuple[str, int]]) -> None:
    lazy, copied = both(shape)
    for name, number in steps:
        lazy, copied = STEPS[name](lazy, number), STEPS[name](copied, number)
    assert rows_of(lazy) == rows_of(copied)


@settings(max_examples=10)
@given(rows=conversation_rows(), form=st.sampled_from(["conversational", "ranked_conversational"]))
def test_whatever_is_said_is_shown(rows: list[Row], form: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        here = make_store(Path(folder) / "store", rows, rows_per_shard=2, rows_per_group=1)
        keywords: dict[str, Any] = {
            "data_dir": str(here),
            "split": "train",
            "cache_dir": f"{folder}/cache",
            "format": form,
        }
        lazy, copied = (coig_p.load_dataset("all", lazy=lazy, **keywords) for lazy in (True, False))
        assert lazy.features == copied.features
        assert lazy.to_list() == copied.to_list() == [lazy[at] for at in range(len(lazy))]
        assert lazy[::-1] == copied[::-1]


@pytest.mark.parametrize("shape", ["tools", "lists of turns with tools", "the last turn"])
def test_rows_that_pass_a_limit_are_decoded_in_parts(both: Any, shape: str, monkeypatch: Any) -> None:
    lazy, copied = both(shape)
    monkeypatch.setattr(table, "_BYTES", 5000)
    assert lazy.shuffle(seed=1)[:] == copied.shuffle(seed=1)[:]
    monkeypatch.setattr(table, "_IN_MEMORY", 5000)
    assert lazy[3:] == copied[3:]


def answer(at: int, **fields: Any) -> Row:
    score = {"judge": "j", "dimension": "overall", "score": 9.0 - 4 * at}
    return {"model": f"m{at}", "sample": 0, "text": f"答{at}", "extra": None, "scores": [score], **fields}


def query(at: int, **fields: Any) -> Row:
    row = {"query_id": f"q{at}", "domain": "math", "query": f"问{at}", "messages": None, "tools": None}
    return row | {"source": None, "responses": [answer(0), answer(1)], "comparisons": None, **fields}


def talk(turns: Any, **fields: Any) -> Row:
    return query(7, messages=turns, query="user: x", **fields)


REFUSED: dict[str, tuple[Row, Row, str]] = {
    "a turn without content": (
        talk([turn("user", "x") | {"content": None}]),
        {"format": "conversational"},
        "its turns' content is null",
    ),
    "a turn without a role": (
        talk([turn("user", "x") | {"role": None}]),
        {"format": "ranked_conversational"},
        "its turns' role is null",
    ),
    "no turns": (talk([]), {"format": "conversational"}, "its list of turns is empty"),
    "no user's turn": (talk([turn("tool", "3")]), {"multi_turn": "last"}, "there is no user's turn"),
    "an extra of a turn": (
        talk([turn("user", "x") | {"extra": '{"name":3}'}]),
        {"format": "conversational"},
        "has a name that is no text",
    ),
    "an extra of an answer": (
        query(7, tools="[]", responses=[answer(0, extra='{"tool_calls":{}}'), answer(1)]),
        {"format": "ranked_conversational"},
        "no list",
    ),
    "a response that is null": (
        query(7, responses=[answer(0), answer(1, text=None)]),
        {"format": "ranked"},
        "its response is null",
    ),
    "a value that a type does not have": (
        query(7, domain="math", responses=[answer(0, model="other"), answer(1)]),
        {"features": typed("dpo", chosen_model=ClassLabel(names=["m0", "m1"]))},
        "column chosen_model of type string cannot be cast",
    ),
    "a number that a type does not have": (
        query(7, responses=[answer(0), answer(1) | {"scores": [answer(0)["scores"][0] | {"score": 1.5}]}]),
        {"features": Features({"margin": Value("int32")}), "columns": ["margin"]},
        "column margin of type double cannot be cast to int32",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_copied_rows_refuse_is_refused_at_load(what: str, tmp_path: Path, cache: str) -> None:
    row, options, words = REFUSED[what]
    here = make_store(tmp_path / "store", [query(0), query(1), row, query(9)])
    said = []
    for lazy in (False, True):
        with pytest.raises(CoigPError) as raised:
            coig_p.load_dataset("math", data_dir=str(here), cache_dir=cache, lazy=lazy, threshold=1, **options)
        said.append((type(raised.value), str(raised.value)))
    assert said[0] == said[1]
    assert words in said[0][1]


@pytest.mark.parametrize("form", ["dpo", "conversational"])
def test_what_the_manifest_does_not_count_is_refused_at_load(form: str, tmp_path: Path, cache: str) -> None:
    here = make_store(tmp_path / "store", [query(0), talk(ASKED), query(9)])
    path = here / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for file in manifest["files"]:
        for name in ("conversations", "with_tools"):
            file.pop(name, None)
    path.write_text(json.dumps(manifest), encoding="utf-8")
    said = []
    for lazy in (False, True):
        with pytest.raises(CoigPError, match="the manifest counts none") as raised:
            coig_p.load_dataset("math", data_dir=str(here), cache_dir=cache, lazy=lazy, threshold=1, format=form)
        said.append(str(raised.value))
    assert said[0] == said[1]


def test_where_datasets_treats_views_otherwise_rows_are_copied(load: Any, caplog: Any, monkeypatch: Any) -> None:
    def fails(folder: Path) -> None:
        raise AssertionError("batches")

    monkeypatch.setattr(checking, "_try", fails)
    checking.works.cache_clear()
    try:
        with caplog.at_level(logging.WARNING, logger="coig_p"):
            found = load(lazy=True)
    finally:
        checking.works.cache_clear()
    (record,) = caplog.records
    assert record.message.startswith("lazy=True copies here: ")
    assert not isinstance(found.data, ViewTable)
    assert rows_of(found) == rows_of(load())
