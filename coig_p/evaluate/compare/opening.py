"""The stores that are compared: found, told apart by name, and watched, since a store may change while it is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coig_p.errors import StoreError, UsageError
from coig_p.store.locate import locate, open_located
from coig_p.store.store import Store
from coig_p.store.watching import State, state_of


@dataclass(frozen=True)
class Opened:
    """A store to compare.

    Attributes:
        name: what it is called here, other than every other one.
        given: as the user named it.
        store: of a repository the copy in the Hub's cache.
        state: of its files when it was opened.
    """

    name: str
    given: str
    store: Store
    state: State


def open_stores(given: Sequence[str | Path]) -> list[Opened]:
    """Find and open all of them, before any is read.

    Raises:
        UsageError: none is named, or one twice.
        StoreError: one that is no whole store.
        RemoteError: a repository that cannot be had.
    """
    if not given:
        raise UsageError("no store is named: name one or more")
    found = [locate(one) for one in given]
    first: dict[str, str | Path] = {}
    for one, location in zip(given, found, strict=True):
        if location.root in first:
            raise UsageError(f"{first[location.root]} and {one} are the same store: name it once")
        first[location.root] = one
    roots = [location.root for location in found]
    opened = []
    for one, location, name in zip(given, found, distinct([place.called for place in found], roots), strict=True):
        # All files that its manifest lists, since all are verified.
        store = open_located(location, location.manifest.files)
        opened.append(Opened(name, str(one), store, _state(store)))
    return opened


def distinct(names: Sequence[str], roots: Sequence[str]) -> list[str]:
    """Names that tell apart: those that several have get folders in front, as few as will do."""
    parts = [[part for part in root.split("/") if part] for root in roots]
    found = list(names)
    for depth in range(2, 1 + max(map(len, parts), default=0)):
        often = Counter(found)
        if max(often.values(), default=1) == 1:
            return found
        found = ["/".join(part[-depth:]) if often[name] > 1 else name for name, part in zip(found, parts, strict=True)]
    often = Counter(found)
    return [root if often[name] > 1 else name for name, root in zip(found, roots, strict=True)]


def check_whole(opened: Opened) -> None:
    """Raise StoreError where `coigp verify` finds a problem: no number of such a store would be right."""
    try:
        problems = opened.store.verify()
    except OSError as error:
        raise StoreError(opened.given, f"{error.filename} cannot be read: {error.strerror}") from None
    if problems:
        more = f" (and {len(problems) - 1} more problems)" if problems[1:] else ""
        raise StoreError(opened.given, f"{problems[0]}{more}. Run: coigp verify, or import again")


def check_unchanged(opened: Opened) -> None:
    """Raise StoreError where a file is another than when the store was opened."""
    now = dict.fromkeys(_state(opened.store))
    for file in opened.state:
        if file not in now:
            raise StoreError(opened.given, f"{file[0]} changed while it was read, so nothing is told. Run it again")


def _state(store: Store) -> State:
    try:
        return state_of(store)
    except OSError as error:
        name = Path(error.filename).relative_to(store.path).as_posix()
        raise StoreError(store.path, f"{name} cannot be read: {error.strerror}") from None
