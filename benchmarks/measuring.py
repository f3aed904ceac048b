"""What every benchmark does: a process of its own for each measurement, peak memory, versions."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

Measured = dict[str, float]
RESULTS = Path(__file__).parent / "results"


class PeakMemory:
    """Peak growth of anonymous memory in bytes: resident, without mapped files. Linux; elsewhere maxrss."""

    def __enter__(self) -> PeakMemory:
        self.begin = self.peak = self.now()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()

    def watch(self) -> None:
        while not self.stop.wait(0.005):
            self.peak = max(self.peak, self.now())

    def grown(self) -> int:
        return max(self.peak, self.now()) - self.begin

    @staticmethod
    def now() -> int:
        try:
            status = Path("/proc/self/status").read_text()
        except OSError:
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return int(status.split("RssAnon:")[1].split()[0]) * 1024


def in_own_process(*arguments: object) -> Measured:
    """What this script prints as JSON when called with --measure and `arguments`."""
    os.sync()  # or a run would pay for writing back what the one before it left
    command = [sys.executable, sys.argv[0], "--measure", *map(str, arguments)]
    # What is installed was compiled then; a checkout must not be compiled anew by each process.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=kept)
    found: Measured = json.loads(ran.stdout)
    return found


def median(runs: Iterable[Measured], name: str) -> float:
    return statistics.median(run[name] for run in runs)


def spread(runs: Iterable[Measured], name: str) -> str:
    values = [run[name] for run in runs]
    return f"{statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f})"


def where(*packages: str) -> str:
    """Versions and machine, for the head of a table."""
    versions = [f"{package} {version(package)}" for package in packages]
    return ", ".join([f"Python {platform.python_version()}", *versions, platform.system(), f"{os.cpu_count()} cores."])


def publish(name: str, text: str) -> None:
    """Print a table and keep it in results/."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text(text, encoding="utf-8")
    print(text)


def progress(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
