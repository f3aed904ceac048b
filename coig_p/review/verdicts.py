"""What the judges of a store say of the responses that people were shown."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from coig_p.pairs.config import PairConfig
from coig_p.pairs.labels import Responses, compared_pairs, response_values
from coig_p.review.majority import Response
from coig_p.schema import PAIRING_SCHEMA
from coig_p.stats.agreement import judges_of
from coig_p.store.store import Store

HUMAN = "human:"
"""What stands before the name of a person in the name of a judge."""
Unit = tuple[str, Response, Response]
"""A query and two of its responses."""


def judge_verdicts(store: Store, units: Collection[Unit], include_self_judged: bool) -> dict[Unit, dict[str, float]]:
    """What each judge of a store says of two responses: 1 where it prefers the first, 0 the other, .5 neither.

    Scores come before comparisons. People, whose judgements were applied, are none of these judges.
    """
    wanted: dict[str, list[Unit]] = {}
    for unit in units:
        wanted.setdefault(unit[0], []).append(unit)
    config = PairConfig(include_self_judged=include_self_judged)
    found: dict[Unit, dict[str, float]] = {unit: {} for unit in units}
    query_ids = pa.array(list(wanted), pa.string())
    for batch in store.batches(schema=PAIRING_SCHEMA):
        batch = batch.filter(pc.is_in(batch.column("query_id"), query_ids))
        if not batch.num_rows:
            continue
        responses = Responses.of(batch)
        models, ids = responses.model.names, batch.column("query_id").to_pylist()
        places = {
            (ids[row], models[code] if code >= 0 else "", sample): at
            for at, (row, code, sample) in enumerate(
                zip(responses.query.tolist(), responses.model.code.tolist(), responses.sample.tolist(), strict=True)
            )
        }
        pairs = {
            unit: (places[unit[0], *unit[1]], places[unit[0], *unit[2]])
            for query_id in ids
            for unit in wanted[query_id]
            if (unit[0], *unit[1]) in places and (unit[0], *unit[2]) in places
        }
        for judge in judges_of(responses, batch, config):
            if not judge.startswith(HUMAN):
                for unit, verdict in _verdicts(responses, batch, replace(config, judges=(judge,)), pairs):
                    found[unit][judge] = verdict
    return found


def _verdicts(
    responses: Responses, batch: pa.RecordBatch, config: PairConfig, pairs: Mapping[Unit, tuple[int, int]]
) -> Iterator[tuple[Unit, float]]:
    values, _, scored = response_values(responses, config)
    compared = compared_pairs(responses, batch, config)
    sides = zip(compared.low.tolist(), compared.high.tolist(), strict=True)
    margins = dict(zip(sides, (compared.low_value - compared.high_value).tolist(), strict=True))
    for unit, (one, other) in pairs.items():
        if scored[one] and scored[other]:
            yield unit, _sign(int(values[one]) - int(values[other]))
        elif (margin := margins.get((min(one, other), max(one, other)))) is not None:
            yield unit, _sign(margin if one < other else -margin)


def _sign(margin: int) -> float:
    return 0.5 if not margin else float(margin > 0)
