"""How much processor time commands take before they do anything, beside `hf --help`.

    python benchmarks/startup.py [--runs 15]

Every measurement is a process of its own, user and system time as the kernel counts them for it; the
commands take turns, so that a slow minute of the machine hits all of them, after one turn that is not
counted. Prints a table and keeps it in benchmarks/results/startup.md. Exits 1 where `coigp --version` or
`coigp -h` takes more than .75 of `hf --help`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from measuring import Measured, median, progress, publish, spread, where

MOST = 0.75
HF = "hf --help"
BUNDLED = Path(__file__).parents[1] / "coig_p" / "bundled" / "store"
COIGP = [sys.executable, "-c", "from coig_p.__main__ import main; main()"]
WAYS = {
    HF: [str(Path(sys.executable).parent / "hf"), "--help"],
    "coigp --version": [*COIGP, "--version"],
    "coigp -h": [*COIGP, "-h"],
    "coigp info -h": [*COIGP, "info", "-h"],
    "coigp info STORE (60 queries)": [*COIGP, "info", str(BUNDLED)],
    "coigp publish -h": [*COIGP, "publish", "-h"],
    "import coig_p": [sys.executable, "-c", "import coig_p"],
    "from coig_p import Store": [sys.executable, "-c", "from coig_p import Store"],
    "import datasets": [sys.executable, "-c", "import datasets"],
    "import coig_p, datasets": [sys.executable, "-c", "import coig_p, datasets"],
    "python -c pass": [sys.executable, "-c", "pass"],
}
HELD = ("coigp --version", "coigp -h")


def measure(command: list[str]) -> Measured:
    """Seconds of processor time of one process and of what it waited for."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return {"seconds": usage.ru_utime + usage.ru_stime}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=15)
    runs: dict[str, list[Measured]] = {way: [] for way in WAYS}
    number = parser.parse_args().runs
    for turn in range(number + 1):
        progress(f"turn {turn} of {number}")
        for way, command in WAYS.items():
            found = measure(command)
            if turn:
                runs[way].append(found)
    base = median(runs[HF], "seconds")
    shares = {way: median(found, "seconds") / base for way, found in runs.items()}
    lines = [f"| {way} | {spread(found, 'seconds')} | {shares[way]:.2f} |" for way, found in runs.items()]
    publish(
        "startup.md",
        f"""# Start-up

Processor time, user and system, median of {number} processes each (lowest to highest), taken in turns.
{where("datasets", "huggingface_hub", "click", "pyarrow")}

| | processor time | of `{HF}` |
|---|---|---|
{chr(10).join(lines)}

`coigp --version` and `coigp -h` may take {MOST} of `{HF}`. Made by `python benchmarks/startup.py`.
""",
    )
    if any(shares[way] > MOST for way in HELD):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
