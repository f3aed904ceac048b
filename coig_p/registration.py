"""The two places where datasets learns the name "coig-p", and the one function that would forget its store.

What streams must know is in `coig_p.streams`. Nothing else in datasets is touched.

Loading scripts left datasets with version 4, and it has no entry points for builders. So the
name goes into the table of packaged modules, and the factory that looks names up there answers
for ours: the stock one would search the working directory for data files. `get_dataset_infos` asks
for the configs of a data set without saying where its data are; for our name it says so.

datasets takes a second to import and most commands do not need it, so importing coig_p does not
import it. Where datasets is there already it learns the name at once, else right after it was imported.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # see coig_p/__init__.py
if TYPE_CHECKING:
    from typing import Any

_MODULE = "coig_p.builder"


def register_with_datasets() -> None:
    """Register now where datasets is imported already, else as soon as it is. Calling it again changes nothing."""
    if "datasets" in sys.modules:
        register()
    elif not any(getattr(finder, "teaches", None) == _MODULE for finder in sys.meta_path):
        sys.meta_path.insert(0, _WhenImported())
        # Another thread may have imported datasets between the two looks.
        if "datasets" in sys.modules:
            register()


class _WhenImported:
    """A finder that finds nothing itself: it has the loader of datasets call `register` when it is done.

    Another thread may have asked for datasets just before this finder was there, and be about to import it.
    Then `datasets.load`, which comes later in the same import, is what to wait for.
    """

    teaches = _MODULE
    asked = False  # for datasets itself

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The spec that the other finders give for datasets; None for every other name."""
        if name != "datasets" and (self.asked or name != "datasets.load"):
            return None
        self.asked = self.asked or name == "datasets"
        finders = (finder for finder in list(sys.meta_path) if finder is not self)
        found = (finder.find_spec(name, path, target) for finder in finders if hasattr(finder, "find_spec"))
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            self._call_after(spec.loader)
        return spec

    def _call_after(self, loader: Any) -> None:
        # On the loader itself rather than around it: inspect, pkgutil and others ask it for more than this.
        stock = loader.exec_module

        def exec_module(module: Any) -> None:
            stock(module)  # where this fails, the next import of datasets comes here again
            if module.__name__ in ("datasets", "datasets.load"):
                loader.exec_module = stock
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                register()

        loader.exec_module = exec_module


def register() -> bool:
    """Make datasets.load_dataset("coig-p", ...) work. Imports datasets. Calling it again changes nothing.

    Returns:
        False where this version of datasets has not the two places. The call then says so, and
        `coig_p.load_dataset` works all the same.
    """
    import inspect

    try:
        # It waits where another thread is in the middle of importing datasets. Of a package that is still being
        # imported in this thread the two are no attributes yet, which this way of importing bears.
        from datasets import load, packaged_modules
    except ImportError:  # somebody's own module of that name, or a datasets that does not import: it says so itself
        return False

    from coig_p.core.code_hash import code_hash
    from coig_p.schema import NAME

    table: Any = getattr(packaged_modules, "_PACKAGED_DATASETS_MODULES", None)
    stock: Any = getattr(load, "PackagedDatasetModuleFactory", None)
    if getattr(stock, "answers_for", None) == NAME:
        return True
    expected = ["self", "name", "data_dir", "data_files", "download_config", "download_mode"]
    fits = isinstance(table, dict) and inspect.isclass(stock)
    if not fits or list(inspect.signature(stock.__init__).parameters) != expected:
        _explain()
        return False
    table[NAME] = (_MODULE, code_hash())
    load.PackagedDatasetModuleFactory = _factory(stock)
    _tell_infos()
    return True


def _tell_infos() -> None:
    """Have get_dataset_infos look for the configs where it looks for their data."""
    import functools
    import inspect

    import datasets
    import datasets.inspect as stock

    from coig_p.schema import NAME

    infos: Any = getattr(stock, "get_dataset_infos", None)
    if infos is None or getattr(infos, "tells", None) == NAME:
        return

    @functools.wraps(infos)
    def get_dataset_infos(path: Any, *args: Any, **kwargs: Any) -> Any:
        if path != NAME or kwargs.get("data_dir") is None:
            return infos(path, *args, **kwargs)
        given = inspect.signature(infos).bind(path, *args, **kwargs).arguments
        options = given.pop("config_kwargs")
        return _infos(options.pop("data_dir"), dict(given), options)

    get_dataset_infos.tells = NAME  # type: ignore[attr-defined]
    datasets.get_dataset_infos = stock.get_dataset_infos = get_dataset_infos


def _infos(data_dir: Any, given: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """What is known of every config of a store, of raw rows without what concerns pairs alone."""
    from datasets.inspect import get_dataset_config_info, get_dataset_config_names

    from coig_p.pairs.selection import option_names
    from coig_p.pairs.splits import SplitConfig
    from coig_p.schema import RAW_SUFFIX

    of_raw = {name: value for name, value in options.items() if name in option_names(SplitConfig)}
    return {
        name: get_dataset_config_info(
            config_name=name, data_dir=data_dir, **given, **(of_raw if name.endswith(RAW_SUFFIX) else options)
        )
        for name in get_dataset_config_names(data_dir=data_dir, **given)
    }


def _explain() -> None:
    """Make the literal call say what to do, since datasets cannot be taught our name."""
    import functools
    import logging

    import datasets
    from datasets import load

    from coig_p.errors import CoigPError
    from coig_p.schema import NAME

    message = (
        f"datasets {datasets.__version__} keeps its builders in another place than this coig-p knows. Use "
        f"coig_p.load_dataset({NAME!r}, ...), which takes the same arguments, or: pip install -U coig-p"
    )
    logging.getLogger("coig_p").info(message)
    stock = load.load_dataset
    if getattr(stock, "explains", None) == NAME:
        return

    @functools.wraps(stock)
    def load_dataset(path: Any, *args: Any, **kwargs: Any) -> Any:
        if path == NAME:
            raise CoigPError(message)
        return stock(path, *args, **kwargs)

    load_dataset.explains = NAME  # type: ignore[attr-defined]
    datasets.load_dataset = load.load_dataset = load_dataset


def _factory(stock: Any) -> Any:
    import inspect

    from coig_p.schema import NAME

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
            config = self.download_config
            options = getattr(config, "storage_options", None)
            return _module(self.data_dir, self.data_files, getattr(config, "token", None), options)

    return CoigPModuleFactory


def _module(
    data_dir: str | None, data_files: Any, token: str | bool | None, storage_options: dict[str, Any] | None
) -> Any:
    import datasets.load
    from datasets.data_files import DataFilesPatternsDict

    from coig_p.builder import FOUND
    from coig_p.configs import CoigPConfig, config_names
    from coig_p.core.code_hash import code_hash
    from coig_p.errors import UsageError
    from coig_p.schema import NAME
    from coig_p.store.locate import locate

    if data_files is not None:
        raise UsageError("data_files= is not for coig-p: name a whole store with data_dir=")
    location = locate(data_dir, token, storage_options)
    # Listed so that get_dataset_config_names works; empty data files, since None would be refused.
    configs = [CoigPConfig(name=name, data_files=DataFilesPatternsDict()) for name in config_names(location.manifest)]
    return datasets.load.DatasetModule(
        _MODULE,
        code_hash(),
        # The store that was found goes along: the builder does not look for it again.
        {"data_dir": location.root, FOUND: location, "dataset_name": NAME},
        builder_configs_parameters=datasets.load.BuilderConfigsParameters(builder_configs=configs),
    )
