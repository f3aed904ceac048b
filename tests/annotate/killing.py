"""Kill runs at random moments, let each end at last, and compare its files with those of a quiet run."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from annotating import check_accounts, data_files, pool, select, write_run

from coig_p.annotate.scripted import ScriptedServer, scripted_answer
from coig_p.annotate.stages import exit_code, run_stages

RUN = "from coig_p.cli.main import main; main()"
MODELS, CONCURRENCY = 5, 2


class HeldAnswers:
    """Scripted answers; one of them, once it is asked for, is held back until `release`."""

    def __init__(self, answer: Callable[[Mapping[str, Any]], Any] = scripted_answer) -> None:
        self.answer, self.left = answer, 0
        self.reached, self.released = threading.Event(), threading.Event()

    def __call__(self, request: Mapping[str, Any]) -> Any:
        self.left -= 1
        if self.left == 0:
            self.reached.set()
            self.released.wait()
        return self.answer(request)

    def hold(self, at: int) -> None:
        """Hold back the `at`-th answer from now on."""
        self.reached.clear()
        self.released.clear()
        self.left = at

    def release(self) -> None:
        self.left = 0
        self.released.set()


def kills(folder: Path, number: int, rng: random.Random, *, held: bool) -> Counter[str]:
    """Counts over the rounds that it takes to kill `number` runs; a round ends when its run does.

    Args:
        held: a run is killed while an answer is held back, so that requests are in flight;
            otherwise at any moment, also before the first request and after the last one.

    Returns:
        killed, rounds, same_bytes (rounds whose data files are the quiet run's), lost (attempts that
        a kill left without an outcome), asked_twice (requests that the server saw once more than
        the quiet run sent them).
    """
    counts: Counter[str] = Counter()
    answers = HeldAnswers()
    with ScriptedServer(answers, latency=0.0 if held else 0.04) as server:
        endpoints = pool(server.base_url, MODELS, MODELS - 1, concurrency=CONCURRENCY)
        quiet = folder / "quiet"
        quiet.mkdir()
        wanted = write_run(quiet, endpoints, queries={"filter": "m-0"})
        began = time.monotonic()
        assert exit_code(run_stages(wanted)) == 0
        whole = time.monotonic() - began
        sent = sum(server.seen.values())
        while counts["killed"] < number:
            server.seen.clear()
            place = folder / "hurt"
            place.mkdir()
            config = write_run(place, endpoints, queries={"filter": "m-0"})
            killed = 0
            while counts["killed"] + killed < number:
                run = subprocess.Popen(_command(config.path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                if held:
                    answers.hold(rng.randint(1, max(1, (sent - sum(server.seen.values())) // 2)))
                    while run.poll() is None and not answers.reached.wait(0.01):
                        pass
                else:
                    _any_moment(run, server, rng, sent, whole)
                ended = run.poll() is not None
                run.kill()
                _, errors = run.communicate()
                answers.release()
                if ended:
                    assert run.returncode == 0, errors
                    break
                killed += 1
            assert exit_code(run_stages(config)) == 0
            check_accounts(config)
            lost = int(select(config, "SELECT COUNT(*) FROM attempts WHERE outcome = 'lost'")[0][0])
            again = sum(server.seen.values()) - sent
            assert again <= lost <= killed * MODELS * CONCURRENCY
            assert lost > 0 or not held
            assert max(server.seen.values()) <= 1 + killed
            counts.update(killed=killed, rounds=1, lost=lost, asked_twice=again)
            counts["same_bytes"] += data_files(config) == data_files(wanted)
            shutil.rmtree(place)
    return counts


def _any_moment(
    run: subprocess.Popen[bytes], server: ScriptedServer, rng: random.Random, sent: int, whole: float
) -> None:
    """Wait for a random moment of a run: after so many requests and some milliseconds, or after some time."""
    until = time.monotonic() + (rng.uniform(0.2, 1.0) * whole if rng.random() < 0.25 else 600.0)
    target = sum(server.seen.values()) + rng.randint(1, sent // 2)
    while run.poll() is None and time.monotonic() < until and sum(server.seen.values()) < target:
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.05))


def _command(path: Path) -> list[str]:
    return [sys.executable, "-W", "error", "-c", RUN, "annotate", "run", str(path)]
