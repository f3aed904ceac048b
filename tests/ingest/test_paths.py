"""Names with dots in them: one rule for --map, --score-column, --keep and --drop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from commands import run

from coig_p.store.store import Store

ONE = {"model": "a", "response": "二。", "score": 9}


def tried(folder: Path, row: dict[str, Any], *options: str) -> tuple[str, dict[str, Any] | None]:
    """What the command says of a row, and the query of the store, None where it is refused."""
    (folder / "in.jsonl").write_text(json.dumps(row, ensure_ascii=False), "utf-8")
    done = run("import", folder / "in.jsonl", "--out", folder / "store", "--domain", "chat", *options, code=None)
    assert done.returncode in (0, 1, 2)
    said = done.stdout + done.stderr
    if done.returncode:
        return said, None
    ((found,),) = (batch.to_pylist() for batch in Store.open(folder / "store").batches())
    return said, found


@pytest.mark.parametrize(
    "asked",
    [
        {"question.text": "一加一？"},
        {"question": {"text": "一加一？"}},
        {"question.text": None, "question": {"text": "一加一？"}},
        {"question.text": "一加一？", "question": {"text": ""}},
        {"question.text": "一加一？", "question": {"text": "一加一？"}},
    ],
)
def test_a_path_is_a_key_with_dots_or_keys_of_objects(asked: dict[str, Any], tmp_path: Path) -> None:
    said, row = tried(tmp_path, ONE | asked, "--map", "query=question.text")
    assert row is not None, said
    assert row["query"] == "一加一？"
    assert "not read" not in said


@pytest.mark.parametrize("option", ["--map=text=out.a.b", "--score-column=j=out.a.b"])
@pytest.mark.parametrize("out", [{"a.b": 8}, {"a": {"b": 8}}])
def test_a_key_with_dots_inside_an_object(option: str, out: dict[str, Any], tmp_path: Path) -> None:
    if "text" in option:
        row: dict[str, Any] = {"prompt": "一加一？", "model": "a", "score": 9, "out": json.loads(json.dumps(out))}
        row["out"] = {"a.b": "二。"} if "a.b" in out else {"a": {"b": "二。"}}
    else:
        row = {"prompt": "一加一？", "model": "a", "response": "二。", "out": out}
    said, found = tried(tmp_path, row, option)
    assert found is not None, said
    (response,) = found["responses"]
    assert (response["text"], response["scores"][0]["score"]) == ("二。", 9 if "text" in option else 8)
    assert "not read" not in said


@pytest.mark.parametrize(
    "row",
    [
        {"question.text": "一加一？", "question": {"text": "二加二？"}},
        {"question": {"text": {"zh": "一加一？"}, "text.zh": "二加二？"}},
    ],
)
def test_a_path_that_means_two_things_is_refused(row: dict[str, Any], tmp_path: Path) -> None:
    path = "question.text" if "question.text" in row else "question.text.zh"
    said, found = tried(tmp_path, ONE | row, "--map", f"query={path}")
    assert found is None
    assert "一加一？" in said
    assert "二加二？" in said
    assert f"both stand at {path}" in said


def test_a_name_that_stands_nowhere_is_told(tmp_path: Path) -> None:
    inside = {"prompt": "一加一？", "response": "二。", "score": 9, "info": {"author": "a", "x": {"c.d": 1}}}
    for name in ("author", "info.y", "info.x.c", "x.c.d"):
        said, found = tried(tmp_path, inside, "--map", f"model={name}")
        assert found is None
        assert f"no row has a field {name}" in said
    said, found = tried(tmp_path, inside, "--map", "model=info.author")
    assert found is not None, said
    assert found["responses"][0]["model"] == "a"


def test_two_unread_fields_of_one_name_are_both_told_and_never_kept_as_one(tmp_path: Path) -> None:
    row = ONE | {"question": {"text": "一加一？", "lang": "zh"}, "question.lang": "en"}
    mapped = ("--map", "query=question.text")
    assert "question.lang (2)" in tried(tmp_path, row, *mapped)[0]
    for keep in ("all", "question.lang"):
        said, found = tried(tmp_path, row, *mapped, "--keep", keep, "--overwrite")
        assert found is None
        assert "would be kept under one name" in said
    assert "fields dropped: question.lang" in tried(tmp_path, row, *mapped, "--drop", "question.lang", "--overwrite")[0]


def test_parts_of_input_hide_no_field_of_their_name(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "一加一？"}]
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    asked = {
        "preferred_output": "二。",
        "non_preferred_output": "三。",
        "input": {"messages": messages, "tools": [tool]},
    }
    assert tried(tmp_path, asked)[1] is not None
    other = {"type": "function", "function": {"name": "g", "parameters": {}}}
    said, found = tried(tmp_path, asked | {"tools": [other]}, "--overwrite")
    assert found is None
    assert "input" in said
