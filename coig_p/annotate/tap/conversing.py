"""Conversations on their way: an answer is followed by the next request of its conversation as soon as it is there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from coig_p.annotate.asking.ledger import ANSWERED, BATCHED, FAILED, INVALID, Ledger
from coig_p.annotate.asking.request import Request, outcome
from coig_p.annotate.asking.source import Source
from coig_p.annotate.config import RunConfig
from coig_p.annotate.tap.chains import Chain
from coig_p.annotate.tap.walking import chains_of, talking

Waits = tuple[Chain[Any], Request]


class Conversing:
    """One pass over the conversations of a stage.

    A conversation whose request fails, or is for a batch, goes no further in this pass: the next one takes it up from
    the ledger where it is.

    Attributes:
        parked: how many went no further.
    """

    def __init__(
        self,
        config: RunConfig,
        ledger: Ledger,
        stage: str,
        wake: Callable[[str], None],
        limit: int | None = None,
    ) -> None:
        self.config, self.ledger, self.parked = config, ledger, 0
        self._wake = wake
        names = [name for name in talking(config) if not config.by_name[name].batch]
        self._waiting: dict[str, deque[Waits]] = {name: deque() for name in names}
        self._late: dict[str, deque[Request]] = {name: deque() for name in names}  # failed in an earlier run
        self._flying: dict[int, Chain[Any]] = {}  # by the identity of what was asked, which lives as long as it flies
        self._fresh = {one.name: chains_of(config, ledger, stage, limit, one.name) for one in config.writers}
        self._open = 0

    def sources(self) -> dict[str, list[Source]]:
        """What each endpoint is asked, but for those that are asked in batches."""
        return {name: [Source(self._requests(name), landed=partial(self._landed))] for name in self._waiting}

    def _requests(self, name: str) -> Iterator[Request | None]:
        waiting, late = self._waiting[name], self._late[name]
        while True:
            if waiting:
                chain, request = waiting.popleft()
                self._flying[id(request)] = chain
                yield request
            elif self._begin(name):
                continue
            elif self._open or self._fresh:
                yield None
            elif late:
                yield late.popleft()
            else:
                return

    def _begin(self, name: str) -> bool:
        """Begin a conversation of this writer; one that is asked in batches has its conversations begun by whoever."""
        own = name if name in self._fresh else next((one for one in self._fresh if one not in self._waiting), None)
        if own is None:
            return False
        chain = next(self._fresh[own], None)
        if chain is None:
            del self._fresh[own]
            self._settle()
            return True
        self._open += 1
        self._go_on(chain, next(chain))
        return True

    def _go_on(self, chain: Chain[Any], request: Request) -> None:
        """Have the next request of a conversation asked, or leave it for another pass."""
        name, state = request.endpoint.name, outcome(self.ledger, request).state
        if name not in self._waiting:
            if state in (ANSWERED, INVALID):
                self._answered(chain, request)
            else:
                self._park()
        elif state in (FAILED, BATCHED):
            if state == FAILED:
                self._late[name].append(request)
            self._park()
        else:
            self._waiting[name].append((chain, request))
            self._wake(name)

    def _landed(self, request: Request, state: str) -> None:
        chain = self._flying.pop(id(request), None)
        if chain is None:  # asked once more at the end: the next pass goes on from there
            return
        if state in (ANSWERED, INVALID):
            self._answered(chain, request)
        else:
            self._park()

    def _answered(self, chain: Chain[Any], request: Request) -> None:
        try:
            following = chain.send(outcome(self.ledger, request))
        except StopIteration:
            self._open -= 1
            self._settle()
        else:
            self._go_on(chain, following)

    def _park(self) -> None:
        self.parked += 1
        self._open -= 1
        self._settle()

    def _settle(self) -> None:
        """Where nothing is to be expected from others any more, those who wait for it are told."""
        if not self._open and not self._fresh:
            for name in self._waiting:
                self._wake(name)
