"""A taxonomy as a file that people edit: TSV, TOML or JSON, which `read_taxonomy` reads as the same tree."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from coig_p.annotate.taxonomy.reading import SUFFIXES
from coig_p.annotate.taxonomy.tree import Node, Taxonomy, paths
from coig_p.core.atomic import atomic_file
from coig_p.errors import UsageError
from coig_p.store.places import check_name


def check_place(path: Path, *, overwrite: bool = False) -> None:
    """Raise UsageError where a taxonomy cannot be written: another suffix, or something is there."""
    check_name(path)
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: unknown format {path.suffix!r}. A taxonomy is {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise UsageError(f"{path} is a directory: name a file")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} is there already: name another file, or say --overwrite")


def write_taxonomy(taxonomy: Taxonomy, path: Path) -> None:
    """Write a taxonomy, whole or not at all; the format is by the file's ending.

    TOML and JSON have every code. A table has no place for the tree's name and source: it is named as its file.

    Raises:
        UsageError: an ending of no format.
    """
    check_place(path, overwrite=True)
    text = {".tsv": _as_table, ".toml": _as_toml, ".json": _as_json}[path.suffix.lower()](taxonomy)
    with atomic_file(path) as stream:
        stream.write(text.encode())


def _as_json(taxonomy: Taxonomy) -> str:
    told = {"name": taxonomy.name, "source": taxonomy.source, "levels": list(taxonomy.levels)}
    told = {name: value for name, value in told.items() if value is not None}
    if not all(taxonomy.levels):
        del told["levels"]
    nodes = [root.to_dict() for root in taxonomy.roots]
    return json.dumps({**told, "nodes": nodes}, ensure_ascii=False, indent=1) + "\n"


def _as_toml(taxonomy: Taxonomy) -> str:
    lines = [f"name = {_quoted(taxonomy.name)}"]
    lines += [] if taxonomy.source is None else [f"source = {_quoted(taxonomy.source)}"]
    if all(taxonomy.levels):
        lines.append(f"levels = [{', '.join(map(_quoted, taxonomy.levels))}]")
    for way in paths(taxonomy.roots):
        node = way[-1]
        told = {"code": node.code, "name": node.name, "slug": node.slug, "parent": way[-2].code if way[1:] else None}
        lines += ["", "[[nodes]]", *(f"{name} = {_quoted(value)}" for name, value in told.items() if value is not None)]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # printable text: what JSON escapes in it TOML reads alike


def _as_table(taxonomy: Taxonomy) -> str:
    levels = _columns(taxonomy.levels)
    slugs = any(root.slug is not None for root in taxonomy.roots)
    header: list[str] = []
    for at, level in enumerate(levels):
        header += [f"{level}_code", *([f"{level}_slug"] if slugs and not at else []), level]
    told = io.StringIO()
    rows = csv.writer(told, delimiter="\t", lineterminator="\n")
    rows.writerow(header)
    for way in paths(taxonomy.roots):
        if way[-1].children:
            continue
        row: list[str] = []
        for at in range(len(levels)):
            node = way[at] if at < len(way) else Node("", "")
            row += [node.code, *([node.slug or ""] if slugs and not at else []), node.name]
        rows.writerow(row)
    return told.getvalue()


def _columns(levels: Sequence[str]) -> list[str]:
    """Names of columns: those of the levels, where they can be."""
    fit = len(set(levels)) == len(levels) and all(
        name and name == name.strip() and name != "code" and not name.endswith(("_code", "_slug")) for name in levels
    )
    return list(levels) if fit else [f"level{at}" for at in range(1, len(levels) + 1)]
