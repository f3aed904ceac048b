"""What differs between two stores, beside a slow and obvious count of the same."""

from __future__ import annotations

import copy
import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import Rows, completed, make_old_store, make_rows, make_store
from oracle import oracle_pairs
from strategies import examples, pair_options, raw_rows

from coig_p.errors import StoreError, UnknownNameError
from coig_p.pairs.config import PairConfig
from coig_p.stats.changes import DomainDiff, StoreDiff
from coig_p.stats.diff import changed_shards, compare_stores
from coig_p.store.store import Store

Known = list[tuple[Any, Any]]
"""Of each of a kind: by what it is known again, and what is said of it."""


def expected(before: Known, after: Known) -> dict[str, int]:
    """Equal ones belong together first, then those known by the same, in which something changed."""
    old, new = (Counter((repr(key), repr(value)) for key, value in side) for side in (before, after))
    kept = old & new
    old_keys, new_keys = (sum_by_key(side - kept) for side in (old, new))
    changed = (old_keys & new_keys).total()
    return {
        "before": len(before),
        "after": len(after),
        "gained": new_keys.total() - changed,
        "lost": old_keys.total() - changed,
        "kept": kept.total(),
        "changed": changed,
    }


def sum_by_key(counts: Counter[tuple[str, str]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for (key, _), count in counts.items():
        found[key] += count
    return found


def known(rows: Rows, options: dict[str, Any] | None) -> dict[str, Known]:
    found: dict[str, Known] = {unit: [] for unit in ("queries", "places", "responses", "scores", "comparisons")}
    found |= {"rationales": [], "pairs": []}
    for row in rows:
        own = row["query_id"]
        found["queries"].append((own, [row[name] for name in ("query", "messages", "tools", "source", "meta")]))
        found["places"].append((own, row["domain"]))
        answers = [(own, one["model"], one["text"], one["extra"]) for one in row["responses"] or []]
        for answer, one in zip(answers, row["responses"] or [], strict=True):
            found["responses"].append((answer, None))
            for score in one["scores"] or []:
                said = (answer, score["judge"], score["dimension"])
                found["scores"].append((said, score["score"] + 0.0))  # -0 is 0
                if score["rationale"] is not None:
                    found["rationales"].append((said, score["rationale"]))
        for one in row["comparisons"] or []:
            by = (answers[one["first"]], answers[one["second"]], one["judge"], one["dimension"])
            found["comparisons"].append((by, (one["first_score"] + 0.0, one["second_score"] + 0.0)))
            if one["rationale"] is not None:
                found["rationales"].append((by, one["rationale"]))
    for pair in [] if options is None else oracle_pairs(rows, **options):
        chosen, rejected = ((pair["query_id"], pair[f"{side}_model"], pair[side]) for side in ("chosen", "rejected"))
        found["pairs"].append((sorted([chosen, rejected]), chosen))
    return found


def check(diff: DomainDiff, before: Rows, after: Rows, options: Iterable[dict[str, Any] | None]) -> None:
    old, new = (known(rows, chosen) for rows, chosen in zip((before, after), options, strict=True))
    for unit in ("queries", "responses", "scores", "comparisons", "rationales", "pairs"):
        part, wanted = vars(getattr(diff, unit)), expected(old[unit], new[unit])
        if unit == "pairs":
            wanted["flipped"] = wanted.pop("changed")
        assert part == {name: wanted[name] for name in part}, unit
    assert diff.moved == expected(old["places"], new["places"])["changed"]

    def of(unit: str, name: str, at: int) -> dict[str, int]:
        return expected(*([one for one in side[unit] if one[0][at] == name] for side in (old, new)))

    for unit, at, named in (("responses", 0, diff.models), ("scores", 1, diff.judges), ("comparisons", 2, diff.judges)):
        places = {one[0][at] if unit != "responses" else one[0][1] for side in (old, new) for one in side[unit]}
        for name in places:
            part = named[name] if unit == "responses" else getattr(named[name], unit)
            wanted = of(unit, name, 1 if unit == "responses" else at)
            assert vars(part) == {key: wanted[key] for key in vars(part)}, (unit, name)


@st.composite
def two_stores(draw: st.DrawFn) -> tuple[Rows, Rows]:
    """Rows, and what came of them: some gone, new, moved, edited, in another order."""
    before, after = draw(raw_rows(most_queries=4)), []
    for row in copy.deepcopy(before):
        what = draw(st.sampled_from(["keep", "keep", "keep", "lose", "edit", "move", "rescore", "answers"]))
        if what == "lose":
            continue
        if what == "edit":
            name = draw(st.sampled_from(["query", "source", "meta", "tools"]))
            row[name] = draw(st.sampled_from(["", "新", "new"]))
        if what == "move":
            row["domain"] = draw(st.sampled_from(["math", "chat", "logic"]))
        answers = row["responses"]
        if what == "rescore":
            for one in answers:
                for score in one["scores"] or []:
                    if draw(st.booleans()):
                        score["score"] = draw(st.sampled_from([-score["score"], 0.0, -0.0, 3.0]))
                    if draw(st.booleans()):
                        score["rationale"] = draw(st.sampled_from(["好", "", None]))
        if what == "answers" and answers:
            if draw(st.booleans()) and not row["comparisons"]:
                answers.append(copy.deepcopy(draw(st.sampled_from(answers))))  # one that stands twice
            if draw(st.booleans()) and not row["comparisons"]:
                answers.reverse()
            answers[0]["text"] += draw(st.sampled_from(["", "。"]))
        after.append(row)
    more = draw(raw_rows(most_queries=1))
    after += [row | {"query_id": "neu"} for row in more]
    after = draw(st.permutations(after))
    return completed(before), completed(list(after))


def stored(folder: str, name: str, rows: Rows) -> Store:
    return Store.open(make_store(Path(folder) / name, rows, rows_per_shard=2, rows_per_group=1))


@examples(60)
@given(two_stores(), pair_options(), pair_options(), st.sampled_from(["own", "same", "none", "gone"]))
def test_equal_to_counting_one_by_one(
    rows: tuple[Rows, Rows], first: dict[str, Any], second: dict[str, Any], how: str
) -> None:
    before, after = rows
    judges = {one["judge"] for row in before + after for answer in row["responses"] for one in answer["scores"] or []}
    judges |= {one["judge"] for row in before + after for one in row["comparisons"] or []}
    for options in (first, second):
        options["judges"] = (options["judges"] and tuple(name for name in options["judges"] if name in judges)) or None
    sides = {"own": (first, second), "same": (first, first), "none": (None, None), "gone": (first, None)}[how]
    configs = [None if options is None else PairConfig(**options) for options in sides]
    with tempfile.TemporaryDirectory() as folder:
        old, new = stored(folder, "old", before), stored(folder, "new", after)
        diff = compare_stores(old, new, *configs)
        check(diff.total, before, after, sides)
        assert list(diff.domains) == list(dict.fromkeys([*new.manifest.domains, *old.manifest.domains]))
        for domain, part in diff.domains.items():
            own = [[row for row in side if row["domain"] == domain] for side in rows]
            check(part, own[0], own[1], sides)
        back = compare_stores(new, old, *reversed(configs))
        assert (back.total.queries.gained, back.total.pairs.lost) == (diff.total.queries.lost, diff.total.pairs.gained)


def test_a_store_and_itself(tmp_path: Path) -> None:
    store = Store.open(make_store(tmp_path / "store", make_rows({"math": 25, "chat": 5})))
    diff = compare_stores(store, store, PairConfig(), PairConfig())
    assert diff.is_same
    assert diff.total.pairs.kept == diff.total.pairs.before > 0
    assert diff.total.scores.kept == sum(file.scores or 0 for file in store.data_files())
    assert not changed_shards(store.manifest, store.manifest)
    assert not compare_stores(store, store, PairConfig(), PairConfig(threshold=3)).is_same


@pytest.mark.parametrize("threshold", [2, 3])
def test_other_shards_and_order_are_no_difference(threshold: float, tmp_path: Path) -> None:
    rows = make_rows({"math": 40, "chat": 9})
    first = Store.open(make_store(tmp_path / "first", rows))
    random.Random(1).shuffle(rows)
    for row in rows:
        random.Random(2).shuffle(row["responses"])
    second = Store.open(make_store(tmp_path / "second", rows, rows_per_shard=7))
    assert len(changed_shards(first.manifest, second.manifest)) == len(first.data_files())
    diff = compare_stores(first, second, PairConfig(), PairConfig(threshold=threshold))
    assert diff.total.scores.kept == diff.total.scores.after
    assert diff.is_same == (threshold == 2)
    assert diff.total.pairs.gained == 0
    assert (diff.total.pairs.lost > 0) == (threshold == 3)


def test_shards_that_both_have_are_read_of_the_later_store_alone(tmp_path: Path) -> None:
    rows = make_rows({"math": 40})
    first = Store.open(make_store(tmp_path / "first", rows))
    rows[3]["query"] += "！"
    second = Store.open(make_store(tmp_path / "second", rows))
    changed = changed_shards(first.manifest, second.manifest)
    assert [file.path for file in changed] == ["data/math/train-00000-of-00004.parquet"]
    whole = compare_stores(first, second, PairConfig(), PairConfig(threshold=1))
    for file in first.data_files():
        if file not in changed:
            (first.path / file.path).unlink()
    assert compare_stores(first, second, PairConfig(), PairConfig(threshold=1)) == whole
    assert whole.total.queries.changed == 1
    assert whole.total.queries.kept == 39
    (first.path / changed[0].path).write_bytes(b"PAR1")
    with pytest.raises(StoreError, match="train-00000-of-00004"):
        compare_stores(first, second, PairConfig(), PairConfig())


def test_processes_count_the_same(tmp_path: Path) -> None:
    rows = make_rows({"math": 30, "chat": 12})
    first = Store.open(make_store(tmp_path / "first", rows))
    second = Store.open(make_store(tmp_path / "second", rows[5:] + make_rows({"logic": 11}, seed=2)))
    one = compare_stores(first, second, PairConfig(), PairConfig())
    assert compare_stores(first, second, PairConfig(), PairConfig(), num_proc=2) == one
    assert (one.domains_gained, one.domains_lost) == (["logic"], [])


def test_an_older_schema_version(tmp_path: Path) -> None:
    rows = make_rows({"math": 12})
    old, new = Store.open(make_old_store(tmp_path / "old", rows)), Store.open(make_store(tmp_path / "new", rows))
    diff = compare_stores(old, new, PairConfig(), PairConfig())
    assert diff.is_same
    assert (diff.before.schema_version, diff.after.schema_version) == (1, 2)
    assert "responses.scores.rationale" in diff.columns_gained
    assert "responses.sample" in diff.columns_gained
    assert not diff.columns_lost


def test_a_flip_is_told_from_a_gain_and_a_loss(tmp_path: Path) -> None:
    rows = make_rows({"math": 1})
    answers = rows[0]["responses"][:2]
    for answer, score in zip(answers, (9.0, 2.0), strict=True):
        answer["scores"] = [{"judge": "j", "dimension": "overall", "score": score, "rationale": None}]
    rows[0]["responses"] = answers
    first = Store.open(make_store(tmp_path / "first", rows))
    answers[0]["scores"][0]["score"] = 1.0
    answers[1]["scores"][0]["score"] = 8.0
    second = Store.open(make_store(tmp_path / "second", rows))
    pairs = compare_stores(first, second, PairConfig(), PairConfig()).total.pairs
    assert (pairs.before, pairs.after, pairs.flipped, pairs.kept, pairs.gained, pairs.lost) == (1, 1, 1, 0, 0, 0)


def _difference(tmp_path: Path) -> StoreDiff:
    rows = make_rows({"math": 20, "chat": 5})
    first = Store.open(make_store(tmp_path / "first", rows))
    rows[2]["responses"][0]["model"] = "<b>model</b>"
    second = Store.open(make_store(tmp_path / "second", rows[1:20] + make_rows({"<x>": 2}, seed=3)[:0]))
    return compare_stores(first, second, PairConfig(), PairConfig(threshold=3, judges=("judge-a",)))


def test_as_dict_frame_and_html(tmp_path: Path) -> None:
    diff = _difference(tmp_path)
    told = json.loads(diff.to_json())
    assert told == json.loads(json.dumps(diff.to_dict()))
    assert told["options"] == {"threshold": {"before": 2, "after": 3}, "judges": {"before": None, "after": ["judge-a"]}}
    assert told["domains_lost"] == ["chat"]
    assert told["total"]["models_gained"] == ["<b>model</b>"]
    assert told["total"]["queries"]["lost"] == 6
    frame = diff.to_pandas()
    assert list(frame.index) == ["math", "chat", "all"]
    assert frame.loc["all", "pairs_flipped"] == diff.total.pairs.flipped
    assert np.all(frame["queries_before"] - frame["queries_lost"] + frame["queries_gained"] == frame["queries_after"])
    assert "queries gained" in diff._repr_html_()
    assert repr(diff).startswith("StoreDiff(2 domains, queries +0 -6")


def test_a_judge_of_neither(tmp_path: Path) -> None:
    store = Store.open(make_store(tmp_path / "store", make_rows({"math": 3})))
    with pytest.raises(UnknownNameError, match="judge"):
        compare_stores(store, store, PairConfig(judges=("nobody",)), PairConfig())
