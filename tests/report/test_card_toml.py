"""card.toml: its template's optional lines in use where they stand, and everything wrong with it said at once."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from coig_p.errors import DataError
from coig_p.report.card_toml import CARD_TOML, REQUIRED, CardInfo, card_template, newest_release, read_card_info

OPTIONAL = re.compile(r"# ((?:[a-z_]+ = |\[).*)")
FILLED = {
    'pretty_name = ""': 'pretty_name = "名"',
    '\nlicense = ""\n': '\nlicense = "mit"\n',
    'authors = [""]': 'authors = ["甲"]',
    'citation = """\n"""': 'citation = """\n@misc{a}\n"""',
    'intended_use = ""': 'intended_use = "Trying."',
    '{ name = "", license = "", url = "" }': '{ name = "本项目", license = "mit", url = "https://example.org" }',
}
SOURCE = '[[sources]]\nname = "本项目"\nlicense = "mit"\nurl = "https://example.org"\n'


def template() -> str:
    """The template with what is required filled in, and links that can be ones."""
    text = card_template()
    for blank, value in FILLED.items():
        assert text.count(blank) == 1, blank
        text = text.replace(blank, value)
    return text


def older_template() -> str:
    """As it was when sources stood as tables, above the optional lines, which TOML then takes for the last one's."""
    sources = re.compile(r"sources = \[.*?^\]\n", re.DOTALL | re.MULTILINE)
    assert len(sources.findall(template())) == 1
    return sources.sub(SOURCE, template())


def lines_of(text: str) -> list[int]:
    """Where optional lines stand."""
    return [at for at, line in enumerate(text.split("\n")) if OPTIONAL.fullmatch(line)]


def used(text: str, places: set[int]) -> str:
    """The template with these of its optional lines in use, where they stand."""
    lines = text.split("\n")
    return "\n".join(OPTIONAL.sub(r"\1", line) if at in places else line for at, line in enumerate(lines))


def blocks(text: str) -> tuple[list[int], list[list[int]]]:
    """The optional lines by themselves, and those of each table together, its heading first."""
    alone: list[int] = []
    tables: list[list[int]] = []
    for at in lines_of(text):
        if text.split("\n")[at].startswith("# ["):
            tables.append([])
        (tables[-1] if tables else alone).append(at)
    return alone, tables


def told(text: str, at: int) -> dict[str, Any]:
    """An optional line by itself, as TOML."""
    return tomllib.loads(OPTIONAL.sub(r"\1", text.split("\n")[at]))


def info_of(text: str, folder: Path) -> CardInfo:
    (folder / CARD_TOML).write_text(text, encoding="utf-8")
    return read_card_info(folder)


def expected(text: str, places: set[int]) -> dict[str, Any]:
    """The fields that these optional lines give, read line by line."""
    alone, tables = blocks(text)
    found: dict[str, Any] = {}
    for at in alone:
        found |= told(text, at) if at in places else {}
    for heading, *rest in tables:
        if heading in places:
            name = text.split("\n")[heading].strip("# []").split("]")[0]
            row: dict[str, Any] = {}
            for at in rest:
                row |= told(text, at) if at in places else {}
            found[name] = row
    return found


def check_fields(info: CardInfo, wanted: dict[str, Any]) -> None:
    more = {"releases": ("version", "changes", "date"), "errata": ("text", "date")}
    for one in fields(CardInfo):
        value = getattr(info, one.name)
        if one.name in REQUIRED:
            assert value
        elif one.name in more and one.name in wanted:
            assert value == ({part: wanted[one.name].get(part, "") for part in more[one.name]},)
        elif one.name in wanted:
            assert value == (tuple(wanted[one.name]) if isinstance(wanted[one.name], list) else wanted[one.name])
        else:
            assert value == (one.default if one.name != "chinese" else {})
    assert info.sources == ({"name": "本项目", "license": "mit", "url": "https://example.org"},)


TEMPLATES = pytest.mark.parametrize("text", [template(), older_template()], ids=["today's", "older"])


@TEMPLATES
def test_each_optional_line_works_alone_where_it_stands(text: str, tmp_path: Path) -> None:
    alone, tables = blocks(text)
    assert len(alone) == 15
    assert [len(table) for table in tables] == [4, 3, 3]
    for places in [{at} for at in alone] + [set(table) for table in tables]:
        wanted = expected(text, places)
        assert len(wanted) == 1
        check_fields(info_of(used(text, places), tmp_path), wanted)


@TEMPLATES
def test_all_of_them_work_together(text: str, tmp_path: Path) -> None:
    places = set(lines_of(text))
    wanted = expected(text, places)
    assert wanted.keys() == {one.name for one in fields(CardInfo)} - set(REQUIRED)
    check_fields(info_of(used(text, places), tmp_path), wanted)


@st.composite
def subsets(draw: st.DrawFn) -> tuple[str, set[int]]:
    """A template and lines of it that a person may put to use: of a table its heading and what it needs with them."""
    text = draw(st.sampled_from([template(), older_template()]))
    alone, tables = blocks(text)
    places = {at for at in alone if draw(st.booleans())}
    needs = {"[[releases]]": ("version", "changes"), "[[errata]]": ("text",), "[chinese]": ()}
    lines = text.split("\n")
    for table in tables:
        if draw(st.booleans()):
            heading = re.sub(r"^# (\[+\w+\]+).*", r"\1", lines[table[0]])
            must = {at for at in table[1:] if next(iter(told(text, at))) in needs[heading]}
            places |= {table[0], *must, *(at for at in table[1:] if draw(st.booleans()))}
    return text, places


@examples(200)
@given(subsets())
def test_any_of_them_work_with_any_others(tmp_path_factory: pytest.TempPathFactory, case: tuple[str, set[int]]) -> None:
    text, places = case
    folder = tmp_path_factory.getbasetemp()
    check_fields(info_of(used(text, places), folder), expected(text, places))


@TEMPLATES
def test_a_line_of_a_table_without_its_heading_is_refused_by_name(text: str, tmp_path: Path) -> None:
    _, (releases, errata, _) = blocks(text)
    for places, words in (
        ({releases[2]}, r"date"),
        ({releases[0], releases[2]}, r"releases \[0\] has no version and no changes"),
        ({errata[2]}, r"text"),
    ):
        with pytest.raises(DataError, match=words):
            info_of(used(text, places), tmp_path)


def test_everything_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    text = 'sources = [{ name = "a" }, { license = "mit" }, {}, 3]\nreleases = [{}, { version = "1" }]\n'
    text += 'license = "x"\ntags = ["a\\nb", ""]\nhomepage = "no"\n[chinese]\nerrata = [{}]\nlicense = 2\n'
    with pytest.raises(DataError) as refused:
        info_of(text, tmp_path)
    for words in (
        *(f"{name} is not filled in" for name in ("pretty_name", "authors", "citation", "intended_use")),
        "sources [0] has no license",
        "sources [1] has no name",
        "sources [2] has no name and no license",
        "sources must be a list of tables",
        "releases [0] has no version and no changes",
        "releases [1] has no changes",
        "license 'x' is not an identifier",
        "tags has an empty string among others",
        "tags must be a list of one line each",
        "homepage 'no' is no link",
        "chinese.license must be a string",
    ):
        assert words in str(refused.value), words


@pytest.mark.parametrize(
    ("versions", "newest"),
    [
        ([], None),
        (["1.2.0", "1.10.0", "1.9.9"], "1.10.0"),
        (["v2.0.0", "1.0.0"], "2.0.0"),
        (["2.0.0-beta", "2.0.0", "2.0.0-rc"], "2.0.0"),
        (["2.0.0-beta", "1.0.0"], "2.0.0-beta"),
        (["soon", "1.0"], None),
        (["9" * 5000 + ".0.0", "1.0.0"], "1.0.0"),
    ],
)
def test_the_newest_release_that_is_told(versions: list[str], newest: str | None, tmp_path: Path) -> None:
    rows = "".join(f'[[releases]]\nversion = "{one}"\nchanges = "x"\n' for one in versions)
    (tmp_path / CARD_TOML).write_text(rows, encoding="utf-8")
    assert newest_release(tmp_path) == newest


@pytest.mark.parametrize("text", [None, "releases = 3", 'releases = ["1.0.0"]', "releases = [{version = 1}]", "= x"])
def test_no_changelog_has_no_newest_release(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / CARD_TOML).write_text(text, encoding="utf-8")
    assert newest_release(tmp_path) is None


RELEASE = '[[releases]]\nversion = "{}"\nchanges = "x"\n'


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (RELEASE.format("1.0.0") * 2, "releases [1] is of version 1.0.0, as [0] is"),
        (RELEASE.format("1.0.0") + RELEASE.format(" v1.0.0"), "releases [1] is of version 1.0.0, as [0] is"),
        (
            "[chinese]\n" + (RELEASE.format("1.0.0") * 2).replace("[[", "[[chinese."),
            "chinese.releases [1] is of version",
        ),
        ('[[errata]]\ntext = ""\n', "errata [0] has no text"),
        ('[[errata]]\ntext = " "\ndate = "2026-01-31"\n', "errata [0] has no text"),
        ("[[errata]]\n", "errata [0] has no text"),
        ('[[releases]]\nversion = ""\n', "releases [0] has no version and no changes"),
        ('[[chinese.errata]]\ntext = ""\n', "chinese.errata [0] has no text"),
        ('license_name = "Apache-2.0"\n', "license_name 'Apache-2.0' is another licence than license = \"mit\""),
        ('license_name = "甲方条款"\n', "license_name '甲方条款' is another licence"),
        ('[chinese]\nlicense_name = "GPL-3.0"\n', "chinese.license_name 'GPL-3.0' is another licence"),
        ('[chinese]\nlicense = "gpl-3.0"\n', "chinese.license 'gpl-3.0' is another than license = 'mit'"),
    ],
)
def test_what_contradicts_itself_or_says_nothing_is_refused(more: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape(CARD_TOML)) as refused:
        info_of(template() + more, tmp_path)
    assert words in str(refused.value)


def test_a_licence_is_one(tmp_path: Path) -> None:
    text = template().replace('license = "mit"\n', 'license = ["mit", "apache-2.0"]\n', 1)
    with pytest.raises(DataError, match=r'license must be one identifier; of several: "other" with license_name'):
        info_of(text, tmp_path)


@pytest.mark.parametrize(
    ("licence", "name"),
    [
        ("mit", "MIT License"),
        ("MIT", "MIT 许可证"),
        ("apache-2.0", "Apache License, Version 2.0"),
        ("cc-by-nc-sa-4.0", "Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International"),
        ("cc-by-4.0", "CC BY 4.0"),
        ("gpl-3.0", "GNU General Public License v3.0"),
        ("odbl", "ODbL"),
        ("other", "Apache-2.0 and our own terms"),
    ],
)
def test_a_licence_may_stand_beside_its_own_name(licence: str, name: str, tmp_path: Path) -> None:
    text = template().replace('license = "mit"\n', f'license = "{licence}"\nlicense_name = "{name}"\n', 1)
    text += '[chinese]\nlicense_name = "许可证"\n' + RELEASE.format("1.0.0") + RELEASE.format("1.0.1")
    info = info_of(text.replace("[[releases", "[[chinese.releases"), tmp_path)
    assert (info.license, info.license_name) == (licence.lower(), name)
