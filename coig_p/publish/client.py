"""A repository on a Hub, as a release needs it: every call has a time-out, and an end that is known.

A question may be asked again. A change may not: where its answer is lost, or the server says it
failed, the repository is looked at, and only what did not happen is done again. A commit always
names its parent, so one that arrives late cannot happen twice. What a Hub says may be some seconds
old: before anybody is accused of anything, it is asked again.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from coig_p._version import __version__
from coig_p.core.mirrors import is_mirror
from coig_p.core.progress import Advance
from coig_p.core.text import printable
from coig_p.errors import RemoteError, UsageError
from coig_p.publish.hub_internals import publishing_client, upload
from coig_p.publish.plan import (
    BRANCH,
    Operation,
    RemoteFile,
    additions,
    deletions,
    is_version,
    precedence,
    version_of,
)
from coig_p.publish.remote import RemoteRepo
from coig_p.publish.trouble import Trouble, explain, trouble_of

Result = TypeVar("Result")

WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds between attempts
LONGEST_WAIT = 300.0  # a server that asks for more is told of instead
_THREADS = 5
_PULL = "refs/pr/"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_logger = logging.getLogger("coig_p")


@dataclass(frozen=True)
class HubConfig:
    """How to publish.

    Attributes:
        token: default: what `hf auth login` saved, or HF_TOKEN.
        private: make a new repository private.
        pr: open a pull request instead of changing main.
        overwrite: replace files of the last release that somebody changed on the Hub since.
        keep: paths of others that may stay beside the release.
        adopt: what stood there before the first release stays, or goes aside where the release has a file of its name.
        latest: main gets the release though it is a pre-release, or a higher version is there.
        restore: where the version is published and main is no longer it, put main back.
        endpoint: default: HF_ENDPOINT, else the public Hub.
        timeout: seconds without a byte before a request counts as lost.
    """

    token: str | None = field(default=None, repr=False)
    private: bool = False
    pr: bool = False
    overwrite: bool = False
    keep: tuple[str, ...] = ()
    adopt: bool = False
    latest: bool = False
    restore: bool = False
    endpoint: str | None = None
    timeout: float = 120.0


DEFAULT = HubConfig()


@dataclass(frozen=True)
class Refs:
    """Commit by name: of branches, tags and (by number) pull requests."""

    branches: dict[str, str]
    tags: dict[str, str]
    pulls: dict[str, str]

    def versions(self) -> dict[str, str]:
        """Commit by version, of every release, the newest version first."""
        found = {version: commit for tag, commit in self.tags.items() if (version := version_of(tag))}
        return dict(sorted(found.items(), key=lambda item: precedence(item[0]), reverse=True))

    def begun(self) -> tuple[str, ...]:
        """The versions of which there is a branch; a branch of another name is somebody's."""
        found = (name.removeprefix(BRANCH) for name in self.branches if name.startswith(BRANCH))
        return tuple(sorted(version for version in found if is_version(version)))


@contextmanager
def connect(repo: str, config: HubConfig, *, writing: bool = True) -> Iterator[HubRepo]:
    """The repository, while the client has time-outs and goes the plain LFS way.

    Raises:
        UsageError: a token would go to a mirror, or the client is not one that this was made for.
        RemoteError: no token, though one is needed.
    """
    from huggingface_hub import HfApi, constants, get_token

    endpoint = (config.endpoint or os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
    refuse_mirror(endpoint)
    token = check_token(get_token() if config.token is None else config.token)
    if writing and token is None:
        raise explain(Trouble(status=401), repo, endpoint, "before anything was sent", None)
    with publishing_client(config.timeout), tempfile.TemporaryDirectory(prefix="coigp-publish-") as scratch:
        api = HfApi(
            endpoint=endpoint, token=token if token else False, library_name="coig_p", library_version=__version__
        )
        yield HubRepo(repo, endpoint, token, api, Path(scratch), config.timeout, time.sleep, config.pr)


def check_token(token: str | None) -> str | None:
    """The token without blanks around it; None where there is none, as with --token "".

    Raises:
        UsageError: it cannot be one. The message does not repeat it.
    """
    token = (token or "").strip()
    if not all("!" <= letter <= "~" for letter in token):
        raise UsageError("the token holds a blank, a line break or a letter that no token has: copy it again")
    return token or None


def refuse_mirror(endpoint: str) -> None:
    """Raise UsageError where an endpoint is no address, is known to hand on downloads only, or holds a password."""
    try:
        url = urlsplit(endpoint)
        host, _ = (url.hostname or "").rstrip(".").lower(), url.port
    except ValueError:
        raise UsageError("HF_ENDPOINT is no address that can be read: write it as https://host") from None
    if url.username or url.password:
        raise UsageError(
            f"HF_ENDPOINT holds a name or password ({url.scheme}://***@{host}), which errors and logs would repeat: "
            "leave it out. The token says who you are"
        )
    if url.query or url.fragment:
        raise UsageError(
            f"HF_ENDPOINT goes on after its path ({url.scheme}://{host}{url.path}...): write it as https://host"
        )
    if url.scheme not in ("http", "https") or not host:
        raise UsageError(f"HF_ENDPOINT {endpoint!r}: write it as https://host")
    if is_mirror(endpoint):
        raise UsageError(
            f"{endpoint} is a mirror for downloads: it takes no releases, and no token is sent there. "
            "Publish with: HF_ENDPOINT=https://huggingface.co coigp-publish ..."
        )
    if url.scheme == "http" and host not in _LOOPBACK:
        _logger.warning("%s is not encrypted: everybody on the way can read the token", endpoint)


@dataclass(frozen=True)
class HubRepo(RemoteRepo):
    """One dataset repository on the Hub. Make one with `connect`.

    Attributes:
        api: the client, a huggingface_hub.HfApi.
        scratch: a folder for what is downloaded, which goes with the connection.
        timeout: seconds without a byte before a request counts as lost.
        pause: waits, so many seconds.
        proposing: whether this run only opens a pull request.
    """

    api: Any
    scratch: Path
    timeout: float
    pause: Callable[[float], None]
    proposing: bool = False

    login = "hf auth login"

    @property
    def instead(self) -> str:
        """A pull request, where that is not what was refused."""
        return "" if self.proposing else ", or propose with --pr"

    # Questions.

    def is_private(self) -> bool | None:
        """Whether only some may see it; None where there is no such repository.

        Raises:
            RemoteError: it has got another name; or the Hub refused or failed.
        """
        try:
            found = self.ask("looking for the repository", self._info)
        except Absent:
            return None
        if found.id.lower() != self.id.lower():  # the Hub leads from an old name to the new one
            raise self.problem(
                f"it is called {printable(found.id)} now. Nothing was changed: name that, so that the card does, too"
            )
        return bool(found.private)

    def _info(self) -> Any:
        return self.api.repo_info(self.id, repo_type="dataset")

    def refs(self) -> Refs:
        """Where every branch, tag and pull request stands."""

        def list_refs() -> Any:
            return self.api.list_repo_refs(self.id, repo_type="dataset", include_pull_requests=True)

        found = self.ask("listing its branches and tags", list_refs)
        return Refs(
            {ref.name: ref.target_commit for ref in found.branches},
            {ref.name: ref.target_commit for ref in found.tags},
            # By what they are: the name of a pull request's ref is no promise.
            {
                ref.ref.removeprefix(_PULL): ref.target_commit
                for ref in found.pull_requests or ()
                if ref.ref.startswith(_PULL)
            },
        )

    def history(self, revision: str) -> list[tuple[str, str]]:
        """Commit and title of a revision and of what it descends from, the newest first."""

        def list_commits() -> list[tuple[str, str]]:
            found = self.api.list_repo_commits(self.id, repo_type="dataset", revision=revision)
            return [(commit.commit_id, commit.title) for commit in found]

        return self.ask("listing its commits", list_commits)

    def open_pull_requests(self) -> list[str]:
        """Their numbers, the newest first."""

        def list_open() -> list[int]:
            found = self.api.get_repo_discussions(
                self.id, repo_type="dataset", discussion_type="pull_request", discussion_status="open"
            )
            return [pull.num for pull in found]

        return [str(number) for number in sorted(self.ask("listing pull requests", list_open), reverse=True)]

    def tree(self, commit: str) -> dict[str, RemoteFile]:
        """Every file at a commit, by path."""

        def list_tree() -> list[Any]:
            return list(self.api.list_repo_tree(self.id, repo_type="dataset", revision=commit, recursive=True))

        entries = self.ask("listing its files", list_tree)
        files = [entry for entry in entries if hasattr(entry, "blob_id")]
        return {
            file.path: RemoteFile(file.path, file.size, file.blob_id, file.lfs.sha256 if file.lfs else None)
            for file in files
        }

    def download(self, path: str, revision: str) -> Path:
        """A local copy of a file, which goes with the connection."""

        def fetch() -> str:
            cache = self.scratch / "hub"
            return str(self.api.hf_hub_download(self.id, path, repo_type="dataset", revision=revision, cache_dir=cache))

        return Path(self.ask(f"downloading {path}", fetch))

    def ask(
        self, doing: str, question: Callable[[], Result], worth: Callable[[Trouble], bool] = lambda at: at.transient
    ) -> Result:
        """The answer to a question, which is asked again where the network or the server failed.

        Args:
            worth: which trouble is worth asking again for.

        Raises:
            RemoteError: it was refused, or failed too often.
        """
        for wait in (*WAITS, None):
            try:
                return question()
            except Exception as error:
                trouble = trouble_of(error)
                if trouble is None:
                    raise
                if not worth(trouble) or wait is None:
                    raise self.error(trouble, doing) from None
                self._wait(trouble, wait, doing)
        raise AssertionError("unreachable")

    def settle(self, look: Callable[[], bool]) -> bool:
        """Whether something is so, by what `look` sees. A no may be old: it is looked at again after each wait."""
        for wait in (*WAITS, None):
            if look():
                return True
            if wait is not None:
                self.pause(wait)
        return False

    # Changes.

    def create(self, private: bool) -> None:
        """Make the repository."""

        def create() -> None:
            self.api.create_repo(self.id, repo_type="dataset", private=private, exist_ok=True)

        self.ensure("creating the repository", create, lambda: self.is_private() is not None)

    def create_branch(self, branch: str, commit: str) -> None:
        """A branch that stands at a commit, unless there is one of that name."""

        def create() -> None:
            self.api.create_branch(self.id, branch=branch, revision=commit, repo_type="dataset")

        self.ensure(f"creating the branch {branch}", create, lambda: branch in self.refs().branches)

    def delete_branch(self, branch: str) -> None:
        """The branch goes."""

        def delete() -> None:
            self.api.delete_branch(self.id, branch=branch, repo_type="dataset")

        self.ensure(f"deleting the branch {branch}", delete, lambda: branch not in self.refs().branches)

    def create_tag(self, tag: str, commit: str, message: str) -> None:
        """A tag, unless there is one of that name: where it points to is for the caller to see."""

        def create() -> None:
            self.api.create_tag(self.id, tag=tag, tag_message=message, revision=commit, repo_type="dataset")

        self.ensure(f"setting the tag {tag}", create, lambda: tag in self.refs().tags)

    def commit(
        self,
        operations: Sequence[Operation],
        branch: str,
        parent: str,
        message: str,
        landed: Callable[[], bool],
        advance: Advance = lambda sent: None,
        pr: bool = False,
    ) -> str | None:
        """Upload what the Hub does not have yet, then do all operations in one commit.

        Args:
            parent: the commit the branch must stand at, or nothing happens.
            landed: whether the repository holds what the commit makes.
            advance: called with the number of bytes sent, or found to be there, since the last call.

        Returns:
            The commit; None where it landed and the answer that names it was lost.

        Raises:
            RemoteError: the branch has moved, or the Hub refused or failed.
        """
        from huggingface_hub import CommitOperationDelete

        adds = [upload(at.file, advance) for at in additions(operations)]
        gone = [CommitOperationDelete(path, is_folder=False) for path in deletions(operations)]
        by_lfs = [add for add in adds if add.by_lfs]

        def create() -> str:
            made = self.api.create_commit(
                self.id,
                [*gone, *adds],  # a folder goes before a file takes its place
                commit_message=message,
                repo_type="dataset",
                revision=branch,
                parent_commit=parent,
                create_pr=pr,
            )
            return str(made.oid)

        def commit() -> str:
            try:
                return create()
            except Exception as error:
                trouble = trouble_of(error)
                if trouble is None or trouble.status != 400 or not by_lfs:
                    raise
                # Nothing was done. Perhaps this Hub keeps in LFS nothing but what it chose itself.
                while by_lfs:
                    by_lfs.pop().as_hub_wants()
            return create()

        def send() -> None:
            self.api.preupload_lfs_files(
                self.id,
                adds,
                repo_type="dataset",
                revision=branch,
                create_pr=pr,
                num_threads=_THREADS,
                free_memory=False,
            )

        # The client itself asks five times where nobody answers, and the Hub keeps what arrived. Asked again, the Hub
        # gives new addresses for what is missing, in place of those that hold no longer.
        self.ask("uploading files", send, lambda trouble: trouble.garbled or trouble.signed)
        for add in adds:
            add.finish()
        return self.change(f"committing to {'a pull request' if pr else branch}", commit, landed)

    def change(self, doing: str, act: Callable[[], Result], happened: Callable[[], bool]) -> Result | None:
        """Do something once. Where nobody knows whether it happened, look, and only then try again.

        Returns:
            What `act` gave; None where it happened and we were not told.

        Raises:
            RemoteError: it was refused, or failed too often.
        """
        unclear = False
        for wait in (*WAITS, None):
            try:
                return act()
            except Exception as error:
                trouble = trouble_of(error)
                if trouble is None:
                    raise
                if trouble.transient:
                    # 429 is a clear no; after anything else it may have happened, now or in a moment.
                    unclear = unclear or trouble.status != 429
                    if wait is not None:
                        self._wait(trouble, wait, doing)
                # 409: there already; 404: gone already, or never there. A stale parent (412) is somebody else's
                # commit, unless it is ours, of which we never heard. What is refused is not asked again, so that
                # here, and only here, a no that may be old has to be made sure of.
                seen = happened if trouble.transient else partial(self.settle, happened)
                if (trouble.status in (404, 409) or unclear) and seen():
                    _logger.info("%s: done, though we were not told", doing)
                    return None
                if not trouble.transient or wait is None:
                    raise self.error(trouble, doing) from None
        raise AssertionError("unreachable")

    def ensure(self, doing: str, act: Callable[[], None], happened: Callable[[], bool]) -> None:
        """As `change`, for what can be seen when it is done: a 200 alone may be the word of a proxy.

        Raises:
            RemoteError: it was refused, or failed too often, or was not done though the server said so.
        """
        for _ in range(2):
            self.change(doing, act, happened)
            if self.settle(happened):
                return
        raise self.problem(
            f"{doing}: the server says that it is done, and it is not. See that HF_ENDPOINT names a Hub, and that no "
            "proxy answers in its place. Run the same command again"
        )

    def _wait(self, trouble: Trouble, wait: float, doing: str) -> None:
        if trouble.retry_after is not None:
            wait = trouble.retry_after
        if wait > LONGEST_WAIT:
            raise self.error(trouble, doing)
        _logger.info("%s: %s; trying again in %g seconds", doing, trouble.status or trouble.message, wait)
        self.pause(wait)

    def error(self, trouble: Trouble, doing: str) -> RemoteError:
        """As for any repository; what is absent is told apart."""
        error = super().error(trouble, doing)
        return Absent(str(error)) if trouble.status == 404 else error


class Absent(RemoteError):
    """The Hub says that there is no such thing."""
