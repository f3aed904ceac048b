"""From a published benchmark's files, or from a store's pairs, to a benchmark in our form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from coig_p.errors import UnknownNameError, UsageError
from coig_p.ingest.readers import check_input
from coig_p.pairs.config import PairConfig
from coig_p.review.joining import manifest_sha256
from coig_p.reward.bench.form import Item, check_bench_place, checked_line, item_problem, pairs_of, shown, write_bench
from coig_p.reward.bench.from_store import items_of, select_items
from coig_p.reward.bench.published import PUBLISHED, Published
from coig_p.reward.bench.rows import rows_of
from coig_p.store.store import Store

PAIRS = "pairs"
SOURCES = (*PUBLISHED, PAIRS)
_BLOCK = 1 << 20


@dataclass(frozen=True)
class ConvertConfig:
    """How a benchmark is named.

    Attributes:
        name: default that of the source.
        licence: default what the source's public card says, or of a store the one licence that all its sources have.
        keep: further columns of a published benchmark, which items then have in `meta`.
    """

    name: str | None = None
    licence: str | None = None
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class Converted:
    """A benchmark that was written.

    Attributes:
        name, preset, licence: see `Bench`.
        items, pairs: how many of each domain.
        pair_options: of a store's pairs the options in effect; None for others.
    """

    out: Path
    name: str
    preset: str
    licence: str | None
    items: dict[str, int]
    pairs: dict[str, int]
    pair_options: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        told: dict[str, Any] = {"bench": str(self.out), "name": self.name, "preset": self.preset}
        told |= {"licence": self.licence, "items": sum(self.items.values()), "pairs": sum(self.pairs.values())}
        told |= {"domains": {name: {"items": number, "pairs": self.pairs[name]} for name, number in self.items.items()}}
        return told if self.pair_options is None else told | {"pair_options": self.pair_options}


def convert(
    source: str, files: Sequence[Path], out: Path, config: ConvertConfig | None = None, *, overwrite: bool = False
) -> Converted:
    """Write a published benchmark in our form.

    Args:
        source: one of PUBLISHED.
        files: JSON, JSON Lines or Parquet, read in this order.

    Raises:
        UnknownNameError: no such source.
        UsageError: a file that is not there, a name of a column that is known anyway, or a place that is taken.
        DataError: a row, column or value that is not known; names file, line and field. Nothing is written then.
    """
    config = config or ConvertConfig()
    if source not in PUBLISHED:
        raise UnknownNameError("benchmark", source, SOURCES)
    known = PUBLISHED[source]
    for name in config.keep:
        if name in (*known.required, *known.optional):
            raise UsageError(f"--keep {name}: the column is read anyway. Leave it out")
    for path in files:
        check_input(path)
    if not files:
        raise UsageError(f"no file of {known.name}: name one")
    check_bench_place(out, overwrite)
    counted = _Counted()
    name, licence = config.name or known.name, config.licence or known.licence
    write_bench(
        out,
        counted(_items(known, files, config.keep)),
        name=name,
        preset=known.preset,
        licence=licence,
        source=_source(files),
        options={"from": source} | ({"keep": list(config.keep)} if config.keep else {}),
        overwrite=overwrite,
    )
    return Converted(out, name, known.preset, licence, dict(counted.items), dict(counted.pairs))


def _items(known: Published, files: Sequence[Path], keep: Collection[str]) -> Iterator[Item]:
    seen: dict[str, str] = {}
    for path in files:
        for row in rows_of(path):
            row.check_columns(known.required, known.optional, keep)
            item = known.item(row, keep)
            checked_line(item.to_dict(), row.where, item_problem)
            if item.id in seen:
                raise row.wrong("", f"item {shown(item.id)} stands in {seen[item.id]}, too: an id names one item")
            seen[item.id] = row.where
            yield item


def _source(files: Sequence[Path]) -> dict[str, Any]:
    """Names and hashes of what was read; of several files, one hash of all of theirs."""
    hashes = [(path.name, _sha256(path)) for path in files]
    if len(hashes) == 1:
        return {"name": hashes[0][0], "sha256": hashes[0][1]}
    both = "".join(f"{digest}  {name}\n" for name, digest in hashes)
    return {
        "name": ", ".join(name for name, _ in hashes),
        "sha256": sha256(both.encode()).hexdigest(),
        "files": [{"name": name, "sha256": digest} for name, digest in hashes],
    }


def _sha256(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as stream:
        while data := stream.read(_BLOCK):
            digest.update(data)
    return digest.hexdigest()


def convert_store(
    store: str | Path,
    out: Path,
    pairs: PairConfig | None = None,
    *,
    domains: Sequence[str] = (),
    split: str | None = None,
    config: ConvertConfig | None = None,
    overwrite: bool = False,
) -> Converted:
    """Write a store's pairs as a benchmark, an item a query.

    Args:
        domains: these alone; default all.
        split: needed where the store has several.

    Raises:
        UsageError: see `coig_p.reward.bench.from_store.select_items`; or no query has a pair, or a place that is taken.
        DataError: a query that a benchmark has no form for; names it. Nothing is written then.
    """
    config = config or ConvertConfig()
    opened = Store.open(store)
    check_bench_place(out, overwrite)
    selection, source = select_items(opened, pairs or PairConfig(), domains, split)
    counted = _Counted()
    licence = config.licence or licence_of(opened)
    in_effect = {name: value for name, value in selection.pairs.to_dict().items() if name != "format"}
    options = {"from": PAIRS, "pairs": in_effect, "domains": list(selection.domains), "split": source}
    store_name = opened.path.resolve().name
    name = config.name or store_name
    write_bench(
        out,
        _some(counted(items_of(opened, selection, source)), opened),
        name=name,
        preset=PAIRS,
        licence=licence,
        source={"name": store_name, "sha256": manifest_sha256(opened)},
        options=options,
        overwrite=overwrite,
    )
    return Converted(out, name, PAIRS, licence, dict(counted.items), dict(counted.pairs), in_effect)


def licence_of(store: Store) -> str | None:
    """The licence that all sources of a store have; None where they have several, or say none."""
    found = {one.get("license") for one in store.manifest.sources}
    return next(iter(found)) if len(found) == 1 else None


def _some(items: Iterator[Item], store: Store) -> Iterator[Item]:
    first = next(items, None)
    if first is None:
        raise UsageError(f"{store.path}: no query has a pair with these options: try a lower threshold")
    yield first
    yield from items


class _Counted:
    """Items and their pairs by domain, counted on their way."""

    def __init__(self) -> None:
        self.items: Counter[str] = Counter()
        self.pairs: Counter[str] = Counter()

    def __call__(self, items: Iterator[Item]) -> Iterator[Item]:
        for item in items:
            self.items[item.domain] += 1
            self.pairs[item.domain] += len(pairs_of(item))
            yield item
