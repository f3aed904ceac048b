"""What scorers say, on disk: each line fits its item, every item has one, and the benchmark lies beside."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coig_p.errors import DataError, UnknownNameError, UsageError
from coig_p.reward.bench.baselines import baseline
from coig_p.reward.bench.form import Bench, Item, Response, read_bench, write_bench
from coig_p.reward.bench.results import Result, Verdict, lengths, read_results, write_results

SCORER = {"kind": "model", "name": "m"}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    two = (Response("a", "二。"), Response("b", "三三。"))
    items = [Item(f"i-{at}", "math", "一加一？", two, (0, 1)) for at in range(3)]
    write_bench(tmp_path / "b", items, name="x", preset="pairs", source={"name": "", "sha256": ""})
    return read_bench(tmp_path / "b")


def results_of(bench: Bench) -> list[Result]:
    first, second, third = bench.items
    return [
        Result(first.id, "math", (1.5, -0.25), None, None, lengths(first)),
        Result(second.id, "math", None, None, "refused", lengths(second)),
        Result(third.id, "math", (None, 2.0), None, "too-long", lengths(third)),
    ]


def changed(folder: Path, line: int, **changes: Any) -> None:
    path = folder / "results.jsonl"
    lines = [json.loads(one) for one in path.read_text("utf-8").splitlines()]
    lines[line] |= changes
    path.write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")


def test_what_is_written_is_read_in_the_order_of_the_benchmark(bench: Bench, tmp_path: Path) -> None:
    given = results_of(bench)
    assert write_results(tmp_path / "r", bench, given[::-1], scorer=SCORER, options={"seed": 3}) == 3
    found = read_results(tmp_path / "r")
    assert found.results == tuple(given)
    assert (found.scorer, found.options) == (SCORER, {"seed": 3})
    assert found.bench == replace(bench, path=tmp_path / "r" / "bench")
    assert read_results(tmp_path / "r", bench).bench is bench


def test_verdicts_are_read_as_written_and_never_beside_rewards(bench: Bench, tmp_path: Path) -> None:
    both = (Verdict(("a", "b"), "first", "[[A]]"), Verdict(("b", "a"), None))
    nothing, *others = [replace(one, rewards=None, verdicts=both, reason=None) for one in results_of(bench)]
    given = [replace(nothing, verdicts=None, reason="too-long"), *others]
    write_results(tmp_path / "r", bench, given, scorer=SCORER | {"kind": "judge"})
    assert read_results(tmp_path / "r").results == tuple(given)
    changed(tmp_path / "r", 2, verdicts=None, rewards=[1, 2])
    with pytest.raises(DataError, match=r"results\.jsonl line 3 \.rewards: line 2 has verdicts: results are all"):
        read_results(tmp_path / "r")
    mixed = [results_of(bench)[0], *others]
    with pytest.raises(DataError, match=r"result of item 'i-1' \.verdicts: that of item 'i-0' has rewards"):
        write_results(tmp_path / "s", bench, mixed, scorer=SCORER)
    assert not (tmp_path / "s").exists()


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"item": 3}, "item"),
    ({"item": "i-9"}, "item"),
    ({"item": "i-2"}, "item"),
    ({"domain": "code"}, "domain"),
    ({"more": 1}, "more"),
    ({"rewards": [1]}, "rewards"),
    ({"rewards": [1, "2"]}, "rewards"),
    ({"rewards": [1, True]}, "rewards"),
    ({"rewards": [1, None]}, "reason"),
    ({"rewards": None}, "reason"),
    ({"reason": ""}, "reason"),
    ({"length": [2]}, "length"),
    ({"length": [2, 4]}, "length"),
    ({"length": [2, 3.0]}, "length"),
    ({"verdicts": []}, "verdicts"),
    ({"rewards": None, "verdicts": "x"}, "verdicts"),
    ({"rewards": None, "verdicts": [{"shown": ["a", "b"]}]}, "verdicts[0]"),
    ({"rewards": None, "verdicts": [{"shown": ["a"], "verdict": None, "raw": None}]}, "verdicts[0].shown"),
    ({"rewards": None, "verdicts": [{"shown": ["a", "a"], "verdict": None, "raw": None}]}, "verdicts[0].shown"),
    ({"rewards": None, "verdicts": [{"shown": ["a", "c"], "verdict": None, "raw": None}]}, "verdicts[0].shown"),
    ({"rewards": None, "verdicts": [{"shown": ["a", "b"], "verdict": "A", "raw": None}]}, "verdicts[0].verdict"),
    ({"rewards": None, "verdicts": [{"shown": ["a", "b"], "verdict": "tie", "raw": 1}]}, "verdicts[0].raw"),
]


@pytest.mark.parametrize(("changes", "field"), WRONG, ids=[f"{field}-{at}" for at, (_, field) in enumerate(WRONG)])
def test_a_malformed_line_is_one_located_error(
    changes: dict[str, Any], field: str, bench: Bench, tmp_path: Path
) -> None:
    write_results(tmp_path / "r", bench, baseline(bench, "length"), scorer=SCORER)
    line = 2 if changes.get("item") != "i-2" else 1
    changed(tmp_path / "r", line, **changes)
    if changes.get("item") == "i-2":  # and stands in the last line, too
        line = 2
    with pytest.raises(DataError) as caught:
        read_results(tmp_path / "r")
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'r' / 'results.jsonl'} line {line + 1} .{field}: "), said


def test_results_cut_short_changed_or_of_another_benchmark(bench: Bench, tmp_path: Path) -> None:
    write_results(tmp_path / "r", bench, baseline(bench, "random"), scorer=SCORER)
    path = tmp_path / "r" / "results.jsonl"
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match="item 'i-2' of the benchmark is missing"):
        read_results(tmp_path / "r")
    path.write_bytes(whole[:-5])
    with pytest.raises(DataError, match="line 3: not JSON"):
        read_results(tmp_path / "r")
    path.write_bytes(whole.replace(b"0.", b"1.", 1))
    with pytest.raises(DataError, match="sha256"):
        read_results(tmp_path / "r")
    path.write_bytes(whole)
    other = [replace(one, prompt="另一个") for one in bench.items]
    write_bench(tmp_path / "other", other, name="x", preset="pairs", source={"name": "", "sha256": ""})
    with pytest.raises(DataError, match=r"\.bench\.sha256: not that of .*other"):
        read_results(tmp_path / "r", read_bench(tmp_path / "other"))
    with pytest.raises(DataError, match=r"no results\.json there"):
        read_results(tmp_path)


@pytest.mark.parametrize(("scorer", "words"), [({"kind": "oracle"}, "kind"), ({"kind": "judge"}, r"\.scorer\.name")])
def test_a_scorer_that_is_none(scorer: dict[str, str], words: str, bench: Bench, tmp_path: Path) -> None:
    write_results(tmp_path / "r", bench, baseline(bench, "length"), scorer=SCORER)
    path = tmp_path / "r" / "results.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"scorer": scorer}))
    with pytest.raises(DataError, match=words):
        read_results(tmp_path / "r")


def test_results_that_do_not_fit_are_not_written(bench: Bench, tmp_path: Path) -> None:
    given = baseline(bench, "length")
    for bad, words in (
        (given[:2], "item 'i-2' has no result"),
        ([*given, given[0]], "item 'i-0' has two results"),
        ([*given[:2], replace(given[2], item="i-9")], "item 'i-9' is no item"),
        (
            [*given[:2], replace(given[2], rewards=(float("inf"), 0.0))],
            r"result of item 'i-2' \.rewards: .* is not a list of finite",
        ),
        ([*given[:2], replace(given[2], rewards=(1.0,))], r"result of item 'i-2' \.rewards: 1 of them for 2"),
    ):
        with pytest.raises(DataError, match=words):
            write_results(tmp_path / "r", bench, bad, scorer=SCORER)
        assert not (tmp_path / "r").exists()
    write_results(tmp_path / "r", bench, given, scorer=SCORER)
    with pytest.raises(UsageError, match="--overwrite"):
        write_results(tmp_path / "r", bench, given, scorer=SCORER)
    write_results(tmp_path / "r", bench, given[::-1], scorer=SCORER, overwrite=True)
    with pytest.raises(UsageError, match="is inside the benchmark"):
        write_results(tmp_path / "b" / "r", bench, given, scorer=SCORER)


def test_a_benchmark_that_changed_while_it_was_run(bench: Bench, tmp_path: Path) -> None:
    changed = [replace(one, prompt="另一个") for one in bench.items]
    source = {"name": "", "sha256": ""}
    write_bench(tmp_path / "b", changed, name="x", preset="pairs", source=source, overwrite=True)
    with pytest.raises(DataError, match="another benchmark since it was read"):
        write_results(tmp_path / "r", bench, baseline(bench, "length"), scorer=SCORER)
    assert not (tmp_path / "r").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
def test_a_pipe_is_not_waited_for(bench: Bench, tmp_path: Path) -> None:
    write_results(tmp_path / "r", bench, baseline(bench, "length"), scorer=SCORER)
    for path, read in ((tmp_path / "r" / "results.jsonl", read_results), (tmp_path / "b" / "bench.jsonl", read_bench)):
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(DataError, match="not a file"):
            read(path.parent)


def test_the_longer_response_wins_and_equal_ones_tie(bench: Bench) -> None:
    assert [one.rewards for one in baseline(bench, "length")] == [(2.0, 3.0)] * 3
    same = replace(bench, items=(replace(bench.items[0], responses=(Response("a", "二"), Response("b", "😀"))),))
    assert baseline(same, "length")[0].rewards == (1.0, 1.0)


def test_random_rewards_hang_on_the_seed_the_item_and_the_response_alone(bench: Bench) -> None:
    def by_id(of: Bench, seed: int = 0) -> dict[tuple[str, str], float | None]:
        rewards = baseline(of, "random", seed)
        return {
            (item.id, one.id): reward
            for item, said in zip(of.items, rewards, strict=True)
            for one, reward in zip(item.responses, said.rewards or (), strict=True)
        }

    found = by_id(bench)
    turned = [
        replace(item, responses=item.responses[::-1], ranks=(1, 0))
        for item in sorted(bench.items, key=id, reverse=True)
    ]
    assert by_id(replace(bench, items=tuple(turned))) == found
    assert len(set(found.values())) == 6
    assert all(0 <= one < 1 for one in found.values() if one is not None)
    assert by_id(bench, 1) != found
    with pytest.raises(UnknownNameError):
        baseline(bench, "longest")


def test_random_is_right_half_of_the_time(bench: Bench) -> None:
    many = replace(bench, items=tuple(replace(bench.items[0], id=f"i-{at}") for at in range(4_000)))
    right = sum(one.rewards is not None and one.rewards[0] > one.rewards[1] for one in baseline(many, "random"))  # type: ignore[operator]
    assert abs(right - 2_000) < 4 * (4_000 * 0.25) ** 0.5
