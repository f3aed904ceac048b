"""Experiments that coigp align answers and judges: its numbers, its ledger, and what it would cost."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiohttp", reason="asking models needs the extra [annotate]")

from commands import run
from experimenting import kill, start, store_rows, wait_for
from make import make_store
from through_align import SERVER, lines_of, write_align, write_judge, write_mt, write_train

from coig_p.annotate.asking.costs import MONEY
from coig_p.annotate.asking.ledger import Ledger
from coig_p.annotate.scripted import ScriptedServer, scripted_answer

TEXT = """
[experiment]
name = "Aligned"
seeds = [0]
untrained = true
baseline = "untrained"

[[models]]
name = "m"
path = "some/model"

[[datasets]]
name = "one"
store = "one"

[[pairs]]
name = "margin 1"
options = { threshold = 1 }

[[pairs]]
name = "margin 3"
options = { threshold = 3 }

[export]
for = "trl-dpo"

[train]
command = ["python", "train.py", "--data", "{data}", "--model", "{model}", "--out", "{out}", "--seed", "{seed}"]
files = ["train.py"]
hours = 2.0
price_per_hour = 3.0

[serve]
command = ["python", "server.py", "{checkpoint}", "{port}"]
files = ["server.py"]
model = "model"

[answer]
endpoint = "{url}"

[judge]
endpoint = "{judge}"

[[benchmarks]]
name = "AlignBench"
file = "align.jsonl"
values = { judge = "judge.toml" }

[[benchmarks]]
name = "MT-Bench-zh"
file = "mt.jsonl"
values = { judge = "judge.toml" }
"""


NAMED = """
class One(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"data": [{"id": "NAME"}]}).encode())
    def do_POST(self):
        self.send_error(404)
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), One).serve_forever()
"""


def judged(request: Mapping[str, Any]) -> str:
    """A scripted judge, who says nothing of use of one question."""
    prompt = str(request["messages"][-1]["content"])
    silent = "数学计算，第0题" in prompt
    return "我不评分。" if silent else scripted_answer(request)


@pytest.fixture
def judge() -> Iterator[ScriptedServer]:
    with ScriptedServer(judged) as server:
        yield server


def write(folder: Path, judge: ScriptedServer, text: str = TEXT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    make_store(folder / "one", store_rows("one", (9, 8, 5)))
    write_train(folder / "train.py")
    (folder / "server.py").write_text(SERVER, "utf-8")
    write_align(folder / "align.jsonl")
    write_mt(folder / "mt.jsonl")
    write_judge(folder / "judge.toml", judge.base_url)
    path = folder / "grid.toml"
    path.write_text(text, "utf-8")
    return path


def said(*words: object, code: int = 0) -> Any:
    return json.loads(run(*words, "--json", code=code).stdout)


def test_its_numbers_are_those_of_align_report_and_nothing_is_paid_twice(tmp_path: Path, judge: ScriptedServer) -> None:
    path = write(tmp_path, judge)
    (before,) = said("experiment", path, "--plan")["cost"]["judges"]
    assert before["left"] == 3 * (24 + 8)
    assert before["spent"] == 0 < before["expected"] < before["most"]
    assert not judge.seen
    told = said("experiment", path, "--trust")
    assert set(judge.seen.values()) == {1}
    paid = dict(judge.seen)
    cells = {"untrained": "untrained", "margin 1": "margin 1 / seed 0", "margin 3": "margin 3 / seed 0"}
    invalid = 0
    for test in ("AlignBench", "MT-Bench-zh"):
        made = {
            arm: tmp_path / "grid" / "made" / told["steps"][cell][f"judge {test}"] / "out"
            for arm, cell in cells.items()
        }
        report = said("align", "report", *list(made.values())[1:], "--against", made["untrained"])
        models = {one["path"]: one for one in report["models"]}
        apart = {one["one"]: one for one in report["comparisons"]}
        for row in (row for row in told["rows"] if row["test"] == test):
            model = models[str(made[row["arm"]])]
            assert told["align"][cells[row["arm"]]][test] | {"path": 0, "name": 0} == model | {
                **{"path": 0, "name": 0, "benchmark": report["benchmark"], "judge": report["judge"]},
            }
            overall = model["overall"]
            assert row["by_seed"] == {"0": overall["mean"]}
            assert row["over_questions"] == {"value": overall["mean"], "low": overall["low"], "high": overall["high"]}
            assert (row["scored"], row["invalid"]) == (overall["n"], overall["invalid"])
            invalid += row["invalid"]
            parts = {name: one["mean"] for name, one in model["categories"].items()}
            if test == "AlignBench":
                parts |= {name: model[name]["mean"] for name in ("reasoning", "language")}
            else:
                parts |= {f"turn {turn}": one["mean"] for turn, one in model["turns"].items()}
            assert row["parts"] == parts
            if row["arm"] != "untrained":
                one = apart[model["name"]]
                assert row["difference"] == {
                    "value": one["difference"],
                    **{name: one[name] for name in ("low", "high", "questions", "p", "p_holm")},
                }
    assert invalid > 0
    again = said("experiment", path, "--trust")
    assert again["made"] == {}
    assert again["rows"] == told["rows"]
    assert dict(judge.seen) == paid
    (after,) = said("experiment", path, "--plan")["cost"]["judges"]
    assert (after["left"], after["spent"] > 0) == (0, True)


def test_several_seeds_are_drawn_together(tmp_path: Path, judge: ScriptedServer) -> None:
    path = write(
        tmp_path, judge, TEXT.replace("seeds = [0]", "seeds = [0, 1]").split('\n[[benchmarks]]\nname = "MT')[0]
    )
    told = said("experiment", path, "--trust")
    for row in told["rows"]:
        seeds = [
            one[row["test"]]["overall"]["mean"] for name, one in told["align"].items() if name.startswith(row["arm"])
        ]
        assert list(row["by_seed"].values()) == seeds
        assert row["over_questions"]["value"] == pytest.approx(sum(seeds) / len(seeds))
        assert row["over_questions"]["low"] < row["over_questions"]["value"] < row["over_questions"]["high"]


@pytest.mark.skipif(os.name != "posix", reason="signals and process groups")
def test_killed_again_and_again_no_answer_is_paid_twice(tmp_path: Path, judge: ScriptedServer) -> None:
    quiet = said("experiment", write(tmp_path / "quiet", judge), "--trust")
    judge.seen.clear()
    judge.latency = 0.1
    path = write(tmp_path / "killed", judge, TEXT.replace('endpoint = "{url}"', 'endpoint = "{url}"\nconcurrency = 2'))
    text = (path.parent / "judge.toml").read_text("utf-8")
    (path.parent / "judge.toml").write_text(
        text.replace("asks = 1", "asks = 1\n").replace("currency", "concurrency = 2\ncurrency"), "utf-8"
    )
    for asked in (5, 20, 40):
        process = start(path)
        assert wait_for(partial(lambda least: sum(judge.seen.values()) >= least, asked), process)
        kill(process, group=True)
    told = said("experiment", path, "--trust")
    assert sum(judge.seen.values()) <= len(judge.seen) + 3 * 2, "but for those in flight"
    answered = Counter(lines_of(path.parent / "answered.txt"))
    assert sorted(answered.values()) == [32, 32, 32]
    assert told["rows"] == quiet["rows"]


def test_answers_come_of_the_ledger_where_only_the_code_changed(tmp_path: Path, judge: ScriptedServer) -> None:
    path = write(tmp_path, judge)
    told = said("experiment", path, "--trust")
    paid, served = dict(judge.seen), lines_of(tmp_path / "served.txt")
    for name in ("answer", "judge"):
        for made in (tmp_path / "grid" / "made").glob(f"{name}-*"):
            (made / "out" / "questions.jsonl").write_text("damaged")
    again = said("experiment", path, "--trust")
    assert again["made"] == {"answer": 6, "judge": 6}
    assert again["rows"] == told["rows"]
    assert dict(judge.seen) == paid
    assert lines_of(tmp_path / "served.txt") == served


def test_a_question_that_is_mended_is_asked_again_and_no_other(tmp_path: Path, judge: ScriptedServer) -> None:
    text = TEXT.split('\n[[pairs]]\nname = "margin 3"')[0] + TEXT[TEXT.index("\n[export]") :]
    path = write(tmp_path, judge, text)
    told = said("experiment", path, "--trust")
    paid, answered = dict(judge.seen), len(lines_of(tmp_path / "answered.txt"))
    file = tmp_path / "align.jsonl"
    lines = file.read_text("utf-8").splitlines()
    row = json.loads(lines[5])
    lines[5] = json.dumps({**row, "question": row["question"] + "请说明理由。"}, ensure_ascii=False)
    file.write_text("\n".join(lines) + "\n", "utf-8")
    again = said("experiment", path, "--trust")
    assert again["made"] == {"answer": 2, "judge": 2}, "as their keys are others"
    assert len(lines_of(tmp_path / "answered.txt")) == answered + 2
    assert sum(judge.seen.values()) == sum(paid.values()) + 2
    assert set(judge.seen.values()) == {1}
    others = [[row for row in each["rows"] if row["test"] == "MT-Bench-zh"] for each in (told, again)]
    assert others[0] == others[1]


def test_a_judge_gets_no_key_that_is_not_meant(
    tmp_path: Path, judge: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, judge)
    monkeypatch.setenv("AWS_SECRET", "value")
    file = tmp_path / "judge.toml"
    file.write_text(file.read_text("utf-8").replace("currency", 'key_env = "AWS_SECRET"\ncurrency'), "utf-8")
    done = run("experiment", path, "--trust", code=2)
    assert "wants to send the value of AWS_SECRET to 127.0.0.1:" in done.stderr
    assert "Nothing was run" in done.stderr
    assert not (tmp_path / "grid").exists()
    monkeypatch.delenv("AWS_SECRET")
    assert any("AWS_SECRET is not set" in one for one in said("experiment", path, "--plan", code=1)["obstacles"])
    file.unlink()
    assert "judge.toml" in run("experiment", path, "--trust", code=2).stderr
    (tmp_path / "align.jsonl").unlink()
    plan = run("experiment", path, "--plan", code=1).stdout
    assert "judgings, not priced: what stands in the way has to go first" in plan
    assert "judge.price" not in plan, "a table with an endpoint takes none"


def test_a_budget_that_is_reached_and_a_judge_that_is_gone_go_on_later(tmp_path: Path, judge: ScriptedServer) -> None:
    path = write(tmp_path, judge)
    file = tmp_path / "judge.toml"
    text = file.read_text("utf-8")
    file.write_text(text.replace("asks = 1", "asks = 1\nmax_cost = 0.03"), "utf-8")
    done = run("experiment", path, "--trust", code=1)
    assert "max_cost of its file is reached" in done.stderr
    assert "step judge of untrained, AlignBench: judge:" in done.stderr
    spent = sum(judge.seen.values())
    assert 0 < spent < 24
    file.write_text(text, "utf-8")
    run("experiment", path, "--trust")
    assert set(judge.seen.values()) == {1}


DIES = """
def answer(request):
    asked.append(1)
    if len(asked) > 5:
        print("out of memory", flush=True)
        os._exit(7)
    return given(request)
"""


def test_a_server_that_ends_while_it_is_asked_or_has_another_model_is_said_at_once(
    tmp_path: Path, judge: ScriptedServer
) -> None:
    path = write(tmp_path, judge)
    dies = SERVER.replace("port = next", f"given, asked = answer, []\nimport os\n{DIES}port = next")
    (tmp_path / "server.py").write_text(dies, "utf-8")
    done = run("experiment", path, "--trust", code=3)
    assert (
        "step answer of untrained, AlignBench: step serve of untrained: the server python ended with exit code 7"
        in (done.stderr)
    )
    assert re.search(r"\n  out of memory\n(19|2[0-4]) requests unanswered; run again to go on\n", done.stderr)
    assert done.stderr.count("grid.toml: ") == 1
    another = ("import http.server, json, sys\n" + NAMED).replace("NAME", "another")
    (tmp_path / "server.py").write_text(another, "utf-8")
    done = run("experiment", path, "--trust", code=3)
    assert "asked for model, as serve.model says; at /v1/models the server has another" in done.stderr
    assert "404" in done.stderr


def test_a_budget_is_over_all_that_a_judge_was_asked_also_otherwise(tmp_path: Path, judge: ScriptedServer) -> None:
    path = write(tmp_path, judge)
    file = tmp_path / "judge.toml"
    text = file.read_text("utf-8").replace("asks = 1", "asks = 1\nmax_cost = 0.03")
    file.write_text(text, "utf-8")
    run("experiment", path, "--trust", code=1)
    (first,) = said("experiment", path, "--plan")["cost"]["judges"]
    assert 0 < first["spent"] <= 0.03
    asked = sum(judge.seen.values())
    otherwise = text.replace("max_tokens = 500", "max_tokens = 501")
    file.write_text(otherwise, "utf-8")
    assert said("experiment", path, "--plan")["cost"]["judges"][0]["spent"] == first["spent"]
    assert "max_cost of its file is reached" in run("experiment", path, "--trust", code=1).stderr
    assert sum(judge.seen.values()) == asked, "of its rest no further request can be paid"
    file.write_text(otherwise.replace("0.03", "0.06"), "utf-8")
    run("experiment", path, "--trust", code=1)
    (second,) = said("experiment", path, "--plan")["cost"]["judges"]
    ledgers = list((tmp_path / "grid" / "ledgers").glob("judge-*"))
    assert len(ledgers) == 2
    kept = []
    for one in ledgers:
        with Ledger.open(one) as ledger:
            kept.append(ledger.spent().paid / MONEY)
    assert second["spent"] == pytest.approx(sum(kept))
    assert 0.03 < second["spent"] <= 0.06
    file.write_text(otherwise.replace("0.03", "0.02"), "utf-8")
    told = said("experiment", path, "--plan", code=1)
    assert any("judge.toml: its max_cost, 0.02, is reached" in one for one in told["obstacles"])
    file.write_text(otherwise.replace("USD", "CNY"), "utf-8")
    done = run("experiment", path, "--trust", code=2)
    assert "USD there, and its file now has prices in CNY" in done.stderr
    file.write_text(text.replace('name = "judge"', 'name = "another"').replace("0.03", "5"), "utf-8")
    assert said("experiment", path, "--plan")["cost"]["judges"][0]["spent"] == 0
    run("experiment", path, "--trust")


FAILING = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(500)
        self.end_headers()
        self.wfile.write(b"out of memory")
    def log_message(self, *words):
        pass
if sys.argv[1] == "some/model":
    HTTPServer(("127.0.0.1", int(sys.argv[2])), Server).serve_forever()
"""


def test_a_server_with_nothing_but_errors_is_told_of_and_left_and_other_cells_go_on(
    tmp_path: Path, judge: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, judge, TEXT.split('\n[[benchmarks]]\nname = "MT')[0])
    (tmp_path / "server.py").write_text(FAILING + SERVER, "utf-8")
    monkeypatch.setattr("coig_p.cli.annotate.live._MINUTE", 1)  # seconds between lines
    monkeypatch.setattr("coig_p.evaluate.experiment.config.GIVE_UP", 1.5)
    for name in ("_COOLDOWN", "_LONGEST_COOLDOWN"):
        monkeypatch.setattr(f"coig_p.annotate.asking.limits.{name}", 0.1)
    done = run("experiment", path, "--trust", "--keep-going", code=1)
    lines = done.stderr.splitlines()
    shown = next(line for line in lines if line.startswith("0 of 24 requests"))
    assert "model 0/24" in shown
    assert "out of memory" in shown
    failed = next(line for line in lines if "step answer of untrained" in line)
    assert "no answer for" in failed
    assert "out of memory" in failed
    assert "failed: 1 cell." in done.stderr
    answered = Counter(lines_of(tmp_path / "answered.txt"))
    assert sorted(answered.values()) == [24, 24], "of the other two"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('endpoint = "{url}"', 'endpoint = "http://x/v1"', "answer: endpoint = 'http://x/v1': use \"{url}\""),
        ('endpoint = "{url}"', 'endpoint = "{url}"\nasks = 0', "answer: asks = 0: use 1 to 20"),
        ('endpoint = "{url}"', 'endpoint = "{url}"\nask = 1', "unknown key 'answer.ask'"),
        ('endpoint = "{url}"', 'endpoint = "{url}"\nparameters = { temperature = 1 }', "'temperature' is set by"),
        ('endpoint = "{url}"', 'endpoint = "{url}"\ncommand = ["x"]', "answer has a command and an endpoint"),
        ('endpoint = "{judge}"', 'endpoint = "{jugde}"', "judge.endpoint: unknown place '{jugde}'"),
        ('endpoint = "{judge}"', "endpoint = 3", "judge.endpoint = 3: use a text"),
        ('endpoint = "{judge}"', 'endpoint = "{judge}"\nprice = 1.0', "unknown key 'judge.price'"),
        (
            'file = "mt.jsonl"',
            'file = "mt.jsonl"\nweights = { math = 1.0 }',
            "benchmarks[1].weights: coigp align judges",
        ),
        ('file = "mt.jsonl"', 'file = "one"', "one: "),
    ],
)
def test_what_cannot_be_is_one_located_error(
    old: str, new: str, says: str, tmp_path: Path, judge: ScriptedServer
) -> None:
    path = write(tmp_path, judge, TEXT.replace(old, new, 1))
    done = run("experiment", path, "--trust", code=None)
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert not (tmp_path / "grid").exists()


def test_commands_of_coigp_align_are_read_as_well(tmp_path: Path, judge: ScriptedServer) -> None:
    """The same table, where the file has argument lists in place of endpoints."""
    first = said("experiment", write(tmp_path / "one", judge), "--trust")
    text = TEXT.replace(
        'endpoint = "{url}"',
        'command = ["python", "-m", "coig_p", "align", "answer", "--data", "{questions}", "--endpoint", "{url}", '
        '"--model", "{served}", "--out", "{out}/answers", "--ledger", "{out}/ledger"]',
    ).replace(
        'endpoint = "{judge}"',
        'command = ["python", "-m", "coig_p", "align", "judge", "{answers}/answers", "--judge", "{judge}", "--out", '
        '"{out}/results"]\nfiles = ["judge.toml"]',
    )
    text = text.split('\n[[pairs]]\nname = "margin 3"')[0] + text[text.index("\n[export]") :]
    path = write(tmp_path / "two", judge, text.split('\n[[benchmarks]]\nname = "MT')[0])
    told = said("experiment", path, "--trust")
    wanted = {row["arm"]: row for row in first["rows"] if row["test"] == "AlignBench"}
    for row in told["rows"]:
        arm = {"one": "margin 1"}.get(row["arm"], row["arm"])
        for name in ("by_seed", "over_questions", "parts", "invalid"):
            assert row[name] == wanted[arm][name]
    step = path.parent / "grid" / "made" / told["steps"]["untrained"]["judge AlignBench"] / "out"
    (step / "scores.jsonl").write_text('{"question": "q", "category": "a", "score": 1}\n')
    assert "damaged" in run("experiment", path, "--trust").stderr
