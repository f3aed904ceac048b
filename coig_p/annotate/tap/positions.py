"""What the order does to a run's judges so far: how far they favour what stands first, and how often both orders agree.

With d1 what the first response got more than the second in the one order, each the mean of four dimensions, and d2 in
the other:

    bias         the mean of (d1 + d2) / 2: what standing first is worth, in points
    consistent   of the pairs those on which both orders prefer the same response, or both none
    first_shown  of the verdicts in both orders that prefer one, the share that prefers the first
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import Any

from coig_p.annotate.asking.ledger import ANSWERED, INVALID, Ledger, Query
from coig_p.annotate.asking.request import outcome
from coig_p.annotate.config import EndpointConfig, RunConfig
from coig_p.annotate.tap.comparing import Selecting, Shown, answers_to, compare_request, shown_to
from coig_p.annotate.tap.parsing import parse_eight
from coig_p.annotate.tap.requests import texts_of

_MANY = 5_000  # answers that are read at most, of the first queries: a large run's would take minutes


@dataclass
class Judge:
    """Counts of one judge.

    Attributes:
        shown: how often it has a say, or gave none that can be used; invalid: the latter.
        pairs: two responses that it has a label for in both orders; single: those with one valid order alone.
    """

    shown: int = 0
    invalid: int = 0
    pairs: int = 0
    single: int = 0
    consistent: int = 0
    decided: int = 0
    first: int = 0
    bias: Fraction = Fraction(0)

    def add(self, one: Fraction, two: Fraction) -> None:
        """Count what the first got more in either order."""
        self.pairs += 1
        self.bias += (one + two) / 2
        self.consistent += _sign(one) == -_sign(two)
        self.decided += (one != 0) + (two != 0)
        self.first += (one > 0) + (two > 0)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; a share of nothing is None."""
        return {
            "shown": self.shown,
            "invalid": self.invalid,
            "invalid_rate": _share(self.invalid, self.shown),
            "pairs": self.pairs,
            "single": self.single,
            "bias": None if not self.pairs else round(float(self.bias / self.pairs), 4),
            "consistent": _share(self.consistent, self.pairs),
            "first_shown": _share(self.first, self.decided),
        }


def judged(config: RunConfig, ledger: Ledger) -> dict[str, dict[str, Any]]:
    """For each judge of a TaP run what the order does; of a large run over its first queries alone."""
    selecting, left = Selecting(config), _MANY
    found = {judge.name: Judge() for judge in config.judges}
    for query in ledger.queries():
        if left <= 0:
            break
        chosen = selecting.known(ledger, query, answers_to(config, ledger, query)) or []
        for judge in config.judges:
            told = {}
            for shown in shown_to(config, judge, query.query_id, chosen):
                state, more = _said(config, ledger, judge, query, shown)
                if state in (ANSWERED, INVALID):
                    left -= 1
                    found[judge.name].shown += 1
                    found[judge.name].invalid += more is None
                if more is not None:
                    told[shown[0].model, shown[1].model] = more
            for one, other in combinations([response.model for response in chosen], 2):
                orders = [told[pair] for pair in ((one, other), (other, one)) if pair in told]
                if len(orders) == 2:
                    found[judge.name].add(*orders)
                found[judge.name].single += len(orders) == 1
    return {name: one.to_dict() for name, one in found.items()}


def _said(
    config: RunConfig, ledger: Ledger, judge: EndpointConfig, query: Query, shown: Shown
) -> tuple[str, Fraction | None]:
    """The state of a comparison, and what the first got more, on the mean of the dimensions."""
    answer = outcome(ledger, compare_request(config, judge, query, shown))
    read = None if answer.text is None else parse_eight(answer.text, texts_of(config).words)
    if read is None or read.first is None or read.second is None:
        return answer.state, None
    more = [Fraction(one) - Fraction(other) for one, other in zip(read.first, read.second, strict=True)]
    return answer.state, sum(more, Fraction(0)) / len(more)


def _sign(value: Fraction) -> int:
    return (value > 0) - (value < 0)


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
