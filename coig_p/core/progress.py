"""How far long work has come: what a command shows as a bar, and a program need not look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]
"""Called with how much was done since the last call."""


class Bar(Protocol):
    """From what is being done, how much there is of it and its unit, to a block's `Advance`."""

    def __call__(self, what: str, total: int, unit: str = "bytes") -> AbstractContextManager[Advance]:
        """Begin."""
        ...


@contextmanager
def no_bar(what: str, total: int, unit: str = "bytes") -> Iterator[Advance]:
    """Shows nothing: the default of every function that takes a bar."""
    yield lambda amount: None
