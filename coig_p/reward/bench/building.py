"""From a pool that people judged to a benchmark on disk, with the list of queries that must not be trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coig_p.core.progress import Bar, no_bar
from coig_p.dedup.queries import DedupConfig
from coig_p.errors import DataError
from coig_p.review.folder import Review, read_key, response_sha256
from coig_p.review.joining import check_preferred, check_store, manifest_sha256
from coig_p.review.majority import Response as Shown
from coig_p.review.stopping import remember_stop
from coig_p.reward.bench.convert import PAIRS, licence_of
from coig_p.reward.bench.excluding import TRAIN_EXCLUDE, TrainExclude, train_exclude
from coig_p.reward.bench.form import Item, Response, check_bench_place, pairs_of, write_bench
from coig_p.reward.bench.from_store import by_hash, named
from coig_p.reward.bench.judged import WAITING, Judged, Query, judged
from coig_p.reward.bench.pool import OPTION
from coig_p.store.store import Store

_OF_FILES = ("calibrate", "exclude")


@dataclass(frozen=True)
class BuildConfig:
    """How a benchmark is made of what people said.

    Attributes:
        name: what it is called; default the store's.
        licence: default that of all sources of the store.
        stop_after: how many are wanted; default what the pool was drawn with.
        near: what counts as a near-duplicate of one of its queries.
    """

    name: str | None = None
    licence: str | None = None
    stop_after: int | None = None
    near: DedupConfig = field(default_factory=DedupConfig)


@dataclass(frozen=True)
class Built:
    """A benchmark that was built.

    Attributes:
        judged: the pool.
        items, pairs: of each domain.
        exclude: what must not be trained on.
        same_store: the store is the one that the pool was drawn from; where it is not, all that was shown is there.
    """

    path: Path
    name: str
    licence: str | None
    judged: Judged
    items: Mapping[str, int]
    pairs: Mapping[str, int]
    exclude: TrainExclude
    same_store: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "bench": str(self.path),
            "name": self.name,
            "licence": self.licence,
            "items": dict(self.items),
            "pairs": dict(self.pairs),
            "train_exclude": self.exclude.to_dict(),
            "same_store": self.same_store,
            "judged": self.judged.to_dict(),
        }


def standing(folder: str | Path, stop_after: int | None = None) -> Judged:
    """How far a pool has come. Where enough is accepted, pages hand out no more of it: what is in hand is finished.

    Raises:
        DataError: see `judged`.
    """
    found = judged(folder, stop_after)
    remember_stop(found.review, found.stopped)
    return found


def build_bench(
    store: Store,
    folder: str | Path,
    out: Path,
    config: BuildConfig | None = None,
    *,
    overwrite: bool = False,
    bar: Bar = no_bar,
) -> Built:
    """Write a benchmark of what people accepted, and beside it the queries that must not be trained on.

    Raises:
        DataError: the review cannot be read, the store says something else than people were shown, or nothing was
            accepted yet.
        UsageError: a place that is taken.
    """
    config = config or BuildConfig()
    check_bench_place(out, overwrite)
    found = standing(folder, config.stop_after)
    review = found.review
    accepted = found.accepted
    if not accepted:
        raise DataError(f"{review.path}: nothing was accepted yet: there is no benchmark to build. {_more(found)}")
    key = read_key(review)
    joined = check_store(review, key, store)
    check_preferred(review, key, store)
    items = [_item(one, joined.rows[one.query_id]) for one in accepted]
    with bar("Looking for near-duplicates", sum(file.rows or 0 for file in store.data_files()), "queries") as advance:
        exclude = train_exclude(store, [one.id for one in items], config.near, advance)
    store_name = store.path.resolve().name
    name, licence = config.name or store_name, config.licence or licence_of(store)
    write_bench(
        out,
        items,
        name=name,
        preset=PAIRS,
        licence=licence,
        source={"name": store_name, "sha256": manifest_sha256(store)},
        options=_options(review, found, exclude),
        beside={TRAIN_EXCLUDE: exclude.listed.content()},
        overwrite=overwrite,
    )
    domains = dict.fromkeys(one.domain for one in items)
    return Built(
        path=out,
        name=name,
        licence=licence,
        judged=found,
        items={domain: sum(one.domain == domain for one in items) for domain in domains},
        pairs={domain: sum(len(pairs_of(one)) for one in items if one.domain == domain) for domain in domains},
        exclude=exclude,
        same_store=joined.same_store,
    )


def _more(found: Judged) -> str:
    if any(one.state != WAITING for one in found.queries):
        return "See what was said with: coigp review report REVIEW"
    return "Ask people first, with: coigp review serve REVIEW"


def _options(review: Review, found: Judged, exclude: TrainExclude) -> dict[str, Any]:
    """What bench.json says of how it was built. Of files that pair options name the hash alone."""
    pairs = dict(review.pairs)
    for name in _OF_FILES:
        if isinstance(pairs.get(name), Mapping):
            pairs[name] = {key: pairs[name][key] for key in ("sha256", "method", "queries") if key in pairs[name]}
    told: dict[str, Any] = {"from": "build", "pool": review.options.get(OPTION, {}), "seed": review.seed}
    if pairs:
        told["pairs"] = pairs
    return told | {"judged": found.to_dict(), "train_exclude": exclude.to_dict()}


def _item(one: Query, row: Mapping[str, Any]) -> Item:
    """A query that was accepted as an item; its texts are the store's, which are those that people were shown."""
    shown = one.responses or one.items[0].responses
    by_place = dict(zip(shown, _responses(shown, row), strict=True))
    prompt = row["query"] or ""
    if row["messages"] is not None:
        prompt = tuple({"role": turn["role"], "content": turn["content"]} for turn in row["messages"])
    in_order = by_hash(one.query_id, by_place.values())
    if one.ranked is None:
        item = one.items[0]
        chosen, other = item.responses  # the chosen one first
        ranks = {by_place[chosen].id: 0, by_place[other].id: 1}
        meta = {"margin": item.row.margin, "judged_by": sum(not vote.skipped for vote in item.votes.values())}
        return Item(one.query_id, one.domain, prompt, in_order, tuple(ranks[each.id] for each in in_order), None, meta)
    ids = [by_place[response].id for response in one.responses]
    ranks = dict(zip(ids, one.ranked.ranks, strict=True))
    pairs = None
    if not one.ranked.implied:  # ranks alone would say more than people did
        pairs = tuple((ids[better], ids[worse]) for better, worse in one.ranked.pairs)
    meta = {"relations": one.ranked.relations, "kept": one.ranked.kept, "triples": len(one.items) - one.missing}
    return Item(one.query_id, one.domain, prompt, in_order, tuple(ranks[each.id] for each in in_order), pairs, meta)


def _responses(shown: tuple[Shown, ...], row: Mapping[str, Any]) -> Iterator[Response]:
    """The responses that were shown, with their texts."""
    texts = {
        (one["model"] or "", int(one["sample"] or 0), response_sha256(one)): (one["model"], one["text"])
        for one in row["responses"] or ()
    }
    yield from named((texts[one][0], one[1], texts[one][1]) for one in shown)
