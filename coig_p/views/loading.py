"""From a selection to its view: the texts that it needs, its index, and the dataset over both."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Features
from datasets.table import InMemoryTable, Table

from coig_p.core.code_hash import code_hash
from coig_p.errors import StoreError, UsageError
from coig_p.pairs.selection import Selection
from coig_p.schema import NAME
from coig_p.store.manifest import Manifest, StoreFile
from coig_p.views.decoding import shown_columns
from coig_p.views.identity import AGAIN, KEYS, Watched, identity
from coig_p.views.keeping import folder_name, keep
from coig_p.views.table import Recipe, ViewTable
from coig_p.views.texts import Kept, Texts

BATCHES = 8  # of the texts in one shard of the work, which processes share
MADE_OF = "texts.json"  # in the cache of an index: which texts its numbers are of


def keep_texts(
    cache: str,
    selection: Selection,
    manifest: Manifest,
    in_turn: Callable[[list[StoreFile]], Iterable[tuple[StoreFile, str, Callable[[], AbstractContextManager[Any]]]]],
    *,
    anew: bool,
) -> list[tuple[str, Kept]]:
    """The texts of every split of a selection, domain by domain, made where they are not in the cache yet.

    Args:
        cache: of datasets.
        in_turn: gives for files what `coig_p.views.keeping.InTurn` does; asked only where texts are made.
        anew: see `coig_p.views.keeping.keep`.
    """
    if "://" in cache:
        raise UsageError(f"lazy=True maps files into memory: use a cache_dir on this machine, not {cache}")
    found = []
    for split in selection.splits:
        for domain in selection.domains:
            files = [file for file in selection.files(manifest, split) if file.domain == domain]
            if files:
                folder = Path(cache).absolute() / NAME / folder_name(domain, split, files, code_hash())
                found.append((split, keep(folder, partial(in_turn, files), anew=anew)))
    return found


def ranges(texts: Texts, splits: Sequence[str], split: str) -> list[tuple[int, int]]:
    """The batches of a split of the store, as shards of the work.

    Args:
        splits: which one each file of the texts is of.
    """
    found, first = [], 0
    for file, own in zip(texts.files, splits, strict=True):
        last = first + len(file.queries) - 1
        if own == split:
            found += [(begin, min(last, begin + BATCHES)) for begin in range(first, last, BATCHES)]
        first = last
    return found


def write_made_of(folder: str, config_id: str, kept: Sequence[Kept]) -> None:
    """Note in the cache of an index which rows it is, of which texts.

    Folders are named, not where they are: a cache may move.
    """
    told = {
        "config": config_id,
        "index": {name: identity(Path(folder, name)) for name in sorted(_index_files(folder))},
        "texts": [[os.path.basename(one.folder), one.digest] for one in kept],
    }
    (Path(folder) / MADE_OF).write_text(json.dumps(told), encoding="utf-8")


def read_made_of(folder: str, config_id: str, cache: str) -> tuple[Texts, tuple[Watched, ...]]:
    """The texts of an index and its own files, all verified now, not at the first row.

    Args:
        folder: of the index.
        cache: of datasets, where texts are.

    Raises:
        StoreError: one of them is not there, is damaged, or is not what it was made as.
    """
    try:
        told = json.loads((Path(folder) / MADE_OF).read_text(encoding="utf-8"))
        if told["config"] != config_id:
            raise ValueError(f"it is of {told['config']}")
        kept = [Kept(str(Path(cache).absolute() / NAME / name), str(digest)) for name, digest in told["texts"]]
        index = {name: {key: one[key] for key in KEYS} for name, one in told["index"].items()}
        if set(index) != _index_files(folder):
            raise ValueError(f"it is of {', '.join(sorted(index))}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(folder, f"{MADE_OF} cannot be used ({error}). {AGAIN}") from None
    what = "the numbers of a lazy dataset"
    watched = tuple(Watched(Path(folder, name).absolute(), one, what) for name, one in sorted(index.items()))
    texts = Texts(kept)
    assert texts.files is not None
    return texts, watched


def _index_files(folder: str) -> set[str]:
    return {path.name for path in Path(folder).glob("*.arrow") if not path.name.startswith("cache-")}


def view(
    index: Table,
    texts: Texts,
    watched: tuple[Watched, ...],
    selection: Selection,
    features: Features,
    *,
    in_memory: bool,
) -> Table:
    """The view of rows of an index.

    Args:
        watched: the files of the index.
        features: of the columns, in their order; a user may have given them.
        in_memory: decode them all.
    """
    columns = shown_columns(selection.schema, features)
    found = ViewTable(Recipe(watched, index, texts, columns, replace(selection.shape, columns=None)))
    return InMemoryTable(found.in_memory()) if in_memory else found
