"""The first stages of a TaP run against a scripted server: counts, going on, limits, estimates, batch files."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from importlib.resources import files as files_of
from pathlib import Path
from typing import Any

import pytest
from annotating import check_accounts
from batch_server import BatchServer
from tapping import NAMES, tap_answer, two_writers, write_tap

from coig_p.annotate.asking.ledger import Ledger, LedgerWriter
from coig_p.annotate.batch_stages import batch_in, batch_out
from coig_p.annotate.config import RunConfig
from coig_p.annotate.estimating import estimate
from coig_p.annotate.repaying import paid_again
from coig_p.annotate.scripted import ScriptedServer
from coig_p.annotate.stages import run_stages
from coig_p.annotate.status import status_of
from coig_p.annotate.tap.walking import prompted
from coig_p.errors import UsageError

FILES = ("queries.jsonl", "dropped.jsonl", "rows.jsonl", "missing.jsonl")
FIRST = ("types", "refine", "prompts", "generate", "select", "compare", "store")
ASKING = tuple(stage for stage in FIRST if stage not in ("select", "store"))


def files(config: RunConfig) -> dict[str, bytes]:
    return {name: (config.folder / name).read_bytes() for name in FILES}


def answered(path: Path) -> Path:
    """The answers to a batch file, in a file beside it."""
    lines = []
    for line in path.read_text("utf-8").splitlines():
        asked = json.loads(line)
        message = {"role": "assistant", "content": tap_answer(asked["body"])}
        body = {"choices": [{"message": message, "finish_reason": "stop"}]}
        lines.append({"custom_id": asked["custom_id"], "response": {"status_code": 200, "body": body}})
    out = path.with_name(f"{path.stem}-answers.jsonl")
    out.write_text("".join(json.dumps(one) + "\n" for one in lines), "utf-8")
    return out


def test_counts_follow_by_arithmetic(tmp_path: Path) -> None:
    kinds: Counter[str] = Counter()
    with ScriptedServer(tap_answer) as server:
        config = write_tap(tmp_path, two_writers(server.base_url))
        report = run_stages(config, FIRST)
    with Ledger.open(config.folder) as ledger:
        for some in ledger.requests():
            kinds[some.kind] += some.number
        found = list(prompted(config, ledger))
        now = status_of(config, ledger)
    assert kinds["types"] == 3 * 2 * 3
    assert kinds["refine"] == 3 * 2 * len(NAMES)
    assert kinds["prompt"] == kinds["complete"] == kinds["feasible"] == sum(len(one.candidates) for one in found)
    asked = [one for one in found if one.feasible]
    assert len(found) == 3 * 2 * len(NAMES)
    assert report.queries == {
        "passed": len(asked),
        **({"infeasible": len(found) - len(asked)} if found != asked else {}),
    }
    assert kinds["generate"] == 2 * len(asked)
    assert any(len(one.candidates) > 1 for one in found)
    assert all(one.candidates[-1].feasible or len(one.candidates) == 4 for one in found)
    assert now.types["w-0"] == {
        "subjects": 3,
        "dry": 0,
        "types": 27,
        "rounds": [{"listed": 12, "new": 12}, {"listed": 9, "new": 9}, {"listed": 6, "new": 6}],
    }
    assert {name: (one.planned, one.done) for name, one in now.stages.items() if name in FIRST} == {
        "types": (18, 18),
        "refine": (54, 54),
        "prompts": (3 * kinds["prompt"], 3 * kinds["prompt"]),
        "generate": (kinds["generate"], kinds["generate"]),
        "compare": (2 * len(asked), 2 * len(asked)),
    }
    one = next(one for one in asked if one.writer == "w-1")
    assert one.meta["path"] == "农学 > 茶学"
    assert one.query.domain == "agronomy"
    assert one.query.source == f"农学 > 茶学: {one.type.name}"
    assert one.query.query_id.startswith("w-1/0901/")


def test_it_sends_nothing_twice_and_goes_on_where_it_ended(tmp_path: Path) -> None:
    with ScriptedServer(tap_answer) as server:
        quiet = write_tap(tmp_path / "quiet", two_writers(server.base_url))
        run_stages(quiet, FIRST)
        assert set(server.seen.values()) == {1}
        assert run_stages(quiet, FIRST).sent == {}

    left = [0]

    def failing(request: Mapping[str, Any]) -> str:
        left[0] -= 1
        if left[0] < 0:
            raise ValueError("not now")
        return tap_answer(request)

    with ScriptedServer(failing) as server:
        hurt = write_tap(tmp_path / "hurt", two_writers(server.base_url, concurrency=3))
        for number in (5, 20, 40, 80, 10**9, 10**9):
            left[0] = number
            run_stages(hurt, FIRST)
            check_accounts(hurt)
    assert files(hurt) == files(quiet)


def test_killed_at_any_moment_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    rng = random.Random(7)
    with ScriptedServer(tap_answer, latency=0.01) as server:
        quiet = write_tap(tmp_path / "quiet", two_writers(server.base_url))
        run_stages(quiet, FIRST)
        sent = sum(server.seen.values())
        server.seen.clear()
        hurt = write_tap(tmp_path / "hurt", two_writers(server.base_url, concurrency=2))
        command = (
            "import sys; from coig_p.annotate.config import load_config; from coig_p.annotate.stages import run_stages;"
            f"run_stages(load_config(sys.argv[1]), {FIRST!r})"
        )
        killed = 0
        for _ in range(6):
            run = subprocess.Popen([sys.executable, "-c", command, str(hurt.path)], stderr=subprocess.PIPE)
            before = sum(server.seen.values())
            while run.poll() is None and sum(server.seen.values()) < before + rng.randint(10, 60):
                time.sleep(0.005)
            killed += run.poll() is None
            run.kill()
            run.communicate()
        assert killed
        run_stages(hurt, FIRST)
        again = sum(server.seen.values()) - sent
    check_accounts(hurt)
    assert again <= killed * 8  # what was in flight at a kill
    assert files(hurt) == files(quiet)


def test_the_order_of_subjects_and_a_limit_change_no_query(tmp_path: Path) -> None:
    with ScriptedServer(tap_answer) as server:
        config = write_tap(tmp_path / "one", two_writers(server.base_url))
        first = run_stages(config, FIRST, limit=1)
        with Ledger.open(config.folder) as ledger:
            assert {one.subject.code for one in prompted(config, ledger)} == {"0901"}
            assert {query.query_id.split("/")[1] for query in ledger.queries()} == {"0901"}
        whole = run_stages(config, FIRST)
        other = write_tap(tmp_path / "two", two_writers(server.base_url)[::-1])
        run_stages(other, FIRST)
    assert 0 < first.queries["passed"] < whole.queries["passed"]

    def lines(config: RunConfig) -> set[str]:
        return set((config.folder / "queries.jsonl").read_text("utf-8").splitlines())

    assert lines(config) == lines(other)


def test_each_stage_is_estimated_as_it_comes(tmp_path: Path) -> None:
    with ScriptedServer(tap_answer) as server:
        config = write_tap(tmp_path, two_writers(server.base_url))
        LedgerWriter.open(config.folder).close()
        for stage in ASKING:
            if stage == "compare":
                assert run_stages(config, ("select",)).sent == {}
            with Ledger.open(config.folder) as ledger:
                before = sum(one.requests for one in estimate(config, ledger).values())
            sent = sum(run_stages(config, (stage,)).sent.values())
            with Ledger.open(config.folder) as ledger:
                after = sum(one.requests for one in estimate(config, ledger).values())
            if stage in ("refine", "generate", "compare"):  # what comes of the others nobody knows
                assert before - after == sent
            assert sent
        assert after == 0


def test_batch_files_carry_conversations_from_one_to_the_next(tmp_path: Path) -> None:
    with ScriptedServer(tap_answer) as server:
        online = write_tap(tmp_path / "online", two_writers(server.base_url))
        run_stages(online, FIRST)
        offline = write_tap(tmp_path / "offline", two_writers(server.base_url))
    waves: Counter[str] = Counter()
    with LedgerWriter.open(offline.folder) as ledger:
        while True:
            stage, written = batch_out(offline, ledger, tmp_path / "out", overwrite=True)
            if stage is None:
                break
            waves[stage] += 1
            for path in written:
                assert not batch_in(offline, ledger, [answered(path)]).problems
    assert waves["types"] == 3
    assert waves["refine"] == 1
    assert waves["prompts"] >= 6
    assert run_stages(offline, FIRST).sent == {}
    assert files(offline) == files(online)


def test_what_is_found_infeasible_is_listed_and_asked_only_where_the_run_says_so(tmp_path: Path) -> None:
    def never(request: Mapping[str, Any]) -> str:
        text = tap_answer(request)
        return text.replace("合理", "不合理").replace("不不", "不") if "模型只有文字" in text else text

    with ScriptedServer(never) as server:
        config = write_tap(tmp_path / "no", two_writers(server.base_url), taxonomy={"regenerations": 1})
        report = run_stages(config, FIRST)
        assert report.queries == {"infeasible": 54}
        assert report.stored is None
        assert not report.sent.get("m-0")
        listed = [json.loads(line) for line in (config.folder / "dropped.jsonl").read_text("utf-8").splitlines()]
        assert {one["meta"]["feasible"] for one in listed} == {False}
        assert {one["meta"]["candidates"] for one in listed} == {2}
        assert {one["why"] for one in listed} == {"模型只有文字。"}
        settings = {"regenerations": 1, "ask_infeasible": True}
        every = write_tap(tmp_path / "yes", two_writers(server.base_url), taxonomy=settings)
        assert run_stages(every, FIRST).queries == {"passed": 108}


@pytest.mark.parametrize(("stage", "has"), [("queries", "types, refine, prompts"), ("judge", "types, refine, prompts")])
def test_a_stage_that_such_a_run_has_not_is_one_error(tmp_path: Path, stage: str, has: str) -> None:
    config = write_tap(tmp_path, two_writers("http://127.0.0.1:1/v1"))
    with pytest.raises(UsageError, match=f"has no stage {stage}; it has {has}"):
        run_stages(config, (stage,))


def test_what_another_prompt_would_pay_again_is_said_before(tmp_path: Path) -> None:
    with ScriptedServer(tap_answer) as server:
        config = write_tap(tmp_path, two_writers(server.base_url))
        run_stages(config, FIRST)
        with Ledger.open(config.folder) as ledger:
            assert paid_again(config, ledger) == []
        (tmp_path / "own").mkdir()
        text = files_of("coig_p.annotate").joinpath("prompts", "tap", "zh", "types.md").read_text("utf-8")
        (tmp_path / "own" / "types.md").write_text(text + "请用简体字。\n", encoding="utf-8")
        changed = write_tap(tmp_path, two_writers(server.base_url), taxonomy={"prompts": "own"})
        with Ledger.open(config.folder) as ledger:
            again = paid_again(changed, ledger)
        assert (again[0].kind, again[0].number, again[0].why) == ("types", 18, "the prompts for types changed")
        (tmp_path / "own" / "types.md").unlink()
        text = files_of("coig_p.annotate").joinpath("prompts", "tap", "zh", "feasible.md").read_text("utf-8")
        (tmp_path / "own" / "feasible.md").write_text(text + "再想想。\n", encoding="utf-8")
        changed = write_tap(tmp_path, two_writers(server.base_url), taxonomy={"prompts": "own"})
        with Ledger.open(config.folder) as ledger:
            assert {(one.kind, one.why) for one in paid_again(changed, ledger)} >= {
                ("feasible", "the prompts for feasible changed")
            }


@pytest.mark.parametrize("batched", [("w-0",), ("j-0",), ("w-0", "w-1", "j-0", "m-0")])
def test_writers_or_the_checker_may_be_asked_in_batches(tmp_path: Path, batched: tuple[str, ...]) -> None:
    with BatchServer(answer=tap_answer) as server:
        checked = {"checker": "j-0"}
        online = write_tap(tmp_path / "online", two_writers(server.base_url), taxonomy=checked)
        run_stages(online, FIRST)
        endpoints = two_writers(server.base_url)
        for one in endpoints:
            if one["name"] in batched:
                one |= {"batch": True, "batch_poll": 0.01}
        offline = write_tap(tmp_path / "offline", endpoints, taxonomy=checked)
        report = run_stages(offline, FIRST)
        assert (report.failed, report.left) == ({}, {})
        assert run_stages(offline, FIRST).sent == {}
        assert len(server.made) >= 3
    assert files(offline) == files(online)
