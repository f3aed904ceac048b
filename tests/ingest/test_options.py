"""Options of an import: what they name is there, what they say fits together, and names may hold anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import commands
import pytest
from click.testing import CliRunner

from coig_p.cli.importing import import_command
from coig_p.errors import UsageError
from coig_p.ingest.accounting import ImportFailed
from coig_p.ingest.config import ImportConfig
from coig_p.ingest.fields import FormConfig
from coig_p.ingest.files import import_files
from coig_p.store.store import Store

ROW = {"query": "问", "text": "甲", "model": "a", "score": 9}
NESTED = {"query": "问", "responses": [{"model": "a", "text": "甲", "scores": [{"score": 9}]}]}


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def stored(path: Path) -> list[dict[str, Any]]:
    return [row for batch in Store.open(path).batches() for row in batch.to_pylist()]


def command(folder: Path, *words: str) -> list[dict[str, Any]]:
    out = folder / "store"
    ran = CliRunner().invoke(import_command, [*words, "--out", str(out), "--domain", "chat", "--overwrite"])
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    assert ran.exit_code == 0, ran.output
    return stored(out)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (FormConfig(fields={"score": "mark"}), "--map score=mark: no row has a field mark"),
        (FormConfig(score_columns={"j": "mark"}), "--score-column j=mark: no row has a field mark"),
    ],
)
@pytest.mark.parametrize("row", [ROW, NESTED | {"query_id": "1"}])
def test_columns_that_are_nowhere(form: FormConfig, words: str, row: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        import_files([lines(tmp_path / "x.jsonl", row)], tmp_path / "s", ImportConfig(domain="chat", form=form))


def test_columns_inside_responses_are_somewhere(tmp_path: Path) -> None:
    row = {"query": "问", "responses": [{"model": "a", "text": "甲", "scores": [{"judge": "j", "mark": 9}]}]}
    (found,) = command(tmp_path, str(lines(tmp_path / "x.jsonl", row)), "--map", "score=mark")
    assert found["responses"][0]["scores"][0]["score"] == 9


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"keep": ["good"], "drop": ["good"]}, "--keep good and --drop good"),
        ({"fields": {"score": "good"}, "drop": ["good"]}, "--map score=good and --drop good"),
        ({"score_columns": {"j": "good"}, "drop": ["good"]}, "--score-column j=good and --drop good"),
    ],
)
def test_a_column_is_read_or_left_out(form: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ImportConfig(form=FormConfig(**form))


@pytest.mark.parametrize("name", ["idna", "punycode", "rot13", "hex", "unicode_escape", "undefined", "no such\0"])
def test_encodings_of_no_text(name: str) -> None:
    with pytest.raises(UsageError, match="encoding"):
        ImportConfig(encoding=name)


@pytest.mark.parametrize("given", ['"j"="gpt,4"', 'j="gpt,4"', '"j=gpt,4"', "j=gpt,4"])
def test_names_with_commas(given: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('query,text,model,"gpt,4"\n问,甲,a,9\n', encoding="utf-8")
    (row,) = command(tmp_path, str(path), "--score-column", given)
    assert [(score["judge"], score["score"]) for score in row["responses"][0]["scores"]] == [("j", 9)]
    (row,) = command(tmp_path, str(path), "--map", given.replace("j", "score"))
    assert row["responses"][0]["scores"][0]["score"] == 9
    (row,) = command(tmp_path, str(path), "--keep", '"gpt,4"')
    assert row["meta"] == '{"gpt,4":"9"}'


def test_a_judge_of_each_file(tmp_path: Path) -> None:
    answers = lines(tmp_path / "answers.jsonl", *({"query_id": "q", **ROW, "model": m, "text": m} for m in "ab"))
    for name in ("x", "y"):
        (tmp_path / f"{name}.csv").write_text("query_id,model,score\nq,a,9\nq,b,2\n", encoding="utf-8")
    files = [str(answers), str(tmp_path / "x.csv"), str(tmp_path / "y.csv")]
    (row,) = command(tmp_path, *files, "--judge", "x.csv=gpt,n", "--judge", f"{files[2]}=claude")
    assert [[score["judge"] for score in one["scores"]] for one in row["responses"]] == [["n", "gpt", "claude"]] * 2
    with pytest.raises(UsageError, match=r"z.csv=j: no input has this name"):
        command(tmp_path, *files, "--judge", "z.csv=j")


def test_files_of_unnamed_judges_and_without_rows_are_told(tmp_path: Path) -> None:
    answers = lines(tmp_path / "answers.jsonl", *({"query_id": "q", **ROW, "model": m, "text": m} for m in "ab"))
    (tmp_path / "x.csv").write_text("query_id,model,score\nq,a,7\n", encoding="utf-8")
    (tmp_path / "y.csv").write_text("query_id,model,score\n", encoding="utf-8")
    config = ImportConfig(domain="chat")
    _, report = import_files([answers, tmp_path / "x.csv", tmp_path / "y.csv"], tmp_path / "s", config)
    assert report.advice() == [
        f"{tmp_path / 'y.csv'}: no row is in this file",
        "1 response has several scores of a judge that nobody names: if files are of a judge each, name it with "
        "--judge FILE=NAME",
    ]
    config = ImportConfig(domain="chat", judges={"x.csv": "j"})
    _, report = import_files([answers, tmp_path / "x.csv"], tmp_path / "s2", config)
    assert report.advice() == []


def test_comparisons_that_the_default_threshold_leaves_out_are_told(tmp_path: Path) -> None:
    wins = [{"prompt": f"问{at}", "chosen": "甲", "rejected": "乙"} for at in range(3)]
    answer = lines(tmp_path / "y.jsonl", ROW)
    words = "3 of 3 comparisons have a margin below the default threshold of 2: they give pairs with a threshold of 1"
    for row in ({}, {"extra_field": "x"}):  # as whole columns, and one by one
        path = lines(tmp_path / "x.jsonl", *(win | row for win in wins))
        form = FormConfig(drop=tuple(row))
        config = ImportConfig(domain="chat", form=form, comparison_threshold=2)
        _, report = import_files([path, answer], tmp_path / "s", config, overwrite=True)
        assert report.advice()[:1] == [words]
        config = ImportConfig(domain="chat", form=form)
        _, report = import_files([path, answer], tmp_path / "s", config, overwrite=True)
        assert not any("margin" in line for line in report.advice())
    _, report = import_files([path], tmp_path / "alone", config)
    assert not any("margin" in line for line in report.advice())


def test_the_judge_of_scores_that_name_none(tmp_path: Path) -> None:
    path = str(lines(tmp_path / "x.jsonl", NESTED))
    (row,) = command(tmp_path, path, "--judge", "j")
    assert row["responses"][0]["scores"][0]["judge"] == "j"
    with pytest.raises(ImportFailed, match="nothing was written"):
        command(tmp_path, path)


def test_labels_are_on_no_other_range(tmp_path: Path) -> None:
    row = {"prompt": "问", "completion": "甲", "label": True}
    path = lines(tmp_path / "x.jsonl", row)
    for score_range in ((0, 10), (-1, 1)):
        with pytest.raises(UsageError, match="a label, good or bad, is a score of 1 or 0 on a range from 0 to 1"):
            import_files([path], tmp_path / "s", ImportConfig(domain="chat", score_range=score_range))
    store, _ = import_files([path], tmp_path / "s", ImportConfig(domain="chat", score_range=(0, 1)))
    assert store.manifest.score_range == (0, 1)


def test_whole_numbers_are_names(tmp_path: Path) -> None:
    """Also those of a column with nulls, which pandas has as 1.0."""
    rows = [{"query_id": at, "query": f"问{at}", "text": "甲", "model": at, "score": 9} for at in (1.0, 2)]
    found = command(tmp_path, str(lines(tmp_path / "x.jsonl", *rows)))
    assert [(row["query_id"], row["responses"][0]["model"]) for row in found] == [("1", "1"), ("2", "2")]


def test_a_rows_own_meta_is_the_stores(tmp_path: Path) -> None:
    row = {"query": "问", "meta": {"b": [1], "a": "x"}, "responses": [{"model": "a", "text": "甲"}]}
    for meta in (row["meta"], json.dumps(row["meta"])):
        (found,) = command(tmp_path, str(lines(tmp_path / "x.jsonl", row | {"meta": meta})))
        assert found["meta"] == '{"a":"x","b":[1]}'


@pytest.mark.parametrize("name", ["r{}", "{}"])
def test_scores_find_the_row_that_their_id_numbers(name: str, tmp_path: Path) -> None:
    """Where an id numbers rows, and is no query's, scores that name it belong to the response of that row."""
    answers = [("问一", "a"), ("问一", "b"), ("问二", "a"), ("问二", "b")]
    rows = [{"id": name.format(at), "query": q, "model": m, "text": q + m} for at, (q, m) in enumerate(answers)]
    path = lines(tmp_path / "x.jsonl", *(row | {"id": int(row["id"])} if name == "{}" else row for row in rows))
    scores = tmp_path / "s.csv"
    scores.write_text(
        "id,model,judge,score\n" + "".join(f"{row['id']},{row['model']},j,{at + 1}\n" for at, row in enumerate(rows)),
        encoding="utf-8",
    )
    for files in ([path, scores], [scores, path]):
        found = command(tmp_path, *map(str, files))
        assert [[one["scores"][0]["score"] for one in row["responses"]] for row in found] == [[1, 2], [3, 4]]
    for row_id, model in (("9", "a"), (rows[0]["id"], "b")):  # no such row; another model's
        scores.write_text(f"id,model,judge,score\n{row_id},{model},j,1\n{rows[1]['id']},b,j,5\n", encoding="utf-8")
        with pytest.raises(ImportFailed) as failed:
            command(tmp_path, str(path), str(scores))
        assert failed.value.report.reasons == {"no-partner": 1}


def test_scores_of_a_query_belong_to_its_one_response(tmp_path: Path) -> None:
    scores = tmp_path / "s.csv"
    scores.write_text("query_id,judge,score\nq,j,9\n", encoding="utf-8")
    one, other = ({"query_id": "q", "query": "问", "text": text, "model": text} for text in "甲乙")
    (row,) = command(tmp_path, str(lines(tmp_path / "x.jsonl", one)), str(scores))
    assert [score["score"] for score in row["responses"][0]["scores"]] == [9]
    with pytest.raises(ImportFailed) as failed:
        command(tmp_path, str(lines(tmp_path / "x.jsonl", one, other)), str(scores))
    assert "name the model, the sample or the text as well" in failed.value.report.problems[0].message


@pytest.mark.parametrize("keep", ["all", "context"])
def test_what_keeps_a_field_does_not_hang_on_how_it_is_named(keep: str, tmp_path: Path) -> None:
    path = lines(tmp_path / "x.jsonl", {k: v for k, v in ROW.items() if k != "model"} | {"context": "背景"})
    with pytest.raises(ImportFailed):
        command(tmp_path, str(path))
    (row,) = command(tmp_path, str(path), "--keep", keep)
    assert row["meta"] == '{"context":"背景"}'


def test_domains_that_are_nowhere_are_told(tmp_path: Path) -> None:
    path = lines(tmp_path / "x.jsonl", ROW | {"domain": "数"})
    config = ImportConfig(domain_map={"数": "math", "码": "code", "对话": "chat"})
    _, report = import_files([path], tmp_path / "s", config)
    assert report.advice() == ["no row is of the domain 码, which --domain-map renames"]


@pytest.mark.parametrize("on_error", ["fail", "skip"])
@pytest.mark.parametrize("labels", [(1, 0, -1), (0, -1), ("1", "0", "-1"), (True, -1, 0.0), (*[True] * 30, 0, -1)])
def test_0_beside_minus_1_is_no_label(labels: tuple[Any, ...], on_error: str, tmp_path: Path) -> None:
    rows = [{"prompt": "问", "completion": f"答{at}", "label": label} for at, label in enumerate(labels)]
    path = lines(tmp_path / "x.jsonl", *rows)
    with pytest.raises(UsageError, match=r"label is 0, and the column holds .*0, -1 .*--drop label"):
        import_files([path], tmp_path / "s", ImportConfig(domain="chat", on_error=on_error))
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("labels", "scores"),
    [((1, 0), [1, 0]), ((1, -1), [1, 0]), ((1,), [1]), ((0,), [0]), ((-1,), [0]), ((False, -1), [0, 0])],
)
def test_labels_of_one_coding(labels: tuple[Any, ...], scores: list[float], tmp_path: Path) -> None:
    rows = [{"prompt": "问", "completion": f"答{at}", "label": label} for at, label in enumerate(labels)]
    _, report = import_files([lines(tmp_path / "x.jsonl", *rows)], tmp_path / "s", ImportConfig(domain="chat"))
    assert (report.lowest, report.highest) == (min(scores), max(scores))


@pytest.mark.parametrize("score", [1, 9])
@pytest.mark.parametrize("how", [(), ("--on-error", "skip")])
def test_labels_and_scores_of_judges_are_never_put_on_one_scale(
    tmp_path: Path, score: int, how: tuple[str, ...]
) -> None:
    """The lowest score of a judge would be the best label there is."""
    rows = [
        {"prompt": "一？", "completion": "甲", "label": False},
        {"prompt": "一？", "model": "b", "response": "丁", "judge": "j", "score": score},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    done = commands.run("import", path, "--domain", "chat", "--out", tmp_path / "store", *how, code=None)
    assert done.returncode
    assert "apart" in done.stderr
    assert not (tmp_path / "store").exists()
