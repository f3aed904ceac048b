"""Every response of a store's pairs as tokens, with what is asked before it, and the pairs as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from coig_p.core.arrays import Index
from coig_p.core.progress import Advance
from coig_p.errors import DataError
from coig_p.reward.bench.form import Item, pairs_of
from coig_p.reward.steps import PairArrays
from coig_p.reward.templates import TemplateRefuses, text_of

_ITEMS_AT_ONCE = 64


@dataclass(frozen=True)
class Tokens:
    """Token ids of N conversations.

    Attributes:
        ids: of all of them, one after the other.
        starts: N + 1, where each begins in `ids`, and where the last ends.
        begins: N, the token of each with which its response begins.
    """

    ids: npt.NDArray[np.int32]
    starts: Index
    begins: Index

    def of(self, at: int) -> npt.NDArray[np.int32]:
        """Those of one."""
        return self.ids[self.starts[at] : self.starts[at + 1]]

    @property
    def lengths(self) -> Index:
        """N."""
        return np.diff(self.starts)


@dataclass(frozen=True)
class Tokenized:
    """Pairs, and the tokens of their responses.

    Attributes:
        too_long: pairs left out since a response has more than `max_length` tokens with what is asked.
        longest: of any response, in tokens.
        sha256: of all of it, and so of what the weights depend on.
    """

    pairs: PairArrays
    tokens: Tokens
    too_long: int
    longest: int
    sha256: str


def tokenized(
    items: Sequence[Item],
    tokenizer: Any,
    max_length: int,
    *,
    with_begins: bool = False,
    advance: Advance = lambda queries: None,
) -> Tokenized:
    """Tokenize every response once; a pair with a response of more than `max_length` tokens is left out, and counted.

    Args:
        with_begins: also find where responses begin; else it is said of all that they begin at 1.

    Raises:
        DataError: the chat template refuses a conversation; names its query.
    """
    ids: list[npt.NDArray[np.int32]] = []
    begins: list[int] = []
    query: list[int] = []
    chosen: list[int] = []
    rejected: list[int] = []
    for start in range(0, len(items), _ITEMS_AT_ONCE):
        some = items[start : start + _ITEMS_AT_ONCE]
        found = _ids(tokenizer, [_text(tokenizer, item, one.text) for item in some for one in item.responses])
        # What is shared with an empty response is what stands before any.
        without = _ids(tokenizer, [_text(tokenizer, item, "") for item in some]) if with_begins else []
        at = 0
        for number, item in enumerate(some):
            pairs = sorted((len(ids) + winner, len(ids) + loser) for winner, loser in pairs_of(item))
            for one in found[at : at + len(item.responses)]:
                ids.append(np.array(one, np.int32))
                begins.append(_shared(one, without[number]) if with_begins else 1)
            at += len(item.responses)
            query += [start + number] * len(pairs)
            chosen += [winner for winner, _ in pairs]
            rejected += [loser for _, loser in pairs]
        advance(len(some))
    lengths = np.array([len(one) for one in ids], np.int64)
    of, better, worse = (np.array(part, np.int64) for part in (query, chosen, rejected))
    arrays = PairArrays(tuple(item.id for item in items), of, better, worse, lengths)
    short = np.maximum(lengths[arrays.chosen], lengths[arrays.rejected]) <= max_length
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    tokens = Tokens(np.concatenate(ids), starts, np.array(begins, np.int64))
    digest = sha256()
    for part in (tokens.ids, tokens.starts, arrays.query, arrays.chosen, arrays.rejected):
        digest.update(np.ascontiguousarray(part).tobytes())
    return Tokenized(arrays.take(short), tokens, int((~short).sum()), int(lengths.max()), digest.hexdigest())


def _ids(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    found: list[list[int]] = tokenizer(texts, add_special_tokens=False, truncation=False, padding=False)["input_ids"]
    return found


def _text(tokenizer: Any, item: Item, response: str) -> str:
    try:
        return text_of(tokenizer, [*item.messages, {"role": "assistant", "content": response}])
    except TemplateRefuses as error:
        said = (str(error).splitlines() or [""])[0]
        raise DataError(
            f"query_id {item.id!r}: the chat template refuses it: {said}. Leave the query out, or give another "
            "template with --template FILE"
        ) from None


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two begin with together, at least 1: a first token is foretold by nothing."""
    at = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        at += 1
    return max(1, at)
