"""What an endpoint is to be asked, where later requests may depend on what came of earlier ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from coig_p.annotate.asking.request import Request

_MOST_AGAIN = 10_000  # failed requests that are kept in memory; the next run asks the others again


class Source:
    """Requests to one endpoint: each once, at the end those that were put off, and once more those that failed.

    Attributes:
        over: whether no request is left, and none is on its way.
    """

    def __init__(
        self,
        requests: Iterator[Request | None],
        *,
        landed: Callable[[Request, str], None] = lambda request, state: None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """Take requests from an iterator.

        Args:
            requests: None where there is none now, and may be one later.
            landed: called with a request and its state once it has an outcome, and again if it had
                failed and got another one.
            ended: called once, when it is over.
        """
        self.over = False
        self._requests, self._landed, self._ended = requests, landed, ended
        self._first: deque[tuple[Request, bool]] = deque()
        self._later: deque[Request] = deque()
        self._again: deque[Request] = deque()
        self._exhausted = False
        self._flying = 0

    def take(self) -> tuple[Request, bool] | None:
        """The next request, and whether it was asked before and failed; None where there is none now."""
        taken = self._next()
        if taken is None:
            self._settle()
        else:
            self._flying += 1
        return taken

    def give_back(self, request: Request, again: bool) -> None:
        """A request that was taken was not brought to an outcome: it is the next one."""
        self._flying -= 1
        self._first.append((request, again))

    def put_off(self, request: Request) -> None:
        """A request that was taken comes after all others; where too many wait for that, it is the next one."""
        self._flying -= 1
        if len(self._later) < _MOST_AGAIN:
            self._later.append(request)
        else:
            self._first.append((request, False))

    def land(self, request: Request, state: str, *, once_more: bool) -> None:
        """A request that was taken has an outcome, and is asked once more at the end or not."""
        self._flying -= 1
        if once_more and len(self._again) < _MOST_AGAIN:
            self._again.append(request)
        self._landed(request, state)
        self._settle()

    def _next(self) -> tuple[Request, bool] | None:
        if self._first:
            return self._first.popleft()
        if not self._exhausted:
            try:
                request = next(self._requests)
            except StopIteration:
                self._exhausted = True
            else:
                return None if request is None else (request, False)
        if self._later:
            return self._later.popleft(), False
        return (self._again.popleft(), True) if self._again else None

    def _settle(self) -> None:
        if self._exhausted and not (self.over or self._first or self._later or self._again or self._flying):
            self.over = True
            self._ended()
