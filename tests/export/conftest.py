"""Stores of conversations that are exported."""

from __future__ import annotations

from pathlib import Path

import pytest
from exported_turns import ALL_ROWS, TEXT_ROWS
from make import make_store


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of conversations without tools, and of one query that is none."""
    return make_store(tmp_path_factory.mktemp("stores") / "texts", TEXT_ROWS)


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a query that has tools."""
    return make_store(tmp_path_factory.mktemp("stores") / "tools", ALL_ROWS)
