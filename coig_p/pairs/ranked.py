"""Rows of one query each: all its responses that have a score, best first, for losses over whole lists.

The threshold says which queries come, those with at least one pair (`coig_p.pairs.kernel`), and never takes a
response out of a list: what is apart by less is told by `scores`, and two of one score share a rank.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from coig_p.core.arrays import Floats, Index, Mask, dense_ranks, group_sizes, group_starts
from coig_p.errors import UsageError
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import best_first
from coig_p.pairs.labels import Responses, response_values
from coig_p.schema import RANKED_FORMATS
from coig_p.store.manifest import StoreFile


class RankedRows(NamedTuple):
    """Queries of a batch with their responses in order. Q rows; L responses, those of all queries that were found.

    Attributes:
        query: Q, the row of the batch.
        begin, size: Q, where a row's responses stand among the L, and how many they are: 2 or more.
        response: L, places in the batch's responses, best first within a query.
        score: L, on the judges' scale, each the float nearest to the exact value.
        rank: L, 1 and how many responses of the query have a higher score.
    """

    query: Index
    begin: Index
    size: Index
    response: Index
    score: Floats
    rank: Index

    def take(self, some: slice | Index | Mask) -> RankedRows:
        """These rows alone, in this order."""
        return self._replace(query=self.query[some], begin=self.begin[some], size=self.size[some])

    def places(self) -> Index:
        """Where the responses of these rows stand among the L, row after row."""
        ends = np.cumsum(self.size)
        return np.asarray(np.repeat(self.begin - ends + self.size, self.size) + np.arange(int(self.size.sum())))

    def summed(self, of_responses: npt.NDArray[Any]) -> Index:
        """For each row the sum of a number that every response of the batch has."""
        if not len(self.size):
            return np.zeros(0, dtype=np.int64)
        values = of_responses[self.response[self.places()]].astype(np.int64)
        return np.asarray(np.add.reduceat(values, np.cumsum(self.size) - self.size))


def find_ranked(responses: Responses, with_pairs: Index, config: PairConfig) -> RankedRows:
    """The lists of a batch, as indices, in its order.

    Args:
        with_pairs: rows of the batch that get one, in any order and any number of times.
        config: which scores count; its labels are scores.
    """
    values, scale, scored = response_values(responses, config)
    wanted = np.isin(responses.query, with_pairs)
    level = dense_ranks(values)
    response = best_first(responses, level, scored & wanted)
    query = responses.query[response]
    begin = group_starts(query)
    size = group_sizes(begin, len(query))
    tied = group_starts(query, level[response])
    rank = np.repeat(tied, group_sizes(tied, len(query))) - np.repeat(begin, size) + 1
    score = np.asarray(values[response] / scale, dtype=np.float64)
    return RankedRows(query[begin], begin, size, response, score, rank)


def check_ranked(config: PairConfig, files: Iterable[StoreFile]) -> None:
    """Raise UsageError where lists are asked for, and some of what the files hold may have no place in any.

    Comparisons say of two responses which is better: they give no order of more, and an order that no judge gave
    is not made up. Whoever wants the scores alone says so.
    """
    if config.format not in RANKED_FORMATS or config.labels != "auto":
        return
    compared: dict[str, int] = {}
    scores = 0
    for file in files:
        scores += file.scores or 0
        if file.comparisons:
            compared[str(file.domain)] = compared.get(str(file.domain), 0) + file.comparisons
    if not compared:
        return
    ways = 'use a format of pairs, as format="dpo" (--format dpo)'
    if scores:
        ways = f'say labels="scores" (--labels scores) for lists of scored responses alone, or {ways}'
    named = ", ".join(f"{domain} {count:,}" for domain, count in compared.items())
    raise UsageError(
        f"format {config.format} orders responses by their scores, and {'beside them' if scores else 'instead'} there "
        f"are comparisons ({named}), each of two responses: {ways}"
    )
