"""What streams are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def pairs(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The oracle's pairs of `rows` at threshold 2."""
    from oracle import oracle_pairs

    return oracle_pairs(rows, threshold=2)


@pytest.fixture(scope="session")
def orders(store: Path) -> dict[int, list[dict[str, Any]]]:
    """The rows of every epoch, each of a stream of its own."""
    from epochs import EPOCHS, at, load

    return {epoch: list(at(epoch, load(store))) for epoch in EPOCHS}
