"""What load_dataset and its relatives take: every argument of the stock call, values of any type, columns, features."""

from __future__ import annotations

import inspect
import logging
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pytest
from datasets import ClassLabel, Features, Value, load_dataset
from hypothesis import given
from hypothesis import strategies as st

import coig_p
from coig_p.errors import UnknownNameError, UsageError
from coig_p.pairs.config import PairConfig
from coig_p.pairs.splits import SplitConfig
from coig_p.schema import PAIR_SCHEMAS, RAW_SCHEMA, SCORE_GRID, on_grid

# The stock call's arguments


def test_every_argument_of_the_stock_call_has_its_place() -> None:
    def named(call: Any) -> list[str]:
        every = inspect.signature(call).parameters.values()
        return [one.name for one in every if one.kind is one.POSITIONAL_OR_KEYWORD]

    stock, ours = named(datasets.load_dataset), named(coig_p.load_dataset)
    assert ours[: len(stock)] == stock
    assert set(ours) - set(stock) <= {"trust_remote_code"}


def test_arguments_may_be_given_by_place(store: Path, cache: str, load: Any) -> None:
    found = coig_p.load_dataset("coig-p", "math", str(store), None, "train", cache)
    assert found.to_list() == load_dataset("coig-p", "math", str(store), None, "train", cache).to_list()
    assert found.to_list() == load().to_list()


def test_code_of_a_repository_is_never_trusted(store: Path, cache: str, load: Any, caplog: Any) -> None:
    options: dict[str, Any] = {"data_dir": str(store), "split": "train", "cache_dir": cache}
    for trusted, said in ((None, False), (False, False), (True, True)):
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="coig_p"):
            found = coig_p.load_dataset("math", trust_remote_code=trusted, **options)
        assert found.to_list() == load().to_list()
        assert ("trust_remote_code has no effect" in caplog.text) == said
    assert load(trust_remote_code=True).to_list() == load().to_list()


def test_data_files_are_refused_however_they_come(store: Path) -> None:
    for files in ("x.parquet", ["x.parquet"], [], {"train": "x.parquet"}):
        with pytest.raises(UsageError, match="name a whole store with data_dir="):
            coig_p.load_dataset("math", data_dir=str(store), data_files=files)


@pytest.mark.parametrize("module", ["datasets", "coig_p"])
def test_save_infos_writes_nothing_into_the_package(module: str, store: Path, cache: str, caplog: Any) -> None:
    package = Path(coig_p.__file__).parent
    before = {path for path in package.rglob("*") if "__pycache__" not in path.parts}
    call = sys.modules[module].load_dataset
    with caplog.at_level(logging.WARNING, logger="coig_p"):
        found = call("coig-p", "math", data_dir=str(store), split="train", cache_dir=cache, save_infos=True)
    assert found.num_rows > 100
    assert {path for path in package.rglob("*") if "__pycache__" not in path.parts} == before
    if module == "coig_p":
        assert "save_infos=True writes nothing" in caplog.text


def test_infos_that_were_left_in_the_package_are_not_read(store: Path, cache: str, monkeypatch: Any) -> None:
    builder = coig_p.builder.CoigP
    left = Path(cache)
    left.mkdir()
    infos = '{"math": {"splits": {"dev": {"name": "dev", "num_bytes": 1, "num_examples": 1, "dataset_name": "old"}}}}'
    (left / "dataset_infos.json").write_text(infos, encoding="utf-8")
    monkeypatch.setattr(builder, "get_imported_module_dir", classmethod(lambda _: str(left)), raising=False)
    made = datasets.load_dataset_builder("coig-p", "math", data_dir=str(store), cache_dir=cache)
    assert made.info.splits is None


# Relatives of load_dataset


def test_whatever_asks_about_a_store_sees_data_dir(tmp_path: Path, caplog: Any) -> None:
    from make import make_rows, make_store

    here = str(make_store(tmp_path / "store", make_rows({"law": 20, "chat": 20})))
    names = ["law", "chat", "all", "law-raw", "chat-raw", "all-raw"]
    with caplog.at_level(logging.WARNING, logger="coig_p"):
        assert datasets.get_dataset_config_names("coig-p", data_dir=here) == names
        infos = datasets.get_dataset_infos("coig-p", data_dir=here)
        assert datasets.get_dataset_config_info("coig-p", "law", data_dir=here).features == infos["law"].features
        assert datasets.get_dataset_split_names("coig-p", "law", data_dir=here) == ["train"]
        assert datasets.get_dataset_split_names("coig-p", "law", data_dir=here, test_size=0.5) == ["train", "test"]
        assert datasets.load_dataset_builder("coig-p", "law", data_dir=here).config.name == "law"
    assert list(infos) == names
    assert all(list(info.splits) == ["train"] for info in infos.values())
    assert infos["chat"].features.arrow_schema.equals(PAIR_SCHEMAS["dpo"])
    assert infos["chat-raw"].features.arrow_schema.equals(RAW_SCHEMA)
    assert "no store was named" not in caplog.text
    # What concerns pairs alone is not asked of raw rows; what cuts splits is.
    more = datasets.get_dataset_infos("coig-p", data_dir=here, format="kto", test_size=0.5)
    assert more["law"].features.arrow_schema.equals(PAIR_SCHEMAS["kto"])
    assert all(list(info.splits) == ["train", "test"] for info in more.values())
    assert datasets.inspect.get_dataset_infos is datasets.get_dataset_infos


def test_other_data_sets_are_asked_as_before(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a\n1\n", encoding="utf-8")
    assert list(datasets.get_dataset_infos(str(tmp_path))) == ["default"]
    with pytest.raises(TypeError):
        datasets.get_dataset_infos()


# Columns


@pytest.mark.parametrize(("at", "form"), list(enumerate(PAIR_SCHEMAS)))
def test_columns_are_those_of_whole_rows(load: Any, at: int, form: str) -> None:
    """Each choice of columns with each order, in one format or another."""
    orders: list[dict[str, Any]] = [{}, {"shuffle_seed": 0}, {"test_size": 0.5}]
    whole = [load(format=form, **options).to_list() for options in orders]
    names = PAIR_SCHEMAS[form].names
    for nth, columns in enumerate((names[::-1], names[:1], names[1:3], [names[-1], names[0]])):
        order = (at + nth) % 3
        wanted = [{name: row[name] for name in columns} for row in whole[order]]
        found = load(format=form, columns=columns, **orders[order])
        assert found.column_names == columns
        assert found.to_list() == wanted
        stream = load(format=form, columns=columns, streaming=True, **orders[order])
        assert list(stream) == wanted
        assert list(stream.features) == columns
        assert [list(row) for row in stream.take(1)] == [columns]


def test_columns_of_raw_rows(load: Any) -> None:
    whole = load("math-raw", test_size=0.5).to_list()
    for columns in (["query"], ["responses", "query"], ["source", "query_id"], RAW_SCHEMA.names[::-1]):
        wanted = [{name: row[name] for name in columns} for row in whole]
        assert load("math", raw=True, columns=columns, test_size=0.5).to_list() == wanted
        assert list(load("math-raw", columns=columns, test_size=0.5, streaming=True)) == wanted


def test_columns_come_in_any_collection(load: Any) -> None:
    for columns in (("margin", "prompt"), np.array(["margin", "prompt"]), iter(["margin", "prompt"])):
        assert load(columns=columns).column_names == ["margin", "prompt"]
    assert load(columns={"margin", "prompt"}).column_names == ["prompt", "margin"], "a set has no order"
    assert load(columns="margin").column_names == ["margin"]


def test_columns_have_a_cache_of_their_own(load: Any) -> None:
    def files(**options: Any) -> set[str]:
        return {entry["filename"] for entry in load(**options).cache_files}

    assert files(columns=["margin"]) == files(columns=["margin"])
    assert files(columns=PAIR_SCHEMAS["dpo"].names) == files()
    seen = [files(), files(columns=["margin"]), files(columns=["prompt"]), files(columns=["prompt", "margin"])]
    assert len(set().union(*seen, files(columns=["margin", "prompt"]))) == 5


def test_nothing_but_the_columns_is_decoded(store: Path, monkeypatch: Any) -> None:
    import pyarrow.parquet as pq

    asked: list[set[str]] = []
    read = pq.ParquetFile.iter_batches

    def noted(self: Any, size: Any, groups: Any, columns: Any, **options: Any) -> Any:
        asked.append({name.partition(".")[0] for name in columns})
        return read(self, size, groups, columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", noted)
    options: dict[str, Any] = {"data_dir": str(store), "split": "train", "streaming": True}
    assert list(load_dataset("coig-p", "math-raw", columns=["query"], **options))
    assert set().union(*asked) == {"query"}


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("math", {"columns": ["prompt", "choosen"]}, ["unknown column 'choosen'", "'chosen'?", "margin", "rejected"]),
        ("math", {"columns": ["completion"]}, ["unknown column", "prompt"]),
        ("math", {"columns": ["completion"], "format": "reward"}, ["unknown column", "prompt"]),
        ("math-raw", {"columns": ["prompt"]}, ["unknown column 'prompt'", "query, query_id"]),
        ("math", {"columns": []}, ["one or more names"]),
        ("math", {"columns": ["prompt", ""]}, ["one or more names"]),
        ("math", {"columns": ["prompt", 3]}, ["one or more names"]),
        ("math", {"columns": 3}, ["one or more names"]),
        ("math", {"columns": b"prompt"}, ["one or more names"]),
        ("math", {"columns": ["prompt", "prompt"]}, ["prompt is named twice"]),
    ],
)
def test_columns_that_are_not_there(load: Any, name: str, options: Any, said: list[str]) -> None:
    for streaming in (False, True):
        with pytest.raises(UsageError) as caught:
            load(name, streaming=streaming, **options)
        assert [part for part in said if part not in str(caught.value)] == []


# Features


def with_types(load: Any, **types: Any) -> Features:
    return Features({**load().features, **types})


def test_features_cast_as_for_parquet(load: Any, tmp_path: Path) -> None:
    whole = load()
    whole.to_parquet(tmp_path / "pairs.parquet")
    domains = ClassLabel(names=["chat", "math"])
    features = with_types(load, margin=Value("float32"), chosen_score=Value("string"), domain=domains)
    stock = load_dataset("parquet", data_files=str(tmp_path / "pairs.parquet"), features=features, split="train")
    for options in ({}, {"streaming": True}, {"num_proc": 2}):
        found = load(features=features, **options)
        assert found.features == features
        assert list(found) == stock.to_list()
    assert stock[0]["domain"] == 1
    backwards = Features(dict(reversed(features.items())))
    assert list(load(features=backwards, streaming=True)) == [dict(reversed(row.items())) for row in stock.to_list()]
    assert load(features=backwards).column_names == list(backwards)


def test_features_and_columns_go_together(load: Any) -> None:
    features = with_types(load, margin=Value("float32"))
    margins = [float(np.float32(row["margin"])) for row in load()]
    for types in (features, Features({"margin": Value("float32")})):
        for streaming in (False, True):
            found = load(features=types, columns=["margin"], streaming=streaming)
            assert found.features == Features({"margin": Value("float32")})
            assert [row["margin"] for row in found] == margins


def test_features_of_other_columns_say_what_to_do(load: Any) -> None:
    few = Features({"prompt": Value("string"), "chosen": Value("string")})
    for streaming in (False, True):
        with pytest.raises(UsageError, match=r"columns=\['prompt', 'chosen'\]") as caught:
            load(features=few, streaming=streaming)
        assert "features= has no rejected, query_id" in str(caught.value)
        with pytest.raises(UnknownNameError, match=r"unknown column in features 'margins'\. Did you mean 'margin'"):
            load(features=with_types(load, margins=Value("float32")), streaming=streaming)
        with pytest.raises(UsageError, match=r"features= has no rejected"):
            load(features=few, columns=["prompt", "rejected"], streaming=streaming)
        with pytest.raises(UsageError, match=r"datasets\.Features"):
            coig_p.load_dataset("math", features={"prompt": "string"}, streaming=streaming)


@pytest.mark.parametrize(
    ("column", "kind", "said"),
    [
        ("prompt", Value("int64"), "column prompt of type string cannot be cast to int64"),
        ("margin", Value("int64"), "column margin of type double cannot be cast to int64"),
        ("domain", ClassLabel(names=["chat"]), "column domain of type string cannot be cast"),
        ("prompt", {"text": Value("string")}, "column prompt of type string cannot be cast to struct"),
    ],
)
def test_features_that_do_not_fit_name_the_column(load: Any, column: str, kind: Any, said: str) -> None:
    for options in ({}, {"streaming": True}, {"num_proc": 2}):
        with pytest.raises(UsageError, match=said) as caught:
            list(load(features=with_types(load, **{column: kind}), **options))
        assert len(str(caught.value)) < 600


# Values


def test_a_seed_from_numpy_is_the_same_rows_in_the_same_cache(load: Any) -> None:
    options: dict[str, Any] = {"max_pairs_per_query": 1, "strategy": "best_random"}
    plain = load(seed=0, threshold=2, **options)
    other = load(np.str_("math"), seed=np.int64(0), threshold=np.float32(2), **options)
    assert other.cache_files == plain.cache_files == load(threshold=Decimal(2), **options).cache_files
    assert list(load(seed=np.int64(0), streaming=True, **options)) == plain.to_list()
    shuffled = load(shuffle_seed=np.int64(7))
    assert shuffled.cache_files == load(shuffle_seed=7).cache_files
    assert list(load(shuffle_seed=np.int64(7), streaming=True)) == shuffled.to_list()


REFUSED: dict[str, list[Any]] = {
    "threshold": [
        "2", np.str_("2"), True, np.bool_(True), Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), 2 + 0j,
        np.float32("nan"), np.float64("inf"), Decimal("0.00001"), Fraction(1, 3), np.float32(1 / 3), -Fraction(1),
        np.array([2]), np.array("2"), 10**400, 0.1 + 0.2,
    ],
    "seed": ["0", 0.0, np.float64(0), True, np.False_, Decimal(0), None, np.array([0])],
    "strict": [0, 1, "True", np.int64(1), None, np.array([True])],
    "format": [0, b"dpo", np.array(["dpo", "kto"]), ["dpo"], {}, None],
    "judges": [[], "", [""], ["a", None], 3, b"a", np.array([["a"]]), [b"a"], np.array(1)],
    "max_pairs_per_query": [0, np.int64(0), 1.0, "1", np.True_],
}  # fmt: skip


@pytest.mark.parametrize(("option", "value"), [(option, value) for option in REFUSED for value in REFUSED[option]])
def test_a_value_that_is_not_one_is_refused(option: str, value: Any) -> None:
    with pytest.raises(UsageError, match=option):
        PairConfig(**{option: value})


@pytest.mark.parametrize(
    "value", ["0.1", True, 0, 1, Decimal("1e-999"), 1 - Decimal("1e-40"), float("nan"), np.float32(1)]
)
def test_a_size_that_is_no_share_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match="a share between 0 and 1"):
        SplitConfig(test_size=value)


@given(st.integers(0, 10**9), st.sampled_from([np.float32, np.float64, float, np.longdouble, Decimal, Fraction]))
def test_a_threshold_is_what_its_own_type_prints(units: int, kind: Any) -> None:
    text = str(Decimal(units) / SCORE_GRID)
    value = kind(text)
    says = Fraction(text) if kind in (Decimal, Fraction) else Fraction(str(value))
    if says == Fraction(text):
        assert PairConfig(threshold=value).threshold == units / SCORE_GRID
    elif (says * SCORE_GRID).denominator != 1:  # of a float32 with more digits than it holds
        with pytest.raises(UsageError, match="at most 4 decimals"):
            PairConfig(threshold=value)
    else:
        assert PairConfig(threshold=value).threshold == float(says)


@given(st.floats(0, 1e9))
def test_python_floats_are_taken_as_the_grid_says(value: float) -> None:
    if on_grid(value):
        assert repr(PairConfig(threshold=value).threshold) == repr(value + 0.0)
    else:
        with pytest.raises(UsageError, match="at most 4 decimals"):
            PairConfig(threshold=value)


def test_the_package_function_is_found_without_importing_datasets_first() -> None:
    code = (
        "import sys, coig_p; assert 'datasets' not in sys.modules; assert 'load_dataset' in dir(coig_p);"
        "from coig_p import load_dataset; assert 'datasets' in sys.modules; assert load_dataset is coig_p.load_dataset"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_empty_table_has_the_columns_too(load: Any) -> None:
    features = Features({"margin": Value("float32")})
    found = load(threshold=9, columns=["margin"], features=features)
    assert found.num_rows == 0
    assert found.features == features
    assert found.data.schema.field("margin").type == pa.float32()
