"""What of the builder is for views alone."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import datasets.exceptions
import pyarrow as pa
from datasets.arrow_reader import ArrowReader

from coig_p.errors import CoigPError, StoreError, UsageError
from coig_p.pairs.plan import Block, Group, Piece, block_rows, make_plan, read_all_groups
from coig_p.pairs.rows import Rows, find_rows
from coig_p.pairs.selection import SplitPart
from coig_p.pairs.splits import OneSplit
from coig_p.pairs.weights import ONCE, UNWEIGHTED
from coig_p.schema import NAME
from coig_p.store.fetching import Opens, opened_in_turn
from coig_p.store.locate import download
from coig_p.store.manifest import StoreFile
from coig_p.store.rewarded import rewarded, rewards_beside
from coig_p.views.closed import CLOSED, NO_ROOM, closed_error, is_closed, passing_folder
from coig_p.views.dataset import ViewDataset
from coig_p.views.decoding import cast_columns
from coig_p.views.indexing import ROWS, index_schema, index_tables
from coig_p.views.loading import keep_texts, ranges, read_made_of, view, write_made_of
from coig_p.views.texts import Kept, Texts

_patched_for_streaming = True  # see coig_p/builder.py

_logger = logging.getLogger("coig_p")
_REUSE = datasets.DownloadMode.REUSE_DATASET_IF_EXISTS


class LazyBuilder(datasets.ArrowBasedBuilder):  # type: ignore[misc]
    """A builder whose config may be lazy: it then writes an index, and gives a view of it."""

    _cache_dir_root: str
    _closed_root: str | None  # while another stands in for it
    _made_of: list[Kept]
    _row_features: datasets.Features  # of the rows, while those of the index stand in `info`
    _writer_batch_size: int | None

    def __init__(self, *args: Any, **options: Any) -> None:
        self._begins, self._closed_root = True, None
        super().__init__(*args, **options)
        self._begins = False
        if self._closed_root is not None:
            self._cache_dir_root = self._closed_root

    def _build_cache_dir(self) -> str:
        """As datasets has it. Its next step is to lock a file in the cache: one elsewhere, where that is closed."""
        if self.config.lazy and "://" not in self._cache_dir_root:  # a view says where its files are, also to others
            self._cache_dir_root = os.path.abspath(self._cache_dir_root)
        found = str(super()._build_cache_dir())
        root = self._cache_dir_root
        if self._begins and "://" not in root and is_closed(Path(root, found.replace("/", "_") + ".lock")):
            self._closed_root, self._cache_dir_root = root, str(passing_folder())
        return found

    def download_and_prepare(self, output_dir: str | None = None, *args: Any, **options: Any) -> None:
        """As datasets has it; but what is in a cache that may not be written is opened without a lock."""
        file_format = options.get("file_format", args[5] if len(args) > 5 else None)
        if self.config.lazy and file_format not in (None, "arrow"):
            raise UsageError(
                f"file_format={file_format!r} writes what is prepared, and of a lazy dataset that is numbers. Leave "
                "out lazy=True, or call to_parquet() of what was loaded"
            )
        root = self._cache_dir_root
        if output_dir is None and "://" not in root and is_closed(self._cache_dir + "_builder.lock"):
            mode = options.get("download_mode", args[1] if len(args) > 1 else None)
            if datasets.DownloadMode(mode or _REUSE) is not _REUSE:
                raise closed_error(root, f"download_mode={mode!r} makes these rows anew")
            if not os.path.exists(Path(self._cache_dir, datasets.config.DATASET_INFO_FILENAME)):
                raise closed_error(root, "these rows are not in this cache yet")
            self.info = self._load_info()
            return
        try:
            super().download_and_prepare(output_dir, *args, **options)
        except OSError as error:
            if error.errno not in CLOSED or not Path(str(error.filename)).absolute().is_relative_to(
                Path(root).absolute()
            ):
                raise
            raise closed_error(root, f"{error.filename} has to be written") from None

    def _prepare_split_single(self, *args: Any, **options: Any) -> Iterator[Any]:
        """As datasets has it, in every process, with an error of ours as it is: its own says nothing of the query.

        Of a view an index is written, in a few large batches, and the features are those of the rows.
        """
        features, size = self.info.features, self._writer_batch_size
        try:
            if self.config.lazy:
                self._row_features = features
                self.info.features = datasets.Features.from_arrow_schema(self._index_schema())
                self._writer_batch_size = ROWS
            yield from super()._prepare_split_single(*args, **options)
        except datasets.exceptions.DatasetGenerationError as error:
            cause = error.__cause__
            if isinstance(cause, CoigPError):
                raise cause from None
            if isinstance(cause, OSError) and cause.errno in NO_ROOM:
                raise StoreError(
                    self._output_dir,
                    f"rows could not be written there: {cause.strerror}. Make room, or load with another cache_dir=",
                ) from None
            raise
        finally:
            self.info.features, self._writer_batch_size = features, size

    def _save_infos(self) -> None:
        """For save_infos=True. Stock code writes dataset_infos.json beside this file, which is the package's folder."""
        _logger.warning(
            "save_infos=True writes nothing more for %s: what it would say is in %s", NAME, self._output_dir
        )

    @classmethod
    def get_all_exported_dataset_infos(cls) -> datasets.info.DatasetInfosDict:
        """None. datasets 3 looks for them in the package's folder, where it may have put some before."""
        return datasets.info.DatasetInfosDict()

    def opened(self, file: str) -> Any:
        """Open a shard."""
        raise NotImplementedError

    def check_unchanged(self) -> None:
        """Raise StoreError where files of the store are not those that it was opened with."""
        raise NotImplementedError

    def _groups(self, paths: list[str], files: list[StoreFile], part: SplitPart) -> list[Group]:
        """The row groups of files, as often as weights say."""
        raise NotImplementedError

    def _rewards(self, shards: list[StoreFile]) -> list[StoreFile]:
        """The files of the rewards that pairs must agree with."""
        raise NotImplementedError

    def _lazy_splits(self, dl_manager: Any, clusters: dict[str, str]) -> list[datasets.SplitGenerator]:
        """One for each split, after the texts that all of them share are there."""
        selection, location = self.config.selection, self.config.location
        anew = bool(getattr(dl_manager.download_config, "force_download", False))
        kept = keep_texts(self._cache_dir_root, selection, location.manifest, self._in_turn, anew=anew)
        self._made_of, splits = [one for _, one in kept], [split for split, _ in kept]
        texts, found = Texts(self._made_of), []
        for part in selection.parts(clusters):
            work = ranges(texts, splits, part.source)
            kwargs: dict[str, Any] = {"texts": texts, "split": part.only, "streaming": False}
            if selection.is_planned(part.name) or selection.rewards:
                kwargs |= self._planned(part, work[0][0] if work else 0, texts)
            else:
                kwargs["ranges"] = work
            found.append(datasets.SplitGenerator(name=part.name, gen_kwargs=kwargs))
        return found

    def _in_turn(self, files: list[StoreFile]) -> Iterator[tuple[StoreFile, str, Opens]]:
        """Shards to read one after the other: of an object store a few are fetched ahead."""
        paths = self._fetched(files)
        yield from zip(files, paths, opened_in_turn(self.config.location, paths, self.opened, whole=True), strict=True)

    def _fetched(self, files: list[StoreFile]) -> list[str]:
        return download(self.config.location, files, self.token)

    def _planned(self, part: SplitPart, first: int, texts: Texts) -> dict[str, Any]:
        """The row groups of a split, planned or in order, and the numbers of their queries, from batch `first` on."""
        selection = self.config.selection
        files = selection.files(self.config.location.manifest, part.source)
        paths = self._fetched([*files, *self._rewards(files)])[: len(files)]
        groups = self._groups(paths, files, part)
        few = part.name in UNWEIGHTED or selection.order.shuffle_seed is None
        if selection.is_planned(part.name):
            plan = make_plan(groups, selection.order, len(files), may_be_few=few)
        else:
            plan = [[(Piece(group, 0, group.rows),)] for group in groups if group.rows]
        places, begin = {}, texts.before(first)
        for group in (group for groups in read_all_groups(paths, self.opened, ONCE[0]) for group in groups):
            places[group.file, group.number] = (begin, begin + group.rows)
            begin += group.rows
        return {"shards": plan, "places": places}

    def _download_and_prepare(self, *args: Any, **options: Any) -> None:
        if self.config.lazy:
            self.info.splits = None  # of what lies in the cache, which may be another's: nothing to compare with
        super()._download_and_prepare(*args, **options)
        self.check_unchanged()
        if self.config.lazy:
            write_made_of(self._output_dir, self.config_id, self._made_of)

    def _index_tables(
        self,
        texts: Texts,
        shards: Sequence[tuple[int, int]] | Sequence[Sequence[Block]],
        places: Mapping[tuple[str, int], tuple[int, int]] | None,
        split: OneSplit | None,
    ) -> Iterator[tuple[int, pa.Table]]:
        """The index of some batches of the texts, or of the blocks of a plan, numbered."""
        given = cast_columns(self.config.selection.schema, self._row_features)
        rows = self._rows(texts, shards, places, split)
        yield from enumerate(index_tables(texts, rows, self._index_schema(), given))

    def _rows(self, texts: Texts, shards: Any, places: Any, split: OneSplit | None) -> Iterator[Rows]:
        selection = self.config.selection
        pairs, shape, seed = selection.pairs, selection.shape, selection.order.seed(0)
        if places is None:
            for batch in texts.numbered(at for begin, end in shards for at in range(begin, end)):
                yield find_rows(split.keep(batch) if split else batch, pairs, shape)
            return

        def read(group: Group) -> pa.RecordBatch:
            batch = texts.rows(*places[group.file, group.number])
            (found,) = rewarded([batch], rewards_beside(group.file, selection.rewards, self.opened))
            return found

        for block in (block for blocks in shards for block in blocks):
            yield block_rows(block, read, pairs, split, seed, shape)

    def _index_schema(self) -> pa.Schema:
        location = self.config.location
        read = [file for domain in self.config.selection.domains for file in location.manifest.data_files(domain)]
        return index_schema(self.config.selection.schema, sum(file.responses or 0 for file in read))

    def _as_view(self, reader: ArrowReader, split: Any, in_memory: bool) -> datasets.Dataset:
        made_of = read_made_of(self._output_dir, self.config_id, self._cache_dir_root)
        kwargs = reader.read(name=self.dataset_name, instructions=split, split_infos=self.info.splits.values())
        shown = (*made_of, self.config.selection, self.info.features)
        kwargs["arrow_table"] = view(kwargs["arrow_table"], *shown, in_memory=in_memory)
        made = datasets.Dataset if in_memory else ViewDataset
        return made(fingerprint=self._get_dataset_fingerprint(split), **kwargs)

    def as_streaming_dataset(self, *args: Any, **options: Any) -> Any:
        """As datasets has it; a stream copies nothing that a view could spare."""
        if self.config.lazy:
            raise UsageError("lazy=True and streaming=True contradict each other: a stream keeps no rows. Name one")
        return super().as_streaming_dataset(*args, **options)
