"""The stages of a run through batch files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from coig_p.annotate.asking.batch import Read, read_batches, write_batches
from coig_p.annotate.asking.ledger import ANSWERED, INVALID, LedgerWriter
from coig_p.annotate.asking.request import outcome
from coig_p.annotate.config import RunConfig
from coig_p.annotate.repaying import allow
from coig_p.annotate.stages import gather, requests_of, stages_of
from coig_p.annotate.storing import check_places
from coig_p.annotate.tap.answers import read_answer
from coig_p.annotate.tap.comparing import select_responses
from coig_p.annotate.tasks.queries import decide
from coig_p.errors import UsageError
from coig_p.store.places import check_folder_name


def batch_out(
    config: RunConfig, ledger: LedgerWriter, folder: Path, overwrite: bool = False
) -> tuple[str | None, dict[Path, int]]:
    """Write what the first unfinished stage still has to ask, a file for each endpoint.

    Args:
        overwrite: replace batch files of that stage in the folder.

    Returns:
        The stage (None: nothing is left to ask) and how many requests are in each file.
    """
    check_folder_name(folder)
    check_places(config)
    ledger.count_in(config.currency)
    gather(config, ledger)
    allow(config, ledger, stages_of(config), None, True)
    decide(config, ledger)
    places = {endpoint.name: place for place, endpoint in enumerate(config.endpoints)}
    stages = ("translate", *stages_of(config)) if config.tap is None else stages_of(config)
    for stage in stages:
        if stage == "select":
            for request in chain.from_iterable(requests_of(config, ledger, stage).values()):
                if outcome(ledger, request).state not in (ANSWERED, INVALID):
                    raise UsageError(
                        f"endpoint {request.endpoint.name!r} embeds, which no batch file is for: "
                        "`coigp annotate select` asks it online, and then the next files can be written"
                    )
            select_responses(config, ledger)
        if stage in ("store", "select"):
            continue
        files = (
            (folder / f"{stage}-{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}-{places[name]}.jsonl", requests)
            for name, requests in requests_of(config, ledger, stage).items()
        )
        written = write_batches(ledger, files, overwrite)
        if written:
            return stage, written
    return None, {}


def batch_in(config: RunConfig, ledger: LedgerWriter, paths: Sequence[Path]) -> Read:
    """Take in the answers of batch files; a bad line is named and takes nothing from the others.

    Raises:
        UsageError: the costs of the folder are in another currency.
    """
    ledger.count_in(config.currency)
    return read_batches(ledger, config.by_name, paths, partial(read_answer, config, ledger))
