"""What `coigp review draw` and `import` print, and how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from commands import run
from make import make_rows, make_store
from reviewed import AT, SAID

from coig_p.review.answers import Answer, append_all, read_answers
from coig_p.review.folder import open_review, read_tasks


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("asked") / "store", make_rows({"math": 30, "chat": 30}, seed=6))


def test_a_draw_says_what_was_drawn_and_what_comes_next(store: Path, tmp_path: Path) -> None:
    done = run("review", "draw", store, "--out", tmp_path / "review", "--annotators", "a,b", "--per-domain", 20)
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["annotator", "tasks", "gold"]
    assert [line.split() for line in lines[1:3]] == [["a", "40", "0"], ["b", "40", "0"]]
    assert lines[3] == f"wrote {tmp_path / 'review'}, round 1: 40 pairs (math 20, chat 20)"
    assert lines[4] == f"next: coigp review serve {tmp_path / 'review'} --annotator a"
    review = open_review(tmp_path / "review")
    assert (review.seed, review.overlap, review.pairs) == (0, 2, {"threshold": 2})
    assert review.options == {"per_domain": 20}


def test_a_smaller_domain_is_told(store: Path, tmp_path: Path) -> None:
    done = run("review", "draw", store, "--out", tmp_path / "r", "--annotators", "a", "--form", "query")
    assert done.stdout.startswith(
        "fewer queries than were wanted, all of them are drawn: math 30 of 40, chat 30 of 40\n"
    )
    told = json.loads(
        run("review", "draw", store, "--out", tmp_path / "j", "--annotators", "a", "--form", "query", "--json").stdout
    )
    assert told["short"] == {"math": {"has": 30, "wanted": 40}, "chat": {"has": 30, "wanted": 40}}
    assert (told["items"], told["annotators"], told["form"]) == (60, {"a": 60}, "query")


def test_a_total_is_made_up_for_and_triples_are_counted(tmp_path: Path) -> None:
    few = make_store(tmp_path / "few", make_rows({"math": 40, "chat": 2}, seed=6))
    given = ["review", "draw", few, "--annotators", "a", "--form", "triple", "--total", 20]
    done = run(*given, "--out", tmp_path / "r")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("fewer queries than were wanted, all of them are drawn: chat ")
    assert lines[0].endswith(" of 10; with what the others have, 20 of 20")
    assert "a query gives 1 triple of three different responses, 4 of four, 5 of five or more" in lines
    told = json.loads(run(*given, "--out", tmp_path / "j", "--json").stdout)
    assert told["queries"] == 20 < told["items"]
    assert f"wrote {tmp_path / 'r'}, round 1: {told['items']} triples of 20 queries (math" in done.stdout
    told = " ".join(run("review", "draw", "--help").stdout.split())
    assert "what a small domain lacks, others give" in told
    assert "1 of three different responses, 4 of four, 5 of five or more" in told


def test_a_ranking_says_what_it_finds_and_on_what_ground(store: Path, tmp_path: Path) -> None:
    given = ["review", "draw", store, "--annotators", "a", "--by", "margin", "--budget", 10, "--threshold", 1]
    done = run(*given, "--out", tmp_path / "r")
    assert "What looking at the first pairs by margin would find" in done.stdout
    assert "a pair is opposed, so likely wrong, where the one left out prefers the other response" in done.stdout
    assert "opposed of looked at" in done.stdout
    assert "measured on other data (480 queries, 20 models, people's verdicts)" in done.stdout
    told = json.loads(run(*given, "--out", tmp_path / "j", "--json").stdout)
    assert told["by"] == "margin"
    assert {one["judge"] for one in told["yield"]} == {"judge-a", "judge-b", "model-0"}
    assert told["elsewhere"].startswith("measured on other data")
    options = open_review(tmp_path / "r").options
    assert options == {"by": "margin", "budget": 10}


def test_an_audit_is_a_round_of_the_same_review(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "review"
    run("review", "draw", store, "--out", folder, "--annotators", "a,b", "--per-domain", 10, "--overlap", 1)
    review = open_review(folder)
    for name in "ab":
        answers = [Answer(task["item"], name, 1, SAID["pair"], at=AT) for task in read_tasks(review, name)]
        append_all(review, name, answers)
    done = run("review", "draw", store, "--out", folder, "--audit", 0.3)
    assert f"wrote {folder}, round 2: 6 pairs (math 3, chat 3)" in done.stdout
    done = run("review", "draw", store, "--out", folder, "--audit", 0.25)
    assert "6 tasks of earlier audits still to be answered; this audit adds to them\n" in done.stdout
    assert f"wrote {folder}, round 3: 5 pairs (math 3, chat 2)" in done.stdout  # a fourth of 20, not 3 of each 10
    assert "another than the review was drawn from" not in done.stdout
    other = make_store(tmp_path / "more", make_rows({"math": 30, "chat": 31}, seed=6))
    done = run("review", "draw", other, "--out", folder, "--audit", 0.25)
    assert "the store is another than the review was drawn from; all that was shown is there, unchanged" in done.stdout
    done = run("review", "draw", store, "--out", folder, "--audit", 0.3, "--per-domain", 3, "--by", "margin", code=2)
    assert "--by, --per-domain: no effect beside --audit" in done.stderr
    assert len(read_answers(folder)) == 20
    done = run("review", "draw", store, "--out", folder, "--annotators", "a", "--overwrite", code=2)
    assert "a review that people have answered" in done.stderr


USAGE: list[tuple[list[Any], str]] = [
    ([], "Missing option '--annotators'"),
    (["--annotators", "a/b"], "annotator 'a/b': use letters"),
    (["--annotators", "a", "--budget", 3], "--budget: say by what pairs are ranked"),
    (["--annotators", "a,b,a"], "'--annotators': 'a' stands twice: give each name once"),
    (["--annotators", "a", "--annotators", "a"], "'a' stands twice"),
    (["--annotators", "a", "--by", "margin", "--strata", "margin"], "--strata beside --by margin: one takes all"),
    (["--annotators", "a", "--rule", "email"], "--rule: only with --by rule"),
    (["--annotators", "a", "--by", "rule", "--rule", "emial"], "unknown rule 'emial'"),
    (["--annotators", "a", "--by", "chance"], "'chance' is not one of"),
    (["--annotators", "a", "--form", "triple", "--threshold", 3], "form triple asks about no pairs"),
    (["--annotators", "a", "--form", "query", "--by", "margin"], "form query asks about no pairs"),
    (["--annotators", "a", "--per-domain", 0], "use a whole number of 1 or more"),
    (["--annotators", "a", "--per-domain", 3, "--total", 3], "give one of them"),
    (["--annotators", "a,b", "--overlap", 3], "overlap=3: use a number from 1 to 2"),
    (["--annotators", "a,b,c", "--split-domains"], "2 domains cannot be split among 3 annotators"),
    (["--annotators", "a", "--domain", "poems"], "unknown domain 'poems'"),
    (["--annotators", "a", "--threshold", 77], "the largest margin is 9"),
    (["--audit", 0.3], "not a review"),
    (["--audit", 3], "is not in the range 0<x<=1"),
]


@pytest.mark.parametrize(("given", "said"), USAGE)
def test_usage_errors_say_what_to_do_and_write_nothing(
    given: list[Any], said: str, store: Path, tmp_path: Path
) -> None:
    done = run("review", "draw", store, "--out", tmp_path / "review", *given, code=None)
    assert done.returncode == (1 if "not a review" in said else 2), done.stderr
    assert said in done.stderr
    assert not (tmp_path / "review").exists()


def test_an_import_says_what_it_took_and_what_not(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "review"
    run("review", "draw", store, "--out", folder, "--annotators", "a,b", "--total", 4)
    results = [
        {"from_name": "preference", "type": "choices", "value": {"choices": ["tie"]}},
        {"from_name": "style", "type": "rating", "value": {"rating": 3}},
    ]
    said = {"completed_by": 1, "result": results, "lead_time": 3.5, "updated_at": "2026-11-26T10:00:00Z"}
    tasks = json.loads((folder / "tasks-a.json").read_text("utf-8"))
    export = [task | {"annotations": [said], "drafts": []} for task in tasks]
    export[0]["annotations"].append(said | {"updated_at": "2026-11-26T11:00:00Z"})
    export[1]["annotations"] = [said | {"was_cancelled": True, "result": []}]
    export[2] |= {"annotations": [], "drafts": [{"result": results}]}
    file = tmp_path / "export.json"
    file.write_text(json.dumps(export), encoding="utf-8")
    done = run("review", "import", folder, file)
    assert done.stdout.splitlines() == [
        "imported 3 answers: a 3",
        "1 of these skipped by the annotator",
        "1 annotation that the annotator changed later, left out",
        "1 draft begun and never submitted, left out",
        "style was answered 3 times: the form does not ask it, not read",
    ]
    told = json.loads(run("review", "import", folder, file, "--json").stdout)
    assert (told["new"], told["same"], told["by_annotator"]) == (0, 3, {})
    file.write_text(file.read_text("utf-8")[:-40], encoding="utf-8")
    done = run("review", "import", folder, file, code=1)
    assert done.stderr.startswith(f"error: {file}: not JSON, or cut short: ")
    assert done.stderr.endswith("nothing was imported\n")
    assert run("review", "import", folder, tmp_path / "none.json", code=2).stderr.endswith("no such file\n")
    assert run("review", "import", tmp_path, file, code=1).stderr.count("\n") == 1
