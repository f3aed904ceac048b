"""What holds for every command of the tree: JSON, pipes, full disks, Ctrl-C, terminals of any encoding and width.

A command that is added is looked at once it has a line in RUNS, which a test asks for.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import uvicorn
from commands import TREE, run
from experimenting import HEAD, write_experiment
from scoring import Fake
from tapping import tap_answer, two_writers, write_tap

from coig_p.annotate.scripted import ScriptedServer
from coig_p.annotate.stages import run_stages
from coig_p.cli.main import main
from coig_p.core.text import printable

# `coigp run` becomes the command that it is given: tests/test_launch.py.
LEAVES = sorted(words for words, command in TREE.items() if not isinstance(command, click.Group) and words != "run")

# What is typed behind the command's own words, and the exit code. NEW is a place where nothing is yet.
RUNS: dict[str, tuple[str, int]] = {
    "align answer": (
        "--data FOLDER/align-é.jsonl --endpoint FOLDER/model-é.toml --ledger FOLDER/answers.ledger --out NEW",
        0,
    ),
    "align judge": ("FOLDER/answers --judge FOLDER/model-é.toml --ledger FOLDER/aligned.ledger --out NEW", 0),
    "align report": ("FOLDER/aligned --html NEW.html", 0),
    "annotate audit": ("FOLDER/run/run.toml", 0),
    "annotate compare": ("FOLDER/tap/run.toml", 0),
    "annotate demo": ("--out NEW", 0),
    "annotate generate": ("FOLDER/run/run.toml", 0),
    "annotate init": ("--out NEW.toml", 0),
    "annotate judgements": ("FOLDER/run/run.toml --out NEW.parquet", 0),
    "annotate judge": ("FOLDER/run/run.toml", 0),
    "annotate prompts": ("FOLDER/tap/run.toml", 0),
    "annotate queries": ("FOLDER/run/run.toml", 0),
    "annotate refine": ("FOLDER/tap/run.toml", 0),
    "annotate retry": ("FOLDER/run/run.toml --failed --invalid", 0),
    "annotate run": ("FOLDER/run/run.toml", 0),
    "annotate select": ("FOLDER/tap/run.toml", 0),
    "annotate status": ("FOLDER/run/run.toml", 0),
    "annotate store": ("FOLDER/run/run.toml", 0),
    "annotate taxonomy check": ("FOLDER/subjects-é.tsv", 0),
    "annotate taxonomy grow": ("--about 题 --endpoint http://127.0.0.1:9/v1 --model m --out NEW.toml --estimate", 0),
    "annotate taxonomy list": ("FOLDER/subjects-é.tsv", 0),
    "bench build": ("FOLDER/store --review NEW --annotators 甲,b --double 0", 0),
    "annotate types": ("FOLDER/tap/run.toml", 0),
    "bench convert": ("--from pairs FOLDER/store --out NEW", 0),
    "bench import": ("FOLDER/bench FOLDER/rewards-é.jsonl --name 模é😀 --out NEW", 0),
    "bench report": ("FOLDER/results --html NEW.html", 0),
    "bench run": ("FOLDER/bench --baseline length --out NEW", 0),
    "card": ("FOLDER/store", 0),
    "check": ("FOLDER/store --report NEW", 0),
    "clean": ("FOLDER/store --out NEW", 0),
    "compare": ("FOLDER/store FOLDER/many --no-floor --out NEW", 0),
    "contamination": ("FOLDER/store --against FOLDER/bench-é.jsonl --out NEW.jsonl", 1),
    "dedup": ("FOLDER/store --out NEW", 0),
    "diversity": ("FOLDER/store --beside FOLDER/store", 0),
    "demo": ("--out NEW", 0),
    "diff": ("FOLDER/store --b threshold=3", 0),
    "env": ("", 0),
    "experiment": ("FOLDER/grid/grid.toml --trust", 0),
    "export": ("FOLDER/store --for trl-dpo --out NEW", 0),
    "import": ("FOLDER/rows-é.jsonl --out NEW", 0),
    "info": ("FOLDER/store", 0),
    "judges": ("FOLDER/store --out NEW", 1),
    "keygen": ("NEW.key --no-password", 0),
    "pairs": ("FOLDER/store --out NEW.jsonl", 0),
    "plan": ("FOLDER/store --epochs 2 --batch-size 1", 0),
    "publish": ("FOLDER/store --version 1.0.0 --target dir:NEW", 0),
    "review draw": ("FOLDER/store --out NEW --annotators 甲,b --by margin", 0),
    "review apply": ("FOLDER/review FOLDER/store --out NEW", 0),
    "review report": ("FOLDER/review --store FOLDER/store --html NEW.html", 0),
    "review resolve": ("FOLDER/review", 0),
    "review import": ("FOLDER/review FOLDER/export-é.json", 0),
    "review serve": ("FOLDER/review --annotator b", 0),
    "reward judge-data": ("FOLDER/store --out NEW", 0),
    "reward halves": ("FOLDER/many --out NEW", 0),
    "reward train": ("FOLDER/store --model builtin:ngram --out NEW", 0),
    "score": ("FOLDER/store --model 模 --as crm --out NEW --check", 0),
    "show": ("FOLDER/store --near 2", 0),
    "stats": ("FOLDER/store --out NEW", 0),
    "sweep": ("FOLDER/store --thresholds 1,2 --out NEW", 0),
    "verify": ("FOLDER/store", 0),
    "view": ("FOLDER/store --out NEW.html", 0),
}
SLOW = {"demo", "publish", "card"}  # each is run once for all that can be seen of it
ENCODINGS = ("utf-8", "gbk", "latin-1", "ascii")
QUICK = [words for words in LEAVES if words not in SLOW]

ROW = {
    "query_id": "m-é😀",
    "domain": "math",
    "query": "1+1等于几？é😀",
    "responses": [
        {"model": "甲é😀", "text": "等于2，因为一加一是二é😀。", "scores": [{"judge": "审é😀", "score": 9}]},
        {"model": "乙", "text": "等于3，我想是这样。", "scores": [{"judge": "审é😀", "score": 1.5}]},
    ],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs of every command, with characters that neither GBK nor Latin 1 nor ASCII holds."""
    folder = tmp_path_factory.mktemp("inputs")
    rows = [ROW, ROW | {"query_id": "m-2", "query": "杭州有什么湖？"}]
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "rows-é.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "bench-é.jsonl").write_text(json.dumps({"question": ROW["query"]}, ensure_ascii=False), encoding="utf-8")
    (folder / "subjects-é.tsv").write_text("field-é😀\tsubject\né😀\tMechanics\né😀\tOptics\n", encoding="utf-8")
    run("import", folder / "rows-é.jsonl", "--out", folder / "store", "--license", "MIT")
    many = [ROW | {"query_id": f"q-{at}", "query": f"{word}是什么？"} for at, word in enumerate("山水花鸟鱼虫日月星云")]
    (folder / "many-é.jsonl").write_text("".join(json.dumps(row) + "\n" for row in many), encoding="utf-8")
    run("import", folder / "many-é.jsonl", "--out", folder / "many")
    (folder / "store" / "card.toml").write_text(CARD, encoding="utf-8")
    run("annotate", "demo", "--out", folder / "run")
    with ScriptedServer(tap_answer) as server:
        run_stages(write_tap(folder / "tap", two_writers(server.base_url)), ("types", "refine", "prompts"))
    run("bench", "convert", "--from", "pairs", folder / "store", "--out", folder / "bench")
    scored = "".join(json.dumps({"item": name, "rewards": {"甲é😀": 1, "乙": 0}}) + "\n" for name in ("m-é😀", "m-2"))
    (folder / "rewards-é.jsonl").write_text(scored, encoding="utf-8")
    run(
        *("bench", "import", folder / "bench", folder / "rewards-é.jsonl"),
        *("--name", "模é😀", "--out", folder / "results"),
    )
    one = HEAD.replace("seeds = [3, 4]", "seeds = [3]")
    run("experiment", write_experiment(folder / "grid", text=one.replace("Grid", "é😀")), "--trust")
    run("review", "draw", folder / "store", "--out", folder / "review", "--annotators", "甲,b")
    _align(folder)
    (folder / "export-é.json").write_text(json.dumps(an_export(folder / "review"), ensure_ascii=False), "utf-8")
    run("review", "import", folder / "review", folder / "export-é.json")  # a second one says so
    return folder


def _align(folder: Path) -> None:
    """A model's answers, judged: what is asked again stands in the ledgers, so that no server is needed."""
    asked = {"question_id": 1, "category": "数学计算", "question": "1+1等于几？é😀", "reference": "2é😀"}
    (folder / "align-é.jsonl").write_text(json.dumps(asked, ensure_ascii=False), "utf-8")
    with ScriptedServer() as server:
        told = f'[endpoint]\nname = "模é😀"\nmodel = "模"\nbase_url = "{server.base_url}"\n'
        (folder / "model-é.toml").write_text(told, "utf-8")
        model = folder / "model-é.toml"
        run("align", "answer", "--data", folder / "align-é.jsonl", "--endpoint", model, "--out", folder / "answers")
        run("align", "judge", folder / "answers", "--judge", model, "--out", folder / "aligned")


def an_export(review: Path) -> list[dict[str, object]]:
    """What Label Studio exports of the first annotator's tasks."""
    results = [{"from_name": "preference", "type": "choices", "value": {"choices": ["tie"]}},
               {"from_name": "é😀", "type": "rating", "value": {"rating": 3}}]  # fmt: skip
    said = {"completed_by": 1, "result": results, "lead_time": 3.5, "updated_at": "2026-11-26T10:00:00Z"}
    tasks = json.loads((review / "tasks-甲.json").read_text("utf-8"))
    return [{"id": at, **task, "annotations": [said]} for at, task in enumerate(tasks)]


@pytest.fixture(autouse=True)
def _no_server_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server ends as soon as it was begun."""

    class Ended:
        def __init__(self, config: object) -> None:
            pass

        def run(self, sockets: object) -> None:
            pass

    monkeypatch.setattr(uvicorn, "Server", Ended)


@pytest.fixture(autouse=True)
def _no_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What scores does so by a rule."""

    class Scorer(Fake):
        def describe(self) -> dict[str, Any]:
            return super().describe() | {"kind": "ngram"}

    monkeypatch.setattr("coig_p.reward.opening.open_scorer", lambda config, official=None: Scorer("模é😀"))


CARD = """
pretty_name = "测试é😀"
license = "mit"
authors = ["甲é😀"]
citation = "测试é😀"
intended_use = "测试é😀"
sources = [{ name = "测试é😀", license = "mit" }]
"""


def typed(words: str, folder: Path, new: Path) -> list[str]:
    given = RUNS[words][0].split()
    return words.split() + [part.replace("FOLDER", str(folder)).replace("NEW", str(new)) for part in given]


def test_every_command_is_looked_at() -> None:
    assert sorted(RUNS) == LEAVES


@pytest.mark.parametrize("words", [words for words in LEAVES if any("--json" in o.opts for o in TREE[words].params)])
def test_json_is_one_document_and_nothing_else(words: str, folder: Path, tmp_path: Path) -> None:
    """On every terminal, and the same on each: where it cannot hold a character, that is an escape."""
    shown = set()
    for encoding in ENCODINGS[:2]:  # each but UTF-8 is given the same ASCII
        done = run(*typed(words, folder, tmp_path / "é😀" / encoding), "--json", encoding=encoding, code=RUNS[words][1])
        assert done.stdout.endswith("\n")
        assert "escape" not in done.stderr
        assert encoding == "utf-8" or done.stdout.isascii()
        assert printable(done.stdout) == done.stdout
        shown.add(without_times(json.dumps(json.loads(done.stdout)).replace(encoding, "")))
    assert len(shown) == 1


def without_times(text: str) -> str:
    """How fast it went, and how many bytes the name of a place has, differ."""
    return re.sub(" +", " ", re.sub(r"\d+([.,]\d+)*", "0", text))


@pytest.mark.parametrize("words", [words for words in LEAVES if words not in ("card", "annotate init")])
def test_every_encoding_is_shown_whole_or_as_escapes(words: str, folder: Path, tmp_path: Path) -> None:
    """As on UTF-8, with an escape for each character that the terminal cannot hold, which is said once."""
    shown = {}
    for encoding in ("gbk",) if words == "demo" else ENCODINGS:
        done = run(*typed(words, folder, tmp_path / "é😀" / encoding), encoding=encoding, code=RUNS[words][1])
        shown[encoding] = without_times(done.stdout)
        notes = re.findall("(?m)^note: .* escapes? .*$", done.stderr)
        rest = re.sub("(?m)^note: .*$", "", done.stdout + done.stderr)
        assert len(notes) == (encoding != "utf-8" and "\\ud83d\\ude00" in rest), done.stderr
        assert "\\x" not in rest, "an escape of another kind"
    whole = shown.get("utf-8", "")
    for encoding, text in shown.items() if whole else ():
        expected = "".join(_escaped(one, encoding) for one in whole.replace("/utf-0", f"/{encoding}"))
        assert text == without_times(expected)


def _escaped(one: str, encoding: str) -> str:
    try:
        one.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps(one)[1:-1]
    return one


@pytest.mark.parametrize("words", ["card", "annotate init"])
def test_a_document_is_utf_8_on_every_terminal_but_a_real_one(words: str, folder: Path) -> None:
    """It may be sent into a file, which is read as UTF-8."""
    given = words.split() + [str(folder / "store")] * (words == "card")
    whole = run(*given).stdout
    for encoding in ENCODINGS[1:]:
        assert run(*given, encoding=encoding, decoded="utf-8").stdout == whole


@pytest.mark.parametrize("words", sorted(TREE))
def test_help_is_shown_on_any_terminal(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(*words.split(), "--help").stdout
    for encoding in ENCODINGS[1:]:
        assert run(*words.split(), "--help", encoding=encoding).stdout == "".join(
            _escaped(one, encoding) for one in whole
        )
    for columns in ("1", "40"):
        monkeypatch.setenv("COLUMNS", columns)
        assert "Usage" in run(*words.split(), "--help").stdout


# Each fails as the system does: a pipe whose reader left, a full disk, and Ctrl-C while something is written.


class _Interrupted(io.RawIOBase):
    """Interrupts the first write; a second Ctrl-C would be another matter."""

    written = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.written += 1
        if self.written == 1:
            raise KeyboardInterrupt
        return len(data)


def ended(words: list[str], output: io.RawIOBase) -> tuple[object, str]:
    """With what code a command ends, and what it says, where its output goes nowhere."""
    errors = io.StringIO()
    stream = io.TextIOWrapper(io.BufferedWriter(output), encoding="utf-8")
    code: object = None
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(errors):
        try:
            main(words)
        except SystemExit as stopped:
            code = stopped.code
    with contextlib.suppress(OSError, KeyboardInterrupt, ValueError):
        stream.detach().detach()  # type: ignore[attr-defined]
    return code, errors.getvalue()


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are closed otherwise there")
@pytest.mark.parametrize("words", QUICK)
def test_a_reader_that_left_is_no_error(words: str, folder: Path, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb", buffering=0) as pipe:
        code, said = ended(typed(words, folder, tmp_path / "new"), pipe)  # type: ignore[arg-type]
    assert code in (None, 0, RUNS[words][1])
    assert "rror" not in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("words", QUICK)
def test_a_full_disk_is_one_error(words: str, folder: Path, tmp_path: Path) -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        code, said = ended(typed(words, folder, tmp_path / "new"), full)  # type: ignore[arg-type]
    assert code == 1
    (error,) = re.findall("(?m)^error: .*", said)
    full, _, written = error.partition(". Written before that, and whole: ")
    assert full == "error: standard output: No space left on device", said
    assert all(Path(name).exists() for name in written.split(", ") if name), said


@pytest.mark.parametrize("words", QUICK)
def test_interrupted_while_it_is_written(words: str, folder: Path, tmp_path: Path) -> None:
    code, said = ended(typed(words, folder, tmp_path / "new"), _Interrupted())
    stopped, _, written = said.splitlines()[-1].partition(". Written before that, and whole: ")
    assert (code, stopped) == (130, "interrupted")
    assert all(Path(name).exists() for name in written.split(", ") if name), said
    assert not list(tmp_path.rglob("*.partial"))
