"""Values that are gathered by number are those of the raw rows, wherever in files and batches they lie."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make import listed, make_rows, make_store

from coig_p.errors import StoreError
from coig_p.schema import PAIRING_SCHEMA
from coig_p.store.manifest import StoreFile
from coig_p.store.reading import open_shard, read_batches
from coig_p.views import keeping, texts
from coig_p.views.texts import QUERY_COLUMNS, RESPONSE_COLUMNS, Texts

NAMES = ("query", "query_id", "domain", "text", "model", "extra")
Found = tuple[Texts, dict[str, list[Any]]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Texts of two files of many batches, and all values of each column. One file has an answer's tool calls."""
    rows = make_rows({"math": 41, "code": 29})
    for row in rows[::7]:
        row["responses"][0]["extra"] = '{"tool_calls":[]}'
        row["query"] = ""
    folder = tmp_path_factory.mktemp("texts")
    store = make_store(folder / "store", rows, rows_per_shard=6)
    kept, values = [], {name: list[Any]() for name in (*QUERY_COLUMNS, *RESPONSE_COLUMNS)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeping, "BATCH_SIZE", 4)
        for domain in ("math", "code"):
            shards = sorted((store / "data" / domain).iterdir())

            def in_turn(shards: list[Path] = shards) -> Iterator[tuple[StoreFile, str, keeping.Opened]]:
                yield from ((listed(path), str(path), partial(path.open, "rb")) for path in shards)

            kept.append(keeping.keep(folder / domain, in_turn, anew=False))
            for path in shards:
                with open_shard(path) as shard:
                    for batch in read_batches(shard, 100, None, PAIRING_SCHEMA):
                        for row in batch.to_pylist():
                            for name in QUERY_COLUMNS:
                                values[name].append(row[name])
                            for name in RESPONSE_COLUMNS:
                                values[name] += [one[name] for one in row["responses"]]
    return Texts(kept), values


@given(name=st.sampled_from(NAMES), few=st.sampled_from([0, texts._FEW]), data=st.data())
@settings(max_examples=150, deadline=None)
def test_gathered_values_are_those_of_their_numbers(found: Found, name: str, few: int, data: st.DataObject) -> None:
    some, values = found
    begin = data.draw(st.integers(0, len(values[name]) - 1))
    numbers = data.draw(st.lists(st.integers(begin, len(values[name]) - 1), min_size=1, max_size=150))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "_FEW", few)
        gathered = some.gather(name, np.array(numbers))
    gathered.validate(full=True)
    assert gathered.to_pylist() == [values[name][number] for number in numbers]


@pytest.mark.parametrize("number", [-1, 10_000])
def test_a_number_that_is_none_is_an_error(found: Found, number: int) -> None:
    with pytest.raises(StoreError, match="names texts that are not there"):
        found[0].gather("text", np.array([0] * 100 + [number]))
