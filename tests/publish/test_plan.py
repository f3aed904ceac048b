"""A plan, applied, is the release; and it touches nothing that is not ours. Against a slow oracle."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coig_p.errors import RemoteError, UsageError
from coig_p.publish.plan import (
    BESIDE,
    Add,
    Release,
    ReleaseFile,
    RemoteFile,
    check_repo,
    differences,
    git_oid,
    plan_commit,
)

PATHS = ["a.parquet", "b.parquet", "data/a.parquet", "README.md", "manifest.json", ".gitattributes", "card.toml"]
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


@given(trees, trees, st.sets(st.sampled_from(PATHS)), st.sets(st.sampled_from(PATHS)))
def test_a_plan_applied_is_the_release(
    folder: Path, wanted: dict[str, bytes], there: dict[str, bytes], listed: set[str], changed: set[str]
) -> None:
    wanted = {path: content for path, content in wanted.items() if path not in BESIDE}
    release = release_of(folder, wanted)
    differ = {path for path in {*wanted, *there} - BESIDE if wanted.get(path) != there.get(path)}
    assert set(differences(release, remote(there))) == differ
    touched = {path for path in differ if path in there}
    if not touched <= listed or touched & changed:
        with pytest.raises(RemoteError) as refused:
            plan_commit(release, remote(there), listed, changed)
        assert any(path in str(refused.value) for path in touched)
        return
    operations = plan_commit(release, remote(there), listed, changed)
    after = dict(there)
    for operation in operations:
        if isinstance(operation, Add):
            after[operation.path] = operation.file.source.read_bytes()
        else:
            del after[operation.path]
    assert {path: content for path, content in after.items() if path not in BESIDE} == wanted
    assert {path: content for path, content in after.items() if path in BESIDE} == {
        path: content for path, content in there.items() if path in BESIDE
    }
    assert {operation.path for operation in operations} == differ


def test_the_hash_that_git_gives(tmp_path: Path) -> None:
    path = tmp_path / "hello"
    path.write_bytes(b"hello\n")
    assert git_oid(path) == "ce013625030ba8dba906f756967f9e9ca394464a"  # of git hash-object


@pytest.mark.parametrize("name", ["name", "org/", "/name", "a/b/c", "org/na me", "../x", "org/名"])
def test_a_repository_has_two_names(name: str) -> None:
    with pytest.raises(UsageError, match="org/name"):
        check_repo(name)
