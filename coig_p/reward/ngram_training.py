"""Training an n-gram reward model on a store, and how good it is on queries, and on models, that it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from coig_p.core.arrays import Floats, Index, Mask
from coig_p.core.atomic import atomic_directory
from coig_p.core.progress import Advance
from coig_p.errors import UsageError
from coig_p.pairs.config import PairConfig
from coig_p.pairs.exclusion import check_exclusion
from coig_p.review.joining import manifest_sha256
from coig_p.reward.bench.form import Item, pairs_of
from coig_p.reward.bench.from_store import select_items
from coig_p.reward.made import (
    LENGTH,
    MAJORITY,
    NGRAM,
    HeldOut,
    TrainedModel,
    check_place,
    write_trained,
)
from coig_p.reward.ngram import BASE, FEATURES, WEIGHTS, Examples, Weights, fit
from coig_p.reward.training_pairs import TrainingPairs, read_training_pairs
from coig_p.store.store import Store

_MODEL = "model"
UNSEEN_MODELS, CONSENSUS, WITH_CONSENSUS = "leave_one_model_out", "consensus", "with_consensus"
_ENOUGH_SIBLINGS = 3


@dataclass(frozen=True)
class NgramConfig:
    """How it is fitted.

    Attributes:
        max_responses: whole queries are drawn by hash until they have so many responses; more tell hardly more.
        folds: parts of the queries, each held out once.
        penalty, ngram_scale: see `coig_p.reward.ngram.fit`.
    """

    max_responses: int = 20_000
    folds: int = 5
    penalty: float = 100.0
    ngram_scale: float = 3.0

    def __post_init__(self) -> None:
        for name, least in (("max_responses", 2), ("folds", 2)):
            if getattr(self, name) < least:
                raise UsageError(f"{name}={getattr(self, name)!r}: use a whole number of {least} or more")

    @property
    def fits(self) -> int:
        """How many fits training takes: each fold three times, and one to keep."""
        return 3 * self.folds + 1


@dataclass(frozen=True)
class _Table:
    """All responses of the items, one after the other, and all pairs.

    Attributes:
        first: of each item, the place of its first response; one more at the end.
        model: of each response, a number; -1 where nobody says whose it is.
        item, chosen, rejected: of each pair its item, and the places of its responses.
        length: of each response, in characters.
    """

    first: Index
    model: Index
    item: Index
    chosen: Index
    rejected: Index
    length: Index

    @classmethod
    def of(cls, items: Sequence[Item]) -> _Table:
        first = np.cumsum([0, *(len(item.responses) for item in items)])
        pairs = [
            (number, first[number] + better, first[number] + worse)
            for number, item in enumerate(items)
            for better, worse in pairs_of(item)
        ]
        item, chosen, rejected = np.array(pairs, np.int64).reshape(-1, 3).T
        models = [one.model for each in items for one in each.responses]
        names = {name: at for at, name in enumerate(sorted({name for name in models if name is not None}))}
        model = np.array([-1 if name is None else names[name] for name in models], np.int64)
        length = np.array([len(one.text) for each in items for one in each.responses], np.int64)
        return cls(first, model, item, chosen, rejected, length)


def train_ngram(
    store: Store,
    out: Path,
    pairs: PairConfig | None = None,
    config: NgramConfig | None = None,
    *,
    domains: Sequence[str] = (),
    split: str | None = None,
    half: int | None = None,
    overwrite: bool = False,
    advance: Advance = lambda fits: None,
) -> TrainedModel:
    """Fit an n-gram reward model to a store's pairs, and write it, whole or not at all.

    The same store, options and versions give the same bytes, in whatever order and shards the rows lie.

    Args:
        domains: these alone; default all.
        split: needed where the store has several.
        half: of the store, 1 or 2; default all of it.
        advance: called after each of `config.fits` fits.

    Raises:
        UsageError: no query has a pair, or a place that is taken; see also
            `coig_p.reward.bench.from_store.select_items`.
        DataError: a query that cannot be shown; names it. Nothing is written then.
    """
    config = config or NgramConfig()
    check_place(out, overwrite)
    selection, source = select_items(store, pairs or PairConfig(), domains, split)
    check_exclusion(store, selection.pairs.exclude)
    seed = selection.pairs.seed
    found = read_training_pairs(store, selection, source, half=half, max_responses=config.max_responses, seed=seed)
    items = sorted(found.items, key=lambda item: item.id)
    table = _Table.of(items)
    examples = Examples.of(
        [one.text for item in items for one in item.responses],
        ["\n".join(turn["content"] for turn in item.messages) for item in items for _ in item.responses],
    )
    part = np.array([found.part_of(item.id, config.folds, seed) for item in items], np.int64)[table.item]
    held_out = _held_out(table, examples, part, config, advance)
    weights, _ = fit(examples, table.chosen, table.rejected, penalty=config.penalty, ngram_scale=config.ngram_scale)
    advance(1)
    trained = TrainedModel(
        kind=NGRAM,
        base=BASE,
        store={"name": store.path.resolve().name, "manifest_sha256": manifest_sha256(store)},
        pairs={name: value for name, value in selection.pairs.to_dict().items() if name != "format"},
        loss={"name": "bt", "penalty": config.penalty, "ngram_scale": config.ngram_scale},
        training=_training(found, config, selection.domains, source),
        held_out=held_out,
        half=half,
    )
    with atomic_directory(out) as root:
        weights.save(root / WEIGHTS)
        return write_trained(root, trained)


def _training(found: TrainingPairs, config: NgramConfig, domains: Sequence[str], split: str) -> dict[str, Any]:
    return {
        "data": found.to_dict(),
        "domains": list(domains),
        "split": split,
        "max_responses": config.max_responses,
        "folds": config.folds,
        "features": FEATURES,
    }


def _held_out(table: _Table, examples: Examples, part: Index, config: NgramConfig, advance: Advance) -> HeldOut | None:
    """What models say of the pairs whose queries they were not fitted on; None where there is no such pair."""
    said = {
        name: np.full(len(part), np.nan)
        for name in (_MODEL, LENGTH, MAJORITY, UNSEEN_MODELS, CONSENSUS, WITH_CONSENSUS)
    }
    said[LENGTH] = (table.length[table.chosen] - table.length[table.rejected]).astype(float)
    alike = _consensus(table, examples)
    known = ~np.isnan(alike)
    told = known[table.chosen] & known[table.rejected]
    said[CONSENSUS][told] = (alike[table.chosen] - alike[table.rejected])[told]
    more = examples.with_column(np.where(known, alike, alike[known].mean() if known.any() else 0.0))
    group = _model_groups(table.model, config.folds)

    def fitted(of: Examples, train: Mask, start: Floats | None = None) -> tuple[Weights, Floats]:
        found = fit(
            of,
            table.chosen[train],
            table.rejected[train],
            penalty=config.penalty,
            ngram_scale=config.ngram_scale,
            start=start,
        )
        advance(1)
        return found

    def fill(name: str, test: Mask, reward: Floats) -> None:
        said[name][test] = reward[table.chosen[test]] - reward[table.rejected[test]]

    for fold in range(config.folds):
        train, test = part != fold, part == fold
        if not train.any() or not test.any():
            advance(3)
            continue
        # None begins where one ended that has seen what is held out here: short of the least loss, it would remember.
        weights, own = fitted(examples, train)
        fill(_MODEL, test, weights.rewards(examples))
        fill(MAJORITY, test, _win_rates(table, train))
        if (told & test).any():
            weights, _ = fitted(more, train, np.insert(own, examples.cheap.shape[1], 0.0))
            fill(WITH_CONSENSUS, told & test, weights.rewards(more))
        else:
            advance(1)
        away = group == fold % (group.max() + 1)
        touched = away[table.chosen] | away[table.rejected]
        if (train & ~touched).any() and (test & touched).any():
            weights, _ = fitted(examples, train & ~touched)
            fill(UNSEEN_MODELS, test & touched, weights.rewards(examples))
        else:
            advance(1)
    seen = ~np.isnan(said[_MODEL])
    if not seen.any():
        return None
    beside = {
        name: values[seen] for name, values in said.items() if name != _MODEL and not np.isnan(values[seen]).all()
    }
    how = f"{config.folds} folds by query, near-duplicates in one"
    return HeldOut.of(
        table.item[seen], said[_MODEL][seen], beside, how, folds=config.folds, unfitted=(LENGTH, CONSENSUS)
    )


def _win_rates(table: _Table, train: Mask) -> Floats:
    """Of each response how often its model wins in the pairs that are trained on; .5 where it is not among them."""
    size = int(table.model.max(initial=-1)) + 2  # the last place is nobody's, which is number -1
    wins, losses = (np.bincount(table.model[of[train]] % size, minlength=size) for of in (table.chosen, table.rejected))
    rate = (wins + 0.5) / (wins + losses + 1)
    rate[-1] = 0.5
    return np.asarray(rate[table.model])


def _model_groups(model: Index, most: int) -> Index:
    """Of each response the group that its model is in, one of at most so many."""
    return np.asarray(np.unique(model, return_inverse=True)[1] % most)


def _consensus(table: _Table, examples: Examples) -> Floats:
    """Of each response its mean similarity to its siblings, the cosine of n-grams; nan where there are too few."""
    found = np.full(len(table.model), np.nan)
    for begin, end in zip(table.first[:-1].tolist(), table.first[1:].tolist(), strict=True):
        if end - begin >= _ENOUGH_SIBLINGS:
            rows = examples.grams[begin:end].astype(np.float64)
            own = np.asarray(rows.multiply(rows).sum(1)).ravel()  # 1, and 0 of an empty text
            total = np.asarray(rows.sum(0)).ravel()
            found[begin:end] = (rows @ total - own) / (end - begin - 1)
    return found
