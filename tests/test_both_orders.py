"""both_orders=: a judge counts for two responses where it saw them in both orders, wherever a pair option goes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from cards import CARD
from commands import run
from datasets import load_dataset
from oracle import oracle_pairs

import coig_p
from coig_p.errors import StoreError, UsageError
from coig_p.export.one_file import write_pairs
from coig_p.ingest.config import ImportConfig
from coig_p.ingest.files import import_files
from coig_p.pairs.config import PairConfig
from coig_p.pairs.selection import select
from coig_p.publish.release import ReleaseConfig, write_release
from coig_p.report.card_toml import CARD_TOML
from coig_p.report.view.index import load_index
from coig_p.report.view.pages import View, page
from coig_p.stats.counts import statistics
from coig_p.stats.info import store_info
from coig_p.stats.sweep import sweep
from coig_p.store.manifest import MANIFEST, Manifest
from coig_p.store.store import Store
from coig_p.validation import load_rules

Row = dict[str, Any]
DIMENSIONS = ("relevance", "correctness", "clarity", "completeness")
JUDGES = ("judge-a", "judge-b")

RULES = {name: rule for name, rule in load_rules().items() if rule.severity != "error"}


def compared(query_id: str, values: list[float], *, bias: float = 0.0, single: tuple[int, ...] = ()) -> Row:
    """A query whose every two responses both judges saw in both orders, on four dimensions.

    Args:
        values: what each response is worth.
        bias: what the response gets more that stands first.
        single: places of pairs that judge-b saw in one order alone.
    """
    entries = []
    for at, (low, high) in enumerate(combinations(range(len(values)), 2)):
        for judge in JUDGES:
            for first, second in ((low, high), (high, low)):
                if judge == "judge-b" and at in single and first > second:
                    continue
                for place, dimension in enumerate(DIMENSIONS):
                    said = {"first": first, "second": second, "judge": judge, "dimension": dimension}
                    said["first_score"] = values[first] + place * 0.25 + bias
                    said["second_score"] = values[second] + place * 0.25
                    entries.append(said)
    responses = [{"model": f"model-{at}", "text": f"答{query_id}-{at}"} for at in range(len(values))]
    return {
        "query_id": query_id,
        "domain": "math",
        "query": f"问{query_id}",
        "responses": responses,
        "comparisons": entries,
    }


def made(path: Path, rows: list[Row], **options: Any) -> Store:
    file = path.with_suffix(".jsonl")
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return import_files([file], path, ImportConfig(**options))[0]


ROWS = [
    compared("q1", [4, 4.5, 6, 3]),
    compared("q2", [4, 4.5, 6, 3], bias=2, single=(0, 2, 5)),
    compared("q3", [5, 5, 6, 2], bias=2, single=(0,)),
]


def as_read(store: Store) -> list[Row]:
    return [row for batch in store.batches() for row in batch.to_pylist()]


def load(store: Store, **options: Any) -> list[Row]:
    return list(load_dataset("coig-p", "math", data_dir=str(store.path), split="train", **options))


def who_wins(rows: list[Row]) -> dict[tuple[str, str, str], float]:
    return {(row["query_id"], row["chosen_model"], row["rejected_model"]): row["margin"] for row in rows}


@pytest.fixture(scope="module")
def tap(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return made(tmp_path_factory.mktemp("orders") / "tap", ROWS, both_orders=True, comparison_threshold=0)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return made(tmp_path_factory.mktemp("orders") / "plain", ROWS, comparison_threshold=0)


def test_the_manifest_says_it_and_every_way_to_load_follows(tap: Store, plain: Store, tmp_path: Path) -> None:
    assert tap.manifest.both_orders
    assert json.loads((tap.path / MANIFEST).read_text("utf-8"))["both_orders"] is True
    assert "both_orders" not in (plain.path / MANIFEST).read_text("utf-8")
    wanted = oracle_pairs(as_read(tap), threshold=0, both_orders=True)
    single = oracle_pairs(as_read(tap), threshold=0)
    assert wanted
    assert wanted != single
    tried: list[tuple[Store, Row, list[Row]]] = [
        (tap, {}, wanted),
        (tap, {"both_orders": True}, wanted),
        (tap, {"both_orders": False}, single),
        (plain, {"both_orders": True}, wanted),
        (plain, {}, single),
    ]
    for store, options, rows in tried:
        for streaming in (False, True):
            assert load(store, streaming=streaming, **options) == rows
        assert coig_p.plan("math", data_dir=str(store.path), **options).rows == len(rows)
        config = PairConfig(**options)
        assert statistics(store.path, config).total.pairs == len(rows)
        assert {row.threshold: row.pairs for row in sweep(store.path, config, thresholds=[0, 1]).thresholds}[0] == len(
            rows
        )
        out = tmp_path / "pairs.jsonl"
        write_pairs(store.path, out, config, file_type="jsonl")
        assert [json.loads(line)["margin"] for line in out.read_text("utf-8").splitlines()] == [
            row["margin"] for row in rows
        ]
    info = store_info(tap.path)
    assert (info.both_orders, info.total.pairs) == (True, len(wanted))
    assert "of judges that saw both orders" in run("info", tap.path).stdout
    for given, number in (([], len(wanted)), (["--no-both-orders"], len(single)), (["--both-orders"], len(wanted))):
        done = run("pairs", tap.path, "--out", tmp_path / "again.jsonl", "--overwrite", "--json", *given)
        assert json.loads(done.stdout)["rows"] == number


def test_one_value_is_one_identity(tap: Store, plain: Store) -> None:
    def identity(store: Store, **options: Any) -> tuple[object, ...]:
        return select(store.manifest, PairConfig(**options)).identity()

    assert identity(tap) == identity(tap, both_orders=True) != identity(tap, both_orders=False)
    assert identity(plain) == identity(plain, both_orders=False) != identity(plain, both_orders=True)
    assert identity(tap) == identity(plain, both_orders=True)
    for store in (tap, plain):
        for given in (None, True, False):
            once = PairConfig(both_orders=given).with_defaults(store.manifest)
            assert once.with_defaults(store.manifest) == once
    assert PairConfig().with_defaults(plain.manifest).both_orders is None
    assert "both_orders" not in PairConfig().with_defaults(plain.manifest).to_dict()
    assert PairConfig(labels="scores").with_defaults(tap.manifest).both_orders is None
    assert PairConfig().with_defaults(tap.manifest).later == {"both_orders": True}
    assert PairConfig(both_orders=False).with_defaults(tap.manifest).later == {"both_orders": False}
    assert PairConfig().with_defaults(tap.manifest).margin == "0, by comparisons that judges made in both orders"


@pytest.mark.parametrize("bias", [2, -2, 0.5, 3.75])
def test_a_planted_bias_leaves_labels_unchanged_where_both_orders_are_there(bias: float, tmp_path: Path) -> None:
    fair = [compared(f"q{at}", [1.5 + at % 3, 4, 4.25, 5.5, 3]) for at in range(6)]
    biased = [compared(f"q{at}", [1.5 + at % 3, 4, 4.25, 5.5, 3], bias=bias) for at in range(6)]
    stores = [
        made(tmp_path / name, rows, both_orders=True, score_range=(-10, 20))
        for name, rows in (("fair", fair), ("biased", biased))
    ]
    one, other = (who_wins(load(store)) for store in stores)
    assert one == other
    assert len(one) == 6 * 10
    alone = [who_wins(load(store, judges="judge-a")) for store in stores]
    assert alone[0] == alone[1] == one


def test_no_label_where_an_order_is_missing_or_has_no_number(tmp_path: Path) -> None:
    values = [4, 4.5, 6, 3]
    rows = [compared("q1", values, bias=2, single=(0, 1)), compared("q2", values, bias=2)]
    for entry in rows[1]["comparisons"]:  # judge-a saw 0 and 1 once
        if (entry["first"], entry["second"], entry["judge"]) == (1, 0, "judge-a"):
            entry["judge"] = "judge-c"
    store = made(tmp_path / "missing", rows, both_orders=True, comparison_threshold=0, score_range=(0, 20))
    of_b = who_wins(load(store, judges="judge-b"))
    assert ("q1", "model-1", "model-0") not in of_b
    assert ("q1", "model-2", "model-0") not in of_b
    assert ("q1", "model-0", "model-3") in of_b
    assert len(of_b) == 4 + 6
    assert load(store, judges="judge-c") == []
    # Of the others one judge is enough, and two where two are asked for.
    assert who_wins(load(store))["q1", "model-1", "model-0"] == 0.5
    two = who_wins(load(store, min_judges=2))
    assert ("q1", "model-1", "model-0") not in two
    assert ("q2", "model-1", "model-0") not in two
    assert len(two) == 4 + 5
    assert load(store, min_judges=2) == oracle_pairs(as_read(store), threshold=0, both_orders=True, min_judges=2)


def test_both_orders_weigh_the_same_however_often_each_was_asked(tmp_path: Path) -> None:
    row = compared("q1", [4, 4.5], bias=2)
    again = [dict(one) for one in row["comparisons"] if one["first"] == 0 and one["judge"] == "judge-a"]
    for at, one in enumerate(again):
        one["dimension"] = f"more-{at}"
    row["comparisons"] += again
    store = made(tmp_path / "often", [row], both_orders=True, comparison_threshold=0)
    assert who_wins(load(store)) == {("q1", "model-1", "model-0"): 0.5}
    assert who_wins(load(store, both_orders=False)) == {("q1", "model-1", "model-0"): pytest.approx(1 / 6)}


def test_what_has_no_effect_or_is_no_flag_is_refused(tap: Store, tmp_path: Path) -> None:
    for options, said in (
        ({"both_orders": 1}, "both_orders=1: use True or False"),
        ({"both_orders": True, "labels": "scores"}, "both_orders=True: no effect with labels='scores'"),
        ({"both_orders": True, "format": "ranked"}, "both_orders=True: no effect, since format ranked"),
    ):
        with pytest.raises(UsageError, match=said):
            PairConfig(**options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="raw rows come as they are stored: both_orders"):
        load_dataset("coig-p", "math-raw", data_dir=str(tap.path), both_orders=True)
    text = (tap.path / MANIFEST).read_text("utf-8").replace('"both_orders": true', '"both_orders": "yes"')
    with pytest.raises(StoreError, match="both_orders 'yes' is not true or false"):
        Manifest.from_json(text, "store")


def test_a_rewritten_store_a_release_and_the_pages_keep_it(tap: Store, tmp_path: Path) -> None:
    run("dedup", tap.path, "--out", tmp_path / "dedup")
    assert Store.open(tmp_path / "dedup").manifest.both_orders
    shutil.copytree(tap.path, tmp_path / "own")
    (tmp_path / "own" / CARD_TOML).write_text(CARD, encoding="utf-8")
    write_release(Store.open(tmp_path / "own"), tmp_path / "release", ReleaseConfig("1.0.0", PairConfig(), rules=RULES))
    release = Store.open(tmp_path / "release")
    assert release.manifest.both_orders
    assert release.manifest.release["pairs"]["both_orders"] is True
    english = (release.path / "README.md").read_text("utf-8")
    chinese = (release.path / "README.zh.md").read_text("utf-8")
    assert "saw the two responses in both orders" in english
    assert "两种先后顺序都看过" in chinese
    wanted = oracle_pairs(as_read(tap), threshold=0, both_orders=True)
    assert load(release) == wanted
    view = View(load_index(tap, tmp_path / "cache"))
    html = page(view, "query", {"id": "q2"}) or ""
    assert '<option value="1" selected>yes' in html
    html = page(view, "query", {"id": "q2", "both_orders": "0", "lang": "zh"}) or ""
    assert '<option value="0" selected>否' in html
    (told,) = json.loads(run("show", tap.path, "q2", "--json").stdout)
    assert told["pairs_in_all"] == len([row for row in wanted if row["query_id"] == "q2"])
    found = json.loads(run("diff", tap.path, "--b", "both-orders=false", "--json").stdout)
    assert found["options"]["both_orders"] == {"before": True, "after": False}


def test_an_import_says_it(plain: Store, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), encoding="utf-8")
    done = run("import", rows, "--out", tmp_path / "store", "--both-orders")
    assert "of judges that saw both orders" in done.stdout
    assert Store.open(tmp_path / "store").manifest.both_orders
    assert replace(Store.open(tmp_path / "store").manifest, both_orders=False).files == plain.manifest.files
