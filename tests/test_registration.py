"""The two places in datasets, and what happens where they are not."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import datasets
import datasets.load
import datasets.packaged_modules
import pytest

import coig_p
from coig_p import registration
from coig_p.errors import CoigPError
from coig_p.schema import NAME


@pytest.fixture
def unregistered(monkeypatch: pytest.MonkeyPatch) -> None:
    """datasets as it is before coig_p is imported."""
    ours = datasets.load.PackagedDatasetModuleFactory
    monkeypatch.setattr(datasets.load, "PackagedDatasetModuleFactory", ours.__mro__[1])
    table = dict(datasets.packaged_modules._PACKAGED_DATASETS_MODULES)
    table.pop(NAME)
    monkeypatch.setattr(datasets.packaged_modules, "_PACKAGED_DATASETS_MODULES", table)
    monkeypatch.setattr(datasets.load, "_PACKAGED_DATASETS_MODULES", table)
    for module in (datasets, datasets.load):  # put back after the test, whatever it does
        monkeypatch.setattr(module, "load_dataset", module.load_dataset)


def test_registering_twice_changes_nothing() -> None:
    before = datasets.load.PackagedDatasetModuleFactory
    assert registration.register()
    assert datasets.load.PackagedDatasetModuleFactory is before


@pytest.mark.usefixtures("unregistered")
@pytest.mark.parametrize("change", ["no table", "table of another kind", "no factory", "factory of another kind"])
def test_where_the_internals_do_not_fit(change: str, store: Path, cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        def __init__(self, path: str) -> None: ...

    if change == "no table":
        monkeypatch.delattr(datasets.packaged_modules, "_PACKAGED_DATASETS_MODULES")
    elif change == "table of another kind":
        monkeypatch.setattr(datasets.packaged_modules, "_PACKAGED_DATASETS_MODULES", [])
    elif change == "no factory":
        monkeypatch.delattr(datasets.load, "PackagedDatasetModuleFactory")
    else:
        monkeypatch.setattr(datasets.load, "PackagedDatasetModuleFactory", Other)
    assert not registration.register()
    assert not registration.register()
    for call in (datasets.load_dataset, datasets.load.load_dataset):
        with pytest.raises(CoigPError, match=r"coig_p\.load_dataset"):
            call("coig-p", "math", data_dir=str(store))
    # The package's own function does not need them, and other names are none of our business.
    found = coig_p.load_dataset("coig-p", "math", data_dir=str(store), split="train", cache_dir=cache)
    assert found.num_rows > 0


@pytest.mark.usefixtures("unregistered")
def test_other_names_go_on_as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: str) -> None:
    read_only = MappingProxyType(datasets.packaged_modules._PACKAGED_DATASETS_MODULES)
    monkeypatch.setattr(datasets.packaged_modules, "_PACKAGED_DATASETS_MODULES", read_only)
    assert not registration.register()
    (tmp_path / "x.csv").write_text("a\n1\n")
    found = datasets.load_dataset("csv", data_files=str(tmp_path / "x.csv"), split="train", cache_dir=cache)
    assert found.to_list() == [{"a": 1}]
