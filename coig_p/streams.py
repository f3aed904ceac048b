"""Streams of ours in datasets: an order for each epoch, and states that resume exactly.

datasets builds every stream, also one that was mapped, filtered or shared among ranks, around an
"examples iterable" that makes the rows, and gives it no epoch. Up to 4.5 it hands a generator down to
it where the stream is shuffled; from 4.6 in every epoch but 0, and the epoch's number right after.
`Tables` is our iterable, and takes the epoch from either.

A resumed stream goes wrong in some versions of datasets. What can be mended for our rows is mended
here: a row at a time where a version counts whole tables (`COUNTS_TABLES`), and a state brings its
epoch along (`load_state_dict`). What cannot is said once, when a state is loaded.
docs/trainers.md has the table.
"""

from __future__ import annotations

import functools
import json
import logging
import re
from collections.abc import Callable, Iterator
from copy import copy, deepcopy
from typing import Any

import datasets
import pyarrow as pa
from datasets import iterable_dataset

from coig_p.core.text import printable
from coig_p.errors import UsageError
from coig_p.schema import NAME

EPOCH = "coigp_epoch"
"""In a state: the epoch whose order it is a place in."""
OF = "coigp_of"
"""In a state: the stream that it is a place in, as JSON text. States of older packages do not say."""
PART = "coigp_part"
"""In a state: which part of the stream it is a place in, as JSON text: of which rank, after which cuts."""
VERSION = tuple(map(int, re.findall(r"\d+", datasets.__version__)[:3]))
COUNTS_TABLES = (3, 3) <= VERSION < (5, 0, 1)
"""Whether rows below .map or .filter are counted as read when their table is: a table must be a row then."""
FORGETS_PLACE = VERSION == (5, 0, 0)
_FROM_GENERATOR = VERSION < (4, 6)
_TOP = 1 << 63  # datasets takes an epoch's generator from a draw below it, less the epoch
_logger = logging.getLogger("coig_p")

Plan = Callable[..., list[Any]]
"""The shards of an epoch, which is its keyword."""


class _Epochs:
    """In the place of the generator of a shuffled stream, up to datasets 4.5: tells `Tables` of the epoch.

    datasets passes it on in epoch 0, and otherwise a generator seeded by what it draws of it, less the epoch.
    """

    def integers(self, *_: Any, **__: Any) -> int:
        return 0


def _told(generator: Any) -> int | None:
    """The epoch that `_Epochs` stands for; None where somebody shuffles."""
    if isinstance(generator, _Epochs):
        return 0
    drawn = getattr(getattr(generator, "bit_generator", None), "seed_seq", None)
    entropy = getattr(drawn, "entropy", None)
    return _TOP - entropy if _FROM_GENERATOR and isinstance(entropy, int) and 0 < _TOP - entropy < 1 << 32 else None


class _InTurn:
    """`generate_tables_fn` for shards that are asked for one after the other, all read by one generator.

    Where shards are many and small, what they share is done once, and not for every shard.
    """

    def __init__(self, make: Callable[..., Any], kwargs: dict[str, Any], begin: int) -> None:
        left = {name: value[begin:] if isinstance(value, list) else value for name, value in kwargs.items()}
        self.tables = iter(make(**left))
        self.shard = 0
        self.waiting: Any = None

    def __call__(self, **_: Any) -> Iterator[tuple[Any, pa.Table]]:
        """The tables of the next shard."""
        shard, self.shard = self.shard, self.shard + 1
        while True:
            found = self.waiting or next(self.tables, None)
            if found is None or _shard_of(found[0]) > shard:
                self.waiting = found
                return
            self.waiting = None
            yield found


def _shard_of(key: Any) -> int:
    return int(key[0] if isinstance(key, tuple) else key.original_shard_id)


_Stock: Any = getattr(iterable_dataset, "ArrowExamplesIterable", object)


class Tables(_Stock):  # type: ignore[misc]
    """datasets' iterable over a builder's tables, which knows epochs."""

    plan: Plan | None = None
    told = ""  # of which stream it is, as JSON text
    steps: tuple[tuple[str, tuple[Any, ...], dict[str, Any]], ...] = ()  # what was done to the plan's shards since
    shuffled = False
    before: Tables | None = None  # between a shuffle and whatever comes next

    @classmethod
    def of(cls, stock: Any, plan: Plan | None, told: str = "") -> Any:
        """The same rows; `stock` itself where it is not the iterable that is known here.

        Args:
            plan: gives the shards of every epoch; None where all have one order.
            told: what the rows are, as JSON text: a state of others is refused.
        """
        if type(stock) is not _Stock:
            return stock
        found = cls.__new__(cls)
        found.__dict__.update(vars(stock), plan=plan, told=told)
        return found

    def _with(self, **changes: Any) -> Tables:
        found = copy(self)
        found.__dict__.update({"_state_dict": None, "before": None, **changes})
        return found

    def _at_epoch(self, epoch: int) -> Tables:
        if self.plan is None:
            return self
        found = self._with(kwargs={**self.kwargs, "shards": self.plan(epoch=epoch), "epoch": epoch}, steps=())
        for name, args, kwargs in self.steps:
            found = getattr(found, name)(*args, **kwargs)
        return found

    def _step(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tables:
        self.before = None
        made = getattr(super(), name)(*args, **kwargs)
        return self._with(kwargs=made.kwargs, steps=(*self.steps, (name, args, kwargs)))

    def shard_data_sources(self, *args: Any, **kwargs: Any) -> Tables:
        """Some of the shards."""
        return self._step("shard_data_sources", args, kwargs)

    def reshard_data_sources(self) -> Tables:
        """The same rows in more shards."""
        return self._step("reshard_data_sources", (), {})

    def shuffle_data_sources(self, generator: Any) -> Tables:
        """The order of an epoch where the generator tells of one, else the shards in an order that it draws."""
        epoch = _told(generator)
        if epoch is not None:
            return self._at_epoch(epoch) if epoch else self
        lists = {name: value for name, value in self.kwargs.items() if isinstance(value, list)}
        orders = {}
        for size in {len(value) for value in lists.values()}:
            orders[size] = list(range(size))
            deepcopy(generator).shuffle(orders[size])
        drawn = {name: [value[at] for at in orders[len(value)]] for name, value in lists.items()}
        return self._with(kwargs={**self.kwargs, **drawn}, shuffled=True, before=self)

    def shift_rngs(self, value: int) -> Tables:
        """Called with an epoch right after a shuffle for it, with a worker's number later, or below .take and .skip.

        Take and skip keep the order of epoch 0, as datasets has it: what one of them leaves to the other stays apart.
        """
        before, self.before = self.before, None
        if before is None or before.shuffled:
            return self
        return before._at_epoch(value)

    def _init_state_dict(self) -> dict[str, Any]:
        self.before = None
        state: dict[str, Any] = super()._init_state_dict()
        if self.plan is not None:
            state[EPOCH] = self.kwargs.get("epoch", 0)
        if self.told:
            state[OF] = self.told
        return state

    def _iter_arrow(self) -> Iterator[tuple[Any, pa.Table]]:
        begin = self._state_dict["shard_idx"] if self._state_dict else 0
        if len(self.kwargs.get("files", ())) - begin < 2:
            yield from self._counted()
            return
        turns = _InTurn(self.generate_tables_fn, self.kwargs, begin)
        found = copy(self)  # with the same state
        found.generate_tables_fn = turns
        try:
            yield from found._counted()
        finally:
            turns.tables.close()

    def _counted(self) -> Iterator[tuple[Any, pa.Table]]:
        if not COUNTS_TABLES:
            yield from super()._iter_arrow()
            return
        state = self._state_dict or {"shard_idx": 0, "shard_example_idx": 0}
        shards = [value for value in self.kwargs.values() if isinstance(value, list)]
        for at in range(state["shard_idx"], max(map(len, shards), default=0)):
            own = {
                name: [value[at]] if isinstance(value, list) and value else value for name, value in self.kwargs.items()
            }
            done = state["shard_example_idx"]
            for key, table in self.generate_tables_fn(**own):
                for row in range(min(done, len(table)), len(table)):
                    state["shard_example_idx"] += 1
                    yield key, table.slice(row, 1)
                done = max(0, done - len(table))
            state["shard_idx"] += 1
            state["shard_example_idx"] = 0


def with_epochs(stream: Any) -> Any:
    """Let `set_epoch` of a stream whose iterable has a plan, and of all that are made of it, reach the iterable.

    Logs a warning where this version of datasets has no known way.
    """
    ours = any(isinstance(one, Tables) for one in parts(getattr(stream, "_ex_iterable", None)))
    if ours and hasattr(stream, "_shuffling") and hasattr(iterable_dataset, "ShufflingConfig"):
        stream._shuffling = iterable_dataset.ShufflingConfig(_Epochs(), _original_seed=0)
    elif not ours or not hasattr(iterable_dataset, "shift_ex_examples_rngs"):
        warn_once(
            f"datasets {datasets.__version__} keeps epochs in another place than this coig-p knows: set_epoch changes "
            "no order. Name another shuffle_seed for each epoch, or: pip install -U coig-p"
        )
    return stream


def parts(iterable: Any) -> Iterator[Any]:
    """An examples iterable and all that it is made of."""
    yield iterable
    inner = getattr(iterable, "ex_iterable", None)
    for one in [inner] if inner is not None else getattr(iterable, "ex_iterables", ()):
        yield from parts(one)


def _epoch_of(state: Any) -> int | None:
    return next((epoch for epoch in _said(state, EPOCH) if isinstance(epoch, int)), None)


def _said(state: Any, name: str) -> Iterator[Any]:
    """What a state says under a name, at any depth."""
    if isinstance(state, dict):
        if name in state:
            yield state[name]
        state = list(state.values())
    for one in state if isinstance(state, list) else ():
        yield from _said(one, name)


def _check_same(state: dict[str, Any], told: list[str]) -> None:
    """Raise UsageError where a state is of other rows than a stream's: it would be a place among them all the same."""
    for other in _said(state, OF):
        if told and isinstance(other, str) and other not in told:
            raise UsageError(
                f"the state is of another stream ({_difference(other, told[0])}): load the one that it was saved of, "
                "or begin this one without a state"
            )


def _part_of(stream: Any) -> str:
    """Which part of the rows a stream gives, as JSON text: of which rank, after which cuts."""
    rank = getattr(stream, "_distributed", None)
    cuts = [one.steps for one in parts(stream._ex_iterable) if isinstance(one, Tables)]
    part = {"rank": None if rank is None else f"{rank.rank} of {rank.world_size}", "cut": cuts}
    return json.dumps(part, default=str)


def _check_part(state: dict[str, Any], here: str) -> None:
    """Raise UsageError where a state is of another rank or cut: its place would be among other rows."""
    saved = state.get(PART)
    if isinstance(saved, str) and saved != here:
        raise UsageError(
            f"the state is of another part of the stream ({_difference(saved, here)}): each rank loads the state that "
            "it saved itself"
        )


def _difference(saved: str, here: str) -> str:
    try:
        before, now = json.loads(saved), json.loads(here)
        names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    except (ValueError, TypeError, AttributeError):
        return "what it says of it cannot be read"
    if names == ["store"]:
        return "its store holds other files"
    shown = (f"{name}={before.get(name)!r}, here {now.get(name)!r}" for name in names if name != "store")
    return printable("; ".join(shown))


def teach() -> None:
    """Have `load_state_dict` of streams with rows of ours set the epoch. Calling it again changes nothing.

    datasets drops a state of another epoch than the stream is in, without a word, and every stream begins in epoch 0.
    Streams of others are left as they are.
    """
    stock = datasets.IterableDataset.load_state_dict
    if getattr(stock, "knows", None) == NAME:
        return

    @functools.wraps(stock)
    def load_state_dict(self: Any, state_dict: dict[str, Any]) -> None:
        iterables = list(parts(self._ex_iterable))
        if not any(isinstance(one, Tables) for one in iterables):
            stock(self, state_dict)
            return
        if not isinstance(state_dict, dict) or not state_dict:
            raise UsageError(f"{printable(repr(state_dict)[:80])} is no state of a stream: give what state_dict() gave")
        _check_part(state_dict, _part_of(self))
        state_dict = {name: value for name, value in state_dict.items() if name != PART}  # datasets keeps what it gets
        _check_same(state_dict, [one.told for one in iterables if isinstance(one, Tables)])
        epoch = state_dict.get("epoch", _epoch_of(state_dict))
        if isinstance(epoch, int) and epoch != self.epoch:
            self.set_epoch(epoch)
        stock(self, state_dict)
        self._state_dict = deepcopy(state_dict)  # else a state asked for before the next row is that of the first row
        self.__class__ = Resumed
        _tell_of({type(one).__name__ for one in iterables})

    told = datasets.IterableDataset.state_dict

    @functools.wraps(told)
    def state_dict(self: Any) -> dict[str, Any]:
        found: dict[str, Any] = told(self)
        # Between set_epoch and the first row it is that of another epoch still.
        epoch = found.get("epoch", _epoch_of(found)) if isinstance(found, dict) else None
        ours = any(isinstance(one, Tables) for one in parts(self._ex_iterable))
        if ours and isinstance(epoch, int) and epoch != self.epoch:
            self._prepare_ex_iterable_for_iteration()
            found = told(self)
        if ours and isinstance(found, dict):
            return {**found, PART: _part_of(self)}  # apart: old datasets gives its own state away
        return found

    load_state_dict.knows = NAME  # type: ignore[attr-defined]
    datasets.IterableDataset.load_state_dict = load_state_dict
    datasets.IterableDataset.state_dict = state_dict


class Resumed(datasets.IterableDataset):  # type: ignore[misc]
    """A stream that goes on from a state, once: datasets would begin every later pass over it there, too."""

    def __iter__(self) -> Iterator[Any]:
        yield from super().__iter__()
        self._starting_state_dict = None

    def iter(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """As datasets has it."""
        yield from super().iter(*args, **kwargs)
        self._starting_state_dict = None

    def set_epoch(self, epoch: int) -> None:
        """As datasets has it; a place in another epoch is given up."""
        if epoch != self.epoch:
            self._starting_state_dict = None
        super().set_epoch(epoch)


def _tell_of(iterables: set[str]) -> None:
    if FORGETS_PLACE:
        warn_once(
            "datasets 5.0.0 forgets where a resumed stream is: a state saved after this one was loaded restarts at the "
            "first row. pip install -U datasets, or go on from the state that was loaded now"
        )
    if "BufferShuffledExamplesIterable" in iterables:
        warn_once(
            "the rows in the buffer of .shuffle() are not in the state, and are lost or come twice: leave it out, and "
            "use shuffle_seed= with set_epoch(), which resume exactly"
        )


@functools.cache
def warn_once(message: str) -> None:
    """Log a warning, unless this process did."""
    _logger.warning(message)


teach()
