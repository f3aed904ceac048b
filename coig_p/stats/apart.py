"""The pairs of responses on which two judges disagree most: of every two judges, and of all.

A judge who scored two responses has a margin for them, and so has one who was shown the two together. Two judges are as
far apart on a pair as their two margins. Of a query, no pair lies further apart than the response with the most and
the one with the least that the one judge gave more than the other; so pairs are laid out only of the queries that are
furthest apart by this.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from coig_p.core.arrays import Floats, Index, Ints, group_sizes, group_starts
from coig_p.core.html import html_table
from coig_p.pairs.config import PairConfig, check_judges
from coig_p.pairs.kernel import combinations_within
from coig_p.pairs.labels import Responses
from coig_p.schema import PAIRING_SCHEMA
from coig_p.stats.agreement import judges_of
from coig_p.stats.two_judges import Compared, Scored, compared_by_both, scored_by_both
from coig_p.store.fetching import over_shards
from coig_p.store.manifest import StoreFile
from coig_p.store.sharing import workers_for
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import ROWS_PER_GROUP

if TYPE_CHECKING:
    import pandas as pd

MOST = 50


@dataclass(frozen=True)
class Apart:
    """A pair of responses, and what two judges gave it.

    Attributes:
        file, row: where the query stands: its shard's place among `Store.data_files`, and its row in it.
        first, second: places among the query's responses. The first judge holds more of the first than the other does.
        judge, other: in alphabetical order.
        gave, other_gave: what either gave the first, and the second, on the judges' scale; dimensions are averaged.
        compared: the judges were shown the two together.
        apart: how far apart the two margins are, the float nearest to the exact value.
    """

    file: int
    row: int
    query_id: str
    domain: str
    first: int
    second: int
    first_model: str
    second_model: str
    judge: str
    other: str
    gave: tuple[float, float]
    other_gave: tuple[float, float]
    compared: bool
    apart: float

    @property
    def order(self) -> tuple[float | int | str | bool, ...]:
        """The furthest apart first; of equal ones the first in the store."""
        low, high = sorted((self.first, self.second))
        return (-self.apart, self.file, self.row, low, high, self.compared, self.judge, self.other)

    @property
    def responses(self) -> tuple[int, int, int, int]:
        """Which two responses it is of, whoever judged them."""
        return self.file, self.row, min(self.first, self.second), max(self.first, self.second)

    def to_dict(self) -> dict[str, Any]:
        """As strings, numbers and lists."""
        return {**asdict(self), "gave": list(self.gave), "other_gave": list(self.other_gave)}


@dataclass
class MostApart:
    """Of a part of a store the pairs on which every two judges are furthest apart: an accumulator, exact in any order.

    Attributes:
        most: how many pairs are kept of every two judges.
        by_judges: in order, by judge and other; in a list two responses stand once.
    """

    most: int = MOST
    by_judges: dict[tuple[str, str], list[Apart]] = field(default_factory=dict)

    def add(self, batch: pa.RecordBatch, file: int, begin: int, config: PairConfig) -> None:
        """Take in a batch of raw rows.

        Args:
            file, begin: the place of their shard, and of the first row in it.
            config: of it `judges`, `include_self_judged` and `labels` are read.
        """
        responses = Responses.of(batch)
        names = judges_of(responses, batch, config)
        starts = np.searchsorted(responses.query, np.arange(batch.num_rows))
        for both, laid_out in _laid_out(responses, batch, config, names, self.most):
            judges = names[both.judge], names[both.other]
            low, high, apart, sides, other_sides = laid_out
            query = responses.query[low]
            known = self.by_judges.get(judges, [])
            worth = np.flatnonzero(apart >= known[-1].apart) if len(known) >= self.most > 0 else np.arange(len(low))
            order = worth[np.lexsort((high[worth], low[worth], query[worth], -apart[worth]))]
            found = []
            for at in order[: self.most].tolist():
                places = [int(low[at]), int(high[at])]
                gave, other_gave = ([float(one[at] / both.scale) for one in given] for given in (sides, other_sides))
                if sides[0][at] - sides[1][at] < other_sides[0][at] - other_sides[1][at]:
                    for one in (places, gave, other_gave):
                        one.reverse()
                first, second = places
                row = int(query[at])
                found.append(
                    Apart(
                        file=file,
                        row=begin + row,
                        query_id=batch.column("query_id")[row].as_py(),
                        domain=batch.column("domain")[row].as_py(),
                        first=first - int(starts[row]),
                        second=second - int(starts[row]),
                        first_model=responses.model.names[responses.model.code[first]],
                        second_model=responses.model.names[responses.model.code[second]],
                        judge=judges[0],
                        other=judges[1],
                        gave=(gave[0], gave[1]),
                        other_gave=(other_gave[0], other_gave[1]),
                        compared=isinstance(both, Compared),
                        apart=float(apart[at]),
                    )
                )
            self._take_in(judges, found)

    def merge(self, other: MostApart) -> None:
        """Take in what was found elsewhere."""
        for judges, found in other.by_judges.items():
            self._take_in(judges, found)

    def _take_in(self, judges: tuple[str, str], found: Iterable[Apart]) -> None:
        every = sorted([*self.by_judges.get(judges, []), *found], key=lambda one: one.order)
        self.by_judges[judges] = _once_each(every, self.most)

    def of(self, judge: str | None = None, other: str | None = None) -> list[Apart]:
        """At most `most` of two judges, in either order; of one judge and any other; of any two.

        Two responses stand once, with what sets them furthest apart. This is exact though `most` are kept of every two
        judges: where a pair was cut from their list, `most` pairs of other responses stand before it there.
        """
        wanted = {name for name in (judge, other) if name is not None}
        lists = [found for judges, found in sorted(self.by_judges.items()) if wanted <= {*judges}]
        return _once_each(heapq.merge(*lists, key=lambda one: one.order), self.most)

    def to_dict(self) -> dict[str, Any]:
        """As lists of names and numbers, sorted."""
        return {"most": self.most, "pairs": [list(astuple(one)) for one in self._all()]}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> MostApart:
        """Back from `to_dict`."""
        made = cls(most=int(found["most"]))
        for told in found["pairs"]:
            values: dict[str, Any] = dict(zip((option.name for option in fields(Apart)), told, strict=True))
            one = Apart(**values | {name: tuple(values[name]) for name in ("gave", "other_gave")})
            made.by_judges.setdefault((one.judge, one.other), []).append(one)
        return made

    def _all(self) -> Iterator[Apart]:
        for _, found in sorted(self.by_judges.items()):
            yield from found

    def to_pandas(self) -> pd.DataFrame:
        """A row a pair of `of()`, in order; columns are the fields of `Apart`, what judges gave in two columns each."""
        import pandas as pd

        rows = []
        for one in self.of():
            row = one.to_dict()
            for name in ("gave", "other_gave"):
                row[f"{name}_first"], row[f"{name}_second"] = row.pop(name)
            rows.append(row)
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        furthest = next((f", the furthest {one.apart:g} apart" for one in self.of()), "")
        return f"MostApart({len(self.by_judges):,} times two judges, at most {self.most:,} pairs of each{furthest})"

    def _repr_html_(self) -> str:
        rows = [
            [
                one.query_id,
                f"{one.first + 1}. {one.first_model} : {one.second + 1}. {one.second_model}",
                f"{one.judge} {one.gave[0]:g} : {one.gave[1]:g}",
                f"{one.other} {one.other_gave[0]:g} : {one.other_gave[1]:g}",
                one.apart,
            ]
            for one in self.of()
        ]
        header = ["query", "two responses", "a judge gave them", "another gave them", "apart"]
        return html_table("Where two judges disagree most", header, rows)


def _once_each(pairs: Iterable[Apart], most: int) -> list[Apart]:
    """The first `most`, of the same two responses the first alone."""
    first: dict[tuple[int, int, int, int], Apart] = {}
    for one in pairs:
        if len(first) >= most:
            break
        first.setdefault(one.responses, one)
    return list(first.values())


_LaidOut = tuple[Index, Index, Floats, tuple[Ints, Ints], tuple[Ints, Ints]]


def _laid_out(
    responses: Responses, batch: pa.RecordBatch, config: PairConfig, names: Sequence[str], most: int
) -> Iterator[tuple[Scored | Compared, _LaidOut]]:
    """For every two judges pairs of responses, among them the `most` that are furthest apart."""
    for scored in scored_by_both(responses, config, names):
        some = _furthest(responses.query[scored.at], scored.value - scored.other_value, most)
        at, value, other_value = scored.at[some], scored.value[some], scored.other_value[some]
        low, high = combinations_within(responses.query[at])
        sides, others = (value[low], value[high]), (other_value[low], other_value[high])
        yield scored, (at[low], at[high], _apart(sides, others, scored.scale), sides, others)
    for compared in compared_by_both(responses, batch, config, names):
        apart = _apart(compared.sides, compared.other_sides, compared.scale)
        yield compared, (compared.low, compared.high, apart, compared.sides, compared.other_sides)


def _apart(sides: tuple[Ints, Ints], others: tuple[Ints, Ints], scale: int) -> Floats:
    return np.asarray(np.abs((sides[0] - sides[1]) - (others[0] - others[1])) / scale, np.float64)


def _furthest(query: Index, more: Ints, most: int) -> Index:
    """Places among which are those of the `most` pairs whose two values of `more` are furthest apart; `query` ascends.

    They are in the `most` queries of two or more with the largest differences. In each of these one of two is among
    those with the least, the other among those with the largest value: `most` of them, and one more, since where
    values are equal one response can be among both. Of equal ones the first are taken.
    """
    starts = group_starts(query)
    sizes = group_sizes(starts, len(query))
    reach = np.maximum.reduceat(more, starts) - np.minimum.reduceat(more, starts)
    several = np.flatnonzero(sizes > 1)
    kept = np.zeros(len(query), bool)
    for at in several[np.argsort(-reach[several], kind="stable")[:most]].tolist():
        own = more[starts[at] : starts[at] + sizes[at]]
        for values in (own, -own):
            kept[starts[at] + np.argsort(values, kind="stable")[: most + 1]] = True
    return np.flatnonzero(kept)


def most_apart(
    store: Store,
    number: int = MOST,
    config: PairConfig | None = None,
    *,
    domains: Collection[str] = (),
    num_proc: int | None = 1,
    advance: Callable[[int], None] = lambda queries: None,
) -> MostApart:
    """The pairs of a store on which every two judges disagree most; `of()` gives those of all together.

    Args:
        number: how many are kept of every two judges.
        config: of it `judges`, `include_self_judged` and `labels` are read. Default: every judge, but no score that a
            model gave its own response.
        domains: these alone; default all.
        num_proc: processes that share the shards; None for as many as pay (see `coig_p.store.sharing`).
        advance: called with the number of queries seen since the last call.

    Raises:
        UnknownNameError: the store has no such domain, or no such judge.
        StoreError: a shard that cannot be read.
    """
    config = config or PairConfig()
    config = replace(config, both_orders=config.orders(store.manifest))
    check_judges(config, store.manifest.judges)
    places = {file.path: at for at, file in enumerate(store.data_files())}
    files = store.selected_files(domains)
    found = MostApart(number)
    given = (places, number, config)
    for file, part in over_shards(_of_shard, store.path, given, files, workers_for(files, num_proc)):
        found.merge(part)
        advance(file.rows or 0)
    return found


def _of_shard(root: Path, places: Mapping[str, int], number: int, config: PairConfig, file: StoreFile) -> MostApart:
    found, begin = MostApart(number), 0
    for batch in shard_batches(root, file, ROWS_PER_GROUP, PAIRING_SCHEMA, threads=False):
        found.add(batch, places[file.path], begin, config)
        begin += batch.num_rows
    return found
