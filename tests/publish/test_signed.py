"""What people put in the place of LICENSE and CITATION.cff; and signatures, which are right on main, or not there."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from faults import REPO, FaultyHub
from make import make_rows, make_store
from making import change_card, count_footers, listed, make_release, put_file
from running import run_publish
from trials import TOKEN

from coig_p.errors import DataError, RemoteError, StoreError
from coig_p.publish import HubConfig, Published, plan_release, publish, read_release, yank
from coig_p.publish.local_hub import Repository
from coig_p.store.manifest import MANIFEST, SIGNATURE
from coig_p.store.signing import Signer, check_signature, make_keys, read_public_key, read_secret_key

ROWS = make_rows({"math": 8})
LICENSE = "Made terms\nof one\nversion\n"
CITED = "cff-version: 1.2.0\nmessage: cite it\n\ntitle: Pairs\n\nauthors:\n- name: 甲\n\nversion: {version}\n"


def made(store: Path, folder: Path, note: str, version: str, licence: str = LICENSE) -> Path:
    release = make_release(store, folder, f"第一行\n\n第二行\n\n{note}")
    put_file(release, "LICENSE", licence.encode(), "license")
    put_file(release, "CITATION.cff", CITED.format(version=version).encode(), "citation")
    return release


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    folder = tmp_path_factory.mktemp("releases")
    store = make_store(folder / "store", ROWS)
    first, second = (made(store, folder / f"v{nth}", f"第{nth}版", f"1.{nth}.0") for nth in (0, 1))
    return first, second, made(store, folder / "v2", "第三版", "1.2.0", LICENSE.replace("of one", "of another"))


@pytest.fixture
def repository(hub: FaultyHub) -> Repository:
    """With nothing in it."""
    return hub.create(REPO)


def config(hub: FaultyHub, **options: Any) -> HubConfig:
    return HubConfig(token=TOKEN, endpoint=hub.endpoint, **options)


def to(hub: FaultyHub, folder: Path, version: str, signer: Signer | None = None, **options: Any) -> Published:
    release = replace(read_release(folder, version), signer=signer)
    return publish(release, REPO, config(hub, **options), load=count_footers)


def content(repository: Repository, path: str, revision: str = "main") -> bytes:
    return repository.objects.path(repository.find(revision).tree[path].sha256).read_bytes()


def text(repository: Repository, path: str, revision: str = "main") -> str:
    return content(repository, path, revision).decode()


def put(repository: Repository, path: str, new: str | bytes, revision: str = "main") -> None:
    as_bytes = new if isinstance(new, bytes) else new.encode()
    repository.commit(revision, {path: repository.objects.regular(as_bytes)}, [], "theirs")


def is_whole(repository: Repository, revision: str = "main") -> bool:
    """Whether the manifest has the hash of every file that it lists."""
    tree = repository.find(revision).tree
    files = json.loads(content(repository, MANIFEST, revision))["files"]
    return all(tree[file["path"]].sha256 == file["sha256"] for file in files)


# LICENSE and CITATION.cff.


@pytest.mark.parametrize("theirs", ["their terms\n", "甲方条款".encode("gbk"), b"long " * 100_000])
@pytest.mark.parametrize("when", ["adopted", "added"])
def test_a_licence_of_theirs_is_taken_as_it_is(
    hub: FaultyHub,
    repository: Repository,
    releases: tuple[Path, Path, Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    theirs: str | bytes,
    when: str,
) -> None:
    """Before the first release, or beside releases that had none; and so for every release that follows."""
    wanted = theirs if isinstance(theirs, bytes) else theirs.encode()
    if when == "added":
        old = make_release(make_store(tmp_path / "store", ROWS[1:]), tmp_path / "old")
        to(hub, old, "0.9.0")
    put(repository, "LICENSE", theirs)
    planned = plan_release(read_release(releases[0], "1.0.0"), REPO, config(hub))
    assert "LICENSE" not in {file.path for file in planned.add}
    to(hub, releases[0], "1.0.0", adopt=when == "adopted")
    assert "LICENSE there, which no release wrote, is kept as it is" in caplog.text
    for folder, version in zip(releases, ("1.0.0", "1.1.0", "1.2.0"), strict=True):
        assert to(hub, folder, version).tag == f"v{version}"
        assert content(repository, "LICENSE", f"v{version}") == wanted
        assert is_whole(repository)
        assert to(hub, folder, version).added == 0
        repository.refs.pop(f"refs/tags/v{version}")  # a run that ended before the tag goes on
        assert to(hub, folder, version).added == 0
    assert not [path for path in repository.find("main").tree if path.startswith("before-first-release")]
    # Told so, a release puts its own there.
    to(hub, releases[0], "1.3.0", overwrite=True)
    assert text(repository, "LICENSE") == LICENSE


def test_a_licence_that_was_kept_before_releases_had_one(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    old = make_release(make_store(tmp_path / "store", ROWS[1:]), tmp_path / "old")
    put(repository, "LICENSE", "their terms")
    to(hub, old, "0.9.0", keep=("LICENSE",))
    to(hub, releases[0], "1.0.0")
    assert text(repository, "LICENSE") == "their terms"
    assert is_whole(repository)


def test_edits_go_along_and_what_a_release_changes_elsewhere_too(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path, Path]
) -> None:
    to(hub, releases[0], "1.0.0")
    put(repository, "CITATION.cff", text(repository, "CITATION.cff").replace("name: 甲", "name: 甲乙"))
    put(repository, "LICENSE", "of one\nand more\n")
    assert to(hub, releases[0], "1.0.0").added == 0  # what people may edit is no other release
    to(hub, releases[1], "1.1.0")
    cited = yaml.safe_load(text(repository, "CITATION.cff"))
    assert (cited["version"], cited["authors"]) == ("1.1.0", [{"name": "甲乙"}])
    assert text(repository, "LICENSE") == "of one\nand more\n"
    assert is_whole(repository)
    to(hub, releases[2], "1.2.0")  # which changes the line that they changed, too
    assert text(repository, "LICENSE") == "of one\nand more\n"
    assert yaml.safe_load(text(repository, "CITATION.cff"))["version"] == "1.2.0"
    assert to(hub, releases[2], "1.2.0").added == 0
    yank(REPO, "1.1.0", "泄漏", config(hub))
    assert to(hub, releases[2], "1.2.0").added == 0
    assert is_whole(repository)
    repository.commit("main", {}, ["LICENSE"], "gone")
    with pytest.raises(RemoteError, match=r"v1\.2\.0 is published, and main is not it: LICENSE"):
        to(hub, releases[2], "1.2.0")
    to(hub, releases[2], "1.2.0", restore=True)
    assert text(repository, "LICENSE") == "of one\nand more\n"
    assert "1.1.0 已撤回" in text(repository, "README.md")


def test_what_nobody_edited_is_the_releases(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path, Path]
) -> None:
    for folder, version in zip(releases, ("1.0.0", "1.1.0", "1.2.0"), strict=True):
        to(hub, folder, version)
        for path in ("LICENSE", "CITATION.cff"):
            assert content(repository, path) == (folder / path).read_bytes()
        assert "merged" not in json.loads(text(repository, MANIFEST)).get("release", {})


def test_a_reviewers_edit_of_a_citation(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    to(hub, releases[0], "1.0.0")
    to(hub, releases[1], "1.1.0", pr=True)
    edited = text(repository, "CITATION.cff", "refs/pr/1").replace("甲", "审过")
    put(repository, "CITATION.cff", edited, "refs/pr/1")
    renewed = tmp_path / "renewed"
    shutil.copytree(releases[1], renewed)
    change_card(renewed, "再一行")
    to(hub, renewed, "1.1.0", pr=True)
    assert "审过" in text(repository, "CITATION.cff", "refs/pr/1")
    repository.merge(1)
    assert to(hub, renewed, "1.1.0").tag == "v1.1.0"


# Signatures.


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Signer, Path]:
    pytest.importorskip("minisign", reason="py-minisign is not installed")
    out = tmp_path_factory.mktemp("keys") / "a.key"
    public, _ = make_keys(out, "")
    return read_secret_key(out, lambda: ""), public


def signed_by(repository: Repository, public: Path, folder: Path, revision: str = "main") -> str | None:
    """What the signature of a revision vouches for; None where it is not signed."""
    if SIGNATURE not in repository.find(revision).tree:
        return None
    folder.mkdir(exist_ok=True)
    for name in (MANIFEST, SIGNATURE):
        (folder / name).write_bytes(content(repository, name, revision))
    return check_signature(folder, read_public_key(str(public)))


def test_a_release_is_signed_as_it_is_published(
    hub: FaultyHub,
    repository: Repository,
    releases: tuple[Path, Path, Path],
    keys: tuple[Signer, Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    signer, public = keys
    to(hub, releases[0], "1.0.0", signer)
    assert signed_by(repository, public, tmp_path / "x") == f"coig-p release 1.0.0 of {REPO}"
    head = repository.refs["refs/heads/main"]
    for key in (signer, None):  # the same command again, and one without the key
        assert to(hub, releases[0], "1.0.0", key).added == 0
        assert to(hub, releases[0], "1.0.0", key, restore=True).added == 0
    assert repository.refs["refs/heads/main"] == head
    # A card that people edited makes another manifest, which is signed.
    put(repository, "README.md", text(repository, "README.md").replace("第一行", "第壹行"))
    to(hub, releases[1], "1.1.0", signer)
    assert "第壹行" in text(repository, "README.md")
    assert signed_by(repository, public, tmp_path / "x") == f"coig-p release 1.1.0 of {REPO}"
    assert to(hub, releases[1], "1.1.0", signer).added == to(hub, releases[1], "1.1.0").added == 0
    # A withdrawal, too: with the key it is signed anew, without it nothing is left that is not right.
    yank(REPO, "1.0.0", "一", config(hub), signer)
    assert signed_by(repository, public, tmp_path / "x") == f"coig-p release 1.1.0 of {REPO}"
    assert to(hub, releases[1], "1.1.0", signer).added == 0
    assert "signature" not in caplog.text
    yank(REPO, "1.0.0", "二", config(hub))
    assert signed_by(repository, public, tmp_path / "x") is None
    assert "main's signature goes" in caplog.text
    assert to(hub, releases[1], "1.1.0", signer).added == to(hub, releases[1], "1.1.0").added == 0
    to(hub, releases[1], "1.1.0", signer, restore=True)
    assert signed_by(repository, public, tmp_path / "x") == f"coig-p release 1.1.0 of {REPO}"
    assert signed_by(repository, public, tmp_path / "x", "v1.1.0") == f"coig-p release 1.1.0 of {REPO}"
    # One that is not signed takes no old signature along, and says so.
    to(hub, releases[2], "1.2.0")
    assert signed_by(repository, public, tmp_path / "x") is None
    assert "the last release was signed, and v1.2.0 is not" in caplog.text
    to(hub, releases[0], "1.3.0", signer)
    assert signed_by(repository, public, tmp_path / "x") == f"coig-p release 1.3.0 of {REPO}"


def test_a_main_that_lost_its_signature_is_signed_again(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path, Path], keys: tuple[Signer, Path], tmp_path: Path
) -> None:
    """By the same withdrawal with the key, or by restoring, though the version on main is the one withdrawn."""
    signer, public = keys
    to(hub, releases[0], "1.0.0", signer)
    told = f"coig-p release 1.0.0 of {REPO}"
    yank(REPO, "1.0.0", "why", config(hub))
    manifest = content(repository, MANIFEST)
    unsigned = repository.refs["refs/heads/main"]
    assert yank(REPO, "1.0.0", "why", config(hub)) == unsigned  # done
    assert signed_by(repository, public, tmp_path / "x") is None
    signed_at = yank(REPO, "1.0.0", "why", config(hub), signer)
    assert signed_at == repository.refs["refs/heads/main"] != unsigned
    assert signed_by(repository, public, tmp_path / "x") == told
    assert yank(REPO, "1.0.0", "why", config(hub), signer) == yank(REPO, "1.0.0", "why", config(hub)) == signed_at
    repository.commit("main", {}, [SIGNATURE], "gone")
    with pytest.raises(RemoteError, match="was withdrawn: why"):
        to(hub, releases[0], "1.0.0", restore=True)
    assert to(hub, releases[0], "1.0.0", signer, restore=True).added == 1
    assert to(hub, releases[0], "1.0.0", signer, restore=True).added == 0
    assert signed_by(repository, public, tmp_path / "x") == told
    assert content(repository, MANIFEST) == manifest
    # A main that is something else is not put back to what was withdrawn.
    put(repository, "README.md", "theirs")
    with pytest.raises(RemoteError, match="was withdrawn: why"):
        to(hub, releases[0], "1.0.0", signer, restore=True)


def test_a_signed_folder(
    hub: FaultyHub,
    repository: Repository,
    releases: tuple[Path, Path, Path],
    keys: tuple[Signer, Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its signature goes along, until the manifest becomes another."""
    signer, public = keys
    folder = tmp_path / "signed"
    shutil.copytree(releases[0], folder)
    (folder / SIGNATURE).write_bytes(signer((folder / MANIFEST).read_bytes(), "mine"))
    to(hub, folder, "1.0.0")
    assert signed_by(repository, public, tmp_path / "x") == "mine"
    assert to(hub, folder, "1.0.0").added == 0
    assert "signature" not in caplog.text
    put(repository, "LICENSE", "theirs")
    to(hub, folder, "1.1.0")
    assert signed_by(repository, public, tmp_path / "x") is None
    assert "the release has no signature" in caplog.text
    assert to(hub, folder, "1.1.0").added == 0
    (folder / SIGNATURE).unlink()
    (folder / SIGNATURE).mkdir()
    with pytest.raises(StoreError, match="it is no signature"):
        read_release(folder, "1.2.0")
    (folder / SIGNATURE).rmdir()
    (tmp_path / "secret").write_text("of the publisher's machine", encoding="utf-8")
    (folder / SIGNATURE).symlink_to(tmp_path / "secret")  # in a folder that somebody sent
    with pytest.raises(StoreError, match="it is no signature"):
        read_release(folder, "1.2.0")


def test_a_signature_that_somebody_changed_or_deleted(
    hub: FaultyHub,
    repository: Repository,
    releases: tuple[Path, Path, Path],
    keys: tuple[Signer, Path],
    tmp_path: Path,
) -> None:
    signer, public = keys
    to(hub, releases[0], "1.0.0", signer)
    for deed in (lambda: put(repository, SIGNATURE, "x"), lambda: repository.commit("main", {}, [SIGNATURE], "gone")):
        deed()
        for key in (signer, None):
            with pytest.raises(RemoteError, match=r"main is not it: manifest\.json\.minisig"):
                to(hub, releases[0], "1.0.0", key)
        to(hub, releases[0], "1.0.0", restore=True)
        assert signed_by(repository, public, tmp_path / "x")
    put(repository, SIGNATURE, "x")
    to(hub, releases[1], "1.1.0")
    assert SIGNATURE not in repository.find("main").tree
    repository.commit("main", {}, [MANIFEST], "gone")
    put(repository, MANIFEST, content(repository, MANIFEST, "v1.1.0"))
    put(repository, SIGNATURE, "nobody's")
    with pytest.raises(RemoteError, match=r"manifest\.json\.minisig stands in its way"):
        to(hub, releases[2], "1.2.0", keep=(SIGNATURE,))
    with pytest.raises(DataError):
        signed_by(repository, public, tmp_path / "x")


def test_a_published_version_is_not_signed_afterwards(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path, Path], keys: tuple[Signer, Path]
) -> None:
    to(hub, releases[0], "1.0.0")
    with pytest.raises(RemoteError, match=r"v1\.0\.0 was published without a signature"):
        to(hub, releases[0], "1.0.0", keys[0])


def test_the_command_signs(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    pytest.importorskip("minisign", reason="py-minisign is not installed")
    public, _ = make_keys(tmp_path / "b.key", "两个 词")
    asked = (releases[0], REPO, "--version", "1.0.0", "--sign", tmp_path / "b.key")
    refused = run_publish(*asked, "--dry-run", code=2, COIGP_SIGN_PASSWORD="", HF_ENDPOINT=hub.endpoint)
    assert "set the variable COIGP_SIGN_PASSWORD" in refused.stderr
    wrong = run_publish(*asked, code=2, COIGP_SIGN_PASSWORD="一个词", HF_ENDPOINT=hub.endpoint)
    assert "the password is wrong" in wrong.stderr
    assert "一个词" not in wrong.stderr
    planned = run_publish(
        *asked, "--dry-run", "--token", TOKEN, COIGP_SIGN_PASSWORD="两个 词", HF_ENDPOINT=hub.endpoint
    )
    assert SIGNATURE in planned.stdout
    assert listed(releases[0]).keys() | {MANIFEST} == {
        path.relative_to(releases[0]).as_posix() for path in releases[0].rglob("*") if path.is_file()
    }, "nothing is written into the folder"
    assert public.exists()
