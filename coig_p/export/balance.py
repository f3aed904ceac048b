"""As many pairs whose chosen response is the longer one as pairs whose chosen one is the shorter.

What is longer is more often chosen, and a model learns that first. Here the larger of the two groups gives up what it
has more, split by split; pairs of equal length stay. Which ones go is drawn by a hash of (seed, query_id, models), so
that neither the order of rows nor shards change it. How many go is a matter of the whole split, which is why it is for
exports alone: 8 bytes a pair are held until all were counted.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from coig_p.core.arrays import Mask, mix
from coig_p.errors import UsageError
from coig_p.export.results import Balanced
from coig_p.export.trainers.forms import Form
from coig_p.pairs.kernel import Pairs
from coig_p.pairs.rows import Rows
from coig_p.schema import PAIR_SCHEMAS

Marks = npt.NDArray[np.uint64]
"""Of each row 0 where both responses are of one length, else a hash, odd where the chosen one is the longer."""

_LONGER, _SHORTER = 1, 0


def check_balanced(form: Form) -> None:
    """Raise UsageError where the rows of a form are no pairs."""
    if "rejected" not in PAIR_SCHEMAS[form.rows].names:
        raise UsageError(
            f"balance_length (--balance-length) is of pairs, some of which it leaves out: rows of {form.trainer} are "
            "no pairs. Leave it out, or export for a trainer of pairs, as trl-dpo or trl-reward"
        )


class Balance:
    """The lengths of the pairs of one split, and which of its rows stay."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._marks: dict[str, list[Marks]] = defaultdict(list)

    def add(self, rows: Rows, domain: str, copy: int) -> Marks:
        """Count rows of a domain that are shown for the `copy`-th time, and mark each."""
        assert isinstance(rows.found, Pairs)
        lengths = pc.fill_null(pc.utf8_length(rows.responses.text), 0).to_numpy(zero_copy_only=False)
        chosen, rejected = lengths[rows.found.chosen], lengths[rows.found.rejected]
        drawn = mix(rows.keys(f"balance length {self.seed}") ^ np.asarray(copy, np.uint64))
        odd = np.asarray(chosen > rejected, np.uint64)
        # 0 is of equal lengths alone: an even hash is 2 or more.
        drawn = np.maximum(drawn >> np.uint64(1), np.uint64(1)) << np.uint64(1) | odd
        marks = np.where(chosen == rejected, np.uint64(0), drawn)
        self._marks[domain].append(marks)
        self.__dict__.pop("_limit", None)
        return marks

    def kept(self, marks: Marks) -> Mask:
        """Which rows stay, once all of the split were counted."""
        group, last = self._limit
        return np.asarray((marks == 0) | (marks % 2 != group) | (marks <= last))

    def rows(self) -> dict[str, int]:
        """How many stay, by domain."""
        return {domain: int(self.kept(marks).sum()) for domain, marks in self._by_domain().items()}

    def result(self) -> Balanced:
        """What is reported."""
        by_domain = self._by_domain()
        longer, shorter, equal = self._sizes()
        gone = {domain: int((~self.kept(marks)).sum()) for domain, marks in by_domain.items()}
        return Balanced(longer, shorter, equal, sum(gone.values()), gone)

    def _sizes(self) -> tuple[int, int, int]:
        marks = self._all()
        equal, longer = int((marks == 0).sum()), int((marks % 2 == _LONGER).sum())
        return longer, len(marks) - equal - longer, equal

    @cached_property
    def _limit(self) -> tuple[int, Any]:
        """The larger group, and the last mark of those of it that stay."""
        marks, (longer, shorter, _) = self._all(), self._sizes()
        group = _LONGER if longer > shorter else _SHORTER
        left = min(longer, shorter)
        own = marks[(marks != 0) & (marks % 2 == group)]
        if left == len(own):
            return group, np.uint64(2**64 - 1)
        return group, np.partition(own, left - 1)[left - 1] if left else np.uint64(0)

    def _by_domain(self) -> dict[str, Marks]:
        return {domain: np.concatenate(marks) for domain, marks in self._marks.items()}

    def _all(self) -> Marks:
        return np.concatenate([np.zeros(0, np.uint64), *self._by_domain().values()])
