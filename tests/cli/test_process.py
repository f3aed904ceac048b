"""What only a whole process shows: start-up, imports, closed pipes, interruption, a full disk, the scripts' names."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import run, run_process

ROW = {
    "query_id": "m-1",
    "domain": "math",
    "query": "1+1等于几？",
    "responses": [
        {"model": "a", "text": "等于2。", "scores": [{"judge": "j", "score": 9}]},
        {"model": "b", "text": "等于3。", "scores": [{"judge": "j", "score": 1.5}]},
    ],
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROW), encoding="utf-8")
    return path


def test_a_store_is_made_and_read(source: Path, tmp_path: Path) -> None:
    """The main way, through the interpreter's own streams; -q before and after; the store from the environment."""
    store = tmp_path / "store"
    assert "wrote" in run_process("import", source, "--out", store).stdout
    assert json.loads(run_process("info", "--json", COIGP_STORE=str(store)).stdout)["total"]["pairs"] == 1
    assert "等于2。" in run_process("-q", "pairs", store, "--out", "-", "-v").stdout
    assert "the same command" in run_process("--help", program="publish").stdout
    assert "name a store, or set the variable COIGP_STORE" in run_process("verify", code=2).stderr


IMPORTED = """
import sys
from coig_p.cli.main import main
def run(*words):
    try:
        main(words)
    except SystemExit as ended:
        assert not ended.code, ended.code
    return {name.partition(".")[0] for name in sys.modules}
_, source, store = sys.argv
for words in (["-h"], ["--version"]):
    assert not run(*words) & {"datasets", "pyarrow", "numpy", "rich", "huggingface_hub"}, words
for words in (["import", source, "--out", store], ["info", store], ["pairs", store, "--out", "-"], ["stats", store]):
    assert not run(*words) & {"datasets", "huggingface_hub"}, words
"""


def test_nothing_is_imported_before_it_is_needed(source: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", IMPORTED, str(source), str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are closed otherwise there")
@pytest.mark.parametrize("rows", [1, 3000], ids=["found at shutdown", "found while writing"])
def test_a_closed_pipe_is_no_error(rows: int, tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(ROW | {"query_id": str(at)}) + "\n" for at in range(rows)), encoding="utf-8")
    run("import", source, "--out", tmp_path / "store")
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "coig_p", "pairs", str(tmp_path / "store"), "--out", "-"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


# Ctrl-C comes while a module is imported, always at the same moment; and that module makes another error of it.
INTERRUPTED = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["INTERRUPTED"]:
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                raise TypeError("expected a message argument") from None
sys.meta_path.insert(0, Finder())
from coig_p.__main__ import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize("module", ["click", "coig_p.cli.looking", "pyarrow"])
def test_interrupted_while_importing(module: str, store: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, "info", str(store)],
        capture_output=True,
        text=True,
        env=os.environ | {"INTERRUPTED": module},
        check=False,
    )
    assert (done.returncode, done.stderr, done.stdout) == (130, "interrupted\n", "")


# What pip makes of an entry point does a little of its own between its import and its call.
LAUNCHER = """
import os, signal, sys
sys.argv[0] = "/somewhere/bin/coigp"
from coig_p.__main__ import main
if sys.argv.pop() == "interrupted":
    os.kill(os.getpid(), signal.SIGINT)
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_interrupted_between_the_import_and_the_call() -> None:
    ended = {}
    for word in ("not", "interrupted"):
        command = [sys.executable, "-c", LAUNCHER, "--version", word]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
        ended[word] = (done.returncode, done.stderr)
    assert ended == {"not": (0, ""), "interrupted": (130, "interrupted\n")}


# The command's output is complete; Ctrl-C comes while Python is still leaving.
AT_THE_END = """
import atexit, os, signal
atexit.register(os.kill, os.getpid(), signal.SIGINT)
from coig_p.__main__ import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_interrupted_when_all_is_written(store: Path) -> None:
    command = [sys.executable, "-c", AT_THE_END, "info", str(store)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert (done.returncode, done.stderr) == (0, "")  # all is done and said: nothing was interrupted
    assert "judgements" in done.stdout


# Ctrl-C comes while a module is imported under a bar.
UNDER_A_BAR = """
import os, signal, sys, types
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "needed_late":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
def command():
    from coig_p.cli.screen import progress
    with progress("Working", 9, "queries"):
        import needed_late
sys.modules["coig_p.cli.main"] = module = types.ModuleType("coig_p.cli.main")
module.main = command
from coig_p.__main__ import main
main()
"""


def on_a_terminal(command: list[str], environment: dict[str, str]) -> tuple[int, bytes]:
    """The exit code of a command, and all that its terminal got."""
    import pty

    terminal, end = pty.openpty()
    done = subprocess.run(command, stdout=end, stderr=end, env=os.environ | environment, check=False)
    os.close(end)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux says that nothing more comes
        while piece := os.read(terminal, 1 << 16):
            shown += piece
    os.close(terminal)
    return done.returncode, shown


@pytest.mark.skipif(sys.platform == "win32", reason="terminals are POSIX")
def test_interrupted_under_a_bar_shows_the_cursor_again() -> None:
    code, shown = on_a_terminal([sys.executable, "-c", UNDER_A_BAR], {"TERM": "xterm"})
    assert code == 130
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
    assert shown.endswith(b"interrupted\r\n")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")
@pytest.mark.parametrize("words", [["pairs"], ["contamination", "--against", "benchmark.jsonl"]])
def test_standard_output_that_is_closed_is_one_clear_error(words: list[str], store: Path) -> None:
    command = [sys.executable, "-m", "coig_p", words[0], str(store), *words[1:], "--out", "-"]
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *command], stderr=subprocess.PIPE, text=True, env=os.environ, check=False
    )
    assert (done.returncode, done.stderr) == (1, "error: standard output is closed: pass --out FILE\n")


LIMITED = """
import resource, sys
from coig_p.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file size are POSIX")
@pytest.mark.parametrize("command", ["import", "pairs"])
def test_a_full_disk_is_one_clear_error_and_the_old_files_stay(command: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    answers = [
        {"model": model, "text": model + "字" * 4000, "scores": [{"judge": "j", "score": score}]}
        for model, score in (("a", 1), ("b", 9))
    ]
    rows = [ROW | {"query_id": str(at), "responses": answers} for at in range(40)]
    path.write_text(json.dumps(ROW), encoding="utf-8")
    run("import", path, "--out", tmp_path / "store")
    run("pairs", tmp_path / "store", "--out", tmp_path / "out.jsonl")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p != path}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    arguments = {
        "import": ["import", path, "--out", tmp_path / "store", "--overwrite"],
        "pairs": ["pairs", tmp_path / "large", "--out", tmp_path / "out.jsonl", "--overwrite"],
    }[command]
    if command == "pairs":
        run("import", path, "--out", tmp_path / "large")
        before |= {p: p.read_bytes() for p in (tmp_path / "large").rglob("*") if p.is_file()}
    # Not under coverage, whose own file would not fit on the disk either.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert re.search(r"error: .*File too large", done.stderr)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p != path} == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["info"], ["pairs", "--out", "-"]])
def test_standard_output_that_is_full_is_one_clear_error(words: list[str], unbuffered: str, store: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "coig_p", words[0], str(store), *words[1:]],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    assert done.returncode == 1
    assert re.fullmatch(r"error: .*No space left on device\n", done.stderr)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_standard_error_that_is_full_leaves_the_exit_code(tmp_path: Path) -> None:
    ended = {}
    for words in (["info", str(tmp_path)], ["info", "--nonsense"]):
        with open("/dev/full", "wb") as full:
            command = [sys.executable, "-m", "coig_p", *words]
            done = subprocess.run(command, stderr=full, env=os.environ | {"PYTHONUNBUFFERED": ""}, check=False)
        ended[words[1]] = done.returncode
    assert ended == {str(tmp_path): 1, "--nonsense": 2}


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "gbk"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""},
        {"PYTHONIOENCODING": "gbk:replace"},
    ],
)
def test_a_terminal_of_another_encoding(environment: dict[str, str], source: Path, tmp_path: Path) -> None:
    """Through the interpreter's own streams; whose own way of replacing stays where somebody asked for it."""
    encoding = environment["PYTHONIOENCODING"].partition(":")[0] or "ascii"
    text = json.dumps(ROW, ensure_ascii=False).replace('"a"', '"aé😀"').replace('"b"', '"bé😀"')
    source.write_text(text, encoding="utf-8")
    run("import", source, "--out", tmp_path / "store")
    command = [sys.executable, "-m", "coig_p", "info", str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, env=os.environ | environment, check=False)
    assert done.returncode == 0, done.stderr
    output, said = done.stdout.decode(encoding), done.stderr.decode(encoding)
    assert ("a\\u00e9\\ud83d\\ude00" in output.replace("é", "\\u00e9")) != ("replace" in str(environment))
    assert said.count("note: ") == ("replace" not in str(environment))


def test_text_that_the_locale_cannot_hold_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """Where the way out is taken the same is done."""
    (tmp_path / "数据.jsonl").write_text(json.dumps(ROW), encoding="utf-8")
    command = [sys.executable, "-m", "coig_p", "import", "数据.jsonl", "--out", "库"]
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, text=True, env=os.environ | plain, check=False)
    assert done.returncode == 2
    name, value = re.findall(r"set (PYTHON\w+)=(\S+)", done.stderr)[0]
    environment = os.environ | plain | {name: value}
    subprocess.run(command, capture_output=True, cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "库" / "manifest.json").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="terminals are POSIX")
@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}])
def test_a_terminal_without_colours_gets_none(environment: dict[str, str], store: Path) -> None:
    command = [sys.executable, "-m", "coig_p", "verify", str(store)]
    code, shown = on_a_terminal(command, environment)
    assert code == 0
    assert b"as the manifest says" in shown
    assert not re.search(rb"\x1b\[[0-9;]*m", shown)
    assert b"\x1b" not in shown or environment["TERM"] != "dumb"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_was_written_before_standard_output_was_full_is_named(
    unbuffered: str, source: Path, tmp_path: Path
) -> None:
    store, rows = tmp_path / "made", tmp_path / "pairs.jsonl"
    for words in (["import", str(source), "--out", str(store)], ["pairs", str(store), "--out", str(rows)]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [sys.executable, "-m", "coig_p", *words],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
                check=False,
            )
        said = f"error: standard output: No space left on device. Written before that, and whole: {words[-1]}\n"
        assert (done.returncode, done.stderr.splitlines(keepends=True)[-1]) == (1, said)
    assert not run("verify", store).stderr
