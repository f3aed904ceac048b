"""A job makes the same bytes whoever does its work: this process, others, and however the shards were cut."""

from __future__ import annotations

import json
import multiprocessing
import random
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

import pytest
from commands import run
from jobs import JOBS, RELEASE, THREADS, Made, clean, many
from make import make_rows, make_store, twin
from releasing import CARD

from coig_p.errors import DataError, StoreError
from coig_p.report.card_toml import CARD_TOML
from coig_p.store.locate import BUNDLED
from coig_p.store.store import Store

ORDERLESS = ("check", "sweep", "contamination")
"""What says the same of the same rows in other shards and another order. Statistics of judges add up floats in one."""


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    """Two processes, started once for all tests."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as processes:
        yield processes


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return many(tmp_path_factory.mktemp("many") / "store")


@pytest.fixture(scope="module")
def alone(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """What a job makes in one process, made once."""
    known: dict[str, Made] = {}

    def find(name: str) -> Made:
        if name not in known:
            known[name] = (JOBS | THREADS)[name](made, tmp_path_factory.mktemp("alone") / "out", num_proc=1)
        return known[name]

    return find


@pytest.mark.parametrize("name", JOBS)
def test_two_processes_make_what_one_makes(
    name: str, made: Path, alone: Callable[[str], Made], pool: Executor, tmp_path: Path
) -> None:
    assert JOBS[name](made, tmp_path / "out", engine=pool) == alone(name)


@pytest.mark.parametrize("name", ["check", "dedup", "export"])
def test_processes_of_its_own_make_the_same(
    name: str, made: Path, alone: Callable[[str], Made], tmp_path: Path
) -> None:
    assert JOBS[name](made, tmp_path / "out", num_proc=2) == alone(name)


@pytest.mark.parametrize("name", THREADS)
def test_so_do_more_threads(name: str, made: Path, alone: Callable[[str], Made], tmp_path: Path) -> None:
    assert THREADS[name](made, tmp_path / "out", num_proc=5) == alone(name)


def test_a_release_is_the_same(pool: Executor, tmp_path: Path) -> None:
    made = RELEASE(clean(tmp_path / "store"), tmp_path / "one")
    pairs = {name: content for name, content in made.items() if name.startswith("pairs/")}
    assert len(pairs) > 4
    assert RELEASE(tmp_path / "store", tmp_path / "two", engine=pool) == made
    assert RELEASE(tmp_path / "store", tmp_path / "own", num_proc=2) == made
    for rows_per_shard in (3, 1000):
        store = clean(tmp_path / f"store-{rows_per_shard}", rows_per_shard)
        cut = RELEASE(store, tmp_path / f"cut-{rows_per_shard}", engine=pool)
        assert {name: content for name, content in cut.items() if name.startswith("pairs/")} == pairs


def test_a_query_that_has_no_pairs_to_show_is_named_by_whoever_writes_them(pool: Executor, tmp_path: Path) -> None:
    rows = twin()
    rows[5]["responses"][2]["text"] = rows[9]["responses"][1]["text"] = None
    store = make_store(tmp_path / "store", rows, rows_per_shard=3)
    (store / CARD_TOML).write_text(CARD, encoding="utf-8")
    said = []
    for workers in ({"num_proc": 1}, {"engine": pool}):
        with pytest.raises(DataError) as raised:
            RELEASE(store, tmp_path / "out", **workers)
        said.append(str(raised.value))
        assert [path.name for path in tmp_path.iterdir()] == ["store"], "left behind"
    assert said[0] == said[1]
    assert said[0].startswith(f"query_id {rows[5]['query_id']!r}: its response is null")


@pytest.mark.parametrize("name", ["check", "stats", "sweep", "export"])
def test_of_the_bundled_store_too(name: str, pool: Executor, tmp_path: Path) -> None:
    assert JOBS[name](BUNDLED, tmp_path / "two", engine=pool) == JOBS[name](BUNDLED, tmp_path / "one")


@pytest.mark.parametrize("rows_per_shard", [3, 1000])
@pytest.mark.parametrize("name", [name for name in JOBS if name != "check"])
def test_shards_cut_otherwise_give_the_same(
    name: str, rows_per_shard: int, alone: Callable[[str], Made], pool: Executor, tmp_path: Path
) -> None:
    """A check names the files that it read; what it finds in them is in the test below."""
    store = many(tmp_path / "store", rows_per_shard)
    assert JOBS[name](store, tmp_path / "out", engine=pool) == alone(name)


@pytest.mark.parametrize("name", ORDERLESS)
def test_so_do_shards_in_another_order(name: str, alone: Callable[[str], Made], pool: Executor, tmp_path: Path) -> None:
    rows = [row for batch in Store.open(many(tmp_path / "store")).batches() for row in batch.to_pylist()]
    domains = {row["domain"]: [one for one in rows if one["domain"] == row["domain"]] for row in rows}
    for own in domains.values():
        random.Random(1).shuffle(own)
    other = make_store(tmp_path / "other", [row for own in domains.values() for row in own], rows_per_shard=4)
    assert JOBS[name](other, tmp_path / "out", engine=pool) == alone(name)


def test_real_data(shared_data: Path, pool: Executor, tmp_path: Path) -> None:
    store = tmp_path / "store"
    options = ("--domain", "chat", "--score-range", "0", "1", "--default-threshold", "1", "--on-error", "skip")
    run("import", shared_data / "halluqa.jsonl", "--out", store, *options, code=None)
    rows = [row for batch in Store.open(store).batches() for row in batch.to_pylist()]
    cut = make_store(tmp_path / "cut", rows, rows_per_shard=50, default_threshold=1)
    (cut / CARD_TOML).write_text(CARD, encoding="utf-8")
    one, two = (
        RELEASE(cut, tmp_path / f"{at}", rows_per_shard=5_000, engine=engine) for at, engine in enumerate((None, pool))
    )
    assert one == two
    for name in ("check", "stats", "sweep", "export"):
        assert JOBS[name](cut, tmp_path / name, engine=pool) == JOBS[name](cut, tmp_path / f"{name}-alone"), name


@pytest.mark.parametrize("name", JOBS)
def test_an_error_comes_whole_out_of_another_process(name: str, pool: Executor, tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", make_rows({"math": 24}), rows_per_shard=6)
    shard = sorted(store.glob("data/math/*.parquet"))[2]
    content = bytearray(shard.read_bytes())
    content[4:400] = bytes(396)
    shard.write_bytes(content)
    said = []
    for workers in ({"num_proc": 1}, {"engine": pool}):
        with pytest.raises(StoreError) as raised:
            JOBS[name](store, tmp_path / "out", **workers)
        said.append((str(raised.value), raised.value.store))
        assert not [path for path in tmp_path.iterdir() if path.name not in ("store", "out")], "left behind"
    assert said[0] == said[1]
    assert f"{shard.name} cannot be read" in said[0][0]


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("check", ()),
        ("stats", ()),
        ("sweep", ()),
        ("verify", ()),
        ("clean", ("--out", "OUT")),
        ("dedup", ("--out", "OUT")),
        ("contamination", ("--against", "BENCHMARK")),
        ("export", ("--for", "trl-dpo", "--out", "OUT")),
    ],
)
def test_a_command_prints_the_same_whatever_num_proc(
    command: str, options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: Executor
) -> None:
    store = many(tmp_path / "store")
    benchmark = tmp_path / "benchmark.jsonl"
    benchmark.write_text(json.dumps({"prompt": "问题7：math？"}, ensure_ascii=False) + "\n", encoding="utf-8")
    told = []
    for number in ("1", "2"):
        if number == "2":  # the two that run already, in the place of two more
            monkeypatch.setattr("coig_p.store.sharing.Processes", lambda _: pool)
        words = [word.replace("OUT", str(tmp_path / "out")).replace("BENCHMARK", str(benchmark)) for word in options]
        done = run(command, store, *words, "--num-proc", number, *(["--overwrite"] * ("OUT" in options)), code=None)
        told.append((done.returncode, done.stdout, done.stderr))
    assert told[0] == told[1]
    assert told[0][0] in (0, 1)
