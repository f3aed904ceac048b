"""chosen and rejected that name an answer beside them are a verdict, and never text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coig_p.ingest.accounting import ImportFailed, ImportReport
from coig_p.ingest.fields import FormConfig
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig


def import_rows(folder: Path, rows: list[Any], **form: Any) -> tuple[list[dict[str, Any]], ImportReport]:
    """What the store holds of some rows."""
    (folder / "in.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    config = ImportConfig(domain="chat", form=FormConfig(**form))
    store, report = import_files([folder / "in.jsonl"], folder / "store", config)
    return [row for batch in store.batches() for row in batch.to_pylist()], report


SIDED = {"prompt": "问", "response_a": "好答", "response_b": "坏答"}
COUNTED = {"prompt": "问", "response_1": "好答", "response_2": "坏答"}
IN_ONE_LIST = {"prompt": "问", "responses": ["好答", "坏答"]}
OF_MODELS = {"prompt": "问", "completions": [{"model": "m", "response": "好答"}, {"model": "n", "response": "坏答"}]}


@pytest.mark.parametrize(
    ("row", "good", "bad"),
    [
        (SIDED, "response_a", "response_b"),
        (SIDED, "A", "B"),
        (SIDED, "b", "a"),
        (SIDED, 0, 1),
        (SIDED, "好答", "坏答"),
        (SIDED | {"model_a": "gpt-4", "model_b": "llama"}, "gpt-4", "llama"),
        (COUNTED, 1, 2),
        (COUNTED, "2", "1"),
        (IN_ONE_LIST, 0, 1),
        (IN_ONE_LIST, "1", "0"),
        (IN_ONE_LIST, "1", "2"),
        (OF_MODELS, "m", "n"),
        (OF_MODELS, "n", "m"),
        (OF_MODELS | {"completions": [*OF_MODELS["completions"], {"model": "o", "response": "中"}]}, "m", "n"),
    ],
)
def test_chosen_and_rejected_that_name_an_answer_are_a_verdict(row: Any, good: Any, bad: Any, tmp_path: Path) -> None:
    """The word is no answer: those stand beside it. Both ways round, so that numbers of either place are there."""
    other = {"prompt": "问二"}
    rows = [row | {"chosen": good, "rejected": bad}, row | other | {"chosen": bad, "rejected": good}]
    store, _ = import_rows(tmp_path, rows)
    first_is_good = good in ("response_a", "A", 0, 1, "好答", "gpt-4", "m") or (row is IN_ONE_LIST and bad == "2")
    for one, right in zip(store, (first_is_good, not first_is_good), strict=True):
        texts = [response["text"] for response in one["responses"]]
        assert texts[:2] == ["好答", "坏答"]
        (said,) = one["comparisons"]
        won = said["first"] if said["first_score"] > said["second_score"] else said["second"]
        assert texts[won] == ("好答" if right else "坏答")


@pytest.mark.parametrize(
    "row",
    [
        SIDED | {"chosen": "A", "rejected": "A"},
        SIDED | {"chosen": "C", "rejected": "D"},
        SIDED | {"chosen": "别的", "rejected": "坏答"},
        SIDED | {"chosen": 1},
        COUNTED | {"chosen": 0, "rejected": 1},
        SIDED | {"chosen": "A", "rejected": "B", "winner": "b"},
        SIDED | {"model_a": "B", "model_b": "A", "chosen": "A", "rejected": "B"},
        {"prompt": "问", "responses": ["一", "二", "三"], "chosen": 1, "rejected": 2},
    ],
)
def test_what_chosen_names_and_cannot_be_known_is_refused(row: Any, tmp_path: Path) -> None:
    with pytest.raises(ImportFailed) as error:
        import_rows(tmp_path, [row])
    assert error.value.report.counts["rows"]["rejected"] == 1


def test_a_column_of_the_loser_is_read(tmp_path: Path) -> None:
    ((row,), _) = import_rows(tmp_path, [SIDED | {"loser": "model_a"}])
    assert [(one["first_score"], one["second_score"]) for one in row["comparisons"]] == [(0, 1)]
