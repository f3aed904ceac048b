"""A store written anew: against the slow, obvious way, whatever becomes of its rows."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from make import make_rows, make_store
from rewriting import Changes, Row, rewriting
from strategies import examples

from coig_p.errors import DataError, StoreError, UsageError
from coig_p.schema import UNITS
from coig_p.store import writing
from coig_p.store.changes import Change, Loss, TakenIn
from coig_p.store.rewrite import Rewritten, dropped_before, rewrite_store
from coig_p.store.store import Store


def slowly(rows: list[Row], changes: Changes) -> tuple[list[Row], dict[str, Counter[str]]]:
    """Each response is told by the row and place that it had, so that nothing is renumbered on the way."""
    lost: dict[str, Counter[str]] = defaultdict(Counter)
    left = []
    for row in rows:
        change = changes.get((row["domain"], row["query_id"]), Change())
        if change.row is not None:
            lost[change.row]["rows"] += 1
            if not change.moved:
                lost[change.row]["responses"] += len(row["responses"])
                lost[change.row]["scores"] += sum(len(response["scores"] or ()) for response in row["responses"])
                lost[change.row]["comparisons"] += len(row["comparisons"] or ())
            continue
        told: dict[tuple[str, int], Row] = {}
        for at, response in enumerate(row["responses"]):
            scores = list(enumerate(response["scores"] or ()))
            if at in change.responses:
                lost[change.responses[at]]["responses"] += 1
                lost[change.responses[at]]["scores"] += len(scores)
                continue
            for nth, _ in scores:
                if (at, nth) in change.scores:
                    lost[change.scores[at, nth]]["scores"] += 1
            kept = [score for nth, score in scores if (at, nth) not in change.scores]
            told[row["query_id"], at] = response | {"scores": None if response["scores"] is None else kept}
        compared = []
        for at, comparison in enumerate(row["comparisons"] or ()):
            gone = [side for side in (comparison["first"], comparison["second"]) if side in change.responses]
            if at in change.comparisons:
                lost[change.comparisons[at]]["comparisons"] += 1
            elif gone:
                lost[change.responses[gone[0]]]["comparisons"] += 1
            else:
                compared.append((row["query_id"], comparison))
        for taken in change.taken_in:
            own = taken.query_id
            other = next(row for row in rows if row["query_id"] == own)
            answered = {response["model"] for response in told.values()}
            for at, response in enumerate(other["responses"]):
                if response["model"] in answered:
                    lost[taken.reason]["responses"] += 1
                    lost[taken.reason]["scores"] += len(response["scores"] or ())
                else:
                    told[own, at] = response
            for comparison in other["comparisons"] or ():
                if {(own, comparison["first"]), (own, comparison["second"])} <= told.keys():
                    compared.append((own, comparison))
                else:
                    lost[taken.reason]["comparisons"] += 1
        place = {name: at for at, name in enumerate(told)}
        comparisons = [
            comparison | {side: place[own, comparison[side]] for side in ("first", "second")}
            for own, comparison in compared
        ]
        nothing = row["comparisons"] is None and not comparisons
        left.append(row | {"responses": list(told.values()), "comparisons": None if nothing else comparisons})
    return left, lost


def rewritten(store: Store, out: Path, changes: Changes, **options: Any) -> Rewritten:
    return rewrite_store(
        store,
        out,
        lambda domain, query_id: changes.get((domain, query_id)),
        step="step",
        record=lambda dropped: {"dropped": {reason: loss.to_dict() for reason, loss in dropped.items()}},
        **options,
    )


@examples(40)
@given(rewriting())
def test_as_the_slow_way_rows_and_counts_and_bytes(case: tuple[list[Row], Changes]) -> None:
    rows, changes = case
    left, lost = slowly(rows, changes)
    with TemporaryDirectory() as folder, mock.patch.object(writing, "ROWS_PER_SHARD", 3):
        store = Store.open(make_store(Path(folder) / "store", rows, rows_per_shard=3))
        out = Path(folder) / "out"
        if not left:
            with pytest.raises(DataError, match="no query is left"):
                rewritten(store, out, changes)
            assert not out.exists()
            return
        seen: list[int] = []
        with mock.patch.object(writing, "ROWS_PER_GROUP", 4):
            found = rewritten(store, out, changes, reasons=["none"], advance=seen.append)
        assert sum(seen) == len(rows)
        assert [row for batch in found.store.batches() for row in batch.to_pylist()] == left
        wanted = {reason: Loss(**lost[reason]) for reason in sorted({*lost, "none"})}
        assert dict(found.dropped) == wanted
        assert list(found.dropped) == list(wanted)
        for unit in UNITS:
            before, after = (sum(getattr(file, unit) for file in one.data_files()) for one in (store, found.store))
            assert before - after == getattr(found.lost, unit)
        assert found.store.verify() == []
        assert found.store.manifest.options["step"] == {"dropped": found.to_dict()["dropped"]}
        straight = Store.open(make_store(Path(folder) / "straight", left, rows_per_shard=3))
        assert [file.sha256 for file in straight.data_files()] == [file.sha256 for file in found.store.data_files()]


def test_what_went_adds_up_over_several_runs(tmp_path: Path) -> None:
    store = Store.open(make_store(tmp_path / "0", make_rows({"math": 6})))
    first = rewritten(store, tmp_path / "1", {("math", "math-0001"): Change(row="bad")})
    earlier = {reason: Loss.from_dict(told) for reason, told in dropped_before(first.store, "step").items()}
    assert earlier == dict(first.dropped)
    changes = {("math", "math-0002"): Change(row="bad"), ("math", "math-0003"): Change(row="alike")}
    second = rewritten(first.store, tmp_path / "2", changes, earlier=earlier)
    assert {reason: loss.rows for reason, loss in second.dropped.items()} == {"alike": 1, "bad": 1}
    told = second.store.manifest.options["step"]["dropped"]
    assert {reason: numbers["rows"] for reason, numbers in told.items()} == {"alike": 1, "bad": 2}
    whole = {unit: sum(numbers[unit] for numbers in told.values()) for unit in UNITS}
    assert whole == (first.lost + second.lost).to_dict()


def test_a_manifest_that_tells_nonsense_counts_nothing(tmp_path: Path) -> None:
    path = make_store(tmp_path / "store", make_rows({"math": 3}))
    manifest = json.loads((path / "manifest.json").read_text("utf-8"))
    for told in (None, 3, {"dropped": [1]}, {"dropped": {"bad": {"rows": "x", "scores": 2, "other": 5}}}):
        (path / "manifest.json").write_text(json.dumps(manifest | {"options": {"step": told}}), encoding="utf-8")
        found = {name: Loss.from_dict(one) for name, one in dropped_before(Store.open(path), "step").items()}
        assert found in ({}, {"bad": Loss(scores=2)})


def test_what_goes_at_the_end_is_counted_though_nothing_is_left_to_write_there(tmp_path: Path) -> None:
    rows = make_rows({"math": 30})
    store = Store.open(make_store(tmp_path / "store", rows, rows_per_shard=10))
    changes = {("math", row["query_id"]): Change(row="late") for row in rows[10:]}
    found = rewritten(store, tmp_path / "out", changes)
    assert found.lost.rows == 20
    assert found.lost.responses == sum(len(row["responses"]) for row in rows[10:])


def test_tables_stand_beside_and_are_listed(tmp_path: Path) -> None:
    store = Store.open(make_store(tmp_path / "store", make_rows({"math": 3})))
    table = pa.table({"a": [1, 2]})
    found = rewritten(store, tmp_path / "out", {}, beside={"duplicates.parquet": table})
    assert pq.read_table(tmp_path / "out/duplicates.parquet").equals(table)
    assert [(file.role, file.rows) for file in found.store.manifest.files if file.path == "duplicates.parquet"] == [
        ("duplicates", 2)
    ]
    assert found.store.verify() == []


def test_what_cannot_be_rewritten_is_refused(tmp_path: Path) -> None:
    rows = make_rows({"math": 3})
    path = make_store(tmp_path / "store", rows)
    store = Store.open(path)
    with pytest.raises(UsageError, match="is the store itself"):
        rewritten(store, path, {}, overwrite=True)
    file = path / store.data_files()[0].path
    file.write_bytes(b"x" * file.stat().st_size)
    with pytest.raises(StoreError, match="cannot be read"):
        rewritten(store, tmp_path / "out", {("math", "math-0000"): Change(row="bad")})


def test_a_comparison_that_names_nothing_goes_on_naming_nothing(tmp_path: Path) -> None:
    rows = make_rows({"math": 3})
    number = len(rows[0]["responses"])
    names = {"judge": "h", "dimension": "overall", "first_score": 1.0, "second_score": 0.0}
    rows[0]["comparisons"] = [{"first": 1, "second": number} | names, {"first": None, "second": -1} | names]
    store = Store.open(make_store(tmp_path / "store", rows))
    found = rewritten(store, tmp_path / "out", {("math", "math-0000"): Change(responses={0: "bad"})})
    row = next(found.store.batches()).to_pylist()[0]
    assert [(one["first"], one["second"]) for one in row["comparisons"]] == [(0, number), (None, -1)]
    for at, response in enumerate(rows[1]["responses"]):
        response["model"] = f"new-{at}"
    store = Store.open(make_store(tmp_path / "more", rows))
    into = Change(taken_in=[TakenIn("math-0001", "alike")])
    changes = {("math", "math-0000"): into, ("math", "math-0001"): Change(row="alike", moved=True)}
    with pytest.raises(DataError, match=f"^math math-0000: a comparison names response {number}, where there was none"):
        rewritten(store, tmp_path / "merged", changes)
    assert not (tmp_path / "merged").exists()


def owned(path: Path, **files: str) -> Path:
    for name, text in files.items():
        (path / f"{name}.toml").write_text(text, encoding="utf-8")
    return path


def test_the_owners_card_comes_along(tmp_path: Path) -> None:
    store = Store.open(owned(make_store(tmp_path / "store", make_rows({"math": 3})), card="ours"))
    found = rewritten(store, tmp_path / "out", {})
    assert (tmp_path / "out/card.toml").read_text("utf-8") == "ours"
    assert found.store.verify() == []
    assert "card.toml" not in {file.path for file in found.store.manifest.files}
    rewritten(found.store, tmp_path / "again", {})
    assert (tmp_path / "again/card.toml").read_text("utf-8") == "ours"


def test_a_link_that_leads_out_of_a_store_does_not_come_along(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A store that somebody sent would take a file of this machine into a folder that is handed on."""
    store = Store.open(make_store(tmp_path / "store", make_rows({"math": 3})))
    (tmp_path / "secret").write_text("of this machine", encoding="utf-8")
    (tmp_path / "store/LICENSE").symlink_to(tmp_path / "secret")
    (tmp_path / "store/terms").write_text("of the store", encoding="utf-8")
    (tmp_path / "store/card.toml").symlink_to("terms")
    rewritten(store, tmp_path / "out", {})
    assert not (tmp_path / "out/LICENSE").exists()
    assert "LICENSE was not taken along: it is a link that leads out of the store" in caplog.text
    assert (tmp_path / "out/card.toml").read_text("utf-8") == "of the store"


def test_a_card_that_stands_in_the_new_place_stays_and_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It would be lost; the other one is still where it was."""
    store = Store.open(owned(make_store(tmp_path / "store", make_rows({"math": 3})), card="ours"))
    rewritten(store, tmp_path / "out", {})
    rewritten(store, tmp_path / "out", {}, overwrite=True)
    assert caplog.messages == []
    owned(tmp_path / "out", card="filled in there")
    rewritten(store, tmp_path / "out", {}, overwrite=True)
    ours = tmp_path / "store/card.toml"
    assert caplog.messages == [f"kept {tmp_path / 'out/card.toml'}, which is another than {ours}"]
    assert (tmp_path / "out/card.toml").read_text("utf-8") == "filled in there"
    (tmp_path / "store/card.toml").unlink()
    rewritten(store, tmp_path / "out", {}, overwrite=True)
    assert (tmp_path / "out/card.toml").read_text("utf-8") == "filled in there"
    assert len(caplog.messages) == 1


def test_what_is_nobodys_is_not_replaced_with_a_store(tmp_path: Path) -> None:
    store = Store.open(make_store(tmp_path / "store", make_rows({"math": 3})))
    rewritten(store, tmp_path / "out", {})
    owned(tmp_path / "out", notes="mine")
    with pytest.raises(UsageError, match=r"holds more than a store \(notes.toml\)"):
        rewritten(store, tmp_path / "out", {}, overwrite=True)
    assert (tmp_path / "out/notes.toml").read_text("utf-8") == "mine"
