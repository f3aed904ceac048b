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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coig_p.core.progress import Advance, Bar, no_bar
from coig_p.errors import RemoteError, UsageError
from coig_p.publish.client import DEFAULT, HubConfig
from coig_p.publish.plan import (
    Add,
    Operation,
    Release,
    ReleaseFile,
    RemoteFile,
    Tree,
    additions,
    check_repo,
    deletions,
    differences,
)
from coig_p.publish.remote import RemoteRepo, planned, written
from coig_p.publish.results import Plan, Published
from coig_p.publish.signed import signed
from coig_p.publish.verify import compare_hashes
from coig_p.store.writing import sha256_of

MASTER = "master"
_KIND = "dataset"
_ENDPOINT = "https://modelscope.cn"


def publish_modelscope(release: Release, repo_id: str, config: HubConfig = DEFAULT, bar: Bar = no_bar) -> Published:
    """Bring a release to ModelScope, or finish what an earlier run began.

    Raises:
        UsageError: the SDK is not installed, or a pull request was asked for.
        RemoteError: ModelScope refused or failed, or somebody else's files or writes stand in the way.
        DataError: what came back is not the release; no tag is set.
    """
    with _connect(repo_id, config) as repo:
        release = signed(release, repo_id, repo.scratch / "signed") if release.signer else release
        if not repo.exists():
            repo.create(config.private)
        if release.tag in repo.tags():
            repo.demand(release, release.tag, "is there with other content. Give this release a new number")
            return _published(repo, release, ())
        before = repo.tree(MASTER)
        operations = _operations(repo, release, before, config)
        if operations:
            if repo.tree(MASTER) != before:
                raise repo.problem("somebody else writes to it. Nothing was changed: run the same command again")
            adds = additions(operations)
            with bar("Uploading", sum(at.file.bytes for at in adds)) as advance:
                repo.upload(adds, f"Release {release.tag}", advance)
            repo.delete(deletions(operations), f"Release {release.tag}")
        words = "after the upload. No tag was set: see who else writes to it, then run the same command again"
        repo.demand(release, MASTER, words)
        with bar("Verifying", release.bytes) as advance:
            _verify(repo, release, advance)
        repo.demand(release, MASTER, words)
        repo.tag(release.tag)
        repo.demand(release, release.tag, "holds something else: somebody wrote while the tag was set. Delete the tag")
        return _published(repo, release, operations)


def plan_modelscope(release: Release, repo_id: str, config: HubConfig = DEFAULT) -> Plan:
    """What `publish_modelscope` would change now. Changes nothing.

    Raises:
        RemoteError, UsageError: where `publish_modelscope` would refuse before its first change.
    """
    with _connect(repo_id, config) as repo:
        release = signed(release, repo_id, repo.scratch / "signed") if release.signer else release
        if not repo.exists():
            return Plan.of(repo_id, release, tuple(Add(file) for file in release.files))
        if release.tag in repo.tags():
            repo.demand(release, release.tag, "is there with other content. Give this release a new number")
            return Plan.of(repo_id, release, ())
        return Plan.of(repo_id, release, _operations(repo, release, repo.tree(MASTER), config))


def _operations(repo: _Repo, release: Release, tree: Tree, config: HubConfig) -> tuple[Operation, ...]:
    before = written(repo, tree, MASTER)
    return planned(repo, release, tree, before, keep=config.keep, overwrite=config.overwrite)


def _verify(repo: _Repo, release: Release, advance: Advance) -> None:
    def fetch(file: ReleaseFile) -> str:
        path = repo.download(file.path)
        found = sha256_of(path)
        path.unlink()
        return found

    compare_hashes(release, map(fetch, release.files), repo.id, advance)


def _published(repo: _Repo, release: Release, operations: tuple[Operation, ...]) -> Published:
    return Published.tagged(repo.id, release, release.tag, repo.url, operations, {})


@contextmanager
def _connect(repo_id: str, config: HubConfig) -> Iterator[_Repo]:
    check_repo(repo_id, hub=False)
    if config.pr:
        raise UsageError("ModelScope takes no pull requests from here: leave out --pr")
    try:
        from modelscope_hub import HubApi
    except ImportError:
        raise UsageError("this needs ModelScope's SDK: pip install 'coig-p[modelscope]'") from None
    endpoint = (config.endpoint or os.environ.get("MODELSCOPE_ENDPOINT") or _ENDPOINT).rstrip("/")
    with tempfile.TemporaryDirectory(prefix="coigp-publish-") as scratch:
        token = config.token or os.environ.get("MODELSCOPE_API_TOKEN")
        yield _Repo(repo_id, endpoint, token, HubApi(endpoint=endpoint, token=token), Path(scratch))


@dataclass(frozen=True)
class _Repo(RemoteRepo):
    """One dataset repository on ModelScope."""

    api: Any
    scratch: Path

    login = "modelscope login"

    def exists(self) -> bool:
        with self.told("looking for the repository"):
            return bool(self.api.repo_exists(self.id, _KIND))

    def create(self, private: bool) -> None:
        with self.told("creating the repository"):
            self.api.create_repo(self.id, _KIND, visibility="private" if private else "public")

    def tags(self) -> set[str]:
        with self.told("listing its tags"):
            _, tags = self.api.legacy.list_revisions_detail(self.id, _KIND)
        return {tag["Revision"] for tag in tags}

    def tree(self, revision: str) -> dict[str, RemoteFile]:
        with self.told("listing its files"):
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

    def download(self, path: str, revision: str = MASTER) -> Path:
        with self.told(f"downloading {path}"):
            folder = self.scratch / "download"
            return Path(self.api.download_file(self.id, _KIND, path, revision=revision, local_dir=folder, force=True))

    def upload(self, adds: Sequence[Add], message: str, advance: Advance) -> None:
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
        with self.told("uploading files"), redirect_stdout(sys.stderr):
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

    def delete(self, paths: Sequence[str], message: str) -> None:
        if paths:
            with self.told("deleting files"):
                self.api.delete_files(self.id, _KIND, list(paths), commit_message=message, revision=MASTER)

    def tag(self, tag: str) -> None:
        try:
            with self.told(f"setting the tag {tag}"):
                self.api.create_repo_tag(self.id, _KIND, tag, revision=MASTER)
        except RemoteError:
            if tag not in self.tags():  # or it was set, and only the answer was lost
                raise

    def demand(self, release: Release, revision: str, words: str) -> None:
        differ = differences(release, self.tree(revision))
        if differ:
            raise self.problem(f"{revision} ({differ[0]} and {len(differ) - 1} more differ) {words}")
