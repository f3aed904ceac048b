"""Kill runs at random moments, let each end at last, and compare its files with those of a quiet run."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from annotating import check_accounts, data_files, pool, write_run

from coig_p.annotate.asking.ledger import Ledger
from coig_p.annotate.scripted import ScriptedServer

RUN = "from coig_p.cli.main import main; main()"
MODELS, CONCURRENCY = 5, 2


def kills(folder: Path, number: int, rng: random.Random) -> Counter[str]:
    """Counts over the rounds that it takes to kill `number` runs; a round ends when its run does.

    Returns:
        killed, rounds, same_bytes (rounds whose data files are the quiet run's), lost (attempts that
        a kill left without an outcome), asked_twice (requests that the server saw once more than
        the quiet run sent them), most_at_once (of these in one kill at most).
    """
    counts: Counter[str] = Counter()
    with ScriptedServer(latency=0.04) as server:
        endpoints = pool(server.base_url, MODELS, MODELS - 1, concurrency=CONCURRENCY)
        quiet = folder / "quiet"
        quiet.mkdir()
        wanted = write_run(quiet, endpoints, queries={"filter": "m-0"})
        began = time.monotonic()
        subprocess.run(_command(wanted.path), check=True, capture_output=True)
        whole = time.monotonic() - began
        sent = sum(server.seen.values())
        while counts["killed"] < number:
            server.seen.clear()
            place = folder / "hurt"
            place.mkdir()
            config = write_run(place, endpoints, queries={"filter": "m-0"})
            ended = False
            killed = 0
            while not ended:
                run = subprocess.Popen(_command(config.path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                if counts["killed"] + killed < number and _moment(run, server, rng, sent, whole):
                    run.kill()
                    run.communicate()
                    killed += 1
                else:
                    _, errors = run.communicate()
                    assert run.returncode == 0, errors
                    ended = True
            check_accounts(config)
            with Ledger.open(config.folder) as ledger:
                lost = int(ledger.rows("SELECT COUNT(*) FROM attempts WHERE outcome = 'lost'")[0][0])
            again = sum(server.seen.values()) - sent
            assert again <= lost <= killed * MODELS * CONCURRENCY
            assert max(server.seen.values()) <= 1 + killed
            counts.update(killed=killed, rounds=1, lost=lost, asked_twice=again)
            counts["same_bytes"] += data_files(config) == data_files(wanted)
            shutil.rmtree(place)
    return counts


def _moment(run: subprocess.Popen[bytes], server: ScriptedServer, rng: random.Random, sent: int, whole: float) -> bool:
    """Wait for a random moment of a run; False where it ends before.

    Most moments are so many requests after its start, and then some milliseconds; some are a time,
    so that those before the first request and after the last one come up too.
    """
    until = time.monotonic() + (rng.uniform(0.2, 1.0) * whole if rng.random() < 0.25 else 600.0)
    target = sum(server.seen.values()) + rng.randint(1, sent // 2)
    while run.poll() is None and time.monotonic() < until and sum(server.seen.values()) < target:
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.05))
    return run.poll() is None


def _command(path: Path) -> list[str]:
    return [sys.executable, "-c", RUN, "annotate", "run", str(path)]
