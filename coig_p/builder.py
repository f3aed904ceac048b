"""The Hugging Face builder: a store in, pairs (or raw rows) out.

Kept thin: when streaming, datasets replaces `open` inside this module so that it reads remote
files. What pairs are is in `coig_p.pairs.kernel`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import datasets
import datasets.builder
import pyarrow as pa
import pyarrow.parquet as pq
from datasets.arrow_reader import ArrowReader
from datasets.fingerprint import Hasher

from coig_p.core.code import code_hash
from coig_p.engine.local import ahead
from coig_p.errors import StoreError, UnknownNameError, UsageError
from coig_p.pairs.config import PairConfig, check_judges
from coig_p.pairs.plan import Block, Group, ShardConfig, block_tables, count_rows, make_plan, read_groups, warn_uneven
from coig_p.pairs.splits import (
    TRAIN,
    OneSplit,
    SplitConfig,
    Splits,
    check_split_names,
    own_clusters,
    read_clusters,
)
from coig_p.pairs.stream import shard_tables
from coig_p.pairs.weights import ONCE, UNWEIGHTED, check_weights, is_partial, parse_weights, passes
from coig_p.schema import NAME, PAIR_SCHEMAS, RAW_SCHEMA, RAW_SUFFIX
from coig_p.store.locate import Location, download, is_offline, locate
from coig_p.store.manifest import Manifest, StoreFile
from coig_p.store.writing import sha256_of

ALL = "all"
_PAIR_OPTIONS, _SPLIT_OPTIONS, _SHARD_OPTIONS = (
    tuple(option.name for option in fields(config)) for config in (PairConfig, SplitConfig, ShardConfig)
)
_OPTIONS = (*_PAIR_OPTIONS, *_SPLIT_OPTIONS, *_SHARD_OPTIONS, "weights", "raw")
# datasets 5 gives tables a Key, earlier versions any value.
_Key = getattr(datasets.builder, "Key", lambda shard, table: (shard, table))


@dataclass
class CoigPConfig(datasets.BuilderConfig):  # type: ignore[misc]
    """One config of one store.

    Attributes:
        pairs: which pairs, with the threshold that is in effect; None for raw rows.
        domains: the domains it spans, one or, for "all", every one.
        location: the store.
        splits: how the split train is cut.
        order: whether rows are shuffled, and for how many readers.
        weights: how often an epoch shows each domain; those not named once.
    """

    pairs: PairConfig | None = None
    domains: tuple[str, ...] = ()
    location: Location | None = None
    splits: SplitConfig = field(default_factory=SplitConfig)
    order: ShardConfig = field(default_factory=ShardConfig)
    weights: Mapping[str, float] = field(default_factory=dict)

    def identity(self) -> tuple[object, ...]:
        """What the rows and their order depend on, beside the files."""
        order = self.order.shuffle_seed is not None and self.order
        return (repr(self.pairs), self.domains, repr(self.splits), repr(order), sorted(self.weights.items()))


def config_names(manifest: Manifest) -> list[str]:
    """Every name that load_dataset takes for a store: its domains, "all", and each with -raw."""
    pairs = [*manifest.domains, ALL]
    return pairs + [name + RAW_SUFFIX for name in pairs]


def make_config(location: Location, name: str | None, options: dict[str, Any]) -> CoigPConfig:
    """The config for a name and keywords of load_dataset.

    Raises:
        UsageError: an unknown name, option, judge or value; the message lists the valid ones.
    """
    names = config_names(location.manifest)
    if name is None:
        raise UsageError(
            f"no config named. Valid: {', '.join(names)}. For instance load_dataset({NAME!r}, {names[0]!r})"
        )
    if name not in names:
        raise UnknownNameError("config", name, names)
    options = {option: value for option, value in options.items() if value is not None}
    for option in options:
        if option not in _OPTIONS:
            raise UnknownNameError("option", option, (*_OPTIONS, "data_dir"))
    raw = options.pop("raw", name.endswith(RAW_SUFFIX))
    if not isinstance(raw, bool):
        raise UsageError(f"raw={raw!r}: use True or False")
    if name.endswith(RAW_SUFFIX) and not raw:
        raise UsageError(f"config {name!r} is raw: leave out raw=False, or the {RAW_SUFFIX}")
    domain = name.removesuffix(RAW_SUFFIX)
    splits = SplitConfig(**{option: options.pop(option) for option in _SPLIT_OPTIONS if option in options})
    if splits.cuts:
        check_split_names(splits, location.manifest.splits())
    pairs, order, weights = None, ShardConfig(), {}
    if not raw:
        order = ShardConfig(**{option: options.pop(option) for option in _SHARD_OPTIONS if option in options})
        weights = options.pop("weights", {})
        if weights and domain != ALL:
            raise UsageError(f"weights= mixes domains: load the config {ALL!r}, not {name!r}")
        weights = check_weights(
            parse_weights(weights) if isinstance(weights, str) else weights, location.manifest.domains
        )
        pairs = PairConfig(**options).with_default_threshold(location.manifest.default_threshold)
        check_judges(pairs, location.manifest.judges)
    elif options:
        raise UsageError(f"raw rows are not paired: {', '.join(options)} would have no effect. Leave it out, or raw")
    return CoigPConfig(
        name=domain + RAW_SUFFIX if raw else domain,
        pairs=pairs,
        domains=location.manifest.domains if domain == ALL else (domain,),
        location=location,
        splits=splits,
        order=order,
        weights=weights,
    )


def _clusters_digest(splits: SplitConfig, manifest: Manifest) -> str:
    if splits.clusters is None:
        own = own_clusters(manifest)
        return own.sha256 if own else ""
    try:
        return sha256_of(Path(splits.clusters))
    except OSError as error:
        raise UsageError(f"clusters={splits.clusters!r}: {error.strerror}") from None


def _opened(file: str) -> Any:
    """Open a shard. Here, where streaming replaces `open` by one that reads remote files."""
    return open(file, "rb")


class CoigP(datasets.ArrowBasedBuilder):  # type: ignore[misc]
    """Builds one config of a store, map-style or streaming."""

    BUILDER_CONFIG_CLASS = CoigPConfig

    def _create_builder_config(
        self, config_name: str | None = None, custom_features: Any = None, **options: Any
    ) -> tuple[CoigPConfig, str]:
        options.pop("config_id", None)
        if options.pop("data_files", None):
            raise UsageError("data_files= is not for coig-p: name a whole store with data_dir=")
        location = locate(options.pop("data_dir", None), self.token)
        config = make_config(location, config_name, options)
        # The id names the cache directory: whatever changes the rows must change it, and values
        # in effect count, not keywords, so that a default and the same value spelled out share.
        files = [file for domain in config.domains for file in location.manifest.data_files(domain)]
        content = [location.fingerprint(file) for file in files]
        if config.splits.cuts:
            content.append((_clusters_digest(config.splits, location.manifest),))
        digest = Hasher.hash((config.identity(), content, custom_features))
        return config, f"{config.name}-{digest}"

    def _info(self) -> datasets.DatasetInfo:
        schema = RAW_SCHEMA if self.config.pairs is None else PAIR_SCHEMAS[self.config.pairs.format]
        return datasets.DatasetInfo(features=datasets.Features.from_arrow_schema(schema))

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        location = self.config.location
        by_split: dict[str, list[StoreFile]] = {}
        for domain in self.config.domains:
            for file in location.manifest.data_files(domain):
                by_split.setdefault(str(file.split), []).append(file)
        if not by_split:
            raise StoreError(location.root, f"no shards for {self.config.name}")
        parts: list[tuple[str, list[StoreFile], OneSplit | None]] = []
        for name, files in by_split.items():
            if self.config.splits.cuts and name == TRAIN:
                splits = Splits(self.config.splits, self._clusters())
                parts += [(one, files, OneSplit(splits, one)) for one in self.config.splits.names]
            else:
                parts.append((name, files, None))
        return [
            datasets.SplitGenerator(name=name, gen_kwargs=self._gen_kwargs(dl_manager, name, files, split))
            for name, files, split in parts
        ]

    def _gen_kwargs(self, dl_manager: Any, name: str, files: list[StoreFile], split: OneSplit | None) -> dict[str, Any]:
        """What `_generate_tables` is called with: shards that follow the store's files, or a plan."""
        location, config, streaming = self.config.location, self.config, dl_manager.is_streaming
        if streaming and not is_offline():
            paths = [location.url(file) for file in files]
        else:
            paths = download(location, files, self.token)
        weights = {} if name in UNWEIGHTED else config.weights
        found: dict[str, Any]
        if config.order.plans or any(weight != 1 for weight in weights.values()):
            domains = [str(file.domain) for file in files]
            groups = self._groups(paths, domains, weights, split)
            # Every split is planned whichever is asked for: a small test split must not keep train from loading.
            shards = make_plan(groups, config.order, len(files), may_be_few=name in UNWEIGHTED)
            number, found = len(shards), {"shards": shards}
        else:
            number, found = len(files), {"files": paths, "row_groups": [None] * len(files)}
        if streaming and number >= config.order.readers:  # else a small split, of which ranks take rows in turn
            warn_uneven(number, config.order)
        return {**found, "split": split, "streaming": streaming}

    def _groups(
        self, paths: list[str], domains: list[str], weights: Mapping[str, float], split: OneSplit | None
    ) -> list[Group]:
        """The row groups of the files, domain by domain, as often as the weights say."""
        with ThreadPoolExecutor(8) as threads:  # a footer of a remote file is a round trip
            once = list(threads.map(lambda path: read_groups(path, _opened, ONCE[0], split), paths))
        found = []
        for domain in dict.fromkeys(domains):
            own = [group for groups, of in zip(once, domains, strict=True) if of == domain for group in groups]
            for one in passes(weights.get(domain, 1.0)):
                shown = [group._replace(shown=one) for group in own]
                found += count_rows(shown, _opened, self.config.pairs, split) if is_partial(one) else shown
        return found

    def _clusters(self) -> dict[str, str]:
        """For each query of a known near-duplicate cluster, the one that stands for it."""
        if self.config.splits.clusters is not None:
            return read_clusters(self.config.splits.clusters)
        own = own_clusters(self.config.location.manifest)
        return read_clusters(download(self.config.location, [own], self.token)[0]) if own else {}

    def _generate_tables(
        self,
        *,
        files: Sequence[str] = (),
        row_groups: Sequence[Sequence[int] | None] = (),
        shards: Sequence[Sequence[Block]] = (),
        split: OneSplit | None,
        streaming: bool,
    ) -> Iterator[tuple[Any, pa.Table]]:
        for shard, (file, groups) in enumerate(zip(files, row_groups, strict=True)):
            with open(file, "rb") as stream:
                tables = shard_tables(stream, self.config.pairs, groups, split, streaming=streaming)
                for number, table in enumerate(tables):
                    yield _Key(shard, number), table
        seed = self.config.order.shuffle_seed
        for shard, blocks in enumerate(shards):
            made = (table for block in blocks for table in block_tables(block, _opened, self.config.pairs, split, seed))
            for number, table in enumerate(ahead(made)):
                yield _Key(shard, number), table

    def _generate_more_gen_kwargs(
        self,
        *,
        files: Sequence[str] = (),
        row_groups: Sequence[Sequence[int] | None] = (),
        shards: Sequence[Sequence[Block]] = (),
        **others: Any,
    ) -> Iterator[dict[str, Any]]:
        """For IterableDataset.reshard: one shard per row group, or per block of a plan."""
        for file, groups in zip(files, row_groups, strict=True):
            with open(file, "rb") as stream:
                all_groups = range(pq.ParquetFile(stream).num_row_groups) if groups is None else groups
            yield {"files": [file] * len(all_groups), "row_groups": [[group] for group in all_groups], **others}
        for blocks in shards:
            yield {"shards": [[block] for block in blocks], **others}

    def _as_dataset(self, split: Any = datasets.Split.TRAIN, in_memory: bool = False) -> datasets.Dataset:
        # Stock code refuses a split without rows; no pair at this threshold is a fair answer.
        reader = ArrowReader(self._output_dir, self.info)
        if reader.get_file_instructions(self.dataset_name, split, self.info.splits.values()):
            return super()._as_dataset(split, in_memory)
        features = self.info.features
        name = datasets.NamedSplit(str(split)) if not isinstance(split, datasets.ReadInstruction) else None
        return datasets.Dataset.from_dict({column: [] for column in features}, features=features, split=name)


def load_dataset(
    path: str = NAME,
    name: str | None = None,
    *,
    data_dir: str | None = None,
    split: Any = None,
    cache_dir: str | None = None,
    features: datasets.Features | None = None,
    download_config: datasets.DownloadConfig | None = None,
    download_mode: Any = None,
    verification_mode: Any = None,
    keep_in_memory: bool | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    streaming: bool = False,
    num_proc: int | None = None,
    storage_options: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    """`datasets.load_dataset("coig-p", ...)` without touching datasets' registry.

    Arguments are those of `datasets.load_dataset`, then those of `PairConfig`, `SplitConfig` and
    `ShardConfig`, `weights` and `raw`. The
    leading "coig-p" may be left out: `coig_p.load_dataset("math", threshold=2)`.

    Args:
        revision: of a repository named by `data_dir`.

    Returns:
        A Dataset or IterableDataset, or a dict of them where no split is named.

    Raises:
        UsageError: an unknown config, option or value.
        StoreError, RemoteError: the store could not be read.
    """
    if path != NAME:
        if name is not None:
            raise UsageError(
                f"to load from {path!r}, pass it as data_dir: load_dataset({NAME!r}, {name!r}, data_dir=...)"
            )
        name = path
    if streaming and num_proc is not None:
        raise UsageError("num_proc does not work with streaming=True: use the workers of a DataLoader")
    if revision is not None:
        if data_dir is None:
            raise UsageError("revision= is of a repository: name it with data_dir=")
        data_dir = f"{data_dir}@{revision}"
    if download_config is not None and token is None:
        token = download_config.token
    builder = CoigP(
        cache_dir=cache_dir,
        dataset_name=NAME,
        config_name=name,
        hash=code_hash(),
        features=features,
        token=token,
        data_dir=data_dir,
        storage_options=storage_options,
        **options,
    )
    if streaming:
        return builder.as_streaming_dataset(split=split)
    builder.download_and_prepare(
        download_config=download_config,
        download_mode=download_mode,
        verification_mode=verification_mode,
        num_proc=num_proc,
        storage_options=storage_options,
    )
    if keep_in_memory is None:
        keep_in_memory = datasets.utils.info_utils.is_small_dataset(builder.info.dataset_size)
    return builder.as_dataset(split=split, in_memory=keep_in_memory)
