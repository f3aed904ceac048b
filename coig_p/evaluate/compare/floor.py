"""How far cheap features and n-grams get: a floor trained on each store, tested inside it and on every other.

Inside: what `coigp reward train --model builtin:ngram` says of queries that were held out. Across: what
`coigp bench run --model` says of the pairs of another store (`coigp bench convert --from pairs`). The other store is
read once for all models; of its texts no more than some are in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from coig_p.core.listing import join_names
from coig_p.errors import DataError, StoreError, UsageError
from coig_p.evaluate.compare.config import CompareConfig
from coig_p.evaluate.compare.opening import Opened
from coig_p.evaluate.compare.results import Floor
from coig_p.pairs.splits import TRAIN
from coig_p.reward.bench.form import Bench, Item
from coig_p.reward.bench.from_store import items_of, select_items
from coig_p.reward.bench.metrics import Accuracy, accuracy
from coig_p.reward.bench.outcomes import outcomes_of
from coig_p.reward.bench.results import Result, Results, lengths
from coig_p.reward.ngram import WEIGHTS, Examples, Weights
from coig_p.reward.ngram_training import NgramConfig, train_ngram
from coig_p.reward.scorer import EMPTY
from coig_p.store.store import Store

NO_PAIR = "no two responses of a query make a pair with these options"
_ITEMS = 256
"""Of whose responses the features are in memory at a time."""


def train_floor(opened: Opened, out: Path, config: CompareConfig) -> tuple[Floor | None, str | None]:
    """Train the floor of a store, into a folder that is not there; or why there is none.

    Raises:
        StoreError: a shard that cannot be read.
    """
    try:
        split = split_of(opened.store, config.split)
        trained = train_ngram(
            opened.store, out, config.pairs, NgramConfig(max_responses=config.max_responses), split=split
        )
    except StoreError:
        raise
    except (DataError, UsageError) as error:
        return None, _why(opened, error)
    data = trained.training["data"]
    return Floor(split, data["pairs"], data["queries"], trained.held_out), None


def split_of(store: Store, named: str | None) -> str:
    """The split that a floor is trained and tested on.

    Raises:
        UsageError: the store has several, none of them is train, and none is named; or it lacks the one named.
    """
    splits = store.manifest.splits()
    wanted = named if named is not None else (splits[0] if len(splits) == 1 else TRAIN)
    if wanted not in splits:
        told = f"its splits are {join_names(splits)}"
        raise UsageError(f"{told}: name one with --split" if named is None else f"it has no split {named}: {told}")
    return wanted


def test_floors(opened: Opened, folders: Sequence[Path], config: CompareConfig) -> tuple[list[Accuracy], str | None]:
    """What each trained floor gets right of a store's pairs; or why nothing can be told of any.

    Raises:
        StoreError: a shard that cannot be read.
        DataError: a folder that holds no weights.
    """
    models = [Weights.load(folder / WEIGHTS) for folder in folders]
    results: list[list[Result]] = [[] for _ in models]
    kept: list[Item] = []
    try:
        selection, split = select_items(opened.store, config.pairs, (), split_of(opened.store, config.split))
        for some in _chunks(items_of(opened.store, selection, split)):
            for own, found in zip(results, _scored(some, models), strict=True):
                own += found
            kept += map(_without_texts, some)
    except StoreError:
        raise
    except (DataError, UsageError) as error:
        return [], _why(opened, error)
    if not kept:
        return [], NO_PAIR
    bench = Bench(opened.store.path, opened.name, None, "pairs", {}, "", tuple(kept))
    scorer = {"kind": "model", "name": opened.name}
    return [
        accuracy(outcomes_of(Results(folder, bench, scorer, tuple(own))))
        for folder, own in zip(folders, results, strict=True)
    ], None


def _why(opened: Opened, error: Exception) -> str:
    """What an error says, without the path of the store that it is about."""
    return str(error).removeprefix(f"{opened.store.path}: ")


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    rest = iter(items)
    while some := list(islice(rest, _ITEMS)):
        yield some


def _scored(items: Sequence[Item], models: Sequence[Weights]) -> Iterator[list[Result]]:
    """For each model what it says of the items."""
    texts = [one.text for item in items for one in item.responses]
    asked = ["\n".join(turn["content"] for turn in item.messages) for item in items for _ in item.responses]
    examples = Examples.of(texts, asked)
    for model in models:
        rest = iter(model.rewards(examples).tolist())
        found = []
        for item in items:
            rewards = [reward if one.text.strip() else None for one, reward in zip(item.responses, rest, strict=False)]
            why = EMPTY if None in rewards else None
            found.append(Result(item.id, item.domain, tuple(rewards), None, why, lengths(item)))
        yield found


def _without_texts(item: Item) -> Item:
    responses = tuple(replace(one, text="") for one in item.responses)
    return replace(item, prompt="", responses=responses, meta={})
