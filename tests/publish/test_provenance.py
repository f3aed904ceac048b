"""What a release says of itself: LICENSE, CITATION.cff and croissant.json, and what it was made of."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from make import make_store, twin

from coig_p.errors import DataError
from coig_p.publish.plan import read_release
from coig_p.publish.release import ReleaseConfig, write_release
from coig_p.report.card_toml import CARD_TOML
from coig_p.report.licences import HUB_LICENCES
from coig_p.report.terms import SPDX
from coig_p.store.store import Store
from coig_p.validation import check
from coig_p.validation.cleaning import clean_store

# What mlcroissant's own libraries warn of is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:.*(ConjunctiveGraph|deprecated):DeprecationWarning")

CARD = """
pretty_name = "试验: \\"用\\" --- 偏好数据"
license = "cc-by-4.0"
authors = ["甲", "No", "甲"]
citation = "@misc{trial, title={Trial: 1e3}}"
intended_use = "Trying releases."
tags = ["1e3", "null"]
homepage = "https://example.org/a?b=1#c"
[[sources]]
name = "written for tests"
license = "CC0"
[[releases]]
version = "v1.0.0"
date = 2026-01-31
changes = "First."
"""
# Keys of Citation File Format 1.2.0 that stand at the top of a file.
CFF = {
    *("abstract", "authors", "cff-version", "commit", "contact", "date-released", "doi", "identifiers", "keywords"),
    *("license", "license-url", "message", "preferred-citation", "references", "repository", "repository-artifact"),
    *("repository-code", "title", "type", "url", "version"),
}


def store_of(path: Path, rows: list[dict[str, Any]] | None = None, card: str = CARD) -> Store:
    store = make_store(path, rows or twin())
    (store / CARD_TOML).write_text(card, encoding="utf-8")
    return Store.open(store)


def release_of(store: Store, out: Path, version: str = "1.0.0") -> Store:
    return write_release(store, out, ReleaseConfig(version))


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("release")
    return release_of(store_of(folder / "store"), folder / "out")


def test_the_manifest_lists_them_and_what_they_are_made_of(released: Store) -> None:
    roles = {file.path: file.role for file in released.manifest.files}
    assert (roles["LICENSE"], roles["CITATION.cff"], roles["croissant.json"]) == ("license", "citation", "croissant")
    inputs = released.manifest.release["inputs"]
    store = released.path.parent / "store"
    assert inputs.keys() == {"manifest.json", "card.toml"}
    assert all(sha256 == hashlib.sha256((store / name).read_bytes()).hexdigest() for name, sha256 in inputs.items())
    assert released.manifest.tool.startswith("coig-p ")
    assert released.verify() == []


def test_a_citation_says_what_the_card_does(released: Store) -> None:
    cited = yaml.safe_load((released.path / "CITATION.cff").read_text("utf-8"))
    assert cited.keys() <= CFF
    assert cited == {
        "cff-version": "1.2.0",
        "message": "If you use this dataset, please cite it:\n\n@misc{trial, title={Trial: 1e3}}\n",
        "type": "dataset",
        "title": '试验: "用" --- 偏好数据',
        "authors": [{"name": "甲"}, {"name": "No"}],
        "keywords": ["1e3", "null"],
        "url": "https://example.org/a?b=1#c",
        "license": "CC-BY-4.0",
    }


@pytest.mark.parametrize(
    ("licence", "license", "link", "text"),
    [
        ('"odc-by"', "ODC-By-1.0", None, "Terms: https://spdx.org/licenses/ODC-By-1.0.html"),
        ('"cdla-permissive-2.0"', None, "https://spdx.org/licenses/CDLA-Permissive-2.0.html", "CDLA-Permissive-2.0"),
        ('"gemma"', None, None, "License: gemma\nTerms: see the dataset card, README.md"),
        (
            '"other"\nlicense_name = "甲方条款"\nlicense_link = "https://example.org/terms"',
            None,
            "https://example.org/terms",
            "License: 甲方条款\nTerms: https://example.org/terms",
        ),
    ],
)
def test_licences(tmp_path: Path, licence: str, license: str | None, link: str | None, text: str) -> None:
    card = CARD.replace('"cc-by-4.0"', licence)
    path = release_of(store_of(tmp_path / "store", card=card), tmp_path / "out").path
    assert text in (path / "LICENSE").read_text("utf-8")
    cited = yaml.safe_load((path / "CITATION.cff").read_text("utf-8"))
    assert (cited.get("license"), cited.get("license-url")) == (license, link)
    named = json.loads((path / "croissant.json").read_text("utf-8"))["license"]
    assert named == (link or (f"https://spdx.org/licenses/{license}.html" if license else "gemma"))


def test_every_licence_of_spdx_is_one_of_the_hubs() -> None:
    assert SPDX.keys() <= HUB_LICENCES
    assert SPDX["apache-2.0"] == "Apache-2.0"


def test_a_licence_beside_the_store_is_taken_as_it_is(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store")
    (store.path / "LICENSE").write_bytes("甲方\r\n条款".encode())
    assert store.verify() == []
    cleaned = clean_store(store, check(store), tmp_path / "cleaned").store
    released = release_of(cleaned, tmp_path / "out")
    assert (released.path / "LICENSE").read_bytes() == "甲方\r\n条款".encode()
    assert "LICENSE" in released.manifest.release["inputs"]
    # A release is a store: what is made of it takes the licence along, and one that was made is made anew.
    made = release_of(store_of(tmp_path / "other"), tmp_path / "made")
    again = clean_store(made, check(made), tmp_path / "again").store
    (again.path / CARD_TOML).write_text(CARD.replace("cc-by-4.0", "mit"), encoding="utf-8")
    assert "License: MIT" in (release_of(again, tmp_path / "out2").path / "LICENSE").read_text("utf-8")
    assert read_release(tmp_path / "out2", "1.0.0")


def test_a_licence_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of(tmp_path / "store")
    (store.path / "LICENSE").write_text("x")
    stock = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "LICENSE":
            raise PermissionError(13, "Permission denied")
        return stock(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"LICENSE cannot be read: Permission denied"):
        release_of(store, tmp_path / "out")


@pytest.mark.parametrize("kind", ["dangling", "outside", "folder", "fifo", "empty"])
def test_a_licence_that_is_none(tmp_path: Path, kind: str) -> None:
    store = store_of(tmp_path / "store")
    place = store.path / "LICENSE"
    said = {
        "dangling": "a link to nothing",
        "outside": "a link that leads out of the store",
        "folder": "no file",
        "fifo": "no file",
        "empty": "empty",
    }[kind]
    if kind in ("dangling", "outside"):
        if kind == "outside":
            (tmp_path / "nowhere").write_text("of the publisher's machine", encoding="utf-8")
        place.symlink_to(tmp_path / "nowhere")
    elif kind == "folder":
        place.mkdir()
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.write_text(" \n")
    with pytest.raises(DataError, match=f"LICENSE: it is {said}. Put the text of the licence there, or delete it"):
        release_of(store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Croissant.


def records(path: Path, record_set: str) -> list[dict[str, Any]]:
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    return [plain(record) for record in mlcroissant.Dataset(jsonld=str(path / "croissant.json")).records(record_set)]


def plain(value: Any) -> Any:
    """As Parquet's own values: text is bytes there, and names are whole identifiers."""
    if isinstance(value, dict):
        return {name.rpartition("/")[2]: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value.decode() if isinstance(value, bytes) else value.item() if hasattr(value, "item") else value


def rows(path: Path, folder: str) -> list[dict[str, Any]]:
    found = []
    for file in sorted((path / folder).glob("*.parquet")):
        split = file.name.partition("-")[0]
        found += [row | {"split": split} for row in pq.read_table(file).to_pylist()]
    return found


def test_croissant_is_valid_and_reads_what_the_files_hold(released: Store, caplog: pytest.LogCaptureFixture) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    metadata = mlcroissant.Dataset(jsonld=str(released.path / "croissant.json")).metadata
    assert not metadata.ctx.issues.errors
    # A version and a day of release would change this file with every card: the manifest says them.
    assert all("version" in one or "datePublished" in one for one in metadata.ctx.issues.warnings)
    assert [one.id for one in metadata.record_sets] == ["default", "chat", "chat-raw", "math", "math-raw"]
    for domain in ("chat", "math"):
        assert records(released.path, domain) == rows(released.path, f"pairs/{domain}")
        raw = rows(released.path, f"data/{domain}")
        for row in raw:
            for response in row["responses"]:
                del response["scores"]
        for got, wanted in zip(records(released.path, f"{domain}-raw"), raw, strict=True):
            lists = ("messages", "comparisons")  # of null the reader makes one of nothing but nulls
            assert {name: got[name] for name in got if name not in lists} == {
                name: wanted[name] for name in wanted if name not in lists
            }
    described = json.loads((released.path / "croissant.json").read_text("utf-8"))
    (raw_set,) = [one for one in described["recordSet"] if one["name"] == "math-raw"]
    assert "responses.scores" in raw_set["description"]
    for file in described["distribution"]:
        if file["@type"] == "cr:FileObject":
            content = (released.path / file["contentUrl"]).read_bytes()
            assert file["sha256"] == hashlib.sha256(content).hexdigest()


def test_croissant_of_hostile_names(tmp_path: Path) -> None:
    """Names that YAML, JSON-LD or a glob might take for something else; texts of the card that close nothing."""
    given = [
        row | {"query_id": f"{domain}-{row['query_id']}", "domain": domain}
        for domain in ("1e3", "files", "__all", "-", "null")
        for row in twin()[:3]
    ]
    for row in given:
        for response in row["responses"]:
            response["model"] = f'"</script>@id:{response["model"]}\u202e'
    card = CARD.replace("Trying", '\\"}],\\"@id\\":\\"x\\", </script>{{x}} \\u202e').replace('1e3", "null', "@type")
    path = release_of(store_of(tmp_path / "store", given, card), tmp_path / "out").path
    by_domain = {name: rows(path, f"pairs/{name}") for name in ("1e3", "files", "null", "-", "__all")}
    for name, wanted in by_domain.items():
        assert records(path, name) == wanted
    assert len(records(path, "default")) == sum(map(len, by_domain.values()))


def test_croissant_of_conversations(tmp_path: Path) -> None:
    from coig_p.pairs.config import PairConfig

    store = store_of(tmp_path / "store")
    released = write_release(store, tmp_path / "out", ReleaseConfig("1.0.0", PairConfig(format="conversational")))
    assert records(released.path, "math") == rows(released.path, "pairs/math")


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path, released: Store) -> None:
    store = tmp_path / "elsewhere"
    shutil.copytree(released.path.parent / "store", store)
    again = release_of(Store.open(store), tmp_path / "out")
    for name in ("LICENSE", "CITATION.cff", "croissant.json", "manifest.json"):
        assert (again.path / name).read_bytes() == (released.path / name).read_bytes()
