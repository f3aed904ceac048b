"""How long the prompts and responses of a store's pairs are, in tokens or characters: the columns of TaP's Table 1.

Samples are pairs, at the store's default options where no others are given; prompts are the different texts that are
asked in them, each measured once; responses are those that stand in a pair, each measured once. Of a conversation all
turns before the response are the prompt. Lengths are of the texts alone, without a chat template. Sums are of whole
numbers, so that nothing depends on the order of rows or on shards; the deviation is that of all values, divided by
their number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from coig_p.core.arrays import Index, hash64
from coig_p.core.lengths import read_tokenizer, token_counts
from coig_p.core.progress import Advance
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import find_pairs_of
from coig_p.pairs.labels import Responses
from coig_p.pairs.turns import turn_texts
from coig_p.schema import PAIRING_SCHEMA
from coig_p.stats.results import flat_frame
from coig_p.store.conversations import contents
from coig_p.store.store import Store

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Spread:
    """Of n lengths their mean and standard deviation; None where there is none."""

    n: int
    mean: float | None
    deviation: float | None

    def __str__(self) -> str:
        return "-" if self.mean is None else f"{self.mean:.2f} ± {self.deviation:.2f}"


@dataclass(frozen=True)
class PairLengths:
    """What Table 1 says of a dataset.

    Attributes:
        samples: pairs.
        prompts: different prompts among them.
    """

    samples: int
    prompts: int
    prompt_length: Spread
    response_length: Spread


@dataclass(frozen=True)
class StoreLengths:
    """What `store_lengths` found, by domain and in total; a prompt that stands in two domains is one in total."""

    tokenizer: str
    domains: Mapping[str, PairLengths]
    total: PairLengths

    def to_dict(self) -> dict[str, Any]:
        """As dicts, strings and numbers."""
        return asdict(self)

    def to_pandas(self) -> pd.DataFrame:
        """A row a domain, "all" last."""
        every = {**self.domains, "all": self.total}
        rows = {
            domain: {
                "samples": one.samples,
                "prompts": one.prompts,
                **{f"prompt_{name}": value for name, value in asdict(one.prompt_length).items() if name != "n"},
                **{f"response_{name}": value for name, value in asdict(one.response_length).items() if name != "n"},
            }
            for domain, one in every.items()
        }
        return flat_frame(rows, "domain")


def store_lengths(
    store: Store, tokenizer: str, advance: Advance = lambda queries: None, pairs: PairConfig | None = None
) -> StoreLengths:
    """Measure the pairs of a store.

    Args:
        tokenizer: see `coig_p.core.lengths.read_tokenizer`.
        pairs: which; default: those at the store's default options.

    Raises:
        UsageError: no such tokenizer.
        DataError: what it names is none.
    """
    reads = read_tokenizer(tokenizer)
    config = (pairs or PairConfig()).with_defaults(store.manifest)
    domains, total = {}, _Sums()
    for domain in store.manifest.domains:
        own = _Sums()
        for batch in store.batches(domain, schema=PAIRING_SCHEMA):
            responses = Responses.of(batch)
            found = find_pairs_of(responses, batch, config)
            queries = np.unique(found.query)
            asked = contents(batch).take(pa.array(queries)).to_pylist()
            names = [hash64(text or "") for text in asked]
            prompts = token_counts(reads, turn_texts(batch).take(pa.array(queries)))
            shown = np.unique(np.concatenate([found.chosen, found.rejected]))
            answers = token_counts(reads, responses.text.take(pa.array(shown)))
            for one in (own, total):
                one.add(len(found.query), names, prompts, answers)
            advance(batch.num_rows)
        domains[domain] = own.result()
    return StoreLengths(tokenizer, domains, total.result())


@dataclass
class _Sums:
    samples: int = 0
    seen: set[int] = field(default_factory=set)
    prompts: list[int] = field(default_factory=lambda: [0, 0, 0])
    responses: list[int] = field(default_factory=lambda: [0, 0, 0])

    def add(self, samples: int, names: list[int], prompts: Index, responses: Index) -> None:
        self.samples += samples
        first = {name: at for at, name in reversed(list(enumerate(names))) if name not in self.seen}
        self.seen.update(first)
        _add(self.prompts, prompts[sorted(first.values())])
        _add(self.responses, responses)

    def result(self) -> PairLengths:
        return PairLengths(self.samples, len(self.seen), _spread(*self.prompts), _spread(*self.responses))


def _add(sums: list[int], lengths: Index) -> None:
    sums[0] += len(lengths)
    sums[1] += int(lengths.sum())
    sums[2] += int((lengths * lengths).sum())


def _spread(n: int, total: int, squares: int) -> Spread:
    if not n:
        return Spread(0, None, None)
    return Spread(n, total / n, math.sqrt(n * squares - total * total) / n)
