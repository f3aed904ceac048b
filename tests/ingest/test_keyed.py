"""Scores in files of their own: they find their response by id or text, model, sample or answer, in any order."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from coig_p.ingest.accounting import ImportFailed, ImportReport
from coig_p.ingest.fields import FormConfig
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig
from coig_p.schema import UNITS
from coig_p.store.store import Store

ANSWERS = [
    {"id": "q1", "prompt": "问一？", "model": "a", "output": "甲"},
    {"id": "q1", "prompt": "问一？", "model": "a", "output": "乙"},
    {"id": "q1", "prompt": "问一？", "model": "b", "output": "丙"},
    {"id": "q2", "prompt": "问二？", "output": "丁"},
    {"id": "q3", "prompt": "问一？", "model": "c", "output": "戊"},
    {"prompt": "问四？", "model": "c", "output": "己"},
]


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def table(path: Path, *rows: dict[str, Any]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(dict.fromkeys(name for row in rows for name in row)), restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def scored(store: Store) -> dict[tuple[str, str], list[tuple[str, float]]]:
    """Query and answer -> judge and score."""
    return {
        (row["query"], one["text"]): [(score["judge"], score["score"]) for score in one["scores"]]
        for batch in store.batches()
        for row in batch.to_pylist()
        for one in row["responses"]
    }


def run(folder: Path, *paths: Path, on_error: str = "fail", **form: Any) -> tuple[Store, ImportReport]:
    config = ImportConfig(domain="chat", on_error=on_error, form=FormConfig(**form))
    return import_files(paths, folder / "store", config, overwrite=True)


def test_scores_find_their_response_in_any_order_of_files(tmp_path: Path) -> None:
    answers = lines(tmp_path / "a.jsonl", *ANSWERS)
    by_id = table(
        tmp_path / "b.csv",
        {"id": "q1", "model": "a", "sample": "1", "score": "2"},
        {"id": "q1", "model": "b", "score": "３"},
        {"id": "q3", "model": "c", "score": "4"},
        {"id": "q1", "model": "a", "sample": "0", "score": ""},
    )
    by_text = table(
        tmp_path / "c.csv",
        {"prompt": "问四？", "model": "c", "score": "5", "judge": "人", "rationale": "好"},
        {"prompt": "问二？", "model": "unknown-1", "score": "6", "judge": "人"},
    )
    by_answer = lines(tmp_path / "d.jsonl", {"id": "q1", "output": "甲", "score": 7})
    wanted = {
        ("问一？", "甲"): [("unknown", 7.0)],
        ("问一？", "乙"): [("unknown", 2.0)],
        ("问一？", "丙"): [("unknown", 3.0)],
        ("问二？", "丁"): [("人", 6.0)],
        ("问一？", "戊"): [("unknown", 4.0)],
        ("问四？", "己"): [("人", 5.0)],
    }
    for order in itertools.permutations([answers, by_id, by_text, by_answer]):
        store, report = run(tmp_path, *order)
        assert scored(store) == wanted
        assert report.missing_scores == 1
        assert report.accounting() == {
            "rows": {"read": 13, "stored": 4, "rejected": 0, "merged": 9},
            "responses": {"read": 6, "stored": 6, "rejected": 0, "merged": 0},
            "scores": {"read": 6, "stored": 6, "rejected": 0, "merged": 0},
            "comparisons": dict.fromkeys(("read", "stored", "rejected", "merged"), 0),
        }


@pytest.mark.parametrize("rows", ["one", "each"])
def test_a_sample_counts_the_answers_as_the_file_has_them(rows: str, tmp_path: Path) -> None:
    """Who scored the third answer meant the third, also where the first two are one in the store."""
    texts = ["好答", "好答", "坏答", "好答二"]
    responses = [{"model": "m", "text": text} for text in texts]
    head = {"query_id": "q", "query": "甲"}
    given = [responses] if rows == "one" else [[one] for one in responses]
    answers = lines(tmp_path / "a.jsonl", *(head | {"responses": one} for one in given))
    scores = [{"query_id": "q", "model": "m", "sample": at, "score": score} for at, score in enumerate([9, 9, 1, 5])]
    for order in ([answers, lines(tmp_path / "s.jsonl", *scores)], [lines(tmp_path / "s.jsonl", *scores), answers]):
        store, _ = run(tmp_path, *order)
        found = {text: [score for _, score in given] for (_, text), given in scored(store).items()}
        assert found == {"好答": [9, 9], "坏答": [1], "好答二": [5]}
    late = lines(tmp_path / "s.jsonl", {"query_id": "q", "model": "m", "sample": 4, "score": 3})
    with pytest.raises(ImportFailed) as failed:
        run(tmp_path, answers, late)
    assert failed.value.report.reasons == {"no-partner": 1}


def test_a_refused_answer_counts_too(tmp_path: Path) -> None:
    responses = [{"model": "m", "text": text} for text in ("", "甲", "乙", " ")]
    answers = lines(tmp_path / "a.jsonl", {"query_id": "q", "query": "问", "responses": responses})
    for sample, wanted in ((0, None), (1, "甲"), (2, "乙"), (3, None)):
        scores = lines(tmp_path / "s.jsonl", {"query_id": "q", "model": "m", "sample": sample, "score": 3})
        store, report = run(tmp_path, answers, scores, on_error="skip")
        found = [text for (_, text), given in scored(store).items() if given]
        assert found == [wanted] * (wanted is not None)
        assert report.reasons["no-partner"] == (wanted is None)


def test_where_some_answers_have_numbers_a_doubtful_one_is_refused(tmp_path: Path) -> None:
    given: list[tuple[str, int | None]] = [("甲", 0), ("乙", None), ("乙", None), ("丙", None)]
    responses = [{"model": "m", "text": text, "sample": sample} for text, sample in given]
    answers = lines(tmp_path / "a.jsonl", {"query_id": "q", "query": "问", "responses": responses})
    for sample, wanted in ((0, "甲"), (1, "乙"), (2, None), (3, "丙")):
        scores = lines(tmp_path / "s.jsonl", {"query_id": "q", "model": "m", "sample": sample, "score": 3})
        store, report = run(tmp_path, answers, scores, on_error="skip")
        assert [text for (_, text), said in scored(store).items() if said] == [wanted] * (wanted is not None)
        assert report.reasons["several-partners"] == (wanted is None)


def test_two_answers_that_differ_in_their_reasoning_are_two(tmp_path: Path) -> None:
    sides = [[{"role": "assistant", "content": "答", "reasoning_content": text}] for text in ("对", "错")]
    row = {"prompt": "问？", "chosen": sides[0], "rejected": sides[1], "chosen_model": "m", "rejected_model": "m"}
    store, report = run(tmp_path, lines(tmp_path / "a.jsonl", row))
    (stored,) = [row for batch in store.batches() for row in batch.to_pylist()]
    assert [one["sample"] for one in stored["responses"]] == [0, 1]
    assert [json.loads(one["extra"])["reasoning_content"] for one in stored["responses"]] == ["对", "错"]
    assert len(stored["comparisons"]) == 1
    assert report.counts["responses"]["merged"] == 0


ALONE = [
    ({"id": "q9", "model": "a", "score": 5}, "query_id", "no-partner", "has query_id 'q9'"),
    ({"id": "q1", "model": "z", "score": 5}, "", "no-partner", "query_id 'q1', model 'z'"),
    ({"id": "q1", "model": "a", "sample": 2, "score": 5}, "", "no-partner", "model 'a', sample 2"),
    ({"id": "q1", "output": "没有", "score": 5}, "", "no-partner", "query_id 'q1', text '没有'"),
    ({"id": "q1", "model": "b", "output": "甲", "score": 5}, "", "no-partner", "model 'b', text '甲'"),
    ({"id": "q1", "model": "a", "score": 5}, "", "several-partners", "2 responses fit query_id 'q1', model 'a'"),
    ({"id": "q1", "prompt": "问二？", "model": "b", "score": 5}, "query", "two-texts", "another text"),
    ({"id": "q9", "prompt": "问二？", "model": "a", "score": 5}, "query_id", "no-partner", "has query_id 'q9'"),
    ({"prompt": "问九？", "model": "a", "score": 5}, "query", "no-partner", "this query"),
    ({"prompt": "问一？", "model": "a", "score": 5}, "query", "several-partners", "name the query_id"),
]


@pytest.mark.parametrize(("row", "field", "reason", "words"), ALONE, ids=range(len(ALONE)))
def test_what_finds_no_partner_is_a_problem_with_its_key(
    row: dict[str, Any], field: str, reason: str, words: str, tmp_path: Path
) -> None:
    paths = [
        lines(tmp_path / "s.jsonl", {"id": "q3", "model": "c", "score": 1}, row),
        lines(tmp_path / "a.jsonl", *ANSWERS),
    ]
    with pytest.raises(ImportFailed) as failed:
        run(tmp_path, *paths)
    (problem,) = failed.value.report.problems
    names = {"query_id": "id", "query": "prompt"}
    assert (problem.file, problem.line, problem.reason, problem.unit) == (str(paths[0]), 2, reason, "row")
    assert problem.field == names.get(field, field)
    assert words in problem.message
    assert not (tmp_path / "store").exists()

    store, report = run(tmp_path, *paths, on_error="skip")
    assert {unit: report.counts[unit]["rejected"] for unit in UNITS} == {
        "rows": 1, "responses": 0, "scores": 1, "comparisons": 0,
    }  # fmt: skip
    for counts in report.accounting().values():
        assert counts["read"] == counts["stored"] + counts["rejected"] + counts["merged"]
    (reject,) = [json.loads(line) for line in (tmp_path / "store/rejects.jsonl").read_text("ascii").splitlines()]
    assert reject["value"] == row
    assert reject["lost"] == {"rows": 1, "scores": 1}
    assert sum(map(len, scored(store).values())) == 1


def test_the_text_stands_for_the_id_of_rows_that_have_none(tmp_path: Path) -> None:
    """Ids that only the scores have hide no query; another id of the answers' own is another query."""
    answers = lines(tmp_path / "a.jsonl", *ANSWERS)
    scores = lines(tmp_path / "s.jsonl", {"id": "17", "prompt": "问四？", "model": "c", "score": 5})
    store, _ = run(tmp_path, scores, answers)
    assert scored(store)["问四？", "己"] == [("unknown", 5.0)]


def test_a_column_a_judge(tmp_path: Path) -> None:
    answers = lines(tmp_path / "a.jsonl", *ANSWERS[2:3])
    scores = table(tmp_path / "s.csv", {"id": "q1", "model": "b", "x": "5", "y": "6.5"})
    store, _ = run(tmp_path, answers, scores, score_columns={"甲": "x", "乙": "y"})
    assert scored(store) == {("问一？", "丙"): [("甲", 5.0), ("乙", 6.5)]}


def test_conversations_are_found_by_their_turns(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "问一？"},
        {"role": "assistant", "content": "答。"},
        {"role": "user", "content": "再问？"},
    ]
    looks_like_them = "user: 问一？\n\nassistant: 答。\n\nuser: 再问？"
    rows: list[dict[str, Any]] = [
        {"messages": turns, "output": "丙", "model": "a"},
        {"prompt": looks_like_them, "output": "丁", "model": "a"},
    ]
    scores: list[dict[str, Any]] = [
        {"messages": turns, "model": "a", "score": 5},
        {"prompt": looks_like_them, "model": "a", "score": 6},
    ]
    store, _ = run(tmp_path, lines(tmp_path / "a.jsonl", *scores), lines(tmp_path / "b.jsonl", *rows))
    assert list(scored(store).values()) == [[("unknown", 5.0)], [("unknown", 6.0)]]
    assert store.manifest.conversations("chat") == 1


def test_scores_alone_are_no_store(tmp_path: Path) -> None:
    scores = lines(tmp_path / "s.jsonl", {"id": "17", "model": "c", "score": 5})
    with pytest.raises(ImportFailed, match="no response is left") as failed:
        run(tmp_path, scores, on_error="skip")
    assert failed.value.report.reasons == {"no-partner": 1}
