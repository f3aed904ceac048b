"""Which benchmarks a store was compared with, as its manifest remembers it.

What is remembered holds for rows, and names them by a digest of the shards' hashes. Whoever takes rows away writes it
anew for those that are left. Where others were added, by whatever means, the digest is another and nothing holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from typing import Any

from coig_p.errors import UsageError
from coig_p.store.listing import write_manifest
from coig_p.store.manifest import Manifest
from coig_p.store.store import Store
from coig_p.store.writing import sha256_of

OPTION = "contamination"
"""Where in a manifest's options it stands."""


@dataclass(frozen=True)
class BenchmarkUsed:
    """A benchmark that a store was compared with.

    Attributes:
        name: of its file or folder, without the path to it; of a repository all of it.
        sha256: of its file; of several, and of a store's shards, over the hashes of each.
    """

    name: str
    sha256: str


@dataclass(frozen=True)
class Held:
    """How many queries and responses hold a text of a benchmark."""

    queries: int = 0
    responses: int = 0

    def __add__(self, other: Held) -> Held:
        return Held(self.queries + other.queries, self.responses + other.responses)

    def __bool__(self) -> bool:
        return bool(self.queries or self.responses)


@dataclass(frozen=True)
class BenchmarkCheck:
    """A whole store compared with benchmarks.

    Attributes:
        against: at least one.
        prompts, answers: how many of their texts were looked for.
        options: what counted as contamination.
        left: what held one of their texts when it was compared, and is there still unless it went for something else.
        dropped: what held one and went for it, earlier comparisons with the same benchmarks included.
        tool: what compared, with its version.
    """

    against: tuple[BenchmarkUsed, ...]
    prompts: int
    answers: int
    options: Mapping[str, Any]
    left: Held
    tool: str
    dropped: Held = Held()

    def without_what_it_found(self) -> BenchmarkCheck:
        """The same once all that was found was dropped."""
        return replace(self, left=Held(), dropped=self.dropped + self.left)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> BenchmarkCheck:
        """The reverse of `dataclasses.asdict`; a manifest that was read has it in this shape."""
        used = tuple(BenchmarkUsed(one["name"], one["sha256"]) for one in told["against"])
        left, dropped = (Held(told[name]["queries"], told[name]["responses"]) for name in ("left", "dropped"))
        return cls(used, told["prompts"], told["answers"], told["options"], left, told["tool"], dropped)


def rows_digest(manifest: Manifest) -> str:
    """What names the rows of a store: SHA-256 over those of its shards, in hexadecimal digits."""
    hashes = sorted(file.sha256 for file in manifest.data_files())
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def benchmark_checks(manifest: Manifest) -> tuple[BenchmarkCheck, ...]:
    """What is remembered and holds for the rows that are there; empty where they are not those that were compared."""
    told = manifest.options.get(OPTION)
    if told is None or told["rows"] != rows_digest(manifest):
        return ()
    return tuple(map(BenchmarkCheck.from_dict, told["checks"]))


def checks_on_disk(store: Store) -> tuple[BenchmarkCheck, ...]:
    """`benchmark_checks` of a store whose shards are as its manifest says; empty where one was changed since."""
    checks = benchmark_checks(store.manifest)
    if any(sha256_of(store.path / file.path) != file.sha256 for file in (store.data_files() if checks else ())):
        return ()
    return checks


def with_checks(manifest: Manifest, checks: Sequence[BenchmarkCheck]) -> Manifest:
    """The manifest, its files known, with these checks of its rows and no others."""
    options = {name: value for name, value in manifest.options.items() if name != OPTION}
    if checks:
        options[OPTION] = {"rows": rows_digest(manifest), "checks": [asdict(check) for check in checks]}
    return replace(manifest, options=options)


def added(checks: Sequence[BenchmarkCheck], new: Sequence[BenchmarkCheck]) -> tuple[BenchmarkCheck, ...]:
    """Both, where a new check takes the place of an earlier one whose benchmarks it has all, asked in the same way."""
    return reduce(_with_one, new, tuple(checks))


def _with_one(checks: tuple[BenchmarkCheck, ...], new: BenchmarkCheck) -> tuple[BenchmarkCheck, ...]:
    hashes = {one.sha256 for one in new.against}
    replaced = [
        check for check in checks if check.options == new.options and {one.sha256 for one in check.against} <= hashes
    ]
    dropped = sum((check.dropped for check in replaced), new.dropped)
    return (*(check for check in checks if check not in replaced), replace(new, dropped=dropped))


def remember(store: Store, check: BenchmarkCheck) -> Store:
    """Write a check into the manifest of the store that was compared; no other file is touched.

    Raises:
        UsageError: a release, whose card says what it was compared with.
    """
    check_remember(store)
    manifest = with_checks(store.manifest, added(benchmark_checks(store.manifest), [check]))
    return Store(store.path, write_manifest(store.path, manifest))


def check_remember(store: Store) -> None:
    """Raise UsageError where `remember` cannot write into the store's manifest, before anything is read."""
    if store.manifest.release:
        raise UsageError(
            f"{store.path} is a release, and its card says what it was compared with: name the store it was made of"
        )
