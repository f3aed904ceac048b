"""calibrate=, min_judges=, same_judges= and the threshold of comparisons, wherever a pair option goes."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from calibrating import calibration, written
from cards import CARD
from commands import run
from datasets import load_dataset
from make import make_old_store, make_rows, make_store
from oracle import oracle_pairs

import coig_p
from coig_p.errors import DataError, UsageError
from coig_p.export.one_file import write_pairs
from coig_p.export.write import ExportConfig, export_store
from coig_p.pairs.config import PairConfig
from coig_p.publish.release import ReleaseConfig, write_release
from coig_p.report.card_toml import CARD_TOML
from coig_p.report.view.index import load_index
from coig_p.report.view.pages import View, page
from coig_p.stats.counts import statistics
from coig_p.stats.diff import compare_stores
from coig_p.stats.info import store_info
from coig_p.stats.results import Statistics
from coig_p.stats.sweep import sweep
from coig_p.store.manifest import MANIFEST, Manifest
from coig_p.store.store import CALIBRATION, Store
from coig_p.validation import load_rules

Row = dict[str, Any]
FILE = calibration({"judge-a": (5.5, 1.5), "judge-b": (6, 2), "model-0": (4, 1)}, (5.5, 1.75))
TRIED: list[Row] = [
    {"threshold": 1, "calibrate": FILE},
    {"threshold": 0.5, "calibrate": FILE, "min_judges": 2, "strategy": "adjacent"},
    {"threshold": 1, "same_judges": True, "calibrate": FILE, "aggregation": "median"},
    {"threshold": 0.5, "min_judges": 2, "same_judges": True, "strategy": "best_worst"},
]


def answered(rows: list[Row]) -> list[Row]:
    """The same with a verdict of a person for two of every third query's responses."""
    verdict = {"judge": "human:甲", "dimension": "overall", "first_score": 1.0, "second_score": 0.0, "rationale": None}
    return [
        row | {"comparisons": [{"first": 1, "second": 0} | verdict]} if at % 3 == 0 else row
        for at, row in enumerate(rows)
    ]


def with_thresholds(store: Path, **thresholds: float | None) -> Store:
    """The store, its manifest changed by hand."""
    told = json.loads((store / MANIFEST).read_text("utf-8"))
    told = {name: value for name, value in (told | thresholds).items() if value is not None}
    (store / MANIFEST).write_text(json.dumps(told), encoding="utf-8")
    return Store.open(store)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "file.json", FILE)


def asked(options: Row, file: Path) -> Row:
    return options | ({"calibrate": str(file)} if "calibrate" in options else {})


@pytest.mark.parametrize("options", TRIED, ids=str)
def test_every_way_to_load_gives_the_oracles_pairs(options: Row, load: Any, rows: Any, file: Path) -> None:
    wanted = oracle_pairs([row for row in rows if row["domain"] == "math"], **options)
    options = asked(options, file)
    assert load(**options).to_list() == wanted
    assert len(wanted) > 20
    assert list(load(streaming=True, **options)) == wanted
    assert load(num_proc=2, **options | {"seed": 1}).to_list() == wanted
    assert list(load(streaming=True, shards=4, **options)) == wanted
    shuffled = list(load(streaming=True, shuffle_seed=3, shards=2, **options))
    assert shuffled == load(shuffle_seed=3, shards=2, **options).to_list()
    assert sorted(map(repr, shuffled)) == sorted(map(repr, wanted))


def test_workers_need_no_file(load: Any, file: Path) -> None:
    torch = pytest.importorskip("torch.utils.data")
    options = {"threshold": 1, "calibrate": str(file), "streaming": True, "shards": 2}
    wanted = list(load(**options))
    stream = load(**options)
    file.unlink()
    found = [row for batch in torch.DataLoader(stream, batch_size=None, num_workers=2) for row in [batch]]
    assert sorted(row["query_id"] + row["chosen_model"] + row["rejected_model"] for row in found) == sorted(
        row["query_id"] + row["chosen_model"] + row["rejected_model"] for row in wanted
    )


def test_the_cache_goes_by_what_is_in_the_file(load: Any, file: Path, tmp_path: Path) -> None:
    def files(path: Path) -> list[str]:
        return [entry["filename"] for entry in load(threshold=1, calibrate=path).cache_files]

    first = files(file)
    assert first == files(Path(shutil.copy(file, tmp_path / "copy.json")))
    other = FILE | {"reference": {"offset": 5.5, "scale": 1.0}}
    assert first != files(written(file, other))
    assert files(file) != [entry["filename"] for entry in load(threshold=1).cache_files]


def test_a_file_is_looked_for_here_and_then_in_the_store(
    store: Path, rows: Any, tmp_path: Path, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Path(shutil.copytree(store, tmp_path / "own"))
    written(own / CALIBRATION, FILE)
    monkeypatch.chdir(tmp_path)
    wanted = oracle_pairs([row for row in rows if row["domain"] == "math"], threshold=1, calibrate=FILE)

    def loaded() -> Any:
        where: Row = {"data_dir": str(own), "split": "train", "cache_dir": cache}
        return load_dataset("coig-p", "math", threshold=1, calibrate=CALIBRATION, **where).to_list()

    assert loaded() == wanted
    assert Store.open(own).verify() == []
    assert coig_p.plan("math", data_dir=str(own), threshold=1, calibrate=CALIBRATION).rows == len(wanted)
    other = FILE | {"reference": {"offset": 5.5, "scale": 0.5}}
    written(tmp_path / CALIBRATION, other)
    assert loaded() == oracle_pairs([row for row in rows if row["domain"] == "math"], threshold=1, calibrate=other)
    (tmp_path / CALIBRATION).unlink()
    (own / CALIBRATION).unlink()
    with pytest.raises(DataError, match=r"calibration\.json: the calibration file cannot be read"):
        loaded()


def test_what_cannot_be_is_said_before_a_row_is_read(load: Any, file: Path) -> None:
    few = written(file, calibration({"judge-a": (5, 1)}))
    for streaming in (False, True):
        with pytest.raises(UsageError, match="judge 'judge-b' is not in it"):
            load(threshold=1, calibrate=few, streaming=streaming)
        with pytest.raises(UsageError, match="threshold 0 with calibrate"):
            load(threshold=0, calibrate=few, streaming=streaming)
        with pytest.raises(UsageError, match=r"from 1 to 10, calibrated, are so far apart, the largest margin is 9"):
            load(threshold=10, calibrate=few, judges="judge-a", streaming=streaming)
    assert load(threshold=1, calibrate=few, judges="judge-a").to_list() == [
        row | {side: row[side] - 5 for side in ("chosen_score", "rejected_score")}
        for row in load(threshold=1, judges="judge-a")
    ]


def test_a_threshold_beyond_the_range_may_be_met_once_calibrated(load: Any, file: Path) -> None:
    wide = written(file, calibration({"judge-a": (5, 1), "judge-b": (5, 1), "model-0": (5, 1)}, (5, 3)))
    assert load(threshold=12, calibrate=wide).num_rows == load(threshold=4).num_rows > 0


def test_a_state_is_of_one_way_to_compare(load: Any, file: Path, tmp_path: Path) -> None:
    options: Row = {"threshold": 1, "calibrate": file, "streaming": True}
    stream = load(**options)
    whole = list(stream)
    iterator = iter(stream)
    seen = [next(iterator) for _ in range(10)]
    state = json.loads(json.dumps(stream.state_dict()))
    again = load(**options | {"calibrate": shutil.copy(file, tmp_path / "copy.json")})
    again.load_state_dict(state)
    assert seen + list(again) == whole
    other = written(tmp_path / "other.json", FILE | {"tool": "another"})
    for changed in ({"calibrate": other}, {"calibrate": None}, {"min_judges": 2}, {"same_judges": True}):
        name = next(iter(changed))
        with pytest.raises(UsageError, match=f"the state is of another stream .*{name}="):
            load(**options | changed).load_state_dict(state)


def test_a_state_of_before_these_options_goes_on(load: Any) -> None:
    stream = load(streaming=True)
    next(iter(stream))
    told = json.loads(json.dumps(stream.state_dict()))
    assert not any(name in json.dumps(told) for name in ("calibrate", "min_judges", "same_judges", "comparison_"))


# The threshold of comparisons.


@pytest.fixture
def mixed(tmp_path: Path) -> tuple[Path, list[Row]]:
    rows = answered(make_rows({"math": 30}, seed=2))
    return make_store(tmp_path / "mixed", rows), rows


def test_applied_verdicts_give_pairs_in_a_scored_store(mixed: tuple[Path, list[Row]], cache: str) -> None:
    path, rows = mixed

    def pairs(**options: Any) -> list[Row]:
        where: Row = {"data_dir": str(path), "split": "train"}
        found: list[Row] = list(load_dataset("coig-p", "math", **where, streaming=True, **options))
        assert found == load_dataset("coig-p", "math", cache_dir=cache, **where, **options).to_list()
        return found

    # A manifest of before: one threshold for both.
    assert pairs() == pairs(threshold=2) == oracle_pairs(rows, threshold=2)
    assert pairs(labels="comparisons") == []
    with_thresholds(path, comparison_threshold=1)
    assert pairs() == oracle_pairs(rows, threshold=2, comparison_threshold=1)
    assert len(pairs()) > len(pairs(threshold=2)) == len(oracle_pairs(rows, threshold=2))
    assert pairs(labels="comparisons") == oracle_pairs(rows, threshold=1, labels="comparisons")
    assert len(pairs(labels="comparisons")) == 10
    assert pairs(labels="scores") == oracle_pairs(rows, threshold=2, labels="scores")
    assert pairs(comparison_threshold=2) == pairs(threshold=2)
    assert pairs(threshold=3, comparison_threshold=0.5) == oracle_pairs(rows, threshold=3, comparison_threshold=0.5)
    for strategy in ("best_worst", "adjacent"):
        wanted = oracle_pairs(rows, threshold=2, comparison_threshold=1, strategy=strategy)
        assert pairs(strategy=strategy) == wanted


def test_both_thresholds_are_counted_and_told(mixed: tuple[Path, list[Row]]) -> None:
    path, rows = mixed
    store = with_thresholds(path, comparison_threshold=1)
    wanted = len(oracle_pairs(rows, threshold=2, comparison_threshold=1))
    found = statistics(store)
    assert (found.total.pairs, found.config.comparison_threshold) == (wanted, 1)
    assert Statistics.from_json(found.to_json()).config == found.config
    info = store_info(path)
    assert (info.total.pairs, info.default_threshold, info.comparison_threshold) == (wanted, 2, 1)
    assert "default threshold of 2, by comparisons at 1; splits" in run("info", path).stdout
    assert "at threshold 2, by comparisons 1 (math" in run("pairs", path, "--out", path.parent / "x.jsonl").stdout
    swept = {row.threshold: row.pairs for row in sweep(store).thresholds}
    assert swept == {at: len(oracle_pairs(rows, threshold=at, comparison_threshold=1)) for at in swept}
    assert swept[2] == wanted
    assert json.loads(run("plan", path, "--json").stdout)["splits"]["train"]["rows"] == wanted


def test_a_store_of_comparisons_has_the_threshold_of_comparisons(tmp_path: Path, cache: str) -> None:
    rows = answered(make_rows({"math": 12}))
    rows = [row | {"responses": [one | {"scores": []} for one in row["responses"]]} for row in rows]
    path = make_store(tmp_path / "store", rows)
    where: Row = {"data_dir": str(path), "split": "train", "cache_dir": cache}
    assert load_dataset("coig-p", "math", **where).num_rows == 0
    store = with_thresholds(path, comparison_threshold=1)
    assert load_dataset("coig-p", "math", **where).num_rows == 4
    assert (store_info(path).default_threshold, store_info(path).comparison_threshold) == (1, None)
    assert sweep(store).default_threshold == 1
    with pytest.raises(UsageError, match="this store has comparisons alone"):
        load_dataset("coig-p", "math", calibrate=written(tmp_path / "f.json", FILE), threshold=1, **where)


def test_a_threshold_that_no_comparison_meets_is_refused(mixed: tuple[Path, list[Row]]) -> None:
    store = with_thresholds(mixed[0], comparison_threshold=1)
    with pytest.raises(UsageError, match=r"comparison_threshold 1\.5: no two scores of a comparison are so far apart"):
        statistics(store, PairConfig(comparison_threshold=1.5))
    with pytest.raises(UsageError, match=r"comparison_threshold 1\.5"):
        statistics(store, PairConfig(threshold=1, comparison_threshold=1.5))


def test_a_manifest_says_it_or_not(tmp_path: Path) -> None:
    path = make_store(tmp_path / "store", make_rows({"math": 2}))
    assert "comparison_threshold" not in (path / MANIFEST).read_text("utf-8")
    manifest = with_thresholds(path, comparison_threshold=0.5).manifest
    assert manifest.comparison_threshold == 0.5
    assert Manifest.from_json(manifest.to_json(), "x") == manifest
    names = list(json.loads(manifest.to_json()))
    assert names.index("comparison_threshold") == names.index("default_threshold") + 1
    for bad in (-1, 0.00001, "1", True, [1]):
        with pytest.raises(Exception, match=r"manifest\.json: comparison_threshold"):
            with_thresholds(path, comparison_threshold=bad)  # type: ignore[arg-type]


def test_a_store_of_the_first_version_has_one_threshold(tmp_path: Path, cache: str) -> None:
    rows = answered(make_rows({"math": 12}))
    path = make_old_store(tmp_path / "old", rows)
    found = load_dataset("coig-p", "math", data_dir=str(path), split="train", cache_dir=cache, min_judges=2)
    assert found.to_list() == oracle_pairs(rows, threshold=2, min_judges=2)


@pytest.mark.parametrize(
    ("sides", "options", "scores", "threshold"),
    [
        ((1, 0), (), True, 1),
        ((1, 0), (), False, 1),
        ((0.5, 0.5), (), True, 1),
        ((0.2, 0.8), (), True, 1),
        ((0, 3), (), True, 1),
        ((0, 0.5), (), True, 0),
        ((8, 5.5), (), True, 0),
        ((8, 5.5), (), False, 0),
        ((8, 5.5), ("--comparison-threshold", "2"), True, 2),
        ((1, 0), ("--default-threshold", "3"), True, 1),
        ((1, 0), ("--default-threshold", "3"), False, 3),
    ],
)
def test_an_import_says_it(sides: Any, options: Any, scores: bool, threshold: float, tmp_path: Path) -> None:
    given = [{"judge": "j", "score": 5}] if scores else []
    row = {
        "query_id": "q", "domain": "math", "query": "问",
        "responses": [{"model": name, "text": name, "scores": given} for name in "ab"],
        "comparisons": [{"first": 0, "second": 1, "judge": "p", "first_score": sides[0], "second_score": sides[1]}],
    }  # fmt: skip
    (tmp_path / "in.jsonl").write_text(json.dumps(row), encoding="utf-8")
    done = run("import", tmp_path / "in.jsonl", "--out", tmp_path / "store", "--json", *options)
    assert json.loads(done.stdout)["comparison_threshold"] == threshold
    manifest = Store.open(tmp_path / "store").manifest
    assert manifest.comparison_threshold == threshold
    told = (tmp_path / "store" / "README.md").read_text("utf-8")
    assert ("threshold=" in told) == (threshold == manifest.default_threshold)
    run("clean", tmp_path / "store", "--out", tmp_path / "clean")
    assert Store.open(tmp_path / "clean").manifest.comparison_threshold == threshold


def test_an_import_without_comparisons_says_nothing(tmp_path: Path) -> None:
    row = {"query_id": "q", "domain": "math", "query": "问", "model": "a", "text": "x", "judge": "j", "score": 5}
    (tmp_path / "in.jsonl").write_text(json.dumps(row), encoding="utf-8")
    run("import", tmp_path / "in.jsonl", "--out", tmp_path / "store")
    assert "comparison_threshold" not in json.loads((tmp_path / "store" / MANIFEST).read_text("utf-8"))


# What is written, released and shown.


def test_pairs_and_exports_say_what_compared(store: Path, rows: Any, file: Path, tmp_path: Path) -> None:
    config = PairConfig(threshold=1, calibrate=file, min_judges=2, same_judges=True)  # type: ignore[arg-type]
    wanted = oracle_pairs(rows, threshold=1, calibrate=FILE, min_judges=2, same_judges=True)
    counts, _ = write_pairs(store, tmp_path / "x.jsonl", config, file_type="jsonl")
    assert sum(counts.values()) == len(wanted)
    words = ["--threshold", "1", "--calibrate", file, "--min-judges", "2", "--same-judges"]
    done = json.loads(run("pairs", store, "--out", tmp_path / "y.jsonl", "--json", *words).stdout)
    assert (tmp_path / "x.jsonl").read_bytes() == (tmp_path / "y.jsonl").read_bytes()
    assert config.calibrate is not None
    hashed = {"sha256": config.calibrate.sha256, "method": "joint"}
    assert (done["calibrate"], done["min_judges"], done["same_judges"]) == (hashed, 2, True)
    written_ = export_store(store, tmp_path / "out", ExportConfig("trl-dpo", config))
    told = json.loads((tmp_path / "out" / "shards.json").read_text("utf-8"))
    assert told["pairs"] == {"calibrate": hashed, "min_judges": 2, "same_judges": True}
    assert written_.splits["train"].rows == len(wanted)
    readme = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert f"at threshold 1, scores calibrated by the file with sha256 {hashed['sha256'][:12]}, of responses" in readme
    plain = export_store(store, tmp_path / "plain", ExportConfig("trl-dpo"))
    assert "pairs" not in plain.to_dict()


def test_a_sweep_of_calibrated_scores_has_no_threshold_of_0(store: Path, rows: Any, file: Path) -> None:
    config = PairConfig(calibrate=file, same_judges=True)  # type: ignore[arg-type]
    found = sweep(store, config)
    assert min(row.threshold for row in found.thresholds) > 0
    for row in found.thresholds:
        wanted = oracle_pairs(rows, threshold=row.threshold, calibrate=FILE, same_judges=True)
        assert row.pairs == len(wanted)
    drawn = sweep(store, PairConfig(calibrate=file, strategy="best_random"), [1, 2])  # type: ignore[arg-type]
    assert [row.pairs > 0 for row in drawn.thresholds] == [True, True]
    with pytest.raises(UsageError, match="threshold 0 with calibrate"):
        sweep(store, config, [0, 1])
    assert json.loads(run("sweep", store, "--calibrate", file, "--json").stdout)["config"]["calibrate"]["sha256"]


def test_judges_are_told_as_they_scored(store: Path, file: Path) -> None:
    plain = statistics(store, PairConfig(threshold=1))
    found = statistics(store, PairConfig(threshold=1, calibrate=file, min_judges=2, same_judges=True))  # type: ignore[arg-type]
    for name, judge in plain.total.judges.items():
        assert found.total.judges[name].mean_score == judge.mean_score
        assert found.total.judges[name].offset == judge.offset
    assert Statistics.from_json(found.to_json()).config == found.config


def test_a_diff_names_what_compared(store: Path, file: Path, tmp_path: Path) -> None:
    both = Store.open(store)
    config = PairConfig(threshold=2, calibrate=file, min_judges=2)  # type: ignore[arg-type]
    found = compare_stores(both, both, PairConfig(), config)
    assert config.calibrate is not None
    told = f"sha256 {config.calibrate.sha256}"
    assert found.options == {"calibrate": (None, told), "min_judges": (1, 2)}
    assert found.to_dict()["options"]["calibrate"] == {"before": None, "after": told}
    shown = run("diff", store, "--a", "threshold=2", "--b", f"threshold=2,calibrate={file},min_judges=2").stdout
    assert f"calibrate: none in A, {told} in B" in shown
    assert found.total.pairs.gained + found.total.pairs.lost + found.total.pairs.flipped > 0


def rules() -> Any:
    return {name: rule for name, rule in load_rules().items() if rule.severity != "error"}


def test_a_release_holds_the_file_and_says_so(tmp_path: Path, cache: str, file: Path) -> None:
    rows = answered(make_rows({"math": 30}, seed=2))
    path = make_store(tmp_path / "store", rows)
    (path / CARD_TOML).write_text(CARD, encoding="utf-8")
    store = with_thresholds(path, comparison_threshold=1)
    config = PairConfig(calibrate=file, min_judges=2, same_judges=True)  # type: ignore[arg-type]
    first = write_release(store, tmp_path / "one", ReleaseConfig("1.0.0", config, rules=rules()))
    assert first.verify() == []
    wanted = oracle_pairs(rows, threshold=2, comparison_threshold=1, calibrate=FILE, min_judges=2, same_judges=True)
    assert sum(one.rows or 0 for one in first.manifest.files if one.role == "pairs") == len(wanted)
    (listed,) = [one for one in first.manifest.files if one.role == "calibration"]
    assert (listed.path, (first.path / CALIBRATION).read_bytes()) == (CALIBRATION, file.read_bytes())
    recorded = first.manifest.release["pairs"]
    assert recorded["calibrate"]["sha256"] == listed.sha256
    assert (recorded["min_judges"], recorded["same_judges"], recorded["comparison_threshold"]) == (2, True, 1)
    asked = f'calibrate="{CALIBRATION}"'
    for name, words in (("README.md", "brought to one scale first"), ("README.zh.md", "校准到同一尺度")):
        text = (first.path / name).read_text("utf-8")
        assert listed.sha256 in text
        assert words in text
        lines = [line.partition(" = ")[2] for line in text.splitlines() if asked in line]
        assert lines
        for line in lines:
            assert "min_judges=2" in line
            assert "same_judges=True" in line
            assert "comparison_threshold=1" in line
            line = line.replace("PATH/OR/REPO", str(first.path))
            assert next(iter(eval(line, {"load_dataset": load_dataset})), None), line
    # The next release is compared with it where the file is not at hand any more.
    file.unlink()
    second = write_release(store, tmp_path / "two", ReleaseConfig("1.1.0", rules=rules(), since=first))
    changes = second.manifest.release["changes"]
    assert changes["total"]["pairs"]["before"] == len(wanted)
    assert changes["total"]["pairs"]["after"] == len(oracle_pairs(rows, threshold=2, comparison_threshold=1))
    assert "calibrate" in changes["options"]


def test_the_browser_asks_for_them(mixed: tuple[Path, list[Row]], tmp_path: Path) -> None:
    path, _ = mixed
    store = with_thresholds(path, comparison_threshold=1)
    view = View(load_index(store, cache=tmp_path / "index"))
    html = page(view, "query", {"min_judges": "2", "same_judges": "1"}) or ""
    assert 'name="min_judges" value="2"' in html
    assert 'name="same_judges" value="1" checked' in html
    assert 'name="comparison_threshold" value="1"' in html
    assert 'name="calibrate"' not in html
    with pytest.raises(UsageError, match=r"there is no calibration\.json beside the store"):
        page(view, "query", {"calibrate": "1"})
    with pytest.raises(UsageError, match="min_judges='x'"):
        page(view, "query", {"min_judges": "x"})
    written(path / CALIBRATION, FILE)
    html = page(view, "query", {"calibrate": "1"}) or ""
    assert 'name="calibrate" value="1" checked' in html
    html = page(view, "compare", {"a_threshold": "2", "b_threshold": "2", "b_same_judges": "1"}) or ""
    assert "same_judges=1" in html


def test_no_warning_is_logged(load: Any, file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load(threshold=1, calibrate=file, min_judges=2, same_judges=True, streaming=True)
    assert not caplog.records
