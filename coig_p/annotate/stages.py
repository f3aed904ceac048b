"""The stages of a run, each alone or one after another: queries, generate with judge, store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial

from coig_p.annotate.asking.asker import Asker
from coig_p.annotate.asking.batch_api import Batches
from coig_p.annotate.asking.client import check_extra
from coig_p.annotate.asking.costs import Spent
from coig_p.annotate.asking.ledger import ANSWERED, VERSION, Ledger, LedgerWriter
from coig_p.annotate.asking.limits import Budget
from coig_p.annotate.asking.request import Request
from coig_p.annotate.asking.stopping import stopped_by_signals
from coig_p.annotate.concluded import marks
from coig_p.annotate.config import EndpointConfig, RunConfig, check_budget
from coig_p.annotate.flow import flowing, judging_alone
from coig_p.annotate.repaying import allow, is_allowed
from coig_p.annotate.storing import Stored, check_places, write_store_of
from coig_p.annotate.tap.answers import read_answer
from coig_p.annotate.tap.asking import collect_prompts, converse, waiting_requests
from coig_p.annotate.tap.comparing import (
    check_select,
    comparisons,
    count_comparisons,
    count_embeddings,
    embeddings,
    select_responses,
)
from coig_p.annotate.tap.storing import write_tap_store
from coig_p.annotate.tap.walking import CHAINED, Counting
from coig_p.annotate.tasks.generate import GENERATE, generate_request
from coig_p.annotate.tasks.queries import cannot_embed, collect, decide, made_from, query_request
from coig_p.annotate.tasks.structured import PROBE, probes
from coig_p.annotate.tasks.translate import translations
from coig_p.annotate.watching import Watch, Watcher
from coig_p.errors import RemoteError, UsageError

STAGES = ("queries", "generate", "judge", "store")
TAP_STAGES = (*CHAINED, "generate", "select", "compare", "store")


def stages_of(config: RunConfig) -> tuple[str, ...]:
    """The stages of a run, in their order."""
    return STAGES if config.tap is None else TAP_STAGES


def check_stages(config: RunConfig, stages: Collection[str]) -> None:
    """Raise UsageError where a run has no such stage."""
    own = stages_of(config)
    for stage in stages:
        if stage not in own:
            kind = "a run with a taxonomy" if config.tap is not None else "a run without a taxonomy"
            raise UsageError(f"{config.path}: {kind} has no stage {stage}; it has {', '.join(own)}")


def gather(config: RunConfig, ledger: LedgerWriter, limit: int | None = None) -> None:
    """Have the ledger know the queries: of the inputs, or those that a taxonomy brought so far.

    Args:
        limit: of the first so many rows, or subjects.

    Raises:
        UsageError: an input that cannot be used.
        DataError: bad rows with on_error "fail".
    """
    if config.tap is None:
        collect(config, ledger)
        ledger.only_first(limit)
    else:
        collect_prompts(config, ledger, made_from(config), limit)


@dataclass
class Report:
    """What a run did.

    Attributes:
        queries: how many passed, are undecided, or were dropped under which reason.
        sent, failed: attempts, and requests that failed, by endpoint in this run.
        left: endpoints that were left or paused, and why.
        unread: kinds of requests that were answered, and of which no answer could be used.
        abandoned: requests by endpoint that were in flight and not waited for.
        stopped: interrupted, budget, time, or None.
        nothing: where there is no answer to store, what became of the requests, by state and reason.
        cost: what all runs of this folder cost so far.
    """

    queries: dict[str, int] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    abandoned: dict[str, int] = field(default_factory=dict)
    stopped: str | None = None
    stored: Stored | None = None
    nothing: dict[str, int] = field(default_factory=dict)
    cost: Spent = field(default_factory=Spent)


def requests_of(
    config: RunConfig, ledger: Ledger, stage: str, limit: int | None = None
) -> dict[str, Iterator[Request]]:
    """For each endpoint of a stage what it is to be asked, made as it is taken; also what is done already,
    but for queries that are through.

    Args:
        stage: queries, generate, judge; of a TaP run types, refine, prompts, generate, compare; or translate, which
            comes before the queries are collected; or probe, which finds out which judges have structured output.
        limit: translate only what is among the first so many rows.
    """
    if stage in CHAINED:
        return waiting_requests(config, ledger, stage, limit)
    if stage == "probe":
        return {request.endpoint.name: iter([request]) for request in probes(config, ledger)}
    if stage == "translate":
        return {} if config.translate is None else {config.translate.endpoint: translations(config, limit)}
    if stage == "queries":
        if config.queries.filter is None:
            return {}
        some = ledger.queries(passed=False, unless=marks(config).values())
        return {config.queries.filter: (query_request(config, query) for query in some)}
    if stage == "generate":
        through = marks(config).values()
        return {one.name: _generate(config, one, ledger, through) for one in config.generators}
    if stage == "select":
        return embeddings(config, ledger)
    if stage == "compare":
        return comparisons(config, ledger)
    return judging_alone(config, ledger)


def count_of(config: RunConfig, ledger: Ledger, stage: str, unless: Collection[str] = ()) -> int:
    """How many requests a stage has in all, asked again ones not counted; `unless`: see `Ledger.queries`."""
    if stage in CHAINED:
        return Counting(config, ledger).requests(stage).total()
    if stage == "select":
        return count_embeddings(config, ledger)
    if stage == "compare":
        return count_comparisons(config, ledger, unless).total()
    if stage == "probe":
        return len(requests_of(config, ledger, stage))
    if stage == "translate":
        return sum(1 for _ in translations(config))
    queries = ledger.count_queries(passed=stage != "queries", unless=unless)
    if stage == "queries":
        return queries if config.queries.filter else 0
    return queries * len(config.generators) * (config.judging.judges_per_response if stage == "judge" else 1)


def run_stages(
    config: RunConfig,
    stages: tuple[str, ...] | None = None,
    *,
    max_cost: int | None = None,
    max_seconds: float | None = None,
    say: Callable[[str], None] = lambda line: None,
    watch: Watch | None = None,
    limit: int | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> Report:
    """Run stages in their order (COIG-P, section 3), and stop where money, time or the user ends them.

    What was answered before is not asked again: the same call goes on where another one ended.

    Args:
        stages: some of `stages_of`; None: all. "store" alone only reads, also while another run is working.
        max_cost: in place of the file's, in 1/MONEY (10**-12 of the currency), over all runs of its folder.
        max_seconds: after which nothing more is sent.
        say: called with lines for people.
        watch: called once a second with how the run is doing.
        limit: ask only for the first so many queries, or subjects. The store still gets all that there is.
        loop_factory: makes the event loop, by whose clock limits, backoff and deadlines go.

    Raises:
        UsageError: a key is not set, another run is working in the folder, or something else than the run's own
            is where it writes.
        DataError: bad queries, or a ledger that cannot be written.
    """
    stages = stages_of(config) if stages is None else stages
    check_stages(config, stages)
    check_places(config)
    if stages == ("store",):  # reads alone, so also while a run is working
        with Ledger.open(config.folder) as ledger:
            return Report(stored=_write_store(config, ledger), cost=ledger.spent())
    most = config.max_cost if max_cost is None else max_cost
    if most is not None:
        check_budget(config)
    of_queries = config.queries.filter is not None or config.translate is not None
    if "select" in stages:
        check_select(config)
    embeds = config.tap is not None and config.tap.select.endpoint is not None
    silent = {"store", *(() if of_queries else ("queries",)), *(() if embeds else ("select",))}
    asks = not silent.issuperset(stages)
    if asks:
        check_extra()  # before time counts
        for endpoint in config.endpoints:
            endpoint.secrets()  # before the first request, not at the first of this endpoint
    with LedgerWriter.open(config.folder) as ledger:
        ledger.count_in(config.currency)
        report = Report()
        if ledger.upgraded_from is not None:
            say(f"the ledger was of version {ledger.upgraded_from}, and is of version {VERSION} from now on")
        if config.tap is None and (why := cannot_embed(config)) is not None:
            say(why)
        before = is_allowed(config, ledger)
        if config.tap is None:  # else that is done once the prompts are there
            gather(config, ledger, limit)
        allow(config, ledger, stages, limit, before)
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(_run(config, ledger, stages, report, most, max_seconds, limit, say, watch))
        report.cost = ledger.spent()
        return report


async def _run(
    config: RunConfig,
    ledger: LedgerWriter,
    stages: tuple[str, ...],
    report: Report,
    most: int | None,
    max_seconds: float | None,
    limit: int | None,
    say: Callable[[str], None],
    watch: Watch | None,
) -> None:
    asker = Asker(config.by_name, ledger, Budget(most, ledger.spent().most), say=say, most_invalid=config.most_invalid)
    batches = Batches(ledger, asker, partial(read_answer, config, ledger))
    watching = None
    if watch is not None:
        watching = asyncio.create_task(_watch(Watcher(config, ledger, asker, stages, limit), watch))
    timer = None
    if max_seconds is not None:
        timer = asyncio.get_running_loop().call_later(max_seconds, asker.stop, "time")
    try:
        with stopped_by_signals(asker):
            if requests_of(config, ledger, "probe") and not {"queries", "judge"}.isdisjoint(stages):
                await asker.ask_all(requests_of(config, ledger, "probe"))
                asker.forgive()  # who has no structured output is asked without; nothing is missing
            if "queries" in stages:
                if config.translate is not None:
                    await _ask(config, ledger, asker, batches, ("translate",), limit)
                    gather(config, ledger, limit)
                await _ask(config, ledger, asker, batches, ("queries",))
            for stage in CHAINED:
                if stage in stages:
                    await converse(config, ledger, asker, batches, stage, limit)
            if config.tap is not None:
                gather(config, ledger, limit)
            report.queries = decide(config, ledger)
            judged = tuple(one for one in ("generate", "judge") if one in stages)
            await _ask(config, ledger, asker, batches, judged)
            if len(judged) > 1 and any(endpoint.batch for endpoint in config.endpoints):
                await _ask(config, ledger, asker, batches, ("judge",))
            if "select" in stages:
                if requests_of(config, ledger, "select"):
                    await _ask(config, ledger, asker, batches, ("select",))
                select_responses(config, ledger)
            if "compare" in stages:
                await _ask(config, ledger, asker, batches, ("compare",))
            sent = -1
            while "judge" in stages and config.judging.replace and sent != asker.asked.total():
                sent = asker.asked.total()  # judges that refused are replaced, by some who may refuse in turn
                await _ask(config, ledger, asker, batches, ("judge",))
            if "store" in stages:
                if limit is not None:  # the others may have been collected anew: what was said of them still holds
                    ledger.only_first(None)
                    if config.tap is not None:
                        gather(config, ledger)
                    decide(config, ledger)
                report.stored = _store(config, ledger, report)
    finally:
        if timer is not None:
            timer.cancel()
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)  # a terminal that is gone stops no run
        await batches.close()
        await asker.close()
        report.abandoned = ledger.recover("abandoned", "stopped")
        report.sent, report.failed, report.stopped = dict(asker.asked), dict(+asker.failed), asker.stopped
        kinds = dict.fromkeys(kind for kind, _ in asker.answers)
        report.unread = [kind for kind in kinds if kind != PROBE and not asker.answers[kind, ANSWERED]]
        report.left = {name: port.gate.left for name, port in asker.ports.items() if port.gate.left is not None}


def _store(config: RunConfig, ledger: Ledger, report: Report) -> Stored | None:
    if ledger.any_answered(GENERATE):
        return _write_store(config, ledger)
    for found in ledger.outcomes(GENERATE):
        report.nothing[found.state if found.reason is None else f"{found.state}: {found.reason}"] = found.number
    return None


def _write_store(config: RunConfig, ledger: Ledger) -> Stored:
    return write_store_of(config, ledger) if config.tap is None else write_tap_store(config, ledger)


async def _ask(
    config: RunConfig,
    ledger: Ledger,
    asker: Asker,
    batches: Batches,
    stages: tuple[str, ...],
    limit: int | None = None,
) -> None:
    """Ask for one stage, or for responses and their judgements at once; of batches for the first one."""
    if asker.stopped is not None or not stages:
        return
    out = asyncio.create_task(batches.ask_all(partial(requests_of, config, ledger, stages[0], limit)))
    try:
        if len(stages) > 1:
            await asker.ask_sources(flowing(config, ledger, asker.wake))
        else:
            wanted = requests_of(config, ledger, stages[0], limit)
            await asker.ask_all({name: some for name, some in wanted.items() if not config.by_name[name].batch})
        await out
    finally:
        out.cancel()
        await asyncio.gather(out, return_exceptions=True)


async def _watch(watcher: Watcher, watch: Watch) -> None:
    watcher.asker.heard = watcher.heard
    while True:
        await asyncio.sleep(1)
        watch(watcher.view())


def _generate(config: RunConfig, author: EndpointConfig, ledger: Ledger, through: Collection[str]) -> Iterator[Request]:
    for query in ledger.queries(unless=through):
        yield generate_request(config, author, query)


def exit_code(report: Report) -> int:
    """130 interrupted; 1 where answers of a kind came and none could be used, or where money or time ended it;
    3 where an endpoint was left or requests failed; else 0."""
    if report.stopped == "interrupted":
        return 130
    if report.unread:
        return 1
    if report.left or report.failed:
        return RemoteError.exit_code
    return 1 if report.stopped else 0
