"""card.toml: what no program can know of a dataset, as its maintainer filled it in."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

from coig_p.core.small_files import read_small
from coig_p.errors import DataError
from coig_p.report.licences import HUB_LICENCES, is_named

CARD_TOML = "card.toml"
REQUIRED = ("pretty_name", "license", "authors", "citation", "intended_use", "sources")
_URL = re.compile(r"https?://[^\s()<>]+")
_VERSION = re.compile(r"v?(?P<version>(?P<numbers>[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9})(?:-(?P<before>[0-9A-Za-z.-]+))?)")
_SHOWN = 5  # versions that a message names


@dataclass(frozen=True)
class CardInfo:
    """What card.toml says; `coigp card --init` writes one that explains every field.

    Attributes:
        sources: where queries and responses came from, each with name and license and, where there
            is one, url.
        releases: what changed, each with version and changes and, where known, date.
        errata: what is known to be wrong, each with text and, where known, date.
        chinese: the same fields for README.zh.md, where they differ.
    """

    pretty_name: str
    license: str
    authors: Sequence[str]
    citation: str
    intended_use: str
    sources: Sequence[Mapping[str, str]]
    description: str = ""
    rationale: str = ""
    evaluation: str = ""
    social_impact: str = ""
    plans: str = ""
    out_of_scope: str = ""
    annotation: str = ""
    personal_information: str = ""
    limitations: str = ""
    homepage: str = ""
    contact: str = ""
    license_name: str = ""
    license_link: str = ""
    annotations_creators: Sequence[str] = ("machine-generated",)
    tags: Sequence[str] = ()
    releases: Sequence[Mapping[str, str]] = ()
    errata: Sequence[Mapping[str, str]] = ()
    chinese: Mapping[str, Any] = field(default_factory=dict)

    def in_language(self, language: str) -> Mapping[str, Any]:
        """Every field, with what [chinese] says in the place of others for "zh"."""
        own = {one.name: getattr(self, one.name) for one in fields(self)}
        return own | (dict(self.chinese) if language == "zh" else {})


def read_card_info(store: Path, version: str | None = None) -> CardInfo:
    """Read a store's card.toml.

    Args:
        version: of the release that it is for, which its changelog must not end before.

    Raises:
        DataError: it is missing, not TOML, a field is missing, empty, unknown or of another kind, two licences are
            named, or releases are told and this version is not among them; all of it is named at once.
    """
    path = store / CARD_TOML
    given = _read(path, store)
    problems = [f"{name} is not filled in" for name in REQUIRED if _is_blank(given.get(name))]
    values = _fields(given, "", problems)
    values["chinese"] = _fields(values.get("chinese", {}), "chinese.", problems)
    problems += _two_licences(values)
    if version is not None:
        for within, told in (("", values), ("chinese.", values["chinese"])):
            problems += [f"{within}releases {problem}" for problem in _ends_before(told.get("releases", ()), version)]
    if problems:
        raise DataError(f"{path}: {'; '.join(problems)}")
    return CardInfo(**values)


def newest_release(store: Path) -> str | None:
    """The highest version that the changelog in a store's card.toml names; None where none is told, or no card.toml."""
    try:
        releases = _read(store / CARD_TOML, store).get("releases")
    except DataError:
        return None
    told = [row.get("version") for row in releases if isinstance(row, dict)] if isinstance(releases, list) else []
    found = [match for one in told if isinstance(one, str) and (match := _VERSION.fullmatch(one.strip()))]
    newest = max(found, key=_age, default=None)
    return newest["version"] if newest else None


def _age(version: re.Match[str]) -> tuple[int, int, int, bool, str]:
    """What orders versions: 1.0.0-beta is before 1.0.0."""
    numbers = map(int, version["numbers"].split("."))
    return (*numbers, version["before"] is None, version["before"] or "")  # type: ignore[return-value]


def _ends_before(releases: Sequence[Mapping[str, str]], version: str) -> list[str]:
    """What is wrong where releases are told and a version is not among them; a v before it does no harm."""
    told = [row["version"].strip() for row in releases]
    if not told or version in told or f"v{version}" in told:
        return []
    named = ", ".join(told[-_SHOWN:])
    return [f'tells of {named} and not of {version}: add [[releases]] with version = "{version}" and its changes']


def _two_licences(values: Mapping[str, Any]) -> list[str]:
    """What is wrong where a licence stands beside the name of another: a Hub goes by the one, readers by the other."""
    chinese, licence = values["chinese"], values.get("license")
    if licence is None:
        return []
    problems = []
    name, translated = values.get("license_name", ""), chinese.get("license_name", "")
    if licence != "other":
        # A name in Chinese letters alone is, below [chinese], a translation.
        told = [("license_name", name), *([("chinese.license_name", translated)] if translated.isascii() else [])]
        problems += [
            f'{field_of} {named!r} is another licence than license = "{licence}": leave one of them out, or write '
            'license = "other"'
            for field_of, named in told
            if named and not is_named(licence, named)
        ]
    if chinese.get("license", licence) != licence:
        problems.append(f"chinese.license {chinese['license']!r} is another than license = {licence!r}: leave it out")
    return problems


def _read(path: Path, store: Path) -> dict[str, Any]:
    try:
        given = tomllib.loads(read_small(path))
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing: write one to fill in with: coigp card {shlex.quote(str(store))} --init"
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not TOML: {error}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    return _hoisted(given)


def _hoisted(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, with those that stand below a [[...]], where TOML takes them for its own, among the card's.

    The template had them there, to be used by removing a "#". What is also above, or a field of both, stays.
    """
    fields_of: dict[str, Any] = dict(given)
    for name in _TABLES:
        rows = given.get(name)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            continue
        fields_of[name] = kept = []
        for row in rows:
            stray = [part for part in row if part in _KNOWN and part not in (*_TABLES[name], *_MORE[name], *fields_of)]
            fields_of |= {part: row[part] for part in stray}
            kept.append({part: value for part, value in row.items() if part not in stray})
    return fields_of


def _fields(given: Mapping[str, Any], within: str, problems: list[str]) -> dict[str, Any]:
    """The fields that are filled in, each of its kind; what is wrong with the others is added to `problems`."""
    values: dict[str, Any] = {}
    # A table that says nothing stands for something that was forgotten; of a field that is required that is said.
    tables = {*_TABLES, "chinese"} - (set() if within else set(REQUIRED))
    for name, value in given.items():
        if name not in _KNOWN or (within and name == "chinese"):
            problems.append(f"{within}{name} is not a field of a card (fields: {', '.join(sorted(_KNOWN))})")
        elif not _is_blank(value) or (value and name in tables):
            found = list(_problems(name, value))
            problems += [f"{within}{name} {problem}" for problem in found]
            if not found:
                values[name] = _plain(name, value)
    return values


def _is_blank(value: Any) -> bool:
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, Mapping):
        return all(map(_is_blank, value.values()))
    return value is None or (isinstance(value, list) and all(map(_is_blank, value)))


_KNOWN = {one.name for one in fields(CardInfo)}
_LISTS = ("authors", "annotations_creators", "tags")
# In YAML, a link or a heading, where a line break would end it.
_LINES = ("pretty_name", "license", "license_name", "license_link", "homepage", *_LISTS)
_URLS = ("homepage", "license_link", "url")
_TABLES = {"sources": ("name", "license"), "releases": ("version", "changes"), "errata": ("text",)}
_MORE = {"sources": ("url",), "releases": ("date",), "errata": ("date",)}


def _problems(name: str, value: Any) -> Iterator[str]:
    """Why a value cannot be this field's; nothing where it can."""
    if name in _TABLES:
        yield from _problems_of_tables(name, value)
        return
    texts = [value] if isinstance(value, str) else value
    if name == "chinese":
        if not isinstance(value, dict):
            yield "must be a table: [chinese]"
        return
    if name in _LISTS:
        if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
            yield "must be a list of strings"
            return
        if any(map(_is_blank, texts)):
            yield "has an empty string among others"
    elif not isinstance(value, str):
        one = isinstance(value, list) and name == "license"
        yield 'must be one identifier; of several: "other" with license_name' if one else "must be a string"
        return
    if name in _LINES and any(len(one.splitlines()) > 1 for one in texts):
        yield "must be one line" if name not in _LISTS else "must be a list of one line each"
    elif name == "license" and value.lower() not in HUB_LICENCES:
        close = get_close_matches(value.lower(), HUB_LICENCES, n=1)
        hint = f", for instance {close[0]!r}" if close else ""
        other = 'or "other", best with license_name and license_link'
        yield f"{value!r} is not an identifier that the Hub knows{hint}; {other}"
    elif name in _URLS:
        yield from _problems_of_url(value)


def _problems_of_tables(name: str, value: Any) -> Iterator[str]:
    known = (*_TABLES[name], *_MORE[name])
    seen: dict[str, int] = {}
    for at, one in enumerate(value if isinstance(value, list) else [value]):
        if isinstance(one, dict):
            lacking = [part for part in _TABLES[name] if _is_blank(one.get(part))]
            if lacking:
                yield f"[{at}] has no {' and no '.join(lacking)}"
            strange = [part for part in one if part not in known]
            if strange:
                yield f"[{at}] has {', '.join(strange)}, which is none of {', '.join(known)}"
            # A date that TOML has as one is written as people write it.
            other = [part for part in known if part in one and not isinstance(one[part], str | date)]
            yield from (f"[{at}] {part} must be a string" for part in other)
            if not other and not _is_blank(one.get("url")):
                yield from (f"[{at}] url {problem}" for problem in _problems_of_url(str(one["url"])))
            version = str(one.get("version", "")).strip().removeprefix("v")
            if version and seen.setdefault(version, at) != at:
                yield f"[{at}] is of version {version}, as [{seen[version]}] is: write one table a version"
        elif not isinstance(one, str) or name != "sources":
            yield f"must be a list of tables: [[{name}]]"
            return
        elif _is_blank(one):
            yield f"[{at}] has no name"


def _problems_of_url(value: str) -> Iterator[str]:
    if not _URL.fullmatch(value):
        yield f"{value!r} is no link: write it as https://..."


def _plain(name: str, value: Any) -> Any:
    if name == "license":
        return value.lower()  # as the Hub writes it
    if name in _LISTS:
        return (value,) if isinstance(value, str) else tuple(value)
    if name in _TABLES:
        rows = value if isinstance(value, list) else [value]
        given = [row if isinstance(row, dict) else {"name": row} for row in rows]
        return tuple({key: str(row.get(key, "")) for key in (*_TABLES[name], *_MORE[name])} for row in given)
    return value


def card_template() -> str:
    """A card.toml to fill in."""
    return (files("coig_p") / "card_templates" / CARD_TOML).read_text(encoding="utf-8")
