"""What most tests of publishing begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
from faults import FaultyHandler, FaultyHub
from releasing import release_in
from trials import ACCOUNTS

from coig_p.store.store import Store


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyHub]:
    """With no repository and no fault. Nobody waits before a request is repeated."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("coig_p.publish.client.WAITS", (0, 0))
    hub = FaultyHub(tmp_path / "hub", ACCOUNTS, handler=FaultyHandler)
    with hub.serving():
        yield hub


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One for all tests of a module."""
    return release_in(tmp_path_factory.mktemp("release"))
