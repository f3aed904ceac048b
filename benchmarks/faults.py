"""SIGKILL at 20 moments of every step: of a process that shares its work, and of the one that was started.

    python benchmarks/faults.py [--moments 20] [--only NAME,...] [--ray] [--nodes N]

A moment is the n-th call of a function of the package (see tests/killed_jobs.py), on a small store with something to
find for every step. A lost worker must end in the same bytes or in one error; a step that was killed is run again with
the same output, and must then end in the bytes of an undisturbed run, with nothing beside them. With --ray a task of
Ray is killed, too, and with --nodes one of two nodes of a cluster of Ray, at N moments. Prints a table and keeps it in
benchmarks/results/faults.md.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "publish"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import jobs
import killed_jobs
from measuring import progress, publish, where

from coig_p.errors import WorkersLost

STEPS = (*jobs.JOBS, "release", *jobs.THREADS)
NONE = "threads alone"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--only", default=",".join(STEPS))
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--nodes", type=int, default=0)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    # Workers of Ray import what is defined here.
    os.environ |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "RAY_AUTH_MODE": "disabled"}
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
            if given.nodes:
                rows[-1] += step.nodes(given.nodes)
            progress(" | ".join(map(str, rows[-1])))
    head = ["step", "worker: same bytes", "worker: one error", "goes on", "driver: same bytes again", "taken up"]
    head += ["task of Ray: same bytes"] if given.ray else []
    if given.nodes:
        head += [f"one of two nodes lost at {given.nodes} moments: same bytes", "one error, then same bytes"]
    table = "\n".join("| " + " | ".join(map(str, row)) + " |" for row in (head, ["---"] * len(head), *rows))
    publish(
        "faults.md",
        f"""SIGKILL at {given.moments} moments of every step. {where(*(["ray"] if given.ray or given.nodes else []))}

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

    def workers(self, moments: int) -> tuple[int | str, int | str, int | str]:
        """How many runs with two processes, one of them killed, gave the same, or an error; and then went on."""
        same = lost = again = 0
        if self.name in jobs.THREADS:
            return NONE, NONE, NONE
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

    def ray(self, moments: int) -> int | str:
        """How many runs, of which a task was killed, gave the same."""
        from coig_p.engine.ray import RayExecutor

        same = 0
        if self.name in jobs.THREADS:
            return NONE
        with RayExecutor(num_proc=2, scratch=self.place / "scratch") as engine:
            for at in range(moments):
                out = self.place / f"ray-{at}" / "out"
                out.parent.mkdir(parents=True)
                number = round(1.55**at) + at
                with killed_jobs.Killing(engine, self.place / f"ray-killed-{at}", number) as other:
                    same += self._is_whole(out, self.job(self.store, out, engine=other))
        return same

    def nodes(self, moments: int) -> tuple[int | str, int | str]:
        """How many runs, of whose two nodes one was lost, gave the same; or one error and the same when run again."""
        from ray.cluster_utils import Cluster

        from coig_p.engine.ray import RayExecutor

        same = again = 0
        if self.name in jobs.THREADS:
            return NONE, NONE
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            with RayExecutor(cluster.address, scratch=self.place / "scratch") as engine:
                assert engine.window
                for at in range(moments):
                    out = self.place / f"node-{at}" / "out"
                    out.parent.mkdir(parents=True)
                    node = cluster.add_node(num_cpus=1)
                    number = round(1.55 ** (at * 20 / moments)) + at
                    losing = killed_jobs.Losing(engine, node.node_id, self.place / f"lost-{at}", number)
                    watch = threading.Thread(target=_lose, args=(losing, cluster, node))
                    watch.start()
                    try:
                        same += self._is_whole(out, self.job(self.store, out, engine=losing))
                    except WorkersLost:
                        again += self._is_whole(out, self.job(self.store, out))
                    finally:
                        losing.over = True
                        watch.join()
        finally:
            cluster.shutdown()
        return same, again

    def _is_whole(self, out: Path, made: dict[str, bytes]) -> bool:
        beside: list[Any] = [path for path in out.parent.iterdir() if path.name != "out"] if out.parent.exists() else []
        beside += out.glob(".*")
        return made == self.whole and not beside


def _lose(losing: killed_jobs.Losing, cluster: Any, node: Any) -> None:
    if not losing.wait():
        progress("no task was on the node that was to be lost")
    cluster.remove_node(node, allow_graceful=False)


if __name__ == "__main__":
    main()
