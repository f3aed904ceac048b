"""Names and texts that somebody sent, with what moves a cursor or turns text around: no command prints one of those."""

from __future__ import annotations

import io
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import TREE, run
from make import make_store
from rich.console import Console

from coig_p.cli import screen
from coig_p.core.text import escaped_json, printable
from coig_p.store.manifest import MANIFEST

# Escape sequences, C1, DEL, every control of direction, separators of lines, a private one, markup of rich.
EVIL = "\x1b]0;x\x07\x9b2J\x7f\x85\u202a\u202e\u2066\u2069\u200e\u200f\u061c\u2028\u2029\ue000\U000e0041[link=x]\r"


def named(text: str) -> str:
    return f"{text}{EVIL}{text}"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows: list[dict[str, Any]] = []
    for at in range(4):
        scores = [
            [{"judge": named(judge), "dimension": "overall", "score": score + at % 2} for judge in "jk"]
            for score in (9.0, 2.0, 6.0)
        ]
        rows.append(
            {
                "query_id": named(f"q{at}"),
                "domain": "math",
                "query": named("同一个问题，要怎样才能算出来呢？" + str(at // 2)),
                "source": named("source"),
                "responses": [
                    {"model": named(model), "text": named("这是回答" + model * 30), "scores": of}
                    for model, of in zip("abc", scores, strict=True)
                ],
                "comparisons": None,
            }
        )
    store = make_store(tmp_path_factory.mktemp("hostile") / "store", rows)
    manifest = json.loads((store / MANIFEST).read_text("utf-8"))
    manifest["tool"] = named("tool")
    manifest["sources"] = [{"name": named("rows"), "sha256": named("s"), "license": named("l")}]
    manifest["accounting"] = {named("rows"): dict.fromkeys(("read", "stored", "rejected", "merged"), 1)}
    manifest["options"] = {
        named("option"): named("value"),
        "dedup": {"method": named("m"), "threshold": 0.5, "dropped": {"rows": 1, "responses": 1, "scores": 1}},
    }
    (store / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return store


def harmless(done: Any) -> None:
    for text in (done.stdout, done.stderr):
        assert text == printable(text)


COMMANDS = [
    "info STORE",
    "stats STORE",
    "sweep STORE --thresholds 1,2",
    "verify STORE",
    "check STORE",
    "clean STORE --out NEW",
    "dedup STORE --dry-run",
    "dedup STORE --dry-run --what responses",
    "contamination STORE --against BENCH",
    "pairs STORE --out -",
    "pairs STORE --out NEW.parquet",
    "export STORE --for trl-dpo --out NEW",
    "card STORE --init",
    "import ROWS --out NEW",
    "review draw STORE --out NEW --annotators a,b --by disagreement",
    "bench convert --from pairs STORE --out NEW",
    "bench convert --from crbench ROWS --out NEW",
    "bench run NAMED --baseline length --out NEW",
    "bench report NAMED --against NAMED --html NEW",
]


@pytest.mark.parametrize("json_", [False, True])
@pytest.mark.parametrize("words", COMMANDS)
def test_no_command_prints_what_moves_the_cursor(hostile: Path, tmp_path: Path, words: str, json_: bool) -> None:
    bench, rows = tmp_path / "bench.jsonl", tmp_path / f"rows{EVIL[:4]}.jsonl"
    bench.write_text(json.dumps({named("question"): 1, "question": named("同一个问题，要怎样才能算出来呢？1")}))
    rows.write_text(json.dumps({named("field"): named("value"), "score": named("x")}) + "\n{" + EVIL)
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "bench.json").write_text(json.dumps({"format": named("f"), named("x"): 1}))
    names = {
        "STORE": hostile,
        "NEW": tmp_path / "new",
        "BENCH": bench,
        "ROWS": rows,
        "NAMED": tmp_path / "bench",
        "NEW.parquet": tmp_path / "n.parquet",
    }
    arguments = [names.get(word, word) for word in words.split()]
    if json_ and words.split()[0] not in ("card",) and "-" not in arguments:
        arguments.append("--json")
    done = run(*arguments, code=None)
    assert done.stdout or done.stderr
    harmless(done)


@pytest.mark.parametrize(
    "words",
    [
        *("info NAMED", "NAMED", "info --NAMED", "info STORE NAMED", "stats STORE --split NAMED"),
        *("check STORE --rules NAMED", "pairs STORE --out NEW --threshold NAMED"),
    ],
)
def test_usage_errors_are_harmless(hostile: Path, tmp_path: Path, words: str) -> None:
    arguments = [word.replace("NAMED", EVIL).replace("STORE", str(hostile)).replace("NEW", str(tmp_path / "new"))
                 for word in words.split()]  # fmt: skip
    harmless(done := run(*arguments, code=None))
    assert done.returncode in (1, 2)
    assert done.stderr


def test_json_has_the_values_as_they_are(hostile: Path) -> None:
    found = json.loads(run("info", hostile, "--json").stdout)
    assert set(found["judges"]) == {named("j"), named("k")}
    rows = run("pairs", hostile, "--out", "-").stdout.splitlines()
    assert {json.loads(row)["chosen_model"] for row in rows} == {named("a"), named("c")}


@pytest.mark.parametrize("text", [*EVIL, EVIL, "\ud800", "中文😀", "\u3000", 'a"\\b'])
def test_escapes_keep_what_json_says(text: str) -> None:
    written = json.dumps({text: [text]}, ensure_ascii=False)
    assert json.loads(escaped_json(written)) == {text: [text]}
    assert escaped_json(written) == printable(escaped_json(written))


def test_logs_and_what_the_system_says_are_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    def command(**_: object) -> None:
        logging.getLogger("coig_p").warning("%s and %s", EVIL, Path(EVIL))
        other = logging.getLogger("some_library")
        other.addHandler(handler := logging.StreamHandler())
        other.warning(EVIL)
        other.removeHandler(handler)
        raise OSError(5, EVIL, EVIL)

    before = logging.getLogRecordFactory()
    monkeypatch.setattr(TREE["env"], "callback", command)
    done = run("env", code=1)
    assert logging.getLogRecordFactory() is before
    assert done.stderr.count("\\u001b") == 5
    harmless(done)


SCRIPT = """
import sys, warnings
from coig_p.cli.main import cli, main
def command(**_):
    warnings.warn(sys.argv[1])
    raise ValueError(sys.argv[1])
cli.get_command(None, "env").callback = command
main(["env"])
"""


def test_warnings_and_mistakes_of_ours_are_harmless() -> None:
    given = EVIL.replace("\0", "")
    done = subprocess.run([sys.executable, "-c", SCRIPT, given], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 1
    assert "UserWarning: " in done.stderr
    assert "ValueError: " in done.stderr
    assert done.stderr.count("\\u001b") == 2
    harmless(done)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    shown = io.StringIO()
    monkeypatch.setattr("rich.console.Console", lambda **_: Console(file=shown, force_terminal=True, width=200))
    return shown


def test_the_title_of_a_bar_is_no_markup(terminal: io.StringIO) -> None:
    with screen.progress("[link=http://x]\x1b[2Jtitle\u202e", 1, "rows"):
        pass
    assert "[link=http://x]\\u001b[2Jtitle\\u202e" in terminal.getvalue()


def test_headers_of_tables_are_harmless() -> None:
    assert screen.table([EVIL, "n"], [["a", 1]]) == printable(screen.table([EVIL, "n"], [["a", 1]]))


def test_a_card_is_printed_harmless(hostile: Path, tmp_path: Path) -> None:
    store = shutil.copytree(hostile, tmp_path / "store")
    (store / "card.toml").write_text(
        'pretty_name = "x\\u202e\\u009b"\nlicense = "mit"\nauthors = ["a\\u202e"]\ncitation = "c\\u001b"\n'
        'intended_use = "u\\u0007"\nsources = [{ name = "s\\u2066", license = "mit" }]\n',
        encoding="utf-8",
    )
    harmless(run("card", store, code=None))
