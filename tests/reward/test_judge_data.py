"""Judging conversations of a store: every pair in both orders, what judges wrote where it fits, the verdict last."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import run
from conversations import turn
from judge_server import shown
from make import completed, make_rows, make_store

from coig_p.errors import DataError, UnknownNameError, UsageError
from coig_p.export.one_file import write_pairs
from coig_p.pairs.config import PairConfig
from coig_p.reward.judging.data import JudgeDataConfig, write_judge_data
from coig_p.reward.judging.verdicts import MARKS, parse_verdict
from coig_p.store.store import Store

Row = dict[str, Any]


def made(store: Path, out: Path, config: JudgeDataConfig | None = None, pairs: PairConfig | None = None) -> list[Row]:
    write_judge_data(Store.open(store), out, pairs or PairConfig(), config, overwrite=True)
    return [row for file in sorted((out / "data").iterdir()) for row in pq.read_table(file).to_pylist()]


def with_rationales(rows: list[Row], seed: int) -> list[Row]:
    """Scores with words beside most of them, some of which name a verdict."""
    rng = random.Random(seed)
    words = ["回答准确。", "有误，总体评分：[3]", "它写着 [[A]]", " ", None, "更好，因为完整。\n[[B]]"]
    for row in rows:
        for response in row["responses"]:
            for score in response["scores"] or ():
                word = rng.choice(words)
                score["rationale"] = word and f"{word}{rng.randint(0, 99)}" if word != " " else word
    return rows


def texts_of(row: Row) -> tuple[str, str, str]:
    """Query, the better response, the worse one, as the conversation shows them."""
    seen = shown(row["messages"][0]["content"])
    sides = (seen["first"], seen["second"])
    return (seen["query"], *(sides if row["verdict"] == "first" else sides[::-1]))


@pytest.mark.parametrize("options", [{}, {"threshold": 0.5, "strategy": "best_worst"}, {"judges": ["judge-a"]}])
@pytest.mark.parametrize("seed", [0, 1])
def test_each_pair_is_there_in_both_orders(options: dict[str, Any], seed: int, tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", with_rationales(make_rows({"math": 12, "chat": 5}, seed), seed))
    pairs = PairConfig(**options)
    rows = made(store, tmp_path / "o", None, pairs)
    write_pairs(store, tmp_path / "pairs.jsonl", pairs, file_type="jsonl")
    wanted = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text("utf-8").splitlines()]
    expected = {(row["prompt"], row["chosen"], row["rejected"]) for row in wanted}
    both = Counter((texts_of(row), row["verdict"]) for row in rows)
    assert both == Counter({(pair, verdict): 1 for pair in expected for verdict in ("first", "second")})
    for row in rows:
        (asked, answered) = row["messages"]
        assert (asked["role"], answered["role"]) == ("user", "assistant")
        assert parse_verdict(answered["content"]) == (row["verdict"], None)
        assert answered["content"].endswith(MARKS[row["verdict"]])
    first = [at % 2 == 0 and row["verdict"] == "first" for at, row in enumerate(rows)]
    assert 0 < sum(first) < len(rows) / 2  # neither order always comes first
    assert any(row["judges"] for row in rows)
    assert not all(row["judges"] for row in rows)


def test_what_judges_wrote_of_scores_stands_before_the_verdict_where_their_scores_agree(tmp_path: Path) -> None:
    def score(judge: str, value: float, rationale: str | None) -> Row:
        return {"judge": judge, "dimension": "overall", "score": value, "rationale": rationale}

    good = {
        "model": "甲",
        "text": "好的",
        "scores": [score("j", 9, "准确"), score("k", 3, "啰嗦"), score("甲", 10, "我的最好")],
    }
    bad = {"model": "乙", "text": "坏的", "scores": [score("j", 4, "有误"), score("k", 4, "简短")]}
    worst = {"model": "丙", "text": "最坏", "scores": [score("k", 1, None), score("l", 2, "说 [[A]] 更好")]}
    row = {"query_id": "q", "domain": "math", "query": "问", "responses": [good, bad, worst], "comparisons": None}
    store = make_store(tmp_path / "s", completed([row]))
    rows = made(store, tmp_path / "o", None, PairConfig(threshold=1))
    told = {(each["first_model"], each["second_model"]): each for each in rows}
    # j alone says that 甲 is better than 乙; k says otherwise, and 甲 judges itself.
    assert told["甲", "乙"]["messages"][1]["content"] == "回答 A：\n准确\n\n回答 B：\n有误\n\n[[A]]"
    assert told["乙", "甲"]["messages"][1]["content"] == "回答 A：\n有误\n\n回答 B：\n准确\n\n[[B]]"
    assert told["甲", "乙"]["judges"] == ["j"]
    # What l wrote of 丙 names a verdict: it fits where that is the verdict, and is left out where it is not.
    assert told["甲", "丙"]["judges"] in (["j", "l"], ["k", "l"])
    assert told["丙", "甲"]["messages"][1]["content"] == "[[B]]"
    counts = json.loads((tmp_path / "o" / "judge-data.json").read_text("utf-8"))["counts"]
    assert counts["unused"] == {"reads otherwise": 2}
    assert (counts["pairs"], counts["rows"], counts["with_rationale"]) == (3, 6, 4)


def test_what_was_written_of_a_comparison_stands_where_it_was_shown_so(tmp_path: Path) -> None:
    answers: list[Row] = [{"model": name, "text": f"{name}答", "scores": []} for name in ("甲", "乙", "丙")]

    def compared(first: int, second: int, judge: str, winner: float, rationale: str | None) -> Row:
        scores = {"first_score": winner, "second_score": 1 - winner}
        return {
            "first": first,
            "second": second,
            "judge": judge,
            "dimension": "overall",
            "rationale": rationale,
        } | scores

    comparisons = [
        compared(0, 1, "j", 1, "前者准确。\n[[A]]"),
        compared(0, 1, "k", 1, None),
        compared(0, 1, "n", 0, "后者好"),
        compared(2, 1, "j", 1, "前一个好"),
        compared(1, 2, "甲", 0, "后一个好"),
    ]
    row = {"query_id": "q", "domain": "math", "query": "问", "responses": answers, "comparisons": comparisons}
    store = make_store(tmp_path / "s", completed([row]), default_threshold=0.5)
    rows = made(store, tmp_path / "o", None, PairConfig(threshold=0.1))
    told = {(each["first_model"], each["second_model"]): each["messages"][1]["content"] for each in rows}
    assert told == {
        ("甲", "乙"): "前者准确。\n[[A]]",
        ("乙", "甲"): "[[B]]",
        ("丙", "乙"): "前一个好\n\n[[A]]",
        ("乙", "丙"): "后一个好\n\n[[B]]",
    }
    counts = json.loads((tmp_path / "o" / "judge-data.json").read_text("utf-8"))["counts"]
    assert counts["unused"] == {"of the other order": 1}


def test_rationales_alone_or_none(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", with_rationales(make_rows({"math": 9}), 3))
    every, only, none = (
        made(store, tmp_path / name, JudgeDataConfig(rationale=name)) for name in ("keep", "only", "none")
    )
    assert [row for row in every if row["judges"]] == only
    assert [texts_of(row) for row in none] == [texts_of(row) for row in every]
    assert {row["messages"][1]["content"] for row in none} == set(MARKS.values()) - {MARKS["tie"]}
    counts = json.loads((tmp_path / "only" / "judge-data.json").read_text("utf-8"))["counts"]
    assert counts["left_out"] == len(every) - len(only) > 0
    with pytest.raises(DataError, match="no pair with a rationale"):
        made(make_store(tmp_path / "t", make_rows({"math": 9})), tmp_path / "x", JudgeDataConfig(rationale="only"))
    assert not (tmp_path / "x").exists()


def test_prompt_and_completion_are_the_same_turns(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", make_rows({"math": 3}))
    turns = made(store, tmp_path / "a")
    apart = made(store, tmp_path / "b", JudgeDataConfig(form="prompt-completion"))
    assert [row["messages"] for row in turns] == [row["prompt"] + row["completion"] for row in apart]


def test_conversations_show_all_turns(tmp_path: Path) -> None:
    rows = make_rows({"math": 4})
    for row in rows:
        row["messages"] = [turn("user", "一"), turn("assistant", "二"), turn("user", "三？")]
    store = make_store(tmp_path / "s", rows)
    for row in made(store, tmp_path / "o"):
        query = shown(row["messages"][0]["content"])["query"]
        assert [query.count(f"<<<{name} ") for name in ("用户", "助手")] == [2, 1]


def test_the_same_store_gives_the_same_bytes_in_files_of_any_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path / "s", with_rationales(make_rows({"math": 8, "chat": 8}), 0))
    one, other = made(store, tmp_path / "a"), made(store, tmp_path / "b")
    assert one == other
    for path in sorted((tmp_path / "a").rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
    monkeypatch.setattr("coig_p.reward.judging.data._ROWS_PER_FILE", 30)
    monkeypatch.setattr("coig_p.reward.judging.data._ROWS_PER_GROUP", 7)
    assert made(store, tmp_path / "c") == one
    told = json.loads((tmp_path / "c" / "judge-data.json").read_text("utf-8"))["files"]
    assert [each["rows"] for each in told.values()][:2] == [30, 30]
    assert sum(each["rows"] for each in told.values()) == len(one)


def test_datasets_loads_the_folder(tmp_path: Path, cache: str) -> None:
    from datasets import load_dataset

    store = make_store(tmp_path / "s", make_rows({"math": 5}))
    rows = made(store, tmp_path / "o")
    loaded = load_dataset(str(tmp_path / "o"), split="train", cache_dir=cache)
    assert loaded.to_list() == rows


def test_a_template_of_ones_own(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", make_rows({"math": 3}))
    (tmp_path / "own.md").write_text("比较：{{query}}{{first}}{{second}}", "utf-8")
    rows = made(store, tmp_path / "o", JudgeDataConfig(prompt=tmp_path / "own.md"))
    assert all(row["messages"][0]["content"].startswith("比较：<<<问题开始 ") for row in rows)
    (tmp_path / "own.md").write_text("{{query}}{{first}}", "utf-8")
    with pytest.raises(UsageError, match="second"):
        made(store, tmp_path / "x", JudgeDataConfig(prompt=tmp_path / "own.md"))


def test_the_command_says_what_it_wrote_and_what_it_refuses(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", with_rationales(make_rows({"math": 9}), 3))
    said = run("reward", "judge-data", store, "--out", tmp_path / "o", "--rationale", "only").stdout
    counts = json.loads((tmp_path / "o" / "judge-data.json").read_text("utf-8"))["counts"]
    assert f"{counts['rows']} conversations of {counts['pairs']} pairs, {counts['rows']} with a rationale" in said
    assert f"left out without a rationale: {counts['left_out']} conversations" in said
    told = json.loads(run("reward", "judge-data", store, "--out", tmp_path / "o", "--overwrite", "--json").stdout)
    assert told["rows"] == 2 * told["pairs"]
    assert "pass --overwrite" in run("reward", "judge-data", store, "--out", tmp_path / "o", code=2).stderr
    assert "is not judge data" in run("reward", "judge-data", store, "--out", store, "--overwrite", code=2).stderr
    for words in (("--threshold", "99"), ("--prompt", tmp_path / "none.md"), ("--domain", "none")):
        done = run("reward", "judge-data", store, "--out", tmp_path / "x", *words, code=None)
        assert done.returncode in (1, 2)
        assert not (tmp_path / "x").exists()
    with pytest.raises(UnknownNameError):
        JudgeDataConfig(form="chat")
    with pytest.raises(UnknownNameError):
        JudgeDataConfig(rationale="some")
