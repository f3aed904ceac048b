"""What is found out of all rows before the first is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coig_p.errors import UsageError
from coig_p.ingest.fields import Fields, FormConfig, Survey
from coig_p.ingest.survey import MOST_NUMBERS, score_range, survey


def surveyed(tmp_path: Path, *files: list[Any], config: FormConfig | None = None) -> Survey:
    paths = {}
    for at, rows in enumerate(files):
        path = tmp_path / f"{at}.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        paths[path] = "utf-8"
    return survey(paths, config or FormConfig())


def compared(winner: Any, prompt: str = "问", sides: str = "12", **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, f"response_{sides[0]}": "甲", f"response_{sides[1]}": "乙", "winner": winner} | more


def test_numbers_of_all_files(tmp_path: Path) -> None:
    found = surveyed(tmp_path, [compared(1), compared("tie")], [compared("2.0"), compared(None), compared(True)])
    assert found.numbers == {("winner", "1/2"): {1, 2}}
    assert found.forms == ("pairwise",)


def test_rows_of_other_sides_are_another_column(tmp_path: Path) -> None:
    found = surveyed(tmp_path, [compared(1), compared(2), compared(0, sides="ab")])
    assert found.numbers == {("winner", "1/2"): {1, 2}, ("winner", "a/b"): {0}}


def test_annotators_are_one_column(tmp_path: Path) -> None:
    row = {"prompt": "问", "response_1": "甲", "response_2": "乙", "annotator1": 1, "annotator2": 1}
    found = surveyed(tmp_path, [row, row | {"annotator2": 2}])
    assert found.numbers == {("annotators", "1/2"): {1, 2}}


def test_a_column_of_many_numbers_is_remembered_in_part(tmp_path: Path) -> None:
    many = [1 + at / 4000 for at in range(MOST_NUMBERS + 500)]
    found = surveyed(tmp_path, [compared(number) for number in [*many, -2, 7]]).numbers["winner", "1/2"]
    assert found == {*many[:MOST_NUMBERS], -2, 7}


def test_a_late_row_counts(tmp_path: Path) -> None:
    """Files of text verdicts alone are read whole too: a number may come at the end."""
    found = surveyed(tmp_path, [*(compared("tie") for _ in range(100)), compared(0)])
    assert found.numbers == {("winner", "1/2"): {0}}


def answer(id_: Any, prompt: str, text: str = "答", name: str = "id") -> dict[str, Any]:
    return {name: id_, "prompt": prompt, "response": text, "score": 5}


@pytest.mark.parametrize("name", ["id", "uuid", "编号"])
def test_ids_that_number_rows(name: str, tmp_path: Path) -> None:
    rows = [answer(1, "问", name=name), answer(2, "问", "又", name=name), answer(3, "另", name=name)]
    assert surveyed(tmp_path, rows).row_numbers == {name}


def test_ids_of_rows_with_two_answers(tmp_path: Path) -> None:
    rows = [compared("A") | {"id": at, "query": "问"} for at in (1, 2)]
    assert surveyed(tmp_path, rows).row_numbers == {"id"}


def test_ids_of_rows_that_scores_name(tmp_path: Path) -> None:
    rows = [answer("a", "问"), answer("b", "问", "又"), {"id": "a", "model": "m", "score": 3}]
    found = surveyed(tmp_path, rows)
    assert (found.row_numbers, found.row_keys) == ({"id"}, {"id"})
    assert surveyed(tmp_path, rows[:2]).row_keys == frozenset()


def test_ids_that_begin_anew_in_each_file(tmp_path: Path) -> None:
    one = [answer(1, "问"), answer(2, "问", "又")]
    other = [answer(1, "另"), answer(2, "另", "又")]
    assert surveyed(tmp_path, one, other).row_numbers == {"id"}


@pytest.mark.parametrize(
    "rows",
    [
        [answer(1, "问"), answer(1, "问", "又"), answer(2, "另")],  # of the query
        [answer(1, "问"), answer(2, "另")],  # no prompt comes again
        [answer(1, "问"), answer(1, "问", "又"), answer(2, "问")],  # both: the query's, and the same prompt twice
        [answer(1, "问") | {"query_id": "q"}, answer(2, "问") | {"query_id": "q"}],  # another field is the id
        [{"id": at, "query": "问", "responses": [{"model": "m", "text": "答"}]} for at in (1, 2)],  # one row a query
        [answer("a", "问"), answer("b", "另"), {"id": "a", "model": "m", "score": 3}],  # scores by id
    ],
)
def test_ids_of_queries(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    assert surveyed(tmp_path, rows).row_numbers == frozenset()


def test_an_id_that_the_user_names(tmp_path: Path) -> None:
    rows = [answer(1, "问"), answer(2, "问", "又")]
    assert surveyed(tmp_path, rows, config=FormConfig(fields={"query_id": "id"})).row_numbers == frozenset()


def test_row_numbers_are_no_query_ids() -> None:
    config = FormConfig(survey=Survey(row_numbers={"id"}))
    assert Fields({"id": 1, "prompt": "问"}, config).common() == {}
    assert Fields({"uuid": 1, "prompt": "问"}, config).common() == {"query_id": 1}


def test_prompts_are_whole(tmp_path: Path) -> None:
    """The same question after other turns, or under another system prompt, is another prompt."""
    rows = [answer(1, "问") | {"history": [["一", "二"]]}, answer(2, "问") | {"system": "助手"}, answer(3, "问")]
    assert surveyed(tmp_path, rows).row_numbers == frozenset()


def test_rows_that_cannot_be_read_are_left_to_the_pass_that_follows(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    lines = [json.dumps(compared(1)), "{", "[]", json.dumps({"id": "\ud800", "prompt": "\ud800", "response": "x"})]
    path.write_text("\n".join([*lines, json.dumps(compared(2))]))
    assert survey({path: "utf-8"}, FormConfig()).numbers == {("winner", "1/2"): {1, 2}}


def test_the_range_that_forms_ask_for(tmp_path: Path) -> None:
    kto = {"prompt": "问", "completion": "答", "label": True}
    helpsteer = {"prompt": "问", "response": "答", "helpfulness": 4, "correctness": 4, "coherence": 4}
    assert score_range(surveyed(tmp_path, [kto])) == (0, 1)
    assert score_range(surveyed(tmp_path, [helpsteer])) == (0, 4)
    assert score_range(surveyed(tmp_path, [compared("tie")])) is None
    with pytest.raises(UsageError, match=r"kto rows from 0 to 1, attributes rows from 0 to 4.*import them apart"):
        score_range(surveyed(tmp_path, [kto], [helpsteer]))
