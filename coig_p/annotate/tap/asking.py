"""The first stages of a TaP run: types, their refinement, prompts; and the queries that come of them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from coig_p.annotate.asking.asker import Asker
from coig_p.annotate.asking.batch_api import Batches
from coig_p.annotate.asking.ledger import Dropped, Ledger, LedgerWriter
from coig_p.annotate.asking.request import Request
from coig_p.annotate.config import RunConfig
from coig_p.annotate.tap.conversing import Conversing
from coig_p.annotate.tap.types import Prompted
from coig_p.annotate.tap.walking import Prompts, prompts_of, talking, waiting_at

_PROMPTED = "prompted"  # the name under which the ledger notes which queries it has


def waiting_requests(
    config: RunConfig, ledger: Ledger, stage: str, limit: int | None = None
) -> dict[str, Iterator[Request]]:
    """For each endpoint of such a stage what it is to be asked now; what follows on that comes later."""
    return {name: waiting_at(config, ledger, stage, name, limit) for name in talking(config)}


async def converse(
    config: RunConfig, ledger: LedgerWriter, asker: Asker, batches: Batches, stage: str, limit: int | None = None
) -> None:
    """Bring every conversation of a stage to its end, or as far as endpoints, budget and the user let it."""
    while asker.stopped is None:
        before = asker.answers.total()
        talk = Conversing(config, ledger, stage, asker.wake, limit)
        out = asyncio.create_task(batches.ask_all(partial(waiting_requests, config, ledger, stage, limit)))
        try:
            await asker.ask_sources(talk.sources())
            await out
        finally:
            out.cancel()
            await asyncio.gather(out, return_exceptions=True)
        if not talk.parked or asker.answers.total() == before:
            return


def collect_prompts(config: RunConfig, ledger: LedgerWriter, made_from: str, limit: int | None = None) -> None:
    """Have the ledger know the queries that the prompts are, as far as they are; nothing where it knows them.

    Args:
        made_from: what a run's queries are made from, beside answers.
        limit: of the first so many subjects.
    """
    found = prompts_of(config, ledger, limit)
    digest = _digest(found)
    if ledger.noted(_PROMPTED) == digest and ledger.made_from() == made_from:
        return
    ledger.replace_queries((one.query for one in found.asked), _dropped(found), made_from)
    ledger.note(_PROMPTED, digest)


def _dropped(found: Prompts) -> Iterator[Dropped]:
    for one in found.infeasible:
        reason = "infeasible" if one.feasible is False else "unchecked"
        yield Dropped(reason, _line({"reason": reason, **_told(one)}))
    for lost in found.lost:
        about = {"writer": lost.writer.name, "code": lost.subject.code, "question_type": lost.type.name}
        yield Dropped("no-prompt", _line({"reason": "no-prompt", **about}))


def _told(one: Prompted) -> dict[str, Any]:
    last = one.candidates[-1]
    return {
        "query_id": one.query.query_id,
        "domain": one.query.domain,
        "query": one.query.query,
        "source": one.query.source,
        "meta": one.meta,
        "why": last.reasons,
    }


def _digest(found: Prompts) -> str:
    told = hashlib.sha256()
    for one in (*found.asked, *found.infeasible):
        told.update(_line([one.query, one.meta]).encode())
    told.update(_line([[lost.writer.name, lost.subject.code, lost.type.name] for lost in found.lost]).encode())
    return told.hexdigest()


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
