"""What streams are compared with."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="session")
def pairs(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The oracle's pairs of `rows` at threshold 2."""
    from oracle import oracle_pairs

    return oracle_pairs(rows, threshold=2)
