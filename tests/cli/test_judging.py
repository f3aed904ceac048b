"""coigp judges: what it prints and writes, what it refuses, and calibrated pairs made with its file."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run
from make import completed, make_store
from planted import Judges, rows_of, scores_of

from coig_p.pairs.config import PairConfig
from coig_p.report.judges_report import FILES
from coig_p.report.view.judged import MOST_RESPONSES, judges_tables
from coig_p.stats.examined import examine_judges
from coig_p.store.store import Store

HOSTILE = "<script>x</script>|`\x1b[31m\u202e"


def planted_rows(judges: Judges, seen: Any = True, queries: int = 60) -> list[dict[str, Any]]:
    scores = np.round(scores_of(judges, queries, 5, 0), 1)
    return completed(rows_of(scores, seen, judges.names))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("judges") / "store", planted_rows(Judges()))


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One judge a response, the first of them more lenient by 2 points."""
    judges = Judges((7.0, 5.0), (1.5, 1.5), (0.0, 0.0), (0.5, 0.5), (-1, -1))
    who = np.random.default_rng(0).integers(0, 2, (60, 5))
    return make_store(tmp_path_factory.mktemp("single") / "store", planted_rows(judges, who[..., None] == np.arange(2)))


def test_json_is_what_the_library_finds(store: Path) -> None:
    told = json.loads(run("judges", store, "--json").stdout)
    found = examine_judges(Store.open(store))
    assert told == json.loads(found.to_json())
    assert told["refusals"] == []
    assert told["joint"]["converged"]
    for name, offset in zip(Judges().names, (6.6, 6.0, 5.4), strict=True):
        fit = told["judges"][name]["fit"]
        assert fit["offset"]["low"] < offset < fit["offset"]["high"]
        assert told["judges"][name]["family"] == name
    frame = found.to_pandas()
    assert frame.loc["model-0", "fit_spread_value"] == pytest.approx(found.judges["model-0"].fit.spread.value)  # type: ignore[union-attr]


def test_num_proc_changes_nothing(store: Path) -> None:
    assert run("judges", store, "--json", "--num-proc", 2).stdout == run("judges", store, "--json").stdout


def test_a_table_for_people(store: Path) -> None:
    shown = run("judges", store).stdout
    assert "Leniency, spread and self-preference" in shown
    assert "the joint model: 300 shared responses, 60 queries" in shown
    assert "not recorded" in shown


def test_files(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("judges", store, "--out", out, "--language", "zh")
    assert {path.name for path in out.iterdir()} <= FILES
    assert {"judges.html", "judges.md", "judges.json", "leniency.svg", "self-preference.svg"} <= {
        path.name for path in out.iterdir()
    }
    assert (out / "judges.json").read_text() == run("judges", store, "--json").stdout
    assert "自我偏好" in (out / "judges.md").read_text()
    assert "自我偏好" in (out / "judges.html").read_text()
    assert "exists" in run("judges", store, "--out", out, code=2).stderr
    run("judges", store, "--out", out, "--overwrite")
    assert "self-preference" in (out / "judges.md").read_text()


def test_plots_of_more_judges_than_one_plot_can_tell_apart(tmp_path: Path) -> None:
    """Nine judges, and people: 18 lines, of which none is left out."""
    judges = Judges((6.0,) * 9, (1.5,) * 9, (0.0,) * 9, (0.5,) * 9, (-1,) * 9)
    rows = planted_rows(judges)
    for row in rows:
        row["comparisons"] = [
            {"first": one, "second": one + 1, "judge": "human:a", "dimension": "overall", "rationale": None}
            | {"first_score": 1.0, "second_score": 0.0}
            for one in range(4)
        ]
    out = tmp_path / "out"
    run("judges", make_store(tmp_path / "store", rows), "--out", out)
    found = sorted(out.glob("by-margin*.svg"))
    assert {path.name for path in found} == {"by-margin.svg", *(f"by-margin-{nth}.svg" for nth in range(2, 6))}
    assert {path.name for path in found} <= FILES
    drawn = "".join(path.read_text() for path in found)
    for name in judges.names:
        assert f"{name} / people: " in drawn
        assert f"{name} / other judges: " in drawn
    page = (out / "judges.html").read_text()
    assert page.count("<img") == len(list(out.glob("*.svg")))


def test_what_cannot_be_told_is_shown_with_what_can_and_exits_1(single: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("judges", single, "--out", out, code=1)
    assert "Collect: scores of" in done.stdout
    told = json.loads((out / "judges.json").read_text())
    assert [one["kind"] for one in told["refusals"]] == ["judges"]
    assert told["joint"] is None
    assert "Collect" not in run("judges", single, code=1).stderr


def test_calibrated_pairs(single: Path, tmp_path: Path) -> None:
    """The file brings two judges to one scale, and pairs are then made with it."""
    out = tmp_path / "calibration.json"
    done = run("judges", single, "--calibrate", out, "--method", "zscore")
    assert "coigp pairs STORE --calibrate" in done.stdout
    held = json.loads(out.read_text())
    offsets = [held["judges"][name]["offset"] for name in ("judge-0", "judge-1")]
    assert 1.4 < offsets[0] - offsets[1] < 2.6
    assert held["store"]["name"] == "store"
    assert len(held["store"]["manifest_sha256"]) == 64
    assert held["range"] == [1, 10]
    assert held["options"]["domains"] == []
    run("pairs", single, "--out", tmp_path / "raw.jsonl", "--threshold", 2)
    run("pairs", single, "--out", tmp_path / "even.jsonl", "--threshold", 2, "--calibrate", out)
    raw, even = (_lenient(tmp_path / name, single) for name in ("raw.jsonl", "even.jsonl"))
    assert raw > 0.75 > 0.6 > even > 0.4
    assert "exists" in run("judges", single, "--calibrate", out, "--method", "zscore", code=2).stderr
    assert PairConfig(threshold=2, calibrate=out).calibrate is not None  # type: ignore[arg-type]


def _lenient(path: Path, store: Path) -> float:
    """Of pairs whose two sides had different judges the share in which the lenient judge's is chosen."""
    judge = {
        (row["query_id"], one["model"]): one["scores"][0]["judge"]
        for batch in Store.open(store).batches("chat")
        for row in batch.to_pylist()
        for one in row["responses"]
    }
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    told = [[judge[row["query_id"], row[f"{side}_model"]] for side in ("chosen", "rejected")] for row in rows]
    mixed = [chosen for chosen, rejected in told if chosen != rejected]
    return float(np.mean([name == "judge-0" for name in mixed]))


def test_joint_calibration_of_judges_that_share(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "calibration.json"
    run("judges", store, "--calibrate", out, "--overwrite")
    held = json.loads(out.read_text())
    found = examine_judges(Store.open(store))
    for name, one in held["judges"].items():
        assert one["offset"] == found.judges[name].fit.offset.value  # type: ignore[union-attr]
        assert one["scale"] == found.judges[name].fit.spread.value  # type: ignore[union-attr]


def test_the_file_says_what_the_table_says_without_self_preference(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "calibration.json"
    done = run("judges", store, "--no-self-preference", "--json", "--calibrate", out)
    held, told = json.loads(out.read_text()), json.loads(done.stdout)["judges"]
    for name, one in held["judges"].items():
        assert one["offset"] == pytest.approx(told[name]["fit"]["offset"]["value"], abs=1e-6)
        assert one["scale"] == pytest.approx(told[name]["fit"]["spread"]["value"], abs=1e-6)
    assert "what 'model-0', 'model-1', 'model-2' may give" in done.stderr
    assert "was not fitted apart" in done.stderr
    assert held["options"]["own_in_leniency"] == ["model-0", "model-1", "model-2"]
    assert "note:" not in run("judges", store, "--calibrate", out, "--overwrite").stderr
    assert json.loads(out.read_text())["options"]["own_in_leniency"] == []


def test_liking_that_cannot_be_told_is_said_to_be_in_the_leniency(tmp_path: Path) -> None:
    """Judge model-0 scored answers of its own family alone."""
    judges = Judges()
    seen = np.ones((60, 5, 3), bool)
    seen[:, 1:, 0] = False
    out = tmp_path / "calibration.json"
    done = run("judges", make_store(tmp_path / "store", planted_rows(judges, seen)), "--calibrate", out)
    assert "what 'model-0' may give answers of its own family" in done.stderr
    assert "cannot be told here" in done.stderr
    assert json.loads(out.read_text())["options"]["own_in_leniency"] == ["model-0"]


@pytest.mark.parametrize("given", ["reveiw", "./reveiw", "reveiw/", "people:"])
def test_people_who_are_not_there(store: Path, given: str) -> None:
    done = run("judges", store, "--human", given, code=2)
    assert f"{given!r} is neither the folder of a review nor how a judge's name begins" in done.stderr
    assert "'model-0', 'model-1', 'model-2'" in done.stderr


def test_people_by_another_beginning(store: Path) -> None:
    told = json.loads(run("judges", store, "--human", "model-2", "--json").stdout)["judges"]
    assert [name for name, one in told.items() if one["person"]] == ["model-2"]


def test_a_calibration_that_cannot_be_is_refused_and_nothing_is_written(single: Path, tmp_path: Path) -> None:
    done = run("judges", single, "--calibrate", tmp_path / "c.json", code=1)
    assert "--method zscore" in done.stderr
    assert not (tmp_path / "c.json").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--method", "zscore"], "--calibrate FILE is fitted"),
        (["--human", ""], "makes every judge a person"),
        (["--human", "tests"], "no review"),
        (["--families", "nowhere.toml"], "cannot be read"),
        (["--domain", "nowhere"], "unknown"),
        (["--calibrate", "-"], "-: name a file that ends in .json"),
        (["--calibrate", "calibration.txt"], "calibration.txt: name a file that ends in .json"),
    ],
)
def test_one_error_each(
    store: Path, given: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").mkdir()
    done = run("judges", store, *given, code=1 if "--families" in given else 2)
    assert said in done.stderr


def test_families_of_a_file(store: Path, tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text('[families]\n"model-[01]" = "all"\n')
    told = json.loads(run("judges", store, "--families", tmp_path / "f.toml", "--json").stdout)
    assert {one["family"] for one in told["judges"].values()} == {"all", "model-2"}
    assert told["judges"]["model-0"]["fit"]["own"] == 120


def test_no_self_preference(store: Path) -> None:
    told = json.loads(run("judges", store, "--no-self-preference", "--json").stdout)
    assert all(one["fit"]["self_preference"] is None for one in told["judges"].values())


def test_a_store_without_judges_tells_nothing_and_is_no_finding(tmp_path: Path) -> None:
    rows = planted_rows(Judges(), False, 3)
    make_store(tmp_path / "store", rows)
    assert "no judge said anything" in run("judges", tmp_path / "store").stdout


def test_comparisons_alone(tmp_path: Path) -> None:
    rows = planted_rows(Judges(), False, 20)
    for at, row in enumerate(rows):
        row["comparisons"] = [
            {"first": one, "second": 1 - one, "judge": "p", "dimension": "overall", "rationale": None}
            | {"first_score": 1.0, "second_score": float(at % 2)}
            for one in (0, 1)
        ]
    make_store(tmp_path / "store", rows)
    assert "leniency, spread and self-preference cannot be told" in run("judges", tmp_path / "store").stdout
    told = json.loads(run("judges", tmp_path / "store", "--json").stdout)
    assert told["refusals"] == []
    assert told["judges"]["p"]["position"]["first_shown"]["share"] == 1
    assert told["judges"]["p"]["position"]["delta"]["mean"] == 0.5
    assert told["judges"]["p"]["position"]["consistent"]["share"] == 0.5


def test_what_is_missing_is_recorded_by_the_store_or_the_run(tmp_path: Path) -> None:
    rows = planted_rows(Judges())
    for row in rows[:12]:
        row["responses"][0]["scores"][1]["score"] = None
    make_store(tmp_path / "run" / "store", rows)
    told = json.loads(run("judges", tmp_path / "run" / "store", "--json").stdout)["judges"]
    assert told["model-1"]["invalid"] == {"missing": 12, "asked": 300, "share": 0.04}
    assert told["model-0"]["invalid"] == {"missing": 0, "asked": 300, "share": 0.0}
    lines = [{"kind": "judge", "state": "invalid", "judge": "model-0", "domain": "chat"}] * 3
    lines += [{"kind": "judge", "state": "failed", "judge": "model-0", "domain": "chat"}]
    lines += [{"kind": "generate", "state": "invalid", "model": "x", "domain": "chat"}]
    missing = tmp_path / "run" / "missing.jsonl"
    missing.write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = json.loads(run("judges", tmp_path / "run" / "store", "--json").stdout)["judges"]
    assert told["model-0"]["invalid"]["missing"] == 3
    missing.write_text('{"kind": "judge"}\n')
    assert "missing.jsonl line 1" in run("judges", tmp_path / "run" / "store", code=1).stderr


def test_people_of_a_review(store: Path, tmp_path: Path) -> None:
    """A review's answers count as those of human:NAME, and nothing is written into the store."""
    from coig_p.review.answers import Answer, append_all
    from coig_p.review.folder import open_review, read_key

    review = tmp_path / "review"
    run("review", "draw", store, "--out", review, "--per-domain", 20, "--annotators", "a", "--threshold", 1)
    held = open_review(review)
    answers = [
        Answer(row.item, "a", 1, {"preference": (row.chosen or "a").upper(), "correct": [], "query_ok": None},
               seconds=1.0, at="2026-11-26T10:00:00+00:00")
        for row in read_key(held)
    ]  # fmt: skip
    append_all(held, "a", answers)
    told = json.loads(run("judges", store, "--human", review, "--json").stdout)["judges"]
    assert told["human:a"]["person"]
    people = [one for one in told["model-0"]["by_margin"] if one["against"] == "people"]
    assert sum(part["pairs"] for one in people for part in one["bins"]) > 10
    # The store is as it was.
    again = json.loads(run("judges", store, "--json").stdout)["judges"]
    assert "human:a" not in again
    assert not any(one["against"] == "people" for one in again["model-0"]["by_margin"])


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    rows = planted_rows(Judges())
    for row in rows:
        for response in row["responses"]:
            for score in response["scores"]:
                score["judge"] = score["judge"].replace("model-2", HOSTILE)
    return make_store(tmp_path / "hostile", rows)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)


def test_names_cannot_harm_a_page_a_document_or_a_terminal(hostile: Path, tmp_path: Path) -> None:
    done = run("judges", hostile, "--out", tmp_path / "out")
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    page, document = ((tmp_path / "out" / name).read_text() for name in ("judges.html", "judges.md"))
    read = _Tags()
    read.feed(page)
    assert "script" not in read.tags
    assert "\x1b" not in page
    assert "<script" not in document
    assert "\x1b" not in document
    assert "\\|" in document
    for path in (tmp_path / "out").glob("*.svg"):
        assert "<script" not in path.read_text()


def test_the_page_of_judges_shows_the_same_numbers(store: Path) -> None:
    from coig_p.report.judges_report import sections

    opened = Store.open(store)
    found = examine_judges(opened)
    for language in ("en", "zh"):
        assert judges_tables(opened, language) == sections(found, language)
    assert MOST_RESPONSES > 300
