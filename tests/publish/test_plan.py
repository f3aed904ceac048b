"""A plan, applied, is the release; and it touches nothing that is not ours. Against a slow oracle."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub.utils import HFValidationError, validate_repo_id
from hypothesis import given
from hypothesis import strategies as st

from coig_p.errors import RemoteError, UsageError
from coig_p.publish.plan import (
    BESIDE,
    Add,
    Before,
    Release,
    ReleaseFile,
    RemoteFile,
    check_repo,
    check_version,
    differences,
    git_oid,
    plan_commit,
    precedence,
    version_of,
)

PATHS = ["a.parquet", "b.parquet", "data/a.parquet", "README.md", "manifest.json", ".gitattributes", "card.toml"]
# As semver.org orders them.
VERSIONS = [
    *("0.9.9", "1.0.0-1", "1.0.0-2", "1.0.0-10", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta"),
    *("1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0-a", "2.0.0"),
]
contents = st.sampled_from([b"", b"one", b"two", "三".encode()])
trees = st.dictionaries(st.sampled_from(PATHS), contents)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def release_of(folder: Path, files: dict[str, bytes]) -> Release:
    made = []
    for path, content in files.items():
        sha256 = hashlib.sha256(content).hexdigest()
        (folder / sha256).write_bytes(content)
        made.append(ReleaseFile(path, folder / sha256, sha256, len(content), "data"))
    return Release("1.0.0", tuple(made))


def remote(tree: dict[str, bytes]) -> dict[str, RemoteFile]:
    """As a Hub tells it: Parquet in LFS, the rest in git."""
    found = {}
    for path, content in tree.items():
        oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        lfs = hashlib.sha256(content).hexdigest() if path.endswith("parquet") else None
        found[path] = RemoteFile(path, len(content), "0" * 40 if lfs else oid, lfs)
    return found


@given(
    trees,
    trees,
    st.dictionaries(st.sampled_from(PATHS), contents),
    st.sets(st.sampled_from(PATHS)),
    st.sets(st.sampled_from(PATHS)),
    st.booleans(),
)
def test_a_plan_applied_is_the_release(
    folder: Path,
    wanted: dict[str, bytes],
    there: dict[str, bytes],
    wrote: dict[str, bytes],
    beside: set[str],
    keep: set[str],
    overwrite: bool,
) -> None:
    wanted = {path: content for path, content in wanted.items() if path not in BESIDE}
    release = release_of(folder, wanted)
    tops = {path.partition("/")[0] for path in wanted if path.endswith(".parquet")}
    before = Before("commit", "0.9.0", remote(wrote), frozenset(beside))
    adds = {path for path, content in wanted.items() if there.get(path) != content}
    deletes = {path for path in there if path in wrote and path not in wanted}
    foreign = there.keys() - wrote.keys() - BESIDE
    in_data = {path for path in there if path not in wanted and path.partition("/")[0] in tops}
    differ = adds | in_data
    assert set(differences(release, remote(there))) == differ
    in_the_way = (foreign & adds) | (foreign & in_data)
    unknown = foreign - wanted.keys() - beside - keep
    edited = {path for path in adds | deletes if path in wrote and wrote[path] != there.get(path)} - {"manifest.json"}
    if in_the_way or unknown or (edited and not overwrite):
        with pytest.raises(RemoteError) as refused:
            plan_commit(release, remote(there), before, keep=keep, overwrite=overwrite)
        assert any(path in str(refused.value) for path in in_the_way | unknown or edited)
        return
    operations = plan_commit(release, remote(there), before, keep=keep, overwrite=overwrite)
    after = dict(there)
    for operation in operations:
        if isinstance(operation, Add):
            after[operation.path] = operation.file.source.read_bytes()
        else:
            del after[operation.path]
    assert after.items() >= wanted.items()
    assert {path: after[path] for path in after if path not in wanted} == {
        path: content for path, content in there.items() if path not in wanted and path not in deletes
    }
    assert {operation.path for operation in operations} == adds | deletes


@given(st.lists(st.sampled_from(VERSIONS), min_size=2, max_size=2))
def test_versions_are_in_the_order_that_is_written_here(two: list[str]) -> None:
    one, other = two
    assert (precedence(one) < precedence(other)) == (VERSIONS.index(one) < VERSIONS.index(other))


def test_the_hash_that_git_gives(tmp_path: Path) -> None:
    path = tmp_path / "hello"
    path.write_bytes(b"hello\n")
    assert git_oid(path) == "ce013625030ba8dba906f756967f9e9ca394464a"  # of git hash-object


@pytest.mark.parametrize("name", ["name", "org/", "/name", "a/b/c", "org/na me", "../x", "org/名"])
def test_a_repository_has_two_names(name: str) -> None:
    with pytest.raises(UsageError, match="org/name"):
        check_repo(name)


@pytest.mark.parametrize(
    "name", ["org/a--b", "org/a..b", "org/name.git", "org/" + "x" * 97, "org/name-", "org/name.", "org./name"]
)
def test_names_that_the_hub_refuses_are_refused_before_it_is_asked(name: str) -> None:
    """As its own client refuses them; others are left to it."""
    with pytest.raises(HFValidationError):
        validate_repo_id(name)
    with pytest.raises(UsageError, match=r"org/name|no repository has such a name"):
        check_repo(name)
    assert check_repo("org/" + "x" * 96)
    assert check_repo("org/a--b", hub=False)


def test_no_version_is_longer_than_a_tag_can_be() -> None:
    with pytest.raises(UsageError, match="more than 64 characters"):
        check_version("9" * 5_000 + ".0.0")
    assert version_of("v" + "9" * 5_000 + ".0.0") is None
