"""SIGKILL at 20 moments of every step: of a process that shares its work, and of the one that was started.

    python benchmarks/faults.py [--moments 20] [--only NAME,...] [--ray]

A moment is the n-th call of a function of the package (see tests/killed_jobs.py), on a small store with something to
find for every step. A lost worker must end in the same bytes or in one error; a step that was killed is run again with
the same output, and must then end in the bytes of an undisturbed run, with nothing beside them. With --ray a task of
Ray is killed, too. Prints a table and keeps it in benchmarks/results/faults.md.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "publish"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import jobs
import killed_jobs
from measuring import progress, publish, where

from coig_p.errors import WorkersLost

STEPS = (*jobs.JOBS, "release")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--only", default=",".join(STEPS))
    parser.add_argument("--ray", action="store_true")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    killed_jobs.write_small_shards()
    rows = []
    with tempfile.TemporaryDirectory(prefix="coigp-faults-") as folder:
        place = Path(folder)
        many, clean = jobs.many(place / "stores" / "many"), jobs.clean(place / "stores" / "clean")
        for name in given.only.split(","):
            step = _Step(name, clean if name == "release" else many, place / name)
            rows.append([name, *step.workers(given.moments), *step.drivers(given.moments)])
            if given.ray:
                rows[-1].append(step.ray(given.moments))
            progress(" | ".join(map(str, rows[-1])))
    head = ["step", "worker: same bytes", "worker: one error", "goes on", "driver: same bytes again", "taken up"]
    head += ["task of Ray: same bytes"] if given.ray else []
    table = "\n".join("| " + " | ".join(map(str, row)) + " |" for row in (head, ["---"] * len(head), *rows))
    publish(
        "faults.md",
        f"""SIGKILL at {given.moments} moments of every step. {where()}

"Goes on" are those of the errors after which the same step, run again, ended in the bytes of an undisturbed run;
"taken up" are killed steps that left finished tasks for that.

{table}
""",
    )


class _Step:
    def __init__(self, name: str, store: Path, place: Path) -> None:
        self.name, self.store, self.place = name, store, place
        self.job = killed_jobs.job_of(name)
        self.whole = self.job(store, place / "whole")

    def workers(self, moments: int) -> tuple[int, int, int]:
        """How many runs with two processes, one of them killed, gave the same, or an error; and then went on."""
        same = lost = again = 0
        for at in range(moments):
            number, out = round(1.55**at) + at, self.place / f"worker-{at}" / "out"
            begin = killed_jobs.killing_begin(self.place / f"killed-{at}", number)
            out.parent.mkdir(parents=True)
            try:
                with patch("coig_p.engine.local._begin", begin):
                    same += self._is_whole(out, self.job(self.store, out, num_proc=2))
            except WorkersLost:
                lost += 1
                again += self._is_whole(out, self.job(self.store, out))
        return same, lost, again

    def drivers(self, moments: int) -> tuple[int, int]:
        """How many killed runs gave the same when they were run again; and left finished tasks."""
        calls = killed_jobs.count_calls(self.name, self.store, self.place / "counted" / "out")
        before = calls.before or calls.number
        some = moments // 3 if calls.before else moments
        numbers = [before * (at + 1) // (some + 1) for at in range(some)]
        rest = moments - some
        numbers += [before + (calls.number - before) * (2 * at + 1) // (2 * rest) for at in range(rest)]
        runs = {self.place / f"driver-{at}" / "out": number for at, number in enumerate(numbers)}
        killed_jobs.kill_drivers(self.name, self.store, runs)
        taken = sum(len(path.read_bytes().splitlines()) > 1 for out in runs for path in out.parent.glob(".*/journal.*"))
        return sum(self._is_whole(out, self.job(self.store, out)) for out in runs), taken

    def ray(self, moments: int) -> int:
        """How many runs, of which a task was killed, gave the same."""
        from coig_p.engine.ray import RayExecutor

        same = 0
        with RayExecutor(num_proc=2, scratch=self.place / "scratch") as engine:
            for at in range(moments):
                out = self.place / f"ray-{at}" / "out"
                out.parent.mkdir(parents=True)
                number = round(1.55**at) + at
                with killed_jobs.Killing(engine, self.place / f"ray-killed-{at}", number) as other:
                    same += self._is_whole(out, self.job(self.store, out, engine=other))
        return same

    def _is_whole(self, out: Path, made: dict[str, bytes]) -> bool:
        beside: list[Any] = [path for path in out.parent.iterdir() if path.name != "out"] if out.parent.exists() else []
        return made == self.whole and not beside


if __name__ == "__main__":
    main()
