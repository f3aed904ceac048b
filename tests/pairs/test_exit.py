"""A program that has read a part of a stream ends when it is done, with the exit code that it says and no word more."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serving import serve

# Each way is a process of its own, since what is tried is how it ends. Most are forked, from one that has imported what
# all of them need and done nothing else: it takes a second that the way itself does not.
BEGIN = """
import atexit, os, signal, sys, threading
def at_the_very_end(): pass
atexit.register(lambda: at_the_very_end())  # before all others are, so after all others have run
import coig_p
from datasets import load_dataset
def stream(name="math", **options):
    options = {{"data_dir": {data_dir!r}, "split": "train", "streaming": True, **options}}
    return load_dataset("coig-p", name, **options)
"""
FORKS = """
import json, tempfile
for line in sys.stdin:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
            break
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([code, *(os.pread(file.fileno(), 1 << 20, 0).decode() for file in (out, err))]), flush=True)
else:
    sys.exit()
del out, err
exec(compile(json.loads(line), "<string>", "exec"))
"""
TAKEN = "rows = iter(stream()); next(rows)\n"
STREAMS = {
    "plain": "rows = iter(stream())",
    "shuffled": "rows = iter(stream(shuffle_seed=0))",
    "raw": "rows = iter(stream(raw=True))",
    "in other shards": "rows = iter(stream(world_size=2))",
    "weighted": "rows = iter(stream('all', weights={'math': 2, 'chat': 0.5}))",
    "split": "rows = iter(stream(split=None, test_size=0.5)['test'])",
    "batches": "rows = iter(stream().with_format('arrow').iter(7))",
    "buffered": "rows = iter(stream().map(lambda row: row).shuffle(seed=1, buffer_size=9))",
}
HELD = {
    "nothing": "del rows",
    "a cycle": "class Holder: pass\nholder = Holder()\nholder.rows, holder.own = rows, holder\ndel rows, holder",
    "another module": "sys.rows = rows",
    "a program that has another": "other = iter(stream(shuffle_seed=0)); next(other); next(rows)",
    "a thread that has ended": """
def read():
    global found
    found = iter(stream())
    next(found)
thread = threading.Thread(target=read); thread.start(); thread.join()""",
    "a thread that reads on": """
def read():
    threading.main_thread().join()
    assert sum(1 for _ in rows) == sum(1 for _ in stream()) - 1
    print("all read", flush=True)
threading.Thread(target=read).start()""",
    "a daemon that reads on": """
begun = threading.Event()
def read():
    while True:
        for _ in stream(shuffle_seed=1):
            begun.set()
threading.Thread(target=read, daemon=True).start(); begun.wait()""",
    "what runs at exit": """
def at_the_very_end():
    assert sum(1 for _ in rows) == total - 1
    print("all read", flush=True)
total = sum(1 for _ in stream())""",
    "a map-style load that failed": """
import coig_p.pairs.stream
def fail(*_, **__): raise KeyError("mine")
coig_p.pairs.stream.pair_tables = fail
try: stream(streaming=False, threshold=7)
except Exception as error: held = error""",
    "a fork": """
child = os.fork()
if not child:
    assert sum(1 for _ in stream(shuffle_seed=0))  # another one is there for the child, too
    sys.exit(3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
assert sum(1 for _ in rows) == sum(1 for _ in stream()) - 1""",
    "a fork that reads on": """
child = os.fork()
if not child:
    try:
        list(rows)
    except coig_p.errors.UsageError as error:
        assert "forked" in str(error)
        sys.exit(3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3""",
    "workers of a DataLoader": """
from torch.utils.data import DataLoader
batches = iter(DataLoader(stream(shuffle_seed=0, workers=2), batch_size=3, num_workers=2))
next(batches)""",
}
HEARD = "try:\n    for row in rows: {}\nexcept {} as error: held = error"
ENDS = {
    "an exit code": ("for row in rows: sys.exit(7)", 7, ""),
    "an error": ("for row in rows: raise KeyError('mine')", 1, "KeyError: 'mine'"),
    "an error that is held": (HEARD.format("1 / 0", "ZeroDivisionError"), 0, ""),
    "Ctrl-C": ("for row in rows: signal.raise_signal(signal.SIGINT)", -2, "KeyboardInterrupt"),
    "Ctrl-C that is held": (HEARD.format("signal.raise_signal(signal.SIGINT)", "KeyboardInterrupt"), 0, ""),
}


Run = Callable[[str], subprocess.CompletedProcess[str]]


def command(program: str) -> list[str]:
    return [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]  # Python 3.12 warns of every fork


def environment(home: Path, *, torch: bool = False, **more: str) -> dict[str, str]:
    settings = {"HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1,localhost", **more}
    if not torch:
        settings["USE_TORCH"] = "0"  # streaming imports torch where it is installed, two seconds for nothing
    return os.environ | settings


def run_alone(program: str, home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """A hang is a failure: nothing else takes as long as is waited for."""
    settings = environment(home, torch="torch" in program, **more)
    return subprocess.run(
        command(program), cwd=home, capture_output=True, text=True, env=settings, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def begin(store: Path) -> str:
    return BEGIN.format(data_dir=str(store))


@pytest.fixture(scope="module")
def run(begin: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs a program after BEGIN, in a fork; one that hangs holds up all, and is ended with them."""
    home = tmp_path_factory.mktemp("home")
    with subprocess.Popen(
        command(begin + FORKS),
        cwd=home,
        env=environment(home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asked, answers = process.stdin, process.stdout

        def forked(program: str) -> subprocess.CompletedProcess[str]:
            print(json.dumps(program), file=asked, flush=True)
            if not select.select([answers], [], [], 300)[0]:
                os.killpg(process.pid, signal.SIGKILL)
            line = answers.readline()
            assert line, f"does not end:\n{program}"
            return subprocess.CompletedProcess(program, *json.loads(line))

        yield forked


@pytest.mark.parametrize("way", STREAMS)
def test_a_program_ends_that_holds_a_stream(way: str, run: Run) -> None:
    done = run(f"{STREAMS[way]}\nnext(rows)")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_ends_that_nobody_forked(begin: str, tmp_path: Path) -> None:
    done = run_alone(f"{begin}{STREAMS['plain']}\nnext(rows)", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("way", HELD)
def test_a_program_ends_where_a_stream_is_held_by(way: str, begin: str, run: Run, tmp_path: Path) -> None:
    program = f"{TAKEN}{HELD[way]}"
    if "torch" in program:
        pytest.importorskip("torch")
        done = run_alone(f"{begin}{program}", tmp_path)
    else:
        done = run(program)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("all read\n" if "all read" in HELD[way] else "")


@pytest.mark.parametrize("way", ENDS)
def test_a_program_ends_in_its_own_way_by(way: str, run: Run) -> None:
    program, code, says = ENDS[way]
    done = run(f"{TAKEN}{program}")
    assert done.returncode == code
    assert done.stderr.splitlines()[-1:] == [says] * bool(says)
    assert done.stderr.count("Traceback") == bool(says)
    assert "ignored" not in done.stderr


@pytest.fixture
def endpoint(store: Path) -> Iterator[str]:
    with serve(store) as hub:
        yield hub.endpoint


@pytest.mark.parametrize("options", ["", "shuffle_seed=0"])
def test_a_program_ends_that_holds_a_remote_stream(options: str, endpoint: str, tmp_path: Path) -> None:
    program = BEGIN.format(data_dir="org/name") + f"rows = iter(stream({options})); next(rows)"
    done = run_alone(program, tmp_path, HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="0", HF_HUB_DISABLE_TELEMETRY="1")
    assert (done.returncode, done.stderr) == (0, "")
