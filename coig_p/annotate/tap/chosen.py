"""The stage `select`: which responses to each query are compared, noted in the ledger with what told them apart."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import Any

from coig_p.annotate.asking.ledger import ANSWERED, INVALID, Ledger, LedgerWriter, Query
from coig_p.annotate.asking.request import outcome
from coig_p.annotate.config import RunConfig
from coig_p.annotate.tap.embedding import Embed, embedder
from coig_p.annotate.tap.selecting import Response, choose
from coig_p.annotate.tasks.generate import generate_request

_NOTED = "selected "  # before a query's id, the name under which the ledger notes its selection


def responses_of(config: RunConfig, ledger: Ledger, query: Query) -> list[Response] | None:
    """Every response to a query, one a model, in the file's order; None while one may still come."""
    found = []
    for author in config.generators:
        answer = outcome(ledger, generate_request(config, author, query))
        if answer.state == ANSWERED and answer.text is not None:
            found.append(Response(author.name, answer.text))
        elif answer.state != INVALID and not answer.is_refused:
            return None
    return found


def select_all(config: RunConfig, ledger: LedgerWriter) -> dict[str, int]:
    """Select among the responses to every query that has all of them, as far as that is not done.

    Returns:
        How many queries have a selection, and how many wait for responses.
    """
    assert config.tap is not None
    counts: Counter[str] = Counter()
    embed: Embed | None = None
    for query in ledger.queries():
        responses = responses_of(config, ledger, query)
        if responses is None:
            counts["waiting"] += 1
            continue
        counts["selected"] += 1
        made = _made_from(config, responses)
        if _noted(ledger, query).get("made") == made:
            continue
        embed = embedder(config.tap.select.embeddings) if embed is None else embed
        places = []
        if responses:
            vectors = embed([one.text for one in responses])
            settings = config.tap.select
            places = choose(responses, vectors, settings.clusters, settings.anchor, config.seed)
        told = {"made": made, "by": config.tap.select.embeddings, "models": [responses[at].model for at in places]}
        ledger.note(f"{_NOTED}{query.query_id}", json.dumps(told, ensure_ascii=False))
    return dict(counts)


def selected(config: RunConfig, ledger: Ledger, query: Query) -> list[Response] | None:
    """The responses to a query that are compared, ordered by model; None where that is not known, or no longer."""
    responses = responses_of(config, ledger, query)
    if responses is None:
        return None
    noted = _noted(ledger, query)
    if noted.get("made") != _made_from(config, responses):
        return None
    own = {one.model: one for one in responses}
    return [own[model] for model in noted["models"]]


def pairs_of(config: RunConfig, ledger: Ledger, query: Query) -> Iterator[tuple[Response, Response]]:
    """Each two of the selected, once; none while the selection is not known."""
    return combinations(selected(config, ledger, query) or (), 2)


def _noted(ledger: Ledger, query: Query) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ledger.noted(f"{_NOTED}{query.query_id}") or "{}")
    return found


def _made_from(config: RunConfig, responses: list[Response]) -> str:
    """What a selection hangs on, as a short hash."""
    assert config.tap is not None
    settings = config.tap.select
    about = [settings.clusters, settings.anchor, settings.embeddings, config.seed, sorted(responses)]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]
