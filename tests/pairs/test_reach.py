"""Thresholds that no pair of a store can meet: refused where scores are all there is, else told once."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import run

from coig_p.errors import UsageError
from coig_p.pairs.config import PairConfig
from coig_p.pairs.reach import check_reachable
from coig_p.store.manifest import Manifest, StoreFile
from coig_p.store.store import Store

DATA = StoreFile("data/math/a.parquet", "data", "0" * 64, 1, scores=4, comparisons=0)
SCORED = Manifest(score_range=(1, 10), default_threshold=2, tool="t", domains=("math",), files=(DATA,))
MIXED = replace(SCORED, files=(DATA, replace(DATA, comparisons=2)))
COMPARED = replace(SCORED, default_threshold=1, files=(replace(DATA, scores=0, comparisons=2),))
KNOWN = replace(COMPARED, options={"largest_comparison_margin": 3.0})
BOTH_KNOWN = replace(MIXED, options={"largest_comparison_margin": 12.5})


@pytest.mark.parametrize(
    ("manifest", "options", "found"),
    [
        (SCORED, {}, "nothing"),
        (SCORED, {"threshold": 9}, "nothing"),
        (SCORED, {"threshold": 9, "strict": True}, "error"),
        (SCORED, {"threshold": 9.0001}, "error"),
        (SCORED, {"threshold": 20, "labels": "scores"}, "error"),
        (replace(SCORED, score_range=(0, 100), default_threshold=20), {"threshold": 20}, "nothing"),
        (replace(SCORED, score_range=(0, 0.3), default_threshold=0.1), {"threshold": 0.3}, "nothing"),
        (replace(SCORED, score_range=(0, 1), default_threshold=0.2), {"threshold": 2}, "error"),
        (MIXED, {"threshold": 9}, "nothing"),
        (MIXED, {"threshold": 20}, "warning"),
        (MIXED, {"threshold": 20, "labels": "scores"}, "error"),
        (MIXED, {"threshold": 2, "labels": "comparisons"}, "warning"),
        (COMPARED, {}, "nothing"),
        (COMPARED, {"threshold": 1}, "nothing"),
        (COMPARED, {"threshold": 2}, "warning"),
        (replace(COMPARED, default_threshold=3), {}, "nothing"),
        (KNOWN, {"threshold": 3}, "nothing"),
        (KNOWN, {"threshold": 3, "strict": True}, "error"),
        (KNOWN, {"threshold": 3.0001}, "error"),
        (replace(KNOWN, default_threshold=4), {}, "nothing"),
        (BOTH_KNOWN, {"threshold": 12}, "warning"),
        (BOTH_KNOWN, {"threshold": 12.5}, "warning"),
        (BOTH_KNOWN, {"threshold": 13}, "error"),
        (BOTH_KNOWN, {"threshold": 13, "labels": "comparisons"}, "error"),
        (BOTH_KNOWN, {"threshold": 12, "labels": "comparisons"}, "nothing"),
        (BOTH_KNOWN, {"threshold": 12, "labels": "scores"}, "error"),
    ],
)
def test_what_is_said_of_a_threshold(
    manifest: Manifest, options: dict[str, Any], found: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = PairConfig(**options)
    if found == "error":
        with pytest.raises(UsageError, match=r"no two scores (from|of a comparison) .* the default of this store is"):
            check_reachable(config, manifest)
    else:
        assert check_reachable(config, manifest) == config.with_default_threshold(manifest.default_threshold)
    assert len(caplog.records) == (found == "warning")


@pytest.mark.parametrize(
    "words",
    [
        ["pairs", "--out", "-"],
        ["pairs", "--out", "OUT.parquet"],
        ["stats"],
        ["export", "--for", "trl-dpo", "--out", "OUT"],
        ["publish", "--version", "1.0.0", "--target", "dir:OUT"],
    ],
)
def test_every_command_that_takes_a_threshold_refuses_it(words: list[str], store: Path, tmp_path: Path) -> None:
    typed = [words[0], store, *(word.replace("OUT", str(tmp_path / "out")) for word in words[1:])]
    said = run(*typed, "--threshold", 20, code=2).stderr
    assert said.startswith("error: threshold 20: no two scores from 1 to 10 are so far apart, the largest margin is 9;")
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_says_which_of_its_thresholds_nothing_meets(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        said = run("sweep", store, "--thresholds", "1,9,10,20").stderr
    assert said.count("threshold 10, 20: no two scores from 1 to 10 are so far apart") == 1
    assert "no two scores" not in run("sweep", store).stderr


def test_a_store_remembers_how_far_apart_its_comparisons_are(tmp_path: Path) -> None:
    row = {"response1": "二。", "response2": "三。"}
    rows = [row | {"prompt": f"问{at}", "overall_preference": said} for at, said in enumerate((-2, 1, 3, 0))]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows), "utf-8")
    store, cleaned = tmp_path / "store", tmp_path / "cleaned"
    run("import", tmp_path / "in.jsonl", "--domain", "chat", "--out", store)
    run("clean", store, "--out", cleaned)
    for path in (store, cleaned):
        assert Store.open(path).manifest.options["largest_comparison_margin"] == 3
        assert run("pairs", path, "--threshold", 3, "--out", "-").stdout.count("\n") == 1
        said = run("pairs", path, "--threshold", 4, "--out", "-", code=2).stderr
        assert "no two scores of a comparison are so far apart, the largest margin is 3" in said


def test_a_store_of_scores_says_nothing_of_comparisons(store: Path) -> None:
    compared = any(file.comparisons for file in Store.open(store).data_files())
    assert ("largest_comparison_margin" in Store.open(store).manifest.options) == compared


def test_comparisons_of_a_store_without_any_are_refused() -> None:
    with pytest.raises(UsageError, match=r"this store has no comparisons, it has 4 scores: leave labels out"):
        check_reachable(PairConfig(labels="comparisons"), SCORED)


def test_scores_of_a_store_without_any_are_refused() -> None:
    with pytest.raises(UsageError, match=r"this store has no scores, it has .* comparisons?: leave labels out"):
        check_reachable(PairConfig(labels="scores"), COMPARED)
    unknown = replace(COMPARED, files=tuple(replace(file, scores=None) for file in COMPARED.files))
    for manifest in (MIXED, SCORED, unknown):
        assert check_reachable(PairConfig(labels="scores"), manifest).labels == "scores"


@pytest.mark.parametrize("manifest", [MIXED, COMPARED, replace(SCORED, files=(replace(DATA, comparisons=None),))])
def test_comparisons_that_a_store_has_or_may_have_are_not_refused(manifest: Manifest) -> None:
    assert check_reachable(PairConfig(labels="comparisons"), manifest).labels == "comparisons"


@pytest.mark.parametrize(
    ("judges", "options", "most"),
    [
        ({"a": 3, "b": 1}, {"min_judges": 2}, None),
        ({"a": 3, "b": 1}, {"min_judges": 3}, 2),
        ({"a": 3, "b": 1}, {"min_judges": 2, "judges": ("a",)}, 1),
        ({"a": 3}, {"min_judges": 2}, None),  # the fourth score has no judge's name, and counts as another's
        ({"a": 3}, {"min_judges": 3}, 2),
        ({"a": 3}, {"min_judges": 2, "judges": ("a",)}, 1),
        ({}, {"min_judges": 9}, None),  # an older manifest
    ],
)
def test_more_judges_than_there_are(judges: dict[str, int], options: dict[str, Any], most: int | None) -> None:
    manifest, config = replace(SCORED, judges=judges), PairConfig(**options)
    if most is None:
        check_reachable(config, manifest)
        return
    with pytest.raises(UsageError, match=rf"min_judges={config.min_judges} .* {most}, so no .*: use {most} or fewer"):
        check_reachable(config, manifest)


def test_more_judges_than_there_are_on_the_command_line(tmp_path: Path) -> None:
    from make import completed, make_store
    from planted import Judges, rows_of, scores_of

    judges = Judges()
    store = make_store(tmp_path / "s", completed(rows_of(scores_of(judges, 4, 2, 0), True, judges.names)))
    for command in (
        ["pairs", "--out", tmp_path / "x.jsonl"],
        ["sweep"],
        ["stats"],
        ["export", "--for", "trl-dpo", "--out", tmp_path / "x"],
    ):
        assert "use 3 or fewer" in run(command[0], store, *command[1:], "--min-judges", 4, code=2).stderr
        assert not list(tmp_path.glob("x*"))


def test_a_calibration_file_is_looked_for_in_the_store_by_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from calibrating import calibration, written
    from make import completed, make_store
    from planted import Judges, rows_of, scores_of

    judges = Judges()
    rows = completed(rows_of(scores_of(judges, 4, 2, 0), True, judges.names))
    store = make_store(tmp_path / "s", rows)
    written(store / "calibration.json", calibration(dict.fromkeys(judges.names, (5.0, 1.0))))
    monkeypatch.chdir(tmp_path)
    option = ["--calibrate", "calibration.json"]
    run("pairs", store, "--out", "x.jsonl", "--threshold", 1, *option)
    run("export", store, "--for", "trl-dpo", "--out", "x", "--threshold", 1, *option)
    run("stats", store, "--threshold", 1, *option)
    run("sweep", store, "--thresholds", "1,2", *option)
    run("show", store, *option)
    run("plan", store, "--threshold", 1, *option)
    told = run("diff", store, "--a", "threshold=1,calibrate=calibration.json", "--b", "threshold=1").stdout
    assert "calibrate" in told
    done = run("pairs", store, "--out", "y.jsonl", "--threshold", 1, "--calibrate", "other.json", code=1)
    assert "other.json: the calibration file cannot be read" in done.stderr
