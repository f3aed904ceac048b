"""The store on disk: layout, manifest, verification, atomic writes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import load_dataset
from hypothesis import given
from hypothesis import strategies as st
from make import make_rows, make_store
from strategies import examples, raw_rows

from coig_p.core.atomic import atomic_directory, atomic_file
from coig_p.errors import StoreError, UnknownNameError, UsageError
from coig_p.publish.plan import read_release
from coig_p.schema import NEWEST_VERSION, RAW_SCHEMA, check_domain, check_split
from coig_p.store.frames import COMPARISON_ROWS, SCORE_ROWS, comparison_rows, score_rows
from coig_p.store.locate import BUNDLED
from coig_p.store.manifest import Manifest
from coig_p.store.places import check_target
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import even_sizes


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


LOST = {"rows": 1, "responses": 2, "scores": 3, "comparisons": 0}
COUNTED = {"read": 1, "stored": 1, "rejected": 0, "merged": 0}


def edit_manifest(store: Path, **changes: Any) -> None:
    path = store / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), encoding="utf-8")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return make_store(tmp_path / "small", make_rows({"math": 12, "chat": 3}))


def test_rows_come_back_in_order_and_the_manifest_counts_them(store: Path, rows: list[dict[str, Any]]) -> None:
    opened = Store.open(store)
    assert [row for batch in opened.batches() for row in batch.to_pylist()] == rows
    assert [row for batch in opened.batches("chat", batch_size=7) for row in batch.to_pylist()] == rows[90:]
    files = opened.data_files("math")
    math = rows[:90]
    assert sum(file.queries or 0 for file in files) == sum(file.rows or 0 for file in files) == 90
    assert sum(file.responses or 0 for file in files) == sum(len(row["responses"]) for row in math)
    assert sum(file.scores or 0 for file in files) == sum(len(r["scores"]) for row in math for r in row["responses"])
    assert opened.manifest.models["model-4"] == sum(r["model"] == "model-4" for row in rows for r in row["responses"])
    assert opened.verify() == []


def test_shards_are_zstd_parquet_with_small_groups_and_a_page_index(store: Path) -> None:
    names = [file.path for file in Store.open(store).data_files("math")]
    assert names == [f"data/math/train-{at:05d}-of-00009.parquet" for at in range(9)]
    footer = pq.read_metadata(store / names[0])
    assert footer.schema.to_arrow_schema().equals(RAW_SCHEMA)
    assert [footer.row_group(at).num_rows for at in range(footer.num_row_groups)] == [4, 3, 3]
    for at in range(footer.num_columns):
        column = footer.row_group(0).column(at)
        assert column.compression == "ZSTD"
        assert column.has_offset_index
        is_text = column.path_in_schema in ("query", "responses.list.element.text")
        assert not (is_text and column.has_dictionary_page)


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    rows = make_rows({"math": 30})
    assert contents(make_store(tmp_path / "a", rows)) == contents(make_store(tmp_path / "b", rows))


def test_the_readme_names_a_config_for_each_domains_raw_rows(small: Path) -> None:
    text = (small / "README.md").read_text("utf-8")
    head = yaml.safe_load(text.split("---")[1])
    assert [config | {"description": None} for config in head["configs"]] == [
        {
            "config_name": f"{domain}-raw",
            "description": None,
            "data_files": [{"split": "train", "path": f"data/{domain}/train-*.parquet"}],
        }
        for domain in ("math", "chat")
    ]


def test_a_stock_load_gives_the_rows_that_are_there_now(tmp_path: Path) -> None:
    """Not what it kept of a store that stood there before, or of another directory of the same name."""
    rows = make_rows({"math": 6})
    edited = [row | {"query": row["query"] + "？"} for row in rows]  # as many rows, of the same length each
    turned = [row | {"query": row["query"] + "！"} for row in rows]
    for place, there in (("a", edited), ("a", turned), ("b", rows)):
        shutil.rmtree(tmp_path / place, ignore_errors=True)
        store = make_store(tmp_path / place / "store", there)
        loaded = load_dataset(str(store), "math-raw", split="train", cache_dir=str(tmp_path / "cache"))
        assert loaded["query"][:] == [row["query"] for row in there]


@pytest.mark.parametrize(("total", "pieces"), [(0, 1), (7, 3), (999, 1), (2001, 2), (10, 10)])
def test_even_sizes_differ_by_one_at_most(total: int, pieces: int) -> None:
    sizes = even_sizes(total, pieces)
    assert len(sizes) == pieces
    assert sum(sizes) == total
    assert max(sizes) - min(sizes) <= 1


def test_verify_finds_each_kind_of_damage(small: Path) -> None:
    opened = Store.open(small)
    shard = small / opened.data_files("math")[0].path
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    assert [problem.split(": ")[1].split(",")[0] for problem in opened.verify()] == [f"{len(whole) - 1} bytes"]
    shard.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    assert "sha256" in opened.verify()[0]
    shard.unlink()
    assert opened.verify() == [f"{opened.data_files('math')[0].path}: missing"]
    shard.write_bytes(whole)
    (small / "data" / "extra.parquet").write_bytes(b"")
    (small / "card.toml").write_text("")
    (small / ".gitattributes").write_text("")
    (small / "notes.txt").write_bytes(b"")
    assert opened.verify() == [
        f"{name}: not listed in manifest.json: delete it" for name in ("data/extra.parquet", "notes.txt")
    ]
    with pytest.raises(StoreError, match=r"extra\.parquet: not listed in manifest.json: delete it \(and 1 more\)"):
        read_release(small, "1.0.0")


def test_what_other_tools_leave_is_no_part_of_a_store(small: Path) -> None:
    """As `hf download --local-dir` and file managers leave it: named, and never published."""
    download = ".cache/huggingface/download"
    left = [".DS_Store", f"{download}/README.md.metadata", ".cache/huggingface/.gitignore", "data/math/._train.parquet"]
    for name in left:
        (small / name).parent.mkdir(parents=True, exist_ok=True)
        (small / name).write_bytes(b"")
    opened = Store.open(small)
    assert opened.verify() == []
    assert opened.leftovers() == [".DS_Store", ".cache", "data/math/._train.parquet"]  # and not all of data
    assert not {file.path for file in read_release(small, "1.0.0").files} & set(left)


def test_a_broken_shard_is_an_error_on_opening_or_reading(small: Path) -> None:
    shard = small / "data/math/train-00000-of-00001.parquet"
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(StoreError, match="cannot be read"):
        list(Store.open(small).batches())
    shard.write_bytes(b"PAR1 not really")
    with pytest.raises(StoreError, match=r"15 bytes, \d+ in manifest\.json"):
        Store.open(small)
    with pytest.raises(StoreError, match="cannot be read"):
        list(Store.open(small, check_sizes=False).batches())


def test_a_manifest_that_promises_more_than_there_is(small: Path) -> None:
    files = json.loads((small / "manifest.json").read_text("utf-8"))["files"]
    edit_manifest(small, files=[files[0] | {"bytes": 10**12, "rows": 10**12}, *files[1:]])
    with pytest.raises(StoreError, match=f"{10**12} in manifest"):
        Store.open(small)
    assert len(Store.open(small, check_sizes=False).verify()) == 1


@pytest.mark.parametrize("name", ["bytes", "rows", "queries", "responses", "scores", "comparisons"])
def test_a_manifest_counts_in_whole_numbers_and_each_file_once(small: Path, name: str) -> None:
    files = json.loads((small / "manifest.json").read_text("utf-8"))["files"]
    edit_manifest(small, files=[files[0] | {name: -1}, *files[1:]])
    with pytest.raises(StoreError, match=rf"files\[0\]\.{name} is -1, not a number of 0 or more"):
        Store.open(small, check_sizes=False)
    edit_manifest(small, files=[*files, files[0]])
    with pytest.raises(StoreError, match="is listed twice in files"):
        Store.open(small)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"schema_version": NEWEST_VERSION + 1},
            rf"schema version is {NEWEST_VERSION + 1}.* reads up to {NEWEST_VERSION}",
        ),
        ({"schema_version": 0}, "does not exist"),
        ({"schema_version": True}, "schema_version is missing or not a int"),
        ({"schema_version": None}, "schema_version is missing"),
        ({"score_range": [10, 1]}, "score_range"),
        ({"score_range": [1]}, "score_range"),
        ({"default_threshold": -1}, "default_threshold"),
        ({"default_threshold": 0.00001}, "default_threshold"),
        ({"default_threshold": "2"}, "default_threshold"),
        ({"domains": ["math", "Chat"]}, "'Chat': a domain is made of"),
        ({"domains": ["math", 3]}, "not a string"),
        ({"domains": ["chat"]}, "is not among the store's domains"),
        ({"files": {}}, "files is missing or not a list"),
        ({"files": [7]}, r"files\[0\] is not an object"),
        ({"files": [{"path": "a"}]}, r"files\[0\]\.role is missing"),
        ({"accounting": []}, "accounting is missing or not an object"),
        ({"accounting": {"rows": 1}}, r"accounting\.rows is missing or not an object"),
        (
            {"accounting": {"rows": {"read": 1}}},
            r"accounting\.rows\.stored is missing or not a whole number of 0 or more",
        ),
        (
            {"accounting": {"rows": COUNTED | {"merged": 1.5}}},
            r"accounting\.rows\.merged is missing or not a whole number",
        ),
        ({"models": {"m": -1}}, r"models\.m is missing or not a whole number of 0 or more"),
        ({"judges": {"j": "1"}}, r"judges\.j is missing or not a whole number of 0 or more"),
        ({"judges": None}, "judges is missing or not an object"),
        ({"sources": {}}, "sources is missing or not a list"),
        ({"sources": [1]}, r"sources\[0\] is missing or not an object"),
        (
            {"sources": [{"name": "n", "sha256": 7, "license": None}]},
            r"sources\[0\]\.sha256 is missing or not a string",
        ),
        ({"sources": [{"name": "n", "sha256": "", "license": 7}]}, r"sources\[0\]\.license is missing or not a string"),
        ({"options": []}, "options is missing or not an object"),
        ({"options": {"dedup": 1}}, r"options\.dedup is missing or not an object"),
        ({"options": {"dedup": {"method": "m"}}}, r"options\.dedup\.threshold is missing or not a number"),
        (
            {"options": {"dedup_responses": {"dropped": {"x": 1}}}},
            r"options\.dedup_responses\.dropped\.x is missing or not",
        ),
        ({"options": {"clean": {"dropped": {"empty": {}}}}}, r"options\.clean\.dropped\.empty\.rows is missing or not"),
        ({"release": 1}, "release is missing or not an object"),
        ({"release": {"version": 1}}, r"release\.version is missing or not a string"),
        (
            {"release": {"rules": {"contamination": {"against": "x"}}}},
            r"contamination\.against is missing or not a list",
        ),
        ({"release": {"rules": {"contamination": {"against": [1]}}}}, r"against\[0\] is missing or not a string"),
        (
            {"options": {"dedup": {"method": "m", "threshold": 1, "dropped": LOST, "against": "x"}}},
            r"dedup\.against is missing or not a list",
        ),
        (
            {"options": {"dedup": {"method": "m", "threshold": 1, "dropped": LOST, "against": [1]}}},
            r"against\[0\] is missing or not an object",
        ),
    ],
)
def test_a_manifest_that_is_not_valid_is_named_field_by_field(small: Path, changes: dict[str, Any], words: str) -> None:
    edit_manifest(small, **changes)
    with pytest.raises(StoreError, match=words):
        Store.open(small)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "data/../../x", "", "a\\b", "C:/x", "./x", "data//../x"])
def test_a_manifest_may_not_name_files_outside_the_store(small: Path, path: str) -> None:
    file = json.loads((small / "manifest.json").read_text("utf-8"))["files"][-1]
    edit_manifest(small, files=[file | {"path": path}])
    with pytest.raises(StoreError, match="does not lie inside the store"):
        Store.open(small)


@pytest.mark.parametrize("path", [".git/hooks/post-checkout", "data/.GIT/config", ".git ./x"])
def test_a_manifest_may_not_name_gits_own_files(small: Path, path: str) -> None:
    file = json.loads((small / "manifest.json").read_text("utf-8"))["files"][-1]
    edit_manifest(small, files=[file | {"path": path}])
    with pytest.raises(StoreError, match="where git keeps its own files"):
        Store.open(small)


def test_text_that_is_no_manifest(small: Path) -> None:
    for text in ("", "[]", "{", "[" * 100_000):
        (small / "manifest.json").write_text(text)
        with pytest.raises(StoreError, match=r"not (a )?JSON|nested too deep"):
            Store.open(small)


def test_a_manifest_survives_its_own_json() -> None:
    manifest = Manifest(score_range=(0.0, 1.0), default_threshold=0.5, tool="t", domains=("math",), judges={"j": 2})
    assert Manifest.from_json(manifest.to_json(), "here") == manifest
    manifest = replace(
        manifest,
        sources=({"name": "a.jsonl", "sha256": "0" * 64, "license": None},),
        accounting={"rows": COUNTED},
        options={"domain": None, "dedup": {"method": "minhash", "threshold": 0.8, "dropped": LOST}}
        | {"dedup_responses": {"dropped": {}, "rules": {}}, "clean": {"dropped": {"empty": LOST}, "rules": {}}},
        release={"version": "1.0.0", "rules": {"contamination": {"against": ["a"]}}},
    )
    assert Manifest.from_json(manifest.to_json(), "here") == manifest


def test_unknown_domains_and_splits_list_the_known(small: Path) -> None:
    with pytest.raises(UnknownNameError, match="Valid: chat, math"):
        Store.open(small).data_files("maths")
    with pytest.raises(UnknownNameError, match="Valid: train"):
        Store.open(small).data_files("math", "test")


@pytest.mark.parametrize(
    "name", ["all", "default", "raw", "math-raw", "train", "test", "validation", "Math", "", "a/b", "数学"]
)
def test_names_that_cannot_be_domains(name: str) -> None:
    with pytest.raises(UsageError):
        check_domain(name)


@pytest.mark.parametrize("name", ["", "all", "a-b", "a/b", "训练"])
def test_names_that_cannot_be_splits(name: str) -> None:
    with pytest.raises(UsageError):
        check_split(name)


def test_an_atomic_directory_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "store"
    with pytest.raises(ZeroDivisionError), atomic_directory(target) as root:
        (root / "half").write_text("x")
        raise ZeroDivisionError
    assert list(target.parent.iterdir()) == []
    for text in ("one", "two"):  # the second replaces the first
        with atomic_directory(target) as root:
            (root / "file").write_text(text)
            assert text == "one" or (target / "file").read_text() == "one"
        assert contents(target) == {"file": text.encode()}
    assert list(target.parent.iterdir()) == [target]


def test_an_atomic_directory_without_an_exchange_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coig_p.core.atomic.exchange", lambda one, other: False)
    test_an_atomic_directory_appears_whole_or_not_at_all(tmp_path)


def test_an_atomic_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_file(target) as stream:
        stream.write(b"half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    with atomic_file(target) as stream:
        stream.write(b"new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(sys.platform == "win32", reason="a leftover is known by its POSIX lock")
def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from coig_p.core.atomic import atomic_directory\n"
        "with atomic_directory(Path(sys.argv[1])) as root:\n"
        "    (root / 'half').write_text('x'); print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "store")], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        with atomic_directory(tmp_path / "store") as root:
            (root / "file").write_text("mine")
        assert len(list(tmp_path.iterdir())) == 2, "the living writer's folder was removed"
        writer.kill()
    with atomic_directory(tmp_path / "store") as root:
        (root / "file").write_text("mine again")
    assert list(tmp_path.iterdir()) == [tmp_path / "store"]


def test_a_store_larger_than_a_batch_streams(tmp_path: Path) -> None:
    rows = make_rows({"math": 700})
    here = make_store(tmp_path / "store", rows, rows_per_shard=1000, rows_per_group=256)
    sizes = [batch.num_rows for batch in Store.open(here).batches(batch_size=100)]
    assert sum(sizes) == 700
    assert max(sizes) == 100
    assert pa.Table.from_batches(list(Store.open(here).batches())).to_pylist() == rows


def test_a_manifest_of_another_program_makes_no_store_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "a browser extension"}', encoding="utf-8")
    check_target(tmp_path / "new", overwrite=False)
    (tmp_path / "manifest.json").write_text((BUNDLED / "manifest.json").read_text("utf-8"), encoding="utf-8")
    with pytest.raises(UsageError, match="is inside the store"):
        check_target(tmp_path / "new", overwrite=False)


# As pandas has it.


def slow_scores(rows: list[dict[str, Any]], split: str) -> list[tuple[Any, ...]]:
    found = []
    for row in rows:
        for response in row["responses"] or []:
            for score in response["scores"] or [dict.fromkeys(("judge", "dimension", "score", "rationale"))]:
                own = [response[name] for name in ("model", "sample", "text")]
                own += [score[name] for name in ("judge", "dimension", "score", "rationale")]
                found.append((row["query_id"], row["domain"], split, row["query"], *own))
    return found


def slow_comparisons(rows: list[dict[str, Any]], split: str) -> list[tuple[Any, ...]]:
    found = []
    for row in rows:
        for one in row["comparisons"] or []:
            sides: list[Any] = []
            for side in ("first", "second"):
                at = one[side]
                inside = at is not None and 0 <= at < len(row["responses"] or [])
                shown = row["responses"][at] if inside else dict.fromkeys(("model", "sample", "text"))
                sides += [shown["model"], shown["sample"], shown["text"]]
            sides += [one[name] for name in ("judge", "dimension", "first_score", "second_score", "rationale")]
            found.append((row["query_id"], row["domain"], split, row["query"], *sides))
    return found


def as_rows(table: pa.Table) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in table.to_pylist()]


@given(raw_rows(), st.integers(0, 2))
@examples(100)
def test_rows_a_score_and_a_comparison_are_those_of_a_slow_loop(rows: list[dict[str, Any]], begin: int) -> None:
    """Also of a slice of a batch, whose lists do not begin at 0, and where an index leads nowhere."""
    for at, row in enumerate(rows):
        for nth, response in enumerate(row["responses"]):
            response["sample"] = nth % 2
            for score in response["scores"] or ():
                score["rationale"] = f"理由{nth}"
        if at % 2 and row["comparisons"]:
            row["comparisons"][0] |= {"first": 99, "second": None}
        if at == 2:
            row["responses"] = None
    batch = pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA).slice(begin)
    assert as_rows(score_rows(batch, "dev")) == slow_scores(rows[begin:], "dev")
    assert as_rows(comparison_rows(batch, "dev")) == slow_comparisons(rows[begin:], "dev")


def test_a_store_as_pandas(store: Path, rows: list[dict[str, Any]]) -> None:
    opened = Store.open(store)
    frame = opened.to_pandas()
    assert list(frame.columns) == SCORE_ROWS.names
    assert frame["score"].dtype == "float64"
    wanted = slow_scores(rows, "train")
    shown = frame.astype(object).where(frame.notna(), None)
    assert list(shown.itertuples(index=False, name=None)) == wanted
    assert frame["score"].isna().sum() == sum(row[-2] is None for row in wanted) > 0
    assert opened.to_pandas("chat").equals(frame[frame["domain"] == "chat"].reset_index(drop=True))
    assert list(opened.comparisons_to_pandas().columns) == COMPARISON_ROWS.names
    assert len(opened.comparisons_to_pandas("math")) == 0
    with pytest.raises(UnknownNameError, match="Valid: chat, math"):
        opened.to_pandas("maths")


def test_a_store_and_its_manifest_are_shown_in_one_short_line(small: Path, tmp_path: Path) -> None:
    opened = Store.open(small)
    assert repr(opened.manifest) in repr(opened).replace("Store(", "Manifest(").replace(f"{str(small)!r}, ", "")
    assert repr(opened).startswith(f"Store({str(small)!r}, domains: math, chat; 15 queries, ")
    assert len(repr(opened.manifest)) < 120
    many = Manifest((0.0, 1.0), 0.5, "t", domains=tuple(f"d{at}" for at in range(500)))
    assert len(repr(many)) < 150
    odd = tmp_path / "<b>&x"
    small.rename(odd)
    html = Store.open(odd)._repr_html_()
    assert "&lt;b&gt;&amp;x" in html
    assert "<b>&x" not in html
    assert "\n" not in html


def test_batches_are_of_the_size_that_is_asked_for_or_of_row_groups(tmp_path: Path) -> None:
    """What is written of a store's batches, one by one, is the same bytes only if they are."""
    store = Store.open(make_store(tmp_path / "store", make_rows({"math": 10}), rows_per_shard=10, rows_per_group=4))
    (file,) = store.data_files()
    assert [batch.num_rows for batch in store.batches(batch_size=6)] == [6, 4]
    assert [batch.num_rows for batch in shard_batches(store.path, file, 6)] == [6, 4]
    assert [batch.num_rows for batch in shard_batches(store.path, file, None)] == [4, 3, 3]
