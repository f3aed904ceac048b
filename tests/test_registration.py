"""The two places in datasets, and what happens where they are not."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
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


CALL = """
found = load_dataset("coig-p", "math", data_dir=sys.argv[1], split="train", cache_dir=sys.argv[2])
assert found.num_rows > 0
assert not [finder for finder in sys.meta_path if type(finder).__module__.startswith("coig_p")]
"""
LAZY = """
import coig_p
assert coig_p.__version__ and "Store" in dir(coig_p)
assert not {"datasets", "pyarrow", "numpy", "click"} & sys.modules.keys()
"""
# Each leaves a name load_dataset.
ORDERS = {
    "coig_p first": LAZY + "from datasets import load_dataset",
    "coig_p after an early-bound name": "from datasets import load_dataset\nimport coig_p",
    "a module of datasets first": LAZY + "import datasets.load\nload_dataset = datasets.load.load_dataset",
    "reloaded": LAZY + "import importlib; importlib.reload(coig_p)\nfrom datasets import load_dataset\n"
    "importlib.reload(coig_p)",
    "datasets.load reloaded": """
import importlib, coig_p, datasets.load
from coig_p.errors import UsageError
importlib.reload(datasets.load)
try:
    datasets.load_dataset("coig-p", "math", data_dir=sys.argv[1], cache_dir=sys.argv[2])
except UsageError as error:
    assert "importlib.reload(coig_p)" in str(error), error
else:
    raise AssertionError("it should have failed")
importlib.reload(coig_p)
from datasets.load import load_dataset
""",
    "at the second try": LAZY + """
import types
sys.modules["datasets.arrow_dataset"] = types.ModuleType("datasets.arrow_dataset")  # without what datasets wants of it
try:
    import datasets
except ImportError:
    pass
else:
    raise AssertionError("it should have failed")
for name in [name for name in sys.modules if name.partition(".")[0] == "datasets"]:
    del sys.modules[name]
from datasets import load_dataset
""",
    "in two threads": """
import threading
started = threading.Barrier(2)
def load(name):
    started.wait()
    importlib.import_module(name)
import importlib
threads = [threading.Thread(target=load, args=[name]) for name in ("datasets", "coig_p")]
for thread in threads: thread.start()
for thread in threads: thread.join()
from datasets import load_dataset
""",
    "while another thread is about to import it": """
import importlib, importlib.machinery
class Slow:  # coig_p is imported after datasets was found, and before there is a module of that name
    def find_spec(self, name, path=None, target=None):
        if name == "datasets":
            sys.meta_path.remove(self)
            spec = importlib.machinery.PathFinder.find_spec(name, path, target)
            import coig_p
            assert "datasets" not in sys.modules
            return spec
sys.meta_path.insert(0, Slow())
from datasets import load_dataset
""",
}  # fmt: skip


@pytest.mark.parametrize("order", ORDERS)
def test_the_literal_call_works_in_every_order_of_imports(order: str, store: Path, cache: str) -> None:
    code = f"import sys\n{ORDERS[order]}\n{CALL}"
    done = subprocess.run(
        [sys.executable, "-c", code, str(store), cache], capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 0, done.stderr


def test_somebody_elses_module_of_that_name_imports_as_before(tmp_path: Path) -> None:
    (tmp_path / "datasets.py").write_text("found = 1\n")
    code = "import coig_p, datasets, sys; assert datasets.found == 1; assert datasets.__loader__ is not None"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env=os.environ)


def test_reloading_coig_p_registers_once() -> None:
    before, finders = datasets.load.PackagedDatasetModuleFactory, list(sys.meta_path)
    importlib.reload(coig_p)
    assert datasets.load.PackagedDatasetModuleFactory is before
    assert sys.meta_path == finders


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


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'coig_p' has no attribute 'Stores'"):
        _ = coig_p.Stores  # type: ignore[attr-defined]
    assert set(coig_p.__all__) <= set(dir(coig_p))


IMPORTED_BEFORE = """
import sys
from datasets import get_dataset_config_names, get_dataset_split_names, load_dataset, load_dataset_builder
from datasets.inspect import get_dataset_config_info
import coig_p
where = {"data_dir": sys.argv[1]}
assert "math-raw" in get_dataset_config_names("coig-p", **where)
assert get_dataset_split_names("coig-p", "math", **where) == ["train"]
assert load_dataset_builder("coig-p", "math", **where).config.name == "math"
assert get_dataset_config_info("coig-p", "math", **where).config_name == "math"
assert "chosen" in next(iter(load_dataset("coig-p", "math", split="train", streaming=True, **where)))
"""


def test_names_imported_before_know_ours(store: Path) -> None:
    command = [sys.executable, "-c", IMPORTED_BEFORE, str(store)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
