"""By what rows and all that is in them are known again in another store: 128-bit keys, wherever a row stands.

    query       query_id
    response    its query, model, text and extra; not its place or its sample, which others may shift
    score       its response, judge and dimension
    comparison  its query, both responses in the order shown, judge and dimension
    pair        its two responses in either order

Beside its key each has a value of 64 bits, what is said of it: of a score its number, of a pair which response is
chosen. Texts go once they are hashed. A key is an (N, 2) array; two halves of BLAKE2b, mixed apart from each other.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Floats, Index, group_starts, mix
from coig_p.pairs.kernel import Pairs
from coig_p.pairs.labels import Names, Responses

Keys = npt.NDArray[np.uint64]
Groups = npt.NDArray[np.int32]
UNITS = ("queries", "places", "responses", "scores", "comparisons", "rationales", "pairs")
_STEP = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)  # odd, and another one for each half
_CONTENT = ("query", "messages", "tools", "source", "meta")


class Entries(NamedTuple):
    """N of one kind.

    Attributes:
        key: (N, 2), by which it is known.
        value: N, what is said of it.
        group: N, by whom, as a place among names; -1 for nobody.
    """

    key: Keys
    value: Keys
    group: Groups

    @classmethod
    def of(cls, key: Keys, value: Keys | None = None, group: Index | Groups | None = None) -> Entries:
        """Entries that say nothing, or are by nobody, where that is not given."""
        none = np.full(len(key), -1, np.int32)
        group = none if group is None else np.asarray(group, np.int32)
        return cls(key, np.zeros(len(key), np.uint64) if value is None else value, group)

    @classmethod
    def joined(cls, parts: Sequence[Entries]) -> Entries:
        """All of them."""
        empty = cls.of(np.zeros((0, 2), np.uint64))
        return cls(*(np.concatenate(column) for column in zip(empty, *parts, strict=True)))


NOTHING = Entries.of(np.zeros((0, 2), np.uint64))


def count_differences(before: Entries, after: Entries, groups: int = 0) -> Index:
    """How entries of one side are found on the other; equal ones as often as both sides have them.

    Of those with one key, equal values belong together first, then others, which are changed.

    Returns:
        (groups + 1, 5) int64: before, after, gained, lost, changed, for each group and, last, for all.
    """
    both = Entries.joined([before, after])
    order = np.lexsort((both.value, both.key[:, 1], both.key[:, 0]))
    key, value = both.key[order], both.value[order]
    is_after = (order >= len(before.key)).astype(np.int64)
    found = np.zeros((groups + 1, 5), np.int64)
    if not len(order):
        return found
    equal = group_starts(key[:, 0], key[:, 1], value)
    here = np.add.reduceat(is_after, equal)
    there = np.add.reduceat(1 - is_after, equal)
    of_key = group_starts(key[equal, 0], key[equal, 1])
    kept = np.add.reduceat(np.minimum(here, there), of_key)
    old, new = np.add.reduceat(there, of_key), np.add.reduceat(here, of_key)
    changed = np.minimum(old, new) - kept
    counts = (old, new, new - kept - changed, old - kept - changed, changed)
    group = both.group[order][equal][of_key]
    for at, count in enumerate(counts):
        named = group >= 0
        found[:groups, at] = np.bincount(group[named], count[named], groups)[:groups]
        found[groups, at] = count.sum()
    return found


@dataclass(frozen=True)
class Identities:
    """Entries of a batch by unit of UNITS, and the names that their groups are of.

    Attributes:
        responses: (R, 2), the key of each response.
    """

    entries: dict[str, Entries]
    models: list[str]
    judges: list[str]
    responses: Keys


def identities(batch: pa.RecordBatch, responses: Responses, place: str) -> Identities:
    """What a batch of RAW_SCHEMA is known by, its pairs left out.

    Args:
        place: its domain and split.
    """
    query = hashes(batch.column("query_id"))
    extra = hashes(responses.extra) if responses.extra is not None else np.zeros((len(responses.query), 2), np.uint64)
    of_model = _of_names(responses.model)
    key = joined(joined(joined(query[responses.query], of_model), hashes(responses.text)), extra)
    scores = pc.struct_field(batch.column("responses").flatten(), "scores").flatten()
    of_judge = _of_names(responses.judge)
    score = joined(joined(key[responses.score_of], of_judge), _of_names(Names.of(_field(scores, "dimension"))))
    compared, judge, numbers, reasons = _comparisons(batch, responses, query, key)
    names = list(dict.fromkeys([*responses.judge.names, *judge.names]))
    places = {name: at for at, name in enumerate(names)}
    scored_by = responses.judge.each([places[name] for name in responses.judge.names], -1)
    compared_by = judge.each([places[name] for name in judge.names], -1)
    said = _field(scores, "rationale")
    entries = {
        "queries": Entries.of(query, contents(batch)),
        "places": Entries.of(query, np.full(len(query), _hash(place.encode())[0], np.uint64)),
        "responses": Entries.of(key, group=responses.model.code),
        "scores": Entries.of(score, bits(responses.score), scored_by),
        "comparisons": Entries.of(compared, numbers, compared_by),
        "rationales": Entries.joined([_rationales(score, said), _rationales(compared, reasons)]),
    }
    return Identities(entries, responses.model.names, names, key)


def pair_entries(pairs: Pairs, responses: Keys) -> Entries:
    """Pairs by the keys of their responses: one key in either order, and the value says which is chosen."""
    chosen, rejected = responses[pairs.chosen], responses[pairs.rejected]
    swapped = (chosen[:, 0] > rejected[:, 0]) | ((chosen[:, 0] == rejected[:, 0]) & (chosen[:, 1] > rejected[:, 1]))
    low, high = np.where(swapped[:, None], rejected, chosen), np.where(swapped[:, None], chosen, rejected)
    return Entries.of(joined(low, high), swapped.astype(np.uint64))


def count_rationales(batch: pa.RecordBatch) -> int:
    """How many scores and comparisons of a batch have a rationale."""
    scores = pc.struct_field(batch.column("responses").flatten(), "scores").flatten()
    return sum(
        len(said) - said.null_count
        for said in (_field(scores, "rationale"), _field(batch.column("comparisons").flatten(), "rationale"))
    )


def hashes(text: pa.StringArray) -> Keys:
    """(N, 2): the hash of each text, zeros where there is none."""
    _, offsets, data = text.buffers()
    found = np.zeros((len(text), 2), np.uint64)
    if text.null_count == len(text) or offsets is None:
        return found
    ends = np.frombuffer(offsets, np.int32)[text.offset : text.offset + len(text) + 1].tolist()
    said = memoryview(data) if data is not None else memoryview(b"")
    joint = b"".join([blake2b(said[begin:end], digest_size=16).digest() for begin, end in pairwise(ends)])
    found[:] = np.frombuffer(joint, "<u8").reshape(-1, 2)
    if text.null_count:
        found[text.is_null().to_numpy(zero_copy_only=False)] = 0
    return found


def contents(batch: pa.RecordBatch) -> Keys:
    """What each query says beside its id: 64 bits of all its columns but those of responses."""
    rows = batch.select(list(_CONTENT)).to_pylist()
    joint = b"".join(
        blake2b(json.dumps(list(row.values()), ensure_ascii=False).encode(), digest_size=8).digest() for row in rows
    )
    return np.frombuffer(joint, "<u8").astype(np.uint64)


def bits(numbers: Floats) -> Keys:
    """Each number as its bits: 0 has one sign, and no number is one."""
    plain = np.where(np.isnan(numbers), np.nan, numbers + 0.0)
    return np.ascontiguousarray(plain, np.float64).view(np.uint64)


def joined(first: Keys, second: Keys) -> Keys:
    """(N, 2): the key of two after each other."""
    return mix(mix(first + _STEP) ^ (second + _STEP))


def _comparisons(
    batch: pa.RecordBatch, responses: Responses, query: Keys, key: Keys
) -> tuple[Keys, Names, Keys, pa.StringArray]:
    """Key, judge, numbers and rationale of each comparison."""
    column = batch.column("comparisons")
    sizes = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    row, comparisons = np.repeat(np.arange(len(column)), sizes), column.flatten()
    begin = np.searchsorted(responses.query, row)
    size = np.searchsorted(responses.query, row, side="right") - begin
    sides = []
    for name in ("first", "second"):
        at = pc.fill_null(_field(comparisons, name), -1).to_numpy(zero_copy_only=False).astype(np.int64)
        there = (at >= 0) & (at < size)
        # One that the query does not have is known by its number.
        side = np.stack([at.astype(np.uint64), np.full(len(at), ~np.uint64(0))], 1)
        side[there] = key[(begin + at)[there]]
        sides.append(side)
    judge = Names.of(_field(comparisons, "judge"))
    found = joined(joined(joined(query[row], sides[0]), sides[1]), _of_names(judge))
    found = joined(found, _of_names(Names.of(_field(comparisons, "dimension"))))
    first, second = (
        bits(np.asarray(_field(comparisons, name).to_numpy(zero_copy_only=False), np.float64))
        for name in ("first_score", "second_score")
    )
    return found, judge, mix(mix(first + _STEP[0]) ^ second), _field(comparisons, "rationale")


def _rationales(key: Keys, said: pa.StringArray) -> Entries:
    there = np.flatnonzero(said.is_valid().to_numpy(zero_copy_only=False))
    return Entries.of(key[there], hashes(said.take(pa.array(there)))[:, 0])


def _of_names(names: Names) -> Keys:
    known = np.array([*map(_of_name, names.names), (0, 0)], np.uint64)
    return known[names.code]


@lru_cache(maxsize=65536)
def _of_name(name: str) -> tuple[int, int]:
    return _hash(name.encode())


def _hash(data: bytes) -> tuple[int, int]:
    digest = blake2b(data, digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def _field(values: pa.StructArray, name: str) -> pa.Array:
    """A field of structs, null where the struct is."""
    return pc.struct_field(values, name)
