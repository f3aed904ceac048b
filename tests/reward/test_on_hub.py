"""A model that is no folder: told at once, and the Hub is asked once at most."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError

from coig_p.errors import RemoteError, UsageError
from coig_p.reward import on_hub
from coig_p.reward.on_hub import check_there


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> mock.Mock:
    """The Hub, which is not reached, and nothing in its cache."""
    monkeypatch.chdir(tmp_path)
    asked = mock.Mock(side_effect=ConnectionError())
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", asked)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(on_hub, "is_offline", lambda: False)
    return asked


def test_a_folder_is_taken_and_a_misspelled_one_is_not_looked_for_on_the_hub(asked: mock.Mock, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    check_there("model")
    for name in ("nomodel", "no/such/folder", "../model", ""):
        with pytest.raises(UsageError, match="no such folder"):
            check_there(name)
    asked.assert_not_called()


def test_the_hub_is_asked_once(asked: mock.Mock) -> None:
    with pytest.raises(RemoteError, match=r"org/model is no folder here, and cannot be had .* \(ConnectionError\)"):
        check_there("org/model")
    assert asked.call_count == 1
    asked.side_effect = HfHubHTTPError("404", response=mock.MagicMock())
    check_there("org/model")  # it answered; what it said is told where the model is loaded


def test_what_is_offline_asks_nobody_and_takes_what_is_in_the_cache(
    asked: mock.Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_hub, "is_offline", lambda: True)
    with pytest.raises(RemoteError, match="org/model is no folder here"):
        check_there("org/model")
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: "/cache/config.json")
    check_there("org/model")
    check_there("gpt2")
    asked.assert_not_called()
