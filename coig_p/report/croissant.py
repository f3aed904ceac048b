"""croissant.json: what a release holds, for programs that read Croissant 1.0 (JSON-LD) instead of a card.

A file that never changes once it is made is named with its SHA-256. The card, LICENSE and CITATION.cff are people's to
edit, and the manifest lists this file, so none of those is. Paths are relative to the folder in which this file lies.

Lists of objects are fields with fields inside. Lists inside of those, such as the scores of a response, are only named
in words: Croissant's own reader reads but one of such a list, and a program that asks for it should not get less than
there is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from coig_p.report.card import CardFacts, Config
from coig_p.report.terms import terms
from coig_p.schema import RAW_SCHEMAS
from coig_p.store.manifest import StoreFile

CROISSANT = "croissant.json"
_TYPES = {
    pa.string(): "sc:Text",
    pa.float64(): "cr:Float64",
    pa.int32(): "cr:Int32",
    pa.int64(): "cr:Int64",
    pa.bool_(): "sc:Boolean",
}
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def render_croissant(facts: CardFacts, files: Iterable[StoreFile]) -> str:
    """croissant.json as text.

    Args:
        files: those of the release that never change, to be named with their hashes.
    """
    info = facts.info
    known = {
        "name": info.pretty_name,
        "description": _described(facts),
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": terms(info).link or info.license_name or info.license,
        "creator": [{"@type": "sc:Organization", "name": name} for name in info.authors],
        "citeAs": info.citation,
        "inLanguage": ["zh"],
        "keywords": list(info.tags),
        "url": info.homepage,
        "isLiveDataset": False,
        "distribution": [*map(_file, files), *map(_file_set, facts.configs)],
        "recordSet": [_record_set(config, _columns(facts, config)) for config in facts.configs],
    }
    told = {name: value for name, value in known.items() if value not in ("", None, [])}
    return json.dumps({"@context": _CONTEXT, "@type": "sc:Dataset", **told}, ensure_ascii=False, indent=1) + "\n"


def _described(facts: CardFacts) -> str:
    """Of the data alone, so that a release of another card leaves this file as it is."""
    total = facts.statistics.total
    return (
        f"Preference data for Chinese language models: {total.queries:,} queries, {total.responses:,} responses, "
        f"{total.pairs:,} pairs. README.md is its card, manifest.json says its version and lists every file by SHA-256."
    )


def _columns(facts: CardFacts, config: Config) -> pa.Schema:
    return RAW_SCHEMAS[facts.manifest.schema_version] if config.raw else facts.pair_columns


def _file(file: StoreFile) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": _id(*file.path.split("/")),
        "name": file.path,
        "contentUrl": "/".join(map(_id, file.path.split("/"))),
        "contentSize": f"{file.bytes} B",
        "encodingFormat": "application/json",
        "sha256": file.sha256,
    }


def _file_set(config: Config) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": _files_of(config),
        "name": f"files of {config.name}",
        "encodingFormat": "application/x-parquet",
        "includes": [pattern for patterns in config.files.values() for pattern in patterns],
    }


def _record_set(config: Config, columns: pa.Schema) -> dict[str, Any]:
    rows = ", ".join(f"{number:,} rows of {split}" for split, number in config.rows.items())
    words = f"{'Queries, one row each' if config.raw else 'Pairs'}: {rows}"
    deep = [name for column in columns for name in _too_deep(column)]
    if deep:
        words += f". Not among the fields, since they are lists in lists: {', '.join(deep)}"
    found: dict[str, Any] = {
        "@type": "cr:RecordSet",
        "@id": _id(config.name),
        "name": config.name,
        "description": words,
    }
    if config.raw:
        found["key"] = {"@id": _id(config.name, "query_id")}
    return found | {"field": [*_fields(config, columns), _split(config)]}


def _split(config: Config) -> dict[str, Any]:
    """Which split a row is of, as its file's name says."""
    splits = "|".join(map(re.escape, config.files))
    return {
        "@type": "cr:Field",
        "@id": _id(config.name, "split"),
        "name": "split",
        "dataType": "sc:Text",
        "source": {
            "fileSet": {"@id": _files_of(config)},
            "extract": {"fileProperty": "fullpath"},
            "transform": {"regex": f"^.*/({splits})-[^/]*$"},
        },
    }


def _fields(config: Config, columns: pa.Schema) -> Iterator[dict[str, Any]]:
    for column in columns:
        source = {"fileSet": {"@id": _files_of(config)}, "extract": {"column": column.name}}
        yield _field((config.name, column.name), column.type, source, ())


def _field(names: Sequence[str], kind: pa.DataType, source: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """A field, with those inside it.

    Args:
        names: of the config, the column, and so on down to it.
        path: from the column's value to it.
    """
    found: dict[str, Any] = {"@type": "cr:Field", "@id": _id(*names), "name": names[-1]}
    if pa.types.is_list(kind):
        found["repeated"] = True
        kind = kind.value_type
    if pa.types.is_struct(kind):
        inner = [one for one in kind if not pa.types.is_list(one.type)]
        return found | {"subField": [_field((*names, one.name), one.type, source, (*path, one.name)) for one in inner]}
    steps = {"transform": {"jsonPath": ".".join(path)}} if path else {}
    return found | {"dataType": _TYPES[kind], "source": source | steps}


def _too_deep(column: pa.Field) -> list[str]:
    """Paths of the lists inside a column that is a list of objects."""
    kind = column.type.value_type if pa.types.is_list(column.type) else column.type
    inner = kind if pa.types.is_struct(kind) else ()
    return [f"{column.name}.{one.name}" for one in inner if pa.types.is_list(one.type)]


def _files_of(config: Config) -> str:
    return f"{_id(config.name)}.files"  # no name of a config has a dot


def _id(*names: str) -> str:
    """An identifier that JSON-LD takes for nothing else: no colon, no space, nothing that is not ASCII."""
    return "/".join(quote(name, safe="") for name in names)
