"""What keeps a release from being written, and the fields of a card."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pyarrow as pa
import pytest
from datasets import load_dataset
from make import twin
from releasing import CARD, to_release

import coig_p
from coig_p.errors import CoigPError, DataError, UsageError
from coig_p.pairs.config import PairConfig
from coig_p.publish.release import ReleaseConfig, write_release
from coig_p.report.card_toml import CARD_TOML, card_template, read_card_info
from coig_p.store.locate import BUNDLED
from coig_p.store.store import Store
from coig_p.validation import check
from coig_p.validation.cleaning import clean_store


def test_what_keeps_a_release_from_being_written(tmp_path: Path) -> None:
    store = to_release(tmp_path / "store", twin())
    out = tmp_path / "out"

    def refused(words: str, config: ReleaseConfig | None = None) -> None:
        with pytest.raises(CoigPError, match=words):
            write_release(Store.open(store.path, check_sizes=False), out, config or ReleaseConfig("1.0.0"))
        assert not out.exists()

    benchmark = tmp_path / "bench.jsonl"
    benchmark.write_text(json.dumps({"question": twin()[3]["query"]}) + "\n", encoding="utf-8")
    refused(r"contamination \(1\).*coigp clean .* --against", ReleaseConfig("1.0.0", against=[benchmark]))
    (store.path / CARD_TOML).write_text(CARD.replace('license = "cc-by-4.0"', ""), encoding="utf-8")
    refused("license is not filled in")
    (store.path / CARD_TOML).write_text(card_template(), encoding="utf-8")
    refused(
        "pretty_name is not filled in; license is not filled in; authors is .*; citation .*; intended_use .*; sources"
    )
    (store.path / CARD_TOML).unlink()
    refused("coigp card .* --init")
    (store.path / CARD_TOML).write_text(CARD, encoding="utf-8")
    shard = store.path / store.data_files()[0].path
    whole = shard.read_bytes()
    shard.write_bytes(whole[:4] + bytes([whole[4] ^ 1]) + whole[5:])
    refused(r"files \(1\)|cannot be read")
    shard.write_bytes(whole)
    rows = twin()
    rows[5]["responses"][1]["text"] += "</s>"
    store = to_release(tmp_path / "wrong", rows)
    refused(r"special-token \(1\).*coigp check .*coigp clean")


def test_places_and_options_that_cannot_be(tmp_path: Path) -> None:
    store = to_release(tmp_path / "store", twin())
    with pytest.raises(UsageError, match="is the store itself"):
        write_release(store, store.path, ReleaseConfig("1.0.0"), overwrite=True)
    write_release(store, tmp_path / "out", ReleaseConfig("1.0.0"))
    with pytest.raises(UsageError, match="pass --overwrite"):
        write_release(store, tmp_path / "out", ReleaseConfig("1.0.0"))
    write_release(store, tmp_path / "out", ReleaseConfig("1.0.1"), overwrite=True)
    with pytest.raises(UsageError, match="format dpo"):
        write_release(store, tmp_path / "kto", ReleaseConfig("1.0.0", pairs=PairConfig(format="kto")))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("extra = 1", "extra is not a field of a card"),
        ("description = 1", "description must be a string"),
        ('errata = ["x"]', r"errata must be a list of tables: \[\[errata\]\]"),
        ('releases = [{version = "1"}]', r"releases \[0\] has no changes"),
        ("tags = [1]", "tags must be a list of strings"),
        ('pretty_name = "x"', "is not TOML"),
        ("tags = ['a\\nb']".replace("'", '"'), "tags must be a list of one line each"),
        ('tags = ["a", ""]', "tags has an empty string among others"),
        ('homepage = "javascript:alert(1)"', r"homepage 'javascript:alert\(1\)' is no link: write it as https://"),
        ('homepage = "https://a.example\\nlicense: mit"', "homepage must be one line"),
        ("chinese = {intended_use = 3}", r"chinese\.intended_use must be a string"),
        ('chinese = {sources = "x", errata = ["y"]}', r"chinese\.errata must be a list of tables"),
        ('chinese = {chinese = "x"}', r"chinese\.chinese is not a field of a card"),
    ],
)
def test_fields_of_a_card_that_cannot_be_are_named(change: str, words: str, tmp_path: Path) -> None:
    (tmp_path / CARD_TOML).write_text(change + "\n" + CARD, encoding="utf-8")
    with pytest.raises(DataError, match=words):
        read_card_info(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("cc-by-4.0", "CC-BY 4.0", "license 'CC-BY 4.0' is not an identifier that the Hub knows, .* 'cc-by-4.0'"),
        ("cc-by-4.0", "nobody's", 'or "other", best with license_name and license_link'),
        ("试验用", "试验\\n用", "pretty_name must be one line"),
        ('license = "CC0"', 'licence = "CC0"', r"sources \[0\] has no license"),
        (
            'license = "CC0"',
            'license = "CC0"\nlink = "x"',
            r"sources \[0\] has link, which is none of name, license, url",
        ),
        ('license = "CC0"', "license = 0", r"sources \[0\] has no license|sources \[0\] license must be a string"),
        ('license = "CC0"', 'license = "CC0"\nurl = "ftp://x"', r"sources \[0\] url 'ftp://x' is no link"),
    ],
)
def test_values_of_a_card_that_cannot_be_are_named(old: str, new: str, words: str, tmp_path: Path) -> None:
    (tmp_path / CARD_TOML).write_text(CARD.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DataError, match=words):
        read_card_info(tmp_path)


def test_a_licence_of_ones_own_and_a_date_as_toml_has_it(tmp_path: Path) -> None:
    own = 'license = "other"\nlicense_name = "ours"\nlicense_link = "https://example.org/l"'
    extra = '[[releases]]\nversion = "1.0.0"\nchanges = "First."\ndate = 2026-01-02\n'
    (tmp_path / CARD_TOML).write_text(CARD.replace('license = "cc-by-4.0"', own) + extra, encoding="utf-8")
    info = read_card_info(tmp_path)
    assert (info.license_name, info.license_link) == ("ours", "https://example.org/l")
    assert info.releases[0]["date"] == "2026-01-02"
    (tmp_path / CARD_TOML).write_text(CARD.replace("cc-by-4.0", "CC-BY-4.0"), encoding="utf-8")
    assert read_card_info(tmp_path).license == "cc-by-4.0"


OPTIONAL = re.compile(r"# ((?:[a-z_]+ = |\[).*)")


def uncommented(template: str) -> str:
    """The template with every line of TOML that it offers in use where it stands, and what is required filled in."""
    lines = [OPTIONAL.sub(r"\1", line) if OPTIONAL.fullmatch(line) else line for line in template.split("\n")]
    text = (
        "\n".join(lines).replace("https://...", "https://example.org").replace('url = ""', 'url = "https://a.example"')
    )
    text = text.replace('authors = [""]', 'authors = ["甲"]').replace('citation = """', 'citation = """\n@misc{a}')
    return re.sub('= ""(?!")', '= "mit"', text)


def test_optional_lines_of_the_template_work_where_they_stand(tmp_path: Path) -> None:
    text = uncommented(card_template())
    assert text.count("\n# ") < card_template().count("\n# ") - 20
    (tmp_path / CARD_TOML).write_text(text, encoding="utf-8")
    info = read_card_info(tmp_path)
    assert all(getattr(info, one.name) for one in fields(info))
    assert info.sources == ({"name": "mit", "license": "mit", "url": "https://a.example"},)
    assert info.limitations.startswith("What a user should know")
    assert info.chinese == {"description": "一段中文介绍。", "intended_use": "用途。"}
    assert [one["version"] for one in info.releases] == ["1.0.0"]
    assert [one["text"] for one in info.errata] == ["What is known to be wrong, and in which rows."]


def test_lines_below_the_sources_of_an_older_template_are_the_cards(tmp_path: Path) -> None:
    """Where TOML takes them for the source's: the template had them there, to be used by removing a "#"."""
    below = 'limitations = "查询由模板生成。"\ntags = ["alignment"]\n'
    (tmp_path / CARD_TOML).write_text(CARD + below, encoding="utf-8")
    info = read_card_info(tmp_path)
    assert (info.limitations, info.tags) == ("查询由模板生成。", ("alignment",))
    assert info.sources == ({"name": "written for tests", "license": "CC0", "url": ""},)
    (tmp_path / CARD_TOML).write_text('tags = ["a"]\n' + CARD + below, encoding="utf-8")
    with pytest.raises(DataError, match=r"sources \[0\] has tags, which is none of name, license, url"):
        read_card_info(tmp_path)
    (tmp_path / CARD_TOML).write_text(CARD + "contact = 3", encoding="utf-8")
    with pytest.raises(DataError, match="contact must be a string"):
        read_card_info(tmp_path)


def test_optional_fields_are_shown(tmp_path: Path) -> None:
    store = to_release(tmp_path / "store", twin())
    extra = """
[[releases]]
version = "1.0.0"
date = "2026-01-02"
changes = "First."
[[errata]]
text = "Row q-3 is odd."
[chinese]
intended_use = "试用。"
"""
    text = 'homepage = "https://example.org"\nannotation = "Two judges."\n' + CARD + extra
    (store.path / CARD_TOML).write_text(text, encoding="utf-8")
    out = write_release(store, tmp_path / "out", ReleaseConfig("1.0.0"))
    english, chinese = ((out.path / name).read_text("utf-8") for name in ("README.md", "README.zh.md"))
    assert "- **1.0.0** (2026-01-02): First." in english
    assert "- Row q-3 is odd." in english
    assert "Two judges." in english
    assert "Trying releases." in english
    assert "试用。" in chinese
    assert "Trying releases." not in chinese


def test_the_bundled_store_and_halluqa_can_be_released(tmp_path: Path, shared_data: Path) -> None:
    from coig_p.ingest.files import import_files
    from coig_p.ingest.intake import ImportConfig

    config = ImportConfig(domain="chat", score_range=(0, 1), default_threshold=1, on_error="skip")
    store, _ = import_files([shared_data / "halluqa.jsonl"], tmp_path / "halluqa", config)
    store = clean_store(store, check(store), tmp_path / "clean").store
    for at, one in enumerate([store, Store.open(BUNDLED)]):
        path = tmp_path / f"store-{at}"
        path.mkdir()
        for file in (*one.manifest.files, None):
            name = file.path if file else "manifest.json"
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes((one.path / name).read_bytes())
        (path / CARD_TOML).write_text(CARD, encoding="utf-8")
        out = write_release(Store.open(path), tmp_path / f"out-{at}", ReleaseConfig("1.0.0"))
        for domain in out.manifest.domains:
            streams = (
                coig_p.load_dataset(domain, data_dir=str(path), streaming=True, split="train"),
                load_dataset(str(out.path), domain, split="train", streaming=True),
            )
            # Tables, since so many rows are slow as dicts.
            wanted, found = (pa.concat_tables(each.with_format("arrow").iter(10_000)) for each in streams)
            assert wanted.num_rows > 0
            assert found.equals(wanted)
