"""A shard that is damaged and as long as before: one error that names it and what to run, however it is read."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import run
from datasets import load_dataset
from make import completed, make_old_store, make_rows, make_store

from coig_p.errors import DataError, RemoteError, StoreError
from coig_p.pairs.splits import read_clusters
from coig_p.schema import PAIRING_SCHEMA, RAW_SCHEMA
from coig_p.stats.counts import statistics
from coig_p.stats.sweep import sweep
from coig_p.store.reading import CHECKSUMS, open_shard, read_batches
from coig_p.store.store import Store
from coig_p.store.writing import describe_file
from coig_p.validation import check

SHARD = "data/math/train-00001-of-00002.parquet"
PLAIN: dict[str, Any] = {"compression": "none", "use_dictionary": False, "write_statistics": False}
TEXT = "responses.list.element.text"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("whole") / "store", make_rows({"math": 40}), rows_per_shard=20)


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "store"))


def text_pages(path: Path) -> range:
    """Where the pages of the responses' text are in a shard's last row group."""
    group = pq.read_metadata(path).row_group(pq.read_metadata(path).num_row_groups - 1)
    columns = [group.column(at) for at in range(group.num_columns)]
    (found,) = [column for column in columns if column.path_in_schema == TEXT]
    return range(found.data_page_offset, found.data_page_offset + found.total_compressed_size)


def footer(path: Path) -> range:
    length = int.from_bytes(path.read_bytes()[-8:-4], "little")
    return range(path.stat().st_size - 8 - length, path.stat().st_size - 8)


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(at)
        stream.write(data)


def flip(path: Path, at: int) -> None:
    overwrite(path, at, bytes([path.read_bytes()[at] ^ 1]))


def as_older_packages_write(store: Path) -> None:
    """The shard anew, without checksums or compression, as the manifest then says."""
    table = pq.read_table(store / SHARD, partitioning=None)
    pq.write_table(table.replace_schema_metadata(None), store / SHARD, **PLAIN)
    manifest = json.loads((store / "manifest.json").read_text("utf-8"))
    changed = describe_file(store, SHARD, "data")
    for file in manifest["files"]:
        if file["path"] == SHARD:
            file |= {"bytes": changed.bytes, "sha256": changed.sha256}
    (store / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def no_text(store: Path) -> None:
    as_older_packages_write(store)
    where = (store / SHARD).read_bytes().rindex("回答".encode())
    overwrite(store / SHARD, where, b"\xff")


def another_name(path: Path) -> None:
    overwrite(path, path.read_bytes().index(b"scores", footer(path)[0]), b"stores")


DAMAGES: dict[str, Callable[[Path], None]] = {
    "a bit of a page": lambda path: flip(path, text_pages(path)[-9]),
    "a page header": lambda path: overwrite(path, text_pages(path)[0], b"\xff" * 4),
    "zeros": lambda path: overwrite(path, text_pages(path)[50], bytes(40)),
    "its footer": lambda path: overwrite(path, footer(path)[0], bytes(200)),
    "a column's name": another_name,
    "its end": lambda path: overwrite(path, path.stat().st_size - 2000, bytes(2000)),
    "all of it": lambda path: overwrite(path, 0, bytes(path.stat().st_size)),
    "bytes that are no text": lambda path: overwrite(path, path.read_bytes().rindex("回答".encode()), b"\xff"),
}


@pytest.fixture(params=DAMAGES)
def damaged(request: pytest.FixtureRequest, store: Path) -> Path:
    if request.param == "bytes that are no text":
        as_older_packages_write(store)
    DAMAGES[request.param](store / SHARD)
    return store


def load(store: Path, cache: Path, name: str = "math", **options: Any) -> None:
    keywords = {"data_dir": str(store), "split": "train", "cache_dir": str(cache), **options}
    for _ in load_dataset("coig-p", name, **keywords):
        pass


WAYS: dict[str, Callable[[Path, Path], object]] = {
    "the store": lambda store, _: list(Store.open(store).batches()),
    "map-style": load,
    "shuffled": partial(load, shuffle_seed=1),
    "split by query": partial(load, test_size=0.5),
    "split and cut": partial(load, test_size=0.5, world_size=2),
    "weighted": partial(load, name="all", weights={"math": 0.5}),
    "raw": partial(load, raw=True),
    "a stream": partial(load, streaming=True),
    "a raw stream": partial(load, streaming=True, raw=True),
    "a shuffled stream": partial(load, streaming=True, shuffle_seed=1),
    "counts": lambda store, _: statistics(store),
    "a sweep": lambda store, _: sweep(store),
    "a check": lambda store, _: check(store),
}
IN_PROCESSES: dict[str, Callable[[Path, Path], object]] = {
    "map-style": partial(load, num_proc=2),
    "a check": lambda store, _: check(store, num_proc=2),
}
COMMANDS: dict[str, list[str]] = {
    "pairs": ["--out", "OUT/pairs.parquet"],
    "export": ["--for", "trl-dpo", "--out", "OUT/export"],
    "stats": [],
    "sweep": [],
    "check": [],
    "clean": ["--out", "OUT/clean"],
    "dedup": ["--out", "OUT/dedup"],
}


def test_whatever_reads_it_names_it(damaged: Path, tmp_path: Path) -> None:
    for way, reads in WAYS.items():
        with pytest.raises(StoreError) as raised:
            reads(damaged, tmp_path / "cache")
        assert str(raised.value).startswith(f"{damaged}: {SHARD} cannot be read: "), way
        assert str(raised.value).endswith(f". Run: coigp verify {damaged}"), way
        assert raised.value.store == str(damaged), way


@pytest.mark.parametrize("damaged", ["a bit of a page"], indirect=True)
@pytest.mark.parametrize("way", IN_PROCESSES)
def test_it_is_named_across_processes(way: str, damaged: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=rf"{SHARD} cannot be read: .*Run: coigp verify {damaged}$"):
        IN_PROCESSES[way](damaged, tmp_path / "cache")


@pytest.mark.parametrize("damaged", ["a bit of a page", "its footer", "bytes that are no text"], indirect=True)
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_name_it_in_one_line(command: str, damaged: Path, tmp_path: Path) -> None:
    words = [word.replace("OUT", str(tmp_path)) for word in COMMANDS[command]]
    done = run(command, damaged, *words, code=1)
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {damaged}: {SHARD} cannot be read: "), done.stderr
    assert done.stderr.endswith(f". Run: coigp verify {damaged}\n")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["store"], "something was left behind"


def test_verify_finds_it(damaged: Path) -> None:
    done = run("verify", damaged, code=1)
    assert SHARD in done.stdout + done.stderr


def test_no_byte_of_a_shard_changes_what_is_read(store: Path, whole: Path) -> None:
    """Any byte: either the rows are the same, as where it is an index that nobody reads, or it is found."""
    rng, path = random.Random(0), store / SHARD
    data, opened = path.read_bytes(), Store.open(store)
    rows = list(opened.batches())
    found = 0
    for at in rng.sample(range(len(data)), 200):
        flip(path, at)
        read: list[Any] = []
        with suppress(StoreError):
            read = list(opened.batches())
        found += not read
        assert read in ([], rows)
        flip(path, at)
    assert found > 50
    assert list(opened.batches()) == rows


def test_a_store_of_an_older_package_is_read_without_checksums(store: Path) -> None:
    rows = list(Store.open(store).batches())
    as_older_packages_write(store)
    assert not (pq.read_metadata(store / SHARD).metadata or {}).keys() & {name.encode() for name in CHECKSUMS}
    assert list(Store.open(store).batches()) == rows


def test_clusters_that_are_damaged_are_named(tmp_path: Path) -> None:
    (tmp_path / "duplicates.parquet").write_bytes(b"PAR1" + bytes(300) + b"PAR1")
    with pytest.raises(DataError, match=r"duplicates\.parquet: clusters cannot be read"):
        read_clusters(tmp_path / "duplicates.parquet")


def test_a_connection_that_breaks_is_not_taken_for_damage(whole: Path) -> None:
    class Remote(io.BytesIO):
        path = f"datasets/org/name@main/{SHARD}"
        broken = False

        def read(self, size: int | None = -1) -> bytes:
            if self.broken:
                raise ConnectionError("Server Disconnected")
            return super().read(size)

    def read(stream: Remote, *, broken: bool) -> None:
        with open_shard(stream) as shard:
            stream.broken = broken
            list(read_batches(shard, 10))

    data = (whole / SHARD).read_bytes()
    with pytest.raises(RemoteError, match=rf"^hf://datasets/org/name@main/{SHARD}: the Hub could not be reached"):
        read(Remote(data), broken=True)
    at = text_pages(whole / SHARD)[-9]
    damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    with pytest.raises(StoreError, match=rf"^hf://datasets/org/name@main: {SHARD} cannot be read: .*verify a copy"):
        read(Remote(damaged), broken=False)


def test_rows_that_a_footer_or_a_header_takes_away_are_missed(store: Path, whole: Path) -> None:
    """Neither has a checksum: what one says is compared with the other. A bit of every sixteenth byte of the footer.

    COIGP_FUZZ_TIMES=16 tries a bit of every one.
    """
    path, kept = store / SHARD, (whole / SHARD).read_bytes()
    rows = pq.read_metadata(path).num_rows
    step = 16 // min(16, int(os.environ.get("COIGP_FUZZ_TIMES", "1")))
    for at in footer(path)[::step]:
        bit = 1 << at // step % 7
        overwrite(path, at, bytes([kept[at] ^ bit]))
        with suppress(StoreError, DataError), open_shard(path) as shard:
            assert sum(batch.num_rows for batch in read_batches(shard, 7)) == rows, (at, bit)
        overwrite(path, at, kept[at : at + 1])


def everything(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with what a column may be: lists with none, one and several entries, null and not."""
    compared = {"judge": "ren", "dimension": "overall", "first_score": 1.0, "second_score": 0.0}
    for at, row in enumerate(rows):
        several = [{"first": 0, "second": 1, "rationale": "因为" if nth else None, **compared} for nth in range(at % 4)]
        row["comparisons"] = several if at % 5 else None
        row["source"] = "甲" if at % 3 else None
        row["messages"] = [{"role": "user", "content": row["query"], "extra": None}] * (at % 3) or None
    return completed(rows)


def pages(path: Path) -> list[int]:
    """The first bytes of every column's pages, where their headers are."""
    metadata = pq.read_metadata(path)
    found: set[int] = set()
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for column in (group.column(at) for at in range(group.num_columns)):
            for start in (column.dictionary_page_offset, column.data_page_offset):
                found.update(range(start, start + 24) if start else ())
    return sorted(found)


@pytest.mark.parametrize("schema", [PAIRING_SCHEMA, RAW_SCHEMA], ids=["for pairs", "raw"])
@pytest.mark.parametrize("version", [1, 2])
def test_no_bit_of_a_header_or_a_footer_changes_a_value(version: int, schema: pa.Schema, tmp_path: Path) -> None:
    """Scores, comparisons, texts: neither has a checksum, and what is read is right, or an error.

    COIGP_FUZZ_TIMES=10 tries ten times as many bits, COIGP_FUZZ_SEED=7 others.
    """
    rows = make_rows({"math": 20}) if version == 1 else everything(make_rows({"math": 20}))
    make = make_old_store if version == 1 else partial(make_store, rows_per_group=7)  # several row groups, in both
    store = Store.open(make(tmp_path / "store", rows, rows_per_shard=20))
    (file,) = store.data_files()
    path = store.path / file.path
    data = path.read_bytes()

    def read(content: bytes) -> pa.Table:
        with open_shard(io.BytesIO(content), str(path)) as shard:
            groups = [read_batches(shard, 3, [number], schema) for number in range(shard.num_row_groups)]
            return pa.Table.from_batches([batch for group in groups for batch in group], schema)

    truth, found = read(data), 0
    places = [(at, bit) for at in [*pages(path), *footer(path)] for bit in range(8)]
    seed, times = int(os.environ.get("COIGP_FUZZ_SEED", str(version))), int(os.environ.get("COIGP_FUZZ_TIMES", "1"))
    for at, bit in random.Random(seed).sample(places, min(200 * times, len(places))):
        changed = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
        try:
            table = read(changed)
        except StoreError as error:
            assert str(error).startswith(f"{store.path}: {file.path} cannot be read: ")  # noqa: PT017 - or no error
            assert str(error).endswith(f". Run: coigp verify {store.path}")  # noqa: PT017
            found += 1
        else:
            assert table.equals(truth), (at, bit)
    assert found > 30


NAMES = {  # of what is not told apart by its type: a leaf that is asked for by another name is not there
    "a list's name": lambda data, start: data.index(b"list", data.index(b"scores", start)),
    "an entry's name": lambda data, start: data.index(b"element", data.index(b"scores", start)),
}


@pytest.mark.parametrize("what", NAMES)
def test_scores_under_another_name_are_missed(what: str, store: Path) -> None:
    path = store / SHARD
    flip(path, NAMES[what](path.read_bytes(), footer(path)[0]))
    with pytest.raises(StoreError, match=r"cannot be read: its footer does not name all of its columns\. Run: coigp"):
        list(Store.open(store).batches(schema=PAIRING_SCHEMA))


def test_an_entry_that_a_page_header_takes_away_is_missed(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", everything(make_rows({"math": 20})), rows_per_shard=20, rows_per_group=20)
    opened = Store.open(store)
    path = store / opened.data_files()[0].path
    group = pq.read_metadata(path).row_group(0)
    (column,) = [
        group.column(at)
        for at in range(group.num_columns)
        if group.column(at).path_in_schema == "comparisons.list.element.first"
    ]
    data = path.read_bytes()
    values = bytes([0x15, 2 * column.num_values])  # the field of a page's header, as Thrift has it
    at = data.index(values, column.data_page_offset) + 1
    overwrite(path, at, bytes([data[at] - 2]))
    with pytest.raises(StoreError, match=r"cannot be read: comparisons: 1 fewer than its footer says\. Run: coigp"):
        list(opened.batches())
