"""Which rows of a store are taken: resolved once, from its manifest and the user's options, before any work.

A user's options hold None for what was not said. A selection holds none: the store's threshold
stands in it, every domain has its weight, and an option without effect is left out. `load_dataset`,
`coigp export` and `coigp pairs` make one first, and ask nobody else afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import pyarrow as pa

from coig_p.errors import UnknownNameError, UsageError
from coig_p.pairs.agreeing import reward_names
from coig_p.pairs.config import LATER, PairConfig, check_judges
from coig_p.pairs.options import names
from coig_p.pairs.plan import ShardConfig
from coig_p.pairs.ranked import check_ranked
from coig_p.pairs.reach import check_reachable, warn_without_rewards
from coig_p.pairs.shapes import Reader, RowForm, find_shape, held
from coig_p.pairs.splits import TRAIN, OneSplit, SplitConfig, Splits, check_split_names
from coig_p.pairs.stream import Shard, raw_tables, shard_tables
from coig_p.pairs.turns import Shape
from coig_p.pairs.weights import UNWEIGHTED, check_weights
from coig_p.schema import RAW_SCHEMA, RAW_SCHEMAS
from coig_p.store.manifest import Manifest, StoreFile, check_domain_name, check_split_name
from coig_p.store.reading import part_of

Config = PairConfig | SplitConfig | ShardConfig


def option_names(config: type[Config]) -> tuple[str, ...]:
    """The options of a config, which are keywords of load_dataset and options of the command line."""
    return tuple(option.name for option in fields(config))


@dataclass(frozen=True)
class SplitPart:
    """One split as it is given out.

    Attributes:
        name: what it is called.
        source: the store's split that its rows are in.
        only: which of them; None for all.
    """

    name: str
    source: str
    only: OneSplit | None = None


@dataclass(frozen=True)
class RawSelection:
    """Rows as they are stored.

    Attributes:
        domains: whose, in the order in which they are read.
        splits: of the store, those that are read.
        options: of `SplitConfig`, those in effect.
        schema: the columns of the rows: those of the store's schema version, or some of them.
        all_columns: those of the store's schema version.
    """

    domains: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    schema: pa.Schema = RAW_SCHEMA
    all_columns: pa.Schema = RAW_SCHEMA

    @property
    def rewards(self) -> Sequence[str]:
        """Rows as they are stored need none."""
        return ()

    @cached_property
    def cut(self) -> SplitConfig:
        """How the split train is cut."""
        return SplitConfig(**self.options)

    def files(self, manifest: Manifest, split: str) -> list[StoreFile]:
        """The shards of a split of the store, domain by domain."""
        return _files(manifest, self.domains, split)

    def parts(self, clusters: Mapping[str, str]) -> list[SplitPart]:
        """The splits that are given out (see `Selection.parts`)."""
        return _parts(self.splits, self.cut, clusters)

    def tables(
        self, shards: Iterable[Shard], split: OneSplit | None, *, streaming: bool
    ) -> Iterator[tuple[int, pa.Table]]:
        """The rows of shards (see `coig_p.pairs.stream.raw_tables`)."""
        return raw_tables(shards, self.schema, split, streaming=streaming)

    def identity(self) -> tuple[object, ...]:
        """What the rows depend on, beside the files of the store and of its clusters."""
        return ("raw", self.domains, _shown(self.options, without=("clusters",)), self.schema.names)


@dataclass(frozen=True)
class Selection:
    """Rows made of a store's pairs. Every value is in effect: none is left to a default.

    Attributes:
        domains: whose, in the order in which they are read.
        splits: of the store, those that are read.
        options: of `PairConfig`, `SplitConfig` and `ShardConfig`, those in effect; the threshold is among
            them, an option without effect (no judges named, no shuffle) is not.
        weights: of every domain, how often an epoch shows its rows.
        shape: how rows show conversations, and which columns they have.
    """

    domains: tuple[str, ...]
    splits: tuple[str, ...]
    options: Mapping[str, Any]
    weights: Mapping[str, float]
    shape: Shape

    @cached_property
    def pairs(self) -> PairConfig:
        """Which pairs, with the threshold that is in effect."""
        return PairConfig(**self._of(PairConfig))

    @cached_property
    def cut(self) -> SplitConfig:
        """How the split train is cut."""
        return SplitConfig(**self._of(SplitConfig))

    @cached_property
    def order(self) -> ShardConfig:
        """Whether rows are shuffled, and for how many readers."""
        return ShardConfig(**self._of(ShardConfig))

    @property
    def rewards(self) -> Sequence[str]:
        """Names of the rewards that shards must be read with."""
        return reward_names(self.pairs)

    @property
    def threshold(self) -> float:
        """The smallest margin of a pair, on the judges' scale."""
        return float(self.options["threshold"])

    @property
    def schema(self) -> pa.Schema:
        """The columns of the rows."""
        return self.shape.schema(self.pairs.format)

    @property
    def all_columns(self) -> pa.Schema:
        """Those that rows would have, had none been left out."""
        return replace(self.shape, columns=None).schema(self.pairs.format)

    def files(self, manifest: Manifest, split: str) -> list[StoreFile]:
        """The shards of a split of the store, domain by domain."""
        return _files(manifest, self.domains, split)

    def parts(self, clusters: Mapping[str, str]) -> list[SplitPart]:
        """The splits that are given out: the store's own, with train cut where that is asked for.

        Args:
            clusters: for queries of a near-duplicate cluster, the one that stands for it
                (see `coig_p.pairs.splits.read_clusters`); not read where nothing is cut.
        """
        return _parts(self.splits, self.cut, clusters)

    def weight(self, split: str, domain: str) -> float:
        """How often an epoch of a split shows the rows of a domain."""
        return 1.0 if split in UNWEIGHTED else self.weights[domain]

    def is_planned(self, split: str) -> bool:
        """Whether rows of a split come in another order or number than the store has them, or in other shards."""
        return self.order.plans or any(self.weight(split, domain) != 1 for domain in self.domains)

    def tables(
        self, shards: Iterable[Shard], split: OneSplit | None, *, streaming: bool
    ) -> Iterator[tuple[int, pa.Table]]:
        """The pairs of shards (see `coig_p.pairs.stream.shard_tables`)."""
        return shard_tables(shards, self.pairs, split, shape=self.shape, streaming=streaming)

    def identity(self) -> tuple[object, ...]:
        """What the rows and their order depend on, beside the files of the store and of its clusters.

        A default and the same value spelled out are equal. Where nothing is shuffled, how many read changes no row.
        """
        unread = ("clusters",) if "shuffle_seed" in self.options else ("clusters", *option_names(ShardConfig))
        shown = _shown(self.options, without=unread)
        return ("pairs", self.domains, shown, sorted(self.weights.items()), self.schema.names)

    def _of(self, config: type[Config]) -> dict[str, Any]:
        return {name: self.options[name] for name in option_names(config) if name in self.options}


def select(
    manifest: Manifest,
    pairs: PairConfig,
    *,
    domains: Sequence[str] = (),
    splits: Sequence[str] = (),
    cut: SplitConfig | None = None,
    order: ShardConfig | None = None,
    weights: Mapping[str, float] | None = None,
    form: RowForm | None = None,
    columns: Any = None,
    read: Reader | None = None,
) -> Selection:
    """Resolve what was asked for.

    Args:
        domains: these alone, in this order; default all.
        splits: of the store, these alone; default all that the domains have.
        weights: of some domains; the others weigh 1.
        form: in which rows are given out; default that of `pairs.format`.
        columns: of the rows, one name or several: these alone, in this order; default all.
        read: reads the store, to see which conversations `pairs.exclude` leaves out; default: none.

    Raises:
        UsageError: a name that the store does not have, or a value that cannot be right for it; the
            message lists what is valid. Conversations that the form cannot show, where `multi_turn` does not
            say what it gives of them.
    """
    check_judges(pairs, manifest.judges)
    chosen, split_names = _rows(manifest, domains, splits, cut)
    check_ranked(pairs, [file for split in split_names for file in _files(manifest, chosen, split)])
    given = check_weights({} if weights is None else weights, chosen)
    holds = held(manifest, chosen, split_names, pairs.exclude, read)
    shape = find_shape(holds, form or RowForm.of(pairs.format), pairs.multi_turn)
    options = _in_effect(check_reachable(pairs, manifest), cut, order)
    warn_without_rewards(pairs, manifest)
    if shape.as_messages or shape.multi_turn is None:  # what lists leave out is the shape's alone
        options.pop("multi_turn", None)
    shape = replace(shape, columns=_columns(columns, shape.schema(pairs.format)))
    return Selection(chosen, split_names, options, {domain: given.get(domain, 1.0) for domain in chosen}, shape)


def select_raw(
    manifest: Manifest,
    *,
    domains: Sequence[str] = (),
    splits: Sequence[str] = (),
    cut: SplitConfig | None = None,
    columns: Any = None,
) -> RawSelection:
    """Resolve which raw rows were asked for.

    Raises:
        UsageError: see `select`.
    """
    schema = RAW_SCHEMAS[manifest.schema_version]
    some = _columns(columns, schema)
    rows = _rows(manifest, domains, splits, cut)
    return RawSelection(*rows, _in_effect(cut), schema if some is None else part_of(schema, *some), schema)


def one_split(manifest: Manifest, named: str | None, cut: SplitConfig | None = None) -> str:
    """The one split of the store that is read: the one named, train where it is cut, else its only one.

    Raises:
        UsageError: no such split, or several and none named.
    """
    splits = manifest.splits()
    if cut is not None and cut.cuts:
        check_split_names(cut, splits)
        return TRAIN
    if named is not None:
        check_split_name(manifest, named)
        return named
    if len(splits) > 1:
        raise UsageError(f"the store has splits {', '.join(splits)}: name one with --split")
    return splits[0]


def _rows(
    manifest: Manifest, domains: Sequence[str], splits: Sequence[str], cut: SplitConfig | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    chosen = tuple(dict.fromkeys(domains)) or manifest.domains
    for domain in chosen:
        check_domain_name(manifest, domain)
    for split in splits:
        check_split_name(manifest, split)
    if cut is not None and cut.cuts:
        check_split_names(cut, manifest.splits())
    found = dict.fromkeys(str(file.split) for domain in chosen for file in manifest.data_files(domain))
    return chosen, tuple(splits) or tuple(found)


def _columns(asked: Any, schema: pa.Schema) -> tuple[str, ...] | None:
    """The columns that were asked for; None for all as they are.

    Raises:
        UsageError: none, one twice, or one that the rows do not have.
    """
    if asked is None:
        return None
    found = names("columns", asked)
    if isinstance(asked, Set):  # which has no order that a second run would repeat
        found = tuple(sorted(found, key=schema.get_field_index))
    for name in found:
        if name not in schema.names:
            raise UnknownNameError("column", name, schema.names)
        if found.count(name) > 1:
            raise UsageError(f"columns: {name} is named twice")
    return None if found == tuple(schema.names) else found


def _in_effect(*configs: Config | None) -> dict[str, Any]:
    given = [(one, getattr(config, one.name)) for config in configs if config for one in fields(config)]
    return {
        one.name: value
        for one, value in given
        if value is not None and not (one.name in LATER and value == one.default)
    }


def _files(manifest: Manifest, domains: Sequence[str], split: str) -> list[StoreFile]:
    return [file for domain in domains for file in manifest.data_files(domain, split)]


def _parts(splits: Sequence[str], cut: SplitConfig, clusters: Mapping[str, str]) -> list[SplitPart]:
    found = []
    for split in splits:
        if cut.cuts and split == TRAIN:
            dealt = Splits(cut, clusters)
            found += [SplitPart(name, TRAIN, OneSplit(dealt, name)) for name in cut.names]
        else:
            found.append(SplitPart(split, split))
    return found


def _shown(options: Mapping[str, Any], without: Sequence[str]) -> str:
    return repr(sorted((name, value) for name, value in options.items() if name not in without))
