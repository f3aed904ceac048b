"""Rewards of a model beside a store: what it gave every response, for each shard a file of its own.

    STORE/
      data/<domain>/<split>-00000-of-00003.parquet              a shard
      rewards/<name>/<domain>/<split>-00000-of-00003.parquet    a row of REWARD_SCHEMA for each response, in order

Rewards are unbounded and of a model's own scale, so they are no scores of a judge and enter no mean. A row holds for
the prompt and the text that were scored, which it names by hash: what was changed since has no reward any more.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Floats, Index, Mask
from coig_p.errors import StoreError, UnknownNameError
from coig_p.store.manifest import MANIFEST, Manifest, StoreFile
from coig_p.store.reading import name_of, open_shard

REWARDS = "rewards"
"""The role of such files, and the folder in which they lie."""

REWARD_SCHEMA = pa.schema(
    [
        ("query_id", pa.string()),
        ("model", pa.string()),
        ("sample", pa.int32()),
        ("prompt_sha256", pa.string()),
        ("text_sha256", pa.string()),
        ("reward", pa.float64()),
        ("reason", pa.string()),
        ("truncated", pa.bool_()),
    ]
)
"""One row a response: `reward` is null where there is none, and `reason` says why. `truncated` says that what was
scored was cut to fit, so the reward is of a part of it."""

OF_SHARD = "coig_p.shard_sha256"
"""What the footer of a file of rewards says: the hash of the shard that it is of."""

TEXT_CHANGED = "text-changed"
"""Why a response has no reward though one was given: its text, or what it answers, is another by now."""

COUNTED = ("responses", "scored", "truncated", "without")
"""What a manifest counts of rewards; all else that it tells of them is about who gave them."""

_PROMPT = ("query", "messages", "tools")


def check_rewards(manifest: Manifest, name: str) -> None:
    """Raise UnknownNameError where a store has no rewards of this name, StoreError where not those of every shard."""
    reward_files(manifest, name, manifest.data_files(), manifest.place or MANIFEST)


def reward_files(manifest: Manifest, name: str, shards: Sequence[StoreFile], store: object) -> list[StoreFile]:
    """The files of rewards that belong to shards, in their order.

    Args:
        shards: of role data, of this manifest.
        store: where it lies, for messages.

    Raises:
        UnknownNameError: the store has no rewards of this name.
        StoreError: one of the files is not listed, or has other rows than its shard has responses.
    """
    if name not in manifest.rewards:
        raise UnknownNameError("rewards", name, manifest.rewards)
    listed = manifest.reward_files_by_path
    found = []
    for shard in shards:
        path = reward_path(name, shard)
        file = listed.get(path)
        if file is None:
            problem = f"{MANIFEST} lists no {path}, though it has rewards called {name}. {score_again(name)}"
            raise StoreError(store, problem)
        if file.rows != shard.responses:
            problem = f"{path}: {file.rows:,} rows, {shard.responses:,} responses in {shard.path}. {score_again(name)}"
            raise StoreError(store, problem)
        found.append(file)
    return found


def listing_problems(manifest: Manifest) -> list[str]:
    """Files of rewards that a manifest should list and does not, or lists and should not; a line each."""
    wanted = {reward_path(name, shard) for name in manifest.rewards for shard in manifest.data_files()}
    listed = {file.path for file in manifest.files if file.role == REWARDS}
    absent = [f"{path}: not listed in {MANIFEST}, which names its rewards" for path in sorted(wanted - listed)]
    of_none = sorted(listed - wanted)
    return absent + [f"{path}: of no shard, or of rewards that {MANIFEST} does not name" for path in of_none]


def count_problems(manifest: Manifest, counts: Mapping[str, Counts]) -> list[str]:
    """Where a manifest counts other rewards than its files hold; a line each.

    Args:
        counts: of the rows of each name's files.
    """
    found = []
    for name, told in manifest.rewards.items():
        held = counts[name].told() if name in counts else Counts().told()
        for field_, number in held.items():
            if field_ in told and told[field_] != number:
                said = f"rewards.{name}.{field_} is {_listed(told[field_])}, and its files have {_listed(number)}"
                found.append(f"{MANIFEST}: {said}. {score_again(name)}")
    return found


def _listed(value: Any) -> str:
    if not isinstance(value, Mapping):
        return f"{value:,}"
    return ", ".join(f"{name} {count:,}" for name, count in value.items()) or "none"


def reward_path(name: str, shard: StoreFile) -> str:
    """Where in a store the rewards of a shard lie."""
    return f"{REWARDS}/{name}/{shard.path.partition('/')[2]}"


def reward_shard(file: StoreFile) -> str:
    """Where in a store the shard of a file of rewards lies."""
    return f"data/{'/'.join(file.path.split('/')[2:])}"


@dataclass
class Counts:
    """How many responses have a reward, and of those how many were cut; `without` counts, by reason, the others."""

    responses: int = 0
    scored: int = 0
    truncated: int = 0
    without: Counter[str] = field(default_factory=Counter)

    def add(self, rows: pa.RecordBatch) -> None:
        """Count rows of REWARD_SCHEMA."""
        self.responses += rows.num_rows
        self.scored += rows.num_rows - rows.column("reward").null_count
        self.truncated += pc.sum(rows.column("truncated")).as_py() or 0
        reasons = rows.column("reason").filter(pc.is_null(rows.column("reward")))
        self.without.update({one["values"]: one["counts"] for one in pc.value_counts(reasons).to_pylist()})

    def merge(self, other: Counts) -> None:
        """Add what another counted."""
        self.responses += other.responses
        self.scored += other.scored
        self.truncated += other.truncated
        self.without.update(other.without)

    def told(self) -> dict[str, Any]:
        """As a manifest has it."""
        numbers = {"responses": self.responses, "scored": self.scored, "truncated": self.truncated}
        return {**numbers, "without": dict(sorted(self.without.items()))}


class Matched(NamedTuple):
    """The rewards of a batch's responses, in their order, as `responses` of the batch flattened.

    Attributes:
        reward: NaN where there is none, for whatever reason.
        changed: whether there is none since the prompt or the text is another than was scored.
    """

    reward: Floats
    changed: Mask


@dataclass(frozen=True)
class Rewards:
    """The rewards of one shard. Make them with `read_rewards`.

    Attributes:
        path: of their file, for messages.
        rows: of REWARD_SCHEMA, in one piece.
        queries: its query_ids, each once, in order.
        ends: before which row the rows of each query end.
    """

    path: str
    rows: pa.RecordBatch
    queries: pa.StringArray
    ends: Index

    def of(self, batch: pa.RecordBatch) -> Matched:
        """The rewards of the responses of any rows of the shard, in any order.

        Prompts and texts are compared with what was scored as far as the batch has them.

        Args:
            batch: of RAW_SCHEMA or a part of it, with query_id, and of each response its model and sample.

        Raises:
            StoreError: the file is not of this shard: a query is not in it, or has other responses there.
        """
        responses = batch.column("responses")
        sizes = pc.fill_null(pc.list_value_length(responses), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        places = self._places(batch, sizes)
        found = self.rows.take(pa.array(places))
        flat = responses.flatten()
        same = np.ones(len(places), bool)
        for name in ("model", "sample"):
            same &= _equal(flat.field(name), found.column(name))
        if not same.all():
            first = int(np.argmin(same))
            at = int(np.searchsorted(np.cumsum(sizes), first, side="right"))
            raise self._other(batch, at, f"its response {first - int(sizes[:at].sum())} is of another model or sample")
        changed = np.zeros(len(places), bool)
        if all(name in batch.schema.names for name in _PROMPT):
            asked = pa.array(prompt_hashes(batch), pa.string()).take(pa.array(np.repeat(np.arange(len(sizes)), sizes)))
            changed |= ~_equal(asked, found.column("prompt_sha256"))
        if {"text", "extra"} <= {field.name for field in flat.type}:
            texts = pa.array(text_hashes(flat), pa.string())
            changed |= ~_equal(texts, found.column("text_sha256"))
        reward = found.column("reward").to_numpy(zero_copy_only=False).astype(np.float64)
        return Matched(np.where(changed, np.nan, reward), changed)

    def check_rows(self) -> None:
        """Raise StoreError where a row does not hold either a finite reward or the reason why there is none."""
        reward, reason = self.rows.column("reward"), self.rows.column("reason")
        none, why = pc.is_null(reward), pc.and_kleene(pc.is_valid(reason), pc.not_equal(reason, ""))
        finite = pc.fill_null(pc.is_finite(reward), True)
        right = pc.fill_null(pc.if_else(none, why, pc.and_(finite, pc.is_null(reason))), False)
        if pc.all(right, min_count=0).as_py():
            return
        at = pc.index(right, False).as_py()
        given, said = reward[at].as_py(), reason[at].as_py()
        problem = f"{given} is no finite number" if given is not None else "null, and no reason says why"
        if given is not None and math.isfinite(given):
            problem = f"{given}, and the reason {said!r} says that there is none"
        store, _, path = self.path.rpartition(f"/{REWARDS}/")
        query, model = self.rows.column("query_id")[at].as_py(), self.rows.column("model")[at].as_py()
        where = f"{REWARDS}/{path} row {at + 1:,} .reward (query {query!r}, model {model!r})"
        raise StoreError(store, f"{where}: {problem}. {score_again(path.partition('/')[0])}")

    def _places(self, batch: pa.RecordBatch, sizes: Index) -> Index:
        """The row of each response."""
        number = pc.index_in(batch.column("query_id"), value_set=self.queries)
        groups = pc.fill_null(number, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        begins = np.concatenate([[0], self.ends])
        held = np.where(groups < 0, 0, begins[groups + 1] - begins[groups])
        wrong = np.flatnonzero(held != sizes)
        if len(wrong):
            at = int(wrong[0])
            said = f"it has {int(sizes[at]):,} responses, and rewards of {int(held[at]):,}"
            raise self._other(batch, at, said)
        first = np.repeat(begins[groups] - (np.cumsum(sizes) - sizes), sizes)
        return np.asarray(first + np.arange(int(sizes.sum())), np.int64)

    def _other(self, batch: pa.RecordBatch, row: int, said: str) -> StoreError:
        store, _, path = self.path.rpartition(f"/{REWARDS}/")
        query = batch.column("query_id")[row].as_py()
        name = path.partition("/")[0]
        return StoreError(store, f"{REWARDS}/{path} is not of this shard: query {query!r}: {said}. {score_again(name)}")


def read_rewards(source: Any, name: str | None = None) -> Rewards:
    """The rewards of a shard, held whole in memory.

    Args:
        source: a path, or a binary file object.
        name: a path or URL that messages show; default that of `source`.

    Raises:
        StoreError: damaged, no file of rewards, or with a row that neither has a finite reward nor says why not.
        RemoteError: a file object that reads from the Hub did not get an answer.
    """
    with open_shard(source, name, schemas=(REWARD_SCHEMA,), folder=REWARDS) as shard:
        table = shard.read(use_threads=False).replace_schema_metadata(None)
        table.validate(full=True)
        if table.num_rows != shard.metadata.num_rows:
            raise ValueError(f"{table.num_rows:,} rows, {shard.metadata.num_rows:,} in its footer")
        rows = pa.RecordBatch.from_arrays([column.combine_chunks() for column in table.columns], schema=REWARD_SCHEMA)
        queries, ends = _runs(rows.column("query_id"))
        found = Rewards(name or name_of(source), rows, queries, ends)
        found.check_rows()
        return found


def _runs(ids: pa.StringArray) -> tuple[pa.StringArray, Index]:
    """Each query_id once, and before which row its rows end; ValueError where one comes back after another."""
    if ids.null_count:
        raise ValueError("a query_id is null")
    if not len(ids):
        return ids, np.zeros(0, np.int64)
    differs = pc.not_equal(ids.slice(1), ids.slice(0, len(ids) - 1)).to_numpy(zero_copy_only=False)
    ends = np.append(np.flatnonzero(differs) + 1, len(ids))
    queries = ids.take(pa.array(ends - 1))
    if pc.count_distinct(queries).as_py() != len(queries):
        raise ValueError("the rows of a query do not stand together")
    return queries, ends


def prompt_hashes(batch: pa.RecordBatch) -> list[str]:
    """The hash of what each row asks: of its query, or of its turns and tools, in hexadecimal digits."""
    messages, tools = batch.column("messages"), batch.column("tools")
    plain = pc.and_(pc.is_null(messages), pc.is_null(tools)).to_pylist()
    found = text_digests(batch.column("query"))
    for row, is_plain in enumerate(plain):
        if not is_plain:
            told = [batch.column(name)[row].as_py() for name in _PROMPT]
            found[row] = sha256(json.dumps(told, separators=(",", ":")).encode()).hexdigest()
    return found


def text_hashes(responses: pa.StructArray) -> list[str]:
    """The hash of what each response says, in hexadecimal digits: of its text, and of what else it may have.

    Args:
        responses: of a batch, flattened, with text and extra.
    """
    found = text_digests(responses.field("text"))
    extra = responses.field("extra")
    for row in np.flatnonzero(pc.is_valid(extra).to_numpy(zero_copy_only=False)).tolist():
        text = responses.field("text")[row].as_py() or ""
        found[row] = sha256(f"{text}\0{extra[row].as_py()}".encode()).hexdigest()
    return found


def text_digests(texts: pa.StringArray) -> list[str]:
    """SHA-256 of each text in hexadecimal digits; of null that of no text."""
    return [sha256(text or b"").hexdigest() for text in texts.cast(pa.binary()).to_pylist()]


def _equal(ours: pa.Array, theirs: pa.Array) -> Mask:
    """Where two columns are equal; null is equal to null."""
    both_null = pc.and_(pc.is_null(ours), pc.is_null(theirs))
    return np.asarray(pc.or_kleene(pc.equal(ours, theirs), both_null).fill_null(False).to_numpy(zero_copy_only=False))


def score_again(name: str) -> str:
    """What to do where rewards of this name are not as they should be."""
    return f"Score it again: coigp score STORE --as {name} --overwrite"
