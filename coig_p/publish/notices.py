"""What was withdrawn: who knows of it, and how the card says so.

The manifest of main says which versions should not be used, and why; the card has a notice of each. Notices are no
edit of the card: they are taken out before it is merged, and put back after it. What a person wrote into one stays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from coig_p.core.front_matter import body_begin
from coig_p.core.markdown import cell
from coig_p.publish.client import HubRepo, Refs
from coig_p.publish.plan import MAIN, is_of_ours, is_version
from coig_p.publish.remote import YANKED, read_manifest
from coig_p.store.manifest import Manifest

_NOTICES = re.compile(r"\r?\n<!-- withdrawn (\S+) -->\r?\n(.*?)<!-- end of \1 -->\r?\n", re.DOTALL)


def yanked_in(manifest: Manifest | None) -> dict[str, str]:
    """Why each withdrawn version is one, in one line, as a manifest says; what is no version cannot be one."""
    said = (manifest.release.get(YANKED) or {}) if manifest else {}
    return {version: " ".join(why.split()) for version, why in said.items() if is_version(version)}


def withdrawals(repo: HubRepo, refs: Refs, here: Mapping[str, str] | None = None) -> dict[str, str]:
    """Why each withdrawn version is one.

    Main's manifest says it. Where people changed or deleted it, or put main back to an older state, so do the last
    commit on main that was made here, and the newest release.

    Args:
        here: what main's manifest says, where that was read.
    """
    head = refs.branches.get(MAIN)
    if head is None:
        return {}
    if here is None:
        here = yanked_in(read_manifest(repo, repo.tree(head), head))
    newest = next(iter(refs.versions().values()), head)
    if head == newest:
        return dict(here)
    ours = next((commit for commit, words in repo.history(MAIN) if is_of_ours(words)), None)
    found: dict[str, str] = {}
    for commit in dict.fromkeys(at for at in (newest, ours) if at and at != head):
        found |= yanked_in(read_manifest(repo, repo.tree(commit), commit))
    return found | dict(here)


def with_notices(card: str, yanked: Mapping[str, str]) -> str:
    """A card without notices, with one of each withdrawn version below its metadata."""
    at = body_begin(card)
    # Between blank lines, or Markdown takes them for a part of what stands beside them.
    notices = "".join(
        f"\n<!-- withdrawn {version} -->\n{_line(version, reason)}\n\n<!-- end of {version} -->\n"
        for version, reason in yanked.items()
    )
    return card[:at] + (notices.replace("\n", "\r\n") if "\r\n" in card[:at] else notices) + card[at:]


def without_notices(card: str, yanked: Mapping[str, str]) -> str:
    """The card without its notices. What a person wrote between the marks of one stays where it is.

    Args:
        yanked: as the manifest beside the card says.
    """

    def theirs(found: re.Match[str]) -> str:
        ours = _line(found[1], yanked.get(found[1], ""))
        lines = [line for line in found[2].splitlines(keepends=True) if line.strip() != ours]
        text = "".join(lines)
        return found[0][: found[0].index("<")] + text if text.strip() else ""

    return _NOTICES.sub(theirs, card)


def _line(version: str, reason: str) -> str:
    return f"> **{version} 已撤回 / was withdrawn:** {cell(reason)}"
