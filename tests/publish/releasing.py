"""A release to look at, and the card that it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from make import make_store, twin

from coig_p.publish import pairing
from coig_p.publish.release import ReleaseConfig, write_release
from coig_p.report.card_toml import CARD_TOML
from coig_p.store.store import Store

CARD = """
pretty_name = "试验用偏好数据"
license = "cc-by-4.0"
authors = ["甲", "乙"]
citation = "@misc{trial, title={Trial}}"
intended_use = "Trying releases."
[[sources]]
name = "written for tests"
license = "CC0"
"""


def to_release(path: Path, rows: list[dict[str, Any]], **options: Any) -> Store:
    store = make_store(path, rows, **options)
    (store / CARD_TOML).write_text(CARD, encoding="utf-8")
    return Store.open(store)


def release_in(folder: Path) -> Store:
    """The release of a store in which pairs are cut into several shards."""
    store = to_release(folder / "store", twin(), rows_per_shard=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairing, "ROWS_PER_SHARD", 20)
        patch.setattr(pairing, "ROWS_PER_GROUP", 16)
        return write_release(store, folder / "out", ReleaseConfig("1.0.0"))
