"""What is foreseen of a run: each stage's requests and tokens, of conversations once some of them are through."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from tapping import tap_endpoint, write_tap

from coig_p.annotate.asking.ledger import Ledger, LedgerWriter
from coig_p.annotate.config import RunConfig, load_config
from coig_p.annotate.estimating import Estimate, forecast
from coig_p.annotate.planned import planned
from coig_p.annotate.repaying import kinds_of
from coig_p.annotate.scripted import ScriptedServer
from coig_p.annotate.stages import run_stages
from coig_p.annotate.tap.foreseeing import _listed
from coig_p.annotate.tap.parsing import parse_types

CODES = [f"{one:02}" for one in range(1, 31)]
FEW = 20  # subjects that are through before an estimate
Sizes = dict[tuple[str, str], tuple[float, int]]
"""For each kind and number of a round or a candidate how many requests there are, and the characters of all."""


def subjects(folder: Path, base_url: str) -> RunConfig:
    ends = [tap_endpoint("w-0", base_url, writes=True), tap_endpoint("j-0", base_url, judges=True)]
    ends += [tap_endpoint(name, base_url, generates=True) for name in ("m-0", "m-1")]
    config = write_tap(folder, ends, taxonomy={"rounds": 2, "dry": 0.0})
    nodes = (f'[[nodes]]\nname = "第{code}学科"\ncode = "{code}"\nslug = "s{code}"\n' for code in CODES)
    (folder / "subjects.toml").write_text("".join(nodes), encoding="utf-8")
    LedgerWriter.open(config.folder).close()
    return load_config(config.path)


def told(config: RunConfig, stage: str) -> Estimate:
    with Ledger.open(config.folder) as ledger:
        every = forecast(config, ledger, kinds=kinds_of(config)[stage]).endpoints.values()
    parts = ("requests", "expected", "most", "input_tokens", "output_tokens", "most_output_tokens")
    return Estimate(*(sum(getattr(one, part) for one in every) for part in parts))


def due(config: RunConfig, stage: str) -> Sizes:
    found: Sizes = {}
    with Ledger.open(config.folder) as ledger:
        for one in planned(config, ledger):
            if one.due and one.request.kind in kinds_of(config)[stage]:
                about = one.request.kind, one.request.query_id[-1]
                number, size = found.get(about, (0.0, 0))
                characters = sum(len(message["content"]) for message in one.request.messages)
                found[about] = number + one.times, size + round(one.times * characters)
    return found


def sent(config: RunConfig, stage: str) -> Sizes:
    about = (
        "SELECT kind, substr(query_id, -1), COUNT(*), SUM(characters), SUM(prompt_tokens) FROM requests GROUP BY 1, 2"
    )
    with closing(sqlite3.connect(config.folder / "ledger.sqlite")) as ledger:
        rows = ledger.execute(about).fetchall()
    assert all(characters == tokens for *_, characters, tokens in rows)  # as the scripted server counts
    return {(kind, at): (number, size) for kind, at, number, size, _ in rows if kind in kinds_of(config)[stage]}


def total(sizes: Sizes) -> tuple[float, int]:
    return sum(number for number, _ in sizes.values()), sum(size for _, size in sizes.values())


def test_each_stage_is_told_in_requests_and_tokens(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        config = subjects(tmp_path, server.base_url)
        for stage in ("types", "refine", "prompts", "generate", "compare"):
            if stage == "compare":
                run_stages(config, ("select",))
            if stage in ("types", "prompts"):
                run_stages(config, (stage,), limit=FEW)
            before, one, each = sent(config, stage), told(config, stage), due(config, stage)
            run_stages(config, (stage,))
            after = Counter({about: number for about, (number, _) in sent(config, stage).items()})
            number, tokens = (x - y for x, y in zip(total(sent(config, stage)), total(before), strict=True))
            assert 0 < one.output_tokens < one.most_output_tokens
            if stage == "prompts":  # of candidates beyond the first nobody knows how many there are: rare ones differ
                assert one.requests == pytest.approx(number, rel=0.1)
                assert one.input_tokens == pytest.approx(tokens, rel=0.15)
                for about, (times, size) in each.items():
                    if about[1] == "1":
                        others = sent(config, stage)[about]
                        assert size / times == pytest.approx(others[1] / others[0], rel=0.02)
                        assert times == after[about] - before[about][0]
                continue
            assert one.requests == number
            near = 0.01 if stage == "types" else 0  # models and judges were never asked: their tokens are as of all
            assert one.input_tokens == pytest.approx(tokens, rel=near or 1e-9)


def test_candidates_beyond_the_first_come_as_often_as_they_did(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        config = subjects(tmp_path, server.base_url)
        run_stages(config, ("types", "refine"))
        assert {at for _, at in due(config, "prompts")} == {"1"}  # nothing is known of them yet
        run_stages(config, ("prompts",), limit=FEW)
        through, coming = sent(config, "prompts"), due(config, "prompts")
    share = through["prompt", "2"][0] / through["prompt", "1"][0]
    assert share > 0.1
    assert coming["prompt", "2"][0] == pytest.approx(share * coming["prompt", "1"][0], abs=1)
    assert coming["complete", "2"][0] == coming["prompt", "2"][0]


@pytest.mark.parametrize("length", [13, 24, 51, 80, 121, 199])
def test_types_that_are_made_up_are_as_long_as_the_usual_ones(length: int) -> None:
    """One character short in each answer was a percent of a stage's tokens."""
    text = _listed(2, length)
    assert len(text) == length
    assert len(parse_types(text).types) == max(1, length // 40)
