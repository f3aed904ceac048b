"""How often answers cannot be used, by ask: what a request is sent in all, and how many never bring a usable answer."""

from __future__ import annotations

from collections import defaultdict

from coig_p.annotate.asking.ledger import ANSWERED, INVALID, Ledger

_ENOUGH = 20  # answers from which a share is what was counted


class InvalidShares:
    """The share of invalid answers of each ask, by endpoint and kind.

    It is counted for each ask alone, so that a request that still waits for its next ask does not look as if one had
    been enough. Where an ask has fewer than 20 answers, the share of the ask before stands in for those that are
    missing; before the first ask that is 0.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._found: dict[tuple[str, str], dict[int, list[int]]] = {}  # ask: [invalid, all]
        for some in ledger.requests():
            if some.state in (ANSWERED, INVALID) and some.ask >= 0:
                asked = self._found.setdefault((some.endpoint, some.kind), defaultdict(lambda: [0, 0]))[some.ask]
                asked[0] += some.number * (some.state == INVALID)
                asked[1] += some.number

    def any(self, endpoint: str, kind: str) -> bool:
        """Whether an answer was invalid."""
        return any(invalid for invalid, _ in self._found.get((endpoint, kind), {}).values())

    def asks(self, endpoint: str, kind: str, most: int, done: int = 0) -> float:
        """How often a request is sent, about, until its answer can be used, or it was asked so often as it may be.

        Args:
            most: how often it is asked at most; done: how many of its answers were invalid already.
        """
        expected, left = 0.0, 1.0
        for share in self._shares(endpoint, kind, most)[done:]:
            expected += left
            left *= share
        return expected

    def lost(self, endpoint: str, kind: str, most: int) -> float:
        """The share of requests that have no usable answer after so many asks."""
        left = 1.0
        for share in self._shares(endpoint, kind, most):
            left *= share
        return left

    def _shares(self, endpoint: str, kind: str, most: int) -> list[float]:
        found = self._found.get((endpoint, kind), {})
        shares: list[float] = []
        for ask in range(most):
            invalid, number = found.get(ask, (0, 0))
            missing = max(0, _ENOUGH - number)
            before = shares[-1] if shares else 0.0
            shares.append((invalid + missing * before) / (number + missing))
        return shares
