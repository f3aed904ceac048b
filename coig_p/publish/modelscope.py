"""A release on ModelScope, by its own SDK, and with a weaker promise than the Hub's.

ModelScope has no commit that names its parent, so nobody can be kept from writing between our look
and our commit, and files above 256, and deletions, go in commits of their own: who reads `master` at
the wrong moment may see a part of a release. What holds instead: `master` is compared before and
after, every file is downloaded and compared with its hash, and only then is the tag set. **The tag is
the release**: read ModelScope by its tag.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

from coig_p.core.progress import Bar, no_bar
from coig_p.errors import DataError, RemoteError, StoreError, UsageError
from coig_p.publish.client import DEFAULT, HubConfig
from coig_p.publish.hub import Published
from coig_p.publish.plan import (
    Add,
    Operation,
    Release,
    RemoteFile,
    check_repo,
    differences,
    plan_commit,
)
from coig_p.publish.trouble import explain, scrubbed, trouble_of
from coig_p.store.manifest import MANIFEST, Manifest
from coig_p.store.writing import sha256_of

MASTER = "master"
_KIND = "dataset"
_ENDPOINT = "https://modelscope.cn"
_LOGIN = "modelscope login"


def publish_modelscope(release: Release, repo_id: str, config: HubConfig = DEFAULT, bar: Bar = no_bar) -> Published:
    """Bring a release to ModelScope, or finish what an earlier run began.

    Raises:
        UsageError: the SDK is not installed, or a pull request was asked for.
        RemoteError: ModelScope refused or failed, or somebody else's files or writes stand in the way.
        DataError: what came back is not the release; no tag is set.
    """
    with _connect(repo_id, config) as repo:
        if not repo.exists():
            repo.create(config.private)
        if release.tag in repo.tags():
            repo.demand(release, release.tag, "is there with other content. Give this release a new number")
            return _published(repo, release, ())
        before = repo.tree(MASTER)
        operations = _plan(repo, release, before, config)
        if operations:
            if repo.tree(MASTER) != before:
                raise repo.problem("somebody else writes to it. Nothing was changed: run the same command again")
            adds = [at for at in operations if isinstance(at, Add)]
            with bar("Uploading", sum(at.file.bytes for at in adds)) as advance:
                repo.upload(adds, f"Release {release.tag}", advance)
            repo.delete([at.path for at in operations if not isinstance(at, Add)], f"Release {release.tag}")
        words = "after the upload. No tag was set: see who else writes to it, then run the same command again"
        repo.demand(release, MASTER, words)
        with bar("Verifying", release.bytes) as advance:
            _verify(repo, release, advance)
        repo.demand(release, MASTER, words)
        repo.tag(release.tag)
        repo.demand(release, release.tag, "holds something else: somebody wrote while the tag was set. Delete the tag")
        return _published(repo, release, operations)


def plan_modelscope(release: Release, repo_id: str, config: HubConfig = DEFAULT) -> tuple[Operation, ...]:
    """What `publish_modelscope` would change now. Changes nothing."""
    with _connect(repo_id, config) as repo:
        if not repo.exists():
            return tuple(Add(file) for file in release.files)
        if release.tag in repo.tags():
            repo.demand(release, release.tag, "is there with other content. Give this release a new number")
            return ()
        return _plan(repo, release, repo.tree(MASTER), config)


def _plan(repo: _Repo, release: Release, tree: dict[str, RemoteFile], config: HubConfig) -> tuple[Operation, ...]:
    manifest = repo.manifest(tree)
    listed = {MANIFEST, *(file.path for file in manifest.files)} if manifest else set[str]()
    changed = {file.path for file in manifest.files if _is_other(tree.get(file.path), file.sha256)} if manifest else ()
    try:
        return plan_commit(release, tree, listed, () if config.overwrite else changed)
    except RemoteError as error:
        raise repo.problem(str(error)) from None


def _is_other(remote: RemoteFile | None, sha256: str) -> bool:
    return remote is not None and remote.sha256 != sha256


def _verify(repo: _Repo, release: Release, advance: Callable[[int], None]) -> None:
    for file in release.files:
        path = repo.download(file.path)
        found = sha256_of(path)
        path.unlink()
        advance(file.bytes)
        if found != file.sha256:
            raise DataError(
                f"{repo.id}: {file.path} came back with another sha256 than it was sent with. No tag was set"
            )


def _published(repo: _Repo, release: Release, operations: tuple[Operation, ...]) -> Published:
    adds = sum(isinstance(operation, Add) for operation in operations)
    url = f"{repo.endpoint}/datasets/{repo.id}"
    deletes = len(operations) - adds
    return Published(repo.id, release.version, release.tag, release.tag, url, adds, deletes, None, {})


@contextmanager
def _connect(repo_id: str, config: HubConfig) -> Iterator[_Repo]:
    check_repo(repo_id)
    if config.pr:
        raise UsageError("ModelScope takes no pull requests from here: leave out --pr")
    try:
        from modelscope_hub import HubApi
    except ImportError:
        raise UsageError("this needs ModelScope's SDK: pip install 'coig-p[modelscope]'") from None
    endpoint = (config.endpoint or os.environ.get("MODELSCOPE_ENDPOINT") or _ENDPOINT).rstrip("/")
    with tempfile.TemporaryDirectory(prefix="coigp-publish-") as scratch:
        token = config.token or os.environ.get("MODELSCOPE_API_TOKEN")
        yield _Repo(repo_id, endpoint, HubApi(endpoint=endpoint, token=token), Path(scratch), token)


class _Repo:
    """One dataset repository on ModelScope."""

    def __init__(self, id: str, endpoint: str, api: Any, scratch: Path, token: str | None) -> None:
        self.id, self.endpoint, self.api, self.scratch, self.token = id, endpoint, api, scratch, token

    def exists(self) -> bool:
        with self._told("looking for the repository"):
            return bool(self.api.repo_exists(self.id, _KIND))

    def create(self, private: bool) -> None:
        with self._told("creating the repository"):
            self.api.create_repo(self.id, _KIND, visibility="private" if private else "public")

    def tags(self) -> set[str]:
        with self._told("listing its tags"):
            _, tags = self.api.legacy.list_revisions_detail(self.id, _KIND)
        return {tag["Revision"] for tag in tags}

    def tree(self, revision: str) -> dict[str, RemoteFile]:
        with self._told("listing its files"):
            files = self.api.list_repo_files(self.id, _KIND, revision=revision)
        found = {
            file.path: RemoteFile(file.path, file.size, str(file.blob_id or ""), file.sha256 or None)
            for file in files
            if file.type != "tree"
        }
        return {
            path: file if file.sha256 else replace(file, sha256=sha256_of(self.download(path, revision)))
            for path, file in found.items()
        }

    def manifest(self, tree: dict[str, RemoteFile]) -> Manifest | None:
        if MANIFEST not in tree:
            return None
        try:
            return Manifest.from_json(self.download(MANIFEST).read_text("utf-8"), self.id)
        except (StoreError, UnicodeDecodeError):
            return None  # somebody else's, which plan_commit will name

    def download(self, path: str, revision: str = MASTER) -> Path:
        with self._told(f"downloading {path}"):
            folder = self.scratch / "download"
            return Path(self.api.download_file(self.id, _KIND, path, revision=revision, local_dir=folder, force=True))

    def upload(self, adds: list[Add], message: str, advance: Callable[[int], None]) -> None:
        if not adds:
            return
        staged = self.scratch / "upload"
        for add in adds:
            place = staged / add.path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(add.file.source.resolve())
        sent = 0

        def tell(event: dict[str, Any]) -> None:
            nonlocal sent
            now = int(event.get("committed_bytes") or 0)
            advance(max(0, now - sent))
            sent = max(sent, now)

        # The SDK prints a report, which is not a result of ours.
        with self._told("uploading files"), redirect_stdout(sys.stderr):
            self.api.upload_folder(
                self.id,
                _KIND,
                staged,
                commit_message=message,
                revision=MASTER,
                use_cache=False,
                disable_tqdm=True,
                progress_callback=tell,
            )

    def delete(self, paths: list[str], message: str) -> None:
        if paths:
            with self._told("deleting files"):
                self.api.delete_files(self.id, _KIND, paths, commit_message=message, revision=MASTER)

    def tag(self, tag: str) -> None:
        try:
            with self._told(f"setting the tag {tag}"):
                self.api.create_repo_tag(self.id, _KIND, tag, revision=MASTER)
        except RemoteError:
            if tag not in self.tags():  # or it was set, and only the answer was lost
                raise

    def demand(self, release: Release, revision: str, words: str) -> None:
        differ = differences(release, self.tree(revision))
        if differ:
            raise self.problem(f"{revision} ({differ[0]} and {len(differ) - 1} more differ) {words}")

    def problem(self, words: str) -> RemoteError:
        return scrubbed(RemoteError(f"{self.id} at {self.endpoint}: {words}"), self.token)

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            trouble = trouble_of(error)
            if trouble is None:
                raise
            raise explain(trouble, self.id, self.endpoint, doing, self.token, _LOGIN) from None
