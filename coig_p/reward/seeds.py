"""The seeds that every generator of chance here takes."""

from __future__ import annotations

from coig_p.errors import UsageError

_MOST = 2**63 - 1


def check_seed(seed: int) -> None:
    """Raise UsageError for a seed that torch, or numpy, would not take."""
    if not 0 <= seed <= _MOST:
        raise UsageError(f"seed={seed} (--seed): use a whole number from 0 to {_MOST}")
