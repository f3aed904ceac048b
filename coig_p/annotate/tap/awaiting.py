"""Comparisons that a TaP run will ask for: those of selected responses one by one, the others by their number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from coig_p.annotate.asking.ledger import ANSWERED, INVALID, Ledger, Query
from coig_p.annotate.asking.request import PENDING, Outcome, outcome
from coig_p.annotate.config import RunConfig
from coig_p.annotate.tap.comparing import Answers, Selecting, compare_request, shown_to
from coig_p.annotate.tap.foreseeing import Foreseen
from coig_p.annotate.tap.selecting import Response
from coig_p.annotate.tasks.generate import GENERATE

_CHARACTERS = 700  # of a response, until one is there


def with_comparisons(config: RunConfig, ledger: Ledger, every: Iterable[Foreseen]) -> Iterator[Foreseen]:
    """All that is foreseen, with the comparisons of each query behind its responses."""
    selecting, group = Selecting(config), list[Foreseen]()
    number = length = 0
    for one in every:
        yield one
        if one.request.kind != GENERATE:
            continue
        if one.found.text is not None and not one.made_up:
            number, length = number + 1, length + len(one.found.text)
        group.append(one)
        if len(group) == len(config.generators):
            yield from _of_query(config, ledger, selecting, group, round(length / number) if number else _CHARACTERS)
            group = []


def _of_query(
    config: RunConfig, ledger: Ledger, selecting: Selecting, group: Sequence[Foreseen], usual: int
) -> Iterator[Foreseen]:
    asked = group[0].request
    query = Query(0, asked.query_id, asked.domain, asked.messages[-1]["content"], None, None)
    there = [
        Response(one.request.endpoint.name, one.found.text)
        for one in group
        if one.found.state == ANSWERED and one.found.text is not None
    ]
    complete = all(one.found.state in (ANSWERED, INVALID) or one.found.is_refused for one in group)
    chosen = None
    if complete and not any(one.made_up for one in group):
        chosen = selecting.known(ledger, query, Answers(there, {}, complete))
    if chosen is not None:
        for judge in config.judges:
            for shown in shown_to(config, judge, query.query_id, chosen):
                request = compare_request(config, judge, query, shown)
                yield Foreseen(request, outcome(ledger, request), times=group[0].times)
        return
    texts = {one.text for one in there}
    length = round(sum(map(len, texts)) / len(texts)) if complete and texts else usual
    will_be = len(texts) if complete else sum(one.found.state != INVALID and not one.found.is_refused for one in group)
    names = [one.name for one in config.generators][: min(will_be, selecting.settings.clusters)]
    for judge in config.judges:
        pairs = list(shown_to(config, judge, query.query_id, [Response(name, "甲" * length) for name in names]))
        if pairs:  # one stands for all: which they are is not known yet
            request = compare_request(config, judge, query, pairs[0])
            yield Foreseen(request, Outcome(PENDING), made_up=True, times=group[0].times * len(pairs))
