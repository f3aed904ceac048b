"""Rows for the pairing kernel, and the pairs that it makes of them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
from oracle import Rewards
from strategies import pair_options

from coig_p.pairs.config import FORMATS, STRATEGIES, PairConfig
from coig_p.pairs.rows import pair_tables
from coig_p.schema import PAIR_SCHEMAS, RANKED_FORMATS, RAW_SCHEMA
from coig_p.store.rewarded import add_rewards

Row = dict[str, Any]

OF_PAIRS = tuple(form for form in FORMATS if form not in RANKED_FORMATS)
NO_DRAW = tuple(strategy for strategy in STRATEGIES if strategy != "best_random")
OPTIONS = pair_options()
OPTIONS_WITH_DRAWS = pair_options(strategies=STRATEGIES)


REWARDS = "crm"


def as_batch(rows: list[Row], rewards: Rewards | None = None) -> pa.RecordBatch:
    """Rows as the kernel takes them, with rewards called REWARDS beside them."""
    batch = pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA)
    if rewards is None:
        return batch
    given = [rewards.get((row["query_id"], at)) for row in rows for at in range(len(row["responses"] or []))]
    return add_rewards(batch, REWARDS, np.array([np.nan if one is None else one for one in given], np.float64))


def pairs_of_batch(batch: pa.RecordBatch, **options: Any) -> list[Row]:
    config = PairConfig(**options)
    found = []
    for table in pair_tables(batch, config):
        assert table.schema.equals(PAIR_SCHEMAS[config.format])
        assert table.num_rows > 0
        table.validate(full=True)
        found += table.to_pylist()
    return found


def kernel_pairs(rows: list[Row], rewards: Rewards | None = None, **options: Any) -> list[Row]:
    if rewards is not None:
        options["agree_with"] = REWARDS
    return pairs_of_batch(as_batch(rows, rewards), **options)


def by_query(found: list[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in found:
        groups[row["query_id"]].append(row)
    return groups


def model_pairs(found: list[Row]) -> set[tuple[str, str, str]]:
    return {(row["query_id"], row["chosen_model"], row["rejected_model"]) for row in found}


def response(model: str, *scores: float, text: str | None = None) -> Row:
    """A response with one score of each of the judges j0, j1, j2 ..."""
    entries = [{"judge": f"j{n}", "dimension": "overall", "score": float(score)} for n, score in enumerate(scores)]
    return {"model": model, "text": f"answer of {model}" if text is None else text, "scores": entries}


def comparison(first: int, second: int, first_score: float, second_score: float, judge: str = "j") -> Row:
    return {
        "first": first,
        "second": second,
        "judge": judge,
        "dimension": "overall",
        "first_score": float(first_score),
        "second_score": float(second_score),
    }


def query(*responses: Row, query_id: str = "q", comparisons: list[Row] | None = None) -> Row:
    return {
        "query_id": query_id,
        "domain": "math",
        "query": "一加一？",
        "source": None,
        "responses": list(responses),
        "comparisons": comparisons,
    }


def four_answers(count: int, prefix: str = "q") -> list[Row]:
    """Queries with four responses, thus six pairs, the same models ranked in many ways."""
    answers = []
    for number in range(count):
        scores = np.random.default_rng(number).permutation(4)
        responses = [response(model, float(score)) for model, score in zip("abcd", scores, strict=True)]
        answers.append(query(*responses, query_id=f"{prefix}{number}"))
    return answers
