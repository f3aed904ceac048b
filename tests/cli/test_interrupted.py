"""Commands that are ended while they write: nothing is left beside what they would have written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

COMMANDS = {
    "pairs": ["pairs", "STORE", "--out", "OUT/pairs.parquet"],
    "export": ["export", "STORE", "--for", "trl-dpo", "--out", "OUT/export"],
    "bench": ["bench", "convert", "--from", "pairs", "STORE", "--out", "OUT/bench"],
    "review": ["review", "draw", "STORE", "--annotators", "a,b", "--out", "OUT/review"],
}
# Sends the signal from within what writes, at its first row, or from within an import that comes meanwhile.
STOPPED = """
import os, signal, sys
from pathlib import Path
from coig_p.core import atomic
number, when = int(sys.argv.pop(1)), sys.argv.pop(1)
if number != signal.SIGINT:
    signal.signal(number, signal.SIG_DFL)  # whoever started the tests may have it ignored, as nohup does
lock = atomic._lock
def stop(temporary):
    found = lock(temporary)
    if when == "importing":
        module = f"import os\\nos.kill(os.getpid(), {number})\\nwhile True: pass"
        Path(os.environ["LATE"], "late_module.py").write_text(module)
        sys.path.insert(0, os.environ["LATE"])
        import late_module
    os.kill(os.getpid(), number)
    while True:
        pass
atomic._lock = stop
from coig_p import __main__
__main__.main()
"""


@pytest.mark.parametrize("when", ["writing", "importing"])
@pytest.mark.parametrize(
    ("command", "number"),
    [*product(COMMANDS, [signal.SIGINT, signal.SIGTERM]), ("export", getattr(signal, "SIGHUP", None))],
)
def test_nothing_half_written_is_left(
    command: str, number: signal.Signals, when: str, store: Path, tmp_path: Path
) -> None:
    out, late = tmp_path / "out", tmp_path / "late"
    out.mkdir()
    late.mkdir()
    words = [word.replace("STORE", str(store)).replace("OUT", str(out)) for word in COMMANDS[command]]
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, str(int(number)), when, *words],
        env={**os.environ, "LATE": str(late)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == (130 if number == signal.SIGINT else -number), done.stderr
    assert done.stderr == ("interrupted\n" if number == signal.SIGINT else "")
    assert list(out.iterdir()) == []


READING = """
import os, signal, sys, threading
from coig_p.store import store
def stay(*_):
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait()  # as where a file system does not answer
store.look_at = stay
from coig_p import __main__
__main__.main()
"""


def test_nobody_waits_for_what_verify_reads(store: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READING, "verify", str(store)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


SHARING = """
import os, signal
from concurrent.futures import ProcessPoolExecutor
submit = ProcessPoolExecutor.submit
def submitted(self, *args, **kwargs):
    submit(self, *args, **kwargs)
    os.kill(os.getpid(), signal.SIGTERM)
ProcessPoolExecutor.submit = submitted
from coig_p import __main__
__main__.main()
"""


def test_python_says_nothing_of_what_processes_shared(store: Path) -> None:
    command = [sys.executable, "-c", SHARING, "check", str(store), "--num-proc", "2"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGTERM, "", "")
