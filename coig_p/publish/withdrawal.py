"""What ends a release: one that was begun is given up, one that is published is marked as withdrawn.

A tag that people may have cited stays. Main's card and manifest say which version not to use, and why; the releases
that come after keep saying so.
"""

from __future__ import annotations

import json
from pathlib import Path

from coig_p.core.front_matter import body_begin
from coig_p.core.markdown import cell
from coig_p.core.text import printable
from coig_p.errors import UsageError
from coig_p.publish.before import YANKED, text_of
from coig_p.publish.client import DEFAULT, HubConfig, HubRepo, connect
from coig_p.publish.plan import CARD, Add, ReleaseFile, check_repo, check_version, git_oid
from coig_p.publish.remote import read_manifest
from coig_p.store.manifest import MANIFEST
from coig_p.store.writing import sha256_of

MAIN = "main"
BRANCH = "release/"
_LONGEST = 500  # characters of a reason


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
            strange = next((title for title in titles if title != f"Release v{version}"), None)
            if strange is not None:
                raise repo.problem(
                    f"the branch {branch} holds a commit that no release made: {printable(strange)!r}. "
                    "Nothing was changed: look at it, and delete the branch yourself"
                )
        repo.delete_branch(branch)
        return at


def yank(repo_id: str, version: str, reason: str, config: HubConfig = DEFAULT) -> str:
    """Mark a published version as withdrawn, in the card and the manifest of main. Its tag stays.

    Args:
        reason: one line, which readers of the card see.

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
        if read_manifest(repo, tree, head) is None or CARD not in tree:
            raise repo.problem("main is no release: put it back first, with --restore")
        fields = json.loads(text_of(repo.download(MANIFEST, head)))
        yanked = dict(fields.get("release", {}).get(YANKED, {}))
        if yanked.get(version) == reason:
            return head
        card = text_of(repo.download(CARD, head))
        files = _marked(repo, card, fields, {**yanked, version: reason}, version)
        return _commit(repo, head, files, version)


def _marked(
    repo: HubRepo, card: str, fields: dict[str, object], yanked: dict[str, str], version: str
) -> tuple[ReleaseFile, ReleaseFile]:
    """Main's card and manifest with the notice."""
    folder = repo.scratch / "yanked"
    folder.mkdir(exist_ok=True)
    (folder / CARD).write_bytes(_with_notice(card, version, yanked[version]).encode("utf-8", "surrogateescape"))
    made = _described(CARD, folder)
    files = fields["files"]
    assert isinstance(files, list)  # the manifest was read before
    own = {"sha256": made.sha256, "bytes": made.bytes}
    release = fields.get("release", {})
    assert isinstance(release, dict)
    fields = fields | {
        "files": [file | own if file["path"] == CARD else file for file in files],
        "release": release | {YANKED: yanked},
    }
    (folder / MANIFEST).write_text(json.dumps(fields, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return made, _described(MANIFEST, folder)


def _with_notice(card: str, version: str, reason: str) -> str:
    """The card with one line about the version, in place of what it said of it before."""
    begin, end = f"<!-- withdrawn {version} -->\n", f"<!-- end of {version} -->\n"
    if begin in card and end in card:
        card = card[: card.index(begin)] + card[card.index(end) + len(end) :]
    at = body_begin(card)
    # Between blank lines, or Markdown takes it for a part of what stands beside it.
    notice = f"\n{begin}> **{version} 已撤回 / was withdrawn:** {cell(reason)}\n\n{end}"
    return card[:at] + notice + card[at:]


def _described(path: str, folder: Path) -> ReleaseFile:
    source = folder / path
    role = "manifest" if path == MANIFEST else "readme"
    return ReleaseFile(path, source, sha256_of(source), source.stat().st_size, role)


def _commit(repo: HubRepo, head: str, files: tuple[ReleaseFile, ...], version: str) -> str:
    found = head

    def landed() -> bool:
        nonlocal found
        at = repo.refs().branches.get(MAIN, head)
        if at == head:
            return False
        there = repo.tree(at)
        if any(path.path not in there or there[path.path].oid != git_oid(path.source) for path in files):
            return False
        found = at
        return True

    operations = [Add(file) for file in files]
    return repo.commit(operations, MAIN, head, f"Withdraw v{version}", landed) or found
