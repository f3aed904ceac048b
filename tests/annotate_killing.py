"""Kill a run at random moments until it has been killed often enough, let it end, and compare with a quiet one."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from annotating import check_accounts, data_files, pool, write_run

from coig_p.annotate.ledger import Ledger
from coig_p.annotate.scripted import ScriptedServer

RUN = "from coig_p.cli import main; main()"
MODELS, CONCURRENCY = 5, 2


def kills(folder: Path, number: int, rng: random.Random) -> dict[str, Any]:
    """Counts of a run that SIGKILL ended `number` times before it was let finish."""
    quiet, hurt = folder / "quiet", folder / "hurt"
    with ScriptedServer(latency=0.05) as server:
        configs = []
        for place in (quiet, hurt):
            place.mkdir()
            endpoints = pool(server.base_url, MODELS, MODELS - 1, concurrency=CONCURRENCY)
            configs.append(write_run(place, endpoints, queries={"filter": "m-0"}))
        began = time.monotonic()
        subprocess.run([*_command(configs[0].path)], check=True, capture_output=True)
        whole = time.monotonic() - began
        wanted = server.seen.copy()
        server.seen.clear()
        killed = finished = 0
        while killed < number:
            run = subprocess.Popen(_command(configs[1].path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                run.wait(timeout=rng.uniform(0.3, 1.1) * whole)
            except subprocess.TimeoutExpired:
                run.kill()
                run.wait()
                killed += 1
            else:  # it had ended: begin anew, so that every kill hits a run
                assert run.returncode == 0
                finished += 1
                for path in sorted(configs[1].folder.rglob("*"), reverse=True):
                    path.rmdir() if path.is_dir() else path.unlink()
                server.seen.clear()
        subprocess.run(_command(configs[1].path), check=True, capture_output=True)
    check_accounts(configs[1])
    with Ledger.open(configs[1].folder) as ledger:
        lost = int(ledger.rows("SELECT COUNT(*) FROM attempts WHERE outcome = 'lost'")[0][0])
    return {
        "killed": killed,
        "finished": finished,
        "same_bytes": data_files(configs[0]) == data_files(configs[1]),
        "requests": sum(wanted.values()),
        "asked_twice": sum(server.seen.values()) - sum(wanted.values()),
        "most_often": max(server.seen.values()),
        "lost": lost,
        "in_flight_at_most": killed * MODELS * CONCURRENCY,
    }


def _command(path: Path) -> list[str]:
    return [sys.executable, "-c", RUN, "annotate", "run", str(path)]
