"""Rows of a query that show the same texts, since two of its responses are the same answer.

Two such responses are never a pair, but each is paired with the others, and is a row of its own: with `dpo` a pair may
stand twice, and with `kto` a completion that one model's scores make chosen and another's rejected stands under both
labels. Rows are not changed for it: which of two scores of one text is right nobody knows. They are counted.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Index
from coig_p.pairs.kernel import Pairs
from coig_p.pairs.labels import Responses
from coig_p.pairs.rows import ResponseRows, Rows


def count_alike(rows: Rows) -> int:
    """Of pairs, those that repeat another; of responses with labels, the answers that stand under both.

    An answer is its text and what it asks tools for, as two responses are compared for pairs.
    """
    found = rows.found
    if not len(rows) or not isinstance(found, Pairs | ResponseRows):
        return 0
    answers = _answers(rows.responses, np.unique(np.concatenate(rows.sides)))
    if answers is None:
        return 0
    if isinstance(found, Pairs):
        sides = np.stack([answers[side] for side in rows.sides])
        return len(rows) - len(np.unique(sides.T, axis=0))
    good, bad = (np.unique(answers[found.response[label]]) for label in (found.label, ~found.label))
    return len(np.intersect1d(good, bad, assume_unique=True))


def _answers(responses: Responses, used: Index) -> Index | None:
    """A number for each response that is used, equal where query and answer are; None where all are different.

    Only texts of a length that two of a query have are read.
    """
    length = pc.binary_length(responses.text).fill_null(-1).to_numpy(zero_copy_only=False)[used]
    calls = np.zeros(len(used), np.int64) if responses.calls is None else responses.calls[used]
    query = responses.query[used]
    order = np.lexsort((calls, length, query))
    same = np.ones(len(used) - 1, dtype=bool)
    for key in (query, length, calls):
        same &= key[order][1:] == key[order][:-1]
    if not same.any():
        return None
    suspect = np.zeros(len(used), dtype=bool)
    suspect[order[1:][same]] = suspect[order[:-1][same]] = True
    which = used[suspect]
    text = pc.dictionary_encode(pc.take(responses.text, pa.array(which))).indices.to_numpy(zero_copy_only=False)
    keys = np.stack([responses.query[which], calls[suspect], text])
    first, group = np.unique(keys, axis=1, return_index=True, return_inverse=True)[1:]
    found = np.arange(len(responses.text), dtype=np.int64)
    found[which] = which[first[np.reshape(group, -1)]]
    return found
