"""Two nodes of a Ray cluster on this machine: the work is shared between them, and goes on where one is lost."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from jobs import JOBS, many
from killed_jobs import Losing

from coig_p.engine.local import in_order
from coig_p.engine.ray import RayExecutor, _is_about_token

HAS_RAY = importlib.util.find_spec("ray") is not None
pytestmark = [
    pytest.mark.skipif(not HAS_RAY, reason="needs the extra ray: pip install 'coig-p[ray]'"),
    # What Ray itself does while it starts and ends is not ours to mend.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """One node of one core; the test adds others."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))  # workers import what is defined here
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        yield made
    finally:
        made.shutdown()


def _where(number: int) -> str:
    from ray import get_runtime_context

    here: str = get_runtime_context().get_node_id()
    return here


def test_both_do_work_and_make_the_same(cluster: Any, tmp_path: Path) -> None:
    cluster.add_node(num_cpus=1)
    store = many(tmp_path / "store")
    with RayExecutor(cluster.address, scratch=tmp_path / "scratch") as engine:
        nodes = {node for _, node in in_order(_where, range(40), engine)}
        for name in ("check", "clean", "dedup", "export"):
            assert JOBS[name](store, tmp_path / "two" / name, engine=engine) == JOBS[name](
                store, tmp_path / "one" / name
            ), name
    assert len(nodes) == 2


def test_a_node_that_is_lost_takes_nothing_along(cluster: Any, tmp_path: Path) -> None:
    other = cluster.add_node(num_cpus=1)
    seen = tmp_path / "seen"
    seen.mkdir()

    def lose() -> None:
        while not (seen / other.node_id).exists():
            pass
        cluster.remove_node(other, allow_graceful=False)

    losing = threading.Thread(target=lose)
    with RayExecutor(cluster.address, scratch=tmp_path / "scratch") as engine:
        losing.start()
        found = list(in_order(_Waiting(seen, other.node_id), range(8), engine))
        losing.join()
        store = many(tmp_path / "store")
        assert JOBS["check"](store, tmp_path / "two", engine=engine) == JOBS["check"](store, tmp_path / "one")
    assert [number for number, _ in found] == list(range(8))
    assert other.node_id not in {node for _, node in found}, "what it was at was done again elsewhere"


def test_a_node_that_is_lost_while_it_writes_leaves_the_same(cluster: Any, tmp_path: Path) -> None:
    store = many(tmp_path / "store")
    with RayExecutor(cluster.address, scratch=tmp_path / "scratch") as engine:
        assert engine.window
        for name, call in (("clean", 150), ("export with labels", 60)):
            node, out = cluster.add_node(num_cpus=1), tmp_path / name / "out"
            out.parent.mkdir()
            losing = Losing(engine, node.node_id, tmp_path / f"{name}-lost", call)

            def lose(losing: Losing = losing, node: Any = node) -> None:
                assert losing.wait(), "no task was there"
                cluster.remove_node(node, allow_graceful=False)

            with ThreadPoolExecutor(1) as watch:
                lost = watch.submit(lose)
                made = JOBS[name](store, out, engine=losing)
                losing.over = True
                lost.result()
            assert made == JOBS[name](store, tmp_path / "one" / name)
            assert [path.name for path in out.parent.iterdir()] == ["out"]


class _Waiting:
    """Says which node it runs on. On one of them it says that it is there, and never comes to an end."""

    def __init__(self, folder: Path, node: str) -> None:
        self.folder, self.node = folder, node

    def __call__(self, number: int) -> str:
        here = _where(number)
        while here == self.node:
            (self.folder / here).touch()
        return here


def test_a_cluster_that_asks_for_a_token_is_said_so() -> None:
    why = RuntimeError("Failed to connect to GCS. Last connection error: RPC error: InvalidAuthToken: missing")
    error = ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379")
    error.__cause__ = why
    assert _is_about_token(error)
    assert not _is_about_token(ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379"))
