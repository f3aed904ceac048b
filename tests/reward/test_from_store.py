"""A store's pairs as a benchmark equal the pairs that an oracle finds, under any options."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from conversations import turn
from make import completed, make_rows, make_store
from oracle import oracle_pairs

from coig_p.errors import DataError, UnknownNameError, UsageError
from coig_p.export.one_file import write_pairs
from coig_p.pairs.config import PairConfig
from coig_p.reward.bench.convert import convert_store
from coig_p.reward.bench.form import Bench, pairs_of, read_bench

Row = dict[str, Any]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("bench") / "store", make_rows({"math": 23, "chat": 9}))


def benched(store: Path, folder: Path, config: PairConfig | None = None, **more: Any) -> Bench:
    convert_store(store, folder / "b", config, overwrite=True, **more)
    return read_bench(folder / "b")


def told(bench: Bench) -> set[tuple[str, str, str, str]]:
    """Query, prompt, the better text and the worse one of each pair."""
    return {
        (item.id, str(item.prompt), item.responses[better].text, item.responses[worse].text)
        for item in bench.items
        for better, worse in pairs_of(item)
    }


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"threshold": 0},
        {"threshold": 1.5, "strict": True},
        {"strategy": "best_worst", "aggregation": "median"},
        {"max_pairs_per_query": 2, "seed": 3},
        {"judges": ["judge-a"], "min_judges": 1},
    ],
)
def test_pairs_are_those_that_the_store_gives(options: dict[str, Any], store: Path, tmp_path: Path) -> None:
    config = PairConfig(**options)
    found = benched(store, tmp_path, config)
    write_pairs(store, tmp_path / "pairs.jsonl", config, file_type="jsonl")
    rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text("utf-8").splitlines()]
    assert told(found) == {(row["query_id"], row["prompt"], row["chosen"], row["rejected"]) for row in rows}
    assert sum(len(pairs_of(item)) for item in found.items) == len(rows)
    margins = [margin for item in found.items for margin in item.meta["margins"]]
    assert sorted(margins) == sorted(row["margin"] for row in rows)
    for item in found.items:
        in_pairs = {one for pair in item.pairs or () for one in pair}
        assert {one.id for one in item.responses} == in_pairs


def test_pairs_equal_the_oracle(store: Path, tmp_path: Path) -> None:
    rows = make_rows({"math": 23, "chat": 9})
    pairs = oracle_pairs(rows, threshold=2)
    wanted = {(row["query_id"], row["prompt"], row["chosen"], row["rejected"]) for row in pairs}
    assert told(benched(store, tmp_path, PairConfig(threshold=2))) == wanted


def test_the_order_of_responses_says_nothing_of_which_is_better(tmp_path: Path) -> None:
    rows = completed(
        [
            {
                "query_id": f"q-{at}",
                "domain": "math",
                "query": f"题{at}",
                "responses": [
                    {
                        "model": name,
                        "text": f"{name}{at}",
                        "scores": [{"judge": "j", "dimension": "overall", "score": s}],
                    }
                    for name, s in (("a", 9.0), ("b", 2.0))
                ],
            }
            for at in range(200)
        ]
    )
    found = benched(make_store(tmp_path / "store", rows), tmp_path)
    first = sum(pairs_of(item)[0][0] == 0 for item in found.items)
    assert 70 < first < 130
    again = benched(make_store(tmp_path / "turned", rows[::-1]), tmp_path)
    assert {item.id: item.responses for item in again.items} == {item.id: item.responses for item in found.items}


def test_what_the_benchmark_says_of_itself(store: Path, tmp_path: Path) -> None:
    done = convert_store(store, tmp_path / "b", PairConfig(threshold=3), domains=["math"])
    found = read_bench(tmp_path / "b")
    assert (found.name, found.preset) == ("store", "pairs")
    assert found.source == {"name": "store", "sha256": sha256((store / "manifest.json").read_bytes()).hexdigest()}
    assert found.options["pairs"]["threshold"] == 3
    assert (found.options["domains"], found.options["split"]) == (["math"], "train")
    assert done.items == {"math": len(found.items)}
    assert done.pairs == {"math": sum(len(pairs_of(item)) for item in found.items)}
    assert done.pair_options == found.options["pairs"]
    assert done.to_dict()["domains"]["math"]["items"] == len(found.items)


def with_answers(query_id: str, messages: list[Row] | None, **more: Any) -> Row:
    answers = [
        {"model": "a", "text": "好", "scores": [{"judge": "j", "dimension": "overall", "score": 9.0}]},
        {"model": "a", "sample": 1, "text": "坏", "scores": [{"judge": "j", "dimension": "overall", "score": 2.0}]},
        {"model": "a#1", "text": "中", "scores": [{"judge": "j", "dimension": "overall", "score": 5.0}]},
    ]
    row = {"query_id": query_id, "domain": "chat", "query": "问", "messages": messages, "responses": answers}
    return row | more


TURNS = [turn("system", "你是"), turn("user", "一"), turn("assistant", "二"), turn("user", "三")]


def test_conversations_are_turns_or_what_multi_turn_says(tmp_path: Path) -> None:
    rows = completed([with_answers("q-1", TURNS), with_answers("q-2", None)])
    store = make_store(tmp_path / "store", rows)
    first, second = benched(store, tmp_path).items
    assert first.messages == [{"role": one["role"], "content": one["content"]} for one in TURNS]
    assert second.prompt == "问"
    assert benched(store, tmp_path, PairConfig(multi_turn="last")).items[0].prompt == "三"
    assert benched(store, tmp_path, PairConfig(multi_turn="text")).items[0].prompt == "问"
    assert [one.model for one in sorted(first.responses, key=lambda one: one.text)] == ["a#1", "a", "a"]
    assert len({one.id for one in first.responses}) == 3


def test_what_a_benchmark_has_no_form_for(tmp_path: Path) -> None:
    tools = with_answers("q-1", [turn("user", "天气？")], tools='[{"type":"function"}]')
    store = make_store(tmp_path / "tools", completed([tools, with_answers("q-2", None)]))
    with pytest.raises(UsageError, match="a benchmark has no place"):
        benched(store, tmp_path)
    assert [item.id for item in benched(store, tmp_path, PairConfig(multi_turn="skip")).items] == ["q-2"]
    ended = make_store(tmp_path / "ended", completed([with_answers("q-1", TURNS[:3])]))
    with pytest.raises(DataError, match=r"item 'q-1' \.prompt\[2\]\.role: the last turn is 'assistant'"):
        benched(ended, tmp_path / "none")
    assert not (tmp_path / "none" / "b").exists()


def test_options_that_cannot_be(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown judge"):
        benched(store, tmp_path, PairConfig(judges=("nobody",)))
    with pytest.raises(UnknownNameError, match="domain"):
        benched(store, tmp_path, domains=["code"])
    with pytest.raises(UsageError, match="format='kto' has no effect"):
        benched(store, tmp_path, PairConfig(format="kto"))
    with pytest.raises(UsageError, match="inside the store"):
        convert_store(store, store / "b")
    with pytest.raises(UsageError, match=r"no query has a pair|threshold"):
        benched(store, tmp_path, PairConfig(threshold=9))
    assert list(tmp_path.iterdir()) == []
