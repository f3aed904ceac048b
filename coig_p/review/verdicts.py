"""What the judges of a store say of the responses that people were shown."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.pairs.config import PairConfig
from coig_p.pairs.labels import Responses
from coig_p.review.folder import response_sha256
from coig_p.review.majority import Response
from coig_p.review.ranking import HUMAN
from coig_p.schema import PAIRING_SCHEMA
from coig_p.stats.agreement import judges_of, preferences
from coig_p.store.store import Store

Unit = tuple[str, Response, Response]
"""A query and two of its responses."""


def judge_verdicts(store: Store, units: Collection[Unit], include_self_judged: bool) -> dict[Unit, dict[str, float]]:
    """What each judge of a store says of two responses: 1 where it prefers the first, 0 the other, .5 neither.

    Scores come before comparisons. People, whose judgements were applied, are none of these judges.
    """
    wanted: dict[str, list[Unit]] = {}
    for unit in units:
        wanted.setdefault(unit[0], []).append(unit)
    config = PairConfig(include_self_judged=include_self_judged, both_orders=store.manifest.both_orders or None)
    found: dict[Unit, dict[str, float]] = {unit: {} for unit in units}
    query_ids = pa.array(list(wanted), pa.string())
    for batch in store.batches(schema=PAIRING_SCHEMA):
        batch = batch.filter(pc.is_in(batch.column("query_id"), query_ids))
        if not batch.num_rows:
            continue
        responses = Responses.of(batch)
        ids = batch.column("query_id").to_pylist()
        answers = batch.column("responses").flatten().to_pylist()
        places = {
            (ids[row], one["model"] or "", int(one["sample"] or 0), response_sha256(one)): at
            for at, (row, one) in enumerate(zip(responses.query.tolist(), answers, strict=True))
        }
        pairs = [
            (unit, places[unit[0], *unit[1]], places[unit[0], *unit[2]])
            for query_id in ids
            for unit in wanted[query_id]
            if (unit[0], *unit[1]) in places and (unit[0], *unit[2]) in places
        ]
        one, other = (np.array([pair[side] for pair in pairs], np.int64) for side in (1, 2))
        for judge in judges_of(responses, batch, config):
            if not judge.startswith(HUMAN):
                known, sign = preferences(responses, batch, config.of_one_judge(judge), one, other)
                for at, (unit, _, _) in enumerate(pairs):
                    if known[at]:
                        found[unit][judge] = (1 + int(sign[at])) / 2
    return found
