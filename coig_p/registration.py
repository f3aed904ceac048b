"""The two places where datasets learns the name "coig-p". Nothing else in it is touched.

Loading scripts left datasets with version 4, and it has no entry points for builders. So the
name goes into the table of packaged modules, and the factory that looks names up there answers
for ours: the stock one would search the working directory for data files.
"""

from __future__ import annotations

import functools
import inspect
import logging
from typing import Any

import datasets
import datasets.load
import datasets.packaged_modules

from coig_p.core.code import code_hash
from coig_p.errors import CoigPError
from coig_p.schema import NAME

_MODULE = "coig_p.builder"
_logger = logging.getLogger("coig_p")


def register() -> bool:
    """Make datasets.load_dataset("coig-p", ...) work. Calling it again changes nothing.

    Returns:
        False where this version of datasets has not the two places. The call then says so, and
        `coig_p.load_dataset` works all the same.
    """
    table: Any = getattr(datasets.packaged_modules, "_PACKAGED_DATASETS_MODULES", None)
    stock: Any = getattr(datasets.load, "PackagedDatasetModuleFactory", None)
    if getattr(stock, "answers_for", None) == NAME:
        return True
    expected = ["self", "name", "data_dir", "data_files", "download_config", "download_mode"]
    fits = isinstance(table, dict) and inspect.isclass(stock)
    if not fits or list(inspect.signature(stock.__init__).parameters) != expected:
        _explain()
        return False
    table[NAME] = (_MODULE, code_hash())
    datasets.load.PackagedDatasetModuleFactory = _factory(stock)
    return True


def _explain() -> None:
    """Make the literal call say what to do, since datasets cannot be taught our name."""
    message = (
        f"datasets {datasets.__version__} keeps its builders in another place than this coig-p knows. Use "
        f"coig_p.load_dataset({NAME!r}, ...), which takes the same arguments, or: pip install -U coig-p"
    )
    _logger.info(message)
    stock = datasets.load.load_dataset
    if getattr(stock, "explains", None) == NAME:
        return

    @functools.wraps(stock)
    def load_dataset(path: Any, *args: Any, **kwargs: Any) -> Any:
        if path == NAME:
            raise CoigPError(message)
        return stock(path, *args, **kwargs)

    load_dataset.explains = NAME  # type: ignore[attr-defined]
    datasets.load_dataset = datasets.load.load_dataset = load_dataset


def _factory(stock: Any) -> Any:
    class CoigPModuleFactory(stock):  # type: ignore[misc]
        answers_for = NAME

        def __init__(self, name: str, *args: Any, **kwargs: Any) -> None:
            if name != NAME:
                super().__init__(name, *args, **kwargs)
                return
            # The stock constructor reports a download to a server; ours asks nothing of anybody.
            given = inspect.signature(stock.__init__).bind(self, name, *args, **kwargs).arguments
            self.name = name
            self.data_dir, self.data_files = given.get("data_dir"), given.get("data_files")
            self.download_config = given.get("download_config")

        def get_module(self) -> Any:
            if self.name != NAME:
                return super().get_module()
            return _module(self.data_dir, self.data_files, getattr(self.download_config, "token", None))

    return CoigPModuleFactory


def _module(data_dir: str | None, data_files: Any, token: str | bool | None) -> Any:
    from datasets.data_files import DataFilesPatternsDict

    from coig_p.builder import CoigPConfig, config_names
    from coig_p.errors import UsageError
    from coig_p.store.locate import locate

    if data_files is not None:
        raise UsageError("data_files= is not for coig-p: name a whole store with data_dir=")
    location = locate(data_dir, token)
    # Listed so that get_dataset_config_names works; empty data files, since None would be refused.
    configs = [CoigPConfig(name=name, data_files=DataFilesPatternsDict()) for name in config_names(location.manifest)]
    return datasets.load.DatasetModule(
        _MODULE,
        code_hash(),
        # The root is pinned to a commit, so both look-ups of one call see the same revision.
        {"data_dir": location.root, "dataset_name": NAME},
        builder_configs_parameters=datasets.load.BuilderConfigsParameters(builder_configs=configs),
    )
