"""The rows of a store as a directory that a trainer reads: shuffled once, in even shards.

    DIR/
      train/00000-of-00032.parquet   rows of a Form (or .jsonl), in a global order drawn by the seed
      validation/, test/             where the splits ask for them
      shards.json                    rows of each shard, and max_steps for a batch size
      README.md                      how to run the trainer; lets load_dataset(DIR) find the splits
      dataset_info.json, ...         the small file that the trainer wants, where it wants one

Memory holds one part of the rows at a time for each process (see `coig_p.export.shuffle`), whatever their number. The
same store, options and versions give the same bytes, however many processes there are.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from coig_p._version import __version__
from coig_p.core.lengths import Lengths, read_tokenizer, tokenizer_hash
from coig_p.core.objects import is_object
from coig_p.engine.journal import resumable
from coig_p.engine.local import Processes, check_num_proc, held
from coig_p.errors import UsageError
from coig_p.export.balance import check_balanced
from coig_p.export.readme import readme
from coig_p.export.results import Written
from coig_p.export.settings import preset_of
from coig_p.export.shards import write_splits
from coig_p.export.single import check_single
from coig_p.export.source import Source
from coig_p.export.trainers import TRAINERS, find_form, row_form
from coig_p.export.trainers.forms import Form
from coig_p.pairs.config import PairConfig
from coig_p.pairs.exclusion import check_exclusion
from coig_p.pairs.plan import ShardConfig
from coig_p.pairs.selection import Selection, one_split, select
from coig_p.pairs.shapes import held as held_rows
from coig_p.pairs.splits import TRAIN, SplitConfig
from coig_p.pairs.turns import SKIP
from coig_p.store.places import Marker, check_directory, check_outside
from coig_p.store.sharing import workers_for
from coig_p.store.store import Store
from coig_p.store.writing import told_of_rows

SHARDS = "shards.json"
EXPORT = Marker(SHARDS, (b'"tool": "coig-p ', b'"trainer"'))
# Inside what is being written, so that a killed export leaves nothing that the next does not remove, and every machine
# that writes sees it.
_SPILLED = ".spilled"
_ALSO = ("trainer", "conversational", "system", "max_length", "balance_length", "response_of", "one_per", "preset")
_logger = logging.getLogger("coig_p")


@dataclass(frozen=True)
class ExportConfig:
    """What to export, for whom. Every part is checked where it is made.

    Attributes:
        trainer: one of `coig_p.export.trainers.TRAINERS`.
        pairs: its format is the form's business, not the caller's.
        domains: these alone; none for all.
        split: of a store with several; ignored where `splits` cuts train.
        tokenizer, max_length: see `coig_p.core.lengths`.
        balance_length: see `coig_p.export.balance`.
        response_of, one_per: see `coig_p.export.single`.
        preset: whose numbers are written down for the trainer: see `coig_p.export.settings`.
    """

    trainer: str
    pairs: PairConfig = field(default_factory=PairConfig)
    splits: SplitConfig = field(default_factory=SplitConfig)
    order: ShardConfig = field(default_factory=ShardConfig)
    weights: Mapping[str, float] = field(default_factory=dict)
    domains: Sequence[str] = ()
    split: str | None = None
    conversational: bool = False
    system: str | None = None
    tokenizer: str | None = None
    max_length: int | None = None
    balance_length: bool = False
    response_of: str | None = None
    one_per: str | None = None
    preset: str | None = None

    def __post_init__(self) -> None:
        preset_of(self.preset)
        if self.max_length is not None and self.max_length < 1:
            raise UsageError(f"max_length={self.max_length}: use a whole number of 1 or more")
        if self.max_length is not None and self.tokenizer is None:
            raise UsageError("max_length counts tokens: name a tokenizer, too")
        if self.split is not None and self.splits.cuts and self.split != TRAIN:
            raise UsageError(f"test_size and validation_size cut the split {TRAIN}, not {self.split!r}")


def export_store(
    store: Store | str | Path,
    out: Path,
    config: ExportConfig,
    *,
    overwrite: bool = False,
    advance: Callable[[int], None] = lambda queries: None,
    num_proc: int | None = 1,
    engine: Executor | None = None,
) -> Written:
    """Write `out`, which appears, or is replaced, whole or not at all.

    Args:
        advance: called with the number of queries read since the last call.
        num_proc: processes that share the shards; None for as many as pay (see `coig_p.store.sharing`). Where rows
            depend on those before them, with lengths in tokens, `balance_length`, `one_per`, a weight that is no whole
            number, or clusters to split by, one process makes all of them.
        engine: an executor that takes the work in their place.

    Returns:
        What shards.json says.

    Raises:
        UsageError: an option that cannot be right for this store, or `out` cannot be used.
        DataError: a row that the trainer could not learn from, or no rows at all.
    """
    _form(config)  # what cannot be right for any store is said before one is opened
    opened = store if isinstance(store, Store) else Store.open(store)
    check_export(out, opened.path, overwrite)
    form, selection = resolve_export(opened, config)
    check_num_proc(num_proc)
    lengths = Lengths(read_tokenizer(config.tokenizer), config.max_length) if config.tokenizer is not None else None
    source = Source(
        opened,
        selection,
        form,
        skips=config.pairs.multi_turn == SKIP,
        system=config.system,
        lengths=lengths,
        balance_length=config.balance_length,
        response_of=config.response_of,
        one_per=config.one_per,
    )
    here = None if is_object(out) else engine  # what is on its way to an object store lies on this machine
    workers_ = workers_for(source.files(), num_proc, here)
    with resumable(out, SHARDS, _key(opened, source, config)) as journal, held(workers_) as workers:
        root = journal.root
        shuffled = source.spill(journal, _SPILLED, advance, workers)
        written_splits = write_splits(journal, shuffled, source, Processes(1) if source.only() else workers)
        journal.remove(root / _SPILLED)
        written = Written(
            tool=f"coig-p {__version__}",
            trainer=form.trainer,
            columns={column.name: str(column.type) for column in form.schema},
            threshold=selection.threshold,
            pairs=selection.pairs.later,
            margin=selection.pairs.margin,
            shuffle_seed=selection.order.shuffle_seed or 0,
            world_size=selection.order.world_size or 1,
            workers=selection.order.workers or 0,
            weights={domain: selection.weights[domain] for domain in config.weights},
            splits=written_splits,
            tokens=lengths.report() if lengths is not None else None,
            response_of=config.response_of,
            one_per=config.one_per,
            preset=config.preset,
        )
        written = replace(written, notes=(*written.alike(), *TRAINERS[form.trainer].notes(written)))
        texts = {SHARDS: json.dumps(written.to_dict(), ensure_ascii=False, indent=2) + "\n"}
        texts |= TRAINERS[form.trainer].config_files(form, written, str(out))
        shards = [shard.path for split in written_splits.values() for shard in split.shards]
        done = {name: told for shard in shards for name, told in journal.find(shard).files.items()}
        told = told_of_rows(done[shard][1] for shard in shards)
        texts["README.md"] = readme(form, written, out, told)
        for file, text in texts.items():
            (root / file).write_text(text, encoding="utf-8", newline="\n")
    return written


def _key(store: Store, source: Source, config: ExportConfig) -> dict[str, Any]:
    """What the bytes depend on. Whoever does the work, and where the store lies, makes no difference."""
    clusters, selection = source.clusters_file(), source.selection
    told = (selection.domains, selection.splits, sorted(selection.options.items()), sorted(selection.weights.items()))
    return {
        "command": "export",
        "store": store.content_hash(),
        "rows": repr(told),  # of files that options name it has hashes of what was read
        "clusters": None if clusters is None else hashlib.sha256(clusters.read_bytes()).hexdigest(),
        "tokenizer": None if config.tokenizer is None else tokenizer_hash(config.tokenizer),
        **{name: getattr(config, name) for name in _ALSO},
        "multi_turn": config.pairs.multi_turn,
    }


def resolve_export(store: Store, config: ExportConfig) -> tuple[Form, Selection]:
    """In which form an export's rows are, and which they are, before any is made.

    Raises:
        UsageError: an option that cannot be right for this store: a threshold that nothing meets, conversations that
            the form cannot show.
    """
    manifest = store.manifest
    splits = (one_split(manifest, config.split, config.splits),)
    holds = held_rows(manifest, config.domains or manifest.domains, splits, config.pairs.exclude, store.rows_of)
    form = _form(config, holds=holds, multi_turn=config.pairs.multi_turn)
    if config.balance_length:
        check_balanced(form)
    check_single(form, manifest, config.response_of, config.one_per, bool(config.weights))
    selection = select(
        manifest,
        replace(config.pairs, format=form.rows),
        domains=config.domains,
        splits=splits,
        cut=config.splits,
        order=config.order,
        weights=config.weights,
        form=row_form(form),
        read=store.rows_of,
    )
    check_exclusion(store, selection.pairs.exclude)
    return form, selection


def _form(config: ExportConfig, **held: Any) -> Form:
    return find_form(config.trainer, conversational=config.conversational, system=config.system, **held)


def check_export(out: Path, store: Path, overwrite: bool) -> None:
    """Raise UsageError where an export of `store` cannot be written to `out`."""
    if out.resolve() == store.resolve():
        raise UsageError(f"{out} is the store itself: choose another place")
    check_outside(out, "an export")
    check_directory(out, EXPORT, "an export", overwrite)
