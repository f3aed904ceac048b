"""The Hugging Face builder: a store in, pairs (or raw rows) out.

Kept thin: when streaming, datasets replaces `open` inside this module so that it reads remote
files. What pairs are is in `coig_p.pairs`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import datasets
import datasets.builder
import pyarrow as pa
import pyarrow.parquet as pq
from datasets.arrow_reader import ArrowReader
from datasets.fingerprint import Hasher

from coig_p.errors import StoreError, UnknownNameError, UsageError
from coig_p.locate import Location, download, is_offline, locate
from coig_p.manifest import Manifest, StoreFile
from coig_p.pairs import PairConfig, check_judges
from coig_p.registration import CODE_HASH, NAME
from coig_p.schema import PAIR_SCHEMAS, RAW_SCHEMA, RAW_SUFFIX
from coig_p.shards import shard_tables

ALL = "all"
_PAIR_OPTIONS = tuple(option.name for option in fields(PairConfig))
# datasets 5 gives tables a Key, earlier versions any value.
_Key = getattr(datasets.builder, "Key", lambda shard, table: (shard, table))


@dataclass
class CoigPConfig(datasets.BuilderConfig):  # type: ignore[misc]
    """One config of one store.

    Attributes:
        pairs: which pairs, with the threshold that is in effect; None for raw rows.
        domains: the domains it spans, one or, for "all", every one.
        location: the store.
    """

    pairs: PairConfig | None = None
    domains: tuple[str, ...] = ()
    location: Location | None = None


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
        if option != "raw" and option not in _PAIR_OPTIONS:
            raise UnknownNameError("option", option, (*_PAIR_OPTIONS, "raw", "data_dir"))
    raw = options.pop("raw", name.endswith(RAW_SUFFIX))
    if not isinstance(raw, bool):
        raise UsageError(f"raw={raw!r}: use True or False")
    if name.endswith(RAW_SUFFIX) and not raw:
        raise UsageError(f"config {name!r} is raw: leave out raw=False, or the {RAW_SUFFIX}")
    domain = name.removesuffix(RAW_SUFFIX)
    pairs = None
    if not raw:
        pairs = PairConfig(**options).with_default_threshold(location.manifest.default_threshold)
        check_judges(pairs, location.manifest.judges)
    elif options:
        raise UsageError(f"raw rows are not paired: {', '.join(options)} would have no effect. Leave it out, or raw")
    return CoigPConfig(
        name=domain + RAW_SUFFIX if raw else domain,
        pairs=pairs,
        domains=location.manifest.domains if domain == ALL else (domain,),
        location=location,
    )


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
        digest = Hasher.hash((repr(config.pairs), config.domains, content, custom_features))
        return config, f"{config.name}-{digest}"

    def _info(self) -> datasets.DatasetInfo:
        schema = RAW_SCHEMA if self.config.pairs is None else PAIR_SCHEMAS[self.config.pairs.format]
        return datasets.DatasetInfo(features=datasets.Features.from_arrow_schema(schema))

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        location = self.config.location
        by_split: dict[str, list[StoreFile]] = {}
        for domain in self.config.domains:
            for file in location.manifest.data_files(domain):
                by_split.setdefault(file.split, []).append(file)
        if not by_split:
            raise StoreError(location.root, f"no shards for {self.config.name}")
        stream_remote = dl_manager.is_streaming and not is_offline()
        return [
            datasets.SplitGenerator(
                name=split,
                gen_kwargs={
                    "files": [location.url(file) for file in files]
                    if stream_remote
                    else download(location, files, self.token),
                    "row_groups": [None] * len(files),
                    "streaming": dl_manager.is_streaming,
                },
            )
            for split, files in by_split.items()
        ]

    def _generate_tables(
        self, files: list[str], row_groups: list[Sequence[int] | None], streaming: bool
    ) -> Iterator[tuple[Any, pa.Table]]:
        for shard, (file, groups) in enumerate(zip(files, row_groups, strict=True)):
            with open(file, "rb") as stream:
                for number, table in enumerate(shard_tables(stream, self.config.pairs, groups, streaming=streaming)):
                    yield _Key(shard, number), table

    def _generate_more_gen_kwargs(
        self, files: list[str], row_groups: list[Sequence[int] | None], streaming: bool
    ) -> Iterator[dict[str, Any]]:
        """For IterableDataset.reshard: one shard per row group."""
        for file, groups in zip(files, row_groups, strict=True):
            with open(file, "rb") as stream:
                all_groups = range(pq.ParquetFile(stream).num_row_groups) if groups is None else groups
            yield {
                "files": [file] * len(all_groups),
                "row_groups": [[group] for group in all_groups],
                "streaming": streaming,
            }

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

    Arguments are those of `datasets.load_dataset`, then those of `PairConfig` and `raw`. The
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
        hash=CODE_HASH,
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
