"""A store in the place of another, or made of another: what is its owner's stays, and nothing else goes unseen."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from coig_p.core.objects import ObjectPath, is_object
from coig_p.core.text import printable
from coig_p.errors import StoreError, UsageError
from coig_p.store.presence import lies_inside
from coig_p.store.store import OF_ITS_OWNER, manifest_at, unlisted

_logger = logging.getLogger("coig_p")
_SHOWN = 3


def check_replaced(target: Path, inputs: Sequence[Path] = (), *, by_release: bool = False) -> None:
    """Raise UsageError where the store at `target`, if there is one, cannot be replaced without a loss.

    Args:
        inputs: files that are read for the new store.
        by_release: what is written is a release, too: it may replace another.
    """
    if is_object(target) or not target.is_dir():  # in an object store nothing is replaced
        return
    whole = target.resolve()
    for path in inputs:
        if path.resolve().is_relative_to(whole):
            raise UsageError(f"{path} is in {target}, which would be replaced: choose another place for the store")
    try:
        manifest = manifest_at(target, target)
    except StoreError:
        return  # damaged, or none: what belongs to it cannot be told
    if manifest.release and not by_release:
        version = str(manifest.release.get("version") or "")
        raise UsageError(
            f"{target} is a release{printable(f' ({version})' if version else '')}, which a store without its card, "
            "figures and pairs would replace: choose another place, or delete it first"
        )
    others = unlisted(target, manifest)
    if others:
        named = ", ".join(others[:_SHOWN]) + ", ..." * (len(others) > _SHOWN)
        raise UsageError(f"{target} holds more than a store ({named}), which would go with it: move it elsewhere first")


def carry_over(root: Path, *sources: Path) -> None:
    """Copy to `root` what stores have of their owners', such as card.toml; the first source that has a file gives it.

    What `root` has already stays. Where a later source has another, that is logged: somebody may have filled in that
    one. So is a link that leads out of a source, which is not followed: a store that somebody sent could show anything.
    """
    listed = {one: {path.name for path in one.iterdir()} for one in sources if isinstance(one, ObjectPath)}
    for name in sorted(OF_ITS_OWNER):
        found = []
        for source in sources:
            if name not in listed.get(source, {name}):
                continue
            if (source / name).is_file() and not lies_inside(source, source / name):
                words = "%s was not taken along: it is a link that leads out of the store. Copy the file instead"
                _logger.warning(words, printable(str(source / name)))
            elif (source / name).is_file():
                found.append(source / name)
        if found and not (root / name).exists():
            (root / name).write_bytes(found[0].read_bytes())  # of an object store, too
            for other in found[1:]:
                if other.read_bytes() != found[0].read_bytes():
                    _logger.warning("kept %s, which is another than %s", *map(printable, map(str, (found[0], other))))
