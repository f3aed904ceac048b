"""The pair on which two judges disagree most, beside every pair laid out."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from make import Rows, completed, make_rows
from oracle import judge_margins, oracle_disagreement
from strategies import examples, raw_rows

from coig_p.pairs.config import PairConfig
from coig_p.pairs.labels import Responses
from coig_p.schema import RAW_SCHEMA
from coig_p.stats.disagreement import disagreements


def check(rows: Rows) -> None:
    batch = pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA)
    responses = Responses.of(batch)
    found = disagreements(responses, batch)
    begins = np.searchsorted(responses.query, np.arange(len(rows)))
    for at, row in enumerate(rows):
        wanted = oracle_disagreement(row)
        if wanted is None:
            assert np.isnan(found.value[at])
            assert found.first[at] == found.second[at] == found.judge[at] == found.other[at] == -1
            continue
        assert found.value[at] == float(wanted)
        # And it is the disagreement of those who are named, on the pair that is named.
        judge, other = found.names[found.judge[at]], found.names[found.other[at]]
        first, second = int(found.first[at] - begins[at]), int(found.second[at] - begins[at])
        pair, sign = (min(first, second), max(first, second)), 1 if first < second else -1
        assert any(
            sign * (mine[pair] - theirs[pair]) == wanted
            for kind in ("scores", "comparisons")
            for mine, theirs in [(judge_margins(row, judge, kind), judge_margins(row, other, kind))]
            if pair in mine and pair in theirs
        )


@examples(200)
@given(raw_rows())
def test_equals_every_pair_laid_out(rows: Rows) -> None:
    check(rows)


def test_of_real_looking_rows() -> None:
    check(make_rows({"math": 60}))


def test_one_judge_alone_disagrees_with_nobody() -> None:
    rows = completed(
        [
            {
                "query_id": "q",
                "domain": "math",
                "query": "一加一？",
                "responses": [
                    {"model": name, "text": name, "scores": [{"judge": "a", "dimension": "overall", "score": score}]}
                    for name, score in (("m", 1.0), ("n", 9.0))
                ],
            }
        ]
    )
    check(rows)
    batch = pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA)
    assert np.isnan(disagreements(Responses.of(batch), batch, PairConfig(judges=("a",))).value).all()
