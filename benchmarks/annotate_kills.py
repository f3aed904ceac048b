"""SIGKILL at 50 random moments of annotation runs: `python benchmarks/annotate_kills.py [NUMBER] [SEED]`.

Each round is killed again and again until its run ends by itself; its data files must then be those
of a run that nobody disturbed, byte for byte.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "annotate"))

from killing import CONCURRENCY, MODELS, kills
from measuring import publish, where


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with tempfile.TemporaryDirectory(prefix="coigp-kills-") as folder:
        counts = kills(Path(folder), number, random.Random(seed), held=False)
    publish(
        "annotate_kills.md",
        f"""SIGKILL at random moments of `coigp annotate run`, seed {seed}. {where("aiohttp")}

| | |
|---|---|
| kills | {counts["killed"]} |
| rounds, each killed until its run ended by itself | {counts["rounds"]} |
| rounds whose data files equal an undisturbed run's, byte for byte | {counts["same_bytes"]} |
| attempts in flight when a kill came | {counts["lost"]} |
| of these, requests that the server saw once more | {counts["asked_twice"]} |
| most in flight at one moment, as configured | {MODELS * CONCURRENCY} |
""",
    )
    if counts["same_bytes"] != counts["rounds"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
