"""What ends a release: one that was begun is given up, one that is published is marked as withdrawn.

A tag that people may have cited stays. Main's card and manifest say which version not to use, and why; the releases
that come after keep saying so.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from coig_p.core.text import printable
from coig_p.errors import UsageError
from coig_p.publish.before import release_before
from coig_p.publish.cards import BOM, text_of, write_manifest
from coig_p.publish.client import DEFAULT, HubConfig, HubRepo, connect
from coig_p.publish.notices import with_notices, withdrawals, without_notices, yanked_in
from coig_p.publish.plan import (
    BRANCH,
    CARD,
    MAIN,
    RELEASE,
    WITHDRAW,
    Add,
    Delete,
    Operation,
    ReleaseFile,
    Tree,
    check_repo,
    check_version,
    same,
)
from coig_p.publish.remote import made_of, read_manifest
from coig_p.publish.signed import comment_of, sign_manifest
from coig_p.store.manifest import MANIFEST, SIGNATURE
from coig_p.store.writing import sha256_of

_LONGEST = 500  # characters of a reason
_logger = logging.getLogger("coig_p")


def abort(repo_id: str, version: str, config: HubConfig = DEFAULT) -> str:
    """End a release that was begun and is not published: its branch goes. Main and all tags stay.

    Returns:
        The commit that the branch stood at.

    Raises:
        RemoteError: it is published, or was not begun, or the branch holds commits of somebody else.
        UsageError: no such form of a name or version.
    """
    check_repo(repo_id)
    check_version(version)
    with connect(repo_id, config) as repo:
        refs = repo.refs()
        branch = BRANCH + version
        if branch not in refs.branches:
            raise repo.problem(f"no release of {version} was begun: there is no branch {branch}")
        at = refs.branches[branch]
        if refs.tags.get(f"v{version}") != at:
            kept = {commit for commit, _ in repo.history(MAIN)}
            titles = [title for commit, title in repo.history(branch) if commit not in kept]
            strange = next((title for title in titles if title != f"{RELEASE}{version}"), None)
            if strange is not None:
                raise repo.problem(
                    f"the branch {branch} holds a commit that no release made: {printable(strange)!r}. "
                    "Nothing was changed: look at it, and delete the branch yourself"
                )
        repo.delete_branch(branch)
        return at


def yank(
    repo_id: str,
    version: str,
    reason: str,
    config: HubConfig = DEFAULT,
    signer: Callable[[bytes, str], bytes] | None = None,
) -> str:
    """Mark a published version as withdrawn, in the card and the manifest of main. Its tag stays.

    Args:
        reason: one line, which readers of the card see.
        signer: signs the manifest anew; without one a signature of main goes, since it is of another manifest.

    Returns:
        The commit of main that says so, new or there before.

    Raises:
        RemoteError: there is no such version, main is not a release, or the Hub refused or failed.
        UsageError: no reason, or no such form of a name or version.
    """
    check_repo(repo_id)
    check_version(version)
    reason = " ".join(printable(reason).split())
    if not reason or len(reason) > _LONGEST:
        raise UsageError(f"--reason: say why {version} is withdrawn, in one line of at most {_LONGEST} characters")
    with connect(repo_id, config) as repo:
        refs = repo.refs()
        if f"v{version}" not in refs.tags:
            raise repo.problem(f"there is no release {version}")
        if MAIN not in refs.branches:
            raise repo.problem("it has no branch main")
        head = refs.branches[MAIN]
        tree = repo.tree(head)
        manifest = read_manifest(repo, tree, head)
        if manifest is None or CARD not in tree:
            raise repo.problem("main is no release: put it back first, with --restore")
        here = yanked_in(manifest)
        yanked = withdrawals(repo, refs, here) | {version: reason}
        before = release_before(repo, refs, head, tree, repo.history(head))
        card = before.made.get(CARD)
        if card is None:
            released = before.commit or head
            card = without_notices(text_of(repo.download(CARD, released)), before.yanked or here)
        files = _marked(repo, head, here, yanked, made_of(manifest) | {CARD: card})
        if all(same(file, tree.get(file.path)) for file in files):  # main says so already
            comment = comment_of(before.version or version, repo_id)
            return head if signer is None else _signed(repo, head, tree, signer, comment, version)
        operations: list[Operation] = [Add(file) for file in files]
        if signer is not None:
            place = sign_manifest(files[-1].source.parent, signer, comment_of(before.version or version, repo_id))
            operations.append(Add(_described(SIGNATURE, place.parent)))
        elif SIGNATURE in tree:
            operations.append(Delete(SIGNATURE))
            _logger.warning("%s: main's signature goes, since its manifest changes. To sign it anew: --sign", repo.id)
        return _commit(repo, head, operations, version)


def _signed(
    repo: HubRepo, head: str, tree: Tree, signer: Callable[[bytes, str], bytes], comment: str, version: str
) -> str:
    """Main with a signature of the manifest that it has, of this key."""
    folder = repo.scratch / "yanked"
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST).write_bytes(repo.download(MANIFEST, head).read_bytes())
    sign_manifest(folder, signer, comment)
    signature = _described(SIGNATURE, folder)
    return head if same(signature, tree.get(SIGNATURE)) else _commit(repo, head, [Add(signature)], version)


def _marked(
    repo: HubRepo, head: str, here: Mapping[str, str], yanked: Mapping[str, str], made: Mapping[str, str]
) -> tuple[ReleaseFile, ReleaseFile]:
    """Main's card and manifest with the notices.

    Args:
        here: what main's manifest says now.
        made: the files as the release made them, where main has others; the card among them.
    """
    folder = repo.scratch / "yanked"
    folder.mkdir(exist_ok=True)
    there = text_of(repo.download(CARD, head)).removeprefix(BOM)  # ahead of it no notice may stand
    card = with_notices(without_notices(there, here), yanked)
    (folder / CARD).write_bytes(card.encode("utf-8", "surrogateescape"))
    described = _described(CARD, folder)
    write_manifest(folder / MANIFEST, json.loads(text_of(repo.download(MANIFEST, head))), [described], made, yanked)
    return described, _described(MANIFEST, folder)


def _described(path: str, folder: Path) -> ReleaseFile:
    source = folder / path
    role = {MANIFEST: "manifest", SIGNATURE: "signature"}.get(path, "readme")
    return ReleaseFile(path, source, sha256_of(source), source.stat().st_size, role)


def _commit(repo: HubRepo, head: str, operations: Sequence[Operation], version: str) -> str:
    found = head

    def landed() -> bool:
        nonlocal found
        at = repo.refs().branches.get(MAIN, head)
        if at == head:
            return False
        there = repo.tree(at)
        for operation in operations:
            file = there.get(operation.path)
            if isinstance(operation, Delete) != (file is None):
                return False
            if isinstance(operation, Add) and not same(operation.file, file):
                return False
        found = at
        return True

    return repo.commit(tuple(operations), MAIN, head, f"{WITHDRAW}{version}", landed) or found
