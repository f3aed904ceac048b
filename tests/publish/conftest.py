"""What most tests of publishing begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
from editing import ROWS, to
from faults import REPO, FaultyHandler, FaultyHub
from make import make_store
from making import make_release
from releasing import release_in
from trials import ACCOUNTS

from coig_p.publish.local_hub import Repository
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


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The second has other data, and one more line at the end of its card."""
    folder = tmp_path_factory.mktemp("releases")
    old = make_release(make_store(folder / "old-store", ROWS), folder / "old", "第一行\n\n第二行\n\n第三行")
    new = make_release(
        make_store(folder / "new-store", ROWS[1:]), folder / "new", "第一行\n\n第二行\n\n第三行\n\n新的一行"
    )
    return old, new


@pytest.fixture
def repository(hub: FaultyHub, releases: tuple[Path, Path]) -> Repository:
    """With 1.0.0 in it."""
    to(hub, releases[0], "1.0.0")
    return hub.repositories[REPO]
