"""Judges compare the selected responses to a query, each two of them in both orders (TaP, section 3.4).

A judge scores both at once on four dimensions. Where it does not give all eight numbers, its answer is invalid for the
two in this order, and so it has no label for them: see the pair option `both_orders`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterator
from functools import lru_cache, partial
from itertools import combinations
from typing import NamedTuple

from coig_p.annotate.asking.ledger import ANSWERED, INVALID, Ledger, LedgerWriter, Query
from coig_p.annotate.asking.request import Outcome, Request, outcome, user_message
from coig_p.annotate.concluded import marks
from coig_p.annotate.config import EndpointConfig, RunConfig, same_family
from coig_p.annotate.tap.embedding import Embed, Vectors, check_extra, embedder
from coig_p.annotate.tap.requests import read_kind, texts_of
from coig_p.annotate.tap.selecting import Response, choose
from coig_p.annotate.tap.vectors import embed_requests, known_vectors
from coig_p.annotate.tasks.generate import generate_request
from coig_p.annotate.taxonomy.config import COMPARE
from coig_p.core.arrays import hash64
from coig_p.core.text import counted
from coig_p.errors import DataError

_AT_HAND = 128  # queries whose selected responses are kept for the judges that come to them later

Shown = tuple[Response, Response]
"""Two responses as a judge sees them: the first, and the second."""


class Answers(NamedTuple):
    """What models answered to a query.

    Attributes:
        responses: in the order of the run's models.
        lacking: of every model without a usable response what became of the request.
        complete: whether no further run would bring one more.
    """

    responses: list[Response]
    lacking: dict[str, Outcome]
    complete: bool


def answers_to(config: RunConfig, ledger: Ledger, query: Query) -> Answers:
    """What the ledger has of a query's responses."""
    responses, lacking, complete = [], {}, True
    for author in config.generators:
        found = outcome(ledger, generate_request(config, author, query))
        if found.state == ANSWERED and found.text is not None:
            responses.append(Response(author.name, found.text))
        else:
            lacking[author.name] = found
            complete = complete and (found.state == INVALID or found.is_refused)
    return Answers(responses, lacking, complete)


class Selecting:
    """Which responses are compared. What embeds is opened where it is first needed."""

    def __init__(self, config: RunConfig) -> None:
        assert config.tap is not None
        self.config, self.settings = config, config.tap.select
        self._embed: Embed | None = None

    def known(self, ledger: Ledger, query: Query, answers: Answers) -> list[Response] | None:
        """The selected ones, where the ledger has a selection of these very responses, made with these settings."""
        kept = json.loads(ledger.noted(_name(query)) or "{}")
        if kept.get("made") != self._mark(answers):
            return None
        return [one for one in answers.responses if one.model in set(kept["models"])]

    def requests(self, query: Query, answers: Answers) -> Iterator[Request]:
        """What an endpoint that embeds is asked before these are selected from."""
        texts = [one.text for one in answers.responses]
        if self.settings.endpoint is not None and len(set(texts)) > self.settings.clusters:
            yield from embed_requests(self.config, query, texts)

    def _vectors(self, ledger: Ledger, query: Query, texts: list[str]) -> Vectors | None:
        if not isinstance(self.settings.embeddings, str):
            return known_vectors(self.config, ledger, query, texts)
        if self._embed is None:
            self._embed = embedder(self.settings.embeddings)
        return self._embed(texts)

    def made(self, ledger: Ledger, query: Query, answers: Answers) -> list[Response] | None:
        """The selected ones, found anew; None where vectors of them are still to come."""
        some = answers.responses
        if len({one.text for one in some}) <= self.settings.clusters:
            at = choose(some, [], self.settings.clusters, self.settings.anchor)  # type: ignore[arg-type]
        else:
            vectors = self._vectors(ledger, query, [one.text for one in some])
            if vectors is None:
                return None
            at = choose(some, vectors, self.settings.clusters, self.settings.anchor, self.config.seed)
        return [some[place] for place in at]

    def note(self, ledger: LedgerWriter, query: Query, answers: Answers) -> bool:
        """Have the ledger know the selection of a query, and with which vectors it was made; whether that can be."""
        chosen = self.made(ledger, query, answers)
        if chosen is None:
            return False
        models = [one.model for one in chosen]
        told = {"made": self._mark(answers), "embeddings": self.settings.embeddings, "models": models}
        ledger.note(_name(query), json.dumps(told, ensure_ascii=False))
        return True

    def _mark(self, answers: Answers) -> str:
        settings = [self.settings.clusters, self.settings.anchor, self.settings.embeddings, self.config.seed]
        made = json.dumps([settings, sorted(answers.responses)], sort_keys=True)
        return hashlib.sha256(made.encode()).hexdigest()[:32]


def _name(query: Query) -> str:
    return f"selected {query.query_id}"


def check_select(config: RunConfig) -> None:
    """Raise UsageError where responses will have to be grouped, and what that needs cannot be had."""
    assert config.tap is not None
    if len(config.generators) > config.tap.select.clusters:
        if isinstance(config.tap.select.embeddings, str):
            embedder(config.tap.select.embeddings)
        check_extra()


def embeddings(config: RunConfig, ledger: Ledger) -> dict[str, Iterator[Request]]:
    """What the endpoint that embeds is asked, of every query whose responses are all there; {} where none embeds."""
    assert config.tap is not None
    name = config.tap.select.endpoint
    if name is None:
        return {}

    def requests() -> Iterator[Request]:
        selecting = Selecting(config)
        for query in ledger.queries(unless=marks(config).values()):
            answers = answers_to(config, ledger, query)
            if answers.complete and selecting.known(ledger, query, answers) is None:
                yield from selecting.requests(query, answers)

    return {name: requests()}


def count_embeddings(config: RunConfig, ledger: Ledger) -> int:
    """How many requests for vectors there are, of queries whose responses are all there."""
    assert config.tap is not None
    if config.tap.select.endpoint is None:
        return 0
    selecting = Selecting(config)
    found = 0
    for query in ledger.queries():
        answers = answers_to(config, ledger, query)
        if answers.complete:
            found += sum(1 for _ in selecting.requests(query, answers))
    return found


def select_responses(config: RunConfig, ledger: LedgerWriter) -> dict[str, int]:
    """Have the ledger know which responses are compared, of every query whose responses are all there.

    Returns:
        How many queries were selected from, and how many wait for responses or vectors.

    Raises:
        DataError: vectors of a query cannot be used; all others are selected from.
    """
    selecting, through = Selecting(config), marks(config).values()
    counts = Counter({"selected": ledger.count_queries() - ledger.count_queries(unless=through), "waiting": 0})
    wrong: list[DataError] = []
    for query in ledger.queries(unless=through):
        answers = answers_to(config, ledger, query)
        if not answers.complete:
            counts["waiting"] += 1
            continue
        try:
            done = selecting.known(ledger, query, answers) is not None or selecting.note(ledger, query, answers)
        except DataError as error:
            wrong.append(error)
            continue
        counts["selected" if done else "waiting"] += 1
    if wrong:
        more = f" ({counted(len(wrong) - 1, 'more query', 'more queries')} like it)" if wrong[1:] else ""
        raise DataError(f"{wrong[0]}{more}")
    return dict(counts)


def shown_to(config: RunConfig, judge: EndpointConfig, query_id: str, chosen: list[Response]) -> Iterator[Shown]:
    """What a judge sees of a query: every two of the selected responses in both orders, or in one that a hash draws."""
    assert config.tap is not None
    settings = config.tap.compare
    own = [one for one in chosen if settings.own_family or not same_family(judge, config.by_name[one.model])]
    for one, other in combinations(sorted(own), 2):
        if settings.both_orders:
            yield one, other
            yield other, one
        elif hash64(json.dumps([config.seed, query_id, one.model, other.model])) % 2:
            yield other, one
        else:
            yield one, other


def compare_request(config: RunConfig, judge: EndpointConfig, query: Query, shown: Shown) -> Request:
    """A judge's scores of two responses, as they are shown."""
    texts = texts_of(config)
    first, second = shown
    return Request(
        judge,
        kind=COMPARE,
        domain=query.domain,
        query_id=query.query_id,
        messages=(user_message(texts.compare(query.query, first.text, second.text)),),
        parameters=judge.judge_parameters,
        read=partial(read_kind, kind=COMPARE, words=texts.words),
        author=f"{first.model} | {second.model}",
        asks=config.judging.asks,
        recipe=config.recipes[COMPARE, query.domain, judge.name],
        again=texts.again(COMPARE),
    )


def comparisons(config: RunConfig, ledger: Ledger) -> dict[str, Iterator[Request]]:
    """What each judge is asked of the queries whose responses are selected, but for those that are through."""
    through, selecting = marks(config).values(), Selecting(config)

    @lru_cache(maxsize=_AT_HAND)  # or each judge would have all responses read anew
    def chosen(query: Query) -> list[Response]:
        return selecting.known(ledger, query, answers_to(config, ledger, query)) or []

    def requests(judge: EndpointConfig) -> Iterator[Request]:
        for query in ledger.queries(unless=through):
            for shown in shown_to(config, judge, query.query_id, chosen(query)):
                yield compare_request(config, judge, query, shown)

    return {judge.name: requests(judge) for judge in config.judges}


def count_comparisons(config: RunConfig, ledger: Ledger, unless: Collection[str] = ()) -> Counter[str]:
    """How many requests comparing takes of each judge: of queries that are not selected from yet as many as may be.

    Args:
        unless: see `Ledger.queries`.
    """
    assert config.tap is not None
    usual = [one.name for one in config.generators][: config.tap.select.clusters]
    compared: Counter[tuple[str, ...]] = Counter()
    for query in ledger.queries(unless=unless):
        kept = ledger.noted(_name(query))
        compared[tuple(usual if kept is None else json.loads(kept)["models"])] += 1
    found: Counter[str] = Counter()
    for models, number in compared.items():  # how many there are hangs on no query
        some = [Response(model, "") for model in models if model in config.by_name]
        for judge in config.judges:
            found[judge.name] += number * sum(1 for _ in shown_to(config, judge, "", some))
    return found
