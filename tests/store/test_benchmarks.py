"""What a manifest remembers of benchmarks: for which rows it holds, and what takes the place of what."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import make_rows, make_store
from strategies import examples

from coig_p.core.atomic import atomic_directory
from coig_p.errors import StoreError, UsageError
from coig_p.schema import RAW_SCHEMA
from coig_p.store.benchmarks import (
    OPTION,
    BenchmarkCheck,
    BenchmarkUsed,
    Held,
    added,
    benchmark_checks,
    remember,
    rows_digest,
    with_checks,
)
from coig_p.store.changes import Change
from coig_p.store.rewrite import rewrite_store
from coig_p.store.store import Store
from coig_p.store.writing import Part, write_store

NONE = Held()


def checked(*names: str, left: Held = NONE, dropped: Held = NONE, n: int = 5) -> BenchmarkCheck:
    used = tuple(BenchmarkUsed(name, name * 8) for name in names)
    return BenchmarkCheck(used, 3, 2, {"threshold": 0.8, "n": n}, left, "coig-p test", dropped)


def remembering(path: Path, *checks: BenchmarkCheck) -> Store:
    store = Store.open(make_store(path, make_rows({"math": 4, "chat": 4}), rows_per_shard=2))
    for check in checks:
        store = remember(store, check)
    return Store.open(path)


def test_it_is_read_as_it_was_written_and_no_other_file_is_touched(tmp_path: Path) -> None:
    whole = {path: path.read_bytes() for path in make_store(tmp_path / "store", make_rows({"math": 4})).rglob("*.*")}
    check = checked("a", "b", left=Held(2, 1), dropped=Held(0, 7))
    remember(Store.open(tmp_path / "store"), check)
    store = Store.open(tmp_path / "store")
    assert benchmark_checks(store.manifest) == (check,)
    assert store.verify() == []
    assert {path for path, content in whole.items() if path.read_bytes() != content} == {store.path / "manifest.json"}


def test_rows_taken_away_leave_it_standing(tmp_path: Path) -> None:
    check = checked("a", left=Held(2, 1))
    store = remembering(tmp_path / "0", check)

    def becomes(domain: str, query_id: str) -> Change | None:
        return Change(row="bad") if query_id == "math-0001" else None

    for at in (1, 2):
        written = rewrite_store(store, tmp_path / str(at), becomes, step="step", record=lambda dropped: {})
        assert rows_digest(written.store.manifest) != rows_digest(store.manifest) or at == 2
        assert benchmark_checks(written.store.manifest) == (check,)
        store = written.store


def test_rows_from_elsewhere_end_it_whatever_wrote_them(tmp_path: Path) -> None:
    """Options may be handed on by what adds rows, as this does."""
    store = remembering(tmp_path / "store", checked("a"))
    rows = make_rows({"math": 5, "chat": 4})
    parts = [
        Part(domain, "train", len(own), [pa.RecordBatch.from_pylist(own, schema=RAW_SCHEMA)])
        for domain in ("math", "chat")
        for own in [[row for row in rows if row["domain"] == domain]]
    ]
    with atomic_directory(tmp_path / "more") as root:
        write_store(root, parts, replace(store.manifest, files=()))
    more = Store.open(tmp_path / "more")
    assert OPTION in more.manifest.options
    assert benchmark_checks(more.manifest) == ()
    # What is then made of it does not bring it back, and the next comparison is the only one.
    written = rewrite_store(more, tmp_path / "less", lambda *row: None, step="step", record=lambda dropped: {})
    assert OPTION not in written.store.manifest.options
    assert benchmark_checks(remember(more, checked("b")).manifest) == (checked("b"),)


def test_a_shard_less_or_more_in_the_manifest_ends_it(tmp_path: Path) -> None:
    manifest = remembering(tmp_path / "store", checked("a")).manifest
    assert benchmark_checks(replace(manifest, files=manifest.files[::-1])) == (checked("a"),)
    first = manifest.data_files()[0]
    for files in (
        [file for file in manifest.files if file != first],
        [*manifest.files, replace(first, path="data/math/train-9.parquet", sha256="f" * 64)],
        [replace(file, sha256="f" * 64) if file == first else file for file in manifest.files],
    ):
        assert benchmark_checks(replace(manifest, files=tuple(files))) == ()


def test_a_shard_that_was_changed_in_place_ends_it(tmp_path: Path) -> None:
    """The new store's manifest would have the hash of what was never compared."""
    store = remembering(tmp_path / "store", checked("a"))
    rows = [row | {"source": "x"} for row in make_rows({"math": 4, "chat": 4})]
    other = Store.open(make_store(tmp_path / "other", rows, rows_per_shard=2))
    first = store.data_files()[0].path
    shutil.copy(other.path / first, store.path / first)
    changed = Store.open(store.path, check_sizes=False)
    written = rewrite_store(changed, tmp_path / "out", lambda *row: None, step="step", record=lambda dropped: {})
    assert OPTION not in written.store.manifest.options


def test_none_is_none() -> None:
    from coig_p.store.manifest import Manifest

    manifest = Manifest(score_range=(1, 10), default_threshold=2, tool="test", options={"split": "train"})
    assert benchmark_checks(manifest) == ()
    assert with_checks(manifest, ()).options == {"split": "train"}


def test_the_same_benchmarks_again_take_the_earlier_ones_place(tmp_path: Path) -> None:
    first = checked("a", left=Held(5, 1))
    cleaned = checked("a", "b", left=Held(5, 3)).without_what_it_found()
    assert (cleaned.left, cleaned.dropped) == (Held(), Held(5, 3))
    again = checked("b", "a")
    found = added((first,), [cleaned])
    assert found == (cleaned,)
    (last,) = added(found, [again])
    assert (last.left, last.dropped, last.against) == (Held(), Held(5, 3), again.against)
    # Another way of asking, or a benchmark that was not among them, is another comparison.
    assert added((first,), [checked("a", n=3)]) == (first, checked("a", n=3))
    assert added((cleaned,), [checked("a")]) == (cleaned, checked("a"))


names = st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True)
counts = st.builds(Held, st.integers(0, 3), st.integers(0, 3))
checks = st.builds(lambda names, left, dropped: checked(*names, left=left, dropped=dropped), names, counts, counts)


@examples(200)
@given(st.lists(checks, max_size=5))
def test_nothing_that_was_compared_or_dropped_is_forgotten(new: list[BenchmarkCheck]) -> None:
    found = added((), new)
    assert {one.sha256 for check in found for one in check.against} == {
        one.sha256 for check in new for one in check.against
    }
    assert sum((check.dropped for check in found), Held()) == sum((check.dropped for check in new), Held())
    kept = [set(check.against) for check in found]
    assert all(not mine <= other for at, mine in enumerate(kept) for other in kept[at + 1 :])
    if new:
        assert found[-1].left == new[-1].left


def test_a_release_is_not_written_into(tmp_path: Path) -> None:
    store = remembering(tmp_path / "store")
    released = Store(store.path, replace(store.manifest, release={"version": "1.0.0"}))
    with pytest.raises(UsageError, match=r"is a release, .* name the store it was made of"):
        remember(released, checked("a"))
    assert Store.open(store.path) == store


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rows": 3}, r"options\.contamination\.rows is missing or not a string"),
        ({"checks": {}}, r"options\.contamination\.checks is missing or not a list"),
        ({"checks": [{"against": [{"name": "a"}]}]}, r"checks\[0\]\.against\[0\]\.sha256 is missing"),
        ({"checks": [{"against": [], "prompts": 1, "answers": -1}]}, r"checks\[0\]\.answers is missing or not"),
    ],
)
def test_what_no_manifest_says_is_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    store = remembering(tmp_path / "store", checked("a"))
    fields = json.loads(store.manifest.to_json())
    fields["options"][OPTION] |= change
    (store.path / "manifest.json").write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(StoreError, match=words):
        Store.open(store.path)
