"""A taxonomy's file: a table of one row a subject (TSV), or a tree (TOML, JSON).

TSV has a column a level, named as the level is, the top first; before it may stand `<level>_code` (for the last level
also `code`) and for the first level `<level>_slug`. A row may leave its last levels empty. TOML and JSON have `nodes`:
each with `name`, and `code`, `slug`, `children` where it has them; or in one list, each with the code of its `parent`.
Beside them `name`, `source` and `levels`.
"""

from __future__ import annotations

import io
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from coig_p.annotate.taxonomy.tree import Node, Selection, Taxonomy, domains_of, paths
from coig_p.core.small_files import read_small
from coig_p.core.strict_json import strict_json
from coig_p.core.text import counted, printable
from coig_p.errors import CoigPError, DataError, UsageError
from coig_p.ingest.tables import records
from coig_p.store.places import check_name

SUFFIXES = (".tsv", ".toml", ".json")
BUNDLED = "undergraduate"
SOURCE = "普通高等学校本科专业目录（2024年），中华人民共和国教育部"
NINE = ("050201", "050202", "050203", "050204", "050205", "050206", "050207", "050209", "050232")
"""Languages that TaP's cut keeps: the paper says nine and names none. These are much taught; a run may name others."""

_LONGEST = 2000  # characters of a name
DEEPEST = 12
_FIELDS = ("code", "name", "slug", "children", "parent")
_TOP = ("name", "source", "levels", "nodes")


def tap_selection(languages: tuple[str, ...] = NINE) -> Selection:
    """TaP's cut of the bundled catalogue to 724 subjects (section 3.1): of foreign languages twelve stay.

    Args:
        languages: codes of those languages that stay, beside linguistics, translation and business English.
    """
    return Selection(drop=("0502",), keep=(*languages, "0502100T", "050261", "050262"))


SELECTIONS: dict[str, Selection] = {"tap": tap_selection()}
"""Selections of the bundled catalogue, by name."""


class Problem(NamedTuple):
    """What is wrong in a file: a line of a table, or a place in a tree, with its field."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class _Row(NamedTuple):
    """A node as its file has it: where it stands, and the key of its parent."""

    where: str
    code: str
    name: str
    slug: str | None
    parent: str | None


@dataclass
class _Rows:
    """Nodes as they are read, in the file's order, and all that is wrong with them."""

    by_code: dict[str, _Row] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def add(self, row: _Row, *, again: bool = False) -> None:
        """Take a node in; `again`: the same one may come again, as above each of its children."""
        found = self.by_code.setdefault(row.code, row)
        if found is row:
            return
        if not again:
            here = "the same" if row[1:] == found[1:] else _named(row)
            there = f"stands at {found.where}, too, as {_named(found)}"
            self.wrong(row.where, f"code {_shown(row.code)} {there}; here it is {here}")
            return
        for what in ("name", "parent", "slug"):
            mine, theirs = getattr(row, what), getattr(found, what)
            if mine != theirs:
                text = f"{what} {_shown(mine)} of code {_shown(row.code)}, which has {_shown(theirs)} at {found.where}"
                self.wrong(row.where, text)
                return

    def wrong(self, where: str, what: str) -> None:
        """Remember a problem."""
        self.problems.append(Problem(where, what))


def bundled_taxonomy() -> Taxonomy:
    """China's undergraduate catalogue of 2024: names and codes of 816 subjects, 93 categories, 12 disciplines."""
    text = files("coig_p.annotate").joinpath("taxonomy", f"{BUNDLED}.tsv").read_text(encoding="utf-8")
    found, problems = _taxonomy(Path(f"{BUNDLED}.tsv"), text)
    assert found is not None
    assert not problems
    return Taxonomy(BUNDLED, found.levels, found.roots, found.domains, SOURCE)


def read_taxonomy(path: str | Path | None) -> Taxonomy:
    """Read a taxonomy; None: the bundled one.

    Raises:
        UsageError: no such file, or of an unknown suffix.
        DataError: what is no tree: a code that stands for two nodes, a node below itself, nothing in it; names the line
            or the place in the file, and the field.
    """
    found, problems = check_taxonomy(path)
    if found is None or problems:
        more = f" ({counted(len(problems) - 1, 'more problem')}: coigp annotate taxonomy check)" if problems[1:] else ""
        raise DataError(f"{problems[0]}{more}")
    return found


def check_taxonomy(path: str | Path | None) -> tuple[Taxonomy | None, list[Problem]]:
    """The same with all that is wrong, where something is; raise UsageError where there is no such file."""
    if path is None:
        return bundled_taxonomy(), []
    path = Path(path)
    check_name(path)
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: unknown format {path.suffix!r}. A taxonomy is {', '.join(SUFFIXES)}")
    try:
        text = read_small(path)
    except UnicodeDecodeError as error:
        return None, [Problem(str(path), f"not UTF-8, from byte {error.start} on: save it as UTF-8")]
    except OSError as error:
        raise UsageError(f"taxonomy {path} cannot be read: {error.strerror}") from None
    return _taxonomy(path, text)


def _taxonomy(path: Path, text: str) -> tuple[Taxonomy | None, list[Problem]]:
    rows = _Rows()
    name, source = path.stem, None
    levels: tuple[str, ...] = ()
    try:
        if path.suffix.lower() == ".tsv":
            levels = _read_table(path, text, rows)
        else:
            name, source, levels = _read_tree(path, text, rows)
    except DataError as error:
        rows.problems.insert(0, Problem(*_split(str(error), str(path))))
    if name == path.stem and (problem := text_problem(name)) is not None:
        rows.wrong(str(path), f"the tree has the name of its file, and {problem}")
    _check_parents(rows)
    if rows.problems:
        return None, rows.problems
    if not rows.by_code:
        return None, [Problem(str(path), "no node in it: a taxonomy has one at least")]
    roots = _grown(rows)
    try:
        domains = domains_of(roots, name, str(path))
    except CoigPError as error:
        return None, [Problem(*_split(str(error), str(path)))]
    depth = max(len(way) for way in paths(roots))
    return Taxonomy(name, (*levels[:depth], *[""] * (depth - len(levels))), roots, domains, source), []


def _split(message: str, path: str) -> tuple[str, str]:
    return path, message.removeprefix(f"{path}: ")


# A table


def _read_table(path: Path, text: str, rows: _Rows) -> tuple[str, ...]:
    """The rows of a table into `rows`; its levels."""
    columns: list[tuple[str, str | None, str | None]] = []
    for record in records(str(path), io.StringIO(text, newline=""), "\t", _LONGEST):
        where = f"{path}:{record.line}"
        if record.problem is not None or isinstance(record.value, str):
            rows.wrong(where, record.problem[1] if record.problem else "no row")
            continue
        columns = columns or _columns(path, list(record.value), rows)
        _add_path(record.value, columns, where, rows)
    return tuple(name for name, _, _ in columns)


def _columns(path: Path, header: list[str], rows: _Rows) -> list[tuple[str, str | None, str | None]]:
    """Of each level the columns of its name, its code and its slug."""
    beside = [name for name in header if name == "code" or name.endswith(("_code", "_slug"))]
    levels = [name for name in header if name not in beside]
    if not levels:
        raise DataError(f"{path}: the first line names no level: write discipline_code, discipline, code, subject")
    for level in levels:
        if (problem := text_problem(level)) is not None:
            rows.wrong(f"{path}:1 {printable(level)[:80]}", problem)
    known = {f"{level}_{what}" for level in levels for what in ("code", "slug")} | {"code"}
    for name in beside:
        if name not in known or (name == "code" and f"{levels[-1]}_code" in beside):
            raise DataError(f"{path}: column {printable(name)!r} belongs to no level of {', '.join(levels)}")
    found = []
    for level in levels:
        code = f"{level}_code" if f"{level}_code" in beside else "code" if level == levels[-1] else None
        found.append((level, code if code in beside else None, f"{level}_slug" if f"{level}_slug" in beside else None))
    return found


def _add_path(row: dict[str, str], columns: list[tuple[str, str | None, str | None]], where: str, rows: _Rows) -> None:
    """The nodes of a row, down to the first that has no place in the tree; one whose name alone is wrong has one."""
    way, problem = _way(row, columns, where, rows)
    if problem is not None:
        rows.problems.append(problem)
    elif not way:
        rows.wrong(where, "no name in any level")
    for at, node in enumerate(way, 1):
        rows.add(node, again=problem is not None or at < len(way))


def _way(
    row: dict[str, str], columns: list[tuple[str, str | None, str | None]], where: str, rows: _Rows
) -> tuple[list[_Row], Problem | None]:
    """The nodes of a row, and what is wrong with the next one, where that ends them."""
    parent: str | None = None
    gap: str | None = None
    names: list[str] = []
    way: list[_Row] = []
    for level, code_column, slug_column in columns:
        name = row[level].strip()
        code = row[code_column].strip() if code_column else ""
        if not name:
            if code:
                return way, Problem(f"{where} {level}", f"blank, beside the code {_shown(code)}")
            gap = gap or level
            continue
        if gap is not None:
            return way, Problem(f"{where} {gap}", f"blank above {level} {_shown(name)}")
        names.append(name)
        if code_column and not code:
            return way, Problem(f"{where} {code_column}", f"blank beside {level} {_shown(name)}")
        code = code or "/".join(names)
        unfit = text_problem(code)
        if unfit is not None:
            return way, Problem(f"{where} {level}", text_problem(name) or unfit)
        if (problem := text_problem(name)) is not None:
            rows.wrong(f"{where} {level}", problem)
        slug = (row[slug_column].strip() or None) if slug_column else None
        way.append(_Row(where, code, name, slug, parent))
        parent = code
    return way, None


# A tree


def _read_tree(path: Path, text: str, rows: _Rows) -> tuple[str, str | None, tuple[str, ...]]:
    """The nodes of a tree into `rows`; its name, source and levels."""
    kind = path.suffix[1:].upper()
    read: Callable[[str], Any] = tomllib.loads if kind == "TOML" else partial(strict_json, halves=True)
    try:
        told = read(text)
    except RecursionError:
        raise DataError(f"{path}: nodes stand in each other too deep") from None
    except ValueError as error:
        raise DataError(f"{path}: not {kind}: {error}") from None
    if not isinstance(told, dict):
        raise DataError(f"{path}: {_shown(told)} is not an object with {', '.join(_TOP)}")
    for name in told:
        if name not in _TOP:
            rows.wrong(f"{path} .{printable(name)[:80]}", f"no field of a taxonomy, which has {', '.join(_TOP)}")
    for name in ("name", "source"):
        if (problem := _field_problem(told, name, needed=False)) is not None:
            rows.wrong(f"{path} .{name}", problem)
    levels = told.get("levels", [])
    if not isinstance(levels, list):
        rows.wrong(f"{path} .levels", f"{_shown(levels)} is not a list of names")
        levels = []
    for at, level in enumerate(levels):
        if (problem := _field_problem({"level": level}, "level", needed=True)) is not None:
            rows.wrong(f"{path} .levels[{at}]", problem)
    nodes = told.get("nodes", [])
    if not isinstance(nodes, list):
        raise DataError(f"{path} .nodes: {_shown(nodes)} is not a list of nodes")
    _add_nodes(f"{path} .nodes", nodes, (), rows)
    return told.get("name", path.stem), told.get("source"), tuple(levels)


def _add_nodes(where: str, nodes: list[Any], above: tuple[_Row, ...], rows: _Rows) -> None:
    for at, node in enumerate(nodes):
        here = f"{where}[{at}]"
        row = _node(here, node, above, rows)
        if row is None:
            continue
        rows.add(row)
        children = node.get("children", [])
        if not isinstance(children, list):
            rows.wrong(f"{here}.children", f"{_shown(children)} is not a list of nodes")
        elif children and len(above) + 1 == DEEPEST:
            rows.wrong(f"{here}.children", f"deeper than {DEEPEST} levels")
        else:
            _add_nodes(f"{here}.children", children, (*above, row), rows)


def _node(here: str, node: Any, above: tuple[_Row, ...], rows: _Rows) -> _Row | None:
    """A node as a row; None where it has no name or code to be known by. All that is wrong with it is noted."""
    if not isinstance(node, dict):
        rows.wrong(here, f"{_shown(node)} is not a node with {', '.join(_FIELDS)}")
        return None
    for name in node:
        if name not in _FIELDS:
            rows.wrong(f"{here}.{printable(name)[:80]}", f"no field of a node, which has {', '.join(_FIELDS)}")
    wrong = set()
    for name in ("code", "name", "slug", "parent"):
        problem = _field_problem(node, name, needed=name == "name")
        if problem is not None:
            rows.wrong(f"{here}.{name}", problem)
            wrong.add(name)
    if "parent" in node and (above or "children" in node):
        rows.wrong(f"{here}.parent", "beside children: say by one of the two where nodes stand")
        wrong.add("parent")
    name = node.get("name")
    if "code" in wrong or not isinstance(name, str) or not name.strip():
        return None
    name = name.strip()
    code = node.get("code", "/".join([*(one.name for one in above), name])).strip()
    parent = above[-1].code if above else None if "parent" in wrong else node.get("parent")
    return _Row(here, code, name, None if "slug" in wrong else node.get("slug"), parent)


def _field_problem(node: dict[str, Any], name: str, *, needed: bool) -> str | None:
    if name not in node:
        return "missing" if needed else None
    value = node[name]
    if not isinstance(value, str):
        return f"{_shown(value)} is not text" + (": put it in quotes" if isinstance(value, int) else "")
    return "blank" if not value.strip() else text_problem(value)


# All of it


def _check_parents(rows: _Rows) -> None:
    """Every parent is there, none stands below itself, and none too deep."""
    depths: dict[str, int] = {}
    for row in rows.by_code.values():
        way: list[_Row] = []
        at: _Row | None = row
        while at is not None and at.code not in depths:
            if at in way:
                circle = " > ".join(printable(one.code) for one in [*way[way.index(at) :], at])
                rows.wrong(at.where, f"parent {_shown(at.parent)}: the node stands below itself ({circle})")
                break
            way.append(at)
            if at.parent is not None and at.parent not in rows.by_code:
                rows.wrong(at.where, f"parent {_shown(at.parent)} is no node's code")
            at = None if at.parent is None else rows.by_code.get(at.parent)
        above = 0 if at is None else depths.get(at.code, 0)
        for depth, one in enumerate(reversed(way), above + 1):
            depths[one.code] = depth
            if depth == DEEPEST + 1:
                rows.wrong(one.where, f"deeper than {DEEPEST} levels")


def _grown(rows: _Rows) -> tuple[Node, ...]:
    """The rows as a tree, in their order."""
    below: dict[str | None, list[_Row]] = {}
    for row in rows.by_code.values():
        below.setdefault(row.parent, []).append(row)

    def nodes(parent: str | None) -> tuple[Node, ...]:
        return tuple(Node(row.code, row.name, row.slug, nodes(row.code)) for row in below.get(parent, ()))

    return nodes(None)


def text_problem(text: str) -> str | None:
    """Why a name or a code cannot be one: it goes into prompts, and to terminals."""
    if len(text) > _LONGEST:
        return f"longer than {_LONGEST:,} characters"
    if printable(text) != text or "\n" in text or "\t" in text:
        return f"{_shown(text)} has a character that cannot be seen: leave it out"
    return None


def _named(row: _Row) -> str:
    return _shown(row.name) + ("" if row.parent is None else f" below {_shown(row.parent)}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
