"""The Hugging Face builder: a store in, pairs (or raw rows) out. What pairs are is in `coig_p.pairs.kernel`."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import datasets
import datasets.builder
import pyarrow as pa
from datasets import DownloadConfig
from datasets.arrow_reader import ArrowReader
from datasets.fingerprint import Hasher
from datasets.utils.file_utils import xopen

from coig_p.configs import CoigPConfig, cache_key, clusters_digest, make_config
from coig_p.core.code_hash import code_hash
from coig_p.core.objects import as_path, is_url
from coig_p.engine.ahead import ahead
from coig_p.errors import StoreError, UsageError
from coig_p.features import cast, check_features
from coig_p.pairs.calibration import find_calibration
from coig_p.pairs.exclusion import find_exclusion
from coig_p.pairs.plan import (
    Block,
    Group,
    ShardConfig,
    block_rows,
    count_rows,
    make_plan,
    read_all_groups,
    read_group,
    warn_uneven,
)
from coig_p.pairs.selection import Selection, SplitPart
from coig_p.pairs.splits import OneSplit, own_clusters, read_clusters
from coig_p.pairs.stream import Shard
from coig_p.pairs.weights import ONCE, UNWEIGHTED, is_partial, passes
from coig_p.schema import NAME
from coig_p.store.fetching import opened_in_turn
from coig_p.store.locate import Location, download, is_offline, locate, mirror_asked, without_token
from coig_p.store.manifest import StoreFile
from coig_p.store.reading import open_shard, shard_error, takes_most
from coig_p.store.rewarded import rewards_beside
from coig_p.streams import Tables, with_epochs
from coig_p.views.building import LazyBuilder
from coig_p.views.checking import works
from coig_p.views.texts import Texts

_logger = logging.getLogger("coig_p")
FOUND = "_found"  # under this name registration hands on the Location that it looked up
# In a builder's module datasets replaces `open` and other readers by its own, for remote files, and imports scipy.io to
# do so, which takes as long as a small store does. A module that says this was done is left as it is.
_patched_for_streaming = True
# datasets 5 gives tables a Key, earlier versions any value.
_Key = getattr(datasets.builder, "Key", lambda shard, table: (shard, table))


class CoigP(LazyBuilder):
    """Builds one config of a store, map-style or streaming."""

    BUILDER_CONFIG_CLASS = CoigPConfig
    _schema_of: tuple[datasets.Features, pa.Schema] | None = None

    def __init__(self, *args: Any, features: datasets.Features | None = None, **options: Any) -> None:
        super().__init__(*args, features=features, **options)
        if features is not None:
            self.info.features = self._checked(self.config, features)

    def _create_builder_config(
        self, config_name: str | None = None, custom_features: Any = None, **options: Any
    ) -> tuple[CoigPConfig, str]:
        options.pop("config_id", None)
        if options.pop("data_files", None):
            raise UsageError(
                "data_files= is not for coig-p: name a whole store with data_dir=. Where none was given, datasets.load "
                "was reloaded, which undoes what importing coig_p did: importlib.reload(coig_p) does it again"
            )
        data_dir, found = options.pop("data_dir", None), options.pop(FOUND, None)
        location = found or locate(data_dir, self.token, self.storage_options)
        self._send_mirrors_no_token(location)
        if options.get("calibrate") is not None:
            options["calibrate"] = find_calibration(options["calibrate"], location, self.token)
        if options.get("exclude") is not None:
            options["exclude"] = find_exclusion(options["exclude"], location, self.token)
        config = make_config(location, config_name, options, self.token)
        if custom_features is not None:
            custom_features = self._checked(config, custom_features)
        # It names the cache directory. Hasher sorts what is in features, whose order is that of the columns.
        depends, self._content = cache_key(config, location)
        key: tuple[object, ...] = (depends, self._content, custom_features, list(custom_features or ()))
        config.lazy = config.lazy and works()
        if config.lazy:
            key += ("lazy",)
        return config, f"{config.name}-{Hasher.hash(key)}"

    def _send_mirrors_no_token(self, location: Location) -> None:
        if not location.is_object and mirror_asked(self.storage_options):
            self.token: str | bool | None = False
            self.storage_options: dict[str, Any] = without_token(self.storage_options)

    @staticmethod
    def _checked(config: CoigPConfig, features: Any) -> datasets.Features:
        return check_features(features, config.selection.schema, config.selection.all_columns)

    def opened(self, file: str) -> Any:
        """Open a shard, a local one or a remote one."""
        if "://" not in file or is_url(file):  # xopen looks at every part of a URL
            try:
                return as_path(file, self.storage_options).open("rb")
            except OSError as error:
                raise shard_error(file, error) from None
        return xopen(file, "rb", download_config=DownloadConfig(token=self.token, storage_options=self.storage_options))

    def check_unchanged(self) -> None:
        """Raise StoreError where files of the store are not those that it was opened with: rows may be of both."""
        location = self.config.location
        if cache_key(self.config, location)[1] != self._content:
            raise StoreError(location.root, "its files were changed while they were read. Load again")

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=datasets.Features.from_arrow_schema(self.config.selection.schema))

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        selection = self.config.selection
        if not selection.splits:
            raise StoreError(self.config.location.root, f"no shards for {self.config.name}")
        if self.config.lazy and not dl_manager.is_streaming:
            return self._lazy_splits(dl_manager, self._clusters())
        return [
            datasets.SplitGenerator(name=part.name, gen_kwargs=self._gen_kwargs(dl_manager, part))
            for part in selection.parts(self._clusters())
        ]

    def _gen_kwargs(self, dl_manager: Any, part: SplitPart) -> dict[str, Any]:
        """What `_generate_tables` is called with: shards that follow the store's files, or a plan."""
        location, selection, streaming = self.config.location, self.config.selection, dl_manager.is_streaming
        files = selection.files(location.manifest, part.source)
        if streaming and not is_offline():
            paths = [location.url(file) for file in files]
        else:
            paths = download(location, [*files, *self._rewards(files)], self.token)[: len(files)]
        found: dict[str, Any]
        if isinstance(selection, Selection) and selection.is_planned(part.name):
            groups = self._groups(paths, files, part)
            # Every split is planned whichever is asked for: a small test split must not keep train from loading.
            # Map-style and unshuffled, shards change no row, and rows that are prepared already are not planned again.
            counts = streaming or selection.order.shuffle_seed is not None
            few = part.name in UNWEIGHTED or not counts
            shards = make_plan(groups, selection.order, len(files), may_be_few=few)
            number, found = len(shards), {"shards": shards}
            if streaming and selection.order.shuffle_seed is not None:
                found["plan"] = partial(make_plan, groups, selection.order, len(files), may_be_few=few)
        else:
            number, found = len(files), {"files": paths, "row_groups": [None] * len(files)}
        order = selection.order if isinstance(selection, Selection) else ShardConfig()
        if streaming and number >= order.readers:  # else a small split, of which ranks take rows in turn
            warn_uneven(number, order)
        return {**found, "split": part.only, "streaming": streaming}

    def _groups(self, paths: list[str], files: list[StoreFile], part: SplitPart) -> list[Group]:
        """The row groups of the files, domain by domain, as often as the weights say."""
        selection = self.config.selection
        once = read_all_groups(paths, self.opened, ONCE[0], part.only)
        found = []
        for domain in selection.domains:
            own = [group for groups, file in zip(once, files, strict=True) if file.domain == domain for group in groups]
            for one in passes(selection.weight(part.name, domain)):
                shown = [group._replace(shown=one) for group in own]
                found += count_rows(shown, self.opened, selection.pairs, part.only) if is_partial(one) else shown
        return found

    def _rewards(self, shards: list[StoreFile]) -> list[StoreFile]:
        """The files of the rewards that pairs must agree with."""
        location: Location = self.config.location
        return location.reward_files(self.config.selection.rewards, shards)

    def _clusters(self) -> dict[str, str]:
        """For each query of a known near-duplicate cluster, the one that stands for it; read where train is cut."""
        cut = self.config.selection.cut
        if not cut.cuts:
            return {}
        if cut.clusters is not None:
            return read_clusters(cut.clusters)
        own = own_clusters(self.config.location.manifest)
        (path,) = download(self.config.location, [own], self.token) if own else (None,)
        return read_clusters(as_path(path, self.storage_options)) if path else {}

    def _get_examples_iterable_for_split(self, split_generator: datasets.SplitGenerator) -> Any:
        kwargs = dict(split_generator.gen_kwargs)
        plan = kwargs.pop("plan", None)
        stock = super()._get_examples_iterable_for_split(replace(split_generator, gen_kwargs=kwargs))
        return Tables.of(stock, plan, self._told(str(split_generator.name)))

    def _told(self, split: str) -> str:
        """Which rows in which shards a split is, as JSON text: wherever the store lies, whichever columns are taken."""
        selection, manifest = self.config.selection, self.config.location.manifest
        options = {name: value for name, value in selection.options.items() if name != "clusters"}
        if isinstance(selection, Selection):
            options["weights"] = {name: weight for name, weight in selection.weights.items() if weight != 1}
        read = [file for file in manifest.data_files() if file.domain in selection.domains]
        files = [file.sha256 for file in (*read, *self._rewards(read))]
        clusters = clusters_digest(selection.cut, manifest) if selection.cut.cuts else ""
        told = {"config": self.config.name, "split": split, **options, "store": Hasher.hash([files, clusters])}
        return json.dumps(told, ensure_ascii=False, sort_keys=True, default=str)

    def _as_streaming_dataset_single(
        self, splits_generator: datasets.SplitGenerator, *args: Any, **options: Any
    ) -> Any:
        planned = "plan" in splits_generator.gen_kwargs
        stream = super()._as_streaming_dataset_single(splits_generator, *args, **options)
        return with_epochs(stream) if planned else stream

    def _generate_tables(
        self,
        *,
        files: Sequence[str] = (),
        row_groups: Sequence[Sequence[int] | None] = (),
        shards: Sequence[Sequence[Block]] = (),
        ranges: Sequence[tuple[int, int]] = (),
        texts: Texts | None = None,
        places: Mapping[tuple[str, int], tuple[int, int]] | None = None,
        split: OneSplit | None,
        streaming: bool,
        epoch: int = 0,
    ) -> Iterator[tuple[Any, pa.Table]]:
        selection = self.config.selection
        if texts is not None:
            yield from (
                (_Key(0, at), table) for at, table in self._index_tables(texts, ranges or shards, places, split)
            )
            return
        wanted = self._wanted()  # by features=; cast here, since a stream does not cast what it is given
        stored: dict[int, int] = {}
        # Where rows are stored, datasets 4.8 and 5.0 count them in a list that bears no shard without any.
        placed: Callable[[int], int] = lambda shard: shard if streaming else stored.setdefault(shard, len(stored))  # noqa: E731
        # Of a part of a shard, or of few columns of it, a stream asks for that part.
        all_read = isinstance(selection, Selection) or takes_most(selection.schema)
        whole = not streaming or (all_read and all(groups is None for groups in row_groups))
        opened = opened_in_turn(self.config.location, files, self.opened, whole=whole, soon=streaming)
        read = (
            Shard(one, groups, partial(rewards_beside, file, selection.rewards, self.opened))
            for one, file, groups in zip(opened, files, row_groups, strict=True)
        )
        for number, (shard, table) in enumerate(selection.tables(read, split, streaming=streaming)):
            yield _Key(placed(shard), number), table if table.schema.equals(wanted) else cast(table, wanted)
        for shard, blocks in enumerate(shards):
            read_one = partial(read_group, opened=self.opened, rewards=selection.rewards)
            how = (read_one, selection.pairs, split, selection.order.seed(epoch), selection.shape)
            found = (block_rows(block, *how) for block in blocks)
            for number, table in enumerate(ahead(table for rows in found for table in rows.tables())):
                yield _Key(placed(shard), number), table if table.schema.equals(wanted) else cast(table, wanted)

    def _wanted(self) -> pa.Schema:
        """The columns as the features have them. datasets works them out anew whenever it is asked."""
        features = self.info.features
        if self._schema_of is None or self._schema_of[0] is not features:
            self._schema_of = (features, features.arrow_schema)
        return self._schema_of[1]

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
            with self.opened(file) as stream, open_shard(stream, file, rows=False) as shard:
                all_groups = range(shard.num_row_groups) if groups is None else groups
            yield {"files": [file] * len(all_groups), "row_groups": [[group] for group in all_groups], **others}
        for blocks in shards:
            yield {"shards": [[block] for block in blocks], **others}

    def _as_dataset(self, split: Any = datasets.Split.TRAIN, in_memory: bool = False) -> datasets.Dataset:
        # Stock code refuses a split without rows; no pair at this threshold is a fair answer.
        reader = ArrowReader(self._output_dir, self.info)
        if reader.get_file_instructions(self.dataset_name, split, self.info.splits.values()):
            return (
                self._as_view(reader, split, in_memory) if self.config.lazy else super()._as_dataset(split, in_memory)
            )
        features = self.info.features
        name = datasets.NamedSplit(str(split)) if not isinstance(split, datasets.ReadInstruction) else None
        return datasets.Dataset.from_dict({column: [] for column in features}, features=features, split=name)


def load_dataset(
    path: str = NAME,
    name: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    data_files: Any = None,
    split: Any = None,
    cache_dir: str | None = None,
    features: datasets.Features | None = None,
    download_config: datasets.DownloadConfig | None = None,
    download_mode: Any = None,
    verification_mode: Any = None,
    keep_in_memory: bool | None = None,
    save_infos: bool = False,
    revision: Any = None,
    token: str | bool | None = None,
    streaming: bool = False,
    num_proc: int | None = None,
    storage_options: dict[str, Any] | None = None,
    trust_remote_code: bool | None = None,
    **options: Any,
) -> Any:
    """`datasets.load_dataset("coig-p", ...)` without touching datasets' registry.

    Arguments are those of `datasets.load_dataset`, in their order, then those of `PairConfig`, `SplitConfig` and
    `ShardConfig`, `weights`, `columns` and `raw`. The leading "coig-p" may be left out where all that follows the
    config is named: `coig_p.load_dataset("math", threshold=2)`.

    Args:
        data_files: refused: a store is named whole, with `data_dir`.
        features: a type for every column that is loaded.
        save_infos: checks as datasets does, and writes nothing that is not in the cache anyway.
        revision: of a repository named by `data_dir`.
        storage_options: for fsspec, where `data_dir` is in an object store, as s3://bucket/store.
        trust_remote_code: has no effect: no code of a repository is ever run.

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
    if data_files is not None:
        raise UsageError("data_files= is not for coig-p: name a whole store with data_dir=")
    if trust_remote_code:
        _logger.warning("trust_remote_code has no effect: coig_p runs no code of a repository. Leave it out")
    if streaming and num_proc is not None:
        raise UsageError("num_proc does not work with streaming=True: use the workers of a DataLoader")
    if revision is not None:
        if data_dir is None:
            raise UsageError("revision= is of a repository: name it with data_dir=")
        data_dir = f"{os.fspath(data_dir)}@{revision}"
    token = getattr(download_config, "token", None) if token is None else token
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
        verification_mode=datasets.VerificationMode.ALL_CHECKS if save_infos else verification_mode,
        num_proc=num_proc,
        storage_options=storage_options,
    )
    if save_infos:
        builder._save_infos()
    if keep_in_memory is None:
        keep_in_memory = datasets.utils.info_utils.is_small_dataset(builder.info.dataset_size)
    return builder.as_dataset(split=split, in_memory=keep_in_memory)


def load_by_name(*args: Any, **kwargs: Any) -> Any:
    """The literal call, `datasets.load_dataset("coig-p", ...)`, as people type it."""
    return datasets.load_dataset(NAME, *args, **kwargs)


@contextmanager
def without_bars() -> Iterator[None]:
    """No progress bars of datasets while the block runs."""
    shown = datasets.utils.logging.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()
