"""Queries to look at, and one query as it is looked at, beside the rows themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import Rows, make_rows, make_store
from oracle import oracle_disagreement, oracle_pairs, response_values
from strategies import examples, pair_options, raw_rows

from coig_p.errors import StoreError, UnknownNameError
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import count_combinations, find_pairs
from coig_p.pairs.labels import Responses
from coig_p.report import one_query as one_query_module
from coig_p.report import picking
from coig_p.report.one_query import Place, one_query, place_of, read_query
from coig_p.report.view.compared import compare_configs
from coig_p.schema import RAW_SCHEMA
from coig_p.store.store import Store
from coig_p.store.writing import ROWS_PER_GROUP
from coig_p.validation.gate import check


@pytest.fixture(scope="module")
def rows() -> Rows:
    return make_rows({"math": 40, "chat": 17})


@pytest.fixture(scope="module")
def store(rows: Rows, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.open(make_store(tmp_path_factory.mktemp("picking") / "store", rows))


def quiet(queries: int) -> None:
    pass


def ids(store: Store, found: list[picking.Picked]) -> list[str]:
    config = PairConfig()
    return [str(read_query(store, one.place, config).raw["query_id"]) for one in found]


@examples(100)
@given(raw_rows(), st.sampled_from([0, 0.5, 2]))
def test_one_query_has_its_values_and_pairs(rows: Rows, threshold: float) -> None:
    config = PairConfig(threshold=threshold)
    for row in rows:
        batch = pa.RecordBatch.from_pylist([row], schema=RAW_SCHEMA)
        found = one_query(batch, Place(0, 0), "train", config)
        assert found.raw == row
        values = response_values(row, "mean", None, False)
        assert found.values == tuple(
            float(values[at]) if at in values else None for at in range(len(row["responses"] or []))
        )
        pairs = oracle_pairs([row], threshold=threshold)
        shown = [
            (found.responses[pair.chosen]["text"], found.responses[pair.rejected]["text"], pair.margin)
            for pair in found.pairs
        ]
        assert shown == [(pair["chosen"], pair["rejected"], pair["margin"]) for pair in pairs]
        assert [(pair.chosen_score, pair.rejected_score) for pair in found.pairs] == [
            (pair["chosen_score"], pair["rejected_score"]) for pair in pairs
        ]
        for pair in found.pairs:
            assert pair.compared == (pair.chosen not in values or pair.rejected not in values)
        assert all(number >= 0 for number in found.left_out.values())


@examples(100)
@given(
    raw_rows(),
    pair_options(("all", "adjacent", "best_worst", "best_random")),
    st.sampled_from([None, 0, 1, 3]),
    st.sampled_from([1, 4, 10]),
)
def test_a_query_in_parts_is_the_query(rows: Rows, options: dict[str, Any], most: int | None, at_once: int) -> None:
    config = PairConfig(**options)
    for row in rows:
        batch = pa.RecordBatch.from_pylist([row], schema=RAW_SCHEMA)
        whole = one_query(batch, Place(0, 0), "train", config)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(one_query_module, "_AT_ONCE", at_once)
            found = one_query(batch, Place(0, 0), "train", config, most)
        assert found.pairs == whole.pairs[:most]
        assert (found.pairs_in_all, found.left_out) == (len(whole.pairs), whole.left_out)
        counts = count_combinations(Responses.of(batch), batch, config)
        assert sum(found.left_out.values()) + found.pairs_in_all == counts.labelled
        assert len(whole.pairs) == len(find_pairs(batch, config).chosen)


def test_what_is_not_counted_is_the_judges_own_answer(store: Store) -> None:
    for number, file in enumerate(store.data_files()):
        for row in range(file.rows or 0):
            found = read_query(store, Place(number, row), PairConfig())
            for response, counted in zip(found.responses, found.counted, strict=True):
                assert list(counted) == [score["judge"] != response["model"] for score in response["scores"]]


def test_every_query_is_where_it_is_said_to_be(store: Store, rows: Rows) -> None:
    for row in rows:
        place = place_of(store, row["query_id"])
        assert read_query(store, place, PairConfig()).raw == row
    with pytest.raises(UnknownNameError, match="Did you mean 'math-00"):
        place_of(store, "math-003")
    for place in (Place(99, 0), Place(0, 99), Place(0, -1)):
        with pytest.raises(StoreError):
            read_query(store, place, PairConfig())


def test_the_first_are_the_first(store: Store, rows: Rows) -> None:
    assert ids(store, picking.first(store, 3, (), quiet)) == [row["query_id"] for row in rows[:3]]
    assert ids(store, picking.first(store, 99, ["chat"], quiet)) == [row["query_id"] for row in rows[40:]]


def test_a_draw_is_the_seed_s_whatever_the_shards(store: Store, rows: Rows, tmp_path: Path) -> None:
    other = Store.open(make_store(tmp_path / "other", rows, rows_per_shard=3, rows_per_group=2))
    drawn = ids(store, picking.drawn(store, 8, (), 1, quiet))
    assert ids(other, picking.drawn(other, 8, (), 1, quiet)) == drawn
    assert ids(store, picking.drawn(store, 8, (), 2, quiet)) != drawn
    assert len(set(drawn)) == 8


def test_where_judges_disagree_most(store: Store, rows: Rows) -> None:
    apart = {row["query_id"]: oracle_disagreement(row) for row in rows}
    wanted = sorted((-value, at) for at, value in enumerate(apart.values()) if value is not None)
    found = picking.disagreeing(store, 10, (), PairConfig(), quiet)
    assert ids(store, found) == [list(apart)[at] for _, at in wanted[: len(found)]]
    assert f" are {float(-wanted[0][0]):g} apart on " in found[0].why
    assert sum(len(one.why.splitlines()) for one in found) == 10
    assert len(found) < 10  # some query has several of these pairs, and stands once


def test_pairs_near_a_margin(store: Store, rows: Rows) -> None:
    away = []
    for at, row in enumerate(rows):
        margins = [pair["margin"] for pair in oracle_pairs([row], threshold=0)]
        if margins:
            away.append((min(abs(margin - 2.25) for margin in margins), at))
    found = picking.near(store, 12, (), PairConfig(), 2.25, quiet)
    assert ids(store, found) == [rows[at]["query_id"] for _, at in sorted(away)[:12]]


def test_what_a_rule_found(store: Store) -> None:
    rule = next(row["rule"] for row in check(store).findings.to_pylist() if row["query_id"] is not None)
    wanted = dict.fromkeys(
        row["query_id"] for row in check(store).findings.to_pylist() if row["rule"] == rule and row["query_id"]
    )
    assert ids(store, picking.found_by(store, 5, (), rule, quiet)) == list(wanted)[:5]
    with pytest.raises(UnknownNameError):
        picking.found_by(store, 5, (), "no-such-rule", quiet)


def test_why_two_samples_of_one_model_are_told_apart(tmp_path: Path) -> None:
    answers = [
        {
            "model": "m",
            "sample": sample,
            "text": str(sample),
            "scores": [
                {"judge": "a", "dimension": "overall", "score": 1.0 + sample},
                {"judge": "b", "dimension": "overall", "score": 9.0 - sample},
            ],
        }
        for sample in range(3)
    ]
    rows: Rows = [
        {"query_id": "q", "domain": "math", "query": "问", "source": None, "comparisons": None, "responses": answers}
    ]
    store = Store.open(make_store(tmp_path / "store", rows))
    (found,) = picking.disagreeing(store, 1, (), PairConfig(), quiet)
    assert found.why == "a and b are 4 apart on 3. m and 1. m"


def test_places_count_on_over_the_batches_of_a_shard(tmp_path: Path) -> None:
    rows = make_rows({"math": 2 * ROWS_PER_GROUP + 30})
    made = make_store(tmp_path / "store", rows, rows_per_shard=1000, rows_per_group=ROWS_PER_GROUP)
    store = Store.open(made)
    last = rows[-1]["query_id"]
    assert place_of(store, last) == Place(0, len(rows) - 1)
    assert read_query(store, Place(0, len(rows) - 1), PairConfig()).raw == rows[-1]
    assert ids(store, picking.first(store, len(rows), (), quiet)) == [row["query_id"] for row in rows]
    apart = [oracle_disagreement(row) for row in rows]
    wanted = sorted((-value, at) for at, value in enumerate(apart) if value is not None)[:5]
    found = picking.disagreeing(store, 5, (), PairConfig(), quiet)
    assert [one.place.row for one in found] == [at for _, at in wanted]
    compared = compare_configs(store, PairConfig(threshold=1), PairConfig(threshold=4), first=len(rows))
    assert all(rows[place.row]["query_id"] == query_id for place, query_id in compared.first["lost"])
    assert compared.first["lost"][-1][0].row > ROWS_PER_GROUP
