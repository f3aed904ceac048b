"""What is held of runs: the rows of what was read, not its objects; one file at a time."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest
from by_files import found_by_files, part_of, runs_of

from coig_p.dedup import finding, runs
from coig_p.dedup.clusters import Queries
from coig_p.dedup.queries import DedupConfig, find_duplicates
from coig_p.dedup.runs import RUN, read_range, write_run


def queries(size: int) -> Queries:
    """Each form twice, in no order."""
    forms = [f"{at * 7919 % size // 2:05}的问题" for at in range(size)]
    return Queries([f"q{at}" for at in range(size)], ["math"] * size, forms, [1] * size)


def test_a_run_of_pieces_is_that_of_the_whole_and_holds_no_piece(tmp_path: Path) -> None:
    whole = queries(60)
    before: list[weakref.ref[Queries]] = []

    def pieces() -> Iterator[Queries]:
        for low in range(0, 60, 7):
            piece = part_of(whole, slice(low, low + 7))
            assert [one for one in before[:-1] if one() is not None] == []  # the last one is being left
            before.append(weakref.ref(piece))
            yield piece

    made = write_run(pieces(), 3, tmp_path / "pieces.arrow", merge=False, every=5)
    [once], _ = runs_of(whole, tmp_path, 60, every=5)
    assert (made.queries, made.samples, made.apart) == (once.queries, once.samples, once.apart)
    assert len(before) == 9
    # Its number apart, row for row; those of one text in no order.
    table, other = (
        pa.Table.from_batches([runs.read_piece(one.path)]).sort_by([("form", "ascending"), ("place", "ascending")])
        for one in (made, once)
    )
    assert table.column("place").to_pylist() == [(3 << 32) + place for place in other.column("place").to_pylist()]
    assert table.drop_columns(["place"]).equals(other.drop_columns(["place"]))


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says which files are mapped")
def test_one_run_is_mapped_at_a_time(tmp_path: Path) -> None:
    made, _ = runs_of(queries(60), tmp_path, 10)
    read: list[int] = []

    def watched(path: Path, at: int = 0) -> Any:
        looks = (Path("/proc/self/maps").read_text().count(str(tmp_path)) for _ in range(1000))
        read.append(next((look for look in looks if not look), 1))  # threads of Arrow let go a moment later
        return real(path, at)

    real = runs.read_piece
    with mock.patch.object(runs, "read_piece", watched):
        found = read_range([one.path for one in made], None, None, RUN.names)
    assert found.num_rows == 60
    assert read == [0] * 6


def test_similarities_are_taken_some_pairs_at_a_time() -> None:
    taken: list[int] = []

    def watched(texts: list[str], pairs: Any, n: int) -> Any:
        taken.append(len(pairs))
        return real(texts, pairs, n)

    real, config = finding.jaccard, DedupConfig(threshold=0.5)
    with mock.patch.object(finding, "_PAIRS_AT_ONCE", 7), mock.patch.object(finding, "jaccard", watched):
        found = found_by_files(queries(60), config, size=20, ranges=3)
    assert found.duplicates.equals(find_duplicates(queries(60), config))
    assert max(taken) == 7
    assert sum(taken) == found.duplicates.num_rows
