"""Texts of benchmarks to look for, in blocks: equal ones by their form, longer ones by the n-grams they are made of.

    texts -> sorted by a hash of their form (see coig_p.engine.sorting) -> blocks, of so many characters

All texts of one form are in one block, so that a block knows all of the forms that it has. One block stays in memory,
as most benchmarks are; of more, each is made by itself and lies in a file, from which searches read what they look at.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, get_type_hints

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Index, byte_slices
from coig_p.core.normalize import comparison_forms
from coig_p.dedup.benchmarks import ContaminationConfig, Known
from coig_p.dedup.runs import batches_of
from coig_p.dedup.shingles import Grams, shingles, sorted_unique, spread
from coig_p.engine.scratch import read_piece, write_pieces
from coig_p.engine.sorting import Sorting

CHARACTERS = 1 << 23
"""Of the comparison forms of a block, which takes some 60 bytes for each while it is made."""
_AT_ONCE = 1 << 20  # characters that are waiting for their forms
_ROWS_AT_ONCE = 4096
_PAIRS_AT_ONCE = 1 << 22  # of a text and a form, or n-grams of such
_LOW = 0xFFFFFFFF
_FIRST_IDEOGRAPH = 0x2E80
_TEXTS = pa.schema(
    [
        ("hash", pa.uint64()),
        ("form", pa.large_string()),
        ("number", pa.int64()),
        ("row", pa.int64()),
        ("where", pa.large_string()),
    ]
)
"""`number` is the place of a text among all of its kind."""


@dataclass(frozen=True)
class Block:
    """F different forms, ascending by their hash, of T texts; L of them long enough to be found inside other texts.

    Attributes:
        hashes, forms: F.
        telling: F; 1 where a form is evidence by itself.
        texts: F + 1; where the texts of each form begin.
        numbers, rows, wheres: T; a text's place among all, the benchmarks' row that it is of, and its name for people.
        long: L; which of the forms.
        grams: G different n-grams, ascending.
        places: L + 1; where the n-grams of each of `long` begin in `own`, which are different, the rarest first.
        own: which of `grams`.
        starts: G + 1; where those that are looked for by a gram begin in `items`.
        items: which of `long`, each by so many of its rarest n-grams that a text holds one where it holds enough.
    """

    hashes: Grams
    forms: pa.LargeStringArray
    telling: npt.NDArray[np.uint8]
    texts: Index
    numbers: Index
    rows: Index
    wheres: pa.LargeStringArray
    long: Index
    grams: Grams
    places: Index
    own: Index
    starts: Index
    items: Index

    def rows_of(self, form: int) -> set[int]:
        """The benchmarks' rows that have a form."""
        return set(self.rows[self.texts[form] : self.texts[form + 1]].tolist())

    def where(self, form: int, rows: Collection[int] = ()) -> str:
        """Where a benchmark has a form: in one of these rows, if in any."""
        begin, end = self.texts[form : form + 2].tolist()
        named = (at for at in range(begin, end) if self.rows[at] in rows)
        return str(self.wheres[next(named, begin) if rows else begin])

    def write(self, path: Path) -> Path:
        """Leave it in a file, which is given back."""
        columns = [pa.array(getattr(self, one.name)) for one in fields(self)]
        lists = [pa.LargeListArray.from_arrays(pa.array([0, len(one)], pa.int64()), one) for one in columns]
        batch = pa.record_batch(lists, names=[one.name for one in fields(self)])
        write_pieces(path, batch.schema, [batch])
        return path

    @classmethod
    def read(cls, path: Path) -> Block:
        """From a file, mapped into memory."""
        batch = read_piece(path)
        kinds = get_type_hints(cls)
        values = {name: batch.column(name).values for name in batch.schema.names}
        return cls(
            **{name: one if kinds[name] is pa.LargeStringArray else one.to_numpy() for name, one in values.items()}
        )


class Texts:
    """Texts that are to be found, as they are read: an accumulator."""

    def __init__(self, config: ContaminationConfig) -> None:
        self.config = config
        self.number = 0  # of texts so far
        self._waiting: list[Known] = []
        self._size = 0
        self._sorting = Sorting(_TEXTS, _keys)

    def add(self, known: Known) -> None:
        """Take in a text.

        Raises:
            OSError: a file cannot be written, as where the disk is full.
        """
        self._waiting.append(known)
        self._size += len(known.text)
        if self._size >= _AT_ONCE:
            self._take_in()

    def blocks(self, characters: int = CHARACTERS) -> Iterator[Block]:
        """All texts, about so many characters at a time; at least one block, which may be empty."""
        self._take_in()
        waiting, size, made = [_TEXTS.empty_table()], 0, False
        for piece in _pieces(self._sorting.result(), characters):
            waiting.append(piece)
            size += _characters(piece)
            if size >= characters:
                whole = pa.concat_tables(waiting).combine_chunks()
                end = int(_begins(whole)[-1])  # of the last form more texts may come
                if end:
                    yield _block(whole.slice(0, end), self.config)
                    made = True
                waiting = [whole.slice(end)]
                size = _characters(waiting[0])
        whole = pa.concat_tables(waiting).combine_chunks()
        if whole.num_rows or not made:
            yield _block(whole, self.config)

    def _take_in(self) -> None:
        forms = comparison_forms([one.text for one in self._waiting])
        numbers = range(self.number, self.number + len(forms))
        told = [(form, number, one) for form, number, one in zip(forms, numbers, self._waiting, strict=True) if form]
        self._sorting.add(
            pa.table(
                [
                    pa.array([_hash(form) for form, _, _ in told], pa.uint64()),
                    pa.array([form for form, _, _ in told], pa.large_string()),
                    pa.array([number for _, number, _ in told], pa.int64()),
                    pa.array([one.row for _, _, one in told], pa.int64()),
                    pa.array([one.where for _, _, one in told], pa.large_string()),
                ],
                schema=_TEXTS,
            )
        )
        self.number += len(forms)
        self._waiting, self._size = [], 0


def _keys(table: pa.Table) -> pa.Table:
    return table.select(["hash", "form", "number"])


def _hash(form: str) -> int:
    return int.from_bytes(blake2b(form.encode(), digest_size=8).digest(), "little")


def _pieces(table: pa.Table, characters: int) -> Iterator[pa.Table]:
    """Neighbouring texts, of about so many characters or fewer."""
    for batch in table.to_batches(_ROWS_AT_ONCE):
        sizes = pc.utf8_length(batch.column("form")).to_pylist()
        yield from (
            pa.Table.from_batches([batch.slice(one.start, one.stop - one.start)])
            for one in batches_of(sizes, characters)
        )


def _characters(table: pa.Table) -> int:
    return int(pc.sum(pc.utf8_length(table.column("form"))).as_py())


def _begins(table: pa.Table) -> Index:
    """Where other forms begin."""
    form = table.column("form")
    other = pc.not_equal(form.slice(1), form.slice(0, max(0, len(form) - 1))).to_numpy()
    return np.flatnonzero(np.append(True, other)[: len(form)])


def _block(table: pa.Table, config: ContaminationConfig) -> Block:
    """Of texts in order, all that have their forms."""
    begins = _begins(table)
    forms = table.column("form").take(pa.array(begins)).combine_chunks()
    hashes = table.column("hash").take(pa.array(begins)).to_numpy()
    rows = table.column("row").to_numpy()
    texts = np.append(begins, table.num_rows).astype(np.int64)
    long = np.flatnonzero(pc.utf8_length(forms).to_numpy() >= config.least)
    found = shingles(forms.take(pa.array(long)).to_pylist(), config.n)
    grams, numbers = np.unique(found.grams, return_inverse=True)
    item = np.repeat(np.arange(len(long)), np.diff(found.starts))
    keys = sorted_unique((item << 32) | numbers.astype(np.int64))
    del found, numbers
    item, own = keys >> 32, keys & _LOW
    own = own[np.lexsort((own, np.bincount(own, minlength=len(grams))[own], item))]
    sizes = np.bincount(item, minlength=len(long))
    places = np.append(0, np.cumsum(sizes))
    rank = np.arange(len(own)) - places[item]
    asked = rank <= (sizes - _enough(sizes, config.threshold))[item]
    keys = np.sort((own[asked] << 32) | item[asked])
    telling = np.zeros(len(forms), np.uint8)
    for at, different in zip(long.tolist(), sizes.tolist(), strict=True):
        telling[at] = (
            different + config.n - 1 >= config.alone
            and _says(forms[at].as_py(), config.alone)
            and len(set(rows[texts[at] : texts[at + 1]].tolist())) <= config.common
        )
    return Block(
        hashes=hashes,
        forms=forms,
        telling=telling,
        texts=texts,
        numbers=table.column("number").to_numpy(),
        rows=rows,
        wheres=table.column("where").combine_chunks(),
        long=long,
        grams=grams,
        places=places,
        own=own,
        starts=np.searchsorted(keys >> 32, np.arange(len(grams) + 1)),
        items=keys & _LOW,
    )


def _enough(sizes: Index, threshold: float) -> Index:
    """Of so many n-grams, the smallest number whose share is not below the threshold."""
    least: Index = np.maximum(1, np.floor(sizes * threshold).astype(np.int64) - 1)
    for _ in range(2):  # a product may be rounded up
        least += least / sizes < threshold
    return least


def _says(form: str, size: int) -> bool:
    """Whether a text says so much: a Chinese character is as much as four letters or digits."""
    return len(form) >= 4 * size or sum(4 if ord(letter) >= _FIRST_IDEOGRAPH else 1 for letter in form) >= 4 * size


class Hit(NamedTuple):
    """A form that a text holds.

    Attributes:
        share: of its n-grams that stand in the text.
        number: of the first text that has it, which stands for the form among those of all blocks.
        block, form: where it is.
        telling: 1 where it is evidence by itself.
    """

    share: float
    number: int
    block: Block
    form: int
    telling: int


@dataclass(frozen=True)
class Blocks:
    """All blocks of texts, in memory or in files. They can be sent to another process."""

    kept: tuple[Block | Path, ...]
    config: ContaminationConfig

    @classmethod
    def of(cls, texts: Texts, path: Callable[[int], Path], characters: int = CHARACTERS) -> Blocks:
        """One block in memory, or several in files.

        Args:
            path: where a block of that number goes.

        Raises:
            OSError: a file cannot be written, as where the disk is full.
        """
        kept: list[Block | Path] = []
        for block in texts.blocks(characters):
            kept.append(block)
            for at, one in enumerate(kept):
                if len(kept) > 1 and isinstance(one, Block):
                    kept[at] = one.write(path(at))
        return cls(tuple(kept), texts.config)

    def wheres(self, numbers: Index) -> dict[int, str]:
        """Where the first text of each of these forms stands, by its number."""
        found: dict[int, str] = {}
        for block in self.opened().blocks:
            own = np.flatnonzero(np.isin(block.numbers[block.texts[:-1]], numbers)).tolist()
            found |= {int(block.numbers[block.texts[form]]): block.where(form) for form in own}
        return found

    def opened(self) -> Opened:
        """To search in, in this process."""
        return Opened([one if isinstance(one, Block) else Block.read(one) for one in self.kept], self.config)


class Opened:
    """Blocks that texts can be looked for in."""

    def __init__(self, blocks: Sequence[Block], config: ContaminationConfig) -> None:
        self.blocks, self.config = blocks, config

    def find(self, texts: Sequence[str]) -> dict[int, list[Hit]]:
        """For each text that holds some: the forms that it holds, the most contained first, then the first ones."""
        forms = comparison_forms(texts)
        hashes = np.array([_hash(form) for form in forms], np.uint64)
        ours = shingles(forms, self.config.n)
        grams, text = ours.grams, np.repeat(np.arange(len(forms)), np.diff(ours.starts))
        if len(self.blocks) > 1:  # neighbours are looked up in one place of each block
            order = np.argsort(grams)
            grams, text = grams[order], text[order]
        found: dict[int, dict[int, Hit]] = {}
        for block in self.blocks:
            same = _equal(block, forms, hashes)
            shares = itertools.chain(same, _contained(block, grams, text, self.config.threshold))
            for at, number, share, form, telling in shares:
                found.setdefault(at, {})[number] = Hit(share, number, block, form, telling)
        return {at: sorted(found[at].values(), key=lambda hit: (-hit.share, hit.number)) for at in sorted(found)}


_Found = tuple[int, int, float, int, int]
"""A text, the number of the form that it holds, the share that it holds, which form that is, whether it is telling."""


def _equal(block: Block, forms: Sequence[str], hashes: Grams) -> Iterator[_Found]:
    """Texts that have a form of a block."""
    places = np.searchsorted(block.hashes, hashes)
    inside = np.minimum(places, max(0, len(block.hashes) - 1))
    for at in np.flatnonzero(block.hashes[inside] == hashes).tolist() if len(block.hashes) else ():
        place = int(places[at])
        while place < len(block.hashes) and block.hashes[place] == hashes[at]:
            if block.forms[place].as_py() == forms[at]:
                yield at, int(block.numbers[block.texts[place]]), 1.0, place, int(block.telling[place])
            place += 1


def _contained(block: Block, grams: Grams, text: Index, threshold: float) -> Iterator[_Found]:
    """Texts in which so many n-grams of a long form of a block stand.

    A text that holds enough of a form holds one of its rarest: n-grams of a phrase that most texts begin with make no
    candidates.

    Args:
        grams, text: n-grams, and which of the texts each is of, in any order.
    """
    if not len(block.grams):
        return
    number = np.minimum(np.searchsorted(block.grams, grams), len(block.grams) - 1)
    known = block.grams[number] == grams
    keys = sorted_unique((text[known] << 32) | number[known])
    begins, sizes = block.starts[keys & _LOW], np.diff(block.places)
    held = block.starts[(keys & _LOW) + 1] - begins
    for some in byte_slices([held], _PAIRS_AT_ONCE):
        owner = np.repeat(keys[some] >> 32, held[some])
        pairs = sorted_unique((owner << 32) | block.items[spread(begins[some], held[some])])
        for few in byte_slices([sizes[pairs & _LOW]], _PAIRS_AT_ONCE):
            text, item = pairs[few] >> 32, pairs[few] & _LOW
            wanted = (np.repeat(text, sizes[item]) << 32) | block.own[spread(block.places[item], sizes[item])]
            there = keys[np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)] == wanted
            shared = np.add.reduceat(there, np.cumsum(sizes[item]) - sizes[item], dtype=np.int64)
            share = shared / sizes[item]
            enough = share >= threshold
            form = block.long[item[enough]]
            columns = (text[enough], block.numbers[block.texts[form]], share[enough], form, block.telling[form])
            yield from zip(*(column.tolist() for column in columns), strict=True)
