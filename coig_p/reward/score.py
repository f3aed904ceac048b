"""Every response of a store scored, and the rewards kept beside it (`coig_p.store.rewards`).

What was said lies in a file beside the store until all of it is there: a run that is stopped at any moment goes on when
the same is run again, with the same bytes at its end. The store itself changes at the end alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Floats
from coig_p.core.atomic import atomic_directory
from coig_p.core.objects import is_object
from coig_p.core.progress import Bar, no_bar
from coig_p.errors import CoigPError, StoreError, UsageError
from coig_p.reward.batching import TOKENS_PER_BATCH, key, score_all
from coig_p.reward.journal import Journal, open_journal
from coig_p.reward.scorer import Asked, Scored, Scorer, check_any, looks_squashed
from coig_p.schema import PAIRING_SCHEMA
from coig_p.store.benchmarks import rows_digest
from coig_p.store.conversations import is_more_than_text
from coig_p.store.listing import write_manifest
from coig_p.store.manifest import MANIFEST, Manifest, StoreFile, rewards_problem
from coig_p.store.places import check_target
from coig_p.store.replacing import carry_over, check_replaced
from coig_p.store.reward_files import (
    is_of,
    keys_of,
    with_rewards,
    with_values,
    without_rewards,
    write_rewards,
)
from coig_p.store.rewards import COUNTED, REWARDS, Counts
from coig_p.store.rewards_carried import NOT_SCORED, KnownRewards
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import describe_file, sha256_of, store_readme

NOT_TEXT = "not-text"
"""The response, or what it answers, is more than text: tools, calls or reasoning, which nothing here scores."""

CHECKED = 20
"""How many responses are scored once more, each alone, where that is asked for."""

_ROWS = 256  # queries at once
_OF_A_STORE = ("data", "rejects", "duplicates", REWARDS)
_Known = Mapping[bytes, Scored]


@dataclass(frozen=True)
class ScoreConfig:
    """How a store is scored.

    Attributes:
        name: what its rewards are kept as.
        tokens_per_batch: at most, padding counted.
        again: score all of it anew where it has rewards of this name.
    """

    name: str
    tokens_per_batch: int = TOKENS_PER_BATCH
    again: bool = False

    def __post_init__(self) -> None:
        problem = rewards_problem(self.name)
        if problem:
            raise UsageError(f"{self.name!r} cannot be what rewards are kept as: {problem}")
        if self.tokens_per_batch < 1:
            raise UsageError(f"tokens_per_batch={self.tokens_per_batch}: use 1 or more")


@dataclass(frozen=True)
class StoreScored:
    """What came of it.

    Attributes:
        store: with the rewards.
        name: what they are kept as.
        told: as the manifest has it: the scorer, how many responses have a reward, and why others have none.
        asked: how many different responses had no reward yet, and were scored by this run or one that it went on with.
        lowest, mean, highest: of the rewards; None where there is none.
        squashed: every reward lies from 0 to 1, as if a server's sigmoid had been left on.
    """

    store: Store
    name: str
    told: Mapping[str, Any]
    asked: int
    lowest: float | None
    mean: float | None
    highest: float | None
    squashed: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        spread = {"lowest": self.lowest, "mean": self.mean, "highest": self.highest, "squashed": self.squashed}
        return {"store": str(self.store.path), "name": self.name, **self.told, "asked": self.asked, **spread}


Check = Callable[[Sequence[tuple[Asked, Scored]]], None]
"""Looks at responses with what was said of them, before anything is written; raises where that is wrong."""


def check_score(store: Store, out: Path | None, overwrite: bool = False) -> None:
    """Raise UsageError where rewards could not be written, before a model is loaded."""
    if is_object(store.path):
        raise UsageError(
            f"{store.path} is the address of an object store, and rewards are kept in a store of this machine: copy it "
            "here first, and name that"
        )
    if out is not None:
        if out.resolve() == store.path.resolve():
            raise UsageError(f"{out} is the store itself: leave --out out to add the rewards to it")
        check_target(out, overwrite)
        check_replaced(out)
    elif store.manifest.release:
        raise UsageError(f"{store.path} is a release, to which nothing is added: write a store of it with --out")
    elif (store.path / MANIFEST).is_symlink():
        raise UsageError(f"{store.path} lies in a cache, to which nothing is added: write a store of it with --out")


def journal_at(store: Store, name: str, out: Path | None) -> Path:
    """Where what was said lies until all of it is there: beside the store that gets the rewards."""
    target = (out or store.path).resolve()
    return target.with_name(f"{target.name}.{name}.scored.jsonl")


def score_store(
    store: Store,
    scorer: Scorer,
    config: ScoreConfig,
    *,
    out: Path | None = None,
    overwrite: bool = False,
    check: Check | None = None,
    bar: Bar = no_bar,
) -> StoreScored:
    """Score every response of a store, and write the rewards into it, or into a copy of it at `out`.

    Where the store has rewards of this name by the same scorer, those that hold stay, and the others are asked for.
    One text after the same turns is scored once in the whole store.

    Args:
        overwrite: replace the store at `out`.
        check: called with CHECKED of the responses that have a reward, the same ones every time.

    Raises:
        UsageError: there are rewards of this name by another scorer, or see `check_score` and `open_journal`.
        StoreError: a shard cannot be read, or the store was changed meanwhile.
        RemoteError, DataError: see `check_any`; also what the scorer raises.
    """
    check_score(store, out, overwrite)
    described = json.loads(json.dumps(scorer.describe()))
    had = None if config.again else _had(store, config.name, described)
    of = {
        "rewards": config.name,
        "store": rows_digest(store.manifest),
        "scorer": described,
        "tokens_per_batch": config.tokens_per_batch,
        "overwrite": config.again,
    }
    with open_journal(journal_at(store, config.name, out), of) as journal:
        said = _Said(journal)
        some, asked = _score(store, scorer, config, had, said, bar)
        try:
            check_any(described, said.known.values())
        except CoigPError:
            journal.remove()  # or the same run would say the same of another server
            raise
        if check is not None:
            check(some)
        told = {"model": described["name"], **{name: one for name, one in described.items() if name != "name"}}
        write = _add if out is None else partial(_copy, out=out)
        written, rewards = write(store, config.name, told, said.known)
        journal.remove()
    counted = written.manifest.rewards[config.name]
    squashed = described["kind"] == "server" and looks_squashed(rewards.tolist())
    if not len(rewards):
        return StoreScored(written, config.name, counted, asked, None, None, None, squashed)
    spread = float(rewards.min()), float(rewards.mean()), float(rewards.max())
    return StoreScored(written, config.name, counted, asked, *spread, squashed)


class _Said:
    """What was said so far, in memory and in the journal."""

    def __init__(self, journal: Journal) -> None:
        self.known = dict(journal.known)
        self._journal = journal

    def keep(self, batch: _Known) -> None:
        """Add a batch."""
        self._journal.keep(batch)
        self.known |= batch


def _had(store: Store, name: str, described: Mapping[str, Any]) -> KnownRewards | None:
    """The rewards of this name that are there; None where there are none."""
    told = store.manifest.rewards.get(name)
    if told is None:
        return None
    same = {"name": told["model"], **{one: value for one, value in told.items() if one not in (*COUNTED, "model")}}
    if same != described:
        differs = sorted(one for one in {*same, *described} if same.get(one) != described.get(one))
        raise UsageError(
            f"{store.path} has rewards called {name} by another scorer (another {' and '.join(differs)}): choose "
            "another name with --as, or score all of it anew with --overwrite"
        )
    return KnownRewards.listed(store, name)


def _score(
    store: Store, scorer: Scorer, config: ScoreConfig, had: KnownRewards | None, said: _Said, bar: Bar
) -> tuple[list[tuple[Asked, Scored]], int]:
    """Score what is not known; those with a reward that are to be looked at again, and how many were asked for.

    Batches are the same whatever an earlier run has kept, so that one which was stopped ends with the same numbers.
    """
    seen: set[bytes] = set()
    some: list[tuple[bytes, Asked]] = []
    number = 0
    with bar("Scoring", sum(file.responses or 0 for file in store.data_files()), "responses") as advance:
        for shard in store.data_files():
            own, before = _different(store, shard, had, seen)
            if before.keys() - said.known.keys():
                said.keep(before)
            asked = [one for its, one in own.items() if its not in before]
            advance((shard.responses or 0) - len(asked))
            score_all(
                scorer,
                asked,
                tokens_per_batch=config.tokens_per_batch,
                progress=advance,
                known=said.known,
                keep=said.keep,
            )
            number += len(asked)
            some += [(its, one) for its, one in own.items() if said.known[its].reward is not None]
            some = sorted(some, key=itemgetter(0))[:CHECKED]
    return [(one, said.known[its]) for its, one in some], number


def _different(
    store: Store, shard: StoreFile, had: KnownRewards | None, seen: set[bytes]
) -> tuple[dict[bytes, Asked], dict[bytes, Scored]]:
    """What is asked of a shard and of none before it, each once; and what is known of some of it."""
    own: dict[bytes, Asked] = {}
    before: dict[bytes, Scored] = {}
    for batch in shard_batches(store.path, shard, _ROWS, PAIRING_SCHEMA):
        every = asked_of(batch)
        held = [None] * len(every) if had is None else _decided(had.rows(keys_of(batch)))
        for one, known in zip(every, held, strict=True):
            its = b"" if one is None else key(one)
            if one is None or its in seen:
                continue
            seen.add(its)
            own[its] = one
            if known is not None:
                before[its] = known
    return own, before


def _decided(rows: pa.RecordBatch) -> list[Scored | None]:
    """What earlier rewards say of each response; None where it was never scored as it is."""
    columns = (rows.column(name).to_pylist() for name in ("reward", "reason", "truncated"))
    return [
        None if reason == NOT_SCORED else Scored(reward, reason, None, truncated)
        for reward, reason, truncated in zip(*columns, strict=True)
    ]


def asked_of(batch: pa.RecordBatch) -> list[Asked | None]:
    """What is asked of each response of a batch of PAIRING_SCHEMA, in order; None where there is more than text.

    A query without turns of its own is one turn of the user.
    """
    found: list[Asked | None] = []
    flat = batch.column("responses").flatten()
    texts = flat.field("text").to_pylist()
    more = is_more_than_text(flat.field("extra")).tolist()
    sizes = pc.fill_null(pc.list_value_length(batch.column("responses")), 0).to_pylist()
    columns = (batch.column(name).to_pylist() for name in ("query", "messages", "tools"))
    for query, turns, tools, size in zip(*columns, sizes, strict=True):
        prompt = _prompt(query, turns) if tools is None else None
        for at in range(len(found), len(found) + size):
            text = texts[at]
            found.append(None if prompt is None or text is None or more[at] else Asked(prompt, text))
    return found


def _prompt(query: str | None, turns: Sequence[Mapping[str, Any]] | None) -> tuple[Mapping[str, str], ...] | None:
    """The turns before a response; None where one of them is more than text, or none."""
    if turns is None:
        return None if query is None else ({"role": "user", "content": query},)
    if any(turn["content"] is None or turn["role"] in (None, "tool") or turn["extra"] for turn in turns):
        return None
    return tuple({"role": turn["role"], "content": turn["content"]} for turn in turns)


def _rows(root: Path, shard: StoreFile, said: _Known) -> Iterator[pa.RecordBatch]:
    """What was said of a shard's responses, as rows of REWARD_SCHEMA."""
    nothing = Scored(None, NOT_TEXT, None)
    for batch in shard_batches(root, shard, _ROWS, PAIRING_SCHEMA):
        found = [nothing if one is None else said[key(one)] for one in asked_of(batch)]
        yield with_values(
            keys_of(batch),
            pa.array([one.reward for one in found], pa.float64()),
            pa.array([one.reason for one in found], pa.string()),
            pa.array([one.truncated for one in found], pa.bool_()),
        )


def _write(
    store: Store, root: Path, manifest: Manifest, name: str, told: Mapping[str, Any], said: _Known, folder: Path | None
) -> tuple[Manifest, Floats]:
    """Write the files of rewards; the manifest that names them, and every reward."""
    counts, files, rewards = Counts(), [], []
    for shard in manifest.data_files():
        rows = list(_rows(store.path, shard, said))
        files.append(write_rewards(root, name, shard, rows, folder))
        for one in rows:
            counts.add(one)
            rewards.append(one.column("reward").drop_null().to_numpy())
    _check_unchanged(store)
    return with_rewards(manifest, name, {**told, **counts.told()}, files), np.concatenate([np.zeros(0), *rewards])


def _add(store: Store, name: str, told: Mapping[str, Any], said: _Known) -> tuple[Store, Floats]:
    """Write rewards into the store in its place.

    Old ones of this name are taken from the manifest first, so that none of the moments shows a store with files that
    are not as its manifest says. What was said of them is kept elsewhere by then.
    """
    left = without_rewards(store.manifest, name)
    with atomic_directory(store.path / REWARDS / name) as folder:
        manifest, rewards = _write(store, store.path, left, name, told, said, folder)
        if name in store.manifest.rewards:
            write_manifest(store.path, left)
    write_manifest(store.path, manifest)
    return Store.open(store.path), rewards


def _copy(store: Store, name: str, told: Mapping[str, Any], said: _Known, out: Path) -> tuple[Store, Floats]:
    """Write a store of the same shards, byte for byte, and the rewards; what is made of a release is a store again."""
    with atomic_directory(out) as root:
        files = [file for file in store.manifest.files if file.role in _OF_A_STORE and not is_of(file, name)]
        for file in files:
            (root / file.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(store.path / file.path, root / file.path)
            if sha256_of(root / file.path) != file.sha256:
                raise StoreError(store.path, f"{file.path} is not what {MANIFEST} says. Run: coigp verify")
        manifest = replace(without_rewards(store.manifest, name), files=tuple(files), release={})
        (root / "README.md").write_text(store_readme(manifest), encoding="utf-8", newline="\n")
        manifest = replace(manifest, files=(*files, describe_file(root, "README.md", "readme")))
        manifest, rewards = _write(store, root, manifest, name, told, said, None)
        write_manifest(root, manifest)
        carry_over(root, out, store.path)
    return Store.open(out), rewards


def _check_unchanged(store: Store) -> None:
    if sha256_of(store.path / MANIFEST) != store.manifest.sha256:
        raise StoreError(
            store.path, f"its {MANIFEST} was changed while it was scored: run the same again, which scores what is new"
        )
