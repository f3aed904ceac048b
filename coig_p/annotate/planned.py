"""All that the next run needs: each request with what became of it, and whether its like was paid before.

Nothing is written: what the inputs, the filter and the prompts are now is looked at as the run will find it.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from coig_p.annotate.asking.ledger import ANSWERED, BATCHED, FAILED, INVALID, Ledger, Query
from coig_p.annotate.asking.request import PENDING, Outcome, Request, asks, outcome
from coig_p.annotate.config import RunConfig
from coig_p.annotate.invalid import InvalidShares
from coig_p.annotate.tap.foreseeing import foreseen
from coig_p.annotate.tasks.generate import GENERATE, generate_request
from coig_p.annotate.tasks.judge import JUDGE, drawn_judges, judge_request, judges_of
from coig_p.annotate.tasks.queries import QUERY, gathered, query_request
from coig_p.annotate.tasks.structured import probes
from coig_p.annotate.tasks.translate import TRANSLATE, foreign_queries, translations
from coig_p.annotate.taxonomy.config import CHECKS, EMBED, TYPES

_ENOUGH = 20  # outcomes from which a share is taken


class Planned(NamedTuple):
    """A request of the run.

    Attributes:
        found: what became of it.
        pending: whether what it judges is not there yet, so that its text, and its key, are not known.
        weight: how likely it is to be asked, where that hangs on other answers; else 1.
        why: where its like was answered before, in other words: what has changed since. It would be paid again.
        times: how many such requests there will be, about, where answers that are not there yet decide that.
    """

    request: Request
    found: Outcome
    pending: bool = False
    weight: float = 1.0
    why: str | None = None
    times: float = 1.0

    @property
    def due(self) -> bool:
        """Whether the next run sends it."""
        return self.found.state not in (ANSWERED, INVALID, BATCHED)


def planned(
    config: RunConfig, ledger: Ledger, limit: int | None = None, unless: Collection[str] = ()
) -> Iterator[Planned]:
    """Every request of the run, one by one, once all that comes before it is answered.

    Args:
        limit: of the first so many queries alone.
        unless: leave out queries that are concluded with one of these marks.

    Raises:
        UsageError: an input that cannot be used.
        DataError: bad rows with on_error "fail".
    """
    paid = PaidBefore(config, ledger)
    if config.tap is not None:
        for one in foreseen(config, ledger, limit, unless):
            why = paid.why(one.request, one.found, one.made_up)
            yield Planned(one.request, one.found, why=why, times=one.times)
        return
    shares = _Shares(config, ledger)
    for request in probes(config, ledger):
        yield Planned(request, outcome(ledger, request))
    waiting = {}
    for request in translations(config, limit):
        found = outcome(ledger, request)
        yield Planned(request, found, why=paid.why(request, found))
        if found.state not in (ANSWERED, INVALID, BATCHED):
            waiting[request.query_id] = request
    for query in (*_untranslated(config, waiting), *upcoming(config, ledger, limit, unless)):
        weight = 1.0
        if config.queries.filter is not None:
            request = query_request(config, query)
            found = outcome(ledger, request)
            yield Planned(request, found, why=paid.why(request, found))
            if found.state == ANSWERED and found.score is not None:
                weight = float(found.score >= config.queries.pass_score)
            elif found.state in (INVALID, BATCHED) or found.is_refused:
                weight = 0.0
            else:
                score = paid.score(query.query_id)
                weight = shares.passing if score is None else float(score >= config.queries.pass_score)
        if weight:
            yield from _of_query(config, ledger, query, weight, paid, shares)


def _untranslated(config: RunConfig, waiting: Collection[str]) -> Iterator[Query]:
    """Queries whose translation is still to come, in the words that they have: what follows is asked of them, too."""
    return (query for query in foreign_queries(config) if query.query_id in waiting)


def upcoming(
    config: RunConfig, ledger: Ledger, limit: int | None = None, unless: Collection[str] = ()
) -> Iterable[Query]:
    """The queries that the next run has, in its order; it raises what `collect` does."""
    found = gathered(config, ledger)
    if found is not None:
        return found.queries[:limit]
    ledger.only_first(limit)
    return ledger.queries(passed=False, unless=unless)


def _of_query(
    config: RunConfig, ledger: Ledger, query: Query, weight: float, paid: PaidBefore, shares: _Shares
) -> Iterator[Planned]:
    seen: set[bytes] = set()
    for author in config.generators:
        request = generate_request(config, author, query)
        answer = outcome(ledger, request)
        yield Planned(request, answer, weight=weight, why=paid.why(request, answer))
        if answer.state in (INVALID, BATCHED) or answer.is_refused:  # nothing of it is to be judged
            continue
        pending = answer.text is None
        each = weight * shares.usable(author.name) if pending else weight
        text = answer.text
        judges = (
            drawn_judges(config, query.query_id, author.name)
            if text is None
            else judges_of(config, ledger, query, author.name, text)
        )
        for name in judges:
            request = judge_request(config, config.by_name[name], query, author.name, answer.text or "")
            found = Outcome(PENDING) if pending else _state(ledger, request)
            if not pending:
                key = request.key(0)
                if key in seen:  # two models with one text are one request to a judge
                    continue
                seen.add(key)
            yield Planned(request, found, pending, each, paid.why(request, found, pending))


def _state(ledger: Ledger, request: Request) -> Outcome:
    """The state of `outcome`, without reading what was said."""
    last = Outcome(PENDING)
    for ask, asked in asks(ledger, request):
        state = ledger.state(asked.key(ask))
        if state not in (ANSWERED, INVALID, FAILED):
            return Outcome(BATCHED if state == BATCHED else PENDING)
        last = Outcome(state)
        if state != INVALID:
            break
    return last


class PaidBefore:
    """What was answered so far, whatever it was asked with, in 12 bytes a request; read when it is first needed."""

    def __init__(self, config: RunConfig, ledger: Ledger) -> None:
        self.config, self.ledger = config, ledger
        self._about: npt.NDArray[np.int64] | None = None
        self._recipe: npt.NDArray[np.int32]
        self._recipes: list[str] = []
        self._scores: dict[str, float] = {}

    def score(self, query_id: str) -> float | None:
        """What the filter said of a query last, whatever it was asked with."""
        self._read()
        return self._scores.get(query_id)

    def why(self, request: Request, found: Outcome, pending: bool = False) -> str | None:
        """What has changed since the like of a request was answered; None where it never was, or needs not be sent."""
        if found.state != PENDING or not (pending or self.ledger.state(request.key(0)) is None):
            return None
        self._read()
        about, recipe = self._about, self._recipe
        assert about is not None
        one = _hash(request.kind, request.query_id, request.author, request.endpoint.name)
        at = int(np.searchsorted(about, one, side="right")) - 1  # of several the one that was sent last
        if at < 0 or about[at] != one:
            return None
        made = self._recipes[int(recipe[at])]
        opening = all(message["role"] != "assistant" for message in request.messages)
        return changed(self.config, request.kind, request.domain, request.endpoint.name, made, pending, opening)

    def _read(self) -> None:
        if self._about is not None:
            return
        hashes, recipes = array("q"), array("i")
        numbers: dict[str, int] = {}
        for one in self.ledger.paid():
            hashes.append(_hash(one.kind, one.query_id, one.author, one.endpoint))
            recipes.append(numbers.setdefault(one.recipe, len(numbers)))
            if one.kind == QUERY and one.score is not None and one.endpoint == self.config.queries.filter:
                self._scores[one.query_id] = one.score
        about = np.frombuffer(hashes, dtype=np.int64) if hashes else np.zeros(0, np.int64)
        order = np.argsort(about, kind="stable")
        self._about, self._recipes = about[order], list(numbers)
        self._recipe = np.frombuffer(recipes, dtype=np.int32)[order] if hashes else np.zeros(0, np.int32)


def _hash(kind: str, query_id: str, author: str | None, endpoint: str) -> int:
    """64 bits of what a request is about."""
    text = "\x00".join([kind, query_id, author or "", endpoint]).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)


def changed(
    config: RunConfig,
    kind: str,
    domain: str,
    endpoint: str,
    recipe: str,
    pending: bool = False,
    opening: bool = False,
) -> str:
    """In words for people, what has changed since a request was made with a recipe.

    Args:
        pending: whether what it judges is asked for again, too.
        opening: whether it holds no earlier answer.
    """
    try:
        old = json.loads(recipe)
    except ValueError:  # by a version that did not keep it
        return "it is asked in other words now"
    new = json.loads(config.recipes[kind, domain, endpoint])
    named = {
        "prompt": _prompt_of(config, kind, domain, endpoint),
        "model": f"the model of {endpoint}",
        "parameters": f"{'parameters' if kind in (GENERATE, TRANSLATE) else 'judge_parameters'} of {endpoint}",
    }
    if kind == EMBED:
        named["parameters"] = "select.embeddings"
    elif kind in CHECKS:
        named["parameters"] = f"judge_parameters of {endpoint}"
    elif config.tap is not None:
        named["parameters"] = f"parameters of {endpoint}"
    parts = [named.get(part, f"{part} of {endpoint}") for part in new if old.get(part) != new[part]]
    if parts:
        return f"{' and '.join(parts)} changed"
    if kind == JUDGE:
        return "the responses are asked for again" if pending else "the responses are other ones"
    if kind == TYPES and opening:
        return "its subject in the taxonomy changed"
    return "the texts of the queries changed" if config.tap is None else "what it follows on changed"


def _prompt_of(config: RunConfig, kind: str, domain: str, endpoint: str) -> str:
    if config.tap is not None and kind != GENERATE:
        return f"the prompts for {kind}"
    if kind == TRANSLATE:
        return (config.translate.prompt if config.translate else None) or "the package's prompt for translation"
    if kind == GENERATE:
        asked = config.domains.get(domain)
        if asked is not None and (asked.generate or asked.system):
            return f"[domains.{domain}]"
        return f"system of {endpoint}"
    if kind == QUERY:
        return config.prompt_file or "the package's prompt for queries"
    own = config.domains[domain].prompt if domain in config.domains else None
    return own or f"the package's prompt for {domain}"


class _Shares:
    """How often what was asked so far could be used."""

    def __init__(self, config: RunConfig, ledger: Ledger) -> None:
        self._invalid, self._most = InvalidShares(ledger), config.judging.asks
        passed, known = ledger.count_queries(), ledger.count_known()
        self.passing = passed / known if known >= _ENOUGH else 1.0

    def usable(self, endpoint: str) -> float:
        """The share of a model's responses that are ones in the end."""
        return 1 - self._invalid.lost(endpoint, GENERATE, self._most)
