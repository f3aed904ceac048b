"""The store that pools are drawn from."""

from __future__ import annotations

import pytest
from make import make_rows, make_store
from pools import Row

from coig_p.store.store import Store

QUERIES = {"math": 30, "chat": 12, "code": 18, "novel": 9, "logic": 24, "role": 15}


@pytest.fixture(scope="session")
def rows() -> list[Row]:
    return make_rows(QUERIES, seed=5)


@pytest.fixture(scope="session")
def store(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.open(make_store(tmp_path_factory.mktemp("pool") / "store", rows))
