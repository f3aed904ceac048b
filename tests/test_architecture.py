"""The rules of the house that `make check` cannot hold: private names, circles between files, sizes, outside libraries.

The layers themselves stand in pyproject.toml, for import-linter. Every rule here is a function from the folder of a
package to the places that break it, so that each is also tried on a package made to break it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import coig_p

PACKAGE = Path(coig_p.__file__).parent
LONGEST = 500
# Where a library may be imported: modules and folders of the package.
ROOMS = {
    "click": ("cli",),
    "rich": ("cli",),
    "datasets": ("builder", "configs", "planning", "features", "streams", "views", "registration", "report", "publish"),
}
# Private parts of other libraries, where they are kept together and looked at before they are used. load_script runs
# by itself, without this package.
PRIVATE_ROOMS = {"huggingface_hub": ("publish.hub_internals", "publish.load_script")}


class Import(NamedTuple):
    """One name that a file imports, `name` being None for `import module`."""

    file: str
    importer: str
    line: int
    module: str
    name: str | None
    bound: str
    """What the importing file calls it."""

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def module_files(package: Path) -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(module: str, path: Path, root: Path) -> Iterator[Import]:
    """All imports of a file, those inside functions and for type checkers too."""
    file = path.relative_to(root).as_posix()
    folder = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.split(".")[0]
                yield Import(file, module, node.lineno, alias.name, None, bound)
        elif isinstance(node, ast.ImportFrom):
            start = folder[: len(folder) - node.level + 1] if node.level else []
            source = ".".join([*start, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(file, module, node.lineno, source, alias.name, alias.asname or alias.name)


def all_imports(package: Path) -> list[Import]:
    files = module_files(package)
    return [one for module, path in files.items() for one in imports_of(module, path, package.parent)]


def target(one: Import, modules: dict[str, Path]) -> str | None:
    """The module of this package that an import runs, None if it is another library's."""
    if one.name and f"{one.module}.{one.name}" in modules:
        return f"{one.module}.{one.name}"
    return one.module if one.module in modules else None


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_attributes(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, what stands before the dot, and the private name after it, wherever names alone stand before the dot."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            before = ast.unparse(node.value)
            if all(part.isidentifier() for part in before.split(".")):
                yield node.lineno, before, node.attr


def home(module: str, path: Path) -> str:
    """The package that a module stands in; an __init__ stands in its own."""
    return module if path.name == "__init__.py" else module.rpartition(".")[0]


def in_rooms(package: str, module: str, rooms: tuple[str, ...]) -> bool:
    return any(f"{module}.".startswith(f"{package}.{room}.") for room in rooms)


def private_names(package: Path) -> list[str]:
    """Names with a leading underscore that another package's module imports or reaches for."""
    modules = module_files(package)
    found = []
    for module, path in modules.items():
        own = home(module, path)
        bound: dict[str, str] = {}
        for one in imports_of(module, path, package.parent):
            other = target(one, modules)
            if other is None:
                continue
            parts = other.removeprefix(f"{package.name}.").split(".")
            # _version stands in DESIGN.md beside errors and schema, for everybody.
            if any(map(is_private, parts)) and own != home(other, modules[other]) and parts != ["_version"]:
                found.append(f"{one.place} imports the private module {other}")
            if one.name and other != f"{one.module}.{one.name}":
                if is_private(one.name) and own != home(other, modules[other]):
                    found.append(f"{one.place} imports {one.name} of {other}")
            elif one.name or one.bound != package.name:
                bound[one.bound] = other
        for line, dotted, attribute in private_attributes(path):
            other = bound.get(dotted) or (dotted if dotted in modules else None)
            if other and own != home(other, modules[other]):
                place = f"{path.relative_to(package.parent).as_posix()}:{line}"
                found.append(f"{place} reaches for {other}.{attribute}")
    return found


def private_parts_of_libraries(package: Path) -> list[str]:
    """Private modules and names of other libraries, outside the room that keeps them."""
    modules = module_files(package)
    found = []
    for module, path in modules.items():
        bound: dict[str, str] = {}
        for one in imports_of(module, path, package.parent):
            library = one.module.split(".")[0]
            if library == package.name or library in sys.stdlib_module_names:
                continue
            if in_rooms(package.name, module, PRIVATE_ROOMS.get(library, ())):
                continue
            name = f"{one.module}.{one.name}" if one.name else one.module
            bound[one.bound] = name if one.name or one.bound != library else library
            if any(map(is_private, name.split("."))):
                found.append(f"{one.place} imports {name}")
        for line, dotted, attribute in private_attributes(path):
            first, *rest = dotted.split(".")
            if first in bound:
                place = f"{path.relative_to(package.parent).as_posix()}:{line}"
                found.append(f"{place} reaches for {'.'.join([bound[first], *rest, attribute])}")
    return found


def circles(package: Path) -> list[str]:
    """Circles of files that import each other, wherever in them the imports stand, until one arrow of each is gone."""
    modules = module_files(package)
    graph: dict[str, set[str]] = {module: set() for module in modules}
    for one in all_imports(package):
        other = target(one, modules)
        if other and other != one.importer:
            graph[one.importer].add(other)
    found = []
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            circle = error.args[1]  # each is imported by the next
            graph[circle[1]].remove(circle[0])
            found.append(" -> ".join(reversed(circle)))
        else:
            return found


def long_modules(package: Path) -> list[str]:
    lengths = {module: len(path.read_text("utf-8").splitlines()) for module, path in module_files(package).items()}
    return [f"{module}: {length} lines" for module, length in lengths.items() if length > LONGEST]


def libraries_out_of_their_rooms(package: Path) -> list[str]:
    found = []
    for one in all_imports(package):
        rooms = ROOMS.get(one.module.split(".")[0])
        if rooms is not None and not in_rooms(package.name, one.importer, rooms):
            found.append(f"{one.place} imports {one.module}")
    return found


Rule = Callable[[Path], list[str]]
RULES: list[Rule] = [private_names, private_parts_of_libraries, circles, long_modules, libraries_out_of_their_rooms]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule: Rule) -> None:
    assert rule(PACKAGE) == []


BROKEN: list[tuple[Rule, dict[str, str], list[str]]] = [
    (
        private_names,
        {"a/one.py": "from p.b.two import _x, y", "b/two.py": "_x = y = 1"},
        ["p/a/one.py:1 imports _x of p.b.two"],
    ),
    (
        private_names,
        {"a/one.py": "def f():\n    from ..b import two as t\n    return t._x(t.y)", "b/two.py": "_x = y = 1"},
        ["p/a/one.py:3 reaches for p.b.two._x"],
    ),
    (
        private_names,
        {"a/one.py": "import p.b.two\nz = p.b.two._x", "b/two.py": "_x = 1"},
        ["p/a/one.py:2 reaches for p.b.two._x"],
    ),
    (
        private_names,
        {"a/one.py": "from p.b import _two\nimport p._version", "b/_two.py": "", "_version.py": ""},
        ["p/a/one.py:1 imports the private module p.b._two"],
    ),
    # Neighbours may, and so may an object's own methods.
    (private_names, {"a/one.py": "from p.a.two import _x\nclass A:\n    def f(s): s._y", "a/two.py": "_x = 1"}, []),
    (
        private_parts_of_libraries,
        {
            "a/one.py": "from numpy import _z\nfrom huggingface_hub import _x as h\nimport numpy as n\nn.y._a(n._b)",
            "b/two.py": "from __future__ import annotations\nimport os, numpy\nos._exit(numpy.ones(1).a)",
            "publish/hub_internals.py": "from huggingface_hub.utils import _http\nimport huggingface_hub as h\nh._a",
        },
        [
            "p/a/one.py:1 imports numpy._z",
            "p/a/one.py:2 imports huggingface_hub._x",
            "p/a/one.py:4 reaches for numpy.y._a",
            "p/a/one.py:4 reaches for numpy._b",
        ],
    ),
    (circles, {"a/one.py": "import p.b.two", "b/two.py": "def f():\n    from p.a import one"}, ["p.a.one", "p.b.two"]),
    (
        circles,
        {"one.py": "from . import two", "two.py": "from p import three", "three.py": "from .one import x"},
        ["p.one", "p.two", "p.three"],
    ),
    (circles, {"__init__.py": "from p.a.one import x", "a/one.py": "from p import __version__"}, ["p", "p.a.one"]),
    (circles, {"a/one.py": "from p.b import two", "b/two.py": "import json"}, []),
    (long_modules, {"a/one.py": "x = 1\n" * 501, "a/two.py": "x = 1\n" * 500}, ["p.a.one: 501 lines"]),
    (
        libraries_out_of_their_rooms,
        {
            "cli/one.py": "import click\nfrom rich.text import Text",
            "a/cli.py": "def f():\n    import click",
            "publish/x/y.py": "import datasets",
            "builders.py": "from datasets.utils import x\nfrom datasetsx import y",
        },
        ["p/a/cli.py:2 imports click", "p/builders.py:1 imports datasets.utils"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "files", "wanted"), BROKEN)
def test_a_rule_sees_a_package_that_breaks_it(
    rule: Rule, files: dict[str, str], wanted: list[str], tmp_path: Path
) -> None:
    for name, text in files.items():
        path = tmp_path / "p" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in (path.parent, tmp_path / "p"):
            (folder / "__init__.py").touch()
        path.write_text(text, "utf-8")
    found = rule(tmp_path / "p")
    if rule is circles:  # it may be told from any of its files on
        arrows = [circle.split(" -> ") for circle in found]
        assert [sorted(set(circle)) for circle in arrows] == ([sorted(wanted)] if wanted else [])
        assert all(circle[0] == circle[-1] for circle in arrows)
    else:
        assert found == wanted
