"""Labels of a TaP run and what `status` says of its judges, beside plain sums over what was said.

Judges score by a draw, with a bias for what stands first that is planted, and say nothing that can be used of some.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from fractions import Fraction
from itertools import combinations
from typing import Any

import pytest
from annotating import rows_of
from commands import run
from datasets import load_dataset
from tapping import EIGHT, tap_answer, tap_endpoint, write_tap

pytest.importorskip("aiohttp", reason="asking models needs the extra [annotate]")

from coig_p.annotate.config import RunConfig
from coig_p.annotate.scripted import ScriptedServer
from coig_p.annotate.stages import run_stages
from coig_p.store.store import Store

MODELS = ("m-0", "m-1", "m-2", "m-3")
BIAS = {"j-0": 0, "j-1": 3, "j-2": -1}
Said = dict[tuple[str, str, str, str], list[int] | None]
"""By judge, what was asked but for its order, the first and the second: eight numbers, or None."""


class Judges:
    """A server of such judges that keeps what they said."""

    def __init__(self) -> None:
        self.said: Said = {}

    def __call__(self, request: Mapping[str, Any]) -> str:
        asked, judge = str(request["messages"][0]["content"]), str(request["model"])
        if "公正的评审" not in asked:
            return tap_answer(request)
        (first, one), (second, other) = re.findall(r"(m-\d) 的回答：(\d+)", asked)
        numbers: list[int] | None = None
        if _draw(judge, first, one, other) % 11:
            drawn = [4 + _draw(judge, text, str(at // 4), str(at)) % 4 for text in (one, other) for at in range(4)]
            numbers = [drawn[at] + BIAS[judge] * (at < 4) for at in range(8)]
        self.said[judge, " ".join(sorted((one, other))), first, second] = numbers
        return "两个回答各有长短。" if numbers is None else EIGHT.format(*numbers)


def _draw(*parts: str) -> int:
    return int.from_bytes(hashlib.sha256("\x00".join(parts).encode()).digest()[:4], "big")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunConfig, Said]:
    judges = Judges()
    with ScriptedServer(judges) as server:
        ends = [tap_endpoint("w-0", server.base_url, writes=True)]
        ends += [tap_endpoint(name, server.base_url, generates=True) for name in MODELS]
        ends += [tap_endpoint(name, server.base_url, judges=True) for name in BIAS]
        config = write_tap(tmp_path_factory.mktemp("run"), ends, taxonomy={"rounds": 1}, compare={"asks": 1})
        assert run_stages(config).left == {}
    return config, judges.said


def more(numbers: list[int]) -> Fraction:
    """What the first got more: the mean of four dimensions."""
    return Fraction(sum(numbers[:4]) - sum(numbers[4:]), 4)


def oracle(rows: list[dict[str, Any]], judges: tuple[str, ...]) -> dict[tuple[str, str, str], float]:
    """The margin of each labelled pair, by query, chosen and rejected, from the comparisons of a store one by one."""
    found = {}
    for row in rows:
        models = [one["model"] for one in row["responses"]]
        for a, b in combinations(range(len(models)), 2):
            votes = []
            for judge in judges:
                orders = []
                for first, second in ((a, b), (b, a)):
                    own = [
                        Fraction(one["first_score"]) - Fraction(one["second_score"])
                        for one in row["comparisons"]
                        if (one["judge"], one["first"], one["second"]) == (judge, first, second)
                    ]
                    if own:
                        assert len(own) == 4
                        orders.append(sum(own, Fraction(0)) / 4 * (1 if first == a else -1))
                if len(orders) == 2:
                    votes.append(sum(orders, Fraction(0)) / 2)
            ahead = sum(votes, Fraction(0)) / max(1, len(votes))
            if ahead:
                chosen, rejected = (a, b) if ahead > 0 else (b, a)
                found[row["query_id"], models[chosen], models[rejected]] = float(abs(ahead))
    return found


@pytest.mark.parametrize("judges", [("j-0",), ("j-1",), ("j-2", "j-0"), tuple(BIAS)])
def test_labels_are_those_of_plain_sums(made: tuple[RunConfig, Said], judges: tuple[str, ...]) -> None:
    config, _ = made
    manifest = Store.open(config.folder / "store").manifest
    assert (manifest.both_orders, manifest.comparison_threshold) == (True, 0)
    given: Any = None if judges == tuple(BIAS) else judges[0] if len(judges) == 1 else list(judges)
    found = load_dataset("coig-p", "all", data_dir=str(config.folder / "store"), split="train", judges=given)
    wanted = oracle(rows_of(config), judges)
    told = {(row["query_id"], row["chosen_model"], row["rejected_model"]): row["margin"] for row in found}
    assert len(told) == len(found)
    assert told == pytest.approx(wanted, abs=1e-9)
    assert 0 < len(wanted) < 6 * len(rows_of(config))  # without those that tie or lack an order


def test_what_is_stored_is_what_was_said(made: tuple[RunConfig, Said]) -> None:
    config, said = made
    stored: dict[tuple[str, str, str, str], list[float]] = defaultdict(list)
    for row in rows_of(config):
        number = {one["model"]: one["text"].partition("：")[2].rstrip("。") for one in row["responses"]}
        models = [one["model"] for one in row["responses"]]
        for one in row["comparisons"]:
            first, second = models[one["first"]], models[one["second"]]
            about = " ".join(sorted((number[first], number[second])))
            stored[one["judge"], about, first, second] += [one["first_score"], one["second_score"]]
    assert stored == {
        about: [float(one) for pair in zip(numbers[:4], numbers[4:], strict=True) for one in pair]
        for about, numbers in said.items()
        if numbers is not None
    }


def test_status_tells_bias_consistency_and_invalid_as_they_were_said(made: tuple[RunConfig, Said]) -> None:
    config, said = made
    told = json.loads(run("annotate", "status", config.path, "--json").stdout)["judges"]
    for judge, bias in BIAS.items():
        own = {tuple(about): numbers for (name, *about), numbers in said.items() if name == judge}
        both, single = [], 0
        for (about, first, second), numbers in own.items():
            if first < second:
                orders = [one for one in (numbers, own[about, second, first]) if one is not None]
                single += len(orders) == 1
                if len(orders) == 2:
                    both.append([more(one) for one in orders])
        invalid = sum(numbers is None for numbers in own.values())
        verdicts = [one for pair in both for one in pair if one]
        assert invalid > 2
        assert single > 2
        assert told[judge] == {
            "shown": len(own),
            "invalid": invalid,
            "invalid_rate": pytest.approx(invalid / len(own), abs=5e-5),
            "pairs": len(both),
            "single": single,
            "bias": pytest.approx(float(sum(map(sum, both), Fraction(0)) / 2 / len(both)), abs=5e-5),
            "consistent": pytest.approx(
                sum((a > 0) - (a < 0) == (b < 0) - (b > 0) for a, b in both) / len(both), abs=5e-5
            ),
            "first_shown": pytest.approx(sum(one > 0 for one in verdicts) / len(verdicts), abs=5e-5),
        }
        assert told[judge]["bias"] == pytest.approx(bias, abs=1e-4), "what was planted"
    shown = run("annotate", "status", config.path).stdout
    for judge, one in told.items():
        line = next(line for line in shown.splitlines() if line.startswith(f"{judge}: "))
        assert f"{one['invalid']:,} of {one['shown']:,} comparisons invalid" in line
        assert f"{one['pairs']:,} pairs in both orders, {one['single']:,} in one alone" in line
        assert f"both orders agree on {one['consistent']:.1%}" in line
