"""A dataset over a view, which decodes no column that an operation does not read."""

from __future__ import annotations

import copy
import inspect
import os
from typing import Any

import datasets
from datasets.fingerprint import Hasher

from coig_p.errors import UsageError
from coig_p.views.closed import is_closed, passing_folder
from coig_p.views.table import ViewTable

_NUMBERS = datasets.Features({"indices": datasets.Value("uint64")})  # what `filter` maps rows to


class ViewDataset(datasets.Dataset):  # type: ignore[misc]
    """A Dataset as any other, which is narrowed before `filter` and `sort`: datasets decodes whole rows."""

    def map(self, *args: Any, **options: Any) -> datasets.Dataset:
        """See `datasets.Dataset.map`. Only that of `filter`, which gives numbers of rows, is narrowed."""
        asked = _arguments(datasets.Dataset.map, self, args, options)
        read = _names(asked.get("input_columns"))
        numbers = asked.get("features") == _NUMBERS and "new_fingerprint" in asked
        if numbers and self._is_view and not self._format_columns and self._has(read):
            asked["remove_columns"] = read
            return datasets.Dataset.map(self.select_columns(read), **asked)
        return super().map(*args, **options)

    def _getitem(self, key: Any, **options: Any) -> Any:
        """As datasets has it; for no rows it would have the whole table."""
        if self._is_view and len(self) and _is_none(key, len(self)):
            return super(ViewDataset, self.select(()))._getitem(slice(0, 0), **options)
        return super()._getitem(key, **options)

    def filter(self, *args: Any, **options: Any) -> datasets.Dataset:
        """See `datasets.Dataset.filter`."""
        return _of_none(super().filter(*args, **options))

    def sort(self, *args: Any, **options: Any) -> datasets.Dataset:
        """See `datasets.Dataset.sort`."""
        asked = _arguments(datasets.Dataset.sort, self, args, options)
        read = _names(asked.get("column_names"))
        if not (self._is_view and self._has(read)):
            return super().sort(*args, **options)
        narrow = datasets.Dataset.sort(self.with_format(None).select_columns(read), **asked)
        found = copy.deepcopy(self)
        found._indices = narrow._indices
        found._fingerprint = asked.get("new_fingerprint") or Hasher.hash([self._fingerprint, narrow._fingerprint])
        return found

    @property
    def _is_view(self) -> bool:
        return isinstance(self._data, ViewTable)

    def _has(self, names: list[str]) -> bool:
        return bool(names) and set(names) <= set(self.column_names)

    def _get_cache_file_path(self, fingerprint: Any) -> str:
        """As datasets has it, or where it may be written."""
        found = str(super()._get_cache_file_path(fingerprint))
        closed = not os.path.exists(found) and is_closed(found)
        return str(passing_folder() / os.path.basename(found)) if closed else found

    # datasets makes a Dataset of its own of some of the rows

    def _new_dataset_with_indices(self, *args: Any, **options: Any) -> datasets.Dataset:
        return _of_none(_as_view(super()._new_dataset_with_indices(*args, **options)))

    def _select_contiguous(self, *args: Any, **options: Any) -> datasets.Dataset:
        return _as_view(super()._select_contiguous(*args, **options))


def _as_view(dataset: datasets.Dataset) -> datasets.Dataset:
    if type(dataset) is datasets.Dataset:
        dataset.__class__ = ViewDataset
    return dataset


def _of_none(dataset: datasets.Dataset) -> datasets.Dataset:
    """The same; where it has no rows, of a table without any, which datasets may ask for whole."""
    if isinstance(dataset._data, ViewTable) and dataset._indices is not None and not dataset._indices.num_rows:
        dataset._data, dataset._indices = dataset._data.slice(0, 0), None
    return dataset


def _is_none(key: Any, rows: int) -> bool:
    """Whether a key of `__getitem__` names no row."""
    if isinstance(key, slice):
        return not range(*key.indices(rows))
    return (isinstance(key, (range, list, tuple)) and not key) or getattr(key, "shape", None) == (0,)


def _arguments(method: Any, dataset: datasets.Dataset, args: Any, options: dict[str, Any]) -> dict[str, Any]:
    """What was passed, by name. What is passed wrongly is an error, as of the method itself."""
    found = dict(inspect.signature(method).bind(dataset, *args, **options).arguments)
    found.pop("self")
    return found


def _names(given: Any) -> list[str]:
    return [] if given is None else [given] if isinstance(given, str) else list(given)


def materialize(dataset: Any) -> Any:
    """The plain dataset of a lazy one: the same rows, format and selection, and no view in it.

    Args:
        dataset: a Dataset, or a dict of them; one that is plain already is returned as it is.

    Raises:
        StoreError: the texts are not what they were, or there is no room for the rows.
        UsageError: it is no dataset.
    """
    if isinstance(dataset, dict):
        return type(dataset)({name: materialize(one) for name, one in dataset.items()})
    if not isinstance(dataset, (datasets.Dataset, datasets.IterableDataset)):
        raise UsageError(f"materialize takes a dataset, or a dict of them, not a {type(dataset).__name__}")
    table = getattr(dataset, "_data", None)
    if not isinstance(table, ViewTable):
        return dataset
    found = copy.copy(dataset)
    found._data, found.__class__ = table.plain(), datasets.Dataset
    return found
