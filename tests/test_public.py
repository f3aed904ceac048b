"""The names that people may rely on: all of them, each with a docstring that says what it takes, gives and raises."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

# Adding a name is a promise, taking one away breaks somebody's code: both are made here first.
PUBLIC = {
    "coig_p": [
        "CoigPError",
        "PairConfig",
        "PlannedSplit",
        "Store",
        "StreamPlan",
        "__version__",
        "load_dataset",
        "materialize",
        "plan",
    ],
    "coig_p.annotate": [
        "Estimate",
        "Ledger",
        "Report",
        "RunConfig",
        "Status",
        "estimate",
        "load_config",
        "run_stages",
        "status_of",
    ],
    "coig_p.pairs": [
        "PairConfig",
        "Pairs",
        "RawSelection",
        "Selection",
        "ShardConfig",
        "SplitConfig",
        "find_pairs",
        "pair_tables",
        "select",
        "select_raw",
    ],
    "coig_p.publish": [
        "HubConfig",
        "Plan",
        "Published",
        "Release",
        "ReleaseConfig",
        "ReleaseFile",
        "Status",
        "abort",
        "plan_modelscope",
        "plan_release",
        "publish",
        "publish_modelscope",
        "read_release",
        "rehearse",
        "status",
        "write_release",
        "yank",
    ],
    "coig_p.store": ["Manifest", "Part", "Store", "StoreFile", "write_store"],
    "coig_p.validation": [
        "Counts",
        "FINDINGS",
        "RULES",
        "Report",
        "Rule",
        "check",
        "clean_store",
        "load_rules",
        "write_report",
    ],
}


def public() -> list[tuple[str, str]]:
    return [(module, name) for module, names in PUBLIC.items() for name in names if not name.startswith("__")]


@pytest.mark.parametrize("module", PUBLIC)
def test_the_public_names_are_these(module: str) -> None:
    assert sorted(getattr(importlib.import_module(module), "__all__", [])) == PUBLIC[module]


@pytest.mark.parametrize(("module", "name"), public())
def test_each_is_there_and_documented(module: str, name: str) -> None:
    assert problems(name, getattr(importlib.import_module(module), name)) == []


def problems(name: str, value: Any) -> list[str]:
    """What a reader would miss in the docstring of a public name, and of a class's own public methods."""
    if isinstance(value, type):
        # A dataclass without a docstring has one made of its fields.
        own = value.__dict__.get("__doc__") or ""
        found = [f"{name} has no docstring"] if not own.strip() or own.startswith(f"{value.__name__}(") else []
        for method, function in vars(value).items():
            if isinstance(function, (classmethod, staticmethod)):
                function = function.__func__
            if isinstance(function, FunctionType) and not method.startswith("_"):
                found += problems_of_function(f"{name}.{method}", function)
            elif isinstance(function, property) and not method.startswith("_") and not function.__doc__:
                found.append(f"{name}.{method} has no docstring")
        return found
    if callable(value):
        return problems_of_function(name, inspect.unwrap(value))
    return []  # a constant; what it means is said where it is made


def problems_of_function(name: str, function: Any) -> list[str]:
    text = inspect.cleandoc(function.__doc__ or "")
    if not text:
        return [f"{name} has no docstring"]
    found = []
    source = inspect.getsource(function)
    if "raise " in source and "rais" not in text.lower() and "error" not in text.lower():
        found.append(f"{name} raises and does not say what")
    annotations = [str(parameter.annotation) for parameter in inspect.signature(function).parameters.values()]
    if any(re.search(r"\b(Path|Store)\b", one) for one in annotations) and "\n" not in text:
        found.append(f"{name} takes a file or a store and says it in one line")
    return found


def bare(path: str) -> None: ...


def silent(path: str) -> None:
    """Read it."""
    raise ValueError(path)


def short(path: Path | str) -> None:
    """Read it, or raise OSError."""


def whole(path: Path | str, size: int) -> None:
    """Read it.

    Raises:
        ValueError: always.
    """
    raise ValueError(path)


class Fields:
    """Two of them."""

    def shown(self) -> None: ...

    @property
    def told(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (bare, ["x has no docstring"]),
        (silent, ["x raises and does not say what"]),
        (short, ["x takes a file or a store and says it in one line"]),
        (whole, []),
        (Fields, ["x.shown has no docstring", "x.told has no docstring"]),
        (type("Empty", (), {}), ["x has no docstring"]),
        (1, []),
    ],
)
def test_what_a_docstring_leaves_out_is_seen(value: Any, wanted: list[str]) -> None:
    assert problems("x", value) == wanted
