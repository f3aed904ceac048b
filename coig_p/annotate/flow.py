"""Responses on their way to their judges: a response is judged as soon as it is there.

Judges are drawn once for each response, by a hash: neither the order of responses nor how many are on
their way changes who judges what. What waits for a judge takes eight bytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from functools import partial

from coig_p.annotate.asking.ledger import ANSWERED, FAILED, Ledger, Query
from coig_p.annotate.asking.request import Request, outcome
from coig_p.annotate.asking.source import Source
from coig_p.annotate.concluded import marks
from coig_p.annotate.config import EndpointConfig, RunConfig
from coig_p.annotate.tasks.generate import generate_request
from coig_p.annotate.tasks.judge import drawn_judges, judge_request, judges_of

_TRIMMED = 2**16  # numbers that were taken, until their room is given back


class Waiting:
    """Whole numbers, first in, first out."""

    def __init__(self) -> None:
        self._numbers, self._taken = array("q"), 0

    def add(self, number: int) -> None:
        """Add one at the end."""
        self._numbers.append(number)

    def take(self) -> int | None:
        """The first one, or None where there is none."""
        if self._taken == len(self._numbers):
            return None
        self._taken += 1
        number = self._numbers[self._taken - 1]
        if self._taken == _TRIMMED:
            del self._numbers[:_TRIMMED]
            self._taken = 0
        return number


class Judging:
    """Which responses wait for which judge."""

    def __init__(self, config: RunConfig, ledger: Ledger) -> None:
        self.config, self.ledger = config, ledger
        self._authors = {author.name: at for at, author in enumerate(config.generators)}
        self._waiting = {judge.name: Waiting() for judge in config.judges}

    def add(self, place: int, query_id: str, author: str, judges: list[str] | None = None) -> list[str]:
        """Have a model's response to the query at this place judged; by whom. Default: by those that are drawn."""
        judges = drawn_judges(self.config, query_id, author) if judges is None else judges
        for judge in judges:
            self._waiting[judge].add(place * len(self._authors) + self._authors[author])
        return judges

    def requests(self, judge: EndpointConfig, more: Callable[[], bool | None]) -> Iterator[Request | None]:
        """What a judge is asked; None where it has to wait.

        Args:
            more: called where nothing waits: True, something was added, perhaps for another judge;
                None, nothing now; False, nothing ever.
        """
        config, ledger, waiting = self.config, self.ledger, self._waiting[judge.name]
        while True:
            number = waiting.take()
            if number is None:
                come = more()
                if come is None:
                    yield None
                elif not come:
                    return
                continue
            place, at = divmod(number, len(self._authors))
            query, author = ledger.query_at(place), config.generators[at]
            answer = outcome(ledger, generate_request(config, author, query))
            if answer.state == ANSWERED and answer.text is not None:
                yield judge_request(config, judge, query, author.name, answer.text)


def judging_alone(config: RunConfig, ledger: Ledger) -> dict[str, Iterator[Request]]:
    """What each judge is asked about the responses that are there, but for queries that are through."""
    judging = Judging(config, ledger)

    def judges(query: Query, author: EndpointConfig) -> list[str] | None:
        if not config.judging.replace:
            return None
        answer = outcome(ledger, generate_request(config, author, query))
        return [] if answer.text is None else judges_of(config, ledger, query, author.name, answer.text)

    def each() -> Iterator[bool]:
        for query in ledger.queries(unless=marks(config).values()):
            for author in config.generators:
                judging.add(query.place, query.query_id, author.name, judges(query, author))
            yield True

    added = each()
    return {
        judge.name: (request for request in judging.requests(judge, lambda: next(added, False)) if request is not None)
        for judge in config.judges
    }


def flowing(config: RunConfig, ledger: Ledger, wake: Callable[[str], None]) -> dict[str, list[Source]]:
    """What each endpoint is asked where responses are judged as they come in; judging goes first.

    Endpoints that are asked in batches have no part in it.

    Args:
        wake: called with the name of a judge for whom something was added, or nothing will be any more.
    """
    judging = Judging(config, ledger)
    authors = [author for author in config.generators if not author.batch]
    judges = [judge for judge in config.judges if not judge.batch]
    places: dict[str, dict[str, int]] = {author.name: {} for author in authors}  # of what is on its way
    writing = {author.name for author in authors}

    def generated(author: EndpointConfig) -> Iterator[Request]:
        for query in ledger.queries(unless=marks(config).values()):
            places[author.name][query.query_id] = query.place
            yield generate_request(config, author, query)

    def landed(author: str, request: Request, state: str) -> None:
        if state == ANSWERED:
            for judge in judging.add(places[author][request.query_id], request.query_id, author):
                if not config.by_name[judge].batch:
                    wake(judge)
        if state != FAILED:  # which may still be answered
            del places[author][request.query_id]

    def ended(author: str) -> None:
        writing.remove(author)
        for judge in judges if not writing else ():
            wake(judge.name)

    def more() -> bool | None:
        return None if writing else False

    sources = {judge.name: [Source(judging.requests(judge, more))] for judge in judges}
    for author in authors:
        written = Source(generated(author), landed=partial(landed, author.name), ended=partial(ended, author.name))
        sources.setdefault(author.name, []).append(written)
    return sources
